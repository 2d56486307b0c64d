//! Stores with many records, made once and kept for later runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{Outcome, places, servers::attache::Attache};

fn folder(records: u64) -> PathBuf {
    places::kept("bench-stores").join(records.to_string())
}

/// The store with so many records. Read it only: what is written goes to a [`copy`].
pub async fn kept(records: u64) -> Outcome<PathBuf> {
    let (store, complete) = (folder(records).join("store"), folder(records).join("complete"));
    if !complete.exists() {
        eprintln!("  making a store of {records} records in {}", store.display());
        fs::create_dir_all(&store)?;
        let server = Attache::on(&store).await?;
        // What a run before this one began is taken again and changes nothing.
        let rate = server.fill(0, records).await?;
        eprintln!("  made, {rate:.0} records a second");
        drop(server);
        fs::write(complete, "the store beside this file has all its records\n")?;
    }
    Ok(store)
}

/// A copy of it that goes with its handle, on the same disk and synced.
pub async fn copy(records: u64) -> Outcome<TempDir> {
    let store = kept(records).await?;
    let copy = places::temporary()?;
    let to = copy.path().to_owned();
    tokio::task::spawn_blocking(move || copy_files(&store, &to)).await??;
    Ok(copy)
}

fn copy_files(from: &Path, to: &Path) -> Outcome<()> {
    for entry in fs::read_dir(from)? {
        let file = entry?.path();
        let Some(name) = file.file_name().filter(|_| file.is_file()) else { continue };
        fs::copy(&file, to.join(name))?;
        // Or the disk would still write it while filings are measured.
        fs::File::open(to.join(name))?.sync_all()?;
    }
    Ok(())
}
