//! Pages: bound to the request they belong to and to the revision of its first page, so that nothing shifts.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;

use crate::{
    domain::{
        error::{Error, Reason, Result},
        token::Token,
    },
    limits::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE},
};

const FIELD: &str = "page_token";

/// A page token: the position of the first page, the request's digest, and where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken {
    /// What all pages are read as of.
    pub at: Token,
    /// The digest of the request.
    pub request: [u8; 8],
    /// Where the next page begins in the order of the list.
    pub key: i64,
    /// The same among those of one key.
    pub name: String,
}

/// The digest of a request whose page fields were cleared. Requests of two lists may have the same bytes, so their name
/// counts.
pub(super) fn digest(name: &str, request: &impl Message) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes()).update(&request.encode_to_vec());
    let mut digest = [0; 8];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    digest
}

impl PageToken {
    /// The token as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = self.request.to_vec();
        bytes.extend(self.key.to_be_bytes());
        bytes.extend(self.name.as_bytes());
        let sum = blake3::hash(&bytes);
        bytes.extend(&sum.as_bytes()[..4]);
        format!("{}.{}", self.at.encode(), URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a page token of a request; `None` for the first page.
    ///
    /// # Errors
    ///
    /// `TOKEN_MALFORMED`; `PAGE_TOKEN_MISMATCH` if it is another request's.
    pub fn decode(text: &str, request: [u8; 8]) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let malformed = || Error::field(Reason::TokenMalformed, FIELD, "is not a page token of this service");
        let (at, rest) = text.split_once('.').filter(|_| text.len() <= 2048).ok_or_else(malformed)?;
        let at = Token::decode(at, FIELD)?;
        let bytes = URL_SAFE_NO_PAD.decode(rest).map_err(|_| malformed())?;
        let (bytes, sum) = bytes.split_last_chunk::<4>().ok_or_else(malformed)?;
        if blake3::hash(bytes).as_bytes()[..4] != *sum {
            return Err(malformed());
        }
        let (own, bytes) = bytes.split_first_chunk::<8>().ok_or_else(malformed)?;
        let (key, name) = bytes.split_first_chunk::<8>().ok_or_else(malformed)?;
        if *own != request {
            let why = "belongs to another request; only page_size may change between pages";
            return Err(Error::field(Reason::PageTokenMismatch, FIELD, why));
        }
        let name = String::from_utf8(name.to_vec()).map_err(|_| malformed())?;
        Ok(Some(Self { at, request: *own, key: i64::from_be_bytes(*key), name }))
    }
}

/// The size of a page as clamped.
pub(super) fn size(asked: i32) -> Result<usize> {
    match usize::try_from(asked) {
        Err(_) => Err(Error::field(Reason::FieldInvalid, "page_size", "is negative")),
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) => Ok(size.min(MAX_PAGE_SIZE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_as_many_as_are_asked_for_and_a_thousand_at_most() {
        let sizes = [0, 1, 1000, 1001, i32::MAX].map(|asked| size(asked).unwrap());
        assert_eq!(sizes, [DEFAULT_PAGE_SIZE, 1, 1000, 1000, 1000]);
        assert!(size(-1).is_err());
    }
}
