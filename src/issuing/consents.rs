//! The driver sees, withdraws and objects, through the wallet.

use std::sync::Arc;

use jiff::Timestamp;

use super::caller::WalletCaller;
use super::holder::{Holders, KnownHolder, NoHolder};
use super::list_tokens::{ListTokens, TokenScope};
use super::ports::{
    ConsentId, ConsentOnBook, ConsentPlace, Deed, DeedLog, DeedToRecord, DriverConsents, StopFault,
};
use crate::domain::licence::{Stop, Stops};
use crate::domain::partner::{PartnerId, Standing};
use crate::domain::presentation::Holder;
use crate::domain::question::Purpose;
use crate::domain::time::Clock;
use crate::verification::ports::{Deadline, LookUpError};

const LIST: &str = "consents";

/// The most a page shows.
pub const PAGE_MAX: usize = 100;

/// Speaks for drivers about consents. One for the whole gateway; holds no state of its own.
pub struct Consents {
    /// Finds holders.
    pub holders: Holders,
    /// Keeps consents and stops.
    pub book: Arc<dyn DriverConsents>,
    /// What drivers do goes on record here.
    pub deeds: Arc<dyn DeedLog>,
    /// Makes page tokens.
    pub tokens: ListTokens,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// Which page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// At most so many, 1 to [`PAGE_MAX`].
    pub size: usize,
    /// Where the page before ended; `None`: the first page.
    pub token: Option<&'a [u8]>,
}

/// A page of consents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentPage {
    /// Newest first use first. `withdrawn_at` is since when the consent does not count, by its own withdrawal, that of another one given
    /// to the same partner for the same purpose, or an objection.
    pub consents: Vec<ConsentOnBook>,
    /// Every objection, newest first; on the first page only.
    pub objections: Vec<Objection>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<Vec<u8>>,
}

/// An objection of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Against whom.
    pub partner: PartnerId,
    /// Against what.
    pub purpose: Purpose,
    /// Since when.
    pub objected_at: Timestamp,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotDone {
    /// Refused: no such holder.
    HolderNotKnown,
    /// Refused: the holder has no such consent.
    ConsentNotKnown,
    /// Refused: the page token is none of this list.
    PageTokenNotKnown,
    /// Refused: the record holds as many stops as it may.
    StopsFull,
    /// Refused: the wallet's standing changed meanwhile.
    StandingLost(Standing),
    /// Error: the registry could not be read.
    NoFacts(LookUpError),
    /// Error: the book of consents cannot be read or written. Safe to repeat.
    NoStore,
    /// Error: it is done, but could not be put on record. Safe to repeat: it is put on record then.
    NoEvidence,
}

impl Consents {
    /// Lists the consents partners claim to have of a driver, and the driver's objections. Cancel-safe.
    ///
    /// # Errors
    /// [`NotDone`] says whose turn it is.
    pub async fn list(
        &self,
        caller: WalletCaller<'_>,
        holder: &Holder,
        page: Page<'_>,
        deadline: Deadline,
    ) -> Result<ConsentPage, NotDone> {
        let known = self.holders.find(holder, deadline).await?;
        let subject = known.record.subject;
        let scope = TokenScope { list: LIST, wallet: caller.wallet, subject: Some(&subject) };
        let before = match page.token {
            None => None,
            Some(token) => Some(self.place(scope, token).ok_or(NotDone::PageTokenNotKnown)?),
        };
        let size = page.size.clamp(1, PAGE_MAX);
        let listed = self.book.list(subject, before, size + 1).await;
        let mut consents = listed.map_err(|_unavailable| NotDone::NoStore)?;
        let is_last = consents.len() <= size;
        consents.truncate(size);
        let last = consents.last().filter(|_| !is_last);
        let next = last.map(|last| self.tokens.make(scope, &place_bytes(last)));
        let stops = &known.record.stops;
        consents.iter_mut().for_each(|consent| consent.withdrawn_at = stopped_at(consent, stops));
        let objections = if before.is_none() { objections(stops) } else { Vec::new() };
        match (caller.standing)() {
            Standing::Active => Ok(ConsentPage { consents, objections, next }),
            lost => Err(NotDone::StandingLost(lost)),
        }
    }

    /// Withdraws a consent; returns since when. It bites before it is on record, so that nothing can hold it up. Safe to repeat.
    ///
    /// # Errors
    /// [`NotDone`] says whose turn it is.
    pub async fn withdraw(
        &self,
        caller: WalletCaller<'_>,
        holder: &Holder,
        consent: ConsentId,
        deadline: Deadline,
    ) -> Result<Timestamp, NotDone> {
        let known = self.holders.find(holder, deadline).await?;
        let withdrawn = self.book.withdraw(known.record.subject, consent, self.clock.now()).await;
        let since = withdrawn?.ok_or(NotDone::ConsentNotKnown)?;
        self.record(caller.wallet, &known, Deed::Withdrawal(consent)).await?;
        Ok(since)
    }

    /// Objects to a partner's look-ups for a purpose; returns since when. Safe to repeat.
    ///
    /// # Errors
    /// [`NotDone`] says whose turn it is.
    pub async fn object(
        &self,
        caller: WalletCaller<'_>,
        holder: &Holder,
        against: &PartnerId,
        purpose: Purpose,
        deadline: Deadline,
    ) -> Result<Timestamp, NotDone> {
        let known = self.holders.find(holder, deadline).await?;
        let (subject, now) = (known.record.subject, self.clock.now());
        let since = self.book.object(subject, against.clone(), purpose, now).await?;
        self.record(caller.wallet, &known, Deed::Objection { against, purpose }).await?;
        Ok(since)
    }

    async fn record(&self, wallet: &PartnerId, known: &KnownHolder, deed: Deed<'_>) -> Result<(), NotDone> {
        let deed = DeedToRecord { at: self.clock.now(), wallet, record: &known.record, deed };
        let recorded = self.deeds.record_deed(&deed).await;
        recorded.map(drop).map_err(|_unavailable| NotDone::NoEvidence)
    }

    /// Reads where a page ended.
    fn place(&self, scope: TokenScope<'_>, token: &[u8]) -> Option<ConsentPlace> {
        let (at, id) = self.tokens.open(scope, token)?.split_first_chunk::<16>()?;
        let first_used_at = Timestamp::from_nanosecond(i128::from_be_bytes(*at)).ok()?;
        Some(ConsentPlace { first_used_at, id: ConsentId(id.try_into().ok()?) })
    }
}

fn place_bytes(last: &ConsentOnBook) -> Vec<u8> {
    [&last.first_used_at.as_nanosecond().to_be_bytes()[..], &last.id.0].concat()
}

/// Says since when a consent does not count.
fn stopped_at(consent: &ConsentOnBook, stops: &Stops) -> Option<Timestamp> {
    let by_stop = |stop: &Stop| {
        let moments = [stop.objected_at, stop.withdrawn_at];
        moments.into_iter().flatten().filter(|at| consent.evidence.obtained_at <= *at).min()
    };
    consent.withdrawn_at.or_else(|| stops.of(&consent.partner, consent.purpose).and_then(by_stop))
}

fn objections(stops: &Stops) -> Vec<Objection> {
    let objection = |stop: &Stop| {
        let (partner, purpose) = (stop.partner.clone(), stop.purpose);
        Some(Objection { partner, purpose, objected_at: stop.objected_at? })
    };
    let mut objections: Vec<_> = stops.iter().filter_map(objection).collect();
    objections.sort_by_key(|objection| std::cmp::Reverse(objection.objected_at));
    objections
}

impl From<NoHolder> for NotDone {
    fn from(why: NoHolder) -> Self {
        match why {
            NoHolder::NotKnown => Self::HolderNotKnown,
            NoHolder::NoFacts(error) => Self::NoFacts(error),
        }
    }
}

impl From<StopFault> for NotDone {
    fn from(fault: StopFault) -> Self {
        match fault {
            StopFault::Full(_) => Self::StopsFull,
            StopFault::Unavailable(_) => Self::NoStore,
        }
    }
}
