//! Deciding one filing inside the open transaction: from what is asked to what the entry will say.

use std::{cell::RefCell, collections::BTreeMap};

use prost::Message as _;
use rusqlite::Connection;

use super::{
    conclude::{Place, Plan},
    job::{Act, Request, Selection, Step},
    warn,
};
use crate::{
    domain::{
        date::Day,
        decide::Cause,
        error::{Error, Reason, Result},
        name::{RecordName, ReportName},
        report::{Report, path_in_request},
        resolve::Resolved,
    },
    limits::{MAX_IMPORT_ROUNDS, MAX_REPORTS_PER_FILING},
    pb::{
        log::{EntryPayload, Filing, LiftedRuling, Ruling, filing},
        tree::{Tree, Value},
        v1::{self, FilingOutcome, Intent, RetractionReason},
    },
    store::{Head, apply::Known, merges, read},
};

/// The place of the entry that is being drafted.
pub(super) struct Drafting<'a> {
    pub connection: &'a Connection,
    /// What the store is known to have.
    pub known: &'a Known,
    /// Where the store stands inside the transaction.
    pub head: Head,
    /// When the entry is recorded.
    pub now_us: i64,
    /// What the clock says; recorded time may be ahead of it.
    pub clock_us: i64,
    pub principal: &'a str,
    /// Whether whoever asks may make rulings, and so undo them.
    pub may_rule: bool,
    /// What the records that the entry changes resolved to, by name: applying it asks for what was computed of that.
    pub resolved: RefCell<Resolved>,
}

impl Drafting<'_> {
    /// What the entry will say; a payload that records nothing if nothing has to be.
    pub fn draft(&self, request: &Request) -> Result<EntryPayload> {
        match &request.act {
            Act::File { reports, preconditions, intent } => {
                for (index, report) in reports.iter().enumerate() {
                    self.may_undo(&report.name, || path_in_request(index))?;
                }
                self.check_preconditions(preconditions)?;
                let steps: Vec<Step> = reports.iter().cloned().map(Box::new).map(Step::File).collect();
                self.steps(steps.iter(), *intent, RetractionReason::Unspecified)
            }
            Act::Import { steps, intent, reason } => self.import(steps, *intent, *reason),
            Act::Withdraw { selection, reason } => self.withdraw(selection, *reason),
            Act::Retract { record, ruling } => self.retract(record, ruling),
            Act::Restore { record, source } => self.restore(record, source.as_deref()),
            Act::Merge { loser, survivor, merge } => self.merge(loser, survivor, merge),
            Act::Unmerge { loser } => self.unmerge(loser),
            Act::Day { to } => self.day(*to),
            Act::Trim { before } => self.trim(*before),
            Act::Redact { reports, reason } => self.redact(reports, reason),
        }
    }

    /// The day on which what is filed rests: that of the first entry is its own. While a history is replayed it is at
    /// least that of the entry, to which the writer has moved the registry's; not so for what is only validated.
    pub fn today(&self) -> Day {
        let own = crate::clock::day(self.now_us);
        match self.head.day {
            None => own,
            Some(_) if self.head.replaying => self.head.today().max(own),
            Some(_) => self.head.today(),
        }
    }

    /// The registry's day before: while it is being moved, what fell due on the way is still worth telling.
    pub fn since(&self) -> Day {
        self.head.day.unwrap_or_else(|| self.today())
    }

    pub fn steps<'s>(
        &self,
        steps: impl Iterator<Item = &'s Step>,
        intent: Intent,
        reason: RetractionReason,
    ) -> Result<EntryPayload> {
        // What a list of these moves while it grows was four hundredths of an import's instructions.
        let (count, _) = steps.size_hint();
        let mut payload = EntryPayload {
            filings: Vec::with_capacity(count),
            results: Vec::with_capacity(count),
            ..EntryPayload::default()
        };
        let mut touched: Vec<Place> = Vec::with_capacity(count);
        for step in steps {
            match step {
                Step::File(report) => self.file(report, &mut payload, &mut touched)?,
                Step::Withdraw(name) => self.withdraw_one(name, &mut payload, &mut touched)?,
            }
        }
        let plan = Plan { intent, reason, today: self.today(), since: self.since() };
        self.conclude(&mut payload, touched, &plan)?;
        Ok(payload)
    }

    /// As far as it can be: what its record, or the entry, has no room for is left out, and so is what would undo a ruling
    /// of others; its result says so.
    fn import(&self, steps: &[Step], intent: Intent, reason: RetractionReason) -> Result<EntryPayload> {
        let mut refused: BTreeMap<usize, Error> = self.undoing(steps)?;
        for _ in 0..MAX_IMPORT_ROUNDS {
            let kept: Vec<usize> = (0..steps.len()).filter(|i| !refused.contains_key(i)).collect();
            let error = match self.steps(kept.iter().map(|i| &steps[*i]), intent, reason) {
                Err(error) if error.reason == Reason::TooLarge => error,
                Err(error) => return Err(error),
                Ok(mut payload) => {
                    // (What was left out has results too.)
                    leave_out(&mut payload, steps, &refused);
                    if payload.encoded_len() <= super::MAX_PAYLOAD_BYTES || kept.len() <= 1 {
                        return Ok(payload);
                    }
                    let why = "does not fit into one revision with what stands before it: send it in the next batch";
                    let rest = kept[kept.len() / 2..].iter().map(|i| (*i, Error::new(Reason::TooLarge, why)));
                    refused.extend(rest);
                    continue;
                }
            };
            let about = |i: &usize| error.resource.as_deref() == Some(steps[*i].report_name().record.as_str());
            let new: Vec<usize> = kept.into_iter().filter(about).collect();
            if new.is_empty() {
                return Err(error);
            }
            refused.extend(new.into_iter().map(|i| (i, error.clone())));
        }
        let why = format!("more than {MAX_IMPORT_ROUNDS} records of the batch have no room: send smaller batches");
        Err(Error::new(Reason::TooLarge, why))
    }

    fn file(&self, report: &Report, payload: &mut EntryPayload, touched: &mut Vec<Place>) -> Result<()> {
        let stored = report.stored();
        let is_new = !read::is_known(self.connection, &report.name.record)?;
        let record = if is_new { report.name.record.clone() } else { self.survivor(&report.name.record)? };
        let standing = self.standing_etag(touched, report, is_new)?;
        let mut result = v1::FilingResult {
            report: stored.name.clone(),
            record: record.to_string(),
            etag: stored.etag.clone(),
            outcome: FilingOutcome::NoChange.into(),
            warnings: self.source_warning(report)?,
            ..v1::FilingResult::default()
        };
        result.warnings.extend(merged_warning(&report.name.record, &record));
        result.warnings.extend(warn::dates(report));
        if standing.is_none_or(|etag| etag != stored.etag) {
            let place = self.touch(touched, &report.name.record, is_new)?;
            result.warnings.extend(warn::resemblances(report, &place.active));
            result.warnings.extend(warn::same_occasion(self.connection, report, &record)?);
            place.active.retain(|r| r.name != report.name);
            place.active.push(report.clone());
            place.changes(&stored.name);
            payload.filings.push(Filing { act: Some(filing::Act::File(stored.clone())) });
        }
        payload.results.push(result);
        Ok(())
    }

    fn withdraw_one(&self, name: &ReportName, payload: &mut EntryPayload, touched: &mut Vec<Place>) -> Result<()> {
        let text = name.to_string();
        let record = self.survivor(&name.record)?;
        if read::active_report(self.connection, name)?.is_some() {
            let place = self.touch(touched, &name.record, false)?;
            place.active.retain(|r| r.name != *name);
            place.changes(&text);
            payload.filings.push(Filing { act: Some(filing::Act::Withdraw(text.clone())) });
        }
        payload.results.push(v1::FilingResult {
            report: text,
            record: record.to_string(),
            outcome: FilingOutcome::NoChange.into(),
            warnings: merged_warning(&name.record, &record).into_iter().collect(),
            ..v1::FilingResult::default()
        });
        Ok(())
    }

    /// The etag of the report that this one would replace: one of the same filing, else the store's.
    fn standing_etag(&self, touched: &[Place], report: &Report, is_new: bool) -> Result<Option<String>> {
        match touched.iter().find(|t| t.family.has(&report.name.record)) {
            Some(place) => Ok(place.active.iter().find(|r| r.name == report.name).map(|r| r.stored().etag.clone())),
            None if is_new => Ok(None),
            None => Ok(read::active_report(self.connection, &report.name)?.map(|row| row.report.etag)),
        }
    }

    fn check_preconditions(&self, preconditions: &[(ReportName, String)]) -> Result<()> {
        for (name, expected) in preconditions {
            let etag = read::active_report(self.connection, name)?.map(|r| r.report.etag).unwrap_or_default();
            let name = name.to_string();
            if etag != *expected {
                let message = format!("{name} has etag {etag:?}, not {expected:?}; read it again");
                return Err(Error::new(Reason::EtagMismatch, message).with_resource(name).with("etag", etag));
            }
        }
        Ok(())
    }

    fn source_warning(&self, report: &Report) -> Result<Vec<String>> {
        if self.known.has_source(&report.source.name, &report.source.encode_to_vec()) {
            return Ok(Vec::new());
        }
        let known = read::source_at(self.connection, &report.source.name, self.head.revision)?;
        let differs = known.is_some_and(|known| v1::Source { update_time: None, ..known } != report.source);
        let warning = || {
            format!("the block of {} differs from the one filed before; it is kept as the latest", report.source.name)
        };
        Ok(differs.then(warning).into_iter().collect())
    }

    fn withdraw(&self, selection: &Selection, reason: RetractionReason) -> Result<EntryPayload> {
        let (names, count) = self.selected(selection)?;
        let parse = |name: &String| name.parse().map(Step::Withdraw).map_err(|e| Error::internal(format!("{e}")));
        let mut steps = names.iter().map(parse).collect::<Result<Vec<_>>>()?;
        for step in &steps {
            self.may_undo(step.report_name(), || selection.field().to_owned())?;
        }
        loop {
            let mut payload = self.steps(steps.iter(), Intent::Unspecified, reason)?;
            payload.remaining = i32::try_from(count - steps.len()).unwrap_or(i32::MAX);
            // As many as fit one entry.
            if steps.len() < 2 || prost::Message::encoded_len(&payload) <= super::MAX_PAYLOAD_BYTES {
                return Ok(payload);
            }
            steps.truncate(steps.len() / 2);
        }
    }

    /// The names of the reports that are meant, as many as one filing withdraws, and how many there are.
    fn selected(&self, selection: &Selection) -> Result<(Vec<String>, usize)> {
        match selection {
            Selection::Report(name) => match read::active_report(self.connection, name)? {
                None => Err(Error::not_found(&name.to_string())),
                Some(_) => Ok((vec![name.to_string()], 1)),
            },
            Selection::Source(name) => {
                let found = read::active_of(self.connection, read::Whose::Source(name), MAX_REPORTS_PER_FILING)?;
                if found.1 == 0 && read::source_at(self.connection, name, self.head.revision)?.is_none() {
                    return Err(Error::not_found(name));
                }
                Ok(found)
            }
            Selection::Publisher(key) => {
                read::active_of(self.connection, read::Whose::Publisher(key), MAX_REPORTS_PER_FILING)
            }
        }
    }

    fn retract(&self, name: &RecordName, ruling: &Ruling) -> Result<EntryPayload> {
        self.check_known(name)?;
        let place = self.standing(name, Cause::Filing)?;
        let mut payload = ruling_payload(name, place.name(), FilingOutcome::Retracted);
        if read::rulings(self.connection, name)?.contains(ruling) {
            return Ok(payload);
        }
        payload.filings.push(Filing { act: Some(filing::Act::Retract(ruling.clone())) });
        let whole = place.name() == name;
        let place = Place::ruled(place.family.rule(name, true), place.active);
        self.rule(&mut payload, vec![place], ruling.reason())?;
        if whole {
            payload.results[0].outcome = FilingOutcome::Retracted.into();
        }
        Ok(payload)
    }

    pub fn rule(&self, payload: &mut EntryPayload, places: Vec<Place>, reason: RetractionReason) -> Result<()> {
        let plan = Plan { intent: Intent::Unspecified, reason, today: self.today(), since: self.since() };
        self.conclude(payload, places, &plan)
    }

    fn restore(&self, name: &RecordName, source: Option<&str>) -> Result<EntryPayload> {
        self.check_known(name)?;
        let place = self.standing(name, Cause::Filing)?;
        let rulings = read::rulings(self.connection, name)?;
        let source_of = |r: &Ruling| r.source.as_ref().map(|s| s.name.clone()).unwrap_or_default();
        let lifted: Vec<String> =
            rulings.iter().map(source_of).filter(|s| source.is_none_or(|only| only == s)).collect();
        let mut payload = ruling_payload(name, place.name(), FilingOutcome::NoChange);
        for source in &lifted {
            let lift = LiftedRuling { record: name.to_string(), source: source.clone() };
            payload.filings.push(Filing { act: Some(filing::Act::Restore(lift)) });
        }
        if !lifted.is_empty() && lifted.len() == rulings.len() {
            let place = Place::ruled(place.family.rule(name, false), place.active);
            self.rule(&mut payload, vec![place], RetractionReason::Unspecified)?;
        }
        Ok(payload)
    }

    pub fn check_known(&self, name: &RecordName) -> Result<()> {
        match read::record_at(self.connection, name, self.head.revision)? {
            Some(_) => Ok(()),
            None => Err(Error::not_found(name.as_str())),
        }
    }

    fn touch<'t>(&self, touched: &'t mut Vec<Place>, name: &RecordName, is_new: bool) -> Result<&'t mut Place> {
        let place = match touched.iter().position(|t| t.family.has(name)) {
            Some(place) => place,
            None => {
                touched.push(if is_new { Place::new(name) } else { self.standing(name, Cause::Filing)? });
                touched.len() - 1
            }
        };
        Ok(&mut touched[place])
    }

    /// The record that stands for a name.
    pub fn survivor(&self, name: &RecordName) -> Result<RecordName> {
        self.stood_for(name, self.head.revision)
    }

    /// The record that stood for a name as of a revision.
    pub fn stood_for(&self, name: &RecordName, revision: u64) -> Result<RecordName> {
        merges::survivor(self.connection, name, revision)
    }

    /// The record that stands for a name, with its reports, before the entry.
    pub fn standing(&self, name: &RecordName, cause: Cause) -> Result<Place> {
        let family = merges::family(self.connection, &self.survivor(name)?, self.head.revision)?;
        let rows = read::active_reports_of(self.connection, &family, self.head.revision)?;
        let active = rows.into_iter().map(|row| Report::from_stored(row.report)).collect::<Result<_>>()?;
        Ok(Place::of(family, active, cause))
    }
}

/// Puts the results of steps that were left out among the others, each in its place.
fn leave_out(payload: &mut EntryPayload, steps: &[Step], refused: &BTreeMap<usize, Error>) {
    for (index, error) in refused {
        let place = (*index).min(payload.results.len());
        payload.results.insert(place, left_out(&steps[*index], error));
        if error.reason == Reason::RoleRequired {
            payload.not_granted.push(u32::try_from(place).unwrap_or(u32::MAX));
        }
    }
}

/// The result of a step that was left out: it has no outcome, and says why.
fn left_out(step: &Step, error: &Error) -> v1::FilingResult {
    let name = step.report_name();
    v1::FilingResult {
        report: name.to_string(),
        record: name.record.to_string(),
        warnings: vec![error.message.clone()],
        ..v1::FilingResult::default()
    }
}

/// Says that a name is not that of the record any more.
pub(super) fn merged_warning(name: &RecordName, record: &RecordName) -> Option<String> {
    (name != record).then(|| format!("{name} was merged into {record}, which stands for it"))
}

fn ruling_payload(name: &RecordName, record: &RecordName, outcome: FilingOutcome) -> EntryPayload {
    let result = v1::FilingResult {
        record: record.to_string(),
        outcome: outcome.into(),
        warnings: merged_warning(name, record).into_iter().collect(),
        ..v1::FilingResult::default()
    };
    EntryPayload { results: vec![result], ..EntryPayload::default() }
}

/// The elements of a list of a report, by name of the list.
pub(super) fn elements<'r>(report: &'r Report, list: &str) -> Vec<&'r Tree> {
    report.content.named(list).and_then(Value::as_list).into_iter().flatten().filter_map(Value::as_message).collect()
}
