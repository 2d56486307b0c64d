//! Deciding one filing inside the open transaction: from what is asked to what the entry will say.

use prost_reflect::Value;
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
        report::Report,
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

impl Drafting<'_> {
    /// What the entry will say; a payload that records nothing if nothing has to be.
    pub fn draft(&self, request: &Request) -> Result<EntryPayload> {
        match &request.act {
            Act::File { reports, preconditions, intent } => {
                self.check_preconditions(preconditions)?;
                let steps: Vec<Step> = reports.iter().cloned().map(Box::new).map(Step::File).collect();
                self.steps(steps.iter(), *intent, RetractionReason::Unspecified)
            }
            Act::Import { steps, intent, reason } => self.import(steps, *intent, *reason),
            Act::Withdraw { selection, reason } => self.withdraw(selection, *reason),
            Act::Retract { record, ruling } => self.retract(record, ruling),
            Act::Restore { record, source } => self.restore(record, source.as_deref()),
            Act::Day { to } => self.day(*to),
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

    fn steps<'s>(
        &self,
        steps: impl Iterator<Item = &'s Step>,
        intent: Intent,
        reason: RetractionReason,
    ) -> Result<EntryPayload> {
        let mut payload = EntryPayload::default();
        let mut touched: Vec<Place> = Vec::new();
        for step in steps {
            match step {
                Step::File(report) => self.file(report, &mut payload, &mut touched)?,
                Step::Withdraw(name) => self.withdraw_one(name, &mut payload, &mut touched)?,
            }
        }
        let plan = Plan { intent, reason, today: self.today(), since: self.today() };
        self.conclude(&mut payload, touched, &plan)?;
        Ok(payload)
    }

    /// As far as it can be: what its record has no room for is left out, and its result says so.
    fn import(&self, steps: &[Step], intent: Intent, reason: RetractionReason) -> Result<EntryPayload> {
        let mut refused: Vec<(usize, Error)> = Vec::new();
        loop {
            let kept = steps.iter().enumerate().filter(|(i, _)| refused.iter().all(|(r, _)| r != i));
            let error = match self.steps(kept.map(|(_, step)| step), intent, reason) {
                Err(error) if error.reason == Reason::TooLarge => error,
                Err(error) => return Err(error),
                Ok(mut payload) => {
                    refused.sort_by_key(|(index, _)| *index);
                    for (index, error) in &refused {
                        payload.results.insert((*index).min(payload.results.len()), left_out(&steps[*index], error));
                    }
                    return Ok(payload);
                }
            };
            let before = refused.len();
            let about = |step: &Step| error.resource.as_deref() == Some(step.report_name().record.as_str());
            let new = steps.iter().enumerate().filter(|(i, s)| about(s) && refused.iter().all(|(r, _)| r != i));
            let new: Vec<_> = new.map(|(i, _)| (i, error.clone())).collect();
            refused.extend(new);
            if refused.len() == before {
                return Err(error);
            }
        }
    }

    fn file(&self, report: &Report, payload: &mut EntryPayload, touched: &mut Vec<Place>) -> Result<()> {
        let stored = report.to_stored();
        let standing = self.standing_etag(touched, report)?;
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
            let place = self.touch(touched, &report.name.record)?;
            result.warnings.extend(warn::resemblances(report, &place.active));
            result.warnings.extend(warn::same_occasion(self.connection, report, self.head.revision)?);
            place.active.retain(|r| r.name != report.name);
            place.active.push(report.clone());
            place.changes(&stored.name);
            payload.filings.push(Filing { act: Some(filing::Act::File(stored)) });
        }
        payload.results.push(result);
        Ok(())
    }

    fn withdraw_one(&self, name: &ReportName, payload: &mut EntryPayload, touched: &mut Vec<Place>) -> Result<()> {
        let text = name.to_string();
        if read::active_report(self.connection, &text)?.is_some() {
            let place = self.touch(touched, &name.record)?;
            place.active.retain(|r| r.name != *name);
            place.changes(&text);
            payload.filings.push(Filing { act: Some(filing::Act::Withdraw(text.clone())) });
        }
        payload.results.push(v1::FilingResult {
            report: text,
            record: name.record.to_string(),
            outcome: FilingOutcome::NoChange.into(),
            ..v1::FilingResult::default()
        });
        Ok(())
    }

    /// The etag of the report that this one would replace: one of the same filing, else the store's.
    fn standing_etag(&self, touched: &[Place], report: &Report) -> Result<Option<String>> {
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
        let parse = |name: &String| name.parse().map(Step::Withdraw).map_err(|e| Error::internal(format!("{e}")));
        let steps = names.iter().map(parse).collect::<Result<Vec<_>>>()?;
        self.steps(steps.iter(), Intent::Unspecified, reason)
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
        self.rule(&mut payload, Place::falls(record), ruling.reason())?;
        payload.results[0].outcome = FilingOutcome::Retracted.into();
        Ok(payload)
    }

    fn rule(&self, payload: &mut EntryPayload, place: Place, reason: RetractionReason) -> Result<()> {
        let plan = Plan { intent: Intent::Unspecified, reason, today: self.today(), since: self.today() };
        self.conclude(payload, vec![place], &plan)
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
            let place = Place { rulings_lifted: true, ..Place::of(record, self.active(record)?, Cause::Filing) };
            self.rule(&mut payload, place, RetractionReason::Unspecified)?;
        }
        Ok(payload)
    }

    fn touch<'t>(&self, touched: &'t mut Vec<Place>, name: &RecordName) -> Result<&'t mut Place> {
        let place = match touched.iter().position(|t| t.name == *name) {
            Some(place) => place,
            None => {
                touched.push(Place::of(name, self.active(name)?, Cause::Filing));
                touched.len() - 1
            }
        };
        Ok(&mut touched[place])
    }

    /// The active reports of a record.
    pub fn active(&self, name: &RecordName) -> Result<Vec<Report>> {
        let rows = read::active_reports(self.connection, name, self.head.revision)?;
        rows.into_iter().map(|row| Report::from_stored(row.report)).collect()
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

fn ruling_payload(record: &RecordName, outcome: FilingOutcome) -> EntryPayload {
    let result =
        v1::FilingResult { record: record.to_string(), outcome: outcome.into(), ..v1::FilingResult::default() };
    EntryPayload { results: vec![result], ..EntryPayload::default() }
}

/// The elements of a list of a report, by name of the list.
pub(super) fn elements<'r>(report: &'r Report, list: &str) -> Vec<&'r prost_reflect::DynamicMessage> {
    let Some(field) = prost_reflect::ReflectMessage::descriptor(&report.content).get_field_by_name(list) else {
        return Vec::new();
    };
    let found = report.content.fields().find(|(f, _)| *f == field).map(|(_, value)| value);
    found.and_then(Value::as_list).into_iter().flatten().filter_map(Value::as_message).collect()
}
