//! Which of the journal's servers is connected to, and when it is left for another.
//!
//! The library leaves a server that does not answer. One that the others do not hear answers all the same, and leads
//! nowhere.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_nats::{ReconnectToServer, Server, ServerAddr, connection::State};

use super::JetStream;
use crate::{
    clock,
    limits::{JOURNAL_FORSAKEN, JOURNAL_FORSAKEN_AT_MOST},
};

/// The servers are taken in turn, so that one that was left is not the next.
#[derive(Default)]
pub(super) struct Turns(Mutex<Turn>);

struct Turn {
    number: usize,
    last: Option<ServerAddr>,
    /// How many were to choose from.
    known: usize,
}

impl Default for Turn {
    fn default() -> Self {
        // Replicas begin with different ones.
        Self { number: rand::random_range(0..usize::from(u16::MAX)), last: None, known: 0 }
    }
}

impl Turns {
    /// The next to connect to, after the library's own pause.
    pub fn next(&self, servers: &[Server]) -> Option<ReconnectToServer> {
        let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turn.known = servers.len();
        turn.number = turn.number.wrapping_add(1);
        let failed: Vec<_> = servers.iter().map(|server| (&server.addr, server.failed_attempts)).collect();
        let next = choose(&failed, turn.last.as_ref(), turn.number)?.clone();
        turn.last = Some(next.clone());
        Some(ReconnectToServer { addr: next, delay: None })
    }

    /// Whether there is another one.
    fn has_another(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).known > 1
    }
}

/// One of those that failed least often, but the last one only if there is no other.
fn choose<'a, A: PartialEq>(servers: &[(&'a A, usize)], last: Option<&A>, turn: usize) -> Option<&'a A> {
    let others: Vec<_> = servers.iter().filter(|(server, _)| Some(*server) != last).collect();
    let fewest = others.iter().map(|(_, failed)| *failed).min();
    let Some(fewest) = fewest else { return servers.first().map(|(server, _)| *server) };
    let good: Vec<_> = others.iter().filter(|(_, failed)| *failed == fewest).collect();
    good.get(turn % good.len()).map(|(server, _)| *server)
}

/// Since when nothing was heard of the stream by way of the server that is connected.
#[derive(Default)]
pub(super) struct Forsaken {
    since: Option<clock::Ticks>,
    /// How often a server was left since something was heard.
    left: u32,
}

impl Forsaken {
    /// Something was.
    pub fn heard(&mut self) {
        *self = Self::default();
    }

    /// Nothing was, once more: goes over to another server if that is so for long. While nobody leads anywhere, it does so less
    /// and less often.
    pub async fn leave_in_time(&mut self, journal: &JetStream) {
        if journal.client.connection_state() != State::Connected {
            // The library is about to connect to the next.
            self.since = None;
            return;
        }
        let silent = self.since.get_or_insert_with(clock::ticks).elapsed();
        if silent < patience(self.left) || !journal.turns.has_another() {
            return;
        }
        let server = journal.client.server_info().server_name;
        if self.left == 0 {
            tracing::warn!(
                server,
                "a server of the journal leads to nobody who leads the stream: it is left for another"
            );
        }
        (self.since, self.left) = (None, self.left.saturating_add(1));
        if let Err(error) = journal.client.force_reconnect().await {
            tracing::warn!(%error, "it could not be left");
        }
    }
}

/// How long a server may lead nowhere before it is left, if so many were left for that.
fn patience(left: u32) -> Duration {
    // Each may be asked once before it is waited for longer.
    JOURNAL_FORSAKEN.saturating_mul(1 << left.saturating_sub(2).min(16)).min(JOURNAL_FORSAKEN_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_is_another_one_and_one_that_failed_least_often() {
        let chosen = |servers: &[(char, usize)], last: Option<char>| -> Vec<char> {
            let servers: Vec<_> = servers.iter().map(|(name, failed)| (name, *failed)).collect();
            let mut all: Vec<char> = (0..6).filter_map(|turn| choose(&servers, last.as_ref(), turn).copied()).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        assert_eq!(chosen(&[('a', 0), ('b', 0), ('c', 0)], None), ['a', 'b', 'c'], "each has its turn");
        assert_eq!(chosen(&[('a', 0), ('b', 0), ('c', 0)], Some('b')), ['a', 'c']);
        assert_eq!(chosen(&[('a', 0), ('b', 2), ('c', 1)], Some('a')), ['c'], "whoever failed is tried later");
        assert_eq!(chosen(&[('a', 0), ('b', 2)], Some('a')), ['b'], "but before the one that was left");
        assert_eq!(chosen(&[('a', 5)], Some('a')), ['a'], "there is no other");
        assert_eq!(chosen(&[], None), Vec::<char>::new());
    }

    #[test]
    fn while_nobody_leads_anywhere_servers_are_left_less_and_less_often() {
        let times: Vec<u64> = (0..7).map(|left| patience(left).as_secs()).collect();
        assert_eq!(times, [10, 10, 10, 20, 40, 60, 60]);
        assert_eq!(patience(u32::MAX), JOURNAL_FORSAKEN_AT_MOST);
    }
}
