//! `GetRelationship` and `ListRelationships`: reads what two states have in common, and hands it to the domain.

use std::{sync::Arc, time::Duration};

use super::{
    App,
    page::{self, PageToken},
    registry::{Paged, Registry, day_asked, next_page},
};
use crate::{
    clock,
    domain::{
        date::{self, Day},
        error::{Error, Reason, Result},
        facets::Tag,
        filter::{Clause, Filter, Filters, Mode},
        relationship::{self, Claims, KINDS, Ranking, Relation, Seen, Window},
        status::{self, View},
    },
    limits::{MAX_COVERING_SOURCES, MAX_PAGE_SIZE, MAX_RELATIONSHIP_PAGES, MAX_RELATIONSHIP_RECORDS},
    pb::v1::{self, Basis, RecordKind, record::Kind},
    store::{
        coverage,
        list::{Order, Query},
        log, read,
    },
};

impl Registry {
    pub(super) async fn relationship(
        &self,
        r: v1::GetRelationshipRequest,
        wait: Option<Duration>,
    ) -> Result<v1::GetRelationshipResponse> {
        let v1::GetRelationshipRequest { states, from, until, valid_at, as_of, at_least } = r;
        relationship::check_states(&states)?;
        let valid_at = day_asked(valid_at.as_deref())?;
        let at = self.0.at(as_of.as_ref(), at_least.as_deref(), wait).await?;
        let today = self.0.registry_day(at.revision).await?;
        let day = valid_at.unwrap_or(today);
        let window = Window::parse(day, from.as_deref(), until.as_deref())?;
        let (app, revision) = (Arc::clone(&self.0), at.revision);
        let relationship = self
            .0
            .reading(at.revision, move || {
                let mut relation = Relation::new(&states, window);
                app.each(&between(&states), revision, day, |seen| relation.add(seen))?;
                Ok(relation.finish(&app.claims(revision, today)?))
            })
            .await?;
        Ok(v1::GetRelationshipResponse { relationship: Some(relationship), token: at.token.encode() })
    }

    pub(super) async fn relationships(
        &self,
        mut r: v1::ListRelationshipsRequest,
        wait: Option<Duration>,
    ) -> Result<v1::ListRelationshipsResponse> {
        let size = page::size(std::mem::take(&mut r.page_size))?;
        let text = std::mem::take(&mut r.page_token);
        let request = page::digest("ListRelationshipsRequest", &r);
        let paged = Paged { size, token: PageToken::decode(&text, request)?, request };
        relationship::check_state(&r.state, "state")?;
        let valid_at = day_asked(r.valid_at.as_deref())?;
        let at = self.page_at(&paged, r.as_of.as_ref(), r.at_least.as_deref(), wait).await?;
        let today = self.0.registry_day(at.revision).await?;
        let day = valid_at.unwrap_or(today);
        let window = Window::parse(day, r.from.as_deref(), r.until.as_deref())?;
        let (app, revision) = (Arc::clone(&self.0), at.revision);
        let skip = paged.token.as_ref().map_or(0, |t| usize::try_from(t.key).unwrap_or(0));
        let (relationships, more, watched) = self
            .0
            .reading(at.revision, move || {
                let mut ranking = Ranking::new(&r.state, window);
                app.each(&of(&r.state), revision, day, |seen| ranking.add(seen))?;
                let claims = app.claims(revision, today)?;
                let (relationships, more) = ranking.page(&claims, skip, size);
                Ok((relationships, more, relationship::watched(&r.state, &claims, &window)))
            })
            .await?;
        let end = i64::try_from(skip.saturating_add(relationships.len())).unwrap_or(i64::MAX);
        let next = more.then(|| next_page(&at.token, paged.request, end, ""));
        Ok(v1::ListRelationshipsResponse {
            relationships,
            watched,
            day: date::show(day),
            next_page_token: next.unwrap_or_default(),
            token: at.token.encode(),
        })
    }
}

/// What is derived of a record.
struct Derived {
    status: v1::DerivedStatus,
    /// Of an agreement the last day of its validity.
    end: Option<v1::InferableDate>,
}

impl App {
    async fn registry_day(self: &Arc<Self>, revision: u64) -> Result<Day> {
        let app = Arc::clone(self);
        self.reading(revision, move || app.day(revision)).await
    }

    /// The registry's day at a position; reads the store. While the log is empty it is the clock's.
    fn day(&self, revision: u64) -> Result<Day> {
        let day = self.store.read(|c| log::day_at(c, revision))?;
        Ok(day.unwrap_or_else(|| clock::day(self.clock.now_us())))
    }

    /// Hands on each record of the four kinds that matches, once; reads the store.
    fn each(&self, filters: &Filters, revision: u64, day: Day, mut take: impl FnMut(&Seen<'_>)) -> Result<()> {
        let (mut records, mut pages) = (0, 0);
        for kind in KINDS {
            let filters = filters.clone().of_kind(kind);
            let mut after = None;
            loop {
                let (order, limit) = (Order::Name, MAX_PAGE_SIZE);
                let query =
                    Query { kind: Some(kind), filters: &filters, revision, order, limit, after, valid_at: None };
                let page = self.store.list(&query)?;
                records += page.records.len();
                pages += 1;
                if records > MAX_RELATIONSHIP_RECORDS || pages > MAX_RELATIONSHIP_PAGES {
                    return Err(too_many(kind));
                }
                for record in &page.records {
                    let Derived { status, end } = self.derived(record, day, revision)?;
                    take(&Seen { record, status: &status, end: end.as_ref() });
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What is derived of a record at a day, as it was known at a revision; reads the store.
    fn derived(&self, record: &v1::Record, day: Day, revision: u64) -> Result<Derived> {
        let successors = self.store.read(|c| read::successors_at(c, record, revision))?;
        let view = View { day, successors: &successors };
        let end = match &record.kind {
            Some(Kind::Agreement(agreement)) => status::expiry(agreement, view).map(|expiry| {
                let basis = if expiry.inferred { Basis::Inferred } else { Basis::Stated };
                v1::InferableDate { date: Some(expiry.last), basis: basis.into() }
            }),
            _ => None,
        };
        Ok(Derived { status: status::derive(record, view).unwrap_or_default(), end })
    }

    /// What sources claim to have watched; reads the store.
    fn claims(&self, revision: u64, today: Day) -> Result<Claims> {
        let sources = self.store.read(|c| coverage::covering(c, revision, MAX_COVERING_SOURCES + 1))?;
        if sources.len() > MAX_COVERING_SOURCES {
            let why = format!("more than {MAX_COVERING_SOURCES} sources have a coverage");
            return Err(Error::new(Reason::TooLarge, why).with("limit", MAX_COVERING_SOURCES));
        }
        Ok(Claims::of(&sources, today))
    }
}

fn too_many(kind: RecordKind) -> Error {
    let why = format!(
        "there are more records than one answer is made of, {MAX_RELATIONSHIP_RECORDS}, found at {}: list them instead",
        kind.as_str_name()
    );
    Error::new(Reason::TooLarge, why).with("limit", MAX_RELATIONSHIP_RECORDS)
}

/// Records of at least two of these states, or that one of them took part in and another observed.
fn between(states: &[String]) -> Filters {
    let clause = |tag, mode, mut values: Vec<String>| {
        values.sort();
        Clause { tag, mode, values }
    };
    let mut filters = Vec::new();
    for (index, one) in states.iter().enumerate() {
        for other in states.iter().skip(index + 1) {
            let both = clause(Tag::State, Mode::All, vec![one.clone(), other.clone()]);
            filters.push(Filter { clauses: vec![both], occurred: None, include_probes: false });
        }
        let others = states.iter().filter(|other| *other != one).cloned().collect();
        let took_part = clause(Tag::State, Mode::Any, vec![one.clone()]);
        let observed = clause(Tag::ObserverState, Mode::Any, others);
        filters.push(Filter { clauses: vec![observed, took_part], occurred: None, include_probes: false });
    }
    Filters(filters)
}

/// Records of a state.
fn of(state: &str) -> Filters {
    let clause = Clause { tag: Tag::State, mode: Mode::Any, values: vec![state.to_owned()] };
    Filters(vec![Filter { clauses: vec![clause], occurred: None, include_probes: false }])
}
