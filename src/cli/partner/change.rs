//! `partner add` and `rotate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use jiff::{ToSpan as _, civil::Date};
use miette::IntoDiagnostic as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Deployment, told};
use crate::app::SystemClock;
use crate::cli::terminal::say;
use crate::config::partner::{self, PartnerFile};
use crate::domain::partner::{ClaimTerms, Contract, PartnerId, PartnerKind, PeerName};
use crate::domain::standing::KeyPin;
use crate::domain::time::{Clock as _, civil_day, end_of, start_of};
use crate::identity::{Existing, identify, write_file};

/// Writes a new contract with the terms its kind usually gets, for you to narrow in an editor.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("names").required(true).multiple(true).args(["uri", "cert", "pin"])))]
pub(super) struct AddArgs {
    /// The partner's id: a-z, 0-9 and '-'.
    partner: PartnerId,
    #[command(flatten)]
    deployment: Deployment,
    /// insurer, rental, recruiter, transport, enforcement, wallet or authority.
    #[arg(long)]
    kind: PartnerKind,
    /// The name drivers see in full.
    #[arg(long)]
    legal_name: String,
    /// The name drivers see in short.
    #[arg(long)]
    display_name: String,
    /// Whom operators call.
    #[arg(long)]
    contact: String,
    /// The URI its certificates carry.
    #[arg(long)]
    uri: Option<String>,
    /// Pin the key of this certificate.
    #[arg(long)]
    cert: Option<PathBuf>,
    /// Pin this key: SHA-256 of the public key, in hexadecimal.
    #[arg(long, conflicts_with = "cert")]
    pin: Option<KeyPin>,
    /// First day; today if not given.
    #[arg(long)]
    from: Option<Date>,
    /// Last day, inclusive; a year from the first if not given.
    #[arg(long)]
    until: Option<Date>,
    /// Replace a contract that is there.
    #[arg(long)]
    force: bool,
}

/// Changes a partner's pinned key without a gap: add the new key, wait until the partner uses it, remove the old one.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").required(true).args(["add_cert", "add_pin", "remove_cert", "remove_pin"])))]
pub(super) struct RotateArgs {
    /// The partner's id.
    partner: PartnerId,
    #[command(flatten)]
    deployment: Deployment,
    /// Add the key of this certificate.
    #[arg(long)]
    add_cert: Option<PathBuf>,
    /// Add this key: SHA-256 of the public key, in hexadecimal.
    #[arg(long)]
    add_pin: Option<KeyPin>,
    /// Remove the key of this certificate.
    #[arg(long)]
    remove_cert: Option<PathBuf>,
    /// Remove this key.
    #[arg(long)]
    remove_pin: Option<KeyPin>,
}

impl AddArgs {
    pub(super) fn run(&self) -> miette::Result<ExitCode> {
        let places = self.deployment.places()?;
        let path = places.contract(&self.partner);
        let text = partner::render(&self.contract()?);
        // What the command line brought must hold as a file too.
        partner::parse(&text).map_err(|fault| told(&fault, "correct the arguments; nothing was written"))?;
        std::fs::create_dir_all(&places.partners).into_diagnostic()?;
        let existing = if self.force { Existing::Replace } else { Existing::Keep };
        save(&path, &text, existing)?;
        say(&format!("{} written; narrow its purposes and allowance in an editor", path.display()));
        Ok(ExitCode::SUCCESS)
    }

    fn contract(&self) -> miette::Result<PartnerFile> {
        let from = self.from.unwrap_or_else(|| civil_day(SystemClock.now()));
        let until = self.until.unwrap_or_else(|| from.saturating_add(1.year()).saturating_sub(1.day()));
        let pinned = match (&self.cert, self.pin) {
            (Some(file), _) => Some(pin_of(file)?),
            (None, pin) => pin,
        };
        let uri = self.uri.clone().map(PeerName::SanUri);
        let contract = Contract {
            partner: self.partner.clone(),
            legal_name: self.legal_name.clone(),
            display_name: self.display_name.clone(),
            kind: self.kind,
            identities: uri.into_iter().chain(pinned.map(|pin| PeerName::SpkiSha256(pin.0))).collect(),
            purposes: partner::terms_for(self.kind),
            presentations_only: false,
            allowance: partner::usual_allowance(),
            claims: ClaimTerms::usual(self.kind),
            starts_at: start_of(from),
            ends_at: end_of(until),
            contact: self.contact.clone(),
        };
        Ok(PartnerFile { contract, suspended: false })
    }
}

impl RotateArgs {
    pub(super) fn run(&self) -> miette::Result<ExitCode> {
        let path = self.deployment.places()?.contract(&self.partner);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| miette::miette!("cannot read {}: {error}", path.display()))?;
        let given = |file: &Option<PathBuf>, pin: Option<KeyPin>| match file {
            Some(file) => pin_of(file).map(Some),
            None => Ok(pin),
        };
        let add = given(&self.add_cert, self.add_pin)?;
        let remove = given(&self.remove_cert, self.remove_pin)?;
        let (changed, what) = match (add, remove) {
            (Some(pin), _) => (partner::add_pin(&text, pin.0), format!("added {pin}")),
            (None, Some(pin)) => (partner::remove_pin(&text, pin.0), format!("removed {pin}")),
            (None, None) => return Ok(ExitCode::SUCCESS),
        };
        let next = "drivegate partner show lists the keys; two may stand side by side";
        save(&path, &changed.map_err(|error| told(&error, next))?, Existing::Replace)?;
        say(&format!("{}: {what}", path.display()));
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn pin_of(file: &Path) -> miette::Result<KeyPin> {
    let unusable =
        || miette::miette!(help = "pass a certificate in PEM", "{} holds no certificate", file.display());
    let der = CertificateDer::from_pem_file(file).map_err(|_| unusable())?;
    Ok(KeyPin(identify(&[der]).map_err(|_| unusable())?.spki_sha256))
}

fn save(path: &Path, text: &str, existing: Existing) -> miette::Result<()> {
    write_file(path, text.as_bytes(), existing).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            miette::miette!(help = "pass --force to replace it", "{} is already there", path.display())
        }
        _ => miette::miette!("cannot write {}: {error}", path.display()),
    })
}
