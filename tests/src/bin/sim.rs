//! Runs the simulator over many seeds, or one seed again: `--seeds N --from S`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people in a terminal reports there"
)]

use std::process::ExitCode;

use notify_tests::sim::{self, Figures, Sabotage};

const USAGE: &str = "usage: sim [--seeds N] [--from S]";

fn main() -> ExitCode {
    let Some((from, seeds)) = read_arguments(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
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

/// Where to begin, and how many seeds; `None` for anything else.
fn read_arguments(mut arguments: impl Iterator<Item = String>) -> Option<(u64, u64)> {
    let (mut from, mut seeds) = (0, 10_000);
    while let Some(argument) = arguments.next() {
        let number = arguments.next()?.parse().ok()?;
        match argument.as_str() {
            "--from" => from = number,
            "--seeds" => seeds = number,
            _ => return None,
        }
    }
    Some((from, seeds))
}
