//! An answer becomes a `VerifyResponse`. Only a `Disclosure` fills its fields.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::civil::Date;

use super::words::WireSet;
use crate::domain::decision::Criterion;
use crate::domain::disclosure::Disclosure;
use crate::domain::elicence::Display;
use crate::domain::policy::POLICY_VERSION;
use crate::gateway::proto;
use crate::verification::ports::{FactSource, SubjectRef};
use crate::verification::{Answer, Confirmed};

/// Converts an answer. About an unconfirmed subject it says nothing that depends on why: same fields, same size.
pub(in crate::gateway) fn answer_message(
    answer: &Answer,
    environment: proto::Environment,
) -> proto::VerifyResponse {
    let provenance = provenance_message(answer);
    proto::VerifyResponse {
        decision: answer.ruling.decision.wire(),
        criteria: answer.ruling.criteria.iter().map(criterion_message).collect(),
        not_covered: answer.ruling.not_covered.iter().map(|item| item.wire()).collect(),
        disclosure: answer.confirmed.map(|_| disclosure_message(&answer.disclosure)),
        subject_ref: answer
            .confirmed
            .map(|confirmed| subject_ref_text(confirmed.subject_ref))
            .unwrap_or_default(),
        authorised_by: answer.authorised_by.wire(),
        provenance: Some(provenance),
        evidence: Some(proto::Evidence {
            log_origin: answer.entry.origin.to_string(),
            entry_index: answer.entry.index,
        }),
        charged: answer.charged,
        replayed: answer.replayed,
        reliance_until: answer.ruling.reliance_until.map(moment_message),
        environment: environment.into(),
        advice: answer.ruling.advice.wire(),
        remedies: answer.ruling.remedies.iter().map(|remedy| remedy.wire()).collect(),
    }
}

/// Writes a pairwise reference: 22 characters of base64url.
pub(super) fn subject_ref_text(subject: SubjectRef) -> String {
    URL_SAFE_NO_PAD.encode(subject.0)
}

fn provenance_message(answer: &Answer) -> proto::Provenance {
    let policy_version = POLICY_VERSION.to_owned();
    match answer.confirmed {
        None => proto::Provenance {
            observed_at: Some(whole_second_message(answer.observed_at)),
            known_at: Some(whole_second_message(answer.known_at)),
            position: None,
            policy_version,
            source: proto::Source::Unspecified.into(),
            changed_since: None,
        },
        Some(Confirmed { position, source, changed_since, .. }) => proto::Provenance {
            observed_at: Some(moment_message(answer.observed_at)),
            known_at: Some(moment_message(answer.known_at)),
            position: Some(proto::FeedPosition {
                epoch: position.epoch,
                partition: position.partition.into(),
                seq: position.seq,
            }),
            policy_version,
            source: source_message(source).into(),
            changed_since: changed_since.map(moment_message),
        },
    }
}

fn source_message(source: FactSource) -> proto::Source {
    match source {
        FactSource::InProcess => proto::Source::InProcess,
        FactSource::Redis => proto::Source::Redis,
        FactSource::Registry => proto::Source::Registry,
    }
}

fn criterion_message(criterion: &Criterion) -> proto::Criterion {
    proto::Criterion {
        kind: criterion.kind.wire(),
        outcome: criterion.outcome.wire(),
        reason: criterion.reason.map_or(0, WireSet::wire),
    }
}

fn disclosure_message(disclosure: &Disclosure) -> proto::Disclosure {
    proto::Disclosure {
        masked_name: disclosure.masked_name.as_ref().map(|name| name.as_str().to_owned()),
        expired_on: disclosure.expired_on.map(day_message),
        probation: disclosure.probation.map(|probation| proto::Probation {
            kind: probation.kind.wire(),
            last_day: Some(day_message(probation.last_day)),
        }),
        tenure_band: disclosure.tenure_band.map_or(0, WireSet::wire),
        pending: disclosure
            .pending
            .map(|pending| proto::Pending { violation: pending.violation, accident: pending.accident }),
        states: disclosure
            .states
            .map(|states| states.shown().letters().map(|letter| char::from(letter).to_string()).collect())
            .unwrap_or_default(),
        classes: disclosure
            .classes
            .map(|classes| classes.iter().map(WireSet::wire).collect())
            .unwrap_or_default(),
        paper_licence_needed: disclosure.paper_licence_needed,
        display: disclosure.display.map_or(0, |shown| display_message(shown.display).into()),
        deferred: disclosure.display.map(|shown| shown.deferred),
        class_groups: disclosure
            .class_groups
            .map(|groups| proto::ClassGroups { car: groups.car, motorcycle: groups.motorcycle }),
    }
}

/// What must not be shown looks void to a peer.
fn display_message(display: Display) -> proto::Display {
    match display {
        Display::Normal => proto::Display::Normal,
        Display::Red => proto::Display::Red,
        Display::Void | Display::Hidden => proto::Display::Void,
    }
}

/// Converts a moment.
pub(super) fn moment_message(moment: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: moment.as_second(), nanos: moment.subsec_nanosecond() }
}

fn whole_second_message(moment: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: moment.as_second(), nanos: 0 }
}

fn day_message(day: Date) -> proto::CivilDate {
    proto::CivilDate {
        year: u32::from(day.year().unsigned_abs()),
        month: u32::from(day.month().unsigned_abs()),
        day: u32::from(day.day().unsigned_abs()),
    }
}
