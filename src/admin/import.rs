//! The import over the socket: the body streams in with its lines bounded, events stream out.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use http::header;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::operations::{Refused, Served, said};
use super::ports::{IMPORT_LINE_BYTES_MAX, ImportBody};
use super::report::{ImportEncoding, ImportEvent, ImportFormat};

/// Chunks received ahead of what the import has read.
const CHUNKS_AHEAD: usize = 8;

/// Events waiting for the operator to read them.
const EVENTS_AHEAD: usize = 64;

/// How long an operator may go on sending after the import ended.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
pub(super) struct Wanted {
    format: ImportFormat,
    #[serde(default)]
    encoding: ImportEncoding,
}

/// Imports the body and answers with a stream of events, one JSON object a line.
pub(super) async fn import(
    State(served): State<Served>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    request: Request,
) -> Response {
    let Ok(Query(wanted)) = wanted else { return Refused::format().into_response() };
    let (chunks_into, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let (events_into, events) = mpsc::channel(EVENTS_AHEAD);
    tokio::spawn(receive(request.into_body(), chunks_into));
    tokio::spawn(async move {
        let outcome = run(&served, wanted, ImportBody::new(chunks), &events_into).await;
        // An operator who left does not hear how it ended.
        events_into.send(outcome).await.unwrap_or_default();
    });
    let lines = ReceiverStream::new(events).map(|event| Ok::<_, Infallible>(line_of(&event)));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

async fn run(
    served: &Served,
    wanted: Wanted,
    body: ImportBody,
    events: &mpsc::Sender<ImportEvent>,
) -> ImportEvent {
    let (progress_into, mut progress) = mpsc::channel(EVENTS_AHEAD);
    let import = served.operator.import(wanted.format, wanted.encoding, body, progress_into);
    let forward = async {
        while let Some(event) = progress.recv().await {
            // Going on without a listener: what was sent shall go in.
            events.send(ImportEvent::Progress(event)).await.unwrap_or_default();
        }
    };
    match tokio::join!(import, forward).0 {
        Ok(counts) => ImportEvent::Done(counts),
        Err(error) => ImportEvent::Failed(said(&error)),
    }
}

fn line_of(event: &ImportEvent) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// Hands the body on until its end, or until the import wants no more of it.
async fn receive(body: Body, chunks: mpsc::Sender<io::Result<Bytes>>) {
    let mut body = body.into_data_stream();
    let mut bound = LineBound::default();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map(|chunk| bound.apply(chunk)).map_err(io::Error::other);
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    // An import that ended early has said so in its events. Closing with unread bytes would take that word away from
    // an operator who is still sending, so the rest is read and dropped until they have heard it and hang up.
    let rest = async { while let Some(Ok(_)) = body.next().await {} };
    tokio::time::timeout(DISCARD_TIMEOUT, rest).await.unwrap_or_default();
}

/// Drops what a line has beyond one byte more than the bound.
#[derive(Default)]
struct LineBound {
    line_bytes: usize,
}

impl LineBound {
    fn apply(&mut self, chunk: Bytes) -> Bytes {
        if self.line_bytes + chunk.len() <= IMPORT_LINE_BYTES_MAX {
            // Short lines are the rule: nothing can be too long here, only the length of the last line matters.
            self.line_bytes = match chunk.iter().rposition(|byte| *byte == b'\n') {
                Some(newline) => chunk.len() - newline - 1,
                None => self.line_bytes + chunk.len(),
            };
            return chunk;
        }
        let mut kept = BytesMut::with_capacity(chunk.len());
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            let (content, newline) = match line.split_last() {
                Some((b'\n', content)) => (content, true),
                _ => (line, false),
            };
            let room = (IMPORT_LINE_BYTES_MAX + 1).saturating_sub(self.line_bytes);
            kept.extend_from_slice(&content[..content.len().min(room)]);
            self.line_bytes += content.len();
            if newline {
                kept.extend_from_slice(b"\n");
                self.line_bytes = 0;
            }
        }
        kept.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bounded(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut bound = LineBound::default();
        chunks.iter().flat_map(|chunk| bound.apply(Bytes::from(chunk.clone())).to_vec()).collect()
    }

    #[test]
    fn a_line_of_just_the_bound_is_left_whole() {
        let line = [vec![b'x'; IMPORT_LINE_BYTES_MAX], b"\nnext\n".to_vec()].concat();
        assert_eq!(bounded(std::slice::from_ref(&line)), line);
    }

    #[test]
    fn a_longer_line_is_cut_and_the_next_is_not() {
        let line = [vec![b'x'; IMPORT_LINE_BYTES_MAX * 3], b"\nnext\n".to_vec()].concat();
        let kept = [vec![b'x'; IMPORT_LINE_BYTES_MAX + 1], b"\nnext\n".to_vec()].concat();
        assert_eq!(bounded(&[line]), kept);
    }

    proptest! {
        // Each case is hundreds of kilobytes.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn chunk_borders_do_not_matter(
            lengths in prop::collection::vec(0_usize..IMPORT_LINE_BYTES_MAX * 2, 1..6),
            cuts in prop::collection::vec(1_usize..50_000, 1..40),
        ) {
            let mut whole = Vec::new();
            for length in &lengths {
                whole.extend(std::iter::repeat_n(b'x', *length));
                whole.push(b'\n');
            }
            let mut chunks = Vec::new();
            let mut rest = whole.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, behind) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk.to_vec());
                rest = behind;
            }
            let expected: Vec<u8> = lengths
                .iter()
                .flat_map(|length| [vec![b'x'; (*length).min(IMPORT_LINE_BYTES_MAX + 1)], vec![b'\n']].concat())
                .collect();
            prop_assert_eq!(bounded(&chunks), expected);
        }
    }
}
