//! The feed: one log with cursors, not a queue per subscriber.
//!
//! A ring holds the recent revisions. A subscriber is a position, a filter and a wake-up; one that is outside the ring
//! reads the log from the store until it meets the ring again, which only the ring's owner grants, so that the hand-over
//! has no gap. A slow subscriber costs its cursor and its HTTP/2 window, and is never dropped for slowness.

mod frames;
mod hub;
mod interest;
mod subscription;
mod sync;

use std::time::Duration;

pub use self::{
    frames::{Selection, event},
    hub::{Hub, Polled, Subscriber},
    subscription::{Acknowledged, Ends, Frames, Options, Plan, SnapshotPlace, Start, Until, subscribe},
};
use crate::limits;

/// The capacities of a feed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of recent revisions kept in memory.
    pub ring_bytes: usize,
    /// Revisions that a subscriber behind the ring reads from the store at once.
    pub page_revisions: usize,
    /// Streams at the same time.
    pub max_watches: usize,
    /// Those of them that are sent a snapshot at the same time.
    pub max_snapshots: usize,
    /// How long a transport may accept nothing before its stream is reset.
    pub stall_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ring_bytes: limits::RING_BYTES,
            page_revisions: limits::REPLAY_PAGE_REVISIONS,
            max_watches: limits::MAX_WATCHES,
            max_snapshots: limits::MAX_SNAPSHOTS,
            stall_timeout: limits::STALL_TIMEOUT,
        }
    }
}
