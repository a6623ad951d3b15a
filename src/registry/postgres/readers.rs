//! Look-ups on a few connections of their own, each kept open by a task: no handshake, no pool and no waiting for a dead
//! connection on anybody's deadline.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use zeroize::Zeroizing;

use super::connection::{Role, connect, forget, is_disconnection};
use super::reading::{self, Fault};
use super::store::Shared;
use crate::domain::subject::NumberPseudonym;
use crate::verification::ports::{LookUpError, Reading};

/// How long a server that could not be reached is left alone. Nobody waits for it in between.
const AWAY_FOR: Duration = Duration::from_millis(250);

type Answer = Result<Reading, LookUpError>;

/// The reading tasks of one server, and the queue in front of them.
pub(super) struct Readers {
    queue: Arc<Queue>,
    tasks: Vec<AbortHandle>,
}

struct Queue {
    waiting: Mutex<VecDeque<LookUp>>,
    /// One permit for each that waits.
    arrived: Semaphore,
    length_max: usize,
    away: AtomicBool,
}

struct LookUp {
    pseudonym: NumberPseudonym,
    answer: oneshot::Sender<Answer>,
}

impl Readers {
    /// Starts the tasks; each connects by itself. Inside a runtime.
    pub(super) fn start(shared: &Arc<Shared>, connecting: &PgConnectOptions, role: Role) -> Self {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            arrived: Semaphore::new(0),
            length_max: shared.options.reads_waiting_max,
            away: AtomicBool::new(false),
        });
        let start_one = |_| {
            let reader = Reader {
                shared: Arc::clone(shared),
                queue: Arc::clone(&queue),
                connecting: connecting.clone(),
                role,
                connection: None,
                scratch: Zeroizing::default(),
            };
            tokio::spawn(reader.run()).abort_handle()
        };
        let tasks = (0..shared.options.readers.max(1)).map(start_one).collect();
        Self { queue, tasks }
    }

    /// Says whether the server could be reached lately.
    pub(super) fn is_there(&self) -> bool {
        !self.queue.away.load(Ordering::Relaxed)
    }

    /// Looks a number up; whoever leaves early is not answered.
    pub(super) fn read(&self, pseudonym: NumberPseudonym) -> impl Future<Output = Answer> + Send + use<> {
        let asked = self.queue.ask(pseudonym);
        async move {
            match asked {
                Some(answer) => answer.await.unwrap_or(Err(LookUpError::RegistryUnavailable)),
                None => Err(LookUpError::RegistryUnavailable),
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Queue {
    /// Queues a look-up; `None` when too many wait.
    fn ask(&self, pseudonym: NumberPseudonym) -> Option<oneshot::Receiver<Answer>> {
        let (answer, asked) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= self.length_max {
            return None;
        }
        waiting.push_back(LookUp { pseudonym, answer });
        drop(waiting);
        self.arrived.add_permits(1);
        Some(asked)
    }

    /// Waits for a look-up whose caller still waits.
    async fn next(&self) -> Option<LookUp> {
        loop {
            self.arrived.acquire().await.ok()?.forget();
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(look_up) = next.filter(|look_up| !look_up.answer.is_closed()) {
                return Some(look_up);
            }
        }
    }
}

struct Reader {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    connecting: PgConnectOptions,
    role: Role,
    connection: Option<PgConnection>,
    scratch: Zeroizing<Vec<u8>>,
}

impl Reader {
    async fn run(mut self) {
        // Before the first look-up, so that none pays for it.
        let _tried = self.reconnect().await;
        while let Some(look_up) = self.queue.next().await {
            let answer = self.look_up(look_up.pseudonym).await;
            let _left = look_up.answer.send(answer);
        }
    }

    async fn look_up(&mut self, pseudonym: NumberPseudonym) -> Answer {
        let within = self.shared.options.read_time_max;
        let answer = tokio::time::timeout(within, self.try_look_up(pseudonym)).await;
        answer.unwrap_or_else(|_elapsed| {
            // Whatever the server still says on this connection is about another question.
            self.drop_connection();
            Err(LookUpError::RegistryUnavailable)
        })
    }

    /// Looks up, on a second connection if the first one turns out to be dead: the server may have been restarted.
    async fn try_look_up(&mut self, pseudonym: NumberPseudonym) -> Answer {
        let was_open = self.connection.is_some();
        match self.ask(pseudonym).await {
            Err(Fault::Server(error)) if was_open && is_disconnection(&error) => {
                self.drop_connection();
                self.ask(pseudonym).await
            }
            answer => answer,
        }
        .map_err(|fault| self.told(fault))
    }

    async fn ask(&mut self, pseudonym: NumberPseudonym) -> Result<Reading, Fault> {
        if self.connection.is_none() {
            self.reconnect().await?;
        }
        let Some(connection) = &mut self.connection else { return Err(Fault::Away) };
        let reading = reading::look_up(connection, &self.shared, pseudonym, &mut self.scratch).await?;
        if reading.position.epoch > self.shared.known.epoch() {
            self.shared.moved.notify_one();
        }
        Ok(reading)
    }

    fn told(&mut self, fault: Fault) -> LookUpError {
        match fault {
            Fault::Unreadable => LookUpError::RecordUnreadable,
            Fault::Away => LookUpError::RegistryUnavailable,
            Fault::Server(error) => {
                // The server's words name tables and codes, never a value.
                tracing::debug!(%error, "a look-up failed");
                self.drop_connection();
                LookUpError::RegistryUnavailable
            }
        }
    }

    async fn reconnect(&mut self) -> Result<(), Fault> {
        if self.queue.away.load(Ordering::Relaxed) {
            return Err(Fault::Away);
        }
        match connect(&self.connecting, self.role, self.shared.options.connect_time_max).await {
            Ok(connection) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                self.leave_alone();
                Err(Fault::Server(error))
            }
        }
    }

    /// Leaves the server alone for a while: one reader tries, the others answer at once.
    fn leave_alone(&self) {
        if !self.queue.away.swap(true, Ordering::Relaxed) {
            let queue = Arc::clone(&self.queue);
            tokio::spawn(async move {
                tokio::time::sleep(AWAY_FOR).await;
                queue.away.store(false, Ordering::Relaxed);
            });
        }
    }

    fn drop_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            forget(connection);
        }
    }
}
