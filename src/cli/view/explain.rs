//! How a record came to its values, for people. The values come as JSON of `ExplainRecordResponse`.

use std::fmt::Write as _;

use serde_json::Value;

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

/// A value of the record's JSON: words of vocabularies as people read them, dates bare, messages as JSON.
fn value(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "not stated".to_owned(),
        Some(Value::String(text)) => words::human_anywhere(text).unwrap_or_else(|| text.clone()),
        Some(Value::Object(fields)) if fields.contains_key("edtf") => {
            fields.get("edtf").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        Some(other) => other.to_string(),
    }
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
    fn the_table_has_a_row_for_every_stated_field() {
        let text = table(&explanation());
        assert!(text.contains("actions[concluded].type (disputed)"), "{text}");
        assert!(text.contains("interministerial"), "{text}");
    }
}
