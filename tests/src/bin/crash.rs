//! The crash rig's long form, and the writer whose power is cut.
//!
//! `crash` runs everything and prints the figures last; `crash PART` runs one
//! part, `crash kills ROUNDS` and `crash syscalls N` with their numbers; `crash
//! writer DIR [--dangerous-normal]` writes until it is ended.

#![expect(clippy::print_stdout, reason = "it reports to a person")]

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use notify_sqlite::Synchronous;
use notify_tests::crash::quiet::Quiet;
use notify_tests::crash::{
    backup, clock, descriptors, foreign, full, holders, kills, power, quiet, readers, syscalls,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let sound = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => long_form().await,
        ["writer", data] => {
            power::write(Path::new(data), Synchronous::Full).await;
            true
        }
        ["writer", data, "--dangerous-normal"] => {
            power::write(Path::new(data), Synchronous::DangerousNormal).await;
            true
        }
        ["kills", rounds] => kills::run(rounds.parse().unwrap_or(5)).await.lost == 0,
        ["syscalls", calls] => {
            let calls = 1..=calls.parse().unwrap_or(5);
            syscalls::kill_at(&SYSCALLS, calls).await.lost == 0
        }
        ["system"] => broken_system_calls().await,
        ["quiet"] => quiet_commits().await,
        ["power"] => cut_power().await,
        ["full"] => full_disk().await,
        ["foreign"] => others_at_the_database().await,
        ["backup"] => backup::run(8).await.is_sound(),
        ["descriptors"] => descriptors::run(200).await.is_sound(),
        ["clock"] => wrong_clocks().await,
        _ => return ExitCode::from(2),
    };
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
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
