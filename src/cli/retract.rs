//! `attache retract` and `attache restore`.

use clap::{Args, ValueEnum};
use uuid::Uuid;

use super::{
    client::{ClientArgs, Filing},
    error::CliError,
    output::Out,
    results, retry, words,
};
use crate::pb::{
    self,
    v1::{
        Attribution, RestoreRecordRequest, RetractRecordRequest, RetractReportsRequest, RetractReportsResponse, Source,
        SourceKind, retract_reports_request::Selection,
    },
};

/// What is retracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// One report
    Report,
    /// All reports of a source
    Source,
    /// All reports of a publisher
    Publisher,
    /// A record, by a ruling that stands until it is lifted
    Record,
}

/// Arguments of `attache retract`.
#[derive(Debug, Clone, Args)]
pub struct RetractArgs {
    /// What is retracted
    #[arg(value_enum)]
    what: What,
    /// Its name; of a publisher its organization or its name in words
    name: String,
    /// Why: duplicate, out-of-scope, source-withdrawn, fabricated or filer-error
    #[arg(long, value_name = "REASON", value_parser = words::parser("RetractionReason"))]
    reason: i32,
    /// Of a record: the name of the ruling, sources/…
    #[arg(long, value_name = "NAME", required_if_eq("what", "record"))]
    source: Option<String>,
    /// Of a record: who rules, organizations/… or a name in words
    #[arg(long, value_name = "NAME", required_if_eq("what", "record"))]
    publisher: Option<String>,
    /// Of a record: why, in words
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Say what would happen, and retract nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Arguments of `attache restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The record that was retracted
    name: String,
    /// The ruling to lift, sources/…; all of them if absent
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Say what would happen, and restore nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Retracts.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &RetractArgs) -> Result<(), CliError> {
    let selection = args.selection()?;
    let client = args.client.connect().await?.filing();
    let mut out = Out::new(args.client.output.output);
    match selection {
        Some(selection) => reports(args, selection, &client, &mut out).await?,
        None => record(args, &client, &mut out).await?,
    }
    out.flush()
}

/// Restores.
///
/// # Errors
///
/// What the server says.
pub async fn restore(args: &RestoreArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?.filing();
    let mut out = Out::new(args.client.output.output);
    let request = RestoreRecordRequest {
        name: args.name.clone(),
        source: args.source.clone(),
        request_id: fresh_id(),
        validate_only: args.dry_run,
    };
    let answer = retry::with_retries(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.restore_record(request).await }
    })
    .await?;
    if out.is_table() {
        let results: Vec<_> = answer.result.into_iter().collect();
        results::print(&mut out, &results, &answer.events)?;
        out.line(ruling("lifted", answer.revision, &answer.token, args.dry_run))?;
    } else {
        out.object(&pb::to_json("RestoreRecordResponse", &answer))?;
    }
    out.flush()
}

/// As many per revision as fit, until none is left.
async fn reports(args: &RetractArgs, selection: Selection, client: &Filing, out: &mut Out) -> Result<(), CliError> {
    loop {
        let request = RetractReportsRequest {
            reason: args.reason,
            request_id: fresh_id(),
            validate_only: args.dry_run,
            selection: Some(selection.clone()),
        };
        let answer = retry::with_retries(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.retract_reports(request).await }
        })
        .await?;
        print_reports(out, &answer, args.dry_run)?;
        if answer.remaining == 0 || args.dry_run {
            return out.end_items();
        }
        if answer.results.is_empty() {
            return Err(CliError::Broken("reports remain, and none was withdrawn"));
        }
    }
}

fn print_reports(out: &mut Out, answer: &RetractReportsResponse, dry_run: bool) -> Result<(), CliError> {
    if !out.is_table() {
        return out.item(&pb::to_json("RetractReportsResponse", answer));
    }
    results::print(out, &answer.results, &answer.events)?;
    out.line(results::summary(answer.results.len(), "withdrawn", answer.revision, &answer.token, dry_run))?;
    if answer.remaining > 0 {
        out.line(format_args!("{} more remain", answer.remaining))?;
    }
    out.flush()
}

async fn record(args: &RetractArgs, client: &Filing, out: &mut Out) -> Result<(), CliError> {
    let request = args.ruling();
    let answer = retry::with_retries(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.retract_record(request).await }
    })
    .await?;
    if !out.is_table() {
        return out.object(&pb::to_json("RetractRecordResponse", &answer));
    }
    let results: Vec<_> = answer.result.into_iter().collect();
    results::print(out, &results, &answer.events)?;
    out.line(ruling("recorded", answer.revision, &answer.token, args.dry_run))
}

/// The last line of a ruling that was made or lifted.
pub(super) fn ruling(done: &str, revision: u64, token: &str, dry_run: bool) -> String {
    match (dry_run, revision) {
        (true, _) => "checked; nothing was changed (--dry-run)".to_owned(),
        (false, 0) => format!("nothing to change; position {token}"),
        (false, _) => format!("ruling {done} as revision {revision}, position {token}"),
    }
}

impl RetractArgs {
    fn selection(&self) -> Result<Option<Selection>, CliError> {
        let name = self.name.clone();
        if self.what != What::Record && (self.source.is_some() || self.publisher.is_some() || self.note.is_some()) {
            let words = "--source, --publisher and --note belong to a ruling: `attache retract record`";
            return Err(CliError::Usage(words.into()));
        }
        Ok(match self.what {
            What::Report => Some(Selection::Report(name)),
            What::Source => Some(Selection::Source(name)),
            What::Publisher => Some(Selection::Publisher(name)),
            What::Record => None,
        })
    }

    fn ruling(&self) -> RetractRecordRequest {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        let source = editor(&text(&self.source), &text(&self.publisher));
        RetractRecordRequest {
            name: self.name.clone(),
            reason: self.reason,
            source: Some(source),
            note: self.note.clone(),
            request_id: fresh_id(),
            validate_only: self.dry_run,
        }
    }
}

/// The source of a ruling.
pub(super) fn editor(name: &str, publisher: &str) -> Source {
    Source {
        name: name.to_owned(),
        publisher: Some(attribution(publisher)),
        kind: SourceKind::Editor as i32,
        ..Source::default()
    }
}

fn attribution(name: &str) -> Attribution {
    let organization = name.starts_with("organizations/").then(|| name.to_owned());
    Attribution { name_as_stated: organization.is_none().then(|| name.to_owned()), organization }
}

#[allow(clippy::unnecessary_wraps, reason = "requests carry it as optional")]
pub(super) fn fresh_id() -> Option<String> {
    Some(Uuid::now_v7().to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: RetractArgs,
    }

    fn parse(line: &str) -> Result<RetractArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("x").chain(line.split_whitespace())).map(|line| line.args)
    }

    #[test]
    fn a_ruling_is_filed_as_an_editors_source() {
        let line = "record visits/x --reason out-of-scope --source sources/r --publisher organizations/desk";
        let request = parse(line).unwrap().ruling();
        let source = request.source.unwrap();
        assert_eq!(source.kind, SourceKind::Editor as i32);
        assert_eq!(source.publisher.unwrap().organization.as_deref(), Some("organizations/desk"));
        assert_eq!(request.reason, crate::pb::v1::RetractionReason::OutOfScope as i32);
    }

    #[test]
    fn a_ruling_needs_its_source_and_a_report_has_none() {
        assert!(parse("record visits/x --reason duplicate").is_err());
        assert!(parse("report visits/x/reports/y").is_err(), "a reason is required");
        let args = parse("report visits/x/reports/y --reason duplicate --note why").unwrap();
        assert!(args.selection().is_err());
    }
}
