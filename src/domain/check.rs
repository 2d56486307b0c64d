//! The edge: what came over the wire is checked against the table of constraints and put into its stored form.
//!
//! One walk over a message collects every violation with its field path, drops what only the registry may say, and
//! computes the bounds of dates.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};

use super::{
    constraints::{self, Constraint, MAX_ITEMS, MAX_TEXT},
    date,
    error::Violation,
    name::{self, RecordName, quote},
    state,
};
use crate::pb::v1::{CoordinatePrecision, PlaceKind};

/// Checks `message` and everything inside it, whose path is `at`, and puts it into its stored form.
pub fn message(message: &mut DynamicMessage, at: &str, violations: &mut Vec<Violation>) {
    let descriptor = message.descriptor();
    let type_name = descriptor.name().to_owned();
    for field in descriptor.fields() {
        let path = join(at, field.name());
        let rules = constraints::of(&type_name, field.name());
        if rules.contains(&Constraint::Output) {
            message.clear_field(&field);
            continue;
        }
        if !message.has_field(&field) {
            if rules.contains(&Constraint::Required) {
                complain(violations, path, "is required");
            }
            continue;
        }
        if field.is_list() {
            list(message, &field, &path, rules, violations);
        } else {
            value(message.get_field_mut(&field), &field, &path, rules, violations);
        }
    }
    one_of(message, &type_name, at, violations);
    words(message, &type_name, at, violations);
    particulars(message, &type_name, at, violations);
}

fn list(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    path: &str,
    rules: &[Constraint],
    violations: &mut Vec<Violation>,
) {
    let Some(items) = message.get_field_mut(field).as_list_mut() else { return };
    if items.len() > MAX_ITEMS {
        complain(violations, path.to_owned(), format!("has {} elements; at most {MAX_ITEMS} are kept", items.len()));
        return;
    }
    for (index, item) in items.iter_mut().enumerate() {
        value(item, field, &format!("{path}[{index}]"), rules, violations);
    }
}

fn value(
    value: &mut Value,
    field: &FieldDescriptor,
    path: &str,
    rules: &[Constraint],
    violations: &mut Vec<Violation>,
) {
    match value {
        Value::Message(inner) => {
            self::message(inner, path, violations);
            if inner.descriptor().name() == "EdtfDate" {
                compute_bounds(inner);
            }
        }
        Value::String(text) => {
            if let Err(why) = check_text(text, rules) {
                complain(violations, path.to_owned(), why);
            }
        }
        Value::EnumNumber(number) => check_enum(*number, field, path, violations),
        Value::I32(number) => check_number(f64::from(*number), path, rules, violations),
        Value::F64(number) => check_number(*number, path, rules, violations),
        _ => {}
    }
}

/// Checks one text against the constraints of its field.
///
/// # Errors
///
/// What is wrong, in words that follow the field's path.
pub fn check_text(text: &str, rules: &[Constraint]) -> Result<(), String> {
    let limit = rules.iter().find_map(|r| if let Constraint::Text(max) = r { Some(*max) } else { None });
    let limit = limit.unwrap_or(MAX_TEXT);
    let length = text.chars().count();
    if length > limit {
        return Err(format!("has {length} characters; at most {limit} are kept"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err("has control characters".to_owned());
    }
    if text.trim().is_empty() && !rules.contains(&Constraint::Key) {
        return Err("is empty; leave out what is not stated".to_owned());
    }
    rules.iter().try_for_each(|rule| check_form(text, *rule))
}

fn check_form(text: &str, rule: Constraint) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{} is not {what}", quote(text)));
    match rule {
        Constraint::AnyRecord => text.parse::<RecordName>().map(drop).map_err(|e| e.to_string()),
        Constraint::Record(kind) => check_kind(text, &[kind]),
        Constraint::Records(kinds) => check_kind(text, kinds),
        Constraint::Source if !name::is_source(text) => wrong("the name of a source: sources/{id}"),
        Constraint::State if !state::is_state(text) => wrong(
            "a state code: ISO 3166-1 alpha-2 (\"AZ\"), ISO 3166-3 (\"SUHH\") or the project's own (\"x-hawaii\")",
        ),
        Constraint::Edtf => date::Date::parse(text).map(drop).map_err(|e| e.to_string()),
        Constraint::Published => date::published(text).map(drop).map_err(|e| e.to_string()),
        Constraint::Language if !is_language(text) => wrong("a language tag such as \"ru\" or \"az-Latn\""),
        Constraint::Script if !is_script(text) => wrong("a script code such as \"Cyrl\""),
        Constraint::Uri if !is_uri(text) => wrong("a URI such as https://example.org/a"),
        Constraint::Key if !is_key(text) => wrong("a key: at most 128 lower-case letters, digits and -._: characters"),
        _ => Ok(()),
    }
}

fn check_kind(text: &str, kinds: &[crate::pb::v1::RecordKind]) -> Result<(), String> {
    let record: RecordName = text.parse().map_err(|e: name::NameError| e.to_string())?;
    if kinds.contains(&record.kind()) {
        return Ok(());
    }
    let wanted: Vec<String> = kinds.iter().map(|k| format!("{}/{{id}}", name::collection(*k))).collect();
    Err(format!("{} is not {}", quote(text), wanted.join(" or ")))
}

/// The shape of a BCP 47 tag: subtags of letters and digits, the first of two or three letters.
fn is_language(text: &str) -> bool {
    let mut subtags = text.split('-');
    let first = subtags.next().unwrap_or_default();
    (2..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_lowercase())
        && subtags.all(|s| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn is_script(text: &str) -> bool {
    text.len() == 4
        && text.bytes().enumerate().all(|(i, b)| if i == 0 { b.is_ascii_uppercase() } else { b.is_ascii_lowercase() })
}

fn is_uri(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some())
}

/// Whether a text may be the key of an element. Empty is allowed: a default is put there.
fn is_key(text: &str) -> bool {
    text.len() <= 128
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_' | b':'))
}

fn check_enum(number: i32, field: &FieldDescriptor, path: &str, violations: &mut Vec<Violation>) {
    let Kind::Enum(descriptor) = field.kind() else { return };
    if descriptor.get_value(number).is_none() {
        complain(violations, path.to_owned(), format!("{number} is not a value of {}", descriptor.name()));
    } else if number == 0 {
        complain(violations, path.to_owned(), "an element of a list must be stated");
    }
}

fn check_number(number: f64, path: &str, rules: &[Constraint], violations: &mut Vec<Violation>) {
    for rule in rules {
        if let Constraint::Number(from, to) = rule
            && !(*from..=*to).contains(&number)
        {
            complain(violations, path.to_owned(), format!("{number} is not from {from} to {to}"));
        }
    }
}

/// At least one of the fields of `constraints::ONE_OF`.
fn one_of(message: &DynamicMessage, type_name: &str, at: &str, violations: &mut Vec<Violation>) {
    for (_, fields) in constraints::ONE_OF.iter().filter(|(m, _)| *m == type_name) {
        if !fields.iter().any(|f| message.has_field_by_name(f)) {
            complain(violations, at.to_owned(), format!("one of {} is required", fields.join(" and ")));
        }
    }
}

/// OTHER requires the source's words.
fn words(message: &DynamicMessage, type_name: &str, at: &str, violations: &mut Vec<Violation>) {
    for field in message.descriptor().fields() {
        for rule in constraints::of(type_name, field.name()) {
            let Constraint::WordsOf(worded) = rule else { continue };
            let Some(of) = message.descriptor().get_field_by_name(worded) else { continue };
            let Kind::Enum(values) = of.kind() else { continue };
            let is_other = |v: &Value| {
                v.as_enum_number().and_then(|n| values.get_value(n)).is_some_and(|v| v.name().ends_with("_OTHER"))
            };
            let stated = message.get_field(&of);
            let other = stated.as_list().map_or_else(|| is_other(&stated), |l| l.iter().any(is_other));
            if other && !message.has_field(&field) {
                complain(violations, join(at, field.name()), format!("is required, because {worded} is OTHER"));
            }
        }
    }
}

/// What no table says: relations between the fields of one message.
fn particulars(message: &DynamicMessage, type_name: &str, at: &str, violations: &mut Vec<Violation>) {
    let number = |field: &str| message.get_field_by_name(field).and_then(|v| v.as_i32());
    match type_name {
        "IntegerRange" => {
            let stated = |field: &str| number(field).filter(|_| message.has_field_by_name(field));
            if stated("min").zip(stated("max")).is_some_and(|(min, max)| max < min) {
                complain(violations, join(at, "max"), "is less than min");
            }
        }
        "Place" => {
            let kind = message.get_field_by_name("kind").and_then(|v| v.as_enum_number());
            let precision = message.get_field_by_name("coordinates").and_then(|c| {
                c.as_message().and_then(|c| c.get_field_by_name("precision").and_then(|p| p.as_enum_number()))
            });
            if kind == Some(PlaceKind::MilitarySite as i32) && precision == Some(CoordinatePrecision::Point as i32) {
                complain(violations, join(at, "coordinates.precision"), "of a military site is CITY or coarser");
            }
        }
        "Source" => {
            let attributed = message.has_field_by_name("attributed_to") || message.has_field_by_name("origin");
            if message.has_field_by_name("derived_from") && !attributed {
                complain(
                    violations,
                    join(at, "origin"),
                    "is required, because derived_from is set and attributed_to is empty",
                );
            }
        }
        _ => {}
    }
}

fn compute_bounds(message: &mut DynamicMessage) {
    let text = message.get_field_by_name("edtf").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let Ok(parsed) = date::Date::parse(&text) else { return };
    let computed = date::to_pb(&text, parsed.span());
    for (field, bound) in [("earliest", computed.earliest), ("latest", computed.latest)] {
        if !bound.is_empty() {
            message.set_field_by_name(field, Value::String(bound));
        }
    }
}

/// The path of a field inside `at`.
#[must_use]
pub fn join(at: &str, field: &str) -> String {
    if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") }
}

fn complain(violations: &mut Vec<Violation>, field: String, description: impl Into<String>) {
    violations.push(Violation { field, description: description.into() });
}
