//! `attache bench fill`: a store like a real one.

use std::{
    ops::Range,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::{Args, value_parser};
use prost::Message as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{file::may_write, generate, load, result};
use crate::{
    cli::{
        client::{ClientArgs, Connection},
        error::CliError,
        import::send::{Ended, send},
        output::{self, Out},
    },
    clock,
    import::batch::Batch,
    pb::v1::{ImportItem, ImportReportsRequest, ImportReportsResponse, import_item::Item, import_result::Outcome},
    tasks::Tasks,
};

/// Records of a batch: what one revision of an import takes.
const BATCH_RECORDS: u64 = 100;

/// Arguments of `attache bench fill`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "The same seed and number make the same record anywhere. Filling again changes nothing; --from goes on."
)]
pub struct FillArgs {
    /// Records
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=100_000_000))]
    records: u64,
    /// The first of them
    #[arg(long, default_value_t = 0, value_name = "NUMBER", value_parser = value_parser!(u64).range(0..=10_000_000_000))]
    from: u64,
    /// Decides what the records say
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Imports at once, each on a connection of its own
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Yes, write to this registry
    #[arg(long)]
    yes_write: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Fills.
///
/// # Errors
///
/// [`CliError::Usage`] without `--yes-write`; [`CliError::RowsRefused`] if any record was; else what the server says.
pub async fn run(args: &FillArgs) -> Result<(), CliError> {
    may_write(args.yes_write)?;
    let mut connections = Vec::new();
    for _ in 0..args.connections {
        connections.push(args.client.connect().await?);
    }
    let began = clock::ticks();
    let fill = Arc::new(Fill::new(args));
    let stop = CancellationToken::new();
    let (tasks, interrupt) = (Tasks::default(), load::Interrupt::listen().await);
    for (lane, connection) in connections.into_iter().enumerate() {
        drop(tasks.spawn("fill", Arc::clone(&fill).lane(lane as u64, connection, stop.clone())));
    }
    let bar = load::bar(args.records, "{wide_bar} {pos}/{len} {per_sec} {eta}");
    load::until_drained(&tasks, &stop, interrupt, || bar.set_position(fill.answered())).await;
    bar.finish_and_clear();
    fill.print(args, began.elapsed())
}

/// What became of the records.
#[derive(Debug, Default)]
struct Tally {
    recorded: u64,
    refused: u64,
    /// The first that was refused.
    example: Option<String>,
    error: Option<CliError>,
}

/// A fill while it goes on. Lane `i` of `n` sends the batches `i`, `i + n`, `i + 2n` and so on.
struct Fill {
    numbers: Range<u64>,
    seed: u64,
    /// Of each lane how many batches were answered.
    lanes: Vec<AtomicU64>,
    tally: Mutex<Tally>,
}

impl Fill {
    fn new(args: &FillArgs) -> Self {
        let lanes = (0..args.connections).map(|_| AtomicU64::new(0)).collect();
        let numbers = args.from..args.from + args.records;
        Self { numbers, seed: args.seed, lanes, tally: Mutex::default() }
    }

    async fn lane(self: Arc<Self>, lane: u64, connection: Connection, stop: CancellationToken) {
        let batches = (lane..).step_by(self.lanes.len()).map_while(|number| self.batch(number));
        let filing = connection.filing();
        let sent = pin!(send(&filing, batches, |_, answer| {
            self.count(lane, &answer);
            Ok(())
        }));
        let ended = tokio::select! {
            ended = sent => ended,
            () = stop.cancelled() => Ok(()),
        };
        if let Err(Ended { error, .. }) = ended {
            self.tally().error.get_or_insert(error);
            // The others would leave a gap that nobody can name.
            stop.cancel();
        }
    }

    /// The numbers of a batch; empty after the end.
    fn range(&self, batch: u64) -> Range<u64> {
        let at = |batch: u64| self.numbers.end.min(self.numbers.start + batch * BATCH_RECORDS);
        at(batch)..at(batch + 1)
    }

    fn batch(&self, number: u64) -> Option<Batch> {
        let range = self.range(number);
        if range.is_empty() {
            return None;
        }
        let item = |number| ImportItem { item: Some(Item::Report(generate::report(self.seed, number))) };
        let items: Vec<_> = range.clone().map(item).collect();
        let rows = (0..items.len()).collect();
        let mut request = ImportReportsRequest { items, ..ImportReportsRequest::default() };
        // Other content has another id: a fill by a later version is no fraud.
        let digest = blake3::hash(&request.encode_to_vec()).to_hex();
        request.request_id = format!("bench-fill-{}-{}-{}", self.seed, range.start, &digest[..16]);
        Some(Batch { request, rows })
    }

    fn count(&self, lane: u64, answer: &ImportReportsResponse) {
        let mut tally = self.tally();
        for result in &answer.results {
            match &result.outcome {
                Some(Outcome::Refusal(refusal)) => {
                    tally.refused += 1;
                    tally.example.get_or_insert_with(|| refusal.message.clone());
                }
                Some(Outcome::Result(_)) | None => tally.recorded += 1,
            }
        }
        if let Some(lane) = usize::try_from(lane).ok().and_then(|lane| self.lanes.get(lane)) {
            lane.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) -> u64 {
        let tally = self.tally();
        tally.recorded + tally.refused
    }

    /// The first number that is not answered: everything before it is.
    fn reached(&self) -> u64 {
        let lanes = self.lanes.len() as u64;
        let next = |(lane, answered): (usize, &AtomicU64)| lane as u64 + lanes * answered.load(Ordering::Relaxed);
        let batch = self.lanes.iter().enumerate().map(next).min().unwrap_or(0);
        self.range(batch).start
    }

    fn print(&self, args: &FillArgs, took: Duration) -> Result<(), CliError> {
        let mut tally = self.tally();
        let rate = tally.recorded as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
        let reached = self.reached();
        let mut out = Out::new(args.client.output.output);
        if out.is_table() {
            let rate = result::round(rate);
            out.line(format_args!("{} records in {:.1} s, {rate} a second", tally.recorded, took.as_secs_f64()))?;
        } else {
            out.object(&json!({
                "command": "fill",
                "parameters": {"records": args.records, "from": args.from, "seed": args.seed, "connections": args.connections},
                "recorded": tally.recorded, "refused": tally.refused, "seconds": took.as_secs_f64(),
                "recordsPerSecond": result::round(rate), "reached": reached,
            }))?;
        }
        out.flush()?;
        if reached < self.numbers.end {
            let left = self.numbers.end - reached;
            output::note(format_args!("to go on from here: --from {reached} --records {left} --seed {}", self.seed));
        }
        if let Some(words) = &tally.example {
            output::note(format_args!("the first that was refused: {words}"));
        }
        let rows = usize::try_from(tally.recorded + tally.refused).unwrap_or(usize::MAX);
        match (tally.error.take(), usize::try_from(tally.refused).unwrap_or(usize::MAX)) {
            (Some(error), _) => Err(error),
            (None, 0) => Ok(()),
            (None, refused) => Err(CliError::RowsRefused { refused, rows }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(from: u64, records: u64) -> Fill {
        let lanes = (0..2).map(|_| AtomicU64::new(0)).collect();
        Fill { numbers: from..from + records, seed: 1, lanes, tally: Mutex::default() }
    }

    #[test]
    fn batches_cover_the_numbers_once() {
        let fill = fill(50, 230);
        let sizes: Vec<usize> = (0..).map_while(|number| fill.batch(number)).map(|b| b.request.items.len()).collect();
        assert_eq!(sizes, [100, 100, 30]);
        assert_eq!(fill.range(2), 250..280);
    }

    #[test]
    fn what_was_reached_has_no_gap_before_it() {
        let fill = fill(0, 1000);
        fill.lanes[0].store(3, Ordering::Relaxed);
        assert_eq!(fill.reached(), 100, "the second batch is the other lane's");
        fill.lanes[1].store(2, Ordering::Relaxed);
        assert_eq!(fill.reached(), 500);
        fill.lanes[0].store(5, Ordering::Relaxed);
        fill.lanes[1].store(5, Ordering::Relaxed);
        assert_eq!(fill.reached(), 1000);
    }
}
