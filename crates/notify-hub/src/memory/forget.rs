//! Forgetting: what is past its retention, and what nothing names any more.

use std::time::Duration;

use notify_core::ledger::{self, Bounds};
use notify_core::retention::Retention;
use notify_core::store::Trimmed;
use notify_core::{DeliveryId, EndpointId, Timestamp};

use super::apply::attempt_bytes;
use super::tables::Tables;

impl Tables {
    pub(super) fn trim(
        &mut self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> Trimmed {
        let mut trimmed = self.expire(now, retention.max_age);
        let mut rows = 0;
        let over = retention.jobs_over(now);
        while let Some(&(ended_at, number)) = self.ended.first()
            && over.is_some_and(|over| ended_at <= over)
        {
            if rows >= rows_max {
                trimmed.more = true;
                break;
            }
            self.ended.pop_first();
            rows += self.forget_job(number);
            trimmed.forgotten += 1;
        }
        // Not in order: the clock may have been wrong when one was given up.
        let over = retention.dead_letters_over(now);
        let letters = self.letters.iter();
        let numbers = letters
            .filter(|(_, letter)| over.is_some_and(|over| letter.died_at <= over))
            .map(|(&number, _)| number);
        let numbers: Vec<u64> = numbers.take(rows_max.saturating_add(1)).collect();
        trimmed.more |= numbers.len() > rows_max;
        for number in numbers.into_iter().take(rows_max) {
            self.take_letter(number);
            trimmed.forgotten += 1;
        }
        self.forget_released();
        trimmed
    }

    /// Gives up some of what has been due at sick endpoints for too long.
    fn expire(&mut self, now: Timestamp, max_age: Duration) -> Trimmed {
        let most = Retention::EXPIRED_PER_STEP_MAX;
        let lanes = self.pending.expired(now, max_age, most);
        if lanes.is_empty() {
            return Trimmed::default();
        }
        let rows = self.fetch_lanes(lanes);
        let (bounds, supply) = (self.bounds(), &mut self.supply);
        let decided = ledger::decide_expiry(now, max_age, rows, bounds, supply);
        let written = self.apply(now, decided);
        let expired = written.died.len() as u64;
        Trimmed {
            expired,
            more: expired > 0 && !self.pending.expired(now, max_age, 1).is_empty(),
            ..Trimmed::default()
        }
    }

    /// Forgets a job with all that it has; how many rows that were.
    fn forget_job(&mut self, number: u64) -> usize {
        let job = self.job_ids.remove(&number);
        let Some(job) = job.and_then(|id| self.jobs.remove(&id)) else {
            return 0;
        };
        let mut rows = 1 + job.events.len() + job.keys.len();
        for id in job.deliveries.into_values() {
            let delivery = self.deliveries.get(&id);
            rows += delivery.map_or(0, |delivery| 1 + delivery.attempts.len());
            self.forget_delivery(id);
        }
        if let Some(subscriber) = job.row.webhook {
            self.release_endpoint(subscriber.endpoint);
        }
        let events = job.events.values().map(|record| record.memory_bytes());
        let bytes =
            Bounds::JOB_BYTES + job.keys.len() * Bounds::DELIVERY_BYTES + events.sum::<usize>();
        self.bytes = self.bytes.saturating_sub(bytes);
        rows
    }

    /// Keeps the settled deliveries of one job bounded.
    pub(super) fn forget_oldest_settled(&mut self, number: u64) {
        let job = self.job_ids.get(&number);
        let Some(job) = job.and_then(|id| self.jobs.get(id)) else {
            return;
        };
        let mut ids = job.deliveries.iter();
        let settled = ids.find(|(_, id)| {
            let delivery = self.deliveries.get(id);
            delivery.is_none_or(|delivery| delivery.record.is_none())
        });
        if let Some((_, &id)) = settled {
            self.forget_delivery(id);
        }
    }

    /// Forgets a delivery, if there is such a one.
    pub(super) fn forget_delivery(&mut self, id: DeliveryId) {
        let Some(delivery) = self.deliveries.remove(&id) else {
            return;
        };
        if delivery.job.is_some()
            && let Some(job) = self.jobs.get_mut(&delivery.lane.job)
            && Some(job.row.number) == delivery.job
        {
            job.deliveries.remove(&delivery.number);
        }
        let attempts = delivery.attempts.iter().map(attempt_bytes);
        let bytes = Bounds::DELIVERY_BYTES + attempts.sum::<usize>();
        self.bytes = self.bytes.saturating_sub(bytes);
        self.release_endpoint(delivery.lane.endpoint);
    }

    /// One less names it. Something else may be about to.
    pub(super) fn release_endpoint(&mut self, id: EndpointId) {
        if let Some(known) = self.endpoints.get_mut(&id) {
            known.named = known.named.saturating_sub(1);
            if known.named == 0 {
                self.released.push(id);
            }
        }
    }

    /// Forgets what nothing names any more, now that all is changed.
    pub(super) fn forget_released(&mut self) {
        for id in std::mem::take(&mut self.released) {
            self.forget_if_unnamed(id);
        }
    }

    /// An endpoint about which nothing is to be remembered is forgotten once nothing
    /// names it.
    pub(super) fn forget_if_unnamed(&mut self, id: EndpointId) {
        let is_unnamed = |known: &&super::tables::Known| {
            known.named == 0 && known.row.endpoint.may_be_forgotten()
        };
        let Some(known) = self.endpoints.get(&id).filter(is_unnamed) else {
            return;
        };
        self.urls.remove(&known.row.endpoint.url);
        self.endpoint_ids.remove(&known.row.number);
        self.endpoints.remove(&id);
        self.pending.forget_endpoint(id);
    }
}
