//! The commands, one file each.
//!
//! May know: every room. Must not know: nothing is reserved, but no rule of the product lives here.

pub mod audit;
pub mod authority;
pub mod check;
pub mod demo;
mod deployment;
pub mod hold;
pub mod init;
mod lines_in;
pub mod load;
pub mod log;
pub mod partner;
pub mod pki;
pub mod present;
mod qr;
pub mod receipt;
pub mod registry;
pub mod serve;
pub mod terminal;
pub mod verify;
pub mod witness;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The gateway organisations call to check a driver's qualification without seeing the driver's record.
#[derive(Debug, Parser)]
#[command(name = "drivegate", version, propagate_version = true, max_term_width = 110)]
#[command(
    after_help = "Start here:\n  drivegate demo              see the main job played in five seconds\n  drivegate init DIR          write a sandbox deployment\n  drivegate serve --config DIR/config.toml"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoCommand),
    Init(init::InitCommand),
    Serve(serve::ServeCommand),
    Check(check::CheckCommand),
    Verify(Box<verify::VerifyCommand>),
    Present(Box<present::PresentCommand>),
    Receipt(Box<receipt::ReceiptCommand>),
    Registry(registry::RegistryCommand),
    Authority(authority::AuthorityCommand),
    Audit(audit::AuditCommand),
    Partner(partner::PartnerCommand),
    Hold(hold::HoldCommand),
    Pki(pki::PkiCommand),
    Log(log::LogCommand),
    Witness(witness::WitnessCommand),
    Load(Box<load::LoadCommand>),
}

impl Cli {
    /// Runs the chosen command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        match self.command {
            Command::Demo(command) => command.run(),
            Command::Init(command) => command.run(),
            Command::Serve(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Present(command) => command.run(),
            Command::Receipt(command) => command.run(),
            Command::Registry(command) => command.run(),
            Command::Authority(command) => command.run(),
            Command::Audit(command) => command.run(),
            Command::Partner(command) => command.run(),
            Command::Hold(command) => command.run(),
            Command::Pki(command) => command.run(),
            Command::Log(command) => command.run(),
            Command::Witness(command) => command.run(),
            Command::Load(command) => command.run(),
        }
    }
}
