//! The admin port: numbers, liveness, readiness, and what is logged. It listens on loopback unless told otherwise, speaks
//! HTTP/1, and changes nothing but the log's filter, which it does for who comes from loopback alone.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    journal::Durable,
    limits::{MAX_LOG_FILTER_BYTES, NUMBERS_PATIENCE},
    store::snapshot,
    tasks::{blocking, looking},
    telemetry,
    transport::{App, Health, Tls},
};

/// What it tells of.
pub struct Admin {
    /// The server's parts.
    pub app: Arc<App>,
    /// What it says it can do.
    pub health: Health,
    /// How connections are greeted; `None` is in plain text.
    pub tls: Option<Arc<Tls>>,
}

/// Answers until it is stopped.
pub async fn serve(admin: Admin, listener: TcpListener, stop: CancellationToken) {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/live", get(|| async { "alive\n" }))
        .route("/ready", get(ready))
        .route("/log", get(|| async { format!("{}\n", telemetry::filter()) }).put(set_log))
        .layer(DefaultBodyLimit::max(MAX_LOG_FILTER_BYTES))
        .with_state(Arc::new(admin));
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = served.await {
        tracing::warn!(%error, "the admin port ended abnormally");
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    admin.look().await;
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], admin.app.metrics.shown())
}

/// 200 while lookups and watches are served; the body says of filings too.
async fn ready(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let (reads, filings) = admin.health.told();
    let word = |yes: bool| if yes { "ready" } else { "not ready" };
    let status = if reads { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("reads: {}\nfilings: {}\n", word(reads), word(filings)))
}

async fn set_log(ConnectInfo(peer): ConnectInfo<SocketAddr>, body: Bytes) -> (StatusCode, String) {
    // (A port of IPv6 may take IPv4 too, and says so in the address.)
    if !peer.ip().to_canonical().is_loopback() {
        let why = "the filter of the log is changed from loopback alone, 127.0.0.1 or [::1]\n";
        return (StatusCode::FORBIDDEN, why.to_owned());
    }
    let Ok(filter) = std::str::from_utf8(&body) else {
        return (StatusCode::BAD_REQUEST, "the filter is no text\n".to_owned());
    };
    // It would be taken, and hide every error.
    if filter.trim().is_empty() {
        return (StatusCode::BAD_REQUEST, "the filter is empty; say off to log nothing\n".to_owned());
    }
    match telemetry::change(filter.trim(), peer) {
        Ok(()) => (StatusCode::OK, format!("{}\n", telemetry::filter())),
        Err(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")),
    }
}

impl Admin {
    /// Asks the parts what they know of themselves.
    async fn look(&self) {
        self.measure().await;
        self.read().await;
        let (head, levels) = (self.app.store.head(), &self.app.metrics.levels);
        let (revisions, bytes) = self.app.hub.ring();
        let lag = match self.app.journal.durable() {
            None => 0,
            Some(Durable::Unknown) => -1,
            Some(_) => self.app.journal_lag().map_or(-1, large),
        };
        let sized = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        let cached = self.app.store.cached();
        for (level, now) in [
            (&levels.revision, large(head.revision)),
            (&levels.floor, large(head.floor)),
            (&levels.position, large(head.position)),
            (&levels.journal_lag, lag),
            (&levels.day, head.day.map_or(-1, i64::from)),
            (&levels.recorded_ahead, large(head.ahead_of(self.app.clock.now_us()).as_secs())),
            (&levels.filing, i64::from(self.health.told().1)),
            (&levels.watches, sized(self.app.hub.subscribers())),
            (&levels.watch_lag, large(self.app.hub.furthest_behind())),
            (&levels.ring_revisions, sized(revisions)),
            (&levels.ring_bytes, sized(bytes)),
            (&levels.records_bytes, large(cached.records)),
            (&levels.term_sets_bytes, large(cached.term_sets)),
            (&levels.sounds_bytes, large(cached.sounds)),
        ] {
            level.set(now);
        }
        #[allow(clippy::cast_precision_loss, reason = "microseconds of this era fit")]
        levels.recorded_at.set(head.recorded_at_us as f64 / 1e6);
        if let Some(tls) = &self.tls {
            levels.certificate_ends.set(tls.ends_at_us().div_euclid(1_000_000));
        }
    }

    /// How large the store's files are.
    async fn measure(&self) {
        let folder = self.app.store.folder().to_owned();
        let levels = &self.app.metrics.levels;
        match looking(move || Ok(snapshot::sizes(&folder))).await {
            Ok((store, wal)) => {
                levels.store_bytes.set(large(store));
                levels.wal_bytes.set(large(wal));
            }
            Err(error) => tracing::warn!(%error, "the store's files could not be measured"),
        }
    }

    /// What the store has to be read for. Lists that take long may have all places for reads: then it is as it was last.
    async fn read(&self) {
        let app = Arc::clone(&self.app);
        let read = blocking(move || {
            let (used, deadlines) = (app.store.used_bytes(), app.deadlines());
            for error in [used.as_ref().err(), deadlines.as_ref().err()].into_iter().flatten() {
                tracing::warn!(%error, "some of the numbers could not be read");
            }
            Ok((used.ok(), deadlines.ok()))
        });
        let Ok(read) = tokio::time::timeout(NUMBERS_PATIENCE, read).await else {
            tracing::debug!("some of the numbers are as they were last: the store was not read in time");
            return;
        };
        let (used, deadlines) = read.unwrap_or_default();
        let levels = &self.app.metrics.levels;
        if let Some(used) = used {
            levels.store_used.set(large(used));
        }
        if let Some((overdue, next)) = deadlines {
            levels.deadlines_overdue.set(large(overdue));
            levels.next_deadline_day.set(next.map_or(-1, i64::from));
        }
    }
}

fn large(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_filter_of_the_log_is_changed_from_loopback_alone_and_others_are_told_so() {
        let asked_by = async |peer: &str| set_log(ConnectInfo(peer.parse().unwrap()), Bytes::new()).await;
        // Its own address too, if it is another: it is not known to be that.
        for peer in ["192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1"] {
            let (status, why) = asked_by(peer).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{peer}");
            assert!(why.contains("from loopback alone"), "{why}");
        }
        for peer in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let (status, why) = asked_by(peer).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{peer}");
            assert!(why.contains("is empty"), "{why}");
        }
    }
}
