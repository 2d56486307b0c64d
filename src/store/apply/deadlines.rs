//! When the clock must look at records again.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{At, Result};
use crate::{
    domain::{
        milestone, name,
        status::{self, View},
    },
    pb::{
        log::{self, RecordChange},
        v1,
    },
    store::{failing, merges, read},
};

impl At<'_, '_> {
    /// Keeps when the clock must look at a record again; and at those it supersedes or renews, which may run otherwise
    /// now.
    pub fn deadlines(&mut self, change: &RecordChange) -> Result<()> {
        self.deadline(&change.name, change.record.as_ref())?;
        let Ok(name) = change.name.parse::<name::RecordName>() else { return Ok(()) };
        if name.kind() != v1::RecordKind::Agreement {
            return Ok(());
        }
        let before = read::body_at(self.connection, &change.name, self.revision - 1)?;
        let targets = status::succeeded_by_any(before.iter().chain(&change.record));
        let survivor = |target: &str| merges::survivor_of(self.connection, target, self.revision);
        for other in &targets.into_iter().map(survivor).collect::<Result<BTreeSet<String>>>()? {
            let standing = read::body_at(self.connection, other, self.revision)?;
            if standing.is_some() {
                self.deadline(other, standing.as_ref())?;
            }
        }
        Ok(())
    }

    fn deadline(&mut self, name: &str, record: Option<&v1::Record>) -> Result<()> {
        failing("store.deadline")?;
        let row = self.record(name)?;
        let successors = match record {
            Some(record) => read::successors(self.connection, record, self.revision)?,
            None => Vec::new(),
        };
        let view = View { day: self.today, successors: &successors };
        match record.and_then(|r| milestone::next_due(r, view)) {
            Some(due) => {
                let sql = "INSERT OR REPLACE INTO deadlines (record, due, name) VALUES (?1, ?2, ?3)";
                self.statements.run(sql, params![row.id, due, name])
            }
            None if row.is_new => Ok(()),
            None => self.statements.run("DELETE FROM deadlines WHERE record = ?1", [row.id]),
        }
    }

    /// Puts the records that a part of a day has examined off to their next deadline.
    pub fn examined(&mut self, day: &log::Day) -> Result<()> {
        let sql = "SELECT name FROM deadlines WHERE (due, name) <= (?1, ?2)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let names = statement.query_map(params![day.through_due, day.through_name], |r| r.get::<_, String>(0))?;
        for name in names.collect::<Result<Vec<_>>>()? {
            let standing = read::body_at(self.connection, &name, self.revision)?;
            self.deadline(&name, standing.as_ref())?;
        }
        Ok(())
    }
}
