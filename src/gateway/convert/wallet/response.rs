//! What a wallet is told.

use jiff::Timestamp;

use crate::domain::disclosure::FieldSet;
use crate::domain::elicence::Display;
use crate::domain::partner::PartnerId;
use crate::domain::presentation::PresentationKind;
use crate::evidence::ports::{LookUpOutcome, PartnerNamed, PartnerNames};
use crate::evidence::{Access, AccessPage, NewLookUp, Told};
use crate::gateway::convert::response::{moment_message, subject_ref_text};
use crate::gateway::convert::words::WireSet as _;
use crate::gateway::proto;
use crate::issuing::ports::{ConsentOnBook, RevokedUses};
use crate::issuing::{ConsentPage, IssuedQr, IssuedShareCode, Objection};
use crate::verification::ports::EntryAt;

/// Converts a QR code.
pub(in crate::gateway) fn qr_message(
    issued: IssuedQr,
    environment: proto::Environment,
) -> proto::IssueQrResponse {
    proto::IssueQrResponse {
        token: issued.text,
        presentation_id: issued.id.as_bytes().to_vec(),
        expires_at: Some(moment_message(issued.expires_at)),
        display: display(issued.shown.display).into(),
        deferred: issued.shown.deferred,
        subject_ref: subject_ref_text(issued.subject_ref),
        environment: environment.into(),
    }
}

/// Converts a share code.
pub(in crate::gateway) fn share_code_message(
    issued: &IssuedShareCode,
    environment: proto::Environment,
) -> proto::IssueShareCodeResponse {
    proto::IssueShareCodeResponse {
        code: issued.code.to_text().to_string(),
        presentation_id: issued.id.as_bytes().to_vec(),
        expires_at: Some(moment_message(issued.expires_at)),
        uses: issued.uses.into(),
        subject_ref: subject_ref_text(issued.subject_ref),
        environment: environment.into(),
    }
}

/// Converts what became of a presentation's uses.
pub(in crate::gateway) fn revoked_message(uses: RevokedUses) -> proto::RevokeResponse {
    proto::RevokeResponse { uses_revoked: uses.revoked.into(), uses_spent: uses.spent.into() }
}

/// Converts a page of consents.
pub(in crate::gateway) fn consents_message(
    page: ConsentPage,
    names: &dyn PartnerNames,
) -> proto::ListConsentsResponse {
    proto::ListConsentsResponse {
        consents: page.consents.into_iter().map(|consent| consent_message(consent, names)).collect(),
        objections: page.objections.iter().map(|objection| objection_message(objection, names)).collect(),
        next_page_token: page.next.unwrap_or_default(),
    }
}

fn consent_message(consent: ConsentOnBook, names: &dyn PartnerNames) -> proto::Consent {
    proto::Consent {
        consent_id: consent.id.0.to_vec(),
        partner: Some(partner_message(&consent.partner, names.names(&consent.partner))),
        purpose: consent.purpose.wire(),
        fields: fields(consent.fields),
        notice_version: consent.evidence.notice_version,
        case_category: consent.case_category,
        obtained_at: Some(moment_message(consent.evidence.obtained_at)),
        expires_at: Some(moment_message(consent.evidence.expires_at)),
        first_used_at: Some(moment_message(consent.first_used_at)),
        withdrawn_at: consent.withdrawn_at.map(moment_message),
        evidence_sha256: consent.evidence.evidence_sha256.to_vec(),
    }
}

fn objection_message(objection: &Objection, names: &dyn PartnerNames) -> proto::Objection {
    proto::Objection {
        partner: Some(partner_message(&objection.partner, names.names(&objection.partner))),
        purpose: objection.purpose.wire(),
        objected_at: Some(moment_message(objection.objected_at)),
    }
}

/// Converts since when a consent is withdrawn.
pub(in crate::gateway) fn withdrawn_message(since: Timestamp) -> proto::WithdrawConsentResponse {
    proto::WithdrawConsentResponse { withdrawn_at: Some(moment_message(since)) }
}

/// Converts since when a driver objects.
pub(in crate::gateway) fn objected_message(since: Timestamp) -> proto::ObjectResponse {
    proto::ObjectResponse { objected_at: Some(moment_message(since)) }
}

/// Converts a page of accesses.
pub(in crate::gateway) fn accesses_message(page: AccessPage) -> proto::ListAccessesResponse {
    proto::ListAccessesResponse {
        accesses: page.accesses.into_iter().map(access_message).collect(),
        next_page_token: page.next.unwrap_or_default(),
        subject_ref: subject_ref_text(page.subject_ref),
        evidence: Some(evidence_message(&page.entry)),
    }
}

/// Converts what a stream says: a look-up, or a sign of life.
pub(in crate::gateway) fn told_message(told: Told) -> proto::WatchAccessesResponse {
    let resume_token = told.resume_token;
    match told.look_up {
        None => proto::WatchAccessesResponse { resume_token, ..Default::default() },
        Some(NewLookUp { subject_ref, access, first_of_partner }) => proto::WatchAccessesResponse {
            subject_ref: subject_ref_text(subject_ref),
            access: Some(access_message(access)),
            first_of_partner,
            resume_token,
        },
    }
}

fn access_message(access: Access) -> proto::Access {
    proto::Access {
        at: Some(moment_message(access.at)),
        partner: Some(partner_message(&access.partner, access.named)),
        purpose: access.purpose.wire(),
        case_category: access.case_category,
        ground: access.ground.map_or(0, |ground| ground.wire()),
        subject_is_party: access.subject_is_party,
        authorised_by: match access.shown {
            Some(PresentationKind::Qr) => proto::AuthorisedBy::Qr,
            Some(PresentationKind::ShareCode) => proto::AuthorisedBy::ShareCode,
            None => proto::AuthorisedBy::Asserted,
        }
        .into(),
        outcome: match access.outcome {
            LookUpOutcome::Qualified => proto::AccessOutcome::Qualified,
            LookUpOutcome::NotQualified => proto::AccessOutcome::NotQualified,
            LookUpOutcome::Indeterminate => proto::AccessOutcome::Indeterminate,
            LookUpOutcome::NotConfirmed => proto::AccessOutcome::NotConfirmed,
            LookUpOutcome::ConsentWithdrawn => proto::AccessOutcome::ConsentWithdrawn,
        }
        .into(),
        fields: fields(access.fields),
        evidence: Some(evidence_message(&access.place)),
    }
}

fn partner_message(partner: &PartnerId, named: Option<PartnerNamed>) -> proto::PartnerName {
    let partner_id = partner.to_string();
    match named {
        None => proto::PartnerName { partner_id, ..Default::default() },
        Some(PartnerNamed { legal_name, display_name, kind }) => {
            proto::PartnerName { partner_id, legal_name, display_name, kind: kind.wire() }
        }
    }
}

fn fields(fields: FieldSet) -> Vec<i32> {
    fields.iter().map(|field| field.wire()).collect()
}

fn evidence_message(place: &EntryAt) -> proto::Evidence {
    proto::Evidence { log_origin: place.origin.to_string(), entry_index: place.index }
}

fn display(display: Display) -> proto::Display {
    match display {
        Display::Normal => proto::Display::Normal,
        Display::Red => proto::Display::Red,
        Display::Void | Display::Hidden => proto::Display::Void,
    }
}
