//! Journals that keep less than a log must be kept as: servers that sync late or do not say, too few copies, streams that drop
//! batches. They are refused, and nothing is made, unless it is asked for.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::stream;
use attache::{
    config::Config,
    journal::{
        Journal as _, Trouble,
        jetstream::{self, JetStream, Settings},
    },
    pb::v1::{self, Durability},
    serve::Parts,
};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::{
    at,
    common::{
        TestServer, config, visit_report,
        watching::{patiently, reason},
    },
    filers::{self, request},
    nats::{Cluster, Sync},
    on, replica, replica_at, stops_filing, timed, until_health,
};

/// Why a journal is refused: at once, or once servers that take longer than a start waits have answered.
async fn refusal(settings: Settings) -> String {
    let journal = match JetStream::open(settings).await {
        Err(Trouble::Lax(why)) => return why,
        Err(other) => panic!("{other:?}"),
        Ok(journal) => journal,
    };
    let following = tokio::spawn(Arc::clone(&journal).run());
    let why = patiently("the refusal", async {
        loop {
            match journal.follow(0, 0) {
                Err(Trouble::Lax(why)) => return why,
                other => assert!(other.is_ok(), "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let why = why.await;
    following.abort();
    why
}

/// Has a stream drop what is older than an hour.
async fn forget(context: &async_nats::jetstream::Context, name: &str) -> Result<(), async_nats::Error> {
    let stream = context.get_stream(name).await?;
    let mut forgetful = stream.cached_info().config.clone();
    forgetful.max_age = Duration::from_secs(3600);
    context.update_stream(forgetful).await?;
    Ok(())
}

/// Whether there is a stream of a name, once servers say.
async fn is_made(context: &async_nats::jetstream::Context, name: &str) -> bool {
    use async_nats::jetstream::{ErrorCode, context::GetStreamErrorKind};

    patiently("an answer about a stream", async {
        loop {
            match context.get_stream(name).await.map_err(|error| error.kind()) {
                Ok(_) => return true,
                Err(GetStreamErrorKind::JetStream(error)) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    return false;
                }
                Err(kind) => eprintln!("no answer yet: {kind}"),
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_lax_journal_that_is_refused_nothing_is_made() {
    let cluster = Cluster::start(Sync::Late);
    let settings = cluster.settings();
    let client = async_nats::connect(settings.servers.clone()).await.expect("it connects");
    let context = async_nats::jetstream::new(client);
    let made = async || {
        // The log, and the cursors beside it.
        is_made(&context, &settings.stream).await || is_made(&context, &format!("KV_{}_CURSORS", settings.stream)).await
    };
    assert!(refusal(settings.clone()).await.contains("syncs every 120s"));
    assert!(!made().await, "servers that sync late");
    assert!(refusal(Settings { monitors: Vec::new(), ..settings.clone() }).await.contains("--journal-monitor"));
    assert!(!made().await, "nobody says whether they sync");
    assert!(refusal(Settings { replicas: 1, ..settings.clone() }).await.contains("1 of 3 copies"));
    assert!(!made().await, "too few copies");
    // One that says nothing yet may say that it syncs: it is waited for.
    let silent = Settings { monitors: vec!["http://127.0.0.1:1".to_owned()], ..settings.clone() };
    let journal = JetStream::open(silent).await.expect("it may come");
    assert!(!made().await, "a server that has not said yet");
    drop(journal);
    // Who asks for it has it.
    let journal = JetStream::open(Settings { accept_lax: true, ..settings.clone() }).await.expect("it is accepted");
    let following = tokio::spawn(journal.run());
    patiently("the stream", async {
        while !made().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    following.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_or_snapshots_that_are_kept_laxer_than_the_log_are_refused_unless_it_is_asked_for() {
    use async_nats::jetstream::{kv, object_store};

    let cluster = Cluster::start(Sync::Always);
    let client = async_nats::connect(cluster.settings().servers).await.expect("it connects");
    let context = async_nats::jetstream::new(client);
    let of = |stream: &str| Settings { stream: stream.to_owned(), ..cluster.settings() };
    let cursors = kv::Config { bucket: "ONE_CURSORS".to_owned(), num_replicas: 1, ..Default::default() };
    context.create_key_value(cursors).await.expect("a bucket");
    let snapshots = object_store::Config { bucket: "TWO_SNAPSHOTS".to_owned(), num_replicas: 1, ..Default::default() };
    context.create_object_store(snapshots).await.expect("a store of objects");
    for (stream, beside) in [("ONE", "KV_ONE_CURSORS"), ("TWO", "OBJ_TWO_SNAPSHOTS")] {
        let why = refusal(of(stream)).await;
        assert!(why.contains(&format!("the stream {beside} has 1 of 3 copies")), "{why}");
        assert!(!is_made(&context, stream).await, "no log is made beside it");
        JetStream::open(Settings { accept_lax: true, ..of(stream) }).await.expect("it is accepted");
        assert!(is_made(&context, stream).await);
        let looked = jetstream::look(&of(stream), 0).await;
        assert!(matches!(&looked, Err(Trouble::Lax(why)) if why.contains(beside)), "doctor says so too: {looked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_needs_a_batch_which_was_taken_out_of_the_stream_stops_and_one_that_has_it_goes_on() {
    let cluster = Cluster::start(Sync::Always);
    // Servers keep to it that nothing is deleted of a stream that was made so.
    let settings = Settings { accept_lax: true, ..cluster.settings() };
    let context = async_nats::jetstream::new(async_nats::connect(settings.servers.clone()).await.expect("it connects"));
    let deletable = stream::Config {
        name: settings.stream.clone(),
        subjects: vec![format!("{}.batches", settings.stream)],
        num_replicas: 3,
        discard: stream::DiscardPolicy::New,
        ..stream::Config::default()
    };
    let stream = context.create_stream(deletable).await.expect("a stream");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lax = async |config: Config| on(settings.clone(), config).await;
    let (behind, ahead) = (lax(at(folder.path())).await, lax(config()).await);
    let one = behind.file(vec![visit_report("one", "s", "KZ", "AZ", "2023-05-01")]).await;
    behind.stop().await;
    for (visit, day) in [("two", "2023-05-02"), ("three", "2023-05-03")] {
        ahead.file(vec![visit_report(visit, "s", "KZ", "AZ", day)]).await;
    }
    let last = stream.get_info().await.expect("what it has").state.last_sequence;
    stream.delete_message(last - 1).await.expect("it is deleted");

    let behind = lax(at(folder.path())).await;
    stops_filing(&behind).await;
    let read = v1::GetVisitRequest { name: "visits/one".into(), ..Default::default() };
    let kept = behind.registry().get_visit(read).await.expect("lookups go on").into_inner();
    assert_eq!(kept.token, one.token, "at the last good place");
    ahead.file(vec![visit_report("four", "s", "KZ", "AZ", "2023-05-04")]).await;
    behind.stop().await;
    ahead.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filings_are_refused_while_a_server_that_was_started_anew_says_that_it_syncs_late() {
    let mut cluster = Cluster::start(Sync::Always);
    let server = replica(&cluster).await;
    let before = patiently("a filing", filers::insist(&server, request("before"))).await;
    // One that is down has said nothing else.
    cluster.kill(2);
    patiently("a filing", filers::insist(&server, request("down"))).await;
    cluster.restart_with(2, Sync::Always, Sync::Late);
    // Until it has been asked again, filings are taken, or refused for what else a server's end brings about.
    let (mut last, mut number) = (before.revision + 1, 0);
    let refused = patiently("a refusal", async {
        loop {
            match timed(&server, request(&format!("late-{number}"))).await {
                Ok(taken) => (last, number) = (taken.revision, number + 1),
                Err(refused) if refused.message().contains("syncs every 120s") => return refused,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await;
    assert_eq!(reason(&refused), "JOURNAL_UNAVAILABLE");
    until_health(&server, ServingStatus::NotServing).await;
    let read = v1::GetVisitRequest { name: "visits/before".into(), ..Default::default() };
    server.registry().get_visit(read).await.expect("lookups go on");
    let cursor = v1::CommitCursorRequest { name: "c".into(), position: before.token, ..Default::default() };
    let refused = server.feed().commit_cursor(cursor.clone()).await.expect_err("it would be kept as badly");
    assert_eq!(reason(&refused), "JOURNAL_UNAVAILABLE", "{refused:?}");
    cluster.kill(2);
    cluster.restart_with(2, Sync::Late, Sync::Always);
    let late = patiently("the filing", filers::insist(&server, request(&format!("late-{number}")))).await;
    assert_eq!(late.revision, last + 1, "what was refused left nothing");
    until_health(&server, ServingStatus::Serving).await;
    server.feed().commit_cursor(cursor).await.expect("it is kept");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lax_journal_is_refused_unless_it_is_asked_for() {
    let cluster = Cluster::start(Sync::Late);
    let settings = cluster.settings();
    let why = refusal(settings.clone()).await;
    assert!(why.contains("syncs every 120s"), "{why}");
    let silent = Settings { monitors: Vec::new(), ..settings.clone() };
    assert!(refusal(silent).await.contains("--journal-monitor"));
    let accepted = Settings { accept_lax: true, ..settings.clone() };
    let config = Config { journal: Some(accepted.clone()), ..config() };
    let server = TestServer::with(config, Parts::default()).await;
    let info = server.log().get_log_info(v1::GetLogInfoRequest {}).await.expect("the log answers").into_inner();
    assert_eq!(info.durability(), Durability::Copied);
    server.stop().await;

    // A stream that drops batches is none, whoever asks.
    let client = async_nats::connect(settings.servers.clone()).await.expect("it connects");
    let context = async_nats::jetstream::new(client);
    // While its servers elect a leader anew, as busy ones do, nobody answers.
    patiently("the change of the stream", async {
        while let Err(error) = forget(&context, &settings.stream).await {
            eprintln!("not changed yet: {error}");
        }
    })
    .await;
    assert!(refusal(accepted).await.contains("by its age"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_follows_while_a_server_does_not_say_whether_it_syncs() {
    let mut cluster = Cluster::start(Sync::Always);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (steady, late) = (replica(&cluster).await, replica_at(&cluster, folder.path()).await);
    steady.file(vec![visit_report("one", "s", "KZ", "AZ", "2023-05-01")]).await;
    late.stop().await;
    cluster.kill(2);
    let late = replica_at(&cluster, folder.path()).await;
    let report = vec![visit_report("two", "s", "KZ", "AZ", "2023-05-02")];
    let request = v1::FileReportsRequest { reports: report, request_id: Some("two".into()), ..Default::default() };
    let at_least = Some(patiently("the second", filers::insist(&steady, request)).await.token);
    let read = v1::GetVisitRequest { name: "visits/two".into(), at_least, ..Default::default() };
    // Until the servers that are left have elected somebody, nobody answers it.
    patiently("what the other filed", async {
        while let Err(status) = late.registry().get_visit(read.clone()).await {
            assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let report = vec![visit_report("three", "s", "KZ", "AZ", "2023-05-03")];
    let request = v1::FileReportsRequest { reports: report, request_id: Some("three".into()), ..Default::default() };
    patiently("the refusal", async {
        loop {
            let refused = late.filing().file_reports(request.clone()).await.expect_err("what is durable is not known");
            assert_eq!(reason(&refused), "JOURNAL_UNAVAILABLE");
            if refused.message().contains("syncs") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    cluster.restart(2);
    let acknowledged = patiently("the third", filers::insist(&late, request)).await;
    assert_eq!(acknowledged.results.len(), 1);
    late.stop().await;
    steady.stop().await;
}
