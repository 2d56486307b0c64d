//! Spellings of states. What is in no table is refused, never guessed; nothing is mapped to a successor.
//!
//! Looked up in this order: the table of the user, the table of this project (`states.tsv`, first what holds for the one
//! data set, then what holds everywhere), the names of the project's own codes, of former states, and of ISO 3166.

use std::collections::BTreeMap;

use super::Error;
use crate::domain::{
    fold::fold,
    name::quote,
    state::{FORMER, OWN, is_state},
};

/// The table of this project.
const BUILT_IN: &str = include_str!("states.tsv");

/// The remark of words that say more than the code.
const KEEP: &str = "keep";

/// A state that some words name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its code.
    pub code: String,
    /// The words, if they say more than the code and should not be lost.
    pub words_to_keep: Option<String>,
}

/// What some words name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A state.
    State(Found),
    /// Something that is known and no state, and what it is.
    NoState(String),
}

/// One row of a table.
#[derive(Debug, Clone)]
struct Entry {
    code: String,
    remark: String,
}

/// The tables.
#[derive(Debug, Clone)]
pub struct States {
    /// By scope, then folded spelling. The scope "" is everywhere.
    tables: Vec<BTreeMap<(String, String), Entry>>,
}

impl States {
    /// The tables of this project.
    ///
    /// # Panics
    ///
    /// Never: a test reads the same table.
    #[must_use]
    pub fn built_in() -> Self {
        Self { tables: vec![parse("states.tsv", BUILT_IN).expect("the built-in table was tested"), standard()] }
    }

    /// With a table of one's own in front: lines of spelling, tab, code; `#` begins a comment.
    ///
    /// # Errors
    ///
    /// The first line that is wrong.
    pub fn with(mut self, file: &str, text: &str) -> Result<Self, Error> {
        self.tables.insert(0, parse(file, text)?);
        Ok(self)
    }

    /// What some words of a data set name.
    ///
    /// # Errors
    ///
    /// That no table has them.
    pub fn meaning(&self, scope: &str, words: &str) -> Result<Meaning, String> {
        let spelling = fold(words);
        let keys = [(scope.to_owned(), spelling.clone()), (String::new(), spelling)];
        let found = self.tables.iter().find_map(|table| keys.iter().find_map(|key| table.get(key)));
        match found {
            Some(Entry { code, remark }) if code == "-" => Ok(Meaning::NoState(remark.clone())),
            Some(Entry { code, remark }) => {
                let words_to_keep = (remark == KEEP).then(|| words.to_owned());
                Ok(Meaning::State(Found { code: code.clone(), words_to_keep }))
            }
            None => Err(format!("{} is no state that is known; --states can add the spelling", quote(words))),
        }
    }

    /// The state that some words of a data set name.
    ///
    /// # Errors
    ///
    /// That no table has them, or that they name no state.
    pub fn of(&self, scope: &str, words: &str) -> Result<Found, String> {
        match self.meaning(scope, words)? {
            Meaning::State(found) => Ok(found),
            Meaning::NoState(what) => Err(format!("{} is no state: {what}", quote(words))),
        }
    }
}

/// The names of the codes themselves; a name of the project's own goes before one of a former state, and that before ISO.
fn standard() -> BTreeMap<(String, String), Entry> {
    let iso = rust_iso3166::ALL.iter().map(|country| (country.alpha2, country.name));
    let all = OWN.iter().chain(FORMER).copied().chain(iso);
    let mut table = BTreeMap::new();
    for (code, name) in all {
        let entry = Entry { code: code.to_owned(), remark: String::new() };
        table.entry((String::new(), fold(name))).or_insert(entry);
    }
    table
}

fn parse(file: &str, text: &str) -> Result<BTreeMap<(String, String), Entry>, Error> {
    let mut table = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |found: String| Error::States { file: file.to_owned(), line: index + 1, found };
        let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
        let [spelling, code, rest @ ..] = columns.as_slice() else {
            return Err(wrong("a spelling, a tab and a code are expected".to_owned()));
        };
        if spelling.is_empty() || rest.len() > 2 {
            return Err(wrong("spelling, code, data set and remark are expected, separated by tabs".to_owned()));
        }
        if *code != "-" && !is_state(code) {
            return Err(wrong(format!(
                "{} is no state code, such as AZ, SUHH, x-hawaii, or - for no state",
                quote(code)
            )));
        }
        let column = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
        let entry = Entry { code: (*code).to_owned(), remark: column(1) };
        if table.insert((column(0), fold(spelling)), entry).is_some() {
            return Err(wrong(format!("{} has a row already", quote(spelling))));
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(words: &str) -> Result<String, String> {
        States::built_in().of("", words).map(|found| found.code)
    }

    #[test]
    fn present_historical_and_misspelt_names_have_their_own_code() {
        for (words, wanted) in [
            ("SOVIET UNION", "SUHH"),
            ("U.S.S.R.", "SUHH"),
            ("CHINA P R", "CN"),
            ("China, People’s Republic of", "CN"),
            ("HAWAII", "x-hawaii"),
            ("PRUSSIA", "x-prussia"),
            ("German Democratic Republic", "DDDE"),
            ("Germany, Federal Republic of", "DE"),
            ("Yugoslavia", "YUCS"),
            ("Cote d’Ivoire", "CI"),
            ("Türkiye", "TR"),
            ("United  states of  america", "US"),
        ] {
            assert_eq!(code(words).as_deref(), Ok(wanted), "{words}");
        }
    }

    #[test]
    fn nothing_former_is_mapped_to_a_successor() {
        for (words, successor) in
            [("SOVIET UNION", "RU"), ("Czechoslovakia", "CZ"), ("Tanganyika", "TZ"), ("Hawaii", "US")]
        {
            assert_ne!(code(words).unwrap(), successor, "{words}");
        }
    }

    #[test]
    fn what_is_in_no_table_is_refused_with_its_words() {
        for words in ["Ruritania", "NATO", "-9", "", "Korea"] {
            assert!(code(words).is_err(), "{words}");
        }
        assert!(States::built_in().of("uk-treaties", "UNITED NATIONS").unwrap_err().contains("organization"));
    }

    #[test]
    fn some_spellings_hold_for_one_data_set() {
        let states = States::built_in();
        let of = |scope: &str, words: &str| states.of(scope, words).map(|f| f.code).unwrap_or_default();
        assert_eq!((of("historyatstate", "Korea"), of("uk-treaties", "Korea")), ("KR".into(), String::new()));
        assert_eq!((of("uk-treaties", "RUSSIA"), of("mme", "Russia")), ("x-russian-empire".into(), "RU".into()));
    }

    #[test]
    fn words_that_say_more_than_the_code_are_kept() {
        let found = States::built_in().of("", "Poland (government-in-exile)").unwrap();
        assert_eq!((found.code.as_str(), found.words_to_keep.is_some()), ("PL", true));
        assert_eq!(States::built_in().of("", "Poland").unwrap().words_to_keep, None);
    }

    #[test]
    fn a_table_of_ones_own_goes_first_and_its_faults_are_named() {
        let states = States::built_in().with("mine", "# mine\nRuritania\tx-hawaii\nFrance\tBE\n").unwrap();
        assert_eq!(states.of("", "RURITANIA").unwrap().code, "x-hawaii");
        assert_eq!(states.of("mme", "France").unwrap().code, "BE");
        for (text, line) in [("a\tAZ\nb\tXX\n", 2), ("justwords\n", 1), ("a\tAZ\na\tKZ\n", 2)] {
            let error = States::built_in().with("mine", text).unwrap_err();
            assert!(error.to_string().starts_with(&format!("mine:{line}: ")), "{error}");
        }
    }
}
