//! From revisions to frames: what passes, dressed as the subscriber asked, whole revisions at a time.

use prost::Message as _;

use crate::{
    domain::{
        filter::Filters,
        mask::Mask,
        revision::{Revision, Told},
        token::{Epoch, Phase, Token},
    },
    pb::v1::{self, EventType, watch_events_response::Frame},
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

/// The first event of a record in a revision is its registry event, which carries the record.
fn carries_record(event: &v1::Event) -> bool {
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
    )
}

/// The event as this subscriber gets it, if it passes.
#[must_use]
pub fn dress(revision: &Revision, told: &Told, selection: &Selection) -> Option<v1::Event> {
    if !revision.passes(told, &selection.filters, &selection.types) {
        return None;
    }
    let mut event = told.event.clone();
    event.left_filter = revision.leaves(told, &selection.filters);
    if carries_record(&event) {
        let change = &revision.changes[told.change];
        let masked = |state: &crate::domain::revision::State| selection.mask.apply((*state.record).clone());
        event.record = change.after.as_ref().map(masked);
        if selection.include_previous {
            event.previous = change.before.as_ref().map(masked);
        }
    }
    Some(event)
}

/// Collects events into frames of bounded size.
pub(super) struct Packer {
    epoch: Epoch,
    max_events: usize,
    max_bytes: usize,
    events: Vec<v1::Event>,
    bytes: usize,
    /// The last revision examined, whole.
    at: Token,
}

impl Packer {
    pub fn new(epoch: Epoch, max_events: usize, max_bytes: usize, at: Token) -> Self {
        Self { epoch, max_events, max_bytes, events: Vec::new(), bytes: 0, at }
    }

    /// Adds a revision from the event `from` on; whole frames come out.
    pub fn add(&mut self, revision: &Revision, from: u32, selection: &Selection) -> Vec<v1::WatchEventsResponse> {
        let passing = revision.events.iter().filter(|t| t.event.index >= from);
        let events: Vec<v1::Event> = passing.filter_map(|t| dress(revision, t, selection)).collect();
        let size: usize = events.iter().map(prost::Message::encoded_len).sum();
        let mut frames = Vec::new();
        if !self.fits(events.len(), size) {
            frames.extend(self.flush());
        }
        let whole = Token::at(self.epoch, revision.number, &revision.hash);
        if events.len() > self.max_events || size > self.max_bytes {
            frames.extend(self.split(events, &whole));
        } else {
            self.bytes += size;
            self.events.extend(events);
        }
        self.at = whole;
        frames
    }

    fn fits(&self, events: usize, bytes: usize) -> bool {
        self.events.len() + events <= self.max_events && self.bytes + bytes <= self.max_bytes
    }

    /// A revision that alone exceeds the limits: consecutive frames, all but the last marked `continued`.
    fn split(&mut self, events: Vec<v1::Event>, whole: &Token) -> Vec<v1::WatchEventsResponse> {
        let mut frames = Vec::new();
        for event in events {
            let size = event.encoded_len();
            if !self.events.is_empty() && !self.fits(1, size) {
                let token = Token { phase: Phase::Partial { next: event.index }, ..whole.clone() };
                frames.push(self.take(&token, true));
            }
            self.bytes += size;
            self.events.push(event);
        }
        frames.push(self.take(whole, false));
        frames
    }

    /// What is collected, as a frame; nothing if nothing is.
    pub fn flush(&mut self) -> Option<v1::WatchEventsResponse> {
        let at = self.at.clone();
        (!self.events.is_empty()).then(|| self.take(&at, false))
    }

    fn take(&mut self, token: &Token, continued: bool) -> v1::WatchEventsResponse {
        self.bytes = 0;
        let events = std::mem::take(&mut self.events);
        frame(token, Frame::Batch(v1::EventBatch { events, continued }))
    }
}

/// A frame at a position.
pub(super) fn frame(token: &Token, frame: Frame) -> v1::WatchEventsResponse {
    v1::WatchEventsResponse { token: token.encode(), frame: Some(frame) }
}
