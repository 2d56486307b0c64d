//! How a stream was left, and what that says.

use tonic::Status;
use tonic_types::StatusExt as _;

use super::history::{Ending, Stream};
use crate::domain::error::chain;

/// The domain of the catalogue's errors.
const DOMAIN: &str = "attache";
/// Reasons that say of a token that it cannot be gone on from.
const REFUSALS: [&str; 5] =
    ["TOKEN_MALFORMED", "TOKEN_FILTER_MISMATCH", "TOKEN_IN_FUTURE", "LOG_REPLACED", "HISTORY_TRIMMED"];

/// How a stream was left.
pub enum Left {
    /// By us.
    Ours,
    /// By the server, without an error.
    Closed,
    /// With an error.
    Failed(Status),
    /// By us, who waited in vain.
    Silent,
}

/// Whether a reason says that a token cannot be gone on from.
#[must_use]
pub fn refuses(reason: &str) -> bool {
    REFUSALS.contains(&reason)
}

impl Left {
    /// As it is recorded of a stream.
    #[must_use]
    pub fn ending(&self, stream: &Stream) -> Ending {
        match self {
            Self::Ours => Ending::Ours,
            Self::Closed => Ending::Closed,
            Self::Silent => Ending::Silent,
            Self::Failed(status) => match status.get_details_error_info() {
                Some(info) if info.domain == DOMAIN => {
                    let resumes = stream.resumed.is_some() && stream.frames.is_empty();
                    Ending::Catalogue { refused: resumes && refuses(&info.reason), reason: info.reason }
                }
                _ => Ending::Unexplained(chain(status)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        error::{Error, Reason},
        token::{Epoch, GENESIS, Token},
    };

    fn stream(resumed: bool) -> Stream {
        let resumed = resumed.then(|| Token::at(Epoch::nil(), 0, &GENESIS));
        Stream { server: 0, resumed, acknowledged: 0, until: false, frames: Vec::new(), ending: Ending::Ours }
    }

    #[test]
    fn an_error_of_the_catalogue_is_told_from_others_and_a_refused_token_from_both() {
        let failed = |reason: Reason| Left::Failed(Error::new(reason, "because").into());
        let catalogue = |reason: &str, refused| Ending::Catalogue { reason: reason.into(), refused };
        assert_eq!(failed(Reason::Draining).ending(&stream(true)), catalogue("DRAINING", false));
        assert_eq!(failed(Reason::LogReplaced).ending(&stream(true)), catalogue("LOG_REPLACED", true));
        assert_eq!(failed(Reason::LogReplaced).ending(&stream(false)), catalogue("LOG_REPLACED", false));
        let other = Left::Failed(Status::unknown("h2")).ending(&stream(true));
        assert!(matches!(other, Ending::Unexplained(_)), "{other:?}");
    }
}
