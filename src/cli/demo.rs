//! `drivegate demo`: plays the main job on embedded parts.
//!
//! The parts: [`stage`] (a throw-away deployment and its gateway), [`scenes`] and [`asking`] (who asks what, and what must
//! come out), [`play`] (each partner a client of its own), [`shown`] (what the driver shows, stops and sees), [`refusals`] (what must
//! not be answered), [`table`].

mod asking;
mod play;
mod refusals;
mod scenes;
mod shown;
mod stage;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use miette::{IntoDiagnostic as _, miette};

use self::play::Clients;
use self::stage::Stage;
use self::table::Played;
use super::terminal::{Terminal, Tone, say, say_json};
use crate::app::SystemClock;
use crate::domain::catalogue::{TestDriver, test_drivers};
use crate::domain::time::{Clock, civil_day};
use crate::gateway::proto;

/// Plays the main job on embedded parts.
///
/// Makes a throw-away deployment, starts a gateway on loopback, and plays a rental checkout, an insurer's claim, a
/// recruiter, a transport operator and a police terminal as separate clients over mutual TLS; then a driver who shows a
/// QR code, sends a share code, withdraws a consent and lists who looked; then what is refused.
/// The exit status is 0 only if every expectation held.
#[derive(Debug, Args)]
pub struct DemoCommand {
    /// Leave the gateway running and print commands to call it from another terminal; Ctrl-C ends it.
    #[arg(long)]
    keep: bool,

    /// Use this Redis as the second cache level.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,

    /// Keep the registry in this PostgreSQL database: in a schema of its own, which the demo removes.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl DemoCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        let terminal = if self.json { Terminal::plain() } else { Terminal::detect() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
        runtime.block_on(async {
            // Ctrl-C at any moment unwinds the stage: gateway stopped, folder removed.
            tokio::select! {
                result = self.perform(terminal) => result,
                _signal = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
            }
        })
    }

    async fn perform(&self, terminal: Terminal) -> miette::Result<ExitCode> {
        let (from, now) = (SystemClock.since_boot(), SystemClock.now());
        let drivers = test_drivers(civil_day(now));
        let mut stage = Stage::set(self.redis.as_deref(), self.postgres.as_deref(), now)?;
        let set = SystemClock.since_boot().saturating_sub(from);
        let Play { answers, shown, accesses, refusals } = self.play(&mut stage, &drivers, now).await?;
        let took = SystemClock.since_boot().saturating_sub(from);
        let missed = answers.iter().chain(&shown).chain(&refusals).filter(|played| !played.held()).count();
        if self.json {
            say_json(&summary_json(&answers, &shown, &refusals, took));
        } else {
            say(&terminal.paint(Tone::Strong, "Answers"));
            say(&table::render(&answers, terminal));
            say(&terminal.paint(Tone::Strong, "\nShown by the driver"));
            say(&table::render(&shown, terminal));
            say(&terminal.paint(Tone::Strong, "\nWho looked, as the driver sees it"));
            say(&table::render_accesses(&accesses, terminal));
            say(&terminal.paint(Tone::Strong, "\nRefusals"));
            say(&table::render(&refusals, terminal));
            say(&summary(answers.len() + shown.len() + refusals.len(), missed, set, took, terminal));
        }
        if self.keep {
            say(&keep(&stage, &drivers, terminal));
            // Ctrl-C is awaited above, for the whole performance.
            std::future::pending::<()>().await;
        }
        Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn play(&self, stage: &mut Stage, drivers: &[TestDriver], now: Timestamp) -> miette::Result<Play> {
        let mut clients = Clients::default();
        let mut answers = Vec::new();
        for scene in scenes::scenes(drivers, now) {
            answers.push(play::play(stage, &mut clients, scene).await?);
        }
        if self.redis.is_some() {
            answers.push(from_redis(stage, &mut clients, drivers, now).await?);
        }
        let (shown, accesses) = shown::play(stage, &mut clients, drivers, now).await?;
        let refusals = refusals::play(stage, &mut clients, drivers, now).await?;
        Ok(Play { answers, shown, accesses, refusals })
    }
}

/// What was played.
struct Play {
    answers: Vec<Played>,
    shown: Vec<Played>,
    /// Who looked at the driver, newest first.
    accesses: Vec<proto::Access>,
    refusals: Vec<Played>,
}

/// How long a reading may take to reach Redis: it is handed over off the request's path.
const REACHES_REDIS_WITHIN: Duration = Duration::from_millis(800);

/// Asks the first scene's question twice of a gateway that keeps nothing in its own memory: the second reading is Redis'.
async fn from_redis(
    stage: &mut Stage,
    clients: &mut Clients,
    drivers: &[TestDriver],
    now: Timestamp,
) -> miette::Result<Played> {
    stage.restart_without_memory()?;
    *clients = Clients::default();
    let first = || {
        let first = scenes::scenes(drivers, now).into_iter().next();
        first.ok_or_else(|| miette!("the catalogue holds none of the demo's drivers"))
    };
    play::play(stage, clients, first()?).await?;
    tokio::time::sleep(REACHES_REDIS_WITHIN).await;
    let mut scene = first()?;
    scene.asked = "the same, without memory of its own".to_owned();
    scene.expected.level = Some(proto::Source::Redis);
    play::play(stage, clients, scene).await
}

fn summary(played: usize, missed: usize, set: Duration, took: Duration, terminal: Terminal) -> String {
    let times = terminal.paint(
        Tone::Faint,
        &format!("{:.1} s, of which {:.1} s to set the stage", took.as_secs_f64(), set.as_secs_f64()),
    );
    let verdict = if missed == 0 {
        terminal.paint(Tone::Good, &format!("all {played} expectations held"))
    } else {
        terminal.paint(Tone::Bad, &format!("{missed} of {played} expectations did not hold"))
    };
    format!("\n{verdict} · {times}")
}

fn summary_json(
    answers: &[Played],
    shown: &[Played],
    refusals: &[Played],
    took: Duration,
) -> serde_json::Value {
    let list = |played: &[Played]| played.iter().map(Played::to_json).collect::<Vec<_>>();
    let missed = answers.iter().chain(shown).chain(refusals).filter(|played| !played.held()).count();
    serde_json::json!({
        "answers": list(answers),
        "shown": list(shown),
        "refusals": list(refusals),
        "missed": missed,
        "took_seconds": took.as_secs_f64(),
    })
}

/// Commands to call the kept gateway. The numbers belong to nobody.
fn keep(stage: &Stage, drivers: &[TestDriver], terminal: Terminal) -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "drivegate".to_owned(), |path| path.display().to_string());
    let (dir, target) = (stage.dir().display(), stage.target());
    let (number, name) = drivers.first().map_or(("", ""), |driver| (driver.number, driver.name));
    let call = format!("{program} verify --server {} --dir {dir}", target.address);
    let heading = terminal.paint(Tone::Strong, "The gateway keeps running. From another terminal:");
    format!(
        "\n{heading}\n\n\
         # A rental desk asks\n\
         {call} --as rental-demo rental --number {number} --name {name} --ground contract --class C1 --min-tenure 12\n\n\
         # An insurer asks about a moment ten days ago\n\
         {call} --as insurer-demo insurance-claim --number {number} --name {name} --ground legal-duty \\\n    \
         --class C1 --occurred-at=-10d\n\n\
         # What the rental desk may ask, and what is left\n\
         {call} --as rental-demo contract\n\
         {call} --as rental-demo limits\n\n\
         # The same from Python (pip install grpcio grpcio-tools), in a checkout of this repository\n\
         python3 -m grpc_tools.protoc -Iproto --python_out=. --grpc_python_out=. proto/drivegate/v1/*.proto\n\
         python3 - <<'PY'\n\
         import grpc\n\
         from drivegate.v1 import verification_service_pb2 as pb, verification_service_pb2_grpc as rpc\n\
         read = lambda name: open(f'{dir}/pki/{{name}}', 'rb').read()\n\
         tls = grpc.ssl_channel_credentials(read('ca.pem'), read('rental-demo.key'), read('rental-demo.pem'))\n\
         channel = grpc.secure_channel('{address}', tls, [('grpc.ssl_target_name_override', '{server}')])\n\
         print(rpc.VerificationServiceStub(channel).GetLimits(pb.GetLimitsRequest()))\n\
         PY\n\n\
         Ctrl-C ends it and removes {dir}.",
        address = target.address,
        server = target.name,
    )
}
