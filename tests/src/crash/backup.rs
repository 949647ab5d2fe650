//! `notify backup` beside a server under load: each copy is whole up to an event,
//! and has every event that was acknowledged before it began. A backup that is
//! killed leaves a whole copy or none.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a rig that can't do its part has failed"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::closing::close;
use super::load::Load;
use super::server::{Server, comes_within, command, signal, wait_until};
use super::{Ledger, Scratch, random, report};
use crate::program::Program;
use crate::receiver::Receiver;

/// A backup that takes longer does not end under load.
const BACKED_UP_WITHIN: Duration = Duration::from_secs(20);

/// What the backups came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backups {
    /// How many were begun and not killed.
    pub begun: usize,
    /// How many of those made a copy.
    pub made: usize,
    /// The longest that one of those took.
    pub slowest: Duration,
    /// How many were killed before their end.
    pub killed: usize,
    /// How many of those left a copy.
    pub left: usize,
    /// Copies that `notify check` or a server refuses.
    pub broken: usize,
    /// Events that were acknowledged before the backups whose copies were opened.
    pub acknowledged: usize,
    /// Of those, how many are not in the copy.
    pub lost_in_copy: usize,
    /// Events that are gone from the original, or were not delivered.
    pub lost: usize,
}

impl Backups {
    /// Whether every copy was made and is whole.
    pub fn is_sound(&self) -> bool {
        let bad = (self.broken, self.lost_in_copy, self.lost);
        self.begun > 0 && self.made == self.begun && bad == (0, 0, 0)
    }
}

/// Makes so many backups under load, and kills as many; in the last round the
/// server is killed beside a backup.
///
/// # Panics
/// If something could not be set up, or a log breaks a rule.
pub async fn run(rounds: usize) -> Backups {
    let scratch = Scratch::new("backup");
    let data = scratch.path().join("data");
    let receiver = Receiver::start().await.expect("a receiver on loopback");
    let load = Load::start(4, &receiver.url());
    let bulk = Load::bulky(2, 20_000);
    let mut server = Server::start(&data).await;
    load.send_to(Some(server.address));
    bulk.send_to(Some(server.address));
    wait_until("there is something to copy", || bulk.ledger().len() > 500).await;
    bulk.send_to(None);

    let mut backups = Backups::default();
    for round in 0..rounds {
        let copy = Copy::new(scratch.path(), &format!("copy-{round}"));
        let before = load.ledger();
        let took = copy.make(&data).await;
        backups.begun += 1;
        if let Some(took) = took {
            backups.made += 1;
            backups.slowest = backups.slowest.max(took);
            copy.judge(&before, &load, &mut backups).await;
        }

        let copy = Copy::new(scratch.path(), &format!("killed-{round}"));
        let before = load.ledger();
        let backup = copy.begin(&data);
        let whole = u64::try_from(backups.slowest.as_millis()).unwrap();
        tokio::time::sleep(Duration::from_millis(random() % (whole + 1))).await;
        if round + 1 == rounds {
            load.send_to(None);
            server.kill().await;
            server = Server::start(&data).await;
            load.send_to(Some(server.address));
        }
        backup.kill().await;
        backups.killed += 1;
        if copy.file().is_file() {
            backups.left += 1;
            copy.judge(&before, &load, &mut backups).await;
        }
    }
    let bulk = bulk.stop().await;
    let closed = close(server, load, &receiver, &data).await;
    backups.lost = closed.lost + bulk.count_lost(&data).await;
    report(format_args!(
        "backup: {} of {} made, at most {} ms; {} killed, of which {} left a copy; {} broken; \
         {} events acknowledged before, {} not in the copy, {} lost",
        backups.made,
        backups.begun,
        backups.slowest.as_millis(),
        backups.killed,
        backups.left,
        backups.broken,
        backups.acknowledged,
        backups.lost_in_copy,
        backups.lost,
    ));
    backups
}

/// A directory for a copy, which a server can be started on.
struct Copy(PathBuf);

impl Copy {
    fn new(scratch: &Path, name: &str) -> Self {
        let dir = scratch.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn file(&self) -> PathBuf {
        super::foreign::database(&self.0)
    }

    fn begin(&self, data: &Path) -> Program {
        let (file, data) = (self.file(), data.to_str().unwrap());
        let args = ["backup", file.to_str().unwrap(), "--data-dir", data];
        Program::start(&args, &[])
    }

    /// Makes it, and says how long that took; `None` if it could not be made.
    async fn make(&self, data: &Path) -> Option<Duration> {
        let begun = Instant::now();
        let mut backup = self.begin(data);
        let ended = comes_within(BACKED_UP_WITHIN, || !backup.is_running()).await;
        let took = begun.elapsed();
        if !ended {
            backup.kill().await;
            report(format_args!("a backup does not end"));
            return None;
        }
        let ended = backup.ended().await;
        if ended.code != Some(0) {
            report(format_args!(
                "a backup failed: {:?} {}",
                ended.code, ended.stderr
            ));
        }
        (ended.code == Some(0)).then_some(took)
    }

    /// Has it checked, served and searched for what was acknowledged before.
    async fn judge(&self, before: &Ledger, load: &Load, backups: &mut Backups) {
        let dir = self.0.to_str().unwrap();
        let check = Program::run(&["check", "--data-dir", dir], &[]).await;
        if check.code != Some(0) {
            report(format_args!(
                "a copy is broken: {}{}",
                check.stdout, check.stderr
            ));
            backups.broken += 1;
            return;
        }
        let program = Program::spawn(command(&self.0, &[]));
        let Some(address) = program.try_address().await else {
            backups.broken += 1;
            return;
        };
        let ready = crate::http_client::HttpRequest::get("/readyz");
        let ready = ready.send(address).await.status == 200;
        signal(program.id(), "TERM").await;
        let stopped = program.ended().await.code == Some(0);
        backups.broken += usize::from(!(ready && stopped));
        backups.acknowledged += before.len();
        backups.lost_in_copy += before.count_lost(&self.0).await;
        // What came later may be there or not, but a log that is there is whole.
        load.ledger().count_lost(&self.0).await;
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
