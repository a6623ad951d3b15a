//! The stage: a deployment of its own in a temporary folder, and a gateway that serves it on loopback.
//!
//! The gateway runs in this process; the clients of the demo have nothing of it but a network address and their
//! certificates, and the operator nothing but its socket.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::admin::client::AdminClient;
use crate::admin::report::StandingOrder;
use crate::app::RunningGateway;
use crate::cli::init::{InitOptions, write_deployment};
use crate::cli::verify::connection::{Credentials, Target};
use crate::config::GatewayConfig;
use crate::domain::time::civil_day;
use crate::identity::client::ClientTls;
use crate::identity::pki::{DevelopmentCa, Existing};
use crate::registry::generator::{Population, fixed_drivers};
use crate::registry::postgres::TemporarySchema;
use crate::registry::store::wait;
use crate::registry::{LicenceStore, NewSubject, Outcome, Submission};

/// Synthetic drivers beside the fixed test drivers.
const DRIVERS: usize = 10_000;
/// The seed of the synthetic drivers: everybody's demo shows the same.
const SEED: u64 = 1;
/// Drivers made durable together.
const BATCH: usize = 2_000;
/// Certificates of the demo's strangers last a day.
const CERTIFICATE_DAYS: u16 = 1;
/// Any free port on loopback.
const FREE_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

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
    gateway: Option<RunningGateway>,
    address: SocketAddr,
    /// Removed after the gateway has stopped.
    _schema: Option<TemporarySchema>,
}

/// The stage's own certificates, beside those of the partners.
const STRANGER: &str = "stranger";
const REVOKED: &str = "revoked";

impl Stage {
    /// Writes the deployment, fills the registry, starts the gateway.
    ///
    /// # Errors
    /// Says which step failed.
    pub fn set(redis: Option<&str>, postgres: Option<&str>, now: Timestamp) -> miette::Result<Self> {
        let folder = tempfile::Builder::new().prefix("drivegate-demo-").tempdir().into_diagnostic()?;
        let dir = folder.path().join("demo");
        let schema = postgres.map(TemporarySchema::create).transpose().into_diagnostic()?;
        let options = InitOptions {
            redis_url: redis.map(str::to_owned),
            postgres_url: schema.as_ref().map(TemporarySchema::url),
            ..InitOptions::default()
        };
        write_deployment(&dir, &options, now).wrap_err("cannot write the demo's deployment")?;
        issue_odd_certificates(&dir, now)?;
        let gateway = start(&dir, Memory::AsConfigured)?;
        let address = gateway.partner_addr();
        let stage = Self { dir, _folder: folder, gateway: Some(gateway), address, _schema: schema };
        if let Some(gateway) = &stage.gateway {
            fill(gateway.registry().as_ref(), now)?;
        }
        Ok(stage)
    }

    /// Returns the deployment's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns where the gateway listens.
    pub fn target(&self) -> Target {
        Target::new(&self.address.to_string(), None)
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
    /// Says what the gateway said.
    pub fn suspend(&self, partner: &str) -> miette::Result<()> {
        self.operate(|operator| operator.suspend(partner, &StandingOrder::because("demo")).map(drop))
    }

    /// Lifts a suspension.
    ///
    /// # Errors
    /// Says what the gateway said.
    pub fn resume(&self, partner: &str) -> miette::Result<()> {
        self.operate(|operator| operator.resume(partner, &StandingOrder::because("demo")).map(drop))
    }

    fn operate(
        &self,
        operation: impl FnOnce(&AdminClient) -> Result<(), crate::admin::client::AdminClientError> + Send,
    ) -> miette::Result<()> {
        let socket = self.gateway.as_ref().map(RunningGateway::admin_socket);
        let socket = socket.ok_or_else(|| miette!("the gateway is not running"))?;
        aside(|| AdminClient::connect(socket).and_then(|operator| operation(&operator)))?.map_err(Into::into)
    }

    /// Starts the gateway anew, holding nothing in process: what is not in Redis is read from the registry.
    ///
    /// # Errors
    /// Says why it did not start.
    pub fn restart_without_memory(&mut self) -> miette::Result<()> {
        self.stop();
        let gateway = start(&self.dir, Memory::None)?;
        self.address = gateway.partner_addr();
        self.gateway = Some(gateway);
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            // A gateway that dies while it stops has told its log; the folder goes in any case.
            let _stopped = aside(|| gateway.stop());
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs something that blocks and owns runtimes on a thread of its own: it may not run inside the clients' runtime.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> miette::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join()).map_err(|_| miette!("a part of the stage failed"))
}

/// How much a gateway keeps in its own memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    AsConfigured,
    None,
}

fn start(dir: &Path, memory: Memory) -> miette::Result<RunningGateway> {
    let mut config = GatewayConfig::read(&dir.join("config.toml")).into_diagnostic()?;
    if memory == Memory::None {
        config.cache.in_process_mib = 0;
    }
    (config.listen.partners, config.listen.admin) = (FREE_PORT, FREE_PORT);
    aside(|| RunningGateway::start(&config))?.into_diagnostic().wrap_err("the gateway did not start")
}

/// Hands the synthetic drivers and the fixed test drivers to the registry.
fn fill(registry: &dyn LicenceStore, now: Timestamp) -> miette::Result<()> {
    let as_of = civil_day(now);
    let mut drivers = fixed_drivers(as_of).chain(Population::new(SEED, as_of).take(DRIVERS));
    loop {
        let batch: Vec<Submission> = drivers.by_ref().take(BATCH).map(NewSubject::into_submission).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let outcomes = wait(registry.apply(&batch)).into_diagnostic().wrap_err("cannot fill the registry")?;
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Rejected(_))) {
            return Err(miette!("the registry did not take a synthetic driver"));
        }
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
