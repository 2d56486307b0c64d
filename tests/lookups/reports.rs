//! What a record rests on: reports, sources, revisions, and what an explanation says of them.

use super::*;

/// A source of a kind, published on a day.
fn kind_of_source(id: &str, kind: SourceKind, published: &str) -> v1::Source {
    let published = (!published.is_empty()).then(|| published.to_owned());
    v1::Source { kind: kind.into(), published, ..source(id) }
}

#[tokio::test]
async fn reports_stand_in_rank_order_and_withdrawn_versions_in_the_order_of_recording() {
    let server = TestServer::start().await;
    let of = |source: v1::Source, summary: &str| v1::Report {
        source: Some(source),
        ..visit_report_of("x", "a", v1::Visit { summary: Some(summary.into()), ..Default::default() })
    };
    let copy = v1::Source {
        attributed_to: vec![v1::Attribution { name_as_stated: Some("Somebody".into()), organization: None }],
        ..kind_of_source("f", SourceKind::SyndicatedCopy, "2024-01-01")
    };
    // From the last in rank to the first: kind, reliability, later publication, name.
    let sources = [
        copy,
        kind_of_source("e", SourceKind::Dataset, "2024-01-01"),
        kind_of_source("d2", SourceKind::Secondary, ""),
        kind_of_source("d1", SourceKind::Secondary, ""),
        kind_of_source("d0", SourceKind::Secondary, "2023-10-06"),
        kind_of_source("c", SourceKind::Secondary, "2023-10-06T23:59:59-01:00"),
        v1::Source { reliability: v1::Reliability::A.into(), ..kind_of_source("b", SourceKind::Secondary, "") },
        kind_of_source("a", SourceKind::PrimaryOfficial, ""),
        kind_of_source("z", SourceKind::OfficialRegister, ""),
        kind_of_source("y", SourceKind::Editor, ""),
    ];
    for source in &sources {
        server.file(vec![of(source.clone(), "first")]).await;
    }
    let mut expected: Vec<_> = sources.iter().map(|s| s.name.replace("sources/", "")).collect();
    expected.reverse();
    let asked = |change: fn(&mut v1::ListReportsRequest)| {
        let mut request = v1::ListReportsRequest { parent: "visits/x".into(), ..Default::default() };
        change(&mut request);
        request
    };
    let listed = reports(&server, asked(|_| {})).await;
    assert_eq!(listed.iter().map(|(id, ..)| id.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(reports(&server, asked(|r| r.page_size = 3)).await, listed, "page by page");

    let replaced = server.file(vec![of(sources[1].clone(), "second")]).await.revision;
    let selection = Some(v1::retract_reports_request::Selection::Source("sources/z".into()));
    let reason = v1::RetractionReason::SourceWithdrawn.into();
    let request = v1::RetractReportsRequest { selection, reason, ..Default::default() };
    let withdrawn = server.filing().retract_reports(request).await.unwrap().into_inner().revision;
    let all = reports(&server, asked(|r| r.show_withdrawn = true)).await;
    let order: Vec<u64> = all.iter().map(|(.., revision, _)| *revision).collect();
    assert!(order.is_sorted() && all.len() == 11, "{all:?}");
    let ended: Vec<_> =
        all.iter().filter(|(_, active, ..)| !active).map(|(id, _, _, until)| (id.as_str(), *until)).collect();
    assert_eq!(ended, [("e", replaced), ("z", withdrawn)]);
    assert!(all.iter().all(|(_, active, _, until)| *active == (*until == 0)));
    assert_eq!(reports(&server, asked(|r| (r.show_withdrawn, r.page_size) = (true, 2))).await, all);
    assert_eq!(reports(&server, asked(|_| {})).await.len(), 9);
    server.stop().await;
}

/// All pages: the source's id, whether it is active, from which revision, until which.
async fn reports(server: &TestServer, mut request: v1::ListReportsRequest) -> Vec<(String, bool, u64, u64)> {
    let mut found = Vec::new();
    loop {
        let page = server.registry().list_reports(request.clone()).await.unwrap().into_inner();
        found.extend(page.reports.into_iter().map(|r| {
            let report = r.report.unwrap();
            (report.name.replace("visits/x/reports/", ""), r.active, report.revision, r.until_revision)
        }));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test]
async fn sources_are_selected_by_kind_and_publisher_and_shown_as_last_filed() {
    let server = TestServer::start().await;
    let organization = v1::Attribution { organization: Some("organizations/mod".into()), name_as_stated: None };
    let file = async |source: v1::Source| {
        server.file(vec![v1::Report { source: Some(source), ..visit_report("x", "a", "KZ", "AZ", "2023") }]).await
    };
    file(kind_of_source("a", SourceKind::Dataset, "")).await;
    file(kind_of_source("b", SourceKind::Secondary, "")).await;
    file(v1::Source { publisher: source("a").publisher, ..kind_of_source("c", SourceKind::Secondary, "") }).await;
    let token =
        file(v1::Source { publisher: Some(organization), ..kind_of_source("d", SourceKind::PrimaryOfficial, "") })
            .await
            .token;
    file(v1::Source { uri: Some("https://example.org/b".into()), ..kind_of_source("b", SourceKind::Secondary, "") })
        .await;
    let listed = async |change: fn(&mut v1::ListSourcesRequest)| {
        let mut request = v1::ListSourcesRequest::default();
        change(&mut request);
        let mut found = Vec::new();
        loop {
            let page = server.registry().list_sources(request.clone()).await.unwrap().into_inner();
            found.extend(page.sources.iter().map(|s| s.name.replace("sources/", "")));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return found.concat();
            }
        }
    };
    assert_eq!(listed(|_| {}).await, "abcd");
    assert_eq!(listed(|r| r.page_size = 1).await, "abcd");
    assert_eq!(listed(|r| r.kinds = vec![SourceKind::Secondary.into()]).await, "bc");
    assert_eq!(
        listed(|r| (r.kinds, r.page_size) = (vec![SourceKind::Secondary.into(), SourceKind::Dataset.into()], 1)).await,
        "abc"
    );
    assert_eq!(listed(|r| r.publisher = "PUBLISHER  á".into()).await, "ac", "a name is folded before comparing");
    assert_eq!(listed(|r| r.publisher = "organizations/mod".into()).await, "d");
    assert_eq!(
        listed(|r| (r.publisher, r.kinds) = ("Publisher a".into(), vec![SourceKind::Dataset.into()])).await,
        "a"
    );
    assert_eq!(listed(|r| r.publisher = "Publisher".into()).await, "");
    let uri = async |as_of| {
        let request = v1::ListSourcesRequest { as_of, ..Default::default() };
        server.registry().list_sources(request).await.unwrap().into_inner().sources[1].uri.clone()
    };
    assert_eq!((uri(None).await.as_deref(), uri(as_of(&token)).await), (Some("https://example.org/b"), None));
    server.stop().await;
}

#[tokio::test]
async fn revisions_come_in_pages_that_stay_where_they_began() {
    let server = TestServer::start().await;
    for day in 1..=7 {
        server.file(vec![visit("x", "AZ", &["KZ"], &format!("2023-01-0{day}"), |_| {})]).await;
        server.file(vec![visit("other", "AZ", &["KZ"], &format!("2023-01-0{day}"), |_| {})]).await;
    }
    let mut request = v1::ListRevisionsRequest { name: "visits/x".into(), page_size: 3, ..Default::default() };
    let mut days = Vec::new();
    let first = head(&server).await;
    loop {
        let page = server.registry().list_revisions(request.clone()).await.unwrap().into_inner();
        assert_eq!(page.token, first);
        for revision in &page.revisions {
            assert!(revision.events.iter().all(|e| e.subject == "visits/x" && e.record.is_none()), "{revision:?}");
            assert_eq!((revision.principal.as_str(), revision.events[0].revision), ("local", revision.revision));
            // Its token reads the record as it left it.
            let at = v1::GetVisitRequest { as_of: as_of(&revision.token), ..get_request("visits/x") };
            let visit = server.registry().get_visit(at).await.unwrap().into_inner().visit.unwrap();
            assert_eq!(visit.info.unwrap().revision, revision.revision);
            days.push(visit.start.unwrap().edtf);
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        server.file(vec![visit("x", "AZ", &["KZ"], &format!("2024-01-0{}", days.len()), |_| {})]).await;
    }
    assert_eq!(days, (1..=7).map(|d| format!("2023-01-0{d}")).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test]
async fn an_explanation_says_how_every_account_compares() {
    let server = TestServer::start().await;
    let of =
        |source: v1::Source, visit: v1::Visit| v1::Report { source: Some(source), ..visit_report_of("x", "a", visit) };
    let worded = vec![v1::Text { language: None, text: "visit".into() }];
    let official =
        |day: &str| v1::Visit { r#type: VisitType::Official.into(), start: Some(date(day)), ..Default::default() };
    server
        .file(vec![
            of(kind_of_source("best", SourceKind::PrimaryOfficial, ""), official("2023-10-06")),
            of(kind_of_source("same", SourceKind::Secondary, ""), official("2023-10-06")),
            of(
                kind_of_source("vague", SourceKind::Secondary, ""),
                v1::Visit { type_as_stated: worded, start: Some(date("2023-10")), ..Default::default() },
            ),
            of(
                kind_of_source("wrong", SourceKind::Secondary, ""),
                v1::Visit { r#type: VisitType::Working.into(), start: Some(date("2022")), ..Default::default() },
            ),
        ])
        .await;
    let explained = async || {
        let request = v1::ExplainRecordRequest { name: "visits/x".into(), ..Default::default() };
        server.registry().explain_record(request).await.unwrap().into_inner()
    };
    let of_field = |explained: &v1::ExplainRecordResponse, path: &str| {
        let field = explained.fields.iter().find(|f| f.path == path).unwrap().clone();
        let accounts: Vec<_> = field
            .accounts
            .iter()
            .map(|a| (a.account.replace("named/publisher ", ""), a.verdict(), a.considered))
            .collect();
        (field.disputed, field.report, accounts)
    };
    let one = explained().await;
    assert!(one.fields.is_sorted_by(|a, b| a.path <= b.path));
    for path in ["type", "start"] {
        let (disputed, report, accounts) = of_field(&one, path);
        assert_eq!((disputed, report.as_str()), (true, "visits/x/reports/best"), "{path}");
        let verdicts = [
            ("best".to_owned(), Verdict::Resolved, false),
            ("same".to_owned(), Verdict::Agrees, false),
            ("vague".to_owned(), Verdict::Refines, false),
            ("wrong".to_owned(), Verdict::Conflicts, false),
        ];
        assert_eq!(accounts, verdicts, "{path}");
    }
    assert_eq!(disputed_fields(&one), ["start", "type"]);

    // A ruling settles what it has considered.
    let ruling = v1::Report {
        considered: vec!["named/publisher wrong".into(), "named/publisher best".into()],
        ..of(
            kind_of_source("desk", SourceKind::Editor, ""),
            v1::Visit { start: Some(date("2023-10-06")), ..Default::default() },
        )
    };
    let filed = server.file(vec![ruling]).await;
    assert_eq!(filed.results[0].settled, ["start"]);
    assert!(filed.events.iter().any(|e| e.r#type() == EventType::Settled && e.fields == ["start"]));
    let two = explained().await;
    let (disputed, report, accounts) = of_field(&two, "start");
    assert_eq!((disputed, report.as_str()), (false, "visits/x/reports/desk"));
    assert!(accounts.contains(&("wrong".to_owned(), Verdict::Conflicts, true)), "{accounts:?}");
    assert!(accounts.contains(&("vague".to_owned(), Verdict::Refines, false)), "{accounts:?}");
    assert_eq!(disputed_fields(&two), ["type"]);
    server.stop().await;
}

fn disputed_fields(explained: &v1::ExplainRecordResponse) -> Vec<String> {
    let Some(v1::record::Kind::Visit(visit)) = explained.record.as_ref().and_then(|r| r.kind.as_ref()) else {
        panic!()
    };
    visit.info.as_ref().unwrap().disputed_fields.clone()
}
