//! Every reason of the catalogue that can be reached is provoked over the wire, and says all that it promises.

mod common;

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use attache::{
    clock,
    domain::token::{GENESIS, Phase, Token},
    feed,
    journal::{Append, Journal, Position, Settled, Trouble, Wake},
    pb::{
        self,
        log::Batch,
        v1::{self, ErrorReason as Reason, watch_events_request::Start},
    },
    serve::Parts,
};
use common::{FakeClock, START_US, TestServer, config, config_at, raw, shared_log, source, visit_report};
use prost::Message as _;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// What was provoked, and whether it left the log as it was.
struct Provoked {
    status: Status,
    before: String,
    after: String,
}

/// Long enough that the answer, which leaves a tenth of it earlier, wins against the client's own clock.
const DEADLINE: Duration = Duration::from_secs(2);

type Provoking = Pin<Box<dyn Future<Output = Provoked>>>;

/// What belongs to an error beside its code, reason and domain.
#[derive(Default)]
struct Details {
    /// Paths of `BadRequest`.
    fields: &'static [&'static str],
    /// The name in `ResourceInfo`.
    resource: Option<&'static str>,
    /// Whether `RetryInfo` says when to come again.
    retry: bool,
    /// Whether `PreconditionFailure` says what does not hold.
    precondition: bool,
    /// Whether `QuotaFailure` says what was exceeded.
    quota: bool,
    /// Keys of the metadata.
    metadata: &'static [&'static str],
}

struct Case {
    reason: Reason,
    code: Code,
    details: Details,
    provoke: fn() -> Provoking,
}

/// A case; the details are fields of [`Details`].
macro_rules! case {
    ($reason:ident, $code:ident, { $($field:ident: $value:expr),* }, $provoke:expr) => {
        Case {
            reason: Reason::$reason,
            code: Code::$code,
            details: Details { $($field: $value,)* ..Details::default() },
            provoke: || Box::pin($provoke),
        }
    };
}

fn cases() -> Vec<Case> {
    vec![
        case!(FieldInvalid, InvalidArgument, { fields: &["name"] }, plain(async |s| get(s, "trips/a").await)),
        case!(FieldInvalid, InvalidArgument, { fields: &["reports[0].visit.start.edtf", "reports[1].record"] },
        plain(async |s| {
            let reports = vec![visit_report("a", "a", "KZ", "AZ", "2023-02-30"), visit_report("B", "a", "KZ", "AZ", "2023")];
            file(s, reports).await
        })),
        case!(FilterInvalid, InvalidArgument, { fields: &["filters[1]", "filters[2].hosts[0]"] },
        plain(async |s| {
            let filters = vec![states_all(&["AZ"]), v1::Filter::default(), v1::Filter { hosts: vec!["ZZZ".into()], ..Default::default() }];
            let request = v1::ListVisitsRequest { filters, ..Default::default() };
            s.registry().list_visits(request).await.unwrap_err()
        })),
        case!(MaskInvalid, InvalidArgument, { fields: &["read_mask.paths[1]"] },
        plain(async |s| {
            let read_mask = Some(prost_types::FieldMask { paths: vec!["hosts".into(), "hosts.capital".into()] });
            let request = v1::GetVisitRequest { name: "visits/a".into(), read_mask, ..Default::default() };
            s.registry().get_visit(request).await.unwrap_err()
        })),
        case!(TokenMalformed, InvalidArgument, { fields: &["as_of.token"] }, plain(async |s| get_as_of(s, "nonsense").await)),
        case!(PageTokenMismatch, InvalidArgument, { fields: &["page_token"] },
        plain(async |s| {
            let request = v1::ListVisitsRequest { page_size: 1, ..Default::default() };
            let page_token = s.registry().list_visits(request).await.unwrap().into_inner().next_page_token;
            let request = v1::ListVisitsRequest { page_token, filters: vec![states_all(&["AZ"])], ..Default::default() };
            s.registry().list_visits(request).await.unwrap_err()
        })),
        case!(TokenFilterMismatch, InvalidArgument, { fields: &["after"] },
        plain(async |s| {
            let request = v1::WatchEventsRequest { start: Some(Start::Snapshot(())), ..Default::default() };
            let started = s.feed().watch_events(request).await.unwrap().into_inner().message().await.unwrap().unwrap();
            let start = Some(Start::After(started.token));
            let request = v1::WatchEventsRequest { filters: vec![states_all(&["AZ"])], start, ..Default::default() };
            watch(s, request).await
        })),
        case!(RequestIdReused, InvalidArgument, { fields: &["request_id"] },
        plain(async |s| {
            let reports = vec![visit_report("c", "a", "KZ", "AZ", "2023-01-01")];
            let request = v1::FileReportsRequest { reports, request_id: Some("seeded".into()), ..Default::default() };
            s.filing().file_reports(request).await.unwrap_err()
        })),
        case!(RecordNotFound, NotFound, { resource: Some("visits/nobody") }, plain(async |s| get(s, "visits/nobody").await)),
        case!(RecordNotFound, NotFound, { resource: Some("sources/nobody") },
            plain(async |s| retract(s, v1::retract_reports_request::Selection::Source("sources/nobody".into())).await)),
        case!(RecordNotFound, NotFound, { resource: Some("visits/a/reports/nobody") },
            plain(async |s| retract(s, v1::retract_reports_request::Selection::Report("visits/a/reports/nobody".into())).await)),
        case!(RecordNotFound, NotFound, { resource: Some("nobody") },
            plain(async |s| s.feed().get_cursor(v1::GetCursorRequest { name: "nobody".into() }).await.unwrap_err())),
        case!(RecordRetracted, NotFound, { resource: Some("visits/gone"), metadata: &["last_token"] },
            plain(async |s| get(s, "visits/gone").await)),
        case!(RecordRedacted, NotFound, { resource: Some("visits/a"), metadata: &["redacted_by"] },
            async { on(redacted().await, async |s| get(s, "visits/a").await).await }),
        case!(EtagMismatch, Aborted, { resource: Some("visits/a/reports/a"), metadata: &["etag"] },
        plain(async |s| {
            let preconditions = vec![v1::ReportPrecondition { report: "visits/a/reports/a".into(), expected_etag: String::new() }];
            let reports = vec![visit_report("a", "a", "KZ", "AZ", "2023-01-01")];
            s.filing().file_reports(v1::FileReportsRequest { reports, preconditions, ..Default::default() }).await.unwrap_err()
        })),
        case!(EtagMismatch, Aborted, { resource: Some("c"), metadata: &["etag"] },
        plain(async |s| {
            let at = |position: String, expected: Option<&str>| {
                let expected_etag = expected.map(Into::into);
                v1::CommitCursorRequest { name: "c".into(), position, expected_etag }
            };
            s.feed().commit_cursor(at(genesis(s.token.as_str()), None)).await.unwrap();
            s.feed().commit_cursor(at(s.token.to_string(), Some("other"))).await.unwrap_err()
        })),
        case!(Contention, Aborted, { retry: true }, misbehaving(Mood::Contended, async |s| file_one(s).await)),
        case!(HistoryTrimmed, OutOfRange, { fields: &["as_of.time"], metadata: &["oldest_token"] },
        plain(async |s| {
            let as_of = Some(v1::AsOf { position: Some(v1::as_of::Position::Time(clock::timestamp(START_US - 1))) });
            let request = v1::GetVisitRequest { name: "visits/a".into(), as_of, ..Default::default() };
            s.registry().get_visit(request).await.unwrap_err()
        })),
        case!(TokenInFuture, OutOfRange, { fields: &["as_of.token"], metadata: &["head_token"] },
            plain(async |s| get_as_of(s, &ahead(&s.token)).await)),
        case!(LogReplaced, FailedPrecondition, { fields: &["as_of.token"], precondition: true },
        plain(async |s| {
            let stranger = Token::at(uuid::Uuid::new_v4(), 0, &GENESIS).encode();
            get_as_of(s, &stranger).await
        })),
        // The same log and revision, but another history.
        case!(LogReplaced, FailedPrecondition, { fields: &["after"], precondition: true },
        plain(async |s| {
            let own = Token::decode(&s.token, "").unwrap();
            let start = Some(Start::After(Token { hash: [7; 8], ..own }.encode()));
            watch(s, v1::WatchEventsRequest { start, ..Default::default() }).await
        })),
        case!(ReplicaBehind, Unavailable, { retry: true },
        misbehaving(Mood::Ahead, async |s| {
            let at_least = Some(ahead(&s.token));
            let mut request = Request::new(v1::GetVisitRequest { name: "visits/a".into(), at_least, ..Default::default() });
            request.set_timeout(DEADLINE);
            s.registry().get_visit(request).await.unwrap_err()
        })),
        case!(JournalUnavailable, Unavailable, { retry: true }, misbehaving(Mood::Unreachable, async |s| file_one(s).await)),
        case!(JournalUnavailable, Unavailable, { retry: true },
        misbehaving(Mood::Unreachable, async |s| {
            let start = Some(v1::watch_events_request::Start::After(ahead(&head(s).await)));
            watch(s, v1::WatchEventsRequest { start, ..Default::default() }).await
        })),
        case!(StorageFull, Unavailable, { retry: true }, full_store()),
        case!(Draining, Unavailable, { retry: true }, draining()),
        case!(Overloaded, Unavailable, { retry: true }, overloaded()),
        case!(OutcomeUnknown, Unknown, { retry: true }, stuck(Stuck::InHand)),
        case!(Deadline, DeadlineExceeded, {}, stuck(Stuck::Waiting)),
        case!(QuotaExceeded, ResourceExhausted, { quota: true, metadata: &["limit"] }, one_watch_too_many()),
        case!(TooLarge, ResourceExhausted, { fields: &["reports[0]"], quota: true, metadata: &["limit"] },
            plain(async |s| file(s, vec![heavy(1 << 20)]).await)),
        case!(TooLarge, ResourceExhausted, { fields: &["names"], quota: true, metadata: &["limit"] },
        plain(async |s| {
            let request = v1::BatchGetRecordsRequest { names: vec!["visits/a".into(); 1001], ..Default::default() };
            s.registry().batch_get_records(request).await.unwrap_err()
        })),
        case!(TooLarge, ResourceExhausted, { quota: true, metadata: &["limit"] },
        plain(async |s| {
            // Each report fits, the entry that they make does not.
            let many = (0..40).map(|i| visit_report_with_note(&format!("n{i}"), 40_000)).collect();
            file(s, many).await
        })),
        case!(LogDiverged, DataLoss, {}, smuggled(|own| Batch { previous_hash: vec![7; 32], ..own }.encode_to_vec())),
        case!(EntryCorrupt, DataLoss, {}, smuggled(|_| b"no batch at all".to_vec())),
        case!(Internal, Internal, { metadata: &["correlation_id"] }, broken_store()),
    ]
}

/// Reasons that nothing provokes here, and why. Keep it short.
const NOT_HERE: &[(Reason, &str)] = &[
    (Reason::Unspecified, "no error has it: it is what a client's old code reads"),
    (Reason::CredentialMissing, "needs rules of access: `tests/access` provokes it"),
    (Reason::CredentialExpired, "see CredentialMissing"),
    (Reason::RoleRequired, "see CredentialMissing"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reason_comes_with_its_code_and_details_and_changes_nothing() {
    let mut faults = Vec::new();
    for (index, case) in cases().iter().enumerate() {
        let provoked = (case.provoke)().await;
        let found = check(case, &provoked);
        faults
            .extend(found.into_iter().map(|f| format!("case {index}, {:?}: {f}; {:?}", case.reason, provoked.status)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_reason_of_the_contract_is_provoked_or_says_why_not() {
    let provoked: BTreeSet<i32> = cases().iter().map(|c| c.reason as i32).collect();
    let excused: BTreeSet<i32> = NOT_HERE.iter().map(|(reason, _)| *reason as i32).collect();
    assert!(provoked.is_disjoint(&excused), "what is provoked needs no excuse");
    let catalogue = pb::POOL.get_enum_by_name("attache.v1.ErrorReason").unwrap();
    for value in catalogue.values() {
        let known = provoked.contains(&value.number()) || excused.contains(&value.number());
        assert!(known, "{} is neither provoked nor excused", value.name());
    }
}

fn check(case: &Case, provoked: &Provoked) -> Vec<String> {
    let mut faults = Vec::new();
    let mut demand = |holds: bool, what: String| {
        if !holds {
            faults.push(what)
        }
    };
    let (status, expected) = (&provoked.status, &case.details);
    let details = status.get_error_details();
    demand(status.code() == case.code, format!("code {:?}", status.code()));
    let (reason, domain, metadata) = details
        .error_info()
        .map_or_else(Default::default, |i| (i.reason.clone(), i.domain.clone(), i.metadata.clone()));
    let word = case.reason.as_str_name().trim_start_matches("ERROR_REASON_");
    demand(reason == word && domain == "attache", format!("info {reason} of {domain}"));
    let mut keys: Vec<&str> = metadata.keys().map(String::as_str).collect();
    keys.sort_unstable();
    demand(keys == expected.metadata, format!("metadata {keys:?}"));
    demand(metadata.values().all(|v| !v.is_empty()), format!("empty metadata {metadata:?}"));
    let fields: Vec<String> =
        details.bad_request().map(|b| b.field_violations.iter().map(|v| v.field.clone()).collect()).unwrap_or_default();
    demand(fields == expected.fields, format!("fields {fields:?}"));
    let resource = details.resource_info().map(|r| r.resource_name.as_str());
    demand(resource == expected.resource, format!("resource {resource:?}"));
    let retry = details.retry_info().and_then(|r| r.retry_delay);
    demand(retry.is_some() == expected.retry && retry.is_none_or(|d| !d.is_zero()), format!("retry {retry:?}"));
    let precondition = details.precondition_failure().map(|p| p.violations.len());
    demand(precondition == expected.precondition.then_some(1), format!("preconditions {precondition:?}"));
    let quota = details.quota_failure().map(|q| q.violations.len());
    demand(quota == expected.quota.then_some(1), format!("quotas {quota:?}"));
    demand(!status.message().is_empty(), "no message".to_owned());
    demand(provoked.before == provoked.after, "the log moved".to_owned());
    faults
}

// Servers in which things go wrong.

/// A server with a visit that stands, one that is retracted, and a request id that was used; and its newest token.
struct Seeded {
    server: TestServer,
    token: String,
}

impl std::ops::Deref for Seeded {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

async fn seeded(server: TestServer) -> Seeded {
    let reports =
        vec![visit_report("a", "a", "KZ", "AZ", "2023-10-06"), visit_report("gone", "b", "KZ", "AZ", "2023-11")];
    let request = v1::FileReportsRequest { reports, request_id: Some("seeded".into()), ..Default::default() };
    server.filing().file_reports(request).await.unwrap();
    let selection = Some(v1::retract_reports_request::Selection::Source("sources/b".into()));
    let reason = v1::RetractionReason::FilerError.into();
    let request = v1::RetractReportsRequest { selection, reason, ..Default::default() };
    let token = server.filing().retract_reports(request).await.unwrap().into_inner().token;
    Seeded { server, token }
}

/// A server whose only report of a record was erased.
async fn redacted() -> Seeded {
    let Seeded { server, .. } = seeded(TestServer::start().await).await;
    let what = Some(v1::redact_request::What::Report("visits/a/reports/a".into()));
    let request = v1::RedactRequest { what, reason: "by order".into(), dry_run: false };
    let token = server.log().redact(request).await.unwrap().into_inner().token;
    Seeded { server, token }
}

async fn head(server: &TestServer) -> String {
    server.log().get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner().token
}

async fn on(server: Seeded, ask: impl AsyncFnOnce(&Seeded) -> Status) -> Provoked {
    let before = head(&server).await;
    let status = ask(&server).await;
    let after = head(&server).await;
    server.server.stop().await;
    Provoked { status, before, after }
}

async fn plain(ask: impl AsyncFnOnce(&Seeded) -> Status) -> Provoked {
    on(seeded(TestServer::start().await).await, ask).await
}

fn parts(journal: impl Journal) -> Parts {
    Parts { journal: Arc::new(journal), clock: Arc::new(FakeClock::default()), ..Parts::default() }
}

/// How a journal behaves once it is told to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Another writer is always faster.
    Contended,
    /// It has a batch that does not come through.
    Ahead,
    /// It cannot be reached.
    Unreachable,
}

/// A shared log that misbehaves from some moment on.
#[derive(Clone)]
struct Moody {
    log: shared_log::SharedLog,
    mood: Mood,
    on: Arc<AtomicBool>,
}

impl Moody {
    fn now(&self, mood: Mood) -> bool {
        self.mood == mood && self.on.load(Ordering::SeqCst)
    }
}

impl Journal for Moody {
    fn append(&self, after: Position, batch: &[u8]) -> Append {
        if self.now(Mood::Unreachable) {
            return Append::NotSent("the network is down".into());
        }
        if self.now(Mood::Contended) {
            let own = Batch::decode(batch).unwrap();
            self.log.smuggle(Batch { entries: Vec::new(), ..own }.encode_to_vec());
        }
        self.log.append(after, batch)
    }

    fn settle(&self, after: Position, batch: &[u8]) -> Settled {
        self.log.settle(after, batch)
    }

    fn head(&self) -> Result<Option<Position>, Trouble> {
        if self.now(Mood::Unreachable) {
            return Err(Trouble::Unreachable("the network is down".into()));
        }
        let more = Position::from(self.now(Mood::Ahead));
        self.log.head().map(|head| head.map(|h| h + more))
    }

    fn follow(&self, after: Position, limit: usize) -> Result<Vec<(Position, Vec<u8>)>, Trouble> {
        self.log.follow(after, limit)
    }

    fn on_arrival(&self, wake: Wake) {
        self.log.on_arrival(wake);
    }

    fn trim(&self, up_to: Position) -> Result<(), Trouble> {
        self.log.trim(up_to)
    }
}

async fn misbehaving(mood: Mood, ask: impl AsyncFnOnce(&Seeded) -> Status) -> Provoked {
    let journal = Moody { log: shared_log::SharedLog::default(), mood, on: Arc::default() };
    let server = seeded(TestServer::with(config(), parts(journal.clone())).await).await;
    on(server, async |s| {
        journal.on.store(true, Ordering::SeqCst);
        ask(s).await
    })
    .await
}

/// A log into which somebody puts a batch that does not belong there.
async fn smuggled(batch: fn(Batch) -> Vec<u8>) -> Provoked {
    let log = shared_log::SharedLog::default();
    let server = seeded(TestServer::with(config(), parts(log.clone())).await).await;
    on(server, async |s| {
        let next = Token::decode(&s.token, "").unwrap().revision + 1;
        let own = Batch::decode(log.batches().last().unwrap().as_slice()).unwrap();
        log.smuggle(batch(Batch { first_revision: next, entries: Vec::new(), ..own }));
        // The writer hears of it before the next filing, or with it.
        file_one(s).await
    })
    .await
}

/// A journal whose appends wait until they are let through.
#[derive(Clone)]
struct Gated {
    log: shared_log::SharedLog,
    closed: Arc<AtomicBool>,
    arrived: Arc<AtomicU64>,
    gate: Arc<std::sync::Mutex<mpsc::Receiver<()>>>,
}

impl Journal for Gated {
    fn append(&self, after: Position, batch: &[u8]) -> Append {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) {
            // Open once its sender is dropped.
            let _ = self.gate.lock().unwrap().recv();
        }
        self.log.append(after, batch)
    }

    fn settle(&self, after: Position, batch: &[u8]) -> Settled {
        self.log.settle(after, batch)
    }

    fn head(&self) -> Result<Option<Position>, Trouble> {
        self.log.head()
    }

    fn follow(&self, after: Position, limit: usize) -> Result<Vec<(Position, Vec<u8>)>, Trouble> {
        self.log.follow(after, limit)
    }

    fn on_arrival(&self, wake: Wake) {
        self.log.on_arrival(wake);
    }

    fn trim(&self, up_to: Position) -> Result<(), Trouble> {
        self.log.trim(up_to)
    }
}

/// A server whose writer holds one filing in its hands, waiting for the journal.
struct Held {
    server: Seeded,
    held: tokio::task::JoinHandle<Result<(), Status>>,
    open: mpsc::SyncSender<()>,
}

async fn held(deadline: Option<Duration>) -> Held {
    let (open, gate) = mpsc::sync_channel(0);
    let journal = Gated {
        log: shared_log::SharedLog::default(),
        closed: Arc::default(),
        arrived: Arc::default(),
        gate: Arc::new(std::sync::Mutex::new(gate)),
    };
    let server = seeded(TestServer::with(config(), parts(journal.clone())).await).await;
    journal.closed.store(true, Ordering::SeqCst);
    let before = journal.arrived.load(Ordering::SeqCst);
    let (mut filing, mut request) = (server.filing(), Request::new(one_report("held")));
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    let held = tokio::spawn(async move { filing.file_reports(request).await.map(drop) });
    while journal.arrived.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
    Held { server, held, open }
}

/// Where a filing is when its deadline passes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stuck {
    /// The writer has it.
    InHand,
    /// It waits its turn.
    Waiting,
}

async fn stuck(which: Stuck) -> Provoked {
    let Held { server, held, open } = held((which == Stuck::InHand).then_some(DEADLINE)).await;
    let before = head(&server).await;
    let (status, after) = if which == Stuck::InHand {
        let status = held.await.unwrap().unwrap_err();
        (status, head(&server).await)
    } else {
        let mut request = Request::new(one_report("waiting"));
        request.set_timeout(DEADLINE);
        let status = server.filing().file_reports(request).await.unwrap_err();
        let after = head(&server).await;
        drop(open);
        held.await.unwrap().unwrap();
        // What was given up while it waited is not filed later either.
        file_one(&server).await;
        assert_eq!(get(&server, "visits/waiting").await.code(), Code::NotFound);
        return Provoked { status, before, after };
    };
    drop(open);
    server.server.stop().await;
    Provoked { status, before, after }
}

/// More filings than wait for the writer while it is busy.
async fn overloaded() -> Provoked {
    let Held { server, held, open } = held(None).await;
    let before = head(&server).await;
    let mut filings = tokio::task::JoinSet::new();
    let (refusals, mut refused) = tokio::sync::mpsc::channel(1);
    for connection in 0..2 {
        let channel = server.narrow_channel();
        for index in 0..600 {
            let mut filing = v1::filing_service_client::FilingServiceClient::new(channel.clone());
            let request = one_report(&format!("o{connection}-{index}"));
            let refusals = refusals.clone();
            filings.spawn(async move {
                if let Err(status) = filing.file_reports(request).await {
                    let _ = refusals.try_send(status);
                }
            });
        }
    }
    drop(refusals);
    let status = refused.recv().await.expect("one of 1200 is refused while 1024 wait");
    let after = head(&server).await;
    drop(open);
    held.await.unwrap().unwrap();
    while filings.join_next().await.is_some() {}
    server.server.stop().await;
    Provoked { status, before, after }
}

async fn full_store() -> Provoked {
    let config = attache::config::Config { max_store_bytes: Some(1 << 20), ..config() };
    let server =
        seeded(TestServer::with(config, Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await)
            .await;
    for index in 0.. {
        let before = head(&server).await;
        let request = v1::FileReportsRequest {
            reports: vec![visit_report_with_note(&format!("n{index}"), 50_000)],
            ..Default::default()
        };
        if let Err(status) = server.filing().file_reports(request).await {
            let after = head(&server).await;
            // Reads go on.
            assert_eq!(get(&server, "visits/nobody").await.code(), Code::NotFound);
            server.server.stop().await;
            return Provoked { status, before, after };
        }
    }
    unreachable!("a store of a megabyte is full at some time")
}

/// A filing that was under way when the drain began, and arrives whole afterwards.
async fn draining() -> Provoked {
    let mut server = seeded(TestServer::start().await).await;
    let before = head(&server).await;
    let filing = raw::begin(&server.channel, "attache.v1.FilingService/FileReports", &[]).await;
    let asking = raw::begin(&server.channel, "attache.v1.LogService/GetLogInfo", &[]).await;
    let mut watch = server.feed().watch_events(v1::WatchEventsRequest::default()).await.unwrap().into_inner();
    server.server.drain();
    while let Some(frame) = watch.message().await.unwrap() {
        if matches!(frame.frame, Some(v1::watch_events_response::Frame::GoingAway(_))) {
            break;
        }
    }
    filing.send(raw::framed(&one_report("late").encode_to_vec())).await;
    let status = filing.answer().await.status;
    asking.send(raw::framed(&[])).await;
    let told = asking.answer().await;
    let after = v1::GetLogInfoResponse::decode(&told.body[5..]).unwrap().token;
    drop(watch);
    server.server.ended().await;
    Provoked { status, before, after }
}

async fn one_watch_too_many() -> Provoked {
    let config =
        attache::config::Config { feed: feed::Settings { max_watches: 1, ..feed::Settings::default() }, ..config() };
    let server = TestServer::with(config, Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await;
    on(seeded(server).await, async |s| {
        let mut first = s.feed().watch_events(v1::WatchEventsRequest::default()).await.unwrap().into_inner();
        first.message().await.unwrap();
        watch(s, v1::WatchEventsRequest::default()).await
    })
    .await
}

/// A store that loses a table under the server's feet.
async fn broken_store() -> Provoked {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() };
    let server = seeded(TestServer::with(config_at(folder.path()), parts).await).await;
    let store = rusqlite::Connection::open(folder.path().join(attache::store::FILE)).unwrap();
    store.execute_batch("ALTER TABLE sources RENAME TO lost").unwrap();
    let provoked =
        on(server, async |s| s.registry().list_sources(v1::ListSourcesRequest::default()).await.unwrap_err()).await;
    let words = format!("{:?}", provoked.status.get_error_details()) + provoked.status.message();
    assert!(!words.contains("table") && !words.contains("sqlite"), "no detail leaves the server: {words}");
    provoked
}

// Requests.

fn states_all(states: &[&str]) -> v1::Filter {
    v1::Filter { states_all: states.iter().map(ToString::to_string).collect(), ..Default::default() }
}

fn one_report(id: &str) -> v1::FileReportsRequest {
    v1::FileReportsRequest { reports: vec![visit_report(id, "a", "KZ", "AZ", "2023-05-05")], ..Default::default() }
}

/// A report with as many bytes as its statements hold.
fn visit_report_with_note(id: &str, bytes: usize) -> v1::Report {
    let statement = || v1::Statement { summary: Some("x".repeat(4000)), ..Default::default() };
    let statements = std::iter::repeat_with(statement).take(bytes / 4000).collect();
    let visit = v1::Visit { statements, ..Default::default() };
    common::visit_report_of(id, "a", visit)
}

fn heavy(bytes: usize) -> v1::Report {
    let visit = v1::Visit { note: Some("x".repeat(bytes)), ..Default::default() };
    v1::Report { source: Some(source("a")), ..common::visit_report_of("heavy", "a", visit) }
}

/// The position before anything in the log of a token.
fn genesis(token: &str) -> String {
    Token::at(Token::decode(token, "").unwrap().epoch, 0, &GENESIS).encode()
}

/// A position of this log that it has not reached.
fn ahead(token: &str) -> String {
    let token = Token::decode(token, "").unwrap();
    Token { revision: token.revision + 1, hash: [1; 8], phase: Phase::Whole, ..token }.encode()
}

async fn get(server: &TestServer, name: &str) -> Status {
    server.registry().get_visit(v1::GetVisitRequest { name: name.into(), ..Default::default() }).await.unwrap_err()
}

async fn get_as_of(server: &TestServer, token: &str) -> Status {
    let as_of = Some(v1::AsOf { position: Some(v1::as_of::Position::Token(token.into())) });
    let request = v1::GetVisitRequest { name: "visits/a".into(), as_of, ..Default::default() };
    server.registry().get_visit(request).await.unwrap_err()
}

async fn file(server: &TestServer, reports: Vec<v1::Report>) -> Status {
    server.filing().file_reports(v1::FileReportsRequest { reports, ..Default::default() }).await.unwrap_err()
}

/// Files one more report where filings are refused; where they are not it answers OK.
async fn file_one(server: &TestServer) -> Status {
    server.filing().file_reports(one_report("one-more")).await.map_or_else(|s| s, |_| Status::new(Code::Ok, "filed"))
}

async fn retract(server: &TestServer, selection: v1::retract_reports_request::Selection) -> Status {
    let reason = v1::RetractionReason::FilerError.into();
    let request = v1::RetractReportsRequest { selection: Some(selection), reason, ..Default::default() };
    server.filing().retract_reports(request).await.unwrap_err()
}

async fn watch(server: &TestServer, request: v1::WatchEventsRequest) -> Status {
    server.feed().watch_events(request).await.map(drop).unwrap_err()
}
