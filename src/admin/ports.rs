//! What the operator's side needs from the rest of the process. Implemented by `app`.

use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;

use bytes::{Buf as _, Bytes};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::report::{
    HealthReport, HoldBackLine, ImportCounts, ImportEncoding, ImportFormat, ImportProgress, KeyLine,
    PartnerLine, QuarantineLine, ReloadReport, SettledReport, StandingOrder, StatusReport,
};
use crate::domain::licence::DocumentKind;
use crate::domain::partner::PartnerId;
use crate::domain::standing::{KeyPin, RecordedState};

/// A future a port returns.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Says how each part of the process is. Must not block: it is asked by every probe.
pub trait Health: Send + Sync + 'static {
    /// Reports the condition of every part.
    fn health(&self) -> HealthReport;
}

/// Says what this process is and holds. Must not block.
pub trait Status: Send + Sync + 'static {
    /// Reports version, environment, uptime and what is loaded.
    fn status(&self) -> StatusReport;

    /// Renders the metrics in Prometheus' text format.
    fn metrics_text(&self) -> String;
}

/// The logs an auditor may read. Reads files: ask where blocking is permitted.
pub trait PublishedLogs: Send + Sync + 'static {
    /// Names the logs.
    fn origins(&self) -> Vec<String>;

    /// Returns a resource of C2SP `tlog-tiles`; `None` when the log has none such, or not any more.
    fn resource(&self, origin: &str, resource: LogResource) -> Result<Option<Vec<u8>>, LogUnreadable>;
}

/// What a log publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogResource {
    /// The newest signed tree head.
    Checkpoint,
    /// Hashes.
    Tile {
        /// 0: of entries.
        level: u8,
        /// Its number in the level.
        number: u64,
        /// 256, or fewer in a partial tile.
        width: u16,
    },
    /// Entries.
    Bundle {
        /// Its number.
        number: u64,
        /// 256, or fewer in a partial bundle.
        width: u16,
    },
}

/// Cosigns checkpoints. Blocks on a disk: ask where blocking is permitted.
pub trait WitnessDesk: Send + Sync + 'static {
    /// Answers a request of C2SP `tlog-witness`.
    fn add_checkpoint(&self, body: &[u8]) -> WitnessAnswer;
}

/// What a witness answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// 200: the lines of its cosignatures.
    Cosigned(Vec<u8>),
    /// 400.
    Malformed,
    /// 404.
    UnknownLog,
    /// 403.
    NotSigned,
    /// 409: it has cosigned another size, or another tree of that size.
    Conflict {
        /// What it has cosigned last.
        size: u64,
    },
    /// 422.
    NotContinued,
    /// 503.
    Unavailable,
}

/// The log's files cannot be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log cannot be read")]
pub struct LogUnreadable;

/// Everything that changes state on the operator's word.
pub trait Operator: Send + Sync + 'static {
    /// Suspends a partner or lets it call again; durable before it returns, and it bites on the next request. Where replicas share a
    /// registry the change is theirs, too, within a second, unless the order is for here only.
    fn change_partner(
        &self,
        partner: PartnerId,
        state: RecordedState,
        order: StandingOrder,
    ) -> Later<'_, Result<PartnerLine, OperatorError>>;

    /// Suspends a partner's claims or lets it claim again, presentations apart; as [`Self::change_partner`].
    fn change_claims(
        &self,
        partner: PartnerId,
        state: RecordedState,
        order: StandingOrder,
    ) -> Later<'_, Result<PartnerLine, OperatorError>>;

    /// Denies a key or allows it again; as [`Self::change_partner`].
    fn change_key(
        &self,
        key: KeyPin,
        state: RecordedState,
        order: StandingOrder,
    ) -> Later<'_, Result<KeyLine, OperatorError>>;

    /// Lists the keys that are denied, or were.
    fn keys(&self) -> Later<'_, Result<Vec<KeyLine>, OperatorError>>;

    /// Lists the partners and where they stand.
    fn partners(&self) -> Later<'_, Result<Vec<PartnerLine>, OperatorError>>;

    /// Reads contracts, trust, revocation lists and the server's certificate again.
    fn reload(&self) -> Later<'_, Result<ReloadReport, OperatorError>>;

    /// Lists up to 1,000 waiting changes of the authority, after the one with this handle.
    fn quarantine(&self, after: Option<String>) -> Later<'_, Result<Vec<QuarantineLine>, OperatorError>>;

    /// Decides about a waiting change; durable before it returns.
    fn settle(
        &self,
        handle: String,
        settlement: Settlement,
    ) -> Later<'_, Result<SettledReport, OperatorError>>;

    /// Holds look-ups back from a driver; on record first, then in force.
    fn set_hold_back(
        &self,
        holder: HolderSaid,
        wanted: HoldBackSet,
    ) -> Later<'_, Result<HoldBackLine, OperatorError>>;

    /// Lists what is held back from a driver, and what was.
    fn hold_backs(&self, holder: HolderSaid) -> Later<'_, Result<Vec<HoldBackLine>, OperatorError>>;

    /// Lifts a hold-back before its time; on record first.
    fn lift_hold_back(
        &self,
        holder: HolderSaid,
        wanted: HoldBackLifted,
    ) -> Later<'_, Result<HoldBackLine, OperatorError>>;

    /// Imports licences into the registry this process holds open. What was imported stays when the body breaks off:
    /// importing is idempotent. A full `progress` channel makes the import wait for its reader.
    fn import(
        &self,
        format: ImportFormat,
        encoding: ImportEncoding,
        body: ImportBody,
        progress: mpsc::Sender<ImportProgress>,
    ) -> Later<'_, Result<ImportCounts, OperatorError>>;

    /// Begins to export every licence, numbers and names included. An error item says that it broke off; it is whole only
    /// with its end line.
    fn export(&self) -> Later<'_, Result<ExportBody, OperatorError>>;

    /// Writes a backup of the registry this process holds open, chunk by chunk, from one snapshot. A full channel makes it
    /// wait; a closed one ends it.
    fn back_up(
        &self,
        chunks: mpsc::Sender<Result<Bytes, OperatorError>>,
    ) -> Later<'_, Result<(), OperatorError>>;
}

/// A driver, as the operator names one.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HolderSaid {
    /// The kind of document.
    pub document: DocumentKind,
    /// Its number, not looked at yet.
    pub number: String,
}

impl std::fmt::Debug for HolderSaid {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("HolderSaid([elided])")
    }
}

/// A hold-back as the operator wants it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldBackSet {
    /// Whose look-ups; absent: every police check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// Look-ups from this moment on, RFC 3339; absent: from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when, RFC 3339.
    pub until: String,
    /// Who sets it.
    pub set_by: String,
    /// Why: a reference to the investigation's file.
    pub ground: String,
}

/// A hold-back that is to be lifted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldBackLifted {
    /// Which: 32 hexadecimal digits.
    pub id: String,
    /// Who lifts it.
    pub lifted_by: String,
    /// Why.
    pub ground: String,
}

/// What the operator decides about a waiting change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It never joins the record.
    Discard,
    /// It is judged again.
    Replay {
        /// As recorded now.
        recorded_now: bool,
    },
}

/// The body of an export, chunk by chunk, as it is read. Dropping it ends the export.
pub type ExportBody = mpsc::Receiver<io::Result<Bytes>>;

/// Why an operation was not done. Texts name partners and files, never a driver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// No contract has this id. List the partners.
    #[error("no partner has this id")]
    PartnerNotKnown,
    /// Another operation of this kind is running. Wait for it.
    #[error("another {what} is running")]
    Busy {
        /// Which.
        what: &'static str,
    },
    /// What was handed in cannot be used. Correct it.
    #[error("{what}")]
    NotUsable {
        /// What is wrong with it.
        what: String,
    },
    /// The record all replicas share cannot be written now. Try again, or write this replica's alone.
    #[error("the standing record that all replicas share cannot be written")]
    SharedRecordAway,
    /// It could not be done. The gateway's log has the chain of causes.
    #[error("{what}")]
    Failed {
        /// What failed.
        what: String,
    },
}

/// The body of an import, chunk by chunk, as it arrives.
///
/// No line is longer than [`IMPORT_LINE_BYTES_MAX`] + 1: the rest of a longer one is dropped on arrival, so that a
/// reader that judges lines against that bound refuses it and goes on with the next.
pub struct ImportBody {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

/// The longest line an import accepts, without its newline: a licence with a long history takes a few KiB.
pub const IMPORT_LINE_BYTES_MAX: usize = 64 * 1024;

impl ImportBody {
    /// Wraps a channel of chunks. An error item says that the body broke off; a closed channel is its end.
    pub fn new(chunks: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { chunks, current: Bytes::new() }
    }

    /// Waits for the next chunk; `None` is the end.
    ///
    /// # Errors
    /// When the body broke off.
    pub async fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        if self.current.has_remaining() {
            return Ok(Some(std::mem::take(&mut self.current)));
        }
        self.chunks.recv().await.transpose()
    }
}

/// Reads the body from a thread of its own (blocking): inside a runtime use [`ImportBody::next_chunk`].
impl Read for ImportBody {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.current.has_remaining() {
            match self.chunks.blocking_recv().transpose()? {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.current.len());
        self.current.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}
