//! The fields of spans and lines as text.
//!
//! Every request has a span, whose fields are written when it begins, whether or not a line is ever written of it. The
//! library's way to write a field goes through the styles of terminals, and took a twentieth of a lookup; where nothing is
//! styled, what is plain is written as it is.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::{RecordFields, VisitOutput as _},
    fmt::{
        FormatFields,
        format::{DefaultFields, DefaultVisitor, Writer},
    },
};

/// Room for the fields of a request.
const USUAL_BYTES: usize = 128;

/// Fields, written to the letter as the library's [`DefaultFields`] are.
#[derive(Debug, Default)]
pub(super) struct Fields(DefaultFields);

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        if writer.has_ansi_escapes() {
            return self.0.format_fields(writer, fields);
        }
        let mut line = Line { text: String::with_capacity(USUAL_BYTES), is_empty: true, result: Ok(()) };
        fields.record(&mut line);
        writer.write_str(&line.text)?;
        line.result
    }
}

/// What was written so far.
struct Line {
    text: String,
    /// Whether no field was written yet; the text of one may be empty.
    is_empty: bool,
    result: fmt::Result,
}

impl Line {
    /// Has the library write a field.
    fn write(&mut self, field: &Field, record: impl FnOnce(&mut DefaultVisitor<'_>)) {
        let before = self.text.len();
        let mut visitor = DefaultVisitor::new(Writer::new(&mut self.text), self.is_empty);
        record(&mut visitor);
        self.result = self.result.and(visitor.finish());
        // It leaves out what the crate `log` says of itself.
        self.is_empty &= self.text.len() == before && field.name().starts_with("log.");
    }

    /// Begins a field that is simple.
    fn begin(&mut self, field: &Field) {
        if !std::mem::take(&mut self.is_empty) {
            self.text.push(' ');
        }
        self.text.push_str(field.name());
        self.text.push('=');
    }
}

/// Whether a field is shown by its name as it is, and by its value: a message, a name that is a word of Rust, and what the
/// crate `log` says of itself have rules of their own.
fn is_simple(field: &Field) -> bool {
    !field.name().contains(['#', '.']) && field.name() != "message"
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        let is_plain = value.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'));
        if is_plain && is_simple(field) {
            self.begin(field);
            self.text.push('"');
            self.text.push_str(value);
            self.text.push('"');
        } else {
            self.write(field, |visitor| visitor.record_str(field, value));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.write(field, |visitor| visitor.record_error(field, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if is_simple(field) {
            self.begin(field);
            self.result = self.result.and(write!(self.text, "{value:?}"));
        } else {
            self.write(field, |visitor| visitor.record_debug(field, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::fmt;

    use super::*;

    /// Where lines are kept.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that fields of all kinds come to.
    fn lines<F: for<'w> FormatFields<'w> + Send + Sync + 'static>(fields: F, ansi: bool) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber =
            fmt().fmt_fields(fields).with_ansi(ansi).without_time().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other("the disk\u{1b}[31m is red");
            let id = "0193-plain";
            let span = tracing::info_span!("request", request_id = %id, rpc = "a/B", later = tracing::field::Empty, r#type = 1);
            let _entered = span.enter();
            tracing::info!(text = "with \"quotes\", \\ and é\n", %error, number = 1.5, "a message\u{1b}[31m with an escape");
            span.record("later", "now");
            tracing::warn!(error = &error as &dyn std::error::Error, some = ?Some("x"), flag = true);
            tracing::info!(empty = "", "{}", "once \"more\"");
            tracing::info!(after = 1, "{}", "");
            tracing::info!(log.target = "left out", otel.kind = "server", last = 2);
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn they_are_written_to_the_letter_as_the_library_writes_them() {
        let ours = lines(Fields::default(), false);
        assert!(ours.contains(r#"request{request_id=0193-plain rpc="a/B" type=1 later="now"}"#), "{ours}");
        assert_eq!(ours, lines(DefaultFields::new(), false));
        assert_eq!(lines(Fields::default(), true), lines(DefaultFields::new(), true));
    }
}
