//! etcd as it comes: one member, a sync before each answer. Of its messages those fields that are sent; what it answers
//! stays bytes, or the client would cost more than Attaché's.

use std::{
    net::TcpListener,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use tempfile::TempDir;
use tonic::transport::Channel;

use super::{channels, wires};
use crate::{Outcome, bench::BYTES, places, process::Process, wire::Wire};

/// Looks a key up.
pub const RANGE: &str = "/etcdserverpb.KV/Range";
/// Puts a value.
pub const PUT: &str = "/etcdserverpb.KV/Put";
/// Watches keys; streams in both directions.
pub const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// It has elected itself by then.
const READY_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bool, tag = "7")]
    serializable: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create: Option<WatchCreateRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchCreateRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(int64, tag = "3")]
    start_revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WatchResponse {
    #[prost(bool, tag = "4")]
    canceled: bool,
    #[prost(bytes = "bytes", repeated, tag = "11")]
    events: Vec<Bytes>,
}

/// A server.
pub struct Etcd {
    /// Ends before its folder goes.
    _process: Process,
    address: String,
    _folder: TempDir,
}

impl Etcd {
    /// Starts one with an empty store, on ports that were free.
    pub async fn start(program: &Path) -> Outcome<Self> {
        let folder = places::temporary()?;
        let (clients, members) = (free_url()?, free_url()?);
        let mut command = Command::new(program);
        command.args(["--name", "bench", "--log-level", "warn", "--data-dir"]).arg(folder.path());
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &members, "--initial-advertise-peer-urls", &members]);
        command.args(["--initial-cluster", &format!("bench={members}")]);
        let process = Process::start("etcd", &mut command)?;
        let began = Instant::now();
        while let Err(error) = answers(&clients).await {
            if began.elapsed() > READY_LIMIT {
                return Err(process.trouble(&format!("is not ready ({error})")));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Self { _process: process, address: clients, _folder: folder })
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

async fn answers(address: &str) -> Outcome<()> {
    Wire::open(address).await?.method(RANGE)?.call(&range(0, false)).await?;
    Ok(())
}

/// It cannot be told to take a port and say which; between this and its start somebody may take it, which is told.
fn free_url() -> Outcome<String> {
    Ok(format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?))
}

fn key(number: usize) -> Bytes {
    format!("visits/bench-{number:08}").into()
}

/// Asks for one key; serializable is what the member has without asking whether it still leads.
pub fn range(number: usize, serializable: bool) -> Bytes {
    RangeRequest { key: key(number), serializable }.encode_to_vec().into()
}

/// Puts a value of the usual size.
pub fn put(number: usize) -> Bytes {
    PutRequest { key: key(number), value: vec![b'7'; BYTES].into() }.encode_to_vec().into()
}

/// Watches all keys from the first put on.
pub fn watch() -> Bytes {
    let create = WatchCreateRequest { key: "visits/".into(), range_end: "visits0".into(), start_revision: 1 };
    WatchRequest { create: Some(create) }.encode_to_vec().into()
}

/// How many events an answer to a watch has.
pub fn events(answer: Bytes) -> Outcome<usize> {
    let answer = WatchResponse::decode(answer)?;
    if answer.canceled {
        return Err("etcd cancelled the watch".into());
    }
    Ok(answer.events.len())
}
