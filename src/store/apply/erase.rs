//! Applying a REDACT entry: what it names is erased from every row that has it.

use std::collections::BTreeSet;

use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Result;
use crate::{
    domain::{
        error::{Error, Reason},
        facets::Facets,
        name::ReportName,
        redact,
    },
    pb::log::{EntryPayload, Erasure, Redact},
    store::{failing, from_sqlite, list, log, trim::Ended},
};

/// Bytes that are written over at once, at most; SQLite holds none of them longer than a page.
const SCRUB_BYTES: i64 = 64 * 1024 * 1024;

/// Erases what a redaction at the revision `by` names.
///
/// # Errors
///
/// `LOG_DIVERGED` if an entry comes to another payload than the redaction says, `ENTRY_CORRUPT` if it cannot be read.
pub(super) fn erase(connection: &Connection, redaction: &Redact, by: u64) -> Result<(), Error> {
    // Pages that are let go are written over with zeros too, those that were let go before included.
    secure(connection, "ON")?;
    let erased = erase_all(connection, redaction, by).and_then(|()| scrub(connection).map_err(|e| from_sqlite(&e)));
    secure(connection, "FAST")?;
    erased
}

fn secure(connection: &Connection, how: &str) -> Result<(), Error> {
    connection.pragma_update(None, "secure_delete", how).map_err(|e| from_sqlite(&e))
}

/// Writes over every page that is free: takes all of them, and lets go of them again.
fn scrub(connection: &Connection) -> Result<()> {
    let pages = |what: &str| connection.pragma_query_value(None, what, |row| row.get::<_, i64>(0));
    connection.execute_batch("CREATE TABLE scrub (zeros BLOB)")?;
    loop {
        let free = pages("freelist_count")?;
        if free == 0 {
            break;
        }
        let bytes = (free * pages("page_size")?).min(SCRUB_BYTES);
        connection.execute("INSERT INTO scrub VALUES (zeroblob(?1))", [bytes])?;
    }
    connection.execute_batch("DROP TABLE scrub")
}

fn erase_all(connection: &Connection, redaction: &Redact, by: u64) -> Result<(), Error> {
    failing("store.erase").map_err(|e| from_sqlite(&e))?;
    if redaction.revisions.len() != redaction.erasures.len() {
        return Err(log::corrupt(by));
    }
    for (revision, erasure) in redaction.revisions.iter().zip(&redaction.erasures) {
        let payload = erase_payload(connection, redaction, erasure, *revision, by)?;
        for index in &erasure.changes {
            let change = payload.changes.get(*index as usize).ok_or_else(|| log::corrupt(by))?;
            erase_version(connection, &change.name, *revision, by).map_err(|e| from_sqlite(&e))?;
        }
    }
    for name in &redaction.reports {
        let report: ReportName = name.parse().map_err(|_| log::corrupt(by))?;
        let sql = "DELETE FROM reports WHERE record = (SELECT id FROM records WHERE name = ?1) AND name = ?2";
        let mut delete = connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))?;
        delete.execute(params![report.record.as_str(), name]).map_err(|e| from_sqlite(&e))?;
    }
    Ok(())
}

/// Erases from the payload of one entry; answers what is left of it.
fn erase_payload(
    connection: &Connection,
    redaction: &Redact,
    erasure: &Erasure,
    revision: u64,
    by: u64,
) -> Result<EntryPayload, Error> {
    let mut payload = stored(connection, revision)?;
    if payload.redacted_by > by {
        // The log was copied after a later redaction: that one says what is left.
        return Ok(payload);
    }
    redact::erase(&mut payload, redaction, erasure, by);
    let bytes = payload.encode_to_vec();
    if blake3::hash(&bytes).as_bytes() != erasure.payload_digest.as_slice() {
        let why = format!("entry {by} redacts entry {revision} to another payload than is left of it here");
        return Err(Error::new(Reason::LogDiverged, why));
    }
    let mut update = connection
        .prepare_cached("UPDATE entries SET payload = ?2 WHERE revision = ?1")
        .map_err(|e| from_sqlite(&e))?;
    update.execute(params![revision, bytes]).map_err(|e| from_sqlite(&e))?;
    Ok(payload)
}

/// The payload of an entry as it is stored.
///
/// # Errors
///
/// `ENTRY_CORRUPT` if there is none, or it cannot be read.
fn stored(connection: &Connection, revision: u64) -> Result<EntryPayload, Error> {
    let found = log::entries(connection, revision - 1, revision, 1, usize::MAX)?;
    found.first().ok_or_else(|| log::corrupt(revision))?.payload()
}

/// Erases what a record was from a revision on; there is nothing of it if that was trimmed.
fn erase_version(connection: &Connection, name: &str, revision: u64, by: u64) -> Result<()> {
    let sql = "SELECT id, kind, facets, body IS NOT NULL FROM versions
               WHERE record = (SELECT id FROM records WHERE name = ?1) AND from_revision = ?2";
    let found = connection.prepare_cached(sql)?.query_row(params![name, revision], Ended::of).optional()?;
    let Some(version) = found else { return Ok(()) };
    version.unindex(connection)?;
    let (newest_first, oldest_first) = list::sort_keys(None);
    let sql = "UPDATE versions SET body = NULL, facets = ?2, newest_first = ?3, oldest_first = ?4, erased_by = ?5
               WHERE id = ?1";
    let row = params![version.id, Facets::default().to_stored(), newest_first, oldest_first, by];
    connection.prepare_cached(sql)?.execute(row).map(drop)
}

/// What a redaction erases of an entry, and what the payload is afterwards.
///
/// # Errors
///
/// `ENTRY_CORRUPT` if there is no such entry, or it cannot be read.
pub fn planned(
    connection: &Connection,
    redaction: &Redact,
    revision: u64,
    (whole, told): (&BTreeSet<String>, &BTreeSet<String>),
    by: u64,
) -> Result<Erasure, Error> {
    let mut payload = stored(connection, revision)?;
    let of = |names: &BTreeSet<String>| {
        let named = payload.changes.iter().enumerate().filter(|(_, change)| names.contains(&change.name));
        named.filter_map(|(index, _)| u32::try_from(index).ok()).collect()
    };
    let mut erasure = Erasure { changes: of(whole), told: of(told), payload_digest: Vec::new() };
    redact::erase(&mut payload, redaction, &erasure, by);
    erasure.payload_digest = blake3::hash(&payload.encode_to_vec()).as_bytes().to_vec();
    Ok(erasure)
}
