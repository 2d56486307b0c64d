//! Results as data: `benches/results.json`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Outcome, places, table};

/// What the design wants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// On which side of its bounds a value is to be.
    pub bound: Bound,
    /// What has to be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub must: Option<f64>,
    /// What is to be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aim: Option<f64>,
}

/// The side of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No less than this.
    AtLeast,
    /// No more than this.
    AtMost,
}

impl Goal {
    /// No less than this.
    pub fn at_least(must: impl Into<Option<f64>>, aim: impl Into<Option<f64>>) -> Self {
        Self { bound: Bound::AtLeast, must: must.into(), aim: aim.into() }
    }

    /// No more than this.
    pub fn at_most(must: impl Into<Option<f64>>, aim: impl Into<Option<f64>>) -> Self {
        Self { bound: Bound::AtMost, must: must.into(), aim: aim.into() }
    }

    /// Whether a value is on the right side.
    pub fn is_met(self, value: f64, wanted: f64) -> bool {
        match self.bound {
            Bound::AtLeast => value >= wanted,
            Bound::AtMost => value <= wanted,
        }
    }
}

/// A comparison with another row of the same section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Against {
    /// The other row.
    pub key: String,
    /// Of the medians.
    pub ratio: f64,
    /// Of the ratio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
}

/// A quantity.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Stays the same from version to version.
    pub key: String,
    /// For people.
    pub what: String,
    /// Of all values.
    pub unit: String,
    /// Of the rounds.
    pub median: f64,
    /// The least of the rounds.
    pub min: f64,
    /// The greatest of the rounds.
    pub max: f64,
    /// What half of the calls took at most, where that was looked at: the median of the rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// What 99 of a hundred calls took at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Of the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<Against>,
}

/// What one run of a section came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// The day.
    pub date: String,
    /// What was measured.
    pub commit: String,
    /// Where.
    pub machine: String,
    /// How often.
    pub rounds: usize,
    /// Sizes, and how the disk is synced.
    pub setting: String,
    /// In the order of the table.
    pub rows: Vec<Row>,
}

/// Sections by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Results(BTreeMap<String, Section>);

impl Results {
    /// In place of what there was.
    pub fn put(&mut self, name: &str, section: Section) {
        self.0.insert(name.to_owned(), section);
    }

    /// A section, if it was measured.
    pub fn get(&self, name: &str) -> Option<&Section> {
        self.0.get(name)
    }

    /// All of them.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.0.iter().map(|(name, section)| (name.as_str(), section))
    }
}

fn file() -> PathBuf {
    places::root().join("benches/results.json")
}

/// What was kept; nothing before the first time.
pub fn kept() -> Outcome<Results> {
    if !file().exists() {
        return Ok(Results::default());
    }
    let text = fs::read_to_string(file())?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file().display()).into())
}

/// Puts what was measured in place of what was kept of the same sections, and shows all of it.
pub fn keep(measured: &Results) -> Outcome<()> {
    let mut results = kept()?;
    results.0.extend(measured.0.clone());
    fs::write(file(), serde_json::to_string_pretty(&results)? + "\n")?;
    table::write(&results)
}
