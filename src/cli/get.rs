//! `attache get`: one record of any kind.

use clap::Args;
use serde_json::Value;

use super::{
    client::{ClientArgs, Registry},
    dates,
    error::CliError,
    fetch,
    kinds::Kind,
    output::{self, Out},
    position::{self, Position},
    view::{explain, list, record, status, text},
};
use crate::pb::{
    self,
    v1::{AsOf, ExplainRecordRequest},
};

/// Arguments of `attache get`.
#[derive(Debug, Clone, Args)]
pub struct GetArgs {
    /// The record, such as visits/az-kz-2023
    name: String,
    /// As it was known then: an instant with offset, or a token
    #[arg(long, value_name = "TIME|TOKEN", value_parser = position::parse)]
    known_at: Option<Position>,
    /// With the status of this day: YYYY-MM-DD; if absent the registry's day, or its day as of --known-at
    #[arg(long, value_name = "DAY", value_parser = dates::day, conflicts_with = "explain")]
    valid_at: Option<String>,
    /// Show of each field where its value comes from, and what every other account says
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the record.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &GetArgs) -> Result<(), CliError> {
    let kind = Kind::of_name(&args.name)?;
    let valid_at = status::day_for(kind, args.valid_at.as_ref())?;
    let mut client = args.client.connect().await?.registry();
    let as_of = args.known_at.as_ref().map(Position::as_of);
    let mut out = Out::new(args.client.output.output);
    if args.explain {
        let explanation = explanation(&mut client, &args.name, as_of).await?;
        if out.is_table() { out.line(explain::page(kind, &explanation))? } else { out.object(&explanation)? }
    } else {
        let record = fetch::get(&mut client, kind, &args.name, as_of.clone(), valid_at).await?;
        warn_if_merged(&args.name, &record);
        if out.is_table() {
            let explanation = disputed_explanation(&mut client, &record, as_of).await?;
            out.line(record::record(kind, &record, explanation.as_ref()))?;
        } else {
            out.object(&record)?;
        }
    }
    out.flush()
}

async fn disputed_explanation(
    client: &mut Registry,
    record: &Value,
    as_of: Option<AsOf>,
) -> Result<Option<Value>, CliError> {
    let disputed = record.get("info").is_some_and(|info| !list(info, "disputedFields").is_empty());
    if !disputed {
        return Ok(None);
    }
    explanation(client, text(record, "name"), as_of).await.map(Some)
}

async fn explanation(client: &mut Registry, name: &str, as_of: Option<AsOf>) -> Result<Value, CliError> {
    let request = ExplainRecordRequest { name: name.to_owned(), as_of, at_least: None };
    let answer = client.explain_record(request).await?.into_inner();
    Ok(pb::to_json("ExplainRecordResponse", &answer))
}

fn warn_if_merged(asked: &str, record: &Value) {
    let name = text(record, "name");
    if name != asked {
        output::note(format_args!("{asked} was merged into {name}"));
    }
}
