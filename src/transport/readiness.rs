//! What health says: which services can do their work now, and how far the journal is ahead of this replica.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;
use tonic_health::{
    ServingStatus::{self, NotServing, Serving},
    server::HealthReporter,
};

use super::{App, SERVICES};
use crate::{
    domain::error::Result,
    journal::{Durable, Position},
    limits::{MAX_READY_LAG, READINESS_INTERVAL},
};

/// What does not serve where filings are refused.
const OF_FILINGS: [&str; 2] = ["attache.v1.FilingService", ""];

/// What the journal said of its end, each time that it was looked at.
pub(super) struct Looks {
    begun: AtomicU64,
    /// Of the last look that was answered: its number, and the end.
    answered: watch::Sender<(u64, Position)>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), answered: watch::Sender::new((0, 0)) }
    }
}

impl Looks {
    /// The journal's end, as a look says that begins after this call.
    pub fn next(&self) -> impl Future<Output = Position> + Send + Sync + use<> {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut answered = self.answered.subscribe();
        async move {
            let next = answered.wait_for(|(number, _)| *number > begun).await.map(|look| look.1);
            match next {
                Ok(end) => end,
                // Nobody looks any more: the server has ended.
                Err(_) => std::future::pending().await,
            }
        }
    }

    async fn look(&self, app: &Arc<App>) -> Result<Option<Position>> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let end = app.journal_head().await?;
        self.answered.send_replace((number, end.unwrap_or_default()));
        Ok(end)
    }

    /// The journal's end, if the last look was answered, or the one before it while that is under way.
    pub fn last(&self) -> Option<Position> {
        let (number, end) = *self.answered.borrow();
        (number > 0 && number + 1 >= self.begun.load(Ordering::SeqCst)).then_some(end)
    }
}

/// What can be done: reads and watches, and filings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ready {
    reads: ServingStatus,
    filings: ServingStatus,
}

/// Who is told what the server can do: gRPC health, and whoever asks.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    told: watch::Sender<Ready>,
}

impl Health {
    /// That nothing can be done yet.
    pub(super) fn new(reporter: HealthReporter) -> Self {
        Self { reporter, told: watch::Sender::new(Ready { reads: NotServing, filings: NotServing }) }
    }

    /// Whether reads and watches are served, and whether filings are.
    #[must_use]
    pub fn told(&self) -> (bool, bool) {
        let ready = *self.told.borrow();
        (ready.reads == Serving, ready.filings == Serving)
    }

    /// Tells what every service, and the whole, can do.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { Serving } else { NotServing };
        self.tell(Ready { reads: status, filings: status }).await;
    }

    /// Tells that filings are refused: their service and the whole do not serve, lookups and the feed do.
    pub async fn set_filing_failed(&self) {
        self.told.send_modify(|ready| ready.filings = NotServing);
        for service in OF_FILINGS {
            self.reporter.set_service_status(service, NotServing).await;
        }
    }

    async fn tell(&self, ready: Ready) {
        self.say(ready, &OF_FILINGS[..1]).await;
    }

    /// Tells it of all services and the whole; those `of_filings` do what filings do, the others what reads do.
    async fn say(&self, ready: Ready, of_filings: &[&str]) {
        self.told.send_replace(ready);
        for service in SERVICES.into_iter().chain([""]) {
            let status = if of_filings.contains(&service) { ready.filings } else { ready.reads };
            self.reporter.set_service_status(service, status).await;
        }
    }
}

/// Tells health, every second, whether this replica is close to the journal's end, until it is dropped: one that is behind
/// serves nothing, one that does not reach the journal, or does not get on, takes no filings.
pub async fn watch_over_lag(app: &Arc<App>, health: &Health) {
    let (mut told, mut stood) = (None, None::<Position>);
    loop {
        let position = app.store.head().position;
        let now = match app.looks.look(app).await {
            Ok(None) => return std::future::pending().await,
            Ok(Some(end)) => {
                if end > position {
                    app.writer.look();
                }
                // It was behind a second ago, and is where it was: what it should apply finds no room, perhaps.
                let behind = end > position;
                let stuck = behind && stood == Some(position);
                stood = behind.then_some(position);
                // One that has applied nothing does not know its log.
                let knows_nothing = behind && position == 0;
                let reads = if knows_nothing || end > position + MAX_READY_LAG { NotServing } else { Serving };
                // A journal that ends before the store has lost something, or will say soon that it has not.
                // Until every server has said whether it syncs, nothing is sent to it.
                let unassured = matches!(app.journal.durable(), Some(Durable::Unknown));
                let refused = unassured || stuck || app.writer.is_stuck() || end < position;
                Ready { reads, filings: if refused { NotServing } else { reads } }
            }
            // It may be as far behind as it was; an empty one has nothing to answer from.
            Err(_) => {
                let before = told.map_or(Serving, |ready: Ready| ready.reads);
                Ready { reads: if position == 0 { NotServing } else { before }, filings: NotServing }
            }
        };
        match app.writer.fault() {
            None if told != Some(now) => {
                tracing::info!(reads = %now.reads, filings = %now.filings, position, "ready for other things now");
                health.tell(now).await;
                told = Some(now);
            }
            // It began on a store that the journal does not go on from: what it has is read, unless it is far behind. (Of one
            // that ran, health says what it said.)
            Some(_) if told.is_none() => {
                health.say(Ready { filings: NotServing, ..now }, &OF_FILINGS).await;
                told = Some(now);
            }
            _ => {}
        }
        tokio::time::sleep(READINESS_INTERVAL).await;
    }
}
