//! The workspace's own commands: `cargo xtask test`, `cargo xtask ci` and so on.
//!
//! Everything that checks this project is a command here, so that a person and
//! CI run the same thing: `.ci/run` calls `cargo xtask ci` and nothing else.
//! This package imports no crate of the workspace, and beyond `std` only what reads
//! its command line, so it builds in seconds and still reports when the rest does
//! not compile.
//!
//! - [`usage`]: what the command line asks for;
//! - [`ci`], [`mod@test`], [`mod@bench`], [`sim`], [`crash`], [`fuzz`],
//!   [`package`]: the commands, each a list of steps;
//! - [`suite`]: integration tests that need something from outside, which is a
//!   [`need`]: a program ([`debian`], [`crates`]), packages ([`python`], [`npm`]),
//!   or a format ([`rustdoc`]);
//! - [`step`]: one child process, streamed and timed;
//! - [`tally`]: how many tests passed, failed and were skipped.
//!
//! Children stay in this program's process group. Ctrl-C in a terminal reaches
//! all of them at once, and there is nothing here to clean up after it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people in a terminal reports there"
)]

use std::path::Path;
use std::process::ExitCode;
use std::{env, io};

use clap::Parser as _;

use crate::usage::{Task, Usage};

mod bench;
mod ci;
mod crash;
mod crates;
mod debian;
mod fuzz;
mod mounts;
mod need;
mod npm;
mod package;
mod python;
mod rustdoc;
mod sim;
mod step;
mod suite;
mod tally;
mod test;
mod usage;

fn main() -> ExitCode {
    // Help ends the process with 0, and wrong usage with 2.
    let Usage { task } = Usage::parse();
    if let Err(error) = enter_workspace() {
        eprintln!("xtask: cannot enter the workspace's folder: {error}");
        return ExitCode::FAILURE;
    }
    let succeeded = match task {
        Task::Ci => ci::run(),
        Task::Test(options) => test::run(&options),
        Task::Bench(measurement) => bench::run(&measurement),
        Task::Crash => crash::run(),
        Task::Package => package::run(),
        Task::Sim(seeds) => sim::run(&seeds),
        Task::Fuzz(campaign) => fuzz::run(&campaign),
    };
    if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Makes the workspace's root the current folder, so that a command means the
/// same wherever in the workspace it was typed.
fn enter_workspace() -> io::Result<()> {
    env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}
