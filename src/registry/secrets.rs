//! Whose secret is told: that of a record nobody erased.

use crate::domain::licence::Record;
use crate::domain::subject::SubjectSecret;

/// Returns a record's secret; `None` once the record is erased: from then on there is no such record.
pub(in crate::registry) fn secret_of(record: Record) -> Option<SubjectSecret> {
    (!record.history.is_erased()).then_some(record.secret)
}
