//! One who meddles with watches on their way to clients: of each stream a batch is left out, or comes twice or late.
//! Everything else passes as it is.

use std::net::{Ipv4Addr, SocketAddr};

use attache::pb::v1::{WatchEventsRequest, WatchEventsResponse, feed_service_client::FeedServiceClient};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::task::JoinSet;
use tonic::{
    Request, Status, Streaming,
    body::Body,
    server::Grpc,
    transport::{Channel, Error, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::{Service as _, ServiceExt as _, service_fn};

use crate::common::{TestServer, watching::batch};

/// The one call that is not passed on untouched.
const WATCH: &str = "/attache.v1.FeedService/WatchEvents";

/// What becomes of one batch of each stream. (Of each, because a watcher may leave before the next frame, and then gets
/// everything when it goes on.)
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Nothing,
    LeftOut,
    Repeated,
    /// It comes after the next, where nothing else is between them.
    Late,
}

/// It ends with this value.
pub struct Meddler {
    /// Where clients find it.
    pub address: String,
    _serving: JoinSet<()>,
}

impl Meddler {
    pub fn before(server: &TestServer, fault: Fault) -> Self {
        let incoming = TcpIncoming::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port is free");
        let incoming = incoming.with_nodelay(Some(true));
        let address = format!("http://{}", incoming.local_addr().expect("it is bound"));
        let (channel, feed) = (server.channel.clone(), server.feed());
        let answers =
            service_fn(move |request: http::Request<Body>| answer(channel.clone(), feed.clone(), fault, request));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            Server::builder().serve_with_incoming(answers, incoming).await.expect("it is served");
        });
        Self { address, _serving: serving }
    }
}

async fn answer(
    mut server: Channel,
    feed: FeedServiceClient<Channel>,
    fault: Fault,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, Error> {
    if request.uri().path() == WATCH {
        return Ok(watch(feed, fault, request).await);
    }
    server.ready().await?.call(request).await
}

async fn watch(feed: FeedServiceClient<Channel>, fault: Fault, request: http::Request<Body>) -> http::Response<Body> {
    let watched = service_fn(move |asked: Request<WatchEventsRequest>| {
        let mut feed = feed.clone();
        async move { feed.watch_events(asked).await.map(|answer| answer.map(|frames| meddled(frames, fault))) }
    });
    let codec = ProstCodec::<WatchEventsResponse, WatchEventsRequest>::default();
    Grpc::new(codec).server_streaming(watched, request).await
}

/// A frame, or the error that a watch ends with.
type Told = Result<WatchEventsResponse, Status>;

fn meddled(frames: Streaming<WatchEventsResponse>, fault: Fault) -> impl Stream<Item = Told> {
    let mut meddling = Meddling { fault, kept: None };
    frames.flat_map(move |told| stream::iter(meddling.passed_on(told)))
}

/// What is done to one stream.
struct Meddling {
    /// Still to be done.
    fault: Fault,
    /// A batch that is to come after the next.
    kept: Option<Told>,
}

impl Meddling {
    fn passed_on(&mut self, told: Told) -> Vec<Told> {
        let kept = self.kept.take();
        if !told.as_ref().is_ok_and(|frame| batch(frame).is_some()) {
            // What was kept is in time before it: another batch will be late.
            return kept.into_iter().chain([told]).collect();
        }
        match (std::mem::replace(&mut self.fault, Fault::Nothing), kept) {
            (Fault::Nothing, _) => vec![told],
            (Fault::LeftOut, _) => Vec::new(),
            (Fault::Repeated, _) => vec![told.clone(), told],
            (Fault::Late, Some(before)) => vec![told, before],
            (Fault::Late, None) => {
                (self.fault, self.kept) = (Fault::Late, Some(told));
                Vec::new()
            }
        }
    }
}
