//! The journal on a NATS JetStream stream: one message is one batch, its sequence the batch's position.
//!
//! Replicas share the stream. Each publishes with the sequence that it expects to be the last, which is the fence: one of
//! those who expect the same wins, the others are refused and nothing of theirs is kept. There is no message id and no
//! window of duplicates, which would forget; what became of a batch whose answer was lost is read at its place.
//!
//! The stream gives no more than an order and copies. It is not trusted with it: JetStream moves a first sequence that is
//! gone up without a word, and a server restored from an older copy takes sequences anew. So whatever is read here must
//! stand at the very next place, and the writer checks the chain of every batch.

mod access;
mod depot;
mod follower;
mod inbox;
mod look;
mod server;
mod shelf;
mod stream;
mod sync;

use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_nats::jetstream::{
    self, Context, ErrorCode,
    context::PublishErrorKind,
    message::PublishMessage,
    stream::{RawMessageErrorKind, State, Stream},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::runtime::Handle;

pub use self::{
    access::Access,
    look::{Found, glance, look, reach},
    stream::Settings,
    sync::{Jsz, JszConfig},
};
use self::{inbox::Inbox, shelf::Bucket};
use super::{Append, Depot, Durable, Journal, Kept, Position, Settled, Shelf, Stored, Trouble, Wake};
use crate::{
    failpoints,
    limits::{
        JOURNAL_ACK_TIMEOUT, JOURNAL_ASK_AGAIN, JOURNAL_CONNECT_TIMEOUT, JOURNAL_OFFERS, JOURNAL_POLL_PAUSE,
        JOURNAL_READ_TIMEOUT, JOURNAL_RETRY_PAUSE, JOURNAL_YIELD, SNAPSHOT_CHUNK_SILENCE,
    },
    trace::{self, TRACEPARENT},
};

/// See the module. Its [`JetStream::run`] must run beside whatever uses it.
pub struct JetStream {
    /// Whoever calls the journal waits for this runtime, on a thread of its own.
    runtime: Handle,
    client: async_nats::Client,
    context: Context,
    settings: Settings,
    inbox: Arc<Inbox>,
    turns: Arc<server::Turns>,
    /// What was found once servers answered.
    opened: OnceLock<Opened>,
    /// What an acknowledged batch survives, once every server said, or why that is less than it must be now: until it is
    /// known nothing is appended.
    durable: Mutex<Result<Durable, Trouble>>,
}

/// The stream as it was found, and what belongs to it.
struct Opened {
    stream: Stream<()>,
    /// When the stream was made: one of the same name is another.
    created: String,
    bucket: Bucket,
}

/// An answer of JetStream, as far as it says whether it is one.
#[derive(serde::Deserialize)]
struct Told {
    error: Option<jetstream::Error>,
}

/// Refusals by which nothing was stored: the servers have no room, or not for this.
const FULL: &[ErrorCode] = &[
    ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
];

/// What came of an offer.
enum Offered {
    Settled(Append),
    /// Nothing was taken, and it may be in a moment; the reason.
    NotYet(String),
}

impl JetStream {
    /// Connects, makes the stream if there is none, and checks that it keeps what it is given; one that would be refused is
    /// not made. If no server answers in time, that is done by [`JetStream::run`] once one does: until then the journal is
    /// unreachable.
    ///
    /// # Errors
    ///
    /// If the addresses are none, or the stream or its servers are laxer than a log may be and the settings do not allow
    /// it.
    pub async fn open(settings: Settings) -> Result<Arc<Self>, Trouble> {
        let (inbox, turns) = (Arc::<Inbox>::default(), Arc::<server::Turns>::default());
        let (seen, chosen) = (Arc::clone(&inbox), Arc::clone(&turns));
        for why in settings.access.unreadable().await {
            tracing::warn!("a file for the journal's servers cannot be read: {why}");
        }
        let client = settings
            .options()?
            .event_callback(move |event| {
                // Whoever answers now may have another stream.
                if event == async_nats::Event::Connected {
                    seen.interrupted();
                }
                std::future::ready(())
            })
            .reconnect_to_server_callback(move |servers, _| std::future::ready(chosen.next(&servers)))
            .retry_on_initial_connect()
            .connect(access::addresses(&settings.servers))
            .await
            .map_err(|e| Trouble::Unreachable(format!("{}: {e}", settings.shown())))?;
        let context = jetstream::context::ContextBuilder::new().timeout(JOURNAL_ACK_TIMEOUT).build(client.clone());
        let unknown = Trouble::Unreachable("not every server has said yet whether it syncs".to_owned());
        let (opened, durable) = (OnceLock::new(), Mutex::new(Err(unknown)));
        let journal =
            Arc::new(Self { runtime: Handle::current(), client, context, settings, inbox, turns, opened, durable });
        journal.find().await?;
        Ok(journal)
    }

    /// Finds out what filings wait for, if that can be had in time. Servers that have just started, or have no leader for a
    /// moment, refuse what they do a moment later: they are asked again.
    async fn find(&self) -> Result<(), Trouble> {
        let mut last = None;
        let asked = tokio::time::timeout(JOURNAL_CONNECT_TIMEOUT, async {
            loop {
                match self.find_once().await {
                    Ok(()) => return Ok(()),
                    Err(lax @ Trouble::Lax(_)) => return Err(lax),
                    Err(trouble) => last = Some(trouble),
                }
                tokio::time::sleep(JOURNAL_RETRY_PAUSE).await;
            }
        });
        if let Ok(found) = asked.await {
            return found;
        }
        // What was said before says more than that the time is over.
        if let Some(error) = last.or_else(|| self.opened().and(self.assured()).err()) {
            tracing::warn!(%error, "filings are refused until the journal answers");
        }
        Ok(())
    }

    async fn find_once(&self) -> Result<(), Trouble> {
        if self.opened().is_err() {
            self.establish().await?;
        }
        self.assure().await.map(drop)
    }

    /// Finds out what the servers have.
    async fn establish(&self) -> Result<(), Trouble> {
        let info = stream::open(&self.context, &self.settings).await?;
        let stream = self.context.get_stream_no_info(&self.settings.stream).await;
        let stream = stream.map_err(Trouble::unreachable)?;
        let bucket = Bucket::open(&self.context, &self.settings).await?;
        self.inbox.known(info.state.last_sequence);
        // Only the follower comes here again, and only if it was not set.
        let _ = self.opened.set(Opened { stream, created: info.created.to_string(), bucket });
        Ok(())
    }

    /// Finds out what an acknowledged batch survives.
    async fn assure(&self) -> Result<Durable, Trouble> {
        let info = within(self.opened()?.stream.get_info()).await?.map_err(Trouble::unreachable)?;
        let durable = sync::durable(&self.settings, &info, self.assured().ok()).await?;
        self.assured_of(Ok(durable));
        Ok(durable)
    }

    fn assured_of(&self, durable: Result<Durable, Trouble>) {
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner) = durable;
    }

    /// The same, as far as it is known.
    fn assured(&self) -> Result<Durable, Trouble> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For what is large: acknowledged late, because it keeps disks and links busy.
    fn patient(&self) -> Context {
        jetstream::context::ContextBuilder::new().timeout(SNAPSHOT_CHUNK_SILENCE).build(self.client.clone())
    }

    fn opened(&self) -> Result<&Opened, Trouble> {
        let unreachable = || Trouble::Unreachable(format!("{} have not answered yet", self.settings.shown()));
        self.opened.get().ok_or_else(unreachable)
    }

    /// Seals the stream: whatever anybody appends from now on is refused, for good. What it has can be read.
    ///
    /// # Errors
    ///
    /// If no server answers; then it may be sealed.
    pub async fn seal(&self) -> Result<(), Trouble> {
        within(stream::seal(&self.context, &self.settings)).await?
    }

    /// Reads what others append, until it is dropped. Meanwhile servers are asked whether they sync, those that said so
    /// too, now and then: only filings wait for that.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(follower::run(&self), sync::run(&self));
    }

    /// Publishes a batch for the place after `after`, once.
    async fn offer(&self, after: Position, batch: Bytes) -> Offered {
        let message =
            PublishMessage::build().payload(batch).expected_last_sequence(after).expected_stream(&self.settings.stream);
        if failpoints::at("journal.publish").is_some() {
            return Offered::NotYet("the failpoint says so".to_owned());
        }
        // Whoever looks at the stream finds the trace of a filing in it. Those who follow do not look.
        let message = match trace::header() {
            Some(header) => message.header(TRACEPARENT, header.as_str()),
            None => message,
        };
        let sent = self.context.send_publish(self.settings.subject(), message).await;
        let acknowledged = match sent {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        if failpoints::at("journal.published").is_some() {
            return Offered::Settled(Append::Unknown);
        }
        Offered::Settled(match acknowledged {
            Ok(ack) if ack.sequence == after + 1 => {
                self.inbox.won(ack.sequence);
                Append::Appended
            }
            // The fence was not kept: whatever stands there, the chain will tell.
            Ok(ack) => {
                tracing::error!(expected = after + 1, got = ack.sequence, "the stream gave a batch another place");
                Append::Unknown
            }
            Err(error) if code(&error) == Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT) => {
                self.outrun(after).await
            }
            Err(error) => match error.kind() {
                PublishErrorKind::WrongLastSequence => match ends_at(&error.to_string()) {
                    Some(ends) if ends <= after => {
                        return Offered::NotYet(format!("the stream ends at {ends}, and this store is at {after}"));
                    }
                    // What the leader counts may not be there yet.
                    ends => {
                        self.inbox.supposed(ends.unwrap_or(after + 1));
                        Append::Conflict
                    }
                },
                _ if code(&error) == Some(ErrorCode::STREAM_SEALED) => {
                    let why = format!("the stream {} was sealed: its log goes on elsewhere", self.settings.stream);
                    Append::NotSent(self.inbox.trouble(Trouble::Lost(why)).to_string())
                }
                // Nobody took it: there is no leader, or no stream.
                PublishErrorKind::StreamNotFound => {
                    return Offered::NotYet("the stream has no leader now".to_owned());
                }
                kind if kind == PublishErrorKind::MaxPayloadExceeded
                    || code(&error).is_some_and(|code| FULL.contains(&code)) =>
                {
                    Append::NotSent(error.to_string())
                }
                _ => {
                    tracing::warn!(%error, position = after + 1, "nobody knows what became of a batch");
                    Append::Unknown
                }
            },
        })
    }

    /// Publishes a batch, again while there is no leader, or it says that the stream ends before the batch's place: what
    /// another server told of already, a leader may have to bring out yet.
    async fn publish(&self, after: Position, batch: &Bytes) -> Append {
        let mut reason = String::new();
        for _ in 0..JOURNAL_OFFERS {
            match self.offer(after, batch.clone()).await {
                Offered::Settled(append) => return append,
                Offered::NotYet(why) => reason = why,
            }
            tokio::time::sleep(JOURNAL_POLL_PAUSE).await;
        }
        Append::NotSent(reason)
    }

    /// Another batch for the same place is under way, and this one was refused for it: waits until that is there.
    async fn outrun(&self, after: Position) -> Append {
        let arrived = async {
            while !matches!(self.read(after + 1).await, Ok(Some(_))) {
                tokio::time::sleep(JOURNAL_POLL_PAUSE).await;
            }
        };
        match tokio::time::timeout(JOURNAL_ACK_TIMEOUT, arrived).await {
            Ok(()) => {
                self.inbox.known(after + 1);
                Append::Conflict
            }
            // It may have been given up; whoever offers the place again finds out.
            Err(_) => Append::Unknown,
        }
    }

    /// What the stream's leader has at a place; `None` is nothing yet, or nothing any more.
    async fn read(&self, position: Position) -> Result<Option<Bytes>, Trouble> {
        message_at(&self.opened()?.stream, position).await
    }

    /// Whether somebody leads the stream, who may answer other questions then.
    ///
    /// With an inbox of its own: the client keeps a place for each question on its common one that nobody answers.
    async fn led(&self) -> Result<(), Trouble> {
        // What is queued now would be asked when nobody waits for it.
        if self.client.connection_state() != async_nats::connection::State::Connected {
            return Err(Trouble::Unreachable("no server of the journal is connected".to_owned()));
        }
        let question = format!("$JS.API.STREAM.INFO.{}", self.settings.stream);
        let inbox = async_nats::Request::new().inbox(self.client.new_inbox());
        let answer = self.client.send_request(question, inbox).await.map_err(Trouble::unreachable)?;
        let told: Told = serde_json::from_slice(&answer.payload).map_err(Trouble::unreachable)?;
        told.error.map_or(Ok(()), |error| Err(Trouble::Unreachable(error.to_string())))
    }

    /// What the leader says of the stream, noted.
    async fn look(&self) -> Result<State, Trouble> {
        let Some(state) = self.state().await? else {
            return Err(Trouble::Unreachable(format!("the stream {} is gone", self.settings.stream)));
        };
        self.inbox.seen(&state)?;
        Ok(state)
    }

    /// The same; `None` if there is no such stream, which a server that has just started may say without need.
    async fn state(&self) -> Result<Option<State>, Trouble> {
        let Ok(opened) = self.opened() else {
            let missing = within(stream::is_missing(&self.context, &self.settings)).await?;
            return if missing { Ok(None) } else { self.opened().map(|_| None) };
        };
        match within(opened.stream.get_info()).await? {
            Ok(info) if info.created.to_string() != opened.created => {
                let why = format!("the stream {} was made anew at {}", self.settings.stream, info.created);
                Err(self.inbox.trouble(Trouble::Lost(why)))
            }
            Ok(info) => stream::check_led(&info).map(|()| Some(info.state)),
            Err(error) if stream::is_gone(&error) => Ok(None),
            Err(error) => Err(Trouble::unreachable(error)),
        }
    }

    /// Batches right after a position that the follower has not brought yet, but that are known to be there. Waits for the
    /// first: a leader that is new may not have it at hand.
    async fn fetch(&self, after: Position, limit: usize) -> Result<Vec<(Position, Vec<u8>)>, Trouble> {
        let first = within(async {
            loop {
                if let Some(bytes) = self.read(after + 1).await? {
                    return Ok(bytes);
                }
                if let Some(state) = self.state().await? {
                    self.inbox.follows(after, &state)?;
                }
                tokio::time::sleep(JOURNAL_POLL_PAUSE).await;
            }
        });
        let mut batches = vec![(after + 1, first.await??.to_vec())];
        while batches.len() < limit && self.inbox.has_after(after + batches.len() as u64) {
            let next = after + 1 + batches.len() as u64;
            match self.read(next).await? {
                Some(bytes) => batches.push((next, bytes.to_vec())),
                None => break,
            }
        }
        Ok(batches)
    }
}

/// A point at which a write beside the batches fails, as if no server answered.
fn failing(point: &str) -> Result<(), Trouble> {
    match failpoints::at(point) {
        None => Ok(()),
        Some(_) => Err(Trouble::Unreachable(format!("the failpoint {point}"))),
    }
}

/// An answer of the servers, if it comes in time.
async fn within<T>(answer: impl Future<Output = T>) -> Result<T, Trouble> {
    let late = |_| Trouble::Unreachable(format!("no answer within {JOURNAL_READ_TIMEOUT:?}"));
    tokio::time::timeout(JOURNAL_READ_TIMEOUT + Duration::from_millis(100), answer).await.map_err(late)
}

/// The answer to a question that is put again every so often beside those that are still open: one that was put while there
/// was no leader is answered by nobody, the next leader included, and who waits for that waits out the whole of its time.
/// Ends when all that are open have failed.
async fn asked_again<T, Q>(every: Duration, question: impl Fn() -> Q) -> Result<T, Trouble>
where
    Q: Future<Output = Result<T, Trouble>>,
{
    let (mut open, mut again) = (FuturesUnordered::new(), tokio::time::interval(every));
    within(async {
        loop {
            tokio::select! {
                _ = again.tick() => open.push(question()),
                Some(answer) = open.next() => match answer {
                    Err(Trouble::Unreachable(_)) if !open.is_empty() => {}
                    answer => return answer,
                },
            }
        }
    })
    .await?
}

/// What a stream's leader has at a place; `None` is nothing yet, or nothing any more.
async fn message_at(stream: &Stream<()>, position: Position) -> Result<Option<Bytes>, Trouble> {
    match within(stream.get_raw_message(position)).await? {
        Ok(message) => Ok(Some(message.payload)),
        Err(error) => match error.kind() {
            RawMessageErrorKind::NoMessageFound => Ok(None),
            _ => Err(Trouble::unreachable(error)),
        },
    }
}

/// What a place is that has nothing: `None` if it was trimmed.
fn nothing_at(position: Position, state: &State) -> Result<Option<Vec<u8>>, Trouble> {
    if state.first_sequence > position {
        return Ok(None);
    }
    Err(Trouble::Unreachable(format!("the batch at {position} is not at hand")))
}

/// Where the stream ends, as the refusal of a batch says.
fn ends_at(refusal: &str) -> Option<Position> {
    let (_, rest) = refusal.rsplit_once("wrong last sequence: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What the servers call an error, if they do.
fn code(error: &(dyn std::error::Error + 'static)) -> Option<ErrorCode> {
    let told = error.downcast_ref::<jetstream::Error>().map(jetstream::Error::error_code);
    told.or_else(|| error.source().and_then(code))
}

impl Journal for JetStream {
    fn append(&self, after: Position, batch: &[u8]) -> Append {
        if let Err(trouble) = self.inbox.sound().and_then(|()| self.opened()).and_then(|_| self.assured()) {
            return Append::NotSent(trouble.to_string());
        }
        // What is queued now would be sent when nobody waits for it.
        if self.client.connection_state() != async_nats::connection::State::Connected {
            return Append::NotSent("no server of the journal is connected".to_owned());
        }
        // Whoever wins is ready first for the next place too: it lets others try.
        if self.inbox.yields() {
            std::thread::sleep(JOURNAL_YIELD);
        }
        let batch = Bytes::copy_from_slice(batch);
        self.runtime.block_on(self.publish(after, &batch))
    }

    fn settle(&self, after: Position, batch: &[u8]) -> Settled {
        // Into another log it must not get.
        if self.inbox.sound().is_err() {
            return Settled::NotYet;
        }
        self.runtime.block_on(async {
            // The batch may be large, and what is asked for again comes again: it is asked first who leads.
            if asked_again(JOURNAL_ASK_AGAIN, || self.led()).await.is_err() {
                return Settled::NotYet;
            }
            match self.read(after + 1).await {
                Ok(Some(found)) => {
                    self.inbox.known(after + 1);
                    return if found == batch { Settled::Ours } else { Settled::Theirs };
                }
                Ok(None) => {}
                Err(_) => return Settled::NotYet,
            }
            // It may land by itself. To servers of which it is known that they do not sync it is not offered anew.
            if self.assured().is_err() {
                return Settled::NotYet;
            }
            // The same bytes for the same place: if the first ones come late, one of the two is refused.
            match self.publish(after, &Bytes::copy_from_slice(batch)).await {
                Append::Appended => Settled::Ours,
                _ => Settled::NotYet,
            }
        })
    }

    fn head(&self) -> Result<Option<Position>, Trouble> {
        self.opened()?;
        let end = async {
            loop {
                match self.look().await {
                    // A leader that is new may not have brought out yet what another server told of.
                    Err(Trouble::Unreachable(_)) => tokio::time::sleep(JOURNAL_POLL_PAUSE).await,
                    looked => return looked.map(|state| Some(state.last_sequence)),
                }
            }
        };
        self.runtime.block_on(within(end))?
    }

    fn batch(&self, position: Position) -> Result<Option<Vec<u8>>, Trouble> {
        self.inbox.readable()?;
        self.runtime.block_on(async {
            if let Some(bytes) = self.read(position).await? {
                return Ok(Some(bytes.to_vec()));
            }
            nothing_at(position, &self.look().await?)
        })
    }

    fn interruptions(&self) -> u64 {
        self.inbox.interruptions()
    }

    fn follow(&self, after: Position, limit: usize) -> Result<Vec<(Position, Vec<u8>)>, Trouble> {
        self.inbox.sound()?;
        let batches = self.inbox.take(after, limit);
        if !batches.is_empty() || limit == 0 || !self.inbox.has_after(after) {
            return Ok(batches);
        }
        self.runtime.block_on(self.fetch(after, limit))
    }

    fn on_arrival(&self, wake: Wake) {
        self.inbox.on_arrival(wake);
    }

    fn trim(&self, up_to: Position) -> Result<(), Trouble> {
        self.assured()?;
        let stream = &self.opened()?.stream;
        failing("journal.purge")?;
        let purge = async { stream.purge().sequence(up_to + 1).await };
        let purged = self.runtime.block_on(within(purge))?;
        purged.map_err(Trouble::unreachable)?;
        failing("journal.purged")
    }

    fn durable(&self) -> Option<Durable> {
        Some(self.assured().unwrap_or(Durable::Unknown))
    }

    fn depot(self: Arc<Self>) -> Option<Arc<dyn Depot>> {
        Some(self)
    }

    fn shelf(self: Arc<Self>) -> Option<Arc<dyn Shelf>> {
        Some(self)
    }
}

impl Depot for JetStream {
    fn list(&self) -> Result<Vec<Stored>, Trouble> {
        self.opened()?;
        self.runtime.block_on(depot::list(&self.patient(), &self.settings))
    }

    fn put(&self, name: &str, file: &Path) -> Result<(), Trouble> {
        self.assured()?;
        self.opened()?;
        failing("journal.put")?;
        self.runtime.block_on(depot::put(&self.patient(), &self.settings, name, file))?;
        failing("journal.was_put")
    }

    fn fetch(&self, name: &str, into: &Path) -> Result<(), Trouble> {
        self.opened()?;
        self.runtime.block_on(depot::fetch(&self.patient(), &self.settings, name, into))
    }

    fn remove(&self, name: &str) -> Result<(), Trouble> {
        self.assured()?;
        self.opened()?;
        self.runtime.block_on(depot::remove(&self.patient(), &self.settings, name))
    }
}

impl Shelf for JetStream {
    fn get(&self, key: &str) -> Result<Option<Kept>, Trouble> {
        self.runtime.block_on(self.opened()?.bucket.get(key))
    }

    fn keys(&self) -> Result<Vec<String>, Trouble> {
        self.runtime.block_on(self.opened()?.bucket.keys())
    }

    fn put(&self, key: &str, value: &[u8], after: u64) -> Result<bool, Trouble> {
        self.assured()?;
        failing("journal.shelve")?;
        let is_put = self.runtime.block_on(self.opened()?.bucket.put(key, Bytes::copy_from_slice(value), after))?;
        failing("journal.shelved")?;
        Ok(is_put)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_refusal_says_where_the_stream_ends() {
        let refusal = "wrong last sequence: wrong last sequence: 156 (code 400, error code 10071)";
        assert_eq!(ends_at(refusal), Some(156));
        assert_eq!(ends_at("wrong last sequence: wrong last sequence (code 400, error code 10164)"), None);
        assert_eq!(ends_at("timed out"), None);
    }

    /// Counts how often it is asked, and answers with that.
    fn counted(asked: &Cell<u32>) -> u32 {
        asked.set(asked.get() + 1);
        asked.get()
    }

    #[tokio::test]
    async fn a_question_that_nobody_answers_does_not_keep_the_next_from_being_answered() {
        let asked = Cell::new(0);
        let question = || {
            let number = counted(&asked);
            async move { if number < 3 { std::future::pending().await } else { Ok(number) } }
        };
        assert_eq!(asked_again(Duration::from_millis(1), question).await.ok(), Some(3));
    }

    #[tokio::test]
    async fn a_question_that_fails_ends_it_unless_another_is_open() {
        let asked = Cell::new(0);
        let question = |fails: u32| {
            let number = counted(&asked);
            async move {
                match number {
                    1 if fails > 1 => {
                        tokio::time::timeout(Duration::from_secs(60), std::future::pending()).await.map_err(|_| late())
                    }
                    n if n <= fails => Err(late()),
                    n => Ok(n),
                }
            }
        };
        // No second one is put before the first has failed, however busy the machine is.
        let first = asked_again(Duration::from_secs(60), || question(1)).await;
        assert!(matches!(first, Err(Trouble::Unreachable(_))) && asked.get() == 1, "{first:?} after {asked:?}");
        asked.set(0);
        let every = Duration::from_millis(1);
        assert_eq!(asked_again(every, || question(4)).await.ok(), Some(5), "the first is open all the time");
        let gone = asked_again(every, || async { Err::<(), _>(Trouble::Lost("gone".to_owned())) }).await;
        assert!(matches!(gone, Err(Trouble::Lost(_))), "{gone:?}");
    }

    fn late() -> Trouble {
        Trouble::Unreachable("nobody answered".to_owned())
    }
}
