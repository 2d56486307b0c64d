//! Deciding every record that an entry touches, and those that depend on them.

use std::collections::{BTreeMap, HashSet};

use super::draft::Drafting;
use crate::{
    clock,
    domain::{
        date::Day,
        decide::{self, Before, Cause, Context, Decision},
        error::Result,
        name::RecordName,
        record,
        report::Report,
        resolve::{self, Resolution},
        status,
    },
    pb::{
        log::EntryPayload,
        v1::{self, FilingOutcome, Intent, RecordKind, RetractionReason, record::Kind},
    },
    store::read,
};

/// A record that an entry touches.
pub(super) struct Place {
    pub name: RecordName,
    /// Its active reports afterwards.
    pub active: Vec<Report>,
    /// The reports that change, by name.
    pub changed: Vec<String>,
    /// Why it is decided.
    pub cause: Cause,
    /// A ruling of this entry retracts it.
    pub falls: bool,
    /// This entry lifts the rulings that retracted it.
    pub rulings_lifted: bool,
}

impl Place {
    pub fn of(name: &RecordName, active: Vec<Report>, cause: Cause) -> Self {
        Self { name: name.clone(), active, changed: Vec::new(), cause, falls: false, rulings_lifted: false }
    }

    /// A record that a ruling of this entry retracts.
    pub fn falls(name: &RecordName) -> Self {
        Self { falls: true, ..Self::of(name, Vec::new(), Cause::Filing) }
    }

    pub fn changes(&mut self, report: &str) {
        if !self.changed.iter().any(|r| r == report) {
            self.changed.push(report.to_owned());
        }
    }

    fn resolve(&self) -> Option<Resolution> {
        if self.falls { None } else { resolve::resolve(&self.active) }
    }
}

/// What all records of an entry are decided by.
pub(super) struct Plan {
    pub intent: Intent,
    pub reason: RetractionReason,
    /// The day on which facts and status rest.
    pub today: Day,
    /// The registry's day before.
    pub since: Day,
}

/// Agreements as this entry leaves them, as far as others depend on them; `None` does not stand.
type Overlay = BTreeMap<String, Option<v1::Record>>;

impl Drafting<'_> {
    /// Decides the places in their order, then the agreements whose status depends on theirs.
    pub fn conclude(&self, payload: &mut EntryPayload, places: Vec<Place>, plan: &Plan) -> Result<()> {
        let mut resolved: Vec<(Place, Option<Resolution>)> = Vec::with_capacity(places.len());
        for place in places {
            let stored_only = self.is_under_ruling(&place)?;
            let resolution = place.resolve();
            if stored_only {
                // Decided for its bound alone: what is stored now must not be too large to stand again later.
                self.decide(payload, &place, resolution, plan, &Overlay::new())?;
                share(payload, &place, FilingOutcome::Stored, None);
            } else {
                resolved.push((place, resolution));
            }
        }
        let overlay = self.overlay(&resolved)?;
        for place in self.dependents(payload, &resolved, &overlay)? {
            let resolution = place.resolve();
            resolved.push((place, resolution));
        }
        for (place, resolution) in resolved {
            let decision = self.decide(payload, &place, resolution, plan, &overlay)?;
            let outcome = decision.outcome;
            share(payload, &place, outcome, Some(&decision));
            append(payload, decision);
        }
        Ok(())
    }

    fn is_under_ruling(&self, place: &Place) -> Result<bool> {
        if place.falls || place.rulings_lifted {
            return Ok(false);
        }
        Ok(!read::rulings(self.connection, &place.name)?.is_empty())
    }

    /// The agreements that a changed one supersedes or renews, or did before.
    fn dependents(
        &self,
        payload: &EntryPayload,
        resolved: &[(Place, Option<Resolution>)],
        overlay: &Overlay,
    ) -> Result<Vec<Place>> {
        let mut targets: Vec<String> = Vec::new();
        for (place, _) in resolved.iter().filter(|(p, _)| p.name.kind() == RecordKind::Agreement) {
            let before = read::record_at(self.connection, &place.name, self.head.revision)?.and_then(|r| r.record);
            let after = overlay.get(place.name.as_str()).cloned().flatten();
            for record in before.iter().chain(&after) {
                if let Some(Kind::Agreement(agreement)) = &record.kind {
                    targets.extend(status::succeeded(agreement).map(|(_, target)| target.to_owned()));
                }
            }
        }
        targets.sort();
        targets.dedup();
        let decided: HashSet<&str> = resolved
            .iter()
            .map(|(p, _)| p.name.as_str())
            .chain(payload.changes.iter().map(|c| c.name.as_str()))
            .collect();
        let mut places = Vec::new();
        for target in targets.iter().filter(|t| !decided.contains(t.as_str())) {
            let Ok(name) = target.parse::<RecordName>() else { continue };
            let place = Place::of(&name, self.active(&name)?, Cause::Circumstance);
            if !place.active.is_empty() && !self.is_under_ruling(&place)? {
                places.push(place);
            }
        }
        Ok(places)
    }

    fn decide(
        &self,
        payload: &EntryPayload,
        place: &Place,
        resolution: Option<Resolution>,
        plan: &Plan,
        overlay: &Overlay,
    ) -> Result<Decision> {
        let row = read::record_at(self.connection, &place.name, self.head.revision)?;
        let before = Before {
            create_time: row.as_ref().map(|r| clock::timestamp(r.created_at_us)),
            record: row.and_then(|r| r.record),
            milestones: read::milestones(self.connection, &place.name)?,
            merged_names: Vec::new(),
        };
        let context = Context {
            revision: self.head.revision + 1,
            next_index: u32::try_from(payload.events.len()).unwrap_or(u32::MAX),
            time: clock::timestamp(self.now_us),
            today: plan.today,
            since: plan.since,
            cause: place.cause,
            successors: self.successors(&place.name, &before.merged_names, overlay)?,
            log: format!("attache/{}", self.head.epoch),
            principal: self.principal.to_owned(),
            intent: plan.intent,
            reason: plan.reason,
            reports: place.changed.clone(),
        };
        decide::decide(&place.name, &before, resolution, &context)
    }

    /// The agreements that supersede or renew this one, as the entry leaves them.
    fn successors(&self, name: &RecordName, merged: &[String], overlay: &Overlay) -> Result<Vec<v1::Record>> {
        if name.kind() != RecordKind::Agreement {
            return Ok(Vec::new());
        }
        let mut asked = v1::Record { kind: Some(Kind::Agreement(v1::Agreement::default())) };
        let info = v1::RecordInfo { merged_names: merged.to_vec(), ..v1::RecordInfo::default() };
        record::seal(&mut asked, name.as_str(), info);
        let mut found = read::successors_at(self.connection, &asked, self.head.revision)?;
        found.retain(|r| !overlay.contains_key(record::name_of(r)));
        found.extend(overlay.values().flatten().cloned());
        Ok(found)
    }

    /// The agreements among what is resolved, each with when the registry learnt of it.
    fn overlay(&self, resolved: &[(Place, Option<Resolution>)]) -> Result<Overlay> {
        let mut overlay = Overlay::new();
        for (place, resolution) in resolved.iter().filter(|(p, _)| p.name.kind() == RecordKind::Agreement) {
            let Some(resolution) = resolution else {
                overlay.insert(place.name.to_string(), None);
                continue;
            };
            let known = read::record_at(self.connection, &place.name, self.head.revision)?;
            let create_time = Some(clock::timestamp(known.map_or(self.now_us, |row| row.created_at_us)));
            let mut record = record::from_dynamic(RecordKind::Agreement, &resolution.record);
            record::seal(&mut record, place.name.as_str(), v1::RecordInfo { create_time, ..v1::RecordInfo::default() });
            overlay.insert(place.name.to_string(), Some(record));
        }
        Ok(overlay)
    }
}

/// Tells the results that share a record what became of it.
fn share(payload: &mut EntryPayload, place: &Place, outcome: FilingOutcome, decision: Option<&Decision>) {
    let changed: HashSet<&str> = place.changed.iter().map(String::as_str).collect();
    // A ruling has one result, without a report.
    let is_ruling = |r: &v1::FilingResult| r.report.is_empty() && r.record == place.name.as_str();
    for result in &mut payload.results {
        if changed.contains(result.report.as_str()) || is_ruling(result) {
            result.outcome = outcome.into();
            if let Some(decision) = decision {
                result.disputed.clone_from(&decision.disputed);
                result.settled.clone_from(&decision.settled);
            }
        }
    }
}

/// Adds what was decided of one record to the entry.
fn append(payload: &mut EntryPayload, decision: Decision) {
    if let Some(change) = decision.change {
        let index = u32::try_from(payload.changes.len()).unwrap_or(u32::MAX);
        payload.changes.push(change);
        payload.events.extend(decision.events.into_iter().map(|mut event| {
            event.change = index;
            event
        }));
    }
}
