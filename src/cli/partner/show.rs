//! `partner list` and `partner show`.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use comfy_table::{Cell, Color, Table, presets};
use jiff::{Timestamp, ToSpan as _};
use miette::IntoDiagnostic as _;
use serde_json::{Value, json};

use super::records::Records;
use super::{Deployment, told};
use crate::admin::report::{StandingPlace, SuspensionLine};
use crate::app::SystemClock;
use crate::config::hex;
use crate::config::partner::{self, PartnerFile};
use crate::domain::partner::{PartnerId, PeerName, Standing};
use crate::domain::standing::StandingOf;
use crate::domain::time::{Clock as _, civil_day};
use crate::identity::StandingRecord;

/// Lists partners with their standing.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    deployment: Deployment,
    /// Print JSON, for machines.
    #[arg(long)]
    json: bool,
}

/// Shows a partner's contract and standing.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The partner's id.
    partner: PartnerId,
    #[command(flatten)]
    deployment: Deployment,
    /// Print JSON, for machines.
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(super) fn run(&self) -> miette::Result<ExitCode> {
        let places = self.deployment.places()?;
        let records = Records::read(&places)?;
        let (files, mut faults) = contracts(&places.partners)?;
        faults.extend(records.fault.clone());
        let now = SystemClock.now();
        let rows: Vec<_> = files.iter().map(|file| (file, standing(file, &records, now))).collect();
        let keys = records.denied_keys();
        let mut out = std::io::stdout().lock();
        if self.json {
            let partners: Vec<Value> =
                rows.iter().map(|(file, standing)| brief(file, *standing, &records)).collect();
            let keys: Vec<Value> = keys
                .iter()
                .map(|(pin, denials)| json!({ "pin": pin.to_string(), "denials": denials }))
                .collect();
            let listed = json!({ "partners": partners, "denied_keys": keys, "faults": faults });
            writeln!(out, "{listed:#}").into_diagnostic()?;
        } else {
            writeln!(out, "{}", table(&rows)).into_diagnostic()?;
            for (file, _) in &rows {
                let whom = &file.contract.partner;
                for line in records.suspensions(file) {
                    writeln!(out, "{whom} is suspended by {}", said(&line)).into_diagnostic()?;
                }
                for line in records.claim_suspensions(file) {
                    writeln!(out, "{whom}: claims are suspended by {}", said(&line)).into_diagnostic()?;
                }
            }
            for (pin, denials) in &keys {
                for line in denials {
                    writeln!(out, "the key {pin} is denied by {}", said(line)).into_diagnostic()?;
                }
            }
            faults.iter().try_for_each(|fault| writeln!(out, "cannot use {fault}")).into_diagnostic()?;
        }
        // A file nobody can read is worth a script's attention.
        Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl ShowArgs {
    pub(super) fn run(&self) -> miette::Result<ExitCode> {
        let places = self.deployment.places()?;
        let file = partner::read(&places.contract(&self.partner))
            .map_err(|error| told(&error, "drivegate partner list shows the partners of a deployment"))?;
        let records = Records::read(&places)?;
        let of = StandingOf::Partner(self.partner.clone());
        let standing = standing(&file, &records, SystemClock.now());
        let mut out = std::io::stdout().lock();
        if self.json {
            let mut value = brief(&file, standing, &records);
            value["contract_toml"] = Value::from(partner::render(&file));
            value["standing_record"] = json!(records.here.get(&of));
            value["shared_standing_record"] = json!(records.shared.get(&of));
            value["fault"] = json!(records.fault);
            writeln!(out, "{value:#}").into_diagnostic()?;
        } else {
            write!(out, "{}", partner::render(&file)).into_diagnostic()?;
            writeln!(out, "\n# standing: {}", word(standing)).into_diagnostic()?;
            for line in records.claim_suspensions(&file) {
                writeln!(out, "# claims are suspended by {}", said(&line)).into_diagnostic()?;
            }
            for (place, record) in [
                (StandingPlace::ThisReplica, records.here.get(&of)),
                (StandingPlace::Shared, records.shared.get(&of)),
            ] {
                let Some(StandingRecord { state, since, by, reason }) = record else { continue };
                writeln!(out, "# {}: {state} since {since} by {by}: {reason}", place.said())
                    .into_diagnostic()?;
            }
            if let Some(fault) = &records.fault {
                writeln!(out, "# {fault}").into_diagnostic()?;
            }
        }
        // What could not be read may speak against it.
        Ok(if records.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn said(line: &SuspensionLine) -> String {
    let mut text = line.place.said().to_owned();
    let about = [("since", &line.since), ("by", &line.by), ("because:", &line.reason)];
    for (what, value) in about.into_iter().filter_map(|(what, value)| Some((what, value.as_ref()?))) {
        text.push_str(&format!(" {what} {value}"));
    }
    text
}

fn contracts(folder: &Path) -> miette::Result<(Vec<PartnerFile>, Vec<String>)> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        let next = "pass --dir with a deployment folder, as drivegate init makes it";
        miette::miette!(help = next, "cannot read {}: {error}", folder.display())
    })?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| crate::identity::is_toml(path));
    paths.sort();
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        match partner::read(&path) {
            Ok(file) => files.push(file),
            Err(error) => faults.push(error.to_string()),
        }
    }
    Ok((files, faults))
}

/// As the gateway judges it, but for the certificate, which only a connection shows.
fn standing(file: &PartnerFile, records: &Records, now: Timestamp) -> Standing {
    if !records.suspensions(file).is_empty() {
        Standing::Suspended
    } else if now < file.contract.starts_at || now >= file.contract.ends_at {
        Standing::ContractNotInForce
    } else {
        Standing::Active
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Suspended => "suspended",
        Standing::ContractNotInForce => "contract-not-in-force",
        Standing::NotListed => "not-listed",
        Standing::CertificateNotAccepted => "certificate-not-accepted",
        Standing::ClaimsSuspended => "claims-suspended",
        Standing::NotKnown => "not-known",
    }
}

fn colour(standing: Standing) -> Color {
    match standing {
        Standing::Active => Color::Green,
        Standing::ContractNotInForce | Standing::ClaimsSuspended | Standing::NotKnown => Color::Yellow,
        Standing::Suspended | Standing::NotListed | Standing::CertificateNotAccepted => Color::Red,
    }
}

fn brief(file: &PartnerFile, standing: Standing, records: &Records) -> Value {
    let contract = &file.contract;
    json!({
        "id": contract.partner.as_str(),
        "display_name": contract.display_name,
        "kind": contract.kind.word(),
        "standing": word(standing),
        "suspensions": records.suspensions(file),
        "claim_suspensions": records.claim_suspensions(file),
        "from": civil_day(contract.starts_at).to_string(),
        "until": last_day(contract.ends_at),
        "purposes": contract.purposes.iter().map(|terms| terms.purpose.word()).collect::<Vec<_>>(),
        "identities": contract.identities.iter().map(identity).collect::<Vec<_>>(),
    })
}

fn identity(name: &PeerName) -> Value {
    match name {
        PeerName::SanUri(uri) => json!({ "san_uri": uri }),
        PeerName::SpkiSha256(pin) => json!({ "spki_sha256": hex(pin) }),
    }
}

fn last_day(ends_at: Timestamp) -> String {
    civil_day(ends_at.saturating_sub(1.nanosecond()).unwrap_or(ends_at)).to_string()
}

/// Colours are for people: none when the output is a file or a pipe, or when `NO_COLOR` asks for none.
fn table(rows: &[(&PartnerFile, Standing)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    if !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        table.force_no_tty();
    }
    table.set_header(["partner", "name", "kind", "standing", "until", "recognised by"]);
    for (file, standing) in rows {
        let contract = &file.contract;
        let uris: Vec<&str> = contract
            .identities
            .iter()
            .filter_map(|name| match name {
                PeerName::SanUri(uri) => Some(uri.as_str()),
                PeerName::SpkiSha256(_) => None,
            })
            .collect();
        let pins = contract.identities.len() - uris.len();
        let mut recognised = uris.join("\n");
        if pins > 0 {
            recognised.push_str(if recognised.is_empty() { "" } else { "\n" });
            recognised.push_str(&format!("{pins} pinned key{}", if pins == 1 { "" } else { "s" }));
        }
        table.add_row([
            Cell::new(&contract.partner),
            Cell::new(&contract.display_name),
            Cell::new(contract.kind),
            Cell::new(word(*standing)).fg(colour(*standing)),
            Cell::new(last_day(contract.ends_at)),
            Cell::new(recognised),
        ]);
    }
    table
}
