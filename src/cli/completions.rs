//! `attache completions` and `attache descriptors`: what other tools need.

use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, error::CliError, output};
use crate::pb;

/// Arguments of `attache completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `attache descriptors`.
#[derive(Debug, Clone, Args)]
pub struct DescriptorsArgs {
    /// Write them to this file, not to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Prints the completion script of a shell.
///
/// # Errors
///
/// When it cannot be written.
pub fn run(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "attache", &mut script);
    output::text(&script)
}

/// Writes the file descriptor set of the contract, with comments.
///
/// # Errors
///
/// When it cannot be written, or standard output is a terminal.
pub fn descriptors(args: &DescriptorsArgs) -> Result<(), CliError> {
    match &args.out {
        None => output::bytes(pb::DESCRIPTORS),
        Some(path) => {
            fs::write(path, pb::DESCRIPTORS).map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))
        }
    }
}
