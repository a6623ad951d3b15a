//! The read-only listener: is it alive, is it ready and why not, its metrics, its status. Nothing here changes state.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::listener::HttpListener;
use super::ports::{Health, Status};
use super::report::Condition;

/// What the listener shows.
pub struct AdminPages {
    /// The condition of every part.
    pub health: Arc<dyn Health>,
    /// What the process is and holds.
    pub status: Arc<dyn Status>,
    /// gRPC services to serve beside the pages over h2c (reflection): `tonic::service::Routes::into_axum_router`.
    pub grpc: Option<Router>,
}

impl AdminPages {
    /// Serves the pages until told to stop.
    pub async fn serve(self, listener: HttpListener, stop: CancellationToken) {
        listener.serve(router(self), stop).await;
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
<li><a href=/health>/health</a> – every part and its condition, and which world this is\
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
    let (report, status) = (shown.health.health(), shown.status.status());
    let body = serde_json::json!({
        "condition": report.condition(),
        "parts": &report.parts,
        "environment": status.environment,
        "test_numbers_accepted": status.test_numbers_accepted,
    });
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use axum::routing::post;
    use http_body_util::BodyExt as _;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpStream;
    use tower::ServiceExt as _;

    use super::*;
    use crate::admin::testing::Scripted;

    fn pages(parts: &[(&'static str, Condition)], grpc: Option<Router>) -> AdminPages {
        let script = Arc::new(Scripted { parts: parts.to_vec().into(), ..Scripted::default() });
        AdminPages { health: script.clone(), status: script, grpc }
    }

    async fn ask(router: Router, method: Method, path: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let code = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_healthy_process_is_ready() {
        let router = router(pages(&[("journal", Condition::Healthy)], None));
        let (code, body) = ask(router.clone(), Method::GET, "/readyz").await;
        assert_eq!((code, body.as_str()), (StatusCode::OK, r#"{"ready":true,"reasons":[]}"#));
        assert_eq!(ask(router, Method::GET, "/livez").await, (StatusCode::OK, "alive\n".into()));
    }

    #[tokio::test]
    async fn a_failing_part_takes_the_process_out_and_says_why() {
        let parts = [("journal", Condition::Failing), ("contracts", Condition::Degraded)];
        let router = router(pages(&parts, None));
        let (code, body) = ask(router.clone(), Method::GET, "/readyz").await;
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        let said: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(said["ready"], false);
        assert_eq!(said["reasons"][0]["part"], "journal");
        assert_eq!(said["reasons"][0]["reason"], "the disk is full");
        assert_eq!(said["reasons"][1]["condition"], "degraded");
        let (code, body) = ask(router.clone(), Method::GET, "/health").await;
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains(r#""condition":"failing""#));
        assert!(body.contains(r#""environment":"demo""#) && body.contains(r#""test_numbers_accepted":true"#));
        assert_eq!(ask(router, Method::GET, "/livez").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_degraded_process_stays_ready() {
        let router = router(pages(&[("contracts", Condition::Degraded)], None));
        assert_eq!(ask(router.clone(), Method::GET, "/readyz").await.0, StatusCode::OK);
        assert_eq!(ask(router, Method::GET, "/health").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_status_and_index_are_shown() {
        let router = router(pages(&[], None));
        let (_, metrics) = ask(router.clone(), Method::GET, "/metrics").await;
        assert_eq!(metrics, "drivegate_partners 3\n");
        let (_, status) = ask(router.clone(), Method::GET, "/status").await;
        assert!(status.contains(r#""environment":"demo""#));
        let (_, index) = ask(router.clone(), Method::GET, "/").await;
        for page in ["/livez", "/readyz", "/health", "/metrics", "/status"] {
            assert!(index.contains(&format!("href={page}>")));
        }
        assert_eq!(ask(router, Method::GET, "/nothing").await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn anything_but_get_is_refused_on_every_path() {
        let grpc = Router::new().route("/grpc.reflection.v1.ServerReflection/Info", post(|| async {}));
        for router in [router(pages(&[], None)), router(pages(&[], Some(grpc)))] {
            for method in
                [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::HEAD]
            {
                for path in ["/", "/metrics", "/nothing", "/grpc.reflection.v1.ServerReflection/Info"] {
                    let (code, _) = ask(router.clone(), method.clone(), path).await;
                    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
                }
            }
        }
    }

    #[tokio::test]
    async fn http1_and_grpc_over_h2c_share_the_listener() {
        let grpc = Router::new()
            .route("/grpc.reflection.v1.ServerReflection/Info", post(|| async { "reflected" }))
            .fallback(|| async { "unimplemented" });
        let admin = HttpListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = admin.local_addr();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(pages(&[], Some(grpc)).serve(admin, stop.clone()));

        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut plain, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().uri("/livez").header("host", "x").body(Body::empty()).unwrap();
        assert_eq!(plain.send_request(request).await.unwrap().status(), StatusCode::OK);

        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut h2c, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("http://x/grpc.reflection.v1.ServerReflection/Info")
            .header("content-type", "application/grpc")
            .body(Body::empty())
            .unwrap();
        let answer = h2c.send_request(request).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(&answer.to_bytes()[..], b"reflected");

        stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
    }
}
