//! Trimming by age and by number: once a day it asks the writer for what `attache trim` would.
//!
//! What goes depends on the log alone, and on how many days and revisions are to stay: on the registry's day, and on when each
//! revision was recorded. So replicas that are told the same numbers ask for the same trim, and the log takes it once.

use tokio_util::sync::CancellationToken;

use crate::{
    clock::{CLOCK, DAY_US},
    domain::{date::Day, error::Result},
    limits::{MIN_RETAIN_DAYS, RETAIN_RETRY},
    store::{Head, Store, log},
    tasks::blocking,
    writer::{Act, Request, Writer},
};

/// How much of history stays: what either number wants kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// So many days; `None` is as few as may be, [`MIN_RETAIN_DAYS`].
    days: Option<u32>,
    /// So many revisions; `None` is however few.
    revisions: Option<u64>,
}

impl Kept {
    /// What was said; `None` if nothing was, and everything stays.
    #[must_use]
    pub fn of(days: Option<u32>, revisions: Option<u64>) -> Option<Self> {
        (days.is_some() || revisions.is_some()).then_some(Self { days, revisions })
    }

    fn days(self) -> i64 {
        i64::from(self.days.unwrap_or(MIN_RETAIN_DAYS))
    }

    /// The last revision that neither number wants kept: `older` is the last that is older than the days, `newest` the last
    /// one before today. Revisions are counted from that, on which all replicas agree; what came since stays besides.
    fn superfluous(self, older: Option<u64>, newest: Option<u64>) -> Option<u64> {
        let beyond = newest?.saturating_sub(self.revisions.unwrap_or(0));
        older.map(|older| older.min(beyond))
    }
}

/// Trims whenever the registry's day has moved, so that as much before it stays, until it is stopped.
pub async fn run(store: Store, writer: Writer, kept: Kept, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        // Nobody files any more.
        () = writer.failed() => {}
        () = follow(&store, &writer, kept) => {}
    }
}

async fn follow(store: &Store, writer: &Writer, kept: Kept) {
    let mut heads = store.follow_head();
    let mut done = None;
    loop {
        // A history that is replayed passes through its days in no time, and a day that is moved to has yet to begin.
        let is_next = |head: &Head| !head.replaying && head.pending.is_none() && head.day > done;
        let Ok(Some(day)) = heads.wait_for(is_next).await.map(|head| head.day) else { return };
        match trim(store, writer, day, kept).await {
            Ok(()) => done = Some(day),
            Err(error) => {
                let Kept { days, revisions } = kept;
                tracing::warn!(%error, days, revisions, "the log keeps for now what is older than it is to retain");
                tokio::time::sleep(RETAIN_RETRY).await;
            }
        }
    }
}

/// Trims what is not kept as of the beginning of a day. The newest revision always stays.
///
/// A clock that is wrong moves the registry's day by many at once, and then everything is old: nothing goes before the next
/// day has passed, so that whoever runs the registry may notice. On every other day something was recorded on the one before,
/// if only its beginning.
async fn trim(store: &Store, writer: &Writer, day: Day, kept: Kept) -> Result<()> {
    let today_us = i64::from(day).saturating_mul(DAY_US);
    let begins_us = today_us.saturating_sub(kept.days().saturating_mul(DAY_US));
    let (reader, newest) = (store.clone(), store.head().revision);
    let read = move || {
        reader.read(|c| {
            let is_next = log::has_recorded(c, today_us.saturating_sub(DAY_US), today_us)?;
            let older = log::revision_at(c, begins_us.saturating_sub(1))?;
            Ok((is_next, older, log::revision_at(c, today_us.saturating_sub(1))?))
        })
    };
    let (is_next, older, before_today) = blocking(read).await?;
    if !is_next {
        tracing::warn!(
            "the registry's day moved by more than one: what is old is trimmed when the next one has passed"
        );
        return Ok(());
    }
    let through = kept.superfluous(older, before_today).map(|revision| revision.min(newest.saturating_sub(1)));
    // Nothing is, or it was dropped already, by another replica perhaps.
    let Some(through) = through.filter(|revision| *revision > store.head().floor) else { return Ok(()) };
    let answer = writer.file(Request::of(Act::Trim { before: through + 1 }, CLOCK), None).await?;
    if answer.revision > 0 {
        let Kept { days, revisions } = kept;
        tracing::info!(through, days, revisions, "dropped what is older than the log is to retain");
    }
    Ok(())
}
