//! The journal: what every one must do, and what servers that share one keep.

mod common;

use std::{sync::Arc, time::Duration};

use attache::{
    domain::token::Token,
    journal::Journal,
    limits::DOUBT_PATIENCE,
    pb::{
        log::Batch,
        v1::{self, EventType, FilingOutcome, WatchEventsRequest},
    },
    serve::{self, Parts},
};
use bytes::Bytes;
use common::{
    FakeClock, TestServer, config, config_at,
    scribe::{file_at_once, ruling, told},
    shared_log::{Fault, Lagging, SharedLog},
    visit_report,
    watching::*,
};
use prost::Message as _;
use tonic::Status;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

#[test]
fn the_shared_log_passes_the_suite() {
    attache::journal::suite::run(&(Arc::new(SharedLog::default()) as Arc<dyn Journal>));
}

fn parts(journal: impl Journal) -> Parts {
    Parts { journal: Arc::new(journal), clock: Arc::new(FakeClock::default()), ..Parts::default() }
}

async fn on(journal: impl Journal) -> TestServer {
    TestServer::with(config(), parts(journal)).await
}

fn visit(id: &str, guest: &str) -> v1::Report {
    visit_report(id, "one", guest, "AZ", "2023-05-01")
}

async fn file(server: &TestServer, request: v1::FileReportsRequest) -> Result<v1::FileReportsResponse, Status> {
    let mut filing = server.filing();
    patiently("the answer to a filing", filing.file_reports(request)).await.map(tonic::Response::into_inner)
}

/// A filing with a request id.
fn request(id: &str, report: v1::Report) -> v1::FileReportsRequest {
    v1::FileReportsRequest { reports: vec![report], request_id: Some(id.into()), ..Default::default() }
}

async fn get(server: &TestServer, id: &str, at_least: Option<&str>) -> Result<v1::Visit, Status> {
    let at_least = at_least.map(ToOwned::to_owned);
    let request = v1::GetVisitRequest { name: format!("visits/{id}"), at_least, ..Default::default() };
    let mut registry = server.registry();
    patiently("a visit", registry.get_visit(request)).await.map(|r| r.into_inner().visit.expect("a visit"))
}

fn recorded(events: &[v1::Event], id: &str) -> usize {
    let subject = format!("visits/{id}");
    events.iter().filter(|e| e.r#type() == EventType::Recorded && e.subject == subject).count()
}

/// Waits for what another task does.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    patiently(what, async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

// ---- two replicas ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filings_on_two_replicas_all_land_once_and_in_one_order() {
    let log = SharedLog::default();
    let (a, b) = (on(log.clone()).await, on(log.clone()).await);
    let acked = file_at_once(&[&a, &b], "any", 6, 20).await;
    let revisions: Vec<u64> = acked.iter().map(|a| a.revision).collect();
    let last = *revisions.last().unwrap();
    assert_eq!(revisions, (1..=last).collect::<Vec<_>>(), "every acknowledged filing has a revision of its own");
    let events = everything(&a).await;
    assert_eq!(events.iter().map(bare).collect::<Vec<_>>(), told(&acked));
    assert_eq!(everything(&b).await, events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chains_of_replicas_are_equal_and_so_are_their_tokens() {
    let log = SharedLog::default();
    let (a, b) = (on(log.clone()).await, on(log.clone()).await);
    file_at_once(&[&a, &b], "any", 4, 10).await;
    let single = WatchEventsRequest { max_batch_events: 1, ..until_caught_up(from_oldest()) };
    let mut tokens = Vec::new();
    for server in [&a, &b] {
        let (frames, error) = server.watch(single.clone()).await.until_the_end().await;
        assert!(error.is_none());
        let of_batches = frames.iter().filter(|f| batch(f).is_some());
        tokens.push(of_batches.map(|f| f.token.clone()).collect::<Vec<_>>());
    }
    assert_eq!(tokens[0], tokens[1]);
    let info = |server: &TestServer| {
        let mut log = server.log();
        async move { log.get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner() }
    };
    let (of_a, of_b) = (info(&a).await, info(&b).await);
    assert_eq!((of_a.epoch, of_a.token, of_a.revision), (of_b.epoch, of_b.token, of_b.revision));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_its_place_decides_again_on_what_won() {
    let log = SharedLog::default();
    let (a, b) = (on(log.clone()).await, on(Lagging::deaf(&log)).await);
    a.file(vec![visit("v", "KZ")]).await;
    let correction = v1::FileReportsRequest {
        reports: vec![visit("v", "UZ")],
        intent: v1::Intent::Correction.into(),
        ..Default::default()
    };
    let answer = file(&b, correction).await.unwrap();
    assert_eq!(log.conflicts(), 1);
    assert_eq!((answer.revision, answer.results[0].outcome()), (2, FilingOutcome::Corrected));
    assert_eq!(get(&a, "v", Some(&answer.token)).await.unwrap(), get(&b, "v", None).await.unwrap());
    assert_eq!(recorded(&everything(&b).await, "v"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_holds_on_every_replica() {
    let log = SharedLog::default();
    let (a, b) = (on(log.clone()).await, on(Lagging::deaf(&log)).await);
    let first = file(&a, request("id-1", visit("v", "KZ"))).await.unwrap();
    // The other replica has not heard of it yet.
    let again = file(&b, request("id-1", visit("v", "KZ"))).await.unwrap();
    assert_eq!((again.revision, &again.events, &again.results), (first.revision, &first.events, &first.results));
    let another = a.file(vec![visit("w", "KZ")]).await;
    let reused = file(&b, request("id-1", visit("v", "UZ"))).await.unwrap_err();
    assert_eq!(reason(&reused), "REQUEST_ID_REUSED");
    assert_eq!(everything(&b).await.len(), first.events.len() + another.events.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_appends_nothing_is_confirmed_by_its_place_in_the_log() {
    let log = SharedLog::default();
    let (a, b) = (on(log.clone()).await, on(Lagging::deaf(&log)).await);
    a.file(vec![visit("v", "KZ")]).await;
    let before = log.len();
    // To a replica that is behind this would be new, or there would be nothing to withdraw.
    let same =
        file(&b, v1::FileReportsRequest { reports: vec![visit("v", "KZ")], ..Default::default() }).await.unwrap();
    assert_eq!((same.revision, same.results[0].outcome()), (0, FilingOutcome::NoChange));
    assert_eq!(log.len(), before + 1);
    assert!(Batch::decode(log.batches().last().unwrap().as_slice()).unwrap().entries.is_empty());
    a.filing().retract_record(ruling("visits/v")).await.unwrap();
    let validated =
        v1::FileReportsRequest { reports: vec![visit("v", "UZ")], validate_only: true, ..Default::default() };
    let validated = file(&b, validated).await.unwrap();
    assert_eq!((validated.revision, validated.results[0].outcome()), (0, FilingOutcome::Stored));
    // Nothing of it is an event anywhere, and both go on.
    let acked = a.file(vec![visit("w", "KZ")]).await;
    assert_eq!(acked.revision, 3);
    assert_eq!(get(&a, "w", None).await.unwrap().name, "visits/w");
    assert_eq!(file(&b, request("next", visit("x", "KZ"))).await.unwrap().revision, 4);
    assert_eq!(everything(&a).await, everything(&b).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_cannot_follow_gives_up_after_some_conflicts_and_nothing_happened() {
    let log = SharedLog::default();
    let lagging = Lagging::of(&log);
    let (a, b) = (on(log.clone()).await, on(lagging.clone()).await);
    lagging.hold();
    a.file(vec![visit("v", "KZ")]).await;
    let error = file(&b, request("id-1", visit("w", "KZ"))).await.unwrap_err();
    assert_eq!((reason(&error).as_str(), error.code()), ("CONTENTION", tonic::Code::Aborted));
    assert_eq!(log.len(), 1);
    lagging.release();
    assert_eq!(file(&b, request("id-1", visit("w", "KZ"))).await.unwrap().revision, 2);
}

// ---- outcomes that nobody knows ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_landed_unseen_is_acknowledged_and_stands_once() {
    for fault in [Fault::UnknownLanded, Fault::UnknownLost] {
        for not_yet in [0, 3] {
            let log = SharedLog::default();
            let (a, b) = (on(log.clone()).await, on(log.clone()).await);
            a.file(vec![visit("before", "KZ")]).await;
            log.inject([fault]);
            log.keep_in_doubt(not_yet);
            let answer = file(&a, v1::FileReportsRequest { reports: vec![visit("v", "KZ")], ..Default::default() });
            let answer = answer.await.unwrap();
            let outcome = answer.results[0].outcome();
            assert_eq!((answer.revision, outcome), (2, FilingOutcome::Recorded), "{fault:?}");
            assert_eq!(get(&a, "v", None).await.unwrap(), get(&b, "v", Some(&answer.token)).await.unwrap());
            assert_eq!(recorded(&everything(&a).await, "v"), 1, "{fault:?}");
            let after = a.file(vec![visit("after", "KZ")]).await;
            assert_eq!((after.revision, log.len()), (3, 3), "{fault:?}");
            assert!(get(&b, "after", Some(&after.token)).await.is_ok());
            assert_eq!(everything(&a).await, everything(&b).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lost_its_place_while_in_doubt_is_decided_again() {
    let log = SharedLog::default();
    let (a, b) = (Arc::new(on(log.clone()).await), on(log.clone()).await);
    a.file(vec![visit("before", "KZ")]).await;
    log.inject([Fault::UnknownLate]);
    log.keep_in_doubt(u32::MAX);
    let in_doubt = {
        let a = Arc::clone(&a);
        tokio::spawn(async move { file(&a, request("id-1", visit("v", "UZ"))).await })
    };
    until("the fault", || log.faults_left() == 0).await;
    let winner = b.file(vec![visit("v", "KZ")]).await;
    assert_eq!(winner.revision, 2, "it takes the place");
    log.keep_in_doubt(0);
    let answer = in_doubt.await.unwrap().unwrap();
    // Of one source, so that it replaces what the other filed: decided on the log as it is.
    assert_eq!(answer.revision, 3);
    assert_ne!(answer.results[0].outcome(), FilingOutcome::Recorded);
    let events = everything(&a).await;
    assert_eq!(recorded(&events, "v"), 1);
    assert!(get(&b, "v", Some(&answer.token)).await.is_ok());
    assert_eq!(everything(&b).await, events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_stays_in_doubt_is_said_whoever_waits_is_refused_and_whoever_comes_then_at_once() {
    let log = SharedLog::default();
    let server = Arc::new(on(log.clone()).await);
    server.file(vec![visit("before", "KZ")]).await;
    log.inject([Fault::UnknownLost]);
    log.keep_in_doubt(u32::MAX);
    let asked = |id: &'static str| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { file(&server, request(id, visit(id, "UZ"))).await })
    };
    let under_way = asked("v");
    until("the fault", || log.faults_left() == 0).await;
    let waiting = asked("w");
    let error = under_way.await.unwrap().unwrap_err();
    assert_eq!((reason(&error).as_str(), error.code()), ("OUTCOME_UNKNOWN", tonic::Code::Unknown));
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((reason(&error).as_str(), error.code()), ("JOURNAL_UNAVAILABLE", tonic::Code::Unavailable));
    let error = tokio::time::timeout(DOUBT_PATIENCE / 2, asked("x")).await.expect("at once").unwrap().unwrap_err();
    assert_eq!(reason(&error), "JOURNAL_UNAVAILABLE");
    assert_eq!(log.len(), 1);
    log.keep_in_doubt(0);
    until("what was in doubt", || log.len() == 2).await;
    // Whoever insists is answered once that is known here too.
    for (id, revision) in [("v", 2), ("w", 3), ("x", 4)] {
        let answer = patiently("an answer", async {
            loop {
                match asked(id).await.unwrap() {
                    Ok(answer) => return answer,
                    Err(error) => assert_eq!(reason(&error), "JOURNAL_UNAVAILABLE"),
                }
            }
        });
        assert_eq!(answer.await.revision, revision, "{id} stands once");
    }
    assert_eq!(recorded(&everything(&server).await, "v"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_sent_did_not_happen() {
    let log = SharedLog::default();
    let (a, b) = (on(log.clone()).await, on(log.clone()).await);
    let before = a.file(vec![visit("before", "KZ")]).await;
    log.inject([Fault::NotSent]);
    let error = file(&a, request("id-1", visit("v", "KZ"))).await.unwrap_err();
    assert_eq!((reason(&error).as_str(), error.code()), ("JOURNAL_UNAVAILABLE", tonic::Code::Unavailable));
    assert_eq!(log.len(), 1);
    for server in [&a, &b] {
        assert_eq!(reason(&get(server, "v", Some(&before.token)).await.unwrap_err()), "RECORD_NOT_FOUND");
        assert_eq!(server.token().await, before.token);
    }
    // The retry is the first time.
    let answer = file(&a, request("id-1", visit("v", "KZ"))).await.unwrap();
    assert_eq!((answer.revision, answer.results[0].outcome()), (2, FilingOutcome::Recorded));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_among_many_filings_lose_nothing_and_double_nothing() {
    let log = SharedLog::default();
    let (a, b) = (on(log.clone()).await, on(log.clone()).await);
    let faults = [Fault::UnknownLanded, Fault::UnknownLost, Fault::UnknownLate];
    log.inject((0..30).map(|n| faults[n % 3]));
    let acked = file_at_once(&[&a, &b], "any", 4, 20).await;
    let last = acked.last().unwrap().revision;
    assert_eq!(acked.iter().map(|a| a.revision).collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    let events = everything(&a).await;
    assert_eq!(events.iter().map(bare).collect::<Vec<_>>(), told(&acked));
    assert_eq!(everything(&b).await, events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_of_its_own_append_is_harmless() {
    let log = SharedLog::default();
    let view = Lagging::of(&log);
    let server = on(view.clone()).await;
    let mut live = server.watch(taciturn(from_oldest())).await;
    for number in 0..10 {
        let acked = server.file(vec![visit(&format!("v{number}"), "KZ")]).await;
        assert_eq!(acked.revision, number + 1);
        view.release();
    }
    let events = events(&live.up_to_revision(10).await);
    assert_eq!(events, everything(&server).await);
    let recorded = events.iter().filter(|e| e.r#type() == v1::EventType::Recorded).count();
    assert_eq!((recorded, log.len()), (10, 10));
}

// ---- the first batch ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_the_first_batch_adopts_its_epoch() {
    let log = SharedLog::default();
    let (a, b) = (on(log.clone()).await, on(Lagging::deaf(&log)).await);
    let epoch = read(&a.token().await).epoch;
    assert_ne!(read(&b.token().await).epoch, epoch, "each makes one, as long as nobody has filed");
    // A watch that is open already goes over to the log's epoch too.
    let mut live = b.watch(taciturn(from_oldest())).await;
    live.up_to(is_caught_up).await;
    let first = a.file(vec![visit("v", "KZ")]).await;
    let second = file(&b, request("id-1", visit("w", "KZ"))).await.unwrap();
    assert_eq!((second.revision, log.conflicts()), (2, 1));
    assert_eq!(read(&second.token).epoch, epoch);
    let events = everything(&b).await;
    assert!(events.iter().all(|e| e.source == format!("attache/{epoch}")), "{events:?}");
    for frame in live.up_to_revision(2).await {
        assert_eq!(read(&frame.token).epoch, epoch, "a token that no server takes: {frame:?}");
        let rest = a.replay(until_caught_up(after(&frame.token))).await;
        assert!(rest.iter().all(|e| !covers(&frame.token, e.revision)));
    }
    assert_eq!(everything(&a).await, events);
    assert_eq!(first.revision, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_applied_nothing_waits_for_tokens_of_its_log() {
    let log = SharedLog::default();
    let lagging = Lagging::of(&log);
    let (a, b) = (on(log.clone()).await, on(lagging.clone()).await);
    lagging.hold();
    let acked = a.file(vec![visit("v", "KZ")]).await;
    let before = lagging.asked();
    let (mut registry, token) = (b.registry(), acked.token.clone());
    let waiting = tokio::spawn(async move {
        let name = "visits/v".to_owned();
        registry.get_visit(v1::GetVisitRequest { name, at_least: Some(token), ..Default::default() }).await
    });
    until("the question how far the log is", || lagging.asked() > before || waiting.is_finished()).await;
    lagging.release();
    assert_eq!(waiting.await.unwrap().unwrap().into_inner().token, acked.token);
}

fn soon<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(Duration::from_secs(3));
    request
}

/// A lookup that does not wait long.
async fn glance(server: &TestServer) -> Result<v1::Visit, Status> {
    let name = "visits/v".to_owned();
    let answer = server.registry().get_visit(soon(v1::GetVisitRequest { name, ..Default::default() })).await?;
    Ok(answer.into_inner().visit.unwrap())
}

/// What each kind of read is refused with; asked all at once, since each waits.
async fn refusals(server: &TestServer, page_token: &str) -> Vec<String> {
    let page = || v1::ListVisitsRequest { page_token: page_token.to_owned(), page_size: 1, ..Default::default() };
    let (mut one, mut first, mut next) = (server.registry(), server.registry(), server.registry());
    let (mut events, mut cursor, mut feed) = (server.feed(), server.feed(), server.feed());
    let first_page = v1::ListVisitsRequest { page_size: 1, ..Default::default() };
    let name = "visits/v".to_owned();
    let refused = tokio::join!(
        async { one.get_visit(soon(v1::GetVisitRequest { name, ..Default::default() })).await.map(drop) },
        async { first.list_visits(soon(first_page)).await.map(drop) },
        async { next.list_visits(soon(page())).await.map(drop) },
        async { events.list_events(soon(v1::ListEventsRequest::default())).await.map(drop) },
        async { cursor.get_cursor(soon(v1::GetCursorRequest { name: "c".into() })).await.map(drop) },
        async { feed.watch_events(soon(from_oldest())).await.map(drop) },
        async { server.feed().watch_events(soon(from_now())).await.map(drop) },
        async { server.feed().watch_events(soon(from_snapshot())).await.map(drop) },
    );
    let refused: [Result<(), Status>; 8] = refused.into();
    refused.into_iter().map(|answer| reason(&answer.unwrap_err())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_nothing_of_a_log_tells_nothing_until_it_has_or_knows_that_there_is_none() {
    let log = SharedLog::default();
    let view = Lagging::of(&log);
    view.hold();
    let (a, empty) = (on(log.clone()).await, on(view.clone()).await);
    // There is none yet: that is what it says, at once.
    assert_eq!(reason(&glance(&empty).await.unwrap_err()), "RECORD_NOT_FOUND");
    let acked = a.file(vec![visit("v", "KZ"), visit("w", "KZ")]).await;
    let first = v1::ListVisitsRequest { page_size: 1, ..Default::default() };
    let page_token = a.registry().list_visits(first).await.unwrap().into_inner().next_page_token;
    patiently("that it hears of the log", async {
        while reason(&glance(&empty).await.unwrap_err()) == "RECORD_NOT_FOUND" {}
    })
    .await;
    // What is not known to be missing is not said to be, and no token is told of a log that is not the one.
    assert_eq!(refusals(&empty, &page_token).await, ["REPLICA_BEHIND"; 8]);
    // Nobody sends anybody here.
    let mut health = HealthClient::new(empty.channel.clone());
    let asked = HealthCheckRequest { service: "attache.v1.RegistryService".into() };
    assert_eq!(health.check(asked).await.unwrap().into_inner().status(), ServingStatus::NotServing);
    view.cut(true);
    patiently("that the journal is gone", async {
        while reason(&glance(&empty).await.unwrap_err()) != "JOURNAL_UNAVAILABLE" {}
    })
    .await;
    assert_eq!(refusals(&empty, &page_token).await, ["JOURNAL_UNAVAILABLE"; 8]);
    view.cut(false);
    view.release();
    let found = patiently("the record", async {
        loop {
            match glance(&empty).await {
                Ok(found) => return found,
                Err(status) => assert_eq!(reason(&status), "REPLICA_BEHIND"),
            }
        }
    });
    assert_eq!(found.await.name, "visits/v");
    assert_eq!(empty.token().await, acked.token, "and of the right log");
}

// ---- reading one's own writes elsewhere ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_least_a_token_of_another_replica_waits_for_it() {
    let log = SharedLog::default();
    let lagging = Lagging::of(&log);
    let (a, b) = (on(log.clone()).await, on(lagging.clone()).await);
    let known = a.file(vec![visit("known", "KZ")]).await;
    assert!(get(&b, "known", Some(&known.token)).await.is_ok());
    lagging.hold();
    let acked = a.file(vec![visit("v", "KZ")]).await;
    assert_eq!(reason(&get(&b, "v", None).await.unwrap_err()), "RECORD_NOT_FOUND", "it is held back");
    let before = lagging.asked();
    let b = Arc::new(b);
    let waiting = {
        let (b, token) = (Arc::clone(&b), acked.token.clone());
        tokio::spawn(async move { get(&b, "v", Some(&token)).await })
    };
    let watching = {
        let (b, token) = (Arc::clone(&b), acked.token.clone());
        tokio::spawn(async move { b.watch(after(&token)).await.frame().await })
    };
    until("the questions how far the log is", || lagging.asked() >= before + 2).await;
    lagging.release();
    assert_eq!(waiting.await.unwrap().unwrap(), get(&a, "v", None).await.unwrap());
    assert_eq!(watching.await.unwrap().token, acked.token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_the_future_and_of_other_logs_are_told_apart() {
    let log = SharedLog::default();
    let (a, _b) = (on(log.clone()).await, on(log.clone()).await);
    let acked = a.file(vec![visit("v", "KZ")]).await;
    let own = read(&acked.token);
    let other = on(SharedLog::default()).await.file(vec![visit("v", "KZ")]).await.token;
    let future = Token { revision: 99, ..own.clone() }.encode();
    let other_history = Token { hash: [7; 8], ..own }.encode();
    for (token, expected) in [(other, "LOG_REPLACED"), (other_history, "LOG_REPLACED"), (future, "TOKEN_IN_FUTURE")] {
        assert_eq!(reason(&get(&a, "v", Some(&token)).await.unwrap_err()), expected);
        let Err(watch) = Watching::open(a.feed(), after(&token)).await else { panic!("taken") };
        assert_eq!(reason(&watch), expected);
        let Err(watch) = Watching::open(a.feed(), through(from_oldest(), &token)).await else { panic!("taken") };
        assert_eq!(reason(&watch), expected);
        let start = Some(v1::list_events_request::Start::After(token.clone()));
        let page = a.feed().list_events(v1::ListEventsRequest { start, ..Default::default() }).await;
        assert_eq!(reason(&page.unwrap_err()), expected);
        let as_of = Some(v1::AsOf { position: Some(v1::as_of::Position::Token(token.clone())) });
        let list = a.registry().list_visits(v1::ListVisitsRequest { as_of, ..Default::default() }).await;
        assert_eq!(reason(&list.unwrap_err()), expected);
        let commit = v1::CommitCursorRequest { name: "c".into(), position: token, expected_etag: None };
        assert_eq!(reason(&a.feed().commit_cursor(commit).await.unwrap_err()), expected);
    }
}

// ---- a log that is not one ----

/// What is put in the place of the next batch, made from the one that belongs there.
type Forgery = (&'static str, fn(Batch) -> Vec<u8>, &'static str);

fn altered(alter: impl Fn(&mut Batch), mut batch: Batch) -> Vec<u8> {
    alter(&mut batch);
    batch.encode_to_vec()
}

fn other_byte(payload: &mut Bytes, at: usize) {
    let mut bytes = payload.to_vec();
    bytes[at] ^= 1;
    *payload = bytes.into();
}

const FORGERIES: [Forgery; 9] = [
    ("a wrong hash", |b| altered(|b| b.previous_hash[0] ^= 1, b), "LOG_DIVERGED"),
    ("a gap", |b| altered(|b| b.first_revision += 1, b), "LOG_DIVERGED"),
    ("another epoch", |b| altered(|b| b.epoch[0] ^= 1, b), "LOG_DIVERGED"),
    ("another format", |b| altered(|b| b.format = 2, b), "LOG_DIVERGED"),
    ("the entry twice", |b| altered(|b| b.entries.push(b.entries[0].clone()), b), "LOG_DIVERGED"),
    ("no batch at all", |_| vec![0xff; 20], "ENTRY_CORRUPT"),
    ("another payload", |b| altered(|b| other_byte(&mut b.entries[0].payload, 5), b), "ENTRY_CORRUPT"),
    ("a header cut short", |b| altered(|b| b.entries[0].header.truncate(5), b), "ENTRY_CORRUPT"),
    (
        "a good entry, then a bad one",
        |b| {
            let bad = attache::pb::log::Entry { header: vec![0xff; 9], payload: Vec::new().into() };
            altered(|b| b.entries.push(bad.clone()), b)
        },
        "ENTRY_CORRUPT",
    ),
];

/// A log of one batch, and the batch that would be the next.
async fn a_log_and_its_next_batch() -> (SharedLog, Batch) {
    let whole = SharedLog::default();
    let server = on(whole.clone()).await;
    server.file(vec![visit("first", "KZ")]).await;
    server.file(vec![visit("second", "KZ")]).await;
    let batches = whole.batches();
    let log = SharedLog::default();
    log.smuggle(batches[0].clone());
    (log, Batch::decode(batches[1].as_slice()).unwrap())
}

fn shown(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_diverges_or_cannot_be_read_stops_filings_and_nothing_else() {
    for (about, forge, expected) in FORGERIES {
        let (log, next) = a_log_and_its_next_batch().await;
        let server = on(log.clone()).await;
        let first = server.token().await;
        assert_eq!(read(&first).revision, 1, "it follows what was there");
        let mut live = server.watch(lively(from_oldest())).await;
        let before = live.up_to(is_caught_up).await;
        let (right, mut forged) = (next.previous_hash.clone(), next.previous_hash.clone());
        forged[0] ^= 1;
        log.smuggle(forge(next));
        let length = log.len();
        for id in ["a", "b"] {
            let error = file(&server, request(id, visit("mine", "KZ"))).await.unwrap_err();
            assert_eq!((reason(&error).as_str(), error.code()), (expected, tonic::Code::DataLoss), "{about}");
            if about == "a wrong hash" {
                let both = format!("follows hash {}, expected {}", shown(&forged), shown(&right));
                assert!(error.message().contains(&both), "{both}: {error:?}");
            }
        }
        for (service, status) in [
            ("", ServingStatus::NotServing),
            ("attache.v1.FilingService", ServingStatus::NotServing),
            ("attache.v1.RegistryService", ServingStatus::Serving),
            ("attache.v1.FeedService", ServingStatus::Serving),
        ] {
            let mut health = HealthClient::new(server.channel.clone());
            let told = patiently("its health", async {
                loop {
                    let asked = HealthCheckRequest { service: service.into() };
                    let told = health.check(asked).await.unwrap().into_inner().status();
                    if told == status {
                        return told;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
            assert_eq!(told.await, status, "{about}: {service:?}");
        }
        assert_eq!(log.len(), length, "{about}: nothing is appended after it");
        let commit = v1::CommitCursorRequest { name: "c".into(), position: first.clone(), expected_etag: None };
        assert_eq!(reason(&server.feed().commit_cursor(commit).await.unwrap_err()), expected, "{about}");
        assert_eq!(server.token().await, first, "{about}: nothing of it is applied");
        // Reads go on, and open watches too.
        assert!(get(&server, "first", Some(&first)).await.is_ok(), "{about}");
        for id in ["second", "mine"] {
            assert_eq!(reason(&get(&server, id, None).await.unwrap_err()), "RECORD_NOT_FOUND", "{about}");
        }
        assert_eq!(server.replay(through(from_oldest(), &first)).await, events(&before), "{about}");
        assert_eq!(server.list_events(v1::ListEventsRequest::default()).await, events(&before), "{about}");
        let quiet = live.up_to(is_progress).await;
        assert!(events(&quiet).is_empty() && read(&quiet.last().unwrap().token).revision == 1, "{about}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_does_not_start_on_a_log_that_diverges() {
    for (about, forge, expected) in FORGERIES {
        let (log, next) = a_log_and_its_next_batch().await;
        log.smuggle(forge(next));
        let folder = tempfile::tempdir().unwrap();
        let Err(error) = serve::build(&config_at(folder.path()), parts(log)).await else {
            panic!("{about}: it starts")
        };
        assert_eq!(attache::domain::error::word(error.reason), expected, "{about}");
        let kept = attache::store::snapshot::stands_at(folder.path()).unwrap();
        assert_eq!((kept.revision, kept.position), (1, 1), "{about}: what comes before it is applied");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_batch_that_belongs_there_is_applied() {
    // The forgeries fail for what was forged alone.
    let (log, next) = a_log_and_its_next_batch().await;
    let server = on(log.clone()).await;
    log.smuggle(next.encode_to_vec());
    let acked = file(&server, request("id-1", visit("third", "KZ"))).await.unwrap();
    assert_eq!(acked.revision, 3);
    assert!(get(&server, "second", None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_appended_to_a_log_that_was_rolled_back_and_grew_to_the_same_length() {
    let log = SharedLog::default();
    let a = on(log.clone()).await;
    a.file(vec![visit("v", "KZ")]).await;
    let copy = log.batches();
    a.file(vec![visit("lost", "KZ")]).await;
    // Another writer went on from the copy while this one was cut off.
    log.becomes(copy);
    let other = on(log.clone()).await;
    other.file(vec![visit("w", "UZ")]).await;
    let before = log.batches();
    let refused = file(&a, request("r", visit("x", "TJ"))).await.unwrap_err();
    assert_eq!(reason(&refused), "LOG_DIVERGED", "{refused:?}");
    assert!(refused.message().contains("ends at hash"), "both hashes are told: {}", refused.message());
    assert_eq!(log.batches(), before, "nothing was appended");
    get(&a, "lost", None).await.expect("reads go on from what it had");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_store_is_not_the_beginning_of_the_log_starts_to_be_read_and_files_nothing() {
    let (log, folder) = (SharedLog::default(), tempfile::tempdir().unwrap());
    let start = async || TestServer::with(config_at(folder.path()), parts(log.clone())).await;
    let server = start().await;
    server.file(vec![visit("v", "KZ")]).await;
    let copy = log.batches();
    let lost = server.file(vec![visit("lost", "KZ")]).await;
    server.stop().await;
    log.becomes(copy);
    let other = on(log.clone()).await;
    other.file(vec![visit("w", "UZ")]).await;
    let before = log.batches();
    for start_number in 1..=2 {
        let server = start().await;
        let refused = file(&server, request("r", visit("x", "TJ"))).await.unwrap_err();
        assert_eq!(reason(&refused), "LOG_DIVERGED", "start {start_number}: {refused:?}");
        assert!(refused.message().contains("ends at hash"), "both hashes are told: {}", refused.message());
        get(&server, "lost", Some(&lost.token)).await.expect("what it has is read");
        assert_eq!(reason(&get(&server, "w", None).await.unwrap_err()), "RECORD_NOT_FOUND", "nothing new comes");
        server.stop().await;
    }
    assert_eq!(log.batches(), before, "nothing was appended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_begins_while_the_journal_is_out_of_reach_and_is_caught_up_when_it_answers() {
    let log = SharedLog::default();
    let view = Lagging::of(&log);
    let (a, b) = (on(view.clone()).await, on(log.clone()).await);
    a.file(vec![visit("v", "KZ")]).await;
    view.cut(true);
    view.hold();
    let late = b.file(vec![visit("w", "UZ")]).await;
    let mut watch = a.watch(lively(until_caught_up(from_oldest()))).await;
    // Progress comes when everything that is here was told.
    let begun = watch.up_to(is_progress).await;
    assert_eq!(recorded(&events(&begun), "v"), 1);
    assert!(!begun.iter().any(is_caught_up), "nobody knows whether it is");
    view.cut(false);
    view.release();
    let (rest, error) = watch.until_the_end().await;
    assert!(error.is_none(), "{error:?}");
    let caught_up = rest.iter().find(|f| is_caught_up(f)).expect("it is caught up in the end");
    assert!(covers(&caught_up.token, late.revision), "with what was acknowledged before the watch began");
}
