//! Lists: records that match a filter, in an order, as of a revision, page by page.
//!
//! One predicate on facets decides what matches; sets of versions by term, and dates along an index, only narrow what it
//! is asked of. Either the few versions of a set are sorted, or an index is walked in the order of the list, past those
//! that are not in the set: whichever takes fewer steps.

mod sets;
mod sorted;
mod walk;

use prost::Message as _;
use rusqlite::{Connection, params};

pub(super) use self::sets::Asked;
pub use self::sets::TermSets;
use super::read::{self, decode, decode_facets};
use crate::{
    domain::{
        date::{Day, Span},
        error::Result,
        filter::Filters,
        record,
        status::{self, View},
    },
    limits::{MAX_PAGE_BYTES, MAX_PAGE_STEPS},
    pb::v1,
};

/// What reading a record costs, in steps along an index.
const READ_STEPS: usize = 30;
/// What finding a version by its name costs, in steps along an index.
const NAME_STEPS: usize = 12;
/// What deriving the status of a record anew costs, in steps along an index.
const DERIVE_STEPS: usize = 90;

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The sort key; 0 by name.
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

/// One page. What it reads is bounded, so it may come back short or empty with a next place.
///
/// # Errors
///
/// If the store cannot be read.
pub fn page(connection: &Connection, sets: &TermSets, query: &Query<'_>) -> Result<Page> {
    let newest: i64 =
        read::row(connection, "SELECT coalesce(max(id), 0) FROM versions", [], |r| r.get(0))?.unwrap_or(0);
    let mut collector = Collector::new(connection, query);
    let asked =
        Asked { filters: query.filters, kind_is_walked: query.kind.is_some(), another_day: query.valid_at.is_some() };
    match sets.narrow(connection, &asked, newest)? {
        Some(set) if set.is_empty() => {}
        Some(set) if sorted::is_cheaper(set.len(), newest, query) => sorted::collect(&mut collector, &set)?,
        set => walk::collect(&mut collector, set.as_ref())?,
    }
    Ok(collector.page)
}

/// What a version costs that is passed on the way.
fn steps(order: Order) -> usize {
    if order == Order::Name { NAME_STEPS } else { 1 }
}

/// Whether a page goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    More,
    Full,
}

/// A page that grows, and what it took so far.
struct Collector<'a> {
    connection: &'a Connection,
    query: &'a Query<'a>,
    /// The period that is asked for, if one is: asked of every version that is met.
    days: Option<(Option<Day>, Option<Day>)>,
    page: Page,
    bytes: usize,
    steps: usize,
}

impl<'a> Collector<'a> {
    fn new(connection: &'a Connection, query: &'a Query<'a>) -> Self {
        Self { connection, query, days: query.filters.days(), page: Page::default(), bytes: 0, steps: 0 }
    }

    /// Whether something with these sort keys may lie in the period that is asked for, if one is.
    fn spans(&self, newest_first: i64, oldest_first: i64) -> bool {
        self.days.is_none_or(|(from, until)| {
            newest_first <= from.map_or(i64::MAX - 1, |day| -i64::from(day))
                && oldest_first <= until.map_or(i64::MAX - 1, i64::from)
        })
    }

    /// Counts a version that is no candidate; whether the page has taken all the steps that it may.
    fn is_spent(&mut self) -> bool {
        self.steps += steps(self.query.order);
        self.steps >= MAX_PAGE_STEPS
    }

    /// Reads a candidate, and takes it if it stands and matches.
    fn offer(&mut self, version: i64, place: Place) -> Result<Flow> {
        let sql = "SELECT facets, body FROM versions
                   WHERE id = ?1 AND from_revision <= ?2 AND to_revision > ?2 AND body IS NOT NULL";
        // What does not match is not copied.
        let found = read::row(self.connection, sql, params![version, self.query.revision], |r| {
            Ok(self.matching(r.get_ref(0)?.as_blob()?, r.get_ref(1)?.as_blob()?))
        })?;
        if let Some(record) = found.transpose()?.flatten() {
            self.bytes += record.encoded_len();
            self.page.records.push(record);
        }
        self.steps += if self.query.valid_at.is_some() { DERIVE_STEPS } else { READ_STEPS };
        let full =
            self.page.records.len() >= self.query.limit || self.bytes >= MAX_PAGE_BYTES || self.steps >= MAX_PAGE_STEPS;
        if !full {
            return Ok(Flow::More);
        }
        self.page.next = Some(place);
        Ok(Flow::Full)
    }

    /// The record of a candidate, if it matches.
    fn matching(&self, facets: &[u8], body: &[u8]) -> Result<Option<v1::Record>> {
        let query = self.query;
        let mut facets = decode_facets(facets)?;
        let Some(day) = query.valid_at else {
            return if query.filters.matches(&facets) { decode(body).map(Some) } else { Ok(None) };
        };
        let mut record: v1::Record = decode(body)?;
        derive_at(self.connection, &mut record, day, query.revision)?;
        facets.set_status(record::info(&record).and_then(|i| i.status.as_ref()));
        Ok(query.filters.matches(&facets).then_some(record))
    }
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
