//! What transactions found in the store or put there: rows of terms and sounds, which are never taken out again, and the block
//! of each source that stands.
//!
//! Most filings name the same states, topics, words and sources, and a transaction of a few looks up nearly all of its own.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

// Fifty sounds of each filing are looked for here: std's hasher took longer than all else of that.
use ahash::RandomState;

use crate::{
    domain::facets::Term,
    limits::{MAX_KNOWN_BLOCK_BYTES, MAX_KNOWN_BYTES, MAX_KNOWN_SOUNDS, MAX_KNOWN_SOURCES, MAX_KNOWN_TERMS},
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
    terms: HashMap<Term, i64, RandomState>,
    /// The blocks of sources that stand, encoded.
    sources: HashMap<String, Vec<u8>, RandomState>,
    sounds: HashSet<Box<str>, RandomState>,
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
        if committed.sources.len() + fresh.sources.len() > MAX_KNOWN_SOURCES {
            committed.sources.clear();
        }
        if fresh.sources.len() > MAX_KNOWN_SOURCES {
            // One that is left out must not leave an older block behind: none of them does now.
            fresh.sources.clear();
        }
        committed.terms.extend(fresh.terms.drain());
        committed.sources.extend(fresh.sources.drain());
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

    /// Whether it is remembered that this block, encoded, is the one of its source that stands.
    pub fn has_source(&self, name: &str, block: &[u8]) -> bool {
        let parts = self.0.borrow();
        parts.fresh.sources.get(name).or_else(|| parts.committed.sources.get(name)).is_some_and(|known| known == block)
    }

    /// This block of a source stands, in the place of another: what is too large to be kept must be forgotten at least.
    pub(super) fn add_source(&self, name: &str, block: Vec<u8>) {
        let kept = if block.len() <= MAX_KNOWN_BLOCK_BYTES { block } else { Vec::new() };
        self.0.borrow_mut().fresh.sources.insert(name.to_owned(), kept);
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
    fn of_a_source_the_latest_block_alone_is_known() {
        let known = Known::default();
        let large = [7; MAX_KNOWN_BLOCK_BYTES + 1];
        known.begin();
        known.add_source("sources/s", b"one".to_vec());
        known.commit();
        known.begin();
        known.add_source("sources/s", b"two".to_vec());
        assert!(known.has_source("sources/s", b"two") && !known.has_source("sources/s", b"one"));
        known.begin();
        assert!(known.has_source("sources/s", b"one") && !known.has_source("sources/s", b"two"), "it was rolled back");
        known.add_source("sources/s", large.to_vec());
        known.commit();
        assert!(!known.has_source("sources/s", b"one"), "another stands");
        assert!(!known.has_source("sources/s", &large), "and has no room");
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
            for number in 0..=MAX_KNOWN_SOURCES / 2 * (1 + round) {
                known.add_source(&format!("sources/{round}x{number}"), vec![1]);
            }
            known.commit();
            let kept = (known.0.borrow().committed.sounds.len(), known.0.borrow().committed.terms.len());
            assert!(kept.0 <= MAX_KNOWN_SOUNDS && kept.1 <= MAX_KNOWN_TERMS, "{kept:?} after {round}");
            assert!(known.0.borrow().committed.sources.len() <= MAX_KNOWN_SOURCES, "after {round}");
            assert!(known.has_sound(&format!("{round}x0")), "the newest are");
            assert_eq!(known.has_source(&format!("sources/{round}x0"), &[1]), round == 0, "as many as have room");
        }
        let long = "x".repeat(MAX_KNOWN_BYTES + 1);
        known.add_sound(&long);
        assert!(!known.has_sound(&long), "a sound may be as long as a text");
    }
}
