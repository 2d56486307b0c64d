//! The texts of a record that are searched, with their paths, and what the index keeps of them.

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
    pub names: Sounds,
    /// Of words as stated.
    pub stated: Sounds,
    /// Of summaries.
    pub summaries: Sounds,
}

impl Indexed {
    /// Of the texts of a record. Words beyond [`MAX_INDEXED_WORDS`] are left out, those of summaries first.
    #[must_use]
    pub fn of(texts: &[(Class, &str)]) -> Self {
        let mut left = MAX_INDEXED_WORDS;
        let mut next = |class| {
            let of_class = texts.iter().filter(|(c, _)| *c == class).map(|(_, text)| *text);
            let (sounds, count) = Sounds::of(of_class, left);
            left -= count;
            sounds
        };
        Self { names: next(Class::Name), stated: next(Class::Stated), summaries: next(Class::Summary) }
    }

    /// Those of each class: of names, as stated, of summaries; with a space between two.
    #[must_use]
    pub fn columns(&self) -> [&str; 3] {
        [&self.names, &self.stated, &self.summaries].map(Sounds::as_str)
    }

    /// All of them; what is in several classes comes once for each.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        [&self.names, &self.stated, &self.summaries].into_iter().flat_map(Sounds::iter)
    }
}

/// How words sound, each once: sorted, and with a space between two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sounds(String);

impl Sounds {
    /// Of the first words of these texts, as many different ones as there is room for; and how many they are.
    fn of<'t>(texts: impl Iterator<Item = &'t str>, room: usize) -> (Self, usize) {
        let mut heard = Heard { letters: String::with_capacity(MOST_LETTERS), words: Vec::with_capacity(MOST_WORDS) };
        texts.for_each(|text| heard.add(text));
        heard.distinct(room);
        let mut sounds = String::with_capacity(heard.letters.len() + heard.words.len());
        for word in &heard.words {
            if !sounds.is_empty() {
                sounds.push(' ');
            }
            sounds.push_str(word.of(&heard.letters));
        }
        (Self(sounds), heard.words.len())
    }

    /// With a space between two.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }
}

/// What most records have at most in a class.
const MOST_WORDS: usize = 48;
/// And their letters.
const MOST_LETTERS: usize = 320;

/// Words as they are heard, one after the other.
struct Heard {
    letters: String,
    words: Vec<Place>,
}

/// Where a word lies among the letters.
struct Place {
    /// Its first eight letters, by which most words are told apart; then zeros.
    head: [u8; 8],
    begin: usize,
    end: usize,
}

impl Place {
    fn of<'l>(&self, letters: &'l str) -> &'l str {
        &letters[self.begin..self.end]
    }
}

impl Heard {
    fn add(&mut self, text: &str) {
        let Self { letters, words } = self;
        each_sound(text, letters, |sound, begin| {
            let mut head = [0; 8];
            let length = sound.len().min(head.len());
            head[..length].copy_from_slice(&sound.as_bytes()[..length]);
            words.push(Place { head, begin, end: begin + sound.len() });
        });
    }

    /// Leaves each once, sorted, and of the first ones as many as there is room for.
    fn distinct(&mut self, room: usize) {
        let Self { letters, words } = self;
        let by_sound = |a: &Place, b: &Place| {
            let heads = u64::from_be_bytes(a.head).cmp(&u64::from_be_bytes(b.head));
            heads.then_with(|| a.of(letters).cmp(b.of(letters)))
        };
        words.sort_unstable_by(|a, b| by_sound(a, b).then(a.begin.cmp(&b.begin)));
        words.dedup_by(|a, b| by_sound(a, b).is_eq());
        if words.len() > room {
            words.sort_unstable_by_key(|word| word.begin);
            words.truncate(room);
            words.sort_unstable_by(by_sound);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use prost_reflect::Kind;

    use super::*;
    use crate::{
        domain::{name, search::words::words},
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

    /// Few letters, so that words come again, with ends of words among them, and what folds to several words.
    const TEXT: &str = "[aAbehk xо.'\u{301}京é]{0,24}";

    proptest! {
        #[test]
        fn every_word_is_kept_once_in_its_class(texts in prop::collection::vec((0..3_usize, TEXT), 0..6)) {
            let class = |number| [Class::Name, Class::Stated, Class::Summary][number];
            let texts: Vec<(Class, &str)> = texts.iter().map(|(n, text)| (class(*n), text.as_str())).collect();
            let indexed = Indexed::of(&texts);
            for (kept, class) in
                [(&indexed.names, Class::Name), (&indexed.stated, Class::Stated), (&indexed.summaries, Class::Summary)]
            {
                let of_class = texts.iter().filter(|(c, _)| *c == class);
                let expected: BTreeSet<String> = of_class.flat_map(|(_, t)| words(t)).map(|w| w.sound).collect();
                prop_assert_eq!(kept.as_str(), expected.iter().map(String::as_str).collect::<Vec<_>>().join(" "));
                prop_assert!(kept.iter().eq(expected.iter().map(String::as_str)));
            }
        }
    }

    #[test]
    fn words_that_begin_alike_are_told_apart_by_what_follows() {
        let text = "samarkandi samarkan samarkand samarkando samarkand sama";
        let of = |room| Sounds::of([text].into_iter(), room).0;
        assert_eq!(of(9).as_str(), "sama samarkan samarkand samarkandi samarkando");
        assert_eq!(of(3).as_str(), "samarkan samarkand samarkandi", "the first ones of the text");
    }

    #[test]
    fn words_beyond_the_bound_are_left_out_those_of_summaries_first() {
        let numbers = |range: std::ops::Range<usize>| range.map(|n| format!("{n} ")).collect::<String>();
        let (summary, stated) = (numbers(0..MAX_INDEXED_WORDS), numbers(0..MAX_INDEXED_WORDS - 2));
        let indexed =
            Indexed::of(&[(Class::Summary, &summary), (Class::Name, "zebra zebra"), (Class::Stated, &stated)]);
        assert_eq!(indexed.names.as_str(), "zabra");
        assert_eq!(indexed.stated.iter().count(), MAX_INDEXED_WORDS - 2);
        assert_eq!(indexed.summaries.as_str(), "0", "the first one of the text");
        let indexed = Indexed::of(&[(Class::Name, &format!("9 9 {summary} zebra"))]);
        let expected: BTreeSet<String> = (0..MAX_INDEXED_WORDS).map(|n| n.to_string()).collect();
        assert!(indexed.names.iter().eq(expected.iter().map(String::as_str)), "and no more");
    }
}
