//! Records for people. Everything works on canonical JSON and the descriptors, so that a field added to the
//! contract appears without a change here.

pub mod explain;
pub mod phrase;
pub mod record;
pub mod sections;
pub mod status;
pub mod summary;

use serde_json::Value;

use super::{error::CliError, kinds::Kind};
use crate::pb::{
    self,
    v1::{Record, record::Kind as Content},
};

/// The kind of a record, and canonical JSON of what it holds.
///
/// # Errors
///
/// [`CliError::Broken`] if it holds nothing.
pub fn of_record(record: Option<&Record>) -> Result<(Kind, Value), CliError> {
    let content = record.and_then(|r| r.kind.as_ref()).ok_or(CliError::Broken("it has no record in it"))?;
    Ok(match content {
        Content::Visit(m) => (Kind::Visit, pb::to_json("Visit", m)),
        Content::Meeting(m) => (Kind::Meeting, pb::to_json("Meeting", m)),
        Content::Agreement(m) => (Kind::Agreement, pb::to_json("Agreement", m)),
        Content::Exercise(m) => (Kind::Exercise, pb::to_json("Exercise", m)),
        Content::Person(m) => (Kind::Person, pb::to_json("Person", m)),
        Content::Organization(m) => (Kind::Organization, pb::to_json("Organization", m)),
        Content::Place(m) => (Kind::Place, pb::to_json("Place", m)),
    })
}

/// The text of a field, or an empty one.
#[must_use]
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of a list field; none if it is absent.
#[must_use]
pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The texts of a list field.
#[must_use]
pub fn texts(value: &Value, field: &str) -> Vec<String> {
    list(value, field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `2023-10-07T12:30:00.123Z` without fractions of a second: `2023-10-07 12:30:00Z`.
#[must_use]
pub fn time(rfc3339: &str) -> String {
    match (rfc3339.get(..19), rfc3339.ends_with('Z')) {
        (Some(seconds), true) => format!("{}Z", seconds.replace('T', " ")),
        _ => rfc3339.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_without_fractions() {
        assert_eq!(time("2023-10-07T12:30:00.123456Z"), "2023-10-07 12:30:00Z");
        assert_eq!(time("2023-10-07T12:30:00Z"), "2023-10-07 12:30:00Z");
        assert_eq!(time("soon"), "soon");
    }
}
