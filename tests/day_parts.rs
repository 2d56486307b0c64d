//! A move of the registry's day that takes many parts: what comes between them loses nothing and tells nothing twice.

#[path = "common/registry.rs"]
mod common;

use std::collections::BTreeSet;

use attache::{
    domain::{date, record},
    pb::v1::{EventType, Status},
    writer::Act,
};
use common::{Registry, replay, reports};
use serde_json::json;

const BEFORE: &str = "2024-02-09";
const DUE: &str = "2024-02-10";
/// More than one part holds: each of these visits says 4 kB.
const VISITS: usize = 300;

fn visit(id: &str, start: &str) -> attache::domain::report::Report {
    let source = json!({
        "name": "sources/desk", "publisher": { "nameAsStated": "Desk" }, "kind": "SOURCE_KIND_SECONDARY"
    });
    let visit = json!({ "start": { "edtf": start }, "note": "n".repeat(4000) });
    let report = json!({ "record": format!("visits/{id}"), "source": source, "visit": visit });
    reports(&json!({ "reports": [report] }).to_string()).remove(0)
}

fn day(text: &str) -> date::Day {
    date::civil_day(text).expect("a day")
}

/// Many visits that begin on one day, and the store opened on it.
fn filed() -> Registry {
    let registry = Registry::on(BEFORE);
    for hundred in 0..VISITS / 100 {
        registry.file((0..100).map(|n| visit(&format!("v{:03}", hundred * 100 + n), DUE)).collect());
    }
    registry.reopened(DUE)
}

/// Moves the day by one part; whether that was the last.
fn part(registry: &Registry) -> bool {
    registry.act(Act::Day { to: day(DUE) }).expect("a part of the day").remaining == 0
}

fn finish(registry: &Registry) {
    // A part examines something, so that there are no more parts than records.
    assert!((0..VISITS).any(|_| part(registry)), "the day comes to its end");
    assert_eq!((registry.head().day, registry.head().pending), (Some(day(DUE)), None));
}

fn began(registry: &Registry) -> Vec<String> {
    let events = registry.events().into_iter().filter(|e| e.r#type() == EventType::VisitBegan);
    events.map(|e| e.subject).collect()
}

fn status(registry: &Registry, name: &str) -> Status {
    record::info(&registry.record(name).expect(name)).unwrap().status.as_ref().unwrap().status()
}

#[test]
fn the_day_moves_with_its_last_part() {
    let registry = filed();
    assert!(!part(&registry), "one part is not enough");
    let head = registry.head();
    assert_eq!((head.day, head.pending), (Some(day(BEFORE)), Some((day(DUE), 0))));
    assert!(!began(&registry).is_empty() && began(&registry).len() < VISITS);
    finish(&registry);
    assert_eq!(began(&registry).len(), VISITS);
    assert_eq!(began(&registry).into_iter().collect::<BTreeSet<_>>().len(), VISITS);
    let head = registry.head();
    assert!(part(&registry), "the day is there already");
    assert_eq!(registry.head().revision, head.revision, "and nothing is recorded");
    replay(&registry.told());
}

#[test]
fn a_filing_between_parts_is_told_once_and_rests_on_the_day_that_comes() {
    let registry = filed();
    assert!(!part(&registry));
    let examined = began(&registry)[0].clone();
    let told =
        |answer: attache::writer::Answer| answer.events.iter().map(attache::pb::v1::Event::r#type).collect::<Vec<_>>();
    // What was not examined yet moves out of the day; what was moves back before it; something new begins on it.
    let postponed = registry.file(vec![visit("v299", "2024-03-01")]);
    assert_eq!(told(postponed), [EventType::Corrected]);
    let id = examined.strip_prefix("visits/").unwrap().to_owned();
    let corrected = registry.file(vec![visit(&id, "2024-03-01")]);
    assert_eq!(told(corrected), [EventType::Corrected, EventType::MilestoneWithdrawn]);
    let new = registry.file(vec![visit("new", DUE)]);
    assert_eq!(told(new), [EventType::Recorded, EventType::VisitBegan]);
    // One that was not examined is touched, and told by its filing.
    let touched = registry.file(vec![visit("v298", "2024-02-08")]);
    assert!(told(touched).contains(&EventType::VisitBegan));
    finish(&registry);
    let began = began(&registry);
    assert_eq!(began.len(), VISITS, "all but one that moved away, and the new one");
    assert_eq!(began.iter().collect::<BTreeSet<_>>().len(), VISITS);
    assert!(!began.contains(&"visits/v299".to_owned()));
    assert_eq!(status(&registry, "visits/v299"), Status::Unknown);
    assert_eq!(status(&registry, &examined), Status::Unknown);
    assert_eq!(status(&registry, "visits/v298"), Status::Underway);
    replay(&registry.told());
}

#[test]
fn a_restart_between_parts_goes_on_where_it_was() {
    let mut registry = filed();
    let mut parts = 1;
    while !part(&registry) {
        parts += 1;
        registry = registry.reopened(DUE);
        assert!(parts <= VISITS);
    }
    assert!(parts > 2, "{parts}");
    assert_eq!(began(&registry).len(), VISITS);
    assert_eq!(began(&registry).into_iter().collect::<BTreeSet<_>>().len(), VISITS);
    replay(&registry.told());
}

/// Examined, found to stay as it is, and put off: else a day with many such records would examine them for ever.
#[test]
fn what_is_examined_and_does_not_change_is_not_examined_again() {
    let called_off = |n: usize| {
        let source = json!({
            "name": "sources/desk", "publisher": { "nameAsStated": "Desk" }, "kind": "SOURCE_KIND_SECONDARY"
        });
        let progress = json!([{ "type": "PROGRESS_TYPE_CANCELLED", "date": { "edtf": "2024-01-01" } }]);
        let visit = json!({ "start": { "edtf": DUE }, "progress": progress });
        let report = json!({ "record": format!("visits/off-{n}"), "source": source, "visit": visit });
        reports(&json!({ "reports": [report] }).to_string()).remove(0)
    };
    let registry = Registry::on(BEFORE);
    for from in [0, 600] {
        registry.file((from..from + 600).map(called_off).collect());
    }
    let before = registry.head().revision;
    let registry = registry.reopened(DUE);
    assert!(!part(&registry), "there are more of them than one part examines");
    assert!(part(&registry));
    let told = registry.told().into_iter().filter(|r| r.number > before).map(|r| r.events.len());
    assert_eq!(told.collect::<Vec<_>>(), [0, 0]);
    assert_eq!(registry.head().day, Some(day(DUE)));
}

#[test]
fn a_day_that_was_begun_is_finished_before_a_later_one() {
    let registry = filed();
    registry.file(vec![visit("next", "2024-02-11")]);
    assert!(!part(&registry));
    let registry = registry.reopened("2024-02-11");
    let next = || registry.act(Act::Day { to: day("2024-02-11") }).expect("a part");
    let mut passed = BTreeSet::new();
    for _ in 0..VISITS {
        if registry.head().day == Some(day("2024-02-11")) {
            break;
        }
        next();
        passed.insert(registry.head().day);
    }
    assert_eq!(passed, [BEFORE, DUE, "2024-02-11"].map(|d| Some(day(d))).into());
    assert_eq!(began(&registry).last(), Some(&"visits/next".to_owned()));
    assert_eq!(began(&registry).len(), VISITS + 1);
}
