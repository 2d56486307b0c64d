//! Verifying a store: every entry follows the one before it and says what was chained, the store stands where its log
//! ends, its rows and indexes are what its entries make of them, and its file is laid out as the schemas make one.
//!
//! The log is read in one snapshot, which changes nothing and may go beside a server. Rows are compared in a copy, with
//! those of a store that is made again from the log: that takes as long as an import, and nobody waits for it.

mod anew;
mod compare;
mod layout;

use std::{collections::BTreeMap, io, path::Path};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};
use tokio_util::sync::CancellationToken;

use super::{
    FILE, Head, StoreError, find_head, log,
    packed::{self, Work},
    peek, schema, search, snapshot,
};
use crate::{
    domain::token::{Epoch, GENESIS, Hash},
    pb::log::Redact,
};

/// What of the file SQLite looks at in a moment: all but whether indexes have what their tables have.
const QUICK: &str = "quick_check(1)";
/// All that it looks at; so many findings are said.
const THOROUGH: &str = "integrity_check(3)";
/// In the folder of whoever verifies: the copy of the store, and the one that is made again.
const COPY: &str = "copy";
const AGAIN: &str = "again";

/// What a store that is sound holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Entries of the log that are kept.
    pub entries: u64,
    /// Entries some of whose payload was erased, which a later entry says; their place in the chain stands.
    pub redacted: u64,
    /// Where it ends.
    pub head: Head,
}

/// Verifies the store in a folder: its log, and what SQLite says in a moment of its file. Rows are not compared with
/// entries; [`all`] does that.
///
/// # Errors
///
/// [`StoreError::Damaged`] names the first entry that is not what the log says, or the file if it is none of SQLite's; others
/// if it cannot be read.
pub fn folder(folder: &Path) -> Result<Verified, StoreError> {
    let verified = snapshot::open_beside(folder).and_then(|file| connection(&file));
    verified.map_err(|error| of_file(folder, error))
}

/// Compares the tables, indexes and settings of the store's file in a folder with those that the schemas of its version make.
///
/// # Errors
///
/// [`StoreError::Damaged`] names those that differ; others if it cannot be read, or is newer than this version.
pub fn layout(folder: &Path) -> Result<(), StoreError> {
    let compared = snapshot::open_beside(folder).and_then(|file| layout::check(&file));
    compared.map_err(|error| of_file(folder, error))
}

/// Verifies the store in a folder as a whole, whoever has it open: its layout, its log, its indexes, and each row against
/// what the entries make of it. Of a log that was trimmed the rows at its floor are taken as they are. It tells as far as which
/// revision it has come.
///
/// It takes two and a half times the store's room in a folder beside it, which goes with it, and as long as an import.
///
/// # Errors
///
/// As of [`folder`]; [`StoreError::Damaged`] names the first rows of each table that differ. If there is no room, or
/// another process verifies the store.
pub fn all(folder: &Path, told: impl FnMut(u64)) -> Result<Verified, StoreError> {
    in_a_copy(folder, told).map_err(|error| of_file(folder, error))
}

fn in_a_copy(folder: &Path, told: impl FnMut(u64)) -> Result<Verified, StoreError> {
    check_room(folder)?;
    let (work, _held) = Work::hold(folder, packed::VERIFY)?;
    let (copy, again) = (Work::begin(work.path(), COPY)?, Work::begin(work.path(), AGAIN)?);
    snapshot::copy(folder, copy.path(), &CancellationToken::new())?;
    let mut copied = anew::open(copy.path())?;
    check_file(&copied, THOROUGH)?;
    layout::check(&copied)?;
    schema::migrate(&mut copied, &copy.path().join(FILE))?;
    let verified = read_log(&copied)?;
    anew::make(&copied, &verified.head, copy.path(), again.path(), told)?;
    if let Some(fault) = search::fault(&copied)? {
        return Err(StoreError::Damaged(format!("words: {fault}")));
    }
    search::complete(&copied)?;
    compare::check(&copied, again.path(), &verified.head)?;
    Ok(verified)
}

/// What SQLite does not take for a file of its own, or finds broken as it reads, is a fault of the store, and no failure to
/// look at it.
fn of_file(folder: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Sqlite(error) if is_damage(&error) => {
            StoreError::Damaged(format!("{}: {error}", folder.join(FILE).display()))
        }
        other => other,
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

/// Whoever serves the store needs room beside it too.
fn check_room(folder: &Path) -> Result<(), StoreError> {
    let (file, log) = snapshot::sizes(folder);
    // Two copies, and in each a table of what its lists of terms have.
    let (takes, room) = ((file + log) * 5 / 2, peek::room(folder)?);
    if room >= takes {
        return Ok(());
    }
    let why = format!("comparing rows takes {takes} bytes here, and the disk has {room}: --quick leaves them out");
    Err(StoreError::Io { path: folder.to_owned(), source: io::Error::other(why) })
}

/// Verifies the log of a store that is open, as [`folder`].
///
/// # Errors
///
/// As of [`folder`].
pub fn connection(connection: &Connection) -> Result<Verified, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    check_file(&snapshot, QUICK)?;
    read_log(&snapshot)
}

fn check_file(connection: &Connection, pragma: &str) -> Result<(), StoreError> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
    let found = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    if found == ["ok"] { Ok(()) } else { Err(StoreError::Damaged(format!("SQLite finds {}", found.join("; ")))) }
}

/// Reads every entry.
fn read_log(snapshot: &Connection) -> Result<Verified, StoreError> {
    let astray = snapshot.query_row("PRAGMA foreign_key_check", [], |row| row.get::<_, String>(0)).optional()?;
    if let Some(table) = astray {
        return Err(StoreError::Damaged(format!("a row of {table} names another that is not there")));
    }
    let head = find_head(snapshot)?.ok_or_else(|| StoreError::Damaged("it does not say where it stands".to_owned()))?;
    let mut walk = Walk { floor: head.floor, ..Walk::default() };
    let mut statement = snapshot
        .prepare("SELECT revision, hash, recorded_at_us, header, payload, events FROM entries ORDER BY revision")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let entry =
            log::stored_entry(row).map_err(|e| damaged(walk.at.revision + 1, &format!("cannot be read: {e}")))?;
        walk.step(&entry, row.get(5)?)?;
    }
    let mut walked = Head { epoch: head.epoch, position: head.position, ..walk.at };
    walked = Head { floor_hash: walk.hash_at_floor, ..walked };
    if walk.begins_trimmed {
        // What was before says which day it was, and whether a history was being replayed.
        walked = Head { day: head.day, pending: head.pending, replaying: head.replaying, ..walked };
    }
    // And a redaction there may be gone.
    walked.redacted = walked.redacted.max(head.redacted.min(head.floor));
    walk.check_unproven()?;
    if walked != head {
        let (stands, ends) = (head.revision, walked.revision);
        let why =
            format!("it stands at revision {stands} with another hash or time than its log, which ends at {ends}");
        return Err(StoreError::Damaged(why));
    }
    Ok(Verified { entries: walk.entries, redacted: walk.redacted, head })
}

fn damaged(revision: u64, why: &str) -> StoreError {
    StoreError::Damaged(format!("entry {revision} {why}"))
}

/// The end of what was verified.
struct Walk {
    at: Head,
    entries: u64,
    redacted: u64,
    /// Entries that lost some of their payload, the entry that says so, and the digest of what is left, until it does.
    unproven: BTreeMap<u64, (u64, [u8; 32])>,
    /// Up to this revision the log may be gone; the entry there has lost its payload, perhaps.
    floor: u64,
    /// The first entries are gone.
    begins_trimmed: bool,
    /// The hash that the floor has in the log.
    hash_at_floor: Hash,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            at: Head::empty(Epoch::nil()),
            entries: 0,
            redacted: 0,
            unproven: BTreeMap::new(),
            floor: 0,
            begins_trimmed: false,
            hash_at_floor: GENESIS,
        }
    }
}

impl Walk {
    fn step(&mut self, entry: &log::StoredEntry, events: usize) -> Result<(), StoreError> {
        if self.at.revision == 0 && entry.revision > 1 && entry.revision <= self.floor {
            return self.begin_with(entry);
        }
        let expected = self.at.revision + 1;
        if entry.revision != expected {
            return Err(damaged(expected, &format!("is missing; the next one is {}", entry.revision)));
        }
        let wrong = |why: &str| Err(damaged(expected, why));
        let header = entry.header().map_err(|_| damaged(expected, "has a header that cannot be read"))?;
        if log::chain(&self.at.hash, &entry.header) != entry.hash {
            return wrong("has a wrong hash: it, or one before it, is not the one that was chained");
        }
        if header.revision != entry.revision || header.recorded_at_us != entry.recorded_at_us {
            return wrong("has a header of another revision or time");
        }
        if entry.recorded_at_us < self.at.recorded_at_us {
            return wrong("was recorded before the one that it follows");
        }
        self.entries += 1;
        let payload = entry.payload().map_err(|_| damaged(expected, "has a payload that cannot be read"))?;
        let digest = *blake3::hash(&entry.payload).as_bytes();
        // (At the floor only its place is kept.)
        let is_kept = !entry.payload.is_empty() || entry.revision > self.floor;
        if is_kept && digest.as_slice() != header.payload_digest.as_slice() {
            if payload.redacted_by <= entry.revision {
                return wrong("has a payload that is not the one that was chained");
            }
            if entry.revision > self.floor {
                self.redacted += 1;
                self.unproven.insert(entry.revision, (payload.redacted_by, digest));
            }
        }
        if let Some(redaction) = &payload.redact {
            self.prove(redaction, entry.revision)?;
        }
        if !entry.payload.is_empty() && payload.events.len() != events {
            return wrong("has another number of events than it says");
        }
        self.at = self.at.after(entry, &header, &payload).map_err(|e| damaged(expected, &e.message))?;
        self.note_floor();
        Ok(())
    }

    /// What is left of an entry that was redacted must be what the redaction says, the newest one of several.
    fn prove(&mut self, redaction: &Redact, by: u64) -> Result<(), StoreError> {
        for (revision, erasure) in redaction.revisions.iter().zip(&redaction.erasures) {
            // What was trimmed since is not there to be compared.
            if *revision <= self.floor {
                continue;
            }
            match self.unproven.get(revision) {
                None => return Err(damaged(*revision, &format!("still says what entry {by} erased of it"))),
                Some((newest, _)) if *newest > by => {}
                Some((_, digest)) if digest.as_slice() == erasure.payload_digest => {
                    self.unproven.remove(revision);
                }
                Some(_) => return Err(damaged(*revision, &format!("says something else than entry {by} left of it"))),
            }
        }
        Ok(())
    }

    /// What is not what it was must be what an entry left of it.
    fn check_unproven(&self) -> Result<(), StoreError> {
        match self.unproven.iter().next() {
            Some((revision, (by, _))) => {
                Err(damaged(*revision, &format!("says that entry {by} erased some of it, which does not say so")))
            }
            None => Ok(()),
        }
    }

    /// The oldest entry that is left of a log that was trimmed: what it follows is gone.
    fn begin_with(&mut self, entry: &log::StoredEntry) -> Result<(), StoreError> {
        self.begins_trimmed = true;
        let (revision, hash, recorded_at_us) = (entry.revision, entry.hash, entry.recorded_at_us);
        self.at = Head { revision, hash, recorded_at_us, ..self.at };
        self.note_floor();
        Ok(())
    }

    /// Positions are measured from the floor: its hash must be the one that the store says.
    fn note_floor(&mut self) {
        if self.at.revision == self.floor {
            self.hash_at_floor = self.at.hash;
        }
    }
}
