//! Merging two names into one record, and lifting that; and what becomes of the milestones then.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use super::{
    conclude::{Overlay, Place, Plan},
    draft::{Drafting, merged_warning},
};
use crate::{
    domain::{
        decide::{self, Cause, Joint},
        error::{Error, Reason, Result},
        family::Family,
        name::RecordName,
        report::Report,
        resolve::Resolution,
    },
    limits::MAX_MERGED_NAMES,
    pb::{
        log::{EntryPayload, Filing, Merge, Milestone, filing},
        v1::{self, EventType, FilingOutcome, RetractionReason},
    },
    store::{merges, read},
};

type Resolved = [(Place, Option<Arc<Resolution>>)];
/// What a milestone is about: its type and the key of its element.
type Key = (EventType, String);

impl Drafting<'_> {
    /// What the entry says of a merge; nothing to record if it is in force.
    pub fn merge(&self, loser: &RecordName, survivor: &RecordName, merge: &Merge) -> Result<EntryPayload> {
        self.check_known(loser)?;
        self.check_known(survivor)?;
        let into = self.standing(survivor, Cause::Filing)?;
        if let Some(standing) = merges::in_force(self.connection, loser)? {
            if standing.survivor == survivor.as_str() {
                return Ok(in_force_already(into.name(), &standing));
            }
            let why = format!("is merged into {}; lift that first", standing.survivor);
            return Err(Error::field(Reason::FieldInvalid, "loser", why).with_resource(loser.as_str()));
        }
        if into.name() == loser {
            let why = format!("is merged into {loser}: the two would lead to each other");
            return Err(Error::field(Reason::FieldInvalid, "survivor", why).with_resource(survivor.as_str()));
        }
        let from = self.standing(loser, Cause::Filing)?;
        let record = into.name().clone();
        let family = into.family.join(from.family, survivor);
        check_size(&family)?;
        let mut payload = EntryPayload::default();
        payload.filings.push(Filing { act: Some(filing::Act::Merge(merge.clone())) });
        let warnings = merged_warning(survivor, &record).into_iter().collect();
        payload.results.push(v1::FilingResult { warnings, ..result(&record, FilingOutcome::Merged) });
        let gone = joined(Family::new(loser, Vec::new()), Vec::new(), EventType::Merged, &record);
        let whole = joined(family, [into.active, from.active].concat(), EventType::Merged, loser);
        self.rule(&mut payload, vec![gone, whole], RetractionReason::Unspecified)?;
        payload.results[0].outcome = FilingOutcome::Merged.into();
        Ok(payload)
    }

    /// What the entry says of a merge that is lifted; nothing to record if there is none.
    pub fn unmerge(&self, loser: &RecordName) -> Result<EntryPayload> {
        self.check_known(loser)?;
        let mut payload = EntryPayload::default();
        if merges::in_force(self.connection, loser)?.is_none() {
            payload.results.push(result(loser, FilingOutcome::NoChange));
            return Ok(payload);
        }
        let whole = self.standing(loser, Cause::Filing)?;
        let record = whole.name().clone();
        let (rest, parted) = whole.family.split(loser);
        let (own, others) = whole.active.into_iter().partition(|r| parted.has(&r.name.record));
        payload.filings.push(Filing { act: Some(filing::Act::Unmerge(loser.to_string())) });
        payload.results.extend([loser, &record].map(|name| result(name, FilingOutcome::Unmerged)));
        let parted = joined(parted, own, EventType::Unmerged, &record);
        let rest = joined(rest, others, EventType::Unmerged, loser);
        self.rule(&mut payload, vec![parted, rest], RetractionReason::Unspecified)?;
        payload.results.iter_mut().for_each(|r| r.outcome = FilingOutcome::Unmerged.into());
        Ok(payload)
    }

    /// Hands milestones over between the two records of a merge, before they are decided.
    pub fn hand_over(
        &self,
        payload: &EntryPayload,
        resolved: &mut Resolved,
        plan: &Plan,
        overlay: &Overlay,
    ) -> Result<()> {
        let [(loser, one), (survivor, other)] = resolved else { return Ok(()) };
        match loser.joint.as_ref().map(|j| j.event_type) {
            // Of a survivor that does not stand nothing can stand: then they are withdrawn with the loser.
            Some(EventType::Merged) if other.is_some() => {
                let mut all = self.told(loser.name())?;
                all.extend(self.told(survivor.name())?);
                loser.milestones = Some(Vec::new());
                survivor.milestones = Some(of_record(survivor.name(), all));
            }
            // What does not stand, and did not, tells nothing: the record withdraws what falls with it.
            Some(EventType::Unmerged) if one.is_none() => loser.milestones = Some(Vec::new()),
            Some(EventType::Unmerged) => {
                let all = self.told(survivor.name())?;
                (loser.milestones, survivor.milestones) = (Some(all.clone()), Some(all.clone()));
                let parted = self.facts(payload, loser, one.as_deref(), plan, overlay)?;
                let rest = self.facts(payload, survivor, other.as_deref(), plan, overlay)?;
                let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|m| is_told_of(m, &loser.family));
                let keep =
                    |own: &[Milestone], others: &[Milestone], facts: &BTreeSet<Key>, elsewhere: &BTreeSet<Key>| {
                        // One that stands of the other record alone, and which that has not told itself, goes there; one
                        // that goes nowhere stays, to be withdrawn if it does not stand.
                        let goes = |m: &Milestone, facts: &BTreeSet<Key>, told: &[Milestone]| {
                            facts.contains(&key(m)) && !told.iter().any(|t| key(t) == key(m))
                        };
                        let stays = |m: &&Milestone| facts.contains(&key(m)) || !goes(m, elsewhere, others);
                        let comes = |m: &&Milestone| goes(m, facts, own);
                        own.iter().filter(stays).chain(others.iter().filter(comes)).cloned().collect::<Vec<_>>()
                    };
                loser.milestones = Some(of_record(loser.name(), keep(&own, &others, &parted, &rest)));
                survivor.milestones = Some(of_record(survivor.name(), keep(&others, &own, &rest, &parted)));
            }
            _ => {}
        }
        Ok(())
    }

    /// The milestones that stand of a record, each with the record of which it was told.
    fn told(&self, name: &RecordName) -> Result<Vec<Milestone>> {
        let mut told = read::milestones(self.connection, name)?;
        told.iter_mut().filter(|m| m.subject.is_empty()).for_each(|m| m.subject = name.to_string());
        Ok(told)
    }

    fn facts(
        &self,
        payload: &EntryPayload,
        place: &Place,
        resolution: Option<&Resolution>,
        plan: &Plan,
        overlay: &Overlay,
    ) -> Result<BTreeSet<Key>> {
        let Some(resolution) = resolution else { return Ok(BTreeSet::new()) };
        let (before, context) = self.frame(payload, place, plan, overlay)?;
        Ok(decide::standing_facts(place.name(), &before, resolution, &context))
    }

    /// Events of a record's milestones that stand of another record too, as far as the entry is decided.
    pub fn shared_milestones(&self, payload: &EntryPayload, place: &Place) -> Result<Vec<(u64, u32)>> {
        let mut shared = match &place.milestones {
            None if place.is_new => Vec::new(),
            None => read::shared_milestones(self.connection, place.name())?,
            Some(milestones) => {
                let mut shared = Vec::new();
                for m in milestones {
                    let event = (m.revision, m.index);
                    let holders = read::holders(self.connection, event)?;
                    shared.extend(holders.into_iter().filter(|h| h != place.name().as_str()).map(|h| (h, event)));
                }
                shared
            }
        };
        shared.retain(|(other, event)| {
            let changed = payload.changes.iter().find(|c| c.name == *other);
            // Between the two of a merge they were shared out already.
            let is_joint = place.joint.as_ref().is_some_and(|j| j.other == *other);
            !is_joint && changed.is_none_or(|c| c.milestones.iter().any(|m| (m.revision, m.index) == *event))
        });
        Ok(shared.into_iter().map(|(_, event)| event).collect())
    }
}

fn joined(family: Family, active: Vec<Report>, event_type: EventType, other: &RecordName) -> Place {
    let joint = Some(Joint { event_type, other: other.to_string() });
    Place { joint, ..Place::ruled(family, active) }
}

fn result(record: &RecordName, outcome: FilingOutcome) -> v1::FilingResult {
    v1::FilingResult { record: record.to_string(), outcome: outcome.into(), ..v1::FilingResult::default() }
}

fn in_force_already(record: &RecordName, standing: &Merge) -> EntryPayload {
    let source = standing.source.as_ref().map(|s| s.name.as_str()).unwrap_or_default();
    let warnings = vec![format!("{} is merged into {} already, by {source}", standing.loser, standing.survivor)];
    let result = v1::FilingResult { warnings, ..result(record, FilingOutcome::NoChange) };
    EntryPayload { results: vec![result], ..EntryPayload::default() }
}

fn check_size(family: &Family) -> Result<()> {
    let names = family.merged().len();
    if names <= MAX_MERGED_NAMES {
        return Ok(());
    }
    let message = format!("{} would have {names} merged names; a record has at most {MAX_MERGED_NAMES}", family.name());
    Err(Error::new(Reason::TooLarge, message).with_resource(family.name().as_str()).with("limit", MAX_MERGED_NAMES))
}

fn key(milestone: &Milestone) -> Key {
    (milestone.r#type(), milestone.element.clone())
}

fn is_told_of(milestone: &Milestone, family: &Family) -> bool {
    milestone.subject.parse().is_ok_and(|name| family.has(&name))
}

/// Milestones as they are kept of a record, each event once.
fn of_record(name: &RecordName, mut milestones: Vec<Milestone>) -> Vec<Milestone> {
    let mut seen = HashSet::new();
    milestones.retain(|m| seen.insert((key(m), m.revision, m.index)));
    milestones.iter_mut().filter(|m| m.subject == name.as_str()).for_each(|m| m.subject.clear());
    milestones
}
