//! Reads the partner's standing, for every call: a suspension or revocation bites on an open connection.

use std::sync::Arc;

use super::gate::Gate;
use crate::domain::partner::Standing;
use crate::domain::time::Clock;
use crate::gateway::context::CallContext;
use crate::gateway::refusal::Refusal;
use crate::identity::Roster;

/// Lets partners in good standing pass, and notes their contract.
pub(in crate::gateway) struct StandingGate {
    roster: Arc<Roster>,
    clock: Arc<dyn Clock>,
}

impl StandingGate {
    /// Builds the gate.
    pub(in crate::gateway) fn new(roster: Arc<Roster>, clock: Arc<dyn Clock>) -> Self {
        Self { roster, clock }
    }
}

impl Gate for StandingGate {
    type Pass = ();

    fn pass(&self, call: &CallContext) -> Result<(), Refusal> {
        let standing = call.connection.standing(&self.roster, self.clock.now());
        if let Some(contract) = call.connection.contract(&self.roster) {
            let _set_once = call.contract.set(contract);
        }
        match standing {
            Standing::Active if call.contract.get().is_some() => Ok(()),
            Standing::Active => Err(Refusal::Standing(Standing::NotListed)),
            refused => Err(Refusal::Standing(refused)),
        }
    }
}
