//! The writer: the one task that changes the store.
//!
//! Filings wait in a bounded queue. The writer drains what waits (group commit), opens one transaction, decides each
//! filing after those before it (which only reads, so that a bad one leaves nothing to undo) and applies it, asks the
//! journal to append the batch, commits, tells the feed, and only then answers.

mod conclude;
pub mod cursors;
mod day;
mod draft;
mod follow;
mod full;
mod group;
pub mod job;
mod merge;
mod prepare;
mod redact;
mod rulings;
mod trim;
mod trouble;
mod warn;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::Span;

pub use self::follow::{batch_after, batch_end, check_place, position_of, stands_in};
pub use self::job::{Act, Answer, KeepCursor, Request, Selection, Step};
use self::job::{Admission, Job, Message};
pub use self::prepare::{BATCH_FRAMING_BYTES, ENTRY_FRAMING_BYTES};
use crate::{
    clock::{self, Clock},
    domain::{
        error::{Error, Reason, Result},
        revision::Revision,
    },
    journal::Journal,
    limits::{DOUBT_PATIENCE, MAX_ENTRY_BYTES, MAX_GROUP, WRITER_QUEUE},
    metrics::Writing,
    store::{Head, WriteStore, read::CursorRow},
    tasks,
};

/// A payload with its header makes an entry.
pub(crate) const MAX_PAYLOAD_BYTES: usize = MAX_ENTRY_BYTES - 1024;

/// Who is told of what was committed, in order.
pub trait Feed: Send {
    /// Some of what it was told is about to be erased, and must not be told from memory any more. It is said before that is
    /// committed, after which whoever reads the store can know of it.
    fn forget(&self);

    /// What came, and where the store stands with it. What one of these revisions erased may be in those before it.
    fn tell(&self, revisions: Vec<Revision>, head: Head);
}

/// Nobody.
impl Feed for () {
    fn forget(&self) {}

    fn tell(&self, _: Vec<Revision>, _: Head) {}
}

/// Hands work to the writer. Cheap to clone; the writer ends when it is told to.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Message>,
    stopping: CancellationToken,
    fault: watch::Receiver<Option<Error>>,
    doubt: watch::Receiver<Option<clock::Ticks>>,
}

/// Waits for the writer's thread, and for the one that copies its log back.
pub struct WriterThread([std::thread::JoinHandle<()>; 2]);

impl WriterThread {
    /// Waits until the writer has ended.
    ///
    /// # Errors
    ///
    /// If it ended abnormally.
    pub fn join(self) -> Result<()> {
        // Both, whatever the first ended with.
        let ended = self.0.map(std::thread::JoinHandle::join);
        ended
            .into_iter()
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| Error::internal("the writer ended abnormally"))
    }
}

/// What a writer works with.
pub struct Parts {
    /// What it changes.
    pub store: WriteStore,
    /// Who orders batches.
    pub journal: Arc<dyn Journal>,
    /// Who tells the time.
    pub clock: Arc<dyn Clock>,
    /// Who is told of what was committed.
    pub feed: Box<dyn Feed>,
    /// What is counted.
    pub counts: Writing,
}

impl Parts {
    /// Of a writer that tells nobody, and counts for nobody.
    #[must_use]
    pub fn new(store: WriteStore, journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Self {
        Self { store, journal, clock, feed: Box::new(()), counts: Writing::default() }
    }

    /// Starts the writer.
    ///
    /// # Errors
    ///
    /// If the journal's log is not the store's, or the thread cannot be started.
    pub fn start(self) -> Result<(Writer, WriterThread)> {
        begin(self, false)
    }

    /// The same on a store that has readers. If it had some of a log already, and the journal's is another one, or has
    /// dropped what comes next, then what it has is read, and filings are refused from the beginning; [`Writer::fault`]
    /// says why.
    ///
    /// # Errors
    ///
    /// As of [`Parts::start`], of a store that had nothing.
    pub fn start_for_readers(self) -> Result<(Writer, WriterThread)> {
        let has_log = self.store.head().position > 0;
        begin(self, has_log)
    }
}

fn begin(parts: Parts, is_worth_reading: bool) -> Result<(Writer, WriterThread)> {
    let (queue, waiting) = mpsc::channel(WRITER_QUEUE);
    let (faults, fault) = watch::channel(None);
    let (doubts, doubt) = watch::channel(None);
    let wake = queue.downgrade();
    let arrived = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&arrived);
    parts.journal.on_arrival(Arc::new(move || {
        // Said once, until the writer looks; with a full queue it looks before its next group.
        if !said.swap(true, Ordering::SeqCst)
            && let Some(queue) = wake.upgrade()
        {
            let _ = queue.try_send(Message::Arrived);
        }
    }));
    let stopping = CancellationToken::new();
    let copier = parts.store.copier();
    let mut group = group::Group::new(parts, faults, doubts, stopping.clone());
    match group.catch_up() {
        // It is caught up with when it answers; until then readers have what the store has, and nobody files.
        Err(error) if trouble::may_pass(&error) => {
            tracing::warn!(%error, "the journal could not be followed yet");
        }
        // It was said in the log why.
        Err(_) if is_worth_reading && group.faulted().is_some() => {}
        caught_up => caught_up?,
    }
    let thread = tasks::thread("writer", move || {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut group, waiting, &arrived)));
        if let Err(panic) = ended {
            group.broke();
            std::panic::resume_unwind(panic);
        }
    })
    .map_err(|e| Error::internal(format!("the writer's thread: {e}")))?;
    let copying = tasks::thread("copy-back", move || copier.run())
        .map_err(|e| Error::internal(format!("the thread that copies the log back: {e}")))?;
    Ok((Writer { queue, stopping, fault, doubt }, WriterThread([thread, copying])))
}

fn run(group: &mut group::Group, mut waiting: mpsc::Receiver<Message>, arrived: &AtomicBool) {
    while let Some(first) = waiting.blocking_recv() {
        group.rest();
        let mut jobs = Vec::new();
        let mut next = Some(first);
        let mut stop = false;
        while let Some(message) = next.take() {
            match message {
                Message::File(mut job) if job.admission.admit() => {
                    job.waits = Span::none();
                    jobs.push(*job);
                }
                Message::File(_) => {}
                Message::Sweep(floor, reply) => {
                    let _ = reply.send(group.sweep(floor));
                }
                Message::Cut(reply) => {
                    let _ = reply.send(group.cut_log());
                }
                Message::Scrub(reply) => {
                    let _ = reply.send(group.scrub());
                }
                Message::Cursor(cursor, reply) => {
                    let _ = reply.send(group.keep_cursor(&cursor));
                }
                Message::Arrived => arrived.store(true, Ordering::SeqCst),
                Message::Stop => stop = true,
            }
            if jobs.len() < MAX_GROUP && !stop {
                next = waiting.try_recv().ok();
            }
        }
        if arrived.swap(false, Ordering::SeqCst) {
            group.follow();
        }
        group.file(jobs);
        if stop {
            break;
        }
    }
    tracing::debug!("the writer ended");
}

impl Writer {
    /// Files, and waits for the answer, at most until `deadline`, and no longer than [`DOUBT_PATIENCE`] while a batch's outcome
    /// is unknown.
    ///
    /// # Errors
    ///
    /// Of the catalogue. UNAVAILABLE and DEADLINE mean that nothing happened, OUTCOME_UNKNOWN that it may have.
    pub async fn file(&self, request: Request, deadline: Option<Duration>) -> Result<Answer> {
        // Once it waits, the writer may admit it at any moment.
        if deadline.is_some_and(|left| left.is_zero()) {
            return Err(too_late());
        }
        if self.is_stuck() {
            return Err(self.fault().unwrap_or_else(in_doubt));
        }
        let (reply, answer) = oneshot::channel();
        let admission = Admission::default();
        let (span, waits) = (Span::current(), tracing::debug_span!("queue"));
        let job = Job { request, reply, admission: admission.clone(), span, waits };
        self.queue.try_send(Message::File(Box::new(job))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Error::new(Reason::Overloaded, format!("{WRITER_QUEUE} filings wait already; nothing happened"))
            }
            mpsc::error::TrySendError::Closed(_) => self.fault().unwrap_or_else(stopped),
        })?;
        // A handler whose client hangs up is dropped: the job is decided all the same, or given up while it waits.
        let guard = GiveUp(&admission);
        let given_up = |why: fn() -> Error| if admission.give_up() { why() } else { unknown() };
        let answered = tokio::select! {
            biased;
            answered = answer => answered,
            () = passed(deadline) => return Err(given_up(too_late)),
            () = self.stuck() => return Err(given_up(in_doubt)),
        };
        std::mem::forget(guard);
        answered.map_or_else(|_| Err(unknown()), |answered| answered.answer)
    }

    /// Whether a batch's outcome has been unknown for long: filings are refused meanwhile.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.doubt.borrow().is_some_and(|since| since.elapsed() >= DOUBT_PATIENCE)
    }

    /// Done once it is.
    async fn stuck(&self) {
        let mut doubt = self.doubt.clone();
        loop {
            // A writer that ended answers, or is heard to have ended.
            let Ok(since) = doubt.wait_for(Option::is_some).await.map(|since| *since) else {
                return std::future::pending().await;
            };
            let left = since.map_or(Duration::ZERO, |since| DOUBT_PATIENCE.saturating_sub(since.elapsed()));
            let settled = doubt.wait_for(|now| *now != since);
            match tokio::time::timeout(left, settled).await.map(|settled| settled.is_ok()) {
                Err(_) => return,
                Ok(true) => {}
                Ok(false) => return std::future::pending().await,
            }
        }
    }

    /// Keeps a cursor.
    ///
    /// # Errors
    ///
    /// ETAG_MISMATCH if it is not in the expected state or would go back.
    pub async fn keep_cursor(&self, cursor: KeepCursor) -> Result<CursorRow> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Cursor(cursor, reply)).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Drops some of what was trimmed up to a floor; whether there may be more.
    ///
    /// # Errors
    ///
    /// If the store cannot be written, or the writer has ended.
    pub async fn sweep(&self, floor: u64) -> Result<bool> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Sweep(floor, reply)).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Empties the write-ahead log of what was erased; `false` if it must be tried again.
    ///
    /// # Errors
    ///
    /// If the writer has ended.
    pub async fn cut_log(&self) -> Result<bool> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Cut(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }

    /// Writes over some of the pages that were free when something was erased; `false` if none is left.
    ///
    /// # Errors
    ///
    /// If the store cannot be written, or the writer has ended.
    pub async fn scrub(&self) -> Result<bool> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Scrub(reply)).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Has the writer look for batches that others appended: it may have been told, and unable to apply them then.
    pub fn look(&self) {
        // With a full queue it looks before its next group.
        let _ = self.queue.try_send(Message::Arrived);
    }

    /// Why filings are refused altogether, if they are: the log diverged, or the store failed.
    #[must_use]
    pub fn fault(&self) -> Option<Error> {
        self.fault.borrow().clone()
    }

    /// Waits until filings are refused altogether; forever if the writer ends before.
    pub async fn failed(&self) {
        let mut fault = self.fault.clone();
        if fault.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets the writer end after what waits.
    pub async fn stop(&self) {
        self.stopping.cancel();
        // A writer that ended already needs no word.
        let _ = self.queue.send(Message::Stop).await;
    }
}

struct GiveUp<'a>(&'a Admission);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Done when a deadline has passed; never without one.
async fn passed(deadline: Option<Duration>) {
    match deadline {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
}

fn stopped() -> Error {
    Error::new(Reason::Draining, "the server is shutting down; nothing happened")
}

fn too_late() -> Error {
    Error::new(Reason::Deadline, "the deadline passed while the filing waited; nothing happened")
}

fn in_doubt() -> Error {
    let why = "it is not known yet what became of what was filed before; nothing of this request happened";
    Error::new(Reason::JournalUnavailable, why)
}

fn unknown() -> Error {
    Error::new(Reason::OutcomeUnknown, "the filing may or may not stand; retry with the same request id")
}
