//! The flags of `attache restore-backup` and `attache verify`, which work on a folder; that is not the client's business.

use std::path::PathBuf;

use clap::Args;

use super::position::{self, Position};

/// Arguments of `attache restore-backup`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "What is restored begins a new epoch: tokens of the old log are refused with LOG_REPLACED, \
and whoever watches starts again with a snapshot.")]
pub struct RestoreArgs {
    /// The file that `attache backup` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Directory of the store, which has none yet [default: under the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// As of this position instead of the backup's end: a token, or an instant with offset; the store is made again from
    /// its log, which takes as long as an import
    #[arg(long, value_name = "POSITION", value_parser = position::parse)]
    pub to: Option<Position>,
}

/// Arguments of `attache verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Directory of the store, whether a server has it open or not [default: under the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}
