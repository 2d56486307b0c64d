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
    /// What the store has, as it last said.
    applied: Position,
    /// Right after one another.
    batches: VecDeque<(Position, Bytes)>,
    bytes: usize,
    /// How often in a row the stream ended before that.
    short: u32,
    /// The stream is not the one whose log this is; it ends here.
    trouble: Option<Trouble>,
    wakes: Vec<Wake>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Known> {
        // Whoever panicked left whole values.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last place that a batch is known to be at.
    pub fn last(&self) -> Position {
        self.lock().last
    }

    /// What the store has, as it last said.
    pub fn applied(&self) -> Position {
        self.lock().applied
    }

    /// A batch is at a place.
    pub fn known(&self, position: Position) {
        let mut known = self.lock();
        known.last = known.last.max(position);
    }

    /// Whether the stream is still the one it was.
    pub fn sound(&self) -> Result<(), Trouble> {
        self.lock().trouble.clone().map_or(Ok(()), Err)
    }

    /// Remembers for good that it is not.
    pub fn trouble(&self, trouble: Trouble) {
        let mut known = self.lock();
        if known.trouble.is_none() {
            tracing::error!(error = %trouble, "the journal is not the log that it was");
        }
        known.trouble.get_or_insert(trouble);
        let wakes = known.wakes.clone();
        drop(known);
        wakes.iter().for_each(|wake| wake());
    }

    /// What the leader says: the stream may not end before what is known to be in it.
    pub fn seen(&self, state: &State) -> Result<(), Trouble> {
        let mut known = self.lock();
        let needed = known.last.max(known.applied);
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
        let needed = known.last.max(known.applied);
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

    /// Whether the stream still has what follows a place.
    pub fn follows(&self, after: Position, state: &State) -> Result<(), Trouble> {
        if state.first_sequence <= after + 1 {
            return Ok(());
        }
        let why = format!(
            "the stream begins at {}, and {} is the next that this store needs",
            state.first_sequence,
            after + 1
        );
        let trimmed = Trouble::Trimmed(why);
        self.trouble(trimmed.clone());
        Err(trimmed)
    }

    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        self.lock().bytes < JOURNAL_INBOX_BYTES
    }

    /// Takes in what the stream brought for a place, and says so to whoever waits, if it is new to the store.
    pub fn put(&self, position: Position, batch: Bytes) {
        let mut known = self.lock();
        known.last = known.last.max(position);
        if position <= known.applied {
            return;
        }
        known.bytes += batch.len();
        known.batches.push_back((position, batch));
        let wakes = known.wakes.clone();
        drop(known);
        wakes.iter().for_each(|wake| wake());
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
        known.applied = after;
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
