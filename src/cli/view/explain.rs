//! How a record came to its values, for people. The values come as JSON of `ExplainRecordResponse`.

use prost_reflect::MessageDescriptor;
use serde_json::{Map, Value};

use super::{list, sections, text};
use crate::{
    cli::{kinds::Kind, output, words, wrap},
    pb,
};

/// Labels of fields are as wide as this at least, and longer ones are the exception.
const LABEL_WIDTH: usize = 28;

/// Every stated field in the order in which a record is shown: its value, below it whose it is and by which report, then
/// what the other accounts say.
#[must_use]
pub fn page(kind: Kind, explanation: &Value) -> String {
    let message = pb::descriptor(kind.message());
    let mut fields: Vec<_> = list(explanation, "fields").iter().collect();
    fields.sort_by_key(|field| place(&message, text(field, "path")));
    fields.into_iter().map(lines).collect::<Vec<_>>().join("\n")
}

/// Fields before sections, both in the contract's order; what lies within a field stays as it came.
fn place(message: &MessageDescriptor, path: &str) -> (bool, usize) {
    let name = path.split(['.', '[']).next().unwrap_or_default();
    let at = message.fields().position(|field| field.name() == name);
    let field = message.get_field_by_name(name);
    (field.is_some_and(|field| sections::is_section(&field)), at.unwrap_or(usize::MAX))
}

fn lines(field: &Value) -> String {
    let mark = if is_disputed(field) { output::colour(31, "  (disputed)") } else { String::new() };
    let label = format!("{:LABEL_WIDTH$}  ", text(field, "path"));
    let head = wrap::hanging(&label, &value(field.get("value")), LABEL_WIDTH + 2, 0);
    let whose = [text(field, "account"), source(text(field, "report"))];
    let whose = whose.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    let mut lines = vec![format!("{head}{mark}")];
    lines.extend((!whose.is_empty()).then(|| output::dim(wrap::hanging("    ", &whose, 6, 0))));
    lines.extend(others(field).iter().map(|other| wrap::hanging("    ", other, 6, 0)));
    lines.join("\n")
}

/// Who says what of every disputed field.
#[must_use]
pub fn disputes(explanation: &Value) -> String {
    let mut lines = Vec::new();
    for field in list(explanation, "fields").iter().filter(|field| is_disputed(field)) {
        lines.push(format!("  {}", text(field, "path")));
        let taken = format!("{} — {} (taken)", value(field.get("value")), text(field, "account"));
        lines.push(wrap::hanging("    ", &taken, 6, 0));
        lines.extend(others(field).iter().map(|other| wrap::hanging("    ", other, 6, 0)));
    }
    lines.join("\n")
}

fn is_disputed(field: &Value) -> bool {
    field.get("disputed").and_then(Value::as_bool).unwrap_or_default()
}

/// What the accounts say that did not give the resolved value: `2023-10-06 — organizations/x conflicts`.
fn others(field: &Value) -> Vec<String> {
    let others = list(field, "accounts").iter().filter(|account| text(account, "verdict") != "VERDICT_RESOLVED");
    let line = |account: &Value| {
        let considered = account.get("considered").and_then(Value::as_bool).unwrap_or_default();
        let ruled = if considered { ", considered by a ruling" } else { "" };
        let value = value(account.get("value"));
        format!("{value} — {} {}{ruled}", text(account, "account"), verdict(text(account, "verdict")))
    };
    others.map(line).collect()
}

fn verdict(name: &str) -> &'static str {
    match name {
        "VERDICT_AGREES" => "agrees",
        "VERDICT_REFINES" => "is refined",
        "VERDICT_CONFLICTS" => "conflicts",
        _ => "",
    }
}

/// A value of the record's JSON as people read it: words of vocabularies, dates bare, references behind their words.
fn value(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "not stated".to_owned(),
        Some(Value::String(text)) => words::human_anywhere(text).unwrap_or_else(|| text.clone()),
        Some(Value::Array(items)) => items.iter().map(|item| self::value(Some(item))).collect::<Vec<_>>().join("; "),
        Some(Value::Object(fields)) => object(fields).unwrap_or_else(|| Value::Object(fields.clone()).to_string()),
        Some(Value::Number(number)) => number.as_f64().map_or_else(|| number.to_string(), |n| n.to_string()),
        Some(other) => other.to_string(),
    }
}

/// The messages that stand in records: what they say first, what it refers to or rests on in brackets.
fn object(fields: &Map<String, Value>) -> Option<String> {
    let get = |name: &str| fields.get(name).map(|v| value(Some(v)));
    let with = |main: Option<String>, aside: Option<String>| match (main, aside) {
        (Some(main), Some(aside)) => Some(format!("{main} ({aside})")),
        (main, aside) => main.or(aside),
    };
    let inferred = || get("basis").filter(|basis| basis == "inferred");
    if fields.contains_key("edtf") {
        return get("edtf");
    }
    if fields.contains_key("asStated") && !fields.contains_key("place") {
        return with(get("value"), get("asStated"));
    }
    if fields.contains_key("text") {
        return Some(format!("“{}”", text_of(fields, "text")));
    }
    if fields.contains_key("min") || fields.contains_key("max") {
        return Some(match (get("min"), get("max")) {
            (Some(min), Some(max)) if min == max => min,
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (_, max) => format!("at most {}", max.unwrap_or_default()),
        });
    }
    with(get("date").or_else(|| get("code")), inferred())
        .or_else(|| with(get("nameAsStated"), get("person")))
        .or_else(|| with(get("asStated"), get("place")))
        .or_else(|| with(get("state"), get("organization")))
}

fn text_of(fields: &Map<String, Value>, name: &str) -> String {
    fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn source(report: &str) -> &str {
    report.split_once("/reports/").map_or(report, |(_, source)| source)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn explanation() -> Value {
        json!({"fields": [{
            "path": "actions[concluded].type", "value": "ACTION_TYPE_SIGNED", "report": "agreements/a/reports/az",
            "account": "organizations/az-mod", "disputed": true,
            "accounts": [
                {"account": "organizations/az-mod", "value": "ACTION_TYPE_SIGNED", "verdict": "VERDICT_RESOLVED"},
                {"account": "organizations/kz-mod", "value": "ACTION_TYPE_ENDORSED", "verdict": "VERDICT_CONFLICTS"},
            ],
        }, {"path": "level", "value": "AGREEMENT_LEVEL_INTERMINISTERIAL", "account": "organizations/az-mod"}]})
    }

    #[test]
    fn a_dispute_says_who_says_which() {
        let text = disputes(&explanation());
        assert!(text.contains("signed — organizations/az-mod (taken)"), "{text}");
        assert!(text.contains("endorsed — organizations/kz-mod conflicts"), "{text}");
        assert!(!text.contains("level"), "only what is disputed: {text}");
    }

    #[test]
    fn a_value_reads_as_people_say_it() {
        let shown = |json: Value| value(Some(&json));
        let signed = json!({"value": "ACTION_TYPE_SIGNED", "asStated": [{"language": "en", "text": "was signed"}]});
        assert_eq!(shown(signed), "signed (“was signed”)");
        assert_eq!(shown(json!({"asStated": [{"text": "visit"}]})), "“visit”");
        assert_eq!(shown(json!({"date": {"edtf": "2024-12-31"}, "basis": "BASIS_INFERRED"})), "2024-12-31 (inferred)");
        assert_eq!(shown(json!({"min": 2.0})), "at least 2");
        assert_eq!(shown(json!({"person": "persons/a", "nameAsStated": "A"})), "A (persons/a)");
        assert_eq!(shown(json!({"place": "places/b"})), "places/b");
    }

    #[test]
    fn the_page_has_every_stated_field_and_whose_it_is() {
        let page = anstream::adapter::strip_str(&page(Kind::Agreement, &explanation())).to_string();
        let lines: Vec<_> = page.lines().collect();
        assert_eq!(lines[0], format!("{:28}  interministerial", "level"), "what `get` shows first stands first");
        assert_eq!(lines[1], "    organizations/az-mod");
        assert_eq!(lines[2], format!("{:28}  signed  (disputed)", "actions[concluded].type"));
        assert_eq!(lines[3..], ["    organizations/az-mod, az", "    endorsed — organizations/kz-mod conflicts"]);
    }

    #[test]
    fn the_page_is_no_wider_than_a_page() {
        let long =
            json!({"fields": [{"path": "summary", "value": "a word ".repeat(40), "account": "organizations/a"}]});
        let page = anstream::adapter::strip_str(&page(Kind::Visit, &long)).to_string();
        assert!(page.lines().count() > 3 && page.lines().all(|line| line.chars().count() <= 100), "{page}");
    }
}
