//! The intake, told to the metrics and shown to the operator.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::admin::ports::{OperatorError, Settlement};
use crate::admin::report::{QuarantineLine, SettledReport};
use crate::identity::error_chain;
use crate::intake::ports::{
    Fate, Handle, Outcome, QuarantineEntry, StoreFault, Taken, Verdict, WaitingCounts,
};
use crate::intake::{Intake, IntakeObserver};
use crate::telemetry::Metrics;
use crate::telemetry::labels::{ChangeLabel, WaitingLabel};

/// Changes the operator is shown at once.
const ENTRIES_SHOWN_MAX: usize = 1_000;

/// Tells the metrics what the intake does.
pub(super) struct IntakeReporter(pub(super) Arc<Metrics>);

impl IntakeObserver for IntakeReporter {
    fn taken(&self, taken: &Taken, now: Timestamp, elapsed: Duration) {
        let mut at_once = 0;
        for outcome in &taken.outcomes {
            let label = label_of(outcome);
            at_once += u64::from(label == ChangeLabel::Applied);
            self.0.changes(label, 1);
        }
        self.0.changes(ChangeLabel::Released, taken.applied.saturating_sub(at_once));
        let lag = taken.latest_recorded.map(|recorded| now.duration_since(recorded));
        self.0.intake_batch(elapsed, lag.map(|lag| Duration::try_from(lag).unwrap_or_default()));
    }

    fn released(&self, count: u64) {
        self.0.changes(ChangeLabel::Released, count);
    }

    fn waiting(&self, counts: WaitingCounts) {
        self.0.intake_waiting(WaitingLabel::Held, counts.held);
        self.0.intake_waiting(WaitingLabel::Quarantined, counts.quarantined);
    }

    fn failed(&self, fault: &StoreFault) {
        self.0.intake_failed();
        tracing::error!(causes = error_chain(fault), "changes of the authority cannot be made durable");
    }
}

fn label_of(outcome: &Outcome) -> ChangeLabel {
    match outcome {
        Outcome::New(Fate::Applied(_)) => ChangeLabel::Applied,
        Outcome::New(Fate::Held) => ChangeLabel::Held,
        // A new change is never discarded: only the operator does that, to one that waits.
        Outcome::New(Fate::Quarantined(_) | Fate::Discarded) => ChangeLabel::Quarantined,
        Outcome::Duplicate(_) => ChangeLabel::Duplicate,
        Outcome::Rejected(_) => ChangeLabel::Rejected,
    }
}

/// Lists waiting changes.
pub(super) async fn list_quarantine(
    intake: &Intake,
    after: Option<String>,
) -> Result<Vec<QuarantineLine>, OperatorError> {
    let after = after.map(|handle| parse(&handle)).transpose()?;
    let entries = intake.quarantine(after, ENTRIES_SHOWN_MAX).await.map_err(|fault| failed(&fault))?;
    Ok(entries.into_iter().map(line).collect())
}

/// Decides about a waiting change.
pub(super) async fn settle(
    intake: &Intake,
    handle: String,
    settlement: Settlement,
) -> Result<SettledReport, OperatorError> {
    let handle = parse(&handle)?;
    let verdict = match settlement {
        Settlement::Discard => Verdict::Discard,
        Settlement::Replay { recorded_now } => Verdict::Replay { recorded_now },
    };
    let judged = intake.judge(handle, verdict).await.map_err(|fault| failed(&fault))?;
    let applied = judged.map_err(|fault| OperatorError::NotUsable { what: fault.to_string() })?;
    tracing::info!(%handle, ?verdict, applied, "a waiting change was settled by the operator");
    Ok(SettledReport { applied })
}

fn parse(handle: &str) -> Result<Handle, OperatorError> {
    handle.parse().map_err(|_| OperatorError::NotUsable {
        what: "a handle has 12 hexadecimal digits; `drivegate registry quarantine list` shows them"
            .to_owned(),
    })
}

fn failed(fault: &StoreFault) -> OperatorError {
    tracing::error!(causes = error_chain(fault), "the quarantine cannot be read or changed");
    OperatorError::Failed { what: fault.to_string() }
}

fn line(entry: QuarantineEntry) -> QuarantineLine {
    QuarantineLine {
        handle: entry.handle.to_string(),
        source: entry.source,
        change_id: entry.change_id,
        sequence: entry.sequence,
        next: entry.next,
        kind: entry.kind,
        recorded_at: entry.recorded_at.map(|moment| moment.to_string()),
        since: entry.since.to_string(),
        reason: entry.reason.map_or("held", |reason| reason.word()).to_owned(),
        subject_known: entry.subject_known,
    }
}
