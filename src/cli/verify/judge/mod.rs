//! The verdict on each guarantee, from what was recorded: pure, so that a test can show it a broken history.
//!
//! `streams` looks at the order of what came, `content` at what came.

mod content;
mod streams;

use super::{
    history::{History, Seen, Stream, Watched},
    places::covers,
};
use crate::domain::token::Token;

/// Faults of one guarantee that are told; the rest are counted.
const MAX_TOLD: usize = 5;

/// What was found of a guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It held wherever it was tried.
    Held,
    /// It did not, at least once.
    Broken,
    /// Nothing happened by which to tell.
    NotTested,
}

impl Outcome {
    /// For people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken => "broken",
            Self::NotTested => "not tested",
        }
    }
}

/// The verdict on a guarantee.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Which.
    pub guarantee: &'static str,
    /// What was found.
    pub outcome: Outcome,
    /// What it rests on.
    pub evidence: Vec<String>,
}

/// What was found while looking.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// How often there was something to look at.
    tried: usize,
    /// What was looked at, in words.
    basis: String,
    faults: Vec<String>,
}

type Rule = fn(&History) -> Findings;

/// The ten of the feed in their order, then what filers are promised.
const RULES: [(&str, Rule); 12] = [
    ("ordered", streams::ordered),
    ("unique", streams::unique),
    ("complete", content::complete),
    ("atomic", streams::atomic),
    ("resumable", content::resumable),
    ("bookmarkable", streams::bookmarkable),
    ("filter-consistent", content::consistent),
    ("caught up", content::caught_up),
    ("durable", content::durable),
    ("honest end", streams::honest_end),
    ("own writes are read", content::own_writes),
    ("a retry is safe", content::safe_retry),
];

/// The verdict on each guarantee, in the order in which the documentation numbers them.
#[must_use]
pub fn judge(history: &History) -> Vec<Verdict> {
    RULES.iter().map(|&(guarantee, rule)| Verdict::of(guarantee, rule(history))).collect()
}

impl Verdict {
    fn of(guarantee: &'static str, findings: Findings) -> Self {
        let Findings { tried, basis, mut faults } = findings;
        let outcome = match (faults.len(), tried) {
            (0, 0) => Outcome::NotTested,
            (0, _) => Outcome::Held,
            _ => Outcome::Broken,
        };
        let more = faults.len().saturating_sub(MAX_TOLD);
        faults.truncate(MAX_TOLD);
        if more > 0 {
            faults.push(format!("and {more} faults more"));
        }
        faults.push(basis);
        Self { guarantee, outcome, evidence: faults }
    }
}

impl Findings {
    fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }
}

/// Every watch with its number.
fn watches(history: &History) -> impl Iterator<Item = (usize, &Watched)> {
    history.watches.iter().enumerate()
}

/// Every stream with the number of its watch.
fn all_streams(history: &History) -> impl Iterator<Item = (usize, &Stream)> {
    watches(history).flat_map(|(number, watch)| watch.streams.iter().map(move |stream| (number, stream)))
}

/// What the log has for a watch: of its selection, after where it began.
fn expected<'h>(history: &'h History, watch: &'h Watched) -> impl Iterator<Item = &'h Seen> {
    let listed = history.selections.get(watch.selection).map_or(&[][..], |(_, listed)| listed.as_slice());
    let began = watch.began();
    listed
        .iter()
        .filter(move |event| event.revision <= history.end && began.is_some_and(|token| !covers(token, event.place())))
}

/// Where something was seen, for evidence.
fn place(history: &History, watch: usize, stream: &Stream, token: Option<&Token>) -> String {
    let server = server(history, stream.server);
    match token {
        Some(token) => format!("watcher {watch} on {server}, token {}", token.encode()),
        None => format!("watcher {watch} on {server}"),
    }
}

fn server(history: &History, number: usize) -> &str {
    history.servers.get(number).map_or("?", String::as_str)
}

#[cfg(test)]
mod tests;
