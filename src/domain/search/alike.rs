//! Whether a record may be the same as a partial one: evidence for and against, each with its words.
//!
//! Every piece of evidence leaves a share of doubt, and the shares multiply; what speaks against the sameness multiplies
//! what is left. An identifier that both have decides.

mod dated;
mod named;

use crate::{
    domain::{record, search::similar},
    pb::v1::{self, record::Kind},
};

/// What is less likely is no candidate, in thousandths.
pub const MIN_SCORE: u32 = 300;

/// How likely two records are the same, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Likeness {
    /// In thousandths.
    pub score: u32,
    /// In words, the weightiest first; what speaks against comes last.
    pub reasons: Vec<String>,
}

/// What was found when two records were compared.
#[derive(Debug, Default)]
struct Evidence {
    /// A share of certainty, and its words.
    of_sameness: Vec<(f64, String)>,
    /// What is left of the certainty, and its words.
    against: Vec<(f64, String)>,
}

impl Evidence {
    fn add(&mut self, share: f64, reason: impl Into<String>) {
        self.of_sameness.push((share, reason.into()));
    }

    fn against(&mut self, left: f64, reason: impl Into<String>) {
        self.against.push((left, reason.into()));
    }

    fn weigh(mut self, decided: bool) -> Likeness {
        let doubt: f64 = self.of_sameness.iter().map(|(share, _)| 1.0 - share).product();
        let left: f64 = if decided { 1.0 } else { self.against.iter().map(|(left, _)| left).product() };
        self.of_sameness.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.against.sort_by(|a, b| a.0.total_cmp(&b.0));
        let reasons = self.of_sameness.into_iter().chain(self.against).map(|(_, reason)| reason).collect();
        Likeness { score: similar::per_mille((1.0 - doubt) * left), reasons }
    }
}

/// Compares a partial record with one of the registry, of the same kind; its name and info do not count.
#[must_use]
pub fn compare(partial: &v1::Record, known: &v1::Record) -> Likeness {
    let mut evidence = Evidence::default();
    let decided = identifiers(&mut evidence, record::external_ids(partial), record::external_ids(known));
    titles(&mut evidence, record::titles(partial), record::titles(known));
    match (&partial.kind, &known.kind) {
        (Some(Kind::Visit(a)), Some(Kind::Visit(b))) => dated::visit(&mut evidence, a, b),
        (Some(Kind::Meeting(a)), Some(Kind::Meeting(b))) => dated::meeting(&mut evidence, a, b),
        (Some(Kind::Agreement(a)), Some(Kind::Agreement(b))) => dated::agreement(&mut evidence, a, b),
        (Some(Kind::Exercise(a)), Some(Kind::Exercise(b))) => dated::exercise(&mut evidence, a, b),
        (Some(Kind::Person(a)), Some(Kind::Person(b))) => named::person(&mut evidence, a, b),
        (Some(Kind::Organization(a)), Some(Kind::Organization(b))) => named::organization(&mut evidence, a, b),
        (Some(Kind::Place(a)), Some(Kind::Place(b))) => named::place(&mut evidence, a, b),
        _ => return Likeness { score: 0, reasons: Vec::new() },
    }
    dated::occurred(&mut evidence, partial, known);
    evidence.weigh(decided)
}

/// Whether an identifier decides: one is equal, and none differs.
fn identifiers(evidence: &mut Evidence, a: &[v1::ExternalId], b: &[v1::ExternalId]) -> bool {
    let (mut equal, mut differ) = (false, false);
    for (own, other) in a.iter().flat_map(|own| b.iter().map(move |other| (own, other))) {
        if own.scheme != other.scheme {
            continue;
        }
        if own.id == other.id {
            equal = true;
            evidence.add(0.98, format!("external id {} equal", own.scheme));
        } else {
            differ = true;
            evidence.against(0.2, format!("but external id {} differs", own.scheme));
        }
    }
    equal && !differ
}

fn titles(evidence: &mut Evidence, a: &[v1::Title], b: &[v1::Title]) {
    let pairs = a.iter().flat_map(|own| b.iter().map(move |other| (own, other)));
    let alike = pairs.map(|(own, other)| (similar::names_alike(&own.text, &other.text), own, other));
    let Some((likeness, own, other)) = alike.max_by(|x, y| x.0.total_cmp(&y.0)) else { return };
    if likeness >= 0.7 {
        evidence.add(0.6 * likeness, format!("title alike {likeness:.2}"));
    }
    let (own, other) = (years(&own.text), years(&other.text));
    if !own.is_empty() && !other.is_empty() && own.iter().all(|y| !other.contains(y)) {
        evidence.against(0.3, format!("but one title is of {}, the other of {}", own.join(", "), other.join(", ")));
    }
}

fn years(title: &str) -> Vec<String> {
    let is_year = |s: &String| s.len() == 4 && s.bytes().all(|b| b.is_ascii_digit());
    super::words::words(title).into_iter().map(|w| w.spelling).filter(is_year).collect()
}

/// Texts that both state: equal is evidence, different speaks against it.
fn both<T: PartialEq>(evidence: &mut Evidence, a: Option<&T>, b: Option<&T>, what: &str, share: f64, left: f64) {
    match (a, b) {
        (Some(a), Some(b)) if a == b => evidence.add(share, format!("the same {what}")),
        (Some(_), Some(_)) if left < 1.0 => evidence.against(left, format!("but another {what}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::check, pb};

    fn of(kind: &str, json: &str) -> v1::Record {
        let stated = pb::from_json("Record", &format!("{{\"{}\": {json}}}", kind.to_lowercase())).unwrap();
        let mut fields = record::to_tree(&stated).unwrap();
        let mut violations = Vec::new();
        check::message(&mut fields, "", &mut violations);
        assert!(violations.is_empty(), "{violations:?}");
        record::from_tree(record::kind(&stated), &fields)
    }

    fn score(kind: &str, a: &str, b: &str) -> u32 {
        let (a, b) = (of(kind, a), of(kind, b));
        let (there, back) = (compare(&a, &b), compare(&b, &a));
        assert_eq!(there.score, back.score, "either way round");
        there.score
    }

    const VISIT: &str = r#"{"hosts": [{"state": "AZ"}], "guests": [{"state": "KZ", "head": {"nameAsStated": "R. Zhaksylykov"}}],
                            "start": {"edtf": "2023-10-06"}}"#;

    #[test]
    fn the_same_visit_told_by_another_is_hardly_another() {
        let other = r#"{"hosts": [{"state": "AZ"}], "start": {"edtf": "2023-10-05"}, "end": {"edtf": "2023-10-07"},
                        "guests": [{"state": "KZ", "head": {"nameAsStated": "Руслан Жаксылыков"}}]}"#;
        assert!(score("Visit", VISIT, other) >= 800, "{}", score("Visit", VISIT, other));
    }

    #[test]
    fn another_day_another_way_round_and_another_guest_are_other_visits() {
        for other in [
            r#"{"hosts": [{"state": "AZ"}], "guests": [{"state": "KZ"}], "start": {"edtf": "2024-05-06"}}"#,
            r#"{"hosts": [{"state": "KZ"}], "guests": [{"state": "AZ"}], "start": {"edtf": "2023-10-06"}}"#,
            r#"{"hosts": [{"state": "AZ"}], "guests": [{"state": "TR"}], "start": {"edtf": "2023-10-06"}}"#,
        ] {
            assert!(score("Visit", VISIT, other) < MIN_SCORE, "{other}: {}", score("Visit", VISIT, other));
        }
    }

    #[test]
    fn an_identifier_decides_whatever_else_differs() {
        let own = r#"{"names": [{"text": "Ruslan Zhaksylykov"}], "externalIds": [{"scheme": "wikidata", "id": "Q1"}]}"#;
        let same = r#"{"names": [{"text": "The Minister"}], "externalIds": [{"scheme": "wikidata", "id": "Q1"}],
                       "postings": [{"post": "minister", "state": "KZ"}]}"#;
        let namesake =
            r#"{"names": [{"text": "Ruslan Zhaksylykov"}], "externalIds": [{"scheme": "wikidata", "id": "Q2"}]}"#;
        assert!(score("Person", own, same) >= 950);
        assert!(score("Person", own, namesake) < MIN_SCORE);
    }

    #[test]
    fn plans_of_one_series_for_other_years_are_not_the_same() {
        let plan = |year: u16| {
            format!(
                r#"{{"titles": [{{"text": "Plan of military cooperation for {year}"}}], "series": "s",
                     "parties": [{{"state": "AZ"}}, {{"state": "KZ"}}],
                     "validity": {{"start": {{"date": {{"edtf": "{year}-01-01"}}}}, "end": {{"date": {{"edtf": "{year}-12-31"}}}}}}}}"#
            )
        };
        assert!(score("Agreement", &plan(2024), &plan(2024)) >= 850);
        assert!(score("Agreement", &plan(2024), &plan(2025)) < MIN_SCORE);
    }

    #[test]
    fn a_namesake_of_another_state_is_less_likely() {
        let person = |state: &str| {
            format!(
                r#"{{"names": [{{"text": "Ruslan Jaksilikov"}}], "postings": [{{"post": "Minister", "state": "{state}"}}]}}"#
            )
        };
        let (same, other) =
            (score("Person", &person("KZ"), &person("KZ")), score("Person", &person("KZ"), &person("AZ")));
        assert!(same > 900 && other < 500, "{same} {other}");
    }

    #[test]
    fn reasons_begin_with_the_weightiest() {
        let other = r#"{"hosts": [{"state": "AZ"}], "guests": [{"state": "KZ"}], "start": {"edtf": "2023-10-20"}}"#;
        let likeness = compare(&of("Visit", VISIT), &of("Visit", other));
        assert_eq!(likeness.reasons, ["the same host and guest", "but 14 days apart"]);
    }
}
