//! Lookups of any kind: the contract has a pair of calls per kind, the commands work on canonical JSON.

use serde_json::Value;

use super::{client::Registry, error::CliError, kinds::Kind};
use crate::pb::{
    self,
    v1::{self, AsOf, Filter, OrderBy},
};

/// Pages are asked for with at most this many records.
const MAX_PAGE: usize = 1000;

/// What a list asks for, whatever its kind.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Which; ORed.
    pub filters: Vec<Filter>,
    /// In what order.
    pub order_by: OrderBy,
    /// As it was known then.
    pub as_of: Option<AsOf>,
    /// The day that derived status is for.
    pub valid_at: Option<String>,
}

/// A page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// Canonical JSON of each.
    pub items: Vec<Value>,
    /// For the next page; empty at the end.
    pub next: String,
}

/// The size of a page when so many more are wanted.
#[must_use]
pub fn page_size(wanted: Option<usize>) -> i32 {
    let size = wanted.map_or(MAX_PAGE, |wanted| wanted.clamp(1, MAX_PAGE));
    i32::try_from(size).unwrap_or(i32::MAX)
}

/// One record.
///
/// # Errors
///
/// What the server says.
pub async fn get(
    client: &mut Registry,
    kind: Kind,
    name: &str,
    as_of: Option<AsOf>,
    valid_at: Option<String>,
) -> Result<Value, CliError> {
    macro_rules! call {
        ($rpc:ident, $request:ident, $field:ident $(, $valid_at:ident)?) => {{
            let request = v1::$request {
                name: name.to_owned(),
                as_of,
                $($valid_at,)?
                ..v1::$request::default()
            };
            let answer = client.$rpc(request).await?.into_inner();
            answer.$field.map(|record| pb::to_json(kind.message(), &record))
        }};
    }
    let record = match kind {
        Kind::Visit => call!(get_visit, GetVisitRequest, visit, valid_at),
        Kind::Meeting => call!(get_meeting, GetMeetingRequest, meeting, valid_at),
        Kind::Agreement => call!(get_agreement, GetAgreementRequest, agreement, valid_at),
        Kind::Exercise => call!(get_exercise, GetExerciseRequest, exercise, valid_at),
        Kind::Person => call!(get_person, GetPersonRequest, person),
        Kind::Organization => call!(get_organization, GetOrganizationRequest, organization),
        Kind::Place => call!(get_place, GetPlaceRequest, place),
    };
    record.ok_or(CliError::Broken("it has no record in it"))
}

/// One page of a list of records.
///
/// # Errors
///
/// What the server says.
pub async fn page(
    client: &mut Registry,
    kind: Kind,
    query: &Query,
    page_size: i32,
    page_token: String,
) -> Result<Page, CliError> {
    macro_rules! call {
        ($rpc:ident, $request:ident, $field:ident $(, $valid_at:ident)?) => {{
            let request = v1::$request {
                filters: query.filters.clone(),
                read_mask: None,
                page_size,
                page_token,
                order_by: query.order_by as i32,
                as_of: query.as_of.clone(),
                at_least: None,
                $($valid_at: query.valid_at.clone(),)?
            };
            let answer = client.$rpc(request).await?.into_inner();
            let items = answer.$field.iter().map(|record| pb::to_json(kind.message(), record)).collect();
            Page { items, next: answer.next_page_token }
        }};
    }
    Ok(match kind {
        Kind::Visit => call!(list_visits, ListVisitsRequest, visits, valid_at),
        Kind::Meeting => call!(list_meetings, ListMeetingsRequest, meetings, valid_at),
        Kind::Agreement => call!(list_agreements, ListAgreementsRequest, agreements, valid_at),
        Kind::Exercise => call!(list_exercises, ListExercisesRequest, exercises, valid_at),
        Kind::Person => call!(list_persons, ListPersonsRequest, persons),
        Kind::Organization => call!(list_organizations, ListOrganizationsRequest, organizations),
        Kind::Place => call!(list_places, ListPlacesRequest, places),
    })
}

/// All reports of a record.
///
/// # Errors
///
/// What the server says.
pub async fn reports(
    client: &mut Registry,
    record: &str,
    withdrawn: bool,
    as_of: Option<AsOf>,
) -> Result<Vec<v1::ListedReport>, CliError> {
    let mut request = v1::ListReportsRequest {
        parent: record.to_owned(),
        show_withdrawn: withdrawn,
        page_size: page_size(None),
        as_of,
        ..v1::ListReportsRequest::default()
    };
    let mut reports = Vec::new();
    loop {
        let answer = client.list_reports(request.clone()).await?.into_inner();
        reports.extend(answer.reports);
        if answer.next_page_token.is_empty() {
            return Ok(reports);
        }
        request.page_token = answer.next_page_token;
    }
}

/// The whole history of a record.
///
/// # Errors
///
/// What the server says.
pub async fn revisions(client: &mut Registry, name: &str) -> Result<Vec<v1::RevisionSummary>, CliError> {
    let mut request = v1::ListRevisionsRequest {
        name: name.to_owned(),
        page_size: page_size(None),
        ..v1::ListRevisionsRequest::default()
    };
    let mut revisions = Vec::new();
    loop {
        let answer = client.list_revisions(request.clone()).await?.into_inner();
        revisions.extend(answer.revisions);
        if answer.next_page_token.is_empty() {
            return Ok(revisions);
        }
        request.page_token = answer.next_page_token;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_stay_within_the_servers_bounds() {
        assert_eq!(page_size(None), 1000);
        assert_eq!(page_size(Some(51)), 51);
        assert_eq!(page_size(Some(0)), 1);
        assert_eq!(page_size(Some(9999)), 1000);
    }
}
