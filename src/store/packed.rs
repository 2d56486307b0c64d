//! A store's file packed into one: copied and verified beside whoever has it open, unpacked where there is none. It ends with a
//! seal, without which nothing is unpacked.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::{FILE, Head, StoreError, lock, seal, snapshot, verify};
use crate::{
    failpoints::{self, Fault},
    limits::{COPY_LOOK_STEPS, SNAPSHOT_COMPRESSION},
};

/// Where a server makes backups.
pub const BACKUP: &str = "backup";
/// Where snapshots are made, and unpacked.
pub const SNAPSHOT: &str = "snapshot";
/// Where a server tries the snapshot that it would begin anew with: another may be made at the same time.
pub const TRIAL: &str = "snapshot-trial";
/// Where a backup is unpacked.
pub const RESTORE: &str = "restore";
/// Where a store is made again from its log.
pub const AGAIN: &str = "restore-again";
/// Where a store is copied and made again to be verified.
pub const VERIFY: &str = "verify";
/// The compressed file in its folder.
const PACKED: &str = "attache.db.zst";

/// Checks that a packed store lies in a file, before any of it is read: it is read twice, which nothing else can be.
///
/// # Errors
///
/// If it is no file, or is not there.
pub fn check_is_file(packed: &Path) -> Result<(), StoreError> {
    let kind = fs::metadata(packed).map_err(unusable(packed))?.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let what = match (kind.is_fifo(), kind.is_dir()) {
        (true, _) => "a pipe",
        (_, true) => "a folder",
        _ => "a device or a socket",
    };
    let why = format!("this is {what} and no file: what is restored is read twice, so write it to a file first");
    Err(unusable(packed)(io::Error::new(io::ErrorKind::InvalidInput, why)))
}

/// A folder in that of a store, in which a copy is made; it goes when it is done with, or at the next beginning.
pub struct Work(PathBuf);

impl Work {
    /// A folder of this name. Two of one name must not be there at the same time.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or what a process that was killed left there does not go.
    pub fn begin(folder: &Path, name: &str) -> Result<Self, StoreError> {
        let work = folder.join(name);
        remove(&work)?;
        fs::create_dir(&work).map_err(unusable(&work))?;
        Ok(Self(work))
    }

    /// A folder of this name for what goes beside a server; no other process has it until the file is dropped.
    ///
    /// # Errors
    ///
    /// If another process has it, or it cannot be made.
    pub fn hold(folder: &Path, name: &str) -> Result<(Self, File), StoreError> {
        let work = folder.join(name);
        let held = lock(&work)?;
        Ok((Self(work), held))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Copies the store in a folder into this one, and verifies the copy.
    ///
    /// # Errors
    ///
    /// If the copy is not sound, or cannot be made, or is given up.
    pub fn copy(&self, folder: &Path, given_up: &CancellationToken) -> Result<Head, StoreError> {
        snapshot::copy(folder, &self.0, given_up)?;
        if given_up.is_cancelled() {
            return Err(StoreError::GivenUp);
        }
        let copy = snapshot::open_beside(&self.0)?;
        let is_given_up = given_up.clone();
        copy.progress_handler(COPY_LOOK_STEPS, Some(move || is_given_up.is_cancelled()))?;
        Ok(verify::connection(&copy)?.head)
    }

    /// Packs the store in it; the packed file lies beside.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or there is no room, or it is given up.
    pub fn pack(&self, given_up: &CancellationToken) -> Result<PathBuf, StoreError> {
        let (file, packed) = (self.0.join(FILE), self.packed());
        whole(&file)?;
        let pack = || {
            failing("store.pack")?;
            let from = Wanted { file: File::open(&file)?, given_up };
            let mut sealed = seal::Sealed::begin(File::create(&packed)?);
            zstd::stream::copy_encode(from, &mut sealed, SNAPSHOT_COMPRESSION)?;
            sealed.end()
        };
        pack().map_err(unusable(&packed))?;
        Ok(packed)
    }

    /// Where a packed store lies in it.
    #[must_use]
    pub fn packed(&self) -> PathBuf {
        self.0.join(PACKED)
    }

    /// Unpacks a store into it, once all of the packed file was found to be what its seal says.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not whole, or there is no room.
    pub fn unpack(&self, packed: &Path) -> Result<(), StoreError> {
        let to = self.0.join(FILE);
        let unpack = || {
            failing("store.unpack")?;
            let from = seal::checked(File::open(packed)?)?;
            let file = File::create(&to)?;
            zstd::stream::copy_decode(from, &file)?;
            file.sync_all()
        };
        unpack().map_err(|error| match error.raw_os_error() {
            Some(_) => unusable(packed)(error),
            // The system has nothing to complain about: what was read makes no sense, or ends too soon.
            None => {
                let why = format!("damaged or incomplete: {error}");
                unusable(packed)(io::Error::new(io::ErrorKind::InvalidData, why))
            }
        })
    }

    /// Moves the store in it to where it is opened from: it is there as a whole, or not at all.
    ///
    /// # Errors
    ///
    /// If it cannot be moved.
    pub fn settle(&self, folder: &Path) -> Result<(), StoreError> {
        let (from, to) = (self.0.join(FILE), folder.join(FILE));
        // What this one has there yet would be left behind; what another left there would be taken for this one's.
        whole(&from)?;
        whole(&to)?;
        let settle = || {
            File::open(&from)?.sync_all()?;
            failing("store.settle")?;
            fs::rename(&from, &to)?;
            File::open(folder)?.sync_all()
        };
        settle().map_err(unusable(&to))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "what a copy left behind stays until the next one");
        }
    }
}

/// A file that is read for as long as somebody wants it.
struct Wanted<'a> {
    file: File,
    given_up: &'a CancellationToken,
}

impl Read for Wanted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.given_up.is_cancelled() {
            true => Err(io::Error::other(StoreError::GivenUp)),
            false => self.file.read(into),
        }
    }
}

/// A point at which tests have a file fail as the system would.
fn failing(point: &str) -> io::Result<()> {
    match failpoints::at(point) {
        None => Ok(()),
        Some(Fault::Full) => Err(Errno::NOSPC.into()),
        Some(Fault::Io) => Err(Errno::IO.into()),
    }
}

/// Checks that nothing of a store is in its write-ahead log, or would be taken to be.
fn whole(file: &Path) -> Result<(), StoreError> {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    match fs::metadata(&log) {
        Ok(found) if found.len() > 0 => {
            let why = "is the rest of a store: it belongs to the file that it was beside, and is moved with that";
            Err(unusable(&log)(io::Error::other(why)))
        }
        _ => Ok(()),
    }
}

/// Removes what copies left in a store's folder that were made when the process was killed. Whoever verifies the store
/// now keeps theirs.
///
/// # Errors
///
/// If it does not go; [`StoreError::Unrestored`] before anything does.
pub fn sweep(folder: &Path) -> Result<(), StoreError> {
    if let Some(left) = unrestored(folder) {
        return Err(StoreError::Unrestored(left));
    }
    [BACKUP, SNAPSHOT, TRIAL, RESTORE].iter().try_for_each(|name| remove(&folder.join(name)))?;
    let verified = folder.join(VERIFY);
    if !verified.exists() {
        return Ok(());
    }
    match lock(&verified) {
        Ok(_held) => remove(&verified),
        Err(StoreError::InUse(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a restore left in a folder that ended before there was a store: whoever served that would begin a new log, in place of
/// the one that was to be restored.
#[must_use]
pub fn unrestored(folder: &Path) -> Option<PathBuf> {
    let left = folder.join(RESTORE);
    (!snapshot::is_there(folder) && left.exists()).then_some(left)
}

fn remove(work: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(work) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unusable(work)(e)),
        _ => Ok(()),
    }
}

pub(super) fn unusable(file: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = file.to_owned();
    move |source| StoreError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        drop(crate::store::open(folder.path(), &crate::store::Options::default()).unwrap());
        let work = Work::begin(folder.path(), BACKUP).unwrap();
        let given_up = CancellationToken::new();
        work.copy(folder.path(), &given_up).unwrap();
        given_up.cancel();
        assert!(matches!(work.copy(folder.path(), &given_up), Err(StoreError::GivenUp)));
    }

    #[test]
    fn a_server_that_starts_leaves_whoever_verifies_its_folder_and_clears_away_what_a_killed_one_left() {
        let folder = tempfile::tempdir().unwrap();
        let (work, held) = Work::hold(folder.path(), VERIFY).unwrap();
        assert!(matches!(Work::hold(folder.path(), VERIFY), Err(StoreError::InUse(_))), "one at a time");
        sweep(folder.path()).unwrap();
        assert!(work.path().exists(), "it goes on");
        // As after a kill: the lock has gone, the folder has not.
        let left = work.path().to_owned();
        std::mem::forget(work);
        drop(held);
        sweep(folder.path()).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn what_is_given_up_is_not_packed() {
        let folder = tempfile::tempdir().unwrap();
        let work = Work::begin(folder.path(), BACKUP).unwrap();
        fs::write(work.path().join(FILE), [0_u8; 1000]).unwrap();
        let given_up = CancellationToken::new();
        work.pack(&given_up).unwrap();
        given_up.cancel();
        assert!(work.pack(&given_up).is_err());
        drop(work);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "and leaves nothing");
    }
}
