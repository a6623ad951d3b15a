//! Runs a witness: answers whoever submits checkpoints, and looks at the logs it was told to follow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::clock::SystemClock;
use super::error::StartError;
use crate::admin::ports::{WitnessAnswer, WitnessDesk};
use crate::admin::{HttpListener, serve_witness};
use crate::audit::{LogVerifier, NoteFault, PeerFault, PeerLog, Witness, WitnessKey, WitnessRefusal};
use crate::config::witness::WitnessConfig;
use crate::domain::time::Clock as _;

/// A witness that runs.
pub struct RunningWitness {
    witness: Arc<Witness>,
    followed: Vec<(String, Arc<PeerLog>)>,
    listen: Option<SocketAddr>,
    every: Duration,
}

/// What a look at all followed logs found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Logs that continue what was seen.
    pub sound: usize,
    /// Logs that could not be read: look again.
    pub unread: usize,
    /// Logs that were rolled back, or show another history. A person must look.
    pub broken: usize,
}

impl RunningWitness {
    /// Opens a witness' folder. Call it inside a runtime.
    ///
    /// # Errors
    /// [`StartError`] names what cannot be used.
    pub fn open(config: &WitnessConfig) -> Result<Self, StartError> {
        let unusable = |entry: &str, source: PeerFault| StartError::Peer {
            key: "witness",
            entry: entry.to_owned(),
            source,
        };
        let of_folder =
            |fault: NoteFault| unusable(&config.folder.display().to_string(), PeerFault::Note(fault));
        std::fs::create_dir_all(&config.folder).map_err(|error| of_folder(error.into()))?;
        let key = WitnessKey::load_or_make(&config.folder, &config.name).map_err(of_folder)?;
        let mut logs = Vec::new();
        let mut followed = Vec::new();
        for log in &config.logs {
            let verifier = LogVerifier::parse(&log.verifier)
                .map_err(|fault| unusable(&log.verifier, PeerFault::Note(fault)))?;
            if let Some(url) = &log.url {
                let runtime = tokio::runtime::Handle::current();
                let peer = PeerLog::new(url, &log.verifier, runtime).map_err(|fault| unusable(url, fault))?;
                followed.push((verifier.name().to_owned(), Arc::new(peer)));
            }
            logs.push(verifier);
        }
        let witness = Arc::new(Witness::open(&config.folder, key, logs).map_err(of_folder)?);
        let every = Duration::from_secs(config.look_every_s);
        Ok(Self { witness, followed, listen: config.listen, every })
    }

    /// Returns the public key's line, for those who verify cosignatures.
    pub fn verifier_line(&self) -> String {
        self.witness.verifier_line()
    }

    /// Looks at every followed log once.
    pub async fn look(&self) -> Looked {
        let mut looked = Looked::default();
        for (origin, peer) in &self.followed {
            let (witness, peer, name) = (Arc::clone(&self.witness), Arc::clone(peer), origin.clone());
            let result = tokio::task::spawn_blocking(move || look_at(&witness, &peer, &name)).await;
            match result {
                Ok(Ok(())) => looked.sound += 1,
                Ok(Err(fault @ (PeerFault::RolledBack { .. } | PeerFault::Forked { .. }))) => {
                    tracing::error!(origin, error = %fault, "a log is not what it was: nothing of it is cosigned");
                    looked.broken += 1;
                }
                Ok(Err(fault)) => {
                    let why = std::error::Error::source(&fault).map(ToString::to_string);
                    tracing::warn!(origin, error = %fault, why, "a log cannot be followed");
                    looked.unread += 1;
                }
                Err(_panicked) => looked.unread += 1,
            }
        }
        looked
    }

    /// Answers and follows until told to stop; returns what the last look found. `told` hears the address.
    ///
    /// # Errors
    /// [`StartError::Listen`] when the address cannot be bound.
    pub async fn run(
        self,
        stop: CancellationToken,
        told: impl FnOnce(Option<SocketAddr>),
    ) -> Result<Looked, StartError> {
        let listener = match self.listen {
            None => None,
            Some(address) => Some(
                HttpListener::bind(address)
                    .await
                    .map_err(|source| StartError::Listen { address: address.to_string(), source })?,
            ),
        };
        told(listener.as_ref().map(HttpListener::local_addr));
        if let Some(listener) = listener {
            tokio::spawn(serve_witness(listener, Arc::new(Desk(Arc::clone(&self.witness))), stop.clone()));
        }
        loop {
            let looked = self.look().await;
            tokio::select! {
                () = stop.cancelled() => return Ok(looked),
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }
}

/// Looks at a log from what was cosigned last on.
fn look_at(witness: &Witness, peer: &PeerLog, origin: &str) -> Result<(), PeerFault> {
    let seen = witness.seen(origin)?;
    peer.continue_from(seen.clone());
    if let Some(new) = peer.look()?
        && seen.as_ref().is_none_or(|seen| seen.size < new.size)
    {
        // If somebody submitted one meanwhile, that one was looked at then.
        witness.keep_followed(origin, seen.as_ref(), &new)?;
    }
    Ok(())
}

/// The witness behind its listener.
struct Desk(Arc<Witness>);

impl WitnessDesk for Desk {
    fn add_checkpoint(&self, body: &[u8]) -> WitnessAnswer {
        let at = u64::try_from(SystemClock.now().as_second()).unwrap_or(0);
        match self.0.add_checkpoint(body, at) {
            Ok(lines) => WitnessAnswer::Cosigned(lines),
            Err(WitnessRefusal::Malformed) => WitnessAnswer::Malformed,
            Err(WitnessRefusal::UnknownLog) => WitnessAnswer::UnknownLog,
            Err(WitnessRefusal::NotSigned) => WitnessAnswer::NotSigned,
            Err(WitnessRefusal::Conflict { size }) => WitnessAnswer::Conflict { size },
            Err(WitnessRefusal::NotContinued) => WitnessAnswer::NotContinued,
            Err(WitnessRefusal::State(fault)) => {
                tracing::error!(%fault, "the witness cannot keep what it cosigns, and cosigns nothing");
                WitnessAnswer::Unavailable
            }
        }
    }
}
