//! Runs the simulator over many seeds, or one seed again: `--seeds N --from S`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people in a terminal reports there"
)]

use std::process::ExitCode;

use clap::Parser;
use notify_tests::sim::{self, Figures, Sabotage};

/// Simulate scheduler and store under faults.
#[derive(Parser)]
struct Cli {
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// How many worlds
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    seeds: u64,
}

fn main() -> ExitCode {
    let Cli { from, seeds } = Cli::parse();
    let mut figures = Figures::default();
    for seed in from..from.saturating_add(seeds) {
        match sim::run(seed, Sabotage::None) {
            Ok(more) => figures += more,
            Err(violation) => {
                eprintln!("{violation}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{figures}");
    ExitCode::SUCCESS
}
