//! Reading the index: candidates by sound, then ranked by their texts.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
};

use prost_reflect::{DynamicMessage, Value as Field};
use roaring::RoaringTreemap;
use rusqlite::{Connection, params};

use super::{
    expression::{COLUMNS, Expression, Form},
    vocabulary::Vocabulary,
    waiting::Waiting,
};
use crate::{
    domain::{
        error::{Error, Reason, Result},
        filter::Filters,
        name,
        said::{self, Said},
        search::{
            rank::{self, Highlight, Query, Score, Term},
            similar,
            texts::{Piece, pieces},
        },
    },
    limits::{
        COMMON_WORD, ENOUGH_RANKED, MAX_PAGE_BYTES, MAX_PAGE_CANDIDATES, MAX_RANKED, MAX_SEARCH_READS,
        MAX_SIMILAR_WORDS,
    },
    pb::{self, v1},
    store::{
        from_sqlite,
        list::{Asked, Place, TermSets},
        read::{decode, decode_facets, row, rows},
    },
};

/// What a store keeps in memory for searches.
#[derive(Default)]
pub struct Aids {
    /// Versions by what filters name.
    pub sets: TermSets,
    /// What words may be misspelt as.
    pub vocabulary: Vocabulary,
}

/// What is searched for.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// The words.
    pub query: Query,
    /// Which records.
    pub filters: &'a Filters,
    /// As of which revision.
    pub revision: u64,
}

/// A record that was found.
#[derive(Debug)]
pub struct Found {
    /// The record.
    pub record: v1::Record,
    /// How well it matches, from 1 to 1000.
    pub score: u32,
    /// Where.
    pub highlights: Vec<Highlight>,
}

/// A page of what was found.
#[derive(Debug, Default)]
pub struct Page {
    /// The records, best first, equal ones by name.
    pub found: Vec<Found>,
    /// Where the next page begins: the score negated, and the name; `None` at the end.
    pub next: Option<Place>,
    /// Whether more may match than were read and ranked.
    pub incomplete: bool,
}

/// A version that matches.
struct Ranked {
    score: u32,
    name: String,
    version: i64,
}

impl Ranked {
    fn place(&self) -> Place {
        Place { key: -i64::from(self.score), name: self.name.clone() }
    }
}

/// One page, after a place. Every page ranks anew, and comes to the same order, because nothing it reads changes.
///
/// # Errors
///
/// If the store cannot be read.
pub fn page(
    connection: &Connection,
    aids: &Aids,
    search: &Search<'_>,
    limit: usize,
    after: Option<&Place>,
) -> Result<Page> {
    let among = Among::new(connection, &aids.sets, search)?;
    let mut query = search.query.clone();
    let (mut ranked, incomplete) = ranked(connection, &aids.vocabulary, search, &mut query, &among)?;
    ranked.sort_by(|a, b| (Reverse(a.score), &a.name).cmp(&(Reverse(b.score), &b.name)));
    let is_next = |r: &Ranked| after.is_none_or(|a| (r.place().key, &r.name) > (a.key, &a.name));
    let mut page = Page { incomplete, ..Page::default() };
    let mut bytes = 0;
    let mut left = ranked.iter().filter(|r| is_next(r)).peekable();
    while let Some(next) = left.next() {
        let body = body(connection, next.version)?;
        bytes += body.len();
        let highlights = rank::highlights(&query, &texts(&body)?);
        page.found.push(Found { record: decode(&body)?, score: next.score, highlights });
        if page.found.len() >= limit || bytes >= MAX_PAGE_BYTES {
            page.next = left.peek().map(|_| next.place());
            break;
        }
    }
    Ok(page)
}

/// The records whose texts have these words, spelling errors forgiven, in no order: at most `limit`, the last recorded.
///
/// # Errors
///
/// If the store cannot be read.
pub(super) fn candidates(
    connection: &Connection,
    aids: &Aids,
    search: &Search<'_>,
    limit: usize,
) -> Result<Vec<v1::Record>> {
    let mut terms = search.query.terms.clone();
    find_similar(connection, &aids.vocabulary, terms.iter_mut(), search.revision)?;
    let mut records = Vec::new();
    let among = Among::new(connection, &aids.sets, search)?;
    let mut walk = Walk::new(connection, search, &among)?;
    let forms = vec![Form::Similar; terms.len()];
    walk.hits(&Expression::new(&terms, &forms, COLUMNS.len()), &mut |hit| {
        records.push(decode(&hit.body)?);
        Ok(records.len() < limit)
    })?;
    Ok(records)
}

/// Gives terms the sounds that are their own but for typing errors.
fn find_similar<'t>(
    connection: &Connection,
    vocabulary: &Vocabulary,
    terms: impl Iterator<Item = &'t mut Term>,
    revision: u64,
) -> Result<()> {
    let last_word = newest_word(connection, revision)?;
    for term in terms {
        term.similar = similar_sounds(connection, vocabulary, term, last_word)?;
    }
    Ok(())
}

/// The versions that may be found.
struct Among {
    /// The last that was there at the revision.
    newest: i64,
    /// Those that the filters leave; `None` is all.
    set: Option<RoaringTreemap>,
}

impl Among {
    fn new(connection: &Connection, sets: &TermSets, search: &Search<'_>) -> Result<Self> {
        let newest = newest_version(connection, search.revision)?;
        let asked = Asked { filters: search.filters, kind_is_walked: false, another_day: false };
        Ok(Self { newest, set: sets.narrow(connection, &asked, newest)? })
    }

    fn has(&self, version: i64) -> bool {
        self.set.as_ref().is_none_or(|set| u64::try_from(version).is_ok_and(|version| set.contains(version)))
    }
}

/// What a search may still do.
struct Budget {
    /// Versions that the index names.
    named: usize,
    /// Records that are read and pass the filters.
    read: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { named: MAX_PAGE_CANDIDATES, read: MAX_SEARCH_READS }
    }
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.named == 0 || self.read == 0
    }
}

/// The versions that match, in no order, and whether there are more. `query` is given the similar sounds that were looked
/// for, if any were.
fn ranked(
    connection: &Connection,
    vocabulary: &Vocabulary,
    search: &Search<'_>,
    query: &mut Query,
    among: &Among,
) -> Result<(Vec<Ranked>, bool)> {
    let mut ranked = Vec::new();
    let mut walk = Walk::new(connection, search, among)?;
    // The same sounds before similar ones, which cost most: whoever finds enough of the very words does not look for them.
    let very = vec![Form::Same; query.terms.len()];
    let more = rank_form(&mut walk, query, &very, &mut ranked)?;
    if more || ranked.len() >= ENOUGH_RANKED {
        return Ok((ranked, true));
    }
    let forms = walk.second_forms(&query.terms)?;
    let misspelt = query.terms.iter_mut().zip(&forms).filter(|(_, form)| **form == Form::Similar);
    find_similar(connection, vocabulary, misspelt.map(|(term, _)| term), search.revision)?;
    let more = rank_form(&mut walk, query, &forms, &mut ranked)?;
    Ok((ranked, more || forms.contains(&Form::Same)))
}

/// Ranks what matches and was not seen before; whether there is more than may be ranked.
fn rank_form(walk: &mut Walk<'_>, query: &Query, forms: &[Form], ranked: &mut Vec<Ranked>) -> Result<bool> {
    let few = walk.few(&Expression::new(&query.terms, forms, COLUMNS.len()))?;
    let mut take = |hit: Hit| {
        if let Some(score) = score(query, &hit.body)? {
            ranked.push(Ranked { score, name: hit.name, version: hit.version });
        }
        Ok(ranked.len() <= MAX_RANKED)
    };
    // Names before the rest: when there are too many, the best are ranked.
    let whole = match few {
        Some(versions) => walk.show(&versions, &mut take)?,
        None => (1..=COLUMNS.len()).try_fold(true, |go_on, columns| {
            Ok::<_, Error>(go_on && walk.hits(&Expression::new(&query.terms, forms, columns), &mut take)?)
        })?,
    };
    ranked.truncate(MAX_RANKED);
    Ok(!whole)
}

/// The versions that an expression matches, of those up to a number, newest first.
const MATCHING: &str = "SELECT rowid FROM search WHERE search MATCH ?1 AND rowid <= ?2 ORDER BY rowid DESC LIMIT ?3";

/// A version that the index names, and that stands and passes the filters.
struct Hit {
    version: i64,
    name: String,
    body: Vec<u8>,
}

/// Walks along the index of words, as far as the budget goes.
struct Walk<'a> {
    connection: &'a Connection,
    search: &'a Search<'a>,
    among: &'a Among,
    /// Of which the index does not know yet.
    waiting: Waiting,
    left: Budget,
    /// What was read already.
    seen: HashSet<i64>,
}

impl<'a> Walk<'a> {
    fn new(connection: &'a Connection, search: &'a Search<'a>, among: &'a Among) -> Result<Self> {
        let waiting = Waiting::read(connection, among.newest).map_err(|e| from_sqlite(&e))?;
        Ok(Self { connection, search, among, waiting, left: Budget::default(), seen: HashSet::new() })
    }

    /// What stands for each term once its very words were looked for: one that so many versions have is taken neither for
    /// the beginning of others nor for a misspelling.
    fn second_forms(&self, terms: &[Term]) -> Result<Vec<Form>> {
        let sql = "SELECT rowid FROM search WHERE search MATCH ?1 AND rowid <= ?2 LIMIT 1 OFFSET ?3";
        let form = |term: &Term| {
            let very = Expression::new(std::slice::from_ref(term), &[Form::Same], COLUMNS.len());
            // (Fewer wait than a common word has.)
            let offset = COMMON_WORD.saturating_sub(1 + self.waiting.matching(&very).count());
            let values = params![very.to_fts(), self.waiting.indexed, offset];
            let nth: Option<i64> = row(self.connection, sql, values, |r| r.get(0))?;
            Ok(if nth.is_none() { Form::Similar } else { Form::Same })
        };
        terms.iter().map(form).collect()
    }

    /// Shows the versions that match an expression and were not shown before, newest first, until `take` says false or the
    /// budget is spent; whether neither happened.
    fn hits(&mut self, expression: &Expression<'_>, take: &mut impl FnMut(Hit) -> Result<bool>) -> Result<bool> {
        let waiting: Vec<i64> = self.waiting.matching(expression).collect();
        if !self.show(&waiting, take)? {
            return Ok(false);
        }
        let mut statement = self.connection.prepare_cached(MATCHING).map_err(|e| from_sqlite(&e))?;
        let values = params![expression.to_fts(), self.waiting.indexed, self.left.named];
        let mut rows = statement.query(values).map_err(|e| from_sqlite(&e))?;
        while let Some(row) = rows.next().map_err(|e| from_sqlite(&e))? {
            if !self.step(row.get(0).map_err(|e| from_sqlite(&e))?, take)? {
                return Ok(false);
            }
        }
        Ok(!self.left.is_spent())
    }

    /// The versions that match an expression, newest first, if they are few: the index is walked along once for them, and
    /// which texts have the words need not be asked.
    fn few(&self, expression: &Expression<'_>) -> Result<Option<Vec<i64>>> {
        let mut versions: Vec<i64> = self.waiting.matching(expression).collect();
        let values = params![expression.to_fts(), self.waiting.indexed, MAX_RANKED + 1];
        versions.extend(rows(self.connection, MATCHING, values, |r| r.get::<_, i64>(0))?);
        Ok((versions.len() <= MAX_RANKED).then_some(versions))
    }

    /// As [`Walk::hits`], of these versions.
    fn show(&mut self, versions: &[i64], take: &mut impl FnMut(Hit) -> Result<bool>) -> Result<bool> {
        for version in versions {
            if !self.step(*version, take)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Shows one version, if it may be; whether to go on.
    fn step(&mut self, version: i64, take: &mut impl FnMut(Hit) -> Result<bool>) -> Result<bool> {
        if self.left.is_spent() {
            return Ok(false);
        }
        self.left.named -= 1;
        if self.among.has(version)
            && self.seen.insert(version)
            && let Some(hit) = self.read(version)?
        {
            return take(hit);
        }
        Ok(true)
    }

    fn read(&mut self, version: i64) -> Result<Option<Hit>> {
        let sql = "SELECT name, facets, body FROM versions WHERE id = ?1 AND to_revision > ?2 AND body IS NOT NULL";
        let filters = self.search.filters;
        // Without filters facets are not read for what the name says.
        let passes = |name: &str, facets: &[u8]| -> Result<bool> {
            if filters.0.is_empty() { Ok(!name::is_probe(name)) } else { Ok(filters.matches(&decode_facets(facets)?)) }
        };
        let found = row(self.connection, sql, params![version, self.search.revision], |r| {
            Ok(match passes(r.get_ref(0)?.as_str()?, r.get_ref(1)?.as_blob()?) {
                Ok(true) => Ok(Some(Hit { version, name: r.get(0)?, body: r.get(2)? })),
                Ok(false) => Ok(None),
                Err(error) => Err(error),
            })
        })?;
        let hit: Option<Hit> = found.transpose()?.flatten();
        self.left.read -= usize::from(hit.is_some());
        Ok(hit)
    }
}

/// The last version that was written at or before a revision; 0 if there is none. Versions are numbered as they are
/// written, so halving finds it.
fn newest_version(connection: &Connection, revision: u64) -> Result<i64> {
    let at_or_before = |id: i64| {
        let sql = "SELECT id, from_revision FROM versions WHERE id <= ?1 ORDER BY id DESC LIMIT 1";
        row(connection, sql, [id], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, u64>(1)?)))
    };
    let (mut low, mut high) = (0, at_or_before(i64::MAX)?.map_or(0, |(id, _)| id));
    while low < high {
        let middle = high - (high - low) / 2;
        match at_or_before(middle)? {
            Some((id, from)) if from > revision => high = id - 1,
            _ => low = middle,
        }
    }
    Ok(low)
}

/// The last word that came at or before a revision; 0 if there is none.
fn newest_word(connection: &Connection, revision: u64) -> Result<i64> {
    let sql = "SELECT id FROM search_words WHERE from_revision <= ?1 ORDER BY from_revision DESC, id DESC LIMIT 1";
    Ok(row(connection, sql, [revision], |r| r.get(0))?.unwrap_or(0))
}

/// The sounds that are those of a term but for typing errors, nearest first, at most [`MAX_SIMILAR_WORDS`].
fn similar_sounds(
    connection: &Connection,
    vocabulary: &Vocabulary,
    term: &Term,
    last_word: i64,
) -> Result<BTreeSet<String>> {
    let found = vocabulary.near(connection, term, last_word)?.into_iter();
    let near = found.filter_map(|s| similar::distance(term, &s).map(|d| (d, s)));
    let mut near: Vec<(usize, Reverse<u32>, String)> =
        near.map(|(d, s)| (d, Reverse(similar::per_mille(strsim::jaro_winkler(&term.sound, &s))), s)).collect();
    near.sort();
    Ok(near.into_iter().take(MAX_SIMILAR_WORDS).map(|(.., sound)| sound).collect())
}

fn body(connection: &Connection, version: i64) -> Result<Vec<u8>> {
    let found = row(connection, "SELECT body FROM versions WHERE id = ?1", [version], |r| r.get(0))?;
    found.ok_or_else(|| Error::internal(format!("version {version} has no body")))
}

/// How well a stored record matches; `None` if it lacks a word.
fn score(query: &Query, body: &[u8]) -> Result<Option<u32>> {
    let mut score = Score::new(query);
    let seen = said::each(body, &mut |said| {
        if let Said::Text(class, text) = said {
            score.see(class, text);
        }
    });
    seen.ok_or_else(|| Error::new(Reason::EntryCorrupt, "a stored record cannot be read"))?;
    Ok(score.total())
}

/// The texts of a stored record.
fn texts(body: &[u8]) -> Result<Vec<Piece>> {
    let corrupt = |why: String| Error::new(Reason::EntryCorrupt, format!("a stored record cannot be read: {why}"));
    let record = DynamicMessage::decode(pb::descriptor("Record"), body).map_err(|e| corrupt(e.to_string()))?;
    let content = record.fields().find_map(|(_, value)| match value {
        Field::Message(content) => Some(pieces(content)),
        _ => None,
    });
    content.ok_or_else(|| corrupt("it is empty".to_owned()))
}
