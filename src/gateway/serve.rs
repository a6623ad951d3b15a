//! Serves one core's connections: HTTP/2 with every bound set, an age with jitter, a drain with a deadline.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tower::Service;

use super::farewells::Farewells;
use super::observer::CallObserver;
use super::routes::is_stream;
use crate::identity::{Connection, CoreIncoming, PartnerStream};

/// The bounds of a connection. Defaults with their reasons in [`ServeOptions::default`].
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Calls open at once on one connection.
    pub streams_max: u32,
    /// Bytes of all headers of one call.
    pub header_list_bytes_max: u32,
    /// Resets by the peer before a stream was accepted (CVE-2023-44487).
    pub pending_resets_max: usize,
    /// Resets our own errors caused (CVE-2025-8671).
    pub local_resets_max: usize,
    /// A ping after so much silence.
    pub keepalive_interval: Duration,
    /// The connection is dead when the ping stays unanswered so long.
    pub keepalive_timeout: Duration,
    /// A connection is asked to go away at this age, give or take a tenth.
    pub age_max: Duration,
    /// A connection on which nothing was ever called is closed after this.
    pub first_call_within: Duration,
    /// A connection on which nothing was called for so long is closed.
    pub idle_max: Duration,
    /// How long open calls may take once the connection was asked to go away.
    pub grace: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            // 8 connections of one partner fill a core; more streams only lengthen its queue.
            streams_max: 128,
            // A call's headers take 300 bytes; a trace context and a long deadline fit many times.
            header_list_bytes_max: 8 * 1024,
            pending_resets_max: 20,
            local_resets_max: 100,
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            // Certificates live days, replicas come and go: half an hour spreads partners anew without being felt.
            age_max: Duration::from_secs(30 * 60),
            first_call_within: Duration::from_secs(60),
            idle_max: Duration::from_secs(15 * 60),
            grace: Duration::from_secs(10),
        }
    }
}

/// How long a connection without open calls may take to say goodbye: several round trips.
const FAREWELL: Duration = Duration::from_millis(250);

/// What ends connections from outside.
pub(super) struct Ends {
    /// The gateway stops: nothing new, and open calls finish.
    pub(super) drain: CancellationToken,
    /// Open connections are asked to go; new ones are let in.
    pub(super) farewells: Arc<Farewells>,
}

/// A service that answers every request of a connection.
pub(super) trait Answers:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// Serves connections until they are drained, then lets open calls finish within the grace.
pub(super) async fn serve_core(
    mut incoming: CoreIncoming,
    stack: impl Answers,
    options: ServeOptions,
    observer: Arc<dyn CallObserver>,
    ends: Ends,
) {
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            stream = incoming.next() => stream,
            () = ends.drain.cancelled() => None,
        };
        let Some(stream) = stream else { break };
        let Ok(stream) = stream else { continue };
        let connected = Connected::new(&observer);
        let asked_to_go = ends.farewells.listen();
        let served = serve_connection(stream, stack.clone(), options, ends.drain.clone(), asked_to_go);
        connections.spawn(async move {
            let _connected = connected;
            served.await;
        });
    }
    connections.close();
    let _in_time = tokio::time::timeout(options.grace + Duration::from_secs(1), connections.wait()).await;
}

async fn serve_connection(
    stream: PartnerStream,
    stack: impl Answers,
    options: ServeOptions,
    drain: CancellationToken,
    asked_to_go: CancellationToken,
) {
    let connection = stream.connection().clone();
    let jitter =
        options.age_max.mul_f64(f64::from(u8::try_from(connection.id() % 200).unwrap_or(0)) / 1_000.0);
    let calls = Arc::new(Calls::default());
    let farewell = CancellationToken::new();
    let line = Line { calls: Arc::clone(&calls), farewell: farewell.clone() };
    let service = ConnectionService { stack, connection, line };
    let mut http = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(options.streams_max)
            .max_header_list_size(options.header_list_bytes_max)
            .max_pending_accept_reset_streams(options.pending_resets_max)
            .max_local_error_reset_streams(options.local_resets_max)
            .keep_alive_interval(options.keepalive_interval)
            .keep_alive_timeout(options.keepalive_timeout)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service)
    );
    let opened = Instant::now();
    let oldest = opened + options.age_max - options.age_max / 10 + jitter;
    let mut look_again = opened + options.first_call_within;
    let mut counted = 0;
    loop {
        tokio::select! {
            _closed = http.as_mut() => return,
            () = drain.cancelled() => break,
            () = asked_to_go.cancelled() => break,
            () = sleep_until(oldest) => break,
            () = sleep_until(look_again) => {
                let begun = calls.begun.load(Ordering::Relaxed);
                if begun == counted && calls.open() == 0 { break }
                counted = begun;
                look_again += options.idle_max;
            }
        }
    }
    http.as_mut().graceful_shutdown();
    farewell.cancel();
    let last = Instant::now() + options.grace;
    while Instant::now() < last {
        tokio::select! {
            _closed = http.as_mut() => return,
            () = tokio::time::sleep(FAREWELL) => {}
        }
        // Nothing is being served, and what was has had time to leave: a peer that does not say goodbye is not waited for.
        if calls.open() == 0 {
            return;
        }
    }
}

/// A connection that counts as open until its serving ends, however it ends.
struct Connected(Arc<dyn CallObserver>);

impl Connected {
    fn new(observer: &Arc<dyn CallObserver>) -> Self {
        observer.connected();
        Self(Arc::clone(observer))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}

/// Calls on one connection.
#[derive(Default)]
struct Calls {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Calls {
    fn open(&self) -> u64 {
        self.begun.load(Ordering::Relaxed).saturating_sub(self.ended.load(Ordering::Relaxed))
    }
}

/// A connection as a stream sees it: it counts as in use while the stream is open, and says when it is about to end.
#[derive(Clone)]
pub(super) struct Line {
    calls: Arc<Calls>,
    farewell: CancellationToken,
}

impl Line {
    /// Keeps the connection in use until what is returned is dropped.
    pub(super) fn hold(&self) -> impl Send + Sync + use<> {
        self.calls.begun.fetch_add(1, Ordering::Relaxed);
        Ended(Arc::clone(&self.calls))
    }

    /// Is cancelled when the connection was asked to go away: streams acknowledge what they have read, and end.
    pub(super) fn farewell(&self) -> &CancellationToken {
        &self.farewell
    }
}

/// The stack, knowing which connection a call came on.
struct ConnectionService<S> {
    stack: S,
    connection: Connection,
    line: Line,
}

impl<S: Answers> hyper::service::Service<Request<Incoming>> for ConnectionService<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = OpenCall<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.line.calls.begun.fetch_add(1, Ordering::Relaxed);
        request.extensions_mut().insert(self.connection.clone());
        let _ended = Ended(Arc::clone(&self.line.calls));
        if is_stream(request.uri().path()) {
            request.extensions_mut().insert(self.line.clone());
        }
        // The stack's layers refuse instead of waiting: ready at any time.
        OpenCall { inner: self.stack.clone().call(request), _ended }
    }
}

pin_project! {
    /// A call that counts as open until it ends, however it ends.
    struct OpenCall<F> {
        #[pin]
        inner: F,
        _ended: Ended,
    }
}

impl<F: Future> Future for OpenCall<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        self.project().inner.poll(task)
    }
}

struct Ended(Arc<Calls>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
