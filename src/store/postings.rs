//! Which versions have a term: lists of them, each in parts.
//!
//! A version has some twenty terms, and a row for each would be written to twenty pages of the file. So a new version is
//! one row with all of its terms; once there are enough of those, every term that they have gets the versions that came to
//! it as one part, to which nothing is added any more. A part takes a byte or two for a version.
//!
//! What is in no part yet is newer than all that is, and the parts of a term follow each other. The exception are terms that
//! every filing about an agreement asks for: of those each version is a part at once.

use prost::{
    bytes::Buf as _,
    encoding::{decode_varint, encode_varint},
};
use roaring::RoaringTreemap;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Result, Row, Statement, ffi, params};

use crate::{
    domain::facets::{Tag, Term},
    limits::MAX_UNPOSTED,
};

/// Versions in a part of a store that was written before there were parts: more would take a page of their own where they
/// lie far apart.
const FILLED: usize = 512;
/// Parts that are read at once to be made shorter.
const CUT: usize = 1024;
/// Faults of lists that are named.
const NAMED: usize = 3;
/// Every filing about an agreement asks for these.
const AT_ONCE: Tag = Tag::Successor;

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
/// If these bytes are none, as SQLite says it of a file that is damaged.
fn unpack(mut packed: &[u8]) -> Result<Vec<i64>> {
    let (mut numbers, mut before) = (Vec::with_capacity(packed.len()), 0_i64);
    while packed.has_remaining() {
        before = before.wrapping_add(decode_varint(&mut packed).map_err(|_| damaged())?.cast_signed());
        if numbers.last().is_some_and(|last| *last >= before) {
            return Err(damaged());
        }
        numbers.push(before);
    }
    Ok(numbers)
}

fn damaged() -> rusqlite::Error {
    let why = "a list of the versions of a term, or of the terms of a version, cannot be read";
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(why.to_owned()))
}

/// Puts the versions that are in no part yet into parts, if they are many, or one that just came has many terms.
///
/// # Errors
///
/// If SQLite refuses, or a row cannot be read.
pub fn post(connection: &Connection, has_large: bool) -> Result<()> {
    // (Each alone is found at an end of the table.)
    let sql = "SELECT (SELECT max(version) FROM unposted) - (SELECT min(version) FROM unposted)";
    let wide: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    if wide.is_none_or(|wide| wide < MAX_UNPOSTED && !has_large) {
        return Ok(());
    }
    let Unposted(found) = Unposted::read(connection, i64::MAX)?;
    let mut add = connection.prepare_cached(ADD_PART)?;
    found.chunk_by(|a, b| a.0 == b.0).try_for_each(|of_term| add_part(&mut add, of_term))?;
    connection.prepare_cached("DELETE FROM unposted")?.execute([]).map(drop)
}

/// Keeps one part of a term: pairs of it and a version, in the order of versions.
fn add_part(add: &mut Statement<'_>, part: &[(i64, i64)]) -> Result<()> {
    let Some((term, last)) = part.last() else { return Ok(()) };
    add.execute(params![term, last, pack(part.iter().map(|(_, version)| *version))]).map(drop)
}

/// What is in no part yet: terms with the versions that have them, sorted.
///
/// Whoever reads lists has read this before: what is put into a part between the two is in both, and not in neither.
#[derive(Debug)]
pub struct Unposted(Vec<(i64, i64)>);

impl Unposted {
    /// Reads those of versions up to one.
    ///
    /// # Errors
    ///
    /// If SQLite refuses, or a row cannot be read.
    pub fn read(connection: &Connection, through: i64) -> Result<Self> {
        let mut find = connection.prepare_cached("SELECT version, terms FROM unposted WHERE version <= ?1")?;
        let (mut rows, mut found) = (find.query([through])?, Vec::new());
        while let Some(row) = rows.next()? {
            let version: i64 = row.get(0)?;
            found.extend(unpack(row.get_ref(1)?.as_blob()?)?.into_iter().map(|term| (term, version)));
        }
        found.sort_unstable();
        Ok(Self(found))
    }

    /// Calls back with each version after one, up to another, that has a term: once, and in order.
    ///
    /// # Errors
    ///
    /// If SQLite refuses, or a part cannot be read.
    pub fn each(
        &self,
        connection: &Connection,
        term: i64,
        (after, through): (i64, i64),
        mut told: impl FnMut(i64),
    ) -> Result<()> {
        let mut last = after;
        each_posted(connection, term, (after, through), |version| {
            last = version;
            told(version);
        })?;
        let from = self.0.partition_point(|pair| *pair <= (term, last));
        let left = self.0[from..].iter().take_while(|(t, version)| *t == term && *version <= through);
        left.for_each(|(_, version)| told(*version));
        Ok(())
    }
}

/// The same of what is in parts alone.
fn each_posted(
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

/// Whether each version that has a term is a part of its list at once.
#[must_use]
pub fn is_at_once(tag: Tag) -> bool {
    tag == AT_ONCE
}

/// The versions that have such a term: no others than those in parts.
///
/// # Errors
///
/// If SQLite refuses, or a part cannot be read.
pub fn at_once(connection: &Connection, (tag, value): (Tag, &str)) -> Result<Vec<i64>> {
    debug_assert!(is_at_once(tag), "{tag:?} of {value} may be in no part yet");
    let mut find = connection.prepare_cached("SELECT id FROM terms WHERE tag = ?1 AND value = ?2")?;
    let term: Option<i64> = find.query_row(params![tag as u8, value], |row| row.get(0)).optional()?;
    let mut versions = Vec::new();
    if let Some(term) = term {
        each_posted(connection, term, (0, i64::MAX), |version| versions.push(version))?;
    }
    Ok(versions)
}

/// A part: its term, its last version, and all of them.
type Part = (i64, i64, Vec<i64>);

/// Of a row `term, last, versions`.
fn part(row: &Row<'_>) -> Result<Part> {
    Ok((row.get(0)?, row.get(1)?, unpack(row.get_ref(2)?.as_blob()?)?))
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
        let found = find.query_row(params![*tag as u8, value, version], part).optional()?;
        if let Some((term, last, mut versions)) = found
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
    let mut find = connection.prepare(
        "SELECT term, last, versions FROM postings WHERE (term, last) > (?1, ?2) AND last > ?3
         ORDER BY term, last LIMIT ?4",
    )?;
    let mut place = (0, 0);
    loop {
        let parts = find.query_map(params![place.0, place.1, after, CUT], part)?.collect::<Result<Vec<Part>>>()?;
        let Some((term, last, _)) = parts.last() else { return Ok(()) };
        place = (*term, *last);
        for (term, last, versions) in &parts {
            let left = versions.partition_point(|version| *version <= after);
            replace(connection, (*term, *last), &versions[..left])?;
        }
    }
}

/// Puts fewer versions in the place of a part's.
fn replace(connection: &Connection, (term, last): (i64, i64), versions: &[i64]) -> Result<()> {
    let sql = "DELETE FROM postings WHERE term = ?1 AND last = ?2";
    connection.prepare_cached(sql)?.execute([term, last])?;
    let Some(last) = versions.last() else { return Ok(()) };
    let packed = pack(versions.iter().copied());
    connection.prepare_cached(ADD_PART)?.execute(params![term, last, packed]).map(drop)
}

/// What the lists of a database were found to have.
#[derive(Debug, Default)]
pub struct Listed {
    /// What is wrong with them by themselves: a few faults.
    pub faults: Vec<String>,
    /// Pairs of a term and a version.
    pub pairs: u64,
}

impl Listed {
    fn fault(&mut self, why: String) {
        if self.faults.len() < NAMED {
            self.faults.push(why);
        }
    }
}

/// Makes a table in a database, of every term and version that its lists have, and looks for what is wrong with them.
///
/// # Errors
///
/// If SQLite refuses.
pub fn list(connection: &Connection, database: &str, table: &str) -> Result<Listed> {
    let transaction = connection.unchecked_transaction()?;
    let columns = "(term INTEGER, version INTEGER, PRIMARY KEY (term, version)) WITHOUT ROWID";
    connection.execute(&format!("CREATE TABLE {database}.{table} {columns}"), [])?;
    let sql = format!("INSERT OR IGNORE INTO {database}.{table} (term, version) VALUES (?1, ?2)");
    let mut lister = Lister {
        add: connection.prepare(&sql)?,
        versions: ids(connection, &format!("SELECT id FROM {database}.versions"))?,
        terms: ids(connection, &format!("SELECT id FROM {database}.terms"))?,
        at_once: ids(connection, &format!("SELECT id FROM {database}.terms WHERE tag = {}", AT_ONCE as u8))?,
        listed: Listed::default(),
    };
    let newest = lister.parts(connection, database)?;
    lister.unposted(connection, database, newest)?;
    let Lister { listed, .. } = lister;
    transaction.commit()?;
    Ok(listed)
}

fn ids(connection: &Connection, sql: &str) -> Result<RoaringTreemap> {
    connection.prepare(sql)?.query_map([], |row| row.get::<_, u64>(0))?.collect()
}

/// See [`list`].
struct Lister<'c> {
    add: Statement<'c>,
    versions: RoaringTreemap,
    terms: RoaringTreemap,
    at_once: RoaringTreemap,
    listed: Listed,
}

impl Lister<'_> {
    /// All parts; answers the last version that is in one, but for those that are parts at once.
    fn parts(&mut self, connection: &Connection, database: &str) -> Result<i64> {
        let sql = format!(
            "SELECT p.term, p.last, p.versions, ifnull(t.tag || ' ' || t.value, 'a term that is not there')
             FROM {database}.postings p LEFT JOIN {database}.terms t ON t.id = p.term ORDER BY p.term, p.last"
        );
        let mut parts = connection.prepare(&sql)?;
        let (mut parts, mut before, mut newest) = (parts.query([])?, (0, 0), 0);
        while let Some(row) = parts.next()? {
            let (term, last): (i64, i64) = (row.get(0)?, row.get(1)?);
            let of = format!("{}, part to {last}", row.get_ref(3)?.as_str()?);
            match readable(part(row))? {
                None => self.listed.fault(format!("{of}: cannot be read")),
                Some((.., versions)) => {
                    let follows = before.0 != term || versions.first() > Some(&before.1);
                    if versions.last() != Some(&last) || !follows {
                        self.listed.fault(format!("{of}: is out of order"));
                    }
                    versions.iter().try_for_each(|version| self.pair(term, *version))?;
                }
            }
            before = (term, last);
            if !self.at_once.contains(term.cast_unsigned()) {
                newest = newest.max(last);
            }
        }
        Ok(newest)
    }

    /// What is in no part yet, which must be newer.
    fn unposted(&mut self, connection: &Connection, database: &str, newest: i64) -> Result<()> {
        let mut rows = connection.prepare(&format!("SELECT version, terms FROM {database}.unposted"))?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let version: i64 = row.get(0)?;
            let Some(terms) = readable(row.get_ref(1)?.as_blob().map_err(Into::into).and_then(unpack))? else {
                self.listed.fault(format!("those of version {version}: cannot be read"));
                continue;
            };
            let may_wait = |term: &i64| !self.at_once.contains(term.cast_unsigned());
            if version <= newest || !terms.iter().all(may_wait) {
                self.listed.fault(format!("those of version {version}: are in no part"));
            }
            terms.iter().try_for_each(|term| self.pair(*term, version))?;
        }
        Ok(())
    }

    fn pair(&mut self, term: i64, version: i64) -> Result<()> {
        if !self.versions.contains(version.cast_unsigned()) || !self.terms.contains(term.cast_unsigned()) {
            self.listed.fault(format!("term {term} of version {version}: one of them is not there"));
        }
        self.listed.pairs += 1;
        self.add.execute([term, version]).map(drop)
    }
}

/// What was read; `None` if it is damaged.
fn readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => Ok(None),
        Err(error) => Err(error),
    }
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
        let unposted = Unposted::read(connection, i64::MAX).unwrap();
        let (mut found, mut all) = (Kept::new(), 0);
        for term in 1..=TERMS {
            let told = |version| {
                all += 1;
                assert!(found.entry(term).or_default().insert(version), "{version} of {term} is told once");
            };
            unposted.each(connection, term, (0, i64::MAX), told).unwrap();
        }
        (found, all - unposted.0.len())
    }

    fn without_none(mut kept: Kept) -> Kept {
        kept.retain(|_, versions| !versions.is_empty());
        kept
    }

    #[test]
    fn what_is_kept_is_found_whether_it_is_in_a_part_or_not_and_what_goes_is_not() {
        let (connection, mut kept) = (store(), Kept::new());
        keep(&connection, &mut kept, 1..=MAX_UNPOSTED);
        post(&connection, false).unwrap();
        assert_eq!(found(&connection), (kept.clone(), 0), "these are few");
        keep(&connection, &mut kept, [MAX_UNPOSTED + 1]);
        post(&connection, false).unwrap();
        let all: usize = kept.values().map(BTreeSet::len).sum();
        assert_eq!(found(&connection), (kept.clone(), all), "these are put into parts, each of them");
        keep(&connection, &mut kept, MAX_UNPOSTED + 2..=2 * MAX_UNPOSTED);
        post(&connection, false).unwrap();
        assert_eq!(found(&connection), (kept.clone(), all), "and the next ones not yet");
        // One in the midst, the last of a part, one that is in no part, and one that is not there.
        for version in [TERMS, MAX_UNPOSTED + 1, MAX_UNPOSTED + 2, 5 * MAX_UNPOSTED] {
            forget(&connection, &mut kept, version);
            assert_eq!(found(&connection).0, kept, "without {version}");
        }
        keep(&connection, &mut kept, 2 * MAX_UNPOSTED + 1..=3 * MAX_UNPOSTED);
        post(&connection, false).unwrap();
        assert_eq!(found(&connection).0, kept);
        for after in [3 * MAX_UNPOSTED - 1, MAX_UNPOSTED + 7, MAX_UNPOSTED / 2, 0] {
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
            post(&connection, false).unwrap();
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
    fn what_is_put_into_a_part_between_two_questions_is_told_once() {
        let (connection, mut kept) = (store(), Kept::new());
        keep(&connection, &mut kept, 1..=2 * MAX_UNPOSTED);
        post(&connection, false).unwrap();
        keep(&connection, &mut kept, 2 * MAX_UNPOSTED + 1..=4 * MAX_UNPOSTED);
        let before = Unposted::read(&connection, i64::MAX).unwrap();
        post(&connection, false).unwrap();
        assert!(!before.0.is_empty() && Unposted::read(&connection, i64::MAX).unwrap().0.is_empty());
        for (term, versions) in &kept {
            let mut told = Vec::new();
            before.each(&connection, *term, (0, i64::MAX), |version| told.push(version)).unwrap();
            assert_eq!(told, Vec::from_iter(versions.iter().copied()), "{term}");
        }
    }

    #[test]
    fn many_parts_are_cut_each() {
        let connection = store();
        let parts = i64::try_from(CUT).unwrap() * 2 + 1;
        for term in 1..=parts {
            connection.execute(ADD_PART, params![term, 10, pack([5, 10])]).unwrap();
        }
        cut(&connection, 7).unwrap();
        let sql = "SELECT count(*), min(last), max(last), min(versions) = x'05' FROM postings";
        let left: (i64, i64, i64, bool) =
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        assert_eq!(left, (parts, 5, 5, true));
    }

    #[test]
    fn a_version_of_many_terms_lets_none_wait() {
        let (connection, mut kept) = (store(), Kept::new());
        keep(&connection, &mut kept, 1..=3);
        post(&connection, true).unwrap();
        let all: usize = kept.values().map(BTreeSet::len).sum();
        assert_eq!(found(&connection), (kept, all));
    }

    #[test]
    fn what_is_wrong_with_lists_is_named() {
        for (sql, fault) in [
            ("SELECT 1", None),
            ("UPDATE postings SET last = last + 1 WHERE term = 1", Some("3 term 1, part to 601: is out of order")),
            ("UPDATE postings SET versions = x'ff' WHERE term = 2", Some("3 term 2, part to 600: cannot be read")),
            ("UPDATE postings SET versions = x'0500' WHERE term = 2", Some("3 term 2, part to 600: cannot be read")),
            ("UPDATE unposted SET terms = x'80'", Some("those of version 601: cannot be read")),
            ("DELETE FROM versions WHERE id = 7", Some("term 1 of version 7: one of them is not there")),
            ("DELETE FROM terms WHERE id = 5", Some("term 5 of version 5: one of them is not there")),
            ("INSERT INTO postings VALUES (3, 900, x'03')", Some("3 term 3, part to 900: is out of order")),
            ("INSERT INTO unposted VALUES (300, x'02')", Some("those of version 300: are in no part")),
            ("UPDATE terms SET tag = 18 WHERE id = 1", Some("those of version 601: are in no part")),
        ] {
            let (connection, mut kept) = (store(), Kept::new());
            keep(&connection, &mut kept, 1..=600);
            post(&connection, false).unwrap();
            keep(&connection, &mut kept, [601]);
            for version in 1..=601 {
                let row = "INSERT INTO versions (id, record, from_revision, to_revision, kind, name, newest_first,
                           oldest_first, updated_at_us, facets) VALUES (?1, ?1, 1, 2, 1, '', 0, 0, 0, x'')";
                connection.execute(row, [version]).unwrap();
            }
            connection.execute_batch(sql).unwrap();
            let Listed { faults, pairs } = list(&connection, "main", "listed").unwrap();
            match fault {
                Some(fault) => assert!(faults.iter().any(|said| said.starts_with(fault)), "{sql}: {faults:?}"),
                None => {
                    assert_eq!(faults, Vec::<String>::new());
                    let all: usize = kept.values().map(BTreeSet::len).sum();
                    assert_eq!(pairs, all as u64);
                    let listed = connection.query_row("SELECT count(*) FROM listed", [], |row| row.get::<_, usize>(0));
                    assert_eq!(listed.unwrap(), all);
                }
            }
        }
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
        assert_eq!(connection.query_row(parts, [], |row| row.get::<_, i64>(0)).unwrap(), 5);
    }

    proptest! {
        #[test]
        fn numbers_are_unpacked_as_they_were_packed(numbers in prop::collection::btree_set(any::<i64>(), 0..50)) {
            prop_assert_eq!(unpack(&pack(numbers.iter().copied())).unwrap(), Vec::from_iter(numbers));
        }

        #[test]
        fn bytes_that_are_no_numbers_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let ends_within = bytes.last().is_some_and(|last| *last >= 0x80);
            match unpack(&bytes) {
                Ok(numbers) => prop_assert!(!ends_within && numbers.is_sorted_by(|a, b| a < b)),
                Err(error) => prop_assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt)),
            }
        }
    }
}
