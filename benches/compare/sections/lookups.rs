//! Lookups by name: bare tonic, Attaché, etcd.

use std::path::Path;

use attache::cli::bench::draw::{Draw, Odds};
use bytes::Bytes;

use crate::{
    Outcome,
    bench::{BYTES, Bench, CHANNELS, FILERS, STREAMS, count},
    load,
    results::Goal,
    rows::Rows,
    servers::{
        attache::Attache,
        etcd::{self, Etcd},
        floor::{self, Floor},
    },
    stores,
    visits::{GET_VISIT, Names, UNIFORM, ZIPF, get},
    wire::Wire,
};

/// Visits of which the one with the median answer is the typical one.
const SAMPLE: usize = 101;
/// Keys of etcd.
const KEYS: usize = 100_000;

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let server = Attache::on(&stores::kept(bench.records).await?).await?;
    let ours = server.wires().await?;
    let (zipf, uniform) = (Names::new(bench.records, ZIPF), Names::new(bench.records, UNIFORM));
    let answer = typical(&ours[0], &uniform).await?;
    let floor = Floor::start(&answer, &[])?;
    let bare = floor.wires().await?;
    let mut rows = declare(bench, answer.len());
    let peer = match &bench.peers.etcd {
        Some(program) => Some(Peer::start(program, &mut rows).await?),
        None => None,
    };
    let calls = bench.scale.warm_up + bench.scale.lookups;
    for round in bench.rounds() {
        measure(&mut rows, "floor", bench, &bare, floor::UNARY, zipf.lookups(round, calls)).await?;
        measure(&mut rows, "zipf", bench, &ours, GET_VISIT, zipf.lookups(round, calls)).await?;
        measure(&mut rows, "uniform", bench, &ours, GET_VISIT, uniform.lookups(round, calls)).await?;
        if let Some(peer) = &peer {
            peer.measure(&mut rows, bench, round).await?;
        }
    }
    Ok(rows)
}

fn declare(bench: &Bench, answered: usize) -> Rows {
    let mut rows = Rows::new(format!(
        "{}, of which the visits are asked for; {CHANNELS} connections × {STREAMS} streams, {} calls; other \
         names in each round, {} calls before those that count. etcd has {} keys with values of {BYTES} bytes.",
        bench.large(),
        count(bench.scale.lookups),
        count(bench.scale.warm_up),
        count(KEYS),
    ));
    rows.row("floor", format!("bare tonic, {answered} bytes, what half of the answers have at most"), "calls/s");
    rows.row("zipf", "`GetVisit`, names by Zipf 0.99", "calls/s")
        .against("floor", Some(Goal::at_least(0.7, 0.85)))
        .against("etcd", Some(Goal::at_least(2.0, 2.5)))
        .against("etcd-serializable", None);
    rows.row("uniform", "`GetVisit`, names drawn uniformly", "calls/s")
        .against("floor", Some(Goal::at_least(0.4, 0.6)));
    rows
}

/// An answer as long as half of them are at most.
async fn typical(wire: &Wire, names: &Names) -> Outcome<Bytes> {
    let mut method = wire.method(GET_VISIT)?;
    let mut answers = Vec::with_capacity(SAMPLE);
    for visit in names.draw(usize::MAX, SAMPLE) {
        answers.push(method.call(&get(visit)).await?);
    }
    answers.sort_by_key(Bytes::len);
    Ok(answers.swap_remove(SAMPLE / 2))
}

/// Makes the calls, of which the first ones do not count.
pub async fn measure(
    rows: &mut Rows,
    key: &str,
    bench: &Bench,
    wires: &[Wire],
    path: &'static str,
    mut warm_up: Vec<Bytes>,
) -> Outcome<()> {
    let measured = warm_up.split_off(bench.scale.warm_up);
    load::calls(wires, CHANNELS * STREAMS, path, warm_up).await?;
    let calls = load::calls(wires, CHANNELS * STREAMS, path, measured).await?;
    rows.take(key, calls.rate);
    rows.take_times(key, &calls.times);
    Ok(())
}

/// etcd with its keys.
struct Peer {
    _etcd: Etcd,
    wires: Vec<Wire>,
    odds: Odds,
}

impl Peer {
    async fn start(program: &Path, rows: &mut Rows) -> Outcome<Self> {
        rows.row("etcd", "etcd Range, keys by Zipf 0.99, linearizable as it is by default", "calls/s");
        rows.row("etcd-serializable", "etcd Range serializable, the same keys", "calls/s");
        let etcd = Etcd::start(program).await?;
        let wires = etcd.wires().await?;
        eprintln!("  putting {KEYS} keys into etcd");
        load::calls(&wires, FILERS, etcd::PUT, (0..KEYS).map(etcd::put).collect()).await?;
        Ok(Self { _etcd: etcd, wires, odds: Odds::zipf(KEYS, ZIPF) })
    }

    async fn measure(&self, rows: &mut Rows, bench: &Bench, round: usize) -> Outcome<()> {
        for (key, serializable) in [("etcd", false), ("etcd-serializable", true)] {
            let mut draw = Draw::of(1, round as u64);
            // Ranks lie scattered over the keys: 7919 is a prime that does not divide their number.
            let mut keys = || self.odds.next(&mut draw) * 7919 % KEYS;
            let requests =
                (0..bench.scale.warm_up + bench.scale.lookups).map(|_| etcd::range(keys(), serializable)).collect();
            measure(rows, key, bench, &self.wires, etcd::RANGE, requests).await?;
        }
        Ok(())
    }
}
