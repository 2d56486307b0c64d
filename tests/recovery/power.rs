//! Loss of power and broken disks: the server runs on a disk that can be watched and made to fail (`power.c`).

use std::{fs, process::Stdio, time::Duration};

use attache::pb::v1::{BatchGetRecordsRequest, FileReportsRequest, GetLogInfoRequest, WatchEventsRequest};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::{
    disk::Disk,
    process::{Process, serve, serve_at},
    requests::{self, agreement, assert_refused, long_agreement, verified},
};

/// Long enough that a server which did not wait would have answered.
const PATIENCE: Duration = Duration::from_millis(400);

fn start(disk: &Disk) -> Process {
    Process::start(disk.under(&mut serve_at(&disk.folder().join("data"))))
}

/// Files one after the other, then many at once; every one is acknowledged.
async fn file_all(server: &Process, filings: impl Iterator<Item = FileReportsRequest>) -> Vec<FileReportsRequest> {
    let mut client = server.filing();
    let mut filed = Vec::new();
    for request in filings {
        client.file_reports(request.clone()).await.expect("it is taken");
        filed.push(request);
    }
    let mut together = JoinSet::new();
    for number in 0..32 {
        let (mut client, request) = (client.clone(), agreement(&format!("together-{number}"), number));
        together.spawn(async move { client.file_reports(request.clone()).await.map(|_| request) });
    }
    filed.extend(together.join_all().await.into_iter().map(|answer| answer.expect("it is taken")));
    filed
}

/// Which of the records of these filings a server does not have.
async fn missing(server: &Process, filed: &[FileReportsRequest]) -> Vec<String> {
    let names = filed.iter().flat_map(requests::records).collect();
    let request = BatchGetRecordsRequest { names, read_mask: None, ..Default::default() };
    server.registry().batch_get_records(request).await.expect("lookups work").into_inner().missing
}

async fn revision(server: &Process) -> u64 {
    server.log().get_log_info(GetLogInfoRequest {}).await.expect("it answers").into_inner().revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarantee_9_durable_an_acknowledged_filing_survives_loss_of_power() {
    let disk = Disk::new();
    let mut server = start(&disk);
    let filed = file_all(&server, (0..24).map(|n| agreement(&format!("a{n}"), n))).await;
    server.kill();
    let left = disk.after_power_loss(&disk.folder().join("data"));
    let server = Process::at(left.path());
    assert_eq!(missing(&server, &filed).await, Vec::<String>::new());
    assert_eq!(verified(left.path()).entries, filed.len() as u64);
}

/// Past the size at which the write-ahead log is copied into the file and begins anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_of_power_around_a_checkpoint_loses_nothing() {
    let disk = Disk::new();
    let mut server = start(&disk);
    let data = disk.folder().join("data");
    let filed = file_all(&server, (0..24).map(|n| long_agreement(&format!("long{n}"), 40, 4000))).await;
    server.kill();
    let size = |name: &str| fs::metadata(data.join(name)).unwrap().len();
    assert!(size("attache.db") > 8 << 20, "a checkpoint happened: {}", size("attache.db"));
    let left = disk.after_power_loss(&data);
    let server = Process::at(left.path());
    assert_eq!(missing(&server, &filed[24..]).await, Vec::<String>::new());
    for long in &filed[..24] {
        assert_eq!(missing(&server, std::slice::from_ref(long)).await, Vec::<String>::new());
    }
    assert_eq!(verified(left.path()).entries, filed.len() as u64);
}

/// The method can fail: without syncs, acknowledged filings are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_syncs_loss_of_power_loses_acknowledged_filings() {
    let disk = Disk::new();
    let mut server = Process::start(disk.under(serve().arg("--in-memory").env("TMPDIR", disk.folder())));
    let filed = file_all(&server, (0..24).map(|n| agreement(&format!("a{n}"), n))).await;
    assert_eq!(missing(&server, &filed).await, Vec::<String>::new());
    let store = fs::read_dir(disk.folder()).unwrap().next().expect("the store lies on this disk").unwrap().path();
    assert!(store.join(attache::store::FILE).exists());
    server.kill();
    let left = disk.after_power_loss(&store);
    let server = Process::at(left.path());
    assert_eq!(missing(&server, &filed).await.len(), filed.len());
}

/// While the disk holds the sync of a filing, nobody is answered, nobody sees it, and it is not there after loss of power.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledgement_leaves_and_no_reader_sees_a_filing_before_its_sync() {
    let disk = Disk::new();
    let mut server = start(&disk);
    let kept = agreement("kept", 1);
    server.filing().file_reports(kept.clone()).await.expect("it is taken");
    let mut watch = server.feed().watch_events(WatchEventsRequest::default()).await.unwrap().into_inner();
    disk.misbehave("hold");
    let held = agreement("held", 2);
    let mut client = server.filing();
    let answer = client.file_reports(held.clone());
    tokio::pin!(answer);
    assert!(tokio::time::timeout(PATIENCE, answer.as_mut()).await.is_err(), "nobody is answered");
    assert_eq!(missing(&server, std::slice::from_ref(&held)).await, requests::records(&held));
    assert_eq!(revision(&server).await, 1);
    for _ in 0..2 {
        // `started` and `caught_up` at the head before it.
        let frame = watch.message().await.unwrap().expect("it goes on");
        assert!(!matches!(frame.frame, Some(attache::pb::v1::watch_events_response::Frame::Batch(_))), "{frame:?}");
    }
    assert!(tokio::time::timeout(PATIENCE, watch.message()).await.is_err(), "nothing more is told");
    server.kill();
    let left = disk.after_power_loss(&disk.folder().join("data"));
    disk.recover();
    let server = Process::at(left.path());
    assert_eq!(missing(&server, &[kept, held.clone()]).await, requests::records(&held));
    let again = server.filing().file_reports(held).await.expect("the same request is taken now").into_inner();
    assert_eq!(again.revision, 2);
    assert_eq!(verified(left.path()).entries, 2);
}

/// A disk without room at the moment of the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_at_commit_refuses_filings_and_nothing_else() {
    let disk = Disk::new();
    let mut server = start(&disk);
    let before = agreement("before", 1);
    server.filing().file_reports(before.clone()).await.expect("it is taken");
    disk.misbehave("full");
    let (small, large) = (agreement("small", 2), long_agreement("large", 40, 4000));
    for request in [&small, &large, &small] {
        assert_refused(&server.filing().file_reports(request.clone()).await, Code::Unavailable, "STORAGE_FULL");
    }
    let again = server.filing().file_reports(before.clone()).await.expect("a retry needs no room").into_inner();
    assert_eq!((again.revision, revision(&server).await), (1, 1));
    assert_eq!(missing(&server, &[before.clone(), small.clone()]).await, requests::records(&small));
    disk.recover();
    for (request, revision) in [(&small, 2), (&large, 3), (&small, 2)] {
        let answer = server.filing().file_reports(request.clone()).await.expect("there is room").into_inner();
        assert_eq!(answer.revision, revision);
    }
    server.kill();
    let left = disk.after_power_loss(&disk.folder().join("data"));
    assert_eq!(verified(left.path()).entries, 3);
}

/// A sync that fails leaves the outcome open: it is said so, the store is opened again, and a retry settles it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_is_an_unknown_outcome_that_a_retry_settles() {
    let disk = Disk::new();
    let mut server = start(&disk);
    let before = agreement("before", 1);
    server.filing().file_reports(before.clone()).await.expect("it is taken");
    disk.misbehave("error");
    let unknown = agreement("unknown", 2);
    for _ in 0..3 {
        let answer: Result<_, Status> = server.filing().file_reports(unknown.clone()).await;
        assert_refused(&answer, Code::Unknown, "OUTCOME_UNKNOWN");
        assert_eq!(revision(&server).await, 1, "what may be lost is not shown");
    }
    disk.recover();
    let other = agreement("other", 3);
    let mut revisions = Vec::new();
    for request in [&other, &unknown, &unknown] {
        revisions.push(server.filing().file_reports(request.clone()).await.expect("it is taken").into_inner().revision);
    }
    assert_eq!(revisions, [2, 3, 3]);
    server.kill();
    let left = disk.after_power_loss(&disk.folder().join("data"));
    let server = Process::at(left.path());
    assert_eq!(missing(&server, &[before, other, unknown]).await, Vec::<String>::new());
    assert_eq!(verified(left.path()).entries, 3);
}

/// Killed while the outcome of a filing was open: it stands or it does not, and a retry makes it stand once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filing_of_unknown_outcome_stands_once_after_a_kill_and_a_retry() {
    let disk = Disk::new();
    let mut server = start(&disk);
    disk.misbehave("error");
    let unknown = agreement("unknown", 1);
    assert_refused(&server.filing().file_reports(unknown.clone()).await, Code::Unknown, "OUTCOME_UNKNOWN");
    server.kill();
    disk.recover();
    let server = Process::start(disk.under(&mut serve_at(&disk.folder().join("data"))).stderr(Stdio::inherit()));
    let answer = server.filing().file_reports(unknown.clone()).await.expect("it is taken").into_inner();
    assert_eq!((answer.revision, revision(&server).await), (1, 1));
    assert_eq!(verified(&disk.folder().join("data")).entries, 1);
}
