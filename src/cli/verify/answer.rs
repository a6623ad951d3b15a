//! An answer as a person reads it, and as a program does. Both show what the gateway released, and nothing else.

use serde_json::{Value, json};

use super::super::terminal::{Terminal, Tone};
use super::moment;
use super::words::{Word as _, short};
use crate::gateway::proto;

/// Returns how a decision is meant.
pub fn tone_of(decision: proto::Decision) -> Tone {
    match decision {
        proto::Decision::Qualified => Tone::Good,
        proto::Decision::NotQualified => Tone::Bad,
        proto::Decision::Indeterminate | proto::Decision::Unspecified => Tone::Doubt,
    }
}

/// Shows a criterion in a few words: `TENURE not met: TENURE_SHORT`.
pub fn criterion(criterion: &proto::Criterion) -> String {
    let kind = short::<proto::CriterionKind>(criterion.kind);
    match criterion.outcome() {
        proto::Outcome::Met => kind,
        outcome => {
            let outcome = outcome.short().to_ascii_lowercase().replace('_', " ");
            format!("{kind} {outcome}: {}", short::<proto::Reason>(criterion.reason))
        }
    }
}

/// Shows what was released, one `field: value` each.
pub fn disclosed(disclosure: &proto::Disclosure) -> Vec<String> {
    let mut fields = Vec::new();
    if let Some(name) = &disclosure.masked_name {
        fields.push(format!("name {name}"));
    }
    if let Some(day) = &disclosure.expired_on {
        fields.push(format!("expired on {}", civil(*day)));
    }
    if let Some(probation) = &disclosure.probation {
        let last = probation.last_day.map_or_else(String::new, |day| format!(" to {}", civil(day)));
        fields.push(format!("probation {}{last}", short::<proto::ProbationKind>(probation.kind)));
    }
    if disclosure.tenure_band != 0 {
        fields.push(format!("tenure {}", short::<proto::TenureBand>(disclosure.tenure_band)));
    }
    if let Some(pending) = &disclosure.pending {
        let yes_no = |flag| if flag { "yes" } else { "no" };
        fields.push(format!(
            "pending violation {}, accident {}",
            yes_no(pending.violation),
            yes_no(pending.accident)
        ));
    }
    if !disclosure.states.is_empty() {
        fields.push(format!("states {}", disclosure.states.join("")));
    }
    if !disclosure.classes.is_empty() {
        let classes: Vec<_> = disclosure.classes().map(|class| class.short()).collect();
        fields.push(format!("classes {}", classes.join(" ")));
    }
    if let Some(needed) = disclosure.paper_licence_needed {
        fields.push(format!("paper licence {}", if needed { "needed" } else { "not needed" }));
    }
    if disclosure.display != 0 {
        let deferred = if disclosure.deferred() { ", deferred" } else { "" };
        fields.push(format!("shown as {}{deferred}", short::<proto::Display>(disclosure.display)));
    }
    if let Some(groups) = &disclosure.class_groups {
        let held = [(groups.car, "car"), (groups.motorcycle, "motorcycle")];
        let held: Vec<_> = held.iter().filter(|(held, _)| *held).map(|(_, group)| *group).collect();
        fields.push(format!("groups {}", if held.is_empty() { "none".to_owned() } else { held.join(", ") }));
    }
    fields
}

fn civil(day: proto::CivilDate) -> String {
    format!("{:04}-{:02}-{:02}", day.year, day.month, day.day)
}

/// Shows an answer for a person.
pub fn render(answer: &proto::VerifyResponse, terminal: Terminal) -> String {
    let decision = answer.decision();
    let mut lines = vec![terminal.paint(tone_of(decision), decision.short())];
    for one in &answer.criteria {
        let tone = match one.outcome() {
            proto::Outcome::Met => Tone::Good,
            proto::Outcome::NotMet => Tone::Bad,
            _ => Tone::Doubt,
        };
        let mark = match one.outcome() {
            proto::Outcome::Met => "+",
            proto::Outcome::NotMet => "-",
            proto::Outcome::Noted => "!",
            _ => "?",
        };
        lines.push(format!("  {} {}", terminal.paint(tone, mark), criterion(one)));
    }
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {} {value}", terminal.paint(Tone::Faint, &format!("{name:<13}"))));
        }
    };
    fact("disclosed", answer.disclosure.as_ref().map(disclosed).unwrap_or_default().join(" · "));
    fact("not covered", answer.not_covered().map(|one| one.short()).collect::<Vec<_>>().join(", "));
    fact("subject ref", answer.subject_ref.clone());
    if answer.advice != 0 {
        fact("advice", short::<proto::Advice>(answer.advice));
    }
    fact("remedies", answer.remedies().map(|one| one.short()).collect::<Vec<_>>().join(", "));
    fact("rely until", answer.reliance_until.as_ref().map(moment::show).unwrap_or_default());
    if let Some(provenance) = &answer.provenance {
        fact("observed at", provenance.observed_at.as_ref().map(moment::show).unwrap_or_default());
        fact("known at", provenance.known_at.as_ref().map(moment::show).unwrap_or_default());
        fact("changed since", provenance.changed_since.as_ref().map(moment::show).unwrap_or_default());
        fact("source", source(provenance));
        fact("rules of", provenance.policy_version.clone());
    }
    if let Some(evidence) = &answer.evidence {
        fact("evidence", format!("{} #{}", evidence.log_origin, evidence.entry_index));
    }
    fact(
        "authorised by",
        short::<proto::AuthorisedBy>(answer.authorised_by).replace('_', " ").to_lowercase(),
    );
    let charged = match (answer.replayed, answer.charged) {
        (true, _) => "given again, not charged again",
        (false, true) => "charged",
        (false, false) => "not charged",
    };
    fact("world", format!("{}, {charged}", short::<proto::Environment>(answer.environment)));
    lines.join("\n")
}

fn source(provenance: &proto::Provenance) -> String {
    if provenance.source() == proto::Source::Unspecified {
        return "not told about an unconfirmed subject".to_owned();
    }
    let source = short::<proto::Source>(provenance.source);
    match &provenance.position {
        Some(at) => format!("{source} as of ({}, {}, {})", at.epoch, at.partition, at.seq),
        None => source,
    }
}

/// Shows an answer for a program: the contract's own field names and words.
pub fn to_json(answer: &proto::VerifyResponse) -> Value {
    let at = |moment: &Option<prost_types::Timestamp>| {
        moment.as_ref().and_then(moment::from_proto).map(|moment| moment.to_string())
    };
    let criteria: Vec<Value> = answer
        .criteria
        .iter()
        .map(|one| {
            json!({
                "kind": short::<proto::CriterionKind>(one.kind),
                "outcome": short::<proto::Outcome>(one.outcome),
                "reason": (one.reason != 0).then(|| short::<proto::Reason>(one.reason)),
            })
        })
        .collect();
    let provenance = answer.provenance.as_ref().map(|one| {
        json!({
            "observed_at": at(&one.observed_at),
            "known_at": at(&one.known_at),
            "changed_since": at(&one.changed_since),
            "position": one.position.as_ref().map(|at| json!({ "epoch": at.epoch, "partition": at.partition, "seq": at.seq })),
            "policy_version": one.policy_version,
            "source": short::<proto::Source>(one.source),
        })
    });
    json!({
        "kind": "answer",
        "decision": answer.decision().short(),
        "criteria": criteria,
        "not_covered": answer.not_covered().map(|one| one.short()).collect::<Vec<_>>(),
        "disclosure": answer.disclosure.as_ref().map(disclosure_json),
        "subject_ref": (!answer.subject_ref.is_empty()).then_some(&answer.subject_ref),
        "authorised_by": short::<proto::AuthorisedBy>(answer.authorised_by),
        "provenance": provenance,
        "evidence": answer.evidence.as_ref().map(|one| json!({ "log_origin": one.log_origin, "entry_index": one.entry_index })),
        "charged": answer.charged,
        "replayed": answer.replayed,
        "reliance_until": at(&answer.reliance_until),
        "environment": short::<proto::Environment>(answer.environment),
        "advice": (answer.advice != 0).then(|| short::<proto::Advice>(answer.advice)),
        "remedies": answer.remedies().map(|one| one.short()).collect::<Vec<_>>(),
    })
}

fn disclosure_json(one: &proto::Disclosure) -> Value {
    let probation = one.probation.as_ref().map(|probation| {
        json!({ "kind": short::<proto::ProbationKind>(probation.kind), "last_day": probation.last_day.map(civil) })
    });
    json!({
        "masked_name": one.masked_name,
        "expired_on": one.expired_on.map(civil),
        "probation": probation,
        "tenure_band": (one.tenure_band != 0).then(|| short::<proto::TenureBand>(one.tenure_band)),
        "pending": one.pending.map(|pending| json!({ "violation": pending.violation, "accident": pending.accident })),
        "states": one.states,
        "classes": one.classes().map(|class| class.short()).collect::<Vec<_>>(),
        "paper_licence_needed": one.paper_licence_needed,
        "display": (one.display != 0).then(|| short::<proto::Display>(one.display)),
        "deferred": one.deferred,
        "class_groups": one.class_groups.map(|groups| json!({ "car": groups.car, "motorcycle": groups.motorcycle })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> proto::VerifyResponse {
        proto::VerifyResponse {
            decision: proto::Decision::NotQualified.into(),
            criteria: vec![
                proto::Criterion {
                    kind: proto::CriterionKind::Licence.into(),
                    outcome: proto::Outcome::Met.into(),
                    reason: 0,
                },
                proto::Criterion {
                    kind: proto::CriterionKind::Tenure.into(),
                    outcome: proto::Outcome::NotMet.into(),
                    reason: proto::Reason::TenureShort.into(),
                },
            ],
            disclosure: Some(proto::Disclosure {
                masked_name: Some("欧阳*".to_owned()),
                ..Default::default()
            }),
            environment: proto::Environment::Sandbox.into(),
            charged: true,
            ..Default::default()
        }
    }

    #[test]
    fn a_person_reads_decision_criteria_and_disclosure() {
        let shown = render(&answer(), Terminal::plain());
        for part in [
            "NOT_QUALIFIED",
            "+ LICENCE\n",
            "- TENURE not met: TENURE_SHORT",
            "name 欧阳*",
            "SANDBOX, charged",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }

    #[test]
    fn a_program_reads_the_words_of_the_contract() {
        let value = to_json(&answer());
        assert_eq!(value["decision"], "NOT_QUALIFIED");
        assert_eq!(value["criteria"][1]["reason"], "TENURE_SHORT");
        assert_eq!(value["criteria"][0]["reason"], Value::Null);
        assert_eq!(value["disclosure"]["masked_name"], "欧阳*");
        assert_eq!(value["subject_ref"], Value::Null);
    }
}
