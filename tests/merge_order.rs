//! Whatever was filed, merged, lifted and ruled, in whatever order: the reports, merges and rulings in force alone
//! decide what the records are. And whatever happened, each cooperation event that was not withdrawn stands of a record.
//!
//! Random histories that end alike go through the real writer; `ATTACHE_TEST_SEED` begins at another seed.

#[path = "common/registry.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};

use attache::{
    domain::{error::Reason, milestone, report::Report, status::View},
    pb::v1::{self, EventClass, EventType},
    writer::Answer,
};
use common::{Registry, reports};
use rand::{
    Rng as _, SeedableRng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use serde_json::json;

const NAMES: [&str; 5] = ["agreements/a", "agreements/b", "agreements/c", "agreements/d", "agreements/e"];
const SOURCES: [&str; 3] = ["s0", "s1", "s2"];
/// How many ends are drawn, and how many histories lead to each.
const ENDS: u64 = 40;
const HISTORIES: usize = 3;

fn report(rng: &mut StdRng, name: &str, source: &str) -> Report {
    let act = ["SIGNED", "ENDORSED", "RATIFIED", "ENTERED_INTO_FORCE"].choose(rng).unwrap();
    let day = ["2023-10-06", "2023-10-07", "2023-10", "2023"].choose(rng).unwrap();
    let kind = ["SECONDARY", "PRIMARY_OFFICIAL"].choose(rng).unwrap();
    let partner = ["KZ", "UZ"].choose(rng).unwrap();
    let mut agreement = json!({
        "parties": [{ "state": "AZ" }, { "state": partner }],
        "actions": [{ "type": format!("ACTION_TYPE_{act}"), "date": { "edtf": day } }],
    });
    if rng.random_bool(0.3) {
        let target = NAMES.choose(rng).unwrap();
        agreement["relations"] = json!([{ "type": "RELATION_TYPE_SUPERSEDES", "target": target }]);
    }
    let source = json!({
        "name": format!("sources/{source}"),
        "publisher": { "nameAsStated": source },
        "kind": format!("SOURCE_KIND_{kind}"),
    });
    reports(&json!({ "source": source, "reports": [{ "record": name, "agreement": agreement }] }).to_string()).remove(0)
}

/// What a history ends with.
struct End {
    reports: BTreeMap<(&'static str, &'static str), Report>,
    /// From a name to the one it is merged into: always a later one, so that there is no circle.
    merges: BTreeMap<&'static str, &'static str>,
    ruled: BTreeSet<&'static str>,
}

impl End {
    fn draw(rng: &mut StdRng) -> Self {
        let mut end = Self { reports: BTreeMap::new(), merges: BTreeMap::new(), ruled: BTreeSet::new() };
        let mut order = NAMES;
        order.shuffle(rng);
        for (place, name) in order.into_iter().enumerate() {
            for source in SOURCES {
                if rng.random_bool(0.4) {
                    end.reports.insert((name, source), report(rng, name, source));
                }
            }
            if let (Some(into), true) = (order[place + 1..].choose(rng), rng.random_bool(0.6)) {
                end.merges.insert(name, into);
            }
            if rng.random_bool(0.15) {
                end.ruled.insert(name);
            }
        }
        end
    }
}

/// One thing to do.
#[derive(Debug, Clone)]
enum Step {
    File(Box<Report>),
    Withdraw(String),
    Merge(&'static str, &'static str),
    Unmerge(&'static str),
    Retract(&'static str),
    Restore(&'static str),
}

/// A registry whose every answer is checked.
struct Live {
    registry: Registry,
    merges: BTreeMap<&'static str, &'static str>,
    /// Cooperation events that were told and not withdrawn: their type and element.
    standing: BTreeMap<String, (EventType, String)>,
}

impl Live {
    /// In which every name is known.
    fn new(rng: &mut StdRng) -> Self {
        let mut live =
            Self { registry: Registry::on("2026-01-15"), merges: BTreeMap::new(), standing: BTreeMap::new() };
        for name in NAMES {
            live.take(&Step::File(Box::new(report(rng, name, SOURCES[0]))));
        }
        live
    }

    fn survivor(&self, name: &'static str) -> &'static str {
        self.merges.get(name).map_or(name, |into| self.survivor(into))
    }

    /// Whether a ruling retracts a name, or one that it is merged into.
    fn is_held(&self, name: &'static str) -> bool {
        let into = self.merges.get(name);
        self.registry.is_retracted_by_ruling(name) || into.is_some_and(|into| self.is_held(into))
    }

    /// Does it if it can be done; what cannot is refused and changes nothing.
    fn take(&mut self, step: &Step) {
        let before: BTreeMap<_, _> = NAMES.iter().map(|n| (*n, self.registry.milestone_events(n))).collect();
        let done = match step {
            Step::File(report) => Ok(self.registry.file(vec![(**report).clone()])),
            Step::Withdraw(report) => self.registry.withdraw(report),
            Step::Merge(loser, survivor) if loser == survivor => return,
            Step::Merge(loser, survivor) => self.registry.merge(loser, survivor),
            Step::Unmerge(loser) => self.registry.unmerge(loser),
            Step::Retract(name) => self.registry.retract(name),
            Step::Restore(name) => self.registry.restore(name),
        };
        let answer = match done {
            Ok(answer) => answer,
            Err(error) => {
                let refused = matches!(error.reason, Reason::FieldInvalid | Reason::RecordNotFound);
                return assert!(refused, "{error:?}");
            }
        };
        self.check_handed_over(step, &answer, &before);
        match step {
            Step::Merge(loser, survivor) => drop(self.merges.insert(loser, survivor)),
            Step::Unmerge(loser) => drop(self.merges.remove(loser)),
            _ => {}
        }
        self.follow(&answer);
        self.check_milestones(step);
    }

    /// A merge withdraws nothing while its record stands, and neither it nor its lifting tells anything that stood.
    fn check_handed_over(
        &self,
        step: &Step,
        answer: &Answer,
        before: &BTreeMap<&str, BTreeMap<(EventType, String), BTreeSet<String>>>,
    ) {
        let (Step::Merge(name, _) | Step::Unmerge(name)) = step else { return };
        let other = match step {
            Step::Merge(_, survivor) => self.survivor(survivor),
            _ => self.survivor(name),
        };
        let stands = self.registry.record(other).is_some() && !self.is_held(other_of(step));
        for event in answer.events.iter().filter(|e| e.event_class() == EventClass::Cooperation) {
            if event.r#type() == EventType::MilestoneWithdrawn {
                let lifted = matches!(step, Step::Unmerge(_));
                // What others are told follows from what supersedes them; and no agreement supersedes itself.
                let follows = event.subject != other || event.withdrawn_type() == EventType::AgreementSuperseded;
                let told = (event.withdrawn_type(), &event.subject);
                assert!(lifted || !stands || follows, "{step:?} withdraws {told:?}");
            } else {
                let key = (event.r#type(), common::element(event));
                let stood = [name, &other].iter().any(|n| before[*n].contains_key(&key));
                assert!(!stood || event.subject != other && event.subject != *name, "{step:?} tells {key:?} again");
            }
        }
    }

    fn follow(&mut self, answer: &Answer) {
        for event in answer.events.iter().filter(|e| e.event_class() == EventClass::Cooperation) {
            if event.r#type() == EventType::MilestoneWithdrawn {
                let told = self.standing.remove(&event.withdraws);
                assert!(told.is_some(), "{} withdraws what does not stand: {}", event.id, event.withdraws);
            } else {
                self.standing.insert(event.id.clone(), (event.r#type(), common::element(event)));
            }
        }
    }

    /// The events that stand are those of the records' milestones, and every fact of a record is among its own.
    fn check_milestones(&self, step: &Step) {
        let records: Vec<v1::Record> = NAMES.iter().filter_map(|n| self.registry.record(n)).collect();
        let mut held: BTreeMap<String, (EventType, String)> = BTreeMap::new();
        for name in NAMES {
            let milestones = self.registry.milestone_events(name);
            if let Some(record) = self.registry.record(name) {
                let view = View { day: day("2026-01-15"), successors: &records };
                for fact in milestone::facts(&record, view) {
                    let key = (fact.event_type, fact.element.clone());
                    let worth = fact.is_worth_telling(view.day);
                    assert!(!worth || milestones.contains_key(&key), "{key:?} of {name} was not told: {step:?}");
                }
            } else {
                assert!(milestones.is_empty(), "{name} does not stand: {step:?}");
            }
            held.extend(milestones.into_iter().flat_map(|(key, ids)| ids.into_iter().map(move |id| (id, key.clone()))));
        }
        assert_eq!(held, self.standing, "what was told and not withdrawn stands of a record: {step:?}");
    }
}

/// The name that a step merges into.
fn other_of(step: &Step) -> &'static str {
    match step {
        Step::Merge(_, name) | Step::Unmerge(name) | Step::Retract(name) | Step::Restore(name) => name,
        Step::File(_) | Step::Withdraw(_) => "",
    }
}

fn day(text: &str) -> i32 {
    attache::domain::date::civil_day(text).expect("a day")
}

fn at_random(rng: &mut StdRng) -> Step {
    let (name, other) = (*NAMES.choose(rng).unwrap(), *NAMES.choose(rng).unwrap());
    let source = *SOURCES.choose(rng).unwrap();
    match rng.random_range(0..10) {
        0..3 => Step::File(Box::new(report(rng, name, source))),
        3 => Step::Withdraw(format!("{name}/reports/{source}")),
        4..7 => Step::Merge(name, other),
        7 => Step::Unmerge(name),
        8 => Step::Retract(name),
        _ => Step::Restore(name),
    }
}

/// A history that wanders, and then goes to its end in some order.
fn history(end: &End, rng: &mut StdRng) -> Live {
    let mut live = Live::new(rng);
    for _ in 0..rng.random_range(0..20) {
        live.take(&at_random(rng));
    }
    let mut ahead: Vec<Step> = Vec::new();
    let mut after: Vec<Step> = end.merges.iter().map(|(loser, survivor)| Step::Merge(loser, survivor)).collect();
    let wrong = live.merges.iter().filter(|(loser, into)| end.merges.get(*loser) != Some(*into));
    ahead.extend(wrong.map(|(loser, _)| Step::Unmerge(loser)));
    for name in NAMES {
        let mut set = |step: Step| if rng.random_bool(0.5) { ahead.push(step) } else { after.push(step) };
        set(if end.ruled.contains(name) { Step::Retract(name) } else { Step::Restore(name) });
        for source in SOURCES {
            set(match end.reports.get(&(name, source)) {
                Some(report) => Step::File(Box::new(report.clone())),
                None => Step::Withdraw(format!("{name}/reports/{source}")),
            });
        }
    }
    ahead.shuffle(rng);
    after.shuffle(rng);
    for step in ahead.iter().chain(&after) {
        live.take(step);
    }
    assert_eq!(live.merges, end.merges, "the history ends with the merges that it should");
    live
}

/// What must be the same of a name: the record without what tells when.
fn outcome(live: &Live, name: &str) -> Option<v1::Record> {
    live.registry.record(name).map(|r| common::stated(&r))
}

#[test]
fn histories_that_end_with_the_same_reports_merges_and_rulings_make_the_same_records() {
    let seed = std::env::var("ATTACHE_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1_u64);
    let mut stood = 0;
    for seed in seed..seed + ENDS {
        println!("ATTACHE_TEST_SEED={seed}");
        let rng = &mut StdRng::seed_from_u64(seed);
        let end = End::draw(rng);
        let first = history(&end, rng);
        for _ in 1..HISTORIES {
            let other = history(&end, rng);
            for name in NAMES {
                let (one, two) = (outcome(&first, name), outcome(&other, name));
                assert_eq!(one, two, "{name}");
                stood +=
                    usize::from(one.is_some_and(|r| {
                        attache::domain::record::info(&r).is_some_and(|i| !i.merged_names.is_empty())
                    }));
            }
        }
    }
    assert!(stood > 40, "{stood} records with merged names were compared");
}
