//! Visits by a host and a guest: whether another visit of the same states is known.

use rusqlite::{Connection, Row, params};

use super::{
    OPEN,
    read::{decode_facets, row, rows},
    schema::open,
};
use crate::{
    domain::{
        date::Day,
        error::Result,
        facets::{Facets, Tag},
        filter::Filters,
    },
    pb::v1::RecordKind,
};

/// Pairs that one version is kept under; of a visit with more hosts and guests some find it, which is enough for a hint.
const MAX_PAIRS: usize = 16;
/// Versions that one question reads, those that ended since included.
const MAX_READ: usize = 128;

/// Keeps a version of a visit under its pairs of host and guest; nothing if its end is not known.
///
/// # Errors
///
/// If SQLite refuses.
pub(super) fn add(connection: &Connection, version: i64, facets: &Facets) -> rusqlite::Result<()> {
    let earliest = facets.occurred.and_then(|span| span.earliest);
    let sql = "INSERT OR IGNORE INTO pairs (host, guest, latest, version, earliest) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut insert = connection.prepare_cached(sql)?;
    each(facets, |host, guest, latest| insert.execute(params![host, guest, latest, version, earliest]))
}

/// Forgets a version.
///
/// # Errors
///
/// If SQLite refuses.
pub(super) fn remove(connection: &Connection, version: i64, facets: &Facets) -> rusqlite::Result<()> {
    let mut delete = connection
        .prepare_cached("DELETE FROM pairs WHERE host = ?1 AND guest = ?2 AND latest = ?3 AND version = ?4")?;
    each(facets, |host, guest, latest| delete.execute(params![host, guest, latest, version]))
}

/// Runs a statement for each pair that a version is kept under, and its last possible day; for none if that is not known.
fn each(facets: &Facets, mut run: impl FnMut(&str, &str, Day) -> rusqlite::Result<usize>) -> rusqlite::Result<()> {
    let Some(latest) = facets.occurred.and_then(|span| span.latest) else { return Ok(()) };
    pairs(facets).take(MAX_PAIRS).try_for_each(|(host, guest)| run(host, guest, latest).map(drop))
}

fn pairs(facets: &Facets) -> impl Iterator<Item = (&str, &str)> {
    facets.values(Tag::Host).flat_map(|host| facets.values(Tag::Guest).map(move |guest| (host, guest)))
}

/// The names of visits that match and of which some day may lie in a range, both inclusive, and the last at most so many days
/// after it, as they stand now: those that have a host and a guest in common with `facets`, in the order of recording. At most
/// `limit`.
///
/// # Errors
///
/// If the store cannot be read.
pub fn within(
    connection: &Connection,
    facets: &Facets,
    filters: &Filters,
    (from, until): (Day, Day),
    longer: Day,
    limit: usize,
) -> Result<Vec<String>> {
    let Some((host, guest)) = pairs(facets).next() else { return Ok(Vec::new()) };
    let sql = "SELECT version FROM pairs WHERE host = ?1 AND guest = ?2 AND latest BETWEEN ?3 AND ?4
               AND (earliest IS NULL OR earliest <= ?5) ORDER BY latest DESC LIMIT ?6";
    let asked = (host, guest, from, until.saturating_add(longer), until, MAX_READ);
    let mut versions: Vec<i64> = rows(connection, sql, asked, |row| row.get(0))?;
    versions.sort_unstable();
    let mut names = Vec::new();
    for version in versions {
        if names.len() == limit {
            break;
        }
        let sql = concat!("SELECT name, facets FROM versions WHERE id = ?1 AND to_revision = ", open!());
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?));
        let standing = row(connection, sql, [version], read)?;
        if let Some((name, facets)) = standing
            && filters.matches(&decode_facets(&facets)?)
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Keeps every visit that stands: for a store that was written before there were pairs, which knew no first days.
///
/// # Errors
///
/// If SQLite refuses, or a version cannot be read.
pub(super) fn fill(connection: &Connection) -> rusqlite::Result<()> {
    let sql = format!("SELECT id, facets FROM versions WHERE kind = ?1 AND to_revision = {OPEN} AND body IS NOT NULL");
    let mut versions = connection.prepare(&sql)?;
    let mut insert =
        connection.prepare("INSERT OR IGNORE INTO pairs (host, guest, latest, version) VALUES (?1, ?2, ?3, ?4)")?;
    let mut rows = versions.query([RecordKind::Visit as i32])?;
    while let Some(row) = rows.next()? {
        let facets = Facets::from_stored(&row.get::<_, Vec<u8>>(1)?)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Blob, Box::new(e)))?;
        let version: i64 = row.get(0)?;
        each(&facets, |host, guest, latest| insert.execute(params![host, guest, latest, version]))?;
    }
    Ok(())
}
