//! What is looked up of a record, where it is encoded: its searched texts and its references.
//!
//! Indexes ask this of every record that is filed or followed, so what each field is to them is laid down once for the
//! contract, and a record is then read in one pass over its bytes.

use std::{collections::BTreeMap, sync::LazyLock};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{
    constraints::{self, Constraint},
    name,
    search::texts::{self, Class},
};
use crate::pb::{self, wire};

/// One thing that a record states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'b> {
    /// A text that is searched.
    Text(Class, &'b str),
    /// The name of a record that it refers to.
    Reference(&'b str),
}

/// What a field is to those who look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Field {
    /// Nothing.
    #[default]
    Passed,
    Text(Class),
    Reference,
    /// A message that is hardly more than words, and the number of the field with them.
    Words(Class, u32),
    /// A message whose fields are asked in turn: its place in the table.
    Message(usize),
}

/// The fields of every message that a record can hold, each message's by number; the first is the record itself.
static MESSAGES: LazyLock<Vec<Vec<Field>>> = LazyLock::new(|| {
    let mut table = Table::default();
    table.message(&pb::descriptor("Record"));
    table.messages
});

#[derive(Default)]
struct Table {
    messages: Vec<Vec<Field>>,
    places: BTreeMap<String, usize>,
}

impl Table {
    /// The place of a message, which is added with all that it can hold.
    fn message(&mut self, message: &MessageDescriptor) -> usize {
        if let Some(place) = self.places.get(message.full_name()) {
            return *place;
        }
        let place = self.messages.len();
        // Known before its fields are: a message may hold itself.
        self.places.insert(message.full_name().to_owned(), place);
        self.messages.push(Vec::new());
        for field in message.fields() {
            let number = usize::try_from(field.number()).unwrap_or(usize::MAX);
            let asked = self.field(message, &field);
            let fields = &mut self.messages[place];
            if fields.len() <= number {
                fields.resize(number + 1, Field::Passed);
            }
            fields[number] = asked;
        }
        place
    }

    fn field(&mut self, message: &MessageDescriptor, field: &FieldDescriptor) -> Field {
        // Neither its own name nor what the registry says of a record is stated by anybody.
        if matches!(field.name(), "name" | "info") && name::is_kind(message.name()) {
            return Field::Passed;
        }
        match (field.kind(), texts::class(field.name())) {
            (Kind::String, Some(class)) => Field::Text(class),
            (Kind::String, None) => {
                let rules = constraints::of(message.name(), field.name());
                if rules.iter().any(is_reference) { Field::Reference } else { Field::Passed }
            }
            (Kind::Message(inner), class) => match (texts::words_of(&inner), class) {
                (Some(words), Some(class)) => Field::Words(class, words.number()),
                _ => Field::Message(self.message(&inner)),
            },
            _ => Field::Passed,
        }
    }
}

/// Whether a constraint makes a text the name of a record.
fn is_reference(rule: &Constraint) -> bool {
    matches!(rule, Constraint::Record(_) | Constraint::Records(_) | Constraint::AnyRecord)
}

/// Shows all that an encoded `Record` states, in the order of its bytes; `None` if they are no such message.
pub fn each<'b>(record: &'b [u8], take: &mut impl FnMut(Said<'b>)) -> Option<()> {
    walk(0, record, take)
}

fn walk<'b>(place: usize, bytes: &'b [u8], take: &mut impl FnMut(Said<'b>)) -> Option<()> {
    let fields = &MESSAGES[place];
    let text = |content| std::str::from_utf8(content).ok();
    wire::each_field(bytes, |number, content| {
        match usize::try_from(number).ok().and_then(|number| fields.get(number)).copied().unwrap_or_default() {
            Field::Passed => {}
            Field::Text(class) => take(Said::Text(class, text(content)?)),
            Field::Reference => take(Said::Reference(text(content)?)),
            Field::Message(inner) => walk(inner, content, take)?,
            Field::Words(class, words) => wire::each_field(content, |number, content| {
                if number == words {
                    take(Said::Text(class, text(content)?));
                }
                Some(())
            })?,
        }
        Some(())
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb::v1;

    #[test]
    fn texts_and_references_are_shown_as_they_are_encoded() {
        let visit: v1::Visit = pb::from_json(
            "Visit",
            r#"{"name": "visits/v", "titles": [{"text": "A visit", "language": "en"}], "summary": "In short",
                "guests": [{"state": "KZ", "head": {"person": "persons/r", "nameAsStated": "R. Z."}}],
                "itinerary": [{"kindAsStated": [{"text": "tour"}], "place": {"place": "places/b", "asStated": "Baku"}}],
                "externalIds": [{"scheme": "wikidata", "id": "Q1"}], "mentions": ["agreements/a"],
                "info": {"mergedNames": ["visits/old"]}}"#,
        )
        .unwrap();
        let bytes = v1::Record { kind: Some(v1::record::Kind::Visit(visit)) }.encode_to_vec();
        let mut said = Vec::new();
        each(&bytes, &mut |s| said.push(s)).unwrap();
        said.sort_by_key(|s| format!("{s:?}"));
        let expected = [
            Said::Reference("agreements/a"),
            Said::Reference("persons/r"),
            Said::Reference("places/b"),
            Said::Text(Class::Name, "A visit"),
            Said::Text(Class::Stated, "Baku"),
            Said::Text(Class::Stated, "Q1"),
            Said::Text(Class::Stated, "R. Z."),
            Said::Text(Class::Stated, "tour"),
            Said::Text(Class::Summary, "In short"),
        ];
        assert_eq!(said, expected);
        // A visit whose title ends too early.
        assert_eq!(each(&[0x0a, 3, 0x12, 5, b'x'], &mut |_| {}), None);
    }
}
