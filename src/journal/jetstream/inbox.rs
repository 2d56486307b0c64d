//! What is known of the stream: how far it goes, the batches that were brought and not taken yet, and what is wrong.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_nats::jetstream::stream::State;
use bytes::Bytes;
use tokio::sync::Notify;

use super::super::{Position, Trouble, Wake};
use crate::limits::{JOURNAL_INBOX_BYTES, JOURNAL_SHORT_SIGHTINGS};

/// Whether a stream still has what follows a place.
pub(super) fn has_next(after: Position, state: &State) -> Result<(), Trouble> {
    let (first, next) = (state.first_sequence, after + 1);
    if first <= next {
        return Ok(());
    }
    Err(Trouble::Trimmed(format!("the stream begins at {first}, and {next} is the next that this store needs")))
}

/// Filled by the follower, emptied by the writer; bounded in bytes.
#[derive(Default)]
pub(super) struct Inbox {
    known: Mutex<Known>,
    /// The writer took some, or stands elsewhere than thought.
    pub moved: Notify,
}

#[derive(Default)]
struct Known {
    /// The last place that a batch is known to be at.
    last: Position,
    /// The last place of which a refusal says that a batch is or comes there.
    supposed: Position,
    /// The last place that this replica's own batches took.
    own: Position,
    /// The last batch that it offered took one.
    won: bool,
    /// Others took places since that was asked.
    contended: bool,
    /// What the store has, as it last said; `None` until it did.
    applied: Option<Position>,
    /// Right after one another.
    batches: VecDeque<(Position, Bytes)>,
    bytes: usize,
    /// How often the stream was lost sight of.
    interruptions: u64,
    /// How often in a row the stream ended before that.
    short: u32,
    /// Where it had nothing when the next batch was counted there, and how often in a row.
    hole: (Position, u32),
    /// The stream is not the one whose log this is; it ends here.
    trouble: Option<Trouble>,
    wakes: Vec<Wake>,
}

impl Known {
    /// Where the stream must end at least.
    fn needed(&self) -> Position {
        self.last.max(self.applied.unwrap_or(0))
    }

    /// Tells whoever waits, without the lock.
    fn wake(known: MutexGuard<'_, Self>) {
        let wakes = known.wakes.clone();
        drop(known);
        wakes.iter().for_each(|wake| wake());
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Known> {
        // Whoever panicked left whole values.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store has, as it last said; waits until it did.
    pub async fn applied(&self) -> Position {
        loop {
            if let Some(applied) = self.lock().applied {
                return applied;
            }
            self.moved.notified().await;
        }
    }

    /// A batch is at a place.
    pub fn known(&self, position: Position) {
        let mut known = self.lock();
        known.last = known.last.max(position);
    }

    /// A batch is at a place or comes there, as the refusal of another says.
    pub fn supposed(&self, position: Position) {
        let mut known = self.lock();
        known.supposed = known.supposed.max(position);
    }

    /// Whether something follows a place, or should.
    pub fn has_after(&self, after: Position) -> bool {
        let known = self.lock();
        known.last.max(known.supposed) > after
    }

    /// This replica's batch is at a place.
    pub fn won(&self, position: Position) {
        let mut known = self.lock();
        known.last = known.last.max(position);
        // What lies between its own places is others'. (That the follower brings a batch before it is acknowledged says
        // nothing of whose it is.)
        known.contended |= position > known.own + 1;
        known.own = known.own.max(position);
        known.won = true;
    }

    /// Whether the last batch that was offered took a place, and others took some since this was asked: then it is their
    /// turn. Whoever lost is not to wait.
    pub fn yields(&self) -> bool {
        let mut known = self.lock();
        let (won, contended) = (std::mem::take(&mut known.won), std::mem::take(&mut known.contended));
        won && contended
    }

    /// Whether the stream is still the one it was.
    pub fn sound(&self) -> Result<(), Trouble> {
        self.lock().trouble.clone().map_or(Ok(()), Err)
    }

    /// Whether what it has can be read. One that has dropped what comes next in the store is still the log, and goes on from
    /// snapshots.
    pub fn readable(&self) -> Result<(), Trouble> {
        match self.sound() {
            Err(Trouble::Trimmed(_)) => Ok(()),
            other => other,
        }
    }

    /// Remembers for good why it is not followed any more, and gives that back.
    pub fn trouble(&self, trouble: Trouble) -> Trouble {
        let mut known = self.lock();
        match (&known.trouble, &trouble) {
            (Some(_), _) => {}
            (None, Trouble::Trimmed(_)) => {
                tracing::error!(error = %trouble, "the journal has dropped what comes next here");
            }
            (None, _) => tracing::error!(error = %trouble, "the journal is not the log that it was"),
        }
        known.trouble.get_or_insert_with(|| trouble.clone());
        Known::wake(known);
        trouble
    }

    /// What the leader says: the stream may not end before what is known to be in it.
    pub fn seen(&self, state: &State) -> Result<(), Trouble> {
        let mut known = self.lock();
        let needed = known.needed();
        if state.last_sequence >= needed {
            known.last = state.last_sequence;
            known.short = 0;
            return Ok(());
        }
        // A new leader may not have brought out yet what it has.
        Err(Trouble::Unreachable(format!("the stream ends at {}, and ended at {needed}", state.last_sequence)))
    }

    /// The follower found it short, once more: if it stays so, what was acknowledged is gone.
    pub fn short_again(&self, ends: Position) {
        let mut known = self.lock();
        let needed = known.needed();
        if ends >= needed {
            return;
        }
        known.short += 1;
        if known.short >= JOURNAL_SHORT_SIGHTINGS {
            drop(known);
            self.trouble(Trouble::Lost(format!(
                "the stream ends at {ends}, and ended at {needed}: it was deleted, or restored from a copy"
            )));
        }
    }

    /// The next place, if the store has said where it stands, that place is within the stream, and the stream counts fewer batches than
    /// it has places.
    pub fn wanted(&self, state: &State) -> Option<Position> {
        let next = self.lock().applied? + 1;
        let (first, last) = (state.first_sequence, state.last_sequence);
        let has_holes = state.messages < (last + 1).saturating_sub(first);
        (has_holes && (first..=last).contains(&next)).then_some(next)
    }

    /// The leader had something at the place of the next batch, or, once more, had not: if it stays so, the stream has lost a batch,
    /// and nobody who needs it can go on. (A leader that is new may count what it has yet to bring out.)
    pub fn sought(&self, place: Position, is_there: bool) {
        let mut known = self.lock();
        known.hole = match known.hole {
            _ if is_there => (place, 0),
            (same, sighted) if same == place => (place, sighted + 1),
            _ => (place, 1),
        };
        if known.hole.1 >= JOURNAL_SHORT_SIGHTINGS {
            drop(known);
            self.trouble(Trouble::Lost(format!("the stream has nothing at {place}, and goes on after it")));
        }
    }

    /// Whether the stream still has what follows a place.
    pub fn follows(&self, after: Position, state: &State) -> Result<(), Trouble> {
        has_next(after, state).map_err(|trouble| self.trouble(trouble))
    }

    /// How often the stream was lost sight of.
    pub fn interruptions(&self) -> u64 {
        self.lock().interruptions
    }

    /// It was, once more: whoever waits for batches is to look whether it is the same.
    pub fn interrupted(&self) {
        let mut known = self.lock();
        known.interruptions += 1;
        Known::wake(known);
    }

    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        self.lock().bytes < JOURNAL_INBOX_BYTES
    }

    /// Takes in what the stream brought for a place, and says so to whoever waits, if it is new to the store.
    pub fn put(&self, position: Position, batch: Bytes) {
        let mut known = self.lock();
        known.last = known.last.max(position);
        if known.applied.is_some_and(|applied| position <= applied) {
            return;
        }
        known.bytes += batch.len();
        known.batches.push_back((position, batch));
        Known::wake(known);
    }

    /// Forgets what was brought: it will be brought again.
    pub fn clear(&self) {
        let mut known = self.lock();
        known.batches.clear();
        known.bytes = 0;
    }

    /// The batches right after a place, as far as they were brought.
    pub fn take(&self, after: Position, limit: usize) -> Vec<(Position, Vec<u8>)> {
        let mut known = self.lock();
        known.applied = Some(after);
        let mut taken = Vec::new();
        while let Some((position, batch)) = known.batches.front() {
            let (position, next) = (*position, after + 1 + taken.len() as u64);
            if position > next || taken.len() >= limit {
                break;
            }
            if position == next {
                taken.push((position, batch.to_vec()));
            }
            known.bytes -= batch.len();
            known.batches.pop_front();
        }
        drop(known);
        self.moved.notify_one();
        taken
    }

    pub fn on_arrival(&self, wake: Wake) {
        self.lock().wakes.push(wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_no_batch_when_the_leader_says_so_of_it_again_and_again_without_a_word_to_the_contrary() {
        let inbox = Inbox::default();
        let often = |place, times: u32| (0..times).for_each(|_| inbox.sought(place, false));
        often(5, JOURNAL_SHORT_SIGHTINGS - 1);
        inbox.sought(5, true);
        often(5, JOURNAL_SHORT_SIGHTINGS - 1);
        often(4, JOURNAL_SHORT_SIGHTINGS - 1);
        often(5, JOURNAL_SHORT_SIGHTINGS - 1);
        assert!(inbox.sound().is_ok());
        often(5, 1);
        let told = inbox.sound();
        assert!(matches!(&told, Err(Trouble::Lost(why)) if why.contains("nothing at 5")), "{told:?}");
    }

    /// A stream that goes from one place to another and has so many batches.
    fn stream(first: u64, last: u64, messages: u64) -> State {
        let time = "2026-01-01T00:00:00Z";
        let state = serde_json::json!({
            "messages": messages, "bytes": 0, "first_seq": first, "first_ts": time, "last_seq": last, "last_ts": time,
            "consumer_count": 0,
        });
        serde_json::from_value(state).unwrap()
    }

    #[test]
    fn the_next_batch_is_looked_for_where_the_stream_has_fewer_than_places_and_a_place_for_it() {
        let inbox = Inbox::default();
        let lost = stream(3, 9, 6);
        assert_eq!(inbox.wanted(&lost), None, "nobody knows yet what the store has");
        for (applied, next) in [(1, None), (2, Some(3)), (5, Some(6)), (8, Some(9)), (9, None)] {
            assert!(inbox.take(applied, 1).is_empty());
            assert_eq!(inbox.wanted(&lost), next, "of a store that has {applied}");
            assert_eq!(inbox.wanted(&stream(3, 9, 7)), None, "a stream that has all of them");
        }
        inbox.take(0, 1);
        assert_eq!(inbox.wanted(&stream(1, 0, 0)), None, "nothing was ever put there");
        assert_eq!(inbox.wanted(&stream(1, 1, 0)), Some(1), "the only one is gone");
    }
}
