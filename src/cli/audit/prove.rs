//! `drivegate audit prove`: the log of then is the beginning of the log of now.

use std::process::ExitCode;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use miette::Report;
use serde_json::json;

use super::place::{Place, unreadable};
use super::progress::LogBar;
use crate::audit::check::{ConsistencyProof, ProveError, prove};
use crate::cli::terminal::{say, say_json, tell};

#[derive(Debug, Args)]
pub(super) struct Prove {
    /// The earlier size.
    #[arg(value_name = "A")]
    old: u64,
    /// The later size.
    #[arg(value_name = "B")]
    new: u64,
    #[command(flatten)]
    place: Place,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Prove {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let (folder, log, bytes) = self.place.open()?;
        let mut bar = LogBar::new(bytes);
        let proof = prove(&folder, Some(log.origin()), (self.old, self.new), |bytes| bar.entry(bytes));
        bar.finish();
        let proof = proof.map_err(|error| match error {
            ProveError::Read(error) => unreadable(&folder, error),
            ProveError::TooFew(_) => {
                advised(&error, "`drivegate audit fsck` says how many entries there are")
            }
            ProveError::Sizes | ProveError::Removed(_) | ProveError::Flawed(_) | ProveError::Unsound => {
                Report::from_err(error)
            }
        })?;
        if self.json {
            say_json(&in_json(&proof));
        } else {
            print(&proof);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn advised(error: &ProveError, help: &'static str) -> Report {
    miette::miette!(help = help, "{error}")
}

/// The proof as lines: sizes and tree hashes as a checkpoint writes them, then the hashes of the proof.
fn print(proof: &ConsistencyProof) {
    say(&proof.origin);
    for (size, root) in [proof.old, proof.new] {
        say(&format!("{size} {}", BASE64_STANDARD.encode(root)));
    }
    say("");
    for hash in &proof.hashes {
        say(&BASE64_STANDARD.encode(hash));
    }
    tell(&format!(
        "checked: the log of {} entries is the beginning of the log of {} entries",
        proof.old.0, proof.new.0
    ));
}

fn in_json(proof: &ConsistencyProof) -> serde_json::Value {
    let head = |(size, root): (u64, [u8; 32])| json!({ "size": size, "root": BASE64_STANDARD.encode(root) });
    json!({
        "origin": proof.origin,
        "old": head(proof.old),
        "new": head(proof.new),
        "hashes": proof.hashes.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect::<Vec<_>>(),
        "verified": proof.verifies(),
    })
}
