//! The texts of a record that are searched, with their paths, and what the index keeps of them.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _, Value};

use super::words::each_sound;
use crate::limits::MAX_INDEXED_WORDS;

/// What a text is to its record; the first outranks the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A title or name.
    Name,
    /// Words as a source states them, and identifiers.
    Stated,
    /// Summaries and notes.
    Summary,
}

/// The fields that are searched, whatever message has them.
const SEARCHED: &[(&str, Class)] = &[
    ("titles", Class::Name),
    ("names", Class::Name),
    ("external_ids", Class::Stated),
    ("series", Class::Stated),
    ("edition", Class::Stated),
    ("post", Class::Stated),
    ("rank", Class::Stated),
    ("register", Class::Stated),
    ("number", Class::Stated),
    ("summary", Class::Summary),
    ("note", Class::Summary),
    ("text", Class::Summary),
    ("title", Class::Summary),
    ("focus", Class::Summary),
    ("forces", Class::Summary),
];

/// The class of a field; `None` is not searched.
#[must_use]
pub fn class(field: &str) -> Option<Class> {
    if field.ends_with("_as_stated") || field == "as_stated" {
        return Some(Class::Stated);
    }
    SEARCHED.iter().find(|(name, _)| *name == field).map(|(_, class)| *class)
}

/// A text of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it stands: fields by name, elements of lists by index.
    pub path: String,
    /// What it is.
    pub class: Class,
    /// The text.
    pub text: String,
}

/// The searched texts of a record of one kind, in the order of the contract.
#[must_use]
pub fn pieces(content: &DynamicMessage) -> Vec<Piece> {
    let mut pieces = Vec::new();
    walk(content, "", &mut pieces);
    pieces
}

fn walk(message: &DynamicMessage, at: &str, pieces: &mut Vec<Piece>) {
    for (field, value) in message.fields() {
        let name = field.name();
        if name == "info" {
            continue;
        }
        let path = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        match value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    piece(item, name, format!("{path}[{index}]"), pieces);
                }
            }
            value => piece(value, name, path, pieces),
        }
    }
}

fn piece(value: &Value, field: &str, path: String, pieces: &mut Vec<Piece>) {
    match (value, class(field)) {
        (Value::String(text), Some(class)) => pieces.push(Piece { path, class, text: text.clone() }),
        (Value::Message(inner), class) => match (words_of(&inner.descriptor()), class) {
            (Some(own), Some(class)) => {
                let text = inner.get_field(&own).as_str().unwrap_or_default().to_owned();
                pieces.push(Piece { path: format!("{path}.{}", own.name()), class, text });
            }
            _ => walk(inner, &path, pieces),
        },
        _ => {}
    }
}

/// The field with the words of a message that is hardly more than words; what they are to the record is said by the
/// field that holds it.
pub fn words_of(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    let own = match message.name() {
        "Text" | "Title" | "Name" => "text",
        "ExternalId" => "id",
        _ => return None,
    };
    message.get_field_by_name(own)
}

/// What the index keeps of a record: how its words sound, each once in a class.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Indexed {
    /// Of titles and names.
    pub names: BTreeSet<String>,
    /// Of words as stated.
    pub stated: BTreeSet<String>,
    /// Of summaries.
    pub summaries: BTreeSet<String>,
}

impl Indexed {
    /// Of the texts of a record. Words beyond [`MAX_INDEXED_WORDS`] are left out, those of summaries first.
    #[must_use]
    pub fn of(mut texts: Vec<(Class, &str)>) -> Self {
        let mut indexed = Self::default();
        texts.sort_by_key(|(class, _)| *class);
        let mut left = MAX_INDEXED_WORDS;
        for (class, text) in texts {
            let class = match class {
                Class::Name => &mut indexed.names,
                Class::Stated => &mut indexed.stated,
                Class::Summary => &mut indexed.summaries,
            };
            if left == 0 {
                break;
            }
            each_sound(text, |sound| {
                if left > 0 && !class.contains(sound) {
                    class.insert(sound.to_owned());
                    left -= 1;
                }
            });
        }
        indexed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::Kind;

    use super::*;
    use crate::{
        domain::name,
        pb::{self, v1},
    };

    /// Texts that are not searched, and why: they name things for programs.
    const NOT_SEARCHED: &[&str] = &[
        "name",
        "key",
        "state",
        "organization",
        "person",
        "place",
        "scheme",
        "edtf",
        "earliest",
        "latest",
        "account",
        "subject",
        "item",
        "record",
        "mentions",
        "part_of",
        "occasion",
        "target",
        "text_uri",
        "languages",
        "basis",
        "parent",
        "within",
        "id",
    ];

    #[test]
    fn of_every_text_of_the_contract_it_is_said_whether_it_is_searched() {
        let (mut seen, mut unsaid, mut used) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut open: Vec<MessageDescriptor> = name::KINDS.iter().map(|k| pb::descriptor(name::message(*k))).collect();
        while let Some(message) = open.pop() {
            if !seen.insert(message.full_name().to_owned()) || matches!(message.name(), "Text" | "Title" | "Name") {
                continue;
            }
            for field in message.fields().filter(|f| f.name() != "info") {
                let said = (class(field.name()).is_some(), NOT_SEARCHED.contains(&field.name()));
                match field.kind() {
                    Kind::String if said.0 == said.1 => {
                        unsaid.insert(field.full_name().to_owned());
                    }
                    Kind::String => {
                        used.insert(field.name().to_owned());
                    }
                    Kind::Message(inner) => {
                        used.insert(field.name().to_owned());
                        open.push(inner);
                    }
                    _ => {}
                }
            }
        }
        assert!(unsaid.is_empty(), "{unsaid:?}");
        let named = NOT_SEARCHED.iter().copied().chain(SEARCHED.iter().map(|(f, _)| *f));
        let stale: Vec<_> = named.filter(|f| !used.contains(*f)).collect();
        assert!(stale.is_empty(), "no field has these names: {stale:?}");
    }

    #[test]
    fn texts_come_with_path_and_class() {
        let visit: v1::Visit = pb::from_json(
            "Visit",
            r#"{"titles": [{"text": "A visit"}], "summary": "In short",
                "guests": [{"state": "KZ", "head": {"person": "persons/r", "nameAsStated": "R. Z."}}],
                "itinerary": [{"kindAsStated": [{"text": "tour"}], "place": {"asStated": "Baku"}}],
                "externalIds": [{"scheme": "wikidata", "id": "Q1"}]}"#,
        )
        .unwrap();
        let found = pieces(&pb::to_dynamic("Visit", &visit));
        let shown: Vec<_> = found.iter().map(|p| (p.path.as_str(), p.class, p.text.as_str())).collect();
        let expected = [
            ("titles[0].text", Class::Name, "A visit"),
            ("summary", Class::Summary, "In short"),
            ("external_ids[0].id", Class::Stated, "Q1"),
            ("guests[0].head.name_as_stated", Class::Stated, "R. Z."),
            ("itinerary[0].kind_as_stated[0].text", Class::Stated, "tour"),
            ("itinerary[0].place.as_stated", Class::Stated, "Baku"),
        ];
        assert_eq!(shown, expected);
    }
}
