//! Which names are merged, as of a revision.

use rusqlite::{Connection, params};

use super::{
    OPEN, from_sqlite,
    read::{decode, row, rows},
};
use crate::{
    domain::{
        error::{Error, Reason, Result},
        family::{Family, Member},
        name::RecordName,
    },
    pb::log::Merge,
};

/// From a name to the one that stands for it; `UNION` ends even where a circle would not.
const UPWARD: &str = "WITH RECURSIVE up (name, depth) AS (
        SELECT ?1, 0
        UNION
        SELECT m.survivor, up.depth + 1 FROM up JOIN merges m ON m.loser = up.name
        WHERE m.from_revision <= ?2 AND m.to_revision > ?2 AND up.depth < 1000
    ) SELECT name FROM up ORDER BY depth DESC LIMIT 1";

/// A name and all that lead to it, those nearest first.
const DOWNWARD: &str = "WITH RECURSIVE family (name, survivor, depth) AS (
        SELECT ?1, NULL, 0
        UNION
        SELECT m.loser, m.survivor, family.depth + 1 FROM family JOIN merges m ON m.survivor = family.name
        WHERE m.from_revision <= ?2 AND m.to_revision > ?2 AND family.depth < 1000
    ) SELECT name, survivor, EXISTS (
        SELECT 1 FROM rulings r WHERE r.record = (SELECT id FROM records WHERE records.name = family.name)
        AND r.from_revision <= ?2 AND r.to_revision > ?2
    ) FROM family ORDER BY depth, name";

/// The name of the record that stands for a name as of a revision: the name itself, unless it is merged.
///
/// # Errors
///
/// If the store cannot be read.
pub fn survivor(connection: &Connection, name: &RecordName, revision: u64) -> Result<RecordName> {
    let found = survivor_of(connection, name.as_str(), revision).map_err(|e| from_sqlite(&e))?;
    if found == name.as_str() { Ok(name.clone()) } else { parse(&found) }
}

/// The same, in SQLite's own words, for applying.
pub(super) fn survivor_of(connection: &Connection, name: &str, revision: u64) -> rusqlite::Result<String> {
    connection.prepare_cached(UPWARD)?.query_row(params![name, revision], |r| r.get(0))
}

/// A name, and every name that ever stood for it.
///
/// # Errors
///
/// If the store cannot be read.
pub fn ever_stood_for(connection: &Connection, name: &RecordName) -> Result<Vec<RecordName>> {
    let sql =
        "WITH RECURSIVE up (name) AS (SELECT ?1 UNION SELECT m.survivor FROM up JOIN merges m ON m.loser = up.name)
         SELECT name FROM up";
    let names = rows(connection, sql, [name.as_str()], |r| r.get::<_, String>(0))?;
    names.iter().map(|name| parse(name)).collect()
}

/// A name with those that are merged into it as of a revision, directly or by way of others.
///
/// # Errors
///
/// If the store cannot be read.
pub fn family(connection: &Connection, name: &RecordName, revision: u64) -> Result<Family> {
    let mut statement = connection.prepare_cached(DOWNWARD).map_err(|e| from_sqlite(&e))?;
    let read = |r: &rusqlite::Row<'_>| Ok((r.get::<_, String>(0)?, r.get::<_, Option<String>>(1)?, r.get(2)?));
    let rows = statement.query_map(params![name.as_str(), revision], read).map_err(|e| from_sqlite(&e))?;
    let mut members = Vec::new();
    for row in rows {
        let (name, into, ruled) = row.map_err(|e| from_sqlite(&e))?;
        let into = into.as_deref().map(parse).transpose()?;
        members.push(Member { name: parse(&name)?, into, ruled });
    }
    Ok(Family::new(name, members))
}

/// The merge of a name that is in force now.
///
/// # Errors
///
/// If the store cannot be read.
pub fn in_force(connection: &Connection, loser: &RecordName) -> Result<Option<Merge>> {
    let sql = format!("SELECT body FROM merges WHERE loser = ?1 AND to_revision = {OPEN}");
    let body = row(connection, &sql, [loser.as_str()], |r| r.get::<_, Vec<u8>>(0))?;
    body.map(|body| decode(&body)).transpose()
}

fn parse(name: &str) -> Result<RecordName> {
    name.parse().map_err(|_| Error::new(Reason::EntryCorrupt, "a stored name cannot be read"))
}
