//! The read-only listener: is it alive, is it ready and why not, its metrics, its status. Nothing here changes state.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connections::{self, Manners};
use super::ports::{Health, Status};
use super::report::Condition;

/// The longest life of a connection; a scraper connects again.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(300);

/// What the listener shows.
pub struct AdminPages {
    /// The condition of every part.
    pub health: Arc<dyn Health>,
    /// What the process is and holds.
    pub status: Arc<dyn Status>,
    /// gRPC services to serve beside the pages over h2c (reflection): `tonic::service::Routes::into_axum_router`.
    pub grpc: Option<Router>,
}

/// The listener, bound.
pub struct AdminHttp {
    listener: TcpListener,
    local: SocketAddr,
}

impl AdminHttp {
    /// Binds the address.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok(Self { listener, local })
    }

    /// Returns the address bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves the pages until told to stop.
    pub async fn serve(self, pages: AdminPages, stop: CancellationToken) {
        let manners = Manners::AnyVersion { age_max: CONNECTION_AGE_MAX };
        let accept = || async { self.listener.accept().await.map(|(stream, _)| stream) };
        connections::serve(accept, router(pages), manners, stop).await;
    }
}

#[derive(Clone)]
struct Shown {
    health: Arc<dyn Health>,
    status: Arc<dyn Status>,
}

fn router(pages: AdminPages) -> Router {
    let shown = Shown { health: pages.health, status: pages.status };
    let own = Router::new()
        .route("/", get(index))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(shown);
    match pages.grpc {
        // Both routers have a fallback, and only one may stay.
        Some(grpc) => own.merge(grpc.reset_fallback()).layer(from_fn(read_only_beside_grpc)),
        None => own.layer(from_fn(read_only)),
    }
}

/// Admits GET alone.
async fn read_only(request: Request, next: Next) -> Response {
    if request.method() == Method::GET {
        let mut response = next.run(request).await;
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return response;
    }
    let allow = [(header::ALLOW, "GET")];
    (StatusCode::METHOD_NOT_ALLOWED, allow, "this listener is read-only\n").into_response()
}

/// Admits GET, and gRPC's POST.
async fn read_only_beside_grpc(request: Request, next: Next) -> Response {
    let is_grpc = request.method() == Method::POST && speaks_grpc(request.headers());
    if is_grpc { next.run(request).await } else { read_only(request, next).await }
}

fn speaks_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

async fn index() -> Html<&'static str> {
    Html(INDEX)
}

const INDEX: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>drivegate</title>\
<h1>drivegate</h1><p>This listener is read-only; what changes state goes over the operator's socket.</p><ul>\
<li><a href=/livez>/livez</a> – the process answers\
<li><a href=/readyz>/readyz</a> – send requests here, or why not\
<li><a href=/health>/health</a> – every part and its condition\
<li><a href=/metrics>/metrics</a> – for Prometheus\
<li><a href=/status>/status</a> – version, environment, what is loaded\
</ul></html>\n";

async fn livez() -> &'static str {
    "alive\n"
}

/// Says whether requests should be sent here; the reasons are the parts that are not healthy.
async fn readyz(State(shown): State<Shown>) -> Response {
    let report = shown.health.health();
    let is_ready = report.is_ready();
    let reasons: Vec<_> =
        report.parts.into_iter().filter(|part| part.condition != Condition::Healthy).collect();
    let body = serde_json::json!({ "ready": is_ready, "reasons": reasons });
    (ready_code(is_ready), Json(body)).into_response()
}

async fn health(State(shown): State<Shown>) -> Response {
    let report = shown.health.health();
    let body = serde_json::json!({ "condition": report.condition(), "parts": &report.parts });
    (ready_code(report.is_ready()), Json(body)).into_response()
}

fn ready_code(is_ready: bool) -> StatusCode {
    if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn metrics(State(shown): State<Shown>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, shown.status.metrics_text()).into_response()
}

async fn status(State(shown): State<Shown>) -> Response {
    Json(shown.status.status()).into_response()
}
