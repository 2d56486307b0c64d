//! What is measured, a file for each section.

mod filing;
mod lookups;
mod replay;

use crate::{Outcome, bench::Bench, rows::Rows};

/// The sections, in their order.
pub const NAMES: [&str; 3] = ["lookups", "replay", "filing"];
/// Those of `--check`.
pub const CHECKED: [&str; 3] = ["lookups", "replay", "filing"];

/// A section in a line.
pub fn about(name: &str) -> &'static str {
    match name {
        "lookups" => "Lookups by name",
        "replay" => "Replay of the log to many subscribers, and to one",
        "filing" => "Filings, each durable before it is answered",
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
        _ => Err(format!("there is no section {name}").into()),
    }
}
