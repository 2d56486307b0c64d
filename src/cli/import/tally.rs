//! What became of each row, and how it is told.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::json;

use super::args::ImportArgs;
use crate::{
    cli::{
        error::CliError,
        output::{self, Out},
        words,
    },
    import::{Import, Outcome, Place, batch::Batch},
    pb::v1::{FilingOutcome, ImportRefusal, ImportReportsResponse, import_result},
};

/// Groups of refusals or remarks that are shown.
const SHOWN_GROUPS: usize = 12;
/// Rows of a group that are shown.
const SHOWN_ROWS: usize = 3;

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It was not sent, because the import ended before.
    Unsent,
    /// It says the same as another row.
    Repeats,
    /// What it did, in words.
    Done(String),
    Refused(String),
}

/// Every row with its fate.
pub struct Tally {
    places: Vec<Place>,
    fates: Vec<Fate>,
    remarks: Vec<(usize, String)>,
    left_out: Vec<(String, String)>,
    events: u64,
    batches: u64,
    revision: u64,
    token: String,
}

impl Tally {
    /// Before anything is sent; `unread` are the files that were not read.
    pub fn of(import: &Import, unread: Vec<String>) -> Self {
        let fate = |outcome: &Outcome| match outcome {
            Outcome::Items(_) => Fate::Unsent,
            Outcome::Repeats(_) => Fate::Repeats,
            Outcome::Refused(why) => Fate::Refused(why.clone()),
        };
        let columns = import.left_out.iter().map(|(name, why)| (format!("column {name}"), (*why).to_owned()));
        let passed = import.passed.iter().map(|(name, why)| (format!("file {name}"), (*why).to_owned()));
        let unread = unread.into_iter().map(|name| (format!("file {name}"), "another ending".to_owned()));
        let rows = import.rows.iter().enumerate();
        Self {
            places: import.rows.iter().map(|row| row.place.clone()).collect(),
            fates: import.rows.iter().map(|row| fate(&row.outcome)).collect(),
            remarks: rows.flat_map(|(i, row)| row.flags.iter().map(move |flag| (i, flag.clone()))).collect(),
            left_out: columns.chain(passed).chain(unread).collect(),
            events: 0,
            batches: 0,
            revision: 0,
            token: String::new(),
        }
    }

    /// A batch that an earlier run recorded.
    pub fn recorded_before(&mut self, batch: &Batch) {
        for row in &batch.rows {
            self.fates[*row] = Fate::Done("recorded before".to_owned());
        }
    }

    /// The answer to a batch.
    ///
    /// # Errors
    ///
    /// If it says neither what was done nor why not.
    pub fn answered(&mut self, batch: &Batch, answer: ImportReportsResponse) -> Result<(), CliError> {
        for (row, result) in batch.rows.iter().zip(answer.results) {
            match result.outcome {
                Some(import_result::Outcome::Result(done)) => {
                    self.remarks.extend(done.warnings.iter().map(|warning| (*row, warning.clone())));
                    self.settle(*row, Fate::Done(word(done.outcome())));
                }
                Some(import_result::Outcome::Refusal(refusal)) => self.settle(*row, Fate::Refused(why(&refusal))),
                None => return Err(CliError::Broken("an item of an import has no outcome")),
            }
        }
        self.batches += 1;
        self.events += u64::from(answer.events);
        self.revision = self.revision.max(answer.revision);
        self.token = answer.token;
        Ok(())
    }

    /// A row of several items is refused if one of them is; else its last item says what it came to.
    fn settle(&mut self, row: usize, fate: Fate) {
        if !matches!(self.fates[row], Fate::Refused(_)) {
            self.fates[row] = fate;
        }
    }

    /// How many rows were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.fates.iter().filter(|fate| matches!(fate, Fate::Refused(_))).count()
    }

    /// Rows by what they came to; together they are all rows.
    fn outcomes(&self) -> BTreeMap<&str, usize> {
        let mut outcomes = BTreeMap::new();
        for fate in &self.fates {
            let word = match fate {
                Fate::Unsent => "not sent",
                Fate::Repeats => "repeats another row",
                Fate::Refused(_) => "refused",
                Fate::Done(word) => word,
            };
            *outcomes.entry(word).or_default() += 1;
        }
        outcomes
    }

    fn refusals(&self) -> Vec<Group<'_>> {
        let refused = self.fates.iter().enumerate();
        groups(refused.filter_map(|(i, f)| if let Fate::Refused(why) = f { Some((i, why.as_str())) } else { None }))
    }

    fn remark_groups(&self) -> Vec<Group<'_>> {
        groups(self.remarks.iter().map(|(i, text)| (*i, text.as_str())))
    }

    /// Every refused row: place, tab, reason.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write_refused(&self, path: &Path) -> Result<(), CliError> {
        let mut text = String::new();
        for (place, fate) in self.places.iter().zip(&self.fates) {
            if let Fate::Refused(why) = fate {
                text += &format!("{place}\t{}\n", why.replace(['\t', '\n'], " "));
            }
        }
        Ok(fs::write(path, text)?)
    }

    /// The summary: for people, or as one JSON object.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn print(&self, args: &ImportArgs) -> Result<(), CliError> {
        let mut out = Out::new(args.client.output.output);
        if out.is_table() {
            self.print_table(&mut out, args)?;
        } else {
            out.object(&self.json(args))?;
        }
        out.flush()
    }

    fn print_table(&self, out: &mut Out, args: &ImportArgs) -> Result<(), CliError> {
        let mut table = output::table(["ROWS", "OUTCOME"]);
        for (word, count) in self.outcomes() {
            table.add_row([count.to_string(), word.to_owned()]);
        }
        table.add_row([self.fates.len().to_string(), "together".to_owned()]);
        out.line(output::trimmed(&table))?;
        self.print_groups(out, "refused", &self.refusals())?;
        self.print_groups(out, "taken, but", &self.remark_groups())?;
        for (what, why) in &self.left_out {
            out.line(output::dim(format_args!("left out: {what}: {why}")))?;
        }
        match (args.dry_run, self.revision) {
            (true, _) => out.line("nothing was filed (--dry-run)"),
            (false, 0) => out.line("nothing new was recorded"),
            (false, revision) => {
                out.line(format_args!("{} events, up to revision {revision}, position {}", self.events, self.token))
            }
        }
    }

    fn print_groups(&self, out: &mut Out, what: &str, groups: &[Group<'_>]) -> Result<(), CliError> {
        for Group { text, rows } in groups.iter().take(SHOWN_GROUPS) {
            out.line(output::colour(33, format_args!("{what}: {} × {text}", rows.len())))?;
            let shown: Vec<String> = rows.iter().take(SHOWN_ROWS).map(|row| self.places[*row].to_string()).collect();
            let more = if rows.len() > SHOWN_ROWS { ", …" } else { "" };
            out.line(format_args!("  {}{more}", shown.join(", ")))?;
        }
        if groups.len() > SHOWN_GROUPS {
            let more: usize = groups[SHOWN_GROUPS..].iter().map(|group| group.rows.len()).sum();
            out.line(format_args!("{what}: {more} × something else (-o json tells all)"))?;
        }
        Ok(())
    }

    fn json(&self, args: &ImportArgs) -> serde_json::Value {
        let show = |groups: Vec<Group<'_>>, key: &str| -> Vec<serde_json::Value> {
            let places = |rows: &[usize]| rows.iter().map(|row| self.places[*row].to_string()).collect::<Vec<_>>();
            groups.iter().map(|g| json!({ key: g.text, "rows": g.rows.len(), "places": places(&g.rows) })).collect()
        };
        json!({
            "from": args.kind.word(),
            "dryRun": args.dry_run,
            "rows": self.fates.len(),
            "outcomes": self.outcomes(),
            "refused": show(self.refusals(), "reason"),
            "remarks": show(self.remark_groups(), "text"),
            "leftOut": self.left_out.iter().map(|(what, why)| json!({ "what": what, "why": why })).collect::<Vec<_>>(),
            "batches": self.batches,
            "events": self.events,
            "revision": self.revision.to_string(),
            "token": self.token,
        })
    }
}

/// Rows of which the same is to be said.
struct Group<'a> {
    text: &'a str,
    rows: Vec<usize>,
}

/// The largest first.
fn groups<'a>(said: impl Iterator<Item = (usize, &'a str)>) -> Vec<Group<'a>> {
    let mut by_text: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, text) in said {
        by_text.entry(text).or_default().push(row);
    }
    let mut groups: Vec<Group<'_>> = by_text.into_iter().map(|(text, rows)| Group { text, rows }).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.rows.len()));
    groups
}

fn word(outcome: FilingOutcome) -> String {
    match outcome {
        FilingOutcome::NoChange => "unchanged".to_owned(),
        FilingOutcome::Retracted => "withdrawn".to_owned(),
        other => words::human("FilingOutcome", other as i32),
    }
}

fn why(refusal: &ImportRefusal) -> String {
    let reason = words::human("ErrorReason", refusal.reason).to_uppercase().replace(' ', "_");
    format!("{reason}: {}", refusal.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        import::{
            File, Kind, States,
            batch::{Batches, Run},
            read,
        },
        pb::v1::{ErrorReason, FilingResult, ImportResult},
    };

    fn import() -> Import {
        let text = "id,start_date,end_date,visitor,from\n1,2001-01-01,2001-01-01,A,France\n\
            2,2001-01-01,2001-01-01,B,Ruritania\n3,2001-01-01,2001-01-01,C,Spain\n3,2001-01-01,2001-01-01,C,Spain\n";
        let file = File { name: "v.csv".into(), bytes: text.into() };
        read(Kind::Visits, &[file], &States::built_in()).unwrap()
    }

    fn answer(outcomes: Vec<import_result::Outcome>) -> ImportReportsResponse {
        let result = |(index, outcome)| ImportResult { index, outcome: Some(outcome) };
        ImportReportsResponse {
            results: (0..).zip(outcomes).map(result).collect(),
            events: 2,
            revision: 7,
            token: "t".into(),
            ..ImportReportsResponse::default()
        }
    }

    #[test]
    fn every_row_is_counted_once() {
        let import = import();
        let mut tally = Tally::of(&import, vec![]);
        let before = [("not sent", 2), ("refused", 1), ("repeats another row", 1)];
        assert_eq!(tally.outcomes(), before.into());
        let batch = Batches::of(&import, Run { id: "r".into(), validate_only: false }).next().unwrap();
        let done = FilingResult { outcome: FilingOutcome::NoChange as i32, ..FilingResult::default() };
        let refusal = ImportRefusal {
            reason: ErrorReason::TooLarge as i32,
            message: "because".into(),
            ..ImportRefusal::default()
        };
        let outcomes = vec![import_result::Outcome::Result(done), import_result::Outcome::Refusal(refusal)];
        tally.answered(&batch, answer(outcomes)).unwrap();
        assert_eq!(tally.outcomes(), [("refused", 2), ("repeats another row", 1), ("unchanged", 1)].into());
        assert_eq!(tally.outcomes().values().sum::<usize>(), import.rows.len());
        let reasons: Vec<String> = tally.refusals().iter().map(|g| g.text.to_owned()).collect();
        assert!(reasons.contains(&"TOO_LARGE: because".to_owned()), "{reasons:?}");
    }

    #[test]
    fn an_item_without_an_outcome_breaks_the_contract() {
        let import = import();
        let batch = Batches::of(&import, Run { id: "r".into(), validate_only: false }).next().unwrap();
        let empty =
            ImportReportsResponse { results: vec![ImportResult::default()], ..ImportReportsResponse::default() };
        assert!(matches!(Tally::of(&import, vec![]).answered(&batch, empty), Err(CliError::Broken(_))));
    }
}
