//! `attache bench lookup`: records by name.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;
use tonic::Status;

use super::{
    draw::{Draw, Odds},
    load::{self, LoadArgs, Work},
    names,
    result::{self, Setting, Words},
    skim::Method,
};
use crate::{
    cli::{client::Connection, error::CliError, kinds::Kind},
    pb::v1::{GetVisitRequest, registry_service_server::SERVICE_NAME},
};

/// Zipf's exponent: a few names are asked for most, as in most registries.
const EXPONENT: f64 = 0.99;

/// Decides which names are popular, and the order of the lookups.
const SEED: u64 = 1;

/// How names are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Distribution {
    /// Few names very often, most of them rarely: exponent 0.99
    Zipf,
    /// All names alike
    Uniform,
}

/// Arguments of `attache bench lookup`.
#[derive(Debug, Clone, Args)]
pub struct LookupArgs {
    /// Look this record up, of whatever kind; repeatable. Otherwise the server's visits
    #[arg(long, value_name = "NAME", conflicts_with = "names")]
    name: Vec<String>,
    /// Draw from so many of the server's visits, the first by name
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    names: u32,
    /// How names are drawn
    #[arg(long, value_enum, default_value_t = Distribution::Zipf, value_name = "HOW")]
    draw: Distribution,
    #[command(flatten)]
    load: LoadArgs,
}

/// Looks up until the time is over.
///
/// # Errors
///
/// What the preparation ends with; [`CliError::CallsFailed`] if any lookup failed.
pub async fn run(args: &LookupArgs) -> Result<(), CliError> {
    let given = args.given()?;
    let connections = args.load.connect().await?;
    let Some(first) = connections.first() else { return Ok(()) };
    let targets = if given.is_empty() { args.listed(first).await? } else { given };
    let word = match args.draw {
        Distribution::Zipf => "zipf",
        Distribution::Uniform => "uniform",
    };
    let parameters = [args.load.to_json(), json!({"names": targets.len(), "draw": word})];
    let setting = Setting::ask("lookup", &args.load.client, first, &parameters).await?;
    let targets = Arc::new(Targets::new(targets, args.draw));
    let works = connections.iter().enumerate().map(|(at, c)| streams(c, at, args.load.streams, &targets)).collect();
    let run = load::run(&args.load, None, works).await;
    result::print(&args.load.client, &setting, Words { calls: "lookups", times: "latency" }, &run, &[])
}

impl LookupArgs {
    fn given(&self) -> Result<Vec<(Kind, String)>, CliError> {
        self.name.iter().map(|name| Ok((Kind::of_name(name)?, name.clone()))).collect()
    }

    async fn listed(&self, connection: &Connection) -> Result<Vec<(Kind, String)>, CliError> {
        let limit = usize::try_from(self.names).unwrap_or(usize::MAX);
        let visits = names::visits(&mut connection.registry(), limit, &["name"]).await?;
        if visits.is_empty() {
            let words = "the server has no visit to look up: give names with --name, or `attache bench fill` it";
            return Err(CliError::Usage(words.into()));
        }
        Ok(visits.into_iter().map(|visit| (Kind::Visit, visit.name)).collect())
    }
}

/// What is looked up, and how often each.
struct Targets {
    names: Vec<(Kind, String)>,
    odds: Odds,
}

impl Targets {
    fn new(mut names: Vec<(Kind, String)>, distribution: Distribution) -> Self {
        // The popular names do not lie side by side.
        Draw::new(SEED).shuffle(&mut names);
        let exponent = if distribution == Distribution::Zipf { EXPONENT } else { 0.0 };
        let odds = Odds::zipf(names.len(), exponent);
        Self { names, odds }
    }
}

fn streams(connection: &Connection, at: usize, streams: u16, targets: &Arc<Targets>) -> Vec<Lookup> {
    let methods: Vec<_> = Kind::ALL.map(|kind| (kind, method(connection, kind))).into();
    let lookup = |stream| Lookup {
        methods: methods.clone(),
        draw: Draw::of_stream(SEED, at, stream),
        targets: Arc::clone(targets),
    };
    (0..streams).map(lookup).collect()
}

fn method(connection: &Connection, kind: Kind) -> Method {
    Method::new(connection.wire(), SERVICE_NAME, &format!("Get{}", kind.message()))
}

/// One stream.
struct Lookup {
    methods: Vec<(Kind, Method)>,
    draw: Draw,
    targets: Arc<Targets>,
}

impl Work for Lookup {
    async fn call(&mut self) -> Result<u64, Status> {
        let (kind, name) = &self.targets.names[self.targets.odds.next(&mut self.draw)];
        let Some((_, method)) = self.methods.iter_mut().find(|(own, _)| own == kind) else { return Ok(0) };
        // The requests of all kinds have the name in the same field, and nothing else is said.
        let request = GetVisitRequest { name: name.clone(), ..GetVisitRequest::default() };
        Ok(method.call::<_, ()>(request).await?.bytes)
    }
}
