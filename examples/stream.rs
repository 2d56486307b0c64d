//! Follows the feed and, when the server goes away, goes on where it left off: `cargo run --example stream`

use attache::pb::v1::{WatchEventsRequest, watch_events_request::Start, watch_events_response::Frame};
use std::time::Duration;
use tonic::{Code, Status, transport::Channel};

type Feed = attache::pb::v1::feed_service_client::FeedServiceClient<Channel>;
const SOON: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Status> {
    let mut feed = Feed::new(Channel::from_static("http://127.0.0.1:50051").connect_lazy());
    let mut start = Start::Oldest(());
    loop {
        match follow(&mut feed, &mut start).await {
            Err(status) if status.code() != Code::Unavailable => return Err(status),
            ended => tokio::time::sleep(ended.unwrap_or(SOON)).await,
        }
    }
}

async fn follow(feed: &mut Feed, start: &mut Start) -> Result<Duration, Status> {
    let request = WatchEventsRequest { start: Some(start.clone()), ..Default::default() };
    let mut frames = feed.watch_events(request).await?.into_inner();
    while let Some(frame) = frames.message().await? {
        match frame.frame {
            Some(Frame::Batch(batch)) => batch.events.iter().for_each(|e| println!("{} {}", e.id, e.headline)),
            Some(Frame::GoingAway(end)) => return end.retry_delay.unwrap_or_default().try_into().or(Ok(SOON)),
            _ => {}
        }
        *start = Start::After(frame.token); // the next watch goes on from here
    }
    Ok(SOON)
}
