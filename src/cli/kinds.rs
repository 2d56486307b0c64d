//! The seven kinds of record: what each is called in names, in the contract and on the command line.

use clap::ValueEnum;

use super::error::CliError;

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A visit of one side to another
    Visit,
    /// A meeting or call that is not part of one visit
    Meeting,
    /// An agreement, binding or not
    Agreement,
    /// A military exercise
    Exercise,
    /// A public official
    Person,
    /// A ministry, staff, service, academy or company
    Organization,
    /// A place
    Place,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Visit, Self::Meeting, Self::Agreement, Self::Exercise, Self::Person, Self::Organization, Self::Place];

    /// What names begin with: `visits`.
    #[must_use]
    pub fn collection(self) -> &'static str {
        match self {
            Self::Visit => "visits",
            Self::Meeting => "meetings",
            Self::Agreement => "agreements",
            Self::Exercise => "exercises",
            Self::Person => "persons",
            Self::Organization => "organizations",
            Self::Place => "places",
        }
    }

    /// The message of the contract: `Visit`.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Visit => "Visit",
            Self::Meeting => "Meeting",
            Self::Agreement => "Agreement",
            Self::Exercise => "Exercise",
            Self::Person => "Person",
            Self::Organization => "Organization",
            Self::Place => "Place",
        }
    }

    /// The field of a report or record that holds it: `visit`.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Visit => "visit",
            Self::Meeting => "meeting",
            Self::Agreement => "agreement",
            Self::Exercise => "exercise",
            Self::Person => "person",
            Self::Organization => "organization",
            Self::Place => "place",
        }
    }

    /// The kind of the record that bears this name.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] if it is the name of something else.
    pub fn of_name(name: &str) -> Result<Self, CliError> {
        let (collection, id) = name.split_once('/').unwrap_or((name, ""));
        let kind = Self::ALL.into_iter().find(|kind| kind.collection() == collection);
        match (kind, id) {
            (_, id) if id.contains("/reports/") => {
                let record = name.split("/reports/").next().unwrap_or(name);
                Err(CliError::Usage(format!("{name} is a report: `attache reports {record}` shows it")))
            }
            (Some(kind), id) if !id.is_empty() => Ok(kind),
            _ if collection == "sources" => {
                Err(CliError::Usage(format!("{name} is a source: `attache list sources` shows them")))
            }
            _ => Err(CliError::Usage(format!(
                "{name} is no name of a record: it begins with {}/",
                Self::ALL.map(Self::collection).join("/, ")
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_read_from_the_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_name(&format!("{}/x", kind.collection())).unwrap(), kind);
        }
        for name in ["visits", "visits/", "sources/x", "ships/x", "visits/x/reports/y"] {
            assert!(matches!(Kind::of_name(name), Err(CliError::Usage(_))), "{name}");
        }
    }
}
