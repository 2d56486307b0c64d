//! Imports over the wire: batch after batch, each one revision of its good items.

mod common;

use attache::pb::v1::{
    self, ErrorReason, EventType, FilingOutcome, ImportItem, ImportReportsRequest, ImportReportsResponse,
    RetractionReason, import_item::Item, import_result::Outcome,
};
use common::{
    TestServer,
    ask::{as_of, reason},
    visit_report, visit_report_of,
};
use tokio_stream::{StreamExt as _, iter};
use tonic::Status;

fn report(id: &str, day: &str) -> Item {
    Item::Report(visit_report(id, "list", "KZ", "AZ", day))
}

fn batch(id: &str, items: Vec<Item>) -> ImportReportsRequest {
    let items = items.into_iter().map(|item| ImportItem { item: Some(item) }).collect();
    ImportReportsRequest { request_id: id.into(), items, ..Default::default() }
}

fn at(batch: ImportReportsRequest, time: &str) -> ImportReportsRequest {
    let time = time.parse::<jiff::Timestamp>().unwrap();
    let recorded_at = Some(prost_types::Timestamp { seconds: time.as_second(), nanos: 0 });
    ImportReportsRequest { recorded_at, ..batch }
}

/// Every answer, and the error that ended the stream if one did.
async fn import(
    server: &TestServer,
    batches: Vec<ImportReportsRequest>,
) -> (Vec<ImportReportsResponse>, Option<Status>) {
    let mut stream = server.filing().import_reports(iter(batches)).await.unwrap().into_inner();
    let mut answers = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => return (answers, None),
            Err(status) => return (answers, Some(status)),
        }
    }
}

async fn info(server: &TestServer) -> v1::GetLogInfoResponse {
    server.log().get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner()
}

/// `outcome` of what was taken, `REASON field` of what was refused.
fn outcomes(answer: &ImportReportsResponse) -> Vec<String> {
    assert!(
        answer.results.iter().map(|r| r.index as usize).eq(0..answer.results.len()),
        "one for each item, in their order"
    );
    let word = |result: &v1::ImportResult| match result.outcome.as_ref().unwrap() {
        Outcome::Result(result) => result.outcome().as_str_name().trim_start_matches("FILING_OUTCOME_").to_owned(),
        Outcome::Refusal(refusal) => {
            let reason = refusal.reason().as_str_name().trim_start_matches("ERROR_REASON_");
            format!("{reason} {}", refusal.fields.join(","))
        }
    };
    answer.results.iter().map(word).collect()
}

async fn start_of(server: &TestServer, id: &str, as_of: Option<v1::AsOf>) -> Result<String, Status> {
    let request = v1::GetVisitRequest { name: format!("visits/{id}"), as_of, ..Default::default() };
    Ok(server.registry().get_visit(request).await?.into_inner().visit.unwrap().start.unwrap().edtf)
}

#[tokio::test]
async fn each_batch_is_one_revision_of_its_good_items_and_says_what_is_wrong_with_the_others() {
    let server = TestServer::start().await;
    let items = vec![
        report("one", "2023-10-06"),
        report("two", "the sixth"),
        report("UPPER", "2023-10-06"),
        Item::Withdraw("visits/none".into()),
        report("one", "2023-10-07"),
        report("three", "2023-10"),
    ];
    let first = ImportReportsRequest { reason: RetractionReason::FilerError.into(), ..batch("a", items) };
    let (answers, error) = import(&server, vec![first, batch("b", vec![report("two", "2023-10-06")])]).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        outcomes(&answers[0]),
        [
            "RECORDED",
            "FIELD_INVALID report.visit.start.edtf",
            "FIELD_INVALID report.record",
            "FIELD_INVALID withdraw",
            "FIELD_INVALID ",
            "RECORDED"
        ]
    );
    assert_eq!(outcomes(&answers[1]), ["RECORDED"]);
    assert_eq!(answers.iter().map(|a| (a.request_id.as_str(), a.revision)).collect::<Vec<_>>(), [("a", 1), ("b", 2)]);
    // Each visit is recorded, and has begun by its date.
    assert_eq!((answers[0].events, answers[1].events), (4, 2));
    assert_eq!(start_of(&server, "one", as_of(&answers[0].token)).await.unwrap(), "2023-10-06");
    server.stop().await;
}

#[tokio::test]
async fn a_batch_that_comes_again_is_answered_as_the_first_time_and_makes_no_event() {
    let server = TestServer::start().await;
    let batches = || vec![batch("a", vec![report("one", "2023-10-06")]), batch("b", vec![report("one", "2023-10-07")])];
    let (first, _) = import(&server, batches()).await;
    let before = info(&server).await;
    let (again, error) = import(&server, batches()).await;
    assert!(error.is_none(), "{error:?}");
    for (then, now) in first.iter().zip(&again) {
        assert_eq!((&then.results, then.revision, then.events), (&now.results, now.revision, now.events));
    }
    assert_eq!(info(&server).await.token, before.token);
    let (_, error) = import(&server, vec![batch("a", vec![report("one", "2023-10-08")])]).await;
    assert_eq!(reason(&error.unwrap()), "REQUEST_ID_REUSED");
    server.stop().await;
}

#[tokio::test]
async fn what_stands_is_withdrawn_and_what_does_not_is_no_change() {
    let server = TestServer::start().await;
    let withdraw = || vec![Item::Withdraw("visits/one/reports/list".into())];
    let (_, error) = import(&server, vec![batch("w", withdraw())]).await;
    assert_eq!(reason(&error.unwrap()), "FIELD_INVALID", "a withdrawal says why");
    let gone =
        |id: &str| ImportReportsRequest { reason: RetractionReason::SourceWithdrawn.into(), ..batch(id, withdraw()) };
    let (answers, error) =
        import(&server, vec![batch("a", vec![report("one", "2023-10-06")]), gone("b"), gone("c")]).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(outcomes(&answers[1]), ["RETRACTED"]);
    assert_eq!((outcomes(&answers[2]), answers[2].revision), (vec!["NO_CHANGE".to_owned()], 0));
    assert_eq!(reason(&start_of(&server, "one", None).await.unwrap_err()), "RECORD_RETRACTED");
    server.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_refused_as_a_whole_ends_the_stream_and_earlier_ones_stand() {
    let server = TestServer::start().await;
    let good = || batch("good", vec![report("one", "2023-10-06")]);
    let many = (0..1001).map(|n| report(&format!("v{n}"), "2023")).collect();
    let bad = [
        (batch("", vec![report("two", "2023")]), "FIELD_INVALID"),
        (batch("empty", vec![]), "FIELD_INVALID"),
        (batch("many", many), "TOO_LARGE"),
        (ImportReportsRequest { intent: 99, ..batch("intent", vec![report("two", "2023")]) }, "FIELD_INVALID"),
        (at(batch("future", vec![report("two", "2023")]), "2999-01-01T00:00:00Z"), "FIELD_INVALID"),
        (at(batch("live", vec![report("two", "2023")]), "2020-01-01T00:00:00Z"), "FIELD_INVALID"),
    ];
    for (bad, expected) in bad {
        let id = bad.request_id.clone();
        let (answers, error) = import(&server, vec![good(), bad, batch("after", vec![report("three", "2023")])]).await;
        assert_eq!(answers.len(), 1, "{id}");
        assert_eq!(reason(&error.unwrap()), expected, "{id}");
    }
    assert_eq!(info(&server).await.revision, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_history_is_replayed_with_its_own_times_and_read_as_of_any_day() {
    let server = TestServer::start().await;
    let gone = ImportReportsRequest {
        reason: RetractionReason::FilerError.into(),
        ..batch("gone", vec![Item::Withdraw("visits/one/reports/list".into())])
    };
    let batches = || {
        vec![
            at(batch("asserted", vec![report("one", "2014-05-06")]), "2015-10-01T18:58:32Z"),
            at(batch("corrected", vec![report("one", "2014-05-07")]), "2016-02-03T10:00:00Z"),
            at(gone.clone(), "2017-01-01T00:00:00Z"),
        ]
    };
    let (answers, error) = import(&server, batches()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(answers.iter().flat_map(outcomes).collect::<Vec<_>>(), ["RECORDED", "CORRECTED", "RETRACTED"]);
    let then = |time: &str| {
        let time = time.parse::<jiff::Timestamp>().unwrap();
        let position = v1::as_of::Position::Time(prost_types::Timestamp { seconds: time.as_second(), nanos: 0 });
        start_of(&server, "one", Some(v1::AsOf { position: Some(position) }))
    };
    assert_eq!(then("2016-02-03T09:59:59Z").await.unwrap(), "2014-05-06");
    assert_eq!(then("2016-12-31T23:59:59Z").await.unwrap(), "2014-05-07");
    assert_eq!(reason(&then("2017-01-01T00:00:00Z").await.unwrap_err()), "RECORD_RETRACTED");
    let now = info(&server).await;
    assert_eq!((now.day.as_str(), now.replaying), ("2017-01-01", true));

    // Interrupted and run again from the start: the same records and no doubled events.
    let (again, error) = import(&server, batches()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(again.iter().flat_map(outcomes).collect::<Vec<_>>(), ["RECORDED", "CORRECTED", "RETRACTED"]);
    assert_eq!(info(&server).await.token, now.token);

    let (_, error) =
        import(&server, vec![at(batch("late", vec![report("two", "2014")]), "2016-01-01T00:00:00Z")]).await;
    assert_eq!(reason(&error.unwrap()), "FIELD_INVALID", "time never goes back");
    import(&server, vec![batch("now", vec![report("two", "2014")])]).await;
    assert!(!info(&server).await.replaying, "the first filing without a time ends the replay");
    server.stop().await;
}

#[tokio::test]
async fn what_a_record_has_no_room_for_is_left_out_of_the_batch() {
    let server = TestServer::start().await;
    // Three sources of one account, each near the bound of a report, with statements of their own.
    let long = |source_id: &str| {
        let statement = |n: usize| v1::Statement {
            key: format!("{source_id}-{n}"),
            summary: Some("w".repeat(3900)),
            ..Default::default()
        };
        let statements = (0..15).map(statement).collect();
        Item::Report(visit_report_of("large", source_id, v1::Visit { statements, ..Default::default() }))
    };
    let (first, _) = import(&server, vec![batch("a", vec![long("one"), report("small", "2023")])]).await;
    assert_eq!(outcomes(&first[0]), ["RECORDED", "RECORDED"]);
    let full = batch("b", vec![long("two"), report("next", "2023"), long("three")]);
    let (answers, error) = import(&server, vec![full.clone()]).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(outcomes(&answers[0]), ["TOO_LARGE ", "RECORDED", "TOO_LARGE "]);
    let Some(Outcome::Refusal(refusal)) = &answers[0].results[0].outcome else { panic!("a refusal") };
    assert_eq!(refusal.reason(), ErrorReason::TooLarge);
    let (again, _) = import(&server, vec![full]).await;
    assert_eq!(outcomes(&again[0]), outcomes(&answers[0]), "also when it comes again");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_without_reading_waits_and_loses_nothing() {
    let server = TestServer::start().await;
    let note = "n".repeat(4000);
    let batches = (0..300).map(move |n| {
        let visit = v1::Visit { note: Some(note.clone()), ..Default::default() };
        batch(&format!("b{n}"), vec![Item::Report(visit_report_of(&format!("v{n}"), "list", visit))])
    });
    let mut client = v1::filing_service_client::FilingServiceClient::new(server.narrow_channel());
    let stream = client.import_reports(iter(batches)).await.unwrap().into_inner();
    let answers: Vec<ImportReportsResponse> = stream.map(Result::unwrap).collect().await;
    assert!(answers.iter().map(|a| a.revision).eq(1..=300), "one answer a batch, in their order");
    assert!(answers.iter().all(|a| a.results[0].index == 0 && a.events == 1));
    server.stop().await;
}

#[tokio::test]
async fn a_trial_answers_the_same_and_files_nothing() {
    let server = TestServer::start().await;
    let trial = ImportReportsRequest { validate_only: true, ..batch("a", vec![report("one", "2023-10-06")]) };
    let (answers, error) = import(&server, vec![trial]).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((outcomes(&answers[0]), answers[0].revision), (vec!["RECORDED".to_owned()], 0));
    assert_eq!(info(&server).await.revision, 0);
    let filed = server.file(vec![visit_report("one", "list", "KZ", "AZ", "2023-10-06")]).await;
    assert_eq!(filed.events[0].r#type(), EventType::Recorded);
    assert_eq!(filed.results[0].outcome(), FilingOutcome::Recorded);
    server.stop().await;
}
