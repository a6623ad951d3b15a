//! What the process asks of the system before it opens anything.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::gateway::BoundsConfig;

/// Descriptors for everything that is no partner's connection: store, log, listeners, Redis, the operator.
const OWN_DESCRIPTORS: u64 = 256;

/// Raises the limit of descriptors to what the system grants and keeps connections below it, forbids core dumps (they would
/// hold identifiers), and lets a panic say where it happened and nothing else.
pub fn harden(bounds: &mut BoundsConfig) {
    raise_descriptors(bounds);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps cannot be forbidden: see that the system does");
    }
    std::panic::set_hook(Box::new(|panic| {
        // The payload may quote what was being read.
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic: one call failed, and a person should look");
    }));
}

fn raise_descriptors(bounds: &mut BoundsConfig) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of descriptors cannot be raised");
    }
    let Some(granted) = getrlimit(Resource::Nofile).current else { return };
    let connections = usize::try_from(granted.saturating_sub(OWN_DESCRIPTORS)).unwrap_or(usize::MAX).max(1);
    if connections < bounds.connections_max {
        tracing::warn!(
            granted,
            connections,
            "fewer descriptors than bounds.connections_max needs: connections are capped"
        );
        bounds.connections_max = connections;
    }
}
