//! The registry's backup as chunks for the operator's socket.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::chunks::Chunks;
use crate::admin::ports::OperatorError;
use crate::registry::EmbeddedRegistry;

/// Writes a backup into a channel. Blocking: it takes as long as the operator takes to read it.
pub(super) fn back_up(
    registry: &EmbeddedRegistry,
    chunks: mpsc::Sender<Result<Bytes, OperatorError>>,
) -> Result<(), OperatorError> {
    let mut chunks = Chunks::new(chunks);
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
