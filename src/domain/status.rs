//! Derived status: what holds of a record at a date.

use crate::pb::v1::{self, RelationType};

/// The agreements that this one takes the place of or renews, with how.
pub fn succeeded(agreement: &v1::Agreement) -> impl Iterator<Item = (RelationType, &str)> {
    let succeeds = |r: &&v1::AgreementRelation| matches!(r.r#type(), RelationType::Supersedes | RelationType::Renews);
    agreement.relations.iter().filter(succeeds).map(|r| (r.r#type(), r.target.as_str()))
}
