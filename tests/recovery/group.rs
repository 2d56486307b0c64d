//! Filings that share a transaction.

use std::collections::BTreeSet;

use attache::{
    pb::v1::{FileReportsRequest, FileReportsResponse, GetLogInfoRequest, ReportPrecondition},
    serve::Parts,
};
use tonic::{Code, Response, Status};

use crate::{
    common::{TestServer, config_at},
    process::{self, Held},
    requests::{self, agreement, assert_refused, long_agreement, verified},
};

const FILERS: usize = 96;

/// Every second filing is good; the others are wrong, each in its way.
fn request(number: usize) -> FileReportsRequest {
    let id = format!("n{number}");
    match number % 8 {
        1 => {
            let report = format!("agreements/{id}/reports/gazette");
            let expected = ReportPrecondition { report, expected_etag: "another".into() };
            FileReportsRequest { preconditions: vec![expected], ..agreement(&id, number) }
        }
        3 => FileReportsRequest { request_id: Some("first".into()), ..agreement(&id, number) },
        5 => agreement("first", 0),
        7 if number < 32 => long_agreement(&id, 130, 4000),
        _ => agreement(&id, number),
    }
}

type Answer = Result<Response<FileReportsResponse>, Status>;

/// What became of a filing: the revision of a good one.
fn check(number: usize, answer: Answer) -> Option<u64> {
    match number % 8 {
        1 => assert_refused(&answer, Code::Aborted, "ETAG_MISMATCH"),
        3 => assert_refused(&answer, Code::InvalidArgument, "REQUEST_ID_REUSED"),
        5 => assert_eq!(answer.expect("a retry is answered").into_inner().revision, 1),
        7 if number < 32 => assert_refused(&answer, Code::ResourceExhausted, "TOO_LARGE"),
        _ => return Some(answer.expect("it is good").into_inner().revision),
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_filing_never_rolls_back_its_group_and_a_group_is_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::with(config_at(folder.path()), Parts::default()).await;
    server.filing().file_reports(agreement("first", 0)).await.expect("it is taken");
    let held = Held::hold(folder.path());
    let mut filing = Vec::new();
    for number in 0..FILERS {
        let mut client = server.filing();
        filing.push(process::sent(async move { client.file_reports(request(number)).await }).await);
    }
    // Behind them on the same connection: most of them have arrived.
    server.log().get_log_info(GetLogInfoRequest {}).await.expect("lookups do not wait for the writer");
    held.release();
    let mut revisions = BTreeSet::new();
    for (number, answer) in filing.into_iter().enumerate() {
        revisions.extend(check(number, answer.await.unwrap()));
    }
    let expected = (0..FILERS).filter(|n| n % 2 == 0 || (n % 8 == 7 && *n >= 32)).count() as u64;
    assert_eq!(revisions, (2..expected + 2).collect(), "each has a revision of its own, and none is left out");
    let verified = verified(folder.path());
    assert_eq!(verified.entries, expected + 1);
    let batches = verified.head.position - 1;
    assert!(batches * 4 <= expected, "{batches} batches for {expected} filings");
    server.stop().await;
}

/// The store refuses one of the filings only when its entry is applied; the others of its group are decided again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filing_that_cannot_be_applied_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::with(config_at(folder.path()), Parts::default()).await;
    for poison in ["n9", "n20"] {
        process::poison(folder.path(), &format!("agreements/{poison}"));
    }
    let held = Held::hold(folder.path());
    let mut filing = Vec::new();
    for number in 0..32 {
        let mut client = server.filing();
        let request = agreement(&format!("n{number}"), number);
        filing.push(process::sent(async move { client.file_reports(request).await }).await);
    }
    server.log().get_log_info(GetLogInfoRequest {}).await.expect("lookups do not wait for the writer");
    held.release();
    let mut revisions = BTreeSet::new();
    for (number, answer) in filing.into_iter().enumerate() {
        match answer.await.unwrap() {
            Ok(answer) => assert!(revisions.insert(answer.into_inner().revision)),
            Err(status) => {
                assert!([9, 20].contains(&number), "{number}: {status}");
                assert_eq!(status.code(), Code::Internal);
            }
        }
    }
    assert_eq!(revisions, (1..=30).collect(), "nobody else notices, and no revision is left out");
    assert_eq!(verified(folder.path()).entries, 30);
    server.stop().await;
}

/// A refused filing leaves nothing behind: neither what it would have written, nor its request id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_id_of_a_refused_filing_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::with(config_at(folder.path()), Parts::default()).await;
    let refused = request(1);
    assert_refused(&server.filing().file_reports(refused.clone()).await, Code::Aborted, "ETAG_MISMATCH");
    let corrected = FileReportsRequest { preconditions: Vec::new(), ..refused };
    let answer = server.filing().file_reports(corrected.clone()).await.expect("it is good now").into_inner();
    assert_eq!(answer.revision, 1);
    assert_eq!(requests::records(&corrected), [answer.results[0].record.clone()]);
    server.stop().await;
}
