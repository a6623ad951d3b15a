//! The logs this process can read: the one in force, those before it, other replicas'; and who may read them over HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Handle, Runtime};
use tokio_util::sync::CancellationToken;

use super::error::StartError;
use crate::admin::ports::{LogResource, LogUnreadable, PublishedLogs};
use crate::admin::{HttpListener, serve_logs};
use crate::audit::{AllLogs, Journal, LogTree, PeerLog, Shelf, StoredLog, WitnessSite};
use crate::config::GatewayConfig;

/// Opens the logs a gateway can read.
pub(super) fn open(
    config: &GatewayConfig,
    journal: &Arc<Journal>,
    tree: &LogTree,
    background: &Handle,
) -> Result<Arc<AllLogs>, StartError> {
    let shelf = Shelf::open(&config.evidence.folder, Some(tree.log()))?;
    let peer = |peer: &crate::config::gateway::LogAddress| {
        PeerLog::new(&peer.url, &peer.verifier, background.clone()).map_err(|source| StartError::Peer {
            key: "peers",
            entry: peer.url.clone(),
            source,
        })
    };
    let peers = config.evidence.peers.iter().map(peer).collect::<Result<_, _>>()?;
    Ok(Arc::new(AllLogs::new(shelf, peers, Some(journal), background)))
}

/// Submits the checkpoints of the log in force to every configured witness.
pub(super) fn submit(
    config: &GatewayConfig,
    log: &Arc<StoredLog>,
    background: &Runtime,
    stop: &CancellationToken,
) -> Result<(), StartError> {
    for witness in &config.evidence.witnesses {
        let site = WitnessSite::new(&witness.url, &witness.verifier).map_err(|source| StartError::Peer {
            key: "witnesses",
            entry: witness.url.clone(),
            source,
        })?;
        background.spawn(site.follow(Arc::clone(log), stop.clone()));
    }
    Ok(())
}

/// Serves the logs of this folder to auditors; returns where.
pub(super) fn serve(
    address: SocketAddr,
    logs: &Arc<AllLogs>,
    background: &Runtime,
    stop: CancellationToken,
) -> Result<SocketAddr, StartError> {
    let listener = background
        .block_on(HttpListener::bind(address))
        .map_err(|source| StartError::Listen { address: address.to_string(), source })?;
    let local = listener.local_addr();
    background.spawn(serve_logs(listener, Arc::new(Published(Arc::clone(logs))), stop));
    Ok(local)
}

/// Serves the signed logs of a folder that no gateway writes any more, until told to stop. `told` hears the address, and the
/// logs' names.
///
/// # Errors
/// [`StartError`] when the folder cannot be read or the address cannot be bound.
pub async fn serve_folder(
    folder: &Path,
    address: SocketAddr,
    stop: CancellationToken,
    told: impl FnOnce(SocketAddr, Vec<String>),
) -> Result<(), StartError> {
    let shelf = Shelf::open(folder, None)?;
    let logs = Arc::new(AllLogs::new(shelf, Vec::new(), None, &Handle::current()));
    let listener = HttpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address: address.to_string(), source })?;
    let published = Arc::new(Published(logs));
    told(listener.local_addr(), published.origins());
    serve_logs(listener, published, stop).await;
    Ok(())
}

/// What of the logs is published: those of this folder, as far as their checkpoints reach.
struct Published(Arc<AllLogs>);

impl PublishedLogs for Published {
    fn origins(&self) -> Vec<String> {
        self.0.shelf().origins().map(str::to_owned).collect()
    }

    fn resource(&self, origin: &str, resource: LogResource) -> Result<Option<Vec<u8>>, LogUnreadable> {
        let Some(log) = self.0.shelf().log(origin) else { return Ok(None) };
        let found = match resource {
            LogResource::Checkpoint => Ok(log.checkpoint().map(|checkpoint| checkpoint.note.to_vec())),
            LogResource::Tile { level, number, width } => log.tile(level, number, width),
            LogResource::Bundle { number, width } => log.bundle(number, width),
        };
        found.map_err(|error| {
            tracing::warn!(origin, %error, "a log cannot be served");
            LogUnreadable
        })
    }
}
