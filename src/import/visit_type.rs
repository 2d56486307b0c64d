//! The type of a visit, where a description says it plainly.

use super::english;
use crate::pb::v1::{Text, VisitType};

/// Phrases that are a type by themselves, the longer first.
const PHRASES: &[(&str, VisitType)] = &[
    ("official working visit", VisitType::OfficialWorking),
    ("official visit", VisitType::Official),
    ("offical visit", VisitType::Official),
    ("state visit", VisitType::State),
    ("working visit", VisitType::Working),
    ("private visit", VisitType::Private),
    ("informal visit", VisitType::Informal),
    ("unofficial visit", VisitType::Other),
    ("courtesy visit", VisitType::Courtesy),
];

/// Words in a first sentence that say that there was no such visit.
const NEGATIONS: &[&str] = &["cancel", "postpone", "returned"];

/// The type and its words, if the first sentence is one, begins with one, or says "during a …". Nothing else is read as
/// a type: who attended a summit may have been a guest of whatever protocol.
#[must_use]
pub fn stated(description: &str) -> Option<(VisitType, Text)> {
    let sentence = description.split(['.', ';']).next().unwrap_or_default().trim();
    let lower = sentence.to_ascii_lowercase();
    if NEGATIONS.iter().any(|word| lower.contains(word)) {
        return None;
    }
    PHRASES.iter().find_map(|(phrase, kind)| {
        let at = position(&lower, phrase)?;
        // ASCII lower case keeps every position.
        let words = sentence.get(at..at + phrase.len())?;
        Some((*kind, english(words)))
    })
}

fn position(sentence: &str, phrase: &str) -> Option<usize> {
    let is_whole =
        |at: usize| !sentence[at + phrase.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '-' || c == '/');
    if sentence.starts_with(phrase) && is_whole(0) {
        return Some(0);
    }
    ["during a ", "during an "].iter().find_map(|before| {
        let at = sentence.find(&format!("{before}{phrase}"))? + before.len();
        is_whole(at).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(VisitType, String)> {
        stated(text).map(|(kind, words)| (kind, words.text))
    }

    #[test]
    fn a_plain_phrase_is_a_type_with_its_words() {
        for (text, kind, words) in [
            ("Working Visit.", VisitType::Working, "Working Visit"),
            ("Official working visit. Private visit afterwards.", VisitType::OfficialWorking, "Official working visit"),
            ("State visit to Rome; audience", VisitType::State, "State visit"),
            ("Offical Visit.", VisitType::Official, "Offical Visit"),
            ("Met with somebody during a private visit.", VisitType::Private, "private visit"),
            ("Unofficial visit.", VisitType::Other, "Unofficial visit"),
        ] {
            assert_eq!(read(text), Some((kind, words.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_no_type() {
        for text in [
            "",
            "Attended a summit. State visit.",
            "Discussed the state visit of last year.",
            "Officially returned a visit.",
            "State visit cancelled.",
            "Private visits to several towns.",
            "Bilateral Meeting.",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
