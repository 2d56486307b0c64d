//! What the calls of a run took, and what went wrong.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tonic::Status;

use crate::cli::error::reason;

/// Decimal places that a time keeps.
const DIGITS: u8 = 3;

/// A day: longer than any run.
const LONGEST_US: u64 = 86_400_000_000;

/// Kinds of error that are told apart; the catalogue has fewer.
const MAX_FAULTS: usize = 64;

/// The percentiles that are printed.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// Times in microseconds, to three digits.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).expect("a histogram of three digits is one of those there are"))
    }
}

impl Times {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // It grows as needed, up to a time that no run has.
        let _ = self.0.record(us.min(LONGEST_US));
    }

    /// Those of another.
    pub fn merge(&mut self, other: &Self) {
        // It fails only if it may not grow.
        let _ = self.0.add(&other.0);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The percentiles and the longest, in milliseconds.
    #[must_use]
    pub fn in_ms(&self) -> Vec<(&'static str, f64)> {
        let ms = |us: u64| us as f64 / 1000.0;
        let percentiles = PERCENTILES.map(|(name, percent)| (name, ms(self.0.value_at_percentile(percent))));
        percentiles.into_iter().chain([("max", ms(self.0.max()))]).collect()
    }

    /// The same as an object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.in_ms()
            .into_iter()
            .map(|(name, ms)| (name.to_owned(), json!(ms)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// What went wrong in one way.
#[derive(Debug, Clone)]
struct Fault {
    count: u64,
    /// The words of the first.
    message: String,
}

/// What the calls of a run came to.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// What the calls took that were answered, and began after the warm-up.
    pub latency: Times,
    /// Their answers' bytes as they came over the wire, without headers.
    pub bytes: u64,
    /// Calls that were due and not sent, because the ones before took too long.
    pub unsent: u64,
    /// When the last of them was answered, from the end of the warm-up.
    pub took: Duration,
    /// By code and reason; those of the warm-up too.
    faults: BTreeMap<(String, String), Fault>,
}

impl Measured {
    /// An answer.
    pub fn answered(&mut self, latency: Duration, at: Duration, bytes: u64) {
        self.latency.add(latency);
        self.bytes += bytes;
        self.took = self.took.max(at);
    }

    /// A call that failed.
    pub fn failed(&mut self, status: &Status) {
        self.fault(format!("{:?}", status.code()), reason(status), status.message());
    }

    /// Something that failed: its code, the catalogue's reason if there is one, and words.
    pub fn fault(&mut self, code: String, reason: String, message: &str) {
        let is_known = self.faults.contains_key(&(code.clone(), reason.clone()));
        let key =
            if is_known || self.faults.len() < MAX_FAULTS { (code, reason) } else { ("…".into(), String::new()) };
        let fault = self.faults.entry(key).or_insert_with(|| Fault { count: 0, message: message.to_owned() });
        fault.count += 1;
    }

    /// How many calls failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.faults.values().map(|fault| fault.count).sum()
    }

    /// What other calls of the same run came to.
    pub fn merge(&mut self, other: &Self) {
        let Self { latency, bytes, unsent, took, faults } = other;
        self.latency.merge(latency);
        self.bytes += bytes;
        self.unsent += unsent;
        self.took = self.took.max(*took);
        for (key, fault) in faults {
            let own = self.faults.entry(key.clone()).or_insert_with(|| Fault { count: 0, ..fault.clone() });
            own.count += fault.count;
        }
    }

    /// So many a second, over the time it took.
    #[must_use]
    pub fn per_second(&self, count: u64) -> f64 {
        let seconds = self.took.as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    /// What went wrong, a line each.
    pub fn fault_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.faults.iter().map(|((code, reason), fault)| {
            let word = if reason.is_empty() { code.clone() } else { format!("{code} {reason}") };
            format!("{} × {word}: {}", fault.count, fault.message)
        })
    }

    /// What went wrong, an object each.
    #[must_use]
    pub fn faults_json(&self) -> Value {
        let object = |((code, reason), fault): (&(String, String), &Fault)| json!({"code": code, "reason": reason, "count": fault.count, "message": fault.message});
        self.faults.iter().map(object).collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_connections_measured_is_added_up() {
        let (mut one, mut other) = (Measured::default(), Measured::default());
        for ms in 1..=100 {
            one.answered(Duration::from_millis(ms), Duration::from_secs(1), 10);
        }
        other.answered(Duration::from_secs(1), Duration::from_secs(2), 10);
        other.failed(&Status::unavailable("gone"));
        one.failed(&Status::unavailable("away"));
        one.merge(&other);
        assert_eq!((one.latency.count(), one.bytes, one.failures()), (101, 1010, 2));
        assert!((one.per_second(one.latency.count()) - 50.5).abs() < 1e-9);
        let ms: BTreeMap<_, _> = one.latency.in_ms().into_iter().collect();
        assert!((50.0..52.0).contains(&ms["p50"]) && (999.0..1002.0).contains(&ms["max"]), "{ms:?}");
        assert_eq!(one.fault_lines().collect::<Vec<_>>(), ["2 × Unavailable: away"]);
    }

    #[test]
    fn however_many_ways_there_are_to_fail_few_are_told_apart() {
        let mut measured = Measured::default();
        (0..1000).for_each(|n| measured.fault(format!("C{n}"), String::new(), "x"));
        assert_eq!(measured.failures(), 1000);
        assert!(measured.fault_lines().count() <= MAX_FAULTS + 1);
    }
}
