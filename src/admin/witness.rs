//! The witness' listener: `POST /add-checkpoint` of C2SP `tlog-witness`, and nothing else.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use tokio_util::sync::CancellationToken;

use super::listener::HttpListener;
use super::ports::{WitnessAnswer, WitnessDesk};

/// The largest request: 63 hashes and a checkpoint with a hundred signatures.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Answers until told to stop.
pub async fn serve_witness(listener: HttpListener, desk: Arc<dyn WitnessDesk>, stop: CancellationToken) {
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(desk);
    listener.serve(router, stop).await;
}

async fn add_checkpoint(State(desk): State<Arc<dyn WitnessDesk>>, body: Bytes) -> Response {
    let answer = tokio::task::spawn_blocking(move || desk.add_checkpoint(&body)).await;
    let status = |code: StatusCode| (code, format!("{}\n", code.canonical_reason().unwrap_or_default()));
    match answer {
        Ok(WitnessAnswer::Cosigned(lines)) => lines.into_response(),
        Ok(WitnessAnswer::Conflict { size }) => {
            let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/x.tlog.size"))];
            (StatusCode::CONFLICT, kind, format!("{size}\n")).into_response()
        }
        Ok(WitnessAnswer::Malformed) => status(StatusCode::BAD_REQUEST).into_response(),
        Ok(WitnessAnswer::UnknownLog) => status(StatusCode::NOT_FOUND).into_response(),
        Ok(WitnessAnswer::NotSigned) => status(StatusCode::FORBIDDEN).into_response(),
        Ok(WitnessAnswer::NotContinued) => status(StatusCode::UNPROCESSABLE_ENTITY).into_response(),
        Ok(WitnessAnswer::Unavailable) | Err(_) => status(StatusCode::SERVICE_UNAVAILABLE).into_response(),
    }
}
