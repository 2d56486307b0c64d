//! What is measured, a file for each section.

mod filing;
mod fresh;
mod growth;
mod guarded;
mod idle;
mod import;
mod lists;
mod live;
mod lookups;
mod open;
mod replay;
mod replicas;
mod search;
mod stalled;

use crate::{Outcome, bench::Bench, rows::Rows};

/// The sections, in their order.
pub const NAMES: [&str; 14] = [
    "lookups", "replay", "filing", "live", "idle", "stalled", "lists", "search", "open", "import", "growth",
    "replicas", "fresh", "guarded",
];
/// Those of `--check`.
pub const CHECKED: [&str; 3] = ["lookups", "replay", "filing"];

/// Those that measure peers, too, or need one.
pub const WITH_PEERS: [&str; 5] = ["lookups", "replay", "filing", "replicas", "fresh"];

/// A section in a line.
pub fn about(name: &str) -> &'static str {
    match name {
        "lookups" => "Lookups by name",
        "replay" => "Replay of the log to many subscribers, and to one",
        "filing" => "Filings, each durable before it is answered",
        "live" => "Filings with subscribers, and from filing to delivery",
        "idle" => "Very many subscribers whom nothing concerns",
        "stalled" => "One subscriber who never reads",
        "lists" => "Lists, by every filter of the contract",
        "search" => "Search by words",
        "open" => "Start",
        "import" => "Imports",
        "growth" => "Cost by size of the store",
        "replicas" => "Replicas that share a stream of three servers",
        "fresh" => "A new replica of a large log",
        "guarded" => "Who asks, and TLS",
        _ => "",
    }
}

/// Prints which there are.
pub fn list() {
    for name in NAMES {
        println!("{name:10} {}", about(name));
    }
}

/// Measures one.
pub async fn run(name: &str, bench: &Bench) -> Outcome<Rows> {
    match name {
        "lookups" => lookups::run(bench).await,
        "replay" => replay::run(bench).await,
        "filing" => filing::run(bench).await,
        "live" => live::run(bench).await,
        "idle" => idle::run(bench).await,
        "stalled" => stalled::run(bench).await,
        "lists" => lists::run(bench).await,
        "search" => search::run(bench).await,
        "open" => open::run(bench).await,
        "import" => import::run(bench).await,
        "growth" => growth::run(bench).await,
        "replicas" => replicas::run(bench).await,
        "fresh" => fresh::run(bench).await,
        "guarded" => guarded::run(bench).await,
        _ => Err(format!("there is no section {name}").into()),
    }
}
