//! Serves connections of the operator's side: capped, timed, and drained when told to stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections served at once: an operator, a scraper, a balancer's probes.
const CONNECTIONS_MAX: usize = 64;

/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Streams of one HTTP/2 connection: reflection needs one.
const STREAMS_MAX: u32 = 16;

/// How long connections may take to finish once told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait after an accept that failed (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which protocols a listener speaks, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    /// HTTP/1 and HTTP/2 by prior knowledge; a connection is closed after so long, silent ones too.
    AnyVersion {
        /// The longest life of a connection.
        age_max: Duration,
    },
    /// HTTP/1 alone; a request may last.
    OneAtATime,
}

/// Accepts and serves until told to stop, then waits for the connections a little.
pub(super) async fn serve<S, F>(
    mut accept: impl FnMut() -> F,
    router: Router,
    manners: Manners,
    stop: CancellationToken,
) where
    F: Future<Output = io::Result<S>>,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept() => accepted,
        };
        match (place, accepted) {
            (Ok(place), Ok(stream)) => {
                let connection = serve_one(stream, router.clone(), manners, stop.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            (Err(_), _) => break,
            (_, Err(error)) => {
                tracing::warn!(%error, "cannot accept a connection of the operator's side");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    tokio::time::timeout(DRAIN_TIMEOUT, places.acquire_many(all)).await.map(drop).unwrap_or_default();
}

/// Serves one connection. What goes wrong on it is its peer's business.
async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    router: Router,
    manners: Manners,
    stop: CancellationToken,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .http2()
        .max_concurrent_streams(STREAMS_MAX)
        .max_local_error_reset_streams(Some(100))
        .max_header_list_size(8 * 1024);
    let (builder, age_max) = match manners {
        Manners::AnyVersion { age_max } => (builder, age_max),
        Manners::OneAtATime => (builder.http1_only(), Duration::MAX),
    };
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(age_max) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::time::timeout(DRAIN_TIMEOUT, connection).await.map(drop).unwrap_or_default();
}
