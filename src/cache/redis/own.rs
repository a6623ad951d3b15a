//! Each core's own connection: what a core asks of Redis it writes and reads itself, in its own turns.
//!
//! Over the keeper's connection, which lives on the background runtime, every question wakes a thread there and every reply one
//! here: at 128 in flight that cost more than the rest of the answer. So each core connects beside the keeper, on its own loop. Its
//! connection is as good as the keeper's: renewed when that one is lost or replaced, and when a breaker opens, because no
//! probe goes over it. Until it is there, and on any other thread, calls go over the keeper's.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::RedisOptions;
use super::link::{Link, RECONNECT_PAUSE, connect};
use crate::redis_link::{Connection, RedisClient};

/// Which connection of the keeper is in use.
#[derive(Default)]
pub(super) struct Generation {
    number: AtomicU64,
    renewed: Notify,
}

impl Generation {
    /// Notes that what was connected until now is not to be trusted, or there is something better.
    pub(super) fn renew(&self) {
        self.number.fetch_add(1, Ordering::SeqCst);
        self.renewed.notify_waiters();
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }
}

/// A connection of this thread's.
struct Own {
    /// The link it belongs to.
    link: usize,
    generation: u64,
    connection: Connection,
}

thread_local! {
    /// One for each link; only tests have several.
    static OWN: RefCell<Vec<Own>> = const { RefCell::new(Vec::new()) };
}

/// Returns this thread's own connection, if it has one as good as the keeper's.
pub(super) fn of_this_thread(link: &Link) -> Option<Connection> {
    let generation = link.generation.number();
    let find = |all: &RefCell<Vec<Own>>| {
        let all = all.borrow();
        let own = all.iter().find(|own| own.link == key(link))?;
        (own.generation == generation).then(|| own.connection.clone())
    };
    OWN.try_with(find).ok().flatten()
}

/// Keeps a connection of the core's own. Never completes; dropping it gives the connection up. Spawn it on the core's own
/// current-thread runtime.
pub(super) async fn keep(link: Arc<Link>, client: RedisClient, options: RedisOptions) {
    let place = Place(key(&link));
    let mut pause = RECONNECT_PAUSE;
    loop {
        let renewed = link.generation.renewed.notified();
        let generation = link.generation.number();
        place.clear();
        if link.is_connected() {
            match connect(&client, options.connect_time_max).await {
                Ok(connection) => {
                    place.fill(generation, connection);
                    pause = RECONNECT_PAUSE;
                }
                Err(fault) => {
                    link.tell(fault);
                    let _renewed_or_rested = timeout(pause, renewed).await;
                    pause = (pause * 2).min(options.reconnect_pause_max);
                    continue;
                }
            }
        }
        renewed.await;
    }
}

/// Where this thread keeps its own.
struct Place(usize);

impl Place {
    fn fill(&self, generation: u64, connection: Connection) {
        let own = Own { link: self.0, generation, connection };
        let _ = OWN.try_with(|all| all.borrow_mut().push(own));
    }

    fn clear(&self) {
        let _ = OWN.try_with(|all| all.borrow_mut().retain(|own| own.link != self.0));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What a link is known by among those of a thread.
fn key(link: &Link) -> usize {
    std::ptr::from_ref(link).addr()
}
