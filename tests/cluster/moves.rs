//! From one server to many and back, and a stream that is built anew.

use std::{path::Path, sync::Arc, time::Duration};

use attache::{
    clock::Clock,
    config::Config,
    domain::error::{Error, Result},
    journal::{Journal as _, jetstream::JetStream},
    moves::{self, Move, Moved},
    pb::v1::{self, trim_log_request::Keep},
    serve::{self, Parts},
    store::{self, Options, snapshot, trim, verify},
};

use crate::{
    agree, at,
    common::{
        FakeClock, TestServer, config,
        scribe::file_at_once,
        visit_report,
        watching::{Watching, after, everything, from_oldest, patiently, read, reason, until_caught_up},
    },
    nats::{Cluster, STREAM, Sync},
    replica, replica_at, stops_filing,
};

async fn embedded(folder: &Path) -> TestServer {
    TestServer::with(at(folder), Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }).await
}

async fn moving(what: Move, cluster: &Cluster, folder: &Path) -> Result<Moved> {
    patiently("the move", moves::run(what, cluster.settings(), folder, Box::new(|_| {}))).await
}

/// Why a server does not start.
async fn refusal(config: Config) -> Error {
    match serve::build(&config, Parts::default()).await {
        Err(error) => error,
        Ok(_) => panic!("it was started"),
    }
}

async fn delete_stream(cluster: &Cluster) {
    let client = async_nats::connect(cluster.settings().servers).await.expect("it connects");
    async_nats::jetstream::new(client).delete_stream(STREAM).await.expect("it is deleted");
}

async fn cursor(server: &TestServer) -> std::result::Result<v1::Cursor, tonic::Status> {
    let asked = v1::GetCursorRequest { name: "reader".into() };
    server.feed().get_cursor(asked).await.map(|answer| answer.into_inner().cursor.expect("a cursor"))
}

/// Files what stands for one more change.
async fn one_more(server: &TestServer, id: &str) -> v1::FileReportsResponse {
    server.file(vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_moves_onto_a_stream_and_back_with_every_token_and_cursor() {
    let cluster = Cluster::start(Sync::Always);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let alone = embedded(&first).await;
    let acked = file_at_once(&[&alone], "any", 4, 10).await;
    let amid = acked[acked.len() / 2].token.clone();
    let keep = v1::CommitCursorRequest { name: "reader".into(), position: amid.clone(), expected_etag: None };
    alone.feed().commit_cursor(keep).await.expect("it is kept");
    let (before, kept) = (everything(&alone).await, cursor(&alone).await.expect("it is kept"));
    alone.stop().await;

    let moved = moving(Move::ToStream, &cluster, &first).await.expect("it moves");
    assert_eq!(moved.head.revision, acked.last().expect("something was filed").revision);
    assert!(refusal(at(&first)).await.message.contains("moved to the stream TEST"));
    let again = moving(Move::ToStream, &cluster, &first).await.expect("it is there already");
    assert_eq!(again.head, moved.head, "once is enough");
    let (a, b) = (replica_at(&cluster, &second).await, replica(&cluster).await);
    one_more(&b, "more").await;
    let shared = [a, b];
    let events = agree(&shared).await;
    assert_eq!(events[..before.len()], before, "the past is as it was");
    assert_eq!(cursor(&shared[1]).await.expect("it came along"), kept);
    let after_amid = shared[1].replay(until_caught_up(after(&amid))).await;
    assert_eq!(after_amid, events[events.len() - after_amid.len()..], "a consumer goes on with its token");
    let [a, b] = shared;
    a.stop().await;

    one_more(&b, "late").await;
    let back = moving(Move::ToEmbedded, &cluster, &second).await.expect("it moves back");
    let reports = vec![visit_report("too-late", "s", "KZ", "AZ", "2023-05-02")];
    let request = v1::FileReportsRequest { reports, ..Default::default() };
    let refused = patiently("a refusal", b.filing().file_reports(request)).await.expect_err("the stream is sealed");
    assert!(refused.message().contains("was sealed: its log goes on elsewhere"), "{refused:?}");
    let with_late = everything(&b).await;
    b.stop().await;
    assert_eq!(verify::folder(&second).expect("it is sound").head, back.head);
    let alone = embedded(&second).await;
    assert_eq!(everything(&alone).await, with_late);
    assert_eq!(cursor(&alone).await.expect("it came along"), kept);
    let next = one_more(&alone, "alone").await;
    assert_eq!(next.revision, back.head.revision + 1);
    alone.stop().await;
    let onto_sealed = Config { journal: Some(cluster.settings()), ..at(&folder.path().join("new")) };
    assert!(refusal(onto_sealed).await.message.contains("sealed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trimmed_log_moves_onto_a_stream_and_back_and_is_sound_everywhere() {
    let cluster = Cluster::start(Sync::Always);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let clock = Arc::new(FakeClock::default());
    let start = async |config: Config| {
        let clock: Arc<dyn Clock> = Arc::clone(&clock) as _;
        TestServer::with(config, Parts { clock, ..Parts::default() }).await
    };
    let alone = start(at(&first)).await;
    file_at_once(&[&alone], "old", 2, 10).await;
    let oldest = alone.token().await;
    clock.advance(Duration::from_secs(72 * 3600));
    one_more(&alone, "young").await;
    let request = v1::TrimLogRequest { keep: Some(Keep::AfterToken(oldest.clone())), dry_run: false };
    alone.log().trim_log(request).await.expect("it is trimmed");
    let kept = everything(&alone).await;
    alone.stop().await;
    let (readers, write) = store::open(&first, &Options::default()).expect("the store opens");
    let floor = write.head().floor;
    assert!(trim::sweep(&write.connection, floor, 4).expect("it sweeps"), "some of it is there yet");
    drop((readers, write));
    let sound = |folder: &Path| verify::folder(folder).expect("it is sound").head;
    assert_eq!(floor, read(&oldest).revision);

    let moved = moving(Move::ToStream, &cluster, &first).await.expect("it moves");
    assert_eq!((moved.head.floor, moved.head.revision), (floor, sound(&first).revision));
    let on_stream = |config: Config| Config { journal: Some(cluster.settings()), ..config };
    let shared = [start(on_stream(at(&second))).await, start(on_stream(config())).await];
    one_more(&shared[1], "shared").await;
    assert_eq!(agree(&shared).await[..kept.len()], kept, "what is kept is as it was");
    for replica in &shared {
        let info = replica.log().get_log_info(v1::GetLogInfoRequest {}).await.expect("it answers").into_inner();
        assert_eq!(info.oldest_token, oldest, "and begins where it began");
    }
    for replica in shared {
        replica.stop().await;
    }
    assert_eq!(sound(&second).floor, floor);

    let back = moving(Move::ToEmbedded, &cluster, &second).await.expect("it moves back");
    assert_eq!(sound(&second), back.head);
    let alone = start(at(&second)).await;
    one_more(&alone, "alone").await;
    assert_eq!(everything(&alone).await[..kept.len()], kept);
    alone.stop().await;
    let end = sound(&second);
    assert!(end.floor == floor && end.revision > back.head.revision, "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_does_not_move_onto_a_stream_that_has_another() {
    let cluster = Cluster::start(Sync::Always);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let alone = embedded(folder.path()).await;
    one_more(&alone, "one").await;
    alone.stop().await;
    let other = replica(&cluster).await;
    one_more(&other, "other").await;
    let before = everything(&other).await;
    let error = moving(Move::ToStream, &cluster, folder.path()).await.expect_err("it is taken");
    assert!(error.message.contains("the stream has another log"), "{error}");
    let alone = embedded(folder.path()).await;
    one_more(&alone, "two").await;
    assert_eq!(everything(&other).await, before, "nothing came to the other");
    alone.stop().await;
    other.stop().await;
}

/// Leaves an entry that is not the newest with bytes that its header does not name.
fn damage(folder: &Path) {
    let file = rusqlite::Connection::open(folder.join(store::FILE)).expect("it opens");
    let sql = "UPDATE entries SET payload = zeroblob(length(payload)) WHERE revision = 1";
    assert_eq!(file.execute(sql, []).expect("it is damaged"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_moved_nowhere_and_the_stream_stays_as_it_was() {
    let cluster = Cluster::start(Sync::Always);
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let [own, replicas] = folders.each_ref().map(tempfile::TempDir::path);
    for server in [embedded(own).await, replica_at(&cluster, replicas).await] {
        one_more(&server, "one").await;
        one_more(&server, "two").await;
        server.stop().await;
    }
    damage(own);
    damage(replicas);
    let refused = async |what, folder| {
        let error = moving(what, &cluster, folder).await.expect_err("it is damaged");
        assert!(error.message.contains("entry 1"), "{what:?}: {error}");
    };
    // Not sealed either: another replica files on it.
    refused(Move::ToEmbedded, replicas).await;
    let other = replica(&cluster).await;
    one_more(&other, "three").await;
    other.stop().await;
    delete_stream(&cluster).await;
    refused(Move::Reseed, replicas).await;
    refused(Move::ToStream, own).await;
    let made = patiently("the stream", JetStream::open(cluster.settings())).await.expect("it is empty");
    assert_eq!(tokio::task::block_in_place(|| made.head()).expect("it answers"), Some(0), "nothing was appended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_lost_is_built_anew_from_a_replica_and_old_tokens_are_refused() {
    let cluster = Cluster::start(Sync::Always);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kept = folder.path().join("kept");
    let (a, b) = (replica_at(&cluster, &kept).await, replica(&cluster).await);
    file_at_once(&[&a, &b], "any", 4, 10).await;
    let servers = [a, b];
    let before = agree(&servers).await;
    let old = servers[0].token().await;
    let commit = async |server: &TestServer, position: String| {
        let request = v1::CommitCursorRequest { name: "reader".into(), position, expected_etag: None };
        server.feed().commit_cursor(request).await.map(drop)
    };
    commit(&servers[0], old.clone()).await.expect("it is kept");
    // A snapshot of the log that is lost, and of the very revision, is in the way.
    let journal = JetStream::open(cluster.settings()).await.expect("it opens");
    let depot = Arc::clone(&journal).depot().expect("there is one");
    let foreign = folder.path().join("foreign");
    std::fs::write(&foreign, b"of the log that is lost").expect("a file is written");
    let name = format!("{:020}", read(&old).revision);
    tokio::task::block_in_place(|| depot.put(&name, &foreign)).expect("it is put");
    for server in servers {
        server.stop().await;
    }
    let error = moving(Move::Reseed, &cluster, &kept).await.expect_err("nothing is lost");
    assert!(error.message.contains("still has this log"), "{error}");
    delete_stream(&cluster).await;
    moving(Move::Reseed, &cluster, &kept).await.expect("it is built anew");

    let servers = [replica_at(&cluster, &kept).await, replica(&cluster).await];
    one_more(&servers[1], "more").await;
    assert_eq!(agree(&servers).await[..before.len()], before, "what was acknowledged stands");
    // The cursor was that of the other log: the consumer goes on from any position of this one.
    let first = servers[0].watch(from_oldest()).await.frame().await.token;
    commit(&servers[1], first).await.expect("it is kept");
    for server in &servers {
        let refused = Watching::open(server.feed(), after(&old)).await.err().expect("it is of the log that was lost");
        assert_eq!(reason(&refused), "LOG_REPLACED");
    }
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_built_anew_from_the_most_advanced_replica_has_all_and_one_that_was_behind_cannot_take_its_place() {
    let cluster = Cluster::start(Sync::Always);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ahead, behind) = (folder.path().join("ahead"), folder.path().join("behind"));
    let (a, b) = (replica_at(&cluster, &ahead).await, replica_at(&cluster, &behind).await);
    file_at_once(&[&a, &b], "both", 2, 5).await;
    b.stop().await;
    let last = one_more(&a, "last").await;
    let all = everything(&a).await;
    a.stop().await;
    let stands = |folder: &Path| snapshot::stands_at(folder).expect("a store").revision;
    assert!(stands(&behind) < stands(&ahead), "they are unequal");
    delete_stream(&cluster).await;

    let moved = moving(Move::Reseed, &cluster, &ahead).await.expect("it is built anew");
    assert_eq!(moved.head.revision, last.revision);
    let late = moving(Move::Reseed, &cluster, &behind).await.expect_err("the stream is built already");
    assert!(late.message.contains("the stream has another log"), "{late}");
    // Its own store is of the log that was lost: it is read, and files nothing.
    let old = replica_at(&cluster, &behind).await;
    stops_filing(&old).await;
    old.stop().await;
    // With an empty folder it begins with what the other had.
    let servers = [replica_at(&cluster, &ahead).await, replica(&cluster).await];
    one_more(&servers[1], "more").await;
    assert_eq!(agree(&servers).await[..all.len()], all, "what was acknowledged stands");
    for server in servers {
        server.stop().await;
    }
}
