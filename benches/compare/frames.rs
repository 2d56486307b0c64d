//! Watches: what is asked, and what is read of the frames.

use bytes::Bytes;
use prost::Message;
use tonic::transport::Channel;

use attache::pb::v1::{
    Filter, WatchEventsRequest,
    watch_events_request::{Start, Until},
};

use crate::{Outcome, raw::Caller};

/// Watches.
pub const WATCH_EVENTS: &str = "/attache.v1.FeedService/WatchEvents";

/// A frame, its events left as they are.
#[derive(Clone, PartialEq, Message)]
pub struct Frame {
    /// Where to go on after it.
    #[prost(string, tag = "1")]
    pub token: String,
    #[prost(message, optional, tag = "3")]
    batch: Option<Batch>,
}

#[derive(Clone, PartialEq, Message)]
struct Batch {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    events: Vec<Bytes>,
}

/// The same without the token, for those who only count.
#[derive(Clone, PartialEq, Message)]
struct Counted {
    #[prost(message, optional, tag = "3")]
    batch: Option<Batch>,
}

/// What an event says of its record.
#[derive(Clone, PartialEq, Message)]
pub struct Told {
    /// Its type.
    #[prost(int32, tag = "3")]
    pub r#type: i32,
    /// The name of the record.
    #[prost(string, tag = "5")]
    pub subject: String,
}

impl Frame {
    /// Its events.
    pub fn events(&self) -> &[Bytes] {
        self.batch.as_ref().map_or(&[], |batch| &batch.events)
    }
}

/// How many events a frame has.
pub fn count(frame: Bytes) -> Outcome<usize> {
    Ok(Counted::decode(frame)?.batch.map_or(0, |batch| batch.events.len()))
}

/// Everything from there to the newest.
pub fn replay(start: Start) -> Bytes {
    let until = Some(Until::CaughtUp(()));
    WatchEventsRequest { start: Some(start), until, ..Default::default() }.encode_to_vec().into()
}

/// Everything that comes from now on.
pub fn live() -> Bytes {
    WatchEventsRequest { start: Some(Start::Now(())), ..Default::default() }.encode_to_vec().into()
}

/// What comes of a state from now on, with as few signs of life as there may be.
pub fn of_state(state: &str) -> Bytes {
    let filters = vec![Filter { states_any: vec![state.to_owned()], ..Default::default() }];
    let progress_interval = prost_types::Duration::try_from(attache::limits::MAX_PROGRESS).ok();
    let start = Some(Start::Now(()));
    WatchEventsRequest { filters, start, progress_interval, ..Default::default() }.encode_to_vec().into()
}

/// The frames of a replay from the oldest event on; how many events they hold.
pub async fn all(channel: &Channel, mut take: impl FnMut(Bytes)) -> Outcome<usize> {
    let mut frames = Caller::new(channel, WATCH_EVENTS).stream(replay(Start::Oldest(()))).await?;
    let mut events = 0;
    while let Some(frame) = frames.message().await? {
        events += count(frame.clone())?;
        take(frame);
    }
    Ok(events)
}

/// The position so many events before the newest, and how many there are: fewer if the log has no more.
pub async fn before_the_end(channel: &Channel, wanted: usize) -> Outcome<(Start, usize)> {
    let request = WatchEventsRequest {
        start: Some(Start::Oldest(())),
        until: Some(Until::CaughtUp(())),
        max_batch_events: 1,
        ..Default::default()
    };
    let mut frames = Caller::new(channel, WATCH_EVENTS).stream(request.encode_to_vec().into()).await?;
    let mut tokens = Vec::new();
    while let Some(frame) = frames.message().await? {
        let frame = Frame::decode(frame)?;
        if !frame.events().is_empty() {
            tokens.push(frame.token);
        }
    }
    let events = tokens.len();
    if events <= wanted {
        return Ok((Start::Oldest(()), events));
    }
    Ok((Start::After(tokens.swap_remove(events - wanted - 1)), wanted))
}
