//! Resolved records: access to what all kinds share, and what is computed of them.

use prost_reflect::DynamicMessage;

use super::{
    date::{self, Span},
    name,
};
use crate::pb::{
    self,
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

/// The titles of a record, highest rank first.
#[must_use]
pub fn titles(record: &v1::Record) -> &[v1::Title] {
    record.kind.as_ref().map_or(&[], |kind| each_kind!(kind, m => m.titles.as_slice()))
}

/// A record from the resolved message of its kind.
///
/// # Panics
///
/// If the message is not of that kind.
#[must_use]
pub fn from_dynamic(kind: RecordKind, content: &DynamicMessage) -> v1::Record {
    macro_rules! to {
        ($variant:ident) => {
            Kind::$variant(content.transcode_to().expect("generated code and descriptors agree"))
        };
    }
    let kind = match kind {
        RecordKind::Visit => to!(Visit),
        RecordKind::Meeting => to!(Meeting),
        RecordKind::Agreement => to!(Agreement),
        RecordKind::Exercise => to!(Exercise),
        RecordKind::Person => to!(Person),
        RecordKind::Organization => to!(Organization),
        RecordKind::Place | RecordKind::Unspecified => to!(Place),
    };
    v1::Record { kind: Some(kind) }
}

/// The message of a record's kind, with its fields by descriptor.
#[must_use]
pub fn to_dynamic(record: &v1::Record) -> Option<DynamicMessage> {
    let short = name::message(kind(record));
    record.kind.as_ref().map(|kind| each_kind!(kind, m => pb::to_dynamic(short, m)))
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

/// When a record's subject occurred: see `RecordInfo.occurred` in the contract.
#[must_use]
pub fn occurred(record: &v1::Record) -> Option<v1::EdtfDate> {
    match record.kind.as_ref()? {
        Kind::Visit(v) => period([&v.start, &v.planned_start], [&v.end, &v.planned_end]),
        Kind::Meeting(m) => period([&m.start, &m.planned_start], [&m.end, &m.planned_end]),
        Kind::Exercise(e) => period([&e.start, &e.planned_start], [&e.end, &e.planned_end]),
        Kind::Agreement(a) => {
            let dates = a.actions.iter().filter(|a| is_concluding(a.r#type())).filter_map(|a| a.date.as_ref());
            dates.min_by_key(|d| date::span_of(d).earliest).cloned()
        }
        Kind::Person(_) | Kind::Organization(_) | Kind::Place(_) => None,
    }
}

fn period(starts: [&Option<v1::EdtfDate>; 2], ends: [&Option<v1::EdtfDate>; 2]) -> Option<v1::EdtfDate> {
    let first = |dates: [&Option<v1::EdtfDate>; 2]| dates.into_iter().flatten().next().cloned();
    match (first(starts), first(ends)) {
        (Some(start), Some(end)) if start.edtf != end.edtf => {
            let span: Span = date::span_of(&start).to(date::span_of(&end));
            let side = |d: &v1::EdtfDate, bound: Option<i32>| {
                if d.edtf.contains('/') { bound.map(date::show).unwrap_or_default() } else { d.edtf.clone() }
            };
            let text = format!("{}/{}", side(&start, span.earliest), side(&end, span.latest));
            Some(date::to_pb(&text, span))
        }
        (start, end) => start.or(end),
    }
}
