//! The catalogue's questions as a partner's client sends them.

use jiff::Timestamp;

use crate::cli::verify::{moment, request};
use crate::domain::catalogue::TestDriver;
use crate::domain::question::Question;
use crate::domain::vehicle::{Vehicle, VehicleKind};
use crate::gateway::proto::{self, vehicle, verify_request};

/// Returns the request a partner sends to ask a test driver's question, on the ground its purpose usually has.
pub fn ask(
    driver: &TestDriver,
    question: &Question,
    known_at: Option<Timestamp>,
    now: Timestamp,
) -> proto::VerifyRequest {
    use verify_request::Question as Asked;
    let at = |moment: Timestamp| Some(moment::to_proto(moment));
    let consent = || request::consent_ground(now, driver.situation.as_bytes());
    let (ground, asked) = match question {
        Question::InsuranceClaim { occurred_at, vehicle, edition } => {
            let asked = proto::InsuranceClaimQuestion {
                occurred_at: at(*occurred_at),
                vehicle: Some(described(vehicle)),
                coverage_edition: edition.code().into(),
            };
            (request::legal_duty_ground(), Asked::InsuranceClaim(asked))
        }
        Question::InsurancePurchase { vehicle } => {
            let vehicle = Some(described(vehicle));
            (consent(), Asked::InsurancePurchase(proto::InsurancePurchaseQuestion { vehicle }))
        }
        Question::Rental { pick_up, return_at, vehicle, min_tenure_months, validity_margin_days } => {
            let asked = proto::RentalQuestion {
                pick_up: at(*pick_up),
                r#return: at(*return_at),
                vehicle: Some(described(vehicle)),
                min_tenure_months: min_tenure_months.map_or(0, Into::into),
                validity_margin_days: (*validity_margin_days).into(),
            };
            (request::contract_ground(), Asked::Rental(asked))
        }
        Question::Recruitment { role, min_tenure_months, class } => {
            let asked = proto::RecruitmentQuestion {
                role: role.code().into(),
                min_tenure_months: min_tenure_months.map_or(0, Into::into),
                class: class.map_or(0, |class| class.code().into()),
            };
            (consent(), Asked::Recruitment(asked))
        }
        Question::Transport { role, filed, class } => {
            let asked = proto::TransportQuestion {
                role: role.code().into(),
                filed: *filed,
                class: class.map_or(0, |class| class.code().into()),
            };
            (request::legal_duty_ground(), Asked::Transport(asked))
        }
        Question::Enforcement { vehicle } => {
            let vehicle = vehicle.as_ref().map(described);
            (request::legal_duty_ground(), Asked::Enforcement(proto::EnforcementQuestion { vehicle }))
        }
        // No ground fits: it is asked with a presentation, and a claim is refused.
        Question::PeerScan { scanner } => {
            let scanner = Some(proto::Holder {
                document_kind: scanner.document.code().into(),
                licence_number: scanner.number.expose().to_owned(),
            });
            (request::legal_duty_ground(), Asked::PeerScan(proto::PeerScanQuestion { scanner }))
        }
    };
    let claim = proto::Claim {
        document_kind: driver.document.code().into(),
        licence_number: driver.number.to_owned(),
        full_name: driver.claimed_name.to_owned(),
        file_number: String::new(),
        ground: Some(ground),
    };
    let case = format!("DEMO-{:02}{}", driver.row, if driver.twin.is_empty() { "" } else { "-TWIN" });
    proto::VerifyRequest {
        known_at: known_at.and_then(at),
        ..request::request(claim, asked, &case, "demo-desk-1")
    }
}

fn described(vehicle: &Vehicle) -> proto::Vehicle {
    let kind = match &vehicle.kind {
        VehicleKind::Class(class) => vehicle::Kind::Class(class.code().into()),
        VehicleKind::TypeCode(code) => vehicle::Kind::Ga164Code(code.as_str().to_owned()),
    };
    proto::Vehicle {
        kind: Some(kind),
        automatic: vehicle.automatic,
        adapted: vehicle.adapted,
        seats: vehicle.seats.map(Into::into),
        total_mass_kg: vehicle.total_mass_kg,
        combination_mass_kg: vehicle.combination_mass_kg,
        r#use: vehicle.used_for.map_or(0, |used_for| used_for.code().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::verify::words::{Word, typed};
    use crate::domain::decision::{CriterionKind, Decision, Outcome, Reason};
    use crate::domain::licence::{DocumentKind, VehicleClass};
    use crate::domain::question::{CoverageEdition, Role};

    fn same<W: Word>(code: u8, word: &str) {
        let there = W::try_from(i32::from(code)).ok().map(typed);
        assert_eq!(there.as_deref(), Some(word.to_ascii_lowercase().replace('_', "-").as_str()));
    }

    /// Requests are built from codes: they must mean the same in the domain and in the contract.
    #[test]
    fn codes_of_the_domain_are_numbers_of_the_contract() {
        DocumentKind::ALL.iter().for_each(|one| same::<proto::DocumentKind>(one.code(), one.word()));
        VehicleClass::ALL.iter().for_each(|one| same::<proto::VehicleClass>(one.code(), one.word()));
        CoverageEdition::ALL.iter().for_each(|one| same::<proto::CoverageEdition>(one.code(), one.word()));
        Role::ALL.iter().for_each(|one| same::<proto::Role>(one.code(), one.word()));
        Decision::ALL.iter().for_each(|one| same::<proto::Decision>(one.code(), one.word()));
        CriterionKind::ALL.iter().for_each(|one| same::<proto::CriterionKind>(one.code(), one.word()));
        Outcome::ALL.iter().for_each(|one| same::<proto::Outcome>(one.code(), one.word()));
        Reason::ALL.iter().for_each(|one| same::<proto::Reason>(one.code(), one.word()));
    }
}
