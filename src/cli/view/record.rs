//! A whole record for people.

use std::fmt::Write as _;

use prost_reflect::FieldDescriptor;
use serde_json::Value;

use super::{explain, list, phrase, sections, status, summary, text, texts, time};
use crate::{
    cli::{kinds::Kind, output, wrap},
    pb,
};

/// Fields whose absence is worth a line.
fn important(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Visit => &["type", "level", "hosts", "guests", "start", "end", "places", "topics"],
        Kind::Meeting => &["kind", "hosts", "participants", "start", "end", "places", "topics"],
        Kind::Agreement => &["instrument", "level", "legal_character", "parties", "validity", "renewal", "topics"],
        Kind::Exercise => &["forms", "domains", "start", "end", "areas"],
        Kind::Person => &["names"],
        Kind::Organization => &["names", "kind", "state", "parent"],
        Kind::Place => &["names", "kind", "state", "within"],
    }
}

/// The record; `explanation` is the `ExplainRecordResponse` if something in it is disputed.
#[must_use]
pub fn record(kind: Kind, record: &Value, explanation: Option<&Value>) -> String {
    let mut page = String::new();
    let name = text(record, "name");
    let title = summary::one_line(kind, record);
    let _ = writeln!(page, "{}", output::bold(name));
    if !title.is_empty() {
        let _ = writeln!(page, "{title}");
    }
    let _ = write!(page, "\n{}", fields(kind, record, &disputed(record)));
    for (heading, table) in tables(kind, record) {
        let _ = write!(page, "\n{}\n{}\n", output::bold(heading), indented(&table));
    }
    if let Some(explanation) = explanation {
        let _ = write!(page, "\n{}\n{}\n", output::bold("Disputed"), explain::disputes(explanation));
    }
    let _ = write!(page, "\n{}", output::dim(wrap::hanging("", &info(record), 2, 0)));
    page
}

fn disputed(record: &Value) -> Vec<String> {
    record.get("info").map(|info| texts(info, "disputedFields")).unwrap_or_default()
}

fn fields(kind: Kind, record: &Value, disputed: &[String]) -> String {
    let message = pb::descriptor(kind.message());
    let shown: Vec<FieldDescriptor> = message
        .fields()
        .filter(|f| !["name", "info"].contains(&f.name()) && !is_heading(f, record))
        .filter(|f| !sections::is_section(f) && !phrase::is_words_of_another(&message, f))
        .collect();
    let width = shown.iter().map(|f| f.name().len()).max().unwrap_or_default().max("status".len()) + 1;
    let mut lines = String::new();
    let mut write = |label: &str, value: &str, mark: &str| {
        let first = format!("  {:width$} ", format!("{label}:"));
        let _ = writeln!(lines, "{}{mark}", wrap::hanging(&first, value, width + 3, 0));
    };
    if status::of_kind(kind) && !status::short(record).is_empty() {
        write("status", &status::with_reason(record), "");
    }
    for field in shown {
        let value = phrase::field(&message, &field, record);
        let mark = mark(field.name(), disputed);
        if !value.is_empty() {
            write(&phrase::label(field.name()), &value, &mark);
        } else if important(kind).contains(&field.name()) {
            write(&phrase::label(field.name()), &output::dim("not stated"), &mark);
        }
    }
    lines
}

/// A single title stands above the fields already.
fn is_heading(field: &FieldDescriptor, record: &Value) -> bool {
    field.name() == "titles" && list(record, "titles").len() == 1
}

/// A field is marked if it, or something within it, is disputed.
fn mark(field: &str, disputed: &[String]) -> String {
    let within = |path: &String| {
        let rest = path.strip_prefix(field);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    if disputed.iter().any(within) { output::colour(31, "  (disputed)") } else { String::new() }
}

fn tables(kind: Kind, record: &Value) -> Vec<(String, String)> {
    let disputed = disputed(record);
    let message = pb::descriptor(kind.message());
    let sections = message.fields().filter_map(|field| {
        let table = sections::section(&field, record)?;
        Some((heading(&field, &disputed), table))
    });
    sections.collect()
}

fn heading(field: &FieldDescriptor, disputed: &[String]) -> String {
    let words = phrase::label(field.name());
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}{}", letters.as_str(), mark(field.name(), disputed))
}

fn indented(table: &str) -> String {
    table.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// `revision 12 · 3 accounts · AZ, KZ · updated 2023-10-07 12:00:00Z`.
fn info(record: &Value) -> String {
    let Some(info) = record.get("info") else {
        return String::new();
    };
    let accounts = info.get("accountCount").and_then(Value::as_u64).unwrap_or_default();
    let mut parts = vec![format!("revision {}", text(info, "revision"))];
    parts.push(if accounts == 1 { "1 account".into() } else { format!("{accounts} accounts") });
    if !list(info, "states").is_empty() {
        parts.push(texts(info, "states").join(", "));
    }
    if !list(info, "observerStates").is_empty() {
        parts.push(format!("observed by {}", texts(info, "observerStates").join(", ")));
    }
    if info.get("updateTime").is_some() {
        parts.push(format!("updated {}", time(text(info, "updateTime"))));
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_important_field_is_one_of_the_contract() {
        for kind in Kind::ALL {
            for name in important(kind) {
                assert!(pb::descriptor(kind.message()).get_field_by_name(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn a_visit_says_what_is_not_stated_and_what_is_disputed() {
        let visit = json!({
            "name": "visits/v",
            "hosts": [{"state": "AZ"}],
            "start": {"edtf": "2023-10-05"},
            "summary": "A sentence that is said again. ".repeat(9),
            "info": {"revision": "12", "accountCount": 2, "states": ["AZ", "KZ"], "disputedFields": ["start"],
                     "updateTime": "2023-10-07T12:00:00Z",
                     "status": {"status": "STATUS_CONCLUDED", "certainty": "CERTAINTY_INFERRED",
                                "reason": "its end lies in the past"}},
        });
        let page = anstream::adapter::strip_str(&record(Kind::Visit, &visit, None)).to_string();
        assert!(page.starts_with("visits/v\n"), "{page}");
        let line =
            |label: &str| page.lines().find(|l| l.trim_start().starts_with(label)).unwrap_or_default().to_owned();
        assert!(line("end:").ends_with("not stated"), "{page}");
        assert!(line("status:").ends_with("concluded (inferred): its end lies in the past"), "{page}");
        assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
        assert!(line("start:").ends_with("2023-10-05  (disputed)"), "{page}");
        assert!(!page.contains("invited by"), "what is neither stated nor important has no line");
        assert!(page.ends_with("revision 12 · 2 accounts · AZ, KZ · updated 2023-10-07 12:00:00Z"), "{page}");
    }

    #[test]
    fn a_mark_is_for_the_field_itself_and_what_lies_within() {
        let disputed = vec!["actions[concluded].type".to_owned(), "start".to_owned()];
        assert!(!mark("actions", &disputed).is_empty());
        assert!(!mark("start", &disputed).is_empty());
        assert!(mark("star", &disputed).is_empty());
    }
}
