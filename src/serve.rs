//! The composition root: `Config` ► build (open, bind) ► run. The only place that knows all parts.

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Admin},
    clock::{self, Clock, SystemClock},
    config::{AdminPort, Config, DEFAULT_ADMIN, DataDir},
    day,
    domain::{
        date::Day,
        error::{Error, Reason, Result},
        revision::Revision,
    },
    feed::Hub,
    journal::{
        Embedded, Journal,
        jetstream::{self, JetStream},
    },
    limits::{ADMIN_GOODBYE, MAX_RECORDED_AHEAD, REPLAY_PAGE_REVISIONS, RING_BYTES},
    metrics::{Metrics, Writing},
    recall, retain, sample,
    security::Security,
    snapshots,
    store::{
        self, Head, Home, Options, Store, Sync, aside,
        log::{self, Depth},
        snapshot,
    },
    sweep,
    tasks::{Tasks, blocking},
    transport::{
        self, App, Health, Services,
        listener::{self, Greeting, Stay},
    },
    writer::{self, Writer, WriterThread},
};

/// What may be put in place of the real thing: another journal, another clock.
pub struct Parts {
    /// Who orders batches.
    pub journal: Arc<dyn Journal>,
    /// Who tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where connections come in, if somebody else has bound it.
    pub listener: Option<std::net::TcpListener>,
}

impl Default for Parts {
    fn default() -> Self {
        Self { journal: Arc::new(Embedded), clock: Arc::new(SystemClock), listener: None }
    }
}

/// A server that is open and bound, and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    folder: PathBuf,
    services: Services,
    health: Health,
    /// The admin port, if there is one.
    admin: Option<TcpListener>,
    app: Arc<App>,
    writer: WriterThread,
    /// Ends what follows the journal.
    follower: CancellationToken,
    drain: Duration,
    security: Security,
    /// Says that the files of TLS and access are to be read again.
    reload: (mpsc::Sender<()>, mpsc::Receiver<()>),
    stay: Stay,
    max_connections: usize,
    message_timeout: Duration,
    loaded: Option<sample::Loaded>,
    accept_day_jump: bool,
    /// How much of history stays; `None` is all.
    kept: Option<retain::Kept>,
    /// How often replicas put a snapshot beside the journal; `None` is never.
    snapshots: Option<Duration>,
    /// Goes when the server does.
    _temporary: Option<tempfile::TempDir>,
}

/// Opens the store, starts the writer, and binds the address.
///
/// # Errors
///
/// If any of it fails; what was opened is closed again.
pub async fn build(config: &Config, parts: Parts) -> Result<Server> {
    let io = |what: &str, error: std::io::Error| Error::internal(format!("{what}: {error}"));
    let listener = match parts.listener {
        Some(handed) => handed.set_nonblocking(true).and_then(|()| TcpListener::from_std(handed)),
        None => TcpListener::bind(config.listen).await,
    };
    let listener = listener.map_err(|e| io(&format!("cannot listen on {}", config.listen), e))?;
    let address = listener.local_addr().map_err(|e| io("the bound address", e))?;
    // What was handed in may be another address than the configuration's.
    config.check_address(address).map_err(|e| Error::new(Reason::FieldInvalid, e.to_string()))?;
    let admin = admin_port(config.admin).await?;
    let security = secured(config, &parts.clock).await?;
    let (folder, temporary) = match &config.data_dir {
        DataDir::At(folder) => (folder.clone(), None),
        DataDir::Temporary => {
            let temporary =
                tempfile::Builder::new().prefix("attache-").tempdir().map_err(|e| io("a temporary folder", e))?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let sync = match &config.journal {
        _ if config.in_memory => Sync::Off,
        // A stream that may lose what it has acknowledged is refused then: what the store loses is read there again.
        Some(settings) if !settings.accept_lax => Sync::ByJournal,
        _ => Sync::Full,
    };
    let home = Home::served(config.journal.as_ref().map(|settings| settings.stream.as_str()));
    let options = Options { sync, max_bytes: config.max_store_bytes, home };
    let opened = folder.clone();
    let feed = config.feed.clone();
    let Parts { journal, clock, .. } = parts;
    let tasks = Tasks::default();
    let follower = CancellationToken::new();
    let journal = match &config.journal {
        Some(settings) => shared_journal(settings, &folder, &tasks, &follower).await?,
        None => journal,
    };
    let (own_journal, own_clock) = (Arc::clone(&journal), Arc::clone(&clock));
    let (store, writer, thread, hub, metrics) = blocking(move || {
        snapshots::begin(&own_journal, &opened, &options.home)?;
        let (store, write_store) = store::open(&opened, &options)?;
        let hub = Hub::new(store.head(), feed);
        let counts = Writing::default();
        let metrics = Metrics::new(transport::calls(), &counts, hub.counts(), store.cache_counts());
        refill(&store, &hub)?;
        let feed = Box::new(Arc::clone(&hub));
        let parts = writer::Parts { store: write_store, journal: own_journal, clock: own_clock, feed, counts };
        let (writer, thread) = parts.start_for_readers()?;
        if let Some(error) = writer.fault() {
            tell_of_fault(&error, &opened);
        }
        Ok((store, writer, thread, hub, Arc::new(metrics)))
    })
    .await?;
    let loaded =
        if config.sample { Some(load_sample(&store, &writer, clock::day(clock.now_us())).await?) } else { None };
    if let Some(bytes) = store.allowed_bytes() {
        metrics.levels.store_limit.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    tell_of_start(config, &store.head());
    tell_of_ahead(&store.head(), clock.now_us());
    let app = App::new(store, writer, hub, journal, tasks, clock, metrics)
        .with_snapshots(config.snapshots)
        .with_calls(config.max_calls, config.max_public_streams)
        .with_imports(config.max_imports);
    let app = Arc::new(app);
    let (services, health) = transport::services(&app, config.security.reflection)
        .await
        .map_err(|e| Error::internal(format!("the descriptors cannot be served: {e}")))?;
    let drain = config.drain;
    Ok(Server {
        listener,
        address,
        folder,
        services,
        health,
        admin,
        app,
        writer: thread,
        follower,
        drain,
        security,
        reload: mpsc::channel(1),
        stay: Stay {
            max_age: config.max_connection_age,
            goodbye: config.goodbye,
            keep_alive: config.keep_alive,
            keep_alive_timeout: config.keep_alive_timeout,
        },
        max_connections: config.max_connections,
        message_timeout: config.message_timeout,
        loaded,
        accept_day_jump: config.accept_day_jump,
        kept: retain::Kept::of(config.retain_days, config.retain_revisions),
        snapshots: config.snapshots,
        _temporary: temporary,
    })
}

/// Whether a server did not start because of what it was told, or of files that this names: another start does not make
/// that right.
#[must_use]
pub fn is_told_wrong(error: &Error) -> bool {
    error.reason == Reason::FieldInvalid
}

/// Whether a server ended by itself because the journal has left its store behind: another start makes that right, since it
/// begins anew with a snapshot.
#[must_use]
pub fn is_left_behind(error: &Error) -> bool {
    error.reason == Reason::HistoryTrimmed
}

/// Says what is served, and by which version.
fn tell_of_start(config: &Config, head: &Head) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        epoch = %head.epoch,
        revision = head.revision,
        position = head.position,
        journal = if config.journal.is_some() { "jetstream" } else { "embedded" },
        "the store is served"
    );
}

/// Says that recorded time stands still until the clock has come up to it.
fn tell_of_ahead(head: &Head, now_us: i64) {
    let ahead = head.ahead_of(now_us);
    if ahead > MAX_RECORDED_AHEAD {
        tracing::warn!(
            recorded = head.recorded_at(),
            seconds = ahead.as_secs(),
            "what is filed is recorded ahead of the clock, until that has come up to it: \"The clock jumped\" in \
             deploy/RUNBOOK.md"
        );
    }
}

/// What secures the server, as its files say now.
async fn secured(config: &Config, clock: &Arc<dyn Clock>) -> Result<Security> {
    let (settings, clock) = (config.security.clone(), Arc::clone(clock));
    blocking(move || Security::open(&settings, clock).map_err(|why| Error::new(Reason::FieldInvalid, why))).await
}

/// The admin port. One that nobody asked for is left out if another server has it.
async fn admin_port(admin: AdminPort) -> Result<Option<TcpListener>> {
    let (address, asked) = match admin {
        AdminPort::None => return Ok(None),
        AdminPort::Usual => (DEFAULT_ADMIN, false),
        AdminPort::At(address) => (address, true),
    };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if !asked => {
            tracing::warn!(%error, %address, "there is no admin port: --admin says where else");
            Ok(None)
        }
        Err(error) => Err(Error::internal(format!("cannot listen on {address} for --admin: {error}"))),
    }
}

/// The journal on a stream, followed until the token says so. A store that has some of its log does not make another.
async fn shared_journal(
    settings: &jetstream::Settings,
    folder: &Path,
    tasks: &Tasks,
    stop: &CancellationToken,
) -> Result<Arc<dyn Journal>> {
    let folder = folder.to_owned();
    // (A process that was killed may have put a store aside and nothing in its place.)
    let has_log = blocking(move || Ok(snapshot::has_log(&folder)? || !aside::there(&folder).is_empty())).await?;
    let journal = JetStream::open(jetstream::Settings { may_make: !has_log, ..settings.clone() }).await;
    let journal = journal.map_err(|e| Error::new(Reason::JournalUnavailable, e.to_string()))?;
    let (following, stop) = (Arc::clone(&journal), stop.clone());
    tasks.spawn("journal", async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = following.run() => {}
        }
    });
    Ok(journal)
}

/// Says what is served of a store that the journal does not go on from, and what an operator may do.
fn tell_of_fault(error: &Error, folder: &Path) {
    let remedy = match error.reason {
        Reason::HistoryTrimmed => {
            "have another replica put a snapshot beside the journal: this one looks for it now and then, ends when there \
             is one, and begins anew when it is started again: \"HISTORY_TRIMMED on a replica\" in deploy/RUNBOOK.md"
        }
        Reason::LogDiverged => {
            "if the other replicas file, stop this one, move its folder away and start it again, and it begins with a \
             snapshot; if none does, read \"LOG_DIVERGED\" in deploy/RUNBOOK.md before any is started: `attache reseed` \
             makes the log anew from the store that has most of it"
        }
        _ => "\"The store is damaged\" in deploy/RUNBOOK.md says how to find out whose fault it is",
    };
    tracing::error!(
        %error,
        folder = %folder.display(),
        remedy,
        "only what this store has is served: lookups and watches go on, no filing is taken, and nothing new comes"
    );
}

impl writer::Feed for Arc<Hub> {
    fn forget(&self) {
        Hub::forget(self);
    }

    fn tell(&self, revisions: Vec<Revision>, head: Head) {
        self.publish(revisions, head);
    }
}

/// Puts the newest revisions into the ring, so that those who resume after a restart find them there.
fn refill(store: &Store, hub: &Hub) -> Result<()> {
    let head = store.head();
    let page = u64::try_from(REPLAY_PAGE_REVISIONS).unwrap_or(u64::MAX);
    let after = head.revision.saturating_sub(page).max(head.floor);
    let revisions = store.read(|c| {
        let entries = log::entries(c, after, head.revision, REPLAY_PAGE_REVISIONS, RING_BYTES)?;
        // The ring ends at the head: what does not fit with it stays out.
        if entries.last().is_some_and(|e| e.revision < head.revision) {
            return Ok(Vec::new());
        }
        log::revisions(c, &entries, Depth::Whole)
    })?;
    hub.publish(revisions, head);
    Ok(())
}

async fn load_sample(store: &Store, writer: &Writer, today: Day) -> Result<sample::Loaded> {
    if store.head().revision > 0 {
        return Ok(sample::Loaded::NotEmpty);
    }
    sample::load(writer, today).await
}

impl Server {
    /// The address that was bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin port listens, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Whether connections are greeted with TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.security.tls.is_some()
    }

    /// Has the files of TLS and access read again whenever something is sent.
    #[must_use]
    pub fn reloader(&self) -> mpsc::Sender<()> {
        self.reload.0.clone()
    }

    /// The feed's hub, which counts its subscribers.
    #[must_use]
    pub fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.app.hub)
    }

    /// Where the store lies.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// What became of the sample, if one was asked for.
    #[must_use]
    pub fn loaded(&self) -> Option<&sample::Loaded> {
        self.loaded.as_ref()
    }

    /// Answers until `shutdown` is done, or another start would make right what this one cannot, then drains: watches are
    /// told to go away, requests end, and what has not ended by the deadline is cut.
    ///
    /// # Errors
    ///
    /// If the writer ended abnormally, or the journal has left the store behind ([`is_left_behind`]).
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let tasks = self.app.tasks.clone();
        let greeting = Greeting {
            tls: self.security.tls.clone(),
            access: self.security.access.clone(),
            stay: self.stay,
            most: self.max_connections,
            calls: self.app.calls.clone(),
            message_timeout: self.message_timeout,
            metrics: Arc::clone(&self.app.metrics),
        };
        // The admin port tells of the drain until that has ended: it is none of what is waited for.
        let (telling, told) = (Tasks::default(), CancellationToken::new());
        if let Some(listener) = self.admin {
            let (app, health) = (Arc::clone(&self.app), self.health.clone());
            let admin = Admin { app, health, tls: self.security.tls.clone() };
            let (told, abort) = (told.clone(), abort.clone());
            telling.spawn("admin", async move {
                tokio::select! {
                    () = admin::serve(admin, listener, told) => {}
                    () = abort.cancelled() => {}
                }
            });
        }
        let draining = self.app.hub.draining().clone();
        let accepting = listener::serve(self.listener, self.services, greeting, tasks.clone(), draining, abort.clone());
        let accepting = tasks.spawn("accept", accepting);
        // (The sender lives as long as the server: the files are read again until it stops.)
        let (_asking, asked) = self.reload;
        tasks.spawn("security", self.security.run(Arc::clone(&self.app.metrics), asked, stop.clone()));
        let app = &self.app;
        let clock =
            day::run(app.store.clone(), app.writer.clone(), Arc::clone(&app.clock), self.accept_day_jump, stop.clone());
        tasks.spawn("clock", clock);
        if let Some(kept) = self.kept {
            tasks.spawn("retain", retain::run(app.store.clone(), app.writer.clone(), kept, stop.clone()));
        }
        tasks.spawn("recall", recall::run(app.store.clone(), stop.clone()));
        tasks.spawn("sweep", sweep::run(app.store.clone(), app.writer.clone(), stop.clone()));
        let maker = snapshots::Maker {
            journal: Arc::clone(&app.journal),
            store: app.store.clone(),
            writer: app.writer.clone(),
            folder: self.folder.clone(),
            clock: Arc::clone(&app.clock),
            interval: self.snapshots,
        };
        tasks.spawn("snapshots", maker.clone().run(stop.clone()));
        let left_behind: Result<()> = tokio::select! {
            () = shutdown => Ok(()),
            why = maker.left_behind() => Err(why),
            () = watch_over_filings(&self.app, &self.health) => Ok(()),
            () = transport::watch_over_lag(&self.app, &self.health) => Ok(()),
        };
        if let Err(error) = &left_behind {
            tracing::error!(%error, "the journal has left this store behind: the server ends, to be started again");
        }
        tracing::info!("draining");
        self.health.set_serving(false).await;
        self.app.hub.drain();
        stop.cancel();
        self.follower.cancel();
        let _ = accepting.await;
        if tokio::time::timeout(self.drain, tasks.drained()).await.is_err() {
            tracing::warn!(running = tasks.running(), "the drain's deadline passed; cutting what is left");
            abort.cancel();
            tasks.drained().await;
        }
        told.cancel();
        // Whoever asks it half a question is not waited for.
        if tokio::time::timeout(ADMIN_GOODBYE, telling.drained()).await.is_err() {
            abort.cancel();
            telling.drained().await;
        }
        self.app.writer.stop().await;
        let writer = self.writer;
        blocking(move || writer.join()).await.and(left_behind)
    }
}

/// Tells health when filings are refused altogether: whoever balances load goes elsewhere, and reads go on.
async fn watch_over_filings(app: &App, health: &Health) {
    app.writer.failed().await;
    health.set_filing_failed().await;
    std::future::pending::<()>().await;
}
