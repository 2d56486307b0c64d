//! Point reads: records, reports, sources, rulings, milestones, as of a revision.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};

use super::{OPEN, from_sqlite, list::Place, merges, postings};
use crate::{
    domain::{
        date::Day,
        error::{Error, Reason, Result},
        facets::{Facets, Tag},
        family::Family,
        name::{RecordName, ReportName},
        revision::State,
    },
    pb::{
        log::{Milestone, Ruling},
        v1,
    },
};

/// A record as of a revision.
#[derive(Debug, Clone)]
pub struct RecordRow {
    /// The record; `None` if it is retracted, or erased.
    pub record: Option<v1::Record>,
    /// The revision that erased what it was then; 0 if none did.
    pub erased_by: u64,
    /// The revision from which it stands so.
    pub from_revision: u64,
    /// When the registry first learnt of it.
    pub created_at_us: i64,
}

/// A report as of a revision.
#[derive(Debug, Clone)]
pub struct ReportRow {
    /// The report, with everything the registry says about it.
    pub report: v1::Report,
    /// The revision that replaced or withdrew it; `None` while it stands.
    pub until_revision: Option<u64>,
}

/// Every row of a query, read by `f`.
pub(super) fn rows<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    f: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))?;
    let rows = statement.query_map(params, f).map_err(|e| from_sqlite(&e))?;
    rows.collect::<rusqlite::Result<_>>().map_err(|e| from_sqlite(&e))
}

/// The first row of a query, read by `f`.
pub(super) fn row<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    f: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))?;
    statement.query_row(params, f).optional().map_err(|e| from_sqlite(&e))
}

/// Reads a message that this program wrote.
///
/// # Errors
///
/// `ENTRY_CORRUPT`.
pub fn decode<M: prost::Message + Default>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|e| Error::new(Reason::EntryCorrupt, format!("a stored message cannot be read: {e}")))
}

/// Reads the facets of a version.
pub(super) fn decode_facets(bytes: &[u8]) -> Result<Facets> {
    Facets::from_stored(bytes)
        .map_err(|e| Error::new(Reason::EntryCorrupt, format!("stored facets cannot be read: {e}")))
}

/// A record's version as of a revision, as the feed tells it; `None` if it does not stand.
pub(super) fn state_at(connection: &Connection, name: &str, revision: u64) -> Result<Option<State>> {
    let sql = "SELECT v.body, v.facets FROM records r JOIN versions v ON v.record = r.id
               WHERE r.name = ?1 AND v.from_revision <= ?2 ORDER BY v.from_revision DESC LIMIT 1";
    let found: Option<(Option<Vec<u8>>, Vec<u8>)> =
        row(connection, sql, (name, revision), |r| Ok((r.get(0)?, r.get(1)?)))?;
    let Some((Some(body), facets)) = found else { return Ok(None) };
    Ok(Some(State { record: Bytes::from(body), facets: Arc::new(decode_facets(&facets)?) }))
}

/// Whether the registry has ever heard of a name: of one it has not, there are no reports, rulings, merges or events.
///
/// # Errors
///
/// If the store cannot be read.
pub fn is_known(connection: &Connection, name: &RecordName) -> Result<bool> {
    Ok(row(connection, "SELECT 1 FROM records WHERE name = ?1", [name.as_str()], |_| Ok(()))?.is_some())
}

/// A record as of a revision; `None` if there was none yet.
///
/// # Errors
///
/// If the store cannot be read.
pub fn record_at(connection: &Connection, name: &RecordName, revision: u64) -> Result<Option<RecordRow>> {
    let sql =
        "SELECT v.body, v.from_revision, r.created_at_us, v.erased_by FROM records r JOIN versions v ON v.record = r.id
               WHERE r.name = ?1 AND v.from_revision <= ?2 ORDER BY v.from_revision DESC LIMIT 1";
    let found = row(connection, sql, (name.as_str(), revision), |row| {
        Ok((row.get::<_, Option<Vec<u8>>>(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    let Some((body, from_revision, created_at_us, erased_by)) = found else { return Ok(None) };
    let record = body.as_deref().map(decode::<v1::Record>).transpose()?;
    Ok(Some(RecordRow { record, erased_by, from_revision, created_at_us }))
}

/// The version that a name had at a revision, and its body.
const VERSION_AT: &str = "SELECT v.id, v.body FROM records r JOIN versions v ON v.record = r.id
    WHERE r.name = ?1 AND v.from_revision <= ?2 ORDER BY v.from_revision DESC LIMIT 1";

/// The version of a record as of a revision, and the record encoded, if one stands under that name; `None` if there was
/// none yet. An `address` is the version to look at first; any other than the right one makes no difference.
///
/// # Errors
///
/// If the store cannot be read.
pub fn encoded_at(
    connection: &Connection,
    name: &RecordName,
    revision: u64,
    address: Option<u64>,
) -> Result<Option<(u64, Option<Bytes>)>> {
    let version = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Option<Vec<u8>>>(1)?.map(Bytes::from)));
    if let Some(address) = address {
        let sql =
            "SELECT id, body FROM versions WHERE id = ?1 AND from_revision <= ?2 AND to_revision > ?2 AND name = ?3";
        let found = row(connection, sql, (address, revision, name.as_str()), version)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    row(connection, VERSION_AT, (name.as_str(), revision), version)
}

/// Versions of records of a kind and their places among those that come last first, after such a place, in that order; ended
/// versions too. At most `limit`.
///
/// # Errors
///
/// If the store cannot be read.
pub fn versions_after(
    connection: &Connection,
    kind: v1::RecordKind,
    after: &Place,
    limit: usize,
) -> Result<Vec<(u64, Place)>> {
    let sql = "SELECT id, newest_first, name FROM versions WHERE kind = ?1 AND (newest_first, name) > (?2, ?3)
               ORDER BY newest_first, name LIMIT ?4";
    let read = |row: &Row<'_>| Ok((row.get(0)?, Place { key: row.get(1)?, name: row.get(2)? }));
    rows(connection, sql, (kind as i32, after.key, &after.name, limit), read)
}

/// The body of a record as of a revision; `None` if it does not stand. In SQLite's own words, for applying.
pub(super) fn body_at(connection: &Connection, name: &str, revision: u64) -> rusqlite::Result<Option<v1::Record>> {
    let mut statement = connection.prepare_cached(VERSION_AT)?;
    let body: Option<Option<Vec<u8>>> = statement.query_row((name, revision), |row| row.get(1)).optional()?;
    body.flatten().map(|body| decoded(&body)).transpose()
}

fn decoded(body: &[u8]) -> rusqlite::Result<v1::Record> {
    let corrupt = |e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(e));
    <v1::Record as prost::Message>::decode(body).map_err(corrupt)
}

/// The agreements that say they supersede or renew a record, as of a revision, by name; none of other kinds.
pub(super) fn successors(
    connection: &Connection,
    record: &v1::Record,
    revision: u64,
) -> rusqlite::Result<Vec<v1::Record>> {
    let Some(v1::record::Kind::Agreement(agreement)) = &record.kind else { return Ok(Vec::new()) };
    let merged = agreement.info.iter().flat_map(|i| &i.merged_names);
    let mut found = std::collections::BTreeMap::new();
    for name in std::iter::once(&agreement.name).chain(merged) {
        for version in postings::at_once(connection, (Tag::Successor, name))? {
            let sql = "SELECT name, body FROM versions
                       WHERE id = ?1 AND from_revision <= ?2 AND to_revision > ?2 AND body IS NOT NULL";
            let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?));
            let row = connection.prepare_cached(sql)?.query_row((version, revision), read).optional()?;
            if let Some((name, body)) = row {
                found.insert(name, decoded(&body)?);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The agreements that say they supersede or renew a record, as of a revision, by name; none of other kinds.
///
/// # Errors
///
/// If the store cannot be read.
pub fn successors_at(connection: &Connection, record: &v1::Record, revision: u64) -> Result<Vec<v1::Record>> {
    successors(connection, record, revision).map_err(|e| from_sqlite(&e))
}

/// Records that the clock must look at when the day moves to `day`, by their deadline and name: at most `limit`.
///
/// # Errors
///
/// If the store cannot be read.
pub fn due(connection: &Connection, day: Day, limit: usize) -> Result<Vec<(Day, String)>> {
    let sql = "SELECT due, name FROM deadlines WHERE due <= ?1 ORDER BY due, name LIMIT ?2";
    rows(connection, sql, (day, limit), |r| Ok((r.get(0)?, r.get(1)?)))
}

/// How many records the clock must look at when the day moves to `day`, `most` at most, and the first deadline of all.
///
/// # Errors
///
/// If the store cannot be read.
pub fn overdue(connection: &Connection, day: Day, most: usize) -> Result<(u64, Option<Day>)> {
    let sql = "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM deadlines WHERE due <= ?1 LIMIT ?2)),
        (SELECT MIN(due) FROM deadlines)";
    let told: Vec<(u64, Option<Day>)> = rows(connection, sql, (day, most), |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(told.into_iter().next().unwrap_or_default())
}

const REPORT_COLUMNS: &str = "body, etag, from_revision, to_revision, created_at_us, recorded_at_us";

fn report_row(row: &Row<'_>) -> rusqlite::Result<(Vec<u8>, String, u64, i64, i64, i64)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

fn to_report(
    (body, etag, from, to, created, recorded): (Vec<u8>, String, u64, i64, i64, i64),
    at: u64,
) -> Result<ReportRow> {
    let mut report: v1::Report = decode(&body)?;
    report.etag = etag;
    report.revision = from;
    report.create_time = Some(crate::clock::timestamp(created));
    report.update_time = Some(crate::clock::timestamp(recorded));
    let until_revision = u64::try_from(to).ok().filter(|to| *to <= at);
    Ok(ReportRow { report, until_revision })
}

/// The active reports of a record as of a revision, those filed under names merged into it included, in no order.
///
/// # Errors
///
/// If the store cannot be read.
pub fn active_reports(connection: &Connection, name: &RecordName, revision: u64) -> Result<Vec<ReportRow>> {
    active_reports_of(connection, &merges::family(connection, name, revision)?, revision)
}

/// The active reports that are filed under the names of a family as of a revision, in no order.
///
/// # Errors
///
/// If the store cannot be read.
pub fn active_reports_of(connection: &Connection, family: &Family, revision: u64) -> Result<Vec<ReportRow>> {
    let sql = format!(
        "SELECT {REPORT_COLUMNS} FROM reports WHERE record = (SELECT id FROM records WHERE name = ?1)
         AND from_revision <= ?2 AND to_revision > ?2"
    );
    reports_by(connection, &sql, family, revision)
}

/// Every version of the reports that are or were filed under the names of a family up to a revision, in the order of
/// recording; those that ended before the log's floor are gone.
///
/// # Errors
///
/// If the store cannot be read.
pub fn all_reports_of(connection: &Connection, family: &Family, revision: u64) -> Result<Vec<ReportRow>> {
    let sql = format!(
        "SELECT {REPORT_COLUMNS} FROM reports WHERE record = (SELECT id FROM records WHERE name = ?1)
         AND from_revision <= ?2 AND to_revision > (SELECT floor FROM log_state WHERE id = 1)
         ORDER BY from_revision, name"
    );
    let mut found = reports_by(connection, &sql, family, revision)?;
    found.sort_by(|a, b| (a.report.revision, &a.report.name).cmp(&(b.report.revision, &b.report.name)));
    Ok(found)
}

fn reports_by(connection: &Connection, sql: &str, family: &Family, revision: u64) -> Result<Vec<ReportRow>> {
    let mut found = Vec::new();
    for name in family.names() {
        for read in rows(connection, sql, (name.as_str(), revision), report_row)? {
            found.push(to_report(read, revision)?);
        }
    }
    Ok(found)
}

/// Later than every revision, and before the end of what still stands.
const NOW: u64 = OPEN.unsigned_abs() - 1;

/// The active report of a name, now.
///
/// # Errors
///
/// If the store cannot be read.
pub fn active_report(connection: &Connection, name: &ReportName) -> Result<Option<ReportRow>> {
    let sql = format!(
        "SELECT {REPORT_COLUMNS} FROM reports WHERE record = (SELECT id FROM records WHERE name = ?1) AND name = ?2
         ORDER BY from_revision DESC LIMIT 1"
    );
    let names = (name.record.as_str(), name.to_string());
    let newest = row(connection, &sql, names, report_row)?.map(|r| to_report(r, NOW)).transpose()?;
    Ok(newest.filter(|row| row.until_revision.is_none()))
}

/// From when to when each version of a report stood: `[from_revision, to_revision)`, the end of what stands is later than
/// every revision. None that ended at or before the floor.
///
/// # Errors
///
/// If the store cannot be read.
pub fn versions_of_report(connection: &Connection, name: &ReportName, floor: u64) -> Result<Vec<(u64, u64)>> {
    let sql = "SELECT from_revision, to_revision FROM reports WHERE record = (SELECT id FROM records WHERE name = ?1)
               AND name = ?2 AND to_revision > ?3 ORDER BY from_revision";
    rows(connection, sql, (name.record.as_str(), name.to_string(), floor), |r| Ok((r.get(0)?, r.get(1)?)))
}

/// How far a report is that is erased in parts, and is not at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// What rests on it through this revision is erased.
    pub through: u64,
    /// Where its version ended that stood then and after it, and is not there any more; 0 if none did.
    pub until: u64,
}

/// How far a report is that is erased in parts; `None` of one of which nothing is erased, or nothing is left.
///
/// # Errors
///
/// If the store cannot be read.
pub fn begun(connection: &Connection, report: &ReportName) -> Result<Option<Begun>> {
    let sql = "SELECT through, until FROM erasing WHERE report = ?1";
    row(connection, sql, [report.to_string()], |r| Ok(Begun { through: r.get(0)?, until: r.get(1)? }))
}

/// The reports of a source that are erased in parts, and are not at their end.
fn begun_of(connection: &Connection, source: &str) -> Result<Vec<String>> {
    let names = rows(connection, "SELECT report FROM erasing", [], |r| r.get::<_, String>(0))?;
    let is_of = |name: &String| name.parse::<ReportName>().is_ok_and(|report| report.source == source);
    Ok(names.into_iter().filter(is_of).collect())
}

/// The revisions about a record in a range, both ends inclusive.
///
/// # Errors
///
/// If the store cannot be read.
pub fn revisions_about(connection: &Connection, name: &RecordName, (from, to): (u64, u64)) -> Result<Vec<u64>> {
    let sql = "SELECT from_revision FROM versions WHERE record = (SELECT id FROM records WHERE name = ?1)
               AND from_revision BETWEEN ?2 AND ?3 ORDER BY from_revision";
    rows(connection, sql, (name.as_str(), from, to), |r| r.get(0))
}

/// The revisions in a range, both ends inclusive, at which a report was filed under a name that is or was merged with this one,
/// or under itself.
///
/// # Errors
///
/// If the store cannot be read.
pub fn filings_about(connection: &Connection, name: &RecordName, (from, to): (u64, u64)) -> Result<Vec<u64>> {
    let sql = "WITH RECURSIVE kin (name) AS (
                   SELECT ?1
                   UNION SELECT m.survivor FROM kin JOIN merges m ON m.loser = kin.name
                   UNION SELECT m.loser FROM kin JOIN merges m ON m.survivor = kin.name
               ) SELECT DISTINCT p.from_revision FROM kin JOIN records r ON r.name = kin.name
                 JOIN reports p ON p.record = r.id WHERE p.from_revision BETWEEN ?2 AND ?3";
    rows(connection, sql, (name.as_str(), from, to), |r| r.get(0))
}

/// The revision from which what a record is at a revision stands, if the store has that row.
///
/// # Errors
///
/// If the store cannot be read.
pub fn version_at(connection: &Connection, name: &RecordName, revision: u64) -> Result<Option<u64>> {
    let sql = "SELECT from_revision FROM versions WHERE record = (SELECT id FROM records WHERE name = ?1)
               AND from_revision <= ?2 AND to_revision > ?2";
    row(connection, sql, (name.as_str(), revision), |r| r.get(0))
}

/// Reports of a source in which one of these texts stands as a value, standing or withdrawn, that are kept, and those that
/// are erased in parts, whatever is left of them: their names, sorted, at most `limit`, and how many there are. Reads every
/// report of the source.
///
/// # Errors
///
/// If the store cannot be read.
pub fn reports_that_say(
    connection: &Connection,
    source: &str,
    texts: &[String],
    limit: usize,
) -> Result<(Vec<String>, usize)> {
    // As a message has it: its length, and itself.
    let needle = |text: &String| {
        let mut needle = Vec::new();
        prost::encoding::encode_varint(text.len() as u64, &mut needle);
        needle.extend(text.as_bytes());
        memchr::memmem::Finder::new(&needle).into_owned()
    };
    let finders: Vec<_> = texts.iter().map(needle).collect();
    // (Of one that was begun nothing may be there any more that says so.)
    let mut found: std::collections::BTreeSet<String> = begun_of(connection, source)?.into_iter().collect();
    // One index has those that stand, another those that ended.
    for which in [format!("= {OPEN}"), format!("< {OPEN}")] {
        let sql = format!(
            "SELECT name, body FROM reports WHERE source = ?1 AND to_revision {which}
             AND to_revision > (SELECT floor FROM log_state WHERE id = 1)"
        );
        let mut statement = connection.prepare_cached(&sql).map_err(|e| from_sqlite(&e))?;
        let mut rows = statement.query([source]).map_err(|e| from_sqlite(&e))?;
        while let Some(row) = rows.next().map_err(|e| from_sqlite(&e))? {
            let body = row.get_ref(1).and_then(|body| Ok(body.as_blob()?)).map_err(|e| from_sqlite(&e))?;
            if finders.iter().any(|finder| finder.find(body).is_some()) {
                found.insert(row.get(0).map_err(|e| from_sqlite(&e))?);
            }
        }
    }
    let count = found.len();
    Ok((found.into_iter().take(limit).collect(), count))
}

/// The names of active reports of a source or publisher, in the order of filing, at most `limit`, and how many there are.
///
/// # Errors
///
/// If the store cannot be read.
pub fn active_of(connection: &Connection, whose: Whose<'_>, limit: usize) -> Result<(Vec<String>, usize)> {
    let (column, value) = match whose {
        Whose::Source(source) => ("source", source),
        Whose::Publisher(publisher) => ("publisher", publisher),
    };
    let clause = format!("FROM reports WHERE {column} = ?1 AND to_revision = {OPEN}");
    let names = rows(connection, &format!("SELECT name {clause} ORDER BY id LIMIT ?2"), (value, limit), |r| r.get(0))?;
    let count = row(connection, &format!("SELECT count(*) {clause}"), [value], |r| r.get(0))?;
    Ok((names, count.unwrap_or(0)))
}

/// Whose reports.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// A source's, by name.
    Source(&'a str),
    /// A publisher's, by its key: the organization, or `named/` and the folded name.
    Publisher(&'a str),
}

/// The latest block of a source as of a revision.
///
/// # Errors
///
/// If the store cannot be read.
pub fn source_at(connection: &Connection, name: &str, revision: u64) -> Result<Option<v1::Source>> {
    let sql = "SELECT body, recorded_at_us FROM sources WHERE name = ?1 AND from_revision <= ?2
               ORDER BY from_revision DESC LIMIT 1";
    let found = row(connection, sql, (name, revision), |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get(1)?)))?;
    found.map(|(body, recorded)| to_source(&body, recorded)).transpose()
}

fn to_source(body: &[u8], recorded_at_us: i64) -> Result<v1::Source> {
    let mut source: v1::Source = decode(body)?;
    source.update_time = Some(crate::clock::timestamp(recorded_at_us));
    Ok(source)
}

/// Sources by name after a name, as of a revision; none of probes.
///
/// # Errors
///
/// If the store cannot be read.
pub fn sources(connection: &Connection, revision: u64, after: &str, limit: usize) -> Result<Vec<(v1::Source, String)>> {
    let sql = "SELECT body, recorded_at_us, publisher FROM sources WHERE name > ?2 AND from_revision <= ?1 AND to_revision > ?1
               AND NOT (name >= 'sources/probe-' AND name < 'sources/probe.') ORDER BY name LIMIT ?3";
    let found = rows(connection, sql, (revision, after, limit), |r| {
        Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, i64>(1)?, r.get::<_, String>(2)?))
    })?;
    found.into_iter().map(|(body, at, publisher)| Ok((to_source(&body, at)?, publisher))).collect()
}

/// The rulings that retract a record now.
///
/// # Errors
///
/// If the store cannot be read.
pub fn rulings(connection: &Connection, name: &RecordName) -> Result<Vec<Ruling>> {
    let sql = format!(
        "SELECT body FROM rulings WHERE record = (SELECT id FROM records WHERE name = ?1) AND to_revision = {OPEN}
         ORDER BY source"
    );
    let bodies = rows(connection, &sql, [name.as_str()], |r| r.get::<_, Vec<u8>>(0))?;
    bodies.iter().map(|b| decode(b)).collect()
}

/// The milestones of a record that stand now.
///
/// # Errors
///
/// If the store cannot be read.
pub fn milestones(connection: &Connection, name: &RecordName) -> Result<Vec<Milestone>> {
    let sql = "SELECT type, element, revision, event_index, detail_digest, subject FROM milestones
               WHERE record = (SELECT id FROM records WHERE name = ?1) ORDER BY revision, event_index";
    rows(connection, sql, [name.as_str()], |r| {
        Ok(Milestone {
            r#type: r.get(0)?,
            element: r.get(1)?,
            revision: r.get(2)?,
            index: r.get(3)?,
            detail_digest: r.get(4)?,
            subject: r.get(5)?,
        })
    })
}

/// The events of a record's milestones that stand of another record too, with that record's name.
///
/// # Errors
///
/// If the store cannot be read.
pub fn shared_milestones(connection: &Connection, name: &RecordName) -> Result<Vec<(String, (u64, u32))>> {
    let sql = "SELECT r.name, m.revision, m.event_index FROM milestones m
               JOIN milestones o ON o.revision = m.revision AND o.event_index = m.event_index AND o.record <> m.record
               JOIN records r ON r.id = o.record WHERE m.record = (SELECT id FROM records WHERE name = ?1)";
    rows(connection, sql, [name.as_str()], |r| Ok((r.get(0)?, (r.get(1)?, r.get(2)?))))
}

/// The records of whose milestones an event is.
///
/// # Errors
///
/// If the store cannot be read.
pub fn holders(connection: &Connection, (revision, index): (u64, u32)) -> Result<Vec<String>> {
    let sql = "SELECT r.name FROM milestones m JOIN records r ON r.id = m.record
               WHERE m.revision = ?1 AND m.event_index = ?2";
    rows(connection, sql, (revision, index), |r| r.get(0))
}

/// The revisions about the names of a family after one, up to another, oldest first; none up to the log's floor.
///
/// # Errors
///
/// If the store cannot be read.
pub fn history(connection: &Connection, family: &Family, after: u64, through: u64, limit: usize) -> Result<Vec<u64>> {
    let sql = "SELECT from_revision FROM versions WHERE record = (SELECT id FROM records WHERE name = ?1)
               AND from_revision > max(?2, (SELECT floor FROM log_state WHERE id = 1)) AND from_revision <= ?3
               ORDER BY from_revision LIMIT ?4";
    let mut found = std::collections::BTreeSet::new();
    for name in family.names() {
        found.extend(rows(connection, sql, (name.as_str(), after, through, limit), |r| r.get::<_, u64>(0))?);
    }
    Ok(found.into_iter().take(limit).collect())
}

/// The digest and revision of a remembered request.
///
/// # Errors
///
/// If the store cannot be read.
pub fn request(connection: &Connection, principal: &str, id: &str) -> Result<Option<(Vec<u8>, u64)>> {
    let sql = "SELECT digest, revision FROM requests WHERE principal = ?1 AND request_id = ?2";
    row(connection, sql, (principal, id), |r| Ok((r.get(0)?, r.get(1)?)))
}

/// A cursor kept for a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorRow {
    /// The token.
    pub position: String,
    /// Its revision.
    pub revision: u64,
    /// Its place within the revision: `u32::MAX` is after all of it.
    pub event_index: u32,
    /// In a snapshot the last name sent; empty elsewhere.
    pub snapshot_after: String,
    /// Changes with every commit.
    pub etag: String,
    /// When it was committed.
    pub updated_at_us: i64,
}

/// Every cursor, with its principal and name.
///
/// # Errors
///
/// If the store cannot be read.
pub fn cursors(connection: &Connection) -> Result<Vec<(String, String, CursorRow)>> {
    let sql =
        "SELECT principal, name, position, revision, event_index, snapshot_after, etag, updated_at_us FROM cursors";
    let mut statement = connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))?;
    let rows =
        statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, cursor_row(r, 2)?))).map_err(|e| from_sqlite(&e))?;
    rows.collect::<rusqlite::Result<_>>().map_err(|e| from_sqlite(&e))
}

/// A cursor whose columns begin at this one.
fn cursor_row(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<CursorRow> {
    Ok(CursorRow {
        position: row.get(first)?,
        revision: row.get(first + 1)?,
        event_index: row.get(first + 2)?,
        snapshot_after: row.get(first + 3)?,
        etag: row.get(first + 4)?,
        updated_at_us: row.get(first + 5)?,
    })
}

/// A cursor by principal and name.
///
/// # Errors
///
/// If the store cannot be read.
pub fn cursor(connection: &Connection, principal: &str, name: &str) -> Result<Option<CursorRow>> {
    let sql = "SELECT position, revision, event_index, snapshot_after, etag, updated_at_us FROM cursors
               WHERE principal = ?1 AND name = ?2";
    row(connection, sql, (principal, name), |r| cursor_row(r, 0))
}

/// Whether a principal has so many cursors, or more; with none everybody has.
///
/// # Errors
///
/// If the store cannot be read.
pub fn has_cursors(connection: &Connection, principal: &str, count: usize) -> Result<bool> {
    let Some(before) = count.checked_sub(1) else { return Ok(true) };
    let sql = "SELECT 1 FROM cursors WHERE principal = ?1 LIMIT 1 OFFSET ?2";
    Ok(row(connection, sql, (principal, before), |_| Ok(()))?.is_some())
}
