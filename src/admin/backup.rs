//! The backup over the socket: bytes stream out while the registry is walked.
//!
//! A backup that fails in the middle breaks the connection off; one that fails before its first byte is refused in words.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use http::header;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::operations::{Refused, Served};
use super::ports::OperatorError;

/// Chunks made ahead of what the operator has read.
const CHUNKS_AHEAD: usize = 4;

/// Answers with the registry's backup.
pub(super) async fn back_up(State(served): State<Served>) -> Response {
    let (into, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
    tokio::spawn(run(served, into));
    let first = match chunks.recv().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return Refused::from(error).into_response(),
        None => Bytes::new(),
    };
    let body = stream::iter([Ok(first)]).chain(ReceiverStream::new(chunks));
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(body)).into_response()
}

async fn run(served: Served, into: mpsc::Sender<Result<Bytes, OperatorError>>) {
    if let Err(error) = served.operator.back_up(into.clone()).await {
        // An operator who left does not hear how it ended.
        into.send(Err(error)).await.unwrap_or_default();
    }
}
