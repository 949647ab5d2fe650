//! A long reader: the log grows for as long as it reads, nobody waits for it, and
//! the log is small again soon after.

#![expect(
    clippy::expect_used,
    reason = "a rig that can't do its part has failed"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use super::closing::close;
use super::foreign::Foreign;
use super::load::Load;
use super::server::{Server, comes_within, wait_until};
use super::{Scratch, report};
use crate::receiver::Receiver;

/// How large a log may be once nobody holds it.
const LOG_BYTES_AFTER_MAX: u64 = 64 * MIB;

/// How soon it must be that.
const SHRINKS_WITHIN: Duration = Duration::from_secs(10);

/// What it takes for a log to grow on a slow machine.
const GROWS_WITHIN: Duration = Duration::from_secs(60);

const MIB: u64 = 1024 * 1024;

/// What a reader came to.
#[derive(Clone, Copy, Debug)]
pub struct Readers {
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Of those, how many are gone.
    pub lost: usize,
    /// Calls that were refused or got no answer while it read.
    pub turned_away: u64,
    /// The longest that a small event's call took while it read.
    pub slowest: Duration,
    /// Whether the log became as large as it should.
    pub grew: bool,
    /// How large the log became.
    pub log_bytes_max: u64,
    /// How large the log was 10 s after the reader's end, or when it was small.
    pub log_bytes_after: u64,
    /// How long after the reader's end the log was small.
    pub small_after: Duration,
}

impl Readers {
    /// Whether nobody waited and the log is small again.
    pub fn is_sound(&self) -> bool {
        self.grew
            && self.lost == 0
            && self.turned_away == 0
            // A wait for the reader's end is of seconds; a slow machine's is not.
            && self.slowest < Duration::from_millis(2_500)
            && self.log_bytes_after < LOG_BYTES_AFTER_MAX
    }
}

/// Holds a reader under load until the log is larger than `log_bytes` and for
/// `on` after that.
///
/// # Panics
/// If something could not be set up, or a log breaks a rule.
pub async fn run(log_bytes: u64, on: Duration) -> Readers {
    let scratch = Scratch::new("readers");
    let receiver = Receiver::start().await.expect("a receiver on loopback");
    let load = Load::start(4, &receiver.url());
    let bulk = Load::bulky(4, 240_000);
    let server = Server::start(scratch.path()).await;
    load.send_to(Some(server.address));
    wait_until("events are accepted", || load.ledger().len() > 50).await;

    let reader = Foreign::reading(scratch.path()).await;
    bulk.send_to(Some(server.address));
    let before = load.take_calls();
    let mut log_bytes_max = 0;
    comes_within(GROWS_WITHIN, || {
        log_bytes_max = log_bytes_max.max(log_len(scratch.path()));
        log_bytes_max > log_bytes
    })
    .await;
    bulk.send_to(None);
    let bulk = bulk.stop().await;
    tokio::time::sleep(on).await;
    let after = load.calls();
    log_bytes_max = log_bytes_max.max(log_len(scratch.path()));

    reader.end().await;
    let ended = Instant::now();
    let mut log_bytes_after = 0;
    comes_within(SHRINKS_WITHIN, || {
        log_bytes_after = log_len(scratch.path());
        log_bytes_after < LOG_BYTES_AFTER_MAX
    })
    .await;
    let small_after = ended.elapsed();
    let closed = close(server, load, &receiver, scratch.path()).await;
    let readers = Readers {
        acknowledged: closed.ledger.len() + bulk.len(),
        lost: closed.lost + bulk.count_lost(scratch.path()).await,
        turned_away: after.refused + after.unanswered - before.refused - before.unanswered,
        slowest: after.slowest,
        grew: log_bytes_max > log_bytes,
        log_bytes_max,
        log_bytes_after,
        small_after,
    };
    report(format_args!(
        "long reader: log of {} MiB, slowest event {} ms, {} turned away; \
         {} MiB {:.1} s after its end; {} events acknowledged, {} lost",
        readers.log_bytes_max / MIB,
        readers.slowest.as_millis(),
        readers.turned_away,
        readers.log_bytes_after / MIB,
        readers.small_after.as_secs_f64(),
        readers.acknowledged,
        readers.lost,
    ));
    readers
}

fn log_len(dir: &Path) -> u64 {
    let log = dir.join("notify.db-wal");
    std::fs::metadata(log).map_or(0, |it| it.len())
}
