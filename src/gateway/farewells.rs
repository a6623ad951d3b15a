//! Asks the connections that are open to go away, and keeps no new one out.
//!
//! Said when answers cannot be given for a while: a partner's client then opens another connection, and its balancer, which
//! asks for health, leads it to a replica that can. Who comes back here is let in all the same: refusals are still told, and
//! answers are UNAVAILABLE until they can be given again.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// The word that connections listen for.
#[derive(Debug, Default)]
pub struct Farewells {
    /// Cancelled when said; those who come later listen to the next one.
    current: Mutex<CancellationToken>,
}

impl Farewells {
    /// Asks every connection open now to go away (GOAWAY); open calls finish within the connection's grace.
    pub fn say(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *current).cancel();
    }

    /// Returns what a connection that opens now listens for.
    pub(super) fn listen(&self) -> CancellationToken {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_here_is_asked_to_go_and_who_comes_later_is_not() {
        let farewells = Farewells::default();
        let here = farewells.listen();
        farewells.say();
        let later = farewells.listen();
        assert!(here.is_cancelled() && !later.is_cancelled());
        farewells.say();
        assert!(later.is_cancelled());
    }
}
