//! Logs: lines of text or JSON on standard error, each with the spans it stands in, so with its request's id.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::LogFormat;

/// Starts logging; `filter` is in the syntax of `tracing_subscriber`'s `EnvFilter`.
///
/// # Errors
///
/// If the filter cannot be read.
pub fn init(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|e| format!("log filter {filter:?}: {e}"))?;
    let builder =
        fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).with_target(false);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|e| format!("logging was started before: {e}"))
}
