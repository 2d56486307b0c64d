//! Stores that were put aside: each lies whole in a folder of its own, beside the one that took its place. Nobody opens them,
//! and nobody deletes them but an operator.

use std::{
    fs::{self, File},
    io::{Error, ErrorKind},
    path::{Path, PathBuf},
};

use super::{FILE, StoreError, packed::unusable};
use crate::limits::STORES_ASIDE;

/// How their folders are called, before the revision at which they stand.
const BEHIND: &str = "attache-behind-";

/// Puts the file of a store that stands at a revision aside, which nobody has open and whose write-ahead log is gone; where
/// it is now. One that has nothing is dropped; `None`. Its folder is without a store then.
///
/// # Errors
///
/// If somebody has it open, or it cannot be moved; it is where it was then.
pub(super) fn put(folder: &Path, revision: u64) -> Result<Option<PathBuf>, StoreError> {
    let from = folder.join(FILE);
    // Whoever closes a store last takes these away: they are somebody's who reads it, and would be taken for the next one's.
    if ["-wal", "-shm"].iter().any(|rest| folder.join(format!("{FILE}{rest}")).exists()) {
        return Err(StoreError::InUse(folder.to_owned()));
    }
    if revision == 0 {
        return fs::remove_file(&from).map(|()| None).map_err(unusable(&from));
    }
    let aside = place(folder, revision)?;
    fs::create_dir_all(&aside).map_err(unusable(&aside))?;
    let moved = fs::rename(&from, aside.join(FILE)).and_then(|()| File::open(&aside)?.sync_all());
    moved.and_then(|()| File::open(folder)?.sync_all()).map_err(unusable(&aside))?;
    Ok(Some(aside))
}

/// A folder that has none yet. One that an attempt left empty is taken.
fn place(folder: &Path, revision: u64) -> Result<PathBuf, StoreError> {
    let named = |number: u32| match number {
        1 => folder.join(format!("{BEHIND}{revision}")),
        more => folder.join(format!("{BEHIND}{revision}-{more}")),
    };
    let full = || {
        let why = format!("{STORES_ASIDE} stores were put aside at revision {revision}: move them away");
        unusable(folder)(Error::new(ErrorKind::AlreadyExists, why))
    };
    (1..=STORES_ASIDE).map(named).find(|aside| !aside.join(FILE).exists()).ok_or_else(full)
}

/// The folders of those that were put aside in a folder, by name.
#[must_use]
pub fn there(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(BEHIND)) && path.join(FILE).exists()
    };
    let mut found: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_aside).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_put_aside_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = |text: &str| fs::write(folder.path().join(FILE), text).unwrap();
        let mut kept = Vec::new();
        for number in 1..=STORES_ASIDE {
            store(&number.to_string());
            kept.extend(put(folder.path(), 38).unwrap());
        }
        store("one more");
        let refused = put(folder.path(), 38).unwrap_err();
        assert!(refused.to_string().contains("move them away"), "{refused}");
        for (number, aside) in (1..).zip(&kept) {
            assert_eq!(fs::read_to_string(aside.join(FILE)).unwrap(), number.to_string());
        }
        kept.sort();
        assert_eq!(there(folder.path()), kept);
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "one more", "it is where it was");
    }

    #[test]
    fn a_store_that_has_nothing_is_dropped_however_often() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..=STORES_ASIDE {
            fs::write(folder.path().join(FILE), "nothing").unwrap();
            assert_eq!(put(folder.path(), 0).unwrap(), None);
            assert!(there(folder.path()).is_empty() && !folder.path().join(FILE).exists());
        }
    }

    #[test]
    fn a_store_that_somebody_reads_is_not_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "a store").unwrap();
        fs::write(folder.path().join(format!("{FILE}-shm")), "").unwrap();
        assert!(matches!(put(folder.path(), 38), Err(StoreError::InUse(_))));
        assert!(there(folder.path()).is_empty() && folder.path().join(FILE).exists());
    }
}
