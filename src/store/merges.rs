//! Which names are merged, as of a revision.

use rusqlite::{Connection, OptionalExtension as _, params};

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

/// How often a name may be followed to another: where the rules hold, no circle is made, and one that is there ends.
const MOST_STEPS: usize = 1000;

/// What a name is merged into, as of a revision: one name at most.
const SURVIVOR: &str = "SELECT survivor FROM merges WHERE loser = ?1 AND from_revision <= ?2 AND to_revision > ?2";
/// What is merged into it.
const LOSERS: &str = "SELECT loser FROM merges WHERE survivor = ?1 AND from_revision <= ?2 AND to_revision > ?2";
/// Whether somebody ruled on it.
const RULED: &str = "SELECT EXISTS (SELECT 1 FROM rulings r WHERE r.record = (SELECT id FROM records WHERE name = ?1)
    AND r.from_revision <= ?2 AND r.to_revision > ?2)";

/// The name of the record that stands for a name as of a revision: the name itself, unless it is merged.
///
/// # Errors
///
/// If the store cannot be read.
pub fn survivor(connection: &Connection, name: &RecordName, revision: u64) -> Result<RecordName> {
    let found = survivor_of(connection, name.as_str(), revision).map_err(|e| from_sqlite(&e))?;
    if found == name.as_str() { Ok(name.clone()) } else { parse(&found) }
}

/// The same with SQLite's own errors, for applying. (Step by step: most names lead nowhere, and a recursive question makes
/// tables of its own first.)
pub(super) fn survivor_of(connection: &Connection, name: &str, revision: u64) -> rusqlite::Result<String> {
    let mut statement = connection.prepare_cached(SURVIVOR)?;
    let mut name = name.to_owned();
    for _ in 0..MOST_STEPS {
        match statement.query_row(params![name, revision], |r| r.get(0)).optional()? {
            Some(survivor) => name = survivor,
            None => break,
        }
    }
    Ok(name)
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

/// A name with those that are merged into it as of a revision, directly or by way of others: those nearest first, and of
/// those that are equally near by their names.
///
/// # Errors
///
/// If the store cannot be read.
pub fn family(connection: &Connection, name: &RecordName, revision: u64) -> Result<Family> {
    let (mut members, mut near) = (Vec::new(), vec![(name.clone(), None)]);
    for _ in 0..MOST_STEPS {
        let mut further = Vec::new();
        for (name, into) in near {
            let losers = rows(connection, LOSERS, params![name.as_str(), revision], |r| r.get::<_, String>(0))?;
            for loser in &losers {
                further.push((parse(loser)?, Some(name.clone())));
            }
            let ruled = row(connection, RULED, params![name.as_str(), revision], |r| r.get(0))?.unwrap_or(false);
            members.push(Member { name, into, ruled });
        }
        if further.is_empty() {
            break;
        }
        further.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        near = further;
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
