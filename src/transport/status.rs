//! The only map from the catalogue's errors to gRPC codes and details.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::domain::error::{Error, Reason, Violation, word};

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "attache";

/// A message, field or value longer than this is cut in a status, which travels in headers.
const MAX_TEXT: usize = 300;

/// The code of a reason; the enum's comments in the contract say the same, held to it by a test.
#[must_use]
pub fn code(reason: Reason) -> Code {
    match reason {
        Reason::FieldInvalid
        | Reason::FilterInvalid
        | Reason::MaskInvalid
        | Reason::TokenMalformed
        | Reason::PageTokenMismatch
        | Reason::TokenFilterMismatch
        | Reason::RequestIdReused => Code::InvalidArgument,
        Reason::RecordNotFound | Reason::RecordRetracted => Code::NotFound,
        Reason::EtagMismatch | Reason::Contention => Code::Aborted,
        Reason::HistoryTrimmed | Reason::TokenInFuture => Code::OutOfRange,
        Reason::LogReplaced => Code::FailedPrecondition,
        Reason::ReplicaBehind
        | Reason::JournalUnavailable
        | Reason::StorageFull
        | Reason::Draining
        | Reason::Overloaded => Code::Unavailable,
        Reason::OutcomeUnknown => Code::Unknown,
        Reason::Deadline => Code::DeadlineExceeded,
        Reason::QuotaExceeded | Reason::TooLarge => Code::ResourceExhausted,
        Reason::LogDiverged | Reason::EntryCorrupt => Code::DataLoss,
        Reason::Unspecified | Reason::Internal => Code::Internal,
    }
}

/// The status of an error. What is unforeseen goes to the log with the request's id; the caller gets no detail of it.
#[must_use]
pub fn from_error(error: &Error) -> Status {
    let internal = code(error.reason) == Code::Internal;
    let mut metadata: HashMap<String, String> = HashMap::new();
    let message = if internal {
        let correlation = uuid::Uuid::now_v7().to_string();
        tracing::error!(correlation, detail = %error.message, "unforeseen error");
        metadata.insert("correlation_id".into(), correlation.clone());
        format!("internal error; the server's log has the detail under {correlation}")
    } else {
        metadata.extend(error.metadata.iter().map(|(k, v)| ((*k).to_owned(), cut(v))));
        cut(&error.message)
    };
    let mut details = ErrorDetails::with_error_info(word(error.reason), DOMAIN, metadata);
    for Violation { field, description } in &error.violations {
        details.add_bad_request_violation(cut(field), cut(description));
    }
    if let Some(name) = &error.resource {
        details.set_resource_info("attache", cut(name), "", cut(&error.message));
    }
    let retry = error.retry_after.or_else(|| default_retry(error.reason));
    if let Some(after) = retry {
        details.set_retry_info(Some(after));
    }
    match error.reason {
        Reason::LogReplaced => {
            details.add_precondition_failure_violation("LOG", "token", cut(&error.message));
        }
        Reason::QuotaExceeded | Reason::TooLarge => {
            details.add_quota_failure_violation("request", cut(&error.message));
        }
        _ => {}
    }
    Status::with_error_details(code(error.reason), message, details)
}

/// Where waiting helps, and the error did not say how long.
fn default_retry(reason: Reason) -> Option<Duration> {
    match reason {
        Reason::ReplicaBehind | Reason::Overloaded | Reason::Contention => Some(Duration::from_millis(200)),
        Reason::JournalUnavailable | Reason::Draining | Reason::OutcomeUnknown => Some(Duration::from_secs(1)),
        Reason::StorageFull => Some(Duration::from_secs(30)),
        _ => None,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        from_error(&error)
    }
}

/// The status of a message that prost cannot read. Its words name the message and field.
#[must_use]
pub fn undecodable(error: &prost::DecodeError) -> Status {
    let words = error.to_string();
    let (field, description) = match undecodable_field(&words) {
        Some((field, why)) => (field, why.to_owned()),
        None => (String::from("(message)"), words.clone()),
    };
    from_error(&Error::field(Reason::FieldInvalid, field, description))
}

/// prost writes "failed to decode Protobuf message: Outer.field: Inner.field: why".
fn undecodable_field(words: &str) -> Option<(String, &str)> {
    let rest = words.strip_prefix("failed to decode Protobuf message: ")?;
    let mut parts: Vec<&str> = rest.split(": ").collect();
    let why = parts.pop()?;
    let path: Vec<&str> = parts.iter().filter_map(|p| p.split_once('.').map(|(_, f)| f)).collect();
    (!path.is_empty()).then(|| (path.join("."), why))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;

    #[test]
    fn every_reason_has_the_code_that_its_comment_states() {
        let catalogue = pb::POOL.get_enum_by_name("attache.v1.ErrorReason").unwrap();
        let file = catalogue.parent_file();
        let proto = file.file_descriptor_proto();
        let index = proto.enum_type.iter().position(|e| e.name() == "ErrorReason").unwrap();
        let comments = &proto.source_code_info.as_ref().unwrap().location;
        for (value_index, value) in catalogue.values().enumerate() {
            let reason = Reason::try_from(value.number()).unwrap();
            if reason == Reason::Unspecified {
                continue;
            }
            let path = [5, i32::try_from(index).unwrap(), 2, i32::try_from(value_index).unwrap()];
            let comment = comments.iter().find(|l| l.path == path).unwrap().leading_comments();
            let stated = comment.trim().split('.').next().unwrap();
            let actual = format!("{:?}", code(reason)).to_uppercase();
            assert_eq!(stated.replace('_', ""), actual, "{}", value.name());
        }
    }
}
