//! Watches every call from outermost, so that refusals are seen too: makes the call's context, counts, times, traces, logs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::deadline::parse_timeout;
use crate::domain::time::Clock;
use crate::gateway::context::{CallContext, CallId};
use crate::gateway::observer::{CallObserver, CallSpan, FinishedCall};
use crate::gateway::refusal::Refusal;
use crate::gateway::routes::method_of;
use crate::identity::Connection;
use crate::verification::ports::Deadline;

/// Tells a traced caller its part of the trace (W3C Trace Context Level 2, `traceresponse`).
const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// What the outermost layer needs.
pub(in crate::gateway) struct ObserveOptions {
    /// Tells the time.
    pub(in crate::gateway) clock: Arc<dyn Clock>,
    /// Hears of every call.
    pub(in crate::gateway) observer: Arc<dyn CallObserver>,
    /// The longest a call may take.
    pub(in crate::gateway) call_max: Duration,
}

/// Puts the context into every call, and reports its end.
#[derive(Clone)]
pub(in crate::gateway) struct ObserveLayer(Arc<ObserveOptions>);

impl ObserveLayer {
    /// Builds the layer.
    pub(in crate::gateway) fn new(options: ObserveOptions) -> Self {
        Self(Arc::new(options))
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observed { options: Arc::clone(&self.0), inner }
    }
}

/// An observed service.
#[derive(Clone)]
pub(in crate::gateway) struct Observed<S> {
    options: Arc<ObserveOptions>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ObservedFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let end = self.options.begin(&mut request);
        ObservedFuture { inner: self.inner.call(request), end }
    }
}

impl ObserveOptions {
    /// Makes the context; `None` when the connection is missing, which only a test's inner service can cause.
    fn begin<B>(self: &Arc<Self>, request: &mut Request<B>) -> Option<End> {
        let connection = request.extensions_mut().remove::<Connection>()?;
        let arrived = self.clock.since_boot();
        let call = Arc::new(CallContext {
            id: CallId(rand::random()),
            method: method_of(request.uri().path()),
            connection,
            arrived,
            deadline: self.deadline(arrived, request.headers()),
            contract: OnceLock::new(),
            purpose: OnceLock::new(),
            decision: OnceLock::new(),
            refusal: OnceLock::new(),
        });
        let parent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let span = self.observer.started(call.method, parent);
        request.extensions_mut().insert(Arc::clone(&call));
        Some(End { options: Arc::clone(self), call, span, completed: false })
    }

    fn deadline(&self, arrived: Duration, headers: &HeaderMap) -> Option<Deadline> {
        let asked = match headers.get("grpc-timeout") {
            None => self.call_max,
            Some(text) => parse_timeout(text.to_str().ok()?).ok()?,
        };
        Some(Deadline { since_boot: arrived + asked.min(self.call_max) })
    }
}

pin_project! {
    /// An observed call.
    pub(in crate::gateway) struct ObservedFuture<F> {
        #[pin]
        inner: F,
        end: Option<End>,
    }
}

impl<F, R, E> Future for ObservedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut output = this.inner.poll(task);
        if let Poll::Ready(outcome) = &mut output
            && let Some(mut end) = this.end.take()
        {
            end.completed = true;
            if let (Ok(response), Some(span)) = (outcome, &end.span)
                && let Ok(part) = HeaderValue::try_from(span.traceresponse())
            {
                response.headers_mut().insert(TRACERESPONSE, part);
            }
        }
        output
    }
}

/// Reports the end of a call when dropped: also of one whose caller went away.
struct End {
    options: Arc<ObserveOptions>,
    call: Arc<CallContext>,
    span: Option<Box<dyn CallSpan>>,
    completed: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        let elapsed = self.options.clock.since_boot().saturating_sub(self.call.arrived);
        let refusal = self.call.refusal.get();
        let finished = FinishedCall {
            id: self.call.id.0,
            method: self.call.method,
            partner: self.call.contract.get().map(|contract| &contract.partner),
            purpose: self.call.purpose.get().copied(),
            decision: self.call.decision.get().copied(),
            code: refusal.map(|refusal| refusal.row().0),
            reason: refusal.map(|refusal| refusal.reason_word()),
            limit: refusal.and_then(Refusal::limit),
            completed: self.completed,
            elapsed,
        };
        self.options.observer.finished(&finished, self.span.take());
    }
}
