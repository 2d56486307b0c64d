//! Static tokens: what a file keeps of them is a digest, from which no token can be made.

use std::collections::{BTreeSet, HashMap};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::url;

/// How every token begins: whoever finds one somewhere sees what it is.
const MARK: &str = "attache_";
/// Random bytes of a token: nobody guesses them, so a fast digest will do.
const SECRET_BYTES: usize = 32;

/// A token that was just made.
#[derive(Debug)]
pub struct Secret {
    /// What the client shows; it is kept nowhere else.
    pub token: String,
    /// What the file keeps, in hexadecimal digits.
    pub digest: String,
}

impl Secret {
    /// Another one.
    #[must_use]
    pub fn new() -> Self {
        let bytes: [u8; SECRET_BYTES] = rand::random();
        let token = format!("{MARK}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        let digest = blake3::hash(token.as_bytes()).to_hex().to_string();
        Self { token, digest }
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a bearer's text is one of ours, and no JWT.
pub(super) fn is_one(text: &str) -> bool {
    text.starts_with(MARK)
}

/// A text with the mark alone of each token in it: of a file in which one may stand where it does not belong.
#[must_use]
pub fn without_tokens(text: &str) -> String {
    let is_of_one = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let mut parts = text.split(MARK);
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        told.extend([MARK, "…", part.trim_start_matches(is_of_one)]);
    }
    told
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    digest: String,
    expires: Option<jiff::Timestamp>,
}

/// What is known of one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose it is: the principal is `token:` and this.
    pub name: String,
    /// When it ends, in microseconds since 1970.
    pub ends_at_us: Option<i64>,
}

/// Tokens by digest. A table of digests gives nothing away by how long it takes: what is looked up in it is the digest of
/// what was shown, which whoever guesses cannot steer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens(HashMap<[u8; 32], Token>);

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If it is not TOML with rows of name, digest and perhaps expires, or one is there twice. The error has no token that was
    /// put in the place of something else: it goes to the log.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|why| without_tokens(&why))
    }

    fn read(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| url::shown_fault(text, &e))?;
        let mut tokens = HashMap::new();
        for Row { name, digest, expires } in file.token {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err(format!("{name:?} is no name of a token: 1 to 64 of a-z A-Z 0-9 - _ . @"));
            }
            let hash = blake3::Hash::from_hex(&digest)
                .map_err(|_| format!("the digest of {name} is not 64 hexadecimal digits"))?;
            let ends_at_us = expires.map(jiff::Timestamp::as_microsecond);
            let token = Token { name, ends_at_us };
            if let Some(other) = tokens.insert(*hash.as_bytes(), token) {
                return Err(format!("the digest of {} is there twice", other.name));
            }
        }
        Ok(Self(tokens))
    }

    /// Whose tokens are good at a time, in microseconds since 1970.
    #[must_use]
    pub fn names(&self, now_us: i64) -> BTreeSet<&str> {
        let good = self.0.values().filter(|token| token.ends_at_us.is_none_or(|ends| ends > now_us));
        good.map(|token| token.name.as_str()).collect()
    }

    /// What is known of a token, by its digest.
    pub(super) fn find(&self, digest: &blake3::Hash) -> Option<&Token> {
        let (found, token) = self.0.get_key_value(digest.as_bytes())?;
        // (Compared once more, in constant time.)
        (blake3::Hash::from_bytes(*found) == *digest).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_what_the_file_keeps_of_it() {
        let (one, other) = (Secret::new(), Secret::new());
        let text =
            format!("[[token]]\nname = \"desk\"\ndigest = \"{}\"\nexpires = \"2027-01-01T00:00:00Z\"\n", one.digest);
        let tokens = Tokens::parse(&text).unwrap();
        assert!(!text.contains(&one.token));
        let digest = blake3::hash(one.token.as_bytes());
        let found = tokens.find(&digest).unwrap();
        assert_eq!((found.name.as_str(), found.ends_at_us), ("desk", Some(1_798_761_600_000_000)));
        assert_eq!(tokens.names(1_798_761_599_999_999), ["desk"].into());
        assert!(tokens.names(1_798_761_600_000_000).is_empty(), "it has ended");
        assert!(tokens.find(&blake3::hash(other.token.as_bytes())).is_none());
        assert!(is_one(&one.token) && one.token.len() > 50, "{}", one.token);
    }

    #[test]
    fn a_file_that_cannot_be_meant_is_refused() {
        let digest = Secret::new().digest;
        let row = |name: &str, digest: &str| format!("[[token]]\nname = {name:?}\ndigest = {digest:?}\n");
        assert!(Tokens::parse(&row("a b", &digest)).unwrap_err().contains("no name"));
        assert!(Tokens::parse(&row("a", "abc")).unwrap_err().contains("64 hexadecimal"));
        let twice = format!("{}{}", row("a", &digest), row("b", &digest));
        assert!(Tokens::parse(&twice).unwrap_err().contains("twice"));
        assert!(Tokens::parse("[[tokens]]").is_err());
        assert_eq!(Tokens::parse("").unwrap(), Tokens::default());
    }

    #[test]
    fn a_token_that_was_put_in_the_wrong_place_is_not_told_with_what_is_wrong() {
        let Secret { token, digest } = Secret::new();
        let secret = token.strip_prefix(MARK).unwrap();
        let row = |name: &str, digest: &str| format!("[[token]]\nname = \"{name}\"\ndigest = {digest}\n");
        for (slip, line) in [
            (row("a", &token), "line 3: "),
            (row("a", &format!("\"{token}")), "line 3: "),
            (row("a", &format!("\"{token}\"")), "the digest of a "),
            (row(&format!("a {token} {token}"), &format!("\"{digest}\"")), "no name"),
            (format!("{}expires = \"{token}\"\n", row("a", &format!("\"{digest}\""))), ""),
            (format!("\ntoken = \"{token}\"\n"), "line 2: "),
            (format!("{token} = \"{digest}\"\n"), "line 1: "),
        ] {
            let why = Tokens::parse(&slip).unwrap_err();
            assert!(why.contains(line) && !why.contains(secret), "{slip}{why}");
        }
    }
}
