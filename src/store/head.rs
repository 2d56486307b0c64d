//! Where a store stands in the log.

use std::time::Duration;

use super::log::StoredEntry;
use crate::{
    clock,
    domain::{
        date::{self, Day},
        error::{Error, Reason},
        token::{Epoch, GENESIS, Hash, Phase, Token},
    },
    journal::Position,
    pb::log::{EntryHeader, EntryPayload},
};

/// Where a store stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Of which log.
    pub epoch: Epoch,
    /// The last batch applied.
    pub position: Position,
    /// The last revision applied; 0 is none.
    pub revision: u64,
    /// The chain's hash after it.
    pub hash: Hash,
    /// When it was recorded, in microseconds since 1970; 0 before the first.
    pub recorded_at_us: i64,
    /// The registry's day; `None` while the log is empty. That of the first entry, then moved by DAY entries alone.
    pub day: Option<Day>,
    /// The day that is being moved to, and its last part that was applied.
    pub pending: Option<(Day, u32)>,
    /// Whether every entry so far has a supplied time: a history is being replayed.
    pub replaying: bool,
    /// The oldest revision that can be read; 0 if nothing was trimmed.
    pub floor: u64,
    /// The chain's hash after it.
    pub floor_hash: Hash,
    /// The newest revision that erased something; 0 if none did.
    pub redacted: u64,
}

impl Head {
    /// Of an empty log.
    #[must_use]
    pub fn empty(epoch: Epoch) -> Self {
        Self {
            epoch,
            position: 0,
            revision: 0,
            hash: GENESIS,
            recorded_at_us: 0,
            day: None,
            pending: None,
            replaying: true,
            floor: 0,
            floor_hash: GENESIS,
            redacted: 0,
        }
    }

    /// The day on which facts and status rest: the registry's, or the one that is being moved to.
    #[must_use]
    pub fn today(&self) -> Day {
        self.pending.map(|(day, _)| day).or(self.day).unwrap_or_default()
    }

    /// How far the newest entry is recorded ahead of what a clock says, in microseconds since 1970; nothing if it is not.
    #[must_use]
    pub fn ahead_of(&self, now_us: i64) -> Duration {
        Duration::from_micros(u64::try_from(self.recorded_at_us.saturating_sub(now_us)).unwrap_or(0))
    }

    /// When the newest entry was recorded, as people read it.
    #[must_use]
    pub fn recorded_at(&self) -> String {
        jiff::Timestamp::from_microsecond(self.recorded_at_us).map(|t| t.to_string()).unwrap_or_default()
    }

    /// After an entry.
    ///
    /// # Errors
    ///
    /// `ENTRY_CORRUPT` if it moves to a day that cannot be read.
    pub fn after(self, entry: &StoredEntry, header: &EntryHeader, payload: &EntryPayload) -> Result<Self, Error> {
        let mut next = Self {
            revision: entry.revision,
            hash: entry.hash,
            recorded_at_us: entry.recorded_at_us,
            day: self.day.or(Some(clock::day(entry.recorded_at_us))),
            replaying: self.replaying && header.recorded_at_supplied,
            ..self
        };
        if let Some(moved) = &payload.day {
            let day = date::civil_day(&moved.day).map_err(|_| {
                Error::new(Reason::EntryCorrupt, format!("entry {} moves to no day: {:?}", entry.revision, moved.day))
            })?;
            (next.day, next.pending) = if moved.last { (Some(day), None) } else { (next.day, Some((day, moved.part))) };
        }
        if let Some(trim) = &payload.trim
            && trim.before_revision > self.floor + 1
        {
            let corrupt = || Error::new(Reason::EntryCorrupt, format!("entry {} trims what cannot be", entry.revision));
            if trim.before_revision >= entry.revision {
                return Err(corrupt());
            }
            next.floor = trim.before_revision - 1;
            next.floor_hash = trim.previous_hash.as_slice().try_into().map_err(|_| corrupt())?;
        }
        if payload.redact.is_some() {
            next.redacted = entry.revision;
        }
        Ok(next)
    }

    /// The token of the oldest position that can be read: watching after it sends everything that there is.
    #[must_use]
    pub fn oldest_token(&self) -> Token {
        Token::at(self.epoch, self.floor, &self.floor_hash)
    }

    /// Whether what a token needs was trimmed: in the middle of a revision it needs the one before.
    #[must_use]
    pub fn is_trimmed(&self, token: &Token) -> bool {
        match token.phase {
            Phase::Partial { .. } => self.floor > 0 && token.revision <= self.floor,
            Phase::Whole | Phase::Snapshot { .. } => token.revision < self.floor,
        }
    }

    /// What whoever asks for something older than the floor is told.
    #[must_use]
    pub fn trimmed(&self, field: &str) -> Error {
        let why = format!("is older than what is kept, which begins after revision {}", self.floor);
        Error::field(Reason::HistoryTrimmed, field, why).with("oldest_token", self.oldest_token().encode())
    }

    /// The token of this position.
    #[must_use]
    pub fn token(&self) -> Token {
        Token::at(self.epoch, self.revision, &self.hash)
    }
}
