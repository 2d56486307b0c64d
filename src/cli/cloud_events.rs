//! Events as CloudEvents 1.0 in JSON, structured mode: <https://cloudevents.io>.
//!
//! | attribute | value |
//! |---|---|
//! | `id`, `source`, `subject`, `time` | of the event, as they are: `source` is the log, `time` when it was recorded |
//! | `type` | `attache.v1.` and the type's word: `attache.v1.agreement-signed` |
//! | `data` | the whole event in canonical proto JSON |
//! | `revision` | extension: the revision, as a string (integers of CloudEvents have 32 bits) |
//! | `index` | extension: the place within the revision |
//! | `eventclass` | extension: `registry` or `cooperation` |

use serde_json::{Value, json};

use super::words;
use crate::pb::{self, v1::Event};

/// What every type begins with.
const TYPE_PREFIX: &str = "attache.v1.";

/// The event, ready to be sent as `application/cloudevents+json`.
#[must_use]
pub fn cloud_event(event: &Event) -> Value {
    let data = pb::to_json("Event", event);
    let mut attributes = json!({
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": format!("{TYPE_PREFIX}{}", words::human("EventType", event.r#type).replace(' ', "-")),
        "datacontenttype": "application/json",
        "revision": event.revision.to_string(),
        "index": event.index,
    });
    if let Some(attributes) = attributes.as_object_mut() {
        // Optional attributes must not be empty.
        let optional = [
            ("subject", Value::from(event.subject.as_str())),
            ("time", data.get("time").cloned().unwrap_or_default()),
            ("eventclass", Value::from(words::human("EventClass", event.event_class))),
        ];
        let stated = optional.into_iter().filter(|(_, value)| value.as_str().is_some_and(|text| !text.is_empty()));
        attributes.extend(stated.map(|(name, value)| (name.to_owned(), value)));
        attributes.insert("data".to_owned(), data);
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::{EventClass, EventType};

    fn event() -> Event {
        Event {
            id: "12-3".into(),
            source: "attache/0191".into(),
            r#type: EventType::AgreementSigned as i32,
            event_class: EventClass::Cooperation as i32,
            subject: "agreements/plan".into(),
            time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            revision: u64::MAX,
            index: 3,
            ..Event::default()
        }
    }

    #[test]
    fn an_event_has_every_required_attribute_and_carries_itself() {
        let cloud = cloud_event(&event());
        let expected = json!({
            "specversion": "1.0", "id": "12-3", "source": "attache/0191", "type": "attache.v1.agreement-signed",
            "subject": "agreements/plan", "time": "1970-01-01T00:00:00Z", "datacontenttype": "application/json",
            "revision": "18446744073709551615", "index": 3, "eventclass": "cooperation",
            "data": pb::to_json("Event", &event()),
        });
        assert_eq!(cloud, expected);
        let back: Event = pb::from_json("Event", &cloud["data"].to_string()).unwrap();
        assert_eq!(back, event());
    }

    #[test]
    fn attributes_without_a_value_are_left_out() {
        let cloud = cloud_event(&Event { subject: String::new(), time: None, event_class: 0, ..event() });
        for name in ["subject", "time", "eventclass"] {
            assert!(cloud.get(name).is_none(), "{cloud}");
        }
    }
}
