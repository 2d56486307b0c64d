//! One watcher: it watches, leaves, goes on elsewhere from its last token, and keeps a cache by what it is told.

use std::{pin::pin, sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::watch;
use tonic::Status;

use super::{
    ask,
    ending::{Left, refuses},
    history::{self, Compared, Ending, Records, Seen, Selection, Stream, Watched, What, digest},
    places::is_past,
    plan::{Plan, Run},
};
use crate::{
    cli::{
        error::{CliError, is_retryable, reason},
        retry,
    },
    domain::token::{Phase, Token},
    pb::v1::{
        Event, EventType, Record, WatchEventsRequest, WatchEventsResponse,
        record::Kind,
        watch_events_request::{Start, Until},
        watch_events_response::Frame,
    },
};

/// How long a stream is kept by a watcher that leaves, in milliseconds.
const STAY_MS: std::ops::Range<u64> = 50..2500;
/// How long the end of the run may take to come: longer than a replica waits for what it does not have yet.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many failures in a row end a watch.
const MAX_FAILURES: u32 = 10;
/// A server that goes away is listened to up to this long.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Comparisons of one watcher, besides the one at the end.
const MAX_COMPARED: usize = 32;

/// The end of a run, once it is known.
#[derive(Debug, Clone)]
pub struct Goal {
    /// Its token.
    pub token: String,
    /// Its revision.
    pub revision: u64,
}

/// One watcher.
pub struct Watcher {
    run: Arc<Run>,
    plan: Plan,
    selection: Selection,
    goal: watch::Receiver<Option<Goal>>,
    rng: StdRng,
    watched: Watched,
    /// The last one, as it came and as it reads.
    token: Option<(String, Token)>,
    /// If it keeps one.
    cache: Option<Records>,
    failures: u32,
    /// What a server that goes away asks for.
    pause: Option<Duration>,
}

impl Watcher {
    /// One that watches a selection as planned, until there is a goal and it has come to it.
    #[must_use]
    pub fn new(run: Arc<Run>, plan: Plan, selection: Selection, goal: watch::Receiver<Option<Goal>>) -> Self {
        let watched = Watched { selection: plan.selection, ..Watched::default() };
        let cache = plan.keeps.then(Records::new);
        let rng = StdRng::seed_from_u64(rand::random());
        Self { run, plan, selection, goal, rng, watched, token: None, cache, failures: 0, pause: None }
    }

    /// Watches; what came, and why it stopped before the end if it did.
    pub async fn watch(mut self) -> (Watched, Option<CliError>) {
        let error = self.follow().await.err();
        (self.watched, error)
    }

    async fn follow(&mut self) -> Result<(), CliError> {
        let mut server = self.rng.random_range(0..self.run.servers.len());
        loop {
            let left = self.stream(server).await?;
            server = self.another(server);
            if self.has_everything() {
                self.watched.finished = true;
                return self.compare(server).await;
            }
            let goes_on = match left {
                Left::Ours => true,
                Left::Silent => false,
                Left::Closed => self.recover(&Status::unavailable("the stream ended")).await?,
                Left::Failed(status) => self.recover(&status).await?,
            };
            if !goes_on {
                return Ok(());
            }
            self.compare(server).await?;
        }
    }

    /// Another server, if there is one.
    fn another(&mut self, server: usize) -> usize {
        let servers = self.run.servers.len();
        if servers < 2 { server } else { (server + self.rng.random_range(1..servers)) % servers }
    }

    fn has_everything(&self) -> bool {
        let goal = self.goal.borrow().as_ref().map(|goal| goal.revision);
        goal.zip(self.token.as_ref()).is_some_and(|(revision, (_, token))| is_past(token, revision))
    }

    /// One stream, from the last token if there is one.
    async fn stream(&mut self, server: usize) -> Result<Left, CliError> {
        let goal = self.goal.borrow().clone();
        let mut request = self.plan.request.clone();
        if let Some((text, _)) = &self.token {
            request.start = Some(Start::After(text.clone()));
        }
        let mut stream = Stream {
            server,
            resumed: self.token.as_ref().map(|(_, token)| token.clone()),
            // Read before the request is sent: what is acknowledged later it does not promise.
            acknowledged: self.run.acknowledged(),
            until: goal.is_some(),
            frames: Vec::new(),
            ending: Ending::Ours,
        };
        request.until = goal.map(|goal| Until::Through(goal.token));
        let left = self.read(&mut stream, request).await?;
        stream.ending = left.ending(&stream);
        self.watched.streams.push(stream);
        Ok(left)
    }

    async fn read(&mut self, stream: &mut Stream, request: WatchEventsRequest) -> Result<Left, CliError> {
        let leaves = !stream.until && !self.plan.stays;
        let stay = leaves.then(|| Duration::from_millis(self.rng.random_range(STAY_MS)));
        let mut time = pin!(time_over(stay, self.goal.clone()));
        let over = || if leaves { Left::Ours } else { Left::Silent };
        let mut feed = self.run.connection(stream.server).feed();
        let opened = tokio::select! {
            opened = feed.watch_events(request) => opened,
            () = &mut time => return Ok(over()),
        };
        let mut frames = match opened {
            Ok(frames) => frames.into_inner(),
            Err(status) => return Ok(Left::Failed(status)),
        };
        loop {
            let next = tokio::select! {
                next = frames.message() => next,
                () = &mut time => return Ok(over()),
            };
            match next {
                Ok(Some(response)) => self.take(stream, response)?,
                Ok(None) => return Ok(Left::Closed),
                Err(status) => return Ok(Left::Failed(status)),
            }
            // A stream that was asked to end is read to its end.
            if !stream.until && self.has_everything() {
                return Ok(Left::Ours);
            }
        }
    }

    fn take(&mut self, stream: &mut Stream, response: WatchEventsResponse) -> Result<(), CliError> {
        let token = ask::read_token(&response.token)?;
        let what = match &response.frame {
            Some(Frame::Started(_)) => What::Started,
            Some(Frame::Batch(batch)) => {
                if let Some(cache) = &mut self.cache {
                    batch.events.iter().for_each(|event| apply(cache, event));
                }
                What::Batch { events: batch.events.iter().map(Seen::of).collect(), continued: batch.continued }
            }
            Some(Frame::Progress(_)) => What::Progress,
            Some(Frame::CaughtUp(_)) => What::CaughtUp,
            Some(Frame::FellBehind(_)) => What::FellBehind,
            Some(Frame::GoingAway(going)) => {
                let delay = going.retry_delay.and_then(|delay| Duration::try_from(delay).ok());
                self.pause = Some(delay.unwrap_or_default().min(MAX_PAUSE));
                What::GoingAway
            }
            Some(Frame::End(_)) => What::End,
            None => What::Unknown,
        };
        // A server that only ever starts is not well yet.
        if what != What::Started {
            self.failures = 0;
        }
        stream.frames.push(history::Frame { token: token.clone(), what });
        self.token = Some((response.token, token));
        Ok(())
    }

    /// Waits before it goes on after a failure; `false` if it cannot.
    async fn recover(&mut self, status: &Status) -> Result<bool, CliError> {
        self.failures += 1;
        let reason = reason(status);
        let resumes = self.token.is_some();
        if resumes && refuses(&reason) {
            return Ok(false);
        }
        // The place of a stream that was left is free once its server has noticed, that of a snapshot once it was sent. What
        // has no reason is recorded; it may have been the network.
        let is_full = reason == "QUOTA_EXCEEDED";
        let may_pass = is_full || resumes && (is_retryable(status) || reason.is_empty());
        if !may_pass || self.failures > MAX_FAILURES {
            return Err(status.clone().into());
        }
        let pause = self.pause.take().unwrap_or_else(|| retry::delay(status, self.failures));
        tokio::time::sleep(pause).await;
        Ok(true)
    }

    /// The cache beside the list at the same token.
    async fn compare(&mut self, server: usize) -> Result<(), CliError> {
        let (Some(cached), Some((_, token))) = (&self.cache, &self.token) else { return Ok(()) };
        let enough = self.watched.compared.len() >= MAX_COMPARED && !self.watched.finished;
        if enough || token.phase != Phase::Whole {
            return Ok(());
        }
        let mut registry = self.run.connection(server).registry();
        match ask::records(&mut registry, &self.selection, token).await {
            Ok(listed) => {
                let compared = Compared { token: token.clone(), server, cached: cached.clone(), listed };
                self.watched.compared.push(compared);
                Ok(())
            }
            // The next one will do.
            Err(CliError::Refused(status)) if is_retryable(&status) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Done when a watcher has stayed for so long; without a time, when the end of the run should have come.
async fn time_over(stay: Option<Duration>, mut goal: watch::Receiver<Option<Goal>>) {
    match stay {
        Some(stay) => tokio::time::sleep(stay).await,
        None => {
            // If there will be none the run is over.
            drop(goal.wait_for(Option::is_some).await);
            tokio::time::sleep(PATIENCE).await;
        }
    }
}

/// As a client keeps its cache: what does not match any more goes, what carries a record is how it is now.
fn apply(cache: &mut Records, event: &Event) {
    match &event.record {
        _ if event.left_filter || event.r#type() == EventType::Retracted => {
            cache.remove(&event.subject);
        }
        Some(Record { kind: Some(Kind::Organization(one)) }) => {
            cache.insert(event.subject.clone(), digest(one));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::Organization;

    #[test]
    fn a_cache_takes_what_stands_and_drops_what_left_or_was_retracted() {
        let event = |name: &str| Event {
            subject: name.into(),
            record: Some(Record { kind: Some(Kind::Organization(Organization::default())) }),
            ..Event::default()
        };
        let mut cache = Records::new();
        for name in ["a", "b", "c"] {
            apply(&mut cache, &event(name));
        }
        apply(&mut cache, &Event { left_filter: true, ..event("a") });
        let retracted = Event { record: None, r#type: EventType::Retracted as i32, ..event("b") };
        apply(&mut cache, &retracted);
        // An event without a record changes nothing.
        apply(&mut cache, &Event { record: None, ..event("c") });
        assert_eq!(cache.keys().collect::<Vec<_>>(), ["c"]);
    }
}
