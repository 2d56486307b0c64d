//! What makes elements of two reports the same: keys of lists.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{fold::fold, name::id_of, schema::Identity},
    pb::tree::{Field, Tree, Value},
};

/// One element of a list in one report.
#[derive(Debug, Clone, Copy)]
pub struct Element<'r> {
    /// Index of the report, in rank order.
    pub report: usize,
    /// The account of that report.
    pub account: &'r str,
    /// The element.
    pub value: &'r Value,
}

/// The key of each element of the list `list`; elements with the same key are the same thing.
#[must_use]
pub fn keys(identity: Identity, list: &Field, elements: &[Element<'_>]) -> Vec<String> {
    match identity {
        Identity::Itself => elements.iter().map(|e| plain(list, e.value)).collect(),
        Identity::Party => joined(elements),
        Identity::Person => person_keys(elements, Some),
        Identity::PersonInside => person_keys(elements, |m| inner(m, "person")),
        Identity::Signatory => {
            let persons = person_keys(elements, |m| inner(m, "person"));
            let party = |e: &Element<'_>| message(e).and_then(|m| inner(m, "party")).map(party_key).unwrap_or_default();
            elements.iter().zip(persons).map(|(e, person)| trim_join(&[&party(e), &person])).collect()
        }
        _ => elements.iter().map(|e| single(identity, e)).collect(),
    }
}

/// The key of an element that depends on nothing but itself.
fn single(identity: Identity, element: &Element<'_>) -> String {
    let Some(m) = message(element) else { return String::new() };
    let text = |name: &str| m.text(name).unwrap_or_default();
    let folded = |name: &str| fold(text(name));
    match identity {
        Identity::Words => trim_join(&[text("language"), text("script"), text("text")]),
        Identity::Title => trim_join(&[text("language"), text("script")]),
        Identity::Place => id_or(text("place"), || folded("as_stated")),
        Identity::Outcome => {
            let words = inner(m, "text").and_then(|t| t.text("text")).unwrap_or_default();
            id_or(text("record"), || fold(words))
        }
        Identity::Statement => {
            // A resolved statement carries its account; a filed one counts to its report's.
            let account = m.text("account").unwrap_or(element.account);
            format!("{account}:{}", text("key"))
        }
        Identity::Kind => kind_of(m, "kind", "kind_as_stated"),
        Identity::Honour => folded("name_as_stated"),
        Identity::Scheme => text("scheme").to_owned(),
        Identity::Relation => {
            let kind = kind_of(m, "type", "type_as_stated");
            trim_join(&[&kind, id_of(text("target"))])
        }
        Identity::ExerciseParticipant => {
            trim_join(&[text("state"), id_of(text("organization")), m.word("role").unwrap_or_default()])
        }
        Identity::Tenure => {
            let start = inner(m, "start").and_then(|d| d.text("edtf")).unwrap_or_default();
            trim_join(&[&folded("post"), &folded("rank"), start])
        }
        Identity::Key
        | Identity::Itself
        | Identity::Party
        | Identity::Person
        | Identity::PersonInside
        | Identity::Signatory => text("key").to_owned(),
    }
}

/// The key of a party as paths show it: `AZ` or `AZ/az-ministry-of-defence`.
fn party_key(party: &Tree) -> String {
    let (state, organization) = party_of(party);
    trim_join(&[state.unwrap_or_default(), organization.unwrap_or_default()])
}

/// Its state, and the id of its organization.
fn party_of(party: &Tree) -> (Option<&str>, Option<&str>) {
    (party.text("state"), party.text("organization").map(id_of))
}

/// Keys of parties: one without organization joins the only one that the others give its state.
fn joined(elements: &[Element<'_>]) -> Vec<String> {
    let pairs: Vec<_> = elements.iter().map(|e| message(e).map_or((None, None), party_of)).collect();
    let mut parts: BTreeMap<Option<&str>, BTreeSet<&str>> = BTreeMap::new();
    for (whole, part) in &pairs {
        if let Some(part) = part {
            parts.entry(*whole).or_default().insert(part);
        }
    }
    pairs
        .iter()
        .map(|(whole, part)| {
            let only = || parts.get(whole).filter(|set| set.len() == 1).and_then(|set| set.first().copied());
            trim_join(&[whole.unwrap_or_default(), part.or_else(only).unwrap_or_default()])
        })
        .collect()
}

/// Keys of persons: the record, else the folded name, which joins the only record that goes by it.
fn person_keys<'r>(elements: &[Element<'r>], person: impl Fn(&'r Tree) -> Option<&'r Tree>) -> Vec<String> {
    let named: Vec<(Option<&str>, String)> = elements
        .iter()
        .map(|e| {
            let reference = message(e).and_then(&person);
            let text = |name: &str| reference.and_then(|r| r.text(name));
            (text("person").map(id_of), fold(text("name_as_stated").unwrap_or_default()))
        })
        .collect();
    let mut records: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (record, name) in &named {
        // Without a name there is nothing to join by.
        if let (Some(record), false) = (record, name.is_empty()) {
            records.entry(name.as_str()).or_default().insert(record);
        }
    }
    named
        .iter()
        .map(|(record, name)| {
            let only = || records.get(name.as_str()).filter(|set| set.len() == 1).and_then(|set| set.first().copied());
            record.or_else(only).unwrap_or(name.as_str()).to_owned()
        })
        .collect()
}

fn message<'r>(element: &Element<'r>) -> Option<&'r Tree> {
    element.value.as_message()
}

fn inner<'m>(message: &'m Tree, name: &str) -> Option<&'m Tree> {
    message.named(name)?.as_message()
}

fn plain(list: &Field, value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Enum(number) => {
            list.values().and_then(|words| words.get(*number)).map_or_else(|| number.to_string(), |v| v.word.clone())
        }
        other => format!("{other:?}"),
    }
}

fn id_or(name: &str, words: impl Fn() -> String) -> String {
    if name.is_empty() { words() } else { name.to_owned() }
}

/// The word of an enum, and where that says nothing or OTHER, the words of the source: two others are two things.
fn kind_of(message: &Tree, name: &str, words: &str) -> String {
    match message.word(name) {
        Some(word) if word != "other" => word.to_owned(),
        word => trim_join(&[word.unwrap_or_default(), &words_of(message, words)]),
    }
}

fn words_of(message: &Tree, name: &str) -> String {
    let first = message.named(name).and_then(Value::as_list).and_then(<[Value]>::first).and_then(Value::as_message);
    first.and_then(|t| t.text("text")).map(fold).unwrap_or_default()
}

fn trim_join(parts: &[&str]) -> String {
    let mut joined = String::with_capacity(parts.iter().map(|p| p.len() + 1).sum());
    for part in parts.iter().filter(|p| !p.is_empty()) {
        if !joined.is_empty() {
            joined.push('/');
        }
        joined.push_str(part);
    }
    joined
}
