//! What is erased on replicas: it is in no message and no snapshot any more by the time that its answer says.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use attache::{
    clock::{self, Clock},
    config::Config,
    journal::jetstream::Settings,
    limits::SNAPSHOTS_KEPT,
    pb::v1::{self, as_of, redact_request::What},
    serve::Parts,
    store::verify,
};

use crate::{
    agree, at,
    common::{
        FakeClock, TestServer, visit_report, visit_report_of,
        watching::{patiently, reason},
    },
    nats::{Cluster, Sync},
    replica,
    snapshots::Snapshots,
};

/// A word that stands in nothing else.
const SECRET: &str = "Quxxlebrim";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn has_secret(bytes: &[u8]) -> bool {
    memchr::memmem::find(&bytes.to_ascii_lowercase(), SECRET.to_ascii_lowercase().as_bytes()).is_some()
}

/// The files of a store that have it.
fn files_with_secret(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    files.filter(|path| path.is_file() && has_secret(&fs::read(path).expect("its bytes"))).collect()
}

/// Waits until a replica has what a token says.
async fn applied(server: &TestServer, token: &str) {
    let asked = v1::ListSourcesRequest { at_least: Some(token.to_owned()), ..Default::default() };
    server.registry().list_sources(asked).await.expect("it is applied");
}

/// Replicas on one clock that put a snapshot beside the journal every day.
struct Daily {
    settings: Settings,
    folder: tempfile::TempDir,
    clock: Arc<FakeClock>,
    snapshots: Snapshots,
}

impl Daily {
    async fn on(cluster: &Cluster) -> Self {
        let (settings, folder) = (cluster.settings(), tempfile::tempdir().expect("a temporary folder"));
        let snapshots = Snapshots::of(&settings).await;
        Self { settings, folder, clock: Arc::default(), snapshots }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start(&self, name: &str) -> TestServer {
        let journal = Some(self.settings.clone());
        let config = Config { journal, snapshots: Some(DAY), ..at(&self.at(name)) };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        TestServer::with(config, Parts { clock, ..Parts::default() }).await
    }

    /// A day on which something is filed, and its end: a snapshot has it, and no more are left than are kept.
    async fn passes(&self, day: usize, servers: &[TestServer]) {
        let filed = servers[0].file(vec![visit_report(&format!("day{day}"), "s", "KZ", "AZ", "2023-05-01")]).await;
        // Whoever takes its turn has it, and has written over what it erased before.
        for server in servers {
            applied(server, &filed.token).await;
        }
        self.clock.advance(DAY + Duration::from_secs(1));
        patiently("the next snapshot, and the end of the oldest", async {
            loop {
                let there = self.snapshots.revisions();
                if there.len() <= SNAPSHOTS_KEPT && there.last().is_some_and(|revision| *revision >= filed.revision) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Where the stream begins, and which of its messages have the secret.
    async fn messages_with_secret(&self) -> (u64, Vec<u64>) {
        let client = async_nats::connect(self.settings.servers.clone()).await.expect("it connects");
        let context = async_nats::jetstream::new(client);
        let mut stream = context.get_stream(&self.settings.stream).await.expect("it is there");
        let state = &stream.info().await.expect("it answers").state;
        let (first, last) = (state.first_sequence, state.last_sequence);
        let mut found = Vec::new();
        for sequence in first..=last {
            let message = stream.get_raw_message(sequence).await.expect("it is there");
            if has_secret(&message.payload) {
                found.push(sequence);
            }
        }
        (first, found)
    }

    /// The snapshots that have the secret.
    fn snapshots_with_secret(&self) -> Vec<String> {
        let packed = self.at("fetched");
        let stored = self.snapshots.depot(|depot| depot.list());
        let names = stored.into_iter().map(|stored| stored.name);
        names
            .filter(|name| {
                self.snapshots.depot(|depot| depot.fetch(name, &packed));
                let file = fs::File::open(&packed).expect("it was fetched");
                has_secret(&zstd::stream::decode_all(file).expect("it is packed"))
            })
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_is_in_no_message_snapshot_or_store_by_the_time_that_its_answer_says() {
    let cluster = Cluster::start(Sync::Always);
    let daily = Daily::on(&cluster).await;
    let servers = [daily.start("a").await, daily.start("b").await];
    let titles = vec![v1::Title { text: format!("Visit of {SECRET}"), ..Default::default() }];
    let report = visit_report_of("secret", "leak", v1::Visit { titles, ..Default::default() });
    let filed = servers[0].file(vec![report]).await;
    daily.passes(0, &servers).await;
    let (first, messages) = daily.messages_with_secret().await;
    let newest = *messages.last().expect("the message of its filing");
    assert_eq!((first, daily.snapshots_with_secret().len()), (1, 1), "it is there before");

    let what = Some(What::Report("visits/secret/reports/leak".into()));
    let request = v1::RedactRequest { what, reason: "ordered by a court".into(), dry_run: false };
    // Without snapshots the journal keeps it, which is said as well.
    let without = replica(&cluster).await;
    applied(&without, &filed.token).await;
    let planned = without.log().redact(v1::RedactRequest { dry_run: true, ..request.clone() }).await;
    let planned = planned.expect("a dry run").into_inner();
    assert_eq!((planned.journal_until, planned.journal_keeps), (None, true));
    without.stop().await;

    let done = servers[1].log().redact(request).await.expect("it is erased").into_inner();
    let until = clock::micros(done.journal_until.as_ref().expect("until when it remains"));
    assert!(until > daily.clock.now_us() && !done.journal_keeps, "it remains for now: {done:?}");
    assert_eq!(daily.messages_with_secret().await, (first, messages), "the journal has it yet");
    for day in 1..=SNAPSHOTS_KEPT + 1 {
        daily.passes(day, &servers).await;
    }
    assert!(daily.clock.now_us() >= until, "by then");
    let (begins, left) = daily.messages_with_secret().await;
    assert!(begins > newest, "the stream begins at {begins}, and {newest} had it");
    assert_eq!(left, Vec::<u64>::new());
    assert_eq!(daily.snapshots_with_secret(), Vec::<String>::new());

    let newer = daily.start("c").await;
    let [a, b] = servers;
    let servers = [a, b, newer];
    agree(&servers).await;
    for server in &servers {
        let position = Some(as_of::Position::Token(filed.token.clone()));
        let as_of = Some(v1::AsOf { position });
        let asked = v1::GetVisitRequest { name: "visits/secret".into(), as_of, ..Default::default() };
        let status = server.registry().get_visit(asked).await.expect_err("it is erased");
        assert_eq!(reason(&status), "RECORD_REDACTED");
    }
    for (server, name) in servers.into_iter().zip(["a", "b", "c"]) {
        server.stop().await;
        assert_eq!(files_with_secret(&daily.at(name)), Vec::<PathBuf>::new());
        assert_eq!(verify::folder(&daily.at(name)).expect("it is sound").redacted, done.revisions);
    }
}
