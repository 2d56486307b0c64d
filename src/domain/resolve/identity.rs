//! What makes elements of two reports the same: keys of lists.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use super::compare::field;
use crate::domain::{fold::fold, name::id_of, schema::Identity};

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
pub fn keys(identity: Identity, list: &prost_reflect::FieldDescriptor, elements: &[Element<'_>]) -> Vec<String> {
    match identity {
        Identity::Itself => elements.iter().map(|e| plain(list, e.value)).collect(),
        Identity::Party => {
            joined(elements, |m| (field(m, "state"), field(m, "organization").map(|o| id_of(&o).to_owned())))
        }
        Identity::Person => person_keys(elements, |m| Some(m.clone())),
        Identity::PersonInside => person_keys(elements, |m| inner(m, "person")),
        Identity::Signatory => {
            let persons = person_keys(elements, |m| inner(m, "person"));
            let party =
                |e: &Element<'_>| message(e).and_then(|m| inner(m, "party")).map(|p| party_key(&p)).unwrap_or_default();
            elements.iter().zip(persons).map(|(e, person)| trim_join(&[party(e), person])).collect()
        }
        _ => elements.iter().map(|e| single(identity, e)).collect(),
    }
}

/// The key of an element that depends on nothing but itself.
fn single(identity: Identity, element: &Element<'_>) -> String {
    let Some(m) = message(element) else { return String::new() };
    let text = |name: &str| field(m, name).unwrap_or_default();
    let folded = |name: &str| fold(&text(name));
    match identity {
        Identity::Words => trim_join(&[text("language"), text("script"), text("text")]),
        Identity::Title => trim_join(&[text("language"), text("script")]),
        Identity::Place => id_or(&text("place"), || folded("as_stated")),
        Identity::Outcome => {
            let words = inner(m, "text").and_then(|t| field(&t, "text")).unwrap_or_default();
            id_or(&text("record"), || fold(&words))
        }
        Identity::Statement => {
            // A resolved statement carries its account; a filed one counts to its report's.
            let account = field(m, "account").unwrap_or_else(|| element.account.to_owned());
            format!("{account}:{}", text("key"))
        }
        Identity::Kind => kind_of(m, "kind", "kind_as_stated"),
        Identity::Honour => folded("name_as_stated"),
        Identity::Scheme => text("scheme"),
        Identity::Relation => {
            let kind = kind_of(m, "type", "type_as_stated");
            trim_join(&[kind, id_of(&text("target")).to_owned()])
        }
        Identity::ExerciseParticipant => {
            let role = enum_word(m, "role").unwrap_or_default();
            trim_join(&[text("state"), id_of(&text("organization")).to_owned(), role])
        }
        Identity::Tenure => {
            let start = inner(m, "start").and_then(|d| field(&d, "edtf")).unwrap_or_default();
            trim_join(&[fold(&text("post")), fold(&text("rank")), start])
        }
        Identity::Key
        | Identity::Itself
        | Identity::Party
        | Identity::Person
        | Identity::PersonInside
        | Identity::Signatory => text("key"),
    }
}

/// The key of a party as paths show it: `AZ` or `AZ/az-ministry-of-defence`.
fn party_key(party: &DynamicMessage) -> String {
    let organization = field(party, "organization").map(|o| id_of(&o).to_owned()).unwrap_or_default();
    trim_join(&[field(party, "state").unwrap_or_default(), organization])
}

/// Keys of (whole, part): an element without part joins the only part that the others give its whole.
fn joined(
    elements: &[Element<'_>],
    split: impl Fn(&DynamicMessage) -> (Option<String>, Option<String>),
) -> Vec<String> {
    let pairs: Vec<_> = elements.iter().map(|e| message(e).map_or((None, None), &split)).collect();
    let mut parts: BTreeMap<&Option<String>, BTreeSet<&String>> = BTreeMap::new();
    for (whole, part) in &pairs {
        if let Some(part) = part {
            parts.entry(whole).or_default().insert(part);
        }
    }
    pairs
        .iter()
        .map(|(whole, part)| {
            let only = || parts.get(whole).filter(|set| set.len() == 1).and_then(|set| set.first().copied());
            let part = part.as_ref().or_else(only).cloned().unwrap_or_default();
            trim_join(&[whole.clone().unwrap_or_default(), part])
        })
        .collect()
}

/// Keys of persons: the record, else the folded name, which joins the only record that goes by it.
fn person_keys(elements: &[Element<'_>], person: impl Fn(&DynamicMessage) -> Option<DynamicMessage>) -> Vec<String> {
    let named: Vec<(Option<String>, String)> = elements
        .iter()
        .map(|e| {
            let reference = message(e).and_then(&person);
            let text = |name: &str| reference.as_ref().and_then(|r| field(r, name));
            (text("person").map(|p| id_of(&p).to_owned()), fold(&text("name_as_stated").unwrap_or_default()))
        })
        .collect();
    let mut records: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (record, name) in &named {
        // Without a name there is nothing to join by.
        if let (Some(record), false) = (record, name.is_empty()) {
            records.entry(name.as_str()).or_default().insert(record.as_str());
        }
    }
    named
        .iter()
        .map(|(record, name)| {
            let only = || records.get(name.as_str()).filter(|set| set.len() == 1).and_then(|set| set.first().copied());
            record.as_deref().or_else(only).unwrap_or(name.as_str()).to_owned()
        })
        .collect()
}

fn message<'r>(element: &Element<'r>) -> Option<&'r DynamicMessage> {
    element.value.as_message()
}

fn inner(message: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    message.has_field_by_name(name).then(|| message.get_field_by_name(name)?.as_message().cloned())?
}

fn plain(list: &prost_reflect::FieldDescriptor, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::EnumNumber(number) => word(list, *number).unwrap_or_else(|| number.to_string()),
        other => format!("{other:?}"),
    }
}

fn id_or(name: &str, words: impl Fn() -> String) -> String {
    if name.is_empty() { words() } else { name.to_owned() }
}

/// The word of an enum field without the enum's prefix, in lower case; `None` if not stated.
#[must_use]
pub fn enum_word(message: &DynamicMessage, name: &str) -> Option<String> {
    let field = message.descriptor().get_field_by_name(name)?;
    let number = message.get_field(&field).as_enum_number().filter(|n| *n != 0)?;
    word(&field, number)
}

/// The word of an enum value without the enum's prefix, in lower case.
#[must_use]
pub fn word(field: &prost_reflect::FieldDescriptor, number: i32) -> Option<String> {
    let prost_reflect::Kind::Enum(descriptor) = field.kind() else { return None };
    let zero = descriptor.get_value(0)?.name().to_owned();
    let prefix = zero.strip_suffix("UNSPECIFIED")?;
    let value = descriptor.get_value(number)?;
    Some(value.name().strip_prefix(prefix)?.to_lowercase())
}

/// The word of an enum, and where that says nothing or OTHER, the words of the source: two others are two things.
fn kind_of(message: &DynamicMessage, name: &str, words: &str) -> String {
    match enum_word(message, name) {
        Some(word) if word != "other" => word,
        word => trim_join(&[word.unwrap_or_default(), words_of(message, words)]),
    }
}

fn words_of(message: &DynamicMessage, name: &str) -> String {
    let Some(list) = message.get_field_by_name(name) else { return String::new() };
    let first = list.as_list().and_then(|l| l.first()).and_then(Value::as_message).and_then(|t| field(t, "text"));
    first.map(|t| fold(&t)).unwrap_or_default()
}

fn trim_join(parts: &[String]) -> String {
    parts.iter().filter(|p| !p.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
}
