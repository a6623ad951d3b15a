//! Submits a log's checkpoints to witnesses, beside everything else, and adds their cosignatures to what is published.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use signed_note::Note;
use tokio_util::sync::CancellationToken;

use super::cosign::WitnessVerifier;
use super::peer::PeerFault;
use super::site::{Site, SiteFault};
use super::stored::StoredLog;
use super::witness::request;
use crate::audit::note::NoteFault;
use crate::evidence::ports::SignedCheckpoint;

/// How often it looks for a new checkpoint.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a witness that failed is left alone.
const AFTER_A_FAILURE: Duration = Duration::from_secs(5);

/// A witness elsewhere.
pub struct WitnessSite {
    site: Site,
    verifier: WitnessVerifier,
    /// What it has cosigned, as far as known.
    size: u64,
}

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
enum SubmitFault {
    #[error("the witness cannot be asked")]
    Site(#[from] SiteFault),
    #[error("the witness has seen {seen} entries of this log, which has {size}: the log was rolled back")]
    RolledBack { seen: u64, size: u64 },
    #[error("the witness does not find that the log continues what it has seen (status {0})")]
    NotContinued(StatusCode),
    #[error("the witness answered with status {0}")]
    Status(StatusCode),
    #[error("the witness' answer holds no valid cosignature of its own")]
    NoCosignature,
    #[error("the proof for the witness cannot be made")]
    Proof,
}

impl WitnessSite {
    /// Names a witness by its URL and verifier line.
    ///
    /// # Errors
    /// [`PeerFault`] when either cannot be read. Nobody is asked yet.
    pub fn new(url: &str, verifier: &str) -> Result<Self, PeerFault> {
        Ok(Self { site: Site::parse(url)?, verifier: WitnessVerifier::parse(verifier)?, size: 0 })
    }

    /// Submits every new checkpoint of a log until told to stop.
    pub async fn follow(mut self, log: Arc<StoredLog>, stop: CancellationToken) {
        let mut said = None;
        let mut done = None;
        loop {
            let mut pause = LOOK_EVERY;
            let checkpoint = log.checkpoint().filter(|checkpoint| done != Some(checkpoint.size));
            if let Some(checkpoint) = checkpoint {
                match self.submit(&log, &checkpoint).await {
                    Ok(line) => {
                        log.add_cosignature(&checkpoint, &line);
                        done = Some(checkpoint.size);
                        said = None;
                    }
                    Err(fault) => {
                        pause = AFTER_A_FAILURE;
                        self.failed(&fault, &mut said);
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn failed(&self, fault: &SubmitFault, said: &mut Option<String>) {
        let why = fault.to_string();
        if said.as_deref() == Some(&why) {
            return;
        }
        let witness = self.verifier.name();
        if matches!(fault, SubmitFault::RolledBack { .. } | SubmitFault::NotContinued(_)) {
            tracing::error!(witness, why, "a witness refuses the evidence log");
        } else {
            tracing::warn!(witness, why, "a witness does not cosign; it is asked again");
        }
        *said = Some(why);
    }

    /// Asks for a cosignature; a witness that has seen another size says so, and is asked once more.
    async fn submit(
        &mut self,
        log: &Arc<StoredLog>,
        checkpoint: &Arc<SignedCheckpoint>,
    ) -> Result<Vec<u8>, SubmitFault> {
        let text = text_of(&checkpoint.note).map_err(|_| SubmitFault::Proof)?;
        for _ in 0..2 {
            let (seen, size) = (self.size, checkpoint.size);
            if seen > size {
                return Err(SubmitFault::RolledBack { seen, size });
            }
            let reader = Arc::clone(log);
            let proof = tokio::task::spawn_blocking(move || reader.consistency(seen, size)).await;
            let proof = proof.ok().and_then(Result::ok).ok_or(SubmitFault::Proof)?;
            let body = request(seen, &proof, &checkpoint.note);
            match self.site.post("add-checkpoint", body.into()).await? {
                (StatusCode::OK, lines) => {
                    self.size = size;
                    return self.verifier.valid_line(&text, &lines).ok_or(SubmitFault::NoCosignature);
                }
                (StatusCode::CONFLICT, told) => {
                    let told = std::str::from_utf8(&told).ok().and_then(|told| told.trim_end().parse().ok());
                    match told {
                        Some(told) if told != seen => self.size = told,
                        _ => return Err(SubmitFault::NotContinued(StatusCode::CONFLICT)),
                    }
                }
                (StatusCode::UNPROCESSABLE_ENTITY, _) => {
                    return Err(SubmitFault::NotContinued(StatusCode::UNPROCESSABLE_ENTITY));
                }
                (status, _) => return Err(SubmitFault::Status(status)),
            }
        }
        Err(SubmitFault::Status(StatusCode::CONFLICT))
    }
}

fn text_of(note: &[u8]) -> Result<Vec<u8>, NoteFault> {
    Ok(Note::from_bytes(note).map_err(|_| NoteFault::Checkpoint)?.text().to_vec())
}
