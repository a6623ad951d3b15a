//! A partner's own contract and what is left of it, for a person and for a program.

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::{Value, json};

use super::moment;
use super::words::{Word as _, short};
use crate::gateway::proto;

/// Shows what is left for a person.
pub fn render_limits(limits: &proto::GetLimitsResponse) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(["meter", "window", "limit", "left", "whole again in"]);
    for one in &limits.limits {
        table.add_row([
            short::<proto::LimitKind>(one.kind),
            seconds(one.window.as_ref()),
            one.limit.to_string(),
            one.remaining.to_string(),
            seconds(one.reset_after.as_ref()),
        ]);
    }
    if let Some(claims) = &limits.claims {
        table.add_row([
            "SUBJECTS CLAIMED".to_owned(),
            String::new(),
            claims.subjects_max.to_string(),
            claims.subjects_left.to_string(),
            seconds(claims.reset_after.as_ref()),
        ]);
    }
    let claims = limits.claims.as_ref().map_or("", |claims| match (claims.suspended, claims.slowed) {
        (true, _) => "\nclaims are suspended: contact the operator",
        (false, true) => "\nclaims are slowed: many were unconfirmed",
        (false, false) => "",
    });
    format!(
        "{table}{claims}\nin flight {} of {} · connections {} of {} · kept {}",
        limits.in_flight,
        limits.in_flight_max,
        limits.connections,
        limits.connections_max,
        short::<proto::LimitMode>(limits.mode)
    )
}

fn seconds(duration: Option<&prost_types::Duration>) -> String {
    duration.map_or_else(String::new, |one| format!("{:.3} s", as_seconds(one)))
}

fn as_seconds(duration: &prost_types::Duration) -> f64 {
    f64::from(duration.nanos) / 1e9
        + std::time::Duration::from_secs(duration.seconds.unsigned_abs()).as_secs_f64()
}

/// Shows what is left for a program.
pub fn limits_json(limits: &proto::GetLimitsResponse) -> Value {
    let meters: Vec<Value> = limits
        .limits
        .iter()
        .map(|one| {
            json!({
                "kind": short::<proto::LimitKind>(one.kind),
                "window_seconds": one.window.as_ref().map(as_seconds),
                "limit": one.limit,
                "remaining": one.remaining,
                "reset_after_seconds": one.reset_after.as_ref().map(as_seconds),
            })
        })
        .collect();
    json!({
        "kind": "limits",
        "limits": meters,
        "mode": short::<proto::LimitMode>(limits.mode),
        "environment": short::<proto::Environment>(limits.environment),
        "claims": limits.claims.as_ref().map(|one| {
            json!({
                "subjects_max": one.subjects_max,
                "subjects_left": one.subjects_left,
                "reset_after_seconds": one.reset_after.as_ref().map(as_seconds),
                "slowed": one.slowed,
                "suspended": one.suspended,
            })
        }),
        "in_flight": limits.in_flight,
        "in_flight_max": limits.in_flight_max,
        "connections": limits.connections,
        "connections_max": limits.connections_max,
    })
}

/// Shows a contract for a person.
pub fn render_contract(described: &proto::DescribeContractResponse) -> String {
    let Some(contract) = &described.contract else {
        return "the gateway described no contract".to_owned();
    };
    let at = |moment: &Option<prost_types::Timestamp>| {
        moment.as_ref().map_or_else(|| "open".to_owned(), moment::show)
    };
    let mut lines = vec![
        format!("{} · {} · {}", contract.partner_id, contract.legal_name, contract.kind().short()),
        format!("  in force    {} to {}", at(&contract.starts_at), at(&contract.ends_at)),
        format!("  certificate expires {}", at(&contract.certificate_expires_at)),
        format!(
            "  rules of    {} · {}",
            contract.policy_version,
            short::<proto::Environment>(described.environment)
        ),
    ];
    if contract.presentations_only {
        lines.push("  presentations only: claims are refused".to_owned());
    } else if let Some(claims) = &contract.claims {
        let hours = claims.window.as_ref().map_or(0, |window| window.seconds / 3_600);
        lines.push(format!("  claims about {} different numbers in {hours} h", claims.subjects_max));
    }
    for terms in &contract.purposes {
        lines.push(format!("  {}", terms.purpose().short()));
        let mut listed = |name: &str, values: Vec<String>| {
            if !values.is_empty() {
                lines.push(format!("    {name:<9} {}", values.join(", ")));
            }
        };
        listed("grounds", terms.grounds().map(|one| one.short().to_owned()).collect());
        listed("fields", terms.fields().map(|one| one.short().to_owned()).collect());
        listed("tenure", terms.min_tenure_months.iter().map(|one| format!("{one} months")).collect());
        listed("margin", terms.validity_margin_days.iter().map(|one| format!("{one} days")).collect());
        listed("editions", terms.coverage_editions().map(|one| one.short().to_owned()).collect());
        listed("roles", terms.roles().map(|one| one.short().to_owned()).collect());
    }
    lines.join("\n")
}

/// Shows a contract for a program.
pub fn contract_json(described: &proto::DescribeContractResponse) -> Value {
    let at = |moment: &Option<prost_types::Timestamp>| {
        moment.as_ref().and_then(moment::from_proto).map(|moment| moment.to_string())
    };
    let contract = described.contract.as_ref().map(|one| {
        json!({
            "partner_id": one.partner_id,
            "legal_name": one.legal_name,
            "display_name": one.display_name,
            "kind": one.kind().short(),
            "starts_at": at(&one.starts_at),
            "ends_at": at(&one.ends_at),
            "certificate_expires_at": at(&one.certificate_expires_at),
            "policy_version": one.policy_version,
            "presentations_only": one.presentations_only,
            "claims": one.claims.as_ref().map(|claims| {
                json!({
                    "subjects_max": claims.subjects_max,
                    "window_seconds": claims.window.as_ref().map(as_seconds),
                })
            }),
            "purposes": one.purposes.iter().map(terms_json).collect::<Vec<_>>(),
        })
    });
    json!({ "kind": "contract", "contract": contract, "environment": short::<proto::Environment>(described.environment) })
}

fn terms_json(terms: &proto::PurposeTerms) -> Value {
    json!({
        "purpose": terms.purpose().short(),
        "grounds": terms.grounds().map(|one| one.short()).collect::<Vec<_>>(),
        "fields": terms.fields().map(|one| one.short()).collect::<Vec<_>>(),
        "min_tenure_months": terms.min_tenure_months,
        "validity_margin_days": terms.validity_margin_days,
        "coverage_editions": terms.coverage_editions().map(|one| one.short()).collect::<Vec<_>>(),
        "roles": terms.roles().map(|one| one.short()).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_shown_by_meter() {
        let limits = proto::GetLimitsResponse {
            limits: vec![proto::Limit {
                kind: proto::LimitKind::QuotaDay.into(),
                window: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
                limit: 1_000,
                remaining: 993,
                reset_after: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
            }],
            mode: proto::LimitMode::Local.into(),
            in_flight_max: 64,
            ..Default::default()
        };
        let shown = render_limits(&limits);
        assert!(shown.contains("QUOTA_DAY") && shown.contains("993") && shown.contains("1.500 s"), "{shown}");
        assert_eq!(limits_json(&limits)["limits"][0]["reset_after_seconds"], 1.5);
    }
}
