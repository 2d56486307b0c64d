//! Calls one after the other on many streams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::{Outcome, times::Times, wire::Wire};

/// What calls came to.
pub struct Calls {
    /// A second.
    pub rate: f64,
    /// Of each.
    pub times: Times,
}

/// Makes all calls, so many at once, spread over the connections; each stream goes on when it has its answer.
pub async fn calls(wires: &[Wire], at_once: usize, path: &'static str, requests: Vec<Bytes>) -> Outcome<Calls> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for wire in wires.iter().cycle().take(at_once) {
        let (mut method, requests, next) = (wire.method(path)?, Arc::clone(&requests), Arc::clone(&next));
        tasks.spawn(async move {
            let mut times = Times::default();
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let sent = Instant::now();
                method.call(request).await?;
                times.add(sent.elapsed());
            }
            Outcome::Ok(times)
        });
    }
    let mut times = Times::default();
    while let Some(ended) = tasks.join_next().await {
        times.merge(ended??);
    }
    Ok(Calls { rate: times.count() as f64 / began.elapsed().as_secs_f64(), times })
}
