//! The configuration: flags over environment over one TOML file over defaults.

mod journal;
mod otlp;
mod security;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

pub use self::{
    journal::stream,
    otlp::Otlp,
    security::{AccessRules, JwtRules, Security, TlsFiles},
};
use crate::{
    cli::serve_args::{self, ServeArgs},
    feed,
    journal::jetstream,
    limits::{self, SNAPSHOT_INTERVAL},
    url,
};

/// Where the server listens if nobody says.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:50051";
/// Where numbers and readiness are told if nobody says, and nobody else listens there.
pub const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// What is logged if nobody says.
pub const DEFAULT_LOG: &str = "info,rusqlite_migration=warn";

/// In place of an address to bind that is none.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A configuration that cannot be used; the exit code is 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the store lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataDir {
    /// In this folder.
    At(PathBuf),
    /// In a temporary folder that goes with the server.
    Temporary,
}

/// What the server is to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to bind.
    pub listen: SocketAddr,
    /// Whether an address that others reach is accepted without TLS, or without authentication.
    pub insecure_listen: bool,
    /// Where the store lies.
    pub data_dir: DataDir,
    /// Whether commits are synced; a store in memory is not.
    pub in_memory: bool,
    /// Whether the sample is loaded into an empty store.
    pub sample: bool,
    /// Whether the registry's day may be moved by any number of days at once.
    pub accept_day_jump: bool,
    /// How many days of history stay, at least [`limits::MIN_RETAIN_DAYS`]; `None` is all.
    pub retain_days: Option<u32>,
    /// How many of the last revisions stay, whatever their age; `None` is as many as the days say, or all.
    pub retain_revisions: Option<u64>,
    /// What to log.
    pub log: String,
    /// How to log.
    pub log_format: LogFormat,
    /// How long a drain waits.
    pub drain: Duration,
    /// The allowance of the store's file in bytes; `None` is the disk's.
    pub max_store_bytes: Option<u64>,
    /// Calls with one answer that may be under way.
    pub max_calls: usize,
    /// Streams of health and reflection that may be open.
    pub max_public_streams: usize,
    /// Imports that may be under way. (Only tests say.)
    pub max_imports: usize,
    /// How long the message of a request may take to come as a whole.
    pub message_timeout: Duration,
    /// The feed's capacities.
    pub feed: feed::Settings,
    /// The stream that replicas share; `None` is the store's own log.
    pub journal: Option<jetstream::Settings>,
    /// How often replicas put a snapshot of a store beside the journal; `None` is never.
    pub snapshots: Option<Duration>,
    /// TLS, and who may do what.
    pub security: Security,
    /// After how long a connection is told to go, a tenth more or less; `None` is never.
    pub max_connection_age: Option<Duration>,
    /// How long the requests of a connection that was told to go may take before it is cut. (Only tests say.)
    pub goodbye: Duration,
    /// Connections that may be open. (Only tests say.)
    pub max_connections: usize,
    /// How often a quiet connection is asked whether it still lives. (Only tests say.)
    pub keep_alive: Duration,
    /// How long it may take to answer. (Only tests say.)
    pub keep_alive_timeout: Duration,
    /// Where numbers and readiness are told.
    pub admin: AdminPort,
    /// Who collects traces; `None` is nobody.
    pub otlp: Option<Otlp>,
}

/// Where numbers and readiness are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminPort {
    /// Nowhere.
    None,
    /// At [`DEFAULT_ADMIN`], if it is free.
    Usual,
    /// At this address.
    At(SocketAddr),
}

/// The file, every field as absent as it likes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    data_dir: Option<PathBuf>,
    in_memory: Option<bool>,
    sample: Option<bool>,
    insecure_listen: Option<bool>,
    accept_day_jump: Option<bool>,
    retain_days: Option<u32>,
    retain_revisions: Option<u64>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    drain_seconds: Option<u64>,
    journal: Option<String>,
    journal_stream: Option<String>,
    journal_monitors: Option<Vec<String>>,
    journal_replicas: Option<usize>,
    accept_lax_journal: Option<bool>,
    journal_credentials: Option<PathBuf>,
    journal_ca: Option<PathBuf>,
    journal_certificate: Option<PathBuf>,
    journal_key: Option<PathBuf>,
    journal_snapshot_seconds: Option<u64>,
    max_connection_age_seconds: Option<u64>,
    admin: Option<String>,
    otlp: Option<String>,
    otlp_ratio: Option<f64>,
    reflection: Option<bool>,
    tls: Option<security::FileTls>,
    access: Option<security::FileAccess>,
    #[serde(default)]
    limits: FileLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLimits {
    store_bytes: Option<u64>,
    ring_bytes: Option<usize>,
    replay_page_revisions: Option<usize>,
    calls: Option<usize>,
    public_streams: Option<usize>,
    message_seconds: Option<u64>,
    watches: Option<usize>,
    snapshots: Option<usize>,
    stall_seconds: Option<u64>,
}

/// A part of the configuration, right or wrong by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The stream that replicas share.
    Journal,
    /// The files of TLS.
    Tls,
    /// Who may do what.
    Access,
    /// The address to bind.
    Listen,
    /// Whether others may reach that address.
    Reach,
    /// Where numbers and readiness are told.
    Admin,
    /// Who collects traces.
    Otlp,
    /// How much history stays.
    Retain,
    /// Where the store lies.
    DataDir,
}

/// What is wrong with a configuration, by part, in the order in which it is read.
#[derive(Debug, Default)]
pub struct Faults(Vec<(Part, ConfigError)>);

impl Faults {
    /// Whether a part is wrong.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        self.0.iter().any(|(wrong, _)| *wrong == part)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (Part, &ConfigError)> {
        self.0.iter().map(|(part, why)| (*part, why))
    }

    /// What a part was made to, if it was.
    fn noted<T>(&mut self, part: Part, made: Result<T, ConfigError>) -> Option<T> {
        made.map_err(|why| self.0.push((part, why))).ok()
    }
}

impl Config {
    /// The configuration that flags and file make.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, an address is none, or one that others reach was not allowed.
    pub fn load(args: &ServeArgs) -> Result<Self, ConfigError> {
        let (config, faults) = Self::examine(args)?;
        faults.0.into_iter().next().map_or(Ok(config), |(_, first)| Err(first))
    }

    /// The same with all that is wrong, where [`Config::load`] ends with the first of it. In place of a part that is
    /// wrong stands one that does nothing: whoever goes by the others asks which it is.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not of this form: then nothing is known of any part.
    pub fn examine(args: &ServeArgs) -> Result<(Self, Faults), ConfigError> {
        let mut file = args.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let mut faults = Faults::default();
        let journal = faults.noted(Part::Journal, journal::journal(&args.journal, &file, beside_of(args))).flatten();
        let security = security(args, &mut file, &mut faults);
        let text = args.listen.clone().or(file.listen).unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
        let insecure = args.insecure_listen || file.insecure_listen.unwrap_or(false);
        let listen = faults.noted(Part::Listen, parse_listen(&text)).unwrap_or(NOWHERE);
        // Whether others may reach it is known only of what is right so far.
        if ![Part::Listen, Part::Tls, Part::Access].into_iter().any(|part| faults.has(part)) {
            faults.noted(Part::Reach, check_address(listen, insecure, &security));
        }
        let in_memory = args.in_memory || (args.data_dir.is_none() && file.in_memory.unwrap_or(false));
        let sample = args.sample || file.sample.unwrap_or(false);
        let folder = args.data_dir.clone().or(file.data_dir);
        let log_format = match args.log_format {
            Some(serve_args::LogFormat::Json) => LogFormat::Json,
            Some(serve_args::LogFormat::Text) => LogFormat::Text,
            None => file.log_format.unwrap_or_default(),
        };
        let admin = faults.noted(Part::Admin, admin(args.admin.as_deref().or(file.admin.as_deref())));
        let otlp = faults.noted(Part::Otlp, otlp::otlp(&args.otlp, file.otlp, file.otlp_ratio)).flatten();
        let retain_days = faults.noted(Part::Retain, retain_days(args.retain_days.or(file.retain_days))).flatten();
        let data_dir = faults.noted(Part::DataDir, place(folder, in_memory, sample));
        let defaults = feed::Settings::default();
        let config = Self {
            listen,
            insecure_listen: insecure,
            journal,
            security,
            admin: admin.unwrap_or(AdminPort::None),
            otlp,
            max_connection_age: file.max_connection_age_seconds.filter(|s| *s > 0).map(Duration::from_secs),
            goodbye: limits::GOODBYE,
            max_connections: limits::MAX_CONNECTIONS,
            keep_alive: limits::KEEP_ALIVE,
            keep_alive_timeout: limits::KEEP_ALIVE_TIMEOUT,
            snapshots: snapshots(args.journal_snapshot_seconds.or(file.journal_snapshot_seconds)),
            data_dir: data_dir.unwrap_or(DataDir::Temporary),
            in_memory,
            sample,
            accept_day_jump: args.accept_day_jump || file.accept_day_jump.unwrap_or(false),
            retain_days,
            retain_revisions: args.retain_revisions.or(file.retain_revisions).filter(|revisions| *revisions > 0),
            log: args.log.clone().or(file.log).unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            log_format,
            drain: file.drain_seconds.map_or(limits::DRAIN_DEADLINE, Duration::from_secs),
            max_store_bytes: file.limits.store_bytes,
            max_calls: file.limits.calls.unwrap_or(limits::MAX_CALLS_IN_FLIGHT).max(1),
            max_public_streams: file.limits.public_streams.unwrap_or(limits::MAX_PUBLIC_STREAMS).max(1),
            max_imports: limits::MAX_IMPORTS,
            message_timeout: message_timeout(file.limits.message_seconds),
            feed: feed::Settings {
                ring_bytes: file.limits.ring_bytes.unwrap_or(defaults.ring_bytes),
                page_revisions: file.limits.replay_page_revisions.unwrap_or(defaults.page_revisions).max(1),
                max_watches: file.limits.watches.unwrap_or(defaults.max_watches),
                max_snapshots: file.limits.snapshots.unwrap_or(defaults.max_snapshots),
                stall_timeout: file.limits.stall_seconds.map_or(defaults.stall_timeout, Duration::from_secs),
            },
        };
        Ok((config, faults))
    }

    /// Checks that a server with this configuration may listen on an address.
    ///
    /// # Errors
    ///
    /// If others reach it, and there is not both TLS and access, and nobody said that this is meant.
    pub fn check_address(&self, address: SocketAddr) -> Result<(), ConfigError> {
        check_address(address, self.insecure_listen, &self.security)
    }

    /// What a configuration file says of access now; `None` is nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or makes no sense.
    pub fn access_of(file: &Path) -> Result<Option<AccessRules>, ConfigError> {
        read_file(file)?.access.map(|table| security::access(table, beside(file))).transpose()
    }

    /// The keys of a configuration file with what they say, to see which changed; `None` if it cannot be read.
    #[must_use]
    pub fn keys_of(file: &Path) -> Option<BTreeMap<String, String>> {
        let text = std::fs::read_to_string(file).ok()?;
        let table: toml::Table = toml::from_str(&text).ok()?;
        Some(table.into_iter().map(|(name, value)| (name, value.to_string())).collect())
    }
}

fn security(args: &ServeArgs, file: &mut File, faults: &mut Faults) -> Security {
    let beside = beside_of(args);
    let access = file.access.take().map(|table| security::access(table, beside)).transpose();
    Security {
        tls: faults.noted(Part::Tls, security::tls(&args.tls, file.tls.take(), beside)).flatten(),
        access: faults.noted(Part::Access, access).flatten(),
        reflection: file.reflection.unwrap_or(true),
        file: args.config.clone(),
    }
}

fn admin(said: Option<&str>) -> Result<AdminPort, ConfigError> {
    match said {
        None => Ok(AdminPort::Usual),
        Some("none") => Ok(AdminPort::None),
        Some(text) => text.parse().map(AdminPort::At).map_err(|_| {
            ConfigError(format!("admin: {text:?} is neither an address, such as {DEFAULT_ADMIN}, nor none"))
        }),
    }
}

/// The folder of a file, in which lies what it names.
fn beside(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// Where the files lie that a configuration names.
fn beside_of(args: &ServeArgs) -> &Path {
    args.config.as_deref().map_or(Path::new(""), beside)
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|e| ConfigError(format!("{}: {e}", path.display())))?;
    toml::from_str(&text).map_err(|e| ConfigError(format!("{}: {}", path.display(), url::shown_fault(&text, &e))))
}

/// At least a second: what is sent takes some time.
fn message_timeout(seconds: Option<u64>) -> Duration {
    seconds.map_or(limits::MESSAGE_TIMEOUT, |seconds| Duration::from_secs(seconds.max(1)))
}

/// How many, if not all.
fn retain_days(said: Option<u32>) -> Result<Option<u32>, ConfigError> {
    let least = limits::MIN_RETAIN_DAYS;
    match said {
        None | Some(0) => Ok(None),
        Some(days) if days < least => Err(ConfigError(format!(
            "retain_days: {days} is too few: what was recorded in the last 48 hours answers repeated requests; say {least} \
             or more, or 0 to keep everything"
        ))),
        Some(days) => Ok(Some(days)),
    }
}

/// How often, if at all.
fn snapshots(seconds: Option<u64>) -> Option<Duration> {
    match seconds {
        None => Some(SNAPSHOT_INTERVAL),
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds)),
    }
}

/// The folder that the flags say, else the user's.
///
/// # Errors
///
/// If there is none.
pub fn folder(asked: Option<&Path>) -> Result<PathBuf, ConfigError> {
    match place(asked.map(Path::to_owned), false, false)? {
        DataDir::At(folder) => Ok(folder),
        DataDir::Temporary => Err(ConfigError("say --data-dir".to_owned())),
    }
}

fn parse_listen(text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError(format!("{text:?} is not an address to listen on, such as {DEFAULT_LISTEN}")))
}

fn check_address(address: SocketAddr, insecure: bool, security: &Security) -> Result<(), ConfigError> {
    let (missing, say) = match (&security.tls, &security.access) {
        (Some(_), Some(_)) => return Ok(()),
        (None, Some(_)) => ("no TLS", "--tls-certificate and --tls-key"),
        (Some(_), None) => ("no authentication", "[access] in the configuration"),
        (None, None) => {
            ("no TLS and no authentication", "both --tls-certificate and --tls-key, and [access] in the configuration")
        }
    };
    if address.ip().is_loopback() || insecure {
        return Ok(());
    }
    Err(ConfigError(format!(
        "{address} is reached by other machines, and there is {missing}: say {say}, listen on a loopback address, or say \
         --insecure-listen"
    )))
}

/// The folder that was named, else a temporary one for what is not kept, else the user's.
fn place(folder: Option<PathBuf>, in_memory: bool, sample: bool) -> Result<DataDir, ConfigError> {
    match folder {
        Some(folder) if !in_memory => Ok(DataDir::At(folder)),
        _ if in_memory || sample => Ok(DataDir::Temporary),
        _ => {
            let user = directories::ProjectDirs::from("", "", "attache");
            let user = user.ok_or_else(|| ConfigError("there is no home folder: say --data-dir".to_owned()))?;
            Ok(DataDir::At(user.data_dir().to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::serve_args::TlsArgs;

    #[test]
    fn an_address_that_others_reach_is_refused_unless_it_is_said() {
        let check =
            |text: &str, insecure, security: &Security| check_address(parse_listen(text).unwrap(), insecure, security);
        let open = Security::default();
        assert!(check("127.0.0.1:0", false, &open).is_ok());
        assert!(check("[::1]:0", false, &open).is_ok());
        assert!(check("0.0.0.0:50051", false, &open).is_err());
        assert!(check("0.0.0.0:50051", true, &open).is_ok());
        let file: File = toml::from_str("[access]\n[tls]\ncertificate = \"c\"\nkey = \"k\"").unwrap();
        let access = Some(security::access(file.access.unwrap(), Path::new("")).unwrap());
        let tls = security::tls(&TlsArgs::default(), file.tls, Path::new("/etc")).unwrap();
        assert_eq!(tls.as_ref().unwrap().certificate, Path::new("/etc/c"), "it lies beside the file");
        let refusal = |security: &Security| check("0.0.0.0:50051", false, security).unwrap_err().0;
        let said = refusal(&Security { access: access.clone(), ..Security::default() });
        assert!(said.contains("no TLS: say --tls-certificate and --tls-key, listen"), "{said}");
        let said = refusal(&Security { tls: tls.clone(), ..Security::default() });
        assert!(said.contains("no authentication: say [access] in the configuration, listen"), "{said}");
        let said = refusal(&open);
        assert!(said.contains("no TLS and no authentication: say both --tls-certificate"), "{said}");
        assert!(check("0.0.0.0:50051", false, &Security { tls, access, ..Security::default() }).is_ok());
    }

    #[test]
    fn a_file_with_an_unknown_field_is_refused_by_name() {
        let error = toml::from_str::<File>("lisen = \"127.0.0.1:1\"").unwrap_err();
        assert!(error.to_string().contains("lisen"));
    }

    #[test]
    fn a_line_that_is_wrong_is_told_by_its_number_without_what_is_secret_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("attache.toml");
        for (line, named) in [
            ("journal_monitors = \"http://user:hush@a:8222\"", "http://a:8222"),
            ("jornal = \"nats://user:hush@a:4222\"", "jornal"),
            // Where the address ends is not known.
            ("journal = \"nats://user:hush hush@a:4222", ""),
            ("journal = nats://user:hush hush@a:4222", ""),
        ] {
            std::fs::write(&file, format!("sample = false\n{line}\n")).unwrap();
            let told = read_file(&file).unwrap_err().0;
            assert!(told.contains("line 2: ") && told.contains(named) && !told.contains("hush"), "{told}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_and_the_first_of_it_when_it_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("attache.toml");
        let text = "listen = \"nowhere\"\nadmin = \"everywhere\"\n[tls]\ncertificate = \"c\"\n[[access.allow]]\n\
                    who = \"desk\"\nroles = [\"reader\"]\n";
        std::fs::write(&file, text).unwrap();
        let line = ["attache", "serve", "--config", file.to_str().unwrap(), "--in-memory"];
        let crate::cli::Command::Serve(args) = crate::cli::Cli::try_parse_from(line).unwrap().command else {
            panic!("it is serve")
        };
        let (_, faults) = Config::examine(&args).unwrap();
        let parts: Vec<Part> = faults.iter().map(|(part, _)| part).collect();
        assert_eq!(parts, [Part::Tls, Part::Access, Part::Listen, Part::Admin]);
        assert!(Config::load(&args).unwrap_err().0.contains("certificate and key come together"));
    }

    #[test]
    fn history_is_kept_unless_so_many_days_are_said_and_never_fewer_than_answers_need() {
        assert_eq!(retain_days(None).unwrap(), None);
        assert_eq!(retain_days(Some(0)).unwrap(), None);
        assert_eq!(retain_days(Some(3)).unwrap(), Some(3));
        assert!(retain_days(Some(2)).unwrap_err().0.contains("retain_days"));
    }

    #[test]
    fn a_number_of_revisions_is_of_the_flag_before_the_file_and_zero_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("attache.toml");
        std::fs::write(&file, "retain_revisions = 1000\n").unwrap();
        let said = |more: &[&str]| {
            let line = ["attache", "serve", "--config", file.to_str().unwrap(), "--in-memory"];
            let parsed = crate::cli::Cli::try_parse_from([&line[..], more].concat()).unwrap();
            let crate::cli::Command::Serve(args) = parsed.command else { panic!("it is serve") };
            Config::load(&args).unwrap().retain_revisions
        };
        assert_eq!(said(&[]), Some(1000));
        assert_eq!(said(&["--retain-revisions", "20"]), Some(20));
        assert_eq!(said(&["--retain-revisions", "0"]), None, "everything is kept, whatever the file says");
    }

    #[test]
    fn what_is_not_kept_lies_in_a_temporary_folder() {
        assert_eq!(place(None, true, false).unwrap(), DataDir::Temporary);
        assert_eq!(place(None, false, true).unwrap(), DataDir::Temporary);
        assert_eq!(place(Some("/a".into()), false, true).unwrap(), DataDir::At("/a".into()));
    }
}
