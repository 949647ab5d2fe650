//! Deliveries and their ends: settled, given up, redelivered, dropped.

use std::time::Duration;

use notify_core::delivery::{Attempt, DeadReason, DeliveryState};
use notify_core::event::EventRecord;
use notify_core::job::EventKind;
use notify_core::{DeliveryId, EndpointUrl, JobId, Timestamp};

use super::{Delivery, Lane, Letter, Model, has_failed};

/// How a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The receiver has it.
    Delivered,
    /// Nothing came of it: it waits as before.
    GivenBack,
    /// It is to be tried again, not before then.
    Again(Timestamp),
    /// It is given up.
    Dead(DeadReason),
}

/// Nobody holds that lease; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale;

impl Model {
    /// Ends a lease, with the attempt that decided it if there was one. The lane
    /// that it was in may have a new head.
    ///
    /// # Errors
    /// [`Stale`] if it is not the delivery's lease now.
    pub fn settle(
        &mut self,
        now: Timestamp,
        id: DeliveryId,
        lease: u64,
        end: End,
        attempt: Option<Attempt>,
    ) -> Result<Lane, Stale> {
        let delivery = self.delivery_mut(id).ok_or(Stale)?;
        if delivery.lease != Some(lease) {
            return Err(Stale);
        }
        delivery.lease = None;
        let lane = delivery.lane();
        let is_progress = delivery.record.kind() == EventKind::Progress;
        let mut sent_at = None;
        if let Some(attempt) = attempt {
            sent_at = is_progress.then(|| now.minus(attempt.duration));
            if has_failed(&attempt) && delivery.first_failed_at.is_none() {
                delivery.first_failed_at = Some(now);
            }
            delivery.attempts.push(attempt);
        }
        if let End::Again(due_at) = end {
            delivery.due_at = due_at;
        }
        if let Some(at) = sent_at.filter(|_| lane.redelivery.is_none())
            && let Some(job) = self.job_mut(lane.epoch)
        {
            job.progress_sent.retain(|(url, _)| *url != lane.url);
            job.progress_sent.push((lane.url.clone(), at));
        }
        match end {
            End::Delivered => self.leave(now, id, DeliveryState::Delivered),
            End::Dead(reason) => self.give_up(now, id, reason),
            End::GivenBack | End::Again(_) => {}
        }
        self.apply_rule(now, &lane);
        Ok(lane)
    }

    /// Makes dead letters pending deliveries again, each in a lane of its own;
    /// says how many.
    pub fn redeliver(&mut self, now: Timestamp, wanted: impl Fn(&Letter) -> bool) -> u64 {
        let (again, left): (Vec<_>, Vec<_>) = self.letters.drain(..).partition(|it| wanted(it));
        self.letters = left;
        let count = again.len() as u64;
        for Letter { delivery, .. } in again {
            let revived = Delivery {
                state: DeliveryState::Pending,
                generation: delivery.generation + 1,
                attempts: Vec::new(),
                accepted_at: now,
                due_at: now,
                first_failed_at: None,
                distance: Duration::ZERO,
                lease: None,
                ..delivery
            };
            match self.delivery_mut(revived.id) {
                Some(settled) => *settled = revived,
                None => self.deliveries.push(revived),
            }
        }
        count
    }

    /// Forgets dead letters; says how many.
    pub fn drop_letters(&mut self, wanted: impl Fn(&Letter) -> bool) -> u64 {
        let before = self.letters.len();
        self.letters.retain(|letter| !wanted(letter));
        (before - self.letters.len()) as u64
    }

    /// Makes a delivery that is due at once, and the newest of its lane.
    pub(super) fn deliver(
        &mut self,
        now: Timestamp,
        job: &JobId,
        record: &EventRecord,
        url: EndpointUrl,
        id: DeliveryId,
        distance: Duration,
    ) {
        let delivery = Delivery {
            id,
            number: self.next_number(),
            job: job.clone(),
            record: record.clone(),
            url,
            state: DeliveryState::Pending,
            generation: 0,
            attempts: Vec::new(),
            accepted_at: now,
            due_at: now,
            first_failed_at: None,
            distance,
            lease: None,
        };
        let lane = delivery.lane();
        self.deliveries.push(delivery);
        self.apply_rule(now, &lane);
    }

    /// A newer event takes a pending delivery's place.
    pub(super) fn supersede(&mut self, now: Timestamp, id: DeliveryId) {
        self.toll.superseded += 1;
        self.leave(now, id, DeliveryState::Superseded);
    }

    /// Makes a pending delivery a dead letter. A receiver that is gone is asked
    /// nothing more.
    pub(super) fn give_up(&mut self, now: Timestamp, id: DeliveryId, reason: DeadReason) {
        let Some(delivery) = self.delivery(id).cloned() else {
            return;
        };
        if reason == DeadReason::Gone {
            let endpoint = self.endpoint_at(&delivery.url).map(|endpoint| endpoint.id);
            if let Some(endpoint) = endpoint {
                self.enable(now, endpoint, false);
            }
        }
        let number = self.next_number();
        self.letters.push(Letter {
            number,
            delivery,
            reason,
            died_at: now,
        });
        self.toll.died.push(reason);
        self.leave(now, id, DeliveryState::Dead);
    }

    /// Settles a pending delivery. One that has outlived its job is forgotten:
    /// nobody can ask for it.
    fn leave(&mut self, now: Timestamp, id: DeliveryId, state: DeliveryState) {
        let Some(delivery) = self.delivery_mut(id) else {
            return;
        };
        delivery.state = state;
        delivery.lease = None;
        let epoch = delivery.record.id().epoch();
        match self.job_mut(epoch) {
            Some(job) => job.quiet_since = now,
            None => self.deliveries.retain(|delivery| delivery.id != id),
        }
    }
}
