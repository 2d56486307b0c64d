//! The flags of `attache serve`; reading the configuration and serving are not the client's business.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};

use super::output::OutputArgs;

/// Flags of `attache serve`. What is absent comes from the configuration file, then from the defaults.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Configuration file (TOML); flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:50051]; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Address of the admin port: metrics, liveness, readiness, the log's filter; `none` for none [default:
    /// 127.0.0.1:9464, if nobody else listens there]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Directory of the store [default: under the user's data directory]
    #[arg(long, value_name = "DIR", conflicts_with = "in_memory")]
    pub data_dir: Option<PathBuf>,
    /// Keep the store in a temporary folder without syncs; everything is lost at the end
    #[arg(long)]
    pub in_memory: bool,
    /// Load the sample into an empty store, and print what to try
    #[arg(long)]
    pub sample: bool,
    /// Allow an address that other machines reach without TLS, or without authentication
    #[arg(long)]
    pub insecure_listen: bool,
    /// Let the clock move the registry's day by more than 40 days at once, as after a long rest
    #[arg(long)]
    pub accept_day_jump: bool,
    /// Drop history that is older than so many days, at least 3, each time the registry's day moves, on all replicas; what
    /// stands is kept, however old. Say the same on each: the fewest days win [default: 0, everything is kept]
    #[arg(long, value_name = "DAYS")]
    pub retain_days: Option<u32>,
    /// Drop history but for so many of the last revisions, likewise, and never of the last 3 days. With --retain-days what
    /// either wants kept is [default: 0, as --retain-days says]
    #[arg(long, value_name = "REVISIONS")]
    pub retain_revisions: Option<u64>,
    /// What to log, such as `info` or `attache=debug,tonic=warn`
    #[arg(long, env = "ATTACHE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How to write the log [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Who collects traces.
    #[command(flatten)]
    pub otlp: OtlpArgs,
    /// With which certificate.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalArgs,
    /// How often one of the replicas puts a snapshot of its store beside the journal, from which new replicas begin; 0 is
    /// never [default: 21600, six hours]
    #[arg(long, value_name = "SECONDS")]
    pub journal_snapshot_seconds: Option<u64>,
}

/// Arguments of `attache doctor`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "It takes the arguments of `attache serve`, and changes nothing. A fault keeps a server from \
starting, or from doing what it is set up for; a warning is probably not meant.

Exit codes: 0 no fault, 1 a fault, 64 wrong command line.")]
pub struct DoctorArgs {
    /// What would be served.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// How to print: table (a line for each finding), json or ndjson.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where the server's certificate is.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsArgs {
    /// The server's certificate and those that lead to a root (PEM); read again when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The authorities whose clients' certificates are taken (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
}

/// Who collects traces, in a build that has them.
#[derive(Debug, Clone, Default, Args)]
pub struct OtlpArgs {
    /// Where to send traces (OTLP over gRPC), such as http://127.0.0.1:4317; `none` for nowhere [default: what
    /// OTEL_EXPORTER_OTLP_ENDPOINT says]
    #[arg(long, env = "ATTACHE_OTLP", hide_env_values = true, value_name = "URL")]
    pub otlp: Option<String>,
    /// How many of the traces that begin here to keep, 0 to 1 [default: 0.1]; of others the caller says
    #[arg(long, value_name = "RATIO")]
    pub otlp_ratio: Option<f64>,
}

/// Where the log of filings is kept.
#[derive(Debug, Clone, Default, Args)]
pub struct JournalArgs {
    /// Where the log of filings is kept: `embedded`, or the NATS servers whose stream replicas share, such as
    /// `nats://a:4222,nats://b:4222,nats://c:4222` [default: embedded]
    #[arg(long, env = "ATTACHE_JOURNAL", hide_env_values = true, value_name = "JOURNAL")]
    pub journal: Option<Journal>,
    /// Name of the stream [default: ATTACHE]
    #[arg(long, value_name = "NAME")]
    pub journal_stream: Option<String>,
    /// Monitoring endpoint of a server of the journal, such as `http://a:8222`: it says whether what is acknowledged is
    /// synced; one for each server
    #[arg(long, env = "ATTACHE_JOURNAL_MONITOR", hide_env_values = true, value_name = "URL", value_delimiter = ',')]
    pub journal_monitor: Vec<String>,
    /// Copies of each batch if the stream is made now, 1 to 5 [default: 3]
    #[arg(long, value_name = "N")]
    pub journal_replicas: Option<usize>,
    /// Accept a stream with fewer than three copies, or servers that sync late or do not say
    #[arg(long)]
    pub accept_lax_journal: bool,
    /// Credentials for the journal's servers, as `nsc` writes them (a user and password, or a token, stand in their addresses)
    #[arg(long, value_name = "FILE")]
    pub journal_credentials: Option<PathBuf>,
    /// Authorities to believe the certificates of the journal's servers by (PEM) [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub journal_ca: Option<PathBuf>,
    /// Certificate to show the journal's servers (PEM)
    #[arg(long, value_name = "FILE")]
    pub journal_certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub journal_key: Option<PathBuf>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Journal {
    /// In the store's own directory.
    Embedded,
    /// On a stream of these NATS servers.
    Nats(Vec<String>),
}

impl FromStr for Journal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        // Whoever says the scheme once means all of them.
        let servers = text.split(',').map(str::trim).filter(|s| !s.is_empty());
        let servers: Vec<String> =
            servers.map(|s| if s.contains("://") { s.to_owned() } else { format!("nats://{s}") }).collect();
        let known = |s: &String| s.starts_with("nats://") || s.starts_with("tls://");
        if !text.contains("://") || servers.is_empty() || !servers.iter().all(known) {
            return Err("neither embedded nor addresses such as nats://host:4222,nats://other:4222".to_owned());
        }
        Ok(Self::Nats(servers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_embedded_or_servers() {
        let servers = |text: &str| match text.parse::<Journal>() {
            Ok(Journal::Nats(servers)) => servers,
            other => panic!("{other:?}"),
        };
        assert_eq!("embedded".parse(), Ok(Journal::Embedded));
        assert_eq!(servers("nats://a:4222,b:4222, nats://c:4222"), ["nats://a:4222", "nats://b:4222", "nats://c:4222"]);
        for wrong in ["", "embeded", "a:4222", "http://a:8222", "nats://a,http://b"] {
            assert!(wrong.parse::<Journal>().is_err(), "{wrong}");
        }
    }
}
