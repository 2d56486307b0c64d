//! `LogService`.

use std::{sync::Arc, time::Duration};

use tonic::{Request, Response, Status};

use super::{
    App, audit, backup, redact,
    request::{Caller, time_left},
};
use crate::{
    clock,
    domain::{
        date,
        error::{Error, Reason, Result},
        token::Phase,
    },
    journal::Durable,
    limits,
    pb::v1::{
        BackupRequest, Durability, GetLogInfoRequest, GetLogInfoResponse, Limit, RedactRequest, RedactResponse,
        TrimLogRequest, TrimLogResponse, log_service_server::LogService, trim_log_request::Keep,
    },
    store::{Sync, log},
    tasks::blocking,
    writer::{self, Act},
};

type Answered<T> = std::result::Result<Response<T>, Status>;

pub(super) struct Log(pub Arc<App>);

#[tonic::async_trait]
impl LogService for Log {
    type BackupStream = backup::Parts;

    async fn backup(&self, request: Request<BackupRequest>) -> Answered<Self::BackupStream> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(backup::parts(&self.0, &caller)?))
    }

    async fn get_log_info(&self, _: Request<GetLogInfoRequest>) -> Answered<GetLogInfoResponse> {
        let head = self.0.store.head();
        let durability = match (self.0.journal.durable(), self.0.store.sync()) {
            // The store is a copy of the journal's beginning: what it loses is read there again.
            (Some(Durable::Synced), _) | (None, Sync::Full) => Durability::Synced,
            (Some(Durable::Copied), _) => Durability::Copied,
            (Some(Durable::Unknown), _) => Durability::Unspecified,
            (None, Sync::ByJournal | Sync::Off) => Durability::Unsynced,
        };
        let feed = self.0.hub.settings();
        let own = [
            ("calls", self.0.calls.most()),
            ("public_streams", self.0.calls.most_public()),
            ("snapshots", feed.max_snapshots),
            ("watches", feed.max_watches),
        ];
        let limit = |(name, value): &(&str, usize)| Limit {
            name: (*name).to_owned(),
            value: i64::try_from(*value).unwrap_or(i64::MAX),
        };
        Ok(Response::new(GetLogInfoResponse {
            epoch: head.epoch.to_string(),
            token: head.token().encode(),
            oldest_token: head.oldest_token().encode(),
            revision: head.revision,
            recorded_at: (head.revision > 0).then(|| clock::timestamp(head.recorded_at_us)),
            durability: durability.into(),
            limits: limits::TOLD.iter().chain(&own).map(limit).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            day: head.day.map(date::show).unwrap_or_default(),
            replaying: head.replaying,
        }))
    }

    async fn redact(&self, request: Request<RedactRequest>) -> Answered<RedactResponse> {
        let (deadline, caller) = (time_left(&request), Caller::of(&request)?);
        let redacted = redact::redact(&self.0, request.into_inner(), &caller, deadline).await;
        Ok(Response::new(redacted.inspect_err(|error| caller.noted(error))?))
    }

    async fn trim_log(&self, request: Request<TrimLogRequest>) -> Answered<TrimLogResponse> {
        let (deadline, caller) = (time_left(&request), Caller::of(&request)?);
        let request = request.into_inner();
        let kept_after = self.kept_after(request.keep, deadline).await?;
        let before = self.0.store.head();
        let act = Act::Trim { before: kept_after + 1 };
        let asked =
            writer::Request { validate_only: request.dry_run, ..writer::Request::of(act, &caller.principal().name) };
        let (kept_from, dry_run) = (Some(kept_after + 1), Some(request.dry_run));
        let said = audit::Act { kept_from, dry_run, ..audit::Act::default() };
        let pending = audit::Pending::of(&caller, said);
        let answer = self.0.writer.file(asked, deadline).await;
        pending.came(answer.as_ref().map(|answer| answer.revision));
        let answer = answer.inspect_err(|error| caller.noted(error))?;
        // Whatever is older was dropped before.
        let is_done = answer.revision == 0 && !request.dry_run;
        let floor = if is_done { before.floor } else { kept_after.max(before.floor) };
        let store = self.0.store.clone();
        let (events, bytes, oldest) = blocking(move || {
            let (events, bytes, _) = store.read(|c| log::lag(c, before.floor, floor))?;
            Ok((events, bytes, store.token_at(floor)?))
        })
        .await?;
        Ok(Response::new(TrimLogResponse {
            revisions: floor - before.floor,
            events,
            bytes,
            oldest_token: oldest.encode(),
            revision: answer.revision,
            token: answer.head.token().encode(),
        }))
    }
}

impl Log {
    /// The revision after which everything is kept.
    async fn kept_after(&self, keep: Option<Keep>, wait: Option<Duration>) -> Result<u64> {
        let required = |field: &str, why: &str| Err(Error::field(Reason::FieldInvalid, field, why));
        match keep {
            None => required("keep", "one of after_token, since and from_revision is required"),
            Some(Keep::FromRevision(0)) => required("from_revision", "is 0; revisions begin with 1"),
            Some(Keep::FromRevision(revision)) => Ok(revision - 1),
            Some(Keep::Since(time)) => dropped_already(self.0.before(&time, "since").await),
            Some(Keep::AfterToken(text)) => {
                let token = match self.0.reach(&text, "after_token", wait).await {
                    Err(error) => return dropped_already(Err(error)),
                    Ok(token) => token,
                };
                match token.phase {
                    Phase::Whole => Ok(token.revision),
                    _ => required(
                        "after_token",
                        "stands in the middle of something; only a whole revision is the oldest",
                    ),
                }
            }
        }
    }
}

/// What is older than the oldest position asks for nothing more to be dropped.
fn dropped_already(kept_after: Result<u64>) -> Result<u64> {
    match kept_after {
        Err(error) if error.reason == Reason::HistoryTrimmed => Ok(0),
        other => other,
    }
}
