//! What came of what operators alone may do: a line of the log for each, beside that of whoever was admitted to it.

use super::request::Caller;
use crate::{
    domain::error::{Error, Reason, word},
    limits::AUDIT,
};

/// What was asked for, in names that were checked, and what is known of how it went. What is `None` has no field.
#[derive(Debug, Clone, Default)]
pub(super) struct Act {
    /// The report that is erased.
    pub report: Option<String>,
    /// Or of which source those are that name a person.
    pub source: Option<String>,
    /// That person.
    pub person: Option<String>,
    /// Why it is erased.
    pub reason: Option<String>,
    /// The first revision that a trim keeps.
    pub kept_from: Option<u64>,
    /// Whether nothing was to happen.
    pub dry_run: Option<bool>,
    /// How large what was sent is.
    pub bytes: Option<u64>,
}

/// Writes it: the revision that came of it, which is 0 if none did, or why it failed.
pub(super) fn done(caller: &Caller, act: &Act, came: Result<u64, &Error>) {
    if !caller.may_be_written() {
        return;
    }
    let (revision, outcome) = match came {
        Ok(revision) => (Some(revision), "OK"),
        // (It may have happened: OUTCOME_UNKNOWN.)
        Err(error) => (None, word(error.reason)),
    };
    let Act { report, source, person, reason, kept_from, dry_run, bytes } = act;
    tracing::info!(
        target: AUDIT,
        audit = "done",
        principal = %caller.principal().name,
        report = report.as_deref(),
        source = source.as_deref(),
        person = person.as_deref(),
        reason = reason.as_deref(),
        kept_from = *kept_from,
        dry_run = *dry_run,
        bytes = *bytes,
        revision,
        outcome
    );
}

/// What is under way. Whoever asked may go away meanwhile, and it may stand all the same: then the line says that nobody
/// knows.
pub(super) struct Pending<'a> {
    caller: &'a Caller,
    act: Option<Act>,
}

impl<'a> Pending<'a> {
    /// Made before it is waited for.
    pub fn of(caller: &'a Caller, act: Act) -> Self {
        Self { caller, act: Some(act) }
    }

    /// What came of it, as [`done`] says it.
    pub fn came(mut self, came: Result<u64, &Error>) {
        if let Some(act) = self.act.take() {
            done(self.caller, &act, came);
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(act) = self.act.take() {
            done(self.caller, &act, Err(&Error::new(Reason::OutcomeUnknown, "nobody waits for it any more")));
        }
    }
}
