//! Milestones: the facts of a record that are told as cooperation events, each once while it stands.

use std::collections::{BTreeSet, HashSet};

use prost::Message as _;

use super::{
    date::{self, Day},
    due,
    status::View,
};
use crate::pb::v1::{
    self, ActionType, EventBasis, EventType, ItineraryKind, ItineraryStatus, ProgressType, event::Detail, record::Kind,
};

/// A fact that stands in a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// The event that tells it.
    pub event_type: EventType,
    /// The key of the element it rests on; empty for stages, of which each type is told once.
    pub element: String,
    /// When it happened, if known.
    pub occurred: Option<v1::EdtfDate>,
    /// What happened.
    pub detail: Detail,
    /// The path of the element in the record, such as `actions[concluded]`; empty if it rests on none.
    pub path: String,
    /// Whether a source states it, or it follows from dates.
    pub basis: EventBasis,
    /// The day it falls due; `None` if it has no date, and is due at once.
    pub due: Option<Day>,
    /// The last day on which it is still worth telling for the first time; `None` is always.
    pub tell_until: Option<Day>,
}

impl Fact {
    /// A fact that a source states. What lies in the future waits for the first day on which it may have happened.
    fn stated(
        event_type: EventType,
        element: String,
        date: Option<&v1::EdtfDate>,
        detail: Detail,
        path: String,
    ) -> Self {
        let due = date.map(date::span_of).and_then(|span| span.earliest.or(span.latest));
        let basis = EventBasis::Stated;
        Self { event_type, element, occurred: date.cloned(), detail, path, basis, due, tell_until: None }
    }

    /// Changes when date or detail do.
    #[must_use]
    pub fn digest(&self) -> Vec<u8> {
        let event =
            v1::Event { detail: Some(self.detail.clone()), occurred: self.occurred.clone(), ..Default::default() };
        blake3::hash(&event.encode_to_vec()).as_bytes()[..16].to_vec()
    }

    /// Whether it may be told for the first time by a revision that moves the registry's day from `since`.
    #[must_use]
    pub fn is_worth_telling(&self, since: Day) -> bool {
        self.tell_until.is_none_or(|until| until >= since)
    }
}

/// The facts of a record that are due by a day, in date order, undated ones last; each (type, element) once. What a
/// source states comes before what only follows from dates.
#[must_use]
pub fn facts(record: &v1::Record, view: View<'_>) -> Vec<Fact> {
    let mut facts = stated(record);
    facts.extend(due::facts(record, view));
    facts.retain(|f| f.due.is_none_or(|due| due <= view.day));
    let mut seen = HashSet::new();
    facts.retain(|f| seen.insert((f.event_type, f.element.clone())));
    facts.sort_by_key(|f| f.due.unwrap_or(Day::MAX));
    facts
}

/// The first day after another on which the facts or the status of a record may change by date alone.
#[must_use]
pub fn next_due(record: &v1::Record, view: View<'_>) -> Option<Day> {
    let mut days: BTreeSet<Day> = stated(record).iter().filter_map(|f| f.due).collect();
    days.extend(due::days(record, view));
    days.into_iter().find(|day| *day > view.day)
}

fn stated(record: &v1::Record) -> Vec<Fact> {
    match &record.kind {
        Some(Kind::Visit(v)) => {
            let mut facts = stages(&v.progress, visit_stage);
            facts.extend(v.itinerary.iter().filter_map(held));
            facts.extend(statements(&v.statements));
            facts
        }
        Some(Kind::Meeting(m)) => {
            let mut facts = stages(&m.progress, meeting_stage);
            facts.extend(statements(&m.statements));
            facts
        }
        Some(Kind::Agreement(a)) => a.actions.iter().filter_map(action).collect(),
        Some(Kind::Exercise(e)) => stages(&e.progress, exercise_stage),
        Some(Kind::Person(_) | Kind::Organization(_) | Kind::Place(_)) | None => Vec::new(),
    }
}

fn stages(progress: &[v1::Progress], event_type: fn(ProgressType) -> Option<EventType>) -> Vec<Fact> {
    let fact = |stage: &v1::Progress| {
        let (detail, path) = (Detail::Progress(stage.clone()), format!("progress[{}]", stage.key));
        Some(Fact::stated(event_type(stage.r#type())?, String::new(), stage.date.as_ref(), detail, path))
    };
    progress.iter().filter_map(fact).collect()
}

fn visit_stage(stage: ProgressType) -> Option<EventType> {
    match stage {
        ProgressType::Announced => Some(EventType::VisitAnnounced),
        ProgressType::Began => Some(EventType::VisitBegan),
        ProgressType::TookPlace => Some(EventType::VisitTookPlace),
        ProgressType::Concluded | ProgressType::Ended => Some(EventType::VisitConcluded),
        ProgressType::Postponed => Some(EventType::VisitPostponed),
        ProgressType::Cancelled => Some(EventType::VisitCancelled),
        ProgressType::Confirmed | ProgressType::Other | ProgressType::Unspecified => None,
    }
}

fn meeting_stage(stage: ProgressType) -> Option<EventType> {
    match stage {
        ProgressType::Announced => Some(EventType::MeetingAnnounced),
        ProgressType::TookPlace | ProgressType::Concluded | ProgressType::Ended => Some(EventType::MeetingHeld),
        ProgressType::Postponed => Some(EventType::MeetingPostponed),
        ProgressType::Cancelled => Some(EventType::MeetingCancelled),
        ProgressType::Began | ProgressType::Confirmed | ProgressType::Other | ProgressType::Unspecified => None,
    }
}

fn exercise_stage(stage: ProgressType) -> Option<EventType> {
    match stage {
        ProgressType::Announced => Some(EventType::ExerciseAnnounced),
        ProgressType::Began => Some(EventType::ExerciseBegan),
        ProgressType::TookPlace => Some(EventType::ExerciseTookPlace),
        ProgressType::Ended | ProgressType::Concluded => Some(EventType::ExerciseEnded),
        ProgressType::Postponed => Some(EventType::ExercisePostponed),
        ProgressType::Cancelled => Some(EventType::ExerciseCancelled),
        ProgressType::Confirmed | ProgressType::Other | ProgressType::Unspecified => None,
    }
}

/// An item that was held. Its day is its own date alone: nothing is inferred from the visit's.
fn held(item: &v1::ItineraryItem) -> Option<Fact> {
    if item.status() != ItineraryStatus::Held {
        return None;
    }
    let event_type = match item.kind() {
        ItineraryKind::Meeting | ItineraryKind::CourtesyCall => EventType::MeetingHeld,
        ItineraryKind::WelcomingCeremony
        | ItineraryKind::FlowerLaying
        | ItineraryKind::WreathLaying
        | ItineraryKind::MomentOfSilence
        | ItineraryKind::SigningCeremony
        | ItineraryKind::Decoration => EventType::CeremonyHeld,
        ItineraryKind::FacilityTour | ItineraryKind::UnitVisit => EventType::FacilityToured,
        _ => EventType::ItineraryItemHeld,
    };
    let (detail, path) = (Detail::Item(item.clone()), format!("itinerary[{}]", item.key));
    Some(Fact::stated(event_type, item.key.clone(), item.date.as_ref(), detail, path))
}

fn statements(statements: &[v1::Statement]) -> impl Iterator<Item = Fact> {
    statements.iter().map(|statement| {
        let key = format!("{}:{}", statement.account, statement.key);
        let path = format!("statements[{key}]");
        Fact::stated(EventType::StatementMade, key, None, Detail::Statement(statement.clone()), path)
    })
}

/// Acts that change how an agreement runs, from the day on which they have effect.
fn takes_effect(act: ActionType) -> bool {
    matches!(act, ActionType::EnteredIntoForce | ActionType::Terminated | ActionType::Suspended | ActionType::Resumed)
}

fn action(action: &v1::AgreementAction) -> Option<Fact> {
    let event_type = match action.r#type() {
        ActionType::Initialled => EventType::AgreementInitialled,
        ActionType::Signed
        | ActionType::SignedSubjectToRatification
        | ActionType::SignedAdReferendum
        | ActionType::NotesExchanged => EventType::AgreementSigned,
        ActionType::Endorsed => EventType::AgreementEndorsed,
        ActionType::Ratified | ActionType::Accepted | ActionType::Approved | ActionType::Acceded => {
            EventType::AgreementRatified
        }
        ActionType::EnteredIntoForce => EventType::AgreementInForce,
        ActionType::Amended => EventType::AgreementAmended,
        ActionType::Renewed => EventType::AgreementRenewed,
        ActionType::Suspended => EventType::AgreementSuspended,
        ActionType::Resumed => EventType::AgreementResumed,
        ActionType::Denounced => EventType::AgreementDenounced,
        ActionType::Withdrawn => EventType::AgreementWithdrawn,
        ActionType::Terminated => EventType::AgreementTerminated,
        ActionType::Unspecified => return None,
        ActionType::Negotiated
        | ActionType::Adopted
        | ActionType::Deposited
        | ActionType::ProvisionallyApplied
        | ActionType::Registered
        | ActionType::Other => EventType::AgreementAction,
    };
    let (detail, path) = (Detail::Action(action.clone()), format!("actions[{}]", action.key));
    let mut fact = Fact::stated(event_type, action.key.clone(), action.date.as_ref(), detail, path);
    if takes_effect(action.r#type())
        && let Some(effect) = action.effective_date.as_ref().or(action.date.as_ref())
    {
        // It counts from its latest possible day, as the status does.
        let span = date::span_of(effect);
        fact.due = span.latest.or(span.earliest);
        fact.occurred = action.date.clone().or_else(|| Some(effect.clone()));
    }
    Some(fact)
}
