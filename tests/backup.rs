//! Backups: a copy is whole and sound, and a store begins with it, as it was or as it was at an earlier position.

mod common;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use attache::{
    config::Config,
    pb::v1::{self, retract_reports_request::Selection},
    restore::{self, To},
    serve::Parts,
    store::{self, snapshot, verify},
};
use common::{
    FakeClock, TestServer, config_at, date, older::made_older, side, visit_report, visit_report_of, watching::*,
};

const ATTACHE: &str = env!("CARGO_BIN_EXE_attache");
/// Bytes of a backup of which a bit is flipped, one after the other.
const FLIPS: usize = 200;
/// Bytes that end a backup: a frame that zstd skips, with a digest.
const SEAL: usize = 40;

/// A server on a folder, with a clock that is told when to move.
async fn serve(folder: &Path) -> (TestServer, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::default());
    let parts = Parts { clock: Arc::clone(&clock) as Arc<dyn attache::clock::Clock>, ..Parts::default() };
    (TestServer::with(config_at(folder), parts).await, clock)
}

async fn file(server: &TestServer, id: &str, day: &str) -> v1::FileReportsResponse {
    server.file(vec![visit_report(id, "s", "KZ", "AZ", day)]).await
}

async fn attache(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    tokio::task::spawn_blocking(move || Command::new(ATTACHE).args(arguments).output().unwrap()).await.unwrap()
}

/// Makes a backup by the command line.
async fn backup(server: &TestServer, into: &Path) -> PathBuf {
    let to = into.join("backup.db.zst");
    let made = attache(&["backup", to.to_str().unwrap(), "--server", &server.address]).await;
    assert!(made.status.success(), "{made:?}");
    to
}

async fn restore(backup: &Path, folder: &Path, to: Option<&str>) -> Output {
    let mut arguments = vec!["restore-backup", backup.to_str().unwrap(), "--data-dir", folder.to_str().unwrap()];
    arguments.extend(to.iter().flat_map(|to| ["--to", to]));
    attache(&arguments).await
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// A packed file with the seal that one of these bytes ends with.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = blake3::hash(&bytes);
    bytes.extend([0x5e, 0x2a, 0x4d, 0x18, 32, 0, 0, 0]);
    bytes.extend(digest.as_bytes());
    bytes
}

/// What lies in a folder.
fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every event, but for what names the log it is told from.
async fn told(server: &TestServer) -> Vec<(String, u64, String)> {
    let events = everything(server).await;
    events.iter().map(|e| (e.subject.clone(), e.revision, e.headline.clone())).collect()
}

async fn visits(server: &TestServer, as_of: Option<&str>) -> Vec<v1::Visit> {
    let as_of = as_of.map(|token| v1::AsOf { position: Some(v1::as_of::Position::Token(token.to_owned())) });
    let asked = v1::ListVisitsRequest { as_of, ..Default::default() };
    server.registry().list_visits(asked).await.unwrap().into_inner().visits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_restored_has_everything_and_is_another_log() {
    let (folder, files, other) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _) = serve(folder.path()).await;
    file(&server, "a", "2023-05-01").await;
    let last = file(&server, "b", "2023-05-02").await;
    let copy = backup(&server, files.path()).await;
    let (events, records) = (told(&server).await, visits(&server, None).await);
    // What is filed afterwards is not in it.
    file(&server, "c", "2023-05-03").await;
    server.stop().await;

    let restored = restore(&copy, other.path(), None).await;
    assert!(restored.status.success(), "{restored:?}");
    for file in fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().path()).chain([copy]) {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is its owner's: {mode:o}", file.display());
    }
    let sound = verify::folder(other.path()).unwrap();
    assert_eq!((sound.entries, sound.head.revision), (last.revision, last.revision));
    let (server, _) = serve(other.path()).await;
    assert_eq!(told(&server).await, events);
    assert_eq!(visits(&server, None).await, records);
    let old = v1::GetVisitRequest { name: "visits/a".into(), at_least: Some(last.token), ..Default::default() };
    assert_eq!(reason(&server.registry().get_visit(old).await.unwrap_err()), "LOG_REPLACED");
    assert_eq!(file(&server, "c", "2023-05-03").await.revision, last.revision + 1, "filings go on");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_of_a_backup_says_the_position_of_the_last_filing_that_is_in_it() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _) = serve(folder.path()).await;
    file(&server, "a", "2023-05-01").await;
    let last = file(&server, "b", "2023-05-02").await;
    let to = files.path().join("backup.db.zst");
    let line = ["backup", to.to_str().unwrap(), "--server", &server.address];
    let made = attache(&line).await;
    assert!(made.status.success(), "{made:?}");
    let bytes = to.metadata().unwrap().len();
    let (revision, token) = (last.revision, &last.token);
    let expected = format!("{}: revision {revision}, {bytes} bytes, position {token}\n", to.display());
    assert_eq!(String::from_utf8_lossy(&made.stdout), expected);
    // And so for programs, of a filing that came since.
    let last = file(&server, "c", "2023-05-03").await;
    let made = attache(&[line.as_slice(), &["--force", "--output", "json"]].concat()).await;
    assert!(made.status.success(), "{made:?}");
    let object: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(object["token"].as_str(), Some(last.token.as_str()));
    assert_eq!(object["revision"].as_u64(), Some(last.revision));
    server.stop().await;
}

/// What the schemas made in a file: its tables and indexes, and how its index of words is merged.
fn layout(file: &Path) -> Vec<(String, String)> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let sql = "SELECT name, ifnull(sql, '') FROM sqlite_schema
               UNION ALL SELECT k, CAST(v AS TEXT) FROM search_config ORDER BY 1, 2";
    let mut rows = connection.prepare(sql).unwrap();
    let found = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    found.collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_the_schema_before_is_restored_as_it_was_and_as_it_was_earlier() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _) = serve(folder.path()).await;
    let first = file(&server, "a", "2023-05-01").await;
    file(&server, "b", "2023-05-02").await;
    let (copy, all) = (backup(&server, files.path()).await, told(&server).await);
    server.stop().await;
    let (plain, older) = (files.path().join("older.db"), files.path().join("older.db.zst"));
    zstd::stream::copy_decode(fs::File::open(copy).unwrap(), fs::File::create(&plain).unwrap()).unwrap();
    made_older(&plain);
    let packed = zstd::stream::encode_all(fs::File::open(&plain).unwrap(), 1).unwrap();
    fs::write(&older, sealed(packed)).unwrap();
    for (to, kept) in [(None, all.as_slice()), (Some(first.token.as_str()), &all[..first.events.len()])] {
        let other = tempfile::tempdir().unwrap();
        let restored = restore(&older, other.path(), to).await;
        assert!(restored.status.success(), "{restored:?}");
        verify::folder(other.path()).unwrap();
        assert_eq!(layout(&other.path().join(store::FILE)), layout(&folder.path().join(store::FILE)));
        let (server, _) = serve(other.path()).await;
        assert_eq!(told(&server).await, kept);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_the_schema_before_is_read_searched_and_filed_to_and_a_copy_of_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join(store::FILE);
    let (server, _) = serve(folder.path()).await;
    let titled = |id: &str| {
        let titles = vec![v1::Title { text: format!("The {id} visit"), ..Default::default() }];
        let (hosts, guests, start) = (vec![side("AZ")], vec![side("KZ")], Some(date("2023-05-01")));
        visit_report_of(id, "s", v1::Visit { titles, hosts, guests, start, ..Default::default() })
    };
    let first = server.file(vec![titled("sumgait")]).await;
    assert_eq!(first.results[0].warnings, [""; 0]);
    let last = server.file(vec![titled("ganja")]).await;
    let find = async |server: &TestServer, word: &str| {
        let asked = v1::SearchRecordsRequest { query: word.into(), ..Default::default() };
        server.registry().search_records(asked).await.unwrap().into_inner().results.len()
    };
    let (events, records) = (told(&server).await, visits(&server, None).await);
    assert_eq!(find(&server, "sumgait").await, 1);
    server.stop().await;
    let newest = layout(&place);
    let older = made_older(&place);
    assert_ne!(layout(&place), newest, "it is another");
    let was = layout(&place);

    let (server, _) = serve(folder.path()).await;
    assert_eq!((told(&server).await, visits(&server, None).await), (events, records));
    assert_eq!((find(&server, "sumgait").await, find(&server, "nakhchivan").await), (1, 0));
    let more = server.file(vec![titled("nakhchivan")]).await;
    assert_eq!(more.revision, last.revision + 1);
    let same = |id: &str| format!("a visit of the same states on that day exists: visits/{id}");
    assert_eq!(more.results[0].warnings, [same("sumgait"), same("ganja")], "those that it had are looked at");
    assert_eq!(find(&server, "nakhchivan").await, 1);
    server.stop().await;
    assert_eq!(layout(&place), newest, "as one that was made by the newest");
    assert_eq!(verify::folder(folder.path()).unwrap().head.revision, more.revision);

    let kept = place.with_extension(format!("schema-{older}.bak"));
    assert_eq!(layout(&kept), was, "the copy is the file as it was");
    let connection = rusqlite::Connection::open(&kept).unwrap();
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, older);
    let page_bytes: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    assert_eq!(page_bytes, 8192, "whoever goes back to that version counts its allowance in them");
    assert_eq!(verify::connection(&connection).unwrap().head.revision, last.revision);
}

/// The instants as of which a store stands where it stood after a filing: when that was recorded, and right before whatever
/// is recorded next, which is a second later at the earliest.
fn instants(filed: &v1::FileReportsResponse) -> [String; 2] {
    let at = attache::clock::micros(filed.events[0].time.as_ref().unwrap());
    [at, at + 999_999].map(|us| jiff::Timestamp::from_microsecond(us).unwrap().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_restored_as_it_was_at_every_position_and_at_every_instant_between_two() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, clock) = serve(folder.path()).await;
    let mut positions = Vec::new();
    for (id, day) in [("a", "2023-05-01"), ("b", "2023-05-02"), ("a", "2023-05-03"), ("c", "2024-01-04")] {
        positions.push(file(&server, id, day).await);
    }
    // A day passes, and with it what falls due.
    clock.jump_to("2024-01-05");
    server.withdraw(Selection::Report("visits/b/reports/s".into())).await;
    let copy = backup(&server, files.path()).await;
    let all = told(&server).await;
    let strip = |visits: Vec<v1::Visit>| -> Vec<_> {
        visits.into_iter().map(|v| (v.name, v.start, v.info.map(|i| i.status))).collect()
    };
    for position in &positions {
        let until: Vec<_> = all.iter().filter(|(_, revision, _)| *revision <= position.revision).cloned().collect();
        assert!(until.len() < all.len(), "more came later");
        let stood = strip(visits(&server, Some(&position.token)).await);
        for to in std::iter::once(position.token.clone()).chain(instants(position)) {
            let again = tempfile::tempdir().unwrap();
            let restored = restore(&copy, again.path(), Some(&to)).await;
            assert!(restored.status.success() && !said(&restored).contains("asked for"), "{restored:?}");
            let (earlier, _) = serve(again.path()).await;
            assert_eq!(told(&earlier).await, until, "{to}");
            assert_eq!(strip(visits(&earlier, None).await), stood, "{to}");
            earlier.stop().await;
        }
    }
    // What would have come until then is not known: it is the end, and said to be.
    let late = tempfile::tempdir().unwrap();
    let restored = restore(&copy, late.path(), Some("2999-01-01T00:00:00Z")).await;
    assert!(restored.status.success() && said(&restored).contains("before the time asked for"), "{restored:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_to_a_time_says_that_it_left_out_what_is_recorded_ahead_of_the_clock() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, clock) = serve(folder.path()).await;
    let before = file(&server, "before", "2023-05-01").await;
    clock.jump_to("2999-01-01");
    file(&server, "wrong", "2023-05-02").await;
    clock.jump_to("2024-01-02");
    let since = file(&server, "since", "2023-05-03").await;
    let copy = backup(&server, files.path()).await;
    server.stop().await;
    let (token, newest) = (since.token.as_str(), since.revision);
    for (to, revision, is_told) in
        [(Some("2024-06-01T00:00:00Z"), before.revision, true), (Some(token), newest, false), (None, newest, false)]
    {
        let again = tempfile::tempdir().unwrap();
        let restored = restore(&copy, again.path(), to).await;
        assert!(restored.status.success(), "{restored:?}");
        let said = said(&restored);
        assert!(said.contains(&format!("restored revision {revision} of {newest} ")), "{said}");
        assert_eq!(said.contains("ahead of this machine's clock"), is_told, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_restored_leaves_no_store() {
    let (folder, files, other) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, clock) = serve(folder.path()).await;
    file(&server, "a", "2023-05-01").await;
    let (stranger, _) = serve(other.path()).await;
    let foreign = file(&stranger, "a", "2023-05-01").await.token;
    stranger.stop().await;
    let copy = backup(&server, files.path()).await;
    let after = file(&server, "b", "2023-05-02").await.token;

    let again = tempfile::tempdir().unwrap();
    for (to, why) in [
        (foreign.as_str(), "of epoch"),
        (after.as_str(), "the backup ends at"),
        ("1999-01-01T00:00:00Z", "before the log began"),
    ] {
        let refused = restore(&copy, again.path(), Some(to)).await;
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(said(&refused).contains(why), "{refused:?}");
        assert!(!snapshot::is_there(again.path()));
    }
    // When it began is said so that it can be asked for.
    let refused = said(&restore(&copy, again.path(), Some("1999-01-01T00:00:00Z")).await);
    let began = refused.split("--to: is before the log began, at ").nth(1).expect("it says when").trim();
    let first = tempfile::tempdir().unwrap();
    let restored = restore(&copy, first.path(), Some(began)).await;
    assert!(restored.status.success() && said(&restored).contains("restored revision "), "{restored:?}");
    let broken = files.path().join("broken.db.zst");
    let mut bytes = fs::read(&copy).unwrap();
    let middle = bytes.len() / 2;
    fs::write(&broken, &bytes[..middle]).unwrap();
    let refused = restore(&broken, again.path(), None).await;
    assert!(said(&refused).contains("broken.db.zst: damaged or incomplete"), "{refused:?}");
    bytes[middle] ^= 0xff;
    fs::write(&broken, bytes).unwrap();
    let refused = restore(&broken, again.path(), None).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(!snapshot::is_there(again.path()) && fs::read_dir(again.path()).unwrap().count() <= 1, "but for its lock");
    let refused = restore(&copy, other.path(), None).await;
    assert!(said(&refused).contains("there is a store in"), "{refused:?}");

    // What was trimmed cannot be made again.
    clock.advance(Duration::from_secs(72 * 3600));
    let kept = file(&server, "c", "2023-05-04").await;
    let keep = Some(v1::trim_log_request::Keep::FromRevision(2));
    server.log().trim_log(v1::TrimLogRequest { keep, dry_run: false }).await.unwrap();
    let trimmed = files.path().join("trimmed");
    fs::create_dir(&trimmed).unwrap();
    let copy = backup(&server, &trimmed).await;
    let refused = restore(&copy, again.path(), Some(&kept.token)).await;
    assert!(said(&refused).contains("can be restored as it is"), "{refused:?}");
    let refused = restore(&copy, again.path(), Some("1999-01-01T00:00:00Z")).await;
    assert!(said(&refused).contains("can be restored as it is"), "what began then is not there: {refused:?}");
    assert!(restore(&copy, again.path(), None).await.status.success());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_refused_before_it_is_unpacked_whatever_of_it_was_changed() {
    let (folder, files, again) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _) = serve(folder.path()).await;
    file(&server, "a", "2023-05-01").await;
    let copy = backup(&server, files.path()).await;
    server.stop().await;
    let whole = fs::read(&copy).unwrap();
    let broken = files.path().join("broken.db.zst");
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&broken, bytes).unwrap();
        let error = restore::restore(&broken, again.path(), &To::End, |_| {}).expect_err(what);
        // (zstd and SQLite say it in other words.)
        assert!(error.message.contains("broken.db.zst: damaged or incomplete: it"), "{what}: {error}");
        assert_eq!(names(again.path()), ["attache.lock"], "{what}");
    };
    for flip in 0..FLIPS {
        let at = flip * (whole.len() - 1) / (FLIPS - 1);
        let mut flipped = whole.clone();
        flipped[at] ^= 1_u8 << (flip % 8);
        refused(&flipped, &format!("a bit of byte {at}"));
    }
    for length in [0, 1, SEAL - 1, SEAL, whole.len() / 2, whole.len() - SEAL, whole.len() - 1] {
        refused(&whole[..length], &format!("its first {length} bytes"));
    }
    refused(&[whole.as_slice(), whole.as_slice()].concat(), "it twice");
    refused(&[whole.as_slice(), &[0]].concat(), "a byte more");
    restore::restore(&copy, again.path(), &To::End, |_| {}).expect("it is whole itself");
    verify::folder(again.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_file_is_refused_before_it_is_read_and_a_file_may_be_standard_input() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _) = serve(folder.path()).await;
    file(&server, "a", "2023-05-01").await;
    let copy = backup(&server, files.path()).await;
    server.stop().await;
    let (pipe, again) = (files.path().join("pipe"), files.path().join("again"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let restoring = |from: &Path, input: Stdio| {
        let mut command = Command::new(ATTACHE);
        command.arg("restore-backup").arg(from).arg("--data-dir").arg(&again).stdin(input).output().unwrap()
    };
    // (Nobody writes to the pipe: whoever opened it would wait.)
    let input = Path::new("/dev/stdin");
    for (from, what) in [(pipe.as_path(), "a pipe"), (input, "a pipe"), (files.path(), "a folder")] {
        let refused = restoring(from, Stdio::piped());
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let words = format!("{}: this is {what} and no file: what is restored is read twice", from.display());
        assert!(said(&refused).contains(&words), "{refused:?}");
        assert!(!again.exists(), "no folder was made for it");
    }
    let restored = restoring(input, fs::File::open(&copy).unwrap().into());
    assert!(restored.status.success(), "{restored:?}");
}

#[test]
fn a_line_that_says_standard_input_or_output_of_a_backup_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    for line in [["backup", "-", "--server", "http://127.0.0.1:1"], ["restore-backup", "-", "--data-dir", "new"]] {
        let refused = Command::new(ATTACHE).args(line).current_dir(folder.path()).output().unwrap();
        assert_eq!(refused.status.code(), Some(64), "{refused:?}");
        assert!(said(&refused).contains("restoring reads it twice"), "{refused:?}");
    }
    assert!(names(folder.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_zstd_makes_of_a_backup_is_the_file_of_the_store() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _) = serve(folder.path()).await;
    let filed = file(&server, "a", "2023-05-01").await;
    let copy = backup(&server, files.path()).await;
    server.stop().await;
    let whole = fs::read(&copy).unwrap();
    let (packed, _) = whole.split_at(whole.len() - SEAL);
    assert_eq!(sealed(packed.to_vec()), whole, "it ends with its digest");
    let unpacked = tempfile::tempdir().unwrap();
    fs::write(unpacked.path().join(store::FILE), zstd::stream::decode_all(whole.as_slice()).unwrap()).unwrap();
    assert_eq!(verify::folder(unpacked.path()).unwrap().head.revision, filed.revision);
}

#[test]
fn what_is_whole_and_no_store_is_told_by_the_name_of_its_file() {
    let (files, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = files.path().join("other.zst");
    let words = "no store, and long enough to be taken for one by its size alone. ".repeat(20);
    fs::write(&other, sealed(zstd::stream::encode_all(words.as_bytes(), 1).unwrap())).unwrap();
    let error = restore::restore(&other, again.path(), &To::End, |_| {}).expect_err("it is none");
    assert!(error.message.contains("other.zst: "), "{error}");
    assert_eq!(names(again.path()), ["attache.lock"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_not_restored_beside_the_rest_of_another() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _) = serve(folder.path()).await;
    file(&server, "a", "2023-05-01").await;
    let copy = backup(&server, files.path()).await;
    server.stop().await;
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("attache.db-wal"), "what a store that was killed left").unwrap();
    let refused = restore(&copy, other.path(), None).await;
    assert!(said(&refused).contains("attache.db-wal"), "{refused:?}");
    assert!(!snapshot::is_there(other.path()));
    fs::remove_file(other.path().join("attache.db-wal")).unwrap();
    assert!(restore(&copy, other.path(), None).await.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_verified_beside_its_server_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = serve(folder.path()).await;
    let filed = file(&server, "a", "2023-05-01").await;
    let place = folder.path().to_str().unwrap();
    let sound = attache(&["verify", "--data-dir", place]).await;
    assert!(sound.status.success() && said(&sound).contains(&filed.token), "{sound:?}");
    server.stop().await;
    let store = rusqlite::Connection::open(folder.path().join(attache::store::FILE)).unwrap();
    store.execute("UPDATE entries SET payload = x'00' WHERE revision = 1", []).unwrap();
    drop(store);
    let damaged = attache(&["verify", "--data-dir", place]).await;
    assert_eq!(damaged.status.code(), Some(4), "{damaged:?}");
    assert!(said(&damaged).contains("entry 1"), "{damaged:?}");
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(attache(&["verify", "--data-dir", nothing.path().to_str().unwrap()]).await.status.code(), Some(1));
}

/// The one place of this process's copies, held until it is given back: a backup that is asked for cannot be done.
struct Held {
    give_back: std::sync::mpsc::SyncSender<()>,
    holding: tokio::task::JoinHandle<attache::domain::error::Result<()>>,
}

impl Held {
    async fn hold() -> Self {
        let (take, taken) = tokio::sync::oneshot::channel();
        let (give_back, given_back) = std::sync::mpsc::sync_channel::<()>(0);
        let holding = tokio::spawn(attache::tasks::copying(move || {
            let _ = take.send(());
            // Given back when its sender is dropped.
            let _ = given_back.recv();
            Ok(())
        }));
        patiently("the place of copies", taken).await.unwrap();
        Self { give_back, holding }
    }

    async fn give_back(self) {
        drop(self.give_back);
        self.holding.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_backup_is_refused_while_the_first_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = serve(folder.path()).await;
    file(&server, "a", "2023-05-01").await;
    let ask = async || server.log().backup(v1::BackupRequest::default()).await.map(tonic::Response::into_inner);
    let held = Held::hold().await;
    let mut first = ask().await.unwrap();
    let second = ask().await.map(drop).expect_err("one is under way");
    assert_eq!((second.code(), reason(&second).as_str()), (tonic::Code::Unavailable, "OVERLOADED"));
    held.give_back().await;
    let mut last = None;
    while let Some(message) = patiently("a part", first.message()).await.unwrap() {
        last = message.part;
    }
    assert!(matches!(last, Some(v1::backup_response::Part::End(_))), "{last:?}");
    // Its place is free once its end was told, or soon after.
    patiently("a place", async {
        while let Err(status) = ask().await {
            assert_eq!(reason(&status), "OVERLOADED");
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_its_client_gives_up_leaves_its_place_before_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = serve(folder.path()).await;
    file(&server, "a", "2023-05-01").await;
    let held = Held::hold().await;
    let ask = async || server.log().backup(v1::BackupRequest::default()).await.map(tonic::Response::into_inner);
    drop(ask().await.unwrap());
    let mut second = patiently("a place", async {
        loop {
            match ask().await {
                Ok(second) => return second,
                Err(status) => assert_eq!(reason(&status), "OVERLOADED"),
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    held.give_back().await;
    let begin = patiently("its beginning", second.message()).await.unwrap().and_then(|message| message.part);
    assert!(matches!(begin, Some(v1::backup_response::Part::Begin(_))), "{begin:?}");
    drop(second);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_a_backup_and_does_not_wait_for_its_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, _) = serve(folder.path()).await;
    file(&server, "a", "2023-05-01").await;
    let held = Held::hold().await;
    let mut backup = server.log().backup(v1::BackupRequest::default()).await.unwrap().into_inner();
    server.drain();
    let told = patiently("the end of the backup", backup.message()).await.expect_err("it is not done");
    assert_eq!((told.code(), reason(&told).as_str()), (tonic::Code::Unavailable, "DRAINING"));
    drop(backup);
    patiently("the end of the server", server.ended()).await;
    held.give_back().await;
    // Whatever has had the place since is done now.
    attache::tasks::copying(|| Ok(())).await.unwrap();
    assert!(!folder.path().join("backup").exists(), "nothing is left of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_not_done_when_its_connection_is_about_to_be_cut_says_what_has_to_be_raised() {
    let folder = tempfile::tempdir().unwrap();
    let (age, goodbye) = (Duration::from_secs(1), Duration::from_secs(2));
    let config = Config { max_connection_age: Some(age), goodbye, ..config_at(folder.path()) };
    let parts = Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() };
    let server = TestServer::with(config, parts).await;
    let held = Held::hold().await;
    let mut backup = server.log().backup(v1::BackupRequest::default()).await.unwrap().into_inner();
    let told = patiently("the end of the backup", backup.message()).await.expect_err("it is not done");
    assert_eq!((told.code(), reason(&told).as_str()), (tonic::Code::Unavailable, "DRAINING"));
    assert!(told.message().contains("max_connection_age_seconds"), "{told:?}");
    held.give_back().await;
    drop(backup);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_does_not_replace_a_file_unless_it_is_told_to() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _) = serve(folder.path()).await;
    let copy = backup(&server, files.path()).await;
    let line = ["backup", copy.to_str().unwrap(), "--server", &server.address];
    assert_eq!(attache(&line).await.status.code(), Some(64));
    assert!(attache(&[line.as_slice(), &["--force"]].concat()).await.status.success());
    assert_eq!(fs::read_dir(files.path()).unwrap().count(), 1, "nothing is left beside it");
    server.stop().await;
}

#[test]
fn a_store_that_may_not_be_written_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    drop(store::open(folder.path(), &store::Options::default()).unwrap());
    fs::set_permissions(folder.path().join(store::FILE), Permissions::from_mode(0o444)).unwrap();
    let mut command = Command::new(ATTACHE);
    // Root may write everything, unless that is taken from it.
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--bounding-set=-dac_override", ATTACHE]);
    }
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert!(said(&output).contains("attache.db cannot be written"), "{output:?}");
}
