//! `attache template`: a commented skeleton of a report, made from the contract so that it never goes stale.
//!
//! What is stated by default is the least that can be filed. Every other field stands in a comment, which is
//! taken away by deleting `//`; prose has a space after the slashes and stays a comment.

use clap::Args;
use prost_reflect::{FieldDescriptor, Kind as FieldKind, MessageDescriptor};

use super::{
    comments,
    error::CliError,
    kinds::Kind,
    output::{Format, Out},
    words,
    wrap::wrap,
};
use crate::pb;

/// Lines are about as wide as this.
const WIDTH: usize = 100;

/// Messages with more fields than this have a line for each.
const EXPLAINED_FROM: usize = 3;

/// Arguments of `attache template`.
#[derive(Debug, Clone, Args)]
pub struct TemplateArgs {
    /// What the report is about
    #[arg(value_enum)]
    kind: Kind,
}

/// Prints the skeleton.
///
/// # Errors
///
/// When it cannot be written.
pub fn run(args: &TemplateArgs) -> Result<(), CliError> {
    let mut out = Out::new(Format::Table);
    out.line(template(args.kind))?;
    out.flush()
}

/// The skeleton of a report about this kind of record.
#[must_use]
pub fn template(kind: Kind) -> String {
    let mut sheet = Sheet::default();
    sheet.prose(0, &comments::of_message(&pb::descriptor(kind.message())));
    sheet.prose(0, "Delete the // in front of what the source states, put in its values, and leave out all else.");
    sheet.prose(0, "Then: attache file --dry-run FILE, and attache file FILE. Lines that begin with // are not filed.");
    sheet.line(0, "{");
    source(&mut sheet);
    sheet.line(1, "\"reports\": [");
    sheet.line(2, "{");
    content(&mut sheet, kind);
    sheet.line(2, "}");
    sheet.line(1, "]");
    sheet.line(0, "}");
    sheet.lines.join("\n")
}

fn source(sheet: &mut Sheet) {
    let message = pb::descriptor("Source");
    sheet.prose(1, &comments::of_message(&message));
    sheet.line(1, "\"source\": {");
    // What is filed stands last: then each line before it may end with a comma, in a comment or not.
    let stated = [
        ("name", "\"sources/example-2024-01-31\","),
        ("publisher", "{ \"nameAsStated\": \"Example Ministry of Defence\" },"),
        ("kind", "\"SOURCE_KIND_PRIMARY_OFFICIAL\""),
    ];
    for field in shown(&message).filter(|field| stated.iter().all(|(name, _)| *name != field.name())) {
        sheet.commented(2, &field);
    }
    for (name, value) in stated {
        sheet.stated(2, &message, name, value);
    }
    sheet.line(1, "},");
}

fn content(sheet: &mut Sheet, kind: Kind) {
    let report = pb::descriptor("Report");
    let name = format!("{}/example", kind.collection());
    sheet.stated(3, &report, "record", &format!("\"{name}\","));
    for field in shown(&report).filter(|f| f.containing_oneof().is_none() && !["record", "source"].contains(&f.name()))
    {
        sheet.commented(3, &field);
    }
    sheet.stated(3, &report, kind.field(), "{");
    let message = pb::descriptor(kind.message());
    for field in shown(&message).filter(|field| field.name() != "name") {
        sheet.commented(4, &field);
    }
    sheet.stated(4, &message, "name", &format!("\"{name}\""));
    sheet.line(3, "}");
}

/// The fields that a filer may fill.
fn shown(message: &MessageDescriptor) -> impl Iterator<Item = FieldDescriptor> {
    message.fields().filter(|field| !comments::is_output_only(field)).collect::<Vec<_>>().into_iter()
}

#[derive(Default)]
struct Sheet {
    lines: Vec<String>,
}

impl Sheet {
    fn line(&mut self, depth: usize, text: &str) {
        self.lines.push(format!("{}{text}", "  ".repeat(depth)));
    }

    fn prose(&mut self, depth: usize, text: &str) {
        for line in wrap(text, WIDTH - 2 * depth) {
            self.line(depth, &format!("// {line}"));
        }
    }

    fn stated(&mut self, depth: usize, message: &MessageDescriptor, name: &str, value: &str) {
        let field = message.get_field_by_name(name).expect("the names above are fields of the contract");
        self.prose(depth, &explanation(&field));
        self.line(depth, &format!("\"{}\": {value}", field.json_name()));
    }

    fn commented(&mut self, depth: usize, field: &FieldDescriptor) {
        self.prose(depth, &explanation(field));
        let mut lines = member(field, WIDTH - 2 * depth, true);
        let last = lines.len() - 1;
        lines[last].push(',');
        for line in lines {
            self.line(depth, &format!("//{line}"));
        }
    }
}

/// The contract's comment, and the words of a vocabulary.
fn explanation(field: &FieldDescriptor) -> String {
    let comment = comments::of_field(field);
    let FieldKind::Enum(vocabulary) = field.kind() else {
        return comment;
    };
    let prefix = words::prefix(&vocabulary);
    let words: Vec<_> = vocabulary
        .values()
        .filter(|value| value.number() != 0)
        .map(|value| value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_owned())
        .collect();
    format!("{comment} {prefix}…: {}.", words.join(", "))
}

/// `"field": value`, over several lines if one is too narrow, or if its parts are to be `explained`.
fn member(field: &FieldDescriptor, width: usize, explained: bool) -> Vec<String> {
    let key = format!("\"{}\": ", field.json_name());
    let line = format!("{key}{}", inline(field));
    let FieldKind::Message(message) = field.kind() else {
        return vec![line];
    };
    let parts: Vec<_> = shown(&message).collect();
    if line.chars().count() <= width && !(explained && parts.len() > EXPLAINED_FROM) {
        return vec![line];
    }
    let (open, close) = if field.is_list() { ("[{", "}]") } else { ("{", "}") };
    let mut lines = vec![format!("{key}{open}")];
    for (index, part) in parts.iter().enumerate() {
        if explained {
            lines.extend(wrap(&explanation(part), width - 5).iter().map(|line| format!("  // {line}")));
        }
        lines.extend(member(part, width - 2, false).iter().map(|line| format!("  {line}")));
        if index + 1 < parts.len() {
            lines.last_mut().expect("the part's own line").push(',');
        }
    }
    lines.push(close.to_owned());
    lines
}

/// A value in one line.
fn inline(field: &FieldDescriptor) -> String {
    let one = match field.kind() {
        FieldKind::Message(message) => {
            let parts = shown(&message).map(|part| format!("\"{}\": {}", part.json_name(), inline(&part)));
            format!("{{ {} }}", parts.collect::<Vec<_>>().join(", "))
        }
        FieldKind::Enum(vocabulary) => {
            let first = vocabulary.values().find(|value| value.number() != 0);
            format!("\"{}\"", first.unwrap_or_else(|| vocabulary.default_value()).name())
        }
        FieldKind::String => format!("\"{}\"", placeholder(field.name())),
        FieldKind::Bool => "true".into(),
        FieldKind::Double | FieldKind::Float => "40.4".into(),
        _ => "1".into(),
    };
    if field.is_list() { format!("[{one}]") } else { one }
}

/// An example of what stands in a text of this name.
fn placeholder(name: &str) -> &'static str {
    match name {
        "state" | "states" => "AZ",
        "person" => "persons/example",
        "organization" | "parent" => "organizations/example",
        "place" | "within" => "places/example",
        "basis" => "agreements/example",
        "occasion" | "part_of" | "subject" | "mentions" => "visits/example",
        "record" | "target" => "agreements/example",
        "derived_from" => "sources/original",
        "edtf" | "published" => "2024-01-31",
        "language" | "languages" => "en",
        "script" => "Latn",
        "uri" | "text_uri" => "https://example.org/1",
        "scheme" => "wikidata",
        "series" => "example-series",
        "rank_as_stated" | "rank" => "Colonel General",
        "post_as_stated" | "post" => "Minister of Defence",
        "account" | "considered" => "organizations/example",
        _ => "…",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::input;

    /// Deletes the slashes in front of fields; prose, with its one space, stays a comment.
    fn with_every_field(template: &str) -> String {
        let uncomment = |line: &str| match line.split_once("//") {
            Some((before, field)) if before.trim().is_empty() && !is_prose(field) => format!("{before}{field}"),
            _ => line.to_owned(),
        };
        template.lines().map(uncomment).collect::<Vec<_>>().join("\n")
    }

    fn is_prose(comment: &str) -> bool {
        comment.starts_with(' ') && !comment.starts_with("  ")
    }

    #[test]
    fn every_template_parses_as_the_report_it_claims_to_be() {
        for kind in Kind::ALL {
            let requests = input::parse(&template(kind)).unwrap();
            assert_eq!(requests.len(), 1);
            let request = &requests[0];
            assert!(request.source.as_ref().is_some_and(|s| s.kind != 0 && s.publisher.is_some()));
            assert_eq!(Kind::of_name(&request.reports[0].record).unwrap(), kind);
            let json = pb::to_json("Report", &request.reports[0]);
            assert!(json.get(kind.field()).is_some(), "{json}");
        }
    }

    #[test]
    fn every_template_still_parses_with_every_field_taken_out_of_its_comment() {
        for kind in Kind::ALL {
            let text = with_every_field(&template(kind));
            let request = input::parse(&text).unwrap_or_else(|e| panic!("{kind:?}: {e}\n{text}")).remove(0);
            let json = pb::to_json("Report", &request.reports[0]);
            let stated = json[kind.field()].as_object().unwrap();
            for field in shown(&pb::descriptor(kind.message())) {
                assert!(stated.contains_key(field.json_name()), "{} of {kind:?}", field.name());
            }
        }
    }

    #[test]
    fn every_template_fits_an_editor() {
        for kind in Kind::ALL {
            let text = template(kind);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= WIDTH + 10, "{widest} in {text}");
        }
    }
}
