//! Group commit: one transaction, one batch, one sync for all filings that wait.

use std::{sync::Arc, time::Duration};

use rusqlite::{Transaction, TransactionBehavior};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug_span;

use super::{
    Answer, Feed, KeepCursor, Parts, cursors,
    follow::{append_entry, batch_after, check_batch, read_batch, stands_in},
    full::Full,
    job::{Answered, Job},
    prepare::{Asked, Prepared, Spoilt, day_before, prepare},
    trouble::may_pass,
    unknown,
};
use crate::{
    clock::{self, Clock},
    domain::{
        error::{Error, Reason, Result},
        revision::Revision,
    },
    failpoints,
    journal::{Append, Journal, Position, Settled, Trouble},
    limits::{
        COMMIT_RESERVE_BYTES, CONFLICT_PATIENCE, GROUP_REST, MAX_CONFLICTS, MAX_CURSORS, SMALL_GROUP, SWEEP_ROWS,
    },
    metrics::Writing,
    store::{
        self, Head, WriteStore,
        apply::{self, Applier},
        from_sqlite, is_full,
        log::{self, Depth},
        read::{self, CursorRow},
    },
    trace,
};

/// Batches read from the journal at once.
const FOLLOW_BATCHES: usize = 64;
/// Bytes of batches that are applied in one transaction, unless one alone has more: a replica that is behind saves syncs and
/// segments of the search index, and its watchers do not wait for all that it has to catch up with.
const TOGETHER_BYTES: usize = 256 * 1024;
/// The longest pause between two questions for an unknown outcome.
const MAX_SETTLE_PAUSE: Duration = Duration::from_millis(250);

/// How many of these batches are applied in one transaction: the first, and what follows it as long as that is little.
fn together(batches: &[(Position, Vec<u8>)]) -> usize {
    let mut bytes = 0;
    let few = batches.iter().take_while(|(_, batch)| {
        bytes += batch.len();
        bytes <= TOGETHER_BYTES
    });
    few.count().max(1)
}

/// Whether a group of so many filings is followed by a rest. Who files alone waits for nobody, and who has its log alone
/// sends nobody a message.
fn rests_after(filings: usize, is_alone: bool) -> bool {
    !is_alone && SMALL_GROUP.contains(&filings)
}

/// The state of the writer's task.
pub(super) struct Group {
    store: WriteStore,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    feed: Box<dyn Feed>,
    /// Of the journal, when what it has at the store's place was compared last; `None` is never.
    compared: Option<u64>,
    /// Why nothing is admitted any more.
    fault: watch::Sender<Option<Error>>,
    /// Since when it is not known what became of a batch; `None` while it is.
    doubt: watch::Sender<Option<clock::Ticks>>,
    /// The server shuts down: what is in doubt stays so.
    stopping: CancellationToken,
    counts: Writing,
    /// When the last group ended, if it was small and a journal takes what comes next.
    small: Option<clock::Ticks>,
    /// Counts that there is no room, and says so in the log.
    full: Full,
}

enum Tried {
    /// Decided, and durable as far as it appended anything: the answer to each job that was taken, the first ones.
    Done(Vec<Result<Answer>>),
    /// Another writer won; decide again.
    Conflict,
}

impl Group {
    pub fn new(
        parts: Parts,
        fault: watch::Sender<Option<Error>>,
        doubt: watch::Sender<Option<clock::Ticks>>,
        stopping: CancellationToken,
    ) -> Self {
        let Parts { store, journal, clock, feed, counts } = parts;
        Self {
            store,
            journal,
            clock,
            feed,
            compared: None,
            fault,
            doubt,
            stopping,
            counts,
            small: None,
            full: Full::default(),
        }
    }

    /// Lets some time pass since a small group that others share the log of, so that the next one is larger: each is a message
    /// that servers sync and replicas apply, and who waits for the processor waits longer than for this.
    pub fn rest(&self) {
        if let Some(ended) = self.small {
            std::thread::sleep(GROUP_REST.saturating_sub(ended.elapsed()));
        }
    }

    /// Files the jobs, in as few batches as hold them, and answers each.
    pub fn file(&mut self, mut jobs: Vec<Job>) {
        let filings = jobs.len();
        while !jobs.is_empty() {
            let answers = self.settle_group(&jobs);
            let rest = jobs.split_off(answers.len());
            for (job, answer) in jobs.into_iter().zip(answers) {
                if let Err(error) = &answer {
                    job.span.in_scope(|| self.full.note(error, &*self.clock, &self.counts.full));
                }
                // A filer that went away does not want the answer.
                let _ = job.reply.send(Answered { answer, _request: job.request });
            }
            jobs = rest;
            self.store.shorten_log();
        }
        if filings > 0 {
            self.small = rests_after(filings, self.journal.is_alone()).then(clock::ticks);
        }
    }

    fn settle_group(&mut self, jobs: &[Job]) -> Vec<Result<Answer>> {
        let all = |error: &Error| vec![Err(error.clone()); jobs.len()];
        // Whoever decides much loses to whoever decides little: each time it loses, half as many are tried.
        let mut width = jobs.len();
        let (mut conflicts, began) = (0, clock::ticks());
        while conflicts < MAX_CONFLICTS || began.elapsed() < CONFLICT_PATIENCE {
            if let Some(error) = self.faulted().or_else(|| self.compare().err()) {
                return all(&error);
            }
            match self.try_group(&jobs[..width]) {
                Ok(Tried::Done(answers)) => {
                    self.counts.filings.inc_by(answers.len() as u64);
                    return answers;
                }
                Ok(Tried::Conflict) => {
                    self.counts.conflicts.inc();
                    conflicts += 1;
                    width = (width / 2).max(1);
                    if let Err(error) = self.catch_up() {
                        return all(&error);
                    }
                }
                Err(error) => return all(&error),
            }
        }
        all(&Error::new(Reason::Contention, "other replicas kept winning; nothing happened"))
    }

    /// Why nobody files any more, if it is so.
    pub fn faulted(&self) -> Option<Error> {
        self.fault.borrow().clone()
    }

    fn fail(&self, error: Error) {
        tracing::error!(%error, "filings are refused from now on");
        self.fault.send_replace(Some(error));
    }

    /// The writer's thread panicked: nobody files any more, and health says so.
    pub fn broke(&self) {
        self.fail(Error::internal("the writer ended abnormally"));
    }

    /// Decides the jobs; where the first must find a later registry's day, moves that by one part instead.
    fn try_group(&mut self, jobs: &[Job]) -> Result<Tried> {
        let _group = trace::group(jobs.iter().map(|job| &job.span)).entered();
        let before = self.store.head();
        let now_us = self.clock.now_us();
        let first = jobs.first().and_then(|job| day_before(&before, now_us, &job.request));
        let asked: Vec<Asked<'_>> = jobs.iter().map(|job| (&job.request, &job.span)).collect();
        let Some(move_day) = first else { return self.try_requests(before, now_us, &asked) };
        // What is refused or changes nothing moves no day.
        if !self.would_append(before, now_us, &asked[..1])? {
            return self.try_requests(before, now_us, &asked[..1]);
        }
        match self.try_requests(before, now_us, &[(&move_day, &tracing::Span::current())])? {
            Tried::Done(mut answers) => match answers.pop() {
                Some(Err(error)) => Err(error),
                _ => Ok(Tried::Done(Vec::new())),
            },
            Tried::Conflict => Ok(Tried::Conflict),
        }
    }

    fn would_append(&self, before: Head, now_us: i64, asked: &[Asked<'_>]) -> Result<bool> {
        let trial = Transaction::new_unchecked(&self.store.connection, TransactionBehavior::Immediate)
            .map_err(|e| from_sqlite(&e))?;
        prepare(&trial, &self.store.known, before, now_us, asked)
            .map(|prepared| !prepared.entries.is_empty())
            .map_err(|spoilt| spoilt.error)
    }

    fn try_requests(&mut self, before: Head, now_us: i64, asked: &[Asked<'_>]) -> Result<Tried> {
        let began = clock::ticks();
        let transaction = Transaction::new_unchecked(&self.store.connection, TransactionBehavior::Immediate)
            .map_err(|e| from_sqlite(&e))?;
        let known = &self.store.known;
        let mut prepared = match debug_span!("decide").in_scope(|| prepare(&transaction, known, before, now_us, asked))
        {
            Ok(prepared) => prepared,
            Err(spoilt) => match *spoilt {
                // Without room nobody's entry can be applied.
                Spoilt { error, .. } if error.reason == Reason::StorageFull => return Err(error),
                Spoilt { at: 0, error } => return Ok(Tried::Done(vec![Err(error)])),
                // Nothing of the transaction stands; those before it are decided again, without it.
                Spoilt { at, .. } => {
                    drop(transaction);
                    return self.try_requests(before, now_us, &asked[..at]);
                }
            },
        };
        if prepared.entries.is_empty() && self.journal.is_alone() {
            // Nobody else writes: what appends nothing needs no place in the order.
            drop(transaction);
            return Ok(Tried::Done(prepared.answers));
        }
        failpoints::at("writer.decided");
        apply::write_head(&transaction, &prepared.head).map_err(|e| from_sqlite(&e))?;
        self.check_room()?;
        let entries = std::mem::take(&mut prepared.entries);
        // Who has the log alone appends by the commit, and reads no batch.
        let batch = if self.journal.is_alone() { Vec::new() } else { batch_after(&before, entries) };
        self.counts.apply.observe(began.elapsed().as_secs_f64());
        let began = clock::ticks();
        failpoints::at("writer.appending");
        let appended = debug_span!("append").in_scope(|| self.journal.append(before.position, &batch));
        if appended == Append::Appended {
            self.counts.append.observe(began.elapsed().as_secs_f64());
        }
        let began = clock::ticks();
        match appended {
            Append::AtCommit => match self.commit(transaction, prepared.head) {
                Ok(()) => Ok(self.committed(prepared, began)),
                Err(error) if is_full(&error) => Err(from_sqlite(&error)),
                Err(error) => {
                    self.recover(before, &error);
                    Err(unknown())
                }
            },
            Append::Appended => match self.commit(transaction, prepared.head) {
                Ok(()) => Ok(self.committed(prepared, began)),
                // It is in the journal: the follower applies it when the store can.
                Err(error) => {
                    self.recover(before, &error);
                    Err(unknown())
                }
            },
            Append::Conflict => Ok(Tried::Conflict),
            Append::NotSent(why) => {
                Err(Error::new(Reason::JournalUnavailable, format!("the journal took nothing: {why}")))
            }
            Append::Unknown => {
                drop(transaction);
                self.settle(before.position, &batch, prepared.answers)
            }
        }
    }

    fn committed(&mut self, prepared: Prepared, began: clock::Ticks) -> Tried {
        self.counts.commit.observe(began.elapsed().as_secs_f64());
        #[allow(clippy::cast_precision_loss, reason = "a group is small")]
        self.counts.group.observe(prepared.answers.len() as f64);
        failpoints::at("writer.committed");
        self.tell(prepared.head, prepared.revisions);
        failpoints::at("writer.answered");
        Tried::Done(prepared.answers)
    }

    /// Whether something is erased on the way from where the store stood last.
    fn erases(&self, head: Head) -> bool {
        head.redacted > self.store.head().redacted
    }

    /// Makes a transaction durable with which the store stands there. Whatever comes of it, what it may have erased is not told from
    /// memory any more.
    fn commit(&self, transaction: Transaction<'_>, head: Head) -> rusqlite::Result<()> {
        if self.erases(head) {
            self.feed.forget();
        }
        store::failing("store.commit")?;
        debug_span!("commit").in_scope(|| transaction.commit())?;
        store::failing("store.committed")
    }

    /// Says where the store stands and what came. The pages of what was erased are written over afterwards, which takes a while.
    fn tell(&mut self, head: Head, revisions: Vec<Revision>) {
        let erased = self.erases(head);
        self.store.advance(head, &revisions);
        self.feed.tell(revisions, head);
        if erased {
            self.store.cleanse();
        }
    }

    /// Finds out what became of a batch. Nothing is admitted meanwhile, and whoever waits hears of it if that takes long.
    fn settle(&mut self, after: Position, batch: &[u8], answers: Vec<Result<Answer>>) -> Result<Tried> {
        self.doubt.send_replace(Some(clock::ticks()));
        let settled = self.until_settled(after, batch, answers);
        self.doubt.send_replace(None);
        settled
    }

    /// Offers the same bytes until the slot is known.
    fn until_settled(&mut self, after: Position, batch: &[u8], answers: Vec<Result<Answer>>) -> Result<Tried> {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.journal.settle(after, batch) {
                Settled::Ours => {
                    // It is in the log, whatever keeps this store from applying it now.
                    self.apply(&[(after + 1, batch)]).map_err(|_| unknown())?;
                    return Ok(Tried::Done(answers));
                }
                Settled::Theirs => return Ok(Tried::Conflict),
                Settled::NotYet if self.stopping.is_cancelled() => return Err(unknown()),
                Settled::NotYet if self.is_lost(after) => return Err(unknown()),
                Settled::NotYet => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(MAX_SETTLE_PAUSE);
                }
            }
        }
    }

    /// After an error whose outcome is unknown: opens the file again, verifies it, and tells what was committed.
    fn recover(&mut self, before: Head, error: &rusqlite::Error) {
        tracing::error!(%error, "the commit's outcome is unknown; opening the store again");
        let told = self.store.reopen().map_err(Error::from).and_then(|head| {
            let entries =
                log::entries(&self.store.connection, before.revision, head.revision, usize::MAX >> 1, usize::MAX)?;
            Ok((head, log::revisions(&self.store.connection, &entries, Depth::Whole)?))
        });
        match told {
            Ok((head, revisions)) => self.tell(head, revisions),
            Err(error) => self.fail(error),
        }
    }

    /// What a journal takes must find room here: the commit comes after.
    fn check_room(&self) -> Result<()> {
        match self.journal.durable() {
            None => Ok(()),
            Some(_) => self.store.check_room(COMMIT_RESERVE_BYTES),
        }
    }

    /// Applies what other writers appended; an error stops this replica.
    pub fn follow(&mut self) {
        if self.faulted().is_some() {
            return;
        }
        if let Err(error) = self.catch_up() {
            // It is tried again whenever batches arrive, and as long as the journal is ahead (`Writer::look`).
            tracing::warn!(%error, "could not follow the journal");
        }
    }

    /// Applies every batch that the journal has and the store has not.
    pub fn catch_up(&mut self) -> Result<()> {
        self.compare()?;
        loop {
            let after = self.store.head().position;
            let batches = self.journal.follow(after, FOLLOW_BATCHES).map_err(|trouble| self.in_trouble(&trouble))?;
            if batches.is_empty() {
                return Ok(());
            }
            let mut rest = batches.as_slice();
            while !rest.is_empty() {
                let (next, later) = rest.split_at(together(rest));
                self.apply(next)?;
                self.store.shorten_log();
                rest = later;
            }
        }
    }

    /// Compares what the journal has at the store's place with what the store has, if it was lost sight of since: nothing
    /// is appended to another log, or to one that was rolled back.
    fn compare(&mut self) -> Result<()> {
        let (seen, here) = (self.journal.interruptions(), self.store.head());
        if self.compared == Some(seen) {
            return Ok(());
        }
        // The journal is told where the store stands, whatever comes of it: a stream that ends before is lost.
        self.journal.follow(here.position, 0).map_err(|trouble| self.in_trouble(&trouble))?;
        // What was trimmed there, and is not followed by anything yet, is compared by what comes next.
        if let Err(error) = stands_in(&*self.journal, here) {
            if !may_pass(&error) {
                self.fail(error.clone());
            }
            return Err(error);
        }
        self.compared = Some(seen);
        Ok(())
    }

    /// Whether the journal is not the log any more, which stops this replica.
    fn is_lost(&self, after: Position) -> bool {
        match self.journal.follow(after, 0) {
            Err(trouble) => !may_pass(&self.in_trouble(&trouble)),
            Ok(_) => false,
        }
    }

    /// What cannot pass stops this replica.
    fn in_trouble(&self, trouble: &Trouble) -> Error {
        let error = Error::from(trouble);
        if !may_pass(&error) && self.faulted().is_none() {
            self.fail(error.clone());
        }
        error
    }

    /// Applies batches that follow each other, all in one transaction if they can be.
    fn apply(&mut self, batches: &[(Position, impl AsRef<[u8]>)]) -> Result<()> {
        let applied = self.try_apply(batches);
        match &applied {
            // What is wrong with one of them keeps none of those before it from being applied.
            Err(_) if batches.len() > 1 => return batches.chunks(1).try_for_each(|batch| self.apply(batch)),
            Err(error) if matches!(error.reason, Reason::LogDiverged | Reason::EntryCorrupt) => {
                self.fail(error.clone());
            }
            _ => {}
        }
        let (head, revisions) = applied?;
        self.tell(head, revisions);
        Ok(())
    }

    fn try_apply(&self, batches: &[(Position, impl AsRef<[u8]>)]) -> Result<(Head, Vec<Revision>)> {
        let transaction = Transaction::new_unchecked(&self.store.connection, TransactionBehavior::Immediate)
            .map_err(|e| from_sqlite(&e))?;
        let (mut head, mut revisions, mut applier) =
            (self.store.head(), Vec::new(), Applier::new(&transaction, &self.store.known));
        for (position, bytes) in batches {
            let batch = read_batch(bytes.as_ref(), *position)?;
            head = check_batch(&batch, *position, head)?;
            for entry in &batch.entries {
                revisions.push(append_entry(&mut applier, &mut head, entry)?);
            }
        }
        applier.finish().map_err(|e| from_sqlite(&e))?;
        apply::write_head(&transaction, &head).map_err(|e| from_sqlite(&e))?;
        store::failing("writer.following").map_err(|e| from_sqlite(&e))?;
        self.commit(transaction, head).map_err(|e| from_sqlite(&e))?;
        Ok((head, revisions))
    }

    /// Drops some of what was trimmed up to a floor; whether there may be more.
    pub fn sweep(&self, floor: u64) -> Result<bool> {
        let more = self.store.sweep(floor, SWEEP_ROWS)?;
        self.store.shorten_log();
        Ok(more)
    }

    /// Empties the store's write-ahead log of what was erased, if nobody reads it.
    pub fn cut_log(&self) -> bool {
        self.store.cut_log()
    }

    /// Writes over some of the pages that were free when something was erased; whether there was any.
    pub fn scrub(&self) -> Result<bool> {
        self.store.scrub()
    }

    pub fn keep_cursor(&mut self, cursor: &KeepCursor) -> Result<CursorRow> {
        self.try_keep(cursor).inspect_err(|error| self.full.note(error, &*self.clock, &self.counts.full))
    }

    fn try_keep(&self, cursor: &KeepCursor) -> Result<CursorRow> {
        if let Some(fault) = self.faulted() {
            return Err(fault);
        }
        let KeepCursor { principal, name, .. } = cursor;
        let kept = read::cursor(&self.store.connection, principal, name)?;
        let Some(row) = cursors::next(kept.as_ref(), cursor, self.clock.now_us())? else {
            return kept.ok_or_else(|| Error::internal("a cursor stands that is not there"));
        };
        if kept.is_none() && read::has_cursors(&self.store.connection, principal, MAX_CURSORS)? {
            return Err(cursors::too_many(principal));
        }
        apply::cursor(&self.store.connection, principal, name, &row).map_err(|e| from_sqlite(&e))?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_rest_after_what_several_filed_and_not_where_one_files_or_many_or_nobody_else_reads() {
        let rests = |filings: &[usize], is_alone| filings.iter().any(|filings| rests_after(*filings, is_alone));
        assert!([2, 31].into_iter().all(|filings| rests_after(filings, false)), "several");
        assert!(!rests(&[1, 32, 256], false), "one, or enough for a batch");
        assert!(!rests(&[1, 2, 31, 32], true), "an embedded journal");
    }

    #[test]
    fn small_batches_are_applied_together_and_a_large_one_alone() {
        let of = |sizes: &[usize]| -> Vec<(Position, Vec<u8>)> {
            sizes.iter().enumerate().map(|(at, bytes)| (at as Position + 1, vec![0; *bytes])).collect()
        };
        let half = TOGETHER_BYTES / 2;
        assert_eq!(together(&of(&[half, half, 1])), 2, "as many as have room");
        assert_eq!(together(&of(&[1, TOGETHER_BYTES, 1])), 1, "what is large waits for the next");
        assert_eq!(together(&of(&[TOGETHER_BYTES + 1, 1])), 1, "and is applied all the same");
    }
}
