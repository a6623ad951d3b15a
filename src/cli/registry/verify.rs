//! `drivegate registry verify`: is everything in the registry as it should be?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use miette::IntoDiagnostic as _;

use super::opening::{must_exist, open_embedded};
use super::progress::StageBar;
use crate::cli::deployment::Places;
use crate::cli::terminal::say;
use crate::registry::embedded::{Finding, VerifyReport};

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The deployment folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let places = Places::of(&self.dir)?;
        must_exist(&places)?;
        let registry = open_embedded(&places)?;
        let mut bar = StageBar::new();
        let report = registry.verify(&mut |progress| bar.show(progress));
        bar.finish();
        let report = report.into_diagnostic()?;
        if self.json {
            say(&format!("{:#}", serde_json::to_value(&report).into_diagnostic()?));
        } else {
            say(told(&report).trim_end());
        }
        Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

fn told(report: &VerifyReport) -> String {
    let VerifyReport { subjects, numbers, changes, feed_rows, book_rows, findings } = report;
    let seen = format!(
        "{subjects} records, {changes} changes, {numbers} numbers, {feed_rows} feed rows, {book_rows} rows of the book"
    );
    if findings.is_empty() {
        return format!("{seen}: sound");
    }
    let lines = findings.iter().map(|(finding, count)| format!("\n{count:>12} × {}", meaning(*finding)));
    format!("{seen}: not sound; restore from a backup{}", lines.collect::<String>())
}

fn meaning(finding: Finding) -> &'static str {
    match finding {
        Finding::RecordUnopenable => "record cannot be opened: damaged, moved, or its sealing key is gone",
        Finding::RecordUndecodable => "record holds something else than a record",
        Finding::RecordedTimeRunsBack => "record whose recorded times run back",
        Finding::ChangeBeyondHead => "record with a change beyond the feed's head",
        Finding::NumberNotFound => "number of a record that the index lacks or leads elsewhere",
        Finding::NumberLeadsNowhere => "number in the index that leads to no record",
        Finding::FeedRowUnreadable => "feed row that cannot be read",
        Finding::FeedGap => "gap in the feed",
        Finding::BookRowUnreadable => "row of the book that cannot be read",
    }
}
