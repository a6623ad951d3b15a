//! `drivegate pki`: makes development certificates and revocation lists.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use miette::IntoDiagnostic as _;

use crate::app::SystemClock;
use crate::config::hex;
use crate::domain::time::Clock as _;
use crate::identity::pki::{CA_CERTIFICATE, CRL, DevelopmentCa, Existing, Issued, PkiError, serial_of};

/// Makes development certificates and revocation lists.
///
/// The authority keeps its key in a file and asks nobody: for development, tests and sandboxes, not for production.
#[derive(Debug, Args)]
pub struct PkiCommand {
    #[command(subcommand)]
    action: PkiAction,
}

#[derive(Debug, Subcommand)]
enum PkiAction {
    Ca(CaArgs),
    Issue(IssueArgs),
    Revoke(RevokeArgs),
    Crl(CrlArgs),
}

/// Makes an authority in a folder: ca.pem, ca.key, ca.toml, and an empty crl.pem.
#[derive(Debug, Args)]
struct CaArgs {
    /// The folder; made if absent.
    dir: PathBuf,
    /// Days until the first revocation list expires.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    crl_days: u16,
    /// Replace an authority that is there; every certificate it issued becomes useless.
    #[arg(long)]
    force: bool,
}

/// Issues a certificate with a new key: NAME.pem and NAME.key (mode 0600) beside the authority.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    drivegate pki issue --dir pki --name rental-demo --uri spiffe://drivegate.demo/rental-demo\n  \
    drivegate pki issue --dir pki --name server --server --host localhost --host 127.0.0.1")]
struct IssueArgs {
    /// The authority's folder.
    #[arg(long)]
    dir: PathBuf,
    /// The files' name, and the common name (which identifies nobody).
    #[arg(long)]
    name: String,
    /// The URI a partner's contract lists.
    #[arg(long, conflicts_with = "server")]
    uri: Option<String>,
    /// Issue a server certificate instead of a partner's.
    #[arg(long, requires = "host")]
    server: bool,
    /// A host name or address of the server; may be repeated.
    #[arg(long, requires = "server")]
    host: Vec<String>,
    /// Days until it expires.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

/// Revokes a certificate and publishes the list. A running gateway refuses it within a second, on open connections too.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["cert", "serial"])))]
struct RevokeArgs {
    /// The authority's folder.
    #[arg(long)]
    dir: PathBuf,
    /// The certificate's file.
    #[arg(long)]
    cert: Option<PathBuf>,
    /// Its serial number, in hexadecimal.
    #[arg(long)]
    serial: Option<String>,
    /// Days until the new list expires.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
}

/// Publishes a fresh revocation list with a higher number, before the one in force expires.
#[derive(Debug, Args)]
struct CrlArgs {
    /// The authority's folder.
    #[arg(long)]
    dir: PathBuf,
    /// Days until the list expires.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
}

impl PkiCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        let lines = match self.action {
            PkiAction::Ca(args) => args.run(),
            PkiAction::Issue(args) => args.run(),
            PkiAction::Revoke(args) => args.run(),
            PkiAction::Crl(args) => args.run(),
        }
        .map_err(|error| told(&error))?;
        let mut out = std::io::stdout().lock();
        lines.iter().try_for_each(|line| writeln!(out, "{line}")).into_diagnostic()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl CaArgs {
    fn run(&self) -> Result<Vec<String>, PkiError> {
        DevelopmentCa::create(&self.dir, self.crl_days, SystemClock.now(), existing(self.force))?;
        Ok(vec![
            format!("certificate  {}", self.dir.join(CA_CERTIFICATE).display()),
            format!("crl          {}", self.dir.join(CRL).display()),
        ])
    }
}

impl IssueArgs {
    fn run(&self) -> Result<Vec<String>, PkiError> {
        let mut authority = DevelopmentCa::load(&self.dir)?;
        let now = SystemClock.now();
        let issued = if self.server {
            authority.issue_server(&self.name, &self.host, self.days, now)?
        } else {
            authority.issue_client(&self.name, self.uri.as_deref(), self.days, now)?
        };
        let files = issued.write(&self.dir, &self.name, existing(self.force))?;
        Ok(described(&issued, &files.certificate, &files.key))
    }
}

impl RevokeArgs {
    fn run(&self) -> Result<Vec<String>, PkiError> {
        let serial = match (&self.cert, &self.serial) {
            (Some(file), _) => serial_of(file)?,
            (None, serial) => serial.clone().unwrap_or_default(),
        };
        let mut authority = DevelopmentCa::load(&self.dir)?;
        let now = SystemClock.now();
        authority.revoke(&serial, now)?;
        authority.publish_crl(self.days, now)?;
        Ok(vec![format!("revoked  {serial}"), published(&self.dir, &authority)])
    }
}

impl CrlArgs {
    fn run(&self) -> Result<Vec<String>, PkiError> {
        let mut authority = DevelopmentCa::load(&self.dir)?;
        authority.publish_crl(self.days, SystemClock.now())?;
        Ok(vec![published(&self.dir, &authority)])
    }
}

fn described(issued: &Issued, certificate: &Path, key: &Path) -> Vec<String> {
    vec![
        format!("certificate  {}", certificate.display()),
        format!("key          {}", key.display()),
        format!("serial       {}", issued.serial),
        format!("spki_sha256  {}", hex(&issued.spki_sha256)),
        format!("not_after    {}", issued.not_after),
    ]
}

fn published(dir: &Path, authority: &DevelopmentCa) -> String {
    format!("crl      {} number {}", dir.join(CRL).display(), authority.crl_number())
}

fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

/// Adds what to do next to an error.
fn told(error: &PkiError) -> miette::Report {
    let next = match error {
        PkiError::Exists { .. } => "pass --force to replace it, or choose another folder or name",
        PkiError::File { doing: "read", .. } => {
            "make an authority first: drivegate pki ca DIR; or check the path"
        }
        PkiError::NotIssuedHere { .. } => "check that --dir is the folder of the authority that issued it",
        PkiError::State { .. } => "mend ca.toml by hand, or make a new authority with --force",
        _ => "see drivegate pki --help",
    };
    let text = crate::identity::error_chain(error);
    miette::miette!(help = next, "{text}")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Shell {
        #[command(flatten)]
        command: PkiCommand,
    }

    fn run(line: &str) -> Result<(), String> {
        let shell = Shell::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        shell.command.run().map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn an_authority_lives_its_life_on_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display();
        run(&format!("pki ca {dir}")).unwrap();
        let again = run(&format!("pki ca {dir}")).unwrap_err();
        assert!(again.contains("--force"), "{again}");
        run(&format!("pki issue --dir {dir} --name one --uri urn:one")).unwrap();
        run(&format!("pki issue --dir {dir} --name server --server --host localhost")).unwrap();
        run(&format!("pki revoke --dir {dir} --cert {dir}/one.pem")).unwrap();
        run(&format!("pki crl --dir {dir} --days 5")).unwrap();
        assert_eq!(DevelopmentCa::load(folder.path()).unwrap().crl_number(), 3);
        assert!(run(&format!("pki issue --dir {dir} --name x --server")).is_err(), "a server has a host");
        assert!(run(&format!("pki revoke --dir {dir}")).is_err(), "revoke what?");
    }
}
