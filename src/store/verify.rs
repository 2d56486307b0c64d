//! Verifying a store: every entry follows the one before it and says what was chained, and the store stands where its
//! log ends.
//!
//! Reads one snapshot and changes nothing, so it may run beside a server.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::{FILE, Head, StoreError, find_head, log};
use crate::{domain::token::Epoch, limits::BUSY_TIMEOUT};

/// What a store that is sound holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Entries of the log.
    pub entries: u64,
    /// Entries whose payload was erased; their place in the chain stands.
    pub redacted: u64,
    /// Where it ends.
    pub head: Head,
}

/// Verifies the store in a folder.
///
/// # Errors
///
/// [`StoreError::Damaged`] names the first entry that is not what the log says; others if it cannot be read.
pub fn folder(folder: &Path) -> Result<Verified, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(FILE), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    self::connection(&connection)
}

/// Verifies a store that is open.
///
/// # Errors
///
/// As of [`folder`].
pub fn connection(connection: &Connection) -> Result<Verified, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let found: String = snapshot.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(StoreError::Damaged(format!("SQLite finds {found}")));
    }
    let astray = snapshot.query_row("PRAGMA foreign_key_check", [], |row| row.get::<_, String>(0)).optional()?;
    if let Some(table) = astray {
        return Err(StoreError::Damaged(format!("a row of {table} names another that is not there")));
    }
    let mut walk = Walk::default();
    let mut statement = snapshot
        .prepare("SELECT revision, hash, recorded_at_us, header, payload, events FROM entries ORDER BY revision")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let entry =
            log::stored_entry(row).map_err(|e| damaged(walk.at.revision + 1, &format!("cannot be read: {e}")))?;
        walk.step(&entry, row.get(5)?)?;
    }
    let head =
        find_head(&snapshot)?.ok_or_else(|| StoreError::Damaged("it does not say where it stands".to_owned()))?;
    let walked = Head { epoch: head.epoch, position: head.position, ..walk.at };
    if walked != head {
        let (stands, ends) = (head.revision, walked.revision);
        let why =
            format!("it stands at revision {stands} with another hash or time than its log, which ends at {ends}");
        return Err(StoreError::Damaged(why));
    }
    Ok(Verified { entries: head.revision, redacted: walk.redacted, head })
}

fn damaged(revision: u64, why: &str) -> StoreError {
    StoreError::Damaged(format!("entry {revision} {why}"))
}

/// The end of what was verified.
struct Walk {
    at: Head,
    redacted: u64,
}

impl Default for Walk {
    fn default() -> Self {
        Self { at: Head::empty(Epoch::nil()), redacted: 0 }
    }
}

impl Walk {
    fn step(&mut self, entry: &log::StoredEntry, events: usize) -> Result<(), StoreError> {
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
        if entry.payload.is_empty() {
            self.redacted += 1;
        } else if blake3::hash(&entry.payload).as_bytes() != header.payload_digest.as_slice() {
            return wrong("has a payload that is not the one that was chained");
        }
        let payload = entry.payload().map_err(|_| damaged(expected, "has a payload that cannot be read"))?;
        if !entry.payload.is_empty() && payload.events.len() != events {
            return wrong("has another number of events than it says");
        }
        self.at = self.at.after(entry, &header, &payload).map_err(|_| damaged(expected, "moves to no day"))?;
        Ok(())
    }
}
