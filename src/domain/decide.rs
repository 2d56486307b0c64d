//! Deciding: what a filing means for one record, and the events that tell it. Decided once, then stored.

use std::{collections::BTreeSet, sync::Arc};

use prost::Message as _;
use prost_types::Timestamp;

use super::{
    date::Day,
    error::{Error, Reason, Result},
    facets::Tag,
    headline,
    milestone::{self, Fact},
    name::RecordName,
    record,
    report::{self, Report},
    resolve::{
        Leaf, Resolution,
        compare::{self, Relation, Stated},
        resolve,
    },
    schema::Compare,
    status::{self, View},
};
use crate::{
    limits::MAX_RECORD_BYTES,
    pb::{
        log::{Milestone, RecordChange, StoredEvent},
        tree::{Field, Tree},
        v1::{self, EventClass, EventType, FilingOutcome, Intent, RetractionReason, Verdict},
    },
};

/// What the registry held of a record before a filing.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// The record; `None` if it never was or is retracted.
    pub record: Option<v1::Record>,
    /// When the registry first learnt of it; `None` if it never did.
    pub create_time: Option<Timestamp>,
    /// The milestones that stand.
    pub milestones: Vec<Milestone>,
    /// Events of its milestones that stand of another record too: this one does not withdraw them.
    pub shared: Vec<(u64, u32)>,
    /// The names merged into it, sorted, as this revision leaves them.
    pub merged_names: Vec<String>,
    /// Of a record with merged names: what its parts are, each by itself. A milestone that stands in one of them is not
    /// withdrawn because another part says otherwise.
    pub parts: Vec<Part>,
}

/// A part of a record with merged names: what it would be without one of the merges.
#[derive(Debug, Clone)]
pub struct Part {
    /// One of its names.
    pub name: RecordName,
    /// The others.
    pub merged_names: Vec<String>,
    /// What the reports filed under them resolve to.
    pub resolution: Arc<Resolution>,
}

/// The filing that is decided.
#[derive(Debug, Clone)]
pub struct Context {
    /// Its revision.
    pub revision: u64,
    /// The index of the next event within the revision.
    pub next_index: u32,
    /// When it is recorded.
    pub time: Timestamp,
    /// The registry's day: facts of later days wait.
    pub today: Day,
    /// The registry's day before this revision: warnings that were over by then are not told any more.
    pub since: Day,
    /// Why it is decided.
    pub cause: Cause,
    /// Agreements that may supersede or renew this one, as this revision leaves them.
    pub successors: Vec<v1::Record>,
    /// The `source` of events: `attache/{epoch}`.
    pub log: String,
    /// Who files.
    pub principal: String,
    /// What the filer means.
    pub intent: Intent,
    /// Why, of retractions.
    pub reason: RetractionReason,
    /// The names of the reports of this record that the revision files, replaces or withdraws.
    pub reports: Vec<String>,
    /// The merge that the revision makes or lifts, of a record that takes part in it.
    pub joint: Option<Joint>,
}

/// A merge that is made or lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joint {
    /// MERGED or UNMERGED.
    pub event_type: EventType,
    /// The other name that takes part.
    pub other: String,
}

impl Joint {
    fn outcome(&self) -> FilingOutcome {
        if self.event_type == EventType::Merged { FilingOutcome::Merged } else { FilingOutcome::Unmerged }
    }
}

/// Why a record is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its reports or the rulings about it change.
    Filing,
    /// The registry's day moves, or another record changes on which it depends.
    Circumstance,
}

/// What a filing does to one record.
#[derive(Debug, Clone)]
pub struct Decision {
    /// In one word.
    pub outcome: FilingOutcome,
    /// The record afterwards; `None` if nothing about it changed.
    pub change: Option<RecordChange>,
    /// The events, registry event first, with their indexes; `change` is left for the caller.
    pub events: Vec<StoredEvent>,
    /// Paths that are disputed now and were not.
    pub disputed: Vec<String>,
    /// Paths that were disputed and are not now.
    pub settled: Vec<String>,
}

impl Decision {
    fn nothing() -> Self {
        Self {
            outcome: FilingOutcome::NoChange,
            change: None,
            events: Vec::new(),
            disputed: Vec::new(),
            settled: Vec::new(),
        }
    }
}

/// Decides what becomes of a record whose active reports now resolve to `after`; `None` is: it does not stand.
///
/// # Errors
///
/// `TOO_LARGE` if the resolved record exceeds its bound.
pub fn decide(name: &RecordName, before: &Before, after: Option<&Resolution>, context: &Context) -> Result<Decision> {
    match (&before.record, after) {
        (None, None) => Ok(Decision::nothing()),
        (Some(old), None) => Ok(retract(name, old, before, context)),
        (old, Some(after)) => stand(name, old.as_ref(), before, after, context),
    }
}

fn retract(name: &RecordName, old: &v1::Record, before: &Before, context: &Context) -> Decision {
    let mut teller = Teller::new(name, old, context);
    let event_type = context.joint.as_ref().map_or(EventType::Retracted, |j| j.event_type);
    teller.tell(event_type, EventClass::Registry, |e| {
        e.reason = context.reason.into();
        e.reports.clone_from(&context.reports);
    });
    teller.withdraw(before.milestones.iter(), &before.shared);
    Decision {
        outcome: context.joint.as_ref().map_or(FilingOutcome::Retracted, Joint::outcome),
        change: Some(RecordChange { name: name.to_string(), record: None, ..RecordChange::default() }),
        events: teller.events,
        disputed: Vec::new(),
        settled: Vec::new(),
    }
}

fn stand(
    name: &RecordName,
    old: Option<&v1::Record>,
    before: &Before,
    after: &Resolution,
    context: &Context,
) -> Result<Decision> {
    let mut new = after.content.clone();
    seal(&mut new, name, before, after, context);
    let disputed_now: BTreeSet<&str> = after.disputed().collect();
    let old_info = old.and_then(record::info).cloned().unwrap_or_default();
    let disputed_then: BTreeSet<&str> = old_info.disputed_fields.iter().map(String::as_str).collect();

    let (outcome, event_type, changed_paths) = match old {
        _ if let Some(joint) = &context.joint => {
            (joint.outcome(), joint.event_type, old.map(|old| all_paths(old, &new, after)).unwrap_or_default())
        }
        None if before.create_time.is_some() => (FilingOutcome::Restored, EventType::Restored, Vec::new()),
        None => (FilingOutcome::Recorded, EventType::Recorded, Vec::new()),
        Some(old) => {
            let ground = disputed_now == disputed_then && old_info.accounts == after.accounts;
            match classify(old, &new, after, ground, context) {
                Some(change) => change,
                None if context.cause == Cause::Circumstance => return Ok(tell_due(name, old, before, after, context)),
                None => return Ok(Decision::nothing()),
            }
        }
    };
    if context.cause == Cause::Filing {
        check_size(name, &new)?;
    }
    let plan = plan_milestones(&new, before, context);
    let difference =
        |a: &BTreeSet<&str>, b: &BTreeSet<&str>| a.difference(b).map(ToString::to_string).collect::<Vec<_>>();
    let (disputed, settled) = (difference(&disputed_now, &disputed_then), difference(&disputed_then, &disputed_now));

    let mut teller = Teller::new(name, &new, context);
    teller.tell(event_type, EventClass::Registry, |e| {
        e.changed_paths = changed_paths;
        e.reports.clone_from(&context.reports);
        e.revises = plan.revised.iter().map(|m| event_id(m.revision, m.index)).collect();
    });
    for (event_type, fields) in [(EventType::Disputed, &disputed), (EventType::Settled, &settled)] {
        if !fields.is_empty() {
            teller.tell(event_type, EventClass::Registry, |e| e.fields.clone_from(fields));
        }
    }
    let milestones = teller.follow(plan, after, &before.shared);
    let events = teller.events;
    let change = RecordChange { name: name.to_string(), record: Some(new), milestones, ..RecordChange::default() };
    Ok(Decision { outcome, change: Some(change), events, disputed, settled })
}

/// The paths in which a record that stood differs now, those of what the registry says of it included.
fn all_paths(old: &v1::Record, new: &v1::Record, after: &Resolution) -> Vec<String> {
    let mut paths = compare_records(old, after).paths;
    let info = |record| record::info(record).cloned().unwrap_or_default();
    let (old, new) = (info(old), info(new));
    paths.extend((old.status != new.status).then(|| STATUS_PATH.to_owned()));
    paths.extend((old.merged_names != new.merged_names).then(|| MERGED_PATH.to_owned()));
    paths.sort();
    paths
}

/// Which event tells how a record that stood differs now, and the paths that differ; `None` if it does not.
fn classify(
    old: &v1::Record,
    new: &v1::Record,
    after: &Resolution,
    same_ground: bool,
    context: &Context,
) -> Option<(FilingOutcome, EventType, Vec<String>)> {
    let Change { mut paths, corrected } = compare_records(old, after);
    let status = |record| record::info(record).and_then(|i| i.status.as_ref());
    let only_status = paths.is_empty() && same_ground;
    if status(old) != status(new) {
        paths.push(STATUS_PATH.to_owned());
        paths.sort();
    } else if only_status {
        return None;
    }
    let by_circumstance = context.cause == Cause::Circumstance || only_status;
    Some(if by_circumstance || (!paths.is_empty() && context.intent == Intent::Update) {
        (FilingOutcome::Updated, EventType::Updated, paths)
    } else if corrected {
        (FilingOutcome::Corrected, EventType::Corrected, paths)
    } else {
        (FilingOutcome::Extended, EventType::Extended, paths)
    })
}

/// Nothing of the record changed, but something fell due: it is told without a registry event.
fn tell_due(name: &RecordName, old: &v1::Record, before: &Before, after: &Resolution, context: &Context) -> Decision {
    let plan = plan_milestones(old, before, context);
    if plan.fresh.is_empty() && plan.fallen.is_empty() {
        return Decision::nothing();
    }
    let mut teller = Teller::new(name, old, context);
    let milestones = teller.follow(plan, after, &before.shared);
    let change =
        RecordChange { name: name.to_string(), record: Some(old.clone()), milestones, ..RecordChange::default() };
    let events = teller.events;
    Decision { change: Some(change), events, ..Decision::nothing() }
}

fn check_size(name: &RecordName, record: &v1::Record) -> Result<()> {
    let size = record.encoded_len();
    if size <= MAX_RECORD_BYTES {
        return Ok(());
    }
    let message = format!("{name} would be {size} bytes; a record has at most {MAX_RECORD_BYTES}");
    Err(Error::new(Reason::TooLarge, message).with_resource(name.as_str()).with("limit", MAX_RECORD_BYTES))
}

/// The path of the derived status among changed paths.
pub const STATUS_PATH: &str = "info.status";
/// The path of the merged names among changed paths.
pub const MERGED_PATH: &str = "info.merged_names";

/// The facts that stand in a record that its reports resolve to, and in each of its parts: what is told of it, or was
/// and is not withdrawn.
#[must_use]
pub fn standing_facts(
    name: &RecordName,
    before: &Before,
    after: &Resolution,
    context: &Context,
) -> BTreeSet<(EventType, String)> {
    let mut facts = facts_in_parts(before, context);
    facts.extend(facts_of(name, before, after, context));
    facts
}

fn facts_in_parts(before: &Before, context: &Context) -> BTreeSet<(EventType, String)> {
    let of_part = |part: &Part| {
        let (create_time, merged_names) = (before.create_time, part.merged_names.clone());
        let alone = Before { create_time, merged_names, ..Before::default() };
        facts_of(&part.name, &alone, &part.resolution, context).collect::<Vec<_>>()
    };
    before.parts.iter().flat_map(of_part).collect()
}

fn facts_of(
    name: &RecordName,
    before: &Before,
    after: &Resolution,
    context: &Context,
) -> impl Iterator<Item = (EventType, String)> {
    let mut record = after.content.clone();
    seal(&mut record, name, before, after, context);
    let view = View { day: context.today, successors: &context.successors };
    milestone::facts(&record, view).into_iter().map(|f| (f.event_type, f.element))
}

fn seal(new: &mut v1::Record, name: &RecordName, before: &Before, after: &Resolution, context: &Context) {
    record::seal(new, name.as_str(), v1::RecordInfo::default());
    let values = |tag| after.facets().values(tag).map(str::to_owned).collect();
    let mut digest = new.encode_to_vec();
    digest.extend(context.revision.to_be_bytes());
    let info = v1::RecordInfo {
        revision: context.revision,
        create_time: Some(before.create_time.unwrap_or(context.time)),
        update_time: Some(context.time),
        etag: report::etag(&digest),
        states: values(Tag::State),
        observer_states: values(Tag::ObserverState),
        account_count: u32::try_from(after.accounts.len()).unwrap_or(u32::MAX),
        accounts: after.accounts.clone(),
        disputed_fields: after.disputed().map(str::to_owned).collect(),
        occurred: record::occurred(new),
        status: None,
        merged_names: before.merged_names.clone(),
    };
    record::seal(new, name.as_str(), info);
    let view = View { day: context.today, successors: &context.successors };
    let status = status::derive(new, view);
    record::set_status(new, status);
}

/// How a record differs from what it was.
struct Change {
    /// The paths that differ, sorted.
    paths: Vec<String>,
    /// Whether a value was replaced by a conflicting one, or vanished.
    corrected: bool,
}

fn compare_records(old: &v1::Record, after: &Resolution) -> Change {
    let mut change = Change { paths: Vec::new(), corrected: false };
    let Some(old_content) = content(old).filter(|content| *content != after.record) else { return change };
    let now: BTreeSet<&str> = after.leaves.iter().map(|l| l.path.as_str()).collect();
    // Resolved together, so that an element whose key grew, by its organization or person, is one element.
    let both = [Report::of_account(BEFORE, old_content.clone()), Report::of_account(AFTER, after.record.clone())];
    for leaf in resolve(&both).map(|r| r.leaves).unwrap_or_default() {
        let (then, stands) = (stated_by(&leaf, BEFORE), stated_by(&leaf, AFTER));
        let key_shrank = stands.is_some() && !now.contains(leaf.path.as_str());
        if then == stands && !key_shrank {
            continue;
        }
        change.corrected |= match (then, stands) {
            (Some(then), Some(stands)) => key_shrank || is_corrected(leaf.compare, then, stands),
            (Some(_), None) => true,
            (None, _) => false,
        };
        change.paths.push(leaf.path);
    }
    if change.paths.is_empty() {
        // Only a key or the order of a list differs.
        let differs = |field: &&Field| old_content.get(field) != after.record.get(field);
        change.paths.extend(after.record.shape().fields().iter().filter(differs).map(|f| f.name().to_owned()));
    }
    change
}

/// Whether a value was replaced by one that conflicts with it, or that says less.
fn is_corrected(rule: Compare, then: &Stated, now: &Stated) -> bool {
    compare::compare(rule, then, now) == Relation::Conflicts || compare::compare(rule, now, then) == Relation::Refines
}

const BEFORE: &str = "before";
const AFTER: &str = "after";

fn stated_by<'l>(leaf: &'l Leaf, account: &str) -> Option<&'l Stated> {
    leaf.claims.iter().find(|c| *c.account == *account).map(|c| &c.stated)
}

/// The stated fields of a resolved record.
fn content(record: &v1::Record) -> Option<Tree> {
    let mut content = record::to_tree(record)?;
    content.clear_named("name");
    Some(content)
}

/// What becomes of milestones.
struct Plan {
    /// Stand as before, with the new digest.
    standing: Vec<Milestone>,
    /// Stand with another date or detail.
    revised: Vec<Milestone>,
    /// Do not stand any more.
    fallen: Vec<Milestone>,
    /// Were not told yet.
    fresh: Vec<Fact>,
}

fn plan_milestones(record: &v1::Record, before: &Before, context: &Context) -> Plan {
    let mut plan = Plan { standing: Vec::new(), revised: Vec::new(), fallen: Vec::new(), fresh: Vec::new() };
    let facts = milestone::facts(record, View { day: context.today, successors: &context.successors });
    let in_a_part = facts_in_parts(before, context);
    for old in &before.milestones {
        let same = facts.iter().find(|f| f.event_type == old.r#type() && f.element == old.element);
        let Some(fact) = same.or_else(|| told_otherwise(old, &before.milestones, &facts)) else {
            let stands = in_a_part.contains(&(old.r#type(), old.element.clone()));
            if stands { &mut plan.standing } else { &mut plan.fallen }.push(old.clone());
            continue;
        };
        let detail_digest = fact.digest();
        if detail_digest != old.detail_digest {
            plan.revised.push(old.clone());
        }
        plan.standing.push(Milestone { element: fact.element.clone(), detail_digest, ..old.clone() });
    }
    let told = |f: &Fact| plan.standing.iter().any(|m| m.r#type() == f.event_type && m.element == f.element);
    plan.fresh = facts.into_iter().filter(|f| !told(f) && f.is_worth_telling(context.since)).collect();
    plan
}

/// The fact that tells what an agreement's milestone told, under another key: it begins and ends once, whether that
/// follows from a date or is stated later.
fn told_otherwise<'f>(old: &Milestone, before: &[Milestone], facts: &'f [Fact]) -> Option<&'f Fact> {
    if !matches!(old.r#type(), EventType::AgreementInForce | EventType::AgreementTerminated) {
        return None;
    }
    let is_told = |f: &Fact| before.iter().any(|m| m.r#type() == f.event_type && m.element == f.element);
    facts.iter().find(|f| f.event_type == old.r#type() && !is_told(f))
}

/// The id of an event.
#[must_use]
pub fn event_id(revision: u64, index: u32) -> String {
    format!("{revision}-{index}")
}

/// Makes the events of one record.
struct Teller<'a> {
    name: &'a RecordName,
    record: &'a v1::Record,
    states: Vec<String>,
    context: &'a Context,
    events: Vec<StoredEvent>,
}

impl<'a> Teller<'a> {
    fn new(name: &'a RecordName, record: &'a v1::Record, context: &'a Context) -> Self {
        let states = record::info(record).map(|i| i.states.clone()).unwrap_or_default();
        Self { name, record, states, context, events: Vec::new() }
    }

    fn tell(&mut self, event_type: EventType, class: EventClass, fill: impl FnOnce(&mut v1::Event)) -> u32 {
        let told = u32::try_from(self.events.len()).expect("a revision's events are bounded by its bytes");
        let index = self.context.next_index + told;
        let mut event = v1::Event {
            id: event_id(self.context.revision, index),
            source: self.context.log.clone(),
            r#type: event_type.into(),
            event_class: class.into(),
            subject: self.name.to_string(),
            time: Some(self.context.time),
            revision: self.context.revision,
            index,
            states: self.states.clone(),
            intent: self.context.intent.into(),
            principal: self.context.principal.clone(),
            ..v1::Event::default()
        };
        if let Some(joint) = self.context.joint.as_ref().filter(|j| j.event_type == event_type) {
            event.other_name.clone_from(&joint.other);
        }
        fill(&mut event);
        event.headline = headline::headline(&event, self.record);
        self.events.push(StoredEvent { event: Some(event), ..StoredEvent::default() });
        index
    }

    fn tell_fact(&mut self, fact: &Fact, leaves: &[Leaf], reports: &[String]) -> u32 {
        let behind = reports_behind(&fact.path, leaves, reports);
        self.tell(fact.event_type, EventClass::Cooperation, |e| {
            e.occurred.clone_from(&fact.occurred);
            e.detail = Some(fact.detail.clone());
            e.reports = behind;
            e.basis = fact.basis.into();
        })
    }

    /// Tells what fell and what is new of a plan; the milestones that stand then.
    fn follow(&mut self, plan: Plan, after: &Resolution, shared: &[(u64, u32)]) -> Vec<Milestone> {
        self.withdraw(plan.fallen.iter(), shared);
        let mut milestones = plan.standing;
        for fact in plan.fresh {
            let index = self.tell_fact(&fact, &after.leaves, &after.reports);
            milestones.push(Milestone {
                r#type: fact.event_type.into(),
                element: fact.element.clone(),
                revision: self.context.revision,
                index,
                detail_digest: fact.digest(),
                subject: String::new(),
            });
        }
        milestones
    }

    fn withdraw<'m>(&mut self, fallen: impl Iterator<Item = &'m Milestone>, shared: &[(u64, u32)]) {
        for milestone in fallen.filter(|m| !shared.contains(&(m.revision, m.index))) {
            self.tell(EventType::MilestoneWithdrawn, EventClass::Cooperation, |e| {
                e.withdraws = event_id(milestone.revision, milestone.index);
                e.withdrawn_type = milestone.r#type;
                e.reports.clone_from(&self.context.reports);
            });
            if let Some(last) = self.events.last_mut() {
                last.original_revision = milestone.revision;
                last.original_subject.clone_from(&milestone.subject);
            }
        }
    }
}

/// The reports that state a fact: those behind the word that makes it one.
fn reports_behind(path: &str, leaves: &[Leaf], reports: &[String]) -> Vec<String> {
    let of_element =
        |leaf: &&Leaf| leaf.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let mut own: Vec<&Leaf> = leaves.iter().filter(of_element).collect();
    let makes_it =
        |leaf: &&Leaf| [".type", ".kind", ".act"].iter().any(|word| leaf.path.strip_prefix(path) == Some(word));
    if let Some(word) = own.iter().copied().find(|l| makes_it(l)) {
        own = vec![word];
    }
    let stating = own.iter().flat_map(|l| &l.claims).filter(|c| c.verdict != Verdict::Conflicts);
    let names: BTreeSet<&String> = stating.map(|c| &reports[c.report]).collect();
    names.into_iter().cloned().collect()
}
