//! Sets of versions by term, in memory.
//!
//! Versions are numbered as they are written, and never lose a term: a set that was read up to one version is brought up
//! to a later one by reading what came between. What ended since is in it too, and is sorted out when it is read.

use std::{cell::OnceCell, sync::Arc};

use quick_cache::{Weighter, sync::Cache};
use roaring::RoaringTreemap;
use rusqlite::Connection;

use crate::{
    domain::{
        error::Result,
        facets::{Tag, Term},
        filter::{Clause, Filter, Filters, Mode},
    },
    limits::TERM_SETS_BYTES,
    store::{
        from_sqlite,
        postings::Unposted,
        read::{row, rows},
    },
};

/// Versions of a sample.
const SAMPLE: i64 = 2048;
/// A term is common if one in so many versions has it: to pass over the others is cheaper than to read a long set.
const COMMON_IN: i64 = 8;
/// A store of so few versions has no long sets.
const MIN_SAMPLED: i64 = 50_000;
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
    /// What the sets take, about.
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.0.weight()
    }

    /// The versions up to `newest` among which everything is that the filters select; `None` if no term narrows it.
    pub(in crate::store) fn narrow(
        &self,
        connection: &Connection,
        asked: &Asked<'_>,
        newest: i64,
    ) -> Result<Option<RoaringTreemap>> {
        let reader = Reader { sets: self, connection, newest, unposted: OnceCell::new() };
        let mut all = RoaringTreemap::new();
        for filter in &asked.filters.0 {
            match reader.of_filter(filter, asked)? {
                Some(set) => all |= set,
                None => return Ok(None),
            }
        }
        Ok((!asked.filters.0.is_empty()).then_some(all))
    }
}

/// What is asked of an index that is walked.
pub(in crate::store) struct Asked<'a> {
    pub filters: &'a Filters,
    /// Whether the index has one kind of record alone, all that the filters select being of it.
    pub kind_is_walked: bool,
    /// Whether the status of another day is asked for than the one that is indexed.
    pub another_day: bool,
}

struct Reader<'a> {
    sets: &'a TermSets,
    connection: &'a Connection,
    newest: i64,
    /// What is in no list yet; read once.
    unposted: OnceCell<Unposted>,
}

impl Reader<'_> {
    fn of_filter(&self, filter: &Filter, asked: &Asked<'_>) -> Result<Option<RoaringTreemap>> {
        let narrows = |clause: &&Clause| match clause.tag {
            Tag::Kind => !asked.kind_is_walked,
            // Next to nothing is disputed.
            Tag::Disputed => clause.values == ["true"],
            Tag::Status | Tag::AgreementStatus => !asked.another_day,
            _ => true,
        };
        let mut found: Option<RoaringTreemap> = None;
        for clause in filter.clauses.iter().filter(narrows) {
            let Some(set) = self.of_clause(clause)? else { continue };
            found = Some(match found {
                Some(found) => found & set,
                None => set,
            });
        }
        Ok(found)
    }

    /// The versions that may pass a clause; `None` if so many do that it is not worth a set.
    fn of_clause(&self, clause: &Clause) -> Result<Option<RoaringTreemap>> {
        let mut found: Option<RoaringTreemap> = None;
        for value in &clause.values {
            let Some(set) = self.of_term(&(clause.tag, value.clone()))? else {
                match clause.mode {
                    Mode::All => continue,
                    Mode::Any | Mode::Only => return Ok(None),
                }
            };
            found = Some(match (found, clause.mode) {
                (None, _) => set,
                (Some(found), Mode::All) => found & set,
                (Some(found), Mode::Any | Mode::Only) => found | set,
            });
        }
        Ok(found)
    }

    /// The versions that have a term; `None` if so many do that it is not worth a set.
    fn of_term(&self, term: &Term) -> Result<Option<RoaringTreemap>> {
        let find = "SELECT id FROM terms WHERE tag = ?1 AND value = ?2";
        let id = || row(self.connection, find, (term.0 as u8, &term.1), |r| r.get::<_, i64>(0));
        if term.0 == Tag::Name {
            // By its own name a version has no term.
            let sql = "SELECT id FROM versions WHERE record = (SELECT id FROM records WHERE name = ?1)";
            let own = rows(self.connection, sql, [&term.1], |r| r.get::<_, u64>(0))?;
            let merged = self.extended(&Set::default(), id()?)?;
            return Ok(Some(merged.versions | own.into_iter().collect::<RoaringTreemap>()));
        }
        let known = self.sets.0.get(term);
        if let Some(known) = known.as_ref().filter(|known| known.through >= self.newest) {
            return Ok(Some(known.versions.clone()));
        }
        let id = id()?;
        if known.is_none() && self.is_common(id)? {
            return Ok(None);
        }
        let set = Arc::new(self.extended(&known.unwrap_or_default(), id)?);
        self.sets.0.insert(term.clone(), Arc::clone(&set));
        Ok(Some(set.versions.clone()))
    }

    /// Whether so many versions have a term, where two samples are taken, that a walk meets them all the time.
    fn is_common(&self, term: Option<i64>) -> Result<bool> {
        let Some(term) = term else { return Ok(false) };
        let many = |end: i64| -> Result<bool> {
            let mut found = 0;
            self.each(term, (end - SAMPLE, end), |_| found += 1)?;
            Ok(found * COMMON_IN > SAMPLE)
        };
        Ok(self.newest > MIN_SAMPLED && many(self.newest)? && many(self.newest / 2)?)
    }

    /// A set with what came to it since; `term` is its row, if any version ever had it.
    fn extended(&self, known: &Set, term: Option<i64>) -> Result<Set> {
        let mut set = Set { through: self.newest, versions: known.versions.clone() };
        if let Some(term) = term {
            self.each(term, (known.through, self.newest), |version| {
                set.versions.insert(version.cast_unsigned());
            })?;
        }
        Ok(set)
    }

    /// Calls back with each version after one, up to another, that has a term.
    fn each(&self, term: i64, between: (i64, i64), told: impl FnMut(i64)) -> Result<()> {
        let unposted = match self.unposted.get() {
            Some(read) => read,
            None => {
                let read = Unposted::read(self.connection, self.newest).map_err(|e| from_sqlite(&e))?;
                self.unposted.get_or_init(|| read)
            }
        };
        unposted.each(self.connection, term, between, told).map_err(|e| from_sqlite(&e))
    }
}
