//! Going through every record.

use redb::{ReadableDatabase as _, ReadableTable as _};
use zeroize::Zeroizing;

use super::error::{RegistryError, Trying as _};
use super::store::EmbeddedRegistry;
use super::tables::RECORDS;
use crate::domain::licence::Record;
use crate::domain::subject::SubjectId;
use crate::registry::codec;

impl EmbeddedRegistry {
    /// Shows every record of one snapshot, in the order of their keys; `None` stands for one that cannot be read. Ends with
    /// the first error of either side.
    ///
    /// # Errors
    /// [`RegistryError::Store`], or what `visit` returned.
    pub fn walk<E: From<RegistryError>>(
        &self,
        visit: &mut dyn FnMut(Option<Record>) -> Result<(), E>,
    ) -> Result<(), E> {
        let reading = self.shared.database.begin_read().trying_to("read")?;
        let records = reading.open_table(RECORDS).trying_to("read")?;
        let mut scratch = Zeroizing::default();
        for entry in records.iter().trying_to("read")? {
            let (subject, sealed) = entry.trying_to("read")?;
            let opened = self.shared.keys.sealing.open(sealed.value(), subject.value(), &mut scratch);
            let subject = SubjectId::from_bytes(*subject.value());
            visit(opened.ok().and_then(|plain| codec::decode(subject, plain).ok()))?;
        }
        Ok(())
    }
}
