//! `drivegate load`: puts load on a gateway and measures it.
//!
//! The parts: [`subjects`] (who is asked about), [`shown`] (QR codes issued beforehand), [`plan`] (every request encoded beforehand), [`wire`] (one connection),
//! [`run`] (closed and open loop), [`measured`] and [`report`] (what came of it).

pub(crate) mod measured;
pub(crate) mod pace;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod server_cpu;
pub(crate) mod shown;
pub(crate) mod subjects;
pub(crate) mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use self::measured::Measured;
use self::plan::{Plan, Share};
use self::report::Report;
use self::run::{Caller, Live, Load, Loop};
use self::shown::Shown;
use self::subjects::{Driver, Spread};
use super::terminal::{Terminal, say, say_json};
use super::verify::connection::{ConnectionArgs, Credentials, Target};
use crate::app::SystemClock;
use crate::domain::time::Clock;
use crate::gateway::proto;
use crate::gateway::proto::verification_service_client::VerificationServiceClient;
use crate::identity::client::ClientTls;

/// The method that is called.
const VERIFY: &str = "/drivegate.v1.VerificationService/Verify";
/// How often the live line is redrawn.
const REDRAW_EVERY: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  As fast as it goes, with the server's processor time:
    drivegate load --dir demo --as rental-demo --subjects drivers.ndjson --server-pid $(pidof drivegate)
  5,000 requests a second, by the clock:
    drivegate load --dir demo --as rental-demo --subjects drivers.ndjson --rate 5000
  Three partners at once, few drivers asked about often:
    drivegate load --dir demo --as rental-demo,insurer-demo,transport-demo --subjects drivers.ndjson \\
        --mix rental=3,claim=1,transport=1 --spread zipf=1.1
  QR codes that a wallet issues first, each redeemed once; the run ends with the last one:
    drivegate load --dir demo --as rental-demo --subjects drivers.ndjson --mix rental --shown-by wallet-demo --codes 20000

A contract's own limits hold for a load as for anybody: raise them in DIR/partners/PARTNER.toml first.
Latency counts from the moment a request was due (open loop), so that a server that stalls cannot hide it.
The exit status is 0 when everything was answered, 1 when something was not.";

/// Puts load on a gateway and measures it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LoadCommand {
    #[command(flatten)]
    connection: ConnectionArgs,

    /// The partners that ask, from the folder given with --dir; connections are dealt out to them in turn.
    #[arg(long = "as", value_name = "PARTNER", value_delimiter = ',', default_value = "rental-demo")]
    partners: Vec<String>,

    /// Drivers to ask about: NDJSON or CSV, as `drivegate registry generate` writes them.
    #[arg(long, value_name = "FILE")]
    subjects: PathBuf,

    /// Read at most this many drivers.
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    subjects_max: usize,

    /// In which order: uniform, zipf=EXPONENT, or each (nobody twice before everybody once: what no cache can help).
    #[arg(long, value_name = "SPREAD", default_value = "uniform")]
    spread: Spread,

    /// Seed of the order.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,

    /// What is asked, with weights; each partner asks what its contract lists.
    #[arg(
        long,
        value_name = "PURPOSE=WEIGHT",
        value_delimiter = ',',
        default_value = "rental=1,insurance-claim=1,insurance-purchase=1,recruitment=1,transport=1,enforcement=1",
        hide_default_value = true
    )]
    mix: Vec<Share>,

    /// Have this wallet issue QR codes first, and redeem them instead of asking about number and name. One purpose in --mix.
    #[arg(long, value_name = "WALLET", conflicts_with = "echo")]
    shown_by: Option<String>,

    /// How many QR codes; they live as long as the gateway says, 60 seconds if nothing else is configured.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000, requires = "shown_by", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    codes: u32,

    /// Requests per second, by the clock (open loop). Without it: as fast as answers come (closed loop).
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,

    /// Connections.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,

    /// Requests in flight on each connection, at most.
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    streams: u16,

    /// Threads, each with connections of its own.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,

    /// Seconds measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    duration: f64,

    /// Seconds before that are not.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    warm_up: f64,

    /// The deadline of each request, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    timeout_ms: u64,

    /// The gateway's process: its processor time per request is told.
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,

    /// The other side is the bare echo (`examples/echo.rs`), which has no contracts.
    #[arg(long)]
    echo: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.01..=1e7).contains(&rate) { Ok(rate) } else { Err("expected 0.01 to 10000000 a second".to_owned()) }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("expected 0 to 86400 seconds".to_owned())
    }
}

impl LoadCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        let terminal = if self.json { Terminal::plain() } else { Terminal::detect() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
        let report = runtime.block_on(self.measure(terminal))?;
        if self.json {
            say_json(&report.to_json());
        } else {
            say(&report.render(terminal));
        }
        let good = report.measured.failed() == 0 && report.measured.answered() > 0;
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn measure(&self, terminal: Terminal) -> miette::Result<Report> {
        let target = Target::new(&self.connection.server, self.connection.server_name.as_deref());
        let callers = self.callers(&target, terminal).await?;
        let request_bytes =
            callers.iter().map(|caller| caller.plan.length_mean()).sum::<usize>() / callers.len();
        let start = SystemClock.since_boot() + Duration::from_millis(200);
        let measure_from = start + Duration::from_secs_f64(self.warm_up);
        let load = Arc::new(Load {
            target,
            path: VERIFY,
            callers,
            connections: self.connections.into(),
            streams: self.streams.into(),
            threads: self.threads.min(self.connections).into(),
            pattern: self.rate.map_or(Loop::Closed, Loop::Open),
            timeout: Duration::from_millis(self.timeout_ms),
            start,
            measure_from,
            end: measure_from + Duration::from_secs_f64(self.duration),
        });
        let live = Arc::new(Live::default());
        let threads: Vec<JoinHandle<std::io::Result<Measured>>> = (0..load.threads)
            .map(|thread| {
                let (load, live) = (Arc::clone(&load), Arc::clone(&live));
                std::thread::spawn(move || run::run_thread(&load, &live, thread))
            })
            .collect();
        let watched = self.watch(&load, &live, terminal).await;
        live.stop.store(true, Ordering::Relaxed);
        let mut measured = Measured::new().into_diagnostic()?;
        for thread in threads {
            let part = thread.join().map_err(|_| miette!("a load thread failed"))?;
            measured.add(&part.into_diagnostic().wrap_err("cannot run a load thread")?);
        }
        let watched = watched?;
        Ok(Report {
            measured,
            window: watched.window,
            pattern: load.pattern,
            shape: (load.connections, load.streams),
            server_cpu: watched.server_cpu,
            client_cpu: watched.client_cpu,
            request_bytes,
            interrupted: watched.interrupted,
        })
    }

    async fn callers(&self, target: &Target, terminal: Terminal) -> miette::Result<Vec<Caller>> {
        let dir = self.connection.dir.as_deref().ok_or_else(|| {
            miette!(
                help = "add --dir DIR, the folder `drivegate init` wrote",
                "certificates come from a deployment folder"
            )
        })?;
        let drivers = subjects::read(&self.subjects, self.subjects_max)?;
        let draw = self.spread.draw(drivers.len(), self.seed);
        let mut callers = Vec::with_capacity(self.partners.len());
        for partner in &self.partners {
            let tls = self.tls_of(dir, partner)?;
            let terms = if self.echo { None } else { Some(terms_of(target, &tls, partner).await?) };
            let plan = match (&self.shown_by, &terms) {
                (Some(wallet), Some(terms)) => {
                    let wallet = self.tls_of(dir, wallet)?;
                    self.plan_of_codes((target, &wallet), partner, (&drivers, &draw), terms, terminal).await
                }
                _ => Plan::build(&drivers, &draw, &self.mix, terms.as_deref(), SystemClock.now()),
            };
            callers
                .push(Caller { tls, plan: plan.wrap_err_with(|| format!("{partner} has nothing to ask"))? });
        }
        if callers.is_empty() { Err(miette!("--as names no partner")) } else { Ok(callers) }
    }

    fn tls_of(&self, dir: &Path, partner: &str) -> miette::Result<ClientTls> {
        let mut credentials = Credentials::of_partner(dir, partner);
        if let Some(ca) = &self.connection.ca {
            credentials.ca.clone_from(ca);
        }
        credentials.tls().into_diagnostic()
    }

    /// Has the wallet issue codes for a partner, and builds the requests that redeem them.
    async fn plan_of_codes(
        &self,
        (target, wallet): (&Target, &ClientTls),
        partner: &str,
        (drivers, draw): (&[Driver], &[u32]),
        terms: &[proto::PurposeTerms],
        terminal: Terminal,
    ) -> miette::Result<Plan> {
        let [Share { purpose, .. }] = self.mix[..] else {
            return Err(miette!(
                help = "name one purpose with --mix",
                "a QR code is issued for one purpose, and the mix has {}",
                self.mix.len()
            ));
        };
        let bar = progress(terminal);
        bar.set_message(format!("issuing {} QR codes for {partner}", self.codes));
        bar.enable_steady_tick(REDRAW_EVERY);
        let count = usize::try_from(self.codes).into_diagnostic()?;
        let codes = shown::issue(target, wallet, Shown { partner, purpose }, drivers, draw, count).await;
        bar.finish_and_clear();
        Plan::of_codes(&codes?, purpose, terms, SystemClock.now())
    }

    /// Waits until the end or Ctrl-C, tells how it goes, and reads the clocks at both ends of the window.
    async fn watch(&self, load: &Load, live: &Live, terminal: Terminal) -> miette::Result<Watched> {
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        let own = std::process::id();
        let mut from = None;
        let mut redrawn = (load.start, 0);
        let bar = progress(terminal);
        loop {
            let now = SystemClock.since_boot();
            if from.is_none() && now >= load.measure_from {
                from = Some(Spent::read(self.server_pid, own)?);
            }
            if now >= redrawn.0 + REDRAW_EVERY {
                redrawn = redraw(&bar, load, live, now, redrawn);
            }
            let all_ended = live.ended.load(Ordering::Acquire) >= load.threads;
            if now >= load.end || all_ended {
                bar.finish_and_clear();
                return Watched::between(from, &Spent::read(self.server_pid, own)?, false);
            }
            let next = if from.is_none() { load.measure_from } else { load.end };
            let pause = next.saturating_sub(now).min(REDRAW_EVERY).max(Duration::from_millis(1));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _signal = &mut interrupt => {
                    bar.finish_and_clear();
                    return Watched::between(from, &Spent::read(self.server_pid, own)?, true);
                }
            }
        }
    }
}

/// Asks the gateway what a partner may ask.
async fn terms_of(
    target: &Target,
    tls: &ClientTls,
    partner: &str,
) -> miette::Result<Vec<proto::PurposeTerms>> {
    let channel = target.channel(tls).await.into_diagnostic()?;
    let described = VerificationServiceClient::new(channel)
        .describe_contract(proto::DescribeContractRequest {})
        .await
        .map_err(|status| {
            let refusal = super::verify::refusal::Refusal::of(&status);
            miette!(
                help = refusal.next_step(),
                "{partner} cannot learn its contract: {:?} {}",
                refusal.code,
                refusal.reason.as_deref().unwrap_or_default()
            )
        })?;
    Ok(described.into_inner().contract.unwrap_or_default().purposes)
}

/// The clocks at one moment.
struct Spent {
    at: Duration,
    server: Option<Duration>,
    own: Option<Duration>,
}

impl Spent {
    fn read(server: Option<u32>, own: u32) -> miette::Result<Self> {
        let server = server.map(server_cpu::spent).transpose()?;
        Ok(Self { at: SystemClock.since_boot(), server, own: server_cpu::spent(own).ok() })
    }
}

/// What happened to the clocks in the window.
struct Watched {
    window: Duration,
    server_cpu: Option<Duration>,
    client_cpu: Option<Duration>,
    interrupted: bool,
}

impl Watched {
    fn between(from: Option<Spent>, to: &Spent, interrupted: bool) -> miette::Result<Self> {
        let from = from.ok_or_else(|| miette!("stopped before anything was measured"))?;
        let between = |from: Option<Duration>, to: Option<Duration>| Some(to?.saturating_sub(from?));
        Ok(Self {
            window: to.at.saturating_sub(from.at),
            server_cpu: between(from.server, to.server),
            client_cpu: between(from.own, to.own),
            interrupted,
        })
    }
}

fn progress(terminal: Terminal) -> indicatif::ProgressBar {
    if terminal.is_live() { indicatif::ProgressBar::new_spinner() } else { indicatif::ProgressBar::hidden() }
}

fn redraw(
    bar: &indicatif::ProgressBar,
    load: &Load,
    live: &Live,
    now: Duration,
    last: (Duration, u64),
) -> (Duration, u64) {
    let answered = live.answered.load(Ordering::Relaxed);
    let since = now.saturating_sub(last.0).as_secs_f64().max(f64::MIN_POSITIVE);
    let rate = Duration::from_secs(answered - last.1).as_secs_f64() / since;
    let phase = if now < load.measure_from { "warming up" } else { "measuring" };
    let left = load.end.saturating_sub(now).as_secs();
    let failed = live.failed.load(Ordering::Relaxed);
    bar.set_message(format!("{phase}: {rate:.0}/s, {answered} answered, {failed} failed, {left} s left"));
    bar.tick();
    (now, answered)
}

#[cfg(test)]
mod tests;
