//! `attache match`: which records may be the same as those in a file.

use std::path::PathBuf;

use clap::Args;

use super::{
    client::ClientArgs,
    error::CliError,
    filter_args::{DateArgs, FilterArgs},
    input,
    output::{self, Out},
    position::{self, Position},
    view::{of_record, summary, text},
};
use crate::pb::{
    self,
    v1::{MatchCandidate, MatchRecordsRequest, MatchRecordsResponse, Report},
};

/// Arguments of `attache match`.
#[derive(Debug, Clone, Args)]
pub struct MatchArgs {
    /// A report, or several, as `attache file` takes them; record and source may be missing. `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// At most this many for each
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    limit: i32,
    /// As it was known then: an instant with offset, or a token
    #[arg(long, value_name = "TIME|TOKEN", value_parser = position::parse)]
    known_at: Option<Position>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    dates: DateArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the candidates of each report with their reasons, the likeliest first.
///
/// # Errors
///
/// What the server says, or that the file cannot be read.
pub async fn run(args: &MatchArgs) -> Result<(), CliError> {
    let requests = input::parse(&input::read(&args.file)?)
        .map_err(|why| CliError::Usage(format!("{}: {why}", args.file.display())))?;
    let filters = args.filter.filters(&args.dates)?;
    let as_of = args.known_at.as_ref().map(Position::as_of);
    let mut client = args.client.connect().await?.registry();
    let mut out = Out::new(args.client.output.output);
    for report in requests.into_iter().flat_map(|r| r.reports) {
        let request = MatchRecordsRequest {
            report: Some(report.clone()),
            filters: filters.clone(),
            limit: args.limit,
            as_of: as_of.clone(),
            ..MatchRecordsRequest::default()
        };
        let answer = client.match_records(request).await?.into_inner();
        print(&mut out, &report, &answer)?;
    }
    out.end_items()?;
    out.flush()
}

fn print(out: &mut Out, report: &Report, answer: &MatchRecordsResponse) -> Result<(), CliError> {
    if !out.is_table() {
        return out.item(&pb::to_json("MatchRecordsResponse", answer));
    }
    if !report.record.is_empty() {
        out.line(output::bold(&report.record))?;
    }
    if answer.candidates.is_empty() {
        return out.line("nothing like it is known");
    }
    out.line(table(&answer.candidates)?)
}

fn table(candidates: &[MatchCandidate]) -> Result<String, CliError> {
    let mut table = output::table(["SCORE", "NAME", "WHEN", "WHAT", "WHY"]);
    for candidate in candidates {
        let (kind, record) = of_record(candidate.record.as_ref())?;
        table.add_row([
            format!("{:.2}", candidate.score),
            text(&record, "name").to_owned(),
            summary::when(&record),
            summary::one_line(kind, &record),
            candidate.reasons.join("; "),
        ]);
    }
    Ok(output::trimmed(&table))
}
