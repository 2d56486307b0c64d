//! Why the store cannot be opened or used, and what the catalogue says of that.

use std::path::PathBuf;

use crate::domain::error::{Error, Reason};

/// Why the store cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the folder.
    #[error("the store in {0} is in use by another process")]
    InUse(PathBuf),
    /// It is part of another log than it was to be opened for.
    #[error("the store cannot be served like that: {0}")]
    Elsewhere(String),
    /// The file was written by a later version.
    #[error("the store has schema {found}, this version knows up to {known}: use a newer version")]
    Newer {
        /// In the file.
        found: usize,
        /// The newest this version knows.
        known: usize,
    },
    /// A migration failed; the file is as it was.
    #[error("the store could not be migrated: {0}")]
    Migration(String),
    /// There was no room for a migration; the file is as it was.
    #[error("there is no room for the migration of the store: the disk or its allowance is full; nothing happened")]
    NoRoomToMigrate,
    /// A new one has no room for its tables in its allowance.
    #[error("the store may have {allowed} bytes ([limits] store_bytes), and takes {empty} before anything is filed")]
    AllowedTooLittle {
        /// The allowance.
        allowed: u64,
        /// What it takes at least.
        empty: u64,
    },
    /// The file is not what the log says.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The folder or lock file.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its file may not be written.
    #[error("{0} cannot be written: give it, and its folder, to the user that serves it")]
    ReadOnly(PathBuf),
    /// A restore was to make the store that is not there.
    #[error("{0} is what a restore left that did not end, and there is no store: restore again, or delete it first")]
    Unrestored(PathBuf),
    /// Nobody waits for it any more.
    #[error("it was given up")]
    GivenUp,
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The pool of read connections.
    #[error(transparent)]
    Pool(#[from] r2d2::Error),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Sqlite(sqlite) => from_sqlite(&sqlite),
            StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Self::new(Reason::StorageFull, "the disk is full; nothing happened")
            }
            full @ StoreError::NoRoomToMigrate => Self::new(Reason::StorageFull, full.to_string()),
            damaged @ StoreError::Damaged(_) => Self::new(Reason::EntryCorrupt, damaged.to_string()),
            told_wrong @ (StoreError::Unrestored(_) | StoreError::AllowedTooLittle { .. }) => {
                Self::new(Reason::FieldInvalid, told_wrong.to_string())
            }
            other => Self::internal(other),
        }
    }
}

/// What the catalogue says of an error of SQLite.
#[must_use]
pub fn from_sqlite(error: &rusqlite::Error) -> Error {
    if is_full(error) {
        return Error::new(Reason::StorageFull, "the disk or the store's allowance is full; nothing happened");
    }
    Error::internal(format!("store: {error}"))
}

/// Whether SQLite ran out of room, in which case nothing of the transaction happened.
#[must_use]
pub fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}
