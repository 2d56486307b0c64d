//! The names that are looked up: those of the server's visits, or those given.

use crate::{
    cli::{client::Registry, error::CliError},
    pb::v1::{ListVisitsRequest, OrderBy, Visit},
};

/// Visits of one page.
const PAGE_SIZE: i32 = 1000;

/// So many of the server's visits by name, with these fields of each.
///
/// # Errors
///
/// What the server says.
pub async fn visits(registry: &mut Registry, limit: usize, fields: &[&str]) -> Result<Vec<Visit>, CliError> {
    let mut visits = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListVisitsRequest {
            read_mask: Some(prost_types::FieldMask { paths: fields.iter().map(|f| (*f).to_owned()).collect() }),
            page_size: PAGE_SIZE,
            page_token,
            order_by: OrderBy::Name.into(),
            ..ListVisitsRequest::default()
        };
        let page = registry.list_visits(request).await?.into_inner();
        visits.extend(page.visits);
        page_token = page.next_page_token;
        if visits.len() >= limit || page_token.is_empty() {
            visits.truncate(limit);
            return Ok(visits);
        }
    }
}
