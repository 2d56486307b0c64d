//! The admin port: what is counted is what happened, and readiness is what health says.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use attache::{
    access::{Allowance, Policy},
    config::{AccessRules, Config, Security, TlsFiles},
    feed,
    journal::{Embedded, Journal},
    limits::{CERTIFICATE_ENDS_SOON, MAX_READY_LAG, MAX_RECORDED_AHEAD},
    pb::v1::{self, feed_service_client::FeedServiceClient, watch_events_response::Frame},
    serve::{self, Parts},
};
use common::{
    FakeClock, TestServer, admin, observed,
    shared_log::{Fault, Lagging, SharedLog},
    visit_report, visit_report_of,
    watching::{
        Watching, filtered, from_now, from_oldest, from_snapshot, guests, patiently, reason, taciturn, until_caught_up,
    },
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// Told where there is a certificate alone.
const CERTIFICATE_ENDS: &str = "attache_certificate_expires_timestamp_seconds";
/// Told where there is an allowance alone.
const STORE_LIMIT: &str = "attache_store_limit_bytes";
const STORE_USED: &str = "attache_store_used_bytes";
/// Whether what was read last was refused.
const CERTIFICATE_FAILED: &str = "attache_reload_failed{what=\"certificate\"}";
const RULES_FAILED: &str = "attache_reload_failed{what=\"rules\"}";
/// How what was read again was taken.
const CERTIFICATE_READ: &str = "attache_reloads_total{what=\"certificate\",outcome=\"read\"}";
const CERTIFICATE_REFUSED: &str = "attache_reloads_total{what=\"certificate\",outcome=\"refused\"}";
const RULES_READ: &str = "attache_reloads_total{what=\"rules\",outcome=\"read\"}";
const RULES_REFUSED: &str = "attache_reloads_total{what=\"rules\",outcome=\"refused\"}";
/// Watches by what they do.
const IN_SNAPSHOT: &str = "attache_watches_by_phase{phase=\"snapshot\"}";
const IN_REPLAY: &str = "attache_watches_by_phase{phase=\"replay\"}";
const LIVE: &str = "attache_watches_by_phase{phase=\"live\"}";
/// How far the furthest of them is behind.
const WATCH_LAG: &str = "attache_watch_lag_revisions";

/// A server with an admin port on a port the system picks.
struct Observed {
    address: String,
    admin: SocketAddr,
    reloader: mpsc::Sender<()>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<attache::domain::error::Result<()>>,
}

impl Observed {
    async fn start() -> Self {
        Self::with(common::config()).await
    }

    async fn with(config: Config) -> Self {
        let parts = Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() };
        let server = serve::build(&observed(config), parts).await.expect("the server starts");
        let (address, admin) =
            (format!("http://{}", server.address()), server.admin_address().expect("it was asked for"));
        let reloader = server.reloader();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, admin, reloader, stop, running }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }

    /// Status and body of a request.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        admin::ask(self.admin, method, path, body).await
    }

    /// The value of a number, by its name and labels as they are shown.
    async fn number(&self, name: &str) -> f64 {
        admin::number(self.admin, name).await
    }

    /// The names of the numbers that it tells, as their types are.
    async fn names(&self) -> BTreeSet<String> {
        let (_, text) = self.ask("GET", "/metrics", "").await;
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        names.map(str::to_owned).collect()
    }
}

/// Puts a certificate that ends with a year into a folder, its key, and behind it one that ends with another year.
fn certify(folder: &Path, [own, other]: [i32; 2]) {
    let made = |year: i32| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year + 1, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((own, key), (other, _)) = (made(own), made(other));
    fs::write(folder.join("server.crt"), format!("{own}{other}")).unwrap();
    fs::write(folder.join("server.key"), key).unwrap();
}

/// The end of a year (UTC), in seconds since 1970.
fn end_of(year: i32) -> f64 {
    f64::from(u32::try_from(date_time_ymd(year + 1, 1, 1).unix_timestamp()).unwrap())
}

/// With the certificate of a folder.
fn secured(folder: &Path) -> Config {
    let tls = TlsFiles {
        certificate: folder.join("server.crt"),
        key: folder.join("server.key"),
        client_ca: None,
        require_client_certificate: false,
    };
    Config { security: Security { tls: Some(tls), ..Security::default() }, ..common::config() }
}

#[tokio::test]
async fn what_is_counted_is_what_happened() {
    let server = Observed::start().await;
    let mut filing = v1::filing_service_client::FilingServiceClient::connect(server.address.clone()).await.unwrap();
    let mut recorded = None;
    for day in 1..=3 {
        let reports = vec![visit_report("v", "s", "KZ", "AZ", &format!("2023-05-0{day}"))];
        let request = v1::FileReportsRequest { reports, ..Default::default() };
        let answer = filing.file_reports(request).await.unwrap().into_inner();
        recorded = answer.events.last().and_then(|event| event.time.as_ref()).map(|time| time.seconds);
    }
    filing.file_reports(v1::FileReportsRequest::default()).await.expect_err("it files nothing");
    let mut registry =
        v1::registry_service_client::RegistryServiceClient::connect(server.address.clone()).await.unwrap();
    for _ in 0..2 {
        let asked = v1::GetVisitRequest { name: "visits/v".into(), ..Default::default() };
        registry.get_visit(asked).await.unwrap();
    }
    let number = async |name: &str| server.number(name).await;
    assert_eq!(number("attache_requests_total{rpc=\"FilingService/FileReports\",code=\"OK\"}").await, 3.0);
    assert_eq!(
        number("attache_requests_total{rpc=\"FilingService/FileReports\",code=\"INVALID_ARGUMENT\"}").await,
        1.0
    );
    assert_eq!(number("attache_requests_total{rpc=\"RegistryService/GetVisit\",code=\"OK\"}").await, 2.0);
    assert_eq!(number("attache_request_seconds_count{rpc=\"RegistryService/GetVisit\"}").await, 2.0);
    assert_eq!(number("attache_filings_total").await, 3.0);
    assert_eq!(number("attache_group_filings_sum").await, 3.0);
    assert_eq!(number("attache_revision").await, 3.0);
    assert_eq!(number("attache_journal_position").await, 3.0, "each was a batch");
    assert_eq!(number("attache_floor").await, 0.0, "nothing was trimmed");
    let recorded = u32::try_from(recorded.expect("the last changed something")).unwrap();
    assert_eq!(number("attache_recorded_at_seconds").await.trunc(), f64::from(recorded));
    assert_eq!(number("attache_filing").await, 1.0);
    assert_eq!(number("attache_connections").await, 2.0);
    let (hits, misses) = (number("attache_cache_hits_total").await, number("attache_cache_misses_total").await);
    assert_eq!((hits, misses), (1.0, 1.0), "the second lookup is answered by memory");
    assert!(number("attache_store_bytes").await > 0.0);
    server.stop().await;
}

#[tokio::test]
async fn what_caches_hold_is_told() {
    let server = on(Embedded).await;
    let visit = v1::Visit { summary: Some("negotiations about grain".into()), ..Default::default() };
    server.file(vec![visit_report_of("v", "s", visit), visit_report("w", "s", "KZ", "AZ", "2023-05-01")]).await;
    let caches = ["attache_records_bytes", "attache_term_sets_bytes", "attache_sounds_bytes"];
    let told = async || {
        let mut told = [0.0; 3];
        for (bytes, cache) in told.iter_mut().zip(caches) {
            *bytes = server.number(cache).await;
        }
        told
    };
    assert_eq!(told().await, [0.0; 3], "nothing was asked for yet");
    let asked = v1::GetVisitRequest { name: "visits/v".into(), ..Default::default() };
    server.registry().get_visit(asked).await.unwrap();
    let filters = guests(&["KZ"]);
    server.registry().list_visits(v1::ListVisitsRequest { filters, ..Default::default() }).await.unwrap();
    let query = v1::SearchRecordsRequest { query: "negotiasions".into(), ..Default::default() };
    server.registry().search_records(query).await.unwrap();
    assert!(told().await.iter().all(|bytes| *bytes > 0.0), "{:?}", told().await);
    server.stop().await;
}

/// How many groups were committed, and how many batches the journal has acknowledged, after three filings.
async fn timed(journal: impl Journal) -> [f64; 2] {
    let server = on(journal).await;
    for day in 1..=3 {
        server.file(vec![visit_report("v", "s", "KZ", "AZ", &format!("2023-05-0{day}"))]).await;
    }
    let counts = [
        server.number("attache_group_commit_seconds_count").await,
        server.number("attache_journal_append_seconds_count").await,
    ];
    server.stop().await;
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journals_acknowledgement_and_the_commit_are_timed_apart() {
    assert_eq!(timed(SharedLog::default()).await, [3.0, 3.0]);
    assert_eq!(timed(Embedded).await, [3.0, 0.0], "the commit is the append");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_journal_did_not_take_is_not_timed() {
    let log = SharedLog::default();
    let server = on(log.clone()).await;
    log.inject([Fault::NotSent]);
    let reports = vec![visit_report("v", "s", "KZ", "AZ", "2023-05-01")];
    let refused = server.filing().file_reports(v1::FileReportsRequest { reports, ..Default::default() }).await;
    assert_eq!(reason(&refused.expect_err("it is not sent")), "JOURNAL_UNAVAILABLE");
    for name in ["attache_group_commit_seconds_count", "attache_journal_append_seconds_count"] {
        assert_eq!(server.number(name).await, 0.0, "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_full_store_refuses_is_counted_and_its_allowance_is_told() {
    // The tables take about a third of it.
    let server = Observed::with(Config { max_store_bytes: Some(900_000), ..common::config() }).await;
    // 219 pages.
    assert_eq!(server.number(STORE_LIMIT).await, 897_024.0);
    let empty = server.number(STORE_USED).await;
    assert_eq!(server.number("attache_storage_full_total").await, 0.0);
    let mut filing = v1::filing_service_client::FilingServiceClient::connect(server.address.clone()).await.unwrap();
    let mut refused = None;
    for number in 0..5000 {
        let reports = vec![visit_report(&format!("v{number}"), "s", "KZ", "AZ", "2023-05-01")];
        refused = filing.file_reports(v1::FileReportsRequest { reports, ..Default::default() }).await.err();
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("it is full at some time");
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    assert!(server.number("attache_storage_full_total").await >= 1.0);
    let (used, allowed) = (server.number(STORE_USED).await, server.number(STORE_LIMIT).await);
    assert!(empty < used && allowed * 0.7 < used && used <= allowed, "{empty}, then {used} of {allowed}");
    assert_eq!(server.number("attache_filing").await, 1.0, "this alone would not tell");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_find_no_room_are_counted_and_the_admin_port_goes_on() {
    let server = Observed::with(Config { max_calls: 1, ..common::config() }).await;
    let refusals = "attache_refusals_total{reason=\"OVERLOADED\"}";
    assert_eq!(server.number(refusals).await, 0.0);
    let channel = tonic::transport::Endpoint::from_shared(server.address.clone()).unwrap().connect().await.unwrap();
    let mut log = v1::log_service_client::LogServiceClient::new(channel.clone());
    // Requests without a message, the first of which to come takes the place, and each of the others finds none.
    let mut begun = Vec::new();
    let mut refused = 0.0;
    while refused == 0.0 {
        begun.push(common::raw::begin(&channel, "attache.v1.LogService/GetLogInfo", &[]).await);
        if log.get_log_info(v1::GetLogInfoRequest {}).await.is_err() {
            refused = server.number(refusals).await;
        }
    }
    assert!(refused >= 1.0, "{refused}");
    drop(begun);
    server.stop().await;
}

#[tokio::test]
async fn calls_that_nobody_answers_are_counted_together() {
    let server = Observed::start().await;
    let channel = tonic::transport::Endpoint::from_shared(server.address.clone()).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    let paths = [
        "/attache.v1.Nothing/Ever",
        "/attache.v1.FeedService/Nothing",
        "/attache.v1.RegistryService/Nothing",
        "/attache.v1.RegistryService/GetVisit/More",
        "/attache.v1.RegistryService/",
        "/elsewhere.Service/Method",
    ];
    for path in paths {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<v1::GetLogInfoRequest, v1::GetLogInfoResponse>::default();
        let path = path.parse().unwrap();
        let status = grpc.unary(tonic::Request::new(v1::GetLogInfoRequest {}), path, codec).await;
        assert_eq!(status.expect_err("nobody answers").code(), tonic::Code::Unimplemented);
    }
    assert_eq!(server.number("attache_requests_total{rpc=\"other\",code=\"UNIMPLEMENTED\"}").await, 6.0);
    server.stop().await;
}

#[tokio::test]
async fn it_says_whether_it_lives_and_is_ready() {
    let server = Observed::start().await;
    assert_eq!(server.ask("GET", "/live", "").await, (200, "alive\n".to_owned()));
    assert_eq!(server.ask("GET", "/ready", "").await, (200, "reads: ready\nfilings: ready\n".to_owned()));
    assert_eq!(server.ask("GET", "/nowhere", "").await.0, 404);
    assert_eq!(server.ask("POST", "/metrics", "").await.0, 405);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn until_a_drain_has_ended_nothing_is_ready_and_the_numbers_say_what_is_left() {
    // Longer than the test takes: it ends when nothing is left.
    let config = Config { drain: Duration::from_secs(60), feed: without_ring(), ..common::config() };
    let parts = Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() };
    let mut server = TestServer::with(observed(config), parts).await;
    flood(&server).await;
    let mut left = unread(&server, from_oldest()).await;
    // A watch looks whether it is to go before each page that it reads of the log. This one is amid its first, which is more
    // than fits on the way to whoever does not read: told to go any earlier, it would have gone.
    left.up_to(|frame| matches!(frame.frame, Some(Frame::Batch(_)))).await;
    assert_eq!(server.admin("GET", "/ready", "").await.0, 200);
    server.drain();
    assert_eq!(until_ready_is(&server, 503).await, "reads: not ready\nfilings: not ready\n");
    assert_eq!(server.admin("GET", "/live", "").await.0, 200);
    assert_eq!(server.number(IN_REPLAY).await, 1.0);
    drop(left);
    patiently("the end of the drain", server.ended()).await;
}

#[tokio::test]
async fn a_request_that_is_never_finished_holds_up_no_end() {
    let server = Observed::start().await;
    let mut half = TcpStream::connect(server.admin).await.unwrap();
    half.write_all(b"PUT /log HTTP/1.1\r\nhost: admin\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    // It is there before the end begins.
    assert_eq!(server.ask("GET", "/live", "").await.0, 200);
    server.stop().await;
    drop(half);
}

#[tokio::test]
async fn the_filter_of_the_log_is_changed_and_what_is_none_is_refused() {
    attache::telemetry::init("warn", attache::config::LogFormat::Text).unwrap();
    let server = Observed::start().await;
    assert_eq!(server.ask("GET", "/log", "").await, (200, "warn\n".to_owned()));
    let (status, why) = server.ask("PUT", "/log", "attache=loud=er").await;
    assert_eq!(status, 400, "{why}");
    assert_eq!(server.ask("PUT", "/log", " \n").await.0, 400);
    assert_eq!(server.ask("GET", "/log", "").await, (200, "warn\n".to_owned()), "what was said before stays");
    assert_eq!(server.ask("PUT", "/log", "attache=error\n").await, (200, "attache=error\n".to_owned()));
    assert_eq!(server.ask("GET", "/log", "").await, (200, "attache=error\n".to_owned()));
    assert_eq!(server.ask("PUT", "/log", &"x".repeat(5000)).await.0, 413);
    server.stop().await;
}

#[tokio::test]
async fn the_end_of_the_certificate_in_force_is_told_or_of_its_chain_if_that_ends_before() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path(), [2090, 2091]);
    let server = Observed::with(secured(folder.path())).await;
    assert_eq!(server.number(CERTIFICATE_ENDS).await, end_of(2090));
    certify(folder.path(), [2093, 2092]);
    common::reload(&server.reloader).await;
    assert_eq!(server.number(CERTIFICATE_ENDS).await, end_of(2092));
    assert_eq!(server.number(CERTIFICATE_FAILED).await, 0.0);
    assert!(server.number(CERTIFICATE_READ).await >= 1.0);
    assert_eq!(server.number(CERTIFICATE_REFUSED).await, 0.0);
    fs::write(folder.path().join("server.crt"), "no certificate").unwrap();
    common::reload(&server.reloader).await;
    assert_eq!(server.number(CERTIFICATE_ENDS).await, end_of(2092), "the former stays in force");
    assert_eq!(server.number(CERTIFICATE_FAILED).await, 1.0);
    assert!(server.number(CERTIFICATE_REFUSED).await >= 1.0);
    certify(folder.path(), [2094, 2094]);
    common::reload(&server.reloader).await;
    assert_eq!(server.number(CERTIFICATE_FAILED).await, 0.0, "it was repaired");
    server.stop().await;
}

#[tokio::test]
async fn that_rules_were_refused_is_told_until_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.toml");
    fs::write(&tokens, "").unwrap();
    let access = AccessRules {
        tokens: Some(tokens.clone()),
        jwt: None,
        policy: Policy::default(),
        allowance: Allowance::default(),
    };
    let security = Security { access: Some(access), ..Security::default() };
    let server = Observed::with(Config { security, ..common::config() }).await;
    for (text, failed) in [("", 0.0), ("no tokens", 1.0), ("", 0.0)] {
        let outcome = if failed == 1.0 { RULES_REFUSED } else { RULES_READ };
        let before = server.number(outcome).await;
        fs::write(&tokens, text).unwrap();
        common::reload(&server.reloader).await;
        assert!(server.number(outcome).await > before, "{text:?}");
        assert_eq!(server.number(RULES_FAILED).await, failed, "{text:?}");
        assert_eq!(server.number(CERTIFICATE_FAILED).await, 0.0);
    }
    server.stop().await;
}

// ---- watches ----

/// A server that can be watched, and has an admin port.
async fn watched(feed: feed::Settings) -> TestServer {
    let parts = Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() };
    TestServer::with(observed(Config { feed, ..common::config() }), parts).await
}

/// Without a ring: whoever is not at the end reads the log.
fn without_ring() -> feed::Settings {
    feed::Settings { ring_bytes: 0, ..feed::Settings::default() }
}

/// Files two megabytes of visits: more than a transport holds for a client that does not read.
async fn flood(server: &TestServer) {
    for filing in 0..25 {
        let visit = |number: usize| {
            let visit = v1::Visit {
                hosts: vec![common::side("AZ")],
                guests: vec![common::side("KZ")],
                start: Some(common::date("2023-05-01")),
                note: Some("n".repeat(4000)),
                ..Default::default()
            };
            visit_report_of(&format!("v{filing}-{number}"), "s", visit)
        };
        server.file((0..20).map(visit).collect()).await;
    }
}

/// A watch whose client does not read, and leaves little room for what it is sent.
async fn unread(server: &TestServer, request: v1::WatchEventsRequest) -> Watching {
    let feed = FeedServiceClient::new(server.narrow_channel());
    let request = v1::WatchEventsRequest { max_batch_events: 1, ..taciturn(request) };
    Watching::open(feed, request).await.expect("the watch is accepted")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_are_counted_by_what_they_do_and_no_more_once_they_have_ended() {
    let server = watched(without_ring()).await;
    flood(&server).await;
    let names = [IN_SNAPSHOT, IN_REPLAY, LIVE, "attache_watches"];
    let numbers = async || {
        let mut numbers = Vec::new();
        for name in names {
            numbers.push(server.number(name).await);
        }
        numbers
    };
    assert_eq!(numbers().await, [0.0; 4]);
    let (snapshot, replay) = (unread(&server, from_snapshot()).await, unread(&server, from_oldest()).await);
    let live = server.watch(taciturn(from_now())).await;
    server.until_number(LIVE, 1.0).await;
    assert_eq!(numbers().await, [1.0, 1.0, 1.0, 3.0]);
    drop((snapshot, replay, live));
    for name in names {
        server.until_number(name, 0.0).await;
    }
    // One that goes through all of them to its end is gone before its client hears of that.
    server.replay(until_caught_up(from_snapshot())).await;
    assert_eq!(numbers().await, [0.0; 4]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_finds_what_it_wants_in_the_ring_or_reads_the_log_for_it() {
    for (feed, expected) in [(feed::Settings::default(), [1.0, 0.0]), (without_ring(), [0.0, 1.0])] {
        let server = watched(feed).await;
        let ring =
            async || [server.number("attache_ring_hits_total").await, server.number("attache_ring_misses_total").await];
        for day in 1..=3 {
            server.file(vec![visit_report("v", "s", "KZ", "AZ", &format!("2023-05-0{day}"))]).await;
        }
        assert_eq!(ring().await, [0.0, 0.0], "nobody watches");
        server.replay(until_caught_up(from_oldest())).await;
        assert_eq!(ring().await, expected);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_is_woken_for_what_may_match_and_for_nothing_else() {
    let server = watched(feed::Settings::default()).await;
    let watch = server.watch(taciturn(filtered(from_now(), guests(&["KZ"])))).await;
    // It has looked at all that there is, and waits.
    server.until_number(LIVE, 1.0).await;
    for (id, guest, wakes) in [("a", "UZ", 0.0), ("b", "KZ", 1.0), ("c", "UZ", 1.0)] {
        server.file(vec![visit_report(id, "s", guest, "AZ", "2023-05-01")]).await;
        assert_eq!(server.number("attache_wakes_total").await, wakes, "{id} of {guest}");
    }
    drop(watch);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_far_the_furthest_watch_is_behind_is_told_and_what_does_not_match_puts_none_behind() {
    for feed in [feed::Settings::default(), without_ring()] {
        let server = watched(feed).await;
        let live = server.watch(taciturn(filtered(from_now(), guests(&["UZ"])))).await;
        server.until_number(LIVE, 1.0).await;
        flood(&server).await;
        assert_eq!(server.number(WATCH_LAG).await, 0.0, "nothing of it is what it wants");
        let stalled = unread(&server, from_oldest()).await;
        patiently("a lag", async {
            while server.number(WATCH_LAG).await == 0.0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // Its client takes too little for it to come to the end.
        let lag = server.number(WATCH_LAG).await;
        assert!(0.0 < lag && lag <= server.number("attache_revision").await, "{lag}");
        drop(stalled);
        server.until_number(WATCH_LAG, 0.0).await;
        drop(live);
        server.stop().await;
    }
}

// ---- a journal ----

async fn on(journal: impl Journal) -> TestServer {
    let parts = Parts { journal: Arc::new(journal), clock: Arc::new(FakeClock::default()), ..Parts::default() };
    TestServer::with(observed(common::config()), parts).await
}

/// Waits until readiness is answered with a status, and answers what it says.
async fn until_ready_is(server: &TestServer, expected: u16) -> String {
    patiently(&format!("readiness {expected}"), async {
        loop {
            let (status, body) = server.admin("GET", "/ready", "").await;
            if status == expected {
                return body;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lags_says_by_how_much_and_is_not_ready_if_that_is_too_much() {
    const LAG: &str = "attache_journal_lag_batches";
    let log = SharedLog::default();
    let lagging = Lagging::like_a_stream(&log);
    let (ahead, behind) = (on(log.clone()).await, on(lagging.clone()).await);
    behind.until_number(LAG, 0.0).await;
    until_ready_is(&behind, 200).await;
    // What a balancer follows.
    let registry = HealthCheckRequest { service: "attache.v1.RegistryService".into() };
    let watched = HealthClient::new(behind.channel.clone()).watch(registry).await;
    let mut watched = watched.expect("health answers").into_inner();
    let mut until_health_is = async |expected| {
        while watched.message().await.expect("it is watched").expect("it goes on").status() != expected {}
    };
    until_health_is(ServingStatus::Serving).await;
    let file = async |number: u64| {
        ahead.file(vec![visit_report(&format!("v{number}"), "s", "KZ", "AZ", "2023-05-01")]).await.token
    };
    // One that has nothing is not close to anything.
    let at_least = Some(file(0).await);
    let asked = v1::ListSourcesRequest { at_least, ..Default::default() };
    behind.registry().list_sources(asked).await.expect("it is applied");
    lagging.hold();
    for number in 1..=3 {
        file(number).await;
    }
    behind.until_number(LAG, 3.0).await;
    assert_eq!(behind.admin("GET", "/ready", "").await.0, 200, "it is close enough");
    for number in 4..=MAX_READY_LAG + 1 {
        file(number).await;
    }
    assert_eq!(until_ready_is(&behind, 503).await, "reads: not ready\nfilings: not ready\n");
    until_health_is(ServingStatus::NotServing).await;
    lagging.cut(true);
    behind.until_number(LAG, -1.0).await;
    lagging.cut(false);
    lagging.release();
    until_ready_is(&behind, 200).await;
    until_health_is(ServingStatus::Serving).await;
    behind.until_number(LAG, 0.0).await;
    behind.stop().await;
    ahead.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_no_filings_until_its_journal_says_what_they_survive_while_reads_go_on() {
    let journal = Lagging::like_a_stream(&SharedLog::default());
    journal.keep_unassured(true);
    let server = on(journal.clone()).await;
    let ready = until_ready_is(&server, 200).await;
    assert_eq!(ready, "reads: ready\nfilings: not ready\n");
    let mut health = HealthClient::new(server.channel.clone());
    let mut status = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        health.check(request).await.expect("health answers").into_inner().status()
    };
    for (service, expected) in [
        ("attache.v1.FilingService", ServingStatus::NotServing),
        ("attache.v1.RegistryService", ServingStatus::Serving),
        ("attache.v1.FeedService", ServingStatus::Serving),
    ] {
        assert_eq!(status(service).await, expected, "{service}");
    }
    journal.keep_unassured(false);
    patiently("that filings are taken", async {
        while status("attache.v1.FilingService").await != ServingStatus::Serving {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.admin("GET", "/ready", "").await, (200, "reads: ready\nfilings: ready\n".to_owned()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_followed_shows_as_no_filings_while_reads_go_on() {
    let log = SharedLog::default();
    let server = on(log.clone()).await;
    server.file(vec![visit_report("v", "s", "KZ", "AZ", "2023-05-01")]).await;
    assert_eq!(server.number("attache_filing").await, 1.0);
    log.smuggle(vec![0xff; 20]);
    server.until_number("attache_filing", 0.0).await;
    let ready = server.admin("GET", "/ready", "").await;
    assert_eq!(ready, (200, "reads: ready\nfilings: not ready\n".to_owned()));
    server.stop().await;
}

/// The names of numbers in a file, as they are shown.
fn numbers_in(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus").join(file);
    let text = fs::read_to_string(path).expect("it is there");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|name| name.starts_with("attache_")).map(str::to_owned).collect()
}

#[tokio::test]
async fn alarms_and_dashboards_ask_for_numbers_that_there_are() {
    let server = Observed::start().await;
    // What is counted by labels is there once something was counted.
    let mut log = v1::log_service_client::LogServiceClient::connect(server.address.clone()).await.unwrap();
    log.get_log_info(v1::GetLogInfoRequest {}).await.unwrap();
    let mut told = server.names().await;
    server.stop().await;
    assert!(!told.contains(CERTIFICATE_ENDS), "there is none, and no end of it");
    assert!(!told.contains(STORE_LIMIT), "the disk is the limit");
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path(), [2090, 2090]);
    let server = Observed::with(Config { max_store_bytes: Some(1 << 30), ..secured(folder.path()) }).await;
    told.extend(server.names().await);
    for file in ["rules.yaml", "tests.yaml", "dashboard.json"] {
        let asked = numbers_in(file);
        assert!(asked.len() > 5, "{asked:?}");
        for name in asked {
            let base = ["_total", "_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
            assert!(told.contains(base.unwrap_or(&name)), "{file} asks for {name}, which is not among {told:?}");
        }
    }
    server.stop().await;
}

#[test]
fn every_alarm_is_named_in_the_section_of_the_runbook_that_it_names() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let rules = fs::read_to_string(deploy.join("prometheus/rules.yaml")).unwrap();
    let runbook = fs::read_to_string(deploy.join("RUNBOOK.md")).unwrap();
    let anchor = |title: &str| title.to_lowercase().replace(' ', "-").replace([',', '\''], "");
    let sections: BTreeMap<String, &str> = runbook
        .split("\n## ")
        .filter_map(|section| section.split_once('\n'))
        .map(|(title, text)| (anchor(title), text))
        .collect();
    let alarms: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(!alarms.is_empty());
    for rule in alarms {
        let alarm = rule.lines().next().expect("its name");
        let named = rule.lines().find_map(|line| line.trim().strip_prefix("runbook: RUNBOOK.md#"));
        let named = named.unwrap_or_else(|| panic!("{alarm} names no section"));
        let text = sections.get(named).unwrap_or_else(|| panic!("{named} is not among {:?}", sections.keys()));
        assert!(text.contains(&format!("`{alarm}`")), "{named} does not know {alarm}");
    }
}

#[test]
fn the_alarm_and_the_doctor_take_the_same_end_of_a_certificate_for_near() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/rules.yaml");
    let days = CERTIFICATE_ENDS_SOON.as_secs() / 86_400;
    let near = format!("expr: {CERTIFICATE_ENDS} - time() < {days} * 86400\n");
    assert!(fs::read_to_string(rules).unwrap().contains(&near), "{near}");
}

#[test]
fn the_alarm_and_the_doctor_take_the_same_recorded_time_for_ahead() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/rules.yaml");
    let seconds = MAX_RECORDED_AHEAD.as_secs();
    let rules = fs::read_to_string(rules).unwrap();
    for ahead in ["attache_recorded_ahead_seconds", "attache_recorded_at_seconds - time()"] {
        let ahead = format!("{ahead} > {seconds}\n");
        assert!(rules.contains(&ahead), "{ahead}");
    }
}

/// `promtool test rules` runs them, but does not miss any.
#[test]
fn every_alarm_is_tested_when_it_sounds_and_when_it_does_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    let rules = fs::read_to_string(folder.join("rules.yaml")).unwrap();
    let tests = fs::read_to_string(folder.join("tests.yaml")).unwrap();
    let alarms: Vec<&str> = rules.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")).collect();
    assert!(!alarms.is_empty());
    for alarm in alarms {
        let silent = format!("alertname: {alarm}, exp_alerts: []");
        assert!(tests.contains(&silent), "{alarm} is not tested when it does not sound");
        let sounds = format!("alertname: {alarm}\n        exp_alerts:\n          - exp_labels:");
        assert!(tests.contains(&sounds), "{alarm} is not tested when it sounds");
    }
}
