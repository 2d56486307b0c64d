//! Agreements of a relation: by status, what ends next, what replaced what, the series.

use std::collections::{BTreeMap, BTreeSet};

use super::{Seen, Window};
use crate::{
    domain::{
        date::{self, Day},
        headline, record,
    },
    limits::{MAX_LISTED, MAX_LISTED_IN_SERIES, MAX_LISTED_SERIES, MAX_LISTED_SUCCESSIONS},
    pb::v1::{self, AgreementStatus, AgreementSummary, Basis, RelationType, record::Kind},
};

/// In the order of interest.
const ORDER: [AgreementStatus; 11] = [
    AgreementStatus::InForce,
    AgreementStatus::ProvisionallyApplied,
    AgreementStatus::Denounced,
    AgreementStatus::Suspended,
    AgreementStatus::Signed,
    AgreementStatus::Proposed,
    AgreementStatus::Unknown,
    AgreementStatus::Unspecified,
    AgreementStatus::Superseded,
    AgreementStatus::Expired,
    AgreementStatus::Terminated,
];

/// What runs until its end.
const RUNNING: [AgreementStatus; 4] = [
    AgreementStatus::InForce,
    AgreementStatus::ProvisionallyApplied,
    AgreementStatus::Denounced,
    AgreementStatus::Suspended,
];

/// Agreements taken so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Agreements {
    lines: Vec<Line>,
    /// Names that were merged into others.
    merged: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Line {
    summary: AgreementSummary,
    relations: Vec<(RelationType, String)>,
    start: Option<Day>,
    end: Option<Day>,
    concluded: Option<Day>,
    /// Whether it is concluded after the day, and nothing is known of it by then.
    ahead: bool,
}

/// What the agreements come to.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub groups: Vec<v1::AgreementGroup>,
    pub next_expiry: Option<v1::Expiry>,
    pub successions: Vec<v1::Succession>,
    pub succession_count: u32,
    pub series: Vec<v1::AgreementSeries>,
    pub series_count: u32,
}

impl Agreements {
    /// Takes one more record, if it is an agreement.
    pub fn add(&mut self, seen: &Seen<'_>, window: &Window) {
        let Some(Kind::Agreement(agreement)) = &seen.record.kind else { return };
        let start = agreement.validity.as_ref().and_then(|v| v.start.clone());
        let day = |date: Option<&v1::EdtfDate>, latest| {
            date.map(date::span_of).and_then(|s| if latest { s.latest } else { s.earliest })
        };
        let concluded = record::occurred(seen.record);
        let unknown = matches!(seen.status.agreement_status(), AgreementStatus::Unknown | AgreementStatus::Unspecified);
        let follows = |r: &&v1::AgreementRelation| {
            matches!(r.r#type(), RelationType::Supersedes | RelationType::Renews | RelationType::NextInSeries)
        };
        for merged in agreement.info.iter().flat_map(|info| &info.merged_names) {
            self.merged.insert(merged.clone(), agreement.name.clone());
        }
        self.lines.push(Line {
            relations: agreement.relations.iter().filter(follows).map(|r| (r.r#type(), r.target.clone())).collect(),
            start: day(start.as_ref().and_then(|d| d.date.as_ref()), false),
            end: day(seen.end.and_then(|d| d.date.as_ref()), true),
            concluded: day(concluded.as_ref(), false),
            ahead: unknown && day(concluded.as_ref(), false).is_some_and(|earliest| earliest > window.day),
            summary: AgreementSummary {
                name: agreement.name.clone(),
                label: headline::label(seen.record),
                instrument: agreement.instrument,
                status: Some(seen.status.clone()),
                concluded,
                start,
                end: seen.end.cloned(),
                series: agreement.series.clone(),
                legal_character: agreement.legal_character,
            },
        });
    }

    /// What they come to.
    pub fn finish(mut self, window: &Window) -> Answer {
        self.lines.sort_by(|a, b| a.summary.name.cmp(&b.summary.name));
        let chains = self.chains();
        let mut successions = self.successions(&chains);
        let next_expiry = self.next_expiry(&successions, window);
        let succession_count = number(successions.len());
        successions.truncate(MAX_LISTED_SUCCESSIONS);
        let series_count = number(chains.len());
        let series = chains.into_iter().take(MAX_LISTED_SERIES).map(|(key, lines)| series(key, &lines)).collect();
        Answer { groups: self.groups(), next_expiry, successions, succession_count, series, series_count }
    }

    fn groups(&self) -> Vec<v1::AgreementGroup> {
        let group = |status: AgreementStatus| {
            let own = |line: &&Line| !line.ahead && line.status() == status;
            let mut lines: Vec<&Line> = self.lines.iter().filter(own).collect();
            lines.sort_by_key(|l| (l.end.is_none(), l.end, l.concluded.is_none(), l.concluded));
            let agreements = lines.iter().take(MAX_LISTED).map(|l| l.summary.clone()).collect();
            (!lines.is_empty()).then(|| v1::AgreementGroup {
                status: status.into(),
                count: number(lines.len()),
                agreements,
            })
        };
        ORDER.into_iter().filter_map(group).collect()
    }

    fn next_expiry(&self, successions: &[v1::Succession], window: &Window) -> Option<v1::Expiry> {
        let running = self.lines.iter().filter(|l| RUNNING.contains(&l.status()));
        let ahead = running.filter_map(|l| l.end.filter(|end| *end >= window.day).map(|end| (end, l)));
        let (end, line) = ahead.min_by(|(a, one), (b, other)| (a, &one.summary.name).cmp(&(b, &other.summary.name)))?;
        let name = &line.summary.name;
        let followed_by: BTreeSet<_> =
            successions.iter().filter(|s| s.earlier == *name).map(|s| s.later.clone()).collect();
        Some(v1::Expiry {
            name: name.clone(),
            label: line.summary.label.clone(),
            last_day: line.summary.end.clone(),
            days_left: end - window.day,
            followed_by: followed_by.into_iter().collect(),
        })
    }

    /// The series with more than one agreement, each in its order.
    fn chains(&self) -> BTreeMap<&str, Vec<&Line>> {
        let mut chains: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in &self.lines {
            if let Some(series) = &line.summary.series {
                chains.entry(series).or_default().push(line);
            }
        }
        chains.retain(|_, lines| lines.len() > 1);
        for lines in chains.values_mut() {
            lines.sort_by_key(|l| (l.start.or(l.concluded).is_none(), l.start.or(l.concluded)));
        }
        chains
    }

    /// What is stated, and what the order in a series says where nothing is.
    fn successions(&self, chains: &BTreeMap<&str, Vec<&Line>>) -> Vec<v1::Succession> {
        let mut found: BTreeMap<(&str, &str), BTreeMap<RelationType, Basis>> = BTreeMap::new();
        for line in &self.lines {
            for (relation, target) in &line.relations {
                let earlier = self.merged.get(target).unwrap_or(target).as_str();
                if earlier != line.summary.name {
                    found.entry((earlier, &line.summary.name)).or_default().insert(*relation, Basis::Stated);
                }
            }
        }
        for (one, next) in chains.values().flat_map(|lines| lines.iter().zip(lines.iter().skip(1))) {
            let (earlier, later) = (one.summary.name.as_str(), next.summary.name.as_str());
            let known = found.contains_key(&(earlier, later)) || found.contains_key(&(later, earlier));
            if !known && one.start.is_some() && one.start < next.start {
                found.entry((earlier, later)).or_default().insert(RelationType::NextInSeries, Basis::Inferred);
            }
        }
        let each = found.into_iter().flat_map(|((earlier, later), how)| {
            how.into_iter().map(move |(relation, basis)| v1::Succession {
                earlier: earlier.to_owned(),
                later: later.to_owned(),
                relation: relation.into(),
                basis: basis.into(),
            })
        });
        each.collect()
    }
}

impl Line {
    fn status(&self) -> AgreementStatus {
        self.summary.status.as_ref().map_or(AgreementStatus::Unspecified, v1::DerivedStatus::agreement_status)
    }
}

/// A series whose lines are in order; the last are listed.
fn series(key: &str, lines: &[&Line]) -> v1::AgreementSeries {
    let listed = &lines[lines.len().saturating_sub(MAX_LISTED_IN_SERIES)..];
    v1::AgreementSeries {
        series: key.to_owned(),
        count: number(lines.len()),
        agreements: listed.iter().map(|l| l.summary.clone()).collect(),
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(edtf: &str) -> Option<v1::InferableDate> {
        let date = (!edtf.is_empty()).then(|| v1::EdtfDate { edtf: edtf.into(), ..Default::default() })?;
        Some(v1::InferableDate { date: Some(date), ..Default::default() })
    }

    fn window(day: &str) -> Window {
        Window::parse(date::civil_day(day).unwrap(), None, None).unwrap()
    }

    /// Of agreements, each with status, signing and last day, what they come to.
    fn answer(day: &str, each: &[(&str, AgreementStatus, &str, &str)]) -> Answer {
        let mut agreements = Agreements::default();
        for (id, status, signed, end) in each {
            let action = v1::AgreementAction {
                r#type: v1::ActionType::Signed.into(),
                date: date(signed).and_then(|d| d.date),
                ..Default::default()
            };
            let agreement =
                v1::Agreement { name: format!("agreements/{id}"), actions: vec![action], ..Default::default() };
            let record = v1::Record { kind: Some(Kind::Agreement(agreement)) };
            let status = v1::DerivedStatus { agreement_status: (*status).into(), ..Default::default() };
            agreements.add(&Seen { record: &record, status: &status, end: date(end).as_ref() }, &window(day));
        }
        agreements.finish(&window(day))
    }

    #[test]
    fn the_next_expiry_is_the_earliest_end_of_what_still_runs() {
        let all = [
            ("gone", AgreementStatus::Expired, "2020", "2024-03-31"),
            ("later", AgreementStatus::InForce, "2020", "2025"),
            ("next", AgreementStatus::Denounced, "2020", "2024-06-30"),
            ("signed", AgreementStatus::Signed, "2024", "2024-06-10"),
            ("open", AgreementStatus::InForce, "2020", ""),
        ];
        let next = answer("2024-06-01", &all).next_expiry.unwrap();
        assert_eq!((next.name.as_str(), next.days_left), ("agreements/next", 29));
        let next = answer("2024-06-30", &all).next_expiry.unwrap();
        assert_eq!((next.name.as_str(), next.days_left), ("agreements/next", 0), "its last day is inclusive");
        assert_eq!(answer("2024-07-01", &all).next_expiry.unwrap().name, "agreements/later");
        assert!(answer("2026-01-01", &all).next_expiry.is_none());
    }

    #[test]
    fn agreements_stand_by_status_and_those_that_end_first_stand_first() {
        let all = [
            ("c", AgreementStatus::InForce, "2022", ""),
            ("b", AgreementStatus::InForce, "2021", ""),
            ("a", AgreementStatus::InForce, "2020", "2030"),
            ("t", AgreementStatus::Terminated, "2020", "2030"),
            ("ahead", AgreementStatus::Unknown, "2025", ""),
            ("unknown", AgreementStatus::Unknown, "", ""),
        ];
        let groups = answer("2024-06-01", &all).groups;
        let names = |group: &v1::AgreementGroup| group.agreements.iter().map(|a| a.name[11..].to_owned()).collect();
        let shown: Vec<(AgreementStatus, Vec<String>)> = groups.iter().map(|g| (g.status(), names(g))).collect();
        let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let expected = [
            (AgreementStatus::InForce, named(&["a", "b", "c"])),
            (AgreementStatus::Unknown, named(&["unknown"])),
            (AgreementStatus::Terminated, named(&["t"])),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_not_listed_is_counted() {
        let ids: Vec<String> = (0..MAX_LISTED + 7).map(|n| format!("a{n:04}")).collect();
        let all: Vec<_> = ids.iter().map(|id| (id.as_str(), AgreementStatus::InForce, "2020", "")).collect();
        let groups = answer("2024-06-01", &all).groups;
        assert_eq!((groups[0].agreements.len(), groups[0].count), (MAX_LISTED, number(MAX_LISTED + 7)));
    }
}
