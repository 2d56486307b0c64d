//! `attache bench search`: records by words.

use std::{collections::BTreeSet, sync::Arc};

use clap::{Args, value_parser};
use serde_json::json;
use tonic::Status;

use super::{
    draw::Draw,
    load::{self, LoadArgs, Work},
    names,
    result::{self, Setting, Words},
    skim::Method,
};
use crate::{
    cli::{client::Connection, error::CliError},
    pb::v1::{SearchRecordsRequest, Side, Visit, registry_service_server::SERVICE_NAME},
};

/// Visits whose words are searched for.
const VISITS: usize = 5000;

/// Letters of a word that is worth searching for.
const MIN_LETTERS: usize = 4;

/// The longest query that the contract takes.
const MAX_CHARS: usize = 256;

/// Decides the order of the queries.
const SEED: u64 = 2;

/// Arguments of `attache bench search`.
#[derive(Debug, Clone, Args)]
pub struct SearchArgs {
    /// Search for these words; repeatable. Otherwise names and words of titles of the server's visits
    #[arg(long, value_name = "TEXT")]
    query: Vec<String>,
    /// At most this many results of a search
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = value_parser!(i32).range(1..=1000))]
    page_size: i32,
    #[command(flatten)]
    load: LoadArgs,
}

/// Searches until the time is over.
///
/// # Errors
///
/// What the preparation ends with; [`CliError::CallsFailed`] if any search failed.
pub async fn run(args: &SearchArgs) -> Result<(), CliError> {
    let connections = args.load.connect().await?;
    let Some(first) = connections.first() else { return Ok(()) };
    let queries = if args.query.is_empty() { known(first).await? } else { args.query.clone() };
    let parameters = [args.load.to_json(), json!({"queries": queries.len(), "pageSize": args.page_size})];
    let setting = Setting::ask("search", &args.load.client, first, &parameters).await?;
    let queries = Arc::new(queries);
    let search = |connection: &Connection, at: usize, stream: u16| Search {
        method: Method::new(connection.wire(), SERVICE_NAME, "SearchRecords"),
        draw: Draw::of_stream(SEED, at, stream),
        queries: Arc::clone(&queries),
        page_size: args.page_size,
    };
    let streams = |(at, connection)| (0..args.load.streams).map(|stream| search(connection, at, stream)).collect();
    let works = connections.iter().enumerate().map(streams).collect();
    let run = load::run(&args.load, None, works).await;
    result::print(&args.load.client, &setting, Words { calls: "searches", times: "latency" }, &run, &[])
}

/// Names of people, places, and words of titles, as the server's visits have them.
async fn known(connection: &Connection) -> Result<Vec<String>, CliError> {
    let fields = ["titles", "hosts", "guests", "places"];
    let visits = names::visits(&mut connection.registry(), VISITS, &fields).await?;
    let queries: BTreeSet<String> = visits.iter().flat_map(queries).collect();
    if queries.is_empty() {
        let words =
            "the server's visits have no words to search for: give some with --query, or `attache bench fill` it";
        return Err(CliError::Usage(words.into()));
    }
    Ok(queries.into_iter().collect())
}

/// Of a visit: heads by whole name and by the last word of it, places, and the long words of titles.
fn queries(visit: &Visit) -> Vec<String> {
    let head = |side: &Side| side.head.as_ref().and_then(|head| head.name_as_stated.clone());
    let heads: Vec<String> = visit.hosts.iter().chain(&visit.guests).filter_map(head).collect();
    let lasts = heads.iter().filter_map(|name| name.split_whitespace().last()).map(str::to_owned);
    let places = visit.places.iter().filter_map(|place| place.as_stated.clone());
    let words = visit.titles.iter().flat_map(|title| title.text.split(|c: char| !c.is_alphanumeric()));
    let mut found: Vec<String> = lasts.chain(places).chain(words.map(str::to_owned)).collect();
    found.extend(heads);
    found.retain(|text| (MIN_LETTERS..=MAX_CHARS).contains(&text.chars().count()));
    found
}

/// One stream.
struct Search {
    method: Method,
    draw: Draw,
    queries: Arc<Vec<String>>,
    page_size: i32,
}

impl Work for Search {
    async fn call(&mut self) -> Result<u64, Status> {
        let query = self.queries[self.draw.index(self.queries.len())].clone();
        let request = SearchRecordsRequest { query, page_size: self.page_size, ..SearchRecordsRequest::default() };
        Ok(self.method.call::<_, ()>(request).await?.bytes)
    }
}
