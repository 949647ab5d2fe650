//! Requests as they leave, and what comes back.

use std::time::Duration;

use notify_core::delivery::Delivery;
use notify_core::job::EventKind;
use notify_core::signing::{
    Accepts, Received, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, X_WEBHOOK_SIGNATURE,
    X_WEBHOOK_TIMESTAMP, check,
};
use notify_core::{DeliveryId, Secret, Timestamp, WebhookRequest};

use super::{Audit, Invariant, Moment, State};

impl Audit {
    /// A request leaves.
    pub(in crate::sim) fn begins(
        &mut self,
        at: Moment,
        delivery: &Delivery,
        request: &WebhookRequest,
    ) {
        let id = delivery.id;
        self.may_be_worked_on(at, delivery);
        let most = self.attempts_max();
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        let leased = row.lease.is_some();
        let alone = !std::mem::replace(&mut row.in_flight, true);
        row.begun += 1;
        row.sent_at = at.millis;
        if row.kind == EventKind::Progress
            && let Some(lane) = self.lanes.get_mut(&row.lane)
        {
            // Whoever was to wait has waited.
            lane.progress_not_before = None;
        }
        let (begun, crashes) = (row.begun, row.crashes);
        let body = row.body.get_or_insert_with(|| request.body.clone());
        let same_body = *body == request.body;
        let event = row.event.to_string();
        let same_id = header(request, WEBHOOK_ID) == Some(event.as_str());
        self.figures.attempts += 1;
        self.check(leased, Invariant::I7, || {
            format!("{id} is sent without a lease")
        });
        self.check(alone, Invariant::I5, || {
            format!("{id} is in flight already")
        });
        self.check(begun <= most + crashes, Invariant::I6, || {
            format!("{id}: attempt {begun} of at most {most}, and {crashes} crashes")
        });
        self.check(same_id && same_body, Invariant::I10, || {
            format!("{id}: an attempt changed {event}: {:?}", request.headers)
        });
    }

    /// What must hold for a delivery to be leased or sent.
    pub(super) fn may_be_worked_on(&mut self, at: Moment, delivery: &Delivery) {
        let id = delivery.id;
        let Some(row) = self.rows.get(&id) else {
            self.check(false, Invariant::I1, || format!("nobody knows {id}"));
            return;
        };
        let (state, due_at) = (row.state, row.due_at);
        let lane = self.lanes.get(&row.lane);
        let ahead = lane.and_then(|lane| lane.waiting.first()).copied();
        let mut not_before = due_at;
        if let Some(lane) = lane
            && row.kind == EventKind::Progress
            && row.generation == 0
        {
            let last = lane.progress_at.filter(|&(last, _)| last != id);
            let spaced = last.map(|(_, last)| last + self.rules.progress_min_interval);
            let least = spaced.max(lane.progress_not_before);
            not_before = least.map_or(due_at, |least| least.max(due_at));
        }
        self.check(state == State::Pending, Invariant::I16, || {
            format!("{id} is {state:?} and was opened again")
        });
        self.check(ahead == Some(id), Invariant::I5, || {
            format!("{id} is worked on while {ahead:?} is ahead of it")
        });
        self.check(at.millis >= not_before, Invariant::I6, || {
            let now = at.millis;
            format!("{id} is worked on at {now}, due at {not_before}")
        });
    }

    /// The request verifies with each of the receiver's active secrets, oldest
    /// first, and its time is the attempt's.
    pub(in crate::sim) fn verifies(
        &mut self,
        wall: Timestamp,
        request: &WebhookRequest,
        active: &[Secret],
    ) {
        let received = Received {
            id: header(request, WEBHOOK_ID),
            timestamp: header(request, WEBHOOK_TIMESTAMP),
            standard: header(request, WEBHOOK_SIGNATURE),
            timestamped: None,
            body: &request.body,
        };
        let timestamped = Received {
            timestamp: header(request, X_WEBHOOK_TIMESTAMP),
            standard: None,
            timestamped: header(request, X_WEBHOOK_SIGNATURE),
            ..received
        };
        let judge = |received, secrets: &[Secret]| {
            check(secrets, received, Accepts::Either, wall, Duration::ZERO)
        };
        for secret in active {
            let verdict = judge(&received, std::slice::from_ref(secret));
            self.check(verdict.is_ok(), Invariant::I11, || {
                format!("at {wall:?}: {verdict:?}")
            });
        }
        let oldest = active.get(..1).unwrap_or_default();
        let verdict = judge(&timestamped, oldest);
        self.check(verdict.is_ok(), Invariant::I11, || {
            format!("at {wall:?}: {verdict:?}")
        });
    }

    /// A receiver has said 2xx.
    pub(in crate::sim) fn receiver_took(&mut self, id: DeliveryId, generation: u32) {
        let row = self.rows.get_mut(&id);
        if let Some(row) = row.filter(|row| row.generation == generation) {
            self.figures.duplicates += u64::from(row.answered_ok > 0);
            row.answered_ok += 1;
        }
    }

    /// The sender knows how an attempt ended; `asked` is what the receiver asked us
    /// to wait, and `ours` whether it was our own failure.
    pub(in crate::sim) fn ends(
        &mut self,
        delivery: &Delivery,
        completed: bool,
        asked: Duration,
        ours: bool,
    ) {
        let id = delivery.id;
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        row.in_flight = false;
        row.ended = Some(asked);
        row.ours = ours;
        let lane = self.lanes.entry(row.lane.clone()).or_default();
        let (last, sequence) = (lane.completed, row.event.sequence());
        if completed {
            lane.completed = sequence.max(last);
        }
        self.check(!completed || sequence >= last, Invariant::I5, || {
            format!("{id}: {sequence} was completed after {last}")
        });
    }

    /// The process is gone, with all its leases.
    /// How many walks over dead letters were under way.
    pub(in crate::sim) fn crashes(&mut self, millis: u64) -> u64 {
        self.disturbed(millis);
        self.forget_patients();
        for row in self.rows.values_mut() {
            row.crashes += u32::from(row.lease.is_some());
            row.in_flight = false;
            row.ended = None;
            row.own_failures = 0;
            row.ours = false;
        }
        self.end_walks()
    }
}

fn header<'a>(request: &'a WebhookRequest, name: &str) -> Option<&'a str> {
    let found = request.headers.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.as_str())
}
