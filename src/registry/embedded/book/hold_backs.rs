//! Hold-backs, by subject.

use std::sync::Arc;

use super::tables::{HOLD_BACKS, subject_key};
use crate::domain::subject::SubjectId;
use crate::evidence::ports::{HoldBack, HoldBacks, IndexUnavailable};
use crate::registry::book::{open_hold_back, seal_hold_back, set_last_first};
use crate::registry::embedded::EmbeddedRegistry;
use crate::registry::embedded::error::Trying as _;
use crate::verification::ports::{Later, StoreUnavailable};

impl HoldBacks for EmbeddedRegistry {
    fn set(&self, hold_back: HoldBack) -> Later<'_, Result<(), IndexUnavailable>> {
        let sealed = seal_hold_back(&self.book.keys, &hold_back);
        as_index(self.book.change(move |tables| {
            let key = subject_key(hold_back.subject, hold_back.id);
            tables.hold_backs.put(&mut tables.changes, &key, &sealed?)?;
            Ok(((), true))
        }))
    }

    fn of_subject(&self, subject: SubjectId) -> Later<'_, Result<Vec<HoldBack>, IndexUnavailable>> {
        let keys = Arc::clone(&self.book.keys);
        as_index(self.book.read(move |reading| {
            let rows = reading.open_table(HOLD_BACKS).trying_to("read")?;
            let (first, last) = (subject_key(subject, [0; 16]), subject_key(subject, [u8::MAX; 16]));
            let mut found = Vec::new();
            for row in rows.range::<&[u8; 32]>(&first..=&last).trying_to("read")? {
                let (key, sealed) = row.trying_to("read")?;
                found.push(open_hold_back(&keys, key.value(), sealed.value())?);
            }
            Ok(set_last_first(found))
        }))
    }

    fn lift(&self, subject: SubjectId, id: [u8; 16]) -> Later<'_, Result<bool, IndexUnavailable>> {
        as_index(self.book.change(move |tables| {
            let is_lifted = tables.hold_backs.remove(&mut tables.changes, &subject_key(subject, id))?;
            Ok((is_lifted, is_lifted))
        }))
    }
}

fn as_index<'a, T: Send + 'a>(
    asked: Later<'a, Result<T, StoreUnavailable>>,
) -> Later<'a, Result<T, IndexUnavailable>> {
    Box::pin(async move { asked.await.map_err(|StoreUnavailable| IndexUnavailable) })
}
