//! The period month by month.

use std::collections::BTreeMap;

use jiff::civil;

use super::{KINDS, Seen, Window, watch::Watched};
use crate::{
    domain::{
        date::{self, Answer, Day, Span},
        record,
    },
    limits::MAX_TIMELINE_MONTHS,
    pb::v1::{self, RecordKind, TimelineMonth},
};

/// Months since January of the year 0.
type Month = i32;

/// A timeline that is being counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Months {
    months: BTreeMap<Month, TimelineMonth>,
    unplaced: u32,
}

impl Months {
    /// Counts the beginning of a record, and the end of an agreement if it still matters.
    pub fn add(&mut self, seen: &Seen<'_>, window: &Window) {
        if seen.is_called_off() {
            return;
        }
        if let Some(beginning) = seen.beginning().filter(|b| b.within(window.from, window.horizon()) != Answer::No) {
            match month_within(beginning) {
                Some(month) => count(self.months.entry(month).or_default(), record::kind(seen.record)),
                None => self.unplaced += 1,
            }
        }
        let gone = [v1::AgreementStatus::Terminated, v1::AgreementStatus::Superseded];
        let end = seen.end.filter(|_| !gone.contains(&seen.status.agreement_status()));
        let end = end.and_then(|end| end.date.as_ref()).map(date::span_of);
        if let Some(month) =
            end.filter(|e| e.within(window.from, window.horizon()) == Answer::Yes).and_then(month_within)
        {
            self.months.entry(month).or_default().expiries += 1;
        }
    }

    /// The timeline, with which months were watched; one line for each of the kinds.
    pub fn finish(mut self, watched: &[Watched; 4], window: &Window) -> v1::Timeline {
        let today = month_of(window.day);
        let first = window.from.and_then(month_of).or(self.months.keys().next().copied()).or(today);
        let last = window.horizon().and_then(month_of).or(self.months.keys().next_back().copied().max(today));
        let (Some(first), Some(last)) = (first, last) else { return v1::Timeline::default() };
        // A bound that shows what is near the day.
        let near = |month: Month| month.min(today.unwrap_or(month).saturating_add(MAX_TIMELINE_MONTHS / 2));
        let last = near(last).max(first);
        let first = first.max(last - MAX_TIMELINE_MONTHS + 1);
        let earlier = sum(self.months.extract_if(..first, |_, _| true).map(|(_, month)| month));
        let later = sum(self.months.extract_if(last + 1.., |_, _| true).map(|(_, month)| month));
        let month = |number: Month| {
            let mut month = self.months.remove(&number).unwrap_or_default();
            month.month = show(number);
            month.observed = observed(watched, number, &month).into();
            month
        };
        v1::Timeline { months: (first..=last).map(month).collect(), earlier, later, unplaced: self.unplaced }
    }
}

fn count(month: &mut TimelineMonth, kind: RecordKind) {
    match kind {
        RecordKind::Visit => month.visits += 1,
        RecordKind::Meeting => month.meetings += 1,
        RecordKind::Agreement => month.agreements += 1,
        RecordKind::Exercise => month.exercises += 1,
        _ => {}
    }
}

/// `None` if there is nothing.
fn sum(months: impl Iterator<Item = TimelineMonth>) -> Option<TimelineMonth> {
    months.reduce(|a, b| TimelineMonth {
        visits: a.visits + b.visits,
        meetings: a.meetings + b.meetings,
        agreements: a.agreements + b.agreements,
        exercises: a.exercises + b.exercises,
        expiries: a.expiries + b.expiries,
        ..a
    })
}

fn observed(watched: &[Watched; 4], number: Month, month: &TimelineMonth) -> v1::Observed {
    let found = [month.visits, month.meetings, month.agreements, month.exercises];
    let (from, until) = (first_day(number), first_day(number + 1).map(|next| next - 1));
    let of_kind = |index: usize| watched[index].observed_so_far(from, until, found[index] > 0);
    let all = |wanted| (0..KINDS.len()).all(|index| of_kind(index) == wanted);
    match () {
        () if all(v1::Observed::Yes) => v1::Observed::Yes,
        () if all(v1::Observed::No) => v1::Observed::No,
        () => v1::Observed::Partly,
    }
}

/// The month in which all of a span lies.
fn month_within(span: Span) -> Option<Month> {
    let (first, last) = (month_of(span.earliest?)?, month_of(span.latest?)?);
    (first == last).then_some(first)
}

fn month_of(day: Day) -> Option<Month> {
    let date = civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(day).ok()?).ok()?;
    Some(Month::from(date.year()) * 12 + Month::from(date.month()) - 1)
}

fn first_day(month: Month) -> Option<Day> {
    let year = i16::try_from(month.div_euclid(12)).ok()?;
    let date = civil::Date::new(year, i8::try_from(month.rem_euclid(12) + 1).ok()?, 1).ok()?;
    Some(date::to_day(date))
}

fn show(month: Month) -> String {
    format!("{:04}-{:02}", month.div_euclid(12), month.rem_euclid(12) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::relationship::watch::{Between, Claims};

    const AZ_KZ: &[Between<'static>] = &[Between::Two("AZ", "KZ")];

    fn day(text: &str) -> Day {
        date::civil_day(text).unwrap()
    }

    /// What a source claims to have watched completely, as months ask for it.
    fn watched(kinds: &[RecordKind], from: &str) -> [Watched; 4] {
        let coverage = v1::Coverage {
            kinds: kinds.iter().map(|k| (*k).into()).collect(),
            from: Some(v1::EdtfDate { edtf: from.into(), ..Default::default() }),
            complete: true,
            ..Default::default()
        };
        let source = v1::Source { name: "sources/desk".into(), coverage: Some(coverage), ..Default::default() };
        let claims = Claims::of(&[source], day("2026-11-23"));
        KINDS.map(|kind| claims.about(kind, AZ_KZ))
    }

    fn observed_of(kinds: &[RecordKind]) -> Vec<(String, v1::Observed)> {
        let window = Window::parse(day("2026-11-23"), Some("2026-09"), Some("2026-12")).unwrap();
        let timeline = Months::default().finish(&watched(kinds, "2026-10"), &window);
        timeline.months.iter().map(|m| (m.month.clone(), m.observed())).collect()
    }

    #[test]
    fn a_month_was_watched_if_all_kinds_were_as_far_as_it_has_gone() {
        use v1::Observed::{No, Partly, Yes};
        let of = |each: [v1::Observed; 4]| {
            let months = ["2026-09", "2026-10", "2026-11", "2026-12"];
            months.into_iter().map(str::to_owned).zip(each).collect::<Vec<_>>()
        };
        assert_eq!(observed_of(&KINDS), of([No, Yes, Yes, No]));
        assert_eq!(observed_of(&KINDS[..2]), of([No, Partly, Partly, No]));
        assert_eq!(observed_of(&[]), of([No; 4]));
    }

    #[test]
    fn months_are_counted_through_the_years() {
        for text in ["1969-12-31", "1970-01-01", "2024-02-29", "0001-01-15", "9999-12-31"] {
            let month = month_of(day(text)).unwrap();
            assert_eq!(show(month), text[..7]);
            let first = first_day(month).unwrap();
            assert!(first <= day(text) && date::show(first).ends_with("-01"), "{text}");
        }
    }
}
