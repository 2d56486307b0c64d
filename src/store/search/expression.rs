//! What a search asks for, of the index of words and of versions that it does not have yet.

use crate::domain::search::rank::Term;

/// The columns of the index of words, by how much they say of a record, the best first.
pub const COLUMNS: [&str; 3] = ["names", "stated", "summaries"];

/// Which words stand for a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Those of its sound.
    Same,
    /// Also those that begin with its sound, and similar ones.
    Similar,
}

/// A word of a version.
#[derive(Debug)]
enum Word<'t> {
    Is(&'t str),
    Begins(&'t str),
}

/// Asks for versions that have, among the first columns, a word that stands for each term.
#[derive(Debug)]
pub struct Expression<'t> {
    terms: Vec<Vec<Word<'t>>>,
    columns: usize,
}

impl<'t> Expression<'t> {
    /// Of terms, each in its form, in so many of [`COLUMNS`].
    pub fn new(terms: &'t [Term], forms: &[Form], columns: usize) -> Self {
        let one = |(term, form): (&'t Term, &Form)| {
            let mut words = vec![Word::Is(&term.sound)];
            if *form == Form::Similar {
                words.extend(term.is_prefix().then_some(Word::Begins(&term.sound)));
                words.extend(term.similar.iter().map(|sound| Word::Is(sound)));
            }
            words
        };
        Self { terms: terms.iter().zip(forms).map(one).collect(), columns }
    }

    /// In the words of FTS5. Sounds are letters and digits of ASCII, and quoted: nothing in them is syntax.
    pub fn to_fts(&self) -> String {
        let word = |word: &Word<'_>| match word {
            Word::Is(sound) => format!("\"{sound}\""),
            Word::Begins(sound) => format!("\"{sound}\" *"),
        };
        let one = |words: &Vec<Word<'_>>| format!("({})", words.iter().map(word).collect::<Vec<_>>().join(" OR "));
        let terms: Vec<String> = self.terms.iter().map(one).collect();
        format!("{{{}}} : ({})", COLUMNS[..self.columns].join(" "), terms.join(" AND "))
    }

    /// Whether a version matches whose columns have these sounds, with a space between two.
    pub fn matches(&self, columns: &[String; 3]) -> bool {
        let has = |word: &Word<'_>| {
            let mut sounds = columns[..self.columns].iter().flat_map(|column| column.split_ascii_whitespace());
            match word {
                Word::Is(sound) => sounds.any(|heard| heard == *sound),
                Word::Begins(sound) => sounds.any(|heard| heard.starts_with(sound)),
            }
        };
        self.terms.iter().all(|words| words.iter().any(has))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rusqlite::{Connection, params};

    use super::*;

    /// Few letters, so that words are often those of others, or begin as they do.
    fn sound() -> impl Strategy<Value = String> {
        "[ab1]{1,4}"
    }

    fn sounds() -> impl Strategy<Value = String> {
        prop::collection::btree_set(sound(), 0..5).prop_map(|sounds| Vec::from_iter(sounds).join(" "))
    }

    fn term() -> impl Strategy<Value = Term> {
        let similar = prop::collection::btree_set(sound(), 0..3);
        ("[ab]{1,5}", sound(), similar).prop_map(|(spelling, sound, similar)| Term { spelling, sound, similar })
    }

    proptest! {
        #[test]
        fn a_version_that_waits_matches_as_if_the_index_had_it(
            versions in prop::collection::vec([sounds(), sounds(), sounds()], 1..6),
            terms in prop::collection::vec((term(), any::<bool>()), 1..4),
            columns in 1..=COLUMNS.len(),
        ) {
            let index = Connection::open_in_memory().unwrap();
            let made = include_str!("../schema/014_ascii.sql").split(';').nth(1).unwrap();
            prop_assert!(made.contains("CREATE VIRTUAL TABLE search"), "{}", made);
            index.execute_batch(made).unwrap();
            for (row, [names, stated, summaries]) in versions.iter().enumerate() {
                let sql = "INSERT INTO search (rowid, names, stated, summaries) VALUES (?1, ?2, ?3, ?4)";
                index.execute(sql, params![row, names, stated, summaries]).unwrap();
            }
            let forms: Vec<Form> = terms.iter().map(|(_, same)| if *same { Form::Same } else { Form::Similar }).collect();
            let terms: Vec<Term> = terms.into_iter().map(|(term, _)| term).collect();
            let expression = Expression::new(&terms, &forms, columns);
            let mut found = index.prepare("SELECT rowid FROM search WHERE search MATCH ?1").unwrap();
            let found = found.query_map([expression.to_fts()], |row| row.get(0)).unwrap();
            let found: BTreeSet<usize> = found.map(Result::unwrap).collect();
            let matching = (0..versions.len()).filter(|row| expression.matches(&versions[*row]));
            prop_assert_eq!(BTreeSet::from_iter(matching), found, "{}", expression.to_fts());
        }
    }
}
