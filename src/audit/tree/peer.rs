//! Another replica's log, read through its auditor's listener. Nothing it says is believed: its checkpoint carries the log's own
//! signature and continues the last one seen, and every proof made of its hashes must lead to the checkpoint's root.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::StatusCode;
use tlog_tiles::Tile;
use tlog_tiles::tlog::{
    Error, Hash, HashReader, check_record, check_tree, prove_record, prove_tree, record_hash,
    split_stored_hash_index, stored_hash_index, tree_hash,
};
use tokio::runtime::Handle;

use super::site::{Site, SiteFault};
use super::tiles::{HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, hashes_at, is_consistent};
use crate::audit::note::{LogVerifier, NoteFault};
use crate::evidence::ports::{LogSource, LogUnavailable, SignedCheckpoint, Stretch};
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
    /// It does not show the hashes that would prove that it continues what it had.
    #[error("the log does not show how it continues what it had")]
    NotShown,
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

    fn stretch(&self, from: u64, count_max: u64) -> Later<'_, Result<Stretch, LogUnavailable>> {
        self.ask(move |peer, runtime| peer.stretch(from, count_max, runtime))
    }

    fn length(&self) -> Later<'_, Result<u64, LogUnavailable>> {
        self.ask(|peer, runtime| Ok(peer.checkpoint(runtime)?.map_or(0, |checkpoint| checkpoint.size)))
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
            continues(&seen, &checkpoint, &self.hashes(checkpoint.size, runtime))?;
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
        let hashes = self.hashes(checkpoint.size, runtime);
        let proof = prove_record(checkpoint.size, index, &hashes).map_err(|_| PeerFault::NotCovered)?;
        check_record(&proof, checkpoint.size, Hash(checkpoint.root), index, record_hash(entry))
            .map_err(|_| PeerFault::NotCovered)?;
        Ok(Some(entry.to_vec()))
    }

    /// Reads the rest of the bundle that `from` lies in, each entry proved to be in the checkpoint's tree.
    fn stretch(&self, from: u64, count_max: u64, runtime: &Handle) -> Result<Stretch, PeerFault> {
        let Some(checkpoint) = self.covering(from.saturating_add(1), runtime)? else {
            return Ok(Stretch { first: from, entries: Vec::new() });
        };
        let bundle = from / TILE_WIDTH;
        let Some(bytes) = self.bundle(bundle, checkpoint.size, runtime)? else {
            // Pruning takes away a log's beginning and nothing else: where that is there, a missing bundle is a fault.
            return match bundle > 0 && self.bundle(0, checkpoint.size, runtime)?.is_some() {
                true => Err(PeerFault::NotCovered),
                false => Ok(Stretch { first: (bundle + 1) * TILE_WIDTH, entries: Vec::new() }),
            };
        };
        let end = checkpoint.size.min((bundle + 1) * TILE_WIDTH).min(from.saturating_add(count_max));
        let hashes = self.hashes(checkpoint.size, runtime);
        let mut entries = Vec::new();
        for index in from..end {
            let entry = entry_of(&bytes, index % TILE_WIDTH).ok_or(PeerFault::NotCovered)?;
            let proof = prove_record(checkpoint.size, index, &hashes).map_err(|_| PeerFault::NotCovered)?;
            check_record(&proof, checkpoint.size, Hash(checkpoint.root), index, record_hash(entry))
                .map_err(|_| PeerFault::NotCovered)?;
            entries.push(entry.to_vec());
        }
        Ok(Stretch { first: from, entries })
    }

    fn bundle(&self, number: u64, size: u64, runtime: &Handle) -> Result<Option<Bytes>, PeerFault> {
        let width = (size - number * TILE_WIDTH).min(TILE_WIDTH);
        self.get(&resource_path("entries", number, width), runtime)
    }

    /// The proof is believed because it leads from the entry's hash to a root, and that root to the checkpoint's.
    fn inclusion(&self, index: u64, size: u64, runtime: &Handle) -> Result<Vec<[u8; 32]>, PeerFault> {
        let checkpoint =
            self.covering(size, runtime)?.filter(|_| index < size).ok_or(PeerFault::NotCovered)?;
        let hashes = self.hashes(checkpoint.size, runtime);
        let not_covered = |_| PeerFault::NotCovered;
        let root = tree_hash(size, &hashes).map_err(not_covered)?;
        let to_checkpoint = prove_tree(checkpoint.size, size, &hashes).map_err(not_covered)?;
        check_tree(&to_checkpoint, checkpoint.size, Hash(checkpoint.root), size, root)
            .map_err(not_covered)?;
        let leaf = hashes.read_hashes(&[stored_hash_index(0, index)]).map_err(not_covered)?;
        let leaf = leaf.first().copied().ok_or(PeerFault::NotCovered)?;
        let proof = prove_record(size, index, &hashes).map_err(not_covered)?;
        check_record(&proof, size, root, index, leaf).map_err(not_covered)?;
        Ok(proof.into_iter().map(|hash| hash.0).collect())
    }

    fn hashes<'a>(&'a self, size: u64, runtime: &'a Handle) -> SiteHashes<'a> {
        SiteHashes { peer: self, runtime, size, known: RefCell::default() }
    }
}

/// Makes sure that a checkpoint continues an earlier one of the same log, with the log's own tiles.
fn continues(
    seen: &SignedCheckpoint,
    new: &SignedCheckpoint,
    hashes: &SiteHashes<'_>,
) -> Result<(), PeerFault> {
    let (size, seen_size) = (new.size, seen.size);
    if size < seen_size {
        return Err(PeerFault::RolledBack { size, seen: seen_size });
    }
    let proof = if seen_size == 0 || size == seen_size {
        Vec::new()
    } else {
        let proof = prove_tree(size, seen_size, hashes).map_err(|_| PeerFault::NotShown)?;
        proof.into_iter().map(|hash| hash.0).collect()
    };
    if is_consistent(&proof, (seen_size, seen.root), (size, new.root)) {
        Ok(())
    } else {
        Err(PeerFault::Forked { size, seen: seen_size })
    }
}

/// The peer's hashes in a tree of this size, as it tells them: whoever reads them must hold what he makes of them against a root.
/// (`TileHashReader` of `tlog_tiles` 0.2 would promise to do that, and leaves tiles out where several subtrees of the right edge
/// lie in one tile.)
struct SiteHashes<'a> {
    peer: &'a Peer,
    runtime: &'a Handle,
    size: u64,
    /// Tiles fetched before.
    known: RefCell<BTreeMap<(usize, u64), Bytes>>,
}

impl HashReader for SiteHashes<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let places: Vec<_> = indexes.iter().map(|index| HashPlace::of(*index)).collect();
        let mut tiles = self.known.borrow_mut();
        let wanted: BTreeSet<_> = places.iter().map(|place| (place.level, place.tile)).collect();
        let missing: Vec<_> = wanted.into_iter().filter(|wanted| !tiles.contains_key(wanted)).collect();
        let fetched = missing.iter().map(|(level, tile)| self.fetch(*level, *tile));
        let fetched = self.runtime.block_on(try_join_all(fetched))?;
        tiles.extend(missing.into_iter().zip(fetched));
        let hash = |place: &HashPlace| {
            let tile = tiles.get(&(place.level, place.tile));
            let hashes = tile.and_then(|tile| tile.get(place.from..place.to)).ok_or(Error::InvalidTile)?;
            Ok(Tile::subtree_hash(hashes))
        };
        places.iter().map(hash).collect()
    }
}

impl SiteHashes<'_> {
    async fn fetch(&self, level: usize, tile: u64) -> Result<Bytes, Error> {
        let there = hashes_at(level, self.size).checked_sub(tile * TILE_WIDTH).filter(|there| *there > 0);
        let width = there.ok_or(Error::IndexesNotInTree)?.min(TILE_WIDTH);
        let resource = resource_path(&level.to_string(), tile, width);
        let path = format!("{}/{resource}", self.peer.verifier.name());
        match self.peer.site.get(&path).await {
            Ok((StatusCode::OK, body)) if body.len() as u64 == width * HASH_BYTES => Ok(body),
            _ => Err(Error::InvalidTile),
        }
    }
}

/// In which tile the hash of a subtree lies, and where in it.
struct HashPlace {
    level: usize,
    tile: u64,
    from: usize,
    to: usize,
}

impl HashPlace {
    fn of(index: u64) -> Self {
        let (height, number) = split_stored_hash_index(index);
        let within = height % TILE_HEIGHT;
        let first = number << within;
        let from = usize::try_from(first % TILE_WIDTH * HASH_BYTES).unwrap_or(usize::MAX);
        let to = from.saturating_add(32 << within);
        Self { level: usize::from(height / TILE_HEIGHT), tile: first / TILE_WIDTH, from, to }
    }
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
