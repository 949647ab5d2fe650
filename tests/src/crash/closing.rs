//! How a run ends: the producers stop, the backlog drains, the server stops, and
//! what is missing is counted.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use notify_core::JobStatus;

use super::Ledger;
use super::load::Load;
use super::server::{Server, comes_within};
use crate::receiver::Receiver;

/// Far longer than a backlog of these runs takes.
const DRAIN_WITHIN: Duration = Duration::from_secs(50);

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Closed {
    /// What was acknowledged.
    pub ledger: Ledger,
    /// Of that, how much is gone: from the log, or never delivered.
    pub lost: usize,
    /// Webhooks that came again though they had been answered with 204.
    pub duplicates: usize,
}

/// Ends a run whose server still works.
///
/// # Panics
/// If the server does not stop in order, or a log breaks a rule.
pub async fn close(server: Server, load: Load, receiver: &Receiver, dir: &Path) -> Closed {
    let ledger = load.stop().await;
    let undelivered = undelivered(receiver, &ledger, DRAIN_WITHIN).await;
    let ended = server.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    Closed {
        lost: ledger.count_lost(dir).await + undelivered,
        duplicates: duplicates(receiver),
        ledger,
    }
}

/// How much of what must arrive has not after so long.
pub async fn undelivered(receiver: &Receiver, ledger: &Ledger, wait: Duration) -> usize {
    let wanted = must_arrive(ledger);
    let mut missing = wanted.len();
    comes_within(wait, || {
        let arrived = arrivals(receiver);
        missing = wanted
            .iter()
            .filter(|id| !arrived.contains_key(*id))
            .count();
        missing == 0
    })
    .await;
    missing
}

/// The ids of events that a receiver must see: all but progress, which a newer
/// event may take the place of.
pub fn must_arrive(ledger: &Ledger) -> Vec<String> {
    let events = ledger.jobs().flat_map(|(_, events)| events);
    let lifecycle = events.filter(|event| event.status != JobStatus::Processing);
    lifecycle.map(|event| event.id.to_string()).collect()
}

/// How often each webhook was taken.
pub fn arrivals(receiver: &Receiver) -> HashMap<String, usize> {
    receiver.look(|delivered| {
        let mut arrivals = HashMap::new();
        for delivered in delivered.iter().filter(|delivered| delivered.status < 300) {
            let id = delivered.header("webhook-id").unwrap_or_default();
            *arrivals.entry(id.to_owned()).or_insert(0) += 1;
        }
        arrivals
    })
}

/// How often a webhook came again though it had been taken.
pub fn duplicates(receiver: &Receiver) -> usize {
    arrivals(receiver).values().map(|times| times - 1).sum()
}
