//! What lookups and filings cost as the store grows.

use crate::{
    Outcome,
    bench::{self, Bench, CHANNELS, FILERS, STREAMS, count},
    filers, load,
    results::Goal,
    rows::Rows,
    servers::attache::Attache,
    visits::{GET_VISIT, Names, UNIFORM},
    wire::Wire,
};

/// So many times may a lookup cost at the largest size what it costs at the smallest.
const LOOKUP_COST: f64 = 1.3;
/// The same of a filing.
const FILING_COST: f64 = 1.8;

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = declare(bench);
    let mut stores = Vec::new();
    for records in bench.sizes() {
        stores.push(Size::start(records).await?);
    }
    for round in bench.rounds() {
        for size in &stores {
            size.measure(&mut rows, bench, round).await?;
        }
    }
    Ok(rows)
}

fn declare(bench: &Bench) -> Rows {
    let mut rows = Rows::new(format!(
        "`GetVisit`, names drawn uniformly, {CHANNELS} × {STREAMS} streams, {} calls after {} that do not count; {FILERS} \
         filers, {} filings; copies of the stores. A cost of {LOOKUP_COST} × is {:.2} × the rate, one \
         of {FILING_COST} × is {:.2} × the rate.",
        count(bench.scale.lookups),
        count(bench.scale.warm_up),
        count(bench.scale.filings),
        1.0 / LOOKUP_COST,
        1.0 / FILING_COST,
    ));
    let sizes = bench.sizes();
    for (work, what, unit, cost) in
        [("lookup", "`GetVisit`", "calls/s", LOOKUP_COST), ("filing", "`FileReports`", "filings/s", FILING_COST)]
    {
        for records in &sizes {
            let row = rows.row(key(work, *records), format!("{what} at {}", bench::records(*records)), unit);
            if *records > sizes[0] {
                let goal = (Some(records) == sizes.last()).then(|| Goal::at_least(1.0 / cost, None));
                row.against(&key(work, sizes[0]), goal);
            }
        }
    }
    rows
}

fn key(work: &str, records: u64) -> String {
    format!("{work}-{records}")
}

/// A store of one size, with those who ask it.
struct Size {
    records: u64,
    names: Names,
    wires: Vec<Wire>,
    _server: Attache,
}

impl Size {
    async fn start(records: u64) -> Outcome<Self> {
        let server = Attache::on_copy(records).await?;
        let wires = server.wires().await?;
        Ok(Self { records, names: Names::new(records, UNIFORM), wires, _server: server })
    }

    async fn measure(&self, rows: &mut Rows, bench: &Bench, round: usize) -> Outcome<()> {
        let mut warm_up = self.names.lookups(round, bench.scale.warm_up + bench.scale.lookups);
        let measured = warm_up.split_off(bench.scale.warm_up);
        load::calls(&self.wires, CHANNELS * STREAMS, GET_VISIT, warm_up).await?;
        let calls = load::calls(&self.wires, CHANNELS * STREAMS, GET_VISIT, measured).await?;
        rows.take(&key("lookup", self.records), calls.rate);
        rows.take_times(&key("lookup", self.records), &calls.times);
        let filed = filers::at_full_speed(&self.wires, FILERS, bench.scale.filings).await?;
        rows.take(&key("filing", self.records), filed);
        Ok(())
    }
}
