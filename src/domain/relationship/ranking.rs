//! The relations of one state, ranked.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    KINDS, Seen, Window,
    sums::{Latest, Sums},
    watch::{Between, Claims},
};
use crate::{
    domain::{date::Day, record},
    pb::v1,
};

/// The relations of a state, as far as its records were taken.
#[derive(Debug, Clone)]
pub struct Ranking {
    state: String,
    window: Window,
    others: BTreeMap<String, Other>,
}

#[derive(Debug, Clone, Default)]
struct Other {
    /// In the order of [`KINDS`].
    sums: [Sums; 4],
    latest: Latest,
}

impl Ranking {
    /// Of this state, which was checked, seen so.
    #[must_use]
    pub fn new(state: &str, window: Window) -> Self {
        Self { state: state.to_owned(), window, others: BTreeMap::new() }
    }

    /// Takes one more record; one in which the state takes no part changes nothing. Each record is to be taken once.
    pub fn add(&mut self, seen: &Seen<'_>) {
        let kind = record::kind(seen.record);
        let Some(index) = KINDS.iter().position(|k| *k == kind) else { return };
        if !seen.states().contains(&self.state) {
            return;
        }
        for state in seen.states().iter().filter(|s| **s != self.state) {
            let other = self.others.entry(state.clone()).or_default();
            other.sums[index].add(seen, &self.window);
            other.latest.add(seen, self.window.day);
        }
    }

    /// A part of the ranking, from the place `skip`, and whether more follows.
    #[must_use]
    pub fn page(self, claims: &Claims, skip: usize, size: usize) -> (Vec<v1::RelationshipSummary>, bool) {
        let Self { state, window, others } = self;
        let mut ranked: Vec<(String, Other)> = others.into_iter().collect();
        ranked.sort_by_cached_key(|(code, other)| {
            let last = other.latest.last.as_ref().map_or(Day::MIN, |(day, _)| *day);
            (Reverse(other.count()), Reverse(last), code.clone())
        });
        let more = ranked.len() > skip.saturating_add(size);
        let summary = |(code, other): (String, Other)| summary(&state, code, other, claims, &window);
        (ranked.into_iter().skip(skip).take(size).map(summary).collect(), more)
    }
}

impl Other {
    fn count(&self) -> u32 {
        self.sums.iter().map(|s| s.count).sum()
    }
}

fn summary(state: &str, code: String, other: Other, claims: &Claims, window: &Window) -> v1::RelationshipSummary {
    let count = other.count();
    let [visits, meetings, agreements, exercises] = other.sums;
    let tally = |sums: Sums, index: usize| {
        let watched = claims.about(KINDS[index], &[Between::Two(state, &code)]);
        Some(sums.tally(KINDS[index], &watched, window))
    };
    v1::RelationshipSummary {
        count,
        visits: tally(visits, 0),
        meetings: tally(meetings, 1),
        agreements: tally(agreements, 2),
        exercises: tally(exercises, 3),
        last: other.latest.last.map(|(_, contact)| contact),
        next: other.latest.next.map(|(_, contact)| contact),
        state: code,
    }
}

/// For each kind whether anybody watched a state, whoever the other one is.
#[must_use]
pub fn watched(state: &str, claims: &Claims, window: &Window) -> Vec<v1::Watch> {
    let watch = |kind: v1::RecordKind| {
        let watched = claims.about(kind, &[Between::One(state)]);
        let (watched_by, watched_by_more) = watched.by(window.from, window.until);
        let observed = watched.observed(window.from, window.until, false).into();
        v1::Watch { kind: kind.into(), observed, watched_by, watched_by_more }
    };
    KINDS.into_iter().map(watch).collect()
}
