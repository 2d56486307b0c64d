//! As of when: what was known then, and what a client has seen.

use super::*;

/// A record that was recorded, altered, and retracted: the token and time of each revision.
async fn history(server: &TestServer) -> Vec<(String, prost_types::Timestamp)> {
    server.file(vec![visit("x", "AZ", &["KZ"], "2023-01-01", |_| {})]).await;
    server.file(vec![visit("x", "AZ", &["KZ"], "2023-02-02", |_| {})]).await;
    let selection = Some(v1::retract_reports_request::Selection::Source("sources/a".into()));
    let reason = v1::RetractionReason::SourceWithdrawn.into();
    server
        .filing()
        .retract_reports(v1::RetractReportsRequest { selection, reason, ..Default::default() })
        .await
        .unwrap();
    let request = v1::ListRevisionsRequest { name: "visits/x".into(), ..Default::default() };
    let revisions = server.registry().list_revisions(request).await.unwrap().into_inner().revisions;
    revisions.into_iter().map(|r| (r.token, r.time.unwrap())).collect()
}

/// The day of `visits/x` as get, list, batch and explain know it at one position; `None` is retracted.
async fn known(server: &TestServer, as_of: Option<v1::AsOf>) -> Option<String> {
    let day = |v: &v1::Visit| v.start.as_ref().unwrap().edtf.clone();
    let request = v1::GetVisitRequest { as_of: as_of.clone(), ..get_request("visits/x") };
    let got = match server.registry().get_visit(request).await {
        Ok(got) => Some(day(got.get_ref().visit.as_ref().unwrap())),
        Err(status) => {
            assert_eq!(reason(&status), "RECORD_RETRACTED");
            None
        }
    };
    let request = v1::ListVisitsRequest { as_of: as_of.clone(), ..Default::default() };
    let listed = server.registry().list_visits(request).await.unwrap().into_inner();
    assert_eq!(listed.visits.first().map(day), got);
    let request =
        v1::BatchGetRecordsRequest { names: vec!["visits/x".into()], as_of: as_of.clone(), ..Default::default() };
    let batch = server.registry().batch_get_records(request).await.unwrap().into_inner();
    assert_eq!((batch.records.len(), batch.missing.len()), if got.is_some() { (1, 0) } else { (0, 1) });
    let request = v1::ListReportsRequest { parent: "visits/x".into(), as_of: as_of.clone(), ..Default::default() };
    let reports = server.registry().list_reports(request).await.unwrap().into_inner();
    assert_eq!(reports.reports.len(), batch.records.len());
    let explained = server
        .registry()
        .explain_record(v1::ExplainRecordRequest { name: "visits/x".into(), as_of, at_least: None })
        .await;
    match explained {
        Ok(explained) => {
            let fields = explained.into_inner().fields;
            let start = fields.iter().find(|f| f.path == "start").unwrap();
            assert!(format!("{:?}", start.value).contains(got.as_ref().unwrap()), "{start:?}");
        }
        Err(status) => assert_eq!((reason(&status).as_str(), &got), ("RECORD_RETRACTED", &None)),
    }
    assert_eq!(reports.token, listed.token);
    got
}

#[tokio::test]
async fn the_past_is_answered_as_it_was_known_then() {
    let server = TestServer::start().await;
    let history = history(&server).await;
    let days = [Some("2023-01-01".to_owned()), Some("2023-02-02".to_owned()), None];
    for ((token, time), day) in history.iter().zip(&days) {
        assert_eq!(known(&server, as_of(token)).await, *day, "{token}");
        // Inclusive, and true until the next.
        assert_eq!(known(&server, as_of_time(*time)).await, *day, "{time:?}");
        let later = prost_types::Timestamp { nanos: time.nanos + 1000, ..*time };
        assert_eq!(known(&server, as_of_time(later)).await, *day, "{later:?}");
    }
    assert_eq!(known(&server, None).await, None);
    server.stop().await;
}

#[tokio::test]
async fn a_time_before_the_log_and_one_in_the_future_are_refused_wherever_a_time_is_taken() {
    let server = TestServer::start().await;
    history(&server).await;
    let (before, after) =
        (attache::clock::timestamp(START_US - 1), attache::clock::timestamp(START_US + 365 * 86_400_000_000));
    for (time, expected) in [(before, "HISTORY_TRIMMED"), (after, "FIELD_INVALID")] {
        let (as_of, mut registry) = (as_of_time(time), server.registry());
        let names = vec!["visits/x".to_owned()];
        let refusals = [
            registry.get_visit(v1::GetVisitRequest { as_of: as_of.clone(), ..get_request("visits/x") }).await.map(drop),
            registry.list_visits(v1::ListVisitsRequest { as_of: as_of.clone(), ..Default::default() }).await.map(drop),
            registry
                .batch_get_records(v1::BatchGetRecordsRequest { names, as_of: as_of.clone(), ..Default::default() })
                .await
                .map(drop),
            registry
                .explain_record(v1::ExplainRecordRequest {
                    name: "visits/x".into(),
                    as_of: as_of.clone(),
                    at_least: None,
                })
                .await
                .map(drop),
            registry
                .list_reports(v1::ListReportsRequest {
                    parent: "visits/x".into(),
                    as_of: as_of.clone(),
                    ..Default::default()
                })
                .await
                .map(drop),
            registry.list_sources(v1::ListSourcesRequest { as_of, ..Default::default() }).await.map(drop),
        ];
        for refused in refusals {
            assert_eq!(reason(&refused.unwrap_err()), expected);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_record_that_is_retracted_names_the_last_token_at_which_it_stood() {
    use tonic_types::StatusExt as _;
    let server = TestServer::start().await;
    history(&server).await;
    let status = server.registry().get_visit(get_request("visits/x")).await.unwrap_err();
    let last = status.get_details_error_info().unwrap().metadata["last_token"].clone();
    let request = v1::GetVisitRequest { as_of: as_of(&last), ..get_request("visits/x") };
    let stood = server.registry().get_visit(request).await.unwrap().into_inner().visit.unwrap();
    assert_eq!(stood.start.unwrap().edtf, "2023-02-02");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_waits_for_the_token_that_a_client_has_seen() {
    let log = shared_log::SharedLog::default();
    let start = || {
        TestServer::with(
            config(),
            Parts { journal: Arc::new(log.clone()), clock: Arc::new(FakeClock::default()), ..Parts::default() },
        )
    };
    let (one, other) = (start().await, start().await);
    for round in 0..20 {
        let name = format!("visits/r{round}");
        let token = one.file(vec![visit(&format!("r{round}"), "AZ", &["KZ"], "2023", |_| {})]).await.token;
        let at_least = Some(token.clone());
        let request = v1::GetVisitRequest { at_least: at_least.clone(), ..get_request(&name) };
        assert_eq!(other.registry().get_visit(request).await.unwrap().into_inner().token, token);
        let request = v1::ListVisitsRequest { at_least, page_size: 1000, ..Default::default() };
        assert_eq!(other.registry().list_visits(request).await.unwrap().into_inner().visits.len(), round + 1);
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn what_is_read_while_nothing_is_filed_is_read_at_the_head() {
    let server = TestServer::start().await;
    let empty = head(&server).await;
    let listed = ask::list(&server, RecordKind::Visit, &v1::ListVisitsRequest::default()).await.unwrap();
    assert_eq!((listed.records.len(), listed.token), (0, empty.clone()));
    // The token of the empty log is a position like any other.
    server.file(data()).await;
    let request = v1::ListVisitsRequest { as_of: as_of(&empty), ..Default::default() };
    assert!(ask::list(&server, RecordKind::Visit, &request).await.unwrap().records.is_empty());
    let batch =
        v1::BatchGetRecordsRequest { names: vec!["visits/v1".into()], as_of: as_of(&empty), ..Default::default() };
    assert_eq!(server.registry().batch_get_records(batch).await.unwrap().into_inner().missing, ["visits/v1"]);
    server.stop().await;
}
