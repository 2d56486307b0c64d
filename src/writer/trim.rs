//! Moving the log's floor: what is older is dropped, by every replica.

use super::draft::Drafting;
use crate::{
    domain::error::{Error, Reason, Result},
    limits::REQUEST_ID_RETENTION,
    pb::log::{EntryPayload, Trim},
    store::log,
};

impl Drafting<'_> {
    /// The move of the floor to right before a revision; records nothing if it is there or beyond.
    ///
    /// # Errors
    ///
    /// `FIELD_INVALID` if that revision is not there yet, or the one before it is so young that the answer to a request may
    /// be asked for again.
    pub fn trim(&self, before: u64) -> Result<EntryPayload> {
        let refused = |why: String| Err(Error::field(Reason::FieldInvalid, "keep", why));
        if before <= self.head.floor + 1 {
            return Ok(EntryPayload::default());
        }
        if before > self.head.revision {
            return refused(format!("is after the newest revision, {}, which is always kept", self.head.revision));
        }
        if self.head.replaying {
            return refused("cannot be said while a history is replayed".to_owned());
        }
        let newest = log::entries(self.connection, before - 2, before - 1, 1, usize::MAX)?;
        let newest = newest.first().ok_or_else(|| Error::internal(format!("no entry {}", before - 1)))?;
        let retention = i64::try_from(REQUEST_ID_RETENTION.as_micros()).unwrap_or(i64::MAX);
        // Recorded time that is ahead of the clock stands still, and makes what was filed just now look old.
        if newest.recorded_at_us > self.clock_us.min(self.now_us).saturating_sub(retention) {
            let hours = REQUEST_ID_RETENTION.as_secs() / 3600;
            return refused(format!(
                "is too young: the last {hours} hours, and what is recorded ahead of the clock, are kept, to answer requests \
                 that are repeated"
            ));
        }
        let trim = Trim { before_revision: before, previous_hash: newest.hash.to_vec() };
        Ok(EntryPayload { trim: Some(trim), ..EntryPayload::default() })
    }
}
