//! SQLite's own commits: what a durable filing cannot do without.

use std::time::Instant;

use crate::{Outcome, bench::BYTES, places};

/// Whether a commit is synced.
#[derive(Debug, Clone, Copy)]
pub enum Sync {
    /// Before it returns.
    Full,
    /// Not at all: the disk has no part in it.
    Off,
}

/// Rows of the usual size, one commit each; commits a second.
pub async fn commits(count: usize, sync: Sync) -> Outcome<f64> {
    tokio::task::spawn_blocking(move || commit(count, sync)).await?
}

fn commit(count: usize, sync: Sync) -> Outcome<f64> {
    let folder = places::temporary()?;
    let connection = rusqlite::Connection::open(folder.path().join("floor.db"))?;
    let sync = match sync {
        Sync::Full => "FULL",
        Sync::Off => "OFF",
    };
    connection
        .execute_batch(&format!("PRAGMA journal_mode=WAL; PRAGMA synchronous={sync}; CREATE TABLE t (b BLOB)"))?;
    let mut insert = connection.prepare("INSERT INTO t VALUES (?1)")?;
    let began = Instant::now();
    for _ in 0..count {
        insert.execute([vec![7_u8; BYTES]])?;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
