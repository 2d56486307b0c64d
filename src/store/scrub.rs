//! Writing over the pages of the file that are free: what was moved or dropped long ago may still stand on them.
//!
//! Only who has a page can write over it, and one that is let go is the next to be taken. So a table takes the free
//! pages, some at a time, until none is left, and only then gives them back, some at a time. What is under way is in the
//! table, and goes on after a crash.

use std::path::Path;

use rusqlite::{Connection, Result, Transaction, TransactionBehavior};

use super::{StoreError, failing, from_sqlite, is_full, snapshot, usage::number, written_over};
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

/// Lets go of what was taken last if fewer pages than so many are free, or may be added to the file: while it cannot be gone
/// on with, whoever files needs them. Whether there was any.
///
/// # Errors
///
/// If SQLite refuses.
pub fn make_room(connection: &Connection, pages: u64) -> Result<bool> {
    let growth = number(connection, "max_page_count")?.saturating_sub(number(connection, "page_count")?);
    if free(connection)?.saturating_add(growth) >= pages {
        return Ok(false);
    }
    drop_newest(connection)
}

/// Whether free pages of the store in a folder are being written over, whoever has it open.
///
/// # Errors
///
/// If the store cannot be read.
pub fn is_under_way(folder: &Path) -> Result<bool, StoreError> {
    let connection = snapshot::open_beside(folder)?;
    Ok(is_begun(&connection)? && free(&connection)? > 0)
}

/// Bytes of the free pages that are still to be written over; those too for which the last part of what is erased in parts
/// is waited for.
///
/// # Errors
///
/// If the store cannot be read.
pub fn left(connection: &Connection) -> Result<u64, Error> {
    let bytes = || -> Result<u64> {
        let sql = "SELECT EXISTS (SELECT 1 FROM scrub WHERE id = 0) OR EXISTS (SELECT 1 FROM erasing)";
        let is_due: bool = connection.query_row(sql, [], |row| row.get(0))?;
        let pages = if is_due { free(connection)? } else { 0 };
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
    // After each as many as it takes are free still: whoever files needs some, and so does the table itself.
    if left > 2 * pages + 2 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{self, Options, Store, WriteStore};

    const PORTION: u64 = 4;

    /// A store that has some free pages.
    fn roomy(folder: &Path) -> (Store, WriteStore) {
        let (store, write) = store::open(folder, &Options::default()).unwrap();
        let old = "CREATE TABLE old (words BLOB); INSERT INTO old VALUES (zeroblob(64 * 8192)); DROP TABLE old";
        write.connection.execute_batch(old).unwrap();
        (store, write)
    }

    #[test]
    fn a_portion_for_which_there_is_no_room_gives_back_the_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let (_store, write) = roomy(folder.path());
        let connection = &write.connection;
        begin(connection).unwrap();
        // With the second one something else grows, in a file that may not.
        let more = "CREATE TABLE more (words BLOB);
                    CREATE TRIGGER grows AFTER INSERT ON scrub WHEN (SELECT count(*) FROM scrub) > 2
                    BEGIN INSERT INTO more VALUES (zeroblob(1000 * 8192)); END";
        connection.execute_batch(more).unwrap();
        let size = number(connection, "page_count").unwrap();
        connection.pragma_update(None, "max_page_count", size).unwrap();
        assert!(some(connection, PORTION).unwrap(), "there is room for one");
        let before = free(connection).unwrap();
        let refused = some(connection, PORTION).unwrap_err();
        assert!(is_full(&refused), "{refused}");
        assert_eq!(free(connection).unwrap(), before + PORTION, "whoever files has them");
        assert!(left(connection).unwrap() > 0, "they are taken again");
        connection.execute_batch("DROP TRIGGER grows").unwrap();
        while some(connection, PORTION).unwrap() {}
        assert_eq!(left(connection).unwrap(), 0);
    }

    #[test]
    fn free_pages_are_left_to_be_written_over_until_the_last_part_is_erased() {
        let folder = tempfile::tempdir().unwrap();
        let (_store, write) = roomy(folder.path());
        let connection = &write.connection;
        assert_eq!(left(connection).unwrap(), 0, "nothing was erased");
        let part = "INSERT INTO erasing (report, through, until) VALUES ('visits/a/reports/b', 3, 0)";
        connection.execute_batch(part).unwrap();
        let bytes = free(connection).unwrap() * number(connection, "page_size").unwrap();
        assert!(bytes > 0);
        assert_eq!(left(connection).unwrap(), bytes);
        // Nothing begins before, and parts that nobody goes on with keep nobody from making snapshots.
        assert!(!some(connection, PORTION).unwrap() && !is_under_way(folder.path()).unwrap());
        connection.execute_batch("DELETE FROM erasing").unwrap();
        begin(connection).unwrap();
        assert!(is_under_way(folder.path()).unwrap());
        assert_eq!(left(connection).unwrap(), free(connection).unwrap() * number(connection, "page_size").unwrap());
    }
}
