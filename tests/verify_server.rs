//! `attache verify --server` against servers in this process: every guarantee holds, or is said to be broken where
//! somebody meddles with what the server says; and nothing is left standing.

mod common;
#[path = "common/meddler.rs"]
mod meddler;

use std::{
    process::{Command, Stdio},
    sync::Arc,
};

use attache::{config::Config, feed, pb::v1, serve::Parts};
use common::{
    TestServer,
    shared_log::SharedLog,
    visit_report,
    watching::{from_oldest, until_caught_up},
};
use meddler::{Fault, Meddler};
use serde_json::Value;

const ATTACHE: &str = env!("CARGO_BIN_EXE_attache");

/// A run that is over soon.
const SMALL: &str = "--watchers 24 --seconds 4 -o json";

/// Guarantees that no fault of a watch's batches touches.
const APART: [&str; 4] = ["durable", "honest end", "own writes are read", "a retry is safe"];

/// What the command ended with.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

async fn verify(servers: &[&TestServer], line: &str) -> Ended {
    let addresses: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
    verify_at(&addresses, line).await
}

async fn verify_at(addresses: &[&str], line: &str) -> Ended {
    let mut command = Command::new(ATTACHE);
    command.arg("verify").args(["--server", addresses[0]]).args(line.split_whitespace());
    for address in &addresses[1..] {
        command.args(["--also", *address]);
    }
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
}

/// The organizations that stand, probes included if that is asked.
async fn standing(server: &TestServer, include_probes: bool) -> Vec<String> {
    let filters = vec![v1::Filter { include_probes, ..Default::default() }];
    let filters = if include_probes { filters } else { Vec::new() };
    let request = v1::ListOrganizationsRequest { filters, page_size: 1000, ..Default::default() };
    let listed = server.registry().list_organizations(request).await.unwrap().into_inner().organizations;
    listed.into_iter().map(|organization| organization.name).collect()
}

fn verdicts(ended: &Ended) -> Vec<Value> {
    serde_json::from_str(&ended.out).expect("an array of verdicts")
}

fn verdict_on<'v>(verdicts: &'v [Value], guarantee: &str) -> &'v Value {
    verdicts.iter().find(|verdict| verdict["guarantee"] == guarantee).expect("a verdict on it")
}

/// Every guarantee was tried and held, and what the run filed is gone.
async fn held(servers: &[&TestServer], ended: &Ended) {
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    let verdicts = verdicts(ended);
    assert_eq!(verdicts.len(), 12, "{}", ended.out);
    for verdict in &verdicts {
        assert_eq!(verdict["verdict"], "held", "{verdict}");
        assert!(verdict["evidence"].as_array().is_some_and(|lines| !lines.is_empty()), "{verdict}");
    }
    for server in servers {
        assert_eq!(standing(server, false).await, [""; 0]);
        assert_eq!(standing(server, true).await, [""; 0], "probes were left standing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_holds_every_guarantee_and_nothing_is_left_standing() {
    let server = TestServer::with(common::config(), Parts::default()).await;
    let ended = verify(&[&server], SMALL).await;
    held(&[&server], &ended).await;
    // Who did not ask for probes was told of none.
    let told = server.replay(until_caught_up(from_oldest())).await;
    assert!(told.is_empty(), "{told:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_snapshots_are_few_watchers_wait_for_their_turn() {
    let feed = feed::Settings { max_snapshots: 1, ..feed::Settings::default() };
    let server = TestServer::with(Config { feed, ..common::config() }, Parts::default()).await;
    let ended = verify(&[&server], SMALL).await;
    held(&[&server], &ended).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_one_log_hold_every_guarantee_together() {
    let log = SharedLog::default();
    let parts = || Parts { journal: Arc::new(log.clone()), ..Parts::default() };
    let first = TestServer::with(common::config(), parts()).await;
    let second = TestServer::with(common::config(), parts()).await;
    let ended = verify(&[&first, &second], SMALL).await;
    held(&[&first, &second], &ended).await;
    let verdicts = verdicts(&ended);
    let resumable = verdict_on(&verdicts, "resumable");
    assert!(resumable["evidence"].to_string().contains("on 2 servers"), "{resumable}");
    first.stop().await;
    second.stop().await;
}

/// A guarantee is broken by a fault on the way from the server, and it is said by what; these others hold all the same.
async fn breaks(fault: Fault, guarantee: &str, evidence: &str, others: &[&str]) {
    let server = TestServer::with(common::config(), Parts::default()).await;
    let meddler = Meddler::before(&server, fault);
    let ended = verify_at(&[&meddler.address], SMALL).await;
    assert_eq!(ended.code, 4, "{}\n{}", ended.out, ended.err);
    let verdicts = verdicts(&ended);
    let broken = verdict_on(&verdicts, guarantee);
    assert_eq!(broken["verdict"], "broken", "{broken}");
    assert!(broken["evidence"].to_string().contains(evidence), "{broken}");
    for other in others.iter().chain(&APART) {
        let verdict = verdict_on(&verdicts, other);
        assert_eq!(verdict["verdict"], "held", "{verdict}");
    }
    let count = verdicts.iter().filter(|verdict| verdict["verdict"] == "broken").count();
    assert!(ended.err.contains(&format!("broken guarantees: {count};")), "{}", ended.err);
    assert_eq!(standing(&server, true).await, [""; 0], "probes were left standing");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_left_out_on_the_way_breaks_complete() {
    breaks(Fault::LeftOut, "complete", "did not come", &["ordered", "unique"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_comes_twice_breaks_unique() {
    breaks(Fault::Repeated, "unique", "comes twice", &["complete", "resumable", "filter-consistent"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_comes_after_the_next_breaks_ordered() {
    breaks(Fault::Late, "ordered", "goes back behind the token before", &["unique"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_proxy_that_meddles_with_nothing_every_guarantee_holds() {
    let server = TestServer::with(common::config(), Parts::default()).await;
    let meddler = Meddler::before(&server, Fault::Nothing);
    let ended = verify_at(&[&meddler.address], SMALL).await;
    held(&[&server], &ended).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_different_logs_are_refused_before_anything_is_filed() {
    let first = TestServer::with(common::config(), Parts::default()).await;
    let second = TestServer::with(common::config(), Parts::default()).await;
    for server in [&first, &second] {
        server.file(vec![visit_report("a", "one", "KZ", "AZ", "2023-05-01")]).await;
    }
    let before = first.token().await;
    let ended = verify(&[&first, &second], SMALL).await;
    assert_eq!(ended.code, 64, "{}\n{}", ended.out, ended.err);
    assert!(ended.err.contains("not replicas"), "{}", ended.err);
    assert_eq!(first.token().await, before);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_named_twice_is_no_other_server() {
    let server = TestServer::with(common::config(), Parts::default()).await;
    let ended = verify(&[&server, &server], SMALL).await;
    assert_eq!(ended.code, 64, "{}\n{}", ended.out, ended.err);
    assert!(ended.err.contains("--also") && ended.err.contains("already"), "{}", ended.err);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_says_the_same_to_people() {
    let server = TestServer::with(common::config(), Parts::default()).await;
    let ended = verify(&[&server], "--watchers 8 --seconds 1").await;
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    for word in ["GUARANTEE", "filter-consistent", "honest end", "held", "not tested"] {
        assert!(ended.out.contains(word), "{word}: {}", ended.out);
    }
    server.stop().await;
}
