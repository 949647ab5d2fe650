//! The crash rig's long form, and the writer whose power is cut.
//!
//! `crash` runs everything and prints the figures last; `crash PART` runs one part.

#![expect(clippy::print_stdout, reason = "it reports to a person")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use notify_sqlite::Synchronous;
use notify_tests::crash::quiet::Quiet;
use notify_tests::crash::{
    backup, clock, descriptors, foreign, full, holders, kills, power, quiet, readers, syscalls,
};

/// Break the program, and count what is lost of what it acknowledged.
#[derive(Parser)]
struct Cli {
    /// One part instead of everything
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Write until ended: the writer whose power is cut
    #[command(hide = true)]
    Writer {
        data: PathBuf,
        /// Do not wait for the disk
        #[arg(long)]
        dangerous_normal: bool,
    },
    /// End it with `kill -9`
    Kills {
        /// How often
        #[arg(default_value_t = 5)]
        rounds: usize,
    },
    /// Kill it at each of its first system calls
    Syscalls {
        /// How many of each kind
        #[arg(default_value_t = 5)]
        calls: usize,
    },
    /// Kill it at system calls, and let them fail
    System,
    /// Count the commits of what is done in the background
    Quiet,
    /// Cut its power
    Power,
    /// Fill its disk
    Full,
    /// Read and lock its database
    Foreign,
    /// Copy its database
    Backup,
    /// Take its descriptors
    Descriptors,
    /// Set its clock wrong
    Clock,
}

#[tokio::main]
async fn main() -> ExitCode {
    let sound = match Cli::parse().part {
        None => long_form().await,
        Some(part) => part.run().await,
    };
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Part {
    async fn run(self) -> bool {
        match self {
            Self::Writer {
                data,
                dangerous_normal,
            } => {
                let synchronous = match dangerous_normal {
                    true => Synchronous::DangerousNormal,
                    false => Synchronous::Full,
                };
                power::write(&data, synchronous).await;
                true
            }
            Self::Kills { rounds } => kills::run(rounds).await.lost == 0,
            Self::Syscalls { calls } => syscalls::kill_at(&SYSCALLS, 1..=calls).await.lost == 0,
            Self::System => broken_system_calls().await,
            Self::Quiet => quiet_commits().await,
            Self::Power => cut_power().await,
            Self::Full => full_disk().await,
            Self::Foreign => others_at_the_database().await,
            Self::Backup => backup::run(8).await.is_sound(),
            Self::Descriptors => descriptors::run(200).await.is_sound(),
            Self::Clock => wrong_clocks().await,
        }
    }
}

/// What a commit consists of.
const SYSCALLS: [&str; 2] = ["pwrite64", "fdatasync"];

const MIB: u64 = 1024 * 1024;

async fn long_form() -> bool {
    let mut sound = kills::run(50).await.lost == 0;
    sound &= broken_system_calls().await;
    sound &= cut_power().await;
    sound &= full_disk().await;
    sound &= others_at_the_database().await;
    sound &= backup::run(8).await.is_sound();
    sound &= descriptors::run(200).await.is_sound();
    sound &= wrong_clocks().await;
    let verdict = if sound {
        "nothing acknowledged was lost"
    } else {
        "NOT SOUND"
    };
    println!("{verdict}");
    sound
}

async fn broken_system_calls() -> bool {
    if !syscalls::is_possible() {
        return skipped("strace is not installed");
    }
    let swept = syscalls::kill_at(&SYSCALLS, 1..=110).await;
    let mut sound = swept.lost == 0 && swept.killed >= 200;
    for nth in [20, 40, 90] {
        let error = syscalls::disk_error(nth).await;
        sound &= error.lost == 0 && error.code == Some(4);
    }
    sound & quiet_commits().await
}

async fn quiet_commits() -> bool {
    let trim = quiet::run(Quiet::Trim).await;
    let registration = quiet::run(Quiet::Registration).await;
    trim.is_sound() && registration.is_sound()
}

async fn cut_power() -> bool {
    let Ok(crash) = std::env::current_exe() else {
        return false;
    };
    let cuts = power::run(&crash, 20, Synchronous::Full).await;
    // The control: what does not wait for the disk must be seen to lose.
    let control = power::run(&crash, 6, Synchronous::DangerousNormal).await;
    match (cuts, control) {
        (Some(cuts), Some(control)) => cuts.lost == 0 && control.lost > 0,
        _ => skipped("mounting needs root"),
    }
}

async fn full_disk() -> bool {
    match full::run().await {
        Some(full) => full.lost == 0 && full.refused > 0,
        None => skipped("mounting needs root"),
    }
}

async fn others_at_the_database() -> bool {
    if !foreign::is_possible() {
        return skipped("sqlite3 is not installed");
    }
    let reader = readers::run(320 * MIB, Duration::from_secs(15)).await;
    let holds = [2, 4, 3, 8, 2, 6, 5, 2, 4].map(Duration::from_secs);
    let holders = holders::run(&holds, 3).await;
    reader.is_sound() && holders.is_sound()
}

async fn wrong_clocks() -> bool {
    if clock::library().is_none() {
        return skipped("libfaketime is not installed");
    }
    let clocks = clock::run(&clock::EVERY_WRONG, &clock::EVERY_WHEN).await;
    clocks.iter().all(clock::Clock::is_sound)
}

/// What could not be tried is not proved.
fn skipped(why: &str) -> bool {
    println!("skipped: {why}");
    false
}
