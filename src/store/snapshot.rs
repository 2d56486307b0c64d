//! The file as a whole: copied while it is written to, and looked at before it is opened.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, backup::Backup};

use super::{FILE, Head, StoreError, find_head, verify_head};
use crate::limits::BUSY_TIMEOUT;

/// Copies the store in a folder into another, as it stands at one commit, whoever has it open.
///
/// # Errors
///
/// If either file cannot be used.
pub fn copy(folder: &Path, into: &Path) -> Result<(), StoreError> {
    let from = open_beside(folder)?;
    let mut copy = Connection::open(into.join(FILE))?;
    // It is verified, and gone with a crash.
    copy.pragma_update(None, "synchronous", "OFF")?;
    copy.pragma_update(None, "journal_mode", "OFF")?;
    // In one step, which is one read transaction: the writer goes on, and what it writes meanwhile is not in the copy.
    Backup::new(&from, &mut copy)?.step(-1)?;
    Ok(())
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
    if !is_there(folder) {
        return Ok(false);
    }
    Ok(position(&open_beside(folder)?)? > 0)
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
