//! What this room's tests share: a scripted process behind the ports.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::ports::{
    ExportBody, Health, HoldBackLifted, HoldBackSet, HolderSaid, IMPORT_LINE_BYTES_MAX, ImportBody, Later,
    Operator, OperatorError, Settlement, Status,
};
use super::report::{
    Condition, HealthReport, HoldBackLine, ImportCounts, ImportEncoding, ImportFormat, ImportProgress,
    KeyLine, PartnerLine, QuarantineLine, ReloadReport, SettledReport, StandingOrder, StandingPlace,
    StatusReport, SuspensionLine,
};
use crate::domain::licence::DocumentKind;
use crate::domain::partner::{PartnerId, PartnerKind};
use crate::domain::question::Purpose;
use crate::domain::standing::{KeyPin, RecordedState};

/// Plays the process.
#[derive(Default)]
pub(super) struct Scripted {
    pub(super) parts: Mutex<Vec<(&'static str, Condition)>>,
    pub(super) suspended: Mutex<BTreeMap<String, String>>,
    pub(super) claim_suspensions: Mutex<BTreeMap<String, SuspensionLine>>,
    pub(super) keys: Mutex<Vec<KeyLine>>,
    pub(super) imported: Mutex<Vec<String>>,
    pub(super) settled: Mutex<Vec<(String, Settlement)>>,
    /// What is held back from the one driver there is, whose number is `NUMBER`.
    pub(super) hold_backs: Mutex<Vec<HoldBackLine>>,
    /// How what was imported was said to be written.
    pub(super) encodings: Mutex<Vec<ImportEncoding>>,
    /// What an export gives; nothing: another one runs.
    pub(super) exports: Mutex<Vec<Result<Vec<u8>, &'static str>>>,
    /// The import gives up at this line.
    pub(super) fails_at_line: Option<u64>,
    /// Chunks of a backup.
    pub(super) backup_chunks: u32,
    /// The backup gives up at this chunk.
    pub(super) backup_fails_at: Option<u32>,
}

impl Scripted {
    fn line(&self, partner: &PartnerId) -> PartnerLine {
        let suspended_because = self.suspended.lock().unwrap().get(partner.as_str()).cloned();
        PartnerLine {
            id: partner.as_str().into(),
            display_name: "Rental 乐行".into(),
            kind: PartnerKind::Rental,
            standing: if suspended_because.is_some() { "suspended" } else { "active" }.into(),
            suspended_because,
            suspensions: vec![],
            claim_suspensions: self
                .claim_suspensions
                .lock()
                .unwrap()
                .get(partner.as_str())
                .cloned()
                .into_iter()
                .collect(),
            purposes: vec![Purpose::Rental],
            ends_at: "2027-01-01T00:00:00Z".into(),
        }
    }

    /// Reads lines as an importer does: on a thread of its own, refusing long ones.
    fn import_lines(
        &self,
        body: ImportBody,
        progress: &mpsc::Sender<ImportProgress>,
    ) -> Result<ImportCounts, OperatorError> {
        let mut counts = ImportCounts::default();
        for line in std::io::BufReader::new(body).lines() {
            let line = line.map_err(|_| OperatorError::Failed { what: "the body broke off".into() })?;
            counts.lines += 1;
            if self.fails_at_line == Some(counts.lines) {
                return Err(OperatorError::Failed { what: "the registry's disk is full".into() });
            }
            if line.len() > IMPORT_LINE_BYTES_MAX {
                counts.rejected += 1;
                let reason = "longer than 64 KiB".into();
                let event = ImportProgress::Rejected { line: counts.lines, reason };
                progress.blocking_send(event).unwrap_or_default();
            } else {
                counts.imported += 1;
                self.imported.lock().unwrap().push(line);
            }
            if counts.lines.is_multiple_of(1_000) {
                progress.blocking_send(ImportProgress::Advanced(counts)).unwrap_or_default();
            }
        }
        Ok(counts)
    }
}

impl Health for Scripted {
    fn health(&self) -> HealthReport {
        let add = |report: HealthReport, (part, condition): &(&str, Condition)| match condition {
            Condition::Healthy => report.healthy(part),
            _ => report.unhealthy(part, *condition, "the disk is full"),
        };
        self.parts.lock().unwrap().iter().fold(HealthReport::default(), add)
    }
}

impl Status for Scripted {
    fn status(&self) -> StatusReport {
        StatusReport {
            version: "0.1.0".into(),
            environment: "demo".into(),
            test_numbers_accepted: true,
            replica: "one".into(),
            started_at: "2026-03-01T00:00:00Z".into(),
            uptime_seconds: 7,
            listen: "127.0.0.1:8443".into(),
            partners: 3,
            registry_epoch: 1,
            log_origin: "one.example".into(),
            log_entries: 9,
            policy_version: "2026-11-01".into(),
            more: BTreeMap::new(),
        }
    }

    fn metrics_text(&self) -> String {
        "drivegate_partners 3\n".into()
    }
}

/// The number of the one driver there is.
pub(super) const NUMBER: &str = "000000199001010018";

fn known(holder: &HolderSaid) -> Result<(), OperatorError> {
    let is_known = holder.document == DocumentKind::ResidentId && holder.number == NUMBER;
    let what = || OperatorError::NotUsable { what: "no driver can be found by this number".into() };
    is_known.then_some(()).ok_or_else(what)
}

/// The script behind the port: an import needs it on another thread.
#[derive(Clone, Default)]
pub(super) struct Process(pub(super) Arc<Scripted>);

impl Operator for Process {
    fn change_partner(
        &self,
        partner: PartnerId,
        state: RecordedState,
        order: StandingOrder,
    ) -> Later<'_, Result<PartnerLine, OperatorError>> {
        Box::pin(async move {
            if partner.as_str() == "nobody" {
                return Err(OperatorError::PartnerNotKnown);
            }
            let mut suspended = self.0.suspended.lock().unwrap();
            match state {
                RecordedState::Suspended => suspended.insert(partner.as_str().into(), order.reason),
                RecordedState::Active => suspended.remove(partner.as_str()),
            };
            drop(suspended);
            Ok(self.0.line(&partner))
        })
    }

    fn change_claims(
        &self,
        partner: PartnerId,
        state: RecordedState,
        order: StandingOrder,
    ) -> Later<'_, Result<PartnerLine, OperatorError>> {
        Box::pin(async move {
            let mut suspended = self.0.claim_suspensions.lock().unwrap();
            let line = SuspensionLine {
                place: StandingPlace::ThisReplica,
                reason: Some(order.reason),
                by: order.by,
                since: None,
            };
            match state {
                RecordedState::Suspended => suspended.insert(partner.as_str().into(), line),
                RecordedState::Active => suspended.remove(partner.as_str()),
            };
            drop(suspended);
            Ok(self.0.line(&partner))
        })
    }

    /// The shared record of the key of zeros is away.
    fn change_key(
        &self,
        key: KeyPin,
        state: RecordedState,
        order: StandingOrder,
    ) -> Later<'_, Result<KeyLine, OperatorError>> {
        Box::pin(async move {
            if key == KeyPin([0; 32]) {
                return Err(OperatorError::SharedRecordAway);
            }
            let place = if order.here_only { StandingPlace::ThisReplica } else { StandingPlace::Shared };
            let denial = SuspensionLine { place, reason: Some(order.reason), by: order.by, since: None };
            let denials = (state == RecordedState::Suspended).then_some(denial).into_iter().collect();
            let line = KeyLine { pin: key.to_string(), denials };
            *self.0.keys.lock().unwrap() = vec![line.clone()];
            Ok(line)
        })
    }

    fn keys(&self) -> Later<'_, Result<Vec<KeyLine>, OperatorError>> {
        Box::pin(async { Ok(self.0.keys.lock().unwrap().clone()) })
    }

    fn partners(&self) -> Later<'_, Result<Vec<PartnerLine>, OperatorError>> {
        Box::pin(async move {
            let known = ["insurer-demo", "rental-demo"].map(|id| id.parse().unwrap());
            Ok(known.iter().map(|partner| self.0.line(partner)).collect())
        })
    }

    fn reload(&self) -> Later<'_, Result<ReloadReport, OperatorError>> {
        Box::pin(async { Ok(ReloadReport { partners: 2, faults: vec!["rental.toml:3: rate".into()] }) })
    }

    fn quarantine(&self, after: Option<String>) -> Later<'_, Result<Vec<QuarantineLine>, OperatorError>> {
        let line = |handle: &str| QuarantineLine {
            handle: handle.into(),
            source: "authority-demo/main".into(),
            change_id: "c-1".into(),
            sequence: 3,
            next: 2,
            kind: None,
            recorded_at: None,
            since: "2026-03-01T00:00:00Z".into(),
            reason: "not-understood".into(),
            subject_known: true,
        };
        let lines = match after.as_deref() {
            None => vec![line("0123456789ab")],
            Some(_) => Vec::new(),
        };
        Box::pin(async { Ok(lines) })
    }

    fn settle(
        &self,
        handle: String,
        settlement: Settlement,
    ) -> Later<'_, Result<SettledReport, OperatorError>> {
        Box::pin(async move {
            if handle != "0123456789ab" {
                return Err(OperatorError::NotUsable { what: "no change waits under this handle".into() });
            }
            self.0.settled.lock().unwrap().push((handle, settlement));
            Ok(SettledReport { applied: 2 })
        })
    }

    fn set_hold_back(
        &self,
        holder: HolderSaid,
        wanted: HoldBackSet,
    ) -> Later<'_, Result<HoldBackLine, OperatorError>> {
        let line = HoldBackLine {
            id: "a3".repeat(16),
            partner: wanted.partner,
            from: wanted.from.unwrap_or_else(|| "2026-03-01T00:00:00Z".into()),
            until: wanted.until,
            set_by: wanted.set_by,
            ground: wanted.ground,
            set_at: "2026-03-01T00:00:00Z".into(),
            in_force: true,
        };
        Box::pin(async move {
            known(&holder)?;
            self.0.hold_backs.lock().unwrap().push(line.clone());
            Ok(line)
        })
    }

    fn hold_backs(&self, holder: HolderSaid) -> Later<'_, Result<Vec<HoldBackLine>, OperatorError>> {
        let listed = self.0.hold_backs.lock().unwrap().clone();
        Box::pin(async move { known(&holder).map(|()| listed) })
    }

    fn lift_hold_back(
        &self,
        holder: HolderSaid,
        wanted: HoldBackLifted,
    ) -> Later<'_, Result<HoldBackLine, OperatorError>> {
        Box::pin(async move {
            known(&holder)?;
            let mut kept = self.0.hold_backs.lock().unwrap();
            let at = kept.iter().position(|line| line.id == wanted.id);
            let none = || OperatorError::NotUsable { what: "the driver has no such hold-back".into() };
            at.map(|at| HoldBackLine { in_force: false, ..kept.remove(at) }).ok_or_else(none)
        })
    }

    fn import(
        &self,
        _format: ImportFormat,
        encoding: ImportEncoding,
        body: ImportBody,
        progress: mpsc::Sender<ImportProgress>,
    ) -> Later<'_, Result<ImportCounts, OperatorError>> {
        let script = Arc::clone(&self.0);
        script.encodings.lock().unwrap().push(encoding);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || script.import_lines(body, &progress)).await.unwrap()
        })
    }

    fn export(&self) -> Later<'_, Result<ExportBody, OperatorError>> {
        let script = Arc::clone(&self.0);
        Box::pin(async move {
            if script.exports.lock().unwrap().is_empty() {
                return Err(OperatorError::Busy { what: "export" });
            }
            let (into, body) = mpsc::channel(1);
            tokio::spawn(async move {
                let chunks = std::mem::take(&mut *script.exports.lock().unwrap());
                for chunk in chunks {
                    let chunk = chunk.map(Bytes::from).map_err(std::io::Error::other);
                    into.send(chunk).await.unwrap_or_default();
                }
            });
            Ok(body)
        })
    }

    fn back_up(
        &self,
        chunks: mpsc::Sender<Result<Bytes, OperatorError>>,
    ) -> Later<'_, Result<(), OperatorError>> {
        Box::pin(async move {
            for chunk in 0..self.0.backup_chunks {
                if self.0.backup_fails_at == Some(chunk) {
                    return Err(OperatorError::Failed { what: "the registry cannot be read".into() });
                }
                if chunks.send(Ok(vec![b'b'; 100_000].into())).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
    }
}
