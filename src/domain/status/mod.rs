//! Derived status: what holds of a record at a date. Nobody states it; the rules are `product.md`'s, first that holds.
//!
//! Starts count from the latest day that they may mean, ends from the day after it: what may have happened already is
//! told as the doubt it is.

mod agreement;
mod occasion;

pub use self::agreement::{
    Expiry, began, denounced_from, expiry, succeeded, succeeded_by_any, successors_of, term_end,
};
pub use self::occasion::{dates_of, end_of, start_of};
use super::date::{self, Day, Span};
use crate::pb::v1::{self, Certainty, DerivedStatus, record::Kind};

/// From where one looks at a record.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The day that is asked about.
    pub day: Day,
    /// The agreements that say of themselves that they supersede or renew the record; others among them do not matter.
    pub successors: &'a [v1::Record],
}

impl View<'_> {
    /// Without successors.
    #[must_use]
    pub fn alone(day: Day) -> Self {
        Self { day, successors: &[] }
    }
}

/// What holds of a record; `None` for persons, organizations and places.
#[must_use]
pub fn derive(record: &v1::Record, view: View<'_>) -> Option<DerivedStatus> {
    match record.kind.as_ref()? {
        Kind::Visit(_) | Kind::Meeting(_) | Kind::Exercise(_) => {
            let (status, held) = occasion::derive(record, view.day, known_by(super::record::info(record)))?;
            Some(DerivedStatus { status: status.into(), ..held })
        }
        Kind::Agreement(agreement) => {
            let (status, held) = agreement::derive(agreement, view);
            Some(DerivedStatus { agreement_status: status.into(), ..held })
        }
        Kind::Person(_) | Kind::Organization(_) | Kind::Place(_) => None,
    }
}

/// The day on which the registry first learnt of a record: what it says without a date had happened by then.
#[must_use]
pub fn known_by(info: Option<&v1::RecordInfo>) -> Option<Day> {
    let created = info?.create_time.as_ref()?;
    i32::try_from(created.seconds.div_euclid(86_400)).ok()
}

/// Whether one rung of the ladder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holds {
    /// No.
    No,
    /// It may; why, in words.
    Maybe(String),
    /// It does.
    Yes {
        /// Why, in words.
        why: String,
        /// Whether it rests on something inferred.
        inferred: bool,
        /// Whether it leaves room for another answer.
        possible: bool,
    },
}

impl Holds {
    fn yes(why: impl Into<String>) -> Self {
        Self::Yes { why: why.into(), inferred: false, possible: false }
    }

    fn inferred(why: impl Into<String>) -> Self {
        Self::Yes { why: why.into(), inferred: true, possible: false }
    }

    fn possible(why: impl Into<String>) -> Self {
        Self::Yes { why: why.into(), inferred: false, possible: true }
    }

    /// Holds for certain, may hold, or does not.
    fn by(answer: date::Answer, why: impl Into<String>, inferred: bool) -> Self {
        match answer {
            date::Answer::No => Self::No,
            date::Answer::Maybe => Self::Maybe(why.into()),
            date::Answer::Yes => Self::Yes { why: why.into(), inferred, possible: false },
        }
    }
}

/// The first rung that holds, with its certainty and reason; what may hold before it makes it a possibility.
fn first<S: Copy>(rungs: &[(S, &dyn Fn() -> Holds)], otherwise: S) -> (S, DerivedStatus) {
    let mut doubt: Option<String> = None;
    for (status, holds) in rungs {
        match holds() {
            Holds::No => {}
            Holds::Maybe(why) => doubt = doubt.or(Some(why)),
            Holds::Yes { why, inferred, possible } => {
                let certainty = match (&doubt, possible, inferred) {
                    (Some(_), ..) | (None, true, _) => Certainty::Possible,
                    (None, false, true) => Certainty::Inferred,
                    (None, false, false) => Certainty::Definite,
                };
                return (*status, told(certainty, why, doubt));
            }
        }
    }
    let certainty = if doubt.is_some() { Certainty::Possible } else { Certainty::Definite };
    (otherwise, told(certainty, "nothing that is known by then says".to_owned(), doubt))
}

fn told(certainty: Certainty, why: String, doubt: Option<String>) -> DerivedStatus {
    let reason = match doubt {
        Some(doubt) => format!("{why}; perhaps {doubt}"),
        None => why,
    };
    DerivedStatus { certainty: certainty.into(), reason, ..DerivedStatus::default() }
}

/// Whether a day that is only known within bounds has come.
fn reached(span: Span, day: Day) -> date::Answer {
    span.within(None, Some(day))
}

/// Whether what lasts to the end of a span is over.
fn over(span: Span, day: Day) -> date::Answer {
    span.within(None, Some(day.saturating_sub(1)))
}

/// A date as reasons show it.
fn shown(date: Option<&v1::EdtfDate>) -> String {
    date.map_or_else(|| "on a day that is not stated".to_owned(), |d| d.edtf.clone())
}
