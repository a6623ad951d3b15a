//! `drivegate audit fsck`: is the log what it should be?

use std::process::ExitCode;

use clap::Args;
use miette::IntoDiagnostic as _;

use super::place::{Place, unreadable};
use super::progress::LogBar;
use crate::app::SystemClock;
use crate::audit::check::{FsckOptions, FsckReport, check};
use crate::cli::terminal::{Terminal, Tone, say};
use crate::domain::time::Clock as _;

#[derive(Debug, Args)]
pub(super) struct Fsck {
    #[command(flatten)]
    place: Place,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Fsck {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let (folder, log, bytes) = self.place.open()?;
        let mut bar = LogBar::new(bytes);
        let options = FsckOptions { now: SystemClock.now(), heads: Vec::new(), may_grow: true };
        let report = check(&folder, Some(log.origin()), options, |bytes| bar.entry(bytes));
        bar.finish();
        let report = report.map_err(|error| unreadable(&folder, error))?;
        if self.json {
            say(&format!("{:#}", serde_json::to_value(&report).into_diagnostic()?));
        } else {
            print(&report);
        }
        Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

fn print(report: &FsckReport) {
    let terminal = Terminal::detect();
    let row = |name: &str, value: String| say(&format!("{name:<12}{value}"));
    row("log", report.origin.clone());
    row("entries", format!("{} to {}, in {} segments", report.first_index, report.size, report.segments));
    if let Some((first, last)) = report.dated {
        row("dated", format!("{first} to {last}"));
    }
    match &report.root {
        Some(root) => row("tree hash", format!("{root} over {} entries", report.size)),
        None if report.first_index > 0 => {
            row("tree hash", "cannot be rebuilt: the first entries were removed".to_owned());
        }
        None => row("tree hash", "cannot be rebuilt".to_owned()),
    }
    row("signed", signed(report));
    if report.void_bytes > 0 {
        row("void", format!("{} bytes behind segments given up after a failure", report.void_bytes));
    }
    let Some(index) = report.first_bad_index() else {
        say(&terminal.paint(Tone::Good, "sound"));
        return;
    };
    for finding in &report.findings {
        say(&terminal.paint(Tone::Bad, &format!("{:<12}{}", finding.kind, finding.message)));
    }
    if report.findings_more > 0 {
        say(&format!("and {} more", report.findings_more));
    }
    say(&terminal.paint(Tone::Bad, &format!("not sound: the first bad index is {index}")));
}

fn signed(report: &FsckReport) -> String {
    match report.heads_confirmed {
        0 => "nothing: there is no checkpoint that agrees".to_owned(),
        1 => "the tree rebuilt is the one the last checkpoint was signed over".to_owned(),
        count => format!("{count} checkpoints, and the tree rebuilt is the one they were signed over"),
    }
}
