//! The harness: a server in this process, on a port the system picks, with its own temporary store.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod admin;
pub mod ask;
pub mod older;
pub mod raw;
pub mod scribe;
pub mod shared_log;
pub mod watching;

use std::{
    future::Future,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use attache::{
    clock::Clock,
    config::{Config, DataDir, LogFormat},
    feed,
    pb::v1::{
        self, feed_service_client::FeedServiceClient, filing_service_client::FilingServiceClient,
        log_service_client::LogServiceClient, registry_service_client::RegistryServiceClient,
        retract_reports_request::Selection,
    },
    serve::{self, Parts},
};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::transport::{Channel, Endpoint};

/// 2024-01-02T00:00:00Z, where the fake clock starts.
pub const START_US: i64 = 1_704_153_600_000_000;

/// A clock that moves by a second whenever it is read, and when it is told to.
#[derive(Debug)]
pub struct FakeClock {
    now_us: AtomicI64,
    moved: tokio::sync::watch::Sender<()>,
    /// How often somebody began to wait for a later time.
    waits: tokio::sync::watch::Sender<u64>,
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::at_us(START_US)
    }
}

impl FakeClock {
    pub fn at_us(now_us: i64) -> Self {
        Self {
            now_us: AtomicI64::new(now_us),
            moved: tokio::sync::watch::Sender::new(()),
            waits: tokio::sync::watch::Sender::new(0),
        }
    }

    /// Begins at six in the morning (UTC) of a day.
    pub fn on(day: &str) -> Self {
        Self::at_us(format!("{day}T06:00:00Z").parse::<jiff::Timestamp>().expect("a day").as_microsecond())
    }

    pub fn advance(&self, by: Duration) {
        self.now_us.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
        self.moved.send_replace(());
    }

    /// Jumps, and waits until the one who waits has looked and waits again: for what must not happen.
    pub async fn jump_in_vain(&self, day: &str) {
        let mut waits = self.waits.subscribe();
        waits.mark_unchanged();
        self.jump_to(day);
        waits.changed().await.expect("the clock outlives those who wait");
    }

    /// Jumps to six in the morning (UTC) of a day, forwards or back.
    pub fn jump_to(&self, day: &str) {
        let there = Self::on(day).now_us.into_inner();
        self.now_us.store(there, Ordering::SeqCst);
        self.moved.send_replace(());
    }
}

impl Clock for FakeClock {
    fn now_us(&self) -> i64 {
        self.now_us.fetch_add(1_000_000, Ordering::SeqCst)
    }

    fn wait_until(&self, us: i64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut moved = self.moved.subscribe();
        self.waits.send_modify(|waits| *waits += 1);
        Box::pin(async move {
            let mut seen = self.now_us.load(Ordering::SeqCst);
            while seen < us {
                moved.changed().await.expect("the clock outlives those who wait");
                let now = self.now_us.load(Ordering::SeqCst);
                if now < seen {
                    return;
                }
                seen = now;
            }
        })
    }
}

/// A configuration for tests: loopback, a free port, a store in memory.
pub fn config() -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        insecure_listen: false,
        data_dir: DataDir::Temporary,
        in_memory: true,
        sample: false,
        accept_day_jump: false,
        retain_days: None,
        retain_revisions: None,
        log: "info".into(),
        log_format: LogFormat::Text,
        drain: Duration::from_secs(5),
        max_store_bytes: None,
        max_calls: attache::limits::MAX_CALLS_IN_FLIGHT,
        max_public_streams: attache::limits::MAX_PUBLIC_STREAMS,
        max_imports: attache::limits::MAX_IMPORTS,
        message_timeout: attache::limits::MESSAGE_TIMEOUT,
        feed: feed::Settings::default(),
        journal: None,
        snapshots: None,
        security: attache::config::Security::default(),
        max_connection_age: None,
        goodbye: attache::limits::GOODBYE,
        max_connections: attache::limits::MAX_CONNECTIONS,
        keep_alive: attache::limits::KEEP_ALIVE,
        keep_alive_timeout: attache::limits::KEEP_ALIVE_TIMEOUT,
        admin: attache::config::AdminPort::None,
        otlp: None,
    }
}

/// The same with an admin port on a port the system picks.
pub fn observed(config: Config) -> Config {
    Config { admin: attache::config::AdminPort::At("127.0.0.1:0".parse().unwrap()), ..config }
}

/// A configuration whose store lies in a folder and is synced.
pub fn config_at(folder: &Path) -> Config {
    Config { data_dir: DataDir::At(folder.to_owned()), in_memory: false, ..config() }
}

/// A running server.
pub struct TestServer {
    pub address: String,
    pub channel: Channel,
    pub hub: Arc<feed::Hub>,
    /// Its admin port, if it was given one.
    admin: Option<SocketAddr>,
    reloader: tokio::sync::mpsc::Sender<()>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<attache::domain::error::Result<()>>,
}

impl TestServer {
    /// Starts a server with everything at its default.
    pub async fn start() -> Self {
        Self::with(config(), Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await
    }

    pub async fn with(config: Config, parts: Parts) -> Self {
        let server = serve::build(&config, parts).await.expect("the server starts");
        let address = format!("http://{}", server.address());
        let (hub, admin, reloader) = (server.hub(), server.admin_address(), server.reloader());
        let (stop, stopped) = oneshot::channel();
        #[allow(clippy::disallowed_methods, reason = "the harness owns the server's task, and ends it")]
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        let channel = Endpoint::from_shared(address.clone()).unwrap().connect_lazy();
        Self { address, channel, hub, admin, reloader, stop: Some(stop), running }
    }

    /// A channel of its own, with windows as small as a careless client's.
    pub fn narrow_channel(&self) -> Channel {
        Endpoint::from_shared(self.address.clone())
            .unwrap()
            .initial_stream_window_size(65_535)
            .initial_connection_window_size(65_535)
            .connect_lazy()
    }

    pub fn registry(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub fn feed(&self) -> FeedServiceClient<Channel> {
        FeedServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub fn filing(&self) -> FilingServiceClient<Channel> {
        FilingServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub fn log(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel.clone())
    }

    /// The value of a number of its admin port, by its name and labels as they are shown.
    pub async fn number(&self, name: &str) -> f64 {
        admin::number(self.admin.expect("it was given one"), name).await
    }

    /// Waits until a number of its admin port is this.
    pub async fn until_number(&self, name: &str, expected: f64) {
        watching::patiently(&format!("{name} {expected}"), async {
            while self.number(name).await != expected {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// What its admin port answers to a request: status and body.
    pub async fn admin(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        admin::ask(self.admin.expect("it was given one"), method, path, body).await
    }

    /// Has the files of TLS and access read again, and waits until they were.
    pub async fn reload(&self) {
        reload(&self.reloader).await;
    }

    /// Begins the drain; `ended` waits for its end.
    pub fn drain(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    pub async fn ended(self) {
        self.outcome().await.expect("the server ends in good order");
    }

    /// What it ends with, by itself or because it was told to.
    pub async fn outcome(self) -> attache::domain::error::Result<()> {
        // (What tells it to stop lives until then.)
        let Self { stop: _stop, running, .. } = self;
        running.await.expect("no panic")
    }

    pub async fn stop(mut self) {
        self.drain();
        self.ended().await;
    }

    /// Files reports and demands that they are taken.
    pub async fn file(&self, reports: Vec<v1::Report>) -> v1::FileReportsResponse {
        let request = v1::FileReportsRequest { reports, ..Default::default() };
        self.filing().file_reports(request).await.expect("the filing is taken").into_inner()
    }

    /// Withdraws reports and demands that they are.
    pub async fn withdraw(&self, which: Selection) -> v1::RetractReportsResponse {
        self.filing().retract_reports(withdrawal(which)).await.expect("they are withdrawn").into_inner()
    }
}

/// A withdrawal of a report, or of all of a source or publisher.
pub fn withdrawal(which: Selection) -> v1::RetractReportsRequest {
    let reason = v1::RetractionReason::SourceWithdrawn.into();
    v1::RetractReportsRequest { selection: Some(which), reason, ..Default::default() }
}

/// Has the files of TLS and access read again, and waits until they were.
pub async fn reload(reloader: &tokio::sync::mpsc::Sender<()>) {
    // One waits in the queue, one is taken out of it: when there is room for the third, the first was done.
    for _ in 0..3 {
        reloader.send(()).await.expect("the server runs");
    }
}

/// A source of a publisher of its own.
pub fn source(id: &str) -> v1::Source {
    v1::Source {
        name: format!("sources/{id}"),
        publisher: Some(v1::Attribution { name_as_stated: Some(format!("Publisher {id}")), organization: None }),
        kind: v1::SourceKind::Secondary.into(),
        ..Default::default()
    }
}

pub fn date(edtf: &str) -> v1::EdtfDate {
    v1::EdtfDate { edtf: edtf.into(), ..Default::default() }
}

pub fn side(state: &str) -> v1::Side {
    v1::Side { state: state.into(), ..Default::default() }
}

/// A report of a visit by `guest` to `host` on a day.
pub fn visit_report(id: &str, source_id: &str, guest: &str, host: &str, day: &str) -> v1::Report {
    let visit =
        v1::Visit { hosts: vec![side(host)], guests: vec![side(guest)], start: Some(date(day)), ..Default::default() };
    visit_report_of(id, source_id, visit)
}

pub fn visit_report_of(id: &str, source_id: &str, visit: v1::Visit) -> v1::Report {
    v1::Report {
        record: format!("visits/{id}"),
        source: Some(source(source_id)),
        content: Some(v1::report::Content::Visit(visit)),
        ..Default::default()
    }
}

/// A report of an agreement between two states, signed on a day.
pub fn agreement_report(id: &str, source_id: &str, parties: [&str; 2], signed: &str) -> v1::Report {
    let party = |state: &str| v1::Party { state: state.into(), organization: None };
    let signed =
        v1::AgreementAction { r#type: v1::ActionType::Signed.into(), date: Some(date(signed)), ..Default::default() };
    let agreement = v1::Agreement {
        parties: parties.into_iter().map(party).collect(),
        actions: vec![signed],
        ..Default::default()
    };
    v1::Report {
        record: format!("agreements/{id}"),
        source: Some(source(source_id)),
        content: Some(v1::report::Content::Agreement(agreement)),
        ..Default::default()
    }
}
