//! Those who file and those who watch: at one replica after another, until they have what they came for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use attache::{
    clock::{self, DAY_US},
    domain::{date, token::Phase},
    pb::v1::{
        self, WatchEventsRequest, WatchEventsResponse, log_service_client::LogServiceClient, trim_log_request::Keep,
        watch_events_request::Start, watch_events_response::Frame,
    },
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::sync::watch;
use tonic::Status;

use super::faults::Doors;
use crate::{
    common::{
        ask, visit_report,
        watching::{
            Watching, after, batch, covers, events, filtered, from_oldest, from_snapshot, guests, is_caught_up,
            is_snapshot, lively, read,
        },
    },
    process,
};

/// The consumer's cursor.
const CURSOR: &str = "week";
/// So many days before now the history begins that is replayed before the week.
const PAST_DAYS: i64 = 20;
/// Days of it on which nothing begins: the first, and those near to now.
const QUIET_DAYS: i64 = 3;

const HOSTS: [&str; 3] = ["AZ", "GE", "TR"];
const GUESTS: [&str; 3] = ["KZ", "TJ", "UZ"];

/// What everybody knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// The newest revision that was acknowledged.
    pub acknowledged: u64,
    /// Nobody begins another filing.
    pub is_over: bool,
    /// The newest revision of all, once that is known.
    pub last: Option<u64>,
}

/// Lets a while pass after an error for which the same is tried again elsewhere; any other is a fault found.
async fn passing(status: Status) {
    match ask::reason(&status).as_str() {
        // An error of the transport itself has no reason.
        "" | "CONTENTION" | "DEADLINE" | "DRAINING" | "JOURNAL_UNAVAILABLE" | "OUTCOME_UNKNOWN" | "REPLICA_BEHIND" => {}
        _ => panic!("{status:?}"),
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// The same, of what would change something: one that the stream has left behind, and that is about to end, refuses that.
async fn passing_of_change(status: Status) {
    if ask::reason(&status) == "HISTORY_TRIMMED" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    } else {
        passing(status).await;
    }
}

/// When a filer files what it files.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// Now, of visits that are long over.
    Now,
    /// Some days before this, in microseconds since 1970, of visits that begin in between.
    Before(i64),
}

/// The filing of so many by a filer: each record is filed, and then corrected to another guest.
fn filing(filer: usize, number: usize, when: When) -> v1::FileReportsRequest {
    let record = number / 2;
    let (host, guest) = (HOSTS[record % HOSTS.len()], GUESTS[number % GUESTS.len()]);
    let of_record = i64::try_from(record).expect("a few");
    let (day, recorded_at) = match when {
        When::Now => (format!("2023-{:02}-{:02}", record % 12 + 1, record % 28 + 1), None),
        When::Before(now_us) => {
            let past = now_us.div_euclid(DAY_US) - PAST_DAYS;
            let begins = past + 1 + of_record % (PAST_DAYS - QUIET_DAYS);
            let seconds = i64::try_from(number).expect("a few");
            (date::show(clock::day(begins * DAY_US)), Some(clock::timestamp(past * DAY_US + seconds * 1_000_000)))
        }
    };
    v1::FileReportsRequest {
        reports: vec![visit_report(&format!("w{filer}-{record}"), "s", guest, host, &day)],
        intent: v1::Intent::Correction.into(),
        request_id: Some(format!("w{filer}-{number}")),
        recorded_at,
        ..Default::default()
    }
}

/// The host of the record of an event, which corrections leave as it is.
fn host_of(event: &v1::Event) -> &'static str {
    let record: usize = event.subject.rsplit('-').next().and_then(|n| n.parse().ok()).expect("a record of a filer");
    HOSTS[record % HOSTS.len()]
}

pub struct Filer {
    rng: StdRng,
    number: usize,
    when: When,
    doors: Doors,
    told: watch::Sender<Told>,
    pub filed: Vec<v1::FileReportsResponse>,
}

/// Has some replica drop what is before a revision, until that is acknowledged.
pub async fn trim(doors: &Doors, rng: &mut StdRng, from: u64) -> v1::TrimLogResponse {
    loop {
        let request = v1::TrimLogRequest { keep: Some(Keep::FromRevision(from)), dry_run: false };
        match LogServiceClient::new(doors.any(rng)).trim_log(request).await {
            Ok(answer) => return answer.into_inner(),
            Err(status) => passing_of_change(status).await,
        }
    }
}

impl Filer {
    pub fn new(number: usize, when: When, seed: u64, doors: &Doors, told: &watch::Sender<Told>) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, number, when, doors: doors.clone(), told: told.clone(), filed: Vec::new() }
    }

    /// Files until it is told that it is over: what it was answered.
    pub async fn file(mut self) -> Vec<v1::FileReportsResponse> {
        while !self.told.borrow().is_over {
            self.one_more().await;
            // So few that the whole history is still quick to compare.
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(5..40))).await;
        }
        self.filed
    }

    /// Offers one request to one replica after the other, until it is acknowledged.
    pub async fn one_more(&mut self) {
        let request = filing(self.number, self.filed.len(), self.when);
        let answer = loop {
            let mut offer = tonic::Request::new(request.clone());
            offer.set_timeout(Duration::from_millis(self.rng.random_range(500..6000)));
            match process::filing(self.doors.any(&mut self.rng)).file_reports(offer).await {
                Ok(answer) => break answer.into_inner(),
                Err(status) => passing_of_change(status).await,
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

/// How far somebody is, for others to see.
#[derive(Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    fn is_at(&self, token: &str) {
        self.0.store(read(token).revision, Ordering::SeqCst);
    }

    pub fn revision(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Which of the events are for a watcher, where that can be said without asking.
pub type Wants = Option<fn(&v1::Event) -> bool>;

/// One who watches one replica for a while, and goes on at another.
pub struct Watcher {
    pub about: &'static str,
    pub request: WatchEventsRequest,
    pub wants: Wants,
    /// It begins when this revision was acknowledged.
    pub begins: u64,
    rng: StdRng,
    doors: Doors,
    told: watch::Receiver<Told>,
    /// After which revision it began.
    pub start: Option<u64>,
    pub token: Option<String>,
    pub heard: Vec<v1::Event>,
    /// At the end of each visit: the token, and how many events there were.
    pub marks: Vec<(String, usize)>,
    /// The revision that goes on in the next frame.
    unfinished: Option<u64>,
    /// How far it is.
    progress: Progress,
}

impl Watcher {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Watches until it has everything.
    pub async fn watch(mut self) -> Self {
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
        // A position amid a revision goes on with the rest of that.
        self.unfinished =
            self.token.as_deref().map(read).filter(|t| matches!(t.phase, Phase::Partial { .. })).map(|t| t.revision);
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
        self.check_whole(&frame);
        self.progress.is_at(&frame.token);
        self.heard.extend(batch(&frame).into_iter().flat_map(|batch| batch.events.clone()));
        self.token = Some(frame.token);
    }

    /// The events of a revision come together, or in frames one after the other that say so.
    fn check_whole(&mut self, frame: &WatchEventsResponse) {
        let Some(batch) = batch(frame) else {
            let is_at_an_end = matches!(frame.frame, Some(Frame::Started(_) | Frame::GoingAway(_)));
            assert!(self.unfinished.is_none() || is_at_an_end, "{}: a frame amid a revision: {frame:?}", self.about);
            return;
        };
        let (Some(first), Some(last)) = (batch.events.first(), batch.events.last()) else { return };
        // What a snapshot has is of no revision's.
        if is_snapshot(first) {
            return;
        }
        let heard = self.heard.iter().rfind(|event| !is_snapshot(event)).map_or(0, |event| event.revision);
        match self.unfinished {
            Some(revision) => assert_eq!(first.revision, revision, "{}: the rest comes next", self.about),
            None => assert!(first.revision > heard, "{}: {heard} goes on, and did not say so", self.about),
        }
        self.unfinished = batch.continued.then_some(last.revision);
    }
}

/// Watchers of every sort.
pub fn watchers(doors: &Doors, told: &watch::Sender<Told>, seed: u64) -> Vec<Watcher> {
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
        unfinished: None,
        progress: Progress::default(),
    };
    (seed..).zip(plans).map(watcher).collect()
}

/// One who leaves it to the registry to remember where they are.
pub struct Consumer {
    rng: StdRng,
    doors: Doors,
    told: watch::Receiver<Told>,
    /// As committed last.
    pub cursor: Option<v1::Cursor>,
    pub done: Vec<v1::Event>,
    progress: Progress,
}

impl Consumer {
    pub fn new(seed: u64, doors: &Doors, told: &watch::Sender<Told>) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let progress = Progress::default();
        Self { rng, doors: doors.clone(), told: told.subscribe(), cursor: None, done: Vec::new(), progress }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Consumes until it has everything.
    pub async fn consume(mut self) -> Self {
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
                Ok(answer) => {
                    self.cursor = answer.into_inner().cursor;
                    self.cursor.iter().for_each(|cursor| self.progress.is_at(&cursor.position));
                }
                Err(status) => passing(status).await,
            }
        }
    }
}
