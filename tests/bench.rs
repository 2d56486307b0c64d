//! `attache bench` against a server in this process: what it counts, what it leaves behind, and how it ends.

mod common;

use std::process::{Command, Stdio};

use attache::{
    cli::bench::generate,
    pb::v1::{self, OrderBy},
    serve::Parts,
};
use common::TestServer;
use serde_json::Value;

const ATTACHE: &str = env!("CARGO_BIN_EXE_attache");

/// A load that is over soon.
const SMALL: &str = "--connections 2 --streams 3 --seconds 1 --warm-up 0";

/// What a command ended with.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    /// The object that a run which went well printed.
    fn result(&self) -> Value {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        let result: Value = serde_json::from_str(&self.out).expect("one JSON object");
        assert_eq!(result["failed"].as_u64().unwrap_or(0), 0, "{result}");
        result
    }
}

async fn server() -> TestServer {
    TestServer::with(common::config(), Parts::default()).await
}

/// A server with so many records of `attache bench fill`.
async fn filled(records: u64) -> TestServer {
    let server = server().await;
    let ended = bench(&server, &format!("fill --records {records} --yes-write -o json")).await;
    assert_eq!(ended.result()["recorded"], records);
    server
}

async fn bench(server: &TestServer, line: &str) -> Ended {
    let mut command = Command::new(ATTACHE);
    command.arg("bench").args(line.split_whitespace()).env("ATTACHE_SERVER", &server.address).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
}

async fn visits(server: &TestServer) -> Vec<v1::Visit> {
    let request =
        v1::ListVisitsRequest { page_size: 1000, order_by: OrderBy::Name.into(), ..v1::ListVisitsRequest::default() };
    server.registry().list_visits(request).await.unwrap().into_inner().visits
}

fn count(result: &Value) -> u64 {
    result["calls"].as_u64().expect("a number of calls")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_is_recorded_whole_and_again_changes_nothing() {
    let server = filled(300).await;
    let visits = visits(&server).await;
    assert_eq!(visits.len(), 228, "19 of 25");
    let mut bytes: Vec<usize> = visits.iter().map(prost::Message::encoded_len).collect();
    bytes.sort_unstable();
    assert!((500..900).contains(&bytes[bytes.len() / 2]), "{}", bytes[bytes.len() / 2]);
    let expected = (0..300).map(|n| generate::report(1, n).record).filter(|name| name.starts_with("visits/"));
    let mut expected: Vec<_> = expected.collect();
    expected.sort();
    assert_eq!(visits.iter().map(|visit| visit.name.clone()).collect::<Vec<_>>(), expected);

    let head = server.log().get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner().token;
    bench(&server, "fill --records 150 --from 100 --yes-write -o json").await.result();
    let after = server.log().get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner().token;
    assert_eq!(head, after);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_lists_and_searches_are_counted_and_none_fails() {
    let server = filled(100).await;
    for line in [
        "lookup",
        "lookup --draw uniform --names 10",
        "list --page-size 20 --pages 3 --any-state US",
        "search",
        "search --query cadets",
    ] {
        let result = bench(&server, &format!("{line} {SMALL} -o json")).await.result();
        assert!(count(&result) > 0, "{line}: {result}");
        assert_eq!(result["parameters"]["connections"], 2, "{line}");
        assert!(result["bytesPerSecond"].as_f64().unwrap() > 0.0, "{line}: {result}");
        let latency = |name: &str| result["latencyMs"][name].as_f64().unwrap();
        assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max"), "{line}: {result}");
        assert!(latency("max") > 0.0, "{line}: {result}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_says_the_same_to_people() {
    let server = filled(50).await;
    let ended = bench(&server, &format!("lookup {SMALL}")).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    for word in ["lookups", "a second", "latency p99.9", "errors"] {
        assert!(ended.out.contains(word), "{}", ended.out);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_fail_are_told_with_their_reason_and_end_with_1() {
    let server = server().await;
    let ended = bench(&server, &format!("lookup --name visits/nobody-made {SMALL} -o json")).await;
    assert_eq!(ended.code, 1);
    let result: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((count(&result), &result["errors"][0]["reason"]), (0, &Value::from("RECORD_NOT_FOUND")));
    let ended = bench(&server, &format!("lookup {SMALL}")).await;
    assert_eq!(ended.code, 64, "an empty registry has no names: {}", ended.err);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_writes_demands_to_be_told_so() {
    let server = server().await;
    for line in ["file --seconds 1", "fill --records 10"] {
        let ended = bench(&server, line).await;
        assert_eq!(ended.code, 64, "{line}: {}", ended.err);
        assert!(ended.err.contains("--yes-write"), "{line}: {}", ended.err);
    }
    let info = server.log().get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.revision, 0, "nothing was written");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_filed_is_withdrawn_unless_it_is_kept() {
    let server = filled(25).await;
    let before = visits(&server).await.len();
    let line = format!("file --yes-write --rate 40 --reports 3 {SMALL} -o json");
    let result = bench(&server, &line).await.result();
    assert!(count(&result) > 0);
    assert!(result["withdrawn"].as_u64() >= result["reports"].as_u64(), "{result}");
    assert_eq!(visits(&server).await.len(), before);

    let result = bench(&server, &format!("{line} --keep")).await.result();
    let kept = visits(&server).await.len() - before;
    assert_eq!(kept as u64, count(&result) * 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_gets_everything_and_slow_ones_hold_nobody_up() {
    let server = filled(200).await;
    let line = "watch --connections 2 --streams 2 -o json";
    let alone = bench(&server, line).await.result();
    assert!(count(&alone) >= 4 * 200, "{alone}");
    assert_eq!(count(&alone) % 4, 0, "each of four has as many: {alone}");
    let beside = bench(&server, &format!("{line} --slow 3")).await.result();
    assert_eq!(count(&beside), count(&alone));
    let filtered = bench(&server, &format!("{line} --kind exercise")).await.result();
    assert!(count(&filtered) > 0 && count(&filtered) < count(&alone), "{filtered}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_events_have_an_age() {
    let server = server().await;
    let watching = bench(&server, "watch --start now --connections 1 --streams 2 --seconds 1 --warm-up 0 -o json");
    let mut watching = Box::pin(watching);
    let mut filed = 0;
    let watched = loop {
        let report = common::visit_report(&format!("v-{filed}"), "s", "KZ", "AZ", "2023-10-05");
        tokio::select! {
            watched = &mut watching => break watched,
            _ = server.file(vec![report]) => filed += 1,
        }
    };
    drop(watching);
    let watched = watched.result();
    assert!(count(&watched) > 0, "{watched}");
    assert!(watched["ageMs"]["max"].as_f64().unwrap() > 0.0, "{watched}");
    server.stop().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_run_and_what_was_measured_is_printed() {
    use std::io::Read as _;
    let server = filled(50).await;
    let mut child = Command::new(ATTACHE)
        .args("bench watch --start now --connections 1 --streams 1 --seconds 3000 -o json".split_whitespace())
        .env("ATTACHE_SERVER", &server.address)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It listens for the signal before it subscribes.
    while server.hub.subscribers() == 0 {
        tokio::task::yield_now().await;
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["command"], "watch");
    server.stop().await;
}
