//! Forgetting: what is past its retention, and what nothing names any more.

use notify_core::ledger::Bounds;
use notify_core::retention::{Holder, Retention};
use notify_core::store::{StoreError, Trimmed};
use notify_core::{DeliveryId, EndpointId, Timestamp};

use super::apply::attempt_bytes;
use super::tables::Tables;

impl Tables {
    pub(super) fn trim(
        &mut self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> Result<Trimmed, StoreError> {
        let (expired, is_more) = self.expire(now, retention.max_age)?;
        let mut trimmed = Trimmed {
            expired,
            more: is_more,
            ..Trimmed::default()
        };
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
        self.trim_letters(now, retention, rows_max, &mut trimmed);
        trimmed.more |= self.trim_endpoints(now, retention, rows_max);
        trimmed.crowded_out = std::mem::take(&mut self.crowded_out);
        trimmed.forgotten += trimmed.crowded_out;
        self.forget_released();
        Ok(trimmed)
    }

    /// Forgets dead letters whose time is over, and then those that have to make room.
    fn trim_letters(
        &mut self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
        trimmed: &mut Trimmed,
    ) {
        // Not in order: the clock may have been wrong when one was given up.
        let over = retention.dead_letters_over(now);
        let letters = self.letters.iter();
        let numbers = letters
            .filter(|(_, letter)| over.is_some_and(|over| letter.died_at <= over))
            .map(|(&number, _)| number);
        let numbers: Vec<u64> = numbers.take(rows_max.saturating_add(1)).collect();
        let mut left = rows_max;
        for number in numbers {
            if left == 0 {
                trimmed.more = true;
                return;
            }
            self.take_letter(number);
            trimmed.forgotten += 1;
            left -= 1;
        }
        while let Some(holder) = self.holders.next_to_leave(&retention).cloned() {
            if left == 0 {
                trimmed.more = true;
                return;
            }
            let mut letters = self.letters.iter();
            let oldest = letters.find(|(_, letter)| Holder::of(&letter.of) == holder);
            match oldest.map(|(&number, _)| number) {
                Some(oldest) => drop(self.take_letter(oldest)),
                None => self.holders.forget(&holder),
            }
            self.crowded_out += 1;
            left -= 1;
        }
    }

    /// Forgets a job with all that it has; how many rows that were.
    pub(super) fn forget_job(&mut self, number: u64) -> usize {
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
        if delivery.job.is_none()
            && let Some(orphans) = self.orphans.get_mut(&delivery.lane.job)
        {
            orphans.remove(&id);
            if orphans.is_empty() {
                self.orphans.remove(&delivery.lane.job);
            }
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

    /// An endpoint is forgotten once nothing names it; in time, if something is to be
    /// remembered of it.
    fn forget_if_unnamed(&mut self, id: EndpointId) {
        let known = self.endpoints.get(&id).filter(|known| known.named == 0);
        let Some(known) = known else { return };
        if known.row.endpoint.may_be_forgotten() {
            self.forget_endpoint(id);
        } else {
            self.remembered.insert((known.named_at, id));
        }
    }

    /// Forgets endpoints of which something was to be remembered; whether there are
    /// more of them.
    fn trim_endpoints(&mut self, now: Timestamp, retention: Retention, rows_max: usize) -> bool {
        let mut forgotten = 0;
        while let Some(&(named_at, id)) = self.remembered.first() {
            let known = self.endpoints.get(&id);
            let over = known.and_then(|known| retention.endpoint_over(now, &known.row.endpoint));
            if known.is_some() && over.is_none_or(|over| named_at > over) {
                return false;
            }
            if forgotten >= rows_max {
                return true;
            }
            self.forget_endpoint(id);
            self.remembered.remove(&(named_at, id));
            forgotten += 1;
        }
        false
    }

    pub(super) fn forget_endpoint(&mut self, id: EndpointId) {
        let Some(known) = self.endpoints.get(&id) else {
            return;
        };
        self.remembered.remove(&(known.named_at, id));
        self.urls.remove(&known.row.endpoint.url);
        self.endpoint_ids.remove(&known.row.number);
        self.endpoints.remove(&id);
        self.pending.forget_endpoint(id);
    }
}
