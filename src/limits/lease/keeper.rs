//! Calls Redis for every partner, ahead of need, on the background runtime. Requests never do.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::RedisError;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::message::Reply;
use super::script::Script;
use super::{CALL_MAX, CLUSTER_SILENT_MAX, CONNECT_MAX, NODE_SILENT_MAX, RECONNECT_PAUSE, WANTED_PAUSE};
use crate::domain::partner::PartnerId;
use crate::limits::LocalLimits;
use crate::limits::leasing::Call;
use crate::redis_link::{Connection, RedisAddress, RedisAddressFault, RedisClient};

/// Calls under way at once: a thousand partners take four rounds.
const CALLS_MAX: usize = 256;

/// Hears how leasing goes. Implemented by the application over metrics.
pub trait LeaseObserver: Send + Sync + 'static {
    /// Calls ended so.
    fn leased(&self, outcome: LeaseOutcome, calls: u64);

    /// For so many partners limits are leased, and for so many this replica keeps to its share.
    fn partners(&self, _leased: u64, _divided: u64) {}

    /// So many requests were refused because this replica had used up what it held, though the deployment had something left.
    fn unleased(&self, _requests: u64) {}
}

/// How a call to Redis ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseOutcome {
    /// Slices came.
    Leased,
    /// Nothing is leased yet: the key was empty, and every replica must report first.
    Held,
    /// Redis did not answer, or not with slices.
    Failed,
}

/// The task that keeps slices at hand. Dropping it ends it without a word to Redis.
pub struct LimitLeases {
    have_begun: watch::Receiver<bool>,
    stop: CancellationToken,
    keeper: Option<JoinHandle<()>>,
    share_keeper: AbortHandle,
}

struct Keeper {
    limits: Arc<LocalLimits>,
    client: RedisClient,
    script: Script,
    scope: String,
    /// This process' row. A restarted one has another: what the one before it held is not its own.
    replica: String,
    observer: Arc<dyn LeaseObserver>,
    connection: Option<Connection>,
    /// When Redis last answered a call, or let us in, since boot.
    answered_at: Duration,
    /// Whose calls a Cluster did not answer the last time, and since when there is somebody.
    silent: HashSet<PartnerId>,
    silent_since: Duration,
    /// What is to take the connection's place.
    renewal: Option<JoinHandle<Option<Connection>>>,
    pause: Duration,
}

/// How a call ended; the outer error: not in time.
type Ended = Result<Result<Vec<i64>, RedisError>, Elapsed>;

impl LimitLeases {
    /// Starts leasing. Redis need not be there. `scope` names the deployment: all its replicas give the same, nobody else does.
    ///
    /// # Errors
    /// [`RedisAddressFault`] if the address cannot work whatever Redis does.
    pub fn start(
        limits: Arc<LocalLimits>,
        address: &RedisAddress,
        scope: &[u8],
        observer: Arc<dyn LeaseObserver>,
        runtime: &Handle,
    ) -> Result<Self, RedisAddressFault> {
        let keeper = Keeper {
            limits: Arc::clone(&limits),
            client: address.client()?,
            script: Script::new(),
            scope: hex(scope),
            replica: hex(&rand::random::<[u8; 8]>()),
            observer,
            connection: None,
            answered_at: Duration::ZERO,
            silent: HashSet::new(),
            silent_since: Duration::ZERO,
            renewal: None,
            pause: RECONNECT_PAUSE.0,
        };
        let (done, have_begun) = watch::channel(false);
        let stop = CancellationToken::new();
        let share_keeper = runtime.spawn(keep_shares(limits)).abort_handle();
        let keeper = runtime.spawn(keeper.run(done, stop.clone()));
        Ok(Self { have_begun, stop, keeper: Some(keeper), share_keeper })
    }

    /// Waits until something may be spent for every partner known so far, leased or as this replica's share, or so long.
    pub async fn begun(&self, wait_max: Duration) {
        let mut have_begun = self.have_begun.clone();
        let _in_vain = timeout(wait_max, have_begun.wait_for(|done| *done)).await;
    }

    /// Gives back what this replica holds. Nothing may be spent any more.
    pub async fn leave(mut self) {
        self.stop.cancel();
        if let Some(keeper) = self.keeper.take() {
            let _in_vain = timeout(CALL_MAX * 2, keeper).await;
        }
    }
}

impl Drop for LimitLeases {
    fn drop(&mut self) {
        self.share_keeper.abort();
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

/// Makes up this replica's share of the rates while Redis is away, whatever the keeper waits for.
async fn keep_shares(limits: Arc<LocalLimits>) {
    loop {
        limits.make_up_rates();
        sleep(WANTED_PAUSE).await;
    }
}

impl Keeper {
    async fn run(mut self, done: watch::Sender<bool>, stop: CancellationToken) {
        let limits = Arc::clone(&self.limits);
        loop {
            let due = limits.calls_due();
            let pause = if due.is_empty() { limits.next_call_in() } else { self.round(due).await };
            self.tell();
            let _nobody_waits = done.send(limits.have_begun());
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
                () = limits.wanted(), if self.connection.is_some() => {}
            }
        }
        if self.connection.is_some() {
            self.round(limits.calls_to_leave()).await;
        }
    }

    /// Makes the calls; returns how long to wait before the next ones.
    async fn round(&mut self, calls: Vec<Call>) -> Duration {
        let Some(connection) = self.connected().await else {
            self.heard(calls.into_iter().map(|call| (call, None)).collect());
            let pause = self.pause;
            self.pause = (self.pause * 2).min(RECONNECT_PAUSE.1);
            return pause;
        };
        self.pause = RECONNECT_PAUSE.0;
        let mut calls = calls.into_iter();
        loop {
            let batch: Vec<Call> = calls.by_ref().take(CALLS_MAX).collect();
            if batch.is_empty() {
                return Duration::ZERO;
            }
            // Each call has its own bound: one node of a Cluster that hangs takes no other node's partners with it.
            let ended = batch.iter().map(|call| timeout(CALL_MAX, self.call(call, connection.clone())));
            let ended: Vec<Ended> = join_all(ended).await;
            if self.is_lost(&ended) {
                self.connection = None;
            } else if self.client.has_slots() {
                self.mind_the_silent(&batch, &ended);
            }
            let replies = ended.into_iter().map(|ended| Reply::read(&ended.ok()?.ok()?));
            self.heard(batch.into_iter().zip(replies).collect());
        }
    }

    /// Says whether there is no connection any more. What Redis refuses is refused again by another one.
    fn is_lost(&mut self, ended: &[Ended]) -> bool {
        let now = self.limits.now();
        let all_silent = ended.iter().all(is_silent);
        if !all_silent {
            self.answered_at = now;
        }
        if self.client.has_slots() {
            return all_silent && now > self.answered_at + CLUSTER_SILENT_MAX;
        }
        all_silent || ended.iter().any(is_over)
    }

    /// Connects anew, beside the rounds, while some nodes of a Cluster do not answer: its client learns of a failover by an answer, and a node
    /// that hangs gives none. The others' partners are called over the old connection meanwhile.
    fn mind_the_silent(&mut self, calls: &[Call], ended: &[Ended]) {
        let now = self.limits.now();
        let nobody_was_silent = self.silent.is_empty();
        for (call, ended) in calls.iter().zip(ended) {
            if is_silent(ended) {
                self.silent.insert(call.partner.clone());
            } else {
                self.silent.remove(&call.partner);
            }
        }
        if self.silent.is_empty() || nobody_was_silent {
            self.silent_since = now;
        } else if now > self.silent_since + NODE_SILENT_MAX && self.renewal.is_none() {
            // Whoever is silent over the new one, too, is noted again; whoever has left is not.
            self.silent.clear();
            let client = self.client.clone();
            self.renewal =
                Some(tokio::spawn(async move { timeout(CONNECT_MAX, client.connect()).await.ok()?.ok() }));
        }
    }

    async fn call(&self, call: &Call, mut connection: Connection) -> Result<Vec<i64>, RedisError> {
        // One key, with a hash tag of its own: a cluster may keep it where it likes.
        let key = format!("dg:1:limits:{}:{{{}}}", self.scope, call.partner);
        self.script.run(&mut connection, &key, &self.replica, &call.ask.arguments()).await
    }

    fn heard(&self, outcomes: Vec<(Call, Option<Reply>)>) {
        let mut counts = [(LeaseOutcome::Leased, 0), (LeaseOutcome::Held, 0), (LeaseOutcome::Failed, 0)];
        for (call, reply) in outcomes {
            let index = match reply {
                Some(Reply::Leased(_) | Reply::Left) => 0,
                Some(Reply::Held { .. }) => 1,
                Some(Reply::Late) | None => 2,
            };
            counts[index].1 += 1;
            self.limits.heard(&call, reply);
        }
        for (outcome, calls) in counts.into_iter().filter(|(_, calls)| *calls > 0) {
            self.observer.leased(outcome, calls);
        }
    }

    fn tell(&self) {
        let survey = self.limits.survey();
        self.observer.partners(survey.leased, survey.divided);
        if survey.unleased > 0 {
            self.observer.unleased(survey.unleased);
        }
    }

    async fn connected(&mut self) -> Option<Connection> {
        if let Some(renewal) = self.renewal.take_if(|renewal| renewal.is_finished())
            && let Ok(Some(connection)) = renewal.await
        {
            self.connection = Some(connection);
        }
        if self.connection.is_none() {
            let connecting = timeout(CONNECT_MAX, self.client.connect());
            self.connection = connecting.await.ok().and_then(Result::ok);
            self.answered_at = self.limits.now();
        }
        self.connection.clone()
    }
}

/// Whether the connection is over.
fn is_over(ended: &Ended) -> bool {
    matches!(ended, Ok(Err(error)) if error.is_unrecoverable_error())
}

/// Whether Redis said nothing.
fn is_silent(ended: &Ended) -> bool {
    ended.is_err() || is_over(ended)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
