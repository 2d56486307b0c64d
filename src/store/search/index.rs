//! Writing the index.

use std::{collections::HashSet, sync::Arc};

use rusqlite::{Connection, params};

use crate::domain::{
    indexable::Indexable,
    search::{similar, texts::Indexed},
};

/// What the index is told of a version of a record.
#[derive(Debug)]
pub struct Addition {
    /// The row of the version.
    pub version: i64,
    /// The revision that made it.
    pub revision: u64,
    /// What it says.
    pub indexable: Arc<Indexable>,
}

/// Adds versions, in their order. FTS5 writes what it has collected when a transaction ends, or before it is read, as a
/// segment that must be merged later: all of a transaction together is one.
///
/// # Errors
///
/// If SQLite refuses.
pub fn add(connection: &Connection, additions: &[Addition]) -> rusqlite::Result<()> {
    let column =
        |sounds: &std::collections::BTreeSet<String>| sounds.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let sql = "INSERT INTO search (rowid, names, stated, summaries) VALUES (?1, ?2, ?3, ?4)";
    let mut insert = connection.prepare_cached(sql)?;
    let mut seen = HashSet::new();
    for Addition { version, revision, indexable } in additions {
        let indexed = &indexable.words;
        insert.execute(params![
            version,
            column(&indexed.names),
            column(&indexed.stated),
            column(&indexed.summaries)
        ])?;
        words(connection, indexed, *revision, &mut seen)?;
    }
    Ok(())
}

/// Adds the sounds that are new; those `seen` are known to be there.
fn words<'a>(
    connection: &Connection,
    indexed: &'a Indexed,
    revision: u64,
    seen: &mut HashSet<&'a str>,
) -> rusqlite::Result<()> {
    let mut known = connection.prepare_cached("SELECT 1 FROM search_words WHERE sound = ?1")?;
    for sound in indexed.sounds().into_iter().filter(|s| similar::has_trigrams(s)) {
        if seen.insert(sound) && !known.exists([sound])? {
            word(connection, sound, revision)?;
        }
    }
    Ok(())
}

fn word(connection: &Connection, sound: &str, revision: u64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO search_words (sound, from_revision) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![sound, revision])?;
    let word = connection.last_insert_rowid();
    let sql = "INSERT INTO search_trigrams (trigram, length, word) VALUES (?1, ?2, ?3)";
    let mut insert = connection.prepare_cached(sql)?;
    for trigram in similar::trigrams(sound) {
        insert.execute(params![trigram, sound.len(), word])?;
    }
    Ok(())
}

/// Adds every version that the store has: for a store that was written before there was an index.
///
/// # Errors
///
/// If SQLite refuses, or a version cannot be read.
pub fn fill(connection: &Connection) -> rusqlite::Result<()> {
    let mut versions =
        connection.prepare("SELECT id, from_revision, body FROM versions WHERE body IS NOT NULL ORDER BY id")?;
    let mut rows = versions.query([])?;
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(2)?;
        let unread = || rusqlite::Error::InvalidColumnType(2, "body".to_owned(), rusqlite::types::Type::Blob);
        let indexable = Arc::new(Indexable::of(&body).ok_or_else(unread)?);
        add(connection, &[Addition { version: row.get(0)?, revision: row.get(1)?, indexable }])?;
    }
    Ok(())
}
