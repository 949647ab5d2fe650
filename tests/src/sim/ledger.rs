//! The judge: an independent account of what must be true, held against what is.
//!
//! The ledger sees what the store really did, also where the process never heard
//! of it, and every request as it leaves. It knows the protocol, not the code: it
//! keeps lists and compares. The first thing that is not as it must be is kept
//! as the [`Breach`], and ends the run.

mod appends;
mod attempts;
mod audit;
mod settles;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use notify_core::delivery::{DeadReason, LaneKey, Lease};
use notify_core::endpoint::EventFilter;
use notify_core::event::Fingerprint;
use notify_core::job::EventKind;
use notify_core::{
    DeliveryId, EndpointId, EndpointUrl, Epoch, EventId, IdempotencyKey, JobId, JobStatus,
    Timestamp,
};

use super::plan::Plan;

/// A rule of the system that must hold whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// An accepted event is delivered to each of its endpoints, or dead, or
    /// superseded, or pending.
    I1,
    /// An event is wholly there or wholly absent.
    I2,
    /// A job's sequence has no gap and no reuse.
    I3,
    /// At most one terminal event, and nothing after it.
    I4,
    /// Order within a lane.
    I5,
    /// Never before due; so many attempts and no more.
    I6,
    /// A stale lease settles nothing.
    I7,
    /// A reader's ids only rise and miss no lifecycle event.
    I8,
    /// One idempotency key, one event.
    I9,
    /// A redelivery makes one new generation with the same webhook id.
    I10,
    /// Every attempt verifies, at its time.
    I11,
    /// Every queue is bounded.
    I13,
    /// Once faults end, the backlog drains.
    I14,
    /// A clock that jumps reopens nothing and hastens nothing.
    I16,
}

/// What was not as it must be.
#[derive(Clone, Debug)]
pub(super) struct Breach {
    pub(super) invariant: Invariant,
    pub(super) what: String,
}

/// When something happens, by each of the clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Which incarnation of the process.
    pub(super) life: u64,
    /// The time that really passes, in milliseconds.
    pub(super) millis: u64,
    /// The process's time for scheduling.
    pub(super) now: Timestamp,
}

#[derive(Debug)]
pub(super) struct Ledger {
    rules: Rules,
    pub(super) jobs: BTreeMap<JobId, JobModel>,
    pub(super) rows: BTreeMap<DeliveryId, Row>,
    lanes: BTreeMap<LaneKey, Lane>,
    disabled: BTreeSet<EndpointId>,
    last: Option<Moment>,
    /// When the operator last enabled an endpoint, by the process's time.
    changed_at: Timestamp,
    breach: Option<Breach>,
    pub(super) figures: Account,
}

/// What the ledger knows of the settings.
#[derive(Debug)]
struct Rules {
    schedule: Vec<Duration>,
    progress_min_interval: Duration,
    pending_max: usize,
    job_retention: Duration,
}

/// What has come of everything so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    pub(super) events: u64,
    pub(super) delivered: u64,
    pub(super) dead: u64,
    pub(super) superseded: u64,
    pub(super) redeliveries: u64,
    pub(super) attempts: u64,
    pub(super) duplicates: u64,
}

/// One incarnation of a job.
#[derive(Debug)]
pub(super) struct JobModel {
    pub(super) epoch: Epoch,
    pub(super) events: Vec<EventModel>,
    pub(super) subscriber: Option<(EndpointUrl, EventFilter)>,
    keys: BTreeMap<IdempotencyKey, (Fingerprint, EventId)>,
    deliveries: Vec<DeliveryId>,
    /// When something last happened to it, by the store's time.
    touched_at: Timestamp,
}

#[derive(Debug)]
pub(super) struct EventModel {
    pub(super) kind: EventKind,
    pub(super) status: JobStatus,
    pub(super) json: Bytes,
    deliveries: usize,
}

/// One delivery.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) lane: LaneKey,
    pub(super) event: EventId,
    pub(super) url: EndpointUrl,
    pub(super) kind: EventKind,
    pub(super) state: State,
    pub(super) generation: u32,
    body: Option<Bytes>,
    accepted_at: Timestamp,
    due_at: Timestamp,
    /// The same in real time, while the process lives that decided it.
    due_millis: Option<(u64, u64)>,
    first_failed_at: Option<Timestamp>,
    lease: Option<Lease>,
    /// When it was last sent.
    sent_at: Timestamp,
    /// How often in a row it could not be sent, for a reason of our own.
    own_failures: u32,
    /// Whether its last attempt that ended did so for such a reason.
    ours: bool,
    /// Attempts of this generation that began, and that were settled.
    begun: u32,
    settled: u32,
    /// Crashes while it was leased.
    crashes: u32,
    in_flight: bool,
    /// When the last attempt ended, and how long the receiver asked us to wait.
    ended: Option<(Moment, Duration)>,
    /// How often the receiver has said 2xx to this generation.
    answered_ok: u32,
    job_gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    Delivered,
    Superseded,
    Dead(DeadReason),
}

/// The deliveries of one job to one endpoint.
#[derive(Debug, Default)]
struct Lane {
    /// What is not settled, in order.
    waiting: Vec<DeliveryId>,
    /// The newest event that is settled as delivered, and that the sender saw
    /// answered with 2xx.
    delivered: u64,
    completed: u64,
    /// When the last progress that is settled was sent.
    progress_at: Option<(DeliveryId, Timestamp)>,
    /// When a progress that failed may be tried again; a newer one inherits it.
    progress_not_before: Option<Timestamp>,
    /// The latest due time that anything in it has ever had.
    due_latest: Timestamp,
}

impl Ledger {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            rules: Rules {
                schedule: plan.schedule.clone(),
                progress_min_interval: plan.progress_min_interval,
                pending_max: plan.memory.pending_deliveries_max,
                job_retention: plan.retention.jobs,
            },
            jobs: BTreeMap::new(),
            rows: BTreeMap::new(),
            lanes: BTreeMap::new(),
            disabled: BTreeSet::new(),
            last: None,
            changed_at: Timestamp::EPOCH,
            breach: None,
            figures: Account::default(),
        }
    }

    /// Notes what is not as it must be; the first counts.
    pub(super) fn check(
        &mut self,
        holds: bool,
        invariant: Invariant,
        what: impl FnOnce() -> String,
    ) -> bool {
        if !holds && self.breach.is_none() {
            self.breach = Some(Breach {
                invariant,
                what: what(),
            });
        }
        holds
    }

    /// Time passes: for scheduling as fast as it really does, whatever the wall
    /// clock says.
    pub(super) fn ticks(&mut self, at: Moment) {
        let last = self.last.replace(at).filter(|last| last.life == at.life);
        let steady = last.is_none_or(|last| {
            let passed = Duration::from_millis(at.millis - last.millis);
            at.now == last.now.plus(passed)
        });
        self.check(steady, Invariant::I16, || {
            format!("the time went from {last:?} to {at:?}")
        });
    }

    pub(super) fn is_broken(&self) -> bool {
        self.breach.is_some()
    }

    pub(super) fn take_breach(&mut self) -> Option<Breach> {
        self.breach.take()
    }

    pub(super) fn pending(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }

    /// What is pending, for the reader of a failure.
    pub(super) fn waiting(&self) -> String {
        let rows = self.rows.iter().filter(|(_, row)| row.is_pending());
        let rows = rows.map(|(id, row)| format!("{id} of {} due at {:?}", row.event, row.due_at));
        rows.collect::<Vec<_>>().join(", ")
    }

    /// No due time of anything pending is later. A progress may have inherited
    /// the due time of any earlier one in its lane.
    pub(super) fn last_due(&self) -> Option<Timestamp> {
        let busy = self.lanes.values().filter(|lane| !lane.waiting.is_empty());
        let latest = busy.map(|lane| lane.due_latest).max()?;
        Some(latest.plus(self.rules.progress_min_interval))
    }

    /// The head of a lane at an enabled endpoint that could have been leased
    /// before `then`, if one surely could.
    pub(super) fn due_before(&self, then: Timestamp) -> Option<DeliveryId> {
        let mut heads = self.lanes.iter().filter_map(|(lane, kept)| {
            let head = *kept.waiting.first()?;
            let row = self.rows.get(&head)?;
            let free = row.lease.is_none() && !self.disabled.contains(&lane.endpoint);
            // What was ahead of it, or its endpoint, has changed no later than this.
            (free && kept.due_latest < then && self.changed_at < then).then_some(head)
        });
        heads.next()
    }

    /// Where a delivery goes, if something in its lane is ahead of it.
    pub(super) fn url_behind_another(&self, id: DeliveryId) -> Option<EndpointUrl> {
        let row = self.rows.get(&id).filter(|row| row.is_pending())?;
        let first = self.lanes.get(&row.lane)?.waiting.first()?;
        (*first != id).then(|| row.url.clone())
    }

    fn attempts_max(&self) -> u32 {
        u32::try_from(self.rules.schedule.len()).map_or(u32::MAX, |retries| retries + 1)
    }
}

impl JobModel {
    fn new(epoch: Epoch, now: Timestamp) -> Self {
        Self {
            epoch,
            events: Vec::new(),
            subscriber: None,
            keys: BTreeMap::new(),
            deliveries: Vec::new(),
            touched_at: now,
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn is_finished(&self) -> bool {
        let last = self.events.last();
        last.is_some_and(|event| event.status.is_terminal())
    }

    pub(super) fn event(&self, sequence: u64) -> Option<&EventModel> {
        let index = usize::try_from(sequence.checked_sub(1)?).ok()?;
        self.events.get(index)
    }

    /// The first event after one sequence and before another that a reader must
    /// not miss.
    pub(super) fn missed(&self, after: u64, before: u64) -> Option<u64> {
        (after + 1..before).find(|&sequence| {
            let event = self.event(sequence);
            event.is_none_or(|event| event.kind != EventKind::Progress)
        })
    }
}

impl Row {
    pub(super) fn is_pending(&self) -> bool {
        self.state == State::Pending
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
