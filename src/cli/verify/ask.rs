//! What the run asks besides watching and filing, page after page.

use super::history::{Records, Seen, Selection, digest};
use crate::{
    cli::{
        client::{Feed, Registry},
        error::CliError,
    },
    domain::token::Token,
    pb::v1::{AsOf, ListEventsRequest, ListOrganizationsRequest, as_of, list_events_request::Start},
};

/// Elements of a page.
const PAGE_SIZE: i32 = 1000;

/// Reads a token. It is opaque to clients, but not to one that is to say whether it is right.
///
/// # Errors
///
/// [`CliError::Broken`].
pub fn read_token(text: &str) -> Result<Token, CliError> {
    Token::decode(text, "token").map_err(|_| CliError::Broken("a token in it cannot be read by this version"))
}

/// Every event of a selection after one token, read when the server has everything up to another.
///
/// # Errors
///
/// What the server says.
pub async fn events(
    feed: &mut Feed,
    selection: &Selection,
    after: &str,
    at_least: &str,
) -> Result<Vec<Seen>, CliError> {
    let mut request = ListEventsRequest {
        filters: selection.filters(),
        event_types: selection.types(),
        include_previous: selection.previous,
        start: Some(Start::After(after.to_owned())),
        page_size: PAGE_SIZE,
        at_least: Some(at_least.to_owned()),
        ..ListEventsRequest::default()
    };
    let mut events = Vec::new();
    loop {
        let page = feed.list_events(request.clone()).await?.into_inner();
        events.extend(page.events.iter().map(Seen::of));
        if page.next_page_token.is_empty() {
            return Ok(events);
        }
        request.page_token = page.next_page_token;
    }
}

/// The records of a selection as of a token.
///
/// # Errors
///
/// What the server says.
pub async fn records(registry: &mut Registry, selection: &Selection, token: &Token) -> Result<Records, CliError> {
    let mut request = ListOrganizationsRequest {
        filters: selection.filters(),
        page_size: PAGE_SIZE,
        as_of: Some(AsOf { position: Some(as_of::Position::Token(token.encode())) }),
        ..ListOrganizationsRequest::default()
    };
    let mut records = Records::new();
    loop {
        let page = registry.list_organizations(request.clone()).await?.into_inner();
        records.extend(page.organizations.iter().map(|one| (one.name.clone(), digest(one))));
        if page.next_page_token.is_empty() {
            return Ok(records);
        }
        request.page_token = page.next_page_token;
    }
}
