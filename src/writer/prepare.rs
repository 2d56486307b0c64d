//! What a group comes to: each request decided after those before it, and what it appends applied.

use std::cell::RefCell;

use prost::Message as _;
use rusqlite::Connection;

use super::{
    Answer, MAX_PAYLOAD_BYTES,
    draft::Drafting,
    follow::apply_entry,
    job::{Act, Request},
};
use crate::{
    clock::{DAY_US, day},
    domain::{
        error::{Error, Reason, Result},
        resolve::{RESOLVER_VERSION, Resolved},
        revision::Revision,
    },
    limits::MAX_BATCH_BYTES,
    pb::log::{Entry, EntryHeader, EntryKind, EntryPayload},
    store::{
        Head,
        apply::{Applier, Known},
        from_sqlite, log, read,
    },
};

/// What a batch adds to its entries at most: format, epoch, ids and hash.
pub const BATCH_FRAMING_BYTES: usize = 1024;
/// What a batch adds to each entry at most: its tag and length.
pub const ENTRY_FRAMING_BYTES: usize = 11;

/// A request and the span that its lines are written in.
pub(super) type Asked<'a> = (&'a Request, &'a tracing::Span);

/// The move of the registry's day that must come before a filing, while a history is replayed: the clock sleeps then.
/// The first filing that ends the replay is one of them.
pub(super) fn day_before(head: &Head, now_us: i64, request: &Request) -> Option<Request> {
    let at = day(request.recorded_at_us.unwrap_or(now_us).max(head.recorded_at_us));
    let is_clock = matches!(request.act, Act::Day { .. });
    if !head.replaying || is_clock || request.validate_only || head.day.is_none_or(|today| at <= today) {
        return None;
    }
    let midnight = i64::from(at) * DAY_US;
    Some(Request::day(at, Some(midnight.max(head.recorded_at_us))))
}

/// A group whose transaction is ready for the journal.
pub(super) struct Prepared {
    /// The answer to each job that was taken, in order; the others exceed the batch.
    pub answers: Vec<Result<Answer>>,
    pub head: Head,
    /// What is appended.
    pub entries: Vec<Entry>,
    pub revisions: Vec<Revision>,
}

/// Why a group could not be prepared; its transaction must be rolled back.
pub(super) struct Spoilt {
    /// The request whose entry could not be applied.
    pub at: usize,
    pub error: Error,
}

/// Decides each request after those before it. Deciding only reads, so what is refused, or only validated, leaves
/// nothing to undo; what is appended is applied at once, for the next to be decided on it.
pub(super) fn prepare(
    connection: &Connection,
    known: &Known,
    before: Head,
    now_us: i64,
    asked: &[Asked<'_>],
) -> std::result::Result<Prepared, Box<Spoilt>> {
    let mut group = Growing::after(connection, known, before);
    for (at, (request, span)) in asked.iter().enumerate() {
        if at > 0 && day_before(&group.head, now_us, request).is_some() {
            break;
        }
        let fits = span.in_scope(|| group.take(now_us, request));
        if !fits.map_err(|error| Box::new(Spoilt { at, error }))? {
            break;
        }
    }
    group.finish()
}

/// A group that takes one request after another.
struct Growing<'a> {
    connection: &'a Connection,
    known: &'a Known,
    head: Head,
    entries: Vec<Entry>,
    /// Of the entries, in the batch.
    bytes: usize,
    revisions: Vec<Revision>,
    applier: Applier<'a>,
    answers: Vec<Result<Answer>>,
}

impl<'a> Growing<'a> {
    fn after(connection: &'a Connection, known: &'a Known, before: Head) -> Self {
        Self {
            connection,
            known,
            head: Head { position: before.position + 1, ..before },
            entries: Vec::new(),
            bytes: BATCH_FRAMING_BYTES,
            revisions: Vec::new(),
            applier: Applier::new(connection, known),
            answers: Vec::new(),
        }
    }

    /// Decides one request, and applies what it appends; `false` if the batch has no room for that.
    ///
    /// # Errors
    ///
    /// If its entry cannot be applied, or the store has no room to decide in.
    fn take(&mut self, now_us: i64, request: &Request) -> Result<bool> {
        let answer = match decide_one((self.connection, self.known), &self.head, now_us, request) {
            Ok(Decided::Entry(decided)) if !request.validate_only => {
                let size = decided.entry.encoded_len() + ENTRY_FRAMING_BYTES;
                if !self.entries.is_empty() && self.bytes + size > MAX_BATCH_BYTES {
                    return Ok(false);
                }
                self.bytes += size;
                Ok(self.append(*decided)?)
            }
            Ok(Decided::Entry(decided)) => Ok(answer(decided.payload, 0, self.head)),
            Ok(Decided::Nothing(answer)) => Ok(*answer),
            // Without room nothing of the transaction can stand.
            Err(error) if error.reason == Reason::StorageFull => return Err(error),
            Err(error) => Err(error),
        };
        self.answers.push(answer);
        Ok(true)
    }

    fn append(&mut self, decided: DecidedEntry) -> Result<Answer> {
        let DecidedEntry { entry, header, payload, resolved } = decided;
        let mut head = self.head;
        let revision = apply_entry(&mut self.applier, &mut head, &entry, &header, &payload, &resolved)?;
        self.revisions.push(revision);
        self.entries.push(entry);
        self.head = head;
        Ok(answer(payload, head.revision, head))
    }

    fn finish(self) -> std::result::Result<Prepared, Box<Spoilt>> {
        let Self { head, entries, revisions, applier, mut answers, .. } = self;
        // Whose words the index refuses is not known; half of them are tried then, down to one.
        let at = answers.len() / 2;
        applier.finish().map_err(|e| Box::new(Spoilt { at, error: from_sqlite(&e) }))?;
        // Answers name the position at which the whole group is visible.
        for answer in answers.iter_mut().flatten().filter(|a| a.revision == 0) {
            answer.head = head;
        }
        Ok(Prepared { answers, head, entries, revisions })
    }
}

enum Decided {
    Entry(Box<DecidedEntry>),
    Nothing(Box<Answer>),
}

/// An entry that a request comes to, not applied yet.
struct DecidedEntry {
    entry: Entry,
    header: EntryHeader,
    payload: EntryPayload,
    resolved: Resolved,
}

fn decide_one(
    (connection, known): (&Connection, &Known),
    head: &Head,
    now_us: i64,
    request: &Request,
) -> Result<Decided> {
    if let Some(answer) = replay(connection, head, request)? {
        return Ok(Decided::Nothing(Box::new(answer)));
    }
    let recorded_at_us = recorded_at(head, now_us, request)?;
    let drafting = Drafting {
        connection,
        known,
        head: *head,
        now_us: recorded_at_us,
        clock_us: now_us,
        principal: &request.principal,
        may_rule: request.may_rule,
        resolved: RefCell::default(),
    };
    let payload = drafting.draft(request)?;
    let kind = match (&payload.day, &payload.trim, &payload.redact) {
        (Some(_), ..) => EntryKind::Day,
        (_, Some(_), _) => EntryKind::Trim,
        (.., Some(_)) => EntryKind::Redact,
        _ => EntryKind::Filing,
    };
    if payload.filings.is_empty() && kind == EntryKind::Filing {
        return Ok(Decided::Nothing(Box::new(answer(payload, 0, *head))));
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
        request_digest: request.digest.map(|digest| digest.to_vec()).unwrap_or_default(),
        resolver_version: RESOLVER_VERSION,
        payload_digest: blake3::hash(&bytes).as_bytes().to_vec(),
        kind: kind.into(),
        recorded_at_supplied: request.recorded_at_us.is_some(),
    };
    tracing::debug!(revision = header.revision, events = payload.events.len(), "decided");
    let entry = Entry { header: header.encode_to_vec(), payload: bytes.into() };
    let resolved = drafting.resolved.into_inner();
    Ok(Decided::Entry(Box::new(DecidedEntry { entry, header, payload, resolved })))
}

/// When the entry is recorded: now, or when a history that is replayed says. Never before the newest entry: after a filing
/// under a clock that was ahead it stands still. None is refused for that: a server that rested looks the same.
fn recorded_at(head: &Head, now_us: i64, request: &Request) -> Result<i64> {
    let Some(supplied) = request.recorded_at_us else { return Ok(now_us.max(head.recorded_at_us)) };
    let refused = |why: String| Err(Error::field(Reason::FieldInvalid, "recorded_at", why));
    if !head.replaying {
        return refused("is accepted only while every earlier entry of the log has a supplied time".to_owned());
    }
    if supplied < head.recorded_at_us {
        return refused(format!("is before the newest entry of the log, recorded at {}", head.recorded_at()));
    }
    Ok(supplied)
}

/// The answer given before to the same request, if it is remembered.
fn replay(connection: &Connection, head: &Head, request: &Request) -> Result<Option<Answer>> {
    if request.request_id.is_empty() {
        return Ok(None);
    }
    let remembered = read::request(connection, &request.principal, &request.request_id)?;
    // What was trimmed was remembered long enough.
    let Some((digest, revision)) = remembered.filter(|(_, revision)| *revision > head.floor) else {
        return Ok(None);
    };
    if request.digest.is_none_or(|own| digest != own) {
        let message = format!("the request id {:?} was used with another body", request.request_id);
        return Err(Error::field(Reason::RequestIdReused, "request_id", message));
    }
    let entries = log::entries(connection, revision - 1, revision, 1, usize::MAX)?;
    let entry = entries.first().ok_or_else(|| Error::internal(format!("no entry {revision}")))?;
    Ok(Some(answer(entry.payload()?, revision, *head)))
}

fn answer(payload: EntryPayload, revision: u64, head: Head) -> Answer {
    Answer {
        results: payload.results,
        not_granted: payload.not_granted,
        events: payload.events.into_iter().filter_map(|e| e.event).collect(),
        remaining: payload.remaining,
        redacted: payload.redact.map(Box::new),
        revision,
        head,
    }
}
