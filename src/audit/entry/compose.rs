//! From an answer to the bytes of its entry.

use std::borrow::Cow;

use super::answer::AnswerEntry;
use super::codec::{EncodeError, push_moment};
use super::leaves::{Commitments, LeafName};
use super::values;
use crate::audit::keys::{EntryKeys, LogSecret, Month};
use crate::domain::claim::{Claim, Ground};
use crate::domain::disclosure::Disclosure;
use crate::domain::policy::AuthorisedBy;
use crate::evidence::ports::SubjectHandle;
use crate::verification::ports::{AboutToRecord, AnswerToRecord, SubjectToRecord};

/// Writes the entry of an answer: about ten leaves, some twenty short SHA-256 and five HMACs, no identifier.
///
/// # Errors
/// [`EncodeError`] when a text of ours is longer than the format admits.
pub fn compose(
    answer: &AnswerToRecord<'_>,
    secret: &LogSecret,
    nonce: [u8; 16],
    into: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let keys = entry_keys(answer, secret);
    let mut commitments = Commitments::new(keys.opening(&nonce));
    commit_inputs(&mut commitments, answer);
    commit_outputs(&mut commitments, answer);
    let (leaves, root) = commitments.fold();
    let (authorised_by, ground) = match answer.about {
        AboutToRecord::Claimed(claim) => (AuthorisedBy::Asserted, Some(&claim.ground)),
        AboutToRecord::Shown { by, .. } => (by.into(), None),
    };
    AnswerEntry {
        at: answer.at,
        partner: Cow::Borrowed(answer.partner),
        purpose: answer.purpose,
        ground: ground.map(Ground::kind),
        subject_is_party: matches!(ground, Some(Ground::Contract { subject_is_party: true })),
        authorised_by,
        decision: answer.ruling.decision,
        charged: answer.charged,
        consent_withdrawn: answer.consent_withdrawn,
        position: answer.position,
        known_at: answer.known_at,
        nonce,
        subject: keys.pseudonym(),
        question: answer.question_digest,
        leaves,
        root,
        handle: secret.hide_handle(&nonce, handle(answer)),
        case: secret.case_digest(answer.partner, answer.case_reference),
        request: answer.request_id.map(|id| secret.request_digest(answer.partner, id)),
        policy_version: answer.policy_version.into(),
        case_category: answer.case_category.into(),
        criteria: Cow::Borrowed(&answer.ruling.criteria),
    }
    .encode(into)
}

fn entry_keys(answer: &AnswerToRecord<'_>, secret: &LogSecret) -> EntryKeys {
    let month = Month::of(answer.at);
    match answer.subject {
        SubjectToRecord::Confirmed(_, subject) => EntryKeys::confirmed(subject),
        SubjectToRecord::Unconfirmed(_, subject) => match answer.about {
            AboutToRecord::Claimed(claim) => {
                EntryKeys::unconfirmed(subject, month, claim.document, &claim.number)
            }
            AboutToRecord::Shown { number, .. } => EntryKeys::unconfirmed_shown(subject, month, number),
        },
        SubjectToRecord::Unknown(pseudonym) => secret.unknown_number(month, pseudonym),
    }
}

fn handle(answer: &AnswerToRecord<'_>) -> SubjectHandle {
    match answer.subject {
        SubjectToRecord::Confirmed(subject, _) | SubjectToRecord::Unconfirmed(subject, _) => {
            SubjectHandle::of_subject(subject)
        }
        SubjectToRecord::Unknown(pseudonym) => SubjectHandle::of_number(&pseudonym),
    }
}

fn commit_inputs(to: &mut Commitments, answer: &AnswerToRecord<'_>) {
    match answer.about {
        AboutToRecord::Claimed(claim) => commit_claim(to, claim),
        AboutToRecord::Shown { text, .. } => {
            to.commit(LeafName::Presentation, |into| into.extend_from_slice(text.as_bytes()));
        }
    }
    to.commit(LeafName::CaseReference, |into| into.extend_from_slice(answer.case_reference.as_bytes()));
    to.commit(LeafName::Operator, |into| into.extend_from_slice(answer.operator_id.as_bytes()));
    to.commit(LeafName::Question, |into| values::question(into, answer.question));
    if let Some(id) = answer.request_id {
        to.commit(LeafName::RequestId, |into| into.extend_from_slice(id.as_bytes()));
    }
}

fn commit_claim(to: &mut Commitments, claim: &Claim) {
    to.commit(LeafName::LicenceNumber, |into| values::licence_number(into, claim.document, &claim.number));
    to.commit(LeafName::FullName, |into| into.extend_from_slice(claim.name.expose().as_bytes()));
    if let Some(number) = &claim.file_number {
        to.commit(LeafName::FileNumber, |into| into.extend_from_slice(number.expose().as_bytes()));
    }
    if let Ground::Consent(evidence) = &claim.ground {
        to.commit(LeafName::Consent, |into| values::consent(into, evidence));
    }
}

fn commit_outputs(to: &mut Commitments, answer: &AnswerToRecord<'_>) {
    if let Some(until) = answer.ruling.reliance_until {
        to.commit(LeafName::RelianceUntil, |into| push_moment(into, until));
    }
    if !answer.ruling.remedies.is_empty() {
        to.commit(LeafName::Remedies, |into| values::remedies(into, &answer.ruling.remedies));
    }
    commit_disclosure(to, answer.disclosure);
}

fn commit_disclosure(to: &mut Commitments, released: &Disclosure) {
    if let Some(name) = &released.masked_name {
        to.commit(LeafName::MaskedName, |into| into.extend_from_slice(name.as_str().as_bytes()));
    }
    if let Some(day) = released.expired_on {
        to.commit(LeafName::ExpiredOn, |into| values::day(into, day));
    }
    if let Some(probation) = released.probation {
        to.commit(LeafName::Probation, |into| values::probation(into, probation));
    }
    if let Some(band) = released.tenure_band {
        to.commit(LeafName::TenureBand, |into| into.push(band.code()));
    }
    if let Some(pending) = released.pending {
        to.commit(LeafName::Pending, |into| values::pending(into, pending));
    }
    if let Some(states) = released.states {
        to.commit(LeafName::States, |into| values::states(into, states));
    }
    if let Some(classes) = released.classes {
        to.commit(LeafName::Classes, |into| values::classes(into, classes));
    }
    if let Some(needed) = released.paper_licence_needed {
        to.commit(LeafName::PaperLicenceNeeded, |into| into.push(u8::from(needed)));
    }
    if let Some(shown) = released.display {
        to.commit(LeafName::Display, |into| values::display(into, shown));
    }
    if let Some(groups) = released.class_groups {
        to.commit(LeafName::ClassGroups, |into| values::class_groups(into, groups));
    }
}
