//! What is filed: reports, their sources, rulings and merges.

use prost::Message as _;
use rusqlite::params;

use super::{At, Result};
use crate::{
    domain::{name::ReportName, report::attribution_key},
    pb::{
        log::{ErasedReport, Merge, Ruling},
        v1,
    },
    store::{OPEN, failing, schema::open},
};

impl At<'_, '_> {
    /// Files a report; `body` is it as the entry has it, encoded. (Without one SQLite would refuse the row.)
    pub fn file(&mut self, report: &v1::Report, body: Option<&[u8]>) -> Result<()> {
        failing("store.report")?;
        let record = self.record(&report.record)?;
        let mut created: Option<i64> = None;
        let again = !self.filed.insert(report.name.clone());
        if again || !record.is_new {
            // Every version of a report says the same.
            let sql = "SELECT created_at_us FROM reports WHERE record = ?1 AND name = ?2
                       AND to_revision > ?3 ORDER BY from_revision DESC LIMIT 1";
            created = self.statements.row(sql, (record.id, &report.name, self.floor), |r| r.get(0))?;
        }
        if created.is_some() {
            self.end(record.id, &report.name)?;
        }
        let source = report.source.clone().unwrap_or_default();
        let publisher = source.publisher.as_ref().map(attribution_key).unwrap_or_default();
        let sql = "INSERT INTO reports (record, name, source, publisher, from_revision, to_revision, created_at_us,
                   recorded_at_us, etag, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let row = params![
            record.id,
            report.name,
            source.name,
            publisher,
            self.revision,
            OPEN,
            created.unwrap_or(self.recorded_at_us),
            self.recorded_at_us,
            report.etag,
            body,
        ];
        self.statements.run(sql, row)?;
        self.source(&source, &publisher)
    }

    /// What is left of a report that was erased: the block of its source.
    pub fn erased(&self, erased: &ErasedReport) -> Result<()> {
        let Some(source) = &erased.source else { return Ok(()) };
        let publisher = source.publisher.as_ref().map(attribution_key).unwrap_or_default();
        self.source(source, &publisher)
    }

    pub fn end_report(&mut self, name: &str) -> Result<()> {
        // One whose name cannot be read was never filed.
        let Ok(report) = name.parse::<ReportName>() else { return Ok(()) };
        let record = self.record(report.record.as_str())?;
        self.end(record.id, name)
    }

    fn end(&self, record: i64, name: &str) -> Result<()> {
        let sql =
            concat!("UPDATE reports SET to_revision = ?3 WHERE record = ?1 AND name = ?2 AND to_revision = ", open!());
        self.statements.run(sql, params![record, name, self.revision])
    }

    /// Keeps the block of a source if it differs from the one that stands.
    pub fn source(&self, source: &v1::Source, publisher: &str) -> Result<()> {
        let body = source.encode_to_vec();
        if self.known.has_source(&source.name, &body) {
            return Ok(());
        }
        let find = concat!("SELECT body, from_revision FROM sources WHERE name = ?1 AND to_revision = ", open!());
        let standing: Option<(Vec<u8>, u64)> =
            self.statements.row(find, [&source.name], |r| Ok((r.get(0)?, r.get(1)?)))?;
        match standing {
            Some((same, _)) if same == body => {
                self.known.add_source(&source.name, body);
                return Ok(());
            }
            // Two blocks of one source in one revision: the later one is the latest.
            Some((_, revision)) if revision == self.revision => {
                let sql = concat!("DELETE FROM sources WHERE name = ?1 AND to_revision = ", open!());
                self.statements.run(sql, [&source.name])?;
            }
            None => {}
            Some(_) => {
                let sql = concat!("UPDATE sources SET to_revision = ?2 WHERE name = ?1 AND to_revision = ", open!());
                self.statements.run(sql, params![source.name, self.revision])?;
            }
        }
        let sql =
            "INSERT INTO sources (name, kind, publisher, from_revision, to_revision, recorded_at_us, covers, body)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let (at, covers) = (self.recorded_at_us, source.coverage.is_some());
        let row = params![source.name, source.kind, publisher, self.revision, OPEN, at, covers, body];
        self.statements.run(sql, row)?;
        self.known.add_source(&source.name, body);
        Ok(())
    }

    pub fn retract(&mut self, ruling: &Ruling) -> Result<()> {
        let source = ruling.source.clone().unwrap_or_default();
        let publisher = source.publisher.as_ref().map(attribution_key).unwrap_or_default();
        self.lift(&ruling.record, &source.name)?;
        let sql = "INSERT INTO rulings (record, source, from_revision, to_revision, body) VALUES (?1, ?2, ?3, ?4, ?5)";
        let record = self.record(&ruling.record)?.id;
        self.statements.run(sql, params![record, source.name, self.revision, OPEN, ruling.encode_to_vec()])?;
        self.source(&source, &publisher)
    }

    pub fn lift(&mut self, record: &str, source: &str) -> Result<()> {
        let sql = concat!(
            "UPDATE rulings SET to_revision = ?3 WHERE record = ?1 AND source = ?2 AND to_revision = ",
            open!()
        );
        let record = self.record(record)?.id;
        self.statements.run(sql, params![record, source, self.revision])
    }

    pub fn merge(&self, merge: &Merge) -> Result<()> {
        let source = merge.source.clone().unwrap_or_default();
        let publisher = source.publisher.as_ref().map(attribution_key).unwrap_or_default();
        self.unmerge(&merge.loser)?;
        let sql = "INSERT INTO merges (loser, survivor, from_revision, to_revision, body) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.statements.run(sql, params![merge.loser, merge.survivor, self.revision, OPEN, merge.encode_to_vec()])?;
        self.source(&source, &publisher)
    }

    pub fn unmerge(&self, loser: &str) -> Result<()> {
        let sql = concat!("UPDATE merges SET to_revision = ?2 WHERE loser = ?1 AND to_revision = ", open!());
        self.statements.run(sql, params![loser, self.revision])
    }
}
