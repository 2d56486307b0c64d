//! Milestones: the facts of a record that are told as cooperation events, each once while it stands.

use prost::Message as _;

use super::date::{self, Day};
use crate::pb::v1::{
    self, ActionType, EventType, ItineraryKind, ItineraryStatus, ProgressType, event::Detail, record::Kind,
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
    /// The path of the element in the record, such as `actions[concluded]`.
    pub path: String,
}

impl Fact {
    /// Changes when date or detail do.
    #[must_use]
    pub fn digest(&self) -> Vec<u8> {
        let event =
            v1::Event { detail: Some(self.detail.clone()), occurred: self.occurred.clone(), ..Default::default() };
        blake3::hash(&event.encode_to_vec()).as_bytes()[..16].to_vec()
    }

    /// Whether it may have happened by this day; facts of the future wait.
    #[must_use]
    pub fn is_due(&self, today: Day) -> bool {
        let earliest = self.occurred.as_ref().and_then(|d| date::span_of(d).earliest);
        earliest.is_none_or(|day| day <= today)
    }
}

/// The facts of a record that are due by a day, in date order, undated ones last; each (type, element) once.
#[must_use]
pub fn facts(record: &v1::Record, today: Day) -> Vec<Fact> {
    let mut facts = match &record.kind {
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
    };
    facts.retain(|f| f.is_due(today));
    facts.sort_by_key(|f| f.occurred.as_ref().and_then(|d| date::span_of(d).earliest).unwrap_or(Day::MAX));
    let mut seen = std::collections::HashSet::new();
    facts.retain(|f| seen.insert((f.event_type, f.element.clone())));
    facts
}

fn stages(progress: &[v1::Progress], event_type: fn(ProgressType) -> Option<EventType>) -> Vec<Fact> {
    let fact = |stage: &v1::Progress| {
        Some(Fact {
            event_type: event_type(stage.r#type())?,
            element: String::new(),
            occurred: stage.date.clone(),
            detail: Detail::Progress(stage.clone()),
            path: format!("progress[{}]", stage.key),
        })
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
    Some(Fact {
        event_type,
        element: item.key.clone(),
        occurred: item.date.clone(),
        detail: Detail::Item(item.clone()),
        path: format!("itinerary[{}]", item.key),
    })
}

fn statements(statements: &[v1::Statement]) -> impl Iterator<Item = Fact> {
    statements.iter().map(|statement| {
        let key = format!("{}:{}", statement.account, statement.key);
        Fact {
            event_type: EventType::StatementMade,
            path: format!("statements[{key}]"),
            element: key,
            occurred: None,
            detail: Detail::Statement(statement.clone()),
        }
    })
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
    Some(Fact {
        event_type,
        element: action.key.clone(),
        occurred: action.date.clone(),
        detail: Detail::Action(action.clone()),
        path: format!("actions[{}]", action.key),
    })
}
