//! `attache bench file`: filings, and what they filed withdrawn again.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::{Args, value_parser};
use serde_json::json;
use tonic::Status;
use uuid::Uuid;

use super::{
    generate,
    load::{self, LoadArgs, Work},
    result::{self, Setting, Words},
    skim::Method,
};
use crate::{
    cli::{client::Connection, error::CliError, output, retry},
    pb::v1::{
        Attribution, FileReportsRequest, Report, RetractReportsRequest, RetractionReason, Source, SourceKind,
        filing_service_server::SERVICE_NAME, report::Content, retract_reports_request::Selection,
    },
};

/// Decides what the visits say.
const SEED: u64 = 3;

/// Arguments of `attache bench file`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Each filing makes a visit of its own, visits/bench-RUN-…, from one source, sources/bench-RUN. They stand \
    in the log for good, also after they were withdrawn: measure on a store that you can throw away, or accept that."
)]
#[command(mut_arg("connections", |arg| arg.default_value("4")))]
#[command(mut_arg("streams", |arg| arg.default_value("16")))]
pub struct FileArgs {
    /// Yes, write to this registry
    #[arg(long)]
    yes_write: bool,
    /// Filings a second, all streams together, each with its latency from when it was due; 0 is as fast as answers come
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = value_parser!(u32).range(0..=1_000_000))]
    rate: u32,
    /// Reports of one filing
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = value_parser!(u64).range(1..=500))]
    reports: u64,
    /// Leave what was filed; otherwise it is withdrawn at the end
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    load: LoadArgs,
}

/// Files until the time is over, and withdraws what it filed.
///
/// # Errors
///
/// [`CliError::Usage`] without `--yes-write`; [`CliError::CallsFailed`] if any filing failed.
pub async fn run(args: &FileArgs) -> Result<(), CliError> {
    may_write(args.yes_write)?;
    let connections = args.load.connect().await?;
    let Some(first) = connections.first() else { return Ok(()) };
    let parameters = [args.load.to_json(), json!({"rate": args.rate, "reports": args.reports})];
    let setting = Setting::ask("file", &args.load.client, first, &parameters).await?;
    let run = Arc::new(Run { id: run_id(), next: AtomicU64::new(0), reports: args.reports });
    let filer = |connection: &Connection| Filer {
        method: Method::new(connection.wire(), SERVICE_NAME, "FileReports"),
        run: Arc::clone(&run),
    };
    let works = connections.iter().map(|c| (0..args.load.streams).map(|_| filer(c)).collect()).collect();
    let rate = (args.rate > 0).then_some(args.rate);
    let measured = load::run(&args.load, rate, works).await;
    let withdrawn = if args.keep { Ok(0) } else { withdraw(first, &run).await };
    let kept = if args.keep { run.source_name() } else { String::new() };
    let reports = measured.latency.count() * args.reports;
    let mut extra = vec![
        ("reports", "reports", json!(reports)),
        ("reports a second", "reportsPerSecond", json!(result::round(measured.per_second(reports)))),
    ];
    if let Ok(withdrawn) = &withdrawn {
        extra.push(("withdrawn", "withdrawn", json!(withdrawn)));
    }
    if args.keep {
        extra.push(("kept, of", "source", json!(kept)));
    }
    let printed =
        result::print(&args.load.client, &setting, Words { calls: "filings", times: "latency" }, &measured, &extra);
    withdrawn?;
    printed
}

/// Refuses to write without having been told to.
///
/// # Errors
///
/// [`CliError::Usage`] without the flag.
pub fn may_write(yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let words = "this writes made-up records into the registry, and its log keeps them for good: say --yes-write if that \
                 is meant, or start a server of your own with `attache serve --in-memory`";
    Err(CliError::Usage(words.into()))
}

fn run_id() -> String {
    let id = Uuid::now_v7().simple().to_string();
    // Its end is random.
    id[id.len() - 12..].to_owned()
}

/// What all streams of a run share.
struct Run {
    id: String,
    /// The number of the next report.
    next: AtomicU64,
    reports: u64,
}

impl Run {
    fn source_name(&self) -> String {
        format!("sources/bench-{}", self.id)
    }

    fn source(&self) -> Source {
        Source {
            name: self.source_name(),
            publisher: Some(Attribution { name_as_stated: Some("attache bench".into()), organization: None }),
            kind: SourceKind::Dataset.into(),
            ..Source::default()
        }
    }

    fn filing(&self) -> FileReportsRequest {
        let first = self.next.fetch_add(self.reports, Ordering::Relaxed);
        let report = |number| Report {
            record: format!("visits/bench-{}-{number}", self.id),
            content: Some(Content::Visit(generate::visit(SEED, number))),
            ..Report::default()
        };
        FileReportsRequest {
            reports: (first..first + self.reports).map(report).collect(),
            source: Some(self.source()),
            ..FileReportsRequest::default()
        }
    }
}

/// One stream.
struct Filer {
    method: Method,
    run: Arc<Run>,
}

impl Work for Filer {
    async fn call(&mut self) -> Result<u64, Status> {
        Ok(self.method.call::<_, ()>(self.run.filing()).await?.bytes)
    }
}

/// Withdraws the run's reports until none is left; how many those were.
async fn withdraw(connection: &Connection, run: &Run) -> Result<usize, CliError> {
    let mut withdrawn = 0;
    let bar = load::bar(run.next.load(Ordering::Relaxed), "{wide_bar} {pos}/{len} withdrawn");
    loop {
        let request = RetractReportsRequest {
            reason: RetractionReason::FilerError.into(),
            selection: Some(Selection::Source(run.source_name())),
            ..RetractReportsRequest::default()
        };
        let answer = interruptible(retry::with_retries(|| {
            let (mut filing, request) = (connection.filing(), request.clone());
            async move { filing.retract_reports(request).await }
        }));
        let answer = match answer.await {
            Ok(answer) => answer,
            // Nothing was taken at all: the source is not known.
            Err(CliError::Refused(status)) if withdrawn == 0 && is_unknown(&status) => return Ok(0),
            Err(error) => {
                bar.finish_and_clear();
                let source = run.source_name();
                output::note(format_args!(
                    "not everything was withdrawn: `attache retract source {source} --reason filer-error` goes on"
                ));
                return Err(error);
            }
        };
        withdrawn += answer.results.len();
        bar.inc(answer.results.len() as u64);
        if answer.remaining == 0 {
            bar.finish_and_clear();
            return Ok(withdrawn);
        }
    }
}

fn is_unknown(status: &Status) -> bool {
    crate::cli::error::reason(status) == "RECORD_NOT_FOUND"
}

/// Ctrl-C ends the withdrawal too, if it comes once more.
async fn interruptible<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(CliError::Interrupted),
    }
}
