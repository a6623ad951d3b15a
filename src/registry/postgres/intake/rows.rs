//! What a batch writes: a handful of statements, whatever its size, each over all of its partitions.

use sqlx::PgConnection;

use super::ledger::{Kept, Ledger};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::intake::ports::{ChangeKey, KnownChange, KnownFate};
use crate::registry::embedded::intake::state::{Owner, bytes_of, seal_state};
use crate::registry::embedded::{FeedRow, RegistryError};
use crate::registry::postgres::layout::Layout;
use crate::registry::postgres::writing::{Trouble, joined, sixteen};

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

pub(super) const WAITING: i16 = 0;
pub(super) const APPLIED: i16 = 1;
pub(super) const DISCARDED: i16 = 2;
pub(super) const HEAD: RegistryError = RegistryError::Damaged("a feed head");
const STATE: RegistryError = RegistryError::Damaged("a state of the intake");

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
    let last = |feed: &[FeedRow]| feed.last().map_or(0, |row| row.position.seq);
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
