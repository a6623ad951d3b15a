//! Reads the file on a thread of its own, a bounded way ahead of what is handed in.

use std::io::{BufReader, Read};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::domain::licence::NumberRules;
use crate::gateway::{change_message, proto};
use crate::registry::import::{FiledChange, FiledChanges, ImportError};

/// Lines read ahead.
const LINES_AHEAD: usize = 4_096;
const READ_SIZE: usize = 256 * 1024;

/// A line, or why it is none.
pub(super) struct ReadLine {
    /// Its number in the file, from 1.
    pub(super) line: u64,
    /// The change as it goes out, or why it does not.
    pub(super) change: Result<proto::LicenceChange, String>,
}

/// Begins to read; the thread ends with the file, or when nobody wants more of it.
pub(super) fn read(
    input: impl Read + Send + 'static,
    source: String,
) -> (mpsc::Receiver<ReadLine>, JoinHandle<Result<(), ImportError>>) {
    let (lines_into, lines) = mpsc::channel(LINES_AHEAD);
    let thread = std::thread::spawn(move || {
        // Which numbers are welcome is the gateway's to say.
        let rules = NumberRules { accept_test_numbers: true };
        let mut changes = FiledChanges::new(BufReader::with_capacity(READ_SIZE, input), rules);
        while let Some((line, change)) = changes.next()? {
            let change = change
                .map_err(|fault| fault.to_string())
                .and_then(|change| message(&change, &source).ok_or_else(|| NOT_SENT.to_owned()));
            if lines_into.blocking_send(ReadLine { line, change }).is_err() {
                break;
            }
        }
        Ok(())
    });
    (lines, thread)
}

/// Marks of a dispute are the gateway's own.
const NOT_SENT: &str = "change.kind: is not a kind an authority hands in";

fn message(filed: &FiledChange, source: &str) -> Option<proto::LicenceChange> {
    let FiledChange { source: own, id, sequence, document, number, change } = filed;
    let source = own.as_deref().unwrap_or(source);
    let times = (change.effective, change.recorded_at);
    change_message((source, id, *sequence), (*document, number), times, &change.kind)
}
