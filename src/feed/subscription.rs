//! One watch: a task that moves a cursor from its start to its end and writes frames.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use rand::Rng as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use super::{
    frames::{Packer, Selection, frame},
    hub::{Hub, Polled, Subscriber},
};
use crate::{
    clock,
    domain::{
        error::{Error, Reason, Result},
        filter::Filters,
        record,
        revision::Revision,
        token::{Phase, Token},
    },
    journal::Position,
    limits::{FRAME_QUEUE, GOING_AWAY_RETRY, REPLAY_PAGE_BYTES, SNAPSHOT_PAGE_RECORDS, WATCH_TASK_BYTES},
    metrics::{CountedWatch, WatchPhase},
    pb::{
        v1::{self, EventClass, EventType, watch_events_response::Frame},
        wire::Encoded,
    },
    store::{
        Head, Store,
        list::{Order, Place, Query},
        log,
    },
    tasks::{Tasks, blocking, if_any},
};

/// Revisions taken from the ring at once.
const SLICE_REVISIONS: usize = 512;

/// Where a watch starts.
#[derive(Debug, Clone)]
pub enum Start {
    /// After a whole revision.
    After {
        /// The revision.
        revision: u64,
    },
    /// In the middle of a revision, at this token.
    Amid {
        /// The revision.
        revision: u64,
        /// The first of its events to send.
        next: u32,
        /// The token that says so.
        token: Token,
    },
    /// With the records at a revision whose name is after `after`, then what follows.
    Snapshot {
        /// The revision.
        revision: u64,
        /// The last name sent already; empty for all.
        after: String,
        /// Digest of the request's filters, for tokens.
        filters: [u8; 8],
    },
}

/// Where a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Never.
    Forever,
    /// After `caught_up`.
    CaughtUp,
    /// After this revision.
    Through(u64),
}

/// Options as clamped.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often `progress` comes when nothing else does.
    pub progress: Duration,
    /// Events of a frame.
    pub max_events: usize,
    /// Bytes of a frame.
    pub max_bytes: usize,
}

/// A watch as asked for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What of what.
    pub selection: Selection,
    /// From where.
    pub start: Start,
    /// Until where.
    pub until: Until,
    /// In what sizes.
    pub options: Options,
}

/// The end of the journal at the time of the request: a watch that has everything up to it is caught up.
pub enum Acknowledged {
    /// The store's own, because nobody else writes.
    Here,
    /// This one.
    At(Position),
    /// The journal did not say; once it does, it will be this one or a later one.
    Later(Pin<Box<dyn Future<Output = Position> + Send + Sync>>),
}

/// What ends a watch that its client does not end.
pub struct Ends {
    /// It is told to go away, with a frame that says so.
    pub leaving: CancellationToken,
    /// Its client may not watch any more, with the reason; `None` is never.
    pub refused: Option<Pin<Box<dyn Future<Output = Error> + Send>>>,
}

/// The frames of a watch. Dropping it frees everything.
pub struct Frames {
    queue: mpsc::Receiver<Encoded>,
    /// The error the watch ends with; `None` once its last frame has said that it ends.
    ending: Arc<Mutex<Option<Error>>>,
}

impl Stream for Frames {
    type Item = Result<Encoded>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.poll_recv(context).map(|frame| match frame {
            Some(frame) => Some(Ok(frame)),
            None => self.ending.lock().unwrap_or_else(PoisonError::into_inner).take().map(Err),
        })
    }
}

/// A place that is kept until the watch was sent the snapshot that it begins with.
pub type SnapshotPlace = Box<dyn Send + Sync>;

/// Starts a watch, which has its place ([`Hub::open`]). `place`, if there is one, is dropped once its snapshot was sent.
///
/// # Errors
///
/// `QUOTA_EXCEEDED` of snapshots, or `DRAINING`.
pub fn subscribe(
    hub: &Arc<Hub>,
    store: &Store,
    tasks: &Tasks,
    plan: Plan,
    acknowledged: Acknowledged,
    ends: Ends,
    place: Option<SnapshotPlace>,
) -> Result<Frames> {
    let of_snapshot = matches!(plan.start, Start::Snapshot { .. }).then(|| hub.open_snapshot()).transpose()?;
    let subscriber = hub.subscribe(plan.selection.filters.clone(), plan.selection.types.clone())?;
    let first = if of_snapshot.is_some() { WatchPhase::Snapshot } else { WatchPhase::Replay };
    let counted = hub.counts().phases.enter(first);
    let head = hub.head();
    let goal = match acknowledged {
        Acknowledged::Here => Goal::Revision(head.revision),
        Acknowledged::Later(answer) => Goal::Later(answer),
        Acknowledged::At(position) => {
            subscriber.wake_at(position);
            Goal::Position(position)
        }
    };
    let (frames, queue) = mpsc::channel(FRAME_QUEUE);
    // What a panic leaves behind: a stream never ends without a word.
    let ending = Arc::new(Mutex::new(Some(Error::internal("a watch ended abnormally"))));
    // The queue stays open until the ending is known.
    let open = frames.clone();
    // In a box, as is whatever it does but wait: a task is as large as the largest thing that it may ever do.
    let mut watch = Box::new(Watch {
        counted,
        subscriber,
        leaving: ends.leaving,
        store: store.clone(),
        frames,
        at: head.oldest_token(),
        amid: None,
        goal,
        was_live: false,
        behind: false,
        last_frame: clock::ticks(),
        interval: plan.options.progress,
        of_snapshot: (of_snapshot, place),
        plan,
    });
    let ends_with = Arc::clone(&ending);
    let task = async move {
        let stopped = tokio::select! {
            // Who may not watch any more is told that, and not to go on elsewhere.
            biased;
            error = if_any(ends.refused) => Err(Stop::Failed(error)),
            stopped = watch.run() => stopped,
        };
        let ending = match stopped {
            Err(Stop::Failed(error)) => Some(error),
            Ok(()) | Err(Stop::Told | Stop::Gone) => None,
        };
        *ends_with.lock().unwrap_or_else(PoisonError::into_inner) = ending;
        drop(open);
    };
    debug_assert!(size_of_val(&task) <= WATCH_TASK_BYTES, "a watch takes {} bytes", size_of_val(&task));
    tasks.spawn("watch", task);
    Ok(Frames { queue, ending })
}

/// Why a watch stops before its end.
enum Stop {
    /// The client went away.
    Gone,
    /// An end that was told in its last frame.
    Told,
    /// An error of the catalogue.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

type Step<T = ()> = std::result::Result<T, Stop>;

/// What "caught up" means for a watch.
enum Goal {
    /// Not known before the journal answers.
    Later(Pin<Box<dyn Future<Output = Position> + Send + Sync>>),
    /// The batch acknowledged last before the request; not applied here yet, perhaps.
    Position(Position),
    /// The revision to deliver.
    Revision(u64),
    /// Told already.
    Reached,
}

impl Goal {
    /// The journal's end, once it answers; forever if it is not waited for.
    async fn answered(&mut self) -> Position {
        match self {
            Self::Later(answer) => answer.await,
            _ => std::future::pending().await,
        }
    }
}

struct Watch {
    /// The first to be dropped: whoever hears of its end finds it counted no more.
    counted: CountedWatch,
    subscriber: Subscriber,
    /// Cancelled when it is to be told to go away.
    leaving: CancellationToken,
    store: Store,
    frames: mpsc::Sender<Encoded>,
    plan: Plan,
    /// The position up to which everything that matches was delivered.
    at: Token,
    /// Of the next revision the first event that was not delivered yet, and the token that says so.
    amid: Option<(u32, Token)>,
    goal: Goal,
    /// Whether it has stood in the ring.
    was_live: bool,
    /// Whether it was told that it fell behind.
    behind: bool,
    /// When the last frame went out.
    last_frame: clock::Ticks,
    /// The jittered interval until the next progress.
    interval: Duration,
    /// The places among the snapshots of the server and of its client, while it is sent one.
    of_snapshot: (Option<OwnedSemaphorePermit>, Option<SnapshotPlace>),
}

impl Watch {
    async fn run(&mut self) -> Step {
        Box::pin(self.start()).await?;
        loop {
            self.check_end().await?;
            let limit = if let Until::Through(last) = self.plan.until {
                usize::try_from(last.saturating_sub(self.at.revision)).unwrap_or(usize::MAX).min(SLICE_REVISIONS)
            } else {
                SLICE_REVISIONS
            };
            match self.subscriber.poll(self.at.revision, limit) {
                Polled::Revisions(revisions) => {
                    self.is_live();
                    Box::pin(self.deliver(revisions.iter().map(AsRef::as_ref))).await?;
                }
                Polled::Behind => Box::pin(self.replay()).await?,
                Polled::Quiet(head) => {
                    self.is_live();
                    self.advance(head);
                    self.check_end().await?;
                    self.wait().await?;
                }
            }
        }
    }

    /// What it does from now on.
    fn go_on_to(&mut self, phase: WatchPhase) {
        self.counted.go_on_to(phase, &self.subscriber.hub().counts().phases);
    }

    /// It stands in the ring.
    fn is_live(&mut self) {
        self.go_on_to(WatchPhase::Live);
        self.was_live = true;
        self.behind = false;
    }

    /// Says where it begins, after the records of a snapshot if it is asked for one.
    async fn start(&mut self) -> Step {
        let start = self.plan.start.clone();
        match start {
            Start::After { revision } => {
                self.at = self.token_at(revision).await?;
                self.begin().await?;
            }
            Start::Amid { revision, next, token } => {
                self.at = self.token_at(revision - 1).await?;
                self.amid = Some((next, token));
                self.begin().await?;
            }
            Start::Snapshot { revision, after, filters } => {
                let whole = self.token_at(revision).await?;
                self.at = Token { phase: Phase::Snapshot { after: after.clone(), filters }, ..whole.clone() };
                self.begin().await?;
                self.snapshot(revision, after, filters).await?;
                drop(std::mem::take(&mut self.of_snapshot));
                self.go_on_to(WatchPhase::Replay);
                self.at = whole;
            }
        }
        Ok(())
    }

    async fn token_at(&self, revision: u64) -> Result<Token> {
        let store = self.store.clone();
        blocking(move || store.token_at(revision)).await
    }

    async fn begin(&mut self) -> Step {
        let options = &self.plan.options;
        let started = v1::Started {
            epoch: self.at.epoch.to_string(),
            progress_interval: duration(options.progress),
            max_batch_events: i32::try_from(options.max_events).unwrap_or(i32::MAX),
            max_batch_bytes: i32::try_from(options.max_bytes).unwrap_or(i32::MAX),
        };
        let token = self.token();
        self.send(frame(&token, Frame::Started(started))).await
    }

    /// The position that is safe to resume from.
    fn token(&self) -> Token {
        self.amid.as_ref().map_or_else(|| self.at.clone(), |(_, token)| token.clone())
    }

    /// Everything up to the head was looked at by the index and does not match.
    fn advance(&mut self, head: Head) {
        if head.revision > self.at.revision || self.at.revision == 0 {
            self.at = head.token();
            self.amid = None;
        }
    }

    async fn snapshot(&mut self, revision: u64, after: String, filters: [u8; 8]) -> Step {
        let mut place = (!after.is_empty()).then_some(Place { key: 0, name: after });
        loop {
            self.check_drain().await?;
            let store = self.store.clone();
            let matching: Filters = self.plan.selection.filters.clone();
            let from = place.clone();
            let page = blocking(move || {
                let query = Query {
                    kind: None,
                    filters: &matching,
                    revision,
                    order: Order::Name,
                    limit: SNAPSHOT_PAGE_RECORDS,
                    after: from,
                    valid_at: None,
                };
                store.list(&query)
            })
            .await?;
            self.store.check_kept(revision)?;
            self.send_snapshot(page.records, revision, filters).await?;
            match page.next {
                None => return Ok(()),
                Some(next) => {
                    self.at.phase = Phase::Snapshot { after: next.name.clone(), filters };
                    place = Some(next);
                }
            }
        }
    }

    async fn send_snapshot(&mut self, records: Vec<v1::Record>, revision: u64, filters: [u8; 8]) -> Step {
        let mut batch: Vec<v1::Event> = Vec::new();
        let mut bytes = 0;
        for record in records {
            let name = record::name_of(&record).to_owned();
            let event = self.snapshot_event(record, revision);
            let size = prost::Message::encoded_len(&event);
            let options = &self.plan.options;
            if !batch.is_empty() && (batch.len() >= options.max_events || bytes + size > options.max_bytes) {
                self.send_events(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += size;
            batch.push(event);
            self.at.phase = Phase::Snapshot { after: name, filters };
        }
        if batch.is_empty() { self.keep_alive().await } else { self.send_events(batch).await }
    }

    fn snapshot_event(&self, record: v1::Record, revision: u64) -> v1::Event {
        let info = record::info(&record).cloned().unwrap_or_default();
        let subject = record::name_of(&record).to_owned();
        v1::Event {
            id: format!("{revision}-{subject}"),
            source: format!("attache/{}", self.at.epoch),
            r#type: EventType::Snapshot.into(),
            event_class: EventClass::Registry.into(),
            time: info.update_time,
            revision,
            occurred: info.occurred,
            states: info.states,
            headline: crate::domain::headline::label(&record),
            record: Some(self.plan.selection.mask.apply(record)),
            subject,
            ..v1::Event::default()
        }
    }

    async fn send_events(&mut self, events: Vec<v1::Event>) -> Step {
        let last = events.last().map(|e| e.subject.clone()).unwrap_or_default();
        let mut token = self.token();
        if let Phase::Snapshot { after, .. } = &mut token.phase {
            *after = last;
        }
        self.send(frame(&token, Frame::Batch(v1::EventBatch { events, continued: false }))).await
    }

    /// Sends what matches of consecutive revisions.
    async fn deliver(&mut self, revisions: impl Iterator<Item = &Revision>) -> Step {
        // A log that was empty when the watch began has its epoch from the first batch.
        self.at.epoch = self.subscriber.hub().head().epoch;
        let options = &self.plan.options;
        let mut packer = Packer::new(self.at.epoch, options.max_events, options.max_bytes, self.at.clone());
        for revision in revisions {
            let first = self.amid.take().map_or(0, |(next, _)| next);
            for frame in packer.add(revision, first, &self.plan.selection)? {
                self.send(frame).await?;
            }
            self.at = Token::at(self.at.epoch, revision.number, &revision.hash);
        }
        match packer.flush() {
            Some(frame) => self.send(frame).await,
            None => self.keep_alive().await,
        }
    }

    /// Reads the log from the store, page by page, because the position is outside the ring, until it is not any more.
    /// While one page is delivered the next is read.
    async fn replay(&mut self) -> Step {
        self.go_on_to(WatchPhase::Replay);
        if self.was_live && !self.behind {
            self.behind = true;
            let lag = self.lag().await?;
            let fell = v1::FellBehind { lag_events: lag.events };
            let token = self.token();
            self.send(frame(&token, Frame::FellBehind(fell))).await?;
        }
        let mut page = self.page_after(self.at.revision).await?;
        while let Some(last) = page.last() {
            let ahead = self.page_after(last.number);
            let ((), next) = tokio::try_join!(self.deliver(page.iter()), ahead)?;
            self.check_end().await?;
            if !matches!(self.subscriber.poll(self.at.revision, 0), Polled::Behind) {
                break;
            }
            page = next;
        }
        Ok(())
    }

    /// A page of the log after a revision.
    fn page_after(&self, after: u64) -> impl Future<Output = Step<Vec<Revision>>> + Send + use<> {
        let (store, hub) = (self.store.clone(), Arc::clone(self.subscriber.hub()));
        let through = match self.plan.until {
            Until::Through(last) => last,
            _ => u64::MAX >> 1,
        };
        let depth = self.plan.selection.depth();
        let frames = self.frames.clone();
        async move {
            // Whoever went away does not wait for its turn, and does not take it.
            let _permit = tokio::select! {
                biased;
                () = frames.closed() => return Err(Stop::Gone),
                permit = Arc::clone(hub.readers()).acquire_owned() => permit.map_err(|_| Stop::Gone)?,
            };
            drop(frames);
            let limit = hub.settings().page_revisions;
            let revisions = blocking(move || {
                let read = store.read(|c| {
                    let entries = log::entries(c, after, through, limit, REPLAY_PAGE_BYTES)?;
                    log::revisions(c, &entries, depth)
                });
                // Nothing is dropped before the floor has moved: what was read above it is whole.
                store.check_kept(after).and(read)
            });
            Ok(revisions.await?)
        }
    }

    /// Ends, or tells that it caught up, where the position says so.
    async fn check_end(&mut self) -> Step {
        self.check_drain().await?;
        if let Goal::Position(position) = self.goal {
            let head = self.subscriber.hub().head();
            if head.position >= position {
                self.goal = Goal::Revision(head.revision);
            }
        }
        if let Goal::Revision(revision) = self.goal
            && self.at.revision >= revision
        {
            self.goal = Goal::Reached;
            let token = self.token();
            self.send(frame(&token, Frame::CaughtUp(v1::CaughtUp {}))).await?;
        }
        let ended = match self.plan.until {
            Until::Forever => false,
            Until::CaughtUp => matches!(self.goal, Goal::Reached),
            Until::Through(last) => self.at.revision >= last,
        };
        if ended {
            let token = self.token();
            self.send(frame(&token, Frame::End(v1::WatchEnd {}))).await?;
            return Err(Stop::Told);
        }
        Ok(())
    }

    async fn check_drain(&mut self) -> Step {
        if !self.leaving.is_cancelled() {
            return Ok(());
        }
        let token = self.token();
        let going = v1::GoingAway { retry_delay: duration(GOING_AWAY_RETRY) };
        self.send(frame(&token, Frame::GoingAway(going))).await?;
        Err(Stop::Told)
    }

    /// Waits for something that may match, and tells progress meanwhile.
    async fn wait(&mut self) -> Step {
        let left = self.interval.saturating_sub(self.last_frame.elapsed());
        tokio::select! {
            () = self.subscriber.woken() => Ok(()),
            position = self.goal.answered() => {
                self.goal = Goal::Position(position);
                self.subscriber.wake_at(position);
                Ok(())
            }
            () = self.leaving.cancelled() => Ok(()),
            () = self.frames.closed() => Err(Stop::Gone),
            () = tokio::time::sleep(left) => {
                if let Polled::Quiet(head) = self.subscriber.poll(self.at.revision, 0) {
                    self.advance(head);
                }
                Box::pin(self.progress()).await
            }
        }
    }

    /// Tells progress if nothing was told for an interval.
    async fn keep_alive(&mut self) -> Step {
        if self.last_frame.elapsed() >= self.interval { self.progress().await } else { Ok(()) }
    }

    async fn progress(&mut self) -> Step {
        let lag = self.lag().await?;
        let head = self.subscriber.hub().head();
        let progress = v1::WatchProgress {
            lag_events: lag.events,
            lag_bytes: lag.bytes,
            lag_time: duration(lag.time),
            oldest_token: head.oldest_token().encode(),
            head_token: head.token().encode(),
        };
        let token = self.token();
        self.send(frame(&token, Frame::Progress(progress))).await
    }

    async fn lag(&self) -> Step<Lag> {
        let head = self.subscriber.hub().head();
        // What was trimmed below it in the ring is behind nobody.
        let after = self.at.revision.max(head.floor);
        if after >= head.revision {
            return Ok(Lag::default());
        }
        let store = self.store.clone();
        let (events, bytes, since_us) = blocking(move || store.read(|c| log::lag(c, after, head.revision))).await?;
        let age = clock::age_us(since_us);
        Ok(Lag { events, bytes, time: Duration::from_micros(age) })
    }

    /// Hands a frame to the transport, and waits until it takes it.
    async fn send(&mut self, frame: Encoded) -> Step {
        let stall = self.subscriber.hub().settings().stall_timeout;
        match tokio::time::timeout(stall, self.frames.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Stop::Gone),
            Err(_) => {
                let why =
                    format!("the transport accepted nothing for {} s; resume with the last token", stall.as_secs());
                return Err(Stop::Failed(Error::new(Reason::Overloaded, why)));
            }
        }
        self.last_frame = clock::ticks();
        // A tenth of jitter, so that many watches do not tell their progress at once.
        self.interval = self.plan.options.progress.mul_f64(rand::rng().random_range(0.9..=1.1));
        Ok(())
    }
}

/// How far a watch is behind.
#[derive(Default)]
struct Lag {
    events: u64,
    bytes: u64,
    time: Duration,
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}
