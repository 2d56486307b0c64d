//! Three NATS servers that sync whatever they acknowledge: where replicas keep their log.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self, Context,
    message::PublishMessage,
    stream::{Config, Info, StorageType},
};
use bytes::Bytes;
use tempfile::TempDir;

use crate::{Outcome, places, process::Process};

/// Servers, and copies of every stream.
pub const SERVERS: usize = 3;
/// Bytes of a batch that is appended without Attaché.
pub const BATCH_BYTES: usize = 64 * 1024;

/// They have elected each other, or made up what they missed, by then.
const READY_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// A message that is not acknowledged within this is offered again: whoever had it may be gone.
const OFFER: Duration = Duration::from_millis(250);
/// Made and deleted to see that they are ready.
const PROBE: &str = "PROBE";

/// The servers, which know each other.
pub struct Cluster {
    /// End before their folder goes.
    servers: Vec<Server>,
    program: PathBuf,
    _folder: TempDir,
}

struct Server {
    config: PathBuf,
    client: u16,
    monitor: u16,
    /// None while it is killed.
    process: Option<Process>,
}

impl Cluster {
    /// Starts them with nothing, and waits until they agree.
    pub async fn start(program: &Path) -> Outcome<Self> {
        let folder = places::temporary()?;
        let servers = configure(folder.path())?;
        let mut cluster = Self { servers, program: program.to_owned(), _folder: folder };
        for at in 0..SERVERS {
            cluster.launch(at)?;
        }
        cluster.until("are not ready", async || cluster.probe().await).await?;
        Ok(cluster)
    }

    /// What tells Attaché that its log is a stream of theirs.
    pub fn flags(&self, stream: &str) -> Vec<String> {
        let monitors: Vec<_> = self.servers.iter().map(|s| format!("http://127.0.0.1:{}", s.monitor)).collect();
        let (servers, monitors) = (self.addresses().join(","), monitors.join(","));
        let flags = ["--journal", &servers, "--journal-monitor", &monitors, "--journal-stream", stream];
        flags.map(ToOwned::to_owned).to_vec()
    }

    /// Appends batches to a stream of its own, each when the one before is acknowledged, and fenced as a replica's are;
    /// batches a second.
    pub async fn append(&self, stream: &str, batches: u64) -> Outcome<f64> {
        let (context, payload) = (self.context().await?, Bytes::from(vec![b'7'; BATCH_BYTES]));
        self.make(&context, stream).await?;
        // The first one waits for a leader.
        self.until("take nothing", async || offer(&context, stream, &payload, None).await.map(drop)).await?;
        let mut last = offer(&context, stream, &payload, None).await?;
        let began = Instant::now();
        for _ in 0..batches {
            last = offer(&context, stream, &payload, Some(last)).await?;
        }
        let rate = batches as f64 / began.elapsed().as_secs_f64();
        context.delete_stream(stream).await?;
        Ok(rate)
    }

    /// Offers one message after the other to a stream of its own for so long, whose leader is killed after a while and started
    /// again; the longest time without an acknowledgement.
    pub async fn outlast(&mut self, stream: &str, before: Duration, lasting: Duration) -> Outcome<Duration> {
        let context = self.context().await?;
        self.make(&context, stream).await?;
        let payload = Bytes::from_static(b"7");
        self.until("take nothing", async || offer(&context, stream, &payload, None).await.map(drop)).await?;
        let killed = async {
            tokio::time::sleep(before).await;
            self.kill_leader(stream).await
        };
        let (waited, killed) = tokio::join!(insist(&context, stream, &payload, lasting), killed);
        self.restart(killed?).await?;
        context.delete_stream(stream).await?;
        Ok(waited)
    }

    /// Ends the one that leads a stream with SIGKILL, and says which.
    pub async fn kill_leader(&mut self, stream: &str) -> Outcome<usize> {
        let leader = self.info(stream).await?.cluster.and_then(|cluster| cluster.leader).unwrap_or_default();
        let at = (0..SERVERS).find(|at| name(*at) == leader);
        let at = at.ok_or_else(|| format!("{leader:?} leads the stream {stream}, and is none of ours"))?;
        self.servers[at].process = None;
        Ok(at)
    }

    /// Starts one that was killed, and waits until it can have a copy of a stream again.
    pub async fn restart(&mut self, at: usize) -> Outcome<()> {
        self.launch(at)?;
        self.until("are not ready again", async || self.probe().await).await
    }

    fn launch(&mut self, at: usize) -> Outcome<()> {
        let server = &mut self.servers[at];
        let mut command = Command::new(&self.program);
        server.process = Some(Process::start("nats-server", command.arg("-c").arg(&server.config))?);
        Ok(())
    }

    fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(|s| format!("nats://127.0.0.1:{}", s.client)).collect()
    }

    async fn context(&self) -> Outcome<Context> {
        Ok(jetstream::new(async_nats::connect(self.addresses()).await?))
    }

    async fn info(&self, stream: &str) -> Outcome<Info> {
        Ok(self.context().await?.get_stream(stream).await?.cached_info().clone())
    }

    /// Makes a stream with a copy on each of them, which cannot be done before all are there.
    async fn probe(&self) -> Outcome<()> {
        let context = self.context().await?;
        context.create_stream(config(PROBE)).await?;
        context.delete_stream(PROBE).await?;
        Ok(())
    }

    /// Makes a stream. A server that was started anew may be counted as gone once more after it had been there.
    async fn make(&self, context: &Context, stream: &str) -> Outcome<()> {
        self.until("take no stream", async || Ok(context.create_stream(config(stream)).await.map(drop)?)).await
    }

    async fn until(&self, what: &str, is_done: impl AsyncFn() -> Outcome<()>) -> Outcome<()> {
        let began = Instant::now();
        while let Err(error) = is_done().await {
            if began.elapsed() > READY_LIMIT {
                let last: String = self.servers.iter().flat_map(|s| &s.process).map(Process::last_lines).collect();
                return Err(format!("the NATS servers {what}: {error}; their last output:{last}").into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Publishes one message, to stand after another if that is said; where it stands.
async fn offer(context: &Context, stream: &str, payload: &Bytes, after: Option<u64>) -> Outcome<u64> {
    let message = PublishMessage::build().payload(payload.clone());
    let message = match after {
        Some(last) => message.expected_last_sequence(last),
        None => message,
    };
    Ok(context.send_publish(subject(stream), message).await?.await?.sequence)
}

/// Offers messages for so long, each until it is acknowledged; the longest wait.
async fn insist(context: &Context, stream: &str, payload: &Bytes, lasting: Duration) -> Duration {
    let (began, mut acknowledged, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    while began.elapsed() < lasting {
        let offered = tokio::time::timeout(OFFER, offer(context, stream, payload, None)).await;
        longest = longest.max(acknowledged.elapsed());
        match offered {
            Ok(Ok(_)) => acknowledged = Instant::now(),
            Ok(Err(_)) => tokio::time::sleep(LOOK).await,
            Err(_) => {}
        }
    }
    longest
}

fn subject(stream: &str) -> String {
    format!("{stream}.messages")
}

/// A stream in files with a copy on each server.
fn config(stream: &str) -> Config {
    Config {
        name: stream.to_owned(),
        subjects: vec![subject(stream)],
        storage: StorageType::File,
        num_replicas: SERVERS,
        ..Config::default()
    }
}

fn name(at: usize) -> String {
    format!("n{at}")
}

fn configure(folder: &Path) -> Outcome<Vec<Server>> {
    let ports = free_ports(SERVERS * 3)?;
    let (clients, rest) = ports.split_at(SERVERS);
    let (monitors, routes) = rest.split_at(SERVERS);
    let all: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let server = |at: usize| -> Outcome<Server> {
        let (name, client, monitor, route) = (name(at), clients[at], monitors[at], routes[at]);
        let (config, store) = (folder.join(format!("{name}.conf")), folder.join(&name));
        let text = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{client}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
             jetstream {{ store_dir: {store:?}, sync_interval: always }}\n\
             cluster {{ name: compare, listen: \"127.0.0.1:{route}\", routes: {all:?} }}\n",
        );
        fs::write(&config, text)?;
        Ok(Server { config, client, monitor, process: None })
    };
    (0..SERVERS).map(server).collect()
}

/// Ports that nobody listens on, below those that the system gives to outgoing connections: each server must be told of the
/// others' before they start, and one that was killed finds its own again.
fn free_ports(count: usize) -> Outcome<Vec<u16>> {
    let first = 20_000 + u16::try_from(std::process::id() % 1000)? * 10;
    let free = (first..32_000).chain(20_000..first).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let ports: Vec<u16> = free.take(count).collect();
    if ports.len() == count { Ok(ports) } else { Err("there are no free ports".into()) }
}
