//! Calls with one answer by HTTP/2 alone. Client and server share the processors, so what a client spends on a call is missing
//! in what its server answers: this one does nothing that a measurement does not need.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Request, Uri, header};
use tokio::net::TcpStream;

use crate::{Outcome, servers::WINDOWS};

/// Before each message: whether it is compressed, and its length, in bytes.
const PREFIX_BYTES: usize = 5;

/// A connection. It ends with the last of its clones.
#[derive(Clone)]
pub struct Wire {
    requests: SendRequest<Bytes>,
    /// `http://host:port`.
    address: String,
}

impl Wire {
    /// Opens one to a server.
    pub async fn open(address: &str) -> Outcome<Self> {
        let place = address.strip_prefix("http://").ok_or_else(|| format!("{address} is not a plain address"))?;
        let socket = TcpStream::connect(place).await?;
        socket.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOWS.stream).initial_connection_window_size(WINDOWS.connection);
        let (requests, connection) = builder.handshake(socket).await?;
        // What goes wrong with it fails the calls.
        tokio::spawn(connection);
        Ok(Self { requests, address: address.to_owned() })
    }

    /// One method of the server.
    pub fn method(&self, path: &str) -> Outcome<Method> {
        Ok(Method { requests: self.requests.clone(), uri: format!("{}{path}", self.address).parse()? })
    }
}

/// A method that has one answer.
pub struct Method {
    requests: SendRequest<Bytes>,
    uri: Uri,
}

impl Method {
    /// One call; answers the message.
    pub async fn call(&mut self, message: &[u8]) -> Outcome<Bytes> {
        let request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(())?;
        self.requests = self.requests.clone().ready().await?;
        let (response, mut sent) = self.requests.send_request(request, false)?;
        sent.send_data(framed(message)?, true)?;
        let (head, mut body) = response.await?.into_parts();
        // An answer without a message has its status where others have it after that.
        if head.headers.contains_key("grpc-status") {
            check(&head.headers)?;
        }
        let frame = whole(&mut body).await?;
        check(&body.trailers().await?.unwrap_or(head.headers))?;
        message_of(frame)
    }
}

fn framed(message: &[u8]) -> Outcome<Bytes> {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len())?);
    frame.put_slice(message);
    Ok(frame.freeze())
}

/// All bytes of an answer, which most servers send at once.
async fn whole(body: &mut RecvStream) -> Outcome<Bytes> {
    let mut parts = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        parts.push(part);
    }
    Ok(<[Bytes; 1]>::try_from(parts).map_or_else(|parts| parts.concat().into(), |[only]| only))
}

fn message_of(mut frame: Bytes) -> Outcome<Bytes> {
    if frame.len() < PREFIX_BYTES {
        return Err("an answer has no message".into());
    }
    let (compressed, length) = (frame.get_u8(), frame.get_u32());
    if compressed != 0 || usize::try_from(length)? != frame.len() {
        return Err(format!("an answer of {} bytes is not one message of {length}", frame.len()).into());
    }
    Ok(frame)
}

/// Whether a call went well.
fn check(trailers: &HeaderMap) -> Outcome<()> {
    let text = |name| trailers.get(name).map_or("none", |value| value.to_str().unwrap_or("?"));
    match text("grpc-status") {
        "0" => Ok(()),
        code => Err(format!("status {code}: {}", text("grpc-message")).into()),
    }
}
