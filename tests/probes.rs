//! Probes: what checks of the service file is hidden from everybody who does not ask for it, and filed by nobody else.

mod common;

use attache::pb::v1::{self, EventType, retract_reports_request::Selection};
use common::{TestServer, source, visit_report, watching::*};
use tonic::Status;

fn probe(id: &str, source_id: &str) -> v1::Report {
    let names = vec![v1::Name { text: format!("Probed {id}"), ..Default::default() }];
    v1::Report {
        record: format!("organizations/{id}"),
        source: Some(source(source_id)),
        content: Some(v1::report::Content::Organization(v1::Organization { names, ..Default::default() })),
        ..Default::default()
    }
}

fn asking_for_probes(names: &[&str]) -> Vec<v1::Filter> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    vec![v1::Filter { include_probes: true, names, ..Default::default() }]
}

async fn organizations(server: &TestServer, filters: Vec<v1::Filter>) -> Vec<String> {
    let asked = v1::ListOrganizationsRequest { filters, ..Default::default() };
    let listed = server.registry().list_organizations(asked).await.expect("organizations").into_inner();
    listed.organizations.into_iter().map(|o| o.name).collect()
}

async fn file(server: &TestServer, report: v1::Report) -> Result<v1::FileReportsResponse, Status> {
    let request = v1::FileReportsRequest { reports: vec![report], ..Default::default() };
    server.filing().file_reports(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_is_seen_by_nobody_who_does_not_ask_for_it() {
    let server = TestServer::start().await;
    let filters = || vec![v1::Filter { kinds: vec![v1::RecordKind::Organization.into()], ..Default::default() }];
    let mut unfiltered = server.watch(lively(from_oldest())).await;
    let mut filtered_watch = server.watch(lively(filtered(from_oldest(), filters()))).await;
    let mut asking = server.watch(lively(filtered(from_oldest(), asking_for_probes(&[])))).await;
    file(&server, probe("probe-1", "probe-s")).await.expect("it is filed");
    let last = file(&server, probe("real", "s")).await.expect("it is filed");
    let subjects = |frames: Vec<v1::WatchEventsResponse>| -> Vec<String> {
        events(&frames).into_iter().map(|e| e.subject).collect()
    };
    assert_eq!(subjects(unfiltered.up_to_revision(last.revision).await), ["organizations/real"]);
    assert_eq!(subjects(filtered_watch.up_to_revision(last.revision).await), ["organizations/real"]);
    let both = ["organizations/probe-1", "organizations/real"];
    assert_eq!(subjects(asking.up_to_revision(last.revision).await), both);
    // The same from the log, and in pages.
    assert_eq!(subjects_of(&everything(&server).await), ["organizations/real"]);
    assert_eq!(subjects_of(&server.list_events(v1::ListEventsRequest::default()).await), ["organizations/real"]);
    let asked = v1::ListEventsRequest { filters: asking_for_probes(&[]), ..Default::default() };
    assert_eq!(subjects_of(&server.list_events(asked).await), both);
    assert_eq!(subjects_of(&server.replay(until_caught_up(from_snapshot())).await), ["organizations/real"]);

    assert_eq!(organizations(&server, vec![]).await, ["organizations/real"]);
    assert_eq!(organizations(&server, filters()).await, ["organizations/real"]);
    let named = vec![v1::Filter { names: vec!["organizations/probe-1".into()], ..Default::default() }];
    assert_eq!(organizations(&server, named).await, Vec::<String>::new());
    assert_eq!(organizations(&server, asking_for_probes(&[])).await, both);
    assert_eq!(organizations(&server, asking_for_probes(&["organizations/probe-1"])).await, both[..1]);
    let asked = v1::SearchRecordsRequest { query: "Probed".into(), ..Default::default() };
    let found = server.registry().search_records(asked).await.expect("results").into_inner().results;
    assert_eq!(found.len(), 1, "{found:?}");
    let sources =
        server.registry().list_sources(v1::ListSourcesRequest::default()).await.expect("sources").into_inner();
    assert_eq!(sources.sources.into_iter().map(|s| s.name).collect::<Vec<_>>(), ["sources/s"]);
    // By its name it is read like any other.
    let asked = v1::GetOrganizationRequest { name: "organizations/probe-1".into(), ..Default::default() };
    server.registry().get_organization(asked).await.expect("it stands");
    server.stop().await;
}

fn subjects_of(events: &[v1::Event]) -> Vec<String> {
    events.iter().map(|e| e.subject.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_files_a_probe_by_accident() {
    let server = TestServer::start().await;
    let refused = async |report: v1::Report, field: &str| {
        let status = file(&server, report).await.expect_err("it is refused");
        assert_eq!(reason(&status), "FIELD_INVALID");
        let details = tonic_types::StatusExt::get_error_details(&status);
        let violation = &details.bad_request().expect("a field").field_violations[0];
        assert_eq!(violation.field, format!("reports[0].{field}"));
        assert!(violation.description.contains("reserved"), "{}", violation.description);
    };
    refused(probe("probe-1", "s"), "record").await;
    refused(probe("real", "probe-s"), "source.name").await;
    let mut visit = visit_report("probe-1", "probe-s", "KZ", "AZ", "2023-05-01");
    visit.name = String::new();
    refused(visit, "record").await;
    assert_eq!(everything(&server).await, [], "nothing was filed");
    for [loser, survivor] in [["probe-1", "real"], ["real", "probe-1"]] {
        let merge = v1::MergeRecordsRequest {
            loser: format!("organizations/{loser}"),
            survivor: format!("organizations/{survivor}"),
            source: Some(v1::Source { kind: v1::SourceKind::Editor.into(), ..source("desk") }),
            ..Default::default()
        };
        let status = server.filing().merge_records(merge).await.expect_err("it would hide what it is merged with");
        assert_eq!(reason(&status), "FIELD_INVALID");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_that_are_withdrawn_leave_nothing_standing() {
    let server = TestServer::start().await;
    for id in ["probe-1", "probe-2"] {
        file(&server, probe(id, "probe-s")).await.expect("it is filed");
    }
    let answer = server.withdraw(Selection::Source("sources/probe-s".into())).await;
    assert_eq!(answer.remaining, 0);
    assert!(answer.events.iter().all(|e| e.r#type() == EventType::Retracted), "{:?}", answer.events);
    assert_eq!(organizations(&server, asking_for_probes(&[])).await, Vec::<String>::new());
    server.stop().await;
}
