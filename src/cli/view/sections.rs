//! The parts of a record that read best as tables: the programme, actions, participants and the like.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

use super::{list, phrase};
use crate::cli::{output, wrap};

/// Heading, and the fields shown under it. What has its heading in small letters, or none, is told on lines of its own
/// below the row: a table of everything would be wider than any page.
type Column = (&'static str, &'static [&'static str]);

/// The columns of a list of these messages; `None` if they read well in a line.
fn columns(message: &str) -> Option<&'static [Column]> {
    Some(match message {
        "ItineraryItem" => &[
            ("WHAT", &["kind", "format"]),
            ("STATUS", &["status"]),
            ("WHEN", &["date"]),
            ("DAY", &["day"]),
            ("WHERE", &["place"]),
            ("host", &["host"]),
            ("who", &["participants"]),
            ("parts", &["components"]),
            ("in honour of", &["honours"]),
            ("", &["note"]),
            ("key", &["key"]),
        ],
        "AgreementAction" => &[
            ("KEY", &["key"]),
            ("ACT", &["type", "verb_as_stated"]),
            ("DATE", &["date"]),
            ("EFFECTIVE", &["effective_date"]),
            ("WHERE", &["place"]),
            ("by", &["parties"]),
            ("signed by", &["signatories"]),
            ("occasion", &["occasion"]),
        ],
        "Statement" => &[
            ("SPEAKER", &["speaker"]),
            ("ON BEHALF OF", &["on_behalf_of"]),
            ("ACT", &["act"]),
            ("TOPIC", &["topic"]),
            ("ABOUT", &["subject"]),
            ("AT", &["item"]),
            ("", &["summary"]),
            ("account", &["account"]),
        ],
        "ExerciseParticipant" => {
            &[("STATE", &["state"]), ("ORGANIZATION", &["organization"]), ("ROLE", &["role"]), ("FORCES", &["forces"])]
        }
        "ExerciseStage" => {
            &[("STAGE", &["title", "key"]), ("START", &["start"]), ("END", &["end"]), ("WHERE", &["area"])]
        }
        "Progress" => &[("STAGE", &["type"]), ("DATE", &["date"]), ("STATED AS OF", &["stated_as_of"])],
        "Posting" => &[
            ("POST", &["post"]),
            ("ORGANIZATION", &["organization"]),
            ("STATE", &["state"]),
            ("START", &["start"]),
            ("END", &["end"]),
        ],
        "RankHeld" => &[("RANK", &["rank"]), ("NATO", &["nato"]), ("START", &["start"])],
        _ => return None,
    })
}

/// Whether a field is shown as a section of its own.
#[must_use]
pub fn is_section(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(message) => field.is_list() && columns(message.name()).is_some(),
        _ => false,
    }
}

/// The table of a list field; `None` if the list is empty or no section.
#[must_use]
pub fn section(field: &FieldDescriptor, record: &Value) -> Option<String> {
    let Kind::Message(message) = field.kind() else {
        return None;
    };
    let columns = columns(message.name())?;
    let elements = list(record, field.json_name());
    let rows: Vec<Vec<String>> = elements
        .iter()
        .map(|element| columns.iter().map(|column| cell(&message, column.1, element)).collect())
        .collect();
    (!rows.is_empty()).then(|| laid_out(columns, &rows))
}

/// The first field, and what the others add to it.
fn cell(message: &MessageDescriptor, fields: &[&str], element: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    for name in fields {
        let field = message.get_field_by_name(name).expect("the columns above are fields of the contract");
        let words = match field.kind() {
            Kind::Message(text) if text.name() == "Text" && field.is_list() => list(element, field.json_name())
                .iter()
                .map(|t| format!("“{}”", super::text(t, "text")))
                .collect::<Vec<_>>()
                .join(", "),
            _ => phrase::field(message, &field, element),
        };
        if !words.is_empty() && !parts.contains(&words) {
            parts.push(words);
        }
    }
    parts.join(", ")
}

/// Stands for lines of their own until the table is laid out; no text has it.
const ASIDE: char = '\u{e000}';

/// What stands left of a section.
const LEFT: usize = 2;

fn laid_out(columns: &[Column], rows: &[Vec<String>]) -> String {
    let is_aside = |c: usize| columns[c].0.chars().all(|c| !c.is_uppercase());
    let used: Vec<usize> = (0..columns.len()).filter(|&c| rows.iter().any(|row| !row[c].is_empty())).collect();
    let (asides, cells): (Vec<_>, Vec<_>) = used.into_iter().partition(|&c| is_aside(c));
    let mut table = output::page_table(cells.iter().map(|&c| columns[c].0), LEFT);
    let mut told = Vec::new();
    for row in rows {
        table.add_row(cells.iter().map(|&c| row[c].as_str()));
        for &aside in asides.iter().filter(|&&c| !row[c].is_empty()) {
            table.add_row([ASIDE]);
            told.push(aside_lines(columns[aside].0, &row[aside]));
        }
    }
    let mut told = told.into_iter();
    let lines = output::trimmed(&table);
    let lines =
        lines.lines().map(|line| if line.contains(ASIDE) { told.next().unwrap_or_default() } else { line.into() });
    lines.collect::<Vec<String>>().join("\n")
}

fn aside_lines(heading: &str, text: &str) -> String {
    let first = if heading.is_empty() { "    ".to_owned() } else { format!("    {heading}: ") };
    wrap::hanging(&first, text, first.len(), LEFT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pb;

    #[test]
    fn every_column_is_a_field_of_the_contract() {
        let messages = [
            "ItineraryItem",
            "AgreementAction",
            "Statement",
            "ExerciseParticipant",
            "ExerciseStage",
            "Progress",
            "Posting",
            "RankHeld",
        ];
        for message in messages {
            let descriptor = pb::descriptor(message);
            for name in columns(message).unwrap().iter().flat_map(|column| column.1) {
                assert!(descriptor.get_field_by_name(name).is_some(), "{message}.{name}");
            }
        }
    }

    #[test]
    fn a_section_fits_the_page_and_notes_have_lines_of_their_own() {
        let visit = pb::descriptor("Visit");
        let note = format!("The wording is ambiguous{}", ", and long".repeat(20));
        let item = json!({"key": "k".repeat(40), "kind": "ITINERARY_KIND_FACILITY_TOUR", "note": note,
                          "place": {"asStated": "Command Posts of the Ministry and the Air Force ".repeat(3)}});
        let record = json!({"itinerary": [item.clone(), item]});
        let table = section(&visit.get_field_by_name("itinerary").unwrap(), &record).unwrap();
        assert!(table.lines().all(|line| line.chars().count() <= 98), "{table}");
        assert_eq!(table.matches("\n    The wording is ambiguous").count(), 2, "{table}");
        assert!(!table.contains(ASIDE), "{table}");
    }

    #[test]
    fn a_programme_is_a_table_of_what_is_stated() {
        let visit = pb::descriptor("Visit");
        let record = json!({"itinerary": [
            {"key": "wreath-laying", "kind": "ITINERARY_KIND_WREATH_LAYING", "day": 2,
             "honours": [{"nameAsStated": "Heydar Aliyev"}]},
        ]});
        let field = visit.get_field_by_name("itinerary").unwrap();
        let table = section(&field, &record).unwrap();
        assert!(table.contains("wreath laying") && table.contains("Heydar Aliyev"), "{table}");
        assert!(!table.contains("STATUS"), "nothing states a status: {table}");
        assert!(table.contains("\n    in honour of: Heydar Aliyev\n    key: wreath-laying"), "{table}");
        assert!(section(&field, &json!({})).is_none());
    }
}
