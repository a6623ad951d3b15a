//! The entry of an answer: fixed fields first, the few texts and the criteria last.

use std::borrow::Cow;

use jiff::Timestamp;

use super::codec::{DecodeError, EncodeError, Reader, push_moment, push_text};
use super::{ENTRY_VERSION, ENTRY_VERSION_SHOWN, KIND_ANSWER, LeafSet};
use crate::domain::claim::GroundKind;
use crate::domain::decision::{Criterion, CriterionKind, Decision, Outcome, Reason};
use crate::domain::partner::PartnerId;
use crate::domain::policy::AuthorisedBy;
use crate::domain::question::Purpose;
use crate::domain::subject::Position;
use crate::verification::ports::QuestionDigest;

/// The most criteria one answer may carry; the purposes of today carry at most twelve.
pub const CRITERIA_MAX: usize = 24;

pub(super) const PARTNER_BYTES_MAX: usize = 40;
const POLICY_VERSION_BYTES_MAX: usize = 24;
const CASE_CATEGORY_BYTES_MAX: usize = 32;

const FLAG_CHARGED: u8 = 1;
const FLAG_SUBJECT_IS_PARTY: u8 = 2;
const FLAG_REQUEST: u8 = 4;
const FLAG_CONSENT_WITHDRAWN: u8 = 8;
const FLAGS_KNOWN: u8 = FLAG_CHARGED | FLAG_SUBJECT_IS_PARTY | FLAG_REQUEST | FLAG_CONSENT_WITHDRAWN;

/// In place of a ground: the driver showed it.
const NO_GROUND: u8 = 0;

/// Whom an entry is about, as far as the log says: 16 bytes that only the holder of the subject's secret can relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubjectPseudonym(pub [u8; 16]);

/// The keyed digest of a partner's idempotency key: equal for equal keys of one partner, opaque without the log's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestDigest(pub [u8; 16]);

/// Whom an entry is about, as only the log's secret tells: the subject's id, or for a number nobody had its pseudonym, under a
/// mask that no other entry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HiddenHandle(pub [u8; 16]);

/// The keyed digest of a partner's case reference: equal for equal references of one partner, opaque without the log's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CaseDigest(pub [u8; 16]);

/// An answer on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerEntry<'a> {
    /// When, to the microsecond.
    pub at: Timestamp,
    /// Who asked.
    pub partner: Cow<'a, PartnerId>,
    /// Why.
    pub purpose: Purpose,
    /// On what ground; `None` exactly when the driver showed it.
    pub ground: Option<GroundKind>,
    /// For a contract: the partner stated that the driver is a party to it.
    pub subject_is_party: bool,
    /// How the look-up was authorised.
    pub authorised_by: AuthorisedBy,
    /// How it came out.
    pub decision: Decision,
    /// Whether it was to be charged.
    pub charged: bool,
    /// Whether it was refused, because the driver had taken the consent back: the partner learned that and nothing else.
    pub consent_withdrawn: bool,
    /// What was known: handed in by this feed position …
    pub position: Position,
    /// … and recorded by this moment.
    pub known_at: Timestamp,
    /// Not secret; makes the openings of every entry different.
    pub nonce: [u8; 16],
    /// Whom it is about.
    pub subject: SubjectPseudonym,
    /// Which question, for telling questions apart.
    pub question: QuestionDigest,
    /// Which leaves the root is over.
    pub leaves: LeafSet,
    /// The root over the salted leaves.
    pub root: [u8; 32],
    /// Whom it is about, for the holder of the log's secret alone: what index and receipts are made from.
    pub handle: HiddenHandle,
    /// The partner's case reference, digested.
    pub case: CaseDigest,
    /// The partner's idempotency key, digested.
    pub request: Option<RequestDigest>,
    /// Under which rules.
    pub policy_version: Cow<'a, str>,
    /// The partner's category of the matter: a word of its own choice that the driver may see.
    pub case_category: Cow<'a, str>,
    /// What was looked at, in the order answered.
    pub criteria: Cow<'a, [Criterion]>,
}

impl AnswerEntry<'_> {
    /// Writes the entry's bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a text or the criteria exceed the format; nothing is shortened silently.
    pub fn encode(&self, into: &mut Vec<u8>) -> Result<(), EncodeError> {
        into.extend_from_slice(&[self.version(), KIND_ANSWER]);
        push_moment(into, self.at);
        into.extend_from_slice(&[
            self.purpose.code(),
            self.ground.map_or(NO_GROUND, GroundKind::code),
            self.authorised_by.code(),
            self.decision.code(),
            self.flags(),
        ]);
        into.extend_from_slice(&self.position.epoch.to_be_bytes());
        into.extend_from_slice(&self.position.partition.to_be_bytes());
        into.extend_from_slice(&self.position.seq.to_be_bytes());
        push_moment(into, self.known_at);
        into.extend_from_slice(&self.nonce);
        into.extend_from_slice(&self.subject.0);
        into.extend_from_slice(&self.question.0);
        into.extend_from_slice(&self.leaves.bits().to_be_bytes());
        into.extend_from_slice(&self.root);
        into.extend_from_slice(&self.handle.0);
        into.extend_from_slice(&self.case.0);
        if let Some(request) = self.request {
            into.extend_from_slice(&request.0);
        }
        push_text(into, self.partner.as_str(), PARTNER_BYTES_MAX, "partner")?;
        push_text(into, &self.policy_version, POLICY_VERSION_BYTES_MAX, "policy version")?;
        push_text(into, &self.case_category, CASE_CATEGORY_BYTES_MAX, "case category")?;
        push_criteria(into, &self.criteria)
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        flag(self.charged, FLAG_CHARGED)
            | flag(self.subject_is_party, FLAG_SUBJECT_IS_PARTY)
            | flag(self.request.is_some(), FLAG_REQUEST)
            | flag(self.consent_withdrawn, FLAG_CONSENT_WITHDRAWN)
    }

    /// Whatever version 1 has no words for makes it version 2.
    pub(super) fn version(&self) -> u8 {
        let needs_words = self.authorised_by != AuthorisedBy::Asserted
            || self.consent_withdrawn
            || self.purpose == Purpose::PeerScan
            || self.leaves.is_newer();
        if needs_words { ENTRY_VERSION_SHOWN } else { ENTRY_VERSION }
    }
}

impl AnswerEntry<'static> {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = from.moment("at")?;
        let purpose = from.member(Purpose::from_code, "purpose")?;
        let ground = match from.byte("ground")? {
            NO_GROUND => None,
            code => Some(GroundKind::from_code(code).ok_or(DecodeError::Field("ground"))?),
        };
        let authorised_by = from.member(AuthorisedBy::from_code, "authorised by")?;
        if ground.is_some() != (authorised_by == AuthorisedBy::Asserted) {
            return Err(DecodeError::Field("ground"));
        }
        let decision = from.member(Decision::from_code, "decision")?;
        let flags = from.member(|flags| (flags & !FLAGS_KNOWN == 0).then_some(flags), "flags")?;
        let position = Position {
            epoch: u32::from_be_bytes(from.array("epoch")?),
            partition: u16::from_be_bytes(from.array("partition")?),
            seq: u64::from_be_bytes(from.array("seq")?),
        };
        Ok(Self {
            at,
            purpose,
            ground,
            authorised_by,
            decision,
            charged: flags & FLAG_CHARGED != 0,
            consent_withdrawn: flags & FLAG_CONSENT_WITHDRAWN != 0,
            subject_is_party: flags & FLAG_SUBJECT_IS_PARTY != 0,
            position,
            known_at: from.moment("known at")?,
            nonce: from.array("nonce")?,
            subject: SubjectPseudonym(from.array("subject")?),
            question: QuestionDigest(from.array("question")?),
            leaves: LeafSet::from_bits(u32::from_be_bytes(from.array("leaves")?))
                .ok_or(DecodeError::Field("leaves"))?,
            root: from.array("root")?,
            handle: HiddenHandle(from.array("handle")?),
            case: CaseDigest(from.array("case")?),
            request: match flags & FLAG_REQUEST {
                0 => None,
                _ => Some(RequestDigest(from.array("request")?)),
            },
            partner: Cow::Owned(read_partner(from)?),
            policy_version: from.text(POLICY_VERSION_BYTES_MAX, "policy version")?.to_owned().into(),
            case_category: from.text(CASE_CATEGORY_BYTES_MAX, "case category")?.to_owned().into(),
            criteria: read_criteria(from)?.into(),
        })
    }
}

pub(super) fn read_partner(from: &mut Reader<'_>) -> Result<PartnerId, DecodeError> {
    from.text(PARTNER_BYTES_MAX, "partner")?.parse().map_err(|_| DecodeError::Field("partner"))
}

fn push_criteria(into: &mut Vec<u8>, criteria: &[Criterion]) -> Result<(), EncodeError> {
    let count = u8::try_from(criteria.len()).ok().filter(|_| criteria.len() <= CRITERIA_MAX);
    into.push(count.ok_or(EncodeError("number of criteria"))?);
    for criterion in criteria {
        let reason = criterion.reason.map_or(0, Reason::code);
        into.extend_from_slice(&[criterion.kind.code(), criterion.outcome.code(), reason]);
    }
    Ok(())
}

fn read_criteria(from: &mut Reader<'_>) -> Result<Vec<Criterion>, DecodeError> {
    let count = usize::from(from.byte("criteria")?);
    if count > CRITERIA_MAX {
        return Err(DecodeError::Field("criteria"));
    }
    (0..count).map(|_| read_criterion(from)).collect()
}

fn read_criterion(from: &mut Reader<'_>) -> Result<Criterion, DecodeError> {
    Ok(Criterion {
        kind: from.member(CriterionKind::from_code, "criterion kind")?,
        outcome: from.member(Outcome::from_code, "criterion outcome")?,
        reason: match from.byte("criterion reason")? {
            0 => None,
            code => Some(Reason::from_code(code).ok_or(DecodeError::Field("criterion reason"))?),
        },
    })
}
