//! `drivegate init DIR`: a sandbox deployment, ready for `serve`.

mod deployment;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use miette::miette;

pub use deployment::{Deployment, InitOptions, PARTNERS, write_deployment};

use super::terminal::say;
use crate::app::SystemClock;
use crate::domain::time::Clock as _;

/// Writes a sandbox deployment into a folder: configuration, development certificates, seven demo partners.
///
/// Everything in it is for trying things out: the authority's key lies beside the certificates, and the drivers are
/// synthetic. Keys have mode 0600; nothing is overwritten without --force.
#[derive(Debug, Args)]
#[command(after_help = "Then:\n  \
    drivegate registry generate --count 10000 --seed 1 --into DIR\n  \
    drivegate serve --config DIR/config.toml\n  \
    drivegate verify --dir DIR --as rental-demo rental --help")]
pub struct InitCommand {
    /// The folder; made if missing.
    dir: PathBuf,
    /// Write over what an earlier init left. The registry, its keys and the evidence log are never touched.
    #[arg(long)]
    force: bool,
    /// Host names and addresses the server's certificate is for.
    #[arg(long = "host", value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    hosts: Vec<String>,
    /// Keep the registry in this PostgreSQL database: postgres://user:password@host/database. The URL goes into a file of
    /// its own, mode 0600.
    #[arg(long, value_name = "URL", env = "DRIVEGATE_POSTGRES_URL", hide_env_values = true)]
    postgres: Option<String>,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

impl InitCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says which file stands in the way, and that --force writes over it.
    pub fn run(self) -> miette::Result<ExitCode> {
        let options = InitOptions {
            force: self.force,
            hosts: self.hosts,
            postgres_url: self.postgres,
            ..InitOptions::default()
        };
        let deployment = write_deployment(&self.dir, &options, SystemClock.now())?;
        if self.json {
            let text = serde_json::to_string_pretty(&deployment).map_err(|error| miette!(error))?;
            say(&text);
        } else {
            say(&deployment.summary());
        }
        Ok(ExitCode::SUCCESS)
    }
}
