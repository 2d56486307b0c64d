//! Whatever was filed, replaced, withdrawn and ruled, in whatever order: what is active decides alone what a record is.
//!
//! Random histories that end with the same active set go through the real writer. A failure prints its smallest input
//! and the seed; `ATTACHE_SEED` runs that seed again.

#[path = "common/registry.rs"]
mod common;

use std::collections::BTreeMap;

use attache::domain::{
    record,
    report::Report,
    status::{self, View},
};
use common::{Registry, replay, reports};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner},
};
use serde_json::{Value as Json, json};

/// The records that a history is about.
const RECORDS: [&str; 4] = ["visits/v", "agreements/a", "agreements/b", "exercises/e"];
/// The sources that report on each.
const SOURCES: usize = 5;
/// How many histories with the same end are compared.
const HISTORIES: usize = 2;

/// Decisions drawn from bytes; when they run out, every answer is the simplest.
struct Draw<'b> {
    bytes: &'b [u8],
}

impl Draw<'_> {
    fn number(&mut self, below: usize) -> usize {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        usize::from(*first) % below
    }

    /// In one case of so many; never when the bytes have run out.
    fn once_in(&mut self, cases: usize) -> bool {
        self.number(cases) == cases - 1 && cases > 1
    }

    fn of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.number(values.len())]
    }

    /// Puts a field there or leaves it out.
    fn maybe(&mut self, into: &mut Json, field: &str, value: impl FnOnce(&mut Self) -> Json) {
        if self.once_in(2) {
            into[field] = value(self);
        }
    }

    fn list(&mut self, most: usize, mut element: impl FnMut(&mut Self) -> Json) -> Json {
        let count = 1 + self.number(most);
        Json::Array((0..count).map(|_| element(self)).collect())
    }

    fn source(&mut self, index: usize) -> Json {
        let kinds = ["SECONDARY", "EDITOR", "PRIMARY_OFFICIAL", "SYNDICATED_COPY", "DATASET"];
        let mut source = json!({
            "name": format!("sources/s{index}"),
            "publisher": { "nameAsStated": self.of(&["x", "y", "z"]) },
            "kind": format!("SOURCE_KIND_{}", self.of(&kinds)),
        });
        self.maybe(&mut source, "reliability", |d| format!("RELIABILITY_{}", d.of(&["A", "C", "D", "F"])).into());
        self.maybe(&mut source, "published", |d| d.of(&["2023-10-07", "2023-10-08", "2023-10-07T08:00:00Z"]).into());
        self.maybe(&mut source, "origin", |d| json!({ "nameAsStated": d.of(&["x", "m"]) }));
        source
    }

    fn date(&mut self) -> Json {
        json!({ "edtf": self.of(&["2023-10-06", "2023-10-07", "2023-10", "2023", "2023~", "2023-10-06?", "2023-10-05/2023-10-06"]) })
    }

    fn words(&mut self) -> Json {
        json!([{ "text": self.of(&["one", "two"]) }])
    }

    /// An enum, its words, or both.
    fn worded(&mut self, into: &mut Json, field: &str, words: &str, values: &[&str]) {
        let stated = self.number(4);
        if stated & 1 == 1 {
            into[field] = self.of(values).into();
        }
        if stated & 2 == 2 {
            into[words] = self.words();
        }
    }

    fn person(&mut self) -> Json {
        let mut person = json!({ "nameAsStated": self.of(&["Anna", "ANNA", "Boris"]) });
        self.maybe(&mut person, "person", |d| d.of(&["persons/anna", "persons/boris"]).into());
        self.maybe(&mut person, "rankAsStated", |d| d.of(&["General", "Major"]).into());
        self.maybe(&mut person, "nato", |d| {
            json!({ "code": d.of(&["NATO_CODE_OF_8", "NATO_CODE_OF_9"]), "basis": d.of(&["BASIS_STATED", "BASIS_INFERRED"]) })
        });
        person
    }

    fn party(&mut self) -> Json {
        let mut party = json!({ "state": self.of(&["AZ", "KZ"]) });
        self.maybe(&mut party, "organization", |d| d.of(&["organizations/mod", "organizations/navy"]).into());
        party
    }

    fn side(&mut self) -> Json {
        let mut side = self.party();
        self.maybe(&mut side, "head", Self::person);
        side
    }

    fn place(&mut self) -> Json {
        let mut place = json!({ "asStated": self.of(&["Hall", "hall", "Square"]) });
        self.maybe(&mut place, "place", |d| d.of(&["places/p", "places/q"]).into());
        place
    }

    fn item(&mut self) -> Json {
        let mut item = json!({ "status": self.of(&["ITINERARY_STATUS_HELD", "ITINERARY_STATUS_PLANNED", "ITINERARY_STATUS_CANCELLED"]) });
        self.worded(
            &mut item,
            "kind",
            "kindAsStated",
            &["ITINERARY_KIND_MEETING", "ITINERARY_KIND_FACILITY_TOUR", "ITINERARY_KIND_BANQUET"],
        );
        self.maybe(&mut item, "place", Self::place);
        self.maybe(&mut item, "date", Self::date);
        self.maybe(&mut item, "day", |d| (1 + d.number(2)).into());
        self.maybe(&mut item, "host", Self::party);
        self.maybe(&mut item, "honours", |d| d.list(2, |d| json!({ "nameAsStated": d.of(&["Hero", "hero", "Poet"]) })));
        self.maybe(&mut item, "components", |d| {
            d.list(2, |d| json!({ "kind": d.of(&["COMPONENT_KIND_GUN_SALUTE", "COMPONENT_KIND_MARCH_PAST"]), "persons": [d.person()] }))
        });
        self.maybe(&mut item, "participants", |d| {
            d.list(
                2,
                |d| json!({ "person": d.person(), "role": d.of(&["PARTICIPANT_ROLE_HOST", "PARTICIPANT_ROLE_GUEST"]) }),
            )
        });
        item
    }

    fn statement(&mut self) -> Json {
        let mut statement = json!({ "act": self.of(&["STATEMENT_ACT_AGREED", "STATEMENT_ACT_NOTED"]) });
        self.maybe(&mut statement, "speaker", |d| json!({ "kind": "SPEAKER_KIND_PERSON", "person": d.person() }));
        self.maybe(&mut statement, "summary", |d| d.of(&["one", "two"]).into());
        statement
    }

    fn progress(&mut self) -> Json {
        let mut stage = json!({ "type": self.of(&["PROGRESS_TYPE_TOOK_PLACE", "PROGRESS_TYPE_BEGAN", "PROGRESS_TYPE_CONCLUDED", "PROGRESS_TYPE_ENDED"]) });
        self.maybe(&mut stage, "date", Self::date);
        stage
    }

    /// What every kind of record has, and what only one source may say.
    fn common(&mut self) -> Json {
        let mut content = json!({});
        self.maybe(&mut content, "summary", |d| d.of(&["one", "two"]).into());
        self.maybe(&mut content, "titles", |d| {
            d.list(2, |d| json!({ "language": d.of(&["en", "ru"]), "text": d.of(&["A", "B"]) }))
        });
        self.maybe(&mut content, "externalIds", |d| json!([{ "scheme": "wikidata", "id": d.of(&["Q1", "Q2"]) }]));
        self.maybe(&mut content, "topics", |d| {
            d.list(3, |d| d.of(&["TOPIC_CYBER", "TOPIC_MEDICAL", "TOPIC_EXERCISES"]).into())
        });
        content
    }

    fn visit(&mut self) -> Json {
        let mut visit = self.common();
        self.worded(&mut visit, "type", "typeAsStated", &["VISIT_TYPE_OFFICIAL", "VISIT_TYPE_WORKING"]);
        self.maybe(&mut visit, "start", Self::date);
        self.maybe(&mut visit, "end", Self::date);
        self.maybe(&mut visit, "durationDays", |d| json!({ "min": 1 + d.number(3) }));
        self.maybe(&mut visit, "hosts", |d| d.list(3, Self::side));
        self.maybe(&mut visit, "guests", |d| d.list(2, Self::side));
        self.maybe(&mut visit, "delegation", |d| json!({ "members": d.list(3, Self::person) }));
        self.maybe(&mut visit, "places", |d| d.list(2, Self::place));
        self.maybe(&mut visit, "itinerary", |d| d.list(4, Self::item));
        self.maybe(&mut visit, "statements", |d| d.list(2, Self::statement));
        self.maybe(&mut visit, "progress", |d| d.list(3, Self::progress));
        self.maybe(&mut visit, "outcomes", |d| {
            d.list(2, |d| json!({ "record": d.of(&["agreements/a", "agreements/b"]) }))
        });
        self.maybe(&mut visit, "mentions", |d| d.list(2, |d| d.of(&["agreements/a", "persons/anna"]).into()));
        self.maybe(&mut visit, "partOf", |d| d.of(&["meetings/m", "visits/u"]).into());
        visit
    }

    fn action(&mut self) -> Json {
        let types =
            ["SIGNED", "ENDORSED", "RATIFIED", "ENTERED_INTO_FORCE", "REGISTERED", "RENEWED", "SUSPENDED", "DENOUNCED"];
        let mut action = json!({ "type": format!("ACTION_TYPE_{}", self.of(&types)) });
        self.maybe(&mut action, "verbAsStated", Self::words);
        self.maybe(&mut action, "date", Self::date);
        self.maybe(&mut action, "effectiveDate", Self::date);
        self.maybe(&mut action, "parties", |d| d.list(2, Self::party));
        self.maybe(&mut action, "place", Self::place);
        self.maybe(&mut action, "signatories", |d| {
            d.list(3, |d| {
                let mut signatory = json!({ "party": d.party() });
                d.maybe(&mut signatory, "person", Self::person);
                signatory
            })
        });
        action
    }

    fn agreement(&mut self) -> Json {
        let mut agreement = self.common();
        self.worded(
            &mut agreement,
            "instrument",
            "instrumentAsStated",
            &["INSTRUMENT_TREATY", "INSTRUMENT_COOPERATION_PLAN"],
        );
        self.maybe(&mut agreement, "parties", |d| d.list(3, Self::party));
        self.maybe(&mut agreement, "actions", |d| d.list(3, Self::action));
        self.maybe(&mut agreement, "validity", |d| {
            let mut validity = json!({});
            d.maybe(&mut validity, "start", Self::inferable);
            d.maybe(&mut validity, "end", Self::inferable);
            validity
        });
        self.maybe(&mut agreement, "renewal", |d| {
            json!({ "kind": d.of(&["RENEWAL_KIND_TACIT", "RENEWAL_KIND_EXPRESS"]), "periodMonths": 1 + d.number(20) })
        });
        self.maybe(&mut agreement, "relations", |d| {
            let kinds = ["RELATION_TYPE_AMENDS", "RELATION_TYPE_RENEWS", "RELATION_TYPE_SUPERSEDES"];
            let targets = ["agreements/b", "agreements/a"];
            d.list(2, |d| json!({ "type": d.of(&kinds), "target": d.of(&targets) }))
        });
        self.maybe(&mut agreement, "series", |d| d.of(&["one", "two"]).into());
        agreement
    }

    fn inferable(&mut self) -> Json {
        json!({ "date": self.date(), "basis": self.of(&["BASIS_STATED", "BASIS_INFERRED"]) })
    }

    fn exercise(&mut self) -> Json {
        let mut exercise = self.common();
        // Its focus takes the place of topics.
        exercise.as_object_mut().expect("fields").remove("topics");
        for date in ["plannedStart", "plannedEnd", "start", "end"] {
            self.maybe(&mut exercise, date, Self::date);
        }
        self.maybe(&mut exercise, "series", |d| d.of(&["one", "two"]).into());
        self.maybe(&mut exercise, "participants", |d| {
            let roles = ["EXERCISE_ROLE_HOST", "EXERCISE_ROLE_OBSERVER"];
            d.list(3, |d| json!({ "state": d.of(&["AZ", "KZ"]), "role": d.of(&roles) }))
        });
        self.maybe(&mut exercise, "progress", |d| d.list(3, Self::progress));
        exercise
    }

    /// What a source states of a record, with the block it is filed with.
    fn report(&mut self, record: &str, source: usize) -> Report {
        let source = self.source(source);
        let kind = record.split_once("s/").expect("a collection").0;
        let content = match kind {
            "visit" => self.visit(),
            "agreement" => self.agreement(),
            _ => self.exercise(),
        };
        let mut report = json!({ "record": record, kind: content });
        if source["kind"] == "SOURCE_KIND_EDITOR" {
            self.maybe(&mut report, "considered", |d| {
                d.list(2, |d| d.of(&["named/x", "named/y", "named/m", "sources/s1"]).into())
            });
        }
        reports(&json!({ "source": source, "reports": [report] }).to_string()).remove(0)
    }
}

/// One step of a history.
#[derive(Clone)]
enum Step {
    File(Box<Report>),
    Withdraw(String),
    Retract(&'static str),
    Restore(&'static str),
}

/// What a history must end with: the active reports, and the records that a ruling retracts.
struct End {
    active: BTreeMap<(usize, usize), Report>,
    retracted: Vec<bool>,
}

impl End {
    fn draw(draw: &mut Draw<'_>) -> Self {
        let mut active = BTreeMap::new();
        for (place, record) in RECORDS.iter().enumerate() {
            for source in 0..SOURCES {
                if draw.once_in(2) {
                    active.insert((place, source), draw.report(record, source));
                }
            }
        }
        let retracted = RECORDS.iter().map(|_| draw.once_in(6)).collect();
        Self { active, retracted }
    }

    /// Steps that end there, by way of other reports, withdrawals and rulings; each strand keeps its own order.
    fn history(&self, draw: &mut Draw<'_>) -> Vec<Step> {
        let mut strands: Vec<Vec<Step>> = Vec::new();
        for (place, record) in RECORDS.iter().enumerate() {
            for source in 0..SOURCES {
                strands.push(self.strand(draw, place, record, source));
            }
            if draw.once_in(3) {
                strands.push(vec![Step::Retract(record), Step::Restore(record)]);
            }
        }
        let mut steps = Vec::new();
        strands.retain(|s| !s.is_empty());
        while !strands.is_empty() {
            let next = draw.number(strands.len());
            steps.push(strands[next].remove(0));
            strands.retain(|s| !s.is_empty());
        }
        let retracted = RECORDS.iter().zip(&self.retracted).filter(|(_, is)| **is);
        steps.extend(retracted.map(|(record, _)| Step::Retract(record)));
        steps
    }

    fn strand(&self, draw: &mut Draw<'_>, place: usize, record: &str, source: usize) -> Vec<Step> {
        let file = |report: Report| Step::File(Box::new(report));
        let name = format!("{record}/reports/s{source}");
        let last = self.active.get(&(place, source));
        let mut strand = Vec::new();
        if draw.once_in(2) {
            strand.push(file(draw.report(record, source)));
            if last.is_none() || draw.once_in(2) {
                strand.push(Step::Withdraw(name));
            }
        }
        strand.extend(last.cloned().map(file));
        if let (Some(last), true) = (last, draw.once_in(4)) {
            strand.push(file(last.clone()));
        }
        strand
    }
}

/// Takes the steps in a registry of its own; neighbours may share a filing.
fn live(steps: &[Step], draw: &mut Draw<'_>) -> Registry {
    let registry = Registry::on("2026-01-15");
    let mut waiting: Vec<Report> = Vec::new();
    for step in steps {
        if let Step::File(report) = step {
            waiting.push((**report).clone());
            if draw.once_in(3) {
                continue;
            }
        }
        if !waiting.is_empty() {
            registry.file(std::mem::take(&mut waiting));
        }
        match step {
            Step::File(_) => {}
            Step::Withdraw(report) => drop(registry.withdraw(report).expect("it was filed")),
            // What the registry never held cannot be ruled on; that the record is not there is one of the histories.
            Step::Retract(record) => drop(registry.retract(record).map_err(|e| assert!(common::is_not_found(&e)))),
            Step::Restore(record) => drop(registry.restore(record).map_err(|e| assert!(common::is_not_found(&e)))),
        }
    }
    if !waiting.is_empty() {
        registry.file(waiting);
    }
    registry
}

/// The status that stands is the one that the registry derives of what stands, whatever was filed last.
fn check_status(registry: &Registry) -> Result<(), TestCaseError> {
    let standing: Vec<_> = RECORDS.iter().filter_map(|name| registry.record(name)).collect();
    for record in &standing {
        let view = View { day: registry.head().today(), successors: &standing };
        let stored = record::info(record).and_then(|i| i.status.clone());
        prop_assert_eq!(status::derive(record, view), stored, "{}", record::name_of(record));
    }
    Ok(())
}

/// What must be the same: the record without what tells when, and where every field comes from.
fn outcome(registry: &Registry, name: &str) -> (String, Vec<String>) {
    let record = registry.record(name).map(|r| common::stated(&r));
    let provenance = common::resolution(registry, name).map(|r| common::provenance(&r)).unwrap_or_default();
    (format!("{record:#?}"), provenance)
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let draw = &mut Draw { bytes };
    let end = End::draw(draw);
    let mut first: Option<Vec<(String, Vec<String>)>> = None;
    for _ in 0..HISTORIES {
        let steps = end.history(draw);
        let registry = live(&steps, draw);
        check_status(&registry)?;
        let standing = replay(&registry.told());
        for (name, told) in standing {
            prop_assert_eq!(told, registry.milestones(&name), "{}", name);
        }
        for (place, name) in RECORDS.iter().enumerate() {
            let active = end.active.keys().filter(|(of, _)| *of == place).count();
            prop_assert_eq!(registry.active(name).len(), active, "the history ends with the active set: {}", name);
            let stands = active > 0 && !registry.is_retracted_by_ruling(name);
            prop_assert_eq!(registry.record(name).is_some(), stands, "{}", name);
        }
        let outcomes: Vec<_> = RECORDS.iter().map(|name| outcome(&registry, name)).collect();
        match &first {
            None => first = Some(outcomes),
            Some(first) => prop_assert_eq!(first, &outcomes),
        }
    }
    Ok(())
}

fn seed() -> u64 {
    let asked = std::env::var("ATTACHE_SEED").ok().map(|s| s.parse().expect("ATTACHE_SEED is a number"));
    asked.unwrap_or_else(rand::random)
}

#[test]
fn histories_that_end_with_the_same_reports_and_rulings_make_the_same_records() {
    let seed = seed();
    println!("ATTACHE_SEED={seed}");
    let config = Config {
        cases: 64,
        // What is found must be told before the test is ended for taking too long.
        max_shrink_time: 40_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let bytes = prop::collection::vec(any::<u8>(), 0..4000);
    let failed = TestRunner::new(config).run(&bytes, |bytes| check(&bytes)).err();
    if let Some(TestError::Fail(why, bytes)) = failed {
        let end = End::draw(&mut Draw { bytes: &bytes });
        let active: Vec<_> = end.active.values().map(|r| format!("{:?}", r.content)).collect();
        panic!("ATTACHE_SEED={seed}\n{why}\nthe active reports: {active:#?}\n{} bytes: {bytes:?}", bytes.len());
    }
}
