//! Turns refusals and errors into the status that leaves, and puts refusals on record.
//!
//! Statuses that the gRPC library makes on its own (a message that does not decode, is too large or compressed, an unknown
//! method) carry no details: they are replaced by the contract's own, so that every refusal reads alike.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::context_of;
use crate::admission::{RefusalLog, RefusalNote};
use crate::domain::partner::Standing;
use crate::gateway::context::CallContext;
use crate::gateway::convert::FieldFault;
use crate::gateway::refusal::Refusal;
use crate::telemetry::labels::Method;

/// Makes statuses of a service's refusals.
#[derive(Clone)]
pub(in crate::gateway) struct StatusLayer {
    log: Arc<dyn RefusalLog>,
}

impl StatusLayer {
    /// Builds the layer.
    pub(in crate::gateway) fn new(log: Arc<dyn RefusalLog>) -> Self {
        Self { log }
    }
}

impl<S> Layer<S> for StatusLayer {
    type Service = WithStatus<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithStatus { log: Arc::clone(&self.log), inner }
    }
}

/// A service whose refusals leave as statuses.
#[derive(Clone)]
pub(in crate::gateway) struct WithStatus<S> {
    log: Arc<dyn RefusalLog>,
    inner: S,
}

impl<S, B> Service<Request<B>> for WithStatus<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Refusal>,
{
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = StatusFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The stack's gates refuse instead of waiting: a service below is always ready.
        self.inner.poll_ready(task).map(|_ready| Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = context_of(&request).cloned();
        StatusFuture { inner: self.inner.call(request), call, log: Arc::clone(&self.log) }
    }
}

pin_project! {
    /// A call whose refusal leaves as a status.
    pub(in crate::gateway) struct StatusFuture<F> {
        #[pin]
        inner: F,
        call: Option<Arc<CallContext>>,
        log: Arc<dyn RefusalLog>,
    }
}

impl<F> Future for StatusFuture<F>
where
    F: Future<Output = Result<Response<Body>, Refusal>>,
{
    type Output = Result<Response<Body>, std::convert::Infallible>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Poll::Ready(outcome) = this.inner.poll(task) else { return Poll::Pending };
        let Some(call) = this.call.as_ref() else {
            return Poll::Ready(Ok(Refusal::Internal.status("").into_http()));
        };
        let refusal = match outcome {
            Err(refusal) => refusal,
            // A status of the library's own, or a handler's, travels in the headers; an answer's comes behind it.
            Ok(response) if !response.headers().contains_key(Status::GRPC_STATUS) => {
                return Poll::Ready(Ok(response));
            }
            // Health answers by its own contract: NOT_FOUND is one of its answers.
            Ok(response) if call.method == Method::Health => return Poll::Ready(Ok(response)),
            Ok(response) => call.refusal.get().cloned().unwrap_or_else(|| refusal_behind(&response)),
        };
        note(this.log.as_ref(), call, &refusal);
        let response = refusal.status(&call.id.to_string()).into_http();
        let _first_wins = call.refusal.set(refusal);
        Poll::Ready(Ok(response))
    }
}

/// Says what the gRPC library meant by a status of its own.
fn refusal_behind(response: &Response<Body>) -> Refusal {
    let code = Status::from_header_map(response.headers()).map_or(Code::Unknown, |status| status.code());
    match code {
        Code::OutOfRange | Code::ResourceExhausted => Refusal::TooLarge,
        Code::Unimplemented if response.headers().contains_key("grpc-accept-encoding") => Refusal::Compressed,
        Code::Unimplemented => Refusal::MethodNotKnown,
        Code::DeadlineExceeded => Refusal::DeadlineExceeded,
        _ => Refusal::Malformed(vec![FieldFault {
            path: "",
            rule: "must be one well-formed message of the method's request type".to_owned(),
        }]),
    }
}

/// Puts a refusal on record, if the caller is a partner. Errors are no refusals: they are ours, and metrics count them.
pub(in crate::gateway) fn note(log: &dyn RefusalLog, call: &CallContext, refusal: &Refusal) {
    let is_refusal = match refusal {
        Refusal::Standing(Standing::NotKnown) => false,
        Refusal::Standing(_)
        | Refusal::NotAuthorised(_)
        | Refusal::Malformed(_)
        | Refusal::MethodNotPermitted
        | Refusal::TooLarge
        | Refusal::StreamMessageTooLarge
        | Refusal::Compressed
        | Refusal::MethodNotKnown
        | Refusal::EntryNotFound
        | Refusal::Limit(..)
        | Refusal::IdempotencyConflict
        | Refusal::Shown(_)
        | Refusal::GuessesExceeded { .. }
        | Refusal::ConsentWithdrawn
        | Refusal::RequestIdSpent(_)
        | Refusal::ScannerNotAccepted
        | Refusal::Wallet(_)
        | Refusal::SubjectsSpent { .. }
        | Refusal::Variation { .. } => true,
        Refusal::Overloaded
        | Refusal::Draining
        | Refusal::DeadlineExceeded
        | Refusal::RegistryUnavailable
        | Refusal::EvidenceUnavailable
        | Refusal::LogUnavailable
        | Refusal::FreshnessUnavailable
        | Refusal::Internal => false,
    };
    if let Some(contract) = call.contract.get().filter(|_| is_refusal) {
        let purpose = call.purpose.get().copied();
        log.note(RefusalNote { partner: &contract.partner, reason: refusal.reason_word(), purpose });
    }
}
