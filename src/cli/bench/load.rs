//! The load: so many calls at once, for so long, over so many connections.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::{Args, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::measure::Measured;
use crate::{
    cli::{
        client::{ClientArgs, Connection},
        error::CliError,
    },
    clock::{self, Ticks},
    tasks::Tasks,
};

/// A call that is not answered by then has failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Who was refused waits so long: a server in trouble is not asked as fast as it can refuse.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

/// How often the bar on the terminal moves.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);

/// How much load, and for how long.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Connections
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = value_parser!(u16).range(1..=256))]
    pub connections: u16,
    /// Calls at once on each connection
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = value_parser!(u16).range(1..=1000))]
    pub streams: u16,
    /// How long to measure
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// How long to keep the same load going before that
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = value_parser!(u32).range(0..=600))]
    pub warm_up: u32,
    /// The server, and how to print.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl LoadArgs {
    /// Opens the connections.
    ///
    /// # Errors
    ///
    /// As of [`ClientArgs::connect`].
    pub async fn connect(&self) -> Result<Vec<Connection>, CliError> {
        let mut connections = Vec::with_capacity(self.connections.into());
        for _ in 0..self.connections {
            connections.push(self.client.connect().await?);
        }
        Ok(connections)
    }

    /// As the result tells it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { connections, streams, seconds, warm_up, .. } = self;
        json!({"connections": connections, "streams": streams, "seconds": seconds, "warmUp": warm_up})
    }
}

/// What one stream of a load does again and again.
pub trait Work: Send + 'static {
    /// One call; the bytes of its answer.
    fn call(&mut self) -> impl Future<Output = Result<u64, Status>> + Send;
}

/// Keeps a load going on the connections, each call after the answer to the one before on the same stream; or, with a
/// rate, each when it is due. A call that is late for that was kept waiting by the ones before, which counts as latency.
/// Ends at the end or at Ctrl-C, when the last call is answered.
pub async fn run<W: Work>(args: &LoadArgs, rate: Option<u32>, works: Vec<Vec<W>>) -> Measured {
    let stop = CancellationToken::new();
    let run = Arc::new(Run::new(args.warm_up, args.seconds, rate, stop.clone()));
    let (tasks, interrupt) = (Tasks::default(), Interrupt::listen().await);
    let mut parts = Vec::with_capacity(works.len());
    for works in works {
        // One for each connection: one for each stream would fill the memory with histograms.
        let measured = Arc::new(Mutex::new(Measured::default()));
        for work in works {
            drop(tasks.spawn("load", stream(Arc::clone(&run), work, Arc::clone(&measured))));
        }
        parts.push(measured);
    }
    let bar = bar(run.end.as_secs(), "{wide_bar} {pos}/{len} s");
    until_drained(&tasks, &stop, interrupt, || bar.set_position(run.began.elapsed().as_secs())).await;
    bar.finish_and_clear();
    let mut total = sum(&parts);
    total.unsent = run.unsent();
    total
}

/// Ctrl-C, listened to from when this is made.
pub struct Interrupt(Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>);

impl Interrupt {
    /// Begins to listen: from now on the signal no longer ends the process.
    pub async fn listen() -> Self {
        let mut signal: Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>> = Box::pin(tokio::signal::ctrl_c());
        // The listening begins when it is first asked.
        let came = tokio::select! {
            biased;
            _ = &mut signal => true,
            () = std::future::ready(()) => false,
        };
        if came { Self(Box::pin(std::future::ready(Ok(())))) } else { Self(signal) }
    }
}

/// Waits for the tasks, and asks them to stop at Ctrl-C.
pub async fn until_drained(tasks: &Tasks, stop: &CancellationToken, interrupt: Interrupt, mut show: impl FnMut()) {
    let (mut drained, mut interrupt) = (pin!(tasks.drained()), interrupt.0);
    loop {
        tokio::select! {
            () = &mut drained => return,
            _ = &mut interrupt, if !stop.is_cancelled() => stop.cancel(),
            () = tokio::time::sleep(SHOW_INTERVAL) => show(),
        }
    }
}

/// All parts in one.
#[must_use]
pub fn sum(parts: &[Arc<Mutex<Measured>>]) -> Measured {
    let mut total = Measured::default();
    for part in parts {
        total.merge(&part.lock().unwrap_or_else(PoisonError::into_inner));
    }
    total
}

/// A bar on the terminal; elsewhere it shows nothing.
#[must_use]
pub fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// What all streams of a run share.
struct Run {
    began: Ticks,
    warm_up: Duration,
    end: Duration,
    /// Calls that are due at a time of their own.
    paced: Option<Paced>,
    stop: CancellationToken,
}

/// A rate, of all streams together.
struct Paced {
    per_second: u32,
    /// The first call after the warm-up.
    first: u64,
    /// The first call that is too late.
    end: u64,
    /// The next call that a stream takes.
    next: AtomicU64,
}

impl Paced {
    fn due(&self, call: u64) -> Duration {
        Duration::from_secs_f64(call as f64 / f64::from(self.per_second))
    }
}

impl Run {
    fn new(warm_up: u32, seconds: u32, rate: Option<u32>, stop: CancellationToken) -> Self {
        let call = |second: u32, rate: u32| u64::from(second) * u64::from(rate);
        let paced = rate.map(|rate| Paced {
            per_second: rate,
            first: call(warm_up, rate),
            end: call(warm_up + seconds, rate),
            next: AtomicU64::new(0),
        });
        let warm_up = Duration::from_secs(warm_up.into());
        let end = warm_up + Duration::from_secs(seconds.into());
        Self { began: clock::ticks(), warm_up, end, paced, stop }
    }

    /// Waits for the next call; since when it is due, from the beginning.
    async fn next(&self) -> Option<Duration> {
        let now = self.began.elapsed();
        if self.stop.is_cancelled() || now >= self.end {
            return None;
        }
        let Some(paced) = &self.paced else { return Some(now) };
        let due = self.take(paced, now)?;
        tokio::select! {
            () = tokio::time::sleep(due.saturating_sub(now)) => Some(due),
            () = self.stop.cancelled() => None,
        }
    }

    /// When the next call is due. What the warm-up did not get done is left: at a rate that is too high it would fill the
    /// whole run.
    fn take(&self, paced: &Paced, now: Duration) -> Option<Duration> {
        if now >= self.warm_up {
            paced.next.fetch_max(paced.first, Ordering::Relaxed);
        }
        let call = paced.next.fetch_add(1, Ordering::Relaxed);
        (call < paced.end).then(|| paced.due(call))
    }

    /// How many calls were due by the end, and found no stream that was free.
    fn unsent(&self) -> u64 {
        match &self.paced {
            Some(paced) if !self.stop.is_cancelled() => {
                paced.end.saturating_sub(paced.next.load(Ordering::Relaxed).max(paced.first))
            }
            _ => 0,
        }
    }
}

async fn stream<W: Work>(run: Arc<Run>, mut work: W, measured: Arc<Mutex<Measured>>) {
    while let Some(due) = run.next().await {
        let answer = match tokio::time::timeout(CALL_TIMEOUT, work.call()).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {CALL_TIMEOUT:?}"))),
        };
        let now = run.began.elapsed();
        let failed = answer.is_err();
        {
            let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(bytes) if due >= run.warm_up => {
                    measured.answered(now.saturating_sub(due), now.saturating_sub(run.warm_up), bytes);
                }
                Ok(_) => {}
                Err(status) => measured.failed(&status),
            }
        }
        if failed {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(run: &Run, now: u64) -> Option<Duration> {
        run.take(run.paced.as_ref().unwrap(), Duration::from_secs(now))
    }

    #[test]
    fn calls_are_due_at_the_rate_until_the_end() {
        let run = Run::new(0, 1, Some(4), CancellationToken::new());
        let due: Vec<_> = std::iter::from_fn(|| due(&run, 0)).map(|due| due.as_millis()).collect();
        assert_eq!(due, [0, 250, 500, 750]);
        assert_eq!(run.unsent(), 0);
    }

    #[test]
    fn what_the_warm_up_left_is_not_measured_and_what_the_run_left_is_told() {
        let run = Run::new(1, 2, Some(10), CancellationToken::new());
        assert_eq!(due(&run, 0), Some(Duration::ZERO));
        assert_eq!(run.unsent(), 20, "of the run, not of the warm-up");
        assert_eq!(due(&run, 2), Some(Duration::from_secs(1)), "a second late, which is its latency");
        assert_eq!(run.unsent(), 19);
    }
}
