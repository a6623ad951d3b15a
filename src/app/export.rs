//! An export through the running gateway: read on a thread that may block, handed on in chunks.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::chunks::Chunks;
use super::operator::Turn;
use crate::admin::ports::ExportBody;
use crate::registry::{LicenceStore, export};

/// Chunks read ahead of what the operator has taken.
const CHUNKS_AHEAD: usize = 4;

/// Begins an export; what it gives breaks off with an error if the registry does.
pub(super) fn start(registry: Arc<dyn LicenceStore>, turn: Turn) -> ExportBody {
    let (chunks, body) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        tracing::warn!(
            "the registry is being exported, numbers and names included, over the operator's socket"
        );
        let mut out = Chunks::new(chunks);
        match export::export(registry.as_ref(), &mut out, &mut |_| {}) {
            Ok(end) => {
                tracing::warn!(subjects = end.subjects, left_out = end.left_out, "the registry was exported");
            }
            Err(error) => {
                tracing::warn!(error = %error, "an export of the registry broke off");
                out.fail(ErrorKind::Other.into());
            }
        }
    });
    body
}
