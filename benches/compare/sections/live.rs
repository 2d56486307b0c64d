//! Filings while subscribers are told of them, and how soon they are.

use crate::{
    Outcome,
    audience::Audience,
    bench::{Bench, CHANNELS, FILERS, count},
    filers::{self, Filings},
    machine,
    results::Goal,
    rows::Rows,
    servers::attache::Attache,
};

/// Subscribers to everything.
const SUBSCRIBERS: usize = 10;
/// How long filings come at half of what is possible, in seconds.
const SECONDS: f64 = 4.0;
/// What the way from a filing to its subscribers may take besides two syncs, in milliseconds.
const WAY_MS: f64 = 5.0;

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = declare(bench);
    let server = Attache::empty()?;
    let wires = server.wires().await?;
    let subscribers = server.channels().await?;
    filers::at_full_speed(&wires, FILERS, bench.scale.filings).await?;
    for _ in bench.rounds() {
        rows.take("alone", filers::at_full_speed(&wires, FILERS, bench.scale.filings).await?);
        let audience = Audience::gather(&subscribers, SUBSCRIBERS, 0, &Filings::make(0)).await?;
        rows.take("watched", filers::at_full_speed(&wires, FILERS, bench.scale.filings).await?);
        rows.take("delivered", audience.leave().await?.rate);
        rows.take("sync", machine::syncs()?.percentile(50));
    }
    let rate = rows.median("watched").unwrap_or_default() / 2.0;
    for _ in bench.rounds() {
        let filings = Filings::make((rate * SECONDS) as usize);
        let audience = Audience::gather(&subscribers, SUBSCRIBERS, SUBSCRIBERS, &filings).await?;
        rows.take("rate", filers::at_rate(&wires, FILERS, rate, &filings).await?);
        rows.take_p99("latency", &audience.leave().await?.times);
    }
    let sync = rows.median("sync").unwrap_or_default();
    if let Some(latency) = rows.declared("latency") {
        latency.goal(Goal::at_most(WAY_MS + 2.0 * sync, None));
    }
    Ok(rows)
}

fn declare(bench: &Bench) -> Rows {
    let mut rows = Rows::new(format!(
        "{FILERS} filers, {} filings at full speed, with and without {SUBSCRIBERS} subscribers to everything on \
         {CHANNELS} connections; then at half of that for {SECONDS} s. One store that grows. The \
         delay is from the sending of a filing to the arrival of its event, by the client's clock.",
        count(bench.scale.filings),
    ));
    rows.row("alone", format!("`FileReports` without subscribers, {FILERS} filers"), "filings/s");
    rows.row("watched", format!("the same with {SUBSCRIBERS} subscribers to everything"), "filings/s")
        .against("alone", Some(Goal::at_least(0.8, 0.9)));
    rows.row("delivered", "delivered to them meanwhile", "events/s");
    rows.row("sync", "`fdatasync` of 4 KiB on the same disk, p50", "ms");
    rows.row("rate", "filings at half of full speed, as they came", "filings/s");
    rows.row("latency", "filing to delivery at that rate, p99", "ms");
    rows
}
