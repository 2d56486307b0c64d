//! `attache bench`: what this server, on this machine and with this store, does in a second.
//!
//! `load` keeps calls going and `measure` keeps what they took; each command says only what one call is, and
//! `result` prints it. Answers are not decoded further than needed (`skim`): a load that is busy decoding measures
//! itself. Percentiles are of single calls, never averages of averages.

pub mod draw;
mod file;
mod fill;
pub mod generate;
mod list;
mod load;
mod lookup;
mod measure;
mod names;
mod result;
mod search;
mod skim;
mod watch;

use clap::{Args, Subcommand};

use super::error::CliError;

/// Arguments of `attache bench`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "The exit code is 1 if any call failed. Ctrl-C ends a run early; what was measured is printed.")]
pub struct BenchArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Look records up by name
    Lookup(Box<lookup::LookupArgs>),
    /// List visits in pages
    List(Box<list::ListArgs>),
    /// Search for words
    Search(Box<search::SearchArgs>),
    /// Subscribe many times at once: to a replay of the log, or to what is filed meanwhile
    Watch(Box<watch::WatchArgs>),
    /// File made-up visits, and withdraw them
    File(Box<file::FileArgs>),
    /// Fill the registry with made-up records, like those of a real one
    Fill(Box<fill::FillArgs>),
}

/// Runs one of them.
///
/// # Errors
///
/// What a connection or the preparation ends with; [`CliError::CallsFailed`] if any call of the run did.
pub async fn run(args: &BenchArgs) -> Result<(), CliError> {
    match &args.action {
        Action::Lookup(args) => lookup::run(args).await,
        Action::List(args) => list::run(args).await,
        Action::Search(args) => search::run(args).await,
        Action::Watch(args) => watch::run(args).await,
        Action::File(args) => file::run(args).await,
        Action::Fill(args) => fill::run(args).await,
    }
}
