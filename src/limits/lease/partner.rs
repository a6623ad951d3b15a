//! One partner's lease: tokens at hand, what is wanted, and when Redis is called next.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::message::{Ask, Granted, Reply, Tally};
use super::tokens::Tokens;
use super::{IDLE_PAUSE, LATE_SERIALS, MOVING_PAUSE, STARTING_HELD_MAX, STARTING_MAX, WANTED_PAUSE};
use crate::domain::partner::Allowance;
use crate::limits::partners::locked;

/// The bucket is at least a twentieth of a second's rate: slices need a grain, and governor is the ceiling of a smaller burst.
const GRAIN_PER_SECOND: u32 = 20;

/// A partner's slices in this replica.
pub(in crate::limits) struct Lease {
    replicas_max: NonZeroU32,
    tokens: Tokens,
    wants_tokens: AtomicBool,
    wants_answers: AtomicBool,
    /// Tokens Redis had left when it was last heard.
    level: AtomicU64,
    /// Redis leases; otherwise this replica keeps to its share.
    is_leased: AtomicBool,
    /// Refused here though Redis had something left when it was last heard.
    unleased: AtomicU64,
    /// Wakes whoever calls Redis.
    bell: Arc<Notify>,
    calls: Mutex<Calls>,
}

struct Calls {
    serial: u64,
    known: u64,
    called_at: Option<Duration>,
    due_at: Duration,
    phase: Phase,
    told: Option<(u64, [u64; 3])>,
}

/// How this replica stands with Redis.
enum Phase {
    /// It has not leased anything yet.
    Starting {
        begun_at: Duration,
        /// When it last heard of Redis; at first, when it began.
        heard_at: Duration,
    },
    Leased,
    /// Redis is away, or leases nothing, since then; so many tokens could have been made up so far.
    Alone {
        since: Duration,
        made: u64,
    },
}

/// What is to be done with a call's outcome.
pub(in crate::limits) enum News {
    /// Redis leases so much.
    Leased(Granted),
    /// This replica gives up waiting for a first reply: it begins with its share.
    BeginsAlone,
    /// Nothing.
    Nothing,
}

impl Lease {
    /// Begins with nothing: what it may spend comes with the first reply, or without one after a second.
    pub(in crate::limits) fn new(replicas_max: NonZeroU32, bell: &Arc<Notify>, now: Duration) -> Self {
        bell.notify_one();
        Self {
            replicas_max,
            tokens: Tokens::default(),
            wants_tokens: AtomicBool::new(false),
            wants_answers: AtomicBool::new(false),
            level: AtomicU64::new(0),
            is_leased: AtomicBool::new(false),
            unleased: AtomicU64::new(0),
            bell: Arc::clone(bell),
            calls: Mutex::new(Calls {
                // A partner that is struck off and listed again goes on above what Redis remembers of it.
                serial: u64::try_from(now.as_micros()).unwrap_or(0),
                known: 0,
                called_at: None,
                due_at: now,
                phase: Phase::Starting { begun_at: now, heard_at: now },
                told: None,
            }),
        }
    }

    pub(in crate::limits) fn replicas_max(&self) -> NonZeroU32 {
        self.replicas_max
    }

    /// Spends a token, or says when to come back: once there may be another, but not before Redis can have been asked.
    pub(in crate::limits) fn spend(&self, rate_per_second: u32) -> Result<(), Duration> {
        match self.tokens.take() {
            Some(false) => Ok(()),
            Some(true) => {
                self.want(&self.wants_tokens);
                Ok(())
            }
            None => {
                self.want(&self.wants_tokens);
                if self.level.load(Ordering::Relaxed) > 0 {
                    self.refused_unleased();
                }
                Err(WANTED_PAUSE.max(Duration::from_secs(1) / rate_per_second.max(1)))
            }
        }
    }

    /// Says whether a token is at hand.
    pub(in crate::limits) fn has_token(&self) -> bool {
        self.tokens.left() > 0
    }

    /// Says that a window's slice runs out.
    pub(in crate::limits) fn want_answers(&self) {
        self.want(&self.wants_answers);
    }

    /// Counts a request refused here though the deployment may have something left.
    pub(in crate::limits) fn refused_unleased(&self) {
        self.unleased.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many requests were refused so since the last time.
    pub(in crate::limits) fn take_unleased(&self) -> u64 {
        self.unleased.swap(0, Ordering::Relaxed)
    }

    fn want(&self, flag: &AtomicBool) {
        // A load first: while something is wanted already the line stays shared between cores.
        if !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::Relaxed) {
            self.bell.notify_one();
        }
    }

    /// Says whether Redis leases; otherwise this replica keeps to its share.
    pub(in crate::limits) fn is_leased(&self) -> bool {
        self.is_leased.load(Ordering::Relaxed)
    }

    /// Says whether it is known how this replica begins.
    pub(in crate::limits) fn has_begun(&self) -> bool {
        !matches!(locked(&self.calls).phase, Phase::Starting { .. })
    }

    /// Returns the tokens left: of the deployment as last heard, or of this replica's share.
    pub(in crate::limits) fn tokens_left(&self) -> u64 {
        let pool = if self.is_leased() { self.level.load(Ordering::Relaxed) } else { 0 };
        self.tokens.left().saturating_add(pool)
    }

    /// Returns when Redis is to be called next.
    pub(in crate::limits) fn due_at(&self) -> Duration {
        let calls = locked(&self.calls);
        let wanted = self.wants_tokens.load(Ordering::Relaxed) || self.wants_answers.load(Ordering::Relaxed);
        let soon = calls.called_at.map_or(Duration::ZERO, |at| at + WANTED_PAUSE);
        if wanted { calls.due_at.min(soon) } else { calls.due_at }
    }

    /// Writes the next call. Tokens nobody asks for are let go of first.
    pub(in crate::limits) fn ask(
        &self,
        allowance: &Allowance,
        windows: [Tally; 3],
        is_leaving: bool,
        now: Duration,
    ) -> Ask {
        let wants_tokens = self.wants_tokens.swap(false, Ordering::Relaxed);
        let wants_answers = self.wants_answers.swap(false, Ordering::Relaxed);
        let mut calls = locked(&self.calls);
        calls.serial += 1;
        calls.called_at = Some(now);
        calls.due_at = now + IDLE_PAUSE;
        let bucket = bucket(allowance);
        if is_leaving {
            self.tokens.keep(0);
        } else if !wants_tokens && matches!(calls.phase, Phase::Leased) {
            self.tokens.keep(at_hand(bucket, self.replicas_max));
        }
        let (entitled, spent) = self.tokens.tally();
        Ask {
            serial: calls.serial,
            known: calls.known,
            replicas_max: self.replicas_max.get(),
            is_leaving,
            rate_per_second: allowance.rate_per_second,
            bucket,
            entitled,
            spent,
            wants_tokens,
            windows,
            wants_answers,
        }
    }

    /// Takes in what came of a call. A reply to an earlier call than the last says nothing any more.
    pub(in crate::limits) fn heard(&self, ask: &Ask, reply: Option<Reply>, now: Duration) -> News {
        let mut calls = locked(&self.calls);
        if calls.serial != ask.serial {
            return News::Nothing;
        }
        match reply {
            Some(Reply::Leased(granted)) => {
                calls.known = ask.serial;
                self.leased(&mut calls, ask, &granted, now);
                News::Leased(granted)
            }
            Some(Reply::Held { .. }) => {
                calls.known = ask.serial;
                self.not_leased(&mut calls, true, now)
            }
            Some(Reply::Late) => {
                calls.serial += LATE_SERIALS;
                self.not_leased(&mut calls, false, now)
            }
            Some(Reply::Left) | None => self.not_leased(&mut calls, false, now),
        }
    }

    fn leased(&self, calls: &mut Calls, ask: &Ask, granted: &Granted, now: Duration) {
        calls.phase = Phase::Leased;
        self.is_leased.store(true, Ordering::Relaxed);
        self.level.store(granted.level.min(ask.bucket), Ordering::Relaxed);
        self.tokens.add(granted.entitled.saturating_sub(ask.entitled), ask.bucket);
        let told = (ask.spent, granted.windows.map(|window| window.elsewhere));
        if calls.told.replace(told) != Some(told) {
            calls.due_at = calls.due_at.min(now + MOVING_PAUSE);
        }
    }

    fn not_leased(&self, calls: &mut Calls, is_heard: bool, now: Duration) -> News {
        calls.due_at = calls.due_at.min(now + MOVING_PAUSE);
        self.is_leased.store(false, Ordering::Relaxed);
        self.level.store(0, Ordering::Relaxed);
        match &mut calls.phase {
            Phase::Starting { begun_at, heard_at } if now < *begun_at + STARTING_HELD_MAX && is_heard => {
                *heard_at = now;
            }
            Phase::Starting { begun_at, heard_at }
                if now < (*begun_at + STARTING_HELD_MAX).min(*heard_at + STARTING_MAX) => {}
            Phase::Starting { .. } => {
                calls.phase = Phase::Alone { since: now, made: 0 };
                return News::BeginsAlone;
            }
            Phase::Leased => calls.phase = Phase::Alone { since: now, made: 0 },
            Phase::Alone { .. } => {}
        }
        News::Nothing
    }

    /// Makes up this replica's part of the rate while Redis is away.
    pub(in crate::limits) fn make_up(&self, allowance: &Allowance, now: Duration) {
        let mut calls = locked(&self.calls);
        let Phase::Alone { since, made } = &mut calls.phase else { return };
        let replicas = u128::from(self.replicas_max.get());
        let elapsed_us = now.saturating_sub(*since).as_micros();
        let could = elapsed_us * u128::from(allowance.rate_per_second) / (replicas * 1_000_000);
        let could = u64::try_from(could).unwrap_or(u64::MAX);
        let fresh = could.saturating_sub(*made);
        if fresh > 0 {
            *made = could;
            self.tokens.add(fresh, share(bucket(allowance), self.replicas_max));
        }
    }
}

/// Returns the size of the bucket. A rate or burst of zero admits nothing.
fn bucket(allowance: &Allowance) -> u64 {
    if allowance.rate_per_second == 0 || allowance.burst == 0 {
        return 0;
    }
    u64::from(allowance.burst.max(allowance.rate_per_second.div_ceil(GRAIN_PER_SECOND)))
}

/// Returns what a replica keeps at hand while nobody asks for more: half of its share of the bucket. The script's `wish` is the same.
fn at_hand(bucket: u64, replicas_max: NonZeroU32) -> u64 {
    bucket.div_ceil(2 * u64::from(replicas_max.get()))
}

/// Returns one replica's share: at least one of anything there is.
pub(in crate::limits) fn share(count: u64, replicas_max: NonZeroU32) -> u64 {
    if count == 0 { 0 } else { (count / u64::from(replicas_max.get())).max(1) }
}
