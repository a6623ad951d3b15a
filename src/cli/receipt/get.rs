//! `drivegate receipt get`: asks the gateway for a receipt.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use miette::{IntoDiagnostic as _, miette};
use serde_json::json;

use super::write_receipt;
use crate::cli::terminal::{Terminal, say, say_json, tell};
use crate::cli::verify::connection::{ConnectionArgs, PartnerArgs, Target};
use crate::cli::verify::refusal::Refusal;
use crate::cli::verify::timed;
use crate::gateway::proto;
use crate::gateway::proto::get_receipt_request::Answer;
use crate::gateway::proto::verification_service_client::VerificationServiceClient;

const REFUSED: u8 = 3;
const FAILED: u8 = 4;

#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    partner: PartnerArgs,
    /// The request id you sent with the question.
    #[arg(long, value_name = "ID", required_unless_present = "origin", conflicts_with_all = ["origin", "index"])]
    request_id: Option<String>,
    /// The log's name, as the answer said.
    #[arg(long, value_name = "NAME", requires = "index")]
    origin: Option<String>,
    /// The entry's number, as the answer said.
    #[arg(long, value_name = "NUMBER", requires = "origin")]
    index: Option<u64>,
    /// The file to write [default: ORIGIN-INDEX.tlog-proof].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long to wait for the receipt, in milliseconds; the gateway is told.
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    timeout_ms: u64,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Get {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
        match runtime.block_on(self.ask())? {
            Ok(response) => self.keep(&response),
            Err(status) => {
                let refusal = Refusal::of(&status);
                let terminal = if self.json { Terminal::plain() } else { Terminal::detect() };
                if self.json {
                    say_json(&refusal.to_json());
                } else {
                    say(&refusal.render(terminal));
                }
                Ok(ExitCode::from(if refusal.is_refusal() { REFUSED } else { FAILED }))
            }
        }
    }

    async fn ask(&self) -> miette::Result<Result<proto::GetReceiptResponse, tonic::Status>> {
        let tls = self.partner.credentials(&self.connection)?.tls().into_diagnostic()?;
        let target = Target::new(&self.connection.server, self.connection.server_name.as_deref());
        let channel = target.channel(&tls).await.into_diagnostic()?;
        let answer = match (&self.request_id, &self.origin, self.index) {
            (Some(id), ..) => Answer::RequestId(id.clone()),
            (None, Some(origin), Some(index)) => {
                Answer::Evidence(proto::Evidence { log_origin: origin.clone(), entry_index: index })
            }
            _ => return Err(miette!("give --request-id, or --origin and --index")),
        };
        let request = proto::GetReceiptRequest { answer: Some(answer) };
        let timeout = Duration::from_millis(self.timeout_ms);
        let asked = VerificationServiceClient::new(channel).get_receipt(timed(request, timeout)).await;
        Ok(asked.map(tonic::Response::into_inner))
    }

    fn keep(&self, response: &proto::GetReceiptResponse) -> miette::Result<ExitCode> {
        let place = response.evidence.clone().unwrap_or_default();
        let out = match &self.out {
            Some(out) => out.clone(),
            None if is_plain(&place.log_origin) => {
                PathBuf::from(format!("{}-{}.tlog-proof", place.log_origin, place.entry_index))
            }
            None => return Err(miette!(help = "name a file with --out", "the log's name is no file name")),
        };
        write_receipt(&out, &response.receipt)?;
        if self.json {
            say_json(&json!({
                "file": out,
                "origin": place.log_origin,
                "index": place.entry_index,
                "subject_erased": response.subject_erased,
            }));
        } else {
            say(&format!("{}", out.display()));
            if response.subject_erased {
                tell(
                    "the driver's record was erased: the receipt proves that the entry exists, and opens nothing",
                );
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What a gateway sends becomes a file's name only if it is as plain as an origin is.
fn is_plain(name: &str) -> bool {
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !name.is_empty() && name.len() <= 80 && !name.starts_with('.') && name.bytes().all(permitted)
}
