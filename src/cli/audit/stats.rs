//! `drivegate audit stats`: what the log says in numbers, and whether a bill agrees with it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use miette::{IntoDiagnostic as _, WrapErr as _};
use serde_json::{Value, json};

use super::export::Chosen;
use super::place::{Place, unreadable};
use super::progress::LogBar;
use crate::audit::check::{Bill, BillLine, LogStats};
use crate::cli::terminal::{say, say_json, tell};

/// The largest bill read.
const BILL_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(super) struct Stats {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    chosen: Chosen,
    /// A bill to hold against the counts: lines of `partner,purpose,count`. More billed than on record is wrong; a little less is
    /// in order, because an entry whose answer never left (the caller had gone, the process died) is never billed.
    #[arg(long, value_name = "FILE")]
    bill: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let bill = self.bill.as_deref().map(read_bill).transpose()?;
        let (folder, mut log, bytes) = self.place.open()?;
        let (mut stats, selection, mut bar) =
            (LogStats::default(), self.chosen.selection(), LogBar::new(bytes));
        let walked = log.walk(|_, bytes| {
            stats.count(bytes, &selection);
            bar.entry(bytes.len() as u64);
            ControlFlow::Continue(())
        });
        bar.finish();
        let walked = walked.map_err(|error| unreadable(&folder, error))?;
        let reconciled = bill.map(|bill| stats.reconcile(&bill));
        if self.json {
            say_json(&in_json(log.origin(), &stats, reconciled.as_deref()).into_diagnostic()?);
        } else {
            print(log.origin(), &stats, reconciled.as_deref());
        }
        if let Some(flaw) = &walked.flaw {
            tell(&format!("the log is damaged: {flaw}; `drivegate audit fsck` says more"));
        }
        if stats.undecodable > 0 {
            tell(&format!("{} entries cannot be read; `drivegate audit fsck` says which", stats.undecodable));
        }
        let overbilled = reconciled.iter().flatten().any(BillLine::is_overbilled);
        let is_fine = walked.flaw.is_none() && stats.undecodable == 0 && !overbilled;
        Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

fn read_bill(path: &Path) -> miette::Result<Bill> {
    let cannot = || format!("cannot read the bill {}", path.display());
    let size = std::fs::metadata(path).into_diagnostic().wrap_err_with(cannot)?.len();
    if size > BILL_BYTES_MAX {
        return Err(miette::miette!("{} is too large for a bill", path.display()));
    }
    let text = std::fs::read_to_string(path).into_diagnostic().wrap_err_with(cannot)?;
    Bill::parse(&text).into_diagnostic().wrap_err_with(cannot)
}

fn print(origin: &str, stats: &LogStats, bill: Option<&[BillLine]>) {
    say(&format!("log       {origin}"));
    let dated = stats.dated.map_or(String::new(), |(first, last)| format!(", dated {first} to {last}"));
    say(&format!("entries   {}{dated}", stats.entries));
    let mut table =
        plain_table(&["partner", "purpose", "answers", "charged", "qualified", "not", "open", "refused"]);
    for (partner, purpose, line) in stats.lines() {
        let purpose = purpose.map_or("(not read)", |purpose| purpose.word());
        let counts = [
            line.answers,
            line.charged,
            line.qualified,
            line.not_qualified,
            line.indeterminate,
            line.refused,
        ];
        let words = [partner.to_string(), purpose.to_owned()];
        table.add_row(words.into_iter().chain(counts.map(|count| count.to_string())));
    }
    say(&table.to_string());
    if let Some(bill) = bill {
        print_bill(bill);
    }
}

fn print_bill(bill: &[BillLine]) {
    let mut table = plain_table(&["partner", "purpose", "on record", "billed", ""]);
    for line in bill {
        let verdict = match line.recorded.checked_sub(line.billed) {
            None => format!("{} too many", line.billed - line.recorded),
            Some(0) => "agrees".to_owned(),
            Some(fewer) => format!("{fewer} on record and not billed: their answers may never have left"),
        };
        let (recorded, billed) = (line.recorded.to_string(), line.billed.to_string());
        table.add_row([line.partner.clone(), line.purpose.to_string(), recorded, billed, verdict]);
    }
    say(&table.to_string());
}

fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn in_json(origin: &str, stats: &LogStats, bill: Option<&[BillLine]>) -> serde_json::Result<Value> {
    let mut lines = Vec::new();
    for (partner, purpose, line) in stats.lines() {
        let mut row = serde_json::to_value(line)?;
        row["partner"] = partner.as_str().into();
        row["purpose"] = purpose.map_or(Value::Null, |purpose| purpose.word().into());
        lines.push(row);
    }
    let mut whole = json!({ "origin": origin, "entries": stats.entries, "undecodable": stats.undecodable, "lines": lines });
    if let Some((first, last)) = stats.dated {
        whole["dated"] = json!([first, last]);
    }
    if let Some(bill) = bill {
        whole["bill"] = serde_json::to_value(bill)?;
        whole["overbilled"] = bill.iter().any(BillLine::is_overbilled).into();
    }
    Ok(whole)
}
