//! The two folds of a singular field (rule 3): within each account, then across accounts.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    Claim,
    compare::{Relation, Stated},
};
use crate::{domain::report::Report, pb::v1::Verdict};

/// What one report states of a field.
pub struct Candidate {
    pub report: usize,
    pub stated: Stated,
}

/// A field after both folds.
pub struct Folded {
    /// The resolved value first, then the other accounts by rank.
    pub claims: Vec<Claim>,
    pub disputed: bool,
}

impl Folded {
    pub fn resolved(&self) -> &Stated {
        &self.claims[0].stated
    }
}

/// An account's word on the field.
struct Word {
    report: usize,
    /// The account's best report that states the field.
    best: usize,
    stated: Stated,
}

/// Folds what the reports, which are in rank order, state; `None` if nobody states anything.
pub fn across(
    reports: &[&Report],
    candidates: Vec<Candidate>,
    compare: impl Fn(&Stated, &Stated) -> Relation,
) -> Option<Folded> {
    if let [_] = candidates.as_slice() {
        return candidates.into_iter().next().map(|only| alone(reports, only));
    }
    let rulings: Vec<usize> = candidates.iter().map(|c| c.report).filter(|r| reports[*r].is_ruling()).collect();
    let mut accounts: BTreeMap<&str, Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates {
        accounts.entry(&reports[candidate.report].account).or_default().push(candidate);
    }
    let mut words: Vec<Word> = accounts.into_values().map(|own| within(reports, own, &compare)).collect();
    words.sort_by_key(|w| (w.stated.is_inferred(), w.best));

    let considered = |ruling: usize, word: &Word| {
        reports[ruling].considered.iter().any(|account| **account == *reports[word.report].account)
    };
    let mut winner = 0;
    // A ruling that was held is not refined by an account it considered, not even by way of another account.
    let mut held_rulings: Vec<usize> = Vec::new();
    for next in 1..words.len() {
        let held = &words[winner];
        if reports[held.report].is_ruling() {
            held_rulings.push(held.report);
        }
        let closed = held_rulings.iter().any(|ruling| considered(*ruling, &words[next]));
        if !closed && compare(&held.stated, &words[next].stated) == Relation::Refines {
            winner = next;
        }
    }
    if words.is_empty() {
        return None;
    }
    let resolved = words.remove(winner);
    let mut claims = Vec::with_capacity(words.len() + 1);
    for word in words {
        let verdict = match compare(&resolved.stated, &word.stated) {
            Relation::Conflicts => Verdict::Conflicts,
            Relation::Agrees if compare(&word.stated, &resolved.stated) == Relation::Refines => Verdict::Refines,
            Relation::Agrees | Relation::Refines => Verdict::Agrees,
        };
        let considered = rulings.iter().any(|r| considered(*r, &word));
        claims.push(claim(reports, word, verdict, considered));
    }
    let disputed = claims.iter().any(|c| c.verdict == Verdict::Conflicts && !c.considered);
    claims.insert(0, claim(reports, resolved, Verdict::Resolved, false));
    Some(Folded { claims, disputed })
}

/// What most fields are: stated by one report, so that there is nothing to compare.
fn alone(reports: &[&Report], Candidate { report, stated }: Candidate) -> Folded {
    let word = Word { report, best: report, stated };
    Folded { claims: vec![claim(reports, word, Verdict::Resolved, false)], disputed: false }
}

fn claim(reports: &[&Report], word: Word, verdict: Verdict, considered: bool) -> Claim {
    let account = reports[word.report].account.clone();
    Claim { account, report: word.report, stated: word.stated, verdict, considered }
}

/// An account's later word wins over its earlier one, unless the earlier is more exact.
fn within(reports: &[&Report], mut own: Vec<Candidate>, compare: impl Fn(&Stated, &Stated) -> Relation) -> Word {
    let best = own.iter().map(|c| c.report).min().unwrap_or_default();
    own.sort_by_key(|c| {
        let report = reports[c.report];
        (c.stated.is_inferred(), report.is_copy(), Reverse(report.published), c.report)
    });
    let mut own = own.into_iter();
    let mut held = own.next().expect("an account in the map has a candidate");
    for next in own {
        if compare(&held.stated, &next.stated) == Relation::Refines {
            held = next;
        }
    }
    Word { report: held.report, best, stated: held.stated }
}
