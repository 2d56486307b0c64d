//! Records for people. Everything works on canonical JSON and the descriptors, so that a field added to the
//! contract appears without a change here.

pub mod explain;
pub mod phrase;
pub mod record;
pub mod sections;
pub mod status;
pub mod summary;

use serde_json::Value;

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
