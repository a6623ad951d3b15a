//! Looks how late a core comes to what is due, and tells its load.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::time::Clock;
use crate::identity::CoreLoad;

/// How often a core with open calls is looked at; two late looks in a row lower what it reads.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often one without: it has nothing to be late for.
const IDLE_LOOK_EVERY: Duration = Duration::from_millis(200);

/// Looks until it is dropped. Runs on the core's own loop: what it waits for, every call of the core waits for.
pub(super) async fn watch(load: Arc<CoreLoad>, clock: Arc<dyn Clock>) {
    loop {
        let pause = if load.stats().open > 0 { LOOK_EVERY } else { IDLE_LOOK_EVERY };
        let due = clock.since_boot() + pause;
        tokio::time::sleep(pause).await;
        load.came_late_by(clock.since_boot().saturating_sub(due));
    }
}
