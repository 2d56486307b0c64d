//! Records that nobody reported: a store like a real one, of any size.
//!
//! Which kinds, states, years and lengths come how often was taken from published lists of visits, treaties and exercises;
//! names, places and sentences are made up. Record number `n` of a seed depends on nothing else: a store can be filled
//! further, and filled alike elsewhere.

mod people;
mod records;
mod words;

use super::draw::Draw;
use crate::pb::v1::{Attribution, Report, Source, SourceKind, Visit, report::Content};

/// Numbers of one round, in which every kind has its share.
const ROUND: u64 = 25;
/// Of a round the first so many are visits.
const VISITS: u64 = 19;
/// Then come agreements up to here, and one exercise; the rest are persons.
const AGREEMENTS: u64 = 21;
const FIRST_PERSON: u64 = 22;

/// Data sets that most records come from.
const DATA_SETS: [&str; 6] = [
    "Register of Visits",
    "Treaty Series Index",
    "Chronicle of Exercises",
    "Yearbook of Diplomacy",
    "Defence Almanac",
    "Survey of Cooperation",
];

/// One report, on a record of its own. Out of 25 in a row 19 are of visits, two of agreements, one of an exercise, and
/// three of persons, who head the visits that follow.
#[must_use]
pub fn report(seed: u64, number: u64) -> Report {
    let draw = &mut Draw::of(seed, number);
    let (record, published, content) = match number % ROUND {
        0..VISITS => {
            let (id, day, visit) = records::visit(draw, seed, number);
            (format!("visits/{id}"), day, Content::Visit(visit))
        }
        VISITS..AGREEMENTS => {
            let (id, day, agreement) = records::agreement(draw, number);
            (format!("agreements/{id}"), day, Content::Agreement(agreement))
        }
        AGREEMENTS => {
            let (id, day, exercise) = records::exercise(draw, number);
            (format!("exercises/{id}"), day, Content::Exercise(exercise))
        }
        _ => {
            let official = people::official(seed, number);
            (official.record(), records::day(draw), Content::Person(official.person(draw)))
        }
    };
    let source = source(draw, seed, number, published);
    Report { record, source: Some(source), content: Some(content), ..Report::default() }
}

/// A visit as [`report`] makes them, whatever the number.
#[must_use]
pub fn visit(seed: u64, number: u64) -> Visit {
    records::visit(&mut Draw::of(seed, number), seed, number).2
}

/// Who says so: a data set, or a text of its own.
fn source(draw: &mut Draw, seed: u64, number: u64, day: jiff::civil::Date) -> Source {
    if draw.chance(60) {
        let at = draw.index(DATA_SETS.len());
        return Source {
            name: format!("sources/made-up-data-set-{}", at + 1),
            publisher: Some(publisher(DATA_SETS[at].to_owned())),
            kind: SourceKind::Dataset.into(),
            ..Source::default()
        };
    }
    let kind = if draw.chance(55) { SourceKind::PrimaryOfficial } else { SourceKind::Secondary };
    let place = words::place(draw);
    Source {
        name: format!("sources/made-up-{seed}-{number}"),
        publisher: Some(publisher(format!("{place} {}", draw.pick(words::PAPERS)))),
        uri: Some(format!("https://news.example/{}/{seed}-{number}", words::slug(&place))),
        language: Some(draw.pick(&["en", "fr", "de", "tr", "ru", "es", "ar"]).to_owned()),
        published: Some(day.to_string()),
        kind: kind.into(),
        ..Source::default()
    }
}

fn publisher(name: String) -> Attribution {
    Attribution { name_as_stated: Some(name), organization: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;
    use crate::domain;

    #[test]
    fn seed_and_number_decide_the_report() {
        for number in [0, 19, 21, 22, 1_000_003] {
            assert_eq!(report(5, number), report(5, number));
            assert_ne!(report(5, number).content, report(6, number).content);
        }
    }

    #[test]
    fn every_number_is_a_record_of_its_own() {
        let names: BTreeSet<String> = (0..5000).map(|number| report(1, number).record).collect();
        assert_eq!(names.len(), 5000);
        let visits = names.iter().filter(|name| name.starts_with("visits/")).count();
        assert_eq!(visits, 3800);
    }

    #[test]
    fn every_report_passes_the_registrys_checks() {
        for number in 0..5000 {
            let report = report(3, number);
            let checked = domain::report::Report::parse(&report, None, "report");
            assert!(checked.is_ok(), "{number}: {checked:?}");
        }
    }

    #[test]
    fn reports_are_as_long_as_real_ones() {
        let mut bytes: Vec<usize> = (0..1000).map(|number| report(1, number).encoded_len()).collect();
        bytes.sort_unstable();
        assert!((500..900).contains(&bytes[500]), "{}", bytes[500]);
    }
}
