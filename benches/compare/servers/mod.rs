//! The servers that are measured, each a process of its own.

pub mod attache;
pub mod cluster;
pub mod etcd;
pub mod floor;
pub mod nats;
pub mod peers;
pub mod sqlite;

use tonic::transport::{Channel, Endpoint};

use crate::{Outcome, bench::CHANNELS, wire::Wire};

/// What may be sent before it is read, in bytes.
pub struct Windows {
    /// On a stream.
    pub stream: u32,
    /// On a connection.
    pub connection: u32,
}

/// So much that nobody waits for the client.
pub const WINDOWS: Windows = Windows { stream: 4 << 20, connection: 16 << 20 };
/// The windows of a client that will not read, in bytes: HTTP/2's own.
const SMALL_WINDOW_BYTES: u32 = 65_535;

/// So many connections.
pub async fn connect(address: &str, count: usize) -> Outcome<Vec<Channel>> {
    let endpoint = Endpoint::from_shared(address.to_owned())?
        .initial_stream_window_size(WINDOWS.stream)
        .initial_connection_window_size(WINDOWS.connection);
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}

/// The connections of a load.
pub async fn channels(address: &str) -> Outcome<Vec<Channel>> {
    connect(address, CHANNELS).await
}

/// The same for calls with one answer.
pub async fn wires(address: &str) -> Outcome<Vec<Wire>> {
    let mut wires = Vec::with_capacity(CHANNELS);
    for _ in 0..CHANNELS {
        wires.push(Wire::open(address).await?);
    }
    Ok(wires)
}

/// A connection on which little arrives unless it is read.
pub async fn narrow(address: &str) -> Outcome<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned())?
        .initial_stream_window_size(SMALL_WINDOW_BYTES)
        .initial_connection_window_size(SMALL_WINDOW_BYTES);
    Ok(endpoint.connect().await?)
}

/// The address in a line such as "listening on http://127.0.0.1:50051".
fn listening(line: &str) -> Option<String> {
    line.strip_prefix("listening on ").map(|address| address.trim().to_owned())
}
