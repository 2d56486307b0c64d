//! Moving a log: from a store onto a stream, from a replica onto a new stream when the old one is lost, and back.
//!
//! What moves is the chain: batches are made anew, entries and hashes stay. Each move can be interrupted and begun again:
//! what was appended before is recognised by its hash.

use std::{fmt, path::Path, sync::Arc, thread};

use crate::{
    clock::{Clock, SystemClock},
    domain::{
        error::{Error, Reason, Result},
        token::{Epoch, Hash},
    },
    journal::{
        Append, Journal, Position, Settled, Shelf, Stored,
        jetstream::{JetStream, Settings},
    },
    limits::{MAX_BATCH_BYTES, MOVE_OFFERS, MOVE_PAUSE, REPLAY_PAGE_BYTES},
    pb::log::Entry,
    snapshots,
    store::{self, Head, Home, Options, alone::Alone, log::StoredEntry, read::CursorRow, snapshot},
    tasks::blocking,
    writer::{self, BATCH_FRAMING_BYTES, ENTRY_FRAMING_BYTES, cursors},
};
use prost::Message as _;

/// Entries that are read at once.
const PAGE: usize = 256;

/// Which move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// See [`to_stream`].
    ToStream,
    /// See [`to_embedded`].
    ToEmbedded,
    /// See [`reseed`].
    Reseed,
}

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where the log ends now.
    pub head: Head,
    /// The snapshot that new replicas begin with; `None` if the log left the stream.
    pub snapshot: Option<Stored>,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head { revision, position, epoch, .. } = self.head;
        writeln!(f, "moved {revision} revisions, epoch {epoch}")?;
        match &self.snapshot {
            Some(Stored { name, bytes }) => {
                write!(
                    f,
                    "the stream has them in {position} batches; new replicas begin with snapshot {name}, {bytes} bytes"
                )
            }
            None => write!(f, "the store has a log of its own; the stream is sealed"),
        }
    }
}

/// Told of the last revision that was appended.
pub type Told = Box<dyn FnMut(u64) + Send>;

/// Makes a move.
///
/// # Errors
///
/// See each.
pub async fn run(what: Move, settings: Settings, folder: &Path, told: Told) -> Result<Moved> {
    let leaves = what == Move::ToEmbedded;
    let settings = Settings { accept_sealed: leaves, may_make: !leaves, ..settings };
    let stream = settings.stream.clone();
    let journal = JetStream::open(settings).await?;
    match what {
        Move::ToStream => to_stream(&journal, folder, &stream, told).await,
        Move::ToEmbedded => to_embedded(&journal, folder, &stream, Arc::new(SystemClock)).await,
        Move::Reseed => reseed(&journal, folder, &stream, told).await,
    }
}

/// Moves the log of the store in a folder onto a stream that is empty, and has the store refuse to serve from then on.
///
/// # Errors
///
/// If the store is not sound, is no log of its own, or is in use; if the stream has another log; if the journal cannot be
/// reached. The store is as it was then, and the move can be begun again.
pub async fn to_stream(journal: &Arc<JetStream>, folder: &Path, stream: &str, told: Told) -> Result<Moved> {
    let (journal, folder, stream) = (Arc::clone(journal), folder.to_owned(), stream.to_owned());
    blocking(move || {
        let moved = Home::Moved(stream.clone());
        let mut source = open(&folder)?;
        match source.home()? {
            None | Some(Home::Own) => {}
            // Begun again after it was done.
            Some(found) if found == moved => {}
            Some(found) => return Err(unfit(&format!("it is not a log of its own: {found}"))),
        }
        source.verify()?;
        let head = append_log(&source, &journal, source.head().epoch, told)?;
        keep_cursors(&*shelf(&journal)?, &source.cursors()?)?;
        let snapshot = put_snapshot(&journal, &folder, head, &stream)?;
        source.say(source.head(), &moved)?;
        Ok(Moved { head, snapshot: Some(snapshot) })
    })
    .await
}

/// Builds a stream anew from a replica's store, under a new epoch; the store is a replica of the new stream then.
///
/// # Errors
///
/// As of [`to_stream`]; and if the stream still has the log of the store's own epoch.
pub async fn reseed(journal: &Arc<JetStream>, folder: &Path, stream: &str, told: Told) -> Result<Moved> {
    let (journal, folder, stream) = (Arc::clone(journal), folder.to_owned(), stream.to_owned());
    blocking(move || {
        let mut source = open(&folder)?;
        match source.home()? {
            Some(Home::Stream(_)) => {}
            Some(found) => return Err(unfit(&format!("it is no replica's: {found}"))),
            None => return Err(unfit("it is no replica's")),
        }
        source.verify()?;
        let epoch = match end_of(&journal)? {
            None => Epoch::new_v4(),
            Some(end) if end.epoch == source.head().epoch => {
                let why =
                    "the stream still has this log: start the replicas, or delete what is left of the stream first";
                return Err(unfit(why));
            }
            // Begun again after an interruption.
            Some(end) => end.epoch,
        };
        let head = append_log(&source, &journal, epoch, told)?;
        let snapshot = put_snapshot(&journal, &folder, head, &stream)?;
        source.say(head, &Home::Stream(stream))?;
        Ok(Moved { head, snapshot: Some(snapshot) })
    })
    .await
}

/// Seals a stream, brings the store of one of its replicas to its end, and makes that a log of its own.
///
/// # Errors
///
/// If the store is not sound, or not of this stream; if the journal cannot be reached. What was sealed stays sealed, and
/// the move can be begun again.
pub async fn to_embedded(
    journal: &Arc<JetStream>,
    folder: &Path,
    stream: &str,
    clock: Arc<dyn Clock>,
) -> Result<Moved> {
    let of_stream = Home::Stream(stream.to_owned());
    let (asked, at) = (of_stream.clone(), folder.to_owned());
    blocking(move || {
        let source = open(&at)?;
        match source.home()? {
            Some(found) if found == asked => Ok(source.verify()?),
            found => {
                let what = found.map_or_else(|| "of none yet".to_owned(), |home| home.to_string());
                Err(unfit(&format!("it is no replica of that stream: {what}")))
            }
        }
    })
    .await?;
    journal.seal().await?;
    let (journal, folder) = (Arc::clone(journal), folder.to_owned());
    blocking(move || {
        let end = journal.head()?.unwrap_or_default();
        catch_up(&journal, &folder, of_stream, clock)?;
        let mut source = open(&folder)?;
        source.verify()?;
        let head = source.head();
        if head.position != end || !writer::stands_in(&*journal, head)? {
            return Err(unfit(&format!("it stands at batch {}, and the stream ends at {end}", head.position)));
        }
        source.keep(&cursors::off_shelf(&*shelf(&journal)?)?)?;
        source.say(head, &Home::Own)?;
        Ok(Moved { head, snapshot: None })
    })
    .await
}

/// Applies everything that the stream has, as a replica that starts does.
fn catch_up(journal: &Arc<JetStream>, folder: &Path, home: Home, clock: Arc<dyn Clock>) -> Result<()> {
    let (_store, write) = store::open(folder, &Options { home, ..Options::default() })?;
    let (writer, thread) = writer::Parts::new(write, Arc::clone(journal) as Arc<dyn Journal>, clock).start()?;
    // Nothing waits: dropping the last handle ends it.
    drop(writer);
    thread.join()
}

fn open(folder: &Path) -> Result<Alone> {
    if !snapshot::is_there(folder) {
        return Err(unfit(&format!("there is no store in {}", folder.display())));
    }
    Ok(Alone::open(folder)?)
}

fn shelf(journal: &Arc<JetStream>) -> Result<Arc<dyn Shelf>> {
    Arc::clone(journal).shelf().ok_or_else(|| Error::internal("the journal keeps no cursors"))
}

fn unfit(why: &str) -> Error {
    Error::new(Reason::LogDiverged, format!("the store cannot be moved: {why}"))
}

/// Puts the cursors of a store on the shelf: one that was made just now may not be reached from every server yet.
fn keep_cursors(shelf: &dyn Shelf, kept: &[(String, String, CursorRow)]) -> Result<()> {
    let mut put = cursors::onto_shelf(shelf, kept);
    for _ in 0..MOVE_OFFERS {
        if !put.as_ref().is_err_and(|error| error.reason == Reason::JournalUnavailable) {
            break;
        }
        thread::sleep(MOVE_PAUSE);
        // What was put before stays as it is.
        put = cursors::onto_shelf(shelf, kept);
    }
    put
}

/// A copy of the store as a replica of the stream has it, beside the stream.
fn put_snapshot(journal: &Arc<JetStream>, folder: &Path, head: Head, stream: &str) -> Result<Stored> {
    let depot = Arc::clone(journal).depot().ok_or_else(|| Error::internal("the journal keeps no snapshots"))?;
    snapshots::put_moved(&*depot, folder, head, &Home::Stream(stream.to_owned()))
}

/// Where a stream ends.
struct End {
    position: Position,
    epoch: Epoch,
    revision: u64,
    hash: Hash,
}

fn end_of(journal: &JetStream) -> Result<Option<End>> {
    let position = journal.head()?.unwrap_or_default();
    if position == 0 {
        return Ok(None);
    }
    let bytes = journal.batch(position)?;
    let bytes = bytes.ok_or_else(|| unfit("the stream is not empty, and its last batch is gone"))?;
    let (epoch, revision, hash) = writer::batch_end(&bytes, position)?;
    Ok(Some(End { position, epoch, revision, hash }))
}

/// Appends the whole log of a store, or what an interrupted move left; the head that a replica has then.
fn append_log(source: &Alone, journal: &JetStream, epoch: Epoch, mut told: Told) -> Result<Head> {
    let head = source.head();
    let mut at = match end_of(journal)? {
        // Of a log that was trimmed, what is left of it.
        None => Head { revision: head.floor, hash: head.floor_hash, ..Head::empty(epoch) },
        Some(end) => recognised(source, end, epoch)?,
    };
    while at.revision < head.revision {
        let entries = page(source, at.revision)?;
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let (batch, taken) = fill(&at, rest);
            append(journal, at.position, &batch)?;
            let last = &rest[taken - 1];
            at = Head { position: at.position + 1, revision: last.revision, hash: last.hash, ..at };
            told(at.revision);
            rest = &rest[taken..];
        }
    }
    let head = Head { epoch, position: at.position, ..head };
    if writer::stands_in(journal, head)? { Ok(head) } else { Err(unfit("it is empty: there is nothing to move")) }
}

/// After what an earlier attempt appended.
fn recognised(source: &Alone, end: End, epoch: Epoch) -> Result<Head> {
    let is_ours = end.epoch == epoch
        && end.revision <= source.head().revision
        && source.hash_of(end.revision).is_ok_and(|hash| hash == end.hash);
    if !is_ours {
        return Err(unfit("the stream has another log; it must be empty"));
    }
    Ok(Head { position: end.position, revision: end.revision, hash: end.hash, ..Head::empty(epoch) })
}

fn page(source: &Alone, after: u64) -> Result<Vec<StoredEntry>> {
    let entries = source.entries(after, PAGE, REPLAY_PAGE_BYTES)?;
    if entries.first().is_none_or(|entry| entry.revision != after + 1) {
        return Err(unfit(&format!("its entry {} is gone", after + 1)));
    }
    Ok(entries)
}

/// A batch of as many entries as fit, and how many they are.
fn fill(at: &Head, entries: &[StoredEntry]) -> (Vec<u8>, usize) {
    let mut bytes = BATCH_FRAMING_BYTES;
    let mut taken: Vec<Entry> = Vec::new();
    for entry in entries {
        let entry = Entry { header: entry.header.clone(), payload: entry.payload.clone() };
        bytes += entry.encoded_len() + ENTRY_FRAMING_BYTES;
        if !taken.is_empty() && bytes > MAX_BATCH_BYTES {
            break;
        }
        taken.push(entry);
    }
    let count = taken.len();
    (writer::batch_after(at, taken), count)
}

/// Appends one batch, however long nobody knows what became of it.
fn append(journal: &JetStream, after: Position, batch: &[u8]) -> Result<()> {
    let elsewhere = || unfit("somebody else appends to the stream: stop the servers that use it");
    let mut reason = String::new();
    for _ in 0..MOVE_OFFERS {
        match journal.append(after, batch) {
            Append::Appended => return Ok(()),
            Append::Conflict | Append::AtCommit => return Err(elsewhere()),
            Append::NotSent(why) => reason = why,
            Append::Unknown => match settle(journal, after, batch) {
                Some(true) => return Ok(()),
                Some(false) => return Err(elsewhere()),
                None => "nobody knows what became of a batch".clone_into(&mut reason),
            },
        }
        thread::sleep(MOVE_PAUSE);
    }
    Err(Error::new(Reason::JournalUnavailable, format!("the journal took nothing: {reason}")))
}

/// Whether a batch is at its place; `None` if nobody knows after a while.
fn settle(journal: &JetStream, after: Position, batch: &[u8]) -> Option<bool> {
    for _ in 0..MOVE_OFFERS {
        match journal.settle(after, batch) {
            Settled::Ours => return Some(true),
            Settled::Theirs => return Some(false),
            Settled::NotYet => thread::sleep(MOVE_PAUSE),
        }
    }
    None
}
