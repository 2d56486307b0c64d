//! What a filing did, for people: `file`, `retract` and `restore` print the same.

use super::{
    error::CliError,
    output::{self, Out},
    watch, words,
};
use crate::pb::v1::{Event, FilingResult};

/// A table of what became of each report, then warnings, then one line per event.
///
/// # Errors
///
/// When it cannot be written.
pub fn print(out: &mut Out, results: &[FilingResult], events: &[Event]) -> Result<(), CliError> {
    if !results.is_empty() {
        out.line(table(results))?;
    }
    for result in results {
        for warning in &result.warnings {
            out.line(output::colour(33, format_args!("warning: {}: {warning}", result.record)))?;
        }
    }
    for event in events {
        out.line(format_args!("  {}", watch::line(event)))?;
    }
    Ok(())
}

/// The end of a filing: `filed as revision 12, token …`.
#[must_use]
pub fn summary(count: usize, done: &str, revision: u64, token: &str, dry_run: bool) -> String {
    let reports = if count == 1 { "1 report".to_owned() } else { format!("{count} reports") };
    match (dry_run, revision) {
        (true, _) => format!("{reports} checked; nothing was {done} (--dry-run)"),
        (false, 0) => format!("{reports}: nothing new to record; position {token}"),
        (false, _) => format!("{reports} {done} as revision {revision}, position {token}"),
    }
}

fn table(results: &[FilingResult]) -> String {
    let mut table = output::table(["RECORD", "REPORT OF", "OUTCOME", "DISPUTED", "SETTLED"]);
    for FilingResult { report, record, outcome, disputed, settled, .. } in results {
        let source = report.split_once("/reports/").map_or(report.as_str(), |(_, source)| source);
        let outcome = words::human("FilingOutcome", *outcome);
        table.add_row([record, source, &outcome, &disputed.join(", "), &settled.join(", ")]);
    }
    output::trimmed(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::FilingOutcome;

    #[test]
    fn a_result_names_record_source_and_outcome() {
        let result = FilingResult {
            report: "visits/v/reports/s".into(),
            record: "visits/v".into(),
            outcome: FilingOutcome::NoChange as i32,
            disputed: vec!["type".into()],
            ..FilingResult::default()
        };
        let text = table(&[result]);
        let row = text.lines().nth(1).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["visits/v", "s", "no", "change", "type"]);
    }

    #[test]
    fn the_summary_says_whether_anything_was_recorded() {
        assert!(summary(1, "filed", 0, "t", false).contains("nothing new"));
        assert!(summary(2, "filed", 7, "t", false).contains("2 reports filed as revision 7"));
        assert!(summary(2, "filed", 7, "t", true).contains("nothing was filed"));
    }
}
