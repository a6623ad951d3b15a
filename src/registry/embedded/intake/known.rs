//! Changes known by their id, in two generations: when the younger holds as many as are to be remembered, the older is emptied
//! and takes its turn. So at least that many are remembered, and never more than twice as many and a batch.

use redb::{ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction};

use crate::domain::subject::Position;
use crate::intake::ports::{ChangeDigest, ChangeKey, KnownChange, KnownFate};
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::tables::{INTAKE_KNOWN, META_KNOWN_GENERATION};

const WAITING: u8 = 0;
const APPLIED: u8 = 1;
const DISCARDED: u8 = 2;

type Generation<'t> = Table<'t, &'static [u8; 16], &'static [u8; 31]>;
type Meta<'t> = Table<'t, &'static str, &'static [u8]>;

/// Both generations.
pub(super) struct Known<'t> {
    younger: Generation<'t>,
    older: Generation<'t>,
    /// Which of the two tables is the younger.
    generation: usize,
}

impl<'t> Known<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction, meta: &Meta<'_>) -> Result<Self, RegistryError> {
        let generation = meta.get(META_KNOWN_GENERATION).trying_to("read")?;
        let generation = usize::from(generation.is_some_and(|generation| generation.value() == [1]));
        Ok(Self {
            younger: transaction.open_table(INTAKE_KNOWN[generation]).trying_to("write")?,
            older: transaction.open_table(INTAKE_KNOWN[1 - generation]).trying_to("write")?,
            generation,
        })
    }

    pub(super) fn find(&self, key: ChangeKey) -> Result<Option<KnownChange>, RegistryError> {
        for generation in [&self.younger, &self.older] {
            if let Some(row) = generation.get(&key.0).trying_to("read")? {
                return parse(row.value()).map(Some).ok_or(RegistryError::Damaged("a known change"));
            }
        }
        Ok(None)
    }

    pub(super) fn remember(&mut self, key: ChangeKey, known: KnownChange) -> Result<(), RegistryError> {
        self.younger.insert(&key.0, &row_of(known)).trying_to("write")?;
        Ok(())
    }

    /// Empties the older generation once the younger holds `count_min`.
    pub(super) fn finish(
        self,
        transaction: &WriteTransaction,
        meta: &mut Meta<'_>,
        count_min: u64,
    ) -> Result<(), RegistryError> {
        let Self { younger, older, generation } = self;
        if younger.len().trying_to("read")? < count_min {
            return Ok(());
        }
        drop(older);
        transaction.delete_table(INTAKE_KNOWN[1 - generation]).trying_to("write")?;
        let next = u8::from(generation == 0);
        meta.insert(META_KNOWN_GENERATION, [next].as_slice()).trying_to("write")?;
        Ok(())
    }
}

fn row_of(known: KnownChange) -> [u8; 31] {
    let (code, position) = match known.fate {
        KnownFate::Waiting => (WAITING, None),
        KnownFate::Applied(position) => (APPLIED, Some(position)),
        KnownFate::Discarded => (DISCARDED, None),
    };
    let mut row = [0; 31];
    row[..16].copy_from_slice(&known.digest.0);
    row[16] = code;
    if let Some(Position { epoch, partition, seq }) = position {
        row[17..21].copy_from_slice(&epoch.to_be_bytes());
        row[21..23].copy_from_slice(&partition.to_be_bytes());
        row[23..].copy_from_slice(&seq.to_be_bytes());
    }
    row
}

fn parse(row: &[u8; 31]) -> Option<KnownChange> {
    let (digest, rest) = row.split_first_chunk::<16>()?;
    let (code, rest) = rest.split_first()?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let (partition, seq) = rest.split_first_chunk::<2>()?;
    let position = Position {
        epoch: u32::from_be_bytes(*epoch),
        partition: u16::from_be_bytes(*partition),
        seq: u64::from_be_bytes(seq.try_into().ok()?),
    };
    let fate = match *code {
        WAITING => KnownFate::Waiting,
        APPLIED => KnownFate::Applied(position),
        DISCARDED => KnownFate::Discarded,
        _ => return None,
    };
    Some(KnownChange { digest: ChangeDigest(*digest), fate })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::embedded::tables::META;

    #[test]
    fn the_latest_are_remembered_and_the_oldest_forgotten() {
        let database =
            redb::Builder::new().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap();
        let key = |index: u8| ChangeKey([index; 16]);
        for index in 0..10 {
            let transaction = database.begin_write().unwrap();
            {
                let mut meta = transaction.open_table(META).unwrap();
                let mut known = Known::open(&transaction, &meta).unwrap();
                let change = KnownChange { digest: ChangeDigest([index; 16]), fate: KnownFate::Waiting };
                known.remember(key(index), change).unwrap();
                for recent in index.saturating_sub(3)..=index {
                    assert!(known.find(key(recent)).unwrap().is_some(), "{recent} of {index}");
                }
                if let Some(old) = index.checked_sub(7) {
                    assert_eq!(known.find(key(old)).unwrap(), None, "{old} of {index}");
                }
                known.finish(&transaction, &mut meta, 3).unwrap();
            }
            transaction.commit().unwrap();
        }
    }

    #[test]
    fn every_fate_comes_back() {
        let position = Position { epoch: 3, partition: 9, seq: u64::MAX - 1 };
        for fate in [KnownFate::Waiting, KnownFate::Applied(position), KnownFate::Discarded] {
            let known = KnownChange { digest: ChangeDigest([0xa5; 16]), fate };
            assert_eq!(parse(&row_of(known)), Some(known));
        }
        assert_eq!(parse(&[7; 31]), None, "no such fate");
    }
}
