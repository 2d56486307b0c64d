//! `attache import`: takes over the rows of an outside format.
//!
//! Reading is all or nothing: a file that is cut off or of another format ends the command before anything is sent. What
//! the rows come to is told to the row.

mod args;
pub mod send;
mod tally;

use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

pub use self::args::ImportArgs;
use self::{
    send::{Ended, send},
    tally::Tally,
};
use super::{error::CliError, output};
use crate::import::{
    self, Import, Kind, Outcome,
    batch::{Batch, Batches, Run},
};

/// Reads, sends, and tells what became of each row.
///
/// # Errors
///
/// [`CliError::Usage`] for files that cannot be read, before anything is sent; [`CliError::RowsRefused`] if some rows
/// were; else what the server says, after what was done so far was told.
pub async fn run(args: &ImportArgs) -> Result<(), CliError> {
    let (files, unread) = args.files()?;
    let states = args.states()?;
    let import = import::read(args.kind, &files, &states).map_err(|e| CliError::Usage(e.to_string()))?;
    drop(files);
    let mut tally = Tally::of(&import, unread);
    let ended = transfer(args, &import, &mut tally).await;
    if let Some(path) = &args.refused {
        tally.write_refused(path)?;
    }
    tally.print(args)?;
    ended?;
    match tally.refused() {
        0 => Ok(()),
        refused => Err(CliError::RowsRefused { refused, rows: import.rows.len() }),
    }
}

async fn transfer(args: &ImportArgs, import: &Import, tally: &mut Tally) -> Result<(), CliError> {
    let connection = args.client.connect().await?;
    let batches = Batches::of(import, Run { id: run_id(args.kind), validate_only: args.dry_run });
    let newest = if args.resume { connection.log().get_log_info(v1()).await?.into_inner().recorded_at } else { None };
    let is_done =
        |batch: &Batch| newest.is_some_and(|newest| batch.request.recorded_at.is_some_and(|at| before(&at, &newest)));
    let bar = bar(import);
    let mut remaining = Vec::new();
    for batch in batches {
        if is_done(&batch) {
            bar.inc(batch.rows.len() as u64);
            tally.recorded_before(&batch);
        } else {
            remaining.push(batch);
        }
    }
    let ended = send(&connection.filing(), remaining.into_iter(), |batch, answer| {
        bar.inc(batch.rows.len() as u64);
        tally.answered(&batch, answer)
    })
    .await;
    bar.finish_and_clear();
    ended.map_err(|Ended { error, batch }| explain(error, batch, import))
}

fn v1() -> crate::pb::v1::GetLogInfoRequest {
    crate::pb::v1::GetLogInfoRequest {}
}

fn before(a: &prost_types::Timestamp, b: &prost_types::Timestamp) -> bool {
    (a.seconds, a.nanos) < (b.seconds, b.nanos)
}

/// A replay has the same ids whenever it runs, because it can be filed only once. Other imports file again what was
/// retracted since, so each run has ids of its own; that it changes nothing twice is the registry's doing.
fn run_id(kind: Kind) -> String {
    match kind {
        Kind::VisitsHistory => format!("import-{kind}"),
        _ => format!("import-{}", Uuid::now_v7()),
    }
}

/// On a terminal; elsewhere it shows nothing.
fn bar(import: &Import) -> ProgressBar {
    let items = import.rows.iter().map(|row| if let Outcome::Items(items) = &row.outcome { items.len() } else { 0 });
    let bar = ProgressBar::new(items.sum::<usize>() as u64);
    let template = "{wide_bar} {pos}/{len} {per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Says where the batch stands that ended the import.
fn explain(error: CliError, batch: Option<Batch>, import: &Import) -> CliError {
    let Some(batch) = batch else { return error };
    if let (Some(first), Some(last)) = (batch.rows.first(), batch.rows.last()) {
        let (first, last) = (&import.rows[*first].place, &import.rows[*last].place);
        output::note(format_args!("it ended at the rows from {first} to {last}; all before them are answered"));
    }
    if batch.request.recorded_at.is_some() {
        output::note("a replay that was interrupted goes on with --resume; it cannot be filed after anything else");
    }
    error
}
