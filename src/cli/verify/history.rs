//! What was recorded of a run: plain data, which `judge` reads. Events are kept as places and digests, because
//! each is delivered many times.

use std::collections::BTreeMap;

use crate::{
    domain::token::{self, Token},
    pb::v1::{Event, EventType, Filter},
};

/// Everything that was recorded.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The servers' addresses; others are numbers of these.
    pub servers: Vec<String>,
    /// The last revision of the run: every watch was to go on until it had all of it.
    pub end: u64,
    /// What was watched, with its events in the log from before the run to its end.
    pub selections: Vec<(Selection, Vec<Seen>)>,
    /// Of each server every event of the run, as its `ListEvents` tells them.
    pub logs: Vec<Vec<Seen>>,
    /// The watches.
    pub watches: Vec<Watched>,
    /// Filings that were acknowledged and recorded something.
    pub acknowledged: Vec<Acknowledged>,
    /// Reads of what was just filed, `at_least` its token.
    pub reads: Tries,
    /// Filings that were repeated.
    pub repeats: Tries,
}

/// What a watch asks for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The records.
    pub names: Vec<String>,
    /// Types of event; none is all.
    pub types: Vec<EventType>,
    /// Whether they are disputed, if that is asked.
    pub disputed: Option<bool>,
    /// Whether with the record before.
    pub previous: bool,
}

impl Selection {
    /// As requests have it.
    #[must_use]
    pub fn filters(&self) -> Vec<Filter> {
        let (names, disputed) = (self.names.clone(), self.disputed);
        vec![Filter { names, disputed, include_probes: true, ..Filter::default() }]
    }

    /// The types, as requests have them.
    #[must_use]
    pub fn types(&self) -> Vec<i32> {
        self.types.iter().map(|t| *t as i32).collect()
    }

    /// Whether an event is for this watch for certain: whether a record is disputed its events do not say.
    #[must_use]
    pub fn surely_wants(&self, event: &Seen) -> bool {
        let of_type = self.types.is_empty() || self.types.iter().any(|t| *t as i32 == event.event_type);
        self.disputed.is_none() && of_type && self.names.contains(&event.subject)
    }
}

/// An event that was delivered, listed or acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// The record.
    pub subject: String,
    /// Its type.
    pub event_type: i32,
    /// Its revision.
    pub revision: u64,
    /// Its place within the revision.
    pub index: u32,
    /// Digest of all of it.
    pub whole: u64,
    /// Digest without what is only in it because somebody watches: the records, and whether it left the filter.
    pub bare: u64,
}

impl Seen {
    /// What is kept of an event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let bare = Event { record: None, previous: None, left_filter: false, ..event.clone() };
        Self {
            id: event.id.clone(),
            subject: event.subject.clone(),
            event_type: event.r#type,
            revision: event.revision,
            index: event.index,
            whole: digest(event),
            bare: digest(&bare),
        }
    }

    /// Where it stands in the log.
    #[must_use]
    pub fn place(&self) -> (u64, u32) {
        (self.revision, self.index)
    }

    /// Whether it is the state of a record, of a snapshot.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.event_type == EventType::Snapshot as i32
    }
}

/// The same for messages that say the same.
#[must_use]
pub fn digest(message: &impl prost::Message) -> u64 {
    u64::from_be_bytes(token::short(blake3::hash(&message.encode_to_vec()).as_bytes()))
}

/// A watch, over all its streams.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// The number of its selection.
    pub selection: usize,
    /// One after the other, each resumed where the one before was left.
    pub streams: Vec<Stream>,
    /// What its cache held, and what `List` said at the same token.
    pub compared: Vec<Compared>,
    /// Whether it had everything up to the end of the run.
    pub finished: bool,
}

/// One stream of a watch.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The number of the server.
    pub server: usize,
    /// The token it was resumed with; `None` is the watch's first.
    pub resumed: Option<Token>,
    /// The newest revision that was acknowledged before it was asked for.
    pub acknowledged: u64,
    /// Whether it was asked to end.
    pub until: bool,
    /// What came.
    pub frames: Vec<Frame>,
    /// How it ended.
    pub ending: Ending,
}

/// A frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its token.
    pub token: Token,
    /// What it says.
    pub what: What,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the contract says it")]
pub enum What {
    Started,
    Batch {
        events: Vec<Seen>,
        continued: bool,
    },
    Progress,
    CaughtUp,
    FellBehind,
    GoingAway,
    End,
    /// None that this program knows.
    Unknown,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// We left.
    Ours,
    /// The server closed it without an error.
    Closed,
    /// With an error of the catalogue, by its reason; whether it says that this token cannot be resumed from.
    Catalogue {
        /// The reason.
        reason: String,
        /// Whether the token was refused.
        refused: bool,
    },
    /// With an error that is none of the catalogue's.
    Unexplained(String),
    /// It did not come to its end in time.
    Silent,
}

/// Records by name, each as a digest.
pub type Records = BTreeMap<String, u64>;

/// A cache beside the list at the same token.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The token.
    pub token: Token,
    /// The server that was asked for the list.
    pub server: usize,
    /// What the events add up to.
    pub cached: Records,
    /// What was listed.
    pub listed: Records,
}

/// An answer to a filing.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Its revision.
    pub revision: u64,
    /// The position it names.
    pub token: Token,
    /// Its events.
    pub events: Vec<Seen>,
}

/// Things that were tried, and what was wrong.
#[derive(Debug, Clone, Default)]
pub struct Tries {
    /// How often.
    pub made: usize,
    /// How often on another server than before.
    pub elsewhere: usize,
    /// What was wrong.
    pub faults: Vec<String>,
}

impl Tries {
    /// With those of another.
    pub fn add(&mut self, other: Self) {
        self.made += other.made;
        self.elsewhere += other.elsewhere;
        self.faults.extend(other.faults);
    }
}

impl Watched {
    /// The token it began with.
    #[must_use]
    pub fn began(&self) -> Option<&Token> {
        Some(&self.streams.iter().find_map(|stream| stream.frames.first())?.token)
    }

    /// The last token it held.
    #[must_use]
    pub fn last(&self) -> Option<&Token> {
        Some(&self.streams.iter().rev().find_map(|stream| stream.frames.last())?.token)
    }
}

impl Stream {
    /// Its events, in the order they came.
    pub fn events(&self) -> impl Iterator<Item = &Seen> {
        self.frames.iter().flat_map(Frame::events)
    }

    /// Its events without those of a snapshot.
    pub fn changes(&self) -> impl Iterator<Item = &Seen> {
        self.events().filter(|event| !event.is_snapshot())
    }
}

impl Frame {
    /// Its events.
    #[must_use]
    pub fn events(&self) -> &[Seen] {
        match &self.what {
            What::Batch { events, .. } => events,
            _ => &[],
        }
    }
}
