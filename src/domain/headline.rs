//! One line for people, of an event or of a record.

use super::{decide::STATUS_PATH, fold::fold, record};
use crate::pb::v1::{self, AgreementStatus, Basis, EventType, event::Detail, record::Kind};

/// What a record is about, in one line: its English title, else its first, else who with whom.
#[must_use]
pub fn label(record: &v1::Record) -> String {
    let titles = record::titles(record);
    let english = titles.iter().find(|t| t.language.as_deref().is_some_and(|l| l.starts_with("en")));
    if let Some(title) = english.or(titles.first()) {
        return title.text.clone();
    }
    let own = match &record.kind {
        Some(Kind::Visit(v)) => Some(format!("visit of {} to {}", sides(&v.guests), sides(&v.hosts))),
        Some(Kind::Meeting(m)) => {
            let all: Vec<_> = m.hosts.iter().chain(&m.participants).cloned().collect();
            Some(format!("meeting of {}", sides(&all)))
        }
        Some(Kind::Person(p)) => display(&p.names),
        Some(Kind::Organization(o)) => display(&o.names),
        Some(Kind::Place(p)) => display(&p.names),
        _ => None,
    };
    own.unwrap_or_else(|| record::name_of(record).to_owned())
}

/// The name to show: the first that is written in Latin letters, else the first.
fn display(names: &[v1::Name]) -> Option<String> {
    let latin = |n: &&v1::Name| n.text.chars().filter(|c| c.is_alphabetic()).all(|c| c <= '\u{24F}' || c == 'ə');
    names.iter().find(latin).or(names.first()).map(|n| n.text.clone())
}

fn sides(sides: &[v1::Side]) -> String {
    if sides.is_empty() {
        return "a state not stated".to_owned();
    }
    let one = |side: &v1::Side| match side.head.as_ref().and_then(|h| h.name_as_stated.as_deref()) {
        Some(head) => format!("{} ({head})", side.state),
        None => side.state.clone(),
    };
    sides.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The headline of an event about this record.
#[must_use]
pub fn headline(event: &v1::Event, record: &v1::Record) -> String {
    let mut line = label(record);
    let said = if event.occurred.is_none() { record::said_occurred(record) } else { None };
    if let Some(date) = event.occurred.as_ref().or(said.as_ref()) {
        line.push_str(", ");
        line.push_str(&date.edtf);
    }
    line.push_str(": ");
    line.push_str(&what(event, record));
    line
}

fn what(event: &v1::Event, record: &v1::Record) -> String {
    let fields = || event.fields.join(", ");
    match event.r#type() {
        EventType::Disputed => format!("accounts disagree on {}", fields()),
        EventType::Settled => format!("settled: {}", fields()),
        EventType::Retracted => format!("retracted ({})", word(event.reason().as_str_name(), "RETRACTION_REASON_")),
        EventType::Merged | EventType::Unmerged => {
            let verb = word(event.r#type().as_str_name(), "EVENT_TYPE_");
            let with = if event.r#type() == EventType::Merged { "with" } else { "from" };
            format!("{verb} {with} {}", event.other_name)
        }
        EventType::MilestoneWithdrawn => {
            format!("{} does not stand any more", word(event.withdrawn_type().as_str_name(), "EVENT_TYPE_"))
        }
        EventType::Updated if event.changed_paths == [STATUS_PATH] => now(record),
        EventType::Updated | EventType::Corrected | EventType::Extended => {
            let shown = event.changed_paths.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let more = event.changed_paths.len().saturating_sub(3);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let verb = word(event.r#type().as_str_name(), "EVENT_TYPE_");
            if shown.is_empty() { verb } else { format!("{verb} {shown}{more}") }
        }
        event_type => detail(event.detail.as_ref()).unwrap_or_else(|| {
            let what = word(event_type.as_str_name(), "EVENT_TYPE_");
            match &event.detail {
                Some(Detail::Due(due)) => format!("{what}{}", by_date(event_type, due)),
                _ => what,
            }
        }),
    }
}

/// The status that a record has now, and how sure it is.
fn now(record: &v1::Record) -> String {
    let Some(status) = record::info(record).and_then(|i| i.status.as_ref()) else { return "status unknown".to_owned() };
    let own = match status.agreement_status() {
        AgreementStatus::Unspecified => word(status.status().as_str_name(), "STATUS_"),
        of_agreement => word(of_agreement.as_str_name(), "AGREEMENT_STATUS_"),
    };
    format!("now {own} ({})", word(status.certainty().as_str_name(), "CERTAINTY_"))
}

/// What fell due by date, and how it is known.
fn by_date(event_type: EventType, due: &v1::Due) -> String {
    let date = due.date.as_ref().map(|d| d.edtf.as_str()).unwrap_or_default();
    let inferred = if due.basis() == Basis::Inferred { ", inferred" } else { "" };
    match event_type {
        EventType::AgreementExpiring => {
            format!(": its last day is {date} (at most {} days left{inferred})", due.days_left)
        }
        EventType::AgreementSuperseded => format!(" by {} from {date} (by date{inferred})", due.record),
        EventType::AgreementExpired => format!(" after {date} (by date{inferred})"),
        _ => format!(" (by date{inferred})"),
    }
}

fn detail(detail: Option<&Detail>) -> Option<String> {
    match detail? {
        Detail::Action(action) => Some(word(action.r#type().as_str_name(), "ACTION_TYPE_")),
        Detail::Item(item) => {
            let kind = word(item.kind().as_str_name(), "ITINERARY_KIND_");
            let place = item.place.as_ref().and_then(|p| p.as_stated.clone());
            Some(place.map_or_else(|| kind.clone(), |place| format!("{kind}, {place}")))
        }
        Detail::Statement(statement) => {
            let act = word(statement.act().as_str_name(), "STATEMENT_ACT_");
            let speaker =
                statement.speaker.as_ref().and_then(|s| s.person.as_ref()).and_then(|p| p.name_as_stated.clone());
            let said = statement.summary.as_deref().map(|s| format!(": {s}")).unwrap_or_default();
            Some(speaker.map_or_else(|| format!("{act}{said}"), |speaker| format!("{speaker} {act}{said}")))
        }
        Detail::Due(_) => None,
        Detail::Progress(stage) => Some(word(stage.r#type().as_str_name(), "PROGRESS_TYPE_")),
    }
}

/// An enum value as a person reads it.
fn word(value: &str, prefix: &str) -> String {
    let word = fold(value.strip_prefix(prefix).unwrap_or(value));
    if word.is_empty() { value.to_owned() } else { word }
}
