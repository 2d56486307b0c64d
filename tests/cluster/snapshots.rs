//! What a new replica begins with.

use std::{path::PathBuf, sync::Arc, time::Duration};

use attache::{
    clock::Clock,
    config::Config,
    domain::error::Reason,
    journal::{
        Depot, Journal as _, Trouble,
        jetstream::{JetStream, Settings},
    },
    pb::v1::{self, trim_log_request},
    serve::Parts,
    store::snapshot,
};

use tempfile::TempDir;

use crate::{
    agree, at,
    common::{
        FakeClock, TestServer, config,
        scribe::{file_at_once, told},
        watching::{Watching, after, bare, patiently, read, reason},
    },
    filers::{insist, request, standing},
    nats::{self, Cluster, Sync},
};

/// Replicas by name, each in a folder of its own, with one clock.
pub struct Replicas {
    pub settings: Settings,
    pub clock: Arc<FakeClock>,
    folder: TempDir,
    /// How often they make snapshots.
    every: Duration,
}

impl Replicas {
    /// Ones that make a snapshot each hour.
    pub fn of(cluster: &Cluster) -> Self {
        Self::that_make_one_each(cluster, Duration::from_secs(3600))
    }

    fn that_make_one_each(cluster: &Cluster, every: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { settings: cluster.settings(), clock: Arc::default(), folder, every }
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub async fn start(&self, name: &str) -> TestServer {
        self.start_by(self.settings.clone(), name).await
    }

    /// One that finds the stream's servers elsewhere.
    pub async fn start_by(&self, settings: Settings, name: &str) -> TestServer {
        let config = Config { journal: Some(settings), snapshots: Some(self.every), ..at(&self.folder(name)) };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        TestServer::with(config, Parts { clock, ..Parts::default() }).await
    }
}

/// What the depot beside the journal has, asked off the async threads.
pub struct Snapshots(pub Arc<JetStream>);

impl Snapshots {
    pub async fn of(settings: &Settings) -> Self {
        Self(JetStream::open(settings.clone()).await.expect("it opens"))
    }

    pub fn depot<T>(&self, ask: impl FnOnce(&dyn Depot) -> Result<T, Trouble>) -> T {
        let depot = Arc::clone(&self.0).depot().expect("there is one");
        tokio::task::block_in_place(|| ask(&*depot)).expect("it answers")
    }

    /// Their revisions.
    pub fn revisions(&self) -> Vec<u64> {
        let stored = self.depot(|depot| depot.list());
        stored.iter().map(|stored| stored.name.parse().expect("a revision")).collect()
    }

    pub async fn until_there_are(&self, count: usize) -> Vec<u64> {
        patiently("a snapshot", async {
            loop {
                match self.revisions() {
                    revisions if revisions.len() >= count => return revisions,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_begins_with_the_newest_snapshot_that_the_log_goes_on_from() {
    let cluster = Cluster::start(Sync::Always);
    let replicas = Replicas::of(&cluster);
    let (a, b) = (replicas.start("a").await, replicas.start("b").await);
    let early = file_at_once(&[&a, &b], "early", 4, 5).await;
    let snapshots = Snapshots::of(&replicas.settings).await;
    assert_eq!(snapshots.revisions(), [0; 0], "none is due yet");
    replicas.clock.advance(Duration::from_secs(3601));
    let last = early.last().expect("something was filed").revision;
    assert_eq!(snapshots.until_there_are(1).await, [last]);
    let position = snapshot::stands_at(&replicas.folder("a")).expect("a store").position;
    let late = file_at_once(&[&a, &b], "late", 2, 5).await;

    // One that is none is in the way, and what the log says before the good one is gone.
    let foreign = replicas.folder("foreign");
    std::fs::write(&foreign, b"no snapshot at all").expect("a file is written");
    snapshots.depot(|depot| depot.put("99999999999999999999", &foreign));
    tokio::task::block_in_place(|| snapshots.0.trim(position)).expect("it is trimmed");
    let c = replicas.start("c").await;
    let events = agree(&[a, b, c]).await;
    assert_eq!(events.iter().map(bare).collect::<Vec<_>>(), told(&[early, late].concat()));
    assert!(!replicas.folder("c").join("snapshot").exists(), "nothing is left behind");

    // Without any, it cannot begin, and says so.
    for name in snapshots.depot(|depot| depot.list()) {
        snapshots.depot(|depot| depot.remove(&name.name));
    }
    let config = Config { journal: Some(replicas.settings.clone()), ..config() };
    let Err(refused) = attache::serve::build(&config, Parts::default()).await else { panic!("it began") };
    assert_eq!(refused.reason, Reason::HistoryTrimmed, "{refused}");
}

/// A snapshot that is sound in itself, of the very epoch: of what the stream had before it was restored from an older copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_does_not_begin_with_a_sound_snapshot_of_another_history() {
    let mut cluster = Cluster::start(Sync::Always);
    let replicas = Replicas::of(&cluster);
    let lost = replicas.start("lost").await;
    patiently("a filing", insist(&lost, request("kept"))).await;
    let copies = tempfile::tempdir().expect("a temporary folder");
    cluster.kill_all();
    cluster.save(copies.path());
    cluster.restart_all();
    let filed = patiently("a filing", insist(&lost, request("lost"))).await;
    replicas.clock.advance(Duration::from_secs(3601));
    let snapshots = Snapshots::of(&replicas.settings).await;
    assert_eq!(snapshots.until_there_are(1).await, [filed.revision]);
    let (name, file) = (format!("{:020}", filed.revision), replicas.folder("file"));
    snapshots.depot(|depot| depot.fetch(&name, &file));
    lost.stop().await;
    drop(snapshots);
    cluster.kill_all();
    cluster.restore(copies.path());
    cluster.restart_all();

    // The log goes on to the same length, and past it.
    let other = replicas.start("other").await;
    for id in ["another", "last"] {
        patiently("a filing", insist(&other, request(id))).await;
    }
    let snapshots = Snapshots::of(&replicas.settings).await;
    snapshots.depot(|depot| depot.put(&name, &file));
    assert_eq!(snapshots.revisions(), [filed.revision], "there is no other");
    let newer = replicas.start("newer").await;
    let events = agree(&[other, newer]).await;
    let stands = ["another", "kept", "last"].map(|id| format!("visits/{id}"));
    assert_eq!(standing(&events), stands);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trim_holds_on_every_replica_and_the_stream_keeps_what_the_second_newest_snapshot_needs() {
    let cluster = Cluster::start(Sync::Always);
    let replicas = Replicas::that_make_one_each(&cluster, Duration::from_secs(24 * 3600));
    let servers = [replicas.start("a").await, replicas.start("b").await];
    let snapshots = Snapshots::of(&replicas.settings).await;
    let mut kept = Vec::new();
    for day in 1..=4 {
        file_at_once(&servers.each_ref(), &format!("day{day}"), 2, 4).await;
        kept.push(servers[0].token().await);
        // Whoever takes its turn has all of the day.
        for server in &servers {
            let at_least = kept.last().cloned();
            let asked = v1::ListSourcesRequest { at_least, ..Default::default() };
            server.registry().list_sources(asked).await.expect("it is applied");
        }
        replicas.clock.advance(Duration::from_secs(24 * 3600 + 1));
        // Of each the newest three are kept.
        let newest = read(&kept[day - 1]).revision;
        patiently("the next snapshot, and the end of the fourth", async {
            loop {
                let there = snapshots.revisions();
                if there.len() <= 3 && there.last().is_some_and(|revision| *revision >= newest) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    let revisions = snapshots.revisions();
    let first = async || nats::state_of(&replicas.settings).await.first_sequence;
    assert_eq!(first().await, 1, "nothing goes before it is trimmed");

    let keep = trim_log_request::Keep::AfterToken(kept[1].clone());
    let request = v1::TrimLogRequest { keep: Some(keep), dry_run: false };
    let trimmed = servers[0].log().trim_log(request).await.expect("it is trimmed").into_inner();
    assert_eq!(trimmed.oldest_token, kept[1]);
    for server in &servers {
        let at_least = Some(trimmed.token.clone());
        let asked = v1::ListSourcesRequest { at_least, ..Default::default() };
        server.registry().list_sources(asked).await.expect("it is applied");
        let info = server.log().get_log_info(v1::GetLogInfoRequest {}).await.expect("it answers").into_inner();
        assert_eq!(info.oldest_token, kept[1], "on every replica");
        let refused = Watching::open(server.feed(), after(&kept[0])).await.err().expect("it is gone");
        assert_eq!(reason(&refused), "HISTORY_TRIMMED");
    }
    let begins = patiently("the purge", async {
        loop {
            match first().await {
                1 => tokio::time::sleep(Duration::from_millis(20)).await,
                first => return first,
            }
        }
    })
    .await;
    let floor = read(&kept[1]).revision;
    let needed = floor.min(revisions[revisions.len() - 2]);
    let oldest = tokio::task::block_in_place(|| snapshots.0.batch(begins)).expect("it answers").expect("it is there");
    let (_, last, _) = attache::writer::batch_end(&oldest, begins).expect("a batch");
    assert!(last > needed, "the first batch that is left follows what is not needed");
    let newer = replicas.start("c").await;
    let [a, b] = servers;
    agree(&[a, b, newer]).await;
}
