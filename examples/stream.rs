//! Follows the feed and, when the server goes away, goes on where it left off: `cargo run --example stream`
use attache::pb::v1::{self, watch_events_request::Start, watch_events_response::Frame};
use tonic::{Code, Status, transport::Channel};

type Feed = v1::feed_service_client::FeedServiceClient<Channel>;

#[tokio::main]
async fn main() -> Result<(), Status> {
    let mut feed = Feed::new(Channel::from_static("http://127.0.0.1:50051").connect_lazy());
    let mut start = Start::Oldest(());
    loop {
        match follow(&mut feed, &mut start).await {
            Err(status) if status.code() != Code::Unavailable => return Err(status),
            _ => tokio::time::sleep(std::time::Duration::from_secs(1)).await, // the server went away: again
        }
    }
}

async fn follow(feed: &mut Feed, start: &mut Start) -> Result<(), Status> {
    let request = v1::WatchEventsRequest { start: Some(start.clone()), ..Default::default() };
    let mut frames = feed.watch_events(request).await?.into_inner();
    while let Some(frame) = frames.message().await? {
        if let Some(Frame::Batch(batch)) = frame.frame {
            batch.events.iter().for_each(|event| println!("{} {}", event.id, event.headline));
        }
        *start = Start::After(frame.token); // the next watch goes on from here
    }
    Ok(())
}
