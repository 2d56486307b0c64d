//! The sample registry: every trap of the first real input comes out as the sources state it.

#[path = "common/registry.rs"]
mod common;

use std::collections::BTreeSet;

use attache::{
    domain::{fold::fold, record, resolve::Leaf},
    pb::{
        self,
        v1::{
            self, ActionType, AgreementLevel, Basis, ComponentKind, EventType, ExerciseRole, FilingOutcome, Instrument,
            ItineraryKind, ItineraryStatus, ProgressType, Verdict, VisitType, record::Kind,
        },
    },
    sample,
};
use common::{Registry, replay, reports, resolution};

const AZ: &str = "organizations/az-ministry-of-defence";
const KZ: &str = "organizations/kz-ministry-of-defence";
const VISIT: &str = "visits/kz-mod-az-2023-10";
const PLAN: &str = "agreements/az-kz-military-cooperation-plan-2024";
const EXERCISE: &str = "exercises/khazri-2023";

/// The whole sample, filed in order by a desk that learns of it after all of it has happened.
fn filed() -> Registry {
    filed_up_to("99")
}

/// The files whose number is not above this one.
fn filed_up_to(last: &str) -> Registry {
    let registry = Registry::on("2026-01-15");
    for (_, json) in sample::REPORTS.iter().filter(|(name, _)| &name[..2] <= last) {
        file(&registry, json);
    }
    registry
}

/// Files one file, recorded when the sample says.
fn file(registry: &Registry, json: &str) -> attache::writer::Answer {
    let request: v1::FileReportsRequest = pb::from_json("FileReportsRequest", json).expect("a request");
    registry.file_at(reports(json), sample::recorded_at_us(&request).expect("a time"))
}

fn visit(registry: &Registry, name: &str) -> v1::Visit {
    match registry.record(name).and_then(|r| r.kind) {
        Some(Kind::Visit(visit)) => visit,
        other => panic!("{name}: {other:?}"),
    }
}

fn agreement(registry: &Registry, name: &str) -> v1::Agreement {
    match registry.record(name).and_then(|r| r.kind) {
        Some(Kind::Agreement(agreement)) => agreement,
        other => panic!("{name}: {other:?}"),
    }
}

fn exercise(registry: &Registry) -> v1::Exercise {
    match registry.record(EXERCISE).and_then(|r| r.kind) {
        Some(Kind::Exercise(exercise)) => exercise,
        other => panic!("{EXERCISE}: {other:?}"),
    }
}

fn info(registry: &Registry, name: &str) -> v1::RecordInfo {
    record::info(&registry.record(name).expect(name)).cloned().expect("every record has one")
}

/// A resolved field with what each account says of it.
fn leaf(registry: &Registry, record: &str, path: &str) -> Leaf {
    let leaves = resolution(registry, record).expect(record).leaves;
    let paths: Vec<String> = leaves.iter().map(|l| l.path.clone()).collect();
    leaves.into_iter().find(|l| l.path == path).unwrap_or_else(|| panic!("{path} is not in {paths:?}"))
}

fn verdicts(leaf: &Leaf) -> Vec<(&str, Verdict)> {
    leaf.claims.iter().map(|c| (&*c.account, c.verdict)).collect()
}

fn item<'v>(visit: &'v v1::Visit, key: &str) -> &'v v1::ItineraryItem {
    visit.itinerary.iter().find(|i| i.key == key).unwrap_or_else(|| panic!("{key}"))
}

fn edtf(date: &Option<v1::EdtfDate>) -> Option<&str> {
    date.as_ref().map(|d| d.edtf.as_str())
}

/// How often an event of a type was told of a record.
fn told(registry: &Registry, event_type: EventType, subject: &str) -> usize {
    registry.events().iter().filter(|e| e.r#type() == event_type && e.subject == subject).count()
}

#[test]
fn the_sample_is_filed_whole_and_every_revision_keeps_its_promises() {
    let registry = filed();
    let standing = replay(&registry.told());
    for (name, told) in standing {
        assert_eq!(told, registry.milestones(&name), "{name}");
    }
}

#[test]
fn the_guests_word_official_refines_the_hosts_visit_and_disputes_nothing() {
    let registry = filed();
    assert_eq!(visit(&registry, VISIT).r#type(), VisitType::Official);
    let leaf = leaf(&registry, VISIT, "type");
    assert_eq!(verdicts(&leaf), [(KZ, Verdict::Resolved), (AZ, Verdict::Refines)]);
    assert!(info(&registry, VISIT).disputed_fields.is_empty());
    let words: Vec<String> = visit(&registry, VISIT).type_as_stated.into_iter().map(|t| t.text).collect();
    assert_eq!(words, ["официальный визит"], "the words move with the type");
}

#[test]
fn what_nobody_states_of_the_visit_is_absent() {
    let visit = visit(&filed(), VISIT);
    assert_eq!((edtf(&visit.start), edtf(&visit.end), edtf(&visit.planned_end)), (Some("2023-10-06"), None, None));
    let days = visit.duration_days.expect("at least two");
    assert_eq!((days.min, days.max), (Some(2), None));
    let stages: Vec<ProgressType> = visit.progress.iter().map(v1::Progress::r#type).collect();
    assert_eq!(stages, [ProgressType::TookPlace], "its end is not stated");
}

#[test]
fn the_host_alone_does_not_say_what_type_of_visit_it_was() {
    let visit = visit(&filed_up_to("11"), VISIT);
    assert_eq!(visit.r#type(), VisitType::Unspecified);
    assert_eq!(visit.type_as_stated[0].text, "visit");
    assert!(visit.duration_days.is_none());
}

#[test]
fn signed_and_approved_are_one_act_with_two_accounts_and_a_dispute() {
    let registry = filed();
    let plan = agreement(&registry, PLAN);
    let acts: Vec<(&str, ActionType)> = plan.actions.iter().map(|a| (a.key.as_str(), a.r#type())).collect();
    assert_eq!(acts, [("concluded", ActionType::Signed)]);
    assert_eq!(plan.actions[0].verb_as_stated[0].text, "was signed");
    assert_eq!(info(&registry, PLAN).disputed_fields, ["actions[concluded].type"]);
    let leaf = leaf(&registry, PLAN, "actions[concluded].type");
    assert_eq!(verdicts(&leaf), [(AZ, Verdict::Resolved), (KZ, Verdict::Conflicts)]);
    let theirs = leaf.claims[1].stated.value.as_ref().and_then(attache::pb::tree::Value::as_enum);
    assert_eq!(theirs, Some(ActionType::Endorsed as i32));
    let disputes: Vec<_> = registry.events().into_iter().filter(|e| e.r#type() == EventType::Disputed).collect();
    assert_eq!(
        disputes.iter().map(|e| e.subject.as_str()).collect::<Vec<_>>(),
        [PLAN],
        "the one dispute of the sample"
    );
    assert_eq!(disputes[0].fields, ["actions[concluded].type"]);
    assert_eq!(told(&registry, EventType::AgreementEndorsed, PLAN), 0);
}

#[test]
fn no_signatory_and_no_day_of_signing_is_stated() {
    let plan = agreement(&filed(), PLAN);
    assert!(plan.actions[0].signatories.is_empty());
    assert_eq!(edtf(&plan.actions[0].date), None);
    assert_eq!(plan.actions[0].occasion.as_deref(), Some(VISIT));
}

#[test]
fn the_plan_is_between_ministries_and_its_year_is_inferred_from_its_title() {
    let plan = agreement(&filed(), PLAN);
    assert_eq!((plan.instrument(), plan.level()), (Instrument::CooperationPlan, AgreementLevel::Interministerial));
    assert!(plan.legal_character_as_stated.is_empty() && plan.legal_character == 0);
    let validity = plan.validity.expect("a year");
    for (bound, day) in [(validity.start, "2024-01-01"), (validity.end, "2024-12-31")] {
        let bound = bound.expect(day);
        assert_eq!((edtf(&bound.date), bound.basis()), (Some(day), Basis::Inferred));
    }
    let parties: Vec<_> = plan.parties.iter().map(|p| (p.state.as_str(), p.organization.as_deref())).collect();
    assert_eq!(parties, [("AZ", Some(AZ)), ("KZ", Some(KZ))], "a state joins its only organization");
}

#[test]
fn each_years_plan_was_signed_once() {
    let registry = filed();
    for year in [2024, 2025, 2026] {
        let plan = format!("agreements/az-kz-military-cooperation-plan-{year}");
        assert_eq!(told(&registry, EventType::AgreementSigned, &plan), 1, "{plan}");
        assert_eq!(agreement(&registry, &plan).series.as_deref(), Some("az-kz-military-cooperation-plan"));
    }
    assert_eq!(told(&registry, EventType::MilestoneWithdrawn, PLAN), 0);
}

#[test]
fn flowers_and_a_wreath_are_different_and_two_graves_are_one_item() {
    let registry = filed_up_to("08");
    let visit = visit(&registry, VISIT);
    let of = |kind: ItineraryKind| {
        visit.itinerary.iter().filter(|i| i.kind() == kind).map(|i| i.key.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(ItineraryKind::FlowerLaying), ["flower-laying-alley-of-honor", "flower-laying-alley-of-shehids"]);
    assert_eq!(of(ItineraryKind::WreathLaying), ["wreath-laying-eternal-flame"]);
    let honours: Vec<&str> =
        item(&visit, "flower-laying-alley-of-honor").honours.iter().map(|h| h.name_as_stated.as_str()).collect();
    assert_eq!(honours, ["Heydar Aliyev", "Zarifa Aliyeva"]);
}

#[test]
fn the_second_wreath_of_another_article_is_an_item_of_its_own() {
    let visit = visit(&filed(), VISIT);
    let wreaths: Vec<&v1::ItineraryItem> =
        visit.itinerary.iter().filter(|i| i.kind() == ItineraryKind::WreathLaying).collect();
    assert_eq!(wreaths.len(), 2);
    let flame =
        wreaths.iter().filter(|i| i.place.as_ref().and_then(|p| p.place.as_deref()) == Some("places/eternal-flame"));
    assert_eq!(flame.count(), 1);
}

#[test]
fn the_welcoming_ceremony_is_one_item_with_its_parts_and_no_signing_ceremony_is_made_up() {
    let registry = filed();
    let visit = visit(&registry, VISIT);
    let kinds: Vec<ComponentKind> =
        item(&visit, "welcoming-ceremony").components.iter().map(v1::Component::kind).collect();
    let stated = [
        ComponentKind::GuardOfHonour,
        ComponentKind::NationalAnthems,
        ComponentKind::MilitaryOrchestra,
        ComponentKind::GuestBookSigning,
    ];
    assert_eq!(kinds, stated);
    assert!(visit.itinerary.iter().all(|i| i.kind() != ItineraryKind::SigningCeremony));
    // Two layings of flowers, two wreaths, and the welcome.
    assert_eq!(told(&registry, EventType::CeremonyHeld, VISIT), 5);
}

#[test]
fn two_tours_are_filed_and_the_note_says_that_it_may_be_three() {
    let registry = filed();
    let visit = visit(&registry, VISIT);
    let tours: Vec<&v1::ItineraryItem> =
        visit.itinerary.iter().filter(|i| i.kind() == ItineraryKind::FacilityTour).collect();
    assert_eq!(tours.len(), 2);
    assert!(tours.iter().any(|t| t.note.as_deref().is_some_and(|n| n.contains("three"))));
    assert_eq!(told(&registry, EventType::FacilityToured, VISIT), 2);
}

#[test]
fn the_visitors_day_keeps_its_date_and_its_day_and_neither_disputes_the_other() {
    let registry = filed();
    let visit = visit(&registry, VISIT);
    let day = item(&visit, "distinguished-visitors-day");
    assert_eq!((edtf(&day.date), day.day), (Some("2023-10-06"), Some(2)));
    assert_eq!(day.status(), ItineraryStatus::Held, "a plan says nothing against what came of it");
    assert!(info(&registry, VISIT).disputed_fields.is_empty());
    assert_eq!(edtf(&item(&visit, "meeting").date), None, "the meeting is dated by nobody");
    assert_eq!(told(&registry, EventType::ItineraryItemHeld, VISIT), 1);
}

#[test]
fn held_while_it_still_ran_is_took_place_and_only_the_later_word_ends_the_exercise() {
    let on_the_seventh = filed_up_to("10");
    let stages = |e: v1::Exercise| e.progress.iter().map(v1::Progress::r#type).collect::<BTreeSet<_>>();
    assert_eq!(stages(exercise(&on_the_seventh)), BTreeSet::from([ProgressType::TookPlace]));
    assert_eq!(edtf(&exercise(&on_the_seventh).end), None);
    assert_eq!(told(&on_the_seventh, EventType::ExerciseEnded, EXERCISE), 0);
    let registry = filed();
    assert_eq!(stages(exercise(&registry)), BTreeSet::from([ProgressType::TookPlace, ProgressType::Ended]));
    assert_eq!(edtf(&exercise(&registry).end), Some("2023-10-08"));
    assert_eq!(told(&registry, EventType::ExerciseTookPlace, EXERCISE), 1);
    assert_eq!(told(&registry, EventType::ExerciseEnded, EXERCISE), 1);
    assert!(info(&registry, EXERCISE).disputed_fields.is_empty());
}

#[test]
fn the_observer_that_one_source_names_takes_no_part() {
    let registry = filed();
    let info = info(&registry, EXERCISE);
    assert_eq!((info.states, info.observer_states), (vec!["AZ".to_owned(), "KZ".to_owned()], vec!["IR".to_owned()]));
    let observers: Vec<_> = exercise(&registry)
        .participants
        .into_iter()
        .filter(|p| p.role() == ExerciseRole::Observer)
        .map(|p| p.state)
        .collect();
    assert_eq!(observers, ["IR"]);
}

#[test]
fn a_copy_changes_nothing_and_is_no_account() {
    let registry = filed_up_to("09");
    let before = registry.record(VISIT);
    let events = registry.events().len();
    let copy = sample::REPORTS.iter().find(|(name, _)| name.starts_with("10-")).expect("the copy").1;
    let answer = file(&registry, copy);
    assert!(answer.revision > 0, "the copy is kept");
    assert!(answer.results.iter().all(|r| r.outcome() == FilingOutcome::NoChange));
    assert_eq!(registry.events().len(), events);
    assert_eq!(registry.record(VISIT), before, "revision, update time and etag move only with an event");
    assert_eq!(info(&registry, VISIT).accounts, [AZ]);
}

#[test]
fn copies_and_translations_of_one_communique_are_one_account() {
    let registry = filed();
    assert_eq!(info(&registry, VISIT).accounts, [AZ, KZ]);
    assert_eq!(info(&registry, PLAN).accounts, [AZ, KZ]);
    assert_eq!(info(&registry, "visits/az-mod-kz-2025-10").accounts, [AZ]);
    let plan_2026 = "agreements/az-kz-military-cooperation-plan-2026";
    assert_eq!(info(&registry, plan_2026).accounts, [AZ]);
    let mut languages: Vec<String> =
        agreement(&registry, plan_2026).titles.into_iter().filter_map(|t| t.language).collect();
    languages.sort();
    assert_eq!(languages, ["fr", "ru"], "a translation adds its title");
}

#[test]
fn four_spellings_are_one_person() {
    let registry = filed();
    let person = match registry.record("persons/ruslan-zhaksylykov").and_then(|r| r.kind) {
        Some(Kind::Person(person)) => person,
        other => panic!("{other:?}"),
    };
    let names: Vec<&str> = person.names.iter().map(|n| n.text.as_str()).collect();
    for spelling in ["Ruslan Zhaksylykov", "Руслан Жаксылыков", "Ruslan Jaksilykov", "Rouslan Jaksylykov"]
    {
        assert!(names.contains(&spelling), "{spelling} is not in {names:?}");
    }
    let visit = visit(&registry, VISIT);
    assert_eq!(visit.guests.len(), 1);
    let head = visit.guests[0].head.as_ref().expect("a head");
    assert_eq!(head.person.as_deref(), Some("persons/ruslan-zhaksylykov"));
    assert!(!leaf(&registry, VISIT, "guests[KZ/kz-ministry-of-defence].head").disputed);
}

#[test]
fn statements_stay_with_the_account_that_reports_them() {
    let registry = filed();
    let visit = visit(&registry, VISIT);
    assert_eq!(visit.statements.len(), 11);
    assert!(visit.statements.iter().all(|s| s.account == AZ));
    assert_eq!(told(&registry, EventType::StatementMade, VISIT), 11);
}

#[test]
fn a_source_without_a_date_is_heard_and_its_record_has_none() {
    let registry = filed();
    assert_eq!(info(&registry, "visits/lv-mod-az").occurred, None);
    assert_eq!(told(&registry, EventType::AgreementSigned, "agreements/az-lv-defence-cooperation-agreement"), 1);
}

/// Filed in another order the sample makes the same records.
#[test]
fn the_order_of_filing_leaves_no_trace_in_the_records() {
    let forward = filed();
    let backward = Registry::on("2026-01-15");
    for (_, json) in sample::REPORTS.iter().rev() {
        backward.file(reports(json));
    }
    let names: BTreeSet<String> = forward.events().into_iter().map(|e| e.subject).collect();
    for name in names {
        // The two end on different days.
        let of = |registry: &Registry| {
            registry.record(&name).map(|mut r| {
                record::set_status(&mut r, None);
                common::stated(&r)
            })
        };
        assert_eq!(of(&forward), of(&backward), "{name}");
        let of = |registry: &Registry| resolution(registry, &name).map(|r| common::provenance(&r));
        assert_eq!(of(&forward), of(&backward), "{name}");
    }
}

/// The order in which the module says its files stand.
#[test]
fn the_files_stand_in_the_order_of_publication() {
    let place = |json: &str| {
        let request: v1::FileReportsRequest = pb::from_json("FileReportsRequest", json).expect("a request");
        (sample::recorded_at_us(&request).expect("a time"), request.source.expect("a source").name)
    };
    let places: Vec<_> = sample::REPORTS.iter().map(|(_, json)| place(json)).collect();
    assert!(places.is_sorted(), "{places:?}");
}

/// "Zhaksylykov" is not what "Жаксылыков" folds to: the reference, not the spelling, makes them one.
#[test]
fn spellings_do_not_fold_into_each_other_by_themselves() {
    let folded: BTreeSet<String> = ["Zhaksylykov", "Jaksilykov", "Jaksylykov"].map(fold).into();
    assert_eq!(folded.len(), 3);
}
