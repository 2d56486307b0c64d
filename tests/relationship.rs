//! Relations of states: which records count, what is last and next, and what a count says that nobody watched.

mod common;

use std::sync::Arc;

use attache::{
    config::Config,
    pb::v1::{
        self, AgreementStatus, Basis, Certainty, ExerciseRole, Observed, ProgressType, RecordKind, RelationType,
        report::Content,
    },
    serve::Parts,
};
use common::{
    FakeClock, TestServer,
    ask::{as_of, reason},
    config, date, side, source, visit_report, visit_report_of,
};
use tonic::Status;
use tonic_types::StatusExt as _;

fn ask(states: &[&str]) -> v1::GetRelationshipRequest {
    v1::GetRelationshipRequest { states: states.iter().map(|s| (*s).into()).collect(), ..Default::default() }
}

async fn relation_of(server: &TestServer, request: v1::GetRelationshipRequest) -> v1::Relationship {
    let answer = server.registry().get_relationship(request).await.expect("an answer").into_inner();
    assert!(!answer.token.is_empty());
    answer.relationship.expect("a relationship")
}

async fn relation(server: &TestServer, states: &[&str]) -> v1::Relationship {
    relation_of(server, ask(states)).await
}

fn report(record: &str, source: v1::Source, content: Content) -> v1::Report {
    v1::Report { record: record.into(), source: Some(source), content: Some(content), ..Default::default() }
}

/// A source that claims to have watched visits.
fn watcher(id: &str, states: &[&str], from: &str, until: &str, complete: bool) -> v1::Source {
    let coverage = v1::Coverage {
        kinds: vec![RecordKind::Visit.into()],
        states: states.iter().map(|s| (*s).into()).collect(),
        from: (!from.is_empty()).then(|| date(from)),
        until: (!until.is_empty()).then(|| date(until)),
        complete,
    };
    v1::Source { coverage: Some(coverage), ..source(id) }
}

fn exercise(id: &str, roles: &[(&str, ExerciseRole)], start: &str) -> v1::Report {
    let participant = |(state, role): &(&str, ExerciseRole)| v1::ExerciseParticipant {
        state: (*state).into(),
        role: (*role).into(),
        ..Default::default()
    };
    let exercise = v1::Exercise {
        participants: roles.iter().map(participant).collect(),
        start: Some(date(start)),
        ..Default::default()
    };
    report(&format!("exercises/{id}"), source("a"), Content::Exercise(exercise))
}

struct Plan<'a> {
    id: &'a str,
    years: [&'a str; 2],
    series: &'a str,
    relation: Option<(RelationType, &'a str)>,
}

fn plan(plan: &Plan<'_>) -> v1::Report {
    let party = |state: &str| v1::Party { state: state.into(), organization: None };
    let inferred = |day: &str| Some(v1::InferableDate { date: Some(date(day)), basis: Basis::Inferred.into() });
    let signed = v1::AgreementAction { r#type: v1::ActionType::Signed.into(), ..Default::default() };
    let relations = plan.relation.iter().map(|(how, target)| v1::AgreementRelation {
        r#type: (*how).into(),
        target: format!("agreements/{target}"),
        ..Default::default()
    });
    let agreement = v1::Agreement {
        parties: ["AZ", "KZ"].map(party).into(),
        actions: vec![signed],
        validity: Some(v1::Validity { start: inferred(plan.years[0]), end: inferred(plan.years[1]) }),
        series: (!plan.series.is_empty()).then(|| plan.series.into()),
        relations: relations.collect(),
        ..Default::default()
    };
    report(&format!("agreements/{}", plan.id), source("a"), Content::Agreement(agreement))
}

fn name(contact: &Option<v1::Contact>) -> &str {
    contact.as_ref().map_or("", |c| c.name.as_str())
}

fn way<'a>(relation: &'a v1::Relationship, guest: &str, host: &str) -> &'a v1::Tally {
    let found = relation.directions.iter().find(|d| d.guest == guest && d.host == host);
    found.and_then(|d| d.visits.as_ref()).unwrap_or_else(|| panic!("{guest} to {host}"))
}

fn visits(relation: &v1::Relationship) -> &v1::Tally {
    relation.visits.as_ref().expect("always there")
}

async fn token(server: &TestServer) -> String {
    server.log().get_log_info(v1::GetLogInfoRequest {}).await.unwrap().into_inner().token
}

#[tokio::test]
async fn visits_each_way_have_their_last_and_next_seen_from_the_day() {
    let server = TestServer::start().await;
    let day = |id: &str, guest: &str, host: &str, day: &str| visit_report(id, "a", guest, host, day);
    server
        .file(vec![
            day("a1", "AZ", "KZ", "2021-05-01"),
            day("a2", "AZ", "KZ", "2023-05-01"),
            day("k1", "KZ", "AZ", "2022-05-01"),
            day("k2", "KZ", "AZ", "2024-09-01"),
            day("k3", "KZ", "AZ", "2025-09-01"),
            day("other", "TR", "AZ", "2023-09-01"),
        ])
        .await;
    let seen =
        relation_of(&server, v1::GetRelationshipRequest { valid_at: Some("2024-06-01".into()), ..ask(&["AZ", "KZ"]) })
            .await;
    let (az, kz) = (way(&seen, "AZ", "KZ"), way(&seen, "KZ", "AZ"));
    assert_eq!((az.count, az.ahead, name(&az.last), name(&az.next)), (2, 0, "visits/a2", ""));
    assert_eq!((kz.count, kz.ahead, name(&kz.last), name(&kz.next)), (1, 2, "visits/k1", "visits/k2"));
    assert_eq!((visits(&seen).count, name(&visits(&seen).last)), (3, "visits/a2"));
    assert_eq!((seen.day.as_str(), seen.until.as_str(), seen.from.as_str()), ("2024-06-01", "2024-06-01", ""));

    let on_the_day =
        relation_of(&server, v1::GetRelationshipRequest { valid_at: Some("2024-09-01".into()), ..ask(&["KZ", "AZ"]) })
            .await;
    assert_eq!(name(&way(&on_the_day, "KZ", "AZ").last), "visits/k2", "what begins on the day is not ahead");
    assert_eq!(on_the_day.states, ["KZ", "AZ"], "as asked");
}

#[tokio::test]
async fn the_day_is_the_registrys_unless_asked_otherwise() {
    let server = TestServer::start().await;
    assert_eq!(relation(&server, &["AZ", "KZ"]).await.day, "2024-01-02");
}

#[tokio::test]
async fn undated_and_uncertain_visits_are_told_apart_from_those_that_count() {
    let server = TestServer::start().await;
    let visit = |start: &str| v1::Visit {
        hosts: vec![side("AZ")],
        guests: vec![side("KZ")],
        start: (!start.is_empty()).then(|| date(start)),
        ..Default::default()
    };
    let reports = [("dated", "2023-03-01"), ("vague", "2023"), ("undated", ""), ("earlier", "2022-12-31")];
    server.file(reports.map(|(id, start)| visit_report_of(id, "a", visit(start))).into()).await;
    let request = v1::GetRelationshipRequest { from: Some("2023-02".into()), ..ask(&["AZ", "KZ"]) };
    let seen = relation_of(&server, request).await;
    let counted = visits(&seen);
    assert_eq!((counted.count, counted.maybe, counted.undated), (2, 1, 1));
    assert_eq!(name(&counted.last), "visits/dated", "a year may be over since January");
    let timeline = seen.timeline.unwrap();
    assert_eq!(timeline.unplaced, 1, "a year is no month");
    assert_eq!(timeline.months.iter().map(|m| m.visits).sum::<u32>(), 1);
    assert_eq!(timeline.months[0].month, "2023-02", "from the beginning of the period");
    assert_eq!(timeline.months.last().unwrap().month, "2024-01", "to the day");
}

#[tokio::test]
async fn a_count_that_nobody_watched_is_never_a_bare_zero() {
    let server = TestServer::start().await;
    let period = |from: &str, until: &str| v1::GetRelationshipRequest {
        from: Some(from.into()),
        until: Some(until.into()),
        ..ask(&["AZ", "KZ"])
    };
    let empty = relation_of(&server, period("2020", "2022")).await;
    assert_eq!((visits(&empty).count, visits(&empty).observed()), (0, Observed::No));

    // Somebody who watched Turkey's visits alone, and one who reports without a claim.
    let unrelated = visit_report("t", "a", "TR", "GE", "2021-01-01");
    let unrelated = v1::Report { source: Some(watcher("tr", &["TR"], "", "", true)), ..unrelated };
    server.file(vec![unrelated, visit_report("kz", "b", "KZ", "AZ", "2021-05-01")]).await;
    let reported = relation_of(&server, period("2020", "2022")).await;
    assert_eq!((visits(&reported).count, visits(&reported).observed()), (1, Observed::Partly));
    assert_eq!(way(&reported, "AZ", "KZ").observed(), Observed::No, "nothing was reported that way");
    assert!(visits(&reported).watched_by.is_empty());

    // A desk that claims to have seen everything that Azerbaijan took part in.
    let watched = visit_report("ge", "a", "GE", "AZ", "2021-01-01");
    let watched = v1::Report { source: Some(watcher("desk", &["AZ"], "2020", "2022", true)), ..watched };
    let before = token(&server).await;
    server.file(vec![watched]).await;
    let whole = relation_of(&server, period("2020", "2022")).await;
    assert_eq!((way(&whole, "AZ", "KZ").count, way(&whole, "AZ", "KZ").observed()), (0, Observed::Yes));
    assert_eq!(visits(&whole).watched_by, ["sources/desk"]);
    assert_eq!(whole.meetings.as_ref().unwrap().observed(), Observed::No, "it watched visits");
    let longer = relation_of(&server, period("2020", "2023")).await;
    assert_eq!(way(&longer, "AZ", "KZ").observed(), Observed::Partly, "not the whole period");
    let month = &whole.timeline.as_ref().unwrap().months[0];
    assert_eq!((month.month.as_str(), month.observed()), ("2020-01", Observed::Partly), "visits alone");

    let then =
        relation_of(&server, v1::GetRelationshipRequest { as_of: as_of(&before), ..period("2020", "2022") }).await;
    assert_eq!(way(&then, "AZ", "KZ").observed(), Observed::No, "the claim was not known then");

    // Who withdraws everything claims nothing any more; the past stays as it was.
    let with_it = token(&server).await;
    server.withdraw(v1::retract_reports_request::Selection::Source("sources/desk".into())).await;
    assert_eq!(way(&relation_of(&server, period("2020", "2022")).await, "AZ", "KZ").observed(), Observed::No);
    let then =
        relation_of(&server, v1::GetRelationshipRequest { as_of: as_of(&with_it), ..period("2020", "2022") }).await;
    assert_eq!(way(&then, "AZ", "KZ").observed(), Observed::Yes);
}

#[tokio::test]
async fn an_observer_of_an_exercise_did_not_take_part() {
    let server = TestServer::start().await;
    let (took_part, observed) = (ExerciseRole::Participant, ExerciseRole::Observer);
    server
        .file(vec![
            exercise("both", &[("AZ", took_part), ("KZ", took_part)], "2023-10-02"),
            exercise("watched", &[("AZ", took_part), ("KZ", observed)], "2023-11-02"),
            exercise("only-watched", &[("AZ", observed), ("KZ", observed), ("RU", took_part)], "2023-12-02"),
        ])
        .await;
    let seen = relation(&server, &["AZ", "KZ"]).await;
    let (exercises, observations) = (seen.exercises.unwrap(), seen.observations.unwrap());
    assert_eq!((exercises.count, name(&exercises.last)), (1, "exercises/both"));
    assert_eq!((observations.count, name(&observations.last)), (1, "exercises/watched"));
    assert_eq!(seen.timeline.unwrap().months.iter().map(|m| m.exercises).sum::<u32>(), 1);
}

#[tokio::test]
async fn of_three_states_every_two_count_and_every_way_is_there() {
    let server = TestServer::start().await;
    let both = v1::Visit {
        hosts: vec![side("AZ")],
        guests: vec![side("KZ"), side("TR")],
        start: Some(date("2023-02-01")),
        ..Default::default()
    };
    let abroad = v1::Visit { hosts: vec![side("CN")], ..both.clone() };
    server
        .file(vec![
            visit_report("kz", "a", "KZ", "AZ", "2023-01-01"),
            visit_report_of("both", "a", both),
            visit_report_of("abroad", "a", abroad),
            visit_report("ge", "a", "GE", "AZ", "2023-04-01"),
        ])
        .await;
    let seen = relation(&server, &["AZ", "KZ", "TR"]).await;
    let ways: Vec<(&str, &str, u32)> =
        seen.directions.iter().map(|d| (&*d.guest, &*d.host, d.visits.as_ref().unwrap().count)).collect();
    let expected =
        [("AZ", "KZ", 0), ("AZ", "TR", 0), ("KZ", "AZ", 2), ("KZ", "TR", 0), ("TR", "AZ", 1), ("TR", "KZ", 0)];
    assert_eq!(ways, expected);
    assert_eq!(visits(&seen).count, 3, "each visit once, with the one on which two were guests of another");
}

#[tokio::test]
async fn what_replaced_what_is_told_whether_stated_or_by_the_order_of_a_series() {
    let server = TestServer::start().await;
    let of = |id, years, relation| plan(&Plan { id, years, series: "plan", relation });
    let lone = |id, relation| plan(&Plan { id, years: ["2020-01-01", "2030-12-31"], series: "", relation });
    server
        .file(vec![
            of("p3", ["2025-01-01", "2025-12-31"], Some((RelationType::NextInSeries, "p2"))),
            of("p1", ["2023-01-01", "2023-12-31"], None),
            of("p2", ["2024-01-01", "2024-12-31"], None),
            lone("old", None),
            lone("new", Some((RelationType::Supersedes, "old"))),
        ])
        .await;
    let seen = relation(&server, &["AZ", "KZ"]).await;
    let told: Vec<_> = seen.successions.iter().map(|s| (&*s.earlier, &*s.later, s.relation(), s.basis())).collect();
    let expected = [
        ("agreements/old", "agreements/new", RelationType::Supersedes, Basis::Stated),
        ("agreements/p1", "agreements/p2", RelationType::NextInSeries, Basis::Inferred),
        ("agreements/p2", "agreements/p3", RelationType::NextInSeries, Basis::Stated),
    ];
    assert_eq!(told, expected);
    assert_eq!(seen.succession_count, 3);
    let [series] = &seen.series[..] else { panic!("{:?}", seen.series) };
    let order: Vec<&str> = series.agreements.iter().map(|a| a.name.as_str()).collect();
    assert_eq!((&*series.series, order), ("plan", vec!["agreements/p1", "agreements/p2", "agreements/p3"]));
}

#[tokio::test]
async fn a_retracted_record_counts_no_more_and_still_does_in_the_past() {
    let server = TestServer::start().await;
    server.file(vec![visit_report("v", "a", "KZ", "AZ", "2023-05-01")]).await;
    let before = token(&server).await;
    let retract = v1::RetractRecordRequest {
        name: "visits/v".into(),
        reason: v1::RetractionReason::Duplicate.into(),
        source: Some(v1::Source { kind: v1::SourceKind::Editor.into(), ..source("desk") }),
        ..Default::default()
    };
    server.filing().retract_record(retract).await.expect("it is retracted");
    assert_eq!(visits(&relation(&server, &["AZ", "KZ"]).await).count, 0);
    let then = relation_of(&server, v1::GetRelationshipRequest { as_of: as_of(&before), ..ask(&["AZ", "KZ"]) }).await;
    assert_eq!(visits(&then).count, 1);
}

#[tokio::test]
async fn disputed_records_are_named_with_their_fields() {
    let server = TestServer::start().await;
    let told = |by: &str, kind: v1::VisitType| {
        let visit =
            v1::Visit { hosts: vec![side("AZ")], guests: vec![side("KZ")], r#type: kind.into(), ..Default::default() };
        visit_report_of("v", by, visit)
    };
    server.file(vec![told("a", v1::VisitType::Official), told("b", v1::VisitType::Private)]).await;
    let seen = relation(&server, &["AZ", "KZ"]).await;
    let [dispute] = &seen.disputes[..] else { panic!("{:?}", seen.disputes) };
    assert_eq!((&*dispute.name, &dispute.fields[..], seen.dispute_count), ("visits/v", &["type".to_owned()][..], 1));
}

fn list(state: &str) -> v1::ListRelationshipsRequest {
    v1::ListRelationshipsRequest { state: state.into(), ..Default::default() }
}

#[tokio::test]
async fn relations_are_ranked_by_count_then_last_contact_then_code_and_paged_without_shifting() {
    let server = TestServer::start().await;
    let day = |id: &str, guest: &str, day: &str| visit_report(id, "a", guest, "AZ", day);
    server
        .file(vec![
            day("t1", "TR", "2021-01-01"),
            day("t2", "TR", "2022-01-01"),
            day("k1", "KZ", "2023-01-01"),
            day("g1", "GE", "2022-06-01"),
            day("b1", "BY", "2022-06-01"),
            day("far", "IR", "2030-01-01"),
            visit_report("no", "a", "KZ", "TR", "2023-01-01"),
        ])
        .await;
    let all = server.registry().list_relationships(list("AZ")).await.unwrap().into_inner();
    let order: Vec<(&str, u32)> = all.relationships.iter().map(|r| (r.state.as_str(), r.count)).collect();
    assert_eq!(order, [("TR", 2), ("KZ", 1), ("BY", 1), ("GE", 1), ("IR", 0)]);
    assert_eq!(name(&all.relationships[4].next), "visits/far");
    assert_eq!(name(&all.relationships[0].last), "visits/t2");
    assert!(
        all.relationships.iter().all(|r| r.visits.as_ref().unwrap().observed() == Observed::Partly || r.count == 0)
    );
    assert_eq!(all.watched.len(), 4);
    assert!(all.watched.iter().all(|w| w.observed() == Observed::No), "nobody claims to have watched");

    let (mut request, mut paged) = (v1::ListRelationshipsRequest { page_size: 2, ..list("AZ") }, Vec::new());
    loop {
        let page = server.registry().list_relationships(request.clone()).await.unwrap().into_inner();
        assert_eq!(page.token, all.token, "the position of the first page");
        paged.extend(page.relationships);
        server.file(vec![day(&format!("later-{}", paged.len()), "IR", "2023-01-01")]).await;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paged, all.relationships);
}

#[tokio::test]
async fn a_listed_relation_counts_what_the_relation_itself_counts() {
    let server = sample().await;
    let listed = server.registry().list_relationships(list("AZ")).await.unwrap().into_inner().relationships;
    assert!(listed.iter().any(|r| r.state == "KZ"));
    for other in listed {
        let own = relation(&server, &["AZ", &other.state]).await;
        assert_eq!(own.visits, other.visits, "{}", other.state);
        assert_eq!(own.meetings, other.meetings, "{}", other.state);
        assert_eq!(own.agreements, other.agreements, "{}", other.state);
        assert_eq!(own.exercises, other.exercises, "{}", other.state);
    }
}

async fn sample() -> TestServer {
    let clock = FakeClock::default();
    // 2024-01-02 and 1056 days: 2026-11-23.
    clock.advance(std::time::Duration::from_secs(1056 * 86_400));
    TestServer::with(Config { sample: true, ..config() }, Parts { clock: Arc::new(clock), ..Parts::default() }).await
}

#[tokio::test]
async fn the_counts_are_those_of_the_lists() {
    let server = sample().await;
    let seen = relation(&server, &["AZ", "KZ"]).await;
    let filter = v1::Filter { states_all: vec!["AZ".into(), "KZ".into()], ..Default::default() };
    let visits_listed = v1::ListVisitsRequest { filters: vec![filter.clone()], ..Default::default() };
    let visits_listed = server.registry().list_visits(visits_listed).await.unwrap().into_inner().visits;
    let agreements = v1::ListAgreementsRequest { filters: vec![filter], ..Default::default() };
    let agreements = server.registry().list_agreements(agreements).await.unwrap().into_inner().agreements;
    let all = |t: &v1::Tally| usize::try_from(t.count + t.undated + t.called_off).unwrap();
    assert_eq!(all(visits(&seen)), visits_listed.len());
    assert_eq!(all(seen.agreements.as_ref().unwrap()), agreements.len());
    assert_eq!(seen.observations.as_ref().unwrap().count, 0);
    assert_eq!(name(&visits(&seen).last), "visits/az-mod-kz-2025-10");
    assert_eq!(seen.disputes[0].name, "agreements/az-kz-military-cooperation-plan-2024");
}

#[tokio::test]
async fn the_plans_of_the_sample_follow_each_other_and_the_one_in_effect_expires_next() {
    let server = sample().await;
    let status = |relation: &v1::Relationship, year: &str| {
        let of_plan = relation.series.iter().flat_map(|s| &s.agreements).find(|a| a.name.ends_with(year)).cloned();
        let status = of_plan.expect(year).status.unwrap();
        (status.agreement_status(), status.certainty())
    };
    let today = relation(&server, &["AZ", "KZ"]).await;
    let order: Vec<&str> = today.series[0].agreements.iter().map(|a| &a.name[a.name.len() - 4..]).collect();
    assert_eq!(order, ["2024", "2025", "2026"]);
    assert_eq!(today.successions.len(), 2);
    assert_eq!(status(&today, "2024"), (AgreementStatus::Expired, Certainty::Inferred));
    assert_eq!(status(&today, "2026"), (AgreementStatus::InForce, Certainty::Inferred));
    let expiry = today.next_expiry.expect("the plan for 2026 is in effect");
    let last = expiry.last_day.unwrap();
    assert_eq!(expiry.name, "agreements/az-kz-military-cooperation-plan-2026");
    assert_eq!(
        (&*last.date.clone().unwrap().edtf, last.basis(), expiry.days_left),
        ("2026-12-31", Basis::Inferred, 38)
    );

    let then = v1::GetRelationshipRequest { valid_at: Some("2024-06-01".into()), ..ask(&["AZ", "KZ"]) };
    let then = relation_of(&server, then).await;
    assert_eq!(status(&then, "2024"), (AgreementStatus::InForce, Certainty::Inferred));
    let expiry = then.next_expiry.expect("the plan for 2024 was in effect");
    assert_eq!(expiry.name, "agreements/az-kz-military-cooperation-plan-2024");
    assert_eq!(expiry.followed_by, ["agreements/az-kz-military-cooperation-plan-2025"]);
}

#[tokio::test]
async fn a_visit_that_was_called_off_is_neither_counted_nor_the_last_one() {
    let server = TestServer::start().await;
    let off = v1::Visit {
        hosts: vec![side("AZ")],
        guests: vec![side("KZ")],
        planned_start: Some(date("2023-06-01")),
        progress: vec![v1::Progress { r#type: ProgressType::Cancelled.into(), ..Default::default() }],
        ..Default::default()
    };
    server.file(vec![visit_report_of("off", "a", off), visit_report("on", "a", "KZ", "AZ", "2023-05-01")]).await;
    let request = v1::GetRelationshipRequest { valid_at: Some("2024-06-01".into()), ..ask(&["AZ", "KZ"]) };
    let seen = relation_of(&server, request).await;
    let visits = visits(&seen);
    assert_eq!((visits.count, visits.called_off, name(&visits.last)), (1, 1, "visits/on"));
    assert_eq!(seen.timeline.unwrap().months.iter().map(|m| m.visits).sum::<u32>(), 1);
}

fn fields(status: &Status) -> (String, Vec<String>) {
    let violations = status.get_details_bad_request().map(|b| b.field_violations).unwrap_or_default();
    (reason(status), violations.into_iter().map(|v| v.field).collect())
}

#[tokio::test]
async fn what_is_no_question_is_refused_by_its_field() {
    let server = TestServer::start().await;
    let az_kz = || ask(&["AZ", "KZ"]);
    let text = |text: &str| Some(text.to_owned());
    let wrong = [
        (ask(&["AZ"]), "FIELD_INVALID", "states"),
        (ask(&[]), "FIELD_INVALID", "states"),
        (ask(&["AZ", "az"]), "FIELD_INVALID", "states[1]"),
        (ask(&["AZ", "AZ"]), "FIELD_INVALID", "states[1]"),
        (ask(&["AZ", "KZ", "TR", "GE", "UZ", "TJ", "IR", "LV", "BA"]), "TOO_LARGE", "states"),
        (v1::GetRelationshipRequest { valid_at: text("2024-6-1"), ..az_kz() }, "FIELD_INVALID", "valid_at"),
        (v1::GetRelationshipRequest { valid_at: text("2024"), ..az_kz() }, "FIELD_INVALID", "valid_at"),
        (v1::GetRelationshipRequest { from: text("lately"), ..az_kz() }, "FIELD_INVALID", "from"),
        (v1::GetRelationshipRequest { until: text("2024-13"), ..az_kz() }, "FIELD_INVALID", "until"),
        (v1::GetRelationshipRequest { from: text("2024"), until: text("2023"), ..az_kz() }, "FIELD_INVALID", "until"),
    ];
    for (request, reason, field) in wrong {
        let refused = server.registry().get_relationship(request.clone()).await.expect_err("refused");
        assert_eq!(fields(&refused), (reason.to_owned(), vec![field.to_owned()]), "{request:?}");
    }
    let wrong = [
        (list(""), "FIELD_INVALID", "state"),
        (list("Azerbaijan"), "FIELD_INVALID", "state"),
        (v1::ListRelationshipsRequest { page_size: -1, ..list("AZ") }, "FIELD_INVALID", "page_size"),
        (v1::ListRelationshipsRequest { page_token: "x".into(), ..list("AZ") }, "TOKEN_MALFORMED", "page_token"),
        (v1::ListRelationshipsRequest { valid_at: text("now"), ..list("AZ") }, "FIELD_INVALID", "valid_at"),
    ];
    for (request, reason, field) in wrong {
        let refused = server.registry().list_relationships(request.clone()).await.expect_err("refused");
        assert_eq!(fields(&refused), (reason.to_owned(), vec![field.to_owned()]), "{request:?}");
    }
}

#[tokio::test]
async fn a_page_token_belongs_to_its_request() {
    let server = TestServer::start().await;
    let day = |id: &str, guest: &str| visit_report(id, "a", guest, "AZ", "2023-01-01");
    server.file(vec![day("a", "KZ"), day("b", "TR")]).await;
    let first = v1::ListRelationshipsRequest { page_size: 1, ..list("AZ") };
    let token = server.registry().list_relationships(first).await.unwrap().into_inner().next_page_token;
    let other = v1::ListRelationshipsRequest { page_token: token, from: Some("2020".into()), ..list("AZ") };
    let refused = server.registry().list_relationships(other).await.expect_err("refused");
    assert_eq!(reason(&refused), "PAGE_TOKEN_MISMATCH");
}

#[tokio::test]
async fn a_long_history_has_a_timeline_with_an_end_and_what_lies_outside_is_summed() {
    let server = TestServer::start().await;
    let day = |id: &str, day: &str| visit_report(id, "a", "KZ", "AZ", day);
    server.file(vec![day("old", "1700-05-01"), day("new", "2023-05-01"), day("far", "2600-05-01")]).await;
    let timeline = relation(&server, &["AZ", "KZ"]).await.timeline.unwrap();
    assert_eq!(timeline.months.len(), 1200);
    assert_eq!(timeline.months.iter().map(|m| m.visits).sum::<u32>(), 1);
    assert_eq!((timeline.earlier.unwrap().visits, timeline.later.unwrap().visits), (1, 1));
    let mut months = timeline.months.iter().map(|m| m.month.clone()).collect::<Vec<_>>();
    let given = months.clone();
    months.sort();
    months.dedup();
    assert_eq!(months, given, "in order, each once");
}

/// A row of a list of visits to the United States: the guest's code, first day, last day.
type Row = (&'static str, String, String);

/// The visits of some guests in `historyatstate-visits/visits.csv`; `None` where the data is not.
fn visits_to_the_us() -> Option<Vec<Row>> {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/historyatstate-visits/visits.csv");
    let Ok(mut reader) = csv::Reader::from_path(&data) else {
        eprintln!("skipped: {} is not there", data.display());
        return None;
    };
    let codes = [("japan", "JP"), ("mexico", "MX"), ("united-kingdom", "GB"), ("hawaii", "x-hawaii")];
    let rows = reader.records().map(Result::unwrap).filter_map(|row| {
        let (_, code) = codes.iter().find(|(id, _)| *id == &row[4])?;
        Some((*code, row[1].to_owned(), row[2].to_owned()))
    });
    Some(rows.collect())
}

#[tokio::test]
async fn relations_over_a_real_list_are_those_that_its_rows_say() {
    let Some(rows) = visits_to_the_us() else { return };
    assert!(rows.len() > 200, "{} rows", rows.len());
    let server = TestServer::start().await;
    let reports = rows.iter().enumerate().map(|(index, (guest, start, end))| {
        let visit = v1::Visit {
            hosts: vec![side("US")],
            guests: vec![side(guest)],
            start: (!start.is_empty()).then(|| date(start)),
            end: (!end.is_empty()).then(|| date(end)),
            ..Default::default()
        };
        visit_report_of(&format!("v{index}"), "list", visit)
    });
    for part in reports.collect::<Vec<_>>().chunks(500) {
        server.file(part.to_vec()).await;
    }
    for day in ["1874-12-11", "1959-12-31", "1990-06-15", "2024-12-31"] {
        let listed = v1::ListRelationshipsRequest { valid_at: Some(day.into()), ..list("US") };
        let listed = server.registry().list_relationships(listed).await.unwrap().into_inner().relationships;
        for guest in ["JP", "MX", "GB", "x-hawaii"] {
            let own: Vec<&str> = rows.iter().filter(|(code, ..)| *code == guest).map(|(_, s, _)| s.as_str()).collect();
            let begun = own.iter().filter(|start| **start <= day).count();
            let asked = v1::GetRelationshipRequest { valid_at: Some(day.into()), ..ask(&["US", guest]) };
            let seen = relation_of(&server, asked).await;
            let tally = way(&seen, guest, "US");
            let counted = |n: u32| usize::try_from(n).unwrap();
            assert_eq!((counted(tally.count), counted(tally.ahead)), (begun, own.len() - begun), "{guest} at {day}");
            let first_day = |contact: &Option<v1::Contact>| {
                let name = contact.as_ref()?.name.strip_prefix("visits/v")?;
                Some(rows[name.parse::<usize>().unwrap()].1.as_str())
            };
            let last = own.iter().filter(|start| **start <= day).max().copied();
            let next = own.iter().filter(|start| **start > day).min().copied();
            assert_eq!((first_day(&tally.last), first_day(&tally.next)), (last, next), "{guest} at {day}");
            assert_eq!(way(&seen, "US", guest).observed(), Observed::No, "the list has visits to the host alone");
            let other = listed.iter().find(|r| r.state == guest).expect("it is listed");
            assert_eq!(counted(other.count), begun, "{guest} at {day}");
        }
        assert!(listed.is_sorted_by_key(|r| std::cmp::Reverse(r.count)));
    }
}
