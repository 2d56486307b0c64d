//! The flags of `attache serve`; reading the configuration and serving are not the client's business.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flags of `attache serve`. What is absent comes from the configuration file, then from the defaults.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Configuration file (TOML); flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:50051]; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Directory of the store [default: under the user's data directory]
    #[arg(long, value_name = "DIR", conflicts_with = "in_memory")]
    pub data_dir: Option<PathBuf>,
    /// Keep the store in a temporary folder without syncs; everything is lost at the end
    #[arg(long)]
    pub in_memory: bool,
    /// Load the sample into an empty store, and print what to try
    #[arg(long)]
    pub sample: bool,
    /// Allow an address that other machines reach, without TLS and authentication
    #[arg(long)]
    pub insecure_listen: bool,
    /// Let the clock move the registry's day by more than 40 days at once, as after a long rest
    #[arg(long)]
    pub accept_day_jump: bool,
    /// What to log, such as `info` or `attache=debug,tonic=warn`
    #[arg(long, env = "ATTACHE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How to write the log [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Where the log of filings is kept [default: embedded]
    #[arg(long, value_name = "JOURNAL")]
    pub journal: Option<Journal>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where the log of filings is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Journal {
    /// In the store's own directory.
    Embedded,
}
