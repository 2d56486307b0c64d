//! A store that no server has open: read and changed by the commands that move logs, and by one that begins anew.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    FILE, Head, Home, Options, StoreError, apply, aside, connect_writer, home, lock,
    log::{self, StoredEntry},
    packed::Work,
    read::{self, CursorRow},
    read_head, schema, verify, verify_head,
};
use crate::domain::{error::Error, token::Hash};

/// See the module. The folder is held until it is dropped.
pub struct Alone {
    connection: Connection,
    head: Head,
    _lock: File,
}

impl Alone {
    /// Opens the store in a folder, brought up to this version.
    ///
    /// # Errors
    ///
    /// If a process holds it, or it is newer than this version, or is not what its log says.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let mut connection = connect_writer(&path, &Options::default())?;
        schema::migrate(&mut connection, &path)?;
        let head = read_head(&connection)?;
        verify_head(&connection, &head)?;
        Ok(Self { connection, head, _lock: lock })
    }

    /// Where it stands.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Verifies all of it.
    ///
    /// # Errors
    ///
    /// As of [`verify::connection`].
    pub fn verify(&self) -> Result<(), StoreError> {
        verify::connection(&self.connection).map(drop)
    }

    /// Whose log it is the beginning of; `None` if it was never opened since it can say.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn home(&self) -> Result<Option<Home>, StoreError> {
        home::of(&self.connection)
    }

    /// Has it say where it stands, and whose log it is.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn say(&mut self, head: Head, home: &Home) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        apply::write_head(&transaction, &head)?;
        home::set(&transaction, home)?;
        transaction.commit()?;
        self.head = head;
        Ok(())
    }

    /// Entries after a revision, as [`log::entries`].
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn entries(&self, after: u64, limit: usize, max_bytes: usize) -> Result<Vec<StoredEntry>, Error> {
        log::entries(&self.connection, after, self.head.revision, limit, max_bytes)
    }

    /// The chain's hash after a revision.
    ///
    /// # Errors
    ///
    /// If there is no such entry.
    pub fn hash_of(&self, revision: u64) -> Result<Hash, Error> {
        if revision == self.head.floor { Ok(self.head.floor_hash) } else { log::hash_of(&self.connection, revision) }
    }

    /// The last revision recorded at or before a time, as [`log::revision_at`].
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn revision_at(&self, time_us: i64) -> Result<Option<u64>, Error> {
        log::revision_at(&self.connection, time_us)
    }

    /// Drops every cursor.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn forget_cursors(&self) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM cursors", []).map(drop).map_err(StoreError::from)
    }

    /// Every cursor, with its principal and name.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn cursors(&self) -> Result<Vec<(String, String, CursorRow)>, Error> {
        read::cursors(&self.connection)
    }

    /// Puts it aside, whole, and the store that was unpacked in its place, which is that in `folder`; where it is now, `None`
    /// if it had nothing.
    ///
    /// # Errors
    ///
    /// If a process reads it, or either cannot be moved: then it is where it was, or is aside, or gone if it had nothing, and
    /// nothing is in its place.
    pub fn give_way(self, folder: &Path, to: &Work) -> Result<Option<PathBuf>, StoreError> {
        let Self { connection, head, _lock: lock } = self;
        // What its write-ahead log has belongs to it.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)?;
        let aside = aside::put(folder, head.revision)?;
        to.settle(folder)?;
        drop(lock);
        Ok(aside)
    }

    /// Keeps cursors.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn keep(&self, cursors: &[(String, String, CursorRow)]) -> Result<(), StoreError> {
        for (principal, name, row) in cursors {
            apply::cursor(&self.connection, principal, name, row)?;
        }
        Ok(())
    }
}
