//! Entries as lines of JSON, for whoever reads a log with other tools. What a line holds is what the entry holds in the clear, and
//! its commitments in hexadecimal: no identifier, because none is in the log.

use jiff::Timestamp;
use serde::Serialize;

use super::fsck::hex;
use crate::audit::entry::{
    About, Access, AccessEntry, AccessOutcome, AnswerEntry, AuthorisedBy, Entry, LeafName, Part, RefusalEntry,
};
use crate::domain::claim::GroundKind;
use crate::domain::decision::{CriterionKind, Decision, Outcome, Reason};
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;
use crate::hashing::tree_leaf;

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Dated at this moment or later.
    pub from: Option<Timestamp>,
    /// Dated before this moment.
    pub to: Option<Timestamp>,
    /// Of this partner.
    pub partner: Option<PartnerId>,
}

impl Selection {
    /// Says whether an entry is wanted.
    pub fn wants(&self, entry: &Entry) -> bool {
        let at = entry.at();
        self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at < to)
            && (self.partner.is_none() || self.partner.as_ref() == entry.partner())
    }
}

/// One entry as a line. `docs/evidence.md` names the fields.
#[derive(Debug, Serialize)]
pub struct ExportLine<'a> {
    origin: &'a str,
    index: u64,
    /// The entry's place in the tree: SHA-256(0x00 ‖ entry).
    leaf_hash: String,
    at: Timestamp,
    /// Absent: the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    partner: Option<&'a str>,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum What<'a> {
    Answer(Box<AnswerLine<'a>>),
    Refusals {
        purpose: Option<Purpose>,
        reason: &'a str,
        count: u32,
    },
    Access {
        accessed_origin: &'a str,
        accessed_index: u64,
        outcome: AccessOutcome,
    },
    ListShown {
        part: Part,
        #[serde(flatten)]
        about: AboutLine,
    },
    WatchOpened {
        part: Part,
        holders: u16,
    },
    ConsentWithdrawn {
        consent: String,
        #[serde(flatten)]
        about: AboutLine,
    },
    Objection {
        against: &'a str,
        purpose: Purpose,
        #[serde(flatten)]
        about: AboutLine,
    },
    HoldBackSet(Box<HoldBackLine<'a>>),
    HoldBackLifted {
        id: String,
        lifted_by: &'a str,
        ground: &'a str,
        #[serde(flatten)]
        about: AboutLine,
    },
}

#[derive(Debug, Serialize)]
struct AboutLine {
    subject_pseudonym: String,
    nonce: String,
}

#[derive(Debug, Serialize)]
struct HoldBackLine<'a> {
    id: String,
    /// Absent: every police check.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'a str>,
    from: Timestamp,
    until: Timestamp,
    set_by: &'a str,
    ground: &'a str,
    #[serde(flatten)]
    about: AboutLine,
}

#[derive(Debug, Serialize)]
struct AnswerLine<'a> {
    purpose: Purpose,
    ground: Option<GroundKind>,
    subject_is_party: bool,
    authorised_by: AuthorisedBy,
    decision: Decision,
    charged: bool,
    consent_withdrawn: bool,
    criteria: Vec<CriterionLine>,
    position: PositionLine,
    known_at: Timestamp,
    policy_version: &'a str,
    case_category: &'a str,
    subject_pseudonym: String,
    question_digest: String,
    case_digest: String,
    request_digest: Option<String>,
    nonce: String,
    leaves: Vec<LeafName>,
    root: String,
}

#[derive(Debug, Serialize)]
struct CriterionLine {
    kind: CriterionKind,
    outcome: Outcome,
    reason: Option<Reason>,
}

#[derive(Debug, Serialize)]
struct PositionLine {
    epoch: u32,
    partition: u16,
    seq: u64,
}

impl<'a> ExportLine<'a> {
    /// Takes an entry apart; `bytes` are the entry's own.
    pub fn of(origin: &'a str, index: u64, bytes: &[u8], entry: &'a Entry) -> Self {
        Self {
            origin,
            index,
            leaf_hash: hex(&tree_leaf(bytes)),
            at: entry.at(),
            partner: entry.partner().map(PartnerId::as_str),
            what: match entry {
                Entry::Answer(answer) => What::Answer(Box::new(AnswerLine::of(answer))),
                Entry::Refusals(RefusalEntry { purpose, reason, count, .. }) => {
                    What::Refusals { purpose: *purpose, reason, count: *count }
                }
                Entry::Access(AccessEntry { access, .. }) => What::of_access(access),
            },
        }
    }
}

impl<'a> What<'a> {
    fn of_access(access: &'a Access) -> Self {
        match access {
            Access::Receipt { origin, index, outcome } => {
                Self::Access { accessed_origin: origin, accessed_index: *index, outcome: *outcome }
            }
            Access::List { about, part } => Self::ListShown { part: *part, about: about.into() },
            Access::Watch { holders, part } => Self::WatchOpened { part: *part, holders: *holders },
            Access::Withdrawal { about, consent } => {
                Self::ConsentWithdrawn { consent: hex(consent), about: about.into() }
            }
            Access::Objection { about, against, purpose } => {
                Self::Objection { against: against.as_str(), purpose: *purpose, about: about.into() }
            }
            Access::HoldBackSet { about, id, of, from, until, set_by, ground } => {
                let (id, of) = (hex(id), of.as_ref().map(PartnerId::as_str));
                let (from, until, about) = (*from, *until, about.into());
                Self::HoldBackSet(Box::new(HoldBackLine { id, of, from, until, set_by, ground, about }))
            }
            Access::HoldBackLifted { about, id, lifted_by, ground } => {
                Self::HoldBackLifted { id: hex(id), lifted_by, ground, about: about.into() }
            }
        }
    }
}

impl From<&About> for AboutLine {
    fn from(about: &About) -> Self {
        Self { subject_pseudonym: hex(&about.subject.0), nonce: hex(&about.nonce) }
    }
}

impl<'a> AnswerLine<'a> {
    fn of(answer: &'a AnswerEntry<'static>) -> Self {
        let criteria = answer.criteria.iter().map(|criterion| CriterionLine {
            kind: criterion.kind,
            outcome: criterion.outcome,
            reason: criterion.reason,
        });
        let position = answer.position;
        Self {
            purpose: answer.purpose,
            ground: answer.ground,
            subject_is_party: answer.subject_is_party,
            authorised_by: answer.authorised_by,
            decision: answer.decision,
            charged: answer.charged,
            consent_withdrawn: answer.consent_withdrawn,
            criteria: criteria.collect(),
            position: PositionLine {
                epoch: position.epoch,
                partition: position.partition,
                seq: position.seq,
            },
            known_at: answer.known_at,
            policy_version: &answer.policy_version,
            case_category: &answer.case_category,
            subject_pseudonym: hex(&answer.subject.0),
            question_digest: hex(&answer.question.0),
            case_digest: hex(&answer.case.0),
            request_digest: answer.request.map(|digest| hex(&digest.0)),
            nonce: hex(&answer.nonce),
            leaves: answer.leaves.iter().collect(),
            root: hex(&answer.root),
        }
    }
}
