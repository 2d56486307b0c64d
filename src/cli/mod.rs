//! The command line: one file per client command. `serve` is parsed here and run by the binary.
//!
//! Commands print through [`output`] alone, and fail with a [`CliError`], which knows its exit code.

mod backup;
pub mod bench;
mod client;
mod cloud_events;
mod columns;
mod comments;
mod completions;
mod cursor;
mod dates;
pub mod error;
mod export;
mod fetch;
mod file;
mod filter_args;
mod follow;
mod get;
mod health;
mod history;
mod import;
mod input;
mod kinds;
mod list;
mod log;
mod matching;
mod merge;
pub mod moves_args;
pub mod output;
pub mod position;
mod redact;
mod relationship;
mod reports;
pub mod restore_args;
mod results;
mod retract;
mod retry;
mod search;
pub mod serve_args;
mod sheet;
mod template;
mod token;
mod trim;
mod typos;
mod verify;
mod view;
mod watch;
mod words;
mod wrap;

use std::process::ExitCode;

use clap::{
    Args, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};

use self::output::Format;
pub use self::{error::CliError, serve_args::ServeArgs};
use crate::url;

/// A registry and live feed of international cooperation.
#[derive(Debug, Parser)]
#[command(name = "attache", version, about, long_about = LONG_ABOUT, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    early: EarlyArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const LONG_ABOUT: &str = "A registry and live feed of international cooperation: \
who visited whom, what was signed, which exercises were held, what changed, and which source said so.

Exit codes: 0 done, 1 refused, 2 not found, 3 unavailable (run it again), \
4 `verify` found a broken guarantee, 64 wrong command line or file, \
75 `serve` wants to be started again.";

const SERVE_EXITS: &str = "Exit codes: 0 it was told to stop, 1 it cannot start or go on, 64 wrong command line or file, \
75 the journal has left its store behind: started again, it begins anew with a snapshot.";

/// `attache --server URL get …` is taken like `attache get … --server URL`: clap hands these down to the flags of
/// the same names in each client command, which alone are read and shown in its help.
#[derive(Debug, Args)]
struct EarlyArgs {
    // Without a default: `verify` has none, and is of a folder unless a server is named.
    #[arg(long, global = true, hide = true)]
    server: Option<String>,
    #[arg(short, long, global = true, hide = true, value_enum, default_value_t)]
    output: Format,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the registry; with `doctor`, `migrate`, `reseed`, `restore-backup` and `verify` of a folder what is no client
    #[command(after_help = SERVE_EXITS)]
    Serve(Box<ServeArgs>),
    /// Look at everything that `serve` with the same arguments needs, and say what is wrong and what to do about it
    Doctor(Box<serve_args::DoctorArgs>),
    /// Move the log of a store onto the stream of a journal, or back
    Migrate(Box<moves_args::MigrateArgs>),
    /// Build the stream of a journal anew from a replica's store, when it is lost
    Reseed(Box<moves_args::MoveArgs>),
    /// Make a copy of a server's whole store
    Backup(Box<backup::BackupArgs>),
    /// Begin a store with a copy, as it was or as it was at an earlier position
    RestoreBackup(Box<restore_args::RestoreArgs>),
    /// Verify a store (its file, its chain, that it stands where its log ends), or the guarantees of a server
    Verify(Box<restore_args::VerifyArgs>),
    /// Erase reports for good, on every replica
    Redact(Box<redact::RedactArgs>),
    /// Print a commented skeleton of a report to fill in
    Template(template::TemplateArgs),
    /// File what sources state
    File(Box<file::FileArgs>),
    /// Take over the rows of an outside format, such as a data set
    Import(Box<import::ImportArgs>),
    /// Retract reports, or a record by a ruling
    Retract(Box<retract::RetractArgs>),
    /// Lift the rulings that retracted a record
    Restore(Box<retract::RestoreArgs>),
    /// Merge a name into another by a ruling: both were proved to be one
    Merge(Box<merge::MergeArgs>),
    /// Lift a merge
    Unmerge(Box<merge::UnmergeArgs>),
    /// Show a record
    Get(Box<get::GetArgs>),
    /// List records of one kind, or sources
    List(Box<list::ListArgs>),
    /// Find records by words, in any language and spelling
    Search(Box<search::SearchArgs>),
    /// Ask which records may be the same as one in a file, before filing it
    Match(Box<matching::MatchArgs>),
    /// Show what each revision did to a record
    History(Box<history::HistoryArgs>),
    /// Show what each source states about a record
    Reports(Box<reports::ReportsArgs>),
    /// Show the relation of two states or more, or rank the relations of one
    Relationship(Box<relationship::RelationshipArgs>),
    /// Follow events
    Watch(Box<watch::WatchArgs>),
    /// Write out everything that matches, as JSON lines, CSV or CloudEvents
    Export(Box<export::ExportArgs>),
    /// Show the log's epoch, positions, durability and limits
    Log(Box<log::LogArgs>),
    /// Drop old history, on every replica
    Trim(Box<trim::TrimArgs>),
    /// Make bearer tokens for a server whose callers show who they are
    Token(token::TokenArgs),
    /// Ask whether the server and each of its services serve
    Health(Box<health::HealthArgs>),
    /// Measure what a server does in a second
    Bench(bench::BenchArgs),
    /// Show or keep a consumer's position
    Cursor(cursor::CursorArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Write the contract's file descriptor set, for buf, protoc and grpcurl
    Descriptors(completions::DescriptorsArgs),
}

/// Reads the command line. Help and version are printed and end with 0, mistakes with 64.
///
/// # Errors
///
/// The exit code of the process, when there is nothing to run.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        match without_secrets(&error) {
            Some(told) => output::note(told),
            None => {
                // Nobody is left to tell when the stream fails.
                let _ = error.print();
            }
        }
        ExitCode::from(parse_exit_code(&error))
    })
}

/// What is said of a command line that is wrong, if an address in it has something secret.
fn without_secrets(error: &clap::Error) -> Option<String> {
    let told = error.to_string();
    // A value as a whole first: a blank or a quote in a password would end its address.
    let shown = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if value.contains('@') => told.replace(value, &url::shown(value)),
        _ => told.clone(),
    };
    let shown = url::shown_in(&shown);
    (error.use_stderr() && shown != told).then(|| shown.trim_start_matches("error: ").trim_end().to_owned())
}

fn parse_exit_code(error: &clap::Error) -> u8 {
    if error.use_stderr() { error::EXIT_USAGE } else { error::EXIT_OK }
}

/// Runs a client command.
///
/// # Errors
///
/// Why it failed; [`CliError::exit_code`] is for the process, [`output::error`] for the person.
pub async fn run(command: Command) -> Result<(), CliError> {
    match dispatch(command).await {
        // The reader has seen enough.
        Err(CliError::Closed) => Ok(()),
        ended => ended,
    }
}

async fn dispatch(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(_)
        | Command::Doctor(_)
        | Command::Migrate(_)
        | Command::Reseed(_)
        | Command::RestoreBackup(_) => Err(CliError::Usage("this is no client command".into())),
        Command::Verify(args) => verify::run(&args).await,
        Command::Backup(args) => backup::run(&args).await,
        Command::Template(args) => template::run(&args),
        Command::File(args) => file::run(&args).await,
        Command::Import(args) => import::run(&args).await,
        Command::Retract(args) => retract::run(&args).await,
        Command::Restore(args) => retract::restore(&args).await,
        Command::Merge(args) => merge::run(&args).await,
        Command::Unmerge(args) => merge::unmerge(&args).await,
        Command::Get(args) => get::run(&args).await,
        Command::List(args) => list::run(&args).await,
        Command::Search(args) => search::run(&args).await,
        Command::Match(args) => matching::run(&args).await,
        Command::History(args) => history::run(&args).await,
        Command::Reports(args) => reports::run(&args).await,
        Command::Relationship(args) => relationship::run(&args).await,
        Command::Watch(args) => watch::run(&args).await,
        Command::Export(args) => export::run(&args).await,
        Command::Log(args) => log::run(&args).await,
        Command::Trim(args) => trim::run(&args).await,
        Command::Redact(args) => redact::run(&args).await,
        Command::Token(args) => token::run(&args),
        Command::Health(args) => health::run(&args).await,
        Command::Bench(args) => bench::run(&args).await,
        Command::Cursor(args) => cursor::run(&args).await,
        Command::Completions(args) => completions::run(&args),
        Command::Descriptors(args) => completions::descriptors(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("attache").chain(line.split_whitespace()))
    }

    fn client_of(line: &str) -> client::ClientArgs {
        match parse(line).unwrap().command {
            Command::Log(args) => args.client.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn client_flags_are_taken_before_and_after_the_command() {
        for line in
            ["--server http://x:1 -o json log", "log --server http://x:1 -o json", "-o json log --server http://x:1"]
        {
            let client = client_of(line);
            assert_eq!(client.server.server, "http://x:1", "{line}");
            assert_eq!(client.output.output, Format::Json, "{line}");
        }
    }

    #[test]
    fn verify_is_of_a_folder_unless_a_server_is_named() {
        let of_a_server = |line: &str| match parse(line).unwrap().command {
            Command::Verify(args) => args.is_of_a_server(),
            other => panic!("{other:?}"),
        };
        assert!(!of_a_server("verify") && !of_a_server("verify --data-dir x"));
        assert!(of_a_server("verify --server http://x:1") && of_a_server("--server http://x:1 verify"));
        assert!(parse("verify --data-dir x --server http://x:1").is_err());
        assert!(parse("verify --quick --server http://x:1").is_err());
    }

    #[test]
    fn a_wrong_command_line_exits_with_64_and_help_with_0() {
        for line in ["frobnicate", "get", "list ships", "watch --event nothing", "serve --data-dir x --in-memory", ""] {
            assert_eq!(parse_exit_code(&parse(line).unwrap_err()), 64, "{line}");
        }
        for line in ["--help", "--version", "serve --help", "list --help"] {
            assert_eq!(parse_exit_code(&parse(line).unwrap_err()), 0, "{line}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_repeated_without_what_is_secret_in_its_addresses() {
        for line in
            ["serve --journal nats://user:hush@a:4222,http://b", "serve --journal-monitor http://a http://user:hush@b"]
        {
            let told = without_secrets(&parse(line).unwrap_err()).expect("there is something secret");
            assert!(!told.contains("hush"), "{told}");
        }
        assert_eq!(without_secrets(&parse("serve --journal http://a:8222").unwrap_err()), None);
    }

    #[test]
    fn the_help_of_serve_does_not_show_client_flags() {
        let help = parse("serve --help").unwrap_err().to_string();
        assert!(help.contains("--in-memory") && !help.contains("--server"), "{help}");
        let help = parse("get --help").unwrap_err().to_string();
        assert!(help.contains("--server") && help.contains("ATTACHE_SERVER"), "{help}");
    }
}
