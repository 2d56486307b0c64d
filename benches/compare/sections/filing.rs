//! Filings: many at once and one alone, on an empty store and on a large one, beside etcd's puts and SQLite's commits.

use std::path::Path;

use crate::{
    Outcome,
    bench::{BYTES, Bench, FILERS, count},
    filers, load,
    results::Goal,
    rows::Rows,
    servers::{
        attache::Attache,
        etcd::{self, Etcd},
        sqlite::{self, Sync},
    },
    wire::Wire,
};

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = declare(bench);
    let server = Attache::on_copy(bench.records).await?;
    let large = server.wires().await?;
    let peer = match &bench.peers.etcd {
        Some(program) => Some(start(program, &mut rows).await?),
        None => None,
    };
    for round in bench.rounds() {
        rows.take("sqlite", sqlite::commits(bench.scale.commits, Sync::Full).await?);
        rows.take("empty", file(Attache::empty()?, FILERS, bench.scale.filings).await?);
        rows.take("large", filers::at_full_speed(&large, FILERS, bench.scale.filings).await?);
        if let Some((_etcd, wires)) = &peer {
            rows.take("etcd", puts(wires, round, bench.scale.filings).await?);
        }
        rows.take("sqlite-alone", sqlite::commits(bench.scale.alone, Sync::Full).await?);
        rows.take("alone", file(Attache::empty()?, 1, bench.scale.alone).await?);
        rows.take("sqlite-unsynced", sqlite::commits(bench.scale.unsynced, Sync::Off).await?);
        rows.take("unsynced", file(Attache::unsynced()?, FILERS, bench.scale.filings).await?);
    }
    Ok(rows)
}

/// Files at full speed with a server that ends after it.
async fn file(server: Attache, filers: usize, count: usize) -> Outcome<f64> {
    filers::at_full_speed(&server.wires().await?, filers, count).await
}

fn declare(bench: &Bench) -> Rows {
    let mut rows = Rows::new(format!(
        "{FILERS} filers with one report each, {} filings, on an empty store and on a copy of the one with {}; \
         etcd syncs as it does by default. One alone: {} filings.",
        count(bench.scale.filings),
        bench.large(),
        bench.scale.alone,
    ));
    rows.row("sqlite", format!("SQLite, rows of {BYTES} bytes, one synced commit each"), "rows/s");
    rows.row("empty", format!("`FileReports` on an empty store, {FILERS} filers"), "filings/s")
        .against("etcd", Some(Goal::at_least(0.6, 1.2)))
        .against("sqlite", None);
    rows.row("large", format!("`FileReports` on {}, {FILERS} filers", bench.large()), "filings/s")
        .against("etcd", Some(Goal::at_least(0.4, 0.8)))
        .against("empty", None)
        .against("sqlite", None);
    rows.row("sqlite-alone", "SQLite beside one filer, the same, as many as that one files", "rows/s");
    rows.row("alone", "`FileReports` by one filer alone, empty store", "filings/s").against("sqlite-alone", None);
    rows.row("sqlite-unsynced", "SQLite without syncs, the same with `synchronous=OFF`", "rows/s");
    rows.row("unsynced", format!("`FileReports` without syncs (`--in-memory`), {FILERS} filers"), "filings/s")
        .against("sqlite-unsynced", None);
    rows
}

async fn start(program: &Path, rows: &mut Rows) -> Outcome<(Etcd, Vec<Wire>)> {
    rows.row("etcd", format!("etcd Put, {FILERS} writers, values of {BYTES} bytes"), "puts/s");
    let etcd = Etcd::start(program).await?;
    let wires = etcd.wires().await?;
    Ok((etcd, wires))
}

/// Puts values under keys that are new; puts a second.
async fn puts(wires: &[Wire], round: usize, count: usize) -> Outcome<f64> {
    let requests = (round * count..).take(count).map(etcd::put).collect();
    Ok(load::calls(wires, FILERS, etcd::PUT, requests).await?.rate)
}
