//! Logs: lines of text or JSON on standard error, each with the spans it stands in, so with its request's id.

use std::{
    io::{self, IsTerminal as _},
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing_subscriber::{EnvFilter, fmt};

use crate::{config::LogFormat, limits::AUDIT};

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
    let (started, change): (_, Change) = match format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())))
        }
    };
    started.map_err(|e| format!("logging was started before: {e}"))?;
    // (Only whoever started it comes here.)
    let _ = STARTED.set((change, Mutex::new(filter.to_owned())));
    Ok(())
}

/// Checks a filter without logging by it.
///
/// # Errors
///
/// If it cannot be read.
pub fn check(filter: &str) -> Result<(), String> {
    parse(filter).map(drop)
}

/// Logs by another filter from now on.
///
/// # Errors
///
/// If it cannot be read, or logging was not started.
pub fn change(filter: &str) -> Result<(), String> {
    let (change, said) = STARTED.get().ok_or("logging was not started")?;
    change(parse(filter)?)?;
    filter.clone_into(&mut said.lock().unwrap_or_else(PoisonError::into_inner));
    tracing::info!(filter, "what is logged was changed");
    Ok(())
}

/// By what is logged now; empty if logging was not started.
#[must_use]
pub fn filter() -> String {
    STARTED.get().map(|(_, said)| said.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    // Who was refused is told whatever else is not.
    EnvFilter::try_new(format!("{filter},{AUDIT}=info")).map_err(|e| format!("log filter {filter:?}: {e}"))
}
