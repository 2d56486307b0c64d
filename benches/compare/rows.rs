//! What a section measures, round by round, and what comes of it.

use crate::{
    machine,
    results::{Against, Goal, Row, Section},
    times::Times,
};

/// One quantity.
#[derive(Default)]
struct Measured {
    row: Row,
    /// One value a round.
    values: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

/// The quantities of a section, in the order in which they are declared.
#[derive(Default)]
pub struct Rows {
    setting: String,
    all: Vec<Measured>,
}

impl Rows {
    /// For a section that is measured under these circumstances.
    pub fn new(setting: impl Into<String>) -> Self {
        Self { setting: setting.into(), all: Vec::new() }
    }

    /// Declares a row by its key, which stays the same from version to version; the words may change.
    pub fn row(&mut self, key: impl Into<String>, what: impl Into<String>, unit: &str) -> &mut Row {
        let row = Row { key: key.into(), what: what.into(), unit: unit.to_owned(), ..Row::default() };
        self.all.push(Measured { row, ..Measured::default() });
        &mut self.all.last_mut().expect("one was pushed just now").row
    }

    /// A row that was declared.
    pub fn declared(&mut self, key: &str) -> Option<&mut Row> {
        self.find(key).map(|measured| &mut measured.row)
    }

    /// This round's value. What nobody declared, because a peer is missing, is nobody's.
    pub fn take(&mut self, key: &str, value: f64) {
        if let Some(measured) = self.find(key) {
            measured.values.push(value);
        }
    }

    /// The percentiles that go with this round's value.
    pub fn take_times(&mut self, key: &str, times: &Times) {
        if let Some(measured) = self.find(key) {
            measured.p50.push(times.percentile(50));
            measured.p99.push(times.percentile(99));
        }
    }

    /// This round's p99 as the value, and its percentiles beside it.
    pub fn take_p99(&mut self, key: &str, times: &Times) {
        self.take(key, times.percentile(99));
        self.take_times(key, times);
    }

    /// The median of the rounds so far.
    pub fn median(&self, key: &str) -> Option<f64> {
        self.all.iter().find(|measured| measured.row.key == key).and_then(|measured| median(&measured.values))
    }

    /// Adds the row with the greatest median once more, as the one that the design judges all by.
    pub fn tell_worst(&mut self, goal: Goal) {
        let medians = self.all.iter().filter_map(|measured| Some((median(&measured.values)?, measured)));
        let Some((_, worst)) = medians.max_by(|one, other| one.0.total_cmp(&other.0)) else { return };
        let row = Row {
            key: "worst".to_owned(),
            what: format!("**the worst: {}**", worst.row.what),
            unit: worst.row.unit.clone(),
            goal: Some(goal),
            ..Row::default()
        };
        let worst = Measured { row, values: worst.values.clone(), p50: worst.p50.clone(), p99: worst.p99.clone() };
        self.all.push(worst);
    }

    /// Medians, ranges and ratios.
    pub fn finish(self, rounds: usize) -> Section {
        let medians: Vec<_> = self.all.iter().map(|m| (m.row.key.clone(), median(&m.values))).collect();
        let of = |key: &str| medians.iter().find(|(own, _)| own == key).and_then(|(_, median)| *median);
        let rows = self.all.into_iter().filter_map(|measured| measured.finish(of)).collect();
        let (date, commit, machine) = (machine::today(), machine::commit(), machine::describe());
        Section { date, commit, machine, rounds, setting: self.setting, rows }
    }

    fn find(&mut self, key: &str) -> Option<&mut Measured> {
        self.all.iter_mut().find(|measured| measured.row.key == key)
    }
}

impl Measured {
    fn finish(self, of: impl Fn(&str) -> Option<f64>) -> Option<Row> {
        let mut row = self.row;
        let middle = median(&self.values)?;
        row.median = rounded(middle);
        row.min = rounded(self.values.iter().copied().fold(f64::INFINITY, f64::min));
        row.max = rounded(self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        (row.p50_ms, row.p99_ms) = (median(&self.p50).map(rounded), median(&self.p99).map(rounded));
        // What is missing cannot be compared with.
        row.against.retain_mut(|against| match of(&against.key) {
            Some(other) if other > 0.0 => {
                against.ratio = rounded(middle / other);
                true
            }
            _ => false,
        });
        Some(row)
    }
}

impl Row {
    /// Compares it with another row of the section.
    pub fn against(&mut self, key: &str, goal: Option<Goal>) -> &mut Self {
        self.against.push(Against { key: key.to_owned(), ratio: 0.0, goal });
        self
    }

    /// What the design wants of the value itself.
    pub fn goal(&mut self, goal: Goal) -> &mut Self {
        self.goal = Some(goal);
        self
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// To four decimal places: more says nothing, and a file of results is read by people too.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
