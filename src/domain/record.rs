//! Resolved records: access to what all kinds share, and what is computed of them.

use super::{
    date::{self, Date},
    name,
};
use crate::pb::{
    tree::{Shape, Tree},
    v1::{self, ActionType, RecordKind, record::Kind},
};

/// Runs an expression with the message of whatever kind a record is.
macro_rules! each_kind {
    ($kind:expr, $message:ident => $body:expr) => {
        match $kind {
            Kind::Visit($message) => $body,
            Kind::Meeting($message) => $body,
            Kind::Agreement($message) => $body,
            Kind::Exercise($message) => $body,
            Kind::Person($message) => $body,
            Kind::Organization($message) => $body,
            Kind::Place($message) => $body,
        }
    };
}

/// The kind of a record; unspecified for an empty one, which the registry never holds.
#[must_use]
pub fn kind(record: &v1::Record) -> RecordKind {
    match &record.kind {
        Some(Kind::Visit(_)) => RecordKind::Visit,
        Some(Kind::Meeting(_)) => RecordKind::Meeting,
        Some(Kind::Agreement(_)) => RecordKind::Agreement,
        Some(Kind::Exercise(_)) => RecordKind::Exercise,
        Some(Kind::Person(_)) => RecordKind::Person,
        Some(Kind::Organization(_)) => RecordKind::Organization,
        Some(Kind::Place(_)) => RecordKind::Place,
        None => RecordKind::Unspecified,
    }
}

/// What the registry says about a record.
#[must_use]
pub fn info(record: &v1::Record) -> Option<&v1::RecordInfo> {
    record.kind.as_ref().and_then(|kind| each_kind!(kind, m => m.info.as_ref()))
}

/// The name of a record; empty for an empty one.
#[must_use]
pub fn name_of(record: &v1::Record) -> &str {
    record.kind.as_ref().map_or("", |kind| each_kind!(kind, m => m.name.as_str()))
}

/// Puts name and info into a record.
pub fn seal(record: &mut v1::Record, name: &str, info: v1::RecordInfo) {
    if let Some(kind) = record.kind.as_mut() {
        each_kind!(kind, m => {
            name.clone_into(&mut m.name);
            m.info = Some(info);
        });
    }
}

/// Puts the derived status into a sealed record.
pub fn set_status(record: &mut v1::Record, status: Option<v1::DerivedStatus>) {
    if let Some(kind) = record.kind.as_mut() {
        each_kind!(kind, m => if let Some(info) = m.info.as_mut() { info.status = status; });
    }
}

/// The titles of a record, highest rank first.
#[must_use]
pub fn titles(record: &v1::Record) -> &[v1::Title] {
    record.kind.as_ref().map_or(&[], |kind| each_kind!(kind, m => m.titles.as_slice()))
}

/// The identifiers of a record elsewhere.
#[must_use]
pub fn external_ids(record: &v1::Record) -> &[v1::ExternalId] {
    record.kind.as_ref().map_or(&[], |kind| each_kind!(kind, m => m.external_ids.as_slice()))
}

/// The names of a person, organization or place; other kinds have none.
#[must_use]
pub fn names(record: &v1::Record) -> &[v1::Name] {
    match &record.kind {
        Some(Kind::Person(m)) => &m.names,
        Some(Kind::Organization(m)) => &m.names,
        Some(Kind::Place(m)) => &m.names,
        _ => &[],
    }
}

/// A record from the resolved fields of its kind.
///
/// # Panics
///
/// If they are not of that kind.
#[must_use]
pub fn from_tree(kind: RecordKind, content: &Tree) -> v1::Record {
    let kind = match kind {
        RecordKind::Visit => Kind::Visit(content.to()),
        RecordKind::Meeting => Kind::Meeting(content.to()),
        RecordKind::Agreement => Kind::Agreement(content.to()),
        RecordKind::Exercise => Kind::Exercise(content.to()),
        RecordKind::Person => Kind::Person(content.to()),
        RecordKind::Organization => Kind::Organization(content.to()),
        RecordKind::Place | RecordKind::Unspecified => Kind::Place(content.to()),
    };
    v1::Record { kind: Some(kind) }
}

/// The stated fields of a record; `None` of an empty one.
#[must_use]
pub fn to_tree(record: &v1::Record) -> Option<Tree> {
    let shape = Shape::of(name::message(kind(record)));
    record.kind.as_ref().map(|kind| each_kind!(kind, m => Tree::of(shape, m)))
}

/// Whether an act concludes an agreement: the first of these is when it occurred.
#[must_use]
pub fn is_concluding(action: ActionType) -> bool {
    matches!(
        action,
        ActionType::Adopted
            | ActionType::Signed
            | ActionType::SignedSubjectToRatification
            | ActionType::SignedAdReferendum
            | ActionType::Endorsed
            | ActionType::NotesExchanged
    )
}

/// When a record's subject occurred, as the registry says, or as it would: what that says was computed the same way.
#[must_use]
pub fn said_occurred(record: &v1::Record) -> Option<v1::EdtfDate> {
    info(record).and_then(|i| i.occurred.clone()).or_else(|| occurred(record))
}

/// When a record's subject occurred, of what is stated: see `RecordInfo.occurred` in the contract.
#[must_use]
pub fn occurred(record: &v1::Record) -> Option<v1::EdtfDate> {
    match record.kind.as_ref()? {
        Kind::Visit(v) => period([&v.start, &v.end], [&v.planned_start, &v.planned_end]),
        Kind::Meeting(m) => period([&m.start, &m.end], [&m.planned_start, &m.planned_end]),
        Kind::Exercise(e) => period([&e.start, &e.end], [&e.planned_start, &e.planned_end]),
        Kind::Agreement(a) => {
            let dates = a.actions.iter().filter(|a| is_concluding(a.r#type())).filter_map(|a| a.date.as_ref());
            dates.min_by_key(|d| date::span_of(d).earliest).cloned()
        }
        Kind::Person(_) | Kind::Organization(_) | Kind::Place(_) => None,
    }
}

/// What was if any of it is stated, else what was planned; a plan's end is not the end of what was.
fn period(actual: [&Option<v1::EdtfDate>; 2], planned: [&Option<v1::EdtfDate>; 2]) -> Option<v1::EdtfDate> {
    let [start, end] = if actual.iter().any(|d| d.is_some()) { actual } else { planned };
    let (Some(start), Some(end)) = (start, end) else { return start.clone().or_else(|| end.clone()) };
    if start.edtf == end.edtf {
        return Some(start.clone());
    }
    let span = date::span_of(start).to(date::span_of(end));
    let text = format!("{}/{}", start.edtf, end.edtf);
    if Date::parse(&text).is_ok() {
        return Some(date::to_pb(&text, span));
    }
    // An end before its start, or an interval inside one of them: the days that either may mean.
    let bounds = format!("{}/{}", bound(span.earliest), bound(span.latest));
    Some(date::to_pb(&bounds, span))
}

fn bound(day: Option<date::Day>) -> String {
    day.map_or_else(|| "..".to_owned(), date::show)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurred_of(start: &str, end: &str, planned_end: &str) -> v1::EdtfDate {
        let date = |edtf: &str| (!edtf.is_empty()).then(|| v1::EdtfDate { edtf: edtf.into(), ..Default::default() });
        let visit =
            v1::Visit { start: date(start), end: date(end), planned_end: date(planned_end), ..Default::default() };
        occurred(&v1::Record { kind: Some(Kind::Visit(visit)) }).unwrap()
    }

    #[test]
    fn a_span_goes_from_start_to_end() {
        let span = occurred_of("2023-10-06", "2023-10-08", "");
        assert_eq!((span.edtf.as_str(), span.latest.as_str()), ("2023-10-06/2023-10-08", "2023-10-08"));
    }

    #[test]
    fn a_planned_end_is_not_the_end_of_what_was() {
        assert_eq!(occurred_of("2023-10-06", "", "2023-09-10").edtf, "2023-10-06");
    }

    #[test]
    fn an_end_before_its_start_spans_the_days_of_both() {
        let span = occurred_of("2023-10-06", "2023-10-01", "");
        assert_eq!((span.earliest.as_str(), span.latest.as_str()), ("2023-10-01", "2023-10-06"));
        assert!(Date::parse(&span.edtf).is_ok(), "{}", span.edtf);
    }

    #[test]
    fn an_uncertain_start_keeps_its_bounds_beside_an_end() {
        let span = occurred_of("[2023-10-05,2023-10-06]", "2023-10-08", "");
        assert_eq!((span.earliest.as_str(), span.latest.as_str()), ("2023-10-05", "2023-10-08"));
    }
}
