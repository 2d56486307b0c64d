//! What transactions found in the store or put there, and what is never taken out again: the rows of terms, and sounds.
//!
//! Most filings name the same states, topics and words, and a transaction of a few looks up nearly all of its own.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use crate::{
    domain::facets::Term,
    limits::{MAX_KNOWN_BYTES, MAX_KNOWN_SOUNDS, MAX_KNOWN_TERMS},
};

/// See the module. What a transaction adds is known to itself, and to later ones once it is committed.
#[derive(Debug, Default)]
pub struct Known(RefCell<Parts>);

#[derive(Debug, Default)]
struct Parts {
    committed: Found,
    /// By the transaction that is open.
    fresh: Found,
}

#[derive(Debug, Default)]
struct Found {
    terms: HashMap<Term, i64>,
    sounds: HashSet<Box<str>>,
}

impl Known {
    /// A transaction begins: if the one before was not committed, what it found may not be there.
    pub(super) fn begin(&self) {
        self.0.borrow_mut().fresh = Found::default();
    }

    /// The transaction that is open was committed.
    pub(in crate::store) fn commit(&self) {
        let Parts { committed, fresh } = &mut *self.0.borrow_mut();
        // What is asked for often soon comes back.
        if committed.terms.len() + fresh.terms.len() > MAX_KNOWN_TERMS {
            committed.terms.clear();
        }
        if committed.sounds.len() + fresh.sounds.len() > MAX_KNOWN_SOUNDS {
            committed.sounds.clear();
        }
        committed.terms.extend(fresh.terms.drain());
        committed.sounds.extend(fresh.sounds.drain());
    }

    /// The row of a term, if it is remembered.
    pub(super) fn term(&self, term: &Term) -> Option<i64> {
        let parts = self.0.borrow();
        parts.committed.terms.get(term).or_else(|| parts.fresh.terms.get(term)).copied()
    }

    /// A term is in the store, in this row.
    pub(super) fn add_term(&self, term: &Term, row: i64) {
        let fresh = &mut self.0.borrow_mut().fresh.terms;
        if fresh.len() < MAX_KNOWN_TERMS && term.1.len() <= MAX_KNOWN_BYTES {
            fresh.insert(term.clone(), row);
        }
    }

    /// Whether it is remembered that a sound is in the store.
    pub(in crate::store) fn has_sound(&self, sound: &str) -> bool {
        let parts = self.0.borrow();
        parts.committed.sounds.contains(sound) || parts.fresh.sounds.contains(sound)
    }

    /// A sound is in the store.
    pub(in crate::store) fn add_sound(&self, sound: &str) {
        let fresh = &mut self.0.borrow_mut().fresh.sounds;
        if fresh.len() < MAX_KNOWN_SOUNDS && sound.len() <= MAX_KNOWN_BYTES {
            fresh.insert(sound.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::facets::Tag;

    #[test]
    fn what_was_not_committed_is_not_known_to_the_next_transaction() {
        let (known, az) = (Known::default(), (Tag::State, "AZ".to_owned()));
        known.begin();
        known.add_term(&az, 1);
        known.add_sound("baku");
        assert_eq!((known.term(&az), known.has_sound("baku")), (Some(1), true), "to itself it is");
        known.begin();
        assert_eq!((known.term(&az), known.has_sound("baku")), (None, false));
        known.add_term(&az, 2);
        known.add_sound("baku");
        known.commit();
        known.begin();
        assert_eq!((known.term(&az), known.has_sound("baku")), (Some(2), true));
    }

    #[test]
    fn no_more_is_kept_than_has_room() {
        let known = Known::default();
        for (round, of_each) in
            [MAX_KNOWN_SOUNDS / 2 + 1, MAX_KNOWN_SOUNDS / 2 + 1, 2 * MAX_KNOWN_SOUNDS].into_iter().enumerate()
        {
            known.begin();
            for number in 0..of_each {
                known.add_sound(&format!("{round}x{number}"));
                known.add_term(&(Tag::Person, format!("persons/{round}x{number}")), 1);
            }
            known.commit();
            let kept = (known.0.borrow().committed.sounds.len(), known.0.borrow().committed.terms.len());
            assert!(kept.0 <= MAX_KNOWN_SOUNDS && kept.1 <= MAX_KNOWN_TERMS, "{kept:?} after {round}");
            assert!(known.has_sound(&format!("{round}x0")), "the newest are");
        }
        let long = "x".repeat(MAX_KNOWN_BYTES + 1);
        known.add_sound(&long);
        assert!(!known.has_sound(&long), "a sound may be as long as a text");
    }
}
