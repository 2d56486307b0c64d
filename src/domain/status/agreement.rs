//! The status of agreements: from their acts, validity, renewals and successors.

use std::collections::BTreeSet;

use jiff::{Span as Months, civil};

use super::{Holds, View, first, known_by, over, reached, shown};
use crate::{
    domain::{
        date::{self, Answer, Day, Span},
        record,
    },
    pb::v1::{self, ActionType, AgreementStatus, Basis, DerivedStatus, RelationType, RenewalKind, record::Kind},
};

/// The agreements that this one supersedes or renews, with how.
pub fn succeeded(agreement: &v1::Agreement) -> impl Iterator<Item = (RelationType, &str)> {
    let succeeds = |r: &&v1::AgreementRelation| matches!(r.r#type(), RelationType::Supersedes | RelationType::Renews);
    agreement.relations.iter().filter(succeeds).map(|r| (r.r#type(), r.target.as_str()))
}

/// The names that any of these agreements supersedes or renews, sorted, each once; other kinds have none.
pub fn succeeded_by_any<'a>(records: impl IntoIterator<Item = &'a v1::Record>) -> BTreeSet<&'a str> {
    let agreements = records.into_iter().filter_map(|r| match &r.kind {
        Some(Kind::Agreement(agreement)) => Some(agreement),
        _ => None,
    });
    agreements.flat_map(succeeded).map(|(_, target)| target).collect()
}

/// Those among `others` that stand in this relation to an agreement or to a name merged into it, by name.
pub fn successors_of<'a>(
    agreement: &'a v1::Agreement,
    relation: RelationType,
    others: &'a [v1::Record],
) -> impl Iterator<Item = &'a v1::Agreement> {
    let is_it = |name: &str| {
        name == agreement.name || agreement.info.as_ref().is_some_and(|i| i.merged_names.iter().any(|m| m == name))
    };
    let agreements = others.iter().filter_map(|r| match &r.kind {
        Some(Kind::Agreement(other)) => Some(other),
        _ => None,
    });
    agreements.filter(move |other| {
        !is_it(&other.name) && succeeded(other).any(|(how, target)| how == relation && is_it(target))
    })
}

/// The end of an agreement as it is known on a day.
#[derive(Debug, Clone, PartialEq)]
pub struct Expiry {
    /// The last day.
    pub last: v1::EdtfDate,
    /// Whether it is inferred, or follows from an inferred date.
    pub inferred: bool,
}

impl Expiry {
    /// The last day that it may mean.
    #[must_use]
    pub fn latest(&self) -> Option<Day> {
        date::span_of(&self.last).latest
    }
}

/// What holds of an agreement on a day.
pub(super) fn derive(agreement: &v1::Agreement, view: View<'_>) -> (AgreementStatus, DerivedStatus) {
    let seen = Seen::of(agreement, view);
    let rungs: [(AgreementStatus, &dyn Fn() -> Holds); 9] = [
        (AgreementStatus::Terminated, &|| seen.terminated()),
        (AgreementStatus::Superseded, &|| seen.superseded()),
        (AgreementStatus::Expired, &|| seen.expired()),
        (AgreementStatus::Suspended, &|| seen.suspended()),
        (AgreementStatus::Denounced, &|| seen.denounced()),
        (AgreementStatus::InForce, &|| seen.in_force()),
        (AgreementStatus::ProvisionallyApplied, &|| {
            seen.act(&[ActionType::ProvisionallyApplied], "applied provisionally from")
        }),
        (AgreementStatus::Signed, &|| seen.signed()),
        (AgreementStatus::Proposed, &|| seen.proposed()),
    ];
    first(&rungs, AgreementStatus::Unknown)
}

/// The last day of an agreement's validity, renewals by that day included; `None` if it has none, or if it is renewed
/// tacitly and nobody has denounced it, or renewed for a time that is not stated.
#[must_use]
pub fn expiry(agreement: &v1::Agreement, view: View<'_>) -> Option<Expiry> {
    let seen = Seen::of(agreement, view);
    if seen.is_tacit() && seen.denounced_on().is_none() {
        return None;
    }
    let term = seen.term();
    term.expiry.filter(|_| !term.open)
}

/// The latest last day of the term that runs on a day, tacit renewals included.
#[must_use]
pub fn term_end(agreement: &v1::Agreement, view: View<'_>) -> Option<Day> {
    Seen::of(agreement, view).term().expiry.as_ref().and_then(Expiry::latest)
}

/// The denunciation of the whole that first has effect, and from when.
#[must_use]
pub fn denounced_from(agreement: &v1::Agreement) -> Option<(&v1::AgreementAction, &v1::EdtfDate)> {
    let seen = Seen::of(agreement, View::alone(0));
    let effective = seen.denunciations().filter_map(|a| Some((a, a.effective_date.as_ref()?)));
    effective.min_by_key(|(_, d)| date::span_of(d).latest.unwrap_or(Day::MAX))
}

/// When an agreement began to run, as far as it says, and whether that is inferred: its entry into force; else the start
/// of its validity, or its conclusion if that came later. What is not concluded never begins.
#[must_use]
pub fn began(agreement: &v1::Agreement) -> Option<(&v1::EdtfDate, bool)> {
    let latest = |d: &&v1::EdtfDate| date::span_of(d).latest.unwrap_or(Day::MAX);
    let entered = agreement.actions.iter().filter(|a| a.r#type() == ActionType::EnteredIntoForce);
    if let Some(entered) = entered.filter_map(effect).min_by_key(latest) {
        return Some((entered, false));
    }
    let (start, inferred) = dated(agreement.validity.as_ref()?.start.as_ref()?)?;
    let concluding = || agreement.actions.iter().filter(|a| record::is_concluding(a.r#type()));
    match concluding().filter_map(|a| a.date.as_ref()).min_by_key(latest) {
        Some(concluded) if latest(&concluded) <= latest(&start) => Some((start, inferred)),
        // One without a date is taken to lie before the validity that it brought about.
        _ if concluding().any(|a| a.date.is_none()) => Some((start, true)),
        Some(concluded) => Some((concluded, inferred)),
        None => None,
    }
}

/// From when an act has effect.
fn effect(action: &v1::AgreementAction) -> Option<&v1::EdtfDate> {
    action.effective_date.as_ref().or(action.date.as_ref())
}

fn dated(date: &v1::InferableDate) -> Option<(&v1::EdtfDate, bool)> {
    date.date.as_ref().map(|d| (d, date.basis() == Basis::Inferred))
}

const DENUNCIATIONS: [ActionType; 2] = [ActionType::Denounced, ActionType::Withdrawn];
/// Acts by which some of many parties may end or stop it among themselves (Vienna Convention, art. 58).
const ENDINGS: [ActionType; 2] = [ActionType::Terminated, ActionType::Suspended];
const CONSENTS: [ActionType; 4] =
    [ActionType::Ratified, ActionType::Accepted, ActionType::Approved, ActionType::Acceded];

/// An agreement as it is seen on a day.
struct Seen<'a> {
    agreement: &'a v1::Agreement,
    view: View<'a>,
    known_by: Option<Day>,
}

/// The term that runs, or ran last.
struct Term {
    /// `None`: it has no end that is known.
    expiry: Option<Expiry>,
    /// How it came to be longer than stated, in words.
    renewed: Option<String>,
    /// Whether it was renewed for a time that is not stated.
    open: bool,
}

impl<'a> Seen<'a> {
    fn of(agreement: &'a v1::Agreement, view: View<'a>) -> Self {
        Self { agreement, view, known_by: known_by(agreement.info.as_ref()) }
    }

    fn acts(&self, types: &'a [ActionType]) -> impl Iterator<Item = &'a v1::AgreementAction> {
        self.agreement.actions.iter().filter(|a| types.contains(&a.r#type()))
    }

    /// Whether a date has come; what has none had happened when the registry learnt of the record.
    fn has_come(&self, date: Option<&v1::EdtfDate>) -> Answer {
        let undated = Span { earliest: None, latest: self.known_by };
        reached(date.map_or(undated, date::span_of), self.view.day)
    }

    /// Whether an act of these types has effect.
    fn act(&self, types: &'a [ActionType], words: &str) -> Holds {
        let of_all = || self.acts(types).filter(|a| !ENDINGS.contains(&a.r#type()) || self.is_of_the_whole(a));
        let found = |wanted: Answer| of_all().find(|a| self.has_come(effect(a)) == wanted);
        let act =
            found(Answer::Yes).map(|a| (a, Answer::Yes)).or_else(|| found(Answer::Maybe).map(|a| (a, Answer::Maybe)));
        act.map_or(Holds::No, |(a, answer)| Holds::by(answer, format!("{words} {}", shown(effect(a))), false))
    }

    /// Denunciations that end the whole: by one of two parties, or by all; one of many only leaves.
    fn denunciations(&self) -> impl Iterator<Item = &'a v1::AgreementAction> {
        self.acts(&DENUNCIATIONS).filter(|a| self.is_of_the_whole(a))
    }

    /// Whether an act counts for all parties, not for some of many among themselves.
    fn is_of_the_whole(&self, act: &v1::AgreementAction) -> bool {
        let parties = self.agreement.parties.len();
        act.parties.is_empty() || parties <= 2 || act.parties.len() + 1 >= parties
    }

    /// The latest day on which it was denounced, if it was by the day asked about.
    fn denounced_on(&self) -> Option<Day> {
        let declared = self.denunciations().filter(|a| self.has_come(a.date.as_ref()) == Answer::Yes);
        declared
            .filter_map(|a| a.date.as_ref().map_or(self.known_by.or(Some(self.view.day)), |d| date::span_of(d).latest))
            .min()
    }

    fn terminated(&self) -> Holds {
        let act = self.act(&[ActionType::Terminated], "terminated");
        if matches!(act, Holds::Yes { .. }) {
            return act;
        }
        let effective = self.denunciations().filter_map(|a| a.effective_date.as_ref());
        let answers: Vec<_> = effective.map(|d| (d, self.has_come(Some(d)))).collect();
        let answered = |wanted: Answer| answers.iter().find(|(_, answer)| *answer == wanted);
        let found = answered(Answer::Yes).or_else(|| answered(Answer::Maybe));
        let by_denunciation = found.map_or(Holds::No, |(d, answer)| {
            Holds::by(*answer, format!("denounced with effect from {}", d.edtf), false)
        });
        if by_denunciation == Holds::No { act } else { by_denunciation }
    }

    fn superseded(&self) -> Holds {
        let mut doubt = Holds::No;
        for successor in successors_of(self.agreement, RelationType::Supersedes, self.view.successors) {
            let Some((start, inferred)) = began(successor) else { continue };
            let why = format!("superseded by {}, which began {}", successor.name, start.edtf);
            match Holds::by(reached(date::span_of(start), self.view.day), why, inferred) {
                Holds::No => {}
                yes @ Holds::Yes { .. } => return yes,
                maybe @ Holds::Maybe(_) => doubt = maybe,
            }
        }
        doubt
    }

    fn expired(&self) -> Holds {
        let Term { expiry, renewed, open } = self.term();
        let Some(expiry) = expiry else { return Holds::No };
        let answer = over(date::span_of(&expiry.last), self.view.day);
        if open && answer != Answer::No {
            return Holds::Maybe(format!("expired: renewed after {}, for how long is not stated", expiry.last.edtf));
        }
        let inferred = if expiry.inferred { " (inferred)" } else { "" };
        let renewed = renewed.map(|how| format!(", {how}")).unwrap_or_default();
        let verb = if answer == Answer::Maybe { "expired: validity ended" } else { "validity ended" };
        Holds::by(answer, format!("{verb} {}{inferred}{renewed}", expiry.last.edtf), expiry.inferred)
    }

    fn suspended(&self) -> Holds {
        let last = |types: &'a [ActionType]| {
            let whole = self.acts(types).filter(|a| self.is_of_the_whole(a));
            let effective = whole.filter(|a| self.has_come(effect(a)) == Answer::Yes);
            effective.map(|a| effect(a).and_then(|d| date::span_of(d).latest)).max()
        };
        let perhaps_resumed = self.acts(&[ActionType::Resumed]).any(|a| self.has_come(effect(a)) == Answer::Maybe);
        match (last(&[ActionType::Suspended]), last(&[ActionType::Resumed])) {
            (Some(suspended), Some(resumed)) if resumed >= suspended => Holds::No,
            _ => match self.act(&[ActionType::Suspended], "suspended") {
                Holds::Yes { why, .. } if perhaps_resumed => Holds::possible(format!("{why}; perhaps resumed since")),
                suspended => suspended,
            },
        }
    }

    fn denounced(&self) -> Holds {
        let declared: Vec<_> = self.denunciations().map(|a| (a, self.has_come(a.date.as_ref()))).collect();
        let answered = |wanted: Answer| declared.iter().find(|(_, answer)| *answer == wanted);
        let Some((act, answer)) = answered(Answer::Yes).or_else(|| answered(Answer::Maybe)) else { return Holds::No };
        let effect = act.effective_date.as_ref().map_or_else(
            || "; from when it has effect is not stated".to_owned(),
            |d| format!(", with effect from {}", d.edtf),
        );
        Holds::by(*answer, format!("denounced {}{effect}", shown(act.date.as_ref())), false)
    }

    /// Entered into force, or concluded and its validity has begun.
    fn in_force(&self) -> Holds {
        let runs = match self.act(&[ActionType::EnteredIntoForce], "entered into force") {
            entered @ Holds::Yes { .. } => entered,
            entered => match self.validity_began() {
                Holds::No => entered,
                by_validity => by_validity,
            },
        };
        let Holds::Yes { why, inferred, possible } = runs else { return runs };
        let Term { expiry, renewed, open } = self.term();
        let until = expiry.filter(|_| !open).map(|e| format!(" until {}", e.last.edtf)).unwrap_or_default();
        let tacit = renewed.is_some() && self.is_tacit();
        let why = renewed.map_or_else(|| why.clone(), |how| format!("{why}; {how}{until}"));
        Holds::Yes { why, inferred: inferred || tacit, possible }
    }

    fn validity_began(&self) -> Holds {
        let start = self.agreement.validity.as_ref().and_then(|v| v.start.as_ref()).and_then(dated);
        let Some((start, inferred)) = start else { return Holds::No };
        let concluding = || self.agreement.actions.iter().filter(|a| record::is_concluding(a.r#type()));
        let concluded = |wanted: Answer| concluding().any(|a| self.has_come(a.date.as_ref()) == wanted);
        let done = concluded(Answer::Yes);
        // One without a date is taken to lie before the validity that it brought about.
        let presumed = concluding().any(|a| a.date.is_none());
        let answer = match reached(date::span_of(start), self.view.day) {
            Answer::No => Answer::No,
            answer if done || presumed => answer,
            _ if concluded(Answer::Maybe) => Answer::Maybe,
            _ => Answer::No,
        };
        let words = if inferred { " (inferred)" } else { "" };
        Holds::by(answer, format!("concluded, and its validity began {}{words}", start.edtf), inferred || !done)
    }

    fn signed(&self) -> Holds {
        let concluding = || self.agreement.actions.iter().filter(|a| record::is_concluding(a.r#type()));
        if let Some(act) = concluding().find(|a| self.has_come(a.date.as_ref()) == Answer::Yes) {
            return Holds::yes(format!("concluded {}", shown(act.date.as_ref())));
        }
        if concluding().any(|a| a.date.is_none()) {
            return Holds::possible("concluded on a day that is not stated");
        }
        match self.act(&CONSENTS, "consent to be bound was given") {
            Holds::Yes { why, .. } => Holds::inferred(why),
            other => concluding()
                .find(|a| self.has_come(a.date.as_ref()) == Answer::Maybe)
                .map_or(other, |a| Holds::Maybe(format!("concluded {}", shown(a.date.as_ref())))),
        }
    }

    fn proposed(&self) -> Holds {
        match self.act(&[ActionType::Initialled], "initialled") {
            Holds::No => self.act(&[ActionType::Negotiated], "negotiated"),
            initialled => initialled,
        }
    }

    fn is_tacit(&self) -> bool {
        self.agreement.renewal.as_ref().is_some_and(|r| r.kind() == RenewalKind::Tacit)
    }

    fn period(&self) -> Option<i32> {
        self.agreement.renewal.as_ref().and_then(|r| r.period_months).filter(|months| *months > 0)
    }

    /// The stated term, made longer by what renewed it up to the day asked about.
    fn term(&self) -> Term {
        let stated = self.agreement.validity.as_ref().and_then(|v| v.end.as_ref()).and_then(dated);
        let stated = stated.map(|(last, inferred)| Expiry { last: last.clone(), inferred });
        let mut term = Term { expiry: stated, renewed: None, open: false };
        self.renewed_by_another(&mut term);
        self.renewed_by_act(&mut term);
        self.renewed_tacitly(&mut term);
        term
    }

    /// Renewed by an agreement of its own, that is concluded.
    fn renewed_by_another(&self, term: &mut Term) {
        for other in successors_of(self.agreement, RelationType::Renews, self.view.successors) {
            let concluded = |a: &v1::AgreementAction| {
                let known = Seen::of(other, self.view);
                record::is_concluding(a.r#type()) && known.has_come(a.date.as_ref()) == Answer::Yes
            };
            if !other.actions.iter().any(concluded) {
                continue;
            }
            term.renewed = Some(format!("renewed by {}", other.name));
            match other.validity.as_ref().and_then(|v| v.end.as_ref()).and_then(dated) {
                None => term.open = true,
                Some((last, inferred)) => {
                    let later = |e: &Expiry| e.latest() >= date::span_of(last).latest;
                    if !term.expiry.as_ref().is_some_and(later) {
                        term.expiry = Some(Expiry { last: last.clone(), inferred });
                    }
                }
            }
        }
    }

    /// Renewed by acts. One that lies a whole period before the stated end is part of it already.
    fn renewed_by_act(&self, term: &mut Term) {
        let mut renewals: Vec<_> =
            self.acts(&[ActionType::Renewed]).filter(|a| self.has_come(a.date.as_ref()) == Answer::Yes).collect();
        renewals.sort_by_key(|a| effect(a).and_then(|d| date::span_of(d).latest));
        for act in renewals {
            let Some(latest) = term.expiry.as_ref().and_then(Expiry::latest) else { continue };
            let Some(from) = effect(act).and_then(|d| date::span_of(d).latest) else {
                // Nobody says when: it may have been for any time.
                term.renewed = Some("renewed on a day that is not stated".to_owned());
                term.open = true;
                continue;
            };
            match self.period() {
                Some(months) if latest < later(from, months) => {
                    term.renewed = Some(format!("renewed {}", shown(effect(act))));
                    // After a lapse the new term runs from the renewal.
                    term.lengthen(latest.max(from), months);
                }
                None if latest <= later(from, 12) => {
                    term.renewed = Some(format!("renewed {}", shown(effect(act))));
                    term.open = true;
                }
                _ => {}
            }
        }
    }

    /// Renewed of itself, term by term, until somebody denounces it.
    fn renewed_tacitly(&self, term: &mut Term) {
        let Some(mut latest) = term.expiry.as_ref().and_then(Expiry::latest).filter(|_| self.is_tacit()) else {
            return;
        };
        let until = self.denounced_on().unwrap_or(self.view.day).min(self.view.day);
        if latest >= until {
            return;
        }
        term.renewed = Some(format!("renewed tacitly after {}", date::show(latest)));
        let Some(months) = self.period() else {
            term.expiry = None;
            return;
        };
        // Counted from the stated end, whose day of the month every term keeps. A term is no longer than so many times
        // 31 days, so those before are over; the few that are left are walked.
        let first = latest;
        let mut terms = (until.saturating_sub(first) / 31 / months).max(0);
        while latest < until {
            terms += 1;
            let next = later(first, terms.saturating_mul(months));
            if next <= latest {
                break;
            }
            latest = next;
        }
        term.ends(latest, true);
    }
}

impl Term {
    fn lengthen(&mut self, latest: Day, months: i32) {
        self.ends(later(latest, months), false);
    }

    fn ends(&mut self, latest: Day, inferred: bool) {
        let before = self.expiry.as_ref().is_some_and(|e| e.inferred);
        let day = Span { earliest: Some(latest), latest: Some(latest) };
        self.expiry = Some(Expiry { last: date::to_pb(&date::show(latest), day), inferred: inferred || before });
    }
}

/// So many months later; the end of a month stays the end of a month.
fn later(day: Day, months: i32) -> Day {
    let added = |from: civil::Date, span: Result<Months, jiff::Error>| span.and_then(|span| from.checked_add(span));
    let Ok(from) = added(civil::date(1970, 1, 1), Months::new().try_days(day)) else { return day };
    let Ok(to) = added(from, Months::new().try_months(months)) else { return day };
    let to = if from == from.last_of_month() { to.last_of_month() } else { to };
    date::to_day(to)
}
