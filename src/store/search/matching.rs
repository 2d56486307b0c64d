//! Records that may be the same as a partial one: found by identifiers, names and titles through the index of words, and
//! by states and dates as a list is.

use std::{cmp::Reverse, collections::BTreeSet};

use rusqlite::Connection;

use super::find::{self, Aids, Search};
use crate::{
    domain::{
        date::{self, Span},
        error::Result,
        facets::{Facets, Tag},
        filter::{Clause, Filter, Filters, Mode, Range},
        record,
        search::{
            alike::{self, Likeness},
            rank::{Query, Term},
        },
    },
    limits::{MAX_COMPARED, MAX_COMPARED_TEXTS, MAX_QUERY_WORDS},
    pb::v1::{self, RecordKind},
    store::list::{self, Order},
};

/// How far apart two accounts of one thing may put it, in days.
const SLACK_DAYS: i32 = 31;

/// A record that may be the same.
#[derive(Debug)]
pub struct Candidate {
    /// The record.
    pub record: v1::Record,
    /// How likely, and why.
    pub likeness: Likeness,
}

/// The records that may be the same, the likeliest first, equal ones by name.
///
/// # Errors
///
/// If the store cannot be read.
pub fn matching(
    connection: &Connection,
    aids: &Aids,
    partial: &v1::Record,
    filters: &Filters,
    revision: u64,
    limit: usize,
) -> Result<Vec<Candidate>> {
    let kind = record::kind(partial);
    let mut finder = Finder { connection, aids, partial, revision, seen: BTreeSet::new(), candidates: Vec::new() };
    let of_kind = filters.clone().of_kind(kind);
    for query in queries(partial) {
        let search = Search { query, filters: &of_kind, revision };
        finder.compare(find::candidates(connection, aids, &search, MAX_COMPARED)?);
    }
    let around = finder.around(kind)?;
    finder.compare(around.into_iter().filter(|r| of_kind.matches(&Facets::of(r))).collect());
    let mut candidates = finder.candidates;
    candidates.sort_by(|a, b| {
        let key = |c: &Candidate| Reverse(c.likeness.score);
        (key(a), record::name_of(&a.record)).cmp(&(key(b), record::name_of(&b.record)))
    });
    candidates.truncate(limit);
    Ok(candidates)
}

struct Finder<'a> {
    connection: &'a Connection,
    aids: &'a Aids,
    partial: &'a v1::Record,
    revision: u64,
    seen: BTreeSet<String>,
    candidates: Vec<Candidate>,
}

impl Finder<'_> {
    fn compare(&mut self, records: Vec<v1::Record>) {
        for record in records {
            if !self.seen.insert(record::name_of(&record).to_owned()) {
                continue;
            }
            let likeness = alike::compare(self.partial, &record);
            if likeness.score >= alike::MIN_SCORE {
                self.candidates.push(Candidate { record, likeness });
            }
        }
    }

    /// Records of its states around its dates; without dates the newest of all its states.
    fn around(&self, kind: RecordKind) -> Result<Vec<v1::Record>> {
        let facets = Facets::of(self.partial);
        let states: Vec<String> = facets.values(Tag::State).map(str::to_owned).collect();
        let occurred = record::occurred(self.partial).map(|d| date::span_of(&d)).map(around);
        if states.is_empty() && occurred.is_none()
            || matches!(kind, RecordKind::Person | RecordKind::Organization | RecordKind::Place)
        {
            return Ok(Vec::new());
        }
        let mode = if occurred.is_some() { Mode::Any } else { Mode::All };
        let clauses =
            if states.is_empty() { Vec::new() } else { vec![Clause { tag: Tag::State, mode, values: states }] };
        let filters = Filters(vec![Filter { clauses, occurred, include_probes: false }]).of_kind(kind);
        let query = list::Query {
            kind: Some(kind),
            filters: &filters,
            revision: self.revision,
            order: Order::Newest,
            limit: MAX_COMPARED,
            after: None,
            valid_at: None,
        };
        Ok(list::page(self.connection, &self.aids.sets, &query)?.records)
    }
}

fn around(span: Span) -> Range {
    Range {
        from: span.earliest.map(|day| day.saturating_sub(SLACK_DAYS)),
        until: span.latest.map(|day| day.saturating_add(SLACK_DAYS)),
        definite_only: false,
    }
}

/// What to look for in the index: each identifier, name and title as a whole, its two longest words alone, and the
/// series.
fn queries(partial: &v1::Record) -> Vec<Query> {
    let ids = record::external_ids(partial).iter().map(|e| e.id.as_str());
    let titles = record::titles(partial).iter().map(|t| t.text.as_str());
    let names = record::names(partial).iter().map(|n| n.text.as_str());
    let mut queries: Vec<Query> = Vec::new();
    for text in ids.chain(names).chain(titles).take(MAX_COMPARED_TEXTS) {
        // An initial stands for any word that begins with it: it narrows nothing.
        let mut terms: Vec<Term> = Query::of(text).terms.into_iter().filter(|t| t.spelling.len() > 1).collect();
        terms.truncate(MAX_QUERY_WORDS);
        queries.push(Query { terms: terms.clone() });
        terms.sort_by_key(|t| Reverse(t.spelling.len()));
        queries.extend(terms.into_iter().take(2).map(|term| Query { terms: vec![term] }));
    }
    let series = match &partial.kind {
        Some(v1::record::Kind::Agreement(m)) => m.series.as_deref(),
        Some(v1::record::Kind::Exercise(m)) => m.series.as_deref(),
        _ => None,
    };
    queries.extend(series.map(Query::of));
    queries.retain(|q| !q.terms.is_empty());
    queries
}
