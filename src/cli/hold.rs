//! `drivegate hold`: look-ups held back from drivers, over the socket of the gateway that runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use miette::{IntoDiagnostic as _, WrapErr as _};
use serde_json::json;
use zeroize::Zeroizing;

use super::deployment::Places;
use super::terminal::{say, say_json};
use crate::admin::client::AdminClient;
use crate::admin::ports::{HoldBackLifted, HoldBackSet};
use crate::admin::report::HoldBackLine;
use crate::domain::licence::DocumentKind;
use crate::domain::partner::PartnerId;

const EXAMPLES: &str = "\
Examples:
  drivegate hold set --dir DIR --police --until 2027-02-22T00:00:00+08:00 --by 'officer 4711' --ground 'file 2026-17' < number.txt
  drivegate hold list --dir DIR < number.txt
  drivegate hold lift a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3 --dir DIR --by 'officer 4711' --ground closed < number.txt

The driver's number is one line on standard input: a command line can be read by others. A hold-back lifts itself at its end; the
driver's list then shows what it held back. Setting and lifting one are entries of the evidence log, ground and setter included.";

/// Holds look-ups back from a driver while telling would endanger an investigation.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HoldCommand {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Holds back the look-ups of a partner, or every police check.
    Set(Set),
    /// Lists a driver's hold-backs, over ones included.
    List(Driver),
    /// Lifts a hold-back before its time.
    Lift(Lift),
}

#[derive(Debug, Args)]
struct Driver {
    /// The deployment folder of the gateway that runs.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The kind of the driver's document.
    #[arg(long, value_name = "KIND", default_value = "resident-id")]
    document: DocumentKind,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Decision {
    /// Who decides: 1 to 64 bytes, on record.
    #[arg(long, value_name = "WHO")]
    by: String,
    /// Why: 1 to 120 bytes, read by whoever reads the log. Name the investigation's file, and nobody.
    #[arg(long, value_name = "TEXT")]
    ground: String,
}

#[derive(Debug, Args)]
struct Set {
    /// Look-ups of this partner.
    #[arg(long, value_name = "ID", conflicts_with = "police", required_unless_present = "police")]
    partner: Option<PartnerId>,
    /// Every police check, whoever makes it.
    #[arg(long)]
    police: bool,
    /// Look-ups from this moment on, RFC 3339; default: from now.
    #[arg(long, value_name = "MOMENT")]
    from: Option<Timestamp>,
    /// Until when, RFC 3339.
    #[arg(long, value_name = "MOMENT")]
    until: Timestamp,
    #[command(flatten)]
    decision: Decision,
    #[command(flatten)]
    driver: Driver,
}

#[derive(Debug, Args)]
struct Lift {
    /// The hold-back, as `list` names it: 32 hexadecimal digits.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    decision: Decision,
    #[command(flatten)]
    driver: Driver,
}

impl HoldCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        match self.task {
            Task::Set(Set { partner, from, until, decision, driver, police: _ }) => {
                let wanted = HoldBackSet {
                    partner: partner.map(|partner| partner.to_string()),
                    from: from.map(|from| from.to_string()),
                    until: until.to_string(),
                    set_by: decision.by,
                    ground: decision.ground,
                };
                let (client, number) = driver.begin()?;
                let line = client.set_hold_back((driver.document, &number), &wanted)?;
                driver.show("held back", &line);
            }
            Task::List(driver) => {
                let (client, number) = driver.begin()?;
                let lines = client.hold_backs((driver.document, &number))?;
                driver.list(&lines);
            }
            Task::Lift(Lift { id, decision, driver }) => {
                let wanted = HoldBackLifted { id, lifted_by: decision.by, ground: decision.ground };
                let (client, number) = driver.begin()?;
                let line = client.lift_hold_back((driver.document, &number), &wanted)?;
                driver.show("lifted", &line);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Driver {
    /// Connects to the gateway and reads the driver's number from standard input.
    fn begin(&self) -> miette::Result<(AdminClient, Zeroizing<String>)> {
        let client = AdminClient::connect(&Places::of(&self.dir)?.admin_socket)?;
        let mut line = Zeroizing::new(String::new());
        let read = std::io::stdin().read_line(&mut line).into_diagnostic();
        read.wrap_err("cannot read the driver's number from standard input")?;
        let number = Zeroizing::new(line.trim().to_owned());
        if number.is_empty() {
            miette::bail!(
                help = "give it as one line: drivegate hold … < number.txt",
                "standard input holds no number"
            );
        }
        Ok((client, number))
    }

    fn show(&self, done: &str, line: &HoldBackLine) {
        if self.json {
            say_json(&json!(line));
        } else {
            say(&format!("{done}: {} {} to {} ({})", whose(line), line.from, line.until, line.id));
        }
    }

    fn list(&self, lines: &[HoldBackLine]) {
        if self.json {
            say_json(&json!(lines));
        } else if lines.is_empty() {
            say("nothing is held back");
        } else {
            say(&table(lines));
        }
    }
}

fn whose(line: &HoldBackLine) -> &str {
    line.partner.as_deref().unwrap_or("police checks")
}

fn table(lines: &[HoldBackLine]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["id", "look-ups of", "from", "until", "in force", "set by", "ground"]);
    for line in lines {
        table.add_row([
            line.id.as_str(),
            whose(line),
            &line.from,
            &line.until,
            if line.in_force { "yes" } else { "over" },
            &line.set_by,
            &line.ground,
        ]);
    }
    table.to_string()
}
