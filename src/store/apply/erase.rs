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
    store::{failing, from_sqlite, list, log, scrub, trim::Ended, written_over},
};

/// Erases what a redaction at the revision `by` names; answers the versions of records that were.
///
/// # Errors
///
/// `LOG_DIVERGED` if an entry comes to another payload than the redaction says, `ENTRY_CORRUPT` if it cannot be read.
pub(super) fn erase(connection: &Connection, redaction: &Redact, by: u64) -> Result<Vec<i64>, Error> {
    // Pages that are let go are written over with zeros too; those that were let go before, when all else is done.
    let erased = written_over(connection, || erase_all(connection, redaction, by));
    let versions = erased.map_err(|e| from_sqlite(&e))??;
    if redaction.through == 0 {
        scrub::begin(connection).map_err(|e| from_sqlite(&e))?;
    }
    Ok(versions)
}

fn erase_all(connection: &Connection, redaction: &Redact, by: u64) -> Result<Vec<i64>, Error> {
    let mut versions = Vec::new();
    failing("store.erase").map_err(|e| from_sqlite(&e))?;
    if redaction.revisions.len() != redaction.erasures.len() {
        return Err(log::corrupt(by));
    }
    for (revision, erasure) in redaction.revisions.iter().zip(&redaction.erasures) {
        let payload = erase_payload(connection, redaction, erasure, *revision, by)?;
        for index in &erasure.changes {
            let change = payload.changes.get(*index as usize).ok_or_else(|| log::corrupt(by))?;
            versions.extend(erase_version(connection, &change.name, *revision, by).map_err(|e| from_sqlite(&e))?);
        }
    }
    for version in &redaction.versions {
        let erased = erase_version(connection, &version.record, version.from_revision, by);
        versions.extend(erased.map_err(|e| from_sqlite(&e))?);
    }
    for name in &redaction.reports {
        let report: ReportName = name.parse().map_err(|_| log::corrupt(by))?;
        erase_report(connection, redaction, &report).map_err(|e| from_sqlite(&e))?;
    }
    Ok(versions)
}

/// Erases the versions of a report that were filed through the revision that a part reaches, which it notes, else all.
fn erase_report(connection: &Connection, redaction: &Redact, report: &ReportName) -> Result<()> {
    let Redact { through, until, .. } = *redaction;
    let name = report.to_string();
    let sql = "DELETE FROM reports WHERE record = (SELECT id FROM records WHERE name = ?1) AND name = ?2
               AND (?3 = 0 OR from_revision <= ?3)";
    connection.prepare_cached(sql)?.execute(params![report.record.as_str(), name, through])?;
    if through == 0 {
        return connection.prepare_cached("DELETE FROM erasing WHERE report = ?1")?.execute([name]).map(drop);
    }
    // Made again from a log that has lost the earlier filings, the report begins with the first that is left.
    let sql = "UPDATE reports SET created_at_us = (SELECT min(recorded_at_us) FROM reports
                   WHERE record = (SELECT id FROM records WHERE name = ?1) AND name = ?2)
               WHERE record = (SELECT id FROM records WHERE name = ?1) AND name = ?2";
    connection.prepare_cached(sql)?.execute(params![report.record.as_str(), name])?;
    let sql = "INSERT OR REPLACE INTO erasing (report, through, until) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![name, through, until]).map(drop)
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

/// Erases what a record was from a revision on; answers the row, if there is one: it may have been trimmed.
fn erase_version(connection: &Connection, name: &str, revision: u64, by: u64) -> Result<Option<i64>> {
    let sql = "SELECT id, kind, facets, body IS NOT NULL FROM versions
               WHERE record = (SELECT id FROM records WHERE name = ?1) AND from_revision = ?2";
    let found = connection.prepare_cached(sql)?.query_row(params![name, revision], Ended::of).optional()?;
    let Some(version) = found else { return Ok(None) };
    version.unindex(connection)?;
    let (newest_first, oldest_first) = list::sort_keys(None);
    let sql = "UPDATE versions SET body = NULL, facets = ?2, newest_first = ?3, oldest_first = ?4, erased_by = ?5
               WHERE id = ?1";
    let row = params![version.id, Facets::default().to_stored(), newest_first, oldest_first, by];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(Some(version.id))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{self, OPEN, Options};

    #[test]
    fn between_parts_a_report_was_created_when_the_first_of_what_is_left_was_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let (_store, write) = store::open(folder.path(), &Options::default()).unwrap();
        let connection = &write.connection;
        let record = "INSERT INTO records (id, name, created_at_us) VALUES (1, 'visits/a', 10)";
        connection.execute_batch(record).unwrap();
        let file = |name: &str, from: i64, to: i64, recorded_at_us: i64| {
            let sql = "INSERT INTO reports (record, name, source, publisher, from_revision, to_revision, created_at_us,
                       recorded_at_us, etag, body) VALUES (1, ?1, 'sources/s', '', ?2, ?3, 10, ?4, '', x'')";
            connection.execute(sql, params![name, from, to, recorded_at_us]).unwrap();
        };
        let (erased, other) = ("visits/a/reports/leak", "visits/a/reports/ministry");
        file(erased, 1, 5, 10);
        file(other, 2, OPEN, 20);
        file(erased, 5, 9, 50);
        file(erased, 9, OPEN, 90);
        let part = Redact { through: 4, ..Redact::default() };
        erase_report(connection, &part, &erased.parse().unwrap()).unwrap();
        let sql = "SELECT name, from_revision, created_at_us FROM reports ORDER BY from_revision";
        let mut statement = connection.prepare(sql).unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let found = statement.query_map([], row).unwrap().collect::<Result<Vec<(String, i64, i64)>>>().unwrap();
        let expected = [(other, 2, 10), (erased, 5, 50), (erased, 9, 50)];
        assert_eq!(found, expected.map(|(name, from, created)| (name.to_owned(), from, created)));
    }
}
