//! Breaking the Nth system call: a kill right before it, or an I/O error from it.
//!
//! `strace -e inject` does it, so nothing in the program knows. Most of what the
//! program writes is written by one thread, so sweeping N sweeps the steps of its
//! commits one by one.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::load::Load;
use super::server::{Server, children, command, signal};
use super::{Scratch, report};
use crate::program::{Program, like};
use crate::receiver::Receiver;

/// What the kills came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Swept {
    /// How many runs there were.
    pub runs: usize,
    /// In how many the program reached the call.
    pub killed: usize,
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Of those, how many are gone.
    pub lost: usize,
}

/// Whether `strace` is there.
pub fn is_possible() -> bool {
    std::process::Command::new("strace")
        .arg("--version")
        .output()
        .is_ok()
}

/// Kills the program right at the Nth of each call, for each N.
///
/// # Panics
/// If something could not be set up, or a log breaks a rule.
pub async fn kill_at(calls: &[&str], nths: impl Iterator<Item = usize> + Clone) -> Swept {
    let mut swept = Swept::default();
    for call in calls {
        for nth in nths.clone() {
            let scratch = Scratch::new("syscalls");
            let (ledger, killed) = one_kill(scratch.path(), call, nth).await;
            swept.runs += 1;
            swept.killed += usize::from(killed);
            swept.acknowledged += ledger.len();
            swept.lost += ledger.count_lost(scratch.path()).await;
        }
    }
    report(format_args!(
        "kill at a system call: {} runs, {} killed, {} events acknowledged, {} lost",
        swept.runs, swept.killed, swept.acknowledged, swept.lost
    ));
    swept
}

async fn one_kill(dir: &Path, call: &str, nth: usize) -> (super::Ledger, bool) {
    let receiver = Receiver::start().await.expect("a receiver on loopback");
    let load = Load::start(2, &receiver.url());
    let inject = format!("{call}:signal=KILL:when={nth}");
    let program = Program::spawn(traced(dir, call, &inject));
    let pid = program.id();
    let working = async {
        load.send_to(Some(program.try_address().await?));
        // The kill comes by itself, unless the program never gets that far.
        tokio::time::sleep(Duration::from_secs(5)).await;
        Some(())
    };
    let killed = tokio::select! {
        () = program.closed() => true,
        worked = working => worked.is_none(),
    };
    load.send_to(None);
    for child in children(pid) {
        signal(child, "KILL").await;
    }
    program.ended().await;
    (load.stop().await, killed)
}

/// What an I/O error of the disk came to.
#[derive(Clone, Debug)]
pub struct DiskError {
    /// Events that were acknowledged before it.
    pub acknowledged: usize,
    /// Of those, how many are gone.
    pub lost: usize,
    /// The program's exit code.
    pub code: Option<i32>,
    /// What it said.
    pub said: String,
}

/// Lets the Nth `fdatasync` fail with EIO. The program must stop accepting, say
/// why, and end.
///
/// # Panics
/// If something could not be set up, or a log breaks a rule.
pub async fn disk_error(nth: usize) -> DiskError {
    let scratch = Scratch::new("eio");
    let receiver = Receiver::start().await.expect("a receiver on loopback");
    let load = Load::start(4, &receiver.url());
    let inject = format!("fdatasync:error=EIO:when={nth}");
    let server = Server::spawn(traced(scratch.path(), "fdatasync", &inject)).await;
    load.send_to(Some(server.address));
    let ended = server.ended().await;
    load.send_to(None);
    let ledger = load.stop().await;
    let outcome = DiskError {
        acknowledged: ledger.len(),
        lost: ledger.count_lost(scratch.path()).await,
        code: ended.code,
        said: ended.stderr,
    };
    report(format_args!(
        "EIO at fdatasync {nth}: exit code {:?}, {} events acknowledged, {} lost",
        outcome.code, outcome.acknowledged, outcome.lost
    ));
    outcome
}

/// The server under `strace`, which tampers with one call.
fn traced(dir: &Path, call: &str, inject: &str) -> Command {
    let server = command(dir, &[]);
    let server = server.as_std();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args([
            "-e",
            &format!("trace={call}"),
            "-e",
            &format!("inject={inject}"),
        ])
        .arg(server.get_program())
        .args(server.get_args());
    like(&mut command, server);
    command
}
