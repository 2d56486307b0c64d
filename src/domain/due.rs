//! What falls due by date alone: starts on their latest possible day, ends on the day after it.
//!
//! These facts are told with the basis BY_DATE: they follow from dates that sources state, plan or imply, and nobody
//! was asked whether it came so.

use super::{
    date::{self, Day},
    milestone::Fact,
    record,
    status::{self, View},
};
use crate::pb::v1::{
    self, ActionType, AgreementStatus, Basis, EventBasis, EventType, ProgressType, RelationType, Status, event::Detail,
    record::Kind,
};

/// How many days before its end an agreement is said to expire.
pub const EXPIRING_DAYS: [Day; 3] = [90, 30, 7];

/// The facts that follow from the dates of a record, those of the future included.
#[must_use]
pub fn facts(record: &v1::Record, view: View<'_>) -> Vec<Fact> {
    match &record.kind {
        Some(Kind::Visit(v)) => occasion(record, view, &v.progress, [EventType::VisitBegan, EventType::VisitConcluded]),
        Some(Kind::Exercise(e)) => {
            occasion(record, view, &e.progress, [EventType::ExerciseBegan, EventType::ExerciseEnded])
        }
        Some(Kind::Agreement(a)) => agreement(record, a, view),
        _ => Vec::new(),
    }
}

/// The days on which facts or status may change: those of every date, the day after, and those of warnings.
#[must_use]
pub fn days(record: &v1::Record, view: View<'_>) -> Vec<Day> {
    let mut dates = status::dates_of(record);
    let mut days = Vec::new();
    if let Some(Kind::Agreement(a)) = &record.kind {
        dates.extend(a.actions.iter().flat_map(|x| [&x.date, &x.effective_date]).flatten());
        let validity = a.validity.iter().flat_map(|v| [&v.start, &v.end]).flatten();
        dates.extend(validity.filter_map(|d| d.date.as_ref()));
        if let Some(last) = status::term_end(a, view) {
            days.extend(EXPIRING_DAYS.map(|before| last.saturating_sub(before)));
            days.extend([last, last.saturating_add(1)]);
        }
    }
    // What has no date had happened when the registry learnt of the record.
    days.extend(status::known_by(record::info(record)));
    for span in dates.into_iter().map(date::span_of) {
        for day in [span.earliest, span.latest].into_iter().flatten() {
            days.extend([day, day.saturating_add(1)]);
        }
    }
    days
}

fn by_date(event_type: EventType, path: &str, due: Day, occurred: v1::EdtfDate, detail: v1::Due) -> Fact {
    Fact {
        event_type,
        element: String::new(),
        occurred: Some(occurred),
        detail: Detail::Due(detail),
        path: path.to_owned(),
        basis: EventBasis::ByDate,
        due: Some(due),
        tell_until: None,
    }
}

fn detail(date: &v1::EdtfDate, inferred: bool) -> v1::Due {
    let basis = if inferred { Basis::Inferred } else { Basis::Stated };
    v1::Due { date: Some(date.clone()), basis: basis.into(), ..v1::Due::default() }
}

fn on(day: Day) -> v1::EdtfDate {
    date::to_pb(&date::show(day), date::Span { earliest: Some(day), latest: Some(day) })
}

/// The start and the end of a visit or exercise, unless it was called off or put off. A date that is not bounded never
/// falls due.
fn occasion(record: &v1::Record, view: View<'_>, progress: &[v1::Progress], types: [EventType; 2]) -> Vec<Fact> {
    let status = status::derive(record, view).map_or(Status::Unknown, |s| s.status());
    if matches!(status, Status::Cancelled | Status::Postponed) {
        return Vec::new();
    }
    let [began, ended] = types;
    let stated = |types: &[ProgressType]| progress.iter().any(|p| types.contains(&p.r#type()));
    let mut facts = Vec::new();
    if let Some((start, planned)) = status::start_of(record).filter(|_| !stated(&[ProgressType::Began]))
        && let Some(day) = date::span_of(start).latest
    {
        facts.push(by_date(
            began,
            if planned { "planned_start" } else { "start" },
            day,
            start.clone(),
            detail(start, planned),
        ));
    }
    if let Some((end, planned)) =
        status::end_of(record).filter(|_| !stated(&[ProgressType::Concluded, ProgressType::Ended]))
        && let Some(day) = date::span_of(end).latest
    {
        facts.push(by_date(
            ended,
            if planned { "planned_end" } else { "end" },
            day.saturating_add(1),
            end.clone(),
            detail(end, planned),
        ));
    }
    facts
}

fn agreement(record: &v1::Record, agreement: &v1::Agreement, view: View<'_>) -> Vec<Fact> {
    // What stands on another day, as it is known on the day asked about.
    let status_on = |day: Day| {
        status::derive(record, View { day, ..view }).map_or(AgreementStatus::Unknown, |s| s.agreement_status())
    };
    let mut facts = Vec::new();
    facts.extend(in_force(agreement, view, &status_on));
    facts.extend(terminated(agreement));
    facts.extend(superseded(agreement, view, &status_on));
    facts.extend(expiry(agreement, view, &status_on));
    facts
}

/// By the beginning of its validity, or its conclusion if that came later, where nobody states an entry into force. Under
/// the key that one would have.
fn in_force(a: &v1::Agreement, view: View<'_>, status_on: &dyn Fn(Day) -> AgreementStatus) -> Option<Fact> {
    if a.actions.iter().any(|x| x.r#type() == ActionType::EnteredIntoForce) {
        return None;
    }
    let (start, inferred) = status::began(a)?;
    let day = date::span_of(start).latest?;
    if day > view.day || status_on(day) != AgreementStatus::InForce {
        return None;
    }
    let fact = by_date(EventType::AgreementInForce, "validity.start", day, start.clone(), detail(start, inferred));
    Some(Fact { element: "entered-into-force".to_owned(), ..fact })
}

/// By the effective date of a denunciation, where nobody states the end itself. Under the key that one would have.
fn terminated(a: &v1::Agreement) -> Option<Fact> {
    if a.actions.iter().any(|x| x.r#type() == ActionType::Terminated) {
        return None;
    }
    let (act, effect) = status::denounced_from(a)?;
    let path = format!("actions[{}].effective_date", act.key);
    let day = date::span_of(effect).latest?;
    let fact = by_date(EventType::AgreementTerminated, &path, day, effect.clone(), detail(effect, false));
    Some(Fact { element: "terminated".to_owned(), ..fact })
}

fn superseded(a: &v1::Agreement, view: View<'_>, status_on: &dyn Fn(Day) -> AgreementStatus) -> Option<Fact> {
    let begun = status::successors_of(a, RelationType::Supersedes, view.successors)
        .filter_map(|s| status::began(s).map(|(start, inferred)| (s, start, inferred)))
        .filter_map(|(s, start, inferred)| Some((date::span_of(start).latest?, s, start, inferred)));
    let (day, successor, start, inferred) = begun.min_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)))?;
    if day > view.day || status_on(day) != AgreementStatus::Superseded {
        return None;
    }
    let due = v1::Due { record: successor.name.clone(), ..detail(start, inferred) };
    Some(by_date(EventType::AgreementSuperseded, "", day, start.clone(), due))
}

/// The warnings before the end, and the end. A warning is told within its own days alone, so that the past brings none.
fn expiry(a: &v1::Agreement, view: View<'_>, status_on: &dyn Fn(Day) -> AgreementStatus) -> Vec<Fact> {
    let Some(expiry) = status::expiry(a, view) else { return Vec::new() };
    let Some(last) = expiry.latest() else { return Vec::new() };
    let runs = |day: Day| {
        matches!(
            status_on(day),
            AgreementStatus::InForce
                | AgreementStatus::Suspended
                | AgreementStatus::Denounced
                | AgreementStatus::ProvisionallyApplied
        )
    };
    let mut facts = Vec::new();
    for (index, before) in EXPIRING_DAYS.into_iter().enumerate() {
        let day = last.saturating_sub(before);
        if day <= view.day && runs(day) {
            let next = EXPIRING_DAYS.get(index + 1).copied().unwrap_or(-1);
            let due = v1::Due { days_left: before.unsigned_abs(), ..detail(&expiry.last, expiry.inferred) };
            let fact = by_date(EventType::AgreementExpiring, "validity.end", day, on(day), due);
            let tell_until = Some(last.saturating_sub(next + 1));
            facts.push(Fact { element: before.to_string(), tell_until, ..fact });
        }
    }
    let after = last.saturating_add(1);
    if after <= view.day && status_on(after) == AgreementStatus::Expired {
        let due = detail(&expiry.last, expiry.inferred);
        facts.push(by_date(EventType::AgreementExpired, "validity.end", after, on(after), due));
    }
    facts
}
