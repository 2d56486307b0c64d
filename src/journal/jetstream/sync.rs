//! Whether the servers sync what they acknowledge: only their monitoring endpoints say.

use std::{collections::BTreeSet, time::Duration};

use async_nats::jetstream::stream::{Info, PersistenceMode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Deserialize;

use super::{
    super::{Durable, Trouble},
    JetStream,
    stream::Settings,
};
use crate::{
    limits::{JOURNAL_READ_TIMEOUT, JOURNAL_RETRY_PAUSE, JOURNAL_SYNC_LOOK, MAX_MONITOR_BYTES},
    url,
};

/// What `/jsz?config=1` says, as far as it is asked for.
#[derive(Debug, Deserialize)]
pub struct Jsz {
    /// Which server says so.
    pub server_id: String,
    /// How it keeps streams.
    pub config: JszConfig,
}

/// How a server keeps streams.
#[derive(Debug, Deserialize)]
pub struct JszConfig {
    /// Nanoseconds between two syncs of a file that was written to.
    #[serde(default)]
    pub sync_interval: u64,
    /// Every write is synced before it is acknowledged.
    #[serde(default)]
    pub sync_always: bool,
}

impl Jsz {
    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn read(answer: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(answer).map_err(|e| e.to_string())
    }
}

/// Asks until it is known what an acknowledged batch survives, and then now and again: a server may be started anew with
/// another configuration.
pub(super) async fn run(journal: &JetStream) {
    let mut told = None;
    loop {
        let known = journal.assured();
        match known {
            // Less than that is not to be had.
            Ok(Durable::Copied) => return,
            Ok(_) => tokio::time::sleep(JOURNAL_SYNC_LOOK).await,
            Err(_) => tokio::time::sleep(JOURNAL_RETRY_PAUSE).await,
        }
        // Without the stream the follower has more to say.
        if journal.opened().is_err() {
            continue;
        }
        match (known, journal.assure().await) {
            (Ok(_), Ok(())) => {}
            (Err(_), Ok(())) => {
                told = None;
                tracing::info!("the journal's servers say what an acknowledged batch survives");
            }
            // It is said to be less than what it was: that may be mended where it was done.
            (Ok(_), Err(lax @ Trouble::Lax(_))) => {
                tracing::error!(error = %lax, "filings are refused until every server says again that it syncs");
                journal.assured_of(Err(lax));
            }
            (Err(Trouble::Lax(_)), Err(Trouble::Lax(_))) => {}
            (Err(_), Err(lax @ Trouble::Lax(_))) => {
                journal.inbox.trouble(lax);
                return;
            }
            // A server that is down does not unsay what it said.
            (Ok(_), Err(_)) => {}
            // What stays so is said once.
            (Err(_), Err(error)) if told.as_ref() != Some(&error) => {
                tracing::warn!(%error, "filings are refused until every server says whether it syncs");
                told = Some(error);
            }
            (Err(_), Err(_)) => {}
        }
    }
}

/// What an acknowledged batch survives.
///
/// # Errors
///
/// [`Trouble::Lax`] if that is less than the loss of power everywhere, and the settings do not accept it;
/// [`Trouble::Unreachable`] if a server does not say: it may later.
pub(super) async fn durable(settings: &Settings, info: &Info) -> Result<Durable, Trouble> {
    judged(settings, why_unsynced(settings, info).await)
}

/// The same of a stream that is yet to be made.
///
/// # Errors
///
/// As of [`durable`].
pub(super) async fn would_be_durable(settings: &Settings) -> Result<Durable, Trouble> {
    judged(settings, why_servers_unsynced(settings, settings.replicas).await)
}

fn judged(settings: &Settings, unsynced: Option<Trouble>) -> Result<Durable, Trouble> {
    match unsynced {
        None => Ok(Durable::Synced),
        Some(Trouble::Lax(why) | Trouble::Unreachable(why)) if settings.accept_lax => {
            tracing::warn!("{why}: what is acknowledged may not survive a loss of power of a majority");
            Ok(Durable::Copied)
        }
        Some(trouble) => Err(trouble),
    }
}

async fn why_unsynced(settings: &Settings, info: &Info) -> Option<Trouble> {
    let lax = |why: String| Some(Trouble::Lax(why));
    if info.config.persist_mode == Some(PersistenceMode::Async) {
        return lax(format!("the stream {} is written after it is acknowledged (persist_mode async)", settings.stream));
    }
    why_servers_unsynced(settings, info.config.num_replicas).await
}

/// The servers' part in it: so many must say that they sync.
async fn why_servers_unsynced(settings: &Settings, needed: usize) -> Option<Trouble> {
    let lax = |why: String| Some(Trouble::Lax(why));
    if settings.monitors.is_empty() {
        return lax("no monitoring endpoint says whether the journal's servers sync (--journal-monitor)".to_owned());
    }
    let (mut servers, mut silent) = (BTreeSet::new(), None);
    for monitor in &settings.monitors {
        let shown = url::shown(monitor);
        match ask(monitor).await {
            // Another may say that it does not.
            Err(why) => silent = Some(format!("{shown} does not say whether its server syncs: {why}")),
            Ok(told) if told.config.sync_always => {
                servers.insert(told.server_id);
            }
            Ok(told) => {
                let interval = Duration::from_nanos(told.config.sync_interval);
                return lax(format!("the server of {shown} syncs every {interval:?}, not always"));
            }
        }
    }
    if let Some(why) = silent {
        return Some(Trouble::Unreachable(why));
    }
    let told = servers.len();
    if told < needed {
        return lax(format!("{told} of {needed} servers say that they sync; name every one's --journal-monitor"));
    }
    None
}

async fn ask(monitor: &str) -> Result<Jsz, String> {
    let uri = format!("{}/jsz?config=1", monitor.trim_end_matches('/'));
    let uri = uri.parse().map_err(|e| format!("that is no address: {e}"))?;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = async {
        let response = client.get(uri).await.map_err(|e| e.to_string())?;
        let body = Limited::new(response.into_body(), MAX_MONITOR_BYTES).collect().await.map_err(|e| e.to_string())?;
        Jsz::read(&body.to_bytes())
    };
    tokio::time::timeout(JOURNAL_READ_TIMEOUT, answer).await.map_err(|_| "no answer in time".to_owned())?
}
