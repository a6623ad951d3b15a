//! Starts the command line; everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;

/// A call allocates and frees on one core: per-thread heaps fit that. The benchmarks show no difference beyond their noise.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> miette::Result<ExitCode> {
    drivegate::cli::Cli::parse().run()
}
