//! Gives every call a deadline: the caller's, at most the server's own. Past it the work is dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower::{Layer, Service};

use super::context_of;
use crate::domain::time::Clock;
use crate::gateway::convert::FieldFault;
use crate::gateway::refusal::Refusal;

/// Puts a deadline on a service.
#[derive(Clone)]
pub(in crate::gateway) struct DeadlineLayer {
    clock: Arc<dyn Clock>,
}

impl DeadlineLayer {
    /// Builds the layer.
    pub(in crate::gateway) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Bounded { clock: Arc::clone(&self.clock), inner }
    }
}

/// A service with a deadline.
#[derive(Clone)]
pub(in crate::gateway) struct Bounded<S> {
    clock: Arc<dyn Clock>,
    inner: S,
}

impl<S, B> Service<Request<B>> for Bounded<S>
where
    S: Service<Request<B>, Error = Refusal>,
{
    type Response = S::Response;
    type Error = Refusal;
    type Future = BoundedFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(call) = context_of(&request) else { return BoundedFuture::refused(Refusal::Internal) };
        let Some(deadline) = call.deadline else {
            let rule = "must be up to 8 digits and a unit H, M, S, m, u or n".to_owned();
            return BoundedFuture::refused(Refusal::Malformed(vec![FieldFault {
                path: "grpc-timeout",
                rule,
            }]));
        };
        match deadline.since_boot.checked_sub(self.clock.since_boot()).filter(|left| !left.is_zero()) {
            None => BoundedFuture::refused(Refusal::DeadlineExceeded),
            Some(left) => {
                BoundedFuture::Running { inner: self.inner.call(request), sleep: tokio::time::sleep(left) }
            }
        }
    }
}

pin_project! {
    /// A call that runs until its deadline.
    #[project = BoundedProjection]
    pub(in crate::gateway) enum BoundedFuture<F> {
        Refused { refusal: Option<Refusal> },
        Running { #[pin] inner: F, #[pin] sleep: Sleep },
    }
}

impl<F> BoundedFuture<F> {
    fn refused(refusal: Refusal) -> Self {
        Self::Refused { refusal: Some(refusal) }
    }
}

impl<F, R> Future for BoundedFuture<F>
where
    F: Future<Output = Result<R, Refusal>>,
{
    type Output = Result<R, Refusal>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            BoundedProjection::Refused { refusal } => {
                Poll::Ready(Err(refusal.take().unwrap_or(Refusal::Internal)))
            }
            BoundedProjection::Running { inner, sleep } => {
                if let Poll::Ready(done) = inner.poll(task) {
                    return Poll::Ready(done);
                }
                sleep.poll(task).map(|()| Err(Refusal::DeadlineExceeded))
            }
        }
    }
}

/// Parses `grpc-timeout` (gRPC over HTTP/2: at most 8 digits and a unit). `Err` when malformed.
pub(in crate::gateway) fn parse_timeout(text: &str) -> Result<Duration, MalformedTimeout> {
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(MalformedTimeout)?;
    let well_formed = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| well_formed).ok_or(MalformedTimeout)?;
    match unit {
        "H" => Ok(Duration::from_secs(count * 3_600)),
        "M" => Ok(Duration::from_secs(count * 60)),
        "S" => Ok(Duration::from_secs(count)),
        "m" => Ok(Duration::from_millis(count)),
        "u" => Ok(Duration::from_micros(count)),
        "n" => Ok(Duration::from_nanos(count)),
        _ => Err(MalformedTimeout),
    }
}

/// A `grpc-timeout` that follows no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct MalformedTimeout;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_up_to_eight_digits_and_a_unit() {
        assert_eq!(parse_timeout("2S"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_timeout("0n"), Ok(Duration::ZERO));
        assert_eq!(parse_timeout("99999999H"), Ok(Duration::from_secs(99_999_999 * 3_600)));
        for malformed in ["", "S", "2", "123456789S", "-1S", "+1S", "1.5S", "2s", "2秒", " 2S"] {
            assert_eq!(parse_timeout(malformed), Err(MalformedTimeout), "{malformed:?}");
        }
    }
}
