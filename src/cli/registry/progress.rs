//! Bars for long work: rate and time left, and only where somebody watches.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over drivers; hidden unless someone watches.
pub(super) fn driver_bar(total: u64) -> ProgressBar {
    const STYLE: &str = "{bar:32} {human_pos}/{human_len} drivers  {per_sec}  {eta} left";
    styled(ProgressBar::new(total), STYLE)
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

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
