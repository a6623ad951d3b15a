//! Keyed pseudonyms: what indexes, caches and partners see instead of numbers and subjects.

use aws_lc_rs::hmac;

use super::keys::RegistryKeys;
use crate::domain::licence::{DocumentKind, LicenceNumber};
use crate::domain::partner::PartnerId;
use crate::domain::subject::{NumberPseudonym, SubjectId};
use crate::verification::ports::{Pseudonyms, SubjectRef};

impl Pseudonyms for RegistryKeys {
    fn pseudonym(&self, document: DocumentKind, number: &LicenceNumber) -> NumberPseudonym {
        let parts = [&[document.code()], number.expose().as_bytes()];
        NumberPseudonym::from_bytes(first_half(&self.pseudonym, parts))
    }

    fn subject_ref(&self, subject: &SubjectId, partner: &PartnerId) -> SubjectRef {
        // The subject has a fixed length, so the two parts cannot be told apart in two ways.
        SubjectRef(first_half(&self.subject_ref, [subject.as_bytes(), partner.as_str().as_bytes()]))
    }
}

impl RegistryKeys {
    /// Makes the value by which a store recognises its pseudonym key.
    pub(super) fn check(&self, registry_id: &[u8; 16]) -> [u8; 16] {
        // No document has code 0, so this can never be the pseudonym of a number.
        first_half(&self.pseudonym, [&[0], registry_id])
    }
}

fn first_half(key: &hmac::Key, parts: [&[u8]; 2]) -> [u8; 16] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let tag = context.sign();
    let mut half = [0; 16];
    half.copy_from_slice(&tag.as_ref()[..16]);
    half
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

    #[test]
    fn pseudonyms_are_hmac_sha_256_cut_to_16_bytes() {
        // RFC 4231 test case 2, split over two parts.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let expected =
            [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7];
        assert_eq!(first_half(&key, [b"what do ya want ", b"for nothing?"]), expected);
    }
}
