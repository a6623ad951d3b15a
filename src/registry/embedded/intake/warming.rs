//! Reads a batch's pages side by side before the writer wants them one after the other: a disk answers many at once.

use redb::ReadableDatabase as _;

use crate::domain::subject::NumberPseudonym;
use crate::intake::ports::IncomingChange;
use crate::registry::embedded::store::Shared;
use crate::registry::embedded::tables::{INTAKE_KNOWN, INTAKE_SUBJECTS, NUMBERS, RECORDS};

/// Below this a batch waits less for its pages than for threads.
const NUMBERS_MIN: usize = 128;
/// Reads under way at once: what a disk takes before it queues.
const READS_AT_ONCE: usize = 16;

/// The changes of one number, each with its place in the batch.
type OfNumber = (NumberPseudonym, Vec<(usize, IncomingChange)>);

/// Brings the pages a batch will change into memory. Nothing depends on it: what cannot be read now is told to the writer.
pub(super) fn warm(shared: &Shared, batch: &[OfNumber]) {
    if batch.len() < NUMBERS_MIN {
        return;
    }
    std::thread::scope(|scope| {
        let touching = |some| {
            let reading = std::thread::Builder::new().name("registry-warm".to_owned());
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

fn touch(shared: &Shared, batch: &[OfNumber]) -> Option<()> {
    let reading = shared.database.begin_read().ok()?;
    let (numbers, records) = (reading.open_table(NUMBERS).ok()?, reading.open_table(RECORDS).ok()?);
    // The intake makes its tables when it first needs them.
    let states = reading.open_table(INTAKE_SUBJECTS).ok();
    let known: Vec<_> = INTAKE_KNOWN.iter().filter_map(|table| reading.open_table(*table).ok()).collect();
    for (number, changes) in batch {
        if let Some(subject) = numbers.get(number.as_bytes()).ok()? {
            records.get(subject.value()).ok()?;
            if let Some(states) = &states {
                states.get(subject.value()).ok()?;
            }
        }
        for (_, change) in changes {
            let key = shared.keys.change_key(&change.source, &change.id);
            for generation in &known {
                generation.get(&key.0).ok()?;
            }
        }
    }
    Some(())
}
