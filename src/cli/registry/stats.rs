//! `drivegate registry stats`: what the registry holds, in numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use miette::IntoDiagnostic as _;

use super::opening::open_existing;
use crate::cli::deployment::Places;
use crate::cli::terminal::say;
use crate::registry::embedded::RegistryStats;
use crate::registry::store::wait;

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// The deployment folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let places = Places::of(&self.dir)?;
        let stats = wait(open_existing(&places)?.stats()).into_diagnostic()?;
        if self.json {
            let mut json = serde_json::to_value(&stats).into_diagnostic()?;
            json["sealed_bytes_mean"] = stats.sealed_bytes_mean().into();
            json["changes_mean"] = stats.changes_mean().into();
            json["file_bytes_mean"] = stats.file_bytes_mean().into();
            say(&format!("{json:#}"));
        } else {
            say(table(&stats).trim_end());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(stats: &RegistryStats) -> String {
    let listed = |counts: Vec<(String, u64)>| {
        let parts: Vec<_> = counts.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join("  ") }
    };
    let classes = stats.classes.iter().map(|(class, count)| (class.clone(), *count)).collect();
    let letters = stats.letters.iter().map(|(letter, count)| (letter.to_string(), *count)).collect();
    let rows = [
        ("registry", stats.registry_id.clone()),
        ("feed", format!("epoch {}, head {}, {} rows kept", stats.epoch, stats.head_seq, stats.feed_rows)),
        ("subjects", stats.subjects.to_string()),
        ("numbers", stats.numbers.to_string()),
        ("changes", format!("{} ({:.1} per subject)", stats.changes, stats.changes_mean())),
        (
            "sealed records",
            format!(
                "{} bytes ({:.1} per subject, largest {})",
                stats.sealed_bytes,
                stats.sealed_bytes_mean(),
                stats.sealed_bytes_max
            ),
        ),
        (
            "book",
            format!(
                "{} uses, {} share codes, {} consents, {} hold-backs",
                stats.uses, stats.share_codes, stats.consents, stats.hold_backs
            ),
        ),
        ("file", format!("{} bytes ({:.1} per subject)", stats.file_bytes, stats.file_bytes_mean())),
        ("classes", listed(classes)),
        ("state letters", listed(letters)),
        ("unreadable", stats.unreadable.to_string()),
        ("counted in", sample(stats)),
    ];
    rows.iter().map(|(name, value)| format!("{name:<16}{value}\n")).collect()
}

/// Says what the counts were taken from.
fn sample(stats: &RegistryStats) -> String {
    if stats.is_sampled() {
        format!("a sample of {} records, scaled up; `registry verify` opens them all", stats.sampled)
    } else {
        "every record".to_owned()
    }
}
