//! Dropping what is older than the log's floor.
//!
//! A TRIM entry moves the floor, and from then on nobody reads below it. The rows go later, some at a time, on each replica
//! when it likes: they are not missed. What ended at or before the floor is of no use to any position that can be read; of
//! the log the entry at the floor stays, without its payload, because positions are measured from it.

use rusqlite::{Connection, Result, Transaction, TransactionBehavior, params};

use super::{OPEN, failing, pairs, postings, search, written_over};
use crate::{domain::facets::Facets, pb::v1::RecordKind};

/// Tables of rows that ended, beside the versions of records.
const ENDED: [&str; 4] = ["reports", "sources", "rulings", "merges"];

/// Drops some of what is older than a floor; whether there may be more.
///
/// # Errors
///
/// If SQLite refuses; nothing was dropped then.
pub fn sweep(connection: &Connection, floor: u64, limit: usize) -> Result<bool> {
    // What goes may be of a report that was erased since: nothing of it stays in pages that are free.
    written_over(connection, || drop_some(connection, floor, limit))?
}

fn drop_some(connection: &Connection, floor: u64, limit: usize) -> Result<bool> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let mut dropped = vec![versions(&transaction, floor, limit)?];
    for table in ENDED {
        let sql = format!(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE to_revision <= ?1 AND to_revision < {OPEN}
                                              ORDER BY to_revision LIMIT ?2)"
        );
        dropped.push(transaction.prepare_cached(&sql)?.execute(params![floor, limit])?);
    }
    let sql = "DELETE FROM entries WHERE revision IN
               (SELECT revision FROM entries WHERE revision < ?1 ORDER BY revision LIMIT ?2)";
    dropped.push(transaction.prepare_cached(sql)?.execute(params![floor, limit])?);
    let sql = "UPDATE entries SET payload = x'' WHERE revision = ?1 AND payload <> x''";
    transaction.prepare_cached(sql)?.execute([floor])?;
    failing("store.sweep")?;
    transaction.commit()?;
    Ok(dropped.into_iter().any(|dropped| dropped >= limit))
}

/// Versions of records, with all that the indexes have of them.
fn versions(transaction: &Transaction<'_>, floor: u64, limit: usize) -> Result<usize> {
    let sql = format!(
        "SELECT id, kind, facets, body IS NOT NULL FROM versions WHERE to_revision <= ?1 AND to_revision < {OPEN}
         ORDER BY to_revision LIMIT ?2"
    );
    let mut ended = transaction.prepare_cached(&sql)?;
    let ended: Vec<Ended> = ended.query_map(params![floor, limit], Ended::of)?.collect::<Result<_>>()?;
    for version in &ended {
        version.drop(transaction)?;
    }
    let indexed = ended.iter().filter(|version| version.is_indexed).count();
    if indexed > 0 {
        search::merge(transaction, indexed)?;
    }
    Ok(ended.len())
}

/// A version as the indexes have it.
pub(super) struct Ended {
    pub id: i64,
    pub kind: i32,
    pub facets: Facets,
    /// Whether the index of words has it, or will.
    pub is_indexed: bool,
}

impl Ended {
    /// Of a row `id, kind, facets, body IS NOT NULL`.
    pub fn of(row: &rusqlite::Row<'_>) -> Result<Self> {
        let facets = Facets::from_stored(row.get_ref(2)?.as_blob()?)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, Box::new(e)))?;
        Ok(Self { id: row.get(0)?, kind: row.get(1)?, facets, is_indexed: row.get(3)? })
    }

    fn drop(&self, transaction: &Transaction<'_>) -> Result<()> {
        self.unindex(transaction)?;
        transaction.prepare_cached("DELETE FROM versions WHERE id = ?1")?.execute([self.id]).map(drop)
    }

    /// Takes it out of the indexes: nothing finds it any more.
    pub fn unindex(&self, connection: &Connection) -> Result<()> {
        // Older versions of this program kept the record's own name too.
        postings::remove(connection, self.id, self.facets.terms())?;
        if self.kind == RecordKind::Visit as i32 {
            pairs::remove(connection, self.id, &self.facets)?;
        }
        if self.is_indexed {
            search::remove(connection, self.id)?;
        }
        Ok(())
    }
}
