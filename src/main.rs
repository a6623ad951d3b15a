//! Starts the command line; everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;

/// A call makes some forty small allocations on a core that never shares them: an allocator with per-thread heaps fits.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> miette::Result<ExitCode> {
    drivegate::cli::Cli::parse().run()
}
