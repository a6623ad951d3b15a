//! What the operator's side says: the shapes behind `/health`, `/status` and the socket, shared by server and client.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::partner::PartnerKind;
use crate::domain::question::Purpose;

/// A hold-back, as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldBackLine {
    /// Names it: 32 hexadecimal digits.
    pub id: String,
    /// Whose look-ups; absent: every police check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// Look-ups from this moment on …
    pub from: String,
    /// … are not told before this one.
    pub until: String,
    /// Who set it.
    pub set_by: String,
    /// Why.
    pub ground: String,
    /// When it was set.
    pub set_at: String,
    /// Whether it holds anything back now.
    pub in_force: bool,
}

/// The condition of one part of the process. Ordered from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// As it should be.
    Healthy,
    /// Serving, but a person should look.
    Degraded,
    /// Not serving: the process is taken out of rotation.
    Failing,
}

/// One part and its condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHealth {
    /// Which part, e.g. `journal`.
    pub part: String,
    /// How it is.
    pub condition: Condition,
    /// Why it is not healthy, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The condition of every part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// The parts.
    pub parts: Vec<PartHealth>,
}

impl HealthReport {
    /// Returns the worst condition of all parts.
    pub fn condition(&self) -> Condition {
        self.parts.iter().map(|part| part.condition).max().unwrap_or(Condition::Healthy)
    }

    /// Says whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        self.condition() < Condition::Failing
    }

    /// Adds a healthy part.
    pub fn healthy(mut self, part: &str) -> Self {
        self.parts.push(PartHealth { part: part.into(), condition: Condition::Healthy, reason: None });
        self
    }

    /// Adds a part that is not as it should be.
    pub fn unhealthy(mut self, part: &str, condition: Condition, reason: impl Into<String>) -> Self {
        self.parts.push(PartHealth { part: part.into(), condition, reason: Some(reason.into()) });
        self
    }
}

/// What this process is and holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The build's version.
    pub version: String,
    /// The profile: production or sandbox.
    pub environment: String,
    /// Whether numbers that cannot be a real person's are answered.
    pub test_numbers_accepted: bool,
    /// The replica's name.
    pub replica: String,
    /// When it started (RFC 3339).
    pub started_at: String,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// Where partners connect.
    pub listen: String,
    /// Partners with a contract.
    pub partners: u64,
    /// The registry's epoch.
    pub registry_epoch: u32,
    /// The journal's origin.
    pub log_origin: String,
    /// Entries in the journal.
    pub log_entries: u64,
    /// The version of the rules that decide.
    pub policy_version: String,
    /// Whatever else is worth knowing, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// One partner, as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartnerLine {
    /// Its id.
    pub id: String,
    /// Its name.
    pub display_name: String,
    /// What kind of organisation.
    pub kind: PartnerKind,
    /// `active`, `suspended` or `contract-not-in-force`.
    pub standing: String,
    /// Why it is suspended: the first reason on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_because: Option<String>,
    /// Every place that suspends it: all must let it go before it may call again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspensions: Vec<SuspensionLine>,
    /// Every place that suspends its claims, whatever else it may do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claim_suspensions: Vec<SuspensionLine>,
    /// The purposes its contract lists.
    pub purposes: Vec<Purpose>,
    /// The end of its contract (RFC 3339).
    pub ends_at: String,
}

/// Where something speaks against a partner or a key. The strictest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StandingPlace {
    /// The contract's file says `suspended`.
    Contract,
    /// The standing record of this replica.
    ThisReplica,
    /// The standing record all replicas share.
    Shared,
}

impl StandingPlace {
    /// Says it to a person.
    pub const fn said(self) -> &'static str {
        match self {
            Self::Contract => "its contract's file",
            Self::ThisReplica => "this replica's record",
            Self::Shared => "the shared record",
        }
    }
}

/// One place that speaks against a partner or a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspensionLine {
    /// Which.
    pub place: StandingPlace,
    /// Why; a contract's file gives no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Since when (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// A key of the deny list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// SHA-256 of its SubjectPublicKeyInfo, in hexadecimal.
    pub pin: String,
    /// Every place that denies it; none: it is allowed again.
    pub denials: Vec<SuspensionLine>,
}

/// What the operator adds to a change of standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingOrder {
    /// Why, for the operators who come after: 1 to 500 printable characters.
    pub reason: String,
    /// Who says so; the socket itself if nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Writes this replica's record alone, though the replicas share one.
    #[serde(default)]
    pub here_only: bool,
}

/// What to do when the shared standing record cannot be written.
pub const SHARED_RECORD_AWAY: &str = "try again when PostgreSQL's primary is back (`drivegate partner list` says whether it was done); \
     --here-only writes a file that binds this replica alone: give it on every replica that still answers";

impl StandingOrder {
    /// Gives a reason and nothing else.
    pub fn because(reason: &str) -> Self {
        Self { reason: reason.to_owned(), by: None, here_only: false }
    }
}

/// A change of the authority that waits, as the operator sees it. Nothing in it tells whom it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineLine {
    /// What to name it by.
    pub handle: String,
    /// Whose feed: `partner/feed`.
    pub source: String,
    /// The authority's id of it.
    pub change_id: String,
    /// Its place in the sequence of its subject and feed.
    pub sequence: u64,
    /// The next place due.
    pub next: u64,
    /// The kind of change; absent when it was not understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When the authority recorded it (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<String>,
    /// Since when it waits (RFC 3339).
    pub since: String,
    /// Why: `held`, or a reason of `QuarantineReason`.
    pub reason: String,
    /// Whether the registry knows the subject: then its answers are in dispute.
    pub subject_known: bool,
}

/// What the operator's decision about a waiting change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledReport {
    /// Changes that joined the record by it.
    pub applied: u64,
}

/// What a reload found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Contracts in force after it.
    pub partners: u64,
    /// What could not be used, each naming file, line and key; the last good state is kept for these.
    pub faults: Vec<String>,
}

/// The form of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportFormat {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a header line.
    Csv,
}

impl ImportFormat {
    /// Returns its word in the socket's query.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// How the characters of an import are written. Declared, never guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImportEncoding {
    /// UTF-8.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// GB 18030, of which GBK and GB 2312 are parts.
    #[serde(rename = "gb18030")]
    Gb18030,
}

impl ImportEncoding {
    /// Returns its word in the socket's query.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Gb18030 => "gb18030",
        }
    }
}

/// How far an import is, or how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportCounts {
    /// Lines read, the header of a CSV not counted.
    pub lines: u64,
    /// Licences that are new or changed.
    pub imported: u64,
    /// Licences that were there already, just so.
    pub unchanged: u64,
    /// Lines refused.
    pub rejected: u64,
}

/// What an import says on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportProgress {
    /// Counts so far.
    Advanced(ImportCounts),
    /// A line was refused; the rest goes in.
    Rejected {
        /// Its number in the file, from 1.
        line: u64,
        /// Why; never the line's content.
        reason: String,
    },
}

/// One line of the event stream that answers an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportEvent {
    /// It goes on.
    Progress(ImportProgress),
    /// It ended well.
    Done(ImportCounts),
    /// It ended before its end; what was imported stays.
    Failed(ErrorBody),
}

/// Why an operation was not done, as the socket says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A stable word.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub next: String,
}
