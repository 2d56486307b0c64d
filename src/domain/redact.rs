//! Erasing what reports said from what the log keeps.
//!
//! The chain is over the headers of entries, so a payload can lose some of what it says and its entry keeps its place. What
//! is left is the same everywhere: it is computed from the payload and the REDACT entry alone.

use std::collections::BTreeSet;

use crate::pb::{
    log::{EntryPayload, ErasedReport, Erasure, RecordChange, Redact, filing::Act},
    v1::{Event, EventClass, EventType},
};

/// What an event that was redacted says to people.
pub const HEADLINE: &str = "redacted";

/// Erases from a payload what a redaction at the revision `by` names of it. Doing it again changes nothing.
pub fn erase(payload: &mut EntryPayload, redact: &Redact, erasure: &Erasure, by: u64) {
    let reports: BTreeSet<&str> = redact.reports.iter().map(String::as_str).collect();
    for filing in &mut payload.filings {
        if let Some(Act::File(report)) = &mut filing.act
            && reports.contains(report.name.as_str())
        {
            let (report, source) = (std::mem::take(&mut report.name), report.source.take());
            filing.act = Some(Act::Erased(ErasedReport { report, source }));
        }
    }
    for change in indexed(&mut payload.changes, &erasure.changes) {
        let name = std::mem::take(&mut change.name);
        *change = RecordChange { name, erased: true, ..RecordChange::default() };
    }
    for stored in &mut payload.events {
        let is_named = erasure.changes.contains(&stored.change) || erasure.told.contains(&stored.change);
        if let Some(event) = stored.event.as_mut().filter(|event| is_named && event.r#type() != EventType::Redacted) {
            erase_event(event);
        }
    }
    let touched = erasure.changes.iter().chain(&erasure.told);
    let touched: BTreeSet<&str> =
        touched.filter_map(|i| Some(payload.changes.get(*i as usize)?.name.as_str())).collect();
    for result in &mut payload.results {
        // Warnings repeat what was filed, of other reports too; so do the paths of elements.
        result.warnings.clear();
        if reports.contains(result.report.as_str()) || touched.contains(result.record.as_str()) {
            result.disputed.clear();
            result.settled.clear();
        }
    }
    payload.redacted_by = by;
}

fn indexed<'a, T>(all: &'a mut [T], those: &'a [u32]) -> impl Iterator<Item = &'a mut T> {
    all.iter_mut().enumerate().filter(|(i, _)| those.iter().any(|own| *own as usize == *i)).map(|(_, one)| one)
}

/// Leaves of an event that something happened to its record, who filed it and when, and takes what it was.
pub fn erase_event(event: &mut Event) {
    let told = std::mem::take(event);
    *event = Event {
        id: told.id,
        source: told.source,
        r#type: told.r#type,
        event_class: told.event_class,
        subject: told.subject,
        time: told.time,
        revision: told.revision,
        index: told.index,
        intent: told.intent,
        principal: told.principal,
        reports: told.reports,
        reason: told.reason,
        revises: told.revises,
        withdraws: told.withdraws,
        withdrawn_type: told.withdrawn_type,
        other_name: told.other_name,
        headline: HEADLINE.to_owned(),
        redacted: true,
        ..Event::default()
    };
}

/// Whether an event of the redacting revision itself would tell what is erased: how the record differs from what it was, and
/// that facts do not stand any more. Facts that stand now are of the reports that are left.
#[must_use]
pub fn tells_of_before(event: &Event) -> bool {
    event.event_class() == EventClass::Registry || event.r#type() == EventType::MilestoneWithdrawn
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb::{
        log::{Filing, Milestone, StoredEvent},
        v1::{self, FilingResult, Record, Report},
    };

    const SECRET: &str = "of which nothing is to be left";

    fn filed(name: &str, says: &str) -> Filing {
        let source = Some(v1::Source { name: "sources/s".into(), ..Default::default() });
        let content = v1::report::Content::Place(v1::Place {
            names: vec![v1::Name { text: says.into(), ..Default::default() }],
            ..Default::default()
        });
        let report = Report { name: name.into(), source, content: Some(content), ..Default::default() };
        Filing { act: Some(Act::File(report)) }
    }

    fn changed(name: &str, says: &str) -> RecordChange {
        let names = vec![v1::Name { text: says.into(), ..Default::default() }];
        let place = v1::Place { name: name.into(), names, ..Default::default() };
        let record = Some(Record { kind: Some(v1::record::Kind::Place(place)) });
        let milestones = vec![Milestone { element: says.into(), ..Default::default() }];
        RecordChange { name: name.into(), record, milestones, erased: false }
    }

    fn told(change: u32, says: &str) -> StoredEvent {
        let event = Event {
            id: format!("7-{change}"),
            headline: says.into(),
            fields: vec![says.into()],
            changed_paths: vec![says.into()],
            states: vec![says.into()],
            detail: Some(v1::event::Detail::Due(v1::Due { record: says.into(), ..Default::default() })),
            occurred: Some(v1::EdtfDate { edtf: says.into(), ..Default::default() }),
            ..Default::default()
        };
        StoredEvent { event: Some(event), change, ..Default::default() }
    }

    fn payload() -> EntryPayload {
        let result = |report: &str, record: &str, says: &str| FilingResult {
            report: report.into(),
            record: record.into(),
            warnings: vec![says.into()],
            disputed: vec![says.into()],
            settled: vec![says.into()],
            ..Default::default()
        };
        EntryPayload {
            filings: vec![filed("places/a/reports/x", SECRET), filed("places/b/reports/x", "kept")],
            changes: vec![changed("places/a", SECRET), changed("places/b", "kept"), changed("places/c", "kept")],
            events: vec![told(0, SECRET), told(1, "kept"), told(2, SECRET)],
            results: vec![
                result("places/a/reports/x", "places/a", SECRET),
                result("places/b/reports/x", "places/b", "kept"),
            ],
            ..Default::default()
        }
    }

    fn redaction() -> (Redact, Erasure) {
        let reports = vec!["places/a/reports/x".to_owned()];
        (Redact { reports, ..Default::default() }, Erasure { changes: vec![0], told: vec![2], ..Default::default() })
    }

    #[test]
    fn nothing_of_what_is_erased_is_left_and_everything_else_is() {
        let (mut erased, (redact, erasure)) = (payload(), redaction());
        erase(&mut erased, &redact, &erasure, 9);
        let bytes = erased.encode_to_vec();
        assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
        let whole = payload();
        assert_eq!(erased.filings[1], whole.filings[1]);
        assert_eq!(erased.changes[1..], whole.changes[1..]);
        assert_eq!(erased.events[1], whole.events[1]);
        assert_eq!(erased.results[1].disputed, whole.results[1].disputed);
        assert!(erased.results[1].warnings.is_empty(), "one may be about the other report");
        assert_eq!((erased.events.len(), erased.redacted_by), (3, 9));
        assert_eq!(erased.events[0].event.as_ref().unwrap().id, "7-0", "an event keeps its place");
        let Some(Act::Erased(left)) = &erased.filings[0].act else { panic!("{erased:?}") };
        assert_eq!(left.report, "places/a/reports/x");
        assert_eq!(left.source.as_ref().unwrap().name, "sources/s");
    }

    #[test]
    fn erasing_again_changes_nothing() {
        let (mut once, (redact, erasure)) = (payload(), redaction());
        erase(&mut once, &redact, &erasure, 9);
        let mut twice = once.clone();
        erase(&mut twice, &redact, &erasure, 9);
        assert_eq!(twice, once);
    }
}
