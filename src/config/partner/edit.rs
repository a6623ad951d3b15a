//! Changes of a contract's text that leave the operator's own words and comments where they are.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::ContractFault;
use crate::config::hex::{hex, unhex};

/// A contract's text could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditFault {
    /// It is not a document at all.
    #[error("the contract is not TOML")]
    Toml(#[from] toml_edit::TomlError),
    /// The change would leave a contract that does not hold.
    #[error("{0}")]
    Contract(#[from] ContractFault),
    /// Identities are not written one table each.
    #[error("identities must be written as [[identity]] tables")]
    Layout,
    /// The pin is not there.
    #[error("the contract does not list that pin")]
    NotListed,
    /// It is the last pin beside a URI.
    #[error("it is the last pin: without it any certificate with the URI could call; add the new pin first")]
    LastPin,
}

/// Adds a pin to a contract's text.
///
/// # Errors
/// [`EditFault::Contract`] when two pins stand there already, or this one does.
pub fn add_pin(text: &str, pin: [u8; 32]) -> Result<String, EditFault> {
    let mut document: DocumentMut = text.parse()?;
    let mut entry = Table::new();
    entry.insert("spki_sha256", value(hex(&pin)));
    identities(&mut document)?.push(entry);
    held_to_itself(document.to_string())
}

/// Removes a pin from a contract's text.
///
/// # Errors
/// [`EditFault::NotListed`], [`EditFault::LastPin`], or [`EditFault::Contract`] when nothing would identify the partner.
pub fn remove_pin(text: &str, pin: [u8; 32]) -> Result<String, EditFault> {
    let mut document: DocumentMut = text.parse()?;
    let listed = identities(&mut document)?;
    let is_pin = |entry: &Table| {
        let text = entry.get("spki_sha256").and_then(Item::as_str);
        text.and_then(unhex).is_some_and(|bytes| bytes == pin)
    };
    let at = listed.iter().position(is_pin).ok_or(EditFault::NotListed)?;
    if let Some(entry) = listed.get_mut(at) {
        entry.remove("spki_sha256");
        if entry.is_empty() {
            listed.remove(at);
        }
    }
    let (pins, uris) = (count(listed, "spki_sha256"), count(listed, "san_uri"));
    if pins == 0 && uris > 0 {
        return Err(EditFault::LastPin);
    }
    held_to_itself(document.to_string())
}

fn identities(document: &mut DocumentMut) -> Result<&mut ArrayOfTables, EditFault> {
    document.get_mut("identity").and_then(Item::as_array_of_tables_mut).ok_or(EditFault::Layout)
}

fn count(listed: &ArrayOfTables, key: &str) -> usize {
    listed.iter().filter(|entry| entry.contains_key(key)).count()
}

fn held_to_itself(text: String) -> Result<String, EditFault> {
    super::parse(&text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::partner::parse;
    use crate::domain::partner::PeerName;

    const TEXT: &str = "# ours\nid = \"one\"\nlegal_name = \"x\"\ndisplay_name = \"x\"\nkind = \"rental\"\ncontact = \"x\"\n\
        [validity]\nfrom = 2026-01-01\nuntil = 2026-12-31\n[[identity]]\nsan_uri = \"urn:a\" # keep me\n\
        spki_sha256 = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n\
        [allowance]\nrate_per_second = 1\nburst = 1\nin_flight_max = 1\nconnections_max = 1\n\
        quota_per_minute = 1\nquota_per_hour = 1\nquota_per_day = 1 # per day\n";

    fn names(text: &str) -> Vec<PeerName> {
        parse(text).unwrap().contract.identities
    }

    #[test]
    fn a_key_is_rotated_in_two_steps_and_comments_stay() {
        let (uri, old, new) = (
            PeerName::SanUri("urn:a".into()),
            PeerName::SpkiSha256([0xaa; 32]),
            PeerName::SpkiSha256([0xbb; 32]),
        );
        let both = add_pin(TEXT, [0xbb; 32]).unwrap();
        assert_eq!(names(&both), [uri.clone(), old, new.clone()]);
        let rotated = remove_pin(&both, [0xaa; 32]).unwrap();
        assert_eq!(names(&rotated), [uri, new]);
        for comment in ["# ours", "# keep me", "# per day"] {
            assert!(rotated.contains(comment), "{comment}");
        }
    }

    #[test]
    fn a_change_that_would_weaken_or_break_the_contract_is_refused() {
        assert!(matches!(remove_pin(TEXT, [0xaa; 32]), Err(EditFault::LastPin)));
        assert!(matches!(remove_pin(TEXT, [0xcc; 32]), Err(EditFault::NotListed)));
        assert!(matches!(add_pin(TEXT, [0xaa; 32]), Err(EditFault::Contract(_))));
        let both = add_pin(TEXT, [0xbb; 32]).unwrap();
        assert!(matches!(add_pin(&both, [0xcc; 32]), Err(EditFault::Contract(_))));
        let pin_only = TEXT.replace("san_uri = \"urn:a\" # keep me\n", "");
        assert!(matches!(remove_pin(&pin_only, [0xaa; 32]), Err(EditFault::Contract(_))));
    }
}
