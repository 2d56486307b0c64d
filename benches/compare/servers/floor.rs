//! The floor: bare tonic, which does nothing but hand out bytes.

use std::{convert::Infallible, fs, future::Future, path::Path, pin::Pin, process::Command, sync::Arc, task};

use bytes::{Buf as _, BufMut as _, Bytes};
use tempfile::TempDir;
use tokio_stream::StreamExt as _;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{self, NamedService},
    transport::{Channel, Server, server::TcpIncoming},
};

use super::{channels, listening, wires};
use crate::{Outcome, places, process::Process, raw::Raw, wire::Wire};

/// Answers every call with the first piece of the file.
pub const UNARY: &str = "/bench.Floor/Unary";
/// Hands out the other pieces, as often as the request says ([`times`]).
pub const STREAM: &str = "/bench.Floor/Stream";
/// Hands out the first piece, and then nothing for good; its buffer is tonic's own.
pub const IDLE: &str = "/bench.Floor/Idle";

/// As Attaché allows.
const STREAMS: u32 = 1000;

/// A floor in a process of its own.
pub struct Floor {
    process: Process,
    /// Where it listens.
    pub address: String,
    _folder: TempDir,
}

impl Floor {
    /// Starts one with the answer to every call and the frames of every stream.
    pub fn start(answer: &Bytes, frames: &[Bytes]) -> Outcome<Self> {
        let folder = places::temporary()?;
        let file = folder.path().join("pieces");
        let mut pieces = Vec::new();
        for piece in std::iter::once(answer).chain(frames) {
            pieces.put_u32(u32::try_from(piece.len())?);
            pieces.put_slice(piece);
        }
        fs::write(&file, pieces)?;
        let mut command = Command::new(std::env::current_exe()?);
        let process = Process::start("the floor", command.arg("floor").arg(file))?;
        let address = process.told(listening)?;
        Ok(Self { process, address, _folder: folder })
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The connections of a load.
    pub async fn channels(&self) -> Outcome<Vec<Channel>> {
        channels(&self.address).await
    }

    /// The same for calls with one answer.
    pub async fn wires(&self) -> Outcome<Vec<Wire>> {
        wires(&self.address).await
    }
}

/// The request of a stream that hands out its frames so many times.
pub fn times(count: usize) -> Bytes {
    Bytes::copy_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes())
}

/// Is the floor, until it is killed.
pub async fn serve(file: &Path) -> Outcome<()> {
    let mut pieces = Bytes::from(fs::read(file)?);
    let mut frames = Vec::new();
    while pieces.has_remaining() {
        let length = usize::try_from(pieces.get_u32())?;
        frames.push(pieces.split_to(length));
    }
    let floor = Service { answer: frames.remove(0), frames: frames.into() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().max_concurrent_streams(STREAMS).add_service(floor).serve_with_incoming(incoming).await?;
    Ok(())
}

#[derive(Clone)]
struct Service {
    answer: Bytes,
    frames: Arc<[Bytes]>,
}

impl NamedService for Service {
    const NAME: &'static str = "bench.Floor";
}

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                UNARY => service.unary(request).await,
                IDLE => service.idle(request).await,
                _ => service.stream(request).await,
            })
        })
    }
}

impl Service {
    async fn unary(self, request: http::Request<Body>) -> http::Response<Body> {
        let handler = tower::service_fn(move |_: Request<Bytes>| {
            std::future::ready(Ok::<_, Status>(Response::new(self.answer.clone())))
        });
        server::Grpc::new(Raw::SMALL).unary(handler, request).await
    }

    async fn stream(self, request: http::Request<Body>) -> http::Response<Body> {
        let handler = tower::service_fn(move |request: Request<Bytes>| {
            let (frames, mut times) = (Arc::clone(&self.frames), request.into_inner());
            let count = frames.len() * usize::try_from(times.get_u32()).unwrap_or(1);
            let frames = (0..count).map(move |at| Ok::<_, Status>(frames[at % frames.len()].clone()));
            std::future::ready(Ok::<_, Status>(Response::new(tokio_stream::iter(frames))))
        });
        server::Grpc::new(Raw::SMALL).server_streaming(handler, request).await
    }

    async fn idle(self, request: http::Request<Body>) -> http::Response<Body> {
        let handler = tower::service_fn(move |_: Request<Bytes>| {
            let first = tokio_stream::once(Ok::<_, Status>(self.answer.clone()));
            std::future::ready(Ok::<_, Status>(Response::new(first.chain(tokio_stream::pending()))))
        });
        server::Grpc::new(Raw::AS_IT_COMES).server_streaming(handler, request).await
    }
}
