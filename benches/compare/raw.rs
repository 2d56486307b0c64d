//! Calls whose messages stay bytes, and the floor: a service that does nothing but hand out bytes.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, task};

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use prost::Message as _;
use tonic::{
    Request, Response, Status,
    body::Body,
    client,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{self, NamedService},
    transport::Channel,
};

/// Messages as they are.
#[derive(Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(item.len());
        buf.put_slice(&item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(256, 32 * 1024)
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}

/// One call.
pub async fn unary(channel: &Channel, path: &'static str, request: Bytes) -> Bytes {
    let mut grpc = client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    grpc.unary(Request::new(request), path, Raw).await.unwrap().into_inner()
}

/// The frames of a stream, to its end.
pub async fn stream(channel: &Channel, path: &'static str, request: Bytes, mut take: impl FnMut(Bytes)) {
    let mut grpc = client::Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    let mut frames = grpc.server_streaming(Request::new(request), path, Raw).await.unwrap().into_inner();
    while let Some(frame) = frames.message().await.unwrap() {
        take(frame);
    }
}

/// How many events a frame has.
pub fn events(frame: Bytes) -> usize {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Frame {
        #[prost(message, optional, tag = "3")]
        batch: Option<Batch>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Batch {
        #[prost(bytes = "bytes", repeated, tag = "1")]
        events: Vec<Bytes>,
    }
    Frame::decode(frame).unwrap().batch.map_or(0, |b| b.events.len())
}

/// The floor.
#[derive(Clone)]
pub struct Floor {
    /// What every call is answered with.
    pub answer: Bytes,
    /// What every stream is given.
    pub frames: Arc<Vec<Bytes>>,
}

pub const FLOOR_UNARY: &str = "/bench.Floor/Unary";
pub const FLOOR_STREAM: &str = "/bench.Floor/Stream";

impl NamedService for Floor {
    const NAME: &'static str = "bench.Floor";
}

impl tower::Service<http::Request<Body>> for Floor {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Self { answer, frames } = self.clone();
        Box::pin(async move {
            let mut grpc = server::Grpc::new(Raw);
            Ok(if request.uri().path() == FLOOR_UNARY {
                let handler = tower::service_fn(move |_: Request<Bytes>| {
                    std::future::ready(Ok::<_, Status>(Response::new(answer.clone())))
                });
                grpc.unary(handler, request).await
            } else {
                let handler = tower::service_fn(move |_: Request<Bytes>| {
                    let frames = Arc::clone(&frames);
                    let count = frames.len();
                    let stream = tokio_stream::iter((0..count).map(move |i| Ok::<_, Status>(frames[i].clone())));
                    std::future::ready(Ok::<_, Status>(Response::new(stream)))
                });
                grpc.server_streaming(handler, request).await
            })
        })
    }
}
