//! An export through the running gateway: read on a thread that may block, handed on in chunks.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::gateway::Parts;
use super::operator::Turn;
use crate::admin::ports::ExportBody;
use crate::registry::export;

/// Bytes handed on at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks read ahead of what the operator has taken.
const CHUNKS_AHEAD: usize = 4;

/// Begins an export; what it gives breaks off with an error if the registry does.
pub(super) fn start(parts: Arc<Parts>, turn: Turn) -> ExportBody {
    let (chunks, body) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        tracing::warn!(
            "the registry is being exported, numbers and names included, over the operator's socket"
        );
        let mut out = Chunks { into: chunks, pending: BytesMut::with_capacity(CHUNK_BYTES) };
        match export::export(parts.registry.as_ref(), &mut out, &mut |_| {}) {
            Ok(end) => {
                tracing::warn!(subjects = end.subjects, left_out = end.left_out, "the registry was exported");
            }
            Err(error) => {
                tracing::warn!(error = %error, "an export of the registry broke off");
                // An operator who left does not hear of it.
                out.into.blocking_send(Err(ErrorKind::Other.into())).unwrap_or_default();
            }
        }
    });
    body
}

/// Collects what is written into chunks; waits for the operator to take them.
struct Chunks {
    into: mpsc::Sender<io::Result<Bytes>>,
    pending: BytesMut,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = self.pending.split().freeze();
        self.into.blocking_send(Ok(chunk)).map_err(|_| ErrorKind::BrokenPipe.into())
    }
}
