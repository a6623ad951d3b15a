//! Counts what became of every line, and names those that did not reach the record.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::gateway::proto::{Acknowledgement, ChangeOutcome, QuarantineReason, RejectReason};
use crate::registry::import::RejectsFile;

/// Counts while the delivery runs.
pub(super) struct Tally {
    rejects: RejectsFile,
    bar: ProgressBar,
    unwritten: Option<std::io::Error>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    lines: u64,
    applied: u64,
    duplicates: u64,
    discarded: u64,
    held: u64,
    quarantined: u64,
    rejected: u64,
    unreadable: u64,
}

/// How a delivery came out.
pub(super) struct Report {
    counts: Counts,
    rejects: Option<PathBuf>,
}

impl Tally {
    pub(super) fn new(rejects: RejectsFile, bar: ProgressBar) -> Self {
        Self { rejects, bar, unwritten: None, counts: Counts::default() }
    }

    /// Notes a line that is no change.
    pub(super) fn unreadable(&mut self, line: u64, reason: &str) {
        self.counts.lines += 1;
        self.counts.unreadable += 1;
        self.name(line, reason);
    }

    /// Notes what became of a line; `is_last_word`: a held change will not be asked about again.
    pub(super) fn acknowledged(&mut self, line: u64, told: &Acknowledgement, is_last_word: bool) -> Told {
        let outcome = match told.outcome() {
            ChangeOutcome::Duplicate => told.stands(),
            outcome => outcome,
        };
        if outcome == ChangeOutcome::Held && !is_last_word {
            return Told::AskAgain;
        }
        self.counts.lines += 1;
        match (told.outcome(), outcome) {
            (ChangeOutcome::Duplicate, ChangeOutcome::Applied) => self.counts.duplicates += 1,
            (_, ChangeOutcome::Applied) => self.counts.applied += 1,
            (_, ChangeOutcome::Discarded) => self.counts.discarded += 1,
            (_, ChangeOutcome::Held) => {
                self.counts.held += 1;
                self.name(line, "held: an earlier change of its sequence is missing");
            }
            (_, ChangeOutcome::Quarantined) => {
                self.counts.quarantined += 1;
                self.name(
                    line,
                    &with_faults(format!("quarantined: {}", word(told.quarantine_reason())), told),
                );
            }
            _ => {
                self.counts.rejected += 1;
                self.name(
                    line,
                    &with_faults(format!("rejected: {}", reject_word(told.reject_reason())), told),
                );
            }
        }
        if self.counts.lines.is_multiple_of(500) {
            self.bar.set_message(self.counts.summary());
        }
        Told::Settled
    }

    /// Ends the count.
    pub(super) fn finish(self) -> std::io::Result<Report> {
        let rejects = self.rejects.finish()?;
        match self.unwritten {
            Some(error) => Err(error),
            None => Ok(Report { counts: self.counts, rejects }),
        }
    }

    fn name(&mut self, line: u64, reason: &str) {
        if let Err(error) = self.rejects.add(line, reason) {
            self.unwritten.get_or_insert(error);
        }
    }
}

/// Whether a line is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is.
    Settled,
    /// It waits for an earlier change: ask again.
    AskAgain,
}

impl Counts {
    fn summary(&self) -> String {
        let Self { lines, applied, duplicates, held, quarantined, rejected, unreadable, discarded } = self;
        let mut parts = vec![format!("{lines} lines: {applied} applied")];
        let more = [
            (duplicates, "on record before"),
            (discarded, "discarded by the operator"),
            (held, "held"),
            (quarantined, "in quarantine"),
            (rejected, "rejected"),
            (unreadable, "not readable"),
        ];
        parts.extend(
            more.into_iter().filter(|(count, _)| **count > 0).map(|(count, what)| format!("{count} {what}")),
        );
        parts.join(", ")
    }
}

impl Report {
    /// Says whether every change is on record, or was settled by the operator.
    pub(super) fn is_clean(&self) -> bool {
        let Counts { held, quarantined, rejected, unreadable, .. } = self.counts;
        held + quarantined + rejected + unreadable == 0
    }

    pub(super) fn render(&self, seconds: f64) -> String {
        let rate = format!("in {seconds:.1} s ({:.0}/s)", self.per_second(seconds));
        let rejects = self
            .rejects
            .as_ref()
            .map(|path| format!("\nlines that did not reach the record: {}", path.display()));
        format!("{} {rate}{}", self.counts.summary(), rejects.unwrap_or_default())
    }

    pub(super) fn to_json(&self, seconds: f64) -> Value {
        let Counts { lines, applied, duplicates, discarded, held, quarantined, rejected, unreadable } =
            self.counts;
        json!({
            "lines": lines,
            "applied": applied,
            "duplicates": duplicates,
            "discarded": discarded,
            "held": held,
            "quarantined": quarantined,
            "rejected": rejected,
            "unreadable": unreadable,
            "seconds": seconds,
            "per_second": self.per_second(seconds),
            "rejects": self.rejects,
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "a rate for people to read")]
    fn per_second(&self, seconds: f64) -> f64 {
        if seconds > 0.0 { self.counts.lines as f64 / seconds } else { 0.0 }
    }
}

fn word(reason: QuarantineReason) -> String {
    plain(reason.as_str_name(), "QUARANTINE_REASON_")
}

fn reject_word(reason: RejectReason) -> String {
    plain(reason.as_str_name(), "REJECT_REASON_")
}

fn plain(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', "-")
}

fn with_faults(reason: String, told: &Acknowledgement) -> String {
    let faults: BTreeMap<&str, &str> =
        told.faults.iter().map(|fault| (fault.field.as_str(), fault.rule.as_str())).collect();
    let told: Vec<_> = faults.into_iter().map(|(field, rule)| format!("{field}: {rule}")).collect();
    if told.is_empty() { reason } else { format!("{reason} ({})", told.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(outcome: ChangeOutcome, stands: ChangeOutcome) -> Acknowledgement {
        Acknowledgement { outcome: outcome.into(), stands: stands.into(), ..Acknowledgement::default() }
    }

    #[test]
    fn every_line_is_counted_once_and_what_is_not_on_record_is_named() {
        use ChangeOutcome as O;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects");
        let mut tally = Tally::new(RejectsFile::at(&path).unwrap(), ProgressBar::hidden());
        assert_eq!(tally.acknowledged(1, &told(O::Held, O::Unspecified), false), Told::AskAgain);
        for (line, (outcome, stands)) in [
            (O::Applied, O::Unspecified),
            (O::Duplicate, O::Applied),
            (O::Duplicate, O::Discarded),
            (O::Duplicate, O::Held),
            (O::Quarantined, O::Unspecified),
            (O::Rejected, O::Unspecified),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(tally.acknowledged(line as u64 + 1, &told(outcome, stands), true), Told::Settled);
        }
        tally.unreadable(9, "not JSON");
        let report = tally.finish().unwrap();
        assert!(!report.is_clean());
        let json = report.to_json(2.0);
        for key in ["applied", "duplicates", "discarded", "held", "quarantined", "rejected", "unreadable"] {
            assert_eq!(json[key], 1, "{key}");
        }
        assert_eq!((&json["lines"], &json["per_second"]), (&json!(7), &json!(3.5)));
        let named = std::fs::read_to_string(path).unwrap();
        assert_eq!(named.lines().count(), 4, "{named}");
    }
}
