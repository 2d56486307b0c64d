//! A week of faults in less than a minute: servers, links and replicas fail and come back at random. Filers insist from
//! replica to replica, watchers go on elsewhere with what they have. In the end everything acknowledged stands once,
//! all replicas tell one history, and everybody was told exactly it.
//!
//! `ATTACHE_SEED` repeats the faults of a run, `ATTACHE_WEEK_SECONDS` makes it longer. Replicas are processes, because
//! only those can be killed; so their clock is this machine's, and what the clock itself files is tried elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use attache::{
    domain::token::Phase,
    pb::v1::{
        self, EventType, WatchEventsRequest, WatchEventsResponse, record::Kind,
        registry_service_client::RegistryServiceClient, watch_events_request::Start, watch_events_response::Frame,
    },
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use tonic::{Status, transport::Channel};

use crate::{
    common::{
        ask, visit_report,
        watching::{
            Watching, after, bare, batch, covers, events, filtered, from_oldest, from_snapshot, guests, is_caught_up,
            is_snapshot, lively, patiently, read, taciturn, until_caught_up,
        },
    },
    links::Links,
    nats::{Cluster, Sync},
    process::{self, Process},
    serve_on,
};

const SERVERS: usize = 3;
const REPLICAS: usize = 3;
const FILERS: usize = 5;
/// How long faults go on, in seconds, if nobody says.
const SECONDS: u64 = 45;
/// Time between two faults, in milliseconds.
const PAUSE: std::ops::Range<u64> = 100..1200;
/// Faults at the same time.
const MAX_FAULTS: usize = 4;
/// Filings before the first fault.
const BEFORE: usize = 30;
/// How often what a watcher kept is compared with a list.
const COMPARISONS: usize = 4;
/// The consumer's cursor.
const CURSOR: &str = "week";

const HOSTS: [&str; 3] = ["AZ", "GE", "TR"];
const GUESTS: [&str; 3] = ["KZ", "TJ", "UZ"];

// ---- faults ----

/// What goes wrong, until it is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A server, by SIGKILL.
    ServerKilled(usize),
    /// A server, by SIGSTOP.
    ServerPaused(usize),
    /// A replica, by SIGKILL.
    ReplicaKilled(usize),
    /// A replica, by SIGTERM.
    ReplicaStopped(usize),
    /// The link of a replica to a server.
    LinkFailed(usize, usize, Failure),
    /// All links of a replica.
    CutOff(usize, Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Cut,
    Frozen,
    Deaf,
}

impl Failure {
    fn of(self) -> fn(&Links, usize) {
        match self {
            Self::Cut => Links::cut,
            Self::Frozen => Links::freeze,
            Self::Deaf => Links::deafen,
        }
    }
}

impl Fault {
    fn any(rng: &mut StdRng) -> Self {
        let (replica, server) = (rng.random_range(0..REPLICAS), rng.random_range(0..SERVERS));
        let failure = [Failure::Cut, Failure::Frozen, Failure::Deaf][rng.random_range(0..3)];
        match rng.random_range(0..10) {
            0 | 1 => Self::ServerKilled(server),
            2 => Self::ServerPaused(server),
            3 => Self::ReplicaKilled(replica),
            4 => Self::ReplicaStopped(replica),
            5 | 6 => Self::LinkFailed(replica, server, failure),
            _ => Self::CutOff(replica, failure),
        }
    }

    /// Whether the two are about the same thing: who puts one right would put the other right too, or fail to.
    fn meets(self, other: Self) -> bool {
        use Fault::{CutOff, LinkFailed, ReplicaKilled, ReplicaStopped, ServerKilled, ServerPaused};
        match (self, other) {
            (ServerKilled(a) | ServerPaused(a), ServerKilled(b) | ServerPaused(b))
            | (ReplicaKilled(a) | ReplicaStopped(a), ReplicaKilled(b) | ReplicaStopped(b)) => a == b,
            (LinkFailed(a, from_a, _), LinkFailed(b, from_b, _)) => (a, from_a) == (b, from_b),
            (LinkFailed(a, ..) | CutOff(a, _), LinkFailed(b, ..) | CutOff(b, _)) => a == b,
            _ => false,
        }
    }
}

/// Where the replicas are; one that is started again is elsewhere.
#[derive(Clone)]
struct Doors(Arc<[Mutex<Channel>]>);

impl Doors {
    fn of(&self, replica: usize) -> Channel {
        self.0[replica].lock().expect("nobody panics with it").clone()
    }

    fn any(&self, rng: &mut StdRng) -> Channel {
        self.of(rng.random_range(0..REPLICAS))
    }

    fn moved(&self, replica: usize, channel: Channel) {
        *self.0[replica].lock().expect("nobody panics with it") = channel;
    }
}

struct Replica {
    /// Ends before its links do.
    process: Option<Process>,
    links: Links,
    folder: PathBuf,
}

impl Replica {
    fn start(links: Links, folder: PathBuf) -> Self {
        Self { process: Some(started(&links, &folder)), links, folder }
    }

    fn channel(&self) -> Channel {
        self.process.as_ref().expect("it runs").channel()
    }
}

fn started(links: &Links, folder: &Path) -> Process {
    Process::start(&mut serve_on(&links.settings(), folder))
}

struct Week {
    rng: StdRng,
    began: Instant,
    /// What is wrong now.
    faults: Vec<Fault>,
    doors: Doors,
    replicas: Vec<Replica>,
    cluster: Cluster,
    _folder: TempDir,
}

impl Week {
    fn begin(seed: u64) -> Self {
        let cluster = Cluster::start(Sync::Always);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let replica =
            |number: usize| Replica::start(Links::to(&cluster), folder.path().join(format!("replica-{number}")));
        let replicas: Vec<Replica> = (0..REPLICAS).map(replica).collect();
        let doors = Doors(replicas.iter().map(|replica| Mutex::new(replica.channel())).collect());
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, began: Instant::now(), faults: Vec::new(), doors, replicas, cluster, _folder: folder }
    }

    /// Lets things go wrong for so long, and then puts everything right.
    async fn pass(&mut self, length: Duration) {
        self.began = Instant::now();
        while self.began.elapsed() < length {
            // Nothing is waited for: a fault lasts for a while, as do the times without any.
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(PAUSE))).await;
            // The more is wrong, the likelier it is that something is put right.
            if self.rng.random_range(0..=MAX_FAULTS) < self.faults.len() {
                self.mend_any().await;
            } else if let Some(fault) = self.bearable() {
                self.say("begins", fault);
                self.strike(fault);
                self.faults.push(fault);
            }
        }
        while !self.faults.is_empty() {
            self.mend_any().await;
        }
        println!("{:6.1} s: everything is mended", self.began.elapsed().as_secs_f32());
    }

    fn say(&self, what: &str, fault: Fault) {
        println!("{:6.1} s: {fault:?} {what}", self.began.elapsed().as_secs_f32());
    }

    /// One that can be besides what is wrong already: seldom two servers are down, or two replicas, and never three.
    fn bearable(&mut self) -> Option<Fault> {
        let fault = Fault::any(&mut self.rng);
        let most = if self.rng.random_bool(0.1) { 2 } else { 1 };
        let is_of_server = |fault: &&Fault| matches!(fault, Fault::ServerKilled(_) | Fault::ServerPaused(_));
        let is_of_process = |fault: &&Fault| matches!(fault, Fault::ReplicaKilled(_) | Fault::ReplicaStopped(_));
        let has_room = (!is_of_server(&&fault) || self.faults.iter().filter(is_of_server).count() < most)
            && (!is_of_process(&&fault) || self.faults.iter().filter(is_of_process).count() < most);
        let is_new = !self.faults.iter().any(|other| fault.meets(*other));
        (has_room && is_new).then_some(fault)
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::ServerKilled(server) => self.cluster.kill(server),
            Fault::ServerPaused(server) => self.cluster.pause(server),
            Fault::ReplicaKilled(replica) => self.replicas[replica].process.as_mut().expect("it runs").kill(),
            Fault::ReplicaStopped(replica) => self.replicas[replica].process.as_ref().expect("it runs").terminate(),
            Fault::LinkFailed(replica, server, failure) => failure.of()(&self.replicas[replica].links, server),
            Fault::CutOff(replica, failure) => self.replicas[replica].links.all(failure.of()),
        }
    }

    async fn mend_any(&mut self) {
        let fault = self.faults.swap_remove(self.rng.random_range(0..self.faults.len()));
        match fault {
            Fault::ServerKilled(server) => self.cluster.restart(server),
            Fault::ServerPaused(server) => self.cluster.resume(server),
            Fault::ReplicaKilled(replica) => self.start_again(replica),
            Fault::ReplicaStopped(replica) => {
                let process = self.replicas[replica].process.take().expect("it was running");
                let ended = tokio::task::spawn_blocking(move || process.wait());
                let status = patiently("the end of a replica", ended).await.expect("it is waited for");
                assert!(status.success(), "a replica that was asked to end: {status}");
                self.start_again(replica);
            }
            Fault::LinkFailed(replica, server, _) => self.replicas[replica].links.mend(server),
            Fault::CutOff(replica, _) => self.replicas[replica].links.all(Links::mend),
        }
        self.say("is mended", fault);
    }

    /// Starts a replica on the folder that it left.
    fn start_again(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        replica.process = Some(started(&replica.links, &replica.folder));
        self.doors.moved(number, replica.channel());
    }
}

// ---- those who file and watch ----

/// What everybody knows.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// The newest revision that was acknowledged.
    acknowledged: u64,
    /// Nobody begins another filing.
    is_over: bool,
    /// The newest revision of all, once that is known.
    last: Option<u64>,
}

/// Lets a while pass after an error for which the same is tried again elsewhere; any other is a fault found.
async fn passing(status: Status) {
    match ask::reason(&status).as_str() {
        // An error of the transport itself has no reason.
        "" | "CONTENTION" | "DEADLINE" | "DRAINING" | "JOURNAL_UNAVAILABLE" | "OUTCOME_UNKNOWN" | "REPLICA_BEHIND" => {}
        // True of what this replica was told of the log, and not of the log: worth a look.
        "TOKEN_IN_FUTURE" => println!("a good token was refused: {status:?}"),
        _ => panic!("{status:?}"),
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// The filing of so many by a filer: each record is filed, and then corrected to another guest.
fn filing(filer: usize, number: usize) -> v1::FileReportsRequest {
    let record = number / 2;
    let (host, guest) = (HOSTS[record % HOSTS.len()], GUESTS[number % GUESTS.len()]);
    let day = format!("2023-{:02}-{:02}", record % 12 + 1, record % 28 + 1);
    v1::FileReportsRequest {
        reports: vec![visit_report(&format!("w{filer}-{record}"), "s", guest, host, &day)],
        intent: v1::Intent::Correction.into(),
        request_id: Some(format!("w{filer}-{number}")),
        ..Default::default()
    }
}

/// The host of the record of an event, which corrections leave as it is.
fn host_of(event: &v1::Event) -> &'static str {
    let record: usize = event.subject.rsplit('-').next().and_then(|n| n.parse().ok()).expect("a record of a filer");
    HOSTS[record % HOSTS.len()]
}

struct Filer {
    rng: StdRng,
    number: usize,
    doors: Doors,
    told: watch::Sender<Told>,
    filed: Vec<v1::FileReportsResponse>,
}

impl Filer {
    async fn file(mut self) -> Vec<v1::FileReportsResponse> {
        while !self.told.borrow().is_over {
            self.one_more().await;
            // So few that the whole history is still quick to compare.
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(5..40))).await;
        }
        self.filed
    }

    /// Offers one request to one replica after the other, until it is acknowledged.
    async fn one_more(&mut self) {
        let request = filing(self.number, self.filed.len());
        let answer = loop {
            let mut offer = tonic::Request::new(request.clone());
            offer.set_timeout(Duration::from_millis(self.rng.random_range(500..6000)));
            match process::filing(self.doors.any(&mut self.rng)).file_reports(offer).await {
                Ok(answer) => break answer.into_inner(),
                Err(status) => passing(status).await,
            }
        };
        self.told.send_modify(|told| told.acknowledged = told.acknowledged.max(answer.revision));
        self.filed.push(answer);
    }
}

/// Where a token stands, in the order of the feed: a snapshot at a revision, the middle of that revision, its end.
fn place(token: &str) -> (u64, u8, u32, String) {
    let token = read(token);
    let (rank, next, name) = match token.phase {
        Phase::Snapshot { after, .. } => (0, 0, after),
        Phase::Partial { next } => (1, next, String::new()),
        Phase::Whole => (2, 0, String::new()),
    };
    (token.revision, rank, next, name)
}

/// Whether a token stands at the end of a revision, and not before this one.
fn has_reached(token: &str, revision: u64) -> bool {
    covers(token, revision) && read(token).phase == Phase::Whole
}

/// Which of the events are for a watcher, where that can be said without asking.
type Wants = Option<fn(&v1::Event) -> bool>;

/// One who watches one replica for a while, and goes on at another.
struct Watcher {
    about: &'static str,
    request: WatchEventsRequest,
    wants: Wants,
    /// It begins when this revision was acknowledged.
    begins: u64,
    rng: StdRng,
    doors: Doors,
    told: watch::Receiver<Told>,
    /// After which revision it began.
    start: Option<u64>,
    token: Option<String>,
    heard: Vec<v1::Event>,
    /// At the end of each visit: the token, and how many events there were.
    marks: Vec<(String, usize)>,
}

impl Watcher {
    async fn watch(mut self) -> Self {
        let begins = self.begins;
        let begun = self.told.wait_for(|told| told.acknowledged >= begins || told.last.is_some()).await.map(drop);
        begun.expect("the week outlives its watchers");
        while !self.has_everything() {
            if let Err(status) = self.visit().await {
                passing(status).await;
            }
            self.marks.extend(self.token.clone().map(|token| (token, self.heard.len())));
        }
        self
    }

    fn has_everything(&self) -> bool {
        let last = self.told.borrow().last;
        self.token.as_ref().zip(last).is_some_and(|(token, last)| has_reached(token, last))
    }

    /// Watches some replica for some frames.
    async fn visit(&mut self) -> Result<(), Status> {
        let Told { acknowledged, last, .. } = *self.told.borrow();
        // In the end whoever is told something stays.
        let frames = if last.is_some() { usize::MAX } else { self.rng.random_range(1..60) };
        let request = WatchEventsRequest {
            start: self.token.clone().map(Start::After).or_else(|| self.request.start.clone()),
            max_batch_events: *[0, 0, 1, 5, 40].choose(&mut self.rng).expect("there are some"),
            ..self.request.clone()
        };
        let mut watch = Watching::open(process::feed(self.doors.any(&mut self.rng)), request).await?;
        let mut goes = false;
        for _ in 0..frames {
            let Some(frame) = watch.next().await? else {
                assert!(goes, "{}: a stream ends without a word", self.about);
                return Ok(());
            };
            goes = matches!(frame.frame, Some(Frame::GoingAway(_)));
            self.hear(frame, acknowledged);
            if self.has_everything() {
                break;
            }
        }
        Ok(())
    }

    fn hear(&mut self, frame: WatchEventsResponse, acknowledged: u64) {
        if let Some(before) = &self.token {
            assert!(place(before) <= place(&frame.token), "{}: back from {:?}: {frame:?}", self.about, read(before));
        }
        let is_early = is_caught_up(&frame) && !covers(&frame.token, acknowledged);
        assert!(!is_early, "{}: {acknowledged} was acknowledged before {:?}", self.about, read(&frame.token));
        self.start.get_or_insert_with(|| read(&frame.token).revision);
        self.heard.extend(batch(&frame).into_iter().flat_map(|batch| batch.events.clone()));
        self.token = Some(frame.token);
    }

    /// It was told exactly the log, and what it kept of that was the registry at every token.
    async fn check(&self, log: &[v1::Event], doors: &Doors) {
        let (start, end) = (self.start.expect("it began"), read(self.token.as_ref().expect("it began")).revision);
        let all: Vec<v1::Event> = match self.wants {
            Some(wants) => log.iter().filter(|event| wants(event)).cloned().collect(),
            None => history(doors.of(0), &self.request.filters).await.0,
        };
        let is_told = |event: &&v1::Event| event.revision > start && event.revision <= end;
        let expected: Vec<v1::Event> = all.iter().filter(is_told).cloned().collect();
        let (records, changes): (Vec<_>, Vec<_>) = self.heard.iter().cloned().partition(is_snapshot);
        assert_same(&changes, &expected, self.about);
        let subjects: BTreeSet<&String> = records.iter().map(|event| &event.subject).collect();
        assert_eq!(subjects.len(), records.len(), "{}: a record comes twice in a snapshot", self.about);
        let whole: Vec<_> = self.marks.iter().filter(|(token, _)| read(token).phase == Phase::Whole).collect();
        let every = whole.len().div_ceil(COMPARISONS);
        for (number, (token, heard)) in whole.iter().rev().step_by(every).enumerate() {
            let kept = cache(&self.heard[..*heard]);
            let listed = listed(doors.of(number % REPLICAS), &self.request.filters, token).await;
            assert!(kept == listed, "{}: what it kept differs from the list at {:?}", self.about, read(token));
        }
    }
}

/// One who leaves it to the registry to remember where they are.
struct Consumer {
    rng: StdRng,
    doors: Doors,
    told: watch::Receiver<Told>,
    /// As committed last.
    cursor: Option<v1::Cursor>,
    done: Vec<v1::Event>,
}

impl Consumer {
    async fn consume(mut self) -> Self {
        while !self.has_everything() {
            let found = self.found().await;
            assert_eq!(found, self.cursor, "the cursor is everywhere what it was committed to");
            let (heard, token) = self.some_more(found.map(|cursor| cursor.position)).await;
            // Now and then it is gone before it could say what it did, and does it again.
            if let Some(token) = token.filter(|_| !self.rng.random_bool(0.2)) {
                self.commit(token).await;
                self.done.extend(heard);
            }
        }
        self
    }

    fn has_everything(&self) -> bool {
        let last = self.told.borrow().last;
        self.cursor.as_ref().zip(last).is_some_and(|(cursor, last)| has_reached(&cursor.position, last))
    }

    /// The cursor, as some replica says.
    async fn found(&mut self) -> Option<v1::Cursor> {
        loop {
            let asked = v1::GetCursorRequest { name: CURSOR.into() };
            match process::feed(self.doors.any(&mut self.rng)).get_cursor(asked).await {
                Ok(answer) => return answer.into_inner().cursor,
                Err(status) if ask::reason(&status) == "RECORD_NOT_FOUND" => return None,
                Err(status) => passing(status).await,
            }
        }
    }

    /// Some of the events after a position, and the token after them.
    async fn some_more(&mut self, position: Option<String>) -> (Vec<v1::Event>, Option<String>) {
        let last = self.told.borrow().last;
        let frames = if last.is_some() { usize::MAX } else { self.rng.random_range(1..40) };
        let request = lively(position.map_or_else(from_oldest, |position| after(&position)));
        let feed = process::feed(self.doors.any(&mut self.rng));
        let mut heard = Vec::new();
        let listening = async {
            let mut watch = Watching::open(feed, request).await?;
            while heard.len() < frames
                && let Some(frame) = watch.next().await?
            {
                let is_last = last.is_some_and(|last| has_reached(&frame.token, last));
                heard.push(frame);
                if is_last {
                    break;
                }
            }
            Ok::<(), Status>(())
        };
        if let Err(status) = listening.await {
            passing(status).await;
        }
        (events(&heard), heard.pop().map(|frame| frame.token))
    }

    /// Commits a position until that is acknowledged; a commit in doubt is repeated.
    async fn commit(&mut self, position: String) {
        let expected_etag = Some(self.cursor.take().map(|cursor| cursor.etag).unwrap_or_default());
        let request = v1::CommitCursorRequest { name: CURSOR.into(), position, expected_etag };
        while self.cursor.is_none() {
            match process::feed(self.doors.any(&mut self.rng)).commit_cursor(request.clone()).await {
                Ok(answer) => self.cursor = answer.into_inner().cursor,
                Err(status) => passing(status).await,
            }
        }
    }
}

// ---- what is compared in the end ----

/// All events that match, in order, each with its token.
async fn history(channel: Channel, filters: &[v1::Filter]) -> (Vec<v1::Event>, Vec<String>) {
    // One by one, so that each has a token; and without signs of life, so that patience ends if it is never caught up.
    let single = WatchEventsRequest { max_batch_events: 1, ..filtered(from_oldest(), filters.to_vec()) };
    let request = until_caught_up(taciturn(single));
    let mut watch = Watching::open(process::feed(channel), request).await.expect("the watch is accepted");
    let (mut events, mut tokens) = (Vec::new(), Vec::new());
    while let Some(frame) = watch.next().await.expect("no error") {
        if let Some(batch) = batch(&frame) {
            events.extend(batch.events.clone());
            tokens.push(frame.token);
        }
    }
    (events, tokens)
}

/// Every visit that matches as of a token.
async fn listed(channel: Channel, filters: &[v1::Filter], token: &str) -> BTreeMap<String, v1::Visit> {
    let mut registry = RegistryServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let mut request = v1::ListVisitsRequest {
        filters: filters.to_vec(),
        as_of: ask::as_of(token),
        page_size: 1000,
        ..Default::default()
    };
    let mut visits = BTreeMap::new();
    loop {
        let page = registry.list_visits(request.clone()).await.expect("a page").into_inner();
        visits.extend(page.visits.into_iter().map(|visit| (visit.name.clone(), visit)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return visits;
        }
    }
}

/// What a client keeps that follows these events.
fn cache(events: &[v1::Event]) -> BTreeMap<String, v1::Visit> {
    let mut visits = BTreeMap::new();
    for event in events {
        if event.left_filter {
            visits.remove(&event.subject);
        } else if let Some(v1::Record { kind: Some(Kind::Visit(visit)) }) = &event.record {
            visits.insert(event.subject.clone(), visit.clone());
        }
    }
    visits
}

/// Says where two histories begin to differ, which would be lost in the whole of them.
fn assert_same(found: &[v1::Event], expected: &[v1::Event], about: &str) {
    let differ = found.iter().zip(expected).position(|(found, expected)| found != expected);
    let at = differ.unwrap_or_else(|| found.len().min(expected.len()));
    assert_eq!(found.get(at), expected.get(at), "{about}: at event {at} of {} and {}", found.len(), expected.len());
}

/// What was acknowledged stands as it was acknowledged, each at a revision of its own, and nothing else was filed.
fn check_filings(mut filed: Vec<v1::FileReportsResponse>, log: &[v1::Event]) {
    filed.sort_by_key(|answer| answer.revision);
    let revisions: BTreeSet<u64> = filed.iter().map(|answer| answer.revision).collect();
    assert_eq!(revisions.len(), filed.len(), "every acknowledged filing has a revision of its own");
    assert!(filed.iter().all(|answer| covers(&answer.token, answer.revision)), "an answer's token is after it");
    let told: Vec<v1::Event> = filed.into_iter().flat_map(|answer| answer.events).collect();
    let (stand, rest): (Vec<_>, Vec<_>) = log.iter().map(bare).partition(|event| revisions.contains(&event.revision));
    assert_same(&stand, &told, "what was acknowledged");
    // The clock may have moved the day.
    let filed_by_nobody = rest.iter().find(|e| matches!(e.r#type(), EventType::Recorded | EventType::Corrected));
    assert_eq!(filed_by_nobody, None, "what nobody was told of");
}

fn watchers(doors: &Doors, told: &watch::Sender<Told>, seed: u64) -> Vec<Watcher> {
    let of_kz = || filtered(from_snapshot(), guests(&["KZ"]));
    let in_az = || filtered(from_oldest(), vec![v1::Filter { hosts: vec!["AZ".into()], ..Default::default() }]);
    let plans: [(&'static str, WatchEventsRequest, Wants, u64); 6] = [
        ("a watcher", from_oldest(), Some(|_| true), 0),
        ("another watcher", from_oldest(), Some(|_| true), 0),
        ("a watcher of a host", in_az(), Some(|event| host_of(event) == "AZ"), 0),
        ("a cache of a guest", of_kz(), None, 0),
        ("a later cache of a guest", of_kz(), None, 150),
        ("a later cache of everything", from_snapshot(), Some(|_| true), 300),
    ];
    let watcher = |(seed, (about, request, wants, begins))| Watcher {
        about,
        request: lively(request),
        wants,
        begins,
        rng: StdRng::seed_from_u64(seed),
        doors: doors.clone(),
        told: told.subscribe(),
        start: None,
        token: None,
        heard: Vec::new(),
        marks: Vec::new(),
    };
    (seed..).zip(plans).map(watcher).collect()
}

/// Waits for somebody who is about to end.
async fn ended<T>(what: &str, task: JoinHandle<T>) -> T {
    patiently(what, task).await.expect("it does not panic")
}

/// A number from the environment.
fn told_to(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_week_of_faults_nothing_acknowledged_is_lost_and_everybody_is_told_exactly_the_log() {
    let seed = told_to("ATTACHE_SEED").unwrap_or_else(|| rand::rng().random_range(0..1_000_000_000));
    let seconds = told_to("ATTACHE_WEEK_SECONDS").unwrap_or(SECONDS);
    println!("ATTACHE_SEED={seed} ATTACHE_WEEK_SECONDS={seconds}");
    let mut week = Week::begin(seed);
    let (doors, told) = (week.doors.clone(), watch::Sender::new(Told::default()));
    let filer = |number: usize| Filer {
        rng: StdRng::seed_from_u64(seed + 100 + number as u64),
        number,
        doors: doors.clone(),
        told: told.clone(),
        filed: Vec::new(),
    };
    let mut first = filer(FILERS);
    for _ in 0..BEFORE {
        patiently("the first filings", first.one_more()).await;
    }
    // Before its first batch a replica does not know its log, and no other takes its tokens.
    for replica in 0..REPLICAS {
        history(doors.of(replica), &[]).await;
    }
    let filers: Vec<_> = (0..FILERS).map(|number| tokio::spawn(filer(number).file())).collect();
    let watchers: Vec<_> = watchers(&doors, &told, seed + 200).into_iter().map(|w| tokio::spawn(w.watch())).collect();
    let rng = StdRng::seed_from_u64(seed + 300);
    let consumer = Consumer { rng, doors: doors.clone(), told: told.subscribe(), cursor: None, done: Vec::new() };
    let consumer = tokio::spawn(consumer.consume());

    week.pass(Duration::from_secs(seconds)).await;
    told.send_modify(|told| told.is_over = true);
    let mut filed = first.filed;
    for filer in filers {
        filed.extend(ended("the last filing of a filer", filer).await);
    }
    let last = filed.iter().map(|answer| answer.revision).max().expect("something was filed");
    told.send_modify(|told| told.last = Some(last));

    let (log, tokens) = history(doors.of(0), &[]).await;
    for replica in 1..REPLICAS {
        let (other, other_tokens) = history(doors.of(replica), &[]).await;
        assert_same(&other, &log, "another replica");
        assert!(tokens == other_tokens, "the tokens of replica {replica} are others");
    }
    println!("{} filings, {} events, revision {last}", filed.len(), log.len());
    check_filings(filed, &log);
    for watcher in watchers {
        let watcher = ended("the end of a watcher", watcher).await;
        println!("{}: {} visits", watcher.about, watcher.marks.len());
        watcher.check(&log, &doors).await;
    }
    let consumer = ended("the end of a consumer", consumer).await;
    let end = read(&consumer.cursor.expect("it committed").position).revision;
    let expected: Vec<v1::Event> = log.iter().filter(|event| event.revision <= end).cloned().collect();
    assert_same(&consumer.done, &expected, "a consumer");
}
