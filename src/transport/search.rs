//! `SearchRecords` and `MatchRecords`.

use std::time::Duration;

use super::{
    page::{self, PageToken},
    registry::{Paged, Registry, next_page, paged},
};
use crate::{
    domain::{
        error::{Error, Reason, Result},
        filter::Filters,
        mask::Mask,
        name::KINDS,
        record, report,
        search::rank::{Highlight, Query},
    },
    limits::{DEFAULT_MATCHES, MAX_MATCHES},
    pb::v1,
    store::{
        list::Place,
        search::{Found, Search},
    },
};

impl Registry {
    pub(super) async fn search(
        &self,
        mut r: v1::SearchRecordsRequest,
        wait: Option<Duration>,
    ) -> Result<v1::SearchRecordsResponse> {
        let paged = paged!("SearchRecordsRequest", r);
        let query = Query::parse(&r.query, "query")?;
        let filters = Filters::parse(&r.filters, "filters")?;
        let mask = Mask::parse(r.read_mask.as_ref(), &KINDS)?;
        let at = self.page_at(&paged, r.as_of.as_ref(), r.at_least.as_deref(), wait).await?;
        let after = paged.token.as_ref().map(|t| Place { key: t.key, name: t.name.clone() });
        let (store, revision, size) = (self.0.store.clone(), at.revision, paged.size);
        let page = self
            .0
            .reading(at.revision, move || {
                let search = Search { query, filters: &filters, revision };
                store.search(&search, size, after.as_ref())
            })
            .await?;
        let next = page.next.map(|p| next_page(&at.token, paged.request, p.key, &p.name));
        Ok(v1::SearchRecordsResponse {
            results: page.found.into_iter().map(|found| result(found, &mask)).collect(),
            next_page_token: next.unwrap_or_default(),
            token: at.token.encode(),
            incomplete: page.incomplete,
        })
    }

    pub(super) async fn matching(
        &self,
        r: v1::MatchRecordsRequest,
        wait: Option<Duration>,
    ) -> Result<v1::MatchRecordsResponse> {
        let report = r.report.ok_or_else(|| Error::field(Reason::FieldInvalid, "report", "is required"))?;
        let partial = report::parse_partial(&report, "report")?;
        let filters = Filters::parse(&r.filters, "filters")?;
        let mask = Mask::parse(r.read_mask.as_ref(), &[record::kind(&partial)])?;
        let limit = limit(r.limit)?;
        let at = self.0.at(r.as_of.as_ref(), r.at_least.as_deref(), wait).await?;
        let (store, revision) = (self.0.store.clone(), at.revision);
        let found = self.0.reading(at.revision, move || store.matching(&partial, &filters, revision, limit)).await?;
        let candidates = found.into_iter().map(|c| v1::MatchCandidate {
            record: Some(mask.apply(c.record)),
            score: share(c.likeness.score),
            reasons: c.likeness.reasons,
        });
        Ok(v1::MatchRecordsResponse { candidates: candidates.collect(), token: at.token.encode() })
    }
}

fn limit(asked: i32) -> Result<usize> {
    match usize::try_from(asked) {
        Err(_) => Err(Error::field(Reason::FieldInvalid, "limit", "is negative")),
        Ok(0) => Ok(DEFAULT_MATCHES),
        Ok(limit) => Ok(limit.min(MAX_MATCHES)),
    }
}

fn share(per_mille: u32) -> f64 {
    f64::from(per_mille) / 1000.0
}

fn result(found: Found, mask: &Mask) -> v1::SearchResult {
    v1::SearchResult {
        record: Some(mask.apply(found.record)),
        score: share(found.score),
        highlights: found.highlights.into_iter().map(highlight).collect(),
    }
}

fn highlight(Highlight { path, text, ranges }: Highlight) -> v1::Highlight {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let range = |(begin, end)| v1::TextRange { begin: number(begin), end: number(end) };
    v1::Highlight { path, text, ranges: ranges.into_iter().map(range).collect() }
}
