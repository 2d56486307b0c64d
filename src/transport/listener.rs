//! The accept loop: our own, because a drain has to end even for a connection that never spoke (see ARCHITECTURE).

use std::{sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::request;
use crate::{
    limits::{
        CONNECTION_WINDOW_BYTES, HANDSHAKE_TIMEOUT, MAX_CONNECTIONS, MAX_STREAMS_PER_CONNECTION, STREAM_WINDOW_BYTES,
    },
    tasks::Tasks,
};

/// The first pause after a failed accept.
const MIN_BACK_OFF: Duration = Duration::from_millis(5);
/// The longest pause after failed accepts.
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// How often a quiet connection is asked whether it still lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Accepts connections until told to drain; each then ends in good order, or with `abort` at once.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    tasks: Tasks,
    drain: CancellationToken,
    abort: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut back_off = MIN_BACK_OFF;
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Some((stream, place)) => {
                back_off = MIN_BACK_OFF;
                let serving = connection(stream, routes.clone(), drain.clone());
                let abort = abort.clone();
                tasks.spawn("connection", async move {
                    tokio::select! {
                        () = serving => {}
                        () = abort.cancelled() => {}
                    }
                    drop(place);
                });
            }
            None => {
                // Out of descriptors, most likely: a pause, or the loop would spin.
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(MAX_BACK_OFF);
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            None
        }
    }
}

async fn connection(stream: TcpStream, routes: Routes, drain: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay");
    }
    let mut first = [0; 1];
    let spoke = tokio::time::timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut first));
    match tokio::select! { spoke = spoke => spoke, () = drain.cancelled() => return } {
        Ok(Ok(1..)) => {}
        _ => return,
    }
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION);
    let service = tower::service_fn(move |request| request::handle(routes.clone(), request));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended abnormally");
    }
}
