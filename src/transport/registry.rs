//! `RegistryService`: lookups.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    App, explain,
    filing::{parse_name, publisher_key},
    page::{self, PageToken},
    points,
    position::At,
    request::time_left,
    served::registry_service_server::RegistryService,
};
use crate::{
    clock,
    domain::{
        date::{self, Day},
        error::{Error, Reason, Result},
        family::Family,
        filter::Filters,
        mask::Mask,
        name::{KINDS, RecordName, collection},
        report::Report,
        resolve,
        token::Token,
    },
    limits::{MAX_BATCH_GET_NAMES, MAX_PAGE_BYTES, MAX_PAGE_CANDIDATES},
    pb::{
        v1::{self, RecordKind, SourceKind, record::Kind},
        wire::Encoded,
    },
    store::{
        list::{self, Order, Place, Query},
        log, merges, read,
    },
    tasks::blocking,
};

pub(super) struct Registry(pub Arc<App>);

type Answered<T> = std::result::Result<Response<T>, Status>;

/// A request for pages, with its page fields cleared: what is left says which list it is.
pub(super) struct Paged {
    pub size: usize,
    pub token: Option<PageToken>,
    pub request: [u8; 8],
}

impl Registry {
    /// The position of a page: that of the first page.
    pub(super) async fn page_at(
        &self,
        paged: &Paged,
        as_of: Option<&v1::AsOf>,
        at_least: Option<&str>,
        wait: Option<Duration>,
    ) -> Result<At> {
        match &paged.token {
            None => self.0.at(as_of, at_least, wait).await,
            Some(token) => {
                self.0.begun(wait).await?;
                let app = Arc::clone(&self.0);
                let at = token.at.clone();
                let revision = blocking(move || app.store.locate(&at, "page_token")).await?;
                Ok(At { revision, token: token.at.clone() })
            }
        }
    }

    /// One record by name.
    async fn get(&self, kind: RecordKind, asked: Asked<'_>, wait: Option<Duration>) -> Result<Encoded> {
        let name = parse_name(asked.name, "name")?;
        if name.kind() != kind {
            let why = format!("{name} is not one of {}", collection(kind));
            return Err(Error::field(Reason::FieldInvalid, "name", why));
        }
        let mask = Mask::parse(asked.mask, &[kind])?;
        let valid_at = day_asked(asked.valid_at)?;
        let at = self.0.at(asked.as_of, asked.at_least, wait).await?;
        let app = Arc::clone(&self.0);
        let record = if valid_at.is_none() {
            match app.store.hot(&name, at.revision) {
                Some(record) => record,
                None => points::standing(&app, name, at.revision).await?,
            }
        } else {
            let record = self.0.reading(at.revision, move || app.standing_on(&name, at.revision, valid_at)).await?;
            record.encode_to_vec().into()
        };
        let told = self.0.told.text(&at.token);
        let answer = mask.keep(&record).and_then(|record| Encoded::answer(&record, &told.1));
        answer.ok_or_else(|| Error::new(Reason::EntryCorrupt, "what is stored is not a record"))
    }

    async fn list(
        &self,
        kind: RecordKind,
        asked: AskedList<'_>,
        wait: Option<Duration>,
    ) -> Result<(Vec<Kind>, String, String)> {
        let filters = Filters::parse(asked.filters, "filters")?;
        let mask = Mask::parse(asked.mask, &[kind])?;
        let order = order(asked.order_by)?;
        let valid_at = day_asked(asked.valid_at)?;
        let at = self.page_at(&asked.paged, asked.as_of, asked.at_least, wait).await?;
        let (store, limit) = (self.0.store.clone(), asked.paged.size);
        let after = asked.paged.token.as_ref().map(|t| Place { key: t.key, name: t.name.clone() });
        let revision = at.revision;
        let page = self
            .0
            .reading(at.revision, move || {
                let filters = filters.of_kind(kind);
                let query = Query { kind: Some(kind), filters: &filters, revision, order, limit, after, valid_at };
                store.list(&query)
            })
            .await?;
        let next = page.next.map(|p| next_page(&at.token, asked.paged.request, p.key, &p.name));
        let records = page.records.into_iter().filter_map(|r| mask.apply(r).kind).collect();
        Ok((records, next.unwrap_or_default(), at.token.encode()))
    }
}

pub(super) fn next_page(at: &Token, request: [u8; 8], key: i64, name: &str) -> String {
    PageToken { at: at.clone(), request, key, name: name.to_owned() }.encode()
}

/// The fields that every Get has.
struct Asked<'a> {
    name: &'a str,
    mask: Option<&'a prost_types::FieldMask>,
    as_of: Option<&'a v1::AsOf>,
    at_least: Option<&'a str>,
    valid_at: Option<&'a str>,
}

/// The fields that every List has.
struct AskedList<'a> {
    filters: &'a [v1::Filter],
    mask: Option<&'a prost_types::FieldMask>,
    order_by: i32,
    as_of: Option<&'a v1::AsOf>,
    at_least: Option<&'a str>,
    valid_at: Option<&'a str>,
    paged: Paged,
}

/// The day that a request asks derived status for.
pub(super) fn day_asked(valid_at: Option<&str>) -> Result<Option<Day>> {
    let read = |text| date::civil_day(text).map_err(|e| Error::field(Reason::FieldInvalid, "valid_at", e.to_string()));
    valid_at.map(read).transpose()
}

fn order(order_by: i32) -> Result<Order> {
    match v1::OrderBy::try_from(order_by) {
        Ok(v1::OrderBy::Unspecified | v1::OrderBy::OccurredDesc) => Ok(Order::Newest),
        Ok(v1::OrderBy::OccurredAsc) => Ok(Order::Oldest),
        Ok(v1::OrderBy::Name) => Ok(Order::Name),
        Ok(v1::OrderBy::UpdateTimeDesc) => Ok(Order::Updated),
        Err(_) => Err(Error::field(Reason::FieldInvalid, "order_by", format!("{order_by} is not an order"))),
    }
}

/// Takes the page fields out of a request.
macro_rules! paged {
    ($name:expr, $request:ident) => {{
        let size = page::size($request.page_size)?;
        let text = std::mem::take(&mut $request.page_token);
        $request.page_size = 0;
        let request = page::digest($name, &$request);
        Paged { size, token: PageToken::decode(&text, request)?, request }
    }};
}
pub(super) use paged;

impl App {
    /// The record that stands for a name at a revision, encoded; reads the store.
    fn standing(&self, asked: &RecordName, revision: u64) -> Result<Bytes> {
        match self.store.standing(asked, revision)? {
            Some(record) => Ok(record),
            None => self.standing_elsewhere(asked, revision),
        }
    }

    /// The same of a name under which nothing stands: it is merged into another, or retracted, or unknown.
    pub(super) fn standing_elsewhere(&self, asked: &RecordName, revision: u64) -> Result<Bytes> {
        let name = &self.store.read(|c| merges::survivor(c, asked, revision))?;
        if name != asked
            && let Some(record) = self.store.standing(name, revision)?
        {
            return Ok(record);
        }
        let row = self.store.read(|c| read::record_at(c, name, revision))?;
        let row = row.ok_or_else(|| Error::not_found(name.as_str()))?;
        if row.erased_by > 0 {
            return Err(erased(name, row.erased_by));
        }
        let before = row.from_revision - 1;
        if before < self.store.head().floor {
            let message = format!("{name} was retracted before the oldest position that is kept");
            return Err(Error::new(Reason::RecordRetracted, message).with_resource(name.as_str()));
        }
        if let Some(stood) = self.store.read(|c| read::record_at(c, name, before))?
            && stood.erased_by > 0
        {
            return Err(erased(name, stood.erased_by));
        }
        let last = self.store.token_at(before)?.encode();
        let message = format!("{name} is retracted; as_of the token {last} it stood");
        Err(Error::new(Reason::RecordRetracted, message).with_resource(name.as_str()).with("last_token", last))
    }

    /// A record that stands at a revision, with the status that it has on a day; reads the store.
    fn standing_on(&self, name: &RecordName, revision: u64, valid_at: Option<Day>) -> Result<v1::Record> {
        let mut record = read::decode(&self.standing(name, revision)?)?;
        if let Some(day) = valid_at {
            self.store.read(|c| list::derive_at(c, &mut record, day, revision))?;
        }
        Ok(record)
    }

    /// The name of the record, standing or retracted, that a name belongs to at a revision, with all its names.
    fn known(&self, name: &RecordName, revision: u64) -> Result<Family> {
        match self.store.read(|c| read::record_at(c, name, revision))? {
            Some(_) => self.store.read(|c| merges::family(c, &merges::survivor(c, name, revision)?, revision)),
            None => Err(Error::not_found(name.as_str())),
        }
    }
}

/// What a record was is not there any more: it may be asked for as of now, too.
fn erased(name: &RecordName, by: u64) -> Error {
    let message = format!("nothing is left of {name} as of this position: revision {by} erased what it was");
    Error::new(Reason::RecordRedacted, message).with_resource(name.as_str()).with("redacted_by", by)
}

/// The pair of methods of one kind.
macro_rules! kind_methods {
    ($($kind:ident, $get:ident, $GetReq:ident,
       $list:ident, $ListReq:ident, $ListRes:ident, $fields:ident $(, $valid_at:ident)?;)*) => {
        // async_trait sees methods only after this macro made them, so the whole impl is made here.
        #[tonic::async_trait]
        impl RegistryService for Registry {
            $(
                async fn $get(&self, request: Request<v1::$GetReq>) -> Answered<Encoded> {
                    let wait = time_left(&request);
                    let r = request.into_inner();
                    let asked = Asked {
                        name: &r.name,
                        mask: r.read_mask.as_ref(),
                        as_of: r.as_of.as_ref(),
                        at_least: r.at_least.as_deref(),
                        valid_at: None$(.or(r.$valid_at.as_deref()))?,
                    };
                    Ok(Response::new(self.get(RecordKind::$kind, asked, wait).await?))
                }

                async fn $list(&self, request: Request<v1::$ListReq>) -> Answered<v1::$ListRes> {
                    let wait = time_left(&request);
                    let mut r = request.into_inner();
                    let paged = paged!(stringify!($ListReq), r);
                    let asked = AskedList {
                        filters: &r.filters,
                        mask: r.read_mask.as_ref(),
                        order_by: r.order_by,
                        as_of: r.as_of.as_ref(),
                        at_least: r.at_least.as_deref(),
                        valid_at: None$(.or(r.$valid_at.as_deref()))?,
                        paged,
                    };
                    let (kinds, next_page_token, token) = self.list(RecordKind::$kind, asked, wait).await?;
                    let of_kind = |kind| match kind { Kind::$kind(found) => Some(found), _ => None };
                    let $fields = kinds.into_iter().filter_map(of_kind).collect();
                    Ok(Response::new(v1::$ListRes { $fields, next_page_token, token }))
                }
            )*

            async fn search_records(
                &self,
                request: Request<v1::SearchRecordsRequest>,
            ) -> Answered<v1::SearchRecordsResponse> {
                let wait = time_left(&request);
                Ok(Response::new(self.search(request.into_inner(), wait).await?))
            }

            async fn match_records(&self, request: Request<v1::MatchRecordsRequest>) -> Answered<v1::MatchRecordsResponse> {
                let wait = time_left(&request);
                Ok(Response::new(self.matching(request.into_inner(), wait).await?))
            }

            async fn batch_get_records(
                &self,
                request: Request<v1::BatchGetRecordsRequest>,
            ) -> Answered<v1::BatchGetRecordsResponse> {
                let wait = time_left(&request);
                Ok(Response::new(self.batch_get(request.into_inner(), wait).await?))
            }

            async fn list_reports(&self, request: Request<v1::ListReportsRequest>) -> Answered<v1::ListReportsResponse> {
                let wait = time_left(&request);
                Ok(Response::new(self.reports(request.into_inner(), wait).await?))
            }

            async fn list_sources(&self, request: Request<v1::ListSourcesRequest>) -> Answered<v1::ListSourcesResponse> {
                let wait = time_left(&request);
                Ok(Response::new(self.sources(request.into_inner(), wait).await?))
            }

            async fn explain_record(
                &self,
                request: Request<v1::ExplainRecordRequest>,
            ) -> Answered<v1::ExplainRecordResponse> {
                let wait = time_left(&request);
                Ok(Response::new(self.explain(request.into_inner(), wait).await?))
            }

            async fn get_relationship(
                &self,
                request: Request<v1::GetRelationshipRequest>,
            ) -> Answered<v1::GetRelationshipResponse> {
                let wait = time_left(&request);
                Ok(Response::new(self.relationship(request.into_inner(), wait).await?))
            }

            async fn list_relationships(
                &self,
                request: Request<v1::ListRelationshipsRequest>,
            ) -> Answered<v1::ListRelationshipsResponse> {
                let wait = time_left(&request);
                Ok(Response::new(self.relationships(request.into_inner(), wait).await?))
            }

            async fn list_revisions(
                &self,
                request: Request<v1::ListRevisionsRequest>,
            ) -> Answered<v1::ListRevisionsResponse> {
                let wait = time_left(&request);
                Ok(Response::new(self.revisions(request.into_inner(), wait).await?))
            }
        }
    };
}

kind_methods! {
    Visit, get_visit, GetVisitRequest,
        list_visits, ListVisitsRequest, ListVisitsResponse, visits, valid_at;
    Meeting, get_meeting, GetMeetingRequest,
        list_meetings, ListMeetingsRequest, ListMeetingsResponse, meetings, valid_at;
    Agreement, get_agreement, GetAgreementRequest,
        list_agreements, ListAgreementsRequest, ListAgreementsResponse, agreements, valid_at;
    Exercise, get_exercise, GetExerciseRequest,
        list_exercises, ListExercisesRequest, ListExercisesResponse, exercises, valid_at;
    Person, get_person, GetPersonRequest,
        list_persons, ListPersonsRequest, ListPersonsResponse, persons;
    Organization, get_organization, GetOrganizationRequest,
        list_organizations, ListOrganizationsRequest, ListOrganizationsResponse, organizations;
    Place, get_place, GetPlaceRequest,
        list_places, ListPlacesRequest, ListPlacesResponse, places;
}

impl Registry {
    async fn batch_get(
        &self,
        r: v1::BatchGetRecordsRequest,
        wait: Option<Duration>,
    ) -> Result<v1::BatchGetRecordsResponse> {
        if r.names.is_empty() {
            return Err(Error::field(Reason::FieldInvalid, "names", "is required"));
        }
        if r.names.len() > MAX_BATCH_GET_NAMES {
            let why = format!("has {} names; at most {MAX_BATCH_GET_NAMES} are allowed", r.names.len());
            return Err(Error::field(Reason::TooLarge, "names", why).with("limit", MAX_BATCH_GET_NAMES));
        }
        let named = r.names.iter().enumerate().map(|(i, n)| parse_name(n, &format!("names[{i}]")));
        let names = named.collect::<Result<Vec<_>>>()?;
        let mask = Mask::parse(r.read_mask.as_ref(), &KINDS)?;
        let valid_at = day_asked(r.valid_at.as_deref())?;
        let at = self.0.at(r.as_of.as_ref(), r.at_least.as_deref(), wait).await?;
        let (store, revision) = (self.0.store.clone(), at.revision);
        let (records, missing, merged) = self
            .0
            .reading(at.revision, move || {
                let (mut records, mut missing, mut merged) = (Vec::new(), Vec::new(), Vec::new());
                let mut bytes = 0;
                for name in names {
                    if bytes > MAX_PAGE_BYTES {
                        let fit = records.len() + missing.len();
                        let why = format!("the records are larger than an answer holds; the first {fit} names fit");
                        return Err(Error::field(Reason::TooLarge, "names", why).with("limit", fit));
                    }
                    let record = store.read(|c| merges::survivor(c, &name, revision))?;
                    if record != name {
                        let answered = v1::MergedName { name: name.to_string(), record: record.to_string() };
                        merged.extend((!merged.contains(&answered)).then_some(answered));
                    }
                    match store.read(|c| read::record_at(c, &record, revision))?.and_then(|row| row.record) {
                        Some(mut record) => {
                            if let Some(day) = valid_at {
                                store.read(|c| list::derive_at(c, &mut record, day, revision))?;
                            }
                            let record = mask.apply(record);
                            bytes += record.encoded_len();
                            records.push(record);
                        }
                        None => missing.push(name.to_string()),
                    }
                }
                Ok((records, missing, merged))
            })
            .await?;
        Ok(v1::BatchGetRecordsResponse { records, missing, token: at.token.encode(), merged })
    }

    async fn reports(&self, mut r: v1::ListReportsRequest, wait: Option<Duration>) -> Result<v1::ListReportsResponse> {
        let paged = paged!("ListReportsRequest", r);
        let parent = parse_name(&r.parent, "parent")?;
        let at = self.page_at(&paged, r.as_of.as_ref(), r.at_least.as_deref(), wait).await?;
        let (app, revision, withdrawn) = (Arc::clone(&self.0), at.revision, r.show_withdrawn);
        let (record, rows) = self
            .0
            .reading(at.revision, move || {
                let family = app.known(&parent, revision)?;
                let record = family.name().to_string();
                if withdrawn {
                    return Ok((record, app.store.read(|c| read::all_reports_of(c, &family, revision))?));
                }
                let mut rows = app.store.read(|c| read::active_reports_of(c, &family, revision))?;
                rows.sort_by_cached_key(|row| Report::from_stored(row.report.clone()).ok().map(|r| r.rank()));
                Ok((record, rows))
            })
            .await?;
        // Of withdrawn ones some may be trimmed between two pages: they go on after a report, and not after a number.
        let place =
            |row: &read::ReportRow| (i64::try_from(row.report.revision).unwrap_or(i64::MAX), row.report.name.clone());
        let skip = paged.token.as_ref().map_or(0, |t| {
            if withdrawn {
                rows.partition_point(|row| place(row) <= (t.key, t.name.clone()))
            } else {
                usize::try_from(t.key).unwrap_or(0)
            }
        });
        let sizes = rows.iter().skip(skip).take(paged.size).map(|row| row.report.encoded_len());
        let end = skip + within_a_page(sizes);
        let more = rows.len() > end;
        let listed = |row: read::ReportRow| v1::ListedReport {
            report: Some(row.report),
            active: row.until_revision.is_none(),
            until_revision: row.until_revision.unwrap_or(0),
        };
        let (key, name) = match rows.get(end.wrapping_sub(1)).filter(|_| withdrawn) {
            Some(last) => place(last),
            None => (i64::try_from(end).unwrap_or(i64::MAX), String::new()),
        };
        let next = more.then(|| next_page(&at.token, paged.request, key, &name));
        Ok(v1::ListReportsResponse {
            reports: rows.into_iter().take(end).skip(skip).map(listed).collect(),
            next_page_token: next.unwrap_or_default(),
            token: at.token.encode(),
            record,
        })
    }

    async fn sources(&self, mut r: v1::ListSourcesRequest, wait: Option<Duration>) -> Result<v1::ListSourcesResponse> {
        let paged = paged!("ListSourcesRequest", r);
        for (index, kind) in r.kinds.iter().enumerate() {
            if !SourceKind::try_from(*kind).is_ok_and(|k| k != SourceKind::Unspecified) {
                let why = format!("{kind} is not a kind of source");
                return Err(Error::field(Reason::FieldInvalid, format!("kinds[{index}]"), why));
            }
        }
        let publisher = if r.publisher.is_empty() { None } else { Some(publisher_key(&r.publisher, "publisher")?) };
        let at = self.page_at(&paged, r.as_of.as_ref(), r.at_least.as_deref(), wait).await?;
        let (store, revision, size, kinds) = (self.0.store.clone(), at.revision, paged.size, r.kinds.clone());
        let after = paged.token.as_ref().map(|t| t.name.clone()).unwrap_or_default();
        let (sources, next) = self
            .0
            .reading(at.revision, move || {
                // One more than examined tells whether anything is left.
                let found = store.read(|c| read::sources(c, revision, &after, MAX_PAGE_CANDIDATES))?;
                let exhausted = found.len() < MAX_PAGE_CANDIDATES;
                let (mut sources, mut last) = (Vec::new(), None);
                for (source, own) in found {
                    if sources.len() == size {
                        return Ok((sources, last));
                    }
                    last = Some(source.name.clone());
                    let wanted = (kinds.is_empty() || kinds.contains(&source.kind))
                        && publisher.as_ref().is_none_or(|p| *p == own);
                    if wanted {
                        sources.push(source);
                    }
                }
                Ok((sources, last.filter(|_| !exhausted)))
            })
            .await?;
        let next = next.map(|name| next_page(&at.token, paged.request, 0, &name));
        Ok(v1::ListSourcesResponse { sources, next_page_token: next.unwrap_or_default(), token: at.token.encode() })
    }

    async fn explain(&self, r: v1::ExplainRecordRequest, wait: Option<Duration>) -> Result<v1::ExplainRecordResponse> {
        let name = parse_name(&r.name, "name")?;
        let at = self.0.at(r.as_of.as_ref(), r.at_least.as_deref(), wait).await?;
        let (app, revision) = (Arc::clone(&self.0), at.revision);
        let (record, fields) = self
            .0
            .reading(at.revision, move || {
                let record: v1::Record = read::decode(&app.standing(&name, revision)?)?;
                let family = app.known(&name, revision)?;
                let rows = app.store.read(|c| read::active_reports_of(c, &family, revision))?;
                let mut reports =
                    rows.into_iter().map(|row| Report::from_stored(row.report)).collect::<Result<Vec<_>>>()?;
                reports.retain(|report| !family.holds(&report.name.record));
                let fields = resolve::resolve(&reports).map(|r| explain::fields(&r)).unwrap_or_default();
                Ok((record, fields))
            })
            .await?;
        Ok(v1::ExplainRecordResponse { record: Some(record), fields, token: at.token.encode() })
    }

    async fn revisions(
        &self,
        mut r: v1::ListRevisionsRequest,
        wait: Option<Duration>,
    ) -> Result<v1::ListRevisionsResponse> {
        let paged = paged!("ListRevisionsRequest", r);
        let name = parse_name(&r.name, "name")?;
        let at = self.page_at(&paged, None, r.at_least.as_deref(), wait).await?;
        let (app, revision, size) = (Arc::clone(&self.0), at.revision, paged.size);
        let after = paged.token.as_ref().map_or(0, |t| u64::try_from(t.key).unwrap_or(0));
        let epoch = at.token.epoch;
        let (record, more, revisions) = self
            .0
            .reading(at.revision, move || {
                let family = app.known(&name, revision)?;
                let mut found = app.store.read(|c| read::history(c, &family, after, revision, size + 1))?;
                let more = found.len() > size;
                found.truncate(size);
                let asked = found.len();
                let (mut summaries, mut bytes) = (Vec::new(), 0);
                for revision in found {
                    let summary = summary(&app, &family, revision, epoch)?;
                    bytes += summary.encoded_len();
                    summaries.push(summary);
                    if bytes >= MAX_PAGE_BYTES {
                        break;
                    }
                }
                Ok((family.name().to_string(), more || summaries.len() < asked, summaries))
            })
            .await?;
        let last = revisions.last().map_or(0, |s| i64::try_from(s.revision).unwrap_or(i64::MAX));
        let next = more.then(|| next_page(&at.token, paged.request, last, ""));
        let next_page_token = next.unwrap_or_default();
        Ok(v1::ListRevisionsResponse { revisions, next_page_token, token: at.token.encode(), record })
    }
}

/// How many of these elements one page holds: at least one.
fn within_a_page(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fits = |size: &usize| {
        bytes += size;
        bytes - size < MAX_PAGE_BYTES
    };
    sizes.take_while(fits).count()
}

/// What one revision did to the names of a record; reads the store.
fn summary(
    app: &App,
    family: &Family,
    revision: u64,
    epoch: crate::domain::token::Epoch,
) -> Result<v1::RevisionSummary> {
    let entries = app.store.read(|c| log::entries(c, revision - 1, revision, 1, usize::MAX))?;
    let entry = entries.first().ok_or_else(|| Error::internal(format!("no entry {revision}")))?;
    let events = entry.payload()?.events.into_iter().filter_map(|e| e.event);
    Ok(v1::RevisionSummary {
        revision,
        time: Some(clock::timestamp(entry.recorded_at_us)),
        token: Token::at(epoch, revision, &entry.hash).encode(),
        principal: entry.header()?.principal,
        events: events.filter(|e| family.names().any(|n| e.subject == n.as_str())).collect(),
    })
}
