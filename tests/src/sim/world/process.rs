//! The process between two steps: all that a crash takes with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use notify_core::clock::ClockStep;
use notify_core::commit::{Committer, Work};
use notify_core::delivery::Delivery;
use notify_core::job::EventKind;
use notify_core::schedule::Scheduler;
use notify_core::store::{Answer, StoreError, Trimmed};
use notify_core::{DeliveryId, EndpointId, Timestamp};

use super::operating::Secrets;
use crate::sim::store::Done;

/// What was due for so long, nobody will come for.
pub(super) const STANDSTILL_MILLIS: u64 = 3_000;

/// By so much the wall must be off to count as set.
const STEP_MIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Process {
    pub(super) life: u64,
    started_millis: u64,
    /// What the wall said, and when that was.
    anchor: (Timestamp, u64),
    pub(super) scheduler: Scheduler,
    pub(super) committer: Committer<u64>,
    /// Calls that the committer has not taken over yet.
    pub(super) mailbox: VecDeque<u64>,
    /// Calls that it has, and has not answered.
    pub(super) taken: BTreeSet<u64>,
    pub(super) call: Option<StoreCall>,
    /// When the committer is woken next, if it is.
    pub(super) wakes_at: Option<u64>,
    pub(super) has_claimed: bool,
    /// What the scheduler must hold, by the process's own account: deliveries that
    /// are ready, by endpoint.
    pub(super) ready: BTreeMap<EndpointId, Vec<Delivery>>,
    pub(super) in_flight: BTreeMap<DeliveryId, (EndpointId, String, u64)>,
    /// Leases that it was given and has not settled.
    pub(super) unsettled: BTreeSet<u128>,
    /// Secrets that endpoints have without its having heard so.
    pub(super) unheard: Vec<Secrets>,
    /// Endpoints of which it has heard that they are disabled.
    pub(super) disabled: BTreeSet<EndpointId>,
}

/// A call of the store that is not answered yet.
#[derive(Debug)]
pub(super) struct StoreCall {
    pub(super) now: Timestamp,
    pub(super) millis: u64,
    pub(super) work: Work,
    pub(super) came: Option<Result<Came, StoreError>>,
    /// Secrets that endpoints have with it.
    pub(super) secrets: Vec<Secrets>,
}

/// What a call of the store came to.
#[derive(Debug)]
pub(super) enum Came {
    Written(Done),
    Trimmed(Trimmed),
}

impl Process {
    pub(super) fn new(
        life: u64,
        millis: u64,
        wall: Timestamp,
        scheduler: Scheduler,
        committer: Committer<u64>,
    ) -> Self {
        Self {
            life,
            started_millis: millis,
            anchor: (wall, millis),
            scheduler,
            committer,
            mailbox: VecDeque::new(),
            taken: BTreeSet::new(),
            call: None,
            wakes_at: None,
            has_claimed: false,
            ready: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            unheard: Vec::new(),
            disabled: BTreeSet::new(),
        }
    }

    /// The time for scheduling: what the wall said, and what has really passed since.
    pub(super) fn time(&self, millis: u64) -> Timestamp {
        let (wall, at) = self.anchor;
        wall.plus(Duration::from_millis(millis.saturating_sub(at)))
    }

    /// How long it has been up.
    pub(super) fn at(&self, millis: u64) -> Duration {
        Duration::from_millis(millis.saturating_sub(self.started_millis))
    }

    /// When that is, in real time.
    pub(super) fn millis_at(&self, at: Duration) -> u64 {
        let after = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.started_millis.saturating_add(after)
    }

    /// Whether the wall was set since it last went by it.
    pub(super) fn step(&self, millis: u64, to: Timestamp) -> Option<ClockStep> {
        let from = self.time(millis);
        let is_step = from.since(to).max(to.since(from)) >= STEP_MIN;
        is_step.then_some(ClockStep { from, to })
    }

    /// Goes by the wall again.
    pub(super) fn set_clock(&mut self, millis: u64, step: ClockStep) {
        self.anchor = (step.to, millis);
    }

    /// What it holds to send, and is sending, in bytes: each event and 512.
    pub(super) fn bytes(&self) -> u64 {
        let ready = self.ready.values().flatten().map(bytes_of);
        let in_flight = self.in_flight.values().map(|(.., bytes)| *bytes);
        ready.chain(in_flight).sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.scheduler.busy_endpoints() == 0
            && self.scheduler.in_flight() == 0
            && self.scheduler.ready() == 0
            && self.unsettled.is_empty()
            && self.mailbox.is_empty()
            && self.taken.is_empty()
            && self.committer.waiting() == 0
            && self.committer.kept() == 0
    }

    /// Whether it has been up for a while and has nothing to do.
    pub(super) fn is_at_rest(&self, millis: u64) -> bool {
        let at = self.at(millis);
        let pauses = self.call.is_some() || self.committer.is_paused(at);
        self.is_idle() && !pauses && at > Duration::from_millis(STANDSTILL_MILLIS)
    }

    /// Whether it has not yet taken in its first claim.
    pub(super) fn is_recovering(&self) -> bool {
        !self.has_claimed
    }

    /// What a batch takes away from what is ready, by the protocol's own words: a
    /// pending progress is superseded by a newer event of its lane, and nothing is
    /// sent to an endpoint that is disabled.
    pub(super) fn overrule(&mut self, done: &Done) {
        for answer in done.answers.iter().flatten() {
            let Answer::Appended(appended) = answer else {
                continue;
            };
            for lane in &appended.lanes {
                if let Some(ready) = self.ready.get_mut(&lane.endpoint) {
                    ready.retain(|delivery| {
                        let is_progress = delivery.record.kind() == EventKind::Progress;
                        let is_older = delivery.record.sequence() < appended.record.sequence();
                        delivery.lane != *lane || !is_progress || !is_older
                    });
                }
            }
        }
        for endpoint in done.changed.iter().filter(|endpoint| !endpoint.enabled) {
            self.ready.remove(&endpoint.id);
        }
    }
}

/// What a delivery occupies that is held, in bytes.
pub(super) fn bytes_of(delivery: &Delivery) -> u64 {
    delivery.record.json().len() as u64 + 512
}
