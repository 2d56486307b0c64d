//! Kill -9 while many filers work and many watchers follow.

use std::collections::{HashMap, HashSet};

use attache::pb::v1::{
    self, BatchGetRecordsRequest, EventType, FileReportsRequest, Filter, ListEventsRequest, RecordKind,
    WatchEventsRequest,
    watch_events_request::{Start, Until},
    watch_events_response::Frame,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::{sync::mpsc, task::JoinSet};
use tonic::transport::Channel;

use crate::{
    process::{self, Process},
    requests::{self, places, reason, verified},
};

const ROUNDS: usize = 50;
const FILERS: usize = 64;
const CHANNELS: usize = 8;
/// The kill comes after fewer acknowledgements of its round than this.
const MAX_ACKNOWLEDGED: usize = 100;
/// How many of a round's filings are tried again after the kill.
const RETRIED: usize = 16;

/// A filing that was acknowledged.
#[derive(Clone)]
struct Filed {
    request: FileReportsRequest,
    revision: u64,
}

/// One who files one request after the other, and files an unanswered one again before anything else.
struct Filer {
    number: usize,
    count: usize,
    unanswered: Option<FileReportsRequest>,
    filed: Vec<Filed>,
}

impl Filer {
    fn next(&mut self) -> FileReportsRequest {
        if let Some(request) = self.unanswered.take() {
            return request;
        }
        self.count += 1;
        requests::agreement(&format!("f{}-{}", self.number, self.count), self.number + self.count * FILERS)
    }

    /// Files until the server is gone; tells each acknowledgement.
    async fn work(mut self, channel: Channel, told: mpsc::Sender<()>) -> Self {
        let mut client = process::filing(channel);
        loop {
            let request = self.next();
            match client.file_reports(request.clone()).await {
                Ok(answer) => {
                    self.filed.push(Filed { request, revision: answer.into_inner().revision });
                    let _ = told.send(()).await;
                }
                Err(status) => {
                    assert_eq!(reason(&status), None, "{status:?}");
                    self.unanswered = Some(request);
                    return self;
                }
            }
        }
    }
}

/// One who follows, and resumes with the last token.
struct Watcher {
    request: WatchEventsRequest,
    token: Option<String>,
    seen: Vec<(u64, u32, String)>,
}

impl Watcher {
    fn new(request: WatchEventsRequest) -> Self {
        Self { request, token: None, seen: Vec::new() }
    }

    /// Follows until the stream ends or breaks.
    async fn follow(mut self, channel: Channel, until: Option<Until>) -> Self {
        let start = self.token.clone().map_or(Start::Oldest(()), Start::After);
        let request = WatchEventsRequest { start: Some(start), until, ..self.request.clone() };
        let mut stream = match process::feed(channel).watch_events(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => {
                assert_eq!(reason(&status), None, "a token that was given is taken: {status:?}");
                return self;
            }
        };
        loop {
            match stream.message().await {
                Ok(Some(frame)) => {
                    if let Some(Frame::Batch(batch)) = &frame.frame {
                        self.see(&batch.events);
                    }
                    self.token = Some(frame.token);
                }
                Ok(None) => return self,
                Err(status) => {
                    assert_eq!(reason(&status), None, "{status:?}");
                    return self;
                }
            }
        }
    }

    fn see(&mut self, events: &[v1::Event]) {
        for place in places(events) {
            if let Some(last) = self.seen.last() {
                assert!((last.0, last.1) < (place.0, place.1), "{place:?} after {last:?}");
            }
            self.seen.push(place);
        }
    }
}

fn watchers() -> Vec<Watcher> {
    let small = WatchEventsRequest { max_batch_events: 1, ..Default::default() };
    let signings = WatchEventsRequest { event_types: vec![EventType::AgreementSigned.into()], ..Default::default() };
    let filter = Filter { kinds: vec![RecordKind::Visit.into()], ..Default::default() };
    let nothing = WatchEventsRequest { filters: vec![filter], ..Default::default() };
    [WatchEventsRequest::default(), small, signings, nothing].map(Watcher::new).into()
}

struct Trial {
    folder: tempfile::TempDir,
    filers: Vec<Filer>,
    watchers: Vec<Watcher>,
    random: StdRng,
    /// Filings that were counted as kept in an earlier round, of each filer.
    checked: HashMap<usize, usize>,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let filer = |number| Filer { number, count: 0, unanswered: None, filed: Vec::new() };
        Self {
            folder: tempfile::tempdir().unwrap(),
            filers: (0..FILERS).map(filer).collect(),
            watchers: watchers(),
            random: StdRng::seed_from_u64(seed),
            checked: HashMap::new(),
        }
    }

    async fn round(&mut self) {
        let mut server = Process::at(self.folder.path());
        self.kept(&server).await;
        let channels: Vec<Channel> = (0..CHANNELS).map(|_| server.channel()).collect();
        let (told, mut acknowledged) = mpsc::channel(FILERS);
        let mut filing = JoinSet::new();
        for filer in self.filers.drain(..) {
            let channel = channels[filer.number % CHANNELS].clone();
            filing.spawn(filer.work(channel, told.clone()));
        }
        let mut following = JoinSet::new();
        for watcher in self.watchers.drain(..) {
            following.spawn(watcher.follow(server.channel(), None));
        }
        drop(told);
        for _ in 0..self.random.random_range(0..MAX_ACKNOWLEDGED) {
            acknowledged.recv().await.expect("filers go on while the server does");
        }
        // At once, on this thread: nothing may be answered between the decision and the kill.
        server.kill();
        acknowledged.close();
        self.filers = filing.join_all().await;
        self.watchers = following.join_all().await;
    }

    /// What the round before acknowledged is there, and is answered as it was when it is filed again.
    async fn kept(&mut self, server: &Process) {
        let mut fresh: Vec<Filed> = Vec::new();
        for filer in &self.filers {
            let checked = self.checked.insert(filer.number, filer.filed.len()).unwrap_or(0);
            fresh.extend_from_slice(&filer.filed[checked..]);
        }
        let names = fresh.iter().flat_map(|f| requests::records(&f.request)).collect();
        let request = BatchGetRecordsRequest { names, ..Default::default() };
        if !request.names.is_empty() {
            let found = server.registry().batch_get_records(request).await.expect("lookups work").into_inner();
            assert_eq!(found.missing, Vec::<String>::new(), "acknowledged, and not there");
        }
        let mut client = server.filing();
        for filed in fresh.choose_multiple(&mut self.random, RETRIED) {
            let again = client.file_reports(filed.request.clone()).await.expect("a retry is safe").into_inner();
            assert_eq!(again.revision, filed.revision, "{:?}", filed.request.request_id);
        }
    }

    /// Everything that was begun is acknowledged, every watcher has caught up, and all is compared with the log.
    async fn conclude(mut self) {
        let server = Process::at(self.folder.path());
        self.kept(&server).await;
        let mut client = server.filing();
        for filer in &mut self.filers {
            if let Some(request) = filer.unanswered.take() {
                let revision = client.file_reports(request.clone()).await.expect("it is taken").into_inner().revision;
                filer.filed.push(Filed { request, revision });
            }
        }
        let events = list(&server, ListEventsRequest::default()).await;
        self.each_once(&events);
        for watcher in self.watchers {
            let WatchEventsRequest { filters, event_types, .. } = watcher.request.clone();
            let listed = list(&server, ListEventsRequest { filters, event_types, ..Default::default() }).await;
            let watcher = watcher.follow(server.channel(), Some(Until::CaughtUp(()))).await;
            assert_eq!(watcher.seen, places(&listed));
        }
        server.terminate();
        assert!(tokio::task::spawn_blocking(|| server.wait()).await.unwrap().success());
        let verified = verified(self.folder.path());
        assert_eq!(Some(verified.entries), events.last().map(|e| e.revision), "no entry is without its events here");
    }

    /// Each filing is in the log, at the revision that was answered, and only once; and nothing else is.
    fn each_once(&self, events: &[v1::Event]) {
        let mut recorded: HashMap<&str, u64> = HashMap::new();
        for event in events.iter().filter(|e| e.r#type() == EventType::Recorded) {
            assert_eq!(recorded.insert(&event.subject, event.revision), None, "{} is there twice", event.subject);
        }
        let mut revisions = HashSet::new();
        for filed in self.filers.iter().flat_map(|f| &f.filed) {
            assert!(revisions.insert(filed.revision), "revision {} was answered twice", filed.revision);
            for name in requests::records(&filed.request) {
                assert_eq!(recorded.remove(name.as_str()), Some(filed.revision), "{name}");
            }
        }
        assert_eq!(recorded, HashMap::new(), "nobody filed these");
    }
}

async fn list(server: &Process, mut request: ListEventsRequest) -> Vec<v1::Event> {
    let mut client = server.feed();
    let mut events = Vec::new();
    request.page_size = 1000;
    loop {
        let page = client.list_events(request.clone()).await.expect("events can be listed").into_inner();
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            return events;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_no_acknowledged_filing_repeats_none_and_watchers_resume_with_every_event_once() {
    let seed = std::env::var("ATTACHE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("ATTACHE_SEED={seed}");
    let mut trial = Trial::new(seed);
    for _ in 0..ROUNDS {
        trial.round().await;
    }
    trial.conclude().await;
}
