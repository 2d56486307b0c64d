//! Comparing how a file is laid out with what the schemas of its version make: its tables, its indexes, and the settings of
//! its index of words.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::store::{StoreError, schema};

/// Each part of a file, and how it is made: those that the index of words keeps beside itself as another SQLite may word them.
/// (What SQLite keeps for its planner comes and goes.)
const PARTS: &str = "SELECT type || ' ' || name, 'of ' || tbl_name || ': ' || iif(name IN ('search_data', 'search_idx',
                            'search_content', 'search_docsize', 'search_config'), '', ifnull(sql, ''))
                     FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name";
/// Where the index of words keeps its settings, and what they are, but for SQLite's own.
const SETTINGS_TABLE: &str = "search_config";
const SETTINGS: &str = "SELECT 'setting ' || k || ' of the index of words', ifnull(CAST(v AS TEXT), '')
                        FROM search_config WHERE k <> 'version' ORDER BY k";

type Parts = BTreeMap<String, String>;

/// Compares a file, as it is before it is brought up to a newer version.
///
/// # Errors
///
/// [`StoreError::Damaged`] names what differs.
pub(super) fn check(store: &Connection) -> Result<(), StoreError> {
    let version = schema::version(store)?;
    if version == 0 {
        return Err(StoreError::Damaged("it has no tables".to_owned()));
    }
    let made = schema::fresh(version)?;
    compare(version, &parts(&made, PARTS)?, &parts(store, PARTS)?)?;
    // Only now is it known to be there in both, or in neither.
    if made.table_exists(None, SETTINGS_TABLE)? {
        compare(version, &parts(&made, SETTINGS)?, &parts(store, SETTINGS)?)?;
    }
    Ok(())
}

fn parts(file: &Connection, sql: &str) -> rusqlite::Result<Parts> {
    let mut statement = file.prepare(sql)?;
    let found = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    found.collect::<rusqlite::Result<Parts>>()
}

fn compare(version: usize, made: &Parts, found: &Parts) -> Result<(), StoreError> {
    let mut faults = Vec::new();
    for (part, how) in made {
        match found.get(part) {
            None => faults.push(format!("schema: {part} is missing")),
            Some(other) if other != how => faults.push(format!("schema: {part} is another")),
            Some(_) => {}
        }
    }
    let too_many = found.keys().filter(|part| !made.contains_key(*part));
    faults.extend(too_many.map(|part| format!("schema: {part} is not of this schema")));
    if faults.is_empty() {
        return Ok(());
    }
    Err(StoreError::Damaged(format!("it is not laid out as its schema, {version}, is\n{}", faults.join("\n"))))
}
