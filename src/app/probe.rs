//! Reads the registry once a second, so that health says what a look-up would meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::admin::report::{Condition, HealthReport};
use crate::domain::subject::NumberPseudonym;
use crate::verification::ports::RecordSource;

const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A cold read takes milliseconds: one that takes a second would cost a partner its deadline.
const READ_MAX: Duration = Duration::from_secs(1);
/// One failure may be a full queue; as many in a row are no burst.
const FAILURES_UNTIL_FAILING: u32 = 5;
/// A keyed hash is this one once in 2^128 numbers; whatever is read here is thrown away.
const NOBODY: NumberPseudonym = NumberPseudonym::from_bytes([0; 16]);

/// How the last readings of the registry went.
#[derive(Default)]
pub(super) struct RegistryProbe {
    failures: AtomicU32,
}

impl RegistryProbe {
    /// Reads every second until it is told to stop.
    pub(super) async fn run(&self, registry: Arc<dyn RecordSource>, stop: CancellationToken) {
        loop {
            self.probe(registry.as_ref()).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PROBE_EVERY) => {}
            }
        }
    }

    async fn probe(&self, registry: &dyn RecordSource) {
        let read = tokio::time::timeout(READ_MAX, registry.read(NOBODY)).await;
        if matches!(read, Ok(Ok(_))) {
            self.failures.store(0, Ordering::Relaxed);
        } else {
            // One task counts; the count stops where it has nothing more to say.
            let failures = self.failures.load(Ordering::Relaxed);
            self.failures.store(failures.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Adds how the registry is.
    pub(super) fn report(&self, report: HealthReport) -> HealthReport {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures == 0 {
            return report.healthy("registry");
        }
        let condition =
            if failures < FAILURES_UNTIL_FAILING { Condition::Degraded } else { Condition::Failing };
        let reason = format!("the last {failures} readings failed or took longer than a second");
        report.unhealthy("registry", condition, reason)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::domain::subject::Position;
    use crate::verification::ports::{Later, LookUpError, Reading};

    #[derive(Default)]
    struct Moody(AtomicBool);

    impl RecordSource for Moody {
        fn read(&self, _pseudonym: NumberPseudonym) -> Later<'_, Result<Reading, LookUpError>> {
            let answers = self.0.load(Ordering::Relaxed);
            let position = Position { epoch: 1, partition: 0, seq: 1 };
            let reading = answers.then_some(Reading { record: None, position });
            Box::pin(std::future::ready(reading.ok_or(LookUpError::RegistryUnavailable)))
        }

        fn epoch(&self) -> u32 {
            1
        }
    }

    #[tokio::test]
    async fn a_registry_that_cannot_be_read_is_degraded_then_failing_and_recovers() {
        let (registry, probe) = (Moody::default(), RegistryProbe::default());
        let condition = || probe.report(HealthReport::default()).condition();
        assert_eq!(condition(), Condition::Healthy);
        probe.probe(&registry).await;
        assert_eq!(condition(), Condition::Degraded);
        for _ in 1..FAILURES_UNTIL_FAILING {
            probe.probe(&registry).await;
        }
        assert_eq!(condition(), Condition::Failing);
        registry.0.store(true, Ordering::Relaxed);
        probe.probe(&registry).await;
        assert_eq!(condition(), Condition::Healthy);
    }
}
