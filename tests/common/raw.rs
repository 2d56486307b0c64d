//! Requests as bytes: what no generated client would send.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use tokio::sync::mpsc;
use tonic::{Status, body::Body, transport::Channel};
use tower::{Service as _, ServiceExt as _};

/// A body that is fed piece by piece, and ends when its sender is dropped.
struct Fed(mpsc::Receiver<Bytes>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A message with the five bytes that gRPC puts before it.
pub fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap());
    bytes.put_slice(message);
    bytes.freeze()
}

/// An answer as it came: headers, what the body held, and the status wherever it stood.
pub struct Answer {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub status: Status,
}

impl Answer {
    /// The header block that carried the status, as HTTP/2 counts it.
    pub fn header_bytes(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }
}

/// A request whose headers are sent and whose body is not yet.
pub struct Begun {
    pub body: Option<mpsc::Sender<Bytes>>,
    answer: tokio::task::JoinHandle<Answer>,
}

impl Begun {
    /// Sends a piece of the body.
    pub async fn send(&self, piece: Bytes) {
        // The server may have answered, and reads no more.
        let _ = self.body.as_ref().unwrap().send(piece).await;
    }

    /// Ends the body, and waits for the answer.
    pub async fn answer(mut self) -> Answer {
        self.body = None;
        self.early_answer().await
    }

    /// The same as [`Self::early_answer`], if nothing else is waited for that comes first.
    pub async fn answered(&mut self) -> Answer {
        (&mut self.answer).await.expect("an answer")
    }

    /// Waits for the answer while the body is open.
    pub async fn early_answer(self) -> Answer {
        let answer = self.answer.await.expect("an answer");
        drop(self.body);
        answer
    }
}

/// Begins a request to a method such as `attache.v1.LogService/GetLogInfo`.
pub async fn begin(channel: &Channel, method: &str, headers: &[(&str, &str)]) -> Begun {
    let (sender, receiver) = mpsc::channel(16);
    let mut request =
        Request::post(format!("/{method}")).header("content-type", "application/grpc").header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Fed(receiver))).unwrap();
    let mut channel = channel.clone();
    let service = channel.ready().await.expect("a connection");
    let answering = service.call(request);
    Begun { body: Some(sender), answer: tokio::spawn(async { read(answering.await.expect("a response")).await }) }
}

/// Sends these bytes as the whole body.
pub async fn call(channel: &Channel, method: &str, body: Bytes, headers: &[(&str, &str)]) -> Answer {
    let begun = begin(channel, method, headers).await;
    begun.send(body).await;
    begun.answer().await
}

async fn read(response: Response<Body>) -> Answer {
    let (parts, mut body) = response.into_parts();
    let mut headers = parts.headers;
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame.expect("the body can be read").into_data() {
            Ok(data) => bytes.extend(data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let found = trailers.as_ref().and_then(Status::from_header_map).or_else(|| Status::from_header_map(&headers));
    headers.extend(trailers.unwrap_or_default());
    Answer { headers, body: bytes, status: found.expect("a status") }
}
