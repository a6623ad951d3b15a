//! A bar over a log's bytes, only where somebody watches.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// Entries between two looks at the clock: a bar must not cost what it measures.
const ENTRIES_PER_STEP: u64 = 16_384;

/// Shows how far a walk over a log has come.
pub(super) struct LogBar {
    bar: ProgressBar,
    entries: u64,
    bytes: u64,
}

impl LogBar {
    /// A bar over so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        const STYLE: &str = "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}";
        let bar = match ProgressStyle::with_template(STYLE) {
            Ok(style) if std::io::stderr().is_terminal() => ProgressBar::new(bytes).with_style(style),
            _ => ProgressBar::hidden(),
        };
        Self { bar, entries: 0, bytes: 0 }
    }

    /// Another entry of so many bytes was read.
    pub(super) fn entry(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes += bytes;
        if self.entries.is_multiple_of(ENTRIES_PER_STEP) {
            self.bar.set_position(self.bytes);
            self.bar.set_message(format!("{} entries", self.entries));
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
