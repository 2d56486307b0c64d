//! Values in a few words.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

use super::{list, text};
use crate::cli::words;

/// A field's value, together with the source's own words where the contract keeps them beside it.
#[must_use]
pub fn field(parent: &MessageDescriptor, field: &FieldDescriptor, record: &Value) -> String {
    let value = record.get(field.json_name()).map(|value| any(field, value)).unwrap_or_default();
    let stated = stated_words(parent, field, record);
    match (value.is_empty(), stated.is_empty()) {
        (_, true) => value,
        (true, false) => stated,
        (false, false) => format!("{value} ({stated})"),
    }
}

/// Whether this field holds the words for another field, beside which it is shown.
#[must_use]
pub fn is_words_of_another(parent: &MessageDescriptor, field: &FieldDescriptor) -> bool {
    let base = field.name().strip_suffix("_as_stated");
    field.is_list() && base.is_some_and(|base| parent.get_field_by_name(base).is_some())
}

fn stated_words(parent: &MessageDescriptor, field: &FieldDescriptor, record: &Value) -> String {
    match parent.get_field_by_name(&format!("{}_as_stated", field.name())) {
        Some(words) if words.is_list() => {
            let quoted = list(record, words.json_name()).iter().map(|t| format!("“{}”", text(t, "text")));
            quoted.collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    }
}

/// A value of a field of the contract.
#[must_use]
pub fn any(field: &FieldDescriptor, value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            let parts = elements.iter().map(|element| one(field, element)).filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join("; ")
        }
        _ => one(field, value),
    }
}

fn one(field: &FieldDescriptor, value: &Value) -> String {
    match (field.kind(), value) {
        (_, Value::Null) => String::new(),
        (Kind::Enum(vocabulary), Value::String(name)) => words::human_name(&vocabulary, name),
        (Kind::Message(message), Value::Object(_)) => message_in_words(&message, value),
        (_, Value::String(text)) => text.clone(),
        (_, Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        _ => value.to_string(),
    }
}

fn message_in_words(message: &MessageDescriptor, value: &Value) -> String {
    match message.name() {
        "EdtfDate" => text(value, "edtf").to_owned(),
        "Text" | "Title" | "Name" => with_note(text(value, "text"), text(value, "language")),
        "PersonRef" => person(value),
        "Party" => party(value),
        "Side" => side(value),
        "PlaceRef" => either(text(value, "asStated"), text(value, "place")),
        "IntegerRange" => range(value),
        "ItemParticipant" => participant(message, value),
        "Component" => component(message, value),
        "InferableDate" => inferable(message, value),
        "NatoGrade" => with_note(&part(message, "code", value), &inferred(message, value)),
        "Speaker" => speaker(message, value),
        "Signatory" => join(&[&part(message, "party", value), &part(message, "person", value)], ": "),
        "Outcome" => join(&[&part(message, "text", value), text(value, "record")], ", "),
        "Validity" => span(&part(message, "start", value), &part(message, "end", value)),
        "Renewal" => renewal(message, value),
        "Honour" => text(value, "nameAsStated").to_owned(),
        "ExternalId" => format!("{} {}", text(value, "scheme"), text(value, "id")),
        _ => generic(message, value),
    }
}

/// Rank, name and post; else the name of the person's record.
#[must_use]
pub fn person(value: &Value) -> String {
    let name = either(text(value, "nameAsStated"), text(value, "person"));
    let ranked = join(&[text(value, "rankAsStated"), &name], " ");
    join(&[&ranked, text(value, "postAsStated")], ", ")
}

fn party(value: &Value) -> String {
    with_note(text(value, "state"), text(value, "organization"))
}

fn side(value: &Value) -> String {
    let head = value.get("head").map(person).unwrap_or_default();
    join(&[&party(value), &head], ", led by ")
}

fn range(value: &Value) -> String {
    match (value.get("min"), value.get("max")) {
        (Some(min), Some(max)) if min == max => min.to_string(),
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => String::new(),
    }
}

fn participant(message: &MessageDescriptor, value: &Value) -> String {
    let role = part(message, "role", value);
    with_note(&value.get("person").map(person).unwrap_or_default(), &role)
}

fn component(message: &MessageDescriptor, value: &Value) -> String {
    let persons: Vec<_> = list(value, "persons").iter().map(person).collect();
    with_note(&part(message, "kind", value), &persons.join(", "))
}

fn inferable(message: &MessageDescriptor, value: &Value) -> String {
    with_note(&part(message, "date", value), &inferred(message, value))
}

fn inferred(message: &MessageDescriptor, value: &Value) -> String {
    let basis = part(message, "basis", value);
    if basis == "inferred" { basis } else { String::new() }
}

fn speaker(message: &MessageDescriptor, value: &Value) -> String {
    let named = either(&part(message, "person", value), &part(message, "side", value));
    either(&named, &part(message, "kind", value))
}

fn span(start: &str, end: &str) -> String {
    match (start.is_empty(), end.is_empty()) {
        (_, true) => format!("from {start}"),
        (true, false) => format!("until {end}"),
        (false, false) => format!("from {start} until {end}"),
    }
}

fn renewal(message: &MessageDescriptor, value: &Value) -> String {
    let months = value.get("periodMonths").map(|months| format!("for {months} months each time"));
    join(&[&part(message, "kind", value), &months.unwrap_or_default()], ", ")
}

fn part(message: &MessageDescriptor, name: &str, value: &Value) -> String {
    message.get_field_by_name(name).map(|f| field(message, &f, value)).unwrap_or_default()
}

/// Every field that is set, each with its name.
fn generic(message: &MessageDescriptor, value: &Value) -> String {
    let fields = message.fields().filter(|f| !is_words_of_another(message, f));
    let parts = fields.filter_map(|f| {
        let words = field(message, &f, value);
        (!words.is_empty()).then(|| format!("{} {words}", label(f.name())))
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// A field's name in words: `planned_start` is "planned start".
#[must_use]
pub fn label(name: &str) -> String {
    name.replace('_', " ")
}

fn with_note(words: &str, note: &str) -> String {
    match (words.is_empty(), note.is_empty()) {
        (_, true) => words.to_owned(),
        (true, false) => note.to_owned(),
        (false, false) => format!("{words} ({note})"),
    }
}

fn either(first: &str, second: &str) -> String {
    if first.is_empty() { second.to_owned() } else { first.to_owned() }
}

fn join(parts: &[&str], between: &str) -> String {
    let stated: Vec<_> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    stated.join(between)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pb;

    fn shown(name: &str, record: &Value) -> String {
        let visit = pb::descriptor("Visit");
        field(&visit, &visit.get_field_by_name(name).unwrap(), record)
    }

    #[test]
    fn a_side_says_who_leads_it() {
        let head =
            json!({"rankAsStated": "Colonel General", "nameAsStated": "R. Zhaksylykov", "postAsStated": "Minister"});
        let visit = json!({"guests": [{"state": "KZ", "organization": "organizations/kz-mod", "head": head}]});
        assert_eq!(
            shown("guests", &visit),
            "KZ (organizations/kz-mod), led by Colonel General R. Zhaksylykov, Minister"
        );
    }

    #[test]
    fn a_word_is_shown_with_the_sources_own_words() {
        let visit = json!({"type": "VISIT_TYPE_OFFICIAL", "typeAsStated": [{"language": "ru", "text": "визит"}]});
        assert_eq!(shown("type", &visit), "official (“визит”)");
        assert_eq!(shown("type", &json!({"typeAsStated": [{"text": "visit"}]})), "“visit”");
        assert_eq!(shown("type", &json!({})), "");
    }

    #[test]
    fn a_validity_says_what_is_inferred_and_a_renewal_how_long_it_lasts() {
        let agreement = pb::descriptor("Agreement");
        let shown = |name: &str, record| field(&agreement, &agreement.get_field_by_name(name).unwrap(), &record);
        let validity = json!({"validity": {"start": {"date": {"edtf": "2024-01-01"}, "basis": "BASIS_INFERRED"}}});
        assert_eq!(shown("validity", validity), "from 2024-01-01 (inferred)");
        let renewal = json!({"renewal": {"kind": "RENEWAL_KIND_TACIT", "periodMonths": 12}});
        assert_eq!(shown("renewal", renewal), "tacit, for 12 months each time");
    }

    #[test]
    fn ranges_and_dates_are_short() {
        assert_eq!(shown("duration_days", &json!({"durationDays": {"min": 2}})), "at least 2");
        assert_eq!(shown("start", &json!({"start": {"edtf": "2023-10", "earliest": "2023-10-01"}})), "2023-10");
    }
}
