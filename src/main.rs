//! Starts the command line; everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;

/// A call makes some forty small allocations; this allocator takes half the time of the system's for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> miette::Result<ExitCode> {
    drivegate::cli::Cli::parse().run()
}
