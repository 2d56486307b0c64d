//! Requests that each make a record of their own, and what answers say.

use std::path::Path;

use attache::{
    pb::v1::{self, FileReportsRequest},
    store::verify::{self, Verified},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::common;

/// Files one agreement of this id, signed on some day: a record, and two events. The id is the request's too.
pub fn agreement(id: &str, number: usize) -> FileReportsRequest {
    let signed = format!("{}-{:02}-{:02}", 1900 + number % 120, number / 28 % 12 + 1, number % 28 + 1);
    with_id(id, vec![common::agreement_report(id, "gazette", ["AZ", "KZ"], &signed)])
}

/// Files an agreement with a note of so many characters.
pub fn long_agreement(id: &str, reports: usize, characters: usize) -> FileReportsRequest {
    let report = |part: usize| {
        let mut report = common::agreement_report(&format!("{id}-{part}"), "gazette", ["AZ", "KZ"], "2001-02-03");
        if let Some(v1::report::Content::Agreement(agreement)) = &mut report.content {
            agreement.summary = Some("n".repeat(characters));
        }
        report
    };
    with_id(id, (0..reports).map(report).collect())
}

pub fn with_id(id: &str, reports: Vec<v1::Report>) -> FileReportsRequest {
    FileReportsRequest { reports, request_id: Some(id.to_owned()), ..Default::default() }
}

/// The names of the records of a request.
pub fn records(request: &FileReportsRequest) -> Vec<String> {
    request.reports.iter().map(|r| r.record.clone()).collect()
}

/// The catalogue's reason, if the server gave one; a transport that broke gives none.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// Demands this refusal.
pub fn assert_refused<T: std::fmt::Debug>(answer: &Result<T, Status>, code: Code, word: &str) {
    let status = answer.as_ref().expect_err("it is refused");
    assert_eq!((status.code(), reason(status).as_deref()), (code, Some(word)), "{status:?}");
}

/// Demands a sound store, and tells what it holds.
pub fn verified(folder: &Path) -> Verified {
    verify::folder(folder).unwrap_or_else(|error| panic!("{error}"))
}

/// A token's revision cannot be read from outside; what `ListEvents` says of every event can.
pub fn places(events: &[v1::Event]) -> Vec<(u64, u32, String)> {
    events.iter().map(|e| (e.revision, e.index, e.id.clone())).collect()
}
