//! The real program on a data directory, and how to end it.

#![expect(
    clippy::unwrap_used,
    reason = "a rig that can't do its part has failed"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::http_client::{HttpAnswer, HttpRequest};
use crate::program::{Ended, Program, notify};

/// The API key of every server here.
pub const KEY: &str = "operator-key-0123456789";

/// A running server.
pub struct Server {
    program: Program,
    /// The process to signal, which is not the wrapper that it may run under.
    pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
    _leftover: Leftover,
}

/// Ends a server that its wrapper, ended itself, has left behind.
struct Leftover(u32);

impl Drop for Leftover {
    fn drop(&mut self) {
        let command = std::fs::read(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
        // Its number may be another process's by now.
        if command
            .split(|byte| *byte == 0)
            .any(|word| word == b"serve")
        {
            let kill = ["-KILL", &self.0.to_string()];
            let _ = std::process::Command::new("kill").args(kill).status();
        }
    }
}

/// The command that serves `dir`, with settings that retry quickly.
pub fn command(dir: &Path, settings: &[(&str, &str)]) -> Command {
    let dir = dir.to_str().unwrap();
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--allow-loopback",
        "--data-dir",
        dir,
    ];
    let schedule = format!("[{}]", vec!["\"50ms\""; 100].join(","));
    let mut env = vec![
        ("NOTIFY_API_KEY", KEY),
        ("NOTIFY_SIGNING_SECRET", "operator-hmac-key"),
        ("NOTIFY_RETRY_SCHEDULE", schedule.as_str()),
    ];
    env.extend(settings);
    notify(&args, &env)
}

impl Server {
    /// Starts it and waits until it listens.
    pub async fn start(dir: &Path) -> Self {
        Self::spawn(command(dir, &[])).await
    }

    /// Starts a command that serves, perhaps under a wrapper.
    pub async fn spawn(command: Command) -> Self {
        let program = Program::spawn(command);
        let address = program.address().await;
        let own = program.id();
        let pid = children(own).first().copied().unwrap_or(own);
        Self {
            program,
            pid,
            address,
            _leftover: Leftover(pid),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// `kill -9`.
    pub async fn kill(self) {
        signal(self.pid, "KILL").await;
        self.program.ended().await;
    }

    /// Asks it to stop, and says how it ended.
    pub async fn stop(self) -> Ended {
        signal(self.pid, "TERM").await;
        self.program.ended().await
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.program.is_running()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// What its API says to the operator.
    pub async fn get(&self, path: &str) -> HttpAnswer {
        HttpRequest::get(path).bearer(KEY).send(self.address).await
    }

    /// Sends the operator's JSON to its API.
    pub async fn post(&self, path: &str, body: &str) -> HttpAnswer {
        let request = HttpRequest::post(path, body).bearer(KEY);
        request.send(self.address).await
    }

    /// Waits until it ends by itself, for so long; then it is killed.
    pub async fn ended_within(mut self, wait: Duration) -> Ended {
        let deadline = Instant::now() + wait;
        while self.is_running() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if self.is_running() {
            signal(self.pid, "KILL").await;
        }
        self.program.ended().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Ended {
        self.program.ended().await
    }
}

/// Sends a signal to a process that was started here.
pub async fn signal(pid: u32, name: &str) {
    let line = format!("kill -{name} {pid} 2>/dev/null || true");
    let _ = Command::new("sh").args(["-c", &line]).status().await;
}

/// The processes that `pid` has started.
pub fn children(pid: u32) -> Vec<u32> {
    let list = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(list).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Waits until `done`, looking again and again, for at most a minute.
///
/// # Panics
/// If it does not come about.
pub async fn wait_until(what: &str, done: impl FnMut() -> bool) {
    let came = comes_within(Duration::from_secs(60), done).await;
    assert!(came, "not within a minute: {what}");
}

/// Whether `done` comes about in time; it is looked at again and again.
pub async fn comes_within(wait: Duration, mut done: impl FnMut() -> bool) -> bool {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(wait, waiting).await.is_ok()
}
