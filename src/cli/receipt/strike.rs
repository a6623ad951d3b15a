//! `drivegate receipt strike`: the receipt that is shown on.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use miette::{IntoDiagnostic as _, miette};

use super::opened::{opened, twice};
use super::{parse, read_receipt, write_receipt};
use crate::audit::entry::LeafName;
use crate::audit::receipt::Opened;
use crate::cli::terminal::tell;

#[derive(Debug, Args)]
pub(super) struct Strike {
    /// The receipt.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The value of a leaf; every leaf of the receipt must be opened, because its hash is made of it.
    #[arg(long, value_name = "NAME=VALUE", value_parser = opened)]
    open: Vec<Opened>,
    /// A leaf whose salt stays in: whoever gets the file can be shown its value.
    #[arg(long, value_name = "NAME", value_parser = leaf)]
    keep: Vec<LeafName>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn leaf(word: &str) -> Result<LeafName, String> {
    word.parse().map_err(|fault: crate::domain::closed_set::NotInSet| fault.to_string())
}

impl Strike {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        if let Some(name) = twice(&self.open) {
            return Err(miette!("`{name}` is opened twice"));
        }
        let receipt = parse(&read_receipt(&self.file)?, &self.file)?;
        let struck = receipt.strike(&self.open, &self.keep).into_diagnostic()?;
        write_receipt(&self.out, &struck.to_text())?;
        let closed = struck.leaves().iter().filter(|leaf| leaf.salt.is_none()).count();
        tell(&format!("{closed} values can no longer be looked at in {}", self.out.display()));
        Ok(ExitCode::SUCCESS)
    }
}
