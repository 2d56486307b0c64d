//! What a run does: its names, what is watched and how, and what is filed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::history::Selection;
use crate::{
    cli::client::Connection,
    clock::Ticks,
    pb::v1::{
        Attribution, EventType, Name, Organization, OrganizationKind, Report, Source, SourceKind, WatchEventsRequest,
        report::Content, watch_events_request::Start,
    },
};

/// Records that are filed about.
pub const RECORDS: usize = 20;
/// Filers at once; each has records of its own, so that it knows what stands.
pub const FILERS: usize = 4;
/// Filings a second, of all filers together.
const RATE: u32 = 50;
/// Sources that speak about each record.
pub const SOURCES: usize = 2;

/// What everybody in a run shares.
pub struct Run {
    /// Its random part of every name.
    id: String,
    /// The servers' addresses.
    pub servers: Vec<String>,
    /// To each of them.
    pub connections: Vec<Connection>,
    /// The newest revision that was acknowledged.
    acknowledged: AtomicU64,
}

impl Run {
    /// One over these servers.
    #[must_use]
    pub fn new(servers: Vec<String>, connections: Vec<Connection>) -> Self {
        let id = Uuid::now_v7().simple().to_string();
        // Its end is random.
        let id = id[id.len() - 12..].to_owned();
        Self { id, servers, connections, acknowledged: AtomicU64::new(0) }
    }

    /// A record by its number.
    #[must_use]
    pub fn record(&self, number: usize) -> String {
        format!("organizations/probe-{}-{number}", self.id)
    }

    /// The record that is filed before anything else; it is not watched.
    #[must_use]
    pub fn anchor(&self) -> String {
        format!("organizations/probe-{}-anchor", self.id)
    }

    /// A source by its number.
    #[must_use]
    pub fn source_name(&self, number: usize) -> String {
        format!("sources/probe-{}-{number}", self.id)
    }

    /// Its block.
    #[must_use]
    pub fn source(&self, number: usize) -> Source {
        // Publishers of their own: what they state differently is disputed.
        let publisher = format!("attache verify {number}");
        Source {
            name: self.source_name(number),
            publisher: Some(Attribution { name_as_stated: Some(publisher), organization: None }),
            kind: SourceKind::Dataset.into(),
            ..Source::default()
        }
    }

    /// A report; `says` makes its name and `ministry` what it is.
    #[must_use]
    pub fn report(&self, record: &str, says: &str, ministry: bool) -> Report {
        let kind = if ministry { OrganizationKind::Ministry } else { OrganizationKind::GeneralStaff };
        let organization = Organization {
            names: vec![Name { text: says.to_owned(), ..Name::default() }],
            kind: kind.into(),
            ..Organization::default()
        };
        Report { record: record.to_owned(), content: Some(Content::Organization(organization)), ..Report::default() }
    }

    /// Notes an acknowledgement.
    pub fn acknowledge(&self, revision: u64) {
        self.acknowledged.fetch_max(revision, Ordering::SeqCst);
    }

    /// The newest revision that was acknowledged to anybody so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// A connection by the number of its server, over and over.
    #[must_use]
    pub fn connection(&self, server: usize) -> &Connection {
        &self.connections[server % self.connections.len()]
    }

    /// What is watched, of all records first.
    #[must_use]
    pub fn selections(&self) -> Vec<Selection> {
        let names = |numbers: std::ops::Range<usize>| numbers.map(|number| self.record(number)).collect::<Vec<_>>();
        let all = Selection { names: names(0..RECORDS), ..Selection::default() };
        let came_and_went = vec![EventType::Recorded, EventType::Retracted, EventType::Restored];
        let changed = vec![EventType::Updated, EventType::Corrected, EventType::Extended, EventType::Disputed];
        vec![
            all.clone(),
            Selection { previous: true, ..all.clone() },
            Selection { names: names(0..1), ..Selection::default() },
            Selection { names: names(1..4), ..Selection::default() },
            Selection { disputed: Some(true), ..all.clone() },
            Selection { types: came_and_went, ..all.clone() },
            Selection { disputed: Some(false), ..all.clone() },
            Selection { types: changed, ..all },
        ]
    }
}

/// How one watcher watches.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The number of its selection.
    pub selection: usize,
    /// What it asks for first.
    pub request: WatchEventsRequest,
    /// Whether a cache can be kept by its events: it begins with what stands, and gets every type.
    pub keeps: bool,
    /// Whether it stays on its stream to the end; others leave it again and again.
    pub stays: bool,
}

impl Plan {
    /// Of a watcher by its number: neighbours differ in most things, and every server is begun on.
    #[must_use]
    pub fn of(number: usize, selections: &[Selection], base: &str) -> Self {
        let round = number / selections.len();
        let at = number % selections.len();
        let selection = &selections[at];
        let start = match (at + round) % 3 {
            0 => Start::After(base.to_owned()),
            1 => Start::Snapshot(()),
            _ => Start::Now(()),
        };
        let progress = [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)][number % 3];
        let request = WatchEventsRequest {
            filters: selection.filters(),
            event_types: selection.types(),
            include_previous: selection.previous,
            progress_interval: prost_types::Duration::try_from(progress).ok(),
            max_batch_events: [1, 3, 0][(number / 3 + round) % 3],
            start: Some(start.clone()),
            ..WatchEventsRequest::default()
        };
        // After `base` means after nothing of the run; `now` may be amid it.
        let keeps = selection.types.is_empty() && !matches!(start, Start::Now(()));
        Self { selection: at, request, keeps, stays: number % 5 == 4 }
    }
}

/// When filings are due.
pub struct Pace {
    began: Ticks,
    end: Duration,
    next: AtomicU64,
    stop: CancellationToken,
}

impl Pace {
    /// From now on, for so long, or until it is stopped.
    #[must_use]
    pub fn new(end: Duration, stop: CancellationToken) -> Self {
        Self { began: crate::clock::ticks(), end, next: AtomicU64::new(0), stop }
    }

    /// Waits until the next filing is due; `false` at the end.
    pub async fn next(&self) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // What is late is due at once, but none after the end: a slow server is filed at less, not longer.
        let due = Duration::from_secs_f64(number as f64 / f64::from(RATE));
        let now = self.began.elapsed();
        if due >= self.end || now >= self.end || self.stop.is_cancelled() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(due.saturating_sub(now)) => true,
            () = self.stop.cancelled() => false,
        }
    }
}

/// What tasks hand back: each once, at its end.
pub struct Gathered<T>(Arc<Mutex<Vec<T>>>);

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Gathered<T> {
    /// Hands one in.
    pub fn add(&self, one: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    }

    /// Takes them all out.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run::new(vec!["http://a".into()], Vec::new())
    }

    #[test]
    fn every_name_of_a_run_is_a_probes() {
        let run = run();
        for name in [run.record(0), run.anchor(), run.source_name(1)] {
            assert!(name.split_once('/').unwrap().1.starts_with("probe-"), "{name}");
        }
        assert_ne!(run.id, self::run().id);
    }

    #[test]
    fn every_watch_asks_for_probes_and_for_no_others() {
        for selection in run().selections() {
            let filters = selection.filters();
            assert!(filters.iter().all(|f| f.include_probes && !f.names.is_empty()), "{filters:?}");
        }
    }

    #[test]
    fn watchers_differ_and_some_keep_a_cache_of_every_start() {
        let selections = run().selections();
        let plans: Vec<_> = (0..32).map(|number| Plan::of(number, &selections, "base")).collect();
        let of = |wanted: fn(&Plan) -> bool| plans.iter().filter(|plan| wanted(plan)).count();
        assert!(of(|p| p.stays) > 3 && of(|p| !p.stays) > 20);
        for start in [Start::After("base".into()), Start::Snapshot(()), Start::Now(())] {
            let begun = plans.iter().filter(|p| p.request.start.as_ref() == Some(&start)).count();
            assert!(begun >= 8, "{start:?}: {begun}");
        }
        assert!(of(|p| p.keeps && matches!(p.request.start, Some(Start::Snapshot(())))) > 3);
        assert!(of(|p| p.keeps && matches!(p.request.start, Some(Start::After(_)))) > 3);
        for size in [0, 1, 3] {
            assert!(plans.iter().any(|p| p.request.max_batch_events == size), "{size}");
        }
    }
}
