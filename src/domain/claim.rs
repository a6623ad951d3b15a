//! What a partner asserts about a subject, and the ground on which it may ask.

use jiff::Timestamp;

use super::closed_set::closed_set;
use super::licence::{DocumentKind, FileNumber, FullName, LicenceNumber};

/// A claim: number and name as the partner has them, with its ground. Elided `Debug` by its parts.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The kind of document.
    pub document: DocumentKind,
    /// Its number.
    pub number: LicenceNumber,
    /// The full name.
    pub name: FullName,
    /// The file number, when given.
    pub file_number: Option<FileNumber>,
    /// Why the partner may ask.
    pub ground: Ground,
}

/// The ground of a look-up, asserted by the partner (PIPL art. 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The driver's separate consent.
    Consent(ConsentEvidence),
    /// A contract; `subject_is_party` is the partner's statement that the driver is a party to it.
    Contract {
        /// The driver is a party.
        subject_is_party: bool,
    },
    /// A duty fixed by law.
    LegalDuty,
}

impl Ground {
    /// Returns the kind of this ground.
    pub fn kind(&self) -> GroundKind {
        match self {
            Self::Consent(_) => GroundKind::Consent,
            Self::Contract { .. } => GroundKind::Contract,
            Self::LegalDuty => GroundKind::LegalDuty,
        }
    }
}

closed_set! {
    /// Kinds of ground.
    pub enum GroundKind {
        /// Separate consent (PIPL arts. 23, 29).
        Consent = 1, "consent";
        /// A contract the driver is a party to.
        Contract = 2, "contract";
        /// A duty fixed by law.
        LegalDuty = 3, "legal-duty";
    }
}

/// What the partner holds as proof of consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentEvidence {
    /// When it was given.
    pub obtained_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Version of the notice agreed to: 1 to 32 visible ASCII characters.
    pub notice_version: String,
    /// SHA-256 of the partner's record.
    pub evidence_sha256: [u8; 32],
}
