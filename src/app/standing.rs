//! Who may call, as the operator changes and sees it: in the contracts' files, in this replica's record, in the shared one.

use jiff::Timestamp;

use super::gateway::Parts;
use crate::admin::ports::OperatorError;
use crate::admin::report::{KeyLine, StandingPlace, SuspensionLine};
use crate::domain::partner::{PartnerId, Standing};
use crate::domain::standing::{KeyPin, RecordedState, StandingChange, StandingOf};
use crate::identity::{PartnerSlot, StandingError};

impl Parts {
    /// Says where a contract's partner stands, apart from its certificates and from the age of what is known.
    pub(super) fn standing_of(&self, slot: &PartnerSlot, now: Timestamp) -> Standing {
        let contract = &slot.contract;
        if self.identity.roster().is_suspended(slot) {
            Standing::Suspended
        } else if now < contract.starts_at || now >= contract.ends_at {
            Standing::ContractNotInForce
        } else {
            Standing::Active
        }
    }

    /// Puts a change on the shared record; where there is none, or with `here_only`, on this replica's.
    pub(super) async fn change_standing(
        &self,
        change: StandingChange,
        here_only: bool,
    ) -> Result<(), OperatorError> {
        let (of, state) = (change.of.to_string(), change.state);
        let change =
            change.checked().map_err(|fault| OperatorError::NotUsable { what: fault.to_string() })?;
        match self.shared_standing.as_ref().filter(|_| !here_only) {
            Some(shared) => {
                shared.put(change).await.map_err(|error| {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the shared standing record was not written"
                    );
                    OperatorError::SharedRecordAway
                })?;
            }
            None => drop(self.identity.standing().put(change).map_err(|error| not_written(&error))?),
        }
        tracing::info!(of, state = state.word(), here_only, "standing changed");
        Ok(())
    }

    /// Lists what speaks against a partner, place by place.
    pub(super) fn suspensions(&self, slot: &PartnerSlot) -> Vec<SuspensionLine> {
        let by_contract =
            SuspensionLine { place: StandingPlace::Contract, reason: None, by: None, since: None };
        let of = StandingOf::Partner(slot.contract.partner.clone());
        let by_contract = slot.suspended.then_some(by_contract);
        by_contract.into_iter().chain(self.recorded_against(&of)).collect()
    }

    /// Lists what speaks against a partner's claims alone, place by place.
    pub(super) fn claim_suspensions(&self, partner: &PartnerId) -> Vec<SuspensionLine> {
        self.recorded_against(&StandingOf::Claims(partner.clone()))
    }

    /// Lists every key a record speaks of.
    pub(super) fn key_lines(&self) -> Vec<KeyLine> {
        let here = self.identity.standing().list().into_iter().map(|(of, _)| of);
        let shared = self.identity.roster().shared().map(|shared| shared.list()).unwrap_or_default();
        let all = here.chain(shared.into_iter().map(|word| word.change.of));
        let mut keys: Vec<KeyPin> = all
            .filter_map(|of| match of {
                StandingOf::Key(pin) => Some(pin),
                StandingOf::Partner(_) | StandingOf::Claims(_) => None,
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|pin| self.key_line(pin)).collect()
    }

    /// Says how a key stands.
    pub(super) fn key_line(&self, pin: KeyPin) -> KeyLine {
        KeyLine { pin: pin.to_string(), denials: self.recorded_against(&StandingOf::Key(pin)) }
    }

    fn recorded_against(&self, of: &StandingOf) -> Vec<SuspensionLine> {
        let here = self.identity.standing().record(of).map(|record| {
            let line = SuspensionLine {
                place: StandingPlace::ThisReplica,
                reason: Some(record.reason),
                by: Some(record.by),
                since: Some(record.since.to_string()),
            };
            (record.state, line)
        });
        let shared = self.identity.roster().shared().and_then(|shared| shared.word(of)).map(|word| {
            let line = SuspensionLine {
                place: StandingPlace::Shared,
                reason: Some(word.change.reason),
                by: Some(word.change.by),
                since: Some(word.change.at.to_string()),
            };
            (word.change.state, line)
        });
        let against = here.into_iter().chain(shared).filter(|(state, _)| *state == RecordedState::Suspended);
        against.map(|(_, line)| line).collect()
    }
}

fn not_written(error: &StandingError) -> OperatorError {
    OperatorError::Failed { what: format!("the standing record was not written: {error}") }
}
