//! `FeedService`: the watch, its pages, and cursors.

use std::{pin::Pin, sync::Arc, time::Duration};

use prost::Message as _;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::{
    App,
    page::{self, PageToken},
    position::{At, patience},
    request::{Caller, time_left},
    served::feed_service_server::FeedService,
};
use crate::{
    access::ANONYMOUS,
    clock,
    domain::{
        error::{Error, Reason, Result},
        filter::Filters,
        mask::Mask,
        name::{self, KINDS},
        token::{Phase, Token},
    },
    feed::{self, Acknowledged, Ends, Options, Plan, Selection, SnapshotPlace, Start, Until},
    limits::{
        DEFAULT_BATCH_EVENTS, DEFAULT_FRAME_BYTES, DEFAULT_PROGRESS, MAX_BATCH_EVENTS, MAX_FRAME_BYTES, MAX_PAGE_BYTES,
        MAX_PAGE_CANDIDATES, MAX_PROGRESS, MIN_FRAME_BYTES, MIN_PROGRESS, REPLAY_PAGE_BYTES, REPLAY_PAGE_REVISIONS,
    },
    pb::{
        v1::{
            self, CommitCursorRequest, CommitCursorResponse, Cursor, EventType, GetCursorRequest, GetCursorResponse,
            ListEventsRequest, ListEventsResponse, WatchEventsRequest, list_events_request, watch_events_request,
        },
        wire::Encoded,
    },
    store::{
        log,
        read::{self, CursorRow},
    },
    tasks::{asking, blocking},
    writer::{KeepCursor, cursors},
};

/// Characters of a cursor's name.
const MAX_CURSOR_NAME: usize = 128;

pub(super) struct Feed(pub Arc<App>);

type Answered<T> = std::result::Result<Response<T>, Status>;

#[tonic::async_trait]
impl FeedService for Feed {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = std::result::Result<Encoded, Status>> + Send>>;

    async fn watch_events(&self, request: Request<WatchEventsRequest>) -> Answered<Self::WatchEventsStream> {
        let (wait, caller) = (time_left(&request), Caller::of(&request)?);
        // Before anything is waited for: one that is being opened is one of them.
        let places = (caller.open()?, self.0.hub.open().inspect_err(|error| caller.noted(error))?);
        let (plan, acknowledged) = self.plan(request.into_inner(), wait).await?;
        let of_snapshot = matches!(plan.start, Start::Snapshot { .. }).then(|| caller.open_snapshot()).transpose()?;
        let of_snapshot = of_snapshot.flatten().map(|place| Box::new(place) as SnapshotPlace);
        let ends = Ends { leaving: caller.leaving().clone(), refused: caller.refused() };
        let App { hub, store, tasks, .. } = &*self.0;
        let frames = feed::subscribe(hub, store, tasks, plan, acknowledged, ends, of_snapshot)
            .inspect_err(|error| caller.noted(error))?;
        // Its places go with the stream.
        let frames = frames.map(move |frame| {
            let _ = &places;
            frame.map_err(Status::from)
        });
        Ok(Response::new(Box::pin(frames)))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Answered<ListEventsResponse> {
        let wait = time_left(&request);
        Ok(Response::new(self.page(request.into_inner(), wait).await?))
    }

    async fn get_cursor(&self, request: Request<GetCursorRequest>) -> Answered<GetCursorResponse> {
        let principal = Arc::clone(&Caller::of(&request)?.principal().name);
        let wait = time_left(&request);
        let name = cursor_name(request.into_inner().name)?;
        self.0.begun(wait).await?;
        let (app, asked) = (Arc::clone(&self.0), name.clone());
        let kept = match Arc::clone(&app.journal).shelf() {
            Some(shelf) => asking(move || cursors::on_shelf(&*shelf, &principal, &asked)).await?,
            None => blocking(move || app.store.read(|c| read::cursor(c, &principal, &asked))).await?,
        };
        let row = kept.ok_or_else(|| Error::not_found(&name))?;
        Ok(Response::new(GetCursorResponse { cursor: Some(cursor(name, row)), token: self.0.now().token.encode() }))
    }

    async fn commit_cursor(&self, request: Request<CommitCursorRequest>) -> Answered<CommitCursorResponse> {
        let (wait, caller) = (time_left(&request), Caller::of(&request)?);
        let request = request.into_inner();
        let name = cursor_name(request.name)?;
        let token = self.0.reach(&request.position, "position", wait).await?;
        let (event_index, snapshot_after) = match token.phase {
            Phase::Whole => (u32::MAX, String::new()),
            Phase::Partial { next } => (next, String::new()),
            Phase::Snapshot { after, .. } => (0, after),
        };
        let row = CursorRow {
            position: request.position,
            revision: token.revision,
            event_index,
            snapshot_after,
            etag: String::new(),
            updated_at_us: 0,
        };
        let principal = caller.principal().name.to_string();
        if principal == ANONYMOUS {
            let why = "a cursor is somebody's: show a credential, or keep the position yourself";
            let error = Error::new(Reason::RoleRequired, why).with("principal", principal);
            caller.noted(&error);
            return Err(error.into());
        }
        let keep = KeepCursor { principal, name: name.clone(), row, expected_etag: request.expected_etag };
        let clock = Arc::clone(&self.0.clock);
        let kept = match Arc::clone(&self.0.journal).shelf() {
            // Of a log that is another: nobody else could go on from there.
            Some(_) if let Some(fault) = self.0.writer.fault() => return Err(fault.into()),
            Some(shelf) => asking(move || cursors::keep_on_shelf(&*shelf, &*clock, &keep)).await,
            None => self.0.writer.keep_cursor(keep).await,
        };
        let row = kept.inspect_err(|error| caller.noted(error))?;
        Ok(Response::new(CommitCursorResponse { cursor: Some(cursor(name, row)), token: self.0.now().token.encode() }))
    }
}

fn cursor_name(name: String) -> Result<String> {
    let fits = (1..=MAX_CURSOR_NAME).contains(&name.len());
    if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Ok(name);
    }
    let why =
        format!("{} is not the name of a cursor: 1 to {MAX_CURSOR_NAME} of a-z A-Z 0-9 . _ -", name::quote(&name));
    Err(Error::field(Reason::FieldInvalid, "name", why))
}

fn cursor(name: String, row: CursorRow) -> Cursor {
    Cursor { name, position: row.position, etag: row.etag, update_time: Some(clock::timestamp(row.updated_at_us)) }
}

fn event_types(numbers: &[i32]) -> Result<Vec<EventType>> {
    let parse = |(index, number): (usize, &i32)| {
        EventType::try_from(*number).ok().filter(|t| *t != EventType::Unspecified).ok_or_else(|| {
            let why = format!("{number} is not a type of event");
            Error::field(Reason::FieldInvalid, format!("event_types[{index}]"), why)
        })
    };
    numbers.iter().enumerate().map(parse).collect()
}

/// The digest of filters that a snapshot's tokens carry.
fn filters_digest(filters: &[v1::Filter]) -> [u8; 8] {
    let bytes: Vec<u8> = filters.iter().flat_map(prost::Message::encode_length_delimited_to_vec).collect();
    let mut digest = [0; 8];
    digest.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..8]);
    digest
}

/// A size as clamped; 0 is the default.
fn clamp(asked: i32, field: &str, default: usize, range: std::ops::RangeInclusive<usize>) -> Result<usize> {
    match usize::try_from(asked) {
        Err(_) => Err(Error::field(Reason::FieldInvalid, field, "is negative")),
        Ok(0) => Ok(default),
        Ok(size) => Ok(size.clamp(*range.start(), *range.end())),
    }
}

fn progress_interval(asked: Option<&prost_types::Duration>) -> Result<Duration> {
    let Some(asked) = asked else { return Ok(DEFAULT_PROGRESS) };
    if asked.seconds < 0 || asked.nanos < 0 {
        return Err(Error::field(Reason::FieldInvalid, "progress_interval", "is negative"));
    }
    let nanos = u32::try_from(asked.nanos).unwrap_or(0).min(999_999_999);
    Ok(Duration::new(u64::try_from(asked.seconds).unwrap_or(0), nanos).clamp(MIN_PROGRESS, MAX_PROGRESS))
}

impl Feed {
    /// Checks a watch and finds out where it starts.
    async fn plan(&self, r: WatchEventsRequest, wait: Option<Duration>) -> Result<(Plan, Acknowledged)> {
        let digest = filters_digest(&r.filters);
        let selection = Selection {
            filters: Filters::parse(&r.filters, "filters")?,
            types: event_types(&r.event_types)?,
            mask: Mask::parse(r.read_mask.as_ref(), &KINDS)?,
            include_previous: r.include_previous,
        };
        let options = Options {
            progress: progress_interval(r.progress_interval.as_ref())?,
            max_events: clamp(r.max_batch_events, "max_batch_events", DEFAULT_BATCH_EVENTS, 1..=MAX_BATCH_EVENTS)?,
            max_bytes: clamp(
                r.max_batch_bytes,
                "max_batch_bytes",
                DEFAULT_FRAME_BYTES,
                MIN_FRAME_BYTES..=MAX_FRAME_BYTES,
            )?,
        };
        self.0.begun(wait).await?;
        // Asked before the start is found: what is acknowledged from here on may come, what was must.
        let next_look = self.0.looks.next();
        let (known, acknowledged) = match self.0.journal_head().await {
            Ok(None) => (None, Acknowledged::Here),
            Ok(Some(position)) => (Some(position), Acknowledged::At(position)),
            // What is here is told all the same; that it is caught up when the journal has said where it ends.
            Err(error) if error.reason == Reason::JournalUnavailable => {
                (None, Acknowledged::Later(Box::pin(next_look)))
            }
            Err(error) => return Err(error),
        };
        let start = self.start(r.start, digest, known, wait).await?;
        let until = match r.until {
            None => Until::Forever,
            Some(watch_events_request::Until::CaughtUp(())) => Until::CaughtUp,
            Some(watch_events_request::Until::Through(token)) => {
                Until::Through(self.0.reach(&token, "through", wait).await?.revision)
            }
        };
        Ok((Plan { selection, start, until, options }, acknowledged))
    }

    async fn start(
        &self,
        start: Option<watch_events_request::Start>,
        digest: [u8; 8],
        acknowledged: Option<u64>,
        wait: Option<Duration>,
    ) -> Result<Start> {
        use watch_events_request::Start as Asked;
        match start {
            None | Some(Asked::Now(())) => {
                self.applied_up_to(acknowledged, wait).await?;
                Ok(Start::After { revision: self.0.now().revision })
            }
            Some(Asked::Oldest(())) => Ok(Start::After { revision: self.0.store.head().floor }),
            Some(Asked::FromTime(time)) => Ok(Start::After { revision: self.0.before(&time, "from_time").await? }),
            Some(Asked::Snapshot(())) => {
                self.applied_up_to(acknowledged, wait).await?;
                let revision = self.0.now().revision;
                Ok(Start::Snapshot { revision, after: String::new(), filters: digest })
            }
            Some(Asked::After(text)) => {
                let token = self.0.reach(&text, "after", wait).await?;
                let revision = token.revision;
                match token.phase.clone() {
                    Phase::Whole => Ok(Start::After { revision }),
                    Phase::Partial { next } => Ok(Start::Amid { revision, next, token }),
                    Phase::Snapshot { filters, .. } if filters != digest => {
                        let why = "is from the middle of a snapshot with other filters; use the same, or start again";
                        Err(Error::field(Reason::TokenFilterMismatch, "after", why))
                    }
                    Phase::Snapshot { after, filters } => Ok(Start::Snapshot { revision, after, filters }),
                }
            }
        }
    }

    /// Waits until what the journal had at the time of the request is applied here.
    async fn applied_up_to(&self, acknowledged: Option<u64>, wait: Option<Duration>) -> Result<()> {
        let Some(position) = acknowledged else { return Ok(()) };
        let mut head = self.0.store.follow_head();
        let reached = head.wait_for(|h| h.position >= position);
        match tokio::time::timeout(patience(wait), reached).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(Reason::ReplicaBehind, "this replica has not applied the newest batch yet")),
        }
    }

    async fn page(&self, mut r: ListEventsRequest, wait: Option<Duration>) -> Result<ListEventsResponse> {
        let size = page::size(r.page_size)?;
        let text = std::mem::take(&mut r.page_token);
        r.page_size = 0;
        let request = page::digest("ListEventsRequest", &r);
        let token = PageToken::decode(&text, request)?;
        let selection = Selection {
            filters: Filters::parse(&r.filters, "filters")?,
            types: event_types(&r.event_types)?,
            mask: Mask::parse(r.read_mask.as_ref(), &KINDS)?,
            include_previous: r.include_previous,
        };
        self.0.begun(wait).await?;
        let (at, from) = match token {
            None => {
                // Where it starts may have to be waited for, and the page must not end before it.
                let from = self.page_start(r.start.as_ref(), wait).await?;
                (self.0.at(None, r.at_least.as_deref(), wait).await?, from)
            }
            Some(token) => {
                let app = Arc::clone(&self.0);
                let first = token.at.clone();
                let revision = blocking(move || app.store.locate(&first, "page_token")).await?;
                let next = token.name.parse().unwrap_or(0);
                (At { revision, token: token.at }, (u64::try_from(token.key).unwrap_or(0), next))
            }
        };
        let (store, through) = (self.0.store.clone(), at.revision);
        let (events, next) = blocking(move || collect(&store, &selection, from, through, size)).await?;
        let next = next.map(|(revision, index)| PageToken {
            at: at.token.clone(),
            request,
            key: i64::try_from(revision).unwrap_or(i64::MAX),
            name: index.to_string(),
        });
        let next_page_token = next.map(|t| t.encode()).unwrap_or_default();
        Ok(ListEventsResponse { events, next_page_token, token: at.token.encode() })
    }

    /// The revision after which, and the event of the next one from which, the first page begins.
    async fn page_start(
        &self,
        start: Option<&list_events_request::Start>,
        wait: Option<Duration>,
    ) -> Result<(u64, u32)> {
        use list_events_request::Start as Asked;
        match start {
            None | Some(Asked::Oldest(())) => Ok((self.0.store.head().floor, 0)),
            Some(Asked::FromTime(time)) => Ok((self.0.before(time, "from_time").await?, 0)),
            Some(Asked::After(text)) => {
                let Token { revision, phase, .. } = self.0.reach(text, "after", wait).await?;
                Ok(match phase {
                    Phase::Partial { next } => (revision - 1, next),
                    Phase::Whole => (revision, 0),
                    Phase::Snapshot { .. } => {
                        let why = "is from the middle of a snapshot; only a watch goes on from there";
                        return Err(Error::field(Reason::FieldInvalid, "after", why));
                    }
                })
            }
        }
    }
}

/// Where a page of events begins: after a revision, with this event of the next one.
type EventPlace = (u64, u32);

/// A page of events; reads the store.
fn collect(
    store: &crate::store::Store,
    selection: &Selection,
    from: EventPlace,
    through: u64,
    size: usize,
) -> Result<(Vec<v1::Event>, Option<EventPlace>)> {
    let (mut after, mut first) = from;
    let depth = selection.depth();
    let mut events = Vec::new();
    let (mut examined, mut bytes) = (0, 0);
    while after < through {
        let revisions = store.read(|c| {
            let entries = log::entries(c, after, through, REPLAY_PAGE_REVISIONS, REPLAY_PAGE_BYTES)?;
            log::revisions(c, &entries, depth)
        })?;
        store.check_kept(after)?;
        if revisions.is_empty() {
            break;
        }
        for revision in &revisions {
            for told in revision.events.iter().filter(|t| t.head.index >= first) {
                if events.len() >= size || bytes >= MAX_PAGE_BYTES || examined >= MAX_PAGE_CANDIDATES {
                    return Ok((events, Some((revision.number - 1, told.head.index))));
                }
                examined += 1;
                if let Some(event) = feed::event(revision, told, selection)? {
                    bytes += event.encoded_len();
                    events.push(event);
                }
            }
            after = revision.number;
            first = 0;
        }
    }
    Ok((events, None))
}
