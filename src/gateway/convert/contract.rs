//! A partner's own contract and limits, as messages.

use std::time::Duration;

use jiff::Timestamp;

use super::response::moment_message;
use super::words::WireSet;
use crate::admission::{LimitLevel, LimitMode, LimitWindow};
use crate::domain::partner::{ClaimTerms, Contract, PurposeTerms};
use crate::domain::policy::POLICY_VERSION;
use crate::gateway::proto;
use crate::verification::ports::ClaimLevel;

/// Converts a contract.
pub(in crate::gateway) fn contract_message(
    contract: &Contract,
    certificate_expires_at: Timestamp,
) -> proto::Contract {
    proto::Contract {
        partner_id: contract.partner.as_str().to_owned(),
        legal_name: contract.legal_name.clone(),
        display_name: contract.display_name.clone(),
        kind: contract.kind.wire(),
        purposes: contract.purposes.iter().map(terms_message).collect(),
        presentations_only: contract.presentations_only,
        starts_at: Some(moment_message(contract.starts_at)),
        ends_at: Some(moment_message(contract.ends_at)),
        certificate_expires_at: Some(moment_message(certificate_expires_at)),
        policy_version: POLICY_VERSION.to_owned(),
        claims: Some(proto::ClaimTerms {
            subjects_max: contract.claims.subjects_max,
            window: Some(prost_types::Duration {
                seconds: i64::from(contract.claims.window_hours) * 3_600,
                nanos: 0,
            }),
        }),
    }
}

fn terms_message(terms: &PurposeTerms) -> proto::PurposeTerms {
    proto::PurposeTerms {
        purpose: terms.purpose.wire(),
        grounds: terms.grounds.iter().map(|ground| ground.wire()).collect(),
        fields: terms.fields.iter().map(WireSet::wire).collect(),
        min_tenure_months: terms.tenure_months.iter().copied().map(u32::from).collect(),
        validity_margin_days: terms.margin_days.iter().copied().map(u32::from).collect(),
        coverage_editions: terms.editions.iter().map(|edition| edition.wire()).collect(),
        roles: terms.roles.iter().map(|role| role.wire()).collect(),
    }
}

/// Converts the levels of a contract's meters.
pub(in crate::gateway) fn limits_message(
    levels: &[LimitLevel],
    mode: LimitMode,
    environment: proto::Environment,
) -> proto::GetLimitsResponse {
    let mut message = proto::GetLimitsResponse {
        mode: mode_message(mode).into(),
        environment: environment.into(),
        ..proto::GetLimitsResponse::default()
    };
    for level in levels {
        let (kind, window_seconds) = match level.window {
            LimitWindow::InFlight => {
                (message.in_flight, message.in_flight_max) = used_of(level);
                continue;
            }
            LimitWindow::Connections => {
                (message.connections, message.connections_max) = used_of(level);
                continue;
            }
            LimitWindow::Rate => (proto::LimitKind::Rate, 1),
            LimitWindow::QuotaMinute => (proto::LimitKind::QuotaMinute, 60),
            LimitWindow::QuotaHour => (proto::LimitKind::QuotaHour, 3_600),
            LimitWindow::QuotaDay => (proto::LimitKind::QuotaDay, 86_400),
        };
        message.limits.push(limit_message(level, kind, window_seconds));
    }
    message
}

/// Converts what is left for claims. `is_suspended`: by a record; the tripwire that has just tripped says so itself.
pub(in crate::gateway) fn claims_message(
    terms: &ClaimTerms,
    level: ClaimLevel,
    is_suspended: bool,
) -> proto::ClaimLevel {
    proto::ClaimLevel {
        subjects_max: terms.subjects_max,
        subjects_left: u32::try_from(level.remaining).unwrap_or(u32::MAX),
        reset_after: duration_message(level.reset_after),
        slowed: level.is_slowed,
        suspended: is_suspended || level.is_stopped,
    }
}

fn mode_message(mode: LimitMode) -> proto::LimitMode {
    match mode {
        LimitMode::Local => proto::LimitMode::Local,
        LimitMode::Leased => proto::LimitMode::Leased,
        LimitMode::Divided => proto::LimitMode::Divided,
    }
}

fn used_of(level: &LimitLevel) -> (u32, u32) {
    let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    (narrow(level.limit.saturating_sub(level.remaining)), narrow(level.limit))
}

fn limit_message(level: &LimitLevel, kind: proto::LimitKind, window_seconds: i64) -> proto::Limit {
    proto::Limit {
        kind: kind.into(),
        window: Some(prost_types::Duration { seconds: window_seconds, nanos: 0 }),
        limit: level.limit,
        remaining: level.remaining,
        reset_after: duration_message(level.reset_after),
    }
}

fn duration_message(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}
