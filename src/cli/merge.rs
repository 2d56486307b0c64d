//! `attache merge` and `attache unmerge`.

use clap::Args;

use super::{
    client::ClientArgs,
    error::CliError,
    output::Out,
    results,
    retract::{editor, fresh_id, ruling},
    retry,
};
use crate::pb::{
    self,
    v1::{MergeRecordsRequest, UnmergeRecordsRequest},
};

/// Arguments of `attache merge`.
#[derive(Debug, Clone, Args)]
pub struct MergeArgs {
    /// The name that is merged, such as persons/r-jaksilikov
    loser: String,
    /// The name that stands for both
    survivor: String,
    /// The name of the ruling, sources/…
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Who rules, organizations/… or a name in words
    #[arg(long, value_name = "NAME")]
    publisher: String,
    /// Why, in words
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Say what would happen, and merge nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Arguments of `attache unmerge`.
#[derive(Debug, Clone, Args)]
pub struct UnmergeArgs {
    /// The name that had been merged
    name: String,
    /// Say what would happen, and lift nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Merges.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &MergeArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?.filing();
    let mut out = Out::new(args.client.output.output);
    let request = args.request();
    let answer = retry::with_retries(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.merge_records(request).await }
    })
    .await?;
    if out.is_table() {
        let results: Vec<_> = answer.result.into_iter().collect();
        results::print(&mut out, &results, &answer.events)?;
        out.line(ruling("recorded", answer.revision, &answer.token, args.dry_run))?;
    } else {
        out.object(&pb::to_json("MergeRecordsResponse", &answer))?;
    }
    out.flush()
}

/// Lifts a merge.
///
/// # Errors
///
/// What the server says.
pub async fn unmerge(args: &UnmergeArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?.filing();
    let mut out = Out::new(args.client.output.output);
    let request =
        UnmergeRecordsRequest { loser: args.name.clone(), request_id: fresh_id(), validate_only: args.dry_run };
    let answer = retry::with_retries(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.unmerge_records(request).await }
    })
    .await?;
    if out.is_table() {
        results::print(&mut out, &answer.results, &answer.events)?;
        out.line(ruling("lifted", answer.revision, &answer.token, args.dry_run))?;
    } else {
        out.object(&pb::to_json("UnmergeRecordsResponse", &answer))?;
    }
    out.flush()
}

impl MergeArgs {
    fn request(&self) -> MergeRecordsRequest {
        MergeRecordsRequest {
            loser: self.loser.clone(),
            survivor: self.survivor.clone(),
            source: Some(editor(&self.source, &self.publisher)),
            note: self.note.clone(),
            request_id: fresh_id(),
            validate_only: self.dry_run,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::pb::v1::SourceKind;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: MergeArgs,
    }

    #[test]
    fn a_merge_is_ruled_by_an_editors_source() {
        let line = "x persons/a persons/b --source sources/r --publisher organizations/desk --note same";
        let request = Line::try_parse_from(line.split_whitespace()).unwrap().args.request();
        assert_eq!((request.loser.as_str(), request.survivor.as_str()), ("persons/a", "persons/b"));
        let source = request.source.unwrap();
        assert_eq!((source.kind(), source.name.as_str()), (SourceKind::Editor, "sources/r"));
        assert!(Line::try_parse_from("x persons/a persons/b".split_whitespace()).is_err(), "a ruling has a source");
    }
}
