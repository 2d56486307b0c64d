//! Deciding one filing inside the open transaction: from what is asked to what the entry will say.

use std::collections::HashSet;

use prost_reflect::Value;
use rusqlite::Connection;

use super::{
    job::{Act, Request, Selection},
    warn,
};
use crate::{
    clock,
    domain::{
        date::Day,
        decide::{self, Before, Context, Decision},
        error::{Error, Reason, Result},
        name::{RecordName, ReportName},
        report::Report,
        resolve,
    },
    limits::MAX_REPORTS_PER_FILING,
    pb::{
        log::{EntryPayload, Filing, LiftedRuling, Ruling, filing},
        v1::{self, FilingOutcome, Intent, RetractionReason},
    },
    store::{Head, read},
};

/// The place of the entry that is being drafted.
pub(super) struct Drafting<'a> {
    pub connection: &'a Connection,
    /// Where the store stands inside the transaction.
    pub head: Head,
    /// When the entry is recorded.
    pub now_us: i64,
    pub principal: &'a str,
}

/// A record whose set of reports changes.
struct Touched {
    name: RecordName,
    /// Its active reports afterwards.
    active: Vec<Report>,
    /// The reports that change, by name.
    changed: Vec<String>,
}

impl Drafting<'_> {
    /// What the entry will say; a payload without filings if nothing has to be recorded.
    pub fn draft(&self, request: &Request) -> Result<EntryPayload> {
        match &request.act {
            Act::File { reports, preconditions, intent } => self.file(reports, preconditions, *intent),
            Act::Withdraw { selection, reason } => self.withdraw(selection, *reason),
            Act::Retract { record, ruling } => self.retract(record, ruling),
            Act::Restore { record, source } => self.restore(record, source.as_deref()),
        }
    }

    fn file(&self, reports: &[Report], preconditions: &[(ReportName, String)], intent: Intent) -> Result<EntryPayload> {
        self.check_preconditions(preconditions)?;
        let mut payload = EntryPayload::default();
        let mut touched: Vec<Touched> = Vec::new();
        for report in reports {
            let stored = report.to_stored();
            let standing = self.standing_etag(&touched, report)?;
            let mut result = v1::FilingResult {
                report: stored.name.clone(),
                record: stored.record.clone(),
                etag: stored.etag.clone(),
                outcome: FilingOutcome::NoChange.into(),
                warnings: self.source_warning(report)?,
                ..v1::FilingResult::default()
            };
            result.warnings.extend(warn::dates(report));
            if standing.is_none_or(|etag| etag != stored.etag) {
                let place = self.touch(&mut touched, &report.name.record)?;
                result.warnings.extend(warn::resemblances(report, &place.active));
                result.warnings.extend(warn::same_occasion(self.connection, report, self.head.revision)?);
                place.active.retain(|r| r.name != report.name);
                place.active.push(report.clone());
                if !place.changed.contains(&stored.name) {
                    place.changed.push(stored.name.clone());
                }
                payload.filings.push(Filing { act: Some(filing::Act::File(stored)) });
            }
            payload.results.push(result);
        }
        self.conclude(payload, touched, intent, RetractionReason::Unspecified)
    }

    /// The etag of the report that this one would replace: one of the same filing, else the store's.
    fn standing_etag(&self, touched: &[Touched], report: &Report) -> Result<Option<String>> {
        match touched.iter().find(|t| t.name == report.name.record) {
            Some(place) => Ok(place.active.iter().find(|r| r.name == report.name).map(|r| r.to_stored().etag)),
            None => Ok(read::active_report(self.connection, &report.name.to_string())?.map(|row| row.report.etag)),
        }
    }

    fn check_preconditions(&self, preconditions: &[(ReportName, String)]) -> Result<()> {
        for (name, expected) in preconditions {
            let name = name.to_string();
            let etag = read::active_report(self.connection, &name)?.map(|r| r.report.etag).unwrap_or_default();
            if etag != *expected {
                let message = format!("{name} has etag {etag:?}, not {expected:?}; read it again");
                return Err(Error::new(Reason::EtagMismatch, message).with_resource(name).with("etag", etag));
            }
        }
        Ok(())
    }

    fn source_warning(&self, report: &Report) -> Result<Vec<String>> {
        let known = read::source_at(self.connection, &report.source.name, self.head.revision)?;
        let differs = known.is_some_and(|known| v1::Source { update_time: None, ..known } != report.source);
        let warning = || {
            format!("the block of {} differs from the one filed before; it is kept as the latest", report.source.name)
        };
        Ok(differs.then(warning).into_iter().collect())
    }

    fn withdraw(&self, selection: &Selection, reason: RetractionReason) -> Result<EntryPayload> {
        let (mut names, count) = match selection {
            Selection::Report(name) => {
                let name = name.to_string();
                if read::active_report(self.connection, &name)?.is_none() {
                    return Err(Error::not_found(&name));
                }
                (vec![name], 1)
            }
            Selection::Source(name) => {
                let found = read::active_of(self.connection, read::Whose::Source(name), MAX_REPORTS_PER_FILING)?;
                if found.1 == 0 && read::source_at(self.connection, name, self.head.revision)?.is_none() {
                    return Err(Error::not_found(name));
                }
                found
            }
            Selection::Publisher(key) => {
                read::active_of(self.connection, read::Whose::Publisher(key), MAX_REPORTS_PER_FILING)?
            }
        };
        loop {
            let mut payload = self.withdraw_these(&names, reason)?;
            payload.remaining = i32::try_from(count - names.len()).unwrap_or(i32::MAX);
            // As many as fit one entry.
            if names.len() < 2 || prost::Message::encoded_len(&payload) <= super::MAX_PAYLOAD_BYTES {
                return Ok(payload);
            }
            names.truncate(names.len() / 2);
        }
    }

    fn withdraw_these(&self, names: &[String], reason: RetractionReason) -> Result<EntryPayload> {
        let mut payload = EntryPayload::default();
        let mut touched = Vec::new();
        for name in names {
            let parsed: ReportName = name.parse().map_err(|e| Error::internal(format!("{e}")))?;
            let place = self.touch(&mut touched, &parsed.record)?;
            place.active.retain(|r| r.name != parsed);
            place.changed.push(name.clone());
            payload.filings.push(Filing { act: Some(filing::Act::Withdraw(name.clone())) });
            payload.results.push(v1::FilingResult {
                report: name.clone(),
                record: parsed.record.to_string(),
                outcome: FilingOutcome::NoChange.into(),
                ..v1::FilingResult::default()
            });
        }
        self.conclude(payload, touched, Intent::Unspecified, reason)
    }

    fn retract(&self, record: &RecordName, ruling: &Ruling) -> Result<EntryPayload> {
        if read::record_at(self.connection, record, self.head.revision)?.is_none() {
            return Err(Error::not_found(record.as_str()));
        }
        let mut payload = ruling_payload(record, FilingOutcome::Retracted);
        if read::rulings(self.connection, record)?.contains(ruling) {
            return Ok(payload);
        }
        payload.filings.push(Filing { act: Some(filing::Act::Retract(ruling.clone())) });
        let decision = self.decide(record, None, &[], Intent::Unspecified, ruling.reason(), 0)?;
        merge(&mut payload, decision, &[0], FilingOutcome::Retracted);
        Ok(payload)
    }

    fn restore(&self, record: &RecordName, source: Option<&str>) -> Result<EntryPayload> {
        if read::record_at(self.connection, record, self.head.revision)?.is_none() {
            return Err(Error::not_found(record.as_str()));
        }
        let rulings = read::rulings(self.connection, record)?;
        let source_of = |r: &Ruling| r.source.as_ref().map(|s| s.name.clone()).unwrap_or_default();
        let lifted: Vec<String> =
            rulings.iter().map(source_of).filter(|s| source.is_none_or(|only| only == s)).collect();
        let mut payload = ruling_payload(record, FilingOutcome::NoChange);
        for source in &lifted {
            let lift = LiftedRuling { record: record.to_string(), source: source.clone() };
            payload.filings.push(Filing { act: Some(filing::Act::Restore(lift)) });
        }
        if !lifted.is_empty() && lifted.len() == rulings.len() {
            let active = self.active(record)?;
            let decision =
                self.decide(record, Some(&active), &[], Intent::Unspecified, RetractionReason::Unspecified, 0)?;
            let outcome = decision.outcome;
            merge(&mut payload, decision, &[0], outcome);
        }
        Ok(payload)
    }

    fn touch<'t>(&self, touched: &'t mut Vec<Touched>, name: &RecordName) -> Result<&'t mut Touched> {
        let place = match touched.iter().position(|t| t.name == *name) {
            Some(place) => place,
            None => {
                let active = self.active(name)?;
                touched.push(Touched { name: name.clone(), active, changed: Vec::new() });
                touched.len() - 1
            }
        };
        Ok(&mut touched[place])
    }

    fn active(&self, name: &RecordName) -> Result<Vec<Report>> {
        let rows = read::active_reports(self.connection, name, self.head.revision)?;
        rows.into_iter().map(|row| Report::from_stored(row.report)).collect()
    }

    /// Decides every touched record, in the order of first mention.
    fn conclude(
        &self,
        mut payload: EntryPayload,
        touched: Vec<Touched>,
        intent: Intent,
        reason: RetractionReason,
    ) -> Result<EntryPayload> {
        for Touched { name, active, changed } in touched {
            let names: HashSet<&String> = changed.iter().collect();
            let own: Vec<usize> =
                (0..payload.results.len()).filter(|i| names.contains(&payload.results[*i].report)).collect();
            if !read::rulings(self.connection, &name)?.is_empty() {
                own.iter().for_each(|i| payload.results[*i].outcome = FilingOutcome::Stored.into());
                // Decided for its bound alone: what is stored now must not be too large to stand again later.
                self.decide(&name, Some(&active), &changed, intent, reason, 0)?;
                continue;
            }
            let before = payload.events.len();
            let decision = self.decide(&name, Some(&active), &changed, intent, reason, before)?;
            let outcome = decision.outcome;
            merge(&mut payload, decision, &own, outcome);
        }
        Ok(payload)
    }

    fn decide(
        &self,
        name: &RecordName,
        active: Option<&[Report]>,
        changed: &[String],
        intent: Intent,
        reason: RetractionReason,
        events_before: usize,
    ) -> Result<Decision> {
        let row = read::record_at(self.connection, name, self.head.revision)?;
        let before = Before {
            create_time: row.as_ref().map(|r| clock::timestamp(r.created_at_us)),
            record: row.and_then(|r| r.record),
            milestones: read::milestones(self.connection, name)?,
        };
        let today: Day = clock::day(self.now_us);
        let context = Context {
            revision: self.head.revision + 1,
            next_index: u32::try_from(events_before).unwrap_or(u32::MAX),
            time: clock::timestamp(self.now_us),
            today,
            log: format!("attache/{}", self.head.epoch),
            principal: self.principal.to_owned(),
            intent,
            reason,
            reports: changed.to_vec(),
        };
        decide::decide(name, &before, active.and_then(resolve::resolve), &context)
    }
}

fn ruling_payload(record: &RecordName, outcome: FilingOutcome) -> EntryPayload {
    let result =
        v1::FilingResult { record: record.to_string(), outcome: outcome.into(), ..v1::FilingResult::default() };
    EntryPayload { results: vec![result], ..EntryPayload::default() }
}

/// Adds what was decided of one record to the entry, and tells the results that share it.
fn merge(payload: &mut EntryPayload, decision: Decision, results: &[usize], outcome: FilingOutcome) {
    for index in results {
        let result = &mut payload.results[*index];
        result.outcome = outcome.into();
        result.disputed.clone_from(&decision.disputed);
        result.settled.clone_from(&decision.settled);
    }
    if let Some(change) = decision.change {
        let index = u32::try_from(payload.changes.len()).unwrap_or(u32::MAX);
        payload.changes.push(change);
        payload.events.extend(decision.events.into_iter().map(|mut event| {
            event.change = index;
            event
        }));
    }
}

/// The elements of a list of a report, by name of the list.
pub(super) fn elements<'r>(report: &'r Report, list: &str) -> Vec<&'r prost_reflect::DynamicMessage> {
    let Some(field) = prost_reflect::ReflectMessage::descriptor(&report.content).get_field_by_name(list) else {
        return Vec::new();
    };
    let found = report.content.fields().find(|(f, _)| *f == field).map(|(_, value)| value);
    found.and_then(Value::as_list).into_iter().flatten().filter_map(Value::as_message).collect()
}
