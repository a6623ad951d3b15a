//! `drivegate registry restore`: a backup becomes a registry again.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use super::opening::load_keys;
use super::progress::StageBar;
use crate::app::SystemClock;
use crate::cli::deployment::Places;
use crate::cli::terminal::say;
use crate::domain::time::Clock as _;
use crate::registry::embedded::{BackupError, restore};

const READ_SIZE: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The deployment folder. It must hold the key file the registry was made with, and no registry.
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
}

impl Restore {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let places = Places::of(&self.into)?;
        if !places.registry_keys.exists() {
            return Err(miette!(
                help = "copy the key file the registry was made with there, mode 0600; without it nobody can read the backup",
                "there are no keys at {}",
                places.registry_keys.display()
            ));
        }
        let keys = load_keys(&places)?;
        let file = File::open(&self.file).into_diagnostic();
        let file = file.wrap_err_with(|| format!("cannot open {}", self.file.display()))?;
        let made = std::fs::create_dir_all(&places.registry).into_diagnostic();
        made.wrap_err_with(|| format!("cannot make the data folder {}", places.registry.display()))?;
        let mut bar = StageBar::new();
        let file = BufReader::with_capacity(READ_SIZE, file);
        let restored =
            restore(file, &places.registry, &keys, SystemClock.now(), &mut |progress| bar.show(progress));
        bar.finish();
        let report = restored.map_err(explained)?;
        say(&format!(
            "{} subjects as of feed position {}; epoch {} begins",
            report.subjects, report.head_seq, report.epoch
        ));
        Ok(ExitCode::SUCCESS)
    }
}

fn explained(error: BackupError) -> miette::Report {
    let help = match &error {
        BackupError::WrongKeys => "restore the key file the registry was made with first",
        BackupError::Exists(_) => "move the registry away first, or restore into another folder",
        BackupError::Truncated { .. } | BackupError::Rotten { .. } | BackupError::NotGenuine => {
            "nothing was restored; take another copy of the backup"
        }
        BackupError::NoBackup | BackupError::NewerFormat => "nothing was restored; is it the right file?",
        BackupError::Write(_) | BackupError::Read(_) | BackupError::Registry(_) => "nothing was restored",
    };
    let report: miette::Result<()> = Err(error).into_diagnostic();
    match report {
        Err(report) => report.wrap_err(miette!(help = help, "the registry cannot be restored")),
        Ok(()) => miette!("the registry cannot be restored"),
    }
}
