//! Calls whose answers are read no further than the load needs, and weighed: of most nothing but their size.

use std::marker::PhantomData;

use http::uri::PathAndQuery;
use prost::{
    Message,
    bytes::{Buf as _, BufMut as _},
};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming},
};

use crate::cli::client::{MAX_MESSAGE_BYTES, Wire};

/// A message as far as it was read, and how many bytes it had.
#[derive(Debug, Clone, Default)]
pub struct Skimmed<T> {
    /// The fields that `T` has; `()` has none.
    pub message: T,
    /// As they came over the wire, without headers.
    pub bytes: u64,
}

/// A client of one method.
#[derive(Debug, Clone)]
pub struct Method {
    grpc: Grpc<Wire>,
    path: PathAndQuery,
}

impl Method {
    /// A method of a service of the contract.
    ///
    /// # Panics
    ///
    /// If the names are no names: they are literals of this crate.
    #[must_use]
    pub fn new(wire: Wire, service: &str, method: &str) -> Self {
        let path = format!("/{service}/{method}").parse().expect("the names of a service and a method make a path");
        Self { grpc: Grpc::new(wire).max_decoding_message_size(MAX_MESSAGE_BYTES), path }
    }

    /// One call with one answer.
    ///
    /// # Errors
    ///
    /// What the server or the transport says.
    pub async fn call<M, T>(&mut self, message: M) -> Result<Skimmed<T>, Status>
    where
        M: Message + 'static,
        T: Message + Default + 'static,
    {
        self.ready().await?;
        let answer = self.grpc.unary(Request::new(message), self.path.clone(), Skim::<M, T>::default()).await?;
        Ok(answer.into_inner())
    }

    /// One call with any number of answers.
    ///
    /// # Errors
    ///
    /// As of [`Self::call`].
    pub async fn stream<M, T>(&mut self, message: M) -> Result<Streaming<Skimmed<T>>, Status>
    where
        M: Message + 'static,
        T: Message + Default + 'static,
    {
        self.ready().await?;
        let skim = Skim::<M, T>::default();
        let answer = self.grpc.server_streaming(Request::new(message), self.path.clone(), skim).await?;
        Ok(answer.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.grpc.ready().await.map_err(|error| Status::unavailable(format!("the connection is not ready: {error}")))
    }
}

/// Sends whole messages and reads skimmed ones.
#[derive(Debug)]
struct Skim<M, T>(PhantomData<(M, T)>);

impl<M, T> Default for Skim<M, T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<M: Message + 'static, T: Message + Default + 'static> Codec for Skim<M, T> {
    type Encode = M;
    type Decode = Skimmed<T>;
    type Encoder = Skim<M, T>;
    type Decoder = Skim<M, T>;

    fn encoder(&mut self) -> Self::Encoder {
        Self::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self::default()
    }
}

impl<M: Message, T> Encoder for Skim<M, T> {
    type Item = M;
    type Error = Status;

    fn encode(&mut self, message: M, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put_slice(&message.encode_to_vec());
        Ok(())
    }
}

impl<M, T: Message + Default> Decoder for Skim<M, T> {
    type Item = Skimmed<T>;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Skimmed<T>>, Status> {
        let bytes = source.remaining() as u64;
        let message =
            T::decode(source).map_err(|error| Status::data_loss(format!("the answer is no message: {error}")))?;
        Ok(Some(Skimmed { message, bytes }))
    }
}
