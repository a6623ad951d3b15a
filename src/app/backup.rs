//! The registry's backup as chunks for the operator's socket.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::admin::ports::OperatorError;
use crate::registry::EmbeddedRegistry;

/// Writes a backup into a channel. Blocking: it takes as long as the operator takes to read it.
pub(super) fn back_up(
    registry: &EmbeddedRegistry,
    chunks: mpsc::Sender<Result<Bytes, OperatorError>>,
) -> Result<(), OperatorError> {
    let mut chunks = Chunks { into: chunks, held: Vec::new() };
    match registry.back_up(&mut chunks, &mut |_| {}) {
        Ok(report) => {
            tracing::info!(bytes = report.bytes, position = report.head_seq, "backup made");
            Ok(())
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no backup could be made");
            Err(OperatorError::Failed { what: error.to_string() })
        }
    }
}

/// Hands on what is written to it, chunk by chunk.
struct Chunks {
    into: mpsc::Sender<Result<Bytes, OperatorError>>,
    held: Vec<u8>,
}

/// Bytes of a backup handed on at once.
const BACKUP_CHUNK_BYTES: usize = 256 * 1024;

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= BACKUP_CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = Bytes::from(std::mem::take(&mut self.held));
        // An operator who left wants no backup.
        self.into.blocking_send(Ok(chunk)).map_err(|_closed| io::ErrorKind::BrokenPipe.into())
    }
}
