//! Read masks (AIP-157): which fields of a record are returned. The name always is.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};

use super::{
    error::{Error, Reason, Result, Violation},
    name, record,
};
use crate::{
    limits::MAX_MASK_PATHS,
    pb::{
        self,
        v1::{self, RecordKind},
    },
};

/// A read mask that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mask(Option<Tree>);

/// What is kept of a message, by field: all of a field that is a leaf. The root is a leaf until something is added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Tree(BTreeMap<String, Tree>);

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
        let mut tree = Tree::default();
        let mut violations = Vec::new();
        for (index, path) in mask.paths.iter().enumerate() {
            if kinds.iter().any(|k| knows(&pb::descriptor(name::message(*k)), path)) {
                tree.add(path);
            } else {
                let description = format!("{} is not a field of {}", name::quote(path), kind_names(kinds));
                violations.push(Violation { field: format!("read_mask.paths[{index}]"), description });
            }
        }
        if violations.is_empty() {
            Ok(Self(Some(tree)))
        } else {
            Err(Error::violations(Reason::MaskInvalid, violations))
        }
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// The record with the masked fields and its name.
    #[must_use]
    pub fn apply(&self, whole: v1::Record) -> v1::Record {
        let Some(tree) = &self.0 else { return whole };
        let Some(mut message) = record::to_dynamic(&whole) else { return whole };
        let name = record::name_of(&whole).to_owned();
        prune(&mut message, tree);
        message.set_field_by_name("name", Value::String(name));
        record::from_dynamic(record::kind(&whole), &message)
    }
}

fn kind_names(kinds: &[RecordKind]) -> String {
    if kinds.len() == 1 { name::message(kinds[0]).to_owned() } else { "any kind of record".to_owned() }
}

impl Tree {
    fn add(&mut self, path: &str) {
        let mut node = self;
        for part in path.split('.') {
            let is_new = !node.0.contains_key(part);
            let next = node.0.entry(part.to_owned()).or_default();
            // A path to a whole message outweighs paths into it, whichever comes first.
            if !is_new && next.0.is_empty() {
                return;
            }
            node = next;
        }
        node.0.clear();
    }
}

fn knows(descriptor: &MessageDescriptor, path: &str) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(f, r)| (f, Some(r)));
    let Some(field) = descriptor.get_field_by_name(first) else { return false };
    match (rest, field.kind()) {
        (None, _) => true,
        (Some(rest), Kind::Message(inner)) => knows(&inner, rest),
        (Some(_), _) => false,
    }
}

fn prune(message: &mut DynamicMessage, tree: &Tree) {
    let fields: Vec<_> = message.fields().map(|(field, _)| field).collect();
    for field in fields {
        match tree.0.get(field.name()) {
            None => message.clear_field(&field),
            Some(inner) if inner.0.is_empty() => {}
            Some(inner) => match message.get_field_mut(&field) {
                Value::Message(m) => prune(m, inner),
                Value::List(items) => items.iter_mut().filter_map(Value::as_message_mut).for_each(|m| prune(m, inner)),
                _ => {}
            },
        }
    }
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
