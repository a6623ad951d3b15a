//! The stage: a deployment of its own in a temporary folder, and a gateway that serves it on loopback.
//!
//! The gateway is a child process started through the same commands an operator types, so that what is played is what is
//! shipped, and the clients of the demo have nothing but a network address and their certificates.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::verify::connection::{Credentials, Target};
use crate::identity::client::ClientTls;
use crate::identity::pki::{DevelopmentCa, Existing};

/// Synthetic drivers beside the fixed test drivers.
const DRIVERS: &str = "10000";
/// The seed of the synthetic drivers: everybody's demo shows the same.
const SEED: &str = "1";
/// Certificates of the demo's strangers last a day.
const CERTIFICATE_DAYS: u16 = 1;
/// The most of a failed command's words that is repeated.
const WORDS_MAX: u64 = 8 * 1024;

/// How a client proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// With the certificate of a partner of the deployment.
    Partner(&'static str),
    /// Without any.
    Nobody,
    /// With one that another authority issued.
    Stranger,
    /// With one that was revoked.
    Revoked,
}

/// A running deployment.
pub struct Stage {
    dir: PathBuf,
    _folder: tempfile::TempDir,
    gateway: Child,
    address: String,
}

/// The stage's own certificates, beside those of the partners.
const STRANGER: &str = "stranger";
const REVOKED: &str = "revoked";

impl Stage {
    /// Writes the deployment, fills the registry, starts the gateway.
    ///
    /// # Errors
    /// Says which step failed.
    pub fn set(redis: Option<&str>, now: Timestamp) -> miette::Result<Self> {
        let folder = tempfile::Builder::new().prefix("drivegate-demo-").tempdir().into_diagnostic()?;
        let dir = folder.path().join("demo");
        let mut init = vec!["init".to_owned(), text(&dir)];
        init.extend(redis.into_iter().flat_map(|url| ["--redis".to_owned(), url.to_owned()]));
        drivegate(&init).wrap_err("cannot write the demo's deployment")?;
        issue_odd_certificates(&dir, now)?;
        let generate = [
            "registry",
            "generate",
            "--count",
            DRIVERS,
            "--seed",
            SEED,
            "--with-test-drivers",
            "--into",
            &text(&dir),
        ];
        drivegate(&generate.map(str::to_owned)).wrap_err("cannot generate the demo's drivers")?;
        let (gateway, address) = serve(&dir)?;
        Ok(Self { dir, _folder: folder, gateway, address })
    }

    /// Returns the deployment's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns where the gateway listens.
    pub fn target(&self) -> Target {
        Target::new(&self.address, None)
    }

    /// Returns what a client trusts and who it is.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn tls(&self, face: Face) -> miette::Result<ClientTls> {
        let credentials = match face {
            Face::Partner(partner) => Credentials::of_partner(&self.dir, partner),
            Face::Nobody => Credentials { certificate: None, ..Credentials::of_partner(&self.dir, "") },
            Face::Stranger => Credentials::of_partner(&self.dir, STRANGER),
            Face::Revoked => Credentials::of_partner(&self.dir, REVOKED),
        };
        credentials.tls().into_diagnostic()
    }

    /// Suspends a partner as the operator does.
    ///
    /// # Errors
    /// Says what the command said.
    pub fn suspend(&self, partner: &str) -> miette::Result<()> {
        let line = ["partner", "suspend", partner, "--dir", &text(&self.dir), "--reason", "demo"];
        drivegate(&line.map(str::to_owned))
    }

    /// Lifts a suspension.
    ///
    /// # Errors
    /// Says what the command said.
    pub fn resume(&self, partner: &str) -> miette::Result<()> {
        drivegate(&["partner", "resume", partner, "--dir", &text(&self.dir)].map(str::to_owned))
    }

    /// Starts the gateway anew: what it held in process is gone, what Redis holds is not.
    ///
    /// # Errors
    /// Says why it did not start.
    pub fn restart(&mut self) -> miette::Result<()> {
        stop(&mut self.gateway);
        (self.gateway, self.address) = serve(&self.dir)?;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        stop(&mut self.gateway);
    }
}

/// Issues a certificate by another authority, and one that is revoked before the gateway starts.
fn issue_odd_certificates(dir: &Path, now: Timestamp) -> miette::Result<()> {
    let pki = dir.join("pki");
    let uri = |name: &str| format!("spiffe://sandbox.drivegate.example/partner/{name}");
    let mut stranger = DevelopmentCa::create(&dir.join("other-pki"), CERTIFICATE_DAYS, now, Existing::Keep)
        .into_diagnostic()?;
    let issued = stranger
        .issue_client(STRANGER, Some(&uri("rental-demo")), CERTIFICATE_DAYS, now)
        .into_diagnostic()?;
    issued.write(&pki, STRANGER, Existing::Keep).into_diagnostic()?;
    let mut authority = DevelopmentCa::load(&pki).into_diagnostic()?;
    let issued = authority
        .issue_client(REVOKED, Some(&uri("rental-demo")), CERTIFICATE_DAYS, now)
        .into_diagnostic()?;
    issued.write(&pki, REVOKED, Existing::Keep).into_diagnostic()?;
    authority.revoke(&issued.serial, now).into_diagnostic()?;
    authority.publish_crl(CERTIFICATE_DAYS, now).into_diagnostic()?;
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn program() -> miette::Result<Command> {
    Ok(Command::new(std::env::current_exe().into_diagnostic().wrap_err("cannot find this program")?))
}

/// Runs a command of this program to its end.
fn drivegate(arguments: &[String]) -> miette::Result<()> {
    let output = program()?
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .into_diagnostic()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(miette!("`drivegate {}` failed: {}", arguments.join(" "), words.trim()))
}

/// Starts the gateway and waits for its ready line.
fn serve(dir: &Path) -> miette::Result<(Child, String)> {
    let mut gateway = program()?
        .args(["serve", "--config", &text(&dir.join("config.toml"))])
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(dir.join("gateway.log")).into_diagnostic()?)
        .spawn()
        .into_diagnostic()?;
    let mut line = String::new();
    if let Some(stdout) = gateway.stdout.take() {
        BufReader::new(stdout.take(WORDS_MAX)).read_line(&mut line).into_diagnostic()?;
    }
    let ready = serde_json::from_str::<serde_json::Value>(&line).ok();
    match ready.as_ref().and_then(|ready| ready["partners"].as_str()) {
        Some(address) => Ok((gateway, address.to_owned())),
        None => {
            stop(&mut gateway);
            let log = std::fs::read_to_string(dir.join("gateway.log")).unwrap_or_default();
            Err(miette!("the gateway did not start: {}", log.trim()))
        }
    }
}

/// Lets the gateway drain, and waits for its end.
fn stop(gateway: &mut Child) {
    let pid = i32::try_from(gateway.id()).ok().and_then(Pid::from_raw);
    if let (Some(pid), Ok(None)) = (pid, gateway.try_wait()) {
        // A process that is gone needs no signal.
        let _sent = kill_process(pid, Signal::TERM);
    }
    let _status = gateway.wait();
}
