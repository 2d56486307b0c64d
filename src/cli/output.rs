//! The only place that prints. Colour and cursor movements appear on terminals alone.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use anstream::AutoStream;
use clap::{Args, ValueEnum};
use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::error::CliError;

/// Output is written in pieces of about this many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Characters in a line where the output is no terminal.
const PAGE_WIDTH: usize = 100;

/// How often a count on the terminal is renewed.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// Canonical proto JSON, indented; several objects as one array
    Json,
    /// Canonical proto JSON, one object per line
    Ndjson,
    /// Comma-separated values with a line of headings; of lists
    Csv,
    /// Events as CloudEvents 1.0 in JSON, one per line; of `watch`
    Cloudevents,
}

impl Format {
    /// The word of the flag.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Cloudevents => "cloudevents",
        }
    }
}

/// The flag that chooses the format.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    pub output: Format,
}

/// Standard output. Written in pieces; [`Out::flush`] at the end, and wherever somebody waits for the line.
pub struct Out {
    format: Format,
    stream: AutoStream<io::Stdout>,
    pending: Vec<u8>,
    items: usize,
}

impl Out {
    /// Standard output in this format.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, stream: anstream::stdout(), pending: Vec::new(), items: 0 }
    }

    /// The format chosen.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether people read it.
    #[must_use]
    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// One line, or several.
    ///
    /// # Errors
    ///
    /// What the stream says; [`CliError::Closed`] when its reader has gone.
    pub fn line(&mut self, text: impl Display) -> Result<(), CliError> {
        writeln!(self.pending, "{text}")?;
        if self.pending.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    /// A single JSON object.
    ///
    /// # Errors
    ///
    /// As of [`Out::line`].
    pub fn object(&mut self, value: &Value) -> Result<(), CliError> {
        match self.format {
            Format::Table | Format::Json => self.line(format_args!("{value:#}")),
            Format::Ndjson | Format::Csv | Format::Cloudevents => self.line(value),
        }
    }

    /// One of several JSON objects; [`Out::end_items`] comes after the last.
    ///
    /// # Errors
    ///
    /// As of [`Out::line`].
    pub fn item(&mut self, value: &Value) -> Result<(), CliError> {
        if self.format == Format::Ndjson {
            return self.line(value);
        }
        let before = if self.items == 0 { "[\n" } else { ",\n" };
        self.items += 1;
        write!(self.pending, "{before}{value:#}")?;
        if self.pending.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Closes the array that [`Out::item`] opened; an empty one if there was no item.
    ///
    /// # Errors
    ///
    /// As of [`Out::line`].
    pub fn end_items(&mut self) -> Result<(), CliError> {
        match (self.format, self.items) {
            (Format::Json, 0) => self.line("[]"),
            (Format::Json, _) => self.line("\n]"),
            _ => Ok(()),
        }
    }

    /// Writes what is pending.
    ///
    /// # Errors
    ///
    /// As of [`Out::line`].
    pub fn flush(&mut self) -> Result<(), CliError> {
        self.stream.write_all(&self.pending)?;
        self.pending.clear();
        Ok(self.stream.flush()?)
    }
}

/// Bytes that are no text, to standard output. A terminal is spared.
///
/// # Errors
///
/// What the stream says, or that it is a terminal.
pub fn bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    if stdout.is_terminal() {
        return Err(CliError::Usage("these are bytes, not text: redirect them, or say `--out FILE`".into()));
    }
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}

/// Text that is ready as it is.
///
/// # Errors
///
/// What the stream says.
pub fn text(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}

/// A remark for the person at the terminal; the answer itself never goes here.
pub fn note(text: impl Display) {
    // Nobody is left to tell when standard error fails.
    let _ = writeln!(anstream::stderr(), "attache: {text}");
}

/// What turns and counts on the terminal while something takes its time; elsewhere it shows nothing.
#[must_use]
pub fn spinner(template: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Reports why the command failed.
pub fn error(error: &CliError) {
    let _ = writeln!(anstream::stderr(), "\u{1b}[1;31merror:\u{1b}[0m {error}");
}

/// A table with bold headings and no lines. It fits the terminal; elsewhere it is as wide as it needs to be.
#[must_use]
pub fn table<H: Display>(headings: impl IntoIterator<Item = H>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(headings.into_iter().map(|h| Cell::new(h).add_attribute(Attribute::Bold)));
    table
}

/// A table that fits the page also where there is no terminal, with so many columns left of it.
#[must_use]
pub fn page_table<H: Display>(headings: impl IntoIterator<Item = H>, left: usize) -> Table {
    let mut table = table(headings);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width().saturating_sub(left)).unwrap_or(u16::MAX));
    table
}

/// The width of the terminal, or of a page where there is none.
#[must_use]
pub fn width() -> usize {
    Table::new().width().map_or(PAGE_WIDTH, usize::from)
}

/// The table's text without the spaces that pad its right side.
#[must_use]
pub fn trimmed(table: &Table) -> String {
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Bold, on terminals.
#[must_use]
pub fn bold(text: impl Display) -> String {
    format!("\u{1b}[1m{text}\u{1b}[0m")
}

/// Dimmed, on terminals.
#[must_use]
pub fn dim(text: impl Display) -> String {
    format!("\u{1b}[2m{text}\u{1b}[0m")
}

/// Coloured, on terminals, by an ANSI colour number such as 31 (red).
#[must_use]
pub fn colour(number: u8, text: impl Display) -> String {
    format!("\u{1b}[{number}m{text}\u{1b}[0m")
}

/// A count on standard error while long work goes on, if that is a terminal; gone when dropped.
pub struct Progress {
    what: &'static str,
    count: u64,
    shown: Option<crate::clock::Ticks>,
    enabled: bool,
}

impl Progress {
    /// Counts things of this name.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        // Two counts on one terminal would be confusing: the lines themselves show the progress.
        let enabled = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self { what, count: 0, shown: None, enabled }
    }

    /// So many more.
    pub fn add(&mut self, more: usize) {
        self.count += more as u64;
        let due = self.shown.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL);
        if self.enabled && due {
            self.shown = Some(crate::clock::ticks());
            let _ = write!(io::stderr(), "\r{} {}", self.count, self.what);
        }
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
