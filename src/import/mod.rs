//! Importers: one file per outside format. Bytes go in, items of `ImportReports` come out; nothing is sent or kept here.
//!
//! Nothing in a row is dropped silently. What has no field of its own goes into the note, the `…_as_stated` texts or the
//! external ids; columns that are left out on purpose are told in [`Import::left_out`]; a row that cannot be understood
//! is refused whole, with the reason. The same bytes make the same items, so that importing again changes nothing.
//!
//! | file | format |
//! |---|---|
//! | [`visits`] | visits of foreign leaders to the United States, XML and CSV |
//! | [`history`] | the same list as it was on each day: asserted, corrected, removed |
//! | [`travels`] | journeys of US presidents, XML |
//! | [`treaties`] | UK Treaties Online, JSON lines |
//! | [`exercises`] | multinational military exercises (MME), CSV |
//! | [`reports`] | our own JSON |
//! | [`states`] | spellings of states |

pub mod batch;
pub mod exercises;
pub mod fields;
pub mod history;
pub mod reports;
pub mod states;
pub mod text;
pub mod travels;
pub mod treaties;
pub mod visit_type;
pub mod visits;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    str::FromStr,
};

use prost::Message as _;

pub use self::states::States;
use crate::{
    domain::{error::word, name, report},
    pb::v1::{self, ImportItem, import_item::Item},
};

/// An outside format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The list of visits of foreign leaders to the United States.
    Visits,
    /// The revision history of that list.
    VisitsHistory,
    /// Journeys of US presidents.
    Travels,
    /// UK Treaties Online.
    UkTreaties,
    /// Multinational military exercises.
    Mme,
    /// Our own JSON.
    Reports,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::Visits, Self::VisitsHistory, Self::Travels, Self::UkTreaties, Self::Mme, Self::Reports];

    /// The word for it on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Visits => "historyatstate-visits",
            Self::VisitsHistory => "historyatstate-visits-history",
            Self::Travels => "historyatstate-travels",
            Self::UkTreaties => "uk-treaties",
            Self::Mme => "mme",
            Self::Reports => "reports",
        }
    }

    /// What its files look like, for the message that one does not.
    #[must_use]
    pub fn expects(self) -> &'static str {
        match self {
            Self::Visits => "XML with a <visits> root, or CSV with the columns id, start_date, end_date, visitor, from",
            Self::VisitsHistory => "JSON lines with recorded_at, op and id",
            Self::Travels => "XML with a <trips> root",
            Self::UkTreaties => "JSON lines with id, title and country_name",
            Self::Mme => "CSV with the columns MMEID, Ex_Name, s.year, s.month, s.day and StateA",
            Self::Reports => "JSON: a request, a report, or a list or lines of reports",
        }
    }

    /// The endings of its files, by which they are found in a folder.
    #[must_use]
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Visits => &["xml", "csv"],
            Self::VisitsHistory | Self::UkTreaties => &["jsonl", "ndjson"],
            Self::Travels => &["xml"],
            Self::Mme => &["csv"],
            Self::Reports => &["json", "jsonl", "ndjson"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.word() == text);
        found.ok_or_else(|| format!("one of {} is expected", Self::ALL.map(Self::word).join(", ")))
    }
}

/// Why a file cannot be imported at all; nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is something else.
    #[error("{file}: {found}; {kind} is {}", .kind.expects())]
    WrongFormat {
        /// The file.
        file: String,
        /// What was found instead.
        found: String,
        /// What was asked for.
        kind: Kind,
    },
    /// Its end is missing.
    #[error("{file}: the file is cut off at line {line}: {found}")]
    Truncated {
        /// The file.
        file: String,
        /// Where it ends, from 1.
        line: u64,
        /// How that shows.
        found: String,
    },
    /// A line of the table of states is wrong.
    #[error("{file}:{line}: {found}")]
    States {
        /// The table.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        found: String,
    },
}

impl Error {
    fn wrong(kind: Kind, file: &str, found: impl Into<String>) -> Self {
        Self::WrongFormat { file: file.to_owned(), found: found.into(), kind }
    }
}

/// A file as it was read.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name as people know it.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Where a row stands: `visits.csv:12 (2138)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The row's own id; empty if it has none that can be read.
    pub id: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id.as_str() {
            "" => write!(f, "{}:{}", self.file, self.line),
            id => write!(f, "{}:{} ({id})", self.file, self.line),
        }
    }
}

/// How a row is filed: rows that differ in this cannot share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Terms {
    /// When it was recorded, in a replay.
    pub recorded_at: Option<prost_types::Timestamp>,
    /// What is meant by values that change.
    pub intent: v1::Intent,
    /// Why, of items that withdraw.
    pub reason: v1::RetractionReason,
}

/// What a row comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// These are sent; never empty.
    Items(Vec<ImportItem>),
    /// It says the same as another row of this import, which stands there.
    Repeats(Place),
    /// It is left out, for this reason.
    Refused(String),
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it stands.
    pub place: Place,
    /// How it is filed.
    pub terms: Terms,
    /// What it comes to.
    pub outcome: Outcome,
    /// What a person should know about it; nothing was refused for these.
    pub flags: Vec<String>,
}

impl Row {
    fn new(place: Place, made: Result<v1::Report, String>, flags: Vec<String>) -> Self {
        let outcome = match made {
            Ok(report) => Outcome::Items(vec![filed(report)]),
            Err(why) => Outcome::Refused(why),
        };
        Self { place, terms: Terms::default(), outcome, flags }
    }

    /// The name of the report that it files, if it files one.
    fn report(&self, source: &str) -> Option<String> {
        let Outcome::Items(items) = &self.outcome else { return None };
        items.last().map(|item| report_name(item, source))
    }
}

/// Everything that some files hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The source of the reports that carry none.
    pub source: Option<v1::Source>,
    /// The rows, in the order of the files: each row of a file is here once.
    pub rows: Vec<Row>,
    /// Columns that are left out on purpose, and why.
    pub left_out: &'static [(&'static str, &'static str)],
    /// Files that were looked into and hold no rows, and why.
    pub passed: Vec<(String, &'static str)>,
}

/// Reads files of one kind.
///
/// # Errors
///
/// The first file that is not what it should be. A row that is wrong is no error.
pub fn read(kind: Kind, files: &[File], states: &States) -> Result<Import, Error> {
    let mut import = match kind {
        Kind::Visits => visits::read(files, states)?,
        Kind::VisitsHistory => history::read(files, states)?,
        Kind::Travels => travels::read(files, states)?,
        Kind::UkTreaties => treaties::read(files, states)?,
        Kind::Mme => exercises::read(files, states)?,
        Kind::Reports => reports::read(files)?,
    };
    import.check();
    if !matches!(kind, Kind::VisitsHistory | Kind::Reports) {
        import.keep_apart();
    }
    Ok(import)
}

impl Import {
    /// Refuses rows that the contract would refuse, so that each is named by its place and not by its number in a batch.
    fn check(&mut self) {
        let source = self.source.as_ref();
        for row in &mut self.rows {
            if let Outcome::Items(items) = &row.outcome
                && let Some(why) = items.iter().find_map(|item| fault(item, source))
            {
                row.outcome = Outcome::Refused(why);
            }
        }
    }

    /// Two rows with one id are one row if they say the same, and are both refused if they do not: which of them the id
    /// belongs to cannot be known, and one must not overwrite the other.
    fn keep_apart(&mut self) {
        let source = self.source.as_ref().map(|s| s.name.clone()).unwrap_or_default();
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        let mut torn: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for index in 0..self.rows.len() {
            let Some(name) = self.rows[index].report(&source) else { continue };
            match first.entry(name.clone()) {
                Entry::Vacant(free) => _ = free.insert(index),
                Entry::Occupied(taken) if self.rows[*taken.get()].outcome == self.rows[index].outcome => {
                    self.rows[index].outcome = Outcome::Repeats(self.rows[*taken.get()].place.clone());
                }
                Entry::Occupied(taken) => torn.entry(name).or_insert_with(|| vec![*taken.get()]).push(index),
            }
        }
        for indexes in torn.values() {
            self.refuse_all(indexes);
        }
    }

    fn refuse_all(&mut self, indexes: &[usize]) {
        let places: Vec<Place> = indexes.iter().map(|i| self.rows[*i].place.clone()).collect();
        for index in indexes {
            let others: Vec<String> =
                places.iter().filter(|p| **p != self.rows[*index].place).map(ToString::to_string).collect();
            let why = format!("this id is used for something else too, at {}", others.join(" and "));
            self.rows[*index].outcome = Outcome::Refused(why);
        }
        // Rows that repeat one that is refused now stand for nothing.
        for row in &mut self.rows {
            if matches!(&row.outcome, Outcome::Repeats(place) if places.contains(place)) {
                row.outcome = Outcome::Refused("it repeats a row that is refused, because its id is used twice".into());
            }
        }
    }
}

fn filed(report: v1::Report) -> ImportItem {
    ImportItem { item: Some(Item::Report(report)) }
}

fn withdrawn(report: String) -> ImportItem {
    ImportItem { item: Some(Item::Withdraw(report)) }
}

/// The name of the report that an item is about.
fn report_name(item: &ImportItem, source: &str) -> String {
    match &item.item {
        Some(Item::Withdraw(name)) => name.clone(),
        Some(Item::Report(report)) => {
            let own = report.source.as_ref().map_or(source, |s| s.name.as_str());
            format!("{}/reports/{}", report.record, name::id_of(own))
        }
        None => String::new(),
    }
}

fn fault(item: &ImportItem, source: Option<&v1::Source>) -> Option<String> {
    let Some(Item::Report(report)) = &item.item else { return None };
    let error = report::Report::parse(report, source, "").err()?;
    Some(format!("{}: {}", word(error.reason), error.message))
}

/// The size of an item as it is sent, in bytes.
fn size(item: &ImportItem) -> usize {
    item.encoded_len()
}

/// A data set's source block. Without a date of publication: a later release says the same of most rows, and must not
/// make every report a new one.
fn data_set(name: &str, publisher: &str, uri: Option<&str>, coverage: v1::Coverage) -> v1::Source {
    v1::Source {
        name: format!("sources/{name}"),
        publisher: Some(v1::Attribution { name_as_stated: Some(publisher.to_owned()), organization: None }),
        uri: uri.map(str::to_owned),
        language: Some("en".to_owned()),
        kind: v1::SourceKind::Dataset as i32,
        coverage: Some(coverage),
        ..v1::Source::default()
    }
}

fn edtf(text: impl Into<String>) -> Option<v1::EdtfDate> {
    Some(v1::EdtfDate { edtf: text.into(), ..v1::EdtfDate::default() })
}

/// A text in English, the language of all these data sets.
fn english(text: impl Into<String>) -> v1::Text {
    v1::Text { language: Some("en".to_owned()), text: text.into() }
}

fn title(text: impl Into<String>) -> v1::Title {
    v1::Title { language: Some("en".to_owned()), script: None, text: text.into() }
}

fn external_id(scheme: &str, id: impl Into<String>) -> v1::ExternalId {
    v1::ExternalId { scheme: scheme.to_owned(), id: id.into() }
}

fn place_as_stated(text: impl Into<String>) -> v1::PlaceRef {
    v1::PlaceRef { place: None, as_stated: Some(text.into()) }
}

/// Sentences for a note, one a line; `None` if there are none.
fn note(lines: Vec<String>) -> Option<String> {
    if lines.is_empty() { None } else { Some(lines.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(rows: &[(&str, &str)]) -> Import {
        let header = "id,start_date,end_date,visitor,from,description\n".to_owned();
        let line = |(id, visitor): &(&str, &str)| format!("{id},2001-02-03,2001-02-04,{visitor},France,\n");
        let text: String = rows.iter().map(line).collect();
        let file = File { name: "v.csv".into(), bytes: (header + &text).into_bytes() };
        read(Kind::Visits, &[file], &States::built_in()).unwrap()
    }

    #[test]
    fn two_rows_with_one_id_are_both_refused_and_name_each_other() {
        let rows = import(&[("7", "President A"), ("8", "President C"), ("7", "President B")]).rows;
        let why = |i: usize| match &rows[i].outcome {
            Outcome::Refused(why) => why.clone(),
            other => panic!("{other:?}"),
        };
        assert!(why(0).contains("v.csv:4 (7)"), "{}", why(0));
        assert!(why(2).contains("v.csv:2 (7)"), "{}", why(2));
        assert!(matches!(rows[1].outcome, Outcome::Items(_)));
    }

    #[test]
    fn an_id_three_times_is_refused_three_times_even_where_two_agree() {
        let rows = import(&[("7", "President A"), ("7", "President A"), ("7", "President B")]).rows;
        assert!(rows.iter().all(|r| matches!(r.outcome, Outcome::Refused(_))), "{rows:?}");
    }

    #[test]
    fn a_row_that_repeats_another_is_counted_and_not_sent() {
        let rows = import(&[("7", "President A"), ("7", "President A")]).rows;
        assert!(matches!(&rows[1].outcome, Outcome::Repeats(place) if place.line == 2), "{rows:?}");
    }

    #[test]
    fn a_row_that_the_contract_refuses_is_refused_by_its_place() {
        let rows = import(&[("Ä Ö", "President A")]).rows;
        assert!(matches!(&rows[0].outcome, Outcome::Refused(why) if why.contains("id")), "{rows:?}");
    }

    #[test]
    fn every_kind_is_known_by_its_word() {
        for kind in Kind::ALL {
            assert_eq!(kind.word().parse(), Ok(kind));
        }
        assert!("csv".parse::<Kind>().is_err());
    }
}
