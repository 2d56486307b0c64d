//! Entries that are chained and applied: of batches that another writer made, and of one's own.

use prost::Message as _;

use crate::{
    domain::{
        error::{Error, Reason, Result},
        resolve::Resolved,
        revision::Revision,
        token::{Epoch, GENESIS, Hash},
    },
    journal::{Journal, Position},
    pb::{
        log::{Batch, Entry, EntryHeader, EntryPayload},
        wire,
    },
    store::{
        Head,
        apply::Applier,
        log::{self, StoredEntry},
    },
};

/// The format of batches that this version writes and reads.
const FORMAT: u32 = 1;

/// The batch of these entries after a position, as it is appended.
#[must_use]
pub fn batch_after(before: &Head, entries: Vec<Entry>) -> Vec<u8> {
    let batch = Batch {
        format: FORMAT,
        epoch: before.epoch.as_bytes().to_vec(),
        batch_id: uuid::Uuid::now_v7().as_bytes().to_vec(),
        first_revision: before.revision + 1,
        previous_hash: before.hash.to_vec(),
        entries,
    };
    batch.encode_to_vec()
}

/// Checks that a batch follows what the store has; the first batch of all says the epoch.
pub(super) fn check_batch(batch: &Batch, position: Position, before: Head) -> Result<Head> {
    let diverged = |why: String| Error::new(Reason::LogDiverged, format!("batch {position}: {why}"));
    if batch.format != FORMAT {
        return Err(diverged(format!("format {}; this version reads {FORMAT}", batch.format)));
    }
    let epoch = Epoch::from_slice(&batch.epoch).map_err(|_| diverged("no epoch".to_owned()))?;
    let is_fresh = before.position == 0 && before.revision == 0;
    if epoch != before.epoch && !is_fresh {
        return Err(diverged(format!("epoch {epoch}, expected {}", before.epoch)));
    }
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

/// Checks that what a journal has at a store's place is what the store has there; `false` if it has nothing there, nor
/// after it, to compare with.
///
/// # Errors
///
/// `LOG_DIVERGED` with both hashes if it has another log, and if it cannot be reached.
pub fn stands_in(journal: &dyn Journal, here: Head) -> Result<bool> {
    let read = |position| journal.batch(position).map_err(Error::from);
    if here.position == 0 {
        return Ok(false);
    }
    if let Some(bytes) = read(here.position)? {
        return check_same(&bytes, here).map(|()| true);
    }
    // Its own place was trimmed: the next batch says what it follows.
    let end = journal.head()?;
    if let Some(end) = end.filter(|end| *end < here.position) {
        // Nothing is known of it yet: it may be behind, or have lost what was there.
        let why = format!("journal unavailable: it ends at {end}, and ended at {}", here.position);
        return Err(Error::new(Reason::JournalUnavailable, why));
    }
    if end.is_none_or(|end| end == here.position) {
        return Ok(false);
    }
    let next = here.position + 1;
    let Some(bytes) = read(next)? else {
        return Err(Error::new(Reason::HistoryTrimmed, format!("the journal begins after batch {next}")));
    };
    check_batch(&read_batch(&bytes, next)?, next, here).map(|_| true)
}

/// Checks that the batch at the store's own place is the one that the store has there.
fn check_same(bytes: &[u8], here: Head) -> Result<()> {
    let (epoch, _, hash) = batch_end(bytes, here.position)?;
    check_place(&format!("batch {}, the store's own", here.position), here, epoch, hash)
}

/// Checks that what a log is at a store's place is what the store says; `about` says where the log was read.
///
/// # Errors
///
/// `LOG_DIVERGED` with both epochs or both hashes.
pub fn check_place(about: &str, here: Head, epoch: Epoch, hash: Hash) -> Result<()> {
    let diverged = |why: String| Error::new(Reason::LogDiverged, format!("{about}: {why}"));
    if epoch != here.epoch {
        return Err(diverged(format!("is of epoch {epoch}, expected {}", here.epoch)));
    }
    if hash != here.hash {
        let (found, expected) = (hex(&hash), hex(&here.hash));
        return Err(diverged(format!("ends at hash {found}, expected {expected}")));
    }
    Ok(())
}

/// The last position of a journal whose batches all end at or before a revision; 0 if there is none that is known.
///
/// # Errors
///
/// If the journal cannot be reached, or a batch cannot be read.
pub fn position_of(journal: &dyn Journal, revision: u64) -> Result<Position> {
    let mut after = 0;
    let mut end = journal.head()?.unwrap_or(0) + 1;
    // Revisions grow with positions: halve the range until its ends meet.
    while end - after > 1 {
        let middle = after + (end - after) / 2;
        let is_within = match journal.batch(middle)? {
            // It was trimmed, so what it had is older.
            None => true,
            Some(bytes) => batch_end(&bytes, middle)?.1 <= revision,
        };
        if is_within { after = middle } else { end = middle }
    }
    Ok(after)
}

/// The epoch of a batch, its last revision, and the chain's hash after that.
///
/// # Errors
///
/// `ENTRY_CORRUPT` if it cannot be read.
pub fn batch_end(bytes: &[u8], position: Position) -> Result<(Epoch, u64, Hash)> {
    let corrupt = || Error::new(Reason::EntryCorrupt, format!("the batch at {position} says not what it follows"));
    let batch = read_batch(bytes, position)?;
    let epoch = Epoch::from_slice(&batch.epoch).map_err(|_| corrupt())?;
    let before: Hash = batch.previous_hash.as_slice().try_into().map_err(|_| corrupt())?;
    let hash = batch.entries.iter().fold(before, |hash, entry| log::chain(&hash, &entry.header));
    let last = batch.first_revision.checked_add(batch.entries.len() as u64).ok_or_else(corrupt)?;
    Ok((epoch, last.saturating_sub(1), hash))
}

/// A batch as it was appended.
pub(super) fn read_batch(bytes: &[u8], position: Position) -> Result<Batch> {
    Batch::decode(bytes)
        .map_err(|_| Error::new(Reason::EntryCorrupt, format!("the batch at {position} cannot be read")))
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

/// Checks one entry of a batch that another writer made, and applies it.
pub(super) fn append_entry(applier: &mut Applier<'_>, head: &mut Head, entry: &Entry) -> Result<Revision> {
    let corrupt = |why: &str| Error::new(Reason::EntryCorrupt, format!("entry {}: {why}", head.revision + 1));
    let header = EntryHeader::decode(entry.header.as_slice()).map_err(|_| corrupt("the header cannot be read"))?;
    if header.revision != head.revision + 1 || header.recorded_at_us < head.recorded_at_us {
        return Err(Error::new(
            Reason::LogDiverged,
            format!("entry {} does not follow {}", header.revision, head.revision),
        ));
    }
    let payload = wire::acts(&entry.payload).ok_or_else(|| corrupt("the payload cannot be read"))?;
    let is_whole = blake3::hash(&entry.payload).as_bytes() == header.payload_digest.as_slice();
    // Of a log that was copied, what was redacted is the one that a later entry says; applying that compares them.
    if !is_whole && !entry.payload.is_empty() && payload.redacted_by <= header.revision {
        return Err(corrupt("the payload is not the one that was chained"));
    }
    apply_entry(applier, head, entry, &header, &payload, &Resolved::new())
}

/// Chains and applies one entry, and moves the head past it. What was `resolved` to decide it need not be computed again.
pub(super) fn apply_entry(
    applier: &mut Applier<'_>,
    head: &mut Head,
    entry: &Entry,
    header: &EntryHeader,
    payload: &EntryPayload,
    resolved: &Resolved,
) -> Result<Revision> {
    let stored = StoredEntry {
        revision: header.revision,
        hash: log::chain(&head.hash, &entry.header),
        recorded_at_us: header.recorded_at_us,
        header: entry.header.clone(),
        payload: entry.payload.clone(),
    };
    let after = head.after(&stored, header, payload)?;
    let revision = applier.entry(&stored, header, payload, &after, resolved)?;
    *head = after;
    Ok(revision)
}
