//! The answer of the golden vector, for the tests of other rooms of the audit.

use super::tests::{Case, case};
use super::{LeafName, compose};
use crate::audit::keys::LogSecret;
use crate::domain::subject::SubjectSecret;

/// An answer that can be put on record as often as wanted.
pub(in crate::audit) struct Answered {
    case: Case,
    pub(in crate::audit) secret: SubjectSecret,
    pub(in crate::audit) log: LogSecret,
}

/// What the partner knows of it, as a person writes it.
pub(in crate::audit) const WRITTEN: &[(LeafName, &str)] = &[
    (LeafName::LicenceNumber, "resident-id:000000199001010018"),
    (LeafName::FullName, "测试甲"),
    (LeafName::FileNumber, "000000123456"),
    (LeafName::CaseReference, "RA-2026-0004711"),
    (LeafName::Operator, "clerk-17"),
    (
        LeafName::Question,
        "rental,pick-up=2026-11-22T09:00:00Z,return=2026-11-25T09:00:00Z,min-tenure=12,margin=30,class=C1,automatic=no,seats=5,mass=1900,combination-mass=0,use=private",
    ),
    (
        LeafName::Consent,
        "obtained=2026-11-01T00:00:00Z,expires=2026-12-01T00:00:00Z,notice=n-3,sha256=eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
    ),
    (LeafName::RequestId, "0192f0c1-7a1e-7b6c-9c51-0a4f0b0d8a11"),
    (LeafName::RelianceUntil, "2027-01-01T00:00:00Z"),
    (LeafName::TenureBand, "under-1"),
];

pub(in crate::audit) fn answered() -> Answered {
    let case = case();
    let (secret, log) = (case.secret.clone(), LogSecret::from_bytes(&[0x22; 32]));
    Answered { case, secret, log }
}

impl Answered {
    /// The entry with this nonce.
    pub(in crate::audit) fn entry(&self, nonce: [u8; 16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        compose(&self.case.confirmed_answer(), &self.log, nonce, &mut bytes).unwrap();
        bytes
    }
}
