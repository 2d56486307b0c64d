//! Where things lie: all under the target folder, so that every store is on one disk.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Outcome;

/// The binary under measurement.
pub const ATTACHE: &str = env!("CARGO_BIN_EXE_attache");

const TEMPORARY: &str = env!("CARGO_TARGET_TMPDIR");

/// The project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of the target folder that stays.
pub fn kept(name: &str) -> PathBuf {
    Path::new(TEMPORARY).with_file_name(name)
}

/// A folder that goes with its handle.
pub fn temporary() -> Outcome<TempDir> {
    std::fs::create_dir_all(TEMPORARY)?;
    Ok(tempfile::Builder::new().prefix("compare-").tempdir_in(TEMPORARY)?)
}
