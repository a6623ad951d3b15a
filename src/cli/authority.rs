//! `drivegate authority`: what the licence authority does, from the command line.
//!
//! The parts: [`lines`] (what is read), [`delivery`] (how it goes out, until it is acknowledged), [`tally`] (what became of it).

mod delivery;
mod lines;
mod tally;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::JoinHandle;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use self::delivery::{Delivery, Failure};
use self::tally::Tally;
use super::lines_in;
use super::terminal::{Terminal, say, say_json, tell};
use super::verify::connection::{ConnectionArgs, Credentials, Target};
use super::verify::refusal::Refusal;
use crate::registry::import::{ImportError, RejectsFile};

const EXAMPLES: &str = "\
Examples:
  drivegate authority apply changes.ndjson --dir DIR --as authority-demo
  printf '%s\\n' \"$CHANGE\" | drivegate authority apply - --server gw.example:8443 --ca ca.pem --cert me.pem --key me.key

One change a line (docs/authority.md):
  {\"id\":\"2026-0004711\",\"sequence\":1,\"number\":\"000000199001010114\",
   \"change\":{\"effective\":\"2026-11-01\",\"recorded_at\":\"2026-11-01T09:30:00+08:00\",\"kind\":\"state-set\",\"letter\":\"F\"}}

Running it again is safe: changes that came before are recognised by their id and change nothing.

Exit status:
  0   every change is on record
  2   everything was handed in, but changes were rejected or wait in quarantine, or lines could not be read; or the command
      line cannot be understood
  3   refused: the gateway will not take changes from this certificate
  4   error: not everything could be handed in; run it again";

/// Does what the licence authority does.
#[derive(Debug, Args)]
pub struct AuthorityCommand {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Hands changes in, one JSON object a line, and waits until each is durable. Safe to repeat.
    Apply(Box<Apply>),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Apply {
    /// The file; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    connection: ConnectionArgs,

    /// The authority: its certificate and key in the folder given with --dir.
    #[arg(long = "as", value_name = "PARTNER", help_heading = "Connection", conflicts_with_all = ["cert", "key"])]
    partner: Option<String>,

    /// The authority's certificate chain (PEM).
    #[arg(long, value_name = "FILE", help_heading = "Connection", requires = "key")]
    cert: Option<PathBuf>,

    /// The authority's key (PEM).
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    key: Option<PathBuf>,

    /// The feed of lines that name none.
    #[arg(long, value_name = "NAME", default_value = "main")]
    source: String,

    /// How often to connect again in vain before giving up; whatever is acknowledged begins the count anew.
    #[arg(long, value_name = "N", default_value_t = 8)]
    retries: u32,

    /// Where lines that did not reach the record are named; FILE.rejects.ndjson unless given. Made only if there are any.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl AuthorityCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        match self.task {
            Task::Apply(apply) => apply.run(),
        }
    }
}

impl Apply {
    fn run(self) -> miette::Result<ExitCode> {
        let (input, size) = lines_in::open(&self.file)?;
        let bar = bar(size);
        let tls = self.credentials()?.tls().into_diagnostic()?;
        let target = Target::new(&self.connection.server, self.connection.server_name.as_deref());
        let rejects = lines_in::rejects_path(self.rejects.as_deref(), &self.file);
        let rejects = RejectsFile::at(&rejects)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot replace {}", rejects.display()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
        let mut tally = Tally::new(rejects, bar.clone());
        let began = indicatif_elapsed(&bar);
        let (lines, reading) = lines::read(bar.wrap_read(input), self.source.clone());
        let delivered =
            runtime.block_on(Delivery { target, tls, retries: self.retries }.run(lines, &mut tally));
        bar.finish_and_clear();
        let seconds = began(&bar);
        // A reader that waits for more of a pipe is not waited for once the delivery has failed.
        let unread = if delivered.is_ok() { unread_of(reading) } else { None };
        let report = tally.finish().into_diagnostic().wrap_err("cannot write the rejects file")?;
        if self.json {
            say_json(&report.to_json(seconds));
        } else {
            say(&report.render(seconds));
        }
        match (delivered, unread) {
            (Ok(()), None) => Ok(ExitCode::from(if report.is_clean() { 0 } else { 2 })),
            (Ok(()), Some(error)) => {
                tell(&format!(
                    "{:?}",
                    miette!(help = "correct it and run the same command again", "{error}")
                ));
                Ok(ExitCode::from(4))
            }
            (Err(failure), _) => Ok(ExitCode::from(self.say_failure(&failure))),
        }
    }

    /// Says why not everything could be handed in; returns the exit status.
    fn say_failure(&self, failure: &Failure) -> u8 {
        match failure {
            Failure::Connection(error) => {
                tell(&format!("{:?}", miette!(help = "then run the same command again", "{error}")));
                4
            }
            Failure::Status(status) => {
                let refusal = Refusal::of(status);
                let terminal = if self.json { Terminal::plain() } else { Terminal::detect() };
                tell(&refusal.render(terminal));
                if refusal.is_refusal() { 3 } else { 4 }
            }
        }
    }

    fn credentials(&self) -> miette::Result<Credentials> {
        let dir = self.connection.dir.as_deref();
        let of_partner =
            dir.zip(self.partner.as_deref()).map(|(dir, partner)| Credentials::of_partner(dir, partner));
        let ca = self.connection.ca.clone().or_else(|| dir.map(|dir| dir.join("pki").join("ca.pem")));
        let files = self.cert.clone().zip(self.key.clone());
        match (ca, of_partner.and_then(|of| of.certificate).or(files)) {
            (Some(ca), Some(certificate)) => Ok(Credentials { ca, certificate: Some(certificate) }),
            _ => Err(miette!(
                help = "give --dir DIR --as PARTNER, or --ca FILE --cert FILE --key FILE",
                "the authority proves itself with a certificate"
            )),
        }
    }
}

/// Says why the file was not read to its end.
fn unread_of(reading: JoinHandle<Result<(), ImportError>>) -> Option<String> {
    match reading.join() {
        Ok(read) => read.err().map(|error| error.to_string()),
        Err(_panic) => Some("the file was not read to its end".to_owned()),
    }
}

/// Measures with the bar's own clock, whether the bar is shown or not.
fn indicatif_elapsed(bar: &ProgressBar) -> impl FnOnce(&ProgressBar) -> f64 + use<> {
    let before = bar.elapsed();
    move |bar| (bar.elapsed().saturating_sub(before)).as_secs_f64()
}

/// A bar over bytes when the size is known, else a counter; hidden unless someone watches.
fn bar(size: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size {
        Some(size) => {
            (ProgressBar::new(size), "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}")
        }
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {bytes_per_sec}  {msg}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
