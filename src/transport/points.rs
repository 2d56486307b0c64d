//! Point reads that memory does not answer: whoever asks while others are read is read with them.
//!
//! To hand one short read to another thread and back costs more than the read. So those that wait are read one after the
//! other by whoever reads already, and a thread is woken for many.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::Span;

use super::{App, position::check_whole};
use crate::{
    clock::{self, Ticks},
    domain::{
        error::{Error, Result},
        name::RecordName,
    },
    limits::{POINT_READERS, POINT_READS},
    tasks::{blocking, others_first},
};

/// Who waits for a record. Bounded by the streams of all connections, each of which waits for one at a time: whoever went away is
/// left out before there is room for more.
#[derive(Default)]
pub(super) struct Points(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    asked: VecDeque<Asked>,
    readers: u32,
    /// Whether one of them lets others go first: it takes those along who ask until then.
    called: bool,
}

struct Asked {
    name: RecordName,
    revision: u64,
    began: Ticks,
    reply: oneshot::Sender<Result<Bytes>>,
    /// The request's, for what its read writes to the log.
    span: Span,
}

impl Points {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Whoever changes it does nothing in between that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a reader takes more along than wait now; it says so to whoever asks meanwhile.
    fn has_room(&self) -> bool {
        let mut waiting = self.lock();
        let has_room = waiting.asked.len() < POINT_READS;
        waiting.called |= has_room;
        has_room
    }

    /// Those who have waited longest; nobody, and one reader less, if none does.
    fn take(&self) -> Vec<Asked> {
        let mut waiting = self.lock();
        waiting.called = false;
        let mut some = Vec::with_capacity(waiting.asked.len().min(POINT_READS));
        while some.len() < POINT_READS
            && let Some(asked) = waiting.asked.pop_front()
        {
            // (A client that went away does not want it.)
            if !asked.reply.is_closed() {
                some.push(asked);
            }
        }
        if some.is_empty() {
            waiting.readers -= 1;
        }
        some
    }
}

/// The record that stands for a name at a revision, encoded.
pub(super) async fn standing(app: &Arc<App>, name: RecordName, revision: u64) -> Result<Bytes> {
    let (reply, answer) = oneshot::channel();
    let needs_reader = {
        let mut waiting = app.points.lock();
        if waiting.asked.len() == waiting.asked.capacity() {
            waiting.asked.retain(|asked| !asked.reply.is_closed());
            let as_many = waiting.asked.len() + 1;
            waiting.asked.reserve(as_many);
        }
        waiting.asked.push_back(Asked { name, revision, began: clock::ticks(), reply, span: Span::current() });
        let has_one = waiting.called && waiting.asked.len() <= POINT_READS;
        let needs_reader = !has_one && waiting.readers < POINT_READERS;
        if needs_reader {
            waiting.readers += 1;
            waiting.called = true;
        }
        needs_reader
    };
    if needs_reader {
        // It reads for others too.
        Span::none().in_scope(|| app.tasks.spawn("point reads", read(Arc::clone(app))));
    }
    answer.await.unwrap_or_else(|_| Err(Error::internal("a read ended abnormally")))
}

/// Reads until nobody waits.
async fn read(app: Arc<App>) {
    loop {
        // Whoever is about to ask asks first: to hand a read over costs as much for one as for all of them.
        if app.points.has_room() {
            others_first().await;
        }
        let some = app.points.take();
        if some.is_empty() {
            return;
        }
        let reader = Arc::clone(&app);
        // They are answered here and not by the thread that read: it would wake this runtime for each.
        match blocking(move || Ok(read_each(&reader, some))).await {
            Ok(answers) => answers.into_iter().for_each(|(reply, found)| {
                // A client that went away does not want it.
                let _ = reply.send(found);
            }),
            Err(error) => tracing::error!(%error, "point reads failed"),
        }
    }
}

/// What each asked for; reads the store.
fn read_each(app: &App, some: Vec<Asked>) -> Vec<(oneshot::Sender<Result<Bytes>>, Result<Bytes>)> {
    let found = app.store.standing_each(some.iter().map(|asked| (&asked.name, asked.revision)));
    // What is wrong with one of them is not everybody's.
    let alone = |_| some.iter().map(|asked| app.store.standing(&asked.name, asked.revision)).collect();
    let found: Vec<_> = found.map_or_else(alone, |found| found.into_iter().map(Ok).collect());
    let answers = some.into_iter().zip(found).map(|(Asked { name, revision, began, reply, span }, found)| {
        let elsewhere = || span.in_scope(|| app.standing_elsewhere(&name, revision));
        let found = found.and_then(|record| record.map_or_else(elsewhere, Ok));
        (reply, check_whole(&app.store, revision, began).and(found))
    });
    answers.collect()
}
