//! Answers kept for retries, with what the log tells of those from before the start.

use std::sync::Arc;
use std::time::Duration;

use super::bridges::MetricsBridge;
use super::error::StartError;
use crate::audit::{Journal, RecallBounds, recall};
use crate::config::GatewayConfig;
use crate::domain::time::Clock;
use crate::identity::error_chain;
use crate::retries::{KeptAnswers, RetryOptions};
use crate::verification::ports::SharedNotes;

/// Starts keeping answers. A log that cannot be read back does not keep the gateway from starting: a retry may then be charged twice.
pub(super) fn start(
    config: &GatewayConfig,
    journal: &Journal,
    others: Option<Arc<dyn SharedNotes>>,
    clock: &Arc<dyn Clock>,
    bridge: &Arc<MetricsBridge>,
) -> Result<Arc<KeptAnswers>, StartError> {
    let retries = &config.retries;
    let options = RetryOptions {
        kept_for: Duration::from_secs(retries.answers_kept_s),
        known_for: Duration::from_hours(retries.ids_known_h),
        bytes_max: retries.memory_mib << 20,
        partner_bytes_max: retries.memory_per_partner_mib << 20,
        ..RetryOptions::default()
    };
    let kept = KeptAnswers::new(
        options,
        Arc::clone(journal.secret()) as _,
        others,
        Arc::clone(clock),
        Arc::clone(bridge) as _,
    )?;
    let since = clock.now().checked_sub(options.known_for).unwrap_or_default();
    match recall(journal, RecallBounds { since, entries_max: retries.recalled_entries_max }) {
        Ok(recalled) => kept.recall(recalled),
        Err(error) => tracing::error!(
            causes = error_chain(&error),
            "the log cannot be read back: retries of requests from before the start are answered as new ones"
        ),
    }
    Ok(Arc::new(kept))
}
