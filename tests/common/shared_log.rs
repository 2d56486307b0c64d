//! A journal in memory that several servers share, and that can be told to misbehave once.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use attache::journal::{Append, Durable, Journal, Position, Settled, Trouble, Wake};

/// What the next append meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It lands, but its writer is told that nobody knows.
    UnknownLanded,
    /// It does not land, and nobody knows; it lands when it is offered again.
    UnknownLost,
    /// It does not land now, nobody knows, and another batch takes its place meanwhile if one is offered.
    UnknownLate,
    /// It is not sent at all.
    NotSent,
}

#[derive(Default)]
struct Log {
    batches: Vec<Vec<u8>>,
    wakes: Vec<Wake>,
    faults: VecDeque<Fault>,
    /// How often settling answers "not yet" before it says.
    not_yet: u32,
    conflicts: u32,
    interruptions: u64,
}

/// The log; clones share it. Echo: its own appends are told to their writer too, as a stream would.
#[derive(Clone, Default)]
pub struct SharedLog(Arc<Mutex<Log>>);

impl SharedLog {
    /// The next appends meet these, one each.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().unwrap().faults.extend(faults);
    }

    /// Settling answers "not yet" so often.
    pub fn keep_in_doubt(&self, times: u32) {
        self.0.lock().unwrap().not_yet = times;
    }

    /// How many appends lost their place to another.
    pub fn conflicts(&self) -> u32 {
        self.0.lock().unwrap().conflicts
    }

    /// How many of the faults have not been met yet.
    pub fn faults_left(&self) -> usize {
        self.0.lock().unwrap().faults.len()
    }

    /// The log is another one from now on, as a stream that was restored from a copy; its writers were cut off meanwhile.
    pub fn becomes(&self, batches: Vec<Vec<u8>>) {
        let mut log = self.0.lock().unwrap();
        log.batches = batches;
        log.interruptions += 1;
    }

    /// How many batches there are.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().batches.len()
    }

    /// Puts bytes into the log as another writer would.
    pub fn smuggle(&self, batch: Vec<u8>) {
        self.land(batch);
    }

    /// The batches as appended.
    pub fn batches(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().batches.clone()
    }

    fn land(&self, batch: Vec<u8>) {
        let place = self.len() as u64;
        // Another may take the place in between; then the next one.
        if !self.land_after(place, &batch) {
            self.land(batch);
        }
    }

    /// Lands if this is the next place: looked at and taken at once, as a stream does.
    fn land_after(&self, after: Position, batch: &[u8]) -> bool {
        let wakes = {
            let mut log = self.0.lock().unwrap();
            if log.batches.len() as u64 != after {
                return false;
            }
            log.batches.push(batch.to_vec());
            log.wakes.clone()
        };
        wakes.iter().for_each(|wake| wake());
        true
    }
}

impl Journal for SharedLog {
    fn append(&self, after: Position, batch: &[u8]) -> Append {
        let fault = self.0.lock().unwrap().faults.pop_front();
        match fault {
            Some(Fault::NotSent) => return Append::NotSent("told to".into()),
            Some(Fault::UnknownLost | Fault::UnknownLate) => return Append::Unknown,
            _ => {}
        }
        if !self.land_after(after, batch) {
            self.0.lock().unwrap().conflicts += 1;
            return Append::Conflict;
        }
        if fault == Some(Fault::UnknownLanded) { Append::Unknown } else { Append::Appended }
    }

    fn settle(&self, after: Position, batch: &[u8]) -> Settled {
        {
            let mut log = self.0.lock().unwrap();
            if log.not_yet > 0 {
                log.not_yet -= 1;
                return Settled::NotYet;
            }
            let slot = usize::try_from(after).unwrap();
            if let Some(there) = log.batches.get(slot) {
                return if there == batch { Settled::Ours } else { Settled::Theirs };
            }
        }
        // Taken meanwhile by another: the next question finds it there.
        if self.land_after(after, batch) { Settled::Ours } else { Settled::NotYet }
    }

    fn head(&self) -> Result<Option<Position>, Trouble> {
        Ok(Some(self.len() as u64))
    }

    fn follow(&self, after: Position, limit: usize) -> Result<Vec<(Position, Vec<u8>)>, Trouble> {
        let log = self.0.lock().unwrap();
        let from = usize::try_from(after).unwrap();
        let batches = log.batches.iter().enumerate().skip(from).take(limit);
        Ok(batches.map(|(i, b)| (i as u64 + 1, b.clone())).collect())
    }

    fn batch(&self, position: Position) -> Result<Option<Vec<u8>>, Trouble> {
        let index = usize::try_from(position).unwrap() - 1;
        Ok(self.0.lock().unwrap().batches.get(index).cloned())
    }

    fn interruptions(&self) -> u64 {
        self.0.lock().unwrap().interruptions
    }

    fn on_arrival(&self, wake: Wake) {
        self.0.lock().unwrap().wakes.push(wake);
    }

    fn trim(&self, _up_to: Position) -> Result<(), Trouble> {
        Ok(())
    }
}

/// A replica's view of the log that can be held: the log is ahead then, and the replica behind.
#[derive(Clone, Default)]
pub struct Lagging {
    log: SharedLog,
    held: Arc<AtomicBool>,
    is_cut: Arc<AtomicBool>,
    is_unassured: Arc<AtomicBool>,
    is_deaf: bool,
    says_what_survives: bool,
    wakes: Arc<Mutex<Vec<Wake>>>,
    /// How often the log's head was asked for.
    asked: Arc<AtomicU32>,
}

impl Lagging {
    pub fn of(log: &SharedLog) -> Self {
        Self { log: log.clone(), ..Self::default() }
    }

    /// A view that is never told of arrivals: the replica learns of them only if it looks.
    pub fn deaf(log: &SharedLog) -> Self {
        Self { is_deaf: true, ..Self::of(log) }
    }

    /// A view that says what a batch survives, as that of a stream does: health waits for it, and numbers tell its lag.
    pub fn like_a_stream(log: &SharedLog) -> Self {
        Self { says_what_survives: true, ..Self::of(log) }
    }

    /// From now on nothing arrives.
    pub fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// What was held arrives.
    pub fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
        let wakes = self.wakes.lock().unwrap().clone();
        wakes.iter().for_each(|wake| wake());
    }

    /// From now on nobody learns where it ends, or the other way.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// From now on nobody says whether what is acknowledged is synced, or the other way.
    pub fn keep_unassured(&self, is_unassured: bool) {
        self.is_unassured.store(is_unassured, Ordering::SeqCst);
    }

    /// How often somebody asked how far the log is.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Journal for Lagging {
    fn append(&self, after: Position, batch: &[u8]) -> Append {
        self.log.append(after, batch)
    }

    fn settle(&self, after: Position, batch: &[u8]) -> Settled {
        self.log.settle(after, batch)
    }

    fn head(&self) -> Result<Option<Position>, Trouble> {
        let head = self.log.head();
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_cut.load(Ordering::SeqCst) { Err(Trouble::Unreachable("told to be".into())) } else { head }
    }

    fn follow(&self, after: Position, limit: usize) -> Result<Vec<(Position, Vec<u8>)>, Trouble> {
        if self.held.load(Ordering::SeqCst) { Ok(Vec::new()) } else { self.log.follow(after, limit) }
    }

    fn batch(&self, position: Position) -> Result<Option<Vec<u8>>, Trouble> {
        self.log.batch(position)
    }

    fn interruptions(&self) -> u64 {
        self.log.interruptions()
    }

    fn durable(&self) -> Option<Durable> {
        let is_unassured = self.is_unassured.load(Ordering::SeqCst);
        self.says_what_survives.then_some(if is_unassured { Durable::Unknown } else { Durable::Synced })
    }

    fn on_arrival(&self, wake: Wake) {
        self.wakes.lock().unwrap().push(Arc::clone(&wake));
        if !self.is_deaf {
            self.log.on_arrival(wake);
        }
    }

    fn trim(&self, up_to: Position) -> Result<(), Trouble> {
        self.log.trim(up_to)
    }
}
