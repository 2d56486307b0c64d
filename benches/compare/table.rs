//! Results for people: a table for each section, and their place in `benches/RESULTS.md`.

use std::fs;

use crate::{
    Outcome, places,
    results::{Against, Bound, Goal, Results, Row, Section},
    sections,
};

const BEGIN: &str = "<!-- table -->\n";
const END: &str = "<!-- end of table -->\n";

/// Puts the tables in their place.
pub fn write(results: &Results) -> Outcome<()> {
    let file = places::root().join("benches/RESULTS.md");
    let text = fs::read_to_string(&file)?;
    let no_place = || format!("{} has lost the place of its tables", file.display());
    let (before, rest) = text.split_once(BEGIN).ok_or_else(no_place)?;
    let (_, after) = rest.split_once(END).ok_or_else(no_place)?;
    let measured = sections::NAMES.iter().filter_map(|name| Some((name, results.get(name)?)));
    let tables: Vec<String> = measured.map(|(name, section)| of_section(name, section)).collect();
    if tables.is_empty() {
        return Ok(());
    }
    Ok(fs::write(&file, format!("{before}{BEGIN}{}{END}{after}", tables.join("\n")))?)
}

/// A section with its heading and its circumstances.
pub fn of_section(name: &str, section: &Section) -> String {
    let Section { date, commit, machine, rounds, setting, rows } = section;
    let times = rows.iter().any(|row| row.p50_ms.is_some());
    let mut text = format!(
        "## {}\n\n{date}, commit {commit}; {machine}; {rounds} round{}; stores synced as a server does by itself, on one disk. \
         {setting}\n\n",
        sections::about(name),
        if *rounds == 1 { "" } else { "s" },
    );
    text += if times { "| work | median | range | p50 · p99 " } else { "| work | median | range " };
    text += "| compared | must · aim | met |\n|---|---|---|---|---|---|";
    text += if times { "---|\n" } else { "\n" };
    for row in rows {
        text += &lines(row, rows, times);
    }
    text
}

/// A row has a line for itself with its first comparison, and one for each other.
fn lines(row: &Row, rows: &[Row], times: bool) -> String {
    let unit = &row.unit;
    let mut text =
        format!("| {} | {} {unit} | {}–{} |", row.what, number(row.median), number(row.min), number(row.max));
    if times {
        text += &format!(" {} |", percentiles(row));
    }
    let mut endings: Vec<String> = row.against.iter().map(|against| compared(against, rows)).collect();
    if row.goal.is_some() || endings.is_empty() {
        endings.insert(0, format!(" | {} |", wanted(row.goal, row.median, &format!(" {unit}"))));
    }
    let further = if times { "\n| | | | |" } else { "\n| | | |" };
    text + &endings.join(further) + "\n"
}

fn compared(against: &Against, rows: &[Row]) -> String {
    let other = rows.iter().find(|row| row.key == against.key).map_or(against.key.as_str(), |row| &row.what);
    let other = other.split(", ").next().unwrap_or(other);
    format!(" {} × {other} | {} |", number(against.ratio), wanted(against.goal, against.ratio, " ×"))
}

/// What was wanted, and whether it came.
fn wanted(goal: Option<Goal>, value: f64, unit: &str) -> String {
    let Some(goal) = goal else { return " |".to_owned() };
    let sign = if goal.bound == Bound::AtLeast { "≥" } else { "≤" };
    let words = |wanted: Option<f64>| wanted.map_or("–".to_owned(), number);
    let is_met = |wanted: Option<f64>| wanted.is_some_and(|wanted| goal.is_met(value, wanted));
    let met = match (is_met(goal.must), is_met(goal.aim)) {
        (_, true) => "aim",
        (true, false) => "must",
        // An aim alone is no must.
        (false, false) if goal.must.is_none() => "not the aim",
        (false, false) => "**no**",
    };
    let aim = if goal.aim.is_some() { format!(" · {}", words(goal.aim)) } else { String::new() };
    format!("{sign} {}{aim}{unit} | {met}", words(goal.must))
}

fn percentiles(row: &Row) -> String {
    match (row.p50_ms, row.p99_ms) {
        (Some(p50), Some(p99)) => format!("{} · {} ms", number(p50), number(p99)),
        _ => String::new(),
    }
}

/// Three digits, whole numbers whole, and thousands apart.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { grouped(&text) }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
