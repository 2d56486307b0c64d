//! `reports`: our own JSON, as `attache file` reads it: a request, a report, a list or lines of reports, with `//` comment
//! lines. Of a request its source, intent and time are kept; its request id is not, because each batch has its own.

use serde_json::{Deserializer, Value};

use super::{Error, File, Import, Kind, Outcome, Place, Row, Terms, fields, filed, text};
use crate::pb::{
    self,
    v1::{self, FileReportsRequest, Report},
};

/// Reads JSON.
///
/// # Errors
///
/// The first file that is not, or is cut off. A report that the contract does not know is refused by itself.
pub fn read(files: &[File]) -> Result<Import, Error> {
    let mut rows = Vec::new();
    for file in files {
        let content = fields::utf8(Kind::Reports, file)?;
        let content = text::without_comments(&content);
        let before = rows.len();
        values(file, &content, &mut rows)?;
        if rows.len() == before {
            return Err(Error::wrong(Kind::Reports, &file.name, "there is nothing in it"));
        }
    }
    Ok(Import { source: None, rows, left_out: &[("requestId", "each batch has its own")], passed: Vec::new() })
}

fn values(file: &File, text: &str, rows: &mut Vec<Row>) -> Result<(), Error> {
    let mut stream = Deserializer::from_str(text).into_iter::<Value>();
    let (mut counted, mut line) = (0, 1_u64);
    loop {
        let start = stream.byte_offset();
        let start = start + text[start..].len() - text[start..].trim_start().len();
        line += text[counted..start].bytes().filter(|b| *b == b'\n').count() as u64;
        counted = start;
        match stream.next() {
            None => return Ok(()),
            Some(Ok(value)) => value_rows(file, line, value, rows)?,
            Some(Err(error)) if error.is_eof() => {
                return Err(Error::Truncated {
                    file: file.name.clone(),
                    line: error.line() as u64,
                    found: error.to_string(),
                });
            }
            Some(Err(error)) => {
                return Err(Error::wrong(Kind::Reports, &file.name, format!("it is no JSON: {error}")));
            }
        }
    }
}

fn value_rows(file: &File, line: u64, value: Value, rows: &mut Vec<Row>) -> Result<(), Error> {
    let place = |id: String| Place { file: file.name.clone(), line, id };
    match value {
        Value::Array(values) => {
            let each = values.iter().enumerate();
            rows.extend(each.map(|(i, v)| loose(place(format!("[{i}]")), v, None, Terms::default())));
            Ok(())
        }
        Value::Object(fields) if fields.contains_key("reports") => request(fields, &place, rows)
            .map_err(|found| Error::wrong(Kind::Reports, &format!("{}:{line}", file.name), found)),
        Value::Object(_) => {
            rows.push(loose(place(String::new()), &value, None, Terms::default()));
            Ok(())
        }
        _ => Err(Error::wrong(Kind::Reports, &format!("{}:{line}", file.name), "neither an object nor a list")),
    }
}

/// The reports of a request are read one by one, so that one of them can be refused alone.
fn request(
    mut fields: serde_json::Map<String, Value>,
    place: &dyn Fn(String) -> Place,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    let Some(Value::Array(reports)) = fields.remove("reports") else { return Err("reports is no list".to_owned()) };
    let frame: FileReportsRequest = pb::from_json("FileReportsRequest", &Value::Object(fields).to_string())?;
    if !frame.preconditions.is_empty() {
        return Err("an import knows no preconditions: use `attache file`".to_owned());
    }
    let terms = Terms { recorded_at: frame.recorded_at, intent: frame.intent(), ..Terms::default() };
    let each = reports.iter().enumerate();
    rows.extend(each.map(|(i, v)| loose(place(format!("reports[{i}]")), v, frame.source.as_ref(), terms)));
    Ok(())
}

fn loose(mut place: Place, value: &Value, shared: Option<&v1::Source>, terms: Terms) -> Row {
    let outcome = match pb::from_json::<Report>("Report", &value.to_string()) {
        Ok(mut report) => {
            place.id =
                if place.id.is_empty() { report.record.clone() } else { format!("{} {}", place.id, report.record) };
            report.source = report.source.or_else(|| shared.cloned());
            Outcome::Items(vec![filed(report)])
        }
        Err(why) => Outcome::Refused(why),
    };
    Row { place, terms, outcome, flags: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{States, read as read_kind};

    const REPORT: &str = r#"{"record":"visits/x","source":{"name":"sources/s","kind":"SOURCE_KIND_SECONDARY","publisher":{"nameAsStated":"P"}},"visit":{"type":"VISIT_TYPE_STATE"}}"#;

    fn rows(text: &str) -> Result<Vec<Row>, Error> {
        let file = File { name: "r.json".into(), bytes: text.as_bytes().to_vec() };
        read_kind(Kind::Reports, &[file], &States::built_in()).map(|import| import.rows)
    }

    #[test]
    fn a_report_lines_a_list_and_a_request_are_read() {
        let request = format!(r#"{{"intent":"INTENT_CORRECTION","requestId":"r","reports":[{REPORT}]}}"#);
        for (text, count) in [
            (REPORT.to_owned(), 1),
            (format!("// two\n{REPORT}\n{REPORT}\n"), 2),
            (format!("[{REPORT},{REPORT}]"), 2),
            (request.clone(), 1),
        ] {
            let rows = rows(&text).unwrap();
            assert_eq!(rows.len(), count, "{text}");
            assert!(rows.iter().all(|r| matches!(r.outcome, Outcome::Items(_))), "{rows:?}");
        }
        assert_eq!(rows(&request).unwrap()[0].terms.intent, v1::Intent::Correction);
    }

    #[test]
    fn a_report_that_is_not_known_is_refused_alone_and_by_its_line() {
        let rows = rows(&format!("{REPORT}\n\n{{\"record\":\"visits/y\",\"vist\":{{}}}}\n{REPORT}\n")).unwrap();
        let refused: Vec<_> = rows.iter().filter(|r| matches!(r.outcome, Outcome::Refused(_))).collect();
        assert_eq!((rows.len(), refused.len(), refused[0].place.line), (3, 1, 3));
    }

    #[test]
    fn what_is_cut_off_or_no_json_is_not_imported_at_all() {
        assert!(matches!(rows(&REPORT[..60]), Err(Error::Truncated { .. })));
        assert!(matches!(rows("id,visitor\n1,x\n"), Err(Error::WrongFormat { .. })));
        assert!(matches!(rows("// nothing\n"), Err(Error::WrongFormat { .. })));
    }
}
