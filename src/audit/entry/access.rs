//! The entry of an access: the record itself was shown to somebody, and that is on record too.

use jiff::Timestamp;

use super::answer::{PARTNER_BYTES_MAX, read_partner};
use super::codec::{DecodeError, EncodeError, Reader, push_moment, push_text};
use super::{ENTRY_VERSION, KIND_ACCESS};
use crate::domain::closed_set::closed_set;
use crate::domain::partner::PartnerId;

/// A replica's name of 63 characters, '-' and 16 hexadecimal digits.
const ORIGIN_BYTES_MAX: usize = 80;

/// What kind of access it was. What a driver may read of its own record will be another kind with fields of its own.
const RECEIPT: u8 = 1;

closed_set! {
    /// What was handed out.
    pub enum AccessOutcome {
        /// The entry, its proof and its openings.
        Opened = 1, "opened";
        /// The entry and its proof; its openings are gone for ever, because the subject's secret was destroyed.
        Erased = 2, "erased";
    }
}

/// An access on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// When, to the microsecond.
    pub at: Timestamp,
    /// Who looked.
    pub partner: PartnerId,
    /// At what.
    pub access: Access,
    /// What was handed out.
    pub outcome: AccessOutcome,
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A partner fetched the receipt of an entry of its own.
    Receipt {
        /// The log the entry is in.
        origin: String,
        /// The entry's number there.
        index: u64,
    },
}

impl AccessEntry {
    /// Writes the entry's bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when the origin is longer than the format admits.
    pub fn encode(&self, into: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Access::Receipt { origin, index } = &self.access;
        into.extend_from_slice(&[ENTRY_VERSION, KIND_ACCESS]);
        push_moment(into, self.at);
        into.extend_from_slice(&[RECEIPT, self.outcome.code()]);
        push_text(into, self.partner.as_str(), PARTNER_BYTES_MAX, "partner")?;
        into.extend_from_slice(&index.to_be_bytes());
        push_text(into, origin, ORIGIN_BYTES_MAX, "origin")
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = from.moment("at")?;
        from.member(|kind| (kind == RECEIPT).then_some(()), "access")?;
        let outcome = from.member(AccessOutcome::from_code, "outcome")?;
        let partner = read_partner(from)?;
        let index = u64::from_be_bytes(from.array("index")?);
        let origin = from.text(ORIGIN_BYTES_MAX, "origin")?.to_owned();
        Ok(Self { at, partner, access: Access::Receipt { origin, index }, outcome })
    }
}
