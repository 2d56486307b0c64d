//! Making the rows of a store again from its log, beside it.

use std::{io, path::Path};

use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        error::{Error, Reason},
        resolve::Resolved,
    },
    limits::{REPLAY_PAGE_BYTES, WRITE_CACHE_KIB},
    pb::log::EntryPayload,
    store::{
        FILE, Head, OPEN, PAGE_BYTES, StoreError,
        apply::{self, Applier, Known},
        from_sqlite, keep_plans,
        log::{self, StoredEntry},
        postings, schema, search, snapshot,
    },
};

/// Entries that are read, and applied in one transaction.
const PAGE: usize = 256;
/// Tables whose rows have a beginning and an end.
const TEMPORAL: [&str; 5] = ["versions", "reports", "sources", "rulings", "merges"];

/// Opens a store of which nothing has to outlast this process.
pub(super) fn open(folder: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(folder.join(FILE))?;
    keep_plans(&connection)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    // Nothing is ever taken back: what fails is dropped as a whole.
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "cache_size", -WRITE_CACHE_KIB)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(connection)
}

/// Makes a store in a folder of the entries that a copy has, which lies in another.
pub(super) fn make(
    copy: &Connection,
    head: &Head,
    from: &Path,
    into: &Path,
    mut told: impl FnMut(u64),
) -> Result<(), StoreError> {
    let mut at = Head::empty(head.epoch);
    if head.floor > 0 {
        snapshot::copy(from, into, &CancellationToken::new())?;
    }
    let mut again = open(into)?;
    schema::migrate(&mut again, &into.join(FILE))?;
    if head.floor > 0 {
        at = rewind(&again, head)?;
    }
    told(at.revision);
    while at.revision < head.revision {
        let page = log::entries(copy, at.revision, head.revision, PAGE, REPLAY_PAGE_BYTES);
        let page = page.map_err(|error| failed(into, error))?;
        if page.is_empty() {
            return Err(StoreError::Damaged(format!("entry {} is missing", at.revision + 1)));
        }
        at = apply_page(&again, at, &page, head.floor).map_err(|error| failed(into, error))?;
        told(at.revision);
    }
    // The index is compared whole.
    Ok(search::complete(&again)?)
}

/// Applies entries as a replica does, and answers where the store stands after them.
fn apply_page(connection: &Connection, mut at: Head, page: &[StoredEntry], floor: u64) -> Result<Head, Error> {
    let sqlite = |error: rusqlite::Error| from_sqlite(&error);
    let transaction = connection.unchecked_transaction().map_err(sqlite)?;
    {
        let known = Known::default();
        let mut applier = Applier::new(&transaction, &known);
        for entry in page {
            let (header, payload) = (entry.header()?, entry.payload()?);
            at = at.after(entry, &header, &payload)?;
            applier.entry(entry, &header, &above(payload, floor), &at, &Resolved::new())?;
        }
        applier.finish().map_err(sqlite)?;
    }
    apply::write_head(&transaction, &at).map_err(sqlite)?;
    transaction.commit().map_err(sqlite)?;
    Ok(at)
}

/// Of what a redaction erased, what is above the floor: entries below it may be gone, and rows are taken as they are.
fn above(mut payload: EntryPayload, floor: u64) -> EntryPayload {
    if floor > 0
        && let Some(redaction) = &mut payload.redact
    {
        let revisions = std::mem::take(&mut redaction.revisions);
        let erasures = std::mem::take(&mut redaction.erasures);
        let kept = revisions.into_iter().zip(erasures).filter(|(revision, _)| *revision > floor);
        (redaction.revisions, redaction.erasures) = kept.unzip();
    }
    payload
}

/// What failed in making it is no fault of the store, unless its log is to blame.
fn failed(into: &Path, error: Error) -> StoreError {
    match error.reason {
        Reason::EntryCorrupt | Reason::LogDiverged => StoreError::Damaged(error.message),
        _ => StoreError::Io { path: into.to_owned(), source: io::Error::other(error.message) },
    }
}

/// Takes a copy of a store whose log was trimmed back to its floor, from where the entries lead on: what began later
/// goes, and what ended later stands. Milestones and deadlines have no past: those of records that no entry touches
/// stay.
fn rewind(connection: &Connection, head: &Head) -> Result<Head, StoreError> {
    let floor = head.floor;
    let transaction = connection.unchecked_transaction()?;
    // Versions are numbered as they began.
    let sql = "SELECT coalesce(max(id), 0) FROM versions WHERE from_revision <= ?1";
    postings::cut(&transaction, transaction.query_row(sql, [floor], |row| row.get(0))?)?;
    for (table, version) in [("pairs", "version"), ("unindexed", "version"), ("search", "rowid")] {
        let sql = format!("DELETE FROM {table} WHERE {version} IN (SELECT id FROM versions WHERE from_revision > ?1)");
        transaction.execute(&sql, [floor])?;
    }
    for table in TEMPORAL {
        transaction.execute(&format!("DELETE FROM {table} WHERE from_revision > ?1"), [floor])?;
        let sql = format!("UPDATE {table} SET to_revision = {OPEN} WHERE to_revision > ?1 AND to_revision < {OPEN}");
        transaction.execute(&sql, [floor])?;
    }
    transaction.execute("DELETE FROM search_words WHERE from_revision > ?1", [floor])?;
    transaction.execute("DELETE FROM requests WHERE revision > ?1", [floor])?;
    transaction.execute("DELETE FROM entries WHERE revision > ?1", [floor])?;
    let sql = "SELECT recorded_at_us, day FROM entries WHERE revision = ?1";
    let (recorded_at_us, day) = transaction.query_row(sql, [floor], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let hash = head.floor_hash;
    let at = Head { revision: floor, hash, recorded_at_us, day, floor, floor_hash: hash, ..Head::empty(head.epoch) };
    apply::write_head(&transaction, &at)?;
    transaction.commit()?;
    Ok(at)
}
