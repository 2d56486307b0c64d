//! `attache file`: files what sources state.

use std::path::PathBuf;

use clap::Args;
use uuid::Uuid;

use super::{
    client::{ClientArgs, Filing},
    error::CliError,
    input,
    output::{self, Out},
    results, retry,
};
use crate::pb::{
    self,
    v1::{FileReportsRequest, FileReportsResponse, Intent},
};

/// Arguments of `attache file`.
#[derive(Debug, Clone, Args)]
pub struct FileArgs {
    /// Files of reports, or - for standard input: a request, a report, or a list or lines of reports, in JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Say what would happen, and file nothing
    #[arg(long)]
    dry_run: bool,
    /// Values that change were wrong before
    #[arg(long, conflicts_with = "update")]
    correction: bool,
    /// Values that change have changed in the world
    #[arg(long)]
    update: bool,
    /// Makes repeating the command safe: the same id with the same content is filed once
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Files every file, one after the other; the first that is refused ends it.
///
/// # Errors
///
/// [`CliError::Usage`] for files that cannot be read, before anything is filed; else what the server says.
pub async fn run(args: &FileArgs) -> Result<(), CliError> {
    let requests = args.requests()?;
    let client = args.client.connect().await?.filing();
    let mut out = Out::new(args.client.output.output);
    for request in &requests {
        let answer = send(&client, request).await?;
        print(&mut out, request, &answer)?;
        out.flush()?;
    }
    out.end_items()?;
    out.flush()
}

async fn send(client: &Filing, request: &FileReportsRequest) -> Result<FileReportsResponse, CliError> {
    retry::with_retries(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.file_reports(request).await }
    })
    .await
}

fn print(out: &mut Out, request: &FileReportsRequest, answer: &FileReportsResponse) -> Result<(), CliError> {
    if !out.is_table() {
        return out.item(&pb::to_json("FileReportsResponse", answer));
    }
    results::print(out, &answer.results, &answer.events)?;
    let dry_run = request.validate_only;
    out.line(results::summary(answer.results.len(), "filed", answer.revision, &answer.token, dry_run))
}

impl FileArgs {
    /// All files are read before the first is filed.
    fn requests(&self) -> Result<Vec<FileReportsRequest>, CliError> {
        let mut requests = Vec::new();
        for path in &self.files {
            let text = input::read(path)?;
            let parsed = input::parse(&text).map_err(|e| CliError::Usage(format!("{}: {e}", path.display())))?;
            if parsed.len() > 1 {
                let parts = parsed.len();
                output::note(format_args!("{} is filed in {parts} parts, each all or nothing", path.display()));
            }
            requests.extend(parsed);
        }
        if self.request_id.is_some() && requests.len() > 1 {
            let words = format!("--request-id is good for one filing, and these are {}", requests.len());
            return Err(CliError::Usage(words));
        }
        requests.iter_mut().for_each(|request| self.complete(request));
        Ok(requests)
    }

    /// Flags win over what the file says.
    fn complete(&self, request: &mut FileReportsRequest) {
        request.validate_only |= self.dry_run;
        if self.correction {
            request.intent = Intent::Correction as i32;
        } else if self.update {
            request.intent = Intent::Update as i32;
        }
        let given = self.request_id.clone().or_else(|| request.request_id.take());
        request.request_id = Some(given.unwrap_or_else(|| Uuid::now_v7().to_string()));
    }
}
