//! The contracted caller: who it is, what its contract allows, and whether it may call now.

mod claim_terms;

pub use claim_terms::{ClaimTerms, SUBJECTS_MAX, Threshold};

use std::sync::Arc;

use jiff::Timestamp;

use super::claim::GroundKind;
use super::closed_set::closed_set;
use super::disclosure::FieldSet;
use super::question::{CoverageEdition, Purpose, Role};

/// A partner's id: 1 to 40 characters of a-z, 0-9 and '-', starting with a letter. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartnerId(Arc<str>);

/// A partner id was malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a partner id has 1 to 40 characters of a-z, 0-9 and '-', and starts with a letter")]
pub struct PartnerIdFault;

impl PartnerId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for PartnerId {
    type Err = PartnerIdFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let permitted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let well_formed = (1..=40).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && text.bytes().all(permitted);
        if well_formed { Ok(Self(text.into())) } else { Err(PartnerIdFault) }
    }
}

impl std::fmt::Display for PartnerId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.pad(&self.0)
    }
}

closed_set! {
    /// What kind of organisation a partner is.
    pub enum PartnerKind {
        /// Insurer.
        Insurer = 1, "insurer";
        /// Car rental.
        Rental = 2, "rental";
        /// Recruiting platform.
        Recruiter = 3, "recruiter";
        /// Transport operator.
        Transport = 4, "transport";
        /// Police terminals.
        Enforcement = 5, "enforcement";
        /// The app's back end.
        Wallet = 6, "wallet";
        /// The licence authority.
        Authority = 7, "authority";
    }
}

/// A partner's contract, parsed. Policy has already been applied to nothing here: it narrows at `authorise`.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// Who.
    pub partner: PartnerId,
    /// The name drivers see in full.
    pub legal_name: String,
    /// The name drivers see in short.
    pub display_name: String,
    /// What kind of organisation.
    pub kind: PartnerKind,
    /// How its certificates are recognised: at least one.
    pub identities: Vec<PeerName>,
    /// What it may ask.
    pub purposes: Vec<PurposeTerms>,
    /// Whether it is answered about presentations alone: no claim, whatever its ground.
    pub presentations_only: bool,
    /// How much it may ask.
    pub allowance: Allowance,
    /// How many people it may claim to know.
    pub claims: ClaimTerms,
    /// First moment.
    pub starts_at: Timestamp,
    /// First moment after the contract.
    pub ends_at: Timestamp,
    /// Whom to call, for operators.
    pub contact: String,
}

impl Contract {
    /// Returns the terms of a purpose, if the contract lists it.
    pub fn terms(&self, purpose: Purpose) -> Option<&PurposeTerms> {
        self.purposes.iter().find(|terms| terms.purpose == purpose)
    }
}

/// How a certificate is recognised. Never by its common name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerName {
    /// An exact URI among the subject alternative names.
    SanUri(String),
    /// SHA-256 of the SubjectPublicKeyInfo.
    SpkiSha256([u8; 32]),
}

/// What a partner may ask under one purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurposeTerms {
    /// The purpose.
    pub purpose: Purpose,
    /// Grounds accepted.
    pub grounds: Vec<GroundKind>,
    /// Fields released at most.
    pub fields: FieldSet,
    /// Values accepted for a tenure, in months (of 6, 12, 24, 36).
    pub tenure_months: Vec<u16>,
    /// Values accepted for a validity margin, in days (of 0, 30, 60).
    pub margin_days: Vec<u16>,
    /// Editions accepted.
    pub editions: Vec<CoverageEdition>,
    /// Roles accepted.
    pub roles: Vec<Role>,
}

/// How much a partner may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests per second; spent before decoding, never refunded.
    pub rate_per_second: u32,
    /// Requests admitted at once after a pause: 1 and more.
    pub burst: u32,
    /// Requests served at once, over all connections.
    pub in_flight_max: u32,
    /// Connections open at once.
    pub connections_max: u32,
    /// Answers per minute.
    pub quota_per_minute: u64,
    /// Answers per hour.
    pub quota_per_hour: u64,
    /// Answers per day of China Standard Time.
    pub quota_per_day: u64,
}

/// What a client certificate proves, found once per connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// URIs among the subject alternative names.
    pub san_uris: Vec<String>,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// SHA-256 of the issuer's distinguished name, with `serial` the key into revocation lists.
    pub issuer_sha256: [u8; 32],
    /// Serial number, big-endian, without leading zeros.
    pub serial: Vec<u8>,
    /// End of the certificate's validity.
    pub not_after: Timestamp,
}

/// Whether a partner may call now; read on every request. The strictest of contract file, records and certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may call.
    Active,
    /// Suspended by the operator.
    Suspended,
    /// It may call, but not claim: too many of its claims were unconfirmed, or the operator says so. Told of claims alone.
    ClaimsSuspended,
    /// Outside the contract's dates.
    ContractNotInForce,
    /// No contract lists this certificate (any more).
    NotListed,
    /// The certificate was revoked, its key was denied, or it has expired on an open connection.
    CertificateNotAccepted,
    /// Nothing known speaks against it, but what is known of the shared record is older than the freshness bound: an error,
    /// no refusal.
    NotKnown,
}
