//! The log in the store: entries, their chain, and revisions read back for the feed.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _};

use super::{from_sqlite, read};
use crate::{
    domain::{
        date::Day,
        error::{Error, Reason, Result},
        revision::{Change, Revision, State, Told},
        token::{GENESIS, Hash},
    },
    pb::{
        log::{EntryHeader, EntryKind, EntryPayload},
        wire::{self, EventHead, Payload},
    },
};

/// The chain's next hash: BLAKE3 of the previous hash and the header as stored.
#[must_use]
pub fn chain(previous: &Hash, header: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous).update(header);
    *hasher.finalize().as_bytes()
}

/// An entry as it is stored.
#[derive(Debug, Clone)]
pub struct StoredEntry {
    /// Its revision.
    pub revision: u64,
    /// The chain's hash after it.
    pub hash: Hash,
    /// When it was recorded.
    pub recorded_at_us: i64,
    /// The header as encoded.
    pub header: Vec<u8>,
    /// The payload as encoded; empty if redacted.
    pub payload: Bytes,
}

impl StoredEntry {
    /// The header, read.
    ///
    /// # Errors
    ///
    /// `ENTRY_CORRUPT`.
    pub fn header(&self) -> Result<EntryHeader> {
        EntryHeader::decode(self.header.as_slice()).map_err(|_| corrupt(self.revision))
    }

    /// The payload, read.
    ///
    /// # Errors
    ///
    /// `ENTRY_CORRUPT`.
    pub fn payload(&self) -> Result<EntryPayload> {
        EntryPayload::decode(self.payload.clone()).map_err(|_| corrupt(self.revision))
    }
}

pub(super) fn corrupt(revision: u64) -> Error {
    Error::new(Reason::EntryCorrupt, format!("the log's entry {revision} cannot be read"))
}

/// The chain's hash after a revision.
///
/// # Errors
///
/// If there is no such entry or the store cannot be read.
pub fn hash_of(connection: &Connection, revision: u64) -> Result<Hash> {
    if revision == 0 {
        return Ok(GENESIS);
    }
    let mut statement =
        connection.prepare_cached("SELECT hash FROM entries WHERE revision = ?1").map_err(|e| from_sqlite(&e))?;
    let hash = statement.query_row([revision], |row| row.get(0)).optional().map_err(|e| from_sqlite(&e))?;
    hash.ok_or_else(|| Error::new(Reason::EntryCorrupt, format!("the log has no entry {revision}")))
}

/// Whether an entry is one that erases; `false` if the log has no such entry.
///
/// # Errors
///
/// If it cannot be read.
pub fn is_redaction(connection: &Connection, revision: u64) -> Result<bool> {
    let sql = "SELECT header FROM entries WHERE revision = ?1";
    let Some(header) = read::row(connection, sql, [revision], |row| row.get::<_, Vec<u8>>(0))? else {
        return Ok(false);
    };
    let header = EntryHeader::decode(header.as_slice()).map_err(|_| corrupt(revision))?;
    Ok(header.kind() == EntryKind::Redact)
}

/// The registry's day as a revision left it; `None` if the log has no such entry.
///
/// # Errors
///
/// If the store cannot be read.
pub fn day_at(connection: &Connection, revision: u64) -> Result<Option<Day>> {
    read::row(connection, "SELECT day FROM entries WHERE revision = ?1", [revision], |row| row.get(0))
}

/// Entries after a revision up to another, both sides bounded: at most `limit`, and at most about `max_bytes`.
///
/// # Errors
///
/// If the store cannot be read.
pub fn entries(
    connection: &Connection,
    after: u64,
    through: u64,
    limit: usize,
    max_bytes: usize,
) -> Result<Vec<StoredEntry>> {
    let sql = "SELECT revision, hash, recorded_at_us, header, payload FROM entries
               WHERE revision > ?1 AND revision <= ?2 ORDER BY revision LIMIT ?3";
    let mut statement = connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))?;
    let mut rows = statement.query((after, through, limit)).map_err(|e| from_sqlite(&e))?;
    let mut entries = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next().map_err(|e| from_sqlite(&e))? {
        let entry = stored_entry(row).map_err(|e| from_sqlite(&e))?;
        bytes += entry.payload.len();
        entries.push(entry);
        if bytes >= max_bytes {
            break;
        }
    }
    Ok(entries)
}

pub(super) fn stored_entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredEntry> {
    Ok(StoredEntry {
        revision: row.get(0)?,
        hash: row.get(1)?,
        recorded_at_us: row.get(2)?,
        header: row.get(3)?,
        payload: Bytes::from(row.get::<_, Vec<u8>>(4)?),
    })
}

/// How much of each revision is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All that filters and `include_previous` ask for.
    Whole,
    /// The events and the records after them, which is what a subscriber without filters gets: not one record is looked
    /// up. The facets are left empty, and the records before are left out.
    Told,
}

/// The revisions of these entries, for the feed.
///
/// # Errors
///
/// If an entry or a record that it points to cannot be read.
pub fn revisions(connection: &Connection, entries: &[StoredEntry], depth: Depth) -> Result<Vec<Revision>> {
    entries.iter().map(|entry| revision(connection, entry, depth)).collect()
}

/// One revision for the feed, with the records before and after it.
fn revision(connection: &Connection, entry: &StoredEntry, depth: Depth) -> Result<Revision> {
    let payload = Payload::decode(entry.payload.clone()).map_err(|_| corrupt(entry.revision))?;
    let sides = |change: &wire::Change| match depth {
        Depth::Told => {
            let after = change.record.clone().map(|record| State { record, facets: Arc::default() });
            Ok(Change::new(change.name.clone(), None, after))
        }
        Depth::Whole => {
            let at = |revision| read::state_at(connection, &change.name, revision);
            Ok(Change::new(change.name.clone(), at(entry.revision - 1)?, at(entry.revision)?))
        }
    };
    let changes = payload.changes.iter().map(sides).collect::<Result<_>>()?;
    told(connection, entry, payload, changes, depth)
}

/// The oldest revision that can be read.
fn floor(connection: &Connection) -> Result<u64> {
    Ok(read::row(connection, "SELECT floor FROM log_state WHERE id = 1", [], |row| row.get(0))?.unwrap_or(0))
}

/// One revision for the feed, whose records before and after it are known.
///
/// # Errors
///
/// If an event, or a record that it points to, cannot be read.
pub(super) fn told(
    connection: &Connection,
    entry: &StoredEntry,
    payload: Payload,
    changes: Vec<Change>,
    depth: Depth,
) -> Result<Revision> {
    let states = changes.iter().flat_map(|c| c.before.iter().chain(&c.after));
    let mut bytes = REVISION_BYTES + entry.payload.len() + states.map(state_bytes).sum::<usize>();
    let mut events = Vec::with_capacity(payload.events.len());
    for stored in payload.events {
        let event = stored.event.ok_or_else(|| corrupt(entry.revision))?;
        let head = EventHead::decode(event.clone()).map_err(|_| corrupt(entry.revision))?;
        let change = usize::try_from(stored.change).unwrap_or(usize::MAX);
        let name = &payload.changes.get(change).ok_or_else(|| corrupt(entry.revision))?.name;
        let mut original = Vec::new();
        if stored.original_revision > 0 && depth == Depth::Whole && stored.original_revision > floor(connection)? {
            let told_of = if stored.original_subject.is_empty() { name } else { &stored.original_subject };
            for revision in [stored.original_revision - 1, stored.original_revision] {
                original.extend(read::state_at(connection, told_of, revision)?.map(|s| s.facets));
            }
        }
        // The element that will be shared holds it once more.
        bytes += EVENT_BYTES + event.len();
        events.push(Told { event, head, change, original, element: OnceLock::new() });
    }
    Ok(Revision {
        number: entry.revision,
        hash: entry.hash,
        recorded_at_us: entry.recorded_at_us,
        changes,
        events,
        bytes,
    })
}

/// What a revision takes of memory beside what it holds, about.
const REVISION_BYTES: usize = 256;
/// What an event takes of memory beside its bytes, about.
const EVENT_BYTES: usize = 160;
/// What a term of facets takes of memory beside its text, about.
const TERM_BYTES: usize = 48;

/// What a state takes of memory, about; the record once more, for the element that will be shared.
fn state_bytes(state: &State) -> usize {
    2 * state.record.len() + state.facets.terms().iter().map(|(_, value)| TERM_BYTES + value.len()).sum::<usize>()
}

/// The last revision recorded at or before a time; `None` if the log began later, or that was trimmed.
///
/// # Errors
///
/// If the store cannot be read.
pub fn revision_at(connection: &Connection, time_us: i64) -> Result<Option<u64>> {
    let sql =
        "SELECT revision FROM entries WHERE recorded_at_us <= ?1 ORDER BY recorded_at_us DESC, revision DESC LIMIT 1";
    let found: Option<u64> = read::row(connection, sql, [time_us], |row| row.get(0))?;
    let floor = floor(connection)?;
    Ok(found.filter(|revision| *revision >= floor))
}

/// Whether anything was recorded from a time on and before another, in microseconds since 1970, that was not dropped.
///
/// # Errors
///
/// If the store cannot be read.
pub fn has_recorded(connection: &Connection, from_us: i64, before_us: i64) -> Result<bool> {
    let sql = "SELECT 1 FROM entries WHERE recorded_at_us >= ?1 AND recorded_at_us < ?2 LIMIT 1";
    Ok(read::row(connection, sql, [from_us, before_us], |_| Ok(()))?.is_some())
}

/// Events, bytes and the oldest time of what lies after a revision up to another; three point reads.
///
/// # Errors
///
/// If the store cannot be read.
pub fn lag(connection: &Connection, after: u64, through: u64) -> Result<(u64, u64, i64)> {
    let at = |revision: u64| {
        let sql = "SELECT events_so_far, bytes_so_far, recorded_at_us FROM entries WHERE revision = ?1";
        let mut statement = connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))?;
        let row = statement.query_row([revision], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        row.optional().map_err(|e| from_sqlite(&e)).map(Option::unwrap_or_default)
    };
    let (then, now): ((u64, u64, i64), (u64, u64, i64)) = (at(after)?, at(through)?);
    let (_, _, oldest) = at(after + 1)?;
    Ok((now.0.saturating_sub(then.0), now.1.saturating_sub(then.1), oldest))
}
