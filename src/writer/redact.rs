//! Erasing reports: they are withdrawn, and what they and their records said is named to every replica.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::{draft::Drafting, job::Step};
use crate::{
    clock,
    domain::{
        decide::event_id,
        error::{Error, Reason, Result},
        name::{RecordName, ReportName},
        redact,
    },
    pb::{
        log::{EntryPayload, ErasedVersion, RecordChange, Redact, StoredEvent},
        v1::{self, EventClass, EventType, Intent, RetractionReason},
    },
    store::{apply::erase, merges, read},
};

/// What is erased of the past.
#[derive(Default)]
struct Past {
    /// By revision.
    touched: BTreeMap<u64, Touched>,
    /// Of what records were at the floor: the entries are gone.
    versions: BTreeSet<(RecordName, u64)>,
}

/// What is erased of one revision, by the names of records: what they were then, and what events alone say.
type Touched = (BTreeSet<String>, BTreeSet<String>);

impl Drafting<'_> {
    /// The erasing of the first of these reports, as many as fit one entry; records nothing if there is none.
    ///
    /// # Errors
    ///
    /// `RECORD_NOT_FOUND` for a report of which no version is there.
    pub fn redact(&self, reports: &[ReportName], reason: &str) -> Result<EntryPayload> {
        let mut count = reports.len();
        if count == 0 {
            return Ok(EntryPayload::default());
        }
        if self.head.replaying {
            let why = "cannot be erased while a history is replayed, which this would end".to_owned();
            return Err(Error::field(Reason::FieldInvalid, "what", why));
        }
        loop {
            let payload = self.redact_these(&reports[..count], reason)?;
            if payload.encoded_len() <= super::MAX_PAYLOAD_BYTES || count == 1 {
                let remaining = i32::try_from(reports.len() - count).unwrap_or(i32::MAX);
                return Ok(EntryPayload { remaining, ..payload });
            }
            count /= 2;
        }
    }

    fn redact_these(&self, reports: &[ReportName], reason: &str) -> Result<EntryPayload> {
        let revision = self.head.revision + 1;
        let mut past = Past::default();
        // Every record that was told of, under the name that stands for it now.
        let mut by_record: BTreeMap<RecordName, BTreeSet<String>> = BTreeMap::new();
        for report in reports {
            let mut names = self.touch_history(report, &mut past)?;
            names.insert(report.record.clone());
            for name in &names {
                by_record.entry(self.survivor(name)?).or_default().insert(report.to_string());
            }
        }
        let Past { touched, versions } = past;
        let mut payload = self.withdraw_standing(reports)?;
        for (record, reports) in by_record {
            self.tell_redaction(&mut payload, &record, reports.into_iter().collect())?;
        }
        let mut names: Vec<String> = reports.iter().map(ToString::to_string).collect();
        names.sort();
        let mut redaction = Redact { reason: reason.to_owned(), reports: names, ..Redact::default() };
        let planned = touched
            .iter()
            .map(|(at, (whole, told))| erase::planned(self.connection, &redaction, *at, (whole, told), revision));
        let erasures = planned.collect::<Result<_>>()?;
        redaction.revisions = touched.into_keys().collect();
        redaction.erasures = erasures;
        let version =
            |(record, from_revision): (RecordName, u64)| ErasedVersion { record: record.to_string(), from_revision };
        redaction.versions = versions.into_iter().map(version).collect();
        payload.redact = Some(redaction);
        Ok(payload)
    }

    fn withdraw_standing(&self, reports: &[ReportName]) -> Result<EntryPayload> {
        let mut steps = Vec::new();
        for report in reports {
            if read::active_report(self.connection, report)?.is_some() {
                steps.push(Step::Withdraw(report.clone()));
            }
        }
        self.steps(steps.iter(), Intent::Unspecified, RetractionReason::Redacted)
    }

    /// Notes the revisions that rest on a report: from when a version of it was filed to when that was replaced or
    /// withdrawn, which is told in words of what was before. Answers the records that they are about.
    fn touch_history(&self, report: &ReportName, past: &mut Past) -> Result<BTreeSet<RecordName>> {
        let floor = self.head.floor;
        let versions = read::versions_of_report(self.connection, report, floor)?;
        if versions.is_empty() {
            return Err(Error::not_found(&report.to_string()));
        }
        let names = merges::ever_stood_for(self.connection, &report.record)?;
        let mut about = BTreeSet::new();
        for (from, to) in versions {
            let range = (from.max(floor + 1), to.min(self.head.revision));
            // What was filed beside it may have been warned of it, though nothing came of that.
            for at in read::filings_about(self.connection, &report.record, range)? {
                past.touched.entry(at).or_default();
            }
            for name in &names {
                let is_own = *name == report.record;
                if from <= floor && (is_own || self.stood_for(&report.record, floor)? == *name) {
                    past.versions.extend(read::version_at(self.connection, name, floor)?.map(|at| (name.clone(), at)));
                    about.insert(name.clone());
                }
                for at in read::revisions_about(self.connection, name, range)? {
                    let (whole, told) = past.touched.entry(at).or_default();
                    if (is_own || self.stood_for(&report.record, at)? == *name) && at < to {
                        whole.insert(name.to_string());
                        about.insert(name.clone());
                    } else if is_own || self.stood_for(&report.record, at - 1)? == *name {
                        told.insert(name.to_string());
                        about.insert(name.clone());
                    }
                }
            }
        }
        Ok(about)
    }

    /// Takes from the events of this revision what they would say of what was before, and adds the one that says why.
    fn tell_redaction(&self, payload: &mut EntryPayload, record: &RecordName, reports: Vec<String>) -> Result<()> {
        let standing = match payload.changes.iter().position(|change| change.name == record.as_str()) {
            Some(index) => index,
            None => self.change_nothing(payload, record)?,
        };
        let change = u32::try_from(standing).map_err(|_| too_many())?;
        for stored in payload.events.iter_mut().filter(|stored| stored.change == change) {
            if let Some(event) = stored.event.as_mut().filter(|event| redact::tells_of_before(event)) {
                redact::erase_event(event);
            }
        }
        for result in payload.results.iter_mut().filter(|result| result.record == record.as_str()) {
            result.disputed.clear();
            result.settled.clear();
        }
        let index = u32::try_from(payload.events.len()).map_err(|_| too_many())?;
        let revision = self.head.revision + 1;
        let what = if reports.len() == 1 { "a report" } else { "reports" };
        let event = v1::Event {
            id: event_id(revision, index),
            source: format!("attache/{}", self.head.epoch),
            r#type: EventType::Redacted.into(),
            event_class: EventClass::Registry.into(),
            subject: record.to_string(),
            time: Some(clock::timestamp(self.now_us)),
            revision,
            index,
            principal: self.principal.to_owned(),
            // Not a word of what is left of it: that may be erased next, and this stays.
            headline: format!("{record}: {what} of it erased, with what was told of it then"),
            reports,
            ..v1::Event::default()
        };
        payload.events.push(StoredEvent { event: Some(event), change, ..StoredEvent::default() });
        Ok(())
    }

    /// A change that leaves a record as it stands: only its past is erased.
    fn change_nothing(&self, payload: &mut EntryPayload, record: &RecordName) -> Result<usize> {
        let standing = read::record_at(self.connection, record, self.head.revision)?.and_then(|row| row.record);
        let milestones = read::milestones(self.connection, record)?;
        payload.changes.push(RecordChange { name: record.to_string(), record: standing, milestones, erased: false });
        Ok(payload.changes.len() - 1)
    }
}

fn too_many() -> Error {
    Error::new(Reason::TooLarge, "the redaction has more events than a revision holds")
}
