//! `drivegate verify`: asks one question from the command line.
//!
//! The parts: [`arguments`] (what is typed), [`request`] (what goes out), [`connection`] (how), [`answer`],
//! [`contract`] and [`refusal`] (what came back).

pub(crate) mod answer;
pub(crate) mod arguments;
pub(crate) mod connection;
pub(crate) mod contract;
pub(crate) mod moment;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod words;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use miette::IntoDiagnostic as _;
use tonic::Request;
use tonic::transport::Channel;

use self::arguments::{Call, Question};
use self::connection::{ConnectionArgs, PartnerArgs, Target};
use self::refusal::Refusal;
use super::terminal::{Terminal, say, say_json, tell};
use crate::app::SystemClock;
use crate::domain::time::Clock;
use crate::gateway::proto;
use crate::gateway::proto::verification_service_client::VerificationServiceClient;

const EXAMPLES: &str = "\
Examples:
  A rental desk, with DIR of `drivegate init DIR`, filled by `registry generate … --with-test-drivers --into DIR`:
    drivegate verify --dir DIR --as rental-demo rental --number 000000199001010114 --name 测试甲 \\
        --ground contract --class C1 --pick-up now --return +3d
  The same with own files, and a number that does not end up in the shell's history:
    printf '%s\\n' \"$NUMBER\" \"$NAME\" | drivegate verify --server gw.example:8443 --ca ca.pem --cert me.pem --key me.key \\
        rental --number - --ground contract --type-code K33
  An insurer, about the moment of an accident:
    drivegate verify --dir DIR --as insurer-demo insurance-claim --number … --name … --ground legal-duty \\
        --occurred-at '2026-03-01 10:00' --class C1
  A driver who is there, or who sent a share code: no number, name or ground is needed:
    drivegate verify --dir DIR --as rental-demo rental --qr-image code.png --class C1
    drivegate verify --dir DIR --as recruiter-demo recruitment --share-code 7KQ4M-0ZT9R-B3XM --class C1
  What you may ask, and what is left:
    drivegate verify --dir DIR --as rental-demo contract
    drivegate verify --dir DIR --as rental-demo limits

Exit status:
  0   answered, whatever the decision (--exit-by-decision: QUALIFIED)
  2   the command line cannot be understood
  3   refused: the gateway will not answer
  4   error: no answer could be had
  10  with --exit-by-decision: NOT_QUALIFIED
  11  with --exit-by-decision: INDETERMINATE";

/// Asks one question from the command line.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct VerifyCommand {
    #[command(flatten)]
    connection: ConnectionArgs,

    #[command(flatten)]
    partner: PartnerArgs,

    /// How long to wait for the answer, in milliseconds; the gateway is told.
    #[arg(long, global = true, value_name = "MS", default_value_t = 2_000)]
    timeout_ms: u64,

    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,

    /// Let the exit status tell the decision: 0 QUALIFIED, 10 NOT_QUALIFIED, 11 INDETERMINATE.
    #[arg(long, global = true)]
    exit_by_decision: bool,

    #[command(subcommand)]
    question: Question,
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Answered(Option<proto::Decision>),
    Refused,
    Failed,
}

impl Ended {
    const fn status(self, by_decision: bool) -> u8 {
        match self {
            Self::Answered(Some(proto::Decision::NotQualified)) if by_decision => 10,
            Self::Answered(Some(proto::Decision::Indeterminate)) if by_decision => 11,
            Self::Answered(_) => 0,
            Self::Refused => 3,
            Self::Failed => 4,
        }
    }
}

impl VerifyCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        let by_decision = self.exit_by_decision;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
        let ended = runtime.block_on(self.ask()).unwrap_or_else(|report| {
            tell(&format!("{report:?}"));
            Ended::Failed
        });
        Ok(ExitCode::from(ended.status(by_decision)))
    }

    async fn ask(self) -> miette::Result<Ended> {
        let terminal = if self.json { Terminal::plain() } else { Terminal::detect() };
        let tls = self.partner.credentials(&self.connection)?.tls().into_diagnostic()?;
        let target = Target::new(&self.connection.server, self.connection.server_name.as_deref());
        let call = self.question.into_call(SystemClock.now(), read_line)?;
        if let Some(id) = call.spends_as() {
            tell(&format!(
                "request id {id}: --request-id with it repeats this request and spends nothing again"
            ));
        }
        let channel = target.channel(&tls).await.into_diagnostic()?;
        let client = VerificationServiceClient::new(channel);
        let shown = Shown { terminal, json: self.json };
        let timeout = Duration::from_millis(self.timeout_ms);
        match carry_out(client, call, timeout, shown).await {
            Ok(ended) => Ok(ended),
            Err(status) => {
                let refusal = Refusal::of(&status);
                shown.show(&refusal.render(terminal), || refusal.to_json());
                Ok(if refusal.is_refusal() { Ended::Refused } else { Ended::Failed })
            }
        }
    }
}

/// Where results go.
#[derive(Clone, Copy)]
struct Shown {
    terminal: Terminal,
    json: bool,
}

impl Shown {
    fn show(self, text: &str, value: impl FnOnce() -> serde_json::Value) {
        if self.json {
            say_json(&value());
        } else {
            say(text);
        }
    }
}

async fn carry_out(
    mut client: VerificationServiceClient<Channel>,
    call: Call,
    timeout: Duration,
    shown: Shown,
) -> Result<Ended, tonic::Status> {
    match call {
        Call::Verify(request) => {
            let answer = client.verify(timed(*request, timeout)).await?.into_inner();
            shown.show(&answer::render(&answer, shown.terminal), || answer::to_json(&answer));
            Ok(Ended::Answered(Some(answer.decision())))
        }
        Call::Limits => {
            let limits = client.get_limits(timed(proto::GetLimitsRequest {}, timeout)).await?.into_inner();
            shown.show(&contract::render_limits(&limits), || contract::limits_json(&limits));
            Ok(Ended::Answered(None))
        }
        Call::Contract => {
            let request = timed(proto::DescribeContractRequest {}, timeout);
            let described = client.describe_contract(request).await?.into_inner();
            shown.show(&contract::render_contract(&described), || contract::contract_json(&described));
            Ok(Ended::Answered(None))
        }
    }
}

pub(crate) fn timed<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

pub(crate) fn read_line() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests;
