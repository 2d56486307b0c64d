//! Counts of one kind: past, ahead, undated, called off, the last and the next.

use std::cmp::Ordering;

use super::{Seen, Window, watch::Watched};
use crate::{
    domain::{
        date::{Answer, Day},
        record,
    },
    pb::v1::{self, RecordKind},
};

/// A tally that is being counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub count: u32,
    pub maybe: u32,
    pub undated: u32,
    pub called_off: u32,
    pub ahead: u32,
    pub latest: Latest,
}

/// The last and the next that are known so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Latest {
    pub last: Option<(Day, v1::Contact)>,
    pub next: Option<(Day, v1::Contact)>,
}

impl Sums {
    /// Counts one more record.
    pub fn add(&mut self, seen: &Seen<'_>, window: &Window) {
        let place = seen.span().map(|span| span.within(window.from, window.until));
        let outside = place == Some(Answer::No);
        match place {
            _ if seen.is_called_off() => self.called_off += u32::from(!outside),
            None => self.undated += 1,
            Some(Answer::No) => {}
            Some(Answer::Yes) => self.count += 1,
            Some(Answer::Maybe) => {
                self.count += 1;
                self.maybe += 1;
            }
        }
        self.ahead += u32::from(self.latest.add(seen, window.day));
    }

    /// Whether anything was reported that is in the period or may be.
    pub fn reported(&self) -> bool {
        self.count + self.undated + self.called_off > 0
    }

    /// The tally, with whether anybody watched.
    pub fn tally(self, kind: RecordKind, watched: &Watched, window: &Window) -> v1::Tally {
        let observed = watched.observed(window.from, window.until, self.reported());
        let (watched_by, watched_by_more) = watched.by(window.from, window.until);
        v1::Tally {
            kind: kind.into(),
            count: self.count,
            maybe: self.maybe,
            undated: self.undated,
            called_off: self.called_off,
            ahead: self.ahead,
            observed: observed.into(),
            watched_by,
            watched_by_more,
            last: self.latest.last.map(|(_, contact)| contact),
            next: self.latest.next.map(|(_, contact)| contact),
        }
    }
}

impl Latest {
    /// Takes one more record; whether it is ahead.
    pub fn add(&mut self, seen: &Seen<'_>, day: Day) -> bool {
        let Some(beginning) = seen.beginning().filter(|_| !seen.is_called_off()) else { return false };
        let earliest = beginning.earliest.unwrap_or(Day::MIN);
        let ahead = earliest > day;
        let (kept, nearer) = if ahead { (&mut self.next, Ordering::Less) } else { (&mut self.last, Ordering::Greater) };
        let name = record::name_of(seen.record);
        let better = kept.as_ref().is_none_or(|(known, contact)| match earliest.cmp(known) {
            Ordering::Equal => name < contact.name.as_str(),
            unequal => unequal == nearer,
        });
        if better {
            *kept = Some((earliest, seen.contact()));
        }
        ahead
    }
}
