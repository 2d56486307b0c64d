//! Messages as rows of CSV.
//!
//! A cell holds what the contract's JSON has at some path: codes and names as they are, dates in EDTF, words of
//! vocabularies as the flags take them (`official-working`). Several values stand in one cell, `; ` between them; who
//! has to take them apart again takes NDJSON.

use prost_reflect::{FieldDescriptor, Kind as FieldKind, MessageDescriptor};
use serde_json::Value;

use super::{
    columns::{
        self,
        Cell::{self, All, Each, Either, What, Which},
        Column,
    },
    error::CliError,
    kinds::Kind,
    output::Out,
    view::summary,
    words,
};
use crate::pb;

/// Between the values of one cell.
const BETWEEN: &str = "; ";

/// A sheet of CSV: which columns it has, and the message that a row is made of.
#[derive(Debug)]
pub struct Sheet {
    message: MessageDescriptor,
    columns: Vec<Column>,
}

impl Sheet {
    /// Of records of one kind.
    #[must_use]
    pub fn of_kind(kind: Kind) -> Self {
        let own = match kind {
            Kind::Visit => columns::VISIT,
            Kind::Meeting => columns::MEETING,
            Kind::Agreement => columns::AGREEMENT,
            Kind::Exercise => columns::EXERCISE,
            Kind::Person => columns::PERSON,
            Kind::Organization => columns::ORGANIZATION,
            Kind::Place => columns::PLACE,
        };
        Self { message: pb::descriptor(kind.message()), columns: [columns::HEAD, own, columns::INFO].concat() }
    }

    /// Of records of several kinds, this one among them: what they have in common.
    #[must_use]
    pub fn overview(kind: Kind) -> Self {
        Self { message: pb::descriptor(kind.message()), columns: [columns::OVERVIEW, columns::INFO].concat() }
    }

    /// Of sources.
    #[must_use]
    pub fn of_sources() -> Self {
        Self::of("Source", columns::SOURCE)
    }

    /// Of reports.
    #[must_use]
    pub fn of_reports() -> Self {
        Self::of("Report", columns::REPORT)
    }

    /// Of reports with whether they stand.
    #[must_use]
    pub fn of_listed_reports() -> Self {
        Self::of("ListedReport", columns::LISTED_REPORT)
    }

    /// Of events.
    #[must_use]
    pub fn of_events() -> Self {
        Self::of("Event", columns::EVENT)
    }

    /// Of revisions of a record.
    #[must_use]
    pub fn of_revisions() -> Self {
        Self::of("RevisionSummary", columns::REVISION)
    }

    fn of(message: &str, columns: &[Column]) -> Self {
        Self { message: pb::descriptor(message), columns: columns.to_vec() }
    }

    /// The headings.
    pub fn headings(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.columns.iter().map(|(heading, _)| *heading)
    }

    /// The cells of a message in canonical JSON.
    #[must_use]
    pub fn row(&self, value: &Value) -> Vec<String> {
        self.columns.iter().map(|(_, cell)| cell.text(&self.message, value)).collect()
    }
}

/// Writes a whole sheet.
///
/// # Errors
///
/// When it cannot be written.
pub fn write<M: prost::Message>(out: &mut Out, sheet: &Sheet, message: &str, rows: &[M]) -> Result<(), CliError> {
    out.line(line(sheet.headings())?)?;
    rows.iter().try_for_each(|row| out.line(line(sheet.row(&pb::to_json(message, row)))?))
}

/// One line of CSV, without its end; quotes stand where they have to.
///
/// # Errors
///
/// [`CliError::Output`] if it cannot be written to memory.
pub fn line<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>) -> Result<String, CliError> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(cells).map_err(|error| CliError::Output(error.into()))?;
    let bytes = writer.into_inner().map_err(|error| CliError::Output(error.into_error()))?;
    let mut line = String::from_utf8_lossy(&bytes).into_owned();
    line.truncate(line.trim_end_matches('\n').len());
    Ok(line)
}

impl Cell {
    fn text(self, message: &MessageDescriptor, value: &Value) -> String {
        let mut parts = Vec::new();
        match self {
            All(path) => walk(message, path, value, &mut |field, value| parts.extend(scalar(field, value))),
            Either(path, fields) => messages(message, path, value, &mut |message, value| {
                parts.extend(fields.iter().map(|f| All(f).text(message, value)).find(|t| !t.is_empty()));
            }),
            Each(path, fields) => messages(message, path, value, &mut |message, value| {
                let stated = fields.iter().map(|f| All(f).text(message, value)).filter(|t| !t.is_empty());
                parts.push(stated.collect::<Vec<_>>().join(" "));
            }),
            What => parts.extend(kind_of(message).map(|kind| summary::one_line(kind, value))),
            Which(fields) => parts.extend(fields.iter().find(|f| value.get(**f).is_some()).map(|f| (*f).to_owned())),
        }
        parts.retain(|part| !part.is_empty());
        parts.join(BETWEEN)
    }
}

fn kind_of(message: &MessageDescriptor) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.message() == message.name())
}

/// Gives each value at the end of the path, with its field.
fn walk(message: &MessageDescriptor, path: &str, value: &Value, take: &mut dyn FnMut(&FieldDescriptor, &Value)) {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let Some(field) = message.get_field_by_name(first) else { return };
    let Some(value) = value.get(field.json_name()) else { return };
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    for value in values {
        match field.kind() {
            FieldKind::Message(inner) if !rest.is_empty() => walk(&inner, rest, value, take),
            _ => take(&field, value),
        }
    }
}

fn messages(message: &MessageDescriptor, path: &str, value: &Value, take: &mut dyn FnMut(&MessageDescriptor, &Value)) {
    walk(message, path, value, &mut |field, value| {
        if let FieldKind::Message(inner) = field.kind() {
            take(&inner, value);
        }
    });
}

/// A value without parts, or one of the messages that are as good as a text.
fn scalar(field: &FieldDescriptor, value: &Value) -> Option<String> {
    Some(match (field.kind(), value) {
        (FieldKind::Enum(vocabulary), Value::String(name)) => words::typed(&vocabulary, name),
        (_, Value::String(text)) => text.clone(),
        (_, Value::Number(_) | Value::Bool(_)) => value.to_string(),
        (FieldKind::Message(message), Value::Object(fields)) => {
            let text = match message.name() {
                "EdtfDate" => "edtf",
                "Text" | "Title" | "Name" => "text",
                _ => return None,
            };
            fields.get(text)?.as_str()?.to_owned()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sheets() -> Vec<Sheet> {
        let records = Kind::ALL.into_iter().flat_map(|kind| [Sheet::of_kind(kind), Sheet::overview(kind)]);
        let others = [Sheet::of_sources(), Sheet::of_reports(), Sheet::of_listed_reports(), Sheet::of_events()];
        records.chain(others).chain([Sheet::of_revisions()]).collect()
    }

    /// The field at the end of a path.
    fn end(message: &MessageDescriptor, path: &str) -> FieldDescriptor {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let field = message.get_field_by_name(first).unwrap_or_else(|| panic!("{first} of {path} is no field"));
        if rest.is_empty() { field } else { end(field.kind().as_message().expect("what has parts is a message"), rest) }
    }

    #[test]
    fn every_column_is_a_value_of_the_contract_and_has_a_heading_of_its_own() {
        for sheet in sheets() {
            let mut headings: Vec<_> = sheet.headings().collect();
            headings.sort_unstable();
            headings.dedup();
            assert_eq!(headings.len(), sheet.columns.len(), "{}", sheet.message.name());
            for (_, cell) in &sheet.columns {
                match cell {
                    All(path) => {
                        end(&sheet.message, path);
                    }
                    Either(path, fields) | Each(path, fields) => {
                        let field = end(&sheet.message, path);
                        let inner = field.kind().as_message().cloned().unwrap();
                        fields.iter().for_each(|name| drop(end(&inner, name)));
                    }
                    What => {}
                    Which(fields) => fields.iter().for_each(|name| drop(end(&sheet.message, name))),
                }
            }
        }
    }

    #[test]
    fn the_readme_names_every_column_in_order() {
        let readme = include_str!("../../README.md");
        let own = Kind::ALL.map(|kind| (kind.collection(), Sheet::of_kind(kind)));
        let others = [
            ("records of several kinds", Sheet::overview(Kind::Visit)),
            ("reports", Sheet::of_reports()),
            ("reports of a record", Sheet::of_listed_reports()),
            ("sources", Sheet::of_sources()),
            ("events", Sheet::of_events()),
            ("history", Sheet::of_revisions()),
        ];
        for (what, sheet) in own.into_iter().chain(others) {
            let names = names(&sheet.columns).replace(&names(columns::INFO), "…");
            let row = format!("| {what} | `{names}` |");
            assert!(readme.contains(&row), "README.md lacks this row:\n{row}");
        }
        assert!(readme.contains(&format!("`{}`", names(columns::INFO))), "README.md lacks what … stands for");
    }

    fn names(columns: &[Column]) -> String {
        columns.iter().map(|(heading, _)| *heading).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_row_shows_words_dates_and_lists() {
        let visit = json!({
            "name": "visits/v", "type": "VISIT_TYPE_OFFICIAL_WORKING", "start": {"edtf": "2023-10~"},
            "guests": [{"state": "KZ", "head": {"nameAsStated": "Жақсылықов"}}, {"state": "UZ"}],
            "titles": [{"text": "a"}, {"text": "b; c"}],
            "info": {"status": {"status": "STATUS_TOOK_PLACE", "certainty": "CERTAINTY_INFERRED"}, "revision": "12"},
        });
        let sheet = Sheet::of_kind(Kind::Visit);
        let row = sheet.row(&visit);
        let cell = |heading| row[sheet.headings().position(|h| h == heading).unwrap()].as_str();
        assert_eq!(cell("type"), "official-working");
        assert_eq!(cell("start"), "2023-10~");
        assert_eq!((cell("guests"), cell("guest_heads")), ("KZ; UZ", "Жақсылықов"));
        assert_eq!(cell("titles"), "a; b; c");
        assert_eq!((cell("status"), cell("certainty"), cell("revision")), ("took-place", "inferred", "12"));
        assert_eq!(cell("end"), "");
    }

    #[test]
    fn an_act_stands_with_its_date_and_a_report_with_its_kind() {
        let plan = json!({"actions": [{"type": "ACTION_TYPE_SIGNED", "date": {"edtf": "2023-10-06"}}, {"key": "x"}]});
        let sheet = Sheet::of_kind(Kind::Agreement);
        assert!(sheet.row(&plan).contains(&"signed 2023-10-06".to_owned()));
        let sheet = Sheet::of_reports();
        assert!(sheet.row(&json!({"agreement": {}})).contains(&"agreement".to_owned()));
    }

    #[test]
    fn awkward_text_comes_back_from_csv_as_it_went_in() {
        let rows = [
            vec!["name".to_owned(), "note".to_owned()],
            vec!["a \"quoted\" word".to_owned(), "two\nlines\r\nor three\n".to_owned()],
            vec!["Жақсылықов, Руслан; Həsənov".to_owned(), String::new()],
            vec![String::new(), " a,b;c\t'd' ".to_owned()],
        ];
        let text = rows.iter().map(|row| line(row).unwrap() + "\n").collect::<String>();
        let read: Vec<Vec<String>> = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(text.as_bytes())
            .records()
            .map(|record| record.unwrap().iter().map(str::to_owned).collect())
            .collect();
        assert_eq!(read, rows);
    }
}
