//! The links between one replica and the servers: proxies that can be cut, frozen, deafened and roughened, and mended
//! again.
//!
//! Servers that tell clients of each other (`connect_urls`) would lead a replica around them; those of these tests do
//! not.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use attache::{journal::jetstream::Settings, pb::v1};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
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
    on, replica, seed, stop, timed, until_health,
};

/// What a link takes from one side before the other has it, in bytes; what is more waits in the system's buffers.
const BUFFER_BYTES: usize = 16 * 1024;
/// How late a rough link carries a chunk, in milliseconds. What is said meanwhile goes with the next one.
const LATE_MS: Range<u64> = 1..80;
/// Chunks that a rough link carries one way before it breaks the connection. (Their number is drawn, not a chance for
/// each: so it is open when it breaks, and sure that it does.)
const LIFE: Range<usize> = 1..80;
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
    tally: Arc<Tally>,
}

/// What a link counts.
#[derive(Default)]
struct Tally {
    /// Connections that it carries.
    carried: AtomicUsize,
    /// Chunks that were late because it was rough.
    late: AtomicUsize,
    /// Connections that broke because it was rough.
    broken: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Cut,
    Frozen,
    Deaf,
    Rough,
}

impl State {
    /// Whether what a server says is heard, sooner or later.
    fn is_heard(self) -> bool {
        matches!(self, Self::Open | Self::Rough)
    }
}

/// How a connection ended that was carried.
enum Ended {
    InOrder,
    /// In the midst of what it carried.
    Broken,
}

impl Links {
    /// Open links to the servers of a cluster.
    pub fn to(cluster: &Cluster) -> Self {
        Self::seeded(cluster, 0)
    }

    /// The same. What becomes of one connection after another while they are rough follows from the seed; when there is
    /// another does not.
    pub fn seeded(cluster: &Cluster, seed: u64) -> Self {
        let settings = cluster.settings();
        let (mut listening, mut rng) = (JoinSet::new(), StdRng::seed_from_u64(seed));
        let link = |server: &String| Link::to(server, StdRng::from_rng(&mut rng), &mut listening);
        let (links, servers) = settings.servers.iter().map(link).unzip();
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

    /// Lets everything through in order but late, each chunk by another while, and breaks each connection sooner or
    /// later in the midst of a chunk. That is what TCP makes of packets that are late or lost: it sends them again and
    /// sorts them, or it gives up.
    pub fn roughen(&self, server: usize) {
        self.links[server].state.send_replace(State::Rough);
    }

    /// Chunks that were late so far because links were rough.
    pub fn late(&self) -> usize {
        self.links.iter().map(|link| link.tally.late.load(Ordering::SeqCst)).sum()
    }

    /// Connections that broke so far because links were rough.
    pub fn broken(&self) -> usize {
        self.links.iter().map(|link| link.tally.broken.load(Ordering::SeqCst)).sum()
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
                let carries = |server: &usize| self.links[*server].tally.carried.load(Ordering::SeqCst) > 0;
                let used: Vec<usize> = (0..self.links.len()).filter(carries).collect();
                if let [used] = used[..] {
                    return used;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Waits until they broke so many connections.
    async fn until_broken(&self, count: usize) {
        patiently("the end of a connection over rough links", async {
            while self.broken() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

impl Link {
    /// An open link to a server, and the address of its near end.
    fn to(server: &str, rng: StdRng, listening: &mut JoinSet<()>) -> (Self, String) {
        let server = server.strip_prefix("nats://").and_then(|address| address.parse().ok()).expect("an address");
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("it can wait elsewhere");
        let listener = TcpListener::from_std(listener).expect("the runtime waits for it");
        let address = listener.local_addr().expect("it is bound");
        let (state, tally) = (watch::Sender::new(State::Open), Arc::<Tally>::default());
        listening.spawn(listen(listener, server, state.subscribe(), rng, Arc::clone(&tally)));
        (Self { state, tally }, format!("nats://{address}"))
    }
}

/// A connection that is counted as long as it is carried.
struct Carried(Arc<Tally>);

impl Carried {
    fn by(tally: &Arc<Tally>) -> Self {
        tally.carried.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(tally))
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.carried.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What becomes of one way of a connection while its link is rough.
struct Fate {
    rng: StdRng,
    /// Chunks that arrive whole before the next is torn.
    whole: usize,
    tally: Arc<Tally>,
}

impl Fate {
    /// Has a generator of its own, so that it does not depend on what others carry meanwhile.
    fn drawn(rng: &mut StdRng, tally: &Arc<Tally>) -> Self {
        let mut rng = StdRng::from_rng(rng);
        let whole = rng.random_range(LIFE);
        Self { rng, whole, tally: Arc::clone(tally) }
    }

    /// Keeps a chunk of so many bytes back for a while: how many of them arrive if it is torn.
    async fn keep_back(&mut self, bytes: usize) -> Option<usize> {
        // Nothing is waited for: to be late is the fault itself.
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(LATE_MS))).await;
        self.tally.late.fetch_add(1, Ordering::SeqCst);
        let is_torn = self.whole == 0;
        self.whole = self.whole.saturating_sub(1);
        is_torn.then(|| self.rng.random_range(0..bytes))
    }

    fn fulfilled(&self) -> Ended {
        self.tally.broken.fetch_add(1, Ordering::SeqCst);
        Ended::Broken
    }
}

async fn listen(
    listener: TcpListener,
    server: SocketAddr,
    state: watch::Receiver<State>,
    mut rng: StdRng,
    tally: Arc<Tally>,
) {
    // Whatever is carried ends with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (replica, _) = accepted.expect("it accepts");
                let fates = [Fate::drawn(&mut rng, &tally), Fate::drawn(&mut rng, &tally)];
                connections.spawn(carry(replica, server, state.clone(), fates, Carried::by(&tally)));
            }
            Some(ended) = connections.join_next() => ended.expect("a link does not panic"),
        }
    }
}

/// Carries one connection until either side ends it, or it breaks, or the link is cut.
async fn carry(
    mut replica: TcpStream,
    server: SocketAddr,
    state: watch::Receiver<State>,
    fates: [Fate; 2],
    _carried: Carried,
) {
    let mut seen = state.clone();
    let is_reset = tokio::select! {
        biased;
        _ = until(&mut seen, |state| state == State::Cut) => true,
        ended = both_ways(&mut replica, server, state, fates) => matches!(ended, Ok(Ended::Broken)),
    };
    if is_reset {
        // A reset instead of an end in good order; if the replica went first, there is nobody to be told.
        let _ = replica.set_zero_linger();
    }
}

async fn both_ways(
    replica: &mut TcpStream,
    server: SocketAddr,
    mut state: watch::Receiver<State>,
    [there, back]: [Fate; 2],
) -> io::Result<Ended> {
    let connected = TcpStream::connect(server).await;
    if connected.is_err() {
        // That nobody is there is not heard through a link that lets nothing back.
        until(&mut state, State::is_heard).await;
    }
    let mut server = connected?;
    replica.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_replica, to_replica) = replica.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        ended = one_way(from_replica, to_server, state.clone(), |_| false, there) => ended,
        ended = one_way(from_server, to_replica, state, |state| state == State::Deaf, back) => ended,
    }
}

/// Passes on what one side says, in order, until it ends, or something that it says is lost.
async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    loses: fn(State) -> bool,
    mut fate: Fate,
) -> io::Result<Ended> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let said = from.read(&mut buffer).await;
        let is_rough = *state.borrow() == State::Rough;
        let torn = match said {
            Ok(bytes @ 1..) if is_rough => fate.keep_back(bytes).await,
            _ => None,
        };
        if loses(until(&mut state, |state| state != State::Frozen).await) {
            // No later byte may arrive without it. That it is over is not heard before the link is mended either.
            until(&mut state, State::is_heard).await;
            return Ok(Ended::InOrder);
        }
        match (said?, torn) {
            (0, _) => return Ok(Ended::InOrder),
            (bytes, None) => to.write_all(&buffer[..bytes]).await?,
            (_, Some(bytes)) => {
                to.write_all(&buffer[..bytes]).await?;
                return Ok(fate.fulfilled());
            }
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

/// What is late and what breaks follows from `ATTACHE_SEED`, which a test that fails has printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_links_that_are_late_and_break_filings_stand_once_in_one_order_and_a_watch_is_told_each_once() {
    /// Connections that each replica loses at least.
    const BREAKS: usize = 2;
    let seed = seed();
    println!("ATTACHE_SEED={seed}");
    let cluster = Cluster::start(Sync::Always);
    let links = [0, 1, 2].map(|number| Links::seeded(&cluster, seed + number));
    let servers = [over(&links[0]).await.0, over(&links[1]).await.0, over(&links[2]).await.0];
    let mut open = servers[2].watch(lively(from_oldest())).await;
    let mut heard = open.up_to(is_caught_up).await;

    links.iter().for_each(|links| links.all(Links::roughen));
    let filers = Filers::start(&servers, 6);
    filers.more(20).await;
    // It goes on while they are rough: what one replica takes, another tells.
    let filed = patiently("a filing over rough links", insist(&servers[0], request("rough"))).await;
    heard.extend(open.up_to_revision(filed.revision).await);
    for links in &links {
        links.until_broken(BREAKS).await;
    }
    links.iter().for_each(|links| links.all(Links::mend));
    for server in &servers {
        patiently("a filing over mended links", insist(server, request("mended"))).await;
    }

    let acknowledged = filers.stop().await;
    let log = agree(&servers).await;
    assert_eq!(standing(&log), with(acknowledged, &["before", "rough", "mended"]), "ATTACHE_SEED={seed}");
    heard.extend(open.up_to_revision(log.last().expect("something was filed").revision).await);
    assert_eq!(events(&heard), log, "a watch that was open all the time, ATTACHE_SEED={seed}");
    for links in &links {
        let (late, broken) = (links.late(), links.broken());
        println!("{late} chunks were late, {broken} connections broke");
        assert!(broken >= BREAKS && late > broken, "links were not rough: {late} late, {broken} broken");
    }
    drop(open);
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
