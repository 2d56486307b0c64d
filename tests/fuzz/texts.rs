//! Texts of requests and tables: tokens, dates, names, words of a search, spellings of states.

use std::{collections::BTreeSet, sync::LazyLock};

use attache::{
    domain::{
        date::{self, Date},
        error::Reason,
        name::{self, RecordName, ReportName},
        search::{rank::Query, words::words},
        token::{Epoch, Phase, Token},
    },
    import::{States, states::Meaning},
    limits::MAX_QUERY_WORDS,
    transport::PageToken,
};
use jiff::civil;
use proptest::prelude::*;

use crate::{
    draw::Draw,
    harness::{Kept, Target, text},
    requests::check_error,
};

pub const TOKENS: Target = Target {
    name: "tokens",
    message: "",
    words: &["A", "AQ", "_", "-", "=", "/", "+"],
    input: |draw| token(draw).encode().into_bytes(),
    promise: token_promise,
    few: 20_000,
};

#[test]
fn a_token_that_is_read_is_the_one_that_was_written() {
    TOKENS.run();
}

fn token(draw: &mut Draw<'_>) -> Token {
    let phase = match draw.number(3) {
        0 => Phase::Whole,
        1 => Phase::Partial { next: u32::from_be_bytes(draw.exactly()) },
        _ => Phase::Snapshot {
            after: draw.pieces(&["visits/a", "-b", "ä", "\0", "persons/0123456789"], 40),
            filters: draw.exactly(),
        },
    };
    let revision = if draw.once_in(2) { u64::from_be_bytes(draw.exactly()) } else { draw.number(3) as u64 };
    Token { epoch: Epoch::from_bytes(draw.exactly()), revision, hash: draw.exactly(), phase }
}

fn token_promise(input: &[u8]) -> Kept {
    let text = text(input);
    match Token::decode(&text, "after") {
        Ok(token) => {
            prop_assert_eq!(token.encode(), &*text);
            // Any character that is another one.
            let at = usize::from(blake3::hash(input).as_bytes()[0]) % text.len();
            let mut other = text.clone().into_owned().into_bytes();
            other[at] = if other[at] == b'Q' { b'g' } else { b'Q' };
            let other = String::from_utf8(other).expect("a token is ASCII");
            prop_assert!(Token::decode(&other, "after").is_err(), "{} was changed at {}", text, at);
        }
        Err(error) => {
            prop_assert_eq!(error.reason, Reason::TokenMalformed);
            prop_assert_eq!(&error.violations[0].field, "after");
        }
    }
    Ok(())
}

pub const PAGE_TOKENS: Target = Target {
    name: "page-tokens",
    message: "",
    words: &[".", "A", "AQ", "_", "-", "=", "/", "+"],
    input: |draw| {
        let request = if draw.once_in(8) { draw.exactly() } else { LIST };
        let (at, key) = (token(draw), i64::from_be_bytes(draw.exactly()));
        let name = draw.pieces(&["visits/a", "-b", "ä", "\0", "0123456789"], 40);
        PageToken { at, request, key, name }.encode().into_bytes()
    },
    promise: page_token_promise,
    few: 20_000,
};

/// The digests of two requests for a list.
const LIST: [u8; 8] = *b"a list's";
const OTHER_LIST: [u8; 8] = *b"another.";

#[test]
fn a_page_token_that_is_read_is_the_one_that_was_written_for_this_request() {
    PAGE_TOKENS.run();
}

fn page_token_promise(input: &[u8]) -> Kept {
    let text = text(input);
    match PageToken::decode(&text, LIST) {
        Ok(None) => prop_assert!(text.is_empty(), "{:?} is no first page", text),
        Ok(Some(token)) => {
            prop_assert_eq!(token.encode(), &*text);
            let error = PageToken::decode(&text, OTHER_LIST).expect_err("it is another request's");
            check_error(&error, &[Reason::PageTokenMismatch], "page_token")?;
        }
        Err(error) => check_error(&error, &[Reason::TokenMalformed, Reason::PageTokenMismatch], "page_token")?,
    }
    Ok(())
}

pub const SEARCHES: Target = Target {
    name: "searches",
    message: "",
    words: SEARCH_PARTS,
    input: |draw| draw.pieces(SEARCH_PARTS, 20).into_bytes(),
    promise: search_promise,
    few: 5_000,
};

const SEARCH_PARTS: &[&str] = &[
    " ",
    " ",
    " ",
    "Baku",
    "O'Brien",
    "Əliyev",
    "Жаксылыков",
    "Қасым-Жомарт",
    "ә",
    "北京",
    "السلام",
    "e\u{301}",
    "\u{301}",
    "\u{2019}",
    "\u{2bc}",
    "'",
    "`",
    "-",
    "—",
    "ß",
    "İ",
    "ﬁ",
    "x",
    "shch",
    "2023",
    "🕊",
];

#[test]
fn a_word_is_found_where_it_stands_and_a_search_has_each_once() {
    SEARCHES.run();
}

fn search_promise(input: &[u8]) -> Kept {
    let text = text(input);
    let (characters, found) = (text.chars().collect::<Vec<char>>(), words(&text));
    for word in &found {
        prop_assert!(word.begin < word.end && word.end <= characters.len(), "{:?} of {:?}", word, text);
        prop_assert!(!word.spelling.is_empty(), "{:?} of {:?}", word, text);
        let part: String = characters[word.begin..word.end].iter().collect();
        let is_same = words(&part).iter().any(|own| (&own.spelling, &own.sound) == (&word.spelling, &word.sound));
        prop_assert!(is_same, "{:?} is not where it stands in {:?}", word, text);
    }
    let spellings: BTreeSet<&str> = found.iter().map(|word| word.spelling.as_str()).collect();
    match Query::parse(&text, "query") {
        Ok(query) => {
            let asked: BTreeSet<&str> = query.terms.iter().map(|term| term.spelling.as_str()).collect();
            prop_assert_eq!(&asked, &spellings, "{:?}", text);
            prop_assert!(asked.len() == query.terms.len() && asked.len() <= MAX_QUERY_WORDS, "{:?}", text);
        }
        Err(error) => {
            check_error(&error, &[Reason::FieldInvalid, Reason::TooLarge], "query")?;
            prop_assert!(error.reason == Reason::TooLarge || spellings.is_empty(), "{:?}: {}", text, error);
        }
    }
    Ok(())
}

pub const DATES: Target = Target {
    name: "dates",
    message: "",
    words: DATE_PARTS,
    input: |draw| {
        let mut text = draw.of(&["", "", "", "", "[", "{", "-", "Y"]).to_owned();
        text.push_str(&one_date(draw));
        if draw.once_in(3) {
            text.push_str(draw.of(&["/", "..", ",", "/..", "T10:00:00Z"]));
            text.push_str(&one_date(draw));
        }
        text.push_str(draw.of(&["", "", "", "]", "}", "..", "/"]));
        text.into_bytes()
    },
    promise: date_promise,
    few: 20_000,
};

const DATE_PARTS: &[&str] = &[
    "2023",
    "-10",
    "-06",
    "2024-02-29",
    "-21",
    "-41",
    "X",
    "XX",
    "?",
    "~",
    "%",
    "/",
    "..",
    "[",
    "]",
    "{",
    "}",
    ",",
    "Y",
    "E",
    "S",
    "-",
    "-0001",
    "9999",
    "T",
    "Z",
    "+04:00",
];

fn one_date(draw: &mut Draw<'_>) -> String {
    let qualifiers = ["", "", "", "", "?", "~", "%"];
    let years = [
        "2023", "2024", "1900", "0000", "-0001", "9999", "-9999", "202X", "20XX", "1950S2", "Y17E7", "Y-17E7", "Y12000",
    ];
    let mut text = draw.of(&qualifiers).to_owned();
    text.push_str(draw.of(&years));
    text.push_str(draw.of(&qualifiers));
    if draw.once_in(2) {
        return text;
    }
    text.push_str(draw.of(&["-10", "-02", "-00", "-13", "-XX", "-1X", "-21", "-33", "-41", "-?10"]));
    text.push_str(draw.of(&qualifiers));
    if draw.once_in(3) {
        return text;
    }
    text.push_str(draw.of(&["-06", "-28", "-29", "-30", "-31", "-32", "-XX", "-3X", "-~06"]));
    text.push_str(draw.of(&qualifiers));
    text
}

#[test]
fn a_date_that_is_read_shows_as_itself_and_begins_before_it_ends() {
    DATES.run();
}

fn date_promise(input: &[u8]) -> Kept {
    let text = text(input);
    match Date::parse(&text) {
        Ok(date) => {
            let (shown, span) = (date.to_string(), date.span());
            let broken = |why: date::DateError| TestCaseError::fail(format!("{text:?} shows as {shown:?}: {why}"));
            let again = Date::parse(&shown).map_err(broken)?;
            prop_assert_eq!(&again, &date, "{:?} shows as {:?}", text, shown);
            prop_assert_eq!(again.span(), span);
            if let (Some(earliest), Some(latest)) = (span.earliest, span.latest) {
                prop_assert!(earliest <= latest, "{:?} ends before it begins", text);
            }
            for day in [span.earliest, span.latest].into_iter().flatten() {
                let day_again = date::show(day).parse::<civil::Date>().map(date::to_day);
                prop_assert_eq!(day_again.ok(), Some(day), "{:?}", text);
            }
        }
        Err(error) => prop_assert!(!error.to_string().is_empty()),
    }
    if let Ok(day) = date::civil_day(&text) {
        prop_assert_eq!(date::show(day), &*text);
    }
    // A bare day counts to its end.
    if let Ok(published) = date::published(&text) {
        let ends_a_day = published.to_string().ends_with("T23:59:59Z");
        prop_assert!(text.len() != 10 || ends_a_day, "{:?} was published {}", text, published);
    }
    Ok(())
}

pub const NAMES: Target = Target {
    name: "names",
    message: "",
    words: NAME_PARTS,
    input: |draw| draw.pieces(NAME_PARTS, 6).into_bytes(),
    promise: name_promise,
    few: 20_000,
};

const NAME_PARTS: &[&str] = &[
    "visits/",
    "persons/",
    "places/",
    "sources/",
    "/reports/",
    "reports",
    "a",
    "kz-az-2023",
    "-",
    "0",
    "A",
    "ä",
    "/",
    " ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

#[test]
fn a_name_that_is_read_shows_as_itself() {
    NAMES.run();
}

fn name_promise(input: &[u8]) -> Kept {
    let text = text(input);
    let (record, report) = (text.parse::<RecordName>(), text.parse::<ReportName>());
    prop_assert!(record.is_err() || report.is_err(), "{:?} is two names", text);
    match record {
        Ok(record) => {
            prop_assert_eq!(&record.to_string(), &*text);
            prop_assert_eq!(format!("{}/{}", name::collection(record.kind()), record.id()), &*text);
            prop_assert!(name::is_id(record.id()));
        }
        // Eighty characters, each at most ten in quotes, and what a name should look like.
        Err(error) => prop_assert!(error.0.len() < 1500, "{} bytes of error", error.0.len()),
    }
    if let Ok(report) = report {
        prop_assert_eq!(&report.to_string(), &*text);
        prop_assert!(name::is_source(&report.source));
    }
    Ok(())
}

pub const STATES: Target = Target {
    name: "states",
    message: "",
    words: STATE_PARTS,
    input: |draw| {
        let line = |draw: &mut Draw<'_>| {
            let mut columns = vec![draw.pieces(&["Ruritania", "France", "Ä", " ", "of", "Cote d’Ivoire", "—"], 3)];
            columns.push(draw.of(&["AZ", "FR", "-", "SUHH", "x-hawaii", "XX", ""]).to_owned());
            columns.extend(draw.list(3, |draw| draw.of(&["", "mme", "uk-treaties", "keep"]).to_owned()));
            columns.join(draw.of(&["\t", "\t", "\t", " "]))
        };
        let lines = draw.list(6, line);
        lines.join(draw.of(&["\n", "\r\n", "\n# a\n", "\n\n"])).into_bytes()
    },
    promise: state_promise,
    few: 2_000,
};

const STATE_PARTS: &[&str] = &["\t", "\n", "#", "\u{feff}", "AZ", "x-hawaii", "-", "keep", "mme"];

static BUILT_IN: LazyLock<States> = LazyLock::new(States::built_in);

#[test]
fn every_row_of_a_table_of_states_is_found_and_a_fault_is_named_by_its_line() {
    STATES.run();
}

fn state_promise(input: &[u8]) -> Kept {
    let text = text(input);
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    match BUILT_IN.clone().with("mine", &text) {
        Err(error) => {
            let told = error.to_string();
            let line = told.strip_prefix("mine:").and_then(|rest| rest.split_once(": ")?.0.parse::<usize>().ok());
            prop_assert!(line.is_some_and(|line| (1..=lines.len()).contains(&line)), "{}", told);
        }
        Ok(states) => {
            for line in lines.into_iter().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
                let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
                let scope = columns.get(2).copied().unwrap_or_default();
                match states.meaning(scope, columns[0]) {
                    Ok(Meaning::State(found)) => prop_assert_eq!(&found.code, columns[1]),
                    Ok(Meaning::NoState(_)) => prop_assert_eq!("-", columns[1]),
                    Err(why) => return Err(TestCaseError::fail(format!("{line:?}: {why}"))),
                }
            }
        }
    }
    Ok(())
}
