//! Where records lie: the number of the version that a name had when it was read last.
//!
//! To find a record by its name takes three descents, of the names, of the versions of a record and of the versions
//! themselves; by the number of its version it takes the last one alone. What is kept here is only where to look first: the
//! version that is found says itself whose it is, and from when until when. So nothing is ever taken back, two names may
//! push each other out, and whoever finds another version, or none, searches by the name.

use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;

use crate::limits::ADDRESSES;

/// Places that a name may be at: as many as one line of the processor's cache holds.
const LINE: usize = 8;
/// Bits of a place that say which version; those above them are some of the name's hash.
const VERSION_BITS: u32 = 40;

/// The table: a fixed number of places, each with a version and a part of the hash of its name; 0 is an empty one.
pub(super) struct Addresses {
    lines: Box<[Line]>,
    hashes: RandomState,
}

#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE]);

impl Addresses {
    pub fn new() -> Self {
        Self { lines: (0..ADDRESSES / LINE).map(|_| Line::default()).collect(), hashes: RandomState::new() }
    }

    /// The line of a name, its part of a place in it, and which of them it takes if all are taken.
    fn line(&self, name: &str) -> (&Line, u64, usize) {
        let hash = self.hashes.hash_one(name);
        let low = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0);
        (&self.lines[low % self.lines.len()], tag(hash), low / self.lines.len() % LINE)
    }

    /// The version to look at first.
    pub fn get(&self, name: &str) -> Option<u64> {
        let (line, tag, _) = self.line(name);
        let places = line.0.iter().map(|place| place.load(Ordering::Relaxed));
        places.filter(|place| *place != 0).find(|place| self::tag(*place) == tag).map(version)
    }

    /// Keeps the version that was found for a name.
    pub fn keep(&self, name: &str, version: u64) {
        let (line, tag, last) = self.line(name);
        put(line.place(tag).unwrap_or(&line.0[last]), tag, version);
    }

    /// Keeps a version of a name unless a newer one is kept, or others have all places that it may be at.
    pub fn offer(&self, name: &str, version: u64) {
        let (line, tag, _) = self.line(name);
        if let Some(place) = line.place(tag)
            && self::version(place.load(Ordering::Relaxed)) < version
        {
            put(place, tag, version);
        }
    }
}

impl Line {
    /// The place that a name has in it, or a free one.
    fn place(&self, tag: u64) -> Option<&AtomicU64> {
        let is_free = |place: &&AtomicU64| {
            let found = place.load(Ordering::Relaxed);
            found == 0 || self::tag(found) == tag
        };
        self.0.iter().find(is_free)
    }
}

/// Puts a version in a place, if it has room there.
fn put(place: &AtomicU64, tag: u64, version: u64) {
    if version != 0 && version >> VERSION_BITS == 0 {
        place.store(tag | version, Ordering::Relaxed);
    }
}

/// The part of a hash, or of a place, that is above its version.
fn tag(bits: u64) -> u64 {
    bits >> VERSION_BITS << VERSION_BITS
}

/// The version of a place.
fn version(place: u64) -> u64 {
    place & ((1 << VERSION_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_version_that_it_had_last() {
        let addresses = Addresses::new();
        assert_eq!(addresses.get("visits/a"), None);
        addresses.keep("visits/a", 7);
        addresses.keep("visits/b", 8);
        addresses.keep("visits/a", 9);
        assert_eq!((addresses.get("visits/a"), addresses.get("visits/b")), (Some(9), Some(8)));
    }

    #[test]
    fn an_older_version_does_not_take_the_place_of_a_newer_one() {
        let addresses = Addresses::new();
        for (version, kept) in [(7, 7), (9, 9), (8, 9)] {
            addresses.offer("visits/a", version);
            assert_eq!(addresses.get("visits/a"), Some(kept));
        }
    }

    #[test]
    fn what_is_offered_pushes_nobody_out() {
        let addresses = Addresses::new();
        for number in 1..=2 * ADDRESSES as u64 {
            addresses.keep(&format!("visits/{number}"), number);
        }
        let places =
            || addresses.lines.iter().flat_map(|line| line.0.iter().map(|place| place.load(Ordering::Relaxed)));
        let before: Vec<_> = places().collect();
        for number in 1..=1000 {
            addresses.offer(&format!("visits/other-{number}"), number);
        }
        let lost = places().zip(before).filter(|(now, before)| *before != 0 && tag(*now) != tag(*before)).count();
        assert_eq!(lost, 0);
    }

    #[test]
    fn a_version_that_has_no_room_in_a_place_is_not_kept() {
        let addresses = Addresses::new();
        addresses.keep("visits/a", 1 << VERSION_BITS);
        assert_eq!(addresses.get("visits/a"), None);
        addresses.keep("visits/a", (1 << VERSION_BITS) - 1);
        assert_eq!(addresses.get("visits/a"), Some((1 << VERSION_BITS) - 1));
    }

    #[test]
    fn with_names_for_three_quarters_of_its_places_most_are_found_again() {
        let addresses = Addresses::new();
        let names = ADDRESSES / 4 * 3;
        for number in 1..=names {
            addresses.keep(&format!("visits/{number}"), number as u64);
        }
        let found = (1..=names).filter(|number| addresses.get(&format!("visits/{number}")) == Some(*number as u64));
        let found = found.count();
        assert!(found > names / 10 * 9, "{found} of {names}");
    }
}
