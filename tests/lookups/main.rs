//! Lookups: what is found, in what order, as of when, page by page.

#[path = "../common/mod.rs"]
mod common;
mod days;
mod filters;
mod pages;
mod past;
mod reports;

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
