//! Search and matching on the real server: what is found in whatever spelling, in which order, at which revision.

mod common;

use attache::{
    domain::record,
    pb::v1::{self, RecordKind, record::Kind, report::Content},
    serve::Parts,
};
use common::{TestServer, ask, config, source, visit_report, visit_report_of};
use tonic::Status;

const MINISTER: &str = "persons/ruslan-zhaksylykov";

/// A server with the sample.
async fn sample() -> TestServer {
    // Its sources lie in the past of the real clock.
    TestServer::with(attache::config::Config { sample: true, ..config() }, Parts::default()).await
}

fn words(query: &str) -> v1::SearchRecordsRequest {
    v1::SearchRecordsRequest { query: query.into(), ..Default::default() }
}

async fn try_search(
    server: &TestServer,
    request: v1::SearchRecordsRequest,
) -> Result<v1::SearchRecordsResponse, Status> {
    server.registry().search_records(request).await.map(tonic::Response::into_inner)
}

async fn search(server: &TestServer, request: v1::SearchRecordsRequest) -> v1::SearchRecordsResponse {
    try_search(server, request).await.expect("the search is answered")
}

fn names(results: &[v1::SearchResult]) -> Vec<String> {
    results.iter().map(|r| record::name_of(r.record.as_ref().unwrap()).to_owned()).collect()
}

async fn found(server: &TestServer, query: &str) -> Vec<String> {
    names(&search(server, words(query)).await.results)
}

/// The matched parts of a highlight.
fn marked(highlight: &v1::Highlight) -> Vec<String> {
    let part =
        |r: &v1::TextRange| highlight.text.chars().skip(r.begin as usize).take((r.end - r.begin) as usize).collect();
    highlight.ranges.iter().map(part).collect()
}

/// A report of a person with these names.
fn person_report(id: &str, source_id: &str, names: &[&str]) -> v1::Report {
    let name = |text: &&str| v1::Name { text: (*text).into(), ..Default::default() };
    let person = v1::Person { names: names.iter().map(name).collect(), ..Default::default() };
    v1::Report {
        record: format!("persons/{id}"),
        source: Some(source(source_id)),
        content: Some(Content::Person(person)),
        ..Default::default()
    }
}

fn titled_visit(id: &str, source_id: &str, title: &str, summary: &str) -> v1::Report {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let titles = text(title).map(|text| v1::Title { text, ..Default::default() }).into_iter().collect();
    visit_report_of(id, source_id, v1::Visit { titles, summary: text(summary), ..Default::default() })
}

#[tokio::test]
async fn the_minister_is_found_in_every_script_spelling_and_typing_error() {
    let server = sample().await;
    for spelling in [
        "Zhaksylykov",
        "Jaksilykov",
        "Жаксылыков",
        "Zhaksylykof",
        "Zhaxylykov",
        "Zkahsylykov",
        "ZHAKSYLIKOV",
        "Zhaksyl",
    ] {
        let found = found(&server, spelling).await;
        assert_eq!(found.first().map(String::as_str), Some(MINISTER), "{spelling}: {found:?}");
        assert!(found.contains(&"visits/kz-mod-az-2023-10".to_owned()), "{spelling}: {found:?}");
    }
    assert!(!found(&server, "Hasanov").await.contains(&MINISTER.to_owned()));
    server.stop().await;
}
