//! The table `[limits]`.

use serde::Deserialize;

/// Limits of partners, where several replicas keep them: with `registry.postgres` and `cache.redis`, through which they are leased.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// How many replicas may serve at once, a rolling upgrade's extra ones included: what each holds while Redis is away is the rest
    /// of a limit divided by this. 4: three and one more. 1: this process keeps all limits alone, whatever is configured.
    pub replicas_max: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { replicas_max: 4 }
    }
}
