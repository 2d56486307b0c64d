//! What can go wrong, in the words of the catalogue (`ErrorReason` in the contract).
//!
//! Every stage answers with [`Error`]; only `transport::status` knows gRPC codes.

use std::{collections::BTreeMap, fmt, time::Duration};

pub use crate::pb::v1::ErrorReason as Reason;

/// At most this many field violations are reported; the rest are counted in the message.
pub const MAX_VIOLATIONS: usize = 20;

/// About so many bytes of violations are repeated in the message.
const MAX_SUMMARY: usize = 240;

/// One field of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, such as `reports[2].visit.start.edtf`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub description: String,
}

/// An error of the catalogue with its details.
#[derive(Debug, Clone)]
pub struct Error {
    /// Why, from the catalogue.
    pub reason: Reason,
    /// For people: what was wrong and what to do.
    pub message: String,
    /// The fields that are wrong.
    pub violations: Vec<Violation>,
    /// The name that was asked for.
    pub resource: Option<String>,
    /// After which time a retry makes sense.
    pub retry_after: Option<Duration>,
    /// More for machines: `oldest_token`, `last_token`, `limit` and the like.
    pub metadata: BTreeMap<&'static str, String>,
}

/// The answer of everything that may fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of this reason.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            violations: Vec::new(),
            resource: None,
            retry_after: None,
            metadata: BTreeMap::new(),
        }
    }

    /// A single wrong field.
    #[must_use]
    pub fn field(reason: Reason, field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::violations(reason, vec![Violation { field: field.into(), description: description.into() }])
    }

    /// Several wrong fields; the first [`MAX_VIOLATIONS`] are kept.
    #[must_use]
    pub fn violations(reason: Reason, mut violations: Vec<Violation>) -> Self {
        let total = violations.len();
        violations.truncate(MAX_VIOLATIONS);
        let (mut message, mut shown) = (String::new(), 0);
        for Violation { field, description } in violations.iter().take(3) {
            let words = format!("{field}: {description}");
            if shown > 0 && message.len() + words.len() > MAX_SUMMARY {
                break;
            }
            message = if shown == 0 { words } else { format!("{message}; {words}") };
            shown += 1;
        }
        if total > shown {
            message = format!("{message}; and {} more", total - shown);
        }
        let mut error = Self::new(reason, message);
        error.violations = violations;
        error
    }

    /// No such record, report, source or cursor.
    #[must_use]
    pub fn not_found(name: &str) -> Self {
        Self::new(Reason::RecordNotFound, format!("{name} is not in the registry")).with_resource(name)
    }

    /// Something unforeseen. The detail is for the server's log alone; see `transport::status`.
    #[must_use]
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self::new(Reason::Internal, detail.to_string())
    }

    /// With the name that was asked for.
    #[must_use]
    pub fn with_resource(mut self, name: impl Into<String>) -> Self {
        self.resource = Some(name.into());
        self
    }

    /// With the time after which a retry makes sense.
    #[must_use]
    pub fn with_retry(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// With one more value for machines.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.metadata.insert(key, value.to_string());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", word(self.reason), self.message)
    }
}

impl std::error::Error for Error {}

/// The reason as `ErrorInfo` carries it: the enum value without its prefix.
#[must_use]
pub fn word(reason: Reason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

/// An error with all that it is caused by, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}
