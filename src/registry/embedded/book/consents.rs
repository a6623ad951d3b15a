//! Consents: noted as they are used, listed, withdrawn.
//!
//! A withdrawal is a stop on the record, durable and told through the feed, and a mark on the book. The record is what
//! decides: it comes first, and a consent whose mark a crash prevented is listed as the record says.

use std::sync::Arc;

use jiff::Timestamp;
use redb::{ReadTransaction, ReadableTable};

use super::store::aside;
use super::tables::{CONSENTS, Tables, subject_key};
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;
use crate::domain::subject::SubjectId;
use crate::issuing::ports::{ConsentId, ConsentOnBook, ConsentPlace, DriverConsents, StopFault};
use crate::registry::book::{CONSENTS_MAX, OnBook, consent_of, is_covered, page_of, withdraw};
use crate::registry::embedded::EmbeddedRegistry;
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::store::Shared;
use crate::registry::keys::RegistryKeys;
use crate::verification::ports::{ConsentBook, ConsentUsed, Later, Soon, StoreUnavailable};

impl ConsentBook for EmbeddedRegistry {
    fn note<'a>(&'a self, used: &ConsentUsed<'_>) -> Soon<'a, Result<(), StoreUnavailable>> {
        let (subject, consent) = (used.subject, consent_of(&self.book.keys, used));
        if self.book.known.holds(&consent) {
            return Soon::Now(Ok(()));
        }
        let (keys, noted) = (Arc::clone(&self.book.keys), consent.clone());
        let noting = self.book.change(move |tables| Ok(((), tables.note(&keys, subject, &noted)?)));
        Soon::Later(Box::pin(async move {
            noting.await?;
            self.book.known.remember(&consent);
            Ok(())
        }))
    }
}

impl DriverConsents for EmbeddedRegistry {
    fn list(
        &self,
        subject: SubjectId,
        before: Option<ConsentPlace>,
        limit: usize,
    ) -> Later<'_, Result<Vec<ConsentOnBook>, StoreUnavailable>> {
        let shared = Arc::clone(&self.shared);
        self.book.read(move |reading| {
            let consents = reading.open_table(CONSENTS).trying_to("read")?;
            let mut page = page_of(of_subject(&consents, &shared.keys, subject)?, before, limit);
            // Only what a crash left unmarked asks the record.
            if page.iter().any(|consent| consent.withdrawn_at.is_none())
                && let Some(record) = shared.record_of(subject)?
            {
                for consent in &mut page {
                    let covered = || is_covered(consent, &record.stops);
                    consent.withdrawn_at = consent.withdrawn_at.or_else(covered);
                }
            }
            Ok(page)
        })
    }

    fn withdraw(
        &self,
        subject: SubjectId,
        consent: ConsentId,
        at: Timestamp,
    ) -> Later<'_, Result<Option<Timestamp>, StopFault>> {
        let (shared, database) = (Arc::clone(&self.shared), Arc::clone(&self.book.database));
        let stopping = aside(move || {
            use redb::ReadableDatabase as _;
            let known = consent_in(&database.begin_read().trying_to("read")?, &shared, subject, consent)?;
            let Some(known) = known else { return Ok(None) };
            if let Some(since) = known.withdrawn_at {
                return Ok(Some((Ok(since), None)));
            }
            let stopped = shared.stop(subject, |stops| withdraw(stops, &known, at))?;
            Ok(stopped.map(|since| (since, Some(known))))
        });
        Box::pin(async move {
            let Some((since, unmarked)) = stopping.await? else { return Ok(None) };
            let since = since?;
            let Some(known) = unmarked else { return Ok(Some(since)) };
            let keys = Arc::clone(&self.book.keys);
            let marking = move |tables: &mut Tables<'_>| tables.mark(&keys, subject, &known, since);
            Ok(Some(self.book.change(marking).await?))
        })
    }

    fn object(
        &self,
        subject: SubjectId,
        partner: PartnerId,
        purpose: Purpose,
        at: Timestamp,
    ) -> Later<'_, Result<Timestamp, StopFault>> {
        let shared = Arc::clone(&self.shared);
        let stopping = aside(move || {
            shared.stop(subject, |stops| {
                let known = stops.of(&partner, purpose).and_then(|stop| stop.objected_at);
                Ok((stops.object(partner, purpose, at)?, known.is_none()))
            })
        });
        Box::pin(async move {
            match stopping.await? {
                Some(since) => Ok(since?),
                // Nothing is on record that could be looked up.
                None => Ok(at),
            }
        })
    }
}

impl Tables<'_> {
    /// Notes a use of a consent; says whether that brought anything.
    fn note(
        &mut self,
        keys: &RegistryKeys,
        subject: SubjectId,
        used: &ConsentOnBook,
    ) -> Result<bool, RegistryError> {
        let key = subject_key(subject, used.id.0);
        let found = self.consents.get(&key).trying_to("read")?;
        let known = found.map(|sealed| OnBook::open(keys, subject, used.id, sealed.value())).transpose()?;
        let noted = match &known {
            Some(known) => OnBook::used_again(known, used),
            None => Some(used.clone()),
        };
        let Some(noted) = noted else { return Ok(false) };
        let sealed = OnBook::seal(keys, subject, &noted)?;
        let oldest = if known.is_none() { self.oldest_of_too_many(keys, subject)? } else { None };
        if let Some(oldest) = oldest {
            self.consents.remove(&mut self.changes, &subject_key(subject, oldest.0))?;
        }
        self.consents.put(&mut self.changes, &key, &sealed)?;
        Ok(true)
    }

    fn oldest_of_too_many(
        &self,
        keys: &RegistryKeys,
        subject: SubjectId,
    ) -> Result<Option<ConsentId>, RegistryError> {
        let (first, last) = all_of(subject);
        let rows = self.consents.range::<&[u8; 32]>(&first..=&last).trying_to("read")?;
        if rows.count() < CONSENTS_MAX {
            return Ok(None);
        }
        let all = of_subject(&*self.consents, keys, subject)?;
        Ok(all.iter().min_by_key(|consent| (consent.first_used_at, consent.id)).map(|consent| consent.id))
    }

    /// Marks a consent as withdrawn, unless it is; returns since when.
    fn mark(
        &mut self,
        keys: &RegistryKeys,
        subject: SubjectId,
        consent: &ConsentOnBook,
        since: Timestamp,
    ) -> Result<(Timestamp, bool), RegistryError> {
        let key = subject_key(subject, consent.id.0);
        let found = self.consents.get(&key).trying_to("read")?;
        let known =
            found.map(|sealed| OnBook::open(keys, subject, consent.id, sealed.value())).transpose()?;
        let known = known.unwrap_or_else(|| consent.clone());
        if let Some(first) = known.withdrawn_at {
            return Ok((first, false));
        }
        let sealed = OnBook::seal(keys, subject, &ConsentOnBook { withdrawn_at: Some(since), ..known })?;
        self.consents.put(&mut self.changes, &key, &sealed)?;
        Ok((since, true))
    }
}

fn consent_in(
    reading: &ReadTransaction,
    shared: &Shared,
    subject: SubjectId,
    id: ConsentId,
) -> Result<Option<ConsentOnBook>, RegistryError> {
    let consents = reading.open_table(CONSENTS).trying_to("read")?;
    let found = consents.get(&subject_key(subject, id.0)).trying_to("read")?;
    found.map(|sealed| OnBook::open(&shared.keys, subject, id, sealed.value())).transpose()
}

fn of_subject(
    consents: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    keys: &RegistryKeys,
    subject: SubjectId,
) -> Result<Vec<ConsentOnBook>, RegistryError> {
    let (first, last) = all_of(subject);
    let mut found = Vec::new();
    for row in consents.range::<&[u8; 32]>(&first..=&last).trying_to("read")? {
        let (key, sealed) = row.trying_to("read")?;
        let mut id = [0; 16];
        id.copy_from_slice(&key.value()[16..]);
        found.push(OnBook::open(keys, subject, ConsentId(id), sealed.value())?);
    }
    Ok(found)
}

fn all_of(subject: SubjectId) -> ([u8; 32], [u8; 32]) {
    (subject_key(subject, [0; 16]), subject_key(subject, [u8::MAX; 16]))
}
