//! Questions in the words of the contract. Each is right as it comes; a test then spoils one thing.

use std::time::{Duration, SystemTime};

use drivegate::gateway::proto::verify_request::{Question, Subject};
use drivegate::gateway::proto::{
    Claim, CoverageEdition, DocumentKind, Ground, GroundKind, InsuranceClaimQuestion, RentalQuestion,
    Vehicle, VehicleClass, VehicleUse, VerifyRequest, vehicle,
};
use prost_types::Timestamp;

/// Number and name of the first test driver: everything is in order.
pub(crate) const NUMBER: &str = "000000199001010114";
/// See [`NUMBER`].
pub(crate) const NAME: &str = "测试甲";

/// A moment so many hours from now.
pub(crate) fn hours(from_now: i64) -> Timestamp {
    let span = Duration::from_secs(from_now.unsigned_abs() * 3600);
    let now = SystemTime::now();
    let moment = if from_now < 0 { now - span } else { now + span };
    Timestamp { nanos: 0, ..moment.into() }
}

/// What a partner asserts about a driver with a resident number.
pub(crate) fn claim(number: &str, name: &str, kind: GroundKind) -> Claim {
    Claim {
        document_kind: DocumentKind::ResidentId.into(),
        licence_number: number.to_owned(),
        full_name: name.to_owned(),
        file_number: String::new(),
        ground: Some(Ground {
            kind: kind.into(),
            consent: None,
            subject_is_party: kind == GroundKind::Contract,
        }),
    }
}

/// A small car with a manual gearbox.
pub(crate) fn small_car() -> Vehicle {
    Vehicle {
        kind: Some(vehicle::Kind::Class(VehicleClass::C1.into())),
        automatic: Some(false),
        adapted: Some(false),
        seats: Some(5),
        total_mass_kg: Some(1900),
        combination_mass_kg: Some(0),
        r#use: VehicleUse::Private.into(),
    }
}

/// A rental for three days.
pub(crate) fn rental(number: &str, name: &str) -> VerifyRequest {
    let question = RentalQuestion {
        pick_up: Some(hours(1)),
        r#return: Some(hours(73)),
        vehicle: Some(small_car()),
        min_tenure_months: 12,
        validity_margin_days: 0,
    };
    request(claim(number, name, GroundKind::Contract), Question::Rental(question))
}

/// A claim about an accident ten days ago.
pub(crate) fn insurance_claim(number: &str, name: &str) -> VerifyRequest {
    let question = InsuranceClaimQuestion {
        occurred_at: Some(hours(-240)),
        vehicle: Some(small_car()),
        coverage_edition: CoverageEdition::Commercial2020.into(),
    };
    request(claim(number, name, GroundKind::LegalDuty), Question::InsuranceClaim(question))
}

fn request(claim: Claim, question: Question) -> VerifyRequest {
    VerifyRequest {
        subject: Some(Subject::Claim(claim)),
        question: Some(question),
        case_reference: "CASE-2026-1".to_owned(),
        case_category: "test".to_owned(),
        operator_id: "clerk-17".to_owned(),
        known_at: None,
        known_position: None,
        max_age: None,
        fields: Vec::new(),
        request_id: String::new(),
    }
}
