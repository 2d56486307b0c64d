//! Derived status: what holds of a record on a day, how sure it is, and why. Each row is a promise of the ladder.

use attache::{
    domain::{
        date, record,
        status::{View, derive},
    },
    pb::{
        self,
        v1::{self, AgreementStatus as A, Certainty as C, DerivedStatus, Status as S, record::Kind},
    },
};
use serde_json::{Value as Json, json};

/// The day on which the registry learns of every record here, unless a row says otherwise.
const LEARNT: &str = "2026-01-01";

fn day(text: &str) -> date::Day {
    date::civil_day(text).expect("a day")
}

fn sealed(kind: Kind, name: &str, learnt: &str) -> v1::Record {
    let mut record = v1::Record { kind: Some(kind) };
    let seconds = i64::from(day(learnt)) * 86_400;
    let create_time = Some(prost_types::Timestamp { seconds, nanos: 0 });
    record::seal(&mut record, name, v1::RecordInfo { create_time, ..Default::default() });
    record
}

fn read<M: prost::Message + Default>(message: &str, content: &Json) -> M {
    pb::from_json(message, &content.to_string()).unwrap_or_else(|e| panic!("{e}: {content}"))
}

fn agreement_named(name: &str, content: &Json) -> v1::Record {
    sealed(Kind::Agreement(read("Agreement", content)), name, LEARNT)
}

fn agreement(content: &Json) -> v1::Record {
    agreement_named("agreements/a", content)
}

/// An act: its type, date and effective date; empty is not stated.
fn act(kind: &str, on: &str, effective: &str) -> Json {
    let mut act = json!({ "type": format!("ACTION_TYPE_{kind}"), "key": kind.to_lowercase() });
    for (field, edtf) in [("date", on), ("effectiveDate", effective)] {
        if !edtf.is_empty() {
            act[field] = json!({ "edtf": edtf });
        }
    }
    act
}

fn acts(acts: &[(&str, &str, &str)]) -> Json {
    json!({ "actions": acts.iter().map(|(kind, on, effective)| act(kind, on, effective)).collect::<Vec<_>>() })
}

fn with(mut content: Json, more: Json) -> Json {
    let more = more.as_object().expect("fields").clone();
    content.as_object_mut().expect("fields").extend(more);
    content
}

fn dated(edtf: &str, basis: &str) -> Json {
    json!({ "date": { "edtf": edtf }, "basis": format!("BASIS_{basis}") })
}

fn valid(start: &str, end: &str) -> Json {
    valid_by(start, end, "STATED")
}

fn valid_by(start: &str, end: &str, basis: &str) -> Json {
    let mut validity = json!({});
    for (field, edtf) in [("start", start), ("end", end)] {
        if !edtf.is_empty() {
            validity[field] = dated(edtf, basis);
        }
    }
    json!({ "validity": validity })
}

fn tacit(months: Option<i32>) -> Json {
    json!({ "renewal": { "kind": "RENEWAL_KIND_TACIT", "periodMonths": months } })
}

fn parties(states: &[&str]) -> Json {
    json!({ "parties": states.iter().map(|s| json!({ "state": s })).collect::<Vec<_>>() })
}

#[track_caller]
fn assert_agreement(record: &v1::Record, on: &str, others: &[v1::Record], status: A, certainty: C, why: &str) {
    let held = derive(record, View { day: day(on), successors: others }).expect("an agreement has a status");
    assert_eq!((held.agreement_status(), held.certainty()), (status, certainty), "on {on}: {}", held.reason);
    assert!(held.reason.contains(why), "on {on}: {:?} does not say {why:?}", held.reason);
    assert_eq!(held.status(), S::Unspecified);
}

/// One agreement over time: on each day its status, certainty and a part of the reason.
#[track_caller]
fn life(content: &Json, rows: &[(&str, A, C, &str)]) {
    let record = agreement(content);
    for (on, status, certainty, why) in rows {
        assert_agreement(&record, on, &[], *status, *certainty, why);
    }
}

// ---- agreements, rung by rung ----

#[test]
fn an_agreement_climbs_from_unknown_to_in_force() {
    let content = acts(&[
        ("NEGOTIATED", "2019-03-01", ""),
        ("INITIALLED", "2020-01-10", ""),
        ("SIGNED", "2021-05-05", ""),
        ("PROVISIONALLY_APPLIED", "2021-05-05", "2021-09-01"),
        ("RATIFIED", "2022-01-01", ""),
        ("ENTERED_INTO_FORCE", "2022-02-02", ""),
    ]);
    life(
        &content,
        &[
            ("2019-02-28", A::Unknown, C::Definite, "nothing that is known by then"),
            ("2019-03-01", A::Proposed, C::Definite, "negotiated 2019-03-01"),
            ("2020-01-10", A::Proposed, C::Definite, "initialled 2020-01-10"),
            ("2021-05-04", A::Proposed, C::Definite, "initialled"),
            ("2021-05-05", A::Signed, C::Definite, "concluded 2021-05-05"),
            ("2021-08-31", A::Signed, C::Definite, "concluded"),
            ("2021-09-01", A::ProvisionallyApplied, C::Definite, "applied provisionally from 2021-09-01"),
            ("2022-02-01", A::ProvisionallyApplied, C::Definite, "provisionally"),
            ("2022-02-02", A::InForce, C::Definite, "entered into force 2022-02-02"),
            ("2026-01-01", A::InForce, C::Definite, "entered into force"),
        ],
    );
}

#[test]
fn every_concluding_act_makes_it_signed_and_consent_alone_only_by_inference() {
    for kind in
        ["ADOPTED", "SIGNED", "SIGNED_SUBJECT_TO_RATIFICATION", "SIGNED_AD_REFERENDUM", "ENDORSED", "NOTES_EXCHANGED"]
    {
        life(&acts(&[(kind, "2021-05-05", "")]), &[("2021-05-05", A::Signed, C::Definite, "concluded 2021-05-05")]);
    }
    for kind in ["RATIFIED", "ACCEPTED", "APPROVED", "ACCEDED"] {
        life(&acts(&[(kind, "2021-05-05", "")]), &[("2021-05-05", A::Signed, C::Inferred, "consent to be bound")]);
    }
    for kind in ["DEPOSITED", "REGISTERED", "AMENDED", "RENEWED"] {
        life(&acts(&[(kind, "2021-05-05", "")]), &[("2022-01-01", A::Unknown, C::Definite, "nothing")]);
    }
}

#[test]
fn validity_puts_what_is_concluded_in_force_until_the_day_after_its_end() {
    let content = with(acts(&[("SIGNED", "2023-10-06", "")]), valid("2024-01-01", "2024-12-31"));
    life(
        &content,
        &[
            ("2023-12-31", A::Signed, C::Definite, "concluded 2023-10-06"),
            ("2024-01-01", A::InForce, C::Definite, "its validity began 2024-01-01"),
            ("2024-12-31", A::InForce, C::Definite, "validity began"),
            ("2025-01-01", A::Expired, C::Definite, "validity ended 2024-12-31"),
        ],
    );
    let inferred = with(acts(&[("SIGNED", "2023-10-06", "")]), valid_by("2024-01-01", "2024-12-31", "INFERRED"));
    life(
        &inferred,
        &[
            ("2024-06-01", A::InForce, C::Inferred, "(inferred)"),
            ("2026-01-01", A::Expired, C::Inferred, "2024-12-31 (inferred)"),
        ],
    );
}

#[test]
fn validity_alone_is_a_plan_and_what_is_concluded_after_its_start_runs_from_then() {
    life(&valid("2024-01-01", ""), &[("2024-06-01", A::Unknown, C::Definite, "nothing")]);
    let late = with(acts(&[("SIGNED", "2024-02-10", "")]), valid("2024-01-01", ""));
    life(
        &late,
        &[
            ("2024-02-09", A::Unknown, C::Definite, "nothing"),
            ("2024-02-10", A::InForce, C::Definite, "validity began 2024-01-01"),
        ],
    );
    let perhaps = with(acts(&[("SIGNED", "2024-02", "")]), valid("2024-01-01", ""));
    life(&perhaps, &[("2024-02-10", A::Unknown, C::Possible, "perhaps concluded, and its validity began")]);
}

#[test]
fn a_date_that_is_uncertain_counts_from_its_latest_day_and_the_doubt_is_told() {
    life(
        &acts(&[("SIGNED", "2021-05-05", ""), ("ENTERED_INTO_FORCE", "2022-03", "")]),
        &[
            ("2022-02-28", A::Signed, C::Definite, "concluded"),
            ("2022-03-01", A::Signed, C::Possible, "perhaps entered into force 2022-03"),
            ("2022-03-30", A::Signed, C::Possible, "perhaps"),
            ("2022-03-31", A::InForce, C::Definite, "entered into force 2022-03"),
        ],
    );
    life(
        &with(acts(&[("ENTERED_INTO_FORCE", "2020-01-01", "")]), valid("", "2024")),
        &[
            ("2024-01-01", A::InForce, C::Definite, "entered into force"),
            ("2024-06-01", A::InForce, C::Possible, "perhaps expired: validity ended 2024"),
            ("2024-12-31", A::InForce, C::Possible, "perhaps expired"),
            ("2025-01-01", A::Expired, C::Definite, "validity ended 2024"),
        ],
    );
    // Not bounded at all: it may have come at any time.
    life(&acts(&[("SIGNED", "../2021-05-05", "")]), &[("2000-01-01", A::Unknown, C::Possible, "perhaps concluded")]);
}

#[test]
fn what_has_no_date_had_happened_when_the_registry_learnt_of_it() {
    life(
        &acts(&[("SIGNED", "", "")]),
        &[
            ("2020-01-01", A::Signed, C::Possible, "on a day that is not stated"),
            (LEARNT, A::Signed, C::Definite, "concluded on a day that is not stated"),
        ],
    );
    life(
        &acts(&[("SIGNED", "2021-05-05", ""), ("ENTERED_INTO_FORCE", "", "")]),
        &[
            ("2021-05-05", A::Signed, C::Possible, "perhaps entered into force on a day that is not stated"),
            (LEARNT, A::InForce, C::Definite, "entered into force"),
        ],
    );
    // It is taken to lie before the validity that it brought about.
    life(
        &with(acts(&[("SIGNED", "", "")]), valid("2024-01-01", "")),
        &[("2024-06-01", A::InForce, C::Inferred, "validity began 2024-01-01")],
    );
}

// ---- the end ----

#[test]
fn a_denunciation_ends_it_from_its_effective_date() {
    let content = with(
        acts(&[("ENTERED_INTO_FORCE", "2020-01-01", ""), ("DENOUNCED", "2023-01-10", "2023-07-10")]),
        parties(&["AZ", "KZ"]),
    );
    life(
        &content,
        &[
            ("2023-01-09", A::InForce, C::Definite, "entered into force"),
            ("2023-01-10", A::Denounced, C::Definite, "with effect from 2023-07-10"),
            ("2023-07-09", A::Denounced, C::Definite, "denounced 2023-01-10"),
            ("2023-07-10", A::Terminated, C::Definite, "denounced with effect from 2023-07-10"),
        ],
    );
    let unsaid = acts(&[("ENTERED_INTO_FORCE", "2020-01-01", ""), ("DENOUNCED", "2023-01-10", "")]);
    life(&unsaid, &[("2026-01-01", A::Denounced, C::Definite, "from when it has effect is not stated")]);
    let vague = acts(&[("ENTERED_INTO_FORCE", "2020-01-01", ""), ("DENOUNCED", "2023-01-10", "2023")]);
    life(
        &vague,
        &[
            ("2023-06-01", A::Denounced, C::Possible, "perhaps denounced with effect from 2023"),
            ("2023-12-31", A::Terminated, C::Definite, "denounced with effect from 2023"),
        ],
    );
    life(
        &acts(&[("ENTERED_INTO_FORCE", "2020-01-01", ""), ("TERMINATED", "2022-02-02", "2022-03-03")]),
        &[
            ("2022-03-02", A::InForce, C::Definite, "entered"),
            ("2022-03-03", A::Terminated, C::Definite, "terminated 2022-03-03"),
        ],
    );
}

#[test]
fn one_of_many_parties_leaves_and_the_agreement_goes_on() {
    let leaving = |kind: &str, leavers: &[&str], all: &[&str]| {
        let mut content =
            with(acts(&[("ENTERED_INTO_FORCE", "2020-01-01", ""), (kind, "2022-01-01", "2022-07-01")]), parties(all));
        content["actions"][1]["parties"] = parties(leavers)["parties"].clone();
        content
    };
    let on = "2023-01-01";
    for kind in ["WITHDRAWN", "DENOUNCED"] {
        life(&leaving(kind, &["KZ"], &["AZ", "KZ", "TR"]), &[(on, A::InForce, C::Definite, "entered into force")]);
        life(&leaving(kind, &["KZ"], &["AZ", "KZ"]), &[(on, A::Terminated, C::Definite, "2022-07-01")]);
        // All but one of them: nobody is left to keep it with.
        life(&leaving(kind, &["KZ", "TR"], &["AZ", "KZ", "TR"]), &[(on, A::Terminated, C::Definite, "2022-07-01")]);
        // No party named: all of them.
        life(&leaving(kind, &[], &["AZ", "KZ", "TR"]), &[(on, A::Terminated, C::Definite, "2022-07-01")]);
    }
}

#[test]
fn it_is_suspended_until_it_is_resumed() {
    let base = ("ENTERED_INTO_FORCE", "2020-01-01", "");
    let content = acts(&[base, ("SUSPENDED", "2021-01-01", ""), ("RESUMED", "2022-01-01", "2022-02-01")]);
    life(
        &content,
        &[
            ("2020-12-31", A::InForce, C::Definite, "entered"),
            ("2021-01-01", A::Suspended, C::Definite, "suspended 2021-01-01"),
            ("2022-01-31", A::Suspended, C::Definite, "suspended"),
            ("2022-02-01", A::InForce, C::Definite, "entered"),
        ],
    );
    let again = acts(&[base, ("RESUMED", "2021-06-01", ""), ("SUSPENDED", "2021-01-01", "2023-01-01")]);
    life(&again, &[("2023-01-01", A::Suspended, C::Definite, "suspended 2023-01-01")]);
    let perhaps = acts(&[base, ("SUSPENDED", "2021-01-01", ""), ("RESUMED", "2022", "")]);
    life(
        &perhaps,
        &[
            ("2021-12-31", A::Suspended, C::Definite, "suspended"),
            ("2022-06-01", A::Suspended, C::Possible, "perhaps resumed"),
            ("2022-12-31", A::InForce, C::Definite, "entered"),
        ],
    );
    // What has ended is not suspended any more.
    let ended = with(acts(&[base, ("SUSPENDED", "2021-01-01", "")]), valid("", "2022-12-31"));
    life(&ended, &[("2023-01-01", A::Expired, C::Definite, "validity ended 2022-12-31")]);
}

// ---- renewals ----

#[test]
fn tacit_renewal_goes_on_term_by_term_until_somebody_denounces() {
    let base = |more: &[(&str, &str, &str)]| {
        let mut all = vec![("ENTERED_INTO_FORCE", "2010-01-31", "")];
        all.extend(more);
        with(with(acts(&all), valid("", "2015-01-31")), tacit(Some(12)))
    };
    life(
        &base(&[]),
        &[
            ("2015-01-31", A::InForce, C::Definite, "entered into force"),
            ("2015-02-01", A::InForce, C::Inferred, "renewed tacitly after 2015-01-31 until 2016-01-31"),
            ("2016-01-31", A::InForce, C::Inferred, "until 2016-01-31"),
            ("2016-02-01", A::InForce, C::Inferred, "until 2017-01-31"),
            ("2025-06-01", A::InForce, C::Inferred, "until 2026-01-31"),
        ],
    );
    // Denounced in the middle of a term: that term is the last.
    life(
        &base(&[("DENOUNCED", "2017-06-01", "")]),
        &[
            ("2017-05-31", A::InForce, C::Inferred, "until 2018-01-31"),
            ("2017-06-01", A::Denounced, C::Definite, "denounced 2017-06-01"),
            ("2018-01-31", A::Denounced, C::Definite, "denounced"),
            ("2018-02-01", A::Expired, C::Inferred, "validity ended 2018-01-31"),
        ],
    );
    // Before the first term ended: it was never renewed.
    life(
        &base(&[("DENOUNCED", "2014-12-01", "")]),
        &[("2015-02-01", A::Expired, C::Definite, "validity ended 2015-01-31")],
    );
}

#[test]
fn every_term_ends_on_the_same_day_of_the_month_from_whenever_one_looks() {
    let monthly =
        with(with(acts(&[("ENTERED_INTO_FORCE", "2022-12-30", "")]), valid("", "2023-01-30")), tacit(Some(1)));
    for (on, until) in [
        ("2023-02-10", "2023-02-28"),
        ("2023-03-05", "2023-03-30"),
        ("2023-04-10", "2023-04-30"),
        ("2023-12-31", "2024-01-30"),
        ("2024-02-29", "2024-02-29"),
    ] {
        life(&monthly, &[(on, A::InForce, C::Inferred, &format!("until {until}"))]);
    }
    // What ends with a month ends with every month.
    let ends = with(acts(&[("ENTERED_INTO_FORCE", "2022-12-30", "")]), valid("", "2023-02-28"));
    life(&with(ends, tacit(Some(1))), &[("2023-03-05", A::InForce, C::Inferred, "until 2023-03-31")]);
}

#[test]
fn tacit_renewal_without_a_period_has_no_end_and_denounced_it_is_told_so() {
    let content = |more: &[(&str, &str, &str)]| {
        let mut all = vec![("ENTERED_INTO_FORCE", "2010-01-01", "")];
        all.extend(more);
        with(with(acts(&all), valid("", "2014-12-31")), tacit(None))
    };
    life(&content(&[]), &[("2025-01-01", A::InForce, C::Inferred, "renewed tacitly after 2014-12-31")]);
    life(
        &content(&[("DENOUNCED", "2020-05-05", "2020-11-05")]),
        &[
            ("2020-05-05", A::Denounced, C::Definite, "with effect from 2020-11-05"),
            ("2020-11-05", A::Terminated, C::Definite, "2020-11-05"),
        ],
    );
}

#[test]
fn a_period_that_no_calendar_holds_does_no_harm() {
    for months in [i32::MAX, 1] {
        let base = with(acts(&[("ENTERED_INTO_FORCE", "0001-01-01", "")]), valid("", "0001-12-31"));
        let record = agreement(&with(base, tacit(Some(months))));
        for on in ["0002-01-01", "2026-01-01", "9999-12-31"] {
            assert!(derive(&record, View::alone(day(on))).is_some(), "{months} {on}");
        }
    }
}

#[test]
fn an_act_of_renewal_adds_a_period_or_leaves_the_end_open() {
    let express = |period: Json, more: &[(&str, &str, &str)]| {
        let mut all = vec![("ENTERED_INTO_FORCE", "2010-01-01", "")];
        all.extend(more);
        let renewal = json!({ "renewal": { "kind": "RENEWAL_KIND_EXPRESS", "periodMonths": period } });
        with(with(acts(&all), valid("", "2014-12-31")), renewal)
    };
    life(&express(json!(60), &[]), &[("2015-01-01", A::Expired, C::Definite, "2014-12-31")]);
    life(
        &express(json!(60), &[("RENEWED", "2014-11-01", "")]),
        &[
            ("2015-01-01", A::InForce, C::Definite, "renewed 2014-11-01 until 2019-12-31"),
            ("2020-01-01", A::Expired, C::Definite, "validity ended 2019-12-31, renewed 2014-11-01"),
        ],
    );
    life(
        &express(json!(60), &[("RENEWED", "2014-11-01", ""), ("RENEWED", "2019-10-01", "")]),
        &[("2024-12-31", A::InForce, C::Definite, "until 2024-12-31"), ("2025-01-01", A::Expired, C::Definite, "")],
    );
    life(
        &express(json!(null), &[("RENEWED", "2014-11-01", "")]),
        &[("2016-01-01", A::InForce, C::Possible, "for how long is not stated")],
    );
    // Before it is renewed nobody knows.
    life(
        &express(json!(60), &[("RENEWED", "2015-03-01", "")]),
        &[("2015-02-01", A::Expired, C::Definite, ""), ("2015-03-01", A::InForce, C::Definite, "renewed 2015-03-01")],
    );
}

// ---- successors ----

fn successor(relation: &str, content: Json) -> v1::Record {
    let relations = json!({ "relations": [{ "type": format!("RELATION_TYPE_{relation}"), "target": "agreements/a" }] });
    agreement_named("agreements/b", &with(content, relations))
}

#[test]
fn it_is_superseded_from_the_start_of_its_successor() {
    let old = agreement(&acts(&[("ENTERED_INTO_FORCE", "2010-01-01", "")]));
    let new = acts(&[("SIGNED", "2020-01-01", ""), ("ENTERED_INTO_FORCE", "2020-07-01", "")]);
    let others = [successor("SUPERSEDES", new.clone())];
    assert_agreement(&old, "2020-06-30", &others, A::InForce, C::Definite, "entered into force");
    assert_agreement(
        &old,
        "2020-07-01",
        &others,
        A::Superseded,
        C::Definite,
        "superseded by agreements/b, which began 2020-07-01",
    );
    // The place in a series changes nothing, nor what only amends it.
    for relation in ["NEXT_IN_SERIES", "AMENDS", "IMPLEMENTS"] {
        let others = [successor(relation, new.clone())];
        assert_agreement(&old, "2021-01-01", &others, A::InForce, C::Definite, "entered into force");
    }
    // An uncertain start is a doubt; an inferred one is told so.
    let vague = [successor("SUPERSEDES", acts(&[("ENTERED_INTO_FORCE", "2020", "")]))];
    assert_agreement(&old, "2020-06-01", &vague, A::InForce, C::Possible, "perhaps superseded by agreements/b");
    let signed = acts(&[("SIGNED", "2019-12-01", "")]);
    let inferred = [successor("SUPERSEDES", with(signed, valid_by("2020-01-01", "", "INFERRED")))];
    assert_agreement(&old, "2020-01-01", &inferred, A::Superseded, C::Inferred, "began 2020-01-01");
}

#[test]
fn what_is_not_concluded_supersedes_nothing_and_what_is_signed_late_does_from_then() {
    let old = agreement(&acts(&[("ENTERED_INTO_FORCE", "2010-01-01", "")]));
    let draft = [successor("SUPERSEDES", with(acts(&[("INITIALLED", "2019-01-01", "")]), valid("2020-01-01", "")))];
    assert_agreement(&old, "2021-01-01", &draft, A::InForce, C::Definite, "entered into force");
    let late = [successor("SUPERSEDES", with(acts(&[("SIGNED", "2020-03-01", "")]), valid("2020-01-01", "")))];
    assert_agreement(&old, "2020-02-29", &late, A::InForce, C::Definite, "entered into force");
    assert_agreement(&old, "2020-03-01", &late, A::Superseded, C::Definite, "began 2020-03-01");
}

#[test]
fn it_never_succeeds_itself_and_a_successor_by_a_merged_name_counts() {
    let own = json!({ "relations": [{ "type": "RELATION_TYPE_SUPERSEDES", "target": "agreements/a" }] });
    let alone = agreement(&with(acts(&[("ENTERED_INTO_FORCE", "2010-01-01", "")]), own));
    assert_agreement(&alone, "2021-01-01", std::slice::from_ref(&alone), A::InForce, C::Definite, "entered");
    let mut merged = agreement_named("agreements/new-name", &acts(&[("ENTERED_INTO_FORCE", "2010-01-01", "")]));
    let info = record::info(&merged).unwrap().clone();
    let info = v1::RecordInfo { merged_names: vec!["agreements/a".into()], ..info };
    record::seal(&mut merged, "agreements/new-name", info);
    let others = [successor("SUPERSEDES", acts(&[("ENTERED_INTO_FORCE", "2020-07-01", "")]))];
    assert_agreement(&merged, "2021-01-01", &others, A::Superseded, C::Definite, "agreements/b");
}

#[test]
fn an_agreement_that_renews_it_moves_its_end() {
    let old = agreement(&with(acts(&[("ENTERED_INTO_FORCE", "2010-01-01", "")]), valid("", "2014-12-31")));
    let new = with(acts(&[("SIGNED", "2014-12-01", "")]), valid("", "2019-12-31"));
    let others = [successor("RENEWS", new)];
    assert_agreement(&old, "2014-11-30", &others, A::InForce, C::Definite, "entered into force 2010-01-01");
    assert_agreement(&old, "2015-01-01", &others, A::InForce, C::Definite, "renewed by agreements/b until 2019-12-31");
    assert_agreement(&old, "2020-01-01", &others, A::Expired, C::Definite, "2019-12-31, renewed by agreements/b");
    let open = [successor("RENEWS", acts(&[("SIGNED", "2014-12-01", "")]))];
    assert_agreement(&old, "2016-01-01", &open, A::InForce, C::Possible, "for how long is not stated");
    let unsigned = [successor("RENEWS", with(acts(&[("NEGOTIATED", "2014-12-01", "")]), valid("", "2019-12-31")))];
    assert_agreement(&old, "2016-01-01", &unsigned, A::Expired, C::Definite, "2014-12-31");
}

// ---- visits, meetings, exercises ----

fn visit(content: &Json) -> v1::Record {
    sealed(Kind::Visit(read("Visit", content)), "visits/v", LEARNT)
}

/// Fields that are dates, and stages: (type, date, stated as of).
fn occasion(dates: &[(&str, &str)], stages: &[(&str, &str, &str)]) -> Json {
    let stage = |(kind, on, as_of): &(&str, &str, &str)| {
        let mut stage = json!({ "type": format!("PROGRESS_TYPE_{kind}"), "key": kind.to_lowercase() });
        for (field, edtf) in [("date", on), ("statedAsOf", as_of)] {
            if !edtf.is_empty() {
                stage[field] = json!({ "edtf": edtf });
            }
        }
        stage
    };
    let mut content = json!({ "progress": stages.iter().map(stage).collect::<Vec<_>>() });
    for (field, edtf) in dates {
        content[*field] = json!({ "edtf": edtf });
    }
    content
}

#[track_caller]
fn assert_held(record: &v1::Record, on: &str, status: S, certainty: C, why: &str) {
    let held: DerivedStatus = derive(record, View::alone(day(on))).expect("it has a status");
    assert_eq!((held.status(), held.certainty()), (status, certainty), "on {on}: {}", held.reason);
    assert!(held.reason.contains(why), "on {on}: {:?} does not say {why:?}", held.reason);
    assert_eq!(held.agreement_status(), A::Unspecified);
}

#[track_caller]
fn course(content: &Json, rows: &[(&str, S, C, &str)]) {
    for (on, status, certainty, why) in rows {
        assert_held(&visit(content), on, *status, *certainty, why);
        let meeting = sealed(Kind::Meeting(read("Meeting", content)), "meetings/m", LEARNT);
        assert_held(&meeting, on, *status, *certainty, why);
        let exercise = sealed(Kind::Exercise(read("Exercise", content)), "exercises/e", LEARNT);
        assert_held(&exercise, on, *status, *certainty, why);
    }
}

#[test]
fn a_visit_goes_from_announced_to_concluded_by_word() {
    let content = occasion(
        &[],
        &[
            ("ANNOUNCED", "2023-09-01", ""),
            ("CONFIRMED", "2023-09-20", ""),
            ("BEGAN", "2023-10-06", ""),
            ("TOOK_PLACE", "2023-10-07", ""),
            ("CONCLUDED", "2023-10-08", ""),
        ],
    );
    course(
        &content,
        &[
            ("2023-08-31", S::Unknown, C::Definite, "nothing"),
            ("2023-09-01", S::Announced, C::Definite, "announced 2023-09-01"),
            ("2023-09-20", S::Confirmed, C::Definite, "confirmed 2023-09-20"),
            ("2023-10-06", S::Underway, C::Definite, "began 2023-10-06"),
            ("2023-10-07", S::TookPlace, C::Definite, "took place 2023-10-07"),
            ("2023-10-08", S::Concluded, C::Definite, "ended 2023-10-08"),
        ],
    );
    course(&occasion(&[], &[("ENDED", "2023-10-08", "")]), &[("2023-10-08", S::Concluded, C::Definite, "ended")]);
    course(&json!({}), &[("2023-10-08", S::Unknown, C::Definite, "nothing")]);
}

#[test]
fn dates_say_what_nobody_did() {
    course(
        &occasion(&[("start", "2023-10-06"), ("end", "2023-10-08")], &[]),
        &[
            ("2023-10-05", S::Unknown, C::Definite, "nothing"),
            ("2023-10-06", S::Underway, C::Definite, "began 2023-10-06"),
            ("2023-10-08", S::Underway, C::Definite, "began"),
            ("2023-10-09", S::Concluded, C::Definite, "ended 2023-10-08"),
        ],
    );
    course(
        &occasion(&[("start", "2023-10-06")], &[]),
        &[("2025-10-06", S::Underway, C::Possible, "its end is not stated")],
    );
    course(
        &occasion(&[("start", "2023-10"), ("end", "2023-10")], &[]),
        &[
            ("2023-10-15", S::Unknown, C::Possible, "perhaps ended 2023-10"),
            ("2023-10-31", S::Underway, C::Possible, "began 2023-10"),
            ("2023-11-01", S::Concluded, C::Definite, "ended 2023-10"),
        ],
    );
}

#[test]
fn a_plan_is_inferred_and_what_was_comes_before_it() {
    course(
        &occasion(&[("plannedStart", "2023-10-06"), ("plannedEnd", "2023-10-08")], &[]),
        &[
            ("2023-01-01", S::Announced, C::Inferred, "planned for 2023-10-06"),
            ("2023-10-06", S::Underway, C::Inferred, "planned to begin 2023-10-06"),
            ("2023-10-09", S::Concluded, C::Inferred, "planned to end 2023-10-08"),
        ],
    );
    course(
        &occasion(&[("plannedStart", "2023-10-06"), ("start", "2023-11-06"), ("end", "2023-11-07")], &[]),
        &[
            ("2023-10-06", S::Announced, C::Inferred, "planned for 2023-10-06"),
            ("2023-11-06", S::Underway, C::Definite, "began 2023-11-06"),
        ],
    );
}

#[test]
fn it_took_place_neither_ended_nor_underway_while_its_end_is_open() {
    let printed_early = occasion(&[("start", "2023-10-02")], &[("TOOK_PLACE", "", "2023-10-05")]);
    course(
        &printed_early,
        &[
            ("2023-10-02", S::Underway, C::Possible, "perhaps took place"),
            ("2023-10-05", S::TookPlace, C::Definite, "as stated 2023-10-05"),
            ("2025-01-01", S::TookPlace, C::Definite, "took place"),
        ],
    );
    let with_end = occasion(&[("start", "2023-10-02"), ("end", "2023-10-08")], &[("TOOK_PLACE", "", "2023-10-05")]);
    course(
        &with_end,
        &[
            ("2023-10-06", S::TookPlace, C::Definite, "took place"),
            ("2023-10-08", S::TookPlace, C::Definite, "took place"),
            ("2023-10-09", S::Concluded, C::Definite, "ended 2023-10-08"),
        ],
    );
}

#[test]
fn cancelled_stands_over_everything_and_postponed_until_a_later_word() {
    let cancelled = occasion(
        &[("start", "2023-10-06"), ("end", "2023-10-08")],
        &[("CANCELLED", "2023-10-01", ""), ("CONFIRMED", "", "2023-11-01")],
    );
    course(
        &cancelled,
        &[
            ("2023-09-30", S::Unknown, C::Possible, "perhaps confirmed"),
            ("2023-10-01", S::Cancelled, C::Definite, "cancelled 2023-10-01"),
            ("2024-01-01", S::Cancelled, C::Definite, "cancelled"),
        ],
    );
    let postponed = occasion(
        &[("plannedStart", "2023-10-06")],
        &[("POSTPONED", "", "2023-10-01"), ("CONFIRMED", "", "2023-11-01"), ("ANNOUNCED", "", "2023-09-01")],
    );
    course(
        &postponed,
        &[
            ("2023-10-01", S::Postponed, C::Definite, "postponed, as stated 2023-10-01"),
            ("2023-10-31", S::Postponed, C::Definite, "postponed"),
            ("2023-11-01", S::Underway, C::Possible, "planned to begin 2023-10-06"),
        ],
    );
    // An earlier word, or one of the same day, does not overtake it.
    let standing = occasion(&[], &[("POSTPONED", "", "2023-10-01"), ("CONFIRMED", "", "2023-10-01")]);
    course(&standing, &[("2024-01-01", S::Postponed, C::Definite, "postponed")]);
}

#[test]
fn a_stage_without_any_date_had_been_reached_when_the_registry_learnt_of_it() {
    let began = occasion(&[], &[("BEGAN", "", "")]);
    course(
        &began,
        &[
            ("2023-01-01", S::Unknown, C::Possible, "perhaps began on a day that is not stated"),
            (LEARNT, S::Underway, C::Definite, "began"),
        ],
    );
}

#[test]
fn persons_organizations_and_places_have_no_status() {
    for kind in [
        Kind::Person(v1::Person::default()),
        Kind::Organization(v1::Organization::default()),
        Kind::Place(v1::Place::default()),
    ] {
        assert_eq!(derive(&sealed(kind, "x", LEARNT), View::alone(0)), None);
    }
}
