//! What the records say: the files of this deployment, and the record all replicas share.

use std::collections::BTreeMap;

use super::told;
use crate::admin::report::{StandingPlace, SuspensionLine};
use crate::app::postgres_options;
use crate::cli::deployment::Places;
use crate::config::partner::PartnerFile;
use crate::config::postgres::PostgresConfig;
use crate::domain::standing::{KeyPin, RecordedState, StandingChange, StandingOf};
use crate::identity::{StandingBook, StandingRecord, error_chain};
use crate::registry::PostgresRegistry;

/// What is on record, in this deployment's folder and for all replicas.
pub(super) struct Records {
    pub(super) here: BTreeMap<StandingOf, StandingRecord>,
    pub(super) shared: BTreeMap<StandingOf, StandingRecord>,
    /// Why the shared record is not known.
    pub(super) fault: Option<String>,
}

impl Records {
    /// Reads the records without making anything: looking must not change anything.
    pub(super) fn read(places: &Places) -> miette::Result<Self> {
        let book = StandingBook::look(&places.standing).map_err(|error| told(&error, "check --dir"))?;
        let shared = places.postgres.as_ref().map_or(Ok(BTreeMap::new()), shared_records);
        let (shared, fault) = match shared {
            Ok(shared) => (shared, None),
            Err(why) => (BTreeMap::new(), Some(format!("the shared standing record cannot be read: {why}"))),
        };
        Ok(Self { here: book.list().into_iter().collect(), shared, fault })
    }

    fn against(&self, of: &StandingOf) -> Vec<SuspensionLine> {
        let places = [(StandingPlace::ThisReplica, &self.here), (StandingPlace::Shared, &self.shared)];
        let records = places.into_iter().filter_map(|(place, records)| Some((place, records.get(of)?)));
        let against = records.filter(|(_, record)| record.state == RecordedState::Suspended);
        against
            .map(|(place, record)| SuspensionLine {
                place,
                reason: Some(record.reason.clone()),
                by: Some(record.by.clone()),
                since: Some(record.since.to_string()),
            })
            .collect()
    }

    /// Lists what speaks against a partner, its contract's file included.
    pub(super) fn suspensions(&self, file: &PartnerFile) -> Vec<SuspensionLine> {
        let by_contract =
            SuspensionLine { place: StandingPlace::Contract, reason: None, by: None, since: None };
        let by_contract = file.suspended.then_some(by_contract);
        let of = StandingOf::Partner(file.contract.partner.clone());
        by_contract.into_iter().chain(self.against(&of)).collect()
    }

    /// Lists what speaks against a partner's claims alone.
    pub(super) fn claim_suspensions(&self, file: &PartnerFile) -> Vec<SuspensionLine> {
        self.against(&StandingOf::Claims(file.contract.partner.clone()))
    }

    /// Lists the keys something speaks against.
    pub(super) fn denied_keys(&self) -> BTreeMap<KeyPin, Vec<SuspensionLine>> {
        let all = self.here.keys().chain(self.shared.keys());
        let keys = all.filter_map(|of| match of {
            StandingOf::Key(pin) => Some((*pin, self.against(of))),
            StandingOf::Partner(_) | StandingOf::Claims(_) => None,
        });
        keys.filter(|(_, denials)| !denials.is_empty()).collect()
    }
}

/// Reads the record all replicas share. What went wrong is said with its causes.
fn shared_records(postgres: &PostgresConfig) -> Result<BTreeMap<StandingOf, StandingRecord>, String> {
    let options = postgres_options(postgres).map_err(|error| error_chain(&error))?;
    let words = PostgresRegistry::standing_words(&options).map_err(|error| error_chain(&error))?;
    let record = |change: StandingChange| {
        let StandingChange { of, state, reason, by, at } = change;
        (of, StandingRecord { state, since: at, reason, by })
    };
    Ok(words.into_iter().map(|word| record(word.change)).collect())
}
