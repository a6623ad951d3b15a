//! A look-up: position and facts in one statement on one server.

use sqlx::{PgConnection, Row as _};
use std::sync::Arc;
use zeroize::Zeroizing;

use super::store::Shared;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::registry::codec;
use crate::verification::ports::Reading;

/// A number in its home, and its subject's record if that lies in the same partition: nearly always.
const LOOK_UP: &str = "SELECT h.epoch, h.seq, n.subject, r.sealed FROM feed_head h \
     LEFT JOIN number n ON n.partition = $1 AND n.pseudonym = $2 \
     LEFT JOIN record r ON r.partition = $1 AND r.subject = n.subject \
     WHERE h.partition = $1";
/// The record of a subject that lies elsewhere than its number. The number's subject never changes, so that the two statements
/// need not see the same moment.
const RECORD: &str = "SELECT h.epoch, h.seq, r.sealed FROM feed_head h \
     LEFT JOIN record r ON r.partition = $1 AND r.subject = $2 WHERE h.partition = $1";

/// Why there is no reading.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server, or the way to it.
    Server(sqlx::Error),
    /// The server could not be reached just now.
    Away,
    /// There is a record, but it cannot be opened.
    Unreadable,
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Server(error)
    }
}

/// Looks a number up.
pub(super) async fn look_up(
    connection: &mut PgConnection,
    shared: &Shared,
    pseudonym: NumberPseudonym,
    scratch: &mut Zeroizing<Vec<u8>>,
) -> Result<Reading, Fault> {
    let home = shared.layout.home(&pseudonym);
    let row = sqlx::query(LOOK_UP)
        .bind(home.cast_signed())
        .bind(&pseudonym.as_bytes()[..])
        .fetch_one(&mut *connection)
        .await?;
    let position = position(&row, home)?;
    let Some(subject) = row.try_get::<Option<&[u8]>, _>(2)? else {
        return Ok(Reading { record: None, position });
    };
    let subject = SubjectId::from_bytes(subject.try_into().map_err(|_| Fault::Unreadable)?);
    let partition = shared.layout.of_subject(&subject);
    if partition == home {
        let sealed = row.try_get::<Option<&[u8]>, _>(3)?;
        return open(shared, subject, sealed, position, scratch);
    }
    let row = sqlx::query(RECORD)
        .bind(partition.cast_signed())
        .bind(&subject.as_bytes()[..])
        .fetch_one(connection)
        .await?;
    open(shared, subject, row.try_get(2)?, self::position(&row, partition)?, scratch)
}

fn position(row: &sqlx::postgres::PgRow, partition: u16) -> Result<Position, Fault> {
    let epoch = u32::try_from(row.try_get::<i64, _>(0)?).map_err(|_| Fault::Unreadable)?;
    let seq = u64::try_from(row.try_get::<i64, _>(1)?).map_err(|_| Fault::Unreadable)?;
    Ok(Position { epoch, partition, seq })
}

fn open(
    shared: &Shared,
    subject: SubjectId,
    sealed: Option<&[u8]>,
    position: Position,
    scratch: &mut Zeroizing<Vec<u8>>,
) -> Result<Reading, Fault> {
    let sealed = sealed.ok_or(Fault::Unreadable)?;
    let opened = shared.keys.sealing.open(sealed, subject.as_bytes(), scratch);
    let record = codec::decode(subject, opened.map_err(|_| Fault::Unreadable)?);
    Ok(Reading { record: Some(Arc::new(record.map_err(|_| Fault::Unreadable)?)), position })
}
