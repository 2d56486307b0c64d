//! The edge: what came over the wire is checked against the table of constraints and put into its stored form.
//!
//! One walk over a message collects every violation with its field path, drops what only the registry may say, and
//! computes the bounds of dates.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, MessageDescriptor, ReflectMessage as _, Value};

use super::{
    constraints::{self, Constraint, MAX_ITEMS, MAX_TEXT},
    date,
    error::Violation,
    name::{self, RecordName, quote},
    state,
};
use crate::pb::{
    self,
    v1::{CoordinatePrecision, PlaceKind},
};

/// What is checked of a message, laid down once for the contract: a message states few of its fields, and to ask the
/// descriptor of each took longer than to check those.
#[derive(Default)]
struct Checks {
    /// Fields that only the registry may set.
    outputs: Vec<FieldDescriptor>,
    required: Vec<FieldDescriptor>,
    /// Every field, by its number.
    fields: BTreeMap<u32, FieldChecks>,
    /// Fields of which one must be stated.
    one_of: Vec<Vec<FieldDescriptor>>,
    worded: Vec<Worded>,
}

/// What is checked of a field that is stated.
struct FieldChecks {
    name: String,
    rules: &'static [Constraint],
    /// The values of an enum.
    values: Option<EnumDescriptor>,
}

/// A text that must be stated if the enum beside it is OTHER.
struct Worded {
    words: FieldDescriptor,
    of: FieldDescriptor,
    others: Vec<i32>,
}

static CHECKS: LazyLock<BTreeMap<String, Checks>> = LazyLock::new(|| {
    pb::POOL.all_messages().map(|message| (message.full_name().to_owned(), Checks::of(&message))).collect()
});

impl Checks {
    fn of(message: &MessageDescriptor) -> Self {
        let mut checks = Self::default();
        for field in message.fields() {
            let rules = constraints::of(message.name(), field.name());
            let kind = field.kind();
            let values = kind.as_enum().cloned();
            checks.fields.insert(field.number(), FieldChecks { name: field.name().to_owned(), rules, values });
            checks.worded.extend(rules.iter().filter_map(|rule| Worded::of(message, &field, *rule)));
            if rules.contains(&Constraint::Output) {
                checks.outputs.push(field);
            } else if rules.contains(&Constraint::Required) {
                checks.required.push(field);
            }
        }
        let rows = constraints::ONE_OF.iter().filter(|(name, _)| *name == message.name());
        checks.one_of =
            rows.map(|(_, names)| names.iter().filter_map(|n| message.get_field_by_name(n)).collect()).collect();
        checks
    }
}

impl Worded {
    fn of(message: &MessageDescriptor, words: &FieldDescriptor, rule: Constraint) -> Option<Self> {
        let Constraint::WordsOf(of) = rule else { return None };
        let of = message.get_field_by_name(of)?;
        let kind = of.kind();
        let others = kind.as_enum()?.values().filter(|v| v.name().ends_with("_OTHER")).map(|v| v.number()).collect();
        Some(Self { words: words.clone(), of, others })
    }

    fn is_other(&self, message: &DynamicMessage) -> bool {
        let is_other = |value: &Value| value.as_enum_number().is_some_and(|number| self.others.contains(&number));
        let stated = message.get_field(&self.of);
        message.has_field(&self.of) && stated.as_list().map_or_else(|| is_other(&stated), |l| l.iter().any(is_other))
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
///
/// # Panics
///
/// If the message is none of the contract.
pub fn message(message: &mut DynamicMessage, at: &str, violations: &mut Vec<Violation>) {
    within(message, &Path::From(at), violations);
}

fn within(message: &mut DynamicMessage, at: &Path<'_>, violations: &mut Vec<Violation>) {
    let descriptor = message.descriptor();
    let checks = CHECKS.get(descriptor.full_name()).expect("a message of the contract");
    for field in &checks.outputs {
        message.clear_field(field);
    }
    for field in checks.required.iter().filter(|field| !message.has_field(field)) {
        complain(violations, &Path::Field(at, field.name()), "is required");
    }
    for (field, value) in message.fields_mut() {
        let Some(checks) = checks.fields.get(&field.number()) else { continue };
        let path = Path::Field(at, &checks.name);
        match value {
            Value::List(items) => list(items, checks, &path, violations),
            single => self::value(single, checks, &path, violations),
        }
    }
    for fields in checks.one_of.iter().filter(|fields| !fields.iter().any(|f| message.has_field(f))) {
        let names: Vec<&str> = fields.iter().map(FieldDescriptor::name).collect();
        complain(violations, at, format!("one of {} is required", names.join(" and ")));
    }
    for worded in checks.worded.iter().filter(|w| w.is_other(message) && !message.has_field(&w.words)) {
        let why = format!("is required, because {} is OTHER", worded.of.name());
        complain(violations, &Path::Field(at, worded.words.name()), why);
    }
    particulars(message, descriptor.name(), at, violations);
}

fn list(items: &mut [Value], checks: &FieldChecks, path: &Path<'_>, violations: &mut Vec<Violation>) {
    if items.len() > MAX_ITEMS {
        complain(violations, path, format!("has {} elements; at most {MAX_ITEMS} are kept", items.len()));
        return;
    }
    for (index, item) in items.iter_mut().enumerate() {
        value(item, checks, &Path::Item(path, index), violations);
    }
}

fn value(value: &mut Value, checks: &FieldChecks, path: &Path<'_>, violations: &mut Vec<Violation>) {
    match value {
        Value::Message(inner) => {
            within(inner, path, violations);
            if inner.descriptor().name() == "EdtfDate" {
                compute_bounds(inner);
            }
        }
        Value::String(text) => {
            if let Err(why) = check_text(text, checks.rules) {
                complain(violations, path, why);
            }
        }
        Value::EnumNumber(number) => check_enum(*number, checks.values.as_ref(), path, violations),
        Value::I32(number) => check_number(f64::from(*number), path, checks.rules, violations),
        Value::F64(number) => check_number(*number, path, checks.rules, violations),
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

fn check_enum(number: i32, values: Option<&EnumDescriptor>, path: &Path<'_>, violations: &mut Vec<Violation>) {
    let Some(values) = values else { return };
    if values.get_value(number).is_none() {
        complain(violations, path, format!("{number} is not a value of {}", values.name()));
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
fn particulars(message: &DynamicMessage, type_name: &str, at: &Path<'_>, violations: &mut Vec<Violation>) {
    let number = |field: &str| message.get_field_by_name(field).and_then(|v| v.as_i32());
    match type_name {
        "IntegerRange" => {
            let stated = |field: &str| number(field).filter(|_| message.has_field_by_name(field));
            if stated("min").zip(stated("max")).is_some_and(|(min, max)| max < min) {
                complain(violations, &Path::Field(at, "max"), "is less than min");
            }
        }
        "Place" => {
            let kind = message.get_field_by_name("kind").and_then(|v| v.as_enum_number());
            let precision = message.get_field_by_name("coordinates").and_then(|c| {
                c.as_message().and_then(|c| c.get_field_by_name("precision").and_then(|p| p.as_enum_number()))
            });
            if kind == Some(PlaceKind::MilitarySite as i32) && precision == Some(CoordinatePrecision::Point as i32) {
                complain(
                    violations,
                    &Path::Field(at, "coordinates.precision"),
                    "of a military site is CITY or coarser",
                );
            }
        }
        "Source" => {
            let attributed = message.has_field_by_name("attributed_to") || message.has_field_by_name("origin");
            if message.has_field_by_name("derived_from") && !attributed {
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

fn complain(violations: &mut Vec<Violation>, field: &Path<'_>, description: impl Into<String>) {
    violations.push(Violation { field: field.to_string(), description: description.into() });
}
