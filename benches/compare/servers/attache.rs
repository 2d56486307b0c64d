//! Attaché as people run it: the binary, a folder, a sync before each answer.

use std::{path::Path, process::Command, time::Duration};

use attache::pb::v1::{self, log_service_client::LogServiceClient, registry_service_client::RegistryServiceClient};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::{channels, cluster::Cluster, connect, listening, wires};
use crate::{Outcome, machine, places, process::Process, stores, wire::Wire};

/// A fill that is not done by then hangs.
const FILL_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// A replica that has not caught up by then never will.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(600);

/// A store that was kept for months is no mistake of the clock.
const SERVE: [&str; 4] = ["serve", "--listen", "127.0.0.1:0", "--accept-day-jump"];

/// A server.
pub struct Attache {
    process: Process,
    /// Where it listens.
    pub address: String,
    /// What goes with it: the folder of its store, or of its configuration.
    _temporary: Option<TempDir>,
}

impl Attache {
    /// On an empty store.
    pub fn empty() -> Outcome<Self> {
        let folder = places::temporary()?;
        let (process, address) = start(serve().arg("--data-dir").arg(folder.path()))?;
        Ok(Self { process, address, _temporary: Some(folder) })
    }

    /// On an empty store that is not synced: what the disk does has no part in it.
    pub fn unsynced() -> Outcome<Self> {
        let folder = places::temporary()?;
        let (process, address) = start(serve().arg("--in-memory").env("TMPDIR", folder.path()))?;
        Ok(Self { process, address, _temporary: Some(folder) })
    }

    /// On a store that is kept; it is not to be written to.
    pub async fn on(store: &Path) -> Outcome<Self> {
        let server = Self::just_on(store)?;
        machine::rest(&server.process).await?;
        Ok(server)
    }

    /// The same, as soon as it is ready.
    pub fn just_on(store: &Path) -> Outcome<Self> {
        let (process, address) = start(serve().arg("--data-dir").arg(store))?;
        Ok(Self { process: process.asked_to_end(), address, _temporary: None })
    }

    /// The same with next to no ring: every replay is read from the store, however small that is.
    pub async fn without_ring(store: &Path) -> Outcome<Self> {
        let folder = places::temporary()?;
        let config = folder.path().join("attache.toml");
        std::fs::write(&config, "[limits]\nring_bytes = 1\n")?;
        let (process, address) = start(serve().arg("--config").arg(config).arg("--data-dir").arg(store))?;
        machine::rest(&process).await?;
        Ok(Self { process: process.asked_to_end(), address, _temporary: Some(folder) })
    }

    /// On a copy of the store with so many records.
    pub async fn on_copy(records: u64) -> Outcome<Self> {
        let folder = stores::copy(records).await?;
        let (process, address) = start(serve().arg("--data-dir").arg(folder.path()))?;
        machine::rest(&process).await?;
        Ok(Self { process, address, _temporary: Some(folder) })
    }

    /// On a copy of the store with so many records, as a configuration says.
    pub async fn configured(records: u64, config: &str) -> Outcome<Self> {
        let folder = stores::copy(records).await?;
        let file = folder.path().join("attache.toml");
        std::fs::write(&file, config)?;
        let (process, address) = start(serve().arg("--config").arg(file).arg("--data-dir").arg(folder.path()))?;
        machine::rest(&process).await?;
        Ok(Self { process, address, _temporary: Some(folder) })
    }

    /// The same with its instructions counted by valgrind, if that is here, into a file that it writes when it ends.
    pub async fn counted(records: u64, config: &str, counts: &Path) -> Outcome<Option<Self>> {
        let mut valgrind = Command::new("valgrind");
        if valgrind.arg("--version").output().is_err() {
            return Ok(None);
        }
        let folder = stores::copy(records).await?;
        let file = folder.path().join("attache.toml");
        std::fs::write(&file, config)?;
        let mut command = Command::new("valgrind");
        command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", counts.display())).arg(places::ATTACHE);
        command.args(SERVE).arg("--config").arg(file).arg("--data-dir").arg(folder.path());
        let (process, address) = start(&mut command)?;
        Ok(Some(Self { process, address, _temporary: Some(folder) }))
    }

    /// Asks it to end, and waits until it did.
    pub async fn stop(&mut self, limit: Duration) -> Outcome<()> {
        self.process.stop(limit).await
    }

    /// A new replica of a stream.
    pub fn replica(cluster: &Cluster, stream: &str) -> Outcome<Self> {
        let folder = places::temporary()?;
        let mut command = serve();
        command.arg("--data-dir").arg(folder.path()).args(cluster.flags(stream));
        let process = Process::start("attache serve", &mut command)?;
        let address = process.told_within(CATCH_UP_LIMIT, listening)?;
        Ok(Self { process, address, _temporary: Some(folder) })
    }

    /// Moves the log of a store onto an empty stream; the bytes of the snapshot that new replicas begin with.
    pub async fn migrate(store: &Path, cluster: &Cluster, stream: &str) -> Outcome<u64> {
        let mut command = Command::new(places::ATTACHE);
        command.args(["migrate", "to-stream", "--data-dir"]).arg(store).args(cluster.flags(stream));
        let mut migrate = Process::start("attache migrate", &mut command)?;
        migrate.end(FILL_LIMIT).await?;
        migrate.told(snapshot_bytes)
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

    /// A token of all that it has.
    pub async fn token(&self) -> Outcome<String> {
        let mut log = LogServiceClient::new(self.channel().await?);
        Ok(log.get_log_info(v1::GetLogInfoRequest {}).await?.into_inner().token)
    }

    /// Waits until it has what a token says.
    pub async fn reach(&self, token: &str) -> Outcome<()> {
        let asked = v1::ListSourcesRequest { at_least: Some(token.to_owned()), ..Default::default() };
        RegistryServiceClient::new(self.channel().await?).list_sources(asked).await?;
        Ok(())
    }

    /// One connection.
    pub async fn channel(&self) -> Outcome<Channel> {
        Ok(connect(&self.address, 1).await?.swap_remove(0))
    }

    /// Puts made-up records into it, from one number on; records a second.
    pub async fn fill(&self, from: u64, records: u64) -> Outcome<f64> {
        let mut command = Command::new(places::ATTACHE);
        command.args(["bench", "fill", "--yes-write", "-o", "json", "--server", &self.address]);
        command.args(["--from", &from.to_string(), "--records", &records.to_string()]);
        let mut fill = Process::start("attache bench fill", &mut command)?;
        fill.end(FILL_LIMIT).await?;
        fill.told(|line| line.trim().strip_prefix("\"recordsPerSecond\":")?.trim_matches([' ', ',']).parse().ok())
    }
}

/// The bytes in a line such as "…new replicas begin with snapshot NAME, 123 bytes".
fn snapshot_bytes(line: &str) -> Option<u64> {
    let (_, snapshot) = line.split_once("new replicas begin with snapshot ")?;
    snapshot.rsplit_once(", ")?.1.trim().strip_suffix(" bytes")?.parse().ok()
}

fn serve() -> Command {
    let mut command = Command::new(places::ATTACHE);
    command.args(SERVE);
    command
}

fn start(command: &mut Command) -> Outcome<(Process, String)> {
    let process = Process::start("attache serve", command)?;
    let address = process.told(listening)?;
    Ok((process, address))
}
