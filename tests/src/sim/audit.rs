//! The judge: an independent account of what must be true, held against what is.
//!
//! The audit sees what the store really did, also where the process never heard
//! of it, and every request as it leaves. It knows the protocol, not the code: it
//! keeps lists and compares. It counts the time that really passes, in milliseconds,
//! whatever clocks say. The first thing that is not as it must be is kept as the
//! [`Breach`], and ends the run.

mod appends;
mod attempts;
mod books;
mod changes;
mod fairness;
mod health;
mod invariant;
mod settles;
mod walks;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadReason, LaneKey, Lease};
use notify_core::endpoint::EventFilter;
use notify_core::event::Fingerprint;
use notify_core::job::EventKind;
use notify_core::store::Appended;
use notify_core::{
    DeliveryId, EndpointId, EndpointUrl, Epoch, EventId, IdempotencyKey, JobId, JobStatus,
    Timestamp,
};

use super::plan::Plan;
use health::Wards;
use walks::Walk;

pub(super) use health::Said;
pub use invariant::Invariant;

/// What was not as it must be.
#[derive(Clone, Debug)]
pub(super) struct Breach {
    pub(super) invariant: Invariant,
    pub(super) what: String,
}

/// When something happens.
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
pub(super) struct Audit {
    rules: Rules,
    pub(super) jobs: BTreeMap<JobId, JobModel>,
    pub(super) rows: BTreeMap<DeliveryId, Row>,
    lanes: BTreeMap<LaneKey, Lane>,
    disabled: BTreeSet<EndpointId>,
    /// URLs of endpoints with secrets of their own.
    own_secrets: BTreeSet<String>,
    walks: BTreeMap<u64, Walk>,
    wards: Wards,
    /// How many writes and claims the store has carried out.
    batches: u64,
    last: Option<Moment>,
    /// When the operator last enabled an endpoint.
    changed_at: u64,
    /// When the clock was last set forward.
    forward_at: Option<u64>,
    /// When the store last failed, or a process began, or the clock was set: who
    /// waited longest before may not do so after.
    disturbed_at: u64,
    breach: Option<Breach>,
    pub(super) figures: Account,
}

/// What the audit knows of the settings.
#[derive(Debug)]
struct Rules {
    schedule: Vec<Duration>,
    progress_min_interval: u64,
    pending_max: usize,
    pending_per_endpoint_max: usize,
    job_retention: u64,
    max_age: u64,
    in_flight_max: usize,
    has_global_secret: bool,
}

/// What has come of everything so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    pub(super) events: u64,
    pub(super) delivered: u64,
    pub(super) dead: u64,
    pub(super) superseded: u64,
    pub(super) redeliveries: u64,
    pub(super) dropped: u64,
    pub(super) unsent: u64,
    pub(super) backlog_full: u64,
    pub(super) attempts: u64,
    pub(super) duplicates: u64,
    pub(super) passed: u64,
    pub(super) expired: u64,
    pub(super) overtaken: u64,
}

/// One incarnation of a job.
#[derive(Debug)]
pub(super) struct JobModel {
    pub(super) epoch: Epoch,
    pub(super) events: Vec<EventModel>,
    pub(super) subscriber: Option<(EndpointUrl, EventFilter)>,
    keys: BTreeMap<IdempotencyKey, (Fingerprint, EventId)>,
    /// Those that can be looked at.
    listed: BTreeSet<DeliveryId>,
    /// When something last happened to it.
    touched_at: u64,
}

#[derive(Debug)]
pub(super) struct EventModel {
    pub(super) kind: EventKind,
    pub(super) status: JobStatus,
    pub(super) json: Bytes,
}

/// One delivery, or one that can't be sent anywhere.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) lane: LaneKey,
    pub(super) event: EventId,
    pub(super) url: String,
    pub(super) kind: EventKind,
    pub(super) state: State,
    pub(super) generation: u32,
    /// Whether its dead letter was dropped.
    dropped: bool,
    /// With which of the store's batches it died.
    died_in: u64,
    body: Option<Bytes>,
    accepted_at: u64,
    /// Not to be attempted before.
    due_at: u64,
    first_failed_at: Option<u64>,
    lease: Option<Lease>,
    /// When it was last sent.
    sent_at: u64,
    /// How often in a row it could not be sent, for a reason of our own.
    own_failures: u32,
    /// Whether its last attempt that ended did so for such a reason.
    ours: bool,
    /// Whether its last attempt was the probe of a sick endpoint.
    is_probe: bool,
    /// Attempts of this generation that began, and that were settled.
    begun: u32,
    settled: u32,
    /// Crashes while it was leased.
    crashes: u32,
    in_flight: bool,
    /// How long the receiver asked us to wait when the last attempt ended.
    ended: Option<Duration>,
    /// How often the receiver has said 2xx to this generation.
    answered_ok: u32,
    job_gone: bool,
    /// How often another lane of its endpoint went first that had waited less.
    passed: u32,
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
    /// Since when the first of these is the first.
    head_since: u64,
    /// The newest event that is settled as delivered, and that the sender saw
    /// answered with 2xx.
    delivered: u64,
    completed: u64,
    /// When the last progress that is settled was sent.
    progress_at: Option<(DeliveryId, u64)>,
    /// When a progress that failed may be tried again; a newer one inherits it.
    progress_not_before: Option<u64>,
    /// The latest due time that anything in it has ever had.
    due_latest: u64,
}

impl Audit {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            rules: Rules {
                schedule: plan.schedule.clone(),
                progress_min_interval: millis(plan.progress_min_interval),
                pending_max: plan.memory.pending_deliveries_max,
                pending_per_endpoint_max: plan.memory.pending_per_endpoint_max,
                job_retention: millis(plan.retention.jobs),
                max_age: millis(plan.retention.max_age),
                in_flight_max: plan.limits.in_flight_max as usize,
                has_global_secret: plan.operator_secret.is_some(),
            },
            jobs: BTreeMap::new(),
            rows: BTreeMap::new(),
            lanes: BTreeMap::new(),
            disabled: BTreeSet::new(),
            own_secrets: BTreeSet::new(),
            walks: BTreeMap::new(),
            wards: Wards::default(),
            batches: 0,
            last: None,
            changed_at: 0,
            forward_at: None,
            disturbed_at: 0,
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

    /// The process goes by another clock from now on, and says so. What was to come
    /// comes no later for it; where it was set forward, it may have come.
    pub(super) fn clock_set(&mut self, millis: u64, step: ClockStep) {
        self.last = None;
        self.disturbed(millis);
        if step.is_back() {
            return;
        }
        self.forward_at = Some(millis);
        let by = self::millis(step.to.since(step.from));
        for row in self.rows.values_mut() {
            row.due_at = row.due_at.saturating_sub(by);
        }
        for lane in self.lanes.values_mut() {
            let not_before = &mut lane.progress_not_before;
            *not_before = not_before.map(|at| at.saturating_sub(by));
        }
    }

    pub(super) fn disturbed(&mut self, millis: u64) {
        self.disturbed_at = millis;
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
    pub(super) fn last_due(&self) -> Option<u64> {
        let busy = self.lanes.values().filter(|lane| !lane.waiting.is_empty());
        let latest = busy.map(|lane| lane.due_latest).max()?;
        Some(latest + self.rules.progress_min_interval)
    }

    /// The head of a lane at an enabled endpoint that could have been leased
    /// before `then`, if one surely could.
    pub(super) fn due_before(&self, then: u64) -> Option<DeliveryId> {
        let mut heads = self.lanes.iter().filter_map(|(lane, kept)| {
            let head = *kept.waiting.first()?;
            let row = self.rows.get(&head)?;
            let free = row.lease.is_none() && !self.disabled.contains(&lane.endpoint);
            let free = free && !self.is_held_back(lane.endpoint, then);
            // What was ahead of it, or its endpoint, has changed no later than this.
            let due_at = kept.due_latest + self.rules.progress_min_interval;
            (free && due_at < then && self.changed_at < then).then_some(head)
        });
        heads.next()
    }

    /// The deliveries of an event that something in their lanes is ahead of.
    pub(super) fn behind_another(&self, appended: &Appended) -> Vec<(DeliveryId, LaneKey)> {
        let event = appended.record.id();
        let lanes = appended.lanes.iter().filter_map(|key| {
            let waiting = &self.lanes.get(key)?.waiting;
            let mut behind = waiting.iter().skip(1);
            let id = behind.find(|id| self.rows.get(id).is_some_and(|row| row.event == event));
            Some((*id?, key.clone()))
        });
        lanes.collect()
    }

    /// Dead letters.
    pub(super) fn dead(&self) -> Vec<DeliveryId> {
        let letters = self.rows.iter().filter(|(_, row)| row.is_letter());
        letters.map(|(&id, _)| id).collect()
    }

    /// Jobs that have not ended.
    pub(super) fn running(&self) -> Vec<JobId> {
        let running = self.jobs.iter().filter(|(_, job)| !job.is_finished());
        running.map(|(id, _)| id.clone()).collect()
    }

    fn attempts_max(&self) -> u32 {
        u32::try_from(self.rules.schedule.len()).map_or(u32::MAX, |retries| retries + 1)
    }
}

impl JobModel {
    fn new(epoch: Epoch, now: u64) -> Self {
        Self {
            epoch,
            events: Vec::new(),
            subscriber: None,
            keys: BTreeMap::new(),
            listed: BTreeSet::new(),
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

    fn is_letter(&self) -> bool {
        matches!(self.state, State::Dead(_)) && !self.dropped
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
