//! Requests as a client puts them together. Shared by `verify`, `load` and `demo`.

use jiff::{SignedDuration, Timestamp};

use super::moment;
use crate::gateway::proto::{self, vehicle, verify_request};

/// How long a consent made up here is valid.
const CONSENT_VALID: SignedDuration = SignedDuration::from_hours(24);

/// Returns a ground by which the driver is a party to the contract.
pub fn contract_ground() -> proto::Ground {
    proto::Ground { kind: proto::GroundKind::Contract.into(), consent: None, subject_is_party: true }
}

/// Returns a ground by which a law demands the look-up.
pub fn legal_duty_ground() -> proto::Ground {
    proto::Ground { kind: proto::GroundKind::LegalDuty.into(), consent: None, subject_is_party: false }
}

/// Returns a ground by which the driver consented a minute ago, proved by a record with this content.
pub fn consent_ground(now: Timestamp, record: &[u8]) -> proto::Ground {
    let obtained = now - SignedDuration::from_mins(1);
    proto::Ground {
        kind: proto::GroundKind::Consent.into(),
        consent: Some(proto::ConsentEvidence {
            obtained_at: Some(moment::to_proto(obtained)),
            expires_at: Some(moment::to_proto(obtained + CONSENT_VALID)),
            notice_version: "2026-03".to_owned(),
            evidence_sha256: sha256(record),
        }),
        subject_is_party: false,
    }
}

/// Returns the SHA-256 of a record of consent.
pub fn sha256(record: &[u8]) -> Vec<u8> {
    crate::hashing::sha256(record).to_vec()
}

/// Returns a claim about the holder of a resident identity card.
pub fn resident(number: &str, name: &str, ground: proto::Ground) -> proto::Claim {
    proto::Claim {
        document_kind: proto::DocumentKind::ResidentId.into(),
        licence_number: number.to_owned(),
        full_name: name.to_owned(),
        file_number: String::new(),
        ground: Some(ground),
    }
}

/// Returns a private vehicle of a class, five seats, manual gearbox, no trailer.
pub fn private_vehicle(class: proto::VehicleClass) -> proto::Vehicle {
    proto::Vehicle {
        kind: Some(vehicle::Kind::Class(class.into())),
        automatic: Some(false),
        adapted: Some(false),
        seats: Some(5),
        total_mass_kg: Some(1_800),
        combination_mass_kg: Some(0),
        r#use: proto::VehicleUse::Private.into(),
    }
}

/// Returns a request on a claim, with what every request must have.
pub fn request(
    claim: proto::Claim,
    question: verify_request::Question,
    case_reference: &str,
    operator_id: &str,
) -> proto::VerifyRequest {
    request_about(verify_request::Subject::Claim(claim), question, case_reference, operator_id)
}

/// As [`request`], on a claim or on what the driver showed.
pub fn request_about(
    subject: verify_request::Subject,
    question: verify_request::Question,
    case_reference: &str,
    operator_id: &str,
) -> proto::VerifyRequest {
    proto::VerifyRequest {
        subject: Some(subject),
        question: Some(question),
        case_reference: case_reference.to_owned(),
        operator_id: operator_id.to_owned(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consent_made_up_here_lies_in_the_past_and_has_a_digest() {
        let now: Timestamp = "2026-03-01T02:00:00Z".parse().unwrap();
        let consent = consent_ground(now, b"record").consent.unwrap();
        assert!(consent.obtained_at.unwrap().seconds < now.as_second());
        assert!(consent.expires_at.unwrap().seconds > now.as_second());
        assert_eq!(consent.evidence_sha256.len(), 32);
    }
}
