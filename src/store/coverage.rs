//! Sources that claim to have watched.

use rusqlite::Connection;

use super::{
    OPEN,
    read::{decode, rows},
};
use crate::{domain::error::Result, pb::v1};

/// Rows read at once: of files that are older than the mark, most have no coverage after all.
const CHUNK: usize = 1000;

/// The latest blocks of the sources that have a coverage and an active report as of a revision, by name, at most
/// `limit`: who withdrew everything claims nothing.
///
/// # Errors
///
/// If the store cannot be read.
pub fn covering(connection: &Connection, revision: u64, limit: usize) -> Result<Vec<v1::Source>> {
    // Each half has an index of its own.
    let sql = format!(
        "SELECT body FROM sources s WHERE covers = 1 AND name > ?2 AND from_revision <= ?1 AND to_revision > ?1
         AND (EXISTS (SELECT 1 FROM reports WHERE source = s.name AND to_revision = {OPEN} AND from_revision <= ?1)
              OR EXISTS (SELECT 1 FROM reports WHERE source = s.name AND to_revision > ?1 AND to_revision < {OPEN}
                         AND from_revision <= ?1))
         ORDER BY name LIMIT {CHUNK}"
    );
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let bodies = rows(connection, &sql, (revision, &after), |row| row.get::<_, Vec<u8>>(0))?;
        let sources = bodies.iter().map(|body| decode::<v1::Source>(body)).collect::<Result<Vec<_>>>()?;
        after = sources.last().map(|source| source.name.clone()).unwrap_or_default();
        found.extend(sources.into_iter().filter(|source| source.coverage.is_some()));
        if bodies.len() < CHUNK || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
}
