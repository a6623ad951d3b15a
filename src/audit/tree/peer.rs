//! Another replica's log, read through its auditor's listener. Nothing it says is believed: its checkpoint carries the log's own
//! signature and continues the last one seen, tiles are held against the checkpoint's root, entries against tiles.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::StatusCode;
use tlog_tiles::tlog::{Hash, HashReader as _, prove_record, prove_tree, record_hash, stored_hash_index};
use tlog_tiles::{Tile, TileHashReader, TileReader};
use tokio::runtime::Handle;

use super::site::{Site, SiteFault};
use super::tiles::{HASH_BYTES, TILE_WIDTH, is_consistent};
use crate::audit::note::{LogVerifier, NoteFault};
use crate::evidence::ports::{LogSource, LogUnavailable, SignedCheckpoint};
use crate::verification::ports::Later;

/// A log elsewhere.
pub struct PeerLog {
    peer: Arc<Peer>,
    runtime: Handle,
}

/// Why a log elsewhere cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PeerFault {
    /// It cannot be reached.
    #[error("cannot read the log")]
    Site(#[from] SiteFault),
    /// Its key or checkpoint cannot be used.
    #[error("cannot use the log's key or checkpoint")]
    Note(#[from] NoteFault),
    /// It answered with something else than asked for.
    #[error("the log answered with status {0}")]
    Status(StatusCode),
    /// Hashes or entries are not those of the checkpoint.
    #[error("the log shows hashes or entries that its checkpoint does not cover")]
    NotCovered,
    /// It shows an older tree than it has shown before: it was rolled back.
    #[error("the log was rolled back: it has {size} entries and had {seen}")]
    RolledBack {
        /// What it shows.
        size: u64,
        /// What it had.
        seen: u64,
    },
    /// It shows another history than before.
    #[error("the log shows another history: its tree of {size} entries does not continue that of {seen}")]
    Forked {
        /// What it shows.
        size: u64,
        /// What it had.
        seen: u64,
    },
}

struct Peer {
    site: Site,
    verifier: LogVerifier,
    seen: Mutex<Option<SignedCheckpoint>>,
}

impl PeerLog {
    /// Names a log by its auditor's URL and its verifier line.
    ///
    /// # Errors
    /// [`PeerFault`] when either cannot be read. Nobody is asked yet.
    pub fn new(url: &str, verifier: &str, runtime: Handle) -> Result<Self, PeerFault> {
        let (site, verifier) = (Site::parse(url)?, LogVerifier::parse(verifier)?);
        let peer = Peer { site, verifier, seen: Mutex::new(None) };
        Ok(Self { peer: Arc::new(peer), runtime })
    }

    /// Takes a checkpoint as the last one seen: the next must continue it.
    pub fn continue_from(&self, seen: Option<SignedCheckpoint>) {
        *self.peer.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Fetches the newest checkpoint and makes sure that it continues the one seen before. Blocks: call it on a blocking thread.
    ///
    /// # Errors
    /// See [`PeerFault`].
    pub fn look(&self) -> Result<Option<SignedCheckpoint>, PeerFault> {
        self.peer.checkpoint(&self.runtime)
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Peer, &Handle) -> Result<T, PeerFault> + Send + 'static,
    ) -> Later<'_, Result<T, LogUnavailable>> {
        let (peer, runtime) = (Arc::clone(&self.peer), self.runtime.clone());
        let answer = self.runtime.spawn_blocking(move || question(&peer, &runtime));
        Box::pin(async move {
            match answer.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(fault)) => {
                    let why = std::error::Error::source(&fault).map(ToString::to_string);
                    let origin = self.peer.verifier.name();
                    if matches!(fault, PeerFault::RolledBack { .. } | PeerFault::Forked { .. }) {
                        tracing::error!(origin, error = %fault, "a peer's evidence log is not what it was");
                    } else {
                        tracing::warn!(origin, error = %fault, why, "a peer's evidence log cannot be used");
                    }
                    Err(LogUnavailable)
                }
                Err(_panicked) => Err(LogUnavailable),
            }
        })
    }
}

impl LogSource for PeerLog {
    fn origin(&self) -> &str {
        self.peer.verifier.name()
    }

    fn checkpoint(&self) -> Later<'_, Result<Option<SignedCheckpoint>, LogUnavailable>> {
        self.ask(Peer::checkpoint)
    }

    fn entry(&self, index: u64) -> Later<'_, Result<Option<Vec<u8>>, LogUnavailable>> {
        self.ask(move |peer, runtime| peer.entry(index, runtime))
    }

    fn inclusion(&self, index: u64, size: u64) -> Later<'_, Result<Vec<[u8; 32]>, LogUnavailable>> {
        self.ask(move |peer, runtime| peer.inclusion(index, size, runtime))
    }
}

/// All of these block: they run on a blocking thread and wait there for the network.
impl Peer {
    fn get(&self, resource: &str, runtime: &Handle) -> Result<Option<Bytes>, PeerFault> {
        let path = format!("{}/{resource}", self.verifier.name());
        match runtime.block_on(self.site.get(&path))? {
            (StatusCode::OK, body) => Ok(Some(body)),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, _) => Err(PeerFault::Status(status)),
        }
    }

    /// Fetches the newest checkpoint, and makes sure that it continues the one seen before.
    fn checkpoint(&self, runtime: &Handle) -> Result<Option<SignedCheckpoint>, PeerFault> {
        let Some(note) = self.get("checkpoint", runtime)? else { return Ok(None) };
        let checkpoint = self.verifier.checkpoint(&note)?;
        let seen = self.seen();
        if let Some(seen) = seen {
            continues(&seen, &checkpoint, &self.tiles(runtime))?;
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint.clone());
        Ok(Some(checkpoint))
    }

    fn seen(&self) -> Option<SignedCheckpoint> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a checkpoint of at least that size, if there is one.
    fn covering(&self, size: u64, runtime: &Handle) -> Result<Option<SignedCheckpoint>, PeerFault> {
        let covers = |checkpoint: &SignedCheckpoint| checkpoint.size >= size;
        match self.seen().filter(covers) {
            Some(seen) => Ok(Some(seen)),
            None => Ok(self.checkpoint(runtime)?.filter(covers)),
        }
    }

    fn entry(&self, index: u64, runtime: &Handle) -> Result<Option<Vec<u8>>, PeerFault> {
        let Some(checkpoint) = self.covering(index.saturating_add(1), runtime)? else { return Ok(None) };
        let (bundle, within) = (index / TILE_WIDTH, index % TILE_WIDTH);
        let width = (checkpoint.size - bundle * TILE_WIDTH).min(TILE_WIDTH);
        let Some(bytes) = self.get(&resource_path("entries", bundle, width), runtime)? else {
            return Ok(None);
        };
        let entry = entry_of(&bytes, within).ok_or(PeerFault::NotCovered)?;
        let tiles = self.tiles(runtime);
        let reader = TileHashReader::new(checkpoint.size, Hash(checkpoint.root), &tiles);
        let told = reader.read_hashes(&[stored_hash_index(0, index)]).map_err(|_| PeerFault::NotCovered)?;
        if told != [record_hash(entry)] {
            return Err(PeerFault::NotCovered);
        }
        Ok(Some(entry.to_vec()))
    }

    fn inclusion(&self, index: u64, size: u64, runtime: &Handle) -> Result<Vec<[u8; 32]>, PeerFault> {
        let checkpoint =
            self.covering(size, runtime)?.filter(|_| index < size).ok_or(PeerFault::NotCovered)?;
        let tiles = self.tiles(runtime);
        let reader = TileHashReader::new(checkpoint.size, Hash(checkpoint.root), &tiles);
        let proof = prove_record(size, index, &reader).map_err(|_| PeerFault::NotCovered)?;
        Ok(proof.into_iter().map(|hash| hash.0).collect())
    }

    fn tiles<'a>(&'a self, runtime: &'a Handle) -> SiteTiles<'a> {
        SiteTiles { peer: self, runtime }
    }
}

/// Makes sure that a checkpoint continues an earlier one of the same log, with the log's own tiles.
fn continues(
    seen: &SignedCheckpoint,
    new: &SignedCheckpoint,
    tiles: &SiteTiles<'_>,
) -> Result<(), PeerFault> {
    let (size, seen_size) = (new.size, seen.size);
    if size < seen_size {
        return Err(PeerFault::RolledBack { size, seen: seen_size });
    }
    let proof = if seen_size == 0 || size == seen_size {
        Vec::new()
    } else {
        let reader = TileHashReader::new(size, Hash(new.root), tiles);
        let proof = prove_tree(size, seen_size, &reader).map_err(|_| PeerFault::NotCovered)?;
        proof.into_iter().map(|hash| hash.0).collect()
    };
    if is_consistent(&proof, (seen_size, seen.root), (size, new.root)) {
        Ok(())
    } else {
        Err(PeerFault::Forked { size, seen: seen_size })
    }
}

/// The peer's tiles. `TileHashReader` holds them against the root.
struct SiteTiles<'a> {
    peer: &'a Peer,
    runtime: &'a Handle,
}

impl TileReader for SiteTiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::tlog::Error> {
        let fetch = |tile: &Tile| {
            let width = u64::from(tile.width());
            let resource = resource_path(&tile.level().to_string(), tile.level_index(), width);
            let path = format!("{}/{resource}", self.peer.verifier.name());
            async move {
                match self.peer.site.get(&path).await {
                    Ok((StatusCode::OK, body)) if body.len() as u64 == width * HASH_BYTES => {
                        Ok(body.to_vec())
                    }
                    _ => Err(tlog_tiles::tlog::Error::InvalidTile),
                }
            }
        };
        self.runtime.block_on(try_join_all(tiles.iter().map(fetch)))
    }

    fn save_tiles(&self, _tiles: &[Tile], _data: &[Vec<u8>]) {}
}

/// Names a tile or bundle as C2SP `tlog-tiles` does.
fn resource_path(kind: &str, number: u64, width: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    let partial = if width < TILE_WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/{kind}/{path}{partial}")
}

/// Finds an entry in a bundle.
fn entry_of(mut bundle: &[u8], within: u64) -> Option<&[u8]> {
    for _ in 0..within {
        let (length, rest) = bundle.split_first_chunk::<2>()?;
        bundle = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
    }
    let (length, rest) = bundle.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}
