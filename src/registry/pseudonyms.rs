//! Keyed pseudonyms: what indexes, caches and partners see instead of numbers and subjects.

use super::keys::RegistryKeys;
use crate::domain::licence::{DocumentKind, LicenceNumber};
use crate::domain::partner::PartnerId;
use crate::domain::subject::{NumberPseudonym, SubjectId};
use crate::hashing::{MacKey, first_half};
use crate::verification::ports::{Pseudonyms, SubjectRef};

impl Pseudonyms for RegistryKeys {
    fn pseudonym(&self, document: DocumentKind, number: &LicenceNumber) -> NumberPseudonym {
        let parts: [&[u8]; 2] = [&[document.code()], number.expose().as_bytes()];
        NumberPseudonym::from_bytes(first_half(&self.pseudonym.mac(&parts)))
    }

    fn subject_ref(&self, subject: &SubjectId, partner: &PartnerId) -> SubjectRef {
        // The subject has a fixed length, so the two parts cannot be told apart in two ways.
        SubjectRef(first_half(&self.subject_ref.mac(&[subject.as_bytes(), partner.as_str().as_bytes()])))
    }
}

impl RegistryKeys {
    /// Derives what names a deployment: every replica has the same, and no other deployment.
    pub fn deployment_id(&self) -> [u8; 16] {
        first_half(&self.pseudonym.mac(&[&[0], b"drivegate deployment"]))
    }

    /// Derives the key under which tokens of lists and streams are made: every replica of a deployment has the same.
    pub fn list_tokens(&self) -> MacKey {
        // Longer than the check below, and no document has code 0.
        MacKey::new(&self.pseudonym.mac(&[&[0], b"drivegate tokens of lists and streams"]))
    }

    /// Makes the value by which a store recognises its pseudonym key.
    pub(super) fn check(&self, registry_id: &[u8; 16]) -> [u8; 16] {
        // No document has code 0, so this can never be the pseudonym of a number.
        first_half(&self.pseudonym.mac(&[&[0], registry_id]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_stable_for_a_partner_and_useless_to_another() {
        let keys = RegistryKeys::ephemeral().unwrap();
        let [rental, insurer] = ["rental-demo", "insurer-demo"].map(|id| id.parse::<PartnerId>().unwrap());
        let [one, two] = [1, 2].map(|fill| SubjectId::from_bytes([fill; 16]));
        assert_eq!(keys.subject_ref(&one, &rental), keys.subject_ref(&one, &rental));
        assert_ne!(keys.subject_ref(&one, &rental), keys.subject_ref(&one, &insurer));
        assert_ne!(keys.subject_ref(&one, &rental), keys.subject_ref(&two, &rental));
    }
}
