//! Deciding every record that an entry touches, and those that depend on them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::draft::Drafting;
use crate::{
    clock,
    domain::{
        date::Day,
        decide::{self, Before, Cause, Context, Decision, Joint, Part},
        error::Result,
        family::Family,
        name::{RecordName, ReportName},
        record,
        report::Report,
        resolve::{self, Resolution},
        status,
    },
    pb::{
        log::{EntryPayload, Milestone},
        v1::{self, FilingOutcome, Intent, RecordKind, RetractionReason, record::Kind},
    },
    store::read,
};

/// A record that an entry touches.
pub(super) struct Place {
    /// Its name and those merged into it, as the entry leaves them.
    pub family: Family,
    /// The active reports filed under any of these names afterwards.
    pub active: Vec<Report>,
    /// The reports that change, by name.
    pub changed: Vec<String>,
    /// Why it is decided.
    pub cause: Cause,
    /// A ruling about one of its names is made or lifted.
    pub ruling: bool,
    /// The merge that is made or lifted.
    pub joint: Option<Joint>,
    /// The milestones that it begins with, if not those that stand of it: a merge hands them over.
    pub milestones: Option<Vec<Milestone>>,
    /// Whether the registry has never heard of it: then nothing has to be read.
    pub is_new: bool,
}

impl Place {
    pub fn of(family: Family, active: Vec<Report>, cause: Cause) -> Self {
        let changed = Vec::new();
        Self { family, active, changed, cause, ruling: false, joint: None, milestones: None, is_new: false }
    }

    /// A record of which the registry has never heard.
    pub fn new(name: &RecordName) -> Self {
        Self { is_new: true, ..Self::of(Family::new(name, Vec::new()), Vec::new(), Cause::Filing) }
    }

    /// A record whose rulings the entry changes.
    pub fn ruled(family: Family, active: Vec<Report>) -> Self {
        Self { ruling: true, ..Self::of(family, active, Cause::Filing) }
    }

    pub fn name(&self) -> &RecordName {
        self.family.name()
    }

    pub fn changes(&mut self, report: &str) {
        if !self.changed.iter().any(|r| r == report) {
            self.changed.push(report.to_owned());
        }
    }

    /// What its reports resolve to, less those that a ruling holds.
    pub fn resolve(&self) -> Option<Arc<Resolution>> {
        if self.family.is_ruled() {
            return None;
        }
        self.resolve_those(|name| !self.family.holds(name))
    }

    fn resolve_those(&self, counts: impl Fn(&RecordName) -> bool) -> Option<Arc<Resolution>> {
        let counted: Vec<Report> = self.active.iter().filter(|r| counts(&r.name.record)).cloned().collect();
        match counted.as_slice() {
            // It may have been computed before the filing came here.
            [report] => Some(Arc::clone(report.alone())),
            several => resolve::resolve(several).map(Arc::new),
        }
    }

    /// What each part of it would be by itself.
    fn parts(&self) -> Vec<Part> {
        let part = |names: BTreeSet<RecordName>| {
            let resolution = self.resolve_those(|name| names.contains(name) && !self.family.holds(name))?;
            let merged_names = names.iter().skip(1).map(ToString::to_string).collect();
            Some(Part { name: names.first()?.clone(), merged_names, resolution })
        };
        self.family.parts().into_iter().filter_map(part).collect()
    }

    /// Whether a ruling keeps one of its reports from counting.
    fn holds_any(&self) -> bool {
        self.active.iter().any(|r| self.family.is_ruled() || self.family.holds(&r.name.record))
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

/// The events that most records have at most when they are filed: that they were recorded, and when they began and ended.
const MOST_EVENTS: usize = 3;

/// Agreements as this entry leaves them, as far as others depend on them; `None` does not stand.
pub(super) type Overlay = BTreeMap<String, Option<v1::Record>>;

impl Drafting<'_> {
    /// Decides the places in their order, then the agreements whose status depends on theirs.
    pub fn conclude(&self, payload: &mut EntryPayload, places: Vec<Place>, plan: &Plan) -> Result<()> {
        let mut resolved: Vec<(Place, Option<Arc<Resolution>>)> = Vec::with_capacity(places.len());
        let results = Results::of(payload);
        for place in places {
            if place.holds_any() {
                // Decided for its bound alone: what is stored now must not be too large to count again later.
                self.decide(payload, &place, place.resolve_those(|_| true), plan, &Overlay::new())?;
            }
            if place.family.is_ruled() && !place.ruling {
                results.share(payload, &place, FilingOutcome::Stored, None);
            } else {
                let resolution = place.resolve();
                resolved.push((place, resolution));
            }
        }
        let overlay = self.overlay(&resolved)?;
        self.hand_over(payload, &mut resolved, plan, &overlay)?;
        for place in self.dependents(payload, &resolved, &overlay)? {
            let resolution = place.resolve();
            resolved.push((place, resolution));
        }
        payload.changes.reserve(resolved.len());
        payload.events.reserve(resolved.len() * MOST_EVENTS);
        for (place, resolution) in resolved {
            let decision = self.decide(payload, &place, resolution.clone(), plan, &overlay)?;
            let outcome = decision.outcome;
            results.share(payload, &place, outcome, Some(&decision));
            let changed = resolution.filter(|_| decision.change.is_some());
            self.resolved.borrow_mut().extend(changed.map(|r| (place.name().to_string(), r)));
            append(payload, decision);
        }
        Ok(())
    }

    /// The agreements that a changed one supersedes or renews, or did before.
    fn dependents(
        &self,
        payload: &EntryPayload,
        resolved: &[(Place, Option<Arc<Resolution>>)],
        overlay: &Overlay,
    ) -> Result<Vec<Place>> {
        let mut targets: BTreeSet<String> = BTreeSet::new();
        for (place, _) in resolved.iter().filter(|(p, _)| p.name().kind() == RecordKind::Agreement) {
            let before = read::record_at(self.connection, place.name(), self.head.revision)?.and_then(|r| r.record);
            let after = overlay.get(place.name().as_str()).and_then(Option::as_ref);
            targets.extend(status::succeeded_by_any(before.iter().chain(after)).into_iter().map(str::to_owned));
        }
        let decided: HashSet<&str> = resolved
            .iter()
            .map(|(p, _)| p.name().as_str())
            .chain(payload.changes.iter().map(|c| c.name.as_str()))
            .collect();
        let mut places: Vec<Place> = Vec::new();
        for target in &targets {
            let Ok(name) = target.parse::<RecordName>() else { continue };
            let place = self.standing(&name, Cause::Circumstance)?;
            // Two names may lead to it; one that is decided takes along those that lead to it.
            let taken = decided.contains(place.name().as_str())
                || decided.contains(target.as_str())
                || places.iter().any(|p| p.name() == place.name());
            if !taken && !place.active.is_empty() && !place.family.is_ruled() {
                places.push(place);
            }
        }
        Ok(places)
    }

    fn decide(
        &self,
        payload: &EntryPayload,
        place: &Place,
        resolution: Option<Arc<Resolution>>,
        plan: &Plan,
        overlay: &Overlay,
    ) -> Result<Decision> {
        let (before, context) = self.frame(payload, place, plan, overlay)?;
        decide::decide(place.name(), &before, resolution.as_deref(), &context)
    }

    /// What a place is decided by.
    pub fn frame(
        &self,
        payload: &EntryPayload,
        place: &Place,
        plan: &Plan,
        overlay: &Overlay,
    ) -> Result<(Before, Context)> {
        let name = place.name();
        let row = if place.is_new { None } else { read::record_at(self.connection, name, self.head.revision)? };
        let milestones = match &place.milestones {
            Some(milestones) => milestones.clone(),
            None if place.is_new => Vec::new(),
            None => read::milestones(self.connection, name)?,
        };
        let merged_names = place.family.merged();
        let before = Before {
            create_time: row.as_ref().map(|r| clock::timestamp(r.created_at_us)),
            record: row.and_then(|r| r.record),
            shared: self.shared_milestones(payload, place)?,
            parts: if merged_names.is_empty() || milestones.is_empty() { Vec::new() } else { place.parts() },
            milestones,
            merged_names,
        };
        let context = Context {
            revision: self.head.revision + 1,
            next_index: u32::try_from(payload.events.len()).unwrap_or(u32::MAX),
            time: clock::timestamp(self.now_us),
            today: plan.today,
            since: plan.since,
            cause: place.cause,
            successors: self.successors(name, &before.merged_names, overlay)?,
            log: format!("attache/{}", self.head.epoch),
            principal: self.principal.to_owned(),
            intent: plan.intent,
            reason: plan.reason,
            reports: place.changed.clone(),
            joint: place.joint.clone(),
        };
        Ok((before, context))
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
    fn overlay(&self, resolved: &[(Place, Option<Arc<Resolution>>)]) -> Result<Overlay> {
        let mut overlay = Overlay::new();
        for (place, resolution) in resolved.iter().filter(|(p, _)| p.name().kind() == RecordKind::Agreement) {
            let Some(resolution) = resolution else {
                overlay.insert(place.name().to_string(), None);
                continue;
            };
            let known = read::record_at(self.connection, place.name(), self.head.revision)?;
            let create_time = Some(clock::timestamp(known.map_or(self.now_us, |row| row.created_at_us)));
            let mut record = resolution.content.clone();
            let merged_names = place.family.merged();
            let info = v1::RecordInfo { create_time, merged_names, ..v1::RecordInfo::default() };
            record::seal(&mut record, place.name().as_str(), info);
            overlay.insert(place.name().to_string(), Some(record));
        }
        Ok(overlay)
    }
}

/// Where the results of an entry are: an import has a thousand, and as many records that ask for theirs.
struct Results {
    /// By the report that they are of.
    reports: HashMap<String, Vec<usize>>,
    /// By record, where there is none: a ruling has one result of each.
    rulings: HashMap<String, Vec<usize>>,
}

impl Results {
    fn of(payload: &EntryPayload) -> Self {
        let (mut reports, mut rulings) = (HashMap::<String, Vec<usize>>::new(), HashMap::<String, Vec<usize>>::new());
        for (index, result) in payload.results.iter().enumerate() {
            let (map, name) =
                if result.report.is_empty() { (&mut rulings, &result.record) } else { (&mut reports, &result.report) };
            map.entry(name.clone()).or_default().push(index);
        }
        Self { reports, rulings }
    }

    /// Tells those that share a record what became of it.
    fn share(&self, payload: &mut EntryPayload, place: &Place, outcome: FilingOutcome, decision: Option<&Decision>) {
        let filed_under = |report: &str| report.parse::<ReportName>().map(|r| r.record).ok();
        for report in &place.changed {
            // What a ruling holds is stored, and makes no difference.
            let is_held = filed_under(report).is_some_and(|name| place.family.holds(&name));
            for index in self.reports.get(report).into_iter().flatten() {
                let result = &mut payload.results[*index];
                if is_held { result.outcome = FilingOutcome::Stored.into() } else { tell(result, outcome, decision) }
            }
        }
        for index in self.rulings.get(place.name().as_str()).into_iter().flatten() {
            tell(&mut payload.results[*index], outcome, decision);
        }
    }
}

fn tell(result: &mut v1::FilingResult, outcome: FilingOutcome, decision: Option<&Decision>) {
    result.outcome = outcome.into();
    if let Some(decision) = decision {
        result.disputed.clone_from(&decision.disputed);
        result.settled.clone_from(&decision.settled);
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
