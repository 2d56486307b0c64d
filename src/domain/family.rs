//! Names proved to be one: the name of a record, and those that lead to it by merges.
//!
//! A family is a function of the rulings in force alone, so the order in which they were made cannot matter.

use std::collections::BTreeSet;

use super::name::RecordName;

/// One name of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name.
    pub name: RecordName,
    /// The name that it is merged into; `None` of the one that stands.
    pub into: Option<RecordName>,
    /// Whether a ruling retracts it.
    pub ruled: bool,
}

/// A record's name with those merged into it, directly or by way of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    name: RecordName,
    /// The one that stands first, every other after the one that it is merged into.
    members: Vec<Member>,
}

impl Family {
    /// A family from its members; a name alone if there are none.
    #[must_use]
    pub fn new(name: &RecordName, mut members: Vec<Member>) -> Self {
        match members.iter_mut().find(|m| m.name == *name) {
            // What it is merged into belongs to another family.
            Some(first) => first.into = None,
            None => members.insert(0, Member { name: name.clone(), into: None, ruled: false }),
        }
        Self { name: name.clone(), members }
    }

    /// The name that stands.
    #[must_use]
    pub fn name(&self) -> &RecordName {
        &self.name
    }

    /// Every name, the one that stands first.
    pub fn names(&self) -> impl Iterator<Item = &RecordName> {
        self.members.iter().map(|m| &m.name)
    }

    /// The names merged into it, sorted.
    #[must_use]
    pub fn merged(&self) -> Vec<String> {
        let mut merged: Vec<String> = self.names().filter(|n| **n != self.name).map(ToString::to_string).collect();
        merged.sort();
        merged
    }

    /// Whether the name belongs to it.
    #[must_use]
    pub fn has(&self, name: &RecordName) -> bool {
        self.member(name).is_some()
    }

    /// Whether a ruling retracts the whole.
    #[must_use]
    pub fn is_ruled(&self) -> bool {
        self.member(&self.name).is_some_and(|m| m.ruled)
    }

    /// Whether what is filed under a merged name does not count: a ruling retracts it, or one that it is merged into.
    #[must_use]
    pub fn holds(&self, name: &RecordName) -> bool {
        self.path(name).any(|m| m.into.is_some() && m.ruled)
    }

    /// A name and all that lead to it.
    #[must_use]
    pub fn below(&self, name: &RecordName) -> BTreeSet<RecordName> {
        self.names().filter(|n| self.path(n).any(|m| m.name == *name)).cloned().collect()
    }

    /// The sets of names that were records of their own, or would be without one of the merges: each name alone, each
    /// with those that lead to it, and the rest without those; not the whole.
    #[must_use]
    pub fn parts(&self) -> BTreeSet<BTreeSet<RecordName>> {
        let rest = |below: &BTreeSet<RecordName>| self.names().filter(|n| !below.contains(n)).cloned().collect();
        let split = |n: &RecordName| {
            let below = self.below(n);
            [rest(&below), below, BTreeSet::from([n.clone()])]
        };
        let whole = self.members.len();
        self.names().flat_map(split).filter(|part| !part.is_empty() && part.len() < whole).collect()
    }

    /// With another family, whose name is merged into one of this.
    #[must_use]
    pub fn join(mut self, other: Self, into: &RecordName) -> Self {
        let joins = |m: Member| if m.name == other.name { Member { into: Some(into.clone()), ..m } } else { m };
        self.members.extend(other.members.into_iter().map(joins));
        self
    }

    /// Without a name and all that lead to it, and those as a family.
    #[must_use]
    pub fn split(self, name: &RecordName) -> (Self, Self) {
        let below = self.below(name);
        let (parted, members) = self.members.into_iter().partition(|m| below.contains(&m.name));
        (Self { name: self.name, members }, Self::new(name, parted))
    }

    /// With a ruling that retracts a name, or without.
    #[must_use]
    pub fn rule(mut self, name: &RecordName, ruled: bool) -> Self {
        self.members.iter_mut().filter(|m| m.name == *name).for_each(|m| m.ruled = ruled);
        self
    }

    fn member(&self, name: &RecordName) -> Option<&Member> {
        self.members.iter().find(|m| m.name == *name)
    }

    /// From a name to the one that stands.
    fn path(&self, name: &RecordName) -> impl Iterator<Item = &Member> {
        let steps = self.members.len();
        std::iter::successors(self.member(name), |m| self.member(m.into.as_ref()?)).take(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: &str) -> RecordName {
        format!("visits/{id}").parse().unwrap()
    }

    fn family(id: &str) -> Family {
        Family::new(&name(id), Vec::new())
    }

    fn ids(names: impl IntoIterator<Item = RecordName>) -> Vec<String> {
        names.into_iter().map(|n| n.id().to_owned()).collect()
    }

    /// a and b lead to c, a by way of b; d leads to c.
    fn chain() -> Family {
        let b = family("b").join(family("a"), &name("b"));
        family("c").join(b, &name("c")).join(family("d"), &name("c"))
    }

    #[test]
    fn a_chain_is_one_family() {
        assert_eq!(chain().merged(), ["visits/a", "visits/b", "visits/d"]);
        assert_eq!(ids(chain().below(&name("b"))), ["a", "b"]);
    }

    #[test]
    fn what_is_split_off_takes_along_what_leads_to_it() {
        let (rest, parted) = chain().split(&name("b"));
        assert_eq!((rest.merged(), parted.merged()), (vec!["visits/d".to_owned()], vec!["visits/a".to_owned()]));
        assert_eq!((rest.name().id(), parted.name().id()), ("c", "b"));
        assert_eq!(parted.split(&name("a")).0, family("b"));
    }

    #[test]
    fn a_ruling_on_a_merged_name_holds_what_leads_to_it_and_no_more() {
        let ruled = chain().rule(&name("b"), true);
        let held = |id: &str| ruled.holds(&name(id));
        assert_eq!((held("a"), held("b"), held("c"), held("d")), (true, true, false, false));
        assert!(!ruled.is_ruled() && chain().rule(&name("c"), true).is_ruled());
        let (_, parted) = ruled.split(&name("b"));
        assert!(parted.is_ruled() && !parted.holds(&name("a")), "it retracts the whole of what is split off");
    }

    #[test]
    fn its_parts_are_each_name_alone_and_each_with_what_leads_to_it() {
        let parts: Vec<Vec<String>> = chain().parts().into_iter().map(ids).collect();
        let expected = "a | a b | a b c | b | b c d | c | c d | d";
        assert_eq!(parts.iter().map(|p| p.join(" ")).collect::<Vec<_>>().join(" | "), expected);
        assert_eq!(family("x").parts().len(), 0);
    }
}
