//! The journal: who decides that a batch is in the log, and in which place.
//!
//! # The contract
//!
//! The log is a sequence of batches at positions 1, 2, 3 and so on; a store holds a prefix of it. A writer that has
//! applied everything up to position *p* asks [`Journal::append`] to put its batch at *p* + 1:
//!
//! - [`Append::AtCommit`]: the store's own commit is the append, and its result the answer. The embedded journal alone, which
//!   needs no bytes of the batch and is given none.
//! - [`Append::Appended`]: it is durable at *p* + 1. The writer commits, and only then answers.
//! - [`Append::Conflict`]: another batch is at *p* + 1, and this one is nowhere and never will be.
//! - [`Append::NotSent`]: nothing happened, and nothing will.
//! - [`Append::Unknown`]: it may be at *p* + 1, or get there later. The writer keeps the bytes, admits nothing, and calls
//!   [`Journal::settle`] with the same bytes until the slot *p* + 1 is known. "Not found" is never an answer.
//!
//! What was read at a position never changes, and no position is left out. An implementation passes [`suite`].

pub mod jetstream;
pub mod suite;

use std::{path::Path, sync::Arc};

/// A place in the log; 0 is before the first batch.
pub type Position = u64;

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// The commit of the store's transaction is the answer.
    AtCommit,
    /// It is durable at the expected position.
    Appended,
    /// Another batch holds the position.
    Conflict,
    /// Nothing happened; the reason is for people.
    NotSent(String),
    /// It may or may not be, or come to be, in the log.
    Unknown,
}

/// What is known of a batch whose outcome was unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is at its position.
    Ours,
    /// Another batch is at its position; it can never land.
    Theirs,
    /// Not known yet; ask again.
    NotYet,
}

/// Why a journal does not answer; each says what happened, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It cannot be reached now; it may be later.
    #[error("journal unavailable: {0}")]
    Unreachable(String),
    /// It is not the log that it was: what it had is gone, or another is in its place. It never comes back.
    #[error("journal lost: {0}")]
    Lost(String),
    /// What follows the asked position was trimmed; only a store that has it can go on.
    #[error("journal trimmed: {0}")]
    Trimmed(String),
    /// It keeps what it is given less well than a log must be kept, and that was not asked for.
    #[error("{0}")]
    Lax(String),
}

impl Trouble {
    /// It cannot be reached now, for this reason.
    pub(crate) fn unreachable(why: impl std::fmt::Display) -> Self {
        Self::Unreachable(why.to_string())
    }
}

/// What an acknowledged batch survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// The loss of power, everywhere at once.
    Synced,
    /// The loss of power of a minority: it is on most servers, and they sync later.
    Copied,
    /// Not every server has said, or one says that it syncs late.
    Unknown,
}

/// A value on a shelf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The value.
    pub value: Vec<u8>,
    /// Changes with every put; never 0.
    pub version: u64,
}

/// Small values that replicas share, compared before they are set. Methods block.
pub trait Shelf: Send + Sync {
    /// The newest value of a key of letters, digits and dots.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    fn get(&self, key: &str) -> Result<Option<Kept>, Trouble>;

    /// The keys that have values.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    fn keys(&self) -> Result<Vec<String>, Trouble>;

    /// Sets a value whose version is `after`, 0 for none; `false` if it is another, and nothing happened.
    ///
    /// # Errors
    ///
    /// If it cannot be reached: then it may have happened.
    fn put(&self, key: &str, value: &[u8], after: u64) -> Result<bool, Trouble>;
}

/// A file in a depot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name; names sort by age.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Files beside the log, far larger than a batch: snapshots of stores, from which new ones begin. Methods block.
pub trait Depot: Send + Sync {
    /// What it has, by name.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    fn list(&self) -> Result<Vec<Stored>, Trouble>;

    /// Puts a file; who puts one of the same name again replaces it. It is there when this returns, whole or not at all.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or the depot not be reached.
    fn put(&self, name: &str, file: &Path) -> Result<(), Trouble>;

    /// Writes what it has under a name into a file, and compares its digest.
    ///
    /// # Errors
    ///
    /// If there is none, if the file cannot be written, or if the depot cannot be reached.
    fn fetch(&self, name: &str, into: &Path) -> Result<(), Trouble>;

    /// Drops what it has under a name.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    fn remove(&self, name: &str) -> Result<(), Trouble>;
}

/// Called whenever batches may have arrived.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// See the module's contract. Methods block; only the writer's thread and health checks call them.
pub trait Journal: Send + Sync + 'static {
    /// Puts a batch at `after + 1`, or says why not. One that is alone is given no bytes, and knows what became of them.
    fn append(&self, after: Position, batch: &[u8]) -> Append;

    /// Offers the same bytes for the same place again, after `Unknown`, and says who holds it.
    fn settle(&self, after: Position, batch: &[u8]) -> Settled;

    /// Whether the store's own position is the newest, because nobody else writes. Known without asking anybody.
    fn is_alone(&self) -> bool {
        false
    }

    /// The newest position; `None` if the journal is alone.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    fn head(&self) -> Result<Option<Position>, Trouble>;

    /// Batches after a position, in order and without gap, at most `limit`. After a conflict the winner is among them.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, or is not the log any more.
    fn follow(&self, after: Position, limit: usize) -> Result<Vec<(Position, Vec<u8>)>, Trouble>;

    /// The batch at a position at or before the newest; `None` if it was trimmed, or if the store alone keeps it.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, or does not have it and should.
    fn batch(&self, _position: Position) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(None)
    }

    /// How often it was lost sight of. Whenever that changes it may be another log, and a writer compares what it has at
    /// the store's own place before it appends.
    fn interruptions(&self) -> u64 {
        0
    }

    /// What an acknowledged batch survives; `None` if the store alone says so.
    fn durable(&self) -> Option<Durable> {
        None
    }

    /// Where replicas keep small values beside the log; `None` if the store alone keeps them.
    fn shelf(self: Arc<Self>) -> Option<Arc<dyn Shelf>> {
        None
    }

    /// Where replicas keep snapshots beside the log; `None` if there is no such place.
    fn depot(self: Arc<Self>) -> Option<Arc<dyn Depot>> {
        None
    }

    /// Registers who is told when batches may have arrived.
    fn on_arrival(&self, wake: Wake);

    /// Drops batches up to and including a position, which every store must have applied.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    fn trim(&self, up_to: Position) -> Result<(), Trouble>;
}

/// The embedded journal: the commit of the store's transaction is the append. Nobody else writes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Embedded;

impl Journal for Embedded {
    fn append(&self, _after: Position, _batch: &[u8]) -> Append {
        Append::AtCommit
    }

    fn settle(&self, _after: Position, _batch: &[u8]) -> Settled {
        // An append at commit is never unknown to the journal; the writer reopens the store to learn it.
        Settled::NotYet
    }

    fn is_alone(&self) -> bool {
        true
    }

    fn head(&self) -> Result<Option<Position>, Trouble> {
        Ok(None)
    }

    fn follow(&self, _after: Position, _limit: usize) -> Result<Vec<(Position, Vec<u8>)>, Trouble> {
        Ok(Vec::new())
    }

    fn on_arrival(&self, _wake: Wake) {}

    fn trim(&self, _up_to: Position) -> Result<(), Trouble> {
        Ok(())
    }
}
