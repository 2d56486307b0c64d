//! Lists of many versions: an index is walked in the order of the list.

use roaring::RoaringTreemap;
use rusqlite::{Row, ToSql};

use super::{Collector, Flow, Order, Place, Query};
use crate::{
    domain::{error::Result, name},
    store::from_sqlite,
};

/// What spans more days is in an index of its own, and found by that where a walk begins so far outside a period. The
/// schema says the same number.
const LONG_DAYS: i64 = 366;

/// Takes a page along an index, past what is not in the set.
pub(super) fn collect(page: &mut Collector<'_>, set: Option<&RoaringTreemap>) -> Result<()> {
    for stretch in stretches(page) {
        if stretch.collect(page, set)? == Flow::Full {
            break;
        }
    }
    Ok(())
}

/// The stretches of one index or two that together have everything in the order of the list.
fn stretches(page: &Collector<'_>) -> Vec<Stretch> {
    let (from, until) = page.days.unwrap_or_default();
    // Along the sort key of one end: where the period ends, and from where on the other end may lie in it.
    let order = page.query.order;
    let (begins, ends) = match order {
        Order::Newest => (until.map(|day| -i64::from(day)), from.map(|day| -i64::from(day))),
        Order::Oldest => (from.map(i64::from), until.map(i64::from)),
        Order::Name | Order::Updated => return vec![Stretch::along(order)],
    };
    let last = if page.days.is_some() { ends.unwrap_or(i64::MAX - 1) } else { i64::MAX };
    let whole = Stretch { last, ..Stretch::along(order) };
    let Some(begins) = begins.map(|key| key - LONG_DAYS) else { return vec![whole] };
    let long = Stretch { is_long: true, last: last.min(begins - 1), ..Stretch::along(order) };
    vec![long, Stretch { first: begins, ..whole }]
}

/// A part of an index, between two sort keys, both inclusive.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    order: Order,
    is_long: bool,
    first: i64,
    last: i64,
}

impl Stretch {
    fn along(order: Order) -> Self {
        Self { order, is_long: false, first: i64::MIN, last: i64::MAX }
    }

    fn collect(self, page: &mut Collector<'_>, set: Option<&RoaringTreemap>) -> Result<Flow> {
        let query = page.query;
        let start = self.start(query);
        let (sql, kind) = (self.sql(query.kind.is_some()), query.kind.map_or(0, |kind| kind as i32));
        // Names begin with their collection.
        let collection = query.kind.map(name::collection).unwrap_or_default();
        let (low, high) = (start.name.clone().max(format!("{collection}/")), format!("{collection}0"));
        let params: &[&dyn ToSql] = match (query.order, query.kind) {
            (Order::Name, Some(_)) => &[&query.revision, &low, &high],
            (Order::Name, None) => &[&query.revision, &start.name],
            _ => &[&kind, &start.key, &start.name],
        };
        let mut statement = page.connection.prepare_cached(&sql).map_err(|e| from_sqlite(&e))?;
        let mut rows = statement.query(params).map_err(|e| from_sqlite(&e))?;
        // The versions of one record may share a place, and the next page begins after it: what is full takes them all.
        let mut full: Option<Place> = None;
        while let Some(row) = rows.next().map_err(|e| from_sqlite(&e))? {
            let step = Step::read(row).map_err(|e| from_sqlite(&e))?;
            if step.key > self.last || full.as_ref().is_some_and(|place| !step.is_at(place)) {
                break;
            }
            if self.take(page, set, &step)? == Flow::Full {
                full = page.page.next.clone();
            }
        }
        Ok(if full.is_some() { Flow::Full } else { Flow::More })
    }

    /// The place after which it is walked.
    fn start(self, query: &Query<'_>) -> Place {
        match &query.after {
            Some(after) if query.order == Order::Name || after.key >= self.first => after.clone(),
            _ => Place { key: self.first, name: String::new() },
        }
    }

    /// Offers a version, or passes it.
    fn take(self, page: &mut Collector<'_>, set: Option<&RoaringTreemap>, step: &Step<'_>) -> Result<Flow> {
        if set.is_none_or(|set| set.contains(step.version)) && self.spans(page, step) {
            return page.offer(i64::try_from(step.version).unwrap_or(i64::MAX), step.place());
        }
        if !page.is_spent() {
            return Ok(Flow::More);
        }
        page.page.next = Some(step.place());
        Ok(Flow::Full)
    }

    /// Whether both ends allow that it lies in the period that is asked for; orders without dates leave it to the facets.
    fn spans(self, page: &Collector<'_>, step: &Step<'_>) -> bool {
        match self.order {
            Order::Newest => page.spans(step.key, step.other),
            Order::Oldest => page.spans(step.other, step.key),
            Order::Name | Order::Updated => true,
        }
    }

    /// Version, sort key, name and the key of the other end, in order.
    fn sql(self, of_kind: bool) -> String {
        let (index, key, other) = match self.order {
            Order::Newest if self.is_long => ("versions_long_newest", "newest_first", "oldest_first"),
            Order::Newest => ("versions_newest", "newest_first", "oldest_first"),
            Order::Oldest if self.is_long => ("versions_long_oldest", "oldest_first", "newest_first"),
            Order::Oldest => ("versions_oldest", "oldest_first", "newest_first"),
            Order::Updated => ("versions_updated", "-updated_at_us", "0"),
            Order::Name => {
                let range = if of_kind { "r.name > ?2 AND r.name < ?3" } else { "r.name > ?2" };
                // Of a record that came later there is no version yet.
                return format!(
                    "SELECT coalesce((SELECT v.id FROM versions v WHERE v.record = r.id AND v.from_revision <= ?1
                                      ORDER BY v.from_revision DESC LIMIT 1), 0), 0, r.name, 0
                     FROM records r WHERE {range} ORDER BY r.name"
                );
            }
        };
        let long =
            if self.is_long { format!("AND -(newest_first + oldest_first) > {LONG_DAYS}") } else { String::new() };
        format!(
            "SELECT id, {key}, name, {other} FROM versions INDEXED BY {index}
             WHERE kind = ?1 AND ({key}, name) > (?2, ?3) {long} ORDER BY {key}, name"
        )
    }
}

/// One entry of an index.
struct Step<'r> {
    version: u64,
    key: i64,
    name: &'r str,
    other: i64,
}

impl<'r> Step<'r> {
    fn read(row: &'r Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { version: row.get(0)?, key: row.get(1)?, name: row.get_ref(2)?.as_str()?, other: row.get(3)? })
    }

    fn place(&self) -> Place {
        Place { key: self.key, name: self.name.to_owned() }
    }

    fn is_at(&self, place: &Place) -> bool {
        self.key == place.key && self.name == place.name
    }
}
