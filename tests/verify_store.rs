//! `attache verify --data-dir`: rows and indexes are what the log's entries make of them, and what is not is named.

mod common;

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use attache::{
    clock::Clock,
    pb::v1::{self, redact_request::What, trim_log_request::Keep},
    serve::Parts,
    store::{self, FILE, Options, StoreError, snapshot, trim, verify},
};
use common::{
    FakeClock, TestServer, agreement_report, config_at, date,
    older::made_older,
    scribe::{Scribe, ruling},
    side, source, visit_report_of,
};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

/// Acts of a random filer, before a position and after it; at six hours each a month.
const ACTS: usize = 60;
const STEP: Duration = Duration::from_secs(6 * 3600);

/// A visit to come, so that the clock will look at it.
fn visit(id: &str, source_id: &str) -> v1::Report {
    let title = v1::Title { text: "Visit of the delegation".into(), language: Some("en".into()), ..Default::default() };
    let visit = v1::Visit {
        titles: vec![title],
        hosts: vec![side("AZ")],
        guests: vec![side("KZ")],
        start: Some(date("2023-12-01")),
        end: Some(date("2023-12-02")),
        ..Default::default()
    };
    visit_report_of(id, source_id, visit)
}

async fn merge(server: &TestServer, loser: &str, survivor: &str) {
    let request = v1::MergeRecordsRequest {
        loser: loser.to_owned(),
        survivor: survivor.to_owned(),
        source: Some(v1::Source { kind: v1::SourceKind::Editor.into(), ..source("merger") }),
        ..Default::default()
    };
    server.filing().merge_records(request).await.expect("they are merged");
}

/// Merges, lifts that, merges again, retracts, and erases.
async fn rule(server: &TestServer, id: &str) {
    let signed = |part: &str| agreement_report(&format!("{id}-{part}"), "gazette", ["AZ", "KZ"], "2023-01-05");
    let (kept, out) = (visit(&format!("{id}-kept"), "leak"), visit(&format!("{id}-out"), "leak"));
    let reports = vec![signed("a"), signed("b"), kept, out];
    let request = v1::FileReportsRequest { reports, request_id: Some(id.to_owned()), ..Default::default() };
    server.filing().file_reports(request).await.expect("it is taken");
    server.file(vec![visit(&format!("{id}-kept"), "ministry")]).await;
    let (loser, survivor) = (format!("agreements/{id}-a"), format!("agreements/{id}-b"));
    merge(server, &loser, &survivor).await;
    let request = v1::UnmergeRecordsRequest { loser: loser.clone(), ..Default::default() };
    server.filing().unmerge_records(request).await.expect("it is lifted");
    merge(server, &loser, &survivor).await;
    server.filing().retract_record(ruling(&format!("visits/{id}-out"))).await.expect("it is retracted");
    let what = Some(What::Report(format!("visits/{id}-kept/reports/leak")));
    let request = v1::RedactRequest { what, reason: "ordered by a court".into(), dry_run: false };
    server.log().redact(request).await.expect("it is erased");
}

async fn act(server: &TestServer, clock: &FakeClock, scribe: &mut Scribe) {
    for _ in 0..ACTS {
        scribe.act(&mut server.filing()).await;
        clock.advance(STEP);
    }
}

async fn serve(folder: &Path) -> (TestServer, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::on("2023-06-01"));
    let parts = Parts { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Parts::default() };
    (TestServer::with(config_at(folder), parts).await, clock)
}

/// A store in which everything happened that can, trimmed in the middle of it or not.
async fn lived(is_trimmed: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, clock) = serve(folder.path()).await;
    let mut scribe = Scribe::moving("moving");
    rule(&server, "early").await;
    act(&server, &clock, &mut scribe).await;
    let middle = server.file(vec![visit("middle", "ministry")]).await.token;
    act(&server, &clock, &mut scribe).await;
    rule(&server, "late").await;
    if is_trimmed {
        let request = v1::TrimLogRequest { keep: Some(Keep::AfterToken(middle)), dry_run: false };
        server.log().trim_log(request).await.expect("it is trimmed");
    }
    server.stop().await;
    folder
}

/// A copy to be damaged.
fn copy(folder: &Path) -> tempfile::TempDir {
    let into = tempfile::tempdir().expect("a folder");
    snapshot::copy(folder, into.path(), &CancellationToken::new()).expect("it is copied");
    into
}

/// Changes some rows, behind the store's back.
fn change(folder: &Path, sql: &str) {
    let file = Connection::open(folder.join(FILE)).expect("the file");
    assert!(file.execute(sql, []).expect("it is changed") > 0, "{sql} changes nothing");
}

fn sound(folder: &Path) -> verify::Verified {
    let verified = verify::all(folder, |_| {}).unwrap_or_else(|error| panic!("{error}"));
    assert!(!folder.join("verify").exists(), "nothing is left beside it");
    verified
}

/// What is wrong with the store in a folder.
fn fault(folder: &Path, why: &str) -> String {
    match verify::all(folder, |_| {}) {
        Err(StoreError::Damaged(found)) => found,
        other => panic!("{why}: {other:?}"),
    }
}

/// What is done to a store, and the row that is named.
const DAMAGES: &[(&str, &str, &str)] = &[
    (
        "UPDATE versions SET body = CAST(body || x'00' AS BLOB)
         WHERE id = (SELECT max(id) FROM versions WHERE body IS NOT NULL)",
        "versions: ",
        "has another body",
    ),
    ("UPDATE versions SET facets = x'' WHERE id = (SELECT max(id) FROM versions)", "versions: ", "another facets"),
    ("DELETE FROM unposted WHERE version = (SELECT max(version) FROM unposted)", "terms: ", "is missing"),
    ("DELETE FROM deadlines WHERE record = (SELECT min(record) FROM deadlines)", "deadlines: ", "is missing"),
    ("UPDATE deadlines SET due = due + 1", "deadlines: ", "and more"),
    (
        "INSERT INTO deadlines (record, due, name)
         SELECT id, 20000, name FROM records WHERE id NOT IN (SELECT record FROM deadlines) LIMIT 1",
        "deadlines: ",
        "is not of the log",
    ),
    ("UPDATE reports SET body = x'00' WHERE id = (SELECT max(id) FROM reports)", "reports: ", "has another body"),
    ("DELETE FROM reports WHERE id = (SELECT max(id) FROM reports)", "reports: ", "is missing"),
    ("DELETE FROM sources WHERE name = 'sources/merger'", "sources: sources/merger ", "is missing"),
    ("DELETE FROM rulings WHERE id = (SELECT max(id) FROM rulings)", "rulings: ", "is missing"),
    (
        "UPDATE merges SET survivor = 'agreements/other' WHERE id = (SELECT max(id) FROM merges)",
        "merges: agreements/late-a ",
        "has another survivor",
    ),
    ("DELETE FROM milestones WHERE record = (SELECT max(record) FROM milestones)", "milestones: ", "is missing"),
    ("DELETE FROM requests WHERE request_id = 'late'", "requests: ", "is missing"),
    ("DELETE FROM unindexed WHERE version = (SELECT max(version) FROM unindexed)", "words: ", "is missing"),
    ("UPDATE unindexed SET names = names || ' xxx'", "index of words: xxx in names ", "is not of the log"),
    ("DELETE FROM search_words", "sounds: ", "is missing"),
    ("DELETE FROM pairs", "pairs: ", "is missing"),
    ("UPDATE pairs SET earliest = earliest + 1", "pairs: ", "has another earliest"),
    ("UPDATE entries SET events_so_far = 0 WHERE revision = 2", "entries: revision 2 ", "another events_so_far"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_lived_is_sound_and_each_row_that_is_not_what_its_log_makes_of_it_is_named() {
    let folder = lived(false).await;
    let verified = sound(folder.path());
    assert!(verified.redacted > 0 && verified.head.floor == 0, "{verified:?}");
    let mut reached = 0;
    verify::all(folder.path(), |revision| reached = revision).expect("it is sound");
    assert_eq!(reached, verified.head.revision, "it tells how far it came");
    for (sql, table, what) in DAMAGES {
        let damaged = copy(folder.path());
        change(damaged.path(), sql);
        verify::folder(damaged.path()).expect("its log is whole");
        let found = fault(damaged.path(), sql);
        assert!(found.lines().any(|line| line.starts_with(table) && line.contains(what)), "{sql}: {found}");
        let named = found.lines().filter(|line| line.starts_with(table)).count();
        assert!(named <= 4 + 4, "of many rows the first are named: {found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_lacks_what_its_table_has_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, _) = serve(folder.path()).await;
    // So many that the index of words has been told of them.
    server.file((0..64).map(|number| visit(&format!("v{number}"), "ministry")).collect()).await;
    server.stop().await;
    // An index of no row, which from then on says that it is one of all.
    let hollow = "CREATE INDEX hollow ON entries (events) WHERE events < 0;
                  PRAGMA writable_schema = ON;
                  UPDATE sqlite_schema SET sql = 'CREATE INDEX hollow ON entries (events)' WHERE name = 'hollow'";
    let words = "DELETE FROM search_data WHERE id > 10";
    for (sql, index) in [(hollow, "hollow"), (words, "search")] {
        let damaged = copy(folder.path());
        Connection::open(damaged.path().join(FILE)).expect("the file").execute_batch(sql).expect("it is damaged");
        let found = fault(damaged.path(), sql);
        assert!(found.contains("SQLite finds") && found.contains(index), "{found}");
    }
    sound(folder.path());
}

/// What is done to the layout of a store's file, and what is said of it.
const ALTERED: &[(&str, &str)] = &[
    ("DROP INDEX versions_newest", "index versions_newest is missing"),
    (
        "DROP INDEX versions_newest;
         CREATE INDEX versions_newer ON versions (kind, newest_first, name, oldest_first)",
        "index versions_newer is not of this schema",
    ),
    (
        "DROP INDEX versions_newest; CREATE INDEX versions_newest ON versions (kind, newest_first)",
        "index versions_newest is another",
    ),
    ("ALTER TABLE reports RENAME COLUMN etag TO tag", "table reports is another"),
    ("UPDATE search_config SET v = 4 WHERE k = 'usermerge'", "setting usermerge of the index of words is another"),
    (
        "INSERT INTO search (search, rank) VALUES ('pgsz', 1000)",
        "setting pgsz of the index of words is not of this schema",
    ),
    ("PRAGMA user_version = 14", "table version_terms is missing"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_indexes_and_settings_that_are_not_those_of_the_schema_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, _) = serve(folder.path()).await;
    server.file(vec![visit("a", "ministry")]).await;
    server.stop().await;
    let newest = Connection::open(folder.path().join(FILE)).expect("the file");
    let newest: usize = newest.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
    assert_eq!(newest, 18, "the last of them says of a file that it is of the schema before");
    for (sql, named) in ALTERED {
        let altered = copy(folder.path());
        Connection::open(altered.path().join(FILE)).expect("the file").execute_batch(sql).expect("it is altered");
        let found = fault(altered.path(), sql);
        let named = format!("schema: {named}");
        assert!(found.lines().any(|line| line == named), "{sql}: {found}");
        match verify::layout(altered.path()) {
            Err(StoreError::Damaged(quick)) => assert_eq!(quick, found),
            other => panic!("{sql}: {other:?}"),
        }
    }
    verify::layout(folder.path()).expect("nothing was altered here");
    sound(folder.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_the_schema_before_is_laid_out_as_that_one_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, _) = serve(folder.path()).await;
    server.file(vec![visit("a", "ministry")]).await;
    server.stop().await;
    made_older(&folder.path().join(FILE));
    sound(folder.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trimmed_store_is_sound_before_and_after_its_rows_go_and_what_its_log_still_makes_is_compared() {
    let folder = lived(true).await;
    let before = sound(folder.path());
    assert!(before.head.floor > 0, "{before:?}");
    {
        let (_store, write) = store::open(folder.path(), &Options::default()).expect("the store opens");
        while trim::sweep(&write.connection, before.head.floor, 16).expect("it sweeps") {}
    }
    let after = sound(folder.path());
    assert!(after.entries < before.entries, "what is older is gone");
    let above = |damage: &&(&str, &str, &str)| ["versions: ", "reports: ", "rulings: ", "merges: "].contains(&damage.1);
    for (sql, table, what) in DAMAGES.iter().filter(above) {
        let damaged = copy(folder.path());
        change(damaged.path(), sql);
        let found = fault(damaged.path(), sql);
        assert!(found.lines().any(|line| line.starts_with(table) && line.contains(what)), "{sql}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_versions_and_the_index_of_words_are_compared_version_by_version_also_above_a_floor() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, clock) = serve(folder.path()).await;
    let mut tokens = Vec::new();
    for part in 0..3 {
        // So many that the lists of terms have parts, and the index of words has been told.
        let visits = (0..400).map(|number| visit(&format!("v{part}-{number}"), "ministry"));
        tokens.push(server.file(visits.collect()).await.token);
    }
    // Below a floor rows are taken as they are.
    for (token, first) in [(None, "v0-0 of revision 1"), (Some(tokens[1].clone()), "v2-0 of revision 3")] {
        if let Some(token) = token {
            clock.advance(Duration::from_secs(72 * 3600));
            let request = v1::TrimLogRequest { keep: Some(Keep::AfterToken(token)), dry_run: false };
            server.log().trim_log(request).await.expect("it is trimmed");
        }
        sound(folder.path());
        for (sql, named) in [
            // The lists of the host of all of them; the last version of these, which takes one byte.
            (
                "DELETE FROM postings WHERE term IN (SELECT id FROM terms WHERE tag = 5)",
                format!("terms: visits/{first}, AZ"),
            ),
            (
                "UPDATE postings SET versions = substr(versions, 1, length(versions) - 1)
                 WHERE term IN (SELECT id FROM terms WHERE tag = 5)",
                "terms: visits/v2-399 of revision 3, AZ".to_owned(),
            ),
            ("DELETE FROM search WHERE rowid = 1200", "words: visits/v2-399 of revision 3".to_owned()),
        ] {
            let damaged = copy(folder.path());
            change(damaged.path(), sql);
            let (found, line) = (fault(damaged.path(), sql), format!("{named} is missing"));
            assert!(found.lines().any(|found| found == line), "{sql}: {found}");
        }
        let damaged = copy(folder.path());
        let too_many = "INSERT INTO terms (tag, value) VALUES (5, 'FR');
                        INSERT INTO postings SELECT id, 1200, x'b009' FROM terms WHERE value = 'FR'";
        Connection::open(damaged.path().join(FILE)).expect("the file").execute_batch(too_many).expect("it is changed");
        let (found, line) =
            (fault(damaged.path(), too_many), "terms: visits/v2-399 of revision 3, FR is not of the log");
        assert!(found.lines().any(|found| found == line), "{found}");
        let damaged = copy(folder.path());
        let early =
            "INSERT INTO unindexed SELECT 5, 'xxx', '', '' WHERE EXISTS (SELECT 1 FROM search_docsize WHERE id > 5)";
        change(damaged.path(), early);
        assert!(fault(damaged.path(), early).contains("words: those of version 5 wait"), "{early}");
        let damaged = copy(folder.path());
        let unreadable = "UPDATE postings SET versions = x'ff' WHERE term IN (SELECT id FROM terms WHERE tag = 5)";
        change(damaged.path(), unreadable);
        let found = fault(damaged.path(), unreadable);
        assert!(found.contains("cannot be read"), "{found}");
        let damaged = copy(folder.path());
        let other = "REPLACE INTO search (rowid, names, stated, summaries) VALUES (1200, 'xxx', 'xxx', 'xxx')";
        change(damaged.path(), other);
        let found = fault(damaged.path(), other);
        assert!(found.lines().any(|line| line == "index of words: xxx in names is not of the log"), "{found}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_erased_or_swept_is_in_no_list() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, clock) = serve(folder.path()).await;
    for part in 0..3 {
        server.file((0..400).map(|number| visit(&format!("v{part}-{number}"), "ministry")).collect()).await;
    }
    // One whose version is in a list, and in the index, and one whose version waits.
    server.file(vec![visit("late", "leak")]).await;
    for report in ["visits/v1-7/reports/ministry", "visits/late/reports/leak"] {
        let request =
            v1::RedactRequest { what: Some(What::Report(report.into())), reason: "by order".into(), dry_run: false };
        server.log().redact(request).await.expect("it is erased");
    }
    // Versions that end: at the beginning of a list, in its midst, and at its end.
    let ended = ["v0-0", "v0-200", "v1-399", "v2-399"];
    let token = server.file(ended.into_iter().map(|id| visit(id, "second")).collect()).await.token;
    sound(folder.path());
    clock.advance(Duration::from_secs(72 * 3600));
    let request = v1::TrimLogRequest { keep: Some(Keep::AfterToken(token)), dry_run: false };
    server.log().trim_log(request).await.expect("it is trimmed");
    server.stop().await;
    let floor = sound(folder.path()).head.floor;
    let (store, write) = store::open(folder.path(), &Options::default()).expect("the store opens");
    let versions = |connection: &Connection| {
        connection.query_row("SELECT count(*) FROM versions", [], |row| row.get::<_, usize>(0)).expect("a count")
    };
    let before = versions(&write.connection);
    while trim::sweep(&write.connection, floor, 16).expect("it sweeps") {}
    assert!(versions(&write.connection) + ended.len() <= before, "versions went");
    drop((store, write));
    sound(folder.path());
}

async fn attache(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    let run = move || Command::new(env!("CARGO_BIN_EXE_attache")).args(arguments).output();
    tokio::task::spawn_blocking(run).await.expect("it runs").expect("it runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_ends_with_4_and_names_the_row_and_quick_says_that_it_did_not_look() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, _) = serve(folder.path()).await;
    server.file(vec![visit("a", "ministry")]).await;
    let place = folder.path().to_str().expect("a path");
    let said = |output: &Output| String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
    let beside = attache(&["verify", "--data-dir", place]).await;
    assert!(beside.status.success() && said(&beside).contains("are as the log makes them"), "{beside:?}");
    server.stop().await;
    change(folder.path(), "UPDATE reports SET body = x'00'");
    let damaged = attache(&["verify", "--data-dir", place]).await;
    assert_eq!(damaged.status.code(), Some(4), "{damaged:?}");
    let named = "reports: visits/a/reports/ministry of revision 1 has another body";
    assert!(said(&damaged).contains(named), "{damaged:?}");
    let quick = attache(&["verify", "--quick", "--data-dir", place]).await;
    assert!(quick.status.success() && said(&quick).contains("were not compared"), "{quick:?}");
    let file = Connection::open(folder.path().join(FILE)).expect("the file");
    file.execute_batch("DROP INDEX versions_newest").expect("it is dropped");
    drop(file);
    let altered = attache(&["verify", "--quick", "--data-dir", place]).await;
    assert_eq!(altered.status.code(), Some(4), "{altered:?}");
    assert!(said(&altered).contains("schema: index versions_newest is missing"), "{altered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_ends_with_4_of_a_file_that_was_emptied() {
    let folder = tempfile::tempdir().expect("a folder");
    File::create(folder.path().join(FILE)).expect("a file");
    let place = folder.path().to_str().expect("a path");
    for flags in [&["verify", "--data-dir", place][..], &["verify", "--quick", "--data-dir", place]] {
        let found = attache(flags).await;
        assert_eq!(found.status.code(), Some(4), "{flags:?}: {found:?}");
    }
}

/// What is written into a store's file, and where: over its header, and over what says of its first page what that is.
const BROKEN: &[(&[u8], u64)] = &[(b"no file of SQLite's", 0), (&[0xff], 100)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_ends_with_4_and_names_the_file_that_sqlite_cannot_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, _) = serve(folder.path()).await;
    server.file(vec![visit("a", "ministry")]).await;
    server.stop().await;
    for (bytes, at) in BROKEN {
        let broken = copy(folder.path());
        let file = broken.path().join(FILE);
        let opened = File::options().write(true).open(&file).expect("the file");
        opened.write_all_at(bytes, *at).expect("it is broken");
        let place = broken.path().to_str().expect("a path");
        let whole = attache(&["verify", "--data-dir", place]).await;
        let quick = attache(&["verify", "--quick", "--data-dir", place]).await;
        for found in [whole, quick] {
            assert_eq!(found.status.code(), Some(4), "{found:?}");
            let named = format!("the store is damaged: {}: ", file.display());
            assert!(String::from_utf8_lossy(&found.stderr).contains(&named), "{found:?}");
        }
        assert!(!broken.path().join("verify").exists(), "nothing is left beside it");
    }
}
