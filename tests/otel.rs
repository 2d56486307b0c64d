//! Traces: what a collector is told of a filing, from the caller's span through the writer, and of a watch.
//!
//! (Of a build with `--features otel`: `python3 tests/run.py --only test`. Cargo.toml does not name it, because an image is
//! built without the tests.)
#![cfg(feature = "otel")]

mod common;

use std::{
    convert::Infallible,
    fs,
    future::Future,
    io::{BufRead as _, BufReader},
    path::Path,
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use attache::{
    access::Secret,
    pb::v1::{
        self, feed_service_client::FeedServiceClient, filing_service_client::FilingServiceClient,
        log_service_client::LogServiceClient, registry_service_client::RegistryServiceClient,
    },
};
use common::{visit_report, watching::*};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, body::Body, server::NamedService, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_prost::ProstCodec;

const ATTACHE: &str = env!("CARGO_BIN_EXE_attache");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// As much of OTLP as is looked at (opentelemetry/proto/trace/v1/trace.proto). It is written here, because a collector made
/// of the sender's own code would believe it everything.
mod otlp {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Export {
        #[prost(message, repeated, tag = "1")]
        pub resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Exported {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ResourceSpans {
        #[prost(message, optional, tag = "1")]
        pub resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub attributes: Vec<Attribute>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Attribute {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(message, optional, tag = "2")]
        pub value: Option<Text>,
    }

    /// A value, if it is a text.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Text {
        #[prost(string, tag = "1")]
        pub text: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ScopeSpans {
        #[prost(message, repeated, tag = "2")]
        pub spans: Vec<Span>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Span {
        #[prost(bytes = "vec", tag = "1")]
        pub trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub span_id: Vec<u8>,
        #[prost(string, tag = "3")]
        pub trace_state: String,
        #[prost(bytes = "vec", tag = "4")]
        pub parent_span_id: Vec<u8>,
        #[prost(string, tag = "5")]
        pub name: String,
        /// 2 is a server's.
        #[prost(int32, tag = "6")]
        pub kind: i32,
        #[prost(fixed64, tag = "7")]
        pub start_ns: u64,
        #[prost(fixed64, tag = "8")]
        pub end_ns: u64,
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Collects traces.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<otlp::ResourceSpans>>>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl tower::Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let collector = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<otlp::Exported, otlp::Export>::default());
            Ok(grpc.unary(Taking(collector), request).await)
        })
    }
}

/// The collector's one method.
struct Taking(Collector);

impl tonic::server::UnaryService<otlp::Export> for Taking {
    type Response = otlp::Exported;
    type Future = Boxed<Result<Response<otlp::Exported>, Status>>;

    fn call(&mut self, request: Request<otlp::Export>) -> Self::Future {
        self.0.0.lock().unwrap().extend(request.into_inner().resource_spans);
        Box::pin(std::future::ready(Ok(Response::new(otlp::Exported {}))))
    }
}

impl Collector {
    /// One that listens, and where.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = tonic::transport::Server::builder().add_service(collector.clone());
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, address)
    }

    /// The spans that it was told of.
    fn spans(&self) -> Vec<otlp::Span> {
        let told = self.0.lock().unwrap();
        told.iter().flat_map(|of| &of.scope_spans).flat_map(|of| &of.spans).cloned().collect()
    }

    /// What it was told of the sender.
    fn sender(&self, key: &str) -> Option<String> {
        let told = self.0.lock().unwrap();
        let said = told.first()?.resource.as_ref()?.attributes.iter().find(|said| said.key == key)?;
        said.value.as_ref().map(|value| value.text.clone())
    }
}

/// The server, killed at the end if nothing else ended it.
struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(collector: &str, ratio: &str) -> Self {
        Self::with(collector, ratio, &[])
    }

    /// With more arguments.
    fn with(collector: &str, ratio: &str, more: &[&str]) -> Self {
        Self::saying(collector, ratio, more, Stdio::inherit())
    }

    /// By these rules, with a log that [`Server::log`] reads: every request is in it when it is answered.
    fn logging(collector: &str, ratio: &str, rules: &str) -> Self {
        let more = ["--config", rules, "--log", "warn,attache::transport=debug", "--log-format", "json"];
        Self::saying(collector, ratio, &more, Stdio::piped())
    }

    fn saying(collector: &str, ratio: &str, more: &[&str], log: Stdio) -> Self {
        let mut command = Command::new(ATTACHE);
        command.args(["serve", "--in-memory", "--admin", "none", "--listen", "127.0.0.1:0"]);
        command.args(["--otlp", collector, "--otlp-ratio", ratio]).args(more);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
        Self { process, address }
    }

    /// Files a report, as part of a trace.
    async fn file(&self, id: &str, traceparent: Option<&str>) {
        let trace = traceparent.map(|traceparent| vec![("traceparent", traceparent), ("tracestate", "desk=7")]);
        let request = headed(one_report(id), &trace.unwrap_or_default());
        let mut filing = FilingServiceClient::connect(self.address.clone()).await.unwrap();
        filing.file_reports(request).await.unwrap();
    }

    /// Has it end in good order. (The collector answers meanwhile, on other threads.)
    fn end(mut self) {
        let told = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(told.success() && self.process.wait().unwrap().success());
    }

    /// Has it end, and answers with what it logged: each line is an object of JSON.
    fn log(mut self) -> Vec<Value> {
        let log = BufReader::new(self.process.stderr.take().expect("it is read"));
        self.end();
        let parsed = |line: String| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        log.lines().map_while(Result::ok).map(parsed).collect()
    }
}

fn one_report(id: &str) -> v1::FileReportsRequest {
    let reports = vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")];
    v1::FileReportsRequest { reports, ..Default::default() }
}

/// A request with these headers.
fn headed<T>(message: T, headers: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filing_is_one_trace_from_its_caller_through_the_writer() {
    let (collector, address) = Collector::start().await;
    // The caller keeps it, whatever the ratio is of those that begin here.
    let server = Server::start(&address, "0");
    server.file("v", Some(&format!("00-{TRACE}-{CALLER}-01"))).await;
    server.end();
    let spans = collector.spans();
    let told: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    let named = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        let span = found.next().unwrap_or_else(|| panic!("{name} is not among {told:?}"));
        assert!(found.next().is_none(), "there is one {name}: {told:?}");
        span
    };
    let request = named("attache.v1.FilingService/FileReports");
    assert_eq!((hex(&request.parent_span_id), request.kind), (CALLER.to_owned(), 2));
    let group = named("group");
    for (name, parent) in
        [("queue", request), ("group", request), ("decide", group), ("append", group), ("commit", group)]
    {
        assert_eq!(hex(&named(name).parent_span_id), hex(&parent.span_id), "{name}");
    }
    for span in &spans {
        assert_eq!((hex(&span.trace_id), span.trace_state.as_str()), (TRACE.to_owned(), "desk=7"), "{}", span.name);
        assert!(span.start_ns <= span.end_ns && span.start_ns >= request.start_ns, "{}", span.name);
    }
    assert_eq!(spans.len(), 6, "{told:?}");
    assert_eq!(collector.sender("service.name").as_deref(), Some("attache"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_a_span_of_its_callers_trace_until_it_ends() {
    let (collector, address) = Collector::start().await;
    let server = Server::start(&address, "0");
    server.file("v", None).await;
    let kept = format!("00-{TRACE}-{CALLER}-01");
    let request = headed(until_caught_up(from_oldest()), &[("traceparent", kept.as_str()), ("tracestate", "desk=7")]);
    let mut feed = FeedServiceClient::connect(server.address.clone()).await.unwrap();
    let mut frames = feed.watch_events(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(frame) = patiently("a frame", frames.message()).await.unwrap() {
        last = Some(frame);
    }
    assert!(last.as_ref().is_some_and(is_end), "{last:?}");
    server.end();
    let spans = collector.spans();
    let told: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(told, ["attache.v1.FeedService/WatchEvents"], "one for all that it does, and none of the filing before");
    let watch = &spans[0];
    assert_eq!((hex(&watch.trace_id), watch.trace_state.as_str()), (TRACE.to_owned(), "desk=7"));
    assert_eq!((hex(&watch.parent_span_id), watch.kind), (CALLER.to_owned(), 2));
    assert!(watch.start_ns < watch.end_ns);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_nobody_keeps_is_not_told() {
    let (collector, address) = Collector::start().await;
    let server = Server::start(&address, "1");
    server.file("v", Some(&format!("00-{TRACE}-{CALLER}-00"))).await;
    server.file("w", None).await;
    server.end();
    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE), "its caller does not keep it");
    let begun: Vec<_> = spans.iter().filter(|span| span.parent_span_id.is_empty()).map(|span| &span.name).collect();
    assert_eq!(begun, ["attache.v1.FilingService/FileReports"], "traces begin with requests alone");
}

/// Tokens look up, and so does whoever shows none; nobody files.
const RULES: &str = r#"
[access]
tokens = "tokens.toml"
[[access.allow]]
who = "token:*"
roles = ["reader"]
[[access.allow]]
who = "anonymous"
roles = ["reader"]
"#;

/// Puts the rules into a folder: their file, and a token that they know.
fn ruled(folder: &Path) -> (String, String) {
    let Secret { token, digest } = Secret::new();
    fs::write(folder.join("tokens.toml"), format!("[[token]]\nname = \"desk\"\ndigest = {digest:?}\n")).unwrap();
    let rules = folder.join("attache.toml");
    fs::write(&rules, RULES).unwrap();
    (rules.to_str().unwrap().to_owned(), token)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_or_not_known_does_not_say_which_traces_are_kept() {
    let (collector, address) = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (rules, token) = ruled(folder.path());
    // Of what begins here nothing is kept.
    let server = Server::with(&address, "0", &["--config", &rules]);
    let kept = format!("00-{TRACE}-{CALLER}-01");
    let (known, unknown) = (format!("Bearer {token}"), format!("Bearer {}", Secret::new().token));
    let by_nobody = [("traceparent", kept.as_str())];
    let by_unknown = [("traceparent", kept.as_str()), ("authorization", unknown.as_str())];
    let by_known = [("traceparent", kept.as_str()), ("authorization", known.as_str())];
    let channel = Endpoint::from_shared(server.address.clone()).unwrap().connect().await.unwrap();
    let (mut log, mut filing) = (LogServiceClient::new(channel.clone()), FilingServiceClient::new(channel.clone()));

    let refused = log.get_log_info(headed(v1::GetLogInfoRequest {}, &by_unknown)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    for headers in [by_nobody.as_slice(), by_known.as_slice()] {
        let refused = filing.file_reports(headed(one_report("v"), headers)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    log.get_log_info(headed(v1::GetLogInfoRequest {}, &by_nobody)).await.expect("anybody may look it up");
    let check = headed(HealthCheckRequest::default(), &by_nobody);
    HealthClient::new(channel.clone()).check(check).await.expect("health is open to everybody");
    let lookup = headed(v1::ListSourcesRequest::default(), &by_known);
    RegistryServiceClient::new(channel).list_sources(lookup).await.expect("it is granted");
    server.end();
    let told: Vec<_> = collector.spans().into_iter().map(|span| (span.name, hex(&span.parent_span_id))).collect();
    assert_eq!(told, [("attache.v1.RegistryService/ListSources".to_owned(), CALLER.to_owned())]);
}

/// What the lines of a call say of its trace: the one that it named or began, and the one that it began beside that.
fn said_of(log: &[Value], rpc: &str) -> Vec<[Option<String>; 2]> {
    let spans = log.iter().map(|line| &line["span"]).filter(|span| span["rpc"] == rpc);
    spans.map(|span| ["trace_id", "own_trace_id"].map(|name| span[name].as_str().map(str::to_owned))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_request_has_the_id_of_the_trace_that_is_kept_of_it_whoever_asks() {
    let (collector, address) = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (rules, token) = ruled(folder.path());
    // Whatever begins here is kept.
    let server = Server::logging(&address, "1", &rules);
    let kept = format!("00-{TRACE}-{CALLER}-01");
    let (known, unknown) = (format!("Bearer {token}"), format!("Bearer {}", Secret::new().token));
    let parent = ("traceparent", kept.as_str());
    let channel = Endpoint::from_shared(server.address.clone()).unwrap().connect().await.unwrap();
    let (mut log, mut registry) = (LogServiceClient::new(channel.clone()), RegistryServiceClient::new(channel));
    let by_unknown = headed(v1::GetLogInfoRequest {}, &[parent, ("authorization", unknown.as_str())]);
    log.get_log_info(by_unknown).await.expect_err("its credential is not good");
    let by_nobody = headed(v1::ListSourcesRequest::default(), &[parent]);
    registry.list_sources(by_nobody).await.expect("anybody may look it up");
    let without = headed(v1::ListVisitsRequest::default(), &[]);
    registry.list_visits(without).await.expect("anybody may look it up");
    let by_known = headed(v1::ListPlacesRequest::default(), &[parent, ("authorization", known.as_str())]);
    registry.list_places(by_known).await.expect("it is granted");

    let log = server.log();
    assert!(log.iter().any(|line| line["audit"] == "denied"), "who was refused is among them: {log:?}");
    let spans = collector.spans();
    let caller = || Some(TRACE.to_owned());
    for (rpc, is_joined, named) in [
        ("attache.v1.LogService/GetLogInfo", false, caller()),
        ("attache.v1.RegistryService/ListSources", false, caller()),
        ("attache.v1.RegistryService/ListVisits", false, None),
        ("attache.v1.RegistryService/ListPlaces", true, caller()),
    ] {
        let span = spans.iter().find(|span| span.name == rpc).unwrap_or_else(|| panic!("{rpc} is not kept"));
        let own = hex(&span.trace_id);
        assert_eq!(own == TRACE, is_joined, "{rpc}");
        let expected = match named {
            None => [Some(own), None],
            Some(named) if is_joined => [Some(named), None],
            Some(named) => [Some(named), Some(own)],
        };
        let said = said_of(&log, rpc);
        assert!(!said.is_empty() && said.iter().all(|said| *said == expected), "{rpc}: {said:?}, not {expected:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_not_kept_has_no_id_in_the_log_but_the_one_that_its_caller_named() {
    let (collector, address) = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (rules, _) = ruled(folder.path());
    let server = Server::logging(&address, "0", &rules);
    let kept = format!("00-{TRACE}-{CALLER}-01");
    let mut registry = RegistryServiceClient::connect(server.address.clone()).await.unwrap();
    let named = headed(v1::ListSourcesRequest::default(), &[("traceparent", kept.as_str())]);
    registry.list_sources(named).await.expect("anybody may look it up");
    registry.list_visits(headed(v1::ListVisitsRequest::default(), &[])).await.expect("anybody may look it up");
    let log = server.log();
    for (rpc, named) in [("ListSources", Some(TRACE.to_owned())), ("ListVisits", None)] {
        let said = said_of(&log, &format!("attache.v1.RegistryService/{rpc}"));
        let expected = [named, None];
        assert!(!said.is_empty() && said.iter().all(|said| *said == expected), "{rpc}: {said:?}, not {expected:?}");
    }
    assert!(collector.spans().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_holds_up_nothing() {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server::start(&format!("http://{nowhere}"), "1");
    for id in ["v", "w"] {
        server.file(id, None).await;
    }
    let began = Instant::now();
    server.end();
    assert!(began.elapsed() < Duration::from_secs(15), "the end is bounded");
}
