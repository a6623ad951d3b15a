//! Starts the limits, and their leasing where several replicas keep them together.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::bridges::MetricsBridge;
use super::error::StartError;
use super::redis::redis_address;
use crate::config::GatewayConfig;
use crate::domain::time::Clock;
use crate::identity::Identity;
use crate::limits::{LimitLeases, LimitOptions, LocalLimits};

/// How long a start waits for the first slices: a second if Redis is empty or away, plus what calls take. Beyond it partners may be refused
/// for a moment.
const BEGUN_WITHIN: Duration = Duration::from_secs(2);

/// Starts the limits of a process. `deployment` names what it belongs to, if others may belong to it too.
pub(super) fn start(
    config: &GatewayConfig,
    deployment: Option<Vec<u8>>,
    identity: &Identity,
    clock: &Arc<dyn Clock>,
    bridge: &Arc<MetricsBridge>,
    runtime: &Handle,
) -> Result<(Arc<LocalLimits>, Option<LimitLeases>), StartError> {
    let replicas_max = NonZeroU32::new(config.limits.replicas_max).filter(|replicas| replicas.get() > 1);
    let shared = deployment.zip(config.cache.redis.as_ref()).zip(replicas_max);
    let options = LimitOptions { replicas_max: shared.as_ref().and(replicas_max), ..LimitOptions::default() };
    let limits = Arc::new(LocalLimits::new(Arc::clone(clock), options));
    let Some(((scope, redis), _)) = shared else { return Ok((limits, None)) };

    know(&limits, identity);
    let address = redis_address(redis)?;
    let leases = LimitLeases::start(Arc::clone(&limits), &address, &scope, Arc::clone(bridge) as _, runtime)?;
    runtime.block_on(leases.begun(BEGUN_WITHIN));
    Ok((limits, Some(leases)))
}

/// Tells the limits whom contracts list, and under which terms.
pub(super) fn know(limits: &LocalLimits, identity: &Identity) {
    let contracts = identity.roster().contracts();
    limits.know(contracts.iter().map(|slot| (&slot.contract.partner, &slot.contract.allowance)));
}
