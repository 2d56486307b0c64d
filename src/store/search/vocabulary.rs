//! The sounds that any version has or had, in memory: a search for typing errors looks at all of them.
//!
//! They are some ten thousands even in a store of a million records, and are never taken back, so that a copy only has to
//! be made longer. What does not fit into its budget is read from the store for each search.

use std::sync::{PoisonError, RwLock};

use rusqlite::{Connection, params};

use crate::{
    domain::{
        error::Result,
        search::{rank::Term, similar, words::errors_forgiven},
    },
    limits::{MAX_SOUNDS_READ, VOCABULARY_BYTES},
    store::read::rows,
};

/// Remembered that are read at once.
const PAGE_SOUNDS: usize = 1024;

/// The sounds, as far as they are known and fit. Filled by whoever searches.
#[derive(Debug)]
pub struct Vocabulary {
    sounds: RwLock<Remembered>,
    /// What they may take, in bytes.
    budget: usize,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self::with_budget(VOCABULARY_BYTES)
    }
}

#[derive(Debug, Default)]
struct Remembered {
    /// All of them that may have errors, one after the other.
    text: String,
    /// In the order of their numbers.
    entries: Vec<Sound>,
    /// The last number that was read.
    last: i64,
}

#[derive(Debug)]
struct Sound {
    id: i64,
    /// Where it ends in the text.
    end: usize,
    /// Which letters it has.
    letters: u32,
}

impl Remembered {
    fn bytes(&self) -> usize {
        self.text.len() + self.entries.len() * size_of::<Sound>()
    }

    fn push(&mut self, id: i64, sound: &str) {
        self.last = id;
        if similar::may_have_errors(sound) {
            self.text.push_str(sound);
            self.entries.push(Sound { id, end: self.text.len(), letters: letters(sound) });
        }
    }

    /// Those numbered up to `last` that are a term's but for typing errors.
    fn near(&self, term: &Term, last: i64) -> Vec<String> {
        // An error adds a letter, takes one away, or does both.
        let (own, differ) = (letters(&term.sound), 2 * errors_forgiven(term.spelling.len()));
        let mut begin = 0;
        let mut near = Vec::new();
        for entry in self.entries.iter().take_while(|entry| entry.id <= last) {
            let sound = &self.text[begin..entry.end];
            begin = entry.end;
            if (own ^ entry.letters).count_ones() as usize <= differ && similar::is_similar(term, sound) {
                near.push(sound.to_owned());
            }
        }
        near
    }
}

/// One bit for each letter that a sound has; whatever else it has is one more.
fn letters(sound: &str) -> u32 {
    sound.bytes().fold(0, |letters, byte| match byte {
        b'a'..=b'z' => letters | 1 << (byte - b'a'),
        _ => letters | 1 << 26,
    })
}

impl Vocabulary {
    /// One that takes so many bytes and little more.
    #[must_use]
    pub fn with_budget(budget: usize) -> Self {
        Self { sounds: RwLock::default(), budget }
    }

    /// What the sounds take.
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.sounds.read().unwrap_or_else(PoisonError::into_inner).bytes() as u64
    }

    /// The sounds up to the one numbered `last` that are a term's but for typing errors, in no order.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn near(&self, connection: &Connection, term: &Term, last: i64) -> Result<Vec<String>> {
        if errors_forgiven(term.spelling.len()) == 0 || !similar::may_have_errors(&term.sound) {
            return Ok(Vec::new());
        }
        self.read_up_to(connection, last)?;
        let sounds = self.sounds.read().unwrap_or_else(PoisonError::into_inner);
        let mut near = sounds.near(term, last);
        let known = sounds.last;
        drop(sounds);
        if known < last {
            near.extend(near_in_store(connection, term, known, last)?);
        }
        Ok(near)
    }

    fn read_up_to(&self, connection: &Connection, last: i64) -> Result<()> {
        let is_enough = |sounds: &Remembered| sounds.last >= last || sounds.bytes() >= self.budget;
        if is_enough(&self.sounds.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let mut sounds = self.sounds.write().unwrap_or_else(PoisonError::into_inner);
        while !is_enough(&sounds) {
            let new = page(connection, sounds.last, last)?;
            if new.is_empty() {
                sounds.last = last;
            }
            for (id, sound) in new {
                if sounds.bytes() < self.budget {
                    sounds.push(id, &sound);
                }
            }
        }
        Ok(())
    }
}

/// Some of the sounds numbered after `after` and up to `last`, in their order; none if there are no more.
fn page(connection: &Connection, after: i64, last: i64) -> Result<Vec<(i64, String)>> {
    let sql = "SELECT id, sound FROM search_words WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
    rows(connection, sql, params![after, last, PAGE_SOUNDS], |r| Ok((r.get(0)?, r.get(1)?)))
}

/// Those of the first [`MAX_SOUNDS_READ`] numbers after `after` and up to `last` that are a term's but for typing errors.
fn near_in_store(connection: &Connection, term: &Term, after: i64, last: i64) -> Result<Vec<String>> {
    let (mut at, mut near) = (after, Vec::new());
    for _ in 0..MAX_SOUNDS_READ / PAGE_SOUNDS {
        let mut some = Remembered::default();
        for (id, sound) in page(connection, at, last)? {
            some.push(id, &sound);
        }
        if some.last == 0 {
            break;
        }
        at = some.last;
        near.extend(some.near(term, last));
    }
    Ok(near)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::search::rank::Query;

    /// A store of these words alone, numbered from 1.
    fn store(sounds: &[&str]) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE search_words (id INTEGER PRIMARY KEY, sound TEXT, from_revision INTEGER)")
            .unwrap();
        for (id, sound) in (1_i64..).zip(sounds) {
            connection.execute("INSERT INTO search_words VALUES (?1, ?2, 0)", params![id, sound]).unwrap();
        }
        connection
    }

    #[test]
    fn what_is_in_memory_and_what_is_not_are_searched_alike() {
        let sounds =
            ["zaksilikov", "zaskilikov", "sumgait", "sumgaot", "zaksilikva", "baku", "2023", "sungait", "sumgait1"];
        let connection = store(&sounds);
        let last = i64::try_from(sounds.len()).unwrap();
        for query in ["Zhaksylykov", "Sumgait", "Baku", "Bakut", "2023"] {
            let term = &Query::of(query).terms[0];
            let expected: BTreeSet<String> =
                sounds.iter().filter(|s| similar::is_similar(term, s)).map(|s| (*s).to_owned()).collect();
            for budget in [0, 60, VOCABULARY_BYTES] {
                let near = Vocabulary::with_budget(budget).near(&connection, term, last).unwrap();
                assert_eq!(near.into_iter().collect::<BTreeSet<_>>(), expected, "{query}, {budget}");
            }
        }
    }

    #[test]
    fn a_search_of_the_past_finds_no_later_word() {
        let connection = store(&["sumgaot", "sungait"]);
        let (vocabulary, term) = (Vocabulary::default(), &Query::of("Sumgait").terms[0]);
        assert_eq!(vocabulary.near(&connection, term, 2).unwrap().len(), 2);
        assert_eq!(vocabulary.near(&connection, term, 1).unwrap(), ["sumgaot"]);
        assert_eq!(vocabulary.near(&connection, term, 0).unwrap(), [""; 0]);
    }
}
