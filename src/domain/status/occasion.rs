//! The status of visits, meetings and exercises: from their stages and dates.

use super::{Holds, first, over, reached, shown};
use crate::{
    domain::date::{self, Answer, Day, Span},
    pb::v1::{self, DerivedStatus, ProgressType, Status, record::Kind},
};

/// The dates and stages that the three kinds share.
struct Occasion<'a> {
    start: Option<&'a v1::EdtfDate>,
    end: Option<&'a v1::EdtfDate>,
    planned_start: Option<&'a v1::EdtfDate>,
    planned_end: Option<&'a v1::EdtfDate>,
    progress: &'a [v1::Progress],
    /// The day by which everything stated without a date had happened.
    known_by: Option<Day>,
    day: Day,
}

fn of(record: &v1::Record, day: Day, known_by: Option<Day>) -> Option<Occasion<'_>> {
    macro_rules! occasion {
        ($m:expr) => {
            Some(Occasion {
                start: $m.start.as_ref(),
                end: $m.end.as_ref(),
                planned_start: $m.planned_start.as_ref(),
                planned_end: $m.planned_end.as_ref(),
                progress: &$m.progress,
                known_by,
                day,
            })
        };
    }
    match record.kind.as_ref()? {
        Kind::Visit(m) => occasion!(m),
        Kind::Meeting(m) => occasion!(m),
        Kind::Exercise(m) => occasion!(m),
        _ => None,
    }
}

/// The first day as it was, else as planned; and whether it is a plan.
#[must_use]
pub fn start_of(record: &v1::Record) -> Option<(&v1::EdtfDate, bool)> {
    of(record, 0, None)?.first_day()
}

/// The last day as it was, else as planned; and whether it is a plan.
#[must_use]
pub fn end_of(record: &v1::Record) -> Option<(&v1::EdtfDate, bool)> {
    of(record, 0, None)?.last_day()
}

/// Every date of a visit, meeting or exercise and of its stages; none of other kinds.
#[must_use]
pub fn dates_of(record: &v1::Record) -> Vec<&v1::EdtfDate> {
    let Some(Occasion { start, end, planned_start, planned_end, progress, .. }) = of(record, 0, None) else {
        return Vec::new();
    };
    let stages = progress.iter().flat_map(|p| [p.date.as_ref(), p.stated_as_of.as_ref()]);
    [start, end, planned_start, planned_end].into_iter().chain(stages).flatten().collect()
}

/// What holds of a visit, meeting or exercise on a day; `None` for other kinds.
pub(super) fn derive(record: &v1::Record, day: Day, known_by: Option<Day>) -> Option<(Status, DerivedStatus)> {
    let occasion = of(record, day, known_by)?;
    let rungs: [(Status, &dyn Fn() -> Holds); 7] = [
        (Status::Cancelled, &|| occasion.stage(&[ProgressType::Cancelled], "cancelled")),
        (Status::Postponed, &|| occasion.postponed()),
        (Status::Concluded, &|| occasion.concluded()),
        (Status::TookPlace, &|| occasion.stage(&[ProgressType::TookPlace], "took place")),
        (Status::Underway, &|| occasion.underway()),
        (Status::Confirmed, &|| occasion.stage(&[ProgressType::Confirmed], "confirmed")),
        (Status::Announced, &|| occasion.announced()),
    ];
    Some(first(&rungs, Status::Unknown))
}

impl<'a> Occasion<'a> {
    fn first_day(&self) -> Option<(&'a v1::EdtfDate, bool)> {
        self.start.map(|d| (d, false)).or(self.planned_start.map(|d| (d, true)))
    }

    fn last_day(&self) -> Option<(&'a v1::EdtfDate, bool)> {
        // A plan that ends before what then was began is overtaken.
        let began = self.start.and_then(|d| date::span_of(d).earliest);
        let overtaken =
            |d: &&v1::EdtfDate| began.zip(date::span_of(d).latest).is_some_and(|(first, last)| last < first);
        self.end.map(|d| (d, false)).or(self.planned_end.filter(|d| !overtaken(d)).map(|d| (d, true)))
    }

    /// When a stage was reached: its date, else before the source said so, and what cannot be before the start is not.
    fn reached_at(&self, stage: &v1::Progress) -> Span {
        if let Some(date) = &stage.date {
            return date::span_of(date);
        }
        let said = stage.stated_as_of.as_ref().and_then(|d| date::span_of(d).latest).or(self.known_by);
        let of_the_thing_itself = matches!(
            stage.r#type(),
            ProgressType::Began | ProgressType::TookPlace | ProgressType::Concluded | ProgressType::Ended
        );
        let earliest = self.start.filter(|_| of_the_thing_itself).and_then(|d| date::span_of(d).earliest);
        Span { earliest, latest: said.map(|day| earliest.map_or(day, |first| day.max(first))) }
    }

    /// The stages of these types, with whether each is reached.
    fn stages<'s>(&'s self, types: &'s [ProgressType]) -> impl Iterator<Item = (&'s v1::Progress, Answer)> {
        let of_type = |p: &&v1::Progress| types.contains(&p.r#type());
        self.progress.iter().filter(of_type).map(|p| (p, reached(self.reached_at(p), self.day)))
    }

    fn stage(&self, types: &[ProgressType], word: &str) -> Holds {
        let certain = self.stages(types).find(|(_, answer)| *answer == Answer::Yes);
        let found = certain.or_else(|| self.stages(types).find(|(_, answer)| *answer == Answer::Maybe));
        found.map_or(Holds::No, |(stage, answer)| Holds::by(answer, said(stage, word), false))
    }

    /// Put off, unless a later word says otherwise.
    fn postponed(&self) -> Holds {
        let said_on = |p: &v1::Progress| p.stated_as_of.as_ref().or(p.date.as_ref()).map(date::span_of);
        let overtaken = |stage: &v1::Progress| {
            let Some(latest) = said_on(stage).and_then(|s| s.latest) else { return false };
            self.progress.iter().any(|other| {
                let reached = reached(self.reached_at(other), self.day) == Answer::Yes;
                let later = said_on(other).and_then(|s| s.earliest).is_some_and(|first| first > latest);
                other.r#type() != ProgressType::Postponed && reached && later
            })
        };
        let put_off = [ProgressType::Postponed];
        let standing = self.stages(&put_off).find(|(stage, answer)| *answer != Answer::No && !overtaken(stage));
        standing.map_or(Holds::No, |(stage, answer)| Holds::by(answer, said(stage, "postponed"), false))
    }

    fn concluded(&self) -> Holds {
        let stated = self.stage(&[ProgressType::Concluded, ProgressType::Ended], "ended");
        if matches!(stated, Holds::Yes { .. }) {
            return stated;
        }
        let by_date = self.last_day().map_or(Holds::No, |(end, planned)| {
            let why = if planned { format!("planned to end {}", end.edtf) } else { format!("ended {}", end.edtf) };
            Holds::by(over(date::span_of(end), self.day), why, planned)
        });
        if by_date == Holds::No { stated } else { by_date }
    }

    fn underway(&self) -> Holds {
        let stated = self.stage(&[ProgressType::Began], "began");
        if matches!(stated, Holds::Yes { .. }) {
            return stated;
        }
        let Some((start, planned)) = self.first_day() else { return stated };
        let why = if planned { format!("planned to begin {}", start.edtf) } else { format!("began {}", start.edtf) };
        match Holds::by(reached(date::span_of(start), self.day), why, planned) {
            Holds::Yes { why, .. } if self.last_day().is_none() => {
                Holds::possible(format!("{why}; its end is not stated"))
            }
            Holds::No => stated,
            by_date => by_date,
        }
    }

    /// Announced, by word or because it is planned.
    fn announced(&self) -> Holds {
        let stated = self.stage(&[ProgressType::Announced], "announced");
        match self.planned_start.or(self.planned_end) {
            Some(plan) if !matches!(stated, Holds::Yes { .. }) => Holds::inferred(format!("planned for {}", plan.edtf)),
            _ => stated,
        }
    }
}

fn said(stage: &v1::Progress, word: &str) -> String {
    match (&stage.date, &stage.stated_as_of) {
        (None, Some(as_of)) => format!("{word}, as stated {}", as_of.edtf),
        (date, _) => format!("{word} {}", shown(date.as_ref())),
    }
}
