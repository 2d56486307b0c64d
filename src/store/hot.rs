//! Records that are asked for often, encoded, in memory.
//!
//! An entry says at which revision it was read. It answers for a revision if it was read there or before, and if nothing
//! has changed its name since. Changes are noted by name before readers see their revision, in a table of fixed size:
//! two names may share a place in it, which costs a read of the store and never a wrong answer.

use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache};

use crate::{
    limits::{HOT_BYTES, HOT_PLACES},
    metrics::Caching,
};

/// What an entry takes of memory beside its name and bytes, about.
const ENTRY_BYTES: usize = 128;
/// The size of a record that the cache expects, for the first size of its tables.
const EXPECTED_BYTES: usize = 1024;

/// The cache.
pub(super) struct Hot {
    records: Cache<Box<str>, Entry, Weight>,
    /// The last revision that changed one of the names of a place.
    changed: Vec<AtomicU64>,
    places: RandomState,
    /// How often it answered.
    pub counts: Caching,
}

#[derive(Clone)]
struct Entry {
    /// The revision at which it was read.
    read_at: u64,
    /// The record, encoded.
    record: Bytes,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Entry> for Weight {
    fn weight(&self, name: &Box<str>, entry: &Entry) -> u64 {
        (ENTRY_BYTES + name.len() + entry.record.len()) as u64
    }
}

impl Hot {
    pub fn new() -> Self {
        Self {
            records: Cache::with_weighter(HOT_BYTES / EXPECTED_BYTES, HOT_BYTES as u64, Weight),
            changed: (0..HOT_PLACES).map(|_| AtomicU64::new(0)).collect(),
            places: RandomState::new(),
            counts: Caching::default(),
        }
    }

    fn place(&self, name: &str) -> &AtomicU64 {
        let hash = usize::try_from(self.places.hash_one(name) % HOT_PLACES as u64).unwrap_or(0);
        &self.changed[hash]
    }

    /// The record of a name as of a revision, if it is known here.
    pub fn get(&self, name: &str, revision: u64) -> Option<Bytes> {
        let answers = |e: &Entry| e.read_at <= revision && self.place(name).load(Ordering::Acquire) <= e.read_at;
        let found = self.records.get(name).filter(answers);
        let count = if found.is_some() { &self.counts.hits } else { &self.counts.misses };
        count.inc();
        found.map(|entry| entry.record)
    }

    /// What the records in it take, about.
    pub fn bytes(&self) -> u64 {
        self.records.weight()
    }

    /// Keeps a record that was read as of a revision.
    pub fn keep(&self, name: &str, revision: u64, record: Bytes) {
        self.records.insert(name.into(), Entry { read_at: revision, record });
    }

    /// Notes that a revision changed a name, before anybody reads that revision.
    pub fn changed(&self, name: &str, revision: u64) {
        self.place(name).fetch_max(revision, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_does_not_answer_for_what_comes_after() {
        let hot = Hot::new();
        hot.keep("visits/a", 5, Bytes::from_static(b"old"));
        assert_eq!(hot.get("visits/a", 5).as_deref(), Some(&b"old"[..]));
        assert_eq!(hot.get("visits/a", 9).as_deref(), Some(&b"old"[..]), "nothing changed it");
        assert_eq!(hot.get("visits/a", 4), None, "it may have been another before it was read");
        hot.changed("visits/a", 10);
        assert_eq!(hot.get("visits/a", 10), None);
        // A reader that began before the change comes late with what it read.
        hot.keep("visits/a", 9, Bytes::from_static(b"old"));
        assert_eq!(hot.get("visits/a", 10), None);
        hot.keep("visits/a", 10, Bytes::from_static(b"new"));
        assert_eq!(hot.get("visits/a", 11).as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn it_holds_no_more_than_its_budget() {
        let hot = Hot::new();
        let record = Bytes::from(vec![7; 64 * 1024]);
        for number in 0..4 * HOT_BYTES / record.len() {
            hot.keep(&format!("visits/{number}"), 1, record.clone());
        }
        assert!(hot.records.weight() <= HOT_BYTES as u64, "{}", hot.records.weight());
        assert!(hot.records.weight() > HOT_BYTES as u64 / 2, "it uses its budget: {}", hot.records.weight());
    }
}
