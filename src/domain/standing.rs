//! What the operator says about who may call: of a partner, or of a key.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::closed_set::closed_set;
use super::partner::{PartnerId, PartnerIdFault};

/// The longest reason or name in a change, in characters.
const PROSE_CHARACTERS_MAX: usize = 500;
/// After the id of a partner whose claims are meant. No partner's id holds a dot.
const CLAIMS_SUFFIX: &str = ".claims";
/// Before a key's digits. A partner's id is shorter than such a word, so that neither can be taken for the other.
const KEY_PREFIX: &str = "key-";

closed_set! {
    /// What a record says.
    pub enum RecordedState {
        /// It may call, as far as this record goes.
        Active = 1, "active";
        /// It may not: a partner is suspended, a key is denied.
        Suspended = 2, "suspended";
    }
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyPin(pub [u8; 32]);

/// A pin was malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write SHA-256 of the public key as 64 hexadecimal digits")]
pub struct KeyPinFault;

impl FromStr for KeyPin {
    type Err = KeyPinFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(KeyPinFault) };
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(KeyPinFault)
    }
}

impl fmt::Display for KeyPin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// Whose standing: as text a partner's id, with `.claims` if its claims alone are meant, or `key-` and the pin. The text names files and
/// rows. A program that knows a text of none of these leaves the word alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StandingOf {
    /// A partner's, with every certificate of its contract.
    Partner(PartnerId),
    /// A partner's, as far as it claims to know somebody; what drivers show is none of it.
    Claims(PartnerId),
    /// A key's, whatever contract or authority lists it.
    Key(KeyPin),
}

impl FromStr for StandingOf {
    type Err = PartnerIdFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(pin) = text.strip_prefix(KEY_PREFIX).and_then(|pin| pin.parse().ok()) {
            return Ok(Self::Key(pin));
        }
        match text.strip_suffix(CLAIMS_SUFFIX) {
            Some(partner) => partner.parse().map(Self::Claims),
            None => text.parse().map(Self::Partner),
        }
    }
}

impl fmt::Display for StandingOf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partner(partner) => out.write_str(partner.as_str()),
            Self::Claims(partner) => write!(out, "{partner}{CLAIMS_SUFFIX}"),
            Self::Key(pin) => write!(out, "{KEY_PREFIX}{pin}"),
        }
    }
}

/// One change of standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingChange {
    /// Whose.
    pub of: StandingOf,
    /// To what.
    pub state: RecordedState,
    /// Why, for the operators who come after.
    pub reason: String,
    /// Who says so.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Reason or name would not fit on one line of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reason and name have 1 to {PROSE_CHARACTERS_MAX} characters, without control characters")]
pub struct ProseFault;

impl StandingChange {
    /// Checks that reason and name can be put on record.
    ///
    /// # Errors
    /// [`ProseFault`] when one is blank, longer than 500 characters, or holds control characters.
    pub fn checked(self) -> Result<Self, ProseFault> {
        let fits = |text: &str| {
            !text.trim().is_empty()
                && text.chars().count() <= PROSE_CHARACTERS_MAX
                && !text.contains(char::is_control)
        };
        if fits(&self.reason) && fits(&self.by) { Ok(self) } else { Err(ProseFault) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_it_is_can_be_read_back_and_a_key_is_never_a_partner() {
        let pin = KeyPin([0xa7; 32]);
        for (text, of) in [
            ("rental-demo".to_owned(), StandingOf::Partner("rental-demo".parse().unwrap())),
            ("rental-demo.claims".to_owned(), StandingOf::Claims("rental-demo".parse().unwrap())),
            ("key-rings".to_owned(), StandingOf::Partner("key-rings".parse().unwrap())),
            (format!("key-{}", "a7".repeat(32)), StandingOf::Key(pin)),
        ] {
            assert_eq!(text.parse(), Ok(of.clone()));
            assert_eq!(of.to_string(), text);
        }
        let long = format!("key-{}", "a7".repeat(31));
        for neither in [
            "",
            ".claims",
            "rental.claims.claims",
            "Rental",
            "sha256:aa",
            long.as_str(),
            &format!("key-{}", "g7".repeat(32)),
        ] {
            assert_eq!(neither.parse::<StandingOf>(), Err(PartnerIdFault), "{neither}");
        }
        assert_eq!("A7".repeat(32).parse(), Ok(pin));
        for malformed in ["", "a7", &"a7".repeat(33), &"é".repeat(32)] {
            assert_eq!(malformed.parse::<KeyPin>(), Err(KeyPinFault), "{malformed}");
        }
    }

    #[test]
    fn a_change_has_a_reason_and_a_name_of_one_line() {
        let change = |reason: &str, by: &str| {
            let of = StandingOf::Partner("one".parse().unwrap());
            let (reason, by) = (reason.to_owned(), by.to_owned());
            StandingChange { of, state: RecordedState::Active, reason, by, at: Timestamp::UNIX_EPOCH }
                .checked()
        };
        assert!(change("账单", "op").is_ok());
        assert!(change(&"x".repeat(500), "op").is_ok());
        for (reason, by) in [("", "op"), (" ", "op"), ("why", ""), ("a\nb", "op"), (&"x".repeat(501), "op")] {
            assert_eq!(change(reason, by), Err(ProseFault), "{reason:?} {by:?}");
        }
    }
}
