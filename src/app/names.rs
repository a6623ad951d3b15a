//! What drivers call partners: as their contracts say.

use crate::domain::partner::PartnerId;
use crate::evidence::ports::{PartnerNamed, PartnerNames};
use crate::identity::Roster;

impl PartnerNames for Roster {
    fn names(&self, partner: &PartnerId) -> Option<PartnerNamed> {
        let slot = self.contract_of(partner)?;
        let contract = &slot.contract;
        Some(PartnerNamed {
            legal_name: contract.legal_name.clone(),
            display_name: contract.display_name.clone(),
            kind: contract.kind,
        })
    }
}
