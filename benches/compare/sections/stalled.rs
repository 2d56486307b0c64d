//! One subscriber who never reads, and what the others feel of it.

use crate::{
    Outcome,
    audience::{self, Audience},
    bench::{Bench, CHANNELS},
    filers::{self, Filings},
    frames, machine,
    results::Goal,
    rows::Rows,
    servers::{self, attache::Attache},
};

/// Those who read.
const SUBSCRIBERS: usize = 99;
const FILERS: usize = 64;
/// Filings a second.
const RATE: f64 = 300.0;
const FILINGS: usize = 1500;

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = declare();
    for round in bench.rounds() {
        let mut memory = [0.0; 2];
        // Each goes first in every other round: the machine's memory is not the same after the other.
        for stalled in [round % 2 == 0, round % 2 != 0] {
            let (times, after) = deliver(stalled).await?;
            rows.take_p99(if stalled { "stalled" } else { "none" }, &times);
            memory[usize::from(stalled)] = after;
        }
        rows.take("memory-none", memory[0]);
        rows.take("memory-stalled", memory[1]);
        rows.take("memory", memory[1] - memory[0]);
    }
    Ok(rows)
}

fn declare() -> Rows {
    let mut rows = Rows::new(format!(
        "{SUBSCRIBERS} subscribers to everything on {CHANNELS} connections and one more on a connection of its own, which \
         reads or does not; {FILERS} filers, {RATE} filings/s, {FILINGS} filings. A server on an empty store each time. The delay is that of one subscriber on each connection.",
    ));
    rows.row("none", "filing to delivery with nobody stalled, p99", "ms");
    rows.row("stalled", "filing to delivery with one stalled, p99", "ms")
        .against("none", Some(Goal::at_most(1.1, None)));
    rows.row("memory-none", "memory of the server with nobody stalled", "MiB");
    rows.row("memory-stalled", "memory of the server with one stalled", "MiB");
    rows.row("memory", "the difference, round by round", "MiB").goal(Goal::at_most(1.0, None));
    rows
}

/// Files with or without somebody who never reads; what the others felt, and the server's memory after it.
async fn deliver(stalled: bool) -> Outcome<(crate::times::Times, f64)> {
    let server = Attache::empty()?;
    let (filing, watching) = (server.wires().await?, server.channels().await?);
    let filings = Filings::make(FILINGS);
    let lonely = [servers::narrow(&server.address).await?];
    let last = audience::open(&lonely, 1, frames::WATCH_EVENTS, &frames::live()).await?;
    let (unread, read) = if stalled { (last, Vec::new()) } else { (Vec::new(), last) };
    let mut audience = Audience::gather(&watching, SUBSCRIBERS, CHANNELS, &filings).await?;
    read.into_iter().for_each(|stream| audience.join(stream));
    filers::at_rate(&filing, FILERS, RATE, &filings).await?;
    let times = audience.leave().await?.times;
    let memory = machine::memory(server.process())?;
    drop(unread);
    Ok((times, memory))
}
