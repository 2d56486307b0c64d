//! `--check`: a short run beside the one that was kept.

use std::process::ExitCode;

use crate::{
    Outcome,
    results::{self, Results, Row, Section},
    rows::Rows,
    table::number,
};

/// Under which name the short run is kept.
const NAME: &str = "check";
/// A ratio that falls below so much of the one that was kept fails: less is the machine's mood.
const LEAST: f64 = 0.75;

/// Nothing is compared with what waits for the disk alone: that is ten times as fast on one day as on another.
const NOT_COMPARED: [&str; 2] = ["sqlite", "sqlite-alone"];

/// Compares the ratios, or keeps them.
pub fn conclude(measured: &Results, write: bool) -> Outcome<ExitCode> {
    let now = ratios(measured);
    if write {
        let mut results = Results::default();
        results.put(NAME, now);
        results::keep(&results)?;
        println!("kept in benches/results.json");
        return Ok(ExitCode::SUCCESS);
    }
    let results = results::kept()?;
    let kept =
        results.get(NAME).ok_or("no check was kept yet: run --check --write on a commit that is known to be good")?;
    println!("ratios, now and as kept on {} at commit {} ({}):", kept.date, kept.commit, kept.machine);
    let fallen: Vec<&Row> = kept.rows.iter().filter(|row| !stands(row, &now)).collect();
    for row in &fallen {
        let section = row.key.split('/').next().unwrap_or_default();
        println!(
            "fell: {}. Run `cargo bench --bench compare -- --only {section}` here and on commit {}; if it is not the \
             machine, `git bisect` between them.",
            row.what, kept.commit
        );
    }
    Ok(if fallen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every comparison as a row of its own, whose value is the ratio.
fn ratios(measured: &Results) -> Section {
    let mut rows = Rows::new("The short run of --check: ratios of medians.");
    let mut rounds = 0;
    for (name, section) in measured.sections() {
        rounds = section.rounds;
        let all = section.rows.iter().flat_map(|row| row.against.iter().map(move |against| (row, against)));
        for (row, against) in all.filter(|(_, against)| !NOT_COMPARED.contains(&against.key.as_str())) {
            let key = format!("{name}/{}/{}", row.key, against.key);
            rows.row(key.clone(), format!("{} against {}", row.what, against.key), "×");
            rows.take(&key, against.ratio);
        }
    }
    rows.finish(rounds)
}

/// Says how a ratio moved, and whether it stands.
fn stands(kept: &Row, now: &Section) -> bool {
    let Some(row) = now.rows.iter().find(|row| row.key == kept.key) else {
        println!("  {}: {} as kept, not measured now", kept.what, number(kept.median));
        return false;
    };
    let moved = row.median / kept.median;
    println!("  {}: {} now, {} as kept, {moved:.2} of it", kept.what, number(row.median), number(kept.median));
    moved >= LEAST
}
