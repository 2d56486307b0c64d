//! The codecs of the services: prost, but what cannot be decoded gets the catalogue's code and reason; and, where an
//! answer is encoded already, its bytes as they are.

use std::marker::PhantomData;

use bytes::BufMut as _;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::status;
use crate::{
    limits::{ENCODED_BUFFER_BYTES, ENCODED_YIELD_BYTES},
    pb::wire::Encoded,
};

/// Named by the generated code (`codec_path` in `build.rs`).
#[derive(Debug, Clone, Copy)]
pub struct CatalogueCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for CatalogueCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for CatalogueCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Encode<T>;
    type Decoder = Decode<U>;

    fn encoder(&mut self) -> Self::Encoder {
        Encode(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decode(PhantomData)
    }
}

/// Writes messages.
#[derive(Debug)]
pub struct Encode<T>(PhantomData<T>);

impl<T: Message> Encoder for Encode<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buf).expect("an encode buffer grows");
        Ok(())
    }
}

/// Reads messages.
#[derive(Debug)]
pub struct Decode<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for Decode<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::decode(buf).map(Some).map_err(|error| status::undecodable(&error))
    }
}

/// The codec of answers that are encoded already.
#[derive(Debug, Clone, Copy)]
pub struct EncodedCodec<U>(PhantomData<U>);

impl<U> Default for EncodedCodec<U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<U> Codec for EncodedCodec<U>
where
    U: Message + Default + Send + 'static,
{
    type Encode = Encoded;
    type Decode = U;
    type Encoder = Copy;
    type Decoder = Decode<U>;

    fn encoder(&mut self) -> Self::Encoder {
        Copy
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decode(PhantomData)
    }
}

/// Copies answers.
#[derive(Debug)]
pub struct Copy;

impl Encoder for Copy {
    type Item = Encoded;
    type Error = Status;

    fn encode(&mut self, answer: Encoded, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(answer.size());
        answer.pieces().for_each(|piece| buf.put_slice(piece));
        Ok(())
    }

    /// An answer reserves what it needs, and most watches are idle most of the time: their buffer is small until then.
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ENCODED_BUFFER_BYTES, ENCODED_YIELD_BYTES)
    }
}
