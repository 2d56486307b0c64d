//! A ruling wins over every report that is none, so whoever may make none undoes none: neither by filing another report
//! under its name nor by withdrawing it. Who that is was found before; what stands is known here, and here alone.

use std::collections::BTreeMap;

use super::{draft::Drafting, job::Step};
use crate::{
    domain::{
        error::{Error, Reason, Result},
        name::ReportName,
    },
    pb::v1::SourceKind,
    store::read,
};

impl Drafting<'_> {
    /// Checks that whoever asks may undo what stands under a name that came in a field.
    ///
    /// # Errors
    ///
    /// `ROLE_REQUIRED` if it is a ruling, and they may make none.
    pub fn may_undo(&self, name: &ReportName, field: impl FnOnce() -> String) -> Result<()> {
        match self.must_stand(name)? {
            None => Ok(()),
            Some(why) => {
                let error = Error::field(Reason::RoleRequired, field(), why);
                Err(error.with("role", "editor").with("principal", self.principal))
            }
        }
    }

    /// The steps of an import that would undo a ruling which is not whoever asks's to undo: they are left out.
    pub fn undoing(&self, steps: &[Step]) -> Result<BTreeMap<usize, Error>> {
        let mut found = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            if let Some(why) = self.must_stand(step.report_name())? {
                found.insert(index, Error::new(Reason::RoleRequired, why));
            }
        }
        Ok(found)
    }

    /// Why what stands under a name is not whoever asks's to undo, if it is not.
    fn must_stand(&self, name: &ReportName) -> Result<Option<String>> {
        if self.may_rule {
            return Ok(None);
        }
        let standing = read::active_report(self.connection, name)?.and_then(|row| row.report.source);
        let is_ruling = standing.is_some_and(|source| source.kind() == SourceKind::Editor);
        let why = || format!("{name} is a ruling, and {} is not granted the role editor, to undo it", self.principal);
        Ok(is_ruling.then(why))
    }
}
