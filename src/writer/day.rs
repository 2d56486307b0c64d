//! Moving the registry's day: what falls due by date, part by part, each part an entry.

use std::collections::HashMap;

use prost::Message as _;

use super::{conclude::Plan, draft::Drafting};
use crate::{
    domain::{
        date::{self, Day},
        decide::{Cause, event_id},
        error::Result,
        name::RecordName,
    },
    limits::{DAY_PART_BYTES, DAY_PART_RECORDS},
    pb::{
        log::{self, EntryPayload},
        v1::{EventClass, EventType, Intent, RetractionReason},
    },
    store::read,
};

impl Drafting<'_> {
    /// The next part of a move of the day; records nothing if the day is there already.
    pub fn day(&self, to: Day) -> Result<EntryPayload> {
        let Some(since) = self.head.day.filter(|day| *day < to) else { return Ok(EntryPayload::default()) };
        // A day that was begun is finished first.
        let (to, part) = self.head.pending.map_or((to, 0), |(day, part)| (day, part + 1));
        let due = read::due(self.connection, to, DAY_PART_RECORDS)?;
        let plan = Plan { intent: Intent::Unspecified, reason: RetractionReason::Unspecified, today: to, since };
        let mut payload = EntryPayload::default();
        let mut through = (Day::MIN, String::new());
        let mut examined = 0;
        for (day, name) in &due {
            if payload.encoded_len() >= DAY_PART_BYTES {
                break;
            }
            self.examine(&mut payload, name, &plan)?;
            through = (*day, name.clone());
            examined += 1;
        }
        in_date_order(&mut payload, self.head.revision + 1);
        let last = examined == due.len() && due.len() < DAY_PART_RECORDS;
        payload.day =
            Some(log::Day { day: date::show(to), part, last, through_due: through.0, through_name: through.1 });
        payload.remaining = i32::from(!last);
        Ok(payload)
    }

    fn examine(&self, payload: &mut EntryPayload, name: &str, plan: &Plan) -> Result<()> {
        let Ok(name) = name.parse::<RecordName>() else { return Ok(()) };
        if payload.changes.iter().any(|c| c.name == name.as_str()) {
            return Ok(());
        }
        let place = self.standing(&name, Cause::Circumstance)?;
        self.conclude(payload, vec![place], plan)
    }
}

/// What changed in the registry first, then what fell due, in the order of its days.
fn in_date_order(payload: &mut EntryPayload, revision: u64) {
    let day_of = |event: &log::StoredEvent| {
        let event = event.event.as_ref()?;
        let date = event.occurred.as_ref()?;
        let latest = date::span_of(date).latest?;
        let after_it = matches!(event.r#type(), EventType::VisitConcluded | EventType::ExerciseEnded);
        Some(latest.saturating_add(i32::from(after_it)))
    };
    let is_cooperation =
        |e: &log::StoredEvent| e.event.as_ref().is_some_and(|e| e.event_class() == EventClass::Cooperation);
    payload.events.sort_by_key(|e| (is_cooperation(e), day_of(e).unwrap_or(Day::MAX)));
    let mut moved: HashMap<u32, u32> = HashMap::new();
    for (index, stored) in payload.events.iter_mut().enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        if let Some(event) = &mut stored.event {
            moved.insert(event.index, index);
            event.index = index;
            event.id = event_id(revision, index);
        }
    }
    for milestone in payload.changes.iter_mut().flat_map(|c| &mut c.milestones) {
        if milestone.revision == revision
            && let Some(index) = moved.get(&milestone.index)
        {
            milestone.index = *index;
        }
    }
}
