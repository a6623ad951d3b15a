//! What a driver shows: a QR code in person, a share code from afar; for whom, for what, and how long.

mod share_code;

pub use share_code::{SHARE_CODE_SYMBOLS, SHARE_CODE_TEXT_MAX, ShareCode, ShareCodeFault};

use jiff::{SignedDuration, Timestamp};

use super::closed_set::closed_set;
use super::disclosure::FieldSet;
use super::licence::{DocumentKind, LicenceNumber};
use super::partner::{PartnerId, PartnerKind};
use super::question::Purpose;
use super::subject::NumberPseudonym;
use crate::hashing::sha256;

/// How far clocks may differ: a presentation is good so long before its first and after its last moment.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(30);

/// How long after the end of a presentation the request that spent it may still be finished.
pub const FINISH_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// The longest a QR code may live, whatever the operator says: it is shown in person. What is noted of one is kept accordingly.
pub const QR_LIFETIME_MAX: SignedDuration = SignedDuration::from_mins(10);

closed_set! {
    /// How a driver shows the e-licence.
    pub enum PresentationKind {
        /// A QR code, in person.
        Qr = 1, "qr";
        /// A share code, from afar.
        ShareCode = 2, "share-code";
    }
}

/// Names a presentation: 16 bytes nobody can guess, 80 bits of them random at least. The first bit says of which kind it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PresentationId([u8; 16]);

impl PresentationId {
    const SHARE_CODE: u8 = 0x80;

    /// Makes an id of a kind of 16 bytes that nobody can guess.
    pub const fn new(kind: PresentationKind, mut bytes: [u8; 16]) -> Self {
        match kind {
            PresentationKind::Qr => bytes[0] &= !Self::SHARE_CODE,
            PresentationKind::ShareCode => bytes[0] |= Self::SHARE_CODE,
        }
        Self(bytes)
    }

    /// Makes the id of a QR code: the millisecond it is issued in, as a version 7 UUID has it (RFC 9562 §5.7), then 80 random bits. Uses
    /// that are spent one after the other thus lie side by side in a store, where random ids would touch a page each.
    pub fn of_qr(issued_at: Timestamp, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&issued_at.as_millisecond().to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        Self::new(PresentationKind::Qr, bytes)
    }

    /// Takes the bytes of an id that was made before.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the kind of presentation it names.
    pub const fn kind(&self) -> PresentationKind {
        if self.0[0] & Self::SHARE_CODE == 0 { PresentationKind::Qr } else { PresentationKind::ShareCode }
    }
}

impl std::fmt::Debug for PresentationId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PresentationId([elided])")
    }
}

/// For whom a presentation is, as the driver was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The driver was told nothing: police checks and peer scans, which need no telling.
    Untold,
    /// Every partner of a kind.
    Kind(PartnerKind),
    /// One partner, by its mark.
    Partner(PartnerMark),
}

/// What a presentation names its one partner by: the first 8 bytes of SHA-256 over the partner's id, for which a QR code has room. Ids
/// are chosen by the operator, so two of one mark are an accident of 1 in 2⁶⁴.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartnerMark([u8; 8]);

impl PartnerMark {
    /// Marks a partner.
    pub fn of(partner: &PartnerId) -> Self {
        let mut mark = [0; 8];
        mark.copy_from_slice(&sha256(partner.as_str().as_bytes())[..8]);
        Self(mark)
    }

    /// Takes the bytes of a mark that was made before.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// What a driver agreed to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presentation {
    /// Its name.
    pub id: PresentationId,
    /// Whose licence: the pseudonym of a number that leads to it.
    pub number: NumberPseudonym,
    /// For whom.
    pub audience: Audience,
    /// For what; `None` with [`Audience::Untold`], and only then.
    pub purpose: Option<Purpose>,
    /// The fields agreed to; `None`: all that policy and contract allow.
    pub fields: Option<FieldSet>,
    /// How many requests it is good for: 1 for a QR code.
    pub uses_max: u16,
    /// Its first moment, to the second.
    pub issued_at: Timestamp,
    /// The first moment after it, to the second.
    pub expires_at: Timestamp,
}

/// Why a presentation is not accepted, in the order it is looked at. All but the first are told to its audience alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// It is for somebody else.
    #[error("the presentation is for another audience")]
    Audience,
    /// The driver agreed to another purpose.
    #[error("the presentation is for another purpose")]
    Purpose,
}

impl Presentation {
    /// Holds the presentation to who asks, and for what. Time and uses are looked at later: they are nobody else's business.
    ///
    /// # Errors
    /// [`NotAccepted`].
    pub fn accept(
        &self,
        partner: &PartnerId,
        kind: PartnerKind,
        purpose: Purpose,
    ) -> Result<(), NotAccepted> {
        let for_them = match &self.audience {
            Audience::Untold => matches!(kind, PartnerKind::Enforcement | PartnerKind::Wallet),
            Audience::Kind(told) => *told == kind,
            Audience::Partner(told) => *told == PartnerMark::of(partner),
        };
        let for_that = match self.purpose {
            None => matches!(purpose, Purpose::Enforcement | Purpose::PeerScan),
            Some(told) => told == purpose,
        };
        match (for_them, for_that) {
            (false, _) => Err(NotAccepted::Audience),
            (true, false) => Err(NotAccepted::Purpose),
            (true, true) => Ok(()),
        }
    }

    /// Says whether it may be spent at a moment, clocks differing by [`CLOCK_SKEW`] at most.
    pub fn is_live(&self, now: Timestamp) -> bool {
        let first = self.issued_at.checked_sub(CLOCK_SKEW).unwrap_or(Timestamp::MIN);
        (first..later(self.expires_at, CLOCK_SKEW)).contains(&now)
    }

    /// Says whether a request that spent it may still be finished.
    pub fn may_be_finished(&self, now: Timestamp) -> bool {
        now < later(later(self.expires_at, CLOCK_SKEW), FINISH_WITHIN)
    }
}

fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The holder of an e-licence, as the wallet that authenticated its user says. Elided `Debug` by its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The kind of document.
    pub document: DocumentKind,
    /// Its number.
    pub number: LicenceNumber,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_qr_codes_lie_in_the_order_of_their_issue() {
        let at = |ms: i64| Timestamp::from_millisecond(ms).unwrap();
        let id = |ms: i64, fill: u8| PresentationId::of_qr(at(ms), [fill; 10]);
        assert!(id(1_800_000_000_000, 0xff) < id(1_800_000_000_001, 0));
        assert_ne!(id(5, 1), id(5, 2));
        for moment in [at(0), at(1_800_000_000_000), Timestamp::MAX, Timestamp::MIN] {
            assert_eq!(PresentationId::of_qr(moment, [0xff; 10]).kind(), PresentationKind::Qr, "{moment}");
        }
    }
}
