//! A `VerifyRequest` becomes a parsed request, or a list of faults: field path and rule, never the value.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::words::WireSet;
use crate::domain::claim::{Claim, ConsentEvidence, Ground, GroundKind};
use crate::domain::disclosure::{Field, FieldSet};
use crate::domain::licence::{FileNumber, FullName, LicenceNumber, NumberRules, VehicleClass};
use crate::domain::question::Question;
use crate::domain::time::civil_day;
use crate::domain::vehicle::{TypeCode, Vehicle, VehicleKind, VehicleUse};
use crate::gateway::proto::{self, verify_request};
use crate::verification::Request;

const NAME_BYTES_MAX: usize = 400;
const FIELDS_MAX: usize = 16;
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
const RENTAL_AHEAD: SignedDuration = SignedDuration::from_hours(366 * 24);
const PICK_UP_PAST: SignedDuration = SignedDuration::from_hours(24);
/// Nobody drove on a licence of the present registry before 1950-01-01T00:00:00Z.
const EARLIEST_SECOND: i64 = -631_152_000;

/// What a request is parsed against.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct RequestRules {
    /// Which numbers are accepted.
    pub(in crate::gateway) numbers: NumberRules,
    /// The present.
    pub(in crate::gateway) now: Timestamp,
}

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct FieldFault {
    /// Path in the message, as in `claim.licence_number`.
    pub(in crate::gateway) path: &'static str,
    /// The rule it breaks.
    pub(in crate::gateway) rule: String,
}

/// Parses a request.
///
/// # Errors
/// Every fault found, in order of the message's fields.
pub(in crate::gateway) fn parse_request(
    message: proto::VerifyRequest,
    rules: RequestRules,
) -> Result<Request, Vec<FieldFault>> {
    let mut faults = Faults(Vec::new());
    let claim = parse_claim(&mut faults, message.subject, rules);
    let question = parse_question(&mut faults, message.question, rules.now);
    let is_claim = matches!(question, Some(Question::InsuranceClaim { .. }));
    let known_at = faults.optional_moment("known_at", message.known_at);
    if let Some(known_at) = known_at {
        faults.demand(is_claim, "known_at", "only for insurance_claim");
        faults.demand(known_at <= rules.now, "known_at", "must not lie in the future");
    }
    faults.printable("case_reference", &message.case_reference, 1..=64);
    faults.demand(
        message.case_category.len() <= 32
            && message.case_category.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
        "case_category",
        "must have at most 32 characters of a-z, 0-9 and '-'",
    );
    faults.printable("operator_id", &message.operator_id, 1..=64);
    let max_age = parse_max_age(&mut faults, message.max_age);
    let fields = parse_fields(&mut faults, &message.fields);
    let request_id = parse_request_id(&mut faults, message.request_id);
    match (claim, question, faults.0.is_empty()) {
        (Some(claim), Some(question), true) => Ok(Request {
            claim,
            question,
            case_reference: message.case_reference,
            case_category: message.case_category,
            operator_id: message.operator_id,
            known_at,
            max_age,
            fields,
            request_id,
        }),
        _ => Err(faults.0),
    }
}

fn parse_claim(faults: &mut Faults, subject: Option<verify_request::Subject>, rules: RequestRules) -> Option<Claim> {
    let Some(verify_request::Subject::Claim(claim)) = subject else {
        return faults.refuse("subject", "exactly one must be set");
    };
    let document = faults.member("claim.document_kind", claim.document_kind);
    let number = document.and_then(|document| {
        let parsed = LicenceNumber::parse(document, &claim.licence_number, rules.numbers);
        let number = faults.parsed("claim.licence_number", parsed)?;
        let born = number.birth_day(document);
        faults.demand(
            born.is_none_or(|day| day <= civil_day(rules.now)),
            "claim.licence_number",
            "holds an impossible birth date",
        );
        Some(number)
    });
    let name = if claim.full_name.len() > NAME_BYTES_MAX {
        faults.refuse("claim.full_name", "must have at most 100 characters")
    } else {
        faults.parsed("claim.full_name", FullName::parse(&claim.full_name))
    };
    let file_number = match claim.file_number.as_str() {
        "" => None,
        digits => faults.parsed("claim.file_number", FileNumber::parse(digits)),
    };
    let ground = parse_ground(faults, claim.ground, rules.now);
    Some(Claim { document: document?, number: number?, name: name?, file_number, ground: ground? })
}

fn parse_ground(faults: &mut Faults, ground: Option<proto::Ground>, now: Timestamp) -> Option<Ground> {
    let Some(ground) = ground else { return faults.refuse("claim.ground", "is required on a claim") };
    match faults.member::<GroundKind>("claim.ground.kind", ground.kind)? {
        GroundKind::LegalDuty => Some(Ground::LegalDuty),
        GroundKind::Contract => Some(Ground::Contract { subject_is_party: ground.subject_is_party }),
        GroundKind::Consent => {
            let Some(consent) = ground.consent else {
                return faults.refuse("claim.ground.consent", "is required with GROUND_KIND_CONSENT");
            };
            parse_consent(faults, consent, now).map(Ground::Consent)
        }
    }
}

fn parse_consent(faults: &mut Faults, consent: proto::ConsentEvidence, now: Timestamp) -> Option<ConsentEvidence> {
    let obtained_at = faults.moment("claim.ground.consent.obtained_at", consent.obtained_at);
    let expires_at = faults.moment("claim.ground.consent.expires_at", consent.expires_at);
    faults.printable("claim.ground.consent.notice_version", &consent.notice_version, 1..=32);
    let digest = <[u8; 32]>::try_from(consent.evidence_sha256.as_slice()).ok();
    faults.demand(digest.is_some(), "claim.ground.consent.evidence_sha256", "must have 32 bytes");
    let (obtained_at, expires_at) = (obtained_at?, expires_at?);
    faults.demand(obtained_at <= now, "claim.ground.consent.obtained_at", "must not lie in the future");
    faults.demand(expires_at > obtained_at, "claim.ground.consent.expires_at", "must lie after obtained_at");
    faults.demand(expires_at > now, "claim.ground.consent.expires_at", "must not have passed");
    Some(ConsentEvidence {
        obtained_at,
        expires_at,
        notice_version: consent.notice_version,
        evidence_sha256: digest?,
    })
}

fn parse_question(
    faults: &mut Faults,
    question: Option<verify_request::Question>,
    now: Timestamp,
) -> Option<Question> {
    match question {
        None => faults.refuse("question", "exactly one must be set"),
        Some(verify_request::Question::InsuranceClaim(asked)) => parse_insurance_claim(faults, asked, now),
        Some(verify_request::Question::InsurancePurchase(asked)) => {
            let vehicle = parse_vehicle(faults, "insurance_purchase.vehicle", asked.vehicle)?;
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
                given => Some(parse_vehicle(faults, "enforcement.vehicle", given)?),
            };
            Some(Question::Enforcement { vehicle })
        }
    }
}

fn parse_insurance_claim(faults: &mut Faults, asked: proto::InsuranceClaimQuestion, now: Timestamp) -> Option<Question> {
    let occurred_at = faults.moment("insurance_claim.occurred_at", asked.occurred_at);
    if let Some(moment) = occurred_at {
        faults.demand(moment <= now, "insurance_claim.occurred_at", "must not lie in the future");
        faults.demand(
            moment.as_second() >= EARLIEST_SECOND,
            "insurance_claim.occurred_at",
            "must not lie before 1950",
        );
    }
    let vehicle = parse_vehicle(faults, "insurance_claim.vehicle", asked.vehicle);
    let edition = faults.member("insurance_claim.coverage_edition", asked.coverage_edition);
    Some(Question::InsuranceClaim { occurred_at: occurred_at?, vehicle: vehicle?, edition: edition? })
}

fn parse_rental(faults: &mut Faults, asked: proto::RentalQuestion, now: Timestamp) -> Option<Question> {
    let pick_up = faults.moment("rental.pick_up", asked.pick_up);
    let return_at = faults.moment("rental.return", asked.r#return);
    let vehicle = parse_vehicle(faults, "rental.vehicle", asked.vehicle);
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

fn parse_vehicle(faults: &mut Faults, path: &'static str, vehicle: Option<proto::Vehicle>) -> Option<Vehicle> {
    let Some(vehicle) = vehicle else { return faults.refuse(path, "is required") };
    let kind = match vehicle.kind {
        None => faults.refuse(path, "exactly one of class and ga164_code must be set"),
        Some(proto::vehicle::Kind::Class(number)) => faults.member(path, number).map(VehicleKind::Class),
        Some(proto::vehicle::Kind::Ga164Code(code)) => match TypeCode::parse(&code) {
            Some(code) => Some(VehicleKind::TypeCode(code)),
            None => faults.refuse(path, "ga164_code must be a vehicle type code of GA/T 16.4-2012"),
        },
    };
    let seats = match vehicle.seats {
        None => None,
        Some(seats @ 1..=300) => u16::try_from(seats).ok(),
        Some(_) => faults.refuse(path, "seats must be 1 to 300"),
    };
    faults.demand(
        vehicle.total_mass_kg.is_none_or(|mass| (1..=200_000).contains(&mass)),
        path,
        "total_mass_kg must be 1 to 200000",
    );
    faults.demand(
        vehicle.combination_mass_kg.is_none_or(|mass| mass <= 500_000),
        path,
        "combination_mass_kg must be at most 500000",
    );
    Some(Vehicle {
        kind: kind?,
        automatic: vehicle.automatic,
        adapted: vehicle.adapted,
        seats,
        total_mass_kg: vehicle.total_mass_kg,
        combination_mass_kg: vehicle.combination_mass_kg,
        used_for: faults.optional_member::<VehicleUse>(path, vehicle.r#use),
    })
}

fn parse_max_age(faults: &mut Faults, max_age: Option<prost_types::Duration>) -> Option<Duration> {
    let max_age = max_age?;
    let parsed = Duration::try_from(max_age).ok().filter(|age| *age <= MAX_AGE);
    faults.demand(parsed.is_some(), "max_age", "must be 0 s to 24 h");
    parsed
}

fn parse_fields(faults: &mut Faults, numbers: &[i32]) -> FieldSet {
    faults.demand(numbers.len() <= FIELDS_MAX, "fields", "must be at most 16");
    numbers.iter().take(FIELDS_MAX).filter_map(|number| faults.member::<Field>("fields", *number)).collect()
}

fn parse_request_id(faults: &mut Faults, request_id: String) -> Option<String> {
    if request_id.is_empty() {
        return None;
    }
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    faults.demand(
        (8..=64).contains(&request_id.len()) && request_id.bytes().all(permitted),
        "request_id",
        "must have 8 to 64 characters of A-Z, a-z, 0-9, '-' and '_'",
    );
    Some(request_id)
}

/// Collects faults while the rest of the message is still read.
struct Faults(Vec<FieldFault>);

impl Faults {
    fn demand(&mut self, holds: bool, path: &'static str, rule: &str) {
        if !holds {
            self.0.push(FieldFault { path, rule: rule.to_owned() });
        }
    }

    fn refuse<T>(&mut self, path: &'static str, rule: &str) -> Option<T> {
        self.demand(false, path, rule);
        None
    }

    fn parsed<T>(&mut self, path: &'static str, parsed: Result<T, impl std::fmt::Display>) -> Option<T> {
        parsed.map_err(|fault| self.demand(false, path, &fault.to_string())).ok()
    }

    fn member<T: WireSet>(&mut self, path: &'static str, number: i32) -> Option<T> {
        let member = T::from_wire(number);
        self.demand(member.is_some(), path, "must be a known value, and set");
        member
    }

    fn optional_member<T: WireSet>(&mut self, path: &'static str, number: i32) -> Option<T> {
        if number == 0 { None } else { self.member(path, number) }
    }

    fn months(&mut self, path: &'static str, months: u32) -> Option<u16> {
        match u16::try_from(months).ok().filter(|months| *months <= 1200) {
            Some(0) => None,
            Some(months) => Some(months),
            None => self.refuse(path, "must be at most 1200"),
        }
    }

    fn moment(&mut self, path: &'static str, moment: Option<prost_types::Timestamp>) -> Option<Timestamp> {
        if moment.is_none() {
            return self.refuse(path, "is required");
        }
        self.optional_moment(path, moment)
    }

    fn optional_moment(&mut self, path: &'static str, moment: Option<prost_types::Timestamp>) -> Option<Timestamp> {
        let moment = moment?;
        let well_formed = (0..1_000_000_000).contains(&moment.nanos);
        let parsed = Timestamp::new(moment.seconds, moment.nanos).ok().filter(|_| well_formed);
        self.demand(parsed.is_some(), path, "must be a moment of the years 1 to 9999");
        parsed
    }

    fn printable(&mut self, path: &'static str, text: &str, length: std::ops::RangeInclusive<usize>) {
        let permitted = length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !permitted {
            let rule = format!("must have {} to {} visible ASCII characters", length.start(), length.end());
            self.0.push(FieldFault { path, rule });
        }
    }
}
