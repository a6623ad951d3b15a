//! Going through every record.

use std::ops::ControlFlow;

use redb::{ReadableDatabase as _, ReadableTable as _};
use zeroize::Zeroizing;

use super::error::{RegistryError, Trying as _};
use super::store::EmbeddedRegistry;
use super::tables::RECORDS;
use crate::domain::licence::Record;
use crate::domain::subject::SubjectId;
use crate::registry::codec;
use crate::registry::export::Records;

impl Records for EmbeddedRegistry {
    /// In the order of the records' keys.
    fn walk(&self, visit: &mut dyn FnMut(Option<Record>) -> ControlFlow<()>) -> Result<(), RegistryError> {
        let reading = self.shared.database.begin_read().trying_to("read")?;
        let records = reading.open_table(RECORDS).trying_to("read")?;
        let mut scratch = Zeroizing::default();
        for entry in records.iter().trying_to("read")? {
            let (subject, sealed) = entry.trying_to("read")?;
            let opened = self.shared.keys.sealing.open(sealed.value(), subject.value(), &mut scratch);
            let subject = SubjectId::from_bytes(*subject.value());
            if visit(opened.ok().and_then(|plain| codec::decode(subject, plain).ok())).is_break() {
                break;
            }
        }
        Ok(())
    }
}
