//! Replicas that share a stream of three NATS servers: lookups, filings, delivery by another one, and a leader that is
//! lost.

use std::time::{Duration, Instant};

use tonic::transport::Channel;

use super::lookups;
use crate::{
    Outcome,
    audience::Audience,
    bench::{self, Bench, CHANNELS, FILERS, STREAMS, count},
    filers::{self, Filings},
    machine,
    results::Goal,
    rows::Rows,
    servers::{
        attache::Attache,
        cluster::{BATCH_BYTES, Cluster, SERVERS},
    },
    visits::{GET_VISIT, Names, ZIPF},
    wire::Wire,
};

const STREAM: &str = "REPLICAS";
/// Batches that are appended without Attaché.
const BATCHES: u64 = 300;
/// Records that are looked up.
const RECORDS: u64 = 5_000;
/// How long filers file on all replicas.
const SPREAD: Duration = Duration::from_secs(4);
/// Filings a second while their delivery is watched: well below what is possible, so that the rate is not what is
/// measured.
const RATE: f64 = 500.0;
/// How many those are.
const WATCHED: usize = 5_000;
/// Those who file while the leader is lost.
const INSISTING: usize = 8;
/// How long they file before it is.
const BEFORE: Duration = Duration::from_secs(2);
/// How long they file in all: more than twice as long as they may have to wait.
const FAILOVER: Duration = Duration::from_secs(16);

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = declare(bench);
    // Its replicas are dropped before it is.
    let mut cluster = Cluster::start(bench.peers.needed_nats()?).await?;
    let mut replicas = Vec::with_capacity(SERVERS);
    let mut wires = Vec::with_capacity(SERVERS);
    for _ in 0..SERVERS {
        let replica = Attache::replica(&cluster, STREAM)?;
        wires.push(replica.wires().await?);
        replicas.push(replica);
    }
    look_up(&mut rows, bench, &replicas[0]).await?;
    // What is filed first is slower.
    filers::at_full_speed(&wires[0], FILERS, bench.scale.filings).await?;
    for round in bench.rounds() {
        rows.take("raw", cluster.append(&format!("RAW-{round}"), BATCHES).await?);
        rows.take("one", filers::at_full_speed(&wires[0], FILERS, bench.scale.filings).await?);
        rows.take("behind", behind(&replicas).await?.as_secs_f64() * 1e3);
        let spread = filers::insist(&wires.concat(), FILERS, SPREAD).await?;
        rows.take("spread", spread.rate);
        rows.take("refused", spread.refused as f64);
        for replica in &replicas {
            machine::rest(replica.process()).await?;
        }
        deliver(&mut rows, &wires[0], &replicas[1].channels().await?).await?;
        let alone = cluster.outlast(&format!("LOST-{round}"), BEFORE, FAILOVER).await?;
        rows.take("raw-failover", alone.as_secs_f64());
        rows.take("failover", lose_leader(&mut cluster, &wires[0]).await?.as_secs_f64());
    }
    Ok(rows)
}

fn declare(bench: &Bench) -> Rows {
    let mut rows = Rows::new(format!(
        "{SERVERS} servers of NATS with `sync_interval: always` and {SERVERS} replicas, all on this machine and its \
         one disk. Lookups first: {}, {CHANNELS} connections × {STREAMS} streams, {} calls. Then one stream that \
         grows: {FILERS} filers with one report each, {} filings on one replica; the same for {} s on all of them, \
         each filing offered until it is acknowledged; when the replicas have come to rest, {RATE} filings/s on one, \
         {WATCHED} filings, and one subscriber to everything on another; {INSISTING} filers who insist while the \
         server that leads the stream is killed.",
        bench::records(RECORDS),
        count(bench.scale.lookups),
        count(bench.scale.filings),
        SPREAD.as_secs(),
    ));
    let embedded = "`GetVisit` with an embedded journal, names by Zipf 0.99";
    rows.row("embedded-lookups", embedded, "calls/s");
    rows.row("lookups", "`GetVisit` on a replica, the same", "calls/s")
        .against("embedded-lookups", Some(Goal::at_least(0.95, None)));
    let raw = format!("JetStream, {SERVERS} copies, batches of {} KiB one after the other", BATCH_BYTES / 1024);
    rows.row("raw", raw, "batches/s");
    rows.row("one", format!("`FileReports` on one replica, {FILERS} filers"), "filings/s")
        .goal(Goal::at_least(2_000.0, 5_000.0))
        .against("raw", None);
    rows.row("behind", "the others have all of it, after the last acknowledgement", "ms");
    rows.row("spread", format!("`FileReports` on {SERVERS} replicas, {FILERS} filers"), "filings/s")
        .against("one", None);
    rows.row("refused", "offers refused meanwhile, each made again", "offers");
    rows.row("delay", format!("filing to delivery by another replica at {RATE} filings/s, p99"), "ms")
        .goal(Goal::at_most(25.0, None));
    rows.row(
        "raw-failover",
        "JetStream, longest time without an acknowledgement when the stream's leader is killed",
        "s",
    );
    rows.row("failover", "longest time without an acknowledged filing when the stream's leader is killed", "s")
        .goal(Goal::at_most(5.0, None))
        .against("raw-failover", None);
    rows
}

/// Looks records up on a replica and on a server alone that has the same, before anything else is filed on either.
async fn look_up(rows: &mut Rows, bench: &Bench, replica: &Attache) -> Outcome<()> {
    let embedded = Attache::empty()?;
    for server in [&embedded, replica] {
        server.fill(0, RECORDS).await?;
        machine::rest(server.process()).await?;
    }
    let (alone, shared, names) = (embedded.wires().await?, replica.wires().await?, Names::new(RECORDS, ZIPF));
    let calls = bench.scale.warm_up + bench.scale.lookups;
    for round in bench.rounds() {
        for (key, wires) in [("embedded-lookups", &alone), ("lookups", &shared)] {
            lookups::measure(rows, key, bench, wires, GET_VISIT, names.lookups(round, calls)).await?;
        }
    }
    Ok(())
}

/// How long it is until all have what the first has.
async fn behind(replicas: &[Attache]) -> Outcome<Duration> {
    let began = Instant::now();
    let token = replicas[0].token().await?;
    for other in &replicas[1..] {
        other.reach(&token).await?;
    }
    Ok(began.elapsed())
}

/// Files on one replica what a subscriber is told by another.
async fn deliver(rows: &mut Rows, filing: &[Wire], watching: &[Channel]) -> Outcome<()> {
    let filings = Filings::make(WATCHED);
    let audience = Audience::gather(watching, 1, 1, &filings).await?;
    filers::at_rate(filing, FILERS, RATE, &filings).await?;
    let delivered = audience.leave().await?;
    if delivered.times.count() < WATCHED {
        return Err(format!("{} of {WATCHED} filings were delivered", delivered.times.count()).into());
    }
    rows.take_p99("delay", &delivered.times);
    Ok(())
}

/// Kills the server that leads the stream while filers insist; their longest wait. It is started again.
async fn lose_leader(cluster: &mut Cluster, wires: &[Wire]) -> Outcome<Duration> {
    let killed = async {
        tokio::time::sleep(BEFORE).await;
        cluster.kill_leader(STREAM).await
    };
    let (insisted, killed) = tokio::join!(filers::insist(wires, INSISTING, FAILOVER), killed);
    cluster.restart(killed?).await?;
    Ok(insisted?.longest_wait)
}
