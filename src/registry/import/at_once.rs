//! A first load: everything the input holds becomes visible at once, or nothing.
//!
//! This thread reads and parses, another one seals. What is refused and why is what the ordinary way says, but for one thing: of two lines with
//! the same number the earlier one has it even if it was refused itself, for yet another number. Importing the same file again takes such
//! a line in.

#[cfg(test)]
mod tests;

use std::io::BufRead;
use std::sync::mpsc::{Receiver, sync_channel};

use super::error::{ImportError, LineFault};
use super::importer::{ImportProgress, Run};
use super::lines::Lines;
use crate::registry::embedded::{BulkLoad, RegistryError};
use crate::registry::submission::{Rejection, Submission};

/// Lines handed to the one who seals at a time.
const TOGETHER: usize = 512;
/// Hands full of lines that may wait for the one who seals.
const AHEAD: usize = 4;

type HandedOn = (Vec<u64>, Vec<Submission>);

/// Loads what was read ahead and everything that follows. What was read whole before a fault of the input goes in, as it does in batches.
pub(super) fn load(
    run: &mut Run<'_>,
    mut lines: Lines<impl BufRead>,
    load: BulkLoad<'_>,
) -> Result<(), ImportError> {
    let (sealed, fault) = std::thread::scope(|scope| {
        let (hand_on, handed_on) = sync_channel(AHEAD);
        let sealing = scope.spawn(|| seal(&load, handed_on));
        let fault = loop {
            let handed_on: HandedOn = (std::mem::take(&mut run.places), std::mem::take(&mut run.batch));
            // The one who seals has given up, and says why.
            if hand_on.send(handed_on).is_err() {
                break None;
            }
            match run.fill(&mut lines, TOGETHER) {
                Ok(false) => {}
                Ok(true) if run.batch.is_empty() => break None,
                Ok(true) => {
                    let _given_up =
                        hand_on.send((std::mem::take(&mut run.places), std::mem::take(&mut run.batch)));
                    break None;
                }
                Err(error) => {
                    let _given_up =
                        hand_on.send((std::mem::take(&mut run.places), std::mem::take(&mut run.batch)));
                    break Some(error);
                }
            }
        };
        drop(hand_on);
        (sealing.join().unwrap_or(Err(RegistryError::Damaged("a worker of the load did not finish"))), fault)
    });
    let cannot = |source| ImportError::Registry { line: lines.number(), source };
    let mut refused = sealed.map_err(cannot)?;
    let report = load.finish(&mut |_| {}).map_err(cannot)?;
    refused.extend(report.duplicates.iter().map(|line| (*line, Rejection::DuplicateNumber)));
    refused.extend(report.numbers_taken.iter().map(|line| (*line, Rejection::NumberTaken)));
    refused.sort_unstable_by_key(|(line, _)| *line);
    for (line, rejection) in refused {
        run.reject(line, LineFault::from(rejection));
    }
    run.report.created = report.loaded;
    (run.progress)(ImportProgress::Advanced(run.report));
    (run.progress)(ImportProgress::LoadedAtOnce);
    match fault {
        Some(fault) => Err(fault),
        None => run.finish(&lines),
    }
}

/// Seals what is handed on; returns what was refused, by line.
fn seal(load: &BulkLoad<'_>, handed_on: Receiver<HandedOn>) -> Result<Vec<(u64, Rejection)>, RegistryError> {
    let mut worker = load.worker();
    let mut refused = Vec::new();
    for (places, batch) in handed_on {
        for (line, submission) in places.into_iter().zip(batch) {
            if let Err(rejection) = worker.take(line, &submission)? {
                refused.push((line, rejection));
            }
        }
    }
    worker.finish()?;
    Ok(refused)
}
