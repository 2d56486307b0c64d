//! After a start: where records lie is read ahead of those who ask, so that whoever looks one up for the first time need not
//! wait until it is found by its name.

use tokio_util::sync::CancellationToken;

use crate::{
    limits::RECALL_PAUSE,
    store::{Recalled, Store},
    tasks::blocking,
};

/// Reads ahead, the records of each kind that come last first, until it has all that have room, or is stopped.
pub async fn run(store: Store, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = all(&store) => {}
    }
}

async fn all(store: &Store) {
    let mut next = Some(Recalled::default());
    while let Some(from) = next {
        let reader = store.clone();
        match blocking(move || reader.recall(from)).await {
            Ok(to) => next = to,
            Err(error) => {
                tracing::warn!(%error, "where records lie is not read ahead: they are found by their names");
                return;
            }
        }
        tokio::time::sleep(RECALL_PAUSE).await;
    }
}
