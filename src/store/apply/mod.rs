//! Applying an entry: what the store's rows say is a function of the entries alone, on every replica. (Which versions are in lists and
//! in the index of words yet, and which wait, depends on how entries came.)

mod deadlines;
pub mod erase;
mod known;
mod records;
mod reports;
mod statements;

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use rusqlite::{Connection, params};

pub use self::known::Known;
use self::{records::Row, statements::Statements};
use super::{
    Head, failing, from_sqlite,
    log::{self, StoredEntry},
    postings, read, search,
};
use crate::{
    domain::{
        date::Day,
        error::Error,
        resolve::Resolved,
        revision::{Change, Revision, State},
    },
    limits::REQUEST_ID_RETENTION,
    pb::{
        log::{EntryHeader, EntryPayload, filing::Act},
        wire,
    },
};

type Result<T, E = rusqlite::Error> = std::result::Result<T, E>;

/// Applies entries inside one open transaction.
pub struct Applier<'a> {
    connection: &'a Connection,
    statements: Statements<'a>,
    /// What the search index has to be told.
    index: Vec<search::Addition>,
    /// Some version has so many terms that it must not wait for others.
    has_large: bool,
    known: &'a Known,
}

impl<'a> Applier<'a> {
    /// For a transaction that was just begun; `known` is what those before it found in this store.
    #[must_use]
    pub fn new(connection: &'a Connection, known: &'a Known) -> Self {
        known.begin();
        Self { connection, statements: Statements::of(connection), index: Vec::new(), has_large: false, known }
    }

    /// Applies one entry; `head` is where the store stands after it, and `payload` has at least its acts ([`wire::acts`]). Of
    /// records that are in `resolved` it is known what they resolved to. Answers the revision as the feed tells it.
    ///
    /// # Errors
    ///
    /// If SQLite refuses, or an event cannot be read; the transaction must be rolled back then.
    pub fn entry(
        &mut self,
        stored: &StoredEntry,
        header: &EntryHeader,
        payload: &EntryPayload,
        head: &Head,
        resolved: &Resolved,
    ) -> Result<Revision, Error> {
        let bytes = wire::Payload::decode(stored.payload.clone()).map_err(|_| log::corrupt(stored.revision))?;
        let mut at = At {
            connection: self.connection,
            statements: &self.statements,
            revision: stored.revision,
            recorded_at_us: stored.recorded_at_us,
            today: head.today(),
            floor: head.floor,
            redacted_by: payload.redacted_by,
            records: HashMap::new(),
            filed: HashSet::new(),
            has_large: false,
            known: self.known,
            resolved,
        };
        let after = at.entry(stored, header, payload, head, &bytes, &mut self.index).map_err(|e| from_sqlite(&e))?;
        self.has_large |= at.has_large;
        if let Some(redaction) = &payload.redact {
            let erased = erase::erase(self.connection, redaction, stored.revision)?;
            // What the same transaction was to tell the index of them is erased too.
            self.index.retain(|addition| !erased.contains(&addition.version));
        }
        let is_new = |name: &str| at.records.get(name).is_some_and(|row| row.is_new);
        let change = |(change, after): (&wire::Change, Option<State>)| {
            let before = if is_new(&change.name) {
                None
            } else {
                read::state_at(self.connection, &change.name, stored.revision - 1)?
            };
            Ok(Change::new(change.name.clone(), before, after))
        };
        let changes = bytes.changes.iter().zip(after).map(change).collect::<Result<_, Error>>()?;
        log::told(self.connection, stored, bytes, changes, log::Depth::Whole)
    }

    /// Tells the search index of all entries at once, and puts their versions into the lists of their terms, or lets them
    /// wait for others.
    ///
    /// # Errors
    ///
    /// If SQLite refuses; the transaction must be rolled back then.
    pub fn finish(self) -> rusqlite::Result<()> {
        failing("store.index")?;
        search::add(self.connection, &self.index, self.known)?;
        postings::post(self.connection, self.has_large)
    }
}

/// Writes where the store stands.
///
/// # Errors
///
/// If SQLite refuses.
pub fn write_head(connection: &Connection, head: &Head) -> Result<()> {
    failing("store.head")?;
    let sql = "INSERT OR REPLACE INTO log_state (id, epoch, position, revision, hash, recorded_at_us, day, pending_day,
               pending_part, replaying, floor, floor_hash, redacted)
               VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let row = params![
        head.epoch.as_bytes(),
        head.position,
        head.revision,
        head.hash,
        head.recorded_at_us,
        head.day,
        head.pending.map(|(day, _)| day),
        head.pending.map(|(_, part)| part),
        head.replaying,
        head.floor,
        head.floor_hash,
        head.redacted,
    ];
    connection.prepare_cached(sql)?.execute(row).map(drop)
}

/// Keeps a cursor.
///
/// # Errors
///
/// If SQLite refuses.
pub fn cursor(connection: &Connection, principal: &str, name: &str, row: &super::read::CursorRow) -> Result<()> {
    failing("store.cursor")?;
    let sql = "INSERT OR REPLACE INTO cursors (principal, name, position, revision, event_index, snapshot_after, etag,
               updated_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let row = params![
        principal,
        name,
        row.position,
        row.revision,
        row.event_index,
        row.snapshot_after,
        row.etag,
        row.updated_at_us
    ];
    connection.prepare_cached(sql)?.execute(row).map(drop)
}

/// The place of an entry in a store.
struct At<'a, 'c> {
    connection: &'a Connection,
    statements: &'a Statements<'c>,
    revision: u64,
    recorded_at_us: i64,
    /// The day on which what this entry says rests.
    today: Day,
    /// The log's floor: what ended at or before it may be gone here, and there on another replica.
    floor: u64,
    /// The revision that has erased some of this entry since; 0 is none.
    redacted_by: u64,
    /// The records that the entry touches.
    records: HashMap<String, Row>,
    /// The reports that it has filed so far.
    filed: HashSet<String>,
    /// A version that it makes has very many terms.
    has_large: bool,
    known: &'a Known,
    resolved: &'a Resolved,
}

impl At<'_, '_> {
    fn entry(
        &mut self,
        stored: &StoredEntry,
        header: &EntryHeader,
        payload: &EntryPayload,
        head: &Head,
        bytes: &wire::Payload,
        index: &mut Vec<search::Addition>,
    ) -> Result<Vec<Option<State>>> {
        failing("store.entry")?;
        self.log(stored, bytes.events.len(), head.day)?;
        for (filing, bytes) in payload.filings.iter().zip(&bytes.filings) {
            match &filing.act {
                Some(Act::File(report)) => self.file(report, bytes.file.as_deref())?,
                Some(Act::Withdraw(name)) => self.end_report(name)?,
                Some(Act::Retract(ruling)) => self.retract(ruling)?,
                Some(Act::Restore(lifted)) => self.lift(&lifted.record, &lifted.source)?,
                Some(Act::Merge(merge)) => self.merge(merge)?,
                Some(Act::Unmerge(loser)) => self.unmerge(loser)?,
                Some(Act::Erased(erased)) => self.erased(erased)?,
                // Entries of later versions are refused by their format before they come here.
                None => {}
            }
        }
        let mut after = Vec::with_capacity(payload.changes.len());
        for (change, bytes) in payload.changes.iter().zip(&bytes.changes) {
            let (state, addition) = self.change(change, bytes.record.as_ref())?;
            after.push(state);
            index.extend(addition);
        }
        if let Some(day) = &payload.day {
            self.examined(day)?;
        }
        for change in &payload.changes {
            self.deadlines(change)?;
        }
        if !header.request_id.is_empty() {
            self.remember(header)?;
        }
        Ok(after)
    }

    fn log(&self, entry: &StoredEntry, events: usize, day: Option<Day>) -> Result<()> {
        let before = "SELECT events_so_far, bytes_so_far FROM entries WHERE revision = ?1";
        let before = self.statements.row(before, [entry.revision - 1], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let (events_before, bytes_before): (usize, usize) = before.unwrap_or_default();
        let sql =
            "INSERT INTO entries (revision, recorded_at_us, events, events_so_far, bytes_so_far, hash, header, payload,
             day) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let row = params![
            entry.revision,
            entry.recorded_at_us,
            events,
            events_before + events,
            bytes_before + entry.payload.len(),
            entry.hash,
            entry.header,
            entry.payload.as_ref(),
            day,
        ];
        self.statements.run(sql, row)
    }

    /// Remembers the request, and forgets those that are older than the log promises to remember.
    fn remember(&self, header: &EntryHeader) -> Result<()> {
        failing("store.request")?;
        // While a history is replayed log time runs fast, and its import may be repeated from the start.
        let retention = i64::try_from(REQUEST_ID_RETENTION.as_micros()).unwrap_or(i64::MAX);
        if !header.recorded_at_supplied {
            self.statements.run("DELETE FROM requests WHERE recorded_at_us < ?1", [self.recorded_at_us - retention])?;
        }
        let sql = "INSERT OR REPLACE INTO requests (principal, request_id, digest, revision, recorded_at_us)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let row =
            params![header.principal, header.request_id, header.request_digest, self.revision, self.recorded_at_us];
        self.statements.run(sql, row)
    }
}
