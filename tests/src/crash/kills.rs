//! `kill -9` under load, again and again.

use std::collections::HashMap;
use std::time::Duration;

use super::load::Load;
use super::server::{Server, wait_until};
use super::{Ledger, Scratch, random, report};
use crate::receiver::Receiver;
use notify_core::JobStatus;

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
    let ledger = load.stop().await;
    let wanted = must_arrive(&ledger);
    let mut missing = wanted.len();
    wait_until_settled(&receiver, &wanted, &mut missing).await;
    let ended = server.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lost = ledger.count_lost(scratch.path()).await + missing;
    let kills = Kills {
        rounds,
        acknowledged: ledger.len(),
        lost,
        duplicates: duplicates(&receiver),
    };
    report(format_args!(
        "kill -9: {} rounds, {} events acknowledged, {} lost, {} duplicates",
        kills.rounds, kills.acknowledged, kills.lost, kills.duplicates
    ));
    kills
}

/// The ids of events that a receiver must see: all but progress, which a newer
/// event may take the place of.
pub fn must_arrive(ledger: &Ledger) -> Vec<String> {
    let events = ledger.jobs().flat_map(|(_, events)| events);
    let lifecycle = events.filter(|event| event.status != JobStatus::Processing);
    lifecycle.map(|event| event.id.to_string()).collect()
}

/// Waits until everything wanted has arrived, or nothing more comes.
async fn wait_until_settled(receiver: &Receiver, wanted: &[String], missing: &mut usize) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(50);
    wait_until("the backlog drains", || {
        let arrived = arrivals(receiver);
        *missing = wanted
            .iter()
            .filter(|id| !arrived.contains_key(*id))
            .count();
        *missing == 0 || tokio::time::Instant::now() > deadline
    })
    .await;
}

/// How often each webhook was taken.
pub fn arrivals(receiver: &Receiver) -> HashMap<String, usize> {
    let mut arrivals = HashMap::new();
    for delivered in receiver
        .delivered()
        .iter()
        .filter(|delivered| delivered.status < 300)
    {
        let id = delivered.header("webhook-id").unwrap_or_default();
        *arrivals.entry(id.to_owned()).or_insert(0) += 1;
    }
    arrivals
}

fn duplicates(receiver: &Receiver) -> usize {
    arrivals(receiver).values().map(|times| times - 1).sum()
}
