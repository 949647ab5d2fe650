//! The crash rig's long form, and the writer whose power is cut.
//!
//! `crash` runs everything and prints the figures last; `crash kills ROUNDS` and
//! `crash syscalls N` run one part; `crash writer DIR [--dangerous-normal]` writes
//! until it is ended.

#![expect(clippy::print_stdout, reason = "it reports to a person")]

use std::path::Path;
use std::process::ExitCode;

use notify_sqlite::Synchronous;
use notify_tests::crash::{full, kills, power, syscalls};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => long_form().await,
        ["writer", data] => {
            power::write(Path::new(data), Synchronous::Full).await;
            ExitCode::SUCCESS
        }
        ["writer", data, "--dangerous-normal"] => {
            power::write(Path::new(data), Synchronous::DangerousNormal).await;
            ExitCode::SUCCESS
        }
        ["kills", rounds] => {
            let killed = kills::run(rounds.parse().unwrap_or(5)).await;
            ExitCode::from(u8::from(killed.lost > 0))
        }
        ["syscalls", calls] => {
            let swept = syscalls::kill_at(&SYSCALLS, 1..=calls.parse().unwrap_or(5)).await;
            ExitCode::from(u8::from(swept.lost > 0))
        }
        _ => ExitCode::from(2),
    }
}

/// What a commit consists of.
const SYSCALLS: [&str; 2] = ["pwrite64", "fdatasync"];

async fn long_form() -> ExitCode {
    let Ok(crash) = std::env::current_exe() else {
        return ExitCode::FAILURE;
    };
    let killed = kills::run(50).await;
    let mut sound = killed.lost == 0;
    if syscalls::is_possible() {
        let swept = syscalls::kill_at(&SYSCALLS, 1..=110).await;
        sound &= swept.lost == 0 && swept.killed >= 200;
        for nth in [20, 40, 90] {
            let error = syscalls::disk_error(nth).await;
            sound &= error.lost == 0 && error.code == Some(4);
        }
        for what in [syscalls::Quiet::Trimming, syscalls::Quiet::Registering] {
            sound &= syscalls::disk_error_while(what).await.code == Some(4);
        }
    } else {
        println!("skipped: strace is not installed");
        sound = false;
    }
    match power::run(&crash, 20, Synchronous::Full).await {
        Some(cuts) => sound &= cuts.lost == 0,
        None => sound = skipped_for_want_of_root(),
    }
    match power::run(&crash, 6, Synchronous::DangerousNormal).await {
        // The control: what does not wait for the disk must be seen to lose.
        Some(cuts) => sound &= cuts.lost > 0,
        None => sound = false,
    }
    match full::run().await {
        Some(full) => sound &= full.lost == 0 && full.refused > 0,
        None => sound = skipped_for_want_of_root(),
    }
    println!(
        "{}",
        if sound {
            "nothing acknowledged was lost"
        } else {
            "NOT SOUND"
        }
    );
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn skipped_for_want_of_root() -> bool {
    println!("skipped: mounting needs root");
    false
}
