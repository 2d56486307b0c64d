//! What the store's indexes ask of a record by reflection: its references and how its words sound.
//!
//! It is a function of what is stated alone, of neither the name nor what the registry says of the record, so it can be
//! computed before it is decided what the record will be.

use prost_reflect::DynamicMessage;

use super::{
    facets::{self, Term},
    search::texts::Indexed,
};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Indexable {
    /// The persons, organizations and places that it refers to.
    pub references: Vec<Term>,
    /// How its words sound.
    pub words: Indexed,
}

impl Indexable {
    /// Of a record of one kind; its name and info make no difference.
    #[must_use]
    pub fn of(content: &DynamicMessage) -> Self {
        Self { references: facets::references(content), words: Indexed::of(content) }
    }
}
