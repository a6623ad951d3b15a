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

use super::authority::AuthorityHandlers;
use super::handlers::Handlers;
use super::proto::authority_service_server::AuthorityServiceServer;
use super::proto::presentation_service_server::PresentationServiceServer;
use super::proto::verification_service_server::VerificationServiceServer;
use super::refusal::Refusal;
use super::wallet::WalletHandlers;
use crate::telemetry::labels::Method;

const VERIFICATION: &str = "/drivegate.v1.VerificationService/";
const AUTHORITY: &str = "/drivegate.v1.AuthorityService/";
const PRESENTATION: &str = "/drivegate.v1.PresentationService/";
const WATCH_ACCESSES: &str = "/drivegate.v1.PresentationService/WatchAccesses";
const APPLY_CHANGES: &str = "/drivegate.v1.AuthorityService/ApplyChanges";
const HEALTH: &str = "/grpc.health.v1.Health/";

/// The largest message of a stream: 128 changes take about 16 KiB, with the longest names and ids 40 KiB.
const STREAM_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Tells a method by its path.
pub(super) fn method_of(path: &str) -> Method {
    match path {
        "/drivegate.v1.VerificationService/Verify" => Method::Verify,
        "/drivegate.v1.VerificationService/GetLimits" => Method::GetLimits,
        "/drivegate.v1.VerificationService/DescribeContract" => Method::DescribeContract,
        "/drivegate.v1.VerificationService/GetReceipt" => Method::GetReceipt,
        APPLY_CHANGES => Method::ApplyChanges,
        "/drivegate.v1.PresentationService/IssueQr" => Method::IssueQr,
        "/drivegate.v1.PresentationService/IssueShareCode" => Method::IssueShareCode,
        "/drivegate.v1.PresentationService/Revoke" => Method::Revoke,
        "/drivegate.v1.PresentationService/ListConsents" => Method::ListConsents,
        "/drivegate.v1.PresentationService/WithdrawConsent" => Method::WithdrawConsent,
        "/drivegate.v1.PresentationService/Object" => Method::Object,
        "/drivegate.v1.PresentationService/ListAccesses" => Method::ListAccesses,
        WATCH_ACCESSES => Method::WatchAccesses,
        path if path.starts_with(HEALTH) => Method::Health,
        _ => Method::Other,
    }
}

/// Says whether a method's calls are streams, which live as long as their connection.
pub(super) fn is_stream(path: &str) -> bool {
    path == APPLY_CHANGES || path == WATCH_ACCESSES
}

/// The services of the partner listener. Reflection is not among them.
pub(super) struct Routes<H> {
    verification: VerificationServiceServer<Handlers>,
    authority: AuthorityServiceServer<AuthorityHandlers>,
    presentation: PresentationServiceServer<WalletHandlers>,
    health: HealthServer<H>,
}

impl<H> Routes<H> {
    /// Builds the routes; messages above `message_bytes_max` are refused.
    pub(super) fn new(
        handlers: Handlers,
        authority: AuthorityHandlers,
        wallet: WalletHandlers,
        health: HealthServer<H>,
        message_bytes_max: usize,
    ) -> Self {
        let verification =
            VerificationServiceServer::new(handlers).max_decoding_message_size(message_bytes_max);
        let authority =
            AuthorityServiceServer::new(authority).max_decoding_message_size(STREAM_MESSAGE_BYTES_MAX);
        // Two numbers and an agreement are small; a stream may name a thousand holders.
        let presentation =
            PresentationServiceServer::new(wallet).max_decoding_message_size(STREAM_MESSAGE_BYTES_MAX);
        Self { verification, authority, presentation, health }
    }
}

impl<H> Clone for Routes<H> {
    fn clone(&self) -> Self {
        Self {
            verification: self.verification.clone(),
            authority: self.authority.clone(),
            presentation: self.presentation.clone(),
            health: self.health.clone(),
        }
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
        } else if path.starts_with(AUTHORITY) {
            RoutedFuture { served: Some(self.authority.call(request)) }
        } else if path.starts_with(PRESENTATION) {
            RoutedFuture { served: Some(self.presentation.call(request)) }
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
