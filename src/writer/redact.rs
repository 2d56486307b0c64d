//! Erasing reports: they are withdrawn, and what they and their records said is named to every replica.
//!
//! One on which more revisions rest than one entry erases goes in parts, each of which stands by itself: the first withdraws
//! it, the next begins after what was reached, and the last leaves nothing.

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
    limits::MAX_REDACTED_REVISIONS,
    pb::{
        log::{EntryPayload, ErasedVersion, RecordChange, Redact, StoredEvent},
        v1::{self, EventClass, EventType, Intent, RetractionReason},
    },
    store::{
        apply::erase,
        log, merges,
        read::{self, Begun},
    },
};

/// What is erased of the past.
#[derive(Default)]
struct Past {
    /// By revision.
    touched: BTreeMap<u64, Touched>,
    /// Of what records were at the floor: the entries are gone.
    versions: BTreeSet<(RecordName, u64)>,
    /// The records that were told of, by their names then, and the reports that these rested on.
    about: BTreeMap<RecordName, BTreeSet<String>>,
    /// From when to when versions of the reports stood.
    stood: Vec<(u64, u64)>,
}

/// What is erased of one revision, by the names of records: what they were then, and what events alone say.
type Touched = (BTreeSet<String>, BTreeSet<String>);

impl Drafting<'_> {
    /// The erasing of the first of these reports, as many as fit one entry, or of a part of the first one; records nothing
    /// if there is none.
    ///
    /// # Errors
    ///
    /// `RECORD_NOT_FOUND` for a report of which no version is there.
    pub fn redact(&self, reports: &[ReportName], reason: &str) -> Result<EntryPayload> {
        if reports.is_empty() {
            return Ok(EntryPayload::default());
        }
        if self.head.replaying {
            let why = "cannot be erased while a history is replayed, which this would end".to_owned();
            return Err(Error::field(Reason::FieldInvalid, "what", why));
        }
        let (mut count, mut most) = (reports.len(), MAX_REDACTED_REVISIONS);
        loop {
            let past = self.past_of(&reports[..count])?;
            // Several go whole; one on which too much rests goes in parts.
            if count == 1 || past.touched.len() <= most {
                let payload = self.redact_these(&reports[..count], &past, most, reason)?;
                if payload.encoded_len() <= super::MAX_PAYLOAD_BYTES || (count == 1 && most == 1) {
                    let left = reports.len() - count + usize::from(past.touched.len() > most);
                    let remaining = i32::try_from(left).unwrap_or(i32::MAX);
                    return Ok(EntryPayload { remaining, ..payload });
                }
            }
            if count > 1 {
                count /= 2;
            } else {
                most = (most.min(past.touched.len()) / 2).max(1);
            }
        }
    }

    /// What rests on these reports, and is not erased yet.
    fn past_of(&self, reports: &[ReportName]) -> Result<Past> {
        let mut past = Past::default();
        for report in reports {
            self.touch_history(report, &mut past)?;
        }
        Ok(past)
    }

    /// The entry that erases these reports, or of one at most so many of the revisions that rest on it, the oldest.
    fn redact_these(&self, reports: &[ReportName], past: &Past, most: usize, reason: &str) -> Result<EntryPayload> {
        let redaction = self.plan(reports, past, most, reason)?;
        let mut payload = self.withdraw_standing(reports)?;
        // Every record that was told of, under the name that stands for it now.
        let mut by_record: BTreeMap<RecordName, BTreeSet<String>> = BTreeMap::new();
        for (name, rested_on) in &past.about {
            by_record.entry(self.survivor(name)?).or_default().extend(rested_on.iter().cloned());
        }
        for (record, reports) in by_record {
            self.tell_redaction(&mut payload, &record, reports.into_iter().collect(), &redaction)?;
        }
        payload.redact = Some(redaction);
        Ok(payload)
    }

    /// What is erased of each entry, and what is left to later ones.
    fn plan(&self, reports: &[ReportName], past: &Past, most: usize, reason: &str) -> Result<Redact> {
        let revision = self.head.revision + 1;
        let mut names: Vec<String> = reports.iter().map(ToString::to_string).collect();
        names.sort();
        let mut redaction = Redact { reason: reason.to_owned(), reports: names, ..Redact::default() };
        for (at, (whole, told)) in past.touched.iter().take(most) {
            let erasure = erase::planned(self.connection, &redaction, *at, (whole, told), revision)?;
            redaction.revisions.push(*at);
            redaction.erasures.push(erasure);
        }
        let version =
            |(record, from): &(RecordName, u64)| ErasedVersion { record: record.to_string(), from_revision: *from };
        redaction.versions = past.versions.iter().map(version).collect();
        if let Some(next) = past.touched.keys().nth(most) {
            // (Up to the next one everything stands as the last one left it.)
            let through = next - 1;
            let across = past.stood.iter().find(|(from, to)| *from <= through && through < *to);
            redaction.through = through;
            // One that stands ends with this entry.
            redaction.until = across.map_or(0, |(_, to)| (*to).min(revision));
            redaction.left = (past.touched.len() - most) as u64;
        }
        Ok(redaction)
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
    /// withdrawn, which is told in words of what was before; and the records that they are about.
    fn touch_history(&self, report: &ReportName, past: &mut Past) -> Result<()> {
        let floor = self.head.floor;
        let names = merges::ever_stood_for(self.connection, &report.record)?;
        let mut about = BTreeSet::from([report.record.clone()]);
        for (from, to) in self.left_of(report)? {
            // The entry that withdrew it when its erasing began says nothing of what was before.
            let last = if log::is_redaction(self.connection, to)? { to - 1 } else { to.min(self.head.revision) };
            let range = (from.max(floor + 1), last);
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
            past.stood.push((from, to));
        }
        for name in about {
            past.about.entry(name).or_default().insert(report.to_string());
        }
        Ok(())
    }

    /// From when to when versions of a report stood, as far as what rests on them is not erased: `[from, to)`.
    fn left_of(&self, report: &ReportName) -> Result<Vec<(u64, u64)>> {
        let floor = self.head.floor;
        let mut stood = read::versions_of_report(self.connection, report, floor)?;
        match read::begun(self.connection, report)? {
            None if stood.is_empty() => return Err(Error::not_found(&report.to_string())),
            // The version that stood when the last part ended is gone with its filing.
            Some(Begun { through, until }) if until > through.max(floor) => stood.push((through + 1, until)),
            _ => {}
        }
        Ok(stood)
    }

    /// Takes from the events of this revision what they would say of what was before, and adds the one that says why.
    fn tell_redaction(
        &self,
        payload: &mut EntryPayload,
        record: &RecordName,
        reports: Vec<String>,
        redaction: &Redact,
    ) -> Result<()> {
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
        let how = if redaction.through > 0 { "erased in part" } else { "erased" };
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
            headline: format!("{record}: {what} of it {how}, with what was told of it then"),
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
