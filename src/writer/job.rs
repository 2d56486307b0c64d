//! What the writer is asked to do, and what it answers.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::sync::oneshot;

use crate::{
    clock::CLOCK,
    domain::{
        date::Day,
        error::Result,
        name::{RecordName, ReportName},
        report::Report,
    },
    pb::{
        log::{Merge, Redact, Ruling},
        v1::{self, Intent, RetractionReason},
    },
    store::{Head, read::CursorRow},
};

/// A filing as it was asked for, checked.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub act: Act,
    /// Who asks.
    pub principal: String,
    /// Whether they may make rulings: who may not undoes none.
    pub may_rule: bool,
    /// Makes a retry safe; empty is none.
    pub request_id: String,
    /// BLAKE3 of the request's body, by which one with the same id is known to be the same; without an id not asked for.
    pub digest: Option<[u8; 32]>,
    /// Decide, but file nothing.
    pub validate_only: bool,
    /// When it was recorded, in microseconds since 1970, if the filer supplies it.
    pub recorded_at_us: Option<i64>,
}

impl Request {
    /// The next part of a move of the registry's day, by the clock; `recorded_at_us` while a history is replayed.
    #[must_use]
    pub fn day(to: Day, recorded_at_us: Option<i64>) -> Self {
        Self { recorded_at_us, ..Self::of(Act::Day { to }, CLOCK) }
    }

    /// An act that is not told apart from another by an id, of somebody who may do whatever it takes.
    #[must_use]
    pub fn of(act: Act, principal: &str) -> Self {
        Self {
            act,
            principal: principal.to_owned(),
            may_rule: true,
            request_id: String::new(),
            digest: None,
            validate_only: false,
            recorded_at_us: None,
        }
    }
}

/// The act of a filing.
#[derive(Debug, Clone)]
pub enum Act {
    /// File reports, all or none.
    File {
        /// The reports, in the order of the request.
        reports: Vec<Report>,
        /// Reports and the etags they must have; empty is: there must be none.
        preconditions: Vec<(ReportName, String)>,
        /// What is meant by values that change.
        intent: Intent,
    },
    /// Withdraw reports.
    Withdraw {
        /// Which.
        selection: Selection,
        /// Why.
        reason: RetractionReason,
    },
    /// Retract a record by a ruling.
    Retract {
        /// The record.
        record: RecordName,
        /// The ruling, its source checked.
        ruling: Box<Ruling>,
    },
    /// File and withdraw reports, as far as it can be.
    Import {
        /// In the order of the batch.
        steps: Vec<Step>,
        /// What is meant by values that change.
        intent: Intent,
        /// Why, of what is withdrawn.
        reason: RetractionReason,
    },
    /// Move the registry's day, by one part.
    Day {
        /// To this day.
        to: Day,
    },
    /// Merge a name into another by a ruling.
    Merge {
        /// The name that is merged.
        loser: RecordName,
        /// The name that stands, of the same kind, not the same.
        survivor: RecordName,
        /// The ruling, its source checked.
        merge: Box<Merge>,
    },
    /// Lift a merge.
    Unmerge {
        /// The name that had been merged.
        loser: RecordName,
    },
    /// Erase reports.
    Redact {
        /// Which: as many of the first as fit one revision.
        reports: Vec<ReportName>,
        /// Why, in words.
        reason: String,
    },
    /// Drop what is older than a revision.
    Trim {
        /// This one is kept.
        before: u64,
    },
    /// Lift rulings.
    Restore {
        /// The record.
        record: RecordName,
        /// The source of the ruling; `None` is all.
        source: Option<String>,
    },
}

/// One step of an import.
#[derive(Debug, Clone)]
pub enum Step {
    /// File a report.
    File(Box<Report>),
    /// Withdraw one, if it stands.
    Withdraw(ReportName),
}

impl Step {
    /// The report that it is about.
    #[must_use]
    pub fn report_name(&self) -> &ReportName {
        match self {
            Self::File(report) => &report.name,
            Self::Withdraw(name) => name,
        }
    }
}

/// Which reports are withdrawn.
#[derive(Debug, Clone)]
pub enum Selection {
    /// One.
    Report(ReportName),
    /// All of a source.
    Source(String),
    /// All of a publisher, by its key.
    Publisher(String),
}

impl Selection {
    /// The field of the request that says so.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Report(_) => "report",
            Self::Source(_) => "source",
            Self::Publisher(_) => "publisher",
        }
    }
}

/// What became of a filing.
#[derive(Debug, Clone)]
pub struct Answer {
    /// One result for each report.
    pub results: Vec<v1::FilingResult>,
    /// Of imports: which of these were left out for want of a role, by index.
    pub not_granted: Vec<u32>,
    /// The events of the revision.
    pub events: Vec<v1::Event>,
    /// Of withdrawals and redactions: how many reports are left.
    pub remaining: i32,
    /// Of redactions: what is erased.
    pub redacted: Option<Box<Redact>>,
    /// The revision; 0 if nothing had to be recorded.
    pub revision: u64,
    /// The position at which it is visible.
    pub head: Head,
}

/// A cursor to keep.
#[derive(Debug, Clone)]
pub struct KeepCursor {
    /// Whose.
    pub principal: String,
    /// Its name.
    pub name: String,
    /// The position, its etag and time left for the writer.
    pub row: CursorRow,
    /// The etag it must have; empty is: there must be none.
    pub expected_etag: Option<String>,
}

/// What waits in the writer's queue.
pub(super) enum Message {
    /// A filing.
    File(Box<Job>),
    /// Drop some of what was trimmed up to this floor; answered by whether there is more.
    Sweep(u64, oneshot::Sender<Result<bool>>),
    /// Empty the write-ahead log of what was erased; answered by whether it is.
    Cut(oneshot::Sender<bool>),
    /// Write over some of the pages that were free then; answered by whether there was any.
    Scrub(oneshot::Sender<Result<bool>>),
    /// A cursor.
    Cursor(KeepCursor, oneshot::Sender<Result<CursorRow>>),
    /// Batches of other writers may have arrived.
    Arrived,
    /// No more will come.
    Stop,
}

/// A filing that waits.
pub(super) struct Job {
    pub request: Request,
    pub reply: oneshot::Sender<Answered>,
    pub admission: Admission,
    /// The request's, so that its id is in every line that its filing writes.
    pub span: tracing::Span,
    /// Ends when the writer takes it.
    pub waits: tracing::Span,
}

/// What the filer is given back: the answer, and what was asked, because to free its messages takes time that the
/// writer's one thread has not.
pub(super) struct Answered {
    pub answer: Result<Answer>,
    pub _request: Request,
}

/// Whether a filing was admitted: it is given up before that without anything happening, and never after.
#[derive(Debug, Clone, Default)]
pub(super) struct Admission(Arc<AtomicU8>);

const WAITING: u8 = 0;
const ADMITTED: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Admission {
    /// The writer takes it; `false` if it was given up.
    pub fn admit(&self) -> bool {
        self.0.compare_exchange(WAITING, ADMITTED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The filer gives it up; `false` if the writer has it already.
    pub fn give_up(&self) -> bool {
        self.0.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
