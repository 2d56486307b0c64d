//! The ring of recent revisions, and the subscribers that stand in it.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    Settings,
    interest::{Interest, SubscriberId},
    sync::{Mutex, MutexGuard},
};
use crate::{
    domain::{
        error::{Error, Reason, Result},
        filter::Filters,
        revision::Revision,
    },
    journal::Position,
    limits::REPLAY_READERS,
    metrics::Feeding,
    pb::v1::EventType,
    store::Head,
};

/// The owner of the ring.
pub struct Hub {
    inner: Mutex<Inner>,
    settings: Settings,
    draining: CancellationToken,
    /// Bounds how many subscribers read from the store at once.
    readers: Arc<Semaphore>,
    /// Bounds the streams.
    places: Arc<Semaphore>,
    /// Bounds how many of them are sent a snapshot at once.
    snapshots: Arc<Semaphore>,
    counts: Feeding,
}

struct Inner {
    /// Consecutive revisions; the newest is `head.revision`.
    ring: VecDeque<Arc<Revision>>,
    bytes: usize,
    head: Head,
    subscribers: HashMap<SubscriberId, Standing>,
    /// Who waits for the log to reach a position, whatever is in it.
    awaiting: BTreeSet<(Position, SubscriberId)>,
    interest: Interest,
    next_id: SubscriberId,
}

impl Inner {
    fn forget(&mut self) {
        self.ring.clear();
        self.bytes = 0;
    }
}

struct Standing {
    wake: Arc<Notify>,
    /// Whether something that may match was published since the subscriber last took all there was.
    dirty: bool,
    /// The revision after which it has yet to look through the log, as of when it last asked; `None` if there is nothing
    /// that may match, or it has not asked yet.
    behind: Option<u64>,
}

/// What a subscriber finds at its position.
#[derive(Debug)]
pub enum Polled {
    /// Revisions after its position, in order. More may follow.
    Revisions(Vec<Arc<Revision>>),
    /// Nothing that may match up to this head.
    Quiet(Head),
    /// Its position is outside the ring: read from the store.
    Behind,
}

impl Hub {
    /// A hub on a store that stands at `head`.
    #[must_use]
    pub fn new(head: Head, settings: Settings) -> Arc<Self> {
        let inner = Inner {
            ring: VecDeque::new(),
            bytes: 0,
            head,
            subscribers: HashMap::new(),
            awaiting: BTreeSet::new(),
            interest: Interest::default(),
            next_id: 0,
        };
        let places = Arc::new(Semaphore::new(settings.max_watches.min(Semaphore::MAX_PERMITS)));
        let snapshots = Arc::new(Semaphore::new(settings.max_snapshots.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            inner: Mutex::new(inner),
            places,
            settings,
            draining: CancellationToken::new(),
            readers: Arc::new(Semaphore::new(REPLAY_READERS)),
            snapshots,
            counts: Feeding::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock was held left the ring whole: every change to it is one statement.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds committed revisions, which follow the head, and wakes those who may want them.
    pub fn publish(&self, revisions: Vec<Revision>, head: Head) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        for revision in revisions {
            let wake = |standing: &mut Standing| {
                if !standing.dirty {
                    standing.dirty = true;
                    standing.behind = standing.behind.or(Some(revision.number.saturating_sub(1)));
                    standing.wake.notify_one();
                    self.counts.wakes.inc();
                }
            };
            let subscribers = &mut inner.subscribers;
            if revision.is_redaction() {
                // It passes every filter; and those that were committed with it may have what it erased.
                subscribers.values_mut().for_each(wake);
                inner.forget();
            } else {
                inner.interest.woken_by(&revision, |id| subscribers.get_mut(&id).into_iter().for_each(wake));
            }
            inner.bytes += revision.bytes;
            inner.ring.push_back(Arc::new(revision));
        }
        while inner.bytes > self.settings.ring_bytes
            && let Some(oldest) = inner.ring.pop_front()
        {
            inner.bytes -= oldest.bytes;
        }
        inner.head = head;
        while let Some((position, id)) = inner.awaiting.first().copied()
            && position <= head.position
        {
            inner.awaiting.remove(&(position, id));
            if let Some(standing) = inner.subscribers.get(&id) {
                standing.wake.notify_one();
            }
        }
    }

    /// Empties the ring: what is in it may be about to be erased. Whoever wants it reads it from the store.
    pub fn forget(&self) {
        self.lock().forget();
    }

    /// The newest position published.
    #[must_use]
    pub fn head(&self) -> Head {
        self.lock().head
    }

    /// How many subscribers there are.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.lock().subscribers.len()
    }

    /// How many revisions the furthest subscriber has yet to look through. All are walked over, as for a redaction, and
    /// publishing waits meanwhile: for whoever asks now and then.
    #[must_use]
    pub fn furthest_behind(&self) -> u64 {
        let inner = self.lock();
        let furthest = inner.subscribers.values().filter_map(|standing| standing.behind).min();
        furthest.map_or(0, |after| inner.head.revision.saturating_sub(after))
    }

    /// How many revisions the ring has, and their bytes.
    #[must_use]
    pub fn ring(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.ring.len(), inner.bytes)
    }

    /// What it counts.
    #[must_use]
    pub fn counts(&self) -> &Feeding {
        &self.counts
    }

    /// The feed's capacities.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Tells every subscriber to go away.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Done once the hub drains.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Bounds reads of the store by subscribers.
    #[must_use]
    pub fn readers(&self) -> &Arc<Semaphore> {
        &self.readers
    }

    /// A place for a subscriber that is sent a snapshot, until it is dropped.
    ///
    /// # Errors
    ///
    /// `QUOTA_EXCEEDED` beyond the number of snapshots.
    pub fn open_snapshot(&self) -> Result<OwnedSemaphorePermit> {
        let most = self.settings.max_snapshots;
        Arc::clone(&self.snapshots).try_acquire_owned().map_err(|_| {
            let message = format!("{most} watches are sent a snapshot already; start again when some have theirs");
            Error::new(Reason::QuotaExceeded, message).with("limit", most)
        })
    }

    /// A place for a stream, from when it is asked for until the transport lets go of it: a client that does not read keeps
    /// no more streams than its due.
    ///
    /// # Errors
    ///
    /// `QUOTA_EXCEEDED` beyond the number of streams.
    pub fn open(&self) -> Result<OwnedSemaphorePermit> {
        let most = self.settings.max_watches;
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Error::new(Reason::QuotaExceeded, format!("{most} streams are open already")).with("limit", most)
        })
    }

    /// Registers a subscriber; from now on nothing that may match it is missed.
    ///
    /// # Errors
    ///
    /// `DRAINING` while the server shuts down.
    pub fn subscribe(self: &Arc<Self>, filters: Filters, types: Vec<EventType>) -> Result<Subscriber> {
        if self.draining.is_cancelled() {
            return Err(Error::new(Reason::Draining, "the server is shutting down; watch elsewhere"));
        }
        let mut inner = self.lock();
        let id = inner.next_id;
        inner.next_id += 1;
        let wake = Arc::new(Notify::new());
        inner.subscribers.insert(id, Standing { wake: Arc::clone(&wake), dirty: true, behind: None });
        inner.interest.add(id, &filters, &types);
        Ok(Subscriber { hub: Arc::clone(self), id, wake, filters, types })
    }
}

/// A subscriber's place in the hub; dropping it frees everything.
pub struct Subscriber {
    hub: Arc<Hub>,
    id: SubscriberId,
    wake: Arc<Notify>,
    filters: Filters,
    types: Vec<EventType>,
}

impl Subscriber {
    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The filters it was registered with.
    #[must_use]
    pub fn filters(&self) -> &Filters {
        &self.filters
    }

    /// Wakes it once the log has reached a position here, even if nothing on the way may match. To be said before it looks
    /// at what is there: nobody is woken for that.
    pub fn wake_at(&self, position: Position) {
        let mut inner = self.hub.lock();
        if inner.head.position < position {
            inner.awaiting.insert((position, self.id));
        }
    }

    /// Waits until something that may match was published since the last `Quiet`.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What lies after a position, at most `limit` revisions.
    #[must_use]
    pub fn poll(&self, after: u64, limit: usize) -> Polled {
        let mut inner = self.hub.lock();
        let inner = &mut *inner;
        let head = inner.head;
        let floor = head.revision - u64::try_from(inner.ring.len()).unwrap_or(u64::MAX);
        let Some(standing) = inner.subscribers.get_mut(&self.id) else { return Polled::Quiet(head) };
        if !standing.dirty || after >= head.revision {
            (standing.dirty, standing.behind) = (false, None);
            return Polled::Quiet(head);
        }
        standing.behind = Some(after);
        if after < floor {
            self.hub.counts.ring_misses.inc();
            return Polled::Behind;
        }
        self.hub.counts.ring_hits.inc();
        let skip = usize::try_from(after - floor).unwrap_or(usize::MAX);
        let found: Vec<_> = inner.ring.iter().skip(skip).take(limit).cloned().collect();
        if skip + found.len() == inner.ring.len() {
            standing.dirty = false;
        }
        Polled::Revisions(found)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        inner.subscribers.remove(&self.id);
        inner.awaiting.retain(|(_, id)| *id != self.id);
        inner.interest.remove(self.id, &self.filters, &self.types);
    }
}
