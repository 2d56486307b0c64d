//! What goes wrong: servers, links and replicas, at random, until everything is put right.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::REPLICAS;
use crate::{
    common::watching::patiently,
    links::Links,
    nats::{Cluster, Sync},
    process::Process,
    serve_on,
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
    /// A replica, by SIGKILL.
    ReplicaKilled(usize),
    /// A replica, by SIGTERM.
    ReplicaStopped(usize),
    /// The link of a replica to a server.
    LinkFailed(usize, usize, Failure),
    /// All links of a replica.
    CutOff(usize, Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Cut,
    Frozen,
    Deaf,
    Rough,
}

impl Failure {
    fn of(self) -> fn(&Links, usize) {
        match self {
            Self::Cut => Links::cut,
            Self::Frozen => Links::freeze,
            Self::Deaf => Links::deafen,
            Self::Rough => Links::roughen,
        }
    }
}

impl Fault {
    fn any(rng: &mut StdRng) -> Self {
        let (replica, server) = (rng.random_range(0..REPLICAS), rng.random_range(0..SERVERS));
        let failure = [Failure::Cut, Failure::Frozen, Failure::Deaf, Failure::Rough][rng.random_range(0..4)];
        match rng.random_range(0..10) {
            0 | 1 => Self::ServerKilled(server),
            2 => Self::ServerPaused(server),
            3 => Self::ReplicaKilled(replica),
            4 => Self::ReplicaStopped(replica),
            5 | 6 => Self::LinkFailed(replica, server, failure),
            _ => Self::CutOff(replica, failure),
        }
    }

    /// Whether the two are about the same thing: who puts one right would put the other right too, or fail to.
    fn meets(self, other: Self) -> bool {
        use Fault::{CutOff, LinkFailed, ReplicaKilled, ReplicaStopped, ServerKilled, ServerPaused};
        match (self, other) {
            (ServerKilled(a) | ServerPaused(a), ServerKilled(b) | ServerPaused(b))
            | (ReplicaKilled(a) | ReplicaStopped(a), ReplicaKilled(b) | ReplicaStopped(b)) => a == b,
            (LinkFailed(a, from_a, _), LinkFailed(b, from_b, _)) => (a, from_a) == (b, from_b),
            (LinkFailed(a, ..) | CutOff(a, _), LinkFailed(b, ..) | CutOff(b, _)) => a == b,
            _ => false,
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

impl Replica {
    fn start(links: Links, folder: PathBuf) -> Self {
        Self { process: Some(started(&links, &folder)), links, folder }
    }

    fn channel(&self) -> Channel {
        self.process.as_ref().expect("it runs").channel()
    }
}

fn started(links: &Links, folder: &Path) -> Process {
    Process::start(&mut serve_on(&links.settings(), folder))
}

pub struct Week {
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
    pub fn begin(seed: u64) -> Self {
        let cluster = Cluster::start(Sync::Always);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let replica = |number: usize| {
            let links = Links::seeded(&cluster, seed + 400 + number as u64);
            Replica::start(links, folder.path().join(format!("replica-{number}")))
        };
        let replicas: Vec<Replica> = (0..REPLICAS).map(replica).collect();
        let doors = Doors(replicas.iter().map(|replica| Mutex::new(replica.channel())).collect());
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, began: Instant::now(), faults: Vec::new(), doors, replicas, cluster, _folder: folder }
    }

    /// Lets things go wrong for so long; what is wrong in the end stays so.
    pub async fn pass(&mut self, length: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < length {
            // Nothing is waited for: a fault lasts for a while, as do the times without any.
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(PAUSE))).await;
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
        let is_of_server = |fault: &&Fault| matches!(fault, Fault::ServerKilled(_) | Fault::ServerPaused(_));
        let is_of_process = |fault: &&Fault| matches!(fault, Fault::ReplicaKilled(_) | Fault::ReplicaStopped(_));
        let has_room = (!is_of_server(&&fault) || self.faults.iter().filter(is_of_server).count() < most)
            && (!is_of_process(&&fault) || self.faults.iter().filter(is_of_process).count() < most);
        let is_new = !self.faults.iter().any(|other| fault.meets(*other));
        (has_room && is_new).then_some(fault)
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::ServerKilled(server) => self.cluster.kill(server),
            Fault::ServerPaused(server) => self.cluster.pause(server),
            Fault::ReplicaKilled(replica) => self.replicas[replica].process.as_mut().expect("it runs").kill(),
            Fault::ReplicaStopped(replica) => self.replicas[replica].process.as_ref().expect("it runs").terminate(),
            Fault::LinkFailed(replica, server, failure) => failure.of()(&self.replicas[replica].links, server),
            Fault::CutOff(replica, failure) => self.replicas[replica].links.all(failure.of()),
        }
    }

    async fn mend_any(&mut self) {
        let fault = self.faults.swap_remove(self.rng.random_range(0..self.faults.len()));
        match fault {
            Fault::ServerKilled(server) => self.cluster.restart(server),
            Fault::ServerPaused(server) => self.cluster.resume(server),
            Fault::ReplicaKilled(replica) => self.start_again(replica),
            Fault::ReplicaStopped(replica) => {
                let process = self.replicas[replica].process.take().expect("it was running");
                let ended = tokio::task::spawn_blocking(move || process.wait());
                let status = patiently("the end of a replica", ended).await.expect("it is waited for");
                assert!(status.success(), "a replica that was asked to end: {status}");
                self.start_again(replica);
            }
            Fault::LinkFailed(replica, server, _) => self.replicas[replica].links.mend(server),
            Fault::CutOff(replica, _) => self.replicas[replica].links.all(Links::mend),
        }
        self.say("is mended", fault);
    }

    /// Starts a replica on the folder that it left.
    fn start_again(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        replica.process = Some(started(&replica.links, &replica.folder));
        self.doors.moved(number, replica.channel());
    }
}
