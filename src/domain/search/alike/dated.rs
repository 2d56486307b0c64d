//! Comparing what happened: sides, dates, persons.

use std::collections::BTreeSet;

use super::{Evidence, both};
use crate::{
    domain::{
        date::{self, Span},
        record,
        search::similar,
    },
    pb::v1,
};

/// Spans of more days say little.
const PRECISE_DAYS: i64 = 31;

pub(super) fn visit(evidence: &mut Evidence, a: &v1::Visit, b: &v1::Visit) {
    let (own, other) = ((states(&a.hosts), states(&a.guests)), (states(&b.hosts), states(&b.guests)));
    let reversed = own != other && own.0 == other.1 && own.1 == other.0 && !own.0.is_empty() && !own.1.is_empty();
    if reversed {
        evidence.against(0.2, "but host and guest are the other way round");
    } else if own == other && !own.0.is_empty() && !own.1.is_empty() {
        evidence.add(0.5, "the same host and guest");
    } else {
        states_of(evidence, &own.0, &other.0, "host", 0.25);
        states_of(evidence, &own.1, &other.1, "guest", 0.25);
    }
    heads(evidence, &a.guests, &b.guests);
    heads(evidence, &a.hosts, &b.hosts);
}

pub(super) fn meeting(evidence: &mut Evidence, a: &v1::Meeting, b: &v1::Meeting) {
    let all = |m: &v1::Meeting| m.hosts.iter().chain(&m.participants).cloned().collect::<Vec<_>>();
    let (own, other) = (all(a), all(b));
    taking_part(evidence, &states(&own), &states(&other), "states");
    heads(evidence, &own, &other);
}

pub(super) fn agreement(evidence: &mut Evidence, a: &v1::Agreement, b: &v1::Agreement) {
    let parties = |m: &v1::Agreement| m.parties.iter().map(|p| p.state.clone()).collect();
    taking_part(evidence, &parties(a), &parties(b), "parties");
    both(evidence, a.series.as_ref(), b.series.as_ref(), "series", 0.25, 0.5);
    let form = |m: &v1::Agreement| Some(m.instrument).filter(|i| *i != 0);
    both(evidence, form(a).as_ref(), form(b).as_ref(), "form", 0.1, 0.8);
    let validity = |m: &v1::Agreement| {
        let bounds = m.validity.as_ref()?;
        let day = |d: &Option<v1::InferableDate>| d.as_ref().and_then(|d| d.date.as_ref()).map(date::span_of);
        Some(Span { earliest: day(&bounds.start)?.earliest, latest: day(&bounds.end).and_then(|s| s.latest) })
    };
    if let (Some(own), Some(other)) = (validity(a), validity(b)) {
        if gap(own, other) == 0 {
            evidence.add(0.4, "their validity overlaps");
        } else {
            evidence.against(0.3, "but they run at different times");
        }
    }
    let number =
        |m: &v1::Agreement| m.registration.as_ref().and_then(|r| Some((r.register.clone()?, r.number.clone()?)));
    both(evidence, number(a).as_ref(), number(b).as_ref(), "registration", 0.9, 1.0);
}

pub(super) fn exercise(evidence: &mut Evidence, a: &v1::Exercise, b: &v1::Exercise) {
    let states = |m: &v1::Exercise| m.participants.iter().map(|p| p.state.clone()).collect();
    taking_part(evidence, &states(a), &states(b), "participants");
    both(evidence, a.series.as_ref(), b.series.as_ref(), "series", 0.4, 0.5);
    both(evidence, a.edition.as_ref(), b.edition.as_ref(), "edition", 0.3, 0.2);
}

/// When they occurred, of kinds that do.
pub(super) fn occurred(evidence: &mut Evidence, a: &v1::Record, b: &v1::Record) {
    let (Some(own), Some(other)) = (record::occurred(a), record::occurred(b)) else { return };
    let (own, other) = (date::span_of(&own), date::span_of(&other));
    let precise =
        |s: Span| matches!((s.earliest, s.latest), (Some(e), Some(l)) if i64::from(l) - i64::from(e) <= PRECISE_DAYS);
    match gap(own, other) {
        0 if precise(own) && precise(other) => evidence.add(0.5, "dates overlap"),
        0 => evidence.add(0.2, "dates may overlap"),
        1 => evidence.add(0.35, "a day apart"),
        days @ 2..=3 => evidence.add(0.25, format!("{days} days apart")),
        days @ 4..=31 => evidence.against(0.6, format!("but {days} days apart")),
        days => evidence.against(0.25, format!("but {days} days apart")),
    }
}

/// The days from one to the other; 0 if they overlap or may.
fn gap(a: Span, b: Span) -> i64 {
    let after = |x: Span, y: Span| match (x.latest, y.earliest) {
        (Some(end), Some(start)) => i64::from(start) - i64::from(end),
        _ => 0,
    };
    after(a, b).max(after(b, a)).max(0)
}

fn states(sides: &[v1::Side]) -> BTreeSet<String> {
    sides.iter().map(|s| s.state.clone()).collect()
}

/// One role: equal, in common, or another.
fn states_of(evidence: &mut Evidence, a: &BTreeSet<String>, b: &BTreeSet<String>, role: &str, share: f64) {
    if a.is_empty() || b.is_empty() {
        return;
    }
    if a == b {
        evidence.add(share, format!("the same {role}"));
    } else if a.is_disjoint(b) {
        evidence.against(0.2, format!("but another {role}"));
    } else {
        evidence.add(share * 0.6, format!("a {role} in common"));
    }
}

/// All who took part: the more in common the better.
fn taking_part(evidence: &mut Evidence, a: &BTreeSet<String>, b: &BTreeSet<String>, what: &str) {
    if a.is_empty() || b.is_empty() {
        return;
    }
    let common = a.intersection(b).count();
    match common {
        _ if a == b => evidence.add(0.4, format!("the same {what}")),
        0 => evidence.against(0.2, format!("but other {what}")),
        1 => evidence.add(0.1, format!("1 of the {what} in common")),
        _ => evidence.add(0.25, format!("{common} of the {what} in common")),
    }
}

/// Who led the sides of one state.
fn heads(evidence: &mut Evidence, a: &[v1::Side], b: &[v1::Side]) {
    let pairs = a.iter().flat_map(|own| b.iter().map(move |other| (own, other)));
    for (own, other) in pairs.filter(|(own, other)| own.state == other.state) {
        if let (Some(own), Some(other)) = (&own.head, &other.head) {
            person(evidence, own, other);
        }
    }
}

fn person(evidence: &mut Evidence, a: &v1::PersonRef, b: &v1::PersonRef) {
    if let (Some(own), Some(other)) = (&a.person, &b.person)
        && own == other
    {
        return evidence.add(0.4, format!("led by the same person, {own}"));
    }
    // A reference without words still says who is meant: ids are made of names.
    let words = |p: &v1::PersonRef| {
        p.name_as_stated.clone().or_else(|| p.person.as_deref().map(|n| crate::domain::name::id_of(n).to_owned()))
    };
    let (Some(own), Some(other)) = (words(a), words(b)) else { return };
    let likeness = similar::names_alike(&own, &other);
    if likeness >= 0.8 {
        evidence.add(0.35 * likeness, format!("led by one of a like name, {other}: {likeness:.2}"));
    } else {
        evidence.against(0.6, format!("but led by {other}"));
    }
}
