//! A connection on its way between those who ask.

use std::sync::Arc;

use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::{Answer, Desk};
use crate::domain::subject::NumberPseudonym;
use crate::registry::postgres::reading::{self, Fault, Named};
use crate::verification::ports::LookUpError;

/// A place for a connection.
#[derive(Default)]
pub(super) struct Line {
    pub(super) connection: Option<PgConnection>,
    /// What the connection has under a name.
    pub(super) named: Named,
    pub(super) scratch: Zeroizing<Vec<u8>>,
}

/// A line in somebody's hand. Dropped in the middle of a question it goes back without its connection, on which the answer may
/// still come.
pub(super) struct Held {
    pub(super) desk: Arc<Desk>,
    /// `None` once it was given back.
    pub(super) line: Option<Line>,
}

impl Held {
    pub(super) fn of(desk: &Arc<Desk>, line: Line) -> Self {
        Self { desk: Arc::clone(desk), line: Some(line) }
    }

    /// Looks a number up on the caller's task.
    pub(super) async fn look_up(mut self, pseudonym: NumberPseudonym) -> Answer {
        let Self { desk, line } = &mut self;
        let Some(line) = line else { return Err(LookUpError::RegistryUnavailable) };
        let Line { connection, scratch, .. } = &mut *line;
        let asked = match connection {
            Some(connection) => reading::look_up(connection, &desk.shared, pseudonym, scratch).await,
            None => Err(Fault::Away),
        };
        let answer = desk.told(asked, line);
        self.give_back();
        answer
    }

    pub(super) fn give_back(mut self) {
        if let Some(line) = self.line.take() {
            self.desk.give_back(line);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(mut line) = self.line.take() {
            self.desk.hang_up(&mut line);
            self.desk.give_back(line);
        }
    }
}
