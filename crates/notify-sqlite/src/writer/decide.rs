//! Batches and claims: rows are fetched, the ledger decides, and what it decides is
//! written in one transaction.

use std::sync::Arc;

use notify_core::Timestamp;
use notify_core::delivery::LaneKey;
use notify_core::ledger::{
    self, BUG, Bounds, Decided, Round, Rows, Supply, unless_it_panics, without_culprits,
};
use notify_core::store::{Batch, Room, StoreError, Written};

use super::Writer;
use super::staged::Staged;
use crate::error::Fault;

impl Writer {
    pub(crate) fn write(&mut self, now: Timestamp, batch: &Batch) -> Result<Written, StoreError> {
        self.take_up(now)?;
        let is_low = !batch.operations.is_empty() && self.is_low();
        let bounds = self.bounds(is_low);
        let mut written = self.transact(|writer, staged| {
            let decided = writer.decide(now, batch, bounds, staged)?;
            writer.carry_out(now, decided, staged)
        })?;
        written.next_due_in = self.pending.next_due_in(now);
        Ok(written)
    }

    pub(crate) fn claim(
        &mut self,
        now: Timestamp,
        room: &Room,
        limit: usize,
    ) -> Result<Written, StoreError> {
        self.take_up(now)?;
        let mut written = self.transact(|writer, staged| {
            let lanes = writer.due(now, room, limit)?;
            let claim = |lanes: &[Arc<LaneKey>]| writer.try_claim(now, room, limit, lanes);
            let sound = without_culprits(lanes, claim)?;
            let ((decided, supply), culprits) = sound.ok_or_else(panics_over_nothing)?;
            staged.supply = supply;
            for lane in &culprits {
                let head = writer.pending.lane(lane).first;
                if let Some(head) = head.first() {
                    staged.set_aside(lane, head.number, BUG);
                }
            }
            writer.carry_out(now, decided, staged)
        })?;
        written.next_due_in = self.pending.next_due_in(now);
        Ok(written)
    }

    fn bounds(&self, is_low: bool) -> Bounds {
        Bounds {
            pending_max: self.options.pending_deliveries_max as u64,
            pending: self.pending.total(),
            pending_per_endpoint_max: self.options.pending_per_endpoint_max as u64,
            progress_events_max: self.options.progress_events_max,
            bytes_left: usize::MAX,
            is_low,
        }
    }

    fn decide(
        &mut self,
        now: Timestamp,
        batch: &Batch,
        bounds: Bounds,
        staged: &mut Staged,
    ) -> Result<Decided, Fault> {
        let write = |batch: &Batch| self.try_write(now, batch, bounds);
        let isolated = ledger::decide_isolated(batch, write)?;
        let isolated = isolated.ok_or_else(panics_over_nothing)?;
        staged.supply = isolated.supply;
        for culprit in isolated.culprits {
            let Some(settle) = batch.settles.get(culprit) else {
                tracing::error!(why = BUG, "an operation is refused");
                continue;
            };
            let lane = self.pending.lane(&settle.lane);
            let mut rows = lane.first.iter();
            if let Some(row) = rows.find(|row| row.id == settle.delivery) {
                staged.set_aside(&settle.lane, row.number, BUG);
            }
        }
        Ok(isolated.decided)
    }

    /// What the ledger decides over a batch; `None` if that panics. Nothing is
    /// changed by it.
    fn try_write(
        &mut self,
        now: Timestamp,
        batch: &Batch,
        bounds: Bounds,
    ) -> Result<Option<(Decided, Supply)>, Fault> {
        unless_it_panics(|| {
            #[cfg(test)]
            self.panic_over(batch);
            let mut rows = Rows::new();
            for round in Round::ALL {
                let wants = ledger::wants(round, batch, &mut rows);
                self.fetch(wants, &mut rows)?;
            }
            let mut supply = self.supply;
            let decided = ledger::decide(now, batch, rows, bounds, &mut supply);
            Ok((decided, supply))
        })
    }

    /// What the ledger decides over lanes that are due; `None` if that panics.
    fn try_claim(
        &mut self,
        now: Timestamp,
        room: &Room,
        limit: usize,
        lanes: &[Arc<LaneKey>],
    ) -> Result<Option<(Decided, Supply)>, Fault> {
        let bounds = self.bounds(false);
        unless_it_panics(|| {
            let mut rows = Rows::new();
            for lane in lanes {
                #[cfg(test)]
                assert_ne!(Some(&lane.job), self.panics_at.as_ref(), "a bug");
                self.fetch_lane(lane, &mut rows)?;
            }
            let mut supply = self.supply;
            let room = room.clone();
            let decided = ledger::decide_claim(now, room, limit, rows, bounds, &mut supply);
            Ok((decided, supply))
        })
    }

    /// A bug in the ledger that one job brings to light.
    #[cfg(test)]
    fn panic_over(&self, batch: &Batch) {
        use notify_core::store::Operation;
        let settled = batch.settles.iter().map(|settle| &settle.lane.job);
        let asked = batch
            .operations
            .iter()
            .filter_map(|operation| match operation {
                Operation::Append(append) => Some(&append.job),
                Operation::Register(registration) => Some(&registration.job),
                _ => None,
            });
        let is_told = settled
            .chain(asked)
            .any(|job| Some(job) == self.panics_at.as_ref());
        assert!(!is_told, "a bug");
    }
}

fn panics_over_nothing() -> Fault {
    Fault::damaged("deciding over nothing panics")
}
