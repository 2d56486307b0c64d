//! How the store is read: every statement by an index, and every list the same whichever way it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use attache::{
    cli::bench::{draw::Draw, generate},
    clock::{Clock, SystemClock},
    domain::{
        date::Day, facets::Facets, filter::Filters, name::RecordName, record, report::Report,
        search::rank::Query as Words,
    },
    journal::Embedded,
    pb::{
        self,
        v1::{self, Intent, RecordKind, RetractionReason},
    },
    store::{
        self, Options, Store, Sync,
        list::{self, Order, Place, TermSets},
        merges, read,
        search::{self, Aids, Vocabulary},
        trim,
    },
    writer::{self, Act, Request, Selection, Writer},
};
use rusqlite::{
    Connection, StatementStatus,
    config::DbConfig,
    trace::{TraceEvent, TraceEventCodes},
};

/// Every statement that was run on a traced connection of this process, one test being one process.
static RUN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn trace(connection: &Connection) {
    connection.trace_v2(
        TraceEventCodes::SQLITE_TRACE_STMT,
        Some(|event| {
            if let TraceEvent::Stmt(_, sql) = event {
                RUN.lock().unwrap().insert(sql.to_owned());
            }
        }),
    );
}

/// A store with a writer, in a folder of its own.
struct Filed {
    store: Store,
    writer: Writer,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Filed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, write) = store::open(folder.path(), &Options { sync: Sync::Off, ..Options::default() }).unwrap();
        trace(&write.connection);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (writer, _) = writer::Parts::new(write, Arc::new(Embedded), clock).start().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { store, writer, runtime, folder }
    }

    fn act(&self, act: Act) {
        let request = Request {
            act,
            principal: "tester".into(),
            may_rule: true,
            request_id: uuid::Uuid::now_v7().to_string(),
            digest: Some([0; 32]),
            validate_only: false,
            recorded_at_us: None,
        };
        self.runtime.block_on(self.writer.file(request, None)).unwrap();
    }

    fn file(&self, reports: Vec<v1::Report>) {
        let reports = reports.into_iter().map(|report| Report::parse(&report, None, "report").unwrap()).collect();
        self.act(Act::File { reports, preconditions: Vec::new(), intent: Intent::Unspecified });
    }

    /// A reader's connection, traced.
    fn reader(&self) -> Connection {
        let connection = Connection::open(self.folder.path().join(store::FILE)).unwrap();
        // As the store's own are.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
        trace(&connection);
        connection
    }
}

/// Records of every kind, some of them with spans of years.
fn reports(count: u64) -> Vec<v1::Report> {
    let mut reports: Vec<_> = (0..count).map(|number| generate::report(1, number)).collect();
    let mut draw = Draw::new(3);
    for report in &mut reports {
        if let Some(v1::report::Content::Visit(visit)) = &mut report.content
            && draw.chance(5)
        {
            let (from, years) = (draw.between(1940, 2000), draw.between(1, 40));
            visit.start = Some(v1::EdtfDate { edtf: format!("{from}/{}", from + years), ..Default::default() });
            visit.end = None;
            visit.itinerary.clear();
        }
    }
    reports
}

fn filters(json: &str) -> Filters {
    Filters::parse(&[pb::from_json("Filter", json).unwrap()], "filters").unwrap()
}

/// One of every field of the filter, common values and rare ones, alone and together.
const FILTERS: &[&str] = &[
    r#"{"statesAny": ["US"]}"#,
    r#"{"statesAny": ["NP", "IE"]}"#,
    r#"{"statesAll": ["US", "GB"]}"#,
    r#"{"statesAll": ["QA", "KG"]}"#,
    r#"{"statesOnly": ["US", "GB", "FR", "DE"]}"#,
    r#"{"observerStates": ["US"]}"#,
    r#"{"hosts": ["US"]}"#,
    r#"{"guests": ["FR"]}"#,
    r#"{"hosts": ["US"], "guests": ["GB"]}"#,
    r#"{"topics": ["TOPIC_MILITARY_COOPERATION"]}"#,
    r#"{"topics": ["TOPIC_REGIONAL_SITUATION"], "hosts": ["TR"]}"#,
    r#"{"visitTypes": ["VISIT_TYPE_STATE"]}"#,
    r#"{"visitLevels": ["VISIT_LEVEL_MINISTER"]}"#,
    r#"{"statuses": ["STATUS_CONCLUDED"]}"#,
    r#"{"statuses": ["STATUS_UNDERWAY"]}"#,
    r#"{"persons": ["persons/nobody"]}"#,
    r#"{"organizations": ["organizations/none"]}"#,
    r#"{"places": ["places/nowhere"]}"#,
    r#"{"disputed": true}"#,
    r#"{"disputed": false}"#,
    r#"{"names": ["visits/none"]}"#,
    r#"{"occurred": {"from": "1990", "until": "1991"}}"#,
    r#"{"occurred": {"until": "1950-06"}}"#,
    r#"{"occurred": {"from": "2015-03-01"}}"#,
    r#"{"occurred": {"from": "1980", "until": "1985"}, "statesAny": ["FR"]}"#,
    r#"{"occurred": {"from": "1960", "until": "1999", "definiteOnly": true}}"#,
    r#"{"kinds": ["RECORD_KIND_VISIT"]}"#,
];

/// All visits that pass, by name, as many a page as there may be.
fn visits<'a>(filters: &'a Filters, revision: u64) -> list::Query<'a> {
    let (kind, order) = (Some(RecordKind::Visit), Order::Name);
    list::Query { kind, filters, revision, order, limit: 1000, after: None, valid_at: None }
}

const ORDERS: [Order; 4] = [Order::Newest, Order::Oldest, Order::Name, Order::Updated];

fn all_pages(connection: &Connection, sets: &TermSets, query: &list::Query<'_>) -> Vec<v1::Record> {
    let (mut records, mut query) = (Vec::new(), query.clone());
    loop {
        let page = list::page(connection, sets, &query).unwrap();
        records.extend(page.records);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return records,
        }
    }
}

/// Where a record stands in a list, computed from the record alone.
fn place(record: &v1::Record, order: Order) -> Place {
    let (newest, oldest) = list::sort_keys(Facets::of(record).occurred);
    let updated = record::info(record).and_then(|i| i.update_time).unwrap_or_default();
    let key = match order {
        Order::Newest => newest,
        Order::Oldest => oldest,
        Order::Name => 0,
        Order::Updated => -(updated.seconds * 1_000_000 + i64::from(updated.nanos) / 1000),
    };
    Place { key, name: record::name_of(record).to_owned() }
}

#[test]
fn a_list_is_what_its_filters_select_in_its_order_whichever_way_it_is_read() {
    let filed = Filed::new();
    let reports = reports(3000);
    reports.chunks(100).for_each(|some| filed.file(some.to_vec()));
    // Some have several versions, and some stand no more.
    let changed = |report: &v1::Report| {
        let mut report = report.clone();
        if let Some(v1::report::Content::Visit(visit)) = &mut report.content {
            visit.summary = Some("Said again".into());
            visit.hosts[0].state = "US".into();
        }
        report
    };
    filed.file(reports.iter().step_by(40).map(changed).collect());
    filed.act(Act::Withdraw {
        selection: Selection::Source("sources/made-up-data-set-2".into()),
        reason: RetractionReason::FilerError,
    });
    let (connection, sets, revision) = (filed.reader(), TermSets::default(), filed.store.head().revision);
    let everything = Filters::default();
    let whole = |kind: RecordKind| list::Query { kind: Some(kind), ..visits(&everything, revision) };
    let mut selected = BTreeMap::new();
    for kind in [RecordKind::Visit, RecordKind::Agreement, RecordKind::Exercise] {
        let standing = all_pages(&connection, &sets, &whole(kind));
        assert!(standing.len() > 50);
        for text in FILTERS {
            let filters = filters(text);
            let mut expected: Vec<_> = standing.iter().filter(|r| filters.matches(&Facets::of(r))).collect();
            *selected.entry(text).or_insert(0) += expected.len();
            for order in ORDERS {
                for limit in [7, 200] {
                    let query = list::Query { filters: &filters, order, limit, ..whole(kind) };
                    let listed = all_pages(&connection, &sets, &query);
                    expected.sort_by_cached_key(|record| place(record, order));
                    let names = |r: &v1::Record| record::name_of(r).to_owned();
                    assert_eq!(
                        listed.iter().map(names).collect::<Vec<_>>(),
                        expected.iter().map(|r| names(r)).collect::<Vec<_>>(),
                        "{kind:?} {text} {order:?} {limit}"
                    );
                }
            }
        }
    }
    // The table has common values and rare ones: both ways were taken.
    assert!(selected.values().any(|n| *n > 1000) && selected.values().any(|n| (1..50).contains(n)), "{selected:?}");
}

#[test]
fn a_page_that_ends_among_the_versions_of_a_record_loses_none() {
    let filed = Filed::new();
    let told: Vec<_> = reports(700).into_iter().filter(|r| r.record.starts_with("visits/")).collect();
    let saying = |words: &str| {
        let mut told = told.clone();
        for report in &mut told {
            if let Some(v1::report::Content::Visit(visit)) = &mut report.content {
                visit.summary = Some(words.to_owned());
            }
        }
        told
    };
    // Three versions of each, in one place of every order but that of update.
    for words in ["first", "second", "third"] {
        saying(words).chunks(100).for_each(|some| filed.file(some.to_vec()));
    }
    let (connection, sets, everything) = (filed.reader(), TermSets::default(), Filters::default());
    for order in ORDERS {
        // To derive a status costs so much that a page ends by that, wherever it is.
        for valid_at in [None, Some(20_000 as Day)] {
            let query = list::Query { order, valid_at, ..visits(&everything, filed.store.head().revision) };
            let first = list::page(&connection, &sets, &query).unwrap();
            assert!(valid_at.is_none() || first.next.is_some(), "a page ends early");
            let listed = all_pages(&connection, &sets, &query);
            let names: BTreeSet<_> = listed.iter().map(|r| record::name_of(r).to_owned()).collect();
            assert_eq!((names.len(), listed.len()), (told.len(), told.len()), "{order:?} {valid_at:?}");
        }
    }
}

#[test]
fn records_of_some_kinds_among_all_are_found_by_name() {
    let filed = Filed::new();
    reports(1000).chunks(100).for_each(|some| filed.file(some.to_vec()));
    let (connection, sets) = (filed.reader(), TermSets::default());
    let revision = filed.store.head().revision;
    let list = |kind: Option<RecordKind>, filters: &Filters| {
        let query = list::Query { kind, limit: 40, ..visits(filters, revision) };
        all_pages(&connection, &sets, &query)
    };
    let mut each = list(Some(RecordKind::Agreement), &Filters::default());
    each.extend(list(Some(RecordKind::Exercise), &Filters::default()));
    assert!(each.len() > 50);
    let kinds = filters(r#"{"kinds": ["RECORD_KIND_EXERCISE", "RECORD_KIND_AGREEMENT"]}"#);
    assert_eq!(list(None, &kinds), each);
}

#[test]
fn a_set_that_was_read_once_has_what_came_since() {
    let filed = Filed::new();
    let reports = reports(200);
    let (connection, sets) = (filed.reader(), TermSets::default());
    let filters = filters(r#"{"statesAny": ["US"]}"#);
    let mut before = 0;
    for some in reports.chunks(50) {
        filed.file(some.to_vec());
        let query = list::Query { order: Order::Newest, ..visits(&filters, filed.store.head().revision) };
        let (kept, fresh) =
            (all_pages(&connection, &sets, &query), all_pages(&connection, &TermSets::default(), &query));
        assert_eq!(kept, fresh);
        assert!(kept.len() > before);
        before = kept.len();
    }
}

/// What stands under each name at a revision, as the versions of the store say.
fn standing_by_name(connection: &Connection, names: &[RecordName], revision: u64) -> Vec<Option<v1::Record>> {
    names.iter().map(|name| read::record_at(connection, name, revision).unwrap().and_then(|row| row.record)).collect()
}

#[test]
fn a_record_is_the_same_whether_or_not_its_version_was_found_before_and_whatever_came_since() {
    let filed = Filed::new();
    let told: Vec<_> = reports(60).into_iter().filter(|r| r.record.starts_with("visits/")).collect();
    let names: Vec<RecordName> = told.iter().map(|report| report.record.parse().unwrap()).collect();
    let connection = filed.reader();
    let check = || {
        let head = filed.store.head().revision;
        // The newest last: that is when it is remembered where they lie, and it does not answer for what was before.
        for revision in (1..=head).chain([head, 1, head]) {
            let found = filed.store.standing_each(names.iter().map(|name| (name, revision))).unwrap();
            let found: Vec<Option<v1::Record>> =
                found.iter().map(|body| body.as_deref().map(|body| read::decode(body).unwrap())).collect();
            assert_eq!(found, standing_by_name(&connection, &names, revision), "{revision} of {head}");
            // Whatever is looked at first: the right version, that of another name, and one that is not there.
            let at = |name, address| read::encoded_at(&connection, name, revision, address).unwrap();
            let versions = |name| at(name, None).map(|(version, _)| version);
            for (name, other) in names.iter().zip(names.iter().cycle().skip(1)) {
                for address in [versions(name), versions(other), Some(u64::from(u32::MAX))] {
                    assert_eq!(at(name, address), at(name, None), "{name} at {address:?}, {revision} of {head}");
                }
            }
        }
    };
    let saying = |words: &str, every: usize| -> Vec<v1::Report> {
        let mut some: Vec<_> = told.iter().step_by(every).cloned().collect();
        for report in &mut some {
            if let Some(v1::report::Content::Visit(visit)) = &mut report.content {
                visit.summary = Some(words.to_owned());
            }
        }
        some
    };
    filed.file(saying("first", 1));
    check();
    filed.file(saying("second", 2));
    check();
    let source = told[0].source.as_ref().map(|source| source.name.clone()).unwrap();
    filed.act(Act::Withdraw { selection: Selection::Source(source), reason: RetractionReason::FilerError });
    let standing = standing_by_name(&connection, &names, filed.store.head().revision);
    assert!(standing.iter().any(Option::is_none), "some stand no more");
    check();
    filed.file(saying("third", 3));
    check();
}

#[test]
fn a_search_finds_the_same_whether_the_index_has_a_version_yet_or_not() {
    let filed = Filed::new();
    // Some are in the index, and some wait.
    filed.file(reports(200));
    filed.file(reports(240)[200..].to_vec());
    let revision = filed.store.head().revision;
    let everything = Filters::default();
    let found = |words: &str| {
        let search = search::Search { query: Words::of(words), filters: &everything, revision };
        let page = search::page(&filed.reader(), &Aids::default(), &search, 500, None).unwrap();
        let of = |found: search::Found| (record::name_of(&found.record).to_owned(), found.score, found.highlights);
        page.found.into_iter().map(of).collect::<Vec<_>>()
    };
    let standing = all_visits(&filed.reader(), &TermSets::default(), revision);
    let titles = standing.iter().filter_map(|record| match &record.kind {
        Some(v1::record::Kind::Visit(visit)) => visit.summary.clone(),
        _ => None,
    });
    let words: BTreeSet<String> =
        titles.flat_map(|title| title.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let (file, count) = (filed.folder.path().join("attache.db"), "SELECT count(*) FROM unindexed");
    let writer = Connection::open(file).unwrap();
    assert!(writer.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap() > 20);
    let asked: Vec<String> =
        words.iter().step_by(7).cloned().chain(["visit defence".into(), "coopertaion".into()]).collect();
    let before: Vec<_> = asked.iter().map(|words| found(words)).collect();
    search::complete(&writer).unwrap();
    assert_eq!(writer.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    for (words, before) in asked.iter().zip(before) {
        assert_eq!(before, found(words), "{words}");
    }
    assert!(asked.iter().map(|words| found(words).len()).sum::<usize>() > 200);
}

/// How often a statement with a bound limit was prepared again while it ran a few times.
fn prepared_again(connection: &Connection) -> i32 {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE rowid > ?1 LIMIT ?2").unwrap();
    for limit in 1..=3 {
        let names = statement.query_map([0, limit], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(names.count(), usize::try_from(limit).unwrap());
    }
    statement.get_status(StatementStatus::RePrepare)
}

#[test]
fn no_statement_is_prepared_again_for_what_is_bound_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, write) = store::open(folder.path(), &Options::default()).unwrap();
    assert_eq!(prepared_again(&write.connection), 0);
    assert_eq!(store.read(|connection| Ok(prepared_again(connection))).unwrap(), 0);
    let as_it_comes = Connection::open(folder.path().join("attache.db")).unwrap();
    assert!(prepared_again(&as_it_comes) > 0, "SQLite does so by itself");
}

/// What may be walked whole: one row, rows that the statement has itself, what a recursion has found so far, and matches of
/// the index of words; and versions that are in no list of a term yet, when they are put there, or not in that index.
const SHORT: &[&str] = &[
    "SCAN log_state",
    "SCAN up",
    "SCAN family",
    "SCAN search VIRTUAL TABLE",
    "SCAN CONSTANT ROW",
    "SCAN unposted",
    "SCAN unindexed",
];
/// From what a sweep takes rows.
const SWEPT: &[&str] = &[
    "versions",
    "unposted",
    "postings",
    "pairs",
    "unindexed",
    "search",
    "reports",
    "sources",
    "rulings",
    "merges",
    "entries",
];
/// What may be sorted: the few rows of one record, or of one family.
const SORTED: &[&str] = &[
    "FROM up ORDER BY depth",
    "FROM family ORDER BY depth",
    "FROM milestones",
    "FROM rulings",
    "FROM reports WHERE record =",
];

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement =
        connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let mut rows = statement.raw_query();
    let mut plan = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        plan.push(row.get::<_, String>(3).unwrap());
    }
    plan
}

/// Reads everything that lookups read, in every way.
fn read_all(filed: &Filed, connection: &Connection, aids: &Aids) {
    let revision = filed.store.head().revision;
    let visits = all_visits(connection, &aids.sets, revision);
    let name: RecordName = record::name_of(&visits[0]).parse().unwrap();
    for text in FILTERS {
        let filters = filters(text);
        for (order, kind) in ORDERS.into_iter().map(|o| (o, Some(RecordKind::Visit))).chain([(Order::Name, None)]) {
            for (limit, valid_at) in [(3, None), (3, Some(0 as Day))] {
                let first = list::Query { kind, filters: &filters, revision, order, limit, after: None, valid_at };
                let next = list::page(connection, &aids.sets, &first).unwrap().next;
                list::page(connection, &aids.sets, &list::Query { after: next, ..first }).unwrap();
            }
        }
        for words in ["visit", "defence minister", "coopertaion"] {
            let search = search::Search { query: Words::of(words), filters: &filters, revision };
            search::page(connection, aids, &search, 10, None).unwrap();
        }
    }
    search::matching(connection, aids, &visits[0], &Filters::default(), revision, 10).unwrap();
    let family = merges::family(connection, &name, revision).unwrap();
    read::record_at(connection, &name, revision).unwrap();
    let (version, _) = read::encoded_at(connection, &name, revision, None).unwrap().unwrap();
    read::encoded_at(connection, &name, revision, Some(version)).unwrap();
    let all =
        read::versions_after(connection, RecordKind::Visit, &Place { key: i64::MIN, name: String::new() }, 10).unwrap();
    read::versions_after(connection, RecordKind::Visit, &all[0].1, 10).unwrap();
    read::active_reports_of(connection, &family, revision).unwrap();
    read::all_reports_of(connection, &family, revision).unwrap();
    read::history(connection, &family, 0, revision, 10).unwrap();
    read::sources(connection, revision, "", 10).unwrap();
    store::coverage::covering(connection, revision, 10).unwrap();
    let entries = store::log::entries(connection, 0, revision, 10, usize::MAX).unwrap();
    store::log::revisions(connection, &entries, store::log::Depth::Whole).unwrap();
    store::log::revision_at(connection, 0).unwrap();
    store::log::lag(connection, 0, revision).unwrap();
    store::log::day_at(connection, revision).unwrap();
}

fn all_visits(connection: &Connection, sets: &TermSets, revision: u64) -> Vec<v1::Record> {
    all_pages(connection, sets, &visits(&Filters::default(), revision))
}

#[test]
fn every_statement_finds_what_it_needs_by_an_index() {
    let filed = Filed::new();
    // So many that some are put into the lists of their terms together.
    reports(1300).chunks(100).for_each(|some| filed.file(some.to_vec()));
    let connection = filed.reader();
    let visits = all_visits(&connection, &TermSets::default(), filed.store.head().revision);
    let named = |at: usize| -> RecordName { record::name_of(&visits[at]).parse().unwrap() };
    let source =
        v1::Source { name: "sources/editor".into(), kind: v1::SourceKind::Editor.into(), ..Default::default() };
    let merge = pb::log::Merge {
        loser: named(0).to_string(),
        survivor: named(1).to_string(),
        source: Some(source.clone()),
        ..Default::default()
    };
    filed.act(Act::Merge { loser: named(0), survivor: named(1), merge: Box::new(merge) });
    filed.act(Act::Unmerge { loser: named(0) });
    let ruling = pb::log::Ruling { record: named(2).to_string(), source: Some(source), ..Default::default() };
    filed.act(Act::Retract { record: named(2), ruling: Box::new(ruling) });
    filed.act(Act::Restore { record: named(2), source: None });
    let day = filed.store.head().today();
    filed.act(Act::Day { to: day + 1 });
    let selection = Selection::Publisher("named/yearbook of diplomacy".into());
    filed.act(Act::Withdraw { selection, reason: RetractionReason::FilerError });
    read_all(&filed, &connection, &Aids::default());
    // And what is asked when the words do not fit into memory.
    read_all(&filed, &connection, &Aids { vocabulary: Vocabulary::with_budget(0), ..Aids::default() });

    // What ended goes, as if all of it were below the floor. (The writer's connection looks up no foreign keys.)
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    while trim::sweep(&connection, filed.store.head().revision, 16).unwrap() {}

    let run = RUN.lock().unwrap().clone();
    let is_ours = |sql: &&String| {
        let sql = sql.trim_start();
        // The index of words runs statements of its own, on tables of its own.
        ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().any(|word| sql.starts_with(word))
            && !sql.contains("'main'.")
    };
    let ours: Vec<&String> = run.iter().filter(is_ours).collect();
    assert!(ours.len() > 60, "{}", ours.len());
    for &table in SWEPT {
        let is_swept = ours.iter().any(|sql| sql.split_whitespace().take(3).eq(["DELETE", "FROM", table]));
        assert!(is_swept, "no row of {table} was taken");
    }
    for sql in ours {
        for step in plan(&connection, sql) {
            let is_short = SHORT.iter().any(|short| step.starts_with(short));
            assert!(is_short || !step.starts_with("SCAN"), "{step} of {sql}");
            let may_sort = SORTED.iter().any(|few| sql.contains(few));
            assert!(may_sort || !step.contains("TEMP B-TREE"), "{step} of {sql}");
        }
    }
}
