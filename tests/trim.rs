//! Trimming: what is older than the log's floor is refused, and everything else reads as before, while the rows are there
//! and when they are gone.

mod common;

use std::{future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use attache::{
    clock::Clock,
    config::Config,
    domain::report::Report,
    journal::{Embedded, Journal},
    limits::SWEEP_GRACE,
    pb::{
        log::{Batch, EntryPayload},
        v1::{self, Intent, as_of, list_events_request, retract_reports_request::Selection, trim_log_request::Keep},
    },
    serve::Parts,
    store::{self, Options, Store, trim, verify},
    sweep,
    writer::{self, Act, Request},
};
use common::{
    FakeClock, TestServer, config, config_at, observed,
    scribe::{Acked, Scribe},
    shared_log::{Lagging, SharedLog},
    source, visit_report,
    watching::*,
};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// Acts of the history; at six hours each a month.
const ACTS: usize = 120;
const STEP: Duration = Duration::from_secs(6 * 3600);

async fn start(folder: &Path, clock: &Arc<FakeClock>) -> TestServer {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    TestServer::with(observed(config_at(folder)), Parts { clock, ..Parts::default() }).await
}

/// A history of records that move, and where each act left the log.
async fn history(server: &TestServer, clock: &FakeClock) -> Vec<Acked> {
    let mut scribe = Scribe::moving("moving");
    let mut acked = Vec::new();
    for _ in 0..ACTS {
        acked.push(scribe.act(&mut server.filing()).await);
        clock.advance(STEP);
    }
    acked.retain(|act| act.revision > 0);
    acked
}

async fn trim(server: &TestServer, keep: Keep, dry_run: bool) -> Result<v1::TrimLogResponse, Status> {
    server.log().trim_log(v1::TrimLogRequest { keep: Some(keep), dry_run }).await.map(tonic::Response::into_inner)
}

/// Everything that the registry says as of a position.
#[derive(Debug, PartialEq)]
struct Said {
    visits: Vec<v1::Visit>,
    agreements: Vec<v1::Agreement>,
    reports: Vec<v1::ListedReport>,
    found: Vec<v1::SearchResult>,
    explained: Vec<v1::ExplainRecordResponse>,
}

async fn said(server: &TestServer, token: &str) -> Said {
    let as_of = || Some(v1::AsOf { position: Some(as_of::Position::Token(token.to_owned())) });
    let mut registry = server.registry();
    let asked = v1::ListVisitsRequest { as_of: as_of(), page_size: 1000, ..Default::default() };
    let visits = registry.list_visits(asked).await.expect("visits").into_inner().visits;
    let asked = v1::ListAgreementsRequest { as_of: as_of(), page_size: 1000, ..Default::default() };
    let agreements = registry.list_agreements(asked).await.expect("agreements").into_inner().agreements;
    let asked =
        v1::SearchRecordsRequest { query: "moving".into(), as_of: as_of(), page_size: 200, ..Default::default() };
    let found = registry.search_records(asked).await.expect("results").into_inner().results;
    let names = visits.iter().map(|v| v.name.clone()).chain(agreements.iter().map(|a| a.name.clone()));
    let (mut reports, mut explained) = (Vec::new(), Vec::new());
    for name in names {
        let asked = v1::ListReportsRequest { parent: name.clone(), as_of: as_of(), ..Default::default() };
        reports.extend(registry.list_reports(asked).await.expect("reports").into_inner().reports);
        let asked = v1::ExplainRecordRequest { name, as_of: as_of(), ..Default::default() };
        explained.push(registry.explain_record(asked).await.expect("an explanation").into_inner());
    }
    Said { visits, agreements, reports, found, explained }
}

/// The events after a position, by a watch and by pages, which must agree.
async fn events_after(server: &TestServer, token: &str) -> Vec<v1::Event> {
    let watched = server.replay(until_caught_up(after(token))).await;
    let start = Some(list_events_request::Start::After(token.to_owned()));
    let listed = server.list_events(v1::ListEventsRequest { start, ..Default::default() }).await;
    assert_eq!(listed.iter().map(bare).collect::<Vec<_>>(), watched.iter().map(bare).collect::<Vec<_>>());
    watched
}

/// Drops every row that the floor has made superfluous, as a server does in its own time; how many it took.
fn sweep(folder: &Path) -> usize {
    let (_store, write) = store::open(folder, &Options::default()).expect("the store opens");
    let floor = write.head().floor;
    let mut portions = 1;
    while trim::sweep(&write.connection, floor, 16).expect("it sweeps") {
        portions += 1;
    }
    portions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_reads_as_before_whether_the_rest_is_there_or_gone() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Arc::new(FakeClock::on("2023-06-01")));
    let server = start(folder.path(), &clock).await;
    let acked = history(&server, &clock).await;
    let (gone, kept) = acked.split_at(acked.len() / 2);
    let oldest = gone.last().expect("half of it").token.clone();
    let positions: Vec<&String> = std::iter::once(&oldest).chain(kept.iter().step_by(9).map(|a| &a.token)).collect();
    let newest = kept.last().expect("half of it").token.clone();
    let mut before = Vec::new();
    for token in &positions {
        before.push(said(&server, token).await);
    }
    let events = events_after(&server, &oldest).await;

    let planned = trim(&server, Keep::AfterToken(oldest.clone()), true).await.expect("a dry run");
    assert_eq!(planned.revisions, gone.last().expect("half of it").revision);
    assert!(planned.events > 0 && planned.bytes > 0 && planned.revision == 0, "{planned:?}");
    said(&server, &acked[0].token).await;
    assert_eq!(server.number("attache_floor").await, 0.0);
    let done = trim(&server, Keep::AfterToken(oldest.clone()), false).await.expect("it is trimmed");
    assert_eq!(server.number("attache_floor").await, f64::from(u32::try_from(planned.revisions).unwrap()));
    let facts = |r: &v1::TrimLogResponse| (r.revisions, r.events, r.bytes, r.oldest_token.clone());
    assert_eq!(facts(&done), facts(&planned), "as the dry run said");
    assert_eq!(done.oldest_token, oldest);

    let mut server = server;
    for state in ["there", "gone"] {
        for (token, before) in positions.iter().zip(&before) {
            assert_eq!(said(&server, token).await, *before, "the rows are {state}");
        }
        let now = events_after(&server, &oldest).await;
        assert_eq!(now[..events.len()], events, "the rows are {state}");
        assert_eq!(server.replay(until_caught_up(from_oldest())).await, now, "the oldest position is the floor");
        refuses_what_is_older(&server, &gone[gone.len() / 2], &oldest).await;
        // What was seen long ago was seen.
        let asked = v1::ListVisitsRequest { at_least: Some(gone[0].token.clone()), ..Default::default() };
        server.registry().list_visits(asked).await.expect("it is applied here");
        if state == "there" {
            server.stop().await;
            assert!(sweep(folder.path()) > 1, "in portions");
            assert_eq!(sweep(folder.path()), 1, "nothing is left to drop");
            let sound = verify::all(folder.path(), |_| {}).expect("it is sound");
            assert_eq!(sound.entries, sound.head.revision - sound.head.floor, "what is older is gone");
            server = start(folder.path(), &clock).await;
        }
    }
    let again = trim(&server, Keep::AfterToken(oldest.clone()), false).await.expect("nothing to do");
    assert_eq!((again.revisions, again.revision), (0, 0));
    let older = trim(&server, Keep::AfterToken(gone[0].token.clone()), false).await.expect("nothing to do");
    assert_eq!((older.revisions, older.revision, &older.oldest_token), (0, 0, &oldest));
    assert_ne!(server.token().await, newest, "the trim has a revision of its own");
    server.stop().await;
}

async fn refuses_what_is_older(server: &TestServer, old: &Acked, oldest: &str) {
    let refused = |status: Status| {
        assert_eq!((reason(&status).as_str(), status.code()), ("HISTORY_TRIMMED", Code::OutOfRange), "{status:?}");
        let details = tonic_types::StatusExt::get_error_details(&status);
        let told = details.error_info().and_then(|info| info.metadata.get("oldest_token").cloned());
        assert_eq!(told.as_deref(), Some(oldest), "it says where one can begin");
    };
    let token = || old.token.clone();
    let as_of = Some(v1::AsOf { position: Some(as_of::Position::Token(token())) });
    let asked = v1::ListVisitsRequest { as_of, ..Default::default() };
    refused(server.registry().list_visits(asked).await.expect_err("it is gone"));
    refused(Watching::open(server.feed(), after(&old.token)).await.err().expect("it is gone"));
    let start = Some(list_events_request::Start::After(token()));
    let asked = v1::ListEventsRequest { start, ..Default::default() };
    refused(server.feed().list_events(asked).await.expect_err("it is gone"));
    let long_ago = old.events[0].time.expect("a time");
    let time = || prost_types::Timestamp { seconds: long_ago.seconds - 1, nanos: 0 };
    let as_of = Some(v1::AsOf { position: Some(as_of::Position::Time(time())) });
    let asked = v1::ListVisitsRequest { as_of, ..Default::default() };
    refused(server.registry().list_visits(asked).await.expect_err("it is gone"));
    let start = Some(v1::watch_events_request::Start::FromTime(time()));
    let asked = v1::WatchEventsRequest { start, ..Default::default() };
    refused(Watching::open(server.feed(), asked).await.err().expect("it is gone"));
}

/// Why a trim is refused.
fn why(status: &Status) -> String {
    assert_eq!(reason(status), "FIELD_INVALID");
    let details = tonic_types::StatusExt::get_error_details(status);
    details.bad_request().expect("a field").field_violations[0].description.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_young_or_not_there_or_nothing_is_not_trimmed() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Arc::new(FakeClock::on("2023-06-01")));
    let server = start(folder.path(), &clock).await;
    let acked = history(&server, &clock).await;
    let newest = acked.last().expect("something").revision;
    let log_before = server.token().await;
    let young = acked[acked.len() - 2].token.clone();
    for (keep, said) in [
        (Keep::AfterToken(young), "too young"),
        (Keep::FromRevision(newest + 100), "after the newest revision"),
        (Keep::FromRevision(0), "begin with 1"),
    ] {
        for dry_run in [true, false] {
            let status = trim(&server, keep.clone(), dry_run).await.expect_err("it is refused");
            assert!(why(&status).contains(said), "{status:?}");
        }
    }
    let nothing = server.log().trim_log(v1::TrimLogRequest::default()).await.expect_err("nothing is asked");
    assert_eq!(reason(&nothing), "FIELD_INVALID");
    assert_eq!(server.token().await, log_before, "nothing was recorded");
    assert_eq!(verify::folder(folder.path()).expect("it is sound").head.floor, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_younger_than_two_days_is_trimmed_though_recorded_time_is_ahead_of_the_clock() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Arc::new(FakeClock::on("2023-06-01")));
    let server = start(folder.path(), &clock).await;
    let filed = async |id: &str| server.file(vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")]).await.revision;
    let old = filed("old").await;
    clock.jump_to("2023-06-04");
    let young = filed("young").await;
    // Too far for the registry's day to follow.
    clock.jump_to("2023-07-21");
    let ahead = filed("ahead").await;
    clock.jump_to("2023-06-05");
    let late = filed("late").await;
    let now: jiff::Timestamp = "2023-06-05T06:00:00Z".parse().expect("an instant");
    let now = prost_types::Timestamp { seconds: now.as_second(), nanos: 0 };
    // Each would drop what was filed a day ago, and some what was filed since.
    let revisions = [young + 1, ahead + 1, late].map(Keep::FromRevision);
    for keep in std::iter::once(Keep::Since(now)).chain(revisions) {
        for dry_run in [true, false] {
            let status = trim(&server, keep.clone(), dry_run).await.expect_err("it is refused");
            assert!(why(&status).contains("too young"), "{keep:?}: {status:?}");
        }
    }
    let done = trim(&server, Keep::FromRevision(old + 1), false).await.expect("that is four days old");
    assert_eq!(done.revisions, old);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_retracted_before_the_floor_is_still_said_to_be() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Arc::new(FakeClock::on("2023-06-01")));
    let server = start(folder.path(), &clock).await;
    let report = |id: &str| vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")];
    server.file(report("gone")).await;
    let ruling = v1::RetractRecordRequest {
        name: "visits/gone".into(),
        source: Some(v1::Source { kind: v1::SourceKind::Editor.into(), ..source("desk") }),
        reason: v1::RetractionReason::FilerError.into(),
        ..Default::default()
    };
    server.filing().retract_record(ruling).await.expect("it is retracted");
    let kept = server.file(report("kept")).await;
    clock.advance(Duration::from_secs(72 * 3600));
    server.file(report("late")).await;
    trim(&server, Keep::AfterToken(kept.token), false).await.expect("it is trimmed");
    let retracted = async |server: &TestServer| {
        let asked = v1::GetVisitRequest { name: "visits/gone".into(), ..Default::default() };
        reason(&server.registry().get_visit(asked).await.expect_err("it is retracted"))
    };
    assert_eq!(retracted(&server).await, "RECORD_RETRACTED", "the rows are there");
    server.stop().await;
    sweep(folder.path());
    let server = start(folder.path(), &clock).await;
    assert_eq!(retracted(&server).await, "RECORD_RETRACTED", "the rows are gone");
    server.stop().await;
}

/// Every report that stands, with its times.
async fn stated(server: &TestServer, name: &str) -> Vec<v1::ListedReport> {
    let asked = v1::ListReportsRequest { parent: name.into(), ..Default::default() };
    server.registry().list_reports(asked).await.expect("reports").into_inner().reports
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_trim_is_applied_alike_where_the_rows_are_gone_and_where_they_are_there() {
    let clock = Arc::new(FakeClock::on("2023-06-01"));
    let (swept, whole) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let server = start(swept.path(), &clock).await;
    let report = |guest: &str| vec![visit_report("v", "s", guest, "AZ", "2023-05-01")];
    let first = server.file(report("KZ")).await;
    server.withdraw(Selection::Report(first.results[0].report.clone())).await;
    let kept = server.file(vec![visit_report("other", "s", "KZ", "AZ", "2023-05-01")]).await;
    clock.advance(Duration::from_secs(72 * 3600));
    server.file(vec![visit_report("late", "s", "KZ", "AZ", "2023-05-01")]).await;
    trim(&server, Keep::AfterToken(kept.token), false).await.expect("it is trimmed");
    server.stop().await;
    store::snapshot::copy(swept.path(), whole.path(), &CancellationToken::new()).expect("a copy");
    sweep(swept.path());
    let mut told = Vec::new();
    for folder in [swept.path(), whole.path()] {
        let server = start(folder, &Arc::new(FakeClock::on("2023-07-01"))).await;
        server.file(report("UZ")).await;
        told.push(stated(&server, "visits/v").await);
        server.stop().await;
    }
    let created = |reports: &[v1::ListedReport]| reports[0].report.as_ref().and_then(|r| r.create_time);
    assert_eq!(created(&told[0]).map(|t| t.seconds / 60), created(&told[1]).map(|t| t.seconds / 60));
}

async fn on(journal: impl Journal, clock: &Arc<FakeClock>) -> TestServer {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    TestServer::with(config(), Parts { journal: Arc::new(journal), clock, ..Parts::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_that_waits_for_a_position_is_answered_though_a_trim_overtakes_it() {
    let (log, clock) = (SharedLog::default(), Arc::new(FakeClock::on("2023-06-01")));
    let view = Lagging::of(&log);
    // The clock of the one that is behind stands still: it files nothing.
    let (ahead, behind) = (on(log, &clock).await, on(view.clone(), &Arc::new(FakeClock::on("2023-06-01"))).await);
    let get = |server: &TestServer, at_least: String| {
        let mut registry = server.registry();
        let asked =
            v1::GetVisitRequest { name: "visits/v".into(), at_least: Some(at_least), ..v1::GetVisitRequest::default() };
        async move { registry.get_visit(asked).await.map(tonic::Response::into_inner) }
    };
    let report = |source: &str| vec![visit_report("v", source, "KZ", "AZ", "2023-05-01")];
    let first = ahead.file(report("first")).await;
    patiently("the first", get(&behind, first.token)).await.expect("it follows");
    view.hold();
    let mut missed = Vec::new();
    for number in 0..12 {
        missed.push(ahead.file(report(&format!("missed-{number}"))).await);
    }
    clock.advance(Duration::from_secs(72 * 3600));
    ahead.file(report("late")).await;
    let newest = missed.last().expect("some were missed").token.clone();
    let trimmed = trim(&ahead, Keep::AfterToken(newest.clone()), false).await.expect("it is trimmed");
    assert_eq!(trimmed.oldest_token, newest);

    let before = view.asked();
    let waiting: Vec<_> = missed.iter().map(|missed| tokio::spawn(get(&behind, missed.token.clone()))).collect();
    patiently("the questions how far the log is", async {
        while (view.asked() - before) < u32::try_from(missed.len()).expect("a few") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    view.release();
    for (missed, waiting) in missed.iter().zip(waiting) {
        let found = patiently("the answer", waiting).await.expect("it does not panic").expect("it is answered");
        assert!(covers(&found.token, missed.revision), "not before what was asked for");
    }
    ahead.stop().await;
    behind.stop().await;
}

/// Told each time that somebody waits, and for how long; it is over when the test says so.
type Waits = mpsc::Receiver<(Duration, oneshot::Sender<()>)>;

fn waits() -> (sweep::Wait, Waits) {
    let (tell, waits) = mpsc::channel(1);
    let wait = move |time: Duration| -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let tell = tell.clone();
        Box::pin(async move {
            let (over, ended) = oneshot::channel();
            if tell.send((time, over)).await.is_ok() {
                let _ = ended.await;
            }
        })
    };
    let wait: sweep::Wait = Box::new(wait);
    (wait, waits)
}

/// The oldest entry that a store still has.
fn oldest(store: &Store) -> u64 {
    let sql = "SELECT min(revision) FROM entries";
    let read = store.read(|c| Ok(c.query_row(sql, [], |row| row.get(0)).expect("the log is not empty")));
    read.expect("it can be read")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_second_trim_drops_stays_for_a_grace_of_its_own() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Arc::new(FakeClock::on("2023-06-01")));
    let (store, write) = store::open(folder.path(), &Options::default()).expect("the store opens");
    let own: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let (writer, _thread) = writer::Parts::new(write, Arc::new(Embedded), own).start().expect("the writer starts");
    let act = async |act: Act| writer.file(Request::of(act, "tester"), None).await.expect("it is filed").revision;
    let mut filed = Vec::new();
    for id in ["one", "two", "three", "four"] {
        if id == "four" {
            clock.advance(Duration::from_secs(72 * 3600));
        }
        let report = Report::parse(&visit_report(id, "s", "KZ", "AZ", "2023-05-01"), None, "report").expect("a report");
        let reports = vec![report];
        filed.push(act(Act::File { reports, preconditions: Vec::new(), intent: Intent::Unspecified }).await);
    }
    let (wait, mut waits) = waits();
    let stop = CancellationToken::new();
    let sweeping = tokio::spawn(sweep::run_with(store.clone(), writer.clone(), wait, stop.clone()));

    act(Act::Trim { before: filed[2] }).await;
    let (time, over) = patiently("the first grace", waits.recv()).await.expect("it sweeps");
    assert_eq!((time, oldest(&store)), (SWEEP_GRACE, filed[0]), "nothing is dropped yet");
    act(Act::Trim { before: filed[2] + 1 }).await;
    assert_eq!(store.head().floor, filed[2], "the floor moves at once");
    over.send(()).expect("somebody waits");
    let (time, over) = patiently("the second grace", waits.recv()).await.expect("it sweeps");
    assert_eq!((time, oldest(&store)), (SWEEP_GRACE, filed[1]), "what the first dropped is gone, and no more");
    over.send(()).expect("somebody waits");
    patiently("the end of the sweep", async {
        while oldest(&store) < filed[2] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stop.cancel();
    sweeping.await.expect("it does not panic");
}

/// Waits until a server says so of its log.
async fn until_log(server: &TestServer, what: &str, is_so: impl Fn(&v1::GetLogInfoResponse) -> bool) {
    patiently(what, async {
        loop {
            let info = server.log().get_log_info(v1::GetLogInfoRequest {}).await.expect("an answer").into_inner();
            if is_so(&info) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// What the entries of a log say, the first revision's first.
fn payloads(log: &SharedLog) -> impl Iterator<Item = EntryPayload> {
    let batches = log.batches().into_iter().map(|batch| Batch::decode(batch.as_slice()).expect("a batch"));
    let entries = batches.flat_map(|batch| batch.entries);
    entries.map(|entry| EntryPayload::decode(entry.payload).expect("a payload"))
}

/// The revisions that entries of a log say are the oldest to be kept.
fn trims(log: &SharedLog) -> Vec<u64> {
    payloads(log).filter_map(|payload| payload.trim).map(|trim| trim.before_revision).collect()
}

/// The revisions of these entries.
fn trimmed_at(log: &SharedLog) -> Vec<u64> {
    (1..).zip(payloads(log)).filter(|(_, payload)| payload.trim.is_some()).map(|(revision, _)| revision).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_ahead_trims_nothing_before_a_day_has_passed() {
    let (log, clock) = (SharedLog::default(), Arc::new(FakeClock::on("2023-06-01")));
    let config = Config { retain_days: Some(3), ..config() };
    let parts =
        Parts { journal: Arc::new(log.clone()), clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Parts::default() };
    let server = TestServer::with(config, parts).await;
    let filed = async |id: &str| server.file(vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")]).await.token;
    let old = filed("old").await;
    let mut jumped = String::new();
    for today in ["2023-06-20", "2023-06-21"] {
        clock.jump_to(today);
        until_log(&server, "the day", |info| info.day == today).await;
        jumped = filed(today).await;
    }
    until_log(&server, "the trim", |info| info.oldest_token == old).await;
    let day = read(&jumped).revision - 1;
    assert!(trimmed_at(&log)[0] >= day, "the day that follows comes first");
    server.stop().await;
}

/// Two replicas that are told alike what to retain of one log, with one clock.
struct Retaining {
    log: SharedLog,
    clock: Arc<FakeClock>,
    servers: [TestServer; 2],
}

impl Retaining {
    async fn start(days: Option<u32>, revisions: Option<u64>) -> Self {
        let (log, clock) = (SharedLog::default(), Arc::new(FakeClock::on("2023-06-01")));
        let start = async || {
            let config = Config { retain_days: days, retain_revisions: revisions, ..config() };
            let own: Arc<dyn Clock> = Arc::clone(&clock) as _;
            TestServer::with(config, Parts { journal: Arc::new(log.clone()), clock: own, ..Parts::default() }).await
        };
        let servers = [start().await, start().await];
        Self { log, clock, servers }
    }

    /// Files one record on a day of June, once that has begun on both; where the log stands then.
    async fn file_on(&self, number: usize) -> String {
        let today = format!("2023-06-{number:02}");
        if number > 1 {
            self.clock.jump_to(&today);
            for server in &self.servers {
                until_log(server, "the day", |info| info.day == today).await;
            }
        }
        let report = visit_report(&format!("v{number}"), "s", "KZ", "AZ", "2023-05-01");
        self.servers[0].file(vec![report]).await.token
    }

    /// Waits until this is the oldest position on both.
    async fn until_oldest(&self, is_it: impl Fn(&str) -> bool) {
        for server in &self.servers {
            until_log(server, "the trim", |info| is_it(&info.oldest_token)).await;
        }
    }

    async fn stop(self) {
        for server in self.servers {
            server.stop().await;
        }
    }
}

/// Checks that three days stay, and what is older is trimmed once for all replicas.
async fn three_days_are_retained(days: Option<u32>, revisions: Option<u64>) {
    let retaining = Retaining::start(days, revisions).await;
    // Where the log stands at the end of each day.
    let mut ends: Vec<String> = Vec::new();
    for number in 1..=6_usize {
        ends.push(retaining.file_on(number).await);
        // The end of the last day that is too old.
        if let Some(oldest) = number.checked_sub(5).map(|day| &ends[day]) {
            retaining.until_oldest(|token| token == oldest).await;
        }
    }
    let first_kept: Vec<u64> = ends[..2].iter().map(|end| read(end).revision + 1).collect();
    assert_eq!(trims(&retaining.log), first_kept, "each once, whoever asked for it");
    let kept = retaining.servers[1].replay(until_caught_up(from_oldest())).await;
    let kept =
        kept.iter().filter(|event| event.r#type() == v1::EventType::Recorded).map(|event| event.subject.as_str());
    assert_eq!(kept.collect::<Vec<_>>(), ["visits/v3", "visits/v4", "visits/v5", "visits/v6"]);
    retaining.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_days_are_retained_and_what_is_older_is_trimmed_once_for_all_replicas() {
    three_days_are_retained(Some(3), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_of_revisions_that_wants_less_kept_than_the_days_has_no_say() {
    three_days_are_retained(Some(3), Some(1)).await;
    // Without any, so many days stay as answers to repeated requests need.
    three_days_are_retained(None, Some(1)).await;
}

/// Checks that so many revisions stay, counted from the beginning of each day, and what is older is trimmed once for all
/// replicas.
async fn twelve_revisions_are_retained(days: Option<u32>) {
    // More than three days have.
    const REVISIONS: u64 = 12;
    let retaining = Retaining::start(days, Some(REVISIONS)).await;
    let (mut last, mut first_kept) = (0_u64, Vec::new());
    for number in 1..=10_usize {
        retaining.file_on(number).await;
        if let Some(through) = last.checked_sub(REVISIONS).filter(|through| *through > 0) {
            retaining.until_oldest(|token| read(token).revision == through).await;
            first_kept.push(through + 1);
        }
        // With the trim, which may come before or after what was filed.
        last = read(&retaining.servers[0].token().await).revision;
    }
    assert!(first_kept.len() > 1, "it was trimmed day by day: {first_kept:?}");
    assert_eq!(trims(&retaining.log), first_kept, "each once, whoever asked for it");
    retaining.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_revisions_are_retained_and_what_is_older_is_trimmed_once_for_all_replicas() {
    twelve_revisions_are_retained(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_that_want_less_kept_than_a_number_of_revisions_have_no_say() {
    twelve_revisions_are_retained(Some(3)).await;
}
