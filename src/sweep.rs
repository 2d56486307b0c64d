//! What the writer does in its own time: gives back the room of what was trimmed, some rows at a time, until none is left;
//! and has what was erased written over where it stood before, in free pages and in the write-ahead log.

use std::{future::Future, pin::Pin, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    failpoints,
    limits::{CUT_PAUSE, SWEEP_GRACE, SWEEP_PAUSE},
    store::Store,
    writer::Writer,
};

/// How so much time is let pass; tests have their own way.
pub type Wait = Box<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Sweeps whenever the log's floor has moved, until it is stopped.
pub async fn run(store: Store, writer: Writer, stop: CancellationToken) {
    run_with(store, writer, Box::new(sleep), stop).await;
}

/// The same, where time passes in another way before rows are dropped.
pub async fn run_with(store: Store, writer: Writer, wait: Wait, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow(&store, &writer, &wait) => {}
        () = forget(&store, &writer) => {}
    }
}

fn sleep(time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(tokio::time::sleep(time))
}

/// After each redaction has the pages written over that were free, portion by portion, and empties the write-ahead log of
/// what was there, until nobody reads it: the writer did as much itself as nobody had to wait for. What an earlier run of
/// this server left is found when it begins.
async fn forget(store: &Store, writer: &Writer) {
    let mut heads = store.follow_head();
    let (mut forgotten, mut wrote) = (0, false);
    loop {
        let moved = heads.wait_for(|head| head.redacted > forgotten).await.map(|head| head.redacted);
        let Ok(redacted) = moved else { return std::future::pending().await };
        // First and after each portion, so that the log stays short, and has nothing of it in the end.
        match writer.cut_log().await {
            Ok(true) => {}
            Ok(false) => {
                tokio::time::sleep(CUT_PAUSE).await;
                continue;
            }
            Err(_) => return std::future::pending().await,
        }
        match writer.scrub().await {
            Ok(true) => {
                wrote = true;
                tokio::time::sleep(SWEEP_PAUSE).await;
            }
            // Nothing was to be done if the writer did it all, or more parts of what is erased are to come.
            Ok(false) if !wrote => forgotten = redacted,
            Ok(false) => {
                wrote = false;
                tracing::info!(redacted, "no free page is left to be written over");
                forgotten = redacted;
            }
            Err(error) => {
                tracing::warn!(%error, "pages that were free keep what they had for now");
                tokio::time::sleep(SWEEP_GRACE).await;
            }
        }
    }
}

async fn follow(store: &Store, writer: &Writer, wait: &Wait) {
    let mut heads = store.follow_head();
    // What an earlier run of this server left is found when it begins.
    let mut swept = 0;
    loop {
        let Ok(floor) = heads.wait_for(|head| head.floor > swept).await.map(|head| head.floor) else { return };
        // Reads that began before the floor moved are over by then; longer ones look at the floor again and again.
        grace(wait).await;
        loop {
            match writer.sweep(floor).await {
                Ok(true) => wait(SWEEP_PAUSE).await,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "what was trimmed keeps its room for now");
                    grace(wait).await;
                }
            }
        }
        tracing::info!(floor, "what was trimmed has given its room back");
        swept = floor;
    }
}

/// Lets so much time pass, unless a test has none.
async fn grace(wait: &Wait) {
    if failpoints::at("sweep.grace").is_none() {
        wait(SWEEP_GRACE).await;
    }
}
