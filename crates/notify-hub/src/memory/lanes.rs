//! Lanes in memory: which deliveries wait behind which, and which are due.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadReason, DeliveryState, LaneKey, Lease, Leased};
use notify_core::lane::{self, LaneRow};
use notify_core::store::{Room, Written};
use notify_core::{DeliveryId, EndpointId, Timestamp};

use super::State;

/// All lanes with something pending.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    rows: HashMap<LaneKey, VecDeque<DeliveryId>>,
    /// Heads that are not leased, by endpoint and due time; in order, so that a
    /// claim with a limit is always the same one.
    due: BTreeMap<EndpointId, BTreeSet<(Timestamp, LaneKey)>>,
    /// Where each head stands in `due`.
    standing: HashMap<LaneKey, Timestamp>,
}

impl Lanes {
    pub(super) fn push(&mut self, lane: &LaneKey, delivery: DeliveryId) {
        self.rows
            .entry(lane.clone())
            .or_default()
            .push_back(delivery);
    }

    fn remove(&mut self, lane: &LaneKey, delivery: DeliveryId) {
        let Some(rows) = self.rows.get_mut(lane) else {
            return;
        };
        rows.retain(|&other| other != delivery);
        if rows.is_empty() {
            self.rows.remove(lane);
        }
    }

    /// Where the lane's head stands among the due; `None` if it is leased or gone.
    pub(super) fn stand(&mut self, lane: &LaneKey, due_at: Option<Timestamp>) {
        if let Some(old) = self.standing.remove(lane)
            && let Some(due) = self.due.get_mut(&lane.endpoint)
        {
            due.remove(&(old, lane.clone()));
            if due.is_empty() {
                self.due.remove(&lane.endpoint);
            }
        }
        if let Some(due_at) = due_at {
            self.standing.insert(lane.clone(), due_at);
            self.due
                .entry(lane.endpoint)
                .or_default()
                .insert((due_at, lane.clone()));
        }
    }

    pub(super) fn oldest_due(&self) -> Option<Timestamp> {
        self.due
            .values()
            .filter_map(|due| due.first())
            .map(|(at, _)| *at)
            .min()
    }

    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let later = |due: &BTreeSet<(Timestamp, LaneKey)>| {
            let mut later = due.iter().skip_while(|(at, _)| *at <= now);
            later.next().map(|(at, _)| *at)
        };
        self.due.values().filter_map(later).min()
    }
}

impl State {
    /// Brings what is pending to the time of a clock that was set.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        for row in self.deliveries.values_mut() {
            let Some(delivery) = &mut row.pending else {
                continue;
            };
            delivery.due_at = step.due(delivery.due_at);
            delivery.accepted_at = step.stamp(delivery.accepted_at);
            row.first_failed_at = row.first_failed_at.map(|at| step.stamp(at));
        }
        for (lane, at) in self.lanes.standing.clone() {
            self.lanes.stand(&lane, Some(step.due(at)));
        }
        let jobs = self.jobs.values_mut();
        for sent in jobs.flat_map(|job| job.progress_sent.values_mut()) {
            *sent = step.stamp(*sent);
        }
    }

    /// Carries out the lane rule and leases the head if it is due and there is
    /// room.
    pub(super) fn lease_head(
        &mut self,
        now: Timestamp,
        lane: &LaneKey,
        room: &mut Room,
        written: &mut Written,
    ) {
        let Some((head, due_at)) = self.rule(now, lane, written) else {
            self.lanes.stand(lane, None);
            return;
        };
        let enabled = self
            .endpoints
            .get(&lane.endpoint)
            .is_none_or(|entry| entry.endpoint.enabled);
        if due_at > now || !enabled || !room.take(lane.endpoint) {
            self.lanes.stand(lane, Some(due_at));
            return;
        }
        self.lanes.stand(lane, None);
        let lease = Lease::new(u128::from(self.next_number()));
        let Some(row) = self.deliveries.get_mut(&head) else {
            return;
        };
        row.lease = Some(lease);
        if let Some(delivery) = row.pending.clone() {
            written.leased.push(Leased::new(delivery, lease));
        }
    }

    pub(super) fn claim(&mut self, now: Timestamp, mut room: Room, limit: usize) -> Written {
        let mut written = Written::default();
        let endpoints: Vec<EndpointId> = self.lanes.due.keys().copied().collect();
        for endpoint in endpoints {
            if !self
                .endpoints
                .get(&endpoint)
                .is_none_or(|entry| entry.endpoint.enabled)
            {
                continue;
            }
            while written.leased.len() < limit && room.has(endpoint) {
                let first = self.lanes.due.get(&endpoint).and_then(BTreeSet::first);
                let Some((_, lane)) = first.filter(|(at, _)| *at <= now).cloned() else {
                    break;
                };
                self.lease_head(now, &lane, &mut room, &mut written);
            }
        }
        written.next_due = self.lanes.next_due(now);
        written
    }

    /// Applies [`lane::plan`]; the head that remains, unless it is leased.
    pub(super) fn rule(
        &mut self,
        now: Timestamp,
        lane: &LaneKey,
        written: &mut Written,
    ) -> Option<(DeliveryId, Timestamp)> {
        let (ids, rows) = self.decisive_rows(lane);
        let plan = lane::plan(&rows, self.progress_sent_at(lane), now);
        let id = |position: usize| ids.get(position).copied();
        if let Some((heir, due_at)) = plan.inherited
            && let Some(row) = id(heir).and_then(|id| self.deliveries.get_mut(&id))
            && let Some(delivery) = &mut row.pending
        {
            delivery.due_at = due_at;
        }
        for (position, overruled) in plan.settled {
            let Some(id) = id(position) else { continue };
            match overruled.dead_reason() {
                None => self.supersede(now, id, written),
                Some(reason) => self.bury(now, id, reason, written),
            }
        }
        plan.head
            .and_then(|(position, due_at)| Some((id(position)?, due_at)))
    }

    /// When a progress of this lane was last sent. A redelivery is a lane of its
    /// own, and keeps no other one waiting.
    fn progress_sent_at(&self, lane: &LaneKey) -> Option<Timestamp> {
        let job = self
            .jobs
            .get(&lane.job)
            .filter(|_| lane.redelivery.is_none())?;
        job.progress_sent.get(&lane.endpoint).copied()
    }

    /// The rows of a lane that decide over it: the first two and the last two.
    fn decisive_rows(&self, lane: &LaneKey) -> (Vec<DeliveryId>, Vec<LaneRow>) {
        let empty = VecDeque::new();
        let all = self.lanes.rows.get(lane).unwrap_or(&empty);
        let positions = 0..all.len();
        let decisive = positions.filter(|&position| position < 2 || position + 2 >= all.len());
        decisive
            .filter_map(|position| {
                let id = *all.get(position)?;
                let row = self.deliveries.get(&id)?;
                let delivery = row.pending.as_ref()?;
                let lane_row = LaneRow {
                    sequence: delivery.record.sequence(),
                    kind: delivery.record.kind(),
                    accepted_at: delivery.accepted_at,
                    due_at: delivery.due_at,
                    first_failed_at: row.first_failed_at,
                    spacing: row.spacing,
                    leased: row.lease.is_some(),
                };
                Some((id, lane_row))
            })
            .unzip()
    }

    /// Takes a pending delivery out of its lane, for good.
    pub(super) fn leave_lane(&mut self, now: Timestamp, id: DeliveryId) {
        let Some(row) = self.deliveries.get_mut(&id) else {
            return;
        };
        row.lease = None;
        let Some(delivery) = row.pending.take() else {
            return;
        };
        self.pending -= 1;
        self.lanes.remove(&delivery.lane, id);
        if !self.job_settled(now, delivery.record.id(), &delivery.lane.job) {
            // A redelivery that outlived its job: nobody can ask for it.
            self.forget_delivery(id);
        }
    }

    fn supersede(&mut self, now: Timestamp, id: DeliveryId, written: &mut Written) {
        if let Some(row) = self.deliveries.get_mut(&id) {
            row.view.state = DeliveryState::Superseded;
        }
        written.superseded += 1;
        self.leave_lane(now, id);
    }

    /// Makes a pending delivery a dead letter.
    pub(super) fn bury(
        &mut self,
        now: Timestamp,
        id: DeliveryId,
        reason: DeadReason,
        written: &mut Written,
    ) {
        let Some(row) = self.deliveries.get_mut(&id) else {
            return;
        };
        row.view.state = DeliveryState::Dead;
        let history = row.attempts();
        if let Some(delivery) = row.pending.clone() {
            if reason == DeadReason::Gone
                && let Some(entry) = self.endpoints.get_mut(&delivery.lane.endpoint)
            {
                entry.endpoint.enabled = false;
            }
            self.keep_dead(now, delivery, reason, history);
            written.died.push(reason);
        }
        self.leave_lane(now, id);
    }
}
