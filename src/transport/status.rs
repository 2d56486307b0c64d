//! The only map from the catalogue's errors to gRPC codes and details.

use std::{collections::HashMap, time::Duration};

use http::HeaderValue;
use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::domain::error::{Error, Reason, Violation, word};

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "attache";

/// A message, field or value longer than this is cut in a status, which travels in headers.
const MAX_TEXT: usize = 300;
/// Descriptions are cut to these, one after the other, until the status fits.
const SHORTER: [usize; 4] = [MAX_TEXT, 150, 75, 25];
/// The message keeps so many characters in any case.
const MIN_MESSAGE: usize = 100;
/// What message and details may take of a header block: clients refuse blocks of more than 8 KiB, some silently.
const MAX_HEADER_BYTES: usize = 7 * 1024;

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
        Reason::RecordNotFound | Reason::RecordRetracted | Reason::RecordRedacted => Code::NotFound,
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
        Reason::CredentialMissing | Reason::CredentialExpired => Code::Unauthenticated,
        Reason::RoleRequired => Code::PermissionDenied,
        Reason::LogDiverged | Reason::EntryCorrupt => Code::DataLoss,
        Reason::Unspecified | Reason::Internal => Code::Internal,
    }
}

/// The status of an error. What is unforeseen goes to the log with the request's id; the caller gets no detail of it.
#[must_use]
pub fn from_error(error: &Error) -> Status {
    if code(error.reason) == Code::Internal {
        return unforeseen(error);
    }
    let fitting = SHORTER.into_iter().map(|words| told(error, words)).find(|s| header_bytes(s) <= MAX_HEADER_BYTES);
    fitting.unwrap_or_else(|| told(error, 0))
}

fn unforeseen(error: &Error) -> Status {
    let correlation = uuid::Uuid::now_v7().to_string();
    tracing::error!(correlation, detail = %error.message, "unforeseen error");
    let message = format!("internal error; the server's log has the detail under {correlation}");
    let metadata = HashMap::from([("correlation_id".to_owned(), correlation)]);
    let details = ErrorDetails::with_error_info(word(error.reason), DOMAIN, metadata);
    Status::with_error_details(code(error.reason), message, details)
}

/// The status with descriptions of at most so many characters.
fn told(error: &Error, words: usize) -> Status {
    let message = cut(&error.message, words.max(MIN_MESSAGE));
    let metadata: HashMap<String, String> =
        error.metadata.iter().map(|(k, v)| ((*k).to_owned(), cut(v, MAX_TEXT))).collect();
    let mut details = ErrorDetails::with_error_info(word(error.reason), DOMAIN, metadata);
    for Violation { field, description } in &error.violations {
        details.add_bad_request_violation(cut(field, MAX_TEXT), cut(description, words));
    }
    if let Some(name) = &error.resource {
        details.set_resource_info("attache", cut(name, MAX_TEXT), "", &message);
    }
    let retry = error.retry_after.or_else(|| default_retry(error.reason));
    if let Some(after) = retry {
        details.set_retry_info(Some(after));
    }
    match error.reason {
        Reason::LogReplaced => {
            details.add_precondition_failure_violation("LOG", "token", &message);
        }
        Reason::QuotaExceeded | Reason::TooLarge => {
            details.add_quota_failure_violation("request", &message);
        }
        _ => {}
    }
    Status::with_error_details(code(error.reason), message, details)
}

/// What message and details take in a header block: percent-encoded and in base64.
fn header_bytes(status: &Status) -> usize {
    let encoded = |b: u8| if b.is_ascii_graphic() && b != b'%' { 1 } else { 3 };
    status.message().bytes().map(encoded).sum::<usize>() + status.details().len().div_ceil(3) * 4
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
    match undecodable_field(&words) {
        Some((field, why)) => from_error(&Error::field(Reason::FieldInvalid, field, why)),
        None => unreadable(&words),
    }
}

/// The status of a request whose message as a whole is wrong.
#[must_use]
pub fn unreadable(why: &str) -> Status {
    from_error(&Error::field(Reason::FieldInvalid, "(message)", why))
}

/// The status of a request whose header `grpc-encoding` says that its messages are compressed. That `grpc-accept-encoding`
/// says what is taken is as gRPC has it (its `compression.md`); so would be UNIMPLEMENTED, which no reason has.
#[must_use]
pub fn compressed(how: &HeaderValue) -> Status {
    let why = format!("{how:?} is not taken; send messages as they are");
    let mut status = from_error(&Error::field(Reason::FieldInvalid, "grpc-encoding", why));
    status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
    status
}

/// prost writes "failed to decode Protobuf message: Inner.field: Outer.field: why".
fn undecodable_field(words: &str) -> Option<(String, &str)> {
    let rest = words.strip_prefix("failed to decode Protobuf message: ")?;
    let mut parts: Vec<&str> = rest.split(": ").collect();
    let why = parts.pop()?;
    let path: Vec<&str> = parts.iter().rev().filter_map(|p| p.split_once('.').map(|(_, f)| f)).collect();
    (!path.is_empty()).then(|| (path.join("."), why))
}

fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;

    #[test]
    fn a_status_fits_a_header_block_whatever_the_words() {
        let violation = |i: usize| Violation {
            field: format!("reports[{i}].{}", "a.".repeat(40)),
            description: "\u{1F54A}".repeat(400),
        };
        let status = from_error(&Error::violations(Reason::FieldInvalid, (0..100).map(violation).collect()));
        assert!(header_bytes(&status) <= MAX_HEADER_BYTES, "{}", header_bytes(&status));
        assert_eq!(
            status.get_details_bad_request().unwrap().field_violations.len(),
            crate::domain::error::MAX_VIOLATIONS
        );
    }

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
