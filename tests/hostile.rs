//! Those who would use up what a server has: what is too much of theirs ends, and nobody else notices.

mod common;

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use attache::{
    config::{AdminPort, Config},
    feed,
    journal::Journal,
    limits::{
        HANDSHAKE_TIMEOUT, MAX_CURSORS, MAX_OPEN_REQUEST_BYTES, MAX_PUBLIC_STREAMS_PER_CONNECTION, MAX_REQUEST_BYTES,
    },
    pb::v1::{self, feed_service_client::FeedServiceClient, import_item::Item},
    serve::Parts,
};
use bytes::Bytes;
use common::{
    FakeClock, TestServer, config, config_at, observed, raw,
    shared_log::{Lagging, SharedLog},
    visit_report, visit_report_of,
    watching::*,
};
use futures_util::future::{Either, select};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;

const LIST: &str = "attache.v1.RegistryService/ListVisits";
const FILE: &str = "attache.v1.FilingService/FileReports";
const IMPORT: &str = "attache.v1.FilingService/ImportReports";
const WATCH: &str = "attache.v1.FeedService/WatchEvents";
const INFO: &str = "attache.v1.LogService/GetLogInfo";
const HEALTH: &str = "grpc.health.v1.Health/Check";
const HEALTH_WATCH: &str = "grpc.health.v1.Health/Watch";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

async fn serve(config: Config) -> TestServer {
    TestServer::with(config, Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await
}

async fn info(server: &TestServer) -> Result<v1::GetLogInfoResponse, Status> {
    info_on(&server.channel).await
}

async fn info_on(channel: &Channel) -> Result<v1::GetLogInfoResponse, Status> {
    let mut log = v1::log_service_client::LogServiceClient::new(channel.clone());
    log.get_log_info(v1::GetLogInfoRequest {}).await.map(tonic::Response::into_inner)
}

fn batch_of(id: &str) -> v1::ImportReportsRequest {
    let item = v1::ImportItem { item: Some(Item::Report(visit_report(id, "s", "KZ", "AZ", "2023-05-01"))) };
    v1::ImportReportsRequest { request_id: id.into(), items: vec![item], ..Default::default() }
}

fn outcome(status: &Status) -> (Code, String) {
    (status.code(), reason(status))
}

// ---- more calls than there is room for ----

/// Sends halves of requests until one of them has the only place; answers with all of them, and with how another call is
/// refused then.
async fn hold_the_only_place(server: &TestServer) -> (Vec<raw::Begun>, Status) {
    let mut begun = Vec::new();
    let refusal = patiently("a refusal", async {
        loop {
            let half = raw::begin(&server.channel, LIST, &[]).await;
            half.send(raw::framed(b"").slice(..3)).await;
            begun.push(half);
            if let Err(refusal) = info(server).await {
                return refusal;
            }
        }
    })
    .await;
    (begun, refusal)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_bound_are_refused_at_once_while_health_and_watches_go_on() {
    // (What is held here is half a message: its own time is another test's.)
    let server = serve(Config { max_calls: 1, message_timeout: Duration::from_secs(600), ..config() }).await;
    let mut watch = server.watch(lively(from_oldest())).await;
    watch.up_to(is_caught_up).await;
    let told = info(&server).await.unwrap().limits;
    assert!(told.iter().any(|limit| limit.name == "calls" && limit.value == 1), "{told:?}");

    let (begun, refusal) = hold_the_only_place(&server).await;
    let overloaded = (Code::Unavailable, "OVERLOADED".to_owned());
    assert_eq!(outcome(&refusal), overloaded);
    assert!(refusal.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()), "{refusal:?}");
    let filing = v1::FileReportsRequest {
        reports: vec![visit_report("late", "s", "KZ", "AZ", "2023-05-01")],
        ..Default::default()
    };
    assert_eq!(outcome(&server.filing().file_reports(filing).await.unwrap_err()), overloaded);
    // Nothing but the beginning was sent: it is refused before it is read.
    let unread = raw::begin(&server.channel, FILE, &[]).await;
    assert_eq!(outcome(&unread.early_answer().await.status), overloaded);

    let mut health = HealthClient::new(server.channel.clone());
    assert!(health.check(HealthCheckRequest::default()).await.is_ok());
    let mut answers = server.filing().import_reports(tokio_stream::once(batch_of("v"))).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().request_id, "v", "streams have bounds of their own");
    watch.up_to(|frame| batch(frame).is_some()).await;
    watch.up_to(is_progress).await;
    let mut another = server.watch(lively(from_oldest())).await;
    another.up_to(is_caught_up).await;

    let mut answered = 0;
    for half in begun {
        half.send(raw::framed(b"").slice(3..)).await;
        match half.answer().await.status {
            status if status.code() == Code::Ok => answered += 1,
            refusal => assert_eq!(outcome(&refusal), overloaded),
        }
    }
    assert_eq!(answered, 1, "who had the place is answered");
    assert_eq!(info(&server).await.expect("its place is free again").revision, 1);
    drop((watch, another, answers));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_one_thing_after_another_is_never_too_many() {
    let server = serve(Config { max_calls: 1, ..config() }).await;
    for id in 0..200 {
        server.file(vec![visit_report(&format!("v{id}"), "s", "KZ", "AZ", "2023-05-01")]).await;
        info(&server).await.expect("the call before has ended");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_beyond_the_servers_number_are_refused_until_one_ends() {
    let server = serve(Config { max_imports: 1, ..config() }).await;
    let (batches, sent) = mpsc::channel(1);
    batches.send(batch_of("first")).await.unwrap();
    let mut answers = server.filing().import_reports(ReceiverStream::new(sent)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().request_id, "first");
    let import = async |id: &str| server.filing().import_reports(tokio_stream::once(batch_of(id))).await;
    let refusal = import("second").await.map(drop).expect_err("one is under way");
    assert_eq!(outcome(&refusal), (Code::Unavailable, "OVERLOADED".to_owned()));
    assert_eq!(info(&server).await.unwrap().revision, 1, "nothing of it happened");
    drop((batches, answers));
    let next = patiently("a place", async {
        loop {
            if let Ok(next) = import("third").await {
                return next;
            }
        }
    });
    assert_eq!(next.await.into_inner().message().await.unwrap().unwrap().request_id, "third");
    server.stop().await;
}

// ---- streams that are open to everybody ----

async fn watch_health(channel: &Channel) -> Result<Streaming<HealthCheckResponse>, Status> {
    HealthClient::new(channel.clone()).watch(HealthCheckRequest::default()).await.map(tonic::Response::into_inner)
}

/// A stream of reflection that was answered once, and stays for as long as whoever may ask on it.
struct Reflecting {
    _asks: tokio::sync::mpsc::Sender<ServerReflectionRequest>,
    _told: Streaming<ServerReflectionResponse>,
}

async fn reflect(channel: &Channel) -> Result<Reflecting, Status> {
    let (asks, asked) = tokio::sync::mpsc::channel(1);
    let message_request = Some(MessageRequest::ListServices(String::new()));
    asks.send(ServerReflectionRequest { host: String::new(), message_request }).await.unwrap();
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut told = client.server_reflection_info(ReceiverStream::new(asked)).await?.into_inner();
    assert!(told.message().await?.is_some());
    Ok(Reflecting { _asks: asks, _told: told })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_health_and_reflection_beyond_the_bound_are_refused_while_checks_and_watches_go_on() {
    let server = serve(Config { max_public_streams: 2, ..config() }).await;
    let told = info(&server).await.unwrap().limits;
    assert!(told.iter().any(|limit| limit.name == "public_streams" && limit.value == 2), "{told:?}");
    let (health, reflection) = (watch_health(&server.channel).await.unwrap(), reflect(&server.channel).await.unwrap());
    let elsewhere = server.narrow_channel();
    for channel in [&server.channel, &elsewhere] {
        let exceeded = (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned());
        assert_eq!(outcome(&watch_health(channel).await.map(drop).expect_err("there are two")), exceeded);
        assert_eq!(outcome(&reflect(channel).await.map(drop).expect_err("there are two")), exceeded);
        assert!(HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.is_ok());
    }
    assert!(info(&server).await.is_ok());
    server.watch(lively(from_oldest())).await.up_to(is_progress).await;
    drop(reflection);
    patiently("a place", async {
        while watch_health(&elsewhere).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(health);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_has_few_streams_of_health_and_leaves_others_theirs() {
    let server = TestServer::start().await;
    let mut watches = Vec::new();
    for _ in 0..MAX_PUBLIC_STREAMS_PER_CONNECTION {
        watches.push(watch_health(&server.channel).await.unwrap());
    }
    let refusal = watch_health(&server.channel).await.map(drop).expect_err("it has its share");
    assert_eq!(outcome(&refusal), (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()));
    assert!(HealthClient::new(server.channel.clone()).check(HealthCheckRequest::default()).await.is_ok());
    let mut another = watch_health(&server.narrow_channel()).await.unwrap();
    assert!(another.message().await.unwrap().is_some());
    for watch in &mut watches {
        assert!(watch.message().await.unwrap().is_some(), "those that are open go on");
    }
    drop((watches, another));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_to_everybody_takes_messages_of_four_kibibytes_and_no_more() {
    let server = TestServer::start().await;
    // The name of a service that nobody knows, with three bytes before it.
    let largest = HealthCheckRequest { service: "s".repeat(MAX_OPEN_REQUEST_BYTES - 3) };
    assert_eq!(largest.encoded_len(), 4096);
    for method in [HEALTH, HEALTH_WATCH] {
        let read = raw::call(&server.channel, method, raw::framed(&largest.encode_to_vec()), &[]).await;
        assert_eq!(read.status.code(), Code::NotFound, "{method}: it is looked for");
        // Nothing but a length that is one byte more: it is refused before it is read.
        let announced = raw::begin(&server.channel, method, &[]).await;
        announced.send(Bytes::from_static(&[0, 0, 0, 0x10, 1])).await;
        let refusal = patiently(method, announced.early_answer()).await.status;
        assert_eq!(outcome(&refusal), (Code::ResourceExhausted, "TOO_LARGE".to_owned()), "{method}");
        let limit = refusal.get_details_error_info().unwrap().metadata.remove("limit");
        assert_eq!(limit.as_deref(), Some("4096"), "{method}");
    }
    // (Reflection ends a stream that it cannot read, and says nothing of why.)
    for (padding, is_told) in [(0, true), (MAX_OPEN_REQUEST_BYTES, false)] {
        let message_request = Some(MessageRequest::ListServices("x".repeat(padding)));
        let asked = ServerReflectionRequest { host: String::new(), message_request }.encode_to_vec();
        let answer = raw::call(&server.channel, REFLECTION, raw::framed(&asked), &[]).await;
        assert_eq!(!answer.body.is_empty(), is_told, "{padding} bytes more: {:?}", answer.status);
    }
    server.stop().await;
}

// ---- messages that do not come as a whole ----

fn impatient() -> Config {
    Config { message_timeout: Duration::from_millis(300), ..config() }
}

fn late() -> (Code, String) {
    (Code::DeadlineExceeded, "DEADLINE".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_request_is_waited_for_no_longer_than_it_may_take() {
    let server = serve(impatient()).await;
    let most = u32::try_from(MAX_REQUEST_BYTES).unwrap();
    let announced: Bytes = [&[0][..], &most.to_be_bytes(), b"and little of it"].concat().into();
    let cases = [
        ("nothing", LIST, Bytes::new()),
        ("half a prefix", LIST, raw::framed(b"").slice(..3)),
        ("four mebibytes announced", FILE, announced),
        ("a message, and no end", LIST, raw::framed(b"")),
        ("a watch", WATCH, raw::framed(b"").slice(..1)),
        ("health, which is open to everybody", HEALTH, raw::framed(b"").slice(..4)),
    ];
    let mut begun = Vec::new();
    for (what, method, piece) in cases {
        let half = raw::begin(&server.channel, method, &[]).await;
        half.send(piece).await;
        begun.push((what, half));
    }
    for (what, half) in begun {
        let answer = patiently(what, half.early_answer()).await;
        assert_eq!(outcome(&answer.status), late(), "{what}: {:?}", answer.status);
    }
    server.stop().await;
}

/// Sends a byte of a body whenever another call was answered, and counts those that were taken.
async fn drip(server: &TestServer, body: mpsc::Sender<Bytes>, taken: &Cell<u32>) {
    loop {
        if body.send(Bytes::from_static(b".")).await.is_ok() {
            taken.set(taken.get() + 1);
        }
        info(server).await.expect("others are answered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_byte_by_byte_has_no_more_time_than_one_that_does_not_come() {
    let server = serve(impatient()).await;
    let most = u32::try_from(MAX_REQUEST_BYTES).unwrap();
    for method in [FILE, WATCH, IMPORT] {
        let half = raw::begin(&server.channel, method, &[]).await;
        half.send([&[0][..], &most.to_be_bytes()].concat().into()).await;
        let (body, taken) = (half.body.clone().unwrap(), Cell::new(0));
        let answer = tokio::select! {
            answer = patiently(method, half.early_answer()) => answer,
            () = drip(&server, body, &taken) => unreachable!("it goes on"),
        };
        assert_eq!(outcome(&answer.status), late(), "{method}: {:?}", answer.status);
        assert!(taken.get() > 1, "{method}: it came byte by byte");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_rests_between_its_batches_and_not_within_one() {
    let server = serve(impatient()).await;
    let (batches, sent) = tokio::sync::mpsc::channel(1);
    batches.send(batch_of("first")).await.unwrap();
    let mut answers = server.filing().import_reports(ReceiverStream::new(sent)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().request_id, "first");
    // Longer than a message may take: two of which half is sent come and go, one after the other.
    for _ in 0..2 {
        let half = raw::begin(&server.channel, LIST, &[]).await;
        assert_eq!(outcome(&half.early_answer().await.status), late());
    }
    batches.send(batch_of("second")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().request_id, "second", "it may rest");
    drop((batches, answers));

    let (whole, half) =
        (raw::framed(&batch_of("third").encode_to_vec()), raw::framed(&batch_of("fourth").encode_to_vec()));
    let import = raw::begin(&server.channel, IMPORT, &[]).await;
    import.send([&whole[..], &half[..half.len() / 2]].concat().into()).await;
    let answer = patiently("the end of an import", import.early_answer()).await;
    assert_eq!(outcome(&answer.status), late());
    let told = v1::ImportReportsResponse::decode(&answer.body[5..]).unwrap();
    assert_eq!((told.request_id.as_str(), told.revision), ("third", 3), "what came as a whole is answered, and stands");
    assert_eq!(info(&server).await.unwrap().revision, 3, "and nothing of the other");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_come_as_a_whole_is_counted_whatever_it_asks_for_and_whoever_ends_it() {
    let server = serve(Config { admin: AdminPort::At("127.0.0.1:0".parse().unwrap()), ..impatient() }).await;
    let counted = async |how: &str| server.number(&format!("attache_unfinished_requests_total{{how=\"{how}\"}}")).await;
    let half_of = async |method: &str| {
        let half = raw::begin(&server.channel, method, &[]).await;
        half.send(raw::framed(b"").slice(..3)).await;
        half
    };
    info(&server).await.expect("this is a whole one");
    assert_eq!((counted("late").await, counted("cut").await), (0.0, 0.0));
    for method in [WATCH, IMPORT, LIST] {
        let half = half_of(method).await;
        assert_eq!(outcome(&patiently(method, half.early_answer()).await.status), late(), "{method}");
    }
    assert_eq!((counted("late").await, counted("cut").await), (3.0, 0.0));
    for method in [WATCH, IMPORT, LIST] {
        let torn = patiently(method, half_of(method).await.answer()).await.status;
        assert_eq!(outcome(&torn), (Code::InvalidArgument, "FIELD_INVALID".to_owned()), "{method}");
    }
    assert_eq!((counted("late").await, counted("cut").await), (3.0, 3.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_own_deadline_passes_before_it_came_as_a_whole_is_counted() {
    let admin = AdminPort::At("127.0.0.1:0".parse().unwrap());
    let server = serve(Config { admin, message_timeout: Duration::from_secs(600), ..config() }).await;
    for method in [WATCH, LIST] {
        let half = raw::begin(&server.channel, method, &[("grpc-timeout", "300m")]).await;
        half.send(raw::framed(b"").slice(..3)).await;
        assert_eq!(outcome(&patiently(method, half.early_answer()).await.status), late(), "{method}");
    }
    let cut = || server.number("attache_unfinished_requests_total{how=\"cut\"}");
    // (What is left of a request goes after its answer.)
    patiently("both", async { while cut().await < 2.0 {} }).await;
    assert_eq!(cut().await, 2.0);
    server.stop().await;
}

// ---- watches that are being opened ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_being_opened_is_one_of_the_servers() {
    let log = SharedLog::default();
    let lagging = Lagging::of(&log);
    let parts =
        |journal: Arc<dyn Journal>| Parts { journal, clock: Arc::new(FakeClock::default()), ..Parts::default() };
    let narrow = Config { feed: feed::Settings { max_watches: 1, ..Default::default() }, ..config() };
    let ahead = TestServer::with(config(), parts(Arc::new(log))).await;
    let behind = TestServer::with(narrow, parts(Arc::new(lagging.clone()))).await;
    lagging.hold();
    ahead.file(vec![visit_report("v", "s", "KZ", "AZ", "2023-05-01")]).await;
    // Whichever comes first waits for that, in the one place; neither is open.
    let open = || Box::pin(Watching::open(behind.feed(), taciturn(from_now())));
    let (Either::Left((first, other)) | Either::Right((first, other))) = select(open(), open()).await;
    let refusal = first.map(drop).expect_err("there is one place");
    assert_eq!(outcome(&refusal), (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()));
    lagging.release();
    let mut watch = other.await.expect("it is opened");
    watch.up_to(is_caught_up).await;
    drop(watch);
    behind.stop().await;
    ahead.stop().await;
}

// ---- snapshots ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_beyond_the_servers_number_are_refused_until_one_was_sent() {
    let server = serve(Config { feed: feed::Settings { max_snapshots: 1, ..Default::default() }, ..config() }).await;
    // More than a client with small windows is sent before it reads.
    for hundred in 0..2 {
        let heavy = |id| v1::Visit { summary: Some(format!("{id}{}", "x".repeat(3900))), ..Default::default() };
        let reports = (0..50).map(|i| hundred * 50 + i).map(|i| visit_report_of(&format!("v{i}"), "s", heavy(i)));
        server.file(reports.collect()).await;
    }
    let snapshot = || v1::WatchEventsRequest { max_batch_events: 1, ..taciturn(from_snapshot()) };
    let narrow = FeedServiceClient::new(server.narrow_channel());
    let mut first = Watching::open(narrow, snapshot()).await.unwrap();
    first.up_to(is_started).await;
    let refusal = Watching::open(server.feed(), snapshot()).await.map(drop).expect_err("one is under way");
    assert_eq!(outcome(&refusal), (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()));
    drop(server.watch(from_oldest()).await);
    first.up_to(is_caught_up).await;
    let second = server.watch(snapshot()).await.up_to(is_caught_up).await;
    assert_eq!(events(&second).iter().filter(|event| is_snapshot(event)).count(), 100);
    drop(first);
    server.stop().await;
}

// ---- cursors ----

async fn commit(server: &TestServer, name: &str, position: &str) -> Result<v1::CommitCursorResponse, Status> {
    let request = v1::CommitCursorRequest { name: name.into(), position: position.into(), ..Default::default() };
    server.feed().commit_cursor(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_beyond_a_principals_number_are_refused_and_those_it_has_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(config_at(folder.path())).await;
    let first = server.file(vec![visit_report("v", "s", "KZ", "AZ", "2023-05-01")]).await.token;
    commit(&server, "c", &first).await.unwrap();
    server.stop().await;
    // One call for each of them would take long.
    let store = rusqlite::Connection::open(folder.path().join(attache::store::FILE)).unwrap();
    let rest = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
                INSERT INTO cursors (principal, name, position, revision, event_index, snapshot_after, etag, updated_at_us)
                SELECT principal, name || n, position, revision, event_index, snapshot_after, etag, updated_at_us
                FROM cursors, numbers WHERE name = 'c'";
    store.execute(rest, [i64::try_from(MAX_CURSORS).unwrap() - 1]).unwrap();
    drop(store);

    let server = serve(config_at(folder.path())).await;
    let next = server.file(vec![visit_report("w", "s", "KZ", "AZ", "2023-05-01")]).await.token;
    let refusal = commit(&server, "another", &next).await.unwrap_err();
    assert_eq!(outcome(&refusal), (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()));
    for name in ["c", "c1"] {
        let kept = commit(&server, name, &next).await.expect("it is there already").cursor.unwrap();
        assert_eq!(kept.position, next);
    }
    server.stop().await;
}

// ---- connections that are told to go ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_to_go_and_stays_is_cut_off_and_its_watches_were_told() {
    let (age, goodbye) = (Duration::from_secs(1), Duration::from_millis(500));
    let server = serve(Config { max_connection_age: Some(age), goodbye, ..config() }).await;
    let began = Instant::now();
    // Nothing tells a stream of health to end: this client goes on with it after the GOAWAY, and so keeps its connection.
    let mut stays = watch_health(&server.channel).await.unwrap();
    assert!(stays.message().await.unwrap().is_some());
    let (frames, error) = server.watch(lively(from_oldest())).await.until_the_end().await;
    assert!(error.is_none(), "{error:?}");
    let last = frames.last().and_then(|last| last.frame.as_ref());
    assert!(matches!(last, Some(v1::watch_events_response::Frame::GoingAway(_))), "{last:?}");
    let cut = patiently("the end of the connection", stays.message()).await;
    assert!(cut.is_err(), "nothing ends it in good order: {cut:?}");
    let least = age.mul_f64(0.9) + goodbye;
    assert!(began.elapsed() >= least, "it is given its time: {:?}", began.elapsed());
    // Its place is free, and a new connection is another one.
    let mut again = v1::log_service_client::LogServiceClient::new(server.narrow_channel());
    again.get_log_info(v1::GetLogInfoRequest {}).await.expect("it may come again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_whose_connection_is_told_to_go_ends_with_what_stands_and_goes_on_on_another() {
    // Nobody waits until this connection is cut: an import that is not told is told nothing here.
    let (age, goodbye) = (Duration::from_secs(2), Duration::from_secs(600));
    let server = serve(Config { max_connection_age: Some(age), goodbye, ..config() }).await;
    let (batches, sent) = mpsc::channel(1);
    batches.send(batch_of("first")).await.unwrap();
    let mut answers = server.filing().import_reports(ReceiverStream::new(sent)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().request_id, "first");
    let told = patiently("the end of the import", answers.message()).await.expect_err("its next batch is not awaited");
    assert_eq!(outcome(&told), (Code::Unavailable, "DRAINING".to_owned()));
    assert!(told.message().contains("the connection is to be opened anew"), "it is no drain: {told:?}");
    drop((batches, answers));

    let elsewhere = server.narrow_channel();
    assert_eq!(info_on(&elsewhere).await.unwrap().revision, 1, "what was answered stands");
    let mut filing = v1::filing_service_client::FilingServiceClient::new(elsewhere);
    let mut rest = filing.import_reports(tokio_stream::once(batch_of("second"))).await.unwrap().into_inner();
    let next = rest.message().await.unwrap().unwrap();
    assert_eq!((next.request_id.as_str(), next.revision), ("second", 2));
    drop(rest);
    server.stop().await;
}

// ---- HTTP/2 as it should not be spoken ----

/// A frame (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a server has said on a connection.
struct Heard {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

/// The frames of which all has come.
fn frames_in(mut bytes: &[u8]) -> Vec<Heard> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, flags, _, _, _, _, behind @ ..] = bytes {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        let Some((payload, next)) = behind.split_at_checked(length) else { break };
        frames.push(Heard { kind: *kind, flags: *flags, payload: payload.to_vec() });
        bytes = next;
    }
    frames
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 11;

/// The headers of a request that this server answers, each as a literal that is not indexed (RFC 7541, 6.2.2).
fn headers(call: &str) -> Vec<u8> {
    let path = format!("/{call}");
    let all = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path.as_str()),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    all.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A whole request on the first stream of a connection.
fn asked(call: &str, message: &impl prost::Message) -> Vec<u8> {
    let message = raw::framed(&message.encode_to_vec());
    [frame(HEADERS, END_HEADERS, 1, &headers(call)), frame(DATA, END_STREAM, 1, &message)].concat()
}

/// Connects, says these frames after what every client says first and nothing more, whatever is asked, and reads until the
/// server hangs up: what arrived before the reset that may follow it.
async fn hung_up_after(server: &TestServer, frames: &[u8]) -> Vec<Heard> {
    let stream = TcpStream::connect(server.address.trim_start_matches("http://")).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
    let speak = async {
        // It hangs up in the middle of it, perhaps.
        let _ = writer.write_all(&begin).await;
        let _ = writer.write_all(frames).await;
        // Open until the server has gone: it is not this end that hangs up.
        writer
    };
    let mut heard = Vec::new();
    let listen = async {
        let mut piece = [0; 4096];
        while let Ok(more @ 1..) = reader.read(&mut piece).await {
            heard.extend_from_slice(&piece[..more]);
        }
    };
    patiently("the end of the connection", async { tokio::join!(speak, listen) }).await;
    frames_in(&heard)
}

/// The last stream that a GOAWAY speaks of, and its error code.
fn goaway(heard: &[Heard]) -> Option<(u32, u32)> {
    let said = heard.iter().find(|frame| frame.kind == GOAWAY)?;
    let number = |at: usize| u32::from_be_bytes(said.payload[at..at + 4].try_into().unwrap());
    Some((number(0), number(4)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_their_own_connection_and_nobody_elses() {
    let server = TestServer::start().await;
    let mut watch = server.watch(lively(from_oldest())).await;
    let begin = |stream: u32| frame(HEADERS, END_HEADERS, stream, &headers(INFO));
    let cancel = 8_u32.to_be_bytes();
    let streams = (0..4000).map(|n| 2 * n + 1);
    // (CVE-2023-44487)
    let resets: Vec<u8> = streams.flat_map(|s| [begin(s), frame(RST_STREAM, 0, s, &cancel)].concat()).collect();
    let nothing: Vec<u8> = [begin(1), frame(DATA, 0, 1, &[]).repeat(4000)].concat();
    // (CVE-2024-27316) Headers that never end, and have nothing in them.
    let unended = [frame(HEADERS, 0, 1, &headers(INFO)), frame(CONTINUATION, 0, 1, &[]).repeat(4000)].concat();
    for (what, flood) in [("resets", resets), ("frames of nothing", nothing), ("headers", unended)] {
        let code = goaway(&hung_up_after(&server, &flood).await).map(|(_, code)| code);
        assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{what}: {code:?}");
        info(&server).await.expect(what);
        watch.up_to(is_progress).await;
    }
    drop(watch);
    server.stop().await;
}

/// Waits until there are so many watchers.
async fn watchers(server: &TestServer, number: usize) {
    let there = async {
        while server.hub.subscribers() != number {
            tokio::task::yield_now().await;
        }
    };
    patiently(&format!("{number} watchers"), there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_answers_no_ping_is_cut_off_and_one_that_does_stays() {
    // Who lives has long enough to answer on a busy machine.
    let (keep_alive, keep_alive_timeout) = (Duration::from_millis(100), Duration::from_secs(3));
    let server = serve(Config { keep_alive, keep_alive_timeout, ..config() }).await;
    let mut lives = server.watch(lively(from_oldest())).await;
    watchers(&server, 1).await;
    let watch = asked(WATCH, &lively(from_oldest()));
    let (heard, ()) = tokio::join!(hung_up_after(&server, &watch), watchers(&server, 2));
    assert!(heard.iter().any(|frame| frame.kind == PING && frame.flags == 0), "it was asked whether it lives");
    watchers(&server, 1).await;
    lives.up_to(is_progress).await;
    drop(lives);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_is_told_by_a_goaway_that_gives_up_nothing_under_way() {
    let (age, goodbye) = (Duration::from_millis(300), Duration::from_millis(500));
    let server = serve(Config { max_connection_age: Some(age), goodbye, ..config() }).await;
    let began = Instant::now();
    // (Nothing tells a stream of health to end.)
    let heard = hung_up_after(&server, &asked(HEALTH_WATCH, &HealthCheckRequest::default())).await;
    let least = age.mul_f64(0.9) + goodbye;
    assert!(began.elapsed() >= least, "it is given its time: {:?}", began.elapsed());
    assert!(heard.iter().any(|frame| frame.kind == DATA), "it was answered");
    // Every stream that it may have begun goes on (RFC 9113, 6.8).
    assert_eq!(goaway(&heard), Some((u32::MAX >> 1, NO_ERROR)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_beyond_the_servers_number_waits_until_another_ends() {
    let server = serve(Config { max_connections: 2, ..config() }).await;
    let [one, two, three] = [(); 3].map(|()| server.narrow_channel());
    for channel in [&one, &two] {
        info_on(channel).await.expect("there is room");
    }
    let waits = tokio::spawn(async move { info_on(&three).await });
    for _ in 0..200 {
        for channel in [&one, &two] {
            info_on(channel).await.expect("those that are there go on");
        }
    }
    assert!(!waits.is_finished(), "there is no room for a third");
    drop(one);
    patiently("the answer to the third", waits).await.unwrap().expect("it is served");
    info_on(&two).await.expect("it was not this one that ended");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giant_headers_are_refused_before_anybody_reads_them() {
    let server = TestServer::start().await;
    let stream = TcpStream::connect(server.address.trim_start_matches("http://")).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut ask = async |size: usize| {
        let request = http::Request::post(format!("{}/{INFO}", server.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-much", "x".repeat(size))
            .body(Full::new(raw::framed(b"")))
            .unwrap();
        sender.send_request(request).await.map(|response| response.status().as_u16())
    };
    assert_eq!(ask(1024).await.unwrap(), 200);
    match patiently("a refusal", ask(64 * 1024)).await {
        Ok(status) => assert_eq!(status, 431),
        // The stream is reset behind the answer, and the reset may be seen first.
        Err(error) => assert!(!error.is_user(), "it was sent: {error:?}"),
    }
    info(&server).await.expect("nobody else notices");
    connection.abort();
    server.stop().await;
}

#[tokio::test]
async fn what_is_compressed_is_never_unpacked() {
    let server = TestServer::start().await;
    // What it would unpack to does not matter: nobody looks.
    let packed = Bytes::from_static(&[1, 0, 0, 0, 3, 0x1f, 0x8b, 0x08]);
    let marked = raw::call(&server.channel, INFO, packed.clone(), &[]).await;
    assert_eq!(outcome(&marked.status), (Code::InvalidArgument, "FIELD_INVALID".to_owned()));
    // One that says how is told what is taken, as gRPC has it (its `compression.md`), before its body is read.
    for how in ["gzip", "deflate", "zstd", "br", "", "gzip, identity"] {
        let said = raw::begin(&server.channel, INFO, &[("grpc-encoding", how)]).await;
        said.send(packed.clone()).await;
        let answer = said.early_answer().await;
        assert_eq!(outcome(&answer.status), (Code::InvalidArgument, "FIELD_INVALID".to_owned()), "{how:?}");
        let wrong = answer.status.get_details_bad_request().expect("it says which field").field_violations;
        assert_eq!(wrong.iter().map(|of| of.field.as_str()).collect::<Vec<_>>(), ["grpc-encoding"], "{how:?}");
        assert_eq!(answer.headers.get("grpc-accept-encoding").unwrap(), "identity", "{how:?}");
    }
    let plain = raw::call(&server.channel, INFO, raw::framed(b""), &[("grpc-encoding", "identity")]).await;
    assert_eq!(plain.status.code(), Code::Ok);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_begin_to_speak_http2_within_ten_seconds_is_hung_up_on() {
    let server = TestServer::start().await;
    let began = Instant::now();
    let mut waiting = tokio::task::JoinSet::new();
    for said in ["", "PRI", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let address = server.address.trim_start_matches("http://").to_owned();
        waiting.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let read = stream.read(&mut [0; 64]).await;
            // Hung up, in good order or not, without a word.
            assert!(!matches!(read, Ok(1..)), "{said:?}: {read:?}");
        });
    }
    patiently("the end of silent connections", async {
        while let Some(ended) = waiting.join_next().await {
            ended.unwrap();
        }
    })
    .await;
    let within = HANDSHAKE_TIMEOUT - Duration::from_secs(1);
    assert!(began.elapsed() > within, "it is given its time: {:?}", began.elapsed());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_something_else_than_http2_is_hung_up_on_and_counted() {
    let server = serve(observed(config())).await;
    let turned_away = "attache_handshakes_refused_total";
    // HTTP/1.1; the beginning of TLS; another protocol; and what is HTTP/2 almost to its end.
    let others: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        b"EHLO localhost\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r",
    ];
    for (before, said) in (0_u8..).zip(others) {
        assert_eq!(server.number(turned_away).await, f64::from(before));
        let mut stream = TcpStream::connect(server.address.trim_start_matches("http://")).await.unwrap();
        stream.write_all(said).await.unwrap();
        // (It may be reset before all is read.)
        let _ = patiently("the end of the connection", stream.read_to_end(&mut Vec::new())).await;
        server.until_number(turned_away, f64::from(before + 1)).await;
    }
    info(&server).await.expect("who speaks it is served");
    assert_eq!(server.number(turned_away).await, 4.0, "and is not counted");
    server.stop().await;
}
