//! Tokens: positions in the log, the same on every replica.
//!
//! URL-safe base64 of: version, epoch (16 bytes), revision (8), the first 8 bytes of that revision's hash, phase, checksum (4).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::error::{Error, Reason, Result};

const VERSION: u8 = 1;
const CHECKSUM: usize = 4;
/// The longest token that is read: a snapshot's carries a name.
const MAX_TOKEN_CHARS: usize = 512;

/// The id of a log, made when it is created or restored.
pub type Epoch = uuid::Uuid;

/// The hash of a revision, over the whole chain up to it.
pub type Hash = [u8; 32];

/// The hash before the first revision.
pub const GENESIS: Hash = [0; 32];

/// The first bytes of a revision's hash, as tokens carry them.
#[must_use]
pub fn short(hash: &Hash) -> [u8; 8] {
    let mut short = [0; 8];
    short.copy_from_slice(&hash[..8]);
    short
}

/// Where within its revision a token stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// After all of it.
    Whole,
    /// In the middle of it: the next event is this one.
    Partial {
        /// Index of the next event.
        next: u32,
    },
    /// In a snapshot of the records at this revision.
    Snapshot {
        /// The name of the last record sent; empty before the first.
        after: String,
        /// Digest of the filters it was taken with.
        filters: [u8; 8],
    },
}

/// A position in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Of which log.
    pub epoch: Epoch,
    /// The revision it stands at.
    pub revision: u64,
    /// The first bytes of that revision's hash.
    pub hash: [u8; 8],
    /// Where within it.
    pub phase: Phase,
}

impl Token {
    /// The position after a whole revision.
    #[must_use]
    pub fn at(epoch: Epoch, revision: u64, hash: &Hash) -> Self {
        Self { epoch, revision, hash: short(hash), phase: Phase::Whole }
    }

    /// The token as text.
    #[must_use]
    pub fn encode(&self) -> String {
        // What those of whole revisions have.
        let mut bytes = Vec::with_capacity(2 + size_of::<Epoch>() + 8 + self.hash.len() + CHECKSUM);
        bytes.push(VERSION);
        bytes.extend(self.epoch.as_bytes());
        bytes.extend(self.revision.to_be_bytes());
        bytes.extend(self.hash);
        match &self.phase {
            Phase::Whole => bytes.push(0),
            Phase::Partial { next } => {
                bytes.push(1);
                bytes.extend(next.to_be_bytes());
            }
            Phase::Snapshot { after, filters } => {
                bytes.push(2);
                bytes.extend(filters);
                bytes.extend(after.as_bytes());
            }
        }
        bytes.extend(checksum(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token that came in the field `field`.
    ///
    /// # Errors
    ///
    /// `TOKEN_MALFORMED`.
    pub fn decode(text: &str, field: &str) -> Result<Self> {
        let malformed = || Error::field(Reason::TokenMalformed, field, "is not a token of this service");
        if text.len() > MAX_TOKEN_CHARS {
            return Err(malformed());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())?;
        let body = bytes.len().checked_sub(CHECKSUM).ok_or_else(malformed)?;
        let (body, sum) = bytes.split_at(body);
        if checksum(body) != sum {
            return Err(malformed());
        }
        read(body).ok_or_else(malformed)
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM]);
    sum
}

fn read(bytes: &[u8]) -> Option<Token> {
    let (version, rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let (epoch, rest) = rest.split_first_chunk::<16>()?;
    let (revision, rest) = rest.split_first_chunk::<8>()?;
    let (hash, rest) = rest.split_first_chunk::<8>()?;
    let (phase, rest) = rest.split_first()?;
    let number = u64::from_be_bytes(*revision);
    let phase = match phase {
        0 if rest.is_empty() => Phase::Whole,
        // Nothing is in the middle of what is before the first revision.
        1 if number > 0 => Phase::Partial { next: u32::from_be_bytes(rest.try_into().ok()?) },
        2 => {
            let (filters, after) = rest.split_first_chunk::<8>()?;
            Phase::Snapshot { after: String::from_utf8(after.to_vec()).ok()?, filters: *filters }
        }
        _ => return None,
    };
    Some(Token { epoch: Epoch::from_bytes(*epoch), revision: number, hash: *hash, phase })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(phase: Phase) -> Token {
        Token { epoch: Epoch::from_u128(7), revision: 42, hash: [9; 8], phase }
    }

    #[test]
    fn a_token_reads_back_as_written_in_every_phase() {
        let snapshot = Phase::Snapshot { after: "visits/a".into(), filters: [3; 8] };
        for phase in [Phase::Whole, Phase::Partial { next: 5 }, snapshot] {
            let token = token(phase);
            assert_eq!(Token::decode(&token.encode(), "after").unwrap(), token);
        }
    }

    #[test]
    fn a_token_that_was_changed_anywhere_is_refused() {
        let text = token(Phase::Whole).encode();
        for place in 0..text.len() {
            let mut changed: Vec<u8> = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let same = changed == text;
            assert!(same || Token::decode(&changed, "after").is_err(), "{place}");
        }
        let nowhere = Token { revision: 0, ..token(Phase::Partial { next: 1 }) }.encode();
        for bad in [&nowhere, "", "x", "not a token", &"A".repeat(10_000)] {
            assert_eq!(Token::decode(bad, "after").unwrap_err().reason, Reason::TokenMalformed);
        }
    }
}
