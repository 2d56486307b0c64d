//! Every place at which a write may be the last thing that happens, or fail: the program is killed there, the disk is full
//! there, or it answers with an error. What was acknowledged stands, once; what was refused did not happen; what is in doubt is
//! known after asking again.
#![cfg(feature = "failpoints")]

mod common;
#[path = "recovery/process.rs"]
#[allow(dead_code, reason = "half of it is for the other tests of recovery")]
mod process;
#[path = "recovery/requests.rs"]
#[allow(dead_code, reason = "half of it is for the other tests of recovery")]
mod requests;

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, ExitStatus},
};

use attache::{
    failpoints, limits,
    pb::v1::{
        self, CommitCursorRequest, FileReportsRequest, ListEventsRequest, MergeRecordsRequest, RedactRequest,
        RetractRecordRequest, RetractReportsRequest, TrimLogRequest, list_events_request::Start, redact_request::What,
        retract_reports_request::Selection, trim_log_request::Keep,
    },
    store::{self, packed},
};
use common::{older::made_older, scribe::ruling, watching::patiently};
use process::Process;
use requests::{agreement, reason, verified, with_id};
use tonic::{Code, Status};

/// How often a point is passed before something happens there: the first time, and in the middle of the work.
const PASSED: [u32; 2] = [0, 5];
/// A point that is passed less often is tried at its first time alone.
const SELDOM: [&str; 4] = ["store.erase", "store.cursor", "store.scrub", "store.cut"];

/// What a client asks for, one after the other.
#[derive(Clone)]
enum Step {
    File(Box<FileReportsRequest>),
    Withdraw(RetractReportsRequest),
    Retract(RetractRecordRequest),
    Merge(MergeRecordsRequest),
    Redact(RedactRequest),
    Trim(TrimLogRequest),
    Keep,
}

fn steps() -> Vec<Step> {
    let filed = |id: &str, number| Step::File(Box::new(agreement(id, number)));
    let visit = common::visit_report("v", "leak", "KZ", "AZ", "2023-05-01");
    let again = FileReportsRequest { request_id: Some("again".into()), ..agreement("a1", 77) };
    let withdraw = RetractReportsRequest {
        selection: Some(Selection::Report("agreements/a2/reports/gazette".into())),
        reason: v1::RetractionReason::FilerError.into(),
        request_id: Some("withdraw".into()),
        ..Default::default()
    };
    let retract = RetractRecordRequest { request_id: Some("retract".into()), ..ruling("agreements/a3") };
    let merge = MergeRecordsRequest {
        loser: "agreements/a4".into(),
        survivor: "agreements/a1".into(),
        source: retract.source.clone(),
        request_id: Some("merge".into()),
        ..Default::default()
    };
    let what = Some(What::Report("visits/v/reports/leak".into()));
    let redact = RedactRequest { what, reason: "by order".into(), dry_run: false };
    vec![
        filed("a1", 1),
        filed("a2", 2),
        Step::File(Box::new(with_id("v", vec![visit]))),
        Step::File(Box::new(again)),
        Step::Keep,
        filed("a3", 3),
        filed("a4", 4),
        Step::Withdraw(withdraw),
        Step::Retract(retract),
        Step::Merge(merge),
        Step::Redact(redact),
        filed("a5", 5),
        filed("a6", 6),
    ]
}

impl Step {
    async fn ask(&self, server: &Process) -> Result<(), Status> {
        match self {
            Self::File(request) => server.filing().file_reports(request.as_ref().clone()).await.map(drop),
            Self::Withdraw(request) => server.filing().retract_reports(request.clone()).await.map(drop),
            Self::Retract(request) => server.filing().retract_record(request.clone()).await.map(drop),
            Self::Merge(request) => server.filing().merge_records(request.clone()).await.map(drop),
            Self::Redact(request) => match server.log().redact(request.clone()).await {
                // It has no id: what was erased while nobody heard the answer is not there any more.
                Err(status) if status.code() == Code::NotFound => Ok(()),
                answer => answer.map(drop),
            },
            Self::Trim(request) => server.log().trim_log(request.clone()).await.map(drop),
            Self::Keep => {
                let position = head(server).await;
                let request = CommitCursorRequest { name: "desk".into(), position, ..Default::default() };
                server.feed().commit_cursor(request).await.map(drop)
            }
        }
    }
}

async fn head(server: &Process) -> String {
    server.log().get_log_info(v1::GetLogInfoRequest {}).await.expect("it answers").into_inner().token
}

/// Everything that was told after a position.
async fn told(server: &Process, after: Option<&str>) -> Vec<v1::Event> {
    let start = after.map(|token| Start::After(token.to_owned()));
    let request = ListEventsRequest { start, page_size: 1000, ..Default::default() };
    server.feed().list_events(request).await.expect("events").into_inner().events
}

/// What events say, less what differs from one log to another.
fn words(events: &[v1::Event]) -> Vec<(u64, u32, String, v1::EventType, String)> {
    let word = |e: &v1::Event| (e.revision, e.index, e.subject.clone(), e.r#type(), e.headline.clone());
    events.iter().map(word).collect()
}

/// Whether a program says that something happened at a point: who asks does not see everything.
fn is_met(said: &str, point: &str, word: &str) -> bool {
    said.contains(&format!("the failpoint {point} is met: {word}"))
}

/// Has a program write its log into a file.
fn logs<'a>(command: &'a mut Command, log: &Path) -> &'a mut Command {
    command.stderr(File::create(log).expect("a file"))
}

/// Does the work on a store in a folder, while something happens once at a point; answers what the program logged that had
/// it armed, and what was told.
async fn work(folder: &Path, armed: Option<&str>) -> (String, Vec<(u64, u32, String, v1::EventType, String)>) {
    let (data, log) = (folder.join("data"), folder.join("log"));
    // The store is there before: its making is another matter.
    let mut server = Process::at(&data);
    server.kill();
    let mut command = process::serve_at(&data);
    server = Process::start(logs(&mut command, &log).envs(armed.map(|armed| ("FAILPOINTS", armed))));
    let (mut failed, mut position) = (0, None);
    for (number, step) in steps().iter().enumerate() {
        let before = head(&server).await;
        while let Err(status) = step.ask(&server).await {
            failed += 1;
            assert!(failed < 4, "it happens once: {status:?}");
            match reason(&status).as_deref() {
                // The program died; another is started.
                None => {
                    drop(server);
                    server = Process::at(&data);
                }
                Some("OUTCOME_UNKNOWN") => {}
                Some("STORAGE_FULL" | "INTERNAL") => assert_eq!(head(&server).await, before, "{status:?}"),
                Some(other) => panic!("{other}: {status:?}"),
            }
        }
        if number == 2 {
            position = Some(head(&server).await);
        }
    }
    let all = told(&server, None).await;
    let position = position.expect("a position in the middle");
    let resumed = told(&server, Some(&position)).await;
    assert_eq!(words(&all)[all.len() - resumed.len()..], words(&resumed), "a token from before stays good");
    let kept = server.feed().get_cursor(v1::GetCursorRequest { name: "desk".into() }).await;
    assert!(kept.expect("it was kept").into_inner().cursor.is_some_and(|cursor| !cursor.position.is_empty()));
    server.kill();
    let sound = verified(&data);
    let last = all.last().map_or(0, |event| event.revision);
    assert_eq!((sound.head.revision, sound.redacted), (last, 1), "every revision told of something");
    (fs::read_to_string(log).expect("what it said"), words(&all))
}

/// Tries every point with a word; answers the points that were not met.
async fn cross(points: impl Iterator<Item = &'static str>, word: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (said, undisturbed) = work(folder.path(), None).await;
    assert!(!said.contains("the failpoint"), "{said}");
    let mut unmet = Vec::new();
    for point in points {
        for passed in PASSED.into_iter().filter(|passed| *passed == 0 || !SELDOM.contains(&point)) {
            let before = if passed > 0 { format!("{passed}*off->") } else { String::new() };
            let armed = format!("{point}={before}1*return({word})");
            let folder = tempfile::tempdir().expect("a folder");
            let (said, told) = work(folder.path(), Some(&armed)).await;
            assert_eq!(told, undisturbed, "{armed}: what was told is what would have been");
            if !is_met(&said, point, word) {
                unmet.push(armed);
            }
        }
    }
    unmet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_write_or_step_loses_nothing_and_doubles_nothing() {
    let points = failpoints::WRITES.iter().chain(failpoints::STEPS).chain(failpoints::ERASED).copied();
    assert_eq!(cross(points, "kill").await, Vec::<String>::new(), "points that nothing passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_at_any_write_is_said_and_what_is_in_doubt_is_known_after_asking_again() {
    let points = failpoints::WRITES.iter().chain(failpoints::ERASED).copied();
    assert_eq!(cross(points, "io").await, Vec::<String>::new(), "points that nothing passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_at_any_write_happens_to_nobodys_filing() {
    // After a commit the disk is not full: SQLite would have said so.
    let points = failpoints::WRITES.iter().filter(|point| **point != "store.committed");
    let points = points.chain(failpoints::ERASED).copied();
    assert_eq!(cross(points, "full").await, Vec::<String>::new(), "points that nothing passes");
}

/// Has a server on a store whose disk is full do something, which it refuses; answers what it logs.
async fn said_without_room(folder: &Path, log: &Path, step: &Step) -> String {
    let mut command = process::serve_at(folder);
    command.env("FAILPOINTS", "store.commit=return(full);store.cursor=return(full)");
    let mut server = Process::start(logs(&mut command, log));
    let status = step.ask(&server).await.expect_err("there is no room");
    assert_eq!(reason(&status).as_deref(), Some("STORAGE_FULL"), "{status:?}");
    server.kill();
    fs::read_to_string(log).expect("what it said")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_there_is_no_room_is_in_the_log_whatever_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let visit = |id: &str| with_id(id, vec![common::visit_report(id, "leak", "KZ", "AZ", "2023-05-01")]);
    let mut server = Process::at(&data);
    // One that is old enough to be trimmed, and one of now, which ends the history that is replayed.
    let recorded_at = Some(attache::clock::timestamp(common::START_US));
    for request in [FileReportsRequest { recorded_at, ..visit("old") }, visit("new")] {
        server.filing().file_reports(request).await.expect("there is room");
    }
    server.kill();
    let keep = Some(Keep::FromRevision(2));
    let what = Some(What::Report("visits/new/reports/leak".into()));
    for step in [
        Step::File(Box::new(visit("another"))),
        Step::Trim(TrimLogRequest { keep, dry_run: false }),
        Step::Redact(RedactRequest { what, reason: "by order".into(), dry_run: false }),
        Step::Keep,
    ] {
        let said = said_without_room(&data, &log, &step).await;
        assert!(said.contains("refused for lack of room: STORAGE_FULL"), "{said}");
    }
}

/// What each of so many lookups that are asked for at once is answered: the code of its error, or the name of its record.
async fn asked_at_once(server: &Process, names: &[String]) -> Vec<Result<String, Code>> {
    let asked: Vec<_> = names
        .iter()
        .map(|name| {
            let (mut registry, name) = (server.registry(), name.clone());
            tokio::spawn(async move {
                let got = registry.get_visit(v1::GetVisitRequest { name, ..Default::default() }).await;
                got.map(|got| got.into_inner().visit.expect("a visit").name).map_err(|status| status.code())
            })
        })
        .collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.expect("it is answered"));
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_that_are_read_together_have_their_own_answers_and_are_read_alone_if_that_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let armed = format!("{}=1*return(io)", failpoints::READ);
    let mut command = process::serve_at(&data);
    let server = Process::start(logs(&mut command, &log).env("FAILPOINTS", armed));
    // More than are read at once; a fifth of them nobody files.
    let names: Vec<String> = (0..150).map(|number| format!("visits/points-{number}")).collect();
    assert!(names.len() > 2 * limits::POINT_READS);
    let is_filed = |number: &usize| !number.is_multiple_of(5);
    let visit = |n: usize| common::visit_report(&format!("points-{n}"), "p", "KZ", "AZ", "2023-05-01");
    let filed = (0..names.len()).filter(is_filed).map(visit).collect();
    server.filing().file_reports(with_id("points", filed)).await.expect("they are filed");
    let right =
        |(number, name): (usize, &String)| if is_filed(&number) { Ok(name.clone()) } else { Err(Code::NotFound) };
    let right: Vec<_> = names.iter().enumerate().map(right).collect();
    assert_eq!(asked_at_once(&server, &names).await, right);
    let said = fs::read_to_string(&log).expect("what it said");
    assert!(is_met(&said, failpoints::READ, "io"), "{said}");
}

/// Filings of long ago, of which a sweep takes several portions.
const OLD: u64 = 100;

/// Entries of the log that are older than a revision, in a store that a server may have open.
fn older(folder: &Path, revision: u64) -> u64 {
    let connection = rusqlite::Connection::open(folder.join(store::FILE)).expect("a store");
    let count = "SELECT count(*) FROM entries WHERE revision < ?1";
    connection.query_row(count, [revision], |row| row.get(0)).expect("it can be read")
}

/// Files what is old, and what ends the history that is replayed, and has the old trimmed, whose rows are all there yet;
/// answers what is told of the rest, and the log's floor.
async fn trimmed(folder: &Path) -> (Vec<v1::Event>, u64) {
    let server = Process::at(folder);
    for number in 0..OLD {
        let recorded =
            prost_types::Timestamp { seconds: 1_600_000_000 + i64::try_from(number).expect("small"), nanos: 0 };
        let filed = agreement(&format!("old-{number}"), usize::try_from(number).expect("small"));
        let request = FileReportsRequest { recorded_at: Some(recorded), ..filed };
        server.filing().file_reports(request).await.expect("it is filed");
    }
    server.filing().file_reports(agreement("late", 0)).await.expect("it is filed");
    let kept = told(&server, None).await.into_iter().filter(|event| event.revision >= OLD).collect::<Vec<_>>();
    let request = TrimLogRequest { keep: Some(Keep::FromRevision(OLD)), dry_run: false };
    server.log().trim_log(request).await.expect("it is trimmed");
    drop(server);
    let floor = verified(folder).head.floor;
    assert_eq!((floor, older(folder, floor)), (OLD - 1, OLD - 2), "everything is there yet");
    (kept, floor)
}

/// A server that does not wait before it sweeps, nor after a portion that failed; perhaps something happens at its second
/// portion.
fn sweeper(folder: &Path, word: Option<&str>) -> Process {
    let [grace, portion] = failpoints::SWEEP else { panic!("{:?}", failpoints::SWEEP) };
    let armed = word.map(|word| format!(";{portion}=1*off->1*return({word})")).unwrap_or_default();
    let mut command = process::serve_at(&folder.join("data"));
    command.env("FAILPOINTS", format!("{grace}=return(io){armed}"));
    Process::start(logs(&mut command, &folder.join("log")))
}

/// Waits until a sweeper has dropped all that is older than the floor, and demands that the rest is as it was.
async fn swept(mut server: Process, data: &Path, floor: u64, kept: &[v1::Event]) {
    patiently("the rest of the sweep", async {
        while older(data, floor) > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(words(&told(&server, None).await), words(kept), "what is kept is told as before");
    server.filing().file_reports(agreement("more", 0)).await.expect("filings go on");
    server.kill();
    let sound = verified(data);
    assert_eq!(sound.entries, sound.head.revision - sound.head.floor, "what is older is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_is_killed_halfway_leaves_a_sound_store_and_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (kept, floor) = trimmed(&data).await;
    let dies = sweeper(folder.path(), Some("kill"));
    let ended = tokio::task::spawn_blocking(move || dies.wait());
    let status = patiently("the end of a sweeper", ended).await.expect("it is waited for");
    assert!(!status.success(), "it was killed: {status}");
    let left = older(&data, floor);
    assert!((1..OLD - 2).contains(&left), "{left} are left");
    verified(&data);
    swept(sweeper(folder.path(), None), &data, floor, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_of_which_a_portion_fails_goes_on_while_the_server_does() {
    for word in ["io", "full"] {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let (kept, floor) = trimmed(&data).await;
        swept(sweeper(folder.path(), Some(word)), &data, floor, &kept).await;
        let said = fs::read_to_string(folder.path().join("log")).expect("what it said");
        assert!(is_met(&said, failpoints::SWEEP[1], word), "{said}");
        assert!(said.contains("what was trimmed keeps its room for now"), "{said}");
    }
}

/// Makes a store of one entry as the schema before the newest left it, which says of no home yet.
async fn of_the_schema_before(folder: &Path) {
    let server = Process::at(folder);
    server.filing().file_reports(agreement("before", 1)).await.expect("it is filed");
    drop(server);
    let file = folder.join(store::FILE);
    made_older(&file);
    let connection = rusqlite::Connection::open(file).expect("a store");
    connection.execute("DELETE FROM home", []).expect("it can be written");
}

/// Opens a store, to which something happens meanwhile, and again; how many entries it has after one more.
async fn opened_again(folder: &Path, point: &str, passed: u32, word: &str) -> u64 {
    let before = if passed > 0 { format!("{passed}*off->") } else { String::new() };
    let armed = format!("{point}={before}1*return({word})");
    let (code, said) = process::refused(process::serve_at(folder).env("FAILPOINTS", &armed));
    assert!(is_met(&said, point, word), "{armed}: {said}");
    assert_eq!(code.is_none(), word == "kill", "{armed}: {said}");
    if (point, word) == ("store.schema", "full") {
        assert!(said.contains("no room for the migration of the store"), "{armed}: {said}");
    }
    let mut server = Process::at(folder);
    server.filing().file_reports(agreement("after", 2)).await.expect("it is filed");
    server.kill();
    verified(folder).entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_opening_dies_or_fails_at_any_step_is_opened_after_it_with_all_that_it_had() {
    for point in failpoints::OPENING {
        for word in ["kill", "io", "full"] {
            // A new one takes every step of the schema, the older one the last ones alone; both say once whose they are.
            for passed in PASSED.into_iter().filter(|passed| *passed == 0 || *point == "store.schema") {
                let new = tempfile::tempdir().expect("a folder");
                assert_eq!(opened_again(new.path(), point, passed, word).await, 1);
            }
            let older = tempfile::tempdir().expect("a folder");
            of_the_schema_before(older.path()).await;
            assert_eq!(opened_again(older.path(), point, 0, word).await, 2, "{point} with {word}");
            if *point == "store.schema" {
                let older = tempfile::tempdir().expect("a folder");
                of_the_schema_before(older.path()).await;
                assert_eq!(opened_again(older.path(), point, 1, word).await, 2, "{point} with {word}, the second step");
            }
        }
    }
}

/// A command of the program, to which something happens at a point: how it ended, and what it said.
fn ended(arguments: &[&str], armed: Option<&str>) -> (ExitStatus, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attache"));
    let output = command.args(arguments).envs(armed.map(|armed| ("FAILPOINTS", armed))).output().expect("it ends");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn backup(server: &Process, to: &Path) -> (ExitStatus, String) {
    let address = format!("http://{}", server.address());
    ended(&["backup", to.to_str().expect("text"), "--server", &address], None)
}

/// What lies in a folder.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a name").file_name());
    names.map(|name| name.into_string().expect("text")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_dies_or_fails_at_any_step_leaves_nothing_behind_and_the_next_one_is_whole() {
    for point in failpoints::PACKING {
        for word in ["kill", "io", "full"] {
            let armed = format!("{point}=1*return({word})");
            let (folder, files) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
            let (data, log) = (folder.path().join("data"), folder.path().join("log"));
            let to = files.path().join("backup.db.zst");
            let mut command = process::serve_at(&data);
            let mut server = Process::start(logs(&mut command, &log).env("FAILPOINTS", &armed));
            server.filing().file_reports(agreement("a1", 1)).await.expect("it is filed");
            let (status, said) = backup(&server, &to);
            assert!(!status.success(), "{armed}: {said}");
            assert_eq!(said.contains("STORAGE_FULL"), word == "full", "{armed}: {said}");
            assert_eq!(names(files.path()), Vec::<String>::new(), "{armed}: nothing that could be taken for a backup");
            if word == "kill" {
                drop(server);
                server = Process::at(&data);
            }
            assert!(!data.join(packed::BACKUP).exists(), "{armed}: what was begun goes");
            server.filing().file_reports(agreement("a2", 2)).await.expect("filings go on");
            let (status, said) = backup(&server, &to);
            assert!(status.success(), "{armed}: {said}");
            let restored = folder.path().join("restored");
            let paths = [&to, &restored].map(|path| path.to_str().expect("text"));
            let (status, said) = ended(&["restore-backup", paths[0], "--data-dir", paths[1]], None);
            assert!(status.success(), "{armed}: {said}");
            assert_eq!(verified(&restored).head.revision, 2);
            assert!(is_met(&fs::read_to_string(log).expect("what it said"), point, word), "{armed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_dies_or_fails_at_any_step_leaves_no_store_and_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let packed = folder.path().join("backup.db.zst");
    let server = Process::at(&folder.path().join("data"));
    server.filing().file_reports(agreement("a1", 1)).await.expect("it is filed");
    let earlier = head(&server).await;
    server.filing().file_reports(agreement("a2", 2)).await.expect("it is filed");
    let (status, said) = backup(&server, &packed);
    assert!(status.success(), "{said}");
    for point in failpoints::UNPACKING {
        for (word, to) in ["kill", "io", "full"].into_iter().flat_map(|word| [(word, None), (word, Some(&earlier))]) {
            let armed = format!("{point}=1*return({word})");
            let data = tempfile::tempdir().expect("a folder");
            let mut arguments = vec!["restore-backup", packed.to_str().expect("text")];
            arguments.extend(["--data-dir", data.path().to_str().expect("text")]);
            arguments.extend(to.iter().flat_map(|to| ["--to", to.as_str()]));
            let (status, said) = ended(&arguments, Some(&armed));
            assert!(!status.success(), "{armed}: {said}");
            assert_eq!(status.code().is_none(), word == "kill", "{armed}: {said}");
            assert_eq!(said.contains("disk is full"), word == "full", "{armed}: {said}");
            assert!(!data.path().join(store::FILE).exists(), "{armed}: there is no store");
            assert_eq!(data.path().join(packed::RESTORE).exists(), word == "kill", "{armed}: what was begun goes");
            if word == "kill" {
                let (code, said) = process::refused(&mut process::serve_at(data.path()));
                assert_eq!(code, Some(64), "{armed}: an empty registry is not what was to be restored: {said}");
            }
            let (status, said) = ended(&arguments, None);
            assert!(status.success(), "{armed}: {said}");
            assert_eq!(verified(data.path()).head.revision, if to.is_some() { 1 } else { 2 });
        }
    }
}
