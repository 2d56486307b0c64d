//! Lists: records that match a filter, in an order, as of a revision, page by page.

use rusqlite::{Connection, types::Value};

use super::read::{self, decode, decode_facets, rows};
use crate::{
    domain::{
        date::{Day, Span},
        error::Result,
        facets::Tag,
        filter::Filters,
        record,
        status::{self, View},
    },
    limits::{MAX_PAGE_BYTES, MAX_PAGE_CANDIDATES},
    pb::v1,
};

/// Candidates read from the store at once.
const CHUNK: usize = 512;

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By the latest day it may have occurred, newest first; undated last.
    Newest,
    /// By the earliest day it may have occurred; undated last.
    Oldest,
    /// By name.
    Name,
    /// Last changed first.
    Updated,
}

/// Where a page ends: the sort key and name of its last candidate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The sort key; unused by name.
    pub key: i64,
    /// The name.
    pub name: String,
}

/// A page of records.
#[derive(Debug, Default)]
pub struct Page {
    /// The records that match.
    pub records: Vec<v1::Record>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Place>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// Of which kind; `None` is all, by name alone.
    pub kind: Option<v1::RecordKind>,
    /// Which.
    pub filters: &'a Filters,
    /// As of which revision.
    pub revision: u64,
    /// In what order.
    pub order: Order,
    /// At most so many.
    pub limit: usize,
    /// After this place.
    pub after: Option<Place>,
    /// Derive the status anew for this day; `None` takes the one that stands.
    pub valid_at: Option<Day>,
}

/// The sort keys of a version: (newest first, oldest first). Undated records come last in both.
#[must_use]
pub fn sort_keys(occurred: Option<Span>) -> (i64, i64) {
    match occurred {
        None => (i64::MAX, i64::MAX),
        Some(span) => (span.latest.map_or(i64::MIN, |day| -i64::from(day)), span.earliest.map_or(i64::MIN, i64::from)),
    }
}

/// One page. It examines a bounded number of candidates, so it may come back short or empty with a next place.
///
/// # Errors
///
/// If the store cannot be read.
pub fn page(connection: &Connection, query: &Query<'_>) -> Result<Page> {
    let mut page = Page::default();
    let mut after = query.after.clone();
    let (mut examined, mut bytes) = (0, 0);
    loop {
        let candidates = candidates(connection, query, after.as_ref())?;
        let more = candidates.len() == CHUNK;
        for candidate in candidates {
            examined += 1;
            after = Some(candidate.place.clone());
            if let Some(record) = matching(connection, query, &candidate.facets, &candidate.body)? {
                bytes += candidate.body.len();
                page.records.push(record);
            }
            if page.records.len() >= query.limit || bytes >= MAX_PAGE_BYTES || examined >= MAX_PAGE_CANDIDATES {
                page.next = after;
                return Ok(page);
            }
        }
        if !more {
            return Ok(page);
        }
    }
}

/// The record of a candidate, if it matches.
fn matching(connection: &Connection, query: &Query<'_>, facets: &[u8], body: &[u8]) -> Result<Option<v1::Record>> {
    let mut facets = decode_facets(facets)?;
    let Some(day) = query.valid_at else {
        return if query.filters.matches(&facets) { decode(body).map(Some) } else { Ok(None) };
    };
    let mut record: v1::Record = decode(body)?;
    derive_at(connection, &mut record, day, query.revision)?;
    facets.set_status(record::info(&record).and_then(|i| i.status.as_ref()));
    Ok(query.filters.matches(&facets).then_some(record))
}

/// Puts the status that a record has on another day, as it was known at a revision, in place of the one that stood.
///
/// # Errors
///
/// If the store cannot be read.
pub fn derive_at(connection: &Connection, record: &mut v1::Record, day: Day, revision: u64) -> Result<()> {
    let successors = read::successors_at(connection, record, revision)?;
    let status = status::derive(record, View { day, successors: &successors });
    record::set_status(record, status);
    Ok(())
}

/// The names of records of a kind that match and whose latest day lies in a range, both inclusive, by that day, as of a
/// revision: a short walk along one index, for hints. At most `limit`.
///
/// # Errors
///
/// If the store cannot be read.
pub fn ended_within(
    connection: &Connection,
    kind: v1::RecordKind,
    filters: &Filters,
    (from, until): (Day, Day),
    revision: u64,
    limit: usize,
) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT name, facets FROM versions WHERE kind = ?1 AND newest_first BETWEEN ?2 AND ?3
         AND from_revision <= ?4 AND to_revision > ?4 AND body IS NOT NULL ORDER BY newest_first LIMIT {CHUNK}"
    );
    let range = (kind as i32, -i64::from(until), -i64::from(from), revision);
    let found = rows(connection, &sql, range, |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let mut names = Vec::new();
    for (name, facets) in found {
        if names.len() >= limit {
            break;
        }
        if filters.matches(&decode_facets(&facets)?) {
            names.push(name);
        }
    }
    Ok(names)
}

struct Candidate {
    place: Place,
    facets: Vec<u8>,
    body: Vec<u8>,
}

fn candidates(connection: &Connection, query: &Query<'_>, after: Option<&Place>) -> Result<Vec<Candidate>> {
    let (key, by_name) = match query.order {
        Order::Newest => ("newest_first", false),
        Order::Oldest => ("oldest_first", false),
        Order::Updated => ("-updated_at_us", false),
        Order::Name => ("0", true),
    };
    let mut sql = format!(
        "SELECT {key}, name, facets, body FROM versions v
         WHERE from_revision <= ? AND to_revision > ? AND body IS NOT NULL"
    );
    let revision = i64::try_from(query.revision).unwrap_or(i64::MAX);
    let mut params: Vec<Value> = vec![revision.into(), revision.into()];
    if let Some(kind) = query.kind {
        sql.push_str(" AND kind = ?");
        params.push(Value::Integer(i64::from(kind as i32)));
    }
    if let Some(place) = after {
        if by_name {
            sql.push_str(" AND name > ?");
        } else {
            sql.push_str(&format!(" AND ({key}, name) > (?, ?)"));
            params.push(place.key.into());
        }
        params.push(place.name.clone().into());
    }
    if let Some((from, until)) = query.filters.days() {
        // Kept as sort keys: the latest day negated, the earliest as it is; undated records have neither.
        sql.push_str(" AND newest_first <= ? AND oldest_first <= ?");
        params.push(from.map_or(i64::MAX - 1, |day| -i64::from(day)).into());
        params.push(until.map_or(i64::MAX - 1, i64::from).into());
    }
    let by_kind_alone = |terms: &Vec<(Tag, String)>| query.kind.is_some() && terms.iter().all(|(t, _)| *t == Tag::Kind);
    // On another day another status holds than the one that is indexed.
    let indexed = |tag: Tag| query.valid_at.is_none() || !matches!(tag, Tag::Status | Tag::AgreementStatus);
    if let Some(terms) = query.filters.narrowest(indexed).filter(|terms| !by_kind_alone(terms)) {
        let places = vec!["(?, ?)"; terms.len()].join(", ");
        sql.push_str(&format!(
            " AND id IN (SELECT version FROM version_terms WHERE term IN
                (SELECT id FROM terms WHERE (tag, value) IN (VALUES {places})))"
        ));
        for (tag, value) in terms {
            params.push(i64::from(tag as u8).into());
            params.push(value.into());
        }
    }
    let order = if by_name { "name".to_owned() } else { format!("{key}, name") };
    sql.push_str(&format!(" ORDER BY {order} LIMIT {CHUNK}"));
    rows(connection, &sql, rusqlite::params_from_iter(params), candidate)
}

fn candidate(row: &rusqlite::Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate { place: Place { key: row.get(0)?, name: row.get(1)? }, facets: row.get(2)?, body: row.get(3)? })
}
