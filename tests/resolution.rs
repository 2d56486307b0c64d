//! The rules of resolution, one by one, and that nothing depends on the order of filing.

#[path = "common/registry.rs"]
mod common;

use attache::{
    domain::{
        record,
        report::Report,
        resolve::{Leaf, Resolution, resolve},
    },
    pb::v1::{
        self, ActionType, EventType, ExerciseRole, FilingOutcome, Intent, ItineraryStatus, Verdict, VisitLevel,
        VisitType, record::Kind,
    },
    writer::{Act, Step},
};
use common::{Registry, reports};
use serde_json::{Value as Json, json};

const VISIT: &str = "visits/v";
const AGREEMENT: &str = "agreements/a";

/// A source: its own name is its publisher's, so that each is an account of its own.
#[derive(Clone)]
struct Src(Json);

fn source(id: &str) -> Src {
    Src(json!({ "name": format!("sources/{id}"), "publisher": {"nameAsStated": id}, "kind": "SOURCE_KIND_SECONDARY" }))
}

/// A ruling.
fn editor(id: &str) -> Src {
    source(id).kind("EDITOR")
}

impl Src {
    fn with(mut self, field: &str, value: impl Into<Json>) -> Self {
        self.0[field] = value.into();
        self
    }

    fn kind(self, kind: &str) -> Self {
        self.with("kind", format!("SOURCE_KIND_{kind}"))
    }

    fn rated(self, reliability: &str) -> Self {
        self.with("reliability", format!("RELIABILITY_{reliability}"))
    }

    fn published(self, day: &str) -> Self {
        self.with("published", day)
    }

    /// Carries the words of this account.
    fn of(self, account: &str) -> Self {
        self.with("origin", json!({ "nameAsStated": account }))
    }

    fn states(&self, record: &str, content: Json) -> Report {
        self.rules(record, content, &[])
    }

    fn rules(&self, record: &str, content: Json, considered: &[&str]) -> Report {
        let kind = record.split_once("s/").unwrap().0;
        let request =
            json!({ "source": self.0, "reports": [{ "record": record, kind: content, "considered": considered }] });
        reports(&request.to_string()).remove(0)
    }

    fn visit(&self, content: Json) -> Report {
        self.states(VISIT, content)
    }

    fn agreement(&self, content: Json) -> Report {
        self.states(AGREEMENT, content)
    }
}

/// Resolves, and again with the reports in the opposite order: it must make no difference.
fn made(reports: &[Report]) -> Resolution {
    let forward = resolve(reports).unwrap();
    let mut reversed = reports.to_vec();
    reversed.reverse();
    let backward = resolve(&reversed).unwrap();
    assert_eq!(forward.record, backward.record);
    assert_eq!(common::provenance(&forward), common::provenance(&backward));
    forward
}

fn visit(reports: &[Report]) -> v1::Visit {
    made(reports).record.to()
}

fn agreement(reports: &[Report]) -> v1::Agreement {
    made(reports).record.to()
}

fn disputed(reports: &[Report]) -> Vec<String> {
    made(reports).disputed().map(str::to_owned).collect()
}

fn leaf(reports: &[Report], path: &str) -> Leaf {
    let leaves = made(reports).leaves;
    let paths: Vec<String> = leaves.iter().map(|l| l.path.clone()).collect();
    leaves.into_iter().find(|l| l.path == path).unwrap_or_else(|| panic!("{path} is not in {paths:?}"))
}

fn start(reports: &[Report]) -> String {
    visit(reports).start.map(|d| d.edtf).unwrap_or_default()
}

fn on(day: &str) -> Json {
    json!({ "start": { "edtf": day } })
}

fn text(text: &str) -> Json {
    json!([{ "text": text }])
}

fn keys<T>(elements: &[T], key: impl Fn(&T) -> &str) -> Vec<String> {
    elements.iter().map(|e| key(e).to_owned()).collect()
}

// Rule 1: rank.

/// Each of these sources outranks the next.
#[track_caller]
fn assert_ranked(sources: &[Src]) {
    for (place, pair) in sources.windows(2).enumerate() {
        let (high, low) = (pair[0].visit(on("2023-10-06")), pair[1].visit(on("2023-10-07")));
        assert_eq!(start(&[high, low]), "2023-10-06", "{place} outranks {}: {} {}", place + 1, pair[0].0, pair[1].0);
    }
}

#[test]
fn kinds_rank_from_ruling_to_copy_whatever_else_is_said_for_the_lower() {
    let kinds = ["EDITOR", "OFFICIAL_REGISTER", "PRIMARY_OFFICIAL", "SECONDARY", "DATASET", "SYNDICATED_COPY"];
    let low_first = |(i, kind): (usize, &&str)| {
        let better = ["E", "D", "F", "C", "B", "A"][i];
        source(&format!("s{}", 9 - i)).kind(kind).rated(better).published(&format!("202{i}-01-01"))
    };
    assert_ranked(&kinds.iter().enumerate().map(low_first).collect::<Vec<_>>());
}

#[test]
fn reliability_ranks_within_a_kind_and_cannot_be_judged_lies_between_c_and_d() {
    let rated = |(i, reliability): (usize, &&str)| {
        let source = source(&format!("s{}", 9 - i)).published(&format!("202{i}-01-01"));
        if reliability.is_empty() { source } else { source.rated(reliability) }
    };
    for unjudged in ["F", ""] {
        assert_ranked(&["A", "B", "C", unjudged, "D", "E"].iter().enumerate().map(rated).collect::<Vec<_>>());
    }
}

#[test]
fn unset_and_f_are_one_reliability() {
    assert_ranked(&[source("z").published("2023-01-02"), source("a").rated("F").published("2023-01-01")]);
    assert_ranked(&[source("z").rated("F").published("2023-01-02"), source("a").published("2023-01-01")]);
}

#[test]
fn later_published_ranks_first_a_day_counts_to_its_end_and_unknown_ranks_last() {
    assert_ranked(&[
        source("c").published("2023-10-08"),
        source("b").published("2023-10-07"),
        source("d").published("2023-10-07T22:00:00-01:00"),
        source("a").published("2023-10-07T23:00:00+04:00"),
        source("0"),
    ]);
}

#[test]
fn the_sources_name_breaks_ties() {
    assert_ranked(&[source("a"), source("b"), source("b-2")]);
}

#[test]
fn credibility_does_not_rank() {
    let credible = |id: &str, word: &str| source(id).with("credibility", format!("CREDIBILITY_{word}"));
    assert_ranked(&[credible("a", "IMPROBABLE"), credible("b", "CONFIRMED")]);
}

// Rule 2: comparing.

#[test]
fn a_word_of_the_vocabulary_refines_what_is_only_said_in_words_and_brings_its_own_words() {
    let said = source("a").visit(json!({ "typeAsStated": text("visit") }));
    let named = source("b").visit(json!({ "type": "VISIT_TYPE_OFFICIAL", "typeAsStated": text("official visit") }));
    let visit = visit(&[said.clone(), named.clone()]);
    assert_eq!((visit.r#type(), visit.type_as_stated[0].text.as_str()), (VisitType::Official, "official visit"));
    let leaf = leaf(&[said, named], "type");
    assert_eq!((leaf.disputed, leaf.claims[1].verdict), (false, Verdict::Refines));
}

#[test]
fn an_enum_without_words_takes_none_from_another_report() {
    let said = source("a").visit(json!({ "typeAsStated": text("visit") }));
    let named = source("b").visit(json!({ "type": "VISIT_TYPE_OFFICIAL" }));
    assert!(visit(&[said, named]).type_as_stated.is_empty());
}

#[test]
fn different_words_of_the_vocabulary_conflict_and_other_is_one_of_them() {
    let of = |id: &str, value: &str| {
        source(id).visit(json!({ "type": format!("VISIT_TYPE_{value}"), "typeAsStated": text(id) }))
    };
    assert_eq!(disputed(&[of("a", "OFFICIAL"), of("b", "WORKING")]), ["type"]);
    assert_eq!(disputed(&[of("a", "OFFICIAL"), of("b", "OTHER")]), ["type"]);
    assert!(disputed(&[of("a", "OTHER"), of("b", "OTHER")]).is_empty(), "texts are never compared");
    let said = source("0").visit(json!({ "typeAsStated": text("pilgrimage") }));
    assert_eq!(visit(&[said, of("b", "OTHER")]).r#type(), VisitType::Other);
}

#[test]
fn disjoint_dates_conflict_one_strictly_inside_refines_and_overlap_agrees() {
    let dates = |a: &str, b: &str| [source("a").visit(on(a)), source("b").visit(on(b))];
    assert_eq!(disputed(&dates("2023-10-06", "2023-10-07")), ["start"]);
    assert_eq!(start(&dates("2023-10", "2023-10-06")), "2023-10-06");
    assert_eq!(start(&dates("2023-10-06", "2023-10")), "2023-10-06");
    assert_eq!(start(&dates("2023-10-01/2023-10-06", "2023-10-06/2023-10-09")), "2023-10-01/2023-10-06");
    assert!(disputed(&dates("2023-10-01/2023-10-06", "2023-10-06/2023-10-09")).is_empty());
}

#[test]
fn a_qualified_date_never_conflicts_and_never_refines_an_unqualified_one() {
    for mark in ["?", "~", "%"] {
        let far = [source("a").visit(on("2023-10-06")), source("b").visit(on(&format!("2020{mark}")))];
        assert!(disputed(&far).is_empty());
        let inside = [source("a").visit(on("2023")), source("b").visit(on(&format!("2023-10-06{mark}")))];
        assert_eq!(start(&inside), "2023");
        let first = [source("a").visit(on(&format!("2023{mark}"))), source("b").visit(on("2023-10-06"))];
        assert_eq!(start(&first), "2023-10-06");
    }
}

#[test]
fn ranges_compare_as_dates_do_and_an_absent_bound_is_open() {
    let days = |id: &str, range: Json| source(id).visit(json!({ "durationDays": range }));
    let of = |reports: &[Report]| visit(reports).duration_days.map(|d| (d.min, d.max)).unwrap();
    assert_eq!(of(&[days("a", json!({"min": 2})), days("b", json!({"min": 2, "max": 3}))]), (Some(2), Some(3)));
    assert_eq!(of(&[days("a", json!({"min": 2, "max": 3})), days("b", json!({"min": 2}))]), (Some(2), Some(3)));
    assert_eq!(disputed(&[days("a", json!({"max": 2})), days("b", json!({"min": 3}))]), ["duration_days"]);
    assert!(disputed(&[days("a", json!({"max": 2})), days("b", json!({"min": 2}))]).is_empty());
}

#[test]
fn references_agree_or_conflict() {
    let part = |id: &str, of: &str| source(id).visit(json!({ "partOf": of }));
    assert_eq!(disputed(&[part("a", "meetings/a"), part("b", "meetings/b")]), ["part_of"]);
    assert!(disputed(&[part("a", "meetings/a"), part("b", "meetings/a")]).is_empty());
}

#[test]
fn texts_are_never_compared() {
    let say = |id: &str, words: &str| {
        source(id).visit(
            json!({ "summary": words, "note": words, "titles": [{ "text": words }], "typeAsStated": text(words) }),
        )
    };
    let both = [say("a", "one"), say("b", "another")];
    assert!(disputed(&both).is_empty());
    assert_eq!(visit(&both).summary.as_deref(), Some("one"));
}

#[test]
fn an_inferred_value_never_conflicts_and_a_stated_one_comes_before_it() {
    let end = |id: &str, day: &str, basis: &str| {
        source(id)
            .agreement(json!({ "validity": { "end": { "date": { "edtf": day }, "basis": format!("BASIS_{basis}") } } }))
    };
    let both = [end("a", "2024-12-31", "INFERRED"), end("b", "2025-06-30", "STATED")];
    assert!(disputed(&both).is_empty());
    assert_eq!(agreement(&both).validity.unwrap().end.unwrap().date.unwrap().edtf, "2025-06-30");
    assert_eq!(disputed(&[end("a", "2024-12-31", "STATED"), end("b", "2025-06-30", "STATED")]), ["validity.end"]);
}

#[test]
fn a_plan_says_nothing_against_what_came_of_it() {
    let item = |id: &str, status: &str| {
        source(id).visit(json!({ "itinerary": [{ "key": "i", "status": format!("ITINERARY_STATUS_{status}") }] }))
    };
    let both = [item("a", "PLANNED"), item("b", "HELD")];
    assert!(disputed(&both).is_empty());
    assert_eq!(visit(&both).itinerary[0].status(), ItineraryStatus::Held);
    assert_eq!(disputed(&[item("a", "HELD"), item("b", "CANCELLED")]), ["itinerary[i].status"]);
}

// Rule 3a: within an account.

#[test]
fn an_accounts_later_word_wins_over_its_earlier_one_though_that_ranks_higher() {
    let earlier = source("a").of("ministry").kind("PRIMARY_OFFICIAL").rated("A").published("2023-10-07");
    let later = source("b").of("ministry").kind("SECONDARY").published("2023-10-09");
    let both = [earlier.visit(on("2023-10-06")), later.visit(on("2023-10-07"))];
    assert_eq!(start(&both), "2023-10-07");
    assert!(disputed(&both).is_empty(), "nobody disputes with themselves");
    assert_eq!(leaf(&both, "start").claims.len(), 1);
}

#[test]
fn an_accounts_earlier_word_stays_where_it_is_more_exact() {
    let word = |id: &str, published: &str, day: &str| source(id).of("ministry").published(published).visit(on(day));
    assert_eq!(start(&[word("a", "2023-10-07", "2023-10-06"), word("b", "2023-10-09", "2023-10")]), "2023-10-06");
}

#[test]
fn originals_come_before_copies_though_these_are_later() {
    let original = source("a").of("ministry").published("2023-10-07").visit(on("2023-10-06"));
    let copy = source("b").of("ministry").kind("SYNDICATED_COPY").published("2023-10-09").visit(on("2023-10-07"));
    assert_eq!(start(&[original.clone(), copy]), "2023-10-06");
    let derived = source("c").of("ministry").with("derivedFrom", "sources/a").published("2023-10-09");
    assert_eq!(start(&[original, derived.visit(on("2023-10-07"))]), "2023-10-06");
}

#[test]
fn stated_comes_before_inferred_within_an_account_though_that_is_an_original() {
    let end = |source: Src, day: &str, basis: &str| {
        source
            .of("ministry")
            .agreement(json!({ "validity": { "end": { "date": { "edtf": day }, "basis": format!("BASIS_{basis}") } } }))
    };
    let inferred = end(source("a").published("2023-10-09"), "2024-12-31", "INFERRED");
    let stated = end(source("b").kind("SYNDICATED_COPY").published("2023-10-07"), "2025-06-30", "STATED");
    assert_eq!(agreement(&[inferred, stated]).validity.unwrap().end.unwrap().date.unwrap().edtf, "2025-06-30");
}

#[test]
fn the_organization_else_the_folded_name_is_the_account_and_the_last_attribution_the_speaker() {
    let accounts = |source: Src| source.visit(json!({})).account.to_string();
    let to = |to: Json| source("a").with("attributedTo", to);
    assert_eq!(
        accounts(source("a").with("publisher", json!({ "nameAsStated": "A  Paper!" }))),
        "named/a paper",
        "the publisher of a source that names nobody"
    );
    assert_eq!(
        accounts(to(json!([{ "nameAsStated": "Agency" }, { "organization": "organizations/m" }]))),
        "organizations/m"
    );
    assert_eq!(accounts(to(json!([{ "organization": "organizations/m" }])).of("Origin")), "named/origin");
    assert_eq!(accounts(editor("r").of("Origin")), "sources/r", "each ruling is an account of its own");
}

// Rule 3b: across accounts.

#[test]
fn accounts_speak_in_the_order_of_their_best_report_that_states_the_field() {
    let best = source("a").of("x").kind("PRIMARY_OFFICIAL").published("2023-10-01").visit(on("2023-10-06"));
    let later = source("b").of("x").kind("DATASET").published("2023-10-09").visit(on("2023-10-07"));
    let other = source("c").of("y").published("2023-10-08").visit(on("2023-10-08"));
    let all = [best, later, other.clone()];
    assert_eq!(start(&all), "2023-10-07", "x speaks first, by its later word");
    assert_eq!(disputed(&all), ["start"]);
    let silent = source("a").of("x").kind("PRIMARY_OFFICIAL").visit(json!({ "level": "VISIT_LEVEL_MINISTER" }));
    let low = source("b").of("x").kind("DATASET").visit(on("2023-10-07"));
    assert_eq!(start(&[silent, low, other]), "2023-10-08", "a report that does not state the field lends it no rank");
}

#[test]
fn a_lower_account_refines_and_the_refined_one_agrees() {
    let both = [source("a").visit(on("2023-10")), source("b").visit(on("2023-10-06"))];
    let leaf = leaf(&both, "start");
    assert_eq!(leaf.claims.iter().map(|c| c.verdict).collect::<Vec<_>>(), [Verdict::Resolved, Verdict::Refines]);
    assert_eq!(&*leaf.claims[0].account, "named/b");
}

#[test]
fn a_ruling_wins_and_settles_with_the_accounts_it_considered() {
    let sides = [source("a").visit(on("2023-10-06")), source("b").visit(on("2023-10-07"))];
    let rule = |considered: &[&str]| {
        let ruling = editor("r").rules(VISIT, on("2023-10-07"), considered);
        [sides.to_vec(), vec![ruling]].concat()
    };
    assert_eq!(start(&rule(&[])), "2023-10-07");
    assert_eq!(disputed(&rule(&[])), ["start"], "an account that was not considered still disputes");
    assert_eq!(disputed(&rule(&["named/b"])), ["start"]);
    assert!(disputed(&rule(&["named/a"])).is_empty());
    let leaf = leaf(&rule(&["named/a"]), "start");
    let claim = leaf.claims.iter().find(|c| &*c.account == "named/a").unwrap();
    assert_eq!((claim.verdict, claim.considered), (Verdict::Conflicts, true), "it is still readable that they differ");
}

#[test]
fn a_ruling_settles_only_the_fields_it_states() {
    let both =
        |start: &str, level: &str| json!({ "start": { "edtf": start }, "level": format!("VISIT_LEVEL_{level}") });
    let all = [
        source("a").visit(both("2023-10-06", "MINISTER")),
        source("b").visit(both("2023-10-07", "EXPERT")),
        editor("r").rules(VISIT, on("2023-10-06"), &["named/a", "named/b"]),
    ];
    assert_eq!(disputed(&all), ["level"]);
}

#[test]
fn a_ruling_is_not_refined_by_an_account_it_considered_but_by_another() {
    let ruling = |considered: &[&str]| editor("r").rules(VISIT, on("2023-10"), considered);
    let account = source("a").visit(on("2023-10-06"));
    assert_eq!(start(&[ruling(&["named/a"]), account.clone()]), "2023-10");
    assert_eq!(start(&[ruling(&["named/b"]), account]), "2023-10-06");
}

#[test]
fn a_considered_account_does_not_refine_a_ruling_by_way_of_another() {
    let ruling = editor("r").rules(VISIT, on("2023"), &["named/b"]);
    let all = [ruling, source("a").visit(on("2023-10")), source("b").visit(on("2023-10-06"))];
    assert_eq!(start(&all), "2023-10");
}

#[test]
fn a_conflict_is_with_the_resolved_value_and_not_between_the_others() {
    let all = [source("a").visit(on("2023")), source("b").visit(on("2023-10-06")), source("c").visit(on("2023-10-07"))];
    assert_eq!(start(&all), "2023-10-06");
    assert_eq!(disputed(&all), ["start"]);
    let agreed = [
        source("a").visit(on("2023-10-06~")),
        source("b").visit(on("2023-10-07")),
        source("c").visit(on("2023-10-08")),
    ];
    assert!(disputed(&agreed).is_empty(), "both agree with the approximate date of the first: {}", start(&agreed));
}

// Rule 4: lists.

#[test]
fn sets_are_united_by_value_and_by_place() {
    let a = source("a").visit(json!({
        "topics": ["TOPIC_CYBER", "TOPIC_MEDICAL"], "mentions": ["visits/x"],
        "places": [{ "place": "places/p", "asStated": "P" }, { "asStated": "The Hall" }],
        "outcomes": [{ "record": "agreements/o" }, { "text": { "text": "A promise" } }],
    }));
    let b = source("b").visit(json!({
        "topics": ["TOPIC_MEDICAL", "TOPIC_LOGISTICS"], "mentions": ["visits/x", "visits/y"],
        "places": [{ "place": "places/p", "asStated": "Other words" }, { "asStated": "the  HALL" }],
        "outcomes": [{ "record": "agreements/o" }, { "text": { "text": "a promise!" } }],
    }));
    let both = [a, b];
    let visit = visit(&both);
    assert_eq!((visit.topics.len(), visit.mentions.len(), visit.places.len(), visit.outcomes.len()), (3, 2, 2, 2));
    assert_eq!(visit.places.iter().filter_map(|p| p.as_stated.as_deref()).collect::<Vec<_>>(), ["P", "The Hall"]);
    assert!(disputed(&both).is_empty());
}

#[test]
fn elements_with_one_key_are_resolved_field_by_field() {
    let a = source("a").visit(json!({ "itinerary": [{ "key": "m", "kind": "ITINERARY_KIND_MEETING", "day": 2 }] }));
    let b = source("b").visit(json!({ "itinerary": [{ "key": "m", "date": { "edtf": "2023-10-06" }, "day": 1 }] }));
    let both = [a, b];
    let visit = visit(&both);
    assert_eq!((visit.itinerary.len(), visit.itinerary[0].day), (1, Some(2)));
    assert_eq!(visit.itinerary[0].date.as_ref().unwrap().edtf, "2023-10-06");
    assert_eq!(disputed(&both), ["itinerary[m].day"]);
}

#[test]
fn what_only_one_account_mentions_is_not_disputed() {
    let a =
        source("a").visit(json!({ "itinerary": [{ "kind": "ITINERARY_KIND_MEETING" }], "hosts": [{ "state": "AZ" }] }));
    let b =
        source("b").visit(json!({ "itinerary": [{ "kind": "ITINERARY_KIND_BANQUET" }], "hosts": [{ "state": "KZ" }] }));
    let both = [a, b];
    assert!(disputed(&both).is_empty());
    assert_eq!((visit(&both).itinerary.len(), visit(&both).hosts.len()), (2, 2));
}

#[test]
fn a_party_without_organization_joins_the_only_one_of_its_state() {
    let parties = |id: &str, parties: Json| source(id).agreement(json!({ "parties": parties }));
    let bare = parties("a", json!([{ "state": "AZ" }]));
    let one = parties("b", json!([{ "state": "AZ", "organization": "organizations/mod" }]));
    let other = parties("c", json!([{ "state": "AZ", "organization": "organizations/navy" }]));
    let of = |reports: &[Report]| agreement(reports).parties.into_iter().map(|p| p.organization).collect::<Vec<_>>();
    assert_eq!(of(&[bare.clone(), one.clone()]), [Some("organizations/mod".to_owned())]);
    let mut three = of(&[bare, one, other]);
    three.sort();
    let named = |id: &str| Some(format!("organizations/{id}"));
    assert_eq!(three, [None, named("mod"), named("navy")], "it could be either, so it stays itself");
}

#[test]
fn exercise_participants_are_united_by_state_organization_and_role() {
    let part = |id: &str, role: &str, forces: &str| {
        let participant = json!({ "state": "KZ", "role": format!("EXERCISE_ROLE_{role}"), "forces": text(forces) });
        source(id).states("exercises/e", json!({ "participants": [participant] }))
    };
    let all = [part("a", "PARTICIPANT", "ships"), part("b", "PARTICIPANT", "aircraft"), part("c", "OBSERVER", "none")];
    let exercise: v1::Exercise = made(&all).record.to();
    let of =
        |role: ExerciseRole| exercise.participants.iter().filter(move |p| p.role() == role).map(|p| p.forces.len());
    assert_eq!(of(ExerciseRole::Participant).collect::<Vec<_>>(), [2]);
    assert_eq!(of(ExerciseRole::Observer).collect::<Vec<_>>(), [1]);
}

#[test]
fn signatories_are_united_by_party_and_person() {
    let sign = |id: &str, signatory: Json| {
        source(id).agreement(json!({ "actions": [{ "type": "ACTION_TYPE_SIGNED", "signatories": [signatory] }] }))
    };
    let by = |state: &str, person: Json| json!({ "party": { "state": state }, "person": person });
    let count = |reports: &[Report]| agreement(reports).actions[0].signatories.len();
    let p = json!({ "person": "persons/p", "nameAsStated": "P" });
    assert_eq!(count(&[sign("a", by("AZ", p.clone())), sign("b", by("AZ", json!({ "nameAsStated": "p" })))]), 1);
    assert_eq!(count(&[sign("a", by("AZ", p.clone())), sign("b", by("KZ", p))]), 2);
}

#[test]
fn a_signatory_of_whom_only_the_party_is_known_is_not_taken_for_a_person_without_a_name() {
    let both = source("a").agreement(json!({ "actions": [{ "type": "ACTION_TYPE_SIGNED", "signatories": [
        { "party": { "state": "AZ" } }, { "party": { "state": "AZ" }, "person": { "person": "persons/p" } },
    ] }] }));
    assert_eq!(agreement(&[both]).actions[0].signatories.len(), 2);
}

#[test]
fn a_person_without_record_joins_the_only_one_with_the_folded_name() {
    let members = |id: &str, members: Json| source(id).visit(json!({ "delegation": { "members": members } }));
    let count = |reports: &[Report]| visit(reports).delegation.unwrap().members.len();
    let named = members("a", json!([{ "nameAsStated": "Анна Б." }]));
    let one = members("b", json!([{ "person": "persons/anna", "nameAsStated": "Anna B" }]));
    let other = members("c", json!([{ "person": "persons/anna-2", "nameAsStated": "anna b" }]));
    assert_eq!(count(&[named.clone(), one.clone()]), 1);
    assert_eq!(count(&[named, one, other]), 3, "it could be either, so it stays itself");
    let same = [
        members("a", json!([{ "nameAsStated": "Ann O'Neil" }])),
        members("b", json!([{ "nameAsStated": "ANN ONEIL" }])),
    ];
    assert_eq!(count(&same), 1);
}

#[test]
fn participants_of_an_item_are_united_by_the_person_inside() {
    let at = |id: &str, role: &str, person: Json| {
        let participant = json!({ "person": person, "role": format!("PARTICIPANT_ROLE_{role}") });
        source(id).visit(json!({ "itinerary": [{ "key": "m", "participants": [participant] }] }))
    };
    let all = [
        at("a", "HOST", json!({ "person": "persons/p", "nameAsStated": "P" })),
        at("b", "GUEST", json!({ "nameAsStated": "p." })),
    ];
    assert_eq!(visit(&all).itinerary[0].participants.len(), 1);
    assert_eq!(disputed(&all), ["itinerary[m].participants[p].role"]);
}

#[test]
fn statements_never_compete_across_accounts_and_are_corrected_within_one() {
    let say = |source: Src, summary: &str, act: &str| {
        source
            .visit(json!({ "statements": [{ "key": "s", "act": format!("STATEMENT_ACT_{act}"), "summary": summary }] }))
    };
    let first = say(source("a").of("x").published("2023-10-07"), "one", "AGREED");
    let later = say(source("b").of("x").published("2023-10-08"), "two", "OBJECTED");
    let other = say(source("c").of("y"), "three", "NOTED");
    let all = [first, later, other];
    let mut said: Vec<_> = visit(&all).statements.into_iter().map(|s| (s.account, s.summary.unwrap())).collect();
    said.sort();
    assert_eq!(said, [("named/x".to_owned(), "two".to_owned()), ("named/y".to_owned(), "three".to_owned())]);
    assert!(disputed(&all).is_empty());
}

#[test]
fn components_honours_titles_ids_and_relations_have_the_keys_of_the_table() {
    let a = source("a").visit(json!({
        "titles": [{ "language": "en", "text": "One" }, { "language": "ru", "script": "Cyrl", "text": "Два" }],
        "externalIds": [{ "scheme": "wikidata", "id": "Q1" }],
        "itinerary": [{ "key": "w", "components": [{ "kind": "COMPONENT_KIND_GUN_SALUTE" }], "honours": [{ "nameAsStated": "The Fallen" }] }],
    }));
    let b = source("b").visit(json!({
        "titles": [{ "language": "en", "text": "Other" }, { "language": "ru", "text": "Три" }],
        "externalIds": [{ "scheme": "wikidata", "id": "Q2" }],
        "itinerary": [{ "key": "w", "components": [{ "kind": "COMPONENT_KIND_GUN_SALUTE" }, { "kind": "COMPONENT_KIND_MARCH_PAST" }],
            "honours": [{ "nameAsStated": "the fallen" }] }],
    }));
    let both = [a, b];
    let visit = visit(&both);
    assert_eq!((visit.titles.len(), visit.itinerary[0].components.len(), visit.itinerary[0].honours.len()), (3, 2, 1));
    assert_eq!(disputed(&both), ["external_ids[wikidata].id"]);
    let related = |id: &str, kind: &str| {
        source(id)
            .agreement(json!({ "relations": [{ "type": format!("RELATION_TYPE_{kind}"), "target": "agreements/b" }] }))
    };
    assert_eq!(agreement(&[related("a", "AMENDS"), related("b", "RENEWS"), related("c", "AMENDS")]).relations.len(), 2);
}

#[test]
fn postings_and_ranks_are_united_by_post_or_rank_and_start() {
    let person = |id: &str, content: Json| source(id).states("persons/p", content);
    let post = |start: &str, organization: &str| json!({ "post": "Minister", "start": { "edtf": start }, "organization": format!("organizations/{organization}") });
    let a = person(
        "a",
        json!({ "postings": [post("2022", "mod"), post("2024", "mod")], "ranks": [{ "rank": "General" }] }),
    );
    let b = person(
        "b",
        json!({ "postings": [post("2022", "navy")], "ranks": [{ "rank": "GENERAL" }, { "rank": "Admiral" }] }),
    );
    let both = [a, b];
    let person: v1::Person = made(&both).record.to();
    assert_eq!((person.postings.len(), person.ranks.len()), (2, 2));
    assert_eq!(disputed(&both), ["postings[minister/2022].organization"]);
}

#[test]
fn names_and_titles_are_united_and_the_highest_ranked_comes_first() {
    let named = |source: Src, names: Json| source.states("persons/p", json!({ "names": names, "titles": names }));
    let low = named(
        source("a").kind("DATASET"),
        json!([{ "text": "B", "language": "de" }, { "text": "A", "language": "ru" }]),
    );
    let high = named(source("z"), json!([{ "text": "C", "language": "en" }, { "text": "A", "language": "ru" }]));
    let person: v1::Person = made(&[low, high]).record.to();
    assert_eq!((keys(&person.names, |n| &n.text)[0].as_str(), person.names.len()), ("C", 3));
    assert_eq!((keys(&person.titles, |t| &t.text)[0].as_str(), person.titles.len()), ("C", 3));
}

#[test]
fn what_concludes_has_the_key_concluded_and_every_other_act_its_type() {
    for act in
        ["ADOPTED", "SIGNED", "SIGNED_SUBJECT_TO_RATIFICATION", "SIGNED_AD_REFERENDUM", "ENDORSED", "NOTES_EXCHANGED"]
    {
        let report = source("a").agreement(json!({ "actions": [{ "type": format!("ACTION_TYPE_{act}") }] }));
        assert_eq!(agreement(&[report]).actions[0].key, "concluded", "{act}");
    }
    let report = source("a").agreement(
        json!({ "actions": [{ "type": "ACTION_TYPE_ENTERED_INTO_FORCE" }, { "type": "ACTION_TYPE_RATIFIED" }] }),
    );
    assert_eq!(keys(&agreement(&[report]).actions, |a| &a.key), ["entered-into-force", "ratified"]);
}

#[test]
fn signed_and_endorsed_are_one_act_that_two_accounts_dispute() {
    let act =
        |id: &str, act: &str| source(id).agreement(json!({ "actions": [{ "type": format!("ACTION_TYPE_{act}") }] }));
    let both = [act("a", "SIGNED"), act("b", "ENDORSED")];
    assert_eq!(disputed(&both), ["actions[concluded].type"]);
    assert_eq!(
        agreement(&both).actions.iter().map(v1::AgreementAction::r#type).collect::<Vec<_>>(),
        [ActionType::Signed]
    );
}

#[test]
fn items_are_keyed_by_kind_and_place_and_repeats_in_one_report_are_numbered() {
    let report = source("a").visit(json!({
        "itinerary": [
            { "kind": "ITINERARY_KIND_MEETING" },
            { "kind": "ITINERARY_KIND_MEETING" },
            { "kind": "ITINERARY_KIND_FLOWER_LAYING", "place": { "place": "places/alley", "asStated": "x" } },
            { "kind": "ITINERARY_KIND_FLOWER_LAYING", "place": { "asStated": "Аллея  Шехидов" } },
            { "kind": "ITINERARY_KIND_MEETING" },
        ],
        "statements": [{ "act": "STATEMENT_ACT_CALLED_FOR" }, { "act": "STATEMENT_ACT_CALLED_FOR" }],
        "progress": [{ "type": "PROGRESS_TYPE_TOOK_PLACE" }],
    }));
    let visit = visit(&[report]);
    let items = ["meeting", "meeting-2", "flower-laying-alley", "flower-laying-alleia-shekhidov", "meeting-3"];
    assert_eq!(keys(&visit.itinerary, |i| &i.key), items);
    assert_eq!(keys(&visit.statements, |s| &s.key), ["called-for", "called-for-2"]);
    assert_eq!(keys(&visit.progress, |p| &p.key), ["took-place"]);
}

#[test]
fn a_default_key_gives_way_to_one_that_is_stated() {
    let report =
        source("a").visit(json!({ "itinerary": [{ "kind": "ITINERARY_KIND_MEETING" }, { "key": "meeting" }] }));
    assert_eq!(keys(&visit(&[report]).itinerary, |i| &i.key), ["meeting-2", "meeting"]);
}

#[test]
fn an_item_not_yet_placed_goes_directly_after_its_predecessor_in_that_report_or_first() {
    let items = |id: &str, keys: &[&str]| {
        source(id).visit(json!({ "itinerary": keys.iter().map(|k| json!({ "key": k })).collect::<Vec<_>>() }))
    };
    let order = |reports: &[Report]| keys(&visit(reports).itinerary, |i| &i.key);
    assert_eq!(order(&[items("a", &["x", "y"]), items("b", &["x", "n", "y"])]), ["x", "n", "y"]);
    assert_eq!(order(&[items("a", &["x", "y"]), items("b", &["n", "x"])]), ["n", "x", "y"]);
    assert_eq!(order(&[items("a", &["x", "y"]), items("b", &["y", "m", "n"])]), ["x", "y", "m", "n"]);
    assert_eq!(order(&[items("a", &["x"]), items("b", &["x", "m"]), items("c", &["x", "n"])]), ["x", "n", "m"]);
    assert_eq!(order(&[items("a", &["x"]), items("b", &["m"]), items("c", &["n"])]), ["n", "m", "x"]);
}

// Rule 5: persons.

#[test]
fn rank_grade_and_post_come_only_from_reports_that_name_the_same_person() {
    let head = |id: &str, head: Json| source(id).visit(json!({ "guests": [{ "state": "KZ", "head": head }] }));
    let of = |reports: &[Report]| visit(reports).guests[0].head.clone().unwrap();
    let bare = head("a", json!({ "person": "persons/p", "nameAsStated": "P" }));
    let same =
        head("b", json!({ "person": "persons/p", "rankAsStated": "General", "nato": { "code": "NATO_CODE_OF_9" } }));
    let other = head("0", json!({ "nameAsStated": "Q", "rankAsStated": "Major", "postAsStated": "Attaché" }));
    let folded = head("c", json!({ "nameAsStated": "p.", "postAsStated": "Minister" }));
    let resolved = of(&[bare.clone(), same, folded]);
    assert_eq!(
        (resolved.rank_as_stated.as_deref(), resolved.post_as_stated.as_deref()),
        (Some("General"), Some("Minister"))
    );
    assert_eq!(resolved.nato.unwrap().code(), v1::NatoCode::Of9);
    let resolved = of(&[other, bare]);
    assert_eq!(
        (resolved.person.as_deref(), resolved.rank_as_stated, resolved.post_as_stated),
        (Some("persons/p"), None, None)
    );
}

#[test]
fn persons_are_compared_by_record_and_a_name_alone_is_refined() {
    let head = |id: &str, head: Json| source(id).visit(json!({ "guests": [{ "state": "KZ", "head": head }] }));
    let p = head("a", json!({ "person": "persons/p", "nameAsStated": "One" }));
    let again = head("b", json!({ "person": "persons/p", "nameAsStated": "Another" }));
    let q = head("c", json!({ "person": "persons/q" }));
    assert!(disputed(&[p.clone(), again]).is_empty());
    assert_eq!(disputed(&[p.clone(), q]), ["guests[KZ].head"]);
    let name = head("0", json!({ "nameAsStated": "Somebody" }));
    assert_eq!(visit(&[name, p]).guests[0].head.as_ref().unwrap().person.as_deref(), Some("persons/p"));
}

#[test]
fn grades_conflict_by_code_unless_inferred() {
    let head = |id: &str, code: u8, basis: &str| {
        let nato = json!({ "code": format!("NATO_CODE_OF_{code}"), "basis": format!("BASIS_{basis}") });
        source(id).visit(json!({ "guests": [{ "state": "KZ", "head": { "person": "persons/p", "nato": nato } }] }))
    };
    assert_eq!(disputed(&[head("a", 9, "STATED"), head("b", 8, "STATED")]), ["guests[KZ].head.nato"]);
    assert!(disputed(&[head("a", 9, "STATED"), head("b", 8, "INFERRED")]).is_empty());
}

// Rule 6, and what is told of it.

fn types(answer: &attache::writer::Answer) -> Vec<EventType> {
    answer.events.iter().map(v1::Event::r#type).collect()
}

fn day() -> Registry {
    Registry::on("2026-01-15")
}

#[test]
fn a_dispute_is_told_when_it_begins_and_settled_for_whatever_cause_when_it_ends() {
    let (a, b) = (source("a").visit(on("2023-10-06")), source("b").visit(on("2023-10-07")));
    let registry = day();
    registry.file(vec![a]);
    let answer = registry.file(vec![b.clone()]);
    assert_eq!(types(&answer), [EventType::Extended, EventType::Disputed]);
    assert_eq!(answer.events[1].fields, ["start"]);
    let ruled = registry.file(vec![editor("r").rules(VISIT, on("2023-10-06"), &["named/a", "named/b"])]);
    assert_eq!(types(&ruled), [EventType::Extended, EventType::Settled]);
    let again = registry.withdraw("visits/v/reports/r").unwrap();
    assert_eq!(types(&again), [EventType::Extended, EventType::Disputed]);
    let gone = registry.withdraw("visits/v/reports/b").unwrap();
    assert_eq!(types(&gone), [EventType::Extended, EventType::Settled]);
    assert_eq!(gone.results[0].settled, ["start"]);
    common::replay(&registry.told());
}

/// What the first event of a second filing of the source `a` is.
fn then(first: Json, second: Json, intent: Intent) -> EventType {
    let registry = day();
    registry.file(vec![source("a").visit(first)]);
    let answer = registry.file_with(vec![source("a").visit(second)], intent);
    common::replay(&registry.told());
    answer.events.first().map_or(EventType::Unspecified, v1::Event::r#type)
}

#[test]
fn a_conflicting_or_vanished_value_is_corrected_and_all_else_extended() {
    let plain = Intent::Unspecified;
    assert_eq!(then(on("2023-10-06"), on("2023-10-07"), plain), EventType::Corrected);
    assert_eq!(then(on("2023-10-06"), json!({ "level": "VISIT_LEVEL_MINISTER" }), plain), EventType::Corrected);
    assert_eq!(then(on("2023-10"), on("2023-10-06"), plain), EventType::Extended);
    assert_eq!(then(json!({}), on("2023-10-06"), plain), EventType::Extended);
    let hosts = |hosts: Json| json!({ "hosts": hosts });
    assert_eq!(
        then(hosts(json!([{"state": "AZ"}])), hosts(json!([{"state": "AZ"}, {"state": "KZ"}])), plain),
        EventType::Extended
    );
    assert_eq!(then(hosts(json!([{"state": "AZ"}])), hosts(json!([{"state": "KZ"}])), plain), EventType::Corrected);
}

#[test]
fn what_the_filer_means_as_an_update_is_updated_and_identical_content_is_nothing() {
    assert_eq!(then(on("2023-10-06"), on("2023-10-07"), Intent::Update), EventType::Updated);
    assert_eq!(then(on("2023-10"), on("2023-10-06"), Intent::Update), EventType::Updated);
    assert_eq!(then(on("2023-10-06"), on("2023-10-06"), Intent::Update), EventType::Unspecified);
}

/// The key of a party grows by its organization; nothing that was said vanished.
#[test]
fn an_element_that_learns_its_organization_or_person_is_extended() {
    let head = |person: Json| json!({ "nameAsStated": "P", "person": person });
    let hosts = |organization: Json| json!({ "hosts": [{ "state": "AZ", "organization": organization, "head": head(Json::Null) }] });
    let plain = Intent::Unspecified;
    assert_eq!(then(hosts(Json::Null), hosts("organizations/mod".into()), plain), EventType::Extended);
    let bare = |organization: Json| json!({ "hosts": [{ "state": "AZ", "organization": organization }] });
    assert_eq!(then(bare(Json::Null), bare("organizations/mod".into()), plain), EventType::Extended);
    let member = |person: Json| json!({ "delegation": { "members": [head(person)] } });
    assert_eq!(then(member(Json::Null), member("persons/p".into()), plain), EventType::Extended);
}

#[test]
fn another_copy_makes_no_event_and_another_account_does() {
    let registry = day();
    registry.file(vec![source("a").of("x").visit(on("2023-10-06"))]);
    let before = registry.record(VISIT);
    let copy = registry.file(vec![source("b").of("x").kind("SYNDICATED_COPY").visit(on("2023-10-06"))]);
    assert_eq!((copy.results[0].outcome(), copy.events.len()), (FilingOutcome::NoChange, 0));
    assert_eq!(registry.record(VISIT), before);
    let account = registry.file(vec![source("c").of("y").visit(on("2023-10-06"))]);
    assert_eq!(types(&account), [EventType::Extended]);
    assert_eq!(record::info(&registry.record(VISIT).unwrap()).unwrap().account_count, 2);
}

#[test]
fn a_milestone_is_told_once_revised_when_its_date_changes_and_withdrawn_with_its_ground() {
    let held = |id: &str, day: &str| {
        source(id).visit(json!({ "progress": [{ "type": "PROGRESS_TYPE_TOOK_PLACE", "date": { "edtf": day } }] }))
    };
    let registry = day();
    let first = registry.file(vec![held("a", "2023-10")]);
    assert_eq!(types(&first), [EventType::Recorded, EventType::VisitTookPlace]);
    let again = registry.file(vec![held("b", "2023-10-06")]);
    assert_eq!(types(&again), [EventType::Extended]);
    assert_eq!(again.events[0].revises, [first.events[1].id.clone()]);
    registry.withdraw("visits/v/reports/b").unwrap();
    let gone = registry.file(vec![source("a").visit(json!({}))]);
    assert_eq!(types(&gone), [EventType::Corrected, EventType::MilestoneWithdrawn]);
    assert_eq!(gone.events[1].withdraws, first.events[1].id);
    common::replay(&registry.told());
}

#[test]
fn what_is_dated_in_the_future_waits() {
    let plan = |day: &str| {
        source("a").visit(json!({ "progress": [{ "type": "PROGRESS_TYPE_BEGAN", "date": { "edtf": day } }] }))
    };
    let registry = day();
    assert_eq!(types(&registry.file(vec![plan("2026-01-16")])), [EventType::Recorded]);
    assert_eq!(types(&registry.file(vec![plan("2026-01-15")])), [EventType::Corrected, EventType::VisitBegan]);
}

#[test]
fn under_a_retraction_ruling_filings_are_stored_and_told_when_it_is_lifted() {
    let registry = day();
    registry.file(vec![source("a").visit(on("2023-10-06"))]);
    assert_eq!(types(&registry.retract(VISIT).unwrap()), [EventType::Retracted, EventType::MilestoneWithdrawn]);
    let stored = registry.file(vec![source("b").visit(json!({ "level": "VISIT_LEVEL_MINISTER" }))]);
    assert_eq!((stored.results[0].outcome(), stored.events.len()), (FilingOutcome::Stored, 0));
    assert!(registry.record(VISIT).is_none());
    assert_eq!(registry.retract(VISIT).unwrap().revision, 0, "the same ruling stands already");
    assert_eq!(types(&registry.restore(VISIT).unwrap()), [EventType::Restored, EventType::VisitBegan]);
    let Some(Kind::Visit(visit)) = registry.record(VISIT).unwrap().kind else { panic!("a visit") };
    assert_eq!((visit.level(), visit.start.unwrap().edtf.as_str()), (VisitLevel::Minister, "2023-10-06"));
    common::replay(&registry.told());
}

#[test]
fn a_report_that_one_entry_files_twice_stands_once() {
    let registry = Registry::on("2026-01-15");
    let said = |text: &str| source("a").visit(json!({ "summary": text }));
    let steps = ["first", "second"].map(|text| Step::File(Box::new(said(text)))).into();
    let intent = v1::Intent::Unspecified;
    registry.act(Act::Import { steps, intent, reason: v1::RetractionReason::Unspecified }).unwrap();
    let active = registry.active(VISIT);
    assert_eq!(active.len(), 1);
    assert_eq!(active[0].stored().content, said("second").stored().content);
}

#[test]
fn a_record_whose_last_report_is_withdrawn_is_retracted_and_restored_by_the_next() {
    let registry = day();
    registry.file(vec![source("a").visit(on("2023-10-06"))]);
    let gone = registry.withdraw("visits/v/reports/a").unwrap();
    assert_eq!(types(&gone), [EventType::Retracted, EventType::MilestoneWithdrawn]);
    assert_eq!(gone.results[0].outcome(), FilingOutcome::Retracted);
    assert!(common::is_not_found(&registry.withdraw("visits/v/reports/a").unwrap_err()));
    let back = registry.file(vec![source("b").visit(on("2023-10-06"))]);
    assert_eq!(types(&back), [EventType::Restored, EventType::VisitBegan]);
    common::replay(&registry.told());
}

#[test]
fn of_two_reports_of_one_source_in_one_filing_the_later_stands() {
    let registry = day();
    let report = |day: &str| source("a").visit(on(day));
    registry.file(vec![report("2023-10-06")]);
    registry.file(vec![report("2023-10-07"), report("2023-10-06")]);
    let Some(Kind::Visit(visit)) = registry.record(VISIT).unwrap().kind else { panic!("a visit") };
    assert_eq!(visit.start.unwrap().edtf, "2023-10-06");
    assert_eq!(registry.active(VISIT).len(), 1);
    common::replay(&registry.told());
}

#[test]
fn a_filer_finds_a_person_by_every_field_that_names_one() {
    let registry = day();
    registry.file(vec![
        source("a").visit(json!({ "mentions": ["persons/p"], "statements": [{ "key": "s", "subject": "places/b" }] })),
    ]);
    let facets = attache::domain::facets::Facets::of(&registry.record(VISIT).unwrap());
    assert!(facets.has(attache::domain::facets::Tag::Person, "persons/p"));
    assert!(facets.has(attache::domain::facets::Tag::Place, "places/b"));
}
