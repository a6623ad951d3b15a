//! From the holder a wallet names to the holder's record.

use std::sync::Arc;

use crate::domain::licence::{AsOf, Known, Qualification, Record};
use crate::domain::presentation::Holder;
use crate::domain::subject::{NumberPseudonym, Position};
use crate::domain::time::Clock;
use crate::verification::ports::{Class, Deadline, Facts, LookUpError, Pseudonyms, Turn};

/// Finds holders. One for the whole gateway; holds no state of its own.
#[derive(Clone)]
pub struct Holders {
    /// Derives pseudonyms.
    pub pseudonyms: Arc<dyn Pseudonyms>,
    /// Reads facts.
    pub facts: Arc<dyn Facts>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// A holder whose record is there and may be shown to its wallet.
#[derive(Clone, Debug)]
pub struct KnownHolder {
    /// The pseudonym of the number the wallet named: one that leads to the record, not always the current one.
    pub number: NumberPseudonym,
    /// The record.
    pub record: Arc<Record>,
    /// What it says now.
    pub current: Qualification,
    /// The moment and knowledge `current` is as of.
    pub as_of: AsOf,
    /// The feed position as of which the reading is true.
    pub position: Position,
}

/// Why there is no holder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHolder {
    /// Refused: no such number, or a protected person, or an erased record. Which is not said.
    #[error("holder not known")]
    NotKnown,
    /// Error: the registry could not tell.
    #[error("the holder's record cannot be read")]
    NoFacts(#[source] LookUpError),
}

impl Holders {
    /// Finds a holder's record, no older than the gateway's freshness bound. Cancel-safe.
    ///
    /// # Errors
    /// [`NoHolder`] says whose turn it is.
    pub async fn find(&self, holder: &Holder, deadline: Deadline) -> Result<KnownHolder, NoHolder> {
        let number = self.pseudonyms.pseudonym(holder.document, &holder.number);
        // A driver waits in front of the app.
        let turn = Turn { class: Class::Presentation, partner: None };
        let looked_up = self.facts.look_up(number, None, deadline, turn).wait().await;
        let fact = looked_up.map_err(NoHolder::NoFacts)?;
        let record = fact.record.ok_or(NoHolder::NotKnown)?;
        let now = self.clock.now();
        let as_of = AsOf { moment: now, known: Known { at: now, position: fact.position } };
        let current = record.history.fold(as_of);
        if current.protected || current.erased || record.history.is_erased() {
            return Err(NoHolder::NotKnown);
        }
        Ok(KnownHolder { number, record, current, as_of, position: fact.position })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::domain::licence::ChangeKind;
    use crate::issuing::testing::{FakeRegistry, NO_HURRY, SetClock, holder, holders, record};

    async fn found(tail: u32, registry: &Arc<FakeRegistry>) -> Result<KnownHolder, NoHolder> {
        holders(registry, &Arc::new(SetClock::default())).find(&holder(tail), NO_HURRY).await
    }

    #[tokio::test]
    async fn a_holder_is_found_by_every_number_it_ever_had() {
        let registry = Arc::new(FakeRegistry::default());
        registry.put(record(1, &[holder(101), holder(102)], Vec::new()));
        for tail in [101, 102] {
            let known = found(tail, &registry).await.unwrap();
            assert_eq!(known.record.subject.as_bytes(), &[1; 16]);
            assert_eq!(known.number, registry.pseudonym(holder(tail).document, &holder(tail).number));
        }
    }

    #[tokio::test]
    async fn whoever_is_absent_protected_or_erased_is_not_known() {
        let registry = Arc::new(FakeRegistry::default());
        registry.put(record(1, &[holder(101)], vec![ChangeKind::ProtectionSet]));
        registry.put(record(2, &[holder(102)], vec![ChangeKind::Erased]));
        for tail in [101, 102, 103] {
            assert_eq!(found(tail, &registry).await.unwrap_err(), NoHolder::NotKnown, "{tail}");
        }
        registry.is_away.store(true, Ordering::Relaxed);
        let away = NoHolder::NoFacts(LookUpError::RegistryUnavailable);
        assert_eq!(found(101, &registry).await.unwrap_err(), away);
    }
}
