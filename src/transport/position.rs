//! At which revision a request reads: now, as of a token or time, and not before what the client has seen.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;

use super::App;
use crate::{
    clock::{self, Ticks},
    domain::{
        error::{Error, Reason, Result},
        token::Token,
    },
    limits::{DEFAULT_WAIT, SWEEP_GRACE},
    pb::v1::{AsOf, as_of::Position},
    store::{Store, log},
    tasks::{asking, blocking},
};

/// How long a read waits for a revision: less than its deadline, so that it can still say what it waited for.
pub(super) fn patience(left: Option<Duration>) -> Duration {
    left.map_or(DEFAULT_WAIT, |left| (left - left / 10).min(DEFAULT_WAIT))
}

/// The text of the newest token that was told: lookups read the newest position, and nearly all tell the same one.
#[derive(Debug, Default)]
pub(super) struct Told(ArcSwapOption<(Token, String)>);

impl Told {
    /// A token, and its text.
    pub fn text(&self, token: &Token) -> Arc<(Token, String)> {
        let newest = self.0.load();
        if let Some(told) = newest.as_ref().filter(|told| told.0 == *token) {
            return Arc::clone(told);
        }
        let told = Arc::new((token.clone(), token.encode()));
        // Those of the past are told once each.
        if newest.as_ref().is_none_or(|newest| newest.0.revision <= token.revision) {
            self.0.store(Some(Arc::clone(&told)));
        }
        told
    }
}

/// The revision that a request reads, and its token.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub revision: u64,
    pub token: Token,
}

impl App {
    /// The newest position.
    pub(super) fn now(&self) -> At {
        let head = self.store.head();
        At { revision: head.revision, token: head.token() }
    }

    /// The position that a request asks for.
    pub(super) async fn at(
        self: &Arc<Self>,
        as_of: Option<&AsOf>,
        at_least: Option<&str>,
        wait: Option<Duration>,
    ) -> Result<At> {
        self.begun(wait).await?;
        if let Some(token) = at_least.filter(|t| !t.is_empty()) {
            match self.reach(token, "at_least", wait).await {
                // Whatever it was, it is applied here.
                Err(error) if error.reason == Reason::HistoryTrimmed => {}
                reached => drop(reached?),
            }
        }
        let Some(as_of) = as_of else { return Ok(self.now()) };
        match &as_of.position {
            None => Err(Error::field(Reason::FieldInvalid, "as_of", "one of token and time is required")),
            Some(Position::Token(token)) => {
                let token = self.reach(token, "as_of.token", wait).await?;
                self.whole(token.revision).await
            }
            Some(Position::Time(time)) => {
                let us = self.past(time, "as_of.time")?;
                let store = self.store.clone();
                let found = blocking(move || store.read(|c| log::revision_at(c, us))).await?;
                let revision = found.ok_or_else(|| self.before_the_log())?;
                self.whole(revision).await
            }
        }
    }

    async fn whole(self: &Arc<Self>, revision: u64) -> Result<At> {
        let app = Arc::clone(self);
        let token = blocking(move || app.store.token_at(revision)).await?;
        Ok(At { revision, token })
    }

    fn before_the_log(&self) -> Error {
        let head = self.store.head();
        if head.floor > 0 {
            return head.trimmed("as_of.time");
        }
        let why = "is before the log began; what held in the world then is asked for with `valid_at`";
        Error::field(Reason::HistoryTrimmed, "as_of.time", why).with("oldest_token", head.oldest_token().encode())
    }

    /// Reads at a revision, off the async threads. That is trimmed meanwhile, perhaps.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        revision: u64,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (store, began) = (self.store.clone(), clock::ticks());
        blocking(move || {
            let answer = read();
            check_whole(&store, revision, began).and(answer)
        })
        .await
    }

    /// The revision before the first one recorded at or after a time.
    pub(super) async fn before(&self, time: &prost_types::Timestamp, field: &str) -> Result<u64> {
        let us = self.past(time, field)?;
        let store = self.store.clone();
        let found = blocking(move || store.read(|c| log::revision_at(c, us.saturating_sub(1)))).await?;
        let head = self.store.head();
        match found {
            // There was nothing before it, or there is nothing any more.
            None if head.floor > 0 => Err(head.trimmed(field)),
            found => Ok(found.unwrap_or(0)),
        }
    }

    /// A time of the past, in microseconds.
    pub(super) fn past(&self, time: &prost_types::Timestamp, field: &str) -> Result<i64> {
        if !(0..1_000_000_000).contains(&time.nanos) {
            return Err(Error::field(Reason::FieldInvalid, field, "has nanoseconds out of range"));
        }
        let us = clock::micros(time);
        if us > self.clock.now_us() {
            return Err(Error::field(Reason::FieldInvalid, field, "lies in the future"));
        }
        Ok(us)
    }

    /// Waits until the revision of a token is applied here.
    pub(super) async fn reach(self: &Arc<Self>, text: &str, field: &str, wait: Option<Duration>) -> Result<Token> {
        let token = Token::decode(text, field)?;
        let waiting = self.applied(&token, field);
        match tokio::time::timeout(patience(wait), waiting).await {
            Ok(reached) => reached.map(|()| token),
            Err(_) => {
                let message = format!("{field}: this replica has not applied revision {} yet", token.revision);
                Err(Error::new(Reason::ReplicaBehind, message))
            }
        }
    }

    async fn applied(self: &Arc<Self>, token: &Token, field: &str) -> Result<()> {
        let mut head = self.store.follow_head();
        loop {
            let position = head.borrow_and_update().position;
            let (app, asked, name) = (Arc::clone(self), token.clone(), field.to_owned());
            match blocking(move || app.store.locate(&asked, &name)).await {
                Err(error) if may_come(&error, position) && self.journal_is_ahead(position).await? => {
                    head.changed().await.map_err(|_| Error::new(Reason::Draining, "the server is shutting down"))?;
                }
                located => return located.map(drop),
            }
        }
    }

    async fn journal_is_ahead(self: &Arc<Self>, position: u64) -> Result<bool> {
        Ok(self.journal_head().await?.is_some_and(|head| head > position))
    }

    /// Waits until something of the log is applied here, if there is any. Before that it is not known which log it is: what a
    /// store says that has nothing is true of none, and no other replica takes its tokens.
    ///
    /// # Errors
    ///
    /// `REPLICA_BEHIND` if nothing is applied in time, `JOURNAL_UNAVAILABLE` if nobody says whether there is any.
    pub(super) async fn begun(self: &Arc<Self>, wait: Option<Duration>) -> Result<()> {
        // (That there is none was so some seconds ago, at most.)
        let known = self.looks.last();
        if self.journal.is_alone() || self.store.head().position > 0 || known == Some(0) {
            return Ok(());
        }
        let begins = async {
            if known.is_some() || self.journal_is_ahead(0).await? {
                let mut head = self.store.follow_head();
                let applied = head.wait_for(|head| head.position > 0).await.map(drop);
                applied.map_err(|_| Error::new(Reason::Draining, "the server is shutting down"))?;
            }
            Ok(())
        };
        let late = |_| Error::new(Reason::ReplicaBehind, "this replica has applied nothing of the log yet");
        tokio::time::timeout(patience(wait), begins).await.map_err(late)?
    }

    /// The newest position of the journal; `None` if the store's is.
    pub(super) async fn journal_head(self: &Arc<Self>) -> Result<Option<u64>> {
        if self.journal.is_alone() {
            return Ok(None);
        }
        let app = Arc::clone(self);
        asking(move || app.journal.head().map_err(Error::from)).await
    }
}

/// Checks that what was read at a revision is whole, of which something was kept when the read began. A replica that catches
/// up may go by it, and by a trim of it, in between: the answer is good all the same, because rows go much later. A read that
/// takes as long looks at the floor after it, and nothing is dropped before that has moved.
///
/// # Errors
///
/// `HISTORY_TRIMMED`.
pub(super) fn check_whole(store: &Store, revision: u64, began: Ticks) -> Result<()> {
    if began.elapsed() < SWEEP_GRACE / 2 { Ok(()) } else { store.check_kept(revision) }
}

/// Whether a token that is unknown here may be known once more of the journal is applied. A replica that has applied
/// nothing does not know the epoch of the log that it follows.
fn may_come(error: &Error, applied: u64) -> bool {
    error.reason == Reason::TokenInFuture || (error.reason == Reason::LogReplaced && applied == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::token::Epoch;

    #[test]
    fn a_token_is_told_as_itself_whichever_was_told_before() {
        let (told, one, other) = (Told::default(), Epoch::new_v4(), Epoch::new_v4());
        let at = |epoch, revision, byte: u8| Token::at(epoch, revision, &[byte; 32]);
        let tokens =
            [at(one, 1, 1), at(one, 1, 1), at(one, 2, 2), at(one, 1, 1), at(one, 2, 2), at(one, 2, 3), at(other, 2, 3)];
        for token in tokens {
            assert_eq!(told.text(&token).1, token.encode());
        }
        let newest = told.text(&at(other, 2, 3));
        assert!(Arc::ptr_eq(&newest, &told.text(&at(other, 2, 3))), "written once");
        told.text(&at(other, 1, 1));
        assert!(Arc::ptr_eq(&newest, &told.text(&at(other, 2, 3))), "one of the past takes not its place");
    }
}
