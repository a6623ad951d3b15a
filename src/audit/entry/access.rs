//! The entry of an access: the record itself was shown to somebody, or somebody decided about what is shown, and that is on record too.

use jiff::Timestamp;

use super::answer::{HiddenHandle, PARTNER_BYTES_MAX, SubjectPseudonym};
use super::codec::{DecodeError, EncodeError, Reader, push_moment, push_text};
use super::{ENTRY_VERSION, KIND_ACCESS};
use crate::domain::closed_set::closed_set;
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;

/// A replica's name of 63 characters, '-' and 16 hexadecimal digits.
const ORIGIN_BYTES_MAX: usize = 80;
/// Who set or lifted a hold-back.
const SETTER_BYTES_MAX: usize = 64;
/// Why.
const GROUND_BYTES_MAX: usize = 120;

const RECEIPT: u8 = 1;
const LIST: u8 = 2;
const WATCH: u8 = 3;
const WITHDRAWAL: u8 = 4;
const OBJECTION: u8 = 5;
const HOLD_BACK_SET: u8 = 6;
const HOLD_BACK_LIFTED: u8 = 7;

/// In the detail byte of a kind that has no detail.
const NO_DETAIL: u8 = 0;
const OF_PARTNER: u8 = 1;
const OF_ENFORCEMENT: u8 = 2;

closed_set! {
    /// What was handed out.
    pub enum AccessOutcome {
        /// The entry, its proof and its openings.
        Opened = 1, "opened";
        /// The entry and its proof; its openings are gone for ever, because the subject's secret was destroyed.
        Erased = 2, "erased";
    }
}

closed_set! {
    /// Which part of a list or stream was shown.
    pub enum Part {
        /// Its beginning.
        First = 1, "first";
        /// It went on where an earlier one had ended.
        Continued = 2, "continued";
    }
}

/// An access on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// When, to the microsecond.
    pub at: Timestamp,
    /// Who looked or decided; `None`: the operator, at the gateway's own socket.
    pub partner: Option<PartnerId>,
    /// At what.
    pub access: Access,
}

/// Whose record an access is about, as hidden as in the entry of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Not secret; makes the mask of every entry different.
    pub nonce: [u8; 16],
    /// As in the subject's confirmed answers.
    pub subject: SubjectPseudonym,
    /// For the holder of the log's secret alone.
    pub handle: HiddenHandle,
}

/// What was looked at, or decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A partner fetched the receipt of an entry of its own.
    Receipt {
        /// The log the entry is in.
        origin: String,
        /// The entry's number there.
        index: u64,
        /// What was handed out.
        outcome: AccessOutcome,
    },
    /// A wallet was shown who looked at a driver.
    List {
        /// At whom.
        about: About,
        /// Which page.
        part: Part,
    },
    /// A wallet began to be told of look-ups as they come.
    Watch {
        /// About how many drivers; 0: about every driver.
        holders: u16,
        /// Anew, or where it was.
        part: Part,
    },
    /// A driver withdrew a consent, through a wallet.
    Withdrawal {
        /// Who.
        about: About,
        /// Which consent.
        consent: [u8; 16],
    },
    /// A driver objected, through a wallet.
    Objection {
        /// Who.
        about: About,
        /// Against whom.
        against: PartnerId,
        /// Against what.
        purpose: Purpose,
    },
    /// The operator holds look-ups back from a driver.
    HoldBackSet {
        /// From whom.
        about: About,
        /// Names it.
        id: [u8; 16],
        /// Whose look-ups; `None`: every police check.
        of: Option<PartnerId>,
        /// Look-ups from this moment on …
        from: Timestamp,
        /// … are not told before this one.
        until: Timestamp,
        /// Who set it.
        set_by: String,
        /// Why.
        ground: String,
    },
    /// The operator lifted a hold-back before its time.
    HoldBackLifted {
        /// Of whom.
        about: About,
        /// Which.
        id: [u8; 16],
        /// Who lifted it.
        lifted_by: String,
        /// Why.
        ground: String,
    },
}

impl AccessEntry {
    /// Writes the entry's bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a text is longer than the format admits.
    pub fn encode(&self, into: &mut Vec<u8>) -> Result<(), EncodeError> {
        into.extend_from_slice(&[ENTRY_VERSION, KIND_ACCESS]);
        push_moment(into, self.at);
        into.extend_from_slice(&self.access.codes());
        push_partner(into, self.partner.as_ref())?;
        self.access.encode(into)
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = from.moment("at")?;
        let (kind, detail) = (from.byte("access")?, from.byte("access detail")?);
        let partner = read_partner_if_any(from)?;
        // The operator decides about hold-backs, and nobody else does.
        let is_operators = matches!(kind, HOLD_BACK_SET | HOLD_BACK_LIFTED);
        if partner.is_none() != is_operators {
            return Err(DecodeError::Field("partner"));
        }
        Ok(Self { at, partner, access: Access::read(kind, detail, from)? })
    }
}

impl Access {
    /// What kind of access it was, and the detail of one byte that its kind has.
    fn codes(&self) -> [u8; 2] {
        match self {
            Self::Receipt { outcome, .. } => [RECEIPT, outcome.code()],
            Self::List { part, .. } => [LIST, part.code()],
            Self::Watch { part, .. } => [WATCH, part.code()],
            Self::Withdrawal { .. } => [WITHDRAWAL, NO_DETAIL],
            Self::Objection { purpose, .. } => [OBJECTION, purpose.code()],
            Self::HoldBackSet { of: Some(_), .. } => [HOLD_BACK_SET, OF_PARTNER],
            Self::HoldBackSet { of: None, .. } => [HOLD_BACK_SET, OF_ENFORCEMENT],
            Self::HoldBackLifted { .. } => [HOLD_BACK_LIFTED, NO_DETAIL],
        }
    }

    fn encode(&self, into: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Receipt { origin, index, .. } => {
                into.extend_from_slice(&index.to_be_bytes());
                push_text(into, origin, ORIGIN_BYTES_MAX, "origin")
            }
            Self::List { about, .. } => {
                about.push(into);
                Ok(())
            }
            Self::Watch { holders, .. } => {
                into.extend_from_slice(&holders.to_be_bytes());
                Ok(())
            }
            Self::Withdrawal { about, consent } => {
                about.push(into);
                into.extend_from_slice(consent);
                Ok(())
            }
            Self::Objection { about, against, .. } => {
                about.push(into);
                push_partner(into, Some(against))
            }
            Self::HoldBackSet { about, id, of, from, until, set_by, ground } => {
                about.push(into);
                into.extend_from_slice(id);
                if of.is_some() {
                    push_partner(into, of.as_ref())?;
                }
                push_moment(into, *from);
                push_moment(into, *until);
                push_text(into, set_by, SETTER_BYTES_MAX, "set by")?;
                push_text(into, ground, GROUND_BYTES_MAX, "ground")
            }
            Self::HoldBackLifted { about, id, lifted_by, ground } => {
                about.push(into);
                into.extend_from_slice(id);
                push_text(into, lifted_by, SETTER_BYTES_MAX, "lifted by")?;
                push_text(into, ground, GROUND_BYTES_MAX, "ground")
            }
        }
    }

    fn read(kind: u8, detail: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let unknown = DecodeError::Field("access detail");
        let part = Part::from_code(detail).ok_or(unknown);
        match kind {
            RECEIPT => Ok(Self::Receipt {
                outcome: AccessOutcome::from_code(detail).ok_or(unknown)?,
                index: u64::from_be_bytes(from.array("index")?),
                origin: from.text(ORIGIN_BYTES_MAX, "origin")?.to_owned(),
            }),
            LIST => Ok(Self::List { part: part?, about: About::read(from)? }),
            WATCH => Ok(Self::Watch { part: part?, holders: u16::from_be_bytes(from.array("holders")?) }),
            WITHDRAWAL if detail == NO_DETAIL => {
                Ok(Self::Withdrawal { about: About::read(from)?, consent: from.array("consent")? })
            }
            OBJECTION => Ok(Self::Objection {
                purpose: Purpose::from_code(detail).ok_or(unknown)?,
                about: About::read(from)?,
                against: read_partner_if_any(from)?.ok_or(DecodeError::Field("against"))?,
            }),
            HOLD_BACK_SET if matches!(detail, OF_PARTNER | OF_ENFORCEMENT) => Ok(Self::HoldBackSet {
                about: About::read(from)?,
                id: from.array("id")?,
                of: match detail {
                    OF_PARTNER => Some(read_partner_if_any(from)?.ok_or(DecodeError::Field("of"))?),
                    _ => None,
                },
                from: from.moment("from")?,
                until: from.moment("until")?,
                set_by: from.text(SETTER_BYTES_MAX, "set by")?.to_owned(),
                ground: from.text(GROUND_BYTES_MAX, "ground")?.to_owned(),
            }),
            HOLD_BACK_LIFTED if detail == NO_DETAIL => Ok(Self::HoldBackLifted {
                about: About::read(from)?,
                id: from.array("id")?,
                lifted_by: from.text(SETTER_BYTES_MAX, "lifted by")?.to_owned(),
                ground: from.text(GROUND_BYTES_MAX, "ground")?.to_owned(),
            }),
            WITHDRAWAL | HOLD_BACK_SET | HOLD_BACK_LIFTED => Err(unknown),
            _ => Err(DecodeError::Field("access")),
        }
    }
}

impl About {
    fn push(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.nonce);
        into.extend_from_slice(&self.subject.0);
        into.extend_from_slice(&self.handle.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            nonce: from.array("nonce")?,
            subject: SubjectPseudonym(from.array("subject")?),
            handle: HiddenHandle(from.array("handle")?),
        })
    }
}

fn push_partner(into: &mut Vec<u8>, partner: Option<&PartnerId>) -> Result<(), EncodeError> {
    push_text(into, partner.map_or("", PartnerId::as_str), PARTNER_BYTES_MAX, "partner")
}

/// Reads a partner; an empty text is none.
fn read_partner_if_any(from: &mut Reader<'_>) -> Result<Option<PartnerId>, DecodeError> {
    match from.text(PARTNER_BYTES_MAX, "partner")? {
        "" => Ok(None),
        id => id.parse().map(Some).map_err(|_| DecodeError::Field("partner")),
    }
}
