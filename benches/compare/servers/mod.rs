//! The servers that are measured, each a process of its own.

pub mod attache;
pub mod cluster;
pub mod etcd;
pub mod floor;
pub mod nats;
pub mod peers;
pub mod sqlite;

use tonic::transport::{Channel, Endpoint};

use crate::{Outcome, bench::CHANNELS};

/// What a stream may send before it is read, in bytes: so much that nobody waits for the client.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// The windows of a client that will not read, in bytes: HTTP/2's own.
const SMALL_WINDOW_BYTES: u32 = 65_535;

/// So many connections.
pub async fn connect(address: &str, count: usize) -> Outcome<Vec<Channel>> {
    let endpoint = Endpoint::from_shared(address.to_owned())?
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
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
