//! Who may do what: credentials, roles, sources; and what becomes of those who are in the middle of something when rules
//! change, or a credential ends.

#[path = "../common/authority.rs"]
mod authority;
#[path = "../common/mod.rs"]
mod common;
mod https;
mod issuer;
mod keys;
#[path = "../recovery/process.rs"]
#[allow(dead_code, reason = "the tests of recovery use more of it")]
mod process;
mod revoked;
mod rulings;
mod shares;
mod tls;

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use attache::{
    access::Secret,
    cli::{self, Command},
    config::{Config, DataDir},
    feed,
    limits::KEYS_MIN_PAUSE,
    pb::{
        log::EntryKind,
        v1::{
            self, feed_service_client::FeedServiceClient, filing_service_client::FilingServiceClient,
            log_service_client::LogServiceClient,
        },
    },
    serve::Parts,
    store::alone::Alone,
};
use common::{FakeClock, START_US, TestServer, source, visit_report, watching::*};
use issuer::Key;
use serde_json::{Value, json};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// What every request shows.
#[derive(Clone)]
pub struct Shows(Option<String>);

impl Interceptor for Shows {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            let value: MetadataValue<Ascii> = header.parse().expect("a header");
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

type As = InterceptedService<Channel, Shows>;

/// A caller with a credential.
struct Caller(As);

impl Caller {
    /// Whoever asks on this connection.
    fn on(channel: Channel, header: Option<String>) -> Self {
        Self(InterceptedService::new(channel, Shows(header)))
    }

    fn with(server: &TestServer, header: Option<String>) -> Self {
        Self::on(server.channel.clone(), header)
    }

    fn bearer(server: &TestServer, token: &str) -> Self {
        Self::with(server, Some(format!("Bearer {token}")))
    }

    async fn info(&self) -> Result<v1::GetLogInfoResponse, Status> {
        self.log().get_log_info(v1::GetLogInfoRequest {}).await.map(tonic::Response::into_inner)
    }

    async fn file(&self, id: &str, source: &str) -> Result<v1::FileReportsResponse, Status> {
        let reports = vec![visit_report(id, source, "KZ", "AZ", "2023-05-01")];
        let request = v1::FileReportsRequest { reports, ..Default::default() };
        self.filing().file_reports(request).await.map(tonic::Response::into_inner)
    }

    fn filing(&self) -> FilingServiceClient<As> {
        FilingServiceClient::new(self.0.clone())
    }

    fn feed(&self) -> FeedServiceClient<As> {
        FeedServiceClient::new(self.0.clone())
    }

    fn log(&self) -> LogServiceClient<As> {
        LogServiceClient::new(self.0.clone())
    }

    /// Who made each revision of a record, the oldest first.
    async fn authors(&self, name: &str) -> Vec<String> {
        let mut registry = v1::registry_service_client::RegistryServiceClient::new(self.0.clone());
        let asked = v1::ListRevisionsRequest { name: name.into(), ..Default::default() };
        let revisions = registry.list_revisions(asked).await.expect("its history").into_inner().revisions;
        revisions.into_iter().map(|revision| revision.principal).collect()
    }

    async fn watch(&self) -> tonic::Streaming<v1::WatchEventsResponse> {
        let request = lively(from_oldest());
        self.feed().watch_events(request).await.expect("the watch is admitted").into_inner()
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("it is refused");
    (status.code(), reason(&status))
}

fn missing() -> (Code, String) {
    (Code::Unauthenticated, "CREDENTIAL_MISSING".to_owned())
}

fn expired() -> (Code, String) {
    (Code::Unauthenticated, "CREDENTIAL_EXPIRED".to_owned())
}

fn not_granted() -> (Code, String) {
    (Code::PermissionDenied, "ROLE_REQUIRED".to_owned())
}

/// A folder with a configuration and what it names.
struct Files(tempfile::TempDir);

impl Files {
    fn new(config: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("attache.toml", config);
        files
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        // At once, as whoever replaces such files does: half of one may be read otherwise.
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Adds a token to the file of tokens, and answers it.
    fn token(&self, name: &str, expires: Option<&str>) -> String {
        let Secret { token, digest } = Secret::new();
        let before = fs::read_to_string(self.path("tokens.toml")).unwrap_or_default();
        let expires = expires.map(|e| format!("expires = {e:?}\n")).unwrap_or_default();
        self.write("tokens.toml", format!("{before}[[token]]\nname = {name:?}\ndigest = {digest:?}\n{expires}"));
        token
    }

    async fn serve(&self) -> (TestServer, Arc<FakeClock>) {
        serve(config_of(&self.path("attache.toml"))).await
    }

    /// The same with a store that is there afterwards, in the folder `store`.
    async fn serve_store(&self) -> (TestServer, Arc<FakeClock>) {
        let data_dir = DataDir::At(self.path("store"));
        serve(Config { data_dir, in_memory: false, ..config_of(&self.path("attache.toml")) }).await
    }
}

async fn serve(config: Config) -> (TestServer, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::default());
    let parts = Parts { clock: Arc::clone(&clock) as Arc<dyn attache::clock::Clock>, ..Parts::default() };
    (TestServer::with(config, parts).await, clock)
}

/// The configuration of tests with what a file says of security.
fn config_of(file: &Path) -> Config {
    let line = ["attache", "serve", "--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()];
    let Command::Serve(args) = <cli::Cli as clap::Parser>::try_parse_from(line).unwrap().command else { panic!() };
    let Config { security, max_connection_age, .. } = Config::load(&args).unwrap();
    common::observed(Config { security, max_connection_age, ..common::config() })
}

const TOKENS: &str = r#"
[access]
tokens = "tokens.toml"
[[access.allow]]
who = "token:*"
roles = ["reader"]
[[access.allow]]
who = "token:desk-az"
roles = ["filer"]
sources = ["sources/az-"]
[[access.allow]]
who = "token:editor"
roles = ["filer", "editor"]
[[access.allow]]
who = "token:admin"
roles = ["operator"]
"#;

#[tokio::test]
async fn who_shows_no_good_credential_gets_nothing_but_health() {
    let files = Files::new(TOKENS);
    let good = files.token("reader", None);
    let (server, _) = files.serve().await;
    let shown = [
        None,
        Some(format!("Bearer {}", Secret::new().token)),
        Some("Bearer not.a.jwt".to_owned()),
        Some(good.clone()),
        Some(format!("Basic {good}")),
        Some("Bearer".to_owned()),
        Some(format!("Bearer {}", &good[..good.len() - 1])),
    ];
    for header in shown {
        let caller = Caller::with(&server, header.clone());
        assert_eq!(refused(caller.info().await), missing(), "{header:?}");
        assert_eq!(refused(caller.file("v", "az-mod").await), missing(), "{header:?}");
        assert_eq!(refused(caller.feed().watch_events(from_oldest()).await.map(drop)), missing(), "{header:?}");
    }
    assert!(Caller::with(&server, Some(format!("bearer {good}"))).info().await.is_ok(), "the scheme is in any case");
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel.clone());
    assert!(health.check(tonic_health::pb::HealthCheckRequest::default()).await.is_ok(), "health is open");
    server.stop().await;
}

/// That a record is not to stand.
fn ruling(name: &str) -> v1::RetractRecordRequest {
    v1::RetractRecordRequest {
        name: name.into(),
        source: Some(v1::Source { kind: v1::SourceKind::Editor.into(), ..source("editor") }),
        reason: v1::RetractionReason::FilerError.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn roles_are_what_the_policy_grants_and_no_more() {
    let files = Files::new(TOKENS);
    let [reader, desk, editor, admin] = ["reader", "desk-az", "editor", "admin"].map(|name| files.token(name, None));
    let (server, _) = files.serve().await;
    let [reader, desk, editor, admin] = [&reader, &desk, &editor, &admin].map(|t| Caller::bearer(&server, t));
    assert_eq!(refused(reader.file("v", "az-mod").await), not_granted());
    assert!(desk.file("v", "az-mod").await.is_ok());
    assert!(editor.file("v", "kz-mod").await.is_ok(), "no sources are all sources");

    let ruling = ruling("visits/v");
    let status = desk.filing().retract_record(ruling.clone()).await.expect_err("a filer makes no rulings");
    assert_eq!((status.code(), reason(&status)), not_granted());
    assert!(status.message().contains("token:desk-az") && status.message().contains("editor"), "{}", status.message());
    assert!(editor.filing().retract_record(ruling).await.is_ok());

    let trim = v1::TrimLogRequest { dry_run: true, keep: Some(v1::trim_log_request::Keep::FromRevision(1)) };
    assert_eq!(refused(editor.log().trim_log(trim.clone()).await), not_granted());
    assert!(admin.log().trim_log(trim).await.is_ok());
    server.stop().await;
}

/// How many were refused for want of a credential, because it had ended, for want of a role, of a share, and of room.
async fn refusals(server: &TestServer) -> [f64; 5] {
    let counted = async |reason: &str| server.number(&format!("attache_refusals_total{{reason=\"{reason}\"}}")).await;
    [
        counted("CREDENTIAL_MISSING").await,
        counted("CREDENTIAL_EXPIRED").await,
        counted("ROLE_REQUIRED").await,
        counted("QUOTA_EXCEEDED").await,
        counted("OVERLOADED").await,
    ]
}

#[tokio::test]
async fn refusals_are_counted_by_their_reason() {
    let files = Files::new(&format!("{TOKENS}[access.limits]\nstreams = 1\n"));
    let (reader, short) = (files.token("reader", None), files.token("desk-az", Some("2024-01-02T01:00:00Z")));
    let (server, clock) = files.serve().await;
    let (reader, short) = (Caller::bearer(&server, &reader), Caller::bearer(&server, &short));
    assert!(reader.info().await.is_ok() && short.info().await.is_ok());
    assert_eq!(refusals(&server).await, [0.0; 5], "what is granted is no refusal");
    assert_eq!(refused(Caller::with(&server, None).info().await), missing());
    assert_eq!(refusals(&server).await, [1.0, 0.0, 0.0, 0.0, 0.0]);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(refused(short.info().await), expired());
    assert_eq!(refusals(&server).await, [1.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(refused(reader.file("v", "az-mod").await), not_granted());
    assert_eq!(refusals(&server).await, [1.0, 1.0, 1.0, 0.0, 0.0]);
    let watch = reader.watch().await;
    assert_eq!(refused(reader.feed().watch_events(from_oldest()).await.map(drop)).1, "QUOTA_EXCEEDED");
    assert_eq!(refusals(&server).await, [1.0, 1.0, 1.0, 1.0, 0.0], "one stream too many is one more");
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_behind_the_gate_is_counted_as_well() {
    let anonymous = "[[access.allow]]\nwho = \"anonymous\"\nroles = [\"reader\"]\n";
    let files = Files::new(&format!("{TOKENS}{anonymous}"));
    let desk = files.token("desk-az", None);
    let of_one = feed::Settings { max_watches: 1, ..feed::Settings::default() };
    let config = Config { max_imports: 1, feed: of_one, ..config_of(&files.path("attache.toml")) };
    let (server, _) = serve(config).await;
    let (desk, anybody) = (Caller::bearer(&server, &desk), Caller::with(&server, None));

    let batch = |id: &str| v1::ImportReportsRequest {
        request_id: id.into(),
        items: vec![v1::ImportItem {
            item: Some(v1::import_item::Item::Report(visit_report(id, "az-mod", "KZ", "AZ", "2023-05-01"))),
        }],
        ..Default::default()
    };
    let (batches, sent) = tokio::sync::mpsc::channel(1);
    batches.send(batch("first")).await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut answers = desk.filing().import_reports(stream).await.unwrap().into_inner();
    answers.message().await.unwrap().expect("it is answered");
    let second = desk.filing().import_reports(tokio_stream::once(batch("second"))).await.map(drop);
    assert_eq!(refused(second).1, "OVERLOADED");
    assert_eq!(refusals(&server).await, [0.0, 0.0, 0.0, 0.0, 1.0], "an import more than the server has places for");

    let watch = anybody.watch().await;
    assert_eq!(refused(anybody.feed().watch_events(from_oldest()).await.map(drop)).1, "QUOTA_EXCEEDED");
    assert_eq!(refusals(&server).await, [0.0, 0.0, 0.0, 1.0, 1.0], "a watch more than it has places for");

    let position = anybody.info().await.unwrap().token;
    let commit = v1::CommitCursorRequest { name: "c".into(), position, ..Default::default() };
    assert_eq!(refused(anybody.feed().commit_cursor(commit).await), not_granted());
    assert_eq!(refusals(&server).await, [0.0, 0.0, 1.0, 1.0, 1.0], "a cursor of nobody's");

    files.write("tokens.toml", "");
    server.reload().await;
    batches.send(batch("third")).await.unwrap();
    assert_eq!(refused(answers.message().await), expired());
    assert_eq!(refusals(&server).await, [0.0, 1.0, 1.0, 1.0, 1.0], "a credential that ended between two batches");
    drop((batches, answers, watch));
    server.stop().await;
}

#[tokio::test]
async fn a_filer_files_for_its_own_sources_alone() {
    let files = Files::new(TOKENS);
    let (desk, editor) = (files.token("desk-az", None), files.token("editor", None));
    let (server, _) = files.serve().await;
    let (desk, editor) = (Caller::bearer(&server, &desk), Caller::bearer(&server, &editor));
    editor.file("v", "kz-mod").await.unwrap();
    let before = editor.info().await.unwrap().token;

    let two = v1::FileReportsRequest {
        reports: ["az-mod", "kz-mod"].map(|s| visit_report("v", s, "KZ", "AZ", "2023-05-02")).to_vec(),
        ..Default::default()
    };
    let status = desk.filing().file_reports(two).await.expect_err("one of them is not its own");
    assert_eq!((status.code(), reason(&status)), not_granted());
    assert!(status.message().contains("reports[1].source.name"), "{}", status.message());
    assert!(status.message().contains("sources/az-"), "it says for which it may: {}", status.message());

    use v1::retract_reports_request::Selection;
    let withdraw = |selection| v1::RetractReportsRequest {
        selection: Some(selection),
        reason: v1::RetractionReason::FilerError.into(),
        ..Default::default()
    };
    for selection in [
        Selection::Report("visits/v/reports/kz-mod".into()),
        Selection::Source("sources/kz-mod".into()),
        Selection::Publisher("Publisher kz-mod".into()),
    ] {
        let refusal = desk.filing().retract_reports(withdraw(selection.clone())).await;
        assert_eq!(refused(refusal), not_granted(), "{selection:?}");
    }
    assert_eq!(editor.info().await.unwrap().token, before, "nothing of it happened");

    let item = |item| v1::ImportItem { item: Some(item) };
    let batch = v1::ImportReportsRequest {
        request_id: "batch".into(),
        items: vec![
            item(v1::import_item::Item::Report(visit_report("v", "az-mod", "KZ", "AZ", "2023-05-01"))),
            item(v1::import_item::Item::Report(visit_report("v", "kz-mod", "KZ", "AZ", "2023-05-02"))),
            item(v1::import_item::Item::Withdraw("visits/v/reports/kz-mod".into())),
        ],
        reason: v1::RetractionReason::FilerError.into(),
        ..Default::default()
    };
    let mut answers = desk.filing().import_reports(tokio_stream::once(batch)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let refusals = answer.results.iter().map(|r| match r.outcome.as_ref().unwrap() {
        v1::import_result::Outcome::Refusal(refusal) => Some(refusal.reason()),
        v1::import_result::Outcome::Result(_) => None,
    });
    let role = Some(v1::ErrorReason::RoleRequired);
    assert_eq!(refusals.collect::<Vec<_>>(), [None, role, role]);
    server.stop().await;
}

#[tokio::test]
async fn a_filer_makes_no_rulings_by_filing_them() {
    let files = Files::new(TOKENS);
    let (desk, editor) = (files.token("desk-az", None), files.token("editor", None));
    let (server, _) = files.serve().await;
    let (desk, editor) = (Caller::bearer(&server, &desk), Caller::bearer(&server, &editor));
    editor.file("v", "kz-mod").await.unwrap();
    let mut ruling = visit_report("v", "az-mod", "KZ", "AZ", "2023-05-09");
    ruling.source.as_mut().unwrap().kind = v1::SourceKind::Editor.into();
    let request = v1::FileReportsRequest { reports: vec![ruling.clone()], ..Default::default() };
    assert_eq!(refused(desk.filing().file_reports(request.clone()).await), not_granted());
    let item = v1::ImportItem { item: Some(v1::import_item::Item::Report(ruling)) };
    let batch = v1::ImportReportsRequest { request_id: "b".into(), items: vec![item], ..Default::default() };
    let mut answers = desk.filing().import_reports(tokio_stream::once(batch)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let v1::import_result::Outcome::Refusal(refusal) = answer.results[0].outcome.as_ref().unwrap() else {
        panic!("{answer:?}")
    };
    assert_eq!(refusal.reason(), v1::ErrorReason::RoleRequired);
    assert!(editor.filing().file_reports(request).await.is_ok(), "an editor does");
    server.stop().await;
}

#[tokio::test]
async fn an_import_under_way_files_by_the_rules_of_now() {
    let files = Files::new(TOKENS);
    let desk = files.token("desk-az", None);
    let (server, _) = files.serve().await;
    let desk = Caller::bearer(&server, &desk);
    let (batches, sent) = tokio::sync::mpsc::channel(1);
    let batch = |id: &str| v1::ImportReportsRequest {
        request_id: id.into(),
        items: vec![v1::ImportItem {
            item: Some(v1::import_item::Item::Report(visit_report(id, "az-mod", "KZ", "AZ", "2023-05-01"))),
        }],
        ..Default::default()
    };
    batches.send(batch("first")).await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut answers = desk.filing().import_reports(stream).await.unwrap().into_inner();
    let mut outcome = async || answers.message().await.unwrap().unwrap().results.remove(0).outcome.unwrap();
    assert!(matches!(outcome().await, v1::import_result::Outcome::Result(_)));
    files.write("attache.toml", TOKENS.replace("sources/az-", "sources/other-"));
    server.reload().await;
    batches.send(batch("second")).await.unwrap();
    assert!(matches!(outcome().await, v1::import_result::Outcome::Refusal(_)), "its sources are others now");
    drop((batches, answers));
    server.stop().await;
}

#[tokio::test]
async fn a_cursor_is_somebodys() {
    let files = Files::new("[access]\n[[access.allow]]\nwho = \"anonymous\"\nroles = [\"reader\"]\n");
    let (server, _) = files.serve().await;
    let anybody = Caller::with(&server, None);
    let position = anybody.info().await.unwrap().token;
    let commit = v1::CommitCursorRequest { name: "c".into(), position, ..Default::default() };
    assert_eq!(refused(anybody.feed().commit_cursor(commit).await), not_granted());
    server.stop().await;
}

#[tokio::test]
async fn revisions_say_who_filed_and_cursors_are_each_principals_own() {
    let files = Files::new(TOKENS);
    let (desk, editor) = (files.token("desk-az", None), files.token("editor", None));
    let (server, _) = files.serve().await;
    let (desk, editor) = (Caller::bearer(&server, &desk), Caller::bearer(&server, &editor));
    let filed = desk.file("v", "az-mod").await.unwrap();
    editor.file("v", "kz-mod").await.unwrap();
    assert_eq!(editor.authors("visits/v").await, ["token:desk-az", "token:editor"]);

    let commit = v1::CommitCursorRequest { name: "c".into(), position: filed.token, ..Default::default() };
    desk.feed().commit_cursor(commit).await.unwrap();
    let asked = v1::GetCursorRequest { name: "c".into() };
    assert!(desk.feed().get_cursor(asked.clone()).await.is_ok());
    assert_eq!(refused(editor.feed().get_cursor(asked).await).1, "RECORD_NOT_FOUND", "the name is another's");
    server.stop().await;
}

#[tokio::test]
async fn rulings_trims_and_redactions_say_who_made_them() {
    let files = Files::new(TOKENS);
    let [desk, editor, admin] = ["desk-az", "editor", "admin"].map(|name| files.token(name, None));
    let (server, clock) = files.serve_store().await;
    let [desk, editor, admin] = [&desk, &editor, &admin].map(|t| Caller::bearer(&server, t));
    let old = desk.file("old", "az-mod").await.unwrap().revision;
    // Longer than the answers to requests are remembered: what is younger is not trimmed.
    clock.advance(Duration::from_secs(3 * 24 * 3600));
    editor.file("v", "kz-mod").await.unwrap();
    desk.file("v", "az-mod").await.unwrap();
    editor.filing().retract_record(ruling("visits/old")).await.unwrap();
    let keep = Some(v1::trim_log_request::Keep::FromRevision(old + 1));
    let trimmed = admin.log().trim_log(v1::TrimLogRequest { keep, dry_run: false }).await.unwrap().into_inner();
    assert!(trimmed.revision > 0, "it is an entry");
    let what = Some(v1::redact_request::What::Report("visits/v/reports/az-mod".into()));
    let redact = v1::RedactRequest { what, reason: "by order".into(), dry_run: false };
    admin.log().redact(redact).await.unwrap();
    assert_eq!(editor.authors("visits/v").await, ["token:editor", "token:desk-az", "token:admin"]);
    assert_eq!(editor.authors("visits/old").await, ["token:editor"], "its filing was trimmed");
    server.stop().await;

    // No record says of a trim.
    let log = Alone::open(&files.path("store")).unwrap().entries(old, 100, usize::MAX).unwrap();
    let headers = log.iter().map(|entry| entry.header().unwrap());
    let told: Vec<_> = headers.map(|header| (header.kind(), header.principal)).collect();
    let (days, asked): (Vec<_>, Vec<_>) = told.into_iter().partition(|(kind, _)| *kind == EntryKind::Day);
    assert!(days.iter().all(|(_, principal)| principal == attache::clock::CLOCK), "{days:?}");
    let (filing, editor, admin) = (EntryKind::Filing, "token:editor".to_owned(), "token:admin".to_owned());
    assert_eq!(
        asked,
        [
            (filing, editor.clone()),
            (filing, "token:desk-az".to_owned()),
            (filing, editor),
            (EntryKind::Trim, admin.clone()),
            (EntryKind::Redact, admin),
        ]
    );
}

#[tokio::test]
async fn whoever_is_anonymous_may_what_anonymous_is_granted() {
    let files = Files::new("[access]\n[[access.allow]]\nwho = \"anonymous\"\nroles = [\"reader\"]\n");
    let (server, _) = files.serve().await;
    let anybody = Caller::with(&server, None);
    assert!(anybody.info().await.is_ok());
    assert_eq!(refused(anybody.file("v", "s").await), not_granted());
    let stranger = Caller::bearer(&server, &Secret::new().token);
    assert_eq!(refused(stranger.info().await), missing(), "a bad credential is not none");
    server.stop().await;
}

/// Frames until the stream ends, and what it ends with.
async fn ends(mut watch: tonic::Streaming<v1::WatchEventsResponse>) -> (Vec<v1::WatchEventsResponse>, Option<Status>) {
    patiently("the end of a watch", async move {
        let mut frames = Vec::new();
        loop {
            match watch.message().await {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, None),
                Err(status) => return (frames, Some(status)),
            }
        }
    })
    .await
}

/// The next frame of a watch that tells events.
async fn next_batch(watch: &mut tonic::Streaming<v1::WatchEventsResponse>) -> v1::WatchEventsResponse {
    patiently("the events", async {
        loop {
            let frame = watch.message().await.expect("the watch goes on").expect("and on");
            if batch(&frame).is_some() {
                return frame;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_watch_ends_when_its_credential_does_and_resumes_with_another() {
    let files = Files::new(TOKENS);
    let short = files.token("desk-az", Some("2024-01-02T01:00:00Z"));
    let long = files.token("desk-az", None);
    let (server, clock) = files.serve().await;
    let (short, long) = (Caller::bearer(&server, &short), Caller::bearer(&server, &long));
    let first = short.file("v", "az-mod").await.unwrap();
    let (mut ending, lasting) = (short.watch().await, long.watch().await);
    let told = next_batch(&mut ending).await;
    clock.advance(Duration::from_secs(3600));
    let (frames, error) = ends(ending).await;
    let error = error.expect("an end with a reason");
    assert_eq!((error.code(), reason(&error)), expired());
    assert_eq!(ids(&events(std::slice::from_ref(&told))), ids(&first.events), "what was told before counts");
    assert_eq!(ids(&events(&frames)), ids(&[]), "and nothing twice");
    assert_eq!(refused(short.info().await), expired(), "nor is it good for anything else");

    let second = long.file("w", "az-mod").await.unwrap();
    let resumed =
        long.feed().watch_events(until_caught_up(after(&frames.last().unwrap_or(&told).token))).await.unwrap();
    let (rest, error) = ends(resumed.into_inner()).await;
    assert!(error.is_none());
    assert_eq!(ids(&events(&rest)), ids(&second.events), "the next events and no others");
    drop(lasting);
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_its_own_watches_alone() {
    let files = Files::new(TOKENS);
    let kept = files.token("desk-az", None);
    let only_kept = fs::read(files.path("tokens.toml")).unwrap();
    let revoked = files.token("reader", None);
    let (server, _) = files.serve().await;
    let (kept, revoked) = (Caller::bearer(&server, &kept), Caller::bearer(&server, &revoked));
    let (mut lasting, ending) = (kept.watch().await, revoked.watch().await);
    files.write("tokens.toml", only_kept);
    server.reload().await;
    let (_, error) = ends(ending).await;
    assert_eq!(error.map(|e| reason(&e)).as_deref(), Some("CREDENTIAL_EXPIRED"));
    assert_eq!(refused(revoked.info().await), missing());
    let filed = kept.file("v", "az-mod").await.unwrap();
    let told = next_batch(&mut lasting).await;
    assert_eq!(ids(&events(&[told])), ids(&filed.events));
    drop(lasting);
    server.stop().await;
}

#[tokio::test]
async fn files_that_changed_are_read_without_anybody_asking_for_it() {
    let files = Files::new(TOKENS);
    files.token("reader", None);
    let (server, _) = files.serve().await;
    let late = Caller::bearer(&server, &files.token("editor", None));
    patiently("the look at the files", async {
        while late.info().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn rules_are_replaced_as_a_whole_and_broken_ones_are_refused() {
    let files = Files::new(TOKENS);
    let reader = files.token("reader", None);
    let (server, _) = files.serve().await;
    let reader = Caller::bearer(&server, &reader);
    let watch = reader.watch().await;
    let good = fs::read_to_string(files.path("tokens.toml")).unwrap();
    for (name, broken) in [
        ("tokens.toml", "[[token]]\nname = \"a b\"".to_owned()),
        ("attache.toml", TOKENS.replace("token:*", "everybody")),
        ("attache.toml", "in_memory = true".to_owned()),
        ("attache.toml", "[access]\ntokens = \"nowhere.toml\"".to_owned()),
    ] {
        let before = server.number(RULES_REFUSED).await;
        files.write(name, &broken);
        server.reload().await;
        assert!(server.number(RULES_REFUSED).await > before, "it is counted: {broken}");
        assert!(reader.info().await.is_ok(), "what was in force stays: {broken}");
        files.write("tokens.toml", &good);
        files.write("attache.toml", TOKENS);
    }
    // What needs a restart holds up nothing else.
    files.write("attache.toml", format!("{TOKENS}[access.limits]\nstreams = 1\n"));
    files.write("tokens.toml", "");
    server.reload().await;
    assert_eq!(refused(reader.info().await), missing(), "a token that was taken out is out");
    files.write("tokens.toml", &good);
    server.reload().await;
    let watch = {
        drop(watch);
        reader.watch().await
    };
    // (The watch is still there: it is told when it may not go on.)
    files.write("attache.toml", TOKENS.replace("\"token:*\"", "\"token:nobody\""));
    server.reload().await;
    assert_eq!(refused(reader.info().await), not_granted());
    let (_, error) = ends(watch).await;
    assert_eq!(error.map(|e| reason(&e)).as_deref(), Some("ROLE_REQUIRED"));
    server.stop().await;
}

/// How often rules were read again and refused.
const RULES_REFUSED: &str = "attache_reloads_total{what=\"rules\",outcome=\"refused\"}";

/// One second after the clock of tests begins.
const NOW: i64 = START_US / 1_000_000;

fn claims(subject: &str) -> Value {
    json!({"iss": "https://id.example", "aud": "attache", "sub": subject, "exp": NOW + 3600})
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn jwt_config(keys: &str) -> String {
    format!(
        "[access.jwt]\nissuer = \"https://id.example\"\naudience = \"attache\"\nkeys = {keys:?}\nleeway_seconds = 30\n\
         [[access.allow]]\nwho = \"jwt:desk@*\"\nroles = [\"reader\", \"filer\"]\n"
    )
}

#[tokio::test]
async fn a_jwt_of_the_issuer_by_each_algorithm_is_taken() {
    let keys = [Key::ed25519("ed"), Key::p256("ec"), Key::rsa("rsa")];
    let files = Files::new(&jwt_config("keys.json"));
    files.write("keys.json", issuer::set(&keys.each_ref()));
    let (server, clock) = files.serve().await;
    for (index, key) in keys.iter().enumerate() {
        let caller = Caller::bearer(&server, &key.token(&claims("desk@az")));
        let filed = caller.file(&format!("v{index}"), "az").await;
        assert!(filed.is_ok(), "{}: {filed:?}", key.algorithm());
    }
    let several = with(claims("desk@az"), "aud", json!(["other", "attache"]));
    let caller = Caller::bearer(&server, &keys[0].token(&several));
    assert!(caller.info().await.is_ok(), "one of several audiences");
    let stranger = Caller::bearer(&server, &keys[0].token(&claims("stranger")));
    assert_eq!(refused(stranger.info().await), not_granted(), "known is not granted");
    clock.advance(Duration::from_secs(3600));
    assert!(caller.info().await.is_ok(), "clocks may be apart");
    clock.advance(Duration::from_secs(60));
    assert_eq!(refused(caller.info().await), expired());
    server.stop().await;
}

#[tokio::test]
async fn a_jwt_that_anybody_could_have_made_is_not_taken() {
    let (key, rsa, other) = (Key::ed25519("ed"), Key::rsa("rsa"), Key::ed25519("ed"));
    let files = Files::new(&jwt_config("keys.json"));
    files.write("keys.json", issuer::set(&[&key, &rsa]));
    let (server, _) = files.serve().await;
    let good = claims("desk@az");
    let mut torn = key.token(&good);
    torn.replace_range(torn.len() - 4.., "AAAA");
    let unsigned = format!("{}.{}.", issuer::b64(r#"{"alg":"none","kid":"ed"}"#), issuer::b64(good.to_string()));
    // An HMAC whose secret is the public key, which everybody has.
    let hmac = {
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, rsa.public()["n"].to_string().as_bytes());
        let message = format!("{}.{}", issuer::b64(r#"{"alg":"HS256","kid":"rsa"}"#), issuer::b64(good.to_string()));
        format!("{message}.{}", issuer::b64(ring::hmac::sign(&secret, message.as_bytes())))
    };
    let forged = [
        ("another's signature", other.token(&good)),
        ("a torn signature", torn),
        ("no signature", unsigned),
        ("an HMAC", hmac),
        ("a key's id with another algorithm", key.token_with(&json!({"alg": "RS256", "kid": "ed"}), &good)),
        ("extensions that must be understood", {
            let header = json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": true});
            key.token_with(&header, &good)
        }),
        ("no key's id", key.token_with(&json!({"alg": "EdDSA"}), &good)),
        ("an unknown key", key.token_with(&json!({"alg": "EdDSA", "kid": "new"}), &good)),
        ("another issuer", key.token(&with(good.clone(), "iss", json!("https://other.example")))),
        ("another audience", key.token(&with(good.clone(), "aud", json!("other")))),
        ("no end", key.token(&with(good.clone(), "exp", Value::Null))),
        ("no subject", key.token(&with(good.clone(), "sub", json!("")))),
        ("not yet", key.token(&with(good.clone(), "nbf", json!(NOW + 3000)))),
        ("too long", key.token(&with(good.clone(), "pad", json!("x".repeat(9000))))),
    ];
    for (what, token) in forged {
        assert_eq!(refused(Caller::bearer(&server, &token).info().await), missing(), "{what}");
    }
    for claim in ["exp", "sub", "iss", "aud"] {
        let mut lacking = good.clone();
        lacking.as_object_mut().unwrap().remove(claim);
        let token = key.token(&lacking);
        let refusal = Caller::bearer(&server, &token).info().await.expect_err("it is refused");
        assert_eq!(reason(&refusal), "CREDENTIAL_MISSING", "{claim}");
        assert_eq!(refusal.message(), format!("the JWT does not say {claim}"), "and nothing of the token");
    }
    let over = key.token(&with(good, "exp", json!(NOW - 3600)));
    assert_eq!(refused(Caller::bearer(&server, &over).info().await), expired());
    server.stop().await;
}

/// A caller whose token is taken once the keys were fetched that it is signed by.
async fn taken(caller: Caller) -> Caller {
    patiently("the keys", async {
        while let Err(status) = caller.info().await {
            assert_eq!(reason(&status), "CREDENTIAL_MISSING");
            tokio::task::yield_now().await;
        }
    })
    .await;
    caller
}

#[tokio::test]
async fn an_issuers_keys_are_fetched_and_fetched_again() {
    let (first, second) = (Key::ed25519("first"), Key::ed25519("second"));
    let publisher = Publisher::of(&[&first]);
    let files = Files::new(&jwt_config(&publisher.start().await));
    let (server, _) = files.serve().await;
    // (The clock moves with each question.)
    let lasting = with(claims("desk@az"), "exp", json!(NOW + 1_000_000_000));
    let (old, new) = (first.token(&lasting), second.token(&lasting));
    let (old, new) = (Caller::bearer(&server, &old), Caller::bearer(&server, &new));
    let old = taken(old).await;
    let watch = old.watch().await;
    publisher.publishes(Some(&[&second]));
    taken(new).await;
    assert_eq!(refused(old.info().await), missing(), "the key was withdrawn");
    let (_, error) = ends(watch).await;
    assert_eq!(error.map(|e| reason(&e)).as_deref(), Some("CREDENTIAL_EXPIRED"));
    server.stop().await;
}

#[tokio::test]
async fn keys_that_were_fetched_stay_in_force_while_the_issuer_does_not_answer() {
    let (first, second) = (Key::ed25519("first"), Key::ed25519("second"));
    let publisher = Publisher::of(&[&first]);
    let files = Files::new(&jwt_config(&publisher.start().await));
    let (server, _) = files.serve().await;
    // (The clock moves with each question.)
    let lasting = with(claims("desk@az"), "exp", json!(NOW + 1_000_000_000));
    let old = taken(Caller::bearer(&server, &first.token(&lasting))).await;
    publisher.publishes(None);
    let new = Caller::bearer(&server, &second.token(&lasting));
    // A key that is unknown has the issuer asked. The next question comes when the one before it has come to nothing.
    patiently("questions without an answer", async {
        while publisher.unanswered() < 3 {
            assert_eq!(refused(new.info().await), missing());
            tokio::task::yield_now().await;
        }
    })
    .await;
    let filed = old.file("v", "az").await;
    assert!(filed.is_ok(), "what was fetched is in force: {filed:?}");
    // (The last of them may not have been given up yet.)
    assert!(server.number(KEYS_REFUSED).await >= 2.0, "each is counted");
    assert!(server.number(KEYS_FAILED).await > 0.0, "and an alarm goes by the last");
    // And what is published when it answers again is fetched.
    publisher.publishes(Some(&[&second]));
    taken(new).await;
    assert_eq!(refused(old.info().await), missing(), "the key was withdrawn");
    server.until_number(KEYS_FAILED, 0.0).await;
    // Whoever made up tokens asked far more often.
    let pauses = publisher.pauses();
    assert!(pauses.len() >= 4 && pauses.iter().all(|pause| *pause >= KEYS_MIN_PAUSE), "{pauses:?}");
    server.stop().await;
}

/// How often an issuer's keys were asked for in vain, and whether they were the last time.
const KEYS_REFUSED: &str = "attache_reloads_total{what=\"keys\",outcome=\"refused\"}";
const KEYS_FAILED: &str = "attache_reload_failed{what=\"keys\"}";

/// Where an issuer publishes its keys.
#[derive(Clone, Default)]
struct Publisher {
    /// The set; `None` is no answer.
    set: Arc<Mutex<Option<String>>>,
    unanswered: Arc<AtomicUsize>,
    /// When it was asked.
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Publisher {
    fn of(keys: &[&Key]) -> Self {
        let publisher = Self::default();
        publisher.publishes(Some(keys));
        publisher
    }

    /// What it publishes from now on.
    fn publishes(&self, keys: Option<&[&Key]>) {
        *self.set.lock().unwrap() = keys.map(issuer::set);
    }

    /// How often it was asked and did not answer.
    fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// How long it was from each question to the next.
    fn pauses(&self) -> Vec<Duration> {
        self.asked.lock().unwrap().windows(2).map(|two| two[1] - two[0]).collect()
    }

    /// Publishes the set as it is when it is asked for, at the address that is answered here.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let publisher = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                publisher.answer(stream).await;
            }
        });
        format!("http://{address}/jwks.json")
    }

    /// Answers the one who asks on a connection.
    async fn answer(&self, mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        self.asked.lock().unwrap().push(Instant::now());
        let mut asked = [0; 1024];
        let _ = stream.read(&mut asked).await;
        let set = self.set.lock().unwrap().clone();
        let Some(body) = set else {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
            return;
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        // (TLS holds back what is not flushed, and says where it ends.)
        let _ = stream.shutdown().await;
    }
}
