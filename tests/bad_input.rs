//! Input that no well-behaved client sends is refused, with the field where there is one, and changes nothing.

mod common;

use attache::{
    domain::token::{GENESIS, Token},
    limits::MAX_REQUEST_BYTES,
    pb::v1::{self, as_of::Position, watch_events_request::Start},
};
use bytes::Bytes;
use common::{START_US, TestServer, raw, visit_report, visit_report_of};
use prost::Message;
use tonic::Code;
use tonic_types::StatusExt as _;

/// What some clients take of a header block, and no more.
const HEADER_BLOCK: usize = 8 * 1024;

/// A request as bytes, and the refusal it deserves.
struct Bad {
    what: &'static str,
    method: &'static str,
    body: Bytes,
    code: Code,
    reason: &'static str,
    fields: &'static [&'static str],
}

fn bad(
    what: &'static str,
    method: &'static str,
    message: &impl Message,
    reason: &'static str,
    fields: &'static [&'static str],
) -> Bad {
    let code = if reason == "TOO_LARGE" { Code::ResourceExhausted } else { Code::InvalidArgument };
    Bad { what, method, body: raw::framed(&message.encode_to_vec()), code, reason, fields }
}

const FILE: &str = "attache.v1.FilingService/FileReports";
const RETRACT: &str = "attache.v1.FilingService/RetractReports";
const RETRACT_RECORD: &str = "attache.v1.FilingService/RetractRecord";
const RESTORE: &str = "attache.v1.FilingService/RestoreRecord";
const GET: &str = "attache.v1.RegistryService/GetVisit";
const LIST: &str = "attache.v1.RegistryService/ListVisits";
const BATCH: &str = "attache.v1.RegistryService/BatchGetRecords";
const REPORTS: &str = "attache.v1.RegistryService/ListReports";
const SOURCES: &str = "attache.v1.RegistryService/ListSources";
const REVISIONS: &str = "attache.v1.RegistryService/ListRevisions";
const RELATION: &str = "attache.v1.RegistryService/GetRelationship";
const RELATIONS: &str = "attache.v1.RegistryService/ListRelationships";
const EXPLAIN: &str = "attache.v1.RegistryService/ExplainRecord";
const WATCH: &str = "attache.v1.FeedService/WatchEvents";
const EVENTS: &str = "attache.v1.FeedService/ListEvents";
const GET_CURSOR: &str = "attache.v1.FeedService/GetCursor";
const COMMIT_CURSOR: &str = "attache.v1.FeedService/CommitCursor";
const INFO: &str = "attache.v1.LogService/GetLogInfo";

fn filing(reports: Vec<v1::Report>) -> v1::FileReportsRequest {
    v1::FileReportsRequest { reports, ..Default::default() }
}

/// A filing of one visit, changed by `change`.
fn visit(change: impl FnOnce(&mut v1::Visit)) -> v1::FileReportsRequest {
    let mut visit = v1::Visit { hosts: vec![common::side("AZ")], ..Default::default() };
    change(&mut visit);
    filing(vec![visit_report_of("x", "x", visit)])
}

fn list(change: impl FnOnce(&mut v1::ListVisitsRequest)) -> v1::ListVisitsRequest {
    let mut request = v1::ListVisitsRequest::default();
    change(&mut request);
    request
}

fn filter(change: impl FnOnce(&mut v1::Filter)) -> v1::ListVisitsRequest {
    let mut filter = v1::Filter::default();
    change(&mut filter);
    list(|r| r.filters = vec![filter])
}

fn get(change: impl FnOnce(&mut v1::GetVisitRequest)) -> v1::GetVisitRequest {
    let mut request = v1::GetVisitRequest { name: "visits/a".into(), ..Default::default() };
    change(&mut request);
    request
}

fn future() -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: START_US / 1_000_000 + 86_400 * 365, nanos: 0 }
}

fn other_log() -> String {
    Token::at(uuid::Uuid::new_v4(), 0, &GENESIS).encode()
}

fn ruling(change: impl FnOnce(&mut v1::RetractRecordRequest)) -> v1::RetractRecordRequest {
    let source = v1::Source { kind: v1::SourceKind::Editor.into(), ..common::source("editor") };
    let mut request = v1::RetractRecordRequest {
        name: "visits/a".into(),
        reason: v1::RetractionReason::Duplicate.into(),
        source: Some(source),
        ..Default::default()
    };
    change(&mut request);
    request
}

fn filings() -> Vec<Bad> {
    let mut wrong_body = visit_report("x", "x", "KZ", "AZ", "2023");
    wrong_body.record = "meetings/x".into();
    let editor = v1::Source { kind: v1::SourceKind::Editor.into(), ..common::source("x") };
    let unnamed =
        v1::Source { name: "x".into(), publisher: Some(v1::Attribution::default()), kind: 99, ..Default::default() };
    let report = |change: fn(&mut v1::Report)| {
        let mut report = visit_report("x", "x", "KZ", "AZ", "2023");
        change(&mut report);
        filing(vec![report])
    };
    vec![
        bad("nothing to file", FILE, &filing(vec![]), "FIELD_INVALID", &["reports"]),
        bad(
            "a report of a mebibyte",
            FILE,
            &visit(|v| v.note = Some("x".repeat(1 << 20))),
            "TOO_LARGE",
            &["reports[0]"],
        ),
        bad(
            "1001 reports",
            FILE,
            &filing(vec![visit_report("x", "x", "KZ", "AZ", "2023"); 1001]),
            "TOO_LARGE",
            &["reports"],
        ),
        bad(
            "a day that is none",
            FILE,
            &visit(|v| v.start = Some(common::date("2023-02-30"))),
            "FIELD_INVALID",
            &["reports[0].visit.start.edtf"],
        ),
        bad(
            "a time of day",
            FILE,
            &visit(|v| v.start = Some(common::date("2023-10-06T10:00:00Z"))),
            "FIELD_INVALID",
            &["reports[0].visit.start.edtf"],
        ),
        bad(
            "an unknown state",
            FILE,
            &visit(|v| v.guests = vec![common::side("KZ"), common::side("QQ")]),
            "FIELD_INVALID",
            &["reports[0].visit.guests[1].state"],
        ),
        bad(
            "a state in lower case",
            FILE,
            &visit(|v| v.guests = vec![common::side("kz")]),
            "FIELD_INVALID",
            &["reports[0].visit.guests[0].state"],
        ),
        bad(
            "a very long name",
            FILE,
            &report(|r| r.record = format!("visits/{}", "a".repeat(10_000))),
            "FIELD_INVALID",
            &["reports[0].record"],
        ),
        bad(
            "a reserved name",
            FILE,
            &report(|r| r.record = "visits/probe-1".into()),
            "FIELD_INVALID",
            &["reports[0].record"],
        ),
        bad("a body of another kind", FILE, &filing(vec![wrong_body]), "FIELD_INVALID", &["reports[0].visit"]),
        bad(
            "a body of another name",
            FILE,
            &visit(|v| v.name = "visits/y".into()),
            "FIELD_INVALID",
            &["reports[0].visit.name"],
        ),
        bad("no body", FILE, &report(|r| r.content = None), "FIELD_INVALID", &["reports[0]"]),
        bad("no source", FILE, &report(|r| r.source = None), "FIELD_INVALID", &["reports[0].source"]),
        bad(
            "a source that says nothing right",
            FILE,
            &filing(vec![v1::Report { source: Some(unnamed), ..visit_report("x", "x", "KZ", "AZ", "2023") }]),
            "FIELD_INVALID",
            &["reports[0].source.name", "reports[0].source.publisher", "reports[0].source.kind"],
        ),
        bad(
            "a copy of nobody's words",
            FILE,
            &report(|r| r.source.as_mut().unwrap().derived_from = Some("sources/y".into())),
            "FIELD_INVALID",
            &["reports[0].source.origin"],
        ),
        bad(
            "considered without being a ruling",
            FILE,
            &report(|r| r.considered = vec!["named/x".into()]),
            "FIELD_INVALID",
            &["reports[0].considered"],
        ),
        bad(
            "a ruling that considers nothing legible",
            FILE,
            &filing(vec![v1::Report {
                source: Some(editor),
                considered: vec![String::new()],
                ..visit_report("x", "x", "KZ", "AZ", "2023")
            }]),
            "FIELD_INVALID",
            &["reports[0].considered[0]"],
        ),
        bad(
            "an enum value of a later version",
            FILE,
            &visit(|v| v.r#type = 99),
            "FIELD_INVALID",
            &["reports[0].visit.type"],
        ),
        bad(
            "OTHER without words",
            FILE,
            &visit(|v| v.r#type = v1::VisitType::Other.into()),
            "FIELD_INVALID",
            &["reports[0].visit.type_as_stated"],
        ),
        bad(
            "neither person nor name",
            FILE,
            &visit(|v| v.hosts[0].head = Some(v1::PersonRef::default())),
            "FIELD_INVALID",
            &["reports[0].visit.hosts[0].head"],
        ),
        bad(
            "the same report twice",
            FILE,
            &filing(vec![visit_report("x", "x", "KZ", "AZ", "2023"); 2]),
            "FIELD_INVALID",
            &["reports[1]"],
        ),
        bad(
            "the same key twice",
            FILE,
            &visit(|v| v.itinerary = vec![v1::ItineraryItem { key: "k".into(), ..Default::default() }; 2]),
            "FIELD_INVALID",
            &["reports[0].visit.itinerary[1].key"],
        ),
        bad(
            "a range upside down",
            FILE,
            &visit(|v| v.duration_days = Some(v1::IntegerRange { min: Some(3), max: Some(2) })),
            "FIELD_INVALID",
            &["reports[0].visit.duration_days.max"],
        ),
        bad(
            "a list without end",
            FILE,
            &visit(|v| v.mentions = vec!["visits/a".into(); 257]),
            "FIELD_INVALID",
            &["reports[0].visit.mentions"],
        ),
        bad(
            "control characters",
            FILE,
            &visit(|v| v.summary = Some("a\u{7}b".into())),
            "FIELD_INVALID",
            &["reports[0].visit.summary"],
        ),
        bad(
            "a request id that is none",
            FILE,
            &v1::FileReportsRequest { request_id: Some("x".repeat(129)), ..visit(|_| {}) },
            "FIELD_INVALID",
            &["request_id"],
        ),
        bad(
            "an unknown intent",
            FILE,
            &v1::FileReportsRequest { intent: 9, ..visit(|_| {}) },
            "FIELD_INVALID",
            &["intent"],
        ),
        bad(
            "a precondition on nothing",
            FILE,
            &v1::FileReportsRequest { preconditions: vec![v1::ReportPrecondition::default()], ..visit(|_| {}) },
            "FIELD_INVALID",
            &["preconditions[0].report"],
        ),
        bad(
            "nothing chosen to retract",
            RETRACT,
            &v1::RetractReportsRequest { reason: 1, ..Default::default() },
            "FIELD_INVALID",
            &["selection"],
        ),
        bad(
            "no reason",
            RETRACT,
            &v1::RetractReportsRequest {
                selection: Some(v1::retract_reports_request::Selection::Source("sources/a".into())),
                ..Default::default()
            },
            "FIELD_INVALID",
            &["reason"],
        ),
        bad(
            "a report's name that is none",
            RETRACT,
            &v1::RetractReportsRequest {
                selection: Some(v1::retract_reports_request::Selection::Report("visits/a".into())),
                reason: 1,
                ..Default::default()
            },
            "FIELD_INVALID",
            &["report"],
        ),
        bad(
            "a source's name that is none",
            RETRACT,
            &v1::RetractReportsRequest {
                selection: Some(v1::retract_reports_request::Selection::Source("a".into())),
                reason: 1,
                ..Default::default()
            },
            "FIELD_INVALID",
            &["source"],
        ),
        bad(
            "no publisher",
            RETRACT,
            &v1::RetractReportsRequest {
                selection: Some(v1::retract_reports_request::Selection::Publisher(" ".into())),
                reason: 1,
                ..Default::default()
            },
            "FIELD_INVALID",
            &["publisher"],
        ),
        bad("a ruling on nothing", RETRACT_RECORD, &ruling(|r| r.name = "a".into()), "FIELD_INVALID", &["name"]),
        bad("a ruling of nobody", RETRACT_RECORD, &ruling(|r| r.source = None), "FIELD_INVALID", &["source"]),
        bad(
            "a ruling of a reporter",
            RETRACT_RECORD,
            &ruling(|r| r.source = Some(common::source("a"))),
            "FIELD_INVALID",
            &["source.kind"],
        ),
        bad("a ruling without reason", RETRACT_RECORD, &ruling(|r| r.reason = 0), "FIELD_INVALID", &["reason"]),
        bad(
            "a ruling with a novel",
            RETRACT_RECORD,
            &ruling(|r| r.note = Some("x".repeat(4001))),
            "FIELD_INVALID",
            &["note"],
        ),
        bad("restoring nothing", RESTORE, &v1::RestoreRecordRequest::default(), "FIELD_INVALID", &["name"]),
        bad(
            "lifting whose ruling",
            RESTORE,
            &v1::RestoreRecordRequest { name: "visits/a".into(), source: Some("a".into()), ..Default::default() },
            "FIELD_INVALID",
            &["source"],
        ),
    ]
}

fn lookups() -> Vec<Bad> {
    let mask = |paths: &[&str]| Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() });
    let as_of = |position: Option<Position>| Some(v1::AsOf { position });
    vec![
        bad("no name", GET, &get(|r| r.name = String::new()), "FIELD_INVALID", &["name"]),
        bad(
            "a very long name",
            GET,
            &get(|r| r.name = format!("visits/{}", "a".repeat(10_000))),
            "FIELD_INVALID",
            &["name"],
        ),
        bad("a name of another kind", GET, &get(|r| r.name = "meetings/a".into()), "FIELD_INVALID", &["name"]),
        bad(
            "an unknown mask path",
            GET,
            &get(|r| r.read_mask = mask(&["hosts", "capital"])),
            "MASK_INVALID",
            &["read_mask.paths[1]"],
        ),
        bad(
            "a mask path into a text",
            GET,
            &get(|r| r.read_mask = mask(&["summary.first"])),
            "MASK_INVALID",
            &["read_mask.paths[0]"],
        ),
        bad("257 mask paths", GET, &get(|r| r.read_mask = mask(&["summary"; 257])), "TOO_LARGE", &["read_mask"]),
        bad("as of neither", GET, &get(|r| r.as_of = as_of(None)), "FIELD_INVALID", &["as_of"]),
        bad(
            "as of the future",
            GET,
            &get(|r| r.as_of = as_of(Some(Position::Time(future())))),
            "FIELD_INVALID",
            &["as_of.time"],
        ),
        bad(
            "as of no time at all",
            GET,
            &get(|r| r.as_of = as_of(Some(Position::Time(prost_types::Timestamp { seconds: 0, nanos: -1 })))),
            "FIELD_INVALID",
            &["as_of.time"],
        ),
        bad(
            "as of nonsense",
            GET,
            &get(|r| r.as_of = as_of(Some(Position::Token("x".into())))),
            "TOKEN_MALFORMED",
            &["as_of.token"],
        ),
        bad(
            "at least nonsense",
            GET,
            &get(|r| r.at_least = Some("x".repeat(10_000))),
            "TOKEN_MALFORMED",
            &["at_least"],
        ),
        bad("a negative page size", LIST, &list(|r| r.page_size = -1), "FIELD_INVALID", &["page_size"]),
        bad("an unknown order", LIST, &list(|r| r.order_by = 9), "FIELD_INVALID", &["order_by"]),
        bad("a page token of nobody", LIST, &list(|r| r.page_token = "x".into()), "TOKEN_MALFORMED", &["page_token"]),
        bad(
            "a token for a page token",
            LIST,
            &list(|r| r.page_token = other_log()),
            "TOKEN_MALFORMED",
            &["page_token"],
        ),
        bad(
            "an empty filter",
            LIST,
            &list(|r| r.filters = vec![v1::Filter::default()]),
            "FILTER_INVALID",
            &["filters[0]"],
        ),
        bad(
            "ten thousand values",
            LIST,
            &filter(|f| f.states_any = vec!["AZ".into(); 10_000]),
            "TOO_LARGE",
            &["filters[0]"],
        ),
        bad(
            "seventeen filters",
            LIST,
            &list(|r| r.filters = vec![v1::Filter { disputed: Some(true), ..Default::default() }; 17]),
            "TOO_LARGE",
            &["filters"],
        ),
        bad(
            "an unknown state in a filter",
            LIST,
            &filter(|f| f.states_all = vec!["AZ".into(), "Q1".into()]),
            "FILTER_INVALID",
            &["filters[0].states_all[1]"],
        ),
        bad(
            "unspecified in a filter",
            LIST,
            &filter(|f| f.kinds = vec![0, 99]),
            "FILTER_INVALID",
            &["filters[0].kinds[0]", "filters[0].kinds[1]"],
        ),
        bad(
            "a name of another kind in a filter",
            LIST,
            &filter(|f| f.persons = vec!["places/a".into()]),
            "FILTER_INVALID",
            &["filters[0].persons[0]"],
        ),
        bad(
            "a range of nothing",
            LIST,
            &filter(|f| f.occurred = Some(v1::OccurredRange::default())),
            "FILTER_INVALID",
            &["filters[0].occurred"],
        ),
        bad(
            "a range of no dates",
            LIST,
            &filter(|f| {
                f.occurred =
                    Some(v1::OccurredRange { from: "2023-02-30".into(), until: "later".into(), ..Default::default() })
            }),
            "FILTER_INVALID",
            &["filters[0].occurred.from", "filters[0].occurred.until"],
        ),
        bad(
            "a range upside down",
            LIST,
            &filter(|f| {
                f.occurred = Some(v1::OccurredRange { from: "2024".into(), until: "2023".into(), ..Default::default() })
            }),
            "FILTER_INVALID",
            &["filters[0].occurred.until"],
        ),
        bad("no names", BATCH, &v1::BatchGetRecordsRequest::default(), "FIELD_INVALID", &["names"]),
        bad(
            "one wrong name of two",
            BATCH,
            &v1::BatchGetRecordsRequest { names: vec!["visits/a".into(), "b".into()], ..Default::default() },
            "FIELD_INVALID",
            &["names[1]"],
        ),
        bad(
            "a mask that no kind knows",
            BATCH,
            &v1::BatchGetRecordsRequest {
                names: vec!["visits/a".into()],
                read_mask: mask(&["hosts", "nothing"]),
                ..Default::default()
            },
            "MASK_INVALID",
            &["read_mask.paths[1]"],
        ),
        bad("reports of nothing", REPORTS, &v1::ListReportsRequest::default(), "FIELD_INVALID", &["parent"]),
        bad(
            "reports by the negative",
            REPORTS,
            &v1::ListReportsRequest { parent: "visits/a".into(), page_size: i32::MIN, ..Default::default() },
            "FIELD_INVALID",
            &["page_size"],
        ),
        bad(
            "sources of no kind",
            SOURCES,
            &v1::ListSourcesRequest { kinds: vec![1, 0], ..Default::default() },
            "FIELD_INVALID",
            &["kinds[1]"],
        ),
        bad("revisions of nothing", REVISIONS, &v1::ListRevisionsRequest::default(), "FIELD_INVALID", &["name"]),
        bad(
            "a relation of one",
            RELATION,
            &v1::GetRelationshipRequest { states: vec!["AZ".into()], ..Default::default() },
            "FIELD_INVALID",
            &["states"],
        ),
        bad(
            "a relation of one with itself",
            RELATION,
            &v1::GetRelationshipRequest { states: vec!["AZ".into(), "AZ".into()], ..Default::default() },
            "FIELD_INVALID",
            &["states[1]"],
        ),
        bad(
            "a relation of too many",
            RELATION,
            &v1::GetRelationshipRequest { states: vec!["AZ".into(); 9], ..Default::default() },
            "TOO_LARGE",
            &["states"],
        ),
        bad("relations of nobody", RELATIONS, &v1::ListRelationshipsRequest::default(), "FIELD_INVALID", &["state"]),
        bad(
            "relations on no day",
            RELATIONS,
            &v1::ListRelationshipsRequest {
                state: "AZ".into(),
                valid_at: Some("2024-02-30".into()),
                ..Default::default()
            },
            "FIELD_INVALID",
            &["valid_at"],
        ),
        bad("explaining nothing", EXPLAIN, &v1::ExplainRecordRequest::default(), "FIELD_INVALID", &["name"]),
    ]
}

fn watches() -> Vec<Bad> {
    let watch = |start: Start| v1::WatchEventsRequest { start: Some(start), ..Default::default() };
    let nanos = |nanos| Some(prost_types::Duration { seconds: 0, nanos });
    vec![
        bad("after nonsense", WATCH, &watch(Start::After("x".into())), "TOKEN_MALFORMED", &["after"]),
        bad("from the future", WATCH, &watch(Start::FromTime(future())), "FIELD_INVALID", &["from_time"]),
        bad(
            "through nonsense",
            WATCH,
            &v1::WatchEventsRequest {
                until: Some(v1::watch_events_request::Until::Through("x".into())),
                ..Default::default()
            },
            "TOKEN_MALFORMED",
            &["through"],
        ),
        bad(
            "an event of no type",
            WATCH,
            &v1::WatchEventsRequest { event_types: vec![4, 0], ..Default::default() },
            "FIELD_INVALID",
            &["event_types[1]"],
        ),
        bad(
            "progress backwards",
            WATCH,
            &v1::WatchEventsRequest { progress_interval: nanos(-1), ..Default::default() },
            "FIELD_INVALID",
            &["progress_interval"],
        ),
        bad(
            "fewer than no events",
            WATCH,
            &v1::WatchEventsRequest { max_batch_events: -1, ..Default::default() },
            "FIELD_INVALID",
            &["max_batch_events"],
        ),
        bad(
            "fewer than no bytes",
            WATCH,
            &v1::WatchEventsRequest { max_batch_bytes: -1, ..Default::default() },
            "FIELD_INVALID",
            &["max_batch_bytes"],
        ),
        bad(
            "an empty filter",
            WATCH,
            &v1::WatchEventsRequest { filters: vec![v1::Filter::default()], ..Default::default() },
            "FILTER_INVALID",
            &["filters[0]"],
        ),
        bad(
            "an unknown mask path",
            WATCH,
            &v1::WatchEventsRequest {
                read_mask: Some(prost_types::FieldMask { paths: vec!["x".into()] }),
                ..Default::default()
            },
            "MASK_INVALID",
            &["read_mask.paths[0]"],
        ),
        bad(
            "events from the future",
            EVENTS,
            &v1::ListEventsRequest {
                start: Some(v1::list_events_request::Start::FromTime(future())),
                ..Default::default()
            },
            "FIELD_INVALID",
            &["from_time"],
        ),
        bad(
            "events after nonsense",
            EVENTS,
            &v1::ListEventsRequest {
                start: Some(v1::list_events_request::Start::After("x".into())),
                ..Default::default()
            },
            "TOKEN_MALFORMED",
            &["after"],
        ),
        bad(
            "negative pages of events",
            EVENTS,
            &v1::ListEventsRequest { page_size: -5, ..Default::default() },
            "FIELD_INVALID",
            &["page_size"],
        ),
        bad(
            "a cursor with a path",
            GET_CURSOR,
            &v1::GetCursorRequest { name: "a/b".into() },
            "FIELD_INVALID",
            &["name"],
        ),
        bad("a cursor without name", COMMIT_CURSOR, &v1::CommitCursorRequest::default(), "FIELD_INVALID", &["name"]),
        bad(
            "a cursor nowhere",
            COMMIT_CURSOR,
            &v1::CommitCursorRequest { name: "c".into(), ..Default::default() },
            "TOKEN_MALFORMED",
            &["position"],
        ),
    ]
}

/// Bytes that are no message of the contract.
fn bytes() -> Vec<Bad> {
    let of = |what, method, body: Bytes, code, reason, fields| Bad { what, method, body, code, reason, fields };
    // Field 1, a text of two bytes that are not UTF-8.
    let not_utf8 = raw::framed(&[0x0a, 2, 0xff, 0xfe]);
    // The same three levels down: reports[0].visit.summary.
    let visit = [0x22, 2, 0xc3, 0x28];
    let report = [&[0x22, visit.len() as u8][..], &visit].concat();
    let deep = raw::framed(&[&[0x0a, report.len() as u8][..], &report].concat());
    let beyond = u32::try_from(MAX_REQUEST_BYTES).unwrap() + 1;
    let announced: Bytes = [&[0][..], &beyond.to_be_bytes(), b"and then nothing like it"].concat().into();
    let invalid = Code::InvalidArgument;
    vec![
        of("no UTF-8", GET, not_utf8, invalid, "FIELD_INVALID", &["name"]),
        of("no UTF-8 in the depth", FILE, deep, invalid, "FIELD_INVALID", &["reports.content.summary"]),
        of("no protobuf", GET, raw::framed(&[0xff; 40]), invalid, "FIELD_INVALID", &["(message)"]),
        of("a number where a text is", GET, raw::framed(&[0x08, 1]), invalid, "FIELD_INVALID", &["name"]),
        of("half a message", GET, raw::framed(b"").slice(0..3), invalid, "FIELD_INVALID", &["(message)"]),
        of(
            "less than announced",
            GET,
            Bytes::from_static(&[0, 0, 0, 0, 9, 0x0a]),
            invalid,
            "FIELD_INVALID",
            &["(message)"],
        ),
        of("no message at all", INFO, Bytes::new(), invalid, "FIELD_INVALID", &["(message)"]),
        of(
            "a compressed message",
            INFO,
            Bytes::from_static(&[1, 0, 0, 0, 0]),
            invalid,
            "FIELD_INVALID",
            &["(message)"],
        ),
        of("more than four mebibytes", FILE, announced, Code::ResourceExhausted, "TOO_LARGE", &[]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_with_its_field_and_changes_nothing() {
    let server = TestServer::start().await;
    server.file(vec![visit_report("a", "a", "KZ", "AZ", "2023-10-06")]).await;
    let head = async || server.log().get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner().token;
    let before = head().await;
    let mut faults = Vec::new();
    for bad in filings().into_iter().chain(lookups()).chain(watches()).chain(bytes()) {
        let begun = raw::begin(&server.channel, bad.method, &[]).await;
        begun.send(bad.body).await;
        let answer = begun.answer().await;
        let info = answer.status.get_details_error_info();
        let listed = answer.status.get_details_bad_request().map(|b| b.field_violations).unwrap_or_default();
        let fields: Vec<String> = listed.into_iter().map(|v| v.field).collect();
        let reason = info.as_ref().map_or("", |i| i.reason.as_str());
        if (answer.status.code(), reason) != (bad.code, bad.reason) || fields != bad.fields {
            faults.push(format!("{} ({}): {fields:?}, {:?}", bad.what, bad.method, answer.status));
        }
        if answer.header_bytes() > HEADER_BLOCK || !answer.headers.contains_key("x-request-id") {
            faults.push(format!("{}: {} bytes of headers {:?}", bad.what, answer.header_bytes(), answer.headers));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(head().await, before, "the log moved");
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_request_alone() {
    let server = TestServer::start().await;
    let days = ["2023-01-01", "2023-01-02", "2023-01-03"];
    let reports =
        days.iter().enumerate().map(|(i, day)| visit_report(&format!("v{i}"), "a", "KZ", "AZ", day)).collect();
    server.file(reports).await;
    let first = v1::ListVisitsRequest { page_size: 1, ..Default::default() };
    let page_token = server.registry().list_visits(first.clone()).await.unwrap().into_inner().next_page_token;
    let own = v1::ListVisitsRequest { page_token: page_token.clone(), page_size: 2, ..first.clone() };
    assert_eq!(server.registry().list_visits(own.clone()).await.unwrap().into_inner().visits.len(), 2);
    let states_any = vec!["AZ".to_owned()];
    let others = [
        v1::ListVisitsRequest { order_by: v1::OrderBy::Name.into(), ..own.clone() },
        v1::ListVisitsRequest { filters: vec![v1::Filter { states_any, ..Default::default() }], ..own.clone() },
        v1::ListVisitsRequest { at_least: Some(String::new()), ..own.clone() },
        v1::ListVisitsRequest { read_mask: Some(prost_types::FieldMask { paths: vec!["hosts".into()] }), ..own },
    ];
    for other in others {
        let status = server.registry().list_visits(other.clone()).await.unwrap_err();
        assert_eq!(status.get_details_error_info().unwrap().reason, "PAGE_TOKEN_MISMATCH", "{other:?}");
    }
    // Of another list, whose request looks the same on the wire.
    let meetings = v1::ListMeetingsRequest { page_token, ..Default::default() };
    let status = server.registry().list_meetings(meetings).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "PAGE_TOKEN_MISMATCH");
    server.stop().await;
}

#[tokio::test]
async fn a_token_of_another_log_is_refused_wherever_a_token_is_taken() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let reports = || vec![visit_report("a", "a", "KZ", "AZ", "2023-10-06"), visit_report("b", "a", "KZ", "AZ", "2023")];
    server.file(reports()).await;
    let token = other.file(reports()).await.token;
    let first = v1::ListVisitsRequest { page_size: 1, ..Default::default() };
    let page_token = other.registry().list_visits(first).await.unwrap().into_inner().next_page_token;
    let as_of = Some(v1::AsOf { position: Some(Position::Token(token.clone())) });
    let watch = |start| v1::WatchEventsRequest { start, ..Default::default() };
    let through = Some(v1::watch_events_request::Until::Through(token.clone()));
    let after = Some(v1::list_events_request::Start::After(token.clone()));
    let (mut registry, mut feed) = (server.registry(), server.feed());
    let refusals = [
        ("as_of.token", registry.get_visit(v1::GetVisitRequest { as_of, ..get(|_| {}) }).await.map(drop)),
        (
            "at_least",
            registry.get_visit(v1::GetVisitRequest { at_least: Some(token.clone()), ..get(|_| {}) }).await.map(drop),
        ),
        (
            "page_token",
            registry.list_visits(v1::ListVisitsRequest { page_token, ..Default::default() }).await.map(drop),
        ),
        ("after", feed.watch_events(watch(Some(Start::After(token.clone())))).await.map(drop)),
        ("through", feed.watch_events(v1::WatchEventsRequest { until: through, ..watch(None) }).await.map(drop)),
        ("after", feed.list_events(v1::ListEventsRequest { start: after, ..Default::default() }).await.map(drop)),
        (
            "position",
            feed.commit_cursor(v1::CommitCursorRequest { name: "c".into(), position: token, expected_etag: None })
                .await
                .map(drop),
        ),
    ];
    for (field, refused) in refusals {
        let status = refused.expect_err(field);
        assert_eq!(status.code(), Code::FailedPrecondition, "{field}: {status:?}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "LOG_REPLACED", "{field}");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
        assert!(status.get_details_precondition_failure().is_some(), "{field}");
    }
}

#[tokio::test]
async fn twenty_violations_are_told_of_a_hundred_and_fit_every_header_block() {
    let server = TestServer::start().await;
    // Each wrong in one field, with as many bytes in the complaint as can be provoked.
    let wrong = |i: usize| {
        let state = "\u{1F54A}".repeat(1000);
        let honours = vec![v1::Honour { person: Some(state), name_as_stated: "x".into() }];
        let itinerary = vec![v1::ItineraryItem { honours, ..Default::default() }];
        visit_report_of(&format!("v{i}"), "x", v1::Visit { itinerary, ..Default::default() })
    };
    let body = raw::framed(&filing((0..100).map(wrong).collect()).encode_to_vec());
    let answer = raw::call(&server.channel, FILE, body, &[]).await;
    let listed = answer.status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(listed.len(), 20);
    assert_eq!(listed[19].field, "reports[19].visit.itinerary[0].honours[0].person");
    assert!(listed.iter().all(|v| !v.description.is_empty()));
    assert!(answer.status.message().len() > 100, "{}", answer.status.message());
    assert!(answer.header_bytes() < HEADER_BLOCK, "{}", answer.header_bytes());
    // What is left out is counted.
    let short = filing((0..100).map(|_| v1::Report::default()).collect());
    let status = server.filing().file_reports(short).await.unwrap_err();
    assert!(status.message().ends_with("and 299 more"), "{}", status.message());
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_before_it_is_read() {
    let server = TestServer::start().await;
    let begun = raw::begin(&server.channel, FILE, &[]).await;
    begun.send(Bytes::from_static(&[0, 0x7f, 0xff, 0xff, 0xff])).await;
    // Nothing but the length has been sent, and the body is still open.
    let answer = begun.early_answer().await;
    let info = answer.status.get_details_error_info().unwrap();
    assert_eq!((answer.status.code(), info.reason.as_str()), (Code::ResourceExhausted, "TOO_LARGE"));
    assert_eq!(info.metadata["limit"], MAX_REQUEST_BYTES.to_string());
    server.stop().await;
}

#[tokio::test]
async fn every_answer_carries_a_request_id_the_callers_if_there_is_one() {
    let server = TestServer::start().await;
    let id = |answer: &raw::Answer| answer.headers["x-request-id"].to_str().unwrap().to_owned();
    let none = raw::framed(b"");
    for method in [INFO, GET, "attache.v1.LogService/Nothing", "grpc.health.v1.Health/Check", LIST] {
        let given = raw::call(&server.channel, method, none.clone(), &[("x-request-id", "my-own.1")]).await;
        assert_eq!(id(&given), "my-own.1", "{method}");
        let (one, other) = (
            raw::call(&server.channel, method, none.clone(), &[]).await,
            raw::call(&server.channel, method, none.clone(), &[]).await,
        );
        assert!(!id(&one).is_empty() && id(&one) != id(&other), "{method}");
    }
    // One that would not fit a line of the log is not taken over.
    let long = "x".repeat(129);
    let answer = raw::call(&server.channel, INFO, none, &[("x-request-id", &long)]).await;
    assert_ne!(id(&answer), long);
    server.stop().await;
}
