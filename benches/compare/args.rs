//! What to measure, and how much of it.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{Outcome, sections};

/// Rounds if nobody says: medians of fewer jump.
const ROUNDS: usize = 5;
/// Rounds of `--check`.
const CHECK_ROUNDS: usize = 3;
/// Records of the store of `--check`: one that is made in seconds.
const CHECK_RECORDS: u64 = 10_000;

/// Attaché beside its floor and its peers, on this machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "compare", args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Measure these sections alone, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Say which sections there are
    #[arg(long)]
    pub list: bool,
    /// Records of the large store, which is made once and kept
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(10_000..=10_000_000))]
    pub records: u64,
    /// Rounds, in each of which all alternatives of a section take their turns
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=25))]
    rounds: Option<u16>,
    /// Subscribers that nothing is told to, a thousand on each connection
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1000..=90_000))]
    pub idle: u32,
    /// Keep the results in benches/results.json and show them in benches/RESULTS.md
    #[arg(long)]
    pub write: bool,
    /// Measure shortly and without peers, and compare the ratios with those that were kept
    #[arg(long, conflicts_with_all = ["only", "records", "idle"])]
    pub check: bool,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    pub role: Option<Role>,
}

/// What this program is besides the one who measures.
#[derive(Debug, Clone, Subcommand)]
pub enum Role {
    /// The floor, which hands out what a file holds
    #[command(hide = true)]
    Floor {
        /// Made by the one who measures
        file: PathBuf,
    },
}

impl Args {
    /// The rounds.
    pub fn rounds(&self) -> usize {
        let unsaid = if self.check { CHECK_ROUNDS } else { ROUNDS };
        self.rounds.map_or(unsaid, usize::from)
    }

    /// The records of the large store.
    pub fn records(&self) -> u64 {
        if self.check { CHECK_RECORDS } else { self.records }
    }

    /// The sections to measure, in their own order.
    pub fn sections(&self) -> Outcome<Vec<&'static str>> {
        if let Some(unknown) = self.only.iter().find(|name| !sections::NAMES.contains(&name.as_str())) {
            return Err(format!("there is no section {unknown}; there are {}", sections::NAMES.join(", ")).into());
        }
        let chosen = |name: &&str| self.only.is_empty() || self.only.iter().any(|only| only == *name);
        let all: &[&str] = if self.check { &sections::CHECKED } else { &sections::NAMES };
        Ok(all.iter().copied().filter(chosen).collect())
    }
}
