//! Sets of versions by term, in memory.
//!
//! Versions are numbered as they are written, and never lose a term: a set that was read up to one version is brought up
//! to a later one by reading what came between. What ended since is in it too, and is sorted out when it is read.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};
use roaring::RoaringTreemap;
use rusqlite::Connection;

use super::Query;
use crate::{
    domain::{
        error::Result,
        facets::{Tag, Term},
        filter::{Clause, Filter, Mode},
    },
    limits::TERM_SETS_BYTES,
    store::read::{row, rows},
};

/// What a set takes of memory beside its versions, about.
const SET_BYTES: usize = 256;
/// The size of a set that the cache expects, for the first size of its tables.
const EXPECTED_BYTES: usize = 16 * 1024;

/// The sets that were asked for last, as many as there is room for.
pub struct TermSets(Cache<Term, Arc<Set>, Weight>);

/// The versions up to one that have a term.
#[derive(Debug, Default)]
struct Set {
    through: i64,
    versions: RoaringTreemap,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Term, Arc<Set>> for Weight {
    fn weight(&self, term: &Term, set: &Arc<Set>) -> u64 {
        (SET_BYTES + term.1.len() + set.versions.serialized_size()) as u64
    }
}

impl Default for TermSets {
    fn default() -> Self {
        Self(Cache::with_weighter(TERM_SETS_BYTES / EXPECTED_BYTES, TERM_SETS_BYTES as u64, Weight))
    }
}

impl TermSets {
    /// The versions up to `newest` among which everything is that the query selects; `None` if no term narrows it.
    pub(super) fn narrow(
        &self,
        connection: &Connection,
        query: &Query<'_>,
        newest: i64,
    ) -> Result<Option<RoaringTreemap>> {
        let reader = Reader { sets: self, connection, newest };
        let mut all = RoaringTreemap::new();
        for filter in &query.filters.0 {
            // On another day another status holds than the one that is indexed.
            match reader.of_filter(filter, query.valid_at.is_some())? {
                Some(set) => all |= set,
                None => return Ok(None),
            }
        }
        Ok((!query.filters.0.is_empty()).then_some(all))
    }
}

struct Reader<'a> {
    sets: &'a TermSets,
    connection: &'a Connection,
    newest: i64,
}

impl Reader<'_> {
    fn of_filter(&self, filter: &Filter, another_day: bool) -> Result<Option<RoaringTreemap>> {
        let narrows = |clause: &&Clause| match clause.tag {
            // The index that is walked has the kind, and next to nothing is disputed.
            Tag::Kind => false,
            Tag::Disputed => clause.values == ["true"],
            Tag::Status | Tag::AgreementStatus => !another_day,
            _ => true,
        };
        let mut found: Option<RoaringTreemap> = None;
        for clause in filter.clauses.iter().filter(narrows) {
            let set = self.of_clause(clause)?;
            found = Some(match found {
                Some(found) => found & set,
                None => set,
            });
        }
        Ok(found)
    }

    /// The versions that may pass a clause.
    fn of_clause(&self, clause: &Clause) -> Result<RoaringTreemap> {
        let mut found: Option<RoaringTreemap> = None;
        for value in &clause.values {
            let set = self.of_term(&(clause.tag, value.clone()))?;
            found = Some(match (found, clause.mode) {
                (None, _) => set,
                (Some(found), Mode::All) => found & set,
                (Some(found), Mode::Any | Mode::Only) => found | set,
            });
        }
        Ok(found.unwrap_or_default())
    }

    fn of_term(&self, term: &Term) -> Result<RoaringTreemap> {
        if term.0 == Tag::Name {
            // By its own name a version has no term.
            let sql = "SELECT id FROM versions WHERE record = (SELECT id FROM records WHERE name = ?1)";
            let own = rows(self.connection, sql, [&term.1], |r| r.get::<_, u64>(0))?;
            return Ok(self.read(term, Set::default())?.versions | own.into_iter().collect::<RoaringTreemap>());
        }
        let known = self.sets.0.get(term).unwrap_or_default();
        if known.through >= self.newest {
            return Ok(known.versions.clone());
        }
        let set = Arc::new(self.read(term, Set { through: known.through, versions: known.versions.clone() })?);
        self.sets.0.insert(term.clone(), Arc::clone(&set));
        Ok(set.versions.clone())
    }

    /// Adds what came to a set since.
    fn read(&self, (tag, value): &Term, mut set: Set) -> Result<Set> {
        let find = "SELECT id FROM terms WHERE tag = ?1 AND value = ?2";
        let term: Option<i64> = row(self.connection, find, (*tag as u8, value), |r| r.get(0))?;
        if let Some(term) = term {
            let sql = "SELECT version FROM version_terms WHERE term = ?1 AND version > ?2 AND version <= ?3";
            let since = (term, set.through, self.newest);
            set.versions.extend(rows(self.connection, sql, since, |r| r.get::<_, u64>(0))?);
        }
        set.through = self.newest;
        Ok(set)
    }
}
