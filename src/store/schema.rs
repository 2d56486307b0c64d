//! The tables, and how a file of an older version becomes one of this version.
//!
//! Temporal rows carry `[from_revision, to_revision)`; what stands has `to_revision` [`OPEN`].

use std::path::Path;

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::StoreError;

/// The end of what still stands.
pub const OPEN: i64 = i64::MAX;

/// One migration a version, each in a transaction of its own; never change one that was released.
const MIGRATIONS: &[&str] = &[include_str!("schema/001_first.sql")];

/// Brings the file to this version. Before it changes an older one it keeps a copy beside it.
///
/// # Errors
///
/// If the file is of a newer version, or cannot be changed.
pub fn migrate(connection: &mut Connection, file: &Path) -> Result<(), StoreError> {
    let found: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > MIGRATIONS.len() {
        return Err(StoreError::Newer { found, known: MIGRATIONS.len() });
    }
    if found > 0 && found < MIGRATIONS.len() {
        let copy = file.with_extension(format!("schema-{found}.bak"));
        connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
        tracing::info!(copy = %copy.display(), "kept a copy of the store before migrating it");
    }
    let migrations = Migrations::new(MIGRATIONS.iter().map(|sql| M::up(sql)).collect());
    migrations.to_latest(connection).map_err(|e| StoreError::Migration(e.to_string()))
}
