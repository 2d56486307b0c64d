//! `historyatstate-visits`: visits of foreign leaders to the United States, as the Office of the Historian lists them.
//!
//! The list is one source: its publisher corrects and withdraws it as a whole. Its XML and its CSV name the same records
//! and say the same. Coverage is not complete: it is about leaders alone and in one direction, and nobody may read from
//! it that no minister came.

use super::{
    Error, File, Import, Kind, Row, States, data_set, edtf, external_id,
    fields::{self, Fields, Xml},
    note, visit_type,
};
use crate::pb::v1::{self, RecordKind, report::Content};

/// The spellings of the Department of State.
pub const SCOPE: &str = "historyatstate";

/// Columns that are about the list's own rows and not about visits.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("from-id", "the list's own key of the state that `from` names"),
    ("created-at", "when the row was typed"),
    ("modified-at", "when the row was last edited"),
    ("created-datetime", "when the row was typed"),
    ("last-modified-datetime", "when the row was last edited"),
    ("created-by", "who typed the row: a private name"),
    ("last-modified-by", "who last edited the row: a private name"),
];

/// The source of this list.
#[must_use]
pub fn source() -> v1::Source {
    let coverage = v1::Coverage {
        kinds: vec![RecordKind::Visit as i32],
        states: vec!["US".to_owned()],
        from: edtf("1874"),
        until: edtf("2024"),
        complete: false,
    };
    let publisher = "Office of the Historian, United States Department of State";
    data_set("historyatstate-visits", publisher, Some("https://github.com/HistoryAtState/visits"), coverage)
}

/// What the list says about one visit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// The list's id.
    pub id: String,
    /// The first day, YYYY-MM-DD.
    pub start: String,
    /// The last day, YYYY-MM-DD.
    pub end: String,
    /// Who came, with the office.
    pub visitor: String,
    /// From where, in the list's words.
    pub from: String,
    /// What is said about it.
    pub description: Option<String>,
}

/// The record of an id, as it is used now.
#[must_use]
pub fn record(id: &str) -> String {
    format!("visits/us-visit-{id}")
}

/// Reads XML and CSV.
///
/// # Errors
///
/// The first file that is neither, or is cut off.
pub fn read(files: &[File], states: &States) -> Result<Import, Error> {
    let mut import = Import { source: Some(source()), rows: Vec::new(), left_out: LEFT_OUT, passed: Vec::new() };
    for file in files {
        let text = fields::utf8(Kind::Visits, file)?;
        let rows = if text.trim_start().starts_with('<') {
            match fields::xml(Kind::Visits, file, &text, "visits")? {
                Xml::Rows(rows) => rows,
                Xml::Other(root) => {
                    return Err(Error::wrong(Kind::Visits, &file.name, format!("its root is <{root}>")));
                }
            }
        } else if text.trim_start().starts_with('{') {
            let found = "it is JSON; for the revision history say --from historyatstate-visits-history";
            return Err(Error::wrong(Kind::Visits, &file.name, found));
        } else {
            fields::csv(Kind::Visits, file, &text, &["id", "start-date", "end-date", "visitor", "from"])?
        };
        import.rows.extend(rows.into_iter().map(|row| one(&file.name, row, states)));
    }
    Ok(import)
}

fn one(file: &str, mut row: Fields, states: &States) -> Row {
    let place = row.place(file, row.peek("id"));
    let made = match row.fault.take() {
        Some(fault) => Err(fault),
        None => listed(&mut row).and_then(|listed| {
            let rest = row.rest(LEFT_OUT);
            report(&listed, &record(&listed.id), states, rest, &mut row)
        }),
    };
    Row::new(place, made, row.flags())
}

fn listed(row: &mut Fields) -> Result<Listed, String> {
    Ok(Listed {
        id: row.require("id")?,
        start: row.require("start-date")?,
        end: row.require("end-date")?,
        visitor: row.require("visitor")?,
        from: row.require("from")?,
        description: row.take("description"),
    })
}

/// The report of a visit, on this record.
///
/// # Errors
///
/// Why it cannot be understood.
pub fn report(
    listed: &Listed,
    record: &str,
    states: &States,
    rest: Vec<String>,
    row: &mut Fields,
) -> Result<v1::Report, String> {
    let state = states.of(SCOPE, &listed.from)?;
    if listed.end < listed.start {
        row.flag(format!("it ends on {}, before it starts on {}: kept as stated", listed.end, listed.start));
    }
    let mut lines: Vec<String> = listed.description.iter().cloned().collect();
    lines.extend(state.words_to_keep.map(|words| format!("From: {words}")));
    lines.extend(rest);
    let head = v1::PersonRef { name_as_stated: Some(listed.visitor.clone()), ..v1::PersonRef::default() };
    let (kind, kind_as_stated) = listed.description.as_deref().and_then(visit_type::stated).unzip();
    let visit = v1::Visit {
        external_ids: vec![external_id("historyatstate-visits", &listed.id)],
        note: note(lines),
        r#type: kind.unwrap_or_default() as i32,
        type_as_stated: kind_as_stated.into_iter().collect(),
        hosts: vec![v1::Side { state: "US".to_owned(), ..v1::Side::default() }],
        guests: vec![v1::Side { state: state.code, organization: None, head: Some(head) }],
        start: edtf(&listed.start),
        end: edtf(&listed.end),
        ..v1::Visit::default()
    };
    Ok(v1::Report { record: record.to_owned(), content: Some(Content::Visit(visit)), ..v1::Report::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{Outcome, read as read_kind};

    const CSV: &str = "id,start_date,end_date,visitor,from_id,from,description,created_at,modified_at\r\n\
        17,1901-02-03,1901-02-05,King X,hawaii,Hawaii,\"Working visit. Saw\r\n  the sea.\",2010-10-25T16:17:47-04:00,\r\n";
    const XML: &str = "<visits>\n<visit><id>17</id><start-date>1901-02-03</start-date><end-date>1901-02-05</end-date>\
        <visitor>King X</visitor><from id=\"hawaii\">Hawaii</from><description>Working visit. Saw\n    the sea.</description>\
        <created-by>somebody</created-by></visit>\n</visits>";

    fn rows(text: &str) -> Vec<Row> {
        let file = File { name: "f".into(), bytes: text.as_bytes().to_vec() };
        read_kind(Kind::Visits, &[file], &States::built_in()).unwrap().rows
    }

    #[test]
    fn the_csv_and_the_xml_of_a_visit_make_the_same_report() {
        let (csv, xml) = (rows(CSV), rows(XML));
        assert_eq!(csv[0].outcome, xml[0].outcome);
        let Outcome::Items(items) = &csv[0].outcome else { panic!("{csv:?}") };
        let Some(crate::pb::v1::import_item::Item::Report(report)) = &items[0].item else { panic!() };
        assert_eq!(report.record, "visits/us-visit-17");
        let Some(Content::Visit(visit)) = &report.content else { panic!() };
        assert_eq!(visit.guests[0].state, "x-hawaii");
        assert_eq!(visit.guests[0].head.as_ref().unwrap().name_as_stated.as_deref(), Some("King X"));
        assert_eq!(visit.r#type(), v1::VisitType::Working);
        assert_eq!(visit.note.as_deref(), Some("Working visit. Saw the sea."));
    }

    #[test]
    fn a_byte_order_mark_and_other_line_ends_change_nothing() {
        assert_eq!(rows(&format!("\u{feff}{CSV}"))[0].outcome, rows(&CSV.replace("\r\n", "\n"))[0].outcome);
    }

    #[test]
    fn a_state_that_is_not_known_refuses_the_row_and_names_the_words() {
        let row = rows(&CSV.replace(",Hawaii,", ",Ruritania,")).remove(0);
        assert!(matches!(&row.outcome, Outcome::Refused(why) if why.contains("Ruritania")), "{row:?}");
    }

    #[test]
    fn an_end_before_the_start_is_kept_and_flagged() {
        let row = rows(&CSV.replace("1901-02-05", "1901-02-01")).remove(0);
        assert!(matches!(row.outcome, Outcome::Items(_)));
        assert!(row.flags[0].contains("before it starts"), "{row:?}");
    }

    #[test]
    fn the_history_is_told_where_it_belongs() {
        let file = File { name: "f".into(), bytes: b"{\"op\":\"asserted\"}\n".to_vec() };
        let error = read_kind(Kind::Visits, &[file], &States::built_in()).unwrap_err();
        assert!(error.to_string().contains("historyatstate-visits-history"), "{error}");
    }
}
