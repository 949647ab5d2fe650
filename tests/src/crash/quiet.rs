//! An I/O error in a commit that no event waits for: a trim, or a registration.
//!
//! `strace` is attached to a server at rest, so that the next flush is that
//! commit's alone. The program must end by itself, with the reason, although
//! nobody sends it another event.

#![expect(
    clippy::unwrap_used,
    reason = "a rig that can't do its part has failed"
)]

use std::time::Duration;

use notify_core::JobStatus;
use tokio::process::Command;

use super::server::{Server, command};
use super::{Ledger, Scratch, report};
use crate::program::Program;

/// Running jobs, which no trim takes.
const RUNNING: usize = 20;

/// How long a job is kept once it has ended: long enough to attach `strace`.
const RETENTION: &str = "4s";

/// How soon the program must have ended: a trim comes within seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(25);

/// What commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// Only a trim.
    Trim,
    /// Only a registration.
    Registration,
}

/// What the error came to.
#[derive(Clone, Debug)]
pub struct QuietError {
    /// The program's exit code; `None` if it did not end by itself.
    pub code: Option<i32>,
    /// What it said.
    pub said: String,
    /// The status that the registration was answered with.
    pub answered: Option<u16>,
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Of those, how many are gone.
    pub lost: usize,
}

impl QuietError {
    /// Whether it ended the program, with its reason, and cost nothing.
    pub fn is_sound(&self) -> bool {
        let reason = self.said.contains("the store has failed");
        // An acknowledged registration would be lost.
        self.code == Some(4) && reason && self.answered != Some(201) && self.lost == 0
    }
}

/// Lets each flush of a server fail from one trim or registration on.
///
/// # Panics
/// If something could not be set up, or a log breaks a rule.
pub async fn run(quiet: Quiet) -> QuietError {
    let scratch = Scratch::new("quiet");
    let settings = match quiet {
        Quiet::Trim => &[("NOTIFY_STORE__RETENTION", RETENTION)][..],
        Quiet::Registration => &[],
    };
    let server = Server::spawn(command(scratch.path(), settings)).await;
    let mut ledger = Ledger::default();
    for nth in 0..RUNNING {
        let job = format!("running-{nth}");
        let id = accept(&server, &job, JobStatus::Queued).await;
        ledger.note(&job, id.parse().unwrap(), JobStatus::Queued);
    }
    accept(&server, "ended", JobStatus::Completed).await;

    let pid = server.id().to_string();
    let mut attach = Command::new("strace");
    attach
        .args(["-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"])
        .args(["-e", "inject=fdatasync,fsync:error=EIO", "-p", &pid]);
    let strace = Program::spawn(attach);
    strace.stderr_line("attached").await;
    let answered = match quiet {
        Quiet::Trim => None,
        Quiet::Registration => {
            let answer = server.post("/v1/jobs", r#"{"job_id":"registered"}"#).await;
            Some(answer.status)
        }
    };
    let ended = server.ended_within(ENDS_WITHIN).await;
    // It ends with what it traces.
    strace.ended().await;
    let outcome = QuietError {
        code: ended.code,
        said: ended.stderr,
        answered,
        acknowledged: ledger.len(),
        lost: ledger.count_lost(scratch.path()).await,
    };
    report(format_args!(
        "EIO in a {quiet:?}: exit code {:?}, answered {:?}, {} events acknowledged, {} lost",
        outcome.code, outcome.answered, outcome.acknowledged, outcome.lost
    ));
    outcome
}

/// Has an event accepted that nobody is told of, so that nothing is left to be
/// written for it, and returns its id.
async fn accept(server: &Server, job: &str, status: JobStatus) -> String {
    let path = format!("/v1/jobs/{job}/events");
    let answer = server
        .post(&path, &format!(r#"{{"status":"{status}"}}"#))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.text("/id")
}
