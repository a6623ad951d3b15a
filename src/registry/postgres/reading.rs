//! A look-up: position and facts in one statement on one server.
//!
//! The statement has its partition written into it, so that it is planned for that partition's own tables and locks no others.
//! Several look-ups that waited together go as several such statements in one message, for one round trip; each is still one
//! statement, with a snapshot of its own.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use zeroize::Zeroizing;

use super::layout::Layout;
use super::store::Shared;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::registry::codec;
use crate::verification::ports::Reading;

/// Bytes of one look-up in a message of several.
const EXECUTE_SIZE: usize = 64;

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

/// The statements of look-ups, by partition.
#[derive(Debug)]
pub(super) struct Statements {
    /// $1 is a number's pseudonym: the number in its home, and its subject's record if that lies there too, as nearly always.
    look_ups: Box<[Arc<str>]>,
    /// $1 is a subject: the record of one that lies elsewhere than its number. A number's subject never changes, so that the two
    /// statements need not see the same moment.
    records: Box<[Arc<str>]>,
}

impl Statements {
    pub(super) fn of(layout: Layout) -> Self {
        let look_up = |partition: u16| {
            format!(
                "SELECT h.epoch, h.seq, n.subject, r.sealed FROM feed_head h \
                 LEFT JOIN number n ON n.partition = {partition} AND n.pseudonym = $1 \
                 LEFT JOIN record r ON r.partition = {partition} AND r.subject = n.subject \
                 WHERE h.partition = {partition}"
            )
        };
        let record = |partition: u16| {
            format!(
                "SELECT h.epoch, h.seq, r.sealed FROM feed_head h \
                 LEFT JOIN record r ON r.partition = {partition} AND r.subject = $1 \
                 WHERE h.partition = {partition}"
            )
        };
        let all = |one: &dyn Fn(u16) -> String| (0..layout.partitions()).map(|at| one(at).into()).collect();
        Self { look_ups: all(&look_up), records: all(&record) }
    }

    fn look_up(&self, partition: u16) -> Result<&Arc<str>, Fault> {
        self.look_ups.get(usize::from(partition)).ok_or(Fault::Unreadable)
    }

    fn record(&self, partition: u16) -> Result<&Arc<str>, Fault> {
        self.records.get(usize::from(partition)).ok_or(Fault::Unreadable)
    }
}

/// The partitions whose look-up a connection has prepared under a name, for messages of several.
pub(super) type Named = HashSet<u16>;

/// Looks a number up.
pub(super) async fn look_up(
    connection: &mut PgConnection,
    shared: &Shared,
    pseudonym: NumberPseudonym,
    scratch: &mut Zeroizing<Vec<u8>>,
) -> Result<Reading, Fault> {
    let home = shared.layout.home(&pseudonym);
    let row = sqlx::query(AssertSqlSafe(Arc::clone(shared.statements.look_up(home)?)))
        .bind(&pseudonym.as_bytes()[..])
        .fetch_one(&mut *connection)
        .await?;
    let position = position(&row, home)?;
    let Some(subject) = row.try_get::<Option<&[u8]>, _>(2)? else {
        return Ok(Reading { record: None, position });
    };
    let subject = subject_of(subject)?;
    if shared.layout.of_subject(&subject) == home {
        return open(shared, subject, row.try_get(3)?, position, scratch);
    }
    elsewhere(connection, shared, subject, scratch).await
}

/// Looks several numbers up in one round trip; answers stand in their order.
///
/// # Errors
/// The server's; then nobody has an answer, and the connection must not be used again: what it has under a name is unknown.
pub(super) async fn look_all_up(
    connection: &mut PgConnection,
    shared: &Shared,
    pseudonyms: &[NumberPseudonym],
    named: &mut Named,
    scratch: &mut Zeroizing<Vec<u8>>,
) -> Result<Vec<Result<Reading, Fault>>, Fault> {
    let message = message(shared, pseudonyms, named)?;
    let rows = sqlx::raw_sql(AssertSqlSafe(message)).fetch_all(&mut *connection).await?;
    // Each statement gives one row or, where the partition is missing, none.
    if rows.len() != pseudonyms.len() {
        return Err(Fault::Unreadable);
    }
    let mut answers = Vec::with_capacity(rows.len());
    for (row, pseudonym) in rows.iter().zip(pseudonyms) {
        let answer = match judge(shared, row, shared.layout.home(pseudonym), scratch) {
            Ok(Found::Here(reading)) => Ok(reading),
            Ok(Found::Elsewhere(subject)) => match elsewhere(connection, shared, subject, scratch).await {
                Err(Fault::Server(error)) => return Err(Fault::Server(error)),
                other => other,
            },
            Err(fault) => Err(fault),
        };
        answers.push(answer);
    }
    Ok(answers)
}

/// Writes the message of several look-ups. Nothing in it comes from outside but hexadecimal digits of keyed pseudonyms.
fn message(shared: &Shared, pseudonyms: &[NumberPseudonym], named: &mut Named) -> Result<String, Fault> {
    let mut message = String::with_capacity(pseudonyms.len() * EXECUTE_SIZE);
    for pseudonym in pseudonyms {
        let home = shared.layout.home(pseudonym);
        if named.insert(home) {
            let statement = shared.statements.look_up(home)?;
            let _infallible = write!(message, "PREPARE look_up_{home} (bytea) AS {statement};");
        }
        let _infallible = write!(message, "EXECUTE look_up_{home} ('\\x");
        for byte in pseudonym.as_bytes() {
            let _infallible = write!(message, "{byte:02x}");
        }
        message.push_str("');");
    }
    Ok(message)
}

/// What a row of several says.
enum Found {
    Here(Reading),
    Elsewhere(SubjectId),
}

/// Reads a row whose values came as text.
fn judge(shared: &Shared, row: &PgRow, home: u16, scratch: &mut Zeroizing<Vec<u8>>) -> Result<Found, Fault> {
    let position = position(row, home)?;
    let Some(subject) = row.try_get::<Option<Vec<u8>>, _>(2)? else {
        return Ok(Found::Here(Reading { record: None, position }));
    };
    let subject = subject_of(&subject)?;
    if shared.layout.of_subject(&subject) != home {
        return Ok(Found::Elsewhere(subject));
    }
    let sealed: Option<Vec<u8>> = row.try_get(3)?;
    open(shared, subject, sealed.as_deref(), position, scratch).map(Found::Here)
}

/// Reads the record of a subject that lies elsewhere than its number.
async fn elsewhere(
    connection: &mut PgConnection,
    shared: &Shared,
    subject: SubjectId,
    scratch: &mut Zeroizing<Vec<u8>>,
) -> Result<Reading, Fault> {
    let partition = shared.layout.of_subject(&subject);
    let row = sqlx::query(AssertSqlSafe(Arc::clone(shared.statements.record(partition)?)))
        .bind(&subject.as_bytes()[..])
        .fetch_one(connection)
        .await?;
    open(shared, subject, row.try_get(2)?, position(&row, partition)?, scratch)
}

fn subject_of(bytes: &[u8]) -> Result<SubjectId, Fault> {
    bytes.try_into().map(SubjectId::from_bytes).map_err(|_| Fault::Unreadable)
}

fn position(row: &PgRow, partition: u16) -> Result<Position, Fault> {
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
    let record = record.map_err(|_| Fault::Unreadable)?;
    Ok(Reading { record: (!record.history.is_erased()).then(|| Arc::new(record)), position })
}
