//! Names of resources (AIP-122): records, sources, reports.

use std::{fmt, str::FromStr};

use crate::pb::v1::RecordKind;

/// The longest id of a record or source.
pub const MAX_ID: usize = 63;

/// The kinds of record, in the order of the contract.
pub const KINDS: [RecordKind; 7] = [
    RecordKind::Visit,
    RecordKind::Meeting,
    RecordKind::Agreement,
    RecordKind::Exercise,
    RecordKind::Person,
    RecordKind::Organization,
    RecordKind::Place,
];

/// The collection of a kind's names, such as `visits`.
#[must_use]
pub fn collection(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Visit => "visits",
        RecordKind::Meeting => "meetings",
        RecordKind::Agreement => "agreements",
        RecordKind::Exercise => "exercises",
        RecordKind::Person => "persons",
        RecordKind::Organization => "organizations",
        RecordKind::Place => "places",
        RecordKind::Unspecified => "",
    }
}

/// The message of a kind, such as `Visit`; also the name of its `oneof` field in lower case.
#[must_use]
pub fn message(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Visit => "Visit",
        RecordKind::Meeting => "Meeting",
        RecordKind::Agreement => "Agreement",
        RecordKind::Exercise => "Exercise",
        RecordKind::Person => "Person",
        RecordKind::Organization => "Organization",
        RecordKind::Place => "Place",
        RecordKind::Unspecified => "",
    }
}

/// Whether a message is one of the kinds, such as `Visit`.
#[must_use]
pub fn is_kind(message: &str) -> bool {
    of_message(message) != RecordKind::Unspecified
}

/// The kind of a message, such as `Visit`; unspecified for others.
#[must_use]
pub fn of_message(message: &str) -> RecordKind {
    KINDS.into_iter().find(|kind| self::message(*kind) == message).unwrap_or(RecordKind::Unspecified)
}

/// Why a text is not the name it should be, with what it should look like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

/// Whether a text is an id: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=MAX_ID).contains(&bytes.len())
        && bytes.iter().all(|b| edge(b) || *b == b'-')
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
}

/// The name of a record: `{collection}/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordName {
    text: String,
    kind: RecordKind,
}

impl RecordName {
    /// The kind that its collection says.
    #[must_use]
    pub fn kind(&self) -> RecordKind {
        self.kind
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What follows the collection.
    #[must_use]
    pub fn id(&self) -> &str {
        id_of(&self.text)
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for RecordName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let kind = text
            .split_once('/')
            .filter(|(_, id)| is_id(id))
            .and_then(|(c, _)| KINDS.into_iter().find(|k| collection(*k) == c));
        match kind {
            Some(kind) => Ok(Self { text: text.to_owned(), kind }),
            None => Err(NameError(format!(
                "{} is not the name of a record: visits/, meetings/, agreements/, exercises/, persons/, organizations/ or \
                 places/ and an id of at most {MAX_ID} of a-z, 0-9 and - (not at its ends)",
                quote(text)
            ))),
        }
    }
}

/// How the ids of probes begin: what checks of the service file.
const PROBE: &str = "probe-";

/// Whether the name of a record or source is one of a probe.
#[must_use]
pub fn is_probe(name: &str) -> bool {
    name.split_once('/').is_some_and(|(_, id)| id.starts_with(PROBE))
}

/// Whether a text is `sources/{id}`.
#[must_use]
pub fn is_source(text: &str) -> bool {
    text.strip_prefix("sources/").is_some_and(is_id)
}

/// The name of a report: `{record}/reports/{source id}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReportName {
    /// The record it is about.
    pub record: RecordName,
    /// The source's name, `sources/{id}`.
    pub source: String,
}

impl fmt::Display for ReportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/reports/{}", self.record, id_of(&self.source))
    }
}

impl FromStr for ReportName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = text
            .split_once("/reports/")
            .and_then(|(record, id)| Some((record.parse().ok()?, is_id(id).then(|| format!("sources/{id}"))?)));
        match parsed {
            Some((record, source)) => Ok(Self { record, source }),
            None => {
                Err(NameError(format!("{} is not the name of a report: {{record}}/reports/{{source id}}", quote(text))))
            }
        }
    }
}

/// What follows the first slash.
#[must_use]
pub fn id_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, id)| id)
}

/// A text as error messages show it: quoted, and cut after 80 characters.
#[must_use]
pub fn quote(text: &str) -> String {
    match text.char_indices().nth(80) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}… ({} characters)", &text[..end], text.chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_name_says_its_kind() {
        let name: RecordName = "visits/kz-az-2023".parse().unwrap();
        assert_eq!((name.kind(), name.id()), (RecordKind::Visit, "kz-az-2023"));
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        let long = format!("visits/{}", "a".repeat(64));
        for bad in
            ["", "visits", "visits/", "visits/-a", "visits/a-", "visits/A", "visits/a/b", "trips/a", "sources/a", &long]
        {
            assert!(bad.parse::<RecordName>().is_err(), "{bad}");
        }
        assert!(format!("visits/{}", "a".repeat(63)).parse::<RecordName>().is_ok());
    }

    #[test]
    fn a_report_name_reads_back_as_written() {
        let text = "visits/a/reports/b";
        let name: ReportName = text.parse().unwrap();
        assert_eq!((name.source.as_str(), name.to_string().as_str()), ("sources/b", text));
    }
}
