//! What is searched for, how well a record matches it, and where.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    similar,
    texts::{Class, Piece},
    words::{MIN_PREFIX, Word, words},
};
use crate::{
    domain::error::{Error, Reason, Result},
    limits::{MAX_HIGHLIGHT_CHARS, MAX_HIGHLIGHTS, MAX_QUERY_CHARS, MAX_QUERY_WORDS},
};

/// A word that is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Folded.
    pub spelling: String,
    /// How it sounds.
    pub sound: String,
    /// Sounds that are as good but for a typing error: those of the registry's words; see [`similar::is_similar`].
    pub similar: BTreeSet<String>,
}

/// The words of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Each once, in the order given.
    pub terms: Vec<Term>,
}

impl Query {
    /// Reads the words of a request.
    ///
    /// # Errors
    ///
    /// `FIELD_INVALID` at `field` without words, `TOO_LARGE` with too many.
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        let characters = text.chars().count();
        if characters > MAX_QUERY_CHARS {
            let why = format!("has {characters} characters; at most {MAX_QUERY_CHARS} are allowed");
            return Err(Error::field(Reason::TooLarge, field, why).with("limit", MAX_QUERY_CHARS));
        }
        let query = Self::of(text);
        match query.terms.len() {
            0 => Err(Error::field(Reason::FieldInvalid, field, "has no word to search for")),
            n if n > MAX_QUERY_WORDS => {
                let why = format!("has {n} words; at most {MAX_QUERY_WORDS} are allowed");
                Err(Error::field(Reason::TooLarge, field, why).with("limit", MAX_QUERY_WORDS))
            }
            _ => Ok(query),
        }
    }

    /// The words of a text; there may be none.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut terms: Vec<Term> = Vec::new();
        for Word { spelling, sound, .. } in words(text) {
            if terms.iter().all(|t| t.spelling != spelling) {
                terms.push(Term { spelling, sound, similar: BTreeSet::new() });
            }
        }
        Self { terms }
    }
}

impl Term {
    /// How well a word matches, in thousandths; `None` not at all.
    fn matches(&self, word: &Word) -> Option<u32> {
        let near = || similar::per_mille(strsim::jaro_winkler(&self.spelling, &word.spelling));
        if word.spelling == self.spelling {
            Some(1000)
        } else if word.sound == self.sound {
            Some(700 + near() / 5)
        } else if self.spelling.len() >= MIN_PREFIX && word.spelling.starts_with(&self.spelling) {
            Some(600 + near() / 10)
        } else if self.sound.len() >= MIN_PREFIX && word.sound.starts_with(&self.sound) {
            Some(450 + near() / 10)
        } else if self.similar.contains(&word.sound) {
            Some(100 + near() * 3 / 10)
        } else {
            None
        }
    }

    /// Whether words that begin with its sound may match.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.spelling.len() >= MIN_PREFIX && self.sound.len() >= 2
    }
}

/// Where a record has the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Highlight {
    /// The path of the field.
    pub path: String,
    /// Its text, or a part of it.
    pub text: String,
    /// The code points of `text` that match, each range without its end, in order.
    pub ranges: Vec<(usize, usize)>,
}

/// What a piece of a record matches.
struct Hits {
    /// Of each term the score in thousandths.
    scores: Vec<Option<u32>>,
    ranges: Vec<(usize, usize)>,
}

/// The least that a word is worth in a text of a class, in thousandths: a typing error in a title counts more than the
/// very word in a summary.
fn floor(class: Class) -> u32 {
    match class {
        Class::Name => 700,
        Class::Stated => 400,
        Class::Summary => 100,
    }
}

fn hits(query: &Query, class: Class, text: &str) -> Hits {
    let words = words(text);
    let mut qualities = vec![None; query.terms.len()];
    let mut ranges: BTreeMap<usize, usize> = BTreeMap::new();
    let mut covered = 0;
    for word in &words {
        let mut hit = false;
        for (term, best) in query.terms.iter().zip(&mut qualities) {
            let quality = term.matches(word);
            hit |= quality.is_some();
            *best = quality.max(*best);
        }
        if hit {
            covered += 1;
            ranges.insert(word.begin, word.end);
        }
    }
    let coverage = u32::try_from(covered * 1000 / words.len().max(1)).unwrap_or(1000);
    // How much of the text was asked for tells two titles apart that both have the word.
    let score = |quality: u32| floor(class) + (quality * 8 + coverage * 2) * 3 / 100;
    let scores = qualities.into_iter().map(|q: Option<u32>| q.map(score)).collect();
    Hits { scores, ranges: joined(ranges) }
}

fn joined(ranges: BTreeMap<usize, usize>) -> Vec<(usize, usize)> {
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (begin, end) in ranges {
        match joined.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((begin, end)),
        }
    }
    joined
}

/// How well a record matches whose texts are shown to it one by one.
#[derive(Debug)]
pub struct Score<'q> {
    query: &'q Query,
    /// The best score of each term.
    best: Vec<Option<u32>>,
}

impl<'q> Score<'q> {
    /// Of a record of which nothing was seen.
    #[must_use]
    pub fn new(query: &'q Query) -> Self {
        Self { query, best: vec![None; query.terms.len()] }
    }

    /// Takes a text into account.
    pub fn see(&mut self, class: Class, text: &str) {
        for (best, score) in self.best.iter_mut().zip(hits(self.query, class, text).scores) {
            *best = score.max(*best);
        }
    }

    /// From 1 to 1000; `None` if the record lacks a word.
    #[must_use]
    pub fn total(self) -> Option<u32> {
        let scores = self.best.into_iter().collect::<Option<Vec<u32>>>()?;
        let count = u32::try_from(scores.len()).ok().filter(|n| *n > 0)?;
        Some(scores.iter().sum::<u32>() / count)
    }
}

/// Where a record matches, best first; each text once.
#[must_use]
pub fn highlights(query: &Query, pieces: &[Piece]) -> Vec<Highlight> {
    let mut found: Vec<(u32, &Piece, Hits)> = Vec::new();
    for piece in pieces {
        let hits = hits(query, piece.class, &piece.text);
        let worth = hits.scores.iter().flatten().sum();
        if worth > 0 && found.iter().all(|(_, other, _)| other.text != piece.text) {
            found.push((worth, piece, hits));
        }
    }
    // Stable: equal ones stay in the order of the record.
    found.sort_by_key(|(worth, ..)| std::cmp::Reverse(*worth));
    found.into_iter().take(MAX_HIGHLIGHTS).map(|(_, piece, hits)| highlight(piece, &hits.ranges)).collect()
}

fn highlight(piece: &Piece, ranges: &[(usize, usize)]) -> Highlight {
    let length = piece.text.chars().count();
    let first = ranges.first().map_or(0, |r| r.0);
    let from = if length <= MAX_HIGHLIGHT_CHARS { 0 } else { first.saturating_sub(MAX_HIGHLIGHT_CHARS / 4) };
    let until = from + MAX_HIGHLIGHT_CHARS;
    let text = piece.text.chars().skip(from).take(MAX_HIGHLIGHT_CHARS).collect();
    let inside = ranges.iter().filter(|(begin, _)| *begin < until);
    let ranges = inside.map(|(begin, end)| (begin - from, (*end).min(until) - from)).collect();
    Highlight { path: piece.path.clone(), text, ranges }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(class: Class, text: &str) -> Piece {
        Piece { path: "p".into(), class, text: text.into() }
    }

    fn scored(query: &str, class: Class, text: &str) -> u32 {
        let mut query = Query::of(query);
        for term in &mut query.terms {
            term.similar = words(text).into_iter().map(|w| w.sound).filter(|s| similar::is_similar(term, s)).collect();
        }
        score(&query, &[piece(class, text)]).unwrap_or_default()
    }

    fn score(query: &Query, pieces: &[Piece]) -> Option<u32> {
        let mut score = Score::new(query);
        pieces.iter().for_each(|piece| score.see(piece.class, &piece.text));
        score.total()
    }

    #[test]
    fn the_better_spelling_in_the_weightier_text_comes_first() {
        let ranked = [
            scored("Zhaksylykov", Class::Name, "Zhaksylykov"),
            scored("Zhaksylykov", Class::Name, "Ruslan Zhaksylykov"),
            scored("Zhaksylykov", Class::Name, "Ruslan Jaksilykov"),
            scored("Zhaksylykov", Class::Name, "Ruslan Zhaksylykova"),
            scored("Zhaksylykov", Class::Name, "Ruslan Zkahsylykov"),
            scored("Zhaksylykov", Class::Stated, "Zhaksylykov"),
            scored("Zhaksylykov", Class::Stated, "Jaksilykov"),
            scored("Zhaksylykov", Class::Summary, "Zhaksylykov"),
            scored("Zhaksylykov", Class::Summary, "what Zkahsylykov said"),
        ];
        assert!(ranked.windows(2).all(|w| w[0] > w[1]) && ranked[8] > 0, "{ranked:?}");
        assert_eq!(ranked[0], 1000);
    }

    #[test]
    fn every_word_must_be_found_but_not_in_one_text() {
        let pieces = [piece(Class::Name, "Khazri 2023"), piece(Class::Stated, "Aktau")];
        assert!(score(&Query::of("khazri aktau"), &pieces).is_some());
        assert_eq!(score(&Query::of("khazri baku"), &pieces), None);
    }

    #[test]
    fn a_year_is_not_a_typing_error_of_another() {
        assert_eq!(scored("2023", Class::Name, "plan for 2024"), 0);
    }

    #[test]
    fn ranges_are_those_of_the_words_as_they_are_spelt() {
        let pieces = [piece(Class::Stated, "Министр обороны Руслан Жаксылыков сказал")];
        let found = highlights(&Query::of("ruslan zhaksylykov"), &pieces);
        assert_eq!(found[0].ranges, [(16, 22), (23, 33)]);
        let marked: String = found[0].text.chars().skip(23).take(10).collect();
        assert_eq!(marked, "Жаксылыков");
    }

    #[test]
    fn a_long_text_is_cut_around_its_first_match() {
        let text = format!("{} Әзербайжан {}", "ә".repeat(500), "x ".repeat(500));
        let found = highlights(&Query::of("Əzərbayjan"), &[piece(Class::Summary, &text)]);
        let [(begin, end)] = found[0].ranges[..] else { panic!("{found:?}") };
        assert_eq!(found[0].text.chars().count(), MAX_HIGHLIGHT_CHARS);
        assert_eq!(found[0].text.chars().skip(begin).take(end - begin).collect::<String>(), "Әзербайжан");
    }

    #[test]
    fn words_are_demanded_and_bounded() {
        let reason = |text: &str| Query::parse(text, "query").unwrap_err().reason;
        assert_eq!(reason(""), Reason::FieldInvalid);
        assert_eq!(reason(" \" * - () "), Reason::FieldInvalid);
        assert_eq!(reason(&"a".repeat(257)), Reason::TooLarge);
        assert_eq!(reason("a b c d e f g h i j k l m"), Reason::TooLarge);
        assert_eq!(Query::parse("az AZ Az", "query").unwrap().terms.len(), 1);
    }
}
