//! The tail: how a replica hears of changes that others made.
//!
//! A poll reads the heads in one statement, then every row up to them. Because a change takes its sequence under its head's
//! row lock and commits before it lets go, whatever is committed lies at or below the heads, without gaps: a poll that told
//! every row up to them has told everything that was committed when it began, which is what is published. A writer that
//! holds a head open holds up the changes behind it and hides none.
//!
//! All heads come from one statement, so that one start holds for all partitions: where one of them cannot be read, none
//! counts as known.
//!
//! Who may call is told first, and again between pages: a long catching up must not hold up a suspension, and a follower that is
//! caught up knows every standing that was on record when it began to be.

use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use sqlx::PgConnection;

use super::clock::{self, MEASURED_EVERY};
use super::connection::{Role, Trying as _, connect, forget};
use super::standing::StandingTail;
use super::store::{PostgresRegistry, Shared};
use super::{feed, server};
use crate::domain::subject::Position;
use crate::domain::time::Clock;
use crate::registry::embedded::RegistryError;
use crate::registry::store::FeedHeads;
use crate::verification::ports::FeedFollower;

/// Rows told between two round trips.
const PAGE: usize = 2_000;
/// Polls are never closer together: a wake-up for every commit of a bulk load would be load itself.
const POLL_GAP: Duration = Duration::from_millis(5);
/// The pause before the next try when the server is away.
const AWAY_PAUSE: Duration = Duration::from_millis(100);
/// The longest a step of a poll may take: after that cached facts are too old anyway, and another connection may do better.
const STEP_MAX: Duration = Duration::from_secs(2);
const MISSING: RegistryError = RegistryError::Damaged("its feed lacks a row below a head");
/// How often old rows are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How the feed is followed.
#[derive(Clone, Copy, Debug)]
pub struct TailOptions {
    /// Tailing starts with the changes of the last so long: as far back as a value in Redis may have been read.
    pub back: Duration,
    /// The pause between polls when nobody tells of a change: 200 ms.
    pub poll_every: Duration,
    /// How long rows are kept: 7 days, so that a replica, or whoever else follows the feed, may be away over a long weekend.
    pub retention: Duration,
}

impl Default for TailOptions {
    fn default() -> Self {
        Self {
            back: Duration::ZERO,
            poll_every: Duration::from_millis(200),
            retention: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

impl PostgresRegistry {
    /// Tells a follower of every change, from the primary alone, until the store is dropped.
    pub fn tail(&self, follower: Arc<dyn FeedFollower>, options: TailOptions, clock: Arc<dyn Clock>) {
        let shared = &self.shared;
        let tail = Tail {
            shared: Arc::clone(shared),
            follower,
            options,
            clock,
            told: None,
            standing: StandingTail::default(),
            clock_asked: None,
        };
        let tasks = [
            self.runtime.spawn(tail.run()),
            self.runtime.spawn(feed::listen(Arc::clone(shared))),
            self.runtime.spawn(forget_old(Arc::clone(shared), options.retention)),
        ];
        let mut running = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        running.extend(tasks.iter().map(tokio::task::JoinHandle::abort_handle));
    }
}

struct Tail {
    shared: Arc<Shared>,
    follower: Arc<dyn FeedFollower>,
    options: TailOptions,
    clock: Arc<dyn Clock>,
    /// What was told last, in each partition; `None` before the first poll.
    told: Option<FeedHeads>,
    standing: StandingTail,
    /// When the server's clock was asked last, since boot.
    clock_asked: Option<Duration>,
}

impl Tail {
    async fn run(mut self) {
        let mut away = false;
        loop {
            if let Err(error) = self.follow(&mut away).await
                && !away
            {
                away = true;
                tracing::warn!(error = %chain(&error), "the registry's feed cannot be read: cached facts stop counting");
            }
            tokio::time::sleep(AWAY_PAUSE).await;
        }
    }

    /// Polls over one connection until it fails.
    async fn follow(&mut self, away: &mut bool) -> Result<(), RegistryError> {
        let options = &self.shared.options;
        let connecting = options
            .writing()
            .map_err(|fault| sqlx::Error::Configuration(fault.into()))
            .trying_to("use the configuration of")?;
        let mut connection = connect(&connecting, Role::Primary, options.connect_time_max)
            .await
            .trying_to("reach the server of")?;
        let followed = self.poll_on(&mut connection, away).await;
        forget(connection);
        followed
    }

    async fn poll_on(&mut self, connection: &mut PgConnection, away: &mut bool) -> Result<(), RegistryError> {
        in_time(server::settle(connection)).await?;
        self.standing.begin_anew();
        loop {
            self.poll(connection).await?;
            self.ask_the_clock(connection).await?;
            if std::mem::take(away) {
                tracing::info!("the registry's feed is read again");
            }
            tokio::time::sleep(POLL_GAP).await;
            tokio::select! {
                () = self.shared.moved.notified() => {}
                () = tokio::time::sleep(self.options.poll_every) => {}
            }
        }
    }

    /// Measures how far the clocks are apart, now and then.
    async fn ask_the_clock(&mut self, connection: &mut PgConnection) -> Result<(), RegistryError> {
        let now = self.clock.since_boot();
        if self.clock_asked.is_some_and(|asked| now.saturating_sub(asked) < MEASURED_EVERY) {
            return Ok(());
        }
        self.clock_asked = Some(now);
        in_time(clock::measure(connection, self.clock.as_ref(), &self.shared.clock_offset)).await
    }

    async fn poll(&mut self, connection: &mut PgConnection) -> Result<(), RegistryError> {
        let began = self.clock.since_boot();
        let heads = in_time(feed::heads(connection)).await?;
        if self.told.as_ref().is_some_and(|told| told.epoch != heads.epoch || has_gone_back(told, &heads)) {
            self.standing.begin_anew();
        }
        self.tell_standing(connection).await?;
        let told = match self.told.clone() {
            Some(told) if has_gone_back(&told, &heads) => {
                // A folder that was copied back under the server: what was told is not what happened any more.
                let here = server::identity(connection).await?;
                server::begin_epoch(connection, &here, None, told.epoch).await?;
                let heads = feed::heads(connection).await?;
                self.start_at(&heads);
                return self.tell(connection, heads.clone(), &heads, began).await;
            }
            Some(told) if told.epoch == heads.epoch => told,
            before => self.start(connection, &heads, before.is_none()).await?,
        };
        self.tell(connection, told, &heads, began).await
    }

    /// Tells the standing on record now.
    async fn tell_standing(&mut self, connection: &mut PgConnection) -> Result<(), RegistryError> {
        let Some(follower) = self.shared.standing.get() else { return Ok(()) };
        self.standing.poll(connection, follower.as_ref(), self.clock.since_boot()).await
    }

    /// Begins to follow: in the first epoch from some way back, in a later one from its heads, since what was read before it is
    /// refused anyway.
    async fn start(
        &mut self,
        connection: &mut PgConnection,
        heads: &FeedHeads,
        is_first: bool,
    ) -> Result<FeedHeads, RegistryError> {
        let mut from = heads.clone();
        if is_first && !self.options.back.is_zero() {
            for position in heads.positions() {
                let before = feed::position_before(connection, position, self.options.back).await?;
                from.seqs[usize::from(position.partition)] = before.seq;
            }
        }
        self.start_at(&from);
        Ok(from)
    }

    fn start_at(&self, from: &FeedHeads) {
        self.follower.follows_from(&from.positions());
        self.shared.known.enter(from);
    }

    /// Tells every row up to the heads, then that nothing is missing.
    async fn tell(
        &mut self,
        connection: &mut PgConnection,
        mut told: FeedHeads,
        heads: &FeedHeads,
        began: Duration,
    ) -> Result<(), RegistryError> {
        for head in heads.positions() {
            let partition = usize::from(head.partition);
            while told.seqs[partition] < head.seq {
                let from = Position { seq: told.seqs[partition], ..head };
                match in_time(feed::after(connection, from, PAGE)).await {
                    Ok(rows) => {
                        // Without a row nothing was told up to the head, whatever became of it: the next poll begins anew.
                        told.seqs[partition] = self.tell_rows(&rows).ok_or(MISSING)?;
                    }
                    Err(RegistryError::Forgotten { .. }) => {
                        // This process slept longer than rows are kept: what it holds cannot be judged any more.
                        tracing::warn!("the registry's feed was lost sight of: everything is read anew");
                        self.start_at(heads);
                        told = heads.clone();
                    }
                    Err(error) => return Err(error),
                }
                if self.clock.since_boot().saturating_sub(self.standing.began()) >= self.options.poll_every {
                    self.tell_standing(connection).await?;
                }
            }
        }
        for position in told.positions() {
            self.shared.known.note(position);
        }
        self.told = Some(told);
        self.follower.caught_up(began);
        Ok(())
    }

    fn tell_rows(&self, rows: &[crate::registry::embedded::FeedRow]) -> Option<u64> {
        for row in rows {
            self.follower.changed(&row.subject, &row.pseudonyms, row.position);
        }
        rows.last().map(|row| row.position.seq)
    }
}

/// Whether the feed stands before what was told of it: in an earlier epoch, or in the same one at a lower sequence.
fn has_gone_back(told: &FeedHeads, heads: &FeedHeads) -> bool {
    let is_lower = || told.seqs.iter().zip(&heads.seqs).any(|(told, head)| told > head);
    heads.epoch < told.epoch || heads.epoch == told.epoch && is_lower()
}

async fn forget_old(shared: Arc<Shared>, retention: Duration) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        if let Err(error) = feed::forget(&shared, retention).await {
            tracing::debug!(error = %chain(&error), "old rows of the feed were not forgotten");
        }
    }
}

/// Gives a step of a poll up when the server does not answer.
pub(super) async fn in_time<T>(
    step: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    const SILENT: RegistryError = RegistryError::Damaged("its server gives no answer in time");
    tokio::time::timeout(STEP_MAX, step).await.unwrap_or(Err(SILENT))
}

/// Writes an error with its causes in one line. A server's words name tables and codes, never a value of ours.
fn chain(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
