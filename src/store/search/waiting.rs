//! Versions that the index of words does not have yet.
//!
//! FTS5 writes a segment for whatever a transaction adds to it, and some pages more: of one version that is nearly all that
//! it costs. So the words of a new version are a row, and the index is told of some dozens of them together. A search looks
//! through those rows by itself.

use rusqlite::{Connection, Result, Row, params};

use super::{expression::Expression, index::Addition};

/// What the columns of the index have of a version: sounds, with a space between two.
pub type Columns = [String; 3];

/// The versions up to one that wait, newest first.
///
/// They are newer than all that the index has. Read before that is asked, of what is older alone: what it is told of meanwhile is
/// found here, and there not once more.
#[derive(Debug)]
pub struct Waiting {
    versions: Vec<(i64, Columns)>,
    /// The last version that the index may be asked for.
    pub indexed: i64,
}

impl Waiting {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn read(connection: &Connection, newest: i64) -> Result<Self> {
        let sql = "SELECT version, names, stated, summaries FROM unindexed WHERE version <= ?1 ORDER BY version DESC";
        let versions: Vec<(i64, Columns)> =
            connection.prepare_cached(sql)?.query_map([newest], columns)?.collect::<Result<_>>()?;
        let indexed = versions.last().map_or(newest, |(oldest, _)| oldest - 1);
        Ok(Self { versions, indexed })
    }

    /// Those that match, newest first.
    pub fn matching<'a>(&'a self, expression: &'a Expression<'_>) -> impl Iterator<Item = i64> + 'a {
        self.versions.iter().filter(|(_, columns)| expression.matches(columns)).map(|(version, _)| *version)
    }
}

fn columns(row: &Row<'_>) -> Result<(i64, Columns)> {
    Ok((row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?]))
}

/// What is wrong with those that wait, if anything is.
///
/// # Errors
///
/// If SQLite refuses.
pub fn fault(connection: &Connection) -> Result<Option<String>> {
    let sql = "SELECT min(version) FROM unindexed WHERE version <= (SELECT max(id) FROM search_docsize)
               OR version NOT IN (SELECT id FROM versions)";
    let early: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(early.map(|version| format!("those of version {version} wait for what the index has already, or is not there")))
}

/// How many wait.
///
/// # Errors
///
/// If SQLite refuses.
pub fn count(connection: &Connection) -> Result<usize> {
    connection.prepare_cached("SELECT count(*) FROM unindexed")?.query_row([], |row| row.get(0))
}

/// Lets versions wait.
///
/// # Errors
///
/// If SQLite refuses.
pub fn keep(connection: &Connection, additions: &[Addition]) -> Result<()> {
    let sql = "INSERT INTO unindexed (version, names, stated, summaries) VALUES (?1, ?2, ?3, ?4)";
    let mut insert = connection.prepare_cached(sql)?;
    for Addition { version, indexable, .. } in additions {
        let [names, stated, summaries] = indexable.words.columns();
        insert.execute(params![version, names, stated, summaries])?;
    }
    Ok(())
}

/// Takes all that wait away, oldest first.
///
/// # Errors
///
/// If SQLite refuses.
pub fn take(connection: &Connection) -> Result<Vec<(i64, Columns)>> {
    let sql = "SELECT version, names, stated, summaries FROM unindexed ORDER BY version";
    let taken = connection.prepare_cached(sql)?.query_map([], columns)?.collect::<Result<_>>()?;
    connection.prepare_cached("DELETE FROM unindexed")?.execute([])?;
    Ok(taken)
}

/// Takes one away; whether it waited.
///
/// # Errors
///
/// If SQLite refuses.
pub fn forget(connection: &Connection, version: i64) -> Result<bool> {
    connection.prepare_cached("DELETE FROM unindexed WHERE version = ?1")?.execute([version]).map(|rows| rows > 0)
}
