//! Lanes: who waits for whom, who gives way, and who may be attempted.

use std::time::Duration;

use notify_core::delivery::DeadReason;
use notify_core::job::EventKind;
use notify_core::{DeliveryId, EndpointId, Timestamp};

use super::{Delivery, Lane, Leased, Model, OVERTAKEN_AFTER};

impl Model {
    /// Leases the heads of these lanes that are due, as far as their endpoints are
    /// enabled and `take_room` finds room there for the JSON of their events, in
    /// bytes.
    pub fn lease(
        &mut self,
        now: Timestamp,
        lanes: &[Lane],
        mut take_room: impl FnMut(EndpointId, u32) -> bool,
    ) -> Vec<Leased> {
        let mut leased = Vec::new();
        let mut lanes: Vec<&Lane> = lanes.iter().collect();
        lanes.sort_by_key(|lane| {
            let head = self.waiting(lane).first().and_then(|id| self.delivery(*id));
            (self.head_due(now, lane), head.map(|head| head.number))
        });
        for lane in lanes {
            leased.extend(self.lease_head(now, lane, &leased, &mut take_room));
        }
        leased
    }

    /// Gives up heads that have been due at sick endpoints for longer than `max_age`,
    /// and what stands behind them; how many those are.
    pub fn expire(&mut self, now: Timestamp, max_age: Duration) -> u64 {
        let mut expired = 0;
        loop {
            // Those that have waited longest go first, and then what stood behind them.
            let mut too_old = self.heads(now);
            too_old.retain(|(due_at, lane)| {
                let sick_since = self.endpoint_at(&lane.url).and_then(|it| it.sick_since);
                sick_since.is_some_and(|since| now > since.max(*due_at).plus(max_age))
            });
            too_old.sort_by_key(|(due_at, _)| *due_at);
            if too_old.is_empty() {
                return expired;
            }
            for (_, lane) in too_old {
                if let Some(&id) = self.waiting(&lane).first() {
                    self.give_up(now, id, DeadReason::Expired);
                    expired += 1;
                }
                self.apply_rule(now, &lane);
            }
        }
    }

    /// Leases due heads of all lanes, the oldest first, at most `limit`; and
    /// settles what has had its time.
    pub fn claim(
        &mut self,
        now: Timestamp,
        limit: usize,
        mut take_room: impl FnMut(EndpointId, u32) -> bool,
    ) -> Vec<Leased> {
        let mut due: Vec<(Timestamp, Lane)> = self.heads(now);
        due.retain(|(due_at, lane)| *due_at <= now && self.is_enabled(lane));
        due.sort_by_key(|(due_at, _)| *due_at);
        let mut leased = Vec::new();
        for (_, lane) in due {
            if leased.len() == limit {
                break;
            }
            self.apply_rule(now, &lane);
            leased.extend(self.lease_head(now, &lane, &leased, &mut take_room));
        }
        leased
    }

    /// When the next head that is not due yet falls due.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let heads = self.heads(now).into_iter().map(|(due_at, _)| due_at);
        heads.filter(|due_at| *due_at > now).min()
    }

    /// When the head that has waited longest fell, or falls, due.
    pub fn oldest_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.heads(now).into_iter().map(|(due_at, _)| due_at).min()
    }

    /// Settles what is not to be attempted at all.
    ///
    /// - A progress that waits gives way to anything newer; a newer progress is due
    ///   when it was.
    /// - Once a job's end waits behind deliveries that have failed, each of them is
    ///   tried for a minute more; one that would only be tried later, never. While the
    ///   endpoint is sick the minute stands still; it begins anew when that is well
    ///   again.
    pub(super) fn apply_rule(&mut self, now: Timestamp, lane: &Lane) {
        let waiting = self.waiting(lane);
        for pair in waiting.windows(2) {
            let (Some(older), Some(newer)) = (self.delivery(pair[0]), self.delivery(pair[1]))
            else {
                continue;
            };
            if !is_progress(older) || older.lease.is_some() {
                continue;
            }
            let (due_at, inherits) = (older.due_at, is_progress(newer));
            if let Some(newer) = self.delivery_mut(pair[1]).filter(|_| inherits) {
                newer.due_at = due_at;
            }
            self.supersede(now, pair[0]);
        }

        let mut waiting = self.waiting(lane);
        let last = waiting.pop().and_then(|id| self.delivery(id));
        let Some(end) = last.filter(|last| last.record.kind() == EventKind::Terminal) else {
            return;
        };
        let ended_at = end.accepted_at;
        let endpoint = self.endpoint_at(&lane.url);
        if endpoint.is_some_and(|endpoint| endpoint.sick_since.is_some()) {
            return;
        }
        let well_since = endpoint.and_then(|endpoint| endpoint.well_since);
        let well_since = well_since.filter(|since| *since <= now).unwrap_or(ended_at);
        for id in waiting {
            let Some(delivery) = self.delivery(id) else {
                break;
            };
            let Some(failed_at) = delivery.first_failed_at else {
                break;
            };
            let give_up_at = failed_at
                .max(ended_at)
                .max(well_since)
                .plus(OVERTAKEN_AFTER);
            if delivery.lease.is_some() || now.max(delivery.due_at) <= give_up_at {
                break;
            }
            self.give_up(now, id, DeadReason::Overtaken);
        }
    }

    fn lease_head(
        &mut self,
        now: Timestamp,
        lane: &Lane,
        others: &[Leased],
        take_room: &mut impl FnMut(EndpointId, u32) -> bool,
    ) -> Option<Leased> {
        let due_at = self.head_due(now, lane)?;
        let endpoint = self.endpoint_at(&lane.url)?;
        // At a sick one there is one attempt at a time.
        let is_tried = others.iter().any(|other| other.delivery.url == lane.url);
        if endpoint.sick_since.is_some() && is_tried {
            return None;
        }
        let endpoint = endpoint.id;
        let head = *self.waiting(lane).first()?;
        let json_bytes = self.delivery(head)?.record.json_bytes();
        if due_at > now || !self.is_enabled(lane) || !take_room(endpoint, json_bytes) {
            return None;
        }
        let lease = self.next_number();
        let head = self.delivery_mut(head)?;
        head.lease = Some(lease);
        Some(Leased {
            delivery: head.clone(),
            lease,
        })
    }

    /// A lane's pending deliveries, by sequence.
    fn waiting(&self, lane: &Lane) -> Vec<DeliveryId> {
        let pending = self.deliveries.iter().filter(|it| it.is_pending());
        let mut waiting: Vec<&Delivery> = pending.filter(|it| it.lane() == *lane).collect();
        waiting.sort_by_key(|delivery| delivery.record.sequence());
        waiting.iter().map(|delivery| delivery.id).collect()
    }

    /// When a lane's head may be attempted; nothing if someone may be attempting it
    /// already. Progress that was not tried yet keeps its distance from the last
    /// one that was sent; a time that is still to come was read off a wrong clock.
    fn head_due(&self, now: Timestamp, lane: &Lane) -> Option<Timestamp> {
        let head = self.delivery(*self.waiting(lane).first()?)?;
        if head.lease.is_some() {
            return None;
        }
        let keeps_distance =
            is_progress(head) && head.first_failed_at.is_none() && !head.is_redelivery();
        let job = self.jobs.iter().find(|job| job.epoch == lane.epoch);
        let sent_at = job.and_then(|job| job.progress_sent_at(lane));
        match sent_at.filter(|sent_at| keeps_distance && *sent_at <= now) {
            Some(sent_at) => Some(head.due_at.max(sent_at.plus(head.distance))),
            None => Some(head.due_at),
        }
    }

    /// The lanes whose head nobody has leased, and when that may be attempted.
    fn heads(&self, now: Timestamp) -> Vec<(Timestamp, Lane)> {
        let mut lanes: Vec<Lane> = Vec::new();
        for delivery in self.deliveries.iter().filter(|it| it.is_pending()) {
            if !lanes.contains(&delivery.lane()) {
                lanes.push(delivery.lane());
            }
        }
        let heads = lanes.into_iter();
        let heads = heads.map(|lane| (self.head_due(now, &lane), lane));
        heads
            .filter_map(|(due_at, lane)| Some((due_at?, lane)))
            .collect()
    }

    fn is_enabled(&self, lane: &Lane) -> bool {
        let endpoint = self.endpoint_at(&lane.url);
        endpoint.is_some_and(|endpoint| endpoint.enabled)
    }
}

fn is_progress(delivery: &Delivery) -> bool {
    delivery.record.kind() == EventKind::Progress
}
