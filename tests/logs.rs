//! What a line of the log says of its request: which one it was, and which trace it belongs to; what the first says of the
//! server; which lines there are, as it is told while it runs; who did what few may, and what came of it; and who was
//! refused, but for those of whom there are too many.

#[path = "common/admin.rs"]
mod admin;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    thread::{self, JoinHandle},
    time::Instant,
};

use attache::{
    access::Secret,
    pb::v1::{self, filing_service_client::FilingServiceClient, log_service_client::LogServiceClient},
};
use serde_json::Value;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

const ATTACHE: &str = env!("CARGO_BIN_EXE_attache");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Rules by which anybody looks up, and nobody does more.
const ANYBODY_READS: &str = "[access]\n[[access.allow]]\nwho = \"anonymous\"\nroles = [\"reader\"]\n";

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
    let (server, mut output) = serve_with(filter, &["--admin", "none"]);
    (server, said(&mut output, "listening on "))
}

/// A server that logs as JSON, and what it prints.
fn serve_with(filter: &str, more: &[&str]) -> (Server, BufReader<ChildStdout>) {
    let mut command = Command::new(ATTACHE);
    command.args(["serve", "--in-memory", "--listen", "127.0.0.1:0", "--log", filter, "--log-format", "json"]);
    command.args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    let output = BufReader::new(server.0.stdout.take().unwrap());
    (server, output)
}

/// What follows these words on the next line that it prints.
fn said(output: &mut BufReader<ChildStdout>, words: &str) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim().strip_prefix(words).unwrap_or_else(|| panic!("{words:?} is not what it says: {line:?}")).to_owned()
}

/// Has the server log by another filter, at its admin port.
fn log_by(admin: &str, filter: &str) {
    let mut stream = TcpStream::connect(admin).unwrap();
    let length = filter.len();
    let head = format!("PUT /log HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{filter}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Asks the server something, as part of a trace.
fn ask(address: &str, traceparent: &str) {
    let mut command = Command::new(ATTACHE);
    let asked = command.args(["log", "--server", address]).env("TRACEPARENT", traceparent).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
}

/// What a server logged, which is killed: each line is an object of JSON.
fn logged(server: &mut Server) -> Vec<Value> {
    server.0.kill().unwrap();
    lines(server.0.stderr.take().unwrap())
}

fn lines(log: ChildStderr) -> Vec<Value> {
    let log = BufReader::new(log).lines().map_while(Result::ok);
    log.map(|line| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// A server that logs nothing but what is always logged, by rules of access.
struct Ruled {
    server: Server,
    address: String,
    /// Where its numbers are.
    admin: std::net::SocketAddr,
    /// Its log, which is read all the while: it may be more than a pipe holds.
    log: JoinHandle<Vec<Value>>,
}

impl Ruled {
    fn start(folder: &Path, rules: &str) -> Self {
        let file = folder.join("attache.toml");
        fs::write(&file, rules).unwrap();
        let more = ["--admin", "127.0.0.1:0", "--config", file.to_str().unwrap()];
        let (mut server, mut output) = serve_with("off", &more);
        let address = said(&mut output, "listening on ");
        said(&mut output, "store in ");
        let metrics = said(&mut output, "metrics at http://");
        let admin = metrics.strip_suffix("/metrics").unwrap().parse().unwrap();
        let log = server.0.stderr.take().unwrap();
        Self { server, address, admin, log: thread::spawn(move || lines(log)) }
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.address.clone()).unwrap().connect().await.unwrap()
    }

    async fn number(&self, name: &str) -> f64 {
        admin::number(self.admin, name).await
    }

    /// The lines that say who was refused, once it was killed.
    fn denied(self) -> Vec<Value> {
        // With it its log ends.
        drop(self.server);
        let log = self.log.join().unwrap();
        log.into_iter().filter(|line| line["audit"] == "denied").collect()
    }
}

/// A request with a credential that nobody knows.
fn unknown<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", "Bearer nobodys".parse().unwrap());
    request
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

#[test]
fn what_is_logged_is_changed_while_the_server_runs() {
    const BEFORE: &str = "0af7651916cd43dd8448eb211c80319c";
    let (mut server, mut output) = serve_with("warn", &["--admin", "127.0.0.1:0"]);
    let address = said(&mut output, "listening on ");
    said(&mut output, "store in ");
    let metrics = said(&mut output, "metrics at http://");
    ask(&address, &format!("00-{BEFORE}-00f067aa0ba902b7-01"));
    log_by(metrics.strip_suffix("/metrics").unwrap(), "warn,attache::transport=debug");
    ask(&address, &format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let log = logged(&mut server);
    let answered: Vec<_> = log.iter().filter(|line| line["message"] == "answered").collect();
    assert!(!answered.is_empty(), "{log:?}");
    assert!(answered.iter().all(|line| line["span"]["trace_id"] == TRACE), "{answered:?}");
    // By that filter it would be none of the lines.
    let changed: Vec<_> = log.iter().filter(|line| line["message"] == "what is logged was changed").collect();
    assert_eq!(changed.len(), 1, "{log:?}");
    assert_eq!(changed[0]["audit"], "admitted");
    assert_eq!(changed[0]["filter"], "warn,attache::transport=debug");
    assert!(changed[0]["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{changed:?}");
}

/// Does what operators alone may, whatever comes of it.
fn trim(address: &str) {
    Command::new(ATTACHE).args(["trim", "--before", "1", "--dry-run", "--server", address]).output().unwrap();
}

#[test]
fn the_log_says_who_did_what_operators_alone_may() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("attache.toml");
    fs::write(&file, "[access]\n[[access.allow]]\nwho = \"anonymous\"\nroles = [\"reader\", \"operator\"]\n").unwrap();
    // Whatever else is not logged.
    let (mut server, mut output) = serve_with("off", &["--admin", "none", "--config", file.to_str().unwrap()]);
    let address = said(&mut output, "listening on ");
    // A lookup, which is nobody's business, and then what an operator does.
    ask(&address, &format!("00-{TRACE}-00f067aa0ba902b7-01"));
    trim(&address);
    let log = logged(&mut server);
    let admitted: Vec<_> = log.iter().filter(|line| line["audit"] == "admitted").collect();
    assert_eq!(admitted.len(), 1, "{admitted:?}");
    assert_eq!(admitted[0]["level"], "INFO");
    assert_eq!(admitted[0]["principal"], "anonymous");
    assert!(admitted[0]["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{admitted:?}");
    let span = &admitted[0]["span"];
    assert_eq!(span["rpc"], "attache.v1.LogService/TrimLog", "{span}");
    assert!(span["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{span}");
}

#[test]
fn the_log_says_who_did_what_operators_may_also_where_everybody_may() {
    let (mut server, address) = serve("off");
    ask(&address, &format!("00-{TRACE}-00f067aa0ba902b7-01"));
    trim(&address);
    let log = logged(&mut server);
    let admitted: Vec<_> = log.iter().filter(|line| line["audit"] == "admitted").collect();
    assert_eq!(admitted.len(), 1, "{admitted:?}");
    assert_eq!(admitted[0]["principal"], "local");
    assert_eq!(admitted[0]["span"]["rpc"], "attache.v1.LogService/TrimLog");
    assert!(admitted[0]["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{admitted:?}");
}

#[test]
fn the_log_says_what_was_erased_trimmed_and_backed_up_and_what_came_of_it() {
    const REPORT: &str = "visits/kz-mod-az-2023-10/reports/azernews-215764";
    let folder = tempfile::tempdir().unwrap();
    let (mut server, mut output) = serve_with("off", &["--admin", "none", "--sample"]);
    let address = said(&mut output, "listening on ");
    let copy = folder.path().join("copy");
    let redact = ["redact", REPORT, "--reason", "by order"];
    for line in [
        &[&redact[..], &["--dry-run"]].concat()[..],
        &redact,
        &["trim", "--before", "1", "--dry-run"],
        &["backup", copy.to_str().unwrap()],
    ] {
        let ended = Command::new(ATTACHE).args(line).args(["--server", &address]).output().unwrap();
        assert!(ended.status.success(), "{line:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    // In good order: the last line may be written after its client has gone.
    assert!(Command::new("kill").arg(server.0.id().to_string()).status().unwrap().success());
    let log = lines(server.0.stderr.take().unwrap());
    let done: Vec<_> = log.iter().filter(|line| line["audit"] == "done").collect();
    assert_eq!(done.len(), 4, "{log:?}");
    for line in &done {
        assert_eq!(line["principal"], "local", "{line}");
        assert_eq!(line["outcome"], "OK", "{line}");
    }
    let [dry, erased, trimmed, copied] = done[..] else { panic!("{done:?}") };
    for redaction in [dry, erased] {
        assert_eq!(redaction["report"], REPORT, "{redaction}");
        assert_eq!(redaction["reason"], "by order", "{redaction}");
    }
    assert!(dry["dry_run"] == true && erased["dry_run"] == false, "which of them erased something: {done:?}");
    assert!(erased["revision"].as_u64().is_some_and(|revision| revision > 0), "{erased}");
    assert!(trimmed["kept_from"] == 1 && trimmed["dry_run"] == true, "{trimmed}");
    assert_eq!(copied["bytes"].as_u64(), Some(fs::metadata(&copy).unwrap().len()), "{copied}");
    assert_eq!(copied["revision"], erased["revision"], "nothing happened since");
}

#[tokio::test]
async fn the_log_says_who_was_refused_which_call_from_where_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let Secret { token, digest } = Secret::new();
    let tokens = format!("[[token]]\nname = \"reader\"\ndigest = {digest:?}\n");
    fs::write(folder.path().join("tokens.toml"), tokens).unwrap();
    let rules = "[access]\ntokens = \"tokens.toml\"\n[[access.allow]]\nwho = \"token:*\"\nroles = [\"reader\"]\n";
    let server = Ruled::start(folder.path(), rules);
    let channel = server.channel().await;
    let (mut log, mut filing) = (LogServiceClient::new(channel.clone()), FilingServiceClient::new(channel));
    log.get_log_info(v1::GetLogInfoRequest {}).await.expect_err("it shows no credential");
    let mut files = Request::new(v1::FileReportsRequest::default());
    files.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    filing.file_reports(files).await.expect_err("it reads alone");

    let denied = server.denied();
    let said = |field: &str| denied.iter().map(|line| line[field].as_str()).collect::<Vec<_>>();
    assert_eq!(said("level"), [Some("WARN"); 2], "{denied:?}");
    assert_eq!(said("principal"), [None, Some("token:reader")], "the first showed nobody");
    assert!(said("peer").iter().all(|peer| peer.is_some_and(|peer| peer.starts_with("127.0.0.1:"))), "{denied:?}");
    let why = said("why");
    assert!(why[0].is_some_and(|why| why.contains("there is no credential")), "{why:?}");
    assert!(why[1].is_some_and(|why| why.contains("token:reader is not granted the role filer")), "{why:?}");
    let calls: Vec<_> = denied.iter().map(|line| line["span"]["rpc"].as_str()).collect();
    assert_eq!(calls, [Some("attache.v1.LogService/GetLogInfo"), Some("attache.v1.FilingService/FileReports")]);
}

#[tokio::test]
async fn who_is_refused_again_and_again_does_not_fill_the_log_and_is_counted() {
    const CALLS: u32 = 1000;
    let folder = tempfile::tempdir().unwrap();
    let server = Ruled::start(folder.path(), ANYBODY_READS);
    let mut log = LogServiceClient::new(server.channel().await);
    let began = Instant::now();
    for _ in 0..CALLS {
        log.get_log_info(unknown(v1::GetLogInfoRequest {})).await.expect_err("nobody knows it");
    }
    // As many at once, and so many a second.
    let room = 51.0 + 50.0 * began.elapsed().as_secs_f64();
    assert_eq!(server.number("attache_refusals_total{reason=\"CREDENTIAL_MISSING\"}").await, f64::from(CALLS));
    let dropped = server.number("attache_audit_lines_dropped_total").await;
    let written = u32::try_from(server.denied().len()).unwrap();
    assert!(
        written >= 50 && f64::from(written) <= room,
        "{written} lines, with room for {room}, and {dropped} dropped"
    );
    assert_eq!(f64::from(written) + dropped, f64::from(CALLS));
}

#[tokio::test]
async fn of_the_long_name_of_a_call_the_log_has_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let server = Ruled::start(folder.path(), ANYBODY_READS);
    let long = format!("attache.v1.{}/Ever", "Nothing".repeat(100));
    let mut grpc = tonic::client::Grpc::new(server.channel().await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::GetLogInfoRequest, v1::GetLogInfoResponse>::default();
    let path = format!("/{long}").parse().unwrap();
    grpc.unary(unknown(v1::GetLogInfoRequest {}), path, codec).await.expect_err("nobody answers");
    let denied = server.denied();
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(denied[0]["span"]["rpc"], long[..128]);
}

#[tokio::test]
async fn whoever_finds_no_room_is_counted_and_has_no_line_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let rules = format!("{ANYBODY_READS}[access.limits]\nrequests_per_second = 1\n");
    let server = Ruled::start(folder.path(), &rules);
    let mut log = LogServiceClient::new(server.channel().await);
    let mut refused = 0.0;
    // Far more than one a second, however slow this machine is.
    for _ in 0..50 {
        if let Err(status) = log.get_log_info(v1::GetLogInfoRequest {}).await {
            assert_eq!(status.get_details_error_info().map(|info| info.reason).as_deref(), Some("QUOTA_EXCEEDED"));
            refused += 1.0;
        }
    }
    assert!(refused >= 1.0);
    assert_eq!(server.number("attache_refusals_total{reason=\"QUOTA_EXCEEDED\"}").await, refused);
    assert_eq!(server.number("attache_audit_lines_dropped_total").await, 0.0, "none was to be written");
    let denied = server.denied();
    assert!(denied.is_empty(), "{denied:?}");
}

#[test]
fn a_line_names_addresses_files_and_keys_as_people_write_them_and_keys_at_each_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("attache.toml");
    fs::write(&file, format!("retain_days = 5\n{ANYBODY_READS}")).unwrap();
    let more = ["--admin", "none", "--config", file.to_str().unwrap()];
    let (mut server, mut output) = serve_with("info,attache::transport::listener=debug", &more);
    let address = said(&mut output, "listening on http://");
    let log = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut log = log.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let mut logged = |words: &str| {
        let says = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(words));
        log.find(says).expect("it says so before it ends")
    };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(logged("is not HTTP/2")["peer"], stream.local_addr().unwrap().to_string());

    let ask = || {
        let status = Command::new("kill").args(["-HUP", &server.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    };
    fs::write(&file, format!("retain_days = 7\ndrain_seconds = 1\n{ANYBODY_READS}")).unwrap();
    ask();
    assert_eq!(logged("are read again")["files"], file.to_str().unwrap());
    assert_eq!(logged("holds from the next start")["keys"], "drain_seconds, retain_days");
    ask();
    assert!(logged("are read again").get("files").is_none(), "none changed since");
    assert_eq!(logged("holds from the next start")["keys"], "drain_seconds, retain_days", "it is so all the same");
}
