//! The flags that select records; lists, watches and exports share them.

use clap::Args;

use super::{dates, error::CliError, kinds::Kind, typos, words};
use crate::pb::v1::{Filter, OccurredRange};

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
    /// Of this status today (or at --valid-at), such as concluded, postponed, in-force, expired; "unknown" is of any kind
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Vec<StatusWord>,
    /// With disputed fields
    #[arg(long, conflicts_with = "undisputed")]
    disputed: bool,
    /// Without disputed fields
    #[arg(long)]
    undisputed: bool,
    /// Also the probes of `attache verify --server`, which are hidden otherwise
    #[arg(long)]
    include_probes: bool,
    /// A filter in JSON as the contract has it; records that pass it are taken too. Repeatable
    #[arg(long, value_name = "JSON", value_parser = filter_json)]
    filter: Vec<Filter>,
}

/// A word of either vocabulary of status, or of both: `unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StatusWord {
    word: String,
    /// Of a visit, meeting or exercise.
    held: Option<i32>,
    agreement: Option<i32>,
}

/// When what the record tells of happened.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filter")]
pub struct DateArgs {
    /// Happened then or later: a date in EDTF, such as 2023 or 2023-10-05
    #[arg(long, visible_alias = "occurred-since", value_name = "DATE", value_parser = dates::edtf)]
    pub since: Option<String>,
    /// Happened then or earlier
    #[arg(long, visible_alias = "occurred-until", value_name = "DATE", value_parser = dates::edtf)]
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
        let own = self.with_status(self.own(dates.range()?));
        Ok(own.into_iter().filter(|own| *own != Filter::default()).chain(self.filter.iter().cloned()).collect())
    }

    /// No record has a status of both vocabularies: words of both are a filter each.
    fn with_status(&self, own: Filter) -> Vec<Filter> {
        let statuses: Vec<_> = self.status.iter().filter_map(|word| word.held).collect();
        let agreement_statuses: Vec<_> = self.status.iter().filter_map(|word| word.agreement).collect();
        match (statuses.is_empty(), agreement_statuses.is_empty()) {
            (false, false) => vec![Filter { statuses, ..own.clone() }, Filter { agreement_statuses, ..own }],
            _ => vec![Filter { statuses, agreement_statuses, ..own }],
        }
    }

    /// For a list of one kind.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] for flags that no record of this kind can pass.
    pub fn check_kind(&self, kind: Kind) -> Result<(), CliError> {
        let collection = kind.collection();
        let asked: Vec<_> = self.kind.iter().map(|number| words::human("RecordKind", *number)).collect();
        if !asked.is_empty() && !asked.iter().any(|word| word == kind.field()) {
            let words = format!("--kind {}: this is a list of {collection}; leave it out", asked.join(" --kind "));
            return Err(CliError::Usage(words));
        }
        let fits = |status: &StatusWord| match kind {
            Kind::Visit | Kind::Meeting | Kind::Exercise => status.held.is_some(),
            Kind::Agreement => status.agreement.is_some(),
            Kind::Person | Kind::Organization | Kind::Place => false,
        };
        match self.status.iter().find(|status| !fits(status)) {
            Some(status) => Err(CliError::Usage(format!("--status {}: no status of {collection}", status.word))),
            None => Ok(()),
        }
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
            include_probes: self.include_probes,
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
    typos::from_json("Filter", json)
}

fn status(word: &str) -> Result<StatusWord, String> {
    let held = words::number("Status", word);
    let agreement = words::number("AgreementStatus", word);
    match (held, agreement) {
        (Err(held), Err(agreement)) => {
            Err(format!("of visits, meetings and exercises {held}; of agreements {agreement}"))
        }
        (held, agreement) => Ok(StatusWord { word: word.to_owned(), held: held.ok(), agreement: agreement.ok() }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::pb::{
        self,
        v1::{RecordKind, Topic, VisitLevel, VisitType},
    };

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
                    --since 2023 --until 2024-06 --definite --include-probes";
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
            include_probes: true,
        };
        assert_eq!(filters(line), vec![expected]);
    }

    #[test]
    fn undisputed_is_not_the_absence_of_disputed() {
        assert_eq!(filters("--undisputed")[0].disputed, Some(false));
        assert_eq!(filters("--state AZ")[0].disputed, None);
    }

    #[test]
    fn the_word_of_a_status_decides_of_which_records_it_is() {
        use pb::v1::{AgreementStatus, Status};
        let of = |line| filters(line).into_iter().map(|f| (f.statuses, f.agreement_statuses)).collect::<Vec<_>>();
        let (concluded, in_force) = (Status::Concluded as i32, AgreementStatus::InForce as i32);
        assert_eq!(of("--status concluded"), [(vec![concluded], vec![])]);
        assert_eq!(of("--status in-force --status IN_FORCE"), [(vec![], vec![in_force, in_force])]);
        assert_eq!(of("--status concluded --status in-force"), [(vec![concluded], vec![]), (vec![], vec![in_force])]);
        let (unknown, no_word) = (Status::Unknown as i32, AgreementStatus::Unknown as i32);
        assert_eq!(of("--status unknown"), [(vec![unknown], vec![]), (vec![], vec![no_word])]);
        assert!(filters("--state AZ --status unknown").iter().all(|f| f.states_all == ["AZ"]));
        let error = status("expird").unwrap_err();
        assert!(error.contains("did you mean expired?") && error.contains("concluded"), "{error}");
    }

    #[test]
    fn flags_that_no_record_of_the_list_can_pass_are_refused() {
        let check = |line: &str, kind| {
            Line::parse_from(std::iter::once("x").chain(line.split_whitespace())).filter.check_kind(kind)
        };
        assert!(check("--kind agreement", Kind::Visit).unwrap_err().to_string().starts_with("--kind agreement:"));
        assert!(check("--status in-force", Kind::Visit).unwrap_err().to_string().starts_with("--status in-force:"));
        assert!(check("--status concluded", Kind::Person).is_err());
        for line in ["", "--kind visit", "--kind visit --kind agreement", "--status unknown --status cancelled"] {
            assert!(check(line, Kind::Visit).is_ok(), "{line}");
        }
    }

    #[test]
    fn each_json_filter_is_one_more() {
        let filters = filters(r#"--state AZ --filter {"hosts":["KZ"]} --filter {"kinds":["RECORD_KIND_VISIT"]}"#);
        assert_eq!(filters.len(), 3);
        assert_eq!(filters[1].hosts, vec!["KZ".to_owned()]);
        assert!(Line::try_parse_from(["x", "--filter", r#"{"host":["KZ"]}"#]).is_err());
    }
}
