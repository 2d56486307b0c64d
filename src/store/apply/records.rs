//! What becomes of records: their versions, by which they are found, and their milestones.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::params;

use super::{At, Result};
use crate::{
    clock,
    domain::{
        facets::{Facets, Tag, Term},
        indexable::Indexable,
        name, record,
        revision::State,
    },
    limits::MAX_UNPOSTED_TERMS,
    pb::{log::RecordChange, v1},
    store::{OPEN, failing, list, pairs, postings, schema::open, search},
};

/// The row of a record that an entry touches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub id: i64,
    /// Whether the entry is the first about it: nothing of it has to be ended.
    pub is_new: bool,
}

impl At<'_, '_> {
    /// The row of a record, made if it is not there.
    pub fn record(&mut self, name: &str) -> Result<Row> {
        if let Some(row) = self.records.get(name) {
            return Ok(*row);
        }
        // Most are new: to look before would be to look twice.
        let add = "INSERT INTO records (name, created_at_us) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
        let row = match self.statements.insert_new(add, params![name, self.recorded_at_us])? {
            Some(id) => Row { id, is_new: true },
            None => {
                let find = "SELECT id FROM records WHERE name = ?1";
                let id = self.statements.row(find, [name], |r| r.get(0))?;
                Row { id: id.ok_or(rusqlite::Error::QueryReturnedNoRows)?, is_new: false }
            }
        };
        self.records.insert(name.to_owned(), row);
        Ok(row)
    }

    /// Ends the version that stands, and makes the next; `body` is the record as the entry has it, encoded. Answers that
    /// version as the feed tells it, and what the search index has to be told.
    pub fn change(
        &mut self,
        change: &RecordChange,
        body: Option<&Bytes>,
    ) -> Result<(Option<State>, Option<search::Addition>)> {
        failing("store.version")?;
        let record = self.record(&change.name)?;
        if !record.is_new {
            let end = concat!("UPDATE versions SET to_revision = ?2 WHERE record = ?1 AND to_revision = ", open!());
            self.statements.run(end, params![record.id, self.revision])?;
            self.statements.run("DELETE FROM milestones WHERE record = ?1", [record.id])?;
        }
        for m in &change.milestones {
            let sql = "INSERT INTO milestones (record, type, element, subject, revision, event_index, detail_digest)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let row = params![record.id, m.r#type, m.element, m.subject, m.revision, m.index, m.detail_digest];
            self.statements.run(sql, row)?;
        }
        let indexable = self.indexable(change, body);
        let references = indexable.iter().flat_map(|i| i.references.iter().cloned());
        let facets = change.record.as_ref().map(|r| Facets::with_references(r, references)).unwrap_or_default();
        let version = self.version(record.id, change, &facets, body)?;
        let state = body.map(|body| State { record: body.clone(), facets: Arc::new(facets) });
        let revision = self.revision;
        Ok((state, indexable.map(|indexable| search::Addition { version, revision, indexable })))
    }

    /// What the indexes ask of a record that stands, computed before if the record was decided here.
    fn indexable(&self, change: &RecordChange, body: Option<&Bytes>) -> Option<Arc<Indexable>> {
        // (The bytes were read as a record with their entry.)
        let of_body = || body.and_then(|body| Indexable::of(body));
        let known = self.resolved.get(&change.name).filter(|_| change.record.is_some());
        debug_assert!(known.is_none_or(|known| Some(known.indexable().as_ref()) == of_body().as_ref()));
        known.map(|known| Arc::clone(known.indexable())).or_else(|| of_body().map(Arc::new))
    }

    fn version(&mut self, record: i64, change: &RecordChange, facets: &Facets, body: Option<&Bytes>) -> Result<i64> {
        let kind = match &change.record {
            Some(standing) => record::kind(standing),
            None => change.name.parse::<name::RecordName>().map_or(v1::RecordKind::Unspecified, |n| n.kind()),
        };
        let (newest_first, oldest_first) = list::sort_keys(facets.occurred);
        // What only fell due changed nothing of the record: it keeps its update time.
        let info = change.record.as_ref().and_then(record::info);
        let updated_at_us = info.and_then(|i| i.update_time.as_ref()).map(clock::micros);
        let sql = "INSERT INTO versions (record, from_revision, to_revision, kind, name, newest_first, oldest_first,
                   updated_at_us, facets, body, erased_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let row = params![
            record,
            self.revision,
            OPEN,
            kind as i32,
            change.name,
            newest_first,
            oldest_first,
            updated_at_us.unwrap_or(self.recorded_at_us),
            facets.to_stored(),
            body.map(Bytes::as_ref),
            if change.erased { self.redacted_by } else { 0 },
        ];
        let version = self.statements.insert(sql, row)?;
        if kind == v1::RecordKind::Visit {
            pairs::add(self.connection, version, facets)?;
        }
        self.terms(version, change, facets)?;
        Ok(version)
    }

    /// Keeps the terms of a version. By its own name it is found without one.
    fn terms(&mut self, version: i64, change: &RecordChange, facets: &Facets) -> Result<()> {
        let named = |(tag, value): &Term| *tag == Tag::Name && *value == change.name;
        let mut terms = Vec::with_capacity(facets.terms().len());
        for term in facets.terms().iter().filter(|term| !named(term)) {
            let row = self.term(term)?;
            if postings::is_at_once(term.0) {
                self.statements.run(postings::ADD_PART, params![row, version, postings::pack([version])])?;
            } else {
                terms.push(row);
            }
        }
        if terms.is_empty() {
            return Ok(());
        }
        self.has_large |= terms.len() > MAX_UNPOSTED_TERMS;
        terms.sort_unstable();
        self.statements.run(postings::ADD, params![version, postings::pack(terms)])
    }

    fn term(&self, term: &Term) -> Result<i64> {
        if let Some(id) = self.known.term(term) {
            return Ok(id);
        }
        let (tag, value) = (term.0 as u8, term.1.as_str());
        let find = "SELECT id FROM terms WHERE tag = ?1 AND value = ?2";
        let id = match self.statements.row(find, params![tag, value], |r| r.get(0))? {
            Some(id) => id,
            None => self.statements.insert("INSERT INTO terms (tag, value) VALUES (?1, ?2)", params![tag, value])?,
        };
        self.known.add_term(term, id);
        Ok(id)
    }
}
