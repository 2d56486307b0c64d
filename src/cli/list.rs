//! `attache list`: records of one kind, or sources.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{
    client::{ClientArgs, Registry},
    dates,
    error::CliError,
    fetch::{self, Page, Query},
    filter_args::{DateArgs, FilterArgs},
    kinds::Kind,
    output::{self, Format, Out, Progress},
    position::{self, Position},
    sheet::{self, Sheet},
    view::{list, status, summary, text, texts},
    words,
};
use crate::pb::{
    self,
    v1::{AsOf, ListSourcesRequest, OrderBy},
};

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Collection {
    Visits,
    Meetings,
    Agreements,
    Exercises,
    Persons,
    Organizations,
    Places,
    Sources,
}

/// In what order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Order {
    /// Newest first, by when it happened
    #[default]
    Occurred,
    /// Oldest first, by when it happened
    Oldest,
    /// By name
    Name,
    /// Last changed first
    Updated,
}

/// Arguments of `attache list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// What to list
    #[arg(value_enum)]
    collection: Collection,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = limit, conflicts_with = "all")]
    limit: usize,
    /// All of them
    #[arg(long)]
    all: bool,
    /// In what order
    #[arg(long, value_enum, default_value_t, value_name = "ORDER")]
    order: Order,
    /// As it was known then: an instant with offset, or a token
    #[arg(long, value_name = "TIME|TOKEN", value_parser = position::parse)]
    known_at: Option<Position>,
    /// With the status of this day: YYYY-MM-DD; if absent the registry's day, or its day as of --known-at
    #[arg(long, value_name = "DAY", value_parser = dates::day)]
    valid_at: Option<String>,
    /// Sources of this kind, such as primary-official
    #[arg(long, value_name = "KIND", value_parser = words::parser("SourceKind"), help_heading = "Sources")]
    source_kind: Vec<i32>,
    /// Sources of this publisher, organizations/… or its name in words
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    publisher: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    dates: DateArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the list.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &ListArgs) -> Result<(), CliError> {
    let source = args.source()?;
    let mut client = args.client.connect_with(&[Format::Csv]).await?.registry();
    let mut listing = Listing::begin(args, &source)?;
    let mut token = String::new();
    loop {
        let page = source.page(&mut client, listing.wanted(), token).await?;
        if listing.take(page.items)? || page.next.is_empty() {
            return listing.finish();
        }
        token = page.next;
    }
}

/// Where pages come from.
enum Pages {
    Records(Kind, Query),
    Sources(Vec<i32>, String, Option<AsOf>),
}

impl Pages {
    async fn page(&self, client: &mut Registry, wanted: Option<usize>, token: String) -> Result<Page, CliError> {
        match self {
            Self::Records(kind, query) => fetch::page(client, *kind, query, fetch::page_size(wanted), token).await,
            Self::Sources(kinds, publisher, as_of) => {
                let request = ListSourcesRequest {
                    kinds: kinds.clone(),
                    publisher: publisher.clone(),
                    page_size: fetch::page_size(wanted),
                    page_token: token,
                    as_of: as_of.clone(),
                    at_least: None,
                };
                let answer = client.list_sources(request).await?.into_inner();
                let items = answer.sources.iter().map(|source| pb::to_json("Source", source)).collect();
                Ok(Page { items, next: answer.next_page_token })
            }
        }
    }

    fn headings(&self) -> &'static [&'static str] {
        match self {
            Self::Records(kind, _) if status::of_kind(*kind) => {
                &["NAME", "WHEN", "STATES", "STATUS", "WHAT", "ACCOUNTS", "DISPUTED"]
            }
            Self::Records(..) => &["NAME", "WHEN", "STATES", "WHAT", "ACCOUNTS", "DISPUTED"],
            Self::Sources(..) => &["NAME", "PUBLISHED", "KIND", "RELIABILITY", "ACCOUNT", "URI"],
        }
    }

    fn row(&self, item: &Value) -> Vec<String> {
        match self {
            Self::Records(kind, _) => record_row(*kind, item),
            Self::Sources(..) => source_row(item),
        }
    }

    fn sheet(&self) -> Sheet {
        match self {
            Self::Records(kind, _) => Sheet::of_kind(*kind),
            Self::Sources(..) => Sheet::of_sources(),
        }
    }
}

fn record_row(kind: Kind, record: &Value) -> Vec<String> {
    let info = record.get("info").unwrap_or(&Value::Null);
    let accounts = info.get("accountCount").and_then(Value::as_u64).unwrap_or_default();
    let mut row = vec![text(record, "name").to_owned(), summary::when(record), texts(info, "states").join(" ")];
    if status::of_kind(kind) {
        row.push(status::short(record));
    }
    row.push(summary::one_line(kind, record));
    row.push(accounts.to_string());
    row.push(if list(info, "disputedFields").is_empty() { "" } else { "disputed" }.to_owned());
    row
}

fn source_row(source: &Value) -> Vec<String> {
    let word = |vocabulary, field| words::number(vocabulary, text(source, field)).map(|n| words::human(vocabulary, n));
    vec![
        text(source, "name").to_owned(),
        text(source, "published").to_owned(),
        word("SourceKind", "kind").unwrap_or_default(),
        word("Reliability", "reliability").unwrap_or_default().to_uppercase(),
        text(source, "account").to_owned(),
        text(source, "uri").to_owned(),
    ]
}

/// What has been taken so far, and how it is printed.
struct Listing<'a> {
    out: Out,
    pages: &'a Pages,
    progress: Progress,
    rows: Vec<Vec<String>>,
    /// The columns of CSV, if that is asked for.
    sheet: Option<Sheet>,
    left: Option<usize>,
    more: bool,
}

impl<'a> Listing<'a> {
    fn begin(args: &ListArgs, pages: &'a Pages) -> Result<Self, CliError> {
        let mut out = Out::new(args.client.output.output);
        let sheet = (out.format() == Format::Csv).then(|| pages.sheet());
        if let Some(sheet) = &sheet {
            out.line(sheet::line(sheet.headings())?)?;
        }
        Ok(Self {
            out,
            pages,
            progress: Progress::new("listed"),
            rows: Vec::new(),
            sheet,
            left: (!args.all).then_some(args.limit),
            more: false,
        })
    }

    /// One more than will be printed shows whether there are more.
    fn wanted(&self) -> Option<usize> {
        self.left.map(|left| left + 1)
    }

    /// Whether that was enough.
    fn take(&mut self, mut items: Vec<Value>) -> Result<bool, CliError> {
        if let Some(left) = &mut self.left {
            self.more = items.len() > *left;
            items.truncate(*left);
            *left -= items.len();
        }
        self.progress.add(items.len());
        for item in &items {
            match &self.sheet {
                Some(sheet) => self.out.line(sheet::line(sheet.row(item))?)?,
                None if self.out.is_table() => self.rows.push(self.pages.row(item)),
                None => self.out.item(item)?,
            }
        }
        Ok(self.more)
    }

    fn finish(mut self) -> Result<(), CliError> {
        if self.out.is_table() && !self.rows.is_empty() {
            let mut table = output::table(self.pages.headings());
            table.add_rows(&self.rows);
            self.out.line(output::trimmed(&table))?;
        }
        self.out.end_items()?;
        self.out.flush()?;
        let count = self.progress.count();
        drop(self.progress);
        if self.more {
            output::note(format_args!("{count} shown, there are more: --limit N or --all shows them"));
        } else if count == 0 {
            output::note("nothing matches");
        }
        Ok(())
    }
}

impl ListArgs {
    fn source(&self) -> Result<Pages, CliError> {
        let filters = self.filter.filters(&self.dates)?;
        let as_of = self.known_at.as_ref().map(Position::as_of);
        let only_sources = !self.source_kind.is_empty() || self.publisher.is_some();
        match self.collection.kind() {
            Some(_) if only_sources => {
                Err(CliError::Usage("--source-kind and --publisher are for `attache list sources`".into()))
            }
            Some(kind) => {
                self.filter.check_kind(kind)?;
                let valid_at = status::day_for(kind, self.valid_at.as_ref())?;
                Ok(Pages::Records(kind, Query { filters, order_by: self.order.into(), as_of, valid_at }))
            }
            None if self.valid_at.is_some() => Err(CliError::Usage("--valid-at: sources have no status".into())),
            None if !filters.is_empty() || self.order != Order::Occurred => {
                Err(CliError::Usage("sources come by name, and are chosen with --source-kind and --publisher".into()))
            }
            None => {
                let publisher = self.publisher.clone().unwrap_or_default();
                Ok(Pages::Sources(self.source_kind.clone(), publisher, as_of))
            }
        }
    }
}

impl Collection {
    fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::Visits => Kind::Visit,
            Self::Meetings => Kind::Meeting,
            Self::Agreements => Kind::Agreement,
            Self::Exercises => Kind::Exercise,
            Self::Persons => Kind::Person,
            Self::Organizations => Kind::Organization,
            Self::Places => Kind::Place,
            Self::Sources => return None,
        })
    }
}

impl From<Order> for OrderBy {
    fn from(order: Order) -> Self {
        match order {
            Order::Occurred => Self::OccurredDesc,
            Order::Oldest => Self::OccurredAsc,
            Order::Name => Self::Name,
            Order::Updated => Self::UpdateTimeDesc,
        }
    }
}

/// How many are wanted: a number from 1 on.
pub(super) fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on is expected; --all has no limit".into()),
        Ok(limit) => Ok(limit),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::pb::v1::AgreementStatus;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ListArgs,
    }

    fn args(line: &str) -> ListArgs {
        Line::parse_from(std::iter::once("x").chain(line.split_whitespace())).args
    }

    #[test]
    fn a_list_stops_at_its_limit_and_knows_whether_there_are_more() {
        let args = args("visits --limit 3 -o ndjson");
        let pages = args.source().unwrap();
        let mut listing = Listing::begin(&args, &pages).unwrap();
        assert_eq!(listing.wanted(), Some(4));
        assert!(!listing.take(vec![json!({}); 2]).unwrap());
        assert_eq!(listing.wanted(), Some(2));
        assert!(!listing.take(vec![json!({}); 1]).unwrap(), "full, and not yet known to be cut");
        assert_eq!(listing.wanted(), Some(1));
        assert!(listing.take(vec![json!({}); 1]).unwrap());
        assert_eq!(listing.progress.count(), 3);
    }

    #[test]
    fn flags_of_records_and_flags_of_sources_do_not_mix() {
        assert!(args("sources --state AZ").source().is_err());
        assert!(args("visits --publisher x").source().is_err());
        assert!(args("sources --source-kind editor --publisher x").source().is_ok());
        assert!(Line::try_parse_from(["x", "visits", "--limit", "0"]).is_err());
    }

    #[test]
    fn the_day_and_the_status_asked_for_reach_the_query() {
        let Pages::Records(_, query) = args("agreements --valid-at 2024-06-01 --status in-force").source().unwrap()
        else {
            panic!("a list of records")
        };
        assert_eq!(query.valid_at.as_deref(), Some("2024-06-01"));
        assert_eq!(query.filters[0].agreement_statuses, [AgreementStatus::InForce as i32]);
        assert!(args("places --valid-at 2024-06-01").source().is_err());
        assert!(args("visits --kind agreement").source().is_err());
    }

    #[test]
    fn a_row_names_what_it_is() {
        let info = json!({"states": ["AZ", "KZ"], "accountCount": 2, "disputedFields": ["type"],
                          "status": {"status": "STATUS_CONCLUDED", "certainty": "CERTAINTY_DEFINITE"},
                          "occurred": {"edtf": "2023-10-05/2023-10-06"}});
        let row = record_row(Kind::Visit, &json!({"name": "visits/v", "info": info, "guests": [{"state": "KZ"}]}));
        assert_eq!(row, ["visits/v", "2023-10-05/2023-10-06", "AZ KZ", "concluded", "KZ", "2", "disputed"]);
    }
}
