//! The edge: what came over the wire is checked against the table of constraints and put into its stored form.
//!
//! One walk over a message collects every violation with its field path, drops what only the registry may say, and
//! computes the bounds of dates.

use std::{fmt, sync::LazyLock};

use super::{
    constraints::{self, Constraint, MAX_ITEMS, MAX_TEXT},
    date,
    error::Violation,
    name::{self, RecordName, quote},
    state,
};
use crate::pb::{
    tree::{Enum, Field, Shape, Tree, Value},
    v1::{CoordinatePrecision, PlaceKind},
};

/// What is checked of a message, laid down once for the contract: a message states few of its fields.
#[derive(Default)]
struct Checks {
    /// Fields that only the registry may set.
    outputs: Vec<&'static Field>,
    required: Vec<&'static Field>,
    /// What is checked of every field, each at its place.
    fields: Vec<&'static [Constraint]>,
    /// Fields of which one must be stated.
    one_of: Vec<Vec<&'static Field>>,
    worded: Vec<Worded>,
}

/// A text that must be stated if the enum beside it is OTHER.
struct Worded {
    words: &'static Field,
    of: &'static Field,
    others: Vec<i32>,
}

/// By the place of the message's shape.
static CHECKS: LazyLock<Vec<Checks>> = LazyLock::new(|| Shape::all().iter().map(Checks::of).collect());

impl Checks {
    fn of(message: &'static Shape) -> Self {
        let mut checks = Self::default();
        for field in message.fields() {
            let rules = constraints::of(message.name(), field.name());
            checks.fields.push(rules);
            checks.worded.extend(rules.iter().filter_map(|rule| Worded::of(message, field, *rule)));
            if rules.contains(&Constraint::Output) {
                checks.outputs.push(field);
            } else if rules.contains(&Constraint::Required) {
                checks.required.push(field);
            }
        }
        let rows = constraints::ONE_OF.iter().filter(|(name, _)| *name == message.name());
        checks.one_of = rows.map(|(_, names)| names.iter().filter_map(|n| message.field(n)).collect()).collect();
        checks
    }
}

impl Worded {
    fn of(message: &'static Shape, words: &'static Field, rule: Constraint) -> Option<Self> {
        let Constraint::WordsOf(of) = rule else { return None };
        let of = message.field(of)?;
        let others = of.values()?.iter().filter(|v| v.name.ends_with("_OTHER")).map(|v| v.number).collect();
        Some(Self { words, of, others })
    }

    fn is_other(&self, message: &Tree) -> bool {
        let is_other = |value: &Value| value.as_enum().is_some_and(|number| self.others.contains(&number));
        message
            .get(self.of)
            .is_some_and(|value| value.as_list().map_or_else(|| is_other(value), |l| l.iter().any(is_other)))
    }
}

/// Where a value stands: put into words only if something is wrong with it.
#[derive(Clone, Copy)]
enum Path<'p> {
    From(&'p str),
    Field(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(at) => f.write_str(at),
            Self::Field(Self::From(""), field) => f.write_str(field),
            Self::Field(at, field) => write!(f, "{at}.{field}"),
            Self::Item(at, index) => write!(f, "{at}[{index}]"),
        }
    }
}

/// Checks `message` and everything inside it, whose path is `at`, and puts it into its stored form.
pub fn message(message: &mut Tree, at: &str, violations: &mut Vec<Violation>) {
    within(message, &Path::From(at), violations);
}

fn within(message: &mut Tree, at: &Path<'_>, violations: &mut Vec<Violation>) {
    let checks = &CHECKS[message.shape().place()];
    for field in &checks.outputs {
        message.clear(field);
    }
    for field in checks.required.iter().filter(|field| message.get(field).is_none()) {
        complain(violations, &Path::Field(at, field.name()), "is required");
    }
    for (field, value) in message.fields_mut() {
        let rules = checks.fields[field.place()];
        let path = Path::Field(at, field.name());
        match value {
            Value::List(items) => list(items, field, rules, &path, violations),
            single => self::value(single, field, rules, &path, violations),
        }
    }
    for fields in checks.one_of.iter().filter(|fields| !fields.iter().any(|f| message.get(f).is_some())) {
        let names: Vec<&str> = fields.iter().map(|f| f.name()).collect();
        complain(violations, at, format!("one of {} is required", names.join(" and ")));
    }
    for worded in checks.worded.iter().filter(|w| w.is_other(message) && message.get(w.words).is_none()) {
        let why = format!("is required, because {} is OTHER", worded.of.name());
        complain(violations, &Path::Field(at, worded.words.name()), why);
    }
    particulars(message, at, violations);
}

fn list(items: &mut [Value], field: &Field, rules: &[Constraint], path: &Path<'_>, violations: &mut Vec<Violation>) {
    if items.len() > MAX_ITEMS {
        complain(violations, path, format!("has {} elements; at most {MAX_ITEMS} are kept", items.len()));
        return;
    }
    for (index, item) in items.iter_mut().enumerate() {
        value(item, field, rules, &Path::Item(path, index), violations);
    }
}

fn value(value: &mut Value, field: &Field, rules: &[Constraint], path: &Path<'_>, violations: &mut Vec<Violation>) {
    match value {
        Value::Text(text) => {
            if let Err(why) = check_text(text, rules) {
                complain(violations, path, why);
            }
        }
        Value::Enum(number) => check_enum(*number, field.values(), path, violations),
        Value::Number(number) => check_number(f64::from(*number), path, rules, violations),
        Value::Real(number) => check_number(*number, path, rules, violations),
        Value::Message(_) => {
            if let Some(inner) = value.as_message_mut() {
                within(inner, path, violations);
                if inner.shape().name() == "EdtfDate" {
                    compute_bounds(inner);
                }
            }
        }
        // (A list has no lists.)
        Value::Flag(_) | Value::List(_) => {}
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

fn check_enum(number: i32, values: Option<&Enum>, path: &Path<'_>, violations: &mut Vec<Violation>) {
    let Some(values) = values else { return };
    if values.get(number).is_none() {
        complain(violations, path, format!("{number} is not a value of {}", values.name));
    } else if number == 0 {
        complain(violations, path, "is UNSPECIFIED; leave out what is not stated");
    }
}

fn check_number(number: f64, path: &Path<'_>, rules: &[Constraint], violations: &mut Vec<Violation>) {
    for rule in rules {
        if let Constraint::Number(from, to) = rule
            && !(*from..=*to).contains(&number)
        {
            complain(violations, path, format!("{number} is not from {from} to {to}"));
        }
    }
}

/// What no table says: relations between the fields of one message.
fn particulars(message: &Tree, at: &Path<'_>, violations: &mut Vec<Violation>) {
    match message.shape().name() {
        "IntegerRange" => {
            let stated = |field: &str| message.named(field).and_then(Value::as_number);
            if stated("min").zip(stated("max")).is_some_and(|(min, max)| max < min) {
                complain(violations, &Path::Field(at, "max"), "is less than min");
            }
        }
        "Place" => {
            let kind = message.named("kind").and_then(Value::as_enum);
            let coordinates = message.named("coordinates").and_then(Value::as_message);
            let precision = coordinates.and_then(|c| c.named("precision")).and_then(Value::as_enum);
            if kind == Some(PlaceKind::MilitarySite as i32) && precision == Some(CoordinatePrecision::Point as i32) {
                complain(
                    violations,
                    &Path::Field(at, "coordinates.precision"),
                    "of a military site is CITY or coarser",
                );
            }
        }
        "Source" => {
            let attributed = message.named("attributed_to").or(message.named("origin")).is_some();
            if message.named("derived_from").is_some() && !attributed {
                complain(
                    violations,
                    &Path::Field(at, "origin"),
                    "is required, because derived_from is set and attributed_to is empty",
                );
            }
        }
        _ => {}
    }
}

fn compute_bounds(message: &mut Tree) {
    let Some(text) = message.text("edtf") else { return };
    let Ok(parsed) = date::Date::parse(text) else { return };
    let computed = date::to_pb(text, parsed.span());
    for (field, bound) in [("earliest", computed.earliest), ("latest", computed.latest)] {
        if !bound.is_empty() {
            message.set_named(field, Value::Text(bound.into()));
        }
    }
}

/// The path of a field inside `at`.
#[must_use]
pub fn join(at: &str, field: &str) -> String {
    let mut path = String::with_capacity(at.len() + 1 + field.len());
    if !at.is_empty() {
        path.push_str(at);
        path.push('.');
    }
    path.push_str(field);
    path
}

fn complain(violations: &mut Vec<Violation>, field: &Path<'_>, description: impl Into<String>) {
    violations.push(Violation { field: field.to_string(), description: description.into() });
}
