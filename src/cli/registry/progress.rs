//! Bars for long work: rate and time left, and only where somebody watches.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::registry::embedded::{Progress, Stage};

/// A bar over drivers; hidden unless someone watches.
pub(super) fn driver_bar(total: u64) -> ProgressBar {
    const STYLE: &str = "{bar:32} {human_pos}/{human_len} drivers  {per_sec}  {eta} left";
    styled(ProgressBar::new(total), STYLE)
}

/// A bar that follows work on the store from stage to stage.
pub(super) struct StageBar {
    bar: ProgressBar,
    stage: Option<Stage>,
}

impl StageBar {
    /// Shows nothing until the first word.
    pub(super) fn new() -> Self {
        const STYLE: &str = "{bar:32} {human_pos}/{human_len} {msg}  {per_sec}  {eta} left";
        Self { bar: styled(ProgressBar::new(0), STYLE), stage: None }
    }

    /// Shows how far the work has come.
    pub(super) fn show(&mut self, progress: Progress) {
        if self.stage.replace(progress.stage) != Some(progress.stage) {
            self.bar.reset();
            self.bar.set_message(progress.stage.word());
            self.bar.set_length(progress.total);
        }
        self.bar.set_position(progress.done);
    }

    /// Leaves the terminal as it was.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A bar over bytes when the size is known, else a counter.
pub(super) fn byte_bar(size: Option<u64>) -> ProgressBar {
    match size {
        Some(size) => styled(
            ProgressBar::new(size),
            "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}",
        ),
        None => styled(ProgressBar::no_length(), "{spinner} {bytes}  {bytes_per_sec}  {msg}"),
    }
}

/// A counter of licences whose number nobody knows beforehand.
pub(super) fn licence_counter() -> ProgressBar {
    styled(ProgressBar::no_length(), "{spinner} {human_pos} licences  {per_sec}")
}

/// Says how long work took and how fast it was: ` in 2.1 s (48,000 lines/s, 70.3 MB/s)`.
#[allow(clippy::cast_precision_loss, reason = "rates for people to read")]
pub(super) fn pace(lines: u64, bytes: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-3);
    let (lines, bytes) = (lines as f64 / seconds, bytes as f64 / seconds / 1e6);
    format!(" in {seconds:.1} s ({lines:.0} lines/s, {bytes:.1} MB/s)")
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
