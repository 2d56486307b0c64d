//! The links between one replica and the servers: proxies that can be cut, frozen and deafened, and mended again.
//!
//! Servers that tell clients of each other (`connect_urls`) would lead a replica around them; those of these tests do
//! not.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use attache::{journal::jetstream::Settings, pb::v1};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::{
    agree,
    common::{
        TestServer, config, visit_report,
        watching::{
            batch, events, from_now, from_oldest, is_caught_up, is_progress, lively, patiently, reason, until_caught_up,
        },
    },
    filers::{Filers, insist, standing},
    nats::{Cluster, Sync},
    on, replica, stop, timed, until_health,
};

/// What a link takes from one side before the other has it, in bytes; what is more waits in the system's buffers.
const BUFFER_BYTES: usize = 16 * 1024;
/// Within what time a replica says that it hears nothing from the journal.
const NOTICED: Duration = Duration::from_secs(20);

/// What can be done to the link to a server.
type Failure = fn(&Links, usize);

/// The links of one replica, one to each server. They end with this value.
pub struct Links {
    settings: Settings,
    links: Vec<Link>,
    _listening: JoinSet<()>,
}

struct Link {
    state: watch::Sender<State>,
    /// Connections that it carries.
    carried: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Cut,
    Frozen,
    Deaf,
}

impl Links {
    /// Open links to the servers of a cluster.
    pub fn to(cluster: &Cluster) -> Self {
        let settings = cluster.settings();
        let mut listening = JoinSet::new();
        let (links, servers) = settings.servers.iter().map(|server| Link::to(server, &mut listening)).unzip();
        Self { settings: Settings { servers, ..settings }, links, _listening: listening }
    }

    /// Where the replica finds the servers: at the near ends of its links.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Resets the connections to a server, and every new one at once.
    pub fn cut(&self, server: usize) {
        self.links[server].state.send_replace(State::Cut);
    }

    /// Lets nothing through to a server, nor back: connections stay open, and new ones are accepted, into a black hole.
    /// What is said meanwhile arrives when the link is mended.
    pub fn freeze(&self, server: usize) {
        self.links[server].state.send_replace(State::Frozen);
    }

    /// Lets nothing through that a server says, though it hears everything. What it says meanwhile is lost, and with it
    /// its connection, which is closed when the link is mended.
    pub fn deafen(&self, server: usize) {
        self.links[server].state.send_replace(State::Deaf);
    }

    /// Lets everything through again.
    pub fn mend(&self, server: usize) {
        self.links[server].state.send_replace(State::Open);
    }

    /// Does the same to all of them.
    pub fn all(&self, change: fn(&Self, usize)) {
        (0..self.links.len()).for_each(|server| change(self, server));
    }

    /// The one that carries the replica's connection; waits until it is one.
    async fn in_use(&self) -> usize {
        patiently("a link that is in use", async {
            loop {
                let carries = |server: &usize| self.links[*server].carried.load(Ordering::SeqCst) > 0;
                let used: Vec<usize> = (0..self.links.len()).filter(carries).collect();
                if let [used] = used[..] {
                    return used;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }
}

impl Link {
    /// An open link to a server, and the address of its near end.
    fn to(server: &str, listening: &mut JoinSet<()>) -> (Self, String) {
        let server = server.strip_prefix("nats://").and_then(|address| address.parse().ok()).expect("an address");
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("it can wait elsewhere");
        let listener = TcpListener::from_std(listener).expect("the runtime waits for it");
        let address = listener.local_addr().expect("it is bound");
        let (state, carried) = (watch::Sender::new(State::Open), Arc::<AtomicUsize>::default());
        listening.spawn(listen(listener, server, state.subscribe(), Arc::clone(&carried)));
        (Self { state, carried }, format!("nats://{address}"))
    }
}

/// A connection that is counted as long as it is carried.
struct Carried(Arc<AtomicUsize>);

impl Carried {
    fn by(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn listen(listener: TcpListener, server: SocketAddr, state: watch::Receiver<State>, count: Arc<AtomicUsize>) {
    // Whatever is carried ends with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (replica, _) = accepted.expect("it accepts");
                connections.spawn(carry(replica, server, state.clone(), Carried::by(&count)));
            }
            Some(ended) = connections.join_next() => ended.expect("a link does not panic"),
        }
    }
}

/// Carries one connection until either side ends it, or the link is cut.
async fn carry(mut replica: TcpStream, server: SocketAddr, state: watch::Receiver<State>, _carried: Carried) {
    let mut seen = state.clone();
    let is_cut = tokio::select! {
        biased;
        _ = until(&mut seen, |state| state == State::Cut) => true,
        _ = both_ways(&mut replica, server, state) => false,
    };
    if is_cut {
        // A reset instead of an end in good order; if the replica went first, there is nobody to be told.
        let _ = replica.set_zero_linger();
    }
}

async fn both_ways(replica: &mut TcpStream, server: SocketAddr, mut state: watch::Receiver<State>) -> io::Result<()> {
    let connected = TcpStream::connect(server).await;
    if connected.is_err() {
        // That nobody is there is not heard through a link that lets nothing back.
        until(&mut state, |state| state == State::Open).await;
    }
    let mut server = connected?;
    replica.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_replica, to_replica) = replica.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        ended = one_way(from_replica, to_server, state.clone(), |_| false) => ended,
        ended = one_way(from_server, to_replica, state, |state| state == State::Deaf) => ended,
    }
}

/// Passes on what one side says, until it ends, or something that it says is lost.
async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    loses: fn(State) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let said = from.read(&mut buffer).await;
        if loses(until(&mut state, |state| state != State::Frozen).await) {
            // No later byte may arrive without it. That it is over is not heard before the link is mended either.
            until(&mut state, |state| state == State::Open).await;
            return Ok(());
        }
        match said? {
            0 => return Ok(()),
            bytes => to.write_all(&buffer[..bytes]).await?,
        }
    }
}

/// Waits until a link is as it should be.
async fn until(state: &mut watch::Receiver<State>, is_so: fn(State) -> bool) -> State {
    let found = state.wait_for(|state| is_so(*state)).await.map(|state| *state);
    match found {
        Ok(state) => state,
        // The links are gone, and with them, in a moment, whoever waits here.
        Err(_) => std::future::pending().await,
    }
}

/// A filing of one record, that may be repeated.
fn request(id: &str) -> v1::FileReportsRequest {
    v1::FileReportsRequest {
        reports: vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")],
        request_id: Some(id.into()),
        ..Default::default()
    }
}

/// A replica that reaches the servers over these links, and has filed one record there.
async fn over(links: &Links) -> (TestServer, v1::FileReportsResponse) {
    let server = on(links.settings(), config()).await;
    let before = patiently("the first filing", insist(&server, request("before"))).await;
    until_health(&server, ServingStatus::Serving).await;
    (server, before)
}

/// Why a filing with a deadline is refused.
async fn refusal(server: &TestServer, id: &str) -> String {
    let answer = patiently("the answer", timed(server, request(id))).await;
    reason(&answer.expect_err("the journal is out of reach"))
}

/// The position that a lookup of the first record is answered with.
async fn looked_up(server: &TestServer) -> String {
    let read = v1::GetVisitRequest { name: "visits/before".into(), ..Default::default() };
    let visit = patiently("the lookup", server.registry().get_visit(read)).await;
    visit.expect("lookups go on").into_inner().token
}

/// These records, and those of filers, as they must stand.
fn with(mut acknowledged: Vec<String>, ids: &[&str]) -> Vec<String> {
    acknowledged.extend(ids.iter().map(|id| format!("visits/{id}")));
    acknowledged.sort();
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_cut_off_takes_no_filings_reads_on_and_has_everything_once_it_is_back() {
    let cluster = Cluster::start(Sync::Always);
    let links = Links::to(&cluster);
    let (alone, before) = over(&links).await;
    let servers = [alone, replica(&cluster).await, replica(&cluster).await];
    let mut open = servers[0].watch(lively(from_oldest())).await;
    let mut heard = open.up_to(is_caught_up).await;

    links.all(Links::cut);
    until_health(&servers[0], ServingStatus::NotServing).await;
    assert_eq!(refusal(&servers[0], "cut-off").await, "JOURNAL_UNAVAILABLE");
    assert_eq!(looked_up(&servers[0]).await, before.token);
    let filers = Filers::start(&servers[1..], 4);
    filers.more(40).await;
    // A watch begins too, and says what is here, and not that this is all.
    let mut begun = servers[0].watch(lively(until_caught_up(from_oldest()))).await;
    let early = begun.up_to(is_progress).await;
    assert_eq!(standing(&events(&early)), ["visits/before"]);
    assert!(!early.iter().any(is_caught_up), "nobody knows whether it is");

    links.all(Links::mend);
    patiently("the retry", insist(&servers[0], request("cut-off"))).await;
    filers.more(10).await;
    let acknowledged = filers.stop().await;
    let log = agree(&servers).await;
    assert_eq!(standing(&log), with(acknowledged, &["before", "cut-off"]));
    heard.extend(open.up_to_revision(log.last().expect("something was filed").revision).await);
    assert_eq!(events(&heard), log, "a watch that was open all the time");
    let (rest, error) = begun.until_the_end().await;
    assert!(error.is_none() && rest.iter().any(is_caught_up), "{error:?}");
    drop(open);
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filings_under_way_when_links_fail_stand_once_however_they_fail() {
    let cluster = Cluster::start(Sync::Always);
    let links = Links::to(&cluster);
    let (server, _) = over(&links).await;
    let servers = [server, replica(&cluster).await, replica(&cluster).await];
    let filers = Filers::start(&servers, 9);
    let failures: [(&str, Failure); 3] = [("cut", Links::cut), ("frozen", Links::freeze), ("deaf", Links::deafen)];
    for (id, fail) in failures {
        filers.more(30).await;
        links.all(fail);
        filers.more(100).await;
        links.all(Links::mend);
        patiently("a filing over mended links", insist(&servers[0], request(id))).await;
    }
    let acknowledged = filers.stop().await;
    assert_eq!(standing(&agree(&servers).await), with(acknowledged, &["before", "cut", "frozen", "deaf"]));
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filing_whose_outcome_is_not_heard_stands_once_wherever_it_is_repeated() {
    let cluster = Cluster::start(Sync::Always);
    let links = Links::to(&cluster);
    let (deaf, _) = over(&links).await;
    let servers = [deaf, replica(&cluster).await, replica(&cluster).await];
    let mut watch = servers[1].watch(lively(from_now())).await;
    watch.up_to(is_caught_up).await;

    links.all(Links::deafen);
    assert_eq!(refusal(&servers[0], "in-doubt").await, "OUTCOME_UNKNOWN");
    // It is in the log all the same.
    let told = watch.up_to(|frame| batch(frame).is_some()).await;
    assert_eq!(standing(&events(&told)), ["visits/in-doubt"]);
    let landed = events(&told)[0].revision;
    let elsewhere = patiently("the retry elsewhere", insist(&servers[1], request("in-doubt"))).await;
    assert_eq!(elsewhere.revision, landed);
    let filers = Filers::start(&servers[1..], 2);
    filers.more(10).await;
    links.all(Links::mend);
    let here = patiently("the retry", insist(&servers[0], request("in-doubt"))).await;
    assert_eq!(here.revision, landed);
    let acknowledged = filers.stop().await;
    assert_eq!(standing(&agree(&servers).await), with(acknowledged, &["before", "in-doubt"]));
    drop(watch);
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_frozen_links_filings_are_answered_in_time_and_health_says_that_none_is_taken() {
    let cluster = Cluster::start(Sync::Always);
    let links = Links::to(&cluster);
    let (frozen, before) = over(&links).await;
    let servers = [frozen, replica(&cluster).await, replica(&cluster).await];
    let began = Instant::now();
    links.all(Links::freeze);
    assert_eq!(refusal(&servers[0], "under-way").await, "OUTCOME_UNKNOWN");
    // Until that is settled nothing is admitted.
    assert_eq!(refusal(&servers[0], "behind-it").await, "DEADLINE");
    until_health(&servers[0], ServingStatus::NotServing).await;
    assert!(began.elapsed() < NOTICED, "it is noticed after {:?}", began.elapsed());
    assert_eq!(looked_up(&servers[0]).await, before.token);
    let filers = Filers::start(&servers[1..], 2);
    filers.more(10).await;

    links.all(Links::mend);
    until_health(&servers[0], ServingStatus::Serving).await;
    for id in ["under-way", "behind-it"] {
        patiently("the retry", insist(&servers[0], request(id))).await;
    }
    let acknowledged = filers.stop().await;
    assert_eq!(standing(&agree(&servers).await), with(acknowledged, &["before", "under-way", "behind-it"]));
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hears_nothing_from_its_server_goes_over_to_another() {
    let cluster = Cluster::start(Sync::Always);
    let links = Links::to(&cluster);
    let (server, before) = over(&links).await;
    let failures: [(&str, Failure); 2] = [("frozen", Links::freeze), ("deaf", Links::deafen)];
    for (revision, (id, fail)) in (before.revision + 1..).zip(failures) {
        let used = links.in_use().await;
        // The connection stays open, and nothing says that it is of no use.
        fail(&links, used);
        let filed = patiently("a server that answers", insist(&server, request(id))).await;
        assert_eq!(filed.revision, revision, "{id}");
        links.mend(used);
    }
    server.stop().await;
}
