//! How a record came to its values, for people. The values come as JSON of `ExplainRecordResponse`.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{list, text};
use crate::cli::{output, words};

/// Every stated field: its value, whose it is, and what the other accounts say.
#[must_use]
pub fn table(explanation: &Value) -> String {
    let mut table = output::table(["FIELD", "VALUE", "ACCOUNT", "REPORT", "OTHER ACCOUNTS"]);
    for field in list(explanation, "fields") {
        let mark = if is_disputed(field) { " (disputed)" } else { "" };
        table.add_row([
            format!("{}{mark}", text(field, "path")),
            value(field.get("value")),
            text(field, "account").to_owned(),
            source(text(field, "report")),
            others(field).join("\n"),
        ]);
    }
    output::trimmed(&table)
}

/// Who says what of every disputed field.
#[must_use]
pub fn disputes(explanation: &Value) -> String {
    let mut lines = String::new();
    for field in list(explanation, "fields").iter().filter(|field| is_disputed(field)) {
        let _ = writeln!(lines, "  {}", text(field, "path"));
        let _ = writeln!(lines, "    {} — {} (taken)", value(field.get("value")), text(field, "account"));
        for other in others(field) {
            let _ = writeln!(lines, "    {other}");
        }
    }
    lines.trim_end().to_owned()
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

fn source(report: &str) -> String {
    report.split_once("/reports/").map_or(report, |(_, source)| source).to_owned()
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
    fn the_table_has_a_row_for_every_stated_field() {
        let text = table(&explanation());
        assert!(text.contains("actions[concluded].type (disputed)"), "{text}");
        assert!(text.contains("interministerial"), "{text}");
    }
}
