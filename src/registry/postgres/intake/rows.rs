//! What a batch reads and writes: a handful of statements, whatever its size, each over all of its partitions.

use std::collections::BTreeSet;

use sqlx::{PgConnection, Row as _};
use zeroize::Zeroizing;

use super::ledger::{Kept, Ledger, OwnerKey, Waits};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::intake::ports::{ChangeDigest, ChangeKey, KnownChange, KnownFate};
use crate::registry::codec;
use crate::registry::embedded::RegistryError;
use crate::registry::embedded::intake::state::{Owner, bytes_of, open_state, seal_state};
use crate::registry::postgres::layout::Layout;
use crate::registry::postgres::plan::OnFile;
use crate::registry::postgres::writing::{Trouble, joined, sixteen};

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

const LOCK: &str = "SELECT partition, epoch, seq FROM feed_head WHERE partition = ANY($1::smallint[]) \
     ORDER BY partition FOR UPDATE";
const ADD_NUMBERS: &str = "INSERT INTO number (partition, pseudonym, subject) \
     SELECT added.* FROM UNNEST($1::smallint[], $2::bytea[], $3::bytea[]) AS added";
const PUT_RECORDS: &str = "INSERT INTO record (partition, subject, sealed) \
     SELECT put.* FROM UNNEST($1::smallint[], $2::bytea[], $3::bytea[]) AS put \
     ON CONFLICT (partition, subject) DO UPDATE SET sealed = excluded.sealed";
const APPEND: &str = "INSERT INTO feed (partition, seq, subject, pseudonyms, epoch) \
     SELECT appended.*, $5::bigint FROM UNNEST($1::smallint[], $2::bigint[], $3::bytea[], $4::bytea[]) AS appended";
const ADVANCE: &str = "UPDATE feed_head SET seq = moved.seq \
     FROM UNNEST($1::smallint[], $2::bigint[], $3::bigint[]) AS moved (partition, seq, rows) \
     WHERE feed_head.partition = moved.partition AND feed_head.seq = moved.seq - moved.rows";
const KEEP: &str = "INSERT INTO intake_state (partition, kind, owner, sealed, held, quarantined, held_until_ms) \
     SELECT kept.* FROM UNNEST($1::smallint[], $2::smallint[], $3::bytea[], $4::bytea[], $5::integer[], $6::integer[], \
     $7::bigint[]) AS kept ON CONFLICT (partition, kind, owner) DO UPDATE SET sealed = excluded.sealed, \
     held = excluded.held, quarantined = excluded.quarantined, held_until_ms = excluded.held_until_ms";
const DROP: &str = "DELETE FROM intake_state \
     USING UNNEST($1::smallint[], $2::smallint[], $3::bytea[]) AS gone (partition, kind, owner) \
     WHERE intake_state.partition = gone.partition AND intake_state.kind = gone.kind AND intake_state.owner = gone.owner";
const REMEMBER: &str = "INSERT INTO intake_known (key, digest, fate, epoch, partition, seq, remembered_ms) \
     SELECT told.*, $7::bigint FROM UNNEST($1::bytea[], $2::bytea[], $3::smallint[], $4::bigint[], $5::smallint[], \
     $6::bigint[]) AS told";
const CORRECT: &str = "UPDATE intake_known SET digest = told.digest, fate = told.fate, epoch = told.epoch, \
     partition = told.partition, seq = told.seq \
     FROM UNNEST($1::bytea[], $2::bytea[], $3::smallint[], $4::bigint[], $5::smallint[], $6::bigint[]) \
     AS told (key, digest, fate, epoch, partition, seq) WHERE intake_known.key = told.key";

const WAITING: i16 = 0;
const APPLIED: i16 = 1;
const DISCARDED: i16 = 2;
const HEAD: RegistryError = RegistryError::Damaged("a feed head");
const CHANGE: RegistryError = RegistryError::Damaged("a known change");
const STATE: RegistryError = RegistryError::Damaged("a state of the intake");

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

    async fn read_known(&self, connection: &mut PgConnection, ledger: &mut Ledger) -> Result<(), Trouble> {
        let keys: BTreeSet<ChangeKey> = self.arriving.iter().map(|(key, _)| *key).collect();
        read_known(connection, ledger, keys).await?;
        let is_second = |(key, digest): &&(ChangeKey, ChangeDigest)| {
            ledger.known.get(key).is_some_and(|known| known.digest != *digest)
        };
        let mut digests: BTreeSet<_> =
            self.arriving.iter().filter(is_second).map(|(_, digest)| digest.key()).collect();
        // Two of one id in the same batch: what is known under the second's own key is not read yet.
        let mut first = std::collections::HashMap::new();
        for (key, digest) in &self.arriving {
            if *first.entry(*key).or_insert(*digest) != *digest {
                digests.insert(digest.key());
            }
        }
        read_known(connection, ledger, digests).await
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
    keys: BTreeSet<ChangeKey>,
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

/// Writes what the batch changed.
pub(super) async fn write(
    connection: &mut PgConnection,
    ledger: &Ledger,
    now_ms: i64,
) -> Result<(), Trouble> {
    write_records(connection, ledger).await?;
    write_states(connection, ledger).await?;
    remember(connection, ledger, now_ms).await?;
    // Last: what a reader can see at a sequence is whole, and the rows are locked anyway.
    advance(connection, ledger).await
}

async fn write_records(connection: &mut PgConnection, ledger: &Ledger) -> Result<(), Trouble> {
    let writes = &ledger.base.writes;
    let numbers = || writes.iter().flat_map(|(at, writes)| writes.numbers.iter().map(move |row| (at, row)));
    if numbers().next().is_some() {
        sqlx::query(ADD_NUMBERS)
            .bind(numbers().map(|(at, _)| at.cast_signed()).collect::<Vec<i16>>())
            .bind(numbers().map(|(_, (number, _))| &number.as_bytes()[..]).collect::<Vec<&[u8]>>())
            .bind(numbers().map(|(_, (_, subject))| &subject.as_bytes()[..]).collect::<Vec<&[u8]>>())
            .execute(&mut *connection)
            .await?;
    }
    let records = || writes.iter().flat_map(|(at, writes)| writes.records.iter().map(move |row| (at, row)));
    if records().next().is_some() {
        sqlx::query(PUT_RECORDS)
            .bind(records().map(|(at, _)| at.cast_signed()).collect::<Vec<i16>>())
            .bind(records().map(|(_, (subject, _))| &subject.as_bytes()[..]).collect::<Vec<&[u8]>>())
            .bind(records().map(|(_, (_, sealed))| sealed.as_slice()).collect::<Vec<&[u8]>>())
            .execute(&mut *connection)
            .await?;
    }
    let rows = || writes.values().flat_map(|writes| &writes.feed);
    if rows().next().is_some() {
        sqlx::query(APPEND)
            .bind(rows().map(|row| row.position.partition.cast_signed()).collect::<Vec<i16>>())
            .bind(rows().map(|row| row.position.seq.cast_signed()).collect::<Vec<i64>>())
            .bind(rows().map(|row| &row.subject.as_bytes()[..]).collect::<Vec<&[u8]>>())
            .bind(rows().map(|row| joined(&row.pseudonyms)).collect::<Vec<Vec<u8>>>())
            .bind(i64::from(ledger.base.epoch))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Writes the states that changed: an empty one is no row.
pub(super) async fn write_states(connection: &mut PgConnection, ledger: &Ledger) -> Result<(), Trouble> {
    let layout = ledger.base.layout;
    let changed = ledger.states.iter().filter(|(_, kept)| kept.is_changed);
    let changed = changed.map(|(key, kept)| (Owner::of(key), kept));
    let (gone, kept): (Vec<_>, Vec<_>) = changed.partition(|(_, kept)| kept.state.is_empty());
    let gone: Vec<Owner> =
        gone.into_iter().filter(|(_, kept)| kept.is_stored).map(|(owner, _)| owner).collect();
    if !gone.is_empty() {
        sqlx::query(DROP)
            .bind(gone.iter().map(|owner| partition_of(layout, owner)).collect::<Vec<i16>>())
            .bind(gone.iter().map(kind_of).collect::<Vec<i16>>())
            .bind(gone.iter().map(|owner| &bytes_of(owner)[..]).collect::<Vec<&[u8]>>())
            .execute(&mut *connection)
            .await?;
    }
    if kept.is_empty() {
        return Ok(());
    }
    let seal = |(owner, kept): &(Owner, &Kept)| seal_state(&ledger.base.keys.sealing, *owner, &kept.state);
    let sealed = kept.iter().map(seal).collect::<Result<Vec<Vec<u8>>, _>>()?;
    sqlx::query(KEEP)
        .bind(kept.iter().map(|(owner, _)| partition_of(layout, owner)).collect::<Vec<i16>>())
        .bind(kept.iter().map(|(owner, _)| kind_of(owner)).collect::<Vec<i16>>())
        .bind(kept.iter().map(|(owner, _)| &bytes_of(owner)[..]).collect::<Vec<&[u8]>>())
        .bind(sealed)
        .bind(kept.iter().map(|(_, kept)| kept.waits.held).collect::<Vec<i32>>())
        .bind(kept.iter().map(|(_, kept)| kept.waits.quarantined).collect::<Vec<i32>>())
        .bind(kept.iter().map(|(_, kept)| kept.waits.until_ms).collect::<Vec<Option<i64>>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Remembers changes. One whose id somebody else took since it was looked up is a collision: the next attempt finds it known.
async fn remember(connection: &mut PgConnection, ledger: &Ledger, now_ms: i64) -> Result<(), Trouble> {
    let is_known = |told: &(&ChangeKey, &KnownChange)| ledger.known.contains_key(told.0);
    let (known, news): (Vec<_>, Vec<_>) = ledger.told.iter().partition(is_known);
    for (statement, told) in [(REMEMBER, news), (CORRECT, known)] {
        if told.is_empty() {
            continue;
        }
        let positions = || told.iter().map(|(_, known)| position_of(known.fate));
        let query = sqlx::query(statement)
            .bind(told.iter().map(|(key, _)| &key.0[..]).collect::<Vec<&[u8]>>())
            .bind(told.iter().map(|(_, known)| &known.digest.0[..]).collect::<Vec<&[u8]>>())
            .bind(told.iter().map(|(_, known)| code_of(known.fate)).collect::<Vec<i16>>())
            .bind(positions().map(|at| at.map(|at| i64::from(at.epoch))).collect::<Vec<Option<i64>>>())
            .bind(positions().map(|at| at.map(|at| at.partition.cast_signed())).collect::<Vec<Option<i16>>>())
            .bind(positions().map(|at| at.map(|at| at.seq.cast_signed())).collect::<Vec<Option<i64>>>());
        let query = if statement == REMEMBER { query.bind(now_ms) } else { query };
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn advance(connection: &mut PgConnection, ledger: &Ledger) -> Result<(), Trouble> {
    let moved = || ledger.base.writes.iter().filter(|(_, writes)| !writes.feed.is_empty());
    let count = moved().count();
    if count == 0 {
        return Ok(());
    }
    let last = |feed: &[crate::registry::embedded::FeedRow]| feed.last().map_or(0, |row| row.position.seq);
    let advanced = sqlx::query(ADVANCE)
        .bind(moved().map(|(partition, _)| partition.cast_signed()).collect::<Vec<i16>>())
        .bind(moved().map(|(_, writes)| last(&writes.feed).cast_signed()).collect::<Vec<i64>>())
        .bind(moved().map(|(_, writes)| writes.feed.len() as i64).collect::<Vec<i64>>())
        .execute(connection)
        .await?;
    if advanced.rows_affected() == count as u64 { Ok(()) } else { Err(HEAD.into()) }
}

fn position_of(fate: KnownFate) -> Option<Position> {
    match fate {
        KnownFate::Applied(position) => Some(position),
        KnownFate::Waiting | KnownFate::Discarded => None,
    }
}

fn code_of(fate: KnownFate) -> i16 {
    match fate {
        KnownFate::Waiting => WAITING,
        KnownFate::Applied(_) => APPLIED,
        KnownFate::Discarded => DISCARDED,
    }
}

pub(super) fn kind_of(owner: &Owner) -> i16 {
    match owner {
        Owner::Subject(_) => 0,
        Owner::Number(_) => 1,
    }
}

pub(super) fn partition_of(layout: Layout, owner: &Owner) -> i16 {
    let partition = match owner {
        Owner::Subject(subject) => layout.of_subject(subject),
        Owner::Number(number) => layout.home(number),
    };
    partition.cast_signed()
}

pub(super) fn owner_of(kind: i16, bytes: &[u8]) -> Result<Owner, RegistryError> {
    let bytes = sixteen(bytes)?;
    match kind {
        0 => Ok(Owner::Subject(SubjectId::from_bytes(bytes))),
        1 => Ok(Owner::Number(NumberPseudonym::from_bytes(bytes))),
        _ => Err(STATE),
    }
}
