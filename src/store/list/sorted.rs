//! Lists of few versions: read, and sorted.

use roaring::RoaringTreemap;

use super::{Collector, Flow, Order, Place, Query, READ_STEPS, steps};
use crate::{domain::error::Result, limits::MAX_PAGE_STEPS, store::read::row};

/// Whether sorting so many of the versions up to `newest` takes fewer steps than walking past the others.
pub(super) fn is_cheaper(versions: u64, newest: i64, query: &Query<'_>) -> bool {
    let (newest, limit) = (u64::try_from(newest).unwrap_or(0), query.limit as u64);
    let sorting = versions.saturating_mul(READ_STEPS as u64);
    let walking = limit.saturating_mul(newest).saturating_mul(steps(query.order) as u64) / versions.max(1);
    sorting <= MAX_PAGE_STEPS as u64 && sorting <= walking
}

/// Takes a page of the versions of a set.
pub(super) fn collect(page: &mut Collector<'_>, set: &RoaringTreemap) -> Result<()> {
    let mut places = Vec::new();
    for version in set {
        if let Some(place) = place(page, version)?
            && page.query.after.as_ref().is_none_or(|after| place > *after)
        {
            places.push((place, i64::try_from(version).unwrap_or(i64::MAX)));
        }
    }
    places.sort_unstable();
    let last = places.len().saturating_sub(1);
    for (at, (place, version)) in places.into_iter().enumerate() {
        if page.offer(version, place)? == Flow::Full {
            // Nothing is left after the last one.
            page.page.next = page.page.next.take().filter(|_| at < last);
            break;
        }
    }
    Ok(())
}

/// The place of a version in the list; `None` if it does not stand in it.
fn place(page: &Collector<'_>, version: u64) -> Result<Option<Place>> {
    let query = page.query;
    let sql = "SELECT kind, newest_first, oldest_first, updated_at_us, name FROM versions
               WHERE id = ?1 AND from_revision <= ?2 AND to_revision > ?2";
    let found = row(page.connection, sql, (version, query.revision), |r| {
        let key = match query.order {
            Order::Newest => r.get(1)?,
            Order::Oldest => r.get(2)?,
            Order::Updated => -r.get::<_, i64>(3)?,
            Order::Name => 0,
        };
        Ok((r.get::<_, i32>(0)?, r.get(1)?, r.get(2)?, Place { key, name: r.get(4)? }))
    });
    let Some((kind, newest_first, oldest_first, place)) = found? else { return Ok(None) };
    let is_asked = query.kind.is_none_or(|asked| asked as i32 == kind) && page.spans(newest_first, oldest_first);
    Ok(is_asked.then_some(place))
}
