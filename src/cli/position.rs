//! Positions as people give them: an instant, or a token.

use jiff::Timestamp;

use crate::pb::v1::{AsOf, as_of};

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
        // Tokens are URL-safe: a colon never stands in one.
        Err(_) if text.contains(':') || is_date(text) => {
            Err("an instant with offset is expected, such as 2023-10-07T18:00:00+04:00, or a token".into())
        }
        Err(_) => Ok(Position::Token(text.to_owned())),
    }
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

fn is_date(text: &str) -> bool {
    text.len() <= 10
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_needs_its_offset() {
        assert!(matches!(parse("2023-10-07T18:00:00+04:00"), Ok(Position::Time(_))));
        assert!(matches!(parse("2023-10-07T14:00:00Z"), Ok(Position::Time(_))));
        assert!(parse("2023-10-07T18:00:00").is_err());
        assert!(parse("2023-10-07").is_err());
    }

    #[test]
    fn everything_else_is_a_token() {
        assert_eq!(parse("AQx_9-z"), Ok(Position::Token("AQx_9-z".into())));
    }
}
