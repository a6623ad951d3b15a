//! `registry quarantine`: the authority's changes that wait, over the socket of the gateway that runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::admin::client::AdminClient;
use crate::admin::report::QuarantineLine;
use crate::cli::deployment::Places;
use crate::cli::terminal::{say, say_json};

const EXAMPLES: &str = "\
Examples:
  drivegate registry quarantine list --dir DIR
  drivegate registry quarantine replay 3f9a12c07be4 --dir DIR
  drivegate registry quarantine discard 3f9a12c07be4 --dir DIR

While a change waits, answers about its subject are INDETERMINATE / RECORD_IN_DISPUTE. docs/authority.md says what each
reason means and what to do.";

/// Shows and settles changes of the authority that wait.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QuarantineCommand {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Lists every change that waits.
    List(Gateway),
    /// Drops a change for good, and gives up what is missing before it; what waited behind it goes in.
    Discard(Named),
    /// Judges a change again at its place, and gives up what is missing before it.
    Replay {
        #[command(flatten)]
        named: Named,
        /// Takes it as recorded now: for one recorded before the latest change on record.
        #[arg(long)]
        recorded_now: bool,
    },
}

#[derive(Debug, Args)]
struct Gateway {
    /// The deployment folder of the gateway that runs.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Named {
    /// The change, as `list` names it: 12 hexadecimal digits.
    #[arg(value_name = "HANDLE", value_parser = handle)]
    handle: String,
    #[command(flatten)]
    gateway: Gateway,
}

impl QuarantineCommand {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        match self.task {
            Task::List(gateway) => gateway.list(),
            Task::Discard(Named { handle, gateway }) => {
                let settled = gateway.client()?.discard(&handle)?;
                gateway.settled("discarded", &handle, settled.applied)
            }
            Task::Replay { named: Named { handle, gateway }, recorded_now } => {
                let settled = gateway.client()?.replay(&handle, recorded_now)?;
                gateway.settled("replayed", &handle, settled.applied)
            }
        }
    }
}

impl Gateway {
    fn client(&self) -> miette::Result<AdminClient> {
        Ok(AdminClient::connect(&Places::of(&self.dir)?.admin_socket)?)
    }

    fn list(&self) -> miette::Result<ExitCode> {
        let client = self.client()?;
        let mut lines: Vec<QuarantineLine> = Vec::new();
        loop {
            let after = lines.last().map(|line| line.handle.clone());
            let page = client.quarantine(after.as_deref())?;
            let fresh: Vec<_> = page
                .into_iter()
                .filter(|line| lines.iter().all(|known| known.handle != line.handle))
                .collect();
            if fresh.is_empty() {
                break;
            }
            lines.extend(fresh);
        }
        if self.json {
            say_json(&json!(lines));
        } else if lines.is_empty() {
            say("nothing waits");
        } else {
            say(&table(&lines));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn settled(&self, done: &str, handle: &str, applied: u64) -> miette::Result<ExitCode> {
        if self.json {
            say_json(&json!({ "handle": handle, "settled": done, "applied": applied }));
        } else {
            say(&format!("{handle} {done}; {applied} changes joined the record"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(lines: &[QuarantineLine]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["handle", "feed", "change", "place", "due", "kind", "since", "reason", "subject"]);
    for line in lines {
        table.add_row([
            line.handle.clone(),
            line.source.clone(),
            line.change_id.clone(),
            line.sequence.to_string(),
            line.next.to_string(),
            line.kind.clone().unwrap_or_else(|| "?".to_owned()),
            line.since.clone(),
            line.reason.clone(),
            if line.subject_known { "in dispute" } else { "unknown" }.to_owned(),
        ]);
    }
    table.to_string()
}

/// Checked here, so that nothing else can end up in a path of the socket.
fn handle(text: &str) -> Result<String, String> {
    text.parse::<crate::intake::change::Handle>()
        .map(|handle| handle.to_string())
        .map_err(|fault| fault.to_string())
}
