//! A replica that dies, or is in doubt, at each of its steps with the journal and with what is kept beside it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use attache::{
    failpoints,
    journal::{Journal as _, jetstream::Settings},
    pb::v1::{self, trim_log_request::Keep},
    store::{snapshot, verify},
    writer,
};
use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::StatusExt as _;

use crate::{
    common::{visit_report, watching::*},
    filers::{request, standing},
    nats::{self, Cluster, Sync},
    process::Process,
    serve_on,
    snapshots::Snapshots,
    until_health_at,
};

/// Filings on each side while a point is armed.
const FILINGS: usize = 3;
/// What happens at a point.
const WORDS: [&str; 2] = ["kill", "io"];

/// Waits until a program says that it takes filings: its journal's servers may not have answered by the time it listens.
async fn takes_filings(replica: &Process) {
    until_health_at(&replica.channel(), ServingStatus::Serving).await;
}

async fn file(replica: &Process, id: &str) -> v1::FileReportsResponse {
    takes_filings(replica).await;
    let filed = patiently("a filing", replica.filing().file_reports(request(id))).await;
    filed.expect("it is filed").into_inner()
}

/// Whether an answer is none: the program died.
fn died(status: &Status) -> bool {
    status.get_details_error_info().is_none()
}

/// Arms a point of a program whose log is kept in a file.
fn arm<'a>(command: &'a mut Command, armed: &str, log: &Path) -> &'a mut Command {
    command.env("FAILPOINTS", armed).stderr(File::create(log).expect("a file"))
}

fn is_met(said: &str, point: &str, word: &str) -> bool {
    said.contains(&format!("the failpoint {point} is met: {word}"))
}

/// Waits until a program has met a point, whatever is seen of that from outside.
async fn until_met(log: &Path, point: &str, word: &str) {
    patiently(&format!("{point} with {word}"), async {
        while !is_met(&fs::read_to_string(log).expect("what it says"), point, word) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Every event that a replica tells, up to what anybody was told before.
async fn told(replica: &Process) -> Vec<v1::Event> {
    let watching = Watching::open(replica.feed(), until_caught_up(from_oldest())).await.expect("it is accepted");
    let (frames, error) = watching.until_the_end().await;
    assert!(error.is_none(), "{error:?}");
    events(&frames)
}

/// Waits until a replica has what a token says.
async fn applied(replica: &Process, token: &str) {
    let asked = v1::ListSourcesRequest { at_least: Some(token.to_owned()), ..Default::default() };
    patiently("what was filed", replica.registry().list_sources(asked)).await.expect("it is applied");
}

/// Commits a cursor.
async fn keep(replica: &Process, name: &str, position: &str) -> Result<(), Status> {
    let (name, position) = (name.to_owned(), position.to_owned());
    let commit = v1::CommitCursorRequest { name, position, ..Default::default() };
    patiently("an answer", replica.feed().commit_cursor(commit)).await.map(drop)
}

async fn cursor(replica: &Process, name: &str) -> String {
    let asked = v1::GetCursorRequest { name: name.to_owned() };
    let kept = patiently("a cursor", replica.feed().get_cursor(asked)).await.expect("it is kept").into_inner();
    kept.cursor.expect("a cursor").position
}

/// A stream of its own for each case, on the same servers.
fn stream_of(cluster: &Cluster, point: &str, word: &str) -> Settings {
    let stream = format!("{}_{word}", point.replace('.', "_"));
    Settings { stream, ..cluster.settings() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_or_doubts_at_any_step_with_the_journal_files_each_filing_once() {
    let cluster = Cluster::start(Sync::Always);
    let settings = cluster.settings();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let start = |name: &str| Process::start(&mut serve_on(&settings, &folder.path().join(name)));
    let steady = start("steady");
    let mut names = Vec::new();
    for (number, point) in failpoints::JOURNAL.iter().enumerate() {
        for word in WORDS {
            let armed = format!("{point}=1*off->1*return({word})");
            let mut command = serve_on(&settings, &folder.path().join("armed"));
            let mut armed_one = Process::start(arm(&mut command, &armed, &log));
            let mut deaths = 0;
            for filing in 0..FILINGS {
                let id = format!("steady-{number}-{word}-{filing}");
                file(&steady, &id).await;
                names.push(format!("visits/{id}"));
                let id = format!("armed-{number}-{word}-{filing}");
                loop {
                    let mut client = armed_one.filing();
                    match patiently("an answer", client.file_reports(request(&id))).await {
                        Ok(_) => break,
                        // The program died; another is started.
                        Err(status) if died(&status) => {
                            drop(armed_one);
                            armed_one = start("armed");
                            deaths += 1;
                        }
                        // What is in doubt, or did not happen, is asked for again.
                        Err(_) => {}
                    }
                }
                names.push(format!("visits/{id}"));
            }
            assert_eq!(deaths, u32::from(word == "kill"), "{armed}");
            until_met(&log, point, word).await;
        }
    }
    names.sort();
    let back = start("armed");
    let (here, there) = (told(&steady).await, told(&back).await);
    assert_eq!(here, there, "both tell the same");
    assert_eq!(standing(&here), names, "each stands once");
}

/// Why a replica refuses a filing.
async fn refusal(replica: &Process, id: &str) -> String {
    let answer = patiently("a refusal", replica.filing().file_reports(request(id))).await;
    reason(&answer.expect_err("it takes nothing"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_after_the_journal_took_the_batch_is_in_doubt_and_made_up_for_once_there_is_room() {
    // More than are met until health has seen that it does not get on: each second the writer tries twice.
    const FAILS: usize = 30;
    let cluster = Cluster::start(Sync::Always);
    for (word, refused_with) in [("full", "STORAGE_FULL"), ("io", "INTERNAL")] {
        let settings = stream_of(&cluster, "commit", word);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log");
        let steady = Process::start(&mut serve_on(&settings, &folder.path().join("steady")));
        let mut command = serve_on(&settings, &folder.path().join("armed"));
        let armed = format!("store.commit=3*off->{FAILS}*return({word})->off");
        let mut replica = Process::start(arm(&mut command, &armed, &log));
        takes_filings(&steady).await;
        takes_filings(&replica).await;
        let (mut names, mut before) = (Vec::new(), String::new());
        // It fails sooner or later, at one that the journal has taken.
        let in_doubt = loop {
            let id = format!("filed-{}", names.len());
            names.push(format!("visits/{id}"));
            assert!(names.len() < 6, "no commit fails");
            match patiently("an answer", replica.filing().file_reports(request(&id))).await {
                Ok(filed) => before = filed.into_inner().token,
                Err(status) => {
                    assert_eq!(reason(&status), "OUTCOME_UNKNOWN", "{word}: {status:?}");
                    break id;
                }
            }
        };
        // It is in the log: another replica has it.
        let there = file(&steady, &in_doubt).await;
        // Here nothing is taken meanwhile, health says so, and what it had is read.
        until_health_at(&replica.channel(), ServingStatus::NotServing).await;
        assert_eq!(refusal(&replica, "meanwhile").await, refused_with, "{word}");
        let asked = v1::ListSourcesRequest { at_least: Some(before), ..Default::default() };
        patiently("a lookup", replica.registry().list_sources(asked)).await.expect("lookups go on");
        // There is room again: it goes on by itself.
        takes_filings(&replica).await;
        assert_eq!(file(&replica, &in_doubt).await.revision, there.revision, "{word}: the retry");
        let events = told(&replica).await;
        assert_eq!(events, told(&steady).await, "{word}: both tell the same");
        assert_eq!(standing(&events), names, "{word}: each stands once");
        until_met(&log, "store.commit", word).await;
        replica.kill();
        verify::folder(&folder.path().join("armed")).expect("it is sound");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_disk_is_nearly_full_appends_nothing_that_it_could_not_commit_and_follows_all_the_same() {
    let cluster = Cluster::start(Sync::Always);
    let settings = cluster.settings();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let steady = Process::start(&mut serve_on(&settings, &folder.path().join("steady")));
    let mut command = serve_on(&settings, &folder.path().join("short"));
    let short = Process::start(arm(&mut command, &format!("{}=2*return(full)->off", failpoints::ROOM), &log));
    let last = file(&steady, "one").await;
    applied(&short, &last.token).await;
    takes_filings(&short).await;
    let ends = async || nats::state_of(&settings).await.last_sequence;
    let before = ends().await;
    assert_eq!(refusal(&short, "three").await, "STORAGE_FULL");
    assert_eq!(ends().await, before, "nothing was appended");
    let last = file(&steady, "two").await;
    applied(&short, &last.token).await;
    assert_eq!(refusal(&short, "three").await, "STORAGE_FULL");
    assert_eq!(ends().await, before + 1, "but for what another did");
    assert!(is_met(&fs::read_to_string(&log).expect("what it says"), failpoints::ROOM, "full"));
    assert_eq!(file(&short, "three").await.revision, last.revision + 1, "there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_whose_keeping_dies_or_fails_stands_everywhere_once_it_is_asked_for_again() {
    let cluster = Cluster::start(Sync::Always);
    let settings = cluster.settings();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (log, own) = (folder.path().join("log"), folder.path().join("armed"));
    let steady = Process::start(&mut serve_on(&settings, &folder.path().join("steady")));
    let mut tokens = Vec::new();
    for id in ["one", "two", "three"] {
        tokens.push(file(&steady, id).await.token);
    }
    for (number, point) in failpoints::SHELF.iter().enumerate() {
        for word in WORDS {
            let name = format!("reader.{number}.{word}");
            let mut command = serve_on(&settings, &own);
            let armed = format!("{point}=1*off->1*return({word})");
            let mut armed_one = Process::start(arm(&mut command, &armed, &log));
            takes_filings(&armed_one).await;
            applied(&armed_one, &tokens[2]).await;
            let mut met = 0;
            for position in &tokens {
                while let Err(status) = keep(&armed_one, &name, position).await {
                    met += 1;
                    assert!(met < 2, "{point} happens once: {status:?}");
                    if died(&status) {
                        drop(armed_one);
                        armed_one = Process::start(&mut serve_on(&settings, &own));
                        takes_filings(&armed_one).await;
                    } else {
                        assert_eq!(reason(&status), "JOURNAL_UNAVAILABLE");
                    }
                }
            }
            assert_eq!(met, 1, "{point} with {word}");
            until_met(&log, point, word).await;
            for replica in [&steady, &armed_one] {
                assert_eq!(cursor(replica, &name).await, tokens[2], "{point} with {word}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_whose_putting_dies_or_fails_is_followed_by_one_that_a_replica_begins_with() {
    let cluster = Cluster::start(Sync::Always);
    for point in failpoints::DEPOT {
        for word in WORDS {
            let settings = stream_of(&cluster, point, word);
            let folder = tempfile::tempdir().expect("a temporary folder");
            let (log, own) = (folder.path().join("log"), folder.path().join("own"));
            let often = |folder: &Path| {
                let mut command = serve_on(&settings, folder);
                command.args(["--journal-snapshot-seconds", "1"]);
                command
            };
            let mut command = often(&own);
            let armed = Process::start(arm(&mut command, &format!("{point}=1*return({word})"), &log));
            until_met(&log, point, word).await;
            let maker = if word == "kill" {
                drop(armed);
                Process::start(&mut often(&own))
            } else {
                armed
            };
            // (What a turn was taken for that nobody gave back waits for something new.)
            let last = file(&maker, "last").await;
            let snapshots = Snapshots::of(&settings).await;
            patiently("a snapshot", async {
                while snapshots.revisions().last().is_none_or(|revision| *revision < last.revision) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            let position = snapshot::stands_at(&own).expect("a store").position;
            tokio::task::block_in_place(|| snapshots.0.trim(position)).expect("it is trimmed");
            // What a snapshot is compared with: the batch that follows it.
            file(&maker, "more").await;
            let mut newer = Process::start(&mut serve_on(&settings, &folder.path().join("newer")));
            assert_eq!(told(&newer).await, told(&maker).await, "{point} with {word}");
            newer.kill();
            verify::folder(&folder.path().join("newer")).expect("it is sound");
        }
    }
}

/// Filings of long ago, which are trimmed.
const OLD: u64 = 5;

/// Files what may be trimmed, and what ends the history that is replayed.
async fn file_old(replica: &Process) {
    takes_filings(replica).await;
    for number in 0..OLD {
        let seconds = 1_600_000_000 + i64::try_from(number).expect("small");
        let recorded_at = Some(prost_types::Timestamp { seconds, nanos: 0 });
        let reports = vec![visit_report(&format!("old-{number}"), "s", "KZ", "AZ", "2019-05-01")];
        let old = v1::FileReportsRequest { recorded_at, reports, ..Default::default() };
        patiently("a filing", replica.filing().file_reports(old)).await.expect("it is filed");
    }
    file(replica, "late").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_dies_or_fails_is_made_after_the_next_start_and_takes_no_more() {
    let cluster = Cluster::start(Sync::Always);
    for point in failpoints::PURGE {
        for word in WORDS {
            let settings = stream_of(&cluster, point, word);
            let folder = tempfile::tempdir().expect("a temporary folder");
            let (log, own) = (folder.path().join("log"), folder.path().join("own"));
            let mut command = serve_on(&settings, &own);
            let armed = Process::start(arm(&mut command, &format!("{point}=1*return({word})"), &log));
            file_old(&armed).await;
            // A replica may begin with the second newest snapshot, so there must be two beyond what goes.
            let snapshots = Snapshots::of(&settings).await;
            let other = folder.path().join("other");
            fs::write(&other, b"of another store").expect("a file is written");
            for revision in [OLD, OLD + 1] {
                snapshots.depot(|depot| depot.put(&format!("{revision:020}"), &other));
            }
            let trim = v1::TrimLogRequest { keep: Some(Keep::FromRevision(OLD)), dry_run: false };
            // Whoever dies of it may not have answered.
            if let Err(status) = patiently("an answer", armed.log().trim_log(trim)).await {
                assert!(word == "kill" && died(&status), "{status:?}");
            }
            until_met(&log, point, word).await;
            drop(armed);
            let mut again = Process::start(&mut serve_on(&settings, &own));
            let first = patiently("the purge", async {
                loop {
                    match nats::state_of(&settings).await.first_sequence {
                        1 => tokio::time::sleep(Duration::from_millis(20)).await,
                        first => return first,
                    }
                }
            })
            .await;
            let oldest = tokio::task::block_in_place(|| snapshots.0.batch(first)).expect("it answers");
            let (_, last, _) = writer::batch_end(&oldest.expect("it is there"), first).expect("a batch");
            assert_eq!(last, OLD, "{point} with {word}: what follows the floor is kept");
            file(&again, "more").await;
            again.kill();
            verify::folder(&own).expect("it is sound");
        }
    }
}

/// A command that moves a log, such as `migrate to-stream`, with something armed or nothing.
fn moved(words: &[&str], settings: &Settings, folder: &Path, armed: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attache"));
    command.args(words).arg("--data-dir").arg(folder);
    command.args(["--journal", &settings.servers.join(","), "--journal-stream", &settings.stream]);
    command.args(["--journal-monitor", &settings.monitors.join(",")]).env("FAILPOINTS", armed);
    command.output().expect("it runs")
}

/// The same, with something at a point first, and begun again if it came to nothing.
fn moved_at_last(words: &[&str], settings: &Settings, folder: &Path, (point, word, armed): (&str, &str, &str)) {
    let first = moved(words, settings, folder, armed);
    assert!(is_met(&String::from_utf8_lossy(&first.stderr), point, word), "{armed}: {first:?}");
    assert_eq!(first.status.code().is_none(), word == "kill", "{armed}: {first:?}");
    if !first.status.success() {
        let again = moved(words, settings, folder, "");
        assert!(again.status.success(), "after {armed}: {again:?}");
    }
    verify::folder(folder).expect("what was moved is sound");
}

/// A copy of a folder's files.
fn copied(from: &Path, to: PathBuf) -> PathBuf {
    fs::create_dir(&to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("it is copied");
    }
    to
}

/// What arms a point that is passed so often before something happens there.
fn armed_after(passed: u32, point: &str, word: &str) -> String {
    let before_it = if passed > 0 { format!("{passed}*off->") } else { String::new() };
    format!("{point}={before_it}1*return({word})")
}

/// Where a move writes, and how often each is passed before something happens there.
fn steps_of_a_move() -> impl Iterator<Item = (&'static str, u32)> {
    let journal = failpoints::JOURNAL.iter().filter(|point| point.starts_with("journal."));
    let points = journal.chain(failpoints::SHELF).chain(failpoints::DEPOT).map(|point| (*point, 0));
    // In the snapshot, and then in the store itself.
    points.chain([("store.home", 0), ("store.home", 1)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_onto_a_stream_that_dies_or_fails_at_any_write_is_begun_again_and_loses_nothing() {
    let cluster = Cluster::start(Sync::Always);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("source");
    let mut alone = Process::start(&mut crate::process::serve_at(&source));
    for id in ["one", "two", "three"] {
        file(&alone, id).await;
    }
    let position = file(&alone, "last").await.token;
    keep(&alone, "reader", &position).await.expect("it is kept");
    let before = told(&alone).await;
    alone.kill();
    for (point, passed) in steps_of_a_move() {
        for word in WORDS {
            let case = format!("{point}_{passed}");
            let settings = stream_of(&cluster, &case, word);
            let own = copied(&source, folder.path().join(format!("{case}-{word}")));
            let armed = armed_after(passed, point, word);
            moved_at_last(&["migrate", "to-stream"], &settings, &own, (point, word, &armed));
            let replica = folder.path().join(format!("{case}-{word}-replica"));
            let mut served = Process::start(&mut serve_on(&settings, &replica));
            assert_eq!(told(&served).await, before, "{case} with {word}");
            assert_eq!(cursor(&served, "reader").await, position, "{case} with {word}");
            served.kill();
            verify::folder(&replica).expect("the replica is sound");
        }
    }
}

/// What an event tells, whatever its log is called.
fn told_of(event: &v1::Event) -> (u64, u32, String, i32) {
    (event.revision, event.index, event.subject.clone(), event.r#type)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_built_anew_or_left_is_so_after_an_interruption_too() {
    let cluster = Cluster::start(Sync::Always);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("source");
    let lost = stream_of(&cluster, "lost", "stream");
    let mut replica = Process::start(&mut serve_on(&lost, &source));
    for id in ["one", "two", "three"] {
        file(&replica, id).await;
    }
    let before = told(&replica).await;
    replica.kill();
    for (point, passed) in steps_of_a_move().filter(|(point, _)| !failpoints::SHELF.contains(point)) {
        for word in WORDS {
            let case = format!("{point}_{passed}");
            let settings = stream_of(&cluster, &format!("anew_{case}"), word);
            let own = copied(&source, folder.path().join(format!("{case}-{word}")));
            let armed = armed_after(passed, point, word);
            moved_at_last(&["reseed"], &settings, &own, (point, word, &armed));
            let mut served =
                Process::start(&mut serve_on(&settings, &folder.path().join(format!("{case}-{word}-new"))));
            let now = told(&served).await;
            assert!(now.iter().map(told_of).eq(before.iter().map(told_of)), "{armed}: {now:?}");
            served.kill();
        }
    }
    // Its stream is sealed by the first of them.
    for word in WORDS {
        let own = copied(&source, folder.path().join(format!("left-{word}")));
        let armed = format!("store.home=1*return({word})");
        moved_at_last(&["migrate", "to-embedded"], &lost, &own, ("store.home", word, &armed));
        let mut served = Process::start(&mut crate::process::serve_at(&own));
        assert_eq!(told(&served).await, before, "{armed}");
        file(&served, "more").await;
        served.kill();
    }
}
