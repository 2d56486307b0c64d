//! Which versions have a term: lists of them, each in parts.
//!
//! A version has some twenty terms, and a row for each would be written to twenty pages of the file. So a new version is
//! one row with all of its terms; once there are enough of those, every term that they have gets the versions that came to
//! it as one part, which is never added to. A part takes a byte or two for a version.

use prost::{
    bytes::Buf as _,
    encoding::{decode_varint, encode_varint},
};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, Statement, params, types::Type};

use crate::domain::facets::{Tag, Term};

/// Numbers of versions, of which so many are put into parts at once: a list or a search looks through those that are in
/// none yet, and whoever files when they are put there waits for it.
const TOGETHER: i64 = 1024;
/// Versions in a part of a store that was written before there were parts.
const FILLED: usize = 1024;

/// Keeps the terms of a version that was just made: its row, and [`pack`]ed what they are, at least one.
pub const ADD: &str = "INSERT INTO unposted (version, terms) VALUES (?1, ?2)";
/// Keeps a part: the row of the term, the last version of it, and [`pack`]ed all of them.
pub const ADD_PART: &str = "INSERT INTO postings (term, last, versions) VALUES (?1, ?2, ?3)";

/// Numbers in ascending order, each once, as they are kept: the first, then by how much each is more than the one before.
#[must_use]
pub fn pack(numbers: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let (mut packed, mut before) = (Vec::new(), 0);
    for number in numbers {
        encode_varint(number.wrapping_sub(before).cast_unsigned(), &mut packed);
        before = number;
    }
    packed
}

/// The numbers that [`pack`] packed.
///
/// # Errors
///
/// If these bytes are none.
pub fn unpack(mut packed: &[u8]) -> Result<Vec<i64>> {
    let (mut numbers, mut before) = (Vec::with_capacity(packed.len()), 0_i64);
    while packed.has_remaining() {
        let more = decode_varint(&mut packed)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(e)))?;
        before = before.wrapping_add(more.cast_signed());
        numbers.push(before);
    }
    Ok(numbers)
}

/// Puts the versions that are in no part yet into parts, if they are many.
///
/// # Errors
///
/// If SQLite refuses, or a row cannot be read.
pub fn post(connection: &Connection) -> Result<()> {
    // (Each alone is found at an end of the table.)
    let sql = "SELECT (SELECT max(version) FROM unposted) - (SELECT min(version) FROM unposted)";
    let wide: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    if wide.is_none_or(|wide| wide < TOGETHER) {
        return Ok(());
    }
    let mut found: Vec<(i64, i64)> = Vec::new();
    for (version, terms) in unposted(connection, 0, i64::MAX)? {
        found.extend(unpack(&terms)?.into_iter().map(|term| (term, version)));
    }
    found.sort_unstable();
    let mut add = connection.prepare_cached(ADD_PART)?;
    found.chunk_by(|a, b| a.0 == b.0).try_for_each(|of_term| add_part(&mut add, of_term))?;
    connection.prepare_cached("DELETE FROM unposted")?.execute([]).map(drop)
}

/// Keeps one part of a term: pairs of it and a version, in the order of versions.
fn add_part(add: &mut Statement<'_>, part: &[(i64, i64)]) -> Result<()> {
    let Some((term, last)) = part.last() else { return Ok(()) };
    add.execute(params![term, last, pack(part.iter().map(|(_, version)| *version))]).map(drop)
}

/// The versions after one, up to another, that are in no part yet, with their terms as they are packed.
///
/// # Errors
///
/// If SQLite refuses.
pub fn unposted(connection: &Connection, after: i64, through: i64) -> Result<Vec<(i64, Vec<u8>)>> {
    let sql = "SELECT version, terms FROM unposted WHERE version > ?1 AND version <= ?2 ORDER BY version";
    let mut find = connection.prepare_cached(sql)?;
    find.query_map([after, through], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Calls back with each version after one, up to another, that is in a part of a term, in order.
///
/// Whoever reads what is in no part yet as well does so before: what is put into a part meanwhile is then told twice, and
/// not never.
///
/// # Errors
///
/// If SQLite refuses, or a part cannot be read.
pub fn each_posted(
    connection: &Connection,
    term: i64,
    (after, through): (i64, i64),
    mut told: impl FnMut(i64),
) -> Result<()> {
    let sql = "SELECT versions FROM postings WHERE term = ?1 AND last > ?2 ORDER BY last";
    let mut find = connection.prepare_cached(sql)?;
    let mut parts = find.query(params![term, after])?;
    while let Some(part) = parts.next()? {
        for version in unpack(part.get_ref(0)?.as_blob()?)? {
            if version > through {
                return Ok(());
            }
            if version > after {
                told(version);
            }
        }
    }
    Ok(())
}

/// The versions that have a term of which each version is a part at once.
///
/// # Errors
///
/// If SQLite refuses, or a part cannot be read.
pub fn at_once(connection: &Connection, (tag, value): (Tag, &str)) -> Result<Vec<i64>> {
    let mut find = connection.prepare_cached("SELECT id FROM terms WHERE tag = ?1 AND value = ?2")?;
    let term: Option<i64> = find.query_row(params![tag as u8, value], |row| row.get(0)).optional()?;
    let mut versions = Vec::new();
    if let Some(term) = term {
        each_posted(connection, term, (0, i64::MAX), |version| versions.push(version))?;
    }
    Ok(versions)
}

/// Takes a version out of the lists of these terms. What is not there is not missed.
///
/// # Errors
///
/// If SQLite refuses, or a part cannot be read.
pub fn remove(connection: &Connection, version: i64, terms: &[Term]) -> Result<()> {
    connection.prepare_cached("DELETE FROM unposted WHERE version = ?1")?.execute([version])?;
    let mut find = connection.prepare_cached(
        "SELECT term, last, versions FROM postings
         WHERE term = (SELECT id FROM terms WHERE tag = ?1 AND value = ?2) AND last >= ?3 ORDER BY last LIMIT 1",
    )?;
    for (tag, value) in terms {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, unpack(row.get_ref(2)?.as_blob()?)?));
        let part: Option<(i64, i64, Vec<i64>)> =
            find.query_row(params![*tag as u8, value, version], read).optional()?;
        if let Some((term, last, mut versions)) = part
            && let Ok(at) = versions.binary_search(&version)
        {
            versions.remove(at);
            replace(connection, (term, last), &versions)?;
        }
    }
    Ok(())
}

/// Takes every version after one out of all lists.
///
/// # Errors
///
/// If SQLite refuses, or a part cannot be read.
pub fn cut(connection: &Connection, after: i64) -> Result<()> {
    connection.execute("DELETE FROM unposted WHERE version > ?1", [after])?;
    let mut find = connection.prepare("SELECT term, last, versions FROM postings WHERE last > ?1")?;
    let read = |row: &Row<'_>| Ok(((row.get(0)?, row.get(1)?), unpack(row.get_ref(2)?.as_blob()?)?));
    let parts = find.query_map([after], read)?.collect::<Result<Vec<((i64, i64), Vec<i64>)>>>()?;
    for (part, versions) in parts {
        replace(connection, part, &versions[..versions.partition_point(|version| *version <= after)])?;
    }
    Ok(())
}

/// Makes a table in a database, of every term and version that its lists have.
///
/// # Errors
///
/// If SQLite refuses, or a row cannot be read.
pub fn list(connection: &Connection, database: &str, table: &str) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let columns = "(term INTEGER, version INTEGER, PRIMARY KEY (term, version)) WITHOUT ROWID";
    connection.execute(&format!("CREATE TABLE {database}.{table} {columns}"), [])?;
    let sql = format!("INSERT OR IGNORE INTO {database}.{table} (term, version) VALUES (?1, ?2)");
    let mut add = connection.prepare(&sql)?;
    let mut parts = connection.prepare(&format!("SELECT term, versions FROM {database}.postings"))?;
    let mut parts = parts.query([])?;
    while let Some(part) = parts.next()? {
        let term: i64 = part.get(0)?;
        for version in unpack(part.get_ref(1)?.as_blob()?)? {
            add.execute([term, version])?;
        }
    }
    let mut unposted = connection.prepare(&format!("SELECT version, terms FROM {database}.unposted"))?;
    let mut unposted = unposted.query([])?;
    while let Some(row) = unposted.next()? {
        let version: i64 = row.get(0)?;
        for term in unpack(row.get_ref(1)?.as_blob()?)? {
            add.execute([term, version])?;
        }
    }
    transaction.commit()
}

/// Makes parts of the rows of terms and versions that there were: for a store that was written before there were parts.
///
/// # Errors
///
/// If SQLite refuses.
pub fn fill(connection: &Connection) -> Result<()> {
    let mut rows = connection.prepare("SELECT term, version FROM version_terms ORDER BY term, version")?;
    let (mut rows, mut add) = (rows.query([])?, connection.prepare_cached(ADD_PART)?);
    let mut part: Vec<(i64, i64)> = Vec::new();
    while let Some(row) = rows.next()? {
        let next = (row.get(0)?, row.get(1)?);
        if part.last().is_some_and(|last| last.0 != next.0) || part.len() >= FILLED {
            add_part(&mut add, &part)?;
            part.clear();
        }
        part.push(next);
    }
    add_part(&mut add, &part)
}

/// Puts fewer versions in the place of a part's.
fn replace(connection: &Connection, (term, last): (i64, i64), versions: &[i64]) -> Result<()> {
    connection.prepare_cached("DELETE FROM postings WHERE term = ?1 AND last = ?2")?.execute([term, last])?;
    let Some(last) = versions.last() else { return Ok(()) };
    let packed = pack(versions.iter().copied());
    connection.prepare_cached(ADD_PART)?.execute(params![term, last, packed]).map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::store::schema;

    /// Terms, of which the first is of every version.
    const TERMS: i64 = 12;

    /// What was kept, by term.
    type Kept = BTreeMap<i64, BTreeSet<i64>>;

    fn store() -> Connection {
        let connection = schema::fresh(schema::NEWEST).unwrap();
        connection.pragma_update(None, "foreign_keys", false).unwrap();
        for term in 1..=TERMS {
            let sql = "INSERT INTO terms (id, tag, value) VALUES (?1, ?2, ?3)";
            connection.execute(sql, params![term, Tag::State as u8, value(term)]).unwrap();
        }
        connection
    }

    fn value(term: i64) -> String {
        format!("term {term}")
    }

    fn terms_of(version: i64) -> Vec<i64> {
        (1..=TERMS).filter(|term| version % term == 0).collect()
    }

    fn keep(connection: &Connection, kept: &mut Kept, versions: impl IntoIterator<Item = i64>) {
        for version in versions {
            connection.execute(ADD, params![version, pack(terms_of(version))]).unwrap();
            for term in terms_of(version) {
                kept.entry(term).or_default().insert(version);
            }
        }
    }

    fn forget(connection: &Connection, kept: &mut Kept, version: i64) {
        let terms: Vec<Term> = terms_of(version).into_iter().map(|term| (Tag::State, value(term))).collect();
        remove(connection, version, &terms).unwrap();
        kept.values_mut().for_each(|versions| {
            versions.remove(&version);
        });
    }

    /// What the store has of each term, by whoever asks for it, and how many of it are in parts.
    fn found(connection: &Connection) -> (Kept, usize) {
        let (mut found, mut posted) = (Kept::new(), 0);
        for (version, terms) in unposted(connection, 0, i64::MAX).unwrap() {
            unpack(&terms).unwrap().into_iter().for_each(|term| {
                found.entry(term).or_default().insert(version);
            });
        }
        for term in 1..=TERMS {
            let told = |version| {
                posted += 1;
                assert!(found.entry(term).or_default().insert(version), "{version} of {term} is told once");
            };
            each_posted(connection, term, (0, i64::MAX), told).unwrap();
        }
        (found, posted)
    }

    fn without_none(mut kept: Kept) -> Kept {
        kept.retain(|_, versions| !versions.is_empty());
        kept
    }

    #[test]
    fn what_is_kept_is_found_whether_it_is_in_a_part_or_not_and_what_goes_is_not() {
        let (connection, mut kept) = (store(), Kept::new());
        keep(&connection, &mut kept, 1..=TOGETHER);
        post(&connection).unwrap();
        assert_eq!(found(&connection), (kept.clone(), 0), "these are few");
        keep(&connection, &mut kept, [TOGETHER + 1]);
        post(&connection).unwrap();
        let all: usize = kept.values().map(BTreeSet::len).sum();
        assert_eq!(found(&connection), (kept.clone(), all), "these are put into parts, each of them");
        keep(&connection, &mut kept, TOGETHER + 2..=2 * TOGETHER);
        post(&connection).unwrap();
        assert_eq!(found(&connection), (kept.clone(), all), "and the next ones not yet");
        // One in the midst, the last of a part, one that is in no part, and one that is not there.
        for version in [TERMS, TOGETHER + 1, TOGETHER + 2, 5 * TOGETHER] {
            forget(&connection, &mut kept, version);
            assert_eq!(found(&connection).0, kept, "without {version}");
        }
        keep(&connection, &mut kept, 2 * TOGETHER + 1..=3 * TOGETHER);
        post(&connection).unwrap();
        assert_eq!(found(&connection).0, kept);
        for after in [3 * TOGETHER - 1, TOGETHER + 7, TOGETHER / 2, 0] {
            cut(&connection, after).unwrap();
            kept.values_mut().for_each(|versions| versions.retain(|version| *version <= after));
            assert_eq!(without_none(found(&connection).0), without_none(kept.clone()), "up to {after}");
        }
    }

    #[test]
    fn versions_between_two_are_told_in_order_and_no_others() {
        let (connection, mut kept) = (store(), Kept::new());
        for part in 0..3 {
            keep(&connection, &mut kept, part * 2000 + 1..=(part + 1) * 2000);
            post(&connection).unwrap();
        }
        for (after, through) in [(0, 6000), (0, 1), (1, 1), (1999, 2001), (2000, 4000), (3999, 5999), (6000, 9000)] {
            let mut told = Vec::new();
            each_posted(&connection, 3, (after, through), |version| told.push(version)).unwrap();
            let expected: Vec<i64> = kept[&3].range(after + 1..=through.max(after + 1)).copied().collect();
            let expected: Vec<i64> = expected.into_iter().filter(|version| *version <= through).collect();
            assert_eq!(told, expected, "after {after} through {through}");
        }
    }

    #[test]
    fn what_is_put_into_a_part_between_two_questions_is_not_missed() {
        let (connection, mut kept) = (store(), Kept::new());
        keep(&connection, &mut kept, 1..=2 * TOGETHER);
        let before = unposted(&connection, 0, i64::MAX).unwrap();
        post(&connection).unwrap();
        let mut told: BTreeSet<i64> = before.iter().map(|(version, _)| *version).collect();
        each_posted(&connection, 1, (0, i64::MAX), |version| {
            told.insert(version);
        })
        .unwrap();
        assert_eq!(told, kept[&1]);
        assert!(unposted(&connection, 0, i64::MAX).unwrap().is_empty(), "the other way around they would be");
    }

    #[test]
    fn rows_of_an_older_file_become_parts() {
        let connection = store();
        let old =
            "CREATE TABLE version_terms (term INTEGER, version INTEGER, PRIMARY KEY (term, version)) WITHOUT ROWID";
        connection.execute_batch(old).unwrap();
        let mut kept = Kept::new();
        for version in 1..=2500 {
            for term in terms_of(version) {
                connection.execute("INSERT INTO version_terms VALUES (?1, ?2)", [term, version]).unwrap();
                kept.entry(term).or_default().insert(version);
            }
        }
        fill(&connection).unwrap();
        let all = kept.values().map(BTreeSet::len).sum();
        assert_eq!(found(&connection), (kept, all));
        let parts = "SELECT count(*) FROM postings WHERE term = 1";
        assert_eq!(connection.query_row(parts, [], |row| row.get::<_, i64>(0)).unwrap(), 3);
    }

    proptest! {
        #[test]
        fn numbers_are_unpacked_as_they_were_packed(numbers in prop::collection::btree_set(any::<i64>(), 0..50)) {
            prop_assert_eq!(unpack(&pack(numbers.iter().copied())).unwrap(), Vec::from_iter(numbers));
        }

        #[test]
        fn bytes_that_are_no_numbers_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let ends_within = bytes.last().is_some_and(|last| *last >= 0x80);
            prop_assert!(!ends_within || unpack(&bytes).is_err());
        }
    }
}
