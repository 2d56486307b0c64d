//! Dates as sources give them: EDTF (ISO 8601-2), with computed bounds and three-valued comparison.

use std::fmt;

use edtf_core::{Bound, BoundDate, Edtf};
use jiff::civil;

use crate::pb::v1;

/// Days since 1970-01-01, proleptic Gregorian.
pub type Day = i32;

/// The longest EDTF text that is read.
pub const MAX_EDTF: usize = 64;

/// What a date may mean: every day from `earliest` to `latest`, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// `None` is unbounded or unknown.
    pub earliest: Option<Day>,
    /// `None` is unbounded or unknown.
    pub latest: Option<Day>,
}

/// The answer to a question about dates of which only bounds are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// For every day they may mean.
    Yes,
    /// For none.
    No,
    /// For some.
    Maybe,
}

impl Span {
    /// Whether this span lies inside the inclusive range.
    #[must_use]
    pub fn within(self, from: Option<Day>, until: Option<Day>) -> Answer {
        let starts_after = from.is_none_or(|f| self.earliest.is_some_and(|e| e >= f));
        let ends_before = until.is_none_or(|u| self.latest.is_some_and(|l| l <= u));
        let apart = from.is_some_and(|f| self.latest.is_some_and(|l| l < f))
            || until.is_some_and(|u| self.earliest.is_some_and(|e| e > u));
        match (apart, starts_after && ends_before) {
            (true, _) => Answer::No,
            (false, true) => Answer::Yes,
            (false, false) => Answer::Maybe,
        }
    }

    /// From the start of this span to the end of `other`, as far as they are known.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self {
            earliest: self.earliest.map(|start| other.earliest.map_or(start, |end| start.min(end))),
            latest: match (self.latest, other.latest) {
                (Some(a), Some(b)) => Some(a.max(b)),
                _ => None,
            },
        }
    }
}

/// Why a text is not a date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DateError(String);

/// A date as stated, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Date(Meaning);

#[derive(Debug, Clone, PartialEq)]
enum Meaning {
    /// One day of the calendar, or from one to another: nearly all dates are, and a filing asks for each some ten times.
    Days(Day, Option<Day>),
    /// What else EDTF can say.
    Stated(Edtf),
}

impl Date {
    /// Reads EDTF levels 0 to 2 without time of day.
    ///
    /// # Errors
    ///
    /// What is wrong, and where, in words.
    pub fn parse(text: &str) -> Result<Self, DateError> {
        if text.len() > MAX_EDTF {
            return Err(DateError(format!("a date has at most {MAX_EDTF} characters")));
        }
        if let Some(days) = days(text) {
            return Ok(Self(days));
        }
        let parsed = Edtf::parse(text).map_err(|e| {
            DateError(format!("{text:?} is not an EDTF date such as 2023-10-06, 2023-10 or 2023~: {e}"))
        })?;
        if matches!(parsed, Edtf::DateTime(_)) {
            return Err(DateError(format!("{text:?} has a time of day; a date has none")));
        }
        Ok(Self(Meaning::Stated(parsed)))
    }

    /// Every day it may mean.
    #[must_use]
    pub fn span(&self) -> Span {
        match &self.0 {
            Meaning::Days(from, until) => Span { earliest: Some(*from), latest: Some(until.unwrap_or(*from)) },
            Meaning::Stated(parsed) => {
                let bounds = parsed.bounds();
                Span { earliest: day_of(bounds.earliest), latest: day_of(bounds.latest) }
            }
        }
    }

    /// Whether it is marked uncertain or approximate (`?`, `~`, `%`).
    #[must_use]
    pub fn is_qualified(&self) -> bool {
        match &self.0 {
            Meaning::Days(..) => false,
            Meaning::Stated(parsed) => parsed.is_uncertain() || parsed.is_approximate(),
        }
    }
}

/// What a text means that is one day or two in their order; `None` of all others, right or wrong.
fn days(text: &str) -> Option<Meaning> {
    match text.split_once('/') {
        None => Some(Meaning::Days(plain_day(text)?, None)),
        Some((from, until)) => {
            let (from, until) = (plain_day(from)?, plain_day(until)?);
            (from <= until).then_some(Meaning::Days(from, Some(until)))
        }
    }
}

/// A day as `YYYY-MM-DD`, with digits alone.
fn plain_day(text: &str) -> Option<Day> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else { return None };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_i16, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i16::from(b - b'0')))
    };
    let (month, day) = (number(&[m1, m2])?, number(&[d1, d2])?);
    let date = civil::Date::new(number(&[y1, y2, y3, y4])?, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    date.ok().map(to_day)
}

fn day_of(bound: Bound) -> Option<Day> {
    match bound {
        Bound::Date(BoundDate { year, month, day }) => {
            let date = civil::Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
            date.ok().map(to_day)
        }
        Bound::NegativeInfinity | Bound::PositiveInfinity | Bound::Unknown => None,
    }
}

/// The day of a civil date.
///
/// # Panics
///
/// Never: every civil date is within ten thousand years of 1970.
#[must_use]
pub fn to_day(date: civil::Date) -> Day {
    let since = date.duration_since(civil::date(1970, 1, 1));
    Day::try_from(since.as_hours() / 24).expect("civil dates are close enough")
}

/// A day as `YYYY-MM-DD`.
#[must_use]
pub fn show(day: Day) -> String {
    civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(day)).map_or_else(|_| String::new(), |d| d.to_string())
}

/// Reads one day of the calendar, `YYYY-MM-DD`.
///
/// # Errors
///
/// What is expected, in words.
pub fn civil_day(text: &str) -> Result<Day, DateError> {
    let wrong = || DateError(format!("{text:?} is not a day such as 2024-06-01"));
    if text.len() != 10 {
        return Err(wrong());
    }
    text.parse::<civil::Date>().map(to_day).map_err(|_| wrong())
}

/// A date of the contract with its bounds computed.
#[must_use]
pub fn to_pb(text: &str, span: Span) -> v1::EdtfDate {
    let show = |day: Option<Day>| day.map(show).unwrap_or_default();
    v1::EdtfDate { edtf: text.to_owned(), earliest: show(span.earliest), latest: show(span.latest) }
}

/// The span of a date of the contract that was checked before; unknown if it was not.
#[must_use]
pub fn span_of(date: &v1::EdtfDate) -> Span {
    Date::parse(&date.edtf).map_or(Span { earliest: None, latest: None }, |d| d.span())
}

/// When a source was published: a day, which counts to its last second UTC, or an instant with offset.
///
/// # Errors
///
/// What is wrong, in words.
pub fn published(text: &str) -> Result<jiff::Timestamp, DateError> {
    let wrong = || {
        DateError(format!(
            "{text:?} is neither a day such as 2023-10-07 nor an instant with offset such as 2023-10-07T10:00:00+04:00"
        ))
    };
    if text.len() == 10 {
        let day: civil::Date = text.parse().map_err(|_| wrong())?;
        let end = day.at(23, 59, 59, 0).to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
        return Ok(end.timestamp());
    }
    text.parse().map_err(|_| wrong())
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Meaning::Days(from, None) => f.write_str(&show(*from)),
            Meaning::Days(from, Some(until)) => write!(f, "{}/{}", show(*from), show(*until)),
            Meaning::Stated(parsed) => parsed.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> (String, String) {
        let pb = to_pb(text, Date::parse(text).unwrap().span());
        (pb.earliest, pb.latest)
    }

    #[test]
    fn bounds_are_the_first_and_last_day_a_date_may_mean() {
        assert_eq!(span("2023-10-06"), ("2023-10-06".into(), "2023-10-06".into()));
        assert_eq!(span("2024-02"), ("2024-02-01".into(), "2024-02-29".into()));
        assert_eq!(span("2023~"), ("2023-01-01".into(), "2023-12-31".into()));
        assert_eq!(span("2023-10-06/2023-10-08"), ("2023-10-06".into(), "2023-10-08".into()));
        assert_eq!(span("2023-10-06/.."), ("2023-10-06".into(), String::new()));
    }

    #[test]
    fn impossible_days_times_and_long_texts_are_refused() {
        for bad in ["2023-02-30", "yesterday", "", "2023-10-06T10:00:00", "06.10.2023", &"2".repeat(65)] {
            assert!(Date::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_plain_day_or_two_mean_what_edtf_says() {
        let mut texts = vec!["0000-01-01".to_owned(), "9999-12-31".to_owned(), "2023-02-29".to_owned()];
        texts.extend((0..1500).map(|n| show(n * 500 - 200_000)));
        let pairs = texts.iter().zip(texts.iter().skip(1)).flat_map(|(a, b)| [format!("{a}/{b}"), format!("{b}/{a}")]);
        let same_day = "2023-10-06/2023-10-06".to_owned();
        for text in texts.iter().cloned().chain(pairs).chain([same_day]) {
            let ours = Date::parse(&text).map(|date| {
                assert!(matches!(date.0, Meaning::Days(..)), "{text} is read the short way");
                (date.span(), date.is_qualified(), date.to_string())
            });
            let theirs = Edtf::parse(&text).map(|date| {
                let (span, is_qualified) = (Date(Meaning::Stated(date.clone())).span(), date.is_uncertain());
                (span, is_qualified, date.to_string())
            });
            assert_eq!(ours.ok(), theirs.ok(), "{text}");
        }
    }

    #[test]
    fn a_question_of_range_has_three_answers() {
        let (from, until) = (Date::parse("2023").unwrap().span().earliest, Date::parse("2023").unwrap().span().latest);
        let ask = |text: &str| Date::parse(text).unwrap().span().within(from, until);
        assert_eq!(ask("2023-10"), Answer::Yes);
        assert_eq!(ask("2022-12/2023-01"), Answer::Maybe);
        assert_eq!(ask("2024"), Answer::No);
        assert_eq!(ask("2023-05/.."), Answer::Maybe);
    }

    #[test]
    fn a_bare_day_of_publication_counts_to_its_end() {
        assert_eq!(published("2023-10-07").unwrap().to_string(), "2023-10-07T23:59:59Z");
        assert_eq!(published("2023-10-07T10:00:00+04:00").unwrap().to_string(), "2023-10-07T06:00:00Z");
        assert!(published("2023-10-07T10:00:00").is_err());
        assert!(published("2023-10").is_err());
    }
}
