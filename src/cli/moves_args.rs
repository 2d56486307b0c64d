//! The flags of the commands that move a log; moving is not the client's business.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::serve_args::JournalArgs;

/// Arguments of `attache migrate`.
#[derive(Debug, Clone, Args)]
pub struct MigrateArgs {
    /// Which way
    #[command(subcommand)]
    pub way: Way,
}

/// Which way a log moves.
#[derive(Debug, Clone, Subcommand)]
pub enum Way {
    /// Move the log of a store onto the empty stream of a journal; the store is kept as it was, and refuses to serve
    ToStream(MoveArgs),
    /// Take a replica's store off its stream, which is sealed: the store has a log of its own then
    ToEmbedded(MoveArgs),
}

/// Which store, and which stream.
#[derive(Debug, Clone, Args)]
pub struct MoveArgs {
    /// Directory of the store, which no server has open [default: under the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Which stream.
    #[command(flatten)]
    pub journal: JournalArgs,
}
