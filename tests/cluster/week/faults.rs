//! What goes wrong: servers, links and replicas, at random, until everything is put right.

use std::{
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use attache::journal::jetstream::Settings;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::REPLICAS;
use crate::{
    common::watching::patiently, link::State, links::Links, nats::Cluster, process::Process, routes::Routes, serve_on,
};

const SERVERS: usize = 3;
/// Time between two faults, in milliseconds.
const PAUSE: std::ops::Range<u64> = 100..1200;
/// Faults at the same time.
const MAX_FAULTS: usize = 4;

/// What goes wrong, until it is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A server, by SIGKILL.
    ServerKilled(usize),
    /// A server, by SIGSTOP.
    ServerPaused(usize),
    /// The links of a server to the others.
    ServerParted(usize, State),
    /// A replica, by SIGKILL.
    ReplicaKilled(usize),
    /// A replica, by SIGTERM.
    ReplicaStopped(usize),
    /// A replica, by SIGKILL, and what it had.
    ReplicaLost(usize),
    /// The link of a replica to a server.
    LinkFailed(usize, usize, State),
    /// All links of a replica.
    CutOff(usize, State),
}

/// What links that fail do.
const FAILURES: [State; 4] = [State::Cut, State::Frozen, State::Deaf, State::Rough];

impl Fault {
    fn any(rng: &mut StdRng) -> Self {
        let (replica, server) = (rng.random_range(0..REPLICAS), rng.random_range(0..SERVERS));
        let failure = FAILURES[rng.random_range(0..FAILURES.len())];
        match rng.random_range(0..12) {
            0 | 1 => Self::ServerKilled(server),
            2 => Self::ServerPaused(server),
            3 => Self::ServerParted(server, failure),
            4 => Self::ReplicaKilled(replica),
            5 => Self::ReplicaStopped(replica),
            6 => Self::ReplicaLost(replica),
            7 | 8 => Self::LinkFailed(replica, server, failure),
            _ => Self::CutOff(replica, failure),
        }
    }

    /// The server that is down, or as good as down.
    fn server(self) -> Option<usize> {
        match self {
            Self::ServerKilled(server) | Self::ServerPaused(server) | Self::ServerParted(server, _) => Some(server),
            _ => None,
        }
    }

    /// The replica that does not run, or is about to end.
    fn replica(self) -> Option<usize> {
        match self {
            Self::ReplicaKilled(replica) | Self::ReplicaStopped(replica) | Self::ReplicaLost(replica) => Some(replica),
            _ => None,
        }
    }

    /// Whether the two are about the same thing: who puts one right would put the other right too, or fail to.
    fn meets(self, other: Self) -> bool {
        use Fault::{CutOff, LinkFailed};
        let is_same = |a: Option<usize>, b: Option<usize>| a.is_some() && a == b;
        match (self, other) {
            (LinkFailed(a, from_a, _), LinkFailed(b, from_b, _)) => (a, from_a) == (b, from_b),
            (LinkFailed(a, ..) | CutOff(a, _), LinkFailed(b, ..) | CutOff(b, _)) => a == b,
            _ => is_same(self.server(), other.server()) || is_same(self.replica(), other.replica()),
        }
    }
}

/// Where the replicas are; one that is started again is elsewhere.
#[derive(Clone)]
pub struct Doors(Arc<[Mutex<Channel>]>);

impl Doors {
    pub fn of(&self, replica: usize) -> Channel {
        self.0[replica].lock().expect("nobody panics with it").clone()
    }

    pub fn any(&self, rng: &mut StdRng) -> Channel {
        self.of(rng.random_range(0..REPLICAS))
    }

    fn moved(&self, replica: usize, channel: Channel) {
        *self.0[replica].lock().expect("nobody panics with it") = channel;
    }
}

struct Replica {
    /// Ends before its links do.
    process: Option<Process>,
    links: Links,
    folder: PathBuf,
}

/// How often the replicas together make a snapshot, in seconds.
const SNAPSHOTS: &str = "4";
/// What a replica ends with by itself that is to be started again.
const START_AGAIN: i32 = 75;

impl Replica {
    fn channel(&self) -> Channel {
        self.process.as_ref().expect("it runs").channel()
    }

    /// Starts it on what is in its folder; one that begins with a snapshot waits for that.
    async fn start(&mut self) {
        let started = async {
            loop {
                let mut command = serve_on(&self.links.settings(), &self.folder);
                command.args(["--journal-snapshot-seconds", SNAPSHOTS]);
                let started = tokio::task::spawn_blocking(move || Process::try_start(&mut command)).await;
                match started.expect("it does not panic") {
                    Ok(process) => return process,
                    // One that has nothing, and cannot have a snapshot just now, is started again later.
                    Err(status) => {
                        assert_eq!(status.code(), Some(1), "a replica does not start: {status}");
                        println!("a replica did not start: {status}");
                    }
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        self.process = Some(patiently("the start of a replica", started).await);
    }
}

pub struct Week {
    /// Before what they lead to.
    routes: Routes,
    rng: StdRng,
    began: Instant,
    /// What is wrong now.
    faults: Vec<Fault>,
    pub doors: Doors,
    replicas: Vec<Replica>,
    cluster: Cluster,
    _folder: TempDir,
}

impl Week {
    pub async fn begin(seed: u64) -> Self {
        let (cluster, routes) = Routes::between_servers();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut replicas = Vec::new();
        for number in 0..REPLICAS {
            let links = Links::seeded(&cluster, seed + 400 + number as u64);
            let folder = folder.path().join(format!("replica-{number}"));
            let mut replica = Replica { process: None, links, folder };
            replica.start().await;
            replicas.push(replica);
        }
        let doors = Doors(replicas.iter().map(|replica| Mutex::new(replica.channel())).collect());
        let rng = StdRng::seed_from_u64(seed);
        Self { routes, rng, began: Instant::now(), faults: Vec::new(), doors, replicas, cluster, _folder: folder }
    }

    /// Where the replicas keep their log.
    pub fn settings(&self) -> Settings {
        self.cluster.settings()
    }

    /// Lets things go wrong for so long; what is wrong in the end stays so.
    pub async fn pass(&mut self, length: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < length {
            // Nothing is waited for: a fault lasts for a while, as do the times without any.
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(PAUSE))).await;
            self.supervise().await;
            // The more is wrong, the likelier it is that something is put right.
            if self.rng.random_range(0..=MAX_FAULTS) < self.faults.len() {
                self.mend_any().await;
            } else if let Some(fault) = self.bearable() {
                self.say("begins", fault);
                self.strike(fault);
                self.faults.push(fault);
            }
        }
    }

    /// Puts everything right.
    pub async fn mend(&mut self) {
        while !self.faults.is_empty() {
            self.mend_any().await;
        }
        let links = || self.replicas.iter().map(|replica| &replica.links);
        let (late, broken): (usize, usize) = (links().map(Links::late).sum(), links().map(Links::broken).sum());
        let seconds = self.began.elapsed().as_secs_f32();
        println!("{seconds:6.1} s: everything is mended; {late} chunks were late, {broken} connections broke");
    }

    fn say(&self, what: &str, fault: Fault) {
        println!("{:6.1} s: {fault:?} {what}", self.began.elapsed().as_secs_f32());
    }

    /// One that can be besides what is wrong already: seldom two servers are down, or two replicas, and never three.
    fn bearable(&mut self) -> Option<Fault> {
        let fault = Fault::any(&mut self.rng);
        let most = if self.rng.random_bool(0.1) { 2 } else { 1 };
        let few =
            |of: fn(Fault) -> Option<usize>| self.faults.iter().filter(|fault| of(**fault).is_some()).count() < most;
        let has_room =
            (fault.server().is_none() || few(Fault::server)) && (fault.replica().is_none() || few(Fault::replica));
        let is_new = !self.faults.iter().any(|other| fault.meets(*other));
        (has_room && is_new).then_some(fault)
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::ServerKilled(server) => self.cluster.kill(server),
            Fault::ServerPaused(server) => self.cluster.pause(server),
            Fault::ServerParted(server, failure) => self.routes.turn(server, failure),
            Fault::ReplicaKilled(replica) => self.replicas[replica].process.as_mut().expect("it runs").kill(),
            Fault::ReplicaStopped(replica) => self.replicas[replica].process.as_ref().expect("it runs").terminate(),
            Fault::ReplicaLost(replica) => {
                let replica = &mut self.replicas[replica];
                replica.process.as_mut().expect("it runs").kill();
                std::fs::remove_dir_all(&replica.folder).expect("its folder is removed");
            }
            Fault::LinkFailed(replica, server, failure) => self.replicas[replica].links.turn(server, failure),
            Fault::CutOff(replica, failure) => self.replicas[replica].links.turn_all(failure),
        }
    }

    async fn mend_any(&mut self) {
        let fault = self.faults.swap_remove(self.rng.random_range(0..self.faults.len()));
        match fault {
            Fault::ServerKilled(server) => self.cluster.restart(server),
            Fault::ServerPaused(server) => self.cluster.resume(server),
            Fault::ServerParted(server, _) => self.routes.turn(server, State::Open),
            Fault::ReplicaKilled(replica) | Fault::ReplicaLost(replica) => self.start_again(replica).await,
            Fault::ReplicaStopped(replica) => {
                let process = self.replicas[replica].process.take().expect("it was running");
                let ended = tokio::task::spawn_blocking(move || process.wait());
                let status = patiently("the end of a replica", ended).await.expect("it is waited for");
                // (It may have been about to end by itself.)
                let is_good = status.success() || status.code() == Some(START_AGAIN);
                assert!(is_good, "a replica that was asked to end: {status}");
                self.start_again(replica).await;
            }
            Fault::LinkFailed(replica, server, _) => self.replicas[replica].links.mend(server),
            Fault::CutOff(replica, _) => self.replicas[replica].links.all(Links::mend),
        }
        self.say("is mended", fault);
    }

    /// Starts a replica on the folder that it left, or on none.
    async fn start_again(&mut self, number: usize) {
        self.replicas[number].start().await;
        self.doors.moved(number, self.replicas[number].channel());
    }

    /// Waits for something, and looks after the replicas meanwhile.
    pub async fn until<T>(&mut self, what: &str, done: impl Future<Output = T>) -> T {
        let mut done = pin!(patiently(what, done));
        loop {
            tokio::select! {
                done = &mut done => return done,
                () = tokio::time::sleep(Duration::from_millis(100)) => self.supervise().await,
            }
        }
    }

    /// Starts replicas again that ended by themselves to begin anew, as whoever runs them does.
    async fn supervise(&mut self) {
        for number in 0..REPLICAS {
            let is_expected = self.faults.iter().any(|fault| fault.replica() == Some(number));
            let process = self.replicas[number].process.as_mut().expect("it was started");
            let Some(status) = process.ended().filter(|_| !is_expected) else { continue };
            assert_eq!(status.code(), Some(START_AGAIN), "replica {number} ended by itself: {status}");
            println!("{:6.1} s: replica {number} begins anew", self.began.elapsed().as_secs_f32());
            self.start_again(number).await;
        }
    }
}
