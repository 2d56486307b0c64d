//! The relations of one state as a table.

use std::fmt::Write as _;

use super::view::sources;
use crate::{
    cli::{
        output::{self, bold},
        words,
    },
    pb::v1::{Contact, Observed, RelationshipSummary, Tally, Watch},
};

const HEADINGS: [&str; 9] =
    ["STATE", "COUNT", "VISITS", "MEETINGS", "AGREEMENTS", "EXERCISES", "UNDATED", "LAST", "NEXT"];

/// The ranking, and who watched.
pub fn table(state: &str, day: &str, listed: &[RelationshipSummary], watched: &[Watch]) -> String {
    let mut text = format!("{}\n\n", bold(format_args!("Relations of {state}, as of {day}")));
    if listed.is_empty() {
        text.push_str("none known\n");
    } else {
        let mut table = output::table(HEADINGS);
        table.add_rows(listed.iter().map(row));
        let _ = writeln!(text, "{}", output::trimmed(&table));
        text.push_str("\n + at least: not everything was watched; – none known; 0 watched and none\n");
    }
    for watch in watched.iter().filter(|w| !w.watched_by.is_empty()) {
        let kind = words::human("RecordKind", watch.kind);
        let how = if watch.observed() == Observed::Yes { "watched" } else { "partly watched" };
        let _ = writeln!(text, " {kind}s: {how} by {}", sources(&watch.watched_by, watch.watched_by_more));
    }
    let nobody = watched.iter().filter(|w| w.watched_by.is_empty() && w.observed() != Observed::Yes);
    let nobody: Vec<String> = nobody.map(|w| format!("{}s", words::human("RecordKind", w.kind))).collect();
    if !nobody.is_empty() {
        let _ = writeln!(text, " nobody claims to have watched {} of {state} with every state", nobody.join(", "));
    }
    text.trim_end().to_owned()
}

fn row(relation: &RelationshipSummary) -> [String; 9] {
    let kinds = [&relation.visits, &relation.meetings, &relation.agreements, &relation.exercises];
    let undated: u32 = kinds.iter().filter_map(|t| t.as_ref()).map(|t| t.undated).sum();
    let cell = |tally: &Option<Tally>| tally.as_ref().map(count).unwrap_or_default();
    let when = |contact: &Option<Contact>| {
        contact.as_ref().and_then(|c| c.occurred.as_ref()).map(|d| d.edtf.clone()).unwrap_or_default()
    };
    [
        relation.state.clone(),
        sum(relation.count, kinds),
        cell(&relation.visits),
        cell(&relation.meetings),
        cell(&relation.agreements),
        cell(&relation.exercises),
        if undated == 0 { String::new() } else { undated.to_string() },
        when(&relation.last),
        when(&relation.next),
    ]
}

/// A count that says what it does not know.
fn count(tally: &Tally) -> String {
    number(tally.count, tally.observed() == Observed::Yes)
}

fn sum(count: u32, kinds: [&Option<Tally>; 4]) -> String {
    number(count, kinds.iter().all(|t| t.as_ref().is_some_and(|t| t.observed() == Observed::Yes)))
}

fn number(count: u32, watched: bool) -> String {
    match (count, watched) {
        (count, true) => count.to_string(),
        (0, false) => "–".to_owned(),
        (count, false) => format!("{count}+"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_is_shown_only_where_somebody_watched() {
        let tally = |count, observed: Observed| Tally { count, observed: observed.into(), ..Default::default() };
        assert_eq!(count(&tally(0, Observed::Yes)), "0");
        assert_eq!((count(&tally(0, Observed::Partly)), count(&tally(0, Observed::No))), ("–".into(), "–".into()));
        assert_eq!((count(&tally(2, Observed::Partly)), count(&tally(2, Observed::Yes))), ("2+".into(), "2".into()));
        let (yes, no) = (Some(tally(0, Observed::Yes)), Some(tally(0, Observed::No)));
        assert_eq!((sum(0, [&yes, &yes, &yes, &no]), sum(0, [&yes; 4])), ("–".into(), "0".into()));
    }
}
