//! `kill -9` under load, again and again.

use std::time::Duration;

use super::closing::close;
use super::load::Load;
use super::server::Server;
use super::{Scratch, random, report};
use crate::receiver::Receiver;

/// What the rounds came to.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    /// How often the server was killed.
    pub rounds: usize,
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Of those, how many are gone: from the log, or never delivered.
    pub lost: usize,
    /// Webhooks that came again though they had been answered with 204.
    pub duplicates: usize,
}

/// Kills a server under load so many times, then lets it finish.
///
/// # Panics
/// If something could not be set up, or a log breaks a rule.
pub async fn run(rounds: usize) -> Kills {
    let scratch = Scratch::new("kills");
    let receiver = Receiver::answering(|nth, _| if nth % 20 == 7 { 500 } else { 204 }).await;
    let receiver = receiver.expect("a receiver on loopback");
    let load = Load::start(8, &receiver.url());
    for _ in 0..rounds {
        let server = Server::start(scratch.path()).await;
        load.send_to(Some(server.address));
        tokio::time::sleep(Duration::from_millis(20 + random() % 400)).await;
        load.send_to(None);
        server.kill().await;
    }
    let server = Server::start(scratch.path()).await;
    load.send_to(Some(server.address));
    let closed = close(server, load, &receiver, scratch.path()).await;
    let kills = Kills {
        rounds,
        acknowledged: closed.ledger.len(),
        lost: closed.lost,
        duplicates: closed.duplicates,
    };
    report(format_args!(
        "kill -9: {} rounds, {} events acknowledged, {} lost, {} duplicates",
        kills.rounds, kills.acknowledged, kills.lost, kills.duplicates
    ));
    kills
}
