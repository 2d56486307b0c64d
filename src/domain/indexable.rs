//! What the store's indexes ask of a record: its references and how its words sound.
//!
//! It is a function of what is stated alone, of neither the name nor what the registry says of the record, so it can be
//! computed before it is decided what the record will be.

use super::{
    facets::{self, Term},
    said::{self, Said},
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
    /// Of an encoded `Record`; its name and info make no difference. `None` if the bytes are no record.
    #[must_use]
    pub fn of(record: &[u8]) -> Option<Self> {
        let (mut references, mut texts) = (Vec::new(), Vec::new());
        said::each(record, &mut |said| match said {
            Said::Text(class, text) => texts.push((class, text)),
            Said::Reference(name) => references.extend(facets::reference(name)),
        })?;
        Some(Self { references, words: Indexed::of(&texts) })
    }
}
