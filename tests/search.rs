//! Search and matching on the real server: what is found in whatever spelling, in which order, at which revision.

mod common;

use attache::{
    domain::record,
    limits::{COMMON_WORD, ENOUGH_RANKED, MAX_RANKED, MAX_REPORTS_PER_FILING},
    pb::v1::{self, RecordKind, record::Kind, report::Content, retract_reports_request::Selection},
    serve::Parts,
};
use common::{TestServer, ask, config, older::made_older, source, visit_report, visit_report_of};
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
        "Zha",
    ] {
        let found = found(&server, spelling).await;
        assert_eq!(found.first().map(String::as_str), Some(MINISTER), "{spelling}: {found:?}");
        assert!(found.contains(&"visits/kz-mod-az-2023-10".to_owned()), "{spelling}: {found:?}");
    }
    assert!(!found(&server, "Hasanov").await.contains(&MINISTER.to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn titles_come_before_stated_words_and_those_before_summaries() {
    let server = TestServer::start().await;
    let mut stated = visit_report("c-stated", "s", "KZ", "AZ", "2023-10-06");
    if let Some(Content::Visit(visit)) = &mut stated.content {
        visit.places = vec![v1::PlaceRef { as_stated: Some("Kapustin Yar".into()), ..Default::default() }];
    }
    server
        .file(vec![
            titled_visit("a-summary", "s", "", "They flew to Kapustin Yar."),
            titled_visit("b-similar", "s", "To Kapustyn Yarr", ""),
            stated,
            titled_visit("d-title", "s", "To Kapustin Yar", ""),
        ])
        .await;
    let answer = search(&server, words("kapustin yar")).await;
    assert_eq!(names(&answer.results), ["visits/d-title", "visits/b-similar", "visits/c-stated", "visits/a-summary"]);
    assert!(answer.results.windows(2).all(|w| w[0].score > w[1].score), "{answer:?}");
    assert!(answer.results.iter().all(|r| r.score > 0.0 && r.score <= 1.0) && !answer.incomplete);
    server.stop().await;
}

#[tokio::test]
async fn too_many_are_told_and_the_best_are_ranked_however_old() {
    let server = TestServer::start().await;
    server
        .file(vec![titled_visit("oldest", "s", "Zarya", ""), visit_report("none", "s", "KZ", "AZ", "2023-10-06")])
        .await;
    let others = (0..=MAX_RANKED).map(|i| titled_visit(&format!("v{i}"), "s", "", "they met at Zarya")).collect();
    server.file(others).await;
    let mut request = v1::SearchRecordsRequest { page_size: 1000, ..words("zarya") };
    let page = search(&server, request.clone()).await;
    assert!(page.incomplete && page.results.len() == MAX_RANKED && page.next_page_token.is_empty());
    assert_eq!(names(&page.results)[0], "visits/oldest");
    request.filters = vec![v1::Filter { names: vec!["visits/v0".into()], ..Default::default() }];
    let page = search(&server, request).await;
    assert!(!page.incomplete && names(&page.results) == ["visits/v0"], "a filter reaches what is beyond the ranked");
    server.stop().await;
}

#[tokio::test]
async fn highlights_name_the_field_and_mark_the_words_as_they_are_spelt() {
    let server = TestServer::start().await;
    server.file(vec![person_report("p", "s", &["Руслан Жаксылыков", "Ruslan Jaqsılıqov"])]).await;
    let answer = search(&server, words("zhaksylykov")).await;
    let highlights = &answer.results[0].highlights;
    let shown: Vec<_> = highlights.iter().map(|h| (h.path.as_str(), h.text.as_str(), marked(h))).collect();
    let expected = [
        ("names[0].text", "Руслан Жаксылыков", vec!["Жаксылыков".to_owned()]),
        ("names[1].text", "Ruslan Jaqsılıqov", vec!["Jaqsılıqov".to_owned()]),
    ];
    assert_eq!(shown, expected);
    server.stop().await;
}

#[tokio::test]
async fn pages_hold_still_while_others_file() {
    let server = TestServer::start().await;
    let titles = ["Alpha drill", "Drill", "The drill of the year", "Drilk", "Drill and more", "Drills"];
    let reports = titles.iter().enumerate().map(|(i, t)| titled_visit(&format!("v{i}"), "s", t, "")).collect();
    server.file(reports).await;
    let whole = search(&server, words("drill")).await;
    assert_eq!(whole.results.len(), titles.len());
    let mut paged = Vec::new();
    let mut request = v1::SearchRecordsRequest { page_size: 2, ..words("drill") };
    for round in 0.. {
        let page = search(&server, request.clone()).await;
        assert_eq!(page.token, whole.token);
        paged.extend(page.results);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        // New records, new words that are similar, a better match, and one less.
        server
            .file(vec![
                titled_visit(&format!("new{round}"), "s", &format!("Drill dryll{round} dril"), ""),
                titled_visit("v0", &format!("again{round}"), "Something else", ""),
            ])
            .await;
    }
    assert_eq!(paged, whole.results);
    assert_eq!(
        search(&server, v1::SearchRecordsRequest { as_of: ask::as_of(&whole.token), ..words("drill") }).await,
        whole
    );
    assert!(found(&server, "drill").await.len() > titles.len());

    let other = v1::SearchRecordsRequest { query: "drills".into(), ..request };
    assert_eq!(ask::reason(&try_search(&server, other).await.unwrap_err()), "PAGE_TOKEN_MISMATCH");
    server.stop().await;
}

#[tokio::test]
async fn what_is_retracted_or_said_otherwise_is_found_in_the_past_alone() {
    let server = TestServer::start().await;
    let first = server.file(vec![titled_visit("v", "s", "The Ganja visit", "")]).await;
    server.file(vec![titled_visit("v", "s", "The Sumgait visit", "")]).await;
    let as_of = |query: &str, token: &str| v1::SearchRecordsRequest { as_of: ask::as_of(token), ..words(query) };
    assert_eq!(found(&server, "ganja").await, Vec::<String>::new());
    assert_eq!(found(&server, "sumgait").await, ["visits/v"]);
    assert_eq!(names(&search(&server, as_of("ganja", &first.token)).await.results), ["visits/v"]);
    assert!(search(&server, as_of("sumgait", &first.token)).await.results.is_empty());

    let gone = server.withdraw(Selection::Report("visits/v/reports/s".into())).await;
    let later = v1::SearchRecordsRequest { at_least: Some(gone.token), ..words("sumgait") };
    assert!(search(&server, later).await.results.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn the_filter_and_the_mask_are_those_of_a_list() {
    let server = sample().await;
    let of_kind = v1::Filter { kinds: vec![RecordKind::Person.into()], ..Default::default() };
    let persons = v1::SearchRecordsRequest { filters: vec![of_kind], ..words("Jaksilykov") };
    let masked = v1::SearchRecordsRequest {
        read_mask: Some(prost_types::FieldMask { paths: vec!["postings".into()] }),
        ..persons.clone()
    };
    assert_eq!(names(&search(&server, persons).await.results), [MINISTER]);
    let answer = search(&server, masked).await;
    let Some(Kind::Person(person)) = answer.results[0].record.clone().and_then(|r| r.kind) else {
        panic!("{answer:?}")
    };
    assert!(person.names.is_empty() && !person.postings.is_empty() && person.name == MINISTER);
    assert!(!answer.results[0].highlights.is_empty(), "highlights do not depend on the mask");

    let hosts = v1::Filter { hosts: vec!["TR".into()], ..Default::default() };
    assert!(
        search(&server, v1::SearchRecordsRequest { filters: vec![hosts], ..words("Jaksilykov") })
            .await
            .results
            .is_empty()
    );
    let empty = v1::SearchRecordsRequest { filters: vec![v1::Filter::default()], ..words("x") };
    assert_eq!(ask::reason(&try_search(&server, empty).await.unwrap_err()), "FILTER_INVALID");
    server.stop().await;
}

#[tokio::test]
async fn no_character_of_a_query_has_a_meaning() {
    let server = TestServer::start().await;
    server.file(vec![titled_visit("v", "s", "NEAR AND OR NOT names 日本 \u{E000}x", "")]).await;
    for query in [
        "NEAR",
        "AND OR NOT",
        "\"names\"",
        "names: near*",
        "near(and or)",
        "^names",
        "{names} : and",
        "日本",
        "OR\0AND",
    ] {
        assert_eq!(found(&server, query).await, ["visits/v"], "{query}");
    }
    for query in ["\u{E000}", "x' OR 1=1 --", "a\u{301}\u{200F}\u{202E}", "%_%", "\u{10FFFF}"] {
        try_search(&server, words(query))
            .await
            .map(drop)
            .or_else(|e| match ask::reason(&e).as_str() {
                "FIELD_INVALID" => Ok(()),
                _ => Err(format!("{query}: {e}")),
            })
            .unwrap();
    }
    for (query, reason) in [("", "FIELD_INVALID"), (" \"*\" ", "FIELD_INVALID"), (&"a".repeat(257), "TOO_LARGE")] {
        let refused = try_search(&server, words(query)).await.unwrap_err();
        assert_eq!(ask::reason(&refused), reason, "{query:?}");
    }
    server.stop().await;
}

fn partial(content: Content) -> v1::MatchRecordsRequest {
    let report = v1::Report { content: Some(content), ..Default::default() };
    v1::MatchRecordsRequest { report: Some(report), ..Default::default() }
}

async fn matches(server: &TestServer, request: v1::MatchRecordsRequest) -> Vec<v1::MatchCandidate> {
    server.registry().match_records(request).await.expect("the question is answered").into_inner().candidates
}

fn candidate_names(candidates: &[v1::MatchCandidate]) -> Vec<&str> {
    candidates.iter().map(|c| record::name_of(c.record.as_ref().unwrap())).collect()
}

#[tokio::test]
async fn a_visit_told_by_another_source_is_matched_with_reasons() {
    let server = sample().await;
    let visit = |day: &str| {
        let head = v1::PersonRef { name_as_stated: Some("Jaksilikov R.".into()), ..Default::default() };
        v1::Visit {
            hosts: vec![common::side("AZ")],
            guests: vec![v1::Side { head: Some(head), ..common::side("KZ") }],
            start: Some(common::date(day)),
            ..Default::default()
        }
    };
    let found = matches(&server, partial(Content::Visit(visit("2023-10-05")))).await;
    assert_eq!(candidate_names(&found)[0], "visits/kz-mod-az-2023-10", "{found:?}");
    assert!(found[0].score >= 0.75, "{}", found[0].score);
    let reasons = &found[0].reasons;
    assert!(
        reasons.iter().any(|r| r == "the same host and guest") && reasons.iter().any(|r| r.contains("like name")),
        "{reasons:?}"
    );

    let reversed =
        v1::Visit { hosts: vec![common::side("KZ")], guests: vec![common::side("AZ")], ..visit("2023-10-05") };
    let found = matches(&server, partial(Content::Visit(reversed))).await;
    assert!(found.iter().all(|c| c.score < 0.5), "{found:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_person_is_matched_by_any_spelling_and_an_identifier_decides() {
    let server = sample().await;
    let named = |text: &str| v1::Person {
        names: vec![v1::Name { text: text.into(), ..Default::default() }],
        ..Default::default()
    };
    for spelling in ["Руслан Жаксылыков", "R. Jaksilykov", "Zhaxylykov Ruslan"] {
        let found = matches(&server, partial(Content::Person(named(spelling)))).await;
        assert_eq!(candidate_names(&found).first(), Some(&MINISTER), "{spelling}");
        assert!(found[0].reasons[0].starts_with("name alike"), "{found:?}");
    }
    assert!(matches(&server, partial(Content::Person(named("Nobody Nowhere")))).await.is_empty());

    let id = |id: &str| vec![v1::ExternalId { scheme: "wikidata".into(), id: id.into() }];
    let mut known = person_report("known", "s", &["Quite Another"]);
    if let Some(Content::Person(person)) = &mut known.content {
        person.external_ids = id("Q4115189");
    }
    server.file(vec![known]).await;
    let asked = v1::Person { external_ids: id("Q4115189"), ..named("Ruslan Zhaksylykov") };
    let found = matches(&server, partial(Content::Person(asked))).await;
    assert_eq!(candidate_names(&found), ["persons/known", MINISTER]);
    assert_eq!(found[0].reasons[0], "external id wikidata equal");
    server.stop().await;
}

#[tokio::test]
async fn retracted_records_are_no_candidates_and_a_partial_one_must_say_something() {
    let server = TestServer::start().await;
    let filed = server.file(vec![person_report("p", "s", &["Anna Kova"])]).await;
    let asked = || {
        let person = v1::Person {
            names: vec![v1::Name { text: "Anna Kova".into(), ..Default::default() }],
            ..Default::default()
        };
        partial(Content::Person(person))
    };
    assert_eq!(candidate_names(&matches(&server, asked()).await), ["persons/p"]);
    let ruling = v1::RetractRecordRequest {
        name: "persons/p".into(),
        source: Some(v1::Source { kind: v1::SourceKind::Editor.into(), ..source("ruling") }),
        reason: v1::RetractionReason::Fabricated.into(),
        ..Default::default()
    };
    server.filing().retract_record(ruling).await.expect("the ruling is taken");
    assert!(matches(&server, asked()).await.is_empty());
    let then = v1::MatchRecordsRequest { as_of: ask::as_of(&filed.token), ..asked() };
    assert_eq!(candidate_names(&matches(&server, then).await), ["persons/p"]);

    let bad_date = v1::Visit { start: Some(common::date("2023-13-45")), ..Default::default() };
    let bad = [
        (v1::MatchRecordsRequest::default(), "report"),
        (v1::MatchRecordsRequest { report: Some(v1::Report::default()), ..Default::default() }, "report"),
        (partial(Content::Visit(v1::Visit::default())), "report.visit"),
        (partial(Content::Visit(bad_date)), "report.visit.start.edtf"),
        (v1::MatchRecordsRequest { limit: -1, ..asked() }, "limit"),
    ];
    for (request, field) in bad {
        use tonic_types::StatusExt as _;
        let refused = server.registry().match_records(request).await.unwrap_err();
        let violations = refused.get_details_bad_request().expect(field).field_violations;
        assert_eq!((ask::reason(&refused).as_str(), violations[0].field.as_str()), ("FIELD_INVALID", field));
    }
    server.stop().await;
}

#[tokio::test]
async fn similar_spellings_are_left_out_where_many_records_have_the_very_words() {
    let server = TestServer::start().await;
    server.file(vec![titled_visit("near", "s", "Visit to Sumgaot", "")]).await;
    let exact = |i: usize| titled_visit(&format!("v{i}"), "s", "Visit to Sumgait", "");
    server.file((0..ENOUGH_RANKED - 1).map(exact).collect()).await;
    let all = v1::SearchRecordsRequest { page_size: 1000, ..words("Sumgait") };
    let few = search(&server, all.clone()).await;
    assert!(!few.incomplete && names(&few.results).contains(&"visits/near".to_owned()));
    server.file(vec![exact(ENOUGH_RANKED)]).await;
    let many = search(&server, all).await;
    assert!(many.incomplete && many.results.len() == ENOUGH_RANKED);
    assert!(!names(&many.results).contains(&"visits/near".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn a_word_of_very_many_records_stands_for_itself_alone_among_several() {
    let server = TestServer::start().await;
    server.file(vec![titled_visit("one", "s", "Visiting Sumgait", "")]).await;
    let found = |answer: v1::SearchRecordsResponse| (names(&answer.results), answer.incomplete);
    let one = vec!["visits/one".to_owned()];
    assert_eq!(found(search(&server, words("visit sumgait")).await), (one.clone(), false));
    let common: Vec<_> = (0..COMMON_WORD).map(|i| titled_visit(&format!("v{i}"), "s", "Visit to Baku", "")).collect();
    for some in common.chunks(MAX_REPORTS_PER_FILING) {
        server.file(some.to_vec()).await;
    }
    assert_eq!(found(search(&server, words("visit sumgait")).await), (Vec::new(), true));
    // The rarer word may still be misspelt.
    assert_eq!(found(search(&server, words("visiting sumgat")).await), (one, false));
    server.stop().await;
}

#[tokio::test]
async fn a_store_from_before_the_search_is_searched_as_if_it_had_always_been() {
    let folder = tempfile::tempdir().unwrap();
    let start = || TestServer::with(common::config_at(folder.path()), Parts::default());
    let server = start().await;
    let first = server.file(vec![titled_visit("v", "s", "The Ganja visit", "of Zhaksylykov")]).await;
    server.file(vec![titled_visit("v", "s", "The Sumgait visit", ""), person_report("p", "s", &["Жаксылыков"])]).await;
    let asked = [
        words("zhaksilykof"),
        words("sumgait"),
        v1::SearchRecordsRequest { as_of: ask::as_of(&first.token), ..words("Jaksilykov ganja") },
        v1::SearchRecordsRequest { as_of: ask::as_of(&first.token), ..words("zkahsylykov") },
    ];
    let mut before = Vec::new();
    for request in &asked {
        before.push(search(&server, request.clone()).await);
    }
    assert!(before.iter().all(|answer| !answer.results.is_empty()), "{before:?}");
    server.stop().await;

    // What later schemas changed, undone: the file as the fourth one wrote it.
    let file = folder.path().join("attache.db");
    made_older(&file);
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .execute_batch(
            "DROP TABLE home; DROP INDEX reports_by_end; DROP INDEX sources_by_end; DROP INDEX rulings_by_end;
             DROP INDEX merges_by_end; ALTER TABLE log_state DROP COLUMN floor;
             ALTER TABLE log_state DROP COLUMN floor_hash;
             ALTER TABLE log_state DROP COLUMN redacted; ALTER TABLE versions DROP COLUMN erased_by; DROP TABLE erasing;
             DROP TABLE scrub;
             DROP TABLE search; DROP TABLE search_words; DROP TABLE pairs;
             DROP INDEX versions_long_newest; DROP INDEX versions_long_oldest;
             CREATE TABLE history (record); CREATE INDEX versions_name ON versions (kind, name);
             CREATE INDEX versions_all_names ON versions (name); CREATE INDEX reports_active ON reports (name);
             CREATE INDEX reports_by_name ON reports (name);
             PRAGMA user_version = 4",
        )
        .unwrap();
    drop(connection);

    let server = start().await;
    assert!(folder.path().join("attache.schema-4.bak").exists(), "the file is kept as it was");
    for (request, answer) in asked.into_iter().zip(before) {
        assert_eq!(search(&server, request).await, answer);
    }
    server.stop().await;
}
