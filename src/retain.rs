//! Trimming by age: once a day it asks the writer for what `attache trim` would.
//!
//! What goes depends on the log alone, and on how many days are to stay: on the registry's day, and on when each revision was
//! recorded. So replicas that are told the same number ask for the same trim, and the log takes it once.

use tokio_util::sync::CancellationToken;

use crate::{
    clock::{CLOCK, DAY_US},
    domain::{date::Day, error::Result},
    limits::RETAIN_RETRY,
    store::{Head, Store, log},
    tasks::blocking,
    writer::{Act, Request, Writer},
};

/// Trims whenever the registry's day has moved, so that as many days before it stay, until it is stopped.
pub async fn run(store: Store, writer: Writer, days: u32, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        // Nobody files any more.
        () = writer.failed() => {}
        () = follow(&store, &writer, days) => {}
    }
}

async fn follow(store: &Store, writer: &Writer, days: u32) {
    let mut heads = store.follow_head();
    let mut done = None;
    loop {
        // A history that is replayed passes through its days in no time, and a day that is moved to has yet to begin.
        let is_next = |head: &Head| !head.replaying && head.pending.is_none() && head.day > done;
        let Ok(Some(day)) = heads.wait_for(is_next).await.map(|head| head.day) else { return };
        match trim(store, writer, day, days).await {
            Ok(()) => done = Some(day),
            Err(error) => {
                tracing::warn!(%error, days, "the log keeps for now what is older than it is to retain");
                tokio::time::sleep(RETAIN_RETRY).await;
            }
        }
    }
}

/// Trims what was recorded before as many days ago, as of the beginning of a day. The newest revision always stays.
///
/// A clock that is wrong moves the registry's day by many at once, and then everything is old: nothing goes before the next
/// day has passed, so that whoever runs the registry may notice. On every other day something was recorded on the one before,
/// if only its beginning.
async fn trim(store: &Store, writer: &Writer, day: Day, days: u32) -> Result<()> {
    let today_us = i64::from(day).saturating_mul(DAY_US);
    let yesterday_us = today_us.saturating_sub(DAY_US);
    let begins_us = today_us.saturating_sub(i64::from(days).saturating_mul(DAY_US));
    let (reader, newest) = (store.clone(), store.head().revision);
    let read = move || {
        reader.read(|c| {
            let is_next = log::has_recorded(c, yesterday_us, today_us)?;
            Ok((is_next, log::revision_at(c, begins_us.saturating_sub(1))?))
        })
    };
    let (is_next, older) = blocking(read).await?;
    if !is_next {
        tracing::warn!(
            "the registry's day moved by more than one: what is old is trimmed when the next one has passed"
        );
        return Ok(());
    }
    let older = older.map(|revision| revision.min(newest.saturating_sub(1)));
    // Nothing is as old, or it was dropped already, by another replica perhaps.
    let Some(older) = older.filter(|revision| *revision > store.head().floor) else { return Ok(()) };
    let answer = writer.file(Request::of(Act::Trim { before: older + 1 }, CLOCK), None).await?;
    if answer.revision > 0 {
        tracing::info!(through = older, days, "dropped what is older than the log is to retain");
    }
    Ok(())
}
