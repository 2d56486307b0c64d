//! `attache relationship`: the relation of two or more states, or the relations of one, ranked.

mod ranking;
mod sheet;
mod timeline;
mod view;

use clap::{Args, ValueEnum};

use super::{
    client::{ClientArgs, Registry},
    error::CliError,
    output::{self, Format, Out},
    position::{self, Position},
    words,
};
use crate::pb::{
    self,
    v1::{GetRelationshipRequest, ListRelationshipsRequest, RelationshipSummary, Watch},
};

/// Pages of relations are asked for with this many.
const PAGE: i32 = 1000;

/// What `-o csv` has rows for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Part {
    /// Counts by kind and direction, with the last and the next
    #[default]
    Counts,
    /// Agreements by status
    Agreements,
    /// Counts by month
    Timeline,
}

/// Arguments of `attache relationship`.
#[derive(Debug, Clone, Args)]
pub struct RelationshipArgs {
    /// Two states or more, such as AZ KZ; of one its relations are listed
    #[arg(required = true, num_args = 1..=8, value_name = "STATE", value_parser = words::state)]
    states: Vec<String>,
    /// As it is in the world on this day, such as 2024-06-01; default the registry's day
    #[arg(long, value_name = "DATE")]
    valid_at: Option<String>,
    /// As it was known then: an instant with offset, or a token
    #[arg(long, value_name = "TIME|TOKEN", value_parser = position::parse)]
    known_at: Option<Position>,
    /// Count what happened then or later: a date in EDTF, such as 2023 or 2023-10-05
    #[arg(long, value_name = "DATE")]
    since: Option<String>,
    /// Count what happened then or earlier; default the day that one looks from
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
    /// Draw so many months up to the day; with --since all of them by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1200))]
    months: Option<u16>,
    /// What `-o csv` prints of a relation
    #[arg(long, value_enum, default_value_t)]
    part: Part,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the relation, or the ranking.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &RelationshipArgs) -> Result<(), CliError> {
    let mut client = args.client.connect_with(&[Format::Csv]).await?.registry();
    match &args.states[..] {
        [state] => ranking(args, &mut client, state).await,
        _ => relation(args, &mut client).await,
    }
}

async fn relation(args: &RelationshipArgs, client: &mut Registry) -> Result<(), CliError> {
    let request = GetRelationshipRequest {
        states: args.states.clone(),
        from: args.since.clone(),
        until: args.until.clone(),
        valid_at: args.valid_at.clone(),
        as_of: args.known_at.as_ref().map(Position::as_of),
        at_least: None,
    };
    let answer = client.get_relationship(request).await?.into_inner();
    let relation = answer.relationship.ok_or(CliError::Broken("it has no relationship in it"))?;
    let mut out = Out::new(args.client.output.output);
    match out.format() {
        Format::Table => {
            let months = args.months.map(usize::from).or(args.since.is_none().then_some(timeline::MONTHS));
            out.line(view::relation(&relation, months))?;
        }
        Format::Csv => {
            for line in sheet::relation(&relation, args.part)? {
                out.line(line)?;
            }
        }
        _ => out.object(&pb::to_json("Relationship", &relation))?,
    }
    out.flush()
}

async fn ranking(args: &RelationshipArgs, client: &mut Registry, state: &str) -> Result<(), CliError> {
    let mut request = ListRelationshipsRequest {
        state: state.to_owned(),
        from: args.since.clone(),
        until: args.until.clone(),
        valid_at: args.valid_at.clone(),
        page_size: PAGE,
        page_token: String::new(),
        as_of: args.known_at.as_ref().map(Position::as_of),
        at_least: None,
    };
    let mut listed: Vec<RelationshipSummary> = Vec::new();
    let (day, watched): (String, Vec<Watch>) = loop {
        let answer = client.list_relationships(request.clone()).await?.into_inner();
        listed.extend(answer.relationships);
        if answer.next_page_token.is_empty() {
            break (answer.day, answer.watched);
        }
        request.page_token = answer.next_page_token;
    };
    let mut out = Out::new(args.client.output.output);
    match out.format() {
        Format::Table => out.line(ranking::table(state, &day, &listed, &watched))?,
        Format::Csv => {
            for line in sheet::ranking(&listed)? {
                out.line(line)?;
            }
        }
        _ => {
            for relation in &listed {
                out.item(&pb::to_json("RelationshipSummary", relation))?;
            }
            out.end_items()?;
        }
    }
    out.flush()?;
    if listed.is_empty() && !out.is_table() {
        output::note("nothing matches");
    }
    Ok(())
}
