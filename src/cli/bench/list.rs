//! `attache bench list`: pages of visits.

use clap::{Args, value_parser};
use serde_json::json;
use tonic::Status;

use super::{
    load::{self, LoadArgs, Work},
    result::{self, Setting, Words},
    skim::Method,
};
use crate::{
    cli::{
        client::Connection,
        error::CliError,
        filter_args::{DateArgs, FilterArgs},
        kinds::Kind,
    },
    pb::v1::{ListVisitsRequest, registry_service_server::SERVICE_NAME},
};

/// Arguments of `attache bench list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Visits of one page
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = value_parser!(i32).range(1..=1000))]
    page_size: i32,
    /// Pages that are read of a list, one call each, before the next begins
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = value_parser!(u32).range(1..=100_000))]
    pages: u32,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    dates: DateArgs,
    #[command(flatten)]
    load: LoadArgs,
}

/// Lists until the time is over.
///
/// # Errors
///
/// What the preparation ends with; [`CliError::CallsFailed`] if any page failed.
pub async fn run(args: &ListArgs) -> Result<(), CliError> {
    args.filter.check_kind(Kind::Visit)?;
    let filters = args.filter.filters(&args.dates)?;
    let connections = args.load.connect().await?;
    let Some(first) = connections.first() else { return Ok(()) };
    let parameters = [
        args.load.to_json(),
        json!({"pageSize": args.page_size, "pages": args.pages, "filters": result::filters(&filters)}),
    ];
    let setting = Setting::ask("list", &args.load.client, first, &parameters).await?;
    let request = ListVisitsRequest { filters, page_size: args.page_size, ..ListVisitsRequest::default() };
    let list = |connection: &Connection| List {
        method: Method::new(connection.wire(), SERVICE_NAME, "ListVisits"),
        request: request.clone(),
        pages: args.pages,
        read: 0,
    };
    let works = connections.iter().map(|c| (0..args.load.streams).map(|_| list(c)).collect()).collect();
    let run = load::run(&args.load, None, works).await;
    result::print(&args.load.client, &setting, Words { calls: "pages", times: "latency" }, &run, &[])
}

/// One stream.
struct List {
    method: Method,
    request: ListVisitsRequest,
    pages: u32,
    /// Pages of the list that were read.
    read: u32,
}

/// What the next page needs of this one.
#[derive(Clone, PartialEq, prost::Message)]
struct Page {
    #[prost(string, tag = "2")]
    next_page_token: String,
}

impl Work for List {
    async fn call(&mut self) -> Result<u64, Status> {
        let request = self.request.clone();
        // After a page that failed the list begins anew.
        self.request.page_token.clear();
        let page = self.method.call::<_, Page>(request).await?;
        self.read = (self.read + 1) % self.pages;
        if self.read > 0 {
            self.request.page_token = page.message.next_page_token;
        }
        Ok(page.bytes)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb::v1::{ListVisitsResponse, Visit};

    #[test]
    fn a_skimmed_page_has_the_token_of_the_whole() {
        let whole = ListVisitsResponse {
            visits: vec![Visit { name: "visits/v".into(), ..Visit::default() }],
            next_page_token: "next".into(),
            token: "position".into(),
        };
        assert_eq!(Page::decode(whole.encode_to_vec().as_slice()).unwrap().next_page_token, "next");
    }
}
