//! Read masks (AIP-157): which fields of a record are returned. The name always is.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::{
    Message as _,
    encoding::{WireType, encode_key},
};
use prost_reflect::{Kind, MessageDescriptor};

use super::{
    error::{Error, Reason, Result, Violation},
    name,
};
use crate::{
    limits::MAX_MASK_PATHS,
    pb::{
        self,
        v1::{self, RecordKind},
        wire,
    },
};

/// A read mask that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mask(Option<Kept>);

/// What is kept of a message, by the numbers of its fields: all of a field that is a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Kept(BTreeMap<u32, Kept>);

impl Mask {
    /// Reads a mask whose paths are relative to records of these kinds; a path must be known to at least one.
    ///
    /// # Errors
    ///
    /// `MASK_INVALID` with the paths that no kind knows.
    pub fn parse(mask: Option<&prost_types::FieldMask>, kinds: &[RecordKind]) -> Result<Self> {
        let Some(mask) = mask.filter(|m| !m.paths.is_empty() && m.paths.iter().all(|p| p != "*")) else {
            return Ok(Self(None));
        };
        if mask.paths.len() > MAX_MASK_PATHS {
            let description = format!("has {} paths; at most {MAX_MASK_PATHS} are allowed", mask.paths.len());
            return Err(Error::field(Reason::TooLarge, "read_mask", description).with("limit", MAX_MASK_PATHS));
        }
        let record = pb::descriptor("Record");
        let kinds_known: Vec<_> = kinds.iter().filter_map(|kind| field_of(&record, *kind)).collect();
        let mut kept = Kept::default();
        let mut violations = Vec::new();
        let mut add = |path: &str| {
            let found = kinds_known.iter().filter_map(|(number, kind)| Some((*number, numbers(kind, path)?)));
            found.map(|(kind, path)| kept.add(std::iter::once(kind).chain(path))).count() > 0
        };
        add("name");
        for (index, path) in mask.paths.iter().enumerate() {
            if !add(path) {
                let description = format!("{} is not a field of {}", name::quote(path), kind_names(kinds));
                violations.push(Violation { field: format!("read_mask.paths[{index}]"), description });
            }
        }
        if violations.is_empty() {
            Ok(Self(Some(kept)))
        } else {
            Err(Error::violations(Reason::MaskInvalid, violations))
        }
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// The masked fields of an encoded record, and its name; `None` if the bytes are no record.
    #[must_use]
    pub fn keep(&self, record: &Bytes) -> Option<Bytes> {
        let Some(kept) = &self.0 else { return Some(record.clone()) };
        let mut some = Vec::with_capacity(record.len());
        kept.copy(record, &mut some)?;
        Some(some.into())
    }

    /// The record with the masked fields and its name.
    ///
    /// # Panics
    ///
    /// Never: what is kept of a record is one.
    #[must_use]
    pub fn apply(&self, whole: v1::Record) -> v1::Record {
        if self.is_all() {
            return whole;
        }
        let some = self.keep(&whole.encode_to_vec().into());
        some.and_then(|some| v1::Record::decode(some).ok()).expect("fields of a record that was just encoded")
    }
}

fn kind_names(kinds: &[RecordKind]) -> String {
    if kinds.len() == 1 { name::message(kinds[0]).to_owned() } else { "any kind of record".to_owned() }
}

impl Kept {
    fn add(&mut self, path: impl Iterator<Item = u32>) {
        let mut node = self;
        for number in path {
            let is_new = !node.0.contains_key(&number);
            let next = node.0.entry(number).or_default();
            // A path to a whole message outweighs paths into it, whichever comes first.
            if !is_new && next.0.is_empty() {
                return;
            }
            node = next;
        }
        node.0.clear();
    }

    /// Copies what is kept of an encoded message; `None` if the bytes are none.
    fn copy(&self, message: &[u8], into: &mut Vec<u8>) -> Option<()> {
        wire::each_whole_field(message, |number, field, content| {
            match (self.0.get(&number), content) {
                (None, _) => {}
                (Some(inner), Some(content)) if !inner.0.is_empty() => {
                    encode_key(number, WireType::LengthDelimited, into);
                    wire::put_sized(into, |into| inner.copy(content, into))?;
                }
                (Some(_), _) => into.extend_from_slice(field),
            }
            Some(())
        })
    }
}

/// The field of a record for one kind: its number, and the message.
fn field_of(record: &MessageDescriptor, kind: RecordKind) -> Option<(u32, MessageDescriptor)> {
    let field = record.fields().find(|f| matches!(f.kind(), Kind::Message(m) if m.name() == name::message(kind)))?;
    Some((field.number(), pb::descriptor(name::message(kind))))
}

/// A path by the numbers of its fields; `None` if the message does not know it.
fn numbers(message: &MessageDescriptor, path: &str) -> Option<Vec<u32>> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(f, r)| (f, Some(r)));
    let field = message.get_field_by_name(first)?;
    let mut path = vec![field.number()];
    match (rest, field.kind()) {
        (None, _) => {}
        (Some(rest), Kind::Message(inner)) => path.extend(numbers(&inner, rest)?),
        (Some(_), _) => return None,
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Result<Mask> {
        let mask = prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() };
        Mask::parse(Some(&mask), &[RecordKind::Visit])
    }

    fn visit() -> v1::Record {
        let side =
            |state: &str| v1::Side { state: state.into(), organization: Some("organizations/a".into()), head: None };
        v1::Record {
            kind: Some(v1::record::Kind::Visit(v1::Visit {
                name: "visits/a".into(),
                summary: Some("s".into()),
                hosts: vec![side("AZ")],
                ..Default::default()
            })),
        }
    }

    #[test]
    fn a_mask_keeps_what_it_names_and_the_name() {
        let Some(v1::record::Kind::Visit(masked)) = mask(&["hosts.state"]).unwrap().apply(visit()).kind else {
            panic!()
        };
        assert_eq!((masked.name.as_str(), masked.summary), ("visits/a", None));
        assert_eq!((masked.hosts[0].state.as_str(), &masked.hosts[0].organization), ("AZ", &None));
    }

    #[test]
    fn what_is_named_is_kept_at_every_depth_and_in_every_element() {
        let of = |json: &str| v1::Record { kind: Some(v1::record::Kind::Visit(pb::from_json("Visit", json).unwrap())) };
        let whole = of(r#"{"name": "visits/a", "summary": "s", "titles": [{"text": "A", "language": "en"}],
            "guests": [{"state": "KZ", "head": {"person": "persons/r", "nameAsStated": "R."}}, {"state": "UZ"}],
            "itinerary": [{"key": "k", "note": "n", "components": [{"kind": "COMPONENT_KIND_HONOUR_CORDON", "persons": [{}]}]}],
            "durationDays": {"min": 2}, "info": {"revision": 7, "states": ["KZ"], "occurred": {"edtf": "2023"}}}"#);
        let paths =
            ["titles", "guests.head.person", "itinerary.components.kind", "info.revision", "info.occurred", "summary"];
        let kept = of(r#"{"name": "visits/a", "summary": "s", "titles": [{"text": "A", "language": "en"}],
            "guests": [{"head": {"person": "persons/r"}}, {}],
            "itinerary": [{"components": [{"kind": "COMPONENT_KIND_HONOUR_CORDON"}]}],
            "info": {"revision": 7, "occurred": {"edtf": "2023"}}}"#);
        let mask = mask(&paths).unwrap();
        assert_eq!(mask.apply(whole.clone()), kept);
        let bytes = mask.keep(&whole.encode_to_vec().into());
        assert_eq!(bytes.as_deref(), Some(kept.encode_to_vec().as_slice()));
        assert_eq!(mask.keep(&Bytes::from_static(&[0x0a, 9, 1])), None, "what is cut off is no record");
    }

    #[test]
    fn a_path_counts_for_the_kinds_that_know_it() {
        let mask = prost_types::FieldMask { paths: vec!["participants.role".into()] };
        let mask = Mask::parse(Some(&mask), &[RecordKind::Meeting, RecordKind::Exercise]).unwrap();
        let of = |json: &str| pb::from_json::<v1::Record>("Record", json).unwrap();
        let meeting = of(r#"{"meeting": {"name": "meetings/m", "participants": [{"state": "KZ"}], "summary": "s"}}"#);
        assert_eq!(mask.apply(meeting), of(r#"{"meeting": {"name": "meetings/m"}}"#));
        let exercise =
            r#"{"exercise": {"name": "exercises/e", "participants": [{"state": "KZ", "role": "EXERCISE_ROLE_HOST"}]}}"#;
        let kept = r#"{"exercise": {"name": "exercises/e", "participants": [{"role": "EXERCISE_ROLE_HOST"}]}}"#;
        assert_eq!(mask.apply(of(exercise)), of(kept));
    }

    #[test]
    fn a_path_to_a_whole_message_outweighs_paths_into_it_in_any_order() {
        let whole = mask(&["hosts"]).unwrap();
        assert_eq!(mask(&["hosts", "hosts.state"]).unwrap(), whole);
        assert_eq!(mask(&["hosts.state", "hosts"]).unwrap(), whole);
        assert_ne!(mask(&["hosts.state", "hosts.organization"]).unwrap(), whole);
    }

    #[test]
    fn a_star_or_nothing_is_all() {
        assert!(mask(&[]).unwrap().is_all() && mask(&["*"]).unwrap().is_all());
    }

    #[test]
    fn an_unknown_path_is_refused_with_its_place() {
        let error = mask(&["hosts", "hosts.capital"]).unwrap_err();
        assert_eq!((error.reason, error.violations[0].field.as_str()), (Reason::MaskInvalid, "read_mask.paths[1]"));
    }
}
