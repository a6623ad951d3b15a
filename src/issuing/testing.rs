//! A registry in memory, a clock that is set, and holders made of digits, for the tests of use cases.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::Holders;
use crate::domain::licence::{
    Change, ChangeKind, DocumentKind, History, LicenceNumber, NumberRules, Record, Stops,
};
use crate::domain::partner::PartnerId;
use crate::domain::presentation::Holder;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId, SubjectSecret};
use crate::domain::time::{Clock, Effective};
use crate::hashing::{first_half, sha256};
use crate::verification::ports::{
    Deadline, Fact, FactSource, Facts, LookUpError, Pseudonyms, Soon, SubjectRef, Turn,
};

/// A deadline nobody reaches.
pub(crate) const NO_HURRY: Deadline = Deadline { since_boot: Duration::MAX };

/// Records by the pseudonyms that lead to them.
#[derive(Default)]
pub(crate) struct FakeRegistry {
    records: Mutex<HashMap<NumberPseudonym, Arc<Record>>>,
    pub(crate) is_away: AtomicBool,
}

impl FakeRegistry {
    /// Puts a record under every number its history knows.
    pub(crate) fn put(&self, record: Record) {
        let record = Arc::new(record);
        let mut records = self.records.lock().unwrap();
        for change in record.history.changes() {
            if let ChangeKind::NumberSet { document, number } = &change.kind {
                records.insert(self.pseudonym(*document, number), Arc::clone(&record));
            }
        }
    }
}

impl Facts for FakeRegistry {
    fn look_up(
        &self,
        pseudonym: NumberPseudonym,
        _: Option<Duration>,
        _: Deadline,
        _: Turn<'_>,
    ) -> Soon<'_, Result<Fact, LookUpError>> {
        if self.is_away.load(Ordering::Relaxed) {
            return Soon::Now(Err(LookUpError::RegistryUnavailable));
        }
        let record = self.records.lock().unwrap().get(&pseudonym).cloned();
        let observed_at = Timestamp::UNIX_EPOCH;
        Soon::Now(Ok(Fact {
            record,
            position: Position::LAST,
            observed_at,
            observed_since_boot: Duration::ZERO,
            source: FactSource::Registry,
        }))
    }

    fn known_true_at(&self, _: NumberPseudonym, fact: &Fact) -> Option<Duration> {
        Some(fact.observed_since_boot)
    }
}

impl Pseudonyms for FakeRegistry {
    fn pseudonym(&self, document: DocumentKind, number: &LicenceNumber) -> NumberPseudonym {
        let named = [&[document.code()], number.expose().as_bytes()].concat();
        NumberPseudonym::from_bytes(first_half(&sha256(&named)))
    }

    fn subject_ref(&self, subject: &SubjectId, partner: &PartnerId) -> SubjectRef {
        let mut bytes = *subject.as_bytes();
        bytes[15] ^= partner.as_str().as_bytes()[0];
        SubjectRef(bytes)
    }
}

/// A clock that stands where it is set, in seconds since the epoch.
#[derive(Default)]
pub(crate) struct SetClock(pub(crate) AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::Relaxed)).unwrap()
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }
}

/// Finds holders in a registry.
pub(crate) fn holders(registry: &Arc<FakeRegistry>, clock: &Arc<SetClock>) -> Holders {
    Holders {
        pseudonyms: Arc::clone(registry) as _,
        facts: Arc::clone(registry) as _,
        clock: Arc::clone(clock) as _,
    }
}

/// A holder with a resident id of this tail.
pub(crate) fn holder(tail: u32) -> Holder {
    let seventeen = format!("00000019900101{tail:03}");
    let check = (0..11).find_map(|last| {
        let text = format!("{seventeen}{}", b"0123456789X"[last] as char);
        let rules = NumberRules { accept_test_numbers: true };
        LicenceNumber::parse(DocumentKind::ResidentId, &text, rules).ok()
    });
    Holder { document: DocumentKind::ResidentId, number: check.unwrap() }
}

/// A record of a subject with these numbers, one after the other.
pub(crate) fn record(subject: u8, holders: &[Holder], more: Vec<ChangeKind>) -> Record {
    let numbers = holders
        .iter()
        .map(|holder| ChangeKind::NumberSet { document: holder.document, number: holder.number.clone() });
    let change = |(seq, kind)| Change {
        effective: Effective::At(Timestamp::UNIX_EPOCH),
        recorded_at: Timestamp::UNIX_EPOCH,
        position: Position { epoch: 1, partition: 0, seq },
        kind,
    };
    Record {
        subject: SubjectId::from_bytes([subject; 16]),
        secret: SubjectSecret::from_bytes([subject; 32]),
        history: History::from_changes((1..).zip(numbers.chain(more)).map(change).collect()),
        stops: Stops::default(),
    }
}
