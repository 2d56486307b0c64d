//! Who may be interested in a revision: an index from terms to subscribers.
//!
//! It may wake one too many, never one too few: every record that matches a filter has one of the filter's narrowest
//! terms.

use std::collections::{HashMap, HashSet};

use crate::domain::{facets::Term, filter::Filters, revision::Revision};

/// The number of a subscriber.
pub type SubscriberId = u64;

/// The index.
#[derive(Debug, Default)]
pub struct Interest {
    by_term: HashMap<Term, HashSet<SubscriberId>>,
    /// Those whose filters have no term to look up.
    in_all: HashSet<SubscriberId>,
}

impl Interest {
    /// Adds a subscriber.
    pub fn add(&mut self, id: SubscriberId, filters: &Filters) {
        match filters.narrowest() {
            None => {
                self.in_all.insert(id);
            }
            Some(terms) => terms.into_iter().for_each(|term| {
                self.by_term.entry(term).or_default().insert(id);
            }),
        }
    }

    /// Removes a subscriber that was added with these filters.
    pub fn remove(&mut self, id: SubscriberId, filters: &Filters) {
        self.in_all.remove(&id);
        for term in filters.narrowest().unwrap_or_default() {
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
        if self.by_term.is_empty() {
            return;
        }
        for facets in revision.facets() {
            for term in &facets.terms {
                if let Some(ids) = self.by_term.get(term) {
                    ids.iter().copied().for_each(&mut wake);
                }
            }
        }
    }
}
