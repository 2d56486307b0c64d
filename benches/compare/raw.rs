//! Calls whose messages stay bytes: the client costs as little for every server.

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use tokio_stream::StreamExt as _;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

use crate::Outcome;

/// More than any server sends in one message, in bytes.
const MESSAGE_BYTES: usize = 64 << 20;

/// What a stream has for its messages before the first, in bytes: little, and it grows as needed.
const SMALL_BUFFER_BYTES: usize = 256;
/// The same as tonic comes.
const BUFFER_BYTES: usize = 8 * 1024;
/// What is handed to HTTP/2 at once, in bytes, as tonic comes.
const YIELD_BYTES: usize = 32 * 1024;

/// Messages as they are.
#[derive(Clone, Copy)]
pub struct Raw {
    buffer_bytes: usize,
}

impl Raw {
    /// Takes as little memory as it can.
    pub const SMALL: Self = Self { buffer_bytes: SMALL_BUFFER_BYTES };
    /// Takes what every stream of tonic does.
    pub const AS_IT_COMES: Self = Self { buffer_bytes: BUFFER_BYTES };
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
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
        BufferSettings::new(self.buffer_bytes, YIELD_BYTES)
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}

/// A client of one method with any number of answers.
pub struct Caller {
    grpc: Grpc<Channel>,
    path: PathAndQuery,
}

impl Caller {
    /// Of a method by its path.
    pub fn new(channel: &Channel, path: &'static str) -> Self {
        let grpc = Grpc::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
        Self { grpc, path: PathAndQuery::from_static(path) }
    }

    /// One call.
    pub async fn stream(&mut self, request: Bytes) -> Outcome<Streaming<Bytes>> {
        self.grpc.ready().await?;
        Ok(self.grpc.server_streaming(Request::new(request), self.path.clone(), Raw::SMALL).await?.into_inner())
    }

    /// The same, where the server would end it if the client had no more to say.
    pub async fn open_stream(&mut self, request: Bytes) -> Outcome<Streaming<Bytes>> {
        self.grpc.ready().await?;
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        Ok(self.grpc.streaming(Request::new(requests), self.path.clone(), Raw::SMALL).await?.into_inner())
    }
}
