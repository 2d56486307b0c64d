//! `attache trim`: drop old history, on every replica.

use clap::Args;

use super::{
    client::ClientArgs,
    error::CliError,
    output::Out,
    position::{self, Position},
};
use crate::pb::{
    self,
    v1::{TrimLogRequest, TrimLogResponse, trim_log_request::Keep},
};

/// Arguments of `attache trim`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "What stands as of the oldest position is kept, however old it is. Dropped history does not come back."
)]
pub struct TrimArgs {
    /// Keep what comes after this: a token, an instant with offset, or the number of the first revision to keep
    #[arg(long, value_name = "POSITION", value_parser = keep)]
    before: Keep,
    /// Say what would be dropped, and drop nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

fn keep(text: &str) -> Result<Keep, String> {
    if let Ok(revision) = text.parse() {
        return Ok(Keep::FromRevision(revision));
    }
    Ok(match position::parse(text).map_err(|why| format!("{why}, or a revision"))? {
        Position::Token(token) => Keep::AfterToken(token),
        Position::Time(time) => Keep::Since(position::to_proto(time)),
    })
}

/// Trims, and prints what was dropped.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &TrimArgs) -> Result<(), CliError> {
    let mut client = args.client.connect().await?.log();
    let request = TrimLogRequest { keep: Some(args.before.clone()), dry_run: args.dry_run };
    let answer = client.trim_log(request).await?.into_inner();
    let mut out = Out::new(args.client.output.output);
    if out.is_table() {
        out.line(text(&answer, args.dry_run))?;
    } else {
        out.object(&pb::to_json("TrimLogResponse", &answer))?;
    }
    out.flush()
}

fn text(answer: &TrimLogResponse, dry_run: bool) -> String {
    let TrimLogResponse { revisions, events, bytes, oldest_token, .. } = answer;
    if *revisions == 0 {
        return format!("nothing is older\noldest position: {oldest_token}");
    }
    let what = if dry_run { "would drop" } else { "dropped" };
    format!("{what} {revisions} revisions with {events} events, {bytes} bytes of log\noldest position: {oldest_token}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_a_revision_a_time_or_a_token() {
        assert_eq!(keep("17"), Ok(Keep::FromRevision(17)));
        assert!(matches!(keep("2023-10-07T14:00:00Z"), Ok(Keep::Since(_))));
        assert!(matches!(keep("ATb1xFucjE6Zty3Qyy9NK3cAAAAAAAAAGE2QP9pi6W6YAL8Ly2A"), Ok(Keep::AfterToken(_))));
        assert!(keep("yesterday").unwrap_err().ends_with("or a revision"));
    }

    #[test]
    fn a_dry_run_does_not_say_that_anything_was_dropped() {
        let answer = TrimLogResponse { revisions: 3, events: 4, bytes: 1234, ..TrimLogResponse::default() };
        assert!(text(&answer, true).starts_with("would drop 3 revisions with 4 events"), "{}", text(&answer, true));
        assert!(text(&answer, false).starts_with("dropped 3 revisions"));
    }
}
