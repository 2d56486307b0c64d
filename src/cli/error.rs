//! What a command can end with: exit codes, and what is printed about a refusal.

use std::{error::Error as _, fmt::Write as _, io, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt as _};

use crate::domain::error::chain;

/// Done.
pub const EXIT_OK: u8 = 0;
/// The server refused, or answered with an error that waiting does not cure.
pub const EXIT_REFUSED: u8 = 1;
/// There is no such record, report, source or cursor.
pub const EXIT_NOT_FOUND: u8 = 2;
/// Not reachable, not ready or of unknown outcome: the same command may be run again.
pub const EXIT_UNAVAILABLE: u8 = 3;
/// `verify` found that a server breaks a guarantee.
pub const EXIT_FAULT: u8 = 4;
/// The command line or a local file is wrong.
pub const EXIT_USAGE: u8 = 64;

/// Why a command failed. Its text is for standard error and may have several lines.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A flag, an argument or a local file is wrong.
    #[error("{0}")]
    Usage(String),
    /// No connection.
    #[error("cannot reach {server}: {cause}\n  {}", to_try(.cause))]
    Unreachable {
        /// Where it was tried.
        server: String,
        /// What the transport says, from the outside in.
        cause: String,
    },
    /// The server answered with an error.
    #[error("{}", describe(.0))]
    Refused(Box<Status>),
    /// Some service does not serve.
    #[error("not serving: {0}")]
    Unhealthy(String),
    /// The server's answer breaks the contract.
    #[error("the server's answer makes no sense: {0}")]
    Broken(&'static str),
    /// Rows of an import were refused; the others are taken.
    #[error("{refused} of {rows} rows were refused; the others were taken")]
    RowsRefused {
        /// How many.
        refused: usize,
        /// Of how many.
        rows: usize,
    },
    /// Calls of a measurement failed; what was measured is printed.
    #[error("{failed} calls failed; what they were told stands above")]
    CallsFailed {
        /// How many.
        failed: u64,
    },
    /// `verify` found faults, which are printed.
    #[error("broken guarantees: {broken}; the evidence stands above")]
    GuaranteesBroken {
        /// How many.
        broken: usize,
    },
    /// Ctrl-C ended what should have been finished.
    #[error("interrupted")]
    Interrupted,
    /// Standard output or a file cannot be written.
    #[error("cannot write: {0}")]
    Output(io::Error),
    /// The reader of the output has gone (`| head`); nothing to complain about.
    #[error("the output was closed")]
    Closed,
}

impl CliError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Closed => EXIT_OK,
            Self::Usage(_) => EXIT_USAGE,
            Self::GuaranteesBroken { .. } => EXIT_FAULT,
            Self::Unreachable { .. } | Self::Unhealthy(_) => EXIT_UNAVAILABLE,
            Self::Broken(_)
            | Self::Output(_)
            | Self::RowsRefused { .. }
            | Self::CallsFailed { .. }
            | Self::Interrupted => EXIT_REFUSED,
            Self::Refused(status) if is_retryable(status) => EXIT_UNAVAILABLE,
            Self::Refused(status) if status.code() == Code::NotFound => EXIT_NOT_FOUND,
            Self::Refused(_) => EXIT_REFUSED,
        }
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Output(error),
        }
    }
}

/// What to do if there is no connection, by what the transport says.
fn to_try(cause: &str) -> &'static str {
    if cause.contains("UnknownIssuer") {
        "nobody who is believed here issued its certificate: give its authority with --ca (ATTACHE_CA)"
    } else if is_of_tls(cause) {
        TRY_TLS
    } else {
        "is `attache serve` running there? (--server or ATTACHE_SERVER says where)"
    }
}

const TRY_TLS: &str = "if the server speaks TLS, say https://… (--server or ATTACHE_SERVER)";

/// Whether an error looks like that of a plain connection to who speaks TLS: its alert is no frame, and it hangs up.
fn is_of_tls(words: &str) -> bool {
    ["frame with invalid size", "operation was canceled"].iter().any(|sign| words.contains(sign))
}

/// Whether the same request may succeed later: nothing happened, or its outcome is unknown.
#[must_use]
pub fn is_retryable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => true,
        // A connection that broke under a request is reported by the transport, not by the server.
        Code::Unknown | Code::Cancelled => reason(status) == "OUTCOME_UNKNOWN" || is_local(status),
        _ => false,
    }
}

/// The reason's word from the catalogue, or an empty string.
#[must_use]
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// How long the server advises to wait.
#[must_use]
pub fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

fn is_local(status: &Status) -> bool {
    status.source().is_some()
}

/// What is at the bottom of an error of the transport, in short: each that wraps it says its own, and TLS where to read on.
fn root(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let words = cause.to_string();
    words.split(": https://").next().unwrap_or_default().to_owned()
}

fn describe(status: &Status) -> String {
    let info = status.get_details_error_info();
    let word = info.as_ref().map_or_else(|| format!("{:?}", status.code()), |info| info.reason.clone());
    let violations = violations(status);
    let mut text = match violations.first() {
        // The server's message repeats the first violations.
        Some((field, _)) if status.message().starts_with(field) => format!("{word}: the request is wrong here:"),
        _ if is_local(status) => format!("the connection to the server broke: {}", root(status)),
        _ => format!("{word}: {}", status.message()),
    };
    for (field, description) in &violations {
        let field = typed(field);
        let _ = write!(text, "\n  {field}: {description}");
    }
    for line in details(status, info.as_ref()) {
        let _ = write!(text, "\n  {line}");
    }
    text
}

/// What was typed that a field of a request was made of, where it has another name.
fn typed(field: &str) -> &str {
    match field {
        "keep" | "after_token" | "since" | "from_revision" => "--before",
        _ => field,
    }
}

fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_details_bad_request();
    let listed = details.map(|bad| bad.field_violations).unwrap_or_default();
    listed.into_iter().map(|v| (v.field, v.description)).collect()
}

fn details(status: &Status, info: Option<&ErrorInfo>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(resource) = status.get_details_resource_info() {
        lines.push(format!("resource: {}", resource.resource_name));
    }
    if let Some(info) = info {
        let mut more: Vec<_> = info.metadata.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        more.sort();
        lines.append(&mut more);
    }
    if let Some(delay) = retry_delay(status) {
        lines.push(format!("try again after {delay:?}"));
    }
    lines.extend(info.and_then(|info| advice(&info.reason, status)).map(str::to_owned));
    if is_local(status) && is_of_tls(&chain(status)) {
        lines.push(TRY_TLS.to_owned());
    }
    lines
}

/// What to do on the command line, where the reason alone does not say it.
fn advice(reason: &str, status: &Status) -> Option<&'static str> {
    let resource = status.get_details_resource_info().map(|info| info.resource_name).unwrap_or_default();
    let violations = violations(status);
    let of_lookup = violations.iter().any(|(field, _)| field.starts_with("as_of"));
    Some(match reason {
        "RECORD_NOT_FOUND" if resource.starts_with("cursors/") || !resource.contains('/') => {
            "no position is kept under this name yet: `attache cursor commit NAME TOKEN` keeps one"
        }
        "RECORD_NOT_FOUND" if resource.starts_with("sources/") => "`attache list sources` shows which there are",
        "HISTORY_TRIMMED" if of_lookup => {
            "--known-at asks what the registry knew then, and it knows nothing before its log began (`attache log`); \
             what was so in the world is asked for with --valid-at, --since and --until"
        }
        "RECORD_RETRACTED" => {
            "its past stays readable: `--known-at` the last token, `attache history`, `attache reports`"
        }
        "LOG_REPLACED" => "the log is another one now: start again with `--from snapshot`",
        "HISTORY_TRIMMED" => "start with `--from oldest`, or with `--from snapshot`",
        "CREDENTIAL_MISSING" => {
            "--token-file, or ATTACHE_TOKEN in the environment, shows a token; --certificate and --key a certificate"
        }
        "OUTCOME_UNKNOWN" => "it may have been filed: repeat with the same `--request-id`",
        "REQUEST_ID_REUSED" => "take another `--request-id`, or repeat the very same content",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::{Error, Reason, Violation};

    fn exit(reason: Reason) -> u8 {
        CliError::from(Status::from(Error::new(reason, "because"))).exit_code()
    }

    #[test]
    fn exit_codes_follow_the_catalogue() {
        assert_eq!(exit(Reason::FieldInvalid), EXIT_REFUSED);
        assert_eq!(exit(Reason::EtagMismatch), EXIT_REFUSED);
        assert_eq!(exit(Reason::RecordNotFound), EXIT_NOT_FOUND);
        assert_eq!(exit(Reason::RecordRetracted), EXIT_NOT_FOUND);
        assert_eq!(exit(Reason::ReplicaBehind), EXIT_UNAVAILABLE);
        assert_eq!(exit(Reason::Draining), EXIT_UNAVAILABLE);
        assert_eq!(exit(Reason::Deadline), EXIT_UNAVAILABLE);
        assert_eq!(exit(Reason::OutcomeUnknown), EXIT_UNAVAILABLE);
        assert_eq!(exit(Reason::Internal), EXIT_REFUSED);
    }

    #[test]
    fn exit_codes_of_local_failures() {
        let unreachable = CliError::Unreachable { server: "http://x".into(), cause: "refused".into() };
        assert_eq!(unreachable.exit_code(), EXIT_UNAVAILABLE);
        assert_eq!(CliError::Usage("no".into()).exit_code(), EXIT_USAGE);
        assert_eq!(CliError::GuaranteesBroken { broken: 1 }.exit_code(), EXIT_FAULT);
        assert_eq!(CliError::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit_code(), EXIT_OK);
        assert_eq!(CliError::from(Status::unknown("no reason given")).exit_code(), EXIT_REFUSED);
    }

    #[test]
    fn a_refusal_lists_every_violation_on_its_own_line() {
        let violations = vec![
            Violation { field: "reports[0].record".into(), description: "is required".into() },
            Violation { field: "reports[1].visit.start.edtf".into(), description: "is not a date".into() },
        ];
        let error = CliError::from(Status::from(Error::violations(Reason::FieldInvalid, violations)));
        let text = error.to_string();
        assert!(text.starts_with("FIELD_INVALID: "), "{text}");
        assert!(text.contains("\n  reports[0].record: is required"), "{text}");
        assert!(text.contains("\n  reports[1].visit.start.edtf: is not a date"), "{text}");
    }

    #[test]
    fn a_refusal_names_the_resource_and_when_to_retry() {
        let error = Error::not_found("visits/x").with_retry(Duration::from_secs(2)).with("last_token", "abc");
        let text = CliError::from(Status::from(error)).to_string();
        assert!(text.contains("resource: visits/x"), "{text}");
        assert!(text.contains("last_token: abc"), "{text}");
        assert!(text.contains("try again after 2s"), "{text}");
    }

    #[test]
    fn advice_fits_what_was_asked_for() {
        let text = |error: Error| CliError::from(Status::from(error)).to_string();
        let cursor = text(Error::not_found("cursors/desk"));
        assert!(cursor.contains("attache cursor commit"), "{cursor}");
        let source = text(Error::not_found("sources/x"));
        assert!(source.contains("attache list sources"), "{source}");
        let visit = text(Error::not_found("visits/x"));
        assert!(!visit.contains("cursor") && !visit.contains("list sources"), "{visit}");
        let lookup = text(Error::field(Reason::HistoryTrimmed, "as_of.time", "is before the log began"));
        assert!(lookup.contains("--known-at") && lookup.contains("--valid-at"), "{lookup}");
        let watch = text(Error::new(Reason::HistoryTrimmed, "the start is gone"));
        assert!(watch.contains("--from snapshot") && !watch.contains("--known-at"), "{watch}");
        let trim = text(Error::field(Reason::FieldInvalid, "keep", "is too young"));
        assert!(trim.contains("\n  --before: is too young") && !trim.contains("keep"), "{trim}");
        let other = text(Error::field(Reason::FieldInvalid, "reports", "is required"));
        assert!(!other.contains("--before"), "{other}");
        let credential = text(Error::new(Reason::CredentialMissing, "no credential"));
        assert!(credential.contains("--token-file") && credential.contains("ATTACHE_TOKEN"), "{credential}");
    }

    #[test]
    fn a_connection_that_broke_is_said_to_be_and_not_in_the_words_of_every_layer() {
        let words = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/unexpected-eof";
        let eof = io::Error::new(io::ErrorKind::UnexpectedEof, words);
        let text = CliError::from(Status::from_error(Box::new(eof))).to_string();
        let said = "the connection to the server broke: peer closed connection without sending TLS close_notify";
        assert_eq!(text, said);
        let told = CliError::from(Status::unknown("because")).to_string();
        assert!(told.contains("because") && !told.contains("connection"), "a server that answers: {told}");
    }

    #[test]
    fn a_connection_that_fails_says_what_to_try() {
        let text = |cause: &str| CliError::Unreachable { server: "x".into(), cause: cause.into() }.to_string();
        assert!(text("tcp connect error: refused").contains("attache serve"));
        let stranger = text("transport error: invalid peer certificate: UnknownIssuer");
        assert!(stranger.contains("--ca") && !stranger.contains("attache serve"), "{stranger}");
        assert!(text("connection error: frame with invalid size").contains("https://"));
        let local = |words: &str| CliError::from(Status::from_error(words.into())).to_string();
        assert!(local("frame with invalid size").contains("https://"), "{}", local("frame with invalid size"));
        assert!(!local("broken pipe").contains("https://"));
        let told = CliError::from(Status::internal("frame with invalid size")).to_string();
        assert!(!told.contains("https://"), "a server that answers was understood: {told}");
    }
}
