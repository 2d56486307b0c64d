//! Imports: `attache bench fill` into an empty store and into a large one, and the memory that they take.

use crate::{
    Outcome,
    bench::{self, Bench},
    machine,
    results::Goal,
    rows::Rows,
    servers::attache::Attache,
    stores,
};

/// Records into an empty store.
const EMPTY: u64 = 50_000;
/// Records more into the large one.
const LARGE: u64 = 20_000;

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = declare(bench);
    let copy = stores::copy(bench.records).await?;
    let mut from = bench.records;
    for _ in bench.rounds() {
        let server = Attache::empty()?;
        rows.take("empty", server.fill(0, EMPTY).await?);
        rows.take("empty-memory", machine::peak_memory(server.process())?);
        drop(server);
        // Started anew, or its peak would be that of the round before.
        let server = Attache::on(copy.path()).await?;
        rows.take("large", server.fill(from, LARGE).await?);
        rows.take("large-memory", machine::peak_memory(server.process())?);
        from += LARGE;
    }
    Ok(rows)
}

fn declare(bench: &Bench) -> Rows {
    let large = bench.large();
    let mut rows = Rows::new(format!(
        "`attache bench fill`, 4 imports at once, one report a record: {} into an empty store, {} more in each \
         round into a copy of the one with {large}. Memory: the most that the server ever had.",
        bench::records(EMPTY),
        bench::records(LARGE),
    ));
    rows.row("empty", "import into an empty store", "reports/s").goal(Goal::at_least(10_000.0, 20_000.0));
    rows.row("large", format!("import into {large}"), "reports/s")
        .goal(Goal::at_least(5_000.0, None))
        .against("empty", None);
    rows.row("empty-memory", "memory of the import into an empty store", "MiB");
    rows.row("large-memory", format!("memory of the import into {large}"), "MiB").against("empty-memory", None);
    rows
}
