//! A clock that is set, or was wrong in an earlier life: nobody waits for it, and
//! nothing is older for it.

use notify_core::Timestamp;

use super::{Delivery, Model, OVERTAKEN_AFTER, WAIT_MAX};

impl Model {
    /// The store was ended and is opened again at `now`. Nobody holds anything,
    /// nothing happened in what is the future, whoever waits waits no longer than it
    /// was told to, and what has failed has its last minute anew if all of that went
    /// by unseen.
    pub fn restart(&mut self, now: Timestamp) {
        self.void_leases();
        for delivery in self.deliveries.iter_mut().filter(|it| it.is_pending()) {
            let told = match delivery.attempts.last() {
                Some(last) => last
                    .next_attempt_at
                    .map(|next| next.since(last.at.plus(last.duration))),
                None => None,
            };
            let told = told.unwrap_or_else(|| delivery.due_at.since(delivery.accepted_at));
            delivery.due_at = delivery.due_at.min(now.plus(told.min(WAIT_MAX)));
            delivery.accepted_at = delivery.accepted_at.min(now);
            let seen_at = delivery.attempts.last().map_or(now, |last| last.at);
            delivery.first_failed_at = delivery.first_failed_at.map(|failed_at| {
                let unseen = now.since(seen_at) > OVERTAKEN_AFTER;
                if unseen { now } else { failed_at.min(now) }
            });
        }
        for job in &mut self.jobs {
            job.progress_sent.clear();
        }
        for endpoint in &mut self.endpoints {
            endpoint.sick_since = endpoint.sick_since.map(|at| at.min(now));
            endpoint.well_since = endpoint.well_since.map(|at| at.min(now));
        }
    }

    /// Nobody holds a lease any more.
    pub fn void_leases(&mut self) {
        for delivery in &mut self.deliveries {
            delivery.lease = None;
        }
    }

    /// The clock, which would read `from` now, reads `to`. Set back, it lengthens
    /// no wait; either way, what happened within the last minute happened as long
    /// ago as before, and nothing happened in what is now the future.
    pub fn set_clock(&mut self, from: Timestamp, to: Timestamp) {
        let is_back = to < from;
        let moved = |at: Timestamp| {
            if at >= from {
                to.plus(at.since(from))
            } else {
                to.minus(from.since(at))
            }
        };
        let due = |at: Timestamp| if is_back && at > to { moved(at) } else { at };
        let happened = |at: Timestamp| {
            let just_now = at <= from && from.since(at) <= OVERTAKEN_AFTER;
            if just_now || (is_back && at > to) {
                moved(at)
            } else {
                at
            }
        };
        let pending = self.deliveries.iter_mut().filter(|it| it.is_pending());
        for Delivery {
            due_at,
            accepted_at,
            first_failed_at,
            ..
        } in pending
        {
            *due_at = due(*due_at);
            *accepted_at = happened(*accepted_at);
            *first_failed_at = first_failed_at.map(happened);
        }
        for endpoint in &mut self.endpoints {
            endpoint.sick_since = endpoint.sick_since.map(happened);
            endpoint.well_since = endpoint.well_since.map(happened);
        }
        let jobs = self.jobs.iter_mut();
        for (_, sent_at) in jobs.flat_map(|job| &mut job.progress_sent) {
            *sent_at = happened(*sent_at);
        }
    }
}
