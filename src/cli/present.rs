//! `drivegate present`: a wallet's side from the command line. Shows a driver's e-licence as QR code, or makes a share code.
//!
//! The parts: [`arguments`] (what is typed, what goes out), [`answer`] (what came back).

mod answer;
mod arguments;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use miette::{IntoDiagnostic as _, miette};
use tonic::transport::Channel;

use self::arguments::{Call, PresentationArgs};
use super::qr::{Ink, QrDrawing};
use super::terminal::{Terminal, say, say_json, tell};
use super::verify::connection::{ConnectionArgs, PartnerArgs, Target};
use super::verify::refusal::Refusal;
use super::verify::{read_line, timed};
use crate::gateway::proto;
use crate::gateway::proto::presentation_service_client::PresentationServiceClient;
use crate::identity::Existing;

const EXAMPLES: &str = "\
Examples:
  A QR code for a rental desk, with DIR of `drivegate init DIR`; scan it from the screen, or from the file:
    drivegate present --dir DIR --as wallet-demo --number 000000199001010114 \\
        --purpose rental --audience-kind rental --png code.png
    drivegate verify --dir DIR --as rental-demo rental --qr-image code.png --class C1
  A QR code for police checks and peer scans, and a number that does not end up in the shell's history:
    printf '%s\\n' \"$NUMBER\" | drivegate present --dir DIR --as wallet-demo --number -
  A share code for one recruiter, for two requests within a week:
    drivegate present --dir DIR --as wallet-demo --number … --share-code --uses 2 --lifetime 7d \\
        --purpose recruitment --audience-partner recruiter-demo
  Taking a presentation back:
    drivegate present --dir DIR --as wallet-demo --number … --revoke PRESENTATION-ID

Exit status:
  0   issued, or taken back
  2   the command line cannot be understood
  3   refused: the gateway will not issue it
  4   error: try again";

const REFUSED: u8 = 3;
const FAILED: u8 = 4;

/// Shows a driver's e-licence, as its wallet does: a QR code in the terminal or as PNG, or a share code.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PresentCommand {
    #[command(flatten)]
    connection: ConnectionArgs,

    #[command(flatten)]
    partner: PartnerArgs,

    #[command(flatten)]
    presentation: PresentationArgs,

    /// Write the QR code to this file, as PNG that only you can read.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["share_code", "revoke"])]
    png: Option<PathBuf>,

    /// Replace the file if it is there.
    #[arg(long, requires = "png")]
    force: bool,

    /// How long to wait for the answer, in milliseconds; the gateway is told.
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    timeout_ms: u64,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What came back.
enum Answer {
    Qr(proto::IssueQrResponse),
    ShareCode(proto::IssueShareCodeResponse),
    Revoked(proto::RevokeResponse),
}

impl PresentCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
        let status = runtime.block_on(self.ask()).unwrap_or_else(|report| {
            tell(&format!("{report:?}"));
            FAILED
        });
        Ok(ExitCode::from(status))
    }

    async fn ask(self) -> miette::Result<u8> {
        let image = Image { path: self.png, replaces: self.force };
        image.check()?;
        let tls = self.partner.credentials(&self.connection)?.tls().into_diagnostic()?;
        let target = Target::new(&self.connection.server, self.connection.server_name.as_deref());
        let call = self.presentation.into_call(read_line)?;
        let channel = target.channel(&tls).await.into_diagnostic()?;
        let terminal = if self.json { Terminal::plain() } else { Terminal::detect() };
        let answer = match issue(PresentationServiceClient::new(channel), call, self.timeout_ms).await {
            Ok(answer) => answer,
            Err(status) => {
                let refusal = Refusal::of(&status);
                if self.json {
                    say_json(&refusal.to_json());
                } else {
                    say(&refusal.render(terminal));
                }
                return Ok(if refusal.is_refusal() { REFUSED } else { FAILED });
            }
        };
        image.save(&answer)?;
        if self.json {
            say_json(&answer.to_json(image.path.as_deref()));
        } else {
            say(&answer.render(terminal, image.path.as_deref())?);
        }
        Ok(0)
    }
}

async fn issue(
    mut client: PresentationServiceClient<Channel>,
    call: Call,
    timeout_ms: u64,
) -> Result<Answer, tonic::Status> {
    let timeout = Duration::from_millis(timeout_ms);
    Ok(match call {
        Call::Qr(request) => Answer::Qr(client.issue_qr(timed(request, timeout)).await?.into_inner()),
        Call::ShareCode(request) => {
            Answer::ShareCode(client.issue_share_code(timed(request, timeout)).await?.into_inner())
        }
        Call::Revoke(request) => Answer::Revoked(client.revoke(timed(request, timeout)).await?.into_inner()),
    })
}

/// The file the QR code goes to, if any.
struct Image {
    path: Option<PathBuf>,
    replaces: bool,
}

impl Image {
    /// Looks before a QR code is issued that lives a minute.
    fn check(&self) -> miette::Result<()> {
        let taken = self.path.as_deref().filter(|path| !self.replaces && path.symlink_metadata().is_ok());
        taken.map_or(Ok(()), |path| {
            Err(miette!(help = "--force replaces it", "{} is there already", path.display()))
        })
    }

    fn save(&self, answer: &Answer) -> miette::Result<()> {
        let existing = if self.replaces { Existing::Replace } else { Existing::Keep };
        match (&self.path, answer) {
            (Some(path), Answer::Qr(issued)) => drawing(issued)?.save(path, existing),
            _ => Ok(()),
        }
    }
}

/// Draws a QR code in the colour the gateway names. A colour this build does not know is no reason to look green.
fn drawing(issued: &proto::IssueQrResponse) -> miette::Result<QrDrawing> {
    let ink = if issued.display() == proto::Display::Normal { Ink::Black } else { Ink::Red };
    QrDrawing::of(&issued.token, ink)
}

impl Answer {
    fn render(&self, terminal: Terminal, saved: Option<&Path>) -> miette::Result<String> {
        Ok(match self {
            Self::Qr(issued) => {
                // Who asked for a file may be no terminal at all.
                let drawn = match saved {
                    Some(_) => String::new(),
                    None => drawing(issued)?.to_lines(terminal),
                };
                drawn + &answer::qr(issued, terminal, saved)
            }
            Self::ShareCode(issued) => answer::share_code(issued, terminal),
            Self::Revoked(revoked) => answer::revoked(revoked, terminal),
        })
    }

    fn to_json(&self, saved: Option<&Path>) -> serde_json::Value {
        match self {
            Self::Qr(issued) => answer::qr_json(issued, saved),
            Self::ShareCode(issued) => answer::share_code_json(issued),
            Self::Revoked(revoked) => answer::revoked_json(revoked),
        }
    }
}
