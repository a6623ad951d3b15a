//! Reads a batch's pages side by side before the writer wants them one after the other: a disk answers many at once.

use redb::ReadableDatabase as _;

use super::store::Shared;
use super::tables::{NUMBERS, RECORDS};
use crate::registry::submission::Submission;
use crate::verification::ports::Pseudonyms as _;

/// Below this a batch waits less for its pages than for threads.
const BATCH_MIN: usize = 128;
/// Reads under way at once: what a disk takes before it queues.
const READS_AT_ONCE: usize = 16;

/// Brings the pages a batch will change into memory. Nothing depends on it: what cannot be read now is told to the writer.
pub(super) fn prefetch(shared: &Shared, batch: &[Submission]) {
    if batch.len() < BATCH_MIN {
        return;
    }
    std::thread::scope(|scope| {
        let touching = |some| {
            let reading = std::thread::Builder::new().name("registry-prefetch".to_owned());
            reading.spawn_scoped(scope, move || touch(shared, some))
        };
        // A thread that cannot be had costs time only, and one that met damage leaves it to the writer to tell.
        let threads: Vec<_> = batch
            .chunks(batch.len().div_ceil(READS_AT_ONCE))
            .filter_map(|some| touching(some).ok())
            .collect();
        for thread in threads {
            let _touched = thread.join();
        }
    });
}

fn touch(shared: &Shared, batch: &[Submission]) -> Option<()> {
    let reading = shared.database.begin_read().ok()?;
    let (numbers, records) = (reading.open_table(NUMBERS).ok()?, reading.open_table(RECORDS).ok()?);
    for submission in batch {
        let pseudonym = shared.keys.pseudonym(submission.document, &submission.number);
        if let Some(subject) = numbers.get(pseudonym.as_bytes()).ok()? {
            records.get(subject.value()).ok()?;
        }
    }
    Some(())
}
