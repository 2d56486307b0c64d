//! What was probably meant by a field or a word that the contract does not have.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

use super::words;
use crate::pb;

/// At most this many suggestions for one text.
const MAX_SUGGESTIONS: usize = 8;

/// Reads a message from canonical proto JSON, and says of names that are nearly right which ones are.
///
/// # Errors
///
/// The position, the reason, and a line for each name that it does not know.
pub fn from_json<M: prost::Message + Default>(message: &str, json: &str) -> Result<M, String> {
    pb::from_json(message, json).map_err(|error| {
        let value: Option<Value> = serde_json::from_str(json).ok();
        let unknown = value.map(|value| unknown(&pb::descriptor(message), &value)).unwrap_or_default();
        unknown.into_iter().fold(error, |text, line| format!("{text}\n  {line}"))
    })
}

/// A line for each field and word that the contract does not have.
fn unknown(message: &MessageDescriptor, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    in_message(message, value, "", &mut found);
    found.truncate(MAX_SUGGESTIONS);
    found
}

fn in_message(message: &MessageDescriptor, value: &Value, path: &str, found: &mut Vec<String>) {
    // What has a form of its own in JSON, such as a timestamp, has no fields there.
    let Value::Object(fields) = value else { return };
    if message.package_name() == "google.protobuf" {
        return;
    }
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name)) {
            Some(field) => in_field(&field, value, &path, found),
            None => found.push(format!("{path}: no field {name}{}", did_you_mean(field_meant(message, name)))),
        }
    }
}

fn in_field(field: &FieldDescriptor, value: &Value, path: &str, found: &mut Vec<String>) {
    let elements = value.as_array().filter(|_| field.is_list());
    for (index, value) in elements.map_or(std::slice::from_ref(value), Vec::as_slice).iter().enumerate() {
        let path = if elements.is_some() { format!("{path}[{index}]") } else { path.to_owned() };
        match (field.kind(), value) {
            (Kind::Message(message), value) => in_message(&message, value, &path, found),
            (Kind::Enum(vocabulary), Value::String(word)) if vocabulary.get_value_by_name(word).is_none() => {
                found.push(format!("{path}: no word {word}{}", did_you_mean(word_meant(&vocabulary, word))));
            }
            _ => {}
        }
    }
}

fn field_meant(message: &MessageDescriptor, name: &str) -> Option<String> {
    let names: Vec<_> = message.fields().map(|field| field.json_name().to_owned()).collect();
    words::nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

/// Compared without what all words of the vocabulary begin with: that would make any two of them alike.
fn word_meant(vocabulary: &EnumDescriptor, word: &str) -> Option<String> {
    let prefix = words::prefix(vocabulary);
    let bare = |word: &str| word.strip_prefix(&prefix).unwrap_or(word).to_owned();
    let names: Vec<_> = vocabulary.values().filter(|v| v.number() != 0).map(|value| bare(value.name())).collect();
    let meant = words::nearest(&bare(&word.to_uppercase()), names.iter().map(String::as_str))?;
    Some(format!("{prefix}{meant}"))
}

fn did_you_mean(meant: Option<String>) -> String {
    meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::{FileReportsRequest, Filter};

    fn refusal(json: &str) -> String {
        from_json::<FileReportsRequest>("FileReportsRequest", json).unwrap_err()
    }

    #[test]
    fn a_field_that_is_nearly_one_is_named_with_its_path() {
        let error = refusal(r#"{"reports":[{"record":"visits/x","visit":{"tpye":"VISIT_TYPE_STATE"}}]}"#);
        assert!(error.contains("line 1"), "{error}");
        assert!(error.contains("\n  reports[0].visit.tpye: no field tpye; did you mean type?"), "{error}");
        assert!(
            refusal(r#"{"reports":[{"vist":{}}]}"#).contains("reports[0].vist: no field vist; did you mean visit?")
        );
        assert!(refusal(r#"{"ships":1}"#).ends_with("ships: no field ships"), "nothing is near");
    }

    #[test]
    fn a_word_that_is_nearly_one_is_named_in_full() {
        for word in ["VISIT_TYPE_OFICIAL", "OFFICIAL", "official", "VISIT_TYPE_OFFICAL"] {
            let error = refusal(&format!(r#"{{"reports":[{{"visit":{{"type":"{word}"}}}}]}}"#));
            assert!(error.contains(&format!("no word {word}; did you mean VISIT_TYPE_OFFICIAL?")), "{error}");
        }
        let error = from_json::<Filter>("Filter", r#"{"kinds":["RECORD_KIND_VISITS"]}"#).unwrap_err();
        assert!(error.contains("kinds[0]: no word RECORD_KIND_VISITS; did you mean RECORD_KIND_VISIT?"), "{error}");
    }

    #[test]
    fn what_is_right_is_read_and_what_is_no_json_says_so() {
        assert!(from_json::<Filter>("Filter", r#"{"states_all":["AZ"],"hosts":["KZ"]}"#).is_ok());
        let error = from_json::<Filter>("Filter", "{").unwrap_err();
        assert!(!error.contains("did you mean"), "{error}");
    }
}
