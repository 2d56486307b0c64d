//! Replicas on a journal of three real NATS servers: what is acknowledged stands everywhere, once, in one order, whoever
//! is killed, paused or cut off meanwhile.
//!
//! The servers are those that `python3 tests/run.py` installs. Each test has its own; they listen on loopback.

#[path = "../common/authority.rs"]
mod authority;
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
#[path = "../recovery/disk.rs"]
#[allow(dead_code, reason = "the tests of recovery use more of it")]
mod disk;
#[cfg(feature = "failpoints")]
mod failpoints;
mod filers;
mod guarded;
mod lax;
#[path = "../common/link.rs"]
mod link;
mod links;
mod moves;
mod nats;
#[path = "../recovery/process.rs"]
#[allow(dead_code, reason = "the tests of recovery use more of it")]
mod process;
mod redaction;
mod restarts;
mod routes;
mod snapshots;
mod week;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use attache::{
    config::{Config, DataDir},
    journal::{
        Durable, Journal,
        jetstream::{JetStream, Settings},
    },
    pb::v1::{self, Durability, WatchEventsRequest, filing_service_client::FilingServiceClient},
    serve::Parts,
};
use common::{
    FakeClock, TestServer, config,
    scribe::{file_at_once, told},
    visit_report,
    watching::*,
};
use filers::{Filers, standing};
use nats::{Cluster, Sync};
use process::Process;
use rand::Rng as _;
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;

/// Within what time a replica whose stream is not what it was takes no filing more.
const NOTICED: Duration = Duration::from_secs(15);

/// `attache serve` on a folder, as a replica.
fn serve_on(settings: &Settings, folder: &Path) -> std::process::Command {
    let mut command = process::serve_at(folder);
    command.args(["--journal", &settings.servers.join(","), "--journal-stream", &settings.stream]);
    command.args(["--journal-monitor", &settings.monitors.join(",")]);
    command
}

/// On a journal, as the rest of the configuration says.
async fn on(journal: Settings, config: Config) -> TestServer {
    let config = Config { journal: Some(journal), ..config };
    TestServer::with(config, Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await
}

async fn replica(cluster: &Cluster) -> TestServer {
    on(cluster.settings(), config()).await
}

/// On its own folder, which stays.
async fn replica_at(cluster: &Cluster, folder: &Path) -> TestServer {
    on(cluster.settings(), at(folder)).await
}

fn at(folder: &Path) -> Config {
    Config { data_dir: DataDir::At(folder.to_owned()), in_memory: false, ..config() }
}

async fn replicas(cluster: &Cluster) -> [TestServer; 3] {
    [replica(cluster).await, replica(cluster).await, replica(cluster).await]
}

/// A number from the environment.
fn told_to(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// What the faults of a test are drawn by: that of a run that is to be repeated, or another for each run.
fn seed() -> u64 {
    told_to("ATTACHE_SEED").unwrap_or_else(|| rand::rng().random_range(0..1_000_000_000))
}

async fn stop(servers: [TestServer; 3]) {
    for server in servers {
        server.stop().await;
    }
}

/// Every replica tells the same, down to the hashes in its tokens.
async fn agree(servers: &[TestServer]) -> Vec<v1::Event> {
    let single = WatchEventsRequest { max_batch_events: 1, ..until_caught_up(from_oldest()) };
    let mut first: Option<(Vec<v1::Event>, Vec<String>)> = None;
    for server in servers {
        let (frames, error) = server.watch(single.clone()).await.until_the_end().await;
        assert!(error.is_none(), "{error:?}");
        let tokens = frames.iter().filter(|f| batch(f).is_some()).map(|f| f.token.clone()).collect();
        let told = (everything(server).await, tokens);
        match &first {
            None => first = Some(told),
            Some(first) => assert_eq!(&told, first),
        }
    }
    first.map(|(events, _)| events).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_passes_the_suite() {
    let cluster = Cluster::start(Sync::Always);
    let journal = JetStream::open(cluster.settings()).await.expect("it opens");
    let following = tokio::spawn(Arc::clone(&journal).run());
    // The journal's methods block: a thread of its own, as the writer is one.
    let suite = tokio::task::spawn_blocking(move || attache::journal::suite::run(&(journal as Arc<dyn Journal>)));
    suite.await.expect("the suite passes");
    following.abort();
}

/// A monitoring endpoint in front of another, which hangs up on whoever asks first.
async fn reluctant(monitor: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let behind = monitor.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        let mut callers = 0;
        while let Ok((mut caller, _)) = listener.accept().await {
            callers += 1;
            if callers > 1 {
                let mut other = TcpStream::connect(&behind).await.expect("it listens");
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut caller, &mut other).await });
            }
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_asks_the_journal_again_when_it_is_refused_at_first() {
    let cluster = Cluster::start(Sync::Always);
    let mut settings = cluster.settings();
    settings.monitors[0] = reluctant(&settings.monitors[0]).await;
    let journal = JetStream::open(settings).await.expect("it opens");
    // (Nobody else asks: the journal does not run.)
    assert_eq!(journal.durable(), Some(Durable::Synced));
}

/// (Nobody collects here: what is kept is handed on all the same.)
#[cfg(feature = "otel")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_of_a_batch_hands_on_the_trace_of_its_filing_if_that_is_kept() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const CALLER: &str = "00f067aa0ba902b7";
    let (cluster, folder) = (Cluster::start(Sync::Always), tempfile::tempdir().expect("a folder"));
    let settings = cluster.settings();
    let mut command = serve_on(&settings, folder.path());
    let server = Process::start(command.args(["--otlp", "http://127.0.0.1:1", "--otlp-ratio", "0"]));
    until_health_at(&server.channel(), ServingStatus::Serving).await;
    let mut positions = Vec::new();
    for (id, flags) in [("kept", "01"), ("not-kept", "00")] {
        let reports = vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")];
        let mut request = tonic::Request::new(v1::FileReportsRequest { reports, ..Default::default() });
        let header = format!("00-{TRACE}-{CALLER}-{flags}").parse().expect("a header");
        request.metadata_mut().insert("traceparent", header);
        let filed = patiently("a filing", server.filing().file_reports(request)).await.expect("it is filed");
        positions.push(filed.into_inner().revision);
    }
    let client = async_nats::connect(settings.servers.clone()).await.expect("it connects");
    let stream = async_nats::jetstream::new(client).get_stream(&settings.stream).await.expect("it is there");
    // Filings one after the other, each of one revision, are batches one after the other.
    assert_eq!(positions, [1, 2]);
    let header = async |position| {
        let message = stream.get_raw_message(position).await.expect("the batch");
        message.headers.get("traceparent").map(|header| header.as_str().to_owned())
    };
    let kept = header(1).await.expect("a header");
    assert!(kept.starts_with(&format!("00-{TRACE}-")) && kept.ends_with("-01"), "{kept}");
    assert!(!kept.contains(CALLER), "it goes on from the server's own span: {kept}");
    assert_eq!(header(2).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filings_on_three_replicas_all_land_once_and_in_one_order() {
    let cluster = Cluster::start(Sync::Always);
    let servers = replicas(&cluster).await;
    let acked = file_at_once(&servers.each_ref(), "any", 6, 20).await;
    let revisions: Vec<u64> = acked.iter().map(|a| a.revision).collect();
    let last = *revisions.last().expect("something was filed");
    assert_eq!(revisions, (1..=last).collect::<Vec<_>>(), "every acknowledged filing has a revision of its own");
    let events = agree(&servers).await;
    assert_eq!(events.iter().map(bare).collect::<Vec<_>>(), told(&acked));
    let info = servers[0].log().get_log_info(v1::GetLogInfoRequest {}).await.expect("the log answers").into_inner();
    assert_eq!(info.durability(), Durability::Synced);
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filers_who_contend_on_three_replicas_all_get_in_in_the_end() {
    let cluster = Cluster::start(Sync::Always);
    let servers = replicas(&cluster).await;
    let filers = Filers::start(&servers, 60);
    filers.more(400).await;
    let acknowledged = filers.stop().await;
    assert_eq!(standing(&agree(&servers).await), acknowledged);
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_one_replica_kept_is_everywhere_and_moves_on_once() {
    let mut cluster = Cluster::start(Sync::Always);
    let servers = replicas(&cluster).await;
    let acked = file_at_once(&servers.each_ref(), "any", 1, 8).await;
    let (early, late) = (&acked[2].token, &acked[6].token);
    let get = async |server: &TestServer| {
        let asked = v1::GetCursorRequest { name: "reader.1".into() };
        server.feed().get_cursor(asked).await.map(|r| r.into_inner().cursor.expect("a cursor"))
    };
    let commit = async |server: &TestServer, position: &str, expected: Option<&str>| {
        let request = v1::CommitCursorRequest {
            name: "reader.1".into(),
            position: position.into(),
            expected_etag: expected.map(ToOwned::to_owned),
        };
        server.feed().commit_cursor(request).await.map(|r| r.into_inner().cursor.expect("a cursor"))
    };
    assert_eq!(reason(&get(&servers[0]).await.expect_err("there is none")), "RECORD_NOT_FOUND");
    let first = commit(&servers[0], early, Some("")).await.expect("it is kept");
    for server in &servers {
        assert_eq!(get(server).await.expect("it is there"), first);
        assert_eq!(commit(server, early, None).await.expect("a retry"), first);
    }
    // Two consumers that share it: one of them moves it on.
    let both = tokio::join!(
        commit(&servers[1], late, Some(&first.etag)),
        commit(&servers[2], &acked[5].token, Some(&first.etag)),
    );
    let ((Ok(second), Err(refused)) | (Err(refused), Ok(second))) = both else { panic!("{both:?}") };
    assert_eq!(reason(&refused), "ETAG_MISMATCH");
    assert_eq!(get(&servers[0]).await.expect("it is there"), second);
    let back = commit(&servers[0], early, None).await.expect_err("never back");
    assert_eq!(reason(&back), "ETAG_MISMATCH");
    // It is kept as well as the log.
    cluster.kill_all();
    cluster.restart_all();
    let kept = patiently("the cursor", async {
        loop {
            match get(&servers[1]).await {
                Ok(cursor) => return cursor,
                Err(status) => assert_eq!(reason(&status), "JOURNAL_UNAVAILABLE"),
            }
        }
    });
    assert_eq!(kept.await, second);
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_is_killed_the_leader_first_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(Sync::Always);
    let servers = replicas(&cluster).await;
    let filers = Filers::start(&servers, 6);
    filers.more(30).await;
    // (The other two lead or follow when their turn comes.)
    let leader = cluster.leader();
    for server in [leader, (leader + 1) % 3, (leader + 2) % 3] {
        cluster.kill(server);
        filers.more(30).await;
        cluster.restart(server);
        filers.more(30).await;
    }
    let acknowledged = filers.stop().await;
    let events = agree(&servers).await;
    assert_eq!(standing(&events), acknowledged, "each once, and nothing else");
    stop(servers).await;
}

/// Files until the replica is gone: the records that were acknowledged.
async fn until_gone(mut filing: FilingServiceClient<Channel>, round: usize) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let id = format!("k{round}-{}", names.len());
        let request = v1::FileReportsRequest {
            reports: vec![visit_report(&id, "s", "KZ", "AZ", "2023-05-01")],
            ..Default::default()
        };
        match filing.file_reports(request).await {
            Ok(_) => names.push(format!("visits/{id}")),
            Err(_) => return names,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_replica_is_killed_and_has_everything_when_it_is_back() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let cluster = Cluster::start(Sync::Always);
    let settings = cluster.settings();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = |name: &str| Process::start(&mut serve_on(&settings, &folder.path().join(name)));
    let mut replicas = NAMES.map(start);
    let mut acknowledged = Vec::new();
    for (round, name) in NAMES.into_iter().enumerate() {
        let (last, others) = (replicas[round].filing(), [(round + 1) % 3, (round + 2) % 3]);
        let filers = Filers::named(&format!("r{round}-"), &others.map(|other| replicas[other].filing()), 4);
        let last = tokio::spawn(until_gone(last, round));
        filers.more(25).await;
        replicas[round].kill();
        acknowledged.extend(patiently("the end of its filer", last).await.expect("it does not panic"));
        filers.more(10).await;
        replicas[round] = start(name);
        acknowledged.extend(filers.stop().await);
    }
    acknowledged.sort();
    let mut told = Vec::new();
    for replica in &replicas {
        // A watch that is to end caught up has all that anybody was told before.
        let watching = Watching::open(replica.feed(), until_caught_up(from_oldest())).await.expect("it is accepted");
        let (frames, error) = watching.until_the_end().await;
        assert!(error.is_none(), "{error:?}");
        told.push(events(&frames));
    }
    assert!(told.iter().all(|events| events == &told[0]), "all tell the same");
    let stands = standing(&told[0]);
    let twice = stands.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None, "nothing stands twice");
    let lost: Vec<&String> = acknowledged.iter().filter(|name| !stands.contains(name)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    // Of each filer that was cut off one more may stand, whose answer nobody heard.
    assert!(stands.len() <= acknowledged.len() + NAMES.len(), "{} stand of {}", stands.len(), acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_filings_are_refused_reads_go_on_and_nothing_is_lost() {
    let mut cluster = Cluster::start(Sync::Always);
    let servers = replicas(&cluster).await;
    let before = servers[0].file(vec![visit_report("before", "s", "KZ", "AZ", "2023-05-01")]).await;
    let at_least = Some(before.token.clone());
    let read = v1::GetVisitRequest { name: "visits/before".into(), at_least, ..Default::default() };
    servers[1].registry().get_visit(read).await.expect("it is applied there");
    let leader = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    cluster.kill(leader);
    cluster.kill(others[0]);
    let report = visit_report("during", "s", "KZ", "AZ", "2023-05-02");
    let request = |id: &str| v1::FileReportsRequest {
        reports: vec![report.clone()],
        request_id: Some(id.into()),
        ..Default::default()
    };
    let refused = patiently("the refusal", timed(&servers[1], request("one"))).await.expect_err("nobody can take it");
    assert!(["JOURNAL_UNAVAILABLE", "OUTCOME_UNKNOWN"].contains(&reason(&refused).as_str()), "{refused:?}");
    let read = v1::GetVisitRequest { name: "visits/before".into(), ..Default::default() };
    let visit = servers[1].registry().get_visit(read).await.expect("lookups go on").into_inner();
    assert_eq!(visit.token, before.token);
    cluster.restart(leader);
    cluster.restart(others[0]);
    let filers = Filers::start(&servers, 3);
    filers.more(10).await;
    let acknowledged = filers.stop().await;
    // The retry of what was in doubt stands once, whatever became of the first.
    let again = patiently("the retry", filers::insist(&servers[1], request("one"))).await;
    assert!(again.revision > before.revision);
    let told = standing(&agree(&servers).await);
    let mut expected = acknowledged;
    expected.extend(["visits/before".into(), "visits/during".into()]);
    expected.sort();
    assert_eq!(told, expected);
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_starts_while_no_server_answers_reads_on_and_files_when_they_do() {
    let mut cluster = Cluster::start(Sync::Always);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = cluster.settings();
    let start = async || on(settings.clone(), common::config_at(folder.path())).await;
    let server = start().await;
    let before = server.file(vec![visit_report("before", "s", "KZ", "AZ", "2023-05-01")]).await;
    server.stop().await;
    cluster.kill_all();

    let server = start().await;
    let read = v1::GetVisitRequest { name: "visits/before".into(), ..Default::default() };
    let visit = server.registry().get_visit(read).await.expect("lookups go on").into_inner();
    assert_eq!(visit.token, before.token);
    let report = vec![visit_report("after", "s", "KZ", "AZ", "2023-05-02")];
    let request = v1::FileReportsRequest { reports: report, request_id: Some("after".into()), ..Default::default() };
    let refused = patiently("the refusal", timed(&server, request.clone())).await.expect_err("nobody takes it");
    assert_eq!(reason(&refused), "JOURNAL_UNAVAILABLE");
    until_health(&server, ServingStatus::NotServing).await;

    cluster.restart_all();
    until_health(&server, ServingStatus::Serving).await;
    let after = patiently("the filing", filers::insist(&server, request)).await;
    assert_eq!(after.revision, before.revision + 1);
    server.stop().await;
}

/// With a deadline, as a client sets one.
async fn timed(server: &TestServer, request: v1::FileReportsRequest) -> Result<v1::FileReportsResponse, tonic::Status> {
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_secs(3));
    server.filing().file_reports(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_leader_delays_and_loses_nothing() {
    let cluster = Cluster::start(Sync::Always);
    let servers = replicas(&cluster).await;
    let filers = Filers::start(&servers, 6);
    filers.more(20).await;
    let leader = cluster.leader();
    cluster.pause(leader);
    filers.more(20).await;
    cluster.resume(leader);
    filers.more(20).await;
    let acknowledged = filers.stop().await;
    assert_eq!(standing(&agree(&servers).await), acknowledged);
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_deleted_and_made_anew_is_noticed() {
    let cluster = Cluster::start(Sync::Always);
    let server = replica(&cluster).await;
    for id in ["one", "two"] {
        server.file(vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")]).await;
    }
    let settings = cluster.settings();
    let client = async_nats::connect(settings.servers.clone()).await.expect("it connects");
    let context = async_nats::jetstream::new(client);
    let deleted = Instant::now();
    context.delete_stream(&settings.stream).await.expect("it is deleted");
    until_health(&server, ServingStatus::NotServing).await;
    assert!(deleted.elapsed() < NOTICED, "it is noticed after {:?}", deleted.elapsed());
    let made_anew = Instant::now();
    let another = JetStream::open(settings.clone()).await.expect("it is made anew");
    stops_filing(&server).await;
    // One of another birthday is another for sure.
    assert!(made_anew.elapsed() < NOTICED, "it is told apart after {:?}", made_anew.elapsed());
    let read = v1::GetVisitRequest { name: "visits/two".into(), ..Default::default() };
    assert!(server.registry().get_visit(read).await.is_ok(), "lookups go on");
    let nothing = tokio::task::spawn_blocking(move || another.follow(0, 10)).await.expect("it answers");
    assert_eq!(nothing, Ok(Vec::new()), "nothing was written to the new one");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_deleted_while_a_replica_was_stopped_is_noticed_when_it_starts() {
    let cluster = Cluster::start(Sync::Always);
    let (settings, folder) = (cluster.settings(), tempfile::tempdir().expect("a temporary folder"));
    let server = replica_at(&cluster, folder.path()).await;
    server.file(vec![visit_report("one", "s", "KZ", "AZ", "2023-05-01")]).await;
    server.stop().await;
    let client = async_nats::connect(settings.servers.clone()).await.expect("it connects");
    async_nats::jetstream::new(client).delete_stream(&settings.stream).await.expect("it is deleted");
    let server = replica_at(&cluster, folder.path()).await;
    stops_filing(&server).await;
    let read = v1::GetVisitRequest { name: "visits/one".into(), ..Default::default() };
    assert!(server.registry().get_visit(read).await.is_ok(), "lookups go on");
    server.stop().await;
    // Another replica might begin a log on it that has nothing to do with the one that was lost.
    let client = async_nats::connect(settings.servers.clone()).await.expect("it connects");
    let made = async_nats::jetstream::new(client).get_stream(&settings.stream).await;
    assert!(made.is_err(), "it was made anew by a replica that knows of the one that is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_lost_its_last_batches_is_noticed() {
    let mut cluster = Cluster::start(Sync::Always);
    let server = replica(&cluster).await;
    server.file(vec![visit_report("one", "s", "KZ", "AZ", "2023-05-01")]).await;
    let copies = tempfile::tempdir().expect("a temporary folder");
    cluster.kill_all();
    cluster.save(copies.path());
    cluster.restart_all();
    let report = visit_report("two", "s", "KZ", "AZ", "2023-05-02");
    let request =
        v1::FileReportsRequest { reports: vec![report], request_id: Some("two".into()), ..Default::default() };
    let second = patiently("the second", filers::insist(&server, request)).await;
    cluster.kill_all();
    cluster.restore(copies.path());
    cluster.restart_all();
    stops_filing(&server).await;
    let read = v1::GetVisitRequest { name: "visits/two".into(), ..Default::default() };
    let kept = server.registry().get_visit(read).await.expect("lookups go on").into_inner();
    assert_eq!(kept.token, second.token, "what was acknowledged is still here");
    server.stop().await;
}

/// A quiet replica notices by itself that its log is not there any more, says so, and takes nothing.
async fn stops_filing(server: &TestServer) {
    until_health(server, ServingStatus::NotServing).await;
    let request = v1::FileReportsRequest {
        reports: vec![visit_report("three", "s", "KZ", "AZ", "2023-05-01")],
        ..Default::default()
    };
    // Until it is sure that the log is gone, it may come back.
    patiently("the verdict", async {
        loop {
            let refused = server.filing().file_reports(request.clone()).await.expect_err("its log is gone");
            match reason(&refused).as_str() {
                "LOG_DIVERGED" => break,
                other => assert_eq!(other, "JOURNAL_UNAVAILABLE"),
            }
        }
    })
    .await;
    until_health(server, ServingStatus::NotServing).await;
}

/// Waits until health says so of filings.
async fn until_health(server: &TestServer, status: ServingStatus) {
    until_health_at(&server.channel, status).await;
}

/// The same of the server at the end of a channel.
async fn until_health_at(channel: &Channel, status: ServingStatus) {
    patiently("health", async {
        while health_of(channel, "attache.v1.FilingService").await != status {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn health_of(channel: &Channel, service: &str) -> ServingStatus {
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let asked = tonic_health::pb::HealthCheckRequest { service: service.into() };
    health.check(asked).await.expect("health answers").into_inner().status()
}
