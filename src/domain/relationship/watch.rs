//! Who claims to have watched: the coverage of sources, against kinds, states and time.

use std::collections::BTreeSet;

use crate::{
    domain::date::{self, Day},
    limits::MAX_WATCHED_BY,
    pb::v1::{self, Observed, RecordKind},
};

/// The first and last day of a time, both inclusive; an open side is the end of all days.
type Days = (Day, Day);

/// What sources claim to have watched.
#[derive(Debug, Clone)]
pub struct Claims {
    claims: Vec<Claim>,
    today: Day,
}

#[derive(Debug, Clone)]
struct Claim {
    source: String,
    kinds: BTreeSet<i32>,
    /// Empty is all.
    states: BTreeSet<String>,
    days: Days,
    complete: bool,
}

/// Between whom something was watched or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between<'a> {
    /// Two states.
    Two(&'a str, &'a str),
    /// One and whoever else.
    One(&'a str),
}

impl Claims {
    /// The claims of these sources; those without coverage claim nothing, and nobody has watched what comes after today.
    #[must_use]
    pub fn of(sources: &[v1::Source], today: Day) -> Self {
        let claim = |source: &v1::Source| {
            let coverage = source.coverage.as_ref()?;
            let from = coverage.from.as_ref().and_then(|d| date::span_of(d).earliest);
            let until = coverage.until.as_ref().and_then(|d| date::span_of(d).latest);
            Some(Claim {
                source: source.name.clone(),
                kinds: coverage.kinds.iter().copied().collect(),
                states: coverage.states.iter().cloned().collect(),
                days: days(from, Some(until.map_or(today, |until| until.min(today)))),
                complete: coverage.complete,
            })
        };
        Self { claims: sources.iter().filter_map(claim).collect(), today }
    }

    /// What is claimed of a kind between these states.
    pub fn about(&self, kind: RecordKind, pairs: &[Between<'_>]) -> Watched {
        let of_kind: Vec<&Claim> = self.claims.iter().filter(|c| c.kinds.contains(&(kind as i32))).collect();
        let touching = |claim: &Claim| pairs.iter().any(|pair| claim.is_about(*pair));
        let sources = of_kind.iter().filter(|c| touching(c)).map(|c| (c.source.clone(), c.days)).collect();
        let lines = pairs.iter().map(|pair| {
            let own = || of_kind.iter().filter(|c| c.is_about(*pair));
            let complete = own().filter(|c| c.complete).map(|c| c.days);
            Line { complete: joined(complete.collect()), any: joined(own().map(|c| c.days).collect()) }
        });
        Watched { lines: lines.collect(), sources, today: self.today }
    }
}

impl Claim {
    fn is_about(&self, between: Between<'_>) -> bool {
        let has = |state: &str| self.states.is_empty() || self.states.contains(state);
        match between {
            Between::Two(one, other) => has(one) || has(other),
            Between::One(state) => has(state),
        }
    }
}

/// What is claimed of one kind between states.
#[derive(Debug, Clone)]
pub struct Watched {
    /// One for each two states.
    lines: Vec<Line>,
    sources: Vec<(String, Days)>,
    today: Day,
}

/// When two states were watched: times apart from each other, in order.
#[derive(Debug, Clone)]
struct Line {
    complete: Vec<Days>,
    any: Vec<Days>,
}

impl Watched {
    /// Whether a time was watched; `reported` says whether something is known of it all the same.
    pub fn observed(&self, from: Option<Day>, until: Option<Day>, reported: bool) -> Observed {
        let asked = days(from, until);
        if self.lines.iter().all(|line| line.is_complete(asked)) {
            Observed::Yes
        } else if reported || self.lines.iter().any(|line| line.is_touched(asked)) {
            Observed::Partly
        } else {
            Observed::No
        }
    }

    /// As [`Self::observed`], of that part of a time that is not in the future, if there is one.
    pub fn observed_so_far(&self, from: Option<Day>, until: Option<Day>, reported: bool) -> Observed {
        let begun = from.is_none_or(|from| from <= self.today);
        let until = if begun { Some(until.map_or(self.today, |until| until.min(self.today))) } else { until };
        self.observed(from, until, reported)
    }

    /// The sources whose claims touch a time, by name, and how many more there are than are listed.
    pub fn by(&self, from: Option<Day>, until: Option<Day>) -> (Vec<String>, u32) {
        let asked = days(from, until);
        let mut names: Vec<_> =
            self.sources.iter().filter(|(_, days)| overlap(*days, asked)).map(|(n, _)| n.clone()).collect();
        names.sort();
        names.dedup();
        let more = u32::try_from(names.len().saturating_sub(MAX_WATCHED_BY)).unwrap_or(u32::MAX);
        names.truncate(MAX_WATCHED_BY);
        (names, more)
    }
}

impl Line {
    fn is_complete(&self, asked: Days) -> bool {
        at(&self.complete, asked.0).is_some_and(|(first, last)| first <= asked.0 && asked.1 <= last)
    }

    fn is_touched(&self, asked: Days) -> bool {
        at(&self.any, asked.1).is_some_and(|days| overlap(days, asked))
    }
}

/// The last time that begins on a day or before.
fn at(line: &[Days], day: Day) -> Option<Days> {
    line.partition_point(|(first, _)| *first <= day).checked_sub(1).map(|index| line[index])
}

fn days(from: Option<Day>, until: Option<Day>) -> Days {
    (from.unwrap_or(Day::MIN), until.unwrap_or(Day::MAX))
}

fn overlap(one: Days, other: Days) -> bool {
    one.0 <= other.1 && other.0 <= one.1
}

/// Times that touch each other become one.
fn joined(mut times: Vec<Days>) -> Vec<Days> {
    times.retain(|(first, last)| first <= last);
    times.sort_unstable();
    let mut joined: Vec<Days> = Vec::new();
    for (first, last) in times {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, states: &[&str], from: &str, until: &str, complete: bool) -> v1::Source {
        let date = |edtf: &str| (!edtf.is_empty()).then(|| v1::EdtfDate { edtf: edtf.into(), ..Default::default() });
        let coverage = v1::Coverage {
            kinds: vec![RecordKind::Visit.into()],
            states: states.iter().map(|s| (*s).to_owned()).collect(),
            from: date(from),
            until: date(until),
            complete,
        };
        v1::Source { name: format!("sources/{name}"), coverage: Some(coverage), ..Default::default() }
    }

    fn observed(sources: &[v1::Source], pairs: &[Between<'_>], from: &str, until: &str) -> Observed {
        let bound = |text: &str| date::Date::parse(text).ok().map(|d| d.span());
        let watched = Claims::of(sources, today()).about(RecordKind::Visit, pairs);
        watched.observed(bound(from).and_then(|s| s.earliest), bound(until).and_then(|s| s.latest), false)
    }

    fn today() -> Day {
        date::civil_day("2026-11-23").unwrap()
    }

    const AZ_KZ: &[Between<'static>] = &[Between::Two("AZ", "KZ")];

    #[test]
    fn a_complete_claim_answers_yes_within_its_time_and_partly_beyond() {
        let desk = [source("desk", &["AZ"], "2020", "2023", true)];
        assert_eq!(observed(&desk, AZ_KZ, "2020", "2023"), Observed::Yes);
        assert_eq!(observed(&desk, AZ_KZ, "2019-12-31", "2023"), Observed::Partly);
        assert_eq!(observed(&desk, AZ_KZ, "", "2023"), Observed::Partly);
        assert_eq!(observed(&desk, AZ_KZ, "2024", "2024"), Observed::No);
    }

    #[test]
    fn claims_that_meet_watch_the_whole_between_them() {
        let two = [source("a", &[], "2020", "2021", true), source("b", &["KZ"], "2022-01", "", true)];
        assert_eq!(observed(&two, AZ_KZ, "2020", "2025"), Observed::Yes);
        let gap = [source("a", &[], "2020", "2021", true), source("b", &["KZ"], "2022-01-02", "", true)];
        assert_eq!(observed(&gap, AZ_KZ, "2020", "2025"), Observed::Partly);
    }

    #[test]
    fn what_is_not_claimed_complete_is_partly_watched() {
        assert_eq!(observed(&[source("a", &["AZ"], "", "", false)], AZ_KZ, "2020", "2021"), Observed::Partly);
    }

    #[test]
    fn other_states_kinds_and_no_claim_at_all_are_not_watched() {
        assert_eq!(observed(&[source("a", &["TR"], "", "", true)], AZ_KZ, "", ""), Observed::No);
        assert_eq!(observed(&[], AZ_KZ, "", ""), Observed::No);
        let exercises = Claims::of(&[source("a", &[], "", "", true)], today()).about(RecordKind::Exercise, AZ_KZ);
        assert_eq!(exercises.observed(None, None, false), Observed::No);
        assert_eq!(exercises.observed(None, None, true), Observed::Partly, "something was reported all the same");
    }

    #[test]
    fn of_more_than_two_states_each_two_have_to_be_watched() {
        let three = [Between::Two("AZ", "KZ"), Between::Two("AZ", "TR"), Between::Two("KZ", "TR")];
        assert_eq!(observed(&[source("a", &["AZ", "KZ"], "", "", true)], &three, "", "2025"), Observed::Yes);
        assert_eq!(observed(&[source("a", &["AZ"], "", "", true)], &three, "", "2025"), Observed::Partly);
    }

    #[test]
    fn nobody_has_watched_the_future() {
        let open = [source("a", &[], "2020", "", true)];
        assert_eq!(observed(&open, AZ_KZ, "2020", "2026-11-23"), Observed::Yes);
        assert_eq!(observed(&open, AZ_KZ, "2020", "2026-11-24"), Observed::Partly);
        assert_eq!(observed(&open, AZ_KZ, "2026-11-24", ""), Observed::No);
        assert_eq!(observed(&[source("a", &[], "", "2030", true)], AZ_KZ, "2026-11", "2026-11"), Observed::Partly);
        let month = date::Date::parse("2026-11").unwrap().span();
        let watched = Claims::of(&open, today()).about(RecordKind::Visit, AZ_KZ);
        assert_eq!(watched.observed_so_far(month.earliest, month.latest, false), Observed::Yes);
        let next = date::Date::parse("2026-12").unwrap().span();
        assert_eq!(watched.observed_so_far(next.earliest, next.latest, false), Observed::No);
    }

    #[test]
    fn the_sources_are_those_that_touch_the_time() {
        let sources = [source("old", &[], "1990", "1999", true), source("new", &["AZ"], "2000", "", false)];
        let watched = Claims::of(&sources, today()).about(RecordKind::Visit, AZ_KZ);
        let day = date::Date::parse("2005").unwrap().span().earliest;
        assert_eq!(watched.by(day, None), (vec!["sources/new".to_owned()], 0));
        assert_eq!(watched.by(None, None).0.len(), 2);
    }
}
