//! The auditor's listener: signed logs as C2SP `tlog-tiles` serves them, read-only. What a log publishes names nobody, but it
//! is nobody else's business: bind it to a network of auditors, witnesses and peers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio_util::sync::CancellationToken;

use super::listener::HttpListener;
use super::ports::{LogResource, PublishedLogs};

/// Hashes in a full tile, entries in a full bundle.
const FULL: u16 = 256;
/// A tile or bundle never changes: whoever has it keeps it.
const FOR_EVER: &str = "max-age=31536000, immutable";

/// Serves the logs until told to stop.
pub async fn serve_logs(listener: HttpListener, logs: Arc<dyn PublishedLogs>, stop: CancellationToken) {
    listener.serve(router(logs), stop).await;
}

fn router(logs: Arc<dyn PublishedLogs>) -> Router {
    Router::new().fallback(answer).with_state(logs)
}

async fn answer(State(logs): State<Arc<dyn PublishedLogs>>, request: Request) -> Response {
    if request.method() != Method::GET {
        let allow = [(header::ALLOW, "GET")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow, "this listener is read-only\n").into_response();
    }
    let path = request.uri().path().to_owned();
    let found = tokio::task::spawn_blocking(move || find(logs.as_ref(), &path)).await;
    found.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn find(logs: &dyn PublishedLogs, path: &str) -> Response {
    if path == "/" {
        let origins: String = logs.origins().iter().map(|origin| format!("{origin}\n")).collect();
        return text(origins.into_bytes());
    }
    let Some((origin, resource)) = parse(path) else { return not_found() };
    match logs.resource(origin, resource) {
        Ok(Some(note)) if resource == LogResource::Checkpoint => text(note),
        Ok(Some(bytes)) => {
            let kind = [
                (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
                (header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER)),
            ];
            (kind, bytes).into_response()
        }
        Ok(None) => not_found(),
        Err(_unreadable) => (StatusCode::SERVICE_UNAVAILABLE, "the log cannot be read now\n").into_response(),
    }
}

fn text(bytes: Vec<u8>) -> Response {
    let kind = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (kind, bytes).into_response()
}

fn not_found() -> Response {
    let kind = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::NOT_FOUND, kind, "the log has no such resource, not yet or not any more\n").into_response()
}

/// Reads a path: there is exactly one for each resource.
fn parse(path: &str) -> Option<(&str, LogResource)> {
    let (origin, rest) = path.strip_prefix('/')?.split_once('/')?;
    if rest == "checkpoint" {
        return Some((origin, LogResource::Checkpoint));
    }
    let (level, place) = rest.strip_prefix("tile/")?.split_once('/')?;
    let (number, width) = place_of(place)?;
    if level == "entries" {
        return Some((origin, LogResource::Bundle { number, width }));
    }
    let level = number_of(level).filter(|level| *level <= 63)?;
    Some((origin, LogResource::Tile { level: u8::try_from(level).ok()?, number, width }))
}

/// Reads `x001/x234/067` or `x001/x234/067.p/8`: number and width.
fn place_of(place: &str) -> Option<(u64, u16)> {
    let (place, width) = match place.split_once(".p/") {
        None => (place, FULL),
        Some((place, width)) => {
            let width = number_of(width).filter(|width| (1..u64::from(FULL)).contains(width))?;
            (place, u16::try_from(width).ok()?)
        }
    };
    let mut number = 0_u64;
    let mut parts = place.split('/').peekable();
    let mut is_first = true;
    while let Some(part) = parts.next() {
        let digits = if parts.peek().is_some() { part.strip_prefix('x')? } else { part };
        let is_three = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        // `x000/001` would be another path of `001`.
        let is_padding = is_first && digits == "000" && parts.peek().is_some();
        let digits: u64 = digits.parse().ok().filter(|_| is_three && !is_padding)?;
        number = number.checked_mul(1000)?.checked_add(digits)?;
        is_first = false;
    }
    Some((number, width))
}

/// Reads a decimal number without leading zeros.
fn number_of(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::admin::ports::LogUnreadable;

    struct Scripted;

    impl PublishedLogs for Scripted {
        fn origins(&self) -> Vec<String> {
            vec!["gw-1".into(), "gw-0".into()]
        }

        fn resource(&self, origin: &str, resource: LogResource) -> Result<Option<Vec<u8>>, LogUnreadable> {
            match (origin, resource) {
                ("gw-1", LogResource::Tile { level: 9, .. }) => Err(LogUnreadable),
                ("gw-1", LogResource::Bundle { number: 7, .. }) => Ok(None),
                ("gw-1", resource) => Ok(Some(format!("{resource:?}").into_bytes())),
                _ => Ok(None),
            }
        }
    }

    async fn ask(method: Method, path: &str) -> (StatusCode, String, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router(Arc::new(Scripted)).oneshot(request).await.unwrap();
        let caching = response.headers().get(header::CACHE_CONTROL);
        let caching = caching.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let code = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, caching, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn resources_are_served_with_their_caching() {
        let (code, caching, body) = ask(Method::GET, "/gw-1/checkpoint").await;
        assert_eq!((code, caching.as_str(), body.as_str()), (StatusCode::OK, "no-cache", "Checkpoint"));
        let (code, caching, body) = ask(Method::GET, "/gw-1/tile/1/x001/x234/067").await;
        assert_eq!((code, caching.as_str()), (StatusCode::OK, FOR_EVER));
        assert_eq!(body, "Tile { level: 1, number: 1234067, width: 256 }");
        let (_, _, body) = ask(Method::GET, "/gw-1/tile/entries/003.p/45").await;
        assert_eq!(body, "Bundle { number: 3, width: 45 }");
        assert_eq!(ask(Method::GET, "/").await.2, "gw-1\ngw-0\n");
        assert_eq!(ask(Method::GET, "/gw-2/checkpoint").await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::GET, "/gw-1/tile/entries/007").await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::GET, "/gw-1/tile/9/007").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(Method::POST, "/gw-1/checkpoint").await.0, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn each_resource_has_one_path() {
        let others = [
            "/gw-1",
            "/gw-1/",
            "/checkpoint",
            "//checkpoint/",
            "/gw-1/checkpoint/",
            "/gw-1/tile/0/1",
            "/gw-1/tile/0/0001",
            "/gw-1/tile/0/x000/001",
            "/gw-1/tile/0/001/002",
            "/gw-1/tile/0/x001",
            "/gw-1/tile/64/001",
            "/gw-1/tile/00/001",
            "/gw-1/tile/+1/001",
            "/gw-1/tile/0/001.p/0",
            "/gw-1/tile/0/001.p/256",
            "/gw-1/tile/0/001.p/08",
            "/gw-1/tile/0/001.p/",
            "/gw-1/tile/0/00a",
            "/gw-1/tile/data/001",
            "/gw-1/tile/0/x+01/001",
            "/gw-1/tile/0/x999/x999/x999/x999/x999/x999/999",
            "/gw-1/tile/0/001.p/1/2",
            "/gw-1/tile/0/",
        ];
        for path in others {
            assert_eq!(parse(path), None, "{path}");
        }
        assert_eq!(
            parse("/a/tile/63/x010/000.p/255"),
            Some(("a", LogResource::Tile { level: 63, number: 10_000, width: 255 }))
        );
    }
}
