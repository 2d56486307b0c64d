//! Attaché beside its floors, in one run on one machine: `cargo bench --bench compare`.
//!
//! Five rounds, interleaved; medians, ranges and ratios. The floor of lookups and watches is a bare tonic service that
//! hands out the very bytes that Attaché answers with; that of filings is SQLite's own commits of rows of that size.
//! Client, server and floor share the machine, and the client leaves every message undecoded. With `-- --write` the table
//! replaces the one in `benches/RESULTS.md`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for a person's eyes"
)]

mod raw;
mod table;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use attache::{
    cli::bench::draw::{Draw, Odds},
    config::{Config, DataDir, LogFormat},
    feed,
    pb::v1::{
        self,
        filing_service_client::FilingServiceClient,
        watch_events_request::{Start, Until},
    },
    serve::{self, Parts},
};
use bytes::Bytes;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};

use self::raw::{FLOOR_STREAM, FLOOR_UNARY, Floor};

const ROUNDS: usize = 5;
/// Records in the store before the first round.
const RECORDS: usize = 40_000;
const LOOKUPS: usize = 100_000;
const CHANNELS: usize = 10;
const STREAMS: usize = 100;
const FILINGS: usize = 2_000;
const FILERS: usize = 256;
const SUBSCRIBERS: usize = 100;
/// Events of a warm replay: what the ring holds of the end of the log.
const REPLAYED: u64 = 10_000;
const BYTES: usize = 724;

const GET_VISIT: &str = "/attache.v1.RegistryService/GetVisit";
const WATCH_EVENTS: &str = "/attache.v1.FeedService/WatchEvents";

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve::build(&config(folder.path()), Parts::default()).await.unwrap();
    let ours = channels(&format!("http://{}", server.address()));
    tokio::spawn(server.run(std::future::pending()));
    let filed = AtomicUsize::new(0);
    eprintln!("filing {RECORDS} records");
    file(&ours, &filed, RECORDS, 100).await;

    let after = position(&ours[0], RECORDS as u64 / 100 - REPLAYED / 100).await;
    let warm = watch_request(Start::After(after));
    let cold = watch_request(Start::Oldest(()));
    let mut frames = Vec::new();
    raw::stream(&ours[0], WATCH_EVENTS, warm.clone(), |frame| frames.push(frame)).await;
    let floor = Floor { answer: raw::unary(&ours[0], GET_VISIT, get(0)).await, frames: Arc::new(frames) };
    let answered = floor.answer.len();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bare = channels(&format!("http://{}", listener.local_addr().unwrap()));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(Server::builder().add_service(floor).serve_with_incoming(incoming));

    let zipf = Arc::new(names(0.99));
    let uniform = Arc::new(names(0.0));
    let mut figures = table::figures(answered);
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        let mut row = figures.iter_mut();
        let mut take = |value: f64| row.next().unwrap().values.push(value);
        take(lookups(&bare, FLOOR_UNARY, &zipf).await);
        take(lookups(&ours, GET_VISIT, &zipf).await);
        take(lookups(&ours, GET_VISIT, &uniform).await);
        take(replay(&bare, FLOOR_STREAM, &warm, SUBSCRIBERS).await);
        take(replay(&ours, WATCH_EVENTS, &warm, SUBSCRIBERS).await);
        take(replay(&bare, FLOOR_STREAM, &warm, 1).await);
        take(replay(&ours, WATCH_EVENTS, &cold, 1).await);
        take(commits(folder.path(), round));
        take(file(&ours, &filed, FILINGS, 1).await);
    }
    table::show(&figures);
    if std::env::args().any(|a| a == "--write") {
        table::write(&figures);
    }
}

fn config(folder: &std::path::Path) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: DataDir::At(folder.to_owned()),
        in_memory: false,
        sample: false,
        accept_day_jump: false,
        log: String::new(),
        log_format: LogFormat::Text,
        drain: Duration::from_secs(1),
        max_store_bytes: None,
        feed: feed::Settings::default(),
    }
}

fn channels(address: &str) -> Vec<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned()).unwrap();
    let endpoint = endpoint.initial_stream_window_size(4 << 20).initial_connection_window_size(16 << 20);
    (0..CHANNELS).map(|_| endpoint.connect_lazy()).collect()
}

fn get(number: usize) -> Bytes {
    v1::GetVisitRequest { name: format!("visits/bench-{number}"), ..Default::default() }.encode_to_vec().into()
}

fn watch_request(start: Start) -> Bytes {
    let until = Some(Until::CaughtUp(()));
    v1::WatchEventsRequest { start: Some(start), until, ..Default::default() }.encode_to_vec().into()
}

/// The token of a revision: what a watch through the log says on its way.
async fn position(channel: &Channel, revision: u64) -> String {
    let mut token = String::new();
    let request = v1::WatchEventsRequest {
        start: Some(Start::Oldest(())),
        until: Some(Until::CaughtUp(())),
        max_batch_events: 1,
        ..Default::default()
    };
    raw::stream(channel, WATCH_EVENTS, request.encode_to_vec().into(), |frame| {
        let frame = v1::WatchEventsResponse::decode(frame).unwrap();
        let at = attache::domain::token::Token::decode(&frame.token, "token").unwrap();
        if at.revision <= revision && at.phase == attache::domain::token::Phase::Whole {
            token = frame.token;
        }
    })
    .await;
    token
}

/// The requests of a round, drawn by Zipf's law with an exponent; 0 is uniform. The ranks are scattered over the names.
fn names(exponent: f64) -> Vec<Bytes> {
    let (odds, mut draw) = (Odds::zipf(RECORDS, exponent), Draw::new(7));
    (0..LOOKUPS).map(|_| get(odds.next(&mut draw) * 7919 % RECORDS)).collect()
}

async fn lookups(channels: &[Channel], path: &'static str, requests: &Arc<Vec<Bytes>>) -> f64 {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..CHANNELS * STREAMS {
        let (channel, requests) = (channels[task % CHANNELS].clone(), Arc::clone(requests));
        tasks.spawn(async move {
            for request in requests.iter().skip(task).step_by(CHANNELS * STREAMS) {
                raw::unary(&channel, path, request.clone()).await;
            }
        });
    }
    tasks.join_all().await;
    LOOKUPS as f64 / began.elapsed().as_secs_f64()
}

/// Events per second over all subscribers.
async fn replay(channels: &[Channel], path: &'static str, request: &Bytes, subscribers: usize) -> f64 {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..subscribers {
        let (channel, request) = (channels[task % CHANNELS].clone(), request.clone());
        tasks.spawn(async move {
            let mut events = 0;
            raw::stream(&channel, path, request, |frame| events += raw::events(frame)).await;
            events
        });
    }
    let events: usize = tasks.join_all().await.into_iter().sum();
    events as f64 / began.elapsed().as_secs_f64()
}

/// Rows of the same size, one commit each, on the same disk.
fn commits(folder: &std::path::Path, round: usize) -> f64 {
    let connection = rusqlite::Connection::open(folder.join(format!("floor-{round}.db"))).unwrap();
    connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (b BLOB)").unwrap();
    let began = Instant::now();
    for _ in 0..FILINGS {
        connection.execute("INSERT INTO t VALUES (?1)", [vec![7_u8; BYTES]]).unwrap();
    }
    FILINGS as f64 / began.elapsed().as_secs_f64()
}

/// Files records that are new, so many reports at a time; reports per second.
async fn file(channels: &[Channel], filed: &AtomicUsize, count: usize, at_once: usize) -> f64 {
    let began = Instant::now();
    let first = filed.fetch_add(count, Ordering::Relaxed);
    let next = Arc::new(AtomicUsize::new(first));
    let filers = if at_once == 1 { FILERS } else { 4 };
    let mut tasks = JoinSet::new();
    for task in 0..filers {
        let (mut client, next) = (FilingServiceClient::new(channels[task % CHANNELS].clone()), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let from = next.fetch_add(at_once, Ordering::Relaxed);
                if from >= first + count {
                    break;
                }
                let reports = (from..from + at_once).map(report).collect();
                client.file_reports(v1::FileReportsRequest { reports, ..Default::default() }).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    count as f64 / began.elapsed().as_secs_f64()
}

fn report(number: usize) -> v1::Report {
    let side = |state: &str| v1::Side { state: state.into(), ..Default::default() };
    // Spread over sixty years, as the real lists are.
    let day = number * 7919 % (60 * 12 * 28);
    let edtf = format!("{}-{:02}-{:02}", 1965 + day / (12 * 28), day / 28 % 12 + 1, day % 28 + 1);
    let visit = v1::Visit {
        hosts: vec![side("AZ")],
        guests: vec![side(["KZ", "TR", "GE", "UZ"][number % 4])],
        start: Some(v1::EdtfDate { edtf, ..Default::default() }),
        summary: Some("A visit made up for a measurement. ".repeat(8)),
        ..Default::default()
    };
    let source = v1::Source {
        name: format!("sources/bench-{}", number % 50),
        publisher: Some(v1::Attribution { name_as_stated: Some("Bench".into()), organization: None }),
        kind: v1::SourceKind::Dataset.into(),
        ..Default::default()
    };
    v1::Report {
        record: format!("visits/bench-{number}"),
        source: Some(source),
        content: Some(v1::report::Content::Visit(visit)),
        ..Default::default()
    }
}
