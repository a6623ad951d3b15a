//! The entry of refusals: who, why, when, how many. It commits to nothing, because nothing was disclosed.

use jiff::Timestamp;

use super::answer::{PARTNER_BYTES_MAX, read_partner};
use super::codec::{DecodeError, EncodeError, Reader, push_moment, push_text};
use super::{ENTRY_VERSION, ENTRY_VERSION_SHOWN, KIND_REFUSALS};
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;

const REASON_BYTES_MAX: usize = 48;

/// Refusals of one partner for one reason within one second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalEntry {
    /// The second in which they happened.
    pub at: Timestamp,
    /// Whose requests were refused.
    pub partner: PartnerId,
    /// The stable reason word of `error.proto`, without prefix.
    pub reason: String,
    /// The purpose, when the requests were read that far.
    pub purpose: Option<Purpose>,
    /// How many.
    pub count: u32,
}

impl RefusalEntry {
    /// Writes the entry's bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when the reason is longer than the format admits.
    pub fn encode(&self, into: &mut Vec<u8>) -> Result<(), EncodeError> {
        into.extend_from_slice(&[self.version(), KIND_REFUSALS]);
        push_moment(into, self.at);
        into.push(self.purpose.map_or(0, Purpose::code));
        into.extend_from_slice(&self.count.to_be_bytes());
        push_text(into, self.partner.as_str(), PARTNER_BYTES_MAX, "partner")?;
        push_text(into, &self.reason, REASON_BYTES_MAX, "reason")
    }

    /// A purpose that version 1 did not know makes it version 2.
    pub(super) fn version(&self) -> u8 {
        if self.purpose == Some(Purpose::PeerScan) { ENTRY_VERSION_SHOWN } else { ENTRY_VERSION }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = from.moment("at")?;
        let purpose = match from.byte("purpose")? {
            0 => None,
            code => Some(Purpose::from_code(code).ok_or(DecodeError::Field("purpose"))?),
        };
        Ok(Self {
            at,
            purpose,
            count: u32::from_be_bytes(from.array("count")?),
            partner: read_partner(from)?,
            reason: from.text(REASON_BYTES_MAX, "reason")?.to_owned(),
        })
    }
}
