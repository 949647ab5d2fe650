//! The lane rule at work, and leasing.

use notify_core::EndpointId;
use notify_core::Timestamp;
use notify_core::delivery::{Delivery, LaneKey, Leased};
use notify_core::lane::{self, LaneRow};
use notify_core::store::{Room, Written};

use super::Writer;
use crate::error::Fault;
use crate::rows::DeliveryRow;

impl Writer {
    /// Carries out the lane rule and leases the head if it is due and there is
    /// room.
    pub(super) fn lease_head(
        &mut self,
        now: Timestamp,
        lane: &LaneKey,
        room: &mut Room,
        written: &mut Written,
    ) -> Result<(), Fault> {
        let Some((number, due_at)) = self.rule(now, lane, written)? else {
            self.lanes.stand(lane, None);
            return Ok(());
        };
        let enabled = self.endpoints.is_enabled(lane.endpoint);
        if due_at > now || !enabled || !room.has(lane.endpoint) {
            self.lanes.stand(lane, Some(due_at));
            return Ok(());
        }
        self.lanes.stand(lane, None);
        let delivery = match self.whole(lane, number) {
            Ok(delivery) => delivery,
            // One damaged row must not stop all others. It waits, and is looked
            // at again after a restart or when its lane moves.
            Err(Fault::Damaged(what)) => {
                tracing::error!(what, "a delivery can't be read; its lane waits");
                return Ok(());
            }
            Err(fault) => return Err(fault),
        };
        room.take(lane.endpoint);
        let lease = self.leases.begin(delivery.id, lane, number);
        if let Some(waiting) = self.lanes.waiting_mut(lane, number) {
            waiting.row.leased = true;
        }
        written.leased.push(Leased::new(delivery, lease));
        Ok(())
    }

    pub(super) fn claim_heads(
        &mut self,
        now: Timestamp,
        mut room: Room,
        limit: usize,
    ) -> Result<Written, Fault> {
        let mut written = Written::default();
        let is_enabled = |endpoint: &EndpointId| self.endpoints.is_enabled(*endpoint);
        let mut endpoints = self.lanes.endpoints();
        endpoints.retain(is_enabled);
        for endpoint in endpoints {
            while written.leased.len() < limit
                && room.has(endpoint)
                && let Some(lane) = self.lanes.first_due(endpoint, now)
            {
                self.lease_head(now, &lane, &mut room, &mut written)?;
            }
        }
        written.next_due = self.lanes.next_due(now);
        Ok(written)
    }

    /// All that it takes to attempt a delivery.
    pub(super) fn whole(&mut self, lane: &LaneKey, number: i64) -> Result<Delivery, Fault> {
        if let Some(delivery) = self.fresh.remove(&number) {
            return Ok(delivery);
        }
        let job = self.lanes.lane(lane).map_or(0, |lane| lane.job);
        DeliveryRow::find(&self.conn, job, number)?
            .ok_or_else(|| Fault::damaged(format!("deliveries {job}-{number}: missing")))?
            .resolve(&self.conn)
    }

    /// Applies [`lane::plan`]; the head that remains, unless it is leased.
    pub(super) fn rule(
        &mut self,
        now: Timestamp,
        key: &LaneKey,
        written: &mut Written,
    ) -> Result<Option<(i64, Timestamp)>, Fault> {
        let Some(lane) = self.lanes.lane(key) else {
            return Ok(None);
        };
        let job = lane.job;
        let len = lane.waiting.len();
        // The first two and the last two decide.
        let decisive = lane.waiting.iter().enumerate();
        let decisive = decisive.filter(|&(position, _)| position < 2 || position + 2 >= len);
        let (numbers, rows): (Vec<i64>, Vec<LaneRow>) =
            decisive.map(|(_, one)| (one.number, one.row)).unzip();
        let plan = lane::plan(&rows, self.pacing.sent_at(key), now);
        let number = |position: usize| numbers.get(position).copied();
        if let Some((heir, due_at)) = plan.inherited
            && let Some(heir) = number(heir)
            && self
                .lanes
                .waiting(key, heir)
                .is_some_and(|heir| heir.row.due_at != due_at)
        {
            self.set_due(key, job, heir, due_at)?;
        }
        for (position, overruled) in plan.settled {
            let Some(number) = number(position) else {
                continue;
            };
            match overruled.dead_reason() {
                None => self.supersede(now, key, number, written)?,
                Some(reason) => self.bury(now, key, number, reason, None, written)?,
            }
        }
        let head = plan.head;
        Ok(head.and_then(|(position, due_at)| Some((number(position)?, due_at))))
    }
}
