//! `drivegate check`: everything that is wrong with a deployment, without starting it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use miette::IntoDiagnostic as _;
use serde::Serialize;

use super::terminal::{Terminal, Tone, say};
use crate::app::{SystemClock, identity_files, look_at_redis, look_at_token_keys, postgres_options};
use crate::config::GatewayConfig;
use crate::config::postgres::PostgresConfig;
use crate::identity::{Identity, StandingBook, Trust, error_chain};
use crate::registry::embedded::STORE_FILE;
use crate::registry::{KeyFault, PostgresRegistry, RegistryKeys};

/// Checks a configuration and the files it names, without starting the gateway: certificates, keys, revocation lists,
/// contracts, standing records, the registry's keys, the folders.
///
/// Changes nothing, and may run beside a gateway. Exit code 0: a gateway would start; 1: it would not.
#[derive(Debug, Args)]
pub struct CheckCommand {
    /// The configuration, as `drivegate init` writes it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

impl CheckCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Only when the findings cannot be written; what is wrong is a finding.
    pub fn run(self) -> miette::Result<ExitCode> {
        let findings = check(&self.config);
        if self.json {
            say(&serde_json::to_string_pretty(&findings).into_diagnostic()?);
        } else {
            print(&findings);
        }
        let stops = findings.iter().any(|finding| finding.severity == Severity::Error);
        Ok(if stops { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Whether a gateway would start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// As it should be.
    Ok,
    /// A gateway starts, and is degraded.
    Warning,
    /// A gateway does not start.
    Error,
}

/// One part that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    part: &'static str,
    severity: Severity,
    message: String,
}

fn check(path: &Path) -> Vec<Finding> {
    let config = match GatewayConfig::read(path) {
        Ok(config) => config,
        Err(error) => return vec![wrong("configuration", &error)],
    };
    let mut findings = vec![fine("configuration", path.display().to_string())];
    findings.extend(check_identity(&config));
    findings.push(check_registry(&config));
    findings.push(check_presentations(&config));
    findings.extend(config.cache.redis.as_ref().map(|redis| match look_at_redis(redis) {
        Ok(told) => fine("redis", told),
        Err(error) => wrong("redis", &error),
    }));
    findings.push(check_folder("evidence", &config.evidence.folder));
    if config.listen.admin.ip().is_unspecified() || !config.listen.admin.ip().is_loopback() {
        findings.push(Finding {
            part: "listen.admin",
            severity: Severity::Warning,
            message: "the operator's pages are not on loopback: metrics and reflection become reachable"
                .to_owned(),
        });
    }
    findings
}

fn check_identity(config: &GatewayConfig) -> Vec<Finding> {
    let files = identity_files(config);
    let clock = Arc::new(SystemClock);
    if let Err(error) = Trust::open(files.trust.clone(), clock.clone()) {
        return vec![wrong("tls", &error)];
    }
    let identity = match Identity::look(files, clock) {
        Ok(identity) => identity,
        Err(error) => return vec![wrong("partners", &error)],
    };
    let mut findings: Vec<_> = identity
        .faults()
        .into_iter()
        .map(|message| Finding { part: "identity", severity: Severity::Warning, message })
        .collect();
    let trust = identity.trust();
    findings.push(fine(
        "tls",
        format!(
            "server certificate until {}, revocation lists until {}",
            trust.server_certificate_expires_at(),
            trust.revocation_lists_expire_at()
        ),
    ));
    let contracts = identity.roster().contracts();
    findings.push(fine("partners", format!("{} contracts", contracts.len())));
    findings.push(check_standing(&config.partners.standing, identity.standing()));
    findings
}

fn check_standing(folder: &Path, book: &StandingBook) -> Finding {
    let writable = check_folder("standing", folder);
    match (writable.severity, folder.exists()) {
        (Severity::Ok, true) => fine("standing", format!("{} records", book.list().len())),
        (Severity::Ok, false) => fine("standing", "no records yet".to_owned()),
        _ => writable,
    }
}

fn check_registry(config: &GatewayConfig) -> Finding {
    if let Some(postgres) = &config.registry.postgres {
        return check_postgres(config, postgres);
    }
    let store = config.registry.folder.join(STORE_FILE);
    match (config.registry.keys.exists(), store.exists()) {
        (false, false) => fine("registry", "none yet: it is made at the first start".to_owned()),
        _ => match RegistryKeys::load(&config.registry.keys) {
            Ok(_) => fine("registry", store.display().to_string()),
            Err(error) => wrong("registry", &error),
        },
    }
}

fn check_presentations(config: &GatewayConfig) -> Finding {
    let part = "presentations";
    match look_at_token_keys(&config.presentations) {
        Ok(true) => fine(part, format!("sealed with {}", config.presentations.qr_key.display())),
        Ok(false) if config.registry.postgres.is_none() => {
            fine(part, "no keys yet: they are made at the first start".to_owned())
        }
        Ok(false) => Finding {
            part,
            severity: Severity::Warning,
            message: "no keys yet: they are made at the first start, and every replica needs the same files"
                .to_owned(),
        },
        Err(error) => wrong(part, &error),
    }
}

/// Looks into the database: whether it is there, holds a registry, and these keys are its own.
fn check_postgres(config: &GatewayConfig, postgres: &PostgresConfig) -> Finding {
    let options = match postgres_options(postgres) {
        Ok(options) => options,
        Err(error) => return wrong("registry", &error),
    };
    if !config.registry.keys.exists() {
        return match PostgresRegistry::exists(&options) {
            Ok(false) => fine("registry", "none yet on PostgreSQL: it is made at the first start".to_owned()),
            Ok(true) => wrong("registry", &KeyFault::Missing(config.registry.keys.clone())),
            Err(error) => wrong("registry", &error),
        };
    }
    let keys = match RegistryKeys::load(&config.registry.keys) {
        Ok(keys) => keys,
        Err(error) => return wrong("registry", &error),
    };
    match PostgresRegistry::inspect(&options, &keys) {
        Ok(Some(partitions)) => fine("registry", format!("on PostgreSQL, in {partitions} partitions")),
        Ok(None) => fine("registry", "none yet on PostgreSQL: it is made at the first start".to_owned()),
        Err(error) => wrong("registry", &error),
    }
}

/// Says whether the folder, or the nearest one above it, lets us write.
fn check_folder(part: &'static str, folder: &Path) -> Finding {
    let nearest = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    match rustix::fs::access(nearest, rustix::fs::Access::WRITE_OK) {
        Ok(()) => fine(part, folder.display().to_string()),
        Err(error) => wrong(part, &std::io::Error::from(error)),
    }
}

fn fine(part: &'static str, message: String) -> Finding {
    Finding { part, severity: Severity::Ok, message }
}

fn wrong(part: &'static str, error: &dyn std::error::Error) -> Finding {
    let message = error_chain(error);
    Finding { part, severity: Severity::Error, message }
}

fn print(findings: &[Finding]) {
    let terminal = Terminal::detect();
    for finding in findings {
        let mark = match finding.severity {
            Severity::Ok => terminal.paint(Tone::Good, "ok     "),
            Severity::Warning => terminal.paint(Tone::Doubt, "warning"),
            Severity::Error => terminal.paint(Tone::Bad, "error  "),
        };
        say(&format!("{mark}  {:<14} {}", finding.part, finding.message));
    }
}
