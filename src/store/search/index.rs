//! Writing the index.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::waiting;
use crate::{
    domain::{
        indexable::Indexable,
        search::{similar, texts::Indexed},
    },
    limits::{MAX_UNINDEXED, MAX_UNINDEXED_BYTES},
    store::apply::Known,
};

/// What a page of the index takes, in bytes.
const LEAF_BYTES: usize = 4050;
/// Pages that are merged at most for each that is written: a page is written again for each level that it rises, of which
/// a store of millions has fewer.
const MERGED_FOR_EACH: usize = 8;

/// What a store that is filled adds before it merges: what FTS5 collects at most before it writes a segment by itself.
const FILLED_BYTES: usize = 1024 * 1024;

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

/// Adds the versions of a transaction, in their order: to those that wait, or with these to the index, if they are enough, or one of
/// them is large.
///
/// FTS5 writes what it has collected when a transaction ends, or before it is read, as a segment that must be merged later:
/// all of a transaction together is one. By itself it would merge hundreds of pages in one of many transactions.
///
/// # Errors
///
/// If SQLite refuses.
pub fn add(connection: &Connection, additions: &[Addition], known: &Known) -> rusqlite::Result<()> {
    if additions.is_empty() {
        return Ok(());
    }
    for Addition { revision, indexable, .. } in additions {
        words(connection, &indexable.words, *revision, known)?;
    }
    let bytes = |addition: &Addition| addition.indexable.words.columns().map(str::len).iter().sum::<usize>();
    let is_large = |addition: &Addition| bytes(addition) > MAX_UNINDEXED_BYTES;
    if waiting::count(connection)? + additions.len() < MAX_UNINDEXED && !additions.iter().any(is_large) {
        return waiting::keep(connection, additions);
    }
    let written = put_waiting(connection)? + put(connection, additions)?;
    merge(connection, 1 + written / LEAF_BYTES)
}

/// Tells the index of those that wait, however few they are, in a transaction of its own: for whoever looks at the index itself.
///
/// # Errors
///
/// If SQLite refuses, or a transaction is open.
pub fn complete(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let written = put_waiting(connection)?;
    if written > 0 {
        merge(connection, 1 + written / LEAF_BYTES)?;
    }
    transaction.commit()
}

/// Takes a version out. What was erased must be gone from what waits as well.
///
/// # Errors
///
/// If SQLite refuses.
pub fn remove(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    if waiting::forget(connection, version)? {
        return Ok(());
    }
    connection.prepare_cached("DELETE FROM search WHERE rowid = ?1")?.execute([version]).map(drop)
}

/// Merges segments of the index, for so many pages that were written or deleted from.
///
/// # Errors
///
/// If SQLite refuses.
pub fn merge(connection: &Connection, pages: usize) -> rusqlite::Result<()> {
    let sql = "INSERT INTO search (search, rank) VALUES ('merge', ?1)";
    connection.prepare_cached(sql)?.execute([pages.saturating_mul(MERGED_FOR_EACH)]).map(drop)
}

/// Answers about how many bytes that was.
fn put(connection: &Connection, additions: &[Addition]) -> rusqlite::Result<usize> {
    let mut written = 0;
    for Addition { version, indexable, .. } in additions {
        written += put_one(connection, *version, indexable.words.columns())?;
    }
    Ok(written)
}

/// The same of those that wait.
fn put_waiting(connection: &Connection) -> rusqlite::Result<usize> {
    let mut written = 0;
    for (version, columns) in waiting::take(connection)? {
        written += put_one(connection, version, columns.each_ref().map(String::as_str))?;
    }
    Ok(written)
}

fn put_one(connection: &Connection, version: i64, [names, stated, summaries]: [&str; 3]) -> rusqlite::Result<usize> {
    let sql = "INSERT INTO search (rowid, names, stated, summaries) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![version, names, stated, summaries])?;
    Ok(1 + names.len() + stated.len() + summaries.len())
}

/// Adds the sounds that are new.
fn words(connection: &Connection, indexed: &Indexed, revision: u64, known: &Known) -> rusqlite::Result<()> {
    let mut unknown: Vec<&str> =
        indexed.iter().filter(|s| similar::may_have_errors(s) && !known.has_sound(s)).collect();
    unknown.sort_unstable();
    unknown.dedup();
    for sound in unknown {
        let sql = "INSERT INTO search_words (sound, from_revision) VALUES (?1, ?2) ON CONFLICT (sound) DO NOTHING";
        connection.prepare_cached(sql)?.execute(params![sound, revision])?;
        known.add_sound(sound);
    }
    Ok(())
}

/// Adds every version that the store has: for a store that was written before there was an index.
///
/// # Errors
///
/// If SQLite refuses, or a version cannot be read.
pub fn fill(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT id, from_revision, body FROM versions WHERE body IS NOT NULL ORDER BY id";
    let mut versions = connection.prepare(sql)?;
    let (mut rows, known, mut written) = (versions.query([])?, Known::default(), 0);
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(2)?;
        let unread = || rusqlite::Error::InvalidColumnType(2, "body".to_owned(), rusqlite::types::Type::Blob);
        let indexable = Indexable::of(&body).ok_or_else(unread)?;
        words(connection, &indexable.words, row.get(1)?, &known)?;
        written += put_one(connection, row.get(0)?, indexable.words.columns())?;
        if written > FILLED_BYTES {
            merge(connection, written / LEAF_BYTES)?;
            written = 0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeSet};

    use super::*;
    use crate::{domain::search::texts::Class, store::schema};

    const VERSIONS: i64 = 5000;

    thread_local! {
        static LOG_PAGES: Cell<usize> = const { Cell::new(0) };
    }

    fn store(folder: &tempfile::TempDir) -> Connection {
        let file = folder.path().join("attache.db");
        let mut connection = Connection::open(&file).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        schema::migrate(&mut connection, &file).unwrap();
        connection.pragma_update(None, "foreign_keys", false).unwrap();
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        connection.wal_hook(Some(|_, pages| {
            LOG_PAGES.set(usize::try_from(pages).unwrap());
            Ok(())
        }));
        connection
    }

    /// A version of twenty words, of which every other one has half.
    fn version(number: i64) -> Addition {
        let stated: Vec<String> =
            (0..20).map(|word: i64| format!("u{:x}", (number * 7 + word * word * 31) % 401)).collect();
        let words = Indexed::of(&[(Class::Stated, &stated.join(" "))]);
        let indexable = Arc::new(Indexable { references: Vec::new(), words });
        Addition { version: number, revision: 1, indexable }
    }

    #[test]
    fn the_index_is_merged_with_what_is_added_and_never_much_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let connection = store(&folder);
        let (mut most, mut before, known) = (0, 0, Known::default());
        for number in 1..=VERSIONS {
            let transaction = connection.unchecked_transaction().unwrap();
            add(&transaction, &[version(number)], &known).unwrap();
            transaction.commit().unwrap();
            let pages = LOG_PAGES.get();
            // The first ones make what every store has.
            if number > 100 {
                most = most.max(pages - before);
            }
            before = pages;
        }
        // Whoever tells the index writes two pages of it, and merges at most eight times as many: each is written, and freed where it was.
        assert!(most <= 72, "{most} pages in one commit");
        let segments = connection.query_row("SELECT count(DISTINCT segid) FROM search_idx", [], |r| r.get::<_, i64>(0));
        // Fewer than eight of each size, of which there are four.
        assert!(segments.as_ref().is_ok_and(|count| *count < 32), "{segments:?}");
        complete(&connection).unwrap();
        let found: BTreeSet<i64> = {
            let sql = "SELECT rowid FROM search WHERE search MATCH ?1";
            let mut find = connection.prepare(sql).unwrap();
            find.query_map(["u0"], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let has = |number: &i64| version(*number).indexable.words.iter().any(|sound| sound == "u0");
        assert_eq!(found, (1..=VERSIONS).filter(has).collect(), "and all of it is found");
    }
}
