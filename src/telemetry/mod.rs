//! Logs: lines of text or JSON on standard error, each with the spans it stands in, so with its request's id and that of
//! its trace. Traces besides, if the configuration says where to, in a build that has them.

mod fields;
#[cfg(feature = "otel")]
mod otlp;

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing_subscriber::{EnvFilter, fmt};

use self::fields::Fields;
use crate::{
    config::{Config, LogFormat},
    limits::{AUDIT, REQUESTS},
};

/// Puts another filter in force.
type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// How the filter is changed, and what it is; logging is started once in a process.
static STARTED: OnceLock<(Change, Mutex<String>)> = OnceLock::new();

/// Starts logging; `filter` is in the syntax of `tracing_subscriber`'s `EnvFilter`.
///
/// # Errors
///
/// If the filter cannot be read.
pub fn init(filter: &str, format: LogFormat) -> Result<(), String> {
    let builder = fmt()
        .with_env_filter(parse(filter)?)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .with_target(false);
    let (begun, change): (_, Change) = match format {
        LogFormat::Text => {
            let builder = builder.fmt_fields(Fields::default()).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())))
        }
    };
    begun.map_err(|e| format!("logging was started before: {e}"))?;
    started(filter, change);
    Ok(())
}

fn started(filter: &str, change: Change) {
    // (Only whoever started it comes here.)
    let _ = STARTED.set((change, Mutex::new(filter.to_owned())));
}

/// What sends traces, until it is ended; in most servers nothing.
#[derive(Debug, Default)]
#[must_use = "the last spans are sent when it is ended"]
pub struct Traces {
    #[cfg(feature = "otel")]
    sending: Option<otlp::Sending>,
}

impl Traces {
    /// Sends what is left, for a moment at most: it blocks.
    pub fn end(self) {
        #[cfg(feature = "otel")]
        if let Some(sending) = self.sending {
            sending.end();
        }
    }
}

/// Starts logging for a server, and sends traces if its configuration says where to. It wants the runtime to be there.
///
/// # Errors
///
/// If the log's filter cannot be read, or the collector's address makes no sense.
pub fn serve(config: &Config) -> Result<Traces, String> {
    #[cfg(feature = "otel")]
    if let Some(otlp) = &config.otlp {
        return Ok(Traces { sending: Some(otlp::init(config, otlp)?) });
    }
    init(&config.log, config.log_format).map(|()| Traces::default())
}

/// Checks a filter without logging by it.
///
/// # Errors
///
/// If it cannot be read.
pub fn check(filter: &str) -> Result<(), String> {
    parse(filter).map(drop)
}

/// Logs by another filter from now on, as somebody at an address wants it.
///
/// # Errors
///
/// If it cannot be read, or logging was not started.
pub fn change(filter: &str, peer: SocketAddr) -> Result<(), String> {
    let (change, said) = STARTED.get().ok_or("logging was not started")?;
    change(parse(filter)?)?;
    filter.clone_into(&mut said.lock().unwrap_or_else(PoisonError::into_inner));
    // A line that no filter leaves out: who turned the log off is to be found in it.
    tracing::info!(target: AUDIT, audit = "admitted", %peer, filter, "what is logged was changed");
    Ok(())
}

/// By what is logged now; empty if logging was not started.
#[must_use]
pub fn filter() -> String {
    STARTED.get().map(|(_, said)| said.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    // Who was refused is told whatever else is not, and so is, of every line that a request writes, of which call it is.
    let with_ours = format!("{filter},{AUDIT}=info,{REQUESTS}=info");
    EnvFilter::try_new(with_ours).map_err(|e| format!("log filter {filter:?}: {e}"))
}
