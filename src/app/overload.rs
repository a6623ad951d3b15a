//! What stands between too much and the registry, and what is told of it.

use std::sync::Arc;
use std::time::Duration;

use crate::admission::RetryBudget;
use crate::cache::RegistryAccess;
use crate::config::GatewayConfig;
use crate::domain::time::Clock;
use crate::identity::CoreLoad;
use crate::limits::{ClassStats, LineOptions, LineStats, RegistryLine};
use crate::registry::LicenceStore;
use crate::telemetry::Metrics;
use crate::telemetry::labels::{ClassLabel, LineCause};

/// The line before the registry, and the budget of attempts.
pub(super) struct Overload {
    line: Arc<RegistryLine>,
    retries: Arc<RetryBudget>,
}

/// What the metrics were told so far.
#[derive(Default)]
pub(super) struct Told {
    line: LineStats,
    paused: u64,
}

impl Overload {
    /// Opens the line.
    pub(super) fn new(config: &GatewayConfig, clock: &Arc<dyn Clock>) -> Self {
        let options = LineOptions {
            places_max: config.bounds.registry_reads_max,
            wait_max: Duration::from_millis(config.bounds.registry_wait_ms),
            ..LineOptions::default()
        };
        let line = Arc::new(RegistryLine::new(options, Arc::clone(clock)));
        Self { line, retries: Arc::default() }
    }

    /// Returns the budget of attempts, which everybody who asks the registry's servers shares.
    pub(super) fn retries(&self) -> &Arc<RetryBudget> {
        &self.retries
    }

    /// Returns the way to a registry.
    pub(super) fn before(&self, registry: &Arc<dyn LicenceStore>) -> RegistryAccess {
        RegistryAccess {
            source: Arc::clone(registry) as _,
            line: Arc::clone(&self.line) as _,
            retries: Arc::clone(&self.retries),
        }
    }

    /// Tells the metrics how it is, and what happened since they were last told.
    pub(super) fn tell(&self, metrics: &Metrics, cores: &[Arc<CoreLoad>], told: &mut Told) {
        let line = self.line.stats();
        let before = std::mem::replace(&mut told.line, line);
        metrics.line_places(line.places, line.taken);
        let of = |class: ClassLabel, now: ClassStats, before: ClassStats| {
            metrics.line_waiting(class, now.waiting);
            metrics.line_refused(class, LineCause::Full, now.refused_full - before.refused_full);
            metrics.line_refused(class, LineCause::Late, now.refused_late - before.refused_late);
        };
        of(ClassLabel::Presentation, line.presentations, before.presentations);
        of(ClassLabel::Claim, line.claims, before.claims);
        let (mut limit, mut open, mut paused) = (0, 0, 0);
        for core in cores {
            let stats = core.stats();
            limit += stats.open_max;
            open += stats.open;
            paused += stats.paused;
        }
        metrics.core_calls(limit, open);
        metrics.cores_paused(paused - std::mem::replace(&mut told.paused, paused));
    }
}
