//! Real NATS servers, three of them, that can be killed, paused and started again.

use std::{
    ffi::OsStr,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, stream::State};
use attache::journal::jetstream::{Access, Settings};
use serde_json::Value;
use tempfile::TempDir;

/// Servers of a cluster.
const SERVERS: usize = 3;
/// How long servers may take to be ready, or to agree on a leader.
const PATIENCE: Duration = Duration::from_secs(40);
/// The name of the stream in these tests.
pub const STREAM: &str = "TEST";

/// How its servers sync what they acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    Always,
    Late,
}

impl Sync {
    fn said(self) -> &'static str {
        match self {
            Self::Always => "sync_interval: always",
            Self::Late => "sync_interval: \"2m\"",
        }
    }
}

/// Three servers that know each other; they end with this value.
pub struct Cluster {
    servers: Vec<Server>,
    _folder: TempDir,
}

struct Server {
    name: String,
    config: PathBuf,
    log: PathBuf,
    store: PathBuf,
    client: u16,
    monitor: u16,
    child: Option<Child>,
}

impl Cluster {
    /// Starts three servers and waits until they agree.
    pub fn start(sync: Sync) -> Self {
        Self::start_with(sync, "")
    }

    /// The same, with more in the configuration of each.
    pub fn start_with(sync: Sync, more: &str) -> Self {
        Self::start_over(sync, more, |_, _, port| port)
    }

    /// The same; where one of them finds another, of which this is the port, is said for each way.
    pub fn start_over(sync: Sync, more: &str, mut way: impl FnMut(usize, usize, u16) -> u16) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ports = free_ports(SERVERS * 3);
        let (clients, rest) = ports.split_at(SERVERS);
        let (monitors, routes) = rest.split_at(SERVERS);
        let server = |index: usize| {
            let others = (0..SERVERS).filter(|other| *other != index);
            let route = |other: usize| format!("nats://127.0.0.1:{}", way(index, other, routes[other]));
            let others: Vec<String> = others.map(route).collect();
            let name = format!("n{index}");
            let at = |suffix: &str| folder.path().join(format!("{name}{suffix}"));
            let (config, log, store) = (at(".conf"), at(".log"), at(""));
            // Each is told of all others. What they tell each other leads nowhere: it would lead around links.
            let text = format!(
                "server_name: {name}\nlisten: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\n\
                 jetstream {{ store_dir: {store:?}, {} }}\n\
                 cluster {{ name: attache, no_advertise: true, advertise: \"127.0.0.1:1\",\n\
                 listen: \"127.0.0.1:{}\", routes: {others:?} }}\n\
                 {more}\n",
                clients[index],
                monitors[index],
                sync.said(),
                routes[index],
            );
            std::fs::write(&config, text).expect("a configuration is written");
            Server { name, config, log, store, client: clients[index], monitor: monitors[index], child: None }
        };
        let mut servers: Vec<Server> = (0..SERVERS).map(server).collect();
        servers.iter_mut().for_each(Server::start);
        let cluster = Self { servers, _folder: folder };
        (0..SERVERS).for_each(|index| cluster.wait_until_ready(index));
        cluster.wait_until_all_are_known();
        cluster
    }

    /// Where replicas find it.
    pub fn settings(&self) -> Settings {
        Settings {
            servers: self.servers.iter().map(|s| format!("nats://127.0.0.1:{}", s.client)).collect(),
            access: Access::default(),
            stream: STREAM.to_owned(),
            replicas: 3,
            monitors: self.servers.iter().map(|s| format!("http://127.0.0.1:{}", s.monitor)).collect(),
            accept_lax: false,
            accept_sealed: false,
            may_make: true,
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.servers[index].end();
    }

    /// Starts a killed server again, and waits until it has what the others have.
    pub fn restart(&mut self, index: usize) {
        self.servers[index].start();
        self.wait_until_ready(index);
    }

    /// Starts a killed server again, that syncs otherwise than it did.
    pub fn restart_with(&mut self, index: usize, before: Sync, now: Sync) {
        let config = &self.servers[index].config;
        let text = std::fs::read_to_string(config).expect("its configuration");
        std::fs::write(config, text.replace(before.said(), now.said())).expect("it is written");
        self.restart(index);
    }

    /// SIGKILL to all of them.
    pub fn kill_all(&mut self) {
        self.servers.iter_mut().for_each(Server::end);
    }

    /// Starts all of them again, and waits until they agree.
    pub fn restart_all(&mut self) {
        self.servers.iter_mut().filter(|s| s.child.is_none()).for_each(Server::start);
        (0..SERVERS).for_each(|index| self.wait_until_ready(index));
    }

    /// Stops it in the middle of whatever it does.
    pub fn pause(&self, index: usize) {
        self.servers[index].signal("-STOP");
    }

    pub fn resume(&self, index: usize) {
        self.servers[index].signal("-CONT");
    }

    /// A copy of what all of them keep, made while none runs.
    pub fn save(&self, to: &Path) {
        for server in &self.servers {
            assert!(server.child.is_none(), "it runs");
            copy(&server.store, &to.join(&server.name));
        }
    }

    /// Puts an older copy in the place of what they keep.
    pub fn restore(&self, from: &Path) {
        for server in &self.servers {
            assert!(server.child.is_none(), "it runs");
            std::fs::remove_dir_all(&server.store).expect("the store is removed");
            copy(&from.join(&server.name), &server.store);
        }
    }

    /// Who leads the stream, as the servers that run say.
    pub fn leader(&self) -> usize {
        self.leader_of(STREAM)
    }

    /// The same of a stream beside it.
    pub fn leader_of(&self, stream: &str) -> usize {
        let began = Instant::now();
        loop {
            for server in self.servers.iter().filter(|s| s.child.is_some()) {
                let leader = server.ask("/jsz?acc=$G&streams=1").ok().and_then(|jsz| leader_in(&jsz, stream));
                if let Some(index) = leader.and_then(|name| self.servers.iter().position(|s| s.name == name))
                    && self.servers[index].child.is_some()
                {
                    return index;
                }
            }
            assert!(began.elapsed() < PATIENCE, "nobody leads the stream\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_until_ready(&self, index: usize) {
        let began = Instant::now();
        while self.servers[index].ask("/healthz").is_err() || !self.has_meta_leader(index) {
            assert!(began.elapsed() < PATIENCE, "server {index} is not ready\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Before that its leader finds no place for a stream of three copies: "no suitable peers for placement, peer offline".
    fn wait_until_all_are_known(&self) {
        let began = Instant::now();
        while !(0..SERVERS).any(|index| self.knows_all(index)) {
            assert!(began.elapsed() < PATIENCE, "no leader has heard of all\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether a server leads the others, and has heard of each.
    fn knows_all(&self, index: usize) -> bool {
        let jsz = self.servers[index].ask("/jsz").unwrap_or_default();
        let others = jsz["meta_cluster"]["replicas"].as_array().map_or(&[][..], Vec::as_slice);
        let is_heard = |other: &Value| other["current"] == true && other["offline"] != true;
        others.len() == SERVERS - 1 && others.iter().all(is_heard)
    }

    fn has_meta_leader(&self, index: usize) -> bool {
        let jsz = self.servers[index].ask("/jsz").ok();
        jsz.is_some_and(|jsz| jsz["meta_cluster"]["leader"].as_str().is_some_and(|leader| !leader.is_empty()))
    }

    fn logs(&self) -> String {
        let read = |s: &Server| std::fs::read_to_string(&s.log).unwrap_or_default();
        self.servers.iter().map(|s| format!("-- {}\n{}", s.name, read(s))).collect()
    }
}

/// Where a stream begins and ends, as its leader says.
pub async fn state_of(settings: &Settings) -> State {
    let client = async_nats::connect(settings.servers.clone()).await.expect("it connects");
    let mut stream = jetstream::new(client).get_stream(&settings.stream).await.expect("it is there");
    stream.info().await.expect("it answers").state.clone()
}

fn leader_in(jsz: &Value, stream: &str) -> Option<String> {
    let streams = jsz["account_details"].as_array()?.iter().filter_map(|a| a["stream_detail"].as_array()).flatten();
    let mut of_ours = streams.filter(|s| s["name"] == stream);
    of_ours.find_map(|s| s["cluster"]["leader"].as_str().map(ToOwned::to_owned))
}

impl Server {
    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(&self.log).expect("a log");
        let child = Command::new(program())
            .arg("-c")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        self.child = Some(child);
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([OsStr::new(signal), OsStr::new(&id)]).status().expect("kill runs");
        assert!(status.success());
    }

    /// What a monitoring endpoint answers, if it answers well.
    fn ask(&self, path: &str) -> Result<Value, String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitor)).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).map_err(|e| e.to_string())?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").map_err(|e| e.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|e| e.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
        if head.lines().next().is_none_or(|line| !line.contains(" 200 ")) {
            return Err(head.to_owned());
        }
        serde_json::from_str(body).map_err(|e| e.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The server that `tests/run.py` installed.
fn program() -> PathBuf {
    let tools =
        std::env::var_os("ATTACHE_TOOLS").expect("ATTACHE_TOOLS: run python3 tests/run.py, which installs nats-server");
    PathBuf::from(tools).join("bin").join("nats-server")
}

/// Ports that nobody listens on, below those that the system gives to outgoing connections: they must be told to others
/// before they are bound. These tests run one at a time.
fn free_ports(count: usize) -> Vec<u16> {
    let first = 20_000 + u16::try_from(std::process::id() % 1000).expect("below a thousand") * 10;
    let free = (first..32_000).chain(20_000..first).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let ports: Vec<u16> = free.take(count).collect();
    assert_eq!(ports.len(), count, "ports are free");
    ports
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|e| e.expect("an entry")) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            std::fs::copy(&source, &target).expect("a file is copied");
        }
    }
}
