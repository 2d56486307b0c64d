//! The flags that select records; lists, watches and exports share them.

use clap::Args;

use super::{error::CliError, words};
use crate::pb::{
    self,
    v1::{Filter, OccurredRange},
};

/// Which records. Different flags must all hold; of one flag's values one must, except of `--state`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filter")]
pub struct FilterArgs {
    /// Of this kind, such as visit
    #[arg(long, value_name = "KIND", value_parser = words::parser("RecordKind"))]
    kind: Vec<i32>,
    /// Between all the states given, such as --state AZ --state KZ
    #[arg(long, value_name = "STATE", value_parser = words::state)]
    state: Vec<String>,
    /// With at least one of the states given
    #[arg(long, value_name = "STATE", value_parser = words::state)]
    any_state: Vec<String>,
    /// With no other states than those given
    #[arg(long, value_name = "STATE", value_parser = words::state)]
    only_state: Vec<String>,
    /// Hosted by this state
    #[arg(long, value_name = "STATE", value_parser = words::state)]
    host: Vec<String>,
    /// With this state among the guests
    #[arg(long, value_name = "STATE", value_parser = words::state)]
    guest: Vec<String>,
    /// Observed by this state
    #[arg(long, value_name = "STATE", value_parser = words::state)]
    observer: Vec<String>,
    /// Visits of this type, such as official-working
    #[arg(long, value_name = "TYPE", value_parser = words::parser("VisitType"))]
    visit_type: Vec<i32>,
    /// Visits of this level, such as minister
    #[arg(long, visible_alias = "level", value_name = "LEVEL", value_parser = words::parser("VisitLevel"))]
    visit_level: Vec<i32>,
    /// About this topic, such as peacekeeping
    #[arg(long, value_name = "TOPIC", value_parser = words::parser("Topic"))]
    topic: Vec<i32>,
    /// Agreements of this form, such as cooperation-plan
    #[arg(long, value_name = "FORM", value_parser = words::parser("Instrument"))]
    instrument: Vec<i32>,
    /// Exercises in this domain, such as maritime
    #[arg(long, value_name = "DOMAIN", value_parser = words::parser("Domain"))]
    domain: Vec<i32>,
    /// That refer to this person
    #[arg(long, value_name = "NAME")]
    person: Vec<String>,
    /// That refer to this organization
    #[arg(long, value_name = "NAME")]
    organization: Vec<String>,
    /// That refer to this place
    #[arg(long, value_name = "NAME")]
    place: Vec<String>,
    /// With this name
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// With disputed fields
    #[arg(long, conflicts_with = "undisputed")]
    disputed: bool,
    /// Without disputed fields
    #[arg(long)]
    undisputed: bool,
    /// A filter in JSON as the contract has it; records that pass it are taken too. Repeatable
    #[arg(long, value_name = "JSON", value_parser = filter_json)]
    filter: Vec<Filter>,
}

/// When what the record tells of happened.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filter")]
pub struct DateArgs {
    /// Happened then or later: a date in EDTF, such as 2023 or 2023-10-05
    #[arg(long, visible_alias = "occurred-since", value_name = "DATE")]
    pub since: Option<String>,
    /// Happened then or earlier
    #[arg(long, visible_alias = "occurred-until", value_name = "DATE")]
    pub until: Option<String>,
    /// Within these dates for certain; otherwise "maybe" is enough
    #[arg(long)]
    pub definite: bool,
}

impl FilterArgs {
    /// As a request takes them: none if no flag was given.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] for `--definite` without dates.
    pub fn filters(&self, dates: &DateArgs) -> Result<Vec<Filter>, CliError> {
        let own = self.own(dates.range()?);
        let given = (own != Filter::default()).then_some(own);
        Ok(given.into_iter().chain(self.filter.iter().cloned()).collect())
    }

    fn own(&self, occurred: Option<OccurredRange>) -> Filter {
        Filter {
            kinds: self.kind.clone(),
            names: self.name.clone(),
            states_any: self.any_state.clone(),
            states_all: self.state.clone(),
            states_only: self.only_state.clone(),
            observer_states: self.observer.clone(),
            hosts: self.host.clone(),
            guests: self.guest.clone(),
            topics: self.topic.clone(),
            visit_types: self.visit_type.clone(),
            visit_levels: self.visit_level.clone(),
            instruments: self.instrument.clone(),
            exercise_domains: self.domain.clone(),
            persons: in_collection("persons", &self.person),
            organizations: in_collection("organizations", &self.organization),
            places: in_collection("places", &self.place),
            occurred,
            disputed: (self.disputed || self.undisputed).then_some(self.disputed),
            ..Filter::default()
        }
    }
}

impl DateArgs {
    fn range(&self) -> Result<Option<OccurredRange>, CliError> {
        let Self { since, until, definite } = self;
        match (since, until) {
            (None, None) if *definite => {
                Err(CliError::Usage("--definite says how dates are compared: give --since, --until or both".into()))
            }
            (None, None) => Ok(None),
            _ => Ok(Some(OccurredRange {
                from: since.clone().unwrap_or_default(),
                until: until.clone().unwrap_or_default(),
                definite_only: *definite,
            })),
        }
    }
}

/// `zhaksylykov` is taken as `persons/zhaksylykov`.
fn in_collection(collection: &str, names: &[String]) -> Vec<String> {
    let full = |name: &String| {
        if name.contains('/') { name.clone() } else { format!("{collection}/{name}") }
    };
    names.iter().map(full).collect()
}

fn filter_json(json: &str) -> Result<Filter, String> {
    pb::from_json("Filter", json)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::pb::v1::{RecordKind, Topic, VisitLevel, VisitType};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        dates: DateArgs,
    }

    fn filters(line: &str) -> Vec<Filter> {
        let line = Line::parse_from(std::iter::once("x").chain(line.split_whitespace()));
        line.filter.filters(&line.dates).unwrap()
    }

    #[test]
    fn no_flag_is_no_filter() {
        assert_eq!(filters(""), vec![]);
    }

    #[test]
    fn every_flag_fills_its_field() {
        let line = "--kind visit --state az --state KZ --any-state TR --only-state AZ --host AZ --guest KZ \
                    --observer RU --visit-type official --level minister --topic peacekeeping --instrument treaty \
                    --domain air --person p --organization organizations/o --place l --name visits/v --disputed \
                    --since 2023 --until 2024-06 --definite";
        let expected = Filter {
            kinds: vec![RecordKind::Visit as i32],
            names: vec!["visits/v".into()],
            states_any: vec!["TR".into()],
            states_all: vec!["AZ".into(), "KZ".into()],
            states_only: vec!["AZ".into()],
            observer_states: vec!["RU".into()],
            hosts: vec!["AZ".into()],
            guests: vec!["KZ".into()],
            topics: vec![Topic::Peacekeeping as i32],
            visit_types: vec![VisitType::Official as i32],
            visit_levels: vec![VisitLevel::Minister as i32],
            instruments: vec![pb::v1::Instrument::Treaty as i32],
            exercise_domains: vec![pb::v1::Domain::Air as i32],
            persons: vec!["persons/p".into()],
            organizations: vec!["organizations/o".into()],
            places: vec!["places/l".into()],
            statuses: vec![],
            agreement_statuses: vec![],
            occurred: Some(OccurredRange { from: "2023".into(), until: "2024-06".into(), definite_only: true }),
            disputed: Some(true),
        };
        assert_eq!(filters(line), vec![expected]);
    }

    #[test]
    fn undisputed_is_not_the_absence_of_disputed() {
        assert_eq!(filters("--undisputed")[0].disputed, Some(false));
        assert_eq!(filters("--state AZ")[0].disputed, None);
    }

    #[test]
    fn each_json_filter_is_one_more() {
        let filters = filters(r#"--state AZ --filter {"hosts":["KZ"]} --filter {"kinds":["RECORD_KIND_VISIT"]}"#);
        assert_eq!(filters.len(), 3);
        assert_eq!(filters[1].hosts, vec!["KZ".to_owned()]);
        assert!(Line::try_parse_from(["x", "--filter", r#"{"host":["KZ"]}"#]).is_err());
    }
}
