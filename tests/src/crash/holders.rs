//! A foreign write lock, held again and again under load and kills: it is "not
//! now" to the program, never the end.

#![expect(
    clippy::expect_used,
    reason = "a rig that can't do its part has failed"
)]

use std::time::Duration;

use super::closing::close;
use super::foreign::Foreign;
use super::load::Load;
use super::server::{Server, comes_within};
use super::{Scratch, random, report};
use crate::receiver::Receiver;

/// How soon events must be accepted again.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(15);

/// What the locks came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holders {
    /// How often the lock was held.
    pub rounds: usize,
    /// In how many of those the server was killed meanwhile.
    pub kills: usize,
    /// How often the server ended by itself.
    pub ends: usize,
    /// After how many no event was accepted for long.
    pub stalls: usize,
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Calls that were refused.
    pub refused: u64,
    /// Of those, without saying when to come back.
    pub refused_bare: u64,
    /// Calls that got no answer within 10 s.
    pub unanswered: u64,
    /// Of the acknowledged, how many are gone.
    pub lost: usize,
    /// Webhooks that came again though they had been taken.
    pub duplicates: usize,
}

impl Holders {
    /// Whether it cost nobody more than a refusal.
    pub fn is_sound(&self) -> bool {
        let Self { ends, stalls, .. } = self;
        (
            *ends,
            *stalls,
            self.refused_bare,
            self.unanswered,
            self.lost,
        ) == (0, 0, 0, 0, 0)
    }
}

/// Holds the lock for each of these times; every `kill_each`th time the server is
/// killed meanwhile, and started again afterwards.
///
/// # Panics
/// If something could not be set up, or a log breaks a rule.
pub async fn run(holds: &[Duration], kill_each: usize) -> Holders {
    let scratch = Scratch::new("holders");
    let receiver = Receiver::start().await.expect("a receiver on loopback");
    let load = Load::start(8, &receiver.url());
    let mut server = Server::start(scratch.path()).await;
    let mut holders = Holders::default();
    for (hold, nth) in holds.iter().zip(1..) {
        load.send_to(Some(server.address));
        let before = load.ledger().len();
        let accepted = || load.ledger().len() > before + 20;
        holders.stalls += usize::from(!comes_within(ACCEPTED_WITHIN, accepted).await);
        tokio::time::sleep(Duration::from_millis(random() % 200)).await;

        let holder = Foreign::locking(scratch.path()).await;
        holders.rounds += 1;
        if nth % kill_each == 0 {
            tokio::time::sleep(*hold / 2).await;
            load.send_to(None);
            server.kill().await;
            holders.kills += 1;
            tokio::time::sleep(*hold / 2).await;
            holder.end().await;
            server = Server::start(scratch.path()).await;
            continue;
        }
        tokio::time::sleep(*hold).await;
        holder.end().await;
        // What the lock broke, breaks soon after.
        comes_within(Duration::from_millis(500), || !server.is_running()).await;
        if !server.is_running() {
            holders.ends += 1;
            load.send_to(None);
            server = Server::start(scratch.path()).await;
        }
    }
    load.send_to(Some(server.address));
    let before = load.ledger().len();
    let accepted = || load.ledger().len() > before + 20;
    holders.stalls += usize::from(!comes_within(ACCEPTED_WITHIN, accepted).await);
    let calls = load.calls();
    let closed = close(server, load, &receiver, scratch.path()).await;
    let holders = Holders {
        acknowledged: closed.ledger.len(),
        refused: calls.refused,
        refused_bare: calls.refused_bare,
        unanswered: calls.unanswered,
        lost: closed.lost,
        duplicates: closed.duplicates,
        ..holders
    };
    report(format_args!(
        "foreign write lock: held {} times, {} kills, {} ends, {} stalls; {} events acknowledged, \
         {} calls refused ({} without Retry-After), {} unanswered; {} lost, {} duplicates",
        holders.rounds,
        holders.kills,
        holders.ends,
        holders.stalls,
        holders.acknowledged,
        holders.refused,
        holders.refused_bare,
        holders.unanswered,
        holders.lost,
        holders.duplicates,
    ));
    holders
}
