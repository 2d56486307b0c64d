//! What a replica would meet that used a stream, asked without making or changing anything.

use std::sync::Arc;

use async_nats::jetstream::{
    Context,
    context::ContextBuilder,
    stream::{State, Stream},
};
use futures_util::future::join_all;
use tokio::runtime::Handle;

use super::{
    super::{Append, Durable, Journal, Position, Settled, Trouble, Wake},
    access, depot, inbox, message_at, nothing_at,
    stream::{self, Settings},
    sync, within,
};
use crate::{
    limits::{JOURNAL_CONNECT_TIMEOUT, JOURNAL_READ_TIMEOUT},
    url,
};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No stream of this name: whoever has no log of it yet makes it.
    Missing(Durable),
    /// A stream that may be used.
    There {
        /// Copies of each batch.
        copies: usize,
        /// The place of the last batch.
        ends_at: Position,
        /// What an acknowledged batch survives.
        durable: Durable,
    },
    /// A stream that has dropped what comes next in the store, which begins anew with a snapshot: there may be one.
    GoneOn {
        /// The place of the first batch.
        begins_at: Position,
    },
}

/// Whether each of the servers answers by itself, as people may read its name.
pub async fn reach(settings: &Settings) -> Vec<(String, Result<(), String>)> {
    join_all(settings.servers.iter().map(|server| async { (url::shown(server), answers(settings, server).await) }))
        .await
}

async fn answers(settings: &Settings, server: &str) -> Result<(), String> {
    let connecting = settings.options().map_err(|e| e.to_string())?.connect(access::addresses(&[server.to_owned()]));
    match tokio::time::timeout(JOURNAL_CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map(drop).map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {JOURNAL_CONNECT_TIMEOUT:?}")),
    }
}

/// Looks at the stream, for a store that has the log up to a position; 0 is none of it.
///
/// # Errors
///
/// If no server answers, or the stream is laxer than the settings allow, or is not the rest of that log.
pub async fn look(settings: &Settings, after: Position) -> Result<Found, Trouble> {
    let context = connect(settings).await?;
    let found = match context.get_stream(&settings.stream).await {
        Ok(found) => found,
        Err(error) if stream::is_not_found(&error.kind()) => {
            return sync::would_be_durable(settings).await.map(Found::Missing);
        }
        Err(error) => return Err(stream::unreachable(&settings.stream, error)),
    };
    let info = found.cached_info();
    stream::check(&info.config, settings)?;
    stream::check_beside(&context, settings).await?;
    let ends_at = info.state.last_sequence;
    if ends_at < after {
        return Err(Trouble::Lost(format!("the stream ends at {ends_at}, and this store is at {after}")));
    }
    let durable = sync::durable(settings, info, None).await?;
    // A store that has none of the log begins with a snapshot.
    if after > 0
        && let Err(trimmed) = inbox::has_next(after, &info.state)
    {
        let begins_at = info.state.first_sequence;
        return if depot::has_some(&context, settings).await { Ok(Found::GoneOn { begins_at }) } else { Err(trimmed) };
    }
    Ok(Found::There { copies: info.config.num_replicas, ends_at, durable })
}

/// The stream as a journal that can be read and takes nothing: a store is compared with it as a server would compare it.
///
/// # Errors
///
/// If no server answers.
pub async fn glance(settings: &Settings) -> Result<Arc<dyn Journal>, Trouble> {
    let stream = connect(settings).await?.get_stream_no_info(&settings.stream).await;
    let stream = stream.map_err(Trouble::unreachable)?;
    Ok(Arc::new(Glance { runtime: Handle::current(), stream }))
}

async fn connect(settings: &Settings) -> Result<Context, Trouble> {
    let client = settings.options()?.connect(access::addresses(&settings.servers)).await;
    let client = client.map_err(|e| Trouble::Unreachable(format!("{}: {e}", settings.shown())))?;
    Ok(ContextBuilder::new().timeout(JOURNAL_READ_TIMEOUT).build(client))
}

/// See [`glance`].
struct Glance {
    /// Whoever reads waits for this runtime, on a thread of its own.
    runtime: Handle,
    stream: Stream<()>,
}

impl Glance {
    async fn state(&self) -> Result<State, Trouble> {
        let info = within(self.stream.get_info()).await?.map_err(Trouble::unreachable)?;
        stream::check_led(&info)?;
        Ok(info.state)
    }
}

impl Journal for Glance {
    fn append(&self, _: Position, _: &[u8]) -> Append {
        Append::NotSent("it is looked at alone".to_owned())
    }

    fn settle(&self, _: Position, _: &[u8]) -> Settled {
        Settled::NotYet
    }

    fn head(&self) -> Result<Option<Position>, Trouble> {
        Ok(Some(self.runtime.block_on(self.state())?.last_sequence))
    }

    fn follow(&self, _: Position, _: usize) -> Result<Vec<(Position, Vec<u8>)>, Trouble> {
        Ok(Vec::new())
    }

    fn batch(&self, position: Position) -> Result<Option<Vec<u8>>, Trouble> {
        self.runtime.block_on(async {
            match message_at(&self.stream, position).await? {
                Some(bytes) => Ok(Some(bytes.to_vec())),
                None => nothing_at(position, &self.state().await?),
            }
        })
    }

    fn on_arrival(&self, _: Wake) {}

    fn trim(&self, _: Position) -> Result<(), Trouble> {
        Err(Trouble::Unreachable("it is looked at alone".to_owned()))
    }
}
