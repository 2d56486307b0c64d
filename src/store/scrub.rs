//! Writing over the pages of the file that are free: what was moved or dropped long ago may still stand on them.
//!
//! Only who has a page can write over it, and one that is let go is the next to be taken. So a table takes the free
//! pages, some at a time, until none is left, and only then gives them back, some at a time. What is under way is in the
//! table, and goes on after a crash.

use rusqlite::{Connection, Result, Transaction, TransactionBehavior};

use super::{failing, from_sqlite, is_full, written_over};
use crate::domain::error::Error;

/// Notes that all pages which are free now are to be written over.
///
/// # Errors
///
/// If SQLite refuses.
pub fn begin(connection: &Connection) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO scrub (id, zeros) VALUES (0, zeroblob(?1))";
    connection.execute(sql, [zeros(connection, 0)?]).map(drop)
}

/// Writes over some of the free pages, at most so many, or gives some back, in one transaction; `false` if there was
/// nothing to do.
///
/// # Errors
///
/// If SQLite refuses; nothing was written over then.
pub fn some(connection: &Connection, pages: u64) -> Result<bool> {
    failing("store.scrub")?;
    if !is_begun(connection)? {
        return drop_newest(connection);
    }
    // (Else what is taken and given back in one transaction would not be written at all.)
    let taken = written_over(connection, || take(connection, pages))?;
    if taken.as_ref().is_err_and(is_full) {
        // Whoever files needs the room; it is taken again later.
        drop_newest(connection)?;
    }
    taken.map(|()| true)
}

/// Bytes of the free pages that are still to be written over.
///
/// # Errors
///
/// If the store cannot be read.
pub fn left(connection: &Connection) -> Result<u64, Error> {
    let bytes = || -> Result<u64> {
        let pages = if is_begun(connection)? { free(connection)? } else { 0 };
        Ok(pages * number(connection, "page_size")?)
    };
    bytes().map_err(|e| from_sqlite(&e))
}

/// Whether there are pages that are to be taken yet.
fn is_begun(connection: &Connection) -> Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM scrub WHERE id = 0)", [], |row| row.get(0))
}

fn take(connection: &Connection, pages: u64) -> Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let left = free(&transaction)?;
    if left > pages {
        transaction.execute("INSERT INTO scrub (zeros) VALUES (zeroblob(?1))", [zeros(&transaction, pages)?])?;
    } else {
        // By a row that has its place: with no page left, a file that may not grow has none for another. They go back at once.
        let sql = "UPDATE scrub SET zeros = zeroblob(?1) WHERE id = 0";
        transaction.execute(sql, [zeros(&transaction, left)?])?;
        transaction.execute("DELETE FROM scrub WHERE id = 0", [])?;
    }
    transaction.commit()
}

/// The bytes of a row that takes so many pages: one names the next in four bytes, and a quarter of one stays with the row
/// itself, so that each is filled to its end.
fn zeros(connection: &Connection, pages: u64) -> Result<u64> {
    let page_bytes = number(connection, "page_size")?;
    Ok(pages * (page_bytes - 4) + page_bytes / 4)
}

/// Lets go of what was taken last; whether there was any.
fn drop_newest(connection: &Connection) -> Result<bool> {
    let sql = "DELETE FROM scrub WHERE id = (SELECT max(id) FROM scrub) AND id > 0";
    Ok(connection.execute(sql, [])? > 0)
}

/// How many pages are free.
fn free(connection: &Connection) -> Result<u64> {
    number(connection, "freelist_count")
}

fn number(connection: &Connection, pragma: &str) -> Result<u64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}
