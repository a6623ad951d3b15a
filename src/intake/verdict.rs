//! What the operator decides about a waiting change. Pure.

use jiff::Timestamp;

use super::change::{Handle, StatedChange};
use super::desk::Desk;
use super::fate::QuarantineReason;
use super::plan::{Dossier, KnownFate, Plan};
use super::state::Waiting;

/// What the operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It never joins the record. What is missing before it is given up.
    Discard,
    /// It is judged again, at its place. What is missing before it is given up.
    Replay {
        /// As recorded now, for one that was recorded before the latest change on record.
        recorded_now: bool,
    },
}

/// Why a verdict was not carried out; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerdictFault {
    /// Nothing waits under the handle.
    #[error("no change waits under this handle")]
    NotWaiting,
    /// An earlier change of the same subject and feed waits.
    #[error("an earlier change of the same subject and feed waits: {0}")]
    NotFirst(Handle),
    /// It was never understood.
    #[error("what the change says was never understood, so there is nothing to replay")]
    NothingToReplay,
    /// It still cannot be taken.
    #[error("the change still cannot be taken: {0}")]
    StillNot(QuarantineReason),
}

/// Carries a verdict out.
///
/// # Errors
/// [`VerdictFault`]: nothing is to be written.
pub fn plan_verdict(
    dossier: Dossier<'_>,
    handle: Handle,
    verdict: Verdict,
    now: Timestamp,
) -> Result<Plan, VerdictFault> {
    let mut desk = Desk::open(dossier, now);
    let waiting = desk.state.find(handle).cloned().ok_or(VerdictFault::NotWaiting)?;
    let in_sequence = is_in_sequence(&desk, &waiting);
    if let Some(first) = desk.state.feed(&waiting.source).waiting.first()
        && in_sequence
        && first.digest != waiting.digest
    {
        return Err(VerdictFault::NotFirst(first.digest.handle()));
    }
    match verdict {
        Verdict::Discard => {
            take_out(&mut desk, &waiting, in_sequence);
            desk.remember_of(&waiting, KnownFate::Discarded);
        }
        Verdict::Replay { recorded_now } => {
            let content = waiting.content.clone().ok_or(VerdictFault::NothingToReplay)?;
            let recorded_at = if recorded_now { now } else { content.recorded_at };
            let content = StatedChange { recorded_at, ..content };
            let change = desk.judge(&waiting, Some(content)).map_err(VerdictFault::StillNot)?;
            take_out(&mut desk, &waiting, in_sequence);
            desk.apply(&waiting, change);
        }
    }
    if in_sequence {
        desk.advance(&waiting.source);
    }
    Ok(desk.close(|_| Vec::new()))
}

fn is_in_sequence(desk: &Desk<'_>, waiting: &Waiting) -> bool {
    desk.state.aside.iter().all(|aside| aside.digest != waiting.digest)
}

fn take_out(desk: &mut Desk<'_>, waiting: &Waiting, in_sequence: bool) {
    if in_sequence {
        desk.state.feed(&waiting.source).pass_first();
    } else {
        desk.state.aside.retain(|aside| aside.digest != waiting.digest);
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
