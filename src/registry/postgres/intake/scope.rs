//! What a batch locks and reads: a handful of statements, whatever its size, each over all of its partitions.

use std::collections::BTreeSet;

use sqlx::{PgConnection, Row as _};
use zeroize::Zeroizing;

use super::ledger::{Kept, Ledger, OwnerKey, Waits};
use super::rows::{APPLIED, DISCARDED, HEAD, WAITING, kind_of, owner_of, partition_of};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::intake::ports::{ChangeDigest, ChangeKey, KnownChange, KnownFate};
use crate::registry::codec;
use crate::registry::embedded::RegistryError;
use crate::registry::embedded::intake::state::{Owner, bytes_of, open_state};
use crate::registry::postgres::layout::Layout;
use crate::registry::postgres::plan::OnFile;
use crate::registry::postgres::writing::{Trouble, sixteen};

const LOCK: &str = "SELECT partition, epoch, seq FROM feed_head WHERE partition = ANY($1::smallint[]) \
     ORDER BY partition FOR UPDATE";
// `OFFSET 0` keeps each look-up one by its key, in one partition, whatever the planner thinks of the tables' sizes.
const OWNERS: &str = "SELECT found.pseudonym, found.subject \
     FROM UNNEST($1::smallint[], $2::bytea[]) AS asked (partition, pseudonym) CROSS JOIN LATERAL \
     (SELECT number.pseudonym, number.subject FROM number WHERE number.partition = asked.partition \
      AND number.pseudonym = asked.pseudonym OFFSET 0) AS found";
const RECORDS: &str = "SELECT found.subject, found.sealed \
     FROM UNNEST($1::smallint[], $2::bytea[]) AS asked (partition, subject) CROSS JOIN LATERAL \
     (SELECT record.subject, record.sealed FROM record WHERE record.partition = asked.partition \
      AND record.subject = asked.subject OFFSET 0) AS found";
const STATES: &str = "SELECT found.kind, found.owner, found.sealed, found.held, found.quarantined, found.held_until_ms \
     FROM UNNEST($1::smallint[], $2::smallint[], $3::bytea[]) AS asked (partition, kind, owner) CROSS JOIN LATERAL \
     (SELECT state.* FROM intake_state AS state WHERE state.partition = asked.partition AND state.kind = asked.kind \
      AND state.owner = asked.owner OFFSET 0) AS found";
const KNOWN: &str =
    "SELECT key, digest, fate, epoch, partition, seq FROM intake_known WHERE key = ANY($1::bytea[])";
const UNKNOWN_NUMBERS: &str = "SELECT count(*) FROM intake_state WHERE kind = 1";

const CHANGE: RegistryError = RegistryError::Damaged("a known change");

/// Whom a batch is about, and what must be locked for it.
pub(super) struct Scope {
    layout: Layout,
    partitions: BTreeSet<u16>,
    /// Numbers changes are filed under: of these the owner's record is needed.
    filed: BTreeSet<NumberPseudonym>,
    /// Numbers that may be set: of these it is needed who has them, and what waits there.
    set: BTreeSet<NumberPseudonym>,
    subjects: BTreeSet<SubjectId>,
    /// Changes that arrive.
    pub(super) arriving: Vec<(ChangeKey, ChangeDigest)>,
}

impl Scope {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            partitions: BTreeSet::new(),
            filed: BTreeSet::new(),
            set: BTreeSet::new(),
            subjects: BTreeSet::new(),
            arriving: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, owner: Owner) {
        match owner {
            Owner::Subject(subject) => {
                self.partitions.insert(self.layout.of_subject(&subject));
                self.subjects.insert(subject);
            }
            Owner::Number(number) => {
                self.partitions.insert(self.layout.home(&number));
                self.filed.insert(number);
            }
        }
    }

    pub(super) fn add_set(&mut self, numbers: impl IntoIterator<Item = NumberPseudonym>) {
        for number in numbers {
            self.partitions.insert(self.layout.home(&number));
            self.set.insert(number);
        }
    }

    /// Locks the heads, lowest first: two batches that meet wait for each other and never in a circle.
    pub(super) async fn lock(
        &self,
        connection: &mut PgConnection,
        ledger: &mut Ledger,
    ) -> Result<(), Trouble> {
        let partitions: Vec<i16> = self.partitions.iter().map(|partition| partition.cast_signed()).collect();
        for row in sqlx::query(LOCK).bind(partitions).fetch_all(connection).await? {
            let partition = row.try_get::<i16, _>(0)?.cast_unsigned();
            let epoch = u32::try_from(row.try_get::<i64, _>(1)?).map_err(|_| HEAD)?;
            if ledger.base.epoch != 0 && ledger.base.epoch != epoch {
                return Err(RegistryError::Damaged("its partitions are of different epochs").into());
            }
            ledger.base.epoch = epoch;
            let seq = u64::try_from(row.try_get::<i64, _>(2)?).map_err(|_| HEAD)?;
            ledger.base.heads.insert(partition, seq);
        }
        if ledger.base.heads.len() == self.partitions.len() { Ok(()) } else { Err(HEAD.into()) }
    }

    /// Reads everything the batch is about. `false`: something lies in a partition that was not locked; now it is known which.
    pub(super) async fn read(
        &mut self,
        connection: &mut PgConnection,
        ledger: &mut Ledger,
    ) -> Result<bool, Trouble> {
        let numbers: BTreeSet<_> = self.filed.union(&self.set).copied().collect();
        read_owners(connection, ledger, &numbers).await?;
        let filed = self.filed.iter().filter_map(|number| ledger.base.owners.get(number).copied());
        let subjects: BTreeSet<SubjectId> = self.subjects.iter().copied().chain(filed).collect();
        if !self.covers(subjects.iter().map(|subject| self.layout.of_subject(subject)).collect()) {
            return Ok(false);
        }
        read_records(connection, ledger, &subjects).await?;
        let mut owners: Vec<Owner> = subjects.into_iter().map(Owner::Subject).collect();
        owners.extend(numbers.into_iter().map(Owner::Number));
        // What waits may set numbers, under which something waits that sets numbers, and so on.
        loop {
            let read = read_states(connection, ledger, &owners).await?;
            let mut further: BTreeSet<_> = ledger.numbers_waiting(&read).into_iter().collect();
            further.retain(|number| !self.filed.contains(number) && !self.set.contains(number));
            if further.is_empty() {
                break;
            }
            self.set.extend(&further);
            if !self.covers(further.iter().map(|number| self.layout.home(number)).collect()) {
                return Ok(false);
            }
            read_owners(connection, ledger, &further).await?;
            owners = further.into_iter().map(Owner::Number).collect();
        }
        self.read_known(connection, ledger).await?;
        let is_new = |number: &NumberPseudonym| {
            !ledger.base.owners.contains_key(number)
                && !ledger.states.contains_key(&Owner::Number(*number).key())
        };
        if self.filed.iter().any(is_new) {
            let count: i64 = sqlx::query_scalar(UNKNOWN_NUMBERS).fetch_one(connection).await?;
            ledger.unknown_numbers = count.cast_unsigned();
        }
        Ok(true)
    }

    /// Says whether partitions are locked; if not, they will be the next time.
    fn covers(&mut self, needed: BTreeSet<u16>) -> bool {
        let covers = needed.is_subset(&self.partitions);
        self.partitions.extend(needed);
        covers
    }

    /// Reads what is known of changes that arrive and of those that wait, by either key they may be known under.
    async fn read_known(&self, connection: &mut PgConnection, ledger: &mut Ledger) -> Result<(), Trouble> {
        let waiting = ledger.states.values().flat_map(|kept| kept.state.waiting());
        let waiting = waiting.map(|waiting| (waiting.key, waiting.digest));
        let changes = self.arriving.iter().copied().chain(waiting);
        let keys: BTreeSet<ChangeKey> = changes.flat_map(|(key, digest)| [key, digest.key()]).collect();
        read_known(connection, ledger, &keys).await
    }
}

async fn read_owners(
    connection: &mut PgConnection,
    ledger: &mut Ledger,
    numbers: &BTreeSet<NumberPseudonym>,
) -> Result<(), Trouble> {
    if numbers.is_empty() {
        return Ok(());
    }
    let layout = ledger.base.layout;
    let partitions: Vec<i16> = numbers.iter().map(|number| layout.home(number).cast_signed()).collect();
    let pseudonyms: Vec<&[u8]> = numbers.iter().map(|number| &number.as_bytes()[..]).collect();
    for row in sqlx::query(OWNERS).bind(partitions).bind(pseudonyms).fetch_all(connection).await? {
        ledger.base.owners.insert(
            NumberPseudonym::from_bytes(sixteen(row.try_get(0)?)?),
            SubjectId::from_bytes(sixteen(row.try_get(1)?)?),
        );
    }
    Ok(())
}

async fn read_records(
    connection: &mut PgConnection,
    ledger: &mut Ledger,
    subjects: &BTreeSet<SubjectId>,
) -> Result<(), Trouble> {
    if subjects.is_empty() {
        return Ok(());
    }
    let mut scratch = Zeroizing::default();
    let base = &mut ledger.base;
    let partitions: Vec<i16> =
        subjects.iter().map(|subject| base.layout.of_subject(subject).cast_signed()).collect();
    let ids: Vec<&[u8]> = subjects.iter().map(|subject| &subject.as_bytes()[..]).collect();
    for row in sqlx::query(RECORDS).bind(partitions).bind(ids).fetch_all(connection).await? {
        let subject = SubjectId::from_bytes(sixteen(row.try_get(0)?)?);
        let opened = base.keys.sealing.open(row.try_get(1)?, subject.as_bytes(), &mut scratch);
        let record = opened.ok().and_then(|plain| codec::decode(subject, plain).ok());
        base.records.insert(subject, record.map_or(OnFile::Unreadable, OnFile::Read));
    }
    Ok(())
}

/// Reads states. Returns whose there were.
pub(super) async fn read_states(
    connection: &mut PgConnection,
    ledger: &mut Ledger,
    owners: &[Owner],
) -> Result<Vec<OwnerKey>, Trouble> {
    let mut read = Vec::new();
    if owners.is_empty() {
        return Ok(read);
    }
    let layout = ledger.base.layout;
    let partitions: Vec<i16> = owners.iter().map(|owner| partition_of(layout, owner)).collect();
    let kinds: Vec<i16> = owners.iter().map(kind_of).collect();
    let ids: Vec<&[u8]> = owners.iter().map(|owner| &bytes_of(owner)[..]).collect();
    let mut scratch = Zeroizing::default();
    for row in sqlx::query(STATES).bind(partitions).bind(kinds).bind(ids).fetch_all(connection).await? {
        let owner = owner_of(row.try_get(0)?, row.try_get(1)?)?;
        let waits = Waits { held: row.try_get(3)?, quarantined: row.try_get(4)?, until_ms: row.try_get(5)? };
        let state = open_state(&ledger.base.keys.sealing, owner, row.try_get(2)?, &mut scratch)?;
        ledger.states.insert(owner.key(), Kept { state, waits, is_stored: true, is_changed: false });
        read.push(owner.key());
    }
    Ok(read)
}

async fn read_known(
    connection: &mut PgConnection,
    ledger: &mut Ledger,
    keys: &BTreeSet<ChangeKey>,
) -> Result<(), Trouble> {
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key.0[..]).collect();
    if keys.is_empty() {
        return Ok(());
    }
    for row in sqlx::query(KNOWN).bind(keys).fetch_all(connection).await? {
        let fate = match row.try_get::<i16, _>(2)? {
            WAITING => KnownFate::Waiting,
            APPLIED => KnownFate::Applied(Position {
                epoch: u32::try_from(row.try_get::<i64, _>(3)?).map_err(|_| CHANGE)?,
                partition: row.try_get::<i16, _>(4)?.cast_unsigned(),
                seq: row.try_get::<i64, _>(5)?.cast_unsigned(),
            }),
            DISCARDED => KnownFate::Discarded,
            _ => return Err(CHANGE.into()),
        };
        let digest = ChangeDigest(sixteen(row.try_get(1)?)?);
        ledger.known.insert(ChangeKey(sixteen(row.try_get(0)?)?), KnownChange { digest, fate });
    }
    Ok(())
}
