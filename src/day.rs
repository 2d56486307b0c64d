//! The clock: asks the writer to move the registry's day when the UTC day changes.
//!
//! The log decides: two replicas may both ask, and the day moves once. While a history is replayed the clock sleeps, and
//! the writer moves the day itself.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    clock::{self, Clock, DAY_US},
    domain::{
        date::{self, Day},
        error::Result,
    },
    limits::{MAX_DAY_AHEAD, MAX_DAY_JUMP},
    store::{Head, Store},
    writer::{Request, Writer},
};

/// How long to wait before asking again after the writer refused.
const RETRY: Duration = Duration::from_secs(1);

/// Moves the registry's day with the clock until it is stopped.
pub async fn run(store: Store, writer: Writer, clock: Arc<dyn Clock>, any_jump: bool, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        // Nobody files any more, a day neither.
        () = writer.failed() => {}
        () = follow(&store, &writer, clock.as_ref(), any_jump) => {}
    }
}

async fn follow(store: &Store, writer: &Writer, clock: &dyn Clock, any_jump: bool) {
    let mut heads = store.follow_head();
    // The day of the clock on which it was last told that the two are apart.
    let mut told = None;
    loop {
        // An empty log has no day, and one that is replayed has its own.
        let live = |head: &Head| head.day.is_some() && !head.replaying;
        let Ok(head) = heads.wait_for(live).await.map(|head| *head) else { return };
        let today = clock::day(clock.now_us());
        let midnight = (i64::from(today) + 1) * DAY_US;
        let days = head.day.map_or(0, |day| today.saturating_sub(day));
        if head.pending.is_none() && days > MAX_DAY_JUMP && !any_jump {
            if told.replace(today) != Some(today) {
                let day = head.day.map(date::show).unwrap_or_default();
                tracing::error!(
                    registry = day,
                    clock = date::show(today),
                    "the clock is {days} days ahead of the registry's day, which does not move: \
                     correct the clock, or start with --accept-day-jump"
                );
            }
        } else if head.pending.is_some() || days > 0 {
            // A day that was begun is finished, even if the clock was set back since.
            let to = head.pending.map_or(today, |(day, _)| day);
            if let Err(error) = advance(writer, to).await {
                tracing::warn!(%error, "the registry's day could not be moved yet");
                tokio::time::sleep(RETRY).await;
            }
            continue;
        } else if days < -MAX_DAY_AHEAD && told.replace(today) != Some(today) {
            let day = head.day.map(date::show).unwrap_or_default();
            tracing::warn!(
                registry = day,
                clock = date::show(today),
                "the registry's day is {} days ahead of the clock, and stands still until that has come up to it",
                days.unsigned_abs()
            );
        }
        clock.wait_until(midnight).await;
    }
}

/// Moves the registry's day, part by part.
///
/// # Errors
///
/// What the writer says; what was moved so far stands.
pub async fn advance(writer: &Writer, to: Day) -> Result<()> {
    loop {
        let answer = writer.file(Request::day(to, None), None).await?;
        let moved = answer.head.day.is_some_and(|day| day >= to);
        if moved || answer.revision == 0 {
            return Ok(());
        }
    }
}
