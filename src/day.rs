//! The clock: asks the writer to move the registry's day when the UTC day changes.
//!
//! The log decides: two replicas may both ask, and the day moves once. While a history is replayed the clock sleeps, and
//! the writer moves the day itself.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    clock::{self, CLOCK, Clock, DAY_US},
    domain::{
        date::{self, Day},
        error::Result,
    },
    limits::MAX_DAY_JUMP,
    store::{Head, Store},
    writer::{Act, Request, Writer},
};

/// How long to wait before asking again after the writer refused.
const RETRY: Duration = Duration::from_secs(1);

/// Moves the registry's day with the clock until it is stopped.
pub async fn run(store: Store, writer: Writer, clock: Arc<dyn Clock>, any_jump: bool, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow(&store, &writer, clock.as_ref(), any_jump) => {}
    }
}

async fn follow(store: &Store, writer: &Writer, clock: &dyn Clock, any_jump: bool) {
    let mut heads = store.follow_head();
    loop {
        // An empty log has no day, and one that is replayed has its own.
        let live = |head: &Head| head.day.is_some() && !head.replaying;
        let Ok(head) = heads.wait_for(live).await.map(|head| *head) else { return };
        let now = clock.now_us();
        let today = clock::day(now);
        match head.day.map(|day| today.saturating_sub(day)) {
            Some(days) if days > MAX_DAY_JUMP && !any_jump => {
                let day = head.day.map(date::show).unwrap_or_default();
                tracing::error!(
                    registry = day,
                    clock = date::show(today),
                    "the clock is {days} days ahead of the registry's day, which does not move: \
                     correct the clock, or start with --accept-day-jump"
                );
            }
            Some(days) if days > 0 || head.pending.is_some() => {
                // A day that was begun is finished, even if the clock was set back since.
                let to = head.pending.map_or(today, |(day, _)| day.max(today));
                if let Err(error) = advance(writer, to).await {
                    tracing::warn!(%error, "the registry's day could not be moved yet");
                    tokio::time::sleep(RETRY).await;
                }
                continue;
            }
            _ => {}
        }
        clock.wait_until((i64::from(today) + 1) * DAY_US).await;
    }
}

/// Moves the registry's day, part by part.
///
/// # Errors
///
/// What the writer says; what was moved so far stands.
pub async fn advance(writer: &Writer, to: Day) -> Result<()> {
    loop {
        let request = Request {
            act: Act::Day { to },
            principal: CLOCK.to_owned(),
            request_id: String::new(),
            digest: [0; 32],
            validate_only: false,
            recorded_at_us: None,
        };
        let answer = writer.file(request, None).await?;
        let moved = answer.head.day.is_some_and(|day| day >= to);
        if moved || answer.revision == 0 {
            return Ok(());
        }
    }
}
