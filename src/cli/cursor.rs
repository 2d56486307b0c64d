//! `attache cursor`: positions that the server keeps for a consumer.

use clap::{Args, Subcommand};

use super::{client::ClientArgs, error::CliError, output::Out, view};
use crate::pb::{
    self,
    v1::{CommitCursorRequest, Cursor, GetCursorRequest},
};

/// Arguments of `attache cursor`.
#[derive(Debug, Clone, Args)]
pub struct CursorArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Show the position kept
    Get {
        /// The cursor's name
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Keep a position; never one before the position kept
    Commit {
        /// The cursor's name
        name: String,
        /// The token to keep
        token: String,
        /// The etag of the cursor as last read; "" demands that there is none yet
        #[arg(long, value_name = "ETAG")]
        expected_etag: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Shows or keeps a position.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &CursorArgs) -> Result<(), CliError> {
    match args.action.clone() {
        Action::Get { name, client } => {
            let mut feed = client.connect().await?.feed();
            let answer = feed.get_cursor(GetCursorRequest { name }).await?.into_inner();
            print(&client, answer.cursor)
        }
        Action::Commit { name, token, expected_etag, client } => {
            let mut feed = client.connect().await?.feed();
            let request = CommitCursorRequest { name, position: token, expected_etag };
            let answer = feed.commit_cursor(request).await?.into_inner();
            print(&client, answer.cursor)
        }
    }
}

fn print(client: &ClientArgs, cursor: Option<Cursor>) -> Result<(), CliError> {
    let cursor = cursor.ok_or(CliError::Broken("it has no cursor in it"))?;
    let mut out = Out::new(client.output.output);
    if out.is_table() {
        out.line(text(&cursor))?;
    } else {
        out.object(&pb::to_json("Cursor", &cursor))?;
    }
    out.flush()
}

fn text(cursor: &Cursor) -> String {
    let Cursor { name, position, etag, update_time } = cursor;
    let time = update_time.map(|time| view::time(&time.to_string())).unwrap_or_default();
    format!("name:     {name}\nposition: {position}\netag:     {etag}\nupdated:  {time}")
}
