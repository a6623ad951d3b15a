//! Redemptions on their way: what waits while others are under way goes together, in one statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::domain::presentation::PresentationId;
use crate::registry::book::KnownConsents;
use crate::registry::embedded::RegistryError;
use crate::registry::postgres::connection::admit_writer;
use crate::registry::postgres::store::Shared;
use crate::verification::ports::{Redeemed, Redemption};

/// Redemptions under way at once, each with what waited: as many as keep the server's disk busy.
const WORKERS: usize = 4;
/// Connections beside those of redemptions: share codes, consents, hold-backs, sweeping.
const BESIDE: u32 = 4;
/// Redemptions in one statement.
const TOGETHER_MAX: usize = 64;
/// Redemptions that may wait; whoever comes then is told that the store is away.
const WAITING_MAX: usize = 4_096;
/// Rows that are added before what is over is swept.
const SWEEP_EVERY: usize = 1_000;
/// A connection nobody used for so long is not trusted.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A redemption, and who waits for it.
pub(in crate::registry::postgres) struct Waiting {
    pub(super) redemption: Redemption,
    pub(super) answer: oneshot::Sender<Result<Redeemed, RegistryError>>,
}

/// What the book has beside the tables.
pub(in crate::registry::postgres) struct Desk {
    /// Connections of its own: a use must not wait for a batch of the authority's changes.
    pub(super) pool: PgPool,
    pub(super) known: KnownConsents,
    waiting: mpsc::Sender<Waiting>,
    added: AtomicUsize,
}

/// The other end of the line, until somebody serves it.
pub(in crate::registry::postgres) type Line = mpsc::Receiver<Waiting>;

impl Desk {
    /// Opens the desk; no connection is made yet. Inside a runtime.
    pub(in crate::registry::postgres) fn open(
        connecting: PgConnectOptions,
        connect_time_max: Duration,
    ) -> (Self, Line) {
        let pool = PgPoolOptions::new()
            .max_connections(u32::try_from(WORKERS).unwrap_or(1) + BESIDE)
            .acquire_timeout(connect_time_max)
            .idle_timeout(IDLE_MAX)
            // A round trip for each use; a connection that is gone is found out by using it.
            .test_before_acquire(false)
            .after_connect(|connection, _| Box::pin(admit_writer(connection)))
            .connect_lazy_with(connecting);
        let (waiting, line) = mpsc::channel(WAITING_MAX);
        let desk = Self { pool, known: KnownConsents::default(), waiting, added: AtomicUsize::new(0) };
        (desk, line)
    }

    /// Stands in line; `None` when it is too long.
    pub(super) fn ask(
        &self,
        redemption: Redemption,
    ) -> Option<oneshot::Receiver<Result<Redeemed, RegistryError>>> {
        let (answer, told) = oneshot::channel();
        self.waiting.try_send(Waiting { redemption, answer }).ok()?;
        Some(told)
    }

    /// Starts those who serve the line.
    pub(in crate::registry::postgres) fn serve(shared: &Arc<Shared>, line: Line) -> Vec<AbortHandle> {
        let line = Arc::new(Mutex::new(line));
        let worker = |_| tokio::spawn(work(Arc::clone(shared), Arc::clone(&line))).abort_handle();
        (0..WORKERS).map(worker).collect()
    }

    /// Counts rows that were added; says whether it is time to sweep.
    pub(super) fn is_sweeping_due(&self, added: usize) -> bool {
        let before = self.added.fetch_add(added, Ordering::Relaxed);
        before / SWEEP_EVERY != (before + added) / SWEEP_EVERY
    }
}

async fn work(shared: Arc<Shared>, line: Arc<Mutex<Line>>) {
    loop {
        let mut together = Vec::with_capacity(TOGETHER_MAX);
        if line.lock().await.recv_many(&mut together, TOGETHER_MAX).await == 0 {
            return;
        }
        // Whoever left is past its deadline: its use is not spent for nobody.
        together.retain(|waiting| !waiting.answer.is_closed());
        if together.is_empty() {
            continue;
        }
        // In one order, so that two statements that meet wait for each other and never in a circle.
        together.sort_by_key(|waiting| *waiting.redemption.id.as_bytes());
        let (redemptions, answers): (Vec<_>, Vec<_>) =
            together.into_iter().map(|waiting| (waiting.redemption, waiting.answer)).unzip();
        let latest = redemptions.iter().map(|redemption| redemption.at).max();
        let told = shared.redeem_together(&redemptions).await;
        let spent = tell(told, answers);
        if let Some(now) = latest.filter(|_| shared.desk.is_sweeping_due(spent)) {
            let swept = shared.sweep(now).await;
            if let Err(error) = swept {
                tracing::warn!(error = &error as &dyn std::error::Error, "the book cannot be swept");
            }
        }
    }
}

/// Tells everybody; returns how many uses were spent.
fn tell(
    told: Result<Vec<Redeemed>, RegistryError>,
    answers: Vec<oneshot::Sender<Result<Redeemed, RegistryError>>>,
) -> usize {
    match told {
        Ok(told) => {
            let spent = told.iter().filter(|told| matches!(told, Redeemed::Now { .. })).count();
            for (answer, told) in answers.into_iter().zip(told) {
                // Whoever left early may ask again.
                let _left = answer.send(Ok(told));
            }
            spent
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "no use can be spent");
            for answer in answers {
                let _left = answer.send(Err(RegistryError::Damaged("no use can be spent now")));
            }
            0
        }
    }
}

/// The bytes of an id, as a column takes them.
pub(super) fn token_of(id: &PresentationId) -> &[u8] {
    &id.as_bytes()[..]
}
