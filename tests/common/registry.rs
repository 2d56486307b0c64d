//! A registry as a test uses it: the real writer on a store of its own, a clock that the test sets, and what was told.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use attache::{
    clock::Clock,
    domain::{
        decide::event_id,
        error::{Error, Reason},
        milestone,
        name::RecordName,
        record,
        report::Report,
        resolve::{Resolution, resolve},
        revision::{Revision, State, Told},
        status::View,
    },
    journal,
    pb::{
        self,
        log::{Merge, Ruling},
        v1::{self, EventClass, EventType, Intent, RetractionReason, event::Detail},
    },
    store::{self, Options, Store, Sync, read},
    writer::{self, Act, Answer, Feed, Request, Selection, Writer, WriterThread},
};
use prost::Message as _;

/// A clock that moves a second with each look.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// Begins at noon UTC of a day.
    pub fn at(day: &str) -> Self {
        let noon = format!("{day}T12:00:00Z").parse::<jiff::Timestamp>().expect("a day");
        Self(AtomicI64::new(noon.as_microsecond()))
    }
}

impl Clock for TestClock {
    fn now_us(&self) -> i64 {
        self.0.fetch_add(1_000_000, Ordering::Relaxed)
    }

    fn wait_until(&self, _: i64) -> std::pin::Pin<Box<dyn std::future::Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

/// Keeps all that is told.
struct Heard(Arc<Mutex<Vec<Revision>>>);

impl Feed for Heard {
    fn forget(&self) {}

    fn tell(&self, revisions: Vec<Revision>, _: store::Head) {
        self.0.lock().unwrap().extend(revisions);
    }
}

/// A registry with one writer.
pub struct Registry {
    store: Store,
    writer: Writer,
    thread: Option<WriterThread>,
    runtime: tokio::runtime::Runtime,
    told: Arc<Mutex<Vec<Revision>>>,
    folder: Arc<tempfile::TempDir>,
}

impl Registry {
    /// An empty one, on this day.
    pub fn on(day: &str) -> Self {
        Self::telling(day, |_, heard| heard)
    }

    /// An empty one, on this day, whose writer tells another feed instead of the one that keeps all; it may read the store.
    pub fn telling(day: &str, feed: impl FnOnce(&Store, Box<dyn Feed>) -> Box<dyn Feed>) -> Self {
        Self::open(Arc::new(tempfile::tempdir().expect("a folder")), Arc::default(), day, feed)
    }

    /// The same store, opened again on this day; what was told before is kept.
    pub fn reopened(self, day: &str) -> Self {
        let (folder, told) = (Arc::clone(&self.folder), Arc::clone(&self.told));
        drop(self);
        Self::open(folder, told, day, |_, heard| heard)
    }

    fn open(
        folder: Arc<tempfile::TempDir>,
        told: Arc<Mutex<Vec<Revision>>>,
        day: &str,
        feed: impl FnOnce(&Store, Box<dyn Feed>) -> Box<dyn Feed>,
    ) -> Self {
        let (store, write) =
            store::open(folder.path(), &Options { sync: Sync::Off, ..Options::default() }).expect("a new store");
        let feed = feed(&store, Box::new(Heard(Arc::clone(&told))));
        let clock = Arc::new(TestClock::at(day));
        let parts = writer::Parts::new(write, Arc::new(journal::Embedded), clock);
        let (writer, thread) = writer::Parts { feed, ..parts }.start().expect("a new writer");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { store, writer, thread: Some(thread), runtime, told, folder }
    }

    /// Where the store stands.
    pub fn head(&self) -> store::Head {
        self.store.head()
    }

    pub fn act(&self, act: Act) -> Result<Answer, Error> {
        self.act_at(act, None)
    }

    /// Files as a history that is replayed.
    pub fn file_at(&self, reports: Vec<Report>, recorded_at_us: i64) -> Answer {
        let act = Act::File { reports, preconditions: Vec::new(), intent: Intent::Unspecified };
        self.act_at(act, Some(recorded_at_us)).expect("checked reports are filed")
    }

    fn act_at(&self, act: Act, recorded_at_us: Option<i64>) -> Result<Answer, Error> {
        let principal = if matches!(act, Act::Day { .. }) { attache::clock::CLOCK } else { "tester" };
        let request = Request {
            act,
            principal: principal.into(),
            may_rule: true,
            request_id: String::new(),
            digest: None,
            validate_only: false,
            recorded_at_us,
        };
        self.runtime.block_on(self.writer.file(request, None))
    }

    pub fn file(&self, reports: Vec<Report>) -> Answer {
        self.file_with(reports, Intent::Unspecified)
    }

    pub fn file_with(&self, reports: Vec<Report>, intent: Intent) -> Answer {
        self.act(Act::File { reports, preconditions: Vec::new(), intent }).expect("checked reports are filed")
    }

    pub fn withdraw(&self, report: &str) -> Result<Answer, Error> {
        let selection = Selection::Report(report.parse().expect("the name of a report"));
        self.act(Act::Withdraw { selection, reason: RetractionReason::SourceWithdrawn })
    }

    pub fn retract(&self, name: &str) -> Result<Answer, Error> {
        let source =
            v1::Source { name: "sources/ruling".into(), kind: v1::SourceKind::Editor.into(), ..Default::default() };
        let ruling = Ruling {
            record: name.into(),
            source: Some(source),
            reason: RetractionReason::Fabricated.into(),
            note: String::new(),
        };
        self.act(Act::Retract { record: name.parse().expect("the name of a record"), ruling: Box::new(ruling) })
    }

    pub fn restore(&self, name: &str) -> Result<Answer, Error> {
        self.act(Act::Restore { record: name.parse().expect("the name of a record"), source: None })
    }

    /// The record as it stands now.
    pub fn record(&self, name: &str) -> Option<v1::Record> {
        let name: RecordName = name.parse().expect("the name of a record");
        let head = self.store.head().revision;
        self.store.read(|c| read::record_at(c, &name, head)).expect("a readable store").and_then(|row| row.record)
    }

    /// The active reports of a record, in the order the store has them.
    pub fn active(&self, name: &str) -> Vec<Report> {
        let name: RecordName = name.parse().expect("the name of a record");
        let head = self.store.head().revision;
        let rows = self.store.read(|c| read::active_reports(c, &name, head)).expect("a readable store");
        rows.into_iter().map(|row| Report::from_stored(row.report).expect("a stored report")).collect()
    }

    pub fn is_retracted_by_ruling(&self, name: &str) -> bool {
        let name: RecordName = name.parse().expect("the name of a record");
        !self.store.read(|c| read::rulings(c, &name)).expect("a readable store").is_empty()
    }

    pub fn merge(&self, loser: &str, survivor: &str) -> Result<Answer, Error> {
        let source =
            v1::Source { name: "sources/merger".into(), kind: v1::SourceKind::Editor.into(), ..Default::default() };
        let merge = Merge { loser: loser.into(), survivor: survivor.into(), source: Some(source), note: String::new() };
        let name = |text: &str| text.parse().expect("the name of a record");
        self.act(Act::Merge { loser: name(loser), survivor: name(survivor), merge: Box::new(merge) })
    }

    pub fn unmerge(&self, loser: &str) -> Result<Answer, Error> {
        self.act(Act::Unmerge { loser: loser.parse().expect("the name of a record") })
    }

    /// The events of the milestones that the store says stand, by type and element.
    pub fn milestone_events(&self, name: &str) -> BTreeMap<(EventType, String), BTreeSet<String>> {
        let name: RecordName = name.parse().expect("the name of a record");
        let mut events: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for m in self.store.read(|c| read::milestones(c, &name)).expect("a readable store") {
            events.entry((m.r#type(), m.element.clone())).or_default().insert(event_id(m.revision, m.index));
        }
        events
    }

    /// The milestones that the store says stand: (type, element).
    pub fn milestones(&self, name: &str) -> BTreeSet<(EventType, String)> {
        let name: RecordName = name.parse().expect("the name of a record");
        let standing = self.store.read(|c| read::milestones(c, &name)).expect("a readable store");
        standing.into_iter().map(|m| (m.r#type(), m.element)).collect()
    }

    /// Everything told so far.
    pub fn told(&self) -> Vec<Revision> {
        self.told.lock().unwrap().clone()
    }

    /// Every event so far, in order.
    pub fn events(&self) -> Vec<v1::Event> {
        self.told().into_iter().flat_map(|r| r.events).map(|t| event_of(&t)).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.runtime.block_on(self.writer.stop());
        let ended = self.thread.take().map(WriterThread::join);
        if !std::thread::panicking() {
            ended.expect("joined once").expect("a writer that ends in order");
        }
    }
}

/// Reads the reports of a request in canonical JSON.
pub fn reports(json: &str) -> Vec<Report> {
    let request: v1::FileReportsRequest =
        pb::from_json("FileReportsRequest", json).unwrap_or_else(|e| panic!("{e}: {json}"));
    let parse = |(i, r)| Report::parse(&r, request.source.as_ref(), &format!("reports[{i}]"));
    request
        .reports
        .clone()
        .into_iter()
        .enumerate()
        .map(parse)
        .collect::<Result<_, _>>()
        .unwrap_or_else(|e| panic!("{e}: {json}"))
}

/// The stated fields of a record: what is left without revision, times and etag.
pub fn stated(record: &v1::Record) -> v1::Record {
    let mut stated = record.clone();
    let info = record::info(record).cloned().unwrap_or_default();
    let info = v1::RecordInfo { revision: 0, create_time: None, update_time: None, etag: String::new(), ..info };
    record::seal(&mut stated, record::name_of(record), info);
    stated
}

/// Where every field comes from: path, and of each account report, verdict and whether it was considered.
pub fn provenance(resolution: &Resolution) -> Vec<String> {
    let claim = |c: &attache::domain::resolve::Claim| {
        format!("{} {} {:?} {}", resolution.reports[c.report], c.account, c.verdict, c.considered)
    };
    let line = |leaf: &attache::domain::resolve::Leaf| {
        let claims: Vec<String> = leaf.claims.iter().map(claim).collect();
        format!("{} {} {}", leaf.path, leaf.disputed, claims.join(", "))
    };
    resolution.leaves.iter().map(line).collect()
}

/// What its active reports make of a record.
pub fn resolution(registry: &Registry, name: &str) -> Option<Resolution> {
    resolve(&registry.active(name))
}

/// The key of the milestone that a cooperation event tells.
pub fn element(event: &v1::Event) -> String {
    match event.detail.as_ref().expect("a cooperation event has a detail") {
        Detail::Action(action) => action.key.clone(),
        Detail::Item(item) => item.key.clone(),
        Detail::Statement(statement) => format!("{}:{}", statement.account, statement.key),
        Detail::Progress(_) => String::new(),
        Detail::Due(due) => match event.r#type() {
            EventType::AgreementInForce => "entered-into-force".to_owned(),
            EventType::AgreementTerminated => "terminated".to_owned(),
            EventType::AgreementExpiring => due.days_left.to_string(),
            _ => String::new(),
        },
    }
}

/// The registry events of which a revision has exactly one for each record.
const EXCLUSIVE: [EventType; 8] = [
    EventType::Merged,
    EventType::Unmerged,
    EventType::Retracted,
    EventType::Restored,
    EventType::Recorded,
    EventType::Updated,
    EventType::Corrected,
    EventType::Extended,
];

/// Replays what was told and checks that every revision keeps the promises of the contract. Answers what stands at the
/// end: of each record its milestones.
pub fn replay(revisions: &[Revision]) -> BTreeMap<String, BTreeSet<(EventType, String)>> {
    let mut records: BTreeMap<String, v1::Record> = BTreeMap::new();
    let mut standing: BTreeMap<String, BTreeMap<(EventType, String), String>> = BTreeMap::new();
    let mut since = revisions.first().map_or(0, day_of);
    for (place, revision) in revisions.iter().enumerate() {
        assert_eq!(revision.number, place as u64 + 1, "revisions have no gap");
        for (index, told) in revision.events.iter().enumerate() {
            assert_eq!(event_of(told).id, event_id(revision.number, index as u32), "events are numbered in order");
        }
        let subjects = if is_day(revision) { of_a_day(revision) } else { of_a_filing(revision) };
        let before: BTreeMap<String, BTreeSet<(EventType, String)>> =
            standing.iter().map(|(name, told)| (name.clone(), told.keys().cloned().collect())).collect();
        for told in revision.events.iter().filter(|t| event_of(t).event_class() == EventClass::Cooperation) {
            tell(standing.entry(event_of(told).subject.clone()).or_default(), &event_of(told));
        }
        let ends = revision.changes.iter().filter_map(|c| c.after.as_ref()).map(record_of);
        let untouched = records.iter().filter(|(name, _)| !subjects.contains(name)).map(|(_, record)| record.clone());
        let others: Vec<v1::Record> = untouched.chain(ends).collect();
        let view = View { day: day_of(revision), successors: &others };
        for (name, change) in subjects.iter().zip(&revision.changes) {
            let whole = change.after.as_ref().map(record_of);
            let (was, is) = (&change.before, &change.after);
            let was = was.as_ref().map(|s| stated(&record_of(s)));
            let is = is.as_ref().map(|s| stated(&record_of(s)));
            assert_eq!(
                was,
                records.remove(name).map(|r| stated(&r)),
                "a change begins where the last one ended: {name}"
            );
            let told_before = before.get(name).cloned().unwrap_or_default();
            let facts = whole.as_ref().map(|r| milestone::facts(r, view)).unwrap_or_default().into_iter();
            let facts = facts.map(|f| (f.is_worth_telling(since), (f.event_type, f.element)));
            let facts: BTreeSet<_> =
                facts.filter(|(worth, key)| *worth || told_before.contains(key)).map(|(_, key)| key).collect();
            let told: BTreeSet<_> = standing.get(name).map(|s| s.keys().cloned().collect()).unwrap_or_default();
            assert_eq!(told, facts, "what was told and not withdrawn is what stands: {name} at {}", revision.number);
            if was != is {
                check_type(revision, name, was.is_some(), is.is_some());
            }
            records.extend(whole.map(|r| (name.clone(), r)));
        }
        since = day_of(revision);
    }
    standing.into_iter().map(|(name, told)| (name, told.into_keys().collect())).collect()
}

/// The registry's day at a revision: filings are recorded on it, and the clock moves it at midnight.
fn day_of(revision: &Revision) -> i32 {
    attache::clock::day(revision.recorded_at_us)
}

fn is_day(revision: &Revision) -> bool {
    revision.events.first().is_some_and(|t| event_of(t).principal == attache::clock::CLOCK)
}

/// The records of a filing, in the order of its changes: the events of one stand together, one of the exclusive first. Of
/// what another record's change only let fall due, or fall, none is told.
fn of_a_filing(revision: &Revision) -> Vec<String> {
    let mut subjects: Vec<String> = Vec::new();
    for told in &revision.events {
        let event = &event_of(told);
        let is_first = subjects.last() != Some(&event.subject);
        if is_first {
            assert!(!subjects.contains(&event.subject), "the events of one record stand together: {}", event.id);
            subjects.push(event.subject.clone());
        }
        let is_exclusive = EXCLUSIVE.contains(&event.r#type());
        let only_falls_due = is_unchanged(&revision.changes[told.change]);
        assert!(!(only_falls_due && is_exclusive), "no change of the record is told: {}", event.id);
        assert_eq!(
            is_first && !only_falls_due,
            is_exclusive,
            "exactly one event of the group, and it is the first: {}",
            event.id
        );
        assert_eq!(subjects.len(), told.change + 1, "an event is about the change it names: {}", event.id);
    }
    assert_eq!(subjects.len(), revision.changes.len(), "every changed record is told: {}", revision.number);
    subjects
}

/// Whether the record is the same, though something about it was told.
fn is_unchanged(change: &attache::domain::revision::Change) -> bool {
    let record = |side: &Option<State>| side.as_ref().map(record_of);
    record(&change.before) == record(&change.after)
}

/// The records of a move of the day, in the order of its changes: what changed comes before what fell due.
fn of_a_day(revision: &Revision) -> Vec<String> {
    let classes: Vec<bool> =
        revision.events.iter().map(|t| event_of(t).event_class() == EventClass::Cooperation).collect();
    assert!(classes.is_sorted(), "the changes of a day come first: {}", revision.number);
    let mut subjects = vec![String::new(); revision.changes.len()];
    for told in &revision.events {
        subjects[told.change].clone_from(&event_of(told).subject);
        if !classes[event_of(told).index as usize] {
            assert_eq!(event_of(told).r#type(), EventType::Updated, "a day updates: {}", event_of(told).id);
        }
    }
    assert!(subjects.iter().all(|s| !s.is_empty()), "every changed record is told: {}", revision.number);
    subjects
}

fn check_type(revision: &Revision, name: &str, was: bool, is: bool) {
    let of_record = |told: &&Told| event_of(told).subject == name;
    let first = revision.events.iter().find(of_record).map(event_of).expect("it was told").r#type();
    let fits: &[EventType] = match (was, is) {
        (true, false) => &[EventType::Retracted],
        (false, _) => &[EventType::Recorded, EventType::Restored],
        (true, true) => &[EventType::Updated, EventType::Corrected, EventType::Extended],
    };
    assert!(fits.contains(&first), "{first:?} of {name} at {}", revision.number);
}

fn tell(standing: &mut BTreeMap<(EventType, String), String>, event: &v1::Event) {
    if event.r#type() == EventType::MilestoneWithdrawn {
        let told = standing.iter().find(|(_, id)| **id == event.withdraws).map(|(key, _)| key.clone());
        let key = told.unwrap_or_else(|| panic!("{} withdraws what does not stand: {}", event.id, event.withdraws));
        assert_eq!(key.0, event.withdrawn_type(), "{}", event.id);
        standing.remove(&key);
    } else {
        let key = (event.r#type(), element(event));
        assert!(!standing.contains_key(&key), "{} tells again what stands: {key:?}", event.id);
        standing.insert(key, event.id.clone());
    }
}

fn event_of(told: &Told) -> v1::Event {
    v1::Event::decode(told.event.clone()).expect("an event that was told can be read")
}

fn record_of(state: &State) -> v1::Record {
    v1::Record::decode(state.record.clone()).expect("a record that was told can be read")
}

/// Whether an error says that there is no such thing.
pub fn is_not_found(error: &Error) -> bool {
    error.reason == Reason::RecordNotFound
}
