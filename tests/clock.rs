//! The registry's day: what falls due by date is told on its day, once, whatever the clock and the servers go through.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    sync::Arc,
};

use attache::{
    config::Config,
    pb::v1::{
        self, ActionType, AgreementStatus, Basis, EventBasis, EventClass, EventType, GetLogInfoRequest, RecordKind,
        RelationType, Status, event::Detail, record::Kind, report::Content,
    },
    serve::Parts,
};
use common::{
    FakeClock, TestServer,
    ask::{self, as_of},
    config, config_at, date, observed,
    shared_log::SharedLog,
    source, visit_report_of,
    watching::*,
};

// ---- what is filed ----

fn report(record: &str, content: Content) -> v1::Report {
    v1::Report { record: record.into(), source: Some(source("desk")), content: Some(content), ..Default::default() }
}

fn act(kind: ActionType, on: &str) -> v1::AgreementAction {
    v1::AgreementAction { r#type: kind.into(), date: Some(date(on)), ..Default::default() }
}

fn valid(start: &str, end: &str) -> Option<v1::Validity> {
    let stated = |edtf: &str| {
        (!edtf.is_empty()).then(|| v1::InferableDate { date: Some(date(edtf)), basis: Basis::Stated.into() })
    };
    Some(v1::Validity { start: stated(start), end: stated(end) })
}

fn agreement(id: &str, actions: Vec<v1::AgreementAction>, change: impl FnOnce(&mut v1::Agreement)) -> v1::Report {
    let mut agreement = v1::Agreement { actions, ..Default::default() };
    change(&mut agreement);
    report(&format!("agreements/{id}"), Content::Agreement(agreement))
}

/// Signed before all of this, valid from one day to another.
fn plan(id: &str, start: &str, end: &str) -> v1::Report {
    agreement(id, vec![act(ActionType::Signed, "2023-12-01")], |a| a.validity = valid(start, end))
}

fn visit(id: &str, start: &str, end: &str) -> v1::Report {
    let end = (!end.is_empty()).then(|| date(end));
    visit_report_of(id, "desk", v1::Visit { start: Some(date(start)), end, ..Default::default() })
}

fn exercise(id: &str, start: &str, end: &str) -> v1::Report {
    let exercise = v1::Exercise { start: Some(date(start)), end: Some(date(end)), ..Default::default() };
    report(&format!("exercises/{id}"), Content::Exercise(exercise))
}

/// What falls due in half a year, of every sort.
fn half_a_year() -> Vec<v1::Report> {
    let supersedes = |a: &mut v1::Agreement| {
        let kind = RelationType::Supersedes.into();
        let target = "agreements/old".to_owned();
        a.relations = vec![v1::AgreementRelation { r#type: kind, target, ..Default::default() }];
    };
    vec![
        plan("a", "2024-02-01", "2024-06-30"),
        agreement("old", vec![act(ActionType::EnteredIntoForce, "2020-01-01")], |_| {}),
        agreement("new", vec![act(ActionType::EnteredIntoForce, "2024-03-01")], supersedes),
        visit("v", "2024-02-10", "2024-02-12"),
        exercise("e", "2024-02", "2024-03-05"),
    ]
}

/// On which day what is told of it, by date alone or waiting for its day.
const FALLS_DUE: &[(&str, EventType, &str)] = &[
    ("2024-02-01", EventType::AgreementInForce, "agreements/a"),
    ("2024-02-10", EventType::VisitBegan, "visits/v"),
    ("2024-02-13", EventType::VisitConcluded, "visits/v"),
    ("2024-02-29", EventType::ExerciseBegan, "exercises/e"),
    ("2024-03-01", EventType::AgreementInForce, "agreements/new"),
    ("2024-03-01", EventType::AgreementSuperseded, "agreements/old"),
    ("2024-03-06", EventType::ExerciseEnded, "exercises/e"),
    ("2024-04-01", EventType::AgreementExpiring, "agreements/a"),
    ("2024-05-31", EventType::AgreementExpiring, "agreements/a"),
    ("2024-06-23", EventType::AgreementExpiring, "agreements/a"),
    ("2024-07-01", EventType::AgreementExpired, "agreements/a"),
];

/// The days that a careful clock passes: those, and each day before one of them, none further apart than the clock may
/// jump.
fn days() -> Vec<String> {
    let mut days: BTreeSet<String> = BTreeSet::new();
    for (day, ..) in FALLS_DUE {
        let day: jiff::civil::Date = day.parse().unwrap();
        days.insert(day.yesterday().unwrap().to_string());
        days.insert(day.to_string());
    }
    // And one amid the longest quiet time.
    days.insert("2024-05-05".to_owned());
    days.into_iter().collect()
}

// ---- how it is watched ----

async fn start(config: Config, clock: &Arc<FakeClock>) -> TestServer {
    TestServer::with(config, Parts { clock: Arc::clone(clock) as _, ..Parts::default() }).await
}

async fn on(day: &str) -> (TestServer, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::on(day));
    (start(config(), &clock).await, clock)
}

async fn info(server: &TestServer) -> v1::GetLogInfoResponse {
    server.log().get_log_info(GetLogInfoRequest {}).await.expect("an answer").into_inner()
}

/// Waits until the registry's day is this one.
async fn until_day(server: &TestServer, day: &str) {
    let mut watch = server.watch(lively(from_now())).await;
    patiently(&format!("the day {day}"), async {
        while info(server).await.day != day {
            watch.frame().await;
        }
    })
    .await;
}

async fn pass(server: &TestServer, clock: &FakeClock, day: &str) {
    clock.jump_to(day);
    until_day(server, day).await;
}

async fn everything(server: &TestServer) -> Vec<v1::Event> {
    server.list_events(v1::ListEventsRequest::default()).await
}

/// The day on which an event was recorded.
fn recorded_on(event: &v1::Event) -> String {
    let time = event.time.as_ref().expect("a time");
    jiff::Timestamp::from_second(time.seconds).unwrap().to_string()[..10].to_owned()
}

/// What was told after a revision that happened in the world: (day, type, subject).
fn milestones(events: &[v1::Event], after: u64) -> Vec<(String, EventType, String)> {
    let of_the_world = |e: &&v1::Event| e.event_class() == EventClass::Cooperation && e.revision > after;
    events.iter().filter(of_the_world).map(|e| (recorded_on(e), e.r#type(), e.subject.clone())).collect()
}

fn falls_due() -> Vec<(String, EventType, String)> {
    FALLS_DUE.iter().map(|(day, kind, subject)| ((*day).to_owned(), *kind, (*subject).to_owned())).collect()
}

fn types(events: &[v1::Event]) -> Vec<EventType> {
    events.iter().map(v1::Event::r#type).collect()
}

async fn status_of(server: &TestServer, name: &str) -> AgreementStatus {
    let request = v1::GetAgreementRequest { name: name.into(), ..Default::default() };
    let agreement = server.registry().get_agreement(request).await.expect("an agreement").into_inner().agreement;
    agreement.unwrap().info.unwrap().status.unwrap().agreement_status()
}

// ---- each on its day, once ----

#[tokio::test]
async fn each_falls_due_on_its_day_exactly_once() {
    let (server, clock) = on("2024-01-02").await;
    let filed = server.file(half_a_year()).await;
    let by_date = |e: &&v1::Event| e.basis() == EventBasis::ByDate;
    assert_eq!(filed.events.iter().filter(by_date).count(), 0, "{:?}", types(&filed.events));
    for day in days() {
        pass(&server, &clock, &day).await;
    }
    let events = everything(&server).await;
    assert_eq!(milestones(&events, filed.revision), falls_due());
    for event in events.iter().filter(|e| e.revision > filed.revision) {
        assert_eq!(event.principal, "clock", "{}", event.id);
        let of_the_world = event.event_class() == EventClass::Cooperation;
        let stated = event.subject == "agreements/new";
        let basis = match (of_the_world, stated) {
            (false, _) => EventBasis::Unspecified,
            (true, true) => EventBasis::Stated,
            (true, false) => EventBasis::ByDate,
        };
        assert_eq!(event.basis(), basis, "{} {:?}", event.id, event.r#type());
        assert!(of_the_world || event.r#type() == EventType::Updated, "{:?}", event.r#type());
        assert!(of_the_world || event.changed_paths == ["info.status"], "{:?}", event.changed_paths);
    }
    let left = |e: &v1::Event| match &e.detail {
        Some(Detail::Due(due)) => due.days_left,
        _ => 0,
    };
    let expiring = events.iter().filter(|e| e.r#type() == EventType::AgreementExpiring).map(left);
    assert_eq!(expiring.collect::<Vec<_>>(), [90, 30, 7]);
    let superseded = events.iter().find(|e| e.r#type() == EventType::AgreementSuperseded).unwrap();
    let Some(Detail::Due(due)) = &superseded.detail else { panic!("{superseded:?}") };
    assert_eq!(due.record, "agreements/new");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_restarts_every_day_tells_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::on("2024-01-02"));
    let server = start(config_at(folder.path()), &clock).await;
    let filed = server.file(half_a_year()).await.revision;
    server.stop().await;
    for day in days() {
        clock.jump_to(&day);
        let server = start(config_at(folder.path()), &clock).await;
        until_day(&server, &day).await;
        server.stop().await;
    }
    let server = start(config_at(folder.path()), &clock).await;
    assert_eq!(milestones(&everything(&server).await, filed), falls_due());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_log_tell_it_once_and_answer_alike() {
    let log = SharedLog::default();
    let clock = Arc::new(FakeClock::on("2024-01-02"));
    let both =
        [(); 2].map(|()| Parts { journal: Arc::new(log.clone()), clock: Arc::clone(&clock) as _, ..Parts::default() });
    let [a, b] = both;
    let (a, b) = (TestServer::with(config(), a).await, TestServer::with(config(), b).await);
    let filed = a.file(half_a_year()).await.revision;
    for day in days() {
        clock.jump_to(&day);
        until_day(&a, &day).await;
        until_day(&b, &day).await;
        let token = a.token().await;
        for kind in [RecordKind::Visit, RecordKind::Agreement, RecordKind::Exercise] {
            for status in 0..12 {
                let filter = if kind == RecordKind::Agreement {
                    v1::Filter { agreement_statuses: vec![status], ..Default::default() }
                } else {
                    v1::Filter { statuses: vec![status], ..Default::default() }
                };
                let request = v1::ListVisitsRequest {
                    filters: if status == 0 { vec![] } else { vec![filter] },
                    as_of: as_of(&token),
                    ..Default::default()
                };
                let answers = (ask::list(&a, kind, &request).await, ask::list(&b, kind, &request).await);
                match answers {
                    (Ok(here), Ok(there)) => assert_eq!(here, there, "{kind:?} {status} on {day}"),
                    // A number that is no status.
                    (Err(here), Err(there)) => assert_eq!(here.message(), there.message()),
                    (here, there) => panic!("{kind:?} {status} on {day}: {here:?}, {there:?}"),
                }
            }
        }
    }
    assert_eq!(milestones(&everything(&a).await, filed), falls_due());
    assert_eq!(everything(&a).await, everything(&b).await);
    a.stop().await;
    b.stop().await;
}

// ---- clocks that jump ----

#[tokio::test]
async fn a_clock_that_jumps_ahead_and_back_moves_the_day_once_and_never_back() {
    let (server, clock) = on("2024-01-20").await;
    let filed = server.file(half_a_year()).await.revision;
    pass(&server, &clock, "2024-02-20").await;
    let first: Vec<_> = falls_due().into_iter().take(3).map(|(_, kind, subject)| (kind, subject)).collect();
    let told = |events: &[v1::Event]| milestones(events, filed);
    let events = everything(&server).await;
    let on_one_day: Vec<_> = told(&events).into_iter().map(|(_, kind, subject)| (kind, subject)).collect();
    assert_eq!(on_one_day, first, "in the order of their days");
    let after =
        |events: &[v1::Event]| events.iter().map(|e| e.revision).collect::<BTreeSet<_>>().split_off(&(filed + 1));
    assert_eq!(after(&events).len(), 1, "one move of the day");

    clock.jump_in_vain("2024-01-25").await;
    let late = server.file(vec![visit("late", "2024-02-15", "2024-02-16")]).await;
    assert_eq!(
        types(&late.events),
        [EventType::Recorded, EventType::VisitBegan, EventType::VisitConcluded],
        "what is filed meanwhile rests on the registry's day"
    );
    assert_eq!(info(&server).await.day, "2024-02-20");
    pass(&server, &clock, "2024-02-29").await;
    let events = everything(&server).await;
    let of_clock: Vec<_> = events.iter().filter(|e| e.principal == "clock").cloned().collect();
    let expected: Vec<_> = falls_due().into_iter().take(4).map(|(_, kind, subject)| (kind, subject)).collect();
    let of_clock: Vec<_> = told(&of_clock).into_iter().map(|(_, kind, subject)| (kind, subject)).collect();
    assert_eq!(of_clock, expected, "nothing twice");
    server.stop().await;
}

#[tokio::test]
async fn a_week_of_downtime_is_one_move_with_its_milestones_in_date_order() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::on("2024-02-09"));
    let server = start(config_at(folder.path()), &clock).await;
    let visits =
        [("c", "2024-02-11", "2024-02-13"), ("a", "2024-02-10", "2024-02-14"), ("b", "2024-02-12", "2024-02-12")];
    let filed = server.file(visits.iter().map(|(id, start, end)| visit(id, start, end)).collect()).await.revision;
    server.stop().await;
    clock.jump_to("2024-02-16");
    let server = start(config_at(folder.path()), &clock).await;
    until_day(&server, "2024-02-16").await;
    let events = everything(&server).await;
    let told = events.iter().filter(|e| e.revision == filed + 1 && e.event_class() == EventClass::Cooperation);
    let told: Vec<_> = told.map(|e| (e.subject.as_str(), e.r#type())).collect();
    let (began, concluded) = (EventType::VisitBegan, EventType::VisitConcluded);
    assert_eq!(
        told,
        [
            ("visits/a", began),
            ("visits/c", began),
            ("visits/b", began),
            ("visits/b", concluded),
            ("visits/c", concluded),
            ("visits/a", concluded),
        ]
    );
    let updated = events.iter().filter(|e| e.revision == filed + 1 && e.r#type() == EventType::Updated);
    assert_eq!(updated.count(), 3, "each record's status changes once");
    assert_eq!(info(&server).await.revision, filed + 1);
    server.stop().await;
}

#[tokio::test]
async fn a_jump_of_more_than_forty_days_waits_for_a_correction_or_an_operator() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::on("2024-01-02"));
    let server = start(config_at(folder.path()), &clock).await;
    let filed = server.file(half_a_year()).await.revision;
    clock.jump_in_vain("2024-02-12").await;
    assert_eq!(info(&server).await.day, "2024-01-02", "forty-one days");
    // The clock is corrected: the day moves on without a restart.
    pass(&server, &clock, "2024-02-11").await;
    let told = milestones(&everything(&server).await, filed);
    assert_eq!(told.iter().map(|t| t.1).collect::<Vec<_>>(), [EventType::AgreementInForce, EventType::VisitBegan]);
    clock.jump_in_vain("2024-08-01").await;
    assert_eq!(info(&server).await.day, "2024-02-11");
    server.stop().await;
    let server = start(Config { accept_day_jump: true, ..config_at(folder.path()) }, &clock).await;
    until_day(&server, "2024-08-01").await;
    let told: Vec<_> = milestones(&everything(&server).await, filed).into_iter().map(|t| (t.1, t.2)).collect();
    assert_eq!(told, falls_due().into_iter().map(|t| (t.1, t.2)).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test]
async fn a_day_that_is_ahead_of_the_clock_is_told_at_the_start_and_once_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let (store, log) = (folder.path().join("store"), folder.path().join("log"));
    // (All that looks at the clock is on this thread.)
    let to_file = Arc::new(File::create(&log).unwrap());
    let logger = tracing_subscriber::fmt().with_ansi(false).with_writer(to_file).finish();
    let _logging = tracing::subscriber::set_default(logger);
    let told = || fs::read_to_string(&log).unwrap().matches("days ahead of the clock").count();
    let clock = Arc::new(FakeClock::on("2024-03-02"));
    let server = start(config_at(&store), &clock).await;
    server.file(half_a_year()).await;
    clock.jump_in_vain("2024-03-01").await;
    assert_eq!(told(), 0, "one day: another replica's midnight may come first");
    clock.jump_in_vain("2024-02-01").await;
    assert_eq!(told(), 1);
    clock.jump_in_vain("2024-02-01").await;
    assert_eq!(told(), 1, "once a day");
    clock.jump_in_vain("2024-02-02").await;
    assert_eq!(told(), 2);
    server.stop().await;
    let server = start(config_at(&store), &clock).await;
    clock.jump_in_vain("2024-02-02").await;
    assert_eq!(told(), 3, "at a start");
    assert_eq!(info(&server).await.day, "2024-03-02");
    server.stop().await;
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_left_is_told_by_a_number_and_at_each_start_until_the_clock_is_there() {
    const AHEAD: &str = "attache_recorded_ahead_seconds";
    let folder = tempfile::tempdir().unwrap();
    let (store, log) = (folder.path().join("store"), folder.path().join("log"));
    // (Whoever starts a server is on this thread.)
    let to_file = Arc::new(File::create(&log).unwrap());
    let logger = tracing_subscriber::fmt().with_ansi(false).with_writer(to_file).finish();
    let _logging = tracing::subscriber::set_default(logger);
    let told = || fs::read_to_string(&log).unwrap().matches("recorded ahead of the clock").count();
    let clock = Arc::new(FakeClock::on("2024-01-02"));
    let server = start(observed(config_at(&store)), &clock).await;
    server.file(vec![visit("before", "2024-01-01", "")]).await;
    assert_eq!((server.number(AHEAD).await, told()), (0.0, 0));
    server.stop().await;

    // The registry's day stays, and what is filed is taken: a registry that rested is to be filed to as well.
    clock.jump_to("2024-03-01");
    let server = start(observed(config_at(&store)), &clock).await;
    let wrong = server.file(vec![visit("wrong", "2024-01-01", "")]).await;
    assert_eq!(info(&server).await.day, "2024-01-02");
    assert_eq!(recorded_on(&wrong.events[0]), "2024-03-01");
    assert_eq!((server.number(AHEAD).await, told()), (0.0, 0), "by its own clock it is now");
    server.stop().await;

    clock.jump_to("2024-01-03");
    let server = start(observed(config_at(&store)), &clock).await;
    assert_eq!(told(), 1);
    let right = server.file(vec![visit("right", "2024-01-01", "")]).await;
    assert_eq!(recorded_on(&right.events[0]), "2024-03-01", "it never goes back");
    // (Clocks move a little with each look.)
    let days = server.number(AHEAD).await / 86_400.0;
    assert!((57.9..58.1).contains(&days), "{days} days");
    clock.jump_to("2024-03-02");
    assert_eq!(server.number(AHEAD).await, 0.0);
    server.stop().await;
    let server = start(observed(config_at(&store)), &clock).await;
    assert_eq!(told(), 1, "it is over");
    server.stop().await;
}

// ---- what the numbers say of it ----

/// How many records the clock should have looked at and has not; and the day on which it must look at one next.
async fn deadlines(server: &TestServer) -> (f64, f64) {
    (server.number("attache_deadlines_overdue").await, server.number("attache_next_deadline_day").await)
}

/// A day (UTC) as numbers tell it: in days since 1970.
fn number_of(day: &str) -> f64 {
    let midnight: jiff::Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
    f64::from(u32::try_from(midnight.as_second() / 86_400).unwrap())
}

#[tokio::test]
async fn what_the_clock_should_have_looked_at_is_told_until_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::on("2024-01-02"));
    let server = start(observed(config_at(folder.path())), &clock).await;
    assert_eq!(deadlines(&server).await, (0.0, -1.0));
    let visits = [("v", "2024-02-10", "2024-02-12"), ("w", "2024-03-01", ""), ("x", "2025-01-01", "")];
    server.file(visits.iter().map(|(id, start, end)| visit(id, start, end)).collect()).await;
    assert_eq!(deadlines(&server).await, (0.0, number_of("2024-02-10")));
    // So far it moves for an operator alone.
    clock.jump_in_vain("2024-06-01").await;
    assert_eq!(deadlines(&server).await, (2.0, number_of("2024-02-10")));
    server.stop().await;
    let server = start(Config { accept_day_jump: true, ..observed(config_at(folder.path())) }, &clock).await;
    until_day(&server, "2024-06-01").await;
    assert_eq!(deadlines(&server).await, (0.0, number_of("2025-01-01")));
    server.stop().await;
}

// ---- filters on status ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_on_status_gains_and_loses_records_by_events() {
    let (server, clock) = on("2024-01-02").await;
    server.file(half_a_year()).await;
    let filters = [
        (
            RecordKind::Agreement,
            v1::Filter { agreement_statuses: vec![AgreementStatus::InForce.into()], ..Default::default() },
        ),
        (
            RecordKind::Agreement,
            v1::Filter { agreement_statuses: vec![AgreementStatus::Expired.into()], ..Default::default() },
        ),
        (RecordKind::Visit, v1::Filter { statuses: vec![Status::Underway.into()], ..Default::default() }),
        (
            RecordKind::Exercise,
            v1::Filter { statuses: vec![Status::Unknown.into(), Status::Underway.into()], ..Default::default() },
        ),
    ];
    let filters = filters.map(|(kind, filter)| (kind, v1::Filter { kinds: vec![kind.into()], ..filter }));
    let mut watches = Vec::new();
    for (_, filter) in &filters {
        watches.push(server.watch(lively(filtered(from_snapshot(), vec![filter.clone()]))).await);
    }
    for day in days() {
        pass(&server, &clock, &day).await;
    }
    let last = server.file(vec![visit("last", "2024-01-03", "2024-01-04")]).await.revision;
    for ((kind, filter), watch) in filters.iter().zip(&mut watches) {
        let mut cache: BTreeMap<String, AgreementStatus> = BTreeMap::new();
        let (mut gained, mut lost) = (0, 0);
        let mut is_current = false;
        for frame in watch.up_to_revision(last).await {
            for event in batch(&frame).into_iter().flat_map(|b| &b.events) {
                if event.left_filter {
                    lost += usize::from(cache.remove(&event.subject).is_some());
                } else if let Some(Kind::Agreement(a)) = event.record.as_ref().and_then(|r| r.kind.as_ref()) {
                    let status = a.info.as_ref().unwrap().status.as_ref().unwrap().agreement_status();
                    gained += usize::from(cache.insert(event.subject.clone(), status).is_none());
                } else if event.record.is_some() {
                    gained += usize::from(cache.insert(event.subject.clone(), AgreementStatus::Unspecified).is_none());
                }
            }
            is_current |= is_caught_up(&frame);
            if is_current {
                let request = v1::ListVisitsRequest {
                    filters: vec![filter.clone()],
                    as_of: as_of(&frame.token),
                    ..Default::default()
                };
                let mut listed = ask::list(&server, *kind, &request).await.unwrap().names();
                listed.sort();
                assert_eq!(cache.keys().cloned().collect::<Vec<_>>(), listed, "{filter:?} at {:?}", frame.frame);
            }
        }
        assert!(gained > 0, "{filter:?} gained nothing");
        let expects_loss = !filter.agreement_statuses.contains(&AgreementStatus::Expired.into());
        assert_eq!(lost > 0, expects_loss, "{filter:?} lost {lost}");
    }
    drop(watches);
    server.stop().await;
}

// ---- filings that meet the day ----

#[tokio::test]
async fn importing_the_past_tells_each_once_in_date_order_and_warns_of_what_still_runs() {
    let (server, clock) = on("2024-06-10").await;
    let past = server.file(vec![plan("past", "2023-12-31", "2024-03-31")]).await;
    let told = |events: &[v1::Event]| -> Vec<EventType> {
        let of_the_world = |e: &&v1::Event| e.event_class() == EventClass::Cooperation;
        events.iter().filter(of_the_world).map(v1::Event::r#type).collect()
    };
    assert_eq!(
        told(&past.events),
        [EventType::AgreementSigned, EventType::AgreementInForce, EventType::AgreementExpired]
    );
    // Twenty days are left: it is within thirty.
    let running = server.file(vec![plan("running", "2023-12-31", "2024-06-30")]).await;
    assert_eq!(
        told(&running.events),
        [EventType::AgreementSigned, EventType::AgreementInForce, EventType::AgreementExpiring]
    );
    let Some(Detail::Due(due)) = &running.events.last().unwrap().detail else { panic!("{running:?}") };
    assert_eq!(due.days_left, 30);
    for day in ["2024-06-23", "2024-07-01"] {
        pass(&server, &clock, day).await;
    }
    let events = everything(&server).await;
    let of_clock: Vec<_> = events.into_iter().filter(|e| e.principal == "clock").collect();
    assert_eq!(told(&of_clock), [EventType::AgreementExpiring, EventType::AgreementExpired]);
    assert!(of_clock.iter().all(|e| e.subject == "agreements/running"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_concluded_after_its_validity_began_is_in_force_from_then() {
    let (server, clock) = on("2024-01-02").await;
    let late = agreement("late", vec![act(ActionType::Signed, "2024-01-10")], |a| a.validity = valid("2024-01-01", ""));
    server.file(vec![late]).await;
    pass(&server, &clock, "2024-01-09").await;
    assert_ne!(status_of(&server, "agreements/late").await, AgreementStatus::InForce);
    pass(&server, &clock, "2024-01-10").await;
    assert_eq!(status_of(&server, "agreements/late").await, AgreementStatus::InForce);
    let told: Vec<_> = milestones(&everything(&server).await, 0).into_iter().map(|t| (t.0, t.1)).collect();
    let day = || "2024-01-10".to_owned();
    assert_eq!(told, [(day(), EventType::AgreementSigned), (day(), EventType::AgreementInForce)]);
    server.stop().await;
}

#[tokio::test]
async fn a_correction_of_its_end_moves_the_deadline() {
    let (server, clock) = on("2024-01-02").await;
    let first = server.file(vec![plan("a", "2023-12-01", "2024-01-20")]).await;
    assert_eq!(types(&first.events).last(), Some(&EventType::AgreementExpiring), "thirty days before");
    // Longer than it was thought: the warning falls, and comes when it is due.
    let longer = server.file(vec![plan("a", "2023-12-01", "2024-02-20")]).await;
    assert_eq!(types(&longer.events), [EventType::Corrected, EventType::MilestoneWithdrawn]);
    assert_eq!(longer.events[1].withdraws, first.events.last().unwrap().id);
    for day in ["2024-01-20", "2024-01-21"] {
        pass(&server, &clock, day).await;
        assert_eq!(status_of(&server, "agreements/a").await, AgreementStatus::InForce, "{day}");
    }
    let told: Vec<_> =
        milestones(&everything(&server).await, longer.revision).into_iter().map(|t| (t.0, t.1)).collect();
    assert_eq!(told, [("2024-01-21".to_owned(), EventType::AgreementExpiring)]);
    // And shorter: it has ended already.
    let shorter = server.file(vec![plan("a", "2023-12-01", "2024-01-20")]).await;
    let told = types(&shorter.events);
    assert!(told.contains(&EventType::AgreementExpired), "{told:?}");
    pass(&server, &clock, "2024-02-21").await;
    let expired = |e: &&v1::Event| e.r#type() == EventType::AgreementExpired;
    assert_eq!(everything(&server).await.iter().filter(expired).count(), 1);
    server.stop().await;
}

#[tokio::test]
async fn an_undated_denunciation_ends_tacit_renewal_for_status_and_milestones_alike() {
    let (server, clock) = on("2024-01-02").await;
    let tacit = |more: Vec<v1::AgreementAction>| {
        let mut actions = vec![act(ActionType::EnteredIntoForce, "2010-01-01")];
        actions.extend(more);
        agreement("t", actions, |a| {
            a.validity = valid("", "2015-01-20");
            let kind = v1::RenewalKind::Tacit.into();
            a.renewal = Some(v1::Renewal { kind, period_months: Some(12), ..Default::default() });
        })
    };
    server.file(vec![tacit(vec![])]).await;
    let undated = v1::AgreementAction { r#type: ActionType::Denounced.into(), ..Default::default() };
    server.file(vec![tacit(vec![undated])]).await;
    pass(&server, &clock, "2024-01-20").await;
    assert_eq!(status_of(&server, "agreements/t").await, AgreementStatus::Denounced);
    pass(&server, &clock, "2024-01-21").await;
    assert_eq!(status_of(&server, "agreements/t").await, AgreementStatus::Expired);
    let told: Vec<_> = milestones(&everything(&server).await, 0).into_iter().map(|t| t.1).collect();
    assert!(told.contains(&EventType::AgreementExpired), "{told:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_only_falls_due_changes_neither_record_nor_its_place_in_lists() {
    let (server, clock) = on("2024-01-02").await;
    server.file(vec![plan("warned", "2024-01-01", "2024-04-10")]).await;
    server.file(vec![plan("later", "2024-01-01", "2026-01-01")]).await;
    let by_update = v1::ListVisitsRequest { order_by: v1::OrderBy::UpdateTimeDesc.into(), ..Default::default() };
    let before = ask::list(&server, RecordKind::Agreement, &by_update).await.unwrap();
    pass(&server, &clock, "2024-01-11").await;
    pass(&server, &clock, "2024-01-12").await;
    let events = everything(&server).await;
    let of_clock: Vec<_> = events.iter().filter(|e| e.principal == "clock").collect();
    assert_eq!(of_clock.len(), 1, "{of_clock:?}");
    assert_eq!(of_clock[0].r#type(), EventType::AgreementExpiring);
    let after = ask::list(&server, RecordKind::Agreement, &by_update).await.unwrap();
    assert_eq!(after.records, before.records);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_is_told_of_a_day_as_of_any_revision() {
    let (server, clock) = on("2024-02-09").await;
    let mut live = server.watch(taciturn(from_now())).await;
    live.up_to(is_caught_up).await;
    let filed = server.file(vec![visit("v", "2024-02-10", "2024-02-10")]).await;
    pass(&server, &clock, "2024-02-10").await;
    pass(&server, &clock, "2024-02-11").await;
    let told = events(&live.up_to_revision(filed.revision + 2).await);
    assert_eq!(
        types(&told),
        [EventType::Recorded, EventType::Updated, EventType::VisitBegan, EventType::Updated, EventType::VisitConcluded]
    );
    assert_eq!(told, server.replay(until_caught_up(from_oldest())).await);
    // As of a time between two days the registry answers as it did then.
    let status = async |revision: u64| {
        let time = told.iter().find(|e| e.revision == revision).unwrap().time.unwrap();
        let request =
            v1::GetVisitRequest { name: "visits/v".into(), as_of: ask::as_of_time(time), ..Default::default() };
        let visit = server.registry().get_visit(request).await.unwrap().into_inner().visit.unwrap();
        visit.info.unwrap().status.unwrap().status()
    };
    let first = filed.revision;
    assert_eq!(status(first).await, Status::Unknown);
    assert_eq!(status(first + 1).await, Status::Underway);
    assert_eq!(status(first + 2).await, Status::Concluded);
    drop(live);
    server.stop().await;
}

// ---- many parts ----

#[tokio::test]
async fn a_day_of_many_parts_tells_each_once() {
    let (server, clock) = on("2024-02-09").await;
    let wordy = |n: usize| {
        let visit = v1::Visit { start: Some(date("2024-02-10")), note: Some("n".repeat(4000)), ..Default::default() };
        visit_report_of(&format!("v{n:03}"), "desk", visit)
    };
    for hundred in 0..4 {
        server.file((0..100).map(|n| wordy(hundred * 100 + n)).collect()).await;
    }
    let before = info(&server).await.revision;
    pass(&server, &clock, "2024-02-10").await;
    let events = everything(&server).await;
    let parts: BTreeSet<u64> = events.iter().map(|e| e.revision).filter(|r| *r > before).collect();
    assert!(parts.len() > 2, "{} parts", parts.len());
    let began = events.iter().filter(|e| e.r#type() == EventType::VisitBegan).map(|e| e.subject.clone());
    assert_eq!(began.clone().collect::<BTreeSet<_>>().len(), 400);
    assert_eq!(began.count(), 400);
    server.stop().await;
}

// ---- a history is replayed ----

fn at(text: &str) -> Option<prost_types::Timestamp> {
    let at: jiff::Timestamp = text.parse().expect("an instant");
    Some(prost_types::Timestamp { seconds: at.as_second(), nanos: 0 })
}

async fn replayed(
    server: &TestServer,
    report: v1::Report,
    when: &str,
) -> Result<v1::FileReportsResponse, tonic::Status> {
    let request = v1::FileReportsRequest { reports: vec![report], recorded_at: at(when), ..Default::default() };
    server.filing().file_reports(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_replayed_history_has_its_own_days_until_the_first_live_filing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::on("2024-01-02"));
    let server = start(config_at(folder.path()), &clock).await;
    assert_eq!((info(&server).await.day, info(&server).await.replaying), (String::new(), true));
    replayed(&server, visit("v", "2015-03-10", "2015-03-12"), "2015-03-01T10:00:00Z").await.unwrap();
    assert_eq!((info(&server).await.day.as_str(), info(&server).await.replaying), ("2015-03-01", true));
    // The clock sleeps, through a restart too; the writer moves the day before the first filing of a later one.
    clock.jump_to("2024-01-05");
    server.stop().await;
    let server = start(config_at(folder.path()), &clock).await;
    let second = replayed(&server, visit("w", "2015-01-01", "2015-01-02"), "2015-03-11T23:30:00+04:00").await.unwrap();
    assert_eq!((second.revision, info(&server).await.day.as_str()), (3, "2015-03-11"));
    let third = replayed(&server, visit("x", "2016-01-01", "2016-01-01"), "2016-06-01T00:00:00Z").await.unwrap();
    assert_eq!(third.revision, 5);
    let events = everything(&server).await;
    let told: Vec<_> = milestones(&events, 0);
    let expected = [
        ("2015-03-11", EventType::VisitBegan, "visits/v"),
        ("2015-03-11", EventType::VisitBegan, "visits/w"),
        ("2015-03-11", EventType::VisitConcluded, "visits/w"),
        ("2016-06-01", EventType::VisitConcluded, "visits/v"),
        ("2016-06-01", EventType::VisitBegan, "visits/x"),
        ("2016-06-01", EventType::VisitConcluded, "visits/x"),
    ];
    assert_eq!(told, expected.map(|(day, kind, subject)| (day.to_owned(), kind, subject.to_owned())));

    // Not before the newest entry, and not in the future.
    for (when, words) in
        [("2016-05-31T23:59:59Z", "before the newest entry"), ("2024-02-01T00:00:00Z", "in the future")]
    {
        let refused = replayed(&server, visit("y", "2015-01-01", ""), when).await.unwrap_err();
        assert_eq!(ask::reason(&refused), "FIELD_INVALID", "{when}");
        assert!(refused.message().contains("recorded_at") && refused.message().contains(words), "{refused:?}");
    }
    // The same time again is not before.
    replayed(&server, visit("y", "2015-01-01", ""), "2016-06-01T00:00:00Z").await.unwrap();
    assert!(info(&server).await.replaying);

    // The first live filing finds today, and ends the replay.
    let live = server.file(vec![visit("z", "2024-01-04", "2024-01-04")]).await;
    assert_eq!(types(&live.events), [EventType::Recorded, EventType::VisitBegan, EventType::VisitConcluded]);
    let now = info(&server).await;
    assert_eq!((now.day.as_str(), now.replaying), ("2024-01-05", false));
    let refused = replayed(&server, visit("q", "2015-01-01", ""), "2024-01-05T07:00:00Z").await.unwrap_err();
    assert_eq!(ask::reason(&refused), "FIELD_INVALID");
    pass(&server, &clock, "2024-01-06").await;
    server.stop().await;
}

#[tokio::test]
async fn the_clock_sleeps_while_a_history_of_these_days_is_replayed() {
    let (server, clock) = on("2024-01-20").await;
    for day in 10..20 {
        // Had the clock moved the day, it would be today's, and an earlier time be refused.
        let when = format!("2024-01-{day}T00:00:00Z");
        replayed(&server, visit(&format!("v{day}"), "2024-01-01", ""), &when).await.unwrap();
        assert_eq!(info(&server).await.day, format!("2024-01-{day}"));
        clock.jump_to(&format!("2024-01-{}", day + 11));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_filing_that_is_only_validated_in_a_replay_rests_on_its_own_day() {
    let (server, _clock) = on("2024-01-02").await;
    replayed(&server, visit("v", "2015-01-01", ""), "2015-01-01T00:00:00Z").await.unwrap();
    let request = v1::FileReportsRequest {
        reports: vec![visit("w", "2018-01-01", "2018-01-02")],
        recorded_at: at("2019-01-01T00:00:00Z"),
        ..Default::default()
    };
    let dry = v1::FileReportsRequest { validate_only: true, ..request.clone() };
    let dry = server.filing().file_reports(dry).await.unwrap().into_inner();
    assert_eq!(info(&server).await.day, "2015-01-01", "nothing moves");
    let wet = server.filing().file_reports(request).await.unwrap().into_inner();
    assert_eq!(types(&dry.events), types(&wet.events));
    assert_eq!(types(&wet.events), [EventType::Recorded, EventType::VisitBegan, EventType::VisitConcluded]);
    server.stop().await;
}

#[tokio::test]
async fn request_ids_are_remembered_through_a_replay_however_long_its_time() {
    let (server, _clock) = on("2024-01-02").await;
    let request = |id: &str, when: &str| v1::FileReportsRequest {
        reports: vec![visit(id, "2015-01-01", "")],
        recorded_at: at(when),
        request_id: Some(format!("batch-{id}")),
        ..Default::default()
    };
    let file =
        async |request: v1::FileReportsRequest| server.filing().file_reports(request).await.unwrap().into_inner();
    let first = file(request("one", "2015-06-01T00:00:00Z")).await;
    file(request("two", "2020-06-01T00:00:00Z")).await;
    let head = info(&server).await.revision;
    // Interrupted, and run again from its start.
    let again = file(request("one", "2015-06-01T00:00:00Z")).await;
    assert_eq!((again.revision, &again.events), (first.revision, &first.events));
    assert_eq!(info(&server).await.revision, head);
    server.stop().await;
}

// ---- the sample ----

#[tokio::test]
async fn the_plan_of_2024_was_in_force_by_inference_and_has_expired_once() {
    let clock = Arc::new(FakeClock::on("2026-01-15"));
    let server = start(Config { sample: true, ..config() }, &clock).await;
    let plan = async |valid_at: Option<&str>| {
        let name = "agreements/az-kz-military-cooperation-plan-2024".to_owned();
        let valid_at = valid_at.map(ToOwned::to_owned);
        let request = v1::GetAgreementRequest { name, valid_at, ..Default::default() };
        let plan = server.registry().get_agreement(request).await.unwrap().into_inner().agreement.unwrap();
        let status = plan.info.unwrap().status.unwrap();
        (status.agreement_status(), status.certainty())
    };
    assert_eq!(plan(Some("2024-06-01")).await, (AgreementStatus::InForce, v1::Certainty::Inferred));
    assert_eq!(plan(None).await.0, AgreementStatus::Expired);
    let events = everything(&server).await;
    let of_plan = |kind: EventType| {
        let it = |e: &&v1::Event| e.r#type() == kind && e.subject.ends_with("plan-2024");
        events.iter().filter(it).map(recorded_on).collect::<Vec<_>>()
    };
    assert_eq!(of_plan(EventType::AgreementExpired).len(), 1);
    assert_eq!(of_plan(EventType::AgreementInForce).len(), 1);
    server.stop().await;
}
