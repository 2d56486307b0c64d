//! The flags of `attache restore-backup` and `attache verify`, which work on a folder; that is not the client's business.
//! A server is verified by `verify`, which is.

use std::path::{Path, PathBuf};

use clap::{Args, value_parser};

use super::{
    client::CredentialArgs,
    output::OutputArgs,
    position::{self, Position},
};

/// Arguments of `attache restore-backup`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "What is restored begins a new epoch: tokens of the old log are refused with LOG_REPLACED, \
and whoever watches starts again with a snapshot.")]
pub struct RestoreArgs {
    /// The file that `attache backup` wrote; a pipe cannot be read twice, and is refused
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
#[command(
    after_help = "A server is verified from outside: records organizations/probe-RUN-… are filed, watched by many who \
leave and go on elsewhere, and withdrawn at the end. Nobody sees them who does not ask for probes, but they stand in the log \
for good. It takes the roles operator, filer (for sources/probe- is enough) and reader. Each guarantee is printed as held, \
broken or not tested, with evidence; the exit code is 4 if any is broken."
)]
pub struct VerifyArgs {
    /// Directory of the store, whether a server has it open or not [default: under the user's data directory]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "also"])]
    pub data_dir: Option<PathBuf>,
    /// Leave out what takes long and more than twice the store's room beside it: comparing its rows and indexes with what the log
    /// makes of them
    #[arg(long, conflicts_with_all = ["server", "also"])]
    pub quick: bool,
    /// Verify the guarantees of this server instead: a URL, or a host with or without port
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub server: Option<String>,
    /// Another server of the same log, to go on at; repeatable
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub also: Vec<String>,
    /// Watchers at once, over all servers
    #[arg(long, default_value_t = 32, value_name = "N", help_heading = "Server")]
    #[arg(value_parser = value_parser!(u16).range(1..=200))]
    pub watchers: u16,
    /// How long to file
    #[arg(long, default_value_t = 10, value_name = "SECONDS", help_heading = "Server")]
    #[arg(value_parser = value_parser!(u16).range(1..=300))]
    pub seconds: u16,
    /// How to print the verdicts.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Who asks.
    #[command(flatten)]
    pub credential: CredentialArgs,
}

/// Refuses `-`, which is standard input to other commands, as the file of a backup.
///
/// # Errors
///
/// Why it is refused.
pub fn check_is_named(file: &Path) -> Result<(), String> {
    if file != Path::new("-") {
        return Ok(());
    }
    Err("-: a backup goes into a file, because restoring reads it twice; ./- is a file of that name".into())
}

impl VerifyArgs {
    /// Whether it is a server that is verified, and no folder.
    #[must_use]
    pub fn is_of_a_server(&self) -> bool {
        self.server.is_some() || !self.also.is_empty()
    }
}
