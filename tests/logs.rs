//! What a line of the log says of its request: which one it was, and which trace it belongs to; and what the first says of the
//! server.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

const ATTACHE: &str = env!("CARGO_BIN_EXE_attache");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The server, killed at the end if nothing else ended it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that logs as JSON, and its address.
fn serve(filter: &str) -> (Server, String) {
    let mut command = Command::new(ATTACHE);
    command.args(["serve", "--in-memory", "--admin", "none", "--listen", "127.0.0.1:0"]);
    command.args(["--log", filter, "--log-format", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
    (server, address)
}

/// Asks the server something, as part of a trace.
fn ask(address: &str, traceparent: &str) {
    let mut command = Command::new(ATTACHE);
    let asked = command.args(["log", "--server", address]).env("TRACEPARENT", traceparent).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
}

/// What a server logged, which is killed: each line is an object of JSON.
fn logged(server: &mut Server) -> Vec<serde_json::Value> {
    server.0.kill().unwrap();
    let log = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    log.map(|line| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn every_line_of_a_request_has_its_id_and_its_trace() {
    // Every request is logged when it is answered.
    let (mut server, address) = serve("warn,attache::transport=debug");
    ask(&address, &format!("00-{TRACE}-00f067aa0ba902b7-01"));
    // Of this the command makes nothing, and so does the server.
    ask(&address, &format!("00-{TRACE}-00f067aa0ba902b7"));
    let log = logged(&mut server);
    let spans: Vec<_> = log.iter().filter(|line| line["message"] == "answered").map(|line| &line["span"]).collect();
    assert!(spans.len() >= 2, "{spans:?}");
    for span in &spans {
        assert!(span["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{span}");
        assert!(span["rpc"].as_str().is_some_and(|rpc| rpc.starts_with("attache.v1.")), "{span}");
    }
    let traces: Vec<_> = spans.iter().map(|span| span["trace_id"].as_str()).collect();
    assert_eq!(traces.first(), Some(&Some(TRACE)));
    assert_eq!(traces.last(), Some(&None));
}

#[test]
fn a_start_says_which_version_serves_which_log_from_where() {
    let (mut server, _) = serve("info");
    let log = logged(&mut server);
    let start = log.iter().find(|line| line["message"] == "the store is served");
    let start = start.unwrap_or_else(|| panic!("{log:?}"));
    assert_eq!(start["level"], "INFO");
    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(start["revision"], 0);
    assert_eq!(start["position"], 0);
    assert_eq!(start["journal"], "embedded");
    assert!(start["epoch"].as_str().is_some_and(|epoch| epoch.parse::<uuid::Uuid>().is_ok()), "{start}");
}
