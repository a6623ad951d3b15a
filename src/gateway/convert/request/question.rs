//! The question of a request, and the vehicle in it.

use jiff::{SignedDuration, Timestamp};

use super::RequestRules;
use super::about::{HolderPaths, parse_holder};
use super::faults::Faults;
use crate::domain::licence::VehicleClass;
use crate::domain::question::Question;
use crate::domain::vehicle::{TypeCode, Vehicle, VehicleKind, VehicleUse};
use crate::gateway::proto::{self, verify_request};

/// Rentals are booked and last at most a leap year.
const RENTAL_AHEAD: SignedDuration = SignedDuration::from_hours(366 * 24);
/// A hand-over may be entered a day late.
const PICK_UP_PAST: SignedDuration = SignedDuration::from_hours(24);
/// Nobody drove on a licence of the present registry before 1950-01-01T00:00:00Z.
const EARLIEST_SECOND: i64 = -631_152_000;

const SCANNER: HolderPaths = HolderPaths {
    whole: "peer_scan.scanner",
    document: "peer_scan.scanner.document_kind",
    number: "peer_scan.scanner.licence_number",
};

/// The paths of a vehicle's fields, below the question it stands in.
struct VehiclePaths {
    whole: &'static str,
    class: &'static str,
    type_code: &'static str,
    seats: &'static str,
    total_mass: &'static str,
    combination_mass: &'static str,
    used_for: &'static str,
}

macro_rules! vehicle_paths {
    ($whole:literal) => {
        VehiclePaths {
            whole: $whole,
            class: concat!($whole, ".class"),
            type_code: concat!($whole, ".ga164_code"),
            seats: concat!($whole, ".seats"),
            total_mass: concat!($whole, ".total_mass_kg"),
            combination_mass: concat!($whole, ".combination_mass_kg"),
            used_for: concat!($whole, ".use"),
        }
    };
}
/// Parses the question.
pub(super) fn parse_question(
    faults: &mut Faults,
    question: Option<verify_request::Question>,
    rules: RequestRules,
) -> Option<Question> {
    let now = rules.now;
    match question {
        None => faults.refuse("question", "exactly one must be set"),
        Some(verify_request::Question::InsuranceClaim(asked)) => parse_insurance_claim(faults, asked, now),
        Some(verify_request::Question::InsurancePurchase(asked)) => {
            let vehicle =
                parse_vehicle(faults, &vehicle_paths!("insurance_purchase.vehicle"), asked.vehicle)?;
            Some(Question::InsurancePurchase { vehicle })
        }
        Some(verify_request::Question::Rental(asked)) => parse_rental(faults, asked, now),
        Some(verify_request::Question::Recruitment(asked)) => {
            let class = faults.optional_member::<VehicleClass>("recruitment.class", asked.class);
            let min_tenure_months = faults.months("recruitment.min_tenure_months", asked.min_tenure_months);
            let role = faults.member("recruitment.role", asked.role)?;
            Some(Question::Recruitment { role, min_tenure_months, class })
        }
        Some(verify_request::Question::Transport(asked)) => {
            let class = faults.optional_member::<VehicleClass>("transport.class", asked.class);
            let role = faults.member("transport.role", asked.role)?;
            Some(Question::Transport { role, filed: asked.filed, class })
        }
        Some(verify_request::Question::Enforcement(asked)) => {
            let vehicle = match asked.vehicle {
                None => None,
                given => Some(parse_vehicle(faults, &vehicle_paths!("enforcement.vehicle"), given)?),
            };
            Some(Question::Enforcement { vehicle })
        }
        Some(verify_request::Question::PeerScan(asked)) => {
            let scanner = parse_holder(faults, &SCANNER, asked.scanner, rules)?;
            Some(Question::PeerScan { scanner })
        }
    }
}

fn parse_insurance_claim(
    faults: &mut Faults,
    asked: proto::InsuranceClaimQuestion,
    now: Timestamp,
) -> Option<Question> {
    let occurred_at = faults.moment("insurance_claim.occurred_at", asked.occurred_at);
    if let Some(moment) = occurred_at {
        faults.demand(moment <= now, "insurance_claim.occurred_at", "must not lie in the future");
        faults.demand(
            moment.as_second() >= EARLIEST_SECOND,
            "insurance_claim.occurred_at",
            "must not lie before 1950",
        );
    }
    let vehicle = parse_vehicle(faults, &vehicle_paths!("insurance_claim.vehicle"), asked.vehicle);
    let edition = faults.member("insurance_claim.coverage_edition", asked.coverage_edition);
    Some(Question::InsuranceClaim { occurred_at: occurred_at?, vehicle: vehicle?, edition: edition? })
}

fn parse_rental(faults: &mut Faults, asked: proto::RentalQuestion, now: Timestamp) -> Option<Question> {
    let pick_up = faults.moment("rental.pick_up", asked.pick_up);
    let return_at = faults.moment("rental.return", asked.r#return);
    let vehicle = parse_vehicle(faults, &vehicle_paths!("rental.vehicle"), asked.vehicle);
    let min_tenure_months = faults.months("rental.min_tenure_months", asked.min_tenure_months);
    let margin = u16::try_from(asked.validity_margin_days).ok().filter(|days| *days <= 366);
    faults.demand(margin.is_some(), "rental.validity_margin_days", "must be at most 366");
    let (pick_up, return_at) = (pick_up?, return_at?);
    faults.demand(
        pick_up.duration_since(now) >= -PICK_UP_PAST && pick_up.duration_since(now) <= RENTAL_AHEAD,
        "rental.pick_up",
        "must lie at most 24 hours back and 366 days ahead",
    );
    faults.demand(return_at > pick_up, "rental.return", "must lie after pick_up");
    faults.demand(
        return_at.duration_since(pick_up) <= RENTAL_AHEAD,
        "rental.return",
        "must lie at most 366 days after pick_up",
    );
    Some(Question::Rental {
        pick_up,
        return_at,
        vehicle: vehicle?,
        min_tenure_months,
        validity_margin_days: margin?,
    })
}

fn parse_vehicle(faults: &mut Faults, at: &VehiclePaths, vehicle: Option<proto::Vehicle>) -> Option<Vehicle> {
    let Some(vehicle) = vehicle else { return faults.refuse(at.whole, "is required") };
    let kind = match vehicle.kind {
        None => faults.refuse(at.whole, "exactly one of class and ga164_code must be set"),
        Some(proto::vehicle::Kind::Class(number)) => faults.member(at.class, number).map(VehicleKind::Class),
        Some(proto::vehicle::Kind::Ga164Code(code)) => match TypeCode::parse(&code) {
            Some(code) => Some(VehicleKind::TypeCode(code)),
            None => faults.refuse(at.type_code, "must be a vehicle type code of GA/T 16.4-2012"),
        },
    };
    let seats = match vehicle.seats {
        None => None,
        Some(seats @ 1..=300) => u16::try_from(seats).ok(),
        Some(_) => faults.refuse(at.seats, "must be 1 to 300"),
    };
    faults.demand(
        vehicle.total_mass_kg.is_none_or(|mass| (1..=200_000).contains(&mass)),
        at.total_mass,
        "must be 1 to 200000",
    );
    faults.demand(
        vehicle.combination_mass_kg.is_none_or(|mass| mass <= 500_000),
        at.combination_mass,
        "must be at most 500000",
    );
    Some(Vehicle {
        kind: kind?,
        automatic: vehicle.automatic,
        adapted: vehicle.adapted,
        seats,
        total_mass_kg: vehicle.total_mass_kg,
        combination_mass_kg: vehicle.combination_mass_kg,
        used_for: faults.optional_member::<VehicleUse>(at.used_for, vehicle.r#use),
    })
}
