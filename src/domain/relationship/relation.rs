//! The relation of two or more states.

use std::cmp::Reverse;

use super::{
    KINDS, Seen, Window,
    agreements::Agreements,
    sums::Sums,
    timeline::Months,
    watch::{Between, Claims},
};
use crate::{
    domain::{
        date::{self, Day},
        headline, record,
    },
    limits::MAX_LISTED,
    pb::v1::{self, RecordKind, record::Kind},
};

/// A relation, as far as its records were taken.
#[derive(Debug, Clone)]
pub struct Relation {
    states: Vec<String>,
    window: Window,
    /// In the order of [`KINDS`].
    sums: [Sums; 4],
    /// Guest and host, by their place among the states.
    directions: Vec<((usize, usize), Sums)>,
    observations: Sums,
    agreements: Agreements,
    disputes: Vec<(Option<Day>, v1::Dispute)>,
    months: Months,
}

impl Relation {
    /// Of these states, which were checked, seen so.
    #[must_use]
    pub fn new(states: &[String], window: Window) -> Self {
        let pairs = (0..states.len()).flat_map(|guest| (0..states.len()).map(move |host| (guest, host)));
        Self {
            states: states.to_vec(),
            window,
            sums: Default::default(),
            directions: pairs.filter(|(guest, host)| guest != host).map(|pair| (pair, Sums::default())).collect(),
            observations: Sums::default(),
            agreements: Agreements::default(),
            disputes: Vec::new(),
            months: Months::default(),
        }
    }

    /// Takes one more record; one that is not of these states changes nothing. Each record is to be taken once.
    pub fn add(&mut self, seen: &Seen<'_>) {
        let among = |codes: &[String]| self.states.iter().filter(|s| codes.contains(s)).count();
        let (took_part, observed) = (among(seen.states()), among(seen.observers()));
        let kind = record::kind(seen.record);
        let Some(index) = KINDS.iter().position(|k| *k == kind) else { return };
        if took_part < 2 {
            if took_part == 1 && observed > 0 {
                self.observations.add(seen, &self.window);
            }
            return;
        }
        self.sums[index].add(seen, &self.window);
        self.months.add(seen, &self.window);
        self.agreements.add(seen, &self.window);
        if let Some(Kind::Visit(visit)) = &seen.record.kind {
            self.direct(visit, seen);
        }
        if !seen.disputed().is_empty() {
            self.dispute(seen);
        }
    }

    fn direct(&mut self, visit: &v1::Visit, seen: &Seen<'_>) {
        let has = |sides: &[v1::Side], state: &str| sides.iter().any(|side| side.state == state);
        for ((guest, host), sums) in &mut self.directions {
            if has(&visit.guests, &self.states[*guest]) && has(&visit.hosts, &self.states[*host]) {
                sums.add(seen, &self.window);
            }
        }
    }

    fn dispute(&mut self, seen: &Seen<'_>) {
        let dispute = v1::Dispute {
            name: record::name_of(seen.record).to_owned(),
            label: headline::label(seen.record),
            occurred: record::occurred(seen.record),
            fields: seen.disputed().to_vec(),
        };
        self.disputes.push((seen.span().map(|s| s.latest.unwrap_or(Day::MAX)), dispute));
    }

    /// The relation, with what sources claim to have watched of it.
    #[must_use]
    pub fn finish(mut self, claims: &Claims) -> v1::Relationship {
        let pairs = pairs(&self.states);
        let watched = KINDS.map(|kind| claims.about(kind, &pairs));
        let window = self.window;
        let [visits, meetings, agreements, exercises] = self.sums;
        let tally = |sums: Sums, index: usize| Some(sums.tally(KINDS[index], &watched[index], &window));
        let directions = self.directions.into_iter().map(|((guest, host), sums)| {
            let (guest, host) = (&self.states[guest], &self.states[host]);
            let watched = claims.about(RecordKind::Visit, &[Between::Two(guest, host)]);
            let visits = Some(sums.tally(RecordKind::Visit, &watched, &window));
            v1::VisitDirection { guest: guest.clone(), host: host.clone(), visits }
        });
        let directions = directions.collect();
        self.disputes.sort_by_key(|(latest, d)| (latest.is_none(), Reverse(*latest), d.name.clone()));
        let dispute_count = u32::try_from(self.disputes.len()).unwrap_or(u32::MAX);
        let of_agreements = self.agreements.finish(&window);
        v1::Relationship {
            day: date::show(window.day),
            from: window.from.map(date::show).unwrap_or_default(),
            until: window.until.map(date::show).unwrap_or_default(),
            visits: tally(visits, 0),
            directions,
            meetings: tally(meetings, 1),
            agreements: tally(agreements, 2),
            exercises: tally(exercises, 3),
            observations: tally(self.observations, 3),
            agreement_groups: of_agreements.groups,
            next_expiry: of_agreements.next_expiry,
            successions: of_agreements.successions,
            succession_count: of_agreements.succession_count,
            series: of_agreements.series,
            series_count: of_agreements.series_count,
            disputes: self.disputes.into_iter().take(MAX_LISTED).map(|(_, dispute)| dispute).collect(),
            dispute_count,
            timeline: Some(self.months.finish(&watched, &window)),
            states: self.states,
        }
    }
}

/// Each two of the states.
fn pairs(states: &[String]) -> Vec<Between<'_>> {
    let mut pairs = Vec::new();
    for (index, one) in states.iter().enumerate() {
        pairs.extend(states[index + 1..].iter().map(|other| Between::Two(one, other)));
    }
    pairs
}
