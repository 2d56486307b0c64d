//! Who brings what others append: an ordered consumer, and a watchdog that does not trust its silence.
//!
//! A consumer whose stream was deleted hears nothing, and one that is made anew before its first message begins at the
//! beginning. So the stream's own end is asked for while nothing comes, and what does not stand at the next place makes
//! it begin again.

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures_util::StreamExt as _;

use super::{
    super::{Position, Trouble},
    JetStream,
    server::Forsaken,
};
use crate::limits::{JOURNAL_LOOK, JOURNAL_RETRY_PAUSE, JOURNAL_WATCHDOG};

/// Follows until it is dropped.
pub(super) async fn run(journal: &JetStream) {
    let (mut told, mut lost) = (None, Forsaken::default());
    loop {
        if journal.inbox.sound().is_err() {
            // What ended does not come back; the log says why.
            std::future::pending::<()>().await;
        }
        let Err(error) = follow(journal, &mut lost).await else { continue };
        let state = journal.state().await;
        if state.is_ok() || journal.opened().is_err() && journal.led().await.is_ok() {
            lost.heard();
        } else {
            lost.leave_in_time(journal).await;
        }
        if let Ok(state) = state {
            journal.inbox.short_again(state.as_ref().map_or(0, |state| state.last_sequence));
            if let Some(next) = state.and_then(|state| journal.inbox.wanted(&state))
                && let Ok(found) = journal.read(next).await
            {
                journal.inbox.sought(next, found.is_some());
            }
        }
        // What stays so is said once.
        if told.as_ref() != Some(&error) {
            tracing::warn!(%error, "following the journal was interrupted");
        }
        told = Some(error);
        tokio::time::sleep(JOURNAL_RETRY_PAUSE).await;
    }
}

async fn follow(journal: &JetStream, lost: &mut Forsaken) -> Result<(), Trouble> {
    if journal.opened().is_err() {
        let established = journal.establish().await;
        if let Err(lax @ Trouble::Lax(_)) = &established {
            journal.inbox.trouble(lax.clone());
        }
        established?;
    }
    pump(journal, lost).await
}

/// Brings batches from where the store stands, until something is not as it should be.
async fn pump(journal: &JetStream, lost: &mut Forsaken) -> Result<(), Trouble> {
    let after = journal.inbox.applied().await;
    journal.inbox.clear();
    let state = journal.look().await?;
    lost.heard();
    journal.inbox.follows(after, &state)?;
    journal.inbox.interrupted();
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
        ..Default::default()
    };
    let consumer = journal.opened()?.stream.create_consumer(config).await.map_err(Trouble::unreachable)?;
    let mut messages = consumer.messages().await.map_err(Trouble::unreachable)?;
    let mut next = after + 1;
    let mut silent = 0;
    loop {
        while !journal.inbox.has_room() {
            journal.inbox.moved.notified().await;
        }
        match tokio::time::timeout(JOURNAL_LOOK, messages.next()).await {
            Ok(Some(Ok(message))) => {
                silent = 0;
                let position = message.info().map_err(Trouble::unreachable)?.stream_sequence;
                if position != next {
                    return Err(Trouble::Unreachable(format!(
                        "the consumer brought {position}, and {next} was the next"
                    )));
                }
                journal.inbox.put(position, message.message.payload);
                next += 1;
            }
            Ok(Some(Err(error))) => return Err(Trouble::unreachable(error)),
            Ok(None) => return Err(Trouble::unreachable("the consumer ended")),
            Err(_) => {
                silent += 1;
                // What is known to be there should have come; else the stream is asked now and then.
                if silent % JOURNAL_WATCHDOG == 0 || journal.inbox.has_after(next - 1) {
                    check_silence(journal, next).await?;
                }
            }
        }
    }
}

/// Nothing came for a while: the stream must end where the last batch was.
async fn check_silence(journal: &JetStream, next: Position) -> Result<(), Trouble> {
    let state = journal.look().await?;
    if state.last_sequence < next {
        return Ok(());
    }
    journal.inbox.follows(next - 1, &state)?;
    Err(Trouble::Unreachable(format!("the stream ends at {}, and {next} did not come", state.last_sequence)))
}
