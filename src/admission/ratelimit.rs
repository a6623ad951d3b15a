//! The `RateLimit` and `RateLimit-Policy` fields (draft-ietf-httpapi-ratelimit-headers-10): what the meters admit, and
//! what is left of them, for clients that pace themselves. Sent as metadata `ratelimit` and `ratelimit-policy`.

use std::fmt::Write as _;
use std::time::Duration;

use super::{LimitExceeded, LimitLevel, LimitWindow};
use crate::domain::partner::Allowance;

/// Metadata key of [`limit_field`] and [`refusal_field`].
pub const LIMIT_KEY: &str = "ratelimit";

/// Metadata key of [`policy_field`].
pub const POLICY_KEY: &str = "ratelimit-policy";

/// Writes the policies of a contract: `"rate";q=20;w=2, "minute";q=100;w=60, …`.
///
/// A rate with burst is stated as the burst and the seconds it takes to fill again, so that what is left never
/// exceeds the quota stated. Places in flight carry the draft's unit `concurrent-requests`.
pub fn policy_field(allowance: &Allowance) -> String {
    let refill_s = allowance.burst.div_ceil(allowance.rate_per_second.max(1)).max(1);
    let policies = [
        (LimitWindow::Rate, u64::from(allowance.burst), u64::from(refill_s)),
        (LimitWindow::QuotaMinute, allowance.quota_per_minute, 60),
        (LimitWindow::QuotaHour, allowance.quota_per_hour, 3_600),
        (LimitWindow::QuotaDay, allowance.quota_per_day, 86_400),
    ];
    let mut field = String::with_capacity(160);
    for (window, quota, window_s) in policies {
        append(&mut field, format_args!("\"{}\";q={};w={window_s}", name_of(window), bounded(quota)));
    }
    let in_flight = name_of(LimitWindow::InFlight);
    let places = allowance.in_flight_max;
    append(&mut field, format_args!("\"{in_flight}\";q={places};qu=\"concurrent-requests\""));
    field
}

/// Writes what is left: `"rate";r=3;t=1, "minute";r=0;t=42`. Connections are no request's concern and left out.
pub fn limit_field(levels: &[LimitLevel]) -> String {
    let mut field = String::with_capacity(120);
    for level in levels.iter().filter(|level| level.window != LimitWindow::Connections) {
        append_limit(&mut field, level.window, level.remaining, level.reset_after);
    }
    field
}

/// Writes the one limit that was reached: `"rate";r=0;t=1`.
pub fn refusal_field(exceeded: &LimitExceeded) -> String {
    let mut field = String::with_capacity(24);
    append_limit(&mut field, exceeded.window, 0, exceeded.retry_after);
    field
}

/// Returns the policy's name in both fields, also fit for metrics and QuotaFailure.
pub const fn name_of(window: LimitWindow) -> &'static str {
    match window {
        LimitWindow::Rate => "rate",
        LimitWindow::InFlight => "in-flight",
        LimitWindow::Connections => "connections",
        LimitWindow::QuotaMinute => "minute",
        LimitWindow::QuotaHour => "hour",
        LimitWindow::QuotaDay => "day",
    }
}

fn append_limit(field: &mut String, window: LimitWindow, remaining: u64, reset_after: Duration) {
    let (name, remaining) = (name_of(window), bounded(remaining));
    append(field, format_args!("\"{name}\";r={remaining};t={}", bounded(seconds_up(reset_after))));
}

fn append(field: &mut String, item: std::fmt::Arguments<'_>) {
    let comma = if field.is_empty() { "" } else { ", " };
    // Writing to a string cannot fail.
    write!(field, "{comma}{item}").unwrap_or_default();
}

/// Rounds up: a client that comes back a moment early is refused again.
fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// The largest integer of a structured field (RFC 9651 §3.3.1).
fn bounded(number: u64) -> u64 {
    number.min(999_999_999_999_999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(window: LimitWindow, remaining: u64, reset_after: Duration) -> LimitLevel {
        LimitLevel { window, limit: 100, remaining, reset_after }
    }

    #[test]
    fn the_policy_names_every_window() {
        let allowance = Allowance {
            rate_per_second: 10,
            burst: 25,
            in_flight_max: 8,
            connections_max: 4,
            quota_per_minute: 100,
            quota_per_hour: 2_000,
            quota_per_day: u64::MAX,
        };
        assert_eq!(
            policy_field(&allowance),
            "\"rate\";q=25;w=3, \"minute\";q=100;w=60, \"hour\";q=2000;w=3600, \
             \"day\";q=999999999999999;w=86400, \"in-flight\";q=8;qu=\"concurrent-requests\""
        );
    }

    #[test]
    fn a_policy_without_rate_divides_by_nothing() {
        let nothing = Allowance {
            rate_per_second: 0,
            burst: 0,
            in_flight_max: 0,
            connections_max: 0,
            quota_per_minute: 0,
            quota_per_hour: 0,
            quota_per_day: 0,
        };
        assert!(policy_field(&nothing).starts_with("\"rate\";q=0;w=1, "));
    }

    #[test]
    fn what_is_left_rounds_the_wait_up() {
        let levels = [
            level(LimitWindow::Rate, 3, Duration::from_millis(1)),
            level(LimitWindow::InFlight, 1, Duration::ZERO),
            level(LimitWindow::Connections, 1, Duration::ZERO),
            level(LimitWindow::QuotaMinute, 0, Duration::from_secs(42)),
        ];
        assert_eq!(limit_field(&levels), "\"rate\";r=3;t=1, \"in-flight\";r=1;t=0, \"minute\";r=0;t=42");
    }

    #[test]
    fn a_refusal_names_its_window_alone() {
        let exceeded = LimitExceeded {
            window: LimitWindow::QuotaHour,
            limit: 9,
            retry_after: Duration::from_millis(2_001),
        };
        assert_eq!(refusal_field(&exceeded), "\"hour\";r=0;t=3");
    }
}
