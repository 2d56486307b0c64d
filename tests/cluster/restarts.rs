//! Replicas on a store that the stream does not go on from. One that the stream has left behind begins anew when it starts, and
//! keeps what it had; one that runs ends for that. One whose log is another is never mended without a word. All are read
//! meanwhile.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use attache::{
    journal::{
        Journal as _, Trouble,
        jetstream::{self, Found, Settings},
    },
    pb::v1::{self, watch_events_response::Frame},
    serve,
    store::{Head, aside, snapshot, verify},
};
use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus;

#[cfg(target_os = "linux")]
use crate::disk::Disk;
use crate::{
    agree,
    common::{
        TestServer,
        watching::{Watching, everything, from_oldest, is_caught_up, patiently, reason},
    },
    filers::{insist, request, standing},
    health_of,
    links::Links,
    nats::{Cluster, Sync},
    process::Process,
    replica_at, serve_on,
    snapshots::{Replicas, Snapshots},
    until_health, until_health_at,
};

/// Longer than replicas let pass between two snapshots.
const DUE: Duration = Duration::from_secs(3601);
/// How long a snapshot may take before it is asked for again.
const TRIED_AGAIN: Duration = Duration::from_secs(8);

impl Replicas {
    fn head(&self, name: &str) -> Head {
        snapshot::stands_at(&self.folder(name)).expect("a store")
    }

    /// Has the stream drop everything that a replica has.
    fn drop_up_to(&self, name: &str, snapshots: &Snapshots) {
        let position = self.head(name).position;
        tokio::task::block_in_place(|| snapshots.0.trim(position)).expect("it is trimmed");
    }

    /// Has a replica that runs put another snapshot beside the stream. One that could not be put, because servers that share
    /// a machine with much else did not answer in time, is tried again when the clock has moved on.
    async fn put_one_more(&self, snapshots: &Snapshots) {
        let there = snapshots.revisions().len();
        patiently("one more snapshot", async {
            loop {
                self.clock.advance(DUE);
                if tokio::time::timeout(TRIED_AGAIN, snapshots.until_there_are(there + 1)).await.is_ok() {
                    return;
                }
            }
        })
        .await;
    }

    /// A replica that was left behind ends by itself, now that there is a snapshot.
    async fn ends_for_a_snapshot(&self, replica: TestServer) {
        // (When that was due it may have looked before it was there.)
        self.clock.advance(DUE);
        let ended = patiently("its end", replica.outcome()).await.expect_err("it does not end in good order");
        assert!(serve::is_left_behind(&ended), "{ended}");
    }
}

async fn file(server: &TestServer, id: &str) -> v1::FileReportsResponse {
    patiently("the filing", insist(server, request(id))).await
}

/// What a filing is refused with, once the replica has found out what its journal has.
async fn verdict(server: &TestServer) -> Status {
    patiently("the verdict", async {
        loop {
            let refused = server.filing().file_reports(request("refused")).await.expect_err("nobody takes it");
            // (One that was under way when the servers came back may be in doubt.)
            if !["JOURNAL_UNAVAILABLE", "OUTCOME_UNKNOWN"].contains(&reason(&refused).as_str()) {
                return refused;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// It answers lookups with what it had, says so, and takes nothing.
async fn only_reads(server: &TestServer, id: &str, token: &str) {
    let asked = v1::GetVisitRequest { name: format!("visits/{id}"), ..Default::default() };
    let visit = server.registry().get_visit(asked).await.expect("lookups go on").into_inner();
    assert_eq!(visit.token, token, "it stands where it stood");
    for (service, status) in [
        ("", ServingStatus::NotServing),
        ("attache.v1.FilingService", ServingStatus::NotServing),
        ("attache.v1.RegistryService", ServingStatus::Serving),
        ("attache.v1.FeedService", ServingStatus::Serving),
    ] {
        patiently(&format!("the health of {service:?}"), async {
            while health_of(&server.channel, service).await != status {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    let keep = v1::CommitCursorRequest { name: "reader".into(), position: token.to_owned(), expected_etag: None };
    server.feed().commit_cursor(keep).await.expect_err("nobody else could go on from there");
}

/// A lookup of what was filed elsewhere, which waits for it.
fn filed_before(id: &str, filed: &v1::FileReportsResponse) -> v1::GetVisitRequest {
    let at_least = Some(filed.token.clone());
    v1::GetVisitRequest { name: format!("visits/{id}"), at_least, ..Default::default() }
}

fn nothing_is_aside(folder: &Path) {
    assert!(aside::there(folder).is_empty(), "its store is where it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_the_stream_left_behind_begins_anew_with_a_snapshot_and_keeps_what_it_had() {
    let cluster = Cluster::start(Sync::Always);
    let replicas = Replicas::of(&cluster);
    let (steady, away) = (replicas.start("steady").await, replicas.start("away").await);
    file(&steady, "one").await;
    let before = file(&away, "two").await;
    away.stop().await;
    let kept = replicas.head("away");
    file(&steady, "three").await;
    let snapshots = Snapshots::of(&replicas.settings).await;
    replicas.drop_up_to("steady", &snapshots);
    file(&steady, "four").await;

    // There is no snapshot: what it has is all that it will ever have.
    let looked = jetstream::look(&replicas.settings, kept.position).await;
    assert!(matches!(looked, Err(Trouble::Trimmed(_))), "{looked:?}");
    let away = replicas.start("away").await;
    assert_eq!(reason(&verdict(&away).await), "HISTORY_TRIMMED");
    only_reads(&away, "two", &before.token).await;
    // It puts none itself: there it would be no use to anybody. It ends when there is one of another.
    replicas.put_one_more(&snapshots).await;
    assert_eq!(snapshots.revisions(), [replicas.head("steady").revision]);
    replicas.ends_for_a_snapshot(away).await;
    nothing_is_aside(&replicas.folder("away"));

    let looked = jetstream::look(&replicas.settings, kept.position).await;
    assert!(matches!(looked, Ok(Found::GoneOn { begins_at }) if begins_at > kept.position + 1), "{looked:?}");
    let away = replicas.start("away").await;
    file(&away, "five").await;
    let servers = [steady, away];
    let all = ["five", "four", "one", "three", "two"].map(|id| format!("visits/{id}"));
    assert_eq!(standing(&agree(&servers).await), all, "each once");
    let [steady, away] = servers;
    away.stop().await;
    let put_aside = aside::there(&replicas.folder("away"));
    let [aside] = put_aside.as_slice() else { panic!("{put_aside:?}") };
    assert!(aside.ends_with(format!("attache-behind-{}", kept.revision)), "{}", aside.display());
    assert_eq!(verify::folder(aside).expect("it is sound").head, kept, "as it was");

    // That was once: it goes on with what it has.
    let away = replicas.start("away").await;
    agree(&[steady, away]).await;
    assert_eq!(aside::there(&replicas.folder("away")).len(), 1);
}

/// Has the stream lose the last filing of a replica `lone`, which is stopped, and go on past it on another, `other`; what was
/// lost, that other, and the records that stand there.
async fn diverge(cluster: &mut Cluster, replicas: &Replicas) -> (v1::FileReportsResponse, TestServer, Vec<String>) {
    let lone = replicas.start("lone").await;
    file(&lone, "one").await;
    let copies = tempfile::tempdir().expect("a temporary folder");
    cluster.kill_all();
    cluster.save(copies.path());
    cluster.restart_all();
    let second = file(&lone, "two").await;
    lone.stop().await;
    let kept = replicas.head("lone");
    cluster.kill_all();
    cluster.restore(copies.path());
    cluster.restart_all();
    // The log goes on without what was acknowledged.
    let other = replicas.start("other").await;
    let mut stands = vec!["visits/one".to_owned()];
    while replicas.head("other").position <= kept.position {
        let id = format!("other-{}", stands.len());
        file(&other, &id).await;
        stands.push(format!("visits/{id}"));
    }
    (second, other, stands)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_log_is_another_is_read_whenever_it_starts_and_is_never_replaced() {
    let mut cluster = Cluster::start(Sync::Always);
    let replicas = Replicas::of(&cluster);
    let (second, other, mut stands) = diverge(&mut cluster, &replicas).await;
    let kept = replicas.head("lone");
    stands.push("visits/last".to_owned());
    stands.sort();

    for _ in 0..2 {
        let lone = replicas.start("lone").await;
        let refused = verdict(&lone).await;
        assert_eq!(reason(&refused), "LOG_DIVERGED", "{refused:?}");
        let hashes = refused.message().split_once("ends at hash ").and_then(|(_, rest)| rest.split_once(", expected "));
        assert!(hashes.is_some_and(|(found, expected)| found != expected), "both are told: {}", refused.message());
        only_reads(&lone, "two", &second.token).await;
        lone.stop().await;
    }
    // Both are in its log too, for whoever reads that.
    let log = replicas.folder("log");
    let mut command = serve_on(&replicas.settings, &replicas.folder("lone"));
    let mut lone = Process::start(command.stderr(File::create(&log).expect("a file")));
    until_health_at(&lone.channel(), ServingStatus::NotServing).await;
    lone.kill();
    let said = fs::read_to_string(&log).expect("what it says");
    let mut lines = said.lines().filter(|line| line.contains("filings are refused from now on"));
    let line = lines.next().expect("it says so");
    let (_, hashes) = line.split_once("ends at hash ").expect("the hash that is there");
    let (found, expected) = hashes.split_once(", expected ").expect("the hash that should be");
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_hash(found) && is_hash(&expected[..64]) && found != &expected[..64], "{line}");

    // Nor when what could be compared was dropped: the snapshot says that it is of another log.
    let snapshots = Snapshots::of(&replicas.settings).await;
    replicas.put_one_more(&snapshots).await;
    replicas.drop_up_to("other", &snapshots);
    file(&other, "last").await;
    let lone = replicas.start("lone").await;
    assert_eq!(reason(&verdict(&lone).await), "HISTORY_TRIMMED");
    only_reads(&lone, "two", &second.token).await;
    lone.stop().await;
    assert_eq!(replicas.head("lone"), kept);
    nothing_is_aside(&replicas.folder("lone"));
    assert_eq!(standing(&everything(&other).await), stands, "nothing came from it");
    other.stop().await;
}

/// What `attache doctor` says of a replica's folder and the stream: its exit code, and the lines about the journal.
fn examined(replicas: &Replicas, name: &str) -> (Option<i32>, Vec<String>) {
    let Settings { servers, stream, monitors, .. } = &replicas.settings;
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_attache"));
    doctor.args(["doctor", "--listen", "127.0.0.1:0", "--admin", "none", "--data-dir"]).arg(replicas.folder(name));
    doctor.args(["--journal", &servers.join(","), "--journal-stream", stream]);
    doctor.args(["--journal-monitor", &monitors.join(",")]).stdin(Stdio::null());
    let ended = tokio::task::block_in_place(|| doctor.output()).expect("it runs");
    let said = String::from_utf8(ended.stdout).expect("UTF-8");
    (ended.status.code(), said.lines().filter(|line| line.contains("--journal")).map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_tells_a_store_that_diverged_from_one_that_the_stream_goes_on_from_and_changes_neither() {
    let mut cluster = Cluster::start(Sync::Always);
    let replicas = Replicas::of(&cluster);
    let (_, other, _) = diverge(&mut cluster, &replicas).await;
    let (lone, before) = (replicas.head("lone"), replicas.head("other"));

    let (code, said) = examined(&replicas, "lone");
    assert_eq!(code, Some(1), "{said:?}");
    let faults: Vec<&String> = said.iter().filter(|line| line.starts_with("fault")).collect();
    let [fault] = faults[..] else { panic!("{said:?}") };
    let hashes = fault.split_once("ends at hash ").and_then(|(_, rest)| rest.split_once(", expected "));
    assert!(fault.contains("LOG_DIVERGED") && hashes.is_some(), "{fault}");

    // Beside its server, and without it.
    let sound =
        |said: &[String]| said.iter().any(|line| line.starts_with("ok") && line.contains("is the beginning of"));
    let (code, said) = examined(&replicas, "other");
    assert!(code == Some(0) && sound(&said), "{said:?}");
    other.stop().await;
    let (code, said) = examined(&replicas, "other");
    assert!(code == Some(0) && sound(&said), "{said:?}");
    assert_eq!((replicas.head("lone"), replicas.head("other")), (lone, before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_left_behind_while_it_runs_ends_to_be_started_again_and_begins_anew_then() {
    let cluster = Cluster::start(Sync::Always);
    let (links, replicas) = (Links::to(&cluster), Replicas::of(&cluster));
    let steady = replicas.start("steady").await;
    let first = file(&steady, "one").await;
    // A process, because it is its exit code that a supervisor goes by.
    let start = |settings: &Settings| Process::start(&mut serve_on(settings, &replicas.folder("away")));
    let away = start(&links.settings());
    away.registry().get_visit(filed_before("one", &first)).await.expect("it follows");
    let mut open = Watching::open(away.feed(), from_oldest()).await.expect("it is accepted");
    open.up_to(is_caught_up).await;
    let channel = away.channel();
    until_health_at(&channel, ServingStatus::Serving).await;

    links.all(Links::cut);
    until_health_at(&channel, ServingStatus::NotServing).await;
    file(&steady, "two").await;
    let snapshots = Snapshots::of(&replicas.settings).await;
    replicas.put_one_more(&snapshots).await;
    replicas.drop_up_to("steady", &snapshots);
    let last = file(&steady, "three").await;
    links.all(Links::mend);

    let (frames, error) = open.until_the_end().await;
    assert!(error.is_none(), "{error:?}");
    let goodbye = frames.last().and_then(|frame| frame.frame.as_ref());
    assert!(matches!(goodbye, Some(Frame::GoingAway(_))), "watches are told to go elsewhere: {goodbye:?}");
    let ended = patiently("its end", tokio::task::spawn_blocking(move || away.wait())).await;
    assert_eq!(ended.expect("it does not panic").code(), Some(75));
    nothing_is_aside(&replicas.folder("away"));

    let away = start(&replicas.settings);
    away.registry().get_visit(filed_before("three", &last)).await.expect("it follows again");
    assert_eq!(aside::there(&replicas.folder("away")).len(), 1, "what it had is kept");
    steady.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_left_behind_without_a_snapshot_runs_on_to_be_read_until_there_is_one() {
    let cluster = Cluster::start(Sync::Always);
    let (links, replicas) = (Links::to(&cluster), Replicas::of(&cluster));
    let (steady, away) = (replicas.start("steady").await, replicas.start_by(links.settings(), "away").await);
    let first = file(&steady, "one").await;
    away.registry().get_visit(filed_before("one", &first)).await.expect("it follows");
    until_health(&away, ServingStatus::Serving).await;

    links.all(Links::cut);
    until_health(&away, ServingStatus::NotServing).await;
    file(&steady, "two").await;
    let snapshots = Snapshots::of(&replicas.settings).await;
    replicas.drop_up_to("steady", &snapshots);
    file(&steady, "three").await;
    links.all(Links::mend);
    assert_eq!(reason(&verdict(&away).await), "HISTORY_TRIMMED");
    only_reads(&away, "one", &first.token).await;

    replicas.put_one_more(&snapshots).await;
    replicas.ends_for_a_snapshot(away).await;
    let away = replicas.start("away").await;
    let all = ["one", "three", "two"].map(|id| format!("visits/{id}"));
    assert_eq!(standing(&agree(&[steady, away]).await), all, "each once");
}

/// Its commits are not synced one by one: the stream has synced what they hold.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_loss_of_power_takes_from_a_replicas_store_is_read_from_the_stream_again() {
    let (cluster, disk) = (Cluster::start(Sync::Always), Disk::new());
    let data = disk.folder().join("data");
    let mut replica = Process::start(disk.under(&mut serve_on(&cluster.settings(), &data)));
    until_health_at(&replica.channel(), ServingStatus::Serving).await;
    let mut acknowledged = Vec::new();
    for id in ["five", "four", "one", "three", "two"] {
        patiently("a filing", replica.filing().file_reports(request(id))).await.expect("it is filed");
        acknowledged.push(format!("visits/{id}"));
    }
    replica.kill();
    let left = disk.after_power_loss(&data);
    let kept = snapshot::stands_at(left.path()).map_or(0, |head| head.revision);
    assert!(kept < snapshot::stands_at(&data).expect("a store").revision, "it kept all {kept}: nothing is shown");
    let servers = [replica_at(&cluster, left.path()).await, replica_at(&cluster, &data).await];
    assert_eq!(standing(&agree(&servers).await), acknowledged, "each once");
    let [first, second] = servers;
    first.stop().await;
    second.stop().await;
}
