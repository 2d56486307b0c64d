//! As of which day: what holds, or held, on another one.

use super::*;

#[tokio::test]
async fn valid_at_asks_what_holds_on_another_day_in_every_read() {
    let server = TestServer::start().await;
    server.file(data()).await;
    let on = |valid_at: Option<&str>, json: &str| v1::ListVisitsRequest {
        filters: vec![filter(json)],
        valid_at: valid_at.map(Into::into),
        ..Default::default()
    };
    let names = async |kind: RecordKind, valid_at: Option<&str>, json: &str| {
        let listed = ask::list(&server, kind, &on(valid_at, json)).await.unwrap();
        listed.names().into_iter().collect::<BTreeSet<_>>()
    };
    let underway = r#"{"statuses": ["STATUS_UNDERWAY"]}"#;
    let concluded = r#"{"statuses": ["STATUS_CONCLUDED"]}"#;
    let signed = r#"{"agreementStatuses": ["AGREEMENT_STATUS_SIGNED"]}"#;
    let unknown = r#"{"agreementStatuses": ["AGREEMENT_STATUS_UNKNOWN"]}"#;
    for (kind, valid_at, json, ids) in [
        (RecordKind::Visit, None, underway, "v1 v5"),
        (RecordKind::Visit, Some("2022-12-31"), underway, "v3"),
        (RecordKind::Visit, Some("2023-10-05"), underway, "v5"),
        (RecordKind::Visit, Some("2024-06-30"), underway, "v1 v2 v5"),
        (RecordKind::Visit, Some("2024-06-30"), concluded, "v3"),
        (RecordKind::Meeting, Some("2024-01-15"), underway, "m1 m2"),
        (RecordKind::Exercise, None, concluded, ""),
        (RecordKind::Exercise, Some("2024-05-11"), concluded, "e2"),
        (RecordKind::Agreement, Some("2023-10-05"), signed, "a2"),
        // Before it existed nothing is known of it, which is no error.
        (RecordKind::Agreement, Some("1900-01-01"), unknown, "a1 a2 a3"),
        (RecordKind::Agreement, Some("2024-01-02"), signed, "a1 a2"),
    ] {
        assert_eq!(names(kind, valid_at, json).await, named(ids), "{kind:?} {valid_at:?} {json}");
    }
    // Lists, lookups and batches say the same of each, with and without a day.
    for valid_at in [None, Some("2023-10-05"), Some("2024-06-30")] {
        for kind in [RecordKind::Visit, RecordKind::Meeting, RecordKind::Agreement, RecordKind::Exercise] {
            for listed in ask::list(&server, kind, &on(valid_at, "{\"disputed\": false}")).await.unwrap().records {
                let name = text(&listed, "name");
                let request = v1::GetVisitRequest { valid_at: valid_at.map(Into::into), ..get_request(&name) };
                assert_eq!(ask::get(&server, kind, &request).await.unwrap().0, listed, "{valid_at:?}");
                let request = v1::BatchGetRecordsRequest {
                    names: vec![name],
                    valid_at: valid_at.map(Into::into),
                    ..Default::default()
                };
                let batch = server.registry().batch_get_records(request).await.unwrap().into_inner();
                let record = attache::pb::to_dynamic("Record", &batch.records[0]);
                let fetched = record.fields().find_map(|(_, kind)| kind.as_message().cloned()).unwrap();
                assert_eq!(fetched, listed, "{valid_at:?}");
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_day_that_is_none_is_refused_by_every_read() {
    let server = TestServer::start().await;
    server.file(data()).await;
    for bad in [
        "",
        "2024",
        "2024-06",
        "2024-02-30",
        "2024-6-1",
        "06/01/2024",
        "2024-06-01T00:00:00Z",
        "2024-06-0~",
        "tomorrow",
    ] {
        let valid_at = || Some(bad.to_owned());
        let mut refusals = Vec::new();
        for (kind, id) in [
            (RecordKind::Visit, "visits/v1"),
            (RecordKind::Meeting, "meetings/m1"),
            (RecordKind::Agreement, "agreements/a1"),
            (RecordKind::Exercise, "exercises/e1"),
        ] {
            let request = v1::GetVisitRequest { valid_at: valid_at(), ..get_request(id) };
            refusals.push(ask::get(&server, kind, &request).await.unwrap_err());
            let request = v1::ListVisitsRequest { valid_at: valid_at(), ..Default::default() };
            refusals.push(ask::list(&server, kind, &request).await.unwrap_err());
        }
        let request =
            v1::BatchGetRecordsRequest { names: vec!["visits/v1".into()], valid_at: valid_at(), ..Default::default() };
        refusals.push(server.registry().batch_get_records(request).await.unwrap_err());
        for refused in refusals {
            use tonic_types::StatusExt as _;
            assert_eq!(reason(&refused), "FIELD_INVALID", "{bad:?}");
            let fields = refused.get_details_bad_request().unwrap().field_violations;
            assert_eq!(fields.iter().map(|f| f.field.as_str()).collect::<Vec<_>>(), ["valid_at"], "{bad:?}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_another_day_are_those_of_one_list() {
    let server = TestServer::start().await;
    server.file((0..30).map(|n| visit(&format!("p{n}"), "AZ", &["KZ"], "2024-03-01", |_| {})).collect()).await;
    let mut request = v1::ListVisitsRequest {
        filters: vec![filter(r#"{"statuses": ["STATUS_UNDERWAY"]}"#)],
        valid_at: Some("2024-03-02".into()),
        page_size: 7,
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = ask::list(&server, RecordKind::Visit, &request).await.unwrap();
        seen.extend(page.names());
        if page.next.is_empty() {
            break;
        }
        request.page_token = page.next;
        let other = v1::ListVisitsRequest { valid_at: Some("2024-03-03".into()), ..request.clone() };
        let refused = ask::list(&server, RecordKind::Visit, &other).await.unwrap_err();
        assert_eq!(reason(&refused), "PAGE_TOKEN_MISMATCH");
    }
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (30, 30));
    server.stop().await;
}
