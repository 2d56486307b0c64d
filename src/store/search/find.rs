//! Reading the index: candidates by sound, then ranked by their texts.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
};

use prost_reflect::{DynamicMessage, Value as Field};
use roaring::RoaringTreemap;
use rusqlite::{Connection, params, params_from_iter, types::Value};

use crate::{
    domain::{
        error::{Error, Reason, Result},
        filter::Filters,
        search::{
            rank::{self, Highlight, Query, Term},
            similar,
            texts::{Piece, pieces},
            words::errors_forgiven,
        },
    },
    limits::{ENOUGH_RANKED, MAX_PAGE_BYTES, MAX_PAGE_CANDIDATES, MAX_RANKED, MAX_SEARCH_READS, MAX_SIMILAR_WORDS},
    pb::{self, v1},
    store::{
        from_sqlite,
        list::{Asked, Place, TermSets},
        read::{decode, decode_facets, row, rows},
    },
};

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
    sets: &TermSets,
    search: &Search<'_>,
    limit: usize,
    after: Option<&Place>,
) -> Result<Page> {
    let mut search = search.clone();
    search.query.terms = with_similar(connection, &search.query.terms, search.revision)?;
    let among = Among::new(connection, sets, &search)?;
    let (mut ranked, incomplete) = ranked(connection, &search, &among)?;
    ranked.sort_by(|a, b| (Reverse(a.score), &a.name).cmp(&(Reverse(b.score), &b.name)));
    let is_next = |r: &Ranked| after.is_none_or(|a| (r.place().key, &r.name) > (a.key, &a.name));
    let mut page = Page { incomplete, ..Page::default() };
    let mut bytes = 0;
    let mut left = ranked.iter().filter(|r| is_next(r)).peekable();
    while let Some(next) = left.next() {
        let body = body(connection, next.version)?;
        bytes += body.len();
        let highlights = rank::highlights(&search.query, &texts(&body)?);
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
    sets: &TermSets,
    search: &Search<'_>,
    limit: usize,
) -> Result<Vec<v1::Record>> {
    let terms = with_similar(connection, &search.query.terms, search.revision)?;
    let mut records = Vec::new();
    let among = Among::new(connection, sets, search)?;
    let mut walk = Walk::new(connection, search, &among);
    walk.hits(&expression(&terms, Form::Similar, ALL), |hit| {
        records.push(decode(&hit.body)?);
        Ok(records.len() < limit)
    })?;
    Ok(records)
}

/// The terms, each with the sounds that are its own but for typing errors.
fn with_similar(connection: &Connection, terms: &[Term], revision: u64) -> Result<Vec<Term>> {
    let last_word = newest_word(connection, revision)?;
    let with = |term: &Term| Ok(Term { similar: similar_sounds(connection, term, last_word)?, ..term.clone() });
    terms.iter().map(with).collect()
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

/// The versions that match, in no order, and whether there are more.
fn ranked(connection: &Connection, search: &Search<'_>, among: &Among) -> Result<(Vec<Ranked>, bool)> {
    let mut ranked = Vec::new();
    let mut walk = Walk::new(connection, search, among);
    // The same sounds before similar ones, and names before the rest: when there are too many, the best are ranked.
    for form in [Form::Same, Form::Similar] {
        // Whoever finds so many of the very words does not look for others, which cost most.
        if form == Form::Similar && ranked.len() >= ENOUGH_RANKED {
            return Ok((ranked, true));
        }
        for columns in ["names", "names stated", ALL] {
            walk.hits(&expression(&search.query.terms, form, columns), |hit| {
                if let Some(score) = rank::score(&search.query, &texts(&hit.body)?) {
                    ranked.push(Ranked { score, name: hit.name, version: hit.version });
                }
                Ok(ranked.len() <= MAX_RANKED)
            })?;
            if ranked.len() > MAX_RANKED || walk.left.is_spent() {
                ranked.truncate(MAX_RANKED);
                return Ok((ranked, true));
            }
        }
    }
    Ok((ranked, false))
}

/// Which words stand for a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Those of its sound.
    Same,
    /// Also those that begin with its sound, and similar ones.
    Similar,
}

const ALL: &str = "names stated summaries";

/// The expression of FTS5. Sounds are letters and digits of ASCII, and quoted: nothing in them is syntax.
fn expression(terms: &[Term], form: Form, columns: &str) -> String {
    let one = |term: &Term| {
        let mut words = vec![format!("\"{}\"", term.sound)];
        if form == Form::Similar {
            words.extend(term.is_prefix().then(|| format!("\"{}\" *", term.sound)));
            words.extend(term.similar.iter().map(|s| format!("\"{s}\"")));
        }
        format!("({})", words.join(" OR "))
    };
    format!("{{{columns}}} : ({})", terms.iter().map(one).collect::<Vec<_>>().join(" AND "))
}

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
    left: Budget,
    /// What was read already.
    seen: HashSet<i64>,
}

impl<'a> Walk<'a> {
    fn new(connection: &'a Connection, search: &'a Search<'a>, among: &'a Among) -> Self {
        Self { connection, search, among, left: Budget::default(), seen: HashSet::new() }
    }

    /// Shows the versions that match an expression and were not shown before, newest first, until `take` says false.
    fn hits(&mut self, expression: &str, mut take: impl FnMut(Hit) -> Result<bool>) -> Result<()> {
        let sql = "SELECT rowid FROM search WHERE search MATCH ?1 AND rowid <= ?2 ORDER BY rowid DESC LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))?;
        let mut rows =
            statement.query(params![expression, self.among.newest, self.left.named]).map_err(|e| from_sqlite(&e))?;
        while !self.left.is_spent()
            && let Some(row) = rows.next().map_err(|e| from_sqlite(&e))?
        {
            self.left.named -= 1;
            let version = row.get(0).map_err(|e| from_sqlite(&e))?;
            if self.among.has(version)
                && self.seen.insert(version)
                && let Some(hit) = self.read(version)?
                && !take(hit)?
            {
                break;
            }
        }
        Ok(())
    }

    fn read(&mut self, version: i64) -> Result<Option<Hit>> {
        let sql = "SELECT name, facets, body FROM versions WHERE id = ?1 AND to_revision > ?2 AND body IS NOT NULL";
        let filters = self.search.filters;
        let passes =
            |facets: &[u8]| -> Result<bool> { Ok(filters.0.is_empty() || filters.matches(&decode_facets(facets)?)) };
        let found = row(self.connection, sql, params![version, self.search.revision], |r| {
            Ok(match passes(r.get_ref(1)?.as_blob()?) {
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
fn similar_sounds(connection: &Connection, term: &Term, last_word: i64) -> Result<BTreeSet<String>> {
    let forgiven = errors_forgiven(term.spelling.len());
    let trigrams = similar::trigrams(&term.sound);
    if forgiven == 0 || trigrams.is_empty() {
        return Ok(BTreeSet::new());
    }
    // An error touches four groups at most, if two letters are swapped.
    let shared = trigrams.len().saturating_sub(4 * forgiven).max(1);
    let places = vec!["?"; trigrams.len()].join(", ");
    let sql = format!(
        "SELECT sound FROM search_words WHERE id IN (
            SELECT word FROM search_trigrams WHERE trigram IN ({places}) AND length BETWEEN ? AND ? AND word <= ?
            GROUP BY word HAVING count(*) >= ?)"
    );
    let number = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    let length = term.sound.len();
    let bounds = [number(length.saturating_sub(forgiven)), number(length + forgiven), last_word.into(), number(shared)];
    let found: Vec<String> =
        rows(connection, &sql, params_from_iter(trigrams.into_iter().map(Value::from).chain(bounds)), |r| r.get(0))?;
    let near = found.into_iter().filter_map(|s| similar::distance(term, &s).map(|d| (d, s)));
    let mut near: Vec<(usize, Reverse<u32>, String)> =
        near.map(|(d, s)| (d, Reverse(similar::per_mille(strsim::jaro_winkler(&term.sound, &s))), s)).collect();
    near.sort();
    Ok(near.into_iter().take(MAX_SIMILAR_WORDS).map(|(.., sound)| sound).collect())
}

fn body(connection: &Connection, version: i64) -> Result<Vec<u8>> {
    let found = row(connection, "SELECT body FROM versions WHERE id = ?1", [version], |r| r.get(0))?;
    found.ok_or_else(|| Error::internal(format!("version {version} has no body")))
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
