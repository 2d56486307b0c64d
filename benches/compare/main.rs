//! Attaché beside its floor and its peers, on one machine in one run: `cargo bench --bench compare`.
//!
//! Every server is a process of its own, and only one works at a time; this process is the client of all of them. The
//! alternatives of a section take their turns in each round, so that whatever else the machine does meets all of them.
//! What counts is the ratio of the medians. With `-- --write` the results are kept in `benches/results.json` and shown in
//! `benches/RESULTS.md`; `-- --check` compares a short run with what was kept.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a person's eyes")]

mod args;
mod audience;
mod bench;
mod check;
mod filers;
mod frames;
mod load;
mod machine;
mod places;
mod process;
mod raw;
mod results;
mod rows;
mod sections;
mod servers;
mod stores;
mod table;
mod times;
mod visits;
mod wire;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

use self::{
    args::{Args, Role},
    bench::Bench,
    results::Results,
};

/// As Attaché's own: the floor and the client are not to lose by theirs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A section that is not done by then hangs. The longest make a store of a million records first.
const SECTION_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// What still runs on a thread of its own at the end is given so long.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What goes wrong here is told to a person and ends the run.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run(&args) => ended,
            // Whoever holds a server lets go of it when the run is dropped.
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    });
    runtime.shutdown_timeout(LAST_WAIT);
    match ended {
        Ok(code) => code,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(words: &str) -> ExitCode {
    eprintln!("compare: {words}");
    ExitCode::FAILURE
}

async fn run(args: &Args) -> Outcome<ExitCode> {
    if let Some(Role::Floor { file }) = &args.role {
        servers::floor::serve(file).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.list {
        sections::list();
        return Ok(ExitCode::SUCCESS);
    }
    let bench = Bench::new(args)?;
    let mut measured = Results::default();
    for name in args.sections()? {
        eprintln!("{name}: {}", sections::about(name));
        let section = tokio::time::timeout(SECTION_LIMIT, sections::run(name, &bench)).await;
        let section = section.map_err(|_| format!("{name} was not done after {SECTION_LIMIT:?}"))?;
        let section = section.map_err(|error| format!("{name}: {error}"))?.finish(bench.rounds);
        println!("{}", table::of_section(name, &section));
        measured.put(name, section);
        if args.write && !args.check {
            // Section by section: what took an hour is not lost to what fails after it.
            results::keep(&measured)?;
        }
    }
    if args.check { check::conclude(&measured, args.write) } else { Ok(ExitCode::SUCCESS) }
}
