//! Gives back the room of what was trimmed: asks the writer to drop some rows at a time, until none is left.

use tokio_util::sync::CancellationToken;

use crate::{
    limits::{SWEEP_GRACE, SWEEP_PAUSE},
    store::Store,
    writer::Writer,
};

/// Sweeps whenever the log's floor has moved, until it is stopped.
pub async fn run(store: Store, writer: Writer, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow(&store, &writer) => {}
    }
}

async fn follow(store: &Store, writer: &Writer) {
    let mut heads = store.follow_head();
    // What an earlier run of this server left is found when it begins.
    let mut swept = 0;
    loop {
        let Ok(floor) = heads.wait_for(|head| head.floor > swept).await.map(|head| head.floor) else { return };
        // Reads that began before the floor moved are over by then; longer ones look at the floor again and again.
        tokio::time::sleep(SWEEP_GRACE).await;
        loop {
            match writer.sweep(floor).await {
                Ok(true) => tokio::time::sleep(SWEEP_PAUSE).await,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "what was trimmed keeps its room for now");
                    tokio::time::sleep(SWEEP_GRACE).await;
                }
            }
        }
        tracing::info!(floor, "what was trimmed has given its room back");
        swept = floor;
    }
}
