//! Which consent is which, and which of them this process knows to be on the book.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{Place, UNREADABLE, place_of};
use crate::domain::disclosure::FieldSet;
use crate::domain::licence::{Stops, StopsFull};
use crate::domain::subject::SubjectId;
use crate::hashing::first_half;
use crate::issuing::ports::{ConsentId, ConsentOnBook, ConsentPlace};
use crate::registry::codec;
use crate::registry::embedded::RegistryError;
use crate::registry::keys::RegistryKeys;
use crate::verification::ports::ConsentUsed;

/// As the mark of requests, for consents.
const CONSENT_MARK: u8 = 0xf4;
/// Consents known in process, in each of two generations: 48 bytes each, so that a few MiB spare most claims a commit.
const KNOWN_MAX: usize = 65_536;

impl RegistryKeys {
    /// Derives the id of a consent.
    fn consent_id(&self, used: &ConsentUsed<'_>) -> ConsentId {
        let obtained = used.evidence.obtained_at.as_nanosecond().to_be_bytes();
        // Every part but the partner has a fixed length, so the parts cannot be told apart in two ways.
        ConsentId(first_half(&self.pseudonym.mac(&[
            &[CONSENT_MARK],
            used.subject.as_bytes(),
            &[used.purpose.code()],
            &obtained,
            &used.evidence.evidence_sha256,
            used.partner.as_str().as_bytes(),
        ])))
    }
}

/// Makes the row of a consent that is used for the first time.
pub(in crate::registry) fn consent_of(keys: &RegistryKeys, used: &ConsentUsed<'_>) -> ConsentOnBook {
    ConsentOnBook {
        id: keys.consent_id(used),
        partner: used.partner.clone(),
        purpose: used.purpose,
        fields: used.fields,
        evidence: used.evidence.clone(),
        case_category: used.case_category.to_owned(),
        first_used_at: used.at,
        withdrawn_at: None,
    }
}

/// Says whether a withdrawal on the record ended a consent already, and since when.
pub(in crate::registry) fn is_covered(consent: &ConsentOnBook, stops: &Stops) -> Option<Timestamp> {
    let stop = stops.of(&consent.partner, consent.purpose)?;
    stop.withdrawn_at.filter(|withdrawn| consent.evidence.obtained_at <= *withdrawn)
}

/// Puts the withdrawal of a consent among the stops of a record. Returns since when it is withdrawn, and whether that is new.
///
/// # Errors
/// [`StopsFull`].
pub(in crate::registry) fn withdraw(
    stops: &mut Stops,
    consent: &ConsentOnBook,
    at: Timestamp,
) -> Result<(Timestamp, bool), StopsFull> {
    if let Some(since) = is_covered(consent, stops) {
        return Ok((since, false));
    }
    // However the clocks differ: what is withdrawn counts no more.
    let since = at.max(consent.evidence.obtained_at);
    stops.withdraw(consent.partner.clone(), consent.purpose, since)?;
    Ok((since, true))
}

/// Cuts a page out of all consents of a subject: newest first use first, strictly before a place.
pub(in crate::registry) fn page_of(
    mut all: Vec<ConsentOnBook>,
    before: Option<ConsentPlace>,
    limit: usize,
) -> Vec<ConsentOnBook> {
    let place =
        |consent: &ConsentOnBook| ConsentPlace { first_used_at: consent.first_used_at, id: consent.id };
    all.retain(|consent| before.is_none_or(|before| place(consent) < before));
    all.sort_by_key(|consent| std::cmp::Reverse(place(consent)));
    all.truncate(limit);
    all
}

/// A consent as it lies on the book.
pub(in crate::registry) struct OnBook;

impl OnBook {
    /// Seals a consent of a subject.
    pub(in crate::registry) fn seal(
        keys: &RegistryKeys,
        subject: SubjectId,
        consent: &ConsentOnBook,
    ) -> Result<Vec<u8>, RegistryError> {
        const UNENCODABLE: RegistryError = RegistryError::Damaged("a consent has no room on the book");
        let mut plain = Zeroizing::default();
        codec::encode_consent(consent, &mut plain).map_err(|_| UNENCODABLE)?;
        let place = place_of(Place::Consent, &key_of(subject, consent.id));
        keys.sealing.seal(&plain, &place).map_err(|_| RegistryError::WrongKeys)
    }

    /// Opens one.
    pub(in crate::registry) fn open(
        keys: &RegistryKeys,
        subject: SubjectId,
        id: ConsentId,
        sealed: &[u8],
    ) -> Result<ConsentOnBook, RegistryError> {
        let mut scratch = Zeroizing::default();
        let place = place_of(Place::Consent, &key_of(subject, id));
        let plain = keys.sealing.open(sealed, &place, &mut scratch).map_err(|_| UNREADABLE)?;
        codec::decode_consent(id, plain).map_err(|_| UNREADABLE)
    }

    /// Adds what a later use brought: more fields, another matter. `None`: it brought nothing.
    pub(in crate::registry) fn used_again(
        known: &ConsentOnBook,
        used: &ConsentOnBook,
    ) -> Option<ConsentOnBook> {
        let fields: FieldSet = known.fields.iter().chain(used.fields.iter()).collect();
        let is_new = fields != known.fields || used.case_category != known.case_category;
        is_new.then(|| ConsentOnBook { fields, case_category: used.case_category.clone(), ..known.clone() })
    }
}

fn key_of(subject: SubjectId, id: ConsentId) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(subject.as_bytes());
    key[16..].copy_from_slice(&id.0);
    key
}

/// Consents this process knows to be on the book as they are used now. Bounded: when the younger generation is full the older is forgotten.
#[derive(Default)]
pub(in crate::registry) struct KnownConsents(Mutex<[HashMap<[u8; 16], [u8; 16]>; 2]>);

impl KnownConsents {
    /// Says whether a consent is known with these fields and this matter.
    pub(in crate::registry) fn holds(&self, consent: &ConsentOnBook) -> bool {
        let told = told_of(consent);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known[0].get(&consent.id.0) == Some(&told) {
            return true;
        }
        let is_old = known[1].get(&consent.id.0) == Some(&told);
        if is_old {
            insert(&mut known, consent.id.0, told);
        }
        is_old
    }

    /// Remembers one that is on the book.
    pub(in crate::registry) fn remember(&self, consent: &ConsentOnBook) {
        insert(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), consent.id.0, told_of(consent));
    }
}

fn insert(known: &mut [HashMap<[u8; 16], [u8; 16]>; 2], id: [u8; 16], told: [u8; 16]) {
    if known[0].len() >= KNOWN_MAX {
        known.swap(0, 1);
        known[0].clear();
    }
    known[0].insert(id, told);
}

/// What a use says of a consent beyond its id.
fn told_of(consent: &ConsentOnBook) -> [u8; 16] {
    let fields: Vec<u8> = consent.fields.iter().map(|field| field.code()).collect();
    first_half(&crate::hashing::sha256(&[&fields, &[0][..], consent.case_category.as_bytes()].concat()))
}
