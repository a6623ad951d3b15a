//! Look-ups on a few connections of their own, each kept open: no handshake and no waiting for a dead connection on anybody's
//! deadline.
//!
//! A look-up that finds a connection idle asks over it itself, on the caller's own task: nothing is handed over. One that
//! finds all busy waits, and whichever connection comes free takes everything that waits by then in one round trip. So a lone
//! look-up waits for nobody, and under load the server answers several for one message.

mod line;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Timeout;

use self::line::{Held, Line};
use super::connection::{Role, connect, forget, is_disconnection};
use super::reading::{self, Fault};
use super::store::Shared;
use crate::domain::subject::NumberPseudonym;
use crate::verification::ports::{LookUpError, Reading};

/// How long a server that could not be reached is left alone. Nobody waits for it in between.
const AWAY_FOR: Duration = Duration::from_millis(250);
/// Look-ups in one round trip, at most: the first of them waits for the last.
const TOGETHER_MAX: usize = 16;

type Answer = Result<Reading, LookUpError>;

/// The connections to one server, and the queue in front of them.
pub(super) struct Readers {
    desk: Arc<Desk>,
}

struct Desk {
    shared: Arc<Shared>,
    connecting: PgConnectOptions,
    role: Role,
    /// Where the connections belong, and where those that waited are answered.
    runtime: Handle,
    lines_max: usize,
    state: Mutex<State>,
    away: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The one used last stands at the end: its server process is the warmest. Those without a connection stand in front.
    idle: Vec<Line>,
    waiting: VecDeque<LookUp>,
    closed: bool,
}

struct LookUp {
    pseudonym: NumberPseudonym,
    answer: oneshot::Sender<Answer>,
}

/// How a look-up begins.
enum Begun {
    /// Over a connection that was idle.
    Alone(Held),
    Waiting(oneshot::Receiver<Answer>),
    Refused,
}

impl Readers {
    /// Prepares the connections; each is opened by itself, before the first look-up, so that none pays for it. Inside a runtime.
    pub(super) fn start(shared: &Arc<Shared>, connecting: &PgConnectOptions, role: Role) -> Self {
        let desk = Arc::new(Desk {
            shared: Arc::clone(shared),
            connecting: connecting.clone(),
            role,
            runtime: Handle::current(),
            lines_max: shared.options.readers.max(1),
            state: Mutex::default(),
            away: AtomicBool::new(false),
        });
        for _ in 0..desk.lines_max {
            let mut held = Held::of(&desk, Line::default());
            desk.runtime.spawn(async move {
                let Held { desk, line } = &mut held;
                if let Some(line) = line {
                    let _tried = desk.reconnect(line).await;
                }
                held.give_back();
            });
        }
        Self { desk }
    }

    /// Says whether the server could be reached lately.
    pub(super) fn is_there(&self) -> bool {
        !self.desk.away.load(Ordering::Relaxed)
    }

    /// Looks a number up; whoever leaves early is not answered.
    pub(super) fn read(&self, pseudonym: NumberPseudonym) -> impl Future<Output = Answer> + Send + use<> {
        let desk = Arc::clone(&self.desk);
        let answer = self.desk.within(async move {
            match desk.begin(pseudonym) {
                Begun::Alone(held) => held.look_up(pseudonym).await,
                Begun::Waiting(answer) => answer.await.unwrap_or(Err(LookUpError::RegistryUnavailable)),
                Begun::Refused => Err(LookUpError::RegistryUnavailable),
            }
        });
        async move { answer.await.unwrap_or(Err(LookUpError::RegistryUnavailable)) }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut *self.desk.lock(), State { closed: true, ..State::default() });
        // Outside the lock: whoever waits hears of it at once.
        drop(state);
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bounds the time of a look-up, by the clock of the store's runtime: the caller may have none.
    fn within<F: Future>(&self, work: F) -> Timeout<F> {
        let _context = self.runtime.enter();
        tokio::time::timeout(self.shared.options.read_time_max, work)
    }

    /// Takes an idle connection, or a place in the queue.
    fn begin(self: &Arc<Self>, pseudonym: NumberPseudonym) -> Begun {
        let mut state = self.lock();
        let busy = self.lines_max.saturating_sub(state.idle.len());
        if state.closed || state.waiting.len() + busy >= self.shared.options.reads_waiting_max {
            return Begun::Refused;
        }
        let idle = state.idle.pop();
        if let Some(line) = idle {
            if line.connection.is_some() {
                return Begun::Alone(Held::of(self, line));
            }
            // Connections are opened on their own runtime.
            let asked = state.queue(pseudonym);
            drop(state);
            Held::of(self, line).give_back();
            return Begun::Waiting(asked);
        }
        Begun::Waiting(state.queue(pseudonym))
    }

    /// Answers what waits, over one connection, until nothing does.
    async fn serve(self: Arc<Self>, mut held: Held) {
        while let Some(line) = &mut held.line {
            let together = self.lock().next();
            if together.is_empty() {
                break;
            }
            let answers = match self.within(self.answer(line, &together)).await {
                Ok(answers) => answers,
                // Whatever the server still says on this connection is about other questions.
                Err(_elapsed) => {
                    self.hang_up(line);
                    vec![Err(LookUpError::RegistryUnavailable); together.len()]
                }
            };
            for (look_up, answer) in together.into_iter().zip(answers) {
                let _left = look_up.answer.send(answer);
            }
        }
        held.give_back();
    }

    /// Looks up all of them, once: whether it is tried again is for those to say who count attempts.
    async fn answer(self: &Arc<Self>, line: &mut Line, together: &[LookUp]) -> Vec<Answer> {
        match self.ask(line, together).await {
            Ok(answers) => answers.into_iter().map(|answer| self.told(answer, line)).collect(),
            Err(fault) => {
                let told = self.told(Err(fault), line);
                self.hang_up(line);
                vec![told; together.len()]
            }
        }
    }

    async fn ask(
        self: &Arc<Self>,
        line: &mut Line,
        together: &[LookUp],
    ) -> Result<Vec<Result<Reading, Fault>>, Fault> {
        if line.connection.is_none() {
            self.reconnect(line).await?;
        }
        let Line { connection, named, scratch } = line;
        let Some(connection) = connection else { return Err(Fault::Away) };
        let shared = &*self.shared;
        // Statements with a name belong to one connection of the server's: not behind a pooler that shares them.
        let may_be_named = shared.options.statements_prepared_max > 0;
        if may_be_named && together.len() > 1 {
            let pseudonyms: Vec<_> = together.iter().map(|look_up| look_up.pseudonym).collect();
            return reading::look_all_up(connection, shared, &pseudonyms, named, scratch).await;
        }
        let mut answers = Vec::with_capacity(together.len());
        for look_up in together {
            match reading::look_up(connection, shared, look_up.pseudonym, scratch).await {
                Err(Fault::Server(error)) => return Err(Fault::Server(error)),
                answer => answers.push(answer),
            }
        }
        Ok(answers)
    }

    /// Puts an answer into the caller's words. A connection on which something failed is not used again.
    fn told(&self, answer: Result<Reading, Fault>, line: &mut Line) -> Answer {
        match answer {
            Ok(reading) => {
                if reading.position.epoch > self.shared.known.epoch() {
                    self.shared.moved.notify_one();
                }
                Ok(reading)
            }
            Err(Fault::Unreadable) => Err(LookUpError::RecordUnreadable),
            Err(Fault::Away) => Err(LookUpError::RegistryUnavailable),
            Err(Fault::Server(error)) => {
                // The server's words name tables and codes, never a value.
                tracing::debug!(%error, "a look-up failed");
                self.hang_up(line);
                if is_disconnection(&error) {
                    self.hang_up_idle();
                }
                Err(LookUpError::RegistryUnavailable)
            }
        }
    }

    async fn reconnect(self: &Arc<Self>, line: &mut Line) -> Result<(), Fault> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Fault::Away);
        }
        match connect(&self.connecting, self.role, self.shared.options.connect_time_max).await {
            Ok(connection) => {
                line.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                self.leave_alone();
                Err(Fault::Server(error))
            }
        }
    }

    /// Leaves the server alone for a while: one tries, the others answer at once.
    fn leave_alone(self: &Arc<Self>) {
        if !self.away.swap(true, Ordering::Relaxed) {
            let desk = Arc::clone(self);
            self.runtime.spawn(async move {
                tokio::time::sleep(AWAY_FOR).await;
                desk.away.store(false, Ordering::Relaxed);
            });
        }
    }

    fn hang_up(&self, line: &mut Line) {
        line.named.clear();
        if let Some(connection) = line.connection.take() {
            let _context = self.runtime.enter();
            forget(connection);
        }
    }

    /// Lets go of every connection nobody uses: one of theirs is dead, so that the server may have been restarted, and the next
    /// attempt must find a new one.
    fn hang_up_idle(&self) {
        let idle: Vec<_> = self
            .lock()
            .idle
            .iter_mut()
            .filter_map(|line| {
                line.named.clear();
                line.connection.take()
            })
            .collect();
        let _context = self.runtime.enter();
        idle.into_iter().for_each(forget);
    }

    /// Takes a line back; it serves on where somebody waits.
    fn give_back(self: &Arc<Self>, line: Line) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if state.waiting.is_empty() {
            let place = if line.connection.is_some() { state.idle.len() } else { 0 };
            state.idle.insert(place, line);
            return;
        }
        drop(state);
        self.runtime.spawn(Arc::clone(self).serve(Held::of(self, line)));
    }
}

impl State {
    fn queue(&mut self, pseudonym: NumberPseudonym) -> oneshot::Receiver<Answer> {
        let (answer, asked) = oneshot::channel();
        self.waiting.push_back(LookUp { pseudonym, answer });
        asked
    }

    /// Takes everybody out who still waits, as many as go together.
    fn next(&mut self) -> Vec<LookUp> {
        let mut together = Vec::new();
        while together.len() < TOGETHER_MAX
            && let Some(look_up) = self.waiting.pop_front()
        {
            if !look_up.answer.is_closed() {
                together.push(look_up);
            }
        }
        together
    }
}
