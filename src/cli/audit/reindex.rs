//! `drivegate audit reindex`: the index of look-ups, made again from the logs.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use miette::{Context as _, IntoDiagnostic as _, miette};
use serde_json::json;

use super::place::{Place, unreadable};
use super::progress::LogBar;
use crate::app::{postgres_keys, postgres_options};
use crate::audit::keys::LogSecret;
use crate::audit::note::last_checkpoint;
use crate::audit::{BATCH_ENTRIES_MAX, LogWalk, Walked, look_up_in};
use crate::cli::deployment::Places;
use crate::cli::terminal::{say, say_json, tell};
use crate::config::GatewayConfig;
use crate::evidence::ports::{LookUp, LookUpIndex};
use crate::registry::store::wait;
use crate::registry::{EmbeddedLookUps, PostgresRegistry, RegistryError};

/// How often a batch is tried again after somebody else moved the log's cursor.
const ATTEMPTS: u32 = 100;

#[derive(Debug, Args)]
pub(super) struct Reindex {
    /// The deployment folder.
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The folder of other logs, such as a retired replica's, instead of the deployment's own.
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// The log of this name alone, instead of every log in the folder.
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// What was made of one log.
struct Made {
    origin: String,
    entries: u64,
    look_ups: u64,
    flaw: Option<String>,
}

impl Reindex {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let places = Places::of(&self.dir)?;
        let own = Place { dir: self.dir.clone(), origin: None }.folder()?;
        let folder = self.logs.clone().unwrap_or_else(|| own.clone());
        let origins = self.origins(&folder)?;
        let secret = self.secret(&folder)?;
        let index = open_index(&places)?;
        let mut made = Vec::new();
        for origin in origins {
            // Beside a running gateway only what is signed is certain to stay; the gateway feeds the rest itself.
            let end = match &places.postgres {
                Some(_) if folder == own => signed_end(&folder, &origin)?,
                _ => u64::MAX,
            };
            made.push(reindex(&folder, origin, end, &secret, &*index)?);
        }
        self.tell(&made);
        let is_whole = made.iter().all(|made| made.flaw.is_none());
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }

    /// Lists the logs of the folder.
    fn origins(&self, folder: &Path) -> miette::Result<Vec<String>> {
        if let Some(origin) = &self.origin {
            return Ok(vec![origin.clone()]);
        }
        let unreadable = || format!("cannot list the logs in {}", folder.display());
        let mut origins = Vec::new();
        for entry in std::fs::read_dir(folder).into_diagnostic().wrap_err_with(unreadable)? {
            let name = entry.into_diagnostic().wrap_err_with(unreadable)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if LogWalk::open(folder, Some(name)).is_ok_and(|log| log.bytes().is_ok_and(|bytes| bytes > 0)) {
                origins.push(name.to_owned());
            }
        }
        origins.sort();
        if origins.is_empty() {
            return Err(miette!(
                help = "name the deployment folder, or with --logs the folder with the file `origin`",
                "there is no log in {}",
                folder.display()
            ));
        }
        Ok(origins)
    }

    /// Reads the secret the logs were kept with: their folder's own, or the one the replicas share.
    fn secret(&self, folder: &Path) -> miette::Result<LogSecret> {
        let own = folder.join("secret");
        let config = self.dir.join("config.toml");
        let path = if own.exists() || !config.exists() {
            own
        } else {
            let config = GatewayConfig::read(&config).into_diagnostic()?;
            config.evidence.secret.unwrap_or(own)
        };
        let secret = LogSecret::read_from(&path).into_diagnostic();
        secret.wrap_err_with(|| format!("the logs' secret at {} cannot be used", path.display()))
    }

    fn tell(&self, made: &[Made]) {
        if self.json {
            let lines = made.iter().map(|made| {
                json!({ "origin": made.origin, "entries": made.entries, "look_ups": made.look_ups, "flaw": made.flaw })
            });
            say_json(&json!({ "logs": lines.collect::<Vec<_>>() }));
            return;
        }
        for made in made {
            say(&format!("{}: {} look-ups in {} entries", made.origin, made.look_ups, made.entries));
            if let Some(flaw) = &made.flaw {
                tell(&format!("{} is damaged: {flaw}; `drivegate audit fsck` says more", made.origin));
            }
        }
    }
}

/// Opens the index of the deployment.
fn open_index(places: &Places) -> miette::Result<Box<dyn LookUpIndex>> {
    let Some(postgres) = &places.postgres else {
        std::fs::create_dir_all(&places.registry).into_diagnostic()?;
        let opened = EmbeddedLookUps::open(&places.registry);
        return opened.map(|index| Box::new(index) as _).map_err(|error| match error {
            RegistryError::Locked(_) => miette!(
                help = "stop the gateway first; what it has put on record since its start it indexes itself",
                "a running gateway has the index open"
            ),
            other => miette::Report::msg(other),
        });
    };
    let options = postgres_options(postgres).into_diagnostic()?;
    let keys = postgres_keys(&places.registry_keys, &options).into_diagnostic()?;
    let registry = PostgresRegistry::open_alone(options, Arc::new(keys)).into_diagnostic()?;
    Ok(Box::new(registry))
}

/// Returns how many entries of a log are signed: all that may be read while somebody writes it.
fn signed_end(folder: &Path, origin: &str) -> miette::Result<u64> {
    let signed = last_checkpoint(&folder.join(origin), origin).into_diagnostic();
    let signed = signed.wrap_err_with(|| format!("the checkpoint of {origin} cannot be used"))?;
    Ok(signed.map_or(0, |checkpoint| checkpoint.size))
}

/// Forgets a log and feeds it again.
fn reindex(
    folder: &Path,
    origin: String,
    end: u64,
    secret: &LogSecret,
    index: &dyn LookUpIndex,
) -> miette::Result<Made> {
    let open = |error| unreadable(folder, error);
    let mut log = LogWalk::open(folder, Some(&origin)).map_err(open)?;
    let mut bar = LogBar::new(log.bytes().map_err(open)?);
    wait(index.forget(&origin)).into_diagnostic()?;
    let mut batch = Batch { index, origin: &origin, from: 0, to: 0, look_ups: Vec::new() };
    let (mut look_ups, mut fault) = (0, None);
    let walked = log.walk(|entry, bytes| {
        if entry >= end {
            return ControlFlow::Break(());
        }
        bar.entry(bytes.len() as u64);
        batch.to = entry + 1;
        let look_up = look_up_in(entry, bytes, secret);
        look_ups += u64::from(look_up.is_some());
        batch.look_ups.extend(look_up);
        if batch.to.saturating_sub(batch.from) >= BATCH_ENTRIES_MAX {
            fault = batch.take_in().err();
        }
        if fault.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish();
    let walked: Walked = walked.map_err(open)?;
    fault.map_or_else(|| batch.take_in(), Err)?;
    let entries = batch.to.saturating_sub(walked.first_index);
    Ok(Made { origin, entries, look_ups, flaw: walked.flaw.map(|flaw| flaw.to_string()) })
}

/// Look-ups that are taken in together.
struct Batch<'i> {
    index: &'i dyn LookUpIndex,
    origin: &'i str,
    from: u64,
    to: u64,
    look_ups: Vec<LookUp>,
}

impl Batch<'_> {
    /// Takes in what has gathered. A running gateway may feed the same log: then the rest is taken in behind what it fed.
    fn take_in(&mut self) -> miette::Result<()> {
        for _ in 0..ATTEMPTS {
            if self.from >= self.to {
                self.look_ups.clear();
                return Ok(());
            }
            let before = self.from;
            let taking = self.index.take_in(self.origin, self.from, self.to, self.look_ups.clone());
            self.from = wait(taking).into_diagnostic()?;
            if self.from < before {
                return Err(miette!("somebody else is rebuilding the index of {} as well", self.origin));
            }
            let from = self.from;
            self.look_ups.retain(|look_up| look_up.index >= from);
        }
        Err(miette!("the index of {} is being fed by somebody else all the time", self.origin))
    }
}
