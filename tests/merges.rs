//! Two names proved to be one: what a merge does to the record, to reads of either name, to filings and rulings, to
//! milestones, and to those who watch; and that lifting it leaves two records as if nothing had been.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use attache::{
    domain::record,
    limits::MAX_MERGED_NAMES,
    pb::v1::{self, EventClass, EventType, FilingOutcome, RetractionReason, retract_reports_request::Selection},
};
use common::{
    TestServer, agreement_report,
    ask::as_of,
    date, source,
    watching::{filtered, from_oldest, reason, until_caught_up},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tonic::Status;
use tonic_types::StatusExt as _;

type Answer<T> = Result<T, Status>;
type Change = fn(&mut v1::MergeRecordsRequest);

fn merging(loser: &str, survivor: &str) -> v1::MergeRecordsRequest {
    v1::MergeRecordsRequest {
        loser: loser.into(),
        survivor: survivor.into(),
        source: Some(v1::Source { kind: v1::SourceKind::Editor.into(), ..source("merger") }),
        ..Default::default()
    }
}

async fn merge(server: &TestServer, loser: &str, survivor: &str) -> Answer<v1::MergeRecordsResponse> {
    server.filing().merge_records(merging(loser, survivor)).await.map(tonic::Response::into_inner)
}

async fn unmerge(server: &TestServer, loser: &str) -> Answer<v1::UnmergeRecordsResponse> {
    let request = v1::UnmergeRecordsRequest { loser: loser.into(), ..Default::default() };
    server.filing().unmerge_records(request).await.map(tonic::Response::into_inner)
}

async fn withdraw(server: &TestServer, report: &str) -> v1::RetractReportsResponse {
    let request = v1::RetractReportsRequest {
        selection: Some(Selection::Report(report.into())),
        reason: RetractionReason::FilerError.into(),
        ..Default::default()
    };
    server.filing().retract_reports(request).await.expect("it stands").into_inner()
}

async fn retract(server: &TestServer, name: &str) -> v1::RetractRecordResponse {
    server.filing().retract_record(common::scribe::ruling(name)).await.expect("it is known").into_inner()
}

async fn restore(server: &TestServer, name: &str) -> v1::RestoreRecordResponse {
    let request = v1::RestoreRecordRequest { name: name.into(), ..Default::default() };
    server.filing().restore_record(request).await.expect("it is known").into_inner()
}

async fn agreement_at(server: &TestServer, name: &str, at: Option<v1::AsOf>) -> Answer<v1::Agreement> {
    let request = v1::GetAgreementRequest { name: name.into(), as_of: at, ..Default::default() };
    server.registry().get_agreement(request).await.map(|r| r.into_inner().agreement.expect("an answer has it"))
}

async fn agreement(server: &TestServer, name: &str) -> v1::Agreement {
    agreement_at(server, name, None).await.expect("it stands")
}

fn accounts(agreement: &v1::Agreement) -> Vec<&str> {
    agreement.info.as_ref().unwrap().accounts.iter().map(String::as_str).collect()
}

fn merged(agreement: &v1::Agreement) -> Vec<&str> {
    agreement.info.as_ref().unwrap().merged_names.iter().map(String::as_str).collect()
}

/// (type, subject) of each.
fn told(events: &[v1::Event]) -> Vec<(EventType, &str)> {
    events.iter().map(|e| (e.r#type(), e.subject.as_str())).collect()
}

/// An agreement that each of these sources says was signed on a day.
fn signed(id: &str, source_id: &str) -> v1::Report {
    agreement_report(id, source_id, ["AZ", "KZ"], "2023-10-06")
}

/// With another word for the act.
fn endorsed(id: &str, source_id: &str) -> v1::Report {
    let mut report = signed(id, source_id);
    let Some(v1::report::Content::Agreement(agreement)) = &mut report.content else { unreachable!() };
    agreement.actions[0].r#type = v1::ActionType::Endorsed.into();
    report
}

/// With another act of its own.
fn ratified(id: &str, source_id: &str) -> v1::Report {
    let mut report = signed(id, source_id);
    let Some(v1::report::Content::Agreement(agreement)) = &mut report.content else { unreachable!() };
    agreement.actions[0].r#type = v1::ActionType::Ratified.into();
    report
}

const A: &str = "agreements/a";
const B: &str = "agreements/b";
const C: &str = "agreements/c";

/// Three agreements of a source each.
async fn three() -> TestServer {
    let server = TestServer::start().await;
    server.file(vec![signed("a", "s1")]).await;
    server.file(vec![signed("b", "s2")]).await;
    server.file(vec![signed("c", "s3")]).await;
    server
}

#[tokio::test]
async fn the_survivor_rests_on_the_reports_of_both_and_every_read_of_the_loser_answers_with_it() {
    let server = three().await;
    let before = server.token().await;
    let answer = merge(&server, A, B).await.unwrap();
    let result = answer.result.unwrap();
    assert_eq!((result.outcome(), result.record.as_str(), answer.revision), (FilingOutcome::Merged, B, 4));

    let survivor = agreement(&server, B).await;
    assert_eq!(accounts(&survivor), ["named/publisher s1", "named/publisher s2"]);
    assert_eq!((merged(&survivor), survivor.name.as_str()), (vec![A], B));
    assert_eq!(agreement(&server, A).await, survivor);

    let request = v1::BatchGetRecordsRequest { names: vec![A.into(), B.into(), C.into()], ..Default::default() };
    let batch = server.registry().batch_get_records(request).await.unwrap().into_inner();
    assert_eq!(batch.records.iter().map(record::name_of).collect::<Vec<_>>(), [B, B, C], "in the order asked for");
    assert_eq!(batch.merged, [v1::MergedName { name: A.into(), record: B.into() }]);

    for name in [A, B] {
        let request = v1::ListReportsRequest { parent: name.into(), ..Default::default() };
        let reports = server.registry().list_reports(request).await.unwrap().into_inner();
        let names: BTreeSet<_> = reports.reports.into_iter().map(|r| r.report.unwrap().name).collect();
        assert_eq!(names, ["agreements/a/reports/s1", "agreements/b/reports/s2"].map(String::from).into());
        let request = v1::ExplainRecordRequest { name: name.into(), ..Default::default() };
        let explained = server.registry().explain_record(request).await.unwrap().into_inner();
        assert_eq!(record::name_of(&explained.record.unwrap()), B);
        let accounts = explained.fields.iter().find(|f| f.path == "actions[concluded].type").unwrap().accounts.len();
        assert_eq!((reports.record.as_str(), accounts), (B, 2));
        let request = v1::ListRevisionsRequest { name: name.into(), ..Default::default() };
        let history = server.registry().list_revisions(request).await.unwrap().into_inner();
        let revisions: Vec<u64> = history.revisions.iter().map(|r| r.revision).collect();
        assert_eq!((history.record.as_str(), revisions), (B, vec![1, 2, 4]), "what became of either name");
        assert_eq!(told(&history.revisions[0].events)[0], (EventType::Recorded, A));
    }

    let then = agreement_at(&server, A, as_of(&before)).await.unwrap();
    assert_eq!((then.name.as_str(), accounts(&then)), (A, vec!["named/publisher s1"]), "as it was known then");

    let filters = vec![v1::Filter { names: vec![A.into()], ..Default::default() }];
    let request = v1::ListAgreementsRequest { filters, ..Default::default() };
    let listed = server.registry().list_agreements(request).await.unwrap().into_inner().agreements;
    assert_eq!(listed.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), [B], "found by the name that was merged");
    let all = server.registry().list_agreements(v1::ListAgreementsRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.agreements.len(), 2, "the loser does not stand for itself");
    server.stop().await;
}

#[tokio::test]
async fn a_merge_and_its_lifting_are_told_of_both_names_first_and_of_nothing_again() {
    let server = three().await;
    let answer = merge(&server, A, B).await.unwrap();
    assert_eq!(told(&answer.events), [(EventType::Merged, A), (EventType::Merged, B)]);
    assert_eq!([&answer.events[0].other_name, &answer.events[1].other_name], [B, A]);
    assert!(answer.events[1].changed_paths.contains(&"info.merged_names".to_owned()));
    let events = server.replay(until_caught_up(from_oldest())).await;
    let both: Vec<&v1::Event> = events.iter().filter(|e| e.revision == answer.revision).collect();
    assert!(both[0].record.is_none() && both[1].record.is_some(), "the loser does not stand, the survivor does");

    let answer = unmerge(&server, A).await.unwrap();
    assert_eq!(told(&answer.events), [(EventType::Unmerged, A), (EventType::Unmerged, B)]);
    let outcomes: Vec<_> = answer.results.iter().map(|r| (r.record.as_str(), r.outcome())).collect();
    assert_eq!(outcomes, [(A, FilingOutcome::Unmerged), (B, FilingOutcome::Unmerged)]);
    assert_eq!(accounts(&agreement(&server, A).await), ["named/publisher s1"]);
    let rest = agreement(&server, B).await;
    assert_eq!((accounts(&rest), merged(&rest)), (vec!["named/publisher s2"], vec![]));
    server.stop().await;
}

#[tokio::test]
async fn filing_and_withdrawing_under_the_old_name_goes_on_working_and_says_so() {
    let server = three().await;
    merge(&server, A, B).await.unwrap();
    let answer = server.file(vec![ratified("a", "s4")]).await;
    let result = &answer.results[0];
    assert_eq!((result.report.as_str(), result.record.as_str()), ("agreements/a/reports/s4", B));
    assert_eq!(result.outcome(), FilingOutcome::Extended);
    assert!(result.warnings.iter().any(|w| w.contains("agreements/a was merged into agreements/b")), "{result:?}");
    assert_eq!(told(&answer.events), [(EventType::Extended, B), (EventType::AgreementRatified, B)]);
    assert_eq!(accounts(&agreement(&server, B).await).len(), 3);

    let again = server.file(vec![ratified("a", "s4")]).await;
    assert_eq!((again.revision, again.results[0].outcome()), (0, FilingOutcome::NoChange));

    let both = server.file(vec![ratified("a", "s5"), ratified("b", "s5")]).await;
    assert_eq!(both.events.len(), 1, "one event of one record, whichever name: {:?}", told(&both.events));
    assert_eq!(accounts(&agreement(&server, B).await).len(), 4, "one source is one account, under both names");

    let gone = withdraw(&server, "agreements/a/reports/s4").await;
    assert_eq!((gone.results[0].record.as_str(), gone.results[0].outcome()), (B, FilingOutcome::Extended));
    withdraw(&server, "agreements/a/reports/s1").await;
    withdraw(&server, "agreements/a/reports/s5").await;
    withdraw(&server, "agreements/b/reports/s5").await;
    let last = withdraw(&server, "agreements/b/reports/s2").await;
    assert_eq!(last.results[0].outcome(), FilingOutcome::Retracted);
    let gone = agreement_at(&server, A, None).await.unwrap_err();
    assert_eq!(reason(&gone), "RECORD_RETRACTED");
    let back = server.file(vec![signed("a", "s1")]).await;
    assert_eq!(told(&back.events)[0], (EventType::Restored, B));
    server.stop().await;
}

#[tokio::test]
async fn a_milestone_that_stood_under_either_name_is_neither_withdrawn_nor_sent_again() {
    let server = TestServer::start().await;
    server.file(vec![endorsed("a", "s1"), ratified("a", "s2")]).await;
    server.file(vec![signed("b", "s3")]).await;
    let merged = merge(&server, A, B).await.unwrap();
    assert_eq!(
        told(&merged.events),
        [(EventType::Merged, A), (EventType::Merged, B), (EventType::Disputed, B)],
        "whatever prevails"
    );
    let parted = unmerge(&server, A).await.unwrap();
    assert_eq!(told(&parted.events), [(EventType::Unmerged, A), (EventType::Unmerged, B), (EventType::Settled, B)]);
    merge(&server, A, B).await.unwrap();

    // What one side of the dispute rested on is withdrawn: then its event is, of the name it was told of.
    let endorsement = server.replay(until_caught_up(from_oldest())).await;
    let endorsement = endorsement.iter().find(|e| e.r#type() == EventType::AgreementEndorsed).unwrap().id.clone();
    let gone = withdraw(&server, "agreements/a/reports/s1").await;
    let withdrawn: Vec<_> = gone.events.iter().filter(|e| e.r#type() == EventType::MilestoneWithdrawn).collect();
    assert_eq!(withdrawn.iter().map(|e| &e.withdraws).collect::<Vec<_>>(), [&endorsement]);
    assert_eq!(withdrawn[0].subject, B, "it is withdrawn of the record that stands");
    server.stop().await;
}

#[tokio::test]
async fn a_fact_told_under_both_names_is_withdrawn_once_for_each_event_that_told_it() {
    let server = three().await;
    merge(&server, A, B).await.unwrap();
    let one = withdraw(&server, "agreements/a/reports/s1").await;
    assert!(one.events.iter().all(|e| e.event_class() == EventClass::Registry), "the other still states it");
    let both = withdraw(&server, "agreements/b/reports/s2").await;
    let withdrawn: Vec<_> = both.events.iter().filter(|e| e.r#type() == EventType::MilestoneWithdrawn).collect();
    assert_eq!(withdrawn.iter().map(|e| e.withdraws.as_str()).collect::<Vec<_>>(), ["1-1", "2-1"]);
    server.stop().await;
}

#[tokio::test]
async fn a_fact_that_the_record_learnt_while_it_was_one_stands_of_both_after_and_is_withdrawn_with_the_last() {
    let server = three().await;
    merge(&server, A, B).await.unwrap();
    let told_once = server.file(vec![ratified("a", "s4"), ratified("b", "s5")]).await;
    let id = told_once.events.iter().find(|e| e.r#type() == EventType::AgreementRatified).unwrap().id.clone();
    let parted = unmerge(&server, A).await.unwrap();
    assert_eq!(told(&parted.events), [(EventType::Unmerged, A), (EventType::Unmerged, B)], "nothing is sent again");
    let withdrawn = |answer: v1::RetractReportsResponse| {
        let withdrawn = answer.events.into_iter().filter(|e| e.r#type() == EventType::MilestoneWithdrawn);
        withdrawn.map(|e| e.withdraws).collect::<Vec<_>>()
    };
    assert!(withdrawn(withdraw(&server, "agreements/b/reports/s5").await).is_empty(), "it stands of the other");
    assert_eq!(withdrawn(withdraw(&server, "agreements/a/reports/s4").await), [id]);
    server.stop().await;
}

#[tokio::test]
async fn a_withdrawn_milestone_reaches_who_was_told_of_it_under_the_old_name() {
    let server = TestServer::start().await;
    let mut report = endorsed("a", "s1");
    let Some(v1::report::Content::Agreement(agreement)) = &mut report.content else { unreachable!() };
    agreement.topics = vec![v1::Topic::Cyber.into()];
    server.file(vec![report]).await;
    server.file(vec![signed("b", "s2")]).await;
    merge(&server, A, B).await.unwrap();
    // Under another topic neither the record before nor after the withdrawal matches.
    let mut other = endorsed("a", "s1");
    let Some(v1::report::Content::Agreement(agreement)) = &mut other.content else { unreachable!() };
    agreement.topics = vec![v1::Topic::Medical.into()];
    server.file(vec![other]).await;
    withdraw(&server, "agreements/a/reports/s1").await;
    let cyber = vec![v1::Filter { topics: vec![v1::Topic::Cyber.into()], ..Default::default() }];
    let events = server.replay(until_caught_up(filtered(from_oldest(), cyber))).await;
    let last = events.last().unwrap();
    assert_eq!((last.r#type(), last.withdrawn_type()), (EventType::MilestoneWithdrawn, EventType::AgreementEndorsed));
    server.stop().await;
}

#[tokio::test]
async fn chains_work_in_either_order() {
    for order in [[(A, B), (B, C)], [(B, C), (A, B)]] {
        let server = three().await;
        for (loser, survivor) in order {
            merge(&server, loser, survivor).await.unwrap();
        }
        let whole = agreement(&server, A).await;
        assert_eq!((whole.name.as_str(), merged(&whole)), (C, vec![A, B]));
        assert_eq!(accounts(&whole).len(), 3);
        let filed = server.file(vec![ratified("a", "s4")]).await;
        assert_eq!(filed.results[0].record, C);

        unmerge(&server, B).await.unwrap();
        let parted = agreement(&server, A).await;
        assert_eq!((parted.name.as_str(), merged(&parted)), (B, vec![A]), "what led to it goes along");
        assert_eq!(accounts(&agreement(&server, C).await), ["named/publisher s3"]);
        server.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_be_one_is_refused() {
    let server = three().await;
    server.file(vec![common::visit_report("v", "s1", "KZ", "AZ", "2023-10-06")]).await;
    let refused = async |loser: &str, survivor: &str, fields: &[&str]| {
        let error = merge(&server, loser, survivor).await.unwrap_err();
        assert_eq!(reason(&error), "FIELD_INVALID", "{loser} {survivor}: {error:?}");
        let details = error.get_error_details();
        let named: Vec<_> = details.bad_request().unwrap().field_violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(named, fields, "{loser} {survivor}");
    };
    refused(A, A, &["survivor"]).await;
    refused(A, "visits/v", &["survivor"]).await;
    refused("agreements", B, &["loser"]).await;
    refused(A, "sources/s1", &["survivor"]).await;
    merge(&server, A, B).await.unwrap();
    refused(B, A, &["survivor"]).await;
    merge(&server, B, C).await.unwrap();
    refused(C, A, &["survivor"]).await;
    refused(C, B, &["survivor"]).await;
    refused(A, C, &["loser"]).await;
    for (loser, survivor) in [("agreements/unknown", A), (A, "agreements/unknown")] {
        assert_eq!(reason(&merge(&server, loser, survivor).await.unwrap_err()), "RECORD_NOT_FOUND");
    }
    assert_eq!(reason(&unmerge(&server, "agreements/unknown").await.unwrap_err()), "RECORD_NOT_FOUND");
    assert_eq!(reason(&unmerge(&server, "nothing").await.unwrap_err()), "FIELD_INVALID");
    server.stop().await;
}

#[tokio::test]
async fn a_merge_is_a_ruling_with_an_editors_source() {
    let server = three().await;
    let long = "x".repeat(4001);
    let changes: [(&str, Change); 4] = [
        ("source", |r| r.source = None),
        ("source.kind", |r| r.source.as_mut().unwrap().kind = v1::SourceKind::Secondary.into()),
        ("source.name", |r| r.source.as_mut().unwrap().name = "merger".into()),
        ("request_id", |r| r.request_id = Some(String::new())),
    ];
    for (field, change) in changes {
        let mut request = merging(A, B);
        change(&mut request);
        let error = server.filing().merge_records(request).await.unwrap_err();
        let details = error.get_error_details();
        let named: Vec<_> = details.bad_request().unwrap().field_violations.iter().map(|v| v.field.clone()).collect();
        assert_eq!((reason(&error).as_str(), named), ("FIELD_INVALID", vec![field.to_owned()]));
    }
    let request = v1::MergeRecordsRequest { note: Some(long), ..merging(A, B) };
    assert_eq!(reason(&server.filing().merge_records(request).await.unwrap_err()), "FIELD_INVALID");
    merge(&server, A, B).await.unwrap();
    let sources = server.registry().list_sources(v1::ListSourcesRequest::default()).await.unwrap().into_inner().sources;
    assert!(sources.iter().any(|s| s.name == "sources/merger"), "its source is one of the registry's");
    server.stop().await;
}

#[tokio::test]
async fn a_merge_in_force_is_no_change_and_a_retry_is_answered_as_the_first_time() {
    let server = three().await;
    let dry = v1::MergeRecordsRequest { validate_only: true, ..merging(A, B) };
    let dry = server.filing().merge_records(dry).await.unwrap().into_inner();
    assert_eq!((dry.revision, told(&dry.events).len()), (0, 2));
    assert_eq!(agreement(&server, A).await.name, A, "nothing was merged");

    let request = v1::MergeRecordsRequest { request_id: Some("once".into()), ..merging(A, B) };
    let first = server.filing().merge_records(request.clone()).await.unwrap().into_inner();
    assert_eq!(server.filing().merge_records(request).await.unwrap().into_inner(), first);
    let again = merge(&server, A, B).await.unwrap();
    assert_eq!((again.revision, again.events.len()), (0, 0));
    let result = again.result.unwrap();
    assert_eq!((result.outcome(), result.record.as_str()), (FilingOutcome::NoChange, B));
    assert!(result.warnings[0].contains("sources/merger"), "by which ruling: {:?}", result.warnings);

    let dry = v1::UnmergeRecordsRequest { loser: A.into(), validate_only: true, ..Default::default() };
    assert_eq!(server.filing().unmerge_records(dry).await.unwrap().into_inner().revision, 0);
    let request = v1::UnmergeRecordsRequest { loser: A.into(), request_id: Some("lift".into()), ..Default::default() };
    let first = server.filing().unmerge_records(request.clone()).await.unwrap().into_inner();
    assert_eq!(server.filing().unmerge_records(request).await.unwrap().into_inner(), first);
    let again = unmerge(&server, A).await.unwrap();
    assert_eq!((again.revision, again.results[0].outcome()), (0, FilingOutcome::NoChange));
    server.stop().await;
}

#[tokio::test]
async fn a_ruling_on_the_survivor_retracts_the_whole() {
    let server = three().await;
    merge(&server, A, B).await.unwrap();
    let fallen = retract(&server, B).await;
    assert_eq!(fallen.result.unwrap().outcome(), FilingOutcome::Retracted);
    for name in [A, B] {
        assert_eq!(reason(&agreement_at(&server, name, None).await.unwrap_err()), "RECORD_RETRACTED", "{name}");
    }
    let stored = server.file(vec![ratified("a", "s4")]).await;
    assert_eq!((stored.results[0].outcome(), stored.events.len()), (FilingOutcome::Stored, 0));
    let parted = unmerge(&server, A).await.unwrap();
    assert_eq!(told(&parted.events)[0], (EventType::Unmerged, A), "the ruling was on the other");
    assert_eq!(accounts(&agreement(&server, A).await).len(), 2);
    assert_eq!(reason(&agreement_at(&server, B, None).await.unwrap_err()), "RECORD_RETRACTED");
    let joined = merge(&server, A, B).await.unwrap();
    let gone = told(&joined.events);
    assert_eq!(gone[0], (EventType::Merged, A));
    assert!(gone[1..].iter().all(|(t, _)| *t == EventType::MilestoneWithdrawn), "nothing stands: {gone:?}");
    assert_eq!(told(&restore(&server, B).await.events)[0], (EventType::Restored, B));
    assert_eq!(accounts(&agreement(&server, B).await).len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_ruling_on_a_merged_name_holds_what_was_filed_under_it_and_what_is_merged_into_it() {
    let server = three().await;
    merge(&server, A, B).await.unwrap();
    merge(&server, B, C).await.unwrap();
    let ruled = retract(&server, B).await;
    assert_eq!(ruled.result.as_ref().unwrap().record, C);
    assert_eq!(accounts(&agreement(&server, B).await), ["named/publisher s3"], "a and b count no longer");
    let explain = v1::ExplainRecordRequest { name: A.into(), ..Default::default() };
    let fields = server.registry().explain_record(explain).await.unwrap().into_inner().fields;
    assert!(fields.iter().all(|f| f.accounts.len() == 1), "nor in the explanation");

    let held = server.file(vec![ratified("a", "s4")]).await;
    assert_eq!((held.results[0].outcome(), held.events.len()), (FilingOutcome::Stored, 0));
    assert_eq!(accounts(&agreement(&server, C).await).len(), 1);

    unmerge(&server, B).await.unwrap();
    assert_eq!(reason(&agreement_at(&server, A, None).await.unwrap_err()), "RECORD_RETRACTED", "it was of b");
    merge(&server, B, C).await.unwrap();
    let lifted = restore(&server, B).await;
    assert_eq!(lifted.result.unwrap().record, C);
    assert_eq!(accounts(&agreement(&server, C).await).len(), 4);
    server.stop().await;
}

#[tokio::test]
async fn a_side_that_does_not_stand_can_be_merged() {
    let server = three().await;
    withdraw(&server, "agreements/a/reports/s1").await;
    let joined = merge(&server, A, B).await.unwrap();
    assert_eq!(told(&joined.events), [(EventType::Merged, B)], "the loser did not stand");
    unmerge(&server, A).await.unwrap();
    let joined = merge(&server, B, A).await.unwrap();
    assert_eq!(told(&joined.events), [(EventType::Merged, B), (EventType::Merged, A)]);
    assert_eq!(accounts(&agreement(&server, B).await), ["named/publisher s2"], "the survivor stands by it");
    assert_eq!(agreement(&server, B).await.name, A);
    let parted = unmerge(&server, B).await.unwrap();
    assert_eq!(told(&parted.events), [(EventType::Unmerged, B), (EventType::Unmerged, A)]);
    assert_eq!(reason(&agreement_at(&server, A, None).await.unwrap_err()), "RECORD_RETRACTED");

    withdraw(&server, "agreements/b/reports/s2").await;
    let silent = merge(&server, A, B).await.unwrap();
    assert!(silent.revision > 0 && silent.events.is_empty(), "the ruling is recorded, though nothing stands");
    server.file(vec![signed("a", "s1")]).await;
    assert_eq!(agreement(&server, B).await.name, B);
    server.stop().await;
}

#[tokio::test]
async fn a_record_has_so_many_names_and_no_more() {
    let server = TestServer::start().await;
    let ids: Vec<String> = (0..MAX_MERGED_NAMES + 2).map(|n| format!("n{n}")).collect();
    server.file(ids.iter().map(|id| signed(id, "s1")).collect()).await;
    let name = |n: usize| format!("agreements/n{n}");
    for n in 0..MAX_MERGED_NAMES {
        merge(&server, &name(n), &name(n + 1)).await.unwrap();
    }
    let refused = merge(&server, &name(MAX_MERGED_NAMES), &name(MAX_MERGED_NAMES + 1)).await.unwrap_err();
    assert_eq!(reason(&refused), "TOO_LARGE");
    assert_eq!(agreement(&server, &name(0)).await.name, name(MAX_MERGED_NAMES));
    server.stop().await;
}

#[tokio::test]
async fn what_others_say_of_the_loser_counts_for_the_survivor_and_they_are_not_rewritten() {
    let server = TestServer::start().await;
    let entered = |id: &str, source_id: &str, day: &str| {
        let mut report = agreement_report(id, source_id, ["AZ", "KZ"], day);
        let Some(v1::report::Content::Agreement(agreement)) = &mut report.content else { unreachable!() };
        agreement.actions.push(v1::AgreementAction {
            r#type: v1::ActionType::EnteredIntoForce.into(),
            date: Some(date(day)),
            ..Default::default()
        });
        report
    };
    let mut newer = entered("newer", "s3", "2023-06-01");
    let Some(v1::report::Content::Agreement(content)) = &mut newer.content else { unreachable!() };
    content.relations = vec![v1::AgreementRelation {
        r#type: v1::RelationType::Supersedes.into(),
        target: A.into(),
        ..Default::default()
    }];
    server.file(vec![entered("a", "s1", "2020-01-01")]).await;
    server.file(vec![entered("b", "s2", "2020-01-01")]).await;
    server.file(vec![newer]).await;
    let status = async |name: &str| agreement(&server, name).await.info.unwrap().status.unwrap().agreement_status();
    assert_eq!((status(A).await, status(B).await), (v1::AgreementStatus::Superseded, v1::AgreementStatus::InForce));
    let before = agreement(&server, "agreements/newer").await;
    let answer = merge(&server, A, B).await.unwrap();
    assert_eq!(status(B).await, v1::AgreementStatus::Superseded);
    assert!(answer.events.iter().all(|e| e.subject != "agreements/newer"), "{:?}", told(&answer.events));
    assert_eq!(agreement(&server, "agreements/newer").await, before, "it is not rewritten");

    // The survivor follows what becomes of it later, too.
    let gone = withdraw(&server, "agreements/newer/reports/s3").await;
    assert!(told(&gone.events).contains(&(EventType::Updated, B)), "{:?}", told(&gone.events));
    assert_eq!(status(B).await, v1::AgreementStatus::InForce);
    unmerge(&server, A).await.unwrap();
    assert_eq!((status(A).await, status(B).await), (v1::AgreementStatus::InForce, v1::AgreementStatus::InForce));
    server.stop().await;
}

/// A cache as a client keeps it: what it was sent last of each record, less what left.
fn keep(cache: &mut BTreeMap<String, v1::Record>, event: &v1::Event) {
    if event.event_class() != EventClass::Registry {
        return;
    }
    match &event.record {
        Some(record) if !event.left_filter => drop(cache.insert(event.subject.clone(), record.clone())),
        _ => drop(cache.remove(&event.subject)),
    }
}

async fn listed(server: &TestServer, filters: &[v1::Filter], token: &str) -> BTreeMap<String, v1::Record> {
    let request = v1::ListAgreementsRequest { filters: filters.to_vec(), as_of: as_of(token), ..Default::default() };
    let page = server.registry().list_agreements(request).await.expect("a page").into_inner();
    assert!(page.next_page_token.is_empty(), "so few fit one page");
    let record = |a: v1::Agreement| (a.name.clone(), v1::Record { kind: Some(v1::record::Kind::Agreement(a)) });
    page.agreements.into_iter().map(record).collect()
}

/// One thing at random: filed, withdrawn, ruled, merged, or lifted. The token after it, if it was recorded.
async fn at_random(server: &TestServer, rng: &mut StdRng) -> Option<String> {
    let id = *["a", "b", "c", "d"].choose(rng).unwrap();
    let other = *["a", "b", "c", "d"].choose(rng).unwrap();
    let source_id = *["s1", "s2", "s3"].choose(rng).unwrap();
    let name = format!("agreements/{id}");
    let recorded = match rng.random_range(0..10) {
        0 => {
            let request = v1::RetractReportsRequest {
                selection: Some(Selection::Report(format!("{name}/reports/{source_id}"))),
                reason: RetractionReason::FilerError.into(),
                ..Default::default()
            };
            server.filing().retract_reports(request).await.map(|r| (r.get_ref().revision, r.get_ref().token.clone()))
        }
        1 => server
            .filing()
            .retract_record(common::scribe::ruling(&name))
            .await
            .map(|r| (r.get_ref().revision, r.get_ref().token.clone())),
        2 => {
            let request = v1::RestoreRecordRequest { name, ..Default::default() };
            server.filing().restore_record(request).await.map(|r| (r.get_ref().revision, r.get_ref().token.clone()))
        }
        3..6 => merge(server, &name, &format!("agreements/{other}")).await.map(|r| (r.revision, r.token)),
        6 | 7 => unmerge(server, &name).await.map(|r| (r.revision, r.token)),
        _ => {
            let day = *["2023-10-06", "2023-11-07"].choose(rng).unwrap();
            let partner = *["KZ", "UZ", "TR"].choose(rng).unwrap();
            let answer = server.file(vec![agreement_report(id, source_id, ["AZ", partner], day)]).await;
            Ok((answer.revision, answer.token))
        }
    };
    match recorded {
        Ok((revision, token)) => (revision > 0).then_some(token),
        Err(error) => {
            assert!(["FIELD_INVALID", "RECORD_NOT_FOUND"].contains(&reason(&error).as_str()), "{error:?}");
            None
        }
    }
}

/// Guarantee 7, across merges: at every token the cache of a filtered watch is what the filtered list answers.
#[tokio::test]
async fn a_filtered_cache_equals_the_filtered_list_across_merges_and_their_lifting() {
    let server = TestServer::start().await;
    let seed = std::env::var("ATTACHE_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(11);
    println!("ATTACHE_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tokens = Vec::new();
    for _ in 0..150 {
        tokens.extend(at_random(&server, &mut rng).await);
    }
    let name = |id: &str| v1::Filter { names: vec![format!("agreements/{id}")], ..Default::default() };
    let partner = |state: &str| v1::Filter { states_any: vec![state.into()], ..Default::default() };
    let disputed = v1::Filter { disputed: Some(true), ..Default::default() };
    let mut merges = 0;
    for filters in [vec![], vec![name("a")], vec![name("c"), name("d")], vec![partner("UZ")], vec![disputed]] {
        let events = server.replay(until_caught_up(filtered(from_oldest(), filters.clone()))).await;
        merges += events.iter().filter(|e| e.r#type() == EventType::Merged).count();
        let (mut cache, mut next) = (BTreeMap::new(), events.iter().peekable());
        for token in &tokens {
            let revision = common::watching::read(token).revision;
            while let Some(event) = next.next_if(|e| e.revision <= revision) {
                keep(&mut cache, event);
            }
            assert_eq!(cache, listed(&server, &filters, token).await, "{filters:?} at {revision}");
        }
    }
    assert!(merges > 20, "{merges} merges were seen");
    server.stop().await;
}
