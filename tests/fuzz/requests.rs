//! Bodies of requests: filters, masks, reports, and the records that are made of them.

use std::sync::LazyLock;

use attache::{
    domain::{
        constraints::{self, Constraint},
        date::Answer,
        error::{Error, Reason},
        facets::{Facets, Tag},
        filter::Filters,
        mask::Mask,
        name::{self, KINDS},
        record,
        report::Report,
        said::{self, Said},
        search::texts::{self, Class},
    },
    pb::{
        self,
        v1::{self, RecordKind, record::Kind},
    },
};
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _, Value};

use crate::{
    harness::{Kept, Target, text},
    messages,
};

/// What is filtered and masked: two records of which much can be asked, and two of which little can.
static RECORDS: LazyLock<Vec<v1::Record>> = LazyLock::new(|| {
    let visit = r#"{"name": "visits/a", "titles": [{"text": "A visit"}], "summary": "In short",
        "type": "VISIT_TYPE_STATE",
        "hosts": [{"state": "AZ"}], "guests": [{"state": "KZ", "organization": "organizations/a",
        "head": {"person": "persons/a", "nameAsStated": "A. B."}}], "start": {"edtf": "2023-10-06"},
        "itinerary": [{"key": "a", "place": {"place": "places/a", "asStated": "Baku"}}],
        "info": {"mergedNames": ["visits/b"], "disputedFields": ["type"]}}"#;
    let exercise = r#"{"name": "exercises/a", "start": {"edtf": "2023-10/.."},
        "participants": [{"state": "US"}, {"state": "KZ"}]}"#;
    let read = |message: &str, json: &str| {
        let kind = match message {
            "Visit" => Kind::Visit(pb::from_json(message, json).unwrap()),
            "Exercise" => Kind::Exercise(pb::from_json(message, json).unwrap()),
            _ => Kind::Person(pb::from_json(message, json).unwrap()),
        };
        v1::Record { kind: Some(kind) }
    };
    vec![
        read("Visit", visit),
        read("Exercise", exercise),
        read("Visit", r#"{"name": "visits/kz-az-2023"}"#),
        read("Person", r#"{"name": "persons/b"}"#),
    ]
});

static FACETS: LazyLock<Vec<Facets>> = LazyLock::new(|| RECORDS.iter().map(Facets::of).collect());

/// An error for these reasons, with what is wrong and where, which is below `at`.
pub fn check_error(error: &Error, reasons: &[Reason], at: &str) -> Kept {
    prop_assert!(reasons.contains(&error.reason), "{}", error);
    prop_assert!(!error.violations.is_empty(), "{}", error);
    for violation in &error.violations {
        prop_assert!(violation.field.starts_with(at), "{:?} is not below {}", violation.field, at);
        prop_assert!(!violation.description.is_empty(), "{}", violation.field);
    }
    Ok(())
}

pub const FILTERS: Target = Target {
    name: "filters",
    message: "attache.v1.ListVisitsRequest",
    words: &["AZ", "visits/a", "2023-10", "\x1a\x02AZ", "\x0a\x02", "\u{2}"],
    input: |draw| {
        let filters = draw.list(3, |draw| Value::Message(messages::message(draw, "Filter")));
        let mut request = DynamicMessage::new(pb::descriptor("ListVisitsRequest"));
        request.set_field_by_name("filters", Value::List(filters));
        request.encode_to_vec()
    },
    promise: filter_promise,
    few: 5_000,
};

#[test]
fn a_filter_that_is_read_is_found_where_indexes_look_and_a_fault_has_its_path() {
    FILTERS.run();
}

fn filter_promise(input: &[u8]) -> Kept {
    let Ok(request) = v1::ListVisitsRequest::decode(input) else { return Ok(()) };
    let filters = match Filters::parse(&request.filters, "filters") {
        Ok(filters) => filters,
        Err(error) => return check_error(&error, &[Reason::FilterInvalid, Reason::TooLarge], "filters"),
    };
    let looked_up = filters.narrowest(|_| true);
    let days = filters.days();
    let visits = filters.clone().of_kind(RecordKind::Visit);
    for facets in FACETS.iter() {
        let matches = filters.matches(facets);
        let is_visit = facets.has(Tag::Kind, &(RecordKind::Visit as i32).to_string());
        prop_assert_eq!(visits.matches(facets), matches && is_visit);
        if !matches {
            continue;
        }
        if let Some(terms) = &looked_up {
            prop_assert!(terms.iter().any(|(tag, value)| facets.has(*tag, value)), "{:?} misses {:?}", terms, facets);
        }
        if let Some((from, until)) = days {
            let may = facets.occurred.is_some_and(|span| span.within(from, until) != Answer::No);
            prop_assert!(may, "{:?} to {:?} misses {:?}", from, until, facets.occurred);
        }
    }
    Ok(())
}

pub const MASKS: Target = Target {
    name: "masks",
    message: "",
    words: MASK_PARTS,
    input: |draw| draw.list(8, |draw| draw.list(3, |draw| draw.of(MASK_PARTS)).join(".")).join("\n").into_bytes(),
    promise: mask_promise,
    few: 2_000,
};

const MASK_PARTS: &[&str] = &[
    "hosts",
    "guests",
    "state",
    "head",
    "person",
    "name",
    "titles",
    "text",
    "info",
    "itinerary",
    "place",
    "start",
    "edtf",
    "summary",
    "participants",
    "merged_names",
    "*",
    "",
    ".",
    "capital",
];

#[test]
fn a_mask_leaves_out_and_changes_nothing_whatever_the_order_of_its_paths() {
    MASKS.run();
}

fn mask_promise(input: &[u8]) -> Kept {
    let text = text(input);
    let paths: Vec<String> = text.lines().map(str::to_owned).collect();
    let reversed = prost_types::FieldMask { paths: paths.iter().rev().cloned().collect() };
    let mask = prost_types::FieldMask { paths };
    for kinds in [&[RecordKind::Visit][..], &KINDS] {
        let read = match Mask::parse(Some(&mask), kinds) {
            Ok(read) => read,
            Err(error) => {
                check_error(&error, &[Reason::MaskInvalid, Reason::TooLarge], "read_mask")?;
                continue;
            }
        };
        let other = Mask::parse(Some(&reversed), kinds).ok();
        prop_assert_eq!(other.as_ref(), Some(&read), "{:?}", text);
        for whole in RECORDS.iter().filter(|whole| kinds.contains(&record::kind(whole))) {
            let masked = read.apply(whole.clone());
            prop_assert_eq!(record::name_of(&masked), record::name_of(whole));
            prop_assert_eq!(&read.apply(masked.clone()), &masked, "{:?}", text);
            prop_assert!(!read.is_all() || masked == *whole);
            prop_assert!(is_part(&json(&masked), &json(whole)), "{:?} makes {:?}", text, masked);
        }
    }
    Ok(())
}

fn json(record: &v1::Record) -> serde_json::Value {
    pb::to_json("Record", record)
}

/// Whether all that one says stands in the other, at the same place.
fn is_part(part: &serde_json::Value, whole: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Object};
    match (part, whole) {
        (Object(part), Object(whole)) => part.iter().all(|(key, p)| whole.get(key).is_some_and(|w| is_part(p, w))),
        (Array(part), Array(whole)) => part.len() == whole.len() && part.iter().zip(whole).all(|(p, w)| is_part(p, w)),
        _ => part == whole,
    }
}

pub const REPORTS: Target = Target {
    name: "reports",
    message: "attache.v1.Report",
    words: &["AZ", "visits/a", "sources/a", "2023-10", "\x0a", "\x12\x02", "\x1a\x04"],
    input: |draw| messages::report(draw).encode_to_vec(),
    promise: report_promise,
    few: 1_000,
};

#[test]
fn a_report_that_is_accepted_is_stored_told_and_filed_again_as_the_same() {
    REPORTS.run();
}

fn report_promise(input: &[u8]) -> Kept {
    let Ok(sent) = v1::Report::decode(input) else { return Ok(()) };
    let report = match Report::parse(&sent, None, "reports[0]") {
        Ok(report) => report,
        Err(error) => return check_error(&error, &[Reason::FieldInvalid, Reason::TooLarge], "reports[0]"),
    };
    let stored = report.stored();
    let bytes = stored.encode_to_vec();
    let read = v1::Report::decode(bytes.as_slice()).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let again = Report::from_stored(read).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(again.stored().encode_to_vec(), bytes.clone());
    prop_assert_eq!(&stored.name, &report.name.to_string());
    // As `attache reports` tells it, and `attache file` reads it.
    let told = pb::to_json("Report", stored).to_string();
    let told: v1::Report = pb::from_json("Report", &told).map_err(TestCaseError::fail)?;
    prop_assert_eq!(told.encode_to_vec(), bytes.clone());
    let filed =
        Report::parse(&told, None, "reports[0]").map_err(|e| TestCaseError::fail(format!("filed again: {e}")))?;
    prop_assert_eq!(filed.stored().encode_to_vec(), bytes);
    // What it makes of a record, and what indexes keep of it.
    report.prepare();
    Ok(())
}

pub const RECORDS_READ: Target = Target {
    name: "records",
    message: "attache.v1.Record",
    words: &["AZ", "persons/a", "\x0a", "\x12\x02", "\x1a\x04"],
    input: |draw| {
        let kind = name::message(KINDS[draw.number(KINDS.len())]);
        let content = messages::message(draw, kind);
        let mut record = DynamicMessage::new(pb::descriptor("Record"));
        record.set_field_by_name(&kind.to_lowercase(), Value::Message(content));
        record.encode_to_vec()
    },
    promise: record_promise,
    few: 2_000,
};

#[test]
fn what_a_record_says_in_its_bytes_is_what_it_says_when_it_is_read() {
    RECORDS_READ.run();
}

/// The names of records that a message refers to; its own name and what the registry says of it are none.
fn references(message: &DynamicMessage, found: &mut Vec<String>) {
    let descriptor = message.descriptor();
    let is_reference = |field: &FieldDescriptor| {
        let rules = constraints::of(descriptor.name(), field.name());
        let refers =
            |r: &Constraint| matches!(r, Constraint::Record(_) | Constraint::Records(_) | Constraint::AnyRecord);
        texts::class(field.name()).is_none() && rules.iter().any(refers)
    };
    for (field, value) in message.fields() {
        if name::is_kind(descriptor.name()) && ["name", "info"].contains(&field.name()) {
            continue;
        }
        for value in value.as_list().unwrap_or(std::slice::from_ref(value)) {
            match value {
                Value::Message(inner) => references(inner, found),
                Value::String(text) if is_reference(&field) => found.push(text.clone()),
                _ => {}
            }
        }
    }
}

fn record_promise(input: &[u8]) -> Kept {
    // Whatever it is, it is looked at without harm.
    let _ = said::each(input, &mut |_| {});
    let Ok(read) = v1::Record::decode(input) else { return Ok(()) };
    let reflected = pb::to_dynamic("Record", &read);
    let Some(content) = reflected.fields().find_map(|(_, kind)| kind.as_message()) else { return Ok(()) };
    let bytes = read.encode_to_vec();
    let (mut said_texts, mut said_references) = (Vec::new(), Vec::new());
    let seen = said::each(&bytes, &mut |said| match said {
        Said::Text(class, text) => said_texts.push((class, text.to_owned())),
        Said::Reference(name) => said_references.push(name.to_owned()),
    });
    prop_assert!(seen.is_some(), "a record that was written cannot be read");
    // A text that is empty may be written or not.
    said_texts.retain(|(_, text)| !text.is_empty());
    said_references.retain(|name| !name.is_empty());
    let mut pieces: Vec<(Class, String)> = texts::pieces(content).into_iter().map(|p| (p.class, p.text)).collect();
    pieces.retain(|(_, text)| !text.is_empty());
    let mut named = Vec::new();
    references(content, &mut named);
    named.retain(|name| !name.is_empty());
    for list in [&mut said_texts, &mut pieces] {
        list.sort();
    }
    for list in [&mut said_references, &mut named] {
        list.sort();
    }
    prop_assert_eq!(said_texts, pieces);
    prop_assert_eq!(said_references, named);
    let facets = Facets::of(&read);
    prop_assert_eq!(Facets::from_stored(&facets.to_stored()).ok(), Some(facets.clone()));
    prop_assert!(Facets::without_references(&read).terms().iter().all(|(tag, value)| facets.has(*tag, value)));
    prop_assert!(facets.terms().is_sorted_by(|a, b| a < b), "each once");
    Ok(())
}
