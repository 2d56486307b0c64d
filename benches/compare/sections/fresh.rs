//! A new replica of a large log: it begins with a snapshot, and answers once it has that.

use std::time::{Duration, Instant};

use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    Outcome,
    bench::{self, Bench},
    results::Goal,
    rows::Rows,
    servers::{attache::Attache, cluster::Cluster},
    stores,
    visits::{self, GET_VISIT},
    wire::Wire,
};

const STREAM: &str = "FRESH";
/// A lookup that is not answered by then never is.
const LIMIT: Duration = Duration::from_secs(600);
/// Records that are filed after the snapshot.
const TAIL: u64 = 20_000;
/// The pause between two lookups.
const LOOK: Duration = Duration::from_millis(20);

/// Measures it once: what moves is gigabytes.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = declare(bench);
    let cluster = Cluster::start(bench.peers.needed_nats()?).await?;
    let copy = stores::copy(bench.records).await?;
    eprintln!("  moving {} onto a stream", bench.large());
    let began = Instant::now();
    let snapshot = Attache::migrate(copy.path(), &cluster, STREAM).await?;
    rows.take("move", began.elapsed().as_secs_f64());
    rows.take("snapshot", snapshot as f64 / f64::from(1 << 20));
    // Room for the replica's own.
    drop(copy);
    let began = Instant::now();
    let server = Attache::replica(&cluster, STREAM)?;
    until_answered(&server.address).await?;
    rows.take("answer", began.elapsed().as_secs_f64());
    // What is filed now is in the log alone.
    rows.take("through", server.fill(bench.records, TAIL).await?);
    let told = server.token().await?;
    let began = Instant::now();
    let newer = Attache::replica(&cluster, STREAM)?;
    until_ready(&newer).await?;
    newer.reach(&told).await?;
    rows.take("ready", began.elapsed().as_secs_f64());
    Ok(rows)
}

fn declare(bench: &Bench) -> Rows {
    let large = bench.large();
    let mut rows = Rows::new(format!(
        "Measured once. A copy of the store with {large} is moved onto a stream of three servers of NATS with \
         `sync_interval: always`, all on this machine and its one disk; then a replica starts in an empty folder."
    ));
    rows.row("move", format!("`attache migrate to-stream` with {large}"), "s");
    rows.row("snapshot", "the snapshot that a new replica begins with", "MiB");
    rows.row("answer", "from the start of a new replica to its first answered lookup", "s")
        .goal(Goal::at_most(60.0, None));
    rows.row("through", "`attache bench fill` by way of it, as imports come", "records/s");
    let more = bench::count(usize::try_from(TAIL).unwrap_or(usize::MAX));
    rows.row(
        "ready",
        format!("the same with {more} records more in the log, to health's word and the newest of them"),
        "s",
    )
    .goal(Goal::at_most(60.0, None));
    rows
}

/// Waits until health says that all of it serves.
async fn until_ready(replica: &Attache) -> Outcome<()> {
    let (mut health, began) = (HealthClient::new(replica.channel().await?), Instant::now());
    while health.check(HealthCheckRequest::default()).await?.into_inner().status() != ServingStatus::Serving {
        if began.elapsed() > LIMIT {
            return Err("the new replica is not ready in time".into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Looks the first visit up until it is there.
async fn until_answered(address: &str) -> Outcome<()> {
    let mut method = Wire::open(address).await?.method(GET_VISIT)?;
    let began = Instant::now();
    while let Err(error) = method.call(&visits::get(0)).await {
        if began.elapsed() > LIMIT {
            return Err(error);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
