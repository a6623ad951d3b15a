//! The innermost service: to the method's handler, or METHOD_NOT_KNOWN.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::Service;

use super::handlers::Handlers;
use super::proto::verification_service_server::VerificationServiceServer;
use super::refusal::Refusal;
use crate::telemetry::labels::Method;

const VERIFICATION: &str = "/drivegate.v1.VerificationService/";
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Tells a method by its path.
pub(super) fn method_of(path: &str) -> Method {
    match path {
        "/drivegate.v1.VerificationService/Verify" => Method::Verify,
        "/drivegate.v1.VerificationService/GetLimits" => Method::GetLimits,
        "/drivegate.v1.VerificationService/DescribeContract" => Method::DescribeContract,
        path if path.starts_with(HEALTH) => Method::Health,
        _ => Method::Other,
    }
}

/// The services of the partner listener. Reflection is not among them.
pub(super) struct Routes<H> {
    verification: VerificationServiceServer<Handlers>,
    health: HealthServer<H>,
}

impl<H> Routes<H> {
    /// Builds the routes; messages above `message_bytes_max` are refused.
    pub(super) fn new(handlers: Handlers, health: HealthServer<H>, message_bytes_max: usize) -> Self {
        let verification =
            VerificationServiceServer::new(handlers).max_decoding_message_size(message_bytes_max);
        Self { verification, health }
    }
}

impl<H> Clone for Routes<H> {
    fn clone(&self) -> Self {
        Self { verification: self.verification.clone(), health: self.health.clone() }
    }
}

type Served = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<H: Health> Service<Request<Incoming>> for Routes<H> {
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = RoutedFuture;

    fn poll_ready(&mut self, _task: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> RoutedFuture {
        let path = request.uri().path();
        if path.starts_with(VERIFICATION) {
            RoutedFuture { served: Some(self.verification.call(request)) }
        } else if path.starts_with(HEALTH) {
            RoutedFuture { served: Some(self.health.call(request)) }
        } else {
            RoutedFuture { served: None }
        }
    }
}

pin_project! {
    /// A call on its way; `None`: there is no such service.
    pub(super) struct RoutedFuture {
        served: Option<Served>,
    }
}

impl Future for RoutedFuture {
    type Output = Result<Response<Body>, Refusal>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().served {
            None => Poll::Ready(Err(Refusal::MethodNotKnown)),
            Some(served) => served.as_mut().poll(task).map(|served| match served {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            }),
        }
    }
}
