//! What is known only in memory: who may attempt what, and when progress was last
//! sent. After a restart nothing is leased, so all that waits can be claimed.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use notify_core::clock::ClockStep;
use notify_core::delivery::{LaneKey, Lease};
use notify_core::{DeliveryId, EndpointId, JobId, Timestamp};

/// A delivery that someone may be attempting.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) lease: Lease,
    pub(super) lane: LaneKey,
    pub(super) number: i64,
}

/// All leases, and how to get back to those of before the transaction.
#[derive(Debug)]
pub(super) struct Leases {
    held: HashMap<DeliveryId, Held>,
    before: Vec<(DeliveryId, Option<Held>)>,
    next: u128,
}

impl Leases {
    /// No lease. Tokens begin at a random number, so that one of an earlier store
    /// over the same directory is not taken for one of this.
    pub(super) fn new() -> Self {
        let random = RandomState::new().build_hasher().finish();
        Self {
            held: HashMap::new(),
            before: Vec::new(),
            next: u128::from(random) << 64,
        }
    }

    pub(super) fn begin(&mut self, delivery: DeliveryId, lane: &LaneKey, number: i64) -> Lease {
        self.next += 1;
        let lease = Lease::new(self.next);
        let held = Held {
            lease,
            lane: lane.clone(),
            number,
        };
        let before = self.held.insert(delivery, held);
        self.before.push((delivery, before));
        lease
    }

    /// Ends a lease, if it is the delivery's current one.
    pub(super) fn end(&mut self, delivery: DeliveryId, lease: Lease) -> Option<Held> {
        let current = self.held.get(&delivery)?.lease;
        if current != lease {
            return None;
        }
        let held = self.held.remove(&delivery)?;
        self.before.push((delivery, Some(held.clone())));
        Some(held)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// The transaction is committed.
    pub(super) fn keep(&mut self) {
        self.before.clear();
    }

    /// The transaction is rolled back.
    pub(super) fn put_back(&mut self) {
        while let Some((delivery, before)) = self.before.pop() {
            match before {
                Some(held) => self.held.insert(delivery, held),
                None => self.held.remove(&delivery),
            };
        }
    }
}

/// When a job's last progress was sent to an endpoint.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    sent: HashMap<(JobId, EndpointId), Timestamp>,
    /// The longest distance that was asked for.
    spacing_max: Duration,
    prune_at: usize,
}

impl Pacing {
    /// The longest distance that was asked for so far.
    pub(super) fn spacing_max(&self) -> Duration {
        self.spacing_max
    }

    /// Progress that keeps this distance has come.
    pub(super) fn ask(&mut self, spacing: Duration) {
        self.spacing_max = self.spacing_max.max(spacing);
    }

    /// A progress was sent. A redelivery is a lane of its own, and keeps no other
    /// one waiting.
    pub(super) fn sent(&mut self, lane: &LaneKey, sent_at: Timestamp, now: Timestamp) {
        if lane.redelivery.is_some() {
            return;
        }
        self.sent.insert((lane.job.clone(), lane.endpoint), sent_at);
        if self.sent.len() >= self.prune_at.max(PRUNE_MIN) {
            // A distance that is kept decides nothing any more.
            let spacing = self.spacing_max;
            self.sent.retain(|_, sent_at| sent_at.plus(spacing) > now);
            self.prune_at = 2 * self.sent.len();
        }
    }

    /// When a progress of this lane was last sent.
    pub(super) fn sent_at(&self, lane: &LaneKey) -> Option<Timestamp> {
        let sent = &self.sent;
        let lane = Some(lane).filter(|lane| lane.redelivery.is_none() && !sent.is_empty())?;
        sent.get(&(lane.job.clone(), lane.endpoint)).copied()
    }

    /// The clock was set.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        for sent in self.sent.values_mut() {
            *sent = step.stamp(*sent);
        }
    }

    /// The job is forgotten.
    pub(super) fn forget(&mut self, job: &JobId, endpoint: EndpointId) {
        self.sent.remove(&(job.clone(), endpoint));
    }
}

const PRUNE_MIN: usize = 16_384;
