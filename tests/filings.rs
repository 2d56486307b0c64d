//! Filings: safe to repeat, checked before they count, and answered with what they did.

mod common;

use attache::pb::v1::{
    self, EventType, FilingOutcome, Intent, RetractionReason, SourceKind, VisitType, retract_reports_request::Selection,
};
use common::{
    TestServer,
    ask::{as_of, reason},
    date, side, source, visit_report, visit_report_of, withdrawal,
};
use tonic::Status;

/// A report of `visits/x` by a source of its own publisher.
fn said(source_id: &str, change: impl FnOnce(&mut v1::Visit)) -> v1::Report {
    let mut visit = v1::Visit { hosts: vec![side("AZ")], guests: vec![side("KZ")], ..Default::default() };
    change(&mut visit);
    visit_report_of("x", source_id, visit)
}

fn filing(report: v1::Report) -> v1::FileReportsRequest {
    v1::FileReportsRequest { reports: vec![report], ..Default::default() }
}

async fn file(server: &TestServer, request: v1::FileReportsRequest) -> Result<v1::FileReportsResponse, Status> {
    server.filing().file_reports(request).await.map(tonic::Response::into_inner)
}

async fn head(server: &TestServer) -> String {
    server.log().get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner().token
}

async fn get(server: &TestServer, as_of: Option<v1::AsOf>) -> Result<v1::Visit, Status> {
    let request = v1::GetVisitRequest { name: "visits/x".into(), as_of, ..Default::default() };
    server.registry().get_visit(request).await.map(|r| r.into_inner().visit.unwrap())
}

fn ruling(source_id: &str) -> v1::RetractRecordRequest {
    v1::RetractRecordRequest {
        name: "visits/x".into(),
        reason: RetractionReason::Fabricated.into(),
        source: Some(v1::Source { kind: SourceKind::Editor.into(), ..source(source_id) }),
        ..Default::default()
    }
}

/// The types of events, registry and cooperation.
fn types(events: &[v1::Event]) -> Vec<EventType> {
    events.iter().map(v1::Event::r#type).collect()
}

#[tokio::test]
async fn the_same_request_id_is_answered_as_the_first_time_and_files_once() {
    let server = TestServer::start().await;
    let request = |id: &str, day: &str| v1::FileReportsRequest {
        request_id: Some(id.into()),
        ..filing(said("a", |v| v.start = Some(date(day))))
    };
    let first = file(&server, request("one", "2023-10-06")).await.unwrap();
    // Even after something else was filed for the same report.
    let second = file(&server, request("two", "2023-10-07")).await.unwrap();
    let again = file(&server, request("one", "2023-10-06")).await.unwrap();
    assert_eq!((again.results, again.events, again.revision), (first.results, first.events, first.revision));
    assert_eq!(head(&server).await, second.token);
    assert_eq!(get(&server, None).await.unwrap().start.unwrap().edtf, "2023-10-07");

    let other = file(&server, request("one", "2023-10-08")).await.unwrap_err();
    assert_eq!(reason(&other), "REQUEST_ID_REUSED");
    // The id is the principal's, whatever the rpc.
    let mut other = ruling("editor");
    other.request_id = Some("one".into());
    let other = server.filing().retract_record(other).await.unwrap_err();
    assert_eq!(reason(&other), "REQUEST_ID_REUSED");
    assert_eq!(head(&server).await, second.token);

    // Retractions, rulings and their lifting repeat alike.
    let mut request = withdrawal(Selection::Source("sources/a".into()));
    request.request_id = Some("three".into());
    let first = server.filing().retract_reports(request.clone()).await.unwrap().into_inner();
    let again = server.filing().retract_reports(request).await.unwrap().into_inner();
    assert_eq!(first, again);
    let mut request = ruling("editor");
    request.request_id = Some("four".into());
    let first = server.filing().retract_record(request.clone()).await.unwrap().into_inner();
    assert_eq!(server.filing().retract_record(request).await.unwrap().into_inner(), first);
    let request =
        v1::RestoreRecordRequest { name: "visits/x".into(), request_id: Some("five".into()), ..Default::default() };
    let first = server.filing().restore_record(request.clone()).await.unwrap().into_inner();
    assert_eq!(server.filing().restore_record(request).await.unwrap().into_inner(), first);
    server.stop().await;
}

#[tokio::test]
async fn an_etag_must_be_the_one_that_stands() {
    let server = TestServer::start().await;
    let report = "visits/x/reports/a";
    let expecting = |etag: &str, day: &str| v1::FileReportsRequest {
        preconditions: vec![v1::ReportPrecondition { report: report.into(), expected_etag: etag.into() }],
        ..filing(said("a", |v| v.start = Some(date(day))))
    };
    let first = file(&server, expecting("", "2023-01-01")).await.unwrap();
    let etag = first.results[0].etag.clone();
    for wrong in ["", "other"] {
        let status = file(&server, expecting(wrong, "2023-01-02")).await.unwrap_err();
        assert_eq!(reason(&status), "ETAG_MISMATCH");
    }
    assert_eq!(head(&server).await, first.token);
    let second = file(&server, expecting(&etag, "2023-01-02")).await.unwrap();
    assert_ne!(second.results[0].etag, etag);
    assert_eq!(reason(&file(&server, expecting(&etag, "2023-01-03")).await.unwrap_err()), "ETAG_MISMATCH");
    // The etag is the one that the report is listed with, and a withdrawn report has none.
    let request = v1::ListReportsRequest { parent: "visits/x".into(), ..Default::default() };
    let listed = server.registry().list_reports(request).await.unwrap().into_inner().reports;
    assert_eq!(listed[0].report.as_ref().unwrap().etag, second.results[0].etag);
    assert_eq!(server.withdraw(Selection::Report(report.into())).await.results[0].etag, "");
    file(&server, expecting("", "2023-01-04")).await.unwrap();
    server.stop().await;
}

/// Events without the time at which they were recorded.
fn timeless(events: Vec<v1::Event>) -> Vec<v1::Event> {
    events.into_iter().map(|e| v1::Event { time: None, ..e }).collect()
}

#[tokio::test]
async fn validating_answers_as_filing_would_and_changes_nothing() {
    let server = TestServer::start().await;
    server.file(vec![said("a", |v| v.start = Some(date("2023-10-06")))]).await;

    let request = filing(said("b", |v| v.start = Some(date("2023-11"))));
    let before = head(&server).await;
    let dry = file(&server, v1::FileReportsRequest { validate_only: true, ..request.clone() }).await.unwrap();
    assert_eq!((head(&server).await, dry.revision, &dry.token), (before.clone(), 0, &before));
    let wet = file(&server, request).await.unwrap();
    assert_eq!(wet.results[0].disputed, ["start"]);
    assert_eq!((dry.results, timeless(dry.events)), (wet.results, timeless(wet.events)));

    let request = withdrawal(Selection::Source("sources/b".into()));
    let before = head(&server).await;
    let dry = v1::RetractReportsRequest { validate_only: true, ..request.clone() };
    let dry = server.filing().retract_reports(dry).await.unwrap().into_inner();
    assert_eq!((head(&server).await, dry.revision), (before, 0));
    let wet = server.filing().retract_reports(request).await.unwrap().into_inner();
    assert_eq!((dry.results, timeless(dry.events)), (wet.results, timeless(wet.events)));

    let before = head(&server).await;
    let dry = v1::RetractRecordRequest { validate_only: true, ..ruling("editor") };
    let dry = server.filing().retract_record(dry).await.unwrap().into_inner();
    assert_eq!((head(&server).await, dry.revision), (before, 0));
    let wet = server.filing().retract_record(ruling("editor")).await.unwrap().into_inner();
    assert_eq!((dry.result, timeless(dry.events)), (wet.result, timeless(wet.events)));

    let request = v1::RestoreRecordRequest { name: "visits/x".into(), ..Default::default() };
    let before = head(&server).await;
    let dry = v1::RestoreRecordRequest { validate_only: true, ..request.clone() };
    let dry = server.filing().restore_record(dry).await.unwrap().into_inner();
    assert_eq!((head(&server).await, dry.revision), (before, 0));
    let wet = server.filing().restore_record(request).await.unwrap().into_inner();
    assert_eq!((dry.result, timeless(dry.events)), (wet.result, timeless(wet.events)));

    // What would be refused is refused.
    let wrong = v1::FileReportsRequest { validate_only: true, ..filing(said("b", |v| v.r#type = 99)) };
    assert_eq!(reason(&file(&server, wrong).await.unwrap_err()), "FIELD_INVALID");
    server.stop().await;
}

#[tokio::test]
async fn an_outcome_says_what_the_filing_did_to_the_record() {
    let server = TestServer::start().await;
    let day = |day: &str| Some(date(day));
    let steps: Vec<(&str, v1::Report, Intent, FilingOutcome, Vec<EventType>)> = vec![
        (
            "new",
            said("a", |v| v.start = day("2023-10")),
            Intent::Unspecified,
            FilingOutcome::Recorded,
            vec![EventType::Recorded, EventType::VisitBegan],
        ),
        (
            "the same again",
            said("a", |v| v.start = day("2023-10")),
            Intent::Unspecified,
            FilingOutcome::NoChange,
            vec![],
        ),
        (
            "finer",
            said("a", |v| v.start = day("2023-10-06")),
            Intent::Unspecified,
            FilingOutcome::Extended,
            vec![EventType::Extended],
        ),
        (
            "more",
            said("a", |v| (v.start, v.r#type) = (day("2023-10-06"), VisitType::Official.into())),
            Intent::Correction,
            FilingOutcome::Extended,
            vec![EventType::Extended],
        ),
        (
            "another account",
            said("b", |v| v.start = day("2023-10-06")),
            Intent::Unspecified,
            FilingOutcome::Extended,
            vec![EventType::Extended],
        ),
        (
            "a dispute",
            said("b", |v| v.start = day("2023-12-24")),
            Intent::Unspecified,
            FilingOutcome::Extended,
            vec![EventType::Extended, EventType::Disputed],
        ),
        (
            "its end",
            said("b", |v| v.start = day("2023-10-06")),
            Intent::Unspecified,
            FilingOutcome::Extended,
            vec![EventType::Extended, EventType::Settled],
        ),
        (
            "another type, meant as news",
            said("a", |v| (v.start, v.r#type) = (day("2023-10-06"), VisitType::Working.into())),
            Intent::Update,
            FilingOutcome::Updated,
            vec![EventType::Updated],
        ),
        (
            "another type, meant as correction",
            said("a", |v| (v.start, v.r#type) = (day("2023-10-06"), VisitType::State.into())),
            Intent::Correction,
            FilingOutcome::Corrected,
            vec![EventType::Corrected],
        ),
        (
            "another type, not said how meant",
            said("a", |v| (v.start, v.r#type) = (day("2023-10-06"), VisitType::Official.into())),
            Intent::Unspecified,
            FilingOutcome::Corrected,
            vec![EventType::Corrected],
        ),
        (
            "a value less",
            said("a", |v| v.start = day("2023-10-06")),
            Intent::Unspecified,
            FilingOutcome::Corrected,
            vec![EventType::Corrected],
        ),
    ];
    for (what, report, intent, outcome, events) in steps {
        let before = head(&server).await;
        let request = v1::FileReportsRequest { intent: intent.into(), ..filing(report) };
        let answer = file(&server, request).await.unwrap();
        assert_eq!(answer.results[0].outcome(), outcome, "{what}: {answer:?}");
        assert_eq!(types(&answer.events), events, "{what}");
        assert_eq!(answer.events.is_empty(), answer.token == before, "{what}");
        assert!(answer.events.iter().all(|e| e.intent() == intent && e.record.is_none()), "{what}");
    }
    server.stop().await;
}

/// More visits than one question reads end on the next day.
#[tokio::test]
async fn a_visit_of_the_same_day_is_pointed_at_however_many_of_the_same_states_follow_it() {
    let server = TestServer::start().await;
    server.file(vec![visit_report("first", "a", "KZ", "AZ", "2023-10-01")]).await;
    let next = |n: usize| visit_report(&format!("next{n}"), "a", "KZ", "AZ", "2023-10-02");
    server.file((0..130).map(next).collect()).await;
    let twin = visit_report("twin", "a", "KZ", "AZ", "2023-10-01");
    let answer = file(&server, filing(twin)).await.unwrap();
    assert_eq!(answer.results[0].warnings, ["a visit of the same states on that day exists: visits/first"]);
    server.stop().await;
}

#[tokio::test]
async fn warnings_point_at_what_a_filer_may_have_meant() {
    let server = TestServer::start().await;
    let item = |key: &str| v1::ItineraryItem {
        key: key.into(),
        kind: v1::ItineraryKind::Meeting.into(),
        ..Default::default()
    };
    server.file(vec![said("a", |v| (v.start, v.itinerary) = (Some(date("2023-10-06")), vec![item("talks")]))]).await;
    let warnings = async |report: v1::Report| file(&server, filing(report)).await.unwrap().results[0].warnings.clone();
    let has =
        |warnings: &[String], words: &[&str]| warnings.len() == 1 && words.iter().all(|w| warnings[0].contains(w));

    assert_eq!(warnings(said("b", |v| v.start = Some(date("2023-10-06")))).await, Vec::<String>::new());
    let alike = warnings(said("b", |v| v.itinerary = vec![item("consultations")])).await;
    assert!(has(&alike, &["itinerary[consultations]", "\"talks\"", "named/publisher a"]), "{alike:?}");
    let twin = warnings(visit_report("twin", "c", "KZ", "AZ", "2023-10")).await;
    assert!(has(&twin, &["same states on that day", "visits/x"]), "{twin:?}");
    // Another day, or the sides the other way round, is another visit.
    assert_eq!(warnings(visit_report("later", "d", "KZ", "AZ", "2024-10-06")).await, Vec::<String>::new());
    assert_eq!(warnings(visit_report("back", "d", "AZ", "KZ", "2023-10-06")).await, Vec::<String>::new());
    let mut other = visit_report("later", "d", "KZ", "AZ", "2024-10-06");
    other.source.as_mut().unwrap().uri = Some("https://example.org/d".into());
    let differs = warnings(other).await;
    assert!(has(&differs, &["sources/d", "differs"]), "{differs:?}");
    // Whichever block was filed last is the one that it is compared with, small or large.
    let block = |id: &str, uri: String| {
        let mut report = visit_report(id, "f", "KZ", "AZ", "2020");
        report.source.as_mut().unwrap().uri = Some(uri);
        report
    };
    let (small, large) = (String::from("https://example.org/f"), format!("https://example.org/{}", "f".repeat(600)));
    let other = String::from("https://example.org/g");
    let turns = [
        (&small, false),
        (&other, true),
        (&other, false),
        (&large, true),
        (&large, false),
        (&other, true),
        (&small, true),
    ];
    for (turn, (uri, is_warned)) in turns.into_iter().enumerate() {
        let warned = warnings(block(&format!("turn-{turn}"), uri.clone())).await;
        assert_eq!(warned.iter().any(|w| w.contains("sources/f")), is_warned, "turn {turn}: {warned:?}");
    }
    let ends = warnings(visit_report_of(
        "upside-down",
        "e",
        v1::Visit { start: Some(date("2023-10-06")), end: Some(date("2023-10-05")), ..Default::default() },
    ))
    .await;
    assert!(has(&ends, &["end is before start"]), "{ends:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_report_a_source_or_a_publisher_is_withdrawn() {
    let server = TestServer::start().await;
    let of = |id: &str, source_id: &str, publisher: &str| {
        let mut report = visit_report(id, source_id, "KZ", "AZ", "2023");
        report.source.as_mut().unwrap().publisher =
            Some(v1::Attribution { name_as_stated: Some(publisher.into()), organization: None });
        report
    };
    server
        .file(vec![
            of("v1", "a", "Gazette"),
            of("v2", "a", "Gazette"),
            of("v2", "b", "Courier"),
            of("v3", "c", "GAZETTE"),
            of("v4", "d", "Courier"),
        ])
        .await;
    let withdraw = async |selection: Selection| {
        let answer = server.withdraw(selection).await;
        let results: Vec<_> = answer.results.iter().map(|r| (r.report.clone(), r.outcome())).collect();
        (results, answer.remaining, answer.revision > 0)
    };
    let (results, remaining, filed) = withdraw(Selection::Report("visits/v1/reports/a".into())).await;
    assert_eq!((results, remaining, filed), (vec![("visits/v1/reports/a".into(), FilingOutcome::Retracted)], 0, true));
    let (results, ..) = withdraw(Selection::Source("sources/a".into())).await;
    // Another source still carries it: an account less, and no value.
    assert_eq!(results, [("visits/v2/reports/a".into(), FilingOutcome::Extended)]);
    // Again: the source is known, and has nothing left.
    assert_eq!(withdraw(Selection::Source("sources/a".into())).await, (vec![], 0, false));
    let (results, ..) = withdraw(Selection::Publisher("gazette".into())).await;
    assert_eq!(results, [("visits/v3/reports/c".into(), FilingOutcome::Retracted)]);
    let (results, ..) = withdraw(Selection::Publisher("Courier ".into())).await;
    let names: Vec<_> = results.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["visits/v2/reports/b", "visits/v4/reports/d"]);
    assert_eq!(withdraw(Selection::Publisher("Nobody".into())).await, (vec![], 0, false));
    let left = server.registry().list_visits(v1::ListVisitsRequest::default()).await.unwrap().into_inner();
    assert!(left.visits.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_one_revision_remains_and_is_told() {
    let server = TestServer::start().await;
    let total = 1100;
    let reports: Vec<_> = (0..total).map(|i| visit_report_of(&format!("v{i}"), "a", v1::Visit::default())).collect();
    for part in reports.chunks(550) {
        server.file(part.to_vec()).await;
    }
    let (mut withdrawn, mut last) = (Vec::new(), String::new());
    loop {
        let answer = server.withdraw(Selection::Source("sources/a".into())).await;
        assert!(!answer.results.is_empty() && answer.token != last);
        withdrawn.extend(answer.results.iter().map(|r| r.report.clone()));
        assert_eq!(usize::try_from(answer.remaining).unwrap(), total - withdrawn.len());
        last = answer.token;
        if answer.remaining == 0 {
            break;
        }
    }
    let filed: Vec<_> = (0..total).map(|i| format!("visits/v{i}/reports/a")).collect();
    assert_eq!(withdrawn, filed, "in the order of filing, each once");
    server.stop().await;
}

#[tokio::test]
async fn a_ruling_stands_until_it_is_lifted() {
    let server = TestServer::start().await;
    let recorded = server.file(vec![said("a", |v| v.start = Some(date("2023-10-06")))]).await;
    let answer = server.filing().retract_record(ruling("editor")).await.unwrap().into_inner();
    assert_eq!(answer.result.unwrap().outcome(), FilingOutcome::Retracted);
    assert_eq!(types(&answer.events), [EventType::Retracted, EventType::MilestoneWithdrawn]);
    assert_eq!(answer.events[0].reason(), RetractionReason::Fabricated);
    // The same ruling again.
    let again = server.filing().retract_record(ruling("editor")).await.unwrap().into_inner();
    assert_eq!((again.revision, again.token), (0, answer.token.clone()));

    let status = get(&server, None).await.unwrap_err();
    assert_eq!(reason(&status), "RECORD_RETRACTED");
    let last = {
        use tonic_types::StatusExt as _;
        status.get_details_error_info().unwrap().metadata["last_token"].clone()
    };
    assert_eq!(last, recorded.token);
    assert_eq!(get(&server, as_of(&last)).await.unwrap().start.unwrap().edtf, "2023-10-06");

    // Meanwhile filings are kept, and nothing is told.
    let stored = server.file(vec![said("a", |v| v.start = Some(date("2023-10-07")))]).await;
    assert_eq!(
        (stored.results[0].outcome(), stored.events.len(), stored.revision > 0),
        (FilingOutcome::Stored, 0, true)
    );
    let stored = server.file(vec![said("b", |v| v.end = Some(date("2023-10-08")))]).await;
    assert_eq!(stored.results[0].outcome(), FilingOutcome::Stored);
    assert_eq!(reason(&get(&server, None).await.unwrap_err()), "RECORD_RETRACTED");

    // A second ruling: lifting one leaves the other.
    let second = server.filing().retract_record(ruling("colleague")).await.unwrap().into_inner();
    assert!(second.revision > 0 && second.events.is_empty(), "{second:?}");
    let lift = async |source: Option<&str>| {
        let request =
            v1::RestoreRecordRequest { name: "visits/x".into(), source: source.map(Into::into), ..Default::default() };
        server.filing().restore_record(request).await.unwrap().into_inner()
    };
    let one = lift(Some("sources/editor")).await;
    assert!(one.revision > 0 && one.events.is_empty(), "{one:?}");
    assert_eq!(reason(&get(&server, None).await.unwrap_err()), "RECORD_RETRACTED");
    let nothing = lift(Some("sources/nobody")).await;
    assert_eq!((nothing.revision, nothing.result.unwrap().outcome()), (0, FilingOutcome::NoChange));

    let restored = lift(None).await;
    assert_eq!(restored.result.unwrap().outcome(), FilingOutcome::Restored);
    let by_date = [EventType::VisitBegan, EventType::VisitConcluded];
    assert_eq!(types(&restored.events), [&[EventType::Restored][..], &by_date].concat());
    let visit = get(&server, None).await.unwrap();
    assert_eq!((visit.start.unwrap().edtf, visit.end.unwrap().edtf), ("2023-10-07".into(), "2023-10-08".into()));
    assert_eq!(visit.info.unwrap().account_count, 2);
    let nothing = lift(None).await;
    assert_eq!((nothing.revision, nothing.events.len()), (0, 0));
    server.stop().await;
}

#[tokio::test]
async fn a_record_without_reports_stands_again_when_one_comes_and_not_by_lifting() {
    let server = TestServer::start().await;
    server.file(vec![said("a", |v| v.start = Some(date("2023-10-06")))]).await;
    server.filing().retract_record(ruling("editor")).await.unwrap();
    let withdrawn = server.withdraw(Selection::Report("visits/x/reports/a".into())).await;
    assert_eq!((withdrawn.results[0].outcome(), withdrawn.events.len()), (FilingOutcome::Stored, 0));
    let request = v1::RestoreRecordRequest { name: "visits/x".into(), ..Default::default() };
    let lifted = server.filing().restore_record(request).await.unwrap().into_inner();
    assert!(lifted.revision > 0 && lifted.events.is_empty(), "{lifted:?}");
    assert_eq!(reason(&get(&server, None).await.unwrap_err()), "RECORD_RETRACTED");
    let back = server.file(vec![said("b", |v| v.start = Some(date("2023-10-07")))]).await;
    assert_eq!(back.results[0].outcome(), FilingOutcome::Restored);
    assert_eq!(types(&back.events), [EventType::Restored, EventType::VisitBegan]);
    assert_eq!(get(&server, None).await.unwrap().start.unwrap().edtf, "2023-10-07");
    server.stop().await;
}

#[tokio::test]
async fn one_wrong_report_leaves_out_all_of_its_filing() {
    let server = TestServer::start().await;
    let before = head(&server).await;
    let reports = vec![visit_report("good", "a", "KZ", "AZ", "2023"), visit_report("bad", "a", "KZ", "QQ", "2023")];
    let request = v1::FileReportsRequest { reports, ..Default::default() };
    assert_eq!(reason(&file(&server, request).await.unwrap_err()), "FIELD_INVALID");
    assert_eq!(head(&server).await, before);
    // The shared source serves those that carry none.
    let mut reports =
        vec![visit_report("one", "a", "KZ", "AZ", "2023"), visit_report("two", "own", "KZ", "AZ", "2023")];
    reports[0].source = None;
    let request = v1::FileReportsRequest { reports, source: Some(source("shared")), ..Default::default() };
    let answer = file(&server, request).await.unwrap();
    let names: Vec<_> = answer.results.iter().map(|r| r.report.as_str()).collect();
    assert_eq!(names, ["visits/one/reports/shared", "visits/two/reports/own"]);
    let told: Vec<_> = answer.events.iter().map(|e| (e.revision, e.index, e.subject.as_str())).collect();
    let expected = [(0, "visits/one"), (1, "visits/one"), (2, "visits/two"), (3, "visits/two")];
    let expected = expected.map(|(index, subject)| (answer.revision, index, subject));
    assert_eq!(told, expected, "one revision, in the order of first mention; each is recorded, and began by its date");
    server.stop().await;
}
