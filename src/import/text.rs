//! Text of foreign files: encodings, line ends, entities, and what went wrong with them before they came here.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// What was done to a text, or is wrong with it, for the person who imports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The text: entities resolved, spaces and line ends single spaces.
    pub text: String,
    /// Remarks; empty for most texts.
    pub flags: Vec<&'static str>,
}

/// Remark: UTF-8 had been read as Latin-1 and was written again.
pub const REPAIRED: &str = "a text was UTF-8 read as Latin-1: repaired";
/// Remark: what stood there cannot be known any more.
pub const LOST: &str = "a character was lost before the file was made (U+FFFD): kept as it is";

/// Why bytes are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbled {
    /// The last character is not whole, and all before it is.
    CutOff,
    /// Not UTF-8 from this byte.
    At(usize),
}

/// UTF-8, or UTF-16 with a byte order mark.
///
/// # Errors
///
/// How it is not.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Garbled> {
    if let Some((encoding, _)) = Encoding::for_bom(bytes).filter(|(e, _)| *e != UTF_8) {
        let (text, _, wrong) = encoding.decode(bytes);
        return if wrong { Err(Garbled::CutOff) } else { Ok(text) };
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) if error.error_len().is_none() => Err(Garbled::CutOff),
        Err(error) => Err(Garbled::At(error.valid_up_to())),
    }
}

/// As [`decode`], but Latin-1 where it is not UTF-8: text in Latin-1 that is UTF-8 by accident does not occur.
#[must_use]
pub fn decode_latin(bytes: &[u8]) -> Cow<'_, str> {
    decode(bytes).unwrap_or_else(|_| WINDOWS_1252.decode_without_bom_handling(bytes).0)
}

/// A field's text, cleaned where that is certain, and remarked upon.
#[must_use]
pub fn clean(raw: &str) -> Cleaned {
    let mut flags = Vec::new();
    let resolved = entities(raw);
    let text = match repaired(&resolved) {
        Some(text) => {
            flags.push(REPAIRED);
            text
        }
        None => resolved.into_owned(),
    };
    if text.contains('\u{fffd}') {
        flags.push(LOST);
    }
    Cleaned { text: text.split_whitespace().collect::<Vec<_>>().join(" "), flags }
}

/// The text with HTML's numeric entities and the common named ones resolved; all else that begins with `&` stays.
fn entities(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(10).position(|b| b == b';');
        match end.and_then(|end| Some((end, entity(&rest[1..end])?))) {
            Some((end, c)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// The text that was meant, if this is UTF-8 that was read as Latin-1 or Windows-1252. That is certain: the bytes of any
/// other text are not UTF-8.
#[must_use]
pub fn repaired(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(u32::from(c)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => {
                let mut buffer = [0; 4];
                let (encoded, _, unmappable) = WINDOWS_1252.encode(c.encode_utf8(&mut buffer));
                if unmappable {
                    return None;
                }
                bytes.extend_from_slice(&encoded);
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Empties the lines that begin with `//`, so that line numbers stay what they were.
#[must_use]
pub fn without_comments(text: &str) -> String {
    let kept = |line| {
        if str::trim_start(line).starts_with("//") { "" } else { line }
    };
    text.split('\n').map(kept).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_8_read_as_latin_1_is_repaired_and_flagged_and_nothing_else_is() {
        for broken in ["C\u{c3}\u{b4}te", "Türkiye".replace('ü', "\u{c3}\u{bc}").as_str()] {
            assert_eq!(clean(broken).flags, [REPAIRED], "{broken}");
        }
        // Windows-1252: the right quotation mark became three characters.
        assert_eq!(clean("d\u{e2}\u{20ac}\u{2122}Ivoire").text, "d\u{2019}Ivoire");
        for sound in ["Löfven", "Shinzō Abe", "naïve café", "plain", "Жаксылыков"] {
            assert_eq!(clean(sound), Cleaned { text: sound.into(), flags: vec![] });
        }
    }

    #[test]
    fn a_lost_character_stays_lost_and_is_flagged() {
        let cleaned = clean("the Emperor of the Ys&#65533;s");
        assert_eq!(cleaned.text, "the Emperor of the Ys\u{fffd}s");
        assert_eq!(cleaned.flags, [LOST]);
    }

    #[test]
    fn entities_are_resolved_and_what_is_none_stays() {
        assert_eq!(clean("Arms &amp; Co., &c., A&B; &#x41; &nosuch;").text, "Arms & Co., &c., A&B; A &nosuch;");
        assert_eq!(clean("a\r\n   b\tc").text, "a b c");
    }

    #[test]
    fn encodings_are_told_apart() {
        assert_eq!(decode("\u{feff}x".as_bytes()), Ok("x".into()));
        assert_eq!(decode(b"\xff\xfex\0"), Ok("x".into()));
        assert_eq!(decode("é".as_bytes().split_last().unwrap().1), Err(Garbled::CutOff));
        assert_eq!(decode(b"a\xe9b"), Err(Garbled::At(1)));
        assert_eq!(decode_latin(b"a\xe9b"), "aéb");
        assert_eq!(decode_latin("aéb".as_bytes()), "aéb");
    }
}
