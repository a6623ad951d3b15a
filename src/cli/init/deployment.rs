//! The files of a sandbox deployment.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use miette::{Context as _, IntoDiagnostic as _};
use serde::Serialize;

use crate::domain::time::civil_day;
use crate::identity::pki::DevelopmentCa;
use crate::identity::{Existing, write_file, write_secret};

/// The partners of a sandbox: id and contract. `{from}` and `{until}` become dates.
pub const PARTNERS: [(&str, &str); 7] = [
    ("insurer-demo", include_str!("partners/insurer-demo.toml")),
    ("rental-demo", include_str!("partners/rental-demo.toml")),
    ("recruiter-demo", include_str!("partners/recruiter-demo.toml")),
    ("transport-demo", include_str!("partners/transport-demo.toml")),
    ("enforcement-demo", include_str!("partners/enforcement-demo.toml")),
    ("wallet-demo", include_str!("partners/wallet-demo.toml")),
    ("authority-demo", include_str!("partners/authority-demo.toml")),
];

/// Where the URL of the registry's database lies, in the data folder.
const POSTGRES_URL_FILE: &str = "postgres.url";
const CONFIG: &str = include_str!("config.toml");
/// Development certificates last so long: a sandbox is made anew more often.
const CERTIFICATE_DAYS: u16 = 90;
/// The development revocation list lasts as long as the certificates it is about.
const REVOCATION_LIST_DAYS: u16 = 90;

/// What a sandbox is made with.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Write over configuration, certificates and contracts.
    pub force: bool,
    /// What the server's certificate is for.
    pub hosts: Vec<String>,
    /// Redis as the second cache level.
    pub redis_url: Option<String>,
    /// The registry on PostgreSQL.
    pub postgres_url: Option<String>,
}

impl Default for InitOptions {
    fn default() -> Self {
        let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        Self { force: false, hosts, redis_url: None, postgres_url: None }
    }
}

/// A deployment that was written.
#[derive(Clone, Debug, Serialize)]
pub struct Deployment {
    /// The folder.
    pub dir: PathBuf,
    /// The gateway's configuration.
    pub config: PathBuf,
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The partners' ids.
    pub partners: Vec<String>,
}

impl Deployment {
    /// Says in a few lines what was written and what to do next.
    pub fn summary(&self) -> String {
        let dir = self.dir.display();
        format!(
            "Wrote a sandbox deployment to {dir}\n\
             \n  {dir}/config.toml       configuration of the gateway\
             \n  {dir}/pki/              development authority, server and partner certificates\
             \n  {dir}/partners/         {count} contracts: {partners}\
             \n\nNext:\
             \n  drivegate registry generate --count 10000 --seed 1 --into {dir}\
             \n  drivegate serve --config {dir}/config.toml",
            count = self.partners.len(),
            partners = self.partners.join(", "),
        )
    }
}

/// Writes configuration, certificates and contracts into a folder.
///
/// # Errors
/// Says which file stands in the way.
pub fn write_deployment(dir: &Path, options: &InitOptions, now: Timestamp) -> miette::Result<Deployment> {
    let existing = if options.force { Existing::Replace } else { Existing::Keep };
    let folder = |name: &str| -> miette::Result<PathBuf> {
        let path = dir.join(name);
        std::fs::create_dir_all(&path)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    };
    let config = dir.join("config.toml");
    refuse_existing(&config, existing)?;
    let (pki, partners) = (folder("pki")?, folder("partners")?);
    let data = folder("data")?;
    if let Some(url) = &options.postgres_url {
        // In a file of its own, mode 0600: it may hold a password.
        let path = data.join(POSTGRES_URL_FILE);
        write_secret(&path, url.as_bytes(), existing)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot write {}", path.display()))?;
    }
    write_certificates(&pki, options, existing, now)?;
    write_contracts(&partners, existing, now)?;
    // The configuration comes last: where it stands, everything it names stands too.
    write(&config, &config_text(options), existing)?;
    Ok(Deployment {
        dir: dir.to_owned(),
        config,
        authority: pki.join("ca.pem"),
        partners: PARTNERS.iter().map(|(id, _)| (*id).to_owned()).collect(),
    })
}

fn write_certificates(
    pki: &Path,
    options: &InitOptions,
    existing: Existing,
    now: Timestamp,
) -> miette::Result<()> {
    let mut authority = DevelopmentCa::create(pki, REVOCATION_LIST_DAYS, now, existing).into_diagnostic()?;
    let server = authority.issue_server("server", &options.hosts, CERTIFICATE_DAYS, now).into_diagnostic()?;
    server.write(pki, "server", existing).into_diagnostic()?;
    for (id, _) in PARTNERS {
        let uri = format!("spiffe://sandbox.drivegate.example/partner/{id}");
        let client = authority.issue_client(id, Some(&uri), CERTIFICATE_DAYS, now).into_diagnostic()?;
        client.write(pki, id, existing).into_diagnostic()?;
    }
    Ok(())
}

fn write_contracts(partners: &Path, existing: Existing, now: Timestamp) -> miette::Result<()> {
    let today = civil_day(now);
    let from = today.saturating_sub(jiff::Span::new().days(1));
    let until = today.saturating_add(jiff::Span::new().years(1));
    for (id, contract) in PARTNERS {
        let text = contract.replace("{from}", &from.to_string()).replace("{until}", &until.to_string());
        write(&partners.join(format!("{id}.toml")), &text, existing)?;
    }
    Ok(())
}

fn config_text(options: &InitOptions) -> String {
    let mut text = CONFIG.to_owned();
    if let Some(url) = &options.redis_url {
        // The last table of the file is [cache]: its sub-table may follow at once.
        text = format!("{text}\n[cache.redis]\nurl = {}\n", toml::Value::String(url.clone()));
    }
    if options.postgres_url.is_some() {
        text = format!("{text}\n[registry.postgres]\nurl_file = \"data/{POSTGRES_URL_FILE}\"\n");
    }
    text
}

fn refuse_existing(path: &Path, existing: Existing) -> miette::Result<()> {
    if existing == Existing::Keep && path.exists() {
        return Err(miette::miette!(
            help = "choose another folder, or pass --force to write over configuration, certificates and contracts",
            "{} is already there",
            path.display()
        ));
    }
    Ok(())
}

fn write(path: &Path, text: &str, existing: Existing) -> miette::Result<()> {
    write_file(path, text.as_bytes(), existing)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", path.display()))
}
