//! The only caller of system time.

use std::{
    fmt::Debug,
    future::Future,
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A day in microseconds.
pub const DAY_US: i64 = 86_400_000_000;
/// The principal of what the clock files.
pub const CLOCK: &str = "clock";

/// Tells the time of day; tests bring their own.
pub trait Clock: Send + Sync + Debug + 'static {
    /// Microseconds since 1970-01-01 UTC.
    fn now_us(&self) -> i64;

    /// Waits until it is that late, or until the clock was set back: who waited for a day looks again at which it is.
    fn wait_until(&self, us: i64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that may")]
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn wait_until(&self, us: i64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        // The time of day jumps, and sleeping machines wake late: it is looked at again and again.
        Box::pin(async move {
            let mut seen = self.now_us();
            while let Ok(left @ 1..) = u64::try_from(us.saturating_sub(seen)) {
                tokio::time::sleep(Duration::from_micros(left).min(LOOK_AGAIN)).await;
                let now = self.now_us();
                if now < seen {
                    return;
                }
                seen = now;
            }
        })
    }
}

/// How long the clock of this machine is trusted to run evenly.
const LOOK_AGAIN: Duration = Duration::from_secs(20);

/// An instant of the contract.
///
/// # Panics
///
/// Never: the remainder is below a second.
#[must_use]
pub fn timestamp(us: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) * 1000).expect("below a second");
    prost_types::Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}

/// The microseconds of an instant of the contract; rounds down.
#[must_use]
pub fn micros(timestamp: &prost_types::Timestamp) -> i64 {
    timestamp.seconds.saturating_mul(1_000_000).saturating_add(i64::from(timestamp.nanos / 1000))
}

/// The civil day (UTC) of an instant, in days since 1970.
#[must_use]
pub fn day(us: i64) -> i32 {
    i32::try_from(us.div_euclid(DAY_US)).unwrap_or(i32::MAX)
}

/// A moment of this process, for intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks(std::time::Instant);

/// Now, for intervals.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that may")]
pub fn ticks() -> Ticks {
    Ticks(std::time::Instant::now())
}

impl Ticks {
    /// How long ago it was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// How long ago an instant of the log was, in microseconds; 0 if it lies ahead.
#[must_use]
pub fn age_us(us: i64) -> u64 {
    u64::try_from(SystemClock.now_us().saturating_sub(us)).unwrap_or(0)
}
