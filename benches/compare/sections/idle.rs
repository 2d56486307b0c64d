//! Very many subscribers whom nothing concerns, and what they cost those whom it does.

use bytes::Bytes;
use tonic::transport::Channel;

use crate::{
    Outcome,
    audience::{self, Audience, Delivered},
    bench::{Bench, CHANNELS, count},
    filers::{self, Filings},
    frames, machine,
    process::Process,
    results::Goal,
    rows::Rows,
    servers::{
        self,
        attache::Attache,
        floor::{self, Floor},
    },
    wire::Wire,
};

/// Streams of a connection.
const STREAMS: usize = 1000;
/// Those who match.
const SUBSCRIBERS: usize = 10;
const FILERS: usize = 64;
/// Filings a second: well below what is possible, so that the rate is not what is measured.
const RATE: f64 = 500.0;
const FILINGS: usize = 2000;
/// No made-up record is of this state.
const STATE: &str = "LI";

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = declare(bench);
    for _ in bench.rounds() {
        rows.take("floor", floor_memory(bench.idle).await?);
        with_and_without(&mut rows, bench.idle).await?;
    }
    Ok(rows)
}

fn declare(bench: &Bench) -> Rows {
    let idle = bench.idle;
    let mut rows = Rows::new(format!(
        "{} idle subscribers on {} connections, filtered by a state of which nothing is filed; {FILERS} filers, \
         {RATE} filings/s, {FILINGS} filings; {SUBSCRIBERS} subscribers to everything on {CHANNELS} connections. A server \
         of its own in each round. Percentiles: filing to delivery.",
        count(idle),
        idle.div_ceil(STREAMS),
    ));
    rows.row("without", format!("delivered to {SUBSCRIBERS} subscribers, nobody idle"), "events/s");
    rows.row("with", format!("delivered to {SUBSCRIBERS} subscribers with {} idle ones", count(idle)), "events/s")
        .against("without", Some(Goal::at_least(0.9, 0.98)));
    rows.row("floor", "memory of an idle stream of bare tonic", "KiB");
    rows.row("memory", "memory of an idle subscriber", "KiB").against("floor", Some(Goal::at_most(1.5, 1.1)));
    rows
}

/// Memory that a process takes for each stream of which nothing comes, in KiB; the streams stay open.
async fn open_idle(
    process: &Process,
    address: &str,
    idle: usize,
    path: &'static str,
    request: &Bytes,
) -> Outcome<(f64, Vec<tonic::Streaming<Bytes>>)> {
    let before = machine::memory(process)?;
    let channels = servers::connect(address, idle.div_ceil(STREAMS)).await?;
    let streams = audience::open(&channels, idle, path, request).await?;
    machine::rest(process).await?;
    Ok(((machine::memory(process)? - before) * 1024.0 / idle as f64, streams))
}

async fn floor_memory(idle: usize) -> Outcome<f64> {
    // As long as the first frame of a watch.
    let floor = Floor::start(&vec![7; 100].into(), &[])?;
    Ok(open_idle(floor.process(), &floor.address, idle, floor::IDLE, &Bytes::new()).await?.0)
}

async fn with_and_without(rows: &mut Rows, idle: usize) -> Outcome<()> {
    let server = Attache::empty()?;
    let (filing, watching) = (server.wires().await?, server.channels().await?);
    let without = deliver(&filing, &watching).await?;
    let request = frames::of_state(STATE);
    let (memory, streams) = open_idle(server.process(), &server.address, idle, frames::WATCH_EVENTS, &request).await?;
    let with = deliver(&filing, &watching).await?;
    drop(streams);
    for (key, delivered) in [("without", without), ("with", with)] {
        rows.take(key, delivered.rate);
        rows.take_times(key, &delivered.times);
    }
    rows.take("memory", memory);
    Ok(())
}

async fn deliver(filing: &[Wire], watching: &[Channel]) -> Outcome<Delivered> {
    let filings = Filings::make(FILINGS);
    let audience = Audience::gather(watching, SUBSCRIBERS, SUBSCRIBERS, &filings).await?;
    filers::at_rate(filing, FILERS, RATE, &filings).await?;
    audience.leave().await
}
