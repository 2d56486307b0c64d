//! Applying an entry: the store's rows are a function of the entries alone, on every replica.

use std::collections::BTreeSet;

use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Head, OPEN, list, log::StoredEntry, merges, read, search};
use crate::{
    clock,
    domain::{
        date::Day,
        facets::Facets,
        milestone, name, record,
        report::attribution_key,
        status::{self, View},
    },
    limits::REQUEST_ID_RETENTION,
    pb::{
        log::{self, EntryHeader, EntryPayload, Merge, RecordChange, Ruling, filing::Act},
        v1,
    },
};

type Result<T> = rusqlite::Result<T>;

/// Applies one entry inside the open transaction; `head` is where the store stands after it. Answers what the search
/// index has to be told of it with [`search::add`], before the transaction is committed: told once for a whole group,
/// it is written once.
///
/// # Errors
///
/// If SQLite refuses; the transaction must be rolled back then.
pub fn entry(
    connection: &Connection,
    stored: &StoredEntry,
    header: &EntryHeader,
    payload: &EntryPayload,
    head: &Head,
) -> Result<Vec<search::Addition>> {
    let at = At { connection, revision: stored.revision, recorded_at_us: stored.recorded_at_us, today: head.today() };
    at.log(stored, payload.events.len(), head.day)?;
    for filing in &payload.filings {
        match &filing.act {
            Some(Act::File(report)) => at.file(report)?,
            Some(Act::Withdraw(name)) => at.end_report(name)?,
            Some(Act::Retract(ruling)) => at.retract(ruling)?,
            Some(Act::Restore(lifted)) => at.lift(&lifted.record, &lifted.source)?,
            Some(Act::Merge(merge)) => at.merge(merge)?,
            Some(Act::Unmerge(loser)) => at.unmerge(loser)?,
            // Entries of later versions are refused by their format before they come here.
            None => {}
        }
    }
    let mut additions = Vec::with_capacity(payload.changes.len());
    for change in &payload.changes {
        additions.extend(at.change(change)?);
    }
    if let Some(day) = &payload.day {
        at.examined(day)?;
    }
    for change in &payload.changes {
        at.deadlines(change)?;
    }
    if !header.request_id.is_empty() {
        at.remember(header)?;
    }
    Ok(additions)
}

/// Writes where the store stands.
///
/// # Errors
///
/// If SQLite refuses.
pub fn write_head(connection: &Connection, head: &Head) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO log_state (id, epoch, position, revision, hash, recorded_at_us, day, pending_day,
               pending_part, replaying) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let row = params![
        head.epoch.as_bytes(),
        head.position,
        head.revision,
        head.hash,
        head.recorded_at_us,
        head.day,
        head.pending.map(|(day, _)| day),
        head.pending.map(|(_, part)| part),
        head.replaying,
    ];
    connection.prepare_cached(sql)?.execute(row).map(drop)
}

/// Keeps a cursor.
///
/// # Errors
///
/// If SQLite refuses.
pub fn cursor(connection: &Connection, principal: &str, name: &str, row: &super::read::CursorRow) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO cursors (principal, name, position, revision, event_index, snapshot_after, etag,
               updated_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let row = params![
        principal,
        name,
        row.position,
        row.revision,
        row.event_index,
        row.snapshot_after,
        row.etag,
        row.updated_at_us
    ];
    connection.prepare_cached(sql)?.execute(row).map(drop)
}

/// The place of an entry in a store.
struct At<'a> {
    connection: &'a Connection,
    revision: u64,
    recorded_at_us: i64,
    /// The day on which what this entry says rests.
    today: Day,
}

impl At<'_> {
    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        self.connection.prepare_cached(sql)?.execute(params).map(drop)
    }

    fn log(&self, entry: &StoredEntry, events: usize, day: Option<Day>) -> Result<()> {
        let before = "SELECT events_so_far, bytes_so_far FROM entries WHERE revision = ?1";
        let before =
            self.connection.prepare_cached(before)?.query_row([entry.revision - 1], |r| Ok((r.get(0)?, r.get(1)?)));
        let (events_before, bytes_before): (usize, usize) = before.optional()?.unwrap_or_default();
        let sql =
            "INSERT INTO entries (revision, recorded_at_us, events, events_so_far, bytes_so_far, hash, header, payload,
             day) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let row = params![
            entry.revision,
            entry.recorded_at_us,
            events,
            events_before + events,
            bytes_before + entry.payload.len(),
            entry.hash,
            entry.header,
            entry.payload.as_ref(),
            day,
        ];
        self.run(sql, row)
    }

    /// The row of a record, made if it is not there.
    fn record(&self, name: &str) -> Result<i64> {
        let find = "SELECT id FROM records WHERE name = ?1";
        if let Some(id) = self.connection.prepare_cached(find)?.query_row([name], |r| r.get(0)).optional()? {
            return Ok(id);
        }
        self.run("INSERT INTO records (name, created_at_us) VALUES (?1, ?2)", params![name, self.recorded_at_us])?;
        Ok(self.connection.last_insert_rowid())
    }

    fn file(&self, report: &v1::Report) -> Result<()> {
        let record = self.record(&report.record)?;
        let created = "SELECT min(created_at_us) FROM reports WHERE name = ?1";
        let created: Option<i64> = self.connection.prepare_cached(created)?.query_row([&report.name], |r| r.get(0))?;
        self.end_report(&report.name)?;
        let source = report.source.clone().unwrap_or_default();
        let publisher = source.publisher.as_ref().map(attribution_key).unwrap_or_default();
        let sql = "INSERT INTO reports (record, name, source, publisher, from_revision, to_revision, created_at_us,
                   recorded_at_us, etag, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let row = params![
            record,
            report.name,
            source.name,
            publisher,
            self.revision,
            OPEN,
            created.unwrap_or(self.recorded_at_us),
            self.recorded_at_us,
            report.etag,
            report.encode_to_vec(),
        ];
        self.run(sql, row)?;
        self.source(&source, &publisher)
    }

    fn end_report(&self, name: &str) -> Result<()> {
        let sql = format!("UPDATE reports SET to_revision = ?2 WHERE name = ?1 AND to_revision = {OPEN}");
        self.run(&sql, params![name, self.revision])
    }

    /// Keeps the block of a source if it differs from the one that stands.
    fn source(&self, source: &v1::Source, publisher: &str) -> Result<()> {
        let body = source.encode_to_vec();
        let find = format!("SELECT body, from_revision FROM sources WHERE name = ?1 AND to_revision = {OPEN}");
        let standing: Option<(Vec<u8>, u64)> = self
            .connection
            .prepare_cached(&find)?
            .query_row([&source.name], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()?;
        match standing {
            Some((same, _)) if same == body => return Ok(()),
            // Two blocks of one source in one revision: the later one is the latest.
            Some((_, revision)) if revision == self.revision => {
                let sql = format!("DELETE FROM sources WHERE name = ?1 AND to_revision = {OPEN}");
                self.run(&sql, [&source.name])?;
            }
            _ => {
                let sql = format!("UPDATE sources SET to_revision = ?2 WHERE name = ?1 AND to_revision = {OPEN}");
                self.run(&sql, params![source.name, self.revision])?;
            }
        }
        let sql =
            "INSERT INTO sources (name, kind, publisher, from_revision, to_revision, recorded_at_us, covers, body)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let (at, covers) = (self.recorded_at_us, source.coverage.is_some());
        self.run(sql, params![source.name, source.kind, publisher, self.revision, OPEN, at, covers, body])
    }

    fn retract(&self, ruling: &Ruling) -> Result<()> {
        let source = ruling.source.clone().unwrap_or_default();
        let publisher = source.publisher.as_ref().map(attribution_key).unwrap_or_default();
        self.lift(&ruling.record, &source.name)?;
        let sql = "INSERT INTO rulings (record, source, from_revision, to_revision, body) VALUES (?1, ?2, ?3, ?4, ?5)";
        let record = self.record(&ruling.record)?;
        self.run(sql, params![record, source.name, self.revision, OPEN, ruling.encode_to_vec()])?;
        self.source(&source, &publisher)
    }

    fn lift(&self, record: &str, source: &str) -> Result<()> {
        let sql =
            format!("UPDATE rulings SET to_revision = ?3 WHERE record = ?1 AND source = ?2 AND to_revision = {OPEN}");
        self.run(&sql, params![self.record(record)?, source, self.revision])
    }

    fn merge(&self, merge: &Merge) -> Result<()> {
        let source = merge.source.clone().unwrap_or_default();
        let publisher = source.publisher.as_ref().map(attribution_key).unwrap_or_default();
        self.unmerge(&merge.loser)?;
        let sql = "INSERT INTO merges (loser, survivor, from_revision, to_revision, body) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.run(sql, params![merge.loser, merge.survivor, self.revision, OPEN, merge.encode_to_vec()])?;
        self.source(&source, &publisher)
    }

    fn unmerge(&self, loser: &str) -> Result<()> {
        let sql = format!("UPDATE merges SET to_revision = ?2 WHERE loser = ?1 AND to_revision = {OPEN}");
        self.run(&sql, params![loser, self.revision])
    }

    fn change(&self, change: &RecordChange) -> Result<Option<search::Addition>> {
        let record = self.record(&change.name)?;
        let end = format!("UPDATE versions SET to_revision = ?2 WHERE record = ?1 AND to_revision = {OPEN}");
        self.run(&end, params![record, self.revision])?;
        self.run("INSERT INTO history (record, revision) VALUES (?1, ?2)", params![record, self.revision])?;
        let addition = self.version(record, change)?;
        self.run("DELETE FROM milestones WHERE record = ?1", [record])?;
        for m in &change.milestones {
            let sql = "INSERT INTO milestones (record, type, element, subject, revision, event_index, detail_digest)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let row = params![record, m.r#type, m.element, m.subject, m.revision, m.index, m.detail_digest];
            self.run(sql, row)?;
        }
        Ok(addition)
    }

    /// Keeps when the clock must look at a record again; and at those it supersedes or renews, which may run otherwise
    /// now.
    fn deadlines(&self, change: &RecordChange) -> Result<()> {
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

    fn deadline(&self, name: &str, record: Option<&v1::Record>) -> Result<()> {
        let id = self.record(name)?;
        let successors = match record {
            Some(record) => read::successors(self.connection, record, self.revision)?,
            None => Vec::new(),
        };
        let view = View { day: self.today, successors: &successors };
        match record.and_then(|r| milestone::next_due(r, view)) {
            Some(due) => {
                let sql = "INSERT OR REPLACE INTO deadlines (record, due, name) VALUES (?1, ?2, ?3)";
                self.run(sql, params![id, due, name])
            }
            None => self.run("DELETE FROM deadlines WHERE record = ?1", [id]),
        }
    }

    /// Puts the records that a part of a day has examined off to their next deadline.
    fn examined(&self, day: &log::Day) -> Result<()> {
        let sql = "SELECT name FROM deadlines WHERE (due, name) <= (?1, ?2)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let names = statement.query_map(params![day.through_due, day.through_name], |r| r.get::<_, String>(0))?;
        for name in names.collect::<Result<Vec<_>>>()? {
            let standing = read::body_at(self.connection, &name, self.revision)?;
            self.deadline(&name, standing.as_ref())?;
        }
        Ok(())
    }

    fn version(&self, record: i64, change: &RecordChange) -> Result<Option<search::Addition>> {
        let content = change.record.as_ref().and_then(record::to_dynamic);
        let facets = change.record.as_ref().map(|r| Facets::with_references(r, content.as_ref())).unwrap_or_default();
        let kind = match &change.record {
            Some(standing) => record::kind(standing),
            None => change.name.parse::<name::RecordName>().map_or(v1::RecordKind::Unspecified, |n| n.kind()),
        };
        let (newest_first, oldest_first) = list::sort_keys(facets.occurred);
        // What only fell due changed nothing of the record: it keeps its update time.
        let info = change.record.as_ref().and_then(record::info);
        let updated_at_us = info.and_then(|i| i.update_time.as_ref()).map(clock::micros);
        let sql = "INSERT INTO versions (record, from_revision, to_revision, kind, name, newest_first, oldest_first,
                   updated_at_us, facets, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
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
            change.record.as_ref().map(prost::Message::encode_to_vec),
        ];
        self.run(sql, row)?;
        let version = self.connection.last_insert_rowid();
        for (tag, value) in &facets.terms {
            let term = self.term(*tag as u8, value)?;
            self.run("INSERT INTO version_terms (term, version) VALUES (?1, ?2)", params![term, version])?;
        }
        Ok(content.map(|content| search::Addition::of(version, self.revision, &content)))
    }

    fn term(&self, tag: u8, value: &str) -> Result<i64> {
        let find = "SELECT id FROM terms WHERE tag = ?1 AND value = ?2";
        if let Some(id) =
            self.connection.prepare_cached(find)?.query_row(params![tag, value], |r| r.get(0)).optional()?
        {
            return Ok(id);
        }
        self.run("INSERT INTO terms (tag, value) VALUES (?1, ?2)", params![tag, value])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Remembers the request, and forgets those that are older than the log promises to remember.
    fn remember(&self, header: &EntryHeader) -> Result<()> {
        // While a history is replayed log time runs fast, and its import may be repeated from the start.
        let retention = i64::try_from(REQUEST_ID_RETENTION.as_micros()).unwrap_or(i64::MAX);
        if !header.recorded_at_supplied {
            self.run("DELETE FROM requests WHERE recorded_at_us < ?1", [self.recorded_at_us - retention])?;
        }
        let sql = "INSERT OR REPLACE INTO requests (principal, request_id, digest, revision, recorded_at_us)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let row =
            params![header.principal, header.request_id, header.request_digest, self.revision, self.recorded_at_us];
        self.run(sql, row)
    }
}
