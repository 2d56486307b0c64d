//! What a field may hold: the one table of constraints, which the contract's comments state too.
//!
//! A field without a row has the default of its type: a text at most [`MAX_TEXT`] characters, a list at most
//! [`MAX_ITEMS`] elements, an enum a value that the contract defines. A test walks the table and the comments.

use std::{collections::HashMap, sync::LazyLock};

use crate::pb::v1::RecordKind;

/// Characters of a text without a row of its own.
pub const MAX_TEXT: usize = 1000;
/// Characters of summaries and notes.
pub const MAX_LONG_TEXT: usize = 4000;
/// Elements of a list without a row of its own.
pub const MAX_ITEMS: usize = 256;

/// One constraint on one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Constraint {
    /// The field must be stated.
    Required,
    /// Set by the registry; what a filer sends there is dropped.
    Output,
    /// The name of a record of this kind.
    Record(RecordKind),
    /// The name of a record of one of these kinds.
    Records(&'static [RecordKind]),
    /// The name of a record of any kind.
    AnyRecord,
    /// `sources/{id}`.
    Source,
    /// A state code.
    State,
    /// An EDTF date.
    Edtf,
    /// A day, or an instant with offset.
    Published,
    /// A BCP 47 tag.
    Language,
    /// An ISO 15924 code.
    Script,
    /// A URI with a scheme.
    Uri,
    /// A key of letters, digits, and `-._:` in lower case; `default_key` fills it in where it is empty.
    Key,
    /// At most so many characters.
    Text(usize),
    /// A number from, to, both inclusive.
    Number(f64, f64),
    /// If the field beside it is OTHER, this text must be stated.
    WordsOf(&'static str),
}

use Constraint::{
    AnyRecord, Edtf, Key, Language, Number, Output, Published, Record, Records, Required, Script, Source, State, Text,
    Uri, WordsOf,
};

/// Rows that hold for the fields of this name in all seven kinds of record.
pub const EVERY_KIND: &str = "*";

/// The table: message, field, constraints.
pub const TABLE: &[(&str, &str, &[Constraint])] = &[
    (EVERY_KIND, "info", &[Output]),
    (EVERY_KIND, "summary", &[Text(MAX_LONG_TEXT)]),
    (EVERY_KIND, "note", &[Text(MAX_LONG_TEXT)]),
    ("EdtfDate", "edtf", &[Required, Edtf]),
    ("EdtfDate", "earliest", &[Output]),
    ("EdtfDate", "latest", &[Output]),
    ("Text", "language", &[Language]),
    ("Text", "text", &[Required]),
    ("Title", "language", &[Language]),
    ("Title", "script", &[Script]),
    ("Title", "text", &[Required]),
    ("Name", "language", &[Language]),
    ("Name", "script", &[Script]),
    ("Name", "text", &[Required]),
    ("ExternalId", "scheme", &[Required, Key]),
    ("ExternalId", "id", &[Required]),
    ("IntegerRange", "min", &[Number(0.0, 10_000_000.0)]),
    ("IntegerRange", "max", &[Number(0.0, 10_000_000.0)]),
    ("InferableDate", "date", &[Required]),
    ("NatoGrade", "code", &[Required]),
    ("PersonRef", "person", &[Record(RecordKind::Person)]),
    ("Party", "state", &[Required, State]),
    ("Party", "organization", &[Record(RecordKind::Organization)]),
    ("Side", "state", &[Required, State]),
    ("Side", "organization", &[Record(RecordKind::Organization)]),
    ("PlaceRef", "place", &[Record(RecordKind::Place)]),
    ("Outcome", "record", &[AnyRecord]),
    ("Speaker", "kind", &[Required]),
    ("Statement", "key", &[Key]),
    ("Statement", "act_as_stated", &[WordsOf("act")]),
    ("Statement", "topic_as_stated", &[WordsOf("topic")]),
    ("Statement", "subject", &[AnyRecord]),
    ("Statement", "item", &[Key]),
    ("Statement", "summary", &[Text(MAX_LONG_TEXT)]),
    ("Statement", "account", &[Output]),
    ("Progress", "key", &[Key]),
    ("Progress", "type_as_stated", &[WordsOf("type")]),
    ("Component", "kind_as_stated", &[WordsOf("kind")]),
    ("Honour", "name_as_stated", &[Required]),
    ("Honour", "person", &[Record(RecordKind::Person)]),
    ("ItemParticipant", "person", &[Required]),
    ("ItemParticipant", "role_as_stated", &[WordsOf("role")]),
    ("ItineraryItem", "key", &[Key]),
    ("ItineraryItem", "kind_as_stated", &[WordsOf("kind")]),
    ("ItineraryItem", "day", &[Number(1.0, 366.0)]),
    ("ItineraryItem", "format_as_stated", &[WordsOf("format")]),
    ("ItineraryItem", "note", &[Text(MAX_LONG_TEXT)]),
    ("Visit", "name", &[Record(RecordKind::Visit)]),
    ("Visit", "type_as_stated", &[WordsOf("type")]),
    ("Visit", "level_as_stated", &[WordsOf("level")]),
    ("Visit", "topics_as_stated", &[WordsOf("topics")]),
    ("Visit", "mentions", &[AnyRecord]),
    ("Visit", "part_of", &[AnyRecord]),
    ("Meeting", "name", &[Record(RecordKind::Meeting)]),
    ("Meeting", "kind_as_stated", &[WordsOf("kind")]),
    ("Meeting", "topics_as_stated", &[WordsOf("topics")]),
    ("Meeting", "part_of", &[AnyRecord]),
    ("AgreementAction", "key", &[Key]),
    ("AgreementAction", "verb_as_stated", &[WordsOf("type")]),
    ("AgreementAction", "occasion", &[Records(&[RecordKind::Visit, RecordKind::Meeting])]),
    ("Renewal", "kind_as_stated", &[WordsOf("kind")]),
    ("Renewal", "period_months", &[Number(1.0, 1200.0)]),
    ("AgreementRelation", "type_as_stated", &[WordsOf("type")]),
    ("AgreementRelation", "target", &[Required, Record(RecordKind::Agreement)]),
    ("Agreement", "name", &[Record(RecordKind::Agreement)]),
    ("Agreement", "instrument_as_stated", &[WordsOf("instrument")]),
    ("Agreement", "level_as_stated", &[WordsOf("level")]),
    ("Agreement", "legal_character_as_stated", &[WordsOf("legal_character")]),
    ("Agreement", "series", &[Key]),
    ("Agreement", "topics_as_stated", &[WordsOf("topics")]),
    ("Agreement", "text_uri", &[Uri]),
    ("Agreement", "languages", &[Language]),
    ("ExerciseParticipant", "state", &[Required, State]),
    ("ExerciseParticipant", "organization", &[Record(RecordKind::Organization)]),
    ("ExerciseParticipant", "role_as_stated", &[WordsOf("role")]),
    ("ExerciseStage", "key", &[Key]),
    ("Exercise", "name", &[Record(RecordKind::Exercise)]),
    ("Exercise", "series", &[Key]),
    ("Exercise", "forms_as_stated", &[WordsOf("forms")]),
    ("Exercise", "domains_as_stated", &[WordsOf("domains")]),
    ("Exercise", "basis", &[Record(RecordKind::Agreement)]),
    ("Posting", "organization", &[Record(RecordKind::Organization)]),
    ("Posting", "post", &[Required]),
    ("Posting", "state", &[State]),
    ("RankHeld", "rank", &[Required]),
    ("Person", "name", &[Record(RecordKind::Person)]),
    ("Organization", "name", &[Record(RecordKind::Organization)]),
    ("Organization", "kind_as_stated", &[WordsOf("kind")]),
    ("Organization", "state", &[State]),
    ("Organization", "parent", &[Record(RecordKind::Organization)]),
    ("Coordinates", "latitude", &[Number(-90.0, 90.0)]),
    ("Coordinates", "longitude", &[Number(-180.0, 180.0)]),
    ("Coordinates", "precision", &[Required]),
    ("Place", "name", &[Record(RecordKind::Place)]),
    ("Place", "kind_as_stated", &[WordsOf("kind")]),
    ("Place", "state", &[State]),
    ("Place", "within", &[Record(RecordKind::Place)]),
    ("Attribution", "organization", &[Record(RecordKind::Organization)]),
    ("Coverage", "states", &[State]),
    ("Source", "name", &[Required, Source]),
    ("Source", "publisher", &[Required]),
    ("Source", "uri", &[Uri]),
    ("Source", "language", &[Language]),
    ("Source", "published", &[Published]),
    ("Source", "kind", &[Required]),
    ("Source", "derived_from", &[Source]),
    ("Source", "account", &[Output]),
    ("Source", "update_time", &[Output]),
];

/// Messages of which at least one of these fields is required.
pub const ONE_OF: &[(&str, &[&str])] = &[
    ("PersonRef", &["person", "name_as_stated"]),
    ("PlaceRef", &["place", "as_stated"]),
    ("Outcome", &["record", "text"]),
    ("Attribution", &["name_as_stated", "organization"]),
];

static INDEX: LazyLock<HashMap<(&str, &str), &[Constraint]>> =
    LazyLock::new(|| TABLE.iter().map(|(message, field, rules)| ((*message, *field), *rules)).collect());

/// The constraints of a field, besides the default of its type.
#[must_use]
pub fn of(message: &str, field: &str) -> &'static [Constraint] {
    let every = || super::name::is_kind(message);
    INDEX
        .get(&(message, field))
        .or_else(|| every().then(|| INDEX.get(&(EVERY_KIND, field))).flatten())
        .copied()
        .unwrap_or(&[])
}
