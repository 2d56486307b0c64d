//! The links between one replica and the servers, which fail and are mended again.
//!
//! Servers that tell clients of each other (`connect_urls`) would lead a replica around them; those of these tests do
//! not.

use std::time::{Duration, Instant};

use attache::{journal::jetstream::Settings, pb::v1};
use rand::{SeedableRng as _, rngs::StdRng};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::{
    agree,
    common::{
        TestServer, config,
        watching::{
            batch, events, from_now, from_oldest, is_caught_up, is_progress, lively, patiently, reason, until_caught_up,
        },
    },
    filers::{Filers, insist, request, standing},
    link::{Link, State},
    nats::{Cluster, Sync},
    on, replica, seed, stop, timed, until_health,
};

/// Within what time a replica says that it hears nothing from the journal.
const NOTICED: Duration = Duration::from_secs(20);

/// What can be done to the link to a server.
type Failure = fn(&Links, usize);

/// The links of one replica, one to each server. They end with this value.
pub struct Links {
    settings: Settings,
    links: Vec<Link>,
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
        let mut rng = StdRng::seed_from_u64(seed);
        let link = |server: &String| {
            let server = server.strip_prefix("nats://").and_then(|address| address.parse().ok()).expect("an address");
            Link::to(server, StdRng::from_rng(&mut rng))
        };
        let links: Vec<Link> = settings.servers.iter().map(link).collect();
        let servers = links.iter().map(|link| format!("nats://{}", link.address)).collect();
        Self { settings: Settings { servers, ..settings }, links }
    }

    /// Where the replica finds the servers: at the near ends of its links.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Does this to the link to a server.
    pub fn turn(&self, server: usize, state: State) {
        self.links[server].turn(state);
    }

    /// The same to all of them.
    pub fn turn_all(&self, state: State) {
        self.links.iter().for_each(|link| link.turn(state));
    }

    /// Resets the connections to a server. (What each failure does, its [`State`] says.)
    pub fn cut(&self, server: usize) {
        self.turn(server, State::Cut);
    }

    /// Lets nothing through to a server, nor back.
    pub fn freeze(&self, server: usize) {
        self.turn(server, State::Frozen);
    }

    /// Lets nothing through that a server says.
    pub fn deafen(&self, server: usize) {
        self.turn(server, State::Deaf);
    }

    /// Lets everything through late, and breaks connections.
    pub fn roughen(&self, server: usize) {
        self.turn(server, State::Rough);
    }

    /// Chunks that were late so far because links were rough.
    pub fn late(&self) -> usize {
        self.links.iter().map(Link::late).sum()
    }

    /// Connections that broke so far because links were rough.
    pub fn broken(&self) -> usize {
        self.links.iter().map(Link::broken).sum()
    }

    /// Lets everything through again.
    pub fn mend(&self, server: usize) {
        self.turn(server, State::Open);
    }

    /// Does the same to all of them.
    pub fn all(&self, change: fn(&Self, usize)) {
        (0..self.links.len()).for_each(|server| change(self, server));
    }

    /// Whether a link carries a connection of the replica.
    pub fn is_in_use(&self, server: usize) -> bool {
        self.links[server].is_in_use()
    }

    /// The one that carries the replica's connection; waits until it is one.
    async fn in_use(&self) -> usize {
        patiently("a link that is in use", async {
            loop {
                let used: Vec<usize> = (0..self.links.len()).filter(|server| self.is_in_use(*server)).collect();
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
    // Until that is settled nothing is admitted. (Its deadline is before the writer's patience is over.)
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
