//! Lookups: what is found, in what order, as of when, page by page.

mod common;

use std::{collections::BTreeSet, sync::Arc};

use attache::{
    domain::{
        name::{KINDS, collection},
        token::Token,
    },
    pb::{
        self,
        v1::{
            self, EventType, ExerciseRole, Instrument, OrderBy, RecordKind, SourceKind, Topic, Verdict, VisitLevel,
            VisitType, report::Content,
        },
    },
    serve::Parts,
};
use common::{
    FakeClock, START_US, TestServer,
    ask::{self, Listed, as_of, as_of_time, reason, text},
    config, date, shared_log, side, source, visit_report, visit_report_of,
};

fn report(record: &str, source_id: &str, content: Content) -> v1::Report {
    v1::Report { record: record.into(), source: Some(source(source_id)), content: Some(content), ..Default::default() }
}

fn visit(id: &str, host: &str, guests: &[&str], start: &str, change: impl FnOnce(&mut v1::Visit)) -> v1::Report {
    let guests = guests.iter().map(|g| side(g)).collect();
    let start = (!start.is_empty()).then(|| date(start));
    let mut visit = v1::Visit { hosts: vec![side(host)], guests, start, ..Default::default() };
    change(&mut visit);
    visit_report_of(id, "a", visit)
}

fn meeting(id: &str, hosts: &[&str], participants: &[&str], start: &str, topics: Vec<i32>) -> v1::Report {
    let sides = |states: &[&str]| states.iter().map(|s| side(s)).collect();
    let meeting = v1::Meeting {
        hosts: sides(hosts),
        participants: sides(participants),
        start: Some(date(start)),
        topics,
        ..Default::default()
    };
    report(&format!("meetings/{id}"), "a", Content::Meeting(meeting))
}

fn agreement(id: &str, parties: &[&str], instrument: Instrument, signed: &str) -> v1::Report {
    let parties = parties.iter().map(|s| v1::Party { state: (*s).into(), organization: None }).collect();
    let signed = (!signed.is_empty()).then(|| v1::AgreementAction {
        r#type: v1::ActionType::Signed.into(),
        date: Some(date(signed)),
        ..Default::default()
    });
    let agreement = v1::Agreement {
        parties,
        instrument: instrument.into(),
        actions: signed.into_iter().collect(),
        ..Default::default()
    };
    report(&format!("agreements/{id}"), "a", Content::Agreement(agreement))
}

fn exercise(
    id: &str,
    roles: &[(&str, ExerciseRole)],
    domains: &[v1::Domain],
    change: impl FnOnce(&mut v1::Exercise),
) -> v1::Report {
    let participant = |(state, role): &(&str, ExerciseRole)| v1::ExerciseParticipant {
        state: (*state).into(),
        role: (*role).into(),
        ..Default::default()
    };
    let mut exercise = v1::Exercise {
        participants: roles.iter().map(participant).collect(),
        domains: domains.iter().map(|d| (*d).into()).collect(),
        ..Default::default()
    };
    change(&mut exercise);
    report(&format!("exercises/{id}"), "a", Content::Exercise(exercise))
}

fn person(id: &str, state: Option<&str>, organization: Option<&str>) -> v1::Report {
    let posting = v1::Posting {
        post: "Minister".into(),
        state: state.map(Into::into),
        organization: organization.map(Into::into),
        ..Default::default()
    };
    let person = v1::Person { postings: vec![posting], ..Default::default() };
    report(&format!("persons/{id}"), "a", Content::Person(person))
}

/// Twenty-one records of every kind, which differ in what filters ask for.
fn data() -> Vec<v1::Report> {
    let conflicting =
        |id: &str, day: &str| v1::Report { source: Some(source(id)), ..visit("v5", "AZ", &["KZ"], day, |_| {}) };
    vec![
        visit("v1", "AZ", &["KZ"], "2023-10-06", |v| {
            v.r#type = VisitType::Official.into();
            v.level = VisitLevel::Minister.into();
            v.topics = vec![Topic::MilitaryCooperation.into(), Topic::Cyber.into()];
            v.guests[0].organization = Some("organizations/o1".into());
            v.guests[0].head = Some(v1::PersonRef { person: Some("persons/p1".into()), ..Default::default() });
            v.places = vec![v1::PlaceRef { place: Some("places/l1".into()), as_stated: None }];
        }),
        visit("v2", "KZ", &["AZ"], "2024-06", |v| {
            v.r#type = VisitType::Working.into();
            v.level = VisitLevel::Expert.into();
            v.topics = vec![Topic::Peacekeeping.into()];
        }),
        visit("v3", "TR", &["AZ", "GE"], "2022-12-30", |v| v.end = Some(date("2023-01-02"))),
        visit("v4", "AZ", &["UZ"], "", |_| {}),
        conflicting("a", "2023-03-01"),
        conflicting("b", "2023-04-01"),
        meeting("m1", &["AZ"], &["KZ", "TR"], "2024-01-15", vec![Topic::Cyber.into()]),
        meeting("m2", &[], &["KZ"], "2023", vec![]),
        agreement("a1", &["AZ", "KZ"], Instrument::Treaty, "2023-10-06"),
        agreement("a2", &["AZ", "GE"], Instrument::MemorandumOfUnderstanding, "2021"),
        agreement("a3", &["SUHH"], Instrument::Treaty, ""),
        exercise(
            "e1",
            &[("AZ", ExerciseRole::Host), ("KZ", ExerciseRole::Participant), ("TR", ExerciseRole::Observer)],
            &[v1::Domain::Maritime],
            |e| e.planned_start = Some(date("2023-09")),
        ),
        exercise("e2", &[("KZ", ExerciseRole::Host)], &[v1::Domain::Air, v1::Domain::Land], |e| {
            e.planned_start = Some(date("2023-05-01"));
            e.start = Some(date("2024-05-01"));
            e.end = Some(date("2024-05-10"));
        }),
        exercise("e3", &[("RU", ExerciseRole::Observer)], &[], |_| {}),
        person("p1", Some("AZ"), Some("organizations/o1")),
        person("p2", Some("KZ"), None),
        person("p3", None, None),
        report(
            "organizations/o1",
            "a",
            Content::Organization(v1::Organization { state: Some("AZ".into()), ..Default::default() }),
        ),
        report(
            "organizations/o2",
            "a",
            Content::Organization(v1::Organization {
                state: Some("KZ".into()),
                parent: Some("organizations/o1".into()),
                ..Default::default()
            }),
        ),
        report("places/l1", "a", Content::Place(v1::Place { state: Some("AZ".into()), ..Default::default() })),
        report(
            "places/l2",
            "a",
            Content::Place(v1::Place {
                state: Some("KZ".into()),
                within: Some("places/l1".into()),
                ..Default::default()
            }),
        ),
        report("places/l3", "a", Content::Place(v1::Place { kind: v1::PlaceKind::City.into(), ..Default::default() })),
    ]
}

const ALL: &str = "v1 v2 v3 v4 v5 m1 m2 a1 a2 a3 e1 e2 e3 p1 p2 p3 o1 o2 l1 l2 l3";

/// One filter, as JSON reads it, and the ids that it selects.
const FILTERS: &[(&str, &str)] = &[
    (r#"{"kinds": ["RECORD_KIND_VISIT"]}"#, "v1 v2 v3 v4 v5"),
    (r#"{"kinds": ["RECORD_KIND_PERSON", "RECORD_KIND_PLACE"]}"#, "p1 p2 p3 l1 l2 l3"),
    (r#"{"names": ["visits/v2", "places/l3", "visits/v9"]}"#, "v2 l3"),
    (r#"{"statesAny": ["GE"]}"#, "v3 a2"),
    (r#"{"statesAny": ["GE", "UZ"]}"#, "v3 v4 a2"),
    (r#"{"statesAny": ["SUHH"]}"#, "a3"),
    (r#"{"statesAll": ["AZ", "KZ"]}"#, "v1 v2 v5 m1 a1 e1"),
    (r#"{"statesAll": ["AZ", "KZ", "TR"]}"#, "m1"),
    (r#"{"statesOnly": ["AZ", "KZ"]}"#, "v1 v2 v5 m2 a1 e1 e2 p1 p2 o1 o2 l1 l2"),
    (r#"{"statesOnly": ["KZ"]}"#, "m2 e2 p2 o2 l2"),
    (r#"{"observerStates": ["TR"]}"#, "e1"),
    (r#"{"observerStates": ["RU", "TR"]}"#, "e1 e3"),
    (r#"{"hosts": ["AZ"]}"#, "v1 v4 v5 m1 e1"),
    (r#"{"hosts": ["KZ", "TR"]}"#, "v2 v3 e2"),
    (r#"{"guests": ["AZ"]}"#, "v2 v3"),
    (r#"{"topics": ["TOPIC_CYBER"]}"#, "v1 m1"),
    (r#"{"topics": ["TOPIC_CYBER", "TOPIC_PEACEKEEPING"]}"#, "v1 v2 m1"),
    (r#"{"visitTypes": ["VISIT_TYPE_OFFICIAL"]}"#, "v1"),
    (r#"{"visitLevels": ["VISIT_LEVEL_EXPERT", "VISIT_LEVEL_MINISTER"]}"#, "v1 v2"),
    (r#"{"instruments": ["INSTRUMENT_TREATY"]}"#, "a1 a3"),
    (r#"{"exerciseDomains": ["DOMAIN_LAND"]}"#, "e2"),
    (r#"{"exerciseDomains": ["DOMAIN_MARITIME", "DOMAIN_AIR"]}"#, "e1 e2"),
    (r#"{"persons": ["persons/p1"]}"#, "v1"),
    (r#"{"organizations": ["organizations/o1"]}"#, "v1 p1 o2"),
    (r#"{"places": ["places/l1"]}"#, "v1 l2"),
    (r#"{"disputed": true}"#, "v5"),
    (r#"{"disputed": false, "statesAll": ["AZ", "KZ"]}"#, "v1 v2 m1 a1 e1"),
    // On the registry's day, 2024-01-02. What has begun and whose end nobody states may be underway still.
    (r#"{"statuses": ["STATUS_UNDERWAY"]}"#, "v1 v5 m2 e1"),
    (r#"{"statuses": ["STATUS_CONCLUDED", "STATUS_ANNOUNCED"]}"#, "v3 e2"),
    (r#"{"statuses": ["STATUS_UNKNOWN"]}"#, "v2 v4 m1 e3"),
    (r#"{"agreementStatuses": ["AGREEMENT_STATUS_SIGNED"]}"#, "a1 a2"),
    (r#"{"agreementStatuses": ["AGREEMENT_STATUS_UNKNOWN", "AGREEMENT_STATUS_IN_FORCE"]}"#, "a3"),
    (r#"{"statuses": ["STATUS_UNDERWAY"], "hosts": ["AZ"]}"#, "v1 v5 e1"),
    // Dates: "maybe" matches, unless it must be certain; what has no date never does.
    (r#"{"occurred": {"from": "2023-10-06", "until": "2023-10-06"}}"#, "v1 m2 a1"),
    (r#"{"occurred": {"from": "2023-10-06", "until": "2023-10-06", "definiteOnly": true}}"#, "v1 a1"),
    (r#"{"occurred": {"from": "2023", "until": "2023"}}"#, "v1 v3 v5 m2 a1 e1"),
    (r#"{"occurred": {"from": "2023", "until": "2023", "definiteOnly": true}}"#, "v1 v5 m2 a1 e1"),
    (r#"{"occurred": {"from": "2024"}}"#, "v2 m1 e2"),
    (r#"{"occurred": {"until": "2022"}}"#, "v3 a2"),
    (r#"{"occurred": {"until": "2022", "definiteOnly": true}}"#, "a2"),
    (r#"{"occurred": {"from": "2024-06-15", "until": "2024-06-20"}}"#, "v2"),
    (r#"{"occurred": {"from": "2024-06-15", "until": "2024-06-20", "definiteOnly": true}}"#, ""),
    (r#"{"occurred": {"from": "1900", "until": "2100"}}"#, "v1 v2 v3 v5 m1 m2 a1 a2 e1 e2"),
    // Nothing here is a probe.
    (r#"{"includeProbes": true, "hosts": ["AZ"], "statesAll": ["AZ", "KZ"], "kinds": ["RECORD_KIND_VISIT"]}"#, "v1 v5"),
    // Fields are ANDed.
    (r#"{"kinds": ["RECORD_KIND_VISIT"], "statesAll": ["AZ", "KZ"], "hosts": ["AZ"]}"#, "v1 v5"),
    (r#"{"statesAny": ["KZ"], "topics": ["TOPIC_CYBER"], "occurred": {"from": "2024"}}"#, "m1"),
    (r#"{"hosts": ["AZ"], "guests": ["AZ"]}"#, ""),
];

fn filter(json: &str) -> v1::Filter {
    pb::from_json("Filter", json).unwrap_or_else(|e| panic!("{e}: {json}"))
}

/// The names that ids of the data stand for.
fn named(ids: &str) -> BTreeSet<String> {
    let kind = |id: &str| match id.as_bytes()[0] {
        b'v' => RecordKind::Visit,
        b'm' => RecordKind::Meeting,
        b'a' => RecordKind::Agreement,
        b'e' => RecordKind::Exercise,
        b'p' => RecordKind::Person,
        b'o' => RecordKind::Organization,
        _ => RecordKind::Place,
    };
    ids.split_whitespace().map(|id| format!("{}/{id}", collection(kind(id)))).collect()
}

/// Everything of every kind that filters select.
async fn selected(server: &TestServer, filters: &[v1::Filter]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for kind in KINDS {
        let request = v1::ListVisitsRequest { filters: filters.to_vec(), ..Default::default() };
        names.extend(ask::list(server, kind, &request).await.unwrap().names());
    }
    names
}

async fn head(server: &TestServer) -> String {
    server.log().get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner().token
}

fn get_request(name: &str) -> v1::GetVisitRequest {
    v1::GetVisitRequest { name: name.into(), ..Default::default() }
}

#[tokio::test]
async fn every_kind_is_got_listed_and_fetched_in_a_batch() {
    let server = TestServer::start().await;
    let filed = server.file(data()).await;
    assert_eq!(selected(&server, &[]).await, named(ALL));
    for kind in KINDS {
        let listed = ask::list(&server, kind, &v1::ListVisitsRequest::default()).await.unwrap();
        assert_eq!(listed.token, filed.token);
        for record in &listed.records {
            let (got, token) = ask::get(&server, kind, &get_request(&text(record, "name"))).await.unwrap();
            assert_eq!((&got, &token), (record, &filed.token));
        }
    }
    let asked =
        ["places/l2", "visits/nobody", "persons/p1", "visits/v1", "meetings/nobody", "persons/p1", "agreements/a1"];
    let request =
        v1::BatchGetRecordsRequest { names: asked.iter().map(ToString::to_string).collect(), ..Default::default() };
    let batch = server.registry().batch_get_records(request).await.unwrap().into_inner();
    let names: Vec<_> = batch.records.iter().map(attache::domain::record::name_of).collect();
    assert_eq!(names, ["places/l2", "persons/p1", "visits/v1", "persons/p1", "agreements/a1"]);
    assert_eq!(batch.missing, ["visits/nobody", "meetings/nobody"]);
    server.stop().await;
}

#[tokio::test]
async fn each_filter_selects_what_it_says() {
    let server = TestServer::start().await;
    server.file(data()).await;
    for (json, ids) in FILTERS {
        assert_eq!(selected(&server, &[filter(json)]).await, named(ids), "{json}");
    }
    // Filters are ORed, each pair of neighbours.
    for pair in FILTERS.windows(2) {
        let either: BTreeSet<String> = named(pair[0].1).union(&named(pair[1].1)).cloned().collect();
        assert_eq!(selected(&server, &[filter(pair[0].0), filter(pair[1].0)]).await, either, "{pair:?}");
    }
    // Every field of the contract's filter is in the table.
    for field in pb::descriptor("Filter").fields() {
        assert!(FILTERS.iter().any(|(json, _)| json.contains(&format!("{:?}", field.json_name()))), "{}", field.name());
    }
    server.stop().await;
}

/// A visit as the orders see it: its name, its first and last day if it has any, and the revision that changed it.
type Sortable = (String, Option<(&'static str, &'static str)>, u64);

/// Visits with equal days, without days, with wide days, each filed on its own.
async fn sortable(server: &TestServer) -> Vec<Sortable> {
    let days = [
        ("d", "2023-05-05", Some(("2023-05-05", "2023-05-05"))),
        ("b", "2023-05-05", Some(("2023-05-05", "2023-05-05"))),
        ("f", "", None),
        ("a", "2023", Some(("2023-01-01", "2023-12-31"))),
        ("c", "2023-05", Some(("2023-05-01", "2023-05-31"))),
        ("e", "", None),
        ("h", "1999-01-01", Some(("1999-01-01", "1999-01-01"))),
        ("g", "2023-12-31", Some(("2023-12-31", "2023-12-31"))),
        ("i", "2024-01-01", Some(("2024-01-01", "2024-01-01"))),
    ];
    let mut sortable = Vec::new();
    for (id, day, span) in days {
        let filed = server.file(vec![visit(id, "AZ", &["KZ"], day, |_| {})]).await;
        sortable.push((format!("visits/{id}"), span, filed.revision));
    }
    sortable
}

const ORDERS: [OrderBy; 4] = [OrderBy::OccurredDesc, OrderBy::OccurredAsc, OrderBy::Name, OrderBy::UpdateTimeDesc];

fn sorted(mut visits: Vec<Sortable>, order: OrderBy) -> Vec<String> {
    visits.sort();
    match order {
        // A stable sort keeps names in order where days are equal.
        OrderBy::OccurredDesc | OrderBy::Unspecified => {
            visits.sort_by_key(|(_, days, _)| std::cmp::Reverse(days.map(|(_, last)| last)))
        }
        OrderBy::OccurredAsc => visits.sort_by_key(|(_, days, _)| days.map_or("9999", |(first, _)| first)),
        OrderBy::UpdateTimeDesc => visits.sort_by_key(|(_, _, revision)| std::cmp::Reverse(*revision)),
        OrderBy::Name => {}
    }
    visits.into_iter().map(|(name, ..)| name).collect()
}

fn ordered(order: OrderBy) -> v1::ListVisitsRequest {
    v1::ListVisitsRequest { order_by: order.into(), ..Default::default() }
}

#[tokio::test]
async fn lists_are_in_the_order_that_was_asked_for() {
    let server = TestServer::start().await;
    let visits = sortable(&server).await;
    for order in ORDERS.into_iter().chain([OrderBy::Unspecified]) {
        let listed = ask::list(&server, RecordKind::Visit, &ordered(order)).await.unwrap();
        assert_eq!(listed.names(), sorted(visits.clone(), order), "{order:?}");
    }
    // Two that one revision changed: by name.
    server.file(vec![visit("z", "AZ", &["KZ"], "", |_| {}), visit("y", "AZ", &["KZ"], "", |_| {})]).await;
    let listed = ask::list(&server, RecordKind::Visit, &ordered(OrderBy::UpdateTimeDesc)).await.unwrap();
    assert_eq!(listed.names()[..3], ["visits/y", "visits/z", "visits/i"]);
    server.stop().await;
}

#[tokio::test]
async fn pages_never_shift_whatever_is_filed_between_them() {
    let server = TestServer::start().await;
    let visits = sortable(&server).await;
    let mut round = 0;
    for order in ORDERS {
        for size in 1..=visits.len() + 1 {
            let whole = ask::list(&server, RecordKind::Visit, &ordered(order)).await.unwrap();
            let (mut page, mut gathered) = (ordered(order), Vec::new());
            page.page_size = i32::try_from(size).unwrap();
            loop {
                let Listed { records, next, token } = ask::list(&server, RecordKind::Visit, &page).await.unwrap();
                assert!(records.len() <= usize::try_from(page.page_size).unwrap());
                assert_eq!(token, whole.token, "pages stay at the first page's position");
                gathered.extend(records);
                if next.is_empty() {
                    break;
                }
                round += 1;
                disturb(&server, &whole.names(), round).await;
                page.page_token = next;
                // Only the size may change between pages, so it does.
                page.page_size = page.page_size % 3 + 1;
            }
            assert_eq!(gathered, whole.records, "{order:?} by {size}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_page_has_a_thousand_elements_at_most_however_many_are_asked_for() {
    let server = TestServer::start().await;
    for filing in 0..11 {
        let visits = (0..91).map(|n| visit(&format!("v{filing}-{n}"), "AZ", &["KZ"], "", |_| {}));
        server.file(visits.collect()).await;
    }
    // (Of events: to read a record costs so much that a page of records ends before.)
    for page_size in [1001, i32::MAX] {
        let request = v1::ListEventsRequest { page_size, ..Default::default() };
        let first = server.feed().list_events(request.clone()).await.unwrap().into_inner();
        assert_eq!(first.events.len(), 1000, "{page_size} are asked for");
        let rest = v1::ListEventsRequest { page_token: first.next_page_token, ..request };
        let rest = server.feed().list_events(rest).await.unwrap().into_inner();
        assert!(!rest.events.is_empty(), "the rest is on the next page");
    }
    server.stop().await;
}

/// Adds, alters and retracts, so that whatever is paged through has changed.
async fn disturb(server: &TestServer, names: &[String], round: usize) {
    let victim = &names[round % names.len()];
    let id = victim.trim_start_matches("visits/");
    match round % 3 {
        0 => {
            let day = format!("20{:02}-01-01", 10 + round % 30);
            server.file(vec![visit(id, "AZ", &["KZ"], &day, |v| v.summary = Some(format!("round {round}")))]).await;
        }
        1 => {
            let day = format!("20{:02}", 10 + round % 30);
            server.file(vec![visit(&format!("m{}", round % 5), "KZ", &["AZ"], &day, |_| {})]).await;
        }
        _ => {
            let selection = Some(v1::retract_reports_request::Selection::Report(format!("{victim}/reports/a")));
            let reason = v1::RetractionReason::FilerError.into();
            // It may be retracted already; filing brings it back in another round.
            let _ = server
                .filing()
                .retract_reports(v1::RetractReportsRequest { selection, reason, ..Default::default() })
                .await;
        }
    }
}

/// A record that was recorded, altered, and retracted: the token and time of each revision.
async fn history(server: &TestServer) -> Vec<(String, prost_types::Timestamp)> {
    server.file(vec![visit("x", "AZ", &["KZ"], "2023-01-01", |_| {})]).await;
    server.file(vec![visit("x", "AZ", &["KZ"], "2023-02-02", |_| {})]).await;
    let selection = Some(v1::retract_reports_request::Selection::Source("sources/a".into()));
    let reason = v1::RetractionReason::SourceWithdrawn.into();
    server
        .filing()
        .retract_reports(v1::RetractReportsRequest { selection, reason, ..Default::default() })
        .await
        .unwrap();
    let request = v1::ListRevisionsRequest { name: "visits/x".into(), ..Default::default() };
    let revisions = server.registry().list_revisions(request).await.unwrap().into_inner().revisions;
    revisions.into_iter().map(|r| (r.token, r.time.unwrap())).collect()
}

/// The day of `visits/x` as get, list, batch and explain know it at one position; `None` is retracted.
async fn known(server: &TestServer, as_of: Option<v1::AsOf>) -> Option<String> {
    let day = |v: &v1::Visit| v.start.as_ref().unwrap().edtf.clone();
    let request = v1::GetVisitRequest { as_of: as_of.clone(), ..get_request("visits/x") };
    let got = match server.registry().get_visit(request).await {
        Ok(got) => Some(day(got.get_ref().visit.as_ref().unwrap())),
        Err(status) => {
            assert_eq!(reason(&status), "RECORD_RETRACTED");
            None
        }
    };
    let request = v1::ListVisitsRequest { as_of: as_of.clone(), ..Default::default() };
    let listed = server.registry().list_visits(request).await.unwrap().into_inner();
    assert_eq!(listed.visits.first().map(day), got);
    let request =
        v1::BatchGetRecordsRequest { names: vec!["visits/x".into()], as_of: as_of.clone(), ..Default::default() };
    let batch = server.registry().batch_get_records(request).await.unwrap().into_inner();
    assert_eq!((batch.records.len(), batch.missing.len()), if got.is_some() { (1, 0) } else { (0, 1) });
    let request = v1::ListReportsRequest { parent: "visits/x".into(), as_of: as_of.clone(), ..Default::default() };
    let reports = server.registry().list_reports(request).await.unwrap().into_inner();
    assert_eq!(reports.reports.len(), batch.records.len());
    let explained = server
        .registry()
        .explain_record(v1::ExplainRecordRequest { name: "visits/x".into(), as_of, at_least: None })
        .await;
    match explained {
        Ok(explained) => {
            let fields = explained.into_inner().fields;
            let start = fields.iter().find(|f| f.path == "start").unwrap();
            assert!(format!("{:?}", start.value).contains(got.as_ref().unwrap()), "{start:?}");
        }
        Err(status) => assert_eq!((reason(&status).as_str(), &got), ("RECORD_RETRACTED", &None)),
    }
    assert_eq!(reports.token, listed.token);
    got
}

#[tokio::test]
async fn the_past_is_answered_as_it_was_known_then() {
    let server = TestServer::start().await;
    let history = history(&server).await;
    let days = [Some("2023-01-01".to_owned()), Some("2023-02-02".to_owned()), None];
    for ((token, time), day) in history.iter().zip(&days) {
        assert_eq!(known(&server, as_of(token)).await, *day, "{token}");
        // Inclusive, and true until the next.
        assert_eq!(known(&server, as_of_time(*time)).await, *day, "{time:?}");
        let later = prost_types::Timestamp { nanos: time.nanos + 1000, ..*time };
        assert_eq!(known(&server, as_of_time(later)).await, *day, "{later:?}");
    }
    assert_eq!(known(&server, None).await, None);
    server.stop().await;
}

#[tokio::test]
async fn a_time_before_the_log_and_one_in_the_future_are_refused_wherever_a_time_is_taken() {
    let server = TestServer::start().await;
    history(&server).await;
    let (before, after) =
        (attache::clock::timestamp(START_US - 1), attache::clock::timestamp(START_US + 365 * 86_400_000_000));
    for (time, expected) in [(before, "HISTORY_TRIMMED"), (after, "FIELD_INVALID")] {
        let (as_of, mut registry) = (as_of_time(time), server.registry());
        let names = vec!["visits/x".to_owned()];
        let refusals = [
            registry.get_visit(v1::GetVisitRequest { as_of: as_of.clone(), ..get_request("visits/x") }).await.map(drop),
            registry.list_visits(v1::ListVisitsRequest { as_of: as_of.clone(), ..Default::default() }).await.map(drop),
            registry
                .batch_get_records(v1::BatchGetRecordsRequest { names, as_of: as_of.clone(), ..Default::default() })
                .await
                .map(drop),
            registry
                .explain_record(v1::ExplainRecordRequest {
                    name: "visits/x".into(),
                    as_of: as_of.clone(),
                    at_least: None,
                })
                .await
                .map(drop),
            registry
                .list_reports(v1::ListReportsRequest {
                    parent: "visits/x".into(),
                    as_of: as_of.clone(),
                    ..Default::default()
                })
                .await
                .map(drop),
            registry.list_sources(v1::ListSourcesRequest { as_of, ..Default::default() }).await.map(drop),
        ];
        for refused in refusals {
            assert_eq!(reason(&refused.unwrap_err()), expected);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_record_that_is_retracted_names_the_last_token_at_which_it_stood() {
    use tonic_types::StatusExt as _;
    let server = TestServer::start().await;
    history(&server).await;
    let status = server.registry().get_visit(get_request("visits/x")).await.unwrap_err();
    let last = status.get_details_error_info().unwrap().metadata["last_token"].clone();
    let request = v1::GetVisitRequest { as_of: as_of(&last), ..get_request("visits/x") };
    let stood = server.registry().get_visit(request).await.unwrap().into_inner().visit.unwrap();
    assert_eq!(stood.start.unwrap().edtf, "2023-02-02");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_waits_for_the_token_that_a_client_has_seen() {
    let log = shared_log::SharedLog::default();
    let start = || {
        TestServer::with(
            config(),
            Parts { journal: Arc::new(log.clone()), clock: Arc::new(FakeClock::default()), ..Parts::default() },
        )
    };
    let (one, other) = (start().await, start().await);
    for round in 0..20 {
        let name = format!("visits/r{round}");
        let token = one.file(vec![visit(&format!("r{round}"), "AZ", &["KZ"], "2023", |_| {})]).await.token;
        let at_least = Some(token.clone());
        let request = v1::GetVisitRequest { at_least: at_least.clone(), ..get_request(&name) };
        assert_eq!(other.registry().get_visit(request).await.unwrap().into_inner().token, token);
        let request = v1::ListVisitsRequest { at_least, page_size: 1000, ..Default::default() };
        assert_eq!(other.registry().list_visits(request).await.unwrap().into_inner().visits.len(), round + 1);
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_read_mask_returns_what_it_names_and_the_name() {
    let server = TestServer::start().await;
    server.file(data()).await;
    let mask = |paths: &[&str]| Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() });
    let masked = async |paths: &[&str]| {
        let request = v1::GetVisitRequest { read_mask: mask(paths), ..get_request("visits/v1") };
        server.registry().get_visit(request).await.unwrap().into_inner().visit.unwrap()
    };
    let whole = masked(&[]).await;
    assert!(whole.info.is_some() && whole.places.len() == 1);
    assert_eq!(masked(&["*"]).await, whole);
    assert_eq!(masked(&["topics", "*"]).await, whole);
    assert_eq!(
        masked(&["topics"]).await,
        v1::Visit { name: whole.name.clone(), topics: whole.topics.clone(), ..Default::default() }
    );
    let states = masked(&["guests.state", "info.etag"]).await;
    assert_eq!((states.guests[0].clone(), states.info.unwrap().etag), (side("KZ"), whole.info.unwrap().etag));
    assert!(states.hosts.is_empty());
    assert_eq!(masked(&["guests.head", "guests"]).await.guests, whole.guests, "a whole field outweighs its parts");
    assert_eq!(masked(&["name"]).await, v1::Visit { name: "visits/v1".into(), ..Default::default() });

    let request = v1::ListVisitsRequest { read_mask: mask(&["start"]), ..Default::default() };
    let listed = server.registry().list_visits(request).await.unwrap().into_inner().visits;
    assert!(listed.iter().all(|v| !v.name.is_empty() && v.hosts.is_empty() && v.info.is_none()));
    // Paths that only some of the kinds know.
    let names = vec!["visits/v1".to_owned(), "persons/p1".to_owned()];
    let request =
        v1::BatchGetRecordsRequest { names, read_mask: mask(&["hosts", "postings.post"]), ..Default::default() };
    let batch = server.registry().batch_get_records(request).await.unwrap().into_inner().records;
    let [Some(v1::record::Kind::Visit(visit)), Some(v1::record::Kind::Person(person))] =
        [&batch[0].kind, &batch[1].kind]
    else {
        panic!()
    };
    assert_eq!((visit.hosts.len(), visit.guests.len()), (1, 0));
    assert_eq!(person.postings[0], v1::Posting { post: "Minister".into(), ..Default::default() });
    server.stop().await;
}

/// A source of a kind, published on a day.
fn kind_of_source(id: &str, kind: SourceKind, published: &str) -> v1::Source {
    let published = (!published.is_empty()).then(|| published.to_owned());
    v1::Source { kind: kind.into(), published, ..source(id) }
}

#[tokio::test]
async fn reports_stand_in_rank_order_and_withdrawn_versions_in_the_order_of_recording() {
    let server = TestServer::start().await;
    let of = |source: v1::Source, summary: &str| v1::Report {
        source: Some(source),
        ..visit_report_of("x", "a", v1::Visit { summary: Some(summary.into()), ..Default::default() })
    };
    let copy = v1::Source {
        attributed_to: vec![v1::Attribution { name_as_stated: Some("Somebody".into()), organization: None }],
        ..kind_of_source("f", SourceKind::SyndicatedCopy, "2024-01-01")
    };
    // From the last in rank to the first: kind, reliability, later publication, name.
    let sources = [
        copy,
        kind_of_source("e", SourceKind::Dataset, "2024-01-01"),
        kind_of_source("d2", SourceKind::Secondary, ""),
        kind_of_source("d1", SourceKind::Secondary, ""),
        kind_of_source("d0", SourceKind::Secondary, "2023-10-06"),
        kind_of_source("c", SourceKind::Secondary, "2023-10-06T23:59:59-01:00"),
        v1::Source { reliability: v1::Reliability::A.into(), ..kind_of_source("b", SourceKind::Secondary, "") },
        kind_of_source("a", SourceKind::PrimaryOfficial, ""),
        kind_of_source("z", SourceKind::OfficialRegister, ""),
        kind_of_source("y", SourceKind::Editor, ""),
    ];
    for source in &sources {
        server.file(vec![of(source.clone(), "first")]).await;
    }
    let mut expected: Vec<_> = sources.iter().map(|s| s.name.replace("sources/", "")).collect();
    expected.reverse();
    let asked = |change: fn(&mut v1::ListReportsRequest)| {
        let mut request = v1::ListReportsRequest { parent: "visits/x".into(), ..Default::default() };
        change(&mut request);
        request
    };
    let listed = reports(&server, asked(|_| {})).await;
    assert_eq!(listed.iter().map(|(id, ..)| id.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(reports(&server, asked(|r| r.page_size = 3)).await, listed, "page by page");

    let replaced = server.file(vec![of(sources[1].clone(), "second")]).await.revision;
    let selection = Some(v1::retract_reports_request::Selection::Source("sources/z".into()));
    let reason = v1::RetractionReason::SourceWithdrawn.into();
    let request = v1::RetractReportsRequest { selection, reason, ..Default::default() };
    let withdrawn = server.filing().retract_reports(request).await.unwrap().into_inner().revision;
    let all = reports(&server, asked(|r| r.show_withdrawn = true)).await;
    let order: Vec<u64> = all.iter().map(|(.., revision, _)| *revision).collect();
    assert!(order.is_sorted() && all.len() == 11, "{all:?}");
    let ended: Vec<_> =
        all.iter().filter(|(_, active, ..)| !active).map(|(id, _, _, until)| (id.as_str(), *until)).collect();
    assert_eq!(ended, [("e", replaced), ("z", withdrawn)]);
    assert!(all.iter().all(|(_, active, _, until)| *active == (*until == 0)));
    assert_eq!(reports(&server, asked(|r| (r.show_withdrawn, r.page_size) = (true, 2))).await, all);
    assert_eq!(reports(&server, asked(|_| {})).await.len(), 9);
    server.stop().await;
}

/// All pages: the source's id, whether it is active, from which revision, until which.
async fn reports(server: &TestServer, mut request: v1::ListReportsRequest) -> Vec<(String, bool, u64, u64)> {
    let mut found = Vec::new();
    loop {
        let page = server.registry().list_reports(request.clone()).await.unwrap().into_inner();
        found.extend(page.reports.into_iter().map(|r| {
            let report = r.report.unwrap();
            (report.name.replace("visits/x/reports/", ""), r.active, report.revision, r.until_revision)
        }));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test]
async fn sources_are_selected_by_kind_and_publisher_and_shown_as_last_filed() {
    let server = TestServer::start().await;
    let organization = v1::Attribution { organization: Some("organizations/mod".into()), name_as_stated: None };
    let file = async |source: v1::Source| {
        server.file(vec![v1::Report { source: Some(source), ..visit_report("x", "a", "KZ", "AZ", "2023") }]).await
    };
    file(kind_of_source("a", SourceKind::Dataset, "")).await;
    file(kind_of_source("b", SourceKind::Secondary, "")).await;
    file(v1::Source { publisher: source("a").publisher, ..kind_of_source("c", SourceKind::Secondary, "") }).await;
    let token =
        file(v1::Source { publisher: Some(organization), ..kind_of_source("d", SourceKind::PrimaryOfficial, "") })
            .await
            .token;
    file(v1::Source { uri: Some("https://example.org/b".into()), ..kind_of_source("b", SourceKind::Secondary, "") })
        .await;
    let listed = async |change: fn(&mut v1::ListSourcesRequest)| {
        let mut request = v1::ListSourcesRequest::default();
        change(&mut request);
        let mut found = Vec::new();
        loop {
            let page = server.registry().list_sources(request.clone()).await.unwrap().into_inner();
            found.extend(page.sources.iter().map(|s| s.name.replace("sources/", "")));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return found.concat();
            }
        }
    };
    assert_eq!(listed(|_| {}).await, "abcd");
    assert_eq!(listed(|r| r.page_size = 1).await, "abcd");
    assert_eq!(listed(|r| r.kinds = vec![SourceKind::Secondary.into()]).await, "bc");
    assert_eq!(
        listed(|r| (r.kinds, r.page_size) = (vec![SourceKind::Secondary.into(), SourceKind::Dataset.into()], 1)).await,
        "abc"
    );
    assert_eq!(listed(|r| r.publisher = "PUBLISHER  á".into()).await, "ac", "a name is folded before comparing");
    assert_eq!(listed(|r| r.publisher = "organizations/mod".into()).await, "d");
    assert_eq!(
        listed(|r| (r.publisher, r.kinds) = ("Publisher a".into(), vec![SourceKind::Dataset.into()])).await,
        "a"
    );
    assert_eq!(listed(|r| r.publisher = "Publisher".into()).await, "");
    let uri = async |as_of| {
        let request = v1::ListSourcesRequest { as_of, ..Default::default() };
        server.registry().list_sources(request).await.unwrap().into_inner().sources[1].uri.clone()
    };
    assert_eq!((uri(None).await.as_deref(), uri(as_of(&token)).await), (Some("https://example.org/b"), None));
    server.stop().await;
}

#[tokio::test]
async fn revisions_come_in_pages_that_stay_where_they_began() {
    let server = TestServer::start().await;
    for day in 1..=7 {
        server.file(vec![visit("x", "AZ", &["KZ"], &format!("2023-01-0{day}"), |_| {})]).await;
        server.file(vec![visit("other", "AZ", &["KZ"], &format!("2023-01-0{day}"), |_| {})]).await;
    }
    let mut request = v1::ListRevisionsRequest { name: "visits/x".into(), page_size: 3, ..Default::default() };
    let mut days = Vec::new();
    let first = head(&server).await;
    loop {
        let page = server.registry().list_revisions(request.clone()).await.unwrap().into_inner();
        assert_eq!(page.token, first);
        for revision in &page.revisions {
            assert!(revision.events.iter().all(|e| e.subject == "visits/x" && e.record.is_none()), "{revision:?}");
            assert_eq!((revision.principal.as_str(), revision.events[0].revision), ("local", revision.revision));
            // Its token reads the record as it left it.
            let at = v1::GetVisitRequest { as_of: as_of(&revision.token), ..get_request("visits/x") };
            let visit = server.registry().get_visit(at).await.unwrap().into_inner().visit.unwrap();
            assert_eq!(visit.info.unwrap().revision, revision.revision);
            days.push(visit.start.unwrap().edtf);
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        server.file(vec![visit("x", "AZ", &["KZ"], &format!("2024-01-0{}", days.len()), |_| {})]).await;
    }
    assert_eq!(days, (1..=7).map(|d| format!("2023-01-0{d}")).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test]
async fn an_explanation_says_how_every_account_compares() {
    let server = TestServer::start().await;
    let of =
        |source: v1::Source, visit: v1::Visit| v1::Report { source: Some(source), ..visit_report_of("x", "a", visit) };
    let worded = vec![v1::Text { language: None, text: "visit".into() }];
    let official =
        |day: &str| v1::Visit { r#type: VisitType::Official.into(), start: Some(date(day)), ..Default::default() };
    server
        .file(vec![
            of(kind_of_source("best", SourceKind::PrimaryOfficial, ""), official("2023-10-06")),
            of(kind_of_source("same", SourceKind::Secondary, ""), official("2023-10-06")),
            of(
                kind_of_source("vague", SourceKind::Secondary, ""),
                v1::Visit { type_as_stated: worded, start: Some(date("2023-10")), ..Default::default() },
            ),
            of(
                kind_of_source("wrong", SourceKind::Secondary, ""),
                v1::Visit { r#type: VisitType::Working.into(), start: Some(date("2022")), ..Default::default() },
            ),
        ])
        .await;
    let explained = async || {
        let request = v1::ExplainRecordRequest { name: "visits/x".into(), ..Default::default() };
        server.registry().explain_record(request).await.unwrap().into_inner()
    };
    let of_field = |explained: &v1::ExplainRecordResponse, path: &str| {
        let field = explained.fields.iter().find(|f| f.path == path).unwrap().clone();
        let accounts: Vec<_> = field
            .accounts
            .iter()
            .map(|a| (a.account.replace("named/publisher ", ""), a.verdict(), a.considered))
            .collect();
        (field.disputed, field.report, accounts)
    };
    let one = explained().await;
    assert!(one.fields.is_sorted_by(|a, b| a.path <= b.path));
    for path in ["type", "start"] {
        let (disputed, report, accounts) = of_field(&one, path);
        assert_eq!((disputed, report.as_str()), (true, "visits/x/reports/best"), "{path}");
        let verdicts = [
            ("best".to_owned(), Verdict::Resolved, false),
            ("same".to_owned(), Verdict::Agrees, false),
            ("vague".to_owned(), Verdict::Refines, false),
            ("wrong".to_owned(), Verdict::Conflicts, false),
        ];
        assert_eq!(accounts, verdicts, "{path}");
    }
    assert_eq!(disputed_fields(&one), ["start", "type"]);

    // A ruling settles what it has considered.
    let ruling = v1::Report {
        considered: vec!["named/publisher wrong".into(), "named/publisher best".into()],
        ..of(
            kind_of_source("desk", SourceKind::Editor, ""),
            v1::Visit { start: Some(date("2023-10-06")), ..Default::default() },
        )
    };
    let filed = server.file(vec![ruling]).await;
    assert_eq!(filed.results[0].settled, ["start"]);
    assert!(filed.events.iter().any(|e| e.r#type() == EventType::Settled && e.fields == ["start"]));
    let two = explained().await;
    let (disputed, report, accounts) = of_field(&two, "start");
    assert_eq!((disputed, report.as_str()), (false, "visits/x/reports/desk"));
    assert!(accounts.contains(&("wrong".to_owned(), Verdict::Conflicts, true)), "{accounts:?}");
    assert!(accounts.contains(&("vague".to_owned(), Verdict::Refines, false)), "{accounts:?}");
    assert_eq!(disputed_fields(&two), ["type"]);
    server.stop().await;
}

fn disputed_fields(explained: &v1::ExplainRecordResponse) -> Vec<String> {
    let Some(v1::record::Kind::Visit(visit)) = explained.record.as_ref().and_then(|r| r.kind.as_ref()) else {
        panic!()
    };
    visit.info.as_ref().unwrap().disputed_fields.clone()
}

#[test]
fn every_response_of_the_contract_has_a_token() {
    let mut methods = 0;
    for service in pb::POOL.services().filter(|s| s.package_name() == "attache.v1") {
        for method in service.methods() {
            methods += 1;
            let token = method.output().get_field_by_name("token");
            let is_text = token.is_some_and(|t| {
                t.kind() == prost_reflect::Kind::String && !t.is_list() && t.containing_oneof().is_none()
            });
            assert!(is_text, "{} answers without a token", method.full_name());
        }
    }
    assert!(methods > 25);
}

#[tokio::test]
async fn what_is_read_while_nothing_is_filed_is_read_at_the_head() {
    let server = TestServer::start().await;
    let empty = head(&server).await;
    let listed = ask::list(&server, RecordKind::Visit, &v1::ListVisitsRequest::default()).await.unwrap();
    assert_eq!((listed.records.len(), listed.token), (0, empty.clone()));
    // The token of the empty log is a position like any other.
    server.file(data()).await;
    let request = v1::ListVisitsRequest { as_of: as_of(&empty), ..Default::default() };
    assert!(ask::list(&server, RecordKind::Visit, &request).await.unwrap().records.is_empty());
    let batch =
        v1::BatchGetRecordsRequest { names: vec!["visits/v1".into()], as_of: as_of(&empty), ..Default::default() };
    assert_eq!(server.registry().batch_get_records(batch).await.unwrap().into_inner().missing, ["visits/v1"]);
    server.stop().await;
}

#[tokio::test]
async fn valid_at_asks_what_holds_on_another_day_in_every_read() {
    let server = TestServer::start().await;
    server.file(data()).await;
    let on = |valid_at: Option<&str>, json: &str| v1::ListVisitsRequest {
        filters: vec![filter(json)],
        valid_at: valid_at.map(Into::into),
        ..Default::default()
    };
    let names = async |kind: RecordKind, valid_at: Option<&str>, json: &str| {
        let listed = ask::list(&server, kind, &on(valid_at, json)).await.unwrap();
        listed.names().into_iter().collect::<BTreeSet<_>>()
    };
    let underway = r#"{"statuses": ["STATUS_UNDERWAY"]}"#;
    let concluded = r#"{"statuses": ["STATUS_CONCLUDED"]}"#;
    let signed = r#"{"agreementStatuses": ["AGREEMENT_STATUS_SIGNED"]}"#;
    let unknown = r#"{"agreementStatuses": ["AGREEMENT_STATUS_UNKNOWN"]}"#;
    for (kind, valid_at, json, ids) in [
        (RecordKind::Visit, None, underway, "v1 v5"),
        (RecordKind::Visit, Some("2022-12-31"), underway, "v3"),
        (RecordKind::Visit, Some("2023-10-05"), underway, "v5"),
        (RecordKind::Visit, Some("2024-06-30"), underway, "v1 v2 v5"),
        (RecordKind::Visit, Some("2024-06-30"), concluded, "v3"),
        (RecordKind::Meeting, Some("2024-01-15"), underway, "m1 m2"),
        (RecordKind::Exercise, None, concluded, ""),
        (RecordKind::Exercise, Some("2024-05-11"), concluded, "e2"),
        (RecordKind::Agreement, Some("2023-10-05"), signed, "a2"),
        // Before it existed nothing is known of it, which is no error.
        (RecordKind::Agreement, Some("1900-01-01"), unknown, "a1 a2 a3"),
        (RecordKind::Agreement, Some("2024-01-02"), signed, "a1 a2"),
    ] {
        assert_eq!(names(kind, valid_at, json).await, named(ids), "{kind:?} {valid_at:?} {json}");
    }
    // Lists, lookups and batches say the same of each, with and without a day.
    for valid_at in [None, Some("2023-10-05"), Some("2024-06-30")] {
        for kind in [RecordKind::Visit, RecordKind::Meeting, RecordKind::Agreement, RecordKind::Exercise] {
            for listed in ask::list(&server, kind, &on(valid_at, "{\"disputed\": false}")).await.unwrap().records {
                let name = text(&listed, "name");
                let request = v1::GetVisitRequest { valid_at: valid_at.map(Into::into), ..get_request(&name) };
                assert_eq!(ask::get(&server, kind, &request).await.unwrap().0, listed, "{valid_at:?}");
                let request = v1::BatchGetRecordsRequest {
                    names: vec![name],
                    valid_at: valid_at.map(Into::into),
                    ..Default::default()
                };
                let batch = server.registry().batch_get_records(request).await.unwrap().into_inner();
                let record = attache::pb::to_dynamic("Record", &batch.records[0]);
                let fetched = record.fields().find_map(|(_, kind)| kind.as_message().cloned()).unwrap();
                assert_eq!(fetched, listed, "{valid_at:?}");
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_day_that_is_none_is_refused_by_every_read() {
    let server = TestServer::start().await;
    server.file(data()).await;
    for bad in [
        "",
        "2024",
        "2024-06",
        "2024-02-30",
        "2024-6-1",
        "06/01/2024",
        "2024-06-01T00:00:00Z",
        "2024-06-0~",
        "tomorrow",
    ] {
        let valid_at = || Some(bad.to_owned());
        let mut refusals = Vec::new();
        for (kind, id) in [
            (RecordKind::Visit, "visits/v1"),
            (RecordKind::Meeting, "meetings/m1"),
            (RecordKind::Agreement, "agreements/a1"),
            (RecordKind::Exercise, "exercises/e1"),
        ] {
            let request = v1::GetVisitRequest { valid_at: valid_at(), ..get_request(id) };
            refusals.push(ask::get(&server, kind, &request).await.unwrap_err());
            let request = v1::ListVisitsRequest { valid_at: valid_at(), ..Default::default() };
            refusals.push(ask::list(&server, kind, &request).await.unwrap_err());
        }
        let request =
            v1::BatchGetRecordsRequest { names: vec!["visits/v1".into()], valid_at: valid_at(), ..Default::default() };
        refusals.push(server.registry().batch_get_records(request).await.unwrap_err());
        for refused in refusals {
            use tonic_types::StatusExt as _;
            assert_eq!(reason(&refused), "FIELD_INVALID", "{bad:?}");
            let fields = refused.get_details_bad_request().unwrap().field_violations;
            assert_eq!(fields.iter().map(|f| f.field.as_str()).collect::<Vec<_>>(), ["valid_at"], "{bad:?}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_another_day_are_those_of_one_list() {
    let server = TestServer::start().await;
    server.file((0..30).map(|n| visit(&format!("p{n}"), "AZ", &["KZ"], "2024-03-01", |_| {})).collect()).await;
    let mut request = v1::ListVisitsRequest {
        filters: vec![filter(r#"{"statuses": ["STATUS_UNDERWAY"]}"#)],
        valid_at: Some("2024-03-02".into()),
        page_size: 7,
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = ask::list(&server, RecordKind::Visit, &request).await.unwrap();
        seen.extend(page.names());
        if page.next.is_empty() {
            break;
        }
        request.page_token = page.next;
        let other = v1::ListVisitsRequest { valid_at: Some("2024-03-03".into()), ..request.clone() };
        let refused = ask::list(&server, RecordKind::Visit, &other).await.unwrap_err();
        assert_eq!(reason(&refused), "PAGE_TOKEN_MISMATCH");
    }
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (30, 30));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_asked_for_all_the_time_is_the_one_of_the_position_it_is_answered_with() {
    let server = TestServer::start().await;
    let stated = |number: usize| visit("hot", "AZ", &["KZ"], "2024", |v| v.summary = Some(number.to_string()));
    server.file(vec![stated(0)]).await;
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (mut registry, done) = (server.registry(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut seen = BTreeSet::new();
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    let request = v1::GetVisitRequest { name: "visits/hot".into(), ..Default::default() };
                    let got = registry.get_visit(request).await.unwrap().into_inner();
                    seen.insert((Token::decode(&got.token, "token").unwrap().revision, got.visit.unwrap().summary));
                }
                seen
            })
        })
        .collect();
    for number in 1..200 {
        server.file(vec![stated(number)]).await;
    }
    done.store(true, std::sync::atomic::Ordering::Release);
    // The filing of `number` is revision `number` + 1, and the only one.
    for reader in readers {
        for (revision, summary) in reader.await.unwrap() {
            assert_eq!(summary.unwrap(), (revision - 1).to_string(), "as of revision {revision}");
        }
    }
    let mut registry = server.registry();
    let got = registry.get_visit(v1::GetVisitRequest { name: "visits/hot".into(), ..Default::default() });
    assert_eq!(got.await.unwrap().into_inner().visit.unwrap().summary.as_deref(), Some("199"));
}
