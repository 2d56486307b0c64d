//! What is counted while a server runs, for whoever operates it: in the text format that Prometheus scrapes (OpenMetrics).
//!
//! Counters and histograms are written where things happen; what a part knows of itself at any time is asked of it when
//! the numbers are read. Names, units and meanings are the table below: dashboards and alarms rest on them.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use ahash::AHashMap;
use prometheus_client::{
    encoding::{EncodeLabelSet, LabelSetEncoder, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// A number that goes up and down.
pub type Level = Gauge;
/// The same with a fraction.
pub type Share = Gauge<f64, AtomicU64>;

/// A number that is not told before it is known.
#[derive(Debug, Clone, Default)]
pub struct Known(Family<Unlabelled, Level>);

impl Known {
    /// Tells it from now on.
    pub fn set(&self, number: i64) {
        self.0.get_or_create(&Unlabelled).set(number);
    }
}

/// No labels: a family of such numbers has one, or none yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Unlabelled;

impl EncodeLabelSet for Unlabelled {
    fn encode(&self, _: &mut LabelSetEncoder<'_>) -> fmt::Result {
        Ok(())
    }
}

/// What is counted.
pub struct Metrics {
    registry: Registry,
    /// By the name of the call, without its package: those that the contract has.
    calls: AHashMap<String, Call>,
    /// Calls that no service answers.
    other: Call,
    /// Credentials that were not good, what was not granted, and what there was no room for, by reason.
    refusals: Family<Refusal, Counter>,
    /// Lines of the log that anybody can have written, and that were too many.
    audit_lines_dropped: Counter,
    /// Requests that did not come as a whole.
    unfinished: Family<Unfinished, Counter>,
    /// How the files of TLS and access were read again, and an issuer's keys fetched.
    reloads: Family<Reload, Counter>,
    /// Whether what was read last was refused: 1 or 0.
    reload_failed: Family<Held, Level>,
    connections: Level,
    /// Connections that did not come so far as to be one of these.
    handshakes: Counter,
    /// What is asked of the parts when the numbers are read.
    pub levels: Levels,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Of one call.
#[derive(Debug)]
struct Call {
    /// By code of gRPC.
    answers: Vec<Counter>,
    seconds: Histogram,
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Open(Level);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Labels of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    rpc: String,
    code: &'static str,
}

/// Labels of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rpc {
    rpc: String,
}

/// Labels of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    /// The catalogue's word.
    reason: &'static str,
}

/// Labels of a request that did not come as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unfinished {
    /// `late`: it was not waited for any longer; `cut`: its client ended it, or was lost.
    how: &'static str,
}

/// Labels of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    /// `certificate`, `rules` or `keys`, those of an issuer that are fetched.
    what: &'static str,
    /// `read` or `refused`.
    outcome: &'static str,
}

/// Labels of what is read again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Held {
    /// `certificate`, `rules` or `keys`, those of an issuer that are fetched.
    what: &'static str,
}

/// Labels of watches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InPhase {
    /// `snapshot`, `replay` or `live`.
    phase: &'static str,
}

/// What a watch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchPhase {
    /// It is sent the records that it begins with.
    Snapshot,
    /// It is on its way to the ring: it reads the log, or has not looked at the ring yet.
    Replay,
    /// It stands in the ring.
    Live,
}

/// How many watches do what.
#[derive(Debug, Clone)]
pub struct WatchPhases {
    told: Family<InPhase, Level>,
    snapshot: Level,
    replay: Level,
    live: Level,
}

impl Default for WatchPhases {
    fn default() -> Self {
        let told = Family::<InPhase, Level>::default();
        // From the beginning each is told, as none.
        let [snapshot, replay, live] =
            ["snapshot", "replay", "live"].map(|phase| told.get_or_create_owned(&InPhase { phase }));
        Self { told, snapshot, replay, live }
    }
}

impl WatchPhases {
    /// Counts a watch that does this, until it is dropped.
    #[must_use]
    pub fn enter(&self, phase: WatchPhase) -> CountedWatch {
        let level = match phase {
            WatchPhase::Snapshot => &self.snapshot,
            WatchPhase::Replay => &self.replay,
            WatchPhase::Live => &self.live,
        };
        level.inc();
        CountedWatch { phase, level: level.clone() }
    }
}

/// A watch that is counted by what it does.
#[derive(Debug)]
pub struct CountedWatch {
    phase: WatchPhase,
    level: Level,
}

impl CountedWatch {
    /// Counts it by what it does from now on.
    pub fn go_on_to(&mut self, phase: WatchPhase, phases: &WatchPhases) {
        if self.phase != phase {
            *self = phases.enter(phase);
        }
    }
}

impl Drop for CountedWatch {
    fn drop(&mut self) {
        self.level.dec();
    }
}

/// What the writer counts: groups of filings, each one transaction.
#[derive(Debug, Clone)]
pub struct Writing {
    /// Filings that were decided.
    pub filings: Counter,
    /// Filings of a group.
    pub group: Histogram,
    /// Deciding and applying a group.
    pub apply: Histogram,
    /// From there until the journal has acknowledged its batch; nothing where the commit itself is the append.
    pub append: Histogram,
    /// The commit of its transaction, with the sync.
    pub commit: Histogram,
    /// Groups that another replica's batch outran.
    pub conflicts: Counter,
    /// What was refused for lack of room: filings, trims, redactions, commits of cursors.
    pub full: Counter,
}

impl Default for Writing {
    fn default() -> Self {
        Self {
            filings: Counter::default(),
            group: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            apply: seconds(),
            append: seconds(),
            commit: seconds(),
            conflicts: Counter::default(),
            full: Counter::default(),
        }
    }
}

/// What the feed counts.
#[derive(Debug, Clone, Default)]
pub struct Feeding {
    /// How often a watch found what it wanted in the ring.
    pub ring_hits: Counter,
    /// How often it had to read the log.
    pub ring_misses: Counter,
    /// How often one was woken because something may match.
    pub wakes: Counter,
    /// How many do what now.
    pub phases: WatchPhases,
}

/// What the cache of records counts.
#[derive(Debug, Clone, Default)]
pub struct Caching {
    /// Lookups that it answered.
    pub hits: Counter,
    /// Those that it did not.
    pub misses: Counter,
}

/// What the parts know of themselves.
#[derive(Debug, Default)]
pub struct Levels {
    /// The newest revision here.
    pub revision: Level,
    /// The oldest revision that can be read, less one.
    pub floor: Level,
    /// The journal's position of the newest batch here.
    pub position: Level,
    /// How many batches the journal is ahead; -1 while it does not say.
    pub journal_lag: Level,
    /// When the newest entry was recorded, in seconds since 1970.
    pub recorded_at: Share,
    /// How far that is ahead of this machine's clock, in whole seconds; 0 if it is not.
    pub recorded_ahead: Level,
    /// The registry's day, in days since 1970.
    pub day: Level,
    /// Records that the clock should have looked at and has not.
    pub deadlines_overdue: Level,
    /// The first day on which it must look at a record, in days since 1970; -1 if there is none.
    pub next_deadline_day: Level,
    /// Whether filings are taken: 1 or 0.
    pub filing: Level,
    /// Watches that are open.
    pub watches: Level,
    /// How many revisions the furthest of them has yet to look through.
    pub watch_lag: Level,
    /// Revisions in the ring, and their bytes.
    pub ring_revisions: Level,
    /// See `ring_revisions`.
    pub ring_bytes: Level,
    /// Bytes of the records in memory.
    pub records_bytes: Level,
    /// Bytes of the sets of versions by term in memory.
    pub term_sets_bytes: Level,
    /// Bytes of the sounds of words in memory.
    pub sounds_bytes: Level,
    /// Bytes of the store's file, and of its write-ahead log.
    pub store_bytes: Level,
    /// See `store_bytes`.
    pub wal_bytes: Level,
    /// Bytes of the store's pages that are in use; those that are free in its file are room.
    pub store_used: Known,
    /// How many may be in use; not known where the disk alone sets a limit.
    pub store_limit: Known,
    /// When the certificate in force ends, in seconds since 1970; not known without TLS.
    pub certificate_ends: Known,
}

/// The codes of gRPC, by number (its `statuscodes.md`).
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// From a tenth of a millisecond to thirteen seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 18))
}

impl Metrics {
    /// For a server that answers these calls, named `Service/Method`.
    #[must_use]
    pub fn new(
        calls: impl IntoIterator<Item = String>,
        writing: &Writing,
        feeding: &Feeding,
        caching: &Caching,
    ) -> Self {
        let mut registry = Registry::with_prefix("attache");
        let answers = Family::<Answer, Counter>::default();
        let taken = Family::<Rpc, Histogram>::new_with_constructor(seconds);
        registry.register(
            "requests",
            "Requests that were answered, by rpc and code; a stream when it began",
            answers.clone(),
        );
        let help = "How long requests took to be answered; a stream to begin";
        registry.register_with_unit("request", help, Unit::Seconds, taken.clone());
        let call = |rpc: &str| Call {
            answers: CODES
                .iter()
                .map(|code| answers.get_or_create_owned(&Answer { rpc: rpc.to_owned(), code }))
                .collect(),
            seconds: taken.get_or_create_owned(&Rpc { rpc: rpc.to_owned() }),
        };
        let calls = calls.into_iter().map(|rpc| (rpc.clone(), call(&rpc))).collect();
        let other = call("other");
        let refusals = Family::<Refusal, Counter>::default();
        let help =
            "Requests, and items of imports, not granted or without a good credential, and requests that found no room";
        registry.register("refusals", help, refusals.clone());
        let audit_lines_dropped = Counter::default();
        let help = "Lines that would have said in the log who was refused, or that anybody did what few may; too many";
        registry.register("audit_lines_dropped", help, audit_lines_dropped.clone());
        let unfinished = Family::<Unfinished, Counter>::default();
        let help = "Requests that did not come as a whole: late, not in time; cut, ended, lost or given up before";
        registry.register("unfinished_requests", help, unfinished.clone());
        let reloads = Family::<Reload, Counter>::default();
        let help = "How files of TLS and access were read again, and an issuer's keys fetched";
        registry.register("reloads", help, reloads.clone());
        let reload_failed = Family::<Held, Level>::default();
        let help =
            "Whether what was read last of files of TLS and access, or fetched of keys, was refused, 1, or not, 0";
        registry.register("reload_failed", help, reload_failed.clone());
        // What has not happened yet is told as nothing: an alarm sees the first time.
        for reason in ["CREDENTIAL_MISSING", "CREDENTIAL_EXPIRED", "ROLE_REQUIRED", "QUOTA_EXCEEDED", "OVERLOADED"] {
            drop(refusals.get_or_create(&Refusal { reason }));
        }
        for how in ["late", "cut"] {
            drop(unfinished.get_or_create(&Unfinished { how }));
        }
        for what in ["certificate", "rules", "keys"] {
            for outcome in ["read", "refused"] {
                drop(reloads.get_or_create(&Reload { what, outcome }));
            }
            drop(reload_failed.get_or_create(&Held { what }));
        }
        let connections = Level::default();
        registry.register("connections", "Connections that are open", connections.clone());
        let handshakes = Counter::default();
        let help =
            "Connections that were turned away: TLS came to nothing, no HTTP/2 came, or none began within ten seconds";
        registry.register("handshakes_refused", help, handshakes.clone());
        writing.register(&mut registry);
        feeding.register(&mut registry);
        caching.register(&mut registry);
        let levels = Levels::registered(&mut registry);
        Self {
            registry,
            calls,
            other,
            refusals,
            audit_lines_dropped,
            unfinished,
            reloads,
            reload_failed,
            connections,
            handshakes,
            levels,
        }
    }

    /// Counts an answer to a call, named `package.Service/Method`.
    // Not inlined: benches/compare counts by its name what it takes.
    #[inline(never)]
    pub fn answered(&self, rpc: &str, code: &str, taken: Duration) {
        let short = rpc.rsplit_once('.').map_or(rpc, |(_, short)| short);
        let call = self.calls.get(short).unwrap_or(&self.other);
        let number = code.parse::<usize>().ok();
        // What is no code is told as the protocol tells it.
        let answer = number.and_then(|number| call.answers.get(number)).or_else(|| call.answers.get(2));
        if let Some(answer) = answer {
            answer.inc();
        }
        call.seconds.observe(taken.as_secs_f64());
    }

    /// Counts a connection until it is dropped.
    #[must_use]
    pub fn connection(&self) -> Open {
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// Counts a connection that is turned away before anything is asked on it.
    pub fn handshake_refused(&self) {
        self.handshakes.inc();
    }

    /// Counts a refusal by its word in the catalogue.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&Refusal { reason }).inc();
    }

    /// Counts a line of the log that anybody can have written, and that is one too many.
    pub fn audit_line_dropped(&self) {
        self.audit_lines_dropped.inc();
    }

    /// Counts a request that did not come as a whole: `late` or `cut`.
    pub fn unfinished(&self, how: &'static str) {
        self.unfinished.get_or_create(&Unfinished { how }).inc();
    }

    /// Counts a reload of one thing, and tells from now on whether it was refused.
    pub fn reloaded(&self, what: &'static str, read: bool) {
        self.reload_failed.get_or_create(&Held { what }).set(i64::from(!read));
        self.reloads.get_or_create(&Reload { what, outcome: if read { "read" } else { "refused" } }).inc();
    }

    /// All of it as text.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        // A `String` takes whatever is written.
        let written = text::encode(&mut shown, &self.registry);
        debug_assert!(written.is_ok());
        shown
    }
}

impl Writing {
    fn register(&self, registry: &mut Registry) {
        registry.register("filings", "Filings that were decided", self.filings.clone());
        registry.register("group_filings", "Filings that shared a transaction", self.group.clone());
        let help = "How long a group took to be decided and applied";
        registry.register_with_unit("group_apply", help, Unit::Seconds, self.apply.clone());
        let help = "How long the journal took to acknowledge a batch; none where the commit is the append";
        registry.register_with_unit("journal_append", help, Unit::Seconds, self.append.clone());
        let help = "How long the commit of a group took, with the sync";
        registry.register_with_unit("group_commit", help, Unit::Seconds, self.commit.clone());
        let help = "Groups that were decided again because another replica's batch came before";
        registry.register("group_conflicts", help, self.conflicts.clone());
        let help = "Filings, trims, redactions and commits of cursors that were refused for lack of room";
        registry.register("storage_full", help, self.full.clone());
    }
}

impl Feeding {
    fn register(&self, registry: &mut Registry) {
        registry.register("ring_hits", "How often a watch found what it wanted in the ring", self.ring_hits.clone());
        registry.register("ring_misses", "How often a watch had to read the log", self.ring_misses.clone());
        registry.register("wakes", "How often a watch was woken because something may match", self.wakes.clone());
        let help = "Watches that are sent a snapshot, that replay the log to meet the ring, and that are live in it";
        registry.register("watches_by_phase", help, self.phases.told.clone());
    }
}

impl Caching {
    fn register(&self, registry: &mut Registry) {
        registry.register("cache_hits", "Lookups that memory answered", self.hits.clone());
        registry.register("cache_misses", "Lookups that read the store", self.misses.clone());
    }
}

impl Levels {
    fn registered(registry: &mut Registry) -> Self {
        let levels = Self::default();
        let mut level = |name: &str, help: &str, level: &Level| registry.register(name, help, level.clone());
        level("revision", "The newest revision here", &levels.revision);
        level("floor", "The newest revision that was trimmed", &levels.floor);
        level("journal_position", "The journal's position of the newest batch here", &levels.position);
        let help = "Batches by which the journal is ahead; -1 while it does not say, 0 without one";
        level("journal_lag_batches", help, &levels.journal_lag);
        level("registry_day", "The registry's day, in days since 1970-01-01", &levels.day);
        let help = "Records that the clock should have looked at and has not, counted up to ten thousand";
        level("deadlines_overdue", help, &levels.deadlines_overdue);
        let help = "The first day on which the clock must look at a record, in days since 1970; -1 if there is none";
        level("next_deadline_day", help, &levels.next_deadline_day);
        level("filing", "Whether filings are taken, 1, or refused altogether, 0", &levels.filing);
        level("watches", "Watches that are open", &levels.watches);
        let help = "Revisions that the watch has yet to look through that is furthest behind; none while in a snapshot";
        level("watch_lag_revisions", help, &levels.watch_lag);
        level("ring_revisions", "Revisions in the feed's ring", &levels.ring_revisions);
        level("ring_bytes", "Bytes of the feed's ring", &levels.ring_bytes);
        level("records_bytes", "Bytes of the records in memory that are asked for often", &levels.records_bytes);
        level("term_sets_bytes", "Bytes of the sets in memory of versions by term", &levels.term_sets_bytes);
        level("sounds_bytes", "Bytes of the sounds of words in memory", &levels.sounds_bytes);
        level("store_bytes", "Bytes of the store's file", &levels.store_bytes);
        level("wal_bytes", "Bytes of the store's write-ahead log", &levels.wal_bytes);
        let help = "Bytes of the store's pages that are in use; its file has free ones too, which are taken first";
        registry.register("store_used_bytes", help, levels.store_used.0.clone());
        let help = "Bytes of the store's pages that may be in use; not where the disk alone sets a limit";
        registry.register("store_limit_bytes", help, levels.store_limit.0.clone());
        let help = "When the newest revision was recorded, in seconds since 1970";
        registry.register_with_unit("recorded_at", help, Unit::Seconds, levels.recorded_at.clone());
        let help = "How far the newest revision is recorded ahead of this machine's clock, 0 if it is not";
        registry.register_with_unit("recorded_ahead", help, Unit::Seconds, levels.recorded_ahead.clone());
        let help =
            "When the certificate in force ends, or one of its chain before, in seconds since 1970; not without TLS";
        let ends = levels.certificate_ends.0.clone();
        registry.register_with_unit("certificate_expires_timestamp", help, Unit::Seconds, ends);
        levels
    }
}
