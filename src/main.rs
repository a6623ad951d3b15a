//! Starts the command line; everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> miette::Result<ExitCode> {
    drivegate::cli::Cli::parse().run()
}
