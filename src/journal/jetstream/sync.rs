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
    /// It keeps none: it has not begun to, is about to end, or has no room.
    #[serde(default)]
    pub disabled: bool,
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
    // They said that they sync, and one says otherwise since.
    let mut unsaid = false;
    loop {
        let known = journal.assured();
        let pause = if known.is_ok() || unsaid { JOURNAL_SYNC_LOOK } else { JOURNAL_RETRY_PAUSE };
        tokio::time::sleep(pause).await;
        // Without the stream the follower has more to say.
        if journal.opened().is_err() {
            continue;
        }
        let found = journal.assure().await;
        match (known, found) {
            (Ok(before), Ok(now)) if before == now => {}
            (_, Ok(now)) => {
                (told, unsaid) = (None, false);
                tracing::info!(?now, "the journal's servers say what an acknowledged batch survives");
            }
            // The stream itself does not answer: whoever follows it says so.
            (Ok(_), Err(Trouble::Unreachable(_))) => {}
            (Ok(_), Err(lax)) => {
                unsaid = true;
                tracing::error!(error = %lax, "filings are refused until every server says again that it syncs");
                // It passes when that is mended.
                journal.assured_of(Err(Trouble::Unreachable(lax.to_string())));
                told = Some(lax);
            }
            (Err(_), Err(lax @ Trouble::Lax(_))) if !unsaid => {
                journal.inbox.trouble(lax);
                return;
            }
            // What stays so is said once.
            (Err(_), Err(error)) if told.as_ref() != Some(&error) => {
                tracing::warn!(%error, "filings are refused until every server says whether it syncs");
                journal.assured_of(Err(Trouble::Unreachable(error.to_string())));
                told = Some(error);
            }
            (Err(_), Err(_)) => {}
        }
    }
}

/// What an acknowledged batch survives, for whoever knows what it survived when the servers were asked last, if they said.
///
/// # Errors
///
/// [`Trouble::Lax`] if that is less than the loss of power everywhere, and the settings do not accept it;
/// [`Trouble::Unreachable`] if a server does not say: it may later.
pub(super) async fn durable(settings: &Settings, info: &Info, known: Option<Durable>) -> Result<Durable, Trouble> {
    judged(settings, why_unsynced(settings, info).await, known)
}

/// The same of a stream that is yet to be made.
///
/// # Errors
///
/// As of [`durable`].
pub(super) async fn would_be_durable(settings: &Settings) -> Result<Durable, Trouble> {
    judged(settings, why_servers_unsynced(settings, settings.replicas).await, None)
}

fn judged(settings: &Settings, unsynced: Option<Trouble>, known: Option<Durable>) -> Result<Durable, Trouble> {
    match (unsynced, known) {
        (None, _) => Ok(Durable::Synced),
        // A server that is down does not unsay what it said, and less than copies is not to be had.
        (Some(Trouble::Unreachable(_)), Some(known)) | (Some(_), Some(known @ Durable::Copied)) => Ok(known),
        (Some(Trouble::Lax(why) | Trouble::Unreachable(why)), _) if settings.accept_lax => {
            tracing::warn!("{why}: what is acknowledged may not survive a loss of power of a majority");
            Ok(Durable::Copied)
        }
        (Some(trouble), _) => Err(trouble),
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
            // What it says of its configuration then is nothing.
            Ok(told) if told.disabled => silent = Some(format!("{shown} keeps no streams now")),
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::journal::jetstream::Access;

    /// A monitoring endpoint that gives every caller this answer: where, and what has to be done meanwhile.
    async fn monitor(answer: &'static str) -> (String, impl Future<Output = ()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answering = async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let mut question = [0; 1024];
                let _ = caller.read(&mut question).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
                let _ = caller.write_all(format!("{head}{answer}").as_bytes()).await;
            }
        };
        (address, answering)
    }

    fn settings() -> Settings {
        Settings {
            servers: Vec::new(),
            access: Access::default(),
            stream: "S".to_owned(),
            replicas: 3,
            monitors: Vec::new(),
            accept_lax: false,
            accept_sealed: false,
            may_make: false,
        }
    }

    #[test]
    fn silence_counts_as_unsynced_only_while_nothing_was_said() {
        use Durable::{Copied, Synced};
        let (strict, lenient) = (settings(), Settings { accept_lax: true, ..settings() });
        let silent = || Some(Trouble::Unreachable("nobody answers".to_owned()));
        let late = || Some(Trouble::Lax("it syncs late".to_owned()));
        assert_eq!(judged(&strict, None, None), Ok(Synced));
        assert_eq!(judged(&strict, silent(), None), Err(silent().unwrap()));
        assert_eq!(judged(&strict, late(), None), Err(late().unwrap()));
        assert_eq!(judged(&strict, silent(), Some(Synced)), Ok(Synced));
        assert_eq!(judged(&strict, late(), Some(Synced)), Err(late().unwrap()));
        for unsynced in [silent, late] as [fn() -> Option<Trouble>; 2] {
            assert_eq!(judged(&lenient, unsynced(), None), Ok(Copied), "whoever accepts it has it");
            assert_eq!(judged(&lenient, unsynced(), Some(Copied)), Ok(Copied));
        }
        assert_eq!(judged(&lenient, silent(), Some(Synced)), Ok(Synced));
        assert_eq!(judged(&lenient, late(), Some(Synced)), Ok(Copied));
        assert_eq!(judged(&lenient, None, Some(Copied)), Ok(Synced), "it may rise again");
    }

    const GOOD: &str = r#"{"server_id":"a","config":{"sync_always":true}}"#;
    const LATE: &str = r#"{"server_id":"b","config":{"sync_interval":120000000000}}"#;
    /// What a server says that has not begun to keep streams, is about to end, or found its disk full.
    const OFF: &str = r#"{"server_id":"c","disabled":true,"config":{}}"#;

    #[tokio::test]
    async fn a_server_that_keeps_no_streams_now_says_nothing_of_syncing_and_one_that_is_silent_hides_no_late_one() {
        let ((good, first), (late, second), (off, third)) =
            (monitor(GOOD).await, monitor(LATE).await, monitor(OFF).await);
        let silent = "http://127.0.0.1:1".to_owned();
        let why = async |monitors: &[&String], needed: usize| {
            let monitors = monitors.iter().map(ToString::to_string).collect();
            why_servers_unsynced(&Settings { monitors, replicas: needed, ..settings() }, needed).await
        };
        let looks = async {
            assert_eq!(why(&[&good], 1).await, None);
            for quiet in [&off, &silent] {
                assert!(matches!(why(&[&good, quiet], 1).await, Some(Trouble::Unreachable(_))), "{quiet}");
                for order in [[quiet, &late], [&late, quiet]] {
                    let said = why(&order, 1).await;
                    assert!(matches!(&said, Some(Trouble::Lax(why)) if why.contains("every 120s")), "{said:?}");
                }
            }
            assert!(matches!(why(&[&good, &good], 2).await, Some(Trouble::Lax(_))), "one server twice is one");
        };
        tokio::select! {
            () = looks => {}
            _ = async { tokio::join!(first, second, third) } => unreachable!("they answer for ever"),
        }
    }
}
