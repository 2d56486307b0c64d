//! The only place that spawns tasks and threads: each has a name and a span, and what it ends with is never swallowed.

use std::{
    future::{Future, poll_fn},
    sync::LazyLock,
    task::Poll,
};

use tokio::{
    runtime::{self, Handle, Runtime},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::{
    domain::error::{Error, Result},
    limits::{FILE_LOOKS, JOURNAL_QUESTIONS, READ_CONNECTIONS},
};

/// The tasks of a server; a drained server has none.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
}

impl Tasks {
    /// Spawns a task that ends when its future does. A panic in it is logged, and ends nothing else.
    #[allow(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let span = tracing::Span::current();
        // In a box: a future that is moved into another takes its room twice.
        let tracked = Box::pin(self.tracker.track_future(future.instrument(span)));
        tokio::spawn(async move {
            tracing::trace!(task = name, "began");
            tracked.await;
            tracing::trace!(task = name, "ended");
        })
    }

    /// How many tasks run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until none runs.
    pub async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// As many reads at once as the store has connections: the others wait as futures, which cost little and end with
/// their requests.
static READS: Semaphore = Semaphore::const_new(READ_CONNECTIONS as usize);

/// The threads that read, as many as may at once. A runtime starts another whenever none waits at that very moment, some
/// dozens on a busy machine; and each keeps the memory that it read into, because others free it, until it reads again.
static READERS: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    let mut readers = runtime::Builder::new_current_thread();
    readers.thread_name("reader").max_blocking_threads(READ_CONNECTIONS as usize).build()
});

/// Runs a short blocking read off the async threads, when a connection is free for it.
///
/// # Errors
///
/// What the read answers, or INTERNAL if it panicked.
pub async fn blocking<T: Send + 'static>(read: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let readers = READERS.as_ref().map_err(|e| Error::internal(format!("nobody can read: {e}")))?;
    within(&READS, readers.handle(), read).await
}

/// Questions to the journal wait for others: they must not hold up reads.
static QUESTIONS: Semaphore = Semaphore::const_new(JOURNAL_QUESTIONS);

/// Asks the journal off the async threads.
///
/// # Errors
///
/// What the question answers, or INTERNAL if it panicked.
pub async fn asking<T: Send + 'static>(question: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    within(&QUESTIONS, &Handle::current(), question).await
}

/// Small files are not looked at in turn with reads: lists that take long may have all places of these.
static FILES: Semaphore = Semaphore::const_new(FILE_LOOKS);

/// Looks at small files off the async threads, whatever is read of the store meanwhile.
///
/// # Errors
///
/// What the look answers, or INTERNAL if it panicked.
pub async fn looking<T: Send + 'static>(look: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    within(&FILES, &Handle::current(), look).await
}

/// Copies of whole stores take long: one at a time, beside everything else.
static COPIES: Semaphore = Semaphore::const_new(1);

/// Copies off the async threads.
///
/// # Errors
///
/// What the copy answers, or INTERNAL if it panicked.
pub async fn copying<T: Send + 'static>(copy: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    within(&COPIES, &Handle::current(), copy).await
}

async fn within<T: Send + 'static>(
    places: &'static Semaphore,
    threads: &Handle,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let place = places.acquire().await.map_err(|_| Error::internal("the server is closed"))?;
    let span = tracing::Span::current();
    // The place goes with the work: who does not wait for the end any more has not ended it.
    match threads.spawn_blocking(move || (span.in_scope(work), place)).await {
        Ok((result, _place)) => result,
        Err(error) => Err(Error::internal(format!("work off the async threads ended abnormally: {error}"))),
    }
}

/// Lets the tasks that are ready on this worker now have their turn. Unlike tokio's `yield_now`, which waits until this very
/// worker has nothing to do, it can go on on another one.
pub async fn others_first() {
    let mut went = false;
    poll_fn(|context| {
        if std::mem::replace(&mut went, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a future comes to; never done if there is none.
pub async fn if_any<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Starts a named thread.
///
/// # Errors
///
/// If the system has none left.
#[allow(clippy::disallowed_methods, reason = "the one place that may")]
pub fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}
