//! The process between two steps: all that a crash takes with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use notify_core::delivery::Settle;
use notify_core::schedule::Scheduler;
use notify_core::store::{Room, StoreError};
use notify_core::{DeliveryId, EndpointId, Timestamp};

use crate::sim::store::Done;

/// What was due for so long, nobody will come for.
pub(super) const STANDSTILL_MILLIS: u64 = 3_000;

/// How long a store is left alone while callers are refused, in milliseconds.
pub(super) const LONG_PAUSE_MILLIS: u64 = 1_000;
/// While they wait: at first, and then twice as long each time.
const SHORT_PAUSE_MILLIS: u64 = 20;
/// For how long they wait.
const PATIENCE_MILLIS: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Process {
    pub(super) life: u64,
    pub(super) started_millis: u64,
    pub(super) wall_at_start: Timestamp,
    pub(super) scheduler: Scheduler,
    /// Calls that wait for their commit.
    pub(super) waiting: VecDeque<u64>,
    /// Settles of a batch that a full store did not take.
    pub(super) kept: Vec<Settle>,
    pub(super) call: Option<StoreCall>,
    pub(super) next_due: Option<Timestamp>,
    pub(super) claim_wanted: bool,
    pub(super) paused_until: Option<u64>,
    /// Callers are refused while it is paused, and do not wait.
    pub(super) refuses: bool,
    /// Since when the store can't be asked, and how often it was tried.
    pub(super) not_now: Option<(u64, u32)>,
    /// What the scheduler must hold, by the process's own account.
    pub(super) ready: BTreeMap<EndpointId, BTreeSet<DeliveryId>>,
    pub(super) in_flight: BTreeMap<DeliveryId, (EndpointId, String)>,
    pub(super) unsettled: BTreeSet<DeliveryId>,
}

/// A call of the store that is not answered yet.
#[derive(Debug)]
pub(super) struct StoreCall {
    pub(super) now: Timestamp,
    pub(super) asked: Asked,
    pub(super) room: Room,
    pub(super) came: Option<Result<Done, StoreError>>,
}

#[derive(Debug)]
pub(super) enum Asked {
    Claim,
    Write {
        settles: Vec<Settle>,
        tickets: Vec<u64>,
    },
}

impl Process {
    pub(super) fn new(life: u64, millis: u64, wall: Timestamp, scheduler: Scheduler) -> Self {
        Self {
            life,
            started_millis: millis,
            wall_at_start: wall,
            scheduler,
            waiting: VecDeque::new(),
            kept: Vec::new(),
            call: None,
            next_due: None,
            // The first claim is the recovery: what was pending is pending again.
            claim_wanted: true,
            paused_until: None,
            refuses: false,
            not_now: None,
            ready: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            unsettled: BTreeSet::new(),
        }
    }

    /// The wall's time at the start, and what has really passed since.
    pub(super) fn time(&self, millis: u64) -> Timestamp {
        let passed = millis.saturating_sub(self.started_millis);
        self.wall_at_start.plus(Duration::from_millis(passed))
    }

    pub(super) fn pause(&mut self, until: u64, refuses: bool) {
        self.paused_until = Some(until);
        self.refuses = refuses;
    }

    /// The store can't be asked now. Says whether callers may wait for it.
    pub(super) fn handle_not_now(&mut self, now: u64) -> bool {
        let (since, tries) = self.not_now.unwrap_or((now, 0));
        self.not_now = Some((since, tries + 1));
        let left = PATIENCE_MILLIS.saturating_sub(now - since);
        let short = SHORT_PAUSE_MILLIS << tries.min(10);
        let wait = if left == 0 {
            LONG_PAUSE_MILLIS
        } else {
            short.min(left)
        };
        self.pause(now + wait, left == 0);
        left > 0
    }

    pub(super) fn is_idle(&self) -> bool {
        self.scheduler.busy_endpoints() == 0
            && self.scheduler.in_flight() == 0
            && self.scheduler.ready() == 0
            && self.unsettled.is_empty()
            && self.waiting.is_empty()
    }

    /// Whether it has been up for a while and has nothing to do.
    pub(super) fn is_at_rest(&self, millis: u64) -> bool {
        let up = millis.saturating_sub(self.started_millis);
        let pauses = self.call.is_some() || self.paused_until.is_some();
        self.is_idle() && !pauses && up > STANDSTILL_MILLIS
    }

    /// Whether it has not yet taken in its first claim.
    pub(super) fn is_recovering(&self, millis: u64) -> bool {
        millis.saturating_sub(self.started_millis) < 20
    }
}
