//! `drivegate receipt verify`: what a receipt proves.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use serde_json::json;

use super::opened::{opened, twice};
use super::read_receipt;
use crate::audit::LogVerifier;
use crate::audit::entry::LeafName;
use crate::audit::receipt::{Opened, Receipt, Trust, Verified, WitnessKey};
use crate::cli::terminal::{Terminal, Tone, say, say_json};

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The receipt.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The log's public key line (`drivegate audit key`), or a file that holds it.
    #[arg(long, value_name = "KEY")]
    key: String,
    /// A value that you say was asked or answered, as name=value or name=@FILE; once for each.
    #[arg(long, value_name = "NAME=VALUE", value_parser = opened)]
    open: Vec<Opened>,
    /// A witness's public key line, or a file that holds it; once for each.
    #[arg(long, value_name = "KEY")]
    witness: Vec<String>,
    /// How many of the witnesses must have cosigned [default: all that are given].
    #[arg(long, value_name = "COUNT")]
    quorum: Option<usize>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        if let Some(name) = twice(&self.open) {
            return Err(miette!("`{name}` is opened twice"));
        }
        let trust = self.trust()?;
        let bytes = read_receipt(&self.file)?;
        let terminal = if self.json { Terminal::plain() } else { Terminal::detect() };
        match judge(&bytes, &trust, &self.open) {
            Ok((receipt, verified)) => {
                if self.json {
                    say_json(&in_json(&receipt, &verified));
                } else {
                    say(&render(&receipt, &verified, terminal));
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(fault) => {
                if self.json {
                    say_json(&json!({ "valid": false, "fault": fault }));
                } else {
                    say(&format!("{}  {fault}", terminal.paint(Tone::Bad, "NOT VALID")));
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }

    fn trust(&self) -> miette::Result<Trust> {
        let log = LogVerifier::parse(&key_line(&self.key)?).into_diagnostic().wrap_err("--key")?;
        let witnesses = self.witness.iter().map(|key| {
            WitnessKey::parse(&key_line(key)?)
                .into_diagnostic()
                .wrap_err("--witness: not the key of a witness")
        });
        let witnesses = witnesses.collect::<miette::Result<Vec<_>>>()?;
        let quorum = self.quorum.unwrap_or(witnesses.len());
        Ok(Trust { log, witnesses, quorum })
    }
}

/// Returns the line itself, or the first line of the file of this name.
fn key_line(given: &str) -> miette::Result<String> {
    if given.contains('+') {
        return Ok(given.to_owned());
    }
    let text = std::fs::read_to_string(Path::new(given))
        .into_diagnostic()
        .wrap_err_with(|| format!("`{given}` is neither a key line nor a file that can be read"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn judge(bytes: &[u8], trust: &Trust, opened: &[Opened]) -> Result<(Receipt, Verified), String> {
    let receipt = Receipt::parse(bytes).map_err(|fault| fault.to_string())?;
    let verified = receipt.verify(trust, opened).map_err(|fault| fault.to_string())?;
    Ok((receipt, verified))
}

fn words(names: &[LeafName]) -> String {
    let words: Vec<_> = names.iter().map(|name| name.word()).collect();
    words.join(", ")
}

fn render(receipt: &Receipt, verified: &Verified, terminal: Terminal) -> String {
    let answer = receipt.answer();
    let came_out = match answer.consent_withdrawn {
        true => "it was refused: the driver had taken back the consent".to_owned(),
        false => format!("the answer was: {}", answer.decision),
    };
    let mut lines = vec![format!(
        "{}  on {} {} asked ({}), and {came_out}",
        terminal.paint(Tone::Good, "VALID"),
        answer.at,
        answer.partner.as_str(),
        answer.purpose,
    )];
    for criterion in answer.criteria.iter() {
        let reason = criterion.reason.map_or(String::new(), |reason| format!(" ({reason})"));
        lines.push(format!("  {}: {}{reason}", criterion.kind, criterion.outcome));
    }
    let basis = answer.ground.map_or_else(
        || format!("shown by the driver ({})", answer.authorised_by),
        |ground| format!("ground {ground}"),
    );
    lines.push(format!("  {basis}, policy {}", answer.policy_version));
    lines.push(format!("  known: all that was recorded by {}", answer.known_at));
    lines.push(format!(
        "  entry {} of the log {}, signed when it had {}",
        receipt.index(),
        verified.origin,
        verified.tree_size
    ));
    for seen in &verified.cosignatures {
        lines.push(format!("  seen by {} on {}", seen.witness, seen.at));
    }
    if !verified.matched.is_empty() {
        lines.push(format!("  shown, and as on record: {}", words(&verified.matched)));
    }
    if !verified.closed.is_empty() {
        lines.push(format!("  on record, not shown: {}", words(&verified.closed)));
    }
    if receipt.leaves().iter().all(|leaf| leaf.salt.is_none() && leaf.hash.is_none()) {
        lines.push("  nothing can be opened: the driver's record was erased before it was issued".to_owned());
    }
    lines.join("\n")
}

fn in_json(receipt: &Receipt, verified: &Verified) -> serde_json::Value {
    let answer = receipt.answer();
    let criteria: Vec<_> = answer
        .criteria
        .iter()
        .map(|criterion| {
            json!({ "kind": criterion.kind, "outcome": criterion.outcome, "reason": criterion.reason })
        })
        .collect();
    let seen = |seen: &crate::audit::receipt::Cosignature| json!({ "witness": seen.witness, "at": seen.at });
    json!({
        "valid": true,
        "origin": verified.origin,
        "index": receipt.index(),
        "tree_size": verified.tree_size,
        "cosignatures": verified.cosignatures.iter().map(seen).collect::<Vec<_>>(),
        "at": answer.at,
        "partner": answer.partner.as_str(),
        "purpose": answer.purpose,
        "ground": answer.ground,
        "authorised_by": answer.authorised_by,
        "consent_withdrawn": answer.consent_withdrawn,
        "decision": answer.decision,
        "criteria": criteria,
        "charged": answer.charged,
        "known_at": answer.known_at,
        "policy_version": answer.policy_version,
        "case_category": answer.case_category,
        "matched": verified.matched,
        "closed": verified.closed,
        "root_checked": verified.root_checked,
    })
}
