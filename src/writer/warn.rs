//! Hints for the filer: nothing is refused for them.

use rusqlite::Connection;

use super::draft::elements;
use crate::{
    domain::{
        date,
        error::Result,
        facets::Tag,
        filter::{Clause, Filter, Filters, Mode, Range},
        name::RecordName,
        report::Report,
    },
    pb::{
        tree::Tree,
        v1::{RecordKind, record::Kind},
    },
    store::pairs,
};

/// Lists whose elements have keys, and the word that makes two of them resemble each other.
const KEYED: [(&str, &str, &str); 2] = [("itinerary", "kind", "item"), ("actions", "type", "action")];
/// How long after the day asked for another visit may have ended.
const HINT_DAYS: i32 = 14;
/// At most so many hints of one sort.
const MAX_HINTS: usize = 5;

/// Elements that another account has under another key.
pub(super) fn resemblances(report: &Report, active: &[Report]) -> Vec<String> {
    let mut hints = Vec::new();
    for (list, word, what) in KEYED {
        let own = elements(report, list);
        let own_keys: Vec<_> = own.iter().filter_map(|e| e.text("key")).collect();
        for other in active.iter().filter(|r| r.account != report.account) {
            let theirs = elements(other, list);
            let their_keys: Vec<_> = theirs.iter().filter_map(|e| e.text("key")).collect();
            for (element, key) in own.iter().zip(&own_keys).filter(|(_, k)| !their_keys.contains(k)) {
                let kind = element.word(word);
                let alike = |e: &&&Tree| kind.is_some() && e.word(word) == kind;
                let unmatched = |e: &&&Tree| e.text("key").is_some_and(|k| !own_keys.contains(&k));
                if let Some(twin) = theirs.iter().filter(alike).find(unmatched).and_then(|e| e.text("key")) {
                    let account = &other.account;
                    hints.push(format!(
                        "{list}[{key}] resembles {what} \"{twin}\" of account {account}; use its key if it is the same"
                    ));
                }
            }
        }
    }
    hints.truncate(MAX_HINTS);
    hints
}

/// Ends that lie before their starts.
pub(super) fn dates(report: &Report) -> Vec<String> {
    let span = |name: &str| {
        let text = report.content.named(name)?.as_message()?.text("edtf")?;
        date::Date::parse(text).ok().map(|d| d.span())
    };
    let mut hints = Vec::new();
    for (start, end) in [("start", "end"), ("planned_start", "planned_end")] {
        if let (Some(from), Some(to)) = (span(start), span(end))
            && to.latest.zip(from.earliest).is_some_and(|(latest, earliest)| latest < earliest)
        {
            hints.push(format!("{end} is before {start}; kept as stated"));
        }
    }
    hints
}

/// Visits of the same states on that day, other than the record that the report counts to.
pub(super) fn same_occasion(connection: &Connection, report: &Report, name: &RecordName) -> Result<Vec<String>> {
    if name.kind() != RecordKind::Visit {
        return Ok(Vec::new());
    }
    let alone = report.alone();
    let Some(Kind::Visit(visit)) = &alone.content.kind else { return Ok(Vec::new()) };
    let facets = alone.facets();
    let Some(span) = facets.occurred else { return Ok(Vec::new()) };
    if visit.hosts.is_empty() || visit.guests.is_empty() {
        return Ok(Vec::new());
    }
    // A longer visit that only overlaps the day is missed; it is a hint, and every filing pays for it.
    let (Some(from), Some(until)) = (span.earliest, span.latest) else { return Ok(Vec::new()) };
    let all = |tag| Clause { tag, mode: Mode::All, values: facets.values(tag).map(str::to_owned).collect() };
    let range = Range { from: span.earliest, until: span.latest, definite_only: false };
    let filters = Filters(vec![Filter {
        clauses: vec![all(Tag::Host), all(Tag::Guest)],
        occurred: Some(range),
        include_probes: false,
    }]);
    let found = pairs::within(connection, facets, &filters, (from, until), HINT_DAYS, MAX_HINTS)?;
    let names = found.iter().filter(|n| *n != name.as_str());
    Ok(names.map(|n| format!("a visit of the same states on that day exists: {n}")).collect())
}
