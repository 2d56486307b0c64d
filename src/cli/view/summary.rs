//! A record in one line: its title, or what can be said without one.

use serde_json::Value;

use super::{list, phrase, text, texts};
use crate::{cli::kinds::Kind, pb};

/// The title, English first; else guests and hosts, the form and parties, the series, the first name.
#[must_use]
pub fn one_line(kind: Kind, record: &Value) -> String {
    let title = preferred(list(record, "titles"));
    if !title.is_empty() {
        return title;
    }
    match kind {
        Kind::Visit => between(record, "guests", " → ", "hosts"),
        Kind::Meeting => between(record, "hosts", ", ", "participants"),
        Kind::Agreement => spaced(&[word(kind, "instrument", record), text(record, "series").into(), states(record)]),
        Kind::Exercise => spaced(&[text(record, "series").into(), text(record, "edition").into(), states(record)]),
        Kind::Person | Kind::Organization | Kind::Place => preferred(list(record, "names")),
    }
}

/// When it happened, as the registry derives it.
#[must_use]
pub fn when(record: &Value) -> String {
    let occurred = record.get("info").and_then(|info| info.get("occurred"));
    occurred.map(|date| text(date, "edtf").to_owned()).unwrap_or_default()
}

fn preferred(titles: &[Value]) -> String {
    let english = titles.iter().find(|title| text(title, "language").starts_with("en"));
    english.or(titles.first()).map(|title| text(title, "text").to_owned()).unwrap_or_default()
}

fn between(record: &Value, from: &str, arrow: &str, to: &str) -> String {
    let (from, to) = (sides(record, from), sides(record, to));
    match (from.is_empty(), to.is_empty()) {
        (false, false) => format!("{from}{arrow}{to}"),
        _ => format!("{from}{to}"),
    }
}

/// `KZ (Colonel General R. Zhaksylykov)`.
fn sides(record: &Value, field: &str) -> String {
    let side = |side: &Value| match side.get("head").map(head).unwrap_or_default() {
        name if name.is_empty() => text(side, "state").to_owned(),
        name => format!("{} ({name})", text(side, "state")),
    };
    list(record, field).iter().map(side).collect::<Vec<_>>().join(", ")
}

/// Without the post: the line is short.
fn head(head: &Value) -> String {
    let mut short = head.clone();
    if let Some(fields) = short.as_object_mut() {
        fields.remove("postAsStated");
    }
    phrase::person(&short)
}

fn states(record: &Value) -> String {
    record.get("info").map(|info| texts(info, "states").join("–")).unwrap_or_default()
}

fn word(kind: Kind, name: &str, record: &Value) -> String {
    let message = pb::descriptor(kind.message());
    let field = message.get_field_by_name(name);
    field.map(|field| phrase::field(&message, &field, record)).unwrap_or_default()
}

fn spaced(parts: &[String]) -> String {
    parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_english_title_is_preferred() {
        let titles = json!({"titles": [{"language": "az", "text": "Səfər"}, {"language": "en", "text": "Visit"}]});
        assert_eq!(one_line(Kind::Visit, &titles), "Visit");
    }

    #[test]
    fn without_a_title_the_sides_and_their_heads_stand() {
        let visit = json!({
            "hosts": [{"state": "AZ", "head": {"person": "persons/hasanov", "postAsStated": "Minister"}}],
            "guests": [{"state": "KZ"}],
        });
        assert_eq!(one_line(Kind::Visit, &visit), "KZ → AZ (persons/hasanov)");
        assert_eq!(one_line(Kind::Visit, &json!({"guests": [{"state": "KZ"}]})), "KZ");
    }

    #[test]
    fn an_agreement_is_its_form_its_series_and_its_parties() {
        let plan = json!({"instrument": "INSTRUMENT_COOPERATION_PLAN", "info": {"states": ["AZ", "KZ"]}});
        assert_eq!(one_line(Kind::Agreement, &plan), "cooperation plan AZ–KZ");
    }
}
