//! Whole files of real data: every row is accounted for, and reading them again makes the same items.
//!
//! They are no part of the project: `../shared/data`. A test whose file is absent says so and ends.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use attache::{
    import::{
        self, File, Import, Kind, Outcome, Row, States,
        batch::{Batches, Run},
    },
    pb::v1::{self, ImportItem, Intent, RecordKind, import_item::Item, report::Content},
};
use common::TestServer;
use serde_json::Value;

fn data(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is absent", path.display());
    None
}

/// The files of a folder with this ending, or the one file.
fn files(path: &Path, ending: &str) -> Vec<File> {
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        paths = entries.filter(|p| p.extension().is_some_and(|e| e == ending)).collect();
        paths.sort();
    }
    let read = |path: &PathBuf| File {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        bytes: fs::read(path).unwrap(),
    };
    paths.iter().map(read).collect()
}

fn read(kind: Kind, files: &[File]) -> Import {
    import::read(kind, files, &States::built_in()).unwrap()
}

struct Counts {
    taken: usize,
    repeated: usize,
    refused: BTreeMap<String, usize>,
}

fn counts(import: &Import) -> Counts {
    let mut counts = Counts { taken: 0, repeated: 0, refused: BTreeMap::new() };
    for row in &import.rows {
        match &row.outcome {
            Outcome::Items(items) => {
                assert!(!items.is_empty(), "{}", row.place);
                counts.taken += 1;
            }
            Outcome::Repeats(_) => counts.repeated += 1,
            Outcome::Refused(why) => *counts.refused.entry(why.clone()).or_default() += 1,
        }
    }
    counts
}

fn reports(row: &Row) -> impl Iterator<Item = &v1::Report> {
    let items: &[ImportItem] = if let Outcome::Items(items) = &row.outcome { items } else { &[] };
    items.iter().filter_map(|item| if let Some(Item::Report(report)) = &item.item { Some(report) } else { None })
}

/// Every row becomes one report or is refused, no record is named twice, and a second reading is the same.
fn assert_accounted(kind: Kind, files: &[File], rows: usize) -> Import {
    let import = read(kind, files);
    let Counts { taken, repeated, refused } = counts(&import);
    assert_eq!(import.rows.len(), rows, "rows of the file");
    assert_eq!((taken, repeated, refused), (rows, 0, BTreeMap::new()));
    let names: BTreeSet<&str> = import.rows.iter().flat_map(reports).map(|r| r.record.as_str()).collect();
    assert_eq!(names.len(), rows, "one record for each row");
    assert_eq!(import, read(kind, files), "the same bytes make the same items");
    import
}

fn visits(import: &Import) -> BTreeMap<&str, &v1::Visit> {
    fn of(report: &v1::Report) -> (&str, &v1::Visit) {
        match &report.content {
            Some(Content::Visit(visit)) => (&report.record, visit),
            other => panic!("{other:?}"),
        }
    }
    import.rows.iter().flat_map(reports).map(of).collect()
}

#[test]
fn every_row_of_the_list_of_visits_is_taken_and_its_xml_names_the_same_records() {
    let Some(folder) = data("historyatstate-visits") else { return };
    let csv = assert_accounted(Kind::Visits, &files(&folder, "csv"), 3264);
    let xml = assert_accounted(Kind::Visits, &files(&folder, "xml"), 2 + 495 + 276);
    let all = visits(&csv);
    for (record, visit) in visits(&xml) {
        assert_eq!(Some(&visit), all.get(record), "{record}");
    }
    assert_eq!(all["visits/us-visit-2138"].guests[0].state, "x-hawaii");
}

#[test]
fn the_list_in_both_forms_is_one_list() {
    let Some(folder) = data("historyatstate-visits") else { return };
    let both = [files(&folder, "csv"), files(&folder, "xml")].concat();
    let Counts { taken, repeated, refused } = counts(&read(Kind::Visits, &both));
    assert_eq!((taken, repeated, refused.len()), (3264, 773, 0));
}

#[test]
fn every_journey_is_taken() {
    let Some(folder) = data("historyatstate-travels/president-travels") else { return };
    let import = assert_accounted(Kind::Travels, &files(&folder, "xml"), 832);
    assert!(visits(&import).values().all(|visit| visit.guests[0].state == "US"));
}

#[test]
fn every_treaty_is_taken_and_those_in_force_before_their_signature_are_flagged() {
    let Some(file) = data("uk-treaties/uk_treaties_defence.jsonl") else { return };
    let import = assert_accounted(Kind::UkTreaties, &files(&file, ""), 321);
    let flagged = import.rows.iter().filter(|r| r.flags.iter().any(|f| f.contains("before the signature"))).count();
    assert_eq!(flagged, eif_before_signature(&file));
    assert!(flagged > 0);
}

/// Counted from the file directly.
fn eif_before_signature(file: &Path) -> usize {
    let day = |row: &Value, name: &str| {
        let text = row[name].as_str()?;
        Some([&text[6..], &text[3..5], &text[..2]].concat())
    };
    let rows = fs::read_to_string(file).unwrap();
    let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let early = |row: &Value| {
        let (force, signed) = (day(row, "definative_eif_event_date"), day(row, "signed_event_date"));
        force.zip(signed).is_some_and(|(force, signed)| force < signed)
    };
    rows.filter(early).count()
}

#[test]
fn every_exercise_is_taken() {
    let Some(file) = data("exercises/mme_v7_first1200.csv") else { return };
    let import = assert_accounted(Kind::Mme, &files(&file, ""), 1199);
    let start = |report: &v1::Report| match &report.content {
        Some(Content::Exercise(exercise)) => exercise.start.as_ref().unwrap().edtf.clone(),
        other => panic!("{other:?}"),
    };
    let months = import.rows.iter().flat_map(reports).filter(|r| start(r).len() == 7).count();
    assert_eq!(months, 254, "days xx of starts");
}

#[test]
fn a_data_set_says_what_it_watched_and_never_that_it_is_complete() {
    for (source, kind) in [
        (import::visits::source(), RecordKind::Visit),
        (import::travels::source(), RecordKind::Visit),
        (import::treaties::source(), RecordKind::Agreement),
        (import::exercises::source(), RecordKind::Exercise),
    ] {
        let coverage = source.coverage.expect("a data set has one");
        assert_eq!(coverage.kinds, [kind as i32], "{}", source.name);
        assert!(!coverage.complete && coverage.from.is_some() && coverage.until.is_some(), "{}", source.name);
    }
}

type Standing = BTreeMap<String, v1::Visit>;

/// What stands at each recorded time, told by the batches alone.
fn replayed(import: &Import) -> Vec<(i64, Standing)> {
    let mut standing = Standing::new();
    let mut moments: Vec<(i64, Standing)> = Vec::new();
    for batch in Batches::of(import, Run { id: "t".into(), validate_only: false }) {
        for item in batch.request.items {
            match item.item {
                Some(Item::Report(v1::Report { record, content: Some(Content::Visit(visit)), .. })) => {
                    standing.insert(record, visit);
                }
                Some(Item::Withdraw(name)) => {
                    let record = name.split_once("/reports/").unwrap().0;
                    assert!(standing.remove(record).is_some(), "{name} is withdrawn and does not stand");
                }
                other => panic!("{other:?}"),
            }
        }
        let at = batch.request.recorded_at.unwrap().seconds;
        moments.pop_if(|(before, _)| *before == at);
        moments.push((at, standing.clone()));
    }
    moments
}

/// What identifies a visit to a person.
type Said = (String, String, String);

/// The list on the day of the last line, computed from the file without the importer.
fn listed(lines: &[Value]) -> BTreeMap<String, Said> {
    let mut list: BTreeMap<String, Value> = BTreeMap::new();
    for line in lines {
        let id = line["id"].as_str().unwrap().to_owned();
        match line["op"].as_str().unwrap() {
            "asserted" => _ = list.insert(id, line["record"].clone()),
            "removed" => _ = list.remove(&id),
            _ => {
                for (name, change) in line["changes"].as_object().unwrap() {
                    list.get_mut(&id).unwrap()[name] = change[1].clone();
                }
            }
        }
    }
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let said = |row: &Value| (text(row, "start-date"), text(row, "end-date"), text(row, "visitor"));
    list.iter().map(|(id, row)| (id.clone(), said(row))).collect()
}

fn said(standing: &Standing) -> BTreeMap<String, Said> {
    let one = |visit: &v1::Visit| {
        let day = |date: &Option<v1::EdtfDate>| date.as_ref().unwrap().edtf.clone();
        let head = visit.guests[0].head.as_ref().unwrap();
        let said = (day(&visit.start), day(&visit.end), head.name_as_stated.clone().unwrap());
        (visit.external_ids[0].id.clone(), said)
    };
    standing.values().map(one).collect()
}

#[test]
fn the_replayed_list_is_the_list_at_every_recorded_time() {
    let Some(file) = data("historyatstate-visits/visits_revisions.jsonl") else { return };
    let import = read(Kind::VisitsHistory, &files(&file, ""));
    let Counts { taken, refused, .. } = counts(&import);
    assert_eq!((taken, refused), (3404, BTreeMap::new()));
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ends =
        (1..=lines.len()).filter(|i| lines.get(*i).is_none_or(|l| l["recorded_at"] != lines[i - 1]["recorded_at"]));
    let moments = replayed(&import);
    assert_eq!(moments.len(), ends.clone().count());
    for (end, (at, standing)) in ends.zip(moments) {
        assert_eq!(said(&standing), listed(&lines[..end]), "after {end} acts, at {at}");
    }
}

#[test]
fn ids_that_were_given_to_other_visits_name_two_records() {
    let Some(file) = data("historyatstate-visits/visits_revisions.jsonl") else { return };
    let import = read(Kind::VisitsHistory, &files(&file, ""));
    let names: BTreeSet<&str> = import.rows.iter().flat_map(reports).map(|r| r.record.as_str()).collect();
    let ended: Vec<&&str> = names.iter().filter(|name| name.contains("-until-")).collect();
    assert_eq!(ended.len(), 14, "13 ids were given away while they stood, one came back: {ended:?}");
    let states = |record: &str| -> BTreeSet<String> {
        let of = import.rows.iter().flat_map(reports).filter(|r| r.record == record);
        of.map(|r| match &r.content {
            Some(Content::Visit(visit)) => visit.guests[0].state.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
    };
    assert_eq!(states("visits/us-visit-2138"), ["x-hawaii".to_owned()].into());
    assert_eq!(states("visits/us-visit-2138-until-2020-11-19"), ["PL".to_owned()].into());
}

#[test]
fn batches_of_the_replay_go_by_time_and_meaning() {
    let Some(file) = data("historyatstate-visits/visits_revisions.jsonl") else { return };
    let import = read(Kind::VisitsHistory, &files(&file, ""));
    let batches: Vec<_> = Batches::of(&import, Run { id: "t".into(), validate_only: false }).collect();
    let mut before = 0;
    for batch in &batches {
        let at = batch.request.recorded_at.expect("a replay has times").seconds;
        assert!(at >= before);
        before = at;
        assert!(batch.request.items.len() <= 100);
    }
    let items = |intent: Intent| {
        let of = batches.iter().filter(|b| b.request.intent() == intent);
        of.flat_map(|b| &b.rows).collect::<BTreeSet<_>>().len()
    };
    assert_eq!((items(Intent::Correction), items(Intent::Unspecified)), (136, 3266 + 2));
}

#[test]
fn the_sample_is_read_as_reports() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sample/reports");
    let import = read(Kind::Reports, &files(&folder, "json"));
    let Counts { taken, refused, .. } = counts(&import);
    assert_eq!(refused, BTreeMap::new());
    assert!(taken > 20);
}

#[test]
fn every_file_cut_off_anywhere_near_its_end_is_refused_or_loses_no_row_silently() {
    for (kind, path) in [
        (Kind::Visits, "historyatstate-visits/visits.csv"),
        (Kind::Visits, "historyatstate-visits/1870.xml"),
        (Kind::VisitsHistory, "historyatstate-visits/visits_revisions.jsonl"),
        (Kind::Travels, "historyatstate-travels/president-travels/taft-william-howard.xml"),
        (Kind::UkTreaties, "uk-treaties/uk_treaties_defence.jsonl"),
        (Kind::Mme, "exercises/mme_v7_first1200.csv"),
    ] {
        let Some(path) = data(path) else { continue };
        let whole = files(&path, "").remove(0);
        let last_line = whole.bytes.trim_ascii_end().iter().rposition(|b| *b == b'\n').unwrap() + 1;
        let text_end = whole.bytes.trim_ascii_end().len();
        // Inside the last row; the last columns of the tables are empty, and commas alone cannot be missed.
        let inside = whole.bytes[..text_end].iter().rposition(|b| *b != b',').unwrap();
        for cut in [last_line + 1, usize::midpoint(last_line, inside)] {
            let part = File { name: whole.name.clone(), bytes: whole.bytes[..cut].to_vec() };
            let error = import::read(kind, &[part], &States::built_in()).unwrap_err();
            assert!(matches!(error, import::Error::Truncated { .. }), "{kind} cut at {cut}: {error}");
        }
    }
}

#[test]
fn a_file_of_another_format_is_refused_and_the_right_one_is_named() {
    let wrong: &[&[u8]] =
        &[b"\x89PNG\r\n\x1a\n\0\0", b"", b"just words\n", b"<html></html>", b"[1,2,3]\n", b"a,b\n1,2\n"];
    for kind in Kind::ALL {
        for bytes in wrong {
            let file = File { name: "x".into(), bytes: bytes.to_vec() };
            // A list of numbers is JSON, of which every row is refused.
            match import::read(kind, &[file], &States::built_in()) {
                Err(error) => assert!(error.to_string().contains("x"), "{error}"),
                Ok(import) => assert_eq!((kind, counts(&import).taken), (Kind::Reports, 0)),
            }
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_ends_the_command_before_any_server_is_asked() {
    let folder = std::env::temp_dir().join(format!("attache-import-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let import = |kind: &str, name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        let ended = std::process::Command::new(env!("CARGO_BIN_EXE_attache"))
            // Nobody listens there: whoever asks ends with 3.
            .args(["import", "--server", "http://127.0.0.1:1", "--from", kind])
            .arg(folder.join(name))
            .output()
            .unwrap();
        (ended.status.code().unwrap(), String::from_utf8(ended.stderr).unwrap())
    };
    for (kind, name, text, words) in [
        ("mme", "a.csv", "id,visitor\n1,x\n", "MMEID"),
        ("historyatstate-visits", "b.xml", "<visits><visit><id>1</id>", "cut off"),
        ("uk-treaties", "c.jsonl", "{\"id\":1,\"title\":\"t\",\"country_name\":\"x\"}\n{\"id\":", "cut off at line 2"),
    ] {
        let (code, err) = import(kind, name, text);
        assert_eq!(code, 64, "{err}");
        assert!(err.contains(name) && err.contains(words), "{err}");
    }
    let sound = "id,start_date,end_date,visitor,from\n1,2001-01-01,2001-01-01,A,France\n";
    assert_eq!(import("historyatstate-visits", "d.csv", sound).0, 3, "a sound file is sent");
    fs::remove_dir_all(&folder).unwrap();
}

/// What a server answers to a whole import: outcomes by word, and where it stands then.
async fn served(server: &TestServer, import: &Import, run: &str) -> (BTreeMap<String, usize>, v1::GetLogInfoResponse) {
    let batches = Batches::of(import, Run { id: run.into(), validate_only: false }).map(|b| b.request);
    let requests: Vec<v1::ImportReportsRequest> = batches.collect();
    let mut answers = server.filing().import_reports(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut outcomes = BTreeMap::new();
    while let Some(answer) = answers.message().await.unwrap() {
        for result in answer.results {
            let word = match result.outcome.unwrap() {
                v1::import_result::Outcome::Result(result) => result.outcome().as_str_name().to_owned(),
                v1::import_result::Outcome::Refusal(refusal) => refusal.message,
            };
            *outcomes.entry(word.trim_start_matches("FILING_OUTCOME_").to_owned()).or_default() += 1;
        }
    }
    let info = server.log().get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner();
    (outcomes, info)
}

#[tokio::test]
async fn each_file_is_recorded_to_the_row_and_importing_it_again_makes_no_event() {
    let sets = [
        (Kind::Visits, "historyatstate-visits/visits.csv", "csv"),
        (Kind::Travels, "historyatstate-travels/president-travels", "xml"),
        (Kind::UkTreaties, "uk-treaties/uk_treaties_defence.jsonl", "jsonl"),
        (Kind::Mme, "exercises/mme_v7_first1200.csv", "csv"),
    ];
    let server = TestServer::start().await;
    for (kind, path, ending) in sets {
        let Some(path) = data(path) else { continue };
        let import = read(kind, &files(&path, ending));
        let rows = counts(&import).taken;
        let (first, then) = served(&server, &import, "first").await;
        assert_eq!(first, BTreeMap::from([("RECORDED".to_owned(), rows)]), "{}", kind.word());
        let (second, now) = served(&server, &import, "second").await;
        assert_eq!(second, BTreeMap::from([("NO_CHANGE".to_owned(), rows)]), "{}", kind.word());
        assert_eq!(now.token, then.token, "{}: nothing was recorded", kind.word());
    }
    server.stop().await;
}

/// The list of visits as a server knew it at a time.
async fn known_at(server: &TestServer, time: jiff::Timestamp) -> BTreeMap<String, Said> {
    let position = v1::as_of::Position::Time(prost_types::Timestamp { seconds: time.as_second(), nanos: 0 });
    let mut request = v1::ListVisitsRequest {
        as_of: Some(v1::AsOf { position: Some(position) }),
        page_size: 1000,
        ..Default::default()
    };
    let mut standing = Standing::new();
    loop {
        let page = server.registry().list_visits(request.clone()).await.unwrap().into_inner();
        standing.extend(page.visits.into_iter().map(|v| (v.name.clone(), v)));
        if page.next_page_token.is_empty() {
            return said(&standing);
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn a_server_that_replayed_the_history_knows_the_list_of_any_day_and_tells_each_correction() {
    let Some(file) = data("historyatstate-visits/visits_revisions.jsonl") else { return };
    let import = read(Kind::VisitsHistory, &files(&file, ""));
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let clock = std::sync::Arc::new(common::FakeClock::on("2026-11-23"));
    let parts = attache::serve::Parts { clock, ..attache::serve::Parts::default() };
    let server = TestServer::with(common::config(), parts).await;
    let (first, then) = served(&server, &import, "run").await;
    // Interrupted and run again from the start: answered as the first time, and nothing is filed.
    let (second, now) = served(&server, &import, "run").await;
    assert_eq!((first.clone(), then.token), (second, now.token));
    assert!(
        first
            .keys()
            .all(|word| ["RECORDED", "CORRECTED", "EXTENDED", "RETRACTED", "RESTORED", "NO_CHANGE"]
                .contains(&word.as_str())),
        "{first:?}"
    );

    for day in ["2016-01-01", "2019-01-01", "2020-11-20", "2021-06-01", "2025-01-01"] {
        let time: jiff::Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
        let recorded =
            |line: &&Value| line["recorded_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() <= time;
        let known: Vec<Value> = lines.iter().filter(recorded).cloned().collect();
        assert_eq!(known_at(&server, time).await, listed(&known), "{day}");
    }

    let request = v1::WatchEventsRequest {
        start: Some(v1::watch_events_request::Start::Oldest(())),
        until: Some(v1::watch_events_request::Until::CaughtUp(())),
        event_types: vec![v1::EventType::Corrected.into(), v1::EventType::Retracted.into()],
        ..Default::default()
    };
    let mut watch = server.feed().watch_events(request).await.unwrap().into_inner();
    let mut told = BTreeMap::new();
    while let Some(frame) = watch.message().await.unwrap() {
        let Some(v1::watch_events_response::Frame::Batch(batch)) = frame.frame else { continue };
        for event in batch.events {
            *told.entry(event.r#type().as_str_name().trim_start_matches("EVENT_TYPE_").to_owned()).or_insert(0) += 1;
        }
    }
    for word in ["CORRECTED", "RETRACTED"] {
        assert_eq!(told.get(word), first.get(word), "each {word} is told as such, once");
    }
    assert_eq!(told["RETRACTED"], 2 + 13, "removed, or the id given to another visit");
    server.stop().await;
}
