//! What a driver stopped, put on the record: a change like any other, told through the feed.

use std::sync::PoisonError;

use jiff::Timestamp;
use redb::ReadableDatabase as _;
use zeroize::Zeroizing;

use super::error::{RegistryError, Trying as _};
use super::store::Shared;
use super::tables::RECORDS;
use super::writer::BatchWriter;
use crate::domain::licence::{Record, Stops, StopsFull};
use crate::domain::subject::SubjectId;
use crate::registry::codec;
use crate::registry::submission::Rejection;

const UNREADABLE: RegistryError = RegistryError::Damaged("a record cannot be opened");

impl Shared {
    /// Changes the stops of a record; `change` says since when it is so, and whether it changed anything. When this returns, the change is
    /// durable and every observer has heard of it. `None`: there is no such record, or no longer.
    pub(super) fn stop(
        &self,
        subject: SubjectId,
        change: impl FnOnce(&mut Stops) -> Result<(Timestamp, bool), StopsFull>,
    ) -> Result<Option<Result<Timestamp, StopsFull>>, RegistryError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut record) = self.record_of(subject)?.filter(|record| !record.history.is_erased()) else {
            return Ok(None);
        };
        let since = match change(&mut record.stops) {
            Ok((since, true)) => since,
            Ok((since, false)) => return Ok(Some(Ok(since))),
            Err(full) => return Ok(Some(Err(full))),
        };
        let transaction = self.database.begin_write().trying_to("write")?;
        let mut writer = BatchWriter::open(&transaction, self, None)?;
        let position = writer.next_position();
        match writer.write(&record, None, position)? {
            Ok(()) => {}
            Err(Rejection::NumberTaken) => {
                return Err(RegistryError::Damaged("a number of a record leads elsewhere"));
            }
            Err(_unencodable) => return Err(RegistryError::Damaged("a record has no room for stops")),
        }
        let (written, head) = writer.finish(self.feed_rows)?;
        transaction.commit().trying_to("write")?;
        self.publish(head, &written);
        Ok(Some(Ok(since)))
    }

    /// Reads a record by its subject, from the latest snapshot.
    pub(super) fn record_of(&self, subject: SubjectId) -> Result<Option<Record>, RegistryError> {
        let reading = self.database.begin_read().trying_to("read")?;
        let records = reading.open_table(RECORDS).trying_to("read")?;
        let Some(sealed) = records.get(subject.as_bytes()).trying_to("read")? else { return Ok(None) };
        let mut scratch = Zeroizing::default();
        let opened = self.keys.sealing.open(sealed.value(), subject.as_bytes(), &mut scratch);
        let plain = opened.map_err(|_| UNREADABLE)?;
        codec::decode(subject, plain).map(Some).map_err(|_| UNREADABLE)
    }
}
