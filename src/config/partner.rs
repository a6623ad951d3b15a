//! A partner's contract as a file: one TOML document per partner, read into the domain's `Contract` and written back.
//!
//! Faults name file, line and key, since an operator mends them in an editor. What policy grants a kind of partner is the
//! domain's business; a file that lists more is at fault here, with the line of the purpose.

mod claims;
mod edit;
mod place;
mod render;
mod template;

use std::io::Read as _;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

pub use edit::{EditFault, add_pin, remove_pin};
pub use render::render;
pub use template::{terms_for, usual_allowance};

use self::claims::ClaimsTable;
use self::place::Place;

use super::hex::unhex;
use crate::domain::claim::GroundKind;
use crate::domain::disclosure::Field;
use crate::domain::partner::{Allowance, Contract, PartnerIdFault, PartnerKind, PeerName, PurposeTerms};
use crate::domain::question::{CoverageEdition, Purpose, Role};
use crate::domain::rules::Rules;
use crate::domain::time::{end_of, start_of};

/// The longest contract file read: a real one has 2 KiB.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// The most keys pinned at once: the one in use and its successor.
pub const PINS_MAX: usize = 2;
/// The most URIs listed.
const URIS_MAX: usize = 8;

/// A contract file, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct PartnerFile {
    /// The contract.
    pub contract: Contract,
    /// Suspended by the contract itself; the standing record can only be stricter.
    pub suspended: bool,
}

/// What is wrong in a contract's text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, key `{key}`: {what}")]
pub struct ContractFault {
    /// Counted from 1.
    pub line: usize,
    /// The key at fault.
    pub key: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// A contract file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContractFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It can be read, but not understood.
    #[error("{}, {fault}", path.display())]
    Fault {
        /// Which.
        path: PathBuf,
        /// Where and why.
        fault: ContractFault,
    },
}

/// Reads the contract file of a partner; its name must be `<id>.toml`, so that no id is claimed twice.
///
/// # Errors
/// [`ContractFileError`] names file, line and key.
pub fn read(path: &Path) -> Result<PartnerFile, ContractFileError> {
    let text =
        read_bounded(path).map_err(|source| ContractFileError::File { path: path.to_path_buf(), source })?;
    let named = path.file_stem().and_then(|stem| stem.to_str());
    parse_named(&text, named).map_err(|fault| ContractFileError::Fault { path: path.to_path_buf(), fault })
}

/// Parses the text of a contract file.
///
/// # Errors
/// [`ContractFault`] names line and key.
pub fn parse(text: &str) -> Result<PartnerFile, ContractFault> {
    parse_named(text, None)
}

fn parse_named(text: &str, named: Option<&str>) -> Result<PartnerFile, ContractFault> {
    let document: Document = toml::from_str(text).map_err(|error| Place { text }.decode_fault(error))?;
    let place = Place { text };
    if let Some(name) = named.filter(|name| name != document.id.get_ref()) {
        return Err(place.fault(
            &document.id,
            "id",
            format!("the file's name says `{name}`; they must agree"),
        ));
    }
    document.into_file(place)
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("longer than 64 KiB: not a contract"));
    }
    Ok(text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    id: Spanned<String>,
    legal_name: Spanned<String>,
    display_name: Spanned<String>,
    kind: PartnerKind,
    contact: Spanned<String>,
    #[serde(default)]
    suspended: bool,
    #[serde(default)]
    presentations_only: bool,
    validity: Spanned<Validity>,
    #[serde(default)]
    identity: Vec<Spanned<Identity>>,
    #[serde(default)]
    purpose: Vec<Terms>,
    allowance: AllowanceTable,
    #[serde(default)]
    claims: ClaimsTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Validity {
    from: Spanned<Datetime>,
    until: Spanned<Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    san_uri: Option<Spanned<String>>,
    spki_sha256: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    name: Spanned<Purpose>,
    #[serde(default)]
    grounds: Vec<GroundKind>,
    #[serde(default)]
    fields: Vec<Field>,
    #[serde(default)]
    tenure_months: Vec<u16>,
    #[serde(default)]
    margin_days: Vec<u16>,
    #[serde(default)]
    editions: Vec<CoverageEdition>,
    #[serde(default)]
    roles: Vec<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowanceTable {
    rate_per_second: NonZeroU32,
    burst: NonZeroU32,
    in_flight_max: NonZeroU32,
    connections_max: NonZeroU32,
    quota_per_minute: NonZeroU64,
    quota_per_hour: NonZeroU64,
    quota_per_day: NonZeroU64,
}

impl Document {
    fn into_file(self, place: Place<'_>) -> Result<PartnerFile, ContractFault> {
        let partner = self
            .id
            .get_ref()
            .parse()
            .map_err(|fault: PartnerIdFault| place.fault(&self.id, "id", fault.to_string()))?;
        let (starts_at, ends_at) = dates(self.validity.get_ref(), place)?;
        let named: Vec<_> = self.purpose.iter().map(|terms| terms.name.clone()).collect();
        let contract = Contract {
            partner,
            legal_name: prose(&self.legal_name, "legal_name", 200, place)?,
            display_name: prose(&self.display_name, "display_name", 60, place)?,
            kind: self.kind,
            identities: identities(&self.identity, place)?,
            purposes: purposes(self.purpose, place)?,
            presentations_only: self.presentations_only,
            allowance: self.allowance.into(),
            claims: self.claims.into_terms(self.kind, place)?,
            starts_at: start_of(starts_at),
            ends_at: end_of(ends_at),
            contact: prose(&self.contact, "contact", 200, place)?,
        };
        narrows_policy(&contract, &named, place)?;
        Ok(PartnerFile { contract, suspended: self.suspended })
    }
}

/// A contract may only narrow what policy grants its kind of partner: a file that lists more is a mistake, not a wish.
fn narrows_policy(
    contract: &Contract,
    named: &[Spanned<Purpose>],
    place: Place<'_>,
) -> Result<(), ContractFault> {
    let faults = contract.faults(&Rules::default());
    let Some(first) = faults.first() else { return Ok(()) };
    let what = first.to_string();
    match named.iter().find(|name| first.purpose() == *name.get_ref()) {
        Some(name) => Err(place.fault(name, "purpose", what)),
        None => Err(place.fault_at(0..0, "purpose", what)),
    }
}

impl From<AllowanceTable> for Allowance {
    fn from(table: AllowanceTable) -> Self {
        Self {
            rate_per_second: table.rate_per_second.get(),
            burst: table.burst.get(),
            in_flight_max: table.in_flight_max.get(),
            connections_max: table.connections_max.get(),
            quota_per_minute: table.quota_per_minute.get(),
            quota_per_hour: table.quota_per_hour.get(),
            quota_per_day: table.quota_per_day.get(),
        }
    }
}

fn dates(validity: &Validity, place: Place<'_>) -> Result<(Date, Date), ContractFault> {
    let from = civil_date(&validity.from, "validity.from", place)?;
    let until = civil_date(&validity.until, "validity.until", place)?;
    if until < from {
        return Err(place.fault(&validity.until, "validity.until", "lies before validity.from"));
    }
    Ok((from, until))
}

fn civil_date(value: &Spanned<Datetime>, key: &str, place: Place<'_>) -> Result<Date, ContractFault> {
    let refused = || place.fault(value, key, "write a plain date such as 2027-12-31, without quotes or time");
    let given = value.get_ref();
    let (Some(date), None, None) = (given.date, given.time, given.offset) else { return Err(refused()) };
    let number = |part: u8| i8::try_from(part).map_err(|_| refused());
    let year = i16::try_from(date.year).map_err(|_| refused())?;
    Date::new(year, number(date.month)?, number(date.day)?).map_err(|_| refused())
}

/// Names drivers and operators read: no control characters, no direction tricks, not empty, not a novel.
fn prose(
    value: &Spanned<String>,
    key: &str,
    chars_max: usize,
    place: Place<'_>,
) -> Result<String, ContractFault> {
    let text = value.get_ref();
    let hidden = |char: char| {
        char.is_control()
            || matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.trim().is_empty() || text.chars().count() > chars_max || text.chars().any(hidden) {
        let what = format!("write 1 to {chars_max} characters, none of them control or direction characters");
        return Err(place.fault(value, key, what));
    }
    Ok(text.clone())
}

fn identities(listed: &[Spanned<Identity>], place: Place<'_>) -> Result<Vec<PeerName>, ContractFault> {
    let mut names = Vec::new();
    for entry in listed {
        let identity = entry.get_ref();
        if identity.san_uri.is_none() && identity.spki_sha256.is_none() {
            return Err(place.fault(entry, "identity", "give `san_uri`, `spki_sha256` or both"));
        }
        if let Some(uri) = &identity.san_uri {
            add(&mut names, san_uri(uri, place)?, uri, "identity.san_uri", place)?;
        }
        if let Some(pin) = &identity.spki_sha256 {
            add(&mut names, spki_pin(pin, place)?, pin, "identity.spki_sha256", place)?;
        }
    }
    if names.is_empty() {
        let what = "list at least one, or nobody can call under this contract";
        return Err(place.fault_at(0..0, "identity", what));
    }
    Ok(names)
}

fn add(
    names: &mut Vec<PeerName>,
    name: PeerName,
    at: &Spanned<String>,
    key: &str,
    place: Place<'_>,
) -> Result<(), ContractFault> {
    let (most, word) = match name {
        PeerName::SanUri(_) => (URIS_MAX, "URIs"),
        PeerName::SpkiSha256(_) => (PINS_MAX, "pins: the key in use and its successor"),
    };
    if names.contains(&name) {
        return Err(place.fault(at, key, "is listed twice"));
    }
    let alike = names.iter().filter(|other| std::mem::discriminant(*other) == std::mem::discriminant(&name));
    if alike.count() == most {
        return Err(place.fault(at, key, format!("there are at most {most} {word}")));
    }
    names.push(name);
    Ok(())
}

fn san_uri(value: &Spanned<String>, place: Place<'_>) -> Result<PeerName, ContractFault> {
    let uri = value.get_ref();
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
    let well_formed = scheme
        .is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()))
        && uri.len() <= 2048
        && uri.bytes().all(|byte| byte.is_ascii_graphic());
    if !well_formed {
        let what = "write a URI such as \"spiffe://example.org/rental\", in visible ASCII";
        return Err(place.fault(value, "identity.san_uri", what));
    }
    Ok(PeerName::SanUri(uri.clone()))
}

fn spki_pin(value: &Spanned<String>, place: Place<'_>) -> Result<PeerName, ContractFault> {
    let bytes = unhex(value.get_ref()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(PeerName::SpkiSha256).ok_or_else(|| {
        place.fault(value, "identity.spki_sha256", "write SHA-256 of the public key as 64 hexadecimal digits")
    })
}

fn purposes(listed: Vec<Terms>, place: Place<'_>) -> Result<Vec<PurposeTerms>, ContractFault> {
    let mut purposes: Vec<PurposeTerms> = Vec::new();
    for terms in listed {
        let purpose = *terms.name.get_ref();
        if purposes.iter().any(|other| other.purpose == purpose) {
            return Err(place.fault(&terms.name, "purpose.name", "is listed twice"));
        }
        purposes.push(PurposeTerms {
            purpose,
            grounds: terms.grounds,
            fields: terms.fields.into_iter().collect(),
            tenure_months: terms.tenure_months,
            margin_days: terms.margin_days,
            editions: terms.editions,
            roles: terms.roles,
        });
    }
    Ok(purposes)
}

#[cfg(test)]
mod tests;
