//! Tells questions apart without keeping them.

use jiff::Timestamp;

use super::ports::QuestionDigest;
use super::request::{About, Request};
use crate::domain::claim::Ground;
use crate::domain::licence::{FileNumber, VehicleClass};
use crate::domain::question::Question;
use crate::domain::subject::{NumberPseudonym, Position};
use crate::domain::vehicle::{Vehicle, VehicleKind};
use crate::hashing::{first_half, sha256};

/// Digests what is asked: the same question always gives the same digest. Moments count to the second.
/// Nothing about the subject enters.
pub(super) fn digest_question(
    question: &Question,
    known_at: Option<Timestamp>,
    known_position: Option<Position>,
) -> QuestionDigest {
    let mut bytes = Bytes(Vec::with_capacity(128));
    bytes.byte(question.purpose().code()).optional(known_at.map(Timestamp::as_second));
    match question {
        Question::InsuranceClaim { occurred_at, vehicle, edition } => {
            bytes.vehicle(vehicle).number(occurred_at.as_second()).byte(edition.code());
        }
        Question::InsurancePurchase { vehicle } => {
            bytes.vehicle(vehicle);
        }
        Question::Rental { pick_up, return_at, vehicle, min_tenure_months, validity_margin_days } => {
            bytes
                .vehicle(vehicle)
                .number(pick_up.as_second())
                .number(return_at.as_second())
                .optional(*min_tenure_months)
                .number((*validity_margin_days).into());
        }
        Question::Recruitment { role, min_tenure_months, class } => {
            bytes.byte(role.code()).optional(*min_tenure_months).optional(class.map(VehicleClass::code));
        }
        Question::Transport { role, filed, class } => {
            bytes.byte(role.code()).byte((*filed).into()).optional(class.map(VehicleClass::code));
        }
        Question::Enforcement { vehicle } => {
            if let Some(vehicle) = vehicle {
                bytes.vehicle(vehicle);
            }
        }
        // Whoever scans asks the same question.
        Question::PeerScan { .. } => {}
    }
    if let Some(Position { epoch, partition, seq }) = known_position {
        bytes.number(epoch.into()).number(partition.into()).number(seq.cast_signed());
    }
    bytes.digest()
}

/// Digests everything that makes a request the same request: whom, what, in which matter, which fields. `number` is the number that was
/// sent with it: the claimed one, or that of who scans.
///
/// Of a claim it lives in memory only. Of something shown it stands in the registry as long as the redemption does, and cannot be tried
/// out: the text that was shown is in it, and that is kept nowhere.
pub(super) fn digest_content(
    request: &Request,
    question: QuestionDigest,
    number: Option<NumberPseudonym>,
) -> QuestionDigest {
    let mut bytes = Bytes(Vec::with_capacity(256));
    match &request.about {
        About::Claimed(claim) => {
            bytes
                .byte(0)
                .text(claim.name.expose())
                .text(claim.file_number.as_ref().map_or("", FileNumber::expose));
        }
        About::Shown(shown) => {
            bytes.byte(shown.kind().code()).text(&shown.text());
        }
    }
    bytes.text(&request.case_reference);
    for field in request.fields.iter() {
        bytes.byte(field.code());
    }
    bytes.0.extend_from_slice(&question.0);
    if let Some(number) = number {
        bytes.0.extend_from_slice(number.as_bytes());
    }
    bytes.digest()
}

/// Digests everything that goes on record or into the answer: a retry that differs in any of it is another request. What is missing is
/// `max_age`, which a retry may narrow. Lives in memory, and sealed elsewhere.
pub(super) fn digest_request(request: &Request, question: QuestionDigest) -> QuestionDigest {
    let mut bytes = Bytes(Vec::with_capacity(256));
    match &request.about {
        About::Claimed(claim) => {
            bytes
                .byte(0)
                .byte(claim.document.code())
                .text(claim.number.expose())
                .text(claim.name.expose())
                .text(claim.file_number.as_ref().map_or("", FileNumber::expose))
                .ground(&claim.ground);
        }
        About::Shown(shown) => {
            bytes.byte(shown.kind().code()).text(&shown.text());
        }
    }
    if let Question::PeerScan { scanner } = &request.question {
        bytes.byte(scanner.document.code()).text(scanner.number.expose());
    }
    bytes.text(&request.case_reference).text(&request.case_category).text(&request.operator_id);
    for field in request.fields.iter() {
        bytes.byte(field.code());
    }
    bytes.0.extend_from_slice(&question.0);
    bytes.digest()
}

/// Unambiguous bytes: every part has a fixed width, absent and present differ.
struct Bytes(Vec<u8>);

impl Bytes {
    fn digest(&self) -> QuestionDigest {
        QuestionDigest(first_half(&sha256(&self.0)))
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.number(i64::try_from(text.len()).unwrap_or(i64::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    fn number(&mut self, number: i64) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn optional(&mut self, value: Option<impl Into<i64>>) -> &mut Self {
        match value {
            None => self.byte(0).number(0),
            Some(value) => self.byte(1).number(value.into()),
        }
    }

    fn ground(&mut self, ground: &Ground) -> &mut Self {
        self.byte(ground.kind().code());
        match ground {
            Ground::Consent(evidence) => {
                self.number(evidence.obtained_at.as_second())
                    .number(evidence.expires_at.as_second())
                    .text(&evidence.notice_version);
                self.0.extend_from_slice(&evidence.evidence_sha256);
                self
            }
            Ground::Contract { subject_is_party } => self.byte((*subject_is_party).into()),
            Ground::LegalDuty => self,
        }
    }

    fn vehicle(&mut self, vehicle: &Vehicle) -> &mut Self {
        match &vehicle.kind {
            VehicleKind::Class(class) => {
                self.byte(1).byte(class.code()).byte(0).byte(0);
            }
            VehicleKind::TypeCode(code) => {
                self.byte(2);
                self.0.extend(code.as_str().bytes().chain(std::iter::repeat(0)).take(3));
            }
        }
        self.optional(vehicle.automatic.map(u8::from))
            .optional(vehicle.adapted.map(u8::from))
            .optional(vehicle.seats)
            .optional(vehicle.total_mass_kg)
            .optional(vehicle.combination_mass_kg)
            .optional(vehicle.used_for.map(|used_for| used_for.code()))
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;
    use crate::domain::question::CoverageEdition;

    fn claim_at(occurred_at: Timestamp) -> Question {
        let kind = VehicleKind::Class(VehicleClass::C1);
        let vehicle = Vehicle {
            kind,
            automatic: None,
            adapted: None,
            seats: None,
            total_mass_kg: None,
            combination_mass_kg: None,
            used_for: None,
        };
        Question::InsuranceClaim { occurred_at, vehicle, edition: CoverageEdition::Compulsory }
    }

    #[test]
    fn questions_differ_by_the_second_and_by_what_is_absent() {
        let moment = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(
            digest_question(&claim_at(moment), None, None),
            digest_question(&claim_at(moment + 1.millisecond()), None, None)
        );
        assert_ne!(
            digest_question(&claim_at(moment), None, None),
            digest_question(&claim_at(moment + 1.second()), None, None)
        );

        let mut manual = claim_at(moment);
        if let Question::InsuranceClaim { vehicle, .. } = &mut manual {
            vehicle.automatic = Some(false);
        }
        assert_ne!(digest_question(&claim_at(moment), None, None), digest_question(&manual, None, None));
        let known = |seq| Some(Position { epoch: 1, partition: 0, seq });
        for (one, other) in [(None, known(1)), (known(1), known(2))] {
            assert_ne!(digest_question(&manual, None, one), digest_question(&manual, None, other));
        }
    }
}
