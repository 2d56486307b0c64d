//! `LogService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::App;
use crate::{
    clock,
    domain::{
        date,
        token::{GENESIS, Token},
    },
    journal::Durable,
    limits,
    pb::v1::{Durability, GetLogInfoRequest, GetLogInfoResponse, Limit, log_service_server::LogService},
    store::Sync,
};

pub(super) struct Log(pub Arc<App>);

#[tonic::async_trait]
impl LogService for Log {
    async fn get_log_info(&self, _: Request<GetLogInfoRequest>) -> Result<Response<GetLogInfoResponse>, Status> {
        let head = self.0.store.head();
        let durability = match (self.0.journal.durable(), self.0.store.sync()) {
            // The store is a copy of the journal's beginning: what it loses is read there again.
            (Some(Durable::Synced), _) | (None, Sync::Full) => Durability::Synced,
            (Some(Durable::Copied), _) => Durability::Copied,
            (Some(Durable::Unknown), _) => Durability::Unspecified,
            (None, Sync::Off) => Durability::Unsynced,
        };
        let watches = ("watches", self.0.hub.settings().max_watches);
        let limit = |(name, value): &(&str, usize)| Limit {
            name: (*name).to_owned(),
            value: i64::try_from(*value).unwrap_or(i64::MAX),
        };
        Ok(Response::new(GetLogInfoResponse {
            epoch: head.epoch.to_string(),
            token: head.token().encode(),
            oldest_token: Token::at(head.epoch, 0, &GENESIS).encode(),
            revision: head.revision,
            recorded_at: (head.revision > 0).then(|| clock::timestamp(head.recorded_at_us)),
            durability: durability.into(),
            limits: limits::TOLD.iter().chain([&watches]).map(limit).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            day: head.day.map(date::show).unwrap_or_default(),
            replaying: head.replaying,
        }))
    }
}
