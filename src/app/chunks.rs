//! What is written on a thread, handed to the operator's socket chunk by chunk.

use std::io::{self, ErrorKind, Write};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

/// Bytes handed on at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Collects what is written into chunks; waits for the operator to take them.
pub(super) struct Chunks<E> {
    into: mpsc::Sender<Result<Bytes, E>>,
    pending: BytesMut,
}

impl<E> Chunks<E> {
    pub(super) fn new(into: mpsc::Sender<Result<Bytes, E>>) -> Self {
        Self { into, pending: BytesMut::with_capacity(CHUNK_BYTES) }
    }

    /// Breaks off. An operator who left does not hear of it.
    pub(super) fn fail(self, error: E) {
        let _gone = self.into.blocking_send(Err(error));
    }
}

impl<E> Write for Chunks<E> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = self.pending.split().freeze();
        // An operator who left wants no more of it.
        self.into.blocking_send(Ok(chunk)).map_err(|_closed| ErrorKind::BrokenPipe.into())
    }
}
