//! A store whose allowance is used up.

use std::{fs, path::Path};

use attache::pb::v1::{
    BatchGetRecordsRequest, FileReportsRequest, GetAgreementRequest, GetLogInfoRequest, ListRevisionsRequest,
    RetractReportsRequest, RetractionReason, WatchEventsRequest,
    retract_reports_request::Selection,
    watch_events_request::{Start, Until},
    watch_events_response::Frame,
};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::{
    process::{Process, serve_at},
    requests::{self, agreement, assert_refused, long_agreement, verified},
};

/// The tables take about half of it.
const SMALL_BYTES: u64 = 900_000;
const LARGE_BYTES: u64 = 64_000_000;

fn start(folder: &Path, store_bytes: u64) -> Process {
    let file = folder.join("attache.toml");
    fs::write(&file, format!("[limits]\nstore_bytes = {store_bytes}\n")).unwrap();
    Process::start(serve_at(&folder.join("data")).arg("--config").arg(file))
}

async fn file(server: &Process, request: &FileReportsRequest) -> Result<u64, Status> {
    server.filing().file_reports(request.clone()).await.map(|answer| answer.into_inner().revision)
}

async fn head(server: &Process) -> u64 {
    server.log().get_log_info(GetLogInfoRequest {}).await.expect("it answers").into_inner().revision
}

async fn missing(server: &Process, filed: &[FileReportsRequest]) -> Vec<String> {
    let names = filed.iter().flat_map(requests::records).collect();
    let request = BatchGetRecordsRequest { names, ..Default::default() };
    server.registry().batch_get_records(request).await.expect("lookups go on").into_inner().missing
}

/// Revisions that a watch tells, whole ones.
async fn watched(server: &Process) -> Vec<u64> {
    let request =
        WatchEventsRequest { start: Some(Start::Oldest(())), until: Some(Until::CaughtUp(())), ..Default::default() };
    let mut stream = server.feed().watch_events(request).await.expect("watches go on").into_inner();
    let mut revisions = Vec::new();
    while let Some(frame) = stream.message().await.expect("watches go on") {
        if let Some(Frame::Batch(batch)) = frame.frame {
            revisions.extend(batch.events.iter().map(|e| e.revision));
        }
    }
    revisions.dedup();
    revisions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_filings_and_goes_on_reading_and_a_larger_one_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), SMALL_BYTES);
    file(&server, &agreement("withdrawn", 0)).await.expect("there is room");
    let withdraw = RetractReportsRequest {
        selection: Some(Selection::Report("agreements/withdrawn/reports/gazette".into())),
        reason: RetractionReason::SourceWithdrawn.into(),
        ..Default::default()
    };
    server.filing().retract_reports(withdraw).await.expect("there is room");
    let mut live = server.feed().watch_events(WatchEventsRequest::default()).await.unwrap().into_inner();
    let mut filed = Vec::new();
    let refused = loop {
        let request = agreement(&format!("a{}", filed.len()), filed.len());
        match file(&server, &request).await {
            Ok(revision) => assert_eq!(revision, filed.len() as u64 + 3),
            Err(status) => {
                assert_refused(&Err::<(), _>(status), Code::Unavailable, "STORAGE_FULL");
                break request;
            }
        }
        filed.push(request);
        assert!(filed.len() < 2000, "the allowance holds");
    };
    let end = filed.len() as u64 + 2;
    let large = long_agreement("large", 40, 4000);
    for request in [&refused, &large] {
        assert_refused(&file(&server, request).await, Code::Unavailable, "STORAGE_FULL");
    }
    assert_eq!(head(&server).await, end, "nothing changed");
    assert_eq!(missing(&server, std::slice::from_ref(&refused)).await, requests::records(&refused));
    assert_eq!(missing(&server, &filed).await, Vec::<String>::new());
    assert_eq!(watched(&server).await, (1..=end).collect::<Vec<_>>());
    let mut told = 0;
    while told < end {
        let frame = live.message().await.expect("watches go on").expect("watches go on");
        if let Some(Frame::Batch(batch)) = frame.frame {
            told = batch.events.last().map_or(told, |e| e.revision);
        }
    }
    assert_eq!(file(&server, &filed[0]).await.expect("a retry needs no room"), 3);
    let name = "agreements/withdrawn".to_owned();
    let get = GetAgreementRequest { name: name.clone(), ..Default::default() };
    assert_refused(&server.registry().get_agreement(get).await, Code::NotFound, "RECORD_RETRACTED");
    let revisions = ListRevisionsRequest { name, ..Default::default() };
    let revisions = server.registry().list_revisions(revisions).await.expect("the past is there").into_inner();
    assert_eq!(revisions.revisions.len(), 2);

    server.kill();
    assert_eq!(verified(&folder.path().join("data")).entries, end);
    let server = start(folder.path(), LARGE_BYTES);
    assert_eq!(missing(&server, &filed).await, Vec::<String>::new());
    for (request, revision) in [(&refused, end + 1), (&large, end + 2), (&refused, end + 1)] {
        assert_eq!(file(&server, request).await.expect("there is room"), revision);
    }
    assert_eq!(verified(&folder.path().join("data")).entries, end + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filings_that_meet_a_full_store_together_stand_or_are_refused_each_as_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), SMALL_BYTES);
    let channel = server.channel();
    let mut filing = JoinSet::new();
    for number in 0..32 {
        let mut client = crate::process::filing(channel.clone());
        filing.spawn(async move {
            let (mut filed, mut refused) = (Vec::new(), Vec::new());
            for count in 0..12 {
                let request = match (number + count) % 8 {
                    0 => long_agreement(&format!("g{number}-{count}"), 4, 4000),
                    _ => agreement(&format!("g{number}-{count}"), number * 12 + count),
                };
                match client.file_reports(request.clone()).await {
                    Ok(_) => filed.push(request),
                    answer => {
                        assert_refused(&answer, Code::Unavailable, "STORAGE_FULL");
                        refused.push(request);
                    }
                }
            }
            (filed, refused)
        });
    }
    let (filed, refused): (Vec<_>, Vec<_>) = filing.join_all().await.into_iter().unzip();
    let (filed, refused) = (filed.concat(), refused.concat());
    assert!(!filed.is_empty() && !refused.is_empty(), "{} and {}", filed.len(), refused.len());
    let names: Vec<String> = refused.iter().flat_map(requests::records).collect();
    assert_eq!(missing(&server, &filed).await, Vec::<String>::new());
    assert_eq!(missing(&server, &refused).await, names);
    assert_eq!(head(&server).await, filed.len() as u64);
    drop(server);
    let server = start(folder.path(), LARGE_BYTES);
    for request in &refused {
        file(&server, request).await.expect("there is room");
    }
    assert_eq!(missing(&server, &[filed.clone(), refused.clone()].concat()).await, Vec::<String>::new());
    assert_eq!(verified(&folder.path().join("data")).entries, (filed.len() + refused.len()) as u64);
}

#[test]
fn an_allowance_that_holds_not_even_the_tables_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("attache.toml");
    fs::write(&file, "[limits]\nstore_bytes = 100\n").unwrap();
    let data = folder.path().join("data");
    let (code, said) = crate::process::refused(serve_at(&data).arg("--config").arg(file));
    assert_eq!(code, Some(64), "another start makes nothing right");
    assert!(said.contains("may have 100 bytes ([limits] store_bytes)"), "{said}");
    assert!(said.contains("before anything is filed"), "{said}");
}
