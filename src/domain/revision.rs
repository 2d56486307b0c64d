//! A revision as the feed tells it: its events, with the records before and after.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{facets::Facets, filter::Filters, name, token::Hash};
use crate::pb::{v1::EventType, wire::EventHead};

/// A record at one side of a change.
#[derive(Debug, Clone)]
pub struct State {
    /// The record, encoded.
    pub record: Bytes,
    /// What filters ask of it.
    pub facets: Arc<Facets>,
}

/// What a revision did to one record.
#[derive(Debug, Clone)]
pub struct Change {
    /// The record's name.
    pub name: String,
    /// The record before; `None` if it did not stand.
    pub before: Option<State>,
    /// The record after; `None` if it does not stand.
    pub after: Option<State>,
    /// Whether it is a probe: asked for each subscriber, and so found out once.
    is_probe: bool,
}

impl Change {
    /// Of a record, between the states at its two sides.
    #[must_use]
    pub fn new(name: String, before: Option<State>, after: Option<State>) -> Self {
        let is_probe = name::is_probe(&name);
        Self { name, before, after, is_probe }
    }
}

/// An event of a revision.
#[derive(Debug, Clone)]
pub struct Told {
    /// The event, encoded, without records.
    pub event: Bytes,
    /// What selecting it asks of it.
    pub head: EventHead,
    /// Index into [`Revision::changes`].
    pub change: usize,
    /// Of MILESTONE_WITHDRAWN: the facets around the original event, whose filters it passes too.
    pub original: Vec<Arc<Facets>>,
    /// The event as most subscribers get it, an element of their batch: encoded by the first, and shared by the others.
    pub element: OnceLock<Bytes>,
}

/// One revision, ready to be told.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Its number.
    pub number: u64,
    /// The chain's hash after it.
    pub hash: Hash,
    /// When it was recorded, in microseconds since 1970.
    pub recorded_at_us: i64,
    /// The records it changed.
    pub changes: Vec<Change>,
    /// Its events by index.
    pub events: Vec<Told>,
    /// What it takes of memory, in bytes, near enough to bound a ring by.
    pub bytes: usize,
}

impl Revision {
    /// The facets of everything it touches: what the interest index looks up.
    pub fn facets(&self) -> impl Iterator<Item = &Arc<Facets>> {
        let states = self.changes.iter().flat_map(|c| c.before.iter().chain(&c.after)).map(|s| &s.facets);
        states.chain(self.events.iter().flat_map(|e| &e.original))
    }

    /// Whether it erases what earlier ones told.
    #[must_use]
    pub fn is_redaction(&self) -> bool {
        self.events.iter().any(|told| told.head.r#type() == EventType::Redacted)
    }

    /// Whether this event goes to a subscriber: the record matched before, or matches after, or the event withdraws
    /// one that passed.
    #[must_use]
    pub fn passes(&self, told: &Told, filters: &Filters, types: &[EventType]) -> bool {
        let head = &told.head;
        let withdraws = head.r#type() == EventType::MilestoneWithdrawn && types.contains(&head.withdrawn_type());
        if !types.is_empty() && !types.contains(&head.r#type()) && !withdraws {
            return false;
        }
        let change = &self.changes[told.change];
        // What a record was that is redacted, by which it may have matched, is not known any more.
        if filters.0.is_empty() || head.r#type() == EventType::Redacted {
            return !change.is_probe || filters.0.iter().any(|f| f.include_probes);
        }
        let sides = change.before.iter().chain(&change.after).map(|s| &s.facets);
        sides.chain(&told.original).any(|f| filters.matches(f))
    }

    /// Whether the record of this event does not match any more after it.
    #[must_use]
    pub fn leaves(&self, told: &Told, filters: &Filters) -> bool {
        let change = &self.changes[told.change];
        match &change.after {
            // Everything but probes passes without filters: the facets need not be asked.
            Some(_) if filters.0.is_empty() => change.is_probe,
            Some(after) => !filters.matches(&after.facets),
            None => true,
        }
    }
}
