//! Positions as people give them: an instant, or a token.

use jiff::Timestamp;

use crate::pb::v1::{AsOf, as_of};

/// Tokens are longer than anything that one would type: an epoch alone has 22 characters.
const MIN_TOKEN_CHARS: usize = 32;

/// A position in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// The revision of a token.
    Token(String),
    /// The last revision recorded at or before an instant.
    Time(Timestamp),
}

/// Reads an RFC 3339 instant with offset, or a token.
///
/// # Errors
///
/// For what looks like a date and is no instant.
pub fn parse(text: &str) -> Result<Position, String> {
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(Position::Time(time)),
        Err(_) if text.is_empty() => Err("a token or an instant is expected".into()),
        Err(_) if is_token(text) => Ok(Position::Token(text.to_owned())),
        Err(_) => Err("an instant with offset is expected, such as 2023-10-07T18:00:00+04:00, or a token".into()),
    }
}

/// Whether it has the form of a token; what is in it is the server's business, which may be newer than this program.
fn is_token(text: &str) -> bool {
    let of_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.len() >= MIN_TOKEN_CHARS && text.chars().all(of_base64)
}

impl Position {
    /// As the requests of lookups take it.
    #[must_use]
    pub fn as_of(&self) -> AsOf {
        let position = match self {
            Self::Token(token) => as_of::Position::Token(token.clone()),
            Self::Time(time) => as_of::Position::Time(to_proto(*time)),
        };
        AsOf { position: Some(position) }
    }
}

/// The same instant in the contract's type.
#[must_use]
pub fn to_proto(time: Timestamp) -> prost_types::Timestamp {
    let mut timestamp = prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() };
    timestamp.normalize();
    timestamp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::token::{Epoch, GENESIS, Phase, Token};

    #[test]
    fn an_instant_needs_its_offset() {
        assert!(matches!(parse("2023-10-07T18:00:00+04:00"), Ok(Position::Time(_))));
        assert!(matches!(parse("2023-10-07T14:00:00Z"), Ok(Position::Time(_))));
        assert!(parse("2023-10-07T18:00:00").is_err());
        assert!(parse("2023-10-07").is_err());
    }

    #[test]
    fn a_token_is_known_by_its_form_and_other_words_are_not_taken_for_one() {
        let token = "ATb1xFucjE6Zty3Qyy9NK3cAAAAAAAAAGE2QP9pi6W6YAL8Ly2A";
        assert_eq!(parse(token), Ok(Position::Token(token.into())));
        let snapshot = Token {
            epoch: Epoch::nil(),
            revision: 1,
            hash: [0; 8],
            phase: Phase::Snapshot { after: String::new(), filters: [0; 8] },
        };
        for token in [Token::at(Epoch::nil(), 0, &GENESIS).encode(), snapshot.encode()] {
            assert!(matches!(parse(&token), Ok(Position::Token(_))), "{token}");
        }
        for word in ["yesterday", "", "-", "2023", "20231007", "a sentence that is as long as a token would be"] {
            assert!(parse(word).is_err(), "{word}");
        }
    }
}
