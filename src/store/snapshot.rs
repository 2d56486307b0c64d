//! The file as a whole: copied while it is written to, and looked at before it is opened.

use std::path::Path;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _,
    backup::{Backup, StepResult},
    ffi,
};
use tokio_util::sync::CancellationToken;

use super::{FILE, Head, StoreError, failing, find_head, verify_head};
use crate::limits::{BUSY_TIMEOUT, COPY_STEP_PAGES};

/// Copies the store in a folder into another, as it stands at one commit, whoever has it open.
///
/// # Errors
///
/// If either file cannot be used, or the copy is given up.
pub fn copy(folder: &Path, into: &Path, given_up: &CancellationToken) -> Result<(), StoreError> {
    copy_until(folder, into, || given_up.is_cancelled())
}

fn copy_until(folder: &Path, into: &Path, mut is_given_up: impl FnMut() -> bool) -> Result<(), StoreError> {
    let from = open_beside(folder)?;
    // One read transaction for all steps: the writer goes on, and what it writes meanwhile is not in the copy. Without it
    // the copy would begin anew after each commit.
    let reading = from.unchecked_transaction()?;
    reading.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mut copy = Connection::open(into.join(FILE))?;
    // It is verified, and gone with a crash.
    copy.pragma_update(None, "synchronous", "OFF")?;
    copy.pragma_update(None, "journal_mode", "OFF")?;
    let backup = Backup::new(&from, &mut copy)?;
    loop {
        failing("store.copy")?;
        match backup.step(COPY_STEP_PAGES)? {
            StepResult::Done => return Ok(()),
            StepResult::More if is_given_up() => return Err(StoreError::GivenUp),
            StepResult::More => {}
            // Nobody else has the copy open, and a reader of the store waits for nobody.
            _ => return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None).into()),
        }
    }
}

/// Where the store in a folder stands, its newest link checked.
///
/// # Errors
///
/// If the file cannot be read, or is not what its log says.
pub fn stands_at(folder: &Path) -> Result<Head, StoreError> {
    let connection = open_beside(folder)?;
    let head =
        find_head(&connection)?.ok_or_else(|| StoreError::Damaged("it does not say where it stands".to_owned()))?;
    verify_head(&connection, &head)?;
    Ok(head)
}

/// Whether there is a store in a folder that has any of a log.
///
/// # Errors
///
/// If its file cannot be read.
pub fn has_log(folder: &Path) -> Result<bool, StoreError> {
    Ok(log_position(folder)? > 0)
}

/// The last position of the log that the store in a folder has, of whatever version it is; 0 is none, or no store.
///
/// # Errors
///
/// If its file cannot be read.
pub fn log_position(folder: &Path) -> Result<u64, StoreError> {
    if is_there(folder) { position(&open_beside(folder)?) } else { Ok(0) }
}

/// The last position of the log that a file has, of whatever version it is; 0 is none.
pub(super) fn position(connection: &Connection) -> Result<u64, StoreError> {
    // One whose making was interrupted has no tables yet; one of an earlier version has fewer columns.
    if !connection.table_exists(None, "log_state")? {
        return Ok(0);
    }
    let position: Option<u64> = connection.query_row("SELECT position FROM log_state", [], |r| r.get(0)).optional()?;
    Ok(position.unwrap_or(0))
}

/// The bytes of the store's file in a folder, and of its write-ahead log; 0 of what is not there.
#[must_use]
pub fn sizes(folder: &Path) -> (u64, u64) {
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |found| found.len());
    (size(FILE), size(&format!("{FILE}-wal")))
}

/// Whether there is a store in a folder.
#[must_use]
pub fn is_there(folder: &Path) -> bool {
    folder.join(FILE).exists()
}

/// A connection that changes nothing.
pub(super) fn open_beside(folder: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(FILE), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of several steps, with one row, and its writer.
    fn file(folder: &Path) -> Connection {
        let writer = Connection::open(folder.join(FILE)).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.execute_batch("CREATE TABLE t (body); INSERT INTO t VALUES (zeroblob(4000000))").unwrap();
        writer
    }

    fn rows(folder: &Path) -> u32 {
        open_beside(folder).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_is_written_between_the_steps_of_a_copy_is_not_in_it() {
        let (folder, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let writer = file(folder.path());
        let mut steps = 0;
        let write = || {
            writer.execute("INSERT INTO t VALUES ('late')", []).unwrap();
            steps += 1;
            // (A copy that begins anew would never end.)
            steps > 100
        };
        copy_until(folder.path(), into.path(), write).unwrap();
        assert!(steps > 1, "{steps}");
        assert_eq!((rows(into.path()), rows(folder.path())), (1, 1 + steps));
    }

    #[test]
    fn a_copy_that_is_given_up_ends_after_the_step_that_is_under_way() {
        let (folder, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let _writer = file(folder.path());
        let mut steps = 0;
        let ended = copy_until(folder.path(), into.path(), || {
            steps += 1;
            steps == 2
        });
        assert!(matches!(ended, Err(StoreError::GivenUp)), "{ended:?}");
        assert_eq!(steps, 2);
    }
}
