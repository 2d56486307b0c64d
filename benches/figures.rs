//! First figures, side by side in one run: `cargo bench --bench figures`.
//!
//! A lookup against a bare tonic service that returns as many bytes, durable filings against SQLite's own commits of rows
//! of that size on the same disk, and a replay. Five rounds, interleaved; medians and ranges go to standard output, and
//! by hand, with machine and commit, to `benches/RESULTS.md`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for a person's eyes"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use attache::{
    config::{Config, DataDir, LogFormat},
    feed,
    pb::v1::{
        self, feed_service_client::FeedServiceClient, filing_service_client::FilingServiceClient,
        log_service_client::LogServiceClient, log_service_server, registry_service_client::RegistryServiceClient,
    },
    serve::{self, Parts},
};
use tokio::task::JoinSet;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

const ROUNDS: usize = 5;
const LOOKUPS: usize = 20_000;
const FILINGS: usize = 2_000;
const FILERS: usize = 64;
const CHANNELS: usize = 4;
const STREAMS: usize = 32;
const BYTES: usize = 724;

/// The floor: a service that does nothing but return bytes.
struct Bare(String);

#[tonic::async_trait]
impl log_service_server::LogService for Bare {
    async fn get_log_info(
        &self,
        _: Request<v1::GetLogInfoRequest>,
    ) -> Result<Response<v1::GetLogInfoResponse>, Status> {
        Ok(Response::new(v1::GetLogInfoResponse { version: self.0.clone(), ..Default::default() }))
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve::build(&config(folder.path()), Parts::default()).await.unwrap();
    let address = format!("http://{}", server.address());
    tokio::spawn(server.run(std::future::pending()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bare = format!("http://{}", listener.local_addr().unwrap());
    let floor = log_service_server::LogServiceServer::new(Bare("x".repeat(BYTES)));
    tokio::spawn(
        Server::builder().add_service(floor).serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
    );

    let (ours, floor) = (channels(&address), channels(&bare));
    let mut filed = 0;
    file(&ours, &mut filed).await;
    let mut rows: [Vec<f64>; 5] = Default::default();
    for round in 0..ROUNDS {
        rows[0].push(lookups(&floor, Target::Bare).await);
        rows[1].push(lookups(&ours, Target::Visit).await);
        rows[2].push(commits(folder.path(), round));
        rows[3].push(file(&ours, &mut filed).await);
        rows[4].push(replay(&ours[0]).await);
    }
    let names = [
        format!("bare tonic, {BYTES} bytes, calls/s"),
        "GetVisit, calls/s".to_owned(),
        format!("SQLite, {BYTES}-byte rows, one commit each, synchronous=FULL, rows/s"),
        format!("FileReports, {FILERS} filers, durable, filings/s"),
        "WatchEvents, replay to one subscriber, events/s".to_owned(),
    ];
    for (name, row) in names.iter().zip(&mut rows) {
        row.sort_by(f64::total_cmp);
        println!("{name}: {:.0} ({:.0}–{:.0})", row[ROUNDS / 2], row[0], row[ROUNDS - 1]);
    }
    println!("GetVisit / bare tonic: {:.2}", rows[1][ROUNDS / 2] / rows[0][ROUNDS / 2]);
    println!("filings / SQLite commits: {:.2}", rows[3][ROUNDS / 2] / rows[2][ROUNDS / 2]);
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
    (0..CHANNELS).map(|_| endpoint.clone().initial_stream_window_size(4 << 20).connect_lazy()).collect()
}

#[derive(Clone, Copy)]
enum Target {
    Bare,
    Visit,
}

async fn lookups(channels: &[Channel], target: Target) -> f64 {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..CHANNELS * STREAMS {
        let channel = channels[task % CHANNELS].clone();
        tasks.spawn(async move {
            for call in 0..LOOKUPS / (CHANNELS * STREAMS) {
                match target {
                    Target::Bare => {
                        LogServiceClient::new(channel.clone()).get_log_info(v1::GetLogInfoRequest {}).await.unwrap();
                    }
                    Target::Visit => {
                        let name = format!("visits/bench-{}", (task * 31 + call) % FILINGS);
                        let request = v1::GetVisitRequest { name, ..Default::default() };
                        RegistryServiceClient::new(channel.clone()).get_visit(request).await.unwrap();
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    LOOKUPS as f64 / began.elapsed().as_secs_f64()
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

async fn file(channels: &[Channel], filed: &mut usize) -> f64 {
    let began = Instant::now();
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(*filed));
    *filed += FILINGS;
    let end = *filed;
    let mut tasks = JoinSet::new();
    for task in 0..FILERS {
        let (mut client, next) = (FilingServiceClient::new(channels[task % CHANNELS].clone()), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= end {
                    break;
                }
                let request = v1::FileReportsRequest { reports: vec![report(number)], ..Default::default() };
                client.file_reports(request).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    FILINGS as f64 / began.elapsed().as_secs_f64()
}

fn report(number: usize) -> v1::Report {
    let side = |state: &str| v1::Side { state: state.into(), ..Default::default() };
    let start = v1::EdtfDate {
        edtf: format!("20{:02}-{:02}-{:02}", number % 24, number % 12 + 1, number % 28 + 1),
        ..Default::default()
    };
    let visit = v1::Visit {
        hosts: vec![side("AZ")],
        guests: vec![side(["KZ", "TR", "GE", "UZ"][number % 4])],
        start: Some(start),
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

async fn replay(channel: &Channel) -> f64 {
    use v1::{
        watch_events_request::{Start, Until},
        watch_events_response::Frame,
    };
    let request = v1::WatchEventsRequest {
        start: Some(Start::Oldest(())),
        until: Some(Until::CaughtUp(())),
        ..Default::default()
    };
    let began = Instant::now();
    let mut client = FeedServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let mut frames = client.watch_events(request).await.unwrap().into_inner();
    let mut events = 0;
    while let Some(frame) = frames.message().await.unwrap() {
        if let Some(Frame::Batch(batch)) = frame.frame {
            events += batch.events.len();
        }
    }
    events as f64 / began.elapsed().as_secs_f64()
}
