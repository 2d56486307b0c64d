//! Which of the journal's servers is connected to, and when it is left for another.
//!
//! The library leaves a server that does not answer. One that the others do not hear answers all the same, and leads
//! nowhere.

use std::{
    future::{Ready, ready},
    sync::atomic::{AtomicUsize, Ordering},
};

use async_nats::{ReconnectToServer, Server, ServerInfo, connection::State};

use super::JetStream;
use crate::{clock, limits::JOURNAL_FORSAKEN};

/// Chooses each in turn, so that a server that was left is not the next; replicas begin with different ones.
pub(super) fn in_turn() -> impl Fn(Vec<Server>, ServerInfo) -> Ready<Option<ReconnectToServer>> + Send + Sync + 'static
{
    let turn = AtomicUsize::new(rand::random_range(0..usize::from(u16::MAX)));
    move |servers, _| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let next = turn.checked_rem(servers.len()).and_then(|next| servers.get(next));
        ready(next.map(|server| ReconnectToServer { addr: server.addr.clone(), delay: None }))
    }
}

/// Since when nothing was heard of the stream by way of the server that is connected.
#[derive(Default)]
pub(super) struct Forsaken(Option<clock::Ticks>);

impl Forsaken {
    /// Something was.
    pub fn heard(&mut self) {
        self.0 = None;
    }

    /// Nothing was, once more: goes over to another server if that is so for long.
    pub async fn leave_in_time(&mut self, journal: &JetStream) {
        if journal.client.connection_state() != State::Connected {
            // The library is about to connect to the next.
            return self.heard();
        }
        if self.0.get_or_insert_with(clock::ticks).elapsed() < JOURNAL_FORSAKEN {
            return;
        }
        self.heard();
        let server = journal.client.server_info().server_name;
        tracing::warn!(server, "a server of the journal leads to nobody who leads the stream: it is left for another");
        if let Err(error) = journal.client.force_reconnect().await {
            tracing::warn!(%error, "it could not be left");
        }
    }
}
