//! That there is no room is counted and in the log, whatever was asked for: whoever asks is told each time, and the log says
//! it now and then.

use prometheus_client::metrics::counter::Counter;

use crate::{
    clock::Clock,
    domain::error::{Error, Reason},
};

/// How often the log says it at most, in microseconds.
const SAY_EVERY_US: u64 = 60_000_000;

/// Says it.
#[derive(Debug, Default)]
pub(super) struct Full {
    /// When it was said last, in microseconds since 1970; `None` is never.
    said_us: Option<i64>,
}

impl Full {
    /// Counts it if this is why nothing happened, and says it if it was not said just now.
    pub fn note(&mut self, error: &Error, clock: &dyn Clock, refused: &Counter) {
        if error.reason != Reason::StorageFull {
            return;
        }
        refused.inc();
        if self.is_due(clock.now_us()) {
            tracing::warn!(why = %error.message, "refused for lack of room: STORAGE_FULL");
        }
    }

    /// Whether it is to be said again, which is noted then.
    fn is_due(&mut self, now_us: i64) -> bool {
        // (Either way: a clock that was set back says it once more.)
        let is_due = self.said_us.is_none_or(|said| now_us.abs_diff(said) >= SAY_EVERY_US);
        if is_due {
            self.said_us = Some(now_us);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn what_was_refused_for_lack_of_room_is_counted_each_time_and_nothing_else_is() {
        let (mut full, refused) = (Full::default(), Counter::default());
        for reason in [Reason::StorageFull, Reason::Contention, Reason::StorageFull] {
            full.note(&Error::new(reason, "nothing happened"), &SystemClock, &refused);
        }
        assert_eq!(refused.get(), 2);
    }

    #[test]
    fn that_there_is_no_room_is_said_once_a_minute() {
        let mut full = Full::default();
        let minute = 60_000_000;
        let times = [0, 1, minute - 1, minute, minute + 1, 2 * minute, 0];
        assert_eq!(times.map(|now| full.is_due(now)), [true, false, false, true, false, true, true]);
    }
}
