//! The load itself: threads of connections, closed loop or open loop.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::measured::{Ended, Measured};
use super::pace::{Pace, Schedule};
use super::plan::Plan;
use super::wire::Wire;
use crate::app::SystemClock;
use crate::cli::verify::connection::Target;
use crate::domain::time::Clock as _;
use crate::identity::client::ClientTls;

/// How long a connection that broke waits before it is made anew.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loop {
    /// The next one leaves when an answer came: as fast as the server and this client can.
    Closed,
    /// They leave by the clock, whatever became of those before: requests per second, all connections together.
    Open(f64),
}

/// One partner's part: who it is and what it asks.
pub struct Caller {
    /// Its certificate and trust.
    pub tls: ClientTls,
    /// Its requests.
    pub plan: Plan,
}

/// What every thread needs to know.
pub struct Load {
    /// Where the gateway is.
    pub target: Target,
    /// The path of the method called.
    pub path: &'static str,
    /// The partners; connection i is the (i mod n)-th's.
    pub callers: Vec<Caller>,
    /// Connections, over all threads.
    pub connections: usize,
    /// Requests in flight on each connection, at most.
    pub streams: usize,
    /// Threads, each with a runtime of its own.
    pub threads: usize,
    /// How requests follow each other.
    pub pattern: Loop,
    /// The caller's deadline.
    pub timeout: Duration,
    /// When the first request is due, as time since boot.
    pub start: Duration,
    /// What starts before this moment is not counted.
    pub measure_from: Duration,
    /// Nothing starts after this moment.
    pub end: Duration,
}

/// What the threads tell while they run.
#[derive(Default)]
pub struct Live {
    /// Set once nothing more shall start.
    pub stop: AtomicBool,
    /// Requests answered so far, warm-up included.
    pub answered: AtomicU64,
    /// Requests failed so far, warm-up included.
    pub failed: AtomicU64,
    /// Threads that have ended.
    pub ended: AtomicUsize,
}

/// Tells that a thread has ended, also when it ended badly.
struct EndsAtLast<'l>(&'l Live);

impl Drop for EndsAtLast<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Release);
    }
}

/// Runs one thread's part until the end and everything in flight is answered or given up.
///
/// # Errors
/// When the machine has no runtime or timer to give.
pub fn run_thread(load: &Arc<Load>, live: &Arc<Live>, thread: usize) -> std::io::Result<Measured> {
    let _ended = EndsAtLast(live);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = Measured::new().map_err(std::io::Error::other)?;
    let worker = Arc::new(Worker {
        load: Arc::clone(load),
        live: Arc::clone(live),
        measured: Mutex::new(measured),
        in_flight: AtomicUsize::new(0),
        freed: Notify::new(),
    });
    runtime.block_on(async {
        let mine = (0..load.connections).filter(|connection| connection % load.threads == thread);
        let running = async {
            match load.pattern {
                Loop::Closed => worker.run_closed(mine.collect()).await,
                Loop::Open(rate) => worker.run_open(mine.collect(), rate, thread).await,
            }
        };
        let given_up = worker.until_given_up();
        tokio::select! {
            result = running => result,
            () = given_up => Ok(()),
        }
    })?;
    drop(runtime);
    let unanswered = worker.in_flight.load(Ordering::Relaxed);
    let mut measured = worker.lock().clone();
    if unanswered > 0 {
        measured
            .count_failure("unanswered at the end".to_owned(), u64::try_from(unanswered).unwrap_or(u64::MAX));
    }
    Ok(measured)
}

struct Worker {
    load: Arc<Load>,
    live: Arc<Live>,
    measured: Mutex<Measured>,
    in_flight: AtomicUsize,
    freed: Notify,
}

impl Worker {
    fn lock(&self) -> std::sync::MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_over(&self, now: Duration) -> bool {
        now >= self.load.end || self.live.stop.load(Ordering::Relaxed)
    }

    /// Waits until everything in flight must have been answered.
    async fn until_given_up(&self) {
        while !self.is_over(SystemClock.since_boot()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(self.load.timeout + Duration::from_millis(500)).await;
    }

    fn count(&self, from: Duration, now: Duration, ended: Ended) {
        let counter = match ended {
            Ended::Answered(_) => &self.live.answered,
            Ended::Failed(_) => &self.live.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if (self.load.measure_from..self.load.end).contains(&now) {
            self.lock().ended(&ended);
        }
        if from >= self.load.measure_from {
            let latency = u64::try_from(now.saturating_sub(from).as_nanos()).unwrap_or(u64::MAX);
            self.lock().record(latency, ended);
        }
    }

    fn caller(&self, connection: usize) -> &Caller {
        &self.load.callers[connection % self.load.callers.len()]
    }

    async fn connect(&self, connection: usize) -> Option<Wire> {
        let tls = &self.caller(connection).tls;
        match Wire::connect(&self.load.target, tls, self.load.path, self.load.timeout).await {
            Ok(wire) => Some(wire),
            Err(error) => {
                let now = SystemClock.since_boot();
                self.count(now, now, Ended::Failed(error.to_string()));
                tokio::time::sleep(RECONNECT_AFTER).await;
                None
            }
        }
    }

    async fn run_closed(&self, connections: Vec<usize>) -> std::io::Result<()> {
        join_all(connections.into_iter().map(|connection| self.keep_closed(connection))).await;
        Ok(())
    }

    /// Keeps one connection busy, and makes it anew when it breaks.
    async fn keep_closed(&self, connection: usize) {
        while !self.is_over(SystemClock.since_boot()) {
            let Some(wire) = self.connect(connection).await else { continue };
            let streams = (0..self.load.streams).map(|stream| self.repeat(wire.clone(), connection, stream));
            join_all(streams).await;
            if self.caller(connection).plan.is_once {
                return;
            }
        }
    }

    /// Asks, waits, asks again; ends with the time, with the connection, or when there is nothing left to ask.
    async fn repeat(&self, mut wire: Wire, connection: usize, stream: usize) {
        let plan = &self.caller(connection).plan;
        // Streams start at places spread over the order, so that they do not all ask about the same driver.
        let lanes = self.load.connections * self.load.streams;
        let mut turn = connection * self.load.streams + stream;
        let mut now = SystemClock.since_boot();
        while !self.is_over(now) {
            let Some(request) = plan.request(turn) else { return };
            let from = now;
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            let called = wire.call(request).await;
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            now = SystemClock.since_boot();
            match called {
                Ok(ended) => self.count(from, now, ended),
                Err(error) => return self.count(from, now, Ended::Failed(error.to_string())),
            }
            turn += lanes;
        }
    }

    /// Sends by the clock. A request that finds no free stream waits, and its latency counts from when it was due.
    async fn run_open(
        self: &Arc<Self>,
        connections: Vec<usize>,
        rate: f64,
        thread: usize,
    ) -> std::io::Result<()> {
        if connections.is_empty() {
            return Ok(());
        }
        let mut wires = Vec::new();
        for connection in connections {
            wires.push((connection, self.connect(connection).await));
        }
        let room = wires.len() * self.load.streams;
        let mut pace = Pace::start(self.schedule(rate, thread))?;
        while let Some((index, due)) = pace.next().await {
            while self.in_flight.load(Ordering::Relaxed) >= room {
                self.freed.notified().await;
            }
            if self.live.stop.load(Ordering::Relaxed) {
                break;
            }
            let turn = usize::try_from(index).unwrap_or(usize::MAX);
            let lane = turn % wires.len();
            let (connection, wire) = &mut wires[lane];
            if wire.as_ref().is_none_or(Wire::is_gone) {
                *wire = self.connect(*connection).await;
            }
            if self.caller(*connection).plan.request(turn).is_none() {
                break;
            }
            match wire {
                Some(wire) => {
                    self.in_flight.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(Arc::clone(self).call_once(wire.clone(), *connection, turn, due));
                }
                None => self.count(due, SystemClock.since_boot(), Ended::Failed("no connection".to_owned())),
            }
        }
        while self.in_flight.load(Ordering::Relaxed) > 0 {
            self.freed.notified().await;
        }
        Ok(())
    }

    /// Deals the rate out to the threads, each a part of an interval later than the one before.
    fn schedule(&self, rate: f64, thread: usize) -> Schedule {
        let threads = u32::try_from(self.load.threads).unwrap_or(1);
        let interval = Duration::from_secs_f64(f64::from(threads) / rate);
        let start = self.load.start + interval / threads * u32::try_from(thread).unwrap_or(0);
        Schedule { start, interval, end: self.load.end }
    }

    async fn call_once(self: Arc<Self>, mut wire: Wire, connection: usize, turn: usize, due: Duration) {
        let ended = match self.caller(connection).plan.request(turn) {
            Some(request) => {
                wire.call(request).await.unwrap_or_else(|error| Ended::Failed(error.to_string()))
            }
            None => Ended::Failed("nothing left to ask".to_owned()),
        };
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.freed.notify_one();
        self.count(due, SystemClock.since_boot(), ended);
    }
}
