//! A process with little stack, whose memory is watched.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a process that can't be watched has failed its test"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::program::{Program, under_shell};

/// What each thread's stack has: the usual size of all threads but the first.
const STACK_BYTES: &str = "2097152";

/// A program that hostile bodies are sent to.
#[derive(Debug)]
pub struct Process {
    program: Program,
    /// Where it listens.
    pub address: SocketAddr,
    idle_kib: u64,
}

/// The customer's receiver, whose build has `serde_json`'s features on.
///
/// # Panics
/// If it has not been built: `cargo xtask test` does that.
pub fn customer(secret: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program: PathBuf = root.join("target/customer/debug/notify-customer");
    assert!(
        program.is_file(),
        "{} is not there; run cargo xtask test",
        program.display()
    );
    let mut command = Command::new(program);
    command.env("RECEIVER_SECRET", secret);
    command
}

impl Process {
    /// Starts it with 2 MiB of stack for each of its threads.
    ///
    /// # Panics
    /// If it does not run, or has another stack.
    pub async fn start(command: Command) -> Self {
        // The first thread's is the shell's to set; the library's default for all
        // others, the runtime's workers among them, is a variable.
        let mut command = under_shell("ulimit -s 2048", command);
        command.env("RUST_MIN_STACK", STACK_BYTES);
        let program = Program::spawn(command);
        let address = program.address().await;
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap();
        let stack = limits
            .lines()
            .find(|line| line.starts_with("Max stack size"));
        assert!(
            stack.is_some_and(|line| line.contains(STACK_BYTES)),
            "{limits}"
        );
        Self {
            program,
            address,
            idle_kib: 0,
        }
    }

    /// Takes what it has now for what it has when idle.
    pub fn is_idle_now(&mut self) {
        self.idle_kib = self.status("VmRSS:");
    }

    /// Forgets how much memory it once had.
    ///
    /// # Panics
    /// If that can't be done, as when it has ended.
    pub fn forget_peak(&self) {
        let file = format!("/proc/{}/clear_refs", self.program.id());
        std::fs::write(file, "5").expect("it runs");
    }

    /// How much more it had since then than when it was idle, at its peak.
    pub fn peak_kib_over_idle(&self) -> u64 {
        self.status("VmHWM:").saturating_sub(self.idle_kib)
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.program.is_running()
    }

    fn status(&self, field: &str) -> u64 {
        let file = format!("/proc/{}/status", self.program.id());
        let status = std::fs::read_to_string(file).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.map_or(0, |kib| kib.parse().unwrap())
    }
}
