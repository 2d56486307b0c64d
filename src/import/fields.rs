//! Rows of whatever file: named fields, each taken once. What nobody takes is still there at the end.

use super::{
    Error, File, Kind, Place,
    text::{self, Garbled},
};

/// One row: its place, and its fields by name.
#[derive(Debug, Clone)]
pub struct Fields {
    /// The line, from 1.
    pub line: u64,
    /// Why it is no row.
    pub fault: Option<String>,
    left: Vec<(String, String)>,
    flags: Vec<String>,
}

impl Fields {
    fn new(line: u64, left: Vec<(String, String)>) -> Self {
        Self { line, fault: None, left, flags: Vec::new() }
    }

    fn faulty(line: u64, fault: String) -> Self {
        Self { line, fault: Some(fault), left: Vec::new(), flags: Vec::new() }
    }

    /// Takes a field; `None` if it is absent, empty or `-9`, by which these data sets mark what is missing.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.left.iter().position(|(own, _)| own == name)?;
        let (_, raw) = self.left.remove(at);
        let cleaned = text::clean(&raw);
        for flag in cleaned.flags {
            self.flag(flag);
        }
        Some(cleaned.text).filter(|text| !text.is_empty() && text != "-9")
    }

    /// Takes a field as it stands in the file.
    pub fn take_raw(&mut self, name: &str) -> Option<String> {
        let at = self.left.iter().position(|(own, _)| own == name)?;
        Some(self.left.remove(at).1).filter(|raw| !raw.is_empty())
    }

    /// Takes a field that must be there.
    ///
    /// # Errors
    ///
    /// That it is not.
    pub fn require(&mut self, name: &str) -> Result<String, String> {
        self.take(name).ok_or_else(|| format!("{name} is missing"))
    }

    /// The names that begin so, of fields that nobody took.
    #[must_use]
    pub fn names(&self, start: &str) -> Vec<String> {
        self.left.iter().map(|(name, _)| name.clone()).filter(|name| name.starts_with(start)).collect()
    }

    /// Remarks on the row, once.
    pub fn flag(&mut self, flag: impl Into<String>) {
        let flag = flag.into();
        if !self.flags.contains(&flag) {
            self.flags.push(flag);
        }
    }

    /// The remarks.
    pub fn flags(&mut self) -> Vec<String> {
        std::mem::take(&mut self.flags)
    }

    /// What is left and not left out on purpose, as lines for a note: columns that this version does not know.
    pub fn rest(&mut self, left_out: &[(&str, &str)]) -> Vec<String> {
        let mut lines = Vec::new();
        for name in self.names("") {
            let Some(value) = self.take(&name) else { continue };
            if !left_out.iter().any(|(known, _)| *known == name) {
                self.flag(format!("the column {name} is not known: kept in the note"));
                lines.push(format!("{name}: {value}"));
            }
        }
        lines
    }

    /// Where the row stands.
    #[must_use]
    pub fn place(&self, file: &str, id: &str) -> Place {
        Place { file: file.to_owned(), line: self.line, id: id.to_owned() }
    }

    /// A field, without taking it.
    #[must_use]
    pub fn peek(&self, name: &str) -> &str {
        self.left.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value.trim())
    }

    fn has(&self, name: &str) -> bool {
        self.left.iter().any(|(own, _)| own == name)
    }
}

/// The text of a file that is UTF-8.
///
/// # Errors
///
/// That it is not, or that its last character is cut off.
pub fn utf8(kind: Kind, file: &File) -> Result<std::borrow::Cow<'_, str>, Error> {
    text::decode(&file.bytes).map_err(|garbled| match garbled {
        Garbled::CutOff => cut_off(file, last_line(&file.bytes), "its last character is not whole"),
        Garbled::At(byte) => Error::wrong(kind, &file.name, format!("it is not UTF-8 (byte {byte})")),
    })
}

fn cut_off(file: &File, line: u64, found: impl Into<String>) -> Error {
    Error::Truncated { file: file.name.clone(), line, found: found.into() }
}

fn last_line(bytes: &[u8]) -> u64 {
    let breaks = bytes.iter().filter(|b| **b == b'\n').count() as u64;
    breaks + u64::from(!bytes.ends_with(b"\n"))
}

/// Rows of comma-separated values with a line of headings. `_` in headings is `-`, as in the XML of the same sets.
///
/// # Errors
///
/// If a heading that is required is missing, or the file ends inside a row.
pub fn csv(kind: Kind, file: &File, text: &str, required: &[&str]) -> Result<Vec<Fields>, Error> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let wrong = |error: csv::Error| Error::wrong(kind, &file.name, error.to_string());
    let headings: Vec<String> = reader.headers().map_err(wrong)?.iter().map(|h| h.trim().replace('_', "-")).collect();
    if let Some(missing) = required.iter().find(|name| !headings.iter().any(|h| h == *name)) {
        return Err(Error::wrong(kind, &file.name, format!("it has no column {missing}")));
    }
    let ends_well = text.ends_with('\n') && text.bytes().filter(|b| *b == b'"').count() % 2 == 0;
    let mut lines = Lines { text, counted: 0, line: 1 };
    let mut rows = Vec::new();
    let mut records = reader.records().peekable();
    while let Some(record) = records.next() {
        let record = record.map_err(wrong)?;
        let line = lines.at(record.position().map_or(0, csv::Position::byte));
        if record.len() == headings.len() && (ends_well || records.peek().is_some()) {
            let fields = headings.iter().cloned().zip(record.iter().map(str::to_owned));
            rows.push(Fields::new(line, fields.collect()));
        } else if !ends_well && records.peek().is_none() {
            if record.len() == headings.len() && text.bytes().filter(|b| *b == b'"').count() % 2 == 0 {
                // Whole as far as one can see: only the last line end is missing.
                let fields = headings.iter().cloned().zip(record.iter().map(str::to_owned));
                rows.push(Fields::new(line, fields.collect()));
                continue;
            }
            return Err(cut_off(file, line, format!("{} of {} columns", record.len(), headings.len())));
        } else {
            rows.push(Fields::faulty(line, format!("it has {} columns of {}", record.len(), headings.len())));
        }
    }
    Ok(rows)
}

/// Rows of JSON, one object a line.
///
/// # Errors
///
/// If no line is an object with the required fields, or the file ends inside one.
pub fn json_lines(kind: Kind, file: &File, text: &str, required: &[&str]) -> Result<Vec<Fields>, Error> {
    let mut rows = Vec::new();
    let count = text.lines().count();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index as u64 + 1;
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line) {
            Ok(object) => rows.push(Fields::new(number, object.into_iter().map(flat).collect())),
            Err(error) if index + 1 == count && !text.ends_with('\n') && !rows.is_empty() => {
                return Err(cut_off(file, number, error.to_string()));
            }
            Err(error) => rows.push(Fields::faulty(number, format!("it is no JSON object: {error}"))),
        }
    }
    let missing = |row: &Fields| required.iter().find(|name| !row.has(name)).copied();
    match rows.iter().find(|row| row.fault.is_none()) {
        None => Err(Error::wrong(kind, &file.name, "no line of it is a JSON object")),
        Some(row) => match missing(row) {
            Some(name) => Err(Error::wrong(kind, &file.name, format!("its first row has no {name}"))),
            None => Ok(rows),
        },
    }
}

fn flat((name, value): (String, serde_json::Value)) -> (String, String) {
    let text = match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    (name, text)
}

/// What an XML file holds.
pub enum Xml {
    /// Its rows.
    Rows(Vec<Fields>),
    /// Its root is another element than was asked for.
    Other(String),
}

/// Rows of XML: the children of the root, whose children and attributes are fields. The attribute `id` of an element
/// `from` is the field `from-id`; one of the row is `@id`.
///
/// # Errors
///
/// If it is not well-formed.
pub fn xml(kind: Kind, file: &File, text: &str, root: &str) -> Result<Xml, Error> {
    let document = roxmltree::Document::parse(text).map_err(|error| {
        let at = u64::from(error.pos().row);
        let ends = text.trim_end();
        match error {
            // The text ends where an element is still open: what was written is not all there.
            _ if ends.starts_with('<')
                && !ends.ends_with(&format!("</{root}>"))
                && ends.contains(&format!("<{root}")) =>
            {
                cut_off(file, at.max(last_line(text.as_bytes())), error.to_string())
            }
            error => Error::wrong(kind, &file.name, format!("it is no XML that can be read ({error})")),
        }
    })?;
    let found = document.root_element();
    if found.tag_name().name() != root {
        return Ok(Xml::Other(found.tag_name().name().to_owned()));
    }
    let mut lines = Lines { text, counted: 0, line: 1 };
    let rows = found.children().filter(roxmltree::Node::is_element);
    Ok(Xml::Rows(rows.map(|row| Fields::new(lines.at(row.range().start as u64), element_fields(row))).collect()))
}

/// Counts lines forwards. (The table's own reader counts the line before, where lines end with CR LF.)
struct Lines<'a> {
    text: &'a str,
    counted: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line on which what begins at or after this byte stands.
    fn at(&mut self, byte: u64) -> u64 {
        let bytes = self.text.as_bytes();
        let mut start = usize::try_from(byte).unwrap_or(usize::MAX).clamp(self.counted, bytes.len());
        while bytes.get(start).is_some_and(|b| matches!(b, b'\r' | b'\n')) {
            start += 1;
        }
        self.line += bytes[self.counted..start].iter().filter(|b| **b == b'\n').count() as u64;
        self.counted = start;
        self.line
    }
}

fn element_fields(row: roxmltree::Node<'_, '_>) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> =
        row.attributes().map(|a| (format!("@{}", a.name()), a.value().to_owned())).collect();
    for child in row.children().filter(roxmltree::Node::is_element) {
        let name = child.tag_name().name();
        let words: String = child.descendants().filter(roxmltree::Node::is_text).filter_map(|n| n.text()).collect();
        fields.push((name.to_owned(), words));
        fields.extend(child.attributes().map(|a| (format!("{name}-{}", a.name()), a.value().to_owned())));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { name: "f".into(), bytes: text.as_bytes().to_vec() }
    }

    fn read_csv(text: &str) -> Result<Vec<Fields>, Error> {
        csv(Kind::Visits, &file(text), text, &["id", "a"])
    }

    #[test]
    fn a_field_is_taken_once_and_what_is_left_goes_into_the_note() {
        let mut row = read_csv("id,a,b,c,d\r\n1,-9,,x,y\r\n").unwrap().remove(0);
        assert_eq!((row.take("id"), row.take("a"), row.take("b")), (Some("1".into()), None, None));
        assert_eq!(row.rest(&[("d", "because")]), ["c: x"]);
        assert_eq!(row.flags().len(), 1);
    }

    #[test]
    fn rows_stand_on_the_lines_on_which_an_editor_shows_them() {
        for text in ["id,a\n1,\"x\ny\"\n2,z\n", "id,a\r\n1,\"x\r\ny\"\r\n2,z\r\n"] {
            let lines: Vec<u64> = read_csv(text).unwrap().iter().map(|row| row.line).collect();
            assert_eq!(lines, [2, 4], "{text:?}");
        }
    }

    #[test]
    fn a_table_that_ends_inside_a_row_is_cut_off() {
        for text in ["id,a,b\n1,2,3\n4,5", "id,a,b\n1,2,3\n4,5,\"six"] {
            assert!(matches!(read_csv(text), Err(Error::Truncated { line: 3, .. })), "{text}");
        }
        assert_eq!(read_csv("id,a,b\n1,2,3\n4,5,6").unwrap().len(), 2, "the last line end may be missing");
    }

    #[test]
    fn a_row_with_too_few_columns_is_faulty_and_the_others_are_not() {
        let rows = read_csv("id,a,b\n1,2\n4,5,6\n").unwrap();
        assert!(rows[0].fault.is_some() && rows[1].fault.is_none());
    }

    #[test]
    fn a_table_without_the_columns_is_of_the_wrong_format() {
        assert!(matches!(read_csv("<visits/>\n"), Err(Error::WrongFormat { .. })));
        assert!(matches!(read_csv(""), Err(Error::WrongFormat { .. })));
    }

    #[test]
    fn lines_of_json_that_end_inside_one_are_cut_off() {
        let read = |text: &str| json_lines(Kind::UkTreaties, &file(text), text, &["id"]);
        assert!(matches!(read("{\"id\":1}\n{\"id\":2"), Err(Error::Truncated { line: 2, .. })));
        assert!(matches!(read("id,a\n1,2\n"), Err(Error::WrongFormat { .. })));
        assert!(matches!(read("{\"x\":1}\n"), Err(Error::WrongFormat { .. })));
        let rows = read("{\"id\":1}\n{\"id\":2\n{\"id\":3}\n").unwrap();
        assert_eq!(rows.iter().filter(|r| r.fault.is_some()).count(), 1);
    }

    #[test]
    fn xml_that_ends_early_is_cut_off_and_other_xml_is_told() {
        let read = |text: &str| xml(Kind::Visits, &file(text), text, "visits");
        let whole = "<visits>\n<visit n='1'><id>7</id><from id='f'>F &amp;\n G</from></visit>\n</visits>";
        let Ok(Xml::Rows(mut rows)) = read(whole) else { panic!() };
        assert_eq!(rows[0].line, 2);
        assert_eq!(rows[0].take("from").unwrap(), "F & G");
        assert_eq!((rows[0].take("from-id"), rows[0].take("@n")), (Some("f".into()), Some("1".into())));
        assert!(matches!(read(&whole[..40]), Err(Error::Truncated { .. })));
        assert!(matches!(read("<trips/>"), Ok(Xml::Other(root)) if root == "trips"));
        assert!(matches!(read("id,a\n"), Err(Error::WrongFormat { .. })));
    }
}
