//! Watching as a client does: frames read with patience, and what they add up to.

use std::time::Duration;

use attache::{
    domain::token::{Phase, Token},
    pb::v1::{
        self, WatchEventsRequest, WatchEventsResponse,
        feed_service_client::FeedServiceClient,
        watch_events_request::{Start, Until},
        watch_events_response::Frame,
    },
};
use tonic::{Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

use super::TestServer;

/// Longer than anything here takes on a busy machine; who waits so long waits in vain.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// An open watch.
pub struct Watching(Streaming<WatchEventsResponse>);

impl Watching {
    pub async fn open(mut feed: FeedServiceClient<Channel>, request: WatchEventsRequest) -> Result<Self, Status> {
        patiently("the answer to a watch", feed.watch_events(request)).await.map(|r| Self(r.into_inner()))
    }

    /// What comes next: a frame, the end in good order, or an error.
    pub async fn next(&mut self) -> Result<Option<WatchEventsResponse>, Status> {
        patiently("the next frame", self.0.message()).await
    }

    /// The next frame; the stream must not end.
    pub async fn frame(&mut self) -> WatchEventsResponse {
        self.next().await.expect("no error").expect("the stream goes on")
    }

    /// Frames up to and including the first that is the last asked for.
    pub async fn up_to(&mut self, mut is_last: impl FnMut(&WatchEventsResponse) -> bool) -> Vec<WatchEventsResponse> {
        let mut frames = Vec::new();
        let all = async {
            loop {
                let frame = self.frame().await;
                let last = is_last(&frame);
                frames.push(frame);
                if last {
                    return;
                }
            }
        };
        patiently("the last frame asked for", all).await;
        frames
    }

    /// Frames up to the one whose token stands after all of a revision.
    pub async fn up_to_revision(&mut self, revision: u64) -> Vec<WatchEventsResponse> {
        self.up_to(|frame| covers(&frame.token, revision)).await
    }

    /// Every frame, and the error the stream ends with, if it does.
    pub async fn until_the_end(mut self) -> (Vec<WatchEventsResponse>, Option<Status>) {
        let mut frames = Vec::new();
        let all = async {
            loop {
                match self.next().await {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                }
            }
        };
        let error = patiently("the end of the stream", all).await;
        (frames, error)
    }
}

/// Fails, and says what did not come, if it takes too long.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} does not come"))
}

/// Every event of the log so far, as a watch tells them.
pub async fn everything(server: &TestServer) -> Vec<v1::Event> {
    server.replay(until_caught_up(from_oldest())).await
}

impl TestServer {
    pub async fn watch(&self, request: WatchEventsRequest) -> Watching {
        Watching::open(self.feed(), request).await.expect("the watch is accepted")
    }

    /// The events of a watch that ends with `end`.
    pub async fn replay(&self, request: WatchEventsRequest) -> Vec<v1::Event> {
        let (frames, error) = self.watch(request).await.until_the_end().await;
        assert!(error.is_none(), "{error:?}");
        assert!(is_end(frames.last().expect("a frame")), "the last frame is not `end`");
        events(&frames)
    }

    /// Every page of events.
    pub async fn list_events(&self, mut request: v1::ListEventsRequest) -> Vec<v1::Event> {
        let mut events = Vec::new();
        loop {
            let page = self.feed().list_events(request.clone()).await.expect("a page").into_inner();
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                return events;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The newest position.
    pub async fn token(&self) -> String {
        self.log().get_log_info(v1::GetLogInfoRequest {}).await.expect("an answer").into_inner().token
    }
}

pub fn from_oldest() -> WatchEventsRequest {
    WatchEventsRequest { start: Some(Start::Oldest(())), ..Default::default() }
}

pub fn from_now() -> WatchEventsRequest {
    WatchEventsRequest { start: Some(Start::Now(())), ..Default::default() }
}

pub fn from_snapshot() -> WatchEventsRequest {
    WatchEventsRequest { start: Some(Start::Snapshot(())), ..Default::default() }
}

pub fn after(token: &str) -> WatchEventsRequest {
    WatchEventsRequest { start: Some(Start::After(token.to_owned())), ..Default::default() }
}

pub fn until_caught_up(request: WatchEventsRequest) -> WatchEventsRequest {
    WatchEventsRequest { until: Some(Until::CaughtUp(())), ..request }
}

pub fn through(request: WatchEventsRequest, token: &str) -> WatchEventsRequest {
    WatchEventsRequest { until: Some(Until::Through(token.to_owned())), ..request }
}

/// With progress as often as it comes.
pub fn lively(request: WatchEventsRequest) -> WatchEventsRequest {
    every(request, Duration::from_millis(100))
}

/// With progress so rarely that no test waits for it.
pub fn taciturn(request: WatchEventsRequest) -> WatchEventsRequest {
    every(request, Duration::from_secs(60))
}

fn every(request: WatchEventsRequest, interval: Duration) -> WatchEventsRequest {
    WatchEventsRequest { progress_interval: Some(interval.try_into().unwrap()), ..request }
}

pub fn filtered(request: WatchEventsRequest, filters: Vec<v1::Filter>) -> WatchEventsRequest {
    WatchEventsRequest { filters, ..request }
}

/// A filter by guests.
pub fn guests(states: &[&str]) -> Vec<v1::Filter> {
    vec![v1::Filter { guests: states.iter().map(ToString::to_string).collect(), ..Default::default() }]
}

/// A filter that no record of these tests matches.
pub fn nobody() -> Vec<v1::Filter> {
    guests(&["FR"])
}

/// The events of frames.
pub fn events(frames: &[WatchEventsResponse]) -> Vec<v1::Event> {
    frames.iter().filter_map(batch).flat_map(|b| b.events.clone()).collect()
}

pub fn batch(frame: &WatchEventsResponse) -> Option<&v1::EventBatch> {
    match &frame.frame {
        Some(Frame::Batch(batch)) => Some(batch),
        _ => None,
    }
}

pub fn is_caught_up(frame: &WatchEventsResponse) -> bool {
    matches!(frame.frame, Some(Frame::CaughtUp(_)))
}

pub fn is_progress(frame: &WatchEventsResponse) -> bool {
    matches!(frame.frame, Some(Frame::Progress(_)))
}

pub fn is_started(frame: &WatchEventsResponse) -> bool {
    matches!(frame.frame, Some(Frame::Started(_)))
}

pub fn is_end(frame: &WatchEventsResponse) -> bool {
    matches!(frame.frame, Some(Frame::End(_)))
}

pub fn fell_behind(frame: &WatchEventsResponse) -> bool {
    matches!(frame.frame, Some(Frame::FellBehind(_)))
}

pub fn is_snapshot(event: &v1::Event) -> bool {
    event.r#type() == v1::EventType::Snapshot
}

/// An event without what only this watch put into it.
pub fn bare(event: &v1::Event) -> v1::Event {
    v1::Event { record: None, previous: None, left_filter: false, ..event.clone() }
}

pub fn ids(events: &[v1::Event]) -> Vec<String> {
    events.iter().map(|e| e.id.clone()).collect()
}

/// What the opaque token says; only tests look into it.
pub fn read(token: &str) -> Token {
    Token::decode(token, "token").expect("every token can be read")
}

/// Whether a token stands after all of a revision.
pub fn covers(token: &str, revision: u64) -> bool {
    let token = read(token);
    token.revision > revision || (token.revision == revision && token.phase == Phase::Whole)
}

/// The reason of an error; every error must have one.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("an error without ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "attache");
    info.reason.clone()
}
