//! Files of reports: one request, one report, an array or lines of reports, with `//` comment lines.

use std::{fs, io::Read as _, path::Path};

use prost::Message as _;
use serde_json::{Deserializer, Value};

use super::{error::CliError, typos};
use crate::pb::v1::{FileReportsRequest, Report};

/// At most this many reports in one filing.
const MAX_REPORTS: usize = 1000;

/// At most this many bytes of reports in one filing: what one entry of the log holds, with room for its frame.
const MAX_FILING_BYTES: usize = 768 * 1024;

/// Reads a file, or standard input for `-`.
///
/// # Errors
///
/// [`CliError::Usage`] if it cannot be read.
pub fn read(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    read.map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))
}

/// The filings a text asks for. One request is kept whole; loose reports are gathered into as few as fit.
///
/// # Errors
///
/// Line, column and reason.
pub fn parse(text: &str) -> Result<Vec<FileReportsRequest>, String> {
    let text = without_comments(text);
    let mut requests = Vec::new();
    let mut reports = Vec::new();
    for value in values(&text)? {
        match value {
            Item::Request(request) => requests.push(*request),
            Item::Reports(mut more) => reports.append(&mut more),
        }
    }
    requests.extend(gather(reports));
    if requests.is_empty() { Err("there is nothing to file in it".into()) } else { Ok(requests) }
}

/// Empties the lines that begin with `//`, so that line numbers stay what they were.
#[must_use]
pub fn without_comments(text: &str) -> String {
    let kept = |line| {
        if str::trim_start(line).starts_with("//") { "" } else { line }
    };
    text.split('\n').map(kept).collect::<Vec<_>>().join("\n")
}

enum Item {
    Request(Box<FileReportsRequest>),
    Reports(Vec<Report>),
}

fn values(text: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut stream = Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let start = stream.byte_offset();
        let Some(value) = stream.next() else { return Ok(items) };
        let value = value.map_err(|e| e.to_string())?;
        items.push(item(&value, text, start, stream.byte_offset())?);
    }
}

/// The contract's own reader finds unknown fields; it is given the value at its place in the text, so that it
/// counts lines as the file does.
fn item(value: &Value, text: &str, start: usize, end: usize) -> Result<Item, String> {
    let lines_before = "\n".repeat(text[..start].matches('\n').count());
    let own = &text[start..end];
    match value {
        Value::Array(_) => {
            let wrapped = format!("{lines_before}{{\"reports\":{own}}}");
            typos::from_json("FileReportsRequest", &wrapped).map(|r: FileReportsRequest| Item::Reports(r.reports))
        }
        Value::Object(fields) if fields.contains_key("reports") => {
            typos::from_json("FileReportsRequest", &format!("{lines_before}{own}"))
                .map(|request| Item::Request(Box::new(request)))
        }
        Value::Object(_) => {
            typos::from_json("Report", &format!("{lines_before}{own}")).map(|report| Item::Reports(vec![report]))
        }
        _ => Err(format!("line {}: a report, a list of reports or a request is expected", lines_before.len() + 1)),
    }
}

fn gather(reports: Vec<Report>) -> Vec<FileReportsRequest> {
    let mut requests: Vec<FileReportsRequest> = Vec::new();
    let mut bytes = 0;
    for report in reports {
        let size = report.encoded_len();
        match requests.last_mut() {
            Some(last) if last.reports.len() < MAX_REPORTS && bytes + size <= MAX_FILING_BYTES => {
                last.reports.push(report);
                bytes += size;
            }
            _ => {
                requests.push(FileReportsRequest { reports: vec![report], ..FileReportsRequest::default() });
                bytes = size;
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"record":"visits/x","source":{"name":"sources/s"},"visit":{"type":"VISIT_TYPE_STATE"}}"#;

    #[test]
    fn whole_line_comments_go_and_lines_keep_their_numbers() {
        assert_eq!(without_comments("// a\n{\n  //b\n}\n"), "\n{\n\n}\n");
        let uri = r#"{"uri": "https://example.org"} // not a whole line"#;
        assert_eq!(without_comments(uri), uri, "only whole lines are comments");
    }

    #[test]
    fn a_request_is_kept_whole() {
        let requests =
            parse(&format!(r#"{{"source":{{"name":"sources/s"}},"reports":[{REPORT}],"requestId":"r"}}"#)).unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].request_id.as_deref(), Some("r"));
        assert_eq!(requests[0].source.as_ref().unwrap().name, "sources/s");
    }

    #[test]
    fn a_report_lines_of_reports_and_an_array_are_one_filing() {
        for text in [REPORT.to_owned(), format!("{REPORT}\n// two\n{REPORT}\n"), format!("[{REPORT},\n{REPORT}]")] {
            let requests = parse(&text).unwrap();
            assert_eq!(requests.len(), 1, "{text}");
            assert!(requests[0].reports.iter().all(|r| r.record == "visits/x"));
        }
    }

    #[test]
    fn too_many_reports_for_one_filing_make_several() {
        let lines = vec![REPORT; 2500].join("\n");
        let counts: Vec<_> = parse(&lines).unwrap().iter().map(|r| r.reports.len()).collect();
        assert_eq!(counts, [1000, 1000, 500]);
    }

    #[test]
    fn errors_name_the_line_of_the_file() {
        let text = format!("// comment\n{REPORT}\n{{\"record\":\"visits/y\",\n\"vist\":{{}}}}\n");
        let error = parse(&text).unwrap_err();
        assert!(error.contains("line 4"), "{error}");
        let error = parse("\n\n{\"record\" \"x\"}").unwrap_err();
        assert!(error.contains("line 3"), "{error}");
        assert!(parse("// nothing\n").is_err());
        assert!(parse("4711").is_err());
    }
}
