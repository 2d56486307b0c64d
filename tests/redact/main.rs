//! Redaction: what is erased is nowhere any more, on no replica; everything else reads as before, the chain still verifies,
//! and everybody who watches is told.

#[path = "../common/mod.rs"]
mod common;
mod forgotten;
mod free_pages;
mod parts;
#[path = "../common/registry.rs"]
mod registry;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use attache::{
    pb::v1::{self, EventType, RetractionReason, as_of, redact_request::What, retract_reports_request::Selection},
    serve::Parts,
    store::{self, Options, verify},
};
use common::{
    FakeClock, TestServer, config, config_at, scribe::Scribe, shared_log::SharedLog, source, visit_report,
    visit_report_of, watching::*,
};
use rusqlite::Connection;
use tonic::{Code, Status};

/// A word that stands in no other text of these tests.
const SECRET: &str = "Quxxlebrim";

async fn serve(folder: &Path) -> TestServer {
    TestServer::with(config_at(folder), Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await
}

async fn replica(log: &SharedLog, folder: &Path) -> TestServer {
    let parts = Parts { journal: Arc::new(log.clone()), clock: Arc::new(FakeClock::default()), ..Parts::default() };
    TestServer::with(config_at(folder), parts).await
}

/// Runs a command, which must succeed.
async fn attache(arguments: Vec<String>) {
    let run = move || std::process::Command::new(env!("CARGO_BIN_EXE_attache")).args(arguments).output();
    let done = tokio::task::spawn_blocking(run).await.expect("it runs").expect("it runs");
    assert!(done.status.success(), "{done:?}");
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn report_of(id: &str, source: &str) -> What {
    What::Report(format!("visits/{id}/reports/{source}"))
}

async fn ask(server: &TestServer, what: Option<What>, dry_run: bool) -> Result<v1::RedactResponse, Status> {
    let request = v1::RedactRequest { what, reason: "ordered by a court".into(), dry_run };
    server.log().redact(request).await.map(tonic::Response::into_inner)
}

async fn redact(server: &TestServer, what: What) -> v1::RedactResponse {
    ask(server, Some(what), false).await.expect("it is erased")
}

/// A visit in which a word stands wherever a filer can put one.
fn telling(id: &str, source_id: &str, word: &str) -> v1::Report {
    let title = v1::Title { text: format!("Visit of {word}"), language: Some("en".into()), ..Default::default() };
    let item = v1::ItineraryItem {
        key: format!("meeting-{}", word.to_lowercase().replace(' ', "-")),
        kind: v1::ItineraryKind::Meeting.into(),
        status: v1::ItineraryStatus::Held.into(),
        date: Some(common::date("2023-05-01")),
        kind_as_stated: vec![v1::Text { text: format!("{word} was met"), ..Default::default() }],
        ..Default::default()
    };
    let guest = v1::Side {
        head: Some(v1::PersonRef { name_as_stated: Some(word.to_owned()), ..Default::default() }),
        ..common::side("KZ")
    };
    let visit = v1::Visit {
        titles: vec![title],
        hosts: vec![common::side("AZ")],
        guests: vec![guest],
        start: Some(common::date("2023-05-01")),
        end: Some(common::date("2023-05-02")),
        itinerary: vec![item],
        ..Default::default()
    };
    visit_report_of(id, source_id, visit)
}

/// Everything that the registry answers of a visit and of the log, as of now and of positions, in words.
async fn everything_said(server: &TestServer, positions: &[String]) -> String {
    let mut said = Vec::new();
    let times = positions.iter().map(|t| Some(v1::AsOf { position: Some(as_of::Position::Token(t.clone())) }));
    let mut registry = server.registry();
    for as_of in times.chain([None]) {
        let list = v1::ListVisitsRequest { as_of: as_of.clone(), page_size: 1000, ..Default::default() };
        said.push(format!("{:?}", registry.list_visits(list).await.expect("visits").into_inner().visits));
        let search = v1::SearchRecordsRequest { query: SECRET.into(), as_of: as_of.clone(), ..Default::default() };
        said.push(format!("{:?}", registry.search_records(search).await.expect("results").into_inner().results));
        for name in ["visits/a", "visits/b"] {
            let get = v1::GetVisitRequest { name: name.into(), as_of: as_of.clone(), ..Default::default() };
            said.push(format!("{:?}", registry.get_visit(get).await.map(|r| r.into_inner().visit)));
            let reports = v1::ListReportsRequest { parent: name.into(), as_of: as_of.clone(), ..Default::default() };
            said.push(format!("{:?}", registry.list_reports(reports).await.map(|r| r.into_inner().reports)));
            let explain = v1::ExplainRecordRequest { name: name.into(), as_of: as_of.clone(), ..Default::default() };
            said.push(format!("{:?}", registry.explain_record(explain).await.map(|r| r.into_inner().fields)));
        }
    }
    for name in ["visits/a", "visits/b"] {
        let revisions = v1::ListRevisionsRequest { name: name.into(), ..Default::default() };
        said.push(format!("{:?}", registry.list_revisions(revisions).await.map(|r| r.into_inner().revisions)));
    }
    said.push(format!("{:?}", everything(server).await));
    let previous = v1::WatchEventsRequest { include_previous: true, ..until_caught_up(from_oldest()) };
    said.push(format!("{:?}", server.replay(previous).await));
    said.push(format!("{:?}", server.list_events(v1::ListEventsRequest::default()).await));
    said.join("\n")
}

/// Whether a word stands in any file of a store.
fn is_stored(folder: &Path, word: &str) -> bool {
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    files.filter(|path| path.is_file()).any(|path| {
        let bytes = fs::read(path).expect("its bytes").to_ascii_lowercase();
        memchr::memmem::find(&bytes, word.to_ascii_lowercase().as_bytes()).is_some()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_report_is_left_in_any_answer_nor_in_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path()).await;
    let mut positions = Vec::new();
    // Filed beside others, changed, withdrawn and filed again: each way leaves something somewhere.
    let both = vec![telling("a", "leak", SECRET), telling("b", "leak", "Other")];
    positions.push(server.file(both).await.token);
    positions.push(server.file(vec![telling("a", "ministry", "Other")]).await.token);
    positions.push(server.file(vec![telling("a", "leak", &format!("{SECRET} again"))]).await.token);
    positions.push(server.withdraw(Selection::Report("visits/a/reports/leak".into())).await.token);
    positions.push(server.file(vec![telling("a", "leak", SECRET)]).await.token);
    let before = everything_said(&server, &positions).await;
    assert!(before.contains(SECRET) && is_stored(folder.path(), SECRET), "it is there before");

    let planned = ask(&server, Some(report_of("a", "leak")), true).await.expect("a dry run");
    assert_eq!(everything_said(&server, &positions).await, before, "a dry run erases nothing");
    let done = redact(&server, report_of("a", "leak")).await;
    assert_eq!((&done.reports, done.revisions), (&planned.reports, planned.revisions), "as the dry run said");
    assert_eq!(done.reports, ["visits/a/reports/leak"]);
    assert_eq!((done.remaining, done.journal_until, done.journal_keeps), (0, None, false));

    let after = everything_said(&server, &positions).await;
    let lower = after.to_lowercase();
    let at = lower.find(&SECRET.to_lowercase()).map(|at| &after[at.saturating_sub(400)..(at + 100).min(after.len())]);
    assert_eq!(at, None);
    server.stop().await;
    assert!(!is_stored(folder.path(), SECRET), "no file has it");
    let sound = verify::all(folder.path(), |_| {}).expect("the chain verifies, and the rows");
    assert_eq!(sound.redacted, done.revisions);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_filed_reads_as_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path()).await;
    let first = server.file(vec![telling("a", "leak", SECRET), telling("b", "leak", "Other")]).await;
    let second = server.file(vec![telling("a", "ministry", "Other")]).await;
    let of_b = async |token: &str| {
        let position = Some(as_of::Position::Token(token.to_owned()));
        let asked =
            v1::GetVisitRequest { name: "visits/b".into(), as_of: Some(v1::AsOf { position }), ..Default::default() };
        server.registry().get_visit(asked).await.expect("it stands").into_inner().visit
    };
    let (b, told) = (of_b(&first.token).await, everything(&server).await);
    redact(&server, report_of("a", "leak")).await;
    assert_eq!(of_b(&first.token).await, b);
    let now = everything(&server).await;
    let of = |events: &[v1::Event], subject: &str| -> Vec<v1::Event> {
        events.iter().filter(|e| e.subject == subject).map(bare).collect()
    };
    assert_eq!(of(&now, "visits/b"), of(&told, "visits/b"));
    // Of the record itself every event keeps its place, and says that it lost its word.
    let places = |events: &[v1::Event]| -> Vec<_> { events.iter().map(|e| (e.id.clone(), e.r#type())).collect() };
    let (mine, then) = (of(&now, "visits/a"), of(&told, "visits/a"));
    assert_eq!(places(&mine)[..then.len()], places(&then));
    assert!(mine[..then.len()].iter().all(|e| e.redacted && e.states.is_empty()), "{mine:?}");
    // What stands is what the others state.
    let asked = v1::GetVisitRequest { name: "visits/a".into(), ..Default::default() };
    let stands = server.registry().get_visit(asked).await.expect("it stands").into_inner().visit.expect("a visit");
    assert_eq!(stands.titles[0].text, "Visit of Other");
    // And what it was then says why it is not there.
    let position = Some(as_of::Position::Token(second.token.clone()));
    let asked =
        v1::GetVisitRequest { name: "visits/a".into(), as_of: Some(v1::AsOf { position }), ..Default::default() };
    let status = server.registry().get_visit(asked).await.expect_err("it is erased");
    assert_eq!((reason(&status).as_str(), status.code()), ("RECORD_REDACTED", Code::NotFound));
    server.stop().await;
}

/// What a client keeps who takes every event as the contract says: by name, the record.
fn keep(cache: &mut BTreeMap<String, Option<v1::Record>>, events: &[v1::Event]) {
    for event in events.iter().filter(|e| e.left_filter || e.record.is_some() || e.r#type() == EventType::Redacted) {
        match &event.record {
            Some(record) if !event.left_filter => cache.insert(event.subject.clone(), Some(record.clone())),
            _ => cache.remove(&event.subject),
        };
    }
}

async fn listed(server: &TestServer, filters: &[v1::Filter], token: &str) -> Vec<String> {
    let position = Some(as_of::Position::Token(token.to_owned()));
    let as_of = Some(v1::AsOf { position });
    let asked = v1::ListVisitsRequest { filters: filters.to_vec(), as_of, page_size: 1000, ..Default::default() };
    let mut names: Vec<String> = server
        .registry()
        .list_visits(asked)
        .await
        .expect("visits")
        .into_inner()
        .visits
        .iter()
        .map(visit_words)
        .collect();
    names.sort();
    names
}

fn visit_words(visit: &v1::Visit) -> String {
    format!("{visit:?}")
}

fn cached(cache: &BTreeMap<String, Option<v1::Record>>) -> Vec<String> {
    let visit = |record: &v1::Record| match &record.kind {
        Some(v1::record::Kind::Visit(visit)) => visit_words(visit),
        other => panic!("{other:?}"),
    };
    let mut words: Vec<String> = cache.values().flatten().map(visit).collect();
    words.sort();
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_kept_by_events_equals_the_list_after_a_redaction_whoever_watched_when() {
    let server = TestServer::with(config(), Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await;
    let filters = guests(&["KZ"]);
    let mut live = server.watch(lively(filtered(from_oldest(), filters.clone()))).await;
    // One that matched by what is erased, one that matches all the same, one that does not match.
    server.file(vec![visit_report("a", "leak", "KZ", "AZ", "2023-05-01")]).await;
    server.file(vec![visit_report("a", "ministry", "UZ", "AZ", "2023-05-01")]).await;
    server.file(vec![visit_report("b", "leak", "KZ", "AZ", "2023-05-01")]).await;
    server.file(vec![visit_report("b", "ministry", "KZ", "AZ", "2023-05-01")]).await;
    let between = server.file(vec![visit_report("c", "leak", "TR", "AZ", "2023-05-01")]).await;
    let mut cache = BTreeMap::new();
    keep(&mut cache, &events(&live.up_to_revision(between.revision).await));
    assert_eq!(cached(&cache), listed(&server, &filters, &between.token).await, "before");
    let (mut resumed, left) = (cache.clone(), between.token.clone());
    let mut last = between;
    for id in ["a", "b", "c"] {
        let done = redact(&server, report_of(id, "leak")).await;
        last = v1::FileReportsResponse { token: done.token, revision: done.revision, ..last };
    }
    keep(&mut cache, &events(&live.up_to_revision(last.revision).await));
    let list = listed(&server, &filters, &last.token).await;
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(cached(&cache), list, "who was there");
    keep(&mut resumed, &server.replay(until_caught_up(filtered(after(&left), filters.clone()))).await);
    assert_eq!(cached(&resumed), list, "who was away");
    let mut fresh = BTreeMap::new();
    keep(&mut fresh, &server.replay(until_caught_up(filtered(from_oldest(), filters.clone()))).await);
    assert_eq!(cached(&fresh), list, "who came later");
    let mut snapshot = BTreeMap::new();
    keep(&mut snapshot, &server.replay(until_caught_up(filtered(from_snapshot(), filters.clone()))).await);
    assert_eq!(cached(&snapshot), list, "who took a snapshot");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_watches_is_told_whatever_they_filter_by() {
    let server = TestServer::with(config(), Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await;
    let filed = server.file(vec![visit_report("a", "leak", "KZ", "AZ", "2023-05-01")]).await;
    let mut elsewhere = server.watch(lively(filtered(after(&filed.token), guests(&["TR"])))).await;
    let done = redact(&server, report_of("a", "leak")).await;
    let told = events(&elsewhere.up_to_revision(done.revision).await);
    let [event] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((event.r#type(), event.subject.as_str()), (EventType::Redacted, "visits/a"));
    assert!(event.left_filter && event.record.is_none());
    assert_eq!(event.reports, ["visits/a/reports/leak"]);
    let all = everything(&server).await;
    let retracted = all.iter().find(|e| e.r#type() == EventType::Retracted).expect("nothing is left of it");
    assert_eq!((retracted.reason(), retracted.revision), (RetractionReason::Redacted, done.revision));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_source_filed_about_a_person_goes_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path()).await;
    let person = |id: &str, source_id: &str, word: &str| v1::Report {
        name: format!("persons/{id}/reports/{source_id}"),
        record: format!("persons/{id}"),
        source: Some(source(source_id)),
        content: Some(v1::report::Content::Person(v1::Person {
            names: vec![v1::Name { text: word.into(), ..Default::default() }],
            ..Default::default()
        })),
        ..Default::default()
    };
    let naming = |id: &str, source_id: &str, person: &str| {
        let mut report = telling(id, source_id, "Somebody");
        let Some(v1::report::Content::Visit(visit)) = &mut report.content else { panic!("a visit") };
        visit.guests[0].head = Some(v1::PersonRef { person: Some(person.into()), ..Default::default() });
        report
    };
    server
        .file(vec![
            person("x", "leak", SECRET),
            person("xx", "leak", "Another"),
            person("x", "ministry", "Known"),
            naming("a", "leak", "persons/x"),
            naming("b", "leak", "persons/xx"),
            naming("c", "ministry", "persons/x"),
        ])
        .await;
    server.withdraw(Selection::Report("visits/a/reports/leak".into())).await;
    let about = || What::FiledAbout(v1::FiledAbout { source: "sources/leak".into(), person: "persons/x".into() });
    let done = redact(&server, about()).await;
    assert_eq!(done.reports, ["persons/x/reports/leak", "visits/a/reports/leak"], "standing and withdrawn");
    let again = redact(&server, about()).await;
    assert_eq!((again.reports.len(), again.revision), (0, 0), "nothing is left");
    let unknown = What::FiledAbout(v1::FiledAbout { source: "sources/nobody".into(), person: "persons/x".into() });
    let status = ask(&server, Some(unknown), false).await.expect_err("no such source");
    assert_eq!(reason(&status), "RECORD_NOT_FOUND");
    server.stop().await;
    assert!(!is_stored(folder.path(), SECRET));
    assert!(is_stored(folder.path(), "Known") && is_stored(folder.path(), "Another"));
    verify::folder(folder.path()).expect("the chain verifies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_merged_record_was_goes_under_every_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path()).await;
    server.file(vec![telling("a", "leak", SECRET)]).await;
    server.file(vec![telling("b", "ministry", "Other")]).await;
    let ruling = v1::Source { kind: v1::SourceKind::Editor.into(), ..source("desk") };
    let merge = v1::MergeRecordsRequest {
        loser: "visits/a".into(),
        survivor: "visits/b".into(),
        source: Some(ruling),
        ..Default::default()
    };
    server.filing().merge_records(merge).await.expect("it is merged");
    server.file(vec![telling("b", "desk", "Third")]).await;
    let unmerge = v1::UnmergeRecordsRequest { loser: "visits/a".into(), ..Default::default() };
    server.filing().unmerge_records(unmerge).await.expect("it is separate again");
    redact(&server, report_of("a", "leak")).await;
    let said = everything_said(&server, &[]).await.to_lowercase();
    assert_eq!(said.find(&SECRET.to_lowercase()), None);
    server.stop().await;
    assert!(!is_stored(folder.path(), SECRET), "no file has it");
    verify::folder(folder.path()).expect("the chain verifies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_redaction_leaves_the_next_one_erases() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path()).await;
    server.file(vec![telling("a", "leak", SECRET), telling("a", "press", SECRET)]).await;
    redact(&server, report_of("a", "leak")).await;
    assert!(everything_said(&server, &[]).await.contains(SECRET), "another says it too");
    redact(&server, report_of("a", "press")).await;
    assert_eq!(everything_said(&server, &[]).await.to_lowercase().find(&SECRET.to_lowercase()), None);
    server.stop().await;
    assert!(!is_stored(folder.path(), SECRET), "no file has it");
    verify::folder(folder.path()).expect("the chain verifies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_record_was_at_the_floor_of_a_trimmed_log_goes_too() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Arc::new(FakeClock::on("2023-06-01")));
    let start = async || {
        let clock: Arc<dyn attache::clock::Clock> = Arc::clone(&clock) as _;
        TestServer::with(config_at(folder.path()), Parts { clock, ..Parts::default() }).await
    };
    let server = start().await;
    server.file(vec![telling("a", "leak", SECRET)]).await;
    let floor = server.file(vec![telling("b", "leak", "Other")]).await;
    let later = server.file(vec![telling("b", "leak", "Another")]).await;
    clock.advance(std::time::Duration::from_secs(72 * 3600));
    server.file(vec![telling("b", "leak", "Third")]).await;
    let keep = Some(v1::trim_log_request::Keep::AfterToken(floor.token.clone()));
    server.log().trim_log(v1::TrimLogRequest { keep, dry_run: false }).await.expect("it is trimmed");
    let positions = [floor.token, later.token];
    assert!(everything_said(&server, &positions).await.contains(SECRET), "it is there before");
    redact(&server, report_of("a", "leak")).await;
    assert_eq!(everything_said(&server, &positions).await.to_lowercase().find(&SECRET.to_lowercase()), None);
    server.stop().await;
    {
        // As a server does in its own time.
        let (_store, write) = store::open(folder.path(), &Options::default()).expect("the store opens");
        while store::trim::sweep(&write.connection, write.head().floor, 16).expect("it sweeps") {}
        assert!(write.cut_log(), "nobody reads it");
    }
    assert!(!is_stored(folder.path(), SECRET), "no file has it");
    verify::folder(folder.path()).expect("what is left verifies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_from_the_middle_of_a_merge_is_told() {
    let server = TestServer::with(config(), Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await;
    let filters = guests(&["KZ"]);
    server.file(vec![visit_report("a", "ministry", "UZ", "AZ", "2023-05-01")]).await;
    server.file(vec![visit_report("b", "leak", "KZ", "AZ", "2023-05-01")]).await;
    let merge = v1::MergeRecordsRequest {
        loser: "visits/b".into(),
        survivor: "visits/a".into(),
        source: Some(v1::Source { kind: v1::SourceKind::Editor.into(), ..source("desk") }),
        ..Default::default()
    };
    let merged = server.filing().merge_records(merge).await.expect("it is merged").into_inner();
    let mut cache = BTreeMap::new();
    keep(&mut cache, &server.replay(through(filtered(from_oldest(), filters.clone()), &merged.token)).await);
    assert_eq!(cached(&cache), listed(&server, &filters, &merged.token).await, "in the middle");
    let unmerge = v1::UnmergeRecordsRequest { loser: "visits/b".into(), ..Default::default() };
    server.filing().unmerge_records(unmerge).await.expect("it is separate again");
    let done = redact(&server, report_of("b", "leak")).await;
    keep(&mut cache, &server.replay(until_caught_up(filtered(after(&merged.token), filters.clone()))).await);
    assert_eq!(cached(&cache), listed(&server, &filters, &done.token).await, "who was away since then");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warning_to_somebody_else_goes_though_nothing_came_of_their_filing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path()).await;
    server.file(vec![telling("a", "leak", SECRET)]).await;
    let ruling = v1::RetractRecordRequest {
        name: "visits/a".into(),
        source: Some(v1::Source { kind: v1::SourceKind::Editor.into(), ..source("desk") }),
        reason: RetractionReason::OutOfScope.into(),
        ..Default::default()
    };
    server.filing().retract_record(ruling).await.expect("it is ruled out");
    // Warned that it resembles an item of the other, and stored without effect.
    server.file(vec![telling("a", "ministry", "Other")]).await;
    redact(&server, report_of("a", "leak")).await;
    server.stop().await;
    assert!(!is_stored(folder.path(), SECRET), "no file has it");
    verify::folder(folder.path()).expect("the chain verifies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_erases_the_same() {
    let log = SharedLog::default();
    let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (a, b) = (replica(&log, here.path()).await, replica(&log, there.path()).await);
    a.file(vec![telling("a", "leak", SECRET), telling("b", "leak", "Other")]).await;
    a.file(vec![telling("a", "ministry", "Other")]).await;
    let done = redact(&a, report_of("a", "leak")).await;
    let read = v1::GetVisitRequest { name: "visits/b".into(), at_least: Some(done.token), ..Default::default() };
    b.registry().get_visit(read).await.expect("it arrives there");
    assert_eq!(everything(&a).await, everything(&b).await);
    for (server, folder) in [(a, &here), (b, &there)] {
        server.stop().await;
        assert!(!is_stored(folder.path(), SECRET));
        assert_eq!(verify::folder(folder.path()).expect("it is sound").redacted, done.revisions);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_with_redactions_is_sound_and_reads_alike_made_again_from_its_log() {
    let (folder, files, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let server = serve(folder.path()).await;
    let mut scribe = Scribe::moving("moving");
    let mut redacted = 0;
    let first = server.file(vec![visit_report("first", "s", "KZ", "AZ", "2023-05-01")]).await.token;
    for act in 0..80 {
        let acked = scribe.act(&mut server.filing()).await;
        let reports = acked.events.iter().flat_map(|e| &e.reports);
        if act % 7 == 6
            && let Some(report) = reports.last()
        {
            redact(&server, What::Report(report.clone())).await;
            redacted += 1;
        }
    }
    assert!(redacted > 3, "{redacted}");
    let last = server.file(vec![visit_report("last", "s", "KZ", "AZ", "2023-05-01")]).await;
    let beyond = server.file(vec![visit_report("beyond", "s", "KZ", "AZ", "2023-05-01")]).await;
    assert!(beyond.revision > last.revision);
    let (told, list) = (everything(&server).await, listed(&server, &[], &last.token).await);
    let copy = files.path().join("backup.db.zst");
    attache(vec!["backup".into(), shown(&copy), "--server".into(), server.address.clone()]).await;
    server.stop().await;
    assert!(verify::folder(folder.path()).expect("it is sound").redacted > 0);
    let to = last.token.clone();
    attache(vec!["restore-backup".into(), shown(&copy), "--data-dir".into(), shown(other.path()), "--to".into(), to])
        .await;
    // As it was before a redaction it is not restored: a part of that is missing.
    let early = tempfile::tempdir().expect("a folder");
    let mut before = std::process::Command::new(env!("CARGO_BIN_EXE_attache"));
    before.args(["restore-backup", &shown(&copy), "--data-dir", &shown(early.path()), "--to", &first]);
    let refused = before.output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("erased some of what was there"), "{refused:?}");
    verify::all(other.path(), |_| {}).expect("what was made again is sound");
    let server = serve(other.path()).await;
    let again = everything(&server).await;
    let words = |e: &v1::Event| (e.subject.clone(), e.revision, e.headline.clone(), e.redacted, e.record.clone());
    let until: Vec<_> = told.iter().filter(|e| e.revision <= last.revision).map(words).collect();
    assert_eq!(again.iter().map(words).collect::<Vec<_>>(), until);
    let now = server.token().await;
    assert_eq!(listed(&server, &[], &now).await, list);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_redacted_entry_says_something_else_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path()).await;
    server.file(vec![telling("a", "leak", SECRET)]).await;
    let whole: Vec<u8> = {
        let file = Connection::open(folder.path().join("attache.db")).expect("the store");
        file.query_row("SELECT payload FROM entries WHERE revision = 1", [], |r| r.get(0)).expect("its first entry")
    };
    redact(&server, report_of("a", "leak")).await;
    server.stop().await;
    verify::folder(folder.path()).expect("it is sound");
    let file = Connection::open(folder.path().join("attache.db")).expect("the store");
    let left: Vec<u8> =
        file.query_row("SELECT payload FROM entries WHERE revision = 1", [], |r| r.get(0)).expect("its first entry");
    let put = |payload: &[u8]| {
        file.execute("UPDATE entries SET payload = ?1 WHERE revision = 1", [payload]).expect("it is changed");
        verify::folder(folder.path()).map(|sound| sound.redacted).map_err(|e| e.to_string())
    };
    assert!(put(&whole).expect_err("it is back").contains("still says what entry 2 erased"));
    let mut other = left.clone();
    // (A field that is unknown, at the end.)
    other.extend([0xf8, 0x07, 0x01]);
    assert!(put(&other).expect_err("it differs").contains("something else than entry 2 left"));
    assert_eq!(put(&left), Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_erased_is_refused_and_changes_nothing() {
    let server = TestServer::with(config(), Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await;
    server.file(vec![visit_report("a", "s", "KZ", "AZ", "2023-05-01")]).await;
    let before = server.token().await;
    let about = |source: &str, person: &str| {
        Some(What::FiledAbout(v1::FiledAbout { source: source.into(), person: person.into() }))
    };
    let cases = [
        (None, "what", "FIELD_INVALID"),
        (Some(What::Report("visits/a".into())), "report", "FIELD_INVALID"),
        (about("s", "persons/p"), "filed_about.source", "FIELD_INVALID"),
        (about("sources/s", "visits/a"), "filed_about.person", "FIELD_INVALID"),
        (Some(report_of("a", "other")), "", "RECORD_NOT_FOUND"),
        (Some(report_of("nowhere", "s")), "", "RECORD_NOT_FOUND"),
    ];
    for (what, field, why) in cases {
        for dry_run in [true, false] {
            let status = ask(&server, what.clone(), dry_run).await.expect_err("it is refused");
            assert_eq!(reason(&status), why, "{what:?}");
            let details = tonic_types::StatusExt::get_error_details(&status);
            let fields: Vec<_> =
                details.bad_request().iter().flat_map(|b| &b.field_violations).map(|v| &v.field).collect();
            assert!(field.is_empty() || fields == [field], "{fields:?}");
        }
    }
    let silent = v1::RedactRequest { what: Some(report_of("a", "s")), ..Default::default() };
    let status = server.log().redact(silent).await.expect_err("no reason is given");
    assert_eq!(reason(&status), "FIELD_INVALID");
    assert_eq!(server.token().await, before, "nothing was recorded");
    redact(&server, report_of("a", "s")).await;
    let status = ask(&server, Some(report_of("a", "s")), false).await.expect_err("it is erased already");
    assert_eq!(reason(&status), "RECORD_NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_which_nothing_is_left_is_said_to_be_erased_in_words_that_fit_now_and_then() {
    let server = TestServer::with(config(), Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await;
    let filed = server.file(vec![telling("a", "leak", SECRET)]).await;
    let done = redact(&server, report_of("a", "leak")).await;
    let words =
        format!("nothing is left of visits/a as of this position: revision {} erased what it was", done.revision);
    let then = v1::AsOf { position: Some(as_of::Position::Token(filed.token)) };
    for as_of in [None, Some(then)] {
        let asked = v1::GetVisitRequest { name: "visits/a".into(), as_of, ..Default::default() };
        let status = server.registry().get_visit(asked).await.expect_err("it is erased");
        assert_eq!((reason(&status).as_str(), status.message()), ("RECORD_REDACTED", words.as_str()));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_may_be_filed_again_after_it_was_erased() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path()).await;
    server.file(vec![telling("a", "leak", SECRET)]).await;
    redact(&server, report_of("a", "leak")).await;
    let again = server.file(vec![telling("a", "leak", "Other")]).await;
    assert_eq!(again.results[0].outcome(), v1::FilingOutcome::Restored);
    assert!(everything_said(&server, &[]).await.contains("Visit of Other"));
    // And erased again, in another revision.
    let done = redact(&server, report_of("a", "leak")).await;
    assert_eq!(done.revisions, 1, "what was erased before is not erased again");
    server.stop().await;
    verify::folder(folder.path()).expect("the chain verifies");
    let (_store, write) = store::open(folder.path(), &Options::default()).expect("it opens");
    assert_eq!(write.head().redacted, done.revision);
}
