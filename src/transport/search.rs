//! `SearchRecords` and `MatchRecords`.

use std::time::Duration;

use super::{
    page::{self, PageToken},
    registry::{Paged, Registry, next_page, paged},
};
use crate::{
    domain::{
        error::Result,
        filter::Filters,
        mask::Mask,
        name::KINDS,
        search::rank::{Highlight, Query},
    },
    pb::v1,
    store::{
        list::Place,
        search::{self, Found, Search},
    },
    tasks::blocking,
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
        let page = blocking(move || {
            let search = Search { query, filters: &filters, revision };
            store.read(|c| search::page(c, &search, size, after.as_ref()))
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
        _: v1::MatchRecordsRequest,
        _: Option<Duration>,
    ) -> Result<v1::MatchRecordsResponse> {
        Err(crate::domain::error::Error::internal("not yet"))
    }
}

fn result(found: Found, mask: &Mask) -> v1::SearchResult {
    v1::SearchResult {
        record: Some(mask.apply(found.record)),
        score: f64::from(found.score) / 1000.0,
        highlights: found.highlights.into_iter().map(highlight).collect(),
    }
}

fn highlight(Highlight { path, text, ranges }: Highlight) -> v1::Highlight {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let range = |(begin, end)| v1::TextRange { begin: number(begin), end: number(end) };
    v1::Highlight { path, text, ranges: ranges.into_iter().map(range).collect() }
}
