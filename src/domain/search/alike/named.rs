//! Comparing what is known by its names: persons, organizations, places. Without a like name they are not the same,
//! whatever else is equal.

use std::collections::BTreeSet;

use super::{Evidence, both};
use crate::{
    domain::{fold::fold, search::similar},
    pb::v1,
};

pub(super) fn person(evidence: &mut Evidence, a: &v1::Person, b: &v1::Person) {
    if !names(evidence, &a.names, &b.names) {
        return;
    }
    let states = |m: &v1::Person| m.postings.iter().filter_map(|p| p.state.clone()).collect::<BTreeSet<_>>();
    common(evidence, &states(a), &states(b), "state", 0.3, 0.4);
    let posts = |m: &v1::Person| m.postings.iter().map(|p| fold(&p.post)).collect::<BTreeSet<_>>();
    common(evidence, &posts(a), &posts(b), "post", 0.2, 1.0);
}

pub(super) fn organization(evidence: &mut Evidence, a: &v1::Organization, b: &v1::Organization) {
    if !names(evidence, &a.names, &b.names) {
        return;
    }
    both(evidence, a.state.as_ref(), b.state.as_ref(), "state", 0.3, 0.15);
    both(evidence, a.parent.as_ref(), b.parent.as_ref(), "parent", 0.2, 0.7);
}

pub(super) fn place(evidence: &mut Evidence, a: &v1::Place, b: &v1::Place) {
    if !names(evidence, &a.names, &b.names) {
        return;
    }
    both(evidence, a.state.as_ref(), b.state.as_ref(), "state", 0.3, 0.15);
    both(evidence, a.within.as_ref(), b.within.as_ref(), "surroundings", 0.2, 0.7);
}

/// Whether the best pair of names is alike.
fn names(evidence: &mut Evidence, a: &[v1::Name], b: &[v1::Name]) -> bool {
    let pairs = a.iter().flat_map(|own| b.iter().map(move |other| (own, other)));
    let alike = pairs.map(|(own, other)| (similar::names_alike(&own.text, &other.text), other));
    let Some((likeness, other)) = alike.max_by(|x, y| x.0.total_cmp(&y.0)) else { return false };
    let is_alike = likeness >= 0.7;
    if is_alike {
        evidence.add(0.9 * likeness * likeness, format!("name alike {likeness:.2}, {}", other.text));
    }
    is_alike
}

fn common(evidence: &mut Evidence, a: &BTreeSet<String>, b: &BTreeSet<String>, what: &str, share: f64, left: f64) {
    if a.is_empty() || b.is_empty() {
        return;
    }
    if !a.is_disjoint(b) {
        evidence.add(share, format!("the same {what}"));
    } else if left < 1.0 {
        evidence.against(left, format!("but another {what}"));
    }
}
