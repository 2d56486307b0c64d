//! Bounded retries of filings: a request id makes them safe.

use std::{future::Future, time::Duration};

use tonic::{Response, Status};

use super::{
    error::{CliError, is_retryable, reason, retry_delay},
    output,
};

/// How often a filing is sent at most.
pub const MAX_ATTEMPTS: u32 = 3;

/// The first wait where the server does not say how long; it doubles.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The server's advice is followed up to this long.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Sends the same request until it is answered, at most three times, and says so on standard error.
///
/// # Errors
///
/// The last refusal; but of a filing whose outcome was unknown once, that it is, until an answer settles it: a refusal that
/// nothing happened speaks of its own attempt alone.
pub async fn with_retries<T, F, Answer>(mut send: F) -> Result<T, CliError>
where
    F: FnMut() -> Answer,
    Answer: Future<Output = Result<Response<T>, Status>>,
{
    let (mut attempt, mut unknown) = (1, None);
    loop {
        match send().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if attempt < MAX_ATTEMPTS && worth_repeating(&status) => {
                pause(&status, attempt).await;
                attempt += 1;
                unknown = unknown.or_else(|| (reason(&status) == "OUTCOME_UNKNOWN").then_some(status));
            }
            Err(status) if is_retryable(&status) => return Err(unknown.unwrap_or(status).into()),
            Err(status) => return Err(status.into()),
        }
    }
}

/// Waits before the next attempt, and says so on standard error.
pub async fn pause(status: &Status, attempt: u32) {
    let delay = delay(status, attempt);
    output::note(format_args!(
        "{} ({}); trying again in {delay:?}, attempt {} of {MAX_ATTEMPTS}",
        status.message(),
        word(status),
        attempt + 1
    ));
    tokio::time::sleep(delay).await;
}

/// How long to wait after this many attempts.
#[must_use]
pub fn delay(status: &Status, attempt: u32) -> Duration {
    let own = FIRST_DELAY * 2_u32.saturating_pow(attempt.saturating_sub(1).min(10));
    retry_delay(status).unwrap_or(own).min(MAX_DELAY)
}

/// The reason's word, or the code's where there is none.
#[must_use]
pub fn word(status: &Status) -> String {
    match reason(status) {
        reason if reason.is_empty() => format!("{:?}", status.code()),
        reason => reason,
    }
}

/// Whether another attempt makes sense: a full disk does not empty itself while somebody waits at a prompt.
#[must_use]
pub fn worth_repeating(status: &Status) -> bool {
    (is_retryable(status) && reason(status) != "STORAGE_FULL") || reason(status) == "CONTENTION"
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::domain::error::{Error, Reason};

    fn refusal(reason: Reason) -> Status {
        Error::new(reason, "because").with_retry(Duration::from_millis(1)).into()
    }

    async fn attempts(reason: Reason) -> u32 {
        let sent = Cell::new(0);
        let answer: Result<(), _> = with_retries(|| {
            sent.set(sent.get() + 1);
            async { Err(refusal(reason)) }
        })
        .await;
        assert!(answer.is_err());
        sent.get()
    }

    #[tokio::test]
    async fn what_may_succeed_later_is_sent_three_times_and_the_rest_once() {
        assert_eq!(attempts(Reason::Overloaded).await, 3);
        assert_eq!(attempts(Reason::OutcomeUnknown).await, 3);
        assert_eq!(attempts(Reason::Contention).await, 3);
        assert_eq!(attempts(Reason::StorageFull).await, 1);
        assert_eq!(attempts(Reason::FieldInvalid).await, 1);
    }

    #[tokio::test]
    async fn what_was_in_doubt_once_is_not_told_to_have_not_happened() {
        let mut refusals = [Reason::JournalUnavailable, Reason::JournalUnavailable, Reason::OutcomeUnknown].to_vec();
        let answer: Result<(), _> = with_retries(|| {
            let refused = refusal(refusals.pop().expect("three attempts"));
            async { Err(refused) }
        })
        .await;
        let told = answer.expect_err("it was refused").to_string();
        assert!(told.contains("OUTCOME_UNKNOWN"), "{told}");
    }

    #[test]
    fn the_servers_advice_is_followed_within_bounds() {
        assert_eq!(delay(&refusal(Reason::Overloaded), 3), Duration::from_millis(1));
        assert_eq!(delay(&Status::unavailable(""), 1), FIRST_DELAY);
        assert_eq!(delay(&Status::unavailable(""), 3), FIRST_DELAY * 4);
        assert_eq!(delay(&Status::unavailable(""), 30), MAX_DELAY);
    }
}
