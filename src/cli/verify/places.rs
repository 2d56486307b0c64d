//! How positions compare, with events and with each other.

use crate::domain::token::{Phase, Token};

/// Whether a position stands after an event.
#[must_use]
pub fn covers(token: &Token, (revision, index): (u64, u32)) -> bool {
    match token.phase {
        Phase::Partial { next } if token.revision == revision => index < next,
        _ => revision <= token.revision,
    }
}

/// Whether a position stands after a whole revision, and after the snapshot that the watch began with.
#[must_use]
pub fn is_past(token: &Token, revision: u64) -> bool {
    match token.phase {
        Phase::Whole => token.revision >= revision,
        Phase::Partial { .. } => token.revision > revision,
        Phase::Snapshot { .. } => false,
    }
}

/// What positions of one watch are ordered by.
#[must_use]
pub fn order(token: &Token) -> (u64, u64, &str) {
    match &token.phase {
        Phase::Snapshot { after, .. } => (token.revision, 0, after.as_str()),
        Phase::Partial { next } => (token.revision, (*next).into(), ""),
        Phase::Whole => (token.revision, u64::MAX, ""),
    }
}
