//! What the catalogue says of a journal that does not answer: the one place that decides it.

use crate::{
    domain::error::{Error, Reason},
    journal::Trouble,
};

impl From<&Trouble> for Error {
    fn from(trouble: &Trouble) -> Self {
        let reason = match trouble {
            Trouble::Unreachable(_) => Reason::JournalUnavailable,
            Trouble::Lost(_) | Trouble::Lax(_) => Reason::LogDiverged,
            Trouble::Trimmed(_) => Reason::HistoryTrimmed,
        };
        Self::new(reason, trouble.to_string())
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Self::from(&trouble)
    }
}

/// Whether it may pass; what cannot stops a replica.
pub(super) fn may_pass(error: &Error) -> bool {
    error.reason == Reason::JournalUnavailable
}
