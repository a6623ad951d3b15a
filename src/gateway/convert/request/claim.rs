//! The claim of a request: number, name, ground.

use jiff::Timestamp;

use super::RequestRules;
use super::faults::Faults;
use crate::domain::claim::{Claim, ConsentEvidence, Ground, GroundKind};
use crate::domain::licence::{FileNumber, FullName, LicenceNumber};
use crate::domain::time::civil_day;
use crate::gateway::proto;

/// More bytes than 100 characters can take after normalisation.
const NAME_BYTES_MAX: usize = 400;

/// Parses a claim.
pub(super) fn parse_claim(faults: &mut Faults, claim: proto::Claim, rules: RequestRules) -> Option<Claim> {
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

fn parse_consent(
    faults: &mut Faults,
    consent: proto::ConsentEvidence,
    now: Timestamp,
) -> Option<ConsentEvidence> {
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
