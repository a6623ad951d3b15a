//! A wallet is told of look-ups as they come, so that it can tell drivers.
//!
//! Each stream reads the logs itself, at the pace of its own reader: one that reads slowly falls behind, and costs nobody else
//! anything. Nothing is kept for it; where it is stands in the token that comes with every message.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

use super::accesses::{Access, Accesses, NotShown};
use super::list_accesses::by_handle;
use super::ports::{AccessToRecord, Accessed, Accessing, Found, LogSource, SubjectHandle};
use crate::domain::partner::{PartnerId, Standing};
use crate::domain::presentation::Holder;
use crate::domain::subject::SubjectId;
use crate::issuing::{TokenScope, WalletCaller};
use crate::verification::ports::{Deadline, EntryAt, SubjectRef};

const STREAM: &str = "new-accesses";
/// The most drivers one stream can be about.
pub const WATCHED_HOLDERS_MAX: usize = 1_000;
/// Drivers found at once when a stream is opened.
const FOUND_AT_ONCE: usize = 32;
/// How often the logs are looked at when nothing is new.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often a sign of life comes when nothing else does.
const SIGN_EVERY: Duration = Duration::from_secs(10);
/// How often the wallet's standing is read.
const STANDING_EVERY: Duration = Duration::from_millis(500);
/// Entries read at once from a log.
const STRETCH_MAX: u64 = 256;
/// Look-ups judged at once.
const JUDGED_AT_ONCE: usize = 32;
/// How often in a row a log or the registry may fail before the stream ends: for about half a minute.
const FAILURES_MAX: u32 = 120;
/// Logs a token has room for: a deployment's replicas, and some that were retired since.
const LOGS_MAX: usize = 64;
/// A partner's first look-up is told as first when none of so many look-ups about the driver before it was the partner's.
pub const LOOKED_BACK_MAX: usize = 256;
/// Look-ups read at once when looking back.
const LOOKED_BACK_AT_ONCE: usize = 64;
/// Pairs of driver and partner a stream remembers, so as not to look back for them again.
const PAIRS_MAX: usize = 10_000;
/// How far the moments of a log's entries may be out of order.
const DISORDER_MAX: SignedDuration = SignedDuration::from_secs(60);

/// What a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The look-up; `None`: a sign of life.
    pub look_up: Option<NewLookUp>,
    /// Where to go on when the stream breaks.
    pub resume_token: Vec<u8>,
}

/// A look-up that is new on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLookUp {
    /// What the wallet calls the driver.
    pub subject_ref: SubjectRef,
    /// The look-up.
    pub access: Access,
    /// None of the driver's last [`LOOKED_BACK_MAX`] look-ups before it was this partner's, as far as index and logs reach.
    pub first_of_partner: bool,
}

/// How a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// Its reader is gone.
    Gone,
    /// The connection has to go: go on elsewhere with the last token.
    Draining,
    /// Refused: the wallet's standing changed.
    StandingLost(Standing),
    /// Error: a log, the index or the registry could not be read for a while. Go on with the last token.
    Unreadable(NotShown),
}

/// A stream that is on record as opened.
pub struct Watching {
    accesses: Arc<Accesses>,
    wallet: PartnerId,
    /// Whom it is about, by handle; `None`: everybody in the registry.
    watched: Option<HashMap<SubjectHandle, SubjectId>>,
    cursors: Vec<Cursor>,
    pairs: HashSet<(SubjectId, PartnerId)>,
    /// Where it stands that it was opened.
    pub entry: EntryAt,
}

/// How far a log was read.
struct Cursor {
    log: Arc<dyn LogSource>,
    next: u64,
    grows: bool,
    /// How often in a row it could not be read.
    failures: u32,
}

impl Accesses {
    /// Opens a stream of new look-ups, about every driver or some of them (the caller sees to [`WATCHED_HOLDERS_MAX`]), from now on or from where a token
    /// says. On record before it is returned.
    ///
    /// # Errors
    /// [`NotShown`] says whose turn it is.
    pub async fn watch(
        self: &Arc<Self>,
        caller: WalletCaller<'_>,
        holders: &[Holder],
        resume_token: Option<&[u8]>,
        deadline: Deadline,
    ) -> Result<Watching, NotShown> {
        let mut watched = HashMap::new();
        for holders in holders.chunks(FOUND_AT_ONCE) {
            let known =
                try_join_all(holders.iter().map(|holder| self.holders.find(holder, deadline))).await?;
            watched.extend(known.iter().flat_map(|known| by_handle(self, &known.record)));
        }
        let cursors = match resume_token {
            None => self.cursors_now().await?,
            Some(token) => self.cursors_of(caller.wallet, token).await?,
        };
        match (caller.standing)() {
            Standing::Active => {}
            lost => return Err(NotShown::StandingLost(lost)),
        }
        let count = u16::try_from(holders.len()).unwrap_or(u16::MAX);
        let what = Accessing::Watch { holders: count, continued: resume_token.is_some() };
        let access = AccessToRecord { at: self.clock.now(), partner: Some(caller.wallet), what };
        let entry = self.log.record_access(&access).await?;
        Ok(Watching {
            accesses: Arc::clone(self),
            wallet: caller.wallet.clone(),
            watched: (!holders.is_empty()).then_some(watched),
            cursors,
            pairs: HashSet::new(),
            entry,
        })
    }

    async fn cursors_now(&self) -> Result<Vec<Cursor>, NotShown> {
        let logs = self.logs.growing();
        let lengths = try_join_all(logs.iter().map(|log| log.length())).await?;
        let cursor = |(log, next)| Cursor { log, next, grows: true, failures: 0 };
        Ok(logs.into_iter().zip(lengths).map(cursor).collect())
    }

    /// Goes on where a token says; a log it does not know is read from the token's moment on.
    async fn cursors_of(&self, wallet: &PartnerId, token: &[u8]) -> Result<Vec<Cursor>, NotShown> {
        let payload = self.tokens.open(scope(wallet), token);
        let (at, places) = payload.and_then(places_of).ok_or(NotShown::TokenNotKnown)?;
        let growing = self.logs.growing();
        let mut cursors = Vec::with_capacity(places.len());
        for (origin, next) in places {
            let grows = growing.iter().any(|log| log.origin() == origin);
            let Some(log) = self.logs.log(origin) else {
                tracing::error!(origin, "a wallet was told of a log that cannot be read here");
                return Err(NotShown::NoLog);
            };
            cursors.push(Cursor { log, next, grows, failures: 0 });
        }
        for log in growing {
            if !cursors.iter().any(|cursor| cursor.log.origin() == log.origin()) {
                let next = self.first_after(log.as_ref(), at).await?;
                cursors.push(Cursor { log, next, grows: true, failures: 0 });
            }
        }
        Ok(cursors)
    }

    /// Finds, by halving, an entry of a log at or before the first that may be later than a moment.
    async fn first_after(&self, log: &dyn LogSource, at: Timestamp) -> Result<u64, NotShown> {
        let since = at.checked_sub(DISORDER_MAX).unwrap_or(Timestamp::MIN);
        let (mut low, mut high) = (0, log.length().await?);
        while low < high {
            let middle = low + (high - low) / 2;
            let stretch = log.stretch(middle, 1).await?;
            let moment = stretch.entries.first().and_then(|entry| self.entries.at(entry));
            match moment {
                // Pruned, all of it up to there.
                _ if stretch.first > middle => low = stretch.first.min(high),
                Some(moment) if moment < since => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Says whether a look-up is a partner's first about a driver, as far back as is looked.
    async fn is_first(&self, accessed: &Accessed, place: &EntryAt) -> Result<bool, NotShown> {
        let mut before = Found { at: accessed.at, place: place.clone() };
        for _ in 0..LOOKED_BACK_MAX / LOOKED_BACK_AT_ONCE {
            let handle = accessed.subject;
            let found = self.index.by_subject(handle, Some(before.clone()), LOOKED_BACK_AT_ONCE).await?;
            let read = try_join_all(found.iter().map(|found| self.read(found))).await?;
            if read.iter().flatten().any(|earlier| earlier.partner == accessed.partner) {
                return Ok(false);
            }
            match found.into_iter().last() {
                Some(last) => before = last,
                None => return Ok(true),
            }
        }
        Ok(true)
    }
}

impl Watching {
    /// Tells of look-ups until the reader is gone, the wallet may no longer read, `farewell` completes, or the logs cannot be read for a
    /// while. A full channel makes it wait, and nobody else.
    pub async fn run(
        mut self,
        told: &mpsc::Sender<Told>,
        standing: &(dyn Fn() -> Standing + Sync),
        farewell: impl Future<Output = ()>,
    ) -> WatchEnd {
        tokio::select! {
            biased;
            () = told.closed() => WatchEnd::Gone,
            lost = lost_standing(standing) => WatchEnd::StandingLost(lost),
            () = farewell => WatchEnd::Draining,
            end = self.tell(told) => end,
        }
    }

    /// Tells until it cannot go on. A log that fails keeps no other one up; nothing of it is passed over.
    async fn tell(&mut self, told: &mpsc::Sender<Told>) -> WatchEnd {
        let mut signs = every(SIGN_EVERY);
        loop {
            let (mut has_advanced, mut has_failed) = (false, false);
            for at in 0..self.cursors.len() {
                let failures = match self.read_on(at, told, &mut signs).await {
                    Ok(Turn::Gone) => return WatchEnd::Gone,
                    Ok(turn) => {
                        has_advanced |= turn == Turn::Advanced;
                        0
                    }
                    Err(why) => {
                        has_failed = true;
                        let failures = self.cursors.get(at).map_or(0, |cursor| cursor.failures) + 1;
                        if failures > FAILURES_MAX {
                            return WatchEnd::Unreadable(why);
                        }
                        failures
                    }
                };
                if let Some(cursor) = self.cursors.get_mut(at) {
                    cursor.failures = failures;
                }
            }
            if signs.tick().now_or_never().is_some() {
                let sign = Told { look_up: None, resume_token: self.token() };
                if told.send(sign).await.is_err() {
                    return WatchEnd::Gone;
                }
            }
            if has_failed || !has_advanced {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            if !has_failed && !has_advanced {
                // A log that nobody writes any more was read to its end.
                self.cursors.retain(|cursor| cursor.grows);
            }
        }
    }

    /// Tells what is next in a log.
    async fn read_on(
        &mut self,
        at: usize,
        told: &mpsc::Sender<Told>,
        signs: &mut Interval,
    ) -> Result<Turn, NotShown> {
        let Some(cursor) = self.cursors.get(at) else { return Ok(Turn::Idle) };
        let (log, asked) = (Arc::clone(&cursor.log), cursor.next);
        let stretch = log.stretch(asked, STRETCH_MAX).await?;
        self.advance(at, stretch.first);
        let origin: Arc<str> = log.origin().into();
        let mut index = stretch.first;
        for entries in stretch.entries.chunks(JUDGED_AT_ONCE) {
            let places = (index..).map(|index| EntryAt { origin: Arc::clone(&origin), index });
            let judged = entries.iter().zip(places).map(|(entry, place)| self.judge(entry, place));
            for look_up in try_join_all(judged).await? {
                index += 1;
                self.advance(at, index);
                let Some(look_up) = look_up else { continue };
                let look_up = Some(self.remember(look_up));
                signs.reset();
                if told.send(Told { look_up, resume_token: self.token() }).await.is_err() {
                    return Ok(Turn::Gone);
                }
            }
        }
        Ok(if index > asked { Turn::Advanced } else { Turn::Idle })
    }

    /// Says what is to be told of an entry: nothing if it is no look-up, or about nobody the stream is about, or held back.
    async fn judge(&self, entry: &[u8], place: EntryAt) -> Result<Option<(SubjectId, NewLookUp)>, NotShown> {
        let accesses = &self.accesses;
        let Some(accessed) = accesses.entries.accessed(entry) else { return Ok(None) };
        let subject = match &self.watched {
            None => SubjectId::from_bytes(accessed.subject.0),
            Some(watched) => match watched.get(&accessed.subject) {
                Some(subject) => *subject,
                None => return Ok(None),
            },
        };
        // Who has no secret is nobody: a number no one had, or an erased record.
        if accesses.secrets.secret(subject).await?.is_none() {
            return Ok(None);
        }
        let hold_backs = accesses.hold_backs.of_subject(subject).await?;
        if accesses.is_held(&hold_backs, &accessed) {
            return Ok(None);
        }
        let is_known = self.pairs.contains(&(subject, accessed.partner.clone()));
        let first_of_partner = !is_known && accesses.is_first(&accessed, &place).await?;
        let subject_ref = accesses.holders.pseudonyms.subject_ref(&subject, &self.wallet);
        let access = accesses.told(accessed, place);
        Ok(Some((subject, NewLookUp { subject_ref, access, first_of_partner })))
    }

    /// Notes that the partner looked at the driver: of two look-ups judged at once only one is the first.
    fn remember(&mut self, (subject, mut look_up): (SubjectId, NewLookUp)) -> NewLookUp {
        if self.pairs.len() >= PAIRS_MAX {
            self.pairs.clear();
        }
        let is_new = self.pairs.insert((subject, look_up.access.partner.clone()));
        look_up.first_of_partner &= is_new;
        look_up
    }

    fn advance(&mut self, at: usize, next: u64) {
        if let Some(cursor) = self.cursors.get_mut(at) {
            cursor.next = next;
        }
    }

    fn token(&self) -> Vec<u8> {
        let accesses = &self.accesses;
        let mut payload = accesses.clock.now().as_microsecond().to_be_bytes().to_vec();
        for cursor in self.cursors.iter().take(LOGS_MAX) {
            let origin = cursor.log.origin();
            // An origin has 80 characters at most.
            payload.push(origin.len().to_le_bytes()[0]);
            payload.extend_from_slice(origin.as_bytes());
            payload.extend_from_slice(&cursor.next.to_be_bytes());
        }
        accesses.tokens.make(scope(&self.wallet), &payload)
    }
}

/// What a look at a log brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Something was read; there may be more.
    Advanced,
    /// Nothing is new.
    Idle,
    /// The reader is gone.
    Gone,
}

fn scope(wallet: &PartnerId) -> TokenScope<'_> {
    TokenScope { list: STREAM, wallet, subject: None }
}

/// Reads a token: when it was made, and how far each log had been read.
fn places_of(payload: &[u8]) -> Option<(Timestamp, Vec<(&str, u64)>)> {
    let (at, mut rest) = payload.split_first_chunk::<8>()?;
    let at = Timestamp::from_microsecond(i64::from_be_bytes(*at)).ok()?;
    let mut places = Vec::new();
    while let Some((length, more)) = rest.split_first() {
        let (origin, more) = more.split_at_checked((*length).into())?;
        let (next, more) = more.split_first_chunk::<8>()?;
        places.push((std::str::from_utf8(origin).ok()?, u64::from_be_bytes(*next)));
        rest = more;
    }
    (places.len() <= LOGS_MAX).then_some((at, places))
}

/// Waits until the wallet may no longer read.
async fn lost_standing(standing: &(dyn Fn() -> Standing + Sync)) -> Standing {
    let mut looks = every(STANDING_EVERY);
    loop {
        looks.tick().await;
        match standing() {
            Standing::Active => {}
            lost => return lost,
        }
    }
}

/// Ticks from one period after now on.
fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.reset();
    interval
}
