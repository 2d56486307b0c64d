//! The timeline as a picture: a line for each kind, a column for each month.

use std::fmt::Write as _;

use crate::pb::v1::{Observed, Relationship, TimelineMonth};

/// Months drawn up to the day unless told otherwise.
pub const MONTHS: usize = 48;
/// Months drawn after the day at most: far ends of agreements would leave no room for what was.
const AHEAD: usize = 12;
/// Months side by side: six years with the gaps between them.
const ROW: usize = 72;
/// Room for the names of the lines.
const NAMES: usize = 12;
/// From one to the most.
const BARS: [char; 7] = ['▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Nothing, and everything was watched.
const NONE: char = '▁';
/// Nothing known.
const UNKNOWN: char = '·';

type Pick = fn(&TimelineMonth) -> u32;

const LINES: [(&str, Pick); 5] = [
    ("visits", |m| m.visits),
    ("meetings", |m| m.meetings),
    ("agreements", |m| m.agreements),
    ("exercises", |m| m.exercises),
    ("expiries", |m| m.expiries),
];

/// The timeline; so many months up to the day and some after it, or all.
pub fn draw(relation: &Relationship, months: Option<usize>) -> String {
    let Some(timeline) = &relation.timeline else { return String::new() };
    let (before, shown) = window(&timeline.months, relation.day.get(..7).unwrap_or_default(), months);
    let (Some(first), Some(last)) = (shown.first(), shown.last()) else { return String::new() };
    let mut text = format!("{}  {} to {}\n", crate::cli::output::bold("Timeline"), first.month, last.month);
    let most = shown.iter().flat_map(|m| LINES.iter().map(|(_, pick)| pick(m))).max().unwrap_or_default();
    let drawn = if most == 0 && shown.iter().all(|m| m.observed() == Observed::No) { &[] } else { shown };
    if drawn.is_empty() {
        text.push_str("  nothing known\n");
    }
    for row in drawn.chunks(ROW) {
        years(&mut text, row);
        for (name, pick) in LINES {
            line(&mut text, name, row, |m| bar(pick(m), most, m.observed()));
        }
        if row.iter().any(|m| relation.day.starts_with(&m.month)) {
            let today = |m: &TimelineMonth| if relation.day.starts_with(&m.month) { '^' } else { ' ' };
            line(&mut text, "", row, today);
        }
    }
    if most > 0 {
        let _ = writeln!(text, "  █ is {most}, {NONE} watched and none, {UNKNOWN} none known, ^ {}", relation.day);
    }
    let hidden = [&timeline.months[..before], timeline.earlier.as_slice()].concat();
    note(&mut text, "before that", &hidden);
    let after = &timeline.months[before + shown.len()..];
    note(&mut text, "after that", &[after, timeline.later.as_slice()].concat());
    if timeline.unplaced > 0 {
        let _ = writeln!(text, "  without a month: {}", timeline.unplaced);
    }
    text.trim_end().to_owned()
}

/// The months to draw, and how many lie before them.
fn window<'a>(all: &'a [TimelineMonth], today: &str, months: Option<usize>) -> (usize, &'a [TimelineMonth]) {
    let Some(months) = months else { return (0, all) };
    // Months are in order, and YYYY-MM compares as text.
    let past = all.partition_point(|m| m.month.as_str() <= today);
    let first = past.saturating_sub(months);
    (first, &all[first..all.len().min(past + AHEAD)])
}

fn bar(count: u32, most: u32, observed: Observed) -> char {
    match (count, observed) {
        (0, Observed::Yes) => NONE,
        (0, _) => UNKNOWN,
        (count, _) => {
            let steps = u32::try_from(BARS.len()).unwrap_or(1);
            let step = (count * steps).div_ceil(most.max(1)).clamp(1, steps) - 1;
            BARS[usize::try_from(step).unwrap_or(0)]
        }
    }
}

fn is_january(month: &TimelineMonth) -> bool {
    month.month.ends_with("-01")
}

/// The years above the months they begin with; one with less than three months shown has no room.
fn years(text: &mut String, row: &[TimelineMonth]) {
    let mut heading = " ".repeat(NAMES);
    let mut left = row;
    while let Some(first) = left.first() {
        let length = left.iter().skip(1).position(is_january).map_or(left.len(), |next| next + 1);
        let year = first.month.get(..4).unwrap_or_default();
        let label = match length {
            0..3 => "",
            3 => year.get(2..).unwrap_or_default(),
            _ => year,
        };
        let _ = write!(heading, " {label:<length$}");
        left = &left[length..];
    }
    let _ = writeln!(text, "{}", heading.trim_end());
}

fn line(text: &mut String, name: &str, row: &[TimelineMonth], cell: impl Fn(&TimelineMonth) -> char) {
    let mut line = format!("  {name:<width$}", width = NAMES - 2);
    for (index, month) in row.iter().enumerate() {
        if index == 0 || is_january(month) {
            line.push(' ');
        }
        line.push(cell(month));
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// What months that are not drawn have, in words.
fn note(text: &mut String, when: &str, months: &[TimelineMonth]) {
    let sums = LINES.iter().map(|(name, pick)| (months.iter().map(pick).sum::<u32>(), name));
    let parts: Vec<String> = sums.filter(|(sum, _)| *sum > 0).map(|(sum, name)| format!("{name} {sum}")).collect();
    if !parts.is_empty() {
        let _ = writeln!(text, "  {when}: {}", parts.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(month: &str, visits: u32, observed: Observed) -> TimelineMonth {
        TimelineMonth { month: month.into(), visits, observed: observed.into(), ..Default::default() }
    }

    #[test]
    fn where_nothing_is_known_nothing_is_drawn() {
        let months = vec![month("2026-10", 0, Observed::No), month("2026-11", 0, Observed::No)];
        let timeline = crate::pb::v1::Timeline { months, ..Default::default() };
        let relation = Relationship { day: "2026-11-23".into(), timeline: Some(timeline), ..Default::default() };
        assert_eq!(draw(&relation, None).lines().nth(1), Some("  nothing known"));
    }

    fn months(first_year: u32, years: u32) -> Vec<TimelineMonth> {
        let each = (first_year..first_year + years).flat_map(|y| (1..=12).map(move |m| format!("{y}-{m:02}")));
        each.map(|m| month(&m, 1, Observed::No)).collect()
    }

    #[test]
    fn a_zero_that_nobody_watched_looks_unlike_one_that_was() {
        assert_eq!(bar(0, 3, Observed::Yes), '▁');
        assert_eq!((bar(0, 3, Observed::Partly), bar(0, 3, Observed::No)), ('·', '·'));
        assert_eq!((bar(1, 7, Observed::No), bar(7, 7, Observed::Yes), bar(1, 1, Observed::Yes)), ('▂', '█', '█'));
    }

    #[test]
    fn the_months_drawn_end_near_the_day_and_not_with_a_far_end() {
        let all = months(2020, 40);
        let (before, shown) = window(&all, "2026-11", Some(36));
        assert_eq!((shown[0].month.as_str(), shown.last().unwrap().month.as_str()), ("2023-12", "2027-11"));
        assert_eq!(all[before].month, "2023-12", "those before are told in words");
        assert_eq!(window(&all, "2026-11", None).1.len(), 480);
    }

    #[test]
    fn no_line_is_wider_than_a_hundred_columns_and_years_stand_above_their_months() {
        let relation = Relationship {
            day: "2026-11-23".into(),
            timeline: Some(crate::pb::v1::Timeline { months: months(2000, 30), ..Default::default() }),
            ..Default::default()
        };
        let drawn = draw(&relation, None);
        assert!(drawn.lines().all(|l| l.chars().count() <= 100), "{drawn}");
        let lines: Vec<&str> = drawn.lines().collect();
        let heading = lines.iter().position(|l| l.contains("2024")).unwrap();
        let today = lines[heading..].iter().find(|l| l.contains('^')).unwrap();
        let (year, mark) = (lines[heading].find("2026").unwrap(), today.find('^').unwrap());
        assert_eq!(mark - year, 10, "November is the eleventh: {drawn}");
    }
}
