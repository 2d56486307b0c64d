//! Deadlines of filings. The client here leaves them to the server: tonic's would give up by itself.

use std::time::Duration;

use attache::{
    pb::v1::{
        BatchGetRecordsRequest, FileReportsRequest, FileReportsResponse, filing_service_client::FilingServiceClient,
    },
    serve::Parts,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::{Code, Request, Response, Status};

use crate::{
    common::{TestServer, config_at},
    process::Held,
    requests::{agreement, assert_refused, reason, verified},
};

type Answer = Result<Response<FileReportsResponse>, Status>;

/// Files with a deadline that only the server keeps.
async fn file_within(server: &TestServer, timeout: &'static str, request: FileReportsRequest) -> Answer {
    let authority = server.address.strip_prefix("http://").unwrap();
    let stream = TokioIo::new(tokio::net::TcpStream::connect(authority).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let service = tower::service_fn(move |request| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let mut request = Request::new(request);
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    let answer = FilingServiceClient::with_origin(service, server.address.parse().unwrap()).file_reports(request).await;
    connection.abort();
    answer
}

async fn missing(server: &TestServer, ids: &[&str]) -> Vec<String> {
    let names = ids.iter().map(|id| format!("agreements/{id}")).collect();
    let request = BatchGetRecordsRequest { names, ..Default::default() };
    server.registry().batch_get_records(request).await.unwrap().into_inner().missing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filing_whose_deadline_passed_before_it_came_never_happens() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::with(config_at(folder.path()), Parts::default()).await;
    for number in 0..40 {
        let answer = file_within(&server, "0n", agreement(&format!("late{number}"), number)).await;
        assert_refused(&answer, Code::DeadlineExceeded, "DEADLINE");
    }
    server.filing().file_reports(agreement("next", 0)).await.expect("it is taken");
    assert_eq!(verified(folder.path()).entries, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filing_whose_deadline_passes_while_it_waits_never_happens_and_an_admitted_one_may() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::with(config_at(folder.path()), Parts::default()).await;
    let held = Held::hold(folder.path());
    // The writer takes this one, and waits for the store.
    let admitted = agreement("admitted", 1);
    let answer = file_within(&server, "300m", admitted.clone()).await;
    assert_refused(&answer, Code::Unknown, "OUTCOME_UNKNOWN");
    // These wait for the writer.
    for id in ["waits", "waits-too"] {
        let answer = file_within(&server, "50m", agreement(id, 2)).await;
        assert_refused(&answer, Code::DeadlineExceeded, "DEADLINE");
    }
    held.release();
    let again = server.filing().file_reports(admitted).await.expect("a retry settles it").into_inner();
    assert_eq!(again.revision, 1);
    assert_eq!(
        missing(&server, &["admitted", "waits", "waits-too"]).await,
        ["agreements/waits", "agreements/waits-too"]
    );
    server.filing().file_reports(agreement("next", 3)).await.expect("the writer goes on");
    assert_eq!(verified(folder.path()).entries, 2);
    server.stop().await;
}

/// A client that hangs up leaves nothing in doubt for others: the filing stands whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filing_whose_client_hangs_up_while_it_waits_never_happens() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::with(config_at(folder.path()), Parts::default()).await;
    let held = Held::hold(folder.path());
    let answer = file_within(&server, "300m", agreement("admitted", 1)).await;
    assert_refused(&answer, Code::Unknown, "OUTCOME_UNKNOWN");
    let mut client = server.filing();
    let gone = tokio::time::timeout(Duration::from_millis(50), client.file_reports(agreement("gone", 2))).await;
    assert!(gone.is_err());
    // Behind the reset on the same connection, and behind it in the queue.
    let next = client.file_reports(agreement("next", 3));
    tokio::pin!(next);
    assert!(tokio::time::timeout(Duration::from_millis(50), next.as_mut()).await.is_err());
    held.release();
    let next = next.await.unwrap_or_else(|status| panic!("{:?} {status}", reason(&status))).into_inner();
    assert_eq!(next.revision, 2, "only the admitted one is before it");
    assert_eq!(missing(&server, &["gone"]).await, ["agreements/gone"]);
    server.stop().await;
}
