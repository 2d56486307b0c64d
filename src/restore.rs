//! A store from a backup: as it was, or as it was at an earlier position, which is made again from the log.
//!
//! What is restored is another history from there on, so it begins a new epoch: tokens of the old one are refused, and
//! whoever watched starts again. It has a log of its own.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use prost::Message as _;

use crate::{
    clock::{Clock, SystemClock},
    domain::{
        error::{Error, Reason, Result},
        token::{Epoch, Token, short},
    },
    journal::{Append, Journal, Position, Settled, Trouble, Wake},
    limits::{MAX_BATCH_BYTES, REPLAY_PAGE_BYTES},
    pb::log::Entry,
    store::{
        self, Head, Home, Options, StoreError, Sync,
        alone::Alone,
        packed::{self, Work},
        snapshot,
    },
    writer::{self, BATCH_FRAMING_BYTES, ENTRY_FRAMING_BYTES},
};

/// What says as of when: it is asked on the command line alone.
pub const FIELD: &str = "--to";
/// Entries that are read at once.
const PAGE: usize = 256;

/// As of when a store is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// As the backup is.
    End,
    /// As of a position of the log that the backup has.
    Token(Token),
    /// As of the last revision that was recorded at or before this, in microseconds since 1970.
    Time(i64),
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Where the backup stands.
    pub backup: Head,
    /// Where the store stands.
    pub head: Head,
}

/// Restores a backup into a folder that has no store; it is verified before and after.
///
/// # Errors
///
/// If there is a store, or the folder is in use; if the backup is no file, or is not sound, or has not what is asked for.
/// The folder has no store then.
pub fn restore(packed: &Path, folder: &Path, to: &To, mut told: impl FnMut(u64) + Send + 'static) -> Result<Restored> {
    packed::check_is_file(packed)?;
    let _lock = store::lock(folder)?;
    if snapshot::is_there(folder) {
        let why = format!("there is a store in {}: restore into another folder, or move that away", folder.display());
        return Err(Error::new(Reason::FieldInvalid, why));
    }
    let work = Work::begin(folder, packed::RESTORE)?;
    work.unpack(packed)?;
    let opened = Alone::open(work.path()).and_then(|source| source.verify().map(|()| source));
    let source = opened.map_err(|error| of_file(packed, error))?;
    let backup = source.head();
    let revision = revision_of(&source, to)?;
    told(0);
    if revision == backup.revision {
        let head = own(source)?;
        work.settle(folder)?;
        return Ok(Restored { backup, head });
    }
    // (It goes with the other, and is dropped before it.)
    let again = Work::begin(work.path(), packed::AGAIN)?;
    make_again(source, revision, again.path(), told)?;
    let made = Alone::open(again.path())?;
    made.verify()?;
    let head = own(made)?;
    again.settle(folder)?;
    Ok(Restored { backup, head })
}

/// What is wrong with what was unpacked is wrong with the file, which is the one that is known by its name.
fn of_file(packed: &Path, error: StoreError) -> Error {
    match error {
        StoreError::Damaged(why) => {
            Error::new(Reason::EntryCorrupt, format!("{}: damaged or incomplete: {why}", packed.display()))
        }
        StoreError::Sqlite(full) if store::is_full(&full) => StoreError::Sqlite(full).into(),
        other @ (StoreError::Sqlite(_) | StoreError::Migration(_) | StoreError::Newer { .. }) => {
            Error::internal(format!("{}: {other}", packed.display()))
        }
        other => other.into(),
    }
}

/// The revision as of which a store is restored.
fn revision_of(source: &Alone, to: &To) -> Result<u64> {
    let head = source.head();
    let refused = |reason, why: String| Err(Error::field(reason, FIELD, why));
    let revision = match to {
        To::End => return Ok(head.revision),
        To::Token(token) if token.epoch != head.epoch => {
            return refused(Reason::LogReplaced, format!("is of epoch {}, the backup of {}", token.epoch, head.epoch));
        }
        To::Token(token) if token.revision > head.revision => {
            let why = format!("is revision {}, the backup ends at {}", token.revision, head.revision);
            return refused(Reason::TokenInFuture, why);
        }
        To::Token(token) => {
            if head.is_trimmed(token) {
                return Err(trimmed(head));
            }
            if short(&source.hash_of(token.revision)?) != token.hash {
                return refused(Reason::LogReplaced, "is of another history than the backup".to_owned());
            }
            token.revision
        }
        To::Time(us) => match source.revision_at(*us)? {
            Some(revision) => revision,
            None if head.floor > 0 => return Err(trimmed(head)),
            None => return refused(Reason::HistoryTrimmed, before_the_log(source)?),
        },
    };
    if head.floor > 0 && revision < head.revision {
        return Err(trimmed(head));
    }
    if revision < head.redacted {
        let why = format!(
            "is before revision {}, which erased some of what was there: it can be restored as of that one or later",
            head.redacted
        );
        return refused(Reason::RecordRedacted, why);
    }
    Ok(revision)
}

/// What is wrong with a time that nothing was recorded at or before.
fn before_the_log(source: &Alone) -> Result<String> {
    let first = source.entries(0, 1, 0)?.into_iter().next();
    let began = first.and_then(|entry| jiff::Timestamp::from_microsecond(entry.recorded_at_us).ok());
    Ok(match began {
        Some(began) => format!("is before the log began, at {began}"),
        None => "is before the log began: the backup has no entry".to_owned(),
    })
}

/// A store is made again from its first entry.
fn trimmed(head: Head) -> Error {
    let why = format!(
        "the backup was trimmed after revision {}: it can be restored as it is, and not as it was before",
        head.floor
    );
    Error::field(Reason::HistoryTrimmed, FIELD, why)
}

/// Makes it a log of its own, under a new epoch, without cursors: they are positions of the old one.
fn own(mut restored: Alone) -> Result<Head> {
    let head = Head { epoch: Epoch::new_v4(), ..restored.head() };
    restored.forget_cursors()?;
    restored.say(head, &Home::Own)?;
    Ok(head)
}

/// Makes a store again from another's entries up to a revision, as a replica applies what others wrote.
fn make_again(source: Alone, through: u64, folder: &Path, told: impl FnMut(u64) + Send + 'static) -> Result<()> {
    let epoch = source.head().epoch;
    let past = Arc::new(Past(Mutex::new(Reading { at: Head::empty(epoch), source, through, told: Box::new(told) })));
    let options = Options { sync: Sync::Off, max_bytes: None, home: Home::Own };
    let (_store, write) = store::open(folder, &options)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (writer, thread) = writer::Parts::new(write, past, clock).start()?;
    // Everything was applied before it started; dropping the last handle ends it.
    drop(writer);
    thread.join()
}

/// The log of a store up to a revision, as a journal that is followed once, from its beginning.
struct Past(Mutex<Reading>);

struct Reading {
    source: Alone,
    through: u64,
    /// What was read last.
    at: Head,
    told: Box<dyn FnMut(u64) + Send>,
}

impl Reading {
    /// The next batch; `None` after the last.
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let mut bytes = BATCH_FRAMING_BYTES;
        let mut entries: Vec<Entry> = Vec::new();
        let before = self.at;
        for stored in self.source.entries(self.at.revision, PAGE, REPLAY_PAGE_BYTES)? {
            let entry = Entry { header: stored.header, payload: stored.payload };
            bytes += entry.encoded_len() + ENTRY_FRAMING_BYTES;
            if stored.revision > self.through || !entries.is_empty() && bytes > MAX_BATCH_BYTES {
                break;
            }
            self.at = Head { revision: stored.revision, hash: stored.hash, ..self.at };
            entries.push(entry);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        self.at.position += 1;
        (self.told)(self.at.revision);
        Ok(Some(writer::batch_after(&before, entries)))
    }
}

impl Journal for Past {
    fn append(&self, _: Position, _: &[u8]) -> Append {
        Append::NotSent("what is past takes nothing".to_owned())
    }

    fn settle(&self, _: Position, _: &[u8]) -> Settled {
        Settled::NotYet
    }

    fn is_alone(&self) -> bool {
        true
    }

    fn head(&self) -> std::result::Result<Option<Position>, Trouble> {
        Ok(None)
    }

    fn follow(&self, after: Position, limit: usize) -> std::result::Result<Vec<(Position, Vec<u8>)>, Trouble> {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if limit == 0 || after != reading.at.position {
            return Ok(Vec::new());
        }
        let next = reading.next().map_err(|error| Trouble::Lost(error.to_string()))?;
        Ok(next.map(|bytes| (reading.at.position, bytes)).into_iter().collect())
    }

    fn on_arrival(&self, _: Wake) {}

    fn trim(&self, _: Position) -> std::result::Result<(), Trouble> {
        Ok(())
    }
}
