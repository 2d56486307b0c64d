//! From the start of the program to its first line, which says where it listens.

use std::time::Instant;

use crate::{Outcome, bench::Bench, results::Goal, rows::Rows, servers::attache::Attache, stores};

/// Measures it.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = Rows::new(format!(
        "A store of {} as its server closed it, the file in the system's cache as far as that has it.",
        bench.large()
    ));
    rows.row("empty", "start with an empty store", "ms");
    rows.row("large", format!("start with {}", bench.large()), "ms")
        .goal(Goal::at_most(1000.0, None))
        .against("empty", None);
    let store = stores::kept(bench.records).await?;
    // Its day is moved before anything is measured.
    drop(Attache::on(&store).await?);
    for _ in bench.rounds() {
        let began = Instant::now();
        let server = Attache::empty()?;
        rows.take("empty", began.elapsed().as_secs_f64() * 1000.0);
        drop(server);
        let began = Instant::now();
        let server = Attache::just_on(&store)?;
        rows.take("large", began.elapsed().as_secs_f64() * 1000.0);
        drop(server);
    }
    Ok(rows)
}
