//! Messages of the contract and of the log, made from their descriptors: what the table of constraints asks for is
//! mostly there, so that many of them are accepted and the rest are wrong in few places.

use attache::{
    domain::constraints::{self, Constraint, ONE_OF},
    domain::name,
    pb,
};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value};

use crate::draw::Draw;

/// How deep messages are made; below this only what is required.
const DEPTH: usize = 5;

/// Texts for fields without a form: what folds to nothing, other scripts, no text at all, control characters.
const TEXTS: &[&str] =
    &["Baku", "Anna", "Əliyev", "Руслан", "two  words", "—", "Ångström & Co. <b>", "", "a\u{1}b", "x\ny"];
const STATES: &[&str] = &["AZ", "KZ", "US", "SUHH", "x-hawaii", "az", "XX"];
const EDTF: &[&str] = &[
    "2023-10-06",
    "2023-10",
    "2023~",
    "2023-10-06/2023-10-08",
    "2024-02-29",
    "2023-10-05?",
    "202X",
    "../2020",
    "2023-02-30",
];
const PUBLISHED: &[&str] =
    &["2023-10-07", "2023-10-07T08:00:00Z", "2023-10-07T10:00:00+04:00", "9999-12-31", "2023-10"];
const KEYS: &[&str] = &["a", "concluded", "gift-2", "x_y.z:1", "", "Ä", "a b"];
const URIS: &[&str] = &["https://example.org/a", "urn:a", "http://[::1]/", "no uri", "//a"];
/// Messages that only requests have.
const IN_REQUESTS: &[&str] = &["AsOf", "FieldMask", "FiledAbout", "ImportItem", "ReportPrecondition"];
const POSITIONS: &[&str] = &["", "x", "AQ", "A.A"];
/// Records that requests ask for: of the kind of a few, and of none.
const RECORDS: &[&str] =
    &["visits/a", "visits/b", "visits/0", "agreements/a", "persons/a", "places/a", "visits/z", "a", "visits/-"];
const IDS: &[&str] = &["a", "b", "kz-az-2023", "0", "probe-a", "-"];

/// A message of `attache.v1` by its short name, or of another package by its whole name.
pub fn message(draw: &mut Draw<'_>, name: &str) -> DynamicMessage {
    let whole = if name.contains('.') { name.to_owned() } else { format!("attache.v1.{name}") };
    let descriptor = pb::POOL.get_message_by_name(&whole).unwrap_or_else(|| panic!("{whole} is a message"));
    filled(draw, descriptor, DEPTH)
}

fn filled(draw: &mut Draw<'_>, descriptor: MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let short = descriptor.name();
    let one_of = ONE_OF.iter().find(|(of, _)| *of == short).map(|(_, fields)| draw.of(fields));
    // Of a large message a few fields, of a small one most.
    let cases = (descriptor.fields().len() / 3).clamp(2, 6);
    for field in descriptor.fields().filter(|field| !field.is_map()) {
        let rules = constraints::of(short, field.name());
        let is_asked = rules.contains(&Constraint::Required) || one_of == Some(field.name());
        // Now and then what is required is not there.
        let is_there = if is_asked { !draw.once_in(30) } else { depth > 0 && draw.once_in(cases) };
        if !is_there {
            continue;
        }
        let value = if field.is_list() {
            let more = draw.list(2, |draw| value(draw, &field, rules, depth));
            let first = value(draw, &field, rules, depth);
            Value::List(std::iter::once(first).chain(more).collect())
        } else {
            value(draw, &field, rules, depth)
        };
        add_words(draw, &mut message, &field);
        message.set_field(&field, value);
    }
    message
}

/// The words that OTHER asks for, mostly: they never hurt.
fn add_words(draw: &mut Draw<'_>, message: &mut DynamicMessage, field: &FieldDescriptor) {
    let descriptor = message.descriptor();
    let is_about = |rule: &Constraint| matches!(rule, Constraint::WordsOf(of) if *of == field.name());
    let mut words = descriptor.fields().filter(|f| constraints::of(descriptor.name(), f.name()).iter().any(is_about));
    if let Some(words) = words.next()
        && !draw.once_in(10)
    {
        let text = value(draw, &words, &[], 1);
        message.set_field(&words, if words.is_list() { Value::List(vec![text]) } else { text });
    }
}

/// One value of a field, or one element of its list.
fn value(draw: &mut Draw<'_>, field: &FieldDescriptor, rules: &[Constraint], depth: usize) -> Value {
    match field.kind() {
        Kind::Message(inner) => Value::Message(filled(draw, inner, depth.saturating_sub(1))),
        Kind::Enum(values) => {
            let numbers: Vec<i32> = values.values().map(|v| v.number()).filter(|n| *n != 0).collect();
            let strange = [0, -1, 999, i32::MAX];
            if draw.once_in(40) || numbers.is_empty() {
                return Value::EnumNumber(strange[draw.number(strange.len())]);
            }
            Value::EnumNumber(numbers[draw.number(numbers.len())])
        }
        Kind::String => Value::String(string(draw, field, rules)),
        Kind::Bytes => Value::Bytes(draw.noise(40).into()),
        Kind::Bool => Value::Bool(draw.once_in(2)),
        Kind::Double => Value::F64([0.0, 1.5, -90.0, 180.0, 1e9, f64::NAN, -0.0, f64::INFINITY][draw.number(8)]),
        Kind::Float => Value::F32([0.0, 1.5, -0.0, f32::NAN][draw.number(4)]),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            Value::I32([1, 2, 0, -1, 366, i32::MAX, i32::MIN][draw.number(7)])
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64([1, 0, -1, i64::MAX, i64::MIN][draw.number(5)]),
        Kind::Uint32 | Kind::Fixed32 => Value::U32([1, 0, 2, u32::MAX][draw.number(4)]),
        Kind::Uint64 | Kind::Fixed64 => Value::U64([1, 0, 2, u64::MAX][draw.number(4)]),
    }
}

fn string(draw: &mut Draw<'_>, field: &FieldDescriptor, rules: &[Constraint]) -> String {
    if draw.once_in(40) {
        return draw.of(TEXTS).repeat(1 + draw.number(1200));
    }
    for rule in rules {
        match rule {
            Constraint::Record(kind) => return record_name(draw, name::collection(*kind)),
            Constraint::Records(kinds) => {
                let kind = kinds[draw.number(kinds.len())];
                return record_name(draw, name::collection(kind));
            }
            Constraint::AnyRecord => {
                let kind = name::KINDS[draw.number(name::KINDS.len())];
                return record_name(draw, name::collection(kind));
            }
            Constraint::Source => return record_name(draw, "sources"),
            Constraint::State => return draw.of(STATES).to_owned(),
            Constraint::Edtf => return draw.of(EDTF).to_owned(),
            Constraint::Published => return draw.of(PUBLISHED).to_owned(),
            Constraint::Language => return draw.of(&["en", "az-Latn", "ru", "EN", "x"]).to_owned(),
            Constraint::Script => return draw.of(&["Cyrl", "Latn", "cyrl"]).to_owned(),
            Constraint::Uri => return draw.of(URIS).to_owned(),
            Constraint::Key => return draw.of(KEYS).to_owned(),
            _ => {}
        }
    }
    if let Some(text) = asked(draw, field) {
        return text.to_owned();
    }
    // Of messages that the table says nothing of, such as filters.
    match field.name() {
        "names" | "mentions" => record_name(draw, "visits"),
        "persons" | "organizations" | "places" => record_name(draw, field.name()),
        "hosts" | "guests" | "observer_states" | "state" => draw.of(STATES).to_owned(),
        other if other.starts_with("states") => draw.of(STATES).to_owned(),
        "from" | "until" => draw.of(EDTF).to_owned(),
        _ => draw.of(TEXTS).to_owned(),
    }
}

/// A text of a request or of what only requests have.
fn asked(draw: &mut Draw<'_>, field: &FieldDescriptor) -> Option<&'static str> {
    let of = field.parent_message().name();
    if !of.ends_with("Request") && !IN_REQUESTS.contains(&of) {
        return None;
    }
    let texts: &[&'static str] = match field.name() {
        "name" | "parent" | "loser" | "survivor" => RECORDS,
        "report" | "withdraw" => &["visits/a/reports/a", "visits/b/reports/a", "visits/z/reports/z", "visits/a"],
        "source" => &["sources/a", "sources/z", "visits/a"],
        "publisher" => &["Publisher a", "named/publisher a", "organizations/a", "—"],
        "person" => &["persons/a", "visits/a"],
        "paths" => &["hosts", "guests.state", "name", "start.edtf", "*", "", "capital"],
        "query" => &["KZ", "Baku visit", "Алматы", "—", ""],
        "token" | "at_least" | "page_token" | "position" => POSITIONS,
        "after" | "through" | "after_token" => POSITIONS,
        "valid_at" => &["2023-10-06", "2024-02-30", "9999-12-31", "-9999-01-01"],
        _ => return None,
    };
    Some(draw.of(texts))
}

fn record_name(draw: &mut Draw<'_>, collection: &str) -> String {
    // (The last is no id.)
    let ids = if draw.once_in(20) { IDS } else { &IDS[..4] };
    format!("{collection}/{}", draw.of(ids))
}

/// A report that is nearly right: its record is of the kind of its content.
pub fn report(draw: &mut Draw<'_>) -> DynamicMessage {
    let mut report = DynamicMessage::new(pb::descriptor("Report"));
    let kind = name::KINDS[draw.number(name::KINDS.len())];
    let content = name::message(kind);
    let record = record_name(draw, name::collection(kind));
    let mut stated = message(draw, content);
    // What its content is named is what it is about, or nothing.
    stated.clear_field_by_name("name");
    if draw.once_in(3) {
        stated.set_field_by_name("name", Value::String(record.clone()));
    }
    report.set_field_by_name("record", Value::String(record));
    report.set_field_by_name(&content.to_lowercase(), Value::Message(stated));
    let mut source = message(draw, "Source");
    let is_ruling = draw.once_in(4);
    if is_ruling {
        source.set_field_by_name("kind", Value::EnumNumber(pb::v1::SourceKind::Editor.into()));
    }
    report.set_field_by_name("source", Value::Message(source));
    if is_ruling || draw.once_in(20) {
        let considered =
            draw.list(3, |draw| Value::String(draw.of(&["named/b", "organizations/a", "named/a", ""]).to_owned()));
        report.set_field_by_name("considered", Value::List(considered));
    }
    // What only the registry may say.
    if draw.once_in(8) {
        report.set_field_by_name("etag", Value::String("e".to_owned()));
        report.set_field_by_name("account", Value::String("a".to_owned()));
        report.set_field_by_name("revision", Value::U64(7));
    }
    report
}
