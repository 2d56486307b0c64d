//! Relations of states: what the records say of them, and whether anybody watched.
//!
//! Records are taken one by one and kept as little as the answer needs, so that a long history costs time and no room.
//! `proto/attache/v1/relationship.proto` says what everything means.

mod agreements;
mod ranking;
mod relation;
mod sums;
mod timeline;
mod watch;

pub use self::{
    ranking::{Ranking, watched},
    relation::Relation,
    watch::Claims,
};
use super::{
    date::{self, Date, Day, Span},
    error::{Error, Reason, Result},
    headline, record,
    state::is_state,
};
use crate::{
    limits::MAX_RELATIONSHIP_STATES,
    pb::v1::{self, RecordKind, record::Kind},
};

/// The kinds that make a relation.
pub const KINDS: [RecordKind; 4] =
    [RecordKind::Visit, RecordKind::Meeting, RecordKind::Agreement, RecordKind::Exercise];

/// From where one looks, and at which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What is past and what is ahead.
    pub day: Day,
    /// The first day of the period; `None` is open.
    pub from: Option<Day>,
    /// The last day of the period; `None` is open.
    pub until: Option<Day>,
    /// Whether the end of the period was asked for, and is not just the day.
    pub ends: bool,
}

impl Window {
    /// Reads a period seen from a day; an end that is not stated is the day.
    ///
    /// # Errors
    ///
    /// `FIELD_INVALID` for what is no date, or an end before its beginning.
    pub fn parse(day: Day, from: Option<&str>, until: Option<&str>) -> Result<Self> {
        let span = |field: &str, text: Option<&str>| {
            let read = |text| Date::parse(text).map_err(|e| Error::field(Reason::FieldInvalid, field, e.to_string()));
            text.map(read).transpose().map(|date| date.map(|d| d.span()))
        };
        let from = span("from", from)?.and_then(|s| s.earliest);
        let stated = span("until", until)?;
        let window = Self { day, from, until: stated.map_or(Some(day), |s| s.latest), ends: stated.is_some() };
        match (window.from, window.until) {
            (Some(from), Some(until)) if until < from => {
                let what = if window.ends { "until" } else { "from" };
                Err(Error::field(
                    Reason::FieldInvalid,
                    what,
                    format!("{} is before {}", date::show(until), date::show(from)),
                ))
            }
            _ => Ok(window),
        }
    }

    /// The end of what the timeline shows; `None` is open.
    fn horizon(&self) -> Option<Day> {
        self.until.filter(|_| self.ends)
    }
}

/// Checks the states of a question about several: sorted as asked.
///
/// # Errors
///
/// `FIELD_INVALID` for what is no state, states asked twice or fewer than two; `TOO_LARGE` for too many.
pub fn check_states(states: &[String]) -> Result<()> {
    if states.len() > MAX_RELATIONSHIP_STATES {
        let why = format!("has {} states; at most {MAX_RELATIONSHIP_STATES} are allowed", states.len());
        return Err(Error::field(Reason::TooLarge, "states", why).with("limit", MAX_RELATIONSHIP_STATES));
    }
    for (index, state) in states.iter().enumerate() {
        check_state(state, &format!("states[{index}]"))?;
        if states[..index].contains(state) {
            return Err(Error::field(
                Reason::FieldInvalid,
                format!("states[{index}]"),
                format!("{state} is there twice"),
            ));
        }
    }
    if states.len() < 2 {
        return Err(Error::field(
            Reason::FieldInvalid,
            "states",
            "needs two states or more; ListRelationships takes one",
        ));
    }
    Ok(())
}

/// Checks one state.
///
/// # Errors
///
/// `FIELD_INVALID` if it is none.
pub fn check_state(state: &str, field: &str) -> Result<()> {
    let why = || format!("{state:?} is not a state code such as AZ, SUHH or x-hawaii");
    if is_state(state) { Ok(()) } else { Err(Error::field(Reason::FieldInvalid, field, why())) }
}

/// A record with what is derived of it at the day.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The record.
    pub record: &'a v1::Record,
    /// Its status.
    pub status: &'a v1::DerivedStatus,
    /// Of an agreement the last day of its validity as known at the day.
    pub end: Option<&'a v1::InferableDate>,
}

impl Seen<'_> {
    /// The record in one line.
    fn contact(&self) -> v1::Contact {
        v1::Contact {
            name: record::name_of(self.record).to_owned(),
            label: headline::label(self.record),
            occurred: record::occurred(self.record),
            status: Some(self.status.clone()),
        }
    }

    fn is_called_off(&self) -> bool {
        matches!(self.status.status(), v1::Status::Cancelled | v1::Status::Postponed)
    }

    fn states(&self) -> &[String] {
        record::info(self.record).map_or(&[], |info| &info.states)
    }

    fn observers(&self) -> &[String] {
        record::info(self.record).map_or(&[], |info| &info.observer_states)
    }

    fn disputed(&self) -> &[String] {
        record::info(self.record).map_or(&[], |info| &info.disputed_fields)
    }

    /// When it occurred.
    fn span(&self) -> Option<Span> {
        record::occurred(self.record).map(|d| date::span_of(&d))
    }

    /// When it began, as `occurred` has it: what was if any of it is stated, else what was planned.
    fn beginning(&self) -> Option<Span> {
        let of = |dates: [&Option<v1::EdtfDate>; 4]| dates.into_iter().flatten().next().map(date::span_of);
        match self.record.kind.as_ref()? {
            Kind::Visit(v) => of([&v.start, &v.end, &v.planned_start, &v.planned_end]),
            Kind::Meeting(m) => of([&m.start, &m.end, &m.planned_start, &m.planned_end]),
            Kind::Exercise(e) => of([&e.start, &e.end, &e.planned_start, &e.planned_end]),
            _ => self.span(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Date::parse(text).unwrap().span().earliest.unwrap()
    }

    #[test]
    fn a_period_ends_with_the_day_unless_it_says_otherwise() {
        let today = day("2024-06-01");
        let open = Window::parse(today, None, None).unwrap();
        assert_eq!((open.from, open.until, open.horizon()), (None, Some(today), None));
        let year = Window::parse(today, Some("2023"), Some("2024")).unwrap();
        assert_eq!((year.from, year.until), (Some(day("2023-01-01")), Some(day("2024-12-31"))));
        assert_eq!(year.horizon(), year.until);
    }

    #[test]
    fn a_period_that_ends_before_it_begins_is_refused_by_the_field_that_is_wrong() {
        let wrong =
            |from, until| Window::parse(day("2024-06-01"), from, until).unwrap_err().violations[0].field.clone();
        assert_eq!(wrong(Some("2024"), Some("2023")), "until");
        assert_eq!(wrong(Some("2025"), None), "from");
        assert_eq!(wrong(Some("soon"), None), "from");
        assert_eq!(wrong(None, Some("2024-06-01T10:00:00")), "until");
    }

    #[test]
    fn the_states_of_a_relation_are_two_to_eight_codes_each_once() {
        let asked = |codes: &[&str]| check_states(&codes.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>());
        assert!(asked(&["AZ", "KZ"]).is_ok() && asked(&["AZ", "SUHH", "x-hawaii"]).is_ok());
        let field = |codes: &[&str]| asked(codes).unwrap_err().violations[0].field.clone();
        assert_eq!(field(&["AZ"]), "states");
        assert_eq!(field(&[]), "states");
        assert_eq!(field(&["AZ", "Kazakhstan"]), "states[1]");
        assert_eq!(field(&["AZ", "KZ", "AZ"]), "states[2]");
        let many = asked(&["AZ", "KZ", "TR", "GE", "UZ", "TJ", "IR", "LV", "BA"]).unwrap_err();
        assert_eq!(many.reason, Reason::TooLarge);
    }
}
