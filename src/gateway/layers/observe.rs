//! Watches every call from outermost, so that refusals are seen too: makes the call's context, counts, times, traces, logs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tower::{Layer, Service};

use super::deadline::parse_timeout;
use super::hand_over::Fresh;
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

impl<S, B> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
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
            leaving: OnceLock::new(),
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

impl<F, E> Future for ObservedFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut output = this.inner.poll(task);
        if let Poll::Ready(outcome) = &mut output
            && let Some(mut end) = this.end.take()
        {
            end.completed = true;
            if let Ok(response) = outcome {
                end.hold_to_its_age(response);
            }
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

impl End {
    /// Has an answer leave while it is fresh, or not at all. One that does not is told of when that is known, as a stream's end is: the
    /// call itself has ended by then.
    fn hold_to_its_age(&self, response: &mut Response<Body>) {
        let Some(leaves_by) = self.call.leaving.get().map(|leaving| leaving.by) else { return };
        let (options, call) = (Arc::clone(&self.options), Arc::clone(&self.call));
        let too_old = Box::new(move || {
            if let Some(held_back) = call.leaving.get().and_then(|leaving| leaving.held_back.as_ref()) {
                held_back();
            }
            let refusal = Refusal::FreshnessUnavailable;
            options.observer.stream_ended(&finished(&options, &call, Some(&refusal), true));
            refusal.status(&call.id.to_string())
        });
        let message = std::mem::take(response.body_mut());
        *response.body_mut() = Fresh::body(message, leaves_by, Arc::clone(&self.options.clock), too_old);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let finished = finished(&self.options, &self.call, self.call.refusal.get(), self.completed);
        self.options.observer.finished(&finished, self.span.take());
    }
}

/// Says how a call ended.
fn finished<'a>(
    options: &ObserveOptions,
    call: &'a CallContext,
    refusal: Option<&Refusal>,
    completed: bool,
) -> FinishedCall<'a> {
    FinishedCall {
        id: call.id.0,
        method: call.method,
        partner: call.contract.get().map(|contract| &contract.partner),
        purpose: call.purpose.get().copied(),
        decision: call.decision.get().copied(),
        code: refusal.map(|refusal| refusal.row().0),
        reason: refusal.map(|refusal| refusal.reason_word()),
        limit: refusal.and_then(Refusal::limit),
        completed,
        elapsed: options.clock.since_boot().saturating_sub(call.arrived),
    }
}
