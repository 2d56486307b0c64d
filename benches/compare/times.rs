//! How long things took.

use std::time::Duration;

/// Durations, all of them kept: percentiles are exact.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<u32>);

impl Times {
    /// One more; whatever takes more than an hour is cut to about that.
    pub fn add(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// Those of another.
    pub fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that so many of a hundred do not exceed, in milliseconds; 0 if there is none.
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).map_or(0.0, |us| f64::from(*us) / 1000.0)
    }
}
