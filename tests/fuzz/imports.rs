//! Files of outside formats: every row of them is an item, a repetition or a refusal at its line, and nothing is lost.

use std::{collections::BTreeSet, sync::LazyLock};

use attache::import::{
    self, File, Import, Kind, Outcome, States,
    batch::{Batches, Run},
    text::{decode, decode_latin, without_comments},
};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    draw::Draw,
    harness::{Kept, Target},
    messages,
};

static STATES: LazyLock<States> = LazyLock::new(States::built_in);

/// Values of any column: days that are none, entities, other encodings, what is missing.
const VALUES: &[&str] = &[
    "7",
    "8",
    "7",
    "2001-02-03",
    "2001-02-04",
    "2001-02-30",
    "1980",
    "xx",
    "France",
    "Hawaii",
    "Ruritania",
    "President A",
    "State visit. Saw the sea.",
    "-9",
    "",
    "1",
    "0",
    "C\u{c3}\u{b4}te",
    "&amp;",
    "&#65533;",
    "a\u{1}",
    "01/02/1950",
    "United Kingdom",
    "UNITED KINGDOM ; CHINA P R",
    "Ä Ö",
];
const XML_PARTS: &[&str] =
    &["<visit>", "</visit>", "<id>7</id>", "&lt;", "<!-- -->", "<![CDATA[", "]]>", "</visits>", "<trip>"];
const CSV_PARTS: &[&str] = &["\"", ",", "\r\n", "\n", "\u{feff}", "7", "-9", "\"\"", "xx"];
const JSON_PARTS: &[&str] = &["{", "}", "[", "]", "\"", ":", ",", "\n", "null", "// a\n", "\"id\":", "7"];

/// A target whose inputs are files of one format, as they are.
const fn of_files(
    name: &'static str,
    words: &'static [&'static str],
    input: fn(&mut Draw<'_>) -> Vec<u8>,
    promise: fn(&[u8]) -> Kept,
) -> Target {
    Target { name, message: "", words, input, promise, few: 500 }
}

pub const VISITS: Target = of_files("import-visits", XML_PARTS, visits, |input| promise(Kind::Visits, input));
pub const HISTORY: Target =
    of_files("import-history", JSON_PARTS, history, |input| promise(Kind::VisitsHistory, input));
pub const TRAVELS: Target = of_files("import-travels", XML_PARTS, travels, |input| promise(Kind::Travels, input));
pub const TREATIES: Target =
    of_files("import-treaties", JSON_PARTS, treaties, |input| promise(Kind::UkTreaties, input));
pub const MME: Target = of_files("import-mme", CSV_PARTS, exercises, |input| promise(Kind::Mme, input));
pub const REPORTS: Target =
    Target { few: 300, ..of_files("import-reports", JSON_PARTS, reports, |input| promise(Kind::Reports, input)) };

#[test]
fn every_visit_of_a_list_is_sent_or_refused() {
    VISITS.run();
}

#[test]
fn every_act_of_a_history_is_sent_or_refused() {
    HISTORY.run();
}

#[test]
fn every_journey_is_sent_or_refused() {
    TRAVELS.run();
}

#[test]
fn every_treaty_is_sent_or_refused() {
    TREATIES.run();
}

#[test]
fn every_exercise_is_sent_or_refused() {
    MME.run();
}

#[test]
fn every_report_of_a_file_is_sent_or_refused() {
    REPORTS.run();
}

fn visits(draw: &mut Draw<'_>) -> Vec<u8> {
    let fields = ["id", "start-date", "end-date", "visitor", "from", "description", "created-by", "colour"];
    if draw.once_in(2) { csv(draw, &fields) } else { xml(draw, "visits", "visit", &fields) }
}

fn history(draw: &mut Draw<'_>) -> Vec<u8> {
    let line = |draw: &mut Draw<'_>| {
        let ops = ["asserted", "asserted", "corrected", "removed", "forgotten"];
        let days = ["2015-10-01", "2015-10-02", "2020-11-19"];
        let mut line = json!({
            "recorded_at": format!("{}T10:00:00-04:00", draw.of(&days)),
            "op": draw.of(&ops),
            "id": draw.of(&["7", "8"]),
        });
        let states = ["France", "Spain", "Ruritania"];
        let visitors = ["President A", "King B", ""];
        if draw.once_in(2) {
            line["record"] = json!({
                "start-date": draw.of(&["2001-01-02", "1990-01-02"]),
                "end-date": "2001-01-03",
                "visitor": draw.of(&visitors),
                "from": draw.of(&states),
            });
        } else {
            line["changes"] = json!({
                "visitor": [draw.of(&visitors), draw.of(&visitors)],
                "from": [draw.of(&states), draw.of(&states)],
                "start-date": ["2001-01-02", draw.of(&["1990-01-02", "2001-01-02"])],
            });
        }
        line.to_string()
    };
    lines(&draw.list(6, line))
}

fn travels(draw: &mut Draw<'_>) -> Vec<u8> {
    let fields = ["id", "name", "role", "country", "locale", "remarks", "start-date", "end-date"];
    xml(draw, "trips", "trip", &fields)
}

fn treaties(draw: &mut Draw<'_>) -> Vec<u8> {
    let fields = [
        "id",
        "uuid",
        "title",
        "country_name",
        "signed_event_date",
        "signed_event_location",
        "definative_eif_event_date",
        "terminated_event_effective_date",
        "references",
        "subject",
        "field3",
        "document_url",
        "colour",
    ];
    let special = [
        "UNITED KINGDOM ; FRANCE",
        "CHINA P R ; Gibraltar ; UNITED NATIONS",
        "08/07/1943",
        "31/02/1943",
        "BI",
        "MULTI",
        "UN Registration United/0: 12 34;Treaty Series 014/1958: Cmnd 406||https://x/y.pdf",
        "https://x\\b\\c.html",
        "Exchange of Notes between",
        "Supplementary Protocol about nothing",
    ];
    let line = |draw: &mut Draw<'_>| {
        let mut line = json!({ "id": draw.number(3), "title": "Treaty", "country_name": "FRANCE" });
        for field in fields {
            if draw.once_in(3) {
                line[field] = if draw.once_in(3) { draw.of(VALUES).into() } else { draw.of(&special).into() };
            }
        }
        line.to_string()
    };
    lines(&draw.list(4, line))
}

fn exercises(draw: &mut Draw<'_>) -> Vec<u8> {
    let fields = [
        "MMEID",
        "Ex_Name",
        "s.year",
        "s.month",
        "s.day",
        "StartDate",
        "e.year",
        "e.month",
        "e.day",
        "EndDate",
        "CPX",
        "Air",
        "Cyber",
        "Warfighting",
        "Location",
        "lat",
        "StateA",
        "StateB",
        "colour",
    ];
    let file = csv(draw, &fields);
    // The set is called Latin-1.
    if draw.once_in(3) { file.into_iter().map(|b| if b == b'a' { 0xe9 } else { b }).collect() } else { file }
}

fn reports(draw: &mut Draw<'_>) -> Vec<u8> {
    let report = |draw: &mut Draw<'_>| serde_json::to_value(messages::report(draw)).unwrap_or_default();
    let reports = draw.list(3, report);
    match draw.number(3) {
        0 => lines(&reports.iter().map(ToString::to_string).collect::<Vec<_>>()),
        1 => json!(reports).to_string().into_bytes(),
        _ => json!({ "reports": reports, "intent": "INTENT_CORRECTION", "requestId": "r" }).to_string().into_bytes(),
    }
}

fn lines(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>().into_bytes()
}

/// A table with most of these columns. The ids stand first.
fn csv(draw: &mut Draw<'_>, fields: &[&str]) -> Vec<u8> {
    let (ending, quote) = (draw.of(&["\n", "\r\n"]), draw.of(&["", "\""]));
    let mut table = format!("{}{ending}", fields.join(","));
    for _ in 0..draw.number(4) {
        let cells = fields.iter().map(|field| format!("{quote}{}{quote}", cell(draw, field)));
        table.push_str(&cells.collect::<Vec<_>>().join(","));
        table.push_str(ending);
    }
    table.into_bytes()
}

fn xml(draw: &mut Draw<'_>, root: &str, row: &str, fields: &[&str]) -> Vec<u8> {
    let mut text = format!("<{root}>\n");
    for _ in 0..draw.number(4) {
        text.push_str(&format!("<{row}>"));
        for field in fields {
            if !draw.once_in(12) {
                let value = cell(draw, field).replace("&a", "&amp;a");
                text.push_str(&format!("<{field}>{value}</{field}>\n"));
            }
        }
        text.push_str(&format!("</{row}>\n"));
    }
    format!("{text}</{root}>").into_bytes()
}

/// What a column mostly has.
fn cell(draw: &mut Draw<'_>, field: &str) -> &'static str {
    if draw.once_in(6) {
        return draw.of(VALUES);
    }
    match field {
        "id" => draw.of(&["7", "8", "9"]),
        "MMEID" => draw.of(&["mme7", "mme8"]),
        "from" | "country" | "StateA" => draw.of(&["France", "Hawaii", "Korea"]),
        "StateB" => draw.of(&["-9", "South Korea", "France"]),
        "role" => draw.of(&["president", "secretary"]),
        "visitor" | "name" | "Ex_Name" => draw.of(&["President A", "King B"]),
        "start-date" | "end-date" => draw.of(&["2001-02-03", "2001-02-04"]),
        "s.year" | "e.year" => draw.of(&["1980", "1981"]),
        "s.month" | "s.day" | "e.month" | "e.day" => draw.of(&["1", "12", "xx"]),
        "CPX" | "Air" | "Cyber" | "Warfighting" => draw.of(&["0", "1"]),
        "StartDate" | "EndDate" => draw.of(&["", "1980-01-xx", "1/12/80"]),
        _ => draw.of(&["", "words", "State visit."]),
    }
}

fn promise(kind: Kind, input: &[u8]) -> Kept {
    let file = File { name: "f".to_owned(), bytes: input.to_vec() };
    let import = match import::read(kind, &[file], &STATES) {
        Ok(import) => import,
        Err(error) => {
            let told = error.to_string();
            prop_assert!(told.starts_with("f:"), "{} names no file", told);
            return Ok(());
        }
    };
    if let Some(count) = rows_of(kind, input) {
        prop_assert_eq!(import.rows.len(), count, "rows of the file");
    }
    check_rows(&import, input)?;
    check_batches(&import)
}

fn check_rows(import: &Import, input: &[u8]) -> Kept {
    let last_line = 1 + input.iter().filter(|b| **b == b'\n').count() as u64;
    let mut line = 1;
    for row in &import.rows {
        prop_assert_eq!(&row.place.file, "f");
        prop_assert!(
            (line..=last_line).contains(&row.place.line),
            "{} after line {} of {}",
            row.place,
            line,
            last_line
        );
        line = row.place.line;
        match &row.outcome {
            Outcome::Items(items) => prop_assert!(!items.is_empty(), "{} is nothing", row.place),
            Outcome::Refused(why) => prop_assert!(!why.is_empty(), "{} is refused for nothing", row.place),
            Outcome::Repeats(place) => {
                let of = import.rows.iter().find(|other| other.place == *place);
                let is_sent = of.is_some_and(|other| matches!(other.outcome, Outcome::Items(_)));
                prop_assert!(is_sent, "{} repeats {}, which is not sent", row.place, place);
            }
        }
    }
    Ok(())
}

/// Every item is in one batch, in the order of the rows, and every batch has its own id.
fn check_batches(import: &Import) -> Kept {
    let items = |row: &import::Row| if let Outcome::Items(items) = &row.outcome { items.clone() } else { Vec::new() };
    let of_rows: Vec<_> = import.rows.iter().flat_map(items).collect();
    let batches: Vec<_> = Batches::of(import, Run { id: "r".to_owned(), validate_only: false }).collect();
    let ids: BTreeSet<&str> = batches.iter().map(|b| b.request.request_id.as_str()).collect();
    prop_assert_eq!(ids.len(), batches.len());
    let of_batches: Vec<_> = batches.iter().flat_map(|b| b.request.items.iter().cloned()).collect();
    prop_assert!(of_batches == of_rows, "{} items of {}", of_batches.len(), of_rows.len());
    Ok(())
}

/// How many rows a file has, counted by its format alone; `None` if it has several formats or is none.
fn rows_of(kind: Kind, input: &[u8]) -> Option<usize> {
    let text = if kind == Kind::Mme { decode_latin(input) } else { decode(input).ok()? };
    match kind {
        Kind::VisitsHistory | Kind::UkTreaties => Some(text.lines().filter(|line| !line.trim().is_empty()).count()),
        Kind::Visits | Kind::Travels if text.trim_start().starts_with('<') => {
            let document = roxmltree::Document::parse(&text).ok()?;
            let root = document.root_element();
            let is_passed = root.tag_name().name() == "code-table";
            Some(if is_passed { 0 } else { root.children().filter(roxmltree::Node::is_element).count() })
        }
        Kind::Visits | Kind::Mme => {
            let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
            Some(reader.records().count())
        }
        Kind::Travels => None,
        Kind::Reports => {
            let text = without_comments(&text);
            let values = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
            let count = |value: serde_json::Value| match &value {
                serde_json::Value::Array(reports) => reports.len(),
                value => value["reports"].as_array().map_or(1, Vec::len),
            };
            Some(values.map_while(Result::ok).map(count).sum())
        }
    }
}
