//! Group commit: one transaction, one batch, one sync for all filings that wait.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Answer, KeepCursor, MAX_PAYLOAD_BYTES, Publish,
    draft::Drafting,
    job::{Act, Job, Request},
    unknown,
};
use crate::{
    clock::{Clock, DAY_US, day},
    domain::{
        error::{Error, Reason, Result},
        report::etag,
        resolve::RESOLVER_VERSION,
        revision::Revision,
        token::{Epoch, GENESIS},
    },
    journal::{Append, Journal, Position, Settled},
    limits::{MAX_BATCH_BYTES, MAX_CONFLICTS},
    pb::log::{Batch, Entry, EntryHeader, EntryKind, EntryPayload},
    store::{
        Head, WriteStore, apply, from_sqlite, is_full,
        log::{self, Depth, StoredEntry},
        read::{self, CursorRow},
        search,
    },
};

/// The format of batches that this version writes and reads.
const FORMAT: u32 = 1;
/// Batches read from the journal at once.
const FOLLOW_BATCHES: usize = 64;
/// What a batch adds to its entries at most: format, epoch, ids and hash.
const BATCH_FRAMING_BYTES: usize = 1024;
/// What a batch adds to each entry at most: its tag and length.
const ENTRY_FRAMING_BYTES: usize = 11;
/// The longest pause between two questions for an unknown outcome.
const MAX_SETTLE_PAUSE: Duration = Duration::from_secs(1);

/// The state of the writer's task.
pub(super) struct Group {
    store: WriteStore,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    publish: Publish,
    /// Why nothing is admitted any more.
    fault: watch::Sender<Option<Error>>,
    /// The server shuts down: what is in doubt stays so.
    stopping: CancellationToken,
}

/// A group whose transaction is ready for the journal.
struct Prepared {
    /// The answer to each job, in order.
    answers: Vec<Result<Answer>>,
    /// How many jobs were taken; the others exceed the batch.
    taken: usize,
    head: Head,
    batch: Vec<u8>,
    revisions: Vec<Revision>,
    appends: bool,
}

enum Tried {
    /// Decided, and durable as far as it appended anything.
    Done { answers: Vec<Result<Answer>>, taken: usize },
    /// Another writer won; decide again.
    Conflict,
}

impl Group {
    pub fn new(
        store: WriteStore,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        publish: Publish,
        fault: watch::Sender<Option<Error>>,
        stopping: CancellationToken,
    ) -> Self {
        Self { store, journal, clock, publish, fault, stopping }
    }

    /// Files the jobs, in as few batches as hold them, and answers each.
    pub fn file(&mut self, mut jobs: Vec<Job>) {
        while !jobs.is_empty() {
            let (answers, taken) = self.settle_group(&jobs);
            let rest = jobs.split_off(taken);
            for (job, answer) in jobs.into_iter().zip(answers) {
                // A filer that went away does not want the answer.
                let _ = job.reply.send(answer);
            }
            jobs = rest;
        }
    }

    fn settle_group(&mut self, jobs: &[Job]) -> (Vec<Result<Answer>>, usize) {
        let all = |error: &Error| (vec![Err(error.clone()); jobs.len()], jobs.len());
        for _ in 0..MAX_CONFLICTS {
            if let Some(fault) = self.faulted() {
                return all(&fault);
            }
            match self.try_group(jobs) {
                Ok(Tried::Done { answers, taken }) => return (answers, taken),
                Ok(Tried::Conflict) => {
                    if let Err(error) = self.catch_up() {
                        return all(&error);
                    }
                }
                Err(error) => return all(&error),
            }
        }
        all(&Error::new(Reason::Contention, "other replicas kept winning; nothing happened"))
    }

    fn faulted(&self) -> Option<Error> {
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
            Tried::Done { mut answers, .. } => match answers.pop() {
                Some(Err(error)) => Err(error),
                _ => Ok(Tried::Done { answers: Vec::new(), taken: 0 }),
            },
            Tried::Conflict => Ok(Tried::Conflict),
        }
    }

    fn would_append(&self, before: Head, now_us: i64, asked: &[Asked<'_>]) -> Result<bool> {
        let trial = Transaction::new_unchecked(&self.store.connection, TransactionBehavior::Immediate)
            .map_err(|e| from_sqlite(&e))?;
        Ok(prepare(&trial, before, now_us, asked)?.appends)
    }

    fn try_requests(&mut self, before: Head, now_us: i64, asked: &[Asked<'_>]) -> Result<Tried> {
        let transaction = Transaction::new_unchecked(&self.store.connection, TransactionBehavior::Immediate)
            .map_err(|e| from_sqlite(&e))?;
        let prepared = prepare(&transaction, before, now_us, asked)?;
        if !prepared.appends && matches!(self.journal.head(), Ok(None)) {
            // Nobody else writes: what appends nothing needs no place in the order.
            drop(transaction);
            return Ok(Tried::Done { answers: prepared.answers, taken: prepared.taken });
        }
        apply::write_head(&transaction, &prepared.head).map_err(|e| from_sqlite(&e))?;
        match self.journal.append(before.position, &prepared.batch) {
            Append::AtCommit => match transaction.commit() {
                Ok(()) => Ok(self.committed(prepared)),
                Err(error) if is_full(&error) => Err(from_sqlite(&error)),
                Err(error) => {
                    self.recover(before, &error);
                    Err(unknown())
                }
            },
            Append::Appended => match transaction.commit() {
                Ok(()) => Ok(self.committed(prepared)),
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
                self.settle(before.position, prepared)
            }
        }
    }

    fn committed(&mut self, prepared: Prepared) -> Tried {
        self.store.advance(prepared.head, &prepared.revisions);
        (self.publish)(prepared.revisions, prepared.head);
        Tried::Done { answers: prepared.answers, taken: prepared.taken }
    }

    /// Offers the same bytes until the slot is known. Nothing is admitted meanwhile.
    fn settle(&mut self, after: Position, prepared: Prepared) -> Result<Tried> {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.journal.settle(after, &prepared.batch) {
                Settled::Ours => {
                    // It is in the log, whatever keeps this store from applying it now.
                    self.apply_batch(after + 1, &prepared.batch).map_err(|_| unknown())?;
                    return Ok(Tried::Done { answers: prepared.answers, taken: prepared.taken });
                }
                Settled::Theirs => return Ok(Tried::Conflict),
                Settled::NotYet if self.stopping.is_cancelled() => return Err(unknown()),
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
            Ok((head, revisions)) => {
                self.store.advance(head, &revisions);
                (self.publish)(revisions, head);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Applies what other writers appended; an error stops this replica.
    pub fn follow(&mut self) {
        if let Err(error) = self.catch_up() {
            tracing::warn!(%error, "could not follow the journal");
        }
    }

    /// Applies every batch that the journal has and the store has not.
    pub fn catch_up(&mut self) -> Result<()> {
        loop {
            let after = self.store.head().position;
            let batches = self
                .journal
                .follow(after, FOLLOW_BATCHES)
                .map_err(|e| Error::new(Reason::JournalUnavailable, e.to_string()))?;
            if batches.is_empty() {
                return Ok(());
            }
            for (position, bytes) in batches {
                self.apply_batch(position, &bytes)?;
            }
        }
    }

    fn apply_batch(&mut self, position: Position, bytes: &[u8]) -> Result<()> {
        let applied = self.try_apply(position, bytes);
        if let Err(error) = &applied
            && matches!(error.reason, Reason::LogDiverged | Reason::EntryCorrupt)
        {
            self.fail(error.clone());
        }
        let (head, revisions) = applied?;
        self.store.advance(head, &revisions);
        (self.publish)(revisions, head);
        Ok(())
    }

    fn try_apply(&self, position: Position, bytes: &[u8]) -> Result<(Head, Vec<Revision>)> {
        let before = self.store.head();
        let batch = Batch::decode(bytes)
            .map_err(|_| Error::new(Reason::EntryCorrupt, format!("the batch at {position} cannot be read")))?;
        let mut head = check_batch(&batch, position, before)?;
        let transaction = Transaction::new_unchecked(&self.store.connection, TransactionBehavior::Immediate)
            .map_err(|e| from_sqlite(&e))?;
        let mut revisions = Vec::with_capacity(batch.entries.len());
        let mut index = Vec::new();
        for entry in batch.entries {
            let (stored, additions) = append_entry(&transaction, &mut head, entry)?;
            revisions.push(log::revision(&transaction, &stored, Depth::Whole)?);
            index.extend(additions);
        }
        search::add(&transaction, &index).map_err(|e| from_sqlite(&e))?;
        apply::write_head(&transaction, &head).map_err(|e| from_sqlite(&e))?;
        transaction.commit().map_err(|e| from_sqlite(&e))?;
        Ok((head, revisions))
    }

    pub fn keep_cursor(&mut self, cursor: &KeepCursor) -> Result<CursorRow> {
        if let Some(fault) = self.faulted() {
            return Err(fault);
        }
        let KeepCursor { principal, name, row, expected_etag } = cursor;
        let kept = read::cursor(&self.store.connection, principal, name)?;
        let mismatch = |why: String| {
            let etag = kept.as_ref().map(|k| k.etag.clone()).unwrap_or_default();
            Error::new(Reason::EtagMismatch, why).with_resource(name.as_str()).with("etag", etag)
        };
        if let Some(same) = kept.as_ref().filter(|k| k.position == row.position) {
            return Ok(same.clone());
        }
        let etag_now = kept.as_ref().map_or("", |k| k.etag.as_str());
        if expected_etag.as_ref().is_some_and(|expected| expected != etag_now) {
            return Err(mismatch(format!("the cursor {name} has changed; read it again")));
        }
        if let Some(kept) = &kept {
            let place = |r: &CursorRow| (r.revision, r.event_index, r.snapshot_after.clone());
            if place(row) < place(kept) {
                return Err(mismatch(format!("the cursor {name} stands at a later position")));
            }
        }
        let updated_at_us = self.clock.now_us();
        let etag = etag(format!("{}{updated_at_us}", row.position).as_bytes());
        let row = CursorRow { etag, updated_at_us, ..row.clone() };
        apply::cursor(&self.store.connection, principal, name, &row).map_err(|e| from_sqlite(&e))?;
        Ok(row)
    }
}

/// A request and the span that its lines are written in.
type Asked<'a> = (&'a Request, &'a tracing::Span);

/// The move of the registry's day that must come before a filing, while a history is replayed: the clock sleeps then.
/// The first filing that ends the replay is one of them.
fn day_before(head: &Head, now_us: i64, request: &Request) -> Option<Request> {
    let at = day(request.recorded_at_us.unwrap_or(now_us).max(head.recorded_at_us));
    let is_clock = matches!(request.act, Act::Day { .. });
    if !head.replaying || is_clock || request.validate_only || head.day.is_none_or(|today| at <= today) {
        return None;
    }
    let midnight = i64::from(at) * DAY_US;
    Some(Request::day(at, Some(midnight.max(head.recorded_at_us))))
}

/// Decides each request in a savepoint of its own.
fn prepare(connection: &Connection, before: Head, now_us: i64, asked: &[Asked<'_>]) -> Result<Prepared> {
    let mut head = Head { position: before.position + 1, ..before };
    let mut entries = Vec::new();
    let mut revisions = Vec::new();
    let mut answers: Vec<Result<Answer>> = Vec::new();
    let mut index = Vec::new();
    let mut bytes = 0;
    let mut taken = 0;
    let savepoint = |sql: &str| {
        let done = connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        done.map(drop).map_err(|e| from_sqlite(&e))
    };
    let undo = || savepoint("ROLLBACK TO filing").and_then(|()| savepoint("RELEASE filing"));
    for (request, span) in asked {
        if taken > 0 && day_before(&head, now_us, request).is_some() {
            break;
        }
        savepoint("SAVEPOINT filing")?;
        let mut next = head;
        let one = span.in_scope(|| decide_one(connection, &mut next, now_us, request));
        match one {
            Ok(Decided::Entry { answer, entry, revision, additions }) if !request.validate_only => {
                let size = entry.encoded_len() + ENTRY_FRAMING_BYTES;
                if !entries.is_empty() && bytes + size > MAX_BATCH_BYTES - BATCH_FRAMING_BYTES {
                    undo()?;
                    break;
                }
                savepoint("RELEASE filing")?;
                bytes += size;
                head = next;
                entries.push(entry);
                revisions.push(*revision);
                index.extend(additions);
                answers.push(Ok(answer));
            }
            Ok(Decided::Entry { answer, .. }) => {
                undo()?;
                answers.push(Ok(Answer { revision: 0, head, ..answer }));
            }
            Ok(Decided::Nothing(answer)) => {
                undo()?;
                answers.push(Ok(Answer { head, ..answer }));
            }
            // Without room nothing of the transaction can stand.
            Err(error) if error.reason == Reason::StorageFull => return Err(error),
            Err(error) => {
                undo()?;
                answers.push(Err(error));
            }
        }
        taken += 1;
    }
    search::add(connection, &index).map_err(|e| from_sqlite(&e))?;
    let appends = !entries.is_empty();
    let batch = Batch {
        format: FORMAT,
        epoch: before.epoch.as_bytes().to_vec(),
        batch_id: uuid::Uuid::now_v7().as_bytes().to_vec(),
        first_revision: before.revision + 1,
        previous_hash: before.hash.to_vec(),
        entries,
    };
    // Answers name the position at which the whole group is visible.
    for answer in answers.iter_mut().flatten().filter(|a| a.revision == 0) {
        answer.head = head;
    }
    Ok(Prepared { answers, taken, head, batch: batch.encode_to_vec(), revisions, appends })
}

enum Decided {
    Entry { answer: Answer, entry: Entry, revision: Box<Revision>, additions: Vec<search::Addition> },
    Nothing(Answer),
}

fn decide_one(connection: &Connection, head: &mut Head, now_us: i64, request: &Request) -> Result<Decided> {
    if let Some(answer) = replay(connection, head, request)? {
        return Ok(Decided::Nothing(answer));
    }
    let recorded_at_us = recorded_at(head, now_us, request)?;
    let drafting = Drafting { connection, head: *head, now_us: recorded_at_us, principal: &request.principal };
    let payload = drafting.draft(request)?;
    if payload.filings.is_empty() && payload.day.is_none() {
        return Ok(Decided::Nothing(answer(&payload, 0, *head)));
    }
    let bytes = payload.encode_to_vec();
    if bytes.len() > MAX_PAYLOAD_BYTES {
        let message = format!(
            "the filing makes an entry of {} bytes; one holds {MAX_PAYLOAD_BYTES}: file fewer reports at once",
            bytes.len()
        );
        return Err(Error::new(Reason::TooLarge, message).with("limit", MAX_PAYLOAD_BYTES));
    }
    let header = EntryHeader {
        revision: head.revision + 1,
        recorded_at_us,
        principal: request.principal.clone(),
        request_id: request.request_id.clone(),
        request_digest: request.digest.to_vec(),
        resolver_version: RESOLVER_VERSION,
        payload_digest: blake3::hash(&bytes).as_bytes().to_vec(),
        kind: if payload.day.is_some() { EntryKind::Day } else { EntryKind::Filing }.into(),
        recorded_at_supplied: request.recorded_at_us.is_some(),
    };
    let entry = Entry { header: header.encode_to_vec(), payload: bytes };
    let (stored, additions) = apply_entry(connection, head, entry.clone(), &header, &payload)?;
    let revision = Box::new(log::revision(connection, &stored, Depth::Whole)?);
    tracing::debug!(revision = head.revision, events = payload.events.len(), "decided");
    Ok(Decided::Entry { answer: answer(&payload, head.revision, *head), entry, revision, additions })
}

/// When the entry is recorded: now, or when a history that is replayed says.
fn recorded_at(head: &Head, now_us: i64, request: &Request) -> Result<i64> {
    let Some(supplied) = request.recorded_at_us else { return Ok(now_us.max(head.recorded_at_us)) };
    let refused = |why: String| Err(Error::field(Reason::FieldInvalid, "recorded_at", why));
    if !head.replaying {
        return refused("is accepted only while every earlier entry of the log has a supplied time".to_owned());
    }
    if supplied < head.recorded_at_us {
        let newest = jiff::Timestamp::from_microsecond(head.recorded_at_us).map(|t| t.to_string()).unwrap_or_default();
        return refused(format!("is before the newest entry of the log, recorded at {newest}"));
    }
    Ok(supplied)
}

/// The answer given before to the same request, if it is remembered.
fn replay(connection: &Connection, head: &Head, request: &Request) -> Result<Option<Answer>> {
    if request.request_id.is_empty() {
        return Ok(None);
    }
    let Some((digest, revision)) = read::request(connection, &request.principal, &request.request_id)? else {
        return Ok(None);
    };
    if digest != request.digest {
        let message = format!("the request id {:?} was used with another body", request.request_id);
        return Err(Error::field(Reason::RequestIdReused, "request_id", message));
    }
    let entries = log::entries(connection, revision - 1, revision, 1, usize::MAX)?;
    let entry = entries.first().ok_or_else(|| Error::internal(format!("no entry {revision}")))?;
    Ok(Some(answer(&entry.payload()?, revision, *head)))
}

fn answer(payload: &EntryPayload, revision: u64, head: Head) -> Answer {
    Answer {
        results: payload.results.clone(),
        events: payload.events.iter().filter_map(|e| e.event.clone()).collect(),
        remaining: payload.remaining,
        revision,
        head,
    }
}

/// Checks that a batch follows what the store has; the first batch of all says the epoch.
fn check_batch(batch: &Batch, position: Position, before: Head) -> Result<Head> {
    let diverged = |why: String| Error::new(Reason::LogDiverged, format!("batch {position}: {why}"));
    if batch.format != FORMAT {
        return Err(diverged(format!("format {}; this version reads {FORMAT}", batch.format)));
    }
    let epoch = Epoch::from_slice(&batch.epoch).map_err(|_| diverged("no epoch".to_owned()))?;
    let is_fresh = before.position == 0 && before.revision == 0;
    if epoch != before.epoch && !is_fresh {
        return Err(diverged(format!("epoch {epoch}, expected {}", before.epoch)));
    }
    let hex = |hash: &[u8]| hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
    if batch.first_revision != before.revision + 1 || position != before.position + 1 {
        let expected = before.revision + 1;
        return Err(diverged(format!("begins at revision {}, expected {expected}", batch.first_revision)));
    }
    if batch.previous_hash != before.hash {
        let (found, expected) = (hex(&batch.previous_hash), hex(&before.hash));
        return Err(diverged(format!("follows hash {found}, expected {expected}")));
    }
    debug_assert!(before.revision > 0 || before.hash == GENESIS);
    Ok(Head { epoch, position, ..before })
}

/// Checks one entry of a batch that another writer made, and applies it.
fn append_entry(
    connection: &Connection,
    head: &mut Head,
    entry: Entry,
) -> Result<(StoredEntry, Vec<search::Addition>)> {
    let corrupt = |why: &str| Error::new(Reason::EntryCorrupt, format!("entry {}: {why}", head.revision + 1));
    let header = EntryHeader::decode(entry.header.as_slice()).map_err(|_| corrupt("the header cannot be read"))?;
    if header.revision != head.revision + 1 || header.recorded_at_us < head.recorded_at_us {
        return Err(Error::new(
            Reason::LogDiverged,
            format!("entry {} does not follow {}", header.revision, head.revision),
        ));
    }
    if !entry.payload.is_empty() && blake3::hash(&entry.payload).as_bytes() != header.payload_digest.as_slice() {
        return Err(corrupt("the payload is not the one that was chained"));
    }
    let payload = EntryPayload::decode(entry.payload.as_slice()).map_err(|_| corrupt("the payload cannot be read"))?;
    apply_entry(connection, head, entry, &header, &payload)
}

/// Chains and applies one entry, and moves the head past it.
fn apply_entry(
    connection: &Connection,
    head: &mut Head,
    entry: Entry,
    header: &EntryHeader,
    payload: &EntryPayload,
) -> Result<(StoredEntry, Vec<search::Addition>)> {
    let stored = StoredEntry {
        revision: header.revision,
        hash: log::chain(&head.hash, &entry.header),
        recorded_at_us: header.recorded_at_us,
        header: entry.header,
        payload: entry.payload.into(),
    };
    let after = head.after(&stored, header, payload)?;
    let additions = apply::entry(connection, &stored, header, payload, &after).map_err(|e| from_sqlite(&e))?;
    *head = after;
    Ok((stored, additions))
}
