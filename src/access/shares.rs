//! How much each principal may ask for, whichever of its credentials it shows.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use serde::Deserialize;

use crate::{
    domain::error::{Error, Reason, Result},
    limits::{MAX_REQUEST_BYTES, SHARES_FORGOTTEN_EVERY},
};

/// What each principal may ask for; `None` is what the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// Calls a second, and as many at once.
    pub requests_per_second: Option<NonZeroU32>,
    /// Bytes of filings a second; one filing of the largest size is always possible.
    pub filing_bytes_per_second: Option<NonZeroU32>,
    /// Calls with one answer that are under way at the same time, until their answers are taken.
    pub calls: Option<NonZeroU32>,
    /// Watches, imports and backups at the same time.
    pub streams: Option<NonZeroU32>,
    /// Watches that are sent the snapshot that they begin with, and backups, at the same time.
    pub snapshots: Option<NonZeroU32>,
}

type Limiter = DefaultKeyedRateLimiter<Arc<str>>;

/// What principals have asked for lately.
pub(super) struct Shares {
    requests: Option<Limiter>,
    filings: Option<Limiter>,
    calls: Option<NonZeroU32>,
    streams: Option<NonZeroU32>,
    snapshots: Option<NonZeroU32>,
    /// How many of each principal are open.
    open: Mutex<BTreeMap<(Arc<str>, Kind), u32>>,
    /// Until those who have been quiet are forgotten.
    asked: AtomicU32,
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").finish_non_exhaustive()
    }
}

/// What is counted while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Call,
    Stream,
    Snapshot,
}

/// A place among those of its principal, until it is dropped.
#[derive(Debug)]
pub struct Place {
    shares: Arc<Shares>,
    of: (Arc<str>, Kind),
}

impl Shares {
    pub fn new(allowance: Allowance) -> Self {
        let largest = u32::try_from(MAX_REQUEST_BYTES).ok().and_then(NonZeroU32::new);
        let bytes = |rate: NonZeroU32| Quota::per_second(rate).allow_burst(largest.map_or(rate, |l| l.max(rate)));
        Self {
            requests: allowance.requests_per_second.map(|rate| RateLimiter::keyed(Quota::per_second(rate))),
            filings: allowance.filing_bytes_per_second.map(|rate| RateLimiter::keyed(bytes(rate))),
            calls: allowance.calls,
            streams: allowance.streams,
            snapshots: allowance.snapshots,
            open: Mutex::default(),
            asked: AtomicU32::new(0),
        }
    }

    /// One call more.
    pub fn request(&self, principal: &Arc<str>) -> Result<()> {
        if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(SHARES_FORGOTTEN_EVERY) {
            self.requests.iter().chain(&self.filings).for_each(Limiter::retain_recent);
        }
        let Some(limiter) = &self.requests else { return Ok(()) };
        let early = |until: governor::NotUntil<_>| until.wait_time_from(limiter.clock().now());
        limiter.check_key(principal).map_err(|until| exceeded(principal, "calls a second", early(until)))
    }

    /// Bytes of a filing more.
    pub fn filing(&self, principal: &Arc<str>, bytes: usize) -> Result<()> {
        let Some(limiter) = &self.filings else { return Ok(()) };
        let Some(bytes) = u32::try_from(bytes).ok().and_then(NonZeroU32::new) else { return Ok(()) };
        match limiter.check_key_n(principal, bytes) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => {
                let wait = until.wait_time_from(limiter.clock().now());
                Err(exceeded(principal, "bytes of filings a second", wait))
            }
            // One of the largest size always fits, and a larger one was refused before.
            Err(_) => Err(exceeded(principal, "bytes of filings a second", Duration::from_secs(1))),
        }
    }

    /// One call under way more; nothing where they are not counted.
    pub fn call(self: &Arc<Self>, principal: &Arc<str>) -> Result<Option<Place>> {
        let Some(most) = self.calls else { return Ok(None) };
        self.open(principal, Kind::Call, Some(most))
            .map(Some)
            .map_err(|most| full(principal, format!("{principal} has {most} calls under way already"), most))
    }

    /// One stream more.
    pub fn stream(self: &Arc<Self>, principal: &Arc<str>) -> Result<Place> {
        self.open(principal, Kind::Stream, self.streams)
            .map_err(|most| full(principal, format!("{principal} has {most} streams open already"), most))
    }

    /// One snapshot or backup more.
    pub fn snapshot(self: &Arc<Self>, principal: &Arc<str>) -> Result<Place> {
        self.open(principal, Kind::Snapshot, self.snapshots)
            .map_err(|most| full(principal, format!("{principal} is sent {most} snapshots or backups already"), most))
    }

    /// A place, or how many there are if all are taken.
    fn open(
        self: &Arc<Self>,
        principal: &Arc<str>,
        kind: Kind,
        most: Option<NonZeroU32>,
    ) -> std::result::Result<Place, u32> {
        let of = (Arc::clone(principal), kind);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(of.clone()).or_default();
        if most.is_some_and(|most| *count >= most.get()) {
            return Err(*count);
        }
        *count += 1;
        Ok(Place { shares: Arc::clone(self), of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.shares.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.of) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.of)),
        }
    }
}

fn full(principal: &str, why: String, most: u32) -> Error {
    Error::new(Reason::QuotaExceeded, why).with("limit", most).with("principal", principal)
}

fn exceeded(principal: &str, what: &str, wait: Duration) -> Error {
    let why = format!("{principal} has asked for more {what} than it may; nothing happened");
    Error::new(Reason::QuotaExceeded, why).with_retry(wait).with("principal", principal)
}
