//! SIGTERM.

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use attache::pb::v1::{
    BatchGetRecordsRequest, GetLogInfoRequest, WatchEventsRequest,
    log_service_client::LogServiceClient,
    watch_events_request::{Start, Until},
    watch_events_response::Frame,
};
use tokio::task::spawn_blocking;
use tonic::Code;

use crate::{
    process::{self, Held, Process, serve_at},
    requests::{self, agreement, assert_refused, long_agreement, reason, verified},
};

fn start(folder: &Path, drain_seconds: u64) -> Process {
    let file = folder.join("attache.toml");
    fs::write(&file, format!("drain_seconds = {drain_seconds}\n")).unwrap();
    Process::start(serve_at(&folder.join("data")).arg("--config").arg(file))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_sends_watchers_away_answers_what_was_begun_and_takes_nothing_new() {
    const BEGUN: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = start(folder.path(), 60);
    let began = Instant::now();
    let _silent = TcpStream::connect(server.address()).unwrap();
    let mut watch = server.feed().watch_events(WatchEventsRequest::default()).await.unwrap().into_inner();
    let channel = server.channel();
    process::filing(channel.clone()).file_reports(agreement("before", 0)).await.expect("it is taken");

    let held = Held::hold(&data);
    let mut waiting = Vec::new();
    for number in 0..BEGUN {
        let mut client = process::filing(channel.clone());
        let request = agreement(&format!("begun{number}"), number);
        waiting.push(process::sent(async move { client.file_reports(request.clone()).await.map(|_| request) }).await);
    }
    // Behind them on the same connection, and often enough that some of them wait for the writer by then.
    let mut log = LogServiceClient::new(channel.clone());
    for _ in 0..20 {
        log.get_log_info(GetLogInfoRequest {}).await.expect("lookups do not wait for the writer");
    }
    server.terminate();
    let token = loop {
        let frame = watch.message().await.expect("no error").expect("it says that it goes");
        if let Some(Frame::GoingAway(going)) = frame.frame {
            assert!(going.retry_delay.is_some());
            break frame.token;
        }
    };
    assert_eq!(watch.message().await.expect("it ends in good order"), None);
    for mut client in [server.filing(), process::filing(channel)] {
        let late = client.file_reports(agreement("late", 0)).await.expect_err("nothing new is taken");
        // Refused by the server, or by a transport that is closed or not there; that nothing happened is seen below.
        match reason(&late).as_deref() {
            Some(word) => assert_eq!((late.code(), word), (Code::Unavailable, "DRAINING"), "{late:?}"),
            None => assert!(matches!(late.code(), Code::Unavailable | Code::Cancelled | Code::Unknown), "{late:?}"),
        }
    }
    held.release();
    let (mut begun, mut refused) = (Vec::new(), vec!["agreements/late".to_owned()]);
    for (number, answer) in waiting.into_iter().enumerate() {
        match answer.await.unwrap() {
            Ok(request) => begun.push(request),
            answer => {
                assert_refused(&answer, Code::Unavailable, "DRAINING");
                refused.insert(refused.len() - 1, format!("agreements/begun{number}"));
            }
        }
    }
    assert!(!begun.is_empty(), "what waited for the writer is answered");
    assert!(spawn_blocking(|| server.wait()).await.unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(40), "it did not wait for its deadline: {:?}", began.elapsed());

    let server = start(folder.path(), 60);
    let names = begun.iter().flat_map(requests::records).chain(refused.clone()).collect();
    let asked = BatchGetRecordsRequest { names, ..Default::default() };
    let found = server.registry().batch_get_records(asked).await.unwrap().into_inner();
    assert_eq!(found.missing, refused);
    let rest =
        WatchEventsRequest { start: Some(Start::After(token)), until: Some(Until::CaughtUp(())), ..Default::default() };
    let mut rest = server.feed().watch_events(rest).await.expect("the last token is good").into_inner();
    let mut revisions = Vec::new();
    while let Some(frame) = rest.message().await.unwrap() {
        if let Some(Frame::Batch(batch)) = frame.frame {
            revisions.extend(batch.events.iter().map(|e| e.revision));
        }
    }
    revisions.dedup();
    assert_eq!(revisions, (2..2 + begun.len() as u64).collect::<Vec<_>>(), "what was answered in the drain");
    assert_eq!(verified(&data).entries, 1 + begun.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_at_its_deadline_whatever_clients_hold() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), 1);
    let _silent = TcpStream::connect(server.address()).unwrap();
    let mut stammers = TcpStream::connect(server.address()).unwrap();
    stammers.write_all(b"PRI * HT").unwrap();
    for number in 0..4 {
        let request = long_agreement(&format!("long{number}"), 40, 4000);
        server.filing().file_reports(request).await.expect("it is taken");
    }
    let narrow = server.endpoint().initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let stalled = WatchEventsRequest { start: Some(Start::Oldest(())), ..Default::default() };
    let mut stalled = process::feed(narrow.connect_lazy()).watch_events(stalled).await.unwrap().into_inner();
    assert!(stalled.message().await.unwrap().is_some(), "it has begun");
    let began = Instant::now();
    server.terminate();
    assert!(spawn_blocking(|| server.wait()).await.unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(verified(&folder.path().join("data")).entries, 4);
}
