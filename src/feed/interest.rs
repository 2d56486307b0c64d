//! Who may be interested in a revision: an index from terms to subscribers.
//!
//! It may wake one too many, never one too few: every record that matches a filter has one of the filter's narrowest
//! terms.

use std::collections::{HashMap, HashSet};

use crate::{
    domain::{facets::Term, filter::Filters, revision::Revision},
    pb::v1::EventType,
};

/// The number of a subscriber.
pub type SubscriberId = u64;

/// The index.
#[derive(Debug, Default)]
pub struct Interest {
    by_term: HashMap<Term, HashSet<SubscriberId>>,
    /// Those whose filters have no term to look up, by the types of event they want.
    by_type: HashMap<EventType, HashSet<SubscriberId>>,
    /// Those who have neither.
    in_all: HashSet<SubscriberId>,
}

impl Interest {
    /// Adds a subscriber.
    pub fn add(&mut self, id: SubscriberId, filters: &Filters, types: &[EventType]) {
        match filters.narrowest(|_| true) {
            None if !types.is_empty() => types.iter().for_each(|t| {
                self.by_type.entry(*t).or_default().insert(id);
            }),
            None => {
                self.in_all.insert(id);
            }
            Some(terms) => terms.into_iter().for_each(|term| {
                self.by_term.entry(term).or_default().insert(id);
            }),
        }
    }

    /// Removes a subscriber that was added with these filters and types.
    pub fn remove(&mut self, id: SubscriberId, filters: &Filters, types: &[EventType]) {
        self.in_all.remove(&id);
        for event_type in types {
            if let Some(ids) = self.by_type.get_mut(event_type) {
                ids.remove(&id);
            }
        }
        for term in filters.narrowest(|_| true).unwrap_or_default() {
            if let Some(ids) = self.by_term.get_mut(&term) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_term.remove(&term);
                }
            }
        }
    }

    /// Calls `wake` for everyone who may be interested, at least once.
    pub fn woken_by(&self, revision: &Revision, mut wake: impl FnMut(SubscriberId)) {
        if revision.events.is_empty() {
            return;
        }
        self.in_all.iter().copied().for_each(&mut wake);
        if !self.by_type.is_empty() {
            // An event that withdraws another goes to those who want the other.
            let types = revision.events.iter().flat_map(|e| [e.head.r#type(), e.head.withdrawn_type()]);
            types.filter_map(|t| self.by_type.get(&t)).flatten().copied().for_each(&mut wake);
        }
        if self.by_term.is_empty() {
            return;
        }
        for facets in revision.facets() {
            for term in facets.terms() {
                if let Some(ids) = self.by_term.get(term) {
                    ids.iter().copied().for_each(&mut wake);
                }
            }
        }
    }
}
