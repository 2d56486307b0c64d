//! What opening the store in a folder would meet, found out without it: nothing is made, brought up to this version, or
//! held.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::{FILE, Head, Home, LOCK, StoreError, find_head, home, schema, snapshot, usage, verify_head};

/// What a store's file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// The version of its schema; 0 if its making was interrupted.
    pub schema: usize,
    /// The last position of the log that it has; 0 is none.
    pub position: u64,
    /// The bytes of its pages that are in use.
    pub used_bytes: u64,
    /// Where it stands in its log; `None` of an older version, or if its making was interrupted.
    pub head: Option<Head>,
    home: Option<Home>,
}

impl Peek {
    /// Whether it is brought up to this version when it is opened, and a copy is kept beside it.
    #[must_use]
    pub fn is_older(&self) -> bool {
        (1..schema::NEWEST).contains(&self.schema)
    }

    /// Checks that it may be served as this.
    ///
    /// # Errors
    ///
    /// [`StoreError::Elsewhere`] if it is another's.
    pub fn may_be(&self, home: &Home) -> Result<(), StoreError> {
        self.home.as_ref().map_or(Ok(()), |found| home::fits(found, home))
    }
}

/// Looks into the store in a folder; `held` says whether a process has it open. `None` if that cannot be done without
/// making a file: a write-ahead log was left there without its index.
///
/// # Errors
///
/// If it is newer than this version, is not what its log says, or cannot be read.
pub fn look(folder: &Path, held: bool) -> Result<Option<Peek>, StoreError> {
    let (_, log) = snapshot::sizes(folder);
    let has_index = folder.join(format!("{FILE}-shm")).exists();
    let connection = match held || log > 0 {
        // Whoever reads beside a log makes its index if there is none.
        true if !has_index => return Ok(None),
        true => snapshot::open_beside(folder)?,
        false => open_still(folder)?,
    };
    // All of it as of one commit.
    let connection = connection.unchecked_transaction()?;
    let schema = schema::version(&connection)?;
    let home = if connection.table_exists(None, "home")? { home::of(&connection)? } else { None };
    let head = if schema == schema::NEWEST { find_head(&connection)? } else { None };
    if let Some(head) = &head {
        verify_head(&connection, head)?;
    }
    let (position, used_bytes) = (snapshot::position(&connection)?, usage::used(&connection)?);
    Ok(Some(Peek { schema, position, used_bytes, head, home }))
}

/// Whether another process holds a folder. It is held here for a moment at most, and not made.
///
/// # Errors
///
/// If its lock cannot be looked at.
pub fn is_held(folder: &Path) -> Result<bool, StoreError> {
    let path = folder.join(LOCK);
    let lock = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(StoreError::Io { path, source }),
        Ok(lock) => lock,
    };
    // Shared, so that two who look do not take each other for a server.
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(StoreError::Io { path, source }),
    }
}

/// The bytes that the disk of a folder has left for whoever runs this.
///
/// # Errors
///
/// If the system does not say.
pub fn room(folder: &Path) -> Result<u64, StoreError> {
    let disk = rustix::fs::statvfs(folder)
        .map_err(|error| StoreError::Io { path: folder.to_owned(), source: io::Error::from(error) })?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// A folder, or the nearest above it that is there.
#[must_use]
pub fn nearest(folder: &Path) -> PathBuf {
    let here = |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
    folder.ancestors().map(here).find(|path| path.exists()).unwrap_or_else(|| PathBuf::from("/"))
}

/// Opens a file that nobody writes to. SQLite makes files beside one in WAL mode even for a reader, unless it is told
/// that nothing changes.
fn open_still(folder: &Path) -> Result<Connection, StoreError> {
    let path = folder.join(FILE);
    let whole = fs::canonicalize(&path).map_err(|source| StoreError::Io { path, source })?;
    let mut uri = "file:".to_owned();
    for &byte in whole.as_os_str().as_encoded_bytes() {
        match byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte) {
            true => uri.push(char::from(byte)),
            false => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(uri, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{self, Options};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn whoever_looks_makes_nothing_and_holds_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a folder, 100% odd?#");
        assert!(!is_held(&folder).unwrap());
        drop(store::open(&folder, &Options::default()).unwrap());
        let before = names(&folder);
        let peek = look(&folder, is_held(&folder).unwrap()).unwrap().unwrap();
        assert_eq!((peek.schema, peek.position, peek.is_older()), (schema::NEWEST, 0, false));
        peek.may_be(&Home::Own).unwrap();
        let error = peek.may_be(&Home::served(Some("S"))).unwrap_err();
        assert!(matches!(error, StoreError::Elsewhere(_)), "{error}");
        assert_eq!(names(&folder), before);

        let open = store::open(&folder, &Options::default()).expect("nobody holds it");
        assert!(is_held(&folder).unwrap());
        assert_eq!(look(&folder, true).unwrap().unwrap(), peek);
        drop(open);
    }

    #[test]
    fn a_newer_file_is_refused_by_whoever_looks() {
        let folder = tempfile::tempdir().unwrap();
        drop(store::open(folder.path(), &Options::default()).unwrap());
        let connection = Connection::open(folder.path().join(FILE)).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        assert!(matches!(look(folder.path(), false), Err(StoreError::Newer { found: 99, .. })));
    }
}
