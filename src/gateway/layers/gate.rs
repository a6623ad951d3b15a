//! A gate: a check that needs neither time nor the message. What it takes (a place, a permit) is freed when the call ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::context_of;
use crate::gateway::context::CallContext;
use crate::gateway::refusal::Refusal;

/// Lets a call pass, or refuses it.
pub(in crate::gateway) trait Gate: Send + Sync + 'static {
    /// What a call holds while it is served.
    type Pass: Send;

    /// Checks a call.
    fn pass(&self, call: &CallContext) -> Result<Self::Pass, Refusal>;
}

/// Puts a gate before a service.
pub(in crate::gateway) struct GateLayer<G>(Arc<G>);

impl<G> GateLayer<G> {
    /// Wraps a gate.
    pub(in crate::gateway) fn new(gate: G) -> Self {
        Self(Arc::new(gate))
    }
}

impl<G, S> Layer<S> for GateLayer<G> {
    type Service = Gated<G, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated { gate: Arc::clone(&self.0), inner }
    }
}

/// A service behind a gate.
pub(in crate::gateway) struct Gated<G, S> {
    gate: Arc<G>,
    inner: S,
}

impl<G, S: Clone> Clone for Gated<G, S> {
    fn clone(&self) -> Self {
        Self { gate: Arc::clone(&self.gate), inner: self.inner.clone() }
    }
}

impl<G, S, B> Service<Request<B>> for Gated<G, S>
where
    G: Gate,
    S: Service<Request<B>, Error = Refusal>,
{
    type Response = S::Response;
    type Error = Refusal;
    type Future = GatedFuture<S::Future, G::Pass>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let passed = match context_of(&request) {
            Some(call) => self.gate.pass(call),
            None => Err(Refusal::Internal),
        };
        match passed {
            Ok(pass) => GatedFuture::Passed { inner: self.inner.call(request), _pass: pass },
            Err(refusal) => GatedFuture::Refused { refusal: Some(refusal) },
        }
    }
}

pin_project! {
    /// A call that was refused, or is being served while it holds its pass.
    #[project = GatedProjection]
    pub(in crate::gateway) enum GatedFuture<F, P> {
        Refused { refusal: Option<Refusal> },
        Passed { #[pin] inner: F, _pass: P },
    }
}

impl<F, P, R> Future for GatedFuture<F, P>
where
    F: Future<Output = Result<R, Refusal>>,
{
    type Output = Result<R, Refusal>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            GatedProjection::Refused { refusal } => {
                Poll::Ready(Err(refusal.take().unwrap_or(Refusal::Internal)))
            }
            GatedProjection::Passed { inner, .. } => inner.poll(task),
        }
    }
}
