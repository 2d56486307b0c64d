//! SQLite's own commits: what a durable filing cannot do without.

use std::time::Instant;

use crate::{Outcome, bench::BYTES, places};

/// Rows of the usual size, one commit each, synced; commits a second.
pub async fn commits(count: usize) -> Outcome<f64> {
    tokio::task::spawn_blocking(move || commit(count)).await?
}

fn commit(count: usize) -> Outcome<f64> {
    let folder = places::temporary()?;
    let connection = rusqlite::Connection::open(folder.path().join("floor.db"))?;
    connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (b BLOB)")?;
    let mut insert = connection.prepare("INSERT INTO t VALUES (?1)")?;
    let began = Instant::now();
    for _ in 0..count {
        insert.execute([vec![7_u8; BYTES]])?;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
