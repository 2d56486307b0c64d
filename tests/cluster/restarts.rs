//! Replicas that start again on a store that the stream does not go on from. One that the stream has left behind begins anew
//! and keeps what it had; one whose log is another is never mended without a word. Both are read meanwhile.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use attache::{
    clock::Clock,
    config::Config,
    journal::{
        Journal as _, Trouble,
        jetstream::{self, Found, Settings},
    },
    pb::v1,
    serve::Parts,
    store::{Head, aside, snapshot, verify},
};
use tempfile::TempDir;
use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::{
    agree, at,
    common::{
        FakeClock, TestServer, visit_report,
        watching::{everything, patiently, reason},
    },
    filers::{insist, standing},
    health_of,
    nats::{Cluster, Sync},
    snapshots::Snapshots,
};

/// Longer than replicas let pass between two snapshots.
const DUE: Duration = Duration::from_secs(3601);

/// Replicas by name, each in a folder of its own, with one clock.
struct Replicas {
    settings: Settings,
    folder: TempDir,
    clock: Arc<FakeClock>,
}

impl Replicas {
    fn of(cluster: &Cluster) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { settings: cluster.settings(), folder, clock: Arc::default() }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start(&self, name: &str) -> TestServer {
        let journal = Some(self.settings.clone());
        let config = Config { journal, snapshots: Some(Duration::from_secs(3600)), ..at(&self.folder(name)) };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        TestServer::with(config, Parts { clock, ..Parts::default() }).await
    }

    fn head(&self, name: &str) -> Head {
        snapshot::stands_at(&self.folder(name)).expect("a store")
    }

    /// Has the stream drop everything that a replica has.
    fn drop_up_to(&self, name: &str, snapshots: &Snapshots) {
        let position = self.head(name).position;
        tokio::task::block_in_place(|| snapshots.0.trim(position)).expect("it is trimmed");
    }

    /// Has a replica that runs put another snapshot beside the stream.
    async fn put_one_more(&self, snapshots: &Snapshots) {
        let there = snapshots.revisions().len();
        self.clock.advance(DUE);
        snapshots.until_there_are(there + 1).await;
    }
}

fn request(id: &str) -> v1::FileReportsRequest {
    let reports = vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")];
    v1::FileReportsRequest { reports, request_id: Some(id.to_owned()), ..Default::default() }
}

async fn file(server: &TestServer, id: &str) -> v1::FileReportsResponse {
    patiently("the filing", insist(server, request(id))).await
}

/// What a filing is refused with, once the replica has found out what its journal has.
async fn verdict(server: &TestServer) -> Status {
    patiently("the verdict", async {
        loop {
            let refused = server.filing().file_reports(request("refused")).await.expect_err("nobody takes it");
            if reason(&refused) != "JOURNAL_UNAVAILABLE" {
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
            while health_of(server, service).await != status {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    let keep = v1::CommitCursorRequest { name: "reader".into(), position: token.to_owned(), expected_etag: None };
    server.feed().commit_cursor(keep).await.expect_err("nobody else could go on from there");
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
    // It puts none itself: there it would be no use to anybody.
    replicas.put_one_more(&snapshots).await;
    assert_eq!(snapshots.revisions(), [replicas.head("steady").revision]);
    away.stop().await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_log_is_another_is_read_whenever_it_starts_and_is_never_replaced() {
    let mut cluster = Cluster::start(Sync::Always);
    let replicas = Replicas::of(&cluster);
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
    let mut stands = vec!["visits/one".to_owned(), "visits/last".to_owned()];
    while replicas.head("other").position <= kept.position {
        let id = format!("other-{}", stands.len());
        file(&other, &id).await;
        stands.push(format!("visits/{id}"));
    }
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
