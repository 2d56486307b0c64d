//! Made-up visits, agreements and exercises.

use std::{collections::BTreeSet, sync::LazyLock};

use jiff::{ToSpan as _, civil::Date};

use super::{people, words};
use crate::{
    cli::bench::draw::{Draw, Odds},
    pb::v1::{
        ActionType, Agreement, AgreementAction, AgreementLevel, Domain, EdtfDate, Exercise, ExerciseForm,
        ExerciseParticipant, ExerciseRole, InferableDate, Instrument, ItineraryItem, ItineraryKind, Party, PlaceRef,
        Side, Title, Topic, Validity, Visit, VisitLevel, VisitType,
    },
};

/// States, those with the most dealings first.
const STATES: &[&str] = &[
    "US", "GB", "FR", "DE", "TR", "IL", "CA", "JP", "IT", "JO", "AU", "KR", "PK", "ES", "EG", "IN", "PL", "NO", "BR",
    "NL", "DK", "MX", "CN", "RU", "SE", "FI", "RO", "GR", "BG", "HU", "CZ", "SK", "PT", "BE", "UA", "GE", "AZ", "KZ",
    "UZ", "KG", "TJ", "TM", "AM", "MD", "MN", "VN", "TH", "PH", "ID", "MY", "SG", "NZ", "CL", "CO", "PE", "AR", "ZA",
    "KE", "NG", "MA", "TN", "DZ", "SA", "AE", "QA", "KW", "OM", "IQ", "BD", "LK", "NP", "IE",
];

/// How much the first have more than the last.
static STATE_ODDS: LazyLock<Odds> = LazyLock::new(|| Odds::zipf(STATES.len(), 0.7));

/// Decades, and how many of a hundred visits are from each.
const DECADES: &[(i16, u64)] =
    &[(1940, 3), (1950, 4), (1960, 9), (1970, 10), (1980, 12), (1990, 21), (2000, 22), (2010, 12), (2020, 7)];

/// What is made: the id, a day about it, the record.
type Made<T> = (String, Date, T);

/// A state, by how many dealings it has.
pub fn state(draw: &mut Draw) -> &'static str {
    STATES[STATE_ODDS.next(draw)]
}

fn other_state(draw: &mut Draw, than: &str) -> &'static str {
    let first = state(draw);
    if first != than { first } else { STATES.iter().find(|state| **state != than).copied().unwrap_or(first) }
}

/// A day, most of them in the last forty years.
pub fn day(draw: &mut Draw) -> Date {
    let mut left = draw.below(100);
    let share = |(decade, share): &&(i16, u64)| {
        let is_it = left < *share;
        left = left.saturating_sub(*share);
        is_it.then_some(*decade).is_some()
    };
    let decade = DECADES.iter().find(share).map_or(2000, |(decade, _)| *decade);
    let years = if decade == 2020 { 5 } else { 10 };
    let days = i64::try_from(draw.below(years * 365)).unwrap_or(0);
    Date::constant(decade, 1, 1).saturating_add(days.days())
}

/// Most dates are known to the day, some to the month or year alone.
fn stated(draw: &mut Draw, day: Date) -> EdtfDate {
    let edtf = match draw.below(100) {
        0..92 => day.to_string(),
        92..97 => format!("{:04}-{:02}", day.year(), day.month()),
        97..99 => format!("{:04}", day.year()),
        _ => format!("{:04}-{:02}~", day.year(), day.month()),
    };
    exactly(edtf)
}

fn exactly(edtf: impl ToString) -> EdtfDate {
    EdtfDate { edtf: edtf.to_string(), ..EdtfDate::default() }
}

/// A visit, headed by an official of that time.
pub fn visit(draw: &mut Draw, seed: u64, number: u64) -> Made<Visit> {
    let head = people::in_office(draw, seed, number);
    let host = other_state(draw, head.state);
    let start = day(draw);
    let kinds = [VisitType::Working, VisitType::Official, VisitType::OfficialWorking, VisitType::State];
    let begins = stated(draw, start);
    // A last day after a first one that is not known to the day would say more than the source.
    let is_day = begins.edtf.len() == 10;
    let days = i64::try_from(draw.below(5)).unwrap_or(0);
    let guest = Side { state: head.state.into(), head: Some(head.reference()), ..Side::default() };
    let host_head = draw.chance(50).then(|| people::host(seed, host, start.year()));
    let sentences = draw.between(1, 4);
    let visit = Visit {
        titles: vec![title(format!("Visit of the {} of {} to {host}", head.post, head.state))],
        summary: Some(words::sentences(draw, sentences)),
        r#type: if draw.chance(75) { kinds[draw.index(kinds.len())].into() } else { 0 },
        level: level(head.post).into(),
        hosts: vec![Side { state: host.into(), head: host_head, ..Side::default() }],
        guests: vec![guest],
        start: Some(begins),
        end: (is_day && draw.chance(92)).then(|| exactly(start.saturating_add(days.days()))),
        places: vec![stated_place(draw)],
        itinerary: if is_day && draw.chance(30) { itinerary(draw, start) } else { Vec::new() },
        topics: topics(draw),
        ..Visit::default()
    };
    (format!("{}-{}-{}-{number}", head.state, host, start.year()).to_lowercase(), start, visit)
}

fn level(post: &str) -> VisitLevel {
    match post {
        "Prime Minister" => VisitLevel::HeadOfGovernment,
        "Chief of the General Staff" => VisitLevel::ChiefOfDefence,
        post if post.starts_with("Minister") => VisitLevel::Minister,
        post if post.starts_with("Deputy") => VisitLevel::DeputyMinister,
        post if post.starts_with("Commander") => VisitLevel::ServiceChief,
        _ => VisitLevel::SeniorOfficial,
    }
}

fn itinerary(draw: &mut Draw, day: Date) -> Vec<ItineraryItem> {
    let kinds = [
        ItineraryKind::WelcomingCeremony,
        ItineraryKind::Meeting,
        ItineraryKind::FacilityTour,
        ItineraryKind::UnitVisit,
        ItineraryKind::WreathLaying,
        ItineraryKind::Briefing,
        ItineraryKind::CulturalProgramme,
    ];
    let count = draw.between(2, 4);
    let item = |number| ItineraryItem {
        key: format!("item-{number}"),
        kind: kinds[draw.index(kinds.len())].into(),
        date: Some(exactly(day)),
        place: Some(stated_place(draw)),
        ..ItineraryItem::default()
    };
    (1..=count).map(item).collect()
}

/// An agreement of two states.
pub fn agreement(draw: &mut Draw, number: u64) -> Made<Agreement> {
    let one = state(draw);
    let other = other_state(draw, one);
    let signed = day(draw);
    let (instrument, what) = [
        (Instrument::Agreement, "Agreement"),
        (Instrument::MemorandumOfUnderstanding, "Memorandum of Understanding"),
        (Instrument::Protocol, "Protocol"),
        (Instrument::CooperationPlan, "Plan of Cooperation"),
        (Instrument::ExchangeOfNotes, "Exchange of Notes"),
        (Instrument::Treaty, "Treaty"),
    ][draw.index(6)];
    let levels = [AgreementLevel::Intergovernmental, AgreementLevel::Interministerial, AgreementLevel::Interstate];
    let mut actions = vec![action(ActionType::Signed, signed, Some(stated_place(draw)))];
    if draw.chance(65) {
        let days = i64::try_from(draw.between(20, 700)).unwrap_or(0);
        actions.push(action(ActionType::EnteredIntoForce, signed.saturating_add(days.days()), None));
    }
    let years = i64::try_from(draw.between(1, 10)).unwrap_or(1);
    let ends = draw.chance(40).then(|| Validity {
        end: Some(InferableDate {
            date: Some(exactly(signed.saturating_add(years.years()))),
            ..InferableDate::default()
        }),
        ..Validity::default()
    });
    let sentences = draw.between(1, 4);
    let agreement = Agreement {
        titles: vec![title(format!("{what} between {one} and {other} on military cooperation"))],
        summary: Some(words::sentences(draw, sentences)),
        instrument: instrument.into(),
        level: levels[draw.index(levels.len())].into(),
        parties: [one, other].map(|state| Party { state: state.into(), organization: None }).into(),
        actions,
        validity: ends,
        topics: topics(draw),
        ..Agreement::default()
    };
    (format!("{one}-{other}-{}-{number}", signed.year()).to_lowercase(), signed, agreement)
}

fn action(kind: ActionType, day: Date, place: Option<PlaceRef>) -> AgreementAction {
    AgreementAction { r#type: kind.into(), date: Some(exactly(day)), place, ..AgreementAction::default() }
}

/// An exercise of a few states.
pub fn exercise(draw: &mut Draw, number: u64) -> Made<Exercise> {
    let start = day(draw);
    let host = state(draw);
    let others: BTreeSet<&str> = (0..draw.between(1, 8)).map(|_| state(draw)).filter(|state| *state != host).collect();
    let participant = |state: &str, role: ExerciseRole| ExerciseParticipant {
        state: state.into(),
        role: role.into(),
        ..ExerciseParticipant::default()
    };
    let others = others.into_iter().map(|state| participant(state, ExerciseRole::Participant));
    let participants = std::iter::once(participant(host, ExerciseRole::Host)).chain(others).collect();
    let (name, days) = (words::place(draw), i64::try_from(draw.between(1, 20)).unwrap_or(1));
    let forms = [ExerciseForm::Ftx, ExerciseForm::Cpx, ExerciseForm::Livex, ExerciseForm::Cax];
    let domains = [Domain::Land, Domain::Maritime, Domain::Air];
    let sentences = draw.between(1, 4);
    let exercise = Exercise {
        titles: vec![title(format!("{name} Shield {}", start.year()))],
        summary: Some(words::sentences(draw, sentences)),
        edition: Some(start.year().to_string()),
        forms: vec![forms[draw.index(forms.len())].into()],
        domains: vec![domains[draw.index(domains.len())].into()],
        participants,
        start: Some(exactly(start)),
        end: Some(exactly(start.saturating_add(days.days()))),
        areas: vec![stated_place(draw)],
        ..Exercise::default()
    };
    (format!("{}-shield-{}-{number}", words::slug(&name), start.year()), start, exercise)
}

fn topics(draw: &mut Draw) -> Vec<i32> {
    let all = [
        Topic::MilitaryCooperation,
        Topic::DefencePolicy,
        Topic::EducationTraining,
        Topic::Exercises,
        Topic::Peacekeeping,
        Topic::MilitaryTechnical,
        Topic::CombatTraining,
        Topic::Medical,
        Topic::Logistics,
        Topic::Demining,
        Topic::MaritimeSecurity,
        Topic::RegionalSituation,
    ];
    let odds = Odds::zipf(all.len(), 0.7);
    let chosen: BTreeSet<i32> = (0..draw.below(4)).map(|_| all[odds.next(draw)].into()).collect();
    chosen.into_iter().collect()
}

fn stated_place(draw: &mut Draw) -> PlaceRef {
    PlaceRef { as_stated: Some(words::place(draw)), place: None }
}

fn title(text: String) -> Title {
    Title { text, language: Some("en".into()), script: None }
}
