//! Catches a panic of anything below and turns it into INTERNAL: one call fails, the connection and the process live on.
//! A panic is a bug of ours: the panic hook writes it to standard error, and the call is counted as `failed`, which should
//! always be zero.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::gateway::refusal::Refusal;

/// Guards a service against panics.
#[derive(Clone, Copy)]
pub(in crate::gateway) struct GuardLayer;

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { inner }
    }
}

/// A guarded service.
#[derive(Clone)]
pub(in crate::gateway) struct Guarded<S> {
    inner: S,
}

impl<S, Q> Service<Q> for Guarded<S>
where
    S: Service<Q, Error = Refusal>,
{
    type Response = S::Response;
    type Error = Refusal;
    type Future = GuardedFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Q) -> Self::Future {
        // The inner service keeps nothing a panic could leave half-written: gates hold counters freed on drop.
        let inner = catch_unwind(AssertUnwindSafe(|| self.inner.call(request))).ok();
        GuardedFuture { inner }
    }
}

pin_project! {
    /// A guarded call; `None` when the call itself panicked.
    pub(in crate::gateway) struct GuardedFuture<F> {
        #[pin]
        inner: Option<F>,
    }
}

impl<F, R> Future for GuardedFuture<F>
where
    F: Future<Output = Result<R, Refusal>>,
{
    type Output = Result<R, Refusal>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = match this.inner.as_mut().as_pin_mut() {
            None => return Poll::Ready(Err(Refusal::Internal)),
            Some(inner) => catch_unwind(AssertUnwindSafe(|| inner.poll(task))),
        };
        polled.unwrap_or_else(|_panic| {
            this.inner.set(None);
            Poll::Ready(Err(Refusal::Internal))
        })
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_in_call_or_poll_is_an_internal_error() {
        let in_poll = tower::service_fn(|(): ()| async { panic!("in poll") as Result<(), Refusal> });
        let refused = GuardLayer.layer(in_poll).oneshot(()).await;
        assert!(matches!(refused, Err(Refusal::Internal)));

        fn panics_at_once((): ()) -> std::future::Ready<Result<(), Refusal>> {
            panic!("in call")
        }
        let refused = GuardLayer.layer(tower::service_fn(panics_at_once)).oneshot(()).await;
        assert!(matches!(refused, Err(Refusal::Internal)));
    }
}
