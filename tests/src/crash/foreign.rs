//! Others at the database: people with the `sqlite3` program beside a server.
//!
//! Theirs is whatever SQLite their system has. Older ones can damage a log that
//! they checkpoint, so none of these ever does: a reader opens the file read-only,
//! a lock holder is told not to checkpoint when it closes and writes nothing.
//!
//! The program rather than a library, because that is what an operator has at
//! hand, in a process of its own; and so the tests name no second way to SQL.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a rig that can't do its part has failed"
)]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

/// Far longer than a lock takes to be had.
const HELD_WITHIN: Duration = Duration::from_secs(60);

/// What the program prints once it holds what it was asked to hold.
const HELD: &str = "held";

/// A connection with an open transaction; it is killed when dropped.
#[derive(Debug)]
pub struct Foreign {
    child: Child,
}

/// Whether `sqlite3` is there.
pub fn is_possible() -> bool {
    std::process::Command::new("sqlite3")
        .arg("--version")
        .output()
        .is_ok()
}

/// The database in a data directory.
pub fn database(dir: &Path) -> std::path::PathBuf {
    dir.join("notify.db")
}

impl Foreign {
    /// Holds the state that the database has now: what its log holds from here on
    /// can't be cut off.
    ///
    /// # Panics
    /// If it can't be had.
    pub async fn reading(dir: &Path) -> Self {
        let begin = "BEGIN;\nSELECT count(*) FROM sqlite_schema;\n";
        Self::open(dir, &["-readonly"], begin).await
    }

    /// Holds the only right to write.
    ///
    /// # Panics
    /// If it can't be had.
    pub async fn locking(dir: &Path) -> Self {
        let begin = ".dbconfig no_ckpt_on_close on\n.timeout 50000\nBEGIN IMMEDIATE;\n";
        Self::open(dir, &[], begin).await
    }

    async fn open(dir: &Path, flags: &[&str], begin: &str) -> Self {
        let mut child = Command::new("sqlite3")
            .args(["-batch", "-bail"])
            .args(flags)
            .arg(database(dir))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("sqlite3 is installed");
        let stdin = child.stdin.as_mut().expect("it is piped");
        stdin.write_all(begin.as_bytes()).await.unwrap();
        let print = format!(".print {HELD}\n");
        stdin.write_all(print.as_bytes()).await.unwrap();
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let held = async {
            // It prints nothing more, and ends, once a line fails.
            while let Some(line) = lines.next_line().await.unwrap() {
                if line == HELD {
                    return true;
                }
            }
            false
        };
        let held = tokio::time::timeout(HELD_WITHIN, held).await;
        assert_eq!(held, Ok(true), "sqlite3 could not: {begin}");
        Self { child }
    }

    /// Gives up what it holds, as a person does who leaves.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn end(mut self) {
        drop(self.child.stdin.take());
        let ended = tokio::time::timeout(HELD_WITHIN, self.child.wait()).await;
        assert!(ended.is_ok_and(|it| it.is_ok()), "sqlite3 stays");
    }
}
