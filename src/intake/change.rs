//! One change as the authority hands it in, parsed.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::licence::{Change, ChangeKind, DocumentKind, LicenceNumber};
use crate::domain::partner::PartnerId;
use crate::domain::subject::Position;
use crate::domain::time::Effective;

/// The longest name of a feed, in bytes.
const FEED_BYTES_MAX: usize = 40;
/// The longest change id, in bytes.
const CHANGE_ID_BYTES_MAX: usize = 64;

/// A feed of one authority: `partner/feed`. Two authorities never share one, whatever they call theirs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeedName(Arc<str>);

/// A feed's name was malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 40 characters of a-z, 0-9 and '-', and start with a letter")]
pub struct FeedNameFault;

impl FeedName {
    /// Names a feed of a partner.
    ///
    /// # Errors
    /// [`FeedNameFault`].
    pub fn of(partner: &PartnerId, feed: &str) -> Result<Self, FeedNameFault> {
        let permitted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let well_formed = (1..=FEED_BYTES_MAX).contains(&feed.len())
            && feed.as_bytes()[0].is_ascii_lowercase()
            && feed.bytes().all(permitted);
        if well_formed { Ok(Self(format!("{partner}/{feed}").into())) } else { Err(FeedNameFault) }
    }

    /// Reads what [`Self::as_str`] returned.
    pub fn parse(text: &str) -> Option<Self> {
        let (partner, feed) = text.split_once('/')?;
        Self::of(&partner.parse().ok()?, feed).ok()
    }

    /// Returns `partner/feed`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The authority's own id of a change, unique within a feed: 1 to 64 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChangeId(Box<str>);

/// A change id was malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 64 visible ASCII characters")]
pub struct ChangeIdFault;

impl ChangeId {
    /// Parses an id.
    ///
    /// # Errors
    /// [`ChangeIdFault`].
    pub fn parse(text: &str) -> Result<Self, ChangeIdFault> {
        let well_formed = (1..=CHANGE_ID_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if well_formed { Ok(Self(text.into())) } else { Err(ChangeIdFault) }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a change says, without its place in the feed, which the store gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct StatedChange {
    /// When it takes effect.
    pub effective: Effective,
    /// When the authority recorded it.
    pub recorded_at: Timestamp,
    /// What changed.
    pub kind: ChangeKind,
}

impl StatedChange {
    /// Gives the change its place in the feed.
    pub fn at(self, position: Position) -> Change {
        Change { effective: self.effective, recorded_at: self.recorded_at, position, kind: self.kind }
    }
}

/// A change as it came in: its envelope could be read, its content perhaps not.
#[derive(Clone, Debug)]
pub struct IncomingChange {
    /// Whose feed.
    pub source: FeedName,
    /// The authority's id of it.
    pub id: ChangeId,
    /// Its place among the changes of this subject from this feed, from 1, without gaps.
    pub sequence: u64,
    /// The document of the number below.
    pub document: DocumentKind,
    /// A number of the subject; any it ever had will do.
    pub number: LicenceNumber,
    /// What it says; `None` when that could not be understood.
    pub content: Option<StatedChange>,
}

impl IncomingChange {
    /// Says whether the change introduces its subject: it sets the very number it is filed under.
    pub fn introduces(&self) -> bool {
        match self.content.as_ref().map(|content| &content.kind) {
            Some(ChangeKind::NumberSet { document, number }) => {
                *document == self.document && *number == self.number
            }
            _ => false,
        }
    }
}

/// The keyed pseudonym of (feed, change id): what the table of known changes is keyed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeKey(pub [u8; 16]);

/// The keyed digest of everything a change says: the same id with another digest is a mistake, never a second change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChangeDigest(pub [u8; 16]);

impl ChangeDigest {
    /// Returns what an operator names the change by.
    pub fn handle(self) -> Handle {
        let mut handle = [0; 6];
        handle.copy_from_slice(&self.0[..6]);
        Handle(handle)
    }
}

/// What an operator names a waiting change by: 12 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub [u8; 6]);

impl std::str::FromStr for Handle {
    type Err = HandleFault;

    fn from_str(text: &str) -> Result<Self, HandleFault> {
        let mut handle = [0; 6];
        if text.len() != 2 * handle.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(HandleFault);
        }
        for (index, byte) in handle.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or(HandleFault)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| HandleFault)?;
        }
        Ok(Self(handle))
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Handle({self})")
    }
}

/// A handle was malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a handle has 12 hexadecimal digits")]
pub struct HandleFault;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_belongs_to_its_partner() {
        let partner: PartnerId = "authority-demo".parse().unwrap();
        let name = FeedName::of(&partner, "main").unwrap();
        assert_eq!(name.as_str(), "authority-demo/main");
        assert_eq!(FeedName::parse(name.as_str()), Some(name));
        for bad in ["", "Main", "1", "a b", "a/b", &"a".repeat(41)] {
            assert_eq!(FeedName::of(&partner, bad), Err(FeedNameFault), "{bad:?}");
        }
        assert_eq!(FeedName::parse("main"), None);
    }

    #[test]
    fn change_ids_and_handles_are_bounded() {
        assert!(ChangeId::parse(&"x".repeat(64)).is_ok());
        for bad in ["", " ", "é", "a b", &"x".repeat(65)] {
            assert_eq!(ChangeId::parse(bad), Err(ChangeIdFault), "{bad:?}");
        }
        let handle = ChangeDigest([0xab; 16]).handle();
        assert_eq!(handle.to_string().parse(), Ok(handle));
        for bad in ["", "abababababa", "abababababag", "+bababababab", "ababababababab", "ééé"] {
            assert_eq!(bad.parse::<Handle>(), Err(HandleFault), "{bad:?}");
        }
    }
}
