//! What was measured, and against what.

use super::{BYTES, CHANNELS, FILERS, RECORDS, REPLAYED, ROUNDS, STREAMS, SUBSCRIBERS};

/// One row of the table.
pub struct Figure {
    what: String,
    /// The row it is compared with.
    against: Option<usize>,
    /// One value a round, per second.
    pub values: Vec<f64>,
}

/// The rows, in the order in which a round measures them; answers of lookups have so many bytes.
pub fn figures(answered: usize) -> Vec<Figure> {
    let figure = |what: String, against| Figure { what, against, values: Vec::new() };
    vec![
        figure(format!("bare tonic, calls answered with {answered} bytes, {CHANNELS} × {STREAMS} streams"), None),
        figure(format!("`GetVisit` of {RECORDS} records, names by Zipf 0.99"), Some(0)),
        figure("`GetVisit`, names drawn uniformly".to_owned(), Some(0)),
        figure(format!("bare tonic, the same frames to {SUBSCRIBERS} streams, events"), None),
        figure(format!("`WatchEvents`, some {REPLAYED} events from the ring to {SUBSCRIBERS} subscribers"), Some(3)),
        figure("bare tonic, the same frames to 1 stream, events".to_owned(), None),
        figure("`WatchEvents`, all events, those before the ring from the store, to 1 subscriber".to_owned(), Some(5)),
        figure(format!("SQLite, {BYTES}-byte rows, one commit each, synchronous=FULL"), None),
        figure(format!("`FileReports`, {FILERS} filers, one report each, synced before the answer"), Some(7)),
    ]
}

fn middle(figure: &Figure) -> (f64, f64, f64) {
    let mut values = figure.values.clone();
    values.sort_by(f64::total_cmp);
    (values[ROUNDS / 2], values[0], values[ROUNDS - 1])
}

fn rows(figures: &[Figure]) -> String {
    let mut text = String::from("| work, per second | median | range | against its floor |\n|---|---|---|---|\n");
    for figure in figures {
        let (median, low, high) = middle(figure);
        let ratio = figure.against.map(|row| format!("{:.2} ×", median / middle(&figures[row]).0));
        let (what, ratio) = (&figure.what, ratio.unwrap_or_default());
        text.push_str(&format!("| {what} | {median:.0} | {low:.0}–{high:.0} | {ratio} |\n"));
    }
    text
}

/// Prints the table.
pub fn show(figures: &[Figure]) {
    print!("{}", rows(figures));
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/RESULTS.md");
const BEGIN: &str = "<!-- table -->\n";
const END: &str = "<!-- end of table -->\n";

/// Puts the table in its place in the results.
pub fn write(figures: &[Figure]) {
    let text = std::fs::read_to_string(FILE).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let head = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().unwrap();
    let cores = std::thread::available_parallelism().unwrap();
    let commit = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    let day = jiff::Zoned::now().date();
    let machine = format!(
        "{day}, commit {commit}, {cores} cores shared by server, client and floor; {ROUNDS} rounds, interleaved; the \
         store on the machine's disk, `synchronous=FULL`.\n\n"
    );
    std::fs::write(FILE, format!("{before}{BEGIN}{machine}{}{END}{after}", rows(figures))).unwrap();
}
