//! From revisions to frames: what passes, dressed as the subscriber asked, whole revisions at a time.
//!
//! A frame is put together from what was encoded before: an event is encoded once, however many get it, and its bytes
//! are copied once for each of them, into the transport's buffer.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use crate::{
    domain::{
        error::{Error, Reason, Result},
        filter::Filters,
        mask::Mask,
        revision::{Revision, State, Told},
        token::{Epoch, Phase, Token},
    },
    pb::{
        v1::{self, EventType, watch_events_response::Frame},
        wire::{self, Encoded, EventHead, number},
    },
    store::log::Depth,
};

/// What a subscriber wants of each event.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of which records.
    pub filters: Filters,
    /// Which types; none is all.
    pub types: Vec<EventType>,
    /// What of each record.
    pub mask: Mask,
    /// Whether with the record before.
    pub include_previous: bool,
}

impl Selection {
    /// How much of each revision it needs: without filters nobody asks for facets.
    #[must_use]
    pub fn depth(&self) -> Depth {
        if self.filters.0.is_empty() && !self.include_previous { Depth::Told } else { Depth::Whole }
    }
}

/// The first event of a record in a revision is its registry event, which carries the record.
fn carries_record(event: &EventHead) -> bool {
    matches!(
        event.r#type(),
        EventType::Retracted
            | EventType::Restored
            | EventType::Recorded
            | EventType::Updated
            | EventType::Corrected
            | EventType::Extended
            | EventType::Merged
            | EventType::Unmerged
            | EventType::Disputed
            | EventType::Settled
            | EventType::Redacted
    )
}

/// The event as this subscriber gets it, if it passes: an element of a batch, encoded.
///
/// # Errors
///
/// `ENTRY_CORRUPT` if a record that a mask is applied to cannot be read.
fn dress(revision: &Revision, told: &Told, selection: &Selection) -> Result<Option<Bytes>> {
    if !revision.passes(told, &selection.filters, &selection.types) {
        return Ok(None);
    }
    let change = &revision.changes[told.change];
    let left_filter = revision.leaves(told, &selection.filters);
    let carries = carries_record(&told.head);
    // Where no record stands any more, it left every filter.
    if selection.mask.is_all() && !selection.include_previous && left_filter == change.after.is_none() {
        let shared = || element(&told.event, change.after.as_ref().filter(|_| carries).map(whole), None, left_filter);
        return Ok(Some(told.element.get_or_init(shared).clone()));
    }
    let masked = |state: &State| masked(state, &selection.mask);
    let record = change.after.as_ref().filter(|_| carries).map(masked).transpose()?;
    let previous = change.before.as_ref().filter(|_| carries && selection.include_previous).map(masked).transpose()?;
    Ok(Some(element(&told.event, record, previous, left_filter)))
}

/// The event as this subscriber gets it, if it passes.
///
/// # Errors
///
/// `ENTRY_CORRUPT` if it cannot be read.
pub fn event(revision: &Revision, told: &Told, selection: &Selection) -> Result<Option<v1::Event>> {
    let read = |element: Bytes| v1::EventBatch::decode(element).ok().and_then(|mut batch| batch.events.pop());
    let dressed = dress(revision, told, selection)?;
    dressed.map(|element| read(element).ok_or_else(|| corrupt(revision.number, "an event"))).transpose()
}

fn corrupt(revision: u64, what: &str) -> Error {
    Error::new(Reason::EntryCorrupt, format!("{what} of the log's entry {revision} cannot be read"))
}

fn whole(state: &State) -> Bytes {
    state.record.clone()
}

fn masked(state: &State, mask: &Mask) -> Result<Bytes> {
    let corrupt = || Error::new(Reason::EntryCorrupt, "a record of the log cannot be read");
    mask.keep(&state.record).ok_or_else(corrupt)
}

/// An element of a batch: the event with its records, behind its key and length.
fn element(event: &Bytes, record: Option<Bytes>, previous: Option<Bytes>, left_filter: bool) -> Bytes {
    let records = [(number::EVENT_RECORD, record), (number::EVENT_PREVIOUS, previous)];
    let records = || records.iter().filter_map(|(number, record)| Some((*number, record.as_ref()?)));
    let mut length = event.len() + records().map(|(number, r)| wire::field_len(number, r)).sum::<usize>();
    if left_filter {
        length += wire::true_len(number::EVENT_LEFT_FILTER);
    }
    let mut element = BytesMut::with_capacity(wire::prefix_len(number::BATCH_EVENTS, length) + length);
    wire::put_prefix(&mut element, number::BATCH_EVENTS, length);
    element.extend_from_slice(event);
    records().for_each(|(number, record)| wire::put(&mut element, number, record));
    if left_filter {
        wire::put_true(&mut element, number::EVENT_LEFT_FILTER);
    }
    element.freeze()
}

/// Collects events into frames of bounded size.
pub(super) struct Packer {
    epoch: Epoch,
    max_events: usize,
    max_bytes: usize,
    events: Vec<Bytes>,
    bytes: usize,
    /// The last revision examined, whole.
    at: Token,
}

impl Packer {
    pub fn new(epoch: Epoch, max_events: usize, max_bytes: usize, at: Token) -> Self {
        Self { epoch, max_events, max_bytes, events: Vec::new(), bytes: 0, at }
    }

    /// Adds a revision from the event `from` on; whole frames come out.
    pub fn add(&mut self, revision: &Revision, from: u32, selection: &Selection) -> Result<Vec<Encoded>> {
        let mut events = Vec::with_capacity(revision.events.len());
        for told in revision.events.iter().filter(|t| t.head.index >= from) {
            events.extend(dress(revision, told, selection)?.map(|element| (told.head.index, element)));
        }
        let size: usize = events.iter().map(|(_, e)| e.len()).sum();
        let mut frames = Vec::new();
        if !self.fits(events.len(), size) {
            frames.extend(self.flush());
        }
        let whole = Token::at(self.epoch, revision.number, &revision.hash);
        if events.len() > self.max_events || size > self.max_bytes {
            frames.extend(self.split(events, &whole));
        } else {
            self.bytes += size;
            self.events.extend(events.into_iter().map(|(_, element)| element));
        }
        self.at = whole;
        Ok(frames)
    }

    fn fits(&self, events: usize, bytes: usize) -> bool {
        self.events.len() + events <= self.max_events && self.bytes + bytes <= self.max_bytes
    }

    /// A revision that alone exceeds the limits: consecutive frames, all but the last marked `continued`.
    fn split(&mut self, events: Vec<(u32, Bytes)>, whole: &Token) -> Vec<Encoded> {
        let mut frames = Vec::new();
        for (index, element) in events {
            let size = element.len();
            if !self.events.is_empty() && !self.fits(1, size) {
                let token = Token { phase: Phase::Partial { next: index }, ..whole.clone() };
                frames.push(self.take(&token, true));
            }
            self.bytes += size;
            self.events.push(element);
        }
        frames.push(self.take(whole, false));
        frames
    }

    /// What is collected, as a frame; nothing if nothing is.
    pub fn flush(&mut self) -> Option<Encoded> {
        let at = self.at.clone();
        (!self.events.is_empty()).then(|| self.take(&at, false))
    }

    fn take(&mut self, token: &Token, continued: bool) -> Encoded {
        self.bytes = 0;
        batch(token, std::mem::take(&mut self.events), continued)
    }
}

/// A frame of elements.
fn batch(token: &Token, elements: Vec<Bytes>, continued: bool) -> Encoded {
    let token = token.encode();
    let mut length: usize = elements.iter().map(Bytes::len).sum();
    if continued {
        length += wire::true_len(number::BATCH_CONTINUED);
    }
    let mut before = BytesMut::with_capacity(token.len() + 16);
    wire::put(&mut before, number::FRAME_TOKEN, token.as_bytes());
    wire::put_prefix(&mut before, number::FRAME_BATCH, length);
    let mut pieces = Vec::with_capacity(elements.len() + 2);
    pieces.push(before.freeze());
    pieces.extend(elements);
    if continued {
        let mut after = BytesMut::with_capacity(2);
        wire::put_true(&mut after, number::BATCH_CONTINUED);
        pieces.push(after.freeze());
    }
    Encoded::of(pieces)
}

/// A frame at a position.
pub(super) fn frame(token: &Token, frame: Frame) -> Encoded {
    let message = v1::WatchEventsResponse { token: token.encode(), frame: Some(frame) };
    Encoded::of(vec![message.encode_to_vec().into()])
}
